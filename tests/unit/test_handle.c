/* test_handle.c -- the public calls over a real store and a fake daemon. */
#include "client/handle.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "tests/unit/seeded.h"
#include "tests/unit/stub_play.h"

TestSuite(handle, .init = stub_open, .fini = stub_close);

/* What happens while the stub looks at its clock: once. */
static void (*at_clock)(void);

int clock_gettime(clockid_t id, struct timespec *t)
{
        void (*happens)(void) = at_clock;
        if (happens && id == CLOCK_MONOTONIC_COARSE) {
                at_clock = NULL;
                happens();
        }
        return (int)syscall(SYS_clock_gettime, id, t);
}

static unsigned waits;
static int64_t longest_wait_ns;

int ppoll(struct pollfd *p, nfds_t n, const struct timespec *span, const sigset_t *mask)
{
        struct timespec left = *span;
        int64_t left_ns = left.tv_sec * 1000 * CLOCK_NS_PER_MS + left.tv_nsec;
        waits++;
        longest_wait_ns = left_ns > longest_wait_ns ? left_ns : longest_wait_ns;
        return (int)syscall(SYS_ppoll, p, n, &left, mask, sizeof(long));
}

/* Reads until the reason is this: the stub looks for a new store once a second. */
static bool comes_to(const char *key, int reason)
{
        struct pinroute_decision d;
        for (int64_t end_ms = live_now() + 20000; live_now() < end_ms; poll(NULL, 0, 5)) {
                live_beat(&live, 0);
                pinroute_route_read(pr, cluster, key, key ? strlen(key) : 0, &d);
                if (d.reason == reason)
                        return true;
        }
        return false;
}

Test(handle, reads_step_through_the_schedule_and_name_its_nodes)
{
        struct pinroute_decision a = expect_read(NULL, PINROUTE_OK, PINROUTE_BALANCED);
        struct pinroute_decision b = expect_read("nobody", PINROUTE_OK, PINROUTE_BALANCED);
        struct pinroute_decision c = expect_read(NULL, PINROUTE_OK, PINROUTE_BALANCED);
        cr_expect_str_neq(a.node, b.node);
        cr_expect_str_eq(a.node, c.node);
        cr_expect_eq(a.epoch, 77);
        cr_expect_eq(a.pin_left_ms, 0);
        cr_expect_str_eq(a.node[7] == '1' ? "shadow-1" : "shadow-2", a.node);
}

Test(handle, a_pinned_key_reads_from_the_primary_until_a_replica_has_caught_up)
{
        live_pin(&live, "writer", 6, 8, 15000, 0);
        struct pinroute_decision d = expect_read("writer", PINROUTE_OK, PINROUTE_PINNED);
        cr_expect_str_eq(d.node, "default");
        cr_expect(d.pin_left_ms > 0 && d.pin_left_ms <= 15100, "our coarse clock is up to a tick late");
        live.cluster[0].node[2].caught_up = 8;
        live_beat(&live, 0);
        for (int i = 0; i < 5; i++) {
                d = expect_read("writer", PINROUTE_OK, PINROUTE_CAUGHT_UP);
                cr_expect_str_eq(d.node, "shadow-2");
        }
        cr_expect(d.pin_left_ms > 0);
        live.cluster[0].floor_generation = 9;
        live.cluster[0].floor_until_ms = live_now() + 60000;
        live_beat(&live, 0);
        expect_read("writer", PINROUTE_OK, PINROUTE_PINNED);
        expect_read("nobody", PINROUTE_OK, PINROUTE_FLOOR);
        expect_read(NULL, PINROUTE_OK, PINROUTE_BALANCED);
}

Test(handle, reads_that_the_primary_answers_do_not_use_up_the_replicas_turns)
{
        unsigned first = 0;
        live_pin(&live, "writer", 6, 8, 60000, 0);
        for (int i = 0; i < 100; i++) {
                expect_read("writer", PINROUTE_OK, PINROUTE_PINNED);
                first += strcmp(expect_read(NULL, PINROUTE_OK, PINROUTE_BALANCED).node, "shadow-1") == 0;
        }
        cr_expect_eq(first, 50);
}

Test(handle, an_empty_schedule_names_the_primary_and_is_an_error_where_the_cluster_says_so)
{
        live.cluster[0].n_schedule = 0;
        live_beat(&live, 0);
        cr_expect_str_eq(expect_read(NULL, PINROUTE_OK, PINROUTE_NO_REPLICA).node, "default");
        live.cluster[0].flags = PNR_CLUSTER_NO_REPLICA_ERROR;
        live_beat(&live, 0);
        cr_expect_str_eq(expect_read("k", PINROUTE_E_NO_REPLICA, PINROUTE_NO_REPLICA).node, "default");
}

Test(handle, a_stale_heartbeat_stops_keyed_reads_and_a_very_old_one_all)
{
        live.header.stale_after_ms = 1000;
        live_beat(&live, -2000);
        expect_read("nobody", PINROUTE_OK, PINROUTE_STORE_STALE);
        expect_read(NULL, PINROUTE_OK, PINROUTE_BALANCED);
        live_beat(&live, 2000);
        expect_read("nobody", PINROUTE_OK, PINROUTE_STORE_STALE);
        live_beat(&live, -61000);
        struct pinroute_decision d = expect_read(NULL, PINROUTE_E_STORE, PINROUTE_STORE_UNAVAILABLE);
        cr_expect_str_eq(d.node, "default", "the last that the store knew");
        cr_expect_eq(pinroute_route_write(pr, cluster, &d), PINROUTE_E_STORE);
        live_beat(&live, 0);
        live.header.stale_after_ms = 20000;
        live_beat(&live, 0);
        expect_read("nobody", PINROUTE_OK, PINROUTE_BALANCED);
}

/* Like a worker in a time namespace of its own: the daemon's clock, and the store's times, are ahead_ms ahead
 * of ours. */
static void reopen_where_the_daemon_is(int ahead_ms)
{
        pinroute_close(&pr);
        fake.orders->ahead_ms = ahead_ms;
        live_beat(&live, ahead_ms);
        cr_assert_eq(pinroute_open(&pr, live.dir), PINROUTE_OK);
        cr_assert_eq(pinroute_cluster(pr, "main", &cluster), PINROUTE_OK);
}

Test(handle, a_pin_is_as_long_where_the_daemons_clock_is_less_than_a_second_off)
{
        static const int ahead_ms[] = {-850, 850};
        for (unsigned i = 0; i < 2; i++) {
                reopen_where_the_daemon_is(ahead_ms[i]);
                live_pin(&live, "writer", 6, 8, ahead_ms[i] + 60000, 0);
                int64_t before_ms = live_now();
                struct pinroute_decision d = expect_read("writer", PINROUTE_OK, PINROUTE_PINNED);
                cr_expect(d.pin_left_ms >= 60000 - (live_now() - before_ms) - 100 && d.pin_left_ms <= 60100,
                          "%u ms", d.pin_left_ms);
        }
}

Test(handle, until_the_daemon_has_told_its_clock_keyed_reads_go_to_the_primary)
{
        fake.orders->kind = FAKE_NEVER;
        reopen_where_the_daemon_is(0);
        live.cluster[0].node[2].caught_up = 8;
        live_pin(&live, "writer", 6, 8, 60000, 0);
        live_beat(&live, 0);
        expect_read("writer", PINROUTE_OK, PINROUTE_STORE_STALE);
        expect_read("nobody", PINROUTE_OK, PINROUTE_STORE_STALE);
        expect_read(NULL, PINROUTE_OK, PINROUTE_BALANCED);
        fake.orders->kind = FAKE_ANSWERS;
        cr_expect(comes_to("nobody", PINROUTE_BALANCED), "a read asks for it, once a second");
        expect_read("writer", PINROUTE_OK, PINROUTE_CAUGHT_UP);
}

Test(handle, a_failed_record_pins_its_key_whatever_is_learned_of_the_daemons_clock)
{
        fake.orders->kind = FAKE_NEVER;
        reopen_where_the_daemon_is(0);
        cr_assert_eq(pinroute_set_timeout(pr, 20), PINROUTE_OK);
        cr_assert_eq(record("writer", 60), PINROUTE_E_UNREACHABLE);
        fake.orders->ahead_ms = 500000;
        fake.orders->kind = FAKE_ANSWERS;
        for (int64_t end_ms = live_now() + 20000; live_now() < end_ms; poll(NULL, 0, 5)) {
                struct pinroute_decision d;
                live_beat(&live, 500000);
                pinroute_route_read(pr, cluster, "nobody", 6, &d);
                if (d.reason == PINROUTE_BALANCED)
                        break;
        }
        expect_read("nobody", PINROUTE_OK, PINROUTE_BALANCED);
        struct pinroute_decision d = expect_read("writer", PINROUTE_OK, PINROUTE_PINNED);
        cr_expect(d.pin_left_ms > 30000 && d.pin_left_ms <= 60100);
}

Test(handle, a_record_that_failed_has_no_time_left_to_ask_for_the_daemons_clock)
{
        fake.orders->kind = FAKE_NEVER;
        pinroute_close(&pr);
        cr_assert_eq(pinroute_open(&pr, live.dir), PINROUTE_OK);
        cr_assert_eq(pinroute_cluster(pr, "main", &cluster), PINROUTE_OK);
        poll(NULL, 0, 1050); /* a look for the clock is due */
        live_beat(&live, 0);
        unsigned before = fake.orders->connections;
        cr_expect_eq(record("k", 0), PINROUTE_E_UNREACHABLE);
        cr_expect_eq(fake.orders->connections, before + 1);
        expect_read("k", PINROUTE_OK, PINROUTE_STORE_STALE);
}

Test(handle, a_pin_of_a_cluster_that_is_not_the_first_is_found_by_every_read)
{
        struct pinroute_decision d;
        unsigned other;
        cr_assert_eq(pinroute_cluster(pr, "other", &other), PINROUTE_OK);
        live_pin_in(&live, 1, "ann", 3, 100000);
        for (unsigned i = 0; i < 3; i++) {
                pinroute_route_read(pr, other, "ann", 3, &d);
                cr_expect_eq(d.reason, PINROUTE_PINNED, "read %u: %s", i, pinroute_reason_name(d.reason));
                pinroute_route_read(pr, other, "bob", 3, &d);
                cr_expect_eq(d.reason, PINROUTE_NO_REPLICA, "read %u: %s", i, pinroute_reason_name(d.reason));
                expect_read("ann", PINROUTE_OK, PINROUTE_BALANCED);
        }
}

/* As the daemon and another thread do: the pin is committed, and then nothing is owed any more. */
static void pay_debts(void)
{
        live_pin(&live, "late", 4, 100, 100000, 0);
        atomic_store(&fake.orders->kind, FAKE_ANSWERS);
        cr_assert_eq(record("another", 0), PINROUTE_OK);
}

Test(handle, a_debt_that_is_paid_in_the_middle_of_a_read_is_seen_as_a_debt_or_as_a_pin)
{
        expect_read("late", PINROUTE_OK, PINROUTE_BALANCED);
        cr_assert_eq(pinroute_set_timeout(pr, 20), PINROUTE_OK);
        atomic_store(&fake.orders->kind, FAKE_NEVER);
        cr_assert_eq(record("late", 0), PINROUTE_E_UNREACHABLE);
        expect_read("late", PINROUTE_OK, PINROUTE_PINNED);
        cr_assert_eq(pinroute_set_timeout(pr, 20000), PINROUTE_OK);
        at_clock = pay_debts;
        expect_read("late", PINROUTE_OK, PINROUTE_PINNED);
        cr_expect_null(at_clock);
        expect_read("late", PINROUTE_OK, PINROUTE_PINNED);
        expect_read("nobody", PINROUTE_OK, PINROUTE_BALANCED);
}

struct answer {
        int status;
        struct pinroute_decision d;
};

static struct answer ask_twice(const char *key, struct answer *second)
{
        struct answer a[2];
        for (int i = 0; i < 2; i++)
                a[i].status = pinroute_route_read(pr, cluster, key, key ? strlen(key) : 0, &a[i].d);
        *second = a[1];
        return a[0];
}

/* Floors, pins, holds, what has caught up, what is scheduled, and errors, as chance has them. */
static void change_something(uint64_t *seed)
{
        static const char *const keys[] = {"ann", "bob", "cleo"};
        struct pnr_cluster *c = &live.cluster[0];
        uint64_t what = seeded_next(seed);
        int64_t now_ms = live_now(), far_ms = now_ms + 100000;
        c->floor_until_ms = what & 1 ? 0 : what & 2 ? now_ms - 1 : far_ms;
        c->floor_hold_ms = what & 4 ? 0 : what & 8 ? now_ms - 1 : far_ms;
        c->floor_generation = seeded_below(seed, 4);
        c->n_schedule = what & 0x30 ? 2 : 0;
        c->scheduled = what & 0x40 ? 6 : 4;
        c->flags = what & 0x180 ? 0 : PNR_CLUSTER_NO_REPLICA_ERROR;
        c->primary = what & 0xe00 ? 0 : PNR_NO_NODE;
        c->node[1].caught_up = seeded_below(seed, 4);
        c->node[2].caught_up = seeded_below(seed, 4);
        if (!(what & 0x7000))
                live_pin(&live, keys[seeded_below(seed, 3)], 3 + (what >> 20 & 1), seeded_below(seed, 4),
                         100000, what & 0x8000 ? 0 : 50000);
        live_beat(&live, 0);
}

/* The first read of a snapshot goes the long way, the second one starts from what that saw. */
Test(handle, a_read_decides_as_the_first_one_of_its_snapshot_did)
{
        static const char *const keys[] = {"ann", "bob", "cleo", "dora", NULL};
        uint64_t seed = seeded_start(20);
        unsigned reasons = 0;
        for (unsigned round = 0; round < 3000; round++) {
                struct answer second;
                const char *key = keys[round % 5];
                change_something(&seed);
                struct answer first = ask_twice(key, &second);
                reasons |= 1u << first.d.reason;
                cr_assert_eq(second.status, first.status, "round %u", round);
                cr_assert_eq(second.d.reason, first.d.reason, "round %u: %s, then %s", round,
                             pinroute_reason_name(first.d.reason), pinroute_reason_name(second.d.reason));
                cr_assert_eq(second.d.role, first.d.role);
                cr_assert_eq(second.d.epoch, first.d.epoch);
                cr_assert_lt((int64_t)first.d.pin_left_ms - (int64_t)second.d.pin_left_ms, 1000);
                cr_assert(first.d.role == PINROUTE_REPLICA || !strcmp(first.d.node, second.d.node));
        }
        cr_expect_eq(reasons, 1u << PINROUTE_BALANCED | 1u << PINROUTE_PINNED | 1u << PINROUTE_CAUGHT_UP |
                                  1u << PINROUTE_NO_REPLICA | 1u << PINROUTE_FLOOR);
}

Test(handle, writes_go_to_the_primary)
{
        struct pinroute_decision d;
        cr_expect_eq(pinroute_route_write(pr, cluster, &d), PINROUTE_OK);
        cr_expect_str_eq(d.node, "default");
        cr_expect_eq(d.reason, PINROUTE_WRITE);
        cr_expect_eq(d.role, PINROUTE_PRIMARY);
}

Test(handle, a_primary_that_nobody_knows_has_no_name)
{
        struct pinroute_decision d;
        live.cluster[0].primary = PNR_NO_NODE;
        live_beat(&live, 0);
        cr_expect_eq(pinroute_route_write(pr, cluster, &d), PINROUTE_OK);
        cr_expect_str_eq(d.node, "");
}

Test(handle, without_a_store_every_answer_is_the_primary_until_one_appears)
{
        char elsewhere[] = "/dev/shm/pnr-empty-XXXXXX";
        struct pinroute *other;
        unsigned number;
        struct pinroute_decision d;
        cr_assert_not_null(mkdtemp(elsewhere));
        setenv("PINROUTE_PRIMARY", "db1", 1);
        cr_assert_eq(pinroute_open(&other, elsewhere), PINROUTE_OK);
        cr_assert_eq(pinroute_cluster(other, "main", &number), PINROUTE_OK, "bound lazily");
        cr_expect_eq(pinroute_route_read(other, number, NULL, 0, &d), PINROUTE_E_STORE);
        cr_expect_str_eq(d.node, "db1");
        cr_expect_eq(d.reason, PINROUTE_STORE_UNAVAILABLE);
        cr_expect_eq(d.epoch, 0);
        cr_expect_eq(pinroute_record_write(other, number, "k", 1, 0), PINROUTE_E_UNREACHABLE);
        pinroute_close(&other);
        rmdir(elsewhere);
        store_close(&live.store);
        setenv("PINROUTE_DIR", live.dir, 1);
        char file[128];
        snprintf(file, sizeof file, "%s/data.mdb", live.dir);
        unlink(file);
        pinroute_close(&pr);
        cr_assert_eq(pinroute_open(&pr, NULL), PINROUTE_OK);
        cr_assert_eq(pinroute_cluster(pr, "main", &cluster), PINROUTE_OK);
        expect_read(NULL, PINROUTE_E_STORE, PINROUTE_STORE_UNAVAILABLE);
        live_open(&live);
        live_beat(&live, 0);
        cr_expect(comes_to(NULL, PINROUTE_BALANCED));
}

/* Mappings of the directory's files, deleted ones included. */
static int mappings(void)
{
        char line[512];
        int n = 0;
        FILE *f = fopen("/proc/self/maps", "r");
        while (fgets(line, sizeof line, f))
                n += strstr(line, live.dir) && strstr(line, "r--s");
        fclose(f);
        return n;
}

static long address_space(void)
{
        long pages = 0;
        FILE *f = fopen("/proc/self/statm", "r");
        cr_assert_eq(fscanf(f, "%ld", &pages), 1);
        fclose(f);
        return pages * 4096;
}

Test(handle, a_store_that_vanished_unretired_is_given_up_when_it_goes_stale_and_another_is_there)
{
        struct pinroute_decision d;
        char file[128];
        snprintf(file, sizeof file, "%s/data.mdb", live.dir);
        int mapped = mappings(); /* liblmdb's is one of them */
        long space = address_space();
        live.header.stale_after_ms = 1000;
        live_beat(&live, -2000);
        for (int64_t end_ms = live_now() + 1200; live_now() < end_ms; poll(NULL, 0, 5))
                pinroute_route_read(pr, cluster, "k", 1, &d);
        expect_read("k", PINROUTE_OK, PINROUTE_STORE_STALE);
        cr_expect(address_space() < space + (4 << 20));
        cr_expect_eq(mappings(), mapped, "a stale store that is still linked is not mapped again");
        unlink(file);
        store_close(&live.store);
        live.header.stale_after_ms = 20000;
        live_open(&live);
        cr_expect(comes_to("k", PINROUTE_BALANCED));
        cr_expect_eq(mappings(), mapped, "the old file is given back");
}

Test(handle, a_replaced_store_is_found_and_the_old_one_is_believed_no_more)
{
        struct store *old = live.store;
        live_pin(&live, "writer", 6, 8, 60000, 0);
        expect_read("writer", PINROUTE_OK, PINROUTE_PINNED);
        struct live before = live;
        store_close(&old);
        live_open(&live); /* retires the old file */
        live.header.epoch = 78;
        live.cluster[0].floor_generation = 9;
        live.cluster[0].floor_until_ms = live_now() + 60000;
        struct pinroute_decision d;
        pinroute_route_read(pr, cluster, "writer", 6, &d);
        cr_expect_eq(d.role, PINROUTE_PRIMARY);
        cr_expect(comes_to("writer", PINROUTE_FLOOR));
        cr_expect_eq(expect_read(NULL, PINROUTE_OK, PINROUTE_BALANCED).epoch, 78);
        cr_expect_neq(before.header.file_ino, live.header.file_ino);
}

Test(handle, clusters_are_numbered_once_and_by_name)
{
        unsigned number, again;
        char name[PINROUTE_NODE_SIZE + 1];
        cr_expect_eq(pinroute_cluster(pr, "main", &again), PINROUTE_OK);
        cr_expect_eq(again, cluster);
        cr_expect_eq(pinroute_cluster(pr, "absent", &number), PINROUTE_E_CLUSTER);
        cr_expect_neq(number, cluster);
        struct pinroute_decision d;
        cr_expect_eq(pinroute_route_read(pr, number, NULL, 0, &d), PINROUTE_E_CLUSTER);
        cr_expect_eq(d.reason, PINROUTE_STORE_UNAVAILABLE);
        strcpy(live.cluster[1].name, "absent");
        live_beat(&live, 0);
        cr_expect_eq(pinroute_route_read(pr, number, NULL, 0, &d), PINROUTE_OK, "it has appeared");
        cr_expect_eq(d.reason, PINROUTE_NO_REPLICA);
        cr_expect_eq(pinroute_cluster(pr, "", &again), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_cluster(pr, "a b", &again), PINROUTE_E_INVALID);
        memset(name, 'n', sizeof name);
        name[PINROUTE_NODE_SIZE] = '\0';
        cr_expect_eq(pinroute_cluster(pr, name, &again), PINROUTE_E_INVALID);
        cr_expect_eq(again, UINT_MAX);
        for (int i = 2; i < PINROUTE_CLUSTERS_MAX; i++) {
                snprintf(name, sizeof name, "c%d", i);
                cr_expect_eq(pinroute_cluster(pr, name, &again), PINROUTE_E_CLUSTER);
                cr_expect_eq(again, (unsigned)i);
        }
        cr_expect_eq(pinroute_cluster(pr, "one-too-many", &again), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_cluster(pr, "c63", &again), PINROUTE_E_CLUSTER);
        cr_expect_eq(again, 63);
}

Test(handle, wrong_arguments_are_told_and_still_answered_with_the_primary)
{
        struct pinroute_decision d;
        char big[PINROUTE_KEY_MAX + 1] = {1};
        unsigned number;
        cr_expect_eq(pinroute_route_read(pr, cluster, big, sizeof big, &d), PINROUTE_E_INVALID);
        cr_expect_eq(d.role, PINROUTE_PRIMARY);
        cr_expect_eq(d.reason, PINROUTE_STORE_UNAVAILABLE);
        cr_expect_eq(pinroute_route_read(pr, cluster, big, sizeof big - 1, &d), PINROUTE_OK);
        cr_expect_eq(pinroute_route_read(pr, cluster, big, 0, &d), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_route_read(pr, 7, NULL, 0, &d), PINROUTE_E_INVALID);
        cr_expect_eq(d.role, PINROUTE_PRIMARY);
        cr_expect_eq(pinroute_route_read(NULL, cluster, NULL, 0, &d), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_route_read(pr, cluster, NULL, 0, NULL), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_route_write(pr, 7, &d), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_route_write(pr, cluster, NULL), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_record_write(pr, cluster, NULL, 0, 0), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_record_write(pr, cluster, big, sizeof big, 0), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_record_write(pr, 7, "k", 1, 0), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_hold(pr, cluster, "k", 1, 0), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_hold(NULL, cluster, "k", 1, 1), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_cluster(pr, NULL, &number), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_cluster(NULL, "main", &number), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_set_timeout(pr, 0), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_set_timeout(pr, 60001), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_set_timeout(NULL, 1), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_open(NULL, "/"), PINROUTE_E_INVALID);
        struct pinroute *none = pr;
        memset(big, 'd', 200);
        big[200] = '\0';
        cr_expect_eq(pinroute_open(&none, big), PINROUTE_E_INVALID);
        cr_expect_null(none);
        cr_expect_eq(pinroute_open(&none, ""), PINROUTE_E_INVALID);
        pinroute_close(&none);
        pinroute_close(NULL);
        cr_expect_eq(fake.orders->records + fake.orders->holds, 0);
}

Test(handle, a_process_in_another_time_namespace_calibrates_itself)
{
        pinroute_close(&pr);
        fake.orders->ahead_ms = 500000;
        live_beat(&live, 500000);
        cr_assert_eq(pinroute_open(&pr, live.dir), PINROUTE_OK);
        pinroute_cluster(pr, "main", &cluster);
        expect_read("nobody", PINROUTE_OK, PINROUTE_BALANCED);
        live_beat(&live, 0);
        expect_read("nobody", PINROUTE_E_STORE, PINROUTE_STORE_UNAVAILABLE);
}

/* Whoever only connects, and never speaks, keeps the backlog full for as long as he likes. */
Test(handle, a_read_does_not_wait_for_a_place_at_a_daemon_that_was_restarted)
{
        fake_kill(&fake);
        fake_listen(&fake, live.dir, 0);
        int came = 0;
        for (int i = 0; i < 3 && came == 0; i++) {
                int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                came = connect(fd, (void *)&fake.address, sizeof fake.address);
        }
        cr_assert(came != 0 && errno == EAGAIN);
        live.header.epoch++;
        live_beat(&live, 0);
        waits = 0;
        cr_expect_eq(expect_read("nobody", PINROUTE_OK, PINROUTE_BALANCED).epoch, 78);
        cr_expect_eq(waits, 0);
}

Test(handle, a_restarted_daemon_that_says_nothing_is_waited_for_once_and_for_two_milliseconds)
{
        fake.orders->kind = FAKE_NEVER;
        live.header.epoch++;
        waits = 0;
        longest_wait_ns = 0;
        for (int i = 0; i < 3; i++) {
                live_beat(&live, 0);
                expect_read("nobody", PINROUTE_OK, PINROUTE_BALANCED);
        }
        cr_expect_gt(waits, 0);
        cr_expect_leq(longest_wait_ns, 2 * CLOCK_NS_PER_MS);
        cr_expect_eq(fake.orders->connections, 2, "the opener's is the other");
}

Test(handle, turns_start_where_the_daemon_says)
{
        struct pinroute *other;
        unsigned number;
        fake.orders->turn = 100;
        for (int i = 0; i < 4; i++) {
                struct pinroute_decision d;
                cr_assert_eq(pinroute_open(&other, live.dir), PINROUTE_OK);
                cr_assert_eq(pinroute_cluster(other, "main", &number), PINROUTE_OK);
                cr_assert_eq(pinroute_route_read(other, number, NULL, 0, &d), PINROUTE_OK);
                cr_expect_str_eq(d.node, i % 2 ? "shadow-2" : "shadow-1");
                pinroute_close(&other);
        }
}
