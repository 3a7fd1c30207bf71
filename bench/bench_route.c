/* bench_route.c -- what a decision costs, beside a bare look-up through liblmdb, at 100,000 and 1,000,000 pins.
 * lmdb_renew_reset is what the rows without a look-up are judged by on a slow machine. */
#include "bench/bench.h"
#include "bench/kept.h"
#include "bench/raw.h"
#include "client/pinroute.h"

#define CALLS   1000
#define BATCHES 100

struct route {
        uint64_t pins;
        struct kept kept;
        struct raw raw;
        struct pinroute *pr;
        unsigned cluster;
        struct pinroute_scope scope;
};
static struct route small = {.pins = 100000}, large = {.pins = 1000000};

static void begin(struct route *r, const char *dir, const char *name)
{
        char raw[32];
        snprintf(raw, sizeof raw, "raw-%s", name);
        kept_start(&r->kept, dir, name, r->pins);
        kept_ask(&r->kept, r->pins);
        raw_open(&r->raw, dir, raw, r->pins);
        raw_fill(&r->raw, r->pins);
}

static void attach(struct route *r)
{
        struct bench_key k = bench_key(BENCH_ABSENT);
        kept_wait(&r->kept);
        BENCH_MUST(pinroute_open(&r->pr, r->kept.dir) == PINROUTE_OK &&
                   pinroute_cluster(r->pr, "main", &r->cluster) == PINROUTE_OK);
        pinroute_scope_begin(&r->scope, r->pr, r->cluster, &k, sizeof k);
}

static void beat(void)
{
        kept_ask(&small.kept, 0);
        kept_ask(&large.kept, 0);
        kept_wait(&small.kept);
        kept_wait(&large.kept);
}

/* ---- the rows ---- */

static bool raw_lmdb(const struct bench_row *row)
{
        struct route *r = row->arg;
        return raw_get_absent(&r->raw, row->calls);
}

static bool renew_reset(const struct bench_row *row)
{
        struct route *r = row->arg;
        bool right = true;
        for (unsigned i = 0; i < row->calls; i++) {
                right &= mdb_txn_renew(r->raw.reader) == 0;
                mdb_txn_reset(r->raw.reader);
        }
        return right;
}

static bool keyed(const struct bench_row *row, uint64_t first, uint64_t range, unsigned reason)
{
        struct route *r = row->arg;
        bool right = true;
        for (unsigned i = 0; i < row->calls; i++) {
                struct pinroute_decision d;
                struct bench_key k = bench_key(first + bench_below(range));
                right &= pinroute_route_read(r->pr, r->cluster, &k, sizeof k, &d) == PINROUTE_OK &&
                         d.reason == reason;
                bench_answered();
        }
        return right;
}

static bool unpinned(const struct bench_row *row)
{
        return keyed(row, BENCH_ABSENT, BENCH_ABSENT, PINROUTE_BALANCED);
}

static bool pinned(const struct bench_row *row)
{
        struct route *r = row->arg;
        return keyed(row, 0, r->pins, PINROUTE_PINNED);
}

static bool unkeyed(const struct bench_row *row)
{
        struct route *r = row->arg;
        bool right = true;
        for (unsigned i = 0; i < row->calls; i++) {
                struct pinroute_decision d;
                right &= pinroute_route_read(r->pr, r->cluster, NULL, 0, &d) == PINROUTE_OK &&
                         d.reason == PINROUTE_BALANCED;
        }
        return right;
}

static bool repeat(const struct bench_row *row)
{
        struct route *r = row->arg;
        bool right = true;
        for (unsigned i = 0; i < row->calls; i++) {
                struct pinroute_decision d;
                right &= pinroute_scope_read(&r->scope, &d) == PINROUTE_OK && d.reason == PINROUTE_BALANCED;
        }
        return right;
}

#define ROW(name, batch, route, against)                                                                     \
        {                                                                                                    \
                name, batch, route, CALLS, BATCHES, "ns", against, NULL, 0                                   \
        }
static struct bench_row rows[] = {
    ROW("raw_lmdb_100k", raw_lmdb, &small, NULL),
    ROW("raw_lmdb_1m", raw_lmdb, &large, NULL),
    ROW("lmdb_renew_reset", renew_reset, &small, NULL),
    ROW("route_unkeyed", unkeyed, &small, "lmdb_renew_reset"),
    ROW("route_unpinned_100k", unpinned, &small, "raw_lmdb_100k"),
    ROW("route_unpinned_1m", unpinned, &large, "raw_lmdb_1m"),
    ROW("route_pinned_100k", pinned, &small, "raw_lmdb_100k"),
    ROW("route_pinned_1m", pinned, &large, "raw_lmdb_1m"),
    ROW("scope_repeat", repeat, &small, "lmdb_renew_reset"),
};

int main(int argc, char **argv)
{
        bench_begin(&argc, argv, 0, "");
        const char *dir = bench_dir(kept_bytes(small.pins) + kept_bytes(large.pins) + raw_bytes(small.pins) +
                                    raw_bytes(large.pins));
        fprintf(stderr, "pinning 1,100,000 keys");
        begin(&small, dir, "100k");
        begin(&large, dir, "1m");
        attach(&small);
        attach(&large);
        bench_measure(rows, sizeof rows / sizeof *rows, beat);
        return 0;
}
