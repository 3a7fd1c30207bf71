/* handle.h -- the handle behind pinroute.h, as far as scopes, tokens and records need it.
 * handle_in.h has what lies in it. */
#ifndef PINROUTE_HANDLE_H
#define PINROUTE_HANDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/ask.h"
#include "client/choose.h"
#include "client/owed.h"
#include "client/pinroute.h"
#include "client/view.h"
#include "proto/key.h"
#include "proto/units.h"

/* Is this a number that the handle gave out?  A key that may be hashed? */
bool handle_has(const struct pinroute *pr, unsigned cluster);
bool handle_key_fits(const void *key, size_t len);

/* pinroute_route_read() of a hashed key, NULL: unkeyed.
 *   forced  FORCED or WRITE, where the scope is, wrote, or is about to; 0: it is not
 *   place   set to where the answer was counted (tally.h) */
int handle_read(struct pinroute *pr, unsigned cluster, const struct pnr_key *key, enum pinroute_reason forced,
                struct bound bound, struct pinroute_decision *ret, uint32_t *place);

/* The same for a scope that knows more; NULL: it does not.
 *   need  needed, too, by our own clock; expired, it is as if there were none
 *   stay  the node that it read from before, PNR_NAME_SIZE bytes: taken again, without a turn, if that one
 * will do */
int handle_read_again(struct pinroute *pr, unsigned cluster, const struct pnr_key *key,
                      const struct need *need, const char *stay, struct bound bound,
                      struct pinroute_decision *ret, uint32_t *place);

/* Is a decision of `then` still one that a scope may repeat?  If so, it is counted once more. */
bool handle_repeats(struct pinroute *pr, struct mono then, uint32_t place);

/* One question to the store. */
struct visit {
        struct pinroute *pr;
        unsigned cluster;
        const struct pnr_key *key;
        bool forced;
        bool hurried;          /* its call's time is over: nobody is asked for anything */
        int64_t look_until_ns; /* 0: nobody was asked for anything yet */
        struct mono here;      /* our own clock, when it is facts.now by the daemon's */
        struct facts facts;
        struct view *view;
        struct view_at at;
        uint32_t place; /* out: where the answer counts */
        uint64_t turn;  /* that this read already took, + 1; 0: none */
        const struct need *need;
        const char *stay;
        struct bound bound;
        enum { BUDGET_UNASKED, BUDGET_GRANTED, BUDGET_REFUSED } budget; /* what this read was told already */
        void *ret;
};

#define NO_STORE (-1)

/* Takes a snapshot of the store that is there now, lets use() work on it in place, and again, until the
 * snapshot held: only then does what use() returned and left in v->ret count.  Returns that |
 * PINROUTE_E_CLUSTER | NO_STORE. */
int handle_visit(struct visit *v, int (*use)(struct visit *v));

/* The answer when nothing is known: $PINROUTE_PRIMARY or "", STORE_UNAVAILABLE.  pr may be NULL. */
void handle_unknown(const struct pinroute *pr, struct pinroute_decision *ret);

/* The daemon's time, coarsely. */
struct mono handle_now(const struct pinroute *pr);

/* For tell.c: the handle's own, the lock of its table of debts, and the name of a cluster that it has. */
struct ask *handle_ask(struct pinroute *pr);
struct owed *handle_owed(struct pinroute *pr);
struct lock *handle_table(struct pinroute *pr);
const char *handle_name(const struct pinroute *pr, unsigned cluster);

/* What the store says now, for the breaker; when a call that asks the daemon and begins now must be over. */
struct view_pulse handle_pulse(const struct pinroute *pr);
int64_t handle_deadline(const struct pinroute *pr);

#endif
