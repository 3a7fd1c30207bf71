/* recall.h -- what the newest snapshot said of one cluster, kept so that the next read need not walk to it.
 * Pure but for its own memory: no I/O, no clock, no lock.  route.c asks it before it asks the store.
 * Who reads while another thread writes finds nothing, which costs a walk through the store.  Zeros hold nothing. */
#ifndef PINROUTE_RECALL_H
#define PINROUTE_RECALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/choose.h"
#include "client/sequence.h"
#include "client/walk.h"
#include "proto/key.h"
#include "proto/store.h"

struct view;

/* Good for as long as `snap` is the newest of `view`. */
struct recalled {
        const struct view *view;
        struct walk_snap snap;
        const struct pnr_cluster *cluster; /* in the map of `view` */
        uint64_t epoch;
        int64_t heartbeat_ms;
        uint32_t stale_after_ms, stale_limit_ms;
        uint32_t number; /* the store's, of the cluster */
        struct pnr_spread spread;
        struct choice plain;  /* for who needs nothing */
        int64_t floor_end_ms; /* when a key without a pin is one who needs nothing */
};

struct recall {
        struct sequence sequence;
        const struct view *_Atomic view;
        _Atomic uint64_t id, root;
        const struct pnr_cluster *_Atomic cluster;
        _Atomic uint64_t epoch;
        _Atomic int64_t heartbeat_ms;
        _Atomic int64_t floor_end_ms;
        _Atomic uint64_t place[PNR_SPREAD_TERMS], tag[PNR_SPREAD_TERMS];
        _Atomic uint32_t depth, meta, stale_after_ms, stale_limit_ms, number, reason, pool;
};

/* false: nothing there, or it is being written. */
static inline __attribute__((always_inline)) bool recall_get(const struct recall *r, struct recalled *ret)
{
        uint64_t sequence = SEQUENCE_LOAD(r->sequence.n);
        ret->view = SEQUENCE_LOAD(r->view);
        ret->snap.id = SEQUENCE_LOAD(r->id);
        ret->snap.root = SEQUENCE_LOAD(r->root);
        ret->snap.depth = SEQUENCE_LOAD(r->depth);
        ret->snap.meta = SEQUENCE_LOAD(r->meta);
        ret->snap.top = NULL;
        ret->cluster = SEQUENCE_LOAD(r->cluster);
        ret->epoch = SEQUENCE_LOAD(r->epoch);
        ret->heartbeat_ms = SEQUENCE_LOAD(r->heartbeat_ms);
        ret->stale_after_ms = SEQUENCE_LOAD(r->stale_after_ms);
        ret->stale_limit_ms = SEQUENCE_LOAD(r->stale_limit_ms);
        ret->number = SEQUENCE_LOAD(r->number);
        ret->plain.reason = (enum pinroute_reason)SEQUENCE_LOAD(r->reason);
        ret->plain.pool = SEQUENCE_LOAD(r->pool);
        ret->plain.pin_left_ms = 0;
        ret->floor_end_ms = SEQUENCE_LOAD(r->floor_end_ms);
        static_assert(PNR_SPREAD_TERMS == 3, "each by itself: gcc's analyzer loses count of them in a loop");
        ret->spread = (struct pnr_spread){
            .place = {SEQUENCE_LOAD(r->place[0]), SEQUENCE_LOAD(r->place[1]), SEQUENCE_LOAD(r->place[2])},
            .tag = {SEQUENCE_LOAD(r->tag[0]), SEQUENCE_LOAD(r->tag[1]), SEQUENCE_LOAD(r->tag[2])}};
        return sequence_is_whole(sequence) && sequence_holds(&r->sequence, sequence);
}

/* Where two threads come at once, one of them puts. */
void recall_put(struct recall *r, const struct recalled *what);

#endif
