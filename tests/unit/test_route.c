/* test_route.c -- the public reads: a key's own replica, a bound, a budget; the others are in test_handle.c. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

#include "client/affinity.h"
#include "client/pinroute.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/live_store.h"

static struct live live;
static struct fake fake;
static struct pinroute *pr;
static unsigned cluster;

static void setup(void)
{
        live_init(&live);
        live.header.stale_after_ms = 20000; /* a slow machine must not make a heartbeat stale */
        live.cluster[0].trust_ms = 20000;
        live.cluster[0].node[1].weight = live.cluster[0].node[2].weight = 1;
        live_beat(&live, 0);
        fake_start(&fake, live.dir);
        cr_assert_eq(pinroute_open(&pr, live.dir), PINROUTE_OK);
        cr_assert_eq(pinroute_cluster(pr, "main", &cluster), PINROUTE_OK);
}

static void teardown(void)
{
        pinroute_close(&pr);
        fake_fini(&fake);
        live_fini(&live);
}

TestSuite(route, .init = setup, .fini = teardown);

static struct pinroute_decision is(int status, struct pinroute_decision d, int reason)
{
        cr_expect_eq(status, reason == PINROUTE_OVER_BUDGET ? PINROUTE_E_NO_REPLICA : PINROUTE_OK);
        cr_expect_eq(d.reason, reason, "%s instead of %s", pinroute_reason_name(d.reason),
                     pinroute_reason_name(reason));
        cr_expect_eq(d.role, strcmp(d.node, "default") != 0 ? PINROUTE_REPLICA : PINROUTE_PRIMARY);
        return d;
}

static struct pinroute_decision expect_read(const char *key, int reason)
{
        struct pinroute_decision d;
        int status = pinroute_route_read(pr, cluster, key, key ? strlen(key) : 0, &d);
        return is(status, d, reason);
}

static struct pinroute_decision expect_within(const char *key, unsigned ms, int reason)
{
        struct pinroute_decision d;
        errno = 77;
        int status = pinroute_route_read_within(pr, cluster, key, key ? strlen(key) : 0, ms, &d);
        cr_expect_eq(errno, 77);
        return is(status, d, reason);
}

/* ---- balance = affinity ---- */

static void by_affinity(void)
{
        live.cluster[0].flags = PNR_CLUSTER_AFFINITY;
        live_beat(&live, 0);
}

/* The node that the key must go to, by the record that is in the store. */
static const char *own(const char *key)
{
        const struct pnr_cluster *c = &live.cluster[0];
        return c->node[__builtin_ctz(affinity_of(c, c->scheduled, pnr_key_of(key, strlen(key))))].name;
}

Test(route, by_affinity_a_key_goes_to_its_own_replica_each_time)
{
        unsigned first = 0;
        by_affinity();
        for (unsigned i = 0; i < 1000; i++) {
                char key[16];
                snprintf(key, sizeof key, "key-%u", i);
                for (unsigned again = 0; again < 3; again++)
                        cr_assert_str_eq(expect_read(key, PINROUTE_AFFINITY).node, own(key));
                first += strcmp(own(key), "shadow-1") == 0;
                if (i % 100 == 0)
                        live_beat(&live, 0); /* the long way, too */
        }
        cr_expect(first > 400 && first < 600, "%u", first);
}

Test(route, keys_with_a_replica_of_their_own_take_no_turns_from_keyless_reads)
{
        unsigned first = 0;
        by_affinity();
        for (unsigned i = 0; i < 100; i++) {
                expect_read("me", PINROUTE_AFFINITY);
                first += strcmp(expect_read(NULL, PINROUTE_BALANCED).node, "shadow-1") == 0;
        }
        cr_expect_eq(first, 50);
}

Test(route, a_key_s_own_replica_is_the_primary_s_only_stand_in_while_it_is_pinned)
{
        char key[16], mine[16] = "", other[16] = "";
        by_affinity();
        for (unsigned i = 0; !*mine || !*other; i++) {
                snprintf(key, sizeof key, "key-%u", i);
                strcpy(strcmp(own(key), "shadow-2") == 0 ? mine : other, key);
        }
        live.cluster[0].node[2].caught_up = 8;
        live_beat(&live, 0);
        live_pin(&live, mine, strlen(mine), 8, 60000, 0);
        live_pin(&live, other, strlen(other), 8, 60000, 0);
        for (unsigned i = 0; i < 3; i++) {
                cr_expect_str_eq(expect_read(mine, PINROUTE_CAUGHT_UP).node, "shadow-2");
                cr_expect_str_eq(expect_read(other, PINROUTE_PINNED).node, "default");
        }
}

Test(route, a_reload_turns_affinity_on_and_off)
{
        expect_read("me", PINROUTE_BALANCED);
        by_affinity();
        expect_read("me", PINROUTE_AFFINITY);
        live.cluster[0].scheduled = 1u << 2;
        live.cluster[0].n_schedule = 1;
        live.cluster[0].schedule[0] = 2;
        live_beat(&live, 0);
        cr_expect_str_eq(expect_read("me", PINROUTE_AFFINITY).node, "shadow-2");
        live.cluster[0].flags = 0;
        live_beat(&live, 0);
        expect_read("me", PINROUTE_BALANCED);
}

/* ---- bounds ---- */

static void known_as_of(int64_t ms_ago, unsigned node)
{
        live.cluster[0].as_of_ms[node] = live_now() - ms_ago;
        live_beat(&live, 0);
}

Test(route, within_a_bound_only_replicas_that_are_known_to_be_recent_are_named)
{
        expect_within(NULL, 60000, PINROUTE_BEHIND);
        known_as_of(10000, 1);
        known_as_of(30000, 2);
        for (unsigned i = 0; i < 4; i++) {
                cr_expect_str_eq(expect_within("me", 20000, PINROUTE_BALANCED).node, "shadow-1");
                cr_expect_str_eq(expect_within("me", 9000, PINROUTE_BEHIND).node, "default");
                expect_within(NULL, 60000, PINROUTE_BALANCED);
                expect_within(NULL, 0, PINROUTE_BEHIND);
                expect_read(NULL, PINROUTE_BALANCED);
        }
        live_pin(&live, "me", 2, 8, 60000, 0);
        expect_within("me", 60000, PINROUTE_PINNED);
}

Test(route, a_bound_of_the_wrong_call_is_refused_with_the_primary)
{
        struct pinroute_decision d;
        cr_expect_eq(pinroute_route_read_within(pr, cluster, NULL, 0, 1000, NULL), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_route_read_within(pr, cluster, "", 0, 1000, &d), PINROUTE_E_INVALID);
        cr_expect_eq(d.role, PINROUTE_PRIMARY);
        cr_expect_eq(pinroute_route_read_within(NULL, cluster, NULL, 0, 1000, &d), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_scope_read_within(NULL, 1000, &d), PINROUTE_E_INVALID);
        cr_expect_eq(d.role, PINROUTE_PRIMARY);
}

static struct pinroute_decision scope_within(struct pinroute_scope *s, unsigned ms, int reason)
{
        struct pinroute_decision d;
        return is(pinroute_scope_read_within(s, ms, &d), d, reason);
}

static struct pinroute_decision scope_read(struct pinroute_scope *s, int reason)
{
        struct pinroute_decision d;
        return is(pinroute_scope_read(s, &d), d, reason);
}

Test(route, a_scope_keeps_its_replica_while_that_is_within_the_bound)
{
        struct pinroute_scope s;
        known_as_of(1000, 1);
        known_as_of(1000, 2);
        pinroute_scope_begin(&s, pr, cluster, "me", 2);
        struct pinroute_decision first = scope_read(&s, PINROUTE_BALANCED);
        for (unsigned i = 0; i < 5; i++)
                cr_expect_str_eq(scope_within(&s, 20000, PINROUTE_BALANCED).node, first.node);
        known_as_of(40000, strcmp(first.node, "shadow-1") == 0 ? 1 : 2);
        cr_expect_str_neq(scope_within(&s, 20000, PINROUTE_BALANCED).node, first.node,
                          "it would have been repeated, and is older by now");
}

Test(route, a_scope_that_a_bound_has_sent_to_the_primary_stays_there)
{
        struct pinroute_scope s;
        known_as_of(30000, 1);
        known_as_of(30000, 2);
        pinroute_scope_begin(&s, pr, cluster, "me", 2);
        scope_read(&s, PINROUTE_BALANCED);
        scope_within(&s, 20000, PINROUTE_BEHIND);
        known_as_of(0, 1);
        scope_within(&s, 20000, PINROUTE_BEHIND);
        scope_read(&s, PINROUTE_BEHIND);
        pinroute_scope_force_primary(&s);
        scope_within(&s, 20000, PINROUTE_FORCED);
}

Test(route, by_affinity_a_scope_stays_where_it_has_read_when_its_key_changes)
{
        struct pinroute_scope s;
        char key[16] = "key-0";
        by_affinity();
        pinroute_scope_begin(&s, pr, cluster, "me", 2);
        struct pinroute_decision first = scope_read(&s, PINROUTE_AFFINITY);
        cr_expect_str_eq(first.node, own("me"));
        for (unsigned i = 1; strcmp(own(key), first.node) == 0; i++)
                snprintf(key, sizeof key, "key-%u", i);
        cr_assert_eq(pinroute_scope_rekey(&s, key, strlen(key)), PINROUTE_OK);
        cr_expect_str_eq(scope_read(&s, PINROUTE_AFFINITY).node, first.node);
        pinroute_scope_begin(&s, pr, cluster, key, strlen(key));
        cr_expect_str_neq(scope_read(&s, PINROUTE_AFFINITY).node, first.node);
}

/* ---- primary_budget ---- */

static void no_replica(uint32_t budget)
{
        live.cluster[0].n_schedule = 0;
        live.cluster[0].scheduled = 0;
        live.cluster[0].primary_budget = budget;
        live_beat(&live, 0);
}

static int64_t second(void) { return clock_coarse().ms / 1000; }

static void next_second(void)
{
        for (int64_t now = second(); second() == now; poll(NULL, 0, 1))
                ;
}

/* Reads without a key until the next second of the clock begins: how many went to the primary in this one. */
static unsigned let_in(void)
{
        unsigned n = 0;
        struct pinroute_decision d;
        for (int64_t now = second(); second() == now;) {
                int status = pinroute_route_read(pr, cluster, NULL, 0, &d);
                is(status, d, status == PINROUTE_OK ? PINROUTE_NO_REPLICA : PINROUTE_OVER_BUDGET);
                n += status == PINROUTE_OK && second() == now;
        }
        return n;
}

Test(route, the_primary_takes_no_more_reads_without_key_or_replica_than_its_budget)
{
        no_replica(5);
        next_second();
        cr_expect_eq(let_in(), 5);
        live.cluster[0].primary_budget = 0;
        live_beat(&live, 0);
        for (unsigned i = 0; i < 100; i++)
                expect_read(NULL, PINROUTE_NO_REPLICA);
}

/* This daemon hands out no memory for it. */
Test(route, a_family_of_processes_has_one_budget)
{
        int pipes[2];
        unsigned all = 0, one;
        no_replica(20);
        cr_assert_eq(pipe(pipes), 0);
        next_second();
        for (unsigned i = 0; i < 4; i++)
                if (fork() == 0) {
                        one = let_in();
                        _exit(write(pipes[1], &one, sizeof one) != sizeof one);
                }
        for (unsigned i = 0; i < 4; i++) {
                cr_assert_eq(read(pipes[0], &one, sizeof one), sizeof one);
                wait(NULL);
                all += one;
        }
        cr_expect_eq(all, 20);
}

Test(route, what_a_promise_sends_to_the_primary_is_on_no_budget)
{
        struct pinroute_decision d;
        live_pin(&live, "me", 2, 8, 60000, 0);
        no_replica(1);
        for (unsigned i = 0; i < 100; i++) {
                expect_read("me", PINROUTE_PINNED);
                expect_read("you", PINROUTE_NO_REPLICA);
                cr_expect_eq(pinroute_route_write(pr, cluster, &d), PINROUTE_OK);
                struct pinroute_scope s;
                pinroute_scope_begin(&s, pr, cluster, NULL, 0);
                pinroute_scope_force_primary(&s);
                scope_read(&s, PINROUTE_FORCED);
        }
}

Test(route, a_request_that_was_let_in_is_served_to_its_end)
{
        struct pinroute_scope in, out;
        no_replica(1);
        next_second();
        pinroute_scope_begin(&in, pr, cluster, NULL, 0);
        pinroute_scope_begin(&out, pr, cluster, NULL, 0);
        scope_read(&in, PINROUTE_NO_REPLICA);
        scope_read(&out, PINROUTE_OVER_BUDGET);
        for (unsigned i = 0; i < 20; i++)
                scope_read(&in, PINROUTE_NO_REPLICA);
}

Test(route, with_no_replica_error_the_budget_is_not_asked)
{
        struct pinroute_decision d;
        no_replica(1);
        live.cluster[0].flags = PNR_CLUSTER_NO_REPLICA_ERROR;
        live_beat(&live, 0);
        for (unsigned i = 0; i < 10; i++) {
                cr_expect_eq(pinroute_route_read(pr, cluster, NULL, 0, &d), PINROUTE_E_NO_REPLICA);
                cr_expect_eq(d.reason, PINROUTE_NO_REPLICA);
        }
}
