/* test_page.c -- the status page: whole, escaped, in words, and soon made. */
#include "tests/unit/core_play.h"
#include "tests/unit/html_check.h"

#include <sodium.h>

#include "daemon/page.h"

/* With HTTP, or nothing is remembered. */
static void open_page(void)
{
        core_open();
        strcpy(core_conf.http_listen, "127.0.0.1:9");
}

TestSuite(page, .init = open_page, .fini = core_close);

static const char *page(void)
{
        struct evbuffer *out = evbuffer_new();
        page_fill(&core, 3, core_now, 1700000000000, out);
        const char *said = html_taken(out);
        cr_expect_str_eq(html_check(said), "");
        evbuffer_free(out);
        return said;
}

static void expect(const char *part)
{
        const char *said = page();
        cr_expect(strstr(said, part), "'%s' in %.20000s", part, said);
}

static void expect_not(const char *part) { cr_expect_null(strstr(page(), part), "no '%s'", part); }

Test(page, in_good_order_it_begins_with_ok, .init = core_up)
{
        expect("<title>OK pinroute on ");
        expect("class=\"ok\" aria-live=\"polite\"><p><strong>OK</strong> Reads are spread over 3 replicas of "
               "2 clusters.</p>");
        expect("<h2 id=\"c0\">main</h2>");
        expect("<h2 id=\"c1\">other</h2>");
        expect("primary <b>default</b>");
        expect("reads on <b>2 of 2</b> replicas");
        expect("reads on <b>1 of 1</b> replica<");
        expect("<b>3</b> clients");
        expect("href=\"metrics\"");
        expect_not("Plots are drawn");
}

Test(page, one_trouble_stands_at_the_top_and_several_are_listed, .init = core_up)
{
        struct cluster *c = core.cluster[0];
        c->node[1].state = NODE_DOWN;
        strcpy(c->node[1].why, "<script>");
        expect("<title>DEGRADED pinroute on ");
        expect("class=\"trouble\" aria-live=\"polite\"><p><strong>DEGRADED</strong> main/shadow-1 is DOWN (");
        expect("): &lt;script&gt;. No reads go there.</p></div>");
        c->split_brain = true;
        expect("class=\"alarm\" aria-live=\"polite\"><p><strong>DEGRADED</strong> 2 things are wrong.</p>"
               "<ul class=\"alarm\"><li>main has a split brain");
        expect("<ul class=\"trouble\"><li>main/shadow-1 is DOWN");
        expect("<b>split brain</b>");
        c->node[1].admin = NODE_DRAIN;
        expect("<strong>DEGRADED</strong> main has a split brain");
        expect("<ul class=\"note\"><li>main/shadow-1 is drained");
        c->primary = PNR_NO_NODE;
        expect("primary <b>unknown</b>");
        expect("timeline <b>1</b>");
        c->timeline = 0;
        expect("timeline <b>unknown</b>");
}

Test(page, a_removed_cluster_is_gone_and_a_lost_store_no_matter, .init = core_up)
{
        cluster_remove(core.cluster[1]);
        expect_not(">other</h2>");
        struct store *s = core.store;
        core.store = NULL;
        expect("<b>0</b> of <b>1000</b> that it has room for");
        core.store = s;
}

Test(page, a_floor_that_costs_is_marked, .init = core_up)
{
        expect("<li>floor: every key counts as pinned for ");
        core.cluster[0]->node[1].caught_up = 0;
        expect("<li class=\"costs\">floor: every key");
        core.cluster[0]->floor_until = core_now;
        expect("<li>floor: none</li>");
}

Test(page, every_reason_has_its_line_in_the_list_of_words)
{
        char line[64];
        for (int reason = 1; strcmp(pinroute_reason_name(reason), "UNKNOWN") != 0; reason++) {
                snprintf(line, sizeof line, "<dt>%s</dt>", pinroute_reason_name(reason));
                expect(line);
        }
}

Test(page, pins_that_wait_and_what_has_happened_are_told, .init = core_up)
{
        core_record(7, 20000);
        core_record(8, 20000);
        expect("<b>2</b> pins wait for a replica; <b>0</b> ended early");
        expect("<b>2</b> of <b>1000</b> that it has room for");
        struct news_about about = {NEWS_NODE, "main", "shadow-1", "UP", "DOWN"};
        core.news = NULL;
        expect("<tr><td>none yet</td></tr>");
        core.news = news_ours();
        news_say(LOG_AT_WARNING, &about, "shadow-1 UP -> DOWN: %s", "<b>");
        news_say(LOG_AT_INFO, &(struct news_about){.kind = NEWS_DAEMON}, "the last words");
        expect("<td class=\"of\">main/shadow-1</td><td class=\"what unknown\">shadow-1 UP -&gt; DOWN: "
               "&lt;b&gt;</td>");
        expect("<td class=\"of\">daemon</td><td class=\"what plain\">the last words</td>");
        const char *said = page();
        cr_expect_lt(strstr(said, "the last words"), strstr(said, "shadow-1 UP -&gt;"),
                     "the newest comes first");
}

/* What a browser will find between the tags. */
static void expect_hash(const char *tag)
{
        char begin[16], end[16], hash[80];
        unsigned char sum[crypto_hash_sha256_BYTES];
        snprintf(begin, sizeof begin, "<%s>", tag);
        snprintf(end, sizeof end, "</%s>", tag);
        const char *from = strstr(page(), begin) + strlen(begin), *to = strstr(from, end);
        cr_assert_gt(to - from, 1000);
        crypto_hash_sha256(sum, (const unsigned char *)from, (size_t)(to - from));
        strcpy(hash, "-src 'sha256-");
        sodium_bin2base64(hash + strlen(hash), 64, sum, sizeof sum, sodium_base64_VARIANT_ORIGINAL);
        cr_expect(strstr(page_policy(), hash), "%s in %s", hash, page_policy());
}

Test(page, its_policy_admits_its_own_style_and_script_and_no_other)
{
        expect_hash("style");
        expect_hash("script");
        cr_expect_eq(strncmp(page_policy(), "default-src 'none'; ", 20), 0);
        cr_expect_null(strstr(page_policy(), "unsafe"));
        expect_not("style=");
        expect_not("onclick=");
}

/* ---- the largest host ---- */

static struct cluster_conf many[PNR_CLUSTERS_MAX];

static void restart_with_all(void)
{
        core_fini(&core);
        for (unsigned i = 0; i < PNR_CLUSTERS_MAX; i++) {
                char name[16];
                snprintf(name, sizeof name, "cluster-%02u", i);
                many[i] = play_conf(name, PNR_NODES_MAX - 1);
        }
        core_conf.cluster = many;
        core_conf.n_clusters = PNR_CLUSTERS_MAX;
        core_start();
}

static void wear_down(void)
{
        for (unsigned i = 0; i < PNR_CLUSTERS_MAX; i++)
                for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++) {
                        core.cluster[i]->node[slot].state = NODE_DOWN;
                        struct history_node *h = core.history.node[i][slot];
                        strcpy(core.cluster[i]->node[slot].why, "no answer within 400 ms, not even a word");
                        for (unsigned s = 0; h && s < HISTORY_SECONDS; s++) {
                                h->lag_ms[s] = s * 7919 % 10000;
                                h->state[s] = (uint8_t)(1 + s % 5);
                        }
                }
}

Test(page, of_the_largest_host_it_is_bounded)
{
        restart_with_all();
        core_play(100);
        wear_down();
        expect("and 1972 more</li>");
        expect("Plots are drawn for the first 128 nodes only.");
        cr_expect_lt(strlen(page()), 4 << 20);
}
