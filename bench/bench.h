/* bench.h -- rows: what is measured, in rounds that take turns, and how it is printed.
 * Every program here is told --quick or not, and measures on the last core; what it talks to is on the first. */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#define BENCH_MUST(what)                                                                                     \
        do {                                                                                                 \
                if (!(what)) {                                                                               \
                        fprintf(stderr, "%s:%d: %s: %m\n", __FILE__, __LINE__, #what);                       \
                        exit(1);                                                                             \
                }                                                                                            \
        } while (0)

struct bench_row {
        const char *name;
        bool (*batch)(
            const struct bench_row *r); /* `calls` calls; false: an answer is not the one expected */
        void *arg;
        unsigned calls;   /* in a batch, and what its time is divided by */
        unsigned batches; /* in a round; with --quick a quarter of them */
        const char *unit; /* ns or us */
        const char *against;
        double *took; /* of each batch, per call; bench.c's, as is n_took */
        size_t n_took;
};

/* Takes note of --quick and returns the other arguments; exits with the usage unless there are n_words of them.
 * From here on this process runs on the last core. */
char **bench_begin(int argc, char **argv, unsigned n_words, const char *words);
bool bench_is_quick(void);

/* What is going on now, on a terminal, in place of what was said before. */
void bench_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void bench_hush(void);

/* Measures all rows once per round, in turn, drops the first round, and prints p50 and p99 over all batches of
 * the others.  before: called before a row's batches, or NULL. */
void bench_measure(struct bench_row *rows, size_t n, void (*before)(const struct bench_row *row));

/* One row: name, p50, p99, unit, against.  p99: 0 for none; against: NULL for none. */
void bench_print(const char *name, double p50, double p99, const char *unit, const char *against);

/* The p-quantile of n values, which it sorts. */
double bench_quantile(double *values, size_t n, double p);

/* A child on the first core, which is killed when we end.  Returns as fork() does. */
pid_t bench_fork(void);

/* A new directory in shared memory, where so many bytes must be free; one per process.  It is removed soon after
 * this process has ended, in whatever way, and by bench_end() at once. */
const char *bench_dir(uint64_t bytes);
void bench_end(void);

extern uint64_t bench_seed, bench_nothing;

static inline uint64_t
bench_chance(void) /* xorshift64, Marsaglia 2003; every process its own from the same start */
{
        bench_seed ^= bench_seed << 13;
        bench_seed ^= bench_seed >> 7;
        bench_seed ^= bench_seed << 17;
        return bench_seed;
}

/* 0 .. range-1 */
static inline uint64_t bench_below(uint64_t range)
{
        return (uint64_t)((unsigned __int128)bench_chance() * range >> 64);
}

/* 32 bytes, like a session id.  The numbers from BENCH_ABSENT up to twice that are nowhere pinned or put. */
struct bench_key {
        uint64_t w[4];
};
#define BENCH_ABSENT (1ull << 40)

static inline uint64_t bench_mix(uint64_t x) /* splitmix64, Steele et al. 2014 */
{
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
        x = (x ^ x >> 27) * 0x94d049bb133111ebull;
        return x ^ x >> 31;
}

static inline struct bench_key bench_key(uint64_t number)
{
        uint64_t x = bench_mix(number + 0x9e3779b97f4a7c15ull);
        return (struct bench_key){{x, ~x * 0x9e3779b97f4a7c15ull, number, ~number}};
}

/* The next key comes of this answer, although bench_nothing is 0: without that, look-ups of different keys overlap, as
 * those of different requests do not. */
static inline void bench_answered(uint64_t answer) { bench_seed ^= answer & bench_nothing; }

#endif
