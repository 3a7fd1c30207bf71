/* bench_growth.c -- how the cost of a decision grows with the pins in the store, beside a bare look-up.
 * The store and the environment grow from one size to the next; at each, the rows take turns. */
#include "bench/route.h"

#define BATCHES 60

static struct route route;

static void beat(const struct bench_row *row) { route_beat(row->arg); }

static void measure_at(uint64_t pins)
{
        char raw[40], unpinned[40], pinned[40];
        snprintf(raw, sizeof raw, "growth_raw_%ju", (uintmax_t)pins);
        snprintf(unpinned, sizeof unpinned, "growth_pins_%ju", (uintmax_t)pins);
        snprintf(pinned, sizeof pinned, "growth_pinned_%ju", (uintmax_t)pins);
        struct bench_row rows[] = {
            ROUTE_ROW(raw, route_raw, &route, BATCHES, NULL),
            ROUTE_ROW(unpinned, route_unpinned, &route, BATCHES, raw),
            ROUTE_ROW(pinned, route_pinned, &route, BATCHES, raw),
        };
        bench_say("pinning keys, up to %ju", (uintmax_t)pins);
        route_fill(&route, pins);
        route_wait(&route);
        if (!route.pr)
                route_attach(&route, route.kept.dir);
        bench_measure(rows, sizeof rows / sizeof *rows, beat);
}

int main(int argc, char **argv)
{
        static const uint64_t sizes[] = {1, 1000, 100000, 1000000, 4000000};
        bench_begin(argc, argv, 0, "");
        unsigned n = sizeof sizes / sizeof *sizes;
        if (bench_is_quick()) {
                fprintf(stderr, "bench_growth: 4,000,000 pins are left out (--quick)\n");
                n--;
        }
        route_start(&route, bench_dir(route_bytes(sizes[n - 1])), "growth", sizes[n - 1]);
        for (unsigned i = 0; i < n; i++)
                measure_at(sizes[i]);
        bench_end();
        return 0;
}
