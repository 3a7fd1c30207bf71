/* hostile_host.c -- the stub inside a process that treats it badly, with a real pinrouted beside it.
 * Descriptors closed and their numbers reused, signals, small stacks, no descriptors, no memory.  Prints one line per
 * case, and `N passed, N failed`.
 * ctest: asan parallel */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "client/pinroute.h"
#include "tests/scenario/hostile_keep.h"
#include "tests/scenario/hostile_thing.h"

#define KEY     "session", 7
#define PATIENT 20000 /* ms: a call that has to succeed, also on a busy machine */

#if defined(__has_feature)
#define ASAN __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#else
#define ASAN 0
#endif

static char dir[] = "/dev/shm/pnr-host-XXXXXX", path[128];
static pid_t daemon_pid;
static int passed, failed, full;

static void report(bool good, const char *what, const char *more)
{
        printf("%s: %s%s%s\n", good ? "ok" : "FAILED", what, *more ? ": " : "", more);
        fflush(stdout);
        good ? passed++ : failed++;
}

static int64_t now_ms(void) { return clock_ns() / CLOCK_NS_PER_MS; }

/* ---- the daemon ---- */

static const char *in_dir(const char *name)
{
        snprintf(path, sizeof path, "%s/%s", dir, name);
        return path;
}

/* Its nodes are all down: what it does for us does not depend on them. */
static void write_config(void)
{
        FILE *f = fopen(in_dir("ini"), "we");
        FAKE_MUST(f);
        fprintf(f,
                "[pinrouted]\ndir = %s\nhttp_listen =\nstale_after = 200ms\n[cluster main]\n[nodes main]\n",
                dir);
        fprintf(f, "default = host=127.0.0.1 port=1 dbname=d user=u role=primary\n");
        FAKE_MUST(fclose(f) == 0);
}

static void start_daemon(void)
{
        const char *build = getenv("PINROUTE_BUILD");
        char program[4096], config[sizeof path];
        snprintf(program, sizeof program, "%s/pinrouted", build ? build : "build/dev");
        memcpy(config, in_dir("ini"), sizeof config);
        daemon_pid = fork();
        if (daemon_pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                FAKE_MUST(freopen(in_dir("log"), "ae", stderr));
                execl(program, "pinrouted", "-c", config, NULL);
                _exit(127);
        }
}

static void end_daemon(void)
{
        kill(daemon_pid, SIGKILL);
        FAKE_MUST(waitpid(daemon_pid, NULL, 0) == daemon_pid);
}

static void stop_daemon(void)
{
        kill(daemon_pid, SIGSTOP);
        FAKE_MUST(waitpid(daemon_pid, NULL, WUNTRACED) == daemon_pid);
}

/* ---- a handle ---- */

struct handle {
        struct pinroute *pr;
        unsigned cluster;
};

static struct handle open_handle(unsigned timeout_ms)
{
        struct handle h;
        FAKE_MUST(pinroute_open(&h.pr, dir) == PINROUTE_OK);
        pinroute_cluster(h.pr, "main", &h.cluster);
        FAKE_MUST(pinroute_set_timeout(h.pr, timeout_ms) == PINROUTE_OK);
        return h;
}

static int record(struct handle h) { return pinroute_record_write(h.pr, h.cluster, KEY, 0); }

/* The daemon is there: what failed before it came is tried again. */
static bool records(struct handle h)
{
        for (int64_t end = now_ms() + PATIENT; now_ms() < end;)
                if (record(h) == PINROUTE_OK)
                        return true;
        return false;
}

static bool reads_primary(struct handle h)
{
        struct pinroute_decision d;
        pinroute_route_read(h.pr, h.cluster, KEY, &d);
        return d.role == PINROUTE_PRIMARY;
}

/* ---- numbers that are taken ---- */

/* The stub's own fstat() ends here, for it is linked with this program: what another thread could do right after it
 * is done at once. */
static int taken_number = -1, taken_by = -1;

int fstat(int fd, struct stat *st)
{
        int rc = fstatat(fd, "", st, AT_EMPTY_PATH);
        if (fd == taken_number) {
                taken_number = -1;
                dup2(taken_by, fd);
        }
        return rc;
}

static void check_number_taken(int kind, bool between)
{
        char what[100];
        struct handle h = open_handle(PATIENT);
        struct thing t = make_thing(kind, in_dir("file"));
        bool good = records(h);
        int number = stubs_descriptor();
        FAKE_MUST(number >= 0);
        if (between) {
                taken_by = t.fd;
                taken_number = number;
        } else
                FAKE_MUST(dup2(t.fd, number) == number);
        good = good && record(h) == PINROUTE_OK && taken_number < 0 && is_untouched(&t, number) &&
               record(h) == PINROUTE_OK;
        pinroute_close(&h.pr);
        snprintf(what, sizeof what, "its number becomes %s%s: not written to, not closed", t.name,
                 between ? " between its look and its send" : "");
        report(good && is_untouched(&t, number), what, "");
        close(number);
        end_thing(&t);
}

static void check_numbers_taken(void)
{
        for (int kind = 0; kind < KINDS; kind++)
                check_number_taken(kind, false);
        for (int kind = 0; kind < SEQPACKET; kind++) /* the one kind that nothing tells from ours */
                check_number_taken(kind, true);
}

static void check_another_handles_number(void)
{
        struct handle a = open_handle(PATIENT), b = open_handle(PATIENT);
        bool good = records(a);
        int number = stubs_descriptor();
        good = good && records(b);
        int others = number + 1;
        while (!is_stubs(others) && others < 100)
                others++;
        FAKE_MUST(dup2(others, number) == number);
        good = good && record(a) == PINROUTE_OK && record(b) == PINROUTE_OK && fcntl(number, F_GETFD) >= 0;
        pinroute_close(&a.pr);
        good = good && record(b) == PINROUTE_OK && is_stubs(number);
        pinroute_close(&b.pr);
        close(number);
        report(good, "its number becomes the connection of another handle", "");
}

static void check_all_closed(void)
{
        struct handle h = open_handle(PATIENT);
        bool good = records(h);
        for (int i = 0; i < 10; i++) {
                close_range(3, ~0u, 0);
                good = good && record(h) == PINROUTE_OK && reads_primary(h);
        }
        close_range(3, ~0u, 0);
        pinroute_close(&h.pr);
        report(good, "every descriptor is closed between calls", "");
}

struct storm {
        struct handle h;
        atomic_bool stop;
        atomic_ulong calls, failures;
};

static void *record_on(void *arg)
{
        struct storm *s = arg;
        while (!atomic_load(&s->stop)) {
                bool good = record(s->h) == PINROUTE_OK;
                good &= reads_primary(s->h);
                atomic_fetch_add(good ? &s->calls : &s->failures, 1);
        }
        return NULL;
}

/* A number that is not the stub's any more by the time it is taken is one that nobody has, or a new one of its. */
static void check_storm(void)
{
        struct storm s = {.h = open_handle(PATIENT)};
        pthread_t t[3];
        unsigned long taken = 0, touched = 0;
        char more[100];
        FAKE_MUST(records(s.h));
        for (int i = 0; i < 3; i++)
                FAKE_MUST(pthread_create(&t[i], NULL, record_on, &s) == 0);
        for (int64_t end = now_ms() + (full ? 20000 : 1500); now_ms() < end;) {
                struct thing thing = make_thing((int)(taken % SEQPACKET), in_dir("file"));
                int number;
                while ((number = stubs_descriptor()) < 0)
                        sched_yield();
                FAKE_MUST(dup2(thing.fd, number) == number);
                unsigned long before = atomic_load(&s.calls);
                while (atomic_load(&s.calls) < before + 3 && now_ms() < end)
                        sched_yield();
                touched += !is_untouched(&thing, number);
                taken++;
                close(number);
                end_thing(&thing);
        }
        atomic_store(&s.stop, true);
        for (int i = 0; i < 3; i++)
                pthread_join(t[i], NULL);
        pinroute_close(&s.h.pr);
        snprintf(more, sizeof more, "%lu numbers, %lu touched, %lu calls, %lu failed", taken, touched,
                 atomic_load(&s.calls), atomic_load(&s.failures));
        report(taken > 10 && touched == 0 && atomic_load(&s.failures) == 0,
               "its number is taken while threads record", more);
}

/* ---- errno and signals ---- */

static void call_all_of_scope(struct handle h)
{
        struct pinroute_scope s;
        struct pinroute_decision d;
        char token[PINROUTE_TOKEN_SIZE];
        KEEPS(pinroute_token_issue(h.pr, h.cluster, KEY, token, sizeof token));
        KEEPS(pinroute_token_issue(h.pr, h.cluster, KEY, token, 1));
        KEEPS((pinroute_scope_begin(&s, h.pr, h.cluster, KEY), 0));
        KEEPS(pinroute_scope_read(&s, &d));
        KEEPS(pinroute_scope_rekey(&s, "other", 5));
        KEEPS(pinroute_token_accept(h.pr, h.cluster, token, &s));
        KEEPS(pinroute_token_accept(h.pr, h.cluster, "garbage", &s));
        KEEPS((pinroute_scope_force_primary(&s), 0));
        KEEPS((pinroute_scope_unforce(&s), 0));
        KEEPS((pinroute_scope_wrote(&s), 0));
        KEEPS(pinroute_scope_read(&s, &d));
        KEEPS(pinroute_scope_end(&s));
}

static void call_all(void)
{
        struct handle h = {NULL, 0};
        struct pinroute_decision d;
        char text[512];
        KEEPS(pinroute_open(&h.pr, "/nowhere"));
        KEEPS((pinroute_close(&h.pr), 0));
        KEEPS(pinroute_open(&h.pr, dir));
        KEEPS(pinroute_cluster(h.pr, "main", &h.cluster));
        KEEPS(pinroute_cluster(h.pr, "none", &(unsigned){0}));
        KEEPS(pinroute_cluster(h.pr, "bad name", &(unsigned){0}));
        KEEPS(pinroute_set_timeout(h.pr, 20));
        KEEPS(pinroute_route_read(h.pr, h.cluster, KEY, &d));
        KEEPS(pinroute_route_read(h.pr, h.cluster, NULL, 0, &d));
        KEEPS(pinroute_route_read(h.pr, 99, NULL, 0, &d));
        KEEPS(pinroute_route_write(h.pr, h.cluster, &d));
        for (int i = 0; i < 5; i++) /* the breaker opens */
                KEEPS(pinroute_record_write(h.pr, h.cluster, KEY, 0));
        KEEPS(pinroute_hold(h.pr, h.cluster, KEY, 5));
        KEEPS(pinroute_endpoint(h.pr, h.cluster, "default", text, sizeof text));
        KEEPS(pinroute_endpoint(h.pr, h.cluster, "none", text, 1));
        KEEPS(pinroute_strerror(3));
        KEEPS(pinroute_reason_name(99));
        KEEPS(pinroute_version());
        KEEPS(pinroute_http_method_writes("GET"));
        call_all_of_scope(h);
        KEEPS((pinroute_close(&h.pr), 0));
}

static void check_keeps(const char *daemon_is)
{
        char what[200];
        sigset_t none, was;
        sigemptyset(&none);
        sigaddset(&none, SIGUSR1);
        pthread_sigmask(SIG_BLOCK, &none, &was);
        struct sigaction act = {.sa_handler = on_signal};
        for (size_t i = 0; i < WATCHED; i++)
                if (watched[i] != SIGSEGV && watched[i] != SIGBUS && watched[i] != SIGCHLD)
                        sigaction(watched[i], &act, NULL);
        which = NULL;
        call_all();
        pthread_sigmask(SIG_SETMASK, &was, NULL);
        snprintf(what, sizeof what, "errno and signals are kept while the daemon %s", daemon_is);
        report(!which, what, which ? which : "");
}

/* ---- signals that interrupt ---- */

static void storm_of_alarms(int us)
{
        struct itimerval t = {{0, us}, {0, us}};
        struct sigaction act = {.sa_handler = on_signal};
        sigaction(SIGALRM, &act, NULL);
        setitimer(ITIMER_REAL, &t, NULL);
}

static void check_alarms(void)
{
        char more[100];
        struct handle h = open_handle(PATIENT);
        int before = atomic_load(&caught), bad = 0;
        storm_of_alarms(300);
        for (int64_t end = now_ms() + 500; now_ms() < end;)
                bad += record(h) != PINROUTE_OK || !reads_primary(h);
        storm_of_alarms(0);
        snprintf(more, sizeof more, "%d alarms, %d calls failed", atomic_load(&caught) - before, bad);
        report(!bad && atomic_load(&caught) > before + 50, "alarms interrupt every call", more);
        pinroute_close(&h.pr);
}

static void check_alarms_and_deadline(void)
{
        char more[100];
        struct handle h = open_handle(PATIENT);
        bool good = records(h);
        pinroute_set_timeout(h.pr, 100);
        stop_daemon();
        storm_of_alarms(300);
        int64_t began = now_ms();
        good &= record(h) == PINROUTE_E_UNREACHABLE;
        int64_t took = now_ms() - began;
        storm_of_alarms(0);
        kill(daemon_pid, SIGCONT);
        good &= reads_primary(h);
        snprintf(more, sizeof more, "%lld ms of 100", (long long)took);
        report(good && took >= 99 && took < 5000, "alarms neither end nor lengthen a wait", more);
        pinroute_close(&h.pr);
}

static volatile sig_atomic_t is_child;
static pid_t children[2000];
static volatile sig_atomic_t n_children;

/* As fork(), in whatever the signal has interrupted: the child goes on in the middle of it. */
static void on_fork(int number)
{
        (void)number;
        if (is_child || n_children >= (full ? 1000 : 60))
                return;
        pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (child == 0)
                is_child = 1;
        else if (child > 0)
                children[n_children++] = child;
}

static bool ends_well(pid_t child)
{
        int st;
        for (int64_t end = now_ms() + PATIENT; now_ms() < end; poll(NULL, 0, 1))
                if (waitpid(child, &st, WNOHANG) == child)
                        return WIFEXITED(st) && WEXITSTATUS(st) == 0;
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        return false;
}

/* The instant that is left: the child has the number already, and takes the answer that its parent waits for.
 * Then that call has failed, as any may; what counts is that it says so, and that the next one is none the worse. */
static bool records_or_says_so(const struct handle *h, int *late)
{
        int rc = record(*h);
        *late += rc == PINROUTE_E_UNREACHABLE;
        return (rc == PINROUTE_OK || rc == PINROUTE_E_UNREACHABLE) && reads_primary(*h);
}

static bool recovers(const struct handle *h)
{
        for (int64_t end = now_ms() + PATIENT; now_ms() < end;)
                if (record(*h) == PINROUTE_OK)
                        return true;
        return false;
}

static void check_forks_inside(void)
{
        char more[100];
        struct handle h = open_handle(PATIENT);
        struct sigaction act = {.sa_handler = on_fork};
        struct itimerval t = {{0, 3000}, {0, 3000}}, none = {{0, 0}, {0, 0}};
        int bad = 0, late = 0, n = 0;
        FAKE_MUST(records(h));
        pinroute_set_timeout(h.pr, 1000);
        sigaction(SIGALRM, &act, NULL);
        setitimer(ITIMER_REAL, &t, NULL);
        for (int64_t end = now_ms() + PATIENT; n_children < (full ? 1000 : 60) && now_ms() < end;) {
                bool good = records_or_says_so(&h, &late);
                if (is_child)
                        _exit(good && recovers(&h) ? 0 : 1);
                bad += !good;
        }
        setitimer(ITIMER_REAL, &none, NULL);
        for (; n < n_children; n++)
                bad += !ends_well(children[n]);
        snprintf(more, sizeof more, "%d children, %d failures, %d calls that ended late", n, bad, late);
        report(n > 10 && !bad && late <= n / 10 && recovers(&h),
               "a signal forks inside its calls, and both go on", more);
        pinroute_close(&h.pr);
}

/* ---- little of everything ---- */

static void *call_all_on_thread(void *arg)
{
        (void)arg;
        call_all();
        return NULL;
}

static void check_small_stack(void)
{
        size_t size = ASAN ? 256 * 1024 : 64 * 1024, unused = 0;
        char more[100];
        pthread_attr_t attr;
        pthread_t t;
        unsigned char *stack =
            mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        FAKE_MUST(stack != MAP_FAILED);
        memset(stack, 0xA5, size);
        FAKE_MUST(pthread_attr_init(&attr) == 0 && pthread_attr_setstack(&attr, stack, size) == 0);
        which = NULL;
        FAKE_MUST(pthread_create(&t, &attr, call_all_on_thread, NULL) == 0 && pthread_join(t, NULL) == 0);
        pthread_attr_destroy(&attr);
        while (unused < size && stack[unused] == 0xA5)
                unused++;
        munmap(stack, size);
        snprintf(more, sizeof more, "%zu bytes used, thread's own data and this test's included",
                 size - unused);
        report(!which && unused > size / 4, "all calls on a stack of 64 KiB", more);
}

/* In a process of its own: limits, lost descriptors and roots do not come back. */
static void check_in_child(bool (*life)(void), const char *what)
{
        pid_t child = fork();
        if (child == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                _exit(life() ? 0 : 1);
        }
        FAKE_MUST(child > 0);
        report(ends_well(child), what, "");
}

static bool without_descriptors(void)
{
        struct rlimit was, none;
        struct pinroute_decision d;
        struct handle early = open_handle(20);
        getrlimit(RLIMIT_NOFILE, &was);
        none = was;
        none.rlim_cur = 3;
        close_range(3, ~0u, 0);
        setrlimit(RLIMIT_NOFILE, &none);
        struct handle late = open_handle(20);
        bool good = record(early) == PINROUTE_E_UNREACHABLE && record(late) == PINROUTE_E_UNREACHABLE;
        good = good && reads_primary(early) && reads_primary(late);
        setrlimit(RLIMIT_NOFILE, &was);
        good = good && records(early) && records(late);
        for (int64_t end = now_ms() + PATIENT; good && now_ms() < end; poll(NULL, 0, 10))
                if (pinroute_route_write(late.pr, late.cluster, &d) == PINROUTE_OK &&
                    strcmp(d.node, "default") == 0)
                        break;
        good = good && strcmp(d.node, "default") == 0;
        pinroute_close(&early.pr);
        pinroute_close(&late.pr);
        return good;
}

static bool without_memory(void)
{
        struct rlimit none = {1, RLIM_INFINITY}, was;
        struct pinroute *pr = NULL;
        struct handle early = open_handle(PATIENT);
        getrlimit(RLIMIT_AS, &was);
        none.rlim_max = was.rlim_max;
        setrlimit(RLIMIT_AS, &none);
        bool good = records(early) && reads_primary(early);
        int status = pinroute_open(&pr, dir);
        good = good && (status == PINROUTE_E_MEMORY ? !pr : status == PINROUTE_OK);
        pinroute_close(&pr);
        setrlimit(RLIMIT_AS, &was);
        struct handle late = open_handle(PATIENT);
        good = good && records(late);
        pinroute_close(&early.pr);
        pinroute_close(&late.pr);
        return good;
}

static bool without_standard_descriptors(void)
{
        close_range(0, ~0u, 0);
        struct handle h = open_handle(PATIENT);
        bool good = records(h) && reads_primary(h);
        for (int fd = 0; fd < 3; fd++)
                good = good && fcntl(fd, F_GETFD) == -1;
        good = good && stubs_descriptor() >= 3;
        pinroute_close(&h.pr);
        return good && fcntl(0, F_GETFD) == -1;
}

static bool elsewhere(void)
{
        struct handle h = open_handle(PATIENT);
        bool good = records(h);
        FAKE_MUST(chdir(mkdtemp(strcpy(path, "/tmp/pnr-gone-XXXXXX"))) == 0 && rmdir(path) == 0);
        good = good && record(h) == PINROUTE_OK;
        if (chroot("/proc/self/fdinfo") == 0) /* as root: a place without our directory */
                good = good && record(h) == PINROUTE_OK && reads_primary(h);
        close_range(3, ~0u, 0);
        pinroute_set_timeout(h.pr, 50);
        good = good && record(h) == (access(dir, F_OK) ? PINROUTE_E_UNREACHABLE : PINROUTE_OK) &&
               reads_primary(h);
        pinroute_close(&h.pr);
        return good;
}

static void check_store_removed(void)
{
        struct handle h = open_handle(PATIENT);
        bool good = records(h);
        FAKE_MUST(unlink(in_dir("data.mdb")) == 0);
        good = good && reads_primary(h) && records(h) && reads_primary(h);
        pinroute_close(&h.pr);
        report(good, "the store that it maps is unlinked", "");
}

int main(void)
{
        full = getenv("PINROUTE_FULL") && atoi(getenv("PINROUTE_FULL"));
        FAKE_MUST(mkdtemp(dir));
        write_config();
        start_daemon();
        struct handle h = open_handle(PATIENT);
        report(records(h), "a daemon that is only just starting is waited for", "");
        pinroute_close(&h.pr);
        check_numbers_taken();
        check_another_handles_number();
        check_all_closed();
        check_storm();
        check_alarms();
        check_alarms_and_deadline();
        check_forks_inside();
        check_in_child(without_descriptors, "no descriptor is left");
        if (!ASAN)
                check_in_child(without_memory, "no address space is left");
        check_in_child(without_standard_descriptors, "stdin, stdout and stderr are closed, and stay so");
        check_in_child(elsewhere, "its working directory is removed, its root changed");
        check_store_removed();
        check_small_stack();
        check_keeps("serves");
        stop_daemon();
        check_keeps("is stopped");
        end_daemon();
        check_keeps("is dead");
        for (const char *const *name =
                 (const char *const[]){"ini", "log", "file", "data.mdb", "lock.mdb", "pinrouted.lock",
                                       "pinrouted.sock", "ctl.sock", NULL};
             *name; name++)
                unlink(in_dir(*name));
        rmdir(dir);
        printf("%d passed, %d failed\n", passed, failed);
        return failed != 0;
}
