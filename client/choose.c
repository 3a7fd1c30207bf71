/* choose.c -- the decision: where does this read go?
 * Pure: no I/O, no clock, no memory of its own.  Bounds every number that it takes from a record. */
#include "client/choose.h"

#include "client/affinity.h"

/* Our clock is coarse: it lags behind the daemon's by at most one tick of the kernel, 10 ms at 100 Hz.  A
 * stamp further ahead than a few of those is of another clock, and would be taken as fresh for as long as it
 * is. */
#define STAMP_AHEAD_MAX_MS 50

/* How far our clock may lag behind the daemon's, at most: that tick, the millisecond that it is cut to, and in another
 * time namespace the round trip by which we know the other clock.  A bound counts from that late a now. */
#define CLOCK_LATE_MAX_MS 32

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

/* Nodes that are known to have all that the primary had so long ago. */
static uint32_t recent(const volatile struct pnr_cluster *c, uint32_t nodes, struct bound bound,
                       struct mono now)
{
        uint32_t pool = 0;
        for (uint32_t rest = nodes; rest; rest &= rest - 1) {
                unsigned i = (unsigned)__builtin_ctz(rest);
                int64_t as_of_ms = c->as_of_ms[i];
                bool sane = as_of_ms > 0 && as_of_ms <= now.ms + STAMP_AHEAD_MAX_MS;
                if (sane && now.ms + CLOCK_LATE_MAX_MS - as_of_ms <= bound.ms)
                        pool |= 1u << i;
        }
        return pool;
}

static bool by_affinity(const struct facts *f)
{
        const volatile struct pnr_cluster *c = f->cluster;
        return c->flags & PNR_CLUSTER_AFFINITY && f->keyed && (f->key.w[0] | f->key.w[1]);
}

/* The one node that stands for this key, whatever it has replayed. */
static uint32_t own_of(const struct facts *f, uint32_t nodes)
{
        return nodes & f->stay ? nodes & f->stay : affinity_of(f->cluster, nodes, f->key);
}

/* Of these nodes, those that the promise lets it go to. */
static inline struct choice promised(const struct facts *f, uint32_t nodes, enum pinroute_reason why)
{
        const volatile struct pnr_cluster *c = f->cluster;
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
        return (struct choice){.reason = nodes ? why : PINROUTE_NO_REPLICA, .pool = nodes};
}

/* More is asked: its own node, and of those that the promise lets it go to the ones that the bound does, too.  Apart, so
 * that other reads do not pay for it. */
static __attribute__((noinline)) struct choice particular(const struct facts *f, uint32_t nodes)
{
        struct choice choice = by_affinity(f) ? promised(f, own_of(f, nodes), PINROUTE_AFFINITY)
                                              : promised(f, nodes, PINROUTE_BALANCED);
        if (!f->bound.given || !choice.pool)
                return choice;
        choice.pool = recent(f->cluster, choice.pool, f->bound, f->now);
        choice.reason = choice.pool ? choice.reason : PINROUTE_BEHIND;
        return choice;
}

struct choice choose(const struct facts *f)
{
        const volatile struct pnr_cluster *c = f->cluster;
        if (choose_is_void(f))
                return (struct choice){.reason = PINROUTE_STORE_UNAVAILABLE};
        if (f->forced)
                return (struct choice){.reason = PINROUTE_FORCED};
        if ((f->keyed || f->bound.given) && choose_is_stale(f))
                return (struct choice){.reason = PINROUTE_STORE_STALE};
        uint32_t nodes = c->n_schedule ? c->scheduled & nodes_of(c) : 0;
        return by_affinity(f) || f->bound.given ? particular(f, nodes)
                                                : promised(f, nodes, PINROUTE_BALANCED);
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
