/* test_known.c -- what is known of a key, over a real store: copied out, by our own clock. */
#include "client/known.h"

#include <criterion/criterion.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/live_store.h"

static struct live live;
static struct fake fake;
static struct pinroute *pr;
static unsigned cluster;
static const int64_t ahead_ms = 1000000; /* the daemon's clock */

static void setup(void)
{
        live_init(&live);
        live.header.stale_after_ms = 20000;
        live_beat(&live, ahead_ms);
        fake.orders =
            mmap(NULL, sizeof *fake.orders, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(fake.orders, MAP_FAILED);
        atomic_store(&fake.orders->ahead_ms, ahead_ms);
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

TestSuite(known, .init = setup, .fini = teardown);

static bool lasts(int64_t until_ms, int64_t ms)
{
        int64_t left_ms = until_ms - live_now();
        return left_ms > ms - 10000 && left_ms < ms + 100;
}

Test(known, a_pin_is_copied_with_its_stamp_in_our_own_time)
{
        struct pnr_key me = pnr_key_of("me", 2);
        struct known k;
        live_pin_stamped(&live, "me", 2, 8, ahead_ms + 60000, ahead_ms + 30000, 77);
        cr_assert_eq(known_get(pr, cluster, &me, &k), PINROUTE_OK);
        cr_expect(k.is_fresh && !k.is_void);
        cr_expect(lasts(k.now.ms, 0));
        cr_expect_eq(k.pin.generation, 8);
        cr_expect(lasts(k.pin.until_ms, 60000) && lasts(k.pin.hold_ms, 30000));
        cr_expect_eq(k.stamp, 77);
        cr_expect_eq(k.owed.until_ms, 0);
        cr_expect_eq(k.floor.until_ms, 0, "there is none");
        cr_expect(k.pin_ms == 15000 && k.max_pin_ms == 300000);
        cr_expect_not(k.has_keys);
}

Test(known, without_a_key_or_a_pin_the_cluster_is_known)
{
        struct pnr_key me = pnr_key_of("me", 2);
        struct known k;
        live.cluster[0].floor_generation = 4;
        live.cluster[0].floor_until_ms = live_now() + ahead_ms + 60000;
        live_beat(&live, ahead_ms);
        struct pnr_token_keys keys = live_keys(&live, 1, 3);
        for (int i = 0; i < 2; i++) {
                cr_assert_eq(known_get(pr, cluster, i ? &me : NULL, &k), PINROUTE_OK);
                cr_expect(k.pin.until_ms == 0 && k.pin.hold_ms == 0 && k.stamp == 0);
                cr_expect(k.floor.generation == 4 && lasts(k.floor.until_ms, 60000));
                cr_expect_eq(k.token_cluster, pnr_token_cluster(live.cluster[0].name));
                cr_expect(k.has_keys && memcmp(&k.keys, &keys, sizeof keys) == 0);
        }
}

Test(known, a_failed_record_is_known_in_our_own_time)
{
        struct pnr_key me = pnr_key_of("me", 2);
        struct known k;
        fake_kill(&fake);
        pinroute_set_timeout(pr, 5);
        pinroute_record_write(pr, cluster, "me", 2, 30);
        cr_assert_eq(known_get(pr, cluster, &me, &k), PINROUTE_OK);
        cr_expect(k.owed.generation == CHOOSE_NOBODY && lasts(k.owed.until_ms, 30000));
}

Test(known, how_old_the_heartbeat_is_and_whether_there_is_a_store_at_all)
{
        struct pnr_key me = pnr_key_of("me", 2);
        struct known k;
        unsigned nosuch;
        live_beat(&live, ahead_ms - 30000);
        cr_expect_eq(known_get(pr, cluster, &me, &k), PINROUTE_OK);
        cr_expect(!k.is_fresh && !k.is_void);
        live_beat(&live, ahead_ms - 61000);
        cr_expect_eq(known_get(pr, cluster, &me, &k), PINROUTE_OK);
        cr_expect(!k.is_fresh && k.is_void);
        live_beat(&live, ahead_ms);
        cr_expect_eq(pinroute_cluster(pr, "nosuch", &nosuch), PINROUTE_E_CLUSTER);
        cr_expect_eq(known_get(pr, nosuch, &me, &k), PINROUTE_E_CLUSTER);
        cr_expect(!k.is_fresh && !k.has_keys && lasts(k.now.ms, 0));
}

Test(known, a_need_is_the_pin_the_debt_and_the_floor_as_far_as_they_are_live)
{
        struct pnr_key me = pnr_key_of("me", 2), you = pnr_key_of("you", 3);
        live_pin(&live, "me", 2, 8, ahead_ms + 60000, 0);
        struct need need = known_need(pr, cluster, me);
        cr_expect(need.generation == 8 && lasts(need.until_ms, 60000));
        need = known_need(pr, cluster, you);
        cr_expect(need.generation == 0 && need.until_ms == 0 && need.hold_ms == 0);
        live.cluster[0].floor_generation = 9;
        live.cluster[0].floor_until_ms = live_now() + ahead_ms + 30000;
        live_beat(&live, ahead_ms);
        need = known_need(pr, cluster, me);
        cr_expect(need.generation == 9 && lasts(need.until_ms, 60000));
        need = known_need(pr, cluster, you);
        cr_expect(need.generation == 9 && lasts(need.until_ms, 30000));
        live_beat(&live, ahead_ms - 30000);
        need = known_need(pr, cluster, you);
        cr_expect(need.generation == CHOOSE_NOBODY && lasts(need.until_ms, 300000));
}
