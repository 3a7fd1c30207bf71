/* test_metrics.c -- every row of metric_rows.h, and what it says of a core that is known. */
#include "tests/unit/core_play.h"

#include <event2/buffer.h>
#include <math.h>
#include <sys/mman.h>

#include "daemon/metrics.h"
#include "proto/counts.h"

static struct conns conns;
static char said[1 << 20];

TestSuite(metrics, .init = core_open, .fini = core_close);

static void fill(void)
{
        struct evbuffer *out = evbuffer_new();
        cr_assert(metrics_fill(&core, &conns, core_now, out));
        size_t n = evbuffer_get_length(out);
        cr_assert_lt(n, sizeof said - 1);
        said[0] = '\n'; /* so that a line can be looked for as a whole */
        evbuffer_remove(out, said + 1, n);
        said[n + 1] = '\0';
        evbuffer_free(out);
}

static bool says(const char *line)
{
        char whole[400];
        snprintf(whole, sizeof whole, "\npinrouted_%s\n", line);
        return strstr(said, whole) != NULL;
}

static void expect(const char *line)
{
        fill();
        cr_expect(says(line), "%s in %s", line, said);
}

Test(metrics, every_row_has_help_and_type_and_each_sample_the_labels_of_its_row)
{
        static const struct {
                const char *name, *type, *labels;
        } rows[] = {
#define GAUGE                                   "gauge"
#define COUNTER                                 "counter"
#define HISTOGRAM                               "histogram"
#define METRIC(name, type, scope, labels, text) {"pinrouted_" #name, type, labels},
#include "daemon/metric_rows.h"
#undef METRIC
        };
        core.cluster[0]->node[1].facts.lag_ms = 0;
        fill();
        const char *at = said;
        for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
                char line[200], labels[200] = "";
                snprintf(line, sizeof line, "\n# TYPE %s %s\n", rows[i].name, rows[i].type);
                cr_assert(at = strstr(at, line), "%s, in the order of the rows", line);
                at += strlen(line);
                if (*at == '#')
                        continue; /* nothing is known */
                cr_assert(!strncmp(at, rows[i].name, strlen(rows[i].name)), "%.100s", at);
                const char *brace = at + strcspn(at, "{\n"), *end = brace;
                while (*end == '{' || *end == ',') {
                        size_t n = strcspn(++end, "=");
                        if (strncmp(end, "le=", 3) != 0)
                                snprintf(labels + strlen(labels), sizeof labels - strlen(labels), "%s%.*s",
                                         labels[0] ? "," : "", (int)n, end);
                        end += n + 2;
                        end += strcspn(end, "\"") + 1;
                }
                cr_expect_str_eq(labels, rows[i].labels, "%s", rows[i].name);
                at--;
        }
}

Test(metrics, a_nodes_state_is_one_of_five_and_an_operators_word_goes_first)
{
        struct cluster_node *n = &core.cluster[0]->node[1];
        n->state = NODE_UP;
        n->answers = n->facts.known = n->facts.in_recovery = true;
        expect("node_up{cluster=\"main\",node=\"shadow-1\",role=\"replica\"} 1");
        expect("node_in_recovery{cluster=\"main\",node=\"shadow-1\"} 1");
        cr_expect(says("node_up{cluster=\"main\",node=\"default\",role=\"primary\"} 0"));
        cr_expect(!says("node_in_recovery{cluster=\"main\",node=\"default\"}"), "it does not answer");
        cr_expect(says("node_state{cluster=\"main\",node=\"shadow-1\",state=\"UP\"} 1"));
        cr_expect(says("node_state{cluster=\"main\",node=\"shadow-1\",state=\"DOWN\"} 0"));
        cr_expect(says("node_state{cluster=\"main\",node=\"default\",state=\"UNKNOWN\"} 1"));
        n->admin = NODE_DRAIN;
        expect("node_state{cluster=\"main\",node=\"shadow-1\",state=\"drain\"} 1");
        cr_expect(says("node_state{cluster=\"main\",node=\"shadow-1\",state=\"UP\"} 0"));
        cr_expect(says("node_up{cluster=\"main\",node=\"shadow-1\",role=\"replica\"} 1"));
}

Test(metrics, lag_is_absent_until_it_is_known)
{
        struct cluster *c = core.cluster[0];
        struct cluster_node *n = &c->node[1];
        fill();
        cr_expect_null(strstr(said, "\npinrouted_node_lag_seconds{"));
        cr_expect_null(strstr(said, "\npinrouted_node_lag_bytes{"));
        c->timeline = 1;
        marks_put(&c->samples, 1, (struct lsn){1000});
        n->facts = (struct node_facts){.known = true, .timeline = 1, .lag_ms = 1250, .position = {900}};
        expect("node_lag_seconds{cluster=\"main\",node=\"shadow-1\"} 1.25");
        cr_expect(says("node_lag_bytes{cluster=\"main\",node=\"shadow-1\"} 100"));
}

Test(metrics, checks_share_and_weight_are_a_nodes_own)
{
        struct cluster *c = core.cluster[0];
        c->node[1].checks = 10;
        c->node[1].failures = 3;
        c->node[1].state_changes = 2;
        c->node[1].conf.weight = 5;
        c->n_schedule = 4;
        memcpy(c->schedule, "\1\2\1\1", 4);
        expect("node_checks_total{cluster=\"main\",node=\"shadow-1\",outcome=\"good\"} 7");
        cr_expect(says("node_checks_total{cluster=\"main\",node=\"shadow-1\",outcome=\"bad\"} 3"));
        cr_expect(says("node_state_changes_total{cluster=\"main\",node=\"shadow-1\"} 2"));
        cr_expect(says("node_weight{cluster=\"main\",node=\"shadow-1\"} 5"));
        cr_expect(says("node_schedule_share{cluster=\"main\",node=\"shadow-1\"} 0.75"));
}

Test(metrics, each_key_that_was_recorded_has_one_outcome)
{
        core.stats = (struct core_stats){.records = 10,
                                         .holds = 5,
                                         .tokens = 3,
                                         .floored_records = 6,
                                         .floored_holds = 2,
                                         .floored_tokens = 1,
                                         .refused = 9};
        expect("records_total{outcome=\"pinned\"} 7");
        cr_expect(says("records_total{outcome=\"held\"} 3"));
        cr_expect(says("records_total{outcome=\"token\"} 2"));
        cr_expect(says("records_total{outcome=\"floored\"} 6"));
        cr_expect(says("records_total{outcome=\"refused\"} 9"));
}

Test(metrics, a_pin_is_created_by_each_key_that_is_recorded_but_by_no_floor_and_no_covered_token)
{
        core_record(1, 5000);
        core_record(1, 5000);
        core_ask(PNR_OP_HOLD, "main", 2, 1000);
        struct core_item many = core_item_many("main", 10, 5, 5000),
                         elsewhere = core_item(PNR_OP_RECORD, "none", 3, 0);
        core_step(&many, 1, 1);
        core_step(&elsewhere, 1, 1);
        expect("pins_created_total{cluster=\"main\"} 8");
        cr_expect(says("pins_created_total{cluster=\"other\"} 0"));
        struct core_item token = core_item(PNR_OP_TOKEN, "main", 1, 5000);
        token.request.stamp = core_pin("main", 1).stamp;
        core_step(&token, 1, 1);
        cr_assert(token.answered && token.covered);
        expect("pins_created_total{cluster=\"main\"} 8");
        uint64_t filled = core_fill(5000), floored = core.stats.floored_records;
        cr_assert(floored);
        fill();
        cr_expect_eq(core.cluster[0]->release.created, 8 + filled - floored);
}

/* What a process writes there is its own affair: no sample comes twice for it. */
Test(metrics, decisions_are_told_by_node_and_reason_and_made_up_reasons_as_one)
{
        int fd[2];
        core.counts = counts_open();
        counts_limit(core.counts, 4);
        cr_assert(counts_give(core.counts, 1, fd));
        struct pnr_counts *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED, fd[0], 0);
        cr_assert_neq(m, MAP_FAILED);
        close(fd[0]);
        m->lane[0].head.next_lane = 1;
        m->lane[0].head.used = 1;
        m->lane[0].head.count[PINROUTE_STORE_UNAVAILABLE] = 3;
        m->lane[0].page[0].count[1][PINROUTE_BALANCED] = 7;
        m->lane[0].page[0].count[1][14] = 10;
        m->lane[0].page[0].count[1][15] = 20;
        m->lane[0].page[0].count[9][PINROUTE_BALANCED] = 5;
        expect("decisions_total{cluster=\"main\",node=\"shadow-1\",reason=\"BALANCED\"} 7");
        cr_expect(says("decisions_total{cluster=\"\",node=\"\",reason=\"STORE_UNAVAILABLE\"} 3"));
        cr_expect(says("decisions_total{cluster=\"main\",node=\"shadow-1\",reason=\"UNKNOWN\"} 30"));
        cr_expect(says("processes 1"));
        cr_expect_null(strstr(said, "} 5\n"), "of a slot that no node has");
        munmap(m, sizeof *m);
        counts_close(&core.counts);
}

Test(metrics, the_heartbeat_is_told_in_seconds_since_1970_once_there_was_one)
{
        fill();
        const char *beat = strstr(said, "\npinrouted_heartbeat_timestamp_seconds ");
        cr_assert_not_null(beat);
        double seconds = strtod(strchr(beat + 1, ' '), NULL);
        cr_expect_lt(fabs(seconds - (double)clock_ms(CLOCK_REALTIME) / 1000), 5);
        core.beat.ms = 0;
        fill();
        cr_expect_null(strstr(said, "\npinrouted_heartbeat_timestamp_seconds "));
}

Test(metrics, a_removed_cluster_and_a_free_slot_are_not_told_of)
{
        core_conf.n_clusters = 1;
        core_configure(&core, &core_conf, core_now);
        fill();
        cr_expect(strstr(said, "cluster=\"main\""));
        cr_expect_null(strstr(said, "cluster=\"other\""));
        cr_expect_null(strstr(said, "node=\"\""));
}

Test(metrics, without_a_store_the_rest_is_told)
{
        struct store *s = core.store;
        core.store = NULL;
        expect("pins 0");
        cr_expect(says("store_map_bytes 0"));
        core.store = s;
        expect("pins_max 1000");
        cr_expect_not(says("store_map_bytes 0"));
}
