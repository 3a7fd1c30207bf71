/* test_key.c -- golden hashes and offsets: on every host and in every store the same key has the same place.
 * The hashes were checked against a second SipHash-2-4-128, written from the paper in Python, with stage 2 in a few
 * lines there: (place[0] * w[0] + place[1] * w[1] + place[2] * cluster) mod 2^64, its multipliers the SipHash under the
 * seed of the bytes 1, 2 and 3, each | 1: place[0], place[1]; tag[0], tag[1]; place[2], tag[2].
 * Layout 1 was never released, so nothing here tells of it. */
#include "proto/key.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/golden.h"

static const uint8_t seed[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

Test(key, stage_one_is_for_life)
{
        char longest[PNR_KEY_MAX];
        memset(longest, 'k', sizeof longest);
        const struct {
                const char *key;
                size_t len;
                uint64_t w[2];
        } golden[] = {
            {"a", 1, {0x1ac511bb2780c5e8ull, 0x368224965896b9adull}},
            {"session-1", 9, {0x3c8ad81bcfbb2b34ull, 0xee1b028cf17ae436ull}},
            {"\0", 1, {0x58a27b59c85a007bull, 0x5d508a099456c65aull}},
            {longest, sizeof longest, {0x8d750e3c85fef25dull, 0x212181677936e1caull}},
        };
        for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
                struct pnr_key k = pnr_key_of(golden[i].key, golden[i].len);
                cr_expect(memcmp(k.w, golden[i].w, sizeof k.w) == 0, "0x%016lxull, 0x%016lxull", k.w[0],
                          k.w[1]);
        }
}

Test(key, stage_two_is_for_life)
{
        const struct {
                unsigned cluster;
                struct pnr_slot slot;
        } golden[] = {
            {0, {0xf312eadfecd5281full, 0x05639b32u}},
            {1, {0x8e6b236f2d413f29ull, 0x33e66485u}},
            {63, {0xadc8d620c76ed3b4ull, 0x7793269du}},
        };
        struct pnr_spread spread = pnr_spread_of(seed);
        for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
                struct pnr_slot s = pnr_slot_of(pnr_key_of("session-1", 9), golden[i].cluster, &spread);
                cr_expect(s.place == golden[i].slot.place && s.tag == golden[i].slot.tag,
                          "0x%016lxull, 0x%08xu", s.place, s.tag);
        }
}

Test(key, what_a_page_keeps_of_a_place_is_its_first_48_bits)
{
        struct pnr_spread spread = pnr_spread_of(seed);
        for (uint64_t i = 0; i < 100000; i++) {
                struct pnr_slot s =
                    pnr_slot_of(pnr_key_of(&i, sizeof i), (unsigned)(i % PNR_CLUSTERS_MAX), &spread);
                cr_assert(s.place >= PNR_KEY_PINS && s.tag != 0);
                uint64_t kept = pnr_slot_place(pnr_slot_hash(s.place), pnr_slot_low(s.place));
                cr_assert(kept >> 15 == s.place >> 15 && kept << 49 == 0);
                cr_assert_eq(pnr_slot_shown(kept), pnr_slot_shown(s.place));
                cr_assert_eq(pnr_slot_shown(s.place) >> 16, pnr_slot_hash(s.place));
        }
}

Test(key, a_key_has_neither_place_nor_tag_in_common_in_two_clusters)
{
        struct pnr_spread spread = pnr_spread_of(seed);
        struct pnr_slot of[PNR_CLUSTERS_MAX];
        for (unsigned c = 0; c < PNR_CLUSTERS_MAX; c++) {
                of[c] = pnr_slot_of(pnr_key_of("session-1", 9), c, &spread);
                for (unsigned d = 0; d < c; d++)
                        cr_assert(pnr_slot_hash(of[c].place) != pnr_slot_hash(of[d].place) &&
                                  of[c].tag != of[d].tag);
        }
}

/* By the inverse of the first multiplier: a key {n, 0} whose sum is 5 under a seed of zeros. */
Test(key, no_tag_is_zero_which_is_a_free_place)
{
        static const uint8_t zeros[16];
        struct pnr_spread spread = pnr_spread_of(zeros);
        struct pnr_slot s = pnr_slot_of((struct pnr_key){{0xd4a9d22403505c53, 0}}, 0, &spread);
        cr_expect_eq(s.place, 0xc755c55439f7fa74);
        cr_expect_eq(s.tag, 1);
}

Test(key, every_group_is_the_home_of_as_many_tags_and_every_bit_of_a_filter_is_as_many_tags)
{
        unsigned home[PNR_GROUPS] = {0}, bit[PNR_FILTER][64] = {{0}};
        for (uint64_t t = 0; t < PNR_GROUPS * 1000; t++)
                home[pnr_tag_home((uint32_t)((t << 32) / (PNR_GROUPS * 1000)))]++;
        for (unsigned g = 0; g < PNR_GROUPS; g++)
                cr_expect(home[g] >= 999 && home[g] <= 1001, "%u", home[g]);
        cr_expect_eq(pnr_tag_home(1), 0);
        cr_expect_eq(pnr_tag_home(UINT32_MAX), PNR_GROUPS - 1);
        for (uint32_t tag = 0; tag < PNR_FILTER << 20; tag++) /* each word with each number of 20 bits */
                for (uint64_t bits = pnr_tag_bits(tag); bits; bits &= bits - 1)
                        bit[pnr_tag_word(tag)][__builtin_ctzll(bits)]++;
        for (unsigned b = 0; b < PNR_FILTER * 64; b++)
                cr_expect_eq(bit[b / 64][b % 64], (1 << 20) - 4 * 63 * 63 * 63,
                             "all but those none of whose three is it");
}

#define AT(type, field, offset)                                                                              \
        {                                                                                                    \
#type "." #field, offsetof(struct type, field), offset                                       \
        }

static const struct {
        const char *field;
        size_t is, was;
} layout_2[] = {
    AT(pnr_header, magic, 0),
    AT(pnr_header, layout, 8),
    AT(pnr_header, oldest_reader, 12),
    AT(pnr_header, epoch, 16),
    AT(pnr_header, boot_id, 24),
    AT(pnr_header, seed, 40),
    AT(pnr_header, file_ino, 56),
    AT(pnr_header, heartbeat_ms, 64),
    AT(pnr_header, state, 72),
    AT(pnr_header, n_clusters, 76),
    AT(pnr_header, stale_after_ms, 80),
    AT(pnr_header, stale_limit_ms, 84),
    AT(pnr_header, cursor, 88),
    AT(pnr_header, oldest_writer, 96), /* reserved at first */
    AT(pnr_cluster, name, 0),
    AT(pnr_cluster, open_generation, 64),
    AT(pnr_cluster, floor_generation, 72),
    AT(pnr_cluster, floor_until_ms, 80),
    AT(pnr_cluster, flags, 88),
    AT(pnr_cluster, trust_ms, 92),
    AT(pnr_cluster, pin_ms, 96),
    AT(pnr_cluster, max_pin_ms, 100),
    AT(pnr_cluster, n_nodes, 104),
    AT(pnr_cluster, n_schedule, 106),
    AT(pnr_cluster, primary, 108),
    AT(pnr_cluster, scheduled, 112),
    AT(pnr_cluster, timeline, 116),
    AT(pnr_cluster, schedule, 120),
    AT(pnr_cluster, node, 632),
    AT(pnr_cluster, floor_hold_ms, 3448),
    AT(pnr_cluster, system_identifier, 3456),
    AT(pnr_cluster, as_of_ms, 3464),       /* reserved at first */
    AT(pnr_cluster, primary_budget, 3720), /* reserved at first */
    AT(pnr_node, name, 0),
    AT(pnr_node, caught_up, 64),
    AT(pnr_node, stamp_ms, 72),
    AT(pnr_token_keys, n, 0),
    AT(pnr_token_keys, issuer, 4),
    AT(pnr_token_keys, key, 8),
    AT(pnr_token_keys, reserved, 136),
    AT(pnr_pins, base_ms, 0),
    AT(pnr_pins, bits, 3968),
    AT(pnr_pins, stale, 3970),
    AT(pnr_pins, used, 3972),
    AT(pnr_pins, filter, 8),
    AT(pnr_pins, group, 48),
    AT(pnr_pins, cold, 2288),
    AT(pnr_group, tag, 0),
    AT(pnr_group, hash, 12),
    AT(pnr_group, until, 24),
    AT(pnr_group, flags, 36),
    AT(pnr_group, generation, 40),
    AT(pnr_cold, stamp, 0),
    AT(pnr_cold, hold, 8),
    AT(pnr_cold, low, 12),
    AT(pnr_cold, cluster, 14),
};

Test(key, the_stores_records_lie_as_layout_2_says)
{
        cr_expect_eq(PNR_LAYOUT, 2, "a new layout has offsets of its own: add them here, keep these");
        for (size_t i = 0; i < sizeof layout_2 / sizeof *layout_2; i++)
                cr_expect_eq(layout_2[i].is, layout_2[i].was, "%s", layout_2[i].field);
        cr_expect_eq(PNR_KEY_TOKENS, 2);
        cr_expect_eq(PNR_KEY_CLUSTER(63), 0x13f);
        cr_expect_eq(PNR_KEY_ENDPOINT(63, 31), 0x107ff);
        cr_expect_eq(PNR_KEY_ADMIN(63, 31), 0x207ff);
}

#define BUMP "PNR_LAYOUT"

static struct pnr_header a_header(void)
{
        return (struct pnr_header){
            .magic = PNR_MAGIC,
            .layout = PNR_LAYOUT,
            .oldest_reader = PNR_OLDEST_READER,
            .oldest_writer = PNR_OLDEST_WRITER,
            .epoch = 0x1011121314151617,
            .boot_id = {0x20, 0x21, 0x22, 0x23, [15] = 0x2f},
            .seed = {0x30, 0x31, 0x32, 0x33, [15] = 0x3f},
            .file_ino = 0x4041424344454647,
            .heartbeat_ms = 0x5051525354555657,
            .state = PNR_LIVE,
            .n_clusters = 3,
            .stale_after_ms = 1000,
            .stale_limit_ms = 60000,
            .cursor = 0x6061626364656667,
        };
}

/* Every place in use, and no two numbers the same. */
static struct pnr_cluster a_cluster(void)
{
        struct pnr_cluster c = {
            .name = "main",
            .open_generation = 0x1011121314151617,
            .floor_generation = 0x2021222324252627,
            .floor_until_ms = 0x3031323334353637,
            .flags = PNR_CLUSTER_NO_REPLICA_ERROR | PNR_CLUSTER_AFFINITY,
            .trust_ms = 250,
            .pin_ms = 15000,
            .max_pin_ms = 300000,
            .n_nodes = PNR_NODES_MAX,
            .n_schedule = PNR_SCHEDULE_MAX,
            .primary = 7,
            .scheduled = 0x40414243,
            .timeline = 0x50515253,
            .floor_hold_ms = 0x6061626364656667,
            .system_identifier = 0x7071727374757677,
            .primary_budget = 0x00a1a2a3,
        };
        for (unsigned i = 0; i < PNR_SCHEDULE_MAX; i++)
                c.schedule[i] = (uint8_t)(i % PNR_NODES_MAX);
        for (unsigned i = 0; i < PNR_NODES_MAX; i++) {
                c.node[i] = (struct pnr_node){.caught_up = 0x8000 + i, .stamp_ms = 0x9000 + i, .weight = i};
                snprintf(c.node[i].name, sizeof c.node[i].name, "shadow-%u", i);
                c.as_of_ms[i] = 0xb000 + i;
        }
        return c;
}

static struct pnr_token_keys all_token_keys(void)
{
        struct pnr_token_keys keys = {.n = PNR_TOKEN_KEYS_MAX, .issuer = 0xa1b2c3};
        for (unsigned i = 0; i < PNR_TOKEN_KEYS_MAX * PNR_TOKEN_KEY_SIZE; i++)
                keys.key[i / PNR_TOKEN_KEY_SIZE][i % PNR_TOKEN_KEY_SIZE] = (uint8_t)(0x10 + i);
        return keys;
}

static struct pnr_pins a_page_of_pins(void)
{
        struct pnr_pins p = {.base_ms = 0x1011121314151617, .bits = 5, .stale = 7, .used = PNR_PLACES};
        for (unsigned w = 0; w < PNR_FILTER; w++)
                p.filter[w] = 0x2021222324252627 + w;
        for (unsigned i = 0; i < PNR_PLACES; i++) {
                struct pnr_group *g = &p.group[i / PNR_GROUP];
                unsigned k = i % PNR_GROUP;
                g->flags |= (uint32_t)(i % 2 ? PNR_GROUP_HELD << k : PNR_GROUP_PASSED);
                g->tag[k] = 0x02000000 * (i + 1) + 0x010203;
                g->hash[k] = 0x1000 + i;
                g->until[k] = 0x2000 + i;
                g->generation[k] = 0x3000 + i;
                p.cold[i] = (struct pnr_cold){.stamp = 0x4000 + i,
                                              .hold = 0x5000 + i,
                                              .low = (uint16_t)(0x6000 + i),
                                              .cluster = i % 64};
        }
        return p;
}

Test(key, the_stores_records_are_the_bytes_that_their_layout_says)
{
        struct pnr_header h = a_header();
        struct pnr_cluster c = a_cluster();
        struct pnr_endpoint e = {"host=10.0.0.11 port=5432 dbname=app sslmode=prefer"};
        struct pnr_token_keys t = all_token_keys();
        struct pnr_pins p = a_page_of_pins();
        expect_golden("layout-2-header-later", &h, sizeof h, BUMP);
        expect_golden("layout-2-cluster-later", &c, sizeof c, BUMP);
        expect_golden("layout-2-endpoint", &e, sizeof e, BUMP);
        expect_golden("layout-2-token-keys", &t, sizeof t, BUMP);
        expect_golden("layout-2-pins", &p, sizeof p, BUMP);
}

/* Before they got some of their fields: what was reserved then was 0, and still says what that says now. */
Test(key, a_header_of_before_is_one_that_names_no_oldest_writer)
{
        struct pnr_header h = a_header();
        h.oldest_writer = 0;
        expect_golden("layout-2-header", &h, sizeof h, BUMP);
}

Test(key, a_cluster_of_before_is_one_that_knows_nothing_of_times_budgets_and_affinity)
{
        struct pnr_cluster c = a_cluster();
        c.flags = PNR_CLUSTER_NO_REPLICA_ERROR;
        c.primary_budget = 0;
        memset(c.as_of_ms, 0, sizeof c.as_of_ms);
        expect_golden("layout-2-cluster", &c, sizeof c, BUMP);
}

Test(key, a_store_of_this_layout_or_older_is_known_and_a_newer_one_says_who_may_use_it)
{
        const uint32_t own = PNR_LAYOUT, oldest = PNR_OLDEST_STORE;
        cr_expect(pnr_layout_readable(own, own) && pnr_layout_writable(own, own));
        cr_expect(pnr_layout_readable(oldest, oldest) && pnr_layout_writable(oldest, 0));
        cr_expect(!pnr_layout_readable(oldest - 1, oldest - 1) && !pnr_layout_writable(oldest - 1, 1));
        cr_expect(pnr_layout_readable(own + 1, own) && !pnr_layout_readable(own + 1, own + 1));
        cr_expect(pnr_layout_writable(own + 1, own) && !pnr_layout_writable(own + 1, own + 1));
        cr_expect(!pnr_layout_writable(own + 1, 0), "it says nothing");
        cr_expect(pnr_layout_readable(UINT32_MAX, 1) && pnr_layout_writable(UINT32_MAX, 1));
}
