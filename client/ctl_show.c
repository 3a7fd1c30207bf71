/* ctl_show.c -- the daemon's answers as text for people: one function per kind of answer.
 * Reads documents, writes lines; asks nobody. */
#include "client/ctl_show.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

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

static const char *span_of(const json_t *o, const char *key, char buf[TEXT_SPAN_MAX])
{
        const json_t *v = json_object_get(o, key);
        return json_is_integer(v) ? text_span(json_integer_value(v), buf) : "-";
}

static const char *bytes_of(const json_t *o, const char *key, char buf[TEXT_SPAN_MAX])
{
        const json_t *v = json_object_get(o, key);
        return json_is_integer(v) ? text_bytes(json_integer_value(v), buf) : "-";
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

static void put_health(struct table *t, const json_t *node)
{
        char buf[TEXT_SPAN_MAX];
        table_put(t, "%s", text_of(node, "role"));
        table_put(t, "%s", text_of(node, "state"));
        table_put(t, "%s", text_of(node, "admin"));
        table_put(t, "%s", span_of(node, "since_ms", buf));
        table_put(t, "%s", span_of(node, "lag_ms", buf));
        table_put(t, "%s", bytes_of(node, "behind_bytes", buf));
        table_put(t, "%.1f%%", json_number_value(json_object_get(node, "share")));
        table_put(t, "%.1fms", json_number_value(json_object_get(node, "check_ms")));
}

static void show_cluster(const json_t *cluster, FILE *to)
{
        static const char *const heads[] = {"NODE",    "ROLE",   "STATE",  "ADMIN", ">SINCE", ">LAG",
                                            ">BEHIND", ">SHARE", ">CHECK", "WHY",   NULL};
        char line[1200], span[TEXT_SPAN_MAX];
        struct table t;
        size_t i;
        const json_t *node;
        join(json_object_get(cluster, "schedule"), SCHEDULE_SHOWN, line, sizeof line);
        text_line(to, "%s", "");
        text_line(to, "cluster %s: primary %s, open generation %" JSON_INTEGER_FORMAT,
                  text_of(cluster, "name"), text_of(cluster, "primary"),
                  count_of(cluster, "open_generation"));
        text_line(to, "  schedule: %s", *line ? line : "empty, all reads go to the primary");
        if (count_of(cluster, "floor_left_ms") > 0)
                text_line(to, "  floor: all keys count as pinned for up to %s more: %s",
                          span_of(cluster, "floor_left_ms", span), text_of(cluster, "floor_why"));
        table_init(&t, heads);
        json_array_foreach(json_object_get(cluster, "nodes"), i, node)
        {
                table_put(&t, "%s", text_of(node, "name"));
                put_health(&t, node);
                table_put(&t, "%s", is_up(node) ? "" : text_of(node, "why"));
        }
        table_print(&t, to, 2);
}

void show_status(const json_t *doc, FILE *to)
{
        char span[TEXT_SPAN_MAX];
        size_t i;
        const json_t *item;
        text_line(to, "pinrouted %s, pid %" JSON_INTEGER_FORMAT ", up %s: %s", text_of(doc, "version"),
                  count_of(doc, "pid"), span_of(doc, "uptime_ms", span),
                  json_is_true(json_object_get(doc, "degraded")) ? "DEGRADED" : "ok");
        json_array_foreach(json_object_get(doc, "why"), i, item)
            text_line(to, "  ! %s", json_is_string(item) ? json_string_value(item) : "-");
        text_line(
            to, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " pins, %" JSON_INTEGER_FORMAT " clients",
            count_of(doc, "pins"), count_of(doc, "max_pins"), count_of(doc, "clients"));
        json_array_foreach(json_object_get(doc, "clusters"), i, item) show_cluster(item, to);
}

void show_nodes(const json_t *doc, FILE *to)
{
        static const char *const heads[] = {"NODE",       "ROLE",    "STATE",    "ADMIN",     ">SINCE",
                                            ">LAG",       ">BEHIND", ">SHARE",   ">CHECK",    ">WEIGHT",
                                            ">CAUGHT-UP", ">STAMP",  "POSITION", ">TIMELINE", ">FAILS",
                                            "WHY",        NULL};
        char span[TEXT_SPAN_MAX];
        struct table t;
        size_t i;
        const json_t *node;
        table_init(&t, heads);
        json_array_foreach(json_object_get(doc, "nodes"), i, node)
        {
                table_put(&t, "%s/%s", text_of(node, "cluster"), text_of(node, "name"));
                put_health(&t, node);
                table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(node, "weight"));
                table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(node, "caught_up"));
                table_put(&t, "%s", span_of(node, "stamp_age_ms", span));
                table_put(&t, "%s", text_of(node, "position"));
                table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(node, "timeline"));
                table_put(&t, "%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT, count_of(node, "fails"),
                          count_of(node, "checks"));
                table_put(&t, "%s", is_up(node) ? "" : text_of(node, "why"));
        }
        table_print(&t, to, 0);
}

void show_pins(const json_t *doc, FILE *to)
{
        static const char *const heads[] = {"CLUSTER",     "KEY",         ">LEFT", ">HOLD",
                                            ">GENERATION", "RELEASED ON", NULL};
        char line[1200], span[TEXT_SPAN_MAX];
        struct table t;
        size_t i;
        const json_t *pin, *pins = json_object_get(doc, "pins");
        table_init(&t, heads);
        json_array_foreach(pins, i, pin)
        {
                join(json_object_get(pin, "released"), SCHEDULE_SHOWN, line, sizeof line);
                table_put(&t, "%s", text_of(pin, "cluster"));
                table_put(&t, "%s", text_of(pin, "key"));
                table_put(&t, "%s", span_of(pin, "left_ms", span));
                table_put(&t, "%s",
                          count_of(pin, "hold_left_ms") > 0 ? span_of(pin, "hold_left_ms", span) : "-");
                table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(pin, "generation"));
                table_put(&t, "%s", *line ? line : "-");
        }
        table_print(&t, to, 0);
        text_line(to, "%zu of %" JSON_INTEGER_FORMAT " pins%s", json_array_size(pins), count_of(doc, "total"),
                  json_is_true(json_object_get(doc, "truncated")) ? ", the rest is not listed" : "");
}

void show_clients(const json_t *doc, FILE *to)
{
        static const char *const heads[] = {">PID", ">UID", ">SINCE", ">LAST", ">REQUESTS", NULL};
        char span[TEXT_SPAN_MAX];
        struct table t;
        size_t i;
        const json_t *client, *clients = json_object_get(doc, "clients");
        table_init(&t, heads);
        json_array_foreach(clients, i, client)
        {
                table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(client, "pid"));
                table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(client, "uid"));
                table_put(&t, "%s", span_of(client, "since_ms", span));
                table_put(&t, "%s", span_of(client, "last_ms", span));
                table_put(&t, "%" JSON_INTEGER_FORMAT, count_of(client, "requests"));
        }
        table_print(&t, to, 0);
        text_line(to, "%zu clients", json_array_size(clients));
}

void show_config(const json_t *doc, FILE *to)
{
        static const char *const heads[] = {"SECTION", "KEY", "VALUE", "GIVEN", "CHANGES AT", NULL};
        struct table t;
        size_t i;
        const json_t *row;
        table_init(&t, heads);
        json_array_foreach(json_object_get(doc, "options"), i, row)
        {
                table_put(&t, "%s", text_of(row, "section"));
                table_put(&t, "%s", text_of(row, "key"));
                table_put(&t, "%s", text_of(row, "value"));
                table_put(&t, "%s", json_is_true(json_object_get(row, "default")) ? "default" : "file");
                table_put(&t, "%s", json_is_true(json_object_get(row, "restart")) ? "restart" : "reload");
        }
        table_print(&t, to, 0);
}

void show_stats(const json_t *doc, FILE *to)
{
        static const char *const heads[] = {"NAME", ">VALUE", NULL};
        struct table t;
        const char *name;
        json_t *value;
        table_init(&t, heads);
        json_object_foreach(json_object_get(doc, "stats"), name, value)
        {
                table_put(&t, "%s", name);
                if (json_is_integer(value))
                        table_put(&t, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
                else
                        table_put(&t, "%.3f", json_number_value(value));
        }
        table_print(&t, to, 0);
}

void show_pinned(const json_t *doc, FILE *to)
{
        char span[TEXT_SPAN_MAX];
        text_line(to, "pinned for %s, generation %" JSON_INTEGER_FORMAT, span_of(doc, "left_ms", span),
                  count_of(doc, "generation"));
}

void show_admin(const json_t *doc, FILE *to)
{
        text_line(to, "%s/%s: %s", text_of(doc, "cluster"), text_of(doc, "node"), text_of(doc, "admin"));
}

void show_reload(const json_t *doc, FILE *to)
{
        size_t i;
        const json_t *message;
        json_array_foreach(json_object_get(doc, "messages"), i, message)
            text_line(to, "%s", json_is_string(message) ? json_string_value(message) : "-");
        if (json_is_true(json_object_get(doc, "reloaded")))
                text_line(to, "reloaded");
        else
                text_line(to, "not reloaded: the configuration in force stays");
}

show_fn *show_find(const char *what)
{
        static const struct {
                const char *what;
                show_fn *fn;
        } rows[] = {{"nodes", show_nodes},
                    {"pins", show_pins},
                    {"clients", show_clients},
                    {"config", show_config},
                    {"stats", show_stats}};
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
                if (strcmp(rows[i].what, what) == 0)
                        return rows[i].fn;
        return NULL;
}
