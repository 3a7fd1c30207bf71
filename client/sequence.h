/* sequence.h -- a sequence lock: one thread writes, all others read, and who read while it wrote finds out.
 * For memory that a fork wipes, since a child may come from the middle of a write.  Readers load with acquire, the
 * writer stores with release: who sees a field of a write sees an odd sequence, or a later one, when it looks again.
 * On x86 that costs nothing, and TSan knows it, which does not know fences. */
#ifndef PINROUTE_SEQUENCE_H
#define PINROUTE_SEQUENCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SEQUENCE_LOAD(at)        atomic_load_explicit(&(at), memory_order_acquire)
#define SEQUENCE_STORE(at, what) atomic_store_explicit(&(at), what, memory_order_release)

/* Odd: being written; 0: nothing was written yet. */
struct sequence {
        _Atomic uint64_t n;
};

/* false: another thread is writing.  *at is for sequence_end(). */
static inline bool sequence_begin(struct sequence *s, uint64_t *at)
{
        *at = atomic_load_explicit(&s->n, memory_order_relaxed);
        return !(*at & 1) && atomic_compare_exchange_strong_explicit(&s->n, at, *at + 1, memory_order_relaxed,
                                                                     memory_order_relaxed);
}

static inline void sequence_end(struct sequence *s, uint64_t at) { SEQUENCE_STORE(s->n, at + 2); }

static inline bool sequence_is_whole(uint64_t at) { return at != 0 && !(at & 1); }

/* After all that was read since `at` was loaded: was nothing written meanwhile? */
static inline bool sequence_holds(const struct sequence *s, uint64_t at)
{
        return atomic_load_explicit(&s->n, memory_order_relaxed) == at;
}

#endif
