/* named.h -- what a config names on this host: users, groups, its directory, files of libpq's.  Looks, and touches
 * nothing. */
#ifndef PINROUTED_NAMED_H
#define PINROUTED_NAMED_H

#include "daemon/conf.h"
#include "daemon/user.h"

/* Whom the config names. */
struct named {
        struct user user;
        gid_t group, operators;
};

typedef void named_say_fn(void *arg, const char *message);

/* Looks all of them up, so that each that is not there is said: "FILE:LINE: [pinrouted] user: ...".  Asks the host's
 * user database, which may block.  False after saying what is wrong. */
bool named_find(const struct conf *conf, struct named *ret, named_say_fn *say);

/* Says that `dir` is a place for all, as /tmp is, which a start would refuse.  False then. */
bool named_dir(const struct conf *conf, named_say_fn *say);

/* Says of each file that a connection string names and that we cannot read: no mistake, for the daemon may be another
 * user, but worth a line. */
void named_warn(const struct conf *conf, named_say_fn *say);

#endif
