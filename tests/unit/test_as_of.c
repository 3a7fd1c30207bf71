/* test_as_of.c -- cluster.c: since when a replica has all that the primary had, as far as anybody has heard. */
#include "tests/unit/cluster_play.h"

#include "daemon/record.h"

static struct play p;

static void two_up(void)
{
        play_init(&p, 2);
        play_up(&p);
}

TestSuite(as_of, .init = two_up);

static int64_t as_of(unsigned slot) { return play_record(&p).as_of_ms[slot]; }
static int64_t behind(unsigned slot) { return p.now.ms - as_of(slot); }

Test(as_of, of_a_replica_that_keeps_up_it_is_never_older_than_two_checks)
{
        for (unsigned i = 0; i < 500; i++) {
                p.server[0].position += 10;
                p.server[1].position = p.server[0].position;
                play_step(&p);
                cr_assert(behind(1) >= 0 && behind(1) <= 2 * p.conf.check_interval_ms, "%ld ms",
                          (long)behind(1));
                cr_assert_leq(as_of(2), as_of(1));
        }
        cr_expect_geq(behind(2), 4000, "it has stood still");
        cr_expect_eq(as_of(0), 0, "a primary is never behind itself");
}

Test(as_of, a_primary_that_writes_nothing_makes_no_replica_look_old)
{
        play_for(&p, 5000);
        for (unsigned i = 0; i < 100; i++, play_step(&p))
                cr_assert_leq(behind(1), p.conf.check_interval_ms + STEP_MS);
}

Test(as_of, it_is_the_time_of_the_question_whose_answer_the_replica_has_replayed)
{
        p.server[0].manner = SILENT;
        while (!p.number[0])
                play_step(&p);
        int64_t asked = p.now.ms;
        play_for(&p, 200);
        p.server[0].position += 10;
        play_tell(&p, 0);
        p.server[1].position = p.server[0].position;
        play_one_check(&p, 1);
        cr_expect_eq(as_of(1), asked);
        play_one_check(&p, 2);
        cr_expect_lt(as_of(2), asked);
}

Test(as_of, it_grows_old_by_itself_when_the_primary_or_the_replica_is_silent)
{
        p.server[0].manner = REFUSES;
        int64_t then = as_of(1);
        play_for(&p, 3000);
        cr_expect_eq(as_of(1), then, "who knows what a primary has written that does not say so");
        cr_expect(play_scheduled(&p, 1));
}

Test(as_of, it_ends_with_the_connection_the_check_the_prober_and_a_stall)
{
        struct prober_result broken = {.kind = PROBER_BROKEN, .node = 1, .text = "closed"};
        cr_assert(as_of(1) && as_of(2));
        cluster_result(&p.c, 1, &broken, p.now);
        cr_expect(p.c.dirty);
        cr_expect(as_of(1) == 0 && as_of(2) != 0);
        play_one_check(&p, 1);
        cr_assert(as_of(1));
        p.server[1].manner = REFUSES;
        play_one_check(&p, 1);
        cr_expect_eq(as_of(1), 0);
        p.server[1].manner = ANSWERS;
        play_one_check(&p, 1);
        cr_assert(as_of(1));
        cluster_lost_prober(&p.c, p.now);
        cr_expect(as_of(1) == 0 && as_of(2) == 0);
        play_for(&p, 1000);
        cr_assert(as_of(1) && as_of(2));
        cluster_stood_still(&p.c, p.now, "test");
        cr_expect(as_of(1) == 0 && as_of(2) == 0);
}

Test(as_of, after_a_sleep_of_the_machine_no_earlier_sample_tells_the_time)
{
        cluster_slept(&p.c);
        cluster_stood_still(&p.c, p.now, "test");
        p.server[0].manner = SILENT;
        p.server[0].position += 1000000;
        play_for(&p, 3000);
        cr_expect_eq(as_of(1), 0, "an hour may have passed since the sample that it has replayed");
        p.server[0].manner = ANSWERS;
        p.server[1].position = p.server[0].position;
        play_for(&p, 3000);
        cr_expect(as_of(1) > p.now.ms - 2000);
}

Test(as_of, after_a_sleep_a_replica_that_was_good_stays_in_the_schedule_until_its_lag_is_known)
{
        cluster_slept(&p.c);
        cluster_stood_still(&p.c, p.now, "test");
        p.server[0].position += 1000000; /* which the replicas do not have for a while */
        for (unsigned i = 0; i < 40; i++) {
                play_for(&p, 50);
                cr_expect(play_scheduled(&p, 1));
        }
}

Test(as_of, an_answer_on_a_new_connection_says_nothing_of_the_one_before)
{
        p.server[1].reconnected = true;
        p.server[1].timeline = 0; /* not streaming yet */
        play_one_check(&p, 1);
        cr_expect_eq(as_of(1), 0);
        p.server[1].reconnected = false;
        p.server[1].position -= 500;
        p.server[1].timeline = 1;
        play_one_check(&p, 1);
        cr_expect_eq(as_of(1), 0, "behind every sample");
}

Test(as_of, a_position_whose_timeline_is_unknown_says_nothing_new)
{
        int64_t then = as_of(1);
        p.server[0].position += 10;
        p.server[1].position = p.server[0].position;
        p.server[1].timeline = 0;
        play_for(&p, 600);
        cr_expect(as_of(1) >= then && as_of(1) < p.now.ms - 500);
        p.server[1].timeline = 1;
        play_one_check(&p, 1);
        cr_expect_leq(behind(1), 500);
}

Test(as_of, another_history_begins_with_nothing_known)
{
        p.server[0].timeline = 2;
        play_one_check(&p, 0);
        cr_expect(as_of(1) == 0 && as_of(2) == 0);
        p.server[1].timeline = 2;
        play_for(&p, 1000);
        cr_expect(as_of(1) != 0 && as_of(2) == 0);
        p.server[1].system = 1;
        play_one_check(&p, 1);
        cr_expect_eq(as_of(1), 0);
}

/* A rival leads a timeline of the same name: whose the replicas' positions are of nobody knows. */
Test(as_of, where_two_lead_one_timeline_nothing_is_known_of_anybody)
{
        cr_assert(as_of(1));
        p.server[2].in_recovery = false;
        play_one_check(&p, 2);
        cr_expect_eq(as_of(1), 0);
        play_for(&p, 1000);
        cr_expect_eq(as_of(1), 0);
}

Test(as_of, it_is_known_without_early_release_and_while_no_pin_waits)
{
        p.conf.early_release = 0;
        cluster_configure(&p.c, &p.conf, p.now);
        play_for(&p, 1000);
        cr_expect(behind(1) <= 600 && play_record(&p).node[1].caught_up == 0);
}

Test(as_of, the_primary_s_answer_alone_asks_for_no_commit)
{
        play_for(&p, 1000);
        play_record(&p);
        uint64_t checks = p.c.node[0].checks;
        p.server[1].manner = p.server[2].manner = SILENT;
        while (p.number[1] == 0 || p.number[2] == 0 || p.c.node[0].checks == checks)
                play_step(&p);
        cr_expect_not(p.c.dirty);
        cr_expect(p.c.older, "it goes with the next heartbeat");
        int64_t asked = p.c.node[0].sent.ms;
        cr_expect(as_of(1) == asked && as_of(2) == asked, "whoever had that much has it now, too");
        cr_expect_not(p.c.older);
}
