/* recall.c -- what the newest snapshot said of one cluster, kept so that the next read need not walk to it.
 * Pure but for its own memory: no I/O, no clock, no lock. */
#include "client/recall.h"

#define STORE SEQUENCE_STORE

void recall_put(struct recall *r, const struct recalled *what)
{
        uint64_t at;
        if (!sequence_begin(&r->sequence, &at))
                return;
        STORE(r->view, what->view);
        STORE(r->id, what->snap.id);
        STORE(r->root, what->snap.root);
        STORE(r->depth, what->snap.depth);
        STORE(r->meta, what->snap.meta);
        STORE(r->cluster, what->cluster);
        STORE(r->epoch, what->epoch);
        STORE(r->heartbeat_ms, what->heartbeat_ms);
        STORE(r->stale_after_ms, what->stale_after_ms);
        STORE(r->stale_limit_ms, what->stale_limit_ms);
        STORE(r->number, what->number);
        STORE(r->reason, what->plain.reason);
        STORE(r->pool, what->plain.pool);
        STORE(r->floor_end_ms, what->floor_end_ms);
        for (unsigned i = 0; i < PNR_SPREAD_TERMS; i++) {
                STORE(r->place[i], what->spread.place[i]);
                STORE(r->tag[i], what->spread.tag[i]);
        }
        sequence_end(&r->sequence, at);
}
