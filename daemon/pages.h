/* pages.h -- the pin pages of a store, by range: what daemon/store.c offers to daemon/table.c, and to no one
 * else. A page that was handed out is valid until the next reserve, put or drop, or the end of the transaction. */
#ifndef PINROUTED_PAGES_H
#define PINROUTED_PAGES_H

#include "daemon/store.h"

struct tally {
        uint64_t pins, pages; /* undone when the transaction is aborted */
        uint64_t sweep_at;    /* where the sweep goes on; 0: at the first page.  Not undone: a full table is
                               * aborted each time, and the search for room has to get on nevertheless */
};
struct tally *pages_tally(struct store *s);
uint64_t pages_max_pins(const struct store *s);
size_t pages_map_size(const struct store *s); /* bytes */

/* Around reads that may be asked for outside a transaction. */
int pages_begin_read(struct store *s);
void pages_end_read(struct store *s);

/* The page whose range holds `place`; the first page at or after `from`.  STORE_ABSENT: there is none. */
int pages_holding(struct store *s, uint64_t place, uint64_t *lo, const struct pnr_pins **ret);
int pages_from(struct store *s, uint64_t from, uint64_t *lo, const struct pnr_pins **ret);

/* A place for the page `lo`, there already or not: the caller fills all of *ret before anything else is asked.  liblmdb
 * writes a page of this transaction where it stands and any other to a new place, so what pages_holding() or
 * pages_from() handed out last can still be read, and has not changed yet where *ret is that very page. */
int pages_reserve(struct store *s, uint64_t lo, struct pnr_pins **ret);

static inline int pages_put(struct store *s, uint64_t lo, const struct pnr_pins *page)
{
        struct pnr_pins *to;
        int rc = pages_reserve(s, lo, &to);
        if (rc == STORE_OK)
                *to = *page;
        return rc;
}

int pages_drop(struct store *s, uint64_t lo);

/* Says why, for store_error(). */
int pages_full(const char *why);

#endif
