/* test_page_row.c -- a node's row: its state in words, its numbers, its plots. */
#include "tests/unit/core_play.h"
#include "tests/unit/html_check.h"

#include "daemon/page_row.h"

/* With HTTP, or nothing is remembered. */
static void open_page(void)
{
        core_open();
        strcpy(core_conf.http_listen, "127.0.0.1:9");
}

TestSuite(page_row, .init = open_page, .fini = core_close);

static const char *row_of(unsigned slot, bool plots)
{
        struct evbuffer *out = evbuffer_new();
        struct page_row row = {&core, core.cluster[0], slot, plots, core_now, 1700000000000};
        page_row_put(out, &row);
        const char *said = html_taken(out);
        cr_expect_str_eq(html_check(said), "");
        evbuffer_free(out);
        return said;
}

static void expect(const char *said, const char *part)
{
        cr_expect(strstr(said, part), "'%s' in %s", part, said);
}
static void expect_not(const char *said, const char *part)
{
        cr_expect_null(strstr(said, part), "no '%s' in %s", part, said);
}

Test(page_row, the_primary_has_a_state_and_no_lag, .init = core_up)
{
        core_play(2000); /* so that a second is over */
        const char *said = row_of(0, true);
        expect(said, "<th scope=\"row\">default</th>");
        expect(said, "primary</td>");
        expect(said, "<b class=\"up\">UP</b>");
        expect(said, "<span>0.0 % <small>weight 1</small></span>");
        expect(said, "State of default in the last 5 minutes, up for ");
        expect_not(said, "Lag of default");
}

Test(page_row, a_replica_in_good_order_says_its_share_and_lag, .init = core_up)
{
        core_servers.position[0] = 5000000;
        core_play(600);
        core.cluster[0]->node[1].failures = 2;
        core.cluster[0]->node[1].checks = 9;
        const char *said = row_of(1, true);
        expect(said, "<tr class=\"replica\">");
        expect(said, "50.0 %");
        expect(said, "5.0 MB</td>");
        expect(said, "good, 0.0 ms <small>2 of 9 failed</small>");
        expect(said, "<title>Lag of shadow-1 in the last 5 minutes: at most");
        expect(said, "limit 10 s");
        expect(said, "0/s <small>0 in all</small>");
        expect(said, "<time datetime=\"2023-11-14T22:13:1");
        expect_not(said, "class=\"limit\"");
        core.cluster[0]->node[1].conf.max_lag_ms = 50;
        memset(core.history.node[0][1]->lag_ms, 0, sizeof core.history.node[0][1]->lag_ms);
        expect(row_of(1, true), "<path class=\"limit\" d=\"M0 50H300\"/>");
}

Test(page_row, a_replica_that_is_down_says_why, .init = core_up)
{
        struct cluster_node *n = &core.cluster[0]->node[1];
        n->state = NODE_DOWN;
        n->window = (struct node_window){.good = 4, .n = 3};
        n->facts = (struct node_facts){.lag_ms = LAG_UNKNOWN};
        n->since.ms -= 60000;
        strcpy(n->why, "FATAL: <b>no</b> \"entry\" for 'x' & more");
        const char *said = row_of(1, true);
        expect(said, "<tr class=\"replica out\">");
        expect(said, "<b class=\"down\">DOWN</b>");
        expect(said, ">1 min</time>");
        expect(said, "FATAL: &lt;b&gt;no&lt;/b&gt; &quot;entry&quot; for &#39;x&#39; &amp; more");
        expect(said, "<span>unknown <small>");
        expect(said, "<span class=\"none\">unknown</span>");
        expect(said, "failed, 2 in a row");
        expect(said, "Lag of shadow-1");
        n->window = (struct node_window){.n = 63};
        expect(row_of(1, true), "failed, 63 in a row");
        n->window.n = 64; /* as many as are kept */
        expect(row_of(1, true), "failed, more than 63 in a row");
        expect_not(row_of(1, false), "<svg");
}

Test(page_row, an_operator_s_word_stands_beside_the_state, .init = core_up)
{
        struct cluster_node *n = &core.cluster[0]->node[1];
        n->admin = NODE_DRAIN;
        expect(row_of(1, true), "<b class=\"up\">UP</b> <b class=\"drain\">DRAIN</b>");
        n->admin = NODE_MAINT;
        n->failures = 3;
        const char *said = row_of(1, true);
        expect_not(said, "UP</b>");
        expect(said, "<b class=\"maint\">MAINT</b>");
        expect(said, "in maintenance: not checked");
        expect(said, "<span class=\"none\">not checked</span>");
        expect_not(said, "failed");
}

Test(page_row, a_node_of_unknown_state_says_how_far_it_is)
{
        struct cluster_node *n = &core.cluster[0]->node[1];
        const char *said = row_of(1, true);
        expect(said, "<b class=\"unknown\">UNKNOWN</b>");
        expect(said, "not checked yet");
        expect(said, "none yet");
        expect_not(said, "Lag of shadow-1");
        n->why[0] = '\0';
        expect(row_of(1, true), "0 of 3 good checks so far");
        n->state = NODE_UP;
        n->conf.weight = 0;
        expect(row_of(1, true), "weight 0: not read from");
}
