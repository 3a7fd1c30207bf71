/* page.c -- the status page: head, verdict, a section for each cluster, pins, and what the words mean.
 * Style, script and the list of words are files of their own beside this one, built in as strings. */
#include "daemon/page.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/pinroute.h"
#include "daemon/html.h"
#include "daemon/page_files.h"
#include "daemon/page_row.h"
#include "daemon/plot.h"
#include "daemon/span.h"
#include "daemon/verdict.h"

#define FINDINGS_MAX 12 /* of each weight; the rest are counted */
#define PINS_LEAST   10 /* the scale of their plot ends there or above */
#define NEWS_MAX     20

struct page {
        const struct core *core;
        struct evbuffer *out;
        struct mono now;
        int64_t wall_ms;
        char host[HOST_NAME_MAX + 1];
        unsigned alarms, troubles, notes, clients;
        unsigned plots; /* rows that have them so far */
        unsigned listed;
};

/* ---- policy ---- */

static void add_hash(char *to, size_t size, const char *kind, const char *text)
{
        unsigned char hash[crypto_hash_sha256_BYTES];
        char base64[64];
        crypto_hash_sha256(hash, (const unsigned char *)text, strlen(text));
        sodium_bin2base64(base64, sizeof base64, hash, sizeof hash, sodium_base64_VARIANT_ORIGINAL);
        size_t n = strlen(to);
        snprintf(to + n, size - n, "; %s 'sha256-%s'", kind, base64);
}

const char *page_policy(void)
{
        static char policy[512];
        if (policy[0])
                return policy;
        snprintf(
            policy, sizeof policy,
            "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'");
        add_hash(policy, sizeof policy, "style-src", page_css);
        add_hash(policy, sizeof policy, "script-src", page_js);
        return policy;
}

/* ---- verdict ---- */

static void count_only(void *arg, const char *text) { (void)arg, (void)text; }

static void put_alone(void *arg, const char *text) { html_text(arg, text); }

static void list_one(void *arg, const char *text)
{
        struct page *p = arg;
        if (p->listed++ >= FINDINGS_MAX)
                return;
        html_put(p->out, "<li>");
        html_text(p->out, text);
        html_put(p->out, "</li>");
}

static void list_findings(struct page *p, enum verdict_weight weight, const char *kind, unsigned n)
{
        if (!n)
                return;
        p->listed = 0;
        evbuffer_add_printf(p->out, "<ul class=\"%s\">", kind);
        verdict_each(p->core, p->now, weight, list_one, p);
        if (n > FINDINGS_MAX)
                evbuffer_add_printf(p->out, "<li>and %u more</li>", n - FINDINGS_MAX);
        html_put(p->out, "</ul>");
}

static bool is_good(const struct page *p) { return !p->alarms && !p->troubles; }
static const char *word_of(const struct page *p) { return is_good(p) ? "OK" : "DEGRADED"; }
static const char *class_of(const struct page *p)
{
        return is_good(p) ? "ok" : p->alarms ? "alarm" : "trouble";
}

static void put_sentence(struct page *p)
{
        char text[VERDICT_TEXT_MAX];
        unsigned n = p->alarms + p->troubles;
        if (!n) {
                verdict_of_good(p->core, text);
                html_text(p->out, text);
        } else if (n == 1)
                verdict_each(p->core, p->now, p->alarms ? VERDICT_ALARM : VERDICT_TROUBLE, put_alone, p->out);
        else
                evbuffer_add_printf(p->out, "%u things are wrong.", n);
}

static void put_verdict(struct page *p)
{
        bool many = p->alarms + p->troubles > 1;
        evbuffer_add_printf(p->out,
                            "<div id=\"verdict\" class=\"%s\" aria-live=\"polite\"><p><strong>%s</strong> ",
                            class_of(p), word_of(p));
        put_sentence(p);
        html_put(p->out, "</p>");
        list_findings(p, VERDICT_ALARM, "alarm", many ? p->alarms : 0);
        list_findings(p, VERDICT_TROUBLE, "trouble", many ? p->troubles : 0);
        list_findings(p, VERDICT_NOTE, "note", p->notes);
        html_put(p->out, "</div>\n");
}

/* ---- head ---- */

/* A mark in the browser's tab: it tells from afar. */
static void put_icon(struct page *p)
{
        const char *colour = is_good(p) ? "%23188038" : p->alarms ? "%23c5221f" : "%23e37400";
        html_put(p->out,
                 "<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' "
                 "viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='");
        html_put(p->out, colour);
        html_put(p->out, "'/%3E%3C/svg%3E\">\n");
}

static void put_head(struct page *p)
{
        html_put(p->out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>");
        html_textf(p->out, "%s pinroute on %s", word_of(p), p->host);
        html_put(p->out,
                 "</title>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                 "<meta name=\"color-scheme\" content=\"light dark\">\n"
                 "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n");
        put_icon(p);
        html_put(p->out, "<style>");
        html_put(p->out, page_css);
        html_put(p->out, "</style>\n</head>\n<body>\n");
}

/* By this host's zone, as its log has it. */
static void put_clock(struct page *p, struct mono then)
{
        char text[64];
        time_t at = (time_t)((p->wall_ms - mono_since(p->now, then)) / 1000);
        struct tm t;
        localtime_r(&at, &t);
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %Z", &t);
        html_text(p->out, text);
}

static void put_facts(struct page *p)
{
        html_put(p->out, "<ul class=\"facts\"><li>as of <b>");
        put_clock(p, p->now);
        html_put(p->out, "</b></li><li>up for <b>");
        page_row_ago(p->out, p->core->started, p->now, p->wall_ms);
        html_put(p->out, "</b>, since ");
        put_clock(p, p->core->started);
        html_put(p->out, "</li><li>version <b>" PINROUTE_VERSION "</b></li><li>dir <b>");
        html_text(p->out, p->core->conf->dir);
        evbuffer_add_printf(p->out, "</b></li><li><b>%u</b> client%s</li></ul>\n", p->clients,
                            p->clients == 1 ? "" : "s");
}

/* ---- pins ---- */

/* A plot as wide as the page, with its scale written beside it. */
static void put_wide(struct page *p, const uint32_t value[HISTORY_SECONDS], const char *what)
{
        uint32_t top = plot_top(plot_max(value, HISTORY_SECONDS), PINS_LEAST);
        evbuffer_add_printf(
            p->out,
            "<div class=\"wide\"><span class=\"top\">%" PRIu32 "</span>"
            "<svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" role=\"img\"><title>%s over the last "
            "5 minutes, 0 to %" PRIu32 "</title>",
            top, HISTORY_SECONDS, PLOT_HEIGHT, what, top);
        plot_steps(p->out, value, HISTORY_SECONDS, 1, top);
        html_put(p->out, "</svg><span class=\"base\">0</span><span class=\"from\">5 min ago</span>"
                         "<span class=\"to\">now</span></div>\n");
}

static void put_waiting(struct page *p, const struct cluster *c)
{
        uint32_t waiting[HISTORY_SECONDS];
        const struct release *r = &c->release;
        evbuffer_add_printf(p->out,
                            "<p class=\"pins\"><b>%" PRIu64 "</b> pins wait for a replica; <b>%" PRIu64
                            "</b> ended early, <b>%" PRIu64 "</b> at their deadline</p>\n",
                            r->created - r->early - r->expired, r->early, r->expired);
        if (p->plots >= PAGE_PLOTS_MAX)
                return;
        history_read_waiting(&p->core->history, c->number, waiting);
        put_wide(p, waiting, "Pins that wait for a replica");
}

static void put_stored(struct page *p)
{
        uint32_t stored[HISTORY_SECONDS];
        struct store_count count = {0};
        if (p->core->store)
                store_count(p->core->store, &count);
        history_read_stored(&p->core->history, stored);
        evbuffer_add_printf(p->out,
                            "<section aria-labelledby=\"pins\"><h2 id=\"pins\">Pins in the store</h2>\n<p "
                            "class=\"pins\"><b>%" PRIu64 "</b> of <b>%" PRId64
                            "</b> that it has room for, in %s of %s</p>\n",
                            count.pins, p->core->conf->max_pins, span_bytes(count.used_bytes).text,
                            span_bytes(count.map_bytes).text);
        put_wide(p, stored, "Pins in the store");
        html_put(p->out, "</section>\n");
}

/* ---- clusters ---- */

static void put_cluster_facts(struct page *p, const struct cluster *c)
{
        char floor[VERDICT_TEXT_MAX];
        struct verdict_replicas count = verdict_count(c);
        html_put(p->out, "<ul class=\"facts\">");
        if (c->split_brain)
                html_put(p->out, "<li class=\"alarm\"><b>split brain</b></li>");
        html_put(p->out, "<li>primary <b>");
        html_text(p->out, c->primary == PNR_NO_NODE ? "unknown" : c->node[c->primary].conf.name);
        if (c->timeline)
                evbuffer_add_printf(p->out, "</b></li><li>timeline <b>%" PRIu32 "</b></li>", c->timeline);
        else
                html_put(p->out, "</b></li><li>timeline <b>unknown</b></li>");
        evbuffer_add_printf(p->out, "<li>reads on <b>%u of %u</b> replica%s</li>", count.read, count.all,
                            count.all == 1 ? "" : "s");
        bool costs = verdict_of_floor(c, p->now, floor);
        evbuffer_add_printf(p->out, "<li%s>floor: ", costs ? " class=\"costs\"" : "");
        html_text(p->out, floor);
        html_put(p->out, "</li></ul>\n");
}

static void put_row(struct page *p, const struct cluster *c, unsigned slot)
{
        if (slot >= PNR_NODES_MAX || !c->node[slot].conf.name[0])
                return;
        struct page_row row = {.core = p->core,
                               .cluster = c,
                               .slot = slot,
                               .plots = p->plots < PAGE_PLOTS_MAX,
                               .now = p->now,
                               .wall_ms = p->wall_ms};
        p->plots += row.plots;
        page_row_put(p->out, &row);
}

static void put_cluster(struct page *p, const struct cluster *c)
{
        evbuffer_add_printf(p->out, "<section class=\"cluster\" aria-labelledby=\"c%u\"><h2 id=\"c%u\">",
                            c->number, c->number);
        html_text(p->out, c->conf.name);
        html_put(p->out, "</h2>\n");
        put_cluster_facts(p, c);
        evbuffer_add_printf(
            p->out,
            "<div class=\"box\" id=\"b%u\" role=\"region\" aria-labelledby=\"c%u\" tabindex=\"0\">"
            "<table class=\"nodes\">",
            c->number, c->number);
        page_row_head(p->out);
        html_put(p->out, "<tbody>\n");
        put_row(p, c, c->primary);
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++)
                if (slot != c->primary)
                        put_row(p, c, slot);
        html_put(p->out, "</tbody></table></div>\n");
        put_waiting(p, c);
        html_put(p->out, "</section>\n");
}

/* ---- news ---- */

/* The time of the day; the day, too, when it is another. */
static void put_moment(struct page *p, int64_t wall_ms)
{
        char text[32];
        time_t at = (time_t)(wall_ms / 1000), now = (time_t)(p->wall_ms / 1000);
        struct tm t, today;
        localtime_r(&at, &t);
        localtime_r(&now, &today);
        bool same_day = t.tm_yday == today.tm_yday && t.tm_year == today.tm_year;
        strftime(text, sizeof text, same_day ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &t);
        html_put(p->out, text);
}

static void put_change(struct page *p, const struct news_item *item)
{
        const char *kind = item->level == LOG_AT_ERROR     ? "down"
                           : item->level == LOG_AT_WARNING ? "unknown"
                                                           : "plain";
        html_put(p->out, "<tr><td class=\"at\">");
        put_moment(p, item->wall_ms);
        evbuffer_add_printf(p->out, " <small>%s ago</small></td><td class=\"of\">",
                            span_time(mono_since(p->now, item->when)).text);
        html_text(p->out, item->cluster[0] ? item->cluster : "daemon");
        if (item->node[0]) {
                html_put(p->out, "/");
                html_text(p->out, item->node);
        }
        evbuffer_add_printf(p->out, "</td><td class=\"what %s\">", kind);
        html_text(p->out, item->text);
        html_put(p->out, "</td></tr>\n");
}

/* Newest first. */
static void put_news(struct page *p)
{
        const struct news_item *item;
        uint64_t last = p->core->news ? news_last(p->core->news) : 0, shown = 0;
        html_put(p->out,
                 "<section aria-labelledby=\"news\"><h2 id=\"news\">Last changes</h2>\n<table class=\"news\">"
                 "<thead><tr><th scope=\"col\">When</th><th scope=\"col\">Of</th><th scope=\"col\">What</th>"
                 "</tr></thead><tbody>\n");
        for (; shown < NEWS_MAX && last > shown && (item = news_at(p->core->news, last - shown)); shown++)
                put_change(p, item);
        if (!shown)
                html_put(p->out, "<tr><td>none yet</td></tr>");
        html_put(p->out, "</tbody></table></section>\n");
}

/* ---- all ---- */

static unsigned count_nodes(const struct core *core)
{
        unsigned n = 0;
        for (unsigned i = 0; i < core->n_clusters; i++)
                for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++)
                        n += core->cluster[i]->node[slot].conf.name[0] != '\0';
        return n;
}

static void put_main(struct page *p)
{
        html_put(p->out, "<main>\n");
        put_facts(p);
        for (unsigned i = 0; i < p->core->n_clusters; i++)
                if (!p->core->cluster[i]->removed)
                        put_cluster(p, p->core->cluster[i]);
        if (count_nodes(p->core) > PAGE_PLOTS_MAX)
                evbuffer_add_printf(p->out, "<p>Plots are drawn for the first %d nodes only.</p>\n",
                                    PAGE_PLOTS_MAX);
        put_stored(p);
        put_news(p);
        html_put(p->out, "</main>\n");
}

void page_fill(const struct core *core, unsigned clients, struct mono now, int64_t wall_ms,
               struct evbuffer *out)
{
        struct page p = {.core = core, .out = out, .now = now, .wall_ms = wall_ms, .clients = clients};
        gethostname(p.host, sizeof p.host - 1);
        p.alarms = verdict_each(core, now, VERDICT_ALARM, count_only, NULL);
        p.troubles = verdict_each(core, now, VERDICT_TROUBLE, count_only, NULL);
        p.notes = verdict_each(core, now, VERDICT_NOTE, count_only, NULL);
        put_head(&p);
        html_put(out, "<header><h1>pinroute <span>on ");
        html_text(out, p.host);
        html_put(out, "</span></h1>\n");
        put_verdict(&p);
        html_put(out, "</header>\n");
        put_main(&p);
        html_put(out, page_words_html);
        html_put(out, "<script>");
        html_put(out, page_js);
        html_put(out, "</script>\n</body>\n</html>\n");
}
