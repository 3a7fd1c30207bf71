/* choose.h -- the decision: where does this read go?
 * Pure: no I/O, no clock, no memory of its own.  The table of design section 5, in its order. */
#ifndef PINROUTE_CHOOSE_H
#define PINROUTE_CHOOSE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/pinroute.h"
#include "proto/key.h"
#include "proto/store.h"
#include "proto/units.h"

#define CHOOSE_NOBODY UINT64_MAX /* a generation that no replica reaches */

/* "Reads need at least this": a pin, a floor, this process's failed records, or a scope's tokens.  Void once
 * both times are past. */
struct need {
        uint64_t generation;
        int64_t until_ms;
        int64_t hold_ms; /* before this nothing but the primary will do */
};

/* Adds what `n` asks for, each by max, if it is live; says whether it is. */
static inline bool need_add(struct need *all, const struct need *n, struct mono now)
{
        if (now.ms >= n->until_ms && now.ms >= n->hold_ms)
                return false;
        if (n->generation > all->generation)
                all->generation = n->generation;
        if (n->until_ms > all->until_ms)
                all->until_ms = n->until_ms;
        if (n->hold_ms > all->hold_ms)
                all->hold_ms = n->hold_ms;
        return true;
}

/* "No node that may be more than `ms` behind the primary." */
struct bound {
        bool given;
        uint32_t ms;
};

/* What is known at `now`. */
struct facts {
        struct mono now;
        int64_t age_ms; /* of the heartbeat, in whichever direction; INT64_MAX: there never was one */
        uint32_t stale_after_ms, stale_limit_ms;
        bool keyed;
        bool forced;            /* the scope is forced, or wrote */
        struct need pin, local; /* the key's, and what this process and the scope know; all 0: none */
        struct bound bound;
        struct pnr_key key; /* zeros: there is none, though a token may make the read a keyed one */
        uint32_t stay; /* bit n: the scope has read from node n, which goes before the key's own; 0: none */
        const struct pnr_cluster *cluster; /* may lie in the map: any bytes are safe, each is read once */
};

struct choice {
        enum pinroute_reason reason;
        uint32_t pool;        /* bit n: node n will do; 0: the primary.  See choose_next() */
        uint32_t pin_left_ms; /* of the key's own pin; without one, of the floor; 0: neither */
};

struct choice choose(const struct facts *f);

/* The node of `pool` that is next in the schedule at `turn`; -1: none of it stands there. */
int choose_next(const struct pnr_cluster *cluster, uint32_t pool, uint64_t turn);

/* Heartbeat too old for keyed reads, for all reads. */
static inline bool choose_is_stale(const struct facts *f) { return f->age_ms >= f->stale_after_ms; }
static inline bool choose_is_void(const struct facts *f) { return f->age_ms >= f->stale_limit_ms; }

#endif
