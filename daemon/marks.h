/* marks.h -- a rising list of (mark, WAL position): which mark has a replica reached?
 * Used twice: generations with their fences, and times with the primary's position then.  Pure. */
#ifndef PINROUTED_MARKS_H
#define PINROUTED_MARKS_H

#include <stdint.h>

#include "proto/units.h"

#define MARKS_MAX 1024

struct marks {
        unsigned n;
        struct mark {
                uint64_t mark;
                struct lsn at;
        } list[MARKS_MAX]; /* both rise strictly */
};

void marks_clear(struct marks *m);

/* Adds a mark above all others.  Earlier ones at the same or a later position say nothing more (who has
 * reached this has the newer mark) and fall out.  When full, every second mark of the older half goes: who
 * stands between two kept marks is then credited with less than it has, never with more. */
void marks_put(struct marks *m, uint64_t mark, struct lsn at);

/* The greatest mark whose position `have` has reached; 0: none. */
uint64_t marks_reached(const struct marks *m, struct lsn have);

/* The position of the first mark that is `mark` or greater: who has reached it has that mark.  0: there is none. */
struct lsn marks_at(const struct marks *m, uint64_t mark);

static inline bool marks_empty(const struct marks *m) { return m->n == 0; }
static inline struct mark marks_newest(const struct marks *m)
{
        return m->n ? m->list[m->n - 1] : (struct mark){0, {0}};
}

#endif
