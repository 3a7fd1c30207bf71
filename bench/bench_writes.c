/* bench_writes.c -- what a look-up costs while 20,000 writes arrive each second, here and in plain LMDB.
 * bench_writes DIR: of a running daemon, on the first core.  Both hold 100,000 keys and write those again in turn,
 * so that neither grows; the quiet row is what the row under writes is to be compared with. */
#include <stdatomic.h>

#include "bench/pump.h"
#include "bench/route.h"

#define PINS      100000ull
#define PIN_MS    600000
#define RATE      20000
#define BATCHES   500
#define SETTLE_US 50000

static const char *daemon_dir, *raw_dir;
static struct route route;

/* A process that writes when it is told to. */
struct writer {
        void (*write)(uint64_t first, unsigned n);
        atomic_bool writes;
        _Atomic uint64_t done;
        _Atomic int64_t took_ns;
};
static struct writer *of_pins, *of_puts;

static void write_pins(uint64_t first, unsigned n)
{
        static struct pump pump;
        if (!pump.fd[0])
                pump_open(&pump, daemon_dir);
        pump_record(&pump, first, n, PIN_MS);
}

static void write_raw(uint64_t first, unsigned n)
{
        static struct raw raw;
        if (!raw.env)
                raw_open(&raw, raw_dir, "raw", PINS);
        raw_put(&raw, first, n);
}

static void write_when_told(struct writer *w)
{
        for (;; usleep(1000)) {
                struct pace pace = {.per_second = RATE};
                while (atomic_load(&w->writes)) {
                        uint64_t first = (w->done + pace.done) % (PINS - PUMP_WORKERS);
                        w->write(first, pace_next(&pace));
                }
                w->done += pace.done;
                w->took_ns += pace.from_ns ? clock_ns() - pace.from_ns : 0;
        }
}

static struct writer *start(void (*write)(uint64_t first, unsigned n))
{
        struct writer *w = mmap(NULL, sizeof *w, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        BENCH_MUST(w != MAP_FAILED);
        w->write = write;
        if (bench_fork() == 0)
                write_when_told(w);
        return w;
}

static void check(const struct writer *w, const char *what)
{
        double rate = (double)w->done * 1e9 / (double)w->took_ns;
        if (rate < 0.95 * RATE)
                fprintf(stderr, "bench_writes: only %.0f %s a second arrived, not %u\n", rate, what, RATE);
}

static void fill(void)
{
        struct pump pump;
        pump_open(&pump, daemon_dir);
        for (uint64_t i = 0; i < PINS; i += PUMP_WORKERS)
                pump_batch(&pump, i, i + PUMP_WORKERS < PINS ? PUMP_WORKERS : (unsigned)(PINS - i), PIN_MS);
        raw_open(&route.raw, raw_dir, "raw", PINS);
        raw_put(&route.raw, 0, PINS);
}

static struct bench_row rows[] = {
    ROUTE_ROW("route_unpinned_100k_quiet", route_unpinned, &route, BATCHES, NULL),
    ROUTE_ROW("route_unpinned_100k_under_writes", route_unpinned, &route, BATCHES,
              "route_unpinned_100k_quiet"),
    ROUTE_ROW("raw_lmdb_100k_under_writes", route_raw, &route, BATCHES, "raw_lmdb_100k"),
};

static void set_off(const struct bench_row *row)
{
        atomic_store(&of_pins->writes, row == &rows[1]);
        atomic_store(&of_puts->writes, row == &rows[2]);
        usleep(SETTLE_US);
}

int main(int argc, char **argv)
{
        daemon_dir = *bench_begin(argc, argv, 1, "DIR");
        raw_dir = bench_dir(raw_bytes(PINS));
        of_pins = start(write_pins);
        of_puts = start(write_raw);
        fill();
        route_attach(&route, daemon_dir);
        bench_measure(rows, sizeof rows / sizeof *rows, set_off);
        set_off(&rows[0]);
        check(of_pins, "pins");
        check(of_puts, "puts");
        bench_end();
        return 0;
}
