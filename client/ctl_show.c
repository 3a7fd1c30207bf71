/* ctl_show.c -- the daemon's answers as text for people: one function per kind of answer.
 * Reads documents, writes lines; asks nobody. */
#include "client/ctl_show.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "client/ctl_commands.h"
#include "client/ctl_event.h"
#include "client/ctl_text.h"

#define SCHEDULE_SHOWN 16

static const char *text_of(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s && *s ? s : "-";
}

static json_int_t count_of(const json_t *o, const char *key)
{
        return json_integer_value(json_object_get(o, key));
}

static const char *plural(json_int_t n) { return n == 1 ? "" : "s"; }

static const char *span_of(const json_t *o, const char *key, char buf[CTL_TEXT_SPAN_MAX])
{
        const json_t *v = json_object_get(o, key);
        return json_is_integer(v) ? ctl_text_span(json_integer_value(v), buf) : "-";
}

static const char *bytes_of(const json_t *o, const char *key, char buf[CTL_TEXT_SPAN_MAX])
{
        const json_t *v = json_object_get(o, key);
        return json_is_integer(v) ? ctl_text_bytes(json_integer_value(v), buf) : "-";
}

static bool is_up(const json_t *node) { return strcmp(text_of(node, "state"), "UP") == 0; }

/* "shadow-1 shadow-2", at most `most` of them. */
static void join(const json_t *names, size_t most, char *buf, size_t size)
{
        size_t i;
        const json_t *name;
        int n = 0;
        buf[0] = '\0';
        json_array_foreach(names, i, name)
        {
                const char *word = i == most ? "..." : json_string_value(name);
                if (i > most || n < 0 || (size_t)n >= size)
                        break;
                n += snprintf(buf + n, size - (size_t)n, "%s%s", i ? " " : "", word ? word : "-");
        }
}

static void put_health(struct ctl_table *t, const json_t *node)
{
        char buf[CTL_TEXT_SPAN_MAX];
        ctl_table_put(t, "%s", text_of(node, "role"));
        ctl_table_put(t, "%s", text_of(node, "state"));
        ctl_table_put(t, "%s", text_of(node, "admin"));
        ctl_table_put(t, "%s", span_of(node, "since_ms", buf));
        ctl_table_put(t, "%s", span_of(node, "lag_ms", buf));
        ctl_table_put(t, "%s", bytes_of(node, "behind_bytes", buf));
        if (strcmp(text_of(node, "role"), "replica") == 0)
                ctl_table_put(t, "%.1f%%", json_number_value(json_object_get(node, "share")));
        else
                ctl_table_put(t, "-");
        ctl_table_put(t, "%.1fms", json_number_value(json_object_get(node, "check_ms")));
}

/* A floor that all replicas have reached costs nobody anything: the daemon knows. */
static void show_floor(const json_t *cluster, FILE *to)
{
        char span[CTL_TEXT_SPAN_MAX];
        ctl_text_line(to, "  floor: every key needs generation %" JSON_INTEGER_FORMAT " for %s more: %s",
                      count_of(cluster, "floor_generation"), span_of(cluster, "floor_left_ms", span),
                      text_of(cluster, "floor_why"));
        ctl_text_line(to, "         %s", text_of(cluster, "floor_cost"));
}

static void show_schedule(const json_t *cluster, FILE *to)
{
        char line[1200];
        const json_t *names = json_object_get(cluster, "schedule");
        join(names, SCHEDULE_SHOWN, line, sizeof line);
        if (*line)
                ctl_text_line(to, "  schedule: %s", line);
        else
                ctl_text_line(to, "  schedule: empty: %s", text_of(cluster, "without_replica"));
}

static void show_cluster(const json_t *cluster, FILE *to)
{
        static const char *const heads[] = {"NODE",    "ROLE",   "STATE",  "ADMIN", ">SINCE", ">LAG",
                                            ">BEHIND", ">SHARE", ">CHECK", "WHY",   NULL};
        struct ctl_table t;
        size_t i;
        const json_t *node;
        ctl_text_line(to, "%s", "");
        ctl_text_line(to, "cluster %s: primary %s, open generation %" JSON_INTEGER_FORMAT,
                      text_of(cluster, "name"), text_of(cluster, "primary"),
                      count_of(cluster, "open_generation"));
        show_schedule(cluster, to);
        if (count_of(cluster, "floor_left_ms") > 0)
                show_floor(cluster, to);
        ctl_table_init(&t, heads);
        json_array_foreach(json_object_get(cluster, "nodes"), i, node)
        {
                ctl_table_put(&t, "%s", text_of(node, "name"));
                put_health(&t, node);
                ctl_table_put(&t, "%s", is_up(node) ? "" : text_of(node, "why"));
        }
        ctl_table_print(&t, to, 2);
}

void ctl_show_status(const json_t *doc, FILE *to)
{
        char span[CTL_TEXT_SPAN_MAX];
        size_t i;
        const json_t *item;
        ctl_text_line(to, "pinrouted %s, pid %" JSON_INTEGER_FORMAT ", up %s: %s", text_of(doc, "version"),
                      count_of(doc, "pid"), span_of(doc, "uptime_ms", span),
                      json_is_true(json_object_get(doc, "degraded")) ? "DEGRADED" : "ok");
        json_array_foreach(json_object_get(doc, "why"), i, item)
            ctl_text_line(to, "  ! %s", json_is_string(item) ? json_string_value(item) : "-");
        json_int_t pins = count_of(doc, "pins"), clients = count_of(doc, "clients");
        ctl_text_line(to,
                      "%" JSON_INTEGER_FORMAT " pin%s (max_pins %" JSON_INTEGER_FORMAT
                      "), %" JSON_INTEGER_FORMAT " client%s",
                      pins, plural(pins), count_of(doc, "max_pins"), clients, plural(clients));
        json_array_foreach(json_object_get(doc, "clusters"), i, item) show_cluster(item, to);
}

void ctl_show_nodes(const json_t *doc, FILE *to)
{
        static const char *const heads[] = {"NODE",       "ROLE",    "STATE",    "ADMIN",     ">SINCE",
                                            ">LAG",       ">BEHIND", ">SHARE",   ">CHECK",    ">WEIGHT",
                                            ">CAUGHT-UP", ">STAMP",  "POSITION", ">TIMELINE", ">FAILS",
                                            "WHY",        NULL};
        char span[CTL_TEXT_SPAN_MAX];
        struct ctl_table t;
        size_t i;
        const json_t *node;
        ctl_table_init(&t, heads);
        json_array_foreach(json_object_get(doc, "nodes"), i, node)
        {
                ctl_table_put(&t, "%s/%s", text_of(node, "cluster"), text_of(node, "name"));
                put_health(&t, node);
                ctl_table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(node, "weight"));
                ctl_table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(node, "caught_up"));
                ctl_table_put(&t, "%s", span_of(node, "stamp_age_ms", span));
                ctl_table_put(&t, "%s", text_of(node, "position"));
                if (count_of(node, "timeline"))
                        ctl_table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(node, "timeline"));
                else
                        ctl_table_put(&t, "-");
                ctl_table_put(&t, "%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT, count_of(node, "fails"),
                              count_of(node, "checks"));
                ctl_table_put(&t, "%s", is_up(node) ? "" : text_of(node, "why"));
        }
        ctl_table_print(&t, to, 0);
}

void ctl_show_pins(const json_t *doc, FILE *to)
{
        static const char *const heads[] = {"CLUSTER",     "KEY (HASH)",  ">LEFT", ">HOLD",
                                            ">GENERATION", "RELEASED ON", NULL};
        char line[1200], span[CTL_TEXT_SPAN_MAX];
        struct ctl_table t;
        size_t i;
        const json_t *pin, *pins = json_object_get(doc, "pins");
        ctl_table_init(&t, heads);
        json_array_foreach(pins, i, pin)
        {
                join(json_object_get(pin, "released"), SCHEDULE_SHOWN, line, sizeof line);
                ctl_table_put(&t, "%s", text_of(pin, "cluster"));
                ctl_table_put(&t, "%s", text_of(pin, "key"));
                ctl_table_put(&t, "%s", span_of(pin, "left_ms", span));
                ctl_table_put(&t, "%s",
                              count_of(pin, "hold_left_ms") > 0 ? span_of(pin, "hold_left_ms", span) : "-");
                ctl_table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(pin, "generation"));
                ctl_table_put(&t, "%s", *line ? line : "-");
        }
        ctl_table_print(&t, to, 0);
        json_int_t n = (json_int_t)json_array_size(pins);
        if (json_is_true(json_object_get(doc, "truncated")))
                ctl_text_line(
                    to, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " pins, the rest is not listed",
                    n, count_of(doc, "total"));
        else
                ctl_text_line(to, "%" JSON_INTEGER_FORMAT " pin%s", n, plural(n));
}

void ctl_show_clients(const json_t *doc, FILE *to)
{
        static const char *const heads[] = {">PID", ">UID", ">SINCE", ">LAST", ">REQUESTS", NULL};
        char span[CTL_TEXT_SPAN_MAX];
        struct ctl_table t;
        size_t i;
        const json_t *client, *clients = json_object_get(doc, "clients");
        ctl_table_init(&t, heads);
        json_array_foreach(clients, i, client)
        {
                ctl_table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(client, "pid"));
                ctl_table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(client, "uid"));
                ctl_table_put(&t, "%s", span_of(client, "since_ms", span));
                ctl_table_put(&t, "%s", span_of(client, "last_ms", span));
                ctl_table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(client, "requests"));
        }
        ctl_table_print(&t, to, 0);
        json_int_t n = (json_int_t)json_array_size(clients);
        ctl_text_line(to, "%" JSON_INTEGER_FORMAT " client%s", n, plural(n));
}

void ctl_show_config(const json_t *doc, FILE *to)
{
        static const char *const heads[] = {"SECTION", "KEY", "VALUE", "GIVEN", "CHANGES AT", NULL};
        struct ctl_table t;
        size_t i;
        const json_t *row;
        ctl_table_init(&t, heads);
        json_array_foreach(json_object_get(doc, "options"), i, row)
        {
                ctl_table_put(&t, "%s", text_of(row, "section"));
                ctl_table_put(&t, "%s", text_of(row, "key"));
                ctl_table_put(&t, "%s", text_of(row, "value"));
                ctl_table_put(&t, "%s", json_is_true(json_object_get(row, "default")) ? "default" : "file");
                ctl_table_put(&t, "%s", json_is_true(json_object_get(row, "restart")) ? "restart" : "reload");
        }
        ctl_table_print(&t, to, 0);
        json_array_foreach(json_object_get(doc, "token_keys"), i, row)
            ctl_text_line(to, "token key %s%s", json_is_string(row) ? json_string_value(row) : "-",
                          i ? "" : ", which signs");
}

/* Where processes were sent, and why. */
static void show_decisions(const json_t *rows, FILE *to)
{
        static const char *const heads[] = {"CLUSTER", "NODE", "REASON", ">DECISIONS", NULL};
        struct ctl_table t;
        size_t i;
        const json_t *row;
        if (!json_array_size(rows))
                return;
        ctl_text_line(to, "%s", "");
        ctl_table_init(&t, heads);
        json_array_foreach(rows, i, row)
        {
                ctl_table_put(&t, "%s", text_of(row, "cluster"));
                ctl_table_put(&t, "%s", text_of(row, "node"));
                ctl_table_put(&t, "%s", text_of(row, "reason"));
                ctl_table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(row, "count"));
        }
        ctl_table_print(&t, to, 0);
}

void ctl_show_stats(const json_t *doc, FILE *to)
{
        static const char *const heads[] = {"NAME", ">VALUE", NULL};
        struct ctl_table t;
        const char *name;
        json_t *value;
        ctl_table_init(&t, heads);
        json_object_foreach(json_object_get(doc, "stats"), name, value)
        {
                ctl_table_put(&t, "%s", name);
                if (json_is_integer(value))
                        ctl_table_put(&t, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
                else
                        ctl_table_put(&t, "%.3f", json_number_value(value));
        }
        ctl_table_print(&t, to, 0);
        show_decisions(json_object_get(doc, "decisions"), to);
}

void ctl_show_news(const json_t *doc, FILE *to)
{
        size_t i;
        const json_t *item;
        json_array_foreach(json_object_get(doc, "news"), i, item) ctl_event_show(item, to);
}

/* Lines as they are. */
void ctl_show_metrics(const json_t *doc, FILE *to)
{
        const char *text = json_string_value(json_object_get(doc, "metrics"));
        for (; text && *text; text++)
                fputc((unsigned char)*text < 0x20 && *text != '\n' ? '?' : *text, to);
}

void ctl_show_pinned(const json_t *doc, FILE *to)
{
        char span[CTL_TEXT_SPAN_MAX];
        ctl_text_line(to, "pinned for %s%s, generation %" JSON_INTEGER_FORMAT, span_of(doc, "left_ms", span),
                      json_is_true(json_object_get(doc, "cut")) ? ", as long as max_pin_seconds lets it be"
                                                                : "",
                      count_of(doc, "generation"));
}

void ctl_show_admin(const json_t *doc, FILE *to)
{
        ctl_text_line(to, "%s/%s: %s", text_of(doc, "cluster"), text_of(doc, "node"), text_of(doc, "admin"));
        if (json_object_get(doc, "warning"))
                ctl_text_line(to, "  ! %s", text_of(doc, "warning"));
}

void ctl_show_reload(const json_t *doc, FILE *to)
{
        size_t i;
        const json_t *message;
        json_array_foreach(json_object_get(doc, "messages"), i, message)
            ctl_text_line(to, "%s", json_is_string(message) ? json_string_value(message) : "-");
        ctl_text_line(to, "reloaded");
}

ctl_show_fn *ctl_show_find(const char *what)
{
        static const struct {
                const char *what;
                ctl_show_fn *fn;
        } rows[] = {
#define ROW(name, text) {#name, ctl_show_##name},
            CTL_SHOWS(ROW)
#undef ROW
        };
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
                if (strcmp(rows[i].what, what) == 0)
                        return rows[i].fn;
        return NULL;
}
