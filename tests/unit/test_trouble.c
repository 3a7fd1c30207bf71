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

Test(trouble, what_an_operator_has_taken_out_is_none)
{
        core.cluster[0]->node[1].state = NODE_DOWN;
        core.cluster[0]->node[1].admin = NODE_DRAIN;
        cr_expect_eq(tell(), 0, "%s", told);
}

Test(trouble, split_brain_is_told_with_who_is_the_primary)
{
        core.cluster[0]->split_brain = true;
        tell();
        cr_expect(
            strstr(told, "main: split brain: more than one node is out of recovery; the primary is default"),
            "%s", told);
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
