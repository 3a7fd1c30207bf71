/* child.h -- the prober process as its parent sees it: started, spoken to, restarted.  Never blocks.
 * Owns: struct child. */
#ifndef PINROUTED_CHILD_H
#define PINROUTED_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "daemon/prober.h"
#include "proto/units.h"

struct event;
struct event_base;

struct child_hooks {
        void (*result)(void *arg,
                       const struct prober_result *r);     /* r->node is below PROBER_NODES_MAX, text ends */
        void (*lost)(void *arg);                           /* it died or was given up: restart follows */
        const char *(*conninfo)(void *arg, unsigned node); /* NULL: no such node */
        bool (*cleartext)(void *arg, unsigned node);       /* of what conninfo() names; see probe.h */
        void *arg;
};

#define CHILD_DYING_MAX 4 /* killed and still there; no other is started beside so many */

struct child {
        struct child_hooks hooks;
        struct event_base *base;
        struct event *readable;
        pid_t pid; /* 0: none */
        int fd;
        struct mono start_due, waiting_since; /* since when an order has been out without any result */
        uint32_t longest_wait_ms;
        int64_t restart_pause_ms;
        bool waiting;
        bool told[PROBER_NODES_MAX]; /* the process knows the node's conninfo */
        uint64_t starts;
        pid_t dying[CHILD_DYING_MAX];
        unsigned n_dying;
};

void child_init(struct child *c, struct event_base *base, const struct child_hooks *hooks);
void child_turn(struct child *c, struct mono now); /* starts it, and gives it up when it hangs */
void child_check(struct child *c, unsigned node, uint64_t number, uint32_t timeout_ms, struct mono now);
void child_retell(struct child *c, unsigned node); /* its conninfo may have changed, or it is gone */
void child_fini(struct child *c);

#endif
