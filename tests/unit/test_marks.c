/* test_marks.c -- who has reached a position is credited with its mark, and never with more. */
#include <criterion/criterion.h>

#include "daemon/marks.h"
#include "tests/unit/seeded.h"

static struct marks m;

static uint64_t at(uint64_t bytes) { return marks_reached(&m, (struct lsn){bytes}); }
static void put(uint64_t mark, uint64_t bytes) { marks_put(&m, mark, (struct lsn){bytes}); }

static void cr_assert_rising(void)
{
        for (unsigned i = 1; i < m.n; i++)
                cr_assert(m.list[i].mark > m.list[i - 1].mark && m.list[i].at.bytes > m.list[i - 1].at.bytes,
                          "place %u", i);
}

Test(marks, an_empty_list_credits_nobody)
{
        cr_expect(marks_empty(&m));
        cr_expect_eq(at(UINT64_MAX), 0);
        cr_expect_eq(marks_newest(&m).mark, 0);
        cr_expect_eq(marks_newest(&m).at.bytes, 0);
}

Test(marks, a_mark_is_reached_at_its_position_and_not_one_byte_before)
{
        put(3, 100);
        put(5, 200);
        put(9, 300);
        const uint64_t want[][2] = {{0, 0},   {99, 0},  {100, 3}, {199, 3},       {200, 5},
                                    {299, 5}, {300, 9}, {301, 9}, {UINT64_MAX, 9}};
        for (unsigned i = 0; i < sizeof want / sizeof *want; i++)
                cr_expect_eq(at(want[i][0]), want[i][1], "at %lu", (unsigned long)want[i][0]);
        cr_expect_eq(marks_newest(&m).mark, 9);
}

Test(marks, a_mark_s_position_is_that_of_the_first_that_is_not_below_it)
{
        put(3, 100);
        put(5, 200);
        const uint64_t want[][2] = {{0, 100}, {3, 100}, {4, 200}, {5, 200}, {6, 0}};
        for (unsigned i = 0; i < sizeof want / sizeof *want; i++)
                cr_expect_eq(marks_at(&m, want[i][0]).bytes, want[i][1], "mark %lu",
                             (unsigned long)want[i][0]);
}

Test(marks, earlier_marks_at_the_same_or_a_later_position_fall_out)
{
        put(1, 100);
        put(2, 200);
        put(3, 200);
        cr_expect_eq(m.n, 2);
        cr_expect_eq(at(200), 3);
        put(4, 150); /* a primary that crashed and came back behind */
        cr_expect_eq(at(149), 1);
        cr_expect_eq(at(150), 4);
        put(5, 50);
        cr_expect_eq(m.n, 1);
        cr_expect_eq(at(49), 0);
        cr_expect_eq(at(50), 5);
}

Test(marks, a_second_mark_of_the_same_moment_takes_the_place_of_the_first)
{
        put(1, 100);
        put(7, 200);
        put(7, 300);
        cr_expect_eq(m.n, 2);
        cr_expect_eq(at(299), 1, "the earlier position of that moment is forgotten: less credit, not more");
        cr_expect_eq(at(300), 7);
}

Test(marks, a_full_list_is_thinned_in_its_older_half_only)
{
        for (uint64_t i = 1; i <= MARKS_MAX; i++)
                put(i, i * 10);
        cr_expect_eq(m.n, MARKS_MAX);
        put(MARKS_MAX + 1, (MARKS_MAX + 1) * 10);
        cr_expect_eq(m.n, MARKS_MAX - MARKS_MAX / 4 + 1);
        cr_assert_rising();
        cr_expect_eq(at(10), 1, "the oldest stays: nobody becomes unknown by thinning");
        cr_expect_eq(at(20), 1, "between two kept marks the older one counts");
        for (uint64_t i = MARKS_MAX / 2 + 1; i <= MARKS_MAX + 1; i++)
                cr_expect_eq(at(i * 10), i, "%lu", (unsigned long)i);
}

Test(marks, whatever_was_put_nobody_is_credited_with_a_mark_beyond_its_position)
{
        enum { STEPS = 20000 };
        static struct mark all[STEPS];
        uint64_t seed = seeded_start(0x6d61726b73), position = 1000;
        for (unsigned i = 0; i < STEPS; i++) {
                position += seeded_below(&seed, 50);
                if (seeded_below(&seed, 2000) == 0)
                        position -= position / 4;
                all[i] = (struct mark){i + 1, {position}};
                put(i + 1, position);
                cr_assert_rising();
                uint64_t have = seeded_below(&seed, position + 100), credit = at(have);
                cr_assert(credit == 0 || all[credit - 1].at.bytes <= have, "mark %lu at %lu",
                          (unsigned long)credit, (unsigned long)have);
        }
}

Test(marks, clearing_forgets_all)
{
        put(1, 1);
        marks_clear(&m);
        cr_expect(marks_empty(&m));
        cr_expect_eq(at(UINT64_MAX), 0);
        put(1, 1);
        cr_expect_eq(at(1), 1);
}
