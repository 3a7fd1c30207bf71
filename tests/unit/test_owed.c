/* test_owed.c -- records that failed: pinned here, owed to the daemon. */
#include "client/owed.h"

#include <criterion/criterion.h>
#include <pthread.h>

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

/* ---- sent, and not answered yet ---- */

static bool put_sent(uint64_t first, unsigned n, uint64_t serial, int64_t until_ms)
{
        struct pnr_key keys[OWED_MAX + 1];
        for (unsigned i = 0; i < n; i++)
                keys[i] = key_of(first + i);
        return owed_put_sent(&owed, 0, keys, n, serial, until_ms, now);
}

Test(owed, what_was_sent_is_pinned_until_its_answer_frees_it_and_nothing_else)
{
        cr_expect(put_sent(1, 3, 100, 1500));
        cr_expect(put_sent(10, 2, 101, 1600));
        owed_put(&owed, 0, key_of(20), 1400, 0, now);
        expect_need(0, 2, now, 1500);
        expect_need(1, 2, now, 0);
        owed_drop_sent(&owed, 100);
        expect_need(0, 1, now, 0);
        expect_need(0, 3, now, 0);
        expect_need(0, 11, now, 1600);
        expect_need(0, 20, now, 1400);
        owed_drop_sent(&owed, 101);
        owed_drop_sent(&owed, 102);
        expect_need(0, 10, now, 0);
        expect_need(0, 20, now, 1400);
}

Test(owed, all_keys_of_a_send_find_room_or_none)
{
        cr_expect(put_sent(1, 60, 100, 1500));
        cr_expect_not(put_sent(100, 5, 101, 1500));
        expect_need(0, 100, now, 0);
        cr_expect(put_sent(100, 4, 101, 1500));
        expect_need(0, 103, now, 1500);
        cr_expect_not(put_sent(200, 1, 102, 1500));
        owed_drop_sent(&owed, 100);
        cr_expect(put_sent(200, 60, 102, 1500), "freed places are used again");
        cr_expect_eq(owed.all_until_ms, 0);
}

Test(owed, a_key_that_is_owed_for_twice_is_freed_by_no_one_answer)
{
        struct owed_debt d;
        owed_put(&owed, 0, key_of(1), 1900, 0, now);
        cr_expect(put_sent(1, 2, 100, 1500));
        owed_drop_sent(&owed, 100);
        expect_need(0, 1, now, 1900);
        expect_need(0, 2, now, 0);
        cr_expect(put_sent(5, 1, 101, 1500));
        owed_put(&owed, 0, key_of(5), 1200, 0, now);
        owed_drop_sent(&owed, 101);
        expect_need(0, 5, now, 1500);
        cr_expect(put_sent(6, 1, 102, 1500) && put_sent(6, 1, 103, 1600));
        owed_drop_sent(&owed, 102);
        owed_drop_sent(&owed, 103);
        expect_need(0, 6, now, 1600);
        for (unsigned i = 0; i < OWED_MAX; i++)
                if (owed_get(&owed, i, now, &d)) {
                        cr_expect_eq(d.serial, 0);
                        owed_drop(&owed, i, &d);
                }
        expect_need(0, 1, now, 0);
        expect_need(0, 6, now, 0);
}

Test(owed, when_the_last_debt_is_paid_reads_look_at_none)
{
        struct owed_debt d;
        owed_put(&owed, 0, key_of(1), 1900, 0, now);
        cr_expect(put_sent(2, 3, 100, 5000));
        cr_expect_eq(owed.latest_ms, 5000);
        owed_drop_sent(&owed, 100);
        cr_expect_eq(owed.latest_ms, 1900);
        cr_expect(owed_get(&owed, 0, now, &d));
        owed_drop(&owed, 0, &d);
        cr_expect_eq(owed.latest_ms, 0);
        owed_put_all(&owed, 1300);
        cr_expect_eq(owed.latest_ms, 0);
        expect_need(0, 9, now, 1300);
}

/* ---- two threads ---- */

#define ROUNDS 200000

static atomic_bool over;

static void *send_and_fail(void *arg)
{
        struct owed_debt d;
        for (unsigned i = 1; i <= ROUNDS; i++) {
                put_sent(1, 1, i, 1900);
                owed_drop_sent(&owed, i);
                owed_put(&owed, 0, key_of(1), 1400, 0, now);
                owed_put(&owed, 0, key_of(1), 1300, 0, now);
                if (owed_get(&owed, 0, now, &d))
                        owed_drop(&owed, 0, &d);
        }
        atomic_store(&over, true);
        return arg;
}

Test(owed, a_debt_that_changes_while_it_is_copied_is_not_told)
{
        struct owed_debt d;
        pthread_t thread;
        unsigned wrong = 0;
        cr_assert_eq(pthread_create(&thread, NULL, send_and_fail, NULL), 0);
        while (!atomic_load(&over))
                if (owed_get(&owed, 0, now, &d))
                        wrong += d.until_ms != (d.serial ? 1900 : 1400);
        pthread_join(thread, NULL);
        cr_expect_eq(wrong, 0);
}

#define PINS 3000000

static pthread_barrier_t begin;
static atomic_llong next = 1;
static unsigned lowered[2];

static void *pin_all(void *arg)
{
        unsigned n = 0;
        int64_t mine = 0;
        pthread_barrier_wait(&begin);
        while (mine <= PINS) {
                int64_t more =
                    atomic_fetch_add(&next, 1); /* a thread sees its own stores first, up to here */
                n += atomic_load(&owed.all_until_ms) < mine;
                owed_put_all(&owed, more);
                mine = more;
        }
        *(unsigned *)arg = n;
        return NULL;
}

Test(owed, no_thread_takes_back_what_another_has_pinned)
{
        pthread_t thread[2];
        pthread_barrier_init(&begin, NULL, 2);
        for (unsigned i = 0; i < 2; i++)
                cr_assert_eq(pthread_create(&thread[i], NULL, pin_all, &lowered[i]), 0);
        for (unsigned i = 0; i < 2; i++)
                pthread_join(thread[i], NULL);
        cr_expect_eq(lowered[0] + lowered[1], 0);
        cr_expect_eq(owed.all_until_ms, atomic_load(&next) - 1);
}
