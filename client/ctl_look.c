/* ctl_look.c -- looks at the daemon, and what lies between two of them.
 * The only file that knows how a rate is made. */
#include "client/ctl_look.h"

#include <stdio.h>
#include <string.h>

#include "client/clock.h"

const char *ctl_look_text(const json_t *object, const char *key)
{
        const char *s = json_string_value(json_object_get(object, key));
        return s ? s : "";
}

int64_t ctl_look_number(const json_t *object, const char *key)
{
        const json_t *v = json_object_get(object, key);
        return json_is_integer(v) ? json_integer_value(v) : CTL_LOOK_UNKNOWN;
}

/* What `words` are answered with; NULL. */
static json_t *ask(struct ctl_look *look, const struct ctl *ctl, const char *const words[], int64_t most_ms)
{
        struct ctl_reply reply;
        if (!ctl_call_try(ctl, words, most_ms, &reply, look->why))
                return NULL;
        json_t *doc = json_incref(reply.doc);
        ctl_call_free(&reply);
        return doc;
}

void ctl_look_take(struct ctl_look *look, const struct ctl *ctl, int64_t most_ms)
{
        *look = (struct ctl_look){.at_ns = clock_ns(), .wall_ms = clock_wall_us() / 1000};
        look->status = ask(look, ctl, (const char *const[]){"status", NULL}, most_ms);
        look->answered = look->status != NULL;
        if (!look->answered)
                return;
        look->stats = ask(look, ctl, (const char *const[]){"show", "stats", NULL}, most_ms);
        look->news = ask(look, ctl, (const char *const[]){"show", "news", NULL}, most_ms);
}

void ctl_look_free(struct ctl_look *look)
{
        json_decref(look->status);
        json_decref(look->stats);
        json_decref(look->news);
        *look = (struct ctl_look){0};
}

/* ---- rates ---- */

/* Who did not answer has no epoch, and has counted nothing. */
static bool same_daemon(const struct ctl_look *now, const struct ctl_look *before)
{
        return before && now->at_ns > before->at_ns &&
               !strcmp(ctl_look_text(now->status, "epoch"), ctl_look_text(before->status, "epoch"));
}

static double per_second(const struct ctl_look *now, const struct ctl_look *before, int64_t more)
{
        return more < 0 ? CTL_LOOK_UNKNOWN : (double)more * 1e9 / (double)(now->at_ns - before->at_ns);
}

double ctl_look_rate(const struct ctl_look *now, const struct ctl_look *before, const char *const names[])
{
        int64_t more = 0;
        if (!same_daemon(now, before))
                return CTL_LOOK_UNKNOWN;
        for (; *names; names++) {
                int64_t a = ctl_look_number(json_object_get(before->stats, "stats"), *names);
                int64_t b = ctl_look_number(json_object_get(now->stats, "stats"), *names);
                if (a < 0 || b < 0)
                        return CTL_LOOK_UNKNOWN;
                more += b - a;
        }
        return per_second(now, before, more);
}

/* What processes decided since the daemon's start: for one node, its reads; cluster NULL: all there is. */
static int64_t decided(const struct ctl_look *look, const char *cluster, const char *node)
{
        const json_t *rows = json_object_get(look->stats, "decisions");
        int64_t n = 0;
        if (!json_is_array(rows))
                return CTL_LOOK_UNKNOWN;
        for (size_t i = 0; i < json_array_size(rows); i++) {
                const json_t *row = json_array_get(rows, i);
                bool of_node = cluster && !strcmp(ctl_look_text(row, "cluster"), cluster) &&
                               !strcmp(ctl_look_text(row, "node"), node) &&
                               strcmp(ctl_look_text(row, "reason"), "WRITE") != 0;
                if (!cluster || of_node)
                        n += json_integer_value(json_object_get(row, "count"));
        }
        return n;
}

static double decided_rate(const struct ctl_look *now, const struct ctl_look *before, const char *cluster,
                           const char *node)
{
        if (!same_daemon(now, before))
                return CTL_LOOK_UNKNOWN;
        int64_t a = decided(before, cluster, node), b = decided(now, cluster, node);
        return a < 0 ? CTL_LOOK_UNKNOWN : per_second(now, before, b - a); /* without b, it is less */
}

double ctl_look_decisions(const struct ctl_look *now, const struct ctl_look *before)
{
        return decided_rate(now, before, NULL, NULL);
}

/* ---- rows ---- */

static const char *id_of(const char *cluster, const json_t *node, char buf[2 * PNR_NAME_SIZE + 2])
{
        snprintf(buf, 2 * PNR_NAME_SIZE + 2, "%.63s/%.63s", cluster, ctl_look_text(node, "name"));
        return buf;
}

static int64_t most_of(const json_t *seen)
{
        int64_t most = CTL_LOOK_UNKNOWN;
        for (size_t i = 0; i < json_array_size(seen); i++) {
                int64_t lag = json_integer_value(json_array_get(seen, i));
                most = lag > most ? lag : most;
        }
        return most;
}

static void remember(json_t *lags, const char *id, int64_t lag_ms)
{
        json_t *seen = json_object_get(lags, id);
        if (!seen) {
                seen = json_array();
                json_object_set_new(lags, id, seen);
        }
        json_array_append_new(seen, json_integer(lag_ms));
        if (json_array_size(seen) > CTL_LOOK_LAGS)
                json_array_remove(seen, 0);
}

/* One node after the other, of all clusters. */
struct node_at {
        const json_t *clusters, *cluster, *node;
        size_t c, n;
};

static bool next_node(struct node_at *at)
{
        for (; at->c < json_array_size(at->clusters); at->c++, at->n = 0) {
                at->cluster = json_array_get(at->clusters, at->c);
                at->node = json_array_get(json_object_get(at->cluster, "nodes"), at->n++);
                if (at->node)
                        return true;
        }
        return false;
}

void ctl_look_remember(const struct ctl_look *now, json_t *lags)
{
        struct node_at at = {.clusters = json_object_get(now->status, "clusters")};
        char id[2 * PNR_NAME_SIZE + 2];
        while (next_node(&at))
                remember(lags, id_of(ctl_look_text(at.cluster, "name"), at.node, id),
                         ctl_look_number(at.node, "lag_ms"));
}

unsigned ctl_look_rows(const struct ctl_look *now, const struct ctl_look *before, json_t *lags,
                       struct ctl_row rows[CTL_LOOK_ROWS])
{
        unsigned count = 0;
        struct node_at at = {.clusters = json_object_get(now->status, "clusters")};
        char id[2 * PNR_NAME_SIZE + 2];
        for (; count < CTL_LOOK_ROWS && next_node(&at); count++) {
                const json_t *n = at.node;
                const char *cluster = ctl_look_text(at.cluster, "name");
                rows[count] = (struct ctl_row){
                    .cluster = cluster,
                    .name = ctl_look_text(n, "name"),
                    .role = ctl_look_text(n, "role"),
                    .state = ctl_look_text(n, "state"),
                    .admin = ctl_look_text(n, "admin"),
                    .why = ctl_look_text(n, "why"),
                    .since_ms = ctl_look_number(n, "since_ms"),
                    .lag_ms = ctl_look_number(n, "lag_ms"),
                    .lag_most_ms = most_of(json_object_get(lags, id_of(cluster, n, id))),
                    .behind_bytes = ctl_look_number(n, "behind_bytes"),
                    .weight = ctl_look_number(n, "weight"),
                    .checks = ctl_look_number(n, "checks"),
                    .fails = ctl_look_number(n, "fails"),
                    .share = json_number_value(json_object_get(n, "share")),
                    .check_ms = json_number_value(json_object_get(n, "check_ms")),
                    .reads_s = decided_rate(now, before, cluster, ctl_look_text(n, "name")),
                    .at = count,
                };
        }
        return count;
}
