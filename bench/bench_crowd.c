/* bench_crowd.c -- what processes cost: the memory of one, and a reader's time when many are attached or another reads.
 * The attached look something up now and then, on the other core. */
#include <stdatomic.h>

#include "bench/route.h"

#define PINS     100000
#define BATCHES  100
#define REST_US  500000
#define ROUNDS   9
#define ROUND_NS 100000000ll

static struct route route;
static struct bench_row row = ROUTE_ROW(NULL, route_unpinned, &route, BATCHES, NULL);

static void beat(const struct bench_row *r)
{
        (void)r;
        route_beat(&route);
}

/* ---- attached processes ---- */

static void look_now_and_then(int ready)
{
        route_attach(&route, route.kept.dir);
        for (unsigned first = 1;; first = 0) {
                struct bench_row one = row;
                one.calls = 1;
                BENCH_MUST(route_unpinned(&one));
                if (first)
                        BENCH_MUST(write(ready, "", 1) == 1);
                usleep(REST_US / 2 + (useconds_t)bench_below(REST_US));
        }
}

static void attach_one(void)
{
        int ready[2];
        char byte;
        BENCH_MUST(pipe2(ready, O_CLOEXEC) == 0);
        bench_chance(); /* so that each has chances of its own */
        if (bench_fork() == 0)
                look_now_and_then(ready[1]);
        close(ready[1]);
        BENCH_MUST(read(ready[0], &byte, 1) == 1);
        close(ready[0]);
}

static void measure_among(unsigned processes)
{
        static unsigned attached = 1; /* this one */
        char name[40];
        snprintf(name, sizeof name, "growth_processes_%u", processes);
        bench_say("attaching up to %u processes", processes);
        for (; attached < processes; attached++)
                attach_one();
        row.name = name;
        row.against = processes > 1 ? "growth_processes_1" : NULL;
        bench_measure(&row, 1, beat);
}

/* ---- two readers ---- */

struct race {
        enum { IDLE, GO, DONE } _Atomic other;
        _Atomic double rate; /* the other's, look-ups per second */
};

static double read_for_a_round(void)
{
        uint64_t calls = 0;
        int64_t from = clock_ns(), took;
        for (; (took = clock_ns() - from) < ROUND_NS; calls += row.calls)
                BENCH_MUST(route_unpinned(&row));
        return (double)calls * 1e9 / (double)took;
}

static void be_the_other(struct race *race)
{
        route_attach(&route, route.kept.dir);
        for (;;) {
                while (race->other != GO)
                        usleep(10);
                race->rate = read_for_a_round();
                race->other = DONE;
        }
}

static double rate_of_the_other(const struct race *race)
{
        while (race->other != DONE)
                usleep(1000);
        return race->rate;
}

/* Two at once over the mean of each alone. */
static double scaling(struct race *race)
{
        double alone = read_for_a_round();
        race->other = GO;
        alone += rate_of_the_other(race);
        race->other = GO;
        double together = read_for_a_round();
        return (together + rate_of_the_other(race)) / (alone / 2);
}

static void measure_two(void)
{
        double times[ROUNDS];
        struct race *race =
            mmap(NULL, sizeof *race, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        BENCH_MUST(race != MAP_FAILED);
        if (bench_fork() == 0)
                be_the_other(race);
        unsigned n = bench_is_quick() ? 5 : ROUNDS;
        scaling(race);
        for (unsigned i = 0; i < n; i++) {
                bench_say("two readers: round %u of %u", i + 1, n);
                route_beat(&route);
                times[i] = scaling(race);
        }
        bench_hush();
        bench_print("two_process_scaling", bench_quantile(times, n, 0.5), 0, "times", NULL);
}

/* ---- memory ---- */

/* What this process alone has written to, in kB. */
static double private_kb(void)
{
        char line[256];
        double kb = -1;
        FILE *f = fopen("/proc/self/smaps_rollup", "re");
        BENCH_MUST(f != NULL);
        while (fgets(line, sizeof line, f))
                if (sscanf(line, "Private_Dirty: %lf kB", &kb) == 1)
                        break;
        fclose(f);
        BENCH_MUST(kb >= 0);
        return kb;
}

/* From before it opens a handle to after its first thousand look-ups. */
static void attach_and_weigh(void)
{
        private_kb();
        double before = private_kb();
        route_attach(&route, route.kept.dir);
        BENCH_MUST(route_unpinned(&row));
        bench_print("process_memory", private_kb() - before, 0, "kB", NULL);
}

int main(int argc, char **argv)
{
        static const unsigned sizes[] = {1, 8, 64, 1000};
        bench_begin(argc, argv, 0, "");
        route_start(&route, bench_dir(route_bytes(PINS)), "100k", PINS);
        route_fill(&route, PINS);
        route_wait(&route);
        attach_and_weigh();
        measure_two();
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
                measure_among(sizes[i]);
        bench_end();
        return 0;
}
