/* test_choose.c -- each row and edge of the decision table, without a store. */
#include "client/choose.h"

#include <criterion/criterion.h>
#include <string.h>

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

/* A torn record can hold anything: the sanitizers watch. */
Test(choose, any_bytes_in_the_cluster_record_are_safe)
{
        uint64_t seed = 1;
        for (int round = 0; round < 100000; round++) {
                struct facts f = usual();
                f.pin = (struct need){.generation = 1, .until_ms = NOW + 1};
                for (int i = 0; i < 8; i++) {
                        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
                        ((uint8_t *)&cluster)[(seed >> 20) % 700] = (uint8_t)(seed >> 56);
                }
                struct choice c = choose(&f);
                int node = choose_next(&cluster, c.pool, seed);
                cr_assert(node >= -1 && node < PNR_NODES_MAX);
                cr_assert(node < 0 || c.pool >> node & 1);
        }
}
