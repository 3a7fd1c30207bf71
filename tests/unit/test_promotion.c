/* test_promotion.c -- who is the primary when servers are promoted, die, come back and contradict each other.
 */
#include "tests/unit/cluster_play.h"

#include "daemon/promotion.h"

static struct play p;

static void following(void)
{
        struct cluster_conf conf = play_conf("main", 3);
        conf.follow_promotion = 1;
        play_init_with(&p, &conf);
        play_up(&p);
}

static void promote(unsigned slot, uint32_t timeline)
{
        p.server[slot].in_recovery = false;
        p.server[slot].timeline = timeline;
}

/* The others replay what this primary has. */
static void follow(unsigned primary)
{
        for (unsigned i = 0; i < p.conf.n_nodes; i++)
                if (i != primary && p.server[i].in_recovery) {
                        p.server[i].timeline = p.server[primary].timeline;
                        p.server[i].position = p.server[primary].position;
                }
}

static unsigned primary(void) { return play_record(&p).primary; }

Test(promotion, a_promoted_node_is_followed_once_the_old_primary_is_down, .init = following)
{
        uint64_t g = play_caught_up(&p);
        p.server[0].manner = REFUSES;
        promote(1, 2);
        play_one_check(&p, 0);
        cr_expect_eq(primary(), 0, "one failed check is not fall of them");
        play_one_check(&p, 0);
        play_one_check(&p, 1);
        cr_expect_eq(primary(), 1);
        cr_expect_not(play_released(&p, 2, g), "fenced on the old primary");
        uint64_t second = cluster_pin(&p.c, p.now, 15000);
        follow(1);
        play_for(&p, 3000);
        cr_expect_eq(primary(), 1);
        cr_expect_eq(p.c.node[1].state, NODE_UP);
        cr_expect_not(play_scheduled(&p, 1));
        cr_expect(play_released(&p, 2, g) && play_released(&p, 2, second));
        cr_expect_not(p.c.split_brain);
}

Test(promotion, without_follow_promotion_the_configured_primary_stays, .init = following)
{
        p.conf.follow_promotion = 0;
        cluster_configure(&p.c, &p.conf, p.now);
        p.server[0].manner = REFUSES;
        promote(1, 2);
        play_for(&p, 5000);
        cr_expect_eq(primary(), 0);
        cr_expect_not(play_scheduled(&p, 1));
}

Test(promotion, a_primary_in_recovery_hands_over_at_once_and_shows_itself_anew_as_a_replica,
     .init = following)
{
        p.server[0].in_recovery = true;
        promote(1, 2);
        follow(1);
        play_one_check(&p, 1);
        play_one_check(&p, 0);
        cr_expect_eq(primary(), 1);
        cr_expect_not(play_scheduled(&p, 0), "it was good as a primary, not as a replica");
        play_for(&p, 3000);
        cr_expect(play_scheduled(&p, 0));
}

Test(promotion, in_a_split_brain_the_last_primary_stays_and_an_alarm_stands, .init = following)
{
        promote(1, 2);
        play_for(&p, 3000);
        cr_expect_eq(primary(), 0);
        cr_expect(p.c.split_brain);
        cr_expect_not(play_scheduled(&p, 1));
        p.server[1].in_recovery = true;
        p.server[1].timeline = 1;
        play_for(&p, 3000);
        cr_expect_not(p.c.split_brain, "the alarm ends with its cause");
        cr_expect(play_scheduled(&p, 1));
}

Test(promotion, of_two_promoted_nodes_neither_is_followed, .init = following)
{
        p.server[0].manner = SILENT;
        promote(1, 2);
        promote(2, 2);
        play_for(&p, 10000);
        cr_expect_eq(primary(), 0);
        cr_expect(p.c.split_brain);
        p.server[2].manner = REFUSES;
        play_for(&p, 1000);
        cr_expect_eq(primary(), 1, "one of them is left");
}

Test(promotion, an_old_primary_that_comes_back_never_gets_its_role_back_by_itself)
{
        for (int64_t away = 0; away < 3000;
             away += STEP_MS) { /* it comes back at every moment after the switch */
                following();
                p.c.node[1].due.ms += away / 2 % 500; /* its checks come at other times than the old one's */
                p.server[0].manner = REFUSES;
                promote(1, 2);
                follow(1);
                while (primary() == 0)
                        play_step(&p);
                play_for(&p, away % 1500);
                p.server[0].manner = ANSWERS;
                p.server[1].manner =
                    away < 1500 ? ANSWERS : REFUSES; /* ... also when the new one fails just then */
                for (unsigned i = 0; i < 200; i++) {
                        play_step(&p);
                        cr_assert_eq(primary(), 1, "back after %ld ms", (long)away);
                        cr_assert_not(play_scheduled(&p, 0));
                }
                cr_assert_eq(p.c.split_brain, away < 1500, "two are out of recovery, or one");
        }
}

Test(promotion, a_node_of_another_system_is_not_followed, .init = following)
{
        p.server[0].manner = REFUSES;
        promote(1, 2);
        p.server[1].system++;
        play_for(&p, 5000);
        cr_expect_eq(primary(), 0);
}

Test(promotion, after_a_lost_store_the_higher_timeline_leads_else_the_configured_role)
{
        for (uint32_t timeline = 1; timeline <= 2; timeline++)
                for (unsigned late = 0; late < 3; late++) { /* whoever answers last */
                        struct cluster_conf conf = play_conf("main", 2);
                        conf.follow_promotion = 1;
                        play_init_with(&p, &conf);
                        promote(1, timeline);
                        p.server[2].timeline = timeline;
                        p.server[late].manner = SILENT;
                        play_for(&p, 100);
                        p.server[late].manner = ANSWERS;
                        play_tell(&p, late);
                        play_for(&p, 3000);
                        cr_expect_eq(primary(), timeline - 1, "timeline %u, %u last: %u", timeline, late,
                                     primary());
                        cr_expect(p.c.split_brain);
                        cr_expect_not(play_scheduled(&p, 2 - timeline));
                }
}

Test(promotion, a_remembered_primary_is_kept_in_a_split_brain)
{
        struct cluster_conf conf = play_conf("main", 2);
        struct pnr_cluster found = {
            .name = "main", .n_nodes = 2, .primary = 1, .node = {{.name = "x"}, {.name = "shadow-2"}}};
        uint8_t admin[PNR_NODES_MAX] = {0};
        for (unsigned follows = 0; follows <= 1; follows++) {
                conf.follow_promotion = follows;
                play_init_with(&p, &conf);
                cluster_remember(&p.c, &found, admin, p.now, p.now, p.now);
                promote(2, 1);
                play_for(&p, 3000);
                cr_expect_eq(primary(), follows ? 2 : 0);
        }
}

Test(promotion, after_a_restart_nobody_inherits_who_is_older_or_of_another_system, .init = following)
{
        p.server[0].manner = REFUSES;
        promote(1, 2);
        follow(1);
        play_for(&p, 2000);
        cr_assert_eq(primary(), 1);
        p.server[1].manner = REFUSES;
        p.server[0].manner = ANSWERS; /* out of recovery still, on timeline 1 */
        play_restart(&p);
        play_for(&p, 3000);
        cr_expect_eq(primary(), 1);
        promote(2, 3);
        p.server[2].system++;
        play_restart(&p); /* once more, without having heard the primary in between */
        play_for(&p, 3000);
        cr_expect_eq(primary(), 1);
        p.server[2].system--;
        play_for(&p, 3000);
        cr_expect_eq(primary(), 2, "who is newer and of the same system does");
}

Test(promotion, the_alarm_ends_when_promotion_is_no_longer_followed, .init = following)
{
        promote(1, 2);
        play_for(&p, 2000);
        cr_assert(p.c.split_brain);
        p.conf.follow_promotion = 0;
        cluster_configure(&p.c, &p.conf, p.now);
        play_for(&p, 2000);
        cr_expect_not(p.c.split_brain);
}

Test(promotion, until_every_node_was_heard_or_given_up_on_nothing_is_decided, .init = following)
{
        promote(1, 2);
        p.server[0].manner = REFUSES;
        play_for(&p, 400);
        p.c.node[0].state = NODE_DOWN;
        p.c.node[0].answers = false;
        p.c.node[1].answers = true;
        p.c.node[1].facts = (struct node_facts){.system_identifier = PLAY_SYSTEM, .timeline = 2};
        cr_expect_eq(promotion_decide(&p.c).primary, 1);
        p.c.node[3].checks = 0;
        cr_expect_eq(promotion_decide(&p.c).primary, 0);
        p.c.node[3].admin = NODE_MAINT;
        cr_expect_eq(promotion_decide(&p.c).primary, 1, "who is in maintenance is not waited for");
        p.c.primary = PNR_NO_NODE;
        cr_expect_eq(promotion_decide(&p.c).primary, 1, "nobody led before");
}
