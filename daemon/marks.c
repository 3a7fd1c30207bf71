/* marks.c -- a rising list of (mark, WAL position).
 * Pure: no I/O, no clock. */
#include "daemon/marks.h"

void marks_clear(struct marks *m) { m->n = 0; }

static void thin(struct marks *m)
{
        unsigned kept = 0;
        for (unsigned i = 0; i < m->n; i++)
                if (i >= m->n / 2 || i % 2 == 0)
                        m->list[kept++] = m->list[i];
        m->n = kept;
}

void marks_put(struct marks *m, uint64_t mark, struct lsn at)
{
        while (m->n && (lsn_reached(m->list[m->n - 1].at, at) || m->list[m->n - 1].mark >= mark))
                m->n--;
        if (m->n == MARKS_MAX)
                thin(m);
        m->list[m->n++] = (struct mark){mark, at};
}

uint64_t marks_reached(const struct marks *m, struct lsn have)
{
        unsigned lo = 0, hi = m->n; /* list[lo-1] is reached, list[hi] is not */
        while (lo < hi) {
                unsigned mid = (lo + hi) / 2;
                if (lsn_reached(have, m->list[mid].at))
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo ? m->list[lo - 1].mark : 0;
}

struct lsn marks_at(const struct marks *m, uint64_t mark)
{
        for (unsigned i = 0; i < m->n; i++)
                if (m->list[i].mark >= mark)
                        return m->list[i].at;
        return (struct lsn){0};
}
