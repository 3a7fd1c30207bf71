/* test_rhythm.c -- when a node is asked: health checks on their beat, positions only while pins wait for them.
 */
#include "tests/unit/cluster_play.h"

#include "daemon/rhythm.h"

static struct play p;

static void two_up(void)
{
        play_init(&p, 2);
        play_up(&p);
        for (unsigned i = 0; i < 3; i++)
                p.c.node[i].due = mono_plus(p.now, 400);
}

static int64_t due_in(unsigned slot) { return mono_since(rhythm_due(&p.c, &p.c.node[slot], p.now), p.now); }

Test(rhythm, without_a_pin_a_node_is_asked_for_its_health_only, .init = two_up)
{
        cr_expect_not(rhythm_releases(&p.c, p.now));
        for (unsigned i = 0; i < 3; i++)
                cr_expect_eq(due_in(i), 400);
}

Test(rhythm, a_pin_asks_the_primary_for_a_fence_and_then_the_replicas_for_their_positions, .init = two_up)
{
        play_write(&p);
        p.c.fenced_at = mono_plus(p.now, -30);
        cr_expect(rhythm_releases(&p.c, p.now));
        cr_expect_eq(due_in(0), 70, "fence_interval after the last one");
        cr_expect_eq(due_in(1), 400, "no fence to reach yet");
        p.c.fence.fenced = p.c.fence.carried;
        p.c.node[1].sent = mono_plus(p.now, -10);
        p.c.node[2].state = NODE_DOWN;
        cr_expect_eq(due_in(0), 400, "every pin has its fence");
        cr_expect_eq(due_in(1), 250 / 3 - 10, "a third of caught_up_trust");
        cr_expect_eq(due_in(2), 400, "no read goes there");
        p.c.conf.caught_up_trust_ms = 3000;
        cr_expect_eq(due_in(1), 90, "nor later than a fence");
        p.c.conf.early_release = 0;
        cr_expect_eq(due_in(1), 400);
        cr_expect_not(rhythm_releases(&p.c, p.now));
}

Test(rhythm, health_checks_keep_their_beat_and_a_late_one_does_not_make_them_crowd, .init = two_up)
{
        struct cluster_node *n = &p.c.node[1];
        cr_expect_not(rhythm_take_turn(&p.c, n, p.now));
        for (unsigned late = 0; late <= 2000; late += 100) {
                n->due = mono_plus(p.now, -(int64_t)late);
                cr_expect(rhythm_take_turn(&p.c, n, p.now));
                cr_expect_eq(mono_since(n->due, p.now), late < 250 ? 500 - late : 250, "%u ms late", late);
        }
        n->state = NODE_UNKNOWN;
        n->due = p.now;
        cr_expect(rhythm_take_turn(&p.c, n, p.now));
        cr_expect_eq(mono_since(n->due, p.now), 50, "a start is quick");
        p.c.conf.check_interval_ms = 40;
        n->due = p.now;
        cr_expect(rhythm_take_turn(&p.c, n, p.now));
        cr_expect_eq(mono_since(n->due, p.now), 40);
}
