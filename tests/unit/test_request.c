/* test_request.c -- what a request pins, for how long, and what it is answered.  Batches of them: test_core.c; tokens:
 * test_core_token.c. */
#include "tests/unit/core_play.h"

#include "daemon/request.h"

TestSuite(request, .init = core_open, .fini = core_close);

Test(request, many_records_of_a_frame_are_pinned_in_one_commit_and_each_counts)
{
        struct core_item it[] = {core_item(PNR_OP_HELLO, "", 0, 0), core_item_many("main", 100, 64, 0),
                                 core_item_many("other", 100, 2, 2000), core_item_many("nobody", 1, 3, 0)};
        struct core_stats before = core.stats;
        core_step(it, 4, 1);
        cr_expect_eq(core.stats.commits, before.commits + 1);
        cr_expect_eq(it[0].reply.records_max, PNR_RECORDS_MAX);
        cr_expect(it[1].answered && it[1].reply.status == PINROUTE_OK && it[1].reply.records_max == 0);
        for (uint64_t key = 100; key < 164; key++) {
                cr_expect_eq(core_pin("main", key).until_ms, core_now.ms + 15000);
                cr_expect_eq(core_pin("main", key).generation, it[1].reply.generation);
                cr_expect_eq(core_pin("main", key).stamp, core_pin("main", 100).stamp);
        }
        cr_expect_eq(core_pin("main", 164).until_ms, 0);
        cr_expect_eq(core_pin("other", 101).until_ms, core_now.ms + 2000);
        cr_expect_eq(core_pin("other", 102).until_ms, 0);
        cr_expect_eq(it[3].reply.status, PINROUTE_E_CLUSTER);
        cr_expect_eq(core.stats.records - before.records, 66);
        cr_expect_eq(core.stats.refused - before.refused, 1);
        cr_expect_eq(core.stats.floored_records, before.floored_records);
}

Test(request, many_records_that_the_full_table_does_not_take_become_a_floor, .init = core_up)
{
        core_fill(60000);
        struct core_item it = core_item_many("main", 1, 64, 50000);
        struct core_stats before = core.stats;
        core_step(&it, 1, 1);
        cr_expect(it.answered && it.reply.status == PINROUTE_OK && it.reply.generation == 0);
        for (uint64_t key = 1; key <= 64; key++)
                cr_expect_eq(core_look("main", key).reason, PINROUTE_FLOOR);
        cr_expect_geq(core_look("main", 1).cluster.floor_until_ms, core_now.ms + 50000);
        cr_expect_eq(core.stats.records - before.records, 64);
        cr_expect_eq(core.stats.floored_records - before.floored_records, 64);
}

Test(request, a_pin_is_bounded_by_max_pin_seconds)
{
        core_cluster_conf[0].max_pin_seconds_ms = 20000;
        core_configure(&core, &core_conf, core_now);
        core_record(1, 20000);
        cr_expect_eq(core_pin("main", 1).until_ms, core_now.ms + 20000);
        core_record(2, 20001);
        cr_expect_eq(core_pin("main", 2).until_ms, core_now.ms + 20000);
        core_ask(PNR_OP_HOLD, "main", 3, UINT32_MAX);
        cr_expect_eq(core_pin("main", 3).hold_ms, core_now.ms + 20000);
}

Test(request, a_later_shorter_or_repeated_request_never_shortens_a_pin)
{
        core_record(1, 30000);
        struct pin first = core_pin("main", 1);
        core_ask(PNR_OP_HOLD, "main", 1, 500);
        int64_t hold_ms = core_now.ms + 500;
        core_record(1, 1000);
        struct pin then = core_pin("main", 1);
        cr_expect_eq(then.until_ms, first.until_ms);
        cr_expect_eq(then.hold_ms, hold_ms);
        cr_expect_geq(then.generation, first.generation);
        core_record(1, 60000);
        cr_expect_eq(core_pin("main", 1).until_ms, core_now.ms + 60000);
        cr_expect_eq(core_pin("main", 1).hold_ms, hold_ms);
}

Test(request, what_the_table_does_not_take_changes_nothing_before_it_is_asked_for_as_a_floor, .init = core_up)
{
        core_fill(60000);
        struct core_item it = core_item(PNR_OP_HOLD, "main", 1, 5000);
        cr_assert_eq(store_begin(core.store), STORE_OK);
        cr_expect_eq(request_apply(&core, &it, false, core_now), STORE_FULL);
        store_abort(core.store);
        cr_expect_neq(core.cluster[0]->floor_hold.ms, core_now.ms + 5000);
        cr_assert_eq(store_begin(core.store), STORE_OK);
        cr_expect_eq(request_apply(&core, &it, true, core_now), STORE_OK);
        cr_expect_eq(it.reply.generation, 0);
        cr_expect_eq(core.cluster[0]->floor_hold.ms, core_now.ms + 5000);
        cr_expect_eq(store_commit(core.store), STORE_OK);
}
