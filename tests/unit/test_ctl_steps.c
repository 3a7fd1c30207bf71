/* test_ctl_steps.c -- what the daemon adds to `why`: positions, gaps, and why a node is out. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl_steps.h"
#include "ctl_told.h"
#include "live_store.h"

static struct live live;
static struct ctl_why why;
static char text[500];

static void begin(void)
{
        live_init(&live);
        live.cluster[0].trust_ms = 10000;
        live.cluster[0].node[1].caught_up = 7;
        live.cluster[0].node[2].caught_up = 9;
        live_pin(&live, "alice", 5, 8, 15000, 0);
        live_beat(&live, 0);
        char name[PNR_NAME_SIZE] = "main";
        ctl_why_ask(&why, live.dir, name, "alice", 5);
        cr_assert_eq(why.choice.reason, PINROUTE_CAUGHT_UP);
}

static void end(void)
{
        ctl_why_free(&why);
        live_fini(&live);
}

TestSuite(ctl_steps, .init = begin, .fini = end);

/* What the daemon says of the fence, of shadow-1 and of shadow-2. */
static void daemon_says(const char *fence, const char *one, const char *two)
{
        char raw[1000];
        snprintf(raw, sizeof raw,
                 "{\"fence\":{%s},\"fence_interval_ms\":100,\"nodes\":[{\"name\":\"default\"},{\"name\":"
                 "\"shadow-1\",%s},"
                 "{\"name\":\"shadow-2\",%s}]}",
                 fence, one, two);
        ctl_why_free(&why);
        why.daemon = json_loads(raw, 0, NULL);
        cr_assert(why.daemon, "%s", raw);
}

static void expect_verdict(unsigned node, const char *said)
{
        ctl_steps_verdict(&why, node, text, sizeof text);
        cr_expect_str_eq(text, said);
}

static void expect_last(const char *name, const char *said)
{
        struct ctl_steps s;
        ctl_steps_of(&why, &s);
        cr_expect_str_eq(s.step[s.n - 1].name, name);
        cr_expect_str_eq(s.step[s.n - 1].text, said);
}

#define FENCED "\"state\":\"fenced\",\"position\":\"0/5A4000\""

Test(ctl_steps, a_replica_that_lacks_the_fence_is_told_with_both_positions)
{
        daemon_says(FENCED, "\"position\":\"0/5A3F10\",\"gap_bytes\":240",
                    "\"position\":\"0/5A4100\",\"gap_bytes\":0");
        expect_last("caught up", "generation 8 is fenced at 0/5A4000; who has it may serve");
        expect_verdict(1, "no: has replayed 0/5A3F10, this pin's fence is 0/5A4000: 240 B to go");
        expect_verdict(2, "yes: has replayed 0/5A4100");
        daemon_says(FENCED, "\"position\":\"0/5A4000\",\"gap_bytes\":0",
                    "\"position\":null,\"gap_bytes\":null");
        expect_verdict(1, "no: it had not when this was looked at; by now it has replayed 0/5A4000");
        expect_verdict(2, "yes");
        daemon_says(FENCED, "\"position\":\"0/5A4000\",\"gap_bytes\":null",
                    "\"position\":null,\"gap_bytes\":null");
        expect_verdict(1, "no: has replayed 0/5A4000, but of which timeline is not known, or it is another");
}

Test(ctl_steps, a_generation_without_a_fence_is_told_and_when_it_gets_one)
{
        const char *const here = "\"position\":\"0/5A3F10\",\"gap_bytes\":null";
        daemon_says("\"state\":\"open\",\"position\":null", here, here);
        expect_last(
            "caught up",
            "generation 8 is not fenced yet: open, the primary is asked every 100ms; who has it may serve");
        expect_verdict(1, "no: has reached generation 7 of 8");
        daemon_says("\"state\":\"off\",\"position\":null", here, here);
        expect_last("caught up", "early_release is off: only the deadline ends it; who has it may serve");
}

Test(ctl_steps, a_node_that_is_out_is_told_with_its_reason)
{
        why.cluster.scheduled = 0;
        daemon_says(
            FENCED,
            "\"state\":\"DOWN\",\"admin\":\"ready\",\"why\":\"connection refused\",\"since_ms\":12000",
            "\"state\":\"UP\",\"admin\":\"drain\",\"why\":\"\",\"since_ms\":1");
        expect_verdict(1, "no: not in the schedule: DOWN for 12.0s: connection refused");
        expect_verdict(2, "no: not in the schedule: drain, by an operator");
        daemon_says(FENCED, "\"state\":\"UP\",\"admin\":\"ready\",\"weight\":0",
                    "\"state\":\"UP\",\"admin\":\"ready\",\"weight\":1");
        expect_verdict(1, "no: not in the schedule: its weight is 0");
        expect_verdict(2, "no: not in the schedule");
}

Test(ctl_steps, a_daemon_that_answers_nonsense_is_none)
{
        why.daemon = json_loads("{\"fence\":7,\"nodes\":[1,{\"name\":3}]}", 0, NULL);
        expect_verdict(1, "no: has reached generation 7 of 8");
        expect_last(
            "caught up",
            "generation 8 is not fenced yet: -, the primary is asked every 0ms; who has it may serve");
}

Test(ctl_steps, a_key_that_keeps_to_one_replica_is_kept_from_the_others)
{
        char name[PNR_NAME_SIZE] = "main";
        live.cluster[0].flags = PNR_CLUSTER_AFFINITY;
        live.cluster[0].floor_until_ms = 0;
        live_beat(&live, 0);
        ctl_why_free(&why);
        ctl_why_ask(&why, live.dir, name, "bob", 3);
        cr_assert_eq(why.choice.reason, PINROUTE_AFFINITY);
        unsigned own = why.choice.pool == 2 ? 1 : 2;
        expect_last("schedule", own == 1 ? "shadow-1" : "shadow-2");
        expect_verdict(own, "yes");
        expect_verdict(3 - own, "no: the key keeps to another one (balance = affinity)");
        struct ctl_steps s;
        ctl_steps_of(&why, &s);
        cr_assert_eq(s.n, 6);
        cr_expect_str_eq(s.step[4].name, "own");
        snprintf(text, sizeof text,
                 "balance = affinity: of the replicas of the schedule, this key keeps to shadow-%u", own);
        cr_expect_str_eq(s.step[4].text, text);
}

Test(ctl_steps, an_own_replica_that_lacks_the_write_and_an_empty_schedule_are_told)
{
        char name[PNR_NAME_SIZE] = "main";
        live.cluster[0].flags = PNR_CLUSTER_AFFINITY | PNR_CLUSTER_NO_REPLICA_ERROR;
        live.cluster[0].node[2].caught_up = 0;
        live_beat(&live, 0);
        ctl_why_free(&why);
        ctl_why_ask(&why, live.dir, name, "alice", 5);
        expect_last(
            "caught up",
            "its fence only the daemon knows, which does not answer; the key's own replica is not known "
            "to have it");
        live.cluster[0].n_schedule = 0;
        live_beat(&live, 0);
        ctl_why_ask(&why, live.dir, name, "bob", 3);
        expect_last("schedule", "empty, and no_replica = error: the call fails with E_NO_REPLICA");
}

Test(ctl_steps, a_fence_without_a_position_is_one_all_the_same)
{
        daemon_says("\"state\":\"fenced\",\"position\":null", "\"position\":\"0/5A3F10\",\"gap_bytes\":null",
                    "\"position\":null");
        expect_last("caught up", "generation 8 is fenced; who has it may serve");
        expect_verdict(1, "no: has reached generation 7 of 8");
        why.cluster.node[1].caught_up = 0;
        expect_verdict(1, "no: has replayed 0/5A3F10, and there is no fence to hold that against");
}

Test(ctl_steps, a_gap_that_is_not_told_is_none_and_a_node_without_a_position_has_its_generation)
{
        daemon_says(FENCED, "\"position\":\"0/5A3F10\"", "\"position\":null");
        expect_verdict(1, "no: it had not when this was looked at; by now it has replayed 0/5A3F10");
        daemon_says(FENCED, "\"position\":null,\"gap_bytes\":240", "\"position\":null");
        expect_verdict(1, "no: has reached generation 7 of 8");
}

Test(ctl_steps, a_node_that_is_out_needs_no_word_of_an_operator_and_not_even_one_of_the_daemon)
{
        why.cluster.scheduled = 0;
        daemon_says(FENCED, "\"state\":\"DOWN\",\"why\":\"gone\",\"since_ms\":340",
                    "\"state\":\"UP\",\"weight\":1");
        expect_verdict(1, "no: not in the schedule: DOWN for 340ms: gone");
        expect_verdict(2, "no: not in the schedule");
        ctl_why_free(&why);
        expect_verdict(1, "no: not in the schedule");
}

Test(ctl_steps, an_answer_that_is_too_old_or_of_another_clock_is_told)
{
        why.choice.pool = 0;
        why.cluster.node[2].stamp_ms = why.facts.now.ms - 10000;
        expect_verdict(2, "no: that answer is 10000ms old, and good for 10000ms");
        why.cluster.node[2].stamp_ms = why.facts.now.ms + 1001;
        expect_verdict(2, "no: that answer is -1001ms old, and good for 10000ms");
        why.cluster.node[2].stamp_ms = why.facts.now.ms - 9999;
        expect_verdict(2, "no: the primary is asked for");
}

Test(ctl_steps, a_floor_is_called_by_its_name_and_an_own_replica_is_not_another_s)
{
        char name[PNR_NAME_SIZE] = "main";
        live.cluster[0].flags = PNR_CLUSTER_AFFINITY;
        live.cluster[0].node[1].caught_up = live.cluster[0].node[2].caught_up = 11;
        live.cluster[0].floor_generation = 12;
        live.cluster[0].floor_until_ms = live_now() + 30000;
        live_beat(&live, 0);
        ctl_why_ask(&why, live.dir, name, "bob", 3);
        cr_assert_eq(why.choice.reason, PINROUTE_FLOOR);
        const char *const lacks = "\"position\":\"0/5A3F10\",\"gap_bytes\":240";
        daemon_says(FENCED, lacks, lacks);
        struct ctl_steps s;
        ctl_steps_of(&why, &s);
        unsigned own = strstr(s.step[4].text, "keeps to shadow-1") ? 1 : 2;
        expect_verdict(own, "no: has replayed 0/5A3F10, this floor's fence is 0/5A4000: 240 B to go");
        expect_verdict(3 - own, "no: the key keeps to another one (balance = affinity)");
        expect_last("caught up",
                    "generation 12 is fenced at 0/5A4000; the key's own replica is not known to have it");
}

Test(ctl_steps, a_heartbeat_that_never_was_is_told)
{
        struct ctl_steps s;
        why.facts.age_ms = INT64_MAX;
        ctl_steps_of(&why, &s);
        cr_assert_eq(s.n, 1);
        cr_expect_str_eq(s.step[0].text, "live; its heartbeat, never old, is trusted for anything below 1m");
}

Test(ctl_steps, names_that_do_not_fit_are_cut)
{
        char name[PNR_NAME_SIZE] = "main";
        struct ctl_steps s;
        ctl_why_ask(&why, live.dir, name, "bob", 3);
        why.cluster.n_nodes = PNR_NODES_MAX;
        for (unsigned i = 0; i < PNR_NODES_MAX; i++) {
                memset(why.cluster.node[i].name, 0, PNR_NAME_SIZE);
                memset(why.cluster.node[i].name, 'a' + (int)i % 26, PNR_NAME_SIZE - 1);
        }
        why.choice.pool = UINT32_MAX;
        ctl_steps_of(&why, &s);
        const char *said = s.step[s.n - 1].text;
        cr_expect_str_eq(s.step[s.n - 1].name, "schedule");
        cr_expect_eq(strlen(said), 299);
        cr_expect(!strncmp(said + 63, ", bbb", 5) && said[298] == 'e', "%s", said);
}
