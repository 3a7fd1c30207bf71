/* table.c -- the table of pins: merge, drop, get, list, sweep, over pages that hold ranges of hashes.
 * Implements the pin calls of daemon/store.h; only it moves pins from page to page. */
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

/* Halves as often as it takes.  On STORE_FULL some halves are written: the transaction is to be aborted.
 * NOLINTNEXTLINE(misc-no-recursion): to PIN_BITS_MAX at most */
static int put_halves(struct store *s, uint64_t lo, unsigned bits, const struct pin_list *list)
{
        struct pnr_pins page;
        if (pin_place(&page, list, bits))
                return pages_put(s, lo, &page);
        if (bits == PIN_BITS_MAX)
                return pages_full("a page of pins cannot be halved any more");
        struct pin_list low, high;
        uint64_t middle = lo + pin_width(bits + 1);
        pin_halve(list, middle, &low, &high);
        pages_tally(s)->pages++;
        int rc = put_halves(s, middle, bits + 1, &high);
        return rc != STORE_OK ? rc : put_halves(s, lo, bits + 1, &low);
}

static int put_range(struct store *s, const struct range *r)
{
        struct tally *t = pages_tally(s);
        t->pins = t->pins - r->was_used + r->live.n;
        t->pages += r->is_new;
        return put_halves(s, r->lo, r->bits, &r->live);
}

static bool has_room(struct store *s, const struct range *r, struct pnr_slot slot)
{
        return pin_index(&r->live, slot) < r->live.n ||
               pages_tally(s)->pins - r->was_used + r->live.n < pages_max_pins(s);
}

/* Room for one more was looked for in vain before it is made. */
static int merge_apart(struct store *s, struct pnr_slot slot, const struct pnr_pin *add, struct mono now,
                       struct pnr_pin *result)
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
        const struct pnr_pin *merged = pin_put(&r.live, slot, add);
        if (result)
                *result = *merged;
        return put_range(s, &r);
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
                         const struct pnr_pin *add, struct mono now, struct pnr_pin *result)
{
        struct pnr_pins *to;
        unsigned was_used = page->used;
        int rc = open_page(s, lo, page, &to);
        if (rc != STORE_OK)
                return rc;
        const struct pnr_pin *pin = pin_amend(to, slot, add, now);
        struct tally *t = pages_tally(s);
        t->pins = t->pins - was_used + to->used;
        if (pin && result)
                *result = *pin;
        return pin ? STORE_OK : STORE_ABSENT;
}

int store_merge_pin(struct store *s, struct pnr_slot slot, const struct pnr_pin *add, struct mono now,
                    struct pnr_pin *result)
{
        uint64_t lo;
        const struct pnr_pins *page;
        int rc = pages_holding(s, slot.place, &lo, &page);
        bool room = pages_tally(s)->pins < pages_max_pins(s);
        if (rc == STORE_OK && room)
                rc = merge_in_page(s, lo, page, slot, add, now, result);
        else if (rc == STORE_OK)
                rc = STORE_ABSENT;
        return rc == STORE_ABSENT ? merge_apart(s, slot, add, now, result) : rc;
}

int store_drop_pin(struct store *s, struct pnr_slot slot, const struct pnr_pin *seen)
{
        struct range r;
        int rc = take_range(s, slot.place, (struct mono){INT64_MIN}, &r);
        if (rc != STORE_OK)
                return rc;
        unsigned i = pin_index(&r.live, slot);
        if (i == r.live.n)
                return STORE_ABSENT;
        if (memcmp(&r.live.pin[i], seen, sizeof *seen) != 0)
                return STORE_CHANGED;
        pin_drop(&r.live, i);
        return put_range(s, &r);
}

int store_get_pin(struct store *s, struct pnr_slot slot, struct pnr_pin *ret)
{
        uint64_t lo;
        const struct pnr_pins *page;
        int rc = pages_begin_read(s);
        if (rc != STORE_OK)
                return rc;
        rc = pages_holding(s, slot.place, &lo, &page);
        const struct pnr_pin *pin = rc == STORE_OK ? pin_find(page, slot) : NULL;
        if (pin)
                *ret = *pin;
        pages_end_read(s);
        return rc == STORE_OK && !pin ? STORE_ABSENT : rc;
}

int store_list_pins(struct store *s, uint64_t from, struct mono now, struct pnr_pin *ret, uint32_t *tags,
                    unsigned max, unsigned *n, uint64_t *next)
{
        MUST(max >= PNR_SLOTS);
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
                memcpy(tags + *n, live.tag, live.n * sizeof *tags);
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
        if (rc != STORE_OK || upper.bits != r->bits || r->live.n + upper.live.n > PNR_SLOTS_FULL / 2)
                return rc;
        struct pnr_pins page;
        both.bits = r->bits - 1;
        both.was_used = r->was_used + upper.was_used;
        pin_join(&r->live, &upper.live, &both.live);
        if (!pin_place(&page, &both.live, both.bits))
                return STORE_OK;
        rc = pages_drop(s, upper.lo);
        if (rc != STORE_OK)
                return rc;
        *joined = true;
        pages_tally(s)->pages--;
        return put_range(s, &both);
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
        if (live > PNR_SLOTS_FULL / 2)
                return live == page->used ? STORE_OK : sweep_in_page(s, lo, page, now);
        int rc = take_range(s, lo, now, &r);
        if (rc == STORE_OK)
                rc = join_upper(s, &r, now, &joined);
        if (rc == STORE_OK && !joined && r.live.n < r.was_used)
                rc = put_range(s, &r);
        if (rc != STORE_OK || !joined)
                return rc;
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
