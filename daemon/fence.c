/* fence.c -- generations and their fences.
 * Pure: no I/O, no clock. */
#include "daemon/fence.h"

void fence_init(struct fence *f, uint64_t first) { *f = (struct fence){.open = first ? first : 1}; }

uint64_t fence_carry(struct fence *f) { return f->carried = f->open; }

void fence_remember(struct fence *f, uint64_t generation)
{
        if (generation > f->carried)
                f->carried = generation;
        if (generation > f->open)
                f->open = generation;
}

void fence_open_next(struct fence *f) { f->open++; }

void fence_close(struct fence *f)
{
        if (f->carried == f->open)
                fence_open_next(f);
        f->asked = f->open - 1;
}

void fence_answer(struct fence *f, struct lsn position)
{
        if (f->asked > f->fenced) {
                marks_put(&f->marks, f->asked, position);
                f->fenced = f->asked;
        }
        f->asked = 0;
}

void fence_failed(struct fence *f) { f->asked = 0; }

void fence_reset(struct fence *f)
{
        marks_clear(&f->marks);
        f->fenced = f->asked = 0;
        fence_open_next(f);
}

uint64_t fence_reached(const struct fence *f, struct lsn replayed)
{
        return marks_reached(&f->marks, replayed);
}
