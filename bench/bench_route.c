/* bench_route.c -- what a decision costs, beside a bare look-up through liblmdb, at 100,000 and 1,000,000 pins.
 * lmdb_renew_reset is what the rows without a look-up are judged by on a slow machine. */
#include "bench/counting.h"
#include "bench/route.h"

#define BATCHES 100

static struct route small, large;
static struct pinroute_scope scope;

static bool renew_reset(const struct bench_row *row)
{
        const struct route *r = row->arg;
        bool right = true;
        for (unsigned i = 0; i < row->calls; i++) {
                right &= mdb_txn_renew(r->raw.reader) == 0;
                mdb_txn_reset(r->raw.reader);
        }
        return right;
}

static bool unkeyed(const struct bench_row *row)
{
        const struct route *r = row->arg;
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
        bool right = true;
        for (unsigned i = 0; i < row->calls; i++) {
                struct pinroute_decision d;
                right &= pinroute_scope_read(&scope, &d) == PINROUTE_OK && d.reason == PINROUTE_BALANCED;
        }
        return right;
}

/* Each size takes turns with itself: the other's memory would be in the caches, and not its own. */
static struct bench_row small_rows[] = {
    ROUTE_ROW("raw_lmdb_100k", route_raw, &small, BATCHES, NULL),
    ROUTE_ROW("lmdb_renew_reset", renew_reset, &small, BATCHES, NULL),
    ROUTE_ROW("route_unkeyed", unkeyed, &small, BATCHES, "lmdb_renew_reset"),
    ROUTE_ROW("route_unpinned_100k", route_unpinned, &small, BATCHES, "raw_lmdb_100k"),
    ROUTE_ROW("route_pinned_100k", route_pinned, &small, BATCHES, "raw_lmdb_100k"),
    ROUTE_ROW("scope_repeat", repeat, &small, BATCHES, "lmdb_renew_reset"),
};
static struct bench_row large_rows[] = {
    ROUTE_ROW("raw_lmdb_1m", route_raw, &large, BATCHES, NULL),
    ROUTE_ROW("route_unpinned_1m", route_unpinned, &large, BATCHES, "raw_lmdb_1m"),
    ROUTE_ROW("route_pinned_1m", route_pinned, &large, BATCHES, "raw_lmdb_1m"),
};

static void beat(const struct bench_row *row)
{
        (void)row;
        route_beat(&small);
        route_beat(&large);
}

int main(int argc, char **argv)
{
        bench_begin(argc, argv, 0, "");
        const char *dir = bench_dir(route_bytes(100000) + route_bytes(1000000));
        struct bench_key nobody = bench_key(BENCH_ABSENT);
        bench_say("pinning 1,100,000 keys");
        route_start(&small, dir, "100k", 100000);
        route_start(&large, dir, "1m", 1000000);
        route_fill(&small, 100000);
        route_fill(&large, 1000000);
        route_wait(&small);
        route_wait(&large);
        route_attach(&small, small.kept.dir);
        route_attach(&large, large.kept.dir);
        pinroute_scope_begin(&scope, small.pr, small.cluster, &nobody, sizeof nobody);
        bench_measure(small_rows, sizeof small_rows / sizeof *small_rows, beat);
        counting_measure("route_counting_cost", small.kept.dir);
        bench_measure(large_rows, sizeof large_rows / sizeof *large_rows, beat);
        bench_end();
        return 0;
}
