/* page_row.h -- one node's row of the status page: words, numbers, and its last minutes as small plots.
 * Reads the daemon's state, writes HTML. */
#ifndef PINROUTED_PAGE_ROW_H
#define PINROUTED_PAGE_ROW_H

#include "daemon/core.h"

struct evbuffer;

struct page_row {
        const struct core *core;
        const struct cluster *cluster;
        unsigned slot;
        bool plots;
        struct mono now;
        int64_t wall_ms; /* that moment by the clock on the wall */
};

void page_row_head(struct evbuffer *out); /* the table's first line: names of the columns */
void page_row_put(struct evbuffer *out, const struct page_row *row);

/* A moment as a <time>: its text is how long ago it was, by the same clocks. */
void page_row_ago(struct evbuffer *out, struct mono then, struct mono now, int64_t wall_ms);

#endif
