/* test_promotion.c -- who is the primary when servers are promoted, die, come back and contradict each other.
 */
#include "tests/unit/cluster_play.h"

#include "daemon/promotion.h"
#include "tests/unit/seeded.h"

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

static const char *rivals(void)
{
        static char text[NODE_WHY_MAX];
        promotion_name_rivals(&p.c, text, sizeof text);
        return text;
}

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
        cr_expect_str_eq(rivals(), "; also out of recovery: shadow-1");
        cr_expect_not(play_scheduled(&p, 1));
        p.server[1].in_recovery = true;
        p.server[1].timeline = 1;
        play_for(&p, 3000);
        cr_expect_not(p.c.split_brain, "the alarm ends with its cause");
        cr_expect_str_eq(rivals(), "");
        cr_expect(play_scheduled(&p, 1));
}

Test(promotion, of_two_promoted_nodes_neither_is_followed, .init = following)
{
        p.server[0].manner = FROZEN;
        promote(1, 2);
        promote(2, 2);
        play_for(&p, 10000);
        cr_expect_eq(primary(), 0);
        cr_expect(p.c.split_brain);
        cr_expect_str_eq(rivals(), "; also out of recovery: shadow-1, shadow-2");
        char cut[30];
        promotion_name_rivals(&p.c, cut, sizeof cut);
        cr_expect_str_eq(cut, "; also out of recovery: shado");
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
        struct pnr_cluster found = {.name = "main",
                                    .n_nodes = 2,
                                    .primary = 1,
                                    .system_identifier = PLAY_SYSTEM,
                                    .timeline = 1,
                                    .node = {{.name = "x"}, {.name = "shadow-2"}}};
        uint8_t admin[PNR_NODES_MAX] = {0};
        for (unsigned follows = 0; follows <= 1; follows++) {
                conf.follow_promotion = follows;
                play_init_with(&p, &conf);
                cluster_remember(&p.c, &found, admin, p.now, p.now, p.now);
                promote(2, 1);
                p.server[0].timeline = follows ? 2 : 1;
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
        p.c.node[0].unanswered = 2;
        p.c.node[1].facts.in_recovery = false;
        p.c.node[1].facts.timeline = 2;
        cr_expect_eq(promotion_decide(&p.c).primary, 1);
        p.c.node[3].facts.known = false;
        p.c.node[3].unanswered = 1;
        cr_expect_eq(promotion_decide(&p.c).primary, 0);
        p.c.node[3].unanswered = 2;
        cr_expect_eq(promotion_decide(&p.c).primary, 1, "it does not answer");
        p.c.node[3].unanswered = 0;
        p.c.node[3].admin = NODE_MAINT;
        cr_expect_eq(promotion_decide(&p.c).primary, 1, "who is in maintenance is not waited for");
        p.c.primary = PNR_NO_NODE;
        cr_expect_eq(promotion_decide(&p.c).primary, 1, "nobody led before");
}

Test(promotion, a_frozen_primary_is_one_that_is_gone_and_stays_so_when_it_thaws, .init = following)
{
        p.server[0].manner = FROZEN;
        play_one_check(&p, 0);
        promote(1, 2);
        follow(1);
        play_one_check(&p, 1);
        cr_expect_eq(primary(), 0, "it may lead still");
        play_one_check(&p, 0);
        play_one_check(&p, 1);
        cr_expect_eq(primary(), 1);
        cr_expect_not(p.c.split_brain);
        p.server[0].manner = ANSWERS;
        play_for(&p, 3000);
        cr_expect_eq(primary(), 1);
        cr_expect(p.c.split_brain);
        cr_expect_not(play_scheduled(&p, 0));
}

Test(promotion, a_primary_in_maintenance_may_lead_and_loses_nothing, .init = following)
{
        cluster_set_admin(&p.c, 0, NODE_MAINT, p.now);
        promote(1, 2);
        play_for(&p, 5000);
        cr_expect_eq(primary(), 0);
        p.server[0].manner = REFUSES;
        cluster_set_admin(&p.c, 0, NODE_READY, p.now);
        play_for(&p, 1500);
        cr_expect_eq(primary(), 1);
}

Test(promotion, one_lost_answer_of_a_rival_neither_makes_the_other_the_primary_nor_ends_the_alarm,
     .init = following)
{
        p.server[0].manner = FROZEN;
        promote(1, 2);
        promote(2, 2);
        play_for(&p, 3000);
        cr_assert(p.c.split_brain);
        for (unsigned i = 0; i < 20; i++) {
                p.server[2].manner = REFUSES;
                play_one_check(&p, 2);
                p.server[2].manner = ANSWERS;
                play_one_check(&p, 1);
                cr_assert_eq(primary(), 0);
                cr_assert(p.c.split_brain);
                play_one_check(&p, 2);
        }
        struct prober_result broken = {.kind = PROBER_BROKEN, .node = 2};
        cluster_result(&p.c, 2, &broken, p.now);
        play_tell(&p, 1);
        cr_expect(p.c.split_brain && primary() == 0);
}

Test(promotion, the_alarm_is_raised_by_two_that_answer_not_by_what_a_dead_one_said_last)
{
        for (int64_t later = 0; later < 1000; later += STEP_MS) {
                following();
                play_for(&p, later);
                p.server[0].manner = later % 20 ? REFUSES : FROZEN;
                promote(1, 2);
                while (primary() == 0) {
                        play_step(&p);
                        cr_assert_not(p.c.split_brain);
                }
        }
}

Test(promotion, what_is_alone_of_another_system_decides_nothing_also_at_the_first_start)
{
        for (unsigned silent = 0; silent < 4; silent++) /* whoever answers last, or, the primary, never */
                for (unsigned dead = 0; dead < 2; dead++) {
                        struct cluster_conf conf = play_conf("main", 2);
                        unsigned alien = 1 + (silent + dead) % 2;
                        conf.follow_promotion = 1;
                        play_init_with(&p, &conf);
                        promote(alien, 9);
                        p.server[alien].system++;
                        p.server[0].manner = dead ? REFUSES : ANSWERS;
                        p.server[silent].manner = SILENT;
                        play_for(&p, 100);
                        p.server[silent].manner = ANSWERS;
                        p.server[0].manner = dead ? REFUSES : p.server[0].manner;
                        if (p.number[silent])
                                play_tell(&p, silent);
                        play_for(&p, 3000);
                        cr_expect_eq(primary(), 0);
                        cr_expect_not(p.c.split_brain);
                }
}

Test(promotion, a_configured_primary_in_recovery_tells_the_system_in_which_the_primary_is)
{
        struct cluster_conf conf = play_conf("main", 2);
        conf.follow_promotion = 1;
        play_init_with(&p, &conf);
        p.server[0].in_recovery = true;
        promote(1, 9);
        p.server[1].system++;
        promote(2, 2);
        play_for(&p, 2000);
        cr_expect_eq(primary(), 2);
}

Test(promotion, only_health_checks_count_when_a_primary_is_given_up_on, .init = following)
{
        promote(1, 2);
        play_one_check(&p, 1);
        play_one_check(&p, 0);
        play_write(&p);
        p.server[0].manner = REFUSES;
        uint64_t asked = p.c.node[0].checks;
        play_for(&p, 400);
        cr_expect_gt(p.c.node[0].checks, asked + 2, "for fences");
        cr_expect_eq(primary(), 0);
        play_for(&p, 1000);
        cr_expect_eq(primary(), 1);
}

Test(promotion, a_daemon_that_ended_before_all_were_heard_leaves_no_word_on_who_was_the_last)
{
        struct cluster_conf conf = play_conf("main", 2);
        conf.follow_promotion = 1;
        play_init_with(&p, &conf);
        promote(1, 2);
        p.server[1].manner = SILENT;
        play_for(&p, 300);
        cr_assert(p.c.timeline == 1 && !p.c.settled);
        p.server[1].manner = ANSWERS;
        play_restart(&p);
        play_for(&p, 2000);
        cr_expect_eq(primary(), 1, "no store tells: the newest timeline");
        play_restart(&p);
        promote(0, 3);
        play_for(&p, 2000);
        cr_expect_eq(primary(), 1, "now one does");
}

Test(promotion, who_was_the_primary_when_promotion_began_to_be_followed_is_the_last)
{
        play_init(&p, 2);
        promote(1, 2);
        play_for(&p, 1000);
        p.conf.follow_promotion = 1;
        cluster_configure(&p.c, &p.conf, p.now);
        play_for(&p, 3000);
        cr_expect_eq(primary(), 0);
        cr_expect(p.c.split_brain);
        p.server[0].manner = REFUSES;
        play_for(&p, 1500);
        cr_expect_eq(primary(), 1);
}

Test(promotion, a_replica_whose_timeline_two_lead_is_not_caught_up, .init = following)
{
        p.server[0].manner = REFUSES;
        promote(1, 2);
        p.server[3].manner = REFUSES;
        play_for(&p, 2000);
        cr_assert_eq(primary(), 1);
        promote(2, 2); /* another history by the same name, and shadow-3 follows it */
        p.server[3].manner = ANSWERS;
        p.server[3].timeline = 2;
        p.server[3].position = 900000;
        uint64_t g = play_write(&p);
        play_for(&p, 3000);
        cr_expect_eq(primary(), 1);
        cr_expect(p.c.split_brain);
        cr_expect_not(play_released(&p, 3, g));
        p.server[2].manner = REFUSES;
        play_for(&p, 3000);
        cr_expect_not(p.c.split_brain);
        cr_expect_not(play_released(&p, 3, g), "it was not heard to have mended");
        p.server[2] = p.server[3];
        p.server[2].in_recovery = true;
        play_for(&p, 1000);
        cr_expect(play_released(&p, 3, g));
}

Test(promotion, a_rival_in_maintenance_leads_on_and_no_replica_of_its_timeline_is_caught_up,
     .init = following)
{
        p.server[0].manner = REFUSES;
        promote(1, 2);
        p.server[3].manner = REFUSES;
        play_for(&p, 2000);
        cr_assert_eq(primary(), 1);
        promote(2, 2);
        play_for(&p, 1000);
        cr_assert(p.c.split_brain);
        cluster_set_admin(&p.c, 2, NODE_MAINT, p.now);
        p.server[3] = p.server[2]; /* it follows the one that nobody asks any more */
        p.server[3].in_recovery = true;
        p.server[3].position = 900000;
        uint64_t g = play_write(&p);
        play_for(&p, 3000);
        cr_expect(play_scheduled(&p, 3));
        cr_expect_not(play_released(&p, 3, g));
        p.server[2] = p.server[3];
        cluster_set_admin(&p.c, 2, NODE_READY, p.now);
        play_for(&p, 3000);
        cr_expect(play_released(&p, 3, g), "it has come home");
}

Test(promotion, a_prober_that_hangs_makes_no_primary_silent, .init = following)
{
        promote(1, 2);
        play_for(&p, 2000);
        cr_assert(p.c.split_brain && primary() == 0);
        for (unsigned i = 0; i < 4; i++)
                p.server[i].manner = SILENT;
        play_for(&p, 3000);
        cr_expect_eq(p.c.node[0].state, NODE_DOWN);
        for (unsigned i = 1; i < 4; i++) /* whoever answers first */
                p.server[i].manner = ANSWERS;
        play_for(&p, 300);
        cr_expect_eq(primary(), 0);
        p.server[0].manner = FROZEN;
        play_for(&p, 2000);
        cr_expect_eq(primary(), 1, "now the prober says so");
}

/* ---- whatever nodes tell, in whatever order ---- */

#define NODES 4

static bool last_word_is_that_it_leads(unsigned slot)
{
        const struct cluster_node *n = &p.c.node[slot];
        return n->facts.known && !n->facts.in_recovery && n->unanswered < p.c.conf.fall;
}

static void some_event(uint64_t *random)
{
        struct cluster_node *n = &p.c.node[seeded_below(random, NODES)];
        switch (seeded_below(random, 8)) {
        case 0:
        case 1:
        case 2:
                n->answers = false;
                n->unanswered++;
                break;
        case 3: n->answers = false; break; /* the connection broke */
        case 4:
                *n = (struct cluster_node){.conf = n->conf, .admin = n->admin ? NODE_READY : NODE_MAINT};
                break;
        default:
                n->answers = true;
                n->unanswered = 0;
                n->facts =
                    (struct node_facts){.known = true,
                                        .in_recovery = seeded_below(random, 5) > 1,
                                        .timeline = 1 + (uint32_t)seeded_below(random, 4),
                                        .system_identifier = PLAY_SYSTEM + (seeded_below(random, 12) == 0),
                                        .asked = mono_plus(p.now, -(int64_t)seeded_below(random, 3))};
                if (n->facts.in_recovery)
                        n->leads_since.ms = 0;
                else if (!n->leads_since.ms)
                        n->leads_since = p.now;
        }
}

static void expect_sound(const struct promotion *next, const struct promotion *was)
{
        const struct cluster *c = &p.c;
        unsigned lead = 0, heirs = 0, silent = 0;
        int64_t asked[NODES], since[NODES]; /* of those that lead and answer */
        unsigned answering = 0;
        bool two = false;
        uint32_t newest = 0;
        for (unsigned i = 0; i < NODES; i++) {
                const struct cluster_node *n = &c->node[i];
                bool kin = i == c->primary || n->facts.system_identifier == PLAY_SYSTEM;
                silent += !n->facts.known && n->admin != NODE_MAINT && n->unanswered < c->conf.fall;
                if (!last_word_is_that_it_leads(i) || !kin)
                        continue;
                lead++;
                asked[answering] = n->facts.asked.ms;
                since[answering] = n->leads_since.ms;
                for (unsigned k = 0; n->answers && k < answering; k++)
                        two = two || (asked[k] >= since[answering] && asked[answering] >= since[k]);
                answering += n->answers;
                heirs += i != c->primary && n->facts.timeline > c->timeline;
                newest = n->facts.timeline > newest ? n->facts.timeline : newest;
        }
        cr_assert_eq(next->split_brain, two || (was->split_brain && lead > 1));
        cr_assert(next->settled || !c->settled, "what is known is not forgotten");
        const struct cluster_node *old = &c->node[c->primary], *new = &c->node[next->primary];
        bool gone = old->unanswered >= c->conf.fall || (old->facts.known && old->facts.in_recovery);
        if (next->primary == c->primary) {
                cr_assert_not(c->settled && gone && !silent && heirs == 1 && answering == 1 && lead == 1,
                              "one inherits, and nobody else leads");
                return;
        }
        cr_assert(new->answers &&new->facts.known && !new->facts.in_recovery);
        cr_assert_eq(new->facts.system_identifier, PLAY_SYSTEM);
        cr_assert_eq(silent, 0);
        if (c->settled || (gone && new->facts.timeline < newest))
                cr_assert(gone && heirs == 1 && new->facts.timeline > c->timeline);
        else
                cr_assert_eq(new->facts.timeline, newest);
}

Test(promotion, the_last_primary_stays_while_it_may_lead_and_only_a_newer_one_of_its_system_inherits)
{
        uint64_t seed = seeded_start(0x70726f6d), flips = 0, alarms = 0, first = 0;
        struct cluster_conf conf = play_conf("main", NODES - 1);
        conf.follow_promotion = 1;
        for (unsigned run = 0; run < 20000; run++) {
                uint64_t random = (seed + run * 0x9e3779b97f4a7c15) | 1;
                if (run % 100 == 0)
                        play_init_with(&p, &conf);
                for (unsigned i = 0; i < NODES; i++)
                        p.c.node[i] = (struct cluster_node){.conf = conf.node[i]};
                p.c.primary = (unsigned)seeded_below(&random, NODES);
                p.c.settled = seeded_below(&random, 2);
                p.c.split_brain = false;
                p.c.system_identifier = PLAY_SYSTEM;
                p.c.timeline = p.c.settled ? 1 + (uint32_t)seeded_below(&random, 3) : 0;
                for (unsigned i = 0; i < 40; i++) {
                        struct promotion was = {p.c.primary, p.c.settled, p.c.split_brain};
                        some_event(&random);
                        struct promotion next = promotion_decide(&p.c);
                        expect_sound(&next, &was);
                        alarms += next.split_brain && !was.split_brain;
                        flips += was.settled && next.primary != was.primary;
                        first += !was.settled && next.settled;
                        p.c.settled = next.settled;
                        p.c.split_brain = next.split_brain;
                        if (next.primary != was.primary)
                                p.c.timeline = p.c.node[next.primary].facts.timeline;
                        p.c.primary = next.primary;
                }
        }
        cr_expect(flips > 3000 && alarms > 3000 && first > 3000, "%lu flips, %lu alarms, %lu first decisions",
                  (unsigned long)flips, (unsigned long)alarms, (unsigned long)first);
}
