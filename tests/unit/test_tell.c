/* test_tell.c -- what the daemon is told, and what becomes of what it could not be told. */
#include "client/tell.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>

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
        live_beat(&live, 0);
        fake_start(&fake, live.dir);
        cr_assert_eq(pinroute_open(&pr, live.dir), PINROUTE_OK);
        cr_assert_eq(pinroute_cluster(pr, "main", &cluster), PINROUTE_OK);
        cr_assert_eq(pinroute_set_timeout(pr, 2000), PINROUTE_OK);
}

static void teardown(void)
{
        pinroute_close(&pr);
        cr_expect_null(pr);
        fake_fini(&fake);
        live_fini(&live);
}

TestSuite(tell, .init = setup, .fini = teardown);

static struct pinroute_decision expect_read(const char *key, int status, int reason)
{
        struct pinroute_decision d;
        errno = 77;
        int got = pinroute_route_read(pr, cluster, key, key ? strlen(key) : 0, &d);
        cr_expect_eq(errno, 77);
        cr_expect_eq(got, status, "%s instead of %s", pinroute_strerror(got), pinroute_strerror(status));
        cr_expect_eq(d.reason, reason, "%s instead of %s", pinroute_reason_name(d.reason),
                     pinroute_reason_name(reason));
        bool replica = reason == PINROUTE_BALANCED || reason == PINROUTE_CAUGHT_UP;
        cr_expect_eq(d.role, replica ? PINROUTE_REPLICA : PINROUTE_PRIMARY);
        for (int i = 0; i < 4; i++)
                cr_expect_eq(d.reserved[i], 0);
        return d;
}

static int record(const char *key, unsigned seconds)
{
        errno = 77;
        int status = pinroute_record_write(pr, cluster, key, strlen(key), seconds);
        cr_expect_eq(errno, 77);
        return status;
}

Test(tell, records_and_holds_say_which_key_and_how_long)
{
        struct pnr_key key = pnr_key_of("writer", 6);
        cr_expect_eq(record("writer", 0), PINROUTE_OK);
        cr_expect_eq(fake.orders->last.op, PNR_OP_RECORD);
        cr_expect_eq(memcmp(fake.orders->last.key, key.w, sizeof key.w), 0);
        cr_expect_str_eq(fake.orders->last.cluster, "main");
        cr_expect_eq(fake.orders->last.ms, 0);
        record("writer", 7);
        cr_expect_eq(fake.orders->last.ms, 7000);
        record("writer", UINT_MAX);
        cr_expect_eq(fake.orders->last.ms, UINT32_MAX);
        cr_expect_eq(pinroute_hold(pr, cluster, "writer", 6, 250), PINROUTE_OK);
        cr_expect_eq(fake.orders->last.op, PNR_OP_HOLD);
        cr_expect_eq(fake.orders->last.ms, 250);
        expect_read("writer", PINROUTE_OK,
                    PINROUTE_BALANCED); /* what was acknowledged is the store's to know */
}

Test(tell, the_daemons_word_is_passed_on_and_what_it_refused_is_pinned_here)
{
        fake.orders->status = PINROUTE_E_CLUSTER;
        cr_expect_eq(record("a", 0), PINROUTE_E_CLUSTER);
        fake.orders->status = PINROUTE_E_INVALID;
        cr_expect_eq(record("a", 0), PINROUTE_E_INVALID);
        expect_read("a", PINROUTE_OK, PINROUTE_BALANCED);
        fake.orders->status = PINROUTE_E_REFUSED;
        cr_expect_eq(record("a", 0), PINROUTE_E_REFUSED);
        expect_read("a", PINROUTE_OK, PINROUTE_PINNED);
        fake.orders->status = 4711;
        cr_expect_eq(record("b", 0), PINROUTE_E_REFUSED);
        expect_read("b", PINROUTE_OK, PINROUTE_PINNED);
}

Test(tell, a_record_that_failed_pins_its_key_here_and_is_sent_again)
{
        live.cluster[0].node[1].caught_up = UINT64_MAX;
        live_beat(&live, 0);
        fake_kill(&fake);
        pinroute_set_timeout(pr, 10);
        cr_expect_eq(record("a", 0), PINROUTE_E_UNREACHABLE);
        cr_expect_eq(record("b", 1000), PINROUTE_E_UNREACHABLE);
        cr_expect_eq(pinroute_hold(pr, cluster, "c", 1, 5000), PINROUTE_E_UNREACHABLE);
        cr_expect(expect_read("a", PINROUTE_OK, PINROUTE_PINNED).pin_left_ms <= 15000);
        uint32_t left_ms = expect_read("b", PINROUTE_OK, PINROUTE_PINNED).pin_left_ms;
        cr_expect(left_ms > 200000 && left_ms <= 300000, "cut to max_pin_seconds");
        cr_expect(expect_read("c", PINROUTE_OK, PINROUTE_PINNED).pin_left_ms <= 5000);
        expect_read("d", PINROUTE_OK, PINROUTE_BALANCED);
        expect_read(NULL, PINROUTE_OK, PINROUTE_BALANCED);
        fake_start(&fake, live.dir);
        pinroute_set_timeout(pr, 5000);
        live_beat(&live, 1); /* closes the breaker */
        cr_expect_eq(record("d", 0), PINROUTE_OK);
        cr_expect_eq(fake.orders->records, 3);
        cr_expect_eq(fake.orders->holds, 1);
        expect_read("a", PINROUTE_OK, PINROUTE_BALANCED);
        expect_read("b", PINROUTE_OK, PINROUTE_BALANCED);
        expect_read("c", PINROUTE_OK, PINROUTE_BALANCED);
        record("d", 0);
        cr_expect_eq(fake.orders->records, 4, "once");
}

Test(tell, too_many_failed_records_pin_every_key_of_the_process)
{
        fake_kill(&fake);
        pinroute_set_timeout(pr, 1);
        for (int i = 0; i < 65; i++) {
                char key[16];
                snprintf(key, sizeof key, "key-%d", i);
                expect_read("nobody", PINROUTE_OK, PINROUTE_BALANCED);
                cr_expect_eq(record(key, 0), PINROUTE_E_UNREACHABLE);
        }
        expect_read("nobody", PINROUTE_OK, PINROUTE_PINNED);
        expect_read(NULL, PINROUTE_OK, PINROUTE_BALANCED);
}
