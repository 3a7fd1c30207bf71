/* test_schedule.c -- smooth weighted round robin: shares, evenness, bounds. */
#include <criterion/criterion.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/schedule.h"
#include "tests/unit/seeded.h"

static uint8_t place[PNR_SCHEDULE_MAX];

static unsigned build(const unsigned *weight, unsigned n)
{
        memset(place, 0xff, sizeof place);
        return schedule_build(weight, n, place);
}

static void expect(const unsigned *weight, unsigned n, const char *want)
{
        char got[PNR_SCHEDULE_MAX + 1] = "";
        unsigned length = build(weight, n);
        for (unsigned i = 0; i < length; i++)
                got[i] = (char)('a' + place[i]);
        got[length] = '\0';
        cr_expect_str_eq(got, want);
}

Test(schedule, each_node_stands_by_its_weight_and_spread_evenly)
{
        expect((unsigned[]){5, 1, 1}, 3, "aabacaa"); /* the example of nginx's own commit */
        expect((unsigned[]){1, 1, 2}, 3, "cabc");
        expect((unsigned[]){1, 1}, 2, "ab");
        expect((unsigned[]){0, 3, 0}, 3, "b");
        expect((unsigned[]){0, 1, 0, 1}, 4, "bd");
        expect((unsigned[]){4, 6}, 2, "babab");
}

Test(schedule, no_weight_is_an_empty_schedule)
{
        cr_expect_eq(build((unsigned[]){0, 0, 0}, 3), 0);
        cr_expect_eq(build(NULL, 0), 0);
        cr_expect_eq(place[0], 0xff, "nothing is written");
}

/* Each node has its share, at least one place, and none for weight 0. */
static void check_shares(const unsigned *weight, unsigned n)
{
        unsigned length = build(weight, n), sum = 0, got[PNR_NODES_MAX] = {0};
        for (unsigned i = 0; i < n; i++)
                sum += weight[i];
        cr_assert(length <= PNR_SCHEDULE_MAX);
        for (unsigned p = 0; p < length; p++) {
                cr_assert(place[p] < n && weight[place[p]], "place %u", p);
                got[place[p]]++;
        }
        for (unsigned i = 0; i < n; i++) {
                cr_assert_eq(got[i] > 0, weight[i] > 0, "node %u of weight %u", i, weight[i]);
                double due = (double)weight[i] * length / sum, off = got[i] - due;
                double room = sum <= PNR_SCHEDULE_MAX ? 0.0001 : 1.0 + n * due / length;
                cr_assert(off <= room && off >= -room, "node %u: %u places of %u, due %.2f", i, got[i],
                          length, due);
        }
}

Test(schedule, every_share_is_right_for_all_kinds_of_weights)
{
        uint64_t seed = seeded_start(0x736368);
        unsigned equal[PNR_NODES_MAX], steep[PNR_NODES_MAX];
        for (unsigned i = 0; i < PNR_NODES_MAX; i++) {
                equal[i] = CONF_WEIGHT_MAX;
                steep[i] = i ? CONF_WEIGHT_MAX - i % 2 : 1;
        }
        check_shares(equal, PNR_NODES_MAX);
        cr_expect_eq(build(equal, PNR_NODES_MAX), PNR_NODES_MAX, "equal weights are brought to one each");
        check_shares(steep, PNR_NODES_MAX);
        for (unsigned round = 0; round < 3000; round++) {
                unsigned weight[PNR_NODES_MAX], any = 0;
                unsigned n = 1 + (unsigned)seeded_below(&seed, PNR_NODES_MAX);
                unsigned most = 1u << seeded_below(&seed, 9);
                for (unsigned i = 0; i < n; i++)
                        any += weight[i] = (unsigned)seeded_below(&seed, most + 1);
                if (any)
                        check_shares(weight, n);
        }
}

Test(schedule, turns_are_spread_so_that_a_heavy_node_never_has_a_long_run)
{
        unsigned run = 0, longest = 0;
        unsigned length = build((unsigned[]){3, 2, 2}, 3);
        for (unsigned p = 0; p < 4 * length; p++) {
                run = p && place[p % length] == place[(p - 1) % length] ? run + 1 : 1;
                longest = run > longest ? run : longest;
        }
        cr_expect_leq(longest, 2);
}
