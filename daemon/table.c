/* table.c -- the table of pins: merge, drop, get, list, sweep, over pages that hold ranges of hashes.
 * Implements the pin calls of daemon/store.h; only it moves pins from page to page, and knows how
 * large a map they take. */
#include <string.h>

#include "daemon/log.h"
#include "daemon/pages.h"
#include "daemon/pin.h"
#include "daemon/store.h"

#define ROOM_PAGES 8 /* looked at for expired pins before the table is called full */

/* A page taken apart. */
struct range {
        uint64_t lo;
        unsigned bits;
        unsigned was_used; /* records on the page as it stands */
        bool is_new;
        struct pin_list live;
};

static int take_range(struct store *s, uint64_t place, struct mono now, struct range *ret)
{
        const struct pnr_pins *page;
        int rc = pages_holding(s, place, &ret->lo, &page);
        ret->is_new = rc == STORE_ABSENT;
        if (ret->is_new) {
                ret->lo = PNR_KEY_PINS;
                ret->bits = ret->was_used = ret->live.n = 0;
                return STORE_OK;
        }
        if (rc != STORE_OK)
                return rc;
        ret->bits = page->bits;
        ret->was_used = page->used;
        pin_take(&ret->live, page, now);
        return STORE_OK;
}

/* The map holds, in pages of 4 KB:
 *   - pins.  A page is halved at 81 pins and joined again below 41.  Measured with 10^3 to 10^5 pins, five times
 *     expired and refilled: 46 to 62 pins a page, at most 90 bytes a pin.  192 leave as much again.
 *   - copies.  Each transaction writes its pages anew, and a page is free again two transactions later: three
 *     times what a transaction touches.  A pin touches its page and seldom another.
 *   - state: 64 clusters of 32 nodes are 600 pages, and up to 200 of them are rewritten at once.
 * 8 MiB are that state, its copies, and those of 250 pins a transaction; what 192 bytes leave adds
 * max_pins/120. */
size_t store_map_size(uint64_t max_pins)
{
        const uint64_t mib = 1 << 20;
        return (size_t)((8 * mib + max_pins * 192 + mib - 1) / mib * mib);
}

/* As many pages of pins as there can be take four fifths of the map.  Who knows the seed, as every worker does, can make
 * keys that all fall into one range: their page is halved no further than this, and its floor is their cluster's, but
 * nobody fills the map with nearly empty pages.  Keys that are chosen otherwise never come near: at max_pins a page of
 * this width has 20 to 50 pins. */
static unsigned max_bits(const struct store *s)
{
        uint64_t room = pages_map_size(s) / PNR_PAGE_SIZE * 4 / 5;
        unsigned bits = 0;
        while (bits < PIN_BITS_MAX && 2ull << bits <= room)
                bits++;
        return bits;
}

/* Halves as often as it takes.  On STORE_FULL some halves are written: the transaction is to be aborted.
 * NOLINTNEXTLINE(misc-no-recursion): to max_bits() at most */
static int put_halves(struct store *s, uint64_t lo, unsigned bits, const struct pin_list *list,
                      struct mono now)
{
        struct pnr_pins page;
        if (pin_place(&page, list, bits, now))
                return pages_put(s, lo, &page);
        if (bits >= max_bits(s))
                return pages_full("a page of pins cannot be halved any more");
        struct pin_list low, high;
        uint64_t middle = lo + pin_width(bits + 1);
        pin_halve(list, middle, &low, &high);
        pages_tally(s)->pages++;
        int rc = put_halves(s, middle, bits + 1, &high, now);
        return rc != STORE_OK ? rc : put_halves(s, lo, bits + 1, &low, now);
}

static int put_range(struct store *s, const struct range *r, struct mono now)
{
        struct tally *t = pages_tally(s);
        t->pins = t->pins - r->was_used + r->live.n;
        t->pages += r->is_new;
        return put_halves(s, r->lo, r->bits, &r->live, now);
}

static bool has_room(struct store *s, const struct range *r, struct pnr_slot slot)
{
        return pin_index(&r->live, slot) < r->live.n ||
               pages_tally(s)->pins - r->was_used + r->live.n < pages_max_pins(s);
}

/* Room for one more was looked for in vain before it is made. */
static int merge_apart(struct store *s, struct pnr_slot slot, const struct pin *add, struct mono now,
                       struct pin *result)
{
        struct range r;
        bool changed;
        int rc = take_range(s, slot.place, now, &r);
        if (rc == STORE_OK && !has_room(s, &r, slot)) {
                rc = store_sweep(s, now, ROOM_PAGES, &changed);
                if (rc == STORE_OK)
                        rc = take_range(s, slot.place, now, &r);
                if (rc == STORE_OK && !has_room(s, &r, slot))
                        return pages_full("max_pins pins are live");
        }
        if (rc != STORE_OK)
                return rc;
        const struct pin *merged = pin_put(&r.live, slot, add);
        if (result)
                *result = *merged;
        return put_range(s, &r, now);
}

/* The page where it may be changed. */
static int open_page(struct store *s, uint64_t lo, const struct pnr_pins *page, struct pnr_pins **ret)
{
        int rc = pages_reserve(s, lo, ret);
        if (rc == STORE_OK && *ret != page)
                **ret = *page;
        return rc;
}

/* A page that stays one page, in a table that has room for one more: it is copied once, and no list is made of it.
 * STORE_ABSENT: it does not stay one. */
static int merge_in_page(struct store *s, uint64_t lo, const struct pnr_pins *page, struct pnr_slot slot,
                         const struct pin *add, struct mono now, struct pin *result)
{
        struct pnr_pins *to;
        unsigned was_used = page->used;
        int rc = open_page(s, lo, page, &to);
        if (rc != STORE_OK)
                return rc;
        bool amended = pin_amend(to, slot, add, now, result);
        struct tally *t = pages_tally(s);
        t->pins = t->pins - was_used + to->used;
        return amended ? STORE_OK : STORE_ABSENT;
}

int store_merge_pin(struct store *s, struct pnr_slot slot, const struct pin *add, struct mono now,
                    struct pin *result)
{
        uint64_t lo;
        const struct pnr_pins *page;
        if (!pin_in_reach(add, now))
                return pages_full("a pin that lasts for too long");
        int rc = pages_holding(s, slot.place, &lo, &page);
        bool room = pages_tally(s)->pins < pages_max_pins(s);
        if (rc == STORE_OK && room)
                rc = merge_in_page(s, lo, page, slot, add, now, result);
        else if (rc == STORE_OK)
                rc = STORE_ABSENT;
        return rc == STORE_ABSENT ? merge_apart(s, slot, add, now, result) : rc;
}

int store_drop_pin(struct store *s, struct pnr_slot slot, const struct pin *seen)
{
        uint64_t lo;
        const struct pnr_pins *page;
        struct pnr_pins *to;
        struct pin is;
        int rc = pages_holding(s, slot.place, &lo, &page);
        if (rc != STORE_OK)
                return rc;
        unsigned i = pin_find(page, slot);
        if (i == PNR_PLACES)
                return STORE_ABSENT;
        pin_read(page, i, &is);
        if (memcmp(&is, seen, sizeof is) != 0)
                return STORE_CHANGED;
        rc = open_page(s, lo, page, &to);
        if (rc != STORE_OK)
                return rc;
        pin_drop(to, i);
        pages_tally(s)->pins--;
        return STORE_OK;
}

int store_get_pin(struct store *s, struct pnr_slot slot, struct pin *ret)
{
        uint64_t lo;
        const struct pnr_pins *page;
        int rc = pages_begin_read(s);
        if (rc != STORE_OK)
                return rc;
        rc = pages_holding(s, slot.place, &lo, &page);
        if (rc == STORE_OK) {
                unsigned i = pin_find(page, slot);
                rc = i < PNR_PLACES && pin_read(page, i, ret) ? STORE_OK : STORE_ABSENT;
        }
        pages_end_read(s);
        return rc;
}

int store_list_pins(struct store *s, uint64_t from, struct mono now, struct pin *ret, unsigned max,
                    unsigned *n, uint64_t *next)
{
        MUST(max >= PNR_PLACES);
        *n = 0;
        *next = from;
        int rc = pages_begin_read(s);
        if (rc != STORE_OK)
                return rc;
        uint64_t lo;
        const struct pnr_pins *page;
        struct pin_list live;
        while ((rc = pages_from(s, *next, &lo, &page)) == STORE_OK) {
                pin_take(&live, page, now);
                *next = lo;
                if (*n + live.n > max)
                        break;
                memcpy(ret + *n, live.pin, live.n * sizeof *ret);
                *n += live.n;
                *next = lo + pin_width(page->bits);
                if (*next == 0)
                        break;
        }
        pages_end_read(s);
        if (rc == STORE_ABSENT)
                *next = 0;
        return rc == STORE_ABSENT ? STORE_OK : rc;
}

/* Joins the lower half `r` of a pair with the upper, when that is a page of the same width and both are so
 * empty that a few more pins will not part them again. */
static int join_upper(struct store *s, const struct range *r, struct mono now, bool *joined)
{
        struct range upper, both = {.lo = r->lo};
        *joined = false;
        if (r->bits == 0 || pin_base(r->lo, r->bits - 1) != r->lo)
                return STORE_OK;
        int rc = take_range(s, r->lo + pin_width(r->bits), now, &upper);
        if (rc != STORE_OK || upper.bits != r->bits || r->live.n + upper.live.n > PNR_PLACES_FULL / 2)
                return rc;
        struct pnr_pins page;
        both.bits = r->bits - 1;
        both.was_used = r->was_used + upper.was_used;
        pin_join(&r->live, &upper.live, &both.live);
        if (!pin_place(&page, &both.live, both.bits, now))
                return STORE_OK;
        rc = pages_drop(s, upper.lo);
        if (rc != STORE_OK)
                return rc;
        *joined = true;
        pages_tally(s)->pages--;
        return put_range(s, &both, now);
}

/* Where the sweep goes on after two halves became the page at `lo`: with the next larger pair, if that is two pages by
 * now.  So a range that is empty is one page after one sweep. */
static uint64_t after_join(struct store *s, uint64_t lo, unsigned bits)
{
        uint64_t lower = bits ? pin_base(lo, bits - 1) : lo, at;
        const struct pnr_pins *page;
        if (lower == lo ||
            (pages_from(s, lower, &at, &page) == STORE_OK && at == lower && page->bits == bits))
                return lower;
        return lo + pin_width(bits);
}

/* A page that is too full to be joined to another. */
static int sweep_in_page(struct store *s, uint64_t lo, const struct pnr_pins *page, struct mono now)
{
        struct pnr_pins *to;
        int rc = open_page(s, lo, page, &to);
        if (rc == STORE_OK)
                pages_tally(s)->pins -= pin_expire(to, now);
        return rc;
}

static int sweep_page(struct store *s, uint64_t lo, const struct pnr_pins *page, struct mono now,
                      bool *changed)
{
        struct range r;
        bool joined;
        uint64_t *next = &pages_tally(s)->sweep_at;
        unsigned live = pin_count_live(page, now);
        *next = lo + pin_width(page->bits);
        *changed = *changed || live < page->used;
        if (live > PNR_PLACES_FULL / 2)
                return live == page->used ? STORE_OK : sweep_in_page(s, lo, page, now);
        int rc = take_range(s, lo, now, &r);
        if (rc == STORE_OK)
                rc = join_upper(s, &r, now, &joined);
        if (rc == STORE_OK && !joined && r.live.n < r.was_used)
                rc = put_range(s, &r, now);
        if (rc != STORE_OK || !joined)
                return rc;
        MUST(r.bits > 0);
        *changed = true;
        *next = after_join(s, lo, r.bits - 1);
        return STORE_OK;
}

int store_sweep(struct store *s, struct mono now, unsigned pages, bool *changed)
{
        uint64_t lo, *at = &pages_tally(s)->sweep_at;
        const struct pnr_pins *page;
        int rc = STORE_OK;
        *changed = false;
        for (unsigned i = 0; i < pages && rc == STORE_OK; i++) {
                rc = pages_from(s, *at, &lo, &page);
                if (rc == STORE_OK)
                        rc = sweep_page(s, lo, page, now, changed);
                if (rc == STORE_ABSENT || (rc == STORE_OK && *at == 0)) {
                        *at = 0;
                        return STORE_OK;
                }
        }
        return rc;
}
