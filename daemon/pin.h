/* pin.h -- a pin, and one page of pins: packed, amended, taken apart, put together, halved, joined.
 * Pure: no store, no clock, no malloc.  daemon/table.c applies it. */
#ifndef PINROUTED_PIN_H
#define PINROUTED_PIN_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/key.h"
#include "proto/store.h"
#include "proto/units.h"

/* A page is never halved finer than this: it still holds 2^23 places, and a pin's is known to 2^15. */
#define PIN_BITS_MAX 40

/* How far ahead a time on a page may lie: 49 days. */
#define PIN_REACH_MS UINT32_MAX

/* A pin as the daemon deals in it.  Generation, until and hold are each merged by max: a late or repeated request never
 * shortens it.  The stamp is the newest one's: what it says is covered stays covered, since the generation never falls. */
struct pin {
        uint64_t place; /* of its slot, to the 48 bits that pnr_slot_place() gives */
        uint64_t generation;
        int64_t until_ms;
        int64_t hold_ms; /* 0: no hold */
        uint64_t stamp;  /* 0: none */
        uint32_t tag;    /* of its slot */
        uint32_t cluster;
};
static_assert(sizeof(struct pin) == 48, "without padding: pins are compared byte by byte");

/* Pins in no order, one more than a page can hold. */
struct pin_list {
        unsigned n;
        struct pin pin[PNR_PLACES + 1];
};

/* Places that a page of `bits` holds, and the part of the hash range that `place` falls into at that width.
 */
static inline uint64_t pin_width(unsigned bits) { return 1ull << (63 - bits); }
static inline uint64_t pin_base(uint64_t place, unsigned bits) { return place & ~(pin_width(bits) - 1); }

static inline bool pin_expired(const struct pin *pin, struct mono now) { return pin->until_ms <= now.ms; }

/* Can a page that is built anew at `now` hold the pin's times? */
bool pin_in_reach(const struct pin *pin, struct mono now);

/* Each field by max, but the stamp is the added one's, if that has one; slot and cluster stay. */
void pin_merge(struct pin *into, const struct pin *add);

/* Can a page with this key be trusted: range, clusters, count, and no pin that a reader would miss or take for another? */
bool pin_page_valid(const struct pnr_pins *page, uint64_t lo);

/* The pin at place i, expired or not; false: the place is free. */
bool pin_read(const struct pnr_pins *page, unsigned i, struct pin *ret);

/* The place of the pin at `slot`, expired or not; PNR_PLACES: there is none. */
unsigned pin_find(const struct pnr_pins *page, struct pnr_slot slot);

unsigned pin_count_live(const struct pnr_pins *page, struct mono now);

/* Drops the expired pins in their place; returns how many those were. */
unsigned pin_expire(struct pnr_pins *page, struct mono now);

/* Drops the pin at place i, which is not free. */
void pin_drop(struct pnr_pins *page, unsigned i);

/* Merges `add` into the pin at `slot`, or inserts it, in its place; the page's expired pins fall out.  *result, unless
 * that is NULL: the pin as it then stands.  False: the page is full, or does not reach to the times of `add`, and is to
 * be built anew from a list; all live pins are as they were. */
bool pin_amend(struct pnr_pins *page, struct pnr_slot slot, const struct pin *add, struct mono now,
               struct pin *result);

/* All pins of the page that are live, into an empty list. */
void pin_take(struct pin_list *ret, const struct pnr_pins *page, struct mono now);

/* Merges `add` into the pin at `slot`, or appends it; returns the pin in the list.  At most PNR_PLACES before. */
struct pin *pin_put(struct pin_list *list, struct pnr_slot slot, const struct pin *add);

/* The index of the pin at `slot`, or list->n. */
unsigned pin_index(const struct pin_list *list, struct pnr_slot slot);

/* Fills the whole page, whose times count from now.  False, with the page as it was: too many, or out of reach. */
bool pin_place(struct pnr_pins *page, const struct pin_list *list, unsigned bits, struct mono now);

/* The pins below `middle` and those from it on. */
void pin_halve(const struct pin_list *list, uint64_t middle, struct pin_list *low, struct pin_list *high);

/* Both lists in one; together at most PNR_PLACES. */
void pin_join(const struct pin_list *a, const struct pin_list *b, struct pin_list *ret);

#endif
