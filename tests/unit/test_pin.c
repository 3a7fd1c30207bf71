/* test_pin.c -- the page algebra: order, gaps, halves and joins. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/pin.h"

static const struct mono NOW = {1000};

static uint64_t seed = 88172645463325252ull;

static uint64_t next_random(void)
{
        seed ^= seed << 13;
        seed ^= seed >> 7;
        return seed ^= seed << 17;
}

/* A slot in the range [lo, lo + width of bits). */
static struct pnr_slot slot_in(uint64_t lo, unsigned bits)
{
        uint64_t hash = next_random();
        uint64_t place = lo | (hash & (pin_width(bits) - 1));
        uint32_t tag = (uint32_t)next_random();
        return (struct pnr_slot){.place = place,
                                 .ident = (place << 1 & ~0xffffull) | hash % PNR_CLUSTERS_MAX,
                                 .tag = tag ? tag : 1};
}

static struct pnr_pin pin_until(int64_t until_ms)
{
        return (struct pnr_pin){.generation = 1, .until_ms = until_ms};
}

static void fill(struct pin_list *list, struct pnr_slot *slot, unsigned n, uint64_t lo, unsigned bits)
{
        list->n = 0;
        for (unsigned i = 0; i < n; i++) {
                slot[i] = slot_in(lo, bits);
                struct pnr_pin pin = pin_until(2000 + i);
                pin_put(list, slot[i], &pin);
        }
}

Test(pin, fields_are_merged_by_max_and_never_fall)
{
        struct pnr_pin a = {.ident = 7, .generation = 5, .until_ms = 10, .hold_ms = 3, .stamp = 100};
        struct pnr_pin b = {.ident = 9, .generation = 4, .until_ms = 11, .hold_ms = 2, .stamp = 101};
        pin_merge(&a, &b);
        cr_assert(a.ident == 7 && a.generation == 5 && a.until_ms == 11 && a.hold_ms == 3 && a.stamp == 101);
        struct pnr_pin before = a;
        pin_merge(&a, &b);
        pin_merge(&a, &(struct pnr_pin){0});
        cr_assert_eq(memcmp(&a, &before, sizeof a), 0, "a late or repeated request changes nothing");
        pin_merge(&a, &(struct pnr_pin){.generation = 6, .hold_ms = 4});
        cr_assert(a.generation == 6 && a.hold_ms == 4 && a.until_ms == 11 && a.stamp == 101);
        pin_merge(&a, &(struct pnr_pin){.stamp = 50});
        cr_assert_eq(a.stamp, 50, "the newest one, not the largest: issuers have no order");
}

Test(pin, a_pin_is_void_from_its_deadline_on)
{
        struct pnr_pin pin = pin_until(1000);
        cr_assert(!pin_expired(&pin, (struct mono){999}));
        cr_assert(pin_expired(&pin, (struct mono){1000}));
}

Test(pin, every_placed_pin_is_found_again_and_the_page_is_valid)
{
        struct pin_list list;
        struct pnr_pins page;
        struct pnr_slot slot[PNR_SLOTS_FULL];
        unsigned placed = 0;
        for (int round = 0; round < 20000; round++) {
                unsigned n = (unsigned)(next_random() % (PNR_SLOTS_FULL + 1)),
                         bits = (unsigned)(next_random() % 41);
                uint64_t lo = pin_base(next_random() | PNR_KEY_PINS, bits);
                fill(&list, slot, n, lo, bits);
                if (!pin_place(&page, &list, bits))
                        continue;
                placed++;
                cr_assert(pin_page_valid(&page, lo));
                for (unsigned i = 0; i < n; i++) {
                        const struct pnr_pin *found = pin_find(&page, slot[i]);
                        cr_assert(found && found->until_ms == 2000 + i);
                }
                struct pin_list again;
                pin_take(&again, &page, NOW);
                cr_assert(again.n == list.n && !memcmp(again.tag, list.tag, n * sizeof list.tag[0]));
                cr_assert_eq(memcmp(again.pin, list.pin, n * sizeof list.pin[0]), 0);
                cr_assert_null(pin_find(&page, slot_in(lo, bits)));
        }
        cr_assert_gt(placed, 15000);
}

/* The page by the list: what pin_amend() is to come to. */
static const struct pnr_pin *amend_by_list(struct pnr_pins *page, struct pnr_slot slot,
                                           const struct pnr_pin *add, struct mono now)
{
        struct pin_list live, kept;
        struct pnr_pins amended;
        pin_take(&live, page, now);
        kept = live;
        pin_put(&live, slot, add);
        bool fits = pin_place(&amended, &live, page->bits);
        cr_assert(fits || pin_place(&amended, &kept, page->bits), "what is there can stay");
        *page = amended;
        return fits ? pin_find(page, slot) : NULL;
}

Test(pin, a_page_amended_in_its_place_is_what_its_list_would_make_of_it)
{
        unsigned refused = 0, merged = 0, expired = 0;
        for (int round = 0; round < 2000; round++) {
                unsigned bits = (unsigned)(next_random() % 41), n_slots = 0;
                uint64_t lo = pin_base(next_random() | PNR_KEY_PINS, bits), lives = 5 + next_random() % 400;
                struct pnr_pins page = {.bits = bits}, model = page;
                struct pnr_slot slot[120];
                for (int64_t now_ms = 1; now_ms < 200; now_ms++) {
                        bool again = n_slots && next_random() % 4 == 0;
                        struct pnr_slot at = again ? slot[next_random() % n_slots] : slot_in(lo, bits);
                        if (next_random() % 3 == 0) /* some stand close together, some have one tag */
                                at.tag = at.tag >> 28 << 28 | 1;
                        if (!again)
                                slot[n_slots < 120 ? n_slots++ : 0] = at;
                        struct pnr_pin add = {.generation = next_random() % 9,
                                              .until_ms = now_ms + 1 + (int64_t)(next_random() % lives),
                                              .stamp = next_random() % 3};
                        unsigned used = page.used;
                        const struct pnr_pin *want = amend_by_list(&model, at, &add, (struct mono){now_ms});
                        const struct pnr_pin *got = pin_amend(&page, at, &add, (struct mono){now_ms});
                        cr_assert_eq(memcmp(&page, &model, sizeof page), 0);
                        cr_assert(pin_page_valid(&page, lo));
                        cr_assert_eq(got ? got - page.pin : -1, want ? want - model.pin : -1);
                        refused += !got;
                        merged += got && page.used == used;
                        expired += page.used < used;
                }
        }
        cr_assert(refused > 1000 && merged > 10000 && expired > 10000, "%u %u %u", refused, merged, expired);
}

Test(pin, equal_tags_of_different_keys_do_not_hide_each_other)
{
        struct pin_list list = {0};
        struct pnr_pins page;
        struct pnr_slot slot[5];
        for (unsigned i = 0; i < 5; i++) {
                slot[i] = (struct pnr_slot){.place = PNR_KEY_PINS + ((uint64_t)i << 40), .tag = 0xfffffff0u};
                slot[i].ident = (slot[i].place << 1) | i;
                struct pnr_pin pin = pin_until(2000 + i);
                pin_put(&list, slot[i], &pin);
        }
        cr_assert(pin_place(&page, &list, 0) && pin_page_valid(&page, PNR_KEY_PINS));
        for (unsigned i = 0; i < 5; i++)
                cr_assert_eq(pin_find(&page, slot[i])->until_ms, 2000 + i);
}

Test(pin, the_same_slot_is_merged_not_doubled)
{
        struct pin_list list;
        struct pnr_slot slot[60];
        fill(&list, slot, 60, PNR_KEY_PINS, 0);
        for (unsigned i = 0; i < 60; i++) {
                struct pnr_pin longer = pin_until(9000);
                cr_assert_eq(pin_put(&list, slot[i], &longer)->until_ms, 9000);
                cr_assert_eq(list.pin[pin_index(&list, slot[i])].ident, slot[i].ident);
        }
        cr_assert_eq(list.n, 60);
}

Test(pin, taking_a_page_apart_leaves_the_expired_behind_and_the_rest_still_fits)
{
        struct pin_list list, live;
        struct pnr_pins page, again;
        struct pnr_slot slot[70];
        do
                fill(&list, slot, 70, PNR_KEY_PINS, 0);
        while (!pin_place(&page, &list, 0));
        pin_take(&live, &page, (struct mono){2034});
        cr_assert_eq(live.n, 35, "until 2000..2034 are void at 2034");
        cr_assert(pin_place(&again, &live, 0) && pin_page_valid(&again, PNR_KEY_PINS));
        for (unsigned i = 0; i < 70; i++)
                cr_assert_eq(pin_find(&again, slot[i]) != NULL, i >= 35);
        cr_assert_eq(pin_count_live(&page, (struct mono){2034}), 35);
        cr_assert_eq(pin_expire(&page, (struct mono){2034}), 35);
        cr_assert_eq(memcmp(&page, &again, sizeof page), 0, "in its place it comes to the same");
        cr_assert_eq(pin_expire(&page, (struct mono){2034}), 0);
}

Test(pin, a_dropped_pin_is_gone_and_the_others_stay)
{
        struct pin_list list;
        struct pnr_slot slot[40];
        fill(&list, slot, 40, PNR_KEY_PINS, 0);
        for (unsigned i = 0; i < 40; i++) {
                pin_drop(&list, pin_index(&list, slot[i]));
                cr_assert_eq(pin_index(&list, slot[i]), list.n);
                for (unsigned j = i + 1; j < 40; j++)
                        cr_assert_lt(pin_index(&list, slot[j]), list.n);
        }
        cr_assert_eq(list.n, 0);
}

Test(pin, more_than_a_full_page_and_tags_that_run_out_are_not_placed)
{
        struct pin_list list;
        struct pnr_pins page;
        struct pnr_slot slot[PNR_SLOTS_FULL + 1];
        fill(&list, slot, PNR_SLOTS_FULL + 1, PNR_KEY_PINS, 0);
        cr_assert(!pin_place(&page, &list, 0));
        list.n = 0;
        unsigned home = pnr_tag_home(0xffffffffu), room = PNR_SLOTS - home;
        for (unsigned i = 0; i <= room; i++) {
                cr_assert_eq(pin_place(&page, &list, 0), true);
                struct pnr_slot s = slot_in(PNR_KEY_PINS, 0);
                s.tag = 0xffffffffu - i;
                struct pnr_pin pin = pin_until(2000);
                pin_put(&list, s, &pin);
        }
        cr_assert(!pin_place(&page, &list, 0), "%u tags at home %u", list.n, home);
}

Test(pin, halves_divide_a_page_by_place_and_join_to_it_again)
{
        struct pin_list list, low, high, joined;
        struct pnr_slot slot[PNR_SLOTS];
        for (int round = 0; round < 2000; round++) {
                unsigned bits = (unsigned)(next_random() % PIN_BITS_MAX);
                uint64_t lo = pin_base(next_random() | PNR_KEY_PINS, bits), middle = lo + pin_width(bits + 1);
                fill(&list, slot, PNR_SLOTS, lo, bits);
                pin_halve(&list, middle, &low, &high);
                cr_assert_eq(low.n + high.n, list.n);
                struct pnr_pins page;
                if (pin_place(&page, &low, bits + 1))
                        cr_assert(pin_page_valid(&page, lo));
                if (pin_place(&page, &high, bits + 1))
                        cr_assert(pin_page_valid(&page, middle));
                for (unsigned i = 0; i < PNR_SLOTS; i++) {
                        const struct pin_list *half = slot[i].place < middle ? &low : &high;
                        cr_assert_lt(pin_index(half, slot[i]), half->n);
                }
                pin_join(&low, &high, &joined);
                cr_assert_eq(joined.n, list.n);
                cr_assert_eq(memcmp(joined.tag, list.tag, sizeof list.tag[0] * list.n), 0);
        }
}

Test(pin, a_damaged_page_is_not_valid)
{
        struct pin_list list;
        struct pnr_pins good, page;
        struct pnr_slot slot[60];
        uint64_t lo = PNR_KEY_PINS + pin_width(3);
        do
                fill(&list, slot, 60, lo, 3);
        while (!pin_place(&good, &list, 3));
        cr_assert(pin_page_valid(&good, lo));
        cr_assert(!pin_page_valid(&good, lo + 1), "unaligned key");
        cr_assert(!pin_page_valid(&good, lo + pin_width(3)), "idents of another range");
        cr_assert(!pin_page_valid(&good, lo - PNR_KEY_PINS), "not a pin key");
        unsigned first = 0;
        while (!good.tag[first] || first < 20)
                first++;

        page = good, page.bits = 41;
        cr_assert(!pin_page_valid(&page, PNR_KEY_PINS), "halved too often");
        page = good, page.bits = 4;
        cr_assert(!pin_page_valid(&page, lo), "range too narrow for its idents");
        page = good, page.used = 59;
        cr_assert(!pin_page_valid(&page, lo), "count");
        page = good, page.tag[first] = 1;
        cr_assert(!pin_page_valid(&page, lo), "order");
        page = good, page.tag[first] = 0xffffffffu;
        cr_assert(!pin_page_valid(&page, lo), "before its home");
        page = good, page.pin[first].ident |= 0xffff;
        cr_assert(!pin_page_valid(&page, lo), "cluster number");
        page = good;
        for (unsigned i = 1; i < PNR_SLOTS; i++) /* a gap between a pin's home and its slot hides it */
                if (page.tag[i] && page.tag[i - 1] && pnr_tag_home(page.tag[i]) < i) {
                        page.tag[i - 1] = 0, page.used--;
                        cr_assert(!pin_page_valid(&page, lo), "gap");
                        break;
                }
        cr_assert_neq(page.used, good.used);
}

Test(pin, a_page_out_of_order_or_before_its_home_is_not_valid)
{
        struct pnr_pins page = {.used = 2};
        page.tag[0] = 5, page.tag[1] = 6;
        cr_assert(pin_page_valid(&page, PNR_KEY_PINS));
        page.tag[0] = 6, page.tag[1] = 5;
        cr_assert(!pin_page_valid(&page, PNR_KEY_PINS), "order");
        page.tag[0] = 5, page.tag[1] = 0x10000000u;
        cr_assert(!pin_page_valid(&page, PNR_KEY_PINS), "before its home");
}
