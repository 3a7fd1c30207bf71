/* test_pin.c -- the page algebra: what is packed, where it stands, what leads a reader to it, halves and joins. */
#include <criterion/criterion.h>
#include <string.h>

#include "daemon/pin.h"
#include "tests/unit/seeded.h"

static const struct mono NOW = {1000};
#define LAST_HOME UINT32_MAX /* a tag whose home is the last group */

static uint64_t random_state = 88172645463325252ull;

static uint64_t next_random(void) { return seeded_next(&random_state); }

/* A slot in the range [lo, lo + width of bits). */
static struct pnr_slot slot_in(uint64_t lo, unsigned bits)
{
        uint32_t tag = (uint32_t)next_random();
        return (struct pnr_slot){.place = lo | (next_random() & (pin_width(bits) - 1)), .tag = tag ? tag : 1};
}

/* One of three tags at each of three homes, about the end of the page. */
static struct pnr_slot crowded_slot(uint64_t lo, unsigned bits)
{
        struct pnr_slot slot = slot_in(lo, bits);
        slot.tag = slot.tag % 3 * 0x07654321 - 0x07700000 + (uint32_t)(next_random() % 3);
        slot.tag = slot.tag ? slot.tag : 1;
        return slot;
}

static struct pin pin_until(int64_t until_ms) { return (struct pin){.generation = 1, .until_ms = until_ms}; }

static void fill(struct pin_list *list, struct pnr_slot *slot, unsigned n, uint64_t lo, unsigned bits)
{
        list->n = 0;
        for (unsigned i = 0; i < n; i++) {
                slot[i] = slot_in(lo, bits);
                struct pin pin = pin_until(2000 + i);
                pin_put(list, slot[i], &pin);
        }
}

/* A hold that is past says nothing, so a page may forget it. */
static bool same_at(struct pin a, struct pin b, struct mono now)
{
        a.hold_ms = a.hold_ms > now.ms ? a.hold_ms : 0;
        b.hold_ms = b.hold_ms > now.ms ? b.hold_ms : 0;
        return memcmp(&a, &b, sizeof a) == 0;
}

static struct pin found(const struct pnr_pins *page, struct pnr_slot slot)
{
        struct pin pin = {0};
        unsigned i = pin_find(page, slot);
        cr_assert(i == PNR_PLACES || pin_read(page, i, &pin));
        return pin;
}

Test(pin, fields_are_merged_by_max_and_never_fall)
{
        struct pin a = {.tag = 7, .generation = 5, .until_ms = 10, .hold_ms = 3, .stamp = 100};
        struct pin b = {.tag = 9, .generation = 4, .until_ms = 11, .hold_ms = 2, .stamp = 101};
        pin_merge(&a, &b);
        cr_assert(a.tag == 7 && a.generation == 5 && a.until_ms == 11 && a.hold_ms == 3 && a.stamp == 101);
        struct pin before = a;
        pin_merge(&a, &b);
        pin_merge(&a, &(struct pin){0});
        cr_assert_eq(memcmp(&a, &before, sizeof a), 0, "a late or repeated request changes nothing");
        pin_merge(&a, &(struct pin){.generation = 6, .hold_ms = 4});
        cr_assert(a.generation == 6 && a.hold_ms == 4 && a.until_ms == 11 && a.stamp == 101);
        pin_merge(&a, &(struct pin){.stamp = 50});
        cr_assert_eq(a.stamp, 50, "the newest one, not the largest: issuers have no order");
}

Test(pin, a_pin_is_void_from_its_deadline_on)
{
        struct pin pin = pin_until(1000);
        struct pnr_pins page = {0};
        cr_assert(!pin_expired(&pin, (struct mono){999}));
        cr_assert(pin_expired(&pin, (struct mono){1000}));
        cr_assert(pin_amend(&page, slot_in(PNR_KEY_PINS, 0), &pin, (struct mono){1}, NULL));
        cr_assert_eq(pin_count_live(&page, (struct mono){999}), 1);
        cr_assert_eq(pin_count_live(&page, (struct mono){1000}), 0);
}

Test(pin, what_is_put_on_a_page_is_read_from_it_and_what_is_past_is_not_a_time)
{
        struct pnr_pins page;
        cr_assert(pin_place(&page, &(struct pin_list){0}, 0, NOW));
        struct pnr_slot slot = {.place = UINT64_MAX, .tag = UINT32_MAX};
        struct pin got, pin = {.generation = UINT64_MAX,
                               .until_ms = NOW.ms + PIN_REACH_MS,
                               .hold_ms = NOW.ms + 1,
                               .stamp = UINT64_MAX - 1,
                               .cluster = PNR_CLUSTERS_MAX - 1};
        cr_assert(pin_amend(&page, slot, &pin, NOW, &got));
        pin.place = UINT64_MAX << 15, pin.tag = slot.tag;
        cr_assert_eq(memcmp(&got, &pin, sizeof got), 0);
        cr_assert_eq(pin_find(&page, slot) / PNR_GROUP, PNR_GROUPS - 1);
        pin.until_ms = pin.hold_ms = NOW.ms;
        cr_assert(pin_amend(&page, (struct pnr_slot){.place = PNR_KEY_PINS, .tag = 1}, &pin, NOW, &got));
        cr_assert(got.until_ms == 0 && got.hold_ms == 0 && got.tag == 1);
        cr_assert(pin_page_valid(&page, PNR_KEY_PINS));
        cr_assert_eq(pin_count_live(&page, NOW), 1);
        cr_assert_eq(pin_count_live(&page, (struct mono){NOW.ms - 900}), 1, "a clock of before");
        cr_assert_eq(pin_count_live(&page, (struct mono){NOW.ms + PIN_REACH_MS + 5}), 0);
}

Test(pin, every_placed_pin_is_found_again_and_the_page_is_valid)
{
        struct pin_list list, again;
        struct pnr_pins page;
        struct pnr_slot slot[PNR_PLACES_FULL];
        for (int round = 0; round < 5000; round++) {
                unsigned n = (unsigned)(next_random() % (PNR_PLACES_FULL + 1)),
                         bits = (unsigned)(next_random() % 41);
                uint64_t lo = pin_base(next_random() | PNR_KEY_PINS, bits);
                fill(&list, slot, n, lo, bits);
                cr_assert(pin_place(&page, &list, bits, NOW));
                cr_assert(pin_page_valid(&page, lo) && page.used == n);
                for (unsigned i = 0; i < n; i++)
                        cr_assert_eq(found(&page, slot[i]).until_ms, 2000 + i);
                pin_take(&again, &page, NOW);
                cr_assert_eq(again.n, list.n);
                for (unsigned i = 0; i < n; i++) {
                        const struct pin *pin = &again.pin[pin_index(&again, slot[i])];
                        cr_assert_eq(memcmp(pin, &list.pin[i], sizeof *pin), 0);
                }
                cr_assert_eq(pin_find(&page, slot_in(lo, bits)), PNR_PLACES);
        }
}

Test(pin, of_eight_keys_without_a_pin_a_readers_filter_tells_six_at_least)
{
        struct pin_list list;
        struct pnr_pins page;
        struct pnr_slot slot[60];
        unsigned passed = 0;
        for (int round = 0; round < 1000; round++) {
                fill(&list, slot, 60, PNR_KEY_PINS, 0);
                pin_place(&page, &list, 0, NOW);
                for (int i = 0; i < 100; i++) {
                        uint32_t tag = slot_in(PNR_KEY_PINS, 0).tag;
                        passed += !(pnr_tag_bits(tag) & ~page.filter[pnr_tag_word(tag)]);
                }
        }
        cr_assert(passed > 5000 && passed < 25000, "%u of 100000", passed);
}

/* ---- a play ---- */

#define SLOTS      160
#define ALIKE_BITS 8 /* on a page of more, pins of one tag may be one pin */

struct play {
        uint64_t lo;
        unsigned bits, n;
        struct mono now;
        struct pnr_pins page;
        struct pnr_slot slot[SLOTS];
        struct pin pin[SLOTS]; /* as it must stand, or did when it expired */
        unsigned refused, merged, expired, dropped;
};

static unsigned live_in(const struct play *p)
{
        unsigned live = 0;
        for (unsigned i = 0; i < p->n; i++)
                live += !pin_expired(&p->pin[i], p->now);
        return live;
}

static unsigned any_slot(struct play *p)
{
        bool again = p->n == SLOTS || (p->n && next_random() % 3 == 0);
        if (again)
                return (unsigned)(next_random() % p->n);
        struct pnr_slot *slot = &p->slot[p->n];
        bool alike = p->bits < ALIKE_BITS && next_random() % 4 == 0;
        *slot = alike ? crowded_slot(p->lo, p->bits) : slot_in(p->lo, p->bits);
        if (p->n && alike && next_random() % 4 == 0)
                slot->tag = p->slot[next_random() % p->n].tag;
        else if (p->n && !alike && next_random() % 4 == 0)
                slot->place = p->slot[next_random() % p->n].place;
        p->pin[p->n] = (struct pin){0};
        return p->n++;
}

static void play_amend(struct play *p, uint64_t lives)
{
        unsigned i = any_slot(p);
        struct pin *was = &p->pin[i], got,
                   add = {.generation = next_random() % 9,
                          .until_ms = p->now.ms + 1 + (int64_t)(next_random() % lives),
                          .hold_ms = next_random() % 3 ? 0 : p->now.ms + (int64_t)(next_random() % lives),
                          .stamp = next_random() % 3,
                          .cluster = (unsigned)p->slot[i].place % PNR_CLUSTERS_MAX};
        bool known = !pin_expired(was, p->now), fits = known || live_in(p) < PNR_PLACES_FULL;
        p->expired += pin_count_live(&p->page, p->now) < p->page.used;
        cr_assert_eq(pin_amend(&p->page, p->slot[i], &add, p->now, &got), fits);
        p->refused += !fits;
        p->merged += known;
        if (!fits)
                return;
        add.place = p->slot[i].place >> 15 << 15;
        add.tag = p->slot[i].tag;
        if (known)
                pin_merge(was, &add);
        else
                *was = add;
        cr_assert(same_at(got, *was, p->now));
}

static void play_drop(struct play *p)
{
        if (!p->n)
                return;
        unsigned k = (unsigned)(next_random() % p->n), i = pin_find(&p->page, p->slot[k]);
        if (i == PNR_PLACES)
                return;
        pin_drop(&p->page, i);
        p->pin[k] = (struct pin){0};
        p->dropped++;
}

/* Taken apart, halved, joined, and put together again: with a new base. */
static void play_anew(struct play *p)
{
        struct pin_list all, low, high, both;
        struct pnr_pins half;
        pin_take(&all, &p->page, p->now);
        pin_halve(&all, p->lo + pin_width(p->bits + 1), &low, &high);
        cr_assert(pin_place(&half, &low, p->bits + 1, p->now) && pin_page_valid(&half, p->lo));
        pin_take(&low, &half, p->now);
        cr_assert(pin_place(&half, &high, p->bits + 1, p->now));
        cr_assert(pin_page_valid(&half, p->lo + pin_width(p->bits + 1)));
        pin_join(&low, &high, &both);
        cr_assert_eq(both.n, all.n);
        cr_assert(pin_place(&p->page, &both, p->bits, p->now));
        cr_assert_eq(p->page.base_ms, p->now.ms);
}

static void play_check(const struct play *p)
{
        cr_assert(pin_page_valid(&p->page, p->lo));
        cr_assert_eq(pin_count_live(&p->page, p->now), live_in(p));
        for (unsigned i = 0; i < p->n; i++) {
                struct pin pin = found(&p->page, p->slot[i]);
                if (!pin_expired(&p->pin[i], p->now) || pin.tag)
                        cr_assert(same_at(pin, p->pin[i], p->now));
        }
        if (p->bits < ALIKE_BITS)
                cr_assert_eq(pin_find(&p->page, crowded_slot(p->lo, p->bits)), PNR_PLACES);
}

Test(pin, whatever_is_amended_expires_is_dropped_or_built_anew_the_page_holds_what_it_must)
{
        static struct play p;
        for (int round = 0; round < 400; round++) {
                unsigned refused = p.refused, merged = p.merged, expired = p.expired, dropped = p.dropped;
                uint64_t lives = 5 + next_random() % 400;
                p = (struct play){.bits = (unsigned)(next_random() % (round % 4 ? ALIKE_BITS : PIN_BITS_MAX)),
                                  .refused = refused,
                                  .merged = merged,
                                  .expired = expired,
                                  .dropped = dropped};
                p.lo = pin_base(next_random() | PNR_KEY_PINS, p.bits);
                p.page.bits = (uint16_t)p.bits;
                for (p.now.ms = 1; p.now.ms < 400; p.now.ms += (int64_t)(next_random() % 2)) {
                        play_amend(&p, lives);
                        if (next_random() % 16 == 0)
                                play_drop(&p);
                        if (next_random() % 32 == 0)
                                play_anew(&p);
                        play_check(&p);
                }
        }
        cr_assert(p.refused > 1000 && p.merged > 10000 && p.expired > 10000 && p.dropped > 1000,
                  "%u %u %u %u", p.refused, p.merged, p.expired, p.dropped);
}

/* ---- one by one ---- */

/* n pins with one tag, whose home is the last group: they go round to the first groups. */
static void crowd(struct pnr_pins *page, struct pnr_slot *slot, unsigned n)
{
        *page = (struct pnr_pins){0};
        for (unsigned i = 0; i < n; i++) {
                slot[i] = (struct pnr_slot){.place = PNR_KEY_PINS + ((uint64_t)i << 40), .tag = LAST_HOME};
                struct pin pin = pin_until(2000 + i);
                pin.hold_ms = i % 2 ? 3000 : 0;
                cr_assert(pin_amend(page, slot[i], &pin, NOW, NULL));
        }
        cr_assert(pin_page_valid(page, PNR_KEY_PINS));
}

Test(pin, equal_tags_of_different_keys_do_not_hide_each_other_and_go_round_the_page)
{
        struct pnr_pins page;
        struct pnr_slot slot[PNR_PLACES_FULL];
        crowd(&page, slot, PNR_PLACES_FULL);
        for (unsigned i = 0; i < PNR_PLACES_FULL; i++) {
                cr_assert_eq(found(&page, slot[i]).until_ms, 2000 + i);
                unsigned group = (PNR_GROUPS - 1 + i / PNR_GROUP) % PNR_GROUPS;
                cr_assert_eq(pin_find(&page, slot[i]) / PNR_GROUP, group);
        }
        slot[0].place += 1ull << 60;
        cr_assert_eq(pin_find(&page, slot[0]), PNR_PLACES);
        for (unsigned g = 0; g < PNR_GROUPS; g++)
                page.group[g].flags |= PNR_GROUP_PASSED;
        cr_assert_eq(pin_find(&page, slot[0]), PNR_PLACES, "once round, and no further");
}

Test(pin, a_free_place_hides_none_of_those_that_had_passed_it)
{
        struct pnr_pins page;
        struct pnr_slot slot[20];
        crowd(&page, slot, 20);
        for (unsigned i = 0; i < 20; i++) {
                pin_drop(&page, pin_find(&page, slot[i]));
                cr_assert(pin_page_valid(&page, PNR_KEY_PINS));
                cr_assert_eq(pin_find(&page, slot[i]), PNR_PLACES);
                for (unsigned k = i + 1; k < 20; k++)
                        cr_assert_eq(found(&page, slot[k]).until_ms, 2000 + k);
        }
        cr_assert_eq(page.used, 0);
}

Test(pin, what_led_to_pins_that_are_gone_is_taken_away_after_a_few)
{
        struct pnr_pins page;
        struct pnr_slot slot[64];
        crowd(&page, slot, 64);
        cr_assert_eq(pin_expire(&page, (struct mono){9000}), 64);
        page.base_ms = 0;
        cr_assert_eq(memcmp(&page, &(struct pnr_pins){0}, sizeof page), 0);
        crowd(&page, slot, 7); /* those of before go on at home */
        cr_assert_eq(pin_expire(&page, (struct mono){2005}), 6);
        cr_assert(page.stale == 6 && page.group[PNR_GROUPS - 1].flags == PNR_GROUP_PASSED);
        cr_assert_eq(found(&page, slot[6]).until_ms, 2006);
}

Test(pin, the_same_slot_is_merged_not_doubled)
{
        struct pin_list list;
        struct pnr_slot slot[60];
        fill(&list, slot, 60, PNR_KEY_PINS, 0);
        for (unsigned i = 0; i < 60; i++) {
                struct pin longer = pin_until(9000);
                cr_assert_eq(pin_put(&list, slot[i], &longer)->until_ms, 9000);
                cr_assert_eq(list.pin[pin_index(&list, slot[i])].tag, slot[i].tag);
        }
        cr_assert_eq(list.n, 60);
        cr_assert_eq(pin_index(&list, slot_in(PNR_KEY_PINS, 0)), list.n);
        slot[0].place ^= 1ull << 40;
        cr_assert_eq(pin_index(&list, slot[0]), list.n, "the tag alone is not the pin");
}

Test(pin, taking_a_page_apart_leaves_the_expired_behind)
{
        struct pin_list list, live;
        struct pnr_pins page;
        struct pnr_slot slot[70];
        fill(&list, slot, 70, PNR_KEY_PINS, 0);
        cr_assert(pin_place(&page, &list, 0, NOW));
        pin_take(&live, &page, (struct mono){2034});
        cr_assert_eq(live.n, 35, "until 2000..2034 are void at 2034");
        cr_assert_eq(pin_count_live(&page, (struct mono){2034}), 35);
        cr_assert_eq(pin_expire(&page, (struct mono){2034}), 35);
        cr_assert(pin_page_valid(&page, PNR_KEY_PINS));
        for (unsigned i = 0; i < 70; i++) {
                cr_assert_eq(pin_find(&page, slot[i]) < PNR_PLACES, i >= 35);
                cr_assert_eq(pin_index(&live, slot[i]) < live.n, i >= 35);
        }
        cr_assert_eq(pin_expire(&page, (struct mono){2034}), 0);
}

Test(pin, more_than_a_full_page_is_neither_placed_nor_amended)
{
        struct pin_list list;
        struct pnr_pins page, before;
        struct pnr_slot slot[PNR_PLACES_FULL + 1];
        struct pin pin = pin_until(9000);
        fill(&list, slot, PNR_PLACES_FULL + 1, PNR_KEY_PINS, 0);
        cr_assert(!pin_place(&page, &list, 0, NOW));
        list.n--;
        cr_assert(pin_place(&page, &list, 0, NOW));
        before = page;
        cr_assert(!pin_amend(&page, slot[PNR_PLACES_FULL], &pin, NOW, NULL));
        cr_assert_eq(memcmp(&page, &before, sizeof page), 0);
        cr_assert(pin_amend(&page, slot[0], &pin, NOW, NULL), "one that is there");
        cr_assert(pin_amend(&page, slot[PNR_PLACES_FULL], &pin, (struct mono){2001}, NULL),
                  "another fell out");
}

Test(pin, a_page_is_built_anew_where_it_does_not_reach_to_a_time)
{
        struct pin_list list = {0};
        struct pnr_pins page;
        struct pnr_slot slot = slot_in(PNR_KEY_PINS, 0), other = slot_in(PNR_KEY_PINS, 0);
        struct pin pin = pin_until(NOW.ms + 50), far = pin_until(NOW.ms + PIN_REACH_MS + 1), held = pin;
        held.hold_ms = far.until_ms;
        pin_put(&list, slot, &pin);
        cr_assert(pin_place(&page, &list, 0, NOW));
        cr_assert(!pin_amend(&page, other, &far, mono_plus(NOW, 1), NULL));
        cr_assert(!pin_amend(&page, other, &held, mono_plus(NOW, 1), NULL));
        cr_assert(!pin_amend(&page, other, &pin, mono_plus(NOW, -1), NULL), "it counts from later than now");
        cr_assert(!pin_in_reach(&far, NOW) && pin_in_reach(&far, mono_plus(NOW, 1)));
        pin_put(&list, other, &far);
        cr_assert(!pin_place(&page, &list, 0, NOW), "out of reach of now, too");
        cr_assert_eq(page.used, 1);
        cr_assert(pin_place(&page, &list, 0, mono_plus(NOW, 1)));
        cr_assert_eq(found(&page, other).until_ms, far.until_ms);
        cr_assert_eq(found(&page, slot).until_ms, pin.until_ms);
}

Test(pin, halves_divide_a_page_by_place_and_join_to_it_again)
{
        struct pin_list list, low, high, joined;
        struct pnr_slot slot[PNR_PLACES];
        for (int round = 0; round < 2000; round++) {
                unsigned bits = (unsigned)(next_random() % PIN_BITS_MAX);
                uint64_t lo = pin_base(next_random() | PNR_KEY_PINS, bits), middle = lo + pin_width(bits + 1);
                fill(&list, slot, PNR_PLACES, lo, bits);
                pin_halve(&list, middle, &low, &high);
                cr_assert_eq(low.n + high.n, list.n);
                for (unsigned i = 0; i < PNR_PLACES; i++) {
                        const struct pin_list *half = slot[i].place < middle ? &low : &high;
                        cr_assert_lt(pin_index(half, slot[i]), half->n);
                }
                pin_join(&low, &high, &joined);
                cr_assert_eq(joined.n, list.n);
                for (unsigned i = 0; i < PNR_PLACES; i++)
                        cr_assert_lt(pin_index(&joined, slot[i]), joined.n);
        }
}

/* ---- what is not a page ---- */

static struct pnr_pins good, bad;
static const unsigned BITS = 3;
static uint64_t good_lo;

static void make_good(void)
{
        struct pin_list list;
        struct pnr_slot slot[60];
        good_lo = PNR_KEY_PINS + pin_width(BITS);
        fill(&list, slot, 60, good_lo, BITS);
        cr_assert(pin_place(&good, &list, BITS, NOW));
        cr_assert(pin_page_valid(&good, good_lo));
        bad = good;
}

static bool valid(void)
{
        bool is = pin_page_valid(&bad, good_lo);
        bad = good;
        return is;
}

Test(pin, a_page_with_a_damaged_header_is_not_valid, .init = make_good)
{
        cr_assert(!pin_page_valid(&good, good_lo + 1), "unaligned key");
        cr_assert(!pin_page_valid(&good, good_lo + pin_width(BITS)), "pins of another range");
        cr_assert(!pin_page_valid(&good, good_lo - PNR_KEY_PINS), "not a pin key");
        bad = (struct pnr_pins){.bits = PIN_BITS_MAX};
        cr_assert(pin_page_valid(&bad, PNR_KEY_PINS));
        bad.bits++;
        cr_assert(!pin_page_valid(&bad, PNR_KEY_PINS), "halved too often");
        bad = good, bad.bits++;
        cr_assert(!valid(), "range too narrow for its pins");
        bad.used--;
        cr_assert(!valid(), "count");
        bad.base_ms = -1;
        cr_assert(!valid());
        bad.base_ms = INT64_MAX - PIN_REACH_MS;
        cr_assert(valid());
        bad.base_ms = INT64_MAX - PIN_REACH_MS + 1;
        cr_assert(!valid(), "times that overflow");
}

Test(pin, a_page_on_which_a_reader_would_miss_a_pin_or_find_a_wrong_one_is_not_valid, .init = make_good)
{
        for (unsigned i = 0; i < PNR_PLACES; i++) {
                struct pnr_group *g = &bad.group[i / PNR_GROUP];
                unsigned k = i % PNR_GROUP;
                if (!g->tag[k]) {
                        g->until[k] = 1;
                        cr_assert(!valid(), "a free place counts as a live pin");
                        g->flags |= 1u << k;
                        cr_assert(!valid(), "a free place is held");
                        continue;
                }
                bad.cold[i].cluster = PNR_CLUSTERS_MAX;
                cr_assert(!valid(), "cluster");
                g->flags |= 1u << k;
                cr_assert(!valid(), "held without a hold");
                bad.cold[i].hold = 1;
                cr_assert(!valid(), "a hold that no reader looks at");
                g->hash[k] ^= 1u << 31;
                cr_assert(!valid(), "of another range");
                bad.filter[pnr_tag_word(g->tag[k])] &=
                    ~pnr_tag_bits(g->tag[k]) | 1ull << (g->tag[k] >> 8 & 63);
                if (bad.filter[pnr_tag_word(g->tag[k])] != good.filter[pnr_tag_word(g->tag[k])])
                        cr_assert(!valid(), "the filter denies it");
                g->tag[k] += 1u << 31;
                bad.filter[pnr_tag_word(g->tag[k])] |= pnr_tag_bits(g->tag[k]);
                cr_assert(!valid(), "far from its home");
                struct pnr_group *after = &bad.group[(i / PNR_GROUP + 1) % PNR_GROUPS];
                g->flags |= PNR_GROUP_PASSED;
                if (after->tag[0]) {
                        after->tag[0] = g->tag[k], after->hash[0] = g->hash[k];
                        bad.cold[(i / PNR_GROUP + 1) % PNR_GROUPS * PNR_GROUP].low = bad.cold[i].low;
                        cr_assert(!valid(), "twice");
                }
                bad = good;
        }
}

Test(pin, a_page_whose_flags_do_not_lead_to_a_pin_is_not_valid)
{
        struct pnr_slot slot[12];
        crowd(&good, slot, 12);
        good_lo = PNR_KEY_PINS;
        for (unsigned i = 0; i < 3; i++) {
                bad = good;
                bad.group[(PNR_GROUPS - 1 + i) % PNR_GROUPS].flags &= ~(uint32_t)PNR_GROUP_PASSED;
                cr_assert(!valid(), "group %u", i);
        }
        bad.group[2].flags |= PNR_GROUP_PASSED;
        cr_assert(valid(), "a flag too many leads nowhere");
        memset(bad.filter, 0xff, sizeof bad.filter);
        cr_assert(valid(), "and so do bits");
}
