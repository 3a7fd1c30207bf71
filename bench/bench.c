/* bench.c -- measures rows in rounds that take turns, and prints them; children and directories that end with us.
 * A round drops out as warm-up; each batch's answers are checked, its time is divided by its calls. */
#include "bench/bench.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/clock.h"

#define ROUNDS       11
#define ROUNDS_QUICK 6

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

void bench_begin(int *argc, char **argv, unsigned n_words, const char *words)
{
        int n = 1;
        for (int i = 1; i < *argc; i++)
                if (strcmp(argv[i], "--quick") == 0)
                        quick = true;
                else
                        argv[n++] = argv[i];
        *argc = n;
        if ((unsigned)n != n_words + 1) {
                fprintf(stderr, "usage: %s [--quick]%s%s\n", argv[0], *words ? " " : "", words);
                exit(2);
        }
        use_core(sysconf(_SC_NPROCESSORS_ONLN) - 1);
}

static uint64_t state = 88172645463325252ull;
uint64_t bench_chance(void) /* xorshift64, Marsaglia 2003 */
{
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state;
}

/* ---- rounds ---- */

static void run_row(struct bench_row *r, bool counts)
{
        for (unsigned i = 0; i < batches(r); i++) {
                int64_t from = clock_ns();
                bool right = r->batch(r);
                double took = (double)(clock_ns() - from) / r->calls;
                if (!right) {
                        fprintf(stderr, "%s: an answer is not the one expected\n", r->name);
                        exit(1);
                }
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

static double p50(struct bench_row *r) { return bench_quantile(r->took, r->n_took, 0.5); }

static double ratio_of(struct bench_row *rows, size_t n, struct bench_row *r)
{
        for (struct bench_row *other = rows; r->against && other < rows + n; other++)
                if (strcmp(other->name, r->against) == 0)
                        return p50(r) / p50(other);
        return 0;
}

void bench_measure(struct bench_row *rows, size_t n, void (*before)(void))
{
        for (struct bench_row *r = rows; r < rows + n; r++)
                BENCH_MUST(r->took = calloc((size_t)rounds() * batches(r), sizeof *r->took));
        for (unsigned round = 0; round < rounds(); round++)
                for (struct bench_row *r = rows; r < rows + n; r++) {
                        fprintf(stderr, "\r\033[Kround %u of %u: %s", round + 1, rounds(), r->name);
                        if (before)
                                before();
                        run_row(r, round > 0);
                }
        fprintf(stderr, "\r\033[K");
        for (struct bench_row *r = rows; r < rows + n; r++) {
                double unit = strcmp(r->unit, "us") == 0 ? 1000 : 1;
                bench_print(r->name, p50(r) / unit, bench_quantile(r->took, r->n_took, 0.99) / unit, r->unit,
                            ratio_of(rows, n, r), r->against);
        }
        for (struct bench_row *r = rows; r < rows + n; r++)
                free(r->took);
}

static void print_number(double value, int digits)
{
        if (value > 0)
                printf("\t%.*f", digits, value);
        else
                fputs("\t-", stdout);
}

void bench_print(const char *name, double half, double p99, const char *unit, double ratio,
                 const char *against)
{
        fputs(name, stdout);
        print_number(half, 1);
        print_number(p99, 1);
        printf("\t%s", unit);
        print_number(ratio, 3);
        printf("\t%s\n", against ? against : "-");
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

/* Removes the directory when we have ended: then nobody holds the other end of the pipe. */
static void guard(const char *dir)
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
                execlp("rm", "rm", "-rf", "--", dir, NULL);
                _exit(1);
        }
        close(end[0]);
}

const char *bench_dir(uint64_t bytes)
{
        static char dir[] = "/dev/shm/pinroute-bench-XXXXXX";
        struct statvfs fs;
        BENCH_MUST(statvfs("/dev/shm", &fs) == 0);
        if (fs.f_bavail * fs.f_bsize < bytes) {
                fprintf(stderr, "/dev/shm: %ju MB are free, %ju MB are needed\n",
                        (uintmax_t)(fs.f_bavail * fs.f_bsize >> 20), (uintmax_t)(bytes >> 20));
                exit(1);
        }
        BENCH_MUST(mkdtemp(dir));
        guard(dir);
        return dir;
}
