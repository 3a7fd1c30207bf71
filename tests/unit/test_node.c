/* test_node.c -- windows, states, lag, and each reason why a replica is not one. */
#include <criterion/criterion.h>
#include <string.h>

#include "daemon/node.h"

static struct node_window window(const char *checks) /* oldest first, '+' is good */
{
        struct node_window w = {0};
        for (; *checks; checks++)
                window_push(&w, *checks == '+');
        return w;
}

static enum node_state after(enum node_state was, const char *checks, unsigned fall, unsigned rise)
{
        struct node_window w = window(checks);
        return node_next_state(was, &w, fall, rise);
}

Test(node, a_state_changes_at_fall_or_rise_in_a_row_and_not_one_check_earlier)
{
        const struct {
                enum node_state was;
                const char *checks;
                unsigned fall, rise;
                enum node_state is;
        } t[] = {
            {NODE_UP, "", 2, 3, NODE_UP},
            {NODE_UP, "-", 2, 3, NODE_UP},
            {NODE_UP, "--", 2, 3, NODE_DOWN},
            {NODE_UP, "-+-", 2, 3, NODE_UP},
            {NODE_UP, "+++--", 2, 3, NODE_DOWN},
            {NODE_UP, "-", 1, 1, NODE_DOWN},
            {NODE_DOWN, "", 2, 3, NODE_DOWN},
            {NODE_DOWN, "++", 2, 3, NODE_DOWN},
            {NODE_DOWN, "+++", 2, 3, NODE_UP},
            {NODE_DOWN, "++-+", 2, 3, NODE_DOWN},
            {NODE_DOWN, "+", 1, 1, NODE_UP},
            {NODE_UNKNOWN, "", 2, 3, NODE_UNKNOWN},
            {NODE_UNKNOWN, "-", 2, 3, NODE_UNKNOWN},
            {NODE_UNKNOWN, "--", 2, 3, NODE_DOWN},
            {NODE_UNKNOWN, "++", 2, 3, NODE_UNKNOWN},
            {NODE_UNKNOWN, "+++", 2, 3, NODE_UP},
            {NODE_UNKNOWN, "+-+-", 2, 2, NODE_UNKNOWN},
        };
        for (unsigned i = 0; i < sizeof t / sizeof *t; i++)
                cr_expect_eq(after(t[i].was, t[i].checks, t[i].fall, t[i].rise), t[i].is, "%s %s",
                             node_state_name(t[i].was), t[i].checks);
}

Test(node, a_window_knows_its_last_64_checks_and_nothing_that_never_was)
{
        struct node_window w = {0};
        for (unsigned i = 1; i <= 70; i++) {
                window_push(&w, true);
                for (unsigned last = 1; last <= 64; last++)
                        cr_assert_eq(window_all(&w, last, true), last <= i, "%u of %u", last, i);
                cr_assert_not(window_all(&w, 1, false));
        }
        window_push(&w, false);
        cr_expect_not(window_all(&w, 64, true));
        cr_expect(window_all(&w, 1, false));
        cr_expect_not(window_all(&w, 2, false));
}

/* ---- lag ---- */

static struct marks samples; /* of the primary: 1000 bytes at 5000 ms, 2000 at 6000, 3000 at 7000 */

static void sample(void)
{
        marks_clear(&samples);
        for (uint64_t i = 1; i <= 3; i++)
                marks_put(&samples, 4000 + i * 1000, (struct lsn){i * 1000});
}

static int64_t lag(uint64_t bytes, int64_t now_ms)
{
        return node_lag(&samples, (struct lsn){bytes}, (struct mono){now_ms});
}

Test(node, lag_is_the_age_of_the_newest_sample_that_a_replica_has_replayed, .init = sample)
{
        cr_expect_eq(lag(1000, 7500), 2500);
        cr_expect_eq(lag(1999, 7500), 2500);
        cr_expect_eq(lag(2000, 7500), 1500);
        cr_expect_eq(lag(2999, 9000), 3000, "it grows while the replica stands still");
        cr_expect_eq(lag(3000, 7500), 0);
        cr_expect_eq(lag(3000, 99999), 0, "on an idle primary it does not grow");
        cr_expect_eq(lag(9000, 7500), 0, "ahead of the newest sample");
}

Test(node, unknown_lag_is_never_a_number, .init = sample)
{
        cr_expect_eq(lag(0, 7500), LAG_UNKNOWN);
        cr_expect_eq(lag(999, 7500), LAG_UNKNOWN, "behind everything that is known of the primary");
        marks_clear(&samples);
        cr_expect_eq(lag(9000, 7500), LAG_UNKNOWN, "nothing is known of the primary");
        marks_put(&samples, 5000, (struct lsn){0});
        cr_expect_eq(lag(0, 7500), LAG_UNKNOWN, "position 0 is none");
}

/* ---- verdicts ---- */

static char why[NODE_WHY_MAX];

static struct node_facts good_facts(void)
{
        return (struct node_facts){.known = true,
                                   .in_recovery = true,
                                   .system_identifier = 77,
                                   .timeline = 4,
                                   .last_timeline = 4,
                                   .position = {2000}};
}

static struct node_standard standard(void)
{
        sample();
        return (struct node_standard){.system_identifier = 77,
                                      .timeline = 4,
                                      .primary_answers = true,
                                      .samples = &samples,
                                      .limit_ms = 10000};
}

static enum node_verdict judge(struct node_facts facts, struct node_standard by, int64_t now_ms,
                               int64_t want_lag)
{
        facts.lag_ms = 0;
        strcpy(why, "stale");
        enum node_verdict v = node_judge_replica(&facts, &by, (struct mono){now_ms}, why);
        cr_expect_eq(facts.lag_ms, want_lag, "lag %ld", (long)facts.lag_ms);
        return v;
}

static void expect_why(const char *part) { cr_expect(strstr(why, part), "'%s' says '%s'", why, part); }

Test(node, lag_up_to_the_limit_is_good_and_one_ms_more_is_not)
{
        struct node_facts f = good_facts(); /* has replayed the sample of 6000 ms */
        struct node_standard by = standard();
        cr_expect_eq(judge(f, by, 15999, 9999), NODE_GOOD);
        cr_expect_eq(judge(f, by, 16000, 10000), NODE_GOOD);
        cr_expect_str_empty(why);
        cr_expect_eq(judge(f, by, 16001, 10001), NODE_BAD);
        expect_why("lag 10001 ms, limit 10000 ms");
}

Test(node, unknown_lag_is_bad_and_says_why)
{
        struct node_facts f = good_facts();
        struct node_standard by = standard();
        f.position.bytes = 0;
        cr_expect_eq(judge(f, by, 7000, LAG_UNKNOWN), NODE_BAD);
        f.position.bytes = 999;
        cr_expect_eq(judge(f, by, 7000, LAG_UNKNOWN), NODE_BAD);
        expect_why("behind every known position");
        f = good_facts();
        marks_clear(&samples);
        cr_expect_eq(judge(f, by, 7000, LAG_UNKNOWN), NODE_BAD);
        expect_why("the primary has not answered yet");
}

Test(node, a_replica_that_is_not_in_recovery_is_wrong_whatever_else_it_says)
{
        struct node_facts f = good_facts();
        f.in_recovery = false;
        cr_expect_eq(judge(f, standard(), 7000, LAG_UNKNOWN), NODE_WRONG);
        expect_why("not in recovery");
}

Test(node, another_system_is_wrong)
{
        struct node_facts f = good_facts();
        struct node_standard by = standard();
        f.system_identifier = 78;
        cr_expect_eq(judge(f, by, 7000, LAG_UNKNOWN), NODE_WRONG);
        expect_why("another system");
        f.system_identifier = 0;
        cr_expect_eq(judge(f, by, 7000, LAG_UNKNOWN), NODE_WRONG, "none is another");
        by.system_identifier = 0;
        by.timeline = 0;
        marks_clear(&samples);
        f.system_identifier = 78;
        cr_expect_eq(judge(f, by, 7000, LAG_UNKNOWN), NODE_BAD,
                     "before the primary was heard nobody is wrong, nor good");
}

Test(node, another_timeline_is_wrong_older_or_newer)
{
        struct node_facts f = good_facts();
        for (uint32_t timeline = 3; timeline <= 5; timeline++) {
                f.timeline = f.last_timeline = timeline;
                cr_expect_eq(judge(f, standard(), 7000, timeline == 4 ? 1000 : LAG_UNKNOWN),
                             timeline == 4 ? NODE_GOOD : NODE_WRONG, "timeline %u", timeline);
        }
        expect_why("on timeline 5, the primary is on 4");
}

Test(node, a_replica_that_does_not_stream_is_bad_while_the_primary_answers)
{
        struct node_facts f = good_facts();
        struct node_standard by = standard();
        f.timeline = 0;
        f.last_timeline = 4;
        strcpy(f.hint, "WAL receiver is not streaming");
        cr_expect_eq(judge(f, by, 7000, LAG_UNKNOWN), NODE_BAD, "a cut-off replica's position says nothing");
        expect_why("lag unknown: WAL receiver is not streaming");
        f.hint[0] = '\0';
        judge(f, by, 7000, LAG_UNKNOWN);
        expect_why("lag unknown: timeline unknown");
}

Test(node, while_the_primary_is_silent_what_a_replica_told_last_on_this_connection_stands)
{
        struct node_facts f = good_facts();
        struct node_standard by = standard();
        by.primary_answers = false;
        f.timeline = 0;
        cr_expect_eq(judge(f, by, 7000, 1000), NODE_GOOD);
        f.last_timeline = 0;
        cr_expect_eq(judge(f, by, 7000, LAG_UNKNOWN), NODE_BAD, "it has told none since it was connected");
        f.last_timeline = 5;
        cr_expect_eq(judge(f, by, 7000, LAG_UNKNOWN), NODE_WRONG);
}

Test(node, a_dead_primary_does_not_make_its_replicas_lag_any_further)
{
        struct node_facts f = good_facts(); /* has replayed the sample of 6000 ms, not that of 7000 */
        struct node_standard by = standard();
        by.primary_answers = false;
        cr_expect_eq(judge(f, by, 99000, 1000), NODE_GOOD, "its reads without a key go on");
        by.limit_ms = 999;
        cr_expect_eq(judge(f, by, 99000, 1000), NODE_BAD, "but who lagged when it died lags");
        f.position = (struct lsn){999};
        cr_expect_eq(judge(f, by, 99000, LAG_UNKNOWN), NODE_BAD);
}

Test(node, a_primary_is_judged_by_recovery_alone)
{
        struct node_facts f = {.known = true, .lag_ms = LAG_UNKNOWN};
        cr_expect_eq(node_judge_primary(&f, why), NODE_GOOD);
        cr_expect_str_empty(why);
        f.in_recovery = true;
        cr_expect_eq(node_judge_primary(&f, why), NODE_WRONG);
        expect_why("in recovery");
}

Test(node, every_state_and_every_word_of_an_operator_has_a_name)
{
        cr_expect_str_eq(node_state_name(NODE_UNKNOWN), "UNKNOWN");
        cr_expect_str_eq(node_state_name(NODE_UP), "UP");
        cr_expect_str_eq(node_state_name(NODE_DOWN), "DOWN");
        cr_expect_str_eq(node_admin_name(NODE_READY), "ready");
        cr_expect_str_eq(node_admin_name(NODE_DRAIN), "drain");
        cr_expect_str_eq(node_admin_name(NODE_MAINT), "maint");
}
