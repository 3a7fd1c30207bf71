/* test_histogram.c -- how often a time fell below each of some bounds. */
#include <criterion/criterion.h>

#include "daemon/histogram.h"

Test(histogram, a_time_counts_below_the_first_bound_that_is_not_less)
{
        const struct histogram_bounds *by = &histogram_of_checks;
        struct histogram h = {.sum_us = 0};
        histogram_add(&h, by, 0, 1);
        histogram_add(&h, by, 1000, 1);
        histogram_add(&h, by, 1001, 3);
        histogram_add(&h, by, by->us[HISTOGRAM_BOUNDS - 1], 1);
        histogram_add(&h, by, by->us[HISTOGRAM_BOUNDS - 1] + 1, 1);
        histogram_add(&h, by, UINT32_MAX, 1);
        cr_expect_eq(h.n[0], 2);
        cr_expect_eq(h.n[1], 3);
        cr_expect_eq(h.n[HISTOGRAM_BOUNDS - 1], 1);
        cr_expect_eq(h.n[HISTOGRAM_BOUNDS], 2);
        cr_expect_eq(h.sum_us, 1000 + 3 * 1001 + 2ull * 10000000 + 1 + UINT32_MAX);
}

Test(histogram, bounds_rise)
{
        const struct histogram_bounds *all[] = {&histogram_of_checks, &histogram_of_releases};
        for (unsigned i = 0; i < 2; i++)
                for (unsigned k = 1; k < HISTOGRAM_BOUNDS; k++)
                        cr_expect_gt(all[i]->us[k], all[i]->us[k - 1]);
}
