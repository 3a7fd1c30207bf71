/* test_cluster.c -- one cluster's life, played: health, generations, promotion, reload, an operator's words.
 */
#include "tests/unit/cluster_model.h"
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

/* Checks of replica 1 go as the word says, over and over; how often its state changes in `n` of them. */
static unsigned changes(const char *word, unsigned n)
{
        unsigned changed = 0;
        for (unsigned i = 0; i < n; i++) {
                enum node_state was = state(1);
                p.server[1].manner = word[i % strlen(word)] == 'g' ? ANSWERS : REFUSES;
                play_one_check(&p, 1);
                changed += state(1) != was;
        }
        return changed;
}

Test(cluster, a_node_that_flaps_changes_state_only_as_fall_and_rise_allow, .init = two_up)
{
        cr_expect_eq(changes("gb", 100), 0);
        cr_expect(play_scheduled(&p, 1), "never two bad ones in a row");
        cr_expect_eq(changes("bb", 2), 1);
        cr_expect_eq(changes("gb", 100), 0);
        cr_expect_eq(changes("ggb", 99), 0);
        cr_expect_not(play_scheduled(&p, 1), "never three good ones in a row");
        cr_expect_eq(changes("gggbb", 100), 40, "up and down once in five");
}

Test(cluster, the_last_replica_leaves_as_any_other_and_returns_as_any_other, .init = two_up)
{
        p.server[1].manner = p.server[2].manner = REFUSES;
        play_for(&p, 1500);
        cr_expect_eq(play_record(&p).n_schedule, 0, "reads go to the primary rather than to a bad replica");
        p.server[2].manner = ANSWERS;
        play_for(&p, 1600);
        cr_expect_eq(play_record(&p).n_schedule, 1);
        cr_expect(play_scheduled(&p, 2));
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
                if (m == SILENT)
                        cr_expect_geq(p.c.node[m].took_us, 400000u,
                                      "the newest check's time, not the last answer's");
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
        checks_at_lag(301, 4);
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

Test(cluster, while_the_primary_is_silent_replicas_need_not_stream_to_stay_but_release_nobody_anew,
     .init = two_up)
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
        p.server[2].manner = REFUSES; /* nor after a check that failed */
        play_one_check(&p, 2);
        p.server[2].manner = ANSWERS;
        play_for(&p, 1100);
        cr_expect_not(play_scheduled(&p, 2));
}

Test(cluster, without_a_primary_a_replica_has_what_it_was_proven_to_have_on_the_same_connection,
     .init = two_up)
{
        for (unsigned end = 0; end < 6; end++) {
                uint64_t g = play_caught_up(&p), later = play_write(&p);
                play_for(&p, 300);
                cr_assert_geq(p.c.fence.fenced, later, "and the replicas lack it");
                p.server[0].manner = end % 2 ? SILENT : REFUSES;
                play_for(&p, end % 2 ? 1200
                                     : 0); /* who follows one that is frozen streams for longer than that */
                p.server[1].timeline = p.server[2].timeline = 0;
                play_one_check(&p, 1);
                cr_expect(p.c.node[0].answers == !play_released(&p, 1, g),
                          "one that does not stream is told off");
                p.server[1].position += 1000; /* what it had received; of whichever history */
                play_for(&p, 5000);
                cr_expect(play_scheduled(&p, 1));
                cr_expect(play_released(&p, 1, g));
                cr_expect_not(play_released(&p, 1, later));
                struct prober_result broken = {.kind = PROBER_BROKEN, .node = 1};
                switch (end) {
                case 0: p.server[1].reconnected = true; break;
                case 1: cluster_result(&p.c, 1, &broken, p.now); break;
                case 2: p.server[1].timeline = 2; break;
                case 3: p.server[1].system++; break;
                case 4: cluster_lost_prober(&p.c, p.now); break;
                case 5: p.server[1].in_recovery = false; break;
                }
                play_one_check(&p, 1);
                p.server[1].reconnected = false;
                p.server[1].timeline = 0;
                for (unsigned i = 0; i < 300; i++) {
                        cr_assert_not(play_released(&p, 1, g), "%u", end);
                        play_step(&p);
                }
                cr_expect_eq(play_released(&p, 2, g), end != 4, "the other one's stands");
                two_up();
        }
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
        uint64_t checks = p.c.node[0].checks;
        play_tell(&p, 0);
        cr_expect_eq(p.c.node[0].checks, checks, "the late answer is nobody's");
        cr_expect_eq(p.c.fence.fenced, g);
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

static uint64_t caught_up_once(void) { return play_caught_up(&p); }

Test(cluster, caught_up_is_computed_afresh_from_each_answer, .init = two_up)
{
        uint64_t g = caught_up_once();
        p.server[1].position -= 5; /* restarted behind, and nobody noticed the break */
        play_one_check(&p, 1);
        cr_expect_not(play_released(&p, 1, g));
        cr_expect(play_released(&p, 2, g));
}

static void record_and_count(void)
{
        uint64_t g = play_write(&p);
        release_record(&p.c.release, g, 1, false, mono_plus(p.now, 15000), p.now);
}

Test(cluster, pins_count_as_released_early_once_a_replica_that_is_read_from_has_caught_up, .init = two_up)
{
        record_and_count();
        play_for(&p, 300);
        cr_expect_eq(p.c.release.early, 0, "nobody has the write");
        cluster_set_admin(&p.c, 1, NODE_DRAIN, p.now);
        p.server[1].position = p.server[0].position;
        play_one_check(&p, 1);
        play_one_check(&p, 1);
        cr_assert(play_record(&p).node[1].caught_up);
        cr_expect_eq(p.c.release.early, 0, "who has it is not read from");
        p.server[2].position = p.server[0].position;
        play_for(&p, 300);
        cr_expect_eq(p.c.release.early, 1);
        record_and_count();
        play_for(&p, 16000);
        cr_expect_eq(p.c.release.expired, 1);
        cr_expect_eq(p.c.release.early, 1);
}

Test(cluster, a_nodes_checks_and_changes_of_state_are_counted, .init = two_up)
{
        struct cluster_node *n = &p.c.node[1];
        uint64_t changes = n->state_changes, before = n->checks;
        cr_expect_eq(changes, 1, "it came up");
        p.server[1].manner = REFUSES;
        play_for(&p, 2000);
        cr_expect_eq(n->state_changes, changes + 1);
        uint64_t times = 0;
        for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++)
                times += n->took.n[i];
        cr_expect_eq(times, n->checks);
        cr_expect_gt(n->checks, before);
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

/* ---- reload ---- */

static void reload(void) { cluster_configure(&p.c, &p.conf, p.now); }

static void three_up(void)
{
        play_init(&p, 3);
        play_up(&p);
}

Test(cluster, a_reload_keeps_slots_states_and_schedule, .init = three_up)
{
        uint64_t g = caught_up_once();
        struct pnr_cluster before = play_record(&p);
        reload();
        struct pnr_cluster after = play_record(&p);
        cr_expect_eq(memcmp(&before, &after, sizeof before), 0, "the same file again changes nothing");
        p.server[1].manner = SILENT;
        while (!p.number[1])
                play_step(&p);
        p.conf.node[1] = p.conf.node[3]; /* shadow-1 goes; another order in the file */
        p.conf.n_nodes = 3;
        reload();
        cr_expect(p.c.node[1].conf.name[0] == '\0');
        cr_expect(play_scheduled(&p, 2) && play_scheduled(&p, 3) && !play_scheduled(&p, 1));
        cr_expect(play_released(&p, 2, g));
        p.conf.node[3] = play_node("new", false, 1);
        p.conf.n_nodes = 4;
        reload();
        cr_expect_eq(cluster_find_node(&p.c, "new"), 1, "a free slot is used again");
        cr_expect_eq(state(1), NODE_UNKNOWN);
        play_tell(&p, 1);
        cr_expect_eq(p.c.node[1].checks, 0, "an answer about who had the slot before");
        p.server[1].manner = ANSWERS;
        play_for(&p, 300);
        cr_expect(play_scheduled(&p, 1));
        cr_expect_eq(cluster_find_node(&p.c, "shadow-1"), PNR_NO_NODE);
}

Test(cluster, another_conninfo_is_another_server_and_shows_itself_anew, .init = three_up)
{
        uint64_t g = caught_up_once();
        cluster_set_admin(&p.c, 3, NODE_DRAIN, p.now);
        strcpy(p.conf.node[1].conninfo, "host=elsewhere");
        strcpy(p.conf.node[3].conninfo, "host=elsewhere too");
        reload();
        cr_expect_eq(state(1), NODE_UNKNOWN);
        cr_expect_not(play_scheduled(&p, 1));
        cr_expect_eq(play_record(&p).node[1].caught_up, 0);
        cr_expect(play_released(&p, 2, g));
        play_for(&p, 1000);
        cr_expect(play_scheduled(&p, 1));
        cr_expect_eq(p.c.node[3].admin, NODE_DRAIN, "a drain is of the name, not of the server");
        cr_expect_not(play_scheduled(&p, 3));
}

Test(cluster, weights_and_limits_take_effect_with_the_reload, .init = two_up)
{
        p.conf.node[1].weight = 3;
        p.conf.node[2].max_lag_ms = 777;
        reload();
        cr_expect_eq(play_record(&p).n_schedule, 4);
        cr_expect_eq(p.c.node[2].conf.max_lag_ms, 777);
        p.conf.node[1].weight = 0;
        reload();
        cr_expect_eq(play_record(&p).n_schedule, 1);
        cr_expect_not(play_scheduled(&p, 1));
}

Test(cluster, roles_that_a_reload_swaps_have_to_be_shown_anew, .init = two_up)
{
        p.conf.node[0].is_primary = false;
        p.conf.node[1].is_primary = true;
        reload();
        cr_expect_eq(play_record(&p).primary, 1);
        for (unsigned i = 0; i < 300; i++) {
                cr_assert_not(play_scheduled(&p, 0), "it is not in recovery");
                cr_assert_not(play_scheduled(&p, 1));
                play_step(&p);
        }
}

Test(cluster, a_removed_cluster_is_published_as_such_and_asks_nobody, .init = two_up)
{
        cluster_remove(&p.c);
        struct pnr_cluster r = play_record(&p);
        cr_expect_eq(r.flags, PNR_CLUSTER_REMOVED);
        cr_expect_str_eq(r.name, "main");
        cr_expect(r.n_nodes == 0 && r.n_schedule == 0 && r.scheduled == 0 && r.primary == PNR_NO_NODE);
        unsigned before = p.asks[0];
        play_for(&p, 1000);
        cr_expect_eq(p.asks[0], before);
}

Test(cluster, a_cluster_that_comes_back_takes_no_answer_from_before_and_owes_what_it_owed, .init = two_up)
{
        uint64_t g = play_write(&p);
        struct mono floor = mono_plus(p.now, 20000), hold = mono_plus(p.now, 7000);
        floor_raise(&p.c, p.now, 20000, "test");
        floor_hold_until(&p.c, hold);
        cluster_hold(&p.c, mono_plus(hold, 2000));
        question_in_flight();
        struct prober_result late = play_answer_of(&p, 0);
        cluster_remove(&p.c);
        cluster_return(&p.c, &p.conf, p.now);
        struct pnr_cluster r = play_record(&p);
        cr_expect_gt(r.open_generation, g);
        cr_expect_eq(r.floor_generation, r.open_generation);
        cr_expect(r.floor_until_ms == floor.ms && r.floor_hold_ms == hold.ms);
        cr_expect_eq(p.c.hold_until.ms, hold.ms + 2000);
        cr_expect(cluster_waits(&p.c, mono_plus(floor, -1)));
        p.server[1].manner = p.server[2].manner = SILENT;
        play_step(&p);
        for (unsigned i = 0; i < 3; i++)
                cr_expect_gt(p.number[i], late.number);
}

/* ---- an operator's words ---- */

Test(cluster, a_drain_takes_effect_at_once_and_outlives_failure_and_recovery, .init = two_up)
{
        cluster_set_admin(&p.c, 1, NODE_DRAIN, p.now);
        cr_expect_not(play_scheduled(&p, 1));
        unsigned before = p.asks[1];
        play_for(&p, 1000);
        cr_expect_eq(p.asks[1], before + 2, "it is still checked");
        p.server[1].manner = REFUSES;
        play_for(&p, 2000);
        cr_expect_eq(state(1), NODE_DOWN);
        p.server[1].manner = ANSWERS;
        play_for(&p, 3000);
        cr_expect_eq(state(1), NODE_UP);
        cr_expect_not(play_scheduled(&p, 1));
        cluster_set_admin(&p.c, 1, NODE_READY, p.now);
        cr_expect(play_scheduled(&p, 1), "known to be good, it is back at once");
}

Test(cluster, a_node_in_maintenance_is_left_alone_and_shows_itself_anew, .init = two_up)
{
        p.server[1].manner = SILENT;
        while (!p.number[1])
                play_step(&p);
        cluster_set_admin(&p.c, 1, NODE_MAINT, p.now);
        cr_expect_not(play_scheduled(&p, 1));
        unsigned before = p.asks[1];
        uint64_t checks = p.c.node[1].checks;
        play_tell(&p, 1);
        play_for(&p, 5000);
        cr_expect_eq(p.asks[1], before);
        cr_expect_eq(p.c.node[1].checks, checks);
        p.server[1].manner = ANSWERS;
        cluster_set_admin(&p.c, 1, NODE_READY, p.now);
        cr_expect_not(play_scheduled(&p, 1));
        play_for(&p, 300);
        cr_expect(play_scheduled(&p, 1));
}

Test(cluster, an_earlier_daemon_s_schedule_stands_until_checks_fail)
{
        play_init(&p, 4);
        struct pnr_cluster found = {.name = "main",
                                    .n_nodes = 5,
                                    .primary = 0,
                                    .scheduled = 1 << 1 | 1 << 2 | 1 << 4,
                                    .node = {{.name = "default"},
                                             {.name = "gone"},
                                             {.name = "shadow-1"},
                                             {.name = "shadow-2"},
                                             {.name = "shadow-3"}}};
        const struct pnr_endpoint endpoint[PNR_NODES_MAX] = {
            {"host=default"}, {"host=gone"}, {"host=shadow-1"}, {"host=shadow-2"}, {"host=shadow-3"}};
        p.server[3].manner = REFUSES;
        cluster_resume(&p.c, &found, endpoint, p.now);
        cr_expect(play_scheduled(&p, 1) && play_scheduled(&p, 3) && p.c.n_schedule == 2);
        cr_expect_eq(play_record(&p).node[1].caught_up, 0);
        play_for(&p, 400);
        cr_expect(play_scheduled(&p, 1) && play_scheduled(&p, 3), "one bad check is not `fall`");
        play_for(&p, 600);
        cr_expect(play_scheduled(&p, 1) && play_scheduled(&p, 2) && play_scheduled(&p, 4));
        cr_expect_not(play_scheduled(&p, 3));
}

Test(cluster, a_server_that_took_over_a_name_meanwhile_is_not_resumed, .init = two_up)
{
        strcpy(p.conf.node[1].endpoint, "host=elsewhere");
        play_restart(&p);
        cr_expect_not(play_scheduled(&p, 1));
        cr_expect(play_scheduled(&p, 2));
        play_up(&p);
}

/* A busy primary; replica 1 replays what that had `lag_ms` ago, replica 2 goes no further. */
static void busy_for(int64_t ms, int64_t lag_ms)
{
        for (; ms > 0; ms -= STEP_MS) {
                p.server[0].position += 1;
                p.server[1].position = p.server[0].position - (uint64_t)(lag_ms / STEP_MS);
                play_step(&p);
        }
}

Test(cluster, a_restart_holds_no_lag_against_a_node_that_it_cannot_know_yet)
{
        for (int64_t fall = 1; fall <= 2; fall++) {
                struct cluster_conf conf = play_conf("main", 2);
                conf.fall = fall;
                play_init_with(&p, &conf);
                play_up(&p);
                busy_for(9000, 3000);
                cr_assert(play_scheduled(&p, 1) && play_scheduled(&p, 2));
                p.server[0].manner = SILENT; /* the replicas answer first */
                play_restart(&p);
                busy_for(200, 3000);
                cr_expect(p.c.node[1].checks > 0 && p.c.node[1].facts.lag_ms == LAG_UNKNOWN);
                p.server[0].manner = ANSWERS;
                play_tell(&p, 0);
                for (unsigned i = 0; i < 900; i++) {
                        cr_assert(play_scheduled(&p, 1) && play_scheduled(&p, 2), "after %u ms", i * STEP_MS);
                        busy_for(STEP_MS, 3000);
                }
                cr_expect_geq(p.c.node[1].facts.lag_ms, 2500);
                busy_for(3000, 3000);
                cr_expect(play_scheduled(&p, 1));
                cr_expect_not(play_scheduled(&p, 2),
                              "by now its lag would be known if it were within bounds");
        }
}

Test(cluster, what_a_restarted_daemon_does_not_wait_for)
{
        for (unsigned what = 0; what < 4; what++) {
                two_up();
                busy_for(9000, 3000);
                play_restart(&p);
                busy_for(500, 3000);
                cr_assert(p.c.node[1].resumed && play_scheduled(&p, 1));
                switch (what) {
                case 0: p.server[1].timeline = 0; break; /* it does not stream, though the primary is there */
                case 1: p.server[1].manner = REFUSES; break;
                case 2: p.server[1].system++; break;
                case 3:
                        p.server[0].position -= 1000, busy_for(4000, 0); /* lag known, then no more */
                        cr_assert_not(p.c.node[1].resumed);
                        p.server[0].manner = SILENT;
                        p.server[1].position = 1;
                }
                play_for(&p, 1100);
                cr_expect_not(play_scheduled(&p, 1), "%u", what);
        }
}

Test(cluster, a_primary_that_is_dead_over_a_restart_takes_no_replica_along, .init = two_up)
{
        p.server[0].manner = REFUSES;
        play_for(&p, 3000);
        p.server[1].timeline = 0; /* without it nobody streams */
        play_restart(&p);
        play_for(&p, 60000);
        cr_expect(play_scheduled(&p, 1) && play_scheduled(&p, 2));
        p.server[0].manner = ANSWERS;
        play_for(&p, 1500);
        cr_expect_not(play_scheduled(&p, 1));
        cr_expect(play_scheduled(&p, 2));
}

Test(cluster, an_operator_s_words_generations_and_floor_are_remembered_by_name)
{
        play_init(&p, 3);
        struct pnr_cluster found = {
            .name = "main",
            .n_nodes = 4,
            .primary = PNR_NO_NODE,
            .open_generation = 40,
            .floor_generation = 41,
            .floor_until_ms = p.now.ms + 9000,
            .floor_hold_ms = p.now.ms + 3000,
            .node = {{.name = "shadow-3"}, {.name = "gone"}, {.name = "shadow-1"}, {.name = "shadow-2"}}};
        uint8_t admin[PNR_NODES_MAX] = {NODE_DRAIN, NODE_MAINT, NODE_MAINT, 200};
        cluster_remember(&p.c, &found, admin, mono_plus(p.now, 5000), mono_plus(p.now, 4000), p.now);
        cr_expect_eq(p.c.node[3].admin, NODE_DRAIN);
        cr_expect_eq(p.c.node[1].admin, NODE_MAINT);
        cr_expect_eq(p.c.node[2].admin, NODE_READY, "no word that we know");
        cr_expect_eq(p.c.live_until.ms, p.now.ms + 9000);
        struct pnr_cluster r = play_record(&p);
        cr_expect_eq(r.floor_generation, 41);
        cr_expect_eq(r.floor_until_ms, p.now.ms + 9000);
        cr_expect_eq(r.floor_hold_ms, p.now.ms + 3000);
        cr_expect_eq(p.c.hold_until.ms, p.now.ms + 4000);
        cr_expect_geq(cluster_pin(&p.c, p.now, 1), 41);
        cr_expect(fence_wanted(&p.c.fence), "what was recorded before the restart is fenced");
        play_for(&p, 1000);
        cr_expect_eq(p.c.n_schedule, 1);
        cr_expect(play_scheduled(&p, 2));
}

/* ---- floor, record, time ---- */

Test(cluster, a_floor_is_merged_by_max, .init = two_up)
{
        floor_raise(&p.c, p.now, 10000, "first");
        struct pnr_cluster a = play_record(&p);
        cr_expect_eq(a.floor_generation, a.open_generation);
        play_for(&p, 500);
        floor_raise(&p.c, p.now, 5000, "second");
        struct pnr_cluster b = play_record(&p);
        cr_expect_gt(b.floor_generation, a.floor_generation);
        cr_expect_eq(b.floor_until_ms, a.floor_until_ms, "never shortened");
        floor_raise(&p.c, p.now, 20000, "third");
        cr_expect_eq(play_record(&p).floor_until_ms, p.now.ms + 20000);
        cr_expect_eq(p.c.floors, 3);
        cr_expect(cluster_waits(&p.c, mono_plus(p.now, 19999)));
        cr_expect_not(cluster_waits(&p.c, mono_plus(p.now, 20000)));
}

Test(cluster, a_hold_of_the_floor_is_merged_by_max_and_a_hold_of_a_key_is_none, .init = two_up)
{
        cluster_hold(&p.c, mono_plus(p.now, 9000));
        cr_expect_eq(play_record(&p).floor_hold_ms, 0);
        floor_hold_until(&p.c, mono_plus(p.now, 5000));
        cr_expect(p.c.dirty);
        floor_hold_until(&p.c, mono_plus(p.now, 2000));
        cr_expect_eq(play_record(&p).floor_hold_ms, p.now.ms + 5000);
        cr_expect_eq(p.c.hold_until.ms, p.now.ms + 9000);
}

Test(cluster, a_shorter_pin_does_not_end_the_wait_for_a_longer_one, .init = two_up)
{
        cluster_pin(&p.c, p.now, 15000);
        cluster_pin(&p.c, p.now, 1);
        cr_expect(cluster_waits(&p.c, mono_plus(p.now, 14999)));
}

Test(cluster, it_is_never_due_for_ever)
{
        for (unsigned variant = 0; variant < 128; variant++) {
                struct cluster_conf conf = play_conf("main", 3);
                conf.early_release = variant & 1;
                conf.follow_promotion = variant >> 1 & 1;
                play_init_with(&p, &conf);
                play_up(&p);
                p.server[0].manner = (variant >> 2) % 3;
                p.server[1].manner = (variant >> 4) % 3;
                if (variant & 64)
                        cluster_set_admin(&p.c, variant & 32 ? 0 : 2, NODE_MAINT, p.now);
                int64_t end = p.now.ms + 30000;
                unsigned turns = 0;
                while (p.now.ms < end) {
                        int64_t due = rhythm_next_due(&p.c, p.now).ms;
                        cluster_pin(&p.c, p.now, 20000);
                        p.now.ms = due > p.now.ms ? due : p.now.ms + 1; /* as the loop does */
                        play_turn(&p);
                        turns++;
                }
                cr_assert_lt(turns, 4 * 30 * 25, "variant %u: %u turns in 30 s", variant, turns);
                cr_assert_gt(turns, 30);
        }
}

/* ---- the promise ---- */

Test(cluster, no_caught_up_replica_lacks_a_write_whatever_happens_in_whatever_order)
{
        static struct model m;
        uint64_t seed = seeded_start(0x70696e), released = 0, vouched = 0, promotions = 0, crashes = 0;
        log_init("test");
        log_set_level(0);
        for (unsigned run = 0; run < 6; run++) {
                model_run(&m, seed, 60000);
                released += m.released;
                vouched += m.vouched;
                promotions += m.promotions;
                crashes += m.crashes;
                seeded_next(&seed);
        }
        cr_expect_gt(released, 50000, "pins were released: %lu", (unsigned long)released);
        cr_expect_gt(vouched, 50000, "replicas were said to be as of some time: %lu", (unsigned long)vouched);
        cr_expect(promotions > 5 && crashes > 50, "%lu promotions, %lu crashes", (unsigned long)promotions,
                  (unsigned long)crashes);
}
