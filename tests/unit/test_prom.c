/* test_prom.c -- Prometheus' text format, byte by byte. */
#include <criterion/criterion.h>

#include "daemon/prom.h"

static struct prom p;

static void expect(const char *want)
{
        size_t n;
        char *text = prom_end(&p, &n);
        cr_assert_not_null(text);
        cr_expect(n == strlen(want) && !memcmp(text, want, n), "%.*s", (int)n, text);
        free(text);
}

Test(prom, a_family_has_help_type_and_its_samples)
{
        struct prom_labels l = {.n = 0};
        prom_label(&l, "cluster", "main");
        prom_label(&l, "node", "a");
        prom_family(&p, "x_total", "counter", "Things.");
        prom_count(&p, &l, UINT64_MAX);
        prom_count(&p, NULL, 0);
        expect("# HELP x_total Things.\n# TYPE x_total counter\n"
               "x_total{cluster=\"main\",node=\"a\"} 18446744073709551615\nx_total 0\n");
}

Test(prom, times_are_seconds_and_ratios_are_parts_of_one)
{
        prom_family(&p, "s", "gauge", "S.");
        prom_millis(&p, NULL, 1500);
        prom_millis(&p, NULL, 7);
        prom_micros(&p, NULL, 12000000);
        prom_micros(&p, NULL, 10020);
        prom_ratio(&p, NULL, 1, 3);
        prom_ratio(&p, NULL, 2, 2);
        prom_ratio(&p, NULL, 0, 0);
        expect("# HELP s S.\n# TYPE s gauge\ns 1.5\ns 0.007\ns 12\ns 0.01002\ns 0.333333\ns 1\ns 0\n");
}

Test(prom, a_labels_value_is_escaped)
{
        struct prom_labels l = {.n = 0};
        prom_label(&l, "l", "a\\b\"c\nd");
        prom_family(&p, "s", "gauge", "S.");
        prom_count(&p, &l, 1);
        expect("# HELP s S.\n# TYPE s gauge\ns{l=\"a\\\\b\\\"c\\nd\"} 1\n");
}

Test(prom, a_label_that_does_not_fit_is_left_out_as_a_whole)
{
        char long_value[PROM_LABELS_MAX];
        struct prom_labels l = {.n = 0};
        memset(long_value, 'x', sizeof long_value);
        long_value[sizeof long_value - 1] = '\0';
        prom_label(&l, "a", "1");
        prom_label(&l, "b", long_value);
        prom_label(&l, "c", "3");
        cr_expect_eq(l.n, strlen("a=\"1\",c=\"3\""));
        cr_expect(!memcmp(l.text, "a=\"1\",c=\"3\"", l.n));
        for (unsigned i = 0; i < 200; i++) {
                prom_label(&l, "fill", "\n\n\n\n");
                cr_assert_leq(l.n, sizeof l.text);
        }
}

Test(prom, a_histogram_is_cumulative_and_ends_with_sum_and_count)
{
        struct prom_labels l = {.n = 0};
        struct histogram h = {.sum_us = 0};
        prom_label(&l, "node", "a");
        histogram_add(&h, &histogram_of_checks, 900, 2);
        histogram_add(&h, &histogram_of_checks, 2000, 1);
        histogram_add(&h, &histogram_of_checks, 11000000, 1);
        prom_family(&p, "d", "histogram", "D.");
        prom_histogram(&p, &l, &h, &histogram_of_checks);
        prom_histogram(&p, NULL, &h, &histogram_of_checks);
        size_t n;
        char *text = prom_end(&p, &n);
        cr_assert_not_null(text);
        text[n - 1] = '\0';
        const char *parts[] = {"\nd_bucket{node=\"a\",le=\"0.001\"} 2\n",
                               "\nd_bucket{node=\"a\",le=\"0.0025\"} 3\n",
                               "\nd_bucket{node=\"a\",le=\"10\"} 3\n",
                               "\nd_bucket{node=\"a\",le=\"+Inf\"} 4\n",
                               "\nd_sum{node=\"a\"} 11.0038\n",
                               "\nd_count{node=\"a\"} 4\n",
                               "\nd_bucket{le=\"+Inf\"} 4\n"};
        for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++)
                cr_expect(strstr(text, parts[i]), "%s", parts[i]);
        free(text);
}

Test(prom, a_text_grows_as_long_as_it_has_to)
{
        size_t n;
        prom_family(&p, "s", "gauge", "S.");
        for (unsigned i = 0; i < 100000; i++)
                prom_count(&p, NULL, 7);
        char *text = prom_end(&p, &n);
        cr_assert_not_null(text);
        cr_expect_eq(n, strlen("# HELP s S.\n# TYPE s gauge\n") + 100000 * strlen("s 7\n"));
        cr_expect(!memcmp(text + n - 8, "s 7\ns 7\n", 8));
        free(text);
}

Test(prom, without_memory_there_is_no_text_and_the_writer_can_begin_again)
{
        size_t n;
        p.lost = true;
        prom_family(&p, "s", "gauge", "S.");
        prom_count(&p, NULL, 7);
        cr_expect_null(prom_end(&p, &n));
        prom_family(&p, "s", "gauge", "S.");
        expect("# HELP s S.\n# TYPE s gauge\n");
}
