/* test_core_token.c -- the daemon's side of tokens: stamps, the op, the keys; with a real store under them.
 */
#include "tests/unit/core_play.h"

#include <fcntl.h>

#include "daemon/survey.h"
#include "proto/token.h"

TestSuite(core_token, .init = core_open, .fini = core_close);

/* ---- the op ---- */

static struct core_item token(uint64_t key, uint32_t ms, uint64_t stamp)
{
        struct core_item it = core_item(PNR_OP_TOKEN, "main", key, ms);
        it.request.stamp = stamp;
        return it;
}

static struct pnr_reply core_token(uint64_t key, uint32_t ms, uint64_t stamp)
{
        struct core_item it = token(key, ms, stamp);
        core_step(&it, 1, 1);
        cr_assert(it.answered);
        cr_assert_eq(it.reply.op, PNR_OP_TOKEN);
        return it.reply;
}

#define ELSEWHERE 0xabcdefull /* another host's issuer */

Test(core_token, each_write_s_stamp_covers_the_one_before_and_a_hold_keeps_it)
{
        core_record(1, 0);
        uint64_t first = core_pin("main", 1).stamp;
        core_record(2, 0);
        uint64_t second = core_pin("main", 2).stamp;
        cr_expect(pnr_stamp_covers(second, first) && !pnr_stamp_covers(first, second));
        core_ask(PNR_OP_HOLD, "main", 1, 500);
        cr_expect_eq(core_pin("main", 1).stamp, first);
        core_ask(PNR_OP_HOLD, "main", 3, 500);
        cr_expect_eq(core_pin("main", 3).stamp, 0, "no write is known");
        core_record(1, 0);
        cr_expect(pnr_stamp_covers(core_pin("main", 1).stamp, second));
}

Test(core_token, a_token_whose_write_is_pinned_here_changes_nothing, .init = core_up)
{
        core_record(5, 60000);
        struct pin pin = core_pin("main", 5);
        struct core_stats before = core.stats;
        core_play(500);
        for (uint64_t back = 0; back < 2; back++)
                cr_expect_eq(core_token(5, 90000, pin.stamp - back).generation, pin.generation);
        struct pin now = core_pin("main", 5);
        cr_expect_eq(memcmp(&now, &pin, sizeof pin), 0);
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_CAUGHT_UP);
        cr_expect_eq(core.stats.tokens, before.tokens);
        cr_expect_eq(core.stats.records, before.records);
        cr_expect_eq(core.stats.refused, before.refused);
}

Test(core_token, a_place_in_the_batch_that_a_covered_token_had_pins_for_the_next_request)
{
        core_record(5, 60000);
        struct core_item it = token(5, 1000, core_pin("main", 5).stamp);
        core_step(&it, 1, 1);
        it.request = core_item(PNR_OP_RECORD, "main", 6, 1000).request;
        core_step(&it, 1, 1);
        cr_expect_eq(core_pin("main", 6).until_ms, core_now.ms + 1000);
}

Test(core_token, a_key_with_a_released_pin_of_this_host_and_a_newer_token_of_another_is_pinned_again,
     .init = core_up)
{
        core_record(5, 60000);
        uint64_t generation = core_pin("main", 5).generation, stamp = pnr_stamp(ELSEWHERE, 7);
        core_play(500);
        cr_assert_eq(core_look("main", 5).reason, PINROUTE_CAUGHT_UP);
        core_servers.position[0] = 500; /* the write of the other host */
        struct pnr_reply reply = core_token(5, 20000, stamp);
        struct pin pin = core_pin("main", 5);
        cr_expect_gt(reply.generation, generation);
        cr_expect_eq(reply.generation, pin.generation);
        cr_expect_eq(pin.stamp, stamp);
        cr_expect_eq(core.stats.tokens, 1);
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_PINNED);
        core_play(500);
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_PINNED);
        cr_expect_eq(core_token(5, 20000, stamp).generation, pin.generation, "the same token again");
        cr_expect_eq(core.stats.tokens, 1);
        core_servers.position[1] = core_servers.position[2] = 500;
        core_play(250);
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_CAUGHT_UP);
        cr_expect_gt(core_token(5, 20000, pnr_stamp(ELSEWHERE, 8)).generation, pin.generation, "a newer one");
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_PINNED);
}

Test(core_token, a_token_pins_again_where_the_pin_is_void_or_another_issuer_s, .init = core_up)
{
        core.heartbeat_due = mono_plus(core_now, 1000); /* no sweep yet */
        core_token(5, 20, pnr_stamp(ELSEWHERE, 7));
        core_step(NULL, 0, 20);
        cr_expect_eq(core_pin("main", 5).stamp, pnr_stamp(ELSEWHERE, 7));
        cr_expect_eq(core_pin("main", 5).until_ms, core_now.ms, "void, and still there");
        core_token(5, 2000, pnr_stamp(ELSEWHERE, 7));
        cr_expect_eq(core_pin("main", 5).until_ms, core_now.ms + 2000);
        core_token(5, 3000, pnr_stamp(ELSEWHERE + 1, 1));
        cr_expect_eq(core_pin("main", 5).until_ms, core_now.ms + 3000);
        core_token(5, 4000, pnr_stamp(0, 9)); /* a stub's, whose daemon was away */
        cr_expect_eq(core_pin("main", 5).until_ms, core_now.ms + 4000);
        core_token(5, 5000, pnr_stamp(0, 8));
        cr_expect_eq(core_pin("main", 5).until_ms, core_now.ms + 5000, "two stubs' clocks say nothing");
        core_ask(PNR_OP_HOLD, "main", 6, 100);
        core_token(6, 6000, pnr_stamp(ELSEWHERE, 1));
        cr_expect_eq(core_pin("main", 6).until_ms, core_now.ms + 6000, "a hold is no write");
        cr_expect_eq(core.stats.tokens, 6);
}

Test(core_token, a_token_is_bounded_and_one_that_says_nothing_is_refused)
{
        core_cluster_conf[0].max_pin_seconds_ms = 20000;
        core_configure(&core, &core_conf, core_now);
        core_token(1, UINT32_MAX, pnr_stamp(ELSEWHERE, 1));
        cr_expect_eq(core_pin("main", 1).until_ms, core_now.ms + 20000);
        cr_expect_eq(core_pin("main", 1).hold_ms, 0);
        cr_expect_eq(core_token(2, 0, pnr_stamp(ELSEWHERE, 1)).status, PINROUTE_E_INVALID);
        cr_expect_eq(core_token(2, 1000, 0).status, PINROUTE_E_INVALID);
        cr_expect_eq(core_pin("main", 2).until_ms, 0);
        struct core_item it = token(2, 1000, 1);
        strcpy(it.request.cluster, "nobody");
        core_step(&it, 1, 1);
        cr_expect_eq(it.reply.status, PINROUTE_E_CLUSTER);
        cr_expect_eq(core.stats.tokens, 1);
        cr_expect_eq(core.stats.refused, 3);
}

Test(core_token, a_token_after_its_write_in_one_turn_is_covered_by_it)
{
        core_record(5, 0);
        uint64_t stamp = core_pin("main", 5).stamp;
        struct core_item it[] = {token(6, 1000, stamp), core_item(PNR_OP_RECORD, "main", 5, 60000),
                                 token(5, 90000, stamp + 1)};
        core_step(it, 3, 1);
        cr_expect_eq(core_pin("main", 5).stamp, stamp + 1);
        cr_expect_eq(core_pin("main", 5).until_ms, core_now.ms + 60000);
        cr_expect_eq(it[2].reply.generation, it[1].reply.generation);
        cr_expect_eq(core_pin("main", 6).until_ms, core_now.ms + 1000, "each key for itself");
}

/* Two writes here, a token of elsewhere, then the first write's token, say from a job's queue.  Another host
 * may know that token: what the stub issues next must not be taken for it there. */
Test(core_token, an_old_token_of_this_host_leaves_no_old_stamp_in_a_pin_that_has_newer_writes)
{
        core_record(5, 60000);
        uint64_t first = core_pin("main", 5).stamp;
        core_record(5, 60000);
        uint64_t second = core_pin("main", 5).stamp;
        core_token(5, 60000, pnr_stamp(ELSEWHERE, 1));
        core_token(5, 60000, first);
        uint64_t stamp = core_pin("main", 5).stamp;
        cr_expect(pnr_stamp_covers(stamp, second) && stamp != second);
        cr_expect_not(pnr_stamp_covers(second, stamp));
        uint64_t generation = core_pin("main", 5).generation;
        cr_expect_eq(core_token(5, 60000, second).generation, generation);
        cr_expect_eq(core.stats.tokens, 2, "it covers both");
}

Test(core_token, a_token_that_the_full_table_does_not_take_is_a_floor_and_a_covered_one_is_not,
     .init = core_up)
{
        core_fill(60000);
        core_play(1000);
        uint64_t floors = core.cluster[0]->floors, floored = core.stats.floored_records;
        struct pin pin = core_pin("main", 1000);
        struct core_item covered = token(1000, 90000, pin.stamp);
        core_step(&covered, 1, 1);
        cr_expect_eq(covered.reply.generation, pin.generation);
        cr_expect_eq(core.cluster[0]->floors, floors);
        struct core_item it[] = {token(1, 50000, pnr_stamp(ELSEWHERE, 1)), token(1000, 90000, pin.stamp)};
        core_step(it, 2, 1);
        cr_expect(it[0].answered && it[0].reply.status == PINROUTE_OK && it[0].reply.generation == 0);
        cr_expect_eq(it[1].reply.generation, pin.generation);
        struct core_look look = core_look("main", 1);
        cr_expect_eq(look.reason, PINROUTE_FLOOR);
        cr_expect_geq(look.cluster.floor_until_ms, core_now.ms + 50000);
        cr_expect_eq(core.cluster[0]->floors, floors + 1);
        cr_expect_eq(core.stats.tokens, 1);
        cr_expect_eq(core.stats.floored_records, floored + 1);
}

/* ---- the keys of tokens ---- */

static struct pnr_token_keys configured_keys(uint8_t byte)
{
        struct pnr_token_keys keys = {.n = 1};
        memset(keys.key[0], byte, sizeof keys.key[0]);
        return keys;
}

/* As the next daemon, and so every stub, finds them in the file; n is 0: none. */
static struct pnr_token_keys published(void)
{
        struct survey v;
        struct store_found found = {0};
        int dir_fd = open(core_dir, O_PATH | O_DIRECTORY);
        survey_file(&v, dir_fd, "data.mdb", core.boot_id, core_now, &found);
        close(dir_fd);
        cr_assert(v.whole, "%s", v.why);
        free(found.cluster);
        return found.tokens;
}

static void expect_published(const struct pnr_token_keys *keys)
{
        struct pnr_token_keys is = published();
        cr_expect_eq(is.n, keys->n);
        cr_expect_eq(memcmp(is.key, keys->key, sizeof is.key), 0);
}

Test(core_token, a_stub_is_told_whose_stamps_are_this_daemons_own, .init = core_up)
{
        core_record(5, 60000);
        cr_expect_eq(core_pin("main", 5).stamp >> PNR_STAMP_COUNT_BITS, published().issuer);
        core_restart();
        cr_expect_neq(core_pin("main", 5).stamp >> PNR_STAMP_COUNT_BITS, published().issuer);
        core_record(6, 60000);
        cr_expect_eq(core_pin("main", 6).stamp >> PNR_STAMP_COUNT_BITS, published().issuer);
        struct pin pin = core_pin("main", 5);
        cr_expect_eq(core_token(5, 1000, pin.stamp).generation, pin.generation, "it knows the pin still");
        core.issuer.count = (1ull << PNR_STAMP_COUNT_BITS) - 1; /* the last one: it takes another name */
        core_record(7, 60000);
        cr_expect_neq(core_pin("main", 7).stamp >> PNR_STAMP_COUNT_BITS,
                      core_pin("main", 6).stamp >> PNR_STAMP_COUNT_BITS);
        cr_expect_eq(core_pin("main", 7).stamp >> PNR_STAMP_COUNT_BITS, published().issuer);
}

Test(core_token, a_random_key_outlives_a_daemon_a_lost_store_and_one_that_is_replaced)
{
        struct pnr_token_keys keys = published();
        cr_assert_eq(keys.n, 1);
        core_restart();
        expect_published(&keys);
        core_unlink();
        core_step(NULL, 0, CORE_HEARTBEAT_MS);
        cr_assert_eq(core.stats.stores_replaced, 1);
        expect_published(&keys);
        core_conf.max_pins = 200000; /* a new file at the next start */
        core_restart();
        expect_published(&keys);
        core_fini(&core);
        core_unlink();
        core_start();
        struct pnr_token_keys others = published();
        cr_expect(others.n == 1 && memcmp(others.key, keys.key, sizeof keys.key), "nobody knows the old one");
}

Test(core_token, the_keys_of_key_file_are_in_force_whatever_became_of_the_store)
{
        struct pnr_token_keys random = published(), keys = configured_keys(3);
        core_conf.token_keys = keys;
        core_restart();
        expect_published(&keys);
        core_fini(&core);
        core_unlink();
        core_start();
        expect_published(&keys);
        cr_expect_neq(memcmp(random.key, keys.key, sizeof keys.key), 0);
}

Test(core_token, a_reload_publishes_keys_that_changed)
{
        struct pnr_token_keys keys = core_conf.token_keys = configured_keys(3);
        core_configure(&core, &core_conf, core_now);
        core_step(NULL, 0, 1);
        expect_published(&keys);
        memset(&core_conf.token_keys, 0, sizeof core_conf.token_keys);
        core_configure(&core, &core_conf, core_now);
        core_step(NULL, 0, 1);
        expect_published(&keys);
}
