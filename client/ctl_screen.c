/* ctl_screen.c -- the screen of `top`, in as many lines and columns as there are, and its one line for pipes.
 * Writes text and colours; knows no terminal. */
#include "client/ctl_screen.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/ctl_event.h"
#include "client/ctl_text.h"

#define LINE_SIZE  1024
#define NEWS_SHOWN 5
#define DATE_SIZE  11  /* "2026-11-28 " */
#define DATE_FROM  110 /* columns in which there is room for it */

enum paint { PLAIN, BAR, GOOD, WARN, BAD, CALM };

static const char *const paints[] = {"", "\033[7m", "\033[32m", "\033[33m", "\033[31m", "\033[36m"};

/* Writes line after line while there is room. */
struct pen {
        const struct ctl_view *view;
        FILE *to;
        unsigned used;
};

static void put_line(struct pen *p, enum paint paint, const char *text)
{
        bool on = *text && paint != PLAIN && (paint == BAR || p->view->colour);
        char plain[LINE_SIZE];
        if (p->used == p->view->lines)
                return;
        int width = (int)(p->view->columns < LINE_SIZE ? p->view->columns : LINE_SIZE - 1);
        snprintf(plain, sizeof plain, "%.*s", width, text);
        for (char *c = plain; *c; c++)
                if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
                        *c = '?';
        fprintf(p->to, "%s%s", p->used++ ? "\033[K\n" : "", on ? paints[paint] : "");
        fprintf(p->to, "%-*s%s", paint == BAR ? width : 0, plain, on ? "\033[0m" : "");
}

/* ---- cells ---- */

static const char *span(int64_t ms, char buf[CTL_TEXT_SPAN_MAX])
{
        return ms < 0 ? "-" : ctl_text_span(ms, buf);
}

/* "12.3k": three digits and a letter. */
static const char *rate(double n, char buf[CTL_TEXT_SPAN_MAX])
{
        if (n < 0)
                return "-";
        const char *unit = n >= 999500000 ? "G" : n >= 999500 ? "M" : n >= 999.5 ? "k" : "";
        double by = *unit == 'G' ? 1e9 : *unit == 'M' ? 1e6 : *unit == 'k' ? 1e3 : 1;
        snprintf(buf, CTL_TEXT_SPAN_MAX, "%.*f%s", *unit && n / by < 99.95 ? 1 : 0, n / by, unit);
        return buf;
}

static bool is_replica(const struct ctl_row *r) { return !strcmp(r->role, "replica"); }

/* Has no operator said otherwise? */
static bool is_ready(const struct ctl_row *r) { return !*r->admin || !strcmp(r->admin, "ready"); }

static void cell_node(const struct ctl_row *r, char *to, size_t size)
{
        snprintf(to, size, "%s/%s%s", r->cluster, r->name, is_replica(r) ? "" : " *");
}

static void cell_state(const struct ctl_row *r, char *to, size_t size)
{
        char buf[CTL_TEXT_SPAN_MAX];
        bool ready = is_ready(r);
        snprintf(to, size, "%s%s%s %s", r->state, ready ? "" : "/", ready ? "" : r->admin,
                 span(r->since_ms, buf));
}

static void cell_weight(const struct ctl_row *r, char *to, size_t size)
{
        snprintf(to, size, "%" PRId64, r->weight);
}

static void cell_share(const struct ctl_row *r, char *to, size_t size)
{
        if (is_replica(r))
                snprintf(to, size, "%.1f%%", r->share);
        else
                snprintf(to, size, "-");
}

static void cell_reads(const struct ctl_row *r, char *to, size_t size)
{
        char buf[CTL_TEXT_SPAN_MAX];
        snprintf(to, size, "%s", rate(r->reads_s, buf));
}

static void cell_lag(const struct ctl_row *r, char *to, size_t size)
{
        char buf[CTL_TEXT_SPAN_MAX];
        snprintf(to, size, "%s", span(r->lag_ms, buf));
}

static void cell_most(const struct ctl_row *r, char *to, size_t size)
{
        char buf[CTL_TEXT_SPAN_MAX];
        snprintf(to, size, "%s", span(r->lag_most_ms, buf));
}

static void cell_behind(const struct ctl_row *r, char *to, size_t size)
{
        char buf[CTL_TEXT_SPAN_MAX];
        snprintf(to, size, "%s", r->behind_bytes < 0 ? "-" : ctl_text_bytes(r->behind_bytes, buf));
}

static void cell_check(const struct ctl_row *r, char *to, size_t size)
{
        snprintf(to, size, "%.1fms", r->check_ms);
}

static void cell_fails(const struct ctl_row *r, char *to, size_t size)
{
        snprintf(to, size, "%" PRId64 "/%" PRId64, r->fails, r->checks);
}

/* In the order of the screen.  Where columns are few, the greatest `leaves` goes first; 0 stays. */
static const struct column {
        const char *head;
        int width;
        unsigned leaves;
        void (*cell)(const struct ctl_row *r, char *to, size_t size);
} columns[] = {
    {"NODE (* primary)", -18, 0, cell_node},
    {"STATE", -16, 0, cell_state},
    {"WEIGHT", 6, 8, cell_weight},
    {"SHARE", 6, 3, cell_share},
    {"READS/s", 7, 1, cell_reads},
    {"LAG", 6, 2, cell_lag},
    {"MAX", 6, 5, cell_most},
    {"BEHIND", 9, 4, cell_behind},
    {"CHECK", 7, 6, cell_check},
    {"FAILS", 9, 7, cell_fails},
};
#define N_COLUMNS (sizeof columns / sizeof *columns)

/* Columns with `leaves` beyond this are not shown. */
static unsigned last_shown(unsigned room)
{
        for (unsigned most = N_COLUMNS; most > 0; most--) {
                unsigned width = 0;
                for (size_t i = 0; i < N_COLUMNS; i++)
                        if (columns[i].leaves <= most)
                                width += (unsigned)abs(columns[i].width) + (width ? 2 : 0);
                if (width <= room)
                        return most;
        }
        return 0;
}

/* A cell that is too long keeps its beginning, and "~" says so. */
static size_t put_cell(char *line, size_t at, const struct column *c, const char *text)
{
        char cut[LINE_SIZE];
        int width = abs(c->width);
        if ((int)strlen(text) > width)
                snprintf(cut, sizeof cut, "%.*s~", width - 1, text);
        else
                snprintf(cut, sizeof cut, "%s", text);
        int n = snprintf(line + at, LINE_SIZE - at, "%s%*s", at ? "  " : "", c->width, cut);
        return at + (n > 0 ? (size_t)n : 0);
}

/* row: NULL: the heads. */
static void put_row(struct pen *p, const struct ctl_row *row)
{
        char line[LINE_SIZE] = "", text[LINE_SIZE];
        size_t at = 0;
        unsigned most = last_shown(p->view->columns);
        for (size_t i = 0; i < N_COLUMNS; i++) {
                if (columns[i].leaves > most)
                        continue;
                if (row)
                        columns[i].cell(row, text, sizeof text);
                at = put_cell(line, at, &columns[i], row ? text : columns[i].head);
        }
        bool up = row && !strcmp(row->state, "UP"), ready = row && is_ready(row);
        if (row && !up)
                snprintf(line + at, sizeof line - at, "  %s", row->why);
        bool unknown = row && !strcmp(row->state, "UNKNOWN");
        put_line(p, !row ? BAR : !ready ? CALM : up ? PLAIN : unknown ? WARN : BAD, line);
}

/* ---- the screen ---- */

static int64_t stat_of(const struct ctl_look *look, const char *key)
{
        return ctl_look_number(look->status, key);
}

/* How many records a second, of whatever kind. */
static double records(const struct ctl_view *v)
{
        return ctl_look_rate(v->now, v->before, (const char *const[]){"records", "holds", "tokens", NULL});
}

static double commits(const struct ctl_view *v)
{
        return ctl_look_rate(v->now, v->before, (const char *const[]){"commits", NULL});
}

static void put_head(struct pen *p)
{
        const struct ctl_view *v = p->view;
        char line[LINE_SIZE], a[CTL_TEXT_SPAN_MAX], b[CTL_TEXT_SPAN_MAX], c[CTL_TEXT_SPAN_MAX];
        bool degraded = json_is_true(json_object_get(v->now->status, "degraded"));
        if (v->no_answer) {
                snprintf(line, sizeof line, "no answer for %s: %s", span(v->silent_ms, a), v->no_answer);
                put_line(p, BAD, line);
        } else {
                snprintf(line, sizeof line, "pinrouted %s  up %s  %s",
                         ctl_look_text(v->now->status, "version"), span(stat_of(v->now, "uptime_ms"), a),
                         degraded ? "DEGRADED" : "ok");
                put_line(p, degraded ? BAD : GOOD, line);
        }
        snprintf(line, sizeof line,
                 "pins %" PRId64 "/%" PRId64 "  records/s %s  decisions/s %s  commits/s %s  clients %" PRId64,
                 stat_of(v->now, "pins"), stat_of(v->now, "max_pins"), rate(records(v), a),
                 rate(ctl_look_decisions(v->now, v->before), b), rate(commits(v), c),
                 stat_of(v->now, "clients"));
        put_line(p, PLAIN, line);
        const char *why = json_string_value(json_array_get(json_object_get(v->now->status, "why"), 0));
        snprintf(line, sizeof line, "%s%s", why ? "! " : "", why ? why : "");
        put_line(p, WARN, line);
}

static int64_t rank(const struct ctl_row *r, enum ctl_sort sort)
{
        switch (sort) {
        case CTL_SORT_STATE: return !strcmp(r->state, "DOWN") ? 0 : !strcmp(r->state, "UP") ? 2 : 1;
        case CTL_SORT_LAG: return -r->lag_ms;
        case CTL_SORT_READS: return -(int64_t)(r->reads_s * 1000);
        case CTL_SORT_CLUSTER:
        case CTL_SORT_NAME:
        case CTL_SORT_N: break;
        }
        return 0;
}

static int compare(const void *x, const void *y, void *arg)
{
        const struct ctl_row *a = x, *b = y;
        enum ctl_sort sort = *(const enum ctl_sort *)arg;
        int by_name = sort == CTL_SORT_NAME ? strcmp(a->name, b->name) : 0;
        int64_t ra = rank(a, sort), rb = rank(b, sort);
        return by_name ? by_name : ra != rb ? (ra > rb) - (ra < rb) : (a->at > b->at) - (a->at < b->at);
}

static const char *sort_name(enum ctl_sort sort)
{
        static const char *const names[] = {
#define NAME(name, text) text,
            CTL_SORTS(NAME)
#undef NAME
        };
        return names[sort];
}

static void put_rows(struct pen *p, unsigned room)
{
        static struct ctl_row rows[CTL_LOOK_ROWS];
        const struct ctl_view *v = p->view;
        unsigned n = ctl_look_rows(v->now, v->before, v->lags, rows);
        char line[64];
        enum ctl_sort sort = v->sort;
        qsort_r(rows, n, sizeof *rows, compare, &sort);
        put_row(p, NULL);
        unsigned shown = n <= room ? n : room ? room - 1 : 0;
        for (unsigned i = 0; i < shown; i++)
                put_row(p, &rows[i]);
        snprintf(line, sizeof line, "... %u more: s sorts", n - shown);
        if (shown < n)
                put_line(p, PLAIN, line);
}

static void put_news(struct pen *p, unsigned room)
{
        const json_t *news = json_object_get(p->view->now->news, "news");
        size_t n = json_array_size(news), shown = room < n ? room : n;
        for (size_t i = n - shown; i < n; i++) {
                char line[CTL_EVENT_MAX];
                const json_t *item = json_array_get(news, i);
                ctl_event_text(item, line);
                const char *level = ctl_look_text(item, "level");
                const char *rest = p->view->columns < DATE_FROM ? line + DATE_SIZE : line;
                put_line(p, !strcmp(level, "error") ? BAD : !strcmp(level, "warning") ? WARN : PLAIN, rest);
        }
}

static void put_help(struct pen *p)
{
        static const char *const text[] = {
            "",
            "q        quit",
            "p        pause, and go on",
            "s        sort by cluster, state, lag, reads, name",
            "1 to 9   seconds between two looks",
            "h or ?   this, and back",
            "",
            "STATE    and for how long; /drain and /maint are an operator's words",
            "SHARE    of the schedule; READS/s: as all processes of this host decided",
            "LAG      behind the primary, and MAX of the last 60 looks; BEHIND: in bytes",
            "CHECK    how long the newest took; FAILS: of how many checks",
        };
        for (size_t i = 0; i < sizeof text / sizeof *text; i++)
                put_line(p, PLAIN, text[i]);
}

static void put_foot(struct pen *p)
{
        const struct ctl_view *v = p->view;
        char line[LINE_SIZE];
        while (p->used + 1 < v->lines)
                put_line(p, PLAIN, "");
        snprintf(line, sizeof line, "%sq quit  p %s  s sort: %s  1-9 every %.4gs  h help",
                 v->paused ? "PAUSED  " : "", v->paused ? "go on" : "pause", sort_name(v->sort),
                 v->interval_ms / 1000.0);
        put_line(p, BAR, line);
}

void ctl_screen_draw(const struct ctl_view *view, FILE *to)
{
        struct pen p = {.view = view, .to = to};
        put_head(&p);
        if (view->help) {
                put_help(&p);
        } else {
                unsigned left = view->lines > p.used + 2 ? view->lines - p.used - 2 : 0; /* heads and foot */
                unsigned news = left > 3 * NEWS_SHOWN ? NEWS_SHOWN + 1 : left / 3;
                put_rows(&p, left - news);
                while (news && p.used + 1 + news < view->lines)
                        put_line(&p, PLAIN, "");
                if (news > 1)
                        put_line(&p, BAR, "last changes");
                put_news(&p, news > 1 ? news - 1 : news);
        }
        put_foot(&p);
}

/* ---- lines ---- */

void ctl_screen_heads(FILE *to)
{
        ctl_text_line(to, "%-8s  %7s  %9s  %11s  %9s  %7s  %15s  %7s  %s", "TIME", "PINS", "RECORDS/s",
                      "DECISIONS/s", "COMMITS/s", "CLIENTS", "UP OF ALL NODES", "MAX LAG", "STATE");
}

static void nodes_up(const struct ctl_row *rows, unsigned n, unsigned *up, int64_t *lag_ms)
{
        *up = 0;
        *lag_ms = CTL_LOOK_UNKNOWN;
        for (unsigned i = 0; i < n; i++) {
                *up += !strcmp(rows[i].state, "UP");
                *lag_ms = rows[i].lag_ms > *lag_ms ? rows[i].lag_ms : *lag_ms;
        }
}

void ctl_screen_line(const struct ctl_view *v, FILE *to)
{
        static struct ctl_row rows[CTL_LOOK_ROWS];
        char when[16] = "-", of[32], a[CTL_TEXT_SPAN_MAX], b[CTL_TEXT_SPAN_MAX], c[CTL_TEXT_SPAN_MAX],
             d[CTL_TEXT_SPAN_MAX];
        time_t seconds = (time_t)(v->now->wall_ms / 1000);
        struct tm tm;
        if (localtime_r(&seconds, &tm))
                strftime(when, sizeof when, "%H:%M:%S", &tm);
        if (!v->now->answered) {
                ctl_text_line(to, "%-8s  no answer: %s", when, v->now->why);
                return;
        }
        unsigned up, n = ctl_look_rows(v->now, v->before, v->lags, rows);
        int64_t lag_ms;
        nodes_up(rows, n, &up, &lag_ms);
        snprintf(of, sizeof of, "%u/%u", up, n);
        ctl_text_line(to, "%-8s  %7" PRId64 "  %9s  %11s  %9s  %7" PRId64 "  %15s  %7s  %s", when,
                      stat_of(v->now, "pins"), rate(records(v), a),
                      rate(ctl_look_decisions(v->now, v->before), b), rate(commits(v), c),
                      stat_of(v->now, "clients"), of, span(lag_ms, d),
                      json_is_true(json_object_get(v->now->status, "degraded")) ? "DEGRADED" : "ok");
}

static json_t *number(double n) { return n < 0 ? json_null() : json_real(n); }
static json_t *whole(int64_t n) { return n < 0 ? json_null() : json_integer(n); }

static json_t *json_row(const struct ctl_row *r)
{
        return json_pack("{ss ss ss ss ss so so so so so sf sf so so so}", "cluster", r->cluster, "name",
                         r->name, "role", r->role, "state", r->state, "admin", r->admin, "since_ms",
                         whole(r->since_ms), "weight", whole(r->weight), "lag_ms", whole(r->lag_ms),
                         "lag_max_ms", whole(r->lag_most_ms), "behind_bytes", whole(r->behind_bytes), "share",
                         r->share, "check_ms", r->check_ms, "checks", whole(r->checks), "fails",
                         whole(r->fails), "reads_per_second", number(r->reads_s));
}

static json_t *json_rows(const struct ctl_view *v)
{
        static struct ctl_row rows[CTL_LOOK_ROWS];
        unsigned n = ctl_look_rows(v->now, v->before, v->lags, rows);
        json_t *all = json_array();
        for (unsigned i = 0; i < n; i++)
                json_array_append_new(all, json_row(&rows[i]));
        return all;
}

void ctl_screen_json(const struct ctl_view *v, FILE *to)
{
        json_t *doc;
        if (v->now->answered)
                doc = json_pack(
                    "{sb sI ss sO? sO? sO? sO? sO? so so so so}", "ok", 1, "wall_ms",
                    (json_int_t)v->now->wall_ms, "version", ctl_look_text(v->now->status, "version"),
                    "uptime_ms", json_object_get(v->now->status, "uptime_ms"), "degraded",
                    json_object_get(v->now->status, "degraded"), "pins",
                    json_object_get(v->now->status, "pins"), "max_pins",
                    json_object_get(v->now->status, "max_pins"), "clients",
                    json_object_get(v->now->status, "clients"), "records_per_second", number(records(v)),
                    "decisions_per_second", number(ctl_look_decisions(v->now, v->before)),
                    "commits_per_second", number(commits(v)), "nodes", json_rows(v));
        else
                doc = json_pack("{sb sI ss ss}", "ok", 0, "wall_ms", (json_int_t)v->now->wall_ms, "error",
                                v->now->why, "code", "E_DAEMON");
        json_dumpf(doc, to, JSON_COMPACT | JSON_REAL_PRECISION(6));
        fputc('\n', to);
        json_decref(doc);
}
