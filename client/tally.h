/* tally.h -- what this process has decided, counted by cluster, node and reason where the daemon can read it.
 * Maps what ask.c was handed, and counts; asks nobody.  Without a daemon's memory it counts in its own.
 *
 * A place is the number of a word in a lane (proto/counts.h), the same in every lane: 0 is none.
 * What a dead daemon's memory has counted goes with it. */
#ifndef PINROUTE_TALLY_H
#define PINROUTE_TALLY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#else
#define __libc_single_threaded false
#endif

#include "proto/counts.h"

#define TALLY_WORDS (sizeof(struct pnr_count_lane) / sizeof(uint64_t))

/* What one daemon handed out.  Stays mapped for the handle's life: other threads may be counting there. */
struct tally_memory {
        struct tally_memory *older;
        uint64_t epoch; /* of that daemon */
        struct pnr_counts *family;
        struct pnr_common *common;
};

/* In memory that a fork wipes; zeros are a good start. */
struct tally_fresh {
        _Atomic uintptr_t lane;                /* | TALLY_ALONE; 0: none yet, so the process's own */
        const struct tally_memory *_Atomic of; /* what `lane` lies in; NULL: in nothing of a daemon's */
        atomic_uint entering;                  /* a thread is about to change the lane */
        _Atomic uint64_t asking;               /* epoch of a daemon that was asked, and has not answered */
        _Atomic int64_t refused_ms;            /* when a daemon last gave nothing */
        atomic_uint strays; /* times yet to look for what a thread added to the own lane after it was left */
};

#define TALLY_ALONE 1u /* nobody but this process writes to the lane */

/* In ordinary memory: a child inherits what is mapped. */
struct tally {
        struct tally_fresh *fresh;
        struct pnr_count_lane *own; /* wiped by a fork, too */
        struct tally_memory *_Atomic memory;
        _Atomic uint64_t met;     /* epoch of the daemon that was greeted last */
        _Atomic int64_t again_ms; /* no daemon is looked for before this */
        _Atomic uint64_t *budget; /* of each cluster, while there is no common memory */
};

/* budget: PNR_CLUSTERS_MAX words that all descendants of the opener share. */
void tally_init(struct tally *t, struct tally_fresh *fresh, struct pnr_count_lane *own,
                _Atomic uint64_t *budget);

/* Unmaps.  No other thread may be counting. */
void tally_fini(struct tally *t);

/* Where an answer counts.
 *   number, slot   the store's, of the cluster and of the node that was named; no slot below PNR_NODES_MAX: none was */
static inline uint32_t tally_place(uint32_t number, uint32_t slot, uint32_t reason)
{
        uint32_t in_page = slot < PNR_NODES_MAX && number < PNR_CLUSTERS_MAX
                               ? (1 + number) * (PNR_PAGE_SIZE / 8) + slot * PNR_COUNT_REASONS
                               : (uint32_t)offsetof(struct pnr_count_head, count) / 8;
        return in_page + reason % PNR_COUNT_REASONS;
}

/* Counts in the own lane, or in one that others write to. */
void tally_add_shared(struct tally *t, uint32_t place);

/* One more.  No system call.  A locked instruction costs more than all the rest: alone, a process does without. */
static inline __attribute__((always_inline)) void tally_add(struct tally *t, struct tally_fresh *fresh,
                                                            uint32_t place)
{
        uintptr_t lane = atomic_load_explicit(&fresh->lane, memory_order_relaxed);
        if (!(__libc_single_threaded && lane & TALLY_ALONE)) {
                tally_add_shared(t, place);
                return;
        }
        _Atomic uint64_t *at = (_Atomic uint64_t *)(lane - TALLY_ALONE) + place;
        atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* Before anything is counted for this cluster of the store: takes a lane if this process has none in the newest
 * memory, and says that the cluster's page is in use.  No system call. */
void tally_enter(struct tally *t, unsigned number);

/* Has the daemon of this epoch not been greeted by us or our parent, or given us nothing, and is it this thread's turn
 * to go there?  Each try that does not end in tally_met() puts off the next for ten seconds. */
bool tally_may_meet(struct tally *t, uint64_t epoch, int64_t now_ms);

/* A daemon was greeted.  Is its memory to be asked for?  If so, tally_have() follows, if there is an answer.  One that
 * gave nothing is not asked again for ten seconds: until then this process is refused. */
bool tally_wants(struct tally *t, uint64_t epoch, int64_t now_ms);
bool tally_is_refused(const struct tally *t);
void tally_met(struct tally *t, uint64_t epoch); /* and all was said */

/* Its answer: two descriptors, which stay the caller's; -1: it gave none.  Whatever is not a sealed memfd of the right
 * size is not mapped: what can be cut off while it is mapped kills its reader. */
void tally_have(struct tally *t, uint64_t epoch, int family, int common, int64_t now_ms);

/* Its answer did not come in time: it may be asked again. */
void tally_give_up(struct tally *t);

/* The word of the budget of this cluster of the store: of the host, or while no daemon has handed one out, of this
 * process and its relatives.  Never NULL. */
_Atomic uint64_t *tally_budget(struct tally *t, unsigned number);

#endif
