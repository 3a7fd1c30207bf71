/* owed.h -- records that failed, or are not answered yet: pinned in this process, owed to the daemon.
 * Read by every keyed read, without a lock; written under a lock that the caller holds. */
#ifndef PINROUTE_OWED_H
#define PINROUTE_OWED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/choose.h"
#include "proto/key.h"
#include "proto/units.h"

#define OWED_MAX 64

/* Free when both times are past.  Times are written last, so that a reader that sees one sees whose it is. */
struct owed_one {
        _Atomic uint64_t key[2];
        _Atomic uint32_t cluster; /* the handle's number */
        _Atomic int64_t until_ms; /* of a RECORD */
        _Atomic int64_t hold_ms;  /* of a HOLD */
        _Atomic uint64_t puts;    /* how often one was put here */
        _Atomic uint64_t serial;  /* of the send that put it here, and nobody did since; 0: none did */
};

/* In ordinary memory: a child owes what its parent owed. */
struct owed {
        _Atomic int64_t
            latest_ms; /* none below is live from then on: with the next, all that most reads look at */
        _Atomic int64_t
            all_until_ms; /* there was no room, or no lock: until then every key counts as pinned */
        struct owed_one one[OWED_MAX];
};

/* Is anything owed at all? */
static inline bool owed_any(const struct owed *o, struct mono now)
{
        return now.ms < atomic_load_explicit(&o->latest_ms, memory_order_acquire) ||
               now.ms < atomic_load_explicit(&o->all_until_ms, memory_order_acquire);
}

/* What reads of this key need because of it; all 0: nothing. */
struct need owed_need(const struct owed *o, unsigned cluster, struct pnr_key key, struct mono now);

/* Adds, by max.  A full table pins every key. */
void owed_put(struct owed *o, unsigned cluster, struct pnr_key key, int64_t until_ms, int64_t hold_ms,
              struct mono now);

/* The same for every key, without the lock. */
void owed_put_all(struct owed *o, int64_t until_ms);

/* The keys of a send whose answer is not waited for yet: all of them, or false: there is no room. */
bool owed_put_sent(struct owed *o, unsigned cluster, const struct pnr_key *keys, unsigned n, uint64_t serial,
                   int64_t until_ms, struct mono now);

/* It was answered: frees the places that it alone has put something into. */
void owed_drop_sent(struct owed *o, uint64_t serial);

/* One debt, copied out.  false: place i is free, or another thread puts or frees there now: a send's times without its
 * serial would be those of a record that failed. */
struct owed_debt {
        unsigned cluster;
        struct pnr_key key;
        int64_t until_ms, hold_ms;
        uint64_t puts, serial;
};
bool owed_get(const struct owed *o, unsigned i, struct mono now, struct owed_debt *ret);

/* Paid: frees place i if nothing was put there since.  A write that failed later, even with an earlier end,
 * was not in what was paid. */
void owed_drop(struct owed *o, unsigned i, const struct owed_debt *paid);

#endif
