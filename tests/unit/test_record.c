/* test_record.c -- what of a cluster stands in the store. */
#include "tests/unit/cluster_play.h"

#include "daemon/record.h"

static struct play p;

static void two_up(void)
{
        play_init(&p, 2);
        play_up(&p);
}

Test(record, it_says_what_was_configured, .init = two_up)
{
        struct pnr_cluster r;
        p.conf.no_replica = CONF_NO_REPLICA_ERROR;
        p.conf.balance = CONF_BALANCE_AFFINITY;
        p.conf.primary_budget = 50;
        p.conf.node[2].weight = 5;
        cluster_configure(&p.c, &p.conf, p.now);
        record_fill(&p.c, &r);
        cr_expect(p.c.dirty);
        cr_expect_eq(play_record(&p).n_nodes, 3);
        cr_expect_not(p.c.dirty, "publishing is what makes it clean");
        cr_expect_str_eq(r.name, "main");
        cr_expect_eq(r.flags, PNR_CLUSTER_NO_REPLICA_ERROR | PNR_CLUSTER_AFFINITY);
        cr_expect_eq(r.primary_budget, 50);
        cr_expect(r.trust_ms == 250 && r.pin_ms == 15000 && r.max_pin_ms == 300000 && r.n_nodes == 3);
        cr_expect_str_eq(r.node[2].name, "shadow-2");
        cr_expect_eq(r.node[2].weight, 5);
        cr_expect_eq(r.scheduled, 6);
}

Test(record, it_says_what_a_stub_decides_by_and_what_the_next_daemon_goes_on_with, .init = two_up)
{
        struct pnr_cluster r;
        uint64_t g = play_caught_up(&p);
        floor_raise(&p.c, p.now, 9000, "test");
        floor_hold_until(&p.c, mono_plus(p.now, 4000));
        cluster_set_admin(&p.c, 2, NODE_DRAIN, p.now);
        record_fill(&p.c, &r);
        cr_expect_eq(r.primary, 0);
        cr_expect(r.system_identifier == PLAY_SYSTEM && r.timeline == 1);
        cr_expect(r.floor_until_ms == p.now.ms + 9000 && r.floor_hold_ms == p.now.ms + 4000);
        cr_expect(r.floor_generation > g && r.floor_generation == r.open_generation);
        cr_expect_geq(r.node[1].caught_up, g);
        cr_expect(r.node[1].stamp_ms <= p.now.ms && r.node[1].stamp_ms > p.now.ms - 250);
        cr_expect(r.scheduled == 2 && r.n_schedule == 1 && r.schedule[0] == 1);
}
