/* history.c -- rings of one value a second.
 * No I/O, no clock; allocates one ring for each node that is configured, and works without where it cannot. */
#include "daemon/history.h"

#include <stdlib.h>
#include <string.h>

static unsigned place_of(int64_t second) { return (unsigned)(second % HISTORY_SECONDS); }

/* Nobody has seen this second yet. */
static void clear(struct history_node *n, unsigned at)
{
        n->lag_ms[at] = HISTORY_UNKNOWN;
        n->share[at] = 0;
        n->state[at] = HISTORY_ABSENT;
}

static void clear_all(struct history *h, unsigned at)
{
        h->stored[at] = HISTORY_UNKNOWN;
        for (unsigned c = 0; c < PNR_CLUSTERS_MAX; c++) {
                h->waiting[c][at] = HISTORY_UNKNOWN;
                for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++)
                        if (h->node[c][slot])
                                clear(h->node[c][slot], at);
        }
}

static int64_t second_of(struct mono now) { return now.ms / 1000; }

void history_fini(struct history *h)
{
        for (unsigned c = 0; c < PNR_CLUSTERS_MAX; c++)
                for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++)
                        free(h->node[c][slot]);
        memset(h, 0, sizeof *h);
}

bool history_is_due(const struct history *h, struct mono now) { return second_of(now) > h->second; }

static uint32_t bounded(uint64_t n) { return n < HISTORY_UNKNOWN ? (uint32_t)n : HISTORY_UNKNOWN - 1; }

void history_begin(struct history *h, struct mono now, uint64_t stored)
{
        int64_t next = second_of(now), from = h->second + 1;
        if (next - from >= HISTORY_SECONDS)
                from = next - HISTORY_SECONDS + 1;
        for (int64_t s = from; s <= next; s++)
                clear_all(h, place_of(s));
        h->passed = next - h->second;
        h->second = next;
        h->stored[place_of(next)] = bounded(stored);
}

static uint32_t lag_of(const struct cluster *c, unsigned slot)
{
        int64_t ms = c->node[slot].facts.lag_ms;
        if (slot == c->primary || ms == LAG_UNKNOWN)
                return HISTORY_UNKNOWN;
        return bounded((uint64_t)ms);
}

static enum history_state state_of(const struct cluster_node *n)
{
        if (n->admin == NODE_MAINT)
                return HISTORY_MAINT;
        switch (n->state) {
        case NODE_UP: return n->admin == NODE_DRAIN ? HISTORY_DRAIN : HISTORY_UP;
        case NODE_DOWN: return HISTORY_DOWN;
        case NODE_UNKNOWN: return HISTORY_UNSURE;
        }
        return HISTORY_ABSENT;
}

static struct history_node *ring_for(struct history *h, const struct cluster *c, unsigned slot)
{
        struct history_node **ring = &h->node[c->number][slot];
        const char *name = c->node[slot].conf.name;
        if (*ring && strcmp((*ring)->name, name) != 0) {
                free(*ring);
                *ring = NULL;
        }
        if (*ring || !name[0])
                return *ring;
        *ring = calloc(1, sizeof **ring);
        for (unsigned at = 0; *ring && at < HISTORY_SECONDS; at++)
                clear(*ring, at);
        if (*ring)
                memcpy((*ring)->name, name, sizeof(*ring)->name);
        return *ring;
}

/* A node's first total says nothing of the last second, nor does one that fell: the slot's count began anew. */
static void count_decided(struct history_node *n, uint64_t decided, int64_t passed, bool is_new)
{
        n->per_second =
            is_new || decided < n->decided ? 0 : bounded((decided - n->decided) / (uint64_t)passed);
        n->decided = decided;
}

void history_take(struct history *h, const struct cluster *c, const uint64_t decided[PNR_NODES_MAX])
{
        unsigned at = place_of(h->second), places[PNR_NODES_MAX] = {0};
        for (unsigned i = 0; i < c->n_schedule; i++)
                places[c->schedule[i]]++;
        h->waiting[c->number][at] = bounded(c->release.created - c->release.early - c->release.expired);
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++) {
                const struct cluster_node *n = &c->node[slot];
                const struct history_node *before = h->node[c->number][slot];
                struct history_node *ring = ring_for(h, c, slot);
                if (!ring)
                        continue;
                count_decided(ring, decided[slot], h->passed, ring != before);
                ring->lag_ms[at] = lag_of(c, slot);
                ring->share[at] = (uint16_t)(places[slot] ? places[slot] * 1000 / c->n_schedule : 0);
                ring->state[at] = (uint8_t)state_of(n);
        }
}

void history_read(const struct history *h, unsigned cluster, unsigned slot, struct history_node *ret)
{
        const struct history_node *ring = h->node[cluster][slot];
        memset(ret, 0, sizeof *ret);
        for (unsigned i = 0; i < HISTORY_SECONDS; i++) {
                unsigned at = place_of(h->second + 1 + i);
                ret->lag_ms[i] = ring ? ring->lag_ms[at] : HISTORY_UNKNOWN;
                ret->share[i] = ring ? ring->share[at] : 0;
                ret->state[i] = ring ? ring->state[at] : HISTORY_ABSENT;
        }
        if (!ring)
                return;
        memcpy(ret->name, ring->name, sizeof ret->name);
        ret->decided = ring->decided;
        ret->per_second = ring->per_second;
}

static void unroll(const struct history *h, const uint32_t ring[HISTORY_SECONDS],
                   uint32_t ret[HISTORY_SECONDS])
{
        for (unsigned i = 0; i < HISTORY_SECONDS; i++)
                ret[i] = h->second ? ring[place_of(h->second + 1 + i)] : HISTORY_UNKNOWN;
}

void history_read_stored(const struct history *h, uint32_t ret[HISTORY_SECONDS])
{
        unroll(h, h->stored, ret);
}

void history_read_waiting(const struct history *h, unsigned cluster, uint32_t ret[HISTORY_SECONDS])
{
        unroll(h, h->waiting[cluster], ret);
}
