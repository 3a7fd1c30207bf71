/* page_row.c -- one node's row of the status page.
 * Every cell carries its column's name, which a narrow screen shows in front of it. */
#include "daemon/page_row.h"

#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "daemon/html.h"
#include "daemon/measure.h"
#include "daemon/plot.h"
#include "daemon/span.h"
#include "daemon/verdict.h"

#define SMALL_EACH   3   /* values in one step of a small plot */
#define LAG_LEAST_MS 100 /* the scale of a lag plot ends there or above */

static const char *const column[] = {"Node",  "Role",      "State", "Since",  "Why",
                                     "Share", "Decisions", "Lag",   "Behind", "Last check"};

void page_row_head(struct evbuffer *out)
{
        html_put(out, "<thead><tr>");
        for (unsigned i = 0; i < sizeof column / sizeof *column; i++)
                evbuffer_add_printf(out, "<th scope=\"col\">%s</th>", column[i]);
        html_put(out, "</tr></thead>");
}

void page_row_ago(struct evbuffer *out, struct mono then, struct mono now, int64_t wall_ms)
{
        time_t at = (time_t)((wall_ms - mono_since(now, then)) / 1000);
        struct tm t;
        gmtime_r(&at, &t);
        evbuffer_add_printf(out, "<time datetime=\"%04d-%02d-%02dT%02d:%02d:%02dZ\">%s</time>",
                            t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec,
                            span_time(mono_since(now, then)).text);
}

/* ---- cells ---- */

struct cells {
        struct evbuffer *out;
        const struct page_row *row;
        const struct cluster_node *node;
        struct history_node history;
        bool leads;
};

/* Not by the buffer's printf: this is most of a large page. */
static void open_cell(struct cells *c, const char *kind, const char *name)
{
        html_put(c->out, "<td class=\"");
        html_put(c->out, kind);
        html_put(c->out, "\" data-label=\"");
        html_put(c->out, name);
        html_put(c->out, "\">");
}

static void close_cell(struct cells *c) { html_put(c->out, "</td>"); }

static void open_plot(struct cells *c, const char *kind, const char *what)
{
        evbuffer_add_printf(c->out,
                            "<svg class=\"%s\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" "
                            "role=\"img\"><title>%s of ",
                            kind, HISTORY_SECONDS, PLOT_HEIGHT, what);
        html_text(c->out, c->node->conf.name);
        html_put(c->out, " in the last 5 minutes");
}

static void end_title(struct cells *c) { html_put(c->out, "</title>"); }
static void close_plot(struct cells *c) { html_put(c->out, "</svg>"); }

static unsigned count_state(const struct history_node *h, enum history_state state)
{
        unsigned n = 0;
        for (unsigned i = 0; i < HISTORY_SECONDS; i++)
                n += h->state[i] == state;
        return n;
}

static void put_states(struct cells *c)
{
        static const char *const name[HISTORY_STATES] = {
            [HISTORY_UP] = "up",       [HISTORY_DOWN] = "down",   [HISTORY_UNSURE] = "unknown",
            [HISTORY_DRAIN] = "drain", [HISTORY_MAINT] = "maint",
        };
        open_plot(c, "strip", "State");
        for (unsigned s = HISTORY_UP; s < HISTORY_STATES; s++) {
                unsigned n = count_state(&c->history, (enum history_state)s);
                if (n)
                        evbuffer_add_printf(c->out, ", %s for %s", name[s], span_time(n * 1000).text);
        }
        end_title(c);
        plot_bands(c->out, c->history.state, HISTORY_SECONDS, name);
        close_plot(c);
}

static const char *class_of_state(enum node_state s)
{
        return s == NODE_UP ? "up" : s == NODE_DOWN ? "down" : "unknown";
}

static void put_state(struct cells *c)
{
        const struct cluster_node *n = c->node;
        open_cell(c, "state", "State");
        if (n->admin != NODE_MAINT)
                evbuffer_add_printf(c->out, "<b class=\"%s\">%s</b>", class_of_state(n->state),
                                    node_state_name(n->state));
        if (n->admin != NODE_READY)
                evbuffer_add_printf(c->out, " <b class=\"%s\">%s</b>",
                                    n->admin == NODE_DRAIN ? "drain" : "maint",
                                    n->admin == NODE_DRAIN ? "DRAIN" : "MAINT");
        if (c->row->plots)
                put_states(c);
        close_cell(c);
}

static void put_why(struct cells *c)
{
        char progress[VERDICT_TEXT_MAX];
        const struct cluster_node *n = c->node;
        open_cell(c, "why", "Why");
        if (n->admin == NODE_MAINT)
                html_put(c->out, "in maintenance: not checked");
        else if (n->why[0])
                html_text(c->out, n->why);
        else if (n->state != NODE_UP) {
                verdict_of_progress(c->row->cluster, n, progress);
                html_text(c->out, progress);
        } else if (!c->leads && !n->conf.weight)
                html_put(c->out, "weight 0: not read from");
        close_cell(c);
}

static void put_share(struct cells *c)
{
        uint32_t share[HISTORY_SECONDS];
        for (unsigned i = 0; i < HISTORY_SECONDS; i++)
                share[i] = c->history.state[i] == HISTORY_ABSENT ? PLOT_GAP : c->history.share[i];
        const struct cluster *of = c->row->cluster;
        unsigned now = of->n_schedule ? measure_places(of, c->row->slot) * 1000 / of->n_schedule : 0;
        open_cell(c, "share", "Share");
        evbuffer_add_printf(c->out, "<div class=\"pair\"><span>%u.%u %% <small>weight %u</small></span>",
                            now / 10, now % 10, c->node->conf.weight);
        if (c->row->plots) {
                open_plot(c, "small", "Share of the reads");
                html_put(c->out, ", 0 to 100 %");
                end_title(c);
                plot_steps(c->out, share, HISTORY_SECONDS, SMALL_EACH, 1000);
                close_plot(c);
        }
        html_put(c->out, "</div>");
        close_cell(c);
}

static void put_decisions(struct cells *c)
{
        const struct history_node *h = c->row->core->history.node[c->row->cluster->number][c->row->slot];
        open_cell(c, "decisions", "Decisions");
        if (h)
                evbuffer_add_printf(c->out, "%" PRIu32 "/s <small>%" PRIu64 " in all</small>", h->per_second,
                                    h->decided);
        close_cell(c);
}

static void plot_lag(struct cells *c, uint32_t max, uint32_t top)
{
        static const char *const gap[] = {NULL, "gap"};
        uint8_t unknown[HISTORY_SECONDS];
        for (unsigned i = 0; i < HISTORY_SECONDS; i++)
                unknown[i] = c->history.state[i] != HISTORY_ABSENT && c->history.lag_ms[i] == HISTORY_UNKNOWN;
        open_plot(c, "small", "Lag");
        evbuffer_add_printf(c->out, ": at most %s, limit %s; grey where it is unknown", span_short(max).text,
                            span_short(c->node->conf.max_lag_ms).text);
        end_title(c);
        plot_bands(c->out, unknown, HISTORY_SECONDS, gap);
        plot_steps(c->out, c->history.lag_ms, HISTORY_SECONDS, SMALL_EACH, top);
        if (c->node->conf.max_lag_ms <= top)
                evbuffer_add_printf(c->out, "<path class=\"limit\" d=\"M0 %dH%d\"/>",
                                    (int)(PLOT_HEIGHT - c->node->conf.max_lag_ms * PLOT_HEIGHT / top),
                                    HISTORY_SECONDS);
        close_plot(c);
}

static bool ever_known(const uint32_t value[HISTORY_SECONDS])
{
        for (unsigned i = 0; i < HISTORY_SECONDS; i++)
                if (value[i] != HISTORY_UNKNOWN)
                        return true;
        return false;
}

/* A plot of nothing known would have a scale of its own making: there is none. */
static void put_lag(struct cells *c)
{
        uint64_t ms;
        open_cell(c, "lag", "Lag");
        if (c->leads) {
                html_put(c->out, "<span class=\"none\">none</span>");
                close_cell(c);
                return;
        }
        evbuffer_add_printf(c->out, "<div class=\"pair\"><span>%s",
                            measure_lag(c->row->cluster, c->row->slot, &ms) ? span_short((int64_t)ms).text
                                                                            : "unknown");
        if (c->row->plots && ever_known(c->history.lag_ms)) {
                uint32_t max = plot_max(c->history.lag_ms, HISTORY_SECONDS),
                         top = plot_top(max, LAG_LEAST_MS);
                evbuffer_add_printf(c->out, " <small>0 to %s</small></span>", span_short(top).text);
                plot_lag(c, max, top);
        } else
                html_put(c->out, "</span>");
        html_put(c->out, "</div>");
        close_cell(c);
}

static void put_behind(struct cells *c)
{
        uint64_t bytes;
        open_cell(c, "behind", "Behind");
        if (c->leads)
                html_put(c->out, "<span class=\"none\">none</span>");
        else if (c->node->answers && measure_behind(c->row->cluster, c->row->slot, &bytes))
                html_put(c->out, span_bytes(bytes).text);
        else
                html_put(c->out, "<span class=\"none\">unknown</span>");
        close_cell(c);
}

static unsigned bad_in_a_row(const struct node_window *w)
{
        unsigned n = 0;
        while (n < w->n && window_all(w, n + 1, false))
                n++;
        return n;
}

static void put_check(struct cells *c)
{
        const struct cluster_node *n = c->node;
        unsigned bad = bad_in_a_row(&n->window);
        open_cell(c, "check", "Last check");
        if (n->admin == NODE_MAINT)
                html_put(c->out, "<span class=\"none\">not checked</span>");
        else if (!n->checks)
                html_put(c->out, "<span class=\"none\">none yet</span>");
        else if (bad)
                evbuffer_add_printf(
                    c->out, bad < WINDOW_MAX ? "failed, %u in a row" : "failed, more than %u in a row",
                    bad < WINDOW_MAX ? bad : WINDOW_MAX - 1);
        else
                evbuffer_add_printf(c->out, "good, %.1f ms", n->took_us / 1000.0);
        if (n->failures && n->admin != NODE_MAINT)
                evbuffer_add_printf(c->out, " <small>%" PRIu64 " of %" PRIu64 " failed</small>", n->failures,
                                    n->checks);
        close_cell(c);
}

void page_row_put(struct evbuffer *out, const struct page_row *row)
{
        struct cells c = {
            .out = out,
            .row = row,
            .node = &row->cluster->node[row->slot],
            .leads = row->slot == row->cluster->primary,
        };
        if (row->plots)
                history_read(&row->core->history, row->cluster->number, row->slot, &c.history);
        bool out_of_use = c.node->state == NODE_DOWN && c.node->admin == NODE_READY;
        evbuffer_add_printf(out, "<tr class=\"%s%s\"><th scope=\"row\">", c.leads ? "primary" : "replica",
                            out_of_use ? " out" : "");
        html_text(out, c.node->conf.name);
        html_put(out, "</th>");
        open_cell(&c, "role", "Role");
        html_put(out, c.leads ? "primary</td>" : "replica</td>");
        put_state(&c);
        open_cell(&c, "since", "Since");
        page_row_ago(out, c.node->since, row->now, row->wall_ms);
        close_cell(&c);
        put_why(&c);
        put_share(&c);
        put_decisions(&c);
        put_lag(&c);
        put_behind(&c);
        put_check(&c);
        html_put(out, "</tr>\n");
}
