/* store.h -- the LMDB environment: one writer, one transaction at a time.
 * daemon/store.c is the only file that includes <lmdb.h>. */
#ifndef PINROUTED_STORE_H
#define PINROUTED_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/pin.h"
#include "proto/key.h"
#include "proto/store.h"
#include "proto/units.h"

struct store;

/* Everything returns one of these; what went wrong is in store_error(). */
enum store_status {
        STORE_OK = 0,
        STORE_ABSENT,  /* nothing there */
        STORE_FULL,    /* max_pins reached or no page left: nothing was changed, raise the floor */
        STORE_CHANGED, /* the pin is no longer the one that was seen */
        STORE_BROKEN,  /* LMDB says the environment is unusable: make a new one */
        STORE_SYSTEM,  /* a system call failed */
};
const char *store_error(void); /* text of the last failure in this process */

/* Bytes of map for max_pins: documented in table.c. */
size_t store_map_size(uint64_t max_pins);

struct store_want {
        const char *dir; /* exists */
        uint64_t max_pins;
        gid_t group; /* of data.mdb; (gid_t)-1: leave */
        uint8_t boot_id[16];
        struct mono now;
        uint32_t stale_after_ms, stale_limit_ms;
        bool fresh; /* do not try to go on with the file that is there */
};

/* What was found: enough to go on after a restart. */
struct store_found {
        bool reused;      /* the file that was there is in use again, pins and all */
        bool old_retired; /* new file, and no earlier one is live: it is marked retired, or of another boot */
        char why_new[160];  /* when not reused: "no file", "layout 7, this daemon writes 1", ... */
        bool holds_unknown; /* there may have been some that nothing below tells of */
        /* As found, also in a file that was replaced, if that was whole and of this boot; else 0. */
        uint32_t layout;
        uint64_t cursor;
        struct mono heartbeat;   /* the last one */
        uint64_t max_generation; /* newest in any cluster record or pin */
        unsigned n_clusters;
        struct pnr_cluster *cluster;                    /* free() */
        struct pnr_endpoint (*endpoint)[PNR_NODES_MAX]; /* per cluster, in the same piece of memory */
        uint8_t admin[PNR_CLUSTERS_MAX][PNR_NODES_MAX]; /* see store_put_admin */
        struct pnr_token_keys tokens;                   /* n is 0: none */
        struct mono live_until[PNR_CLUSTERS_MAX];       /* the latest deadline of any pin, per cluster */
        struct mono hold_until[PNR_CLUSTERS_MAX];       /* the latest hold of any pin, per cluster */
};

/* One store at a time in a process, and one process at a time on a directory: the caller holds a lock.
 * Opens the store in want->dir, or puts a new one in its place by rename (allocated in full, header
 * committed, old one retired first).  Nothing is published as live until the first store_put_header +
 * store_commit. */
int store_open(struct store **ret, const struct store_want *want, struct store_found *found);
void store_close(struct store **s); /* does not retire */

/* Commits PNR_RETIRED into this store's own header, also when the file is no longer linked. */
int store_retire(struct store *s);

/* Is our file still the one at DIR/data.mdb?  Two system calls. */
bool store_is_linked(const struct store *s);

const uint8_t *store_seed(const struct store *s);
const struct pnr_spread *store_spread(const struct store *s); /* of that seed */
uint64_t store_ino(const struct store *s);

/* One transaction at a time.  After STORE_BROKEN or STORE_FULL only store_abort() is left. */
int store_begin(struct store *s);
int store_commit(struct store *s);
void store_abort(struct store *s);

int store_put_header(struct store *s, const struct pnr_header *h);
int store_put_cluster(struct store *s, unsigned cluster, const struct pnr_cluster *c);
int store_put_endpoint(struct store *s, unsigned cluster, unsigned node, const struct pnr_endpoint *e);
int store_put_admin(struct store *s, unsigned cluster, unsigned node,
                    uint8_t admin); /* an operator's word on a node */
int store_put_tokens(struct store *s, const struct pnr_token_keys *keys);

/* Merges `add` (fields by max; its cluster is the slot's) into the pin at `slot`.  Expired pins of the page fall out on
 * the way.  `result`: the pin as it then stands, may be NULL; a hold that is past may be 0.  STORE_FULL: max_pins live
 * pins, no room, or a time beyond PIN_REACH_MS: not merged. */
int store_merge_pin(struct store *s, struct pnr_slot slot, const struct pin *add, struct mono now,
                    struct pin *result);

/* Drops the pin at `slot` if it still equals *seen.  STORE_OK | STORE_ABSENT | STORE_CHANGED. */
int store_drop_pin(struct store *s, struct pnr_slot slot, const struct pin *seen);

/* Inside or outside a transaction. */
int store_get_pin(struct store *s, struct pnr_slot slot, struct pin *ret);

/* Up to `max` live pins (at least PNR_PLACES) from page `from` on (0: the beginning), ordered by page; *next
 * is where to go on, 0: that was all. */
int store_list_pins(struct store *s, uint64_t from, struct mono now, struct pin *ret, unsigned max,
                    unsigned *n, uint64_t *next);

/* One bounded step of the slow sweep: looks at up to `pages` pages, drops expired pins, merges pages that fit
 * into one.  Inside a transaction.  *changed: whether anything was written. */
int store_sweep(struct store *s, struct mono now, unsigned pages, bool *changed);

struct store_count {
        uint64_t pins; /* records in the table, expired ones not yet swept included */
        uint64_t pin_pages;
        uint64_t used_bytes, map_bytes;
        uint64_t transactions; /* id of the last one */
        unsigned reader_slots; /* in lock.mdb: ours, and those of who looks in with LMDB's own tools */
};
void store_count(struct store *s, struct store_count *ret);

#endif
