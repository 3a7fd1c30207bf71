/* tsan_stub.c -- threads and forks over one handle, while the store is rewritten and replaced and the daemon
 * misbehaves.  For TSan, ASan and valgrind; says `N passed, N failed`.
 *   tsan_stub [SECONDS]   4 by default
 * ctest: asan tsan */
#include <pthread.h>
#include <stdbool.h>

#include "client/pinroute.h"
#include "proto/counts.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/live_store.h"

#define READERS   3
#define RECORDERS 2
#define BUDGET    50

static struct live live;
static struct fake fake;
static struct pinroute *pr;
static unsigned cluster, empty; /* empty: has no replica, and a budget */
static atomic_bool stop;
static atomic_long let_in;

struct tally {
        const char *what;
        atomic_long done, wrong, on_replicas;
};

static void note(struct tally *t, bool good)
{
        atomic_fetch_add(&t->done, 1);
        if (!good)
                atomic_fetch_add(&t->wrong, 1);
}

/* Whatever happens to the store, every key of the cluster is pinned or floored: no replica may be named. */
static bool keyed_is_safe(int status, const struct pinroute_decision *d)
{
        bool known = status == PINROUTE_OK || status == PINROUTE_E_STORE;
        bool named = strcmp(d->node, "default") == 0 || (d->node[0] == '\0' && status == PINROUTE_E_STORE);
        return known && named && d->role == PINROUTE_PRIMARY;
}

static bool unkeyed_is_sound(int status, const struct pinroute_decision *d, struct tally *t)
{
        bool replica = strcmp(d->node, "shadow-1") == 0 || strcmp(d->node, "shadow-2") == 0;
        if (d->reason == PINROUTE_BALANCED)
                atomic_fetch_add(&t->on_replicas, 1);
        return d->reason == PINROUTE_BALANCED ? replica && status == PINROUTE_OK : keyed_is_safe(status, d);
}

static bool is_budgeted(int status, const struct pinroute_decision *d)
{
        if (status == PINROUTE_OK && d->reason == PINROUTE_NO_REPLICA)
                atomic_fetch_add(&let_in, 1);
        bool known = status == PINROUTE_OK || status == PINROUTE_E_STORE || status == PINROUTE_E_CLUSTER;
        return d->role == PINROUTE_PRIMARY && d->reason == PINROUTE_OVER_BUDGET
                   ? status == PINROUTE_E_NO_REPLICA
                   : known;
}

static void *read_all(void *arg)
{
        struct tally *t = arg;
        while (!atomic_load(&stop)) {
                struct pinroute_decision d;
                struct pinroute_scope s;
                int status = pinroute_route_read(pr, cluster, "writer", 6, &d);
                note(t, keyed_is_safe(status, &d));
                status = pinroute_route_read(pr, cluster, NULL, 0, &d);
                note(t, unkeyed_is_sound(status, &d, t));
                status = pinroute_route_read(pr, empty, NULL, 0, &d);
                note(t, is_budgeted(status, &d));
                status = pinroute_route_read_within(pr, cluster, "writer", 6, 60000, &d);
                note(t, keyed_is_safe(status, &d));
                pinroute_scope_begin(&s, pr, cluster, "scoped", 6);
                for (int i = 0; i < 3; i++) {
                        status = pinroute_scope_read(&s, &d);
                        note(t, keyed_is_safe(status, &d));
                        status = pinroute_scope_read_within(&s, 60000, &d);
                        note(t, keyed_is_safe(status, &d));
                }
                {
                        PINROUTE_USE_PRIMARY(&s);
                        status = pinroute_scope_read(&s, &d);
                        note(t, keyed_is_safe(status, &d));
                }
                status = pinroute_route_write(pr, cluster, &d);
                note(t, keyed_is_safe(status, &d));
                unsigned again;
                pinroute_cluster(pr, "main", &again);
                note(t, again == cluster);
        }
        return NULL;
}

static bool is_record_status(int status) { return status == PINROUTE_OK || status == PINROUTE_E_UNREACHABLE; }

/* A token of a pinned key, in a request that has no key: it may not be signed or checked while a new store is
 * being made, but once it is accepted its reads are a pinned key's. */
static void carry(struct tally *t)
{
        char token[PINROUTE_TOKEN_SIZE];
        struct pinroute_decision d;
        struct pinroute_scope s;
        int status = pinroute_token_issue(pr, cluster, "writer", 6, token, sizeof token);
        note(t, status == PINROUTE_OK || status == PINROUTE_E_STORE);
        if (status != PINROUTE_OK)
                return;
        pinroute_scope_begin(&s, pr, cluster, NULL, 0);
        status = pinroute_token_accept(pr, cluster, token, &s);
        note(t, status == PINROUTE_OK || status == PINROUTE_E_STORE);
        status = pinroute_scope_read(&s, &d);
        note(t, keyed_is_safe(status, &d));
        note(t, pinroute_scope_rekey(&s, "other", 5) == PINROUTE_OK);
        status = pinroute_scope_read(&s, &d);
        note(t, keyed_is_safe(status, &d));
        token[7] ^= 1;
        status = pinroute_token_accept(pr, cluster, token, &s);
        note(t, status == PINROUTE_E_TOKEN_FORGED || status == PINROUTE_E_STORE);
}

static void *carry_all(void *arg)
{
        while (!atomic_load(&stop))
                carry(arg);
        return NULL;
}

/* Many at once, and two under way that are waited for in the other order, or not at all. */
static void record_many(struct tally *t, unsigned turn)
{
        struct pinroute_key keys[5];
        struct pinroute_pending p, q;
        struct pinroute_scope s;
        char text[5][16];
        for (unsigned i = 0; i < 5; i++) {
                int n = snprintf(text[i], sizeof text[i], "k%u", (turn * 3 + i) % 200);
                keys[i] = (struct pinroute_key){text[i], (size_t)n};
        }
        note(t, is_record_status(pinroute_record_writes(pr, cluster, keys, 5, 1)));
        note(t, is_record_status(pinroute_record_send(pr, cluster, keys, 5, 1, &p)));
        pinroute_scope_begin(&s, pr, cluster, text[0], keys[0].len);
        pinroute_scope_wrote(&s);
        note(t, is_record_status(pinroute_scope_end_send(&s, &q)));
        struct pinroute_decision d;
        int status = pinroute_route_read(pr, cluster, text[4], keys[4].len, &d);
        note(t, keyed_is_safe(status, &d));
        note(t, is_record_status(pinroute_record_wait(pr, &q)));
        if (turn % 4)
                note(t, is_record_status(pinroute_record_wait(pr, &p)));
}

static void *record_all(void *arg)
{
        struct tally *t = arg;
        for (unsigned i = 0; !atomic_load(&stop); i++) {
                struct pinroute_scope s;
                char key[16];
                int n = snprintf(key, sizeof key, "k%u", i % 200);
                note(t, is_record_status(pinroute_record_write(pr, cluster, key, (size_t)n, 1)));
                note(t, is_record_status(pinroute_hold(pr, cluster, key, (size_t)n, 100)));
                pinroute_scope_begin(&s, pr, cluster, key, (size_t)n);
                pinroute_scope_wrote(&s);
                note(t, is_record_status(pinroute_scope_end(&s)));
                record_many(t, i);
        }
        return NULL;
}

static void *fork_all(void *arg)
{
        struct tally *t = arg;
        while (!atomic_load(&stop)) {
                int st;
                struct pinroute_pending sent;
                const struct pinroute_key key = {"writer", 6};
                note(t, is_record_status(pinroute_record_send(pr, cluster, &key, 1, 1, &sent)));
                pid_t child = fork();
                FAKE_MUST(child >= 0);
                if (child == 0) {
                        struct pinroute_decision d;
                        int status = pinroute_route_read(pr, cluster, "writer", 6, &d);
                        bool good = keyed_is_safe(status, &d);
                        status = pinroute_record_write(pr, cluster, "writer", 6, 1);
                        good &= is_record_status(status);
                        status = pinroute_record_wait(pr, &sent); /* its parent's */
                        _exit(good && is_record_status(status) ? 0 : 1);
                }
                FAKE_MUST(waitpid(child, &st, 0) == child);
                note(t, WIFEXITED(st) && WEXITSTATUS(st) == 0);
                note(t, is_record_status(pinroute_record_wait(pr, &sent)));
                poll(NULL, 0, 5);
        }
        return NULL;
}

/* In a process of its own: commits all the time, and puts a new store in place now and then. */
static void write_all(void)
{
        for (unsigned i = 1;; i++) {
                live.cluster[0].floor_until_ms = live_now() + 60000;
                live_beat(&live, 0);
                live_pin(&live, "writer", 6, 8, 60000, 0);
                poll(NULL, 0, 2);
                if (i % 300 == 0) {
                        store_close(&live.store);
                        live_open(&live);
                        live_keys(&live, 1, 2);
                }
        }
}

static int memory(size_t size)
{
        int fd = memfd_create("tsan", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        FAKE_MUST(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
        FAKE_MUST(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
        return fd;
}

/* Memory to count in, new with each daemon; every other daemon is one that the store does not speak of.  The budget
 * stays: it would begin anew with other memory. */
static void hand_out(bool another)
{
        int *fd = fake.orders->handed;
        if (fake.orders->n_handed)
                close(fd[0]);
        else
                fd[1] = memory(sizeof(struct pnr_common));
        fd[0] = memory(sizeof(struct pnr_counts));
        fake.orders->n_handed = 2;
        fake.orders->features = PNR_FEATURE_COUNTS;
        fake.orders->later = another;
}

static void misbehave(int seconds)
{
        static const int kinds[] = {FAKE_ANSWERS, FAKE_NEVER, FAKE_ANSWERS, FAKE_CLOSES, FAKE_WRONG_NUMBER};
        int64_t end_ms = live_now() + seconds * 1000;
        for (unsigned i = 0; live_now() < end_ms; i++) {
                atomic_store(&fake.orders->kind, kinds[i % (sizeof kinds / sizeof *kinds)]);
                poll(NULL, 0, 50);
                if (i % 8 == 7) {
                        fake_kill(&fake);
                        hand_out(i % 16 == 7);
                        fake_start(&fake, live.dir);
                }
        }
}

static int report(const struct tally *t)
{
        bool good = t->done > 0 && t->wrong == 0;
        printf("%s: %s: %ld, wrong %ld, on replicas %ld\n", good ? "ok" : "FAILED", t->what, t->done,
               t->wrong, t->on_replicas);
        return good;
}

int main(int argc, char **argv)
{
        static struct tally tally[] = {
            {.what = "decisions"}, {.what = "records"}, {.what = "forks"}, {.what = "tokens"}};
        pthread_t thread[READERS + RECORDERS + 2];
        unsigned n = 0;
        live_init(&live);
        live.cluster[0].floor_generation = 9;
        live.cluster[0].floor_until_ms = live_now() + 60000;
        live.cluster[1].primary_budget = BUDGET;
        live_beat(&live, 0);
        live_keys(&live, 1, 2);
        fake_orders(&fake);
        hand_out(false);
        fake_start(&fake, live.dir);
        pid_t writer = fork();
        FAKE_MUST(writer >= 0);
        if (writer == 0)
                write_all();
        FAKE_MUST(pinroute_open(&pr, live.dir) == PINROUTE_OK);
        FAKE_MUST(pinroute_cluster(pr, "main", &cluster) == PINROUTE_OK);
        FAKE_MUST(pinroute_cluster(pr, "other", &empty) == PINROUTE_OK);
        FAKE_MUST(pinroute_set_timeout(pr, 20) == PINROUTE_OK);
        int64_t began = clock_coarse().ms / 1000; /* as readers see it: up to a tick late */
        for (int i = 0; i < READERS; i++)
                FAKE_MUST(pthread_create(&thread[n++], NULL, read_all, &tally[0]) == 0);
        for (int i = 0; i < RECORDERS; i++)
                FAKE_MUST(pthread_create(&thread[n++], NULL, record_all, &tally[1]) == 0);
        FAKE_MUST(pthread_create(&thread[n++], NULL, fork_all, &tally[2]) == 0);
        FAKE_MUST(pthread_create(&thread[n++], NULL, carry_all, &tally[3]) == 0);
        misbehave(argc > 1 ? atoi(argv[1]) : 4);
        atomic_store(&stop, true);
        while (n > 0)
                pthread_join(thread[--n], NULL);
        /* once more in the second in which the daemon's word takes the place of the family's */
        note(&tally[0], let_in > 0 && let_in <= BUDGET * (live_now() / 1000 - began + 2));
        kill(writer, SIGKILL);
        waitpid(writer, NULL, 0);
        pinroute_close(&pr);
        fake_fini(&fake);
        live_fini(&live);
        int passed = report(&tally[0]) + report(&tally[1]) + report(&tally[2]) + report(&tally[3]);
        printf("%d passed, %d failed\n", passed, 4 - passed);
        return passed != 4;
}
