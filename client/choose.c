/* choose.c -- the decision: where does this read go?
 * Pure: no I/O, no clock, no memory of its own.  Bounds every number that it takes from a record. */
#include "client/choose.h"

/* Our clock is coarse: it lags behind the daemon's by at most one tick of the kernel, 10 ms at 100 Hz.  A
 * stamp further ahead than a few of those is of another clock, and would be taken as fresh for as long as it
 * is. */
#define STAMP_AHEAD_MAX_MS 50

static uint32_t left_of(const struct need *n, struct mono now)
{
        int64_t end = n->until_ms > n->hold_ms ? n->until_ms : n->hold_ms;
        int64_t left = end - now.ms;
        return left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
}

static uint32_t nodes_of(const volatile struct pnr_cluster *c)
{
        unsigned n = c->n_nodes;
        return n >= PNR_NODES_MAX ? UINT32_MAX : (1u << n) - 1;
}

/* Nodes in the schedule whose caught-up generation is fresh and has reached the need. */
static uint32_t caught_up(const volatile struct pnr_cluster *c, uint32_t nodes, const struct need *need,
                          struct mono now)
{
        uint32_t pool = 0;
        int64_t trust_ms = c->trust_ms;
        for (uint32_t rest = nodes; rest; rest &= rest - 1) {
                unsigned i = (unsigned)__builtin_ctz(rest);
                uint64_t generation = c->node[i].caught_up;
                int64_t stamp_ms = c->node[i].stamp_ms;
                bool fresh = stamp_ms > now.ms - trust_ms && stamp_ms <= now.ms + STAMP_AHEAD_MAX_MS;
                if (generation != 0 && generation >= need->generation && fresh)
                        pool |= 1u << i;
        }
        return pool;
}

struct choice choose(const struct facts *f)
{
        const volatile struct pnr_cluster *c = f->cluster;
        if (choose_is_void(f))
                return (struct choice){.reason = PINROUTE_STORE_UNAVAILABLE};
        if (f->forced)
                return (struct choice){.reason = PINROUTE_FORCED};
        if (f->keyed && choose_is_stale(f))
                return (struct choice){.reason = PINROUTE_STORE_STALE};
        uint32_t nodes = c->n_schedule ? c->scheduled & nodes_of(c) : 0;
        if (f->keyed) {
                struct need need = {0};
                struct need floor = {.generation = c->floor_generation,
                                     .until_ms = c->floor_until_ms,
                                     .hold_ms = c->floor_hold_ms};
                bool pinned = need_add(&need, &f->pin, f->now);
                bool failed = need_add(&need, &f->local, f->now);
                uint32_t left_ms = left_of(pinned || failed ? &need : &floor, f->now);
                bool floored = need_add(&need, &floor, f->now);
                if (pinned || failed || floored) {
                        uint32_t pool = f->now.ms < need.hold_ms || need.generation == CHOOSE_NOBODY
                                            ? 0
                                            : caught_up(c, nodes, &need, f->now);
                        enum pinroute_reason wait = pinned || failed ? PINROUTE_PINNED : PINROUTE_FLOOR;
                        return (struct choice){pool ? PINROUTE_CAUGHT_UP : wait, pool, left_ms};
                }
        }
        return (struct choice){.reason = nodes ? PINROUTE_BALANCED : PINROUTE_NO_REPLICA, .pool = nodes};
}

int choose_next(const struct pnr_cluster *cluster, uint32_t pool, uint64_t turn)
{
        const volatile struct pnr_cluster *c = cluster;
        unsigned n = c->n_schedule;
        if (n == 0 || n > PNR_SCHEDULE_MAX)
                return -1;
        unsigned at = (unsigned)(turn % n);
        for (unsigned i = 0; i < n; i++) {
                unsigned node = c->schedule[at];
                if (node < PNR_NODES_MAX && pool >> node & 1)
                        return (int)node;
                at = at + 1 == n ? 0 : at + 1;
        }
        return -1;
}
