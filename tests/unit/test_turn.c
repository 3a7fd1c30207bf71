/* test_turn.c -- a turn lasts from the first word of its wake-up to the wait. */
#include <criterion/criterion.h>
#include <time.h>

#include "daemon/turn.h"

static void let_pass(int64_t us)
{
        struct timespec t = {.tv_nsec = us * 1000};
        nanosleep(&t, NULL);
}

Test(turn, it_lasts_from_the_first_wake_up_to_the_wait_and_the_wait_is_not_in_it)
{
        cr_expect_eq(turn_ended(), 0, "nothing woke it yet");
        turn_woke();
        let_pass(2000);
        turn_woke();
        let_pass(2000);
        uint64_t took_us = turn_ended();
        cr_expect_geq(took_us, 4000);
        let_pass(20000);
        cr_expect_eq(turn_ended(), 0);
        turn_woke();
        cr_expect_lt(turn_ended(), 20000, "what it waited for is over");
}
