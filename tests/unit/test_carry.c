/* test_carry.c -- tokens over a real store and a fake daemon: what is issued, what is accepted, what it asks
 * for.
 */
#include "client/pinroute.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>

#include "proto/token.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/live_store.h"

#define OWN(count) pnr_stamp(LIVE_ISSUER, count)
#define FAR(count) pnr_stamp(0x123456, count)

static struct live live;
static struct fake fake;
static struct pinroute *pr;
static unsigned cluster;
static struct pnr_token_keys keys;
static struct pinroute_scope scope;

static void setup(void)
{
        live_init(&live);
        live.header.stale_after_ms = 20000; /* a slow machine must not make a heartbeat stale */
        live.cluster[0].trust_ms = 20000;
        live_beat(&live, 0);
        keys = live_keys(&live, 1, 1);
        fake_start(&fake, live.dir);
        cr_assert_eq(pinroute_open(&pr, live.dir), PINROUTE_OK);
        cr_assert_eq(pinroute_cluster(pr, "main", &cluster), PINROUTE_OK);
        cr_assert_eq(pinroute_set_timeout(pr, 2000), PINROUTE_OK);
        pinroute_scope_begin(&scope, pr, cluster, NULL, 0);
}

static void teardown(void)
{
        pinroute_close(&pr);
        fake_fini(&fake);
        live_fini(&live);
}

TestSuite(carry, .init = setup, .fini = teardown);

static struct pnr_token token_for(const char *key, uint64_t stamp, uint32_t left_ms)
{
        static const char name[PNR_NAME_SIZE] = "main";
        return (struct pnr_token){.cluster = pnr_token_cluster(name),
                                  .key = pnr_key_of(key, strlen(key)),
                                  .stamp = stamp,
                                  .issued_ms = clock_wall_coarse_ms(),
                                  .left_ms = left_ms};
}

static const char *text_of(const struct pnr_token *t)
{
        static char text[PINROUTE_TOKEN_SIZE];
        pnr_token_sign(t, &keys, text);
        return text;
}

static int accept_text(const char *text)
{
        errno = 77;
        int status = pinroute_token_accept(pr, cluster, text, &scope);
        cr_expect_eq(errno, 77);
        return status;
}

static int accept_token(const char *key, uint64_t stamp, uint32_t left_ms)
{
        struct pnr_token t = token_for(key, stamp, left_ms);
        return accept_text(text_of(&t));
}

static int issue(const char *key, char text[PINROUTE_TOKEN_SIZE])
{
        errno = 77;
        int status = pinroute_token_issue(pr, cluster, key, strlen(key), text, PINROUTE_TOKEN_SIZE);
        cr_expect_eq(errno, 77);
        return status;
}

static struct pnr_token issued(const char *key)
{
        char text[PINROUTE_TOKEN_SIZE];
        struct pnr_token t;
        cr_assert_eq(issue(key, text), PINROUTE_OK);
        cr_assert(pnr_token_read(text, strlen(text), &keys, &t));
        cr_expect_leq(llabs(clock_wall_coarse_ms() - t.issued_ms), 20000);
        return t;
}

static struct pinroute_decision expect_read(int reason)
{
        struct pinroute_decision d;
        int status = pinroute_scope_read(&scope, &d);
        cr_expect_eq(d.reason, reason, "%s instead of %s", pinroute_reason_name(d.reason),
                     pinroute_reason_name(reason));
        cr_expect_eq(status, reason == PINROUTE_STORE_UNAVAILABLE ? PINROUTE_E_STORE : PINROUTE_OK);
        return d;
}

/* A heartbeat of then; and the scope decides again. */
static void beat(int64_t ahead_ms)
{
        live_beat(&live, ahead_ms);
        scope.decided_ms -= 60000;
}

static void catch_up(uint64_t generation)
{
        live.cluster[0].node[1].caught_up = generation;
        beat(0);
}

/* ---- issue ---- */

Test(carry, a_token_repeats_the_stamp_of_a_pin_that_our_daemon_made)
{
        live_pin_stamped(&live, "me", 2, 8, 60000, 0, OWN(5));
        struct pnr_token t = issued("me");
        cr_expect_eq(t.stamp, OWN(5));
        cr_expect(t.left_ms > 30000 && t.left_ms < 60100);
        cr_expect_eq(t.key.w[0], pnr_key_of("me", 2).w[0]);
        cr_expect_eq(memcmp(&t.cluster, &(uint64_t){token_for("me", 1, 1).cluster}, sizeof t.cluster), 0);
}

/* Our write and another host's token in one pin: that host has the token's stamp, and would never hear of our
 * write. */
Test(carry, a_pin_that_another_hosts_token_made_is_passed_on_under_a_new_stamp)
{
        live_pin_stamped(&live, "me", 2, 8, 60000, 0, OWN(5));
        live_pin_stamped(&live, "me", 2, 9, 60000, 0, FAR(5));
        struct pnr_token t = issued("me");
        cr_expect_eq(t.stamp >> PNR_STAMP_COUNT_BITS, 0);
        cr_expect_not(pnr_stamp_covers(FAR(5), t.stamp));
        cr_expect(t.left_ms > 30000 && t.left_ms < 60100);
}

Test(carry, a_key_without_a_live_pin_gets_a_new_stamp_and_the_clusters_pin_length)
{
        live_pin_stamped(&live, "gone", 4, 8, 1, 0, OWN(5));
        live_pin_stamped(&live, "held", 4, 8, 1000, 1000, 0);
        poll(NULL, 0, 20);
        static const char *const key[] = {"gone", "nobody", "held"};
        uint64_t last = 0;
        for (unsigned i = 0; i < sizeof key / sizeof *key; i++) {
                struct pnr_token t = issued(key[i]);
                cr_expect(t.stamp != last && t.stamp >> PNR_STAMP_COUNT_BITS == 0 && t.stamp != 0);
                cr_expect_eq(t.left_ms, 15000);
                last = t.stamp;
        }
}

Test(carry, a_record_that_failed_is_in_the_token)
{
        live_pin_stamped(&live, "me", 2, 8, 1000, 0, OWN(5));
        fake_kill(&fake);
        pinroute_set_timeout(pr, 5);
        cr_assert_eq(pinroute_record_write(pr, cluster, "me", 2, 30), PINROUTE_E_UNREACHABLE);
        struct pnr_token t = issued("me");
        cr_expect_eq(t.stamp >> PNR_STAMP_COUNT_BITS, 0, "a pin from before the write");
        cr_expect(t.left_ms > 20000 && t.left_ms < 30100);
}

/* The table was full: the write is in the floor, and the pin has the stamp of a write before it, which other
 * hosts may know. */
Test(carry, a_write_that_became_a_floor_is_in_the_token)
{
        live_pin_stamped(&live, "me", 2, 8, 10000, 0, OWN(5));
        live.cluster[0].floor_until_ms = live_now() + 60000;
        live.cluster[0].floor_generation = 7;
        live_beat(&live, 0);
        cr_expect_eq(issued("me").stamp, OWN(5), "the floor is older than the pin");
        cr_expect_leq(issued("me").left_ms, 10100);
        live.cluster[0].floor_generation = 8;
        live_beat(&live, 0);
        struct pnr_token t = issued("me");
        cr_expect_eq(t.stamp >> PNR_STAMP_COUNT_BITS, 0, "which came first?");
        cr_expect(t.left_ms > 30000 && t.left_ms < 60100);
        live.cluster[0].floor_until_ms = live_now() - 100;
        live_beat(&live, 0);
        cr_expect_eq(issued("me").stamp, OWN(5));
}

Test(carry, while_a_key_is_held_its_tokens_stand_for_a_write_that_nobody_knows)
{
        live_pin_stamped(&live, "me", 2, 8, 60000, 60000, OWN(5));
        struct pnr_token t = issued("me");
        cr_expect_eq(t.stamp >> PNR_STAMP_COUNT_BITS, 0);
        cr_expect(t.left_ms > 30000 && t.left_ms < 60100);
}

Test(carry, the_first_key_signs)
{
        struct pnr_token_keys two = live_keys(&live, 9, 2);
        char text[PINROUTE_TOKEN_SIZE];
        struct pnr_token t;
        cr_expect_eq(issue("me", text), PINROUTE_OK);
        two.n = 1;
        cr_expect(pnr_token_read(text, strlen(text), &two, &t));
}

Test(carry, without_a_store_a_cluster_or_keys_there_is_no_token)
{
        char text[PINROUTE_TOKEN_SIZE] = "x";
        struct pinroute *lost;
        unsigned number;
        cr_assert_eq(pinroute_open(&lost, "/nowhere"), PINROUTE_OK);
        pinroute_cluster(lost, "main", &number);
        cr_expect_eq(pinroute_token_issue(lost, number, "me", 2, text, sizeof text), PINROUTE_E_STORE);
        cr_expect_str_eq(text, "");
        pinroute_close(&lost);
        cr_expect_eq(pinroute_cluster(pr, "nosuch", &number), PINROUTE_E_CLUSTER);
        cr_expect_eq(pinroute_token_issue(pr, number, "me", 2, text, sizeof text), PINROUTE_E_CLUSTER);
        live_keys(&live, 1, 0);
        cr_expect_eq(issue("me", text), PINROUTE_E_STORE);
}

Test(carry, a_store_too_long_stale_signs_still)
{
        live_beat(&live, -61000);
        cr_expect_eq(issued("me").left_ms, 15000);
}

Test(carry, wrong_arguments_make_no_token)
{
        char text[PINROUTE_TOKEN_SIZE] = "x";
        char big[PINROUTE_KEY_MAX + 1] = {1};
        cr_expect_eq(pinroute_token_issue(NULL, cluster, "me", 2, text, sizeof text), PINROUTE_E_INVALID);
        cr_expect_str_eq(text, "");
        cr_expect_eq(pinroute_token_issue(pr, 9, "me", 2, text, sizeof text), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_token_issue(pr, cluster, NULL, 2, text, sizeof text), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_token_issue(pr, cluster, "me", 0, text, sizeof text), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_token_issue(pr, cluster, big, sizeof big, text, sizeof text),
                     PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_token_issue(pr, cluster, "me", 2, NULL, 0), PINROUTE_E_INVALID);
        for (size_t size = 0; size <= sizeof text; size++) {
                memset(text, 'x', sizeof text);
                cr_expect_eq(pinroute_token_issue(pr, cluster, "me", 2, text, size),
                             size > PNR_TOKEN_CHARS ? PINROUTE_OK : PINROUTE_E_INVALID);
                cr_expect(size == sizeof text || text[size] == 'x', "%zu", size);
        }
}

/* ---- accept ---- */

Test(carry, a_token_whose_write_is_pinned_here_needs_that_pin_and_nobody_is_asked)
{
        live_pin_stamped(&live, "me", 2, 8, 60000, 0, FAR(5));
        for (unsigned count = 5; count > 0; count--) {
                cr_expect_eq(accept_token("me", FAR(count), 15000), PINROUTE_OK);
                expect_read(PINROUTE_PINNED);
        }
        catch_up(8);
        cr_expect_str_eq(expect_read(PINROUTE_CAUGHT_UP).node, "shadow-1");
        catch_up(7);
        expect_read(PINROUTE_PINNED);
        cr_expect_eq(fake.orders->tokens, 0);
        cr_expect(expect_read(PINROUTE_PINNED).pin_left_ms > 30000);
}

Test(carry, a_pins_hold_holds_whoever_brings_its_token)
{
        live_pin_stamped(&live, "me", 2, 3, 60000, 60000, OWN(5));
        catch_up(8);
        cr_expect_eq(accept_token("me", OWN(5), 15000), PINROUTE_OK);
        expect_read(PINROUTE_PINNED);
}

static void expect_asked(const char *key, uint64_t stamp, unsigned times)
{
        struct pnr_key k = pnr_key_of(key, strlen(key));
        cr_expect_eq(fake.orders->tokens, times);
        cr_expect_eq(fake.orders->last.op, PNR_OP_TOKEN);
        cr_expect_str_eq(fake.orders->last.cluster, "main");
        cr_expect_eq(memcmp(fake.orders->last.key, k.w, sizeof k.w), 0);
        cr_expect_eq(fake.orders->last.stamp, stamp);
        cr_expect_eq(fake.orders->last.ms, 15000);
}

Test(carry, a_token_newer_than_the_pin_here_asks_the_daemon_and_needs_what_that_says)
{
        atomic_store(&fake.orders->generation, 12);
        live_pin_stamped(&live, "me", 2, 8, 60000, 0, FAR(5));
        catch_up(11);
        cr_expect_eq(accept_token("me", FAR(6), 15000), PINROUTE_OK);
        expect_asked("me", FAR(6), 1);
        expect_read(PINROUTE_PINNED);
        catch_up(12);
        expect_read(PINROUTE_CAUGHT_UP);
}

Test(carry, a_token_of_an_issuer_that_the_pin_does_not_know_asks_too_and_so_does_an_expired_pin)
{
        live_pin_stamped(&live, "me", 2, 8, 60000, 0, OWN(5));
        live_pin_stamped(&live, "late", 4, 8, 1, 60000, FAR(5));
        poll(NULL, 0, 20);
        cr_expect_eq(accept_token("me", FAR(1), 15000), PINROUTE_OK);
        expect_asked("me", FAR(1), 1);
        cr_expect_eq(accept_token("late", FAR(5), 15000), PINROUTE_OK);
        expect_asked("late", FAR(5), 2);
        cr_expect_eq(accept_token("nobody", pnr_stamp(0, 7), 15000), PINROUTE_OK);
        expect_asked("nobody", pnr_stamp(0, 7), 3);
}

Test(carry, what_the_daemon_made_a_floor_is_needed_as_the_floor)
{
        cr_expect_eq(accept_token("me", FAR(1), 15000), PINROUTE_OK);
        catch_up(8);
        expect_read(PINROUTE_CAUGHT_UP);
        live.cluster[0].floor_generation = 9;
        live.cluster[0].floor_until_ms = live_now() + 60000;
        catch_up(8);
        expect_read(PINROUTE_PINNED);
}

/* A daemon that is gone, and one that hangs: the scope reads from the primary, and waits at most once. */
Test(carry, without_a_daemon_a_token_costs_no_wait_and_its_scope_reads_from_the_primary)
{
        catch_up(1000);
        fake_kill(&fake);
        int64_t from_ns = clock_ns();
        for (int i = 0; i < 20; i++) {
                pinroute_scope_begin(&scope, pr, cluster, NULL, 0);
                cr_expect_eq(accept_token("me", FAR(6), 15000), PINROUTE_OK);
                cr_expect_leq(expect_read(PINROUTE_PINNED).pin_left_ms, 15000);
        }
        cr_expect_leq(clock_ns() - from_ns, 1900 * CLOCK_NS_PER_MS, "the timeout is 2 s");
}

Test(carry, a_daemon_that_hangs_costs_the_timeout_and_no_more)
{
        atomic_store(&fake.orders->kind, FAKE_NEVER);
        pinroute_set_timeout(pr, 50);
        int64_t from_ns = clock_ns();
        cr_expect_eq(accept_token("me", FAR(6), 15000), PINROUTE_OK);
        cr_expect_geq(clock_ns() - from_ns, 50 * CLOCK_NS_PER_MS);
        cr_expect_leq(clock_ns() - from_ns, 1500 * CLOCK_NS_PER_MS);
        expect_read(PINROUTE_PINNED);
}

Test(carry, a_daemon_that_does_not_know_tokens_counts_as_none)
{
        atomic_store(&fake.orders->kind, FAKE_CLOSES);
        cr_expect_eq(accept_token("me", FAR(6), 15000), PINROUTE_OK);
        expect_read(PINROUTE_PINNED);
        atomic_store(&fake.orders->kind, FAKE_ANSWERS);
        atomic_store(&fake.orders->status, PINROUTE_E_REFUSED);
        pinroute_scope_begin(&scope, pr, cluster, NULL, 0);
        catch_up(1000);
        cr_expect_eq(accept_token("me", FAR(6), 15000), PINROUTE_OK);
        expect_read(PINROUTE_PINNED);
}

Test(carry, nobody_is_asked_while_the_heartbeat_is_stale_and_the_need_outlasts_that)
{
        live_pin_stamped(&live, "me", 2, 8, 60000, 0, FAR(6));
        live_beat(&live, -30000);
        cr_expect_eq(accept_token("me", FAR(6), 15000), PINROUTE_OK);
        cr_expect_eq(fake.orders->tokens, 0);
        expect_read(PINROUTE_STORE_STALE);
        catch_up(1000);
        expect_read(PINROUTE_PINNED);
}

/* Times in the store say nothing then; `expired` and `far ahead` included. */
Test(carry, until_the_daemons_clock_is_known_its_pins_are_not_believed)
{
        struct pinroute *late;
        unsigned number;
        live_pin_stamped(&live, "me", 2, 3, 60000, 0, FAR(6));
        catch_up(1000);
        fake_kill(&fake);
        cr_assert_eq(pinroute_open(&late, live.dir), PINROUTE_OK);
        pinroute_cluster(late, "main", &number);
        pinroute_scope_begin(&scope, late, number, NULL, 0);
        struct pnr_token t = token_for("me", FAR(6), 15000);
        cr_expect_eq(pinroute_token_accept(late, number, text_of(&t), &scope), PINROUTE_OK);
        expect_read(PINROUTE_STORE_STALE);
        char text[PINROUTE_TOKEN_SIZE];
        live_pin_stamped(&live, "own", 3, 3, 1000, 0, OWN(6));
        cr_expect_eq(pinroute_token_issue(late, number, "own", 3, text, sizeof text), PINROUTE_OK);
        cr_assert(pnr_token_read(text, strlen(text), &keys, &t));
        cr_expect(t.stamp >> PNR_STAMP_COUNT_BITS == 0 && t.left_ms == 15000);
        pinroute_close(&late);
}

Test(carry, in_another_time_namespace_needs_last_as_long)
{
        struct pinroute *far;
        unsigned number;
        for (int64_t ahead_ms = -100000; ahead_ms <= 100000; ahead_ms += 200000) {
                atomic_store(&fake.orders->ahead_ms, ahead_ms);
                live_beat(&live, ahead_ms);
                cr_assert_eq(pinroute_open(&far, live.dir), PINROUTE_OK);
                pinroute_cluster(far, "main", &number);
                live_pin_stamped(&live, "me", 2, 8, 60000 + ahead_ms, 0, FAR(6));
                for (unsigned count = 6; count < 8; count++) {
                        struct pnr_token t = token_for("me", FAR(count), 15000);
                        pinroute_scope_begin(&scope, far, number, NULL, 0);
                        cr_expect_eq(pinroute_token_accept(far, number, text_of(&t), &scope), PINROUTE_OK);
                        atomic_store(&fake.orders->generation, 9);
                        uint32_t left_ms = expect_read(PINROUTE_PINNED).pin_left_ms;
                        uint32_t most_ms = count == 6 ? 60000 : 15000;
                        cr_expect(left_ms <= most_ms + 50 && left_ms > most_ms - 10000, "%u", left_ms);
                }
                pinroute_close(&far);
        }
}

Test(carry, needs_of_several_tokens_and_of_the_scopes_own_key_add_up)
{
        pinroute_scope_begin(&scope, pr, cluster, "own", 3);
        live_pin_stamped(&live, "a", 1, 5, 60000, 0, FAR(1));
        live_pin_stamped(&live, "b", 1, 7, 1000, 0, FAR(2));
        live_pin(&live, "own", 3, 6, 60000, 0);
        cr_expect_eq(accept_token("b", FAR(2), 15000), PINROUTE_OK);
        cr_expect_eq(accept_token("a", FAR(1), 15000), PINROUTE_OK);
        catch_up(6);
        expect_read(PINROUTE_PINNED);
        catch_up(7);
        expect_read(PINROUTE_CAUGHT_UP);
}

Test(carry, a_token_changes_a_decision_that_the_scope_remembers)
{
        expect_read(PINROUTE_BALANCED);
        live_pin_stamped(&live, "me", 2, 8, 60000, 0, FAR(6));
        cr_expect_eq(accept_token("me", FAR(6), 15000), PINROUTE_OK);
        expect_read(PINROUTE_PINNED);
}

Test(carry, a_live_need_makes_an_unkeyed_scope_heed_floor_and_staleness_and_an_expired_one_does_not)
{
        live_pin_stamped(&live, "me", 2, 3, 60000, 0, FAR(6));
        cr_expect_eq(accept_token("me", FAR(6), 15000), PINROUTE_OK);
        live.cluster[0].floor_generation = 9;
        live.cluster[0].floor_until_ms = live_now() + 60000;
        catch_up(8);
        expect_read(PINROUTE_PINNED);
        beat(-30000);
        expect_read(PINROUTE_STORE_STALE);
        scope.need[1] -= 61000;
        beat(-30000);
        expect_read(PINROUTE_BALANCED);
        catch_up(8);
        expect_read(PINROUTE_BALANCED);
}

/* ---- refused ---- */

static void expect_refused(const char *text, int status)
{
        struct pinroute_scope before = scope;
        cr_expect_eq(accept_text(text), status, "%s", text);
        cr_expect_eq(memcmp(&scope, &before, sizeof scope), 0, "the scope is as it was");
        cr_expect_eq(fake.orders->tokens, 0);
}

Test(carry, what_we_did_not_sign_is_refused_whatever_it_is)
{
        static char big[100000];
        struct pnr_token t = token_for("me", FAR(6), 15000);
        char text[PINROUTE_TOKEN_SIZE];
        strcpy(text, text_of(&t));
        memset(big, 'A', sizeof big - 1);
        expect_read(PINROUTE_BALANCED);
        expect_refused("", PINROUTE_E_TOKEN_FORGED);
        expect_refused("y", PINROUTE_E_TOKEN_FORGED);
        expect_refused(big, PINROUTE_E_TOKEN_FORGED);
        for (unsigned i = 0; i < PNR_TOKEN_CHARS; i++) {
                char was = text[i];
                text[i] = was == 'A' ? 'B' : 'A';
                expect_refused(text, PINROUTE_E_TOKEN_FORGED);
                text[i] = '\0';
                expect_refused(text, PINROUTE_E_TOKEN_FORGED);
                text[i] = was;
        }
        strcat(text, "A");
        expect_refused(text, PINROUTE_E_TOKEN_FORGED);
        keys.key[0][0] ^= 1;
        expect_refused(text_of(&t), PINROUTE_E_TOKEN_FORGED);
}

Test(carry, tokens_that_are_past_dated_ahead_or_of_another_cluster_are_refused_by_name)
{
        struct pnr_token t = token_for("me", FAR(6), 15000);
        t.issued_ms -= 15000 + PNR_TOKEN_SLACK_MS;
        expect_refused(text_of(&t), PINROUTE_E_TOKEN_EXPIRED);
        t = token_for("me", FAR(6), 15000);
        t.issued_ms += PNR_TOKEN_AHEAD_MS + PNR_TOKEN_SLACK_MS + 15000;
        expect_refused(text_of(&t), PINROUTE_E_TOKEN_FORGED);
        t = token_for("me", FAR(6), 15000);
        t.cluster++;
        expect_refused(text_of(&t), PINROUTE_E_TOKEN_FOREIGN);
}

Test(carry, a_clock_that_differs_by_less_than_the_slack_loses_nothing)
{
        for (int64_t skew_ms = 5000 - PNR_TOKEN_SLACK_MS; skew_ms < PNR_TOKEN_SLACK_MS; skew_ms += 10000) {
                struct pnr_token t = token_for("me", FAR(6), 15000);
                t.issued_ms += skew_ms;
                pinroute_scope_begin(&scope, pr, cluster, NULL, 0);
                cr_expect_eq(accept_text(text_of(&t)), PINROUTE_OK);
                cr_expect_eq(fake.orders->last.ms, 15000, "skew %ld", skew_ms);
        }
}

Test(carry, a_pin_is_made_no_longer_than_this_cluster_allows)
{
        cr_expect_eq(accept_token("me", FAR(6), 900000), PINROUTE_OK);
        cr_expect_eq(fake.orders->last.ms, 300000);
}

Test(carry, old_keys_are_accepted_and_dropped_ones_are_not)
{
        struct pnr_token t = token_for("me", FAR(6), 15000);
        char text[PINROUTE_TOKEN_SIZE];
        strcpy(text, text_of(&t));
        live_keys(&live, 0, 2); /* of 0, which signs, and of 1 */
        cr_expect_eq(accept_text(text), PINROUTE_OK);
        live_keys(&live, 0, 1);
        cr_expect_eq(accept_text(text), PINROUTE_E_TOKEN_FORGED);
}

Test(carry, where_nothing_can_be_checked_the_scope_reads_from_the_primary)
{
        struct pnr_token t = token_for("me", FAR(6), 15000);
        live_keys(&live, 1, 0);
        cr_expect_eq(accept_text(text_of(&t)), PINROUTE_E_STORE);
        catch_up(1000);
        expect_read(PINROUTE_PINNED);

        live_keys(&live, 1, 1);
        live_beat(&live, -61000);
        pinroute_scope_begin(&scope, pr, cluster, NULL, 0);
        cr_expect_eq(accept_text(text_of(&t)), PINROUTE_E_STORE);
        catch_up(1000);
        expect_read(PINROUTE_PINNED);

        unsigned number;
        cr_expect_eq(pinroute_cluster(pr, "nosuch", &number), PINROUTE_E_CLUSTER);
        pinroute_scope_begin(&scope, pr, number, NULL, 0);
        cr_expect_eq(pinroute_token_accept(pr, number, text_of(&t), &scope), PINROUTE_E_CLUSTER);
        expect_refused("garbage", PINROUTE_E_INVALID);
}

Test(carry, wrong_arguments_change_nothing)
{
        unsigned other;
        struct pinroute *another;
        cr_assert_eq(pinroute_open(&another, live.dir), PINROUTE_OK);
        cr_assert(pinroute_cluster(another, "main", &other) == PINROUTE_OK && other == cluster);
        struct pnr_token t = token_for("me", FAR(6), 15000);
        const char *text = text_of(&t);
        struct pinroute_scope before = scope, bad;
        cr_expect_eq(pinroute_token_accept(NULL, cluster, text, &scope), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_token_accept(another, cluster, text, &scope), PINROUTE_E_INVALID);
        cr_assert_eq(pinroute_cluster(pr, "other", &other), PINROUTE_OK);
        cr_expect_eq(pinroute_token_accept(pr, other, text, &scope), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_token_accept(pr, 9, text, &scope), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_token_accept(pr, cluster, NULL, &scope), PINROUTE_E_INVALID);
        cr_expect_eq(pinroute_token_accept(pr, cluster, text, NULL), PINROUTE_E_INVALID);
        cr_expect_eq(memcmp(&scope, &before, sizeof scope), 0);
        pinroute_scope_begin(&bad, pr, cluster, "", 0);
        cr_expect_eq(pinroute_token_accept(pr, cluster, text, &bad), PINROUTE_E_INVALID);
        cr_expect_eq(fake.orders->tokens, 0);
        pinroute_close(&another);
}

Test(carry, a_child_issues_and_accepts_over_a_handle_that_it_inherited)
{
        live_pin_stamped(&live, "me", 2, 8, 60000, 0, OWN(5));
        cr_expect_eq(accept_token("before", FAR(1), 15000), PINROUTE_OK);
        pid_t child = fork();
        int st;
        cr_assert_geq(child, 0);
        if (child == 0) {
                char text[PINROUTE_TOKEN_SIZE];
                struct pinroute_decision d;
                bool good = issue("me", text) == PINROUTE_OK && accept_text(text) == PINROUTE_OK &&
                            accept_token("other", FAR(2), 15000) == PINROUTE_OK &&
                            pinroute_scope_read(&scope, &d) == PINROUTE_OK && d.reason == PINROUTE_PINNED;
                _exit(good ? 0 : 1);
        }
        cr_assert_eq(waitpid(child, &st, 0), child);
        cr_expect(WIFEXITED(st) && WEXITSTATUS(st) == 0);
        cr_expect_eq(fake.orders->tokens, 2);
}
