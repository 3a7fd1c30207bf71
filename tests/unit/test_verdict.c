/* test_verdict.c -- what is wrong is said in a sentence each, with what it means for reads. */
#include "tests/unit/core_play.h"

#include "daemon/trouble.h"
#include "daemon/verdict.h"

TestSuite(verdict, .init = core_open, .fini = core_close);

static char said[4096];

static void add(void *arg, const char *text)
{
        (void)arg;
        cr_assert_lt(strlen(said) + strlen(text) + 2, sizeof said);
        strcat(said, text);
        strcat(said, "\n");
}

static unsigned find(enum verdict_weight weight)
{
        said[0] = '\0';
        return verdict_each(&core, core_now, weight, add, NULL);
}

static void expect(enum verdict_weight weight, unsigned n, const char *part)
{
        cr_expect_eq(find(weight), n, "%u expected: %s", n, said);
        cr_expect(strstr(said, part), "'%s' in %s", part, said);
}

static const char *good(void)
{
        static char text[VERDICT_TEXT_MAX];
        verdict_of_good(&core, text);
        return text;
}

static struct cluster *main_of(void) { return core.cluster[0]; }

static void floors_over(void)
{
        for (unsigned i = 0; i < core.n_clusters; i++)
                core.cluster[i]->floor_until = core_now;
}

Test(verdict, where_nothing_is_wrong_it_says_where_reads_go, .init = core_up)
{
        cr_expect_eq(find(VERDICT_ALARM), 0);
        cr_expect_eq(find(VERDICT_TROUBLE), 0);
        cr_expect_eq(find(VERDICT_NOTE), 0, "%s", said);
        cr_expect_str_eq(good(), "Reads are spread over 3 replicas of 2 clusters.");
        cluster_remove(core.cluster[1]);
        cr_expect_str_eq(good(), "Reads are spread over 2 replicas of main.");
        main_of()->node[1].admin = NODE_DRAIN;
        cr_expect_str_eq(good(), "Reads are spread over 1 replica of main.");
        main_of()->node[2].conf.weight = 0;
        cr_expect_str_eq(good(), "All reads go to the primary.");
}

Test(verdict, nodes_that_have_yet_to_show_themselves_are_a_trouble)
{
        floors_over();
        expect(VERDICT_TROUBLE, 3, "main/shadow-1 is UNKNOWN (0 s): not checked yet. No reads go there.\n");
        main_of()->node[1].why[0] = '\0';
        main_of()->node[1].window = (struct node_window){.good = 5, .n = 3};
        expect(VERDICT_TROUBLE, 3, "main/shadow-1 is UNKNOWN (0 s): 1 of 3 good checks so far.");
        main_of()->node[1].window = (struct node_window){.good = 3, .n = 2};
        expect(VERDICT_TROUBLE, 3, "main/shadow-1 is UNKNOWN (0 s): 2 of 3 good checks so far.");
        expect(VERDICT_ALARM, 4, "main/default, the primary, is UNKNOWN (0 s): not checked yet.");
        expect(VERDICT_ALARM, 4, "main has no replica to read from: all its reads go to the primary.");
        main_of()->conf.no_replica = CONF_NO_REPLICA_ERROR;
        expect(VERDICT_ALARM, 4,
               "main has no replica to read from: its reads fail with E_NO_REPLICA, but for those");
        main_of()->conf.no_replica = CONF_NO_REPLICA_PRIMARY;
        main_of()->conf.primary_budget = 50;
        expect(VERDICT_ALARM, 4,
               "its reads with a key go to the primary, and 50 a second of those without one; the rest fail "
               "with "
               "E_NO_REPLICA.");
}

Test(verdict, reads_go_on_without_the_primary_where_there_are_replicas_only, .init = core_up)
{
        struct cluster_node *n = main_of()->node;
        n[0].state = NODE_DOWN;
        expect(VERDICT_ALARM, 1,
               "Reads without a key go on at the replicas; writes, and reads that must see one, meet");
        n[1].state = n[2].state = NODE_DOWN;
        expect(VERDICT_ALARM, 2, "Writes, and all reads that go to it, meet its errors.");
        cr_expect_null(strstr(said, "at the replicas"), "%s", said);
}

Test(verdict, a_replica_that_is_down_takes_no_reads, .init = core_up)
{
        struct cluster_node *n = &main_of()->node[1];
        n->state = NODE_DOWN;
        n->since = mono_plus(core_now, -72000);
        strcpy(n->why, "lag 12000 ms, limit 10000 ms");
        expect(VERDICT_TROUBLE, 1,
               "main/shadow-1 is DOWN (1 min 12 s): lag 12000 ms, limit 10000 ms. No reads go there.\n");
        cr_expect_eq(find(VERDICT_ALARM), 0);
}

Test(verdict, what_an_operator_does_is_noted_and_no_trouble_while_something_is_left, .init = core_up)
{
        main_of()->node[1].admin = NODE_DRAIN;
        main_of()->node[2].admin = NODE_MAINT;
        main_of()->node[2].state = NODE_UNKNOWN;
        main_of()->node[2].admin = NODE_READY;
        main_of()->node[2].state = NODE_UP;
        cr_expect_eq(find(VERDICT_ALARM) + find(VERDICT_TROUBLE), 0);
        main_of()->node[2].admin = NODE_MAINT;
        expect(VERDICT_NOTE, 2, "main/shadow-1 is drained by an operator");
        expect(VERDICT_NOTE, 2, "main/shadow-2 is in maintenance by an operator");
        expect(VERDICT_TROUBLE, 1,
               "main has no replica to read from, for an operator has taken them all out: all its");
        main_of()->node[1].conf.weight = main_of()->node[2].conf.weight = 0;
        expect(VERDICT_NOTE, 3, "main has no replica to read from: all its reads go to the primary.");
}

Test(verdict, a_split_brain_is_an_alarm, .init = core_up)
{
        main_of()->split_brain = true;
        expect(VERDICT_ALARM, 1, "main has a split brain");
        expect(VERDICT_ALARM, 1, "reads follow default, the primary so far");
        main_of()->primary = PNR_NO_NODE;
        expect(VERDICT_ALARM, 1, "reads follow unknown");
}

Test(verdict, troubles_of_the_daemon_come_first, .init = core_up)
{
        core.silent_until = mono_plus(core_now, 1);
        expect(VERDICT_ALARM, 1, "Writes are not being acknowledged");
        core.table_full = core.reload_refused = true;
        expect(VERDICT_TROUBLE, 2, "The pin table is full");
        expect(VERDICT_TROUBLE, 2, "an older config is in force");
        struct store *s = core.store;
        core.silent_until = core_now;
        core.store = NULL;
        expect(VERDICT_ALARM, 1, "Writes are not being acknowledged");
        core.store = s;
}

Test(verdict, a_floor_is_said_with_what_it_costs, .init = core_up)
{
        char text[VERDICT_TEXT_MAX];
        struct cluster *c = main_of();
        cr_expect_not(verdict_of_floor(c, core_now, text));
        cr_expect(
            strstr(text,
                   "(daemon started with an empty store); all replicas have caught up, so it costs nothing"),
            "%s", text);
        c->floor_until = mono_plus(core_now, 61000);
        c->node[1].caught_up = 0;
        cr_expect(verdict_of_floor(c, core_now, text));
        cr_expect(strstr(text, "pinned for 1 min 1 s more"), "%s", text);
        cr_expect(strstr(text, "1 of 2 replicas have caught up"), "%s", text);
        expect(VERDICT_NOTE, 1, "main has a floor: every key counts as pinned");
        c->node[2].caught_up = 0;
        cr_expect(verdict_of_floor(c, core_now, text));
        cr_expect(strstr(text, "go to the primary until a replica has caught up"), "%s", text);
        c->floor_hold = mono_plus(core_now, 5000);
        cr_expect(verdict_of_floor(c, core_now, text));
        cr_expect(strstr(text, "go to the primary for 5 s more, for a hold"), "%s", text);
        c->floor_until = core_now;
        cr_expect_not(verdict_of_floor(c, core_now, text));
        cr_expect_str_eq(text, "none");
}

static void say_nothing(void *arg, const char *text) { (void)arg, (void)text; }

static void expect_agreement(bool degraded)
{
        cr_expect_eq(trouble_tell(&core, core_now, say_nothing, NULL) > 0, degraded);
        cr_expect_eq(find(VERDICT_ALARM) + find(VERDICT_TROUBLE) > 0, degraded, "%s", said);
}

Test(verdict, it_calls_degraded_what_the_operator_s_tool_does)
{
        expect_agreement(true);
        core_up();
        expect_agreement(false);
        struct cluster *c = main_of();
        for (unsigned slot = 0; slot < 3; slot++)
                for (enum node_state state = NODE_UNKNOWN; state <= NODE_DOWN; state++)
                        for (enum node_admin admin = NODE_READY; admin <= NODE_MAINT; admin++) {
                                struct cluster_node before = c->node[slot];
                                c->node[slot].state = state;
                                c->node[slot].admin = admin;
                                expect_agreement(state != NODE_UP && admin == NODE_READY);
                                c->node[slot] = before;
                        }
        c->node[1].admin = c->node[2].admin = NODE_DRAIN;
        expect_agreement(true);
        c->node[1].conf.weight = c->node[2].conf.weight = 0;
        expect_agreement(false);
        c->split_brain = true;
        expect_agreement(true);
        c->split_brain = false;
        core.table_full = true;
        expect_agreement(true);
        core.table_full = false;
        core.reload_refused = true;
        expect_agreement(true);
        core.reload_refused = false;
        core.silent_until = mono_plus(core_now, 1);
        expect_agreement(true);
}
