/* pin.h -- one page of pins: taken apart, put together, halved, joined.
 * Pure: no store, no clock, no malloc.  daemon/table.c applies it. */
#ifndef PINROUTED_PIN_H
#define PINROUTED_PIN_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/key.h"
#include "proto/store.h"
#include "proto/units.h"

/* A page is never halved finer than this: it still holds 2^23 places, and pnr_ident_place() is good to 2^15.
 */
#define PIN_BITS_MAX 40

/* A page taken apart: pins in the order of their tags, one more than a page can hold. */
struct pin_list {
        unsigned n;
        uint32_t tag[PNR_SLOTS + 1];
        struct pnr_pin pin[PNR_SLOTS + 1];
};

/* Places that a page of `bits` holds, and the part of the hash range that `place` falls into at that width.
 */
static inline uint64_t pin_width(unsigned bits) { return 1ull << (63 - bits); }
static inline uint64_t pin_base(uint64_t place, unsigned bits) { return place & ~(pin_width(bits) - 1); }

static inline bool pin_expired(const struct pnr_pin *pin, struct mono now) { return pin->until_ms <= now.ms; }

/* Each field by max, but the stamp is the added one's, if that has one; ident stays. */
void pin_merge(struct pnr_pin *into, const struct pnr_pin *add);

/* Can a page with this key be trusted: range, order, idents, count, and no gap that would hide a pin? */
bool pin_page_valid(const struct pnr_pins *page, uint64_t lo);

/* The pin at `slot`, expired or not, or NULL. */
const struct pnr_pin *pin_find(const struct pnr_pins *page, struct pnr_slot slot);

unsigned pin_count_live(const struct pnr_pins *page, struct mono now);

/* Drops the expired pins in their place; returns how many those were. */
unsigned pin_expire(struct pnr_pins *page, struct mono now);

/* All pins of the page that are live, into an empty list. */
void pin_take(struct pin_list *ret, const struct pnr_pins *page, struct mono now);

/* Merges `add` into the pin at `slot`, or inserts it; returns the pin in the list.  At most PNR_SLOTS before.
 */
struct pnr_pin *pin_put(struct pin_list *list, struct pnr_slot slot, const struct pnr_pin *add);

/* The index of the pin at `slot`, or list->n; and away with it. */
unsigned pin_index(const struct pin_list *list, struct pnr_slot slot);
void pin_drop(struct pin_list *list, unsigned index);

/* Fills the whole page.  False, with the page in no defined state: too many, or the last tags run out of it.
 */
bool pin_place(struct pnr_pins *page, const struct pin_list *list, unsigned bits);

/* Merges `add` into the pin at `slot`, or inserts it, in its place; the page's expired pins fall out.  Returns the pin on
 * the page; NULL where pin_place() would be false: the rest of the page is as it was then. */
const struct pnr_pin *pin_amend(struct pnr_pins *page, struct pnr_slot slot, const struct pnr_pin *add,
                                struct mono now);

/* The pins below `middle` and those from it on. */
void pin_halve(const struct pin_list *list, uint64_t middle, struct pin_list *low, struct pin_list *high);

/* Both lists in one; together at most PNR_SLOTS. */
void pin_join(const struct pin_list *a, const struct pin_list *b, struct pin_list *ret);

#endif
