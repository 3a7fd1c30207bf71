/* test_ctl_look.c -- rates lie between two looks at one daemon, and between no others. */
#include "client/ctl_look.h"

#include <criterion/criterion.h>
#include <string.h>

#include "ctl_told.h"

static struct ctl_row rows[CTL_LOOK_ROWS];

static struct ctl_look look(int64_t at_ms, const char *epoch, int records, int reads, int lag_ms)
{
        json_t *node = json_pack("{ss ss ss si sf}", "name", "shadow-1", "role", "replica", "state", "UP",
                                 "lag_ms", lag_ms, "share", 50.0);
        return (struct ctl_look){
            .answered = true,
            .at_ns = at_ms * 1000000,
            .status =
                json_pack("{ss s[{ss s[o]}]}", "epoch", epoch, "clusters", "name", "main", "nodes", node),
            .stats = json_pack("{s{si si} s[{ss ss ss si}{ss ss ss si}{ss ss ss si}{ss ss ss si}]}", "stats",
                               "records", records, "holds", 2 * records, "decisions", "cluster", "main",
                               "node", "shadow-1", "reason", "BALANCED", "count", reads, "cluster", "main",
                               "node", "shadow-1", "reason", "WRITE", "count", 3 * reads, "cluster", "other",
                               "node", "shadow-1", "reason", "BALANCED", "count", reads, "cluster", "",
                               "node", "", "reason", "STORE_UNAVAILABLE", "count", 7),
        };
}

static double rate(const struct ctl_look *now, const struct ctl_look *before)
{
        return ctl_look_rate(now, before, (const char *const[]){"records", "holds", NULL});
}

Test(ctl_look, a_rate_is_the_difference_per_second)
{
        struct ctl_look a = look(1000, "e", 10, 100, 0), b = look(1500, "e", 20, 300, 0);
        json_t *lags = json_object();
        cr_expect_float_eq(rate(&b, &a), 60.0, 0.001);
        cr_expect_lt(ctl_look_rate(&b, &a, (const char *const[]){"records", "nonsense", NULL}), 0);
        cr_assert_eq(ctl_look_rows(&b, &a, lags, rows), 1);
        cr_expect_float_eq(rows[0].reads_s, 400.0, 0.001, "its own, and reads only");
        cr_expect_float_eq(ctl_look_decisions(&b, &a), 2000.0, 0.001, "of all, writes included");
        cr_expect_str_eq(rows[0].cluster, "main");
        cr_expect_float_eq(rows[0].share, 50.0, 0.001);
        cr_expect_eq(rows[0].behind_bytes, CTL_LOOK_UNKNOWN);
        json_decref(lags);
        ctl_look_free(&a), ctl_look_free(&b);
}

Test(ctl_look, there_is_none_across_a_restart_a_silence_or_no_time)
{
        struct ctl_look a = look(1000, "e", 10, 100, 0), b = look(1500, "another", 20, 300, 0), none = {0};
        struct ctl_look at_once = look(1000, "e", 20, 300, 0);
        json_t *lags = json_object();
        cr_expect_lt(rate(&b, &a), 0);
        cr_expect_lt(rate(&b, NULL), 0);
        cr_expect_lt(rate(&b, &none), 0);
        cr_expect_lt(rate(&at_once, &a), 0);
        ctl_look_rows(&b, &a, lags, rows);
        cr_expect_lt(rows[0].reads_s, 0);
        cr_expect_eq(ctl_look_rows(&none, &a, lags, rows), 0);
        json_decref(lags);
        ctl_look_free(&a), ctl_look_free(&b), ctl_look_free(&at_once);
}

Test(ctl_look, the_greatest_lag_is_of_the_last_sixty_looks)
{
        json_t *lags = json_object();
        for (int i = 0; i <= CTL_LOOK_LAGS; i++) {
                struct ctl_look a = look(1000 * i, "e", 0, 0, i == 0 ? 9000 : i == 30 ? 70 : 5);
                ctl_look_remember(&a, lags);
                cr_assert_eq(ctl_look_rows(&a, NULL, lags, rows), 1);
                cr_expect_eq(rows[0].lag_most_ms, i < CTL_LOOK_LAGS ? 9000 : 70, "look %d", i);
                ctl_look_free(&a);
        }
        json_decref(lags);
}

Test(ctl_look, who_does_not_answer_is_told_quietly)
{
        struct ctl ctl = {.dir = "/nonexistent"};
        struct ctl_look a;
        ctl_look_take(&a, &ctl, 100);
        cr_expect_not(a.answered);
        cr_expect(strstr(a.why, "/nonexistent/ctl.sock: No such file or directory; start pinrouted"), "%s",
                  a.why);
        cr_expect_str_empty(told);
        ctl_look_free(&a);
}
