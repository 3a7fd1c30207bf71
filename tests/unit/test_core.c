/* test_core.c -- batches, floors, lost stores, restarts and reloads, with a real store under them. */
#include "tests/unit/core_play.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>

TestSuite(core, .init = core_open, .fini = core_close);

/* ---- requests ---- */

Test(core, a_batch_is_one_commit_and_each_request_gets_its_own_answer)
{
        struct core_item it[] = {
            core_item(PNR_OP_HELLO, "", 0, 0),        core_item(PNR_OP_RECORD, "main", 7, 0),
            core_item(PNR_OP_HOLD, "other", 8, 2000), core_item(PNR_OP_RECORD, "nobody", 9, 0),
            core_item(PNR_OP_HOLD, "main", 10, 0),    core_item(PNR_OP_HELLO, "", 1, 0)};
        struct core_stats before = core.stats;
        core_step(it, 6, 1);
        cr_expect_eq(core.stats.commits, before.commits + 1);
        const uint32_t want[] = {PINROUTE_OK,        PINROUTE_OK,        PINROUTE_OK,
                                 PINROUTE_E_CLUSTER, PINROUTE_E_INVALID, PINROUTE_OK};
        for (unsigned i = 0; i < 6; i++) {
                cr_expect(it[i].answered);
                cr_expect_eq(it[i].reply.status, want[i], "request %u: %u", i, it[i].reply.status);
                cr_expect_eq(it[i].reply.number, it[i].request.number);
                cr_expect_eq(it[i].reply.epoch, core.epoch);
                cr_expect_eq(it[i].reply.now_ms, core_now.ms);
        }
        cr_expect_eq(it[5].reply.turn, it[0].reply.turn + 1, "each process gets its own turn");
        cr_expect_eq(it[1].reply.generation, core_pin("main", 7).generation);
        cr_expect_eq(core_pin("main", 7).until_ms, core_now.ms + 15000, "0 is the cluster's pin_seconds");
        cr_expect_eq(core_pin("main", 7).hold_ms, 0);
        cr_expect_eq(core_pin("other", 8).until_ms, core_now.ms + 2000);
        cr_expect_eq(core_pin("other", 8).hold_ms, core_now.ms + 2000);
        cr_expect_eq(core_pin("main", 8).until_ms, 0, "another cluster's key is another key");
        cr_expect_eq(core_pin("main", 10).until_ms, 0);
        cr_expect_eq(core.stats.records - before.records, 1);
        cr_expect_eq(core.stats.holds - before.holds, 1);
        cr_expect_eq(core.stats.hellos - before.hellos, 2);
        cr_expect_eq(core.stats.refused - before.refused, 2);
}

Test(core, a_recorded_key_is_pinned_for_stubs_from_the_answer_on_until_replicas_have_the_write,
     .init = core_up)
{
        core_servers.position[0] = 500;
        core_record(5, 0);
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_PINNED);
        cr_expect_eq(core_look("main", 6).reason, PINROUTE_CAUGHT_UP, "another key needs the floor only");
        cr_expect_eq(core_look("main", 0).reason, PINROUTE_BALANCED);
        core_play(500);
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_PINNED);
        core_servers.position[2] = 500;
        core_play(250);
        struct core_look look = core_look("main", 5);
        cr_expect_eq(look.reason, PINROUTE_CAUGHT_UP);
        cr_expect_lt(look.cluster.node[1].caught_up, look.cluster.node[2].caught_up);
}

/* ---- full ---- */

Test(core, a_full_table_raises_the_floor_and_says_ok, .init = core_up)
{
        cr_expect_geq(core_fill(60000), 1000);
        uint64_t floors = core.cluster[0]->floors, others = core.cluster[1]->floors;
        struct core_item it[] = {core_item(PNR_OP_RECORD, "main", 1, 50000),
                                 core_item(PNR_OP_RECORD, "main", 1000, 90000)};
        core_step(it, 2, 1);
        for (unsigned i = 0; i < 2; i++) {
                cr_expect(it[i].answered);
                cr_expect_eq(it[i].reply.status, PINROUTE_OK);
                cr_expect_eq(it[i].reply.generation, 0, "kept as a floor");
        }
        struct core_look look = core_look("main", 1);
        cr_expect_eq(look.reason, PINROUTE_FLOOR);
        cr_expect_geq(look.cluster.floor_until_ms, core_now.ms + 90000);
        cr_expect_eq(look.cluster.floor_generation, look.cluster.open_generation);
        cr_expect_eq(core_look("main", 424242).reason, PINROUTE_FLOOR, "it holds for every key");
        cr_expect_eq(core_look("main", 0).reason, PINROUTE_BALANCED);
        cr_expect_gt(core.cluster[0]->floors, floors);
        cr_expect_eq(core.cluster[1]->floors, others, "the other cluster owes nothing");
        cr_expect_geq(core.stats.floored_records, 2);
        for (unsigned i = 0; i < 1000; i++)
                cr_assert_gt(core_pin("main", 1000 + i).until_ms, core_now.ms, "pin %u is lost", i);
        core_play(500);
        cr_expect_eq(core_look("main", 1).reason, PINROUTE_CAUGHT_UP, "and ends as a pin does");
}

Test(core, a_hold_that_the_full_table_does_not_take_holds_every_key, .init = core_up)
{
        core_fill(60000);
        struct core_item it = core_item(PNR_OP_HOLD, "main", 1, 20000);
        core_step(&it, 1, 1);
        cr_expect(it.answered && it.reply.status == PINROUTE_OK && it.reply.generation == 0);
        struct core_look look = core_look("main", 1);
        cr_expect_eq(look.cluster.floor_hold_ms, core_now.ms + 20000);
        cr_expect_eq(core_look("other", 1).cluster.floor_hold_ms, 0);
        core_play(1500);
        cr_expect_eq(core_look("main", 1).reason, PINROUTE_FLOOR, "replicas have caught up, the hold stands");
        core_play(18500);
        cr_expect_eq(core_look("main", 1).reason, PINROUTE_CAUGHT_UP);
}

/* The hold of key 5 is gone with its pin: until it is over, no replica serves any key of the cluster. */
static void expect_held(int64_t hold_ms)
{
        cr_expect_eq(core_pin("main", 5).until_ms, 0);
        cr_expect_eq(core_look("main", 5).cluster.floor_hold_ms, hold_ms);
        cr_expect_eq(core_look("other", 5).cluster.floor_hold_ms, 0);
        core_play(1000);
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_FLOOR);
        cr_expect_eq(core_look("other", 5).reason, PINROUTE_CAUGHT_UP);
}

Test(core, a_full_table_takes_pins_again_once_some_have_run_out)
{
        core_fill(1000);
        core_step(NULL, 0, 2000);
        for (unsigned i = 0; i < 200; i++)
                core_step(NULL, 0, CORE_HEARTBEAT_MS); /* the sweep */
        cr_expect_gt(core_record(1, 1000).generation, 0);
        cr_expect_not(core.table_full);
}

/* ---- stall ---- */

Test(core, a_machine_that_slept_cannot_tell_any_more_since_when_a_replica_has_what, .init = core_up)
{
        cr_assert_neq(core.cluster[0]->samples.n, 0);
        core_step(NULL, 0, CORE_STALL_MS + 1);
        cr_expect_neq(core.cluster[0]->samples.n, 0, "the clock went on");
        core.suspended_ms -= 3600000;
        core_step(NULL, 0, 1);
        cr_expect_eq(core.cluster[0]->samples.n, 0);
        cr_expect_eq(core_look("main", 7).reason, PINROUTE_FLOOR);
}

Test(core, a_loop_that_stood_still_zeroes_caught_up_and_raises_every_floor, .init = core_up)
{
        core_servers.position[0] = 10;
        struct core_look before = core_look("main", 0);
        core_step(NULL, 0, CORE_STALL_MS);
        cr_expect_eq(core.stats.stalls, 0, "as long as a stub waits, no longer");
        core_step(NULL, 0, CORE_STALL_MS + 1);
        cr_expect_eq(core.stats.stalls, 1);
        for (unsigned i = 0; i < 2; i++) {
                struct core_look look = core_look(core.cluster[i]->conf.name, 7);
                cr_expect_eq(look.reason, PINROUTE_FLOOR);
                cr_expect_eq(look.heartbeat_ms, core_now.ms, "in one commit with the heartbeat");
                cr_expect_eq(look.cluster.floor_until_ms, core_now.ms + 300000);
                cr_expect_eq(look.cluster.floor_generation, look.cluster.open_generation);
                for (unsigned slot = 0; slot < look.cluster.n_nodes; slot++)
                        cr_expect_eq(look.cluster.node[slot].caught_up, 0);
        }
        cr_expect_gt(core_look("main", 0).cluster.open_generation, before.cluster.open_generation);
        cr_expect_eq(core_look("main", 0).reason, PINROUTE_BALANCED);
        core_play(500);
        cr_expect_eq(core_look("main", 7).reason, PINROUTE_FLOOR, "the replicas lack what the primary wrote");
        core_servers.position[1] = 10;
        core_play(250);
        cr_expect_eq(core_look("main", 7).reason, PINROUTE_CAUGHT_UP);
}

Test(core, a_record_of_the_turn_after_a_stall_carries_the_new_generation, .init = core_up)
{
        uint64_t open = core.cluster[0]->fence.open;
        struct core_item it = core_item(PNR_OP_RECORD, "main", 3, 0);
        core_step(&it, 1, 500);
        cr_expect_gt(it.reply.generation, open);
}

/* ---- heartbeat ---- */

Test(core, the_heartbeat_goes_on_by_itself)
{
        for (unsigned i = 0; i < 50; i++) {
                core_step(NULL, 0, 10);
                int64_t age_ms = core_now.ms - core_look("main", 0).heartbeat_ms;
                cr_assert(age_ms >= 0 && age_ms <= CORE_HEARTBEAT_MS);
                int64_t due_ms = mono_since(core_next_due(&core, core_now), core_now);
                cr_assert_leq(due_ms, CORE_HEARTBEAT_MS);
        }
}

Test(core, a_record_costs_no_header_but_a_greeting_brings_its_turn_with_it, .init = core_up)
{
        core_step(NULL, 0, CORE_HEARTBEAT_MS);
        int64_t beat_ms = core_now.ms;
        for (uint64_t key = 1; key < CORE_HEARTBEAT_MS / 2; key++) {
                cr_assert_eq(core_record(key, 60000).status, PINROUTE_OK);
                cr_assert_eq(core_look("main", key).reason, PINROUTE_PINNED);
        }
        cr_expect_eq(core_look("main", 0).heartbeat_ms, beat_ms);
        uint64_t turn = core_ask(PNR_OP_HELLO, "", 0, 0).turn;
        cr_expect_eq(core_look("main", 0).heartbeat_ms, core_now.ms, "in one commit with its answer");
        core_restart();
        cr_expect_eq(core_ask(PNR_OP_HELLO, "", 0, 0).turn, turn + 1);
}

Test(core, how_recent_a_replica_is_known_to_be_is_published_with_the_heartbeat_and_costs_no_commit,
     .init = core_up)
{
        int64_t published = core_look("main", 0).cluster.as_of_ms[1];
        uint64_t commits = core.stats.commits;
        cr_assert_gt(published, 0);
        core.heartbeat_due = mono_plus(core_now, 30);
        core.cluster[0]->node[1].as_of.ms = published + 5;
        core.cluster[0]->older = true;
        core_step(NULL, 0, 20);
        cr_expect_eq(core.stats.commits, commits);
        cr_expect_eq(core_look("main", 0).cluster.as_of_ms[1], published);
        core_step(NULL, 0, 10);
        cr_expect_eq(core.stats.commits, commits + 1);
        cr_expect_eq(core_look("main", 0).cluster.as_of_ms[1], published + 5);
        cr_expect_not(core.cluster[0]->older);
}

/* ---- a lost store ---- */

/* A stub that still maps the old file must not trust it, and a new one finds pins only above a floor. */
static void expect_replaced(struct view *old, uint64_t replaced)
{
        cr_expect_eq(core.stats.stores_replaced, replaced);
        cr_expect_eq(core_look_at(old, "main", 5).reason, PINROUTE_STORE_STALE, "the old file is retired");
        cr_expect_eq(core_look_at(old, "main", 0).reason, PINROUTE_BALANCED,
                     "reads without a key do not notice");
        struct core_look look = core_look("main", 5);
        cr_expect_eq(look.status, VIEW_OK);
        cr_expect_eq(look.reason, PINROUTE_FLOOR);
        cr_expect_eq(look.cluster.floor_until_ms, core_now.ms + 300000);
        cr_expect_eq(look.heartbeat_ms, core_now.ms);
        cr_expect_eq(look.epoch, core.epoch);
        cr_expect_eq(core_look("other", 5).reason, PINROUTE_FLOOR);
        cr_expect_eq(core_look("main", 0).reason, PINROUTE_BALANCED, "the schedule goes on");
        cr_expect_not(core_is_silent(&core, clock_mono()));
}

static void copy_over_it(void)
{
        char command[400];
        snprintf(command, sizeof command, "cp %s %s && mv %s %s", in_core_dir("data.mdb"),
                 in_core_dir("aside"), in_core_dir("aside"), in_core_dir("data.mdb"));
        cr_assert_eq(system(command), 0);
}

static void put_garbage_there(void)
{
        int fd = open(in_core_dir("aside"), O_CREAT | O_WRONLY, 0640);
        cr_assert_eq(write(fd, "garbage", 7), 7);
        close(fd);
        cr_assert_eq(rename(in_core_dir("aside"), in_core_dir("data.mdb")), 0);
}

Test(core, a_store_that_is_unlinked_or_replaced_gets_a_successor_with_a_floor, .init = core_up)
{
        void (*const lose[])(void) = {core_unlink, copy_over_it, put_garbage_there};
        uint64_t epoch = core.epoch, cursor = core.cursor;
        core_record(5, 60000);
        for (unsigned i = 0; i < 3; i++) {
                struct view *old = NULL;
                cr_assert_eq(view_open(&old, core_dir), PINROUTE_OK);
                lose[i]();
                for (unsigned turn = 0; turn < CORE_HEARTBEAT_MS / 10 && core.stats.stores_replaced == i;
                     turn++)
                        core_step(NULL, 0, 10);
                expect_replaced(old, i + 1);
                view_close(&old);
                cr_expect_eq(core_record(5, 60000).status, PINROUTE_OK);
                cr_expect_eq(core_look("main", 5).reason, PINROUTE_PINNED);
                core_play(500);
                cr_expect_eq(core_look("main", 5).reason, PINROUTE_CAUGHT_UP);
        }
        cr_expect_eq(core.epoch, epoch, "it is the same daemon");
        cr_expect_geq(core_ask(PNR_OP_HELLO, "", 0, 0).turn, cursor);
}

/* Takes LMDB's own descriptors of the data file away, so that nothing can be written any more. */
static void break_the_store(void)
{
        char link[64], at[300];
        DIR *d = opendir("/proc/self/fd");
        for (struct dirent *e; (e = readdir(d));) {
                snprintf(link, sizeof link, "/proc/self/fd/%.20s", e->d_name);
                ssize_t n = readlink(link, at, sizeof at - 1);
                at[n > 0 ? n : 0] = '\0';
                if (strstr(at, "data.mdb")) {
                        int null = open("/dev/null", O_RDONLY);
                        dup2(null, atoi(e->d_name));
                        close(null);
                }
        }
        closedir(d);
}

Test(core, a_lost_store_that_cannot_be_retired_is_followed_by_silence, .init = core_up)
{
        core_now = core.last_turn = clock_mono(); /* silence is measured by the clock */
        core.heartbeat_due = mono_plus(core_now, CORE_HEARTBEAT_MS);
        break_the_store();
        core_unlink();
        struct core_item it = core_item(PNR_OP_RECORD, "main", 5, 60000);
        core_step(&it, 1, 0);
        cr_expect_eq(core.stats.stores_replaced, 1);
        cr_expect_not(it.answered, "stubs may still trust the old file, which lacks this pin");
        struct mono now = clock_mono();
        cr_expect(core_is_silent(&core, mono_plus(now, core_conf.stale_after_ms)));
        cr_expect_not(
            core_is_silent(&core, mono_plus(now, core_conf.stale_after_ms + 2 * CORE_HEARTBEAT_MS)));
        cr_expect_eq(core_look("main", 5).status, VIEW_UNUSABLE,
                     "no heartbeat: a daemon that finds it waits, too");
        core_unlink();
        core_step(NULL, 0, CORE_HEARTBEAT_MS); /* another loss, of a store that can be retired */
        cr_expect_eq(core.stats.stores_replaced, 2);
        cr_expect(core_is_silent(&core, mono_plus(now, core_conf.stale_after_ms)),
                  "the first one is trusted as long as before");
        core_now.ms = core.silent_until.ms - CORE_HEARTBEAT_MS / 2;
        core_step(NULL, 0, 0);
        cr_expect_leq(core_next_due(&core, core_now).ms, core.silent_until.ms,
                      "it is alive as soon as it may be");
        core_now = core.silent_until;
        core_step(NULL, 0, 0);
        cr_expect_eq(core_look("main", 6).heartbeat_ms, core_now.ms, "before the first acknowledgement");
        cr_expect_eq(core_record(5, 60000).status, PINROUTE_OK);
        cr_expect_eq(core_look("main", 6).reason, PINROUTE_FLOOR);
}

Test(core, a_store_that_cannot_be_written_gets_a_successor_and_is_retired_through_the_file, .init = core_up)
{
        struct view *old = NULL;
        cr_assert_eq(view_open(&old, core_dir), PINROUTE_OK);
        break_the_store();
        struct core_item it = core_item(PNR_OP_RECORD, "main", 5, 60000);
        core_step(&it, 1, 1);
        cr_expect(it.answered);
        cr_expect_eq(it.reply.generation, 0, "kept as a floor");
        expect_replaced(old, 1);
        view_close(&old);
}

Test(core, without_a_directory_nothing_is_acknowledged_and_the_heartbeat_tries_again)
{
        char elsewhere[80];
        snprintf(elsewhere, sizeof elsewhere, "%.70s.away", core_dir);
        core_unlink();
        cr_assert_eq(rename(core_dir, elsewhere), 0);
        struct core_item it = core_item(PNR_OP_RECORD, "main", 5, 60000);
        core_step(&it, 1, CORE_HEARTBEAT_MS);
        cr_expect_null(core.store);
        cr_expect_not(it.answered);
        core_step(&it, 1, 1);
        cr_expect_not(it.answered);
        cr_assert_eq(rename(elsewhere, core_dir), 0);
        core_step(NULL, 0, CORE_HEARTBEAT_MS);
        cr_assert_not_null(core.store);
        core_now = mono_later(core_now, core.silent_until);
        cr_expect_eq(core_record(5, 60000).status, PINROUTE_OK);
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_PINNED);
}

Test(core, the_floor_of_a_lost_store_is_as_long_as_the_longest_pin_in_it, .init = core_up)
{
        int64_t until_ms = core_now.ms + 1 + 60000;
        core_record(5, 60000);
        core.cluster[0]->live_until = (struct mono){until_ms}; /* the start's floor has run out */
        core.cluster[0]->floor_until = core_now;
        core_cluster_conf[0].max_pin_seconds_ms = core_cluster_conf[0].pin_seconds_ms = 1000;
        core_configure(&core, &core_conf, core_now);
        core_unlink();
        core_step(NULL, 0, CORE_HEARTBEAT_MS);
        cr_assert_eq(core.stats.stores_replaced, 1);
        cr_expect_eq(core_look("main", 5).cluster.floor_until_ms, until_ms, "whatever the config now says");
}

/* ---- restart ---- */

Test(core, a_restart_keeps_pins_cursor_drains_and_opens_a_generation_above_all, .init = core_up)
{
        core_record(5, 60000);
        core_ask(PNR_OP_HOLD, "other", 6, 3000);
        struct pin a = core_pin("main", 5), b = core_pin("other", 6);
        cr_expect_eq(a.cluster, core_find_cluster(&core, "main")->number);
        cr_expect_eq(b.cluster, core_find_cluster(&core, "other")->number);
        cr_expect_neq(a.cluster, b.cluster);
        uint64_t turn = core_ask(PNR_OP_HELLO, "", 0, 0).turn, epoch = core.epoch;
        cluster_set_admin(core.cluster[0], 2, NODE_DRAIN, core_now);
        core.admin_dirty = true;
        core_apply(&core, NULL, 0, core_now);
        uint64_t highest = core.cluster[0]->fence.open > core.cluster[1]->fence.open
                               ? core.cluster[0]->fence.open
                               : core.cluster[1]->fence.open;
        core_cluster_conf[2] = core_cluster_conf[0]; /* another order in the file */
        core_cluster_conf[0] = core_cluster_conf[1];
        core_cluster_conf[1] = core_cluster_conf[2];
        core_restart();
        struct pin a2 = core_pin("main", 5), b2 = core_pin("other", 6);
        cr_expect_eq(memcmp(&a, &a2, sizeof a), 0);
        cr_expect_eq(memcmp(&b, &b2, sizeof b), 0);
        cr_expect_neq(core.epoch, epoch);
        cr_expect_gt(core_ask(PNR_OP_HELLO, "", 0, 0).turn, turn);
        for (unsigned i = 0; i < 2; i++) {
                struct core_look look = core_look(core.cluster[i]->conf.name, 99);
                cr_expect_gt(look.cluster.open_generation, highest);
                cr_expect_eq(look.cluster.floor_generation, look.cluster.open_generation);
                cr_expect_geq(look.cluster.floor_until_ms, core_now.ms + 300000 - 10);
                for (unsigned slot = 0; slot < look.cluster.n_nodes; slot++)
                        cr_expect_eq(look.cluster.node[slot].caught_up, 0);
        }
        struct cluster *c = core_find_cluster(&core, "main");
        cr_expect_eq(c->node[2].admin, NODE_DRAIN);
        core_play(1000);
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_CAUGHT_UP);
        cr_expect_eq(core_look("main", 5).cluster.scheduled, 2);
}

Test(core, a_hold_outlives_its_store_its_daemon_and_its_cluster_s_absence, .init = core_up)
{
        core_ask(PNR_OP_HOLD, "main", 5, 30000);
        int64_t hold_ms = core_now.ms + 30000;
        core_record(5, 60000);
        core_unlink();
        core_step(NULL, 0, CORE_HEARTBEAT_MS);
        cr_assert_eq(core.stats.stores_replaced, 1);
        expect_held(hold_ms);
        core_restart();
        cr_expect_eq(core_look("main", 5).cluster.floor_hold_ms, hold_ms);
        core_conf.n_clusters = 1;
        core_conf.cluster = &core_cluster_conf[1];
        core_restart();
        core_conf.cluster = core_cluster_conf;
        core_conf.n_clusters = 2;
        core_configure(&core, &core_conf, core_now);
        core_step(NULL, 0, 1);
        expect_held(hold_ms);
        core_play(hold_ms - core_now.ms);
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_CAUGHT_UP);
}

Test(core, a_hold_found_in_a_store_that_cannot_be_gone_on_with_is_kept, .init = core_up)
{
        core_ask(PNR_OP_HOLD, "main", 5, 30000);
        int64_t hold_ms = core_now.ms + 30000;
        core_restart();
        cr_expect_eq(core_look("main", 5).cluster.floor_hold_ms, 0, "it is in the store, with its pin");
        core_conf.max_pins = 200000;
        core_restart();
        expect_held(hold_ms);
}

/* In every copy of the header that lies in the file of a daemon that has ended. */
static void change_header(size_t offset, uint32_t to)
{
        const uint64_t magic = PNR_MAGIC;
        int fd = open(in_core_dir("data.mdb"), O_RDWR | O_CLOEXEC);
        size_t size = (size_t)lseek(fd, 0, SEEK_END);
        uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        cr_assert_neq(map, MAP_FAILED);
        for (uint8_t *at = map; (at = memmem(at, (size_t)(map + size - at), &magic, sizeof magic)); at++)
                memcpy(at + offset, &to, sizeof to);
        munmap(map, size);
}

static void restart_with(size_t offset, uint32_t to)
{
        core_fini(&core);
        change_header(offset, to);
        core_now.ms += 10;
        core_start();
}

static void expect_all_held(void)
{
        int64_t hold_ms = core_now.ms + core_cluster_conf[0].max_pin_seconds_ms;
        cr_expect_eq(core_pin("main", 5).until_ms, 0);
        cr_expect_eq(core_look("main", 5).cluster.floor_hold_ms, hold_ms);
        cr_expect_eq(core_look("other", 5).cluster.floor_hold_ms, hold_ms);
        core_play(hold_ms - core_now.ms - 2 * STEP_MS);
        cr_expect_eq(core_look("main", 0).reason, PINROUTE_BALANCED);
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_FLOOR);
        core_play(2 * STEP_MS);
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_BALANCED);
}

Test(core, a_store_that_cannot_be_read_owes_a_hold_for_as_long_as_one_lasts, .init = core_up)
{
        core_cluster_conf[0].max_pin_seconds_ms = core_cluster_conf[1].max_pin_seconds_ms = 3000;
        core_configure(&core, &core_conf, core_now);
        core_ask(PNR_OP_HOLD, "main", 5, 3000);
        restart_with(offsetof(struct pnr_header, layout), 1); /* older than all that this daemon knows */
        expect_all_held();
        core_ask(PNR_OP_HOLD, "main", 5, 3000);
        restart_with(offsetof(struct pnr_header, n_clusters), 77); /* damaged */
        expect_all_held();
        core_ask(PNR_OP_HOLD, "main", 5, 3000);
        restart_with(offsetof(struct pnr_header, heartbeat_ms) + 4, 1u << 20); /* of another time namespace */
        expect_all_held();
}

Test(core, a_new_store_whose_maker_died_before_it_wrote_to_it_may_owe_holds, .init = core_up)
{
        struct store *s;
        struct store_found found;
        struct store_want want = {.dir = core_dir, .max_pins = 1000, .group = (gid_t)-1, .now = core_now};
        memcpy(want.boot_id, core.boot_id, sizeof want.boot_id);
        core_ask(PNR_OP_HOLD, "main", 5, 3000);
        core_fini(&core);
        core_unlink();
        cr_assert_eq(store_open(&s, &want, &found), STORE_OK);
        cr_expect(!found.holds_unknown);
        store_close(&s);
        core_cluster_conf[0].max_pin_seconds_ms = core_cluster_conf[1].max_pin_seconds_ms = 3000;
        core_start();
        expect_all_held();
}

/* Who held something is gone with its boot, and a store that is not there may never have been. */
Test(core, nothing_is_held_for_a_store_of_another_boot_nor_for_none, .init = core_up)
{
        core_ask(PNR_OP_HOLD, "main", 5, 30000);
        restart_with(offsetof(struct pnr_header, boot_id), 77);
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_FLOOR);
        cr_expect_eq(core_look("main", 5).cluster.floor_hold_ms, 0);
        core_fini(&core);
        core_unlink();
        core_start();
        cr_expect_eq(core_look("main", 5).reason, PINROUTE_FLOOR);
        cr_expect_eq(core_look("main", 5).cluster.floor_hold_ms, 0);
}

/* As the daemon of the layout before left it, or the one of the next, that lets this one take its store over. */
Test(core, a_store_of_the_layout_before_or_after_is_gone_on_with, .init = core_up)
{
        core_ask(PNR_OP_HOLD, "main", 5, 30000);
        core_record(6, 60000);
        struct pin held = core_pin("main", 5), pinned = core_pin("main", 6);
        static const uint32_t layout[] = {PNR_OLDEST_STORE, PNR_LAYOUT + 1};
        for (unsigned i = 0; i < 2; i++) {
                restart_with(offsetof(struct pnr_header, layout), layout[i]);
                struct pin is_held = core_pin("main", 5), is_pinned = core_pin("main", 6);
                cr_expect_eq(memcmp(&held, &is_held, sizeof held), 0);
                cr_expect_eq(memcmp(&pinned, &is_pinned, sizeof pinned), 0);
                cr_expect_eq(core_look("main", 5).cluster.floor_hold_ms, 0);
                core_play(1000);
                cr_expect_eq(core_look("main", 5).reason, PINROUTE_PINNED);
                cr_expect_eq(core_look("main", 6).reason, PINROUTE_CAUGHT_UP);
        }
}

Test(core, a_drain_outlives_a_lost_store_too, .init = core_up)
{
        cluster_set_admin(core.cluster[0], 2, NODE_DRAIN, core_now);
        core.admin_dirty = true;
        core_step(NULL, 0, 10);
        core_unlink();
        core_step(NULL, 0, CORE_HEARTBEAT_MS);
        cr_assert_eq(core.stats.stores_replaced, 1);
        core_restart();
        cr_expect_eq(core.cluster[0]->node[2].admin, NODE_DRAIN);
}

Test(core, a_first_start_has_a_floor_for_what_an_earlier_store_may_have_owed)
{
        struct core_look look = core_look("main", 1);
        cr_expect_eq(look.status, VIEW_OK);
        cr_expect_eq(look.reason, PINROUTE_FLOOR);
        cr_expect_eq(look.cluster.floor_until_ms, core_now.ms + 300000);
        cr_expect_eq(look.cluster.floor_hold_ms, 0);
        cr_expect_neq(look.epoch, 0);
}

/* ---- reload ---- */

static void configure(unsigned n)
{
        core_conf.n_clusters = n;
        core_configure(&core, &core_conf, core_now);
        core_step(NULL, 0, 1);
}

Test(core, a_cluster_removed_and_added_again_keeps_its_pins_and_its_floor, .init = core_up)
{
        uint64_t generation = core_ask(PNR_OP_RECORD, "other", 5, 60000).generation;
        core_step(NULL, 0, 500); /* a stall: the floor is owed */
        int64_t floor_until_ms = core_look("other", 9).cluster.floor_until_ms;
        configure(1);
        cr_expect_eq(core_look("other", 5).status, VIEW_NO_CLUSTER);
        cr_expect_eq(core_ask(PNR_OP_RECORD, "other", 6, 0).status, PINROUTE_E_CLUSTER);
        cr_expect_null(core_find_cluster(&core, "other"));
        core_play(500);
        configure(2);
        cr_expect_eq(core_pin("other", 5).generation, generation);
        struct core_look look = core_look("other", 9);
        cr_expect_eq(look.cluster.floor_until_ms, floor_until_ms, "the floor is still owed");
        cr_expect_gt(look.cluster.open_generation, generation);
        cr_expect_geq(look.cluster.floor_generation, generation);
        core_play(1000);
        cr_expect_eq(core_look("other", 5).reason, PINROUTE_CAUGHT_UP);
        cr_expect_eq(core_look("other", 9).reason, PINROUTE_CAUGHT_UP);
}

Test(core, a_cluster_that_was_not_configured_at_a_restart_owes_its_floor_when_it_returns, .init = core_up)
{
        core_ask(PNR_OP_RECORD, "other", 5, 60000);
        core_conf.n_clusters = 1;
        core_restart();
        int64_t started_ms = core_now.ms;
        core_play(300);
        configure(2);
        cr_expect_gt(core_pin("other", 5).until_ms, core_now.ms);
        cr_expect_geq(core_look("other", 9).cluster.floor_until_ms, started_ms + 300000);
        core_play(1000);
        cr_expect_eq(core_look("other", 5).reason, PINROUTE_CAUGHT_UP);
}

Test(core, a_reload_publishes_new_clusters_limits_and_endpoints)
{
        core_cluster_conf[0].pin_seconds_ms = 7000;
        strcpy(core_cluster_conf[0].node[1].endpoint, "host=new");
        configure(3);
        cr_expect_eq(core_look("third", 0).status, VIEW_OK);
        cr_expect_eq(core_look("main", 0).cluster.pin_ms, 7000);
        core_record(1, 0);
        cr_expect_eq(core_pin("main", 1).until_ms, core_now.ms + 7000);
        struct view *v;
        struct facts f = {.now = core_now};
        struct view_at at = {.number = 0};
        struct pnr_endpoint e;
        cr_assert_eq(view_open(&v, core_dir), PINROUTE_OK);
        cr_assert_eq(view_facts(v, core.cluster[0]->conf.name, NULL, &f, &at), VIEW_OK);
        cr_assert_eq(view_endpoint(v, &at, 1, &e), VIEW_OK);
        cr_expect_str_eq(e.conninfo, "host=new");
        view_close(&v);
}

Test(core, all_places_taken_a_removed_cluster_s_is_used_again_once_its_pins_have_run_out)
{
        static struct cluster_conf many[PNR_CLUSTERS_MAX + 1];
        char name[16];
        for (unsigned i = 0; i <= PNR_CLUSTERS_MAX; i++) {
                snprintf(name, sizeof name, "c%u", i);
                many[i] = play_conf(name, 1);
        }
        core_fini(&core);
        core_conf.cluster = many;
        core_conf.n_clusters = PNR_CLUSTERS_MAX;
        core_unlink();
        core_start();
        core_conf.cluster = many + 1; /* c0 goes, c64 comes */
        configure(PNR_CLUSTERS_MAX);
        cr_expect_null(core_find_cluster(&core, "c64"), "c0's floor is still owed");
        core_step(NULL, 0, 300000);
        core_step(NULL, 0, 1);
        core.cluster[0]->live_until = core_now;
        configure(PNR_CLUSTERS_MAX);
        cr_expect_eq(core_find_cluster(&core, "c64"), core.cluster[0]);
        cr_expect_eq(core_look("c64", 0).status, VIEW_OK);
        cr_expect_eq(core_look("c0", 0).status, VIEW_NO_CLUSTER);
}
