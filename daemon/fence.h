/* fence.h -- generations of pins, and the primary's positions that close them.  Pure.
 *
 * Every pin is recorded under the open generation.  fence_close() opens the next one FIRST; only then may the
 * primary be asked for its position, and the answer is the fence of everything closed before the question:
 * each such record came after its COMMIT had returned, so its commit record lies before the answer. */
#ifndef PINROUTED_FENCE_H
#define PINROUTED_FENCE_H

#include <stdbool.h>

#include "daemon/marks.h"

struct fence {
        uint64_t open;    /* carried by pins recorded now; never 0 */
        uint64_t carried; /* newest generation that any pin or floor carries */
        uint64_t fenced;  /* newest generation that has a fence; 0: none */
        uint64_t asked;   /* generations up to this wait for the answer in flight; 0: no question */
        struct marks marks;
};

void fence_init(struct fence *f, uint64_t first);

/* A pin is being recorded: the generation that it carries. */
uint64_t fence_carry(struct fence *f);

/* A pin or floor from before a restart carries `generation`. */
void fence_remember(struct fence *f, uint64_t generation);

/* Does a pin wait for a fence that has not been taken? */
static inline bool fence_wanted(const struct fence *f) { return f->carried > f->fenced; }

/* Closes the open generation if anything carries it.  Call right before asking the primary. */
void fence_close(struct fence *f);

/* The answer to a question sent after the last fence_close() / there was none. */
void fence_answer(struct fence *f, struct lsn position);
void fence_failed(struct fence *f);

/* Opens a new generation above all, whether carried or not: start, stall. */
void fence_open_next(struct fence *f);

/* Another primary or timeline: no earlier fence releases anybody, what waits has to be fenced anew. */
void fence_reset(struct fence *f);

/* The newest generation that a replica at `replayed` has caught up with; 0: none. */
uint64_t fence_reached(const struct fence *f, struct lsn replayed);

#endif
