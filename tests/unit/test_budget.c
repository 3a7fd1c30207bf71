/* test_budget.c -- no more than so many of a second, whoever asks and whatever stood there. */
#include "client/budget.h"

#include <criterion/criterion.h>
#include <pthread.h>

static _Atomic uint64_t word;

static unsigned taken(unsigned tries, uint32_t most, int64_t now_ms)
{
        unsigned n = 0;
        for (unsigned i = 0; i < tries; i++)
                n += budget_take(&word, most, (struct mono){now_ms});
        return n;
}

Test(budget, each_second_has_its_own)
{
        cr_expect_eq(taken(100, 50, 7000), 50);
        cr_expect_eq(taken(100, 50, 7999), 0);
        cr_expect_eq(taken(100, 50, 8000), 50);
        cr_expect_eq(taken(100, 50, 20000), 50);
        cr_expect_eq(taken(10, 0, 30000), 0);
}

Test(budget, a_budget_that_is_raised_within_the_second_counts_at_once)
{
        cr_expect_eq(taken(10, 5, 7000), 5);
        cr_expect_eq(taken(10, 8, 7000), 3);
        cr_expect_eq(taken(10, 8, 7000), 0);
}

Test(budget, who_looks_at_the_clock_and_comes_late_begins_no_second_again)
{
        cr_expect_eq(taken(50, 50, 9000), 50);
        cr_expect_eq(taken(1, 50, 8999), 0);
        cr_expect_eq(taken(1, 50, 9100), 0);
        cr_expect_eq(taken(100, 50, 10000), 50);
}

Test(budget, garbage_in_the_word_spoils_a_minute_at_most)
{
        static const uint64_t garbage[] = {UINT64_MAX, UINT64_MAX - 1, 1ull << 63, BUDGET_MAX, 12345};
        for (unsigned i = 0; i < sizeof garbage / sizeof *garbage; i++) {
                atomic_store(&word, garbage[i]);
                cr_expect_eq(taken(100, 50, 7000), 50);
        }
        atomic_store(&word, 60ull << BUDGET_USED_BITS | 50);
        cr_expect_eq(taken(100, 50, 7000), 0);
        cr_expect_eq(taken(100, 50, 61000), 50);
}

Test(budget, the_largest_budget_is_one_that_can_be_used_up)
{
        atomic_store(&word, 7ull << BUDGET_USED_BITS | (BUDGET_MAX - 1));
        cr_expect_eq(taken(10, BUDGET_MAX, 7000), 1);
        cr_expect_eq(taken(10, UINT32_MAX, 7000), 0);
}

static pthread_barrier_t begin;

static void *hammer(void *ret)
{
        pthread_barrier_wait(&begin);
        *(unsigned *)ret = taken(2000000, 5000000, 7000);
        return NULL;
}

Test(budget, threads_take_no_more_together)
{
        pthread_t thread[4];
        unsigned n[4], all = 0;
        pthread_barrier_init(&begin, NULL, 4);
        for (unsigned i = 0; i < 4; i++)
                cr_assert_eq(pthread_create(&thread[i], NULL, hammer, &n[i]), 0);
        for (unsigned i = 0; i < 4; i++) {
                pthread_join(thread[i], NULL);
                all += n[i];
        }
        cr_expect_eq(all, 5000000);
}
