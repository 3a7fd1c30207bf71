/* test_cluster.c -- one cluster's life, played: health, generations, promotion, reload, an operator's words.
 */
#include "tests/unit/cluster_play.h"

static struct play p;

static void two_up(void)
{
        play_init(&p, 2);
        play_up(&p);
}

static enum node_state state(unsigned slot) { return p.c.node[slot].state; }

/* ---- health ---- */

Test(cluster, a_node_comes_up_after_rise_good_checks_and_soon_after_the_start)
{
        play_init(&p, 2);
        cr_expect_eq(p.c.n_schedule, 0);
        for (unsigned i = 1; i <= 2; i++) {
                play_one_check(&p, 1);
                cr_expect_eq(state(1), NODE_UNKNOWN, "after check %u", i);
        }
        play_one_check(&p, 1);
        cr_expect_eq(state(1), NODE_UP);
        cr_expect_leq(mono_since(p.now, (struct mono){1000000}), 250);
        cr_expect(play_scheduled(&p, 1));
        cr_expect_not(play_scheduled(&p, 0), "the primary is in no schedule");
}

Test(cluster, a_node_leaves_after_fall_bad_checks_and_returns_after_rise_good_ones, .init = two_up)
{
        p.server[1].manner = REFUSES;
        play_one_check(&p, 1);
        cr_expect(play_scheduled(&p, 1), "one bad check is not two");
        play_one_check(&p, 1);
        cr_expect_not(play_scheduled(&p, 1));
        cr_expect(play_scheduled(&p, 2), "the other goes on");
        p.server[1].manner = ANSWERS;
        play_one_check(&p, 1);
        play_one_check(&p, 1);
        cr_expect_not(play_scheduled(&p, 1));
        p.server[1].manner = REFUSES;
        play_one_check(&p, 1);
        p.server[1].manner = ANSWERS;
        for (unsigned i = 1; i <= 3; i++) {
                cr_expect_not(play_scheduled(&p, 1), "rise begins anew after a bad one");
                play_one_check(&p, 1);
        }
        cr_expect(play_scheduled(&p, 1));
}

Test(cluster, a_bad_node_is_out_in_time_whether_it_refuses_or_is_silent, .init = two_up)
{
        for (enum manner m = REFUSES; m <= SILENT; m++) {
                int64_t since = p.now.ms;
                cluster_pin(&p.c, p.now, 15000); /* with fences in between or without */
                p.server[m].manner = m;
                while (state(m) == NODE_UP && p.now.ms < since + 10000)
                        play_step(&p);
                int64_t grace = m == SILENT ? 2 * 250 : 0; /* the prober itself keeps the 400 ms */
                cr_expect_leq(p.now.ms - since, 2 * (500 + 400) + 200 + grace, "manner %u: %ld ms", m,
                              (long)(p.now.ms - since));
        }
}

Test(cluster, the_other_checks_keep_their_rhythm_beside_a_silent_node, .init = two_up)
{
        p.server[1].manner = SILENT;
        unsigned before = p.asks[2];
        play_for(&p, 10000);
        cr_expect_eq(p.asks[2] - before, 20);
}

/* Plays `n` checks of replica 1, each with this lag. */
static void checks_at_lag(int64_t lag_ms, unsigned n)
{
        uint64_t until = p.c.node[1].checks + n;
        while (p.c.node[1].checks < until) {
                play_lag(&p, 1, lag_ms);
                p.server[0].manner = SILENT; /* no sample but ours */
                p.c.node[0].asked = 0;
                play_step(&p);
                if (p.c.node[1].checks == until)
                        cr_assert_eq(p.c.node[1].facts.lag_ms, lag_ms);
        }
}

Test(cluster, lag_at_max_lag_stays_and_one_ms_more_leaves, .init = two_up)
{
        p.c.node[1].conf.max_lag_ms = p.c.conf.max_lag_ms = 2000;
        checks_at_lag(1999, 5);
        cr_expect(play_scheduled(&p, 1));
        checks_at_lag(2000, 5);
        cr_expect(play_scheduled(&p, 1));
        checks_at_lag(2001, 1);
        cr_expect(play_scheduled(&p, 1));
        checks_at_lag(2001, 1);
        cr_expect_not(play_scheduled(&p, 1));
        cr_expect_str_eq(p.c.node[1].why, "lag 2001 ms, limit 2000 ms");
}

Test(cluster, a_lagging_node_returns_at_lag_resume_and_not_one_ms_above, .init = two_up)
{
        p.c.node[1].conf.max_lag_ms = p.c.conf.max_lag_ms = 2000;
        p.c.conf.lag_resume_ms = 500;
        checks_at_lag(1999, 5);
        cr_expect(play_scheduled(&p, 1), "while it is up, lag_resume says nothing");
        checks_at_lag(2001, 2);
        checks_at_lag(501, 10);
        cr_expect_not(play_scheduled(&p, 1));
        checks_at_lag(500, 2);
        cr_expect_not(play_scheduled(&p, 1));
        checks_at_lag(500, 1);
        cr_expect(play_scheduled(&p, 1));
}

Test(cluster, a_node_s_own_max_lag_below_lag_resume_is_what_it_must_come_down_to, .init = two_up)
{
        p.c.node[1].conf.max_lag_ms = 300;
        checks_at_lag(301, 2);
        cr_expect_not(play_scheduled(&p, 1));
        checks_at_lag(301, 5);
        cr_expect_not(play_scheduled(&p, 1));
        checks_at_lag(300, 3);
        cr_expect(play_scheduled(&p, 1));
}

Test(cluster, unknown_lag_never_counts_as_zero)
{
        play_init(&p, 2);
        p.server[0].manner = REFUSES;
        play_for(&p, 5000);
        cr_expect_eq(p.c.n_schedule, 0, "a primary that was never heard tells nobody's lag");
        cr_expect_eq(p.c.node[1].facts.lag_ms, LAG_UNKNOWN);
        p.server[0].manner = ANSWERS;
        p.server[2].position = 0;
        play_for(&p, 3000);
        cr_expect(play_scheduled(&p, 1));
        cr_expect_not(play_scheduled(&p, 2));
        p.server[1].position = 0;
        play_one_check(&p, 1);
        play_one_check(&p, 1);
        cr_expect_not(play_scheduled(&p, 1));
        cr_expect_eq(p.c.node[1].facts.lag_ms, LAG_UNKNOWN);
}

Test(cluster, the_primary_is_never_ejected_by_lag_and_its_death_ejects_no_replica, .init = two_up)
{
        for (unsigned i = 0; i < 60; i++) { /* its own position stands still, or falls back */
                p.server[0].position = 1000 - i;
                play_for(&p, 500);
                cr_assert_eq(state(0), NODE_UP);
        }
        p.server[0].manner = REFUSES;
        play_for(&p, 60000);
        cr_expect_eq(state(0), NODE_DOWN);
        cr_expect(play_scheduled(&p, 1) && play_scheduled(&p, 2));
        cr_expect_eq(play_record(&p).primary, 0, "without follow_promotion it stays the primary");
}

Test(cluster, an_idle_primary_ejects_nobody, .init = two_up)
{
        play_for(&p, 60000);
        cr_expect_eq(p.c.node[1].facts.lag_ms, 0);
        cr_expect(play_scheduled(&p, 1) && play_scheduled(&p, 2));
}

/* What waiting cannot mend: out at once, by whatever check tells it, and never caught up. */
static void expect_wrong(void (*spoil)(struct server *s))
{
        uint64_t g = play_write(&p);
        p.server[1].position = p.server[0].position;
        play_for(&p, 300);
        cr_assert(play_released(&p, 1, g));
        spoil(&p.server[1]);
        p.server[1].position += 100000;
        play_one_check(&p, 1);
        cr_expect_not(play_scheduled(&p, 1));
        cr_expect_eq(play_record(&p).node[1].caught_up, 0);
        for (unsigned i = 0; i < 300; i++) {
                play_step(&p);
                cr_assert_not(play_scheduled(&p, 1));
                cr_assert_eq(play_record(&p).node[1].caught_up, 0);
        }
        cr_expect(play_scheduled(&p, 2));
}

static void another_system(struct server *s) { s->system++; }
static void a_newer_timeline(struct server *s) { s->timeline++; }
static void no_recovery(struct server *s) { s->in_recovery = false; }

Test(cluster, a_replica_of_another_system_leaves_at_once, .init = two_up) { expect_wrong(another_system); }
Test(cluster, a_replica_on_another_timeline_leaves_at_once, .init = two_up)
{
        expect_wrong(a_newer_timeline);
}
Test(cluster, a_replica_out_of_recovery_leaves_at_once, .init = two_up) { expect_wrong(no_recovery); }

Test(cluster, a_replica_whose_receiver_does_not_stream_is_not_caught_up_and_leaves_after_fall, .init = two_up)
{
        uint64_t g = play_write(&p);
        p.server[1].position = p.server[0].position;
        play_for(&p, 300);
        cr_assert(play_released(&p, 1, g));
        p.server[1].timeline = 0;
        play_one_check(&p, 1);
        cr_expect_not(play_released(&p, 1, g), "at the first such answer");
        play_for(&p, 1100);
        cr_expect_not(play_scheduled(&p, 1));
}

Test(cluster, while_the_primary_is_silent_replicas_need_not_stream_to_stay_but_release_nobody, .init = two_up)
{
        uint64_t g = play_write(&p);
        p.server[1].position = p.server[2].position = p.server[0].position;
        p.server[0].manner = SILENT;
        play_for(&p, 400);
        p.server[1].timeline = p.server[2].timeline = 0;
        play_for(&p, 5000);
        cr_expect(play_scheduled(&p, 1) && play_scheduled(&p, 2));
        cr_expect_not(play_released(&p, 1, g) || play_released(&p, 2, g));
        p.server[1].reconnected = true; /* what it told on an older connection does not stand */
        play_for(&p, 1100);
        cr_expect_not(play_scheduled(&p, 1));
        cr_expect(play_scheduled(&p, 2));
}

/* ---- generations ---- */

Test(cluster, a_pin_ends_on_a_replica_that_has_the_write_and_not_on_one_that_lacks_it, .init = two_up)
{
        uint64_t g = play_write(&p);
        p.server[1].position = p.server[0].position;
        cr_expect_not(play_released(&p, 1, g));
        play_for(&p, 200);
        cr_expect(play_released(&p, 1, g));
        cr_expect_not(play_released(&p, 2, g));
        p.server[2].position = p.server[0].position - 1;
        play_for(&p, 500);
        cr_expect_not(play_released(&p, 2, g), "one byte is missing");
        p.server[2].position++;
        play_for(&p, 110);
        cr_expect(play_released(&p, 2, g));
}

Test(cluster, with_no_live_pin_nothing_is_fenced, .init = two_up)
{
        unsigned before = p.asks[0];
        play_for(&p, 10000);
        cr_expect_eq(p.asks[0] - before, 20, "health checks only: %u", p.asks[0] - before);
        cr_expect_eq(p.c.fences, 0);
        play_write(&p);
        play_for(&p, 16000);
        cr_expect_eq(p.c.fences, 1, "one question serves all writes before it");
        unsigned asks = p.asks[1];
        play_for(&p, 10000);
        cr_expect_eq(p.asks[1] - asks, 20, "the pin is over: %u", p.asks[1] - asks);
}

static uint64_t pinned;

static void expect_closed(struct play *play, unsigned slot)
{
        if (slot == play->c.primary && pinned)
                cr_assert_gt(play->c.fence.open, pinned, "asked while the pin's generation was open");
}

Test(cluster, a_generation_is_closed_before_the_question_is_sent, .init = two_up)
{
        p.on_ask = expect_closed;
        for (unsigned i = 0; i < 50; i++) {
                pinned = play_write(&p);
                play_for(&p, 70);
        }
        cr_expect_gt(p.c.fences, 20);
}

/* Steps until a question that fences is on its way to the primary, which does not answer yet. */
static void question_in_flight(void)
{
        p.server[0].manner = SILENT;
        for (unsigned i = 0; !p.c.fence.asked; i++) {
                cr_assert_lt(i, 100);
                play_step(&p);
        }
        cr_assert(p.number[0]);
}

Test(cluster, a_record_between_question_and_answer_is_not_released_by_that_answer, .init = two_up)
{
        uint64_t first = play_write(&p);
        question_in_flight();
        uint64_t between = play_write(&p);
        cr_expect_gt(between, first);
        play_tell(&p, 0);
        p.server[1].position = p.server[0].position;
        play_for(&p, 150);
        cr_expect(play_released(&p, 1, first));
        cr_expect_not(play_released(&p, 1, between));
        p.server[0].manner = ANSWERS;
        play_for(&p, 250);
        cr_expect(play_released(&p, 1, between));
}

Test(cluster, an_answer_of_another_timeline_fences_nothing_that_was_asked_before, .init = two_up)
{
        uint64_t g = play_write(&p);
        question_in_flight();
        p.server[0].timeline = 2;
        p.server[0].position = 500; /* behind the replicas that had followed timeline 1 */
        play_tell(&p, 0);
        cr_expect_eq(p.c.fence.fenced, 0);
        cr_expect_not(play_released(&p, 1, g) || play_released(&p, 2, g));
        p.server[1].timeline = 2;
        play_for(&p, 150);
        cr_expect_not(play_released(&p, 1, g), "the new history has not been asked yet");
        p.server[0].manner = ANSWERS;
        play_for(&p, 2500);
        cr_expect(play_released(&p, 1, g));
        cr_expect_not(play_released(&p, 2, g), "on timeline 1 still, however far");
}

Test(cluster, a_new_primary_takes_no_answer_of_the_old_one, .init = two_up)
{
        uint64_t g = play_write(&p);
        p.server[1].position = p.server[2].position = p.server[0].position;
        play_for(&p, 200);
        cr_assert(play_released(&p, 2, g));
        uint64_t second = play_write(&p);
        question_in_flight();
        p.conf.node[0].is_primary = false;
        p.conf.node[1].is_primary = true;
        p.server[1].manner = SILENT;
        cluster_configure(&p.c, &p.conf, p.now);
        cr_expect_eq(play_record(&p).primary, 1);
        cr_expect_not(play_released(&p, 2, g), "fenced on the old primary");
        p.server[2].position += 1000;
        play_tell(&p, 0);
        play_for(&p, 200);
        cr_expect_not(play_released(&p, 2, g) || play_released(&p, 2, second),
                      "not before the new one is sampled");
        p.server[1] = (struct server){.system = PLAY_SYSTEM, .position = 5000, .timeline = 2};
        p.server[2].timeline = 2;
        p.server[2].position = 5000;
        play_for(&p, 3000);
        cr_expect(play_released(&p, 2, g) && play_released(&p, 2, second));
}

Test(cluster, another_server_under_the_primary_s_name_takes_no_answer_of_the_old_one, .init = two_up)
{
        uint64_t g = play_write(&p);
        p.server[1].position = p.server[2].position = p.server[0].position;
        play_for(&p, 200);
        cr_assert(play_released(&p, 2, g));
        uint64_t second = play_write(&p);
        question_in_flight();
        strcpy(p.conf.node[0].conninfo, "host=elsewhere");
        cluster_configure(&p.c, &p.conf, p.now);
        cr_expect_not(play_released(&p, 2, g), "fenced on the old primary");
        play_tell(&p, 0); /* its number is void */
        p.server[2].position += 1000;
        play_for(&p, 200);
        cr_expect_not(play_released(&p, 2, g) || play_released(&p, 2, second));
        p.server[0].manner = ANSWERS;
        play_for(&p, 3000);
        cr_expect(play_released(&p, 2, second));
}

Test(cluster, after_a_stall_nothing_is_known_and_no_earlier_answer_counts, .init = two_up)
{
        uint64_t g = play_write(&p);
        p.server[1].position = p.server[0].position;
        play_for(&p, 200);
        cr_assert(play_released(&p, 1, g));
        uint64_t second = play_write(&p);
        question_in_flight();
        uint64_t open = p.c.fence.open;
        p.now.ms += 5000;
        p.server[1].manner = p.server[2].manner = SILENT;
        cluster_stood_still(&p.c, p.now, "test");
        struct pnr_cluster r = play_record(&p);
        cr_expect_eq(r.node[1].caught_up, 0);
        cr_expect_gt(r.open_generation, open);
        cr_expect_eq(r.floor_generation, r.open_generation);
        cr_expect_eq(r.floor_until_ms, p.now.ms + 300000);
        cr_expect(play_scheduled(&p, 1), "reads without a key go on");
        play_tell(&p, 0);
        cr_expect_eq(p.c.fence.fenced, g, "the late answer is nobody's");
        for (unsigned i = 0; i < 3; i++)
                p.server[i].manner = ANSWERS;
        play_for(&p, 250);
        cr_expect_not(play_released(&p, 1, second));
        p.server[1].position = p.server[0].position;
        play_for(&p, 250);
        cr_expect(play_released(&p, 1, r.floor_generation), "the floor, too, is over once caught up with");
}

Test(cluster, early_release_off_releases_nobody_also_when_it_is_switched_off_later, .init = two_up)
{
        uint64_t g = play_write(&p);
        p.server[1].position = p.server[2].position = p.server[0].position;
        play_for(&p, 200);
        cr_assert(play_released(&p, 1, g));
        p.conf.early_release = 0;
        cluster_configure(&p.c, &p.conf, p.now);
        uint64_t fences = p.c.fences, second = play_write(&p);
        for (unsigned i = 0; i < 200; i++) {
                cr_assert_not(play_released(&p, 1, g) || play_released(&p, 1, second));
                play_step(&p);
        }
        cr_expect_eq(p.c.fences, fences);
        cr_expect(play_scheduled(&p, 1));
        p.conf.early_release = 1;
        cluster_configure(&p.c, &p.conf, p.now);
        p.server[1].position = p.server[0].position;
        play_for(&p, 250);
        cr_expect(play_released(&p, 1, second));
}

/* ---- caught up ---- */

static uint64_t caught_up_once(void)
{
        uint64_t g = play_write(&p);
        p.server[1].position = p.server[2].position = p.server[0].position;
        play_for(&p, 300);
        cr_assert(play_released(&p, 1, g) && play_released(&p, 2, g));
        return g;
}

Test(cluster, caught_up_is_computed_afresh_from_each_answer, .init = two_up)
{
        uint64_t g = caught_up_once();
        p.server[1].position -= 5; /* restarted behind, and nobody noticed the break */
        play_one_check(&p, 1);
        cr_expect_not(play_released(&p, 1, g));
        cr_expect(play_released(&p, 2, g));
}

Test(cluster, caught_up_ends_with_the_connection_the_check_or_the_prober, .init = two_up)
{
        uint64_t g = caught_up_once();
        struct prober_result broken = {.kind = PROBER_BROKEN, .node = 1, .text = "closed"};
        cluster_result(&p.c, 1, &broken, p.now);
        cr_expect_eq(play_record(&p).node[1].caught_up, 0);
        cr_expect(play_released(&p, 2, g), "the other one's stands");
        g = caught_up_once();
        p.server[1].manner = REFUSES;
        play_one_check(&p, 1);
        cr_expect(play_scheduled(&p, 1));
        cr_expect_eq(play_record(&p).node[1].caught_up, 0);
        p.server[1].manner = ANSWERS;
        g = caught_up_once();
        p.server[1].manner = SILENT;
        for (int64_t since = p.now.ms; p.now.ms < since + 350; play_step(&p))
                ;
        cr_expect_not(play_released(&p, 1, g), "its stamp has aged");
        p.server[1].manner = ANSWERS;
        play_tell(&p, 1);
        g = caught_up_once();
        cluster_lost_prober(&p.c, p.now);
        cr_expect_eq(play_record(&p).node[1].caught_up, 0);
        cr_expect_eq(play_record(&p).node[2].caught_up, 0);
        cr_expect(play_scheduled(&p, 1) && play_scheduled(&p, 2), "the prober's death is not the nodes'");
        g = caught_up_once();
        p.server[1].manner = REFUSES;
        play_for(&p, 2000);
        cr_expect_not(play_scheduled(&p, 1));
        cr_expect_eq(play_record(&p).node[1].caught_up, 0);
}

Test(cluster, a_stamp_is_the_time_of_the_question_not_of_the_answer, .init = two_up)
{
        uint64_t g = caught_up_once();
        p.server[1].manner = SILENT;
        while (!p.number[1])
                play_step(&p);
        int64_t asked = p.now.ms;
        play_for(&p, 240);
        play_tell(&p, 1);
        cr_expect_eq(play_record(&p).node[1].stamp_ms, asked);
        cr_expect(play_released(&p, 1, g));
        p.now.ms += 10;
        cr_expect_not(play_released(&p, 1, g));
}

Test(cluster, a_lost_prober_s_answers_and_those_of_any_other_number_are_ignored, .init = two_up)
{
        uint64_t g = play_write(&p);
        question_in_flight();
        struct prober_result late = play_answer_of(&p, 0), r = late;
        uint64_t checks = p.c.node[0].checks;
        r.number = late.number + 1;
        cluster_result(&p.c, 0, &r, p.now);
        r.number = 0;
        cluster_result(&p.c, 0, &r, p.now);
        r = late;
        cluster_result(&p.c, 17, &r, p.now);
        cluster_result(&p.c, PNR_NODES_MAX, &r, p.now);
        cluster_result(&p.c, UINT32_MAX, &r, p.now);
        cr_expect_eq(p.c.node[0].checks, checks);
        cluster_lost_prober(&p.c, p.now);
        cluster_result(&p.c, 0, &late, p.now);
        cr_expect_eq(p.c.node[0].checks, checks);
        cr_expect_eq(p.c.fence.fenced, 0);
        cr_expect_not(play_released(&p, 1, g));
}

Test(cluster, a_result_of_no_known_kind_is_a_failed_check, .init = two_up)
{
        p.server[1].manner = SILENT;
        while (!p.number[1])
                play_step(&p);
        struct prober_result r = {.kind = 99, .node = 1, .number = p.number[1], .position = {UINT64_MAX}};
        uint64_t failures = p.c.node[1].failures;
        cluster_result(&p.c, 1, &r, p.now);
        cr_expect_eq(p.c.node[1].failures, failures + 1);
}

Test(cluster, a_primary_that_cannot_say_where_it_stands_fences_nothing, .init = two_up)
{
        uint64_t g = play_write(&p);
        p.server[0].position = 0;
        play_for(&p, 3000);
        cr_expect_not(play_released(&p, 1, g) || play_released(&p, 2, g));
        p.server[0].position = 1010;
        p.server[0].timeline = 0;
        p.server[1].timeline = p.server[2].timeline = 0;
        p.server[1].position = p.server[2].position = 2000;
        play_for(&p, 3000);
        cr_expect_not(play_released(&p, 1, g) || play_released(&p, 2, g));
        p.server[0].timeline = p.server[1].timeline = 1;
        p.server[0].system = p.server[1].system = 0;
        play_for(&p, 3000);
        cr_expect_not(play_released(&p, 1, g), "an unknown system is not the same system");
}
