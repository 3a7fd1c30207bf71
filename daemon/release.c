/* release.c -- how a cluster's pins ended.
 * Pure: no I/O, no clock. */
#include "daemon/release.h"

#include <stddef.h>

/* The newest batch that the record may belong to. */
static struct release_batch *newest(struct release *r, bool held)
{
        for (unsigned i = r->n; i-- > 0;)
                if (r->batch[i].held == held)
                        return &r->batch[i];
        return NULL;
}

static bool joins(const struct release *r, const struct release_batch *b, uint64_t generation,
                  struct mono until, struct mono now)
{
        if (b->generation == generation)
                return true;
        return r->n >= RELEASE_FINE && mono_since(now, b->first) < mono_since(until, now) / RELEASE_COARSE;
}

void release_record(struct release *r, uint64_t generation, uint64_t pins, bool held, struct mono until,
                    struct mono now)
{
        struct release_batch *b = newest(r, held);
        r->created += pins;
        if (r->n == RELEASE_BATCHES) /* pins of very different length: with the last, whatever that is */
                b = b ? b : &r->batch[r->n - 1];
        else if (!b || !joins(r, b, generation, until, now)) {
                b = &r->batch[r->n++];
                *b = (struct release_batch){.first = now, .held = held};
        }
        b->held = b->held || held;
        b->generation = generation;
        b->pins += pins;
        b->until = mono_later(b->until, until);
}

void release_reach(struct release *r, uint64_t generation, struct mono now)
{
        unsigned kept = 0;
        release_expire(r, now);
        for (unsigned i = 0; i < r->n; i++) {
                const struct release_batch *b = &r->batch[i];
                if (b->held || b->generation > generation) {
                        r->batch[kept++] = *b;
                        continue;
                }
                r->early += b->pins;
                histogram_add(&r->delay, &histogram_of_releases, (uint64_t)mono_since(now, b->first) * 1000,
                              b->pins);
        }
        r->n = kept;
}

void release_expire(struct release *r, struct mono now)
{
        unsigned kept = 0;
        for (unsigned i = 0; i < r->n; i++) {
                if (mono_reached(now, r->batch[i].until))
                        r->expired += r->batch[i].pins;
                else
                        r->batch[kept++] = r->batch[i];
        }
        r->n = kept;
}
