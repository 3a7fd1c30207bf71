/* test_measure.c -- what is told of a node in numbers. */
#include "tests/unit/cluster_play.h"

#include "daemon/measure.h"

static struct cluster c;
static uint64_t value;

static void begin(void)
{
        c = (struct cluster){.primary = 0, .timeline = 1, .n_schedule = 3, .schedule = {1, 2, 1}};
        c.node[1].facts = (struct node_facts){.known = true, .timeline = 1, .lag_ms = 250, .position = {400}};
        marks_put(&c.samples, 1, (struct lsn){1000});
}

TestSuite(measure, .init = begin);

Test(measure, a_node_has_the_places_of_the_schedule_that_name_it)
{
        cr_expect_eq(measure_places(&c, 1), 2);
        cr_expect_eq(measure_places(&c, 2), 1);
        cr_expect_eq(measure_places(&c, 0), 0);
}

Test(measure, the_primary_has_no_lag_and_a_replica_may_have_an_unknown_one)
{
        cr_expect(measure_lag(&c, 1, &value));
        cr_expect_eq(value, 250);
        cr_expect_not(measure_lag(&c, 0, &value));
        c.node[1].facts.lag_ms = LAG_UNKNOWN;
        cr_expect_not(measure_lag(&c, 1, &value));
}

Test(measure, bytes_behind_are_told_on_one_history_only)
{
        cr_expect(measure_behind(&c, 1, &value));
        cr_expect_eq(value, 600);
        c.node[1].facts.position.bytes = 1001;
        cr_expect(measure_behind(&c, 1, &value));
        cr_expect_eq(value, 0, "what is ahead of the newest sample is not behind it");
        c.node[1].facts.timeline = 2;
        cr_expect_not(measure_behind(&c, 1, &value));
        c.timeline = c.node[1].facts.timeline = 0;
        cr_expect_not(measure_behind(&c, 1, &value));
        begin();
        c.node[1].facts.position.bytes = 0;
        cr_expect_not(measure_behind(&c, 1, &value));
        begin();
        c.node[1].facts.known = false;
        cr_expect_not(measure_behind(&c, 1, &value));
        begin();
        marks_clear(&c.samples);
        cr_expect_not(measure_behind(&c, 1, &value));
}
