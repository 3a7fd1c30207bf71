/* counts.h -- the memory in which processes count their decisions, and the one that all of a host share.
 * Layout only.  Makes and reads it: daemon/counts.c.  Maps and writes it: client/tally.c.
 *
 * One sealed memfd of fixed size per family of processes: one that opened a handle, and the children that it forks.
 * It is sparse: only pages that were written cost memory.  Each process takes a lane (an atomic add to next_lane of
 * lane 0) and alone writes to it; all who come later share the last one, and add atomically.
 * The daemon believes nothing of it but that it is a number: whoever may write here may write anything.
 * Who knows PNR_FEATURE_COUNTS (wire.h) knows this layout: another layout is another feature. */
#ifndef PNR_COUNTS_H
#define PNR_COUNTS_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#include "proto/store.h"

#define PNR_COUNT_LANES   32
#define PNR_COUNT_REASONS 16 /* enum pinroute_reason: room for those to come */

struct pnr_count_head {
        _Atomic uint64_t next_lane;                /* in lane 0 only: lanes taken so far, or more */
        _Atomic uint64_t used;                     /* bit c: something was counted in page[c] */
        _Atomic uint64_t count[PNR_COUNT_REASONS]; /* answers that name no node of a store */
        uint64_t reserved[512 - 2 - PNR_COUNT_REASONS];
};
static_assert(sizeof(struct pnr_count_head) == PNR_PAGE_SIZE, "a page");

/* By slot and reason, in the cluster that has this number in the store. */
struct pnr_count_page {
        _Atomic uint64_t count[PNR_NODES_MAX][PNR_COUNT_REASONS];
};
static_assert(sizeof(struct pnr_count_page) == PNR_PAGE_SIZE, "a page");

struct pnr_count_lane {
        struct pnr_count_head head;
        struct pnr_count_page page[PNR_CLUSTERS_MAX];
};
static_assert(sizeof(struct pnr_count_lane) == 65 * PNR_PAGE_SIZE, "on the wire: PNR_FEATURE_COUNTS");

struct pnr_counts {
        struct pnr_count_lane lane[PNR_COUNT_LANES];
};
static_assert(sizeof(struct pnr_counts) == 2080 * PNR_PAGE_SIZE, "on the wire: PNR_FEATURE_COUNTS");

/* The one memfd that all processes of the host share, and all may write. */
struct pnr_common {
        struct {
                _Atomic uint64_t budget; /* of the cluster with this number: second << 24 | used in it */
                uint64_t reserved[7];
        } of[PNR_CLUSTERS_MAX];
};
static_assert(sizeof(struct pnr_common) == PNR_PAGE_SIZE, "on the wire: PNR_FEATURE_COUNTS");

#endif
