/* test_release.c -- how pins ended: early, or at their deadlines; and that none is lost from the count. */
#include <criterion/criterion.h>

#include "daemon/release.h"
#include "tests/unit/seeded.h"

static struct release r;

static struct mono at(int64_t ms) { return (struct mono){1000000 + ms}; }

static void record(uint64_t generation, uint64_t pins, int64_t ms, int64_t pin_ms)
{
        release_record(&r, generation, pins, false, at(ms + pin_ms), at(ms));
}

static uint64_t living(void)
{
        uint64_t pins = 0;
        for (unsigned i = 0; i < r.n; i++)
                pins += r.batch[i].pins;
        return pins;
}

Test(release, pins_end_early_with_the_first_replica_that_has_caught_up)
{
        record(7, 2, 0, 15000);
        record(7, 3, 40, 15000);
        record(8, 1, 100, 15000);
        release_reach(&r, 6, at(110));
        cr_expect_eq(r.early, 0);
        release_reach(&r, 7, at(120));
        cr_expect_eq(r.early, 5);
        release_reach(&r, 9, at(300));
        release_reach(&r, 9, at(400));
        cr_expect_eq(r.early, 6);
        cr_expect_eq(r.expired, 0);
        cr_expect_eq(r.created, 6);
        cr_expect_eq(r.n, 0);
}

Test(release, the_delay_is_told_from_a_generations_first_record)
{
        record(7, 2, 0, 15000);
        record(7, 3, 40, 15000);
        release_reach(&r, 7, at(120));
        cr_expect_eq(r.delay.n[5], 5, "100 to 250 ms");
        cr_expect_eq(r.delay.sum_us, 5 * 120000);
}

Test(release, pins_expire_at_the_last_deadline_of_their_generation)
{
        record(7, 2, 0, 2010);
        record(7, 1, 10, 1000);
        record(8, 4, 10, 500);
        release_expire(&r, at(509));
        cr_expect_eq(r.expired, 0);
        release_expire(&r, at(510));
        cr_expect_eq(r.expired, 4);
        release_expire(&r, at(2009));
        cr_expect_eq(r.expired, 4);
        release_reach(&r, 8, at(2010));
        cr_expect_eq(r.expired, 7, "a replica that catches up at the deadline comes too late");
        cr_expect_eq(r.early, 0);
        cr_expect_eq(r.delay.sum_us, 0);
}

Test(release, a_held_pin_is_released_by_no_replica)
{
        record(7, 1, 0, 1000);
        release_record(&r, 7, 1, true, at(1000), at(0));
        record(7, 1, 1, 1000);
        release_record(&r, 7, 1, true, at(900), at(2));
        cr_expect_eq(r.n, 2);
        release_reach(&r, 9, at(100));
        cr_expect_eq(r.early, 2);
        release_expire(&r, at(1000));
        cr_expect_eq(r.expired, 2);
}

/* Nobody catches up for minutes, while a generation is opened ten times a second. */
Test(release, where_no_replica_catches_up_pins_expire_on_time_all_the_same)
{
        const int64_t lengths[] = {1000, 15000, 300000};
        for (unsigned k = 0; k < 3; k++) {
                r = (struct release){.n = 0};
                int64_t length = lengths[k], late = 0;
                for (int64_t ms = 0; ms < 3 * length; ms += 100) {
                        record((uint64_t)(ms / 100 + 1), 1, ms, length);
                        release_expire(&r, at(ms));
                        cr_assert_lt(r.n, RELEASE_BATCHES);
                        int64_t due = ms >= length ? (ms - length) / 100 + 1 : 0;
                        cr_assert_leq((int64_t)r.expired, due);
                        late = due - (int64_t)r.expired > late ? due - (int64_t)r.expired : late;
                }
                cr_expect_leq(late * 100, length / RELEASE_COARSE + 100, "%ld ms", (long)late * 100);
                cr_expect_eq(r.created, r.expired + living());
        }
}

Test(release, whatever_happens_each_pin_is_counted_once)
{
        uint64_t seed = seeded_start(7), generation = 1;
        int64_t ms = 0;
        for (unsigned i = 0; i < 200000; i++) {
                ms += (int64_t)seeded_below(&seed, 200);
                generation += seeded_below(&seed, 3) == 0;
                release_record(
                    &r, generation, seeded_below(&seed, 256) + 1, seeded_below(&seed, 9) == 0,
                    at(ms + 1 + (int64_t)seeded_below(&seed, seeded_below(&seed, 50) ? 9000 : 3000000)),
                    at(ms));
                if (seeded_below(&seed, 400) == 0)
                        release_reach(&r, generation - seeded_below(&seed, generation), at(ms));
                if (seeded_below(&seed, 4) == 0)
                        release_expire(&r, at(ms));
                cr_assert_leq(r.n, RELEASE_BATCHES);
                cr_assert_eq(r.created, r.early + r.expired + living());
        }
        cr_expect(r.early && r.expired);
        uint64_t delays = 0;
        for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++)
                delays += r.delay.n[i];
        cr_expect_eq(delays, r.early);
}

Test(release, a_full_house_takes_one_of_the_other_kind)
{
        for (unsigned i = 0; i < 2 * RELEASE_BATCHES; i++)
                record(i + 1, 1, i * 100000, 1000000000);
        while (r.n < RELEASE_BATCHES)
                record(1000 + r.n, 1, 100000000 + 100000 * (int64_t)r.n, 1);
        release_record(&r, 9000, 1, true, at(1), at(0));
        cr_expect_eq(r.n, RELEASE_BATCHES);
        cr_expect_eq(r.created, living());
}
