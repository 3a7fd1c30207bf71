/* test_trouble.c -- what counts as degraded, and how it is said. */
#include "tests/unit/core_play.h"

#include "daemon/trouble.h"

static char told[4096];

static void say(void *arg, const char *sentence)
{
        (void)arg;
        size_t n = strlen(told);
        snprintf(told + n, sizeof told - n, "%s\n", sentence);
}

static unsigned tell(void)
{
        told[0] = '\0';
        return trouble_tell(&core, core_now, say, NULL);
}

static void all_up(void)
{
        for (unsigned i = 0; i < core.n_clusters; i++)
                for (unsigned k = 0; k < PNR_NODES_MAX; k++)
                        core.cluster[i]->node[k].state = NODE_UP;
}

static void begin(void)
{
        core_open();
        all_up();
}

TestSuite(trouble, .init = begin, .fini = core_close);

Test(trouble, when_all_is_well_nothing_is_told) { cr_expect_eq(tell(), 0, "%s", told); }

Test(trouble, a_node_that_is_not_up_is_told_with_why)
{
        struct cluster_node *n = &core.cluster[0]->node[1];
        n->state = NODE_DOWN;
        strcpy(n->why, "no answer");
        cr_expect_eq(tell(), 1);
        cr_expect_str_eq(told, "main/shadow-1 is DOWN: no answer\n");
}

Test(trouble, a_node_that_has_yet_to_show_itself_is_told_with_how_far_it_is)
{
        struct cluster_node *n = &core.cluster[0]->node[1];
        n->state = NODE_UNKNOWN;
        n->why[0] = '\0';
        n->window = (struct node_window){0};
        window_push(&n->window, false);
        window_push(&n->window, true);
        window_push(&n->window, true);
        tell();
        cr_expect(strstr(told, "main/shadow-1 is UNKNOWN: 2 of "), "%s", told);
        n->window = (struct node_window){0};
        tell();
        cr_expect(strstr(told, "main/shadow-1 is UNKNOWN: 0 of "), "%s", told);
}

Test(trouble, what_an_operator_has_taken_out_is_none_as_long_as_another_is_left)
{
        struct cluster_node *n = core.cluster[0]->node;
        n[1].state = NODE_DOWN;
        strcpy(n[1].why, "no answer");
        n[1].admin = NODE_DRAIN;
        cr_expect_eq(tell(), 0, "%s", told);
        n[2].admin = NODE_MAINT;
        cr_expect_eq(tell(), 1);
        cr_expect_str_eq(told,
                         "main: no replica is read from: drain or maint is in force for all of them; "
                         "`pinroutectl ready NODE` ends it. Until then all its reads go to the primary\n");
        n[1].conf.weight = 0;
        tell();
        cr_expect(strstr(told, "in force for the only one;"), "%s", told);
        n[2].conf.weight = 0;
        cr_expect_eq(tell(), 0, "none is to be read from: %s", told);
        n[0].admin = NODE_MAINT;
        cr_expect_eq(tell(), 0, "the primary is no replica: %s", told);
        n[1].conf.weight = n[2].conf.weight = 1;
        n[1].admin = NODE_READY;
        cr_expect_eq(tell(), 2);
        cr_expect_str_eq(told, "main: no replica is read from: all its reads go to the primary\n"
                               "main/shadow-1 is DOWN: no answer\n");
}

Test(trouble, where_no_replica_is_left_it_is_told_first_and_what_reads_do)
{
        struct cluster *c = core.cluster[0];
        c->node[1].state = c->node[2].state = NODE_DOWN;
        cr_expect_eq(tell(), 3);
        cr_expect_eq(strstr(told, "main: no replica is read from: all its reads go to the primary\n"), told,
                     "%s", told);
        c->conf.no_replica = CONF_NO_REPLICA_ERROR;
        tell();
        cr_expect(strstr(told, "main: no replica is read from: its reads fail with E_NO_REPLICA"), "%s",
                  told);
        c->node[1].state = NODE_UNKNOWN;
        tell();
        cr_expect(strstr(told, "main: no replica is read from yet: its reads fail"), "it may be soon: %s",
                  told);
        c->node[1].admin = c->node[2].admin = NODE_DRAIN;
        cr_expect_eq(tell(), 1);
        cr_expect(strstr(told, "ends it. Until then its reads fail with E_NO_REPLICA"), "%s", told);
}

Test(trouble, split_brain_is_told_with_who_is_the_primary_and_who_else_leads)
{
        struct node_facts leads = {.known = true, .system_identifier = 7, .timeline = 1};
        core.cluster[0]->node[0].facts = core.cluster[0]->node[2].facts = leads;
        core.cluster[0]->split_brain = true;
        tell();
        cr_expect_str_eq(told,
                         "main: split brain: more than one node is out of recovery; the primary is default; "
                         "also out of recovery: shadow-2\n");
        core.cluster[0]->primary = PNR_NO_NODE;
        tell();
        cr_expect(strstr(told, "the primary is unknown"), "%s", told);
}

Test(trouble, a_full_table_and_a_refused_reload_are_told)
{
        core.table_full = core.reload_refused = true;
        cr_expect_eq(tell(), 2);
        cr_expect(strstr(told, "the pin table is full") && strstr(told, "the last reload was refused"), "%s",
                  told);
}

Test(trouble, a_daemon_that_acknowledges_nothing_is_told)
{
        core.silent_until = mono_plus(core_now, 1);
        cr_expect_eq(tell(), 1);
        cr_expect_str_eq(told, "writes are not being acknowledged: see the log\n");
        core.silent_until = core_now;
        cr_expect_eq(tell(), 0);
        struct store *s = core.store;
        core.store = NULL;
        cr_expect_eq(tell(), 1);
        core.store = s;
}
