/* test_affinity.c -- a key has one replica of its own; shares are those of the weights; nobody moves without need. */
#include "client/affinity.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEYS 1000000u

static struct pnr_cluster cluster;

static struct pnr_key key_of(unsigned i) { return pnr_key_of(&i, sizeof i); }

/* Nodes 1..n of these weights. */
static uint32_t fleet(const unsigned *weight, unsigned n)
{
        cluster = (struct pnr_cluster){.n_nodes = (uint16_t)(n + 1)};
        for (unsigned i = 1; i <= n; i++) {
                snprintf(cluster.node[i].name, sizeof cluster.node[i].name, "shadow-%u", i);
                cluster.node[i].weight = weight[i - 1];
        }
        return (uint32_t)((1ull << (n + 1)) - 2);
}

Test(affinity, the_logarithm_is_that_of_libm)
{
        uint64_t hash = 1;
        for (unsigned i = 0; i < 200000; i++) {
                double by = (double)(affinity_log(hash) / 4294967296.0L);
                long double u = (long double)(hash | 1) / 18446744073709551616.0L;
                double is = (double)-log2l(u);
                cr_assert(fabs(by - is) < 16 / 4294967296.0, "of %llx: %.12f, not %.12f",
                          (unsigned long long)hash, by, is);
                hash = hash * 6364136223846793005ull + 1442695040888963407ull;
                if (i % 2)
                        hash = i % 4 == 1 ? hash >> (i / 4 % 64) : ~(hash >> (i / 4 % 64));
        }
        cr_expect_eq(affinity_log(0), 64ull << 32);
        cr_expect_lt(affinity_log(UINT64_MAX), 2);
}

static void expect_shares(const unsigned *weight, unsigned n)
{
        unsigned had[PNR_NODES_MAX] = {0}, sum = 0;
        uint32_t pool = fleet(weight, n);
        for (unsigned i = 0; i < KEYS; i++)
                had[__builtin_ctz(affinity_of(&cluster, pool, key_of(i)))]++;
        for (unsigned i = 0; i < n; i++)
                sum += weight[i];
        for (unsigned i = 0; i < n; i++) {
                double share = (double)had[i + 1] / KEYS, due = (double)weight[i] / sum;
                cr_expect(fabs(share - due) < due / 100 + 0.0005, "node %u of %u: %.5f, not %.5f", i + 1, n,
                          share, due);
        }
}

Test(affinity, of_a_million_keys_each_node_has_its_weights_share)
{
        expect_shares((const unsigned[]){1, 1}, 2);
        expect_shares((const unsigned[]){2, 1}, 2);
        expect_shares((const unsigned[]){1, 2, 3, 4}, 4);
        expect_shares((const unsigned[]){256, 1, 17}, 3);
}

Test(affinity, when_a_node_goes_only_its_keys_move_and_they_come_back_with_it)
{
        uint32_t all = fleet((const unsigned[]){1, 2, 3, 4, 256}, 5), gone = 1u << 3;
        unsigned moved = 0, to[PNR_NODES_MAX] = {0};
        for (unsigned i = 0; i < 100000; i++) {
                uint32_t was = affinity_of(&cluster, all, key_of(i)),
                         is = affinity_of(&cluster, all & ~gone, key_of(i));
                if (was != gone) {
                        cr_assert_eq(is, was);
                } else {
                        cr_assert(is && is != gone);
                        to[__builtin_ctz(is)]++;
                        moved++;
                }
        }
        cr_expect(moved > 900 && moved < 1400);
        cr_expect_gt(to[5], moved * 9 / 10, "by their shares");
        cr_expect_gt(to[4], 0);
}

Test(affinity, a_key_keeps_its_node_when_the_nodes_stand_in_another_order)
{
        static const unsigned weight[] = {3, 1, 2};
        uint32_t pool = fleet(weight, 3);
        struct pnr_cluster other = cluster;
        other.node[1] = cluster.node[3];
        other.node[3] = cluster.node[2];
        other.node[2] = cluster.node[1];
        for (unsigned i = 0; i < 10000; i++) {
                int a = __builtin_ctz(affinity_of(&cluster, pool, key_of(i)));
                int b = __builtin_ctz(affinity_of(&other, pool, key_of(i)));
                cr_assert_str_eq(cluster.node[a].name, other.node[b].name);
        }
}

/* On every host, in every version: a change here moves all users' reads at once. */
Test(affinity, whose_a_key_is_is_for_life)
{
        static const unsigned weight[] = {1, 2, 1};
        static const char *const key[] = {"alice", "bob", "carol", "dave", "erin", "frank", "u:7", "s:0123"};
        char named[64] = "";
        uint32_t pool = fleet(weight, 3);
        for (unsigned i = 0; i < sizeof key / sizeof *key; i++)
                named[i] = (char)('0' + __builtin_ctz(
                                            affinity_of(&cluster, pool, pnr_key_of(key[i], strlen(key[i])))));
        cr_expect_str_eq(named, "22131222");
}

Test(affinity, an_empty_pool_has_nobody_and_any_bytes_are_safe)
{
        fleet((const unsigned[]){1, 1}, 2);
        cr_expect_eq(affinity_of(&cluster, 0, key_of(1)), 0);
        memset(&cluster, 0xff, sizeof cluster);
        uint32_t one = affinity_of(&cluster, UINT32_MAX, key_of(1));
        cr_expect(one && !(one & (one - 1)));
        cluster.node[31].weight = 0; /* as good as 1: who is in no schedule is in no pool */
        cr_expect_eq(affinity_of(&cluster, 1u << 31, key_of(1)), 1u << 31);
}
