/* test_names.c -- names and their numbers: once, and for life. */
#include "client/names.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

static struct names names;
static struct lock lock;

static unsigned number_of(const char *name)
{
        char padded[PINROUTE_NODE_SIZE] = {0};
        snprintf(padded, sizeof padded, "%s", name);
        return names_number(&names, &lock, padded);
}

Test(names, a_name_keeps_the_number_that_it_was_given_first)
{
        cr_expect_eq(names_count(&names), 0);
        cr_expect_eq(number_of("main"), 0);
        cr_expect_eq(number_of("other"), 1);
        cr_expect_eq(number_of("main"), 0);
        cr_expect_eq(names_count(&names), 2);
}

Test(names, when_all_numbers_are_given_out_only_old_names_have_one)
{
        char name[16];
        for (unsigned i = 0; i < PINROUTE_CLUSTERS_MAX; i++) {
                snprintf(name, sizeof name, "c%u", i);
                cr_assert_eq(number_of(name), i);
        }
        cr_expect_eq(number_of("more"), UINT_MAX);
        cr_expect_eq(number_of("c7"), 7);
}

Test(names, an_old_name_needs_no_lock_and_a_new_one_waits_for_it)
{
        number_of("main");
        cr_assert(lock_take(&lock, INT64_MAX));
        cr_expect_eq(number_of("main"), 0);
        cr_expect_eq(number_of("new"), UINT_MAX);
        lock_give(&lock);
        cr_expect_eq(number_of("new"), 1);
}

static void *number_of_late(void *arg)
{
        *(unsigned *)arg = number_of("late");
        return NULL;
}

Test(names, a_name_that_two_threads_ask_for_at_once_is_added_once)
{
        pthread_t thread;
        unsigned theirs = UINT_MAX;
        number_of("main");
        cr_assert(lock_take(&lock, INT64_MAX));
        cr_assert_eq(pthread_create(&thread, NULL, number_of_late, &theirs), 0);
        while (atomic_load(&lock.state) != 2) /* it has not found the name, and waits */
                sched_yield();
        strcpy(names.name[1], "late");
        atomic_store(&names.n, 2);
        lock_give(&lock);
        pthread_join(thread, NULL);
        cr_expect_eq(theirs, 1);
        cr_expect_eq(names_count(&names), 2);
}
