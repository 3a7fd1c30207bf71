/* ops.h -- the operator's socket: one line in, one JSON document out.
 *
 * A request is a line of words, separated by one space; a byte that is not [A-Za-z0-9_.-] is written %XX.
 * The answer is {"ok":true,...} or {"ok":false,"error":"a sentence","code":"E_NODE"}, then the end of the
 * stream; only `watch` goes on, behind a line's end, as watch.h says. ops.c holds the table of commands.  Who may ask: root, the daemon's own user, members of one group,
 * as the kernel says (SO_PEERCRED, SO_PEERGROUPS). */
#ifndef PINROUTED_OPS_H
#define PINROUTED_OPS_H

#include <sys/types.h>

#include "daemon/conn.h"
#include "daemon/core.h"
#include "daemon/watch.h"

struct event;
struct event_base;

typedef void ops_say_fn(void *arg, const char *message);

#define OPERATORS_MAX 32 /* connections at once, those that watch included */

struct ops {
        struct core *core;
        struct conns *conns;
        struct event_base *base;
        struct event *acceptable, *again, *look;
        gid_t operators; /* (gid_t)-1: none */
        unsigned n;      /* connections now */
        struct ops_call {
                struct bufferevent *b;
                struct mono since;
        } call[OPERATORS_MAX];
        struct watch *watch;        /* NULL: nobody may */
        struct bufferevent *asking; /* whose line is being run; NULL: taken over, or none */
        bool (*reload)(void *arg, ops_say_fn *say, void *say_arg);
        void *reload_arg;
};

bool ops_init(struct ops *ops, int listener);

/* As conns_listen(). */
void ops_listen(struct ops *ops, int listener);
void ops_fini(struct ops *ops);

/* Runs one request line (without its line end) and writes the answer; for ops.c's connections and the tests.
 */
struct evbuffer;
void ops_run(struct ops *ops, const char *line, struct evbuffer *out);

/* Is this peer an operator? */
bool ops_admits(int fd, gid_t operators);

#endif
