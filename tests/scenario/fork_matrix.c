/* fork_matrix.c -- one handle over every way to fork, before and after its first use.
 * A child works at once with a turn and a connection of its own; the parent notices nothing; no foreign
 * descriptor is written to or closed.  Prints one line per case, and `N passed, N failed`.
 * ctest: asan tsan */
#include <errno.h>
#include <pthread.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/syscall.h>

#include "client/pinroute.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/live_store.h"

#define NODES   32
#define BASE    1000 /* the turn that the fake daemon hands out first */
#define THREADS 3
#define KEY     "session", 7

extern char **environ;
static struct live live;
static struct fake fake;
static struct pinroute *pr;
static unsigned cluster;
static int passed, failed;

#if defined(__has_feature)
#define TSAN __has_feature(thread_sanitizer)
#elif defined(__SANITIZE_THREAD__)
#define TSAN 1
#else
#define TSAN 0
#endif

static void report(bool good, const char *what, const char *when)
{
        printf("%s: %s%s%s\n", good ? "ok" : "FAILED", what, *when ? ", " : "", when);
        fflush(stdout);
        good ? passed++ : failed++;
}

/* Every node once in the schedule: an answer tells the turn, modulo NODES. */
static void make_store(void)
{
        struct pnr_cluster *c = &live.cluster[0];
        live_init(&live);
        live.header.stale_after_ms = 60000;
        live.header.stale_limit_ms = 120000;
        c->n_nodes = c->n_schedule = NODES;
        c->scheduled = UINT32_MAX;
        for (unsigned i = 0; i < NODES; i++) {
                c->schedule[i] = (uint8_t)i;
                snprintf(c->node[i].name, sizeof c->node[i].name, "%u", i);
        }
        live_beat(&live, 0);
}

/* Turn of the next read, modulo NODES; -1: something else than BALANCED. */
static int next_turn(void)
{
        struct pinroute_decision d;
        int status = pinroute_route_read(pr, cluster, KEY, &d);
        return status == PINROUTE_OK && d.reason == PINROUTE_BALANCED ? atoi(d.node) : -1;
}

static bool records(void) { return pinroute_record_write(pr, cluster, KEY, 0) == PINROUTE_OK; }

static void open_handle(void)
{
        atomic_store(&fake.orders->turn, BASE);
        FAKE_MUST(pinroute_open(&pr, live.dir) == PINROUTE_OK);
        FAKE_MUST(pinroute_cluster(pr, "main", &cluster) == PINROUTE_OK);
        FAKE_MUST(pinroute_set_timeout(pr, 10000) == PINROUTE_OK);
}

/* What a child must be able to do: two reads from its own turn on, and a record over its own connection. */
static int child_life(int turn)
{
        unsigned before = atomic_load(&fake.orders->connections);
        if (next_turn() != turn % NODES || next_turn() != (turn + 1) % NODES)
                return 1;
        if (!records() || atomic_load(&fake.orders->connections) != before + 1)
                return 2;
        return records() && atomic_load(&fake.orders->connections) == before + 1 ? 0 : 3;
}

static bool lives(pid_t child)
{
        int st;
        FAKE_MUST(child > 0 && waitpid(child, &st, 0) == child);
        if (WIFEXITED(st) && WEXITSTATUS(st) == 0)
                return true;
        fprintf(stderr, "child: %s %d\n", WIFEXITED(st) ? "status" : "signal",
                WIFEXITED(st) ? WEXITSTATUS(st) : st);
        return false;
}

static pid_t plain_fork(void) { return fork(); }

static pid_t raw_fork(void)
{
#ifdef SYS_fork
        return (pid_t)syscall(SYS_fork);
#else
        return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
#endif
}

/* The child forks again at once: only the grandchild lives, and takes the first turn. */
static pid_t double_fork(void)
{
        pid_t child = fork();
        if (child != 0)
                return child;
        pid_t grandchild = fork();
        if (grandchild == 0)
                return 0;
        _exit(lives(grandchild) ? 0 : 1);
}

/* The child itself reads first, so that the grandchild has the turn after it. */
static bool in_two_generations(pid_t (*how)(void))
{
        pid_t child = how();
        if (child == 0) {
                int rc = child_life(BASE + 1);
                pid_t grandchild = how();
                if (grandchild == 0)
                        _exit(child_life(BASE + 2));
                bool good = lives(grandchild) && rc == 0 && next_turn() == (BASE + 3) % NODES && records();
                _exit(good ? 0 : 9);
        }
        return lives(child);
}

static atomic_bool stop;

static void *work(void *arg)
{
        struct pinroute_decision d;
        bool good = true;
        while (!atomic_load(&stop)) {
                good &= pinroute_route_read(pr, cluster, KEY, &d) == PINROUTE_OK;
                good &= records();
        }
        *(bool *)arg = good;
        return NULL;
}

/* Forks while other threads read and record: one of them may hold the handle's lock at that moment. */
static bool with_threads(pid_t (*how)(void))
{
        pthread_t thread[THREADS];
        bool good[THREADS], all = true;
        atomic_store(&stop, false);
        for (int i = 0; i < THREADS; i++)
                FAKE_MUST(pthread_create(&thread[i], NULL, work, &good[i]) == 0);
        for (int i = 0; i < 20; i++) {
                pid_t child = how();
                if (child == 0)
                        _exit(next_turn() == (BASE + 1 + i) % NODES && records() && records() ? 0 : 1);
                all &= lives(child);
        }
        atomic_store(&stop, true);
        for (int i = 0; i < THREADS; i++) {
                pthread_join(thread[i], NULL);
                all &= good[i];
        }
        return all;
}

static bool leaves_the_parent_alone(pid_t (*how)(void), bool used)
{
        unsigned before = atomic_load(&fake.orders->connections);
        pid_t child = how();
        if (child == 0)
                _exit(child_life(BASE + 1));
        bool good = lives(child) && next_turn() == (BASE + used) % NODES && records();
        return good && atomic_load(&fake.orders->connections) == before + (used ? 1 : 2);
}

struct way {
        const char *name;
        pid_t (*how)(void);
};

/* `used`: the parent has read and holds a connection when it forks. */
static void try_fork(const struct way *w, bool used)
{
        for (int play = 0; play < 3; play++) {
                static const char *const plays[] = {"", ", and again in the child", ", while threads work"};
                bool good;
                char what[80];
                if (play > 0 && w->how == double_fork)
                        continue;
                if (play == 2 && w->how == raw_fork && TSAN) /* it holds such a child for one more thread */
                        continue;
                open_handle();
                if (used)
                        FAKE_MUST(next_turn() == BASE % NODES && records());
                if (play == 0)
                        good = leaves_the_parent_alone(w->how, used);
                else
                        good = play == 1 ? in_two_generations(w->how) : with_threads(w->how);
                snprintf(what, sizeof what, "%s%s", w->name, plays[play]);
                report(good, what, used ? "after first use" : "before first use");
                pinroute_close(&pr);
        }
}

static bool sends(const char *key, struct pinroute_pending *ret)
{
        const struct pinroute_key keys[] = {{key, 1}, {"session", 7}};
        return pinroute_record_send(pr, cluster, keys, 2, 0, ret) == PINROUTE_OK;
}

static bool waits(struct pinroute_pending *p) { return pinroute_record_wait(pr, p) == PINROUTE_OK; }

/* What is under way stays the parent's; the child, which does not know how that ends, records once more. */
static void what_was_sent_before_is_waited_for_by_both(const struct way *w)
{
        struct pinroute_pending a, b, own;
        open_handle();
        FAKE_MUST(records() && sends("a", &a) && sends("b", &b));
        unsigned before = atomic_load(&fake.orders->connections);
        pid_t child = w->how();
        if (child == 0)
                _exit(sends("c", &own) && waits(&b) && waits(&own) && waits(&a) && waits(&b) ? 0 : 1);
        bool good = lives(child);
        good &= waits(&b) && waits(&a) && sends("d", &own) && waits(&own);
        good &= atomic_load(&fake.orders->connections) == before + 1;
        report(good, w->name, "records under way");
        pinroute_close(&pr);
}

static void a_child_may_close_the_handle(void)
{
        open_handle();
        FAKE_MUST(next_turn() >= 0 && records());
        unsigned before = atomic_load(&fake.orders->connections);
        pid_t child = fork();
        if (child == 0) {
                pinroute_close(&pr);
                _exit(pr != NULL);
        }
        bool good = lives(child) && records() && next_turn() == (BASE + 1) % NODES;
        report(good && atomic_load(&fake.orders->connections) == before, "a child closes the handle", "");
        pinroute_close(&pr);
}

static void a_child_may_close_every_descriptor(void)
{
        open_handle();
        FAKE_MUST(next_turn() >= 0 && records());
        pid_t child = fork();
        if (child == 0) {
                close_range(3, ~0u, 0);
                int rc = child_life(BASE + 1);
                close_range(3, ~0u, 0);
                _exit(rc ? rc : !(records() && next_turn() >= 0));
        }
        report(lives(child) && records(), "a child closes every descriptor", "");
        pinroute_close(&pr);
}

/* In parent or child the application closes our descriptor and gets its number for a socket of its own. */
static bool keeps_off(void)
{
        int pair[2];
        char byte;
        FAKE_MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) == 0);
        int far_end = fcntl(pair[1], F_DUPFD_CLOEXEC, 200);
        for (int fd = 3; fd < 100; fd++)
                if (fd != pair[0])
                        dup2(pair[0], fd);
        bool good = records() && next_turn() >= 0;
        pinroute_close(&pr);
        for (int fd = 3; fd < 100; fd++)
                good &= fcntl(fd, F_GETFD) != -1;
        return good && recv(far_end, &byte, 1, 0) == -1 && errno == EAGAIN;
}

static void reused_numbers_are_foreign(bool in_the_same_process)
{
        open_handle();
        FAKE_MUST(next_turn() >= 0 && records());
        pid_t outer = fork(); /* whose descriptors are spoilt */
        if (outer == 0) {
                if (in_the_same_process)
                        FAKE_MUST(records()); /* a connection of its own, which it then loses */
                _exit(keeps_off() ? 0 : 1);
        }
        report(lives(outer) && records(), "numbers of closed descriptors are used again",
               in_the_same_process ? "own connection" : "inherited connection");
        pinroute_close(&pr);
}

static void spawned_programs_disturb_nothing(void)
{
        char *argv[] = {"true", NULL};
        pid_t child;
        open_handle();
        FAKE_MUST(next_turn() >= 0 && records());
        unsigned before = atomic_load(&fake.orders->connections);
        FAKE_MUST(posix_spawnp(&child, "true", NULL, NULL, argv, environ) == 0);
        bool good = lives(child);
        child = vfork();
        if (child == 0) {
                execvp("true", argv);
                _exit(127);
        }
        good &= lives(child) && records() && next_turn() == (BASE + 1) % NODES;
        report(good && atomic_load(&fake.orders->connections) == before, "posix_spawn and vfork with exec",
               "");
        pinroute_close(&pr);
}

static void killed_workers_leave_nothing(void)
{
        enum { WORKERS = 100 };
        pid_t worker[WORKERS];
        int ready[2];
        char byte;
        open_handle();
        FAKE_MUST(pipe2(ready, O_CLOEXEC) == 0);
        for (int i = 0; i < WORKERS; i++) {
                worker[i] = fork();
                FAKE_MUST(worker[i] >= 0);
                if (worker[i] == 0) {
                        bool good = next_turn() >= 0 && records();
                        (void)!write(ready[1], good ? "y" : "n", 1);
                        for (;;)
                                pause();
                }
        }
        bool good = true;
        for (int i = 0; i < WORKERS; i++)
                good &= read(ready[0], &byte, 1) == 1 && byte == 'y';
        for (int i = 0; i < WORKERS; i++) {
                kill(worker[i], SIGKILL);
                waitpid(worker[i], NULL, 0);
        }
        for (int64_t end_ms = live_now() + 20000; atomic_load(&fake.orders->clients) && live_now() < end_ms;)
                poll(NULL, 0, 1);
        good &= atomic_load(&fake.orders->clients) == 0 && records() && next_turn() == BASE % NODES;
        report(good, "a hundred workers are killed", "");
        pinroute_close(&pr);
        close(ready[0]);
        close(ready[1]);
}

/* Reads of `processes` children, `reads` each, over weights 1:1:2; the first `own` open a handle of their
 * own. */
static void turns_are_even(int processes, int own, int reads, double tolerance)
{
        static const uint8_t schedule[] = {1, 2, 3, 3};
        struct pnr_cluster was = live.cluster[0];
        atomic_long *count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        char what[80];
        FAKE_MUST(count != MAP_FAILED);
        memcpy(live.cluster[0].schedule, schedule, sizeof schedule);
        live.cluster[0].n_schedule = sizeof schedule;
        live.cluster[0].scheduled = 14;
        live_beat(&live, 0);
        open_handle();
        for (int i = 0; i < processes; i++) {
                pid_t child = fork();
                FAKE_MUST(child >= 0);
                if (child == 0) {
                        if (i < own) {
                                FAKE_MUST(pinroute_open(&pr, live.dir) == PINROUTE_OK);
                                FAKE_MUST(pinroute_cluster(pr, "main", &cluster) == PINROUTE_OK);
                        }
                        for (int j = 0; j < reads; j++)
                                atomic_fetch_add(&count[next_turn() & 3], 1);
                        _exit(0);
                }
        }
        bool good = true;
        for (int i = 0; i < processes; i++)
                good &= wait(NULL) > 0;
        double total = (double)processes * reads, worst = 0;
        for (int node = 1; node <= 3; node++) {
                double share = (double)count[node] / total - (node == 3 ? 0.5 : 0.25);
                share = share < 0 ? -share / (node == 3 ? 0.5 : 0.25) : share / (node == 3 ? 0.5 : 0.25);
                worst = share > worst ? share : worst;
        }
        snprintf(what, sizeof what, "%d processes x %d reads at 1:1:2, worst node %.2f %% off its share",
                 processes, reads, 100 * worst);
        report(good && worst <= tolerance, what, "");
        pinroute_close(&pr);
        munmap(count, 4096);
        live.cluster[0] = was;
        live_beat(&live, 0);
}

int main(void)
{
        static const struct way ways[] = {
            {"fork", plain_fork}, {"double fork", double_fork}, {"raw fork", raw_fork}};
        make_store();
        fake_start(&fake, live.dir);
        for (int used = 0; used < 2; used++)
                for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
                        try_fork(&ways[i], used);
        for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++)
                what_was_sent_before_is_waited_for_by_both(&ways[i]);
        a_child_may_close_the_handle();
        a_child_may_close_every_descriptor();
        reused_numbers_are_foreign(true);
        reused_numbers_are_foreign(false);
        spawned_programs_disturb_nothing();
        killed_workers_leave_nothing();
        turns_are_even(8, 4, 10000, 0.005);
        turns_are_even(100, 0, 3, 0.10);
        turns_are_even(100, 50, 3, 0.10);
        fake_fini(&fake);
        live_fini(&live);
        printf("%d passed, %d failed\n", passed, failed);
        return failed != 0;
}
