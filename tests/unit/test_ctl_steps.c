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
