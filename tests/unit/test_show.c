/* test_show.c -- the daemon's state, spelled out, and what is wrong with it. */
#include "tests/unit/core_play.h"
#include "tests/unit/json_check.h"

#include <event2/buffer.h>
#include <sys/mman.h>

#include "client/pinroute.h"
#include "daemon/show.h"
#include "proto/counts.h"

static struct conns conns;
static char said[1 << 20];

static void open_show(void)
{
        core_open();
        TAILQ_INIT(&conns.by_use);
}

TestSuite(show, .init = open_show, .fini = core_close);

static struct json j;

static void begin(void)
{
        j = (struct json){.out = evbuffer_new()};
        json_open(&j, NULL, '{');
}

static void end(void)
{
        json_close(&j, '}');
        size_t n = evbuffer_get_length(j.out);
        cr_assert_lt(n, sizeof said);
        evbuffer_remove(j.out, said, n);
        said[n] = '\0';
        evbuffer_free(j.out);
        cr_assert(json_check(said), "%s", said);
}

static void expect(const char *part) { cr_expect(strstr(said, part), "'%s' in %s", part, said); }

static void status(void)
{
        begin();
        show_status(&core, 3, core_now, &j);
        end();
}

static void nodes(void)
{
        begin();
        show_nodes(&core, core_now, &j);
        end();
}

Test(show, a_daemon_that_has_just_started_is_degraded_and_says_why)
{
        status();
        expect("\"degraded\":true");
        expect("main/shadow-1 is UNKNOWN: not checked yet");
        expect("\"floor_why\":\"daemon started with an empty store\"");
        expect("\"clients\":3");
        expect("\"schedule\":[]");
        nodes();
        expect("\"lag_ms\":null,\"position\":null,\"behind_bytes\":null");
}

Test(show, a_daemon_in_good_order_says_so, .init = core_up)
{
        status();
        expect("\"why\":[],\"degraded\":false");
        expect("\"name\":\"main\",\"primary\":\"default\"");
        expect("\"schedule\":[\"shadow-1\",\"shadow-2\"]");
        nodes();
        expect("\"lag_ms\":0,\"position\":\"0/3E8\",\"behind_bytes\":0");
        core_servers.position[0] = 0x100000000;
        core_play(600);
        nodes();
        expect("\"cluster\":\"main\",\"name\":\"default\",\"role\":\"primary\",\"state\":\"UP\",\"admin\":"
               "\"ready\"");
        expect("\"position\":\"1/3E8\"");
        expect("\"share\":50.000");
        expect("\"behind_bytes\":4294967296");
        expect("\"timeline\":1,\"in_recovery\":false");
        expect("\"timeline\":1,\"in_recovery\":true");
}

Test(show, each_trouble_is_named_and_an_operator_s_own_doing_is_none, .init = core_up)
{
        struct cluster *c = core.cluster[0];
        c->split_brain = core.table_full = true;
        core.silent_until = mono_plus(core_now, 1);
        c->node[1].state = NODE_DOWN;
        strcpy(c->node[1].why, "a \"reason\"\n");
        status();
        expect("main/shadow-1 is DOWN: a \\\"reason\\\"\\u000a");
        expect("main: split brain: more than one node is out of recovery; the primary is default");
        expect("\"primary_changes\":0,\"split_brain\":1");
        expect("the pin table is full");
        expect("writes are not being acknowledged");
        c->split_brain = core.table_full = false;
        core.silent_until = core_now;
        c->node[1].admin = NODE_DRAIN;
        status();
        expect("\"degraded\":false");
        expect("\"admin\":\"drain\"");
}

Test(show, a_node_that_answers_but_is_not_up_yet_tells_how_far_it_is, .init = core_up)
{
        struct cluster_node *n = &core.cluster[0]->node[1];
        n->state = NODE_UNKNOWN;
        n->why[0] = '\0';
        n->window = (struct node_window){0};
        core.cluster[0]->conf.rise = 3;
        status();
        expect("[\"main/shadow-1 is UNKNOWN: 0 of 3 good checks so far\"]");
        n->window = (struct node_window){.good = 5, .n = 3}; /* good, bad, good */
        status();
        expect("is UNKNOWN: 1 of 3 good checks so far");
        n->window = (struct node_window){.good = 7, .n = 2};
        status();
        expect("is UNKNOWN: 2 of 3 good checks so far");
        strcpy(n->why, "no answer");
        status();
        expect("is UNKNOWN: no answer\"");
}

Test(show, what_a_floor_costs_and_what_an_empty_schedule_means_is_told_in_words, .init = core_up)
{
        struct cluster *c = core.cluster[0];
        c->floor_until = mono_plus(core_now, 61000);
        status();
        expect("\"without_replica\":\"all its reads go to the primary\","
               "\"floor_cost\":\"all replicas have caught up, so it costs nothing\"");
        c->node[1].caught_up = 0;
        c->conf.no_replica = CONF_NO_REPLICA_ERROR;
        status();
        expect("\"without_replica\":\"its reads fail with E_NO_REPLICA, ");
        expect("\"floor_cost\":\"1 of 2 replicas have caught up and take keyed reads\"");
        c->floor_until = core_now;
        status();
        expect("\"floor_cost\":\"\"");
}

Test(show, a_cluster_without_a_primary_and_a_removed_one_can_be_shown)
{
        core.cluster[0]->primary = PNR_NO_NODE;
        core.cluster[0]->split_brain = true;
        cluster_remove(core.cluster[1]);
        status();
        expect("\"name\":\"main\",\"primary\":null");
        expect("more than one node is out of recovery; the primary is unknown");
        cr_expect_null(strstr(said, "\"name\":\"other\""));
        nodes();
        begin();
        show_stats(&core, &j);
        end();
}

Test(show, pins_are_listed_with_who_has_released_them, .init = core_up)
{
        core_servers.position[0] = 100;
        core_record(7, 20000);
        core_ask(PNR_OP_HOLD, "other", 8, 5000);
        begin();
        show_pins(&core, core_now, &j);
        end();
        expect("\"left_ms\":19999,\"hold_left_ms\":0,"); /* recorded a turn earlier */
        expect("\"left_ms\":5000,\"hold_left_ms\":5000");
        expect("\"released\":[]");
        expect("\"total\":2,\"truncated\":false");
        core_servers.position[2] = 100;
        core_play(300);
        begin();
        show_pins(&core, core_now, &j);
        end();
        expect("\"released\":[\"shadow-2\"]");
        begin();
        json_close(&j, '}'); /* key and cluster as the page has them */
        evbuffer_drain(j.out, evbuffer_get_length(j.out));
        j.comma = false;
        struct pin pin = core_pin("main", 7);
        pin.hold_ms = core_now.ms + 5;
        json_open(&j, NULL, '{');
        pin.tag = 0xabcd;
        show_pin(&core, "pin", &pin, core_now, &j);
        end();
        expect("\"cluster\":\"main\"");
        expect("0000abcd\"");
        expect("\"hold_left_ms\":5");
        expect("\"released\":[]");
}

Test(show, long_lists_are_cut_and_say_so)
{
        core_conf.max_pins = 100000;
        for (unsigned i = 0; i < 990; i += 10) {
                struct core_item it[10];
                for (unsigned k = 0; k < 10; k++)
                        it[k] = core_item(PNR_OP_RECORD, "main", i + k + 1, 60000);
                core_step(it, 10, 1);
        }
        begin();
        show_pins(&core, core_now, &j);
        end();
        expect("\"total\":990");
        struct conn c[3] = {{.pid = 11, .uid = 22, .requests = 33}, {.pid = 1}, {.pid = 2}};
        for (unsigned i = 0; i < 3; i++) {
                c[i].since = c[i].last = core_now;
                TAILQ_INSERT_TAIL(&conns.by_use, &c[i], by_use);
        }
        begin();
        show_clients(&conns, mono_plus(core_now, 5), &j);
        end();
        expect("{\"pid\":11,\"uid\":22,\"since_ms\":5,\"last_ms\":5,\"requests\":33}");
}

Test(show, config_and_counters_come_from_their_tables)
{
        begin();
        show_config(&core, &j);
        end();
        expect("{\"section\":\"pinrouted\",\"key\":\"max_pins\",\"value\":\"1000\",\"default\":false,"
               "\"restart\":true}");
        expect("{\"section\":\"cluster "
               "main\",\"key\":\"pin_seconds\",\"value\":\"15\",\"default\":true,\"restart\":false}");
        char fingerprint[ISSUER_FINGERPRINT_SIZE], listed[64];
        issuer_fingerprint(&core.issuer, 0, fingerprint);
        snprintf(listed, sizeof listed, "\"token_keys\":[\"%s\"]", fingerprint);
        expect(listed);
        core.stats.holds = 4242;
        core.cluster[0]->split_brain = core.cluster[1]->split_brain = true;
        core.cluster[0]->primary_changes = 40;
        core.cluster[1]->primary_changes = 2;
        begin();
        show_stats(&core, &j);
        end();
        expect("\"holds\":4242");
        expect("\"split_brains\":2,\"primary_changes\":42");
#define EXPECT_NAMED(name, text) expect("\"" #name "\":");
        CORE_STATS(EXPECT_NAMED)
}

Test(show, decisions_are_told_by_cluster_node_and_reason)
{
        int fd[2];
        core.counts = counts_open();
        counts_limit(core.counts, 2);
        cr_assert(counts_give(core.counts, 1, fd));
        struct pnr_counts *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED, fd[0], 0);
        cr_assert_neq(m, MAP_FAILED);
        m->lane[0].head.next_lane = m->lane[0].head.used = 1;
        m->lane[0].head.count[PINROUTE_STORE_UNAVAILABLE] = 3;
        m->lane[0].page[0].count[1][PINROUTE_CAUGHT_UP] = 4;
        m->lane[0].page[0].count[31][PINROUTE_CAUGHT_UP] = 5; /* no node has that slot */
        begin();
        show_stats(&core, &j);
        end();
        expect("\"processes\":1}");
        expect("\"decisions\":["
               "{\"cluster\":\"\",\"node\":\"\",\"reason\":\"STORE_UNAVAILABLE\",\"count\":3},"
               "{\"cluster\":\"main\",\"node\":\"shadow-1\",\"reason\":\"CAUGHT_UP\",\"count\":4}]");
        counts_close(&core.counts);
}
