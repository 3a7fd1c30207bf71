/* test_owed.c -- records that failed: pinned here, owed to the daemon. */
#include "client/owed.h"

#include <criterion/criterion.h>

static struct owed owed;
static const struct mono now = {1000};

static struct pnr_key key_of(uint64_t i) { return (struct pnr_key){{i, ~i}}; }

static void expect_need(unsigned cluster, uint64_t key, struct mono at, int64_t until_ms)
{
        struct need n = owed_need(&owed, cluster, key_of(key), at);
        cr_expect_eq(n.until_ms, until_ms);
        cr_expect_eq(n.generation, until_ms ? CHOOSE_NOBODY : 0);
}

Test(owed, a_debt_pins_its_key_in_its_cluster_until_its_deadline)
{
        expect_need(0, 1, now, 0);
        owed_put(&owed, 0, key_of(1), 1500, 0, now);
        expect_need(0, 1, now, 1500);
        expect_need(0, 1, (struct mono){1499}, 1500);
        expect_need(0, 1, (struct mono){1500}, 0);
        expect_need(1, 1, now, 0);
        expect_need(0, 2, now, 0);
        cr_expect_eq(owed_need(&owed, 0, (struct pnr_key){{1, 1}}, now).until_ms, 0);
}

Test(owed, debts_of_one_key_are_merged_by_max_into_one_place)
{
        struct owed_debt d;
        owed_put(&owed, 0, key_of(1), 1500, 0, now);
        owed_put(&owed, 0, key_of(1), 1200, 0, now);
        owed_put(&owed, 0, key_of(1), 0, 1700, now);
        expect_need(0, 1, now, 1700);
        cr_expect(owed_get(&owed, 0, now, &d));
        cr_expect(d.until_ms == 1500 && d.hold_ms == 1700 && d.cluster == 0 && d.key.w[1] == ~1ull);
        cr_expect_not(owed_get(&owed, 1, now, &d));
}

Test(owed, a_paid_debt_is_dropped_unless_it_has_grown_meanwhile)
{
        struct owed_debt d;
        owed_put(&owed, 0, key_of(1), 1500, 0, now);
        cr_expect(owed_get(&owed, 0, now, &d));
        owed_put(&owed, 0, key_of(1), 1600, 0, now);
        owed_drop(&owed, 0, &d);
        expect_need(0, 1, now, 1600);
        cr_expect(owed_get(&owed, 0, now, &d));
        owed_drop(&owed, 0, &d);
        expect_need(0, 1, now, 0);
}

Test(owed, a_paid_debt_stays_if_the_key_wrote_again_even_with_an_earlier_or_the_same_end)
{
        static const int64_t end_ms[] = {1200, 1500};
        for (unsigned i = 0; i < 2; i++) {
                struct owed_debt d;
                owed_put(&owed, 0, key_of(1), 1500, 0, now);
                cr_expect(owed_get(&owed, 0, now, &d));
                owed_put(&owed, 0, key_of(1), end_ms[i], 0, now);
                owed_drop(&owed, 0, &d);
                expect_need(0, 1, now, 1500);
                cr_expect(owed_get(&owed, 0, now, &d));
                owed_drop(&owed, 0, &d);
                expect_need(0, 1, now, 0);
        }
}

Test(owed, a_paid_debt_does_not_free_a_place_that_another_key_has_taken)
{
        struct owed_debt d;
        struct mono late = {1500};
        owed_put(&owed, 0, key_of(1), 1500, 0, now);
        cr_expect(owed_get(&owed, 0, now, &d));
        owed_put(&owed, 0, key_of(2), 1900, 0, late);
        owed_drop(&owed, 0, &d);
        expect_need(0, 2, late, 1900);
}

Test(owed, a_full_table_pins_every_key_and_expired_places_are_used_again)
{
        for (uint64_t i = 0; i < OWED_MAX; i++)
                owed_put(&owed, 0, key_of(i), 1100, 0, now);
        expect_need(0, 999, now, 0);
        owed_put(&owed, 0, key_of(999), 1500, 0, now);
        expect_need(0, 999, now, 1500);
        expect_need(3, 12345, now, 1500);
        owed_put(&owed, 0, key_of(5), 1900, 0, now);
        expect_need(0, 5, now, 1900);
        struct mono late = {1500};
        expect_need(0, 999, late, 0);
        owed_put(&owed, 0, key_of(998), 2000, 0, late);
        expect_need(0, 998, late, 2000);
        expect_need(0, 999, late, 0);
        expect_need(0, 0, late, 0);
}

Test(owed, without_the_lock_every_key_is_pinned)
{
        owed_put_all(&owed, 1300);
        owed_put_all(&owed, 1200);
        expect_need(7, 1, (struct mono){1299}, 1300);
        expect_need(7, 1, (struct mono){1300}, 0);
}
