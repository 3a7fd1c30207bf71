/* bench.c -- measures rows in rounds that take turns, and prints them; children and directories that end with us.
 * The first round, and the first batches of each other, do not count; each batch's answers are checked. */
#include "bench/bench.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/clock.h"

#define ROUNDS       11
#define ROUNDS_QUICK 6
#define WARM_UP      4 /* for so many batches that count, one that does not */

static bool quick;
bool bench_is_quick(void) { return quick; }

static unsigned rounds(void) { return quick ? ROUNDS_QUICK : ROUNDS; }
static unsigned batches(const struct bench_row *r) { return quick ? (r->batches + 3) / 4 : r->batches; }

static void use_core(long core)
{
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET((size_t)core, &one);
        sched_setaffinity(0, sizeof one, &one);
}

char **bench_begin(int argc, char **argv, unsigned n_words, const char *words)
{
        quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
        if (argc != 1 + quick + (int)n_words) {
                fprintf(stderr, "usage: %s [--quick]%s%s\n", argv[0], *words ? " " : "", words);
                exit(2);
        }
        use_core(sysconf(_SC_NPROCESSORS_ONLN) - 1);
        return argv + 1 + quick;
}

void bench_hush(void)
{
        if (isatty(STDERR_FILENO))
                fputs("\r\033[K", stderr);
}

void bench_say(const char *format, ...)
{
        va_list args;
        if (!isatty(STDERR_FILENO))
                return;
        bench_hush();
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
}

uint64_t bench_seed = 88172645463325252ull;
uint64_t bench_nothing; /* not static, not const: the compiler must not know it */

/* ---- rounds ---- */

static double run_batch(const struct bench_row *r)
{
        int64_t from = clock_ns();
        bool right = r->batch(r);
        int64_t took = clock_ns() - from;
        if (right)
                return (double)took / r->calls;
        fprintf(stderr, "%s: an answer is not the one expected\n", r->name);
        exit(1);
}

/* The row before has left the caches as it needs them: the first batches are this one's warm-up. */
static void run_row(struct bench_row *r, bool counts)
{
        for (unsigned i = 0; i < batches(r) / WARM_UP; i++)
                run_batch(r);
        for (unsigned i = 0; i < batches(r); i++) {
                double took = run_batch(r);
                if (counts)
                        r->took[r->n_took++] = took;
        }
}

static int ascending(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;
        return (x > y) - (x < y);
}

double bench_quantile(double *values, size_t n, double p)
{
        qsort(values, n, sizeof *values, ascending);
        return values[(size_t)((double)(n - 1) * p)];
}

static void print(struct bench_row *r)
{
        double unit = strcmp(r->unit, "us") == 0 ? 1000 : 1;
        bench_print(r->name, bench_quantile(r->took, r->n_took, 0.5) / unit,
                    bench_quantile(r->took, r->n_took, 0.99) / unit, r->unit, r->against);
        free(r->took);
        r->n_took = 0;
}

void bench_measure(struct bench_row *rows, size_t n, void (*before)(const struct bench_row *row))
{
        for (struct bench_row *r = rows; r < rows + n; r++)
                BENCH_MUST(r->took = calloc((size_t)rounds() * batches(r), sizeof *r->took));
        for (unsigned round = 0; round < rounds(); round++)
                for (struct bench_row *r = rows; r < rows + n; r++) {
                        bench_say("round %u of %u: %s", round + 1, rounds(), r->name);
                        if (before)
                                before(r);
                        run_row(r, round > 0);
                }
        bench_hush();
        for (struct bench_row *r = rows; r < rows + n; r++)
                print(r);
}

static void print_number(double value)
{
        if (value > 0)
                printf("\t%.*f", value < 10 ? 3 : value < 100 ? 2 : 1, value);
        else
                fputs("\t-", stdout);
}

void bench_print(const char *name, double p50, double p99, const char *unit, const char *against)
{
        fputs(name, stdout);
        print_number(p50);
        print_number(p99);
        printf("\t%s\t%s\n", unit, against ? against : "-");
        fflush(stdout);
}

/* ---- what ends with us ---- */

pid_t bench_fork(void)
{
        pid_t us = getpid(), pid = fork();
        BENCH_MUST(pid >= 0);
        if (pid)
                return pid;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != us)
                _exit(1);
        use_core(0);
        return 0;
}

static char dir[] = "/dev/shm/pinroute-bench-XXXXXX";

static void remove_dir(void)
{
        execlp("rm", "rm", "-rf", "--", dir, NULL);
        _exit(1);
}

/* Removes the directory when all of us have ended: then nobody holds the other end of the pipe. */
static void guard(void)
{
        int end[2];
        BENCH_MUST(pipe2(end, O_CLOEXEC) == 0);
        pid_t pid = fork();
        BENCH_MUST(pid >= 0);
        if (pid == 0) {
                char byte;
                setsid();
                close(end[1]);
                (void)!read(end[0], &byte, 1);
                remove_dir();
        }
        close(end[0]);
}

const char *bench_dir(uint64_t bytes)
{
        struct statvfs fs;
        BENCH_MUST(statvfs("/dev/shm", &fs) == 0);
        if (fs.f_bavail * fs.f_bsize < bytes) {
                fprintf(stderr, "/dev/shm: %ju MB are free, %ju MB are needed\n",
                        (uintmax_t)(fs.f_bavail * fs.f_bsize >> 20), (uintmax_t)(bytes >> 20));
                exit(1);
        }
        BENCH_MUST(mkdtemp(dir));
        guard();
        return dir;
}

void bench_end(void)
{
        pid_t pid = fork();
        BENCH_MUST(pid >= 0);
        if (pid == 0)
                remove_dir();
        BENCH_MUST(waitpid(pid, NULL, 0) == pid);
}
