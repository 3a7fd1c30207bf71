/* test_names.c -- names and their numbers: once, and for life. */
#include "client/names.h"

#include <criterion/criterion.h>
#include <limits.h>
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
