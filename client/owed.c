/* owed.c -- records that failed: pinned in this process, owed to the daemon.
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
        if (now.ms >= LOAD(&o->latest_ms))
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

void owed_put_all(struct owed *o, int64_t until_ms)
{
        raise(&o->all_until_ms, until_ms);
        raise(&o->latest_ms, until_ms);
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
        if (free) {
                STORE(&free->until_ms, 0);
                STORE(&free->hold_ms, 0);
                STORE(&free->key[0], key.w[0]);
                STORE(&free->key[1], key.w[1]);
                STORE(&free->cluster, cluster);
        }
        return free;
}

void owed_put(struct owed *o, unsigned cluster, struct pnr_key key, int64_t until_ms, int64_t hold_ms,
              struct mono now)
{
        struct owed_one *one = place_for(o, cluster, key, now);
        int64_t end_ms = later(until_ms, hold_ms);
        if (!one) {
                owed_put_all(o, end_ms);
                return;
        }
        raise(&one->hold_ms, hold_ms);
        raise(&one->until_ms, until_ms);
        atomic_fetch_add_explicit(&one->puts, 1, memory_order_acq_rel); /* last: who sees it sees the times */
        raise(&o->latest_ms, end_ms);
}

bool owed_get(const struct owed *o, unsigned i, struct mono now, struct owed_debt *ret)
{
        const struct owed_one *one = &o->one[i];
        *ret = (struct owed_debt){
            .puts = LOAD(&one->puts), /* first: a put in between must not be taken for paid */
            .cluster = LOAD(&one->cluster),
            .key = {{LOAD(&one->key[0]), LOAD(&one->key[1])}},
            .until_ms = LOAD(&one->until_ms),
            .hold_ms = LOAD(&one->hold_ms),
        };
        return now.ms < later(ret->until_ms, ret->hold_ms);
}

void owed_drop(struct owed *o, unsigned i, const struct owed_debt *paid)
{
        struct owed_one *one = &o->one[i];
        if (LOAD(&one->puts) != paid->puts)
                return;
        STORE(&one->until_ms, 0);
        STORE(&one->hold_ms, 0);
}
