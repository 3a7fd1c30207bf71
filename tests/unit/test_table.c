/* test_table.c -- the pins of a store: merged, found, expired, halved, joined, full. */
#include "tests/unit/store_dir.h"

#include <limits.h>

#include "daemon/pages.h"
#include "daemon/pin.h"
#include "tests/unit/seeded.h"

TestSuite(table, .init = make_dir, .fini = remove_dir);

static struct pin merge(struct store *s, struct pnr_slot slot, struct pin add, struct mono now)
{
        struct pin result;
        MUST_OK(store_begin(s));
        MUST_OK(store_merge_pin(s, slot, &add, now, &result));
        MUST_OK(store_commit(s));
        return result;
}

/* Reads every page back and judges it; returns the number of records. */
static uint64_t check_pages(struct store *s)
{
        uint64_t lo, due = PNR_KEY_PINS, pins = 0, pages = 0;
        const struct pnr_pins *page;
        MUST_OK(pages_begin_read(s));
        while (pages_from(s, due, &lo, &page) == STORE_OK) {
                cr_assert_eq(lo, due, "the ranges are gapless");
                cr_assert(pin_page_valid(page, lo));
                cr_assert_eq((uintptr_t)page->group % 64, 0, "a group is a cache line");
                pins += page->used;
                pages++;
                due = lo + pin_width(page->bits);
                if (due == 0)
                        break;
        }
        cr_assert(due == 0 || pages == 0, "the last range reaches to the end");
        pages_end_read(s);
        cr_assert_eq(pins, count_of(s).pins);
        cr_assert_eq(pages, count_of(s).pin_pages);
        return pins;
}

static void sweep_all(struct store *s, struct mono now)
{
        for (bool any = true; any;) {
                any = false;
                uint64_t pages = count_of(s).pin_pages + 2;
                MUST_OK(store_begin(s));
                for (uint64_t i = 0; i < pages; i++) {
                        bool changed;
                        MUST_OK(store_sweep(s, now, 1, &changed));
                        any = any || changed;
                }
                MUST_OK(store_commit(s));
        }
}

Test(table, a_pin_is_merged_by_max_and_read_back_inside_and_outside_a_transaction)
{
        struct store_want want = want_of(1000);
        struct store *s = open_store(&want, NULL);
        struct pnr_slot slot = slot_of(s, 1, 0), other = slot_of(s, 1, 1);
        struct pin got;
        cr_assert_eq(store_get_pin(s, slot, &got), STORE_ABSENT, "an empty table");
        merge(s, slot, (struct pin){.generation = 5, .until_ms = T0.ms + 500, .hold_ms = T0.ms + 7}, T0);
        got = merge(s, slot, (struct pin){.generation = 4, .until_ms = T0.ms + 400, .stamp = 3}, T0);
        cr_assert(got.generation == 5 && got.until_ms == T0.ms + 500 && got.hold_ms == T0.ms + 7 &&
                  got.stamp == 3);
        got = merge(s, slot, (struct pin){.generation = 6, .until_ms = T0.ms + 600}, T0);
        cr_assert(got.generation == 6 && got.until_ms == T0.ms + 600 && got.tag == slot.tag);
        MUST_OK(store_get_pin(s, slot, &got));
        cr_assert_eq(got.generation, 6);
        cr_assert_eq(store_get_pin(s, other, &got), STORE_ABSENT, "the same key in another cluster");
        MUST_OK(store_begin(s));
        MUST_OK(store_get_pin(s, slot, &got));
        store_abort(s);
        cr_assert_eq(count_of(s).pins, 1);
        store_close(&s);
}

Test(table, an_expired_pin_is_forgotten_when_its_key_writes_again)
{
        struct store_want want = want_of(1000);
        struct store *s = open_store(&want, NULL);
        struct pnr_slot slot = slot_of(s, 1, 0);
        merge(s, slot, (struct pin){.generation = 50, .until_ms = T0.ms + 10}, T0);
        struct pin got =
            merge(s, slot, (struct pin){.generation = 3, .until_ms = T0.ms + 900}, mono_plus(T0, 10));
        cr_assert(got.generation == 3 && got.until_ms == T0.ms + 900);
        cr_assert_eq(count_of(s).pins, 1);
        store_close(&s);
}

Test(table, an_aborted_transaction_leaves_no_trace)
{
        struct store_want want = want_of(10000);
        struct store *s = open_store(&want, NULL);
        put_pins(s, 0, 500, 50, T0, 1000);
        struct store_count before = count_of(s);
        MUST_OK(store_begin(s));
        for (uint64_t i = 500; i < 2000; i++) {
                struct pin pin = {.generation = 1, .until_ms = T0.ms + 1000};
                MUST_OK(store_merge_pin(s, slot_of(s, i, 0), &pin, T0, NULL));
        }
        store_abort(s);
        cr_assert_eq(count_of(s).pins, before.pins);
        cr_assert_eq(count_of(s).pin_pages, before.pin_pages);
        cr_assert_eq(check_pages(s), 500);
        struct pin got;
        cr_assert_eq(store_get_pin(s, slot_of(s, 500, 0), &got), STORE_ABSENT);
        store_close(&s);
}

Test(table, pages_are_halved_as_it_fills_and_joined_as_it_empties)
{
        struct store_want want = want_of(50000);
        struct store *s = open_store(&want, NULL);
        put_pins(s, 0, 20000, 100, T0, 1000);
        cr_assert_eq(check_pages(s), 20000);
        uint64_t pages = count_of(s).pin_pages;
        cr_assert(pages > 20000 / PNR_PLACES_FULL && pages < 20000 / 40, "%lu pages", (unsigned long)pages);
        for (uint64_t i = 0; i < 20000; i++) {
                struct pin got;
                MUST_OK(store_get_pin(s, slot_of(s, i, 0), &got));
                cr_assert_eq(got.generation, i + 1);
        }
        put_pins(s, 20000, 10, 10, mono_plus(T0, 500), 9000); /* these outlive the others */
        sweep_all(s, mono_plus(T0, 1000));
        cr_assert_eq(check_pages(s), 10);
        cr_assert_eq(count_of(s).pin_pages, 1);
        for (uint64_t i = 20000; i < 20010; i++) {
                struct pin got;
                MUST_OK(store_get_pin(s, slot_of(s, i, 0), &got));
        }
        store_close(&s);
}

/* Whoever knows the seed can make keys whose places are alike in as many bits as he likes. */
Test(table, keys_that_crowd_together_fill_their_page_and_leave_the_map_to_others)
{
        struct store_want want = want_of(20000);
        struct store *s = open_store(&want, NULL);
        struct pin pin = {.generation = 1, .until_ms = T0.ms + 1000};
        uint64_t room = count_of(s).map_bytes / PNR_PAGE_SIZE, refused = 0;
        for (uint64_t crowd = 0; crowd < 200; crowd++)
                for (uint64_t i = 0; i < 100; i += 50) {
                        int rc = STORE_OK;
                        MUST_OK(store_begin(s));
                        for (uint64_t j = i; j < i + 50 && rc == STORE_OK; j++) {
                                struct pnr_slot slot = slot_of(s, crowd, 0);
                                slot.place = (slot.place & ~0x3ffffffffull) | j << 27; /* 30 bits alike */
                                slot.tag = (uint32_t)(j + 1) * 0x9e3779b1u;
                                rc = store_merge_pin(s, slot, &pin, T0, NULL);
                        }
                        refused += rc == STORE_FULL;
                        if (rc == STORE_OK)
                                MUST_OK(store_commit(s));
                        else
                                store_abort(s);
                }
        cr_expect(refused > 100, "%lu", (unsigned long)refused);
        put_pins(s, 1000000, 3000, 100, T0, 1000); /* of keys that nobody chose */
        cr_expect_lt(count_of(s).pin_pages, room * 4 / 5);
        sweep_all(s, mono_plus(T0, 1000));
        cr_expect_eq(count_of(s).pin_pages, 1, "and it is all given back");
        store_close(&s);
}

Test(table, a_sweep_is_bounded_and_goes_on_where_it_ended)
{
        struct store_want want = want_of(50000);
        struct store *s = open_store(&want, NULL);
        put_pins(s, 0, 10000, 100, T0, 1000);
        uint64_t left = 10000, pages = count_of(s).pin_pages;
        unsigned steps = 0;
        while (left > 0) {
                bool changed;
                MUST_OK(store_begin(s));
                MUST_OK(store_sweep(s, mono_plus(T0, 2000), 4, &changed));
                MUST_OK(store_commit(s));
                uint64_t now_left = count_of(s).pins;
                cr_assert(now_left <= left && left - now_left <= 2 * 4 * PNR_PLACES,
                          "4 pages and their buddies");
                left = now_left;
                steps++;
                cr_assert_leq(steps, pages);
        }
        check_pages(s);
        store_close(&s);
}

Test(table, what_has_expired_is_one_page_again_after_one_sweep)
{
        struct store_want want = want_of(50000);
        struct store *s = open_store(&want, NULL);
        put_pins(s, 0, 10000, 100, T0, 1000);
        do {
                bool changed;
                MUST_OK(store_begin(s));
                MUST_OK(store_sweep(s, mono_plus(T0, 1000), 1, &changed));
                MUST_OK(store_commit(s));
        } while (pages_tally(s)->sweep_at);
        cr_assert_eq(check_pages(s), 0);
        cr_assert_eq(count_of(s).pin_pages, 1);
        store_close(&s);
}

Test(table, a_full_table_takes_known_keys_and_the_place_of_expired_ones_and_refuses_the_rest)
{
        struct store_want want = want_of(2000);
        struct store *s = open_store(&want, NULL);
        put_pins(s, 0, 1900, 100, T0, 9000);
        put_pins(s, 1900, 100, 100, T0, 100);
        struct pin pin = {.generation = 1, .until_ms = T0.ms + 9000};
        MUST_OK(store_begin(s));
        cr_assert_eq(store_merge_pin(s, slot_of(s, 5000, 0), &pin, T0, NULL), STORE_FULL);
        store_abort(s);
        MUST_OK(store_begin(s));
        MUST_OK(store_merge_pin(s, slot_of(s, 7, 0), &pin, T0, NULL));
        MUST_OK(store_commit(s));
        put_pins(s, 5000, 5, 1, mono_plus(T0, 100), 9000); /* 100 have expired, on pages anywhere */
        check_pages(s);
        cr_assert_leq(count_of(s).pins, 2000);
        for (uint64_t i = 0; i < 1900; i++)
                MUST_OK(store_get_pin(s, slot_of(s, i, 0), &pin));
        store_close(&s);
}

Test(table, a_full_table_looks_for_room_further_on_each_time_until_it_has_seen_every_page)
{
        struct store_want want = want_of(2000);
        struct store *s = open_store(&want, NULL);
        put_pins(s, 0, 1999, 100, T0, 9000);
        put_pins(s, 1999, 1, 1, T0, 100);
        struct pin pin = {.generation = 1, .until_ms = T0.ms + 9000};
        unsigned tries = 0, rounds = (unsigned)count_of(s).pin_pages / 8 + 2;
        int rc = STORE_FULL;
        for (; rc == STORE_FULL; tries++) {
                cr_assert_leq(tries, rounds);
                MUST_OK(store_begin(s));
                rc = store_merge_pin(s, slot_of(s, 5000, 0), &pin, mono_plus(T0, 100), NULL);
                if (rc == STORE_FULL)
                        store_abort(s);
        }
        MUST_OK(rc);
        MUST_OK(store_commit(s));
        cr_assert_eq(check_pages(s), 2000);
        store_close(&s);
}

/* ---- a play ---- */

#define PLAY_KEYS 3000

struct play {
        struct store *s;
        struct mono now;
        struct pin pin[PLAY_KEYS]; /* as they must stand, expired ones too; until_ms 0: none */
};

/* A hold that is past may be forgotten. */
static bool same_at(struct pin a, struct pin b, struct mono now)
{
        a.hold_ms = a.hold_ms > now.ms ? a.hold_ms : 0;
        b.hold_ms = b.hold_ms > now.ms ? b.hold_ms : 0;
        return memcmp(&a, &b, sizeof a) == 0;
}

static void play_merge(struct play *p, uint64_t *r)
{
        uint64_t key = seeded_below(r, PLAY_KEYS);
        struct pin *was = &p->pin[key], result;
        struct pin add = {.generation = 1 + seeded_below(r, 1000),
                          .until_ms = p->now.ms + 1 + (int64_t)seeded_below(r, 400),
                          .hold_ms =
                              (int64_t)seeded_below(r, 2) * (p->now.ms + (int64_t)seeded_below(r, 400)),
                          .stamp = seeded_below(r, 3)};
        struct pnr_slot slot = slot_of(p->s, key, 0);
        add.place = slot.place >> 15 << 15;
        add.tag = slot.tag;
        if (pin_expired(was, p->now))
                *was = add;
        else
                pin_merge(was, &add);
        MUST_OK(store_merge_pin(p->s, slot, &add, p->now, &result));
        cr_assert(same_at(result, *was, p->now));
}

static void play_check(const struct play *p)
{
        check_pages(p->s);
        for (uint64_t key = 0; key < PLAY_KEYS; key++) {
                struct pin got;
                int rc = store_get_pin(p->s, slot_of(p->s, key, 0), &got);
                if (!pin_expired(&p->pin[key], p->now))
                        MUST_OK(rc);
                if (rc == STORE_OK)
                        cr_assert(same_at(got, p->pin[key], p->now));
                else
                        cr_assert_eq(rc, STORE_ABSENT);
        }
}

/* Many pins of a page in one transaction and few, with time between that lets some expire, some of it undone. */
Test(table, whatever_is_merged_expires_is_swept_or_undone_the_table_holds_what_it_must)
{
        static struct play p, before;
        uint64_t r = seeded_start(5);
        struct store_want want = want_of(PLAY_KEYS);
        p.s = open_store(&want, NULL);
        p.now = T0;
        for (unsigned turn = 0; turn < 1500; turn++) {
                bool changed;
                before = p;
                MUST_OK(store_begin(p.s));
                for (uint64_t n = seeded_below(&r, turn % 10 ? 20 : 800); n > 0; n--)
                        play_merge(&p, &r);
                if (turn % 3 == 0)
                        MUST_OK(store_sweep(p.s, p.now, 8, &changed));
                if (seeded_below(&r, 8) == 0) {
                        store_abort(p.s);
                        p = before;
                } else
                        MUST_OK(store_commit(p.s));
                if (turn % 20 == 0)
                        play_check(&p);
                p.now = mono_plus(p.now, (int64_t)seeded_below(&r, 40));
        }
        play_check(&p);
        store_close(&p.s);
}

Test(table, a_pin_that_lasts_longer_than_a_page_reaches_is_refused_and_nothing_is_changed)
{
        struct store_want want = want_of(1000);
        struct store *s = open_store(&want, NULL);
        put_pins(s, 0, 1, 1, T0, 1000);
        struct pin got, pin = {.generation = 2, .until_ms = T0.ms + PIN_REACH_MS + 1};
        MUST_OK(store_begin(s));
        cr_assert_eq(store_merge_pin(s, slot_of(s, 0, 0), &pin, T0, NULL), STORE_FULL);
        cr_assert_str_eq(store_error(), "a pin that lasts for too long");
        store_abort(s);
        MUST_OK(store_get_pin(s, slot_of(s, 0, 0), &got));
        cr_assert_eq(got.generation, 1);
        got = merge(s, slot_of(s, 1, 0), pin, mono_plus(T0, 1));
        cr_assert_eq(got.until_ms, pin.until_ms, "what the page does not reach to, one built anew does");
        MUST_OK(store_get_pin(s, slot_of(s, 0, 0), &got));
        cr_assert_eq(got.until_ms, T0.ms + 1000);
        check_pages(s);
        store_close(&s);
}

Test(table, a_pin_is_dropped_only_as_it_was_seen)
{
        struct store_want want = want_of(1000);
        struct store *s = open_store(&want, NULL);
        put_pins(s, 0, 100, 100, T0, 1000);
        struct pin seen, newer = {.generation = 500, .until_ms = T0.ms + 1000};
        struct pnr_slot slot = slot_of(s, 42, 0);
        MUST_OK(store_get_pin(s, slot, &seen));
        MUST_OK(store_begin(s));
        cr_assert_eq(store_drop_pin(s, slot_of(s, 4242, 0), &seen), STORE_ABSENT);
        MUST_OK(store_merge_pin(s, slot, &newer, T0, &newer));
        cr_assert_eq(store_drop_pin(s, slot, &seen), STORE_CHANGED);
        struct pnr_slot listed = {.place = newer.place, .tag = newer.tag};
        MUST_OK(store_drop_pin(s, listed, &newer));
        MUST_OK(store_commit(s));
        cr_assert_eq(store_get_pin(s, slot, &seen), STORE_ABSENT);
        cr_assert_eq(check_pages(s), 99);
        store_close(&s);
}

Test(table, a_list_in_pieces_names_every_live_pin_once)
{
        struct store_want want = want_of(10000);
        struct store *s = open_store(&want, NULL);
        put_pins(s, 0, 3000, 100, T0, 1000);
        put_pins(s, 3000, 1000, 100, T0, 10);
        static struct pin pin[PNR_PLACES + 20];
        static bool seen[4000];
        unsigned n, total = 0;
        uint64_t next = 0;
        do {
                MUST_OK(store_list_pins(s, next, mono_plus(T0, 10), pin, PNR_PLACES + 20, &n, &next));
                cr_assert_leq(n, PNR_PLACES + 20);
                for (unsigned i = 0; i < n; i++) {
                        uint64_t number = pin[i].generation - 1;
                        struct pnr_slot slot = slot_of(s, number, 0);
                        cr_assert(number < 3000 && !seen[number] && slot.place >> 15 == pin[i].place >> 15 &&
                                  slot.tag == pin[i].tag);
                        seen[number] = true;
                }
                total += n;
        } while (next);
        cr_assert_eq(total, 3000);
        store_close(&s);
}

/* The formula of store_map_size(): a table that is filled to max_pins again and again, in random order, with
 * every third batch swept, never meets a full map. */
Test(table, five_rounds_of_a_full_table_fit_the_map, .timeout = 100)
{
        static const struct {
                uint64_t max_pins;
                unsigned batch;
        } row[] = {{100000, 256}, {20000, 2000}, {1000, 400}, {1, 1}};
        for (unsigned r = 0; r < sizeof row / sizeof row[0]; r++) {
                struct store_want want = want_of(row[r].max_pins);
                want.fresh = true;
                struct store *s = open_store(&want, NULL);
                put_state(s);
                struct mono now = T0;
                for (uint64_t round = 0; round < 5; round++) {
                        put_pins(s, round * row[r].max_pins, row[r].max_pins, row[r].batch, now, 1000);
                        struct store_count c = count_of(s);
                        cr_assert_eq(c.pins, row[r].max_pins);
                        cr_assert_lt(c.used_bytes, c.map_bytes);
                        fprintf(
                            stderr, "max_pins %lu round %lu: %lu pages, %.1f bytes a pin, %lu of %lu KiB\n",
                            (unsigned long)row[r].max_pins, (unsigned long)round, (unsigned long)c.pin_pages,
                            (double)c.pin_pages * PNR_PAGE_SIZE / (double)c.pins,
                            (unsigned long)c.used_bytes / 1024, (unsigned long)c.map_bytes / 1024);
                        now = mono_plus(now, 1000);
                        if (round % 2)
                                sweep_all(s, now);
                }
                check_pages(s);
                store_close(&s);
        }
}
