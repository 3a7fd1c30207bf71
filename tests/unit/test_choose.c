/* test_choose.c -- each row and edge of the decision table, without a store. */
#include "client/choose.h"

#include <criterion/criterion.h>
#include <string.h>

#include "client/affinity.h"

#define NOW 100000

static struct pnr_cluster cluster;

/* Two replicas, 1 and 2, in turn; 2 has caught up with generation 7, freshly; nothing is pinned. */
static struct facts usual(void)
{
        cluster = (struct pnr_cluster){
            .trust_ms = 250, .n_nodes = 3, .n_schedule = 2, .scheduled = 6, .schedule = {1, 2}};
        cluster.node[2].caught_up = 7;
        cluster.node[2].stamp_ms = NOW;
        return (struct facts){.now = {NOW},
                              .stale_after_ms = 1000,
                              .stale_limit_ms = 60000,
                              .keyed = true,
                              .cluster = &cluster};
}

static void expect(const struct facts *f, enum pinroute_reason reason, uint32_t pool, uint32_t left_ms)
{
        struct choice c = choose(f);
        cr_expect_eq(c.reason, reason, "reason %d instead of %d", c.reason, reason);
        cr_expect_eq(c.pool, pool, "pool %x instead of %x", c.pool, pool);
        cr_expect_eq(c.pin_left_ms, left_ms, "left %u instead of %u", c.pin_left_ms, left_ms);
}

Test(choose, a_read_without_a_need_is_balanced_over_the_schedule)
{
        struct facts f = usual();
        expect(&f, PINROUTE_BALANCED, 6, 0);
        f.keyed = false;
        expect(&f, PINROUTE_BALANCED, 6, 0);
}

Test(choose, a_heartbeat_as_old_as_stale_after_stops_keyed_reads_and_as_old_as_the_limit_all)
{
        struct facts f = usual();
        f.age_ms = 999;
        expect(&f, PINROUTE_BALANCED, 6, 0);
        f.age_ms = 1000;
        expect(&f, PINROUTE_STORE_STALE, 0, 0);
        f.keyed = false;
        expect(&f, PINROUTE_BALANCED, 6, 0);
        f.age_ms = 59999;
        expect(&f, PINROUTE_BALANCED, 6, 0);
        f.age_ms = 60000;
        expect(&f, PINROUTE_STORE_UNAVAILABLE, 0, 0);
        f.age_ms = INT64_MAX;
        f.forced = true;
        expect(&f, PINROUTE_STORE_UNAVAILABLE, 0, 0);
}

Test(choose, forced_comes_before_stale_pinned_and_empty)
{
        struct facts f = usual();
        f.forced = true;
        f.age_ms = 5000;
        f.pin = (struct need){.generation = 1, .until_ms = NOW + 10};
        expect(&f, PINROUTE_FORCED, 0, 0);
        cluster.n_schedule = 0;
        expect(&f, PINROUTE_FORCED, 0, 0);
}

Test(choose, a_pin_is_void_from_its_deadline_on)
{
        struct facts f = usual();
        f.pin = (struct need){.generation = 8, .until_ms = NOW + 1};
        expect(&f, PINROUTE_PINNED, 0, 1);
        f.pin.until_ms = NOW;
        expect(&f, PINROUTE_BALANCED, 6, 0);
        f.keyed = false;
        f.pin.until_ms = NOW + 1;
        expect(&f, PINROUTE_BALANCED, 6, 0);
}

Test(choose, only_a_node_that_has_caught_up_freshly_and_stands_in_the_schedule_serves_a_pin)
{
        struct facts f = usual();
        f.pin = (struct need){.generation = 7, .until_ms = NOW + 50};
        expect(&f, PINROUTE_CAUGHT_UP, 4, 50);
        f.pin.generation = 8;
        expect(&f, PINROUTE_PINNED, 0, 50);
        f.pin.generation = 7;
        cluster.node[2].stamp_ms = NOW - 249;
        expect(&f, PINROUTE_CAUGHT_UP, 4, 50);
        cluster.node[2].stamp_ms = NOW - 250;
        expect(&f, PINROUTE_PINNED, 0, 50);
        cluster.node[2].stamp_ms = NOW + 50;
        expect(&f, PINROUTE_CAUGHT_UP, 4, 50);
        cluster.node[2].stamp_ms = NOW + 51;
        expect(&f, PINROUTE_PINNED, 0, 50);
        cluster.node[2].stamp_ms = NOW;
        cluster.scheduled = 2;
        expect(&f, PINROUTE_PINNED, 0, 50);
        cluster.scheduled = 6;
        cluster.n_nodes = 2;
        expect(&f, PINROUTE_PINNED, 0, 50);
        cluster.n_nodes = 3;
        cluster.n_schedule = 0;
        expect(&f, PINROUTE_PINNED, 0, 50);
}

Test(choose, caught_up_zero_means_nothing_even_for_generation_zero)
{
        struct facts f = usual();
        f.pin = (struct need){.until_ms = NOW + 50};
        expect(&f, PINROUTE_CAUGHT_UP, 4, 50);
        cluster.node[2].caught_up = 0;
        expect(&f, PINROUTE_PINNED, 0, 50);
}

Test(choose, before_its_hold_is_over_nothing_satisfies_a_pin)
{
        struct facts f = usual();
        f.pin = (struct need){.generation = 1, .until_ms = NOW + 50, .hold_ms = NOW + 1};
        expect(&f, PINROUTE_PINNED, 0, 50);
        f.pin.hold_ms = NOW;
        expect(&f, PINROUTE_CAUGHT_UP, 4, 50);
        f.pin = (struct need){.hold_ms = NOW + 9};
        expect(&f, PINROUTE_PINNED, 0, 9);
}

Test(choose, the_floor_is_a_pin_of_every_key_and_is_named_when_it_stands_alone)
{
        struct facts f = usual();
        cluster.floor_generation = 8;
        cluster.floor_until_ms = NOW + 30;
        expect(&f, PINROUTE_FLOOR, 0, 30);
        cluster.floor_generation = 7;
        expect(&f, PINROUTE_CAUGHT_UP, 4, 30);
        cluster.floor_generation = 8;
        f.pin = (struct need){.generation = 1, .until_ms = NOW + 10};
        expect(&f, PINROUTE_PINNED, 0, 10);
        f.pin.until_ms = NOW;
        expect(&f, PINROUTE_FLOOR, 0, 30);
        f.keyed = false;
        expect(&f, PINROUTE_BALANCED, 6, 0);
        f.keyed = true;
        cluster.floor_until_ms = NOW;
        expect(&f, PINROUTE_BALANCED, 6, 0);
}

Test(choose, a_floor_that_is_held_is_satisfied_by_no_replica)
{
        struct facts f = usual();
        cluster.floor_generation = 7;
        cluster.floor_until_ms = NOW + 30;
        cluster.floor_hold_ms = NOW + 1;
        expect(&f, PINROUTE_FLOOR, 0, 30);
        f.keyed = false;
        expect(&f, PINROUTE_BALANCED, 6, 0);
        f.keyed = true;
        f.pin = (struct need){.generation = 1, .until_ms = NOW + 10};
        expect(&f, PINROUTE_PINNED, 0, 10);
        cluster.floor_hold_ms = NOW;
        expect(&f, PINROUTE_CAUGHT_UP, 4, 10);
}

Test(choose, an_expired_need_lends_its_generation_to_no_other)
{
        struct facts f = usual();
        f.pin = (struct need){.generation = 7, .until_ms = NOW + 10};
        cluster.floor_generation = 99;
        cluster.floor_until_ms = NOW;
        f.local = (struct need){.generation = CHOOSE_NOBODY, .until_ms = NOW};
        expect(&f, PINROUTE_CAUGHT_UP, 4, 10);
}

Test(choose, no_replica_satisfies_a_record_that_failed)
{
        struct facts f = usual();
        f.local = (struct need){.generation = CHOOSE_NOBODY, .until_ms = NOW + 20};
        cluster.node[2].caught_up = UINT64_MAX;
        expect(&f, PINROUTE_PINNED, 0, 20);
        cluster.floor_until_ms = NOW + 30;
        expect(&f, PINROUTE_PINNED, 0, 20);
}

Test(choose, an_empty_schedule_is_told)
{
        struct facts f = usual();
        cluster.n_schedule = 0;
        expect(&f, PINROUTE_NO_REPLICA, 0, 0);
        cluster.n_schedule = 2;
        cluster.scheduled = 0;
        expect(&f, PINROUTE_NO_REPLICA, 0, 0);
}

Test(choose, a_pin_that_outlasts_32_bits_is_shown_as_the_longest)
{
        struct facts f = usual();
        f.pin = (struct need){.generation = 8, .until_ms = INT64_MAX};
        expect(&f, PINROUTE_PINNED, 0, UINT32_MAX);
}

Test(choose, the_next_node_is_the_schedules_and_others_than_the_pool_are_stepped_over)
{
        struct facts f = usual();
        const uint8_t schedule[] = {1, 2, 1, 2, 2};
        cluster.n_schedule = sizeof schedule;
        memcpy(cluster.schedule, schedule, sizeof schedule);
        for (uint64_t turn = 0; turn < 20; turn++) {
                cr_expect_eq(choose_next(f.cluster, 6, turn), schedule[turn % 5]);
                cr_expect_eq(choose_next(f.cluster, 4, turn), 2);
        }
        cr_expect_eq(choose_next(f.cluster, 6, UINT64_MAX), schedule[UINT64_MAX % 5]);
        cr_expect_eq(choose_next(f.cluster, 8, 0), -1);
        cluster.n_schedule = 0;
        cr_expect_eq(choose_next(f.cluster, 6, 0), -1);
        cluster.n_schedule = PNR_SCHEDULE_MAX + 1;
        cr_expect_eq(choose_next(f.cluster, 6, 0), -1);
}

/* ---- balance = affinity ---- */

/* Of nodes 1 and 2, whose keys these are. */
static struct facts in_affinity(unsigned own)
{
        struct facts f = usual();
        cluster.flags = PNR_CLUSTER_AFFINITY;
        strcpy(cluster.node[1].name, "shadow-1");
        strcpy(cluster.node[2].name, "shadow-2");
        cluster.node[1].weight = cluster.node[2].weight = 1;
        for (f.key.w[0] = 1; affinity_of(&cluster, 6, f.key) != 1u << own;)
                f.key.w[0]++;
        return f;
}

Test(choose, by_affinity_a_key_goes_to_its_own_replica_and_keyless_reads_take_turns)
{
        struct facts f = in_affinity(1);
        expect(&f, PINROUTE_AFFINITY, 2, 0);
        f = in_affinity(2);
        expect(&f, PINROUTE_AFFINITY, 4, 0);
        f.keyed = false;
        expect(&f, PINROUTE_BALANCED, 6, 0);
        f.keyed = true;
        cluster.flags = PNR_CLUSTER_NO_REPLICA_ERROR;
        expect(&f, PINROUTE_BALANCED, 6, 0);
}

Test(choose, a_token_s_read_that_has_no_key_of_its_own_has_no_own_replica_either)
{
        struct facts f = in_affinity(1);
        f.key = (struct pnr_key){0};
        expect(&f, PINROUTE_BALANCED, 6, 0);
        f.local = (struct need){.generation = 7, .until_ms = NOW + 20};
        expect(&f, PINROUTE_CAUGHT_UP, 4, 20);
}

Test(choose, a_key_whose_replica_leaves_goes_to_another_one_until_it_is_back)
{
        struct facts f = in_affinity(1);
        cluster.scheduled = 4;
        expect(&f, PINROUTE_AFFINITY, 4, 0);
        cluster.scheduled = 0;
        expect(&f, PINROUTE_NO_REPLICA, 0, 0);
        cluster.scheduled = 6;
        expect(&f, PINROUTE_AFFINITY, 2, 0);
}

Test(choose, a_pinned_key_hops_to_no_other_replica_that_has_caught_up)
{
        struct facts f = in_affinity(1);
        f.pin = (struct need){.generation = 7, .until_ms = NOW + 50};
        expect(&f, PINROUTE_PINNED, 0, 50);
        f = in_affinity(2);
        f.pin = (struct need){.generation = 7, .until_ms = NOW + 50};
        expect(&f, PINROUTE_CAUGHT_UP, 4, 50);
        cluster.floor_generation = 8;
        cluster.floor_until_ms = NOW + 30;
        f.pin = (struct need){0};
        expect(&f, PINROUTE_FLOOR, 0, 30);
}

Test(choose, the_node_that_a_scope_has_read_from_goes_before_its_key_s_own)
{
        struct facts f = in_affinity(1);
        f.stay = 4;
        expect(&f, PINROUTE_AFFINITY, 4, 0);
        f.pin = (struct need){.generation = 7, .until_ms = NOW + 50};
        expect(&f, PINROUTE_CAUGHT_UP, 4, 50);
        f.pin = (struct need){0};
        cluster.scheduled = 2;
        expect(&f, PINROUTE_AFFINITY, 2, 0);
        cluster.flags = 0;
        cluster.scheduled = 6;
        expect(&f, PINROUTE_BALANCED, 6, 0);
}

/* ---- at most so far behind ---- */

#define LATE 32 /* how far our clock may lag */

static struct facts within(uint32_t ms)
{
        struct facts f = usual();
        f.bound = (struct bound){true, ms};
        return f;
}

Test(choose, within_a_bound_are_the_replicas_that_are_known_to_be_as_of_then)
{
        struct facts f = within(1000);
        expect(&f, PINROUTE_BEHIND, 0, 0);
        cluster.as_of_ms[1] = NOW - 1000 + LATE;
        expect(&f, PINROUTE_BALANCED, 2, 0);
        cluster.as_of_ms[1]--;
        expect(&f, PINROUTE_BEHIND, 0, 0);
        cluster.as_of_ms[2] = NOW;
        expect(&f, PINROUTE_BALANCED, 4, 0);
        f.keyed = false;
        expect(&f, PINROUTE_BALANCED, 4, 0);
        cluster.as_of_ms[2] = NOW + 50;
        expect(&f, PINROUTE_BALANCED, 4, 0);
        cluster.as_of_ms[2] = NOW + 51;
        expect(&f, PINROUTE_BEHIND, 0, 0);
        cluster.as_of_ms[2] = -1;
        expect(&f, PINROUTE_BEHIND, 0, 0);
        f.bound.ms = UINT32_MAX;
        cluster.as_of_ms[2] = 0;
        expect(&f, PINROUTE_BALANCED, 2, 0);
}

Test(choose, a_bound_of_nothing_means_the_primary)
{
        struct facts f = within(0);
        cluster.as_of_ms[1] = cluster.as_of_ms[2] = NOW;
        expect(&f, PINROUTE_BEHIND, 0, 0);
}

Test(choose, a_bound_never_weakens_the_promise)
{
        struct facts f = within(1000);
        cluster.as_of_ms[1] = cluster.as_of_ms[2] = NOW;
        f.pin = (struct need){.generation = 7, .until_ms = NOW + 50};
        expect(&f, PINROUTE_CAUGHT_UP, 4, 50);
        f.pin.generation = 8;
        expect(&f, PINROUTE_PINNED, 0, 50);
        f.pin.generation = 7;
        cluster.as_of_ms[2] = 0;
        expect(&f, PINROUTE_BEHIND, 0, 50);
        f.pin.hold_ms = NOW + 10;
        expect(&f, PINROUTE_PINNED, 0, 50);
        f.pin = (struct need){0};
        cluster.floor_generation = 8;
        cluster.floor_until_ms = NOW + 30;
        expect(&f, PINROUTE_FLOOR, 0, 30);
        f.forced = true;
        expect(&f, PINROUTE_FORCED, 0, 0);
}

Test(choose, of_a_silent_daemon_s_word_no_bound_is_kept_also_without_a_key)
{
        struct facts f = within(60000);
        cluster.as_of_ms[1] = NOW;
        f.keyed = false;
        f.age_ms = 999;
        expect(&f, PINROUTE_BALANCED, 2, 0);
        f.age_ms = 1000;
        expect(&f, PINROUTE_STORE_STALE, 0, 0);
}

Test(choose, no_replica_at_all_is_not_one_that_is_behind)
{
        struct facts f = within(1000);
        cluster.n_schedule = 0;
        expect(&f, PINROUTE_NO_REPLICA, 0, 0);
}

Test(choose, within_a_bound_a_key_hops_to_no_other_replica_either)
{
        struct facts f = in_affinity(1);
        f.bound = (struct bound){true, 1000};
        cluster.as_of_ms[2] = NOW;
        expect(&f, PINROUTE_BEHIND, 0, 0);
        cluster.as_of_ms[1] = NOW;
        expect(&f, PINROUTE_AFFINITY, 2, 0);
}

/* A torn record can hold anything: the sanitizers watch. */
Test(choose, any_bytes_in_the_cluster_record_are_safe)
{
        uint64_t seed = 1;
        for (int round = 0; round < 100000; round++) {
                struct facts f = usual();
                f.pin = (struct need){.generation = 1, .until_ms = NOW + round % 2};
                f.key.w[0] = seed;
                f.bound = (struct bound){round % 3 == 0, 1000};
                for (int i = 0; i < 16; i++) {
                        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
                        unsigned room = i < 8 ? 700 : sizeof cluster;
                        ((uint8_t *)&cluster)[(seed >> 20) % room] = (uint8_t)(seed >> 56);
                }
                struct choice c = choose(&f);
                int node = choose_next(&cluster, c.pool, seed);
                cr_assert(node >= -1 && node < PNR_NODES_MAX);
                cr_assert(node < 0 || c.pool >> node & 1);
        }
}
