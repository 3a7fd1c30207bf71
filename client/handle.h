/* handle.h -- the handle behind pinroute.h, as far as scopes and tokens need it.
 * handle.c is the only file that knows what lies in it. */
#ifndef PINROUTE_HANDLE_H
#define PINROUTE_HANDLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/choose.h"
#include "client/pinroute.h"
#include "client/view.h"
#include "proto/key.h"
#include "proto/units.h"

/* Is this a number that the handle gave out?  A key that may be hashed? */
bool handle_has(const struct pinroute *pr, unsigned cluster);
bool handle_key_fits(const void *key, size_t len);

/* pinroute_route_read() of a hashed key, NULL: unkeyed.  `forced`: the scope is, or wrote. */
int handle_read(struct pinroute *pr, unsigned cluster, const struct pnr_key *key, bool forced,
                struct pinroute_decision *ret);

/* The same for a scope that knows more; NULL: it does not.
 *   need  needed, too, by our own clock; expired, it is as if there were none
 *   stay  the node that it read from before, PNR_NAME_SIZE bytes: taken again, without a turn, if that one
 * will do */
int handle_read_again(struct pinroute *pr, unsigned cluster, const struct pnr_key *key,
                      const struct need *need, const char *stay, struct pinroute_decision *ret);

/* pinroute_record_write() of a hashed key. */
int handle_record(struct pinroute *pr, unsigned cluster, struct pnr_key key, unsigned seconds);

/* Asks the daemon to pin the key for a token's write, and what its pin then carries.  false: no daemon, no
 * answer in time, or not this one. */
bool handle_token(struct pinroute *pr, unsigned cluster, struct pnr_key key, uint64_t stamp, uint32_t ms,
                  uint64_t *generation);

/* One question to the store. */
struct visit {
        struct pinroute *pr;
        unsigned cluster;
        const struct pnr_key *key;
        bool forced;
        bool hurried;     /* its call's time is over: nobody is asked for anything */
        struct mono here; /* our own clock, when it is facts.now by the daemon's */
        struct facts facts;
        struct view *view;
        struct view_at at;
        uint64_t turn; /* that this read already took, + 1; 0: none */
        const struct need *need;
        const char *stay;
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

/* Is a decision of `then` still one that a scope may repeat? */
bool handle_is_fresh(const struct pinroute *pr, struct mono then);

#endif
