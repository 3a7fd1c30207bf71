/* user.h -- who a process of the daemon is, and what it gives up for good.
 * Root's daemon becomes the user that the config names. */
#ifndef PINROUTED_USER_H
#define PINROUTED_USER_H

#include <stdbool.h>
#include <sys/types.h>

struct user {
        char name[64];
        uid_t uid; /* (uid_t)-1: none is named */
        gid_t gid;
};

#define USER_WHY_MAX 160

/* Look a name up; "": nobody is named, and the id is -1.  False: there is none of this name on this host, `why` says so. */
bool user_find(const char *name, struct user *ret, char why[USER_WHY_MAX]);
bool user_group(const char *name, gid_t *ret, char why[USER_WHY_MAX]);

/* Is there another user to become?  False where none is named, or we are that one already. */
bool user_is_another(const struct user *u);

/* Becomes it, with its own groups and those of `more` that are not (gid_t)-1, and makes sure that there is no
 * way back.  False after logging why not: then end. */
bool user_become(const struct user *u, const gid_t *more, unsigned n_more);

/* The one we are by now, for messages: its name, or "uid N" where it has none.  Static memory. */
const char *user_own_name(void);

/* The mend of a file that we may not read: "let NAME, the daemon's user, read it".  Static memory. */
const char *user_must_read(void);

/* For good: no program started from here gets more rights than we have, and no core file has what was in
 * memory. */
void user_harden(void);

/* For good, and where the kernel knows how (5.13): this process opens no file whatsoever for writing, makes, renames
 * and removes none, cuts none off (from 6.2 on), and traces no other process.  Modes it may change, and what is open
 * already stays.  False: it does not know how. */
bool user_write_nothing(void);

#endif
