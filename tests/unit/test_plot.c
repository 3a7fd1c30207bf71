/* test_plot.c -- values become steps, gaps stay gaps, runs become bands. */
#include <criterion/criterion.h>

#include "daemon/plot.h"
#include "tests/unit/html_check.h"

static struct evbuffer *out;

static void open_out(void) { out = evbuffer_new(); }
static void free_out(void) { evbuffer_free(out); }

TestSuite(plot, .init = open_out, .fini = free_out);

static const char *steps(const uint32_t *value, unsigned n, unsigned each, uint32_t top)
{
        plot_steps(out, value, n, each, top);
        return html_taken(out);
}

Test(plot, a_scale_ends_at_a_round_number)
{
        cr_expect_eq(plot_top(0, 1), 1);
        cr_expect_eq(plot_top(0, 100), 100);
        cr_expect_eq(plot_top(100, 100), 100);
        cr_expect_eq(plot_top(101, 100), 200);
        cr_expect_eq(plot_top(201, 100), 500);
        cr_expect_eq(plot_top(501, 100), 1000);
        cr_expect_eq(plot_top(2000000001u, 1), UINT32_MAX);
}

Test(plot, the_greatest_value_is_no_gap)
{
        const uint32_t some[] = {PLOT_GAP, 3, 9, 4}, none[] = {PLOT_GAP, PLOT_GAP};
        cr_expect_eq(plot_max(some, 4), 9);
        cr_expect_eq(plot_max(none, 2), 0);
}

Test(plot, a_level_stretch_is_one_step)
{
        const uint32_t value[] = {10, 10, 10, 50, 50, 0};
        cr_expect_str_eq(steps(value, 6, 1, 100), "<path d=\"M0 100V90H3V50H5V100H6V100\"/>");
}

Test(plot, what_is_unknown_is_left_out)
{
        const uint32_t value[] = {PLOT_GAP, 100, PLOT_GAP, PLOT_GAP, 0};
        cr_expect_str_eq(steps(value, 5, 1, 100), "<path d=\"M1 100V0H2V100M4 100V100H5V100\"/>");
        cr_expect_str_eq(steps(value, 1, 1, 100), "<path d=\"\"/>");
        cr_expect_str_eq(steps(value, 0, 1, 100), "<path d=\"\"/>");
}

Test(plot, a_peak_outlives_being_drawn_coarsely)
{
        const uint32_t value[] = {1, 80, 2, PLOT_GAP, 5, PLOT_GAP, 7};
        cr_expect_str_eq(steps(value, 7, 3, 100), "<path d=\"M0 100V20H3V95H6V93H7V100\"/>");
}

Test(plot, little_is_not_nothing_and_too_much_ends_at_the_top)
{
        const uint32_t value[] = {1, 5000, PLOT_GAP - 1};
        cr_expect_str_eq(steps(value, 3, 1, 1000), "<path d=\"M0 100V98H1V0H3V100\"/>");
}

Test(plot, a_long_path_is_whole)
{
        uint32_t value[1000];
        for (unsigned i = 0; i < 1000; i++)
                value[i] = i % 2 ? 100 : 0;
        const char *path = steps(value, 1000, 1, 100);
        unsigned turns = 0;
        for (const char *s = path; *s; s++)
                turns += *s == 'V';
        cr_expect_eq(turns, 1001);
        cr_expect_str_eq(html_check(path), "");
}

Test(plot, a_run_of_one_state_is_one_band)
{
        static const char *const name[] = {NULL, "up", "down"};
        const uint8_t state[] = {0, 1, 1, 2, 0, 1};
        plot_bands(out, state, 6, name);
        cr_expect_str_eq(html_taken(out), "<rect class=\"up\" x=\"1\" width=\"2\" height=\"100\"/>"
                                          "<rect class=\"down\" x=\"3\" width=\"1\" height=\"100\"/>"
                                          "<rect class=\"up\" x=\"5\" width=\"1\" height=\"100\"/>");
        plot_bands(out, state, 0, name);
        cr_expect_str_eq(html_taken(out), "");
}
