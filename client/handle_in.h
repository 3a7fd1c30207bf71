/* handle_in.h -- what lies in a handle, for the two files that know: handle.c (from open to close, and the way to the
 * store) and route.c (reads).  The others go by handle.h. */
#ifndef PINROUTE_HANDLE_IN_H
#define PINROUTE_HANDLE_IN_H

#include <stdalign.h>
#include <stdatomic.h>

#include "client/ask.h"
#include "client/handle.h"
#include "client/names.h"
#include "client/owed.h"
#include "client/recall.h"
#include "client/tally.h"
#include "client/view.h"

/* Memory that a fork wipes: a child starts with a free lock, no connection, and no turn of its own yet. */
struct fresh {
        struct ask_fresh ask;
        struct lock table;      /* of cluster names and debts: held for memory only */
        _Atomic uint64_t start; /* this process's first turn * 2 + 1; 0: none yet */
        struct tally_fresh tally;
        struct walk_root top; /* of the snapshot that recall[] speaks of, or another */
        struct {
                alignas(64) struct recall recall;
                _Atomic uint64_t turn; /* steps since `start` */
        } of[PINROUTE_CLUSTERS_MAX];
        alignas(PNR_PAGE_SIZE) struct pnr_count_lane counts; /* while there is no daemon's memory for them */
};

/* A page that all descendants of the opener share. */
struct family {
        _Atomic uint64_t children;                 /* that have taken a turn */
        _Atomic uint64_t budget[PNR_CLUSTERS_MAX]; /* while no daemon has handed out the host's */
};

struct pinroute {
        char dir[sizeof((struct sockaddr_un *)0)->sun_path];
        char primary[PNR_NAME_SIZE]; /* $PINROUTE_PRIMARY */
        struct fresh *fresh;
        struct family *family;
        uint64_t base; /* the opener's turn */
        struct ask ask;
        struct tally tally;
        struct owed owed;           /* by our own clock, whatever we learn of the daemon's */
        struct view *_Atomic view;  /* NULL: none yet */
        _Atomic int64_t look_ms;    /* no look for a new store before this */
        atomic_uint stale_after_ms; /* as the store last said */
        atomic_uint timeout_ms;
        struct names names;                        /* of clusters */
        atomic_uint number[PINROUTE_CLUSTERS_MAX]; /* the store's number when last seen: a guess */
};

/* The daemon's time, when it is `here` by our own clock. */
static inline struct mono handle_there(const struct pinroute *pr, struct mono here)
{
        struct mono t = mono_plus(here, atomic_load_explicit(&pr->ask.clock_ahead_ms, memory_order_relaxed));
        return t.ms < 0 ? (struct mono){0} : t;
}

/* A process's first read takes its start: one atomic add in memory that only its relatives share. */
static inline uint64_t handle_start(struct pinroute *pr)
{
        _Atomic uint64_t *at = &pr->fresh->start;
        uint64_t start = atomic_load_explicit(at, memory_order_relaxed);
        if (start == 0) {
                uint64_t mine = (pr->base + atomic_fetch_add(&pr->family->children, 1)) << 1 | 1;
                if (atomic_compare_exchange_strong(at, &start, mine))
                        start = mine;
        }
        return start >> 1;
}

#endif
