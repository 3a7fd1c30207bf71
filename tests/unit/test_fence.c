/* test_fence.c -- generations are closed before the question, and released by its answer only. */
#include <criterion/criterion.h>

#include "daemon/fence.h"

static struct fence f;

static struct lsn lsn(uint64_t bytes) { return (struct lsn){bytes}; }
static uint64_t reached(uint64_t bytes) { return fence_reached(&f, lsn(bytes)); }

Test(fence, the_open_generation_is_never_0)
{
        fence_init(&f, 0);
        cr_expect_eq(fence_carry(&f), 1);
        fence_init(&f, 7);
        cr_expect_eq(fence_carry(&f), 7);
        cr_expect_eq(reached(UINT64_MAX), 0, "nothing is fenced at first");
}

Test(fence, a_pin_waits_until_its_generation_has_a_fence)
{
        fence_init(&f, 1);
        cr_expect_not(fence_wanted(&f));
        uint64_t g = fence_carry(&f);
        cr_expect(fence_wanted(&f));
        fence_close(&f);
        cr_expect(fence_wanted(&f), "a question is no answer");
        fence_answer(&f, lsn(100));
        cr_expect_not(fence_wanted(&f));
        cr_expect_eq(reached(99), 0);
        cr_expect_eq(reached(100), g);
}

Test(fence, a_record_between_question_and_answer_carries_the_next_generation)
{
        fence_init(&f, 1);
        uint64_t before = fence_carry(&f);
        fence_close(&f);
        uint64_t between = fence_carry(&f);
        cr_expect_gt(between, before);
        fence_answer(&f, lsn(100));
        cr_expect_eq(reached(UINT64_MAX), before, "the answer says nothing of what came after the question");
        cr_expect(fence_wanted(&f));
        fence_close(&f);
        fence_answer(&f, lsn(100));
        cr_expect_eq(reached(100), between, "the same position on an idle primary fences it, too");
        cr_expect_eq(reached(99), 0);
}

Test(fence, a_generation_that_nobody_carries_stays_open)
{
        fence_init(&f, 5);
        fence_close(&f);
        fence_close(&f);
        cr_expect_eq(f.open, 5);
        fence_carry(&f);
        fence_close(&f);
        fence_close(&f);
        cr_expect_eq(f.open, 6);
}

Test(fence, without_a_question_an_answer_fences_nothing)
{
        fence_init(&f, 1);
        fence_carry(&f);
        fence_answer(&f, lsn(100));
        cr_expect_eq(reached(UINT64_MAX), 0);
        fence_close(&f);
        fence_failed(&f);
        fence_answer(&f, lsn(100));
        cr_expect_eq(reached(UINT64_MAX), 0, "a question given up on takes no answer");
        cr_expect(fence_wanted(&f));
        fence_close(&f);
        fence_answer(&f, lsn(100));
        fence_answer(&f, lsn(200));
        cr_expect_eq(reached(100), 1, "nor takes a fence away");
}

Test(fence, another_history_releases_nobody_and_fences_what_waits_anew)
{
        fence_init(&f, 1);
        uint64_t first = fence_carry(&f);
        fence_close(&f);
        fence_answer(&f, lsn(1000));
        uint64_t second = fence_carry(&f);
        fence_close(&f);
        fence_reset(&f);
        fence_answer(&f, lsn(2000)); /* of the old history */
        cr_expect_eq(reached(UINT64_MAX), 0);
        cr_expect(fence_wanted(&f), "what was fenced there is fenced again");
        fence_close(&f);
        fence_answer(&f, lsn(500));
        cr_expect_geq(reached(500), second);
        cr_expect_gt(second, first);
        cr_expect_eq(reached(499), 0);
}

Test(fence, pins_of_before_a_restart_are_fenced_and_never_released_by_less)
{
        fence_init(&f, 1);
        fence_remember(&f, 40);
        fence_remember(&f, 30);
        cr_expect(fence_wanted(&f));
        fence_open_next(&f);
        cr_expect_gt(fence_carry(&f), 40);
        fence_close(&f);
        fence_answer(&f, lsn(10));
        cr_expect_gt(reached(10), 40);
}

Test(fence, fences_credit_a_replica_only_with_what_it_has_replayed_however_many_there_were)
{
        enum { ROUNDS = 5000 };
        static uint64_t generation[ROUNDS];
        fence_init(&f, 1);
        for (unsigned i = 0; i < ROUNDS; i++) {
                generation[i] = fence_carry(&f);
                fence_close(&f);
                fence_answer(&f, lsn((i + 1) * 10ull));
                for (unsigned back = 0; back <= i; back += 1 + back / 2) {
                        uint64_t have = (i + 1 - back) * 10ull - 1; /* one byte short of fence i-back */
                        cr_assert_lt(reached(have), generation[i - back]);
                }
                cr_assert_eq(reached((i + 1) * 10ull), generation[i]);
        }
}
