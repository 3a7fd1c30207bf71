/* counting.c -- what counting adds to a decision: the stub beside the same stub that counts nothing.
 * They take turns batch by batch; the row is of the differences between neighbours. */
#include "bench/counting.h"

#include <dlfcn.h>

#include "bench/bench.h"
#include "client/clock.h"
#include "client/pinroute.h"

#define CALLS   2000
#define BATCHES 2000
#define WARM_UP 200
#define LEAST   0.01 /* ns: where two libraries lie in memory may tell more than what one of them counts */

struct stub {
        struct pinroute *pr;
        unsigned cluster;
        int (*read)(struct pinroute *pr, unsigned cluster, const void *key, size_t len,
                    struct pinroute_decision *ret);
};

static void *find(void *library, const char *name)
{
        void *at = dlsym(library, name);
        BENCH_MUST(at);
        return at;
}

static struct stub load(const char *library, const char *dir)
{
        struct stub s;
        int (*open)(struct pinroute **, const char *);
        int (*number)(struct pinroute *, const char *, unsigned *);
        void *l = dlopen(library, RTLD_NOW | RTLD_LOCAL);
        BENCH_MUST(l);
        *(void **)&open = find(l, "pinroute_open");
        *(void **)&number = find(l, "pinroute_cluster");
        *(void **)&s.read = find(l, "pinroute_route_read");
        BENCH_MUST(open(&s.pr, dir) == PINROUTE_OK && number(s.pr, "main", &s.cluster) == PINROUTE_OK);
        return s;
}

static double batch(const struct stub *s)
{
        struct pinroute_decision d;
        bool right = true;
        int64_t from = clock_ns();
        for (unsigned i = 0; i < CALLS; i++)
                right &=
                    s->read(s->pr, s->cluster, NULL, 0, &d) == PINROUTE_OK && d.reason == PINROUTE_BALANCED;
        int64_t took = clock_ns() - from;
        BENCH_MUST(right);
        return (double)took / CALLS;
}

void counting_measure(const char *name, const char *dir)
{
        static double more[BATCHES];
        struct stub counts = load(BENCH_COUNTED, dir), does_not = load(BENCH_UNCOUNTED, dir);
        unsigned n = bench_is_quick() ? BATCHES / 4 : BATCHES;
        bench_say("%s", name);
        for (unsigned i = 0; i < WARM_UP + n; i++) {
                double with = batch(&counts), without = batch(&does_not);
                if (i >= WARM_UP)
                        more[i - WARM_UP] = with - without;
        }
        bench_hush();
        double median = bench_quantile(more, n, 0.5);
        bench_print(name, median > LEAST ? median : LEAST, bench_quantile(more, n, 0.99), "ns", NULL);
}
