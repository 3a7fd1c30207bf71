/* owed.c -- records that failed, or are not answered yet: pinned in this process, owed to the daemon.
 * Pure but for its table.  Owns: struct owed. */
#include "client/owed.h"

#define LOAD(at)        atomic_load_explicit(at, memory_order_acquire)
#define STORE(at, what) atomic_store_explicit(at, what, memory_order_release)

static void raise(_Atomic int64_t *at, int64_t to)
{
        int64_t was = LOAD(at);
        while (was < to && !atomic_compare_exchange_weak_explicit(at, &was, to, memory_order_acq_rel,
                                                                  memory_order_acquire))
                ;
}

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t end_of(const struct owed_one *one) { return later(LOAD(&one->until_ms), LOAD(&one->hold_ms)); }

static bool is_for(const struct owed_one *one, unsigned cluster, struct pnr_key key)
{
        return LOAD(&one->key[0]) == key.w[0] && LOAD(&one->key[1]) == key.w[1] &&
               LOAD(&one->cluster) == cluster;
}

struct need owed_need(const struct owed *o, unsigned cluster, struct pnr_key key, struct mono now)
{
        struct need need = {0};
        if (!owed_any(o, now))
                return need;
        int64_t until_ms = LOAD(&o->all_until_ms);
        for (unsigned i = 0; i < OWED_MAX; i++) {
                int64_t end_ms = end_of(&o->one[i]);
                if (end_ms > until_ms && is_for(&o->one[i], cluster, key))
                        until_ms = end_ms;
        }
        if (now.ms < until_ms)
                need = (struct need){.generation = CHOOSE_NOBODY, .until_ms = until_ms};
        return need;
}

void owed_put_all(struct owed *o, int64_t until_ms) { raise(&o->all_until_ms, until_ms); }

/* Times of a free place are past, and are so until its new owner's are written. */
static void take(struct owed_one *free, unsigned cluster, struct pnr_key key)
{
        STORE(&free->until_ms, 0);
        STORE(&free->hold_ms, 0);
        STORE(&free->key[0], key.w[0]);
        STORE(&free->key[1], key.w[1]);
        STORE(&free->cluster, cluster);
}

/* The key's own place, else a free one, else NULL. */
static struct owed_one *place_for(struct owed *o, unsigned cluster, struct pnr_key key, struct mono now)
{
        struct owed_one *free = NULL;
        for (unsigned i = 0; i < OWED_MAX; i++) {
                struct owed_one *one = &o->one[i];
                if (now.ms >= end_of(one))
                        free = free ? free : one;
                else if (is_for(one, cluster, key))
                        return one;
        }
        if (free)
                take(free, cluster, key);
        return free;
}

/* serial: who frees the place again when it is answered. */
static void put(struct owed *o, struct owed_one *one, uint64_t serial, int64_t until_ms, int64_t hold_ms)
{
        STORE(&one->serial, serial);
        raise(&one->hold_ms, hold_ms);
        raise(&one->until_ms, until_ms);
        atomic_fetch_add_explicit(&one->puts, 1, memory_order_acq_rel); /* last: who sees it sees the times */
        raise(&o->latest_ms, later(until_ms, hold_ms));
}

void owed_put(struct owed *o, unsigned cluster, struct pnr_key key, int64_t until_ms, int64_t hold_ms,
              struct mono now)
{
        struct owed_one *one = place_for(o, cluster, key, now);
        if (one)
                put(o, one, 0, until_ms, hold_ms);
        else
                owed_put_all(o, later(until_ms, hold_ms));
}

struct places {
        unsigned n_live, n_free;
        struct owed_one *live[OWED_MAX], *free[OWED_MAX];
};

static void sort_places(struct owed *o, struct mono now, struct places *ret)
{
        ret->n_live = ret->n_free = 0;
        for (struct owed_one *one = o->one; one < o->one + OWED_MAX; one++)
                if (now.ms < end_of(one))
                        ret->live[ret->n_live++] = one;
                else
                        ret->free[ret->n_free++] = one;
}

/* Where somebody else owes for the key already, no one answer is enough to free the place. */
bool owed_put_sent(struct owed *o, unsigned cluster, const struct pnr_key *keys, unsigned n, uint64_t serial,
                   int64_t until_ms, struct mono now)
{
        struct places p;
        sort_places(o, now, &p);
        if (n > p.n_free)
                return false;
        for (unsigned k = 0; k < n; k++) {
                unsigned i = 0;
                while (i < p.n_live && !is_for(p.live[i], cluster, keys[k]))
                        i++;
                if (i < p.n_live) {
                        put(o, p.live[i], 0, until_ms, 0);
                } else {
                        take(p.free[k], cluster, keys[k]);
                        put(o, p.free[k], serial, until_ms, 0);
                }
        }
        return true;
}

bool owed_get(const struct owed *o, unsigned i, struct mono now, struct owed_debt *ret)
{
        const struct owed_one *one = &o->one[i];
        uint64_t puts = LOAD(&one->puts); /* first: a put in between must not be taken for paid */
        uint64_t serial = LOAD(&one->serial);
        *ret = (struct owed_debt){
            .puts = puts,
            .serial = serial,
            .cluster = LOAD(&one->cluster),
            .key = {{LOAD(&one->key[0]), LOAD(&one->key[1])}},
            .until_ms = LOAD(&one->until_ms),
            .hold_ms = LOAD(&one->hold_ms),
        };
        bool same = LOAD(&one->serial) == serial && LOAD(&one->puts) == puts;
        return same && now.ms < later(ret->until_ms, ret->hold_ms);
}

static void free_place(struct owed_one *one)
{
        STORE(&one->until_ms, 0);
        STORE(&one->hold_ms, 0);
        STORE(&one->serial, 0);
}

/* Reads look at the places no longer than they have to. */
static void lower_latest(struct owed *o)
{
        int64_t latest_ms = 0;
        for (unsigned i = 0; i < OWED_MAX; i++)
                latest_ms = later(latest_ms, end_of(&o->one[i]));
        STORE(&o->latest_ms, latest_ms);
}

void owed_drop_sent(struct owed *o, uint64_t serial)
{
        for (unsigned i = 0; i < OWED_MAX; i++)
                if (LOAD(&o->one[i].serial) == serial)
                        free_place(&o->one[i]);
        lower_latest(o);
}

void owed_drop(struct owed *o, unsigned i, const struct owed_debt *paid)
{
        struct owed_one *one = &o->one[i];
        if (LOAD(&one->puts) != paid->puts)
                return;
        free_place(one);
        lower_latest(o);
}
