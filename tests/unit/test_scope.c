/* test_scope.c -- one request's view. */
#include "client/pinroute.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/live_store.h"

static struct live live;
static struct fake fake;
static struct pinroute *pr;
static unsigned cluster;
static struct pinroute_scope scope;

static void setup(void)
{
        live_init(&live);
        live.header.stale_after_ms = 20000;
        live_beat(&live, 0);
        fake_start(&fake, live.dir);
        cr_assert_eq(pinroute_open(&pr, live.dir), PINROUTE_OK);
        cr_assert_eq(pinroute_cluster(pr, "main", &cluster), PINROUTE_OK);
        cr_assert_eq(pinroute_set_timeout(pr, 2000), PINROUTE_OK);
        memset(&scope, 0xff, sizeof scope); /* the caller's memory, as it comes */
        pinroute_scope_begin(&scope, pr, cluster, "me", 2);
}

static void teardown(void)
{
        pinroute_close(&pr);
        fake_fini(&fake);
        live_fini(&live);
}

TestSuite(scope, .init = setup, .fini = teardown);

static struct pinroute_decision expect_read(int status, int reason)
{
        struct pinroute_decision d;
        cr_expect_eq(pinroute_scope_read(&scope, &d), status);
        cr_expect_eq(d.reason, reason, "%s instead of %s", pinroute_reason_name(d.reason),
                     pinroute_reason_name(reason));
        return d;
}

Test(scope, the_first_read_decides_and_later_ones_repeat_it)
{
        struct pinroute_decision first = expect_read(PINROUTE_OK, PINROUTE_BALANCED);
        live_pin(&live, "me", 2, 8, 60000, 0);
        for (int i = 0; i < 10; i++) {
                struct pinroute_decision d = expect_read(PINROUTE_OK, PINROUTE_BALANCED);
                cr_expect_eq(memcmp(&d, &first, sizeof d), 0);
        }
        pinroute_scope_begin(&scope, pr, cluster, "me", 2);
        cr_expect_str_eq(expect_read(PINROUTE_OK, PINROUTE_PINNED).node, "default");
}

Test(scope, a_decision_older_than_stale_after_is_made_anew)
{
        expect_read(PINROUTE_OK, PINROUTE_BALANCED);
        live_pin(&live, "me", 2, 8, 60000, 0);
        scope.decided_ms -= 19000;
        expect_read(PINROUTE_OK, PINROUTE_BALANCED);
        scope.decided_ms -= 2000;
        expect_read(PINROUTE_OK, PINROUTE_PINNED);
}

Test(scope, an_answer_that_was_an_error_is_not_repeated)
{
        live_beat(&live, -70000);
        expect_read(PINROUTE_E_STORE, PINROUTE_STORE_UNAVAILABLE);
        live_beat(&live, 0);
        expect_read(PINROUTE_OK, PINROUTE_BALANCED);
}

Test(scope, force_nests_and_ends_where_it_began)
{
        struct pinroute_decision first = expect_read(PINROUTE_OK, PINROUTE_BALANCED);
        pinroute_scope_force_primary(&scope);
        pinroute_scope_force_primary(&scope);
        cr_expect_str_eq(expect_read(PINROUTE_OK, PINROUTE_FORCED).node, "default");
        pinroute_scope_unforce(&scope);
        expect_read(PINROUTE_OK, PINROUTE_FORCED);
        pinroute_scope_unforce(&scope);
        cr_expect_str_eq(expect_read(PINROUTE_OK, PINROUTE_BALANCED).node, first.node);
        pinroute_scope_unforce(&scope);
        pinroute_scope_force_primary(&scope);
        expect_read(PINROUTE_OK, PINROUTE_FORCED);
}

static int leave_early(int n)
{
        PINROUTE_USE_PRIMARY(&scope);
        {
                PINROUTE_USE_PRIMARY(&scope);
                if (n == 1)
                        return 1;
        }
        cr_expect_eq(scope.forced, 1);
        for (int i = 0; i < 3; i++) {
                PINROUTE_USE_PRIMARY(&scope);
                cr_expect_eq(scope.forced, 2);
                if (i == n)
                        break;
                continue;
        }
        cr_expect_eq(scope.forced, 1);
        return 0;
}

Test(scope, use_primary_ends_with_its_block_however_that_is_left)
{
        for (int n = 0; n < 4; n++) {
                leave_early(n);
                cr_expect_eq(scope.forced, 0);
        }
}

Test(scope, a_scope_that_wrote_reads_from_the_primary_and_records_at_its_end)
{
        expect_read(PINROUTE_OK, PINROUTE_BALANCED);
        pinroute_scope_wrote(&scope);
        pinroute_scope_force_primary(&scope);
        pinroute_scope_unforce(&scope);
        expect_read(PINROUTE_OK, PINROUTE_FORCED);
        cr_expect_eq(fake.orders->records, 0);
        cr_expect_eq(pinroute_scope_end(&scope), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 1);
        cr_expect_eq(pinroute_scope_end(&scope), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 1, "once");
}

Test(scope, a_scope_without_a_key_or_without_a_write_records_nothing)
{
        cr_expect_eq(pinroute_scope_end(&scope), PINROUTE_OK);
        pinroute_scope_begin(&scope, pr, cluster, NULL, 0);
        live_pin(&live, "me", 2, 8, 60000, 0);
        expect_read(PINROUTE_OK, PINROUTE_BALANCED);
        pinroute_scope_wrote(&scope);
        expect_read(PINROUTE_OK, PINROUTE_FORCED);
        cr_expect_eq(pinroute_scope_end(&scope), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 0);
}

Test(scope, its_end_may_be_sent_and_waited_for_later)
{
        struct pinroute_pending p;
        memset(&p, 0xee, sizeof p);
        cr_expect_eq(pinroute_scope_end_send(&scope, &p), PINROUTE_OK, "it wrote nothing");
        cr_expect_eq(pinroute_record_wait(pr, &p), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 0);
        pinroute_scope_begin(&scope, pr, cluster, NULL, 0);
        pinroute_scope_wrote(&scope);
        cr_expect_eq(pinroute_scope_end_send(&scope, &p), PINROUTE_OK, "nor has it a key");
        cr_expect_eq(pinroute_record_wait(pr, &p), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 0);
        pinroute_scope_begin(&scope, pr, cluster, "me", 2);
        pinroute_scope_wrote(&scope);
        cr_expect_eq(pinroute_scope_end_send(&scope, NULL), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_scope_end_send(&scope, &p), PINROUTE_OK);
        expect_read(PINROUTE_OK, PINROUTE_PINNED);
        cr_expect_eq(pinroute_record_wait(pr, &p), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 1);
        pinroute_scope_begin(&scope, pr, 77, "me", 2);
        cr_expect_eq(pinroute_scope_end_send(&scope, &p), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_record_wait(pr, &p), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_scope_end_send(NULL, &p), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_record_wait(pr, &p), PINROUTE_E_INVALID);
}

Test(scope, a_record_that_fails_at_its_end_is_told)
{
        fake_kill(&fake);
        pinroute_set_timeout(pr, 5);
        pinroute_scope_wrote(&scope);
        cr_expect_eq(pinroute_scope_end(&scope), PINROUTE_E_UNREACHABLE);
        pinroute_scope_begin(&scope, pr, cluster, "me", 2);
        expect_read(PINROUTE_OK, PINROUTE_PINNED);
}

Test(scope, wrong_arguments_are_told_at_its_end_and_read_from_the_primary_till_then)
{
        char big[PINROUTE_KEY_MAX + 1] = {1};
        struct pinroute_decision d;
        for (int i = 0; i < 4; i++) {
                pinroute_scope_begin(&scope, i == 0 ? NULL : pr, i == 1 ? 9 : cluster, big,
                                     i == 2 ? 0 : sizeof big);
                pinroute_scope_wrote(&scope);
                cr_expect_eq(expect_read(PINROUTE_E_INVALID, PINROUTE_STORE_UNAVAILABLE).role,
                             PINROUTE_PRIMARY);
                cr_expect_eq(pinroute_scope_end(&scope), PINROUTE_E_INVALID);
        }
        pinroute_scope_begin(NULL, pr, cluster, "me", 2);
        pinroute_scope_wrote(NULL);
        pinroute_scope_force_primary(NULL);
        pinroute_scope_unforce(NULL);
        cr_expect_eq(pinroute_scope_end(NULL), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_scope_read(NULL, &d), PINROUTE_E_INVALID);
        cr_expect_eq(d.role, PINROUTE_PRIMARY);
        cr_expect_eq(pinroute_scope_read(&scope, NULL), PINROUTE_E_INVALID);
        cr_expect_eq(fake.orders->records, 0);
}

Test(scope, get_head_options_and_trace_read_and_all_other_methods_write)
{
        static const char *const reads[] = {"GET", "HEAD", "OPTIONS", "TRACE"};
        static const char *const writes[] = {"POST", "PUT", "PATCH", "DELETE", "CONNECT",
                                             "get",  "Get", "GETS",  "",       "GE"};
        for (unsigned i = 0; i < sizeof reads / sizeof *reads; i++)
                cr_expect_eq(pinroute_http_method_writes(reads[i]), 0);
        for (unsigned i = 0; i < sizeof writes / sizeof *writes; i++)
                cr_expect_eq(pinroute_http_method_writes(writes[i]), 1, "%s", writes[i]);
        cr_expect_eq(pinroute_http_method_writes(NULL), 1);
}

/* ---- another key ---- */

static void catch_up(uint64_t generation)
{
        live.cluster[0].node[1].caught_up = generation;
        live.cluster[0].trust_ms = 20000;
        live_beat(&live, 0);
        scope.decided_ms -= 60000;
}

static int rekey(const char *key)
{
        errno = 77;
        int status = pinroute_scope_rekey(&scope, key, key ? strlen(key) : 0);
        cr_expect_eq(errno, 77);
        return status;
}

Test(scope, a_new_key_is_read_and_recorded_by)
{
        struct pnr_key you = pnr_key_of("you", 3);
        live_pin(&live, "you", 3, 8, 60000, 0);
        expect_read(PINROUTE_OK, PINROUTE_BALANCED);
        cr_expect_eq(rekey("you"), PINROUTE_OK);
        expect_read(PINROUTE_OK, PINROUTE_PINNED);
        pinroute_scope_wrote(&scope);
        cr_expect_eq(pinroute_scope_end(&scope), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 1);
        cr_expect_eq(memcmp(fake.orders->last.key, you.w, sizeof you.w), 0);
}

Test(scope, a_new_decision_stays_on_the_replica_of_the_last_one_if_that_will_do)
{
        struct pinroute_decision first = expect_read(PINROUTE_OK, PINROUTE_BALANCED), other;
        for (int i = 0; i < 10; i++) {
                cr_expect_eq(rekey(i % 2 ? "me" : "you"), PINROUTE_OK);
                cr_expect_str_eq(expect_read(PINROUTE_OK, PINROUTE_BALANCED).node, first.node);
        }
        pinroute_route_read(pr, cluster, NULL, 0, &other);
        cr_expect_str_neq(other.node, first.node, "it took no turn");
        unsigned node = strcmp(live.cluster[0].node[1].name, first.node) == 0 ? 1 : 2;
        live.cluster[0].scheduled &= ~(1u << node);
        live_beat(&live, 0);
        cr_expect_eq(rekey("third"), PINROUTE_OK);
        cr_expect_str_eq(expect_read(PINROUTE_OK, PINROUTE_BALANCED).node, other.node,
                         "it left the schedule");
}

Test(scope, what_the_old_key_needed_is_needed_still_under_the_new_one_and_under_none)
{
        live_pin(&live, "me", 2, 8, 60000, 0);
        cr_expect_eq(rekey("you"), PINROUTE_OK);
        expect_read(PINROUTE_OK, PINROUTE_PINNED);
        cr_expect_eq(rekey("third"), PINROUTE_OK);
        cr_expect_eq(rekey(NULL), PINROUTE_OK);
        catch_up(7);
        expect_read(PINROUTE_OK, PINROUTE_PINNED);
        catch_up(8);
        expect_read(PINROUTE_OK, PINROUTE_CAUGHT_UP);
        pinroute_scope_wrote(&scope);
        cr_expect_eq(pinroute_scope_end(&scope), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 0, "no identity, nothing to record");
}

Test(scope, an_old_key_that_needed_nothing_leaves_nothing)
{
        cr_expect_eq(rekey(NULL), PINROUTE_OK);
        live_pin(&live, "me", 2, 8, 60000, 0);
        expect_read(PINROUTE_OK, PINROUTE_BALANCED);
        pinroute_scope_begin(&scope, pr, cluster, NULL, 0);
        cr_expect_eq(rekey("me"), PINROUTE_OK);
        expect_read(PINROUTE_OK, PINROUTE_PINNED);
}

Test(scope, a_failed_record_of_the_old_key_is_needed_still)
{
        fake_kill(&fake);
        pinroute_set_timeout(pr, 5);
        pinroute_scope_wrote(&scope);
        cr_expect_eq(pinroute_scope_end(&scope), PINROUTE_E_UNREACHABLE);
        cr_expect_eq(rekey("you"), PINROUTE_OK);
        catch_up(1000);
        expect_read(PINROUTE_OK, PINROUTE_PINNED);
}

Test(scope, the_floor_that_stood_in_for_the_old_keys_pin_is_needed_without_a_key_too)
{
        live.cluster[0].floor_generation = 8;
        live.cluster[0].floor_until_ms = live_now() + 60000;
        live_beat(&live, 0);
        cr_expect_eq(rekey(NULL), PINROUTE_OK);
        catch_up(7);
        expect_read(PINROUTE_OK, PINROUTE_PINNED);
}

Test(scope, what_the_old_key_needs_is_unknown_while_the_store_is_stale)
{
        live_beat(&live, -30000);
        cr_expect_eq(rekey("you"), PINROUTE_OK);
        catch_up(1000);
        expect_read(PINROUTE_OK, PINROUTE_PINNED);
        pinroute_scope_begin(&scope, pr, cluster, "me", 2);
        live_beat(&live, -70000);
        cr_expect_eq(rekey(NULL), PINROUTE_OK);
        catch_up(1000);
        expect_read(PINROUTE_OK, PINROUTE_PINNED);
}

Test(scope, the_same_key_again_changes_nothing)
{
        struct pinroute_decision first = expect_read(PINROUTE_OK, PINROUTE_BALANCED), d;
        live_pin(&live, "me", 2, 8, 60000, 0);
        cr_expect_eq(rekey("me"), PINROUTE_OK);
        d = expect_read(PINROUTE_OK, PINROUTE_BALANCED);
        cr_expect_eq(memcmp(&d, &first, sizeof d), 0, "one request sees one database");
}

Test(scope, what_is_forced_or_wrote_stays_so_under_a_new_key)
{
        pinroute_scope_force_primary(&scope);
        cr_expect_eq(rekey("you"), PINROUTE_OK);
        expect_read(PINROUTE_OK, PINROUTE_FORCED);
        pinroute_scope_unforce(&scope);
        pinroute_scope_wrote(&scope);
        cr_expect_eq(rekey("third"), PINROUTE_OK);
        expect_read(PINROUTE_OK, PINROUTE_FORCED);
        cr_expect_eq(pinroute_scope_end(&scope), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 1);
}

Test(scope, a_key_that_is_none_leaves_the_scope_as_it_was)
{
        char big[PINROUTE_KEY_MAX + 1] = {1};
        struct pinroute_scope before = scope;
        cr_expect_eq(pinroute_scope_rekey(&scope, "", 0), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_scope_rekey(&scope, big, sizeof big), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_scope_rekey(NULL, "you", 3), PINROUTE_E_INVALID);
        cr_expect_eq(memcmp(&scope, &before, sizeof scope), 0);
        pinroute_scope_begin(&scope, pr, cluster, big, sizeof big);
        cr_expect_eq(rekey("you"), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_scope_end(&scope), PINROUTE_E_INVALID);
}
