/* route.c -- one size of the question: filled, attached to, asked.
 * The same keys in both, made alike, with the same fence after each answer. */
#include "bench/route.h"

uint64_t route_bytes(uint64_t max_pins) { return kept_bytes(max_pins) + raw_bytes(max_pins); }

void route_start(struct route *r, const char *dir, const char *name, uint64_t max_pins)
{
        char raw[32];
        snprintf(raw, sizeof raw, "raw-%s", name);
        kept_start(&r->kept, dir, name, max_pins);
        raw_open(&r->raw, dir, raw, max_pins);
}

void route_fill(struct route *r, uint64_t pins)
{
        kept_ask(&r->kept, pins);
        raw_put(&r->raw, r->pins, pins - r->pins);
        r->pins = pins;
}

void route_wait(struct route *r) { kept_wait(&r->kept); }

void route_attach(struct route *r, const char *dir)
{
        BENCH_MUST(pinroute_open(&r->pr, dir) == PINROUTE_OK &&
                   pinroute_cluster(r->pr, "main", &r->cluster) == PINROUTE_OK);
}

void route_beat(struct route *r)
{
        kept_ask(&r->kept, 0);
        kept_wait(&r->kept);
}

bool route_raw(const struct bench_row *row)
{
        struct route *r = row->arg;
        return raw_get_absent(&r->raw, row->calls);
}

static bool ask(const struct bench_row *row, uint64_t first, uint64_t range, unsigned reason)
{
        struct route *r = row->arg;
        bool right = true;
        for (unsigned i = 0; i < row->calls; i++) {
                struct pinroute_decision d;
                struct bench_key k = bench_key(first + bench_below(range));
                right &= pinroute_route_read(r->pr, r->cluster, &k, sizeof k, &d) == PINROUTE_OK &&
                         d.reason == reason;
                bench_answered((uint64_t)d.reason + (uint64_t)d.node[0]);
        }
        return right;
}

bool route_unpinned(const struct bench_row *row)
{
        return ask(row, BENCH_ABSENT, BENCH_ABSENT, PINROUTE_BALANCED);
}

bool route_pinned(const struct bench_row *row)
{
        const struct route *r = row->arg;
        return ask(row, 0, r->pins, PINROUTE_PINNED);
}
