/* test_ctl_why.c -- what `why` says about a real store is what choose() decides, with the facts that made it
 * so. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl_why.h"
#include "ctl_told.h"
#include "live_store.h"

static struct live live;
static struct ctl_why why;
static char *text;

/* A slow machine is no old answer. */
static void begin(void)
{
        live_init(&live);
        live.cluster[0].trust_ms = 10000;
        live_commit(&live);
}

static void end(void)
{
        free(text);
        live_fini(&live);
}

TestSuite(ctl_why, .init = begin, .fini = end);

static const char *said(const char *cluster, const char *key)
{
        char name[PNR_NAME_SIZE] = "";
        size_t size;
        strcpy(name, cluster);
        ctl_why_ask(&why, live.dir, name, key, strlen(key));
        free(text);
        FILE *f = open_memstream(&text, &size);
        ctl_why_show(&why, f);
        fclose(f);
        return text;
}

static void expect(const char *part) { cr_expect(strstr(text, part), "expected %s in\n%s", part, text); }

Test(ctl_why, a_key_without_a_pin_may_go_to_each_replica_in_turn)
{
        said("main", "bob");
        expect("BALANCED: replica, the next in turn of: shadow-1, shadow-2\n");
        expect("  4 need       pin: none; floor: none\n  5 schedule   shadow-1, shadow-2 => BALANCED\n");
        expect("  shadow-1          0      -  yes\n");
}

Test(ctl_why, a_key_is_named_by_the_hash_that_show_pins_has)
{
        char line[64];
        struct pnr_slot slot = pnr_slot_of(pnr_key_of("bob", 3), 0, store_spread(live.store));
        snprintf(line, sizeof line, "  key %012llx%08x\n", (unsigned long long)pnr_slot_shown(slot.place),
                 slot.tag);
        said("main", "bob");
        expect(line);
}

Test(ctl_why, a_pin_names_what_each_replica_lacks)
{
        live.cluster[0].node[1].caught_up = 7;
        live.cluster[0].node[2].caught_up = 9;
        live_pin(&live, "alice", 5, 8, 15000, 0);
        live_beat(&live, 0);
        said("main", "alice");
        expect("CAUGHT_UP: replica, this one: shadow-2\n");
        expect("  4 need       pin: generation 8, 1");
        expect("  5 caught up  its fence only the daemon knows, which does not answer; who has it may serve "
               "=> CAUGHT_UP\n");
        expect("no: has reached generation 7 of 8\n");
        live.cluster[0].node[2].stamp_ms -= 20000;
        live_commit(&live);
        said("main", "alice");
        expect("PINNED: primary, default\n");
        expect("ms old, and good for 10000ms\n");
        live.cluster[0].n_schedule = 0;
        live_beat(&live, 0);
        said("main", "alice");
        expect("; no replica of the schedule is known to have it => PINNED\n");
        expect("no: not in the schedule\n");
}

Test(ctl_why, a_hold_and_a_floor_are_facts_of_their_own)
{
        live.cluster[0].node[1].caught_up = live.cluster[0].node[2].caught_up = 9;
        live_pin(&live, "alice", 5, 8, 15000, 5500);
        live_beat(&live, 0);
        said("main", "alice");
        expect("PINNED: primary, default\n");
        expect("left, held for 5.");
        expect("  5 caught up  while it is held, nothing but the primary will do => PINNED\n");
        expect("no: the primary is asked for\n");
        live.cluster[0].floor_generation = 12;
        live.cluster[0].floor_until_ms = live_now() + 30500;
        live_beat(&live, 0);
        said("main", "bob");
        expect("FLOOR: primary, default\n");
        expect("  4 need       pin: none; floor: generation 12, 30.");
        live.cluster[0].floor_hold_ms = live_now() + 20500;
        live_commit(&live);
        said("main", "carol");
        expect("FLOOR: primary, default\n");
        expect("left, held for 20.");
        expect("no: has reached generation 9 of 12\n");
}

Test(ctl_why, a_silent_daemon_is_told_and_a_dead_one_needs_no_answering)
{
        live_beat(&live, -1500);
        said("main", "bob");
        expect("STORE_STALE: primary, default\n");
        expect("s old; writes are recorded below 1.0s => STORE_STALE\n");
        expect("  shadow-1          0      -  no: the daemon is silent\n");
        live_beat(&live, -61000);
        said("main", "bob");
        expect("STORE_UNAVAILABLE: primary, default\n");
        expect("is trusted for anything below 1m => STORE_UNAVAILABLE\n");
}

Test(ctl_why, clusters_that_are_not_there_and_stores_that_are_not_live_are_told)
{
        said("main", "x");
        cr_expect_eq(why.status, VIEW_OK);
        char name[PNR_NAME_SIZE] = "nope";
        ctl_why_ask(&why, live.dir, name, "x", 1);
        cr_expect_eq(why.status, VIEW_NO_CLUSTER);
        said("other", "x");
        expect("NO_REPLICA: primary, only\n");
        expect("  5 schedule   empty => NO_REPLICA\n");
        live.header.state = PNR_RETIRED;
        live_commit(&live);
        said("main", "x");
        expect("STORE_UNAVAILABLE: primary, whichever the application knows\n");
        expect("no live store of this boot and this version: retired");
}

Test(ctl_why, json_holds_the_same_facts)
{
        live.cluster[0].node[1].caught_up = 8;
        live_pin(&live, "alice", 5, 8, 15000, 0);
        live_beat(&live, 0);
        said("main", "alice");
        char *raw;
        size_t size;
        FILE *f = open_memstream(&raw, &size);
        ctl_why_json(&why, f);
        fclose(f);
        json_t *doc = json_loads(raw, 0, NULL);
        const char *role, *reason, *node;
        json_int_t generation, caught_up;
        int will_do, other;
        cr_assert_eq(json_unpack(doc, "{s:s s:s s:[s] s:{s:I} s:[{s:I s:b} {s:b}]}", "role", &role, "reason",
                                 &reason, "nodes", &node, "pin", "generation", &generation, "replicas",
                                 "caught_up", &caught_up, "will_do", &will_do, "will_do", &other),
                     0, "%s", raw);
        cr_expect_str_eq(role, "replica");
        cr_expect_str_eq(reason, "CAUGHT_UP");
        cr_expect_str_eq(node, "shadow-1");
        cr_expect(generation == 8 && caught_up == 8 && will_do && !other);
        cr_expect(json_is_null(json_object_get(doc, "floor")));
        cr_expect(json_is_null(json_object_get(doc, "daemon")));
        const json_t *steps = json_object_get(doc, "steps"), *last = json_array_get(steps, 4);
        cr_expect_eq(json_array_size(steps), 5);
        cr_expect(json_is_true(json_object_get(last, "decides")));
        cr_expect_str_eq(json_string_value(json_object_get(last, "step")), "caught up");
        json_decref(doc);
        free(raw);
}
