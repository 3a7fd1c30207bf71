/* pin.c -- a pin, and one page of pins: packed, amended, taken apart, put together, halved, joined.
 * Pure: the groups, flags and filter that client/ reads by are made and judged here alone. */
#include "daemon/pin.h"

#include <string.h>

#include "daemon/log.h"

#define STALE_MAX                                                                                            \
        16 /* drops until filter and flags are made anew: a reader seldom notices so many, nor does the writer */

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

void pin_merge(struct pin *into, const struct pin *add)
{
        if (into->generation < add->generation)
                into->generation = add->generation;
        into->until_ms = later(into->until_ms, add->until_ms);
        into->hold_ms = later(into->hold_ms, add->hold_ms);
        into->stamp = add->stamp ? add->stamp : into->stamp;
}

/* ---- times: what is past when they begin to count is 0 ---- */

static int64_t from_base(int64_t base_ms, uint32_t after) { return after ? base_ms + after : 0; }

static uint32_t after_base(int64_t base_ms, int64_t ms)
{
        return ms > base_ms ? (uint32_t)(ms - base_ms) : 0;
}

static bool reaches(int64_t base_ms, const struct pin *pin)
{
        return later(pin->until_ms, pin->hold_ms) <= base_ms + PIN_REACH_MS;
}

bool pin_in_reach(const struct pin *pin, struct mono now) { return reaches(now.ms, pin); }

/* As a pin's `until` is compared with. */
static uint32_t now_on(const struct pnr_pins *page, struct mono now)
{
        int64_t ms = later(now.ms - page->base_ms, 0);
        return ms < PIN_REACH_MS ? (uint32_t)ms : PIN_REACH_MS;
}

/* ---- one place ---- */

static unsigned group_after(unsigned g) { return g + 1 < PNR_GROUPS ? g + 1 : 0; }

bool pin_read(const struct pnr_pins *page, unsigned i, struct pin *ret)
{
        const struct pnr_group *g = &page->group[i / PNR_GROUP];
        const struct pnr_cold *cold = &page->cold[i];
        unsigned k = i % PNR_GROUP;
        *ret = (struct pin){.place = pnr_slot_place(g->hash[k], cold->low),
                            .generation = g->generation[k],
                            .until_ms = from_base(page->base_ms, g->until[k]),
                            .hold_ms = from_base(page->base_ms, cold->hold),
                            .stamp = cold->stamp,
                            .tag = g->tag[k],
                            .cluster = cold->cluster};
        return ret->tag != 0;
}

static void write_place(struct pnr_pins *page, unsigned i, const struct pin *pin)
{
        struct pnr_group *g = &page->group[i / PNR_GROUP];
        unsigned k = i % PNR_GROUP;
        uint32_t hold = after_base(page->base_ms, pin->hold_ms);
        g->tag[k] = pin->tag;
        g->hash[k] = pnr_slot_hash(pin->place);
        g->until[k] = after_base(page->base_ms, pin->until_ms);
        g->generation[k] = pin->generation;
        g->flags = (g->flags & ~((uint32_t)PNR_GROUP_HELD << k)) | (hold ? (uint32_t)PNR_GROUP_HELD << k : 0);
        page->cold[i] = (struct pnr_cold){.stamp = pin->stamp,
                                          .hold = hold,
                                          .low = pnr_slot_low(pin->place),
                                          .cluster = (uint16_t)pin->cluster};
}

static void clear_place(struct pnr_pins *page, unsigned i)
{
        struct pnr_group *g = &page->group[i / PNR_GROUP];
        unsigned k = i % PNR_GROUP;
        g->tag[k] = g->hash[k] = g->until[k] = 0;
        g->generation[k] = 0;
        g->flags &= ~((uint32_t)PNR_GROUP_HELD << k);
        page->cold[i] = (struct pnr_cold){0};
}

/* ---- a page in its place ---- */

unsigned pin_find(const struct pnr_pins *page, struct pnr_slot slot)
{
        unsigned g = pnr_tag_home(slot.tag);
        uint32_t hash = pnr_slot_hash(slot.place);
        if (pnr_tag_bits(slot.tag) & ~page->filter[pnr_tag_word(slot.tag)])
                return PNR_PLACES;
        for (unsigned n = 0; n < PNR_GROUPS; n++, g = group_after(g)) {
                const struct pnr_group *group = &page->group[g];
                for (unsigned k = 0; k < PNR_GROUP; k++)
                        if (group->tag[k] == slot.tag && group->hash[k] == hash)
                                return g * PNR_GROUP + k;
                if (!(group->flags & PNR_GROUP_PASSED))
                        break;
        }
        return PNR_PLACES;
}

/* What a reader needs to find a pin that stands in group g. */
static void lead_to(struct pnr_pins *page, uint32_t tag, unsigned g)
{
        page->filter[pnr_tag_word(tag)] |= pnr_tag_bits(tag);
        for (unsigned passed = pnr_tag_home(tag); passed != g; passed = group_after(passed))
                page->group[passed].flags |= PNR_GROUP_PASSED;
}

/* The first free place from the tag's home on; there is one, as no page gets more than PNR_PLACES_FULL pins. */
static unsigned free_place(const struct pnr_pins *page, uint32_t tag)
{
        unsigned g = pnr_tag_home(tag), k = 0;
        while (page->group[g].tag[k])
                if (++k == PNR_GROUP) {
                        k = 0;
                        g = group_after(g);
                }
        return g * PNR_GROUP + k;
}

/* Filter and flags as the pins need them. */
static void lead_anew(struct pnr_pins *page)
{
        memset(page->filter, 0, sizeof page->filter);
        for (unsigned g = 0; g < PNR_GROUPS; g++)
                page->group[g].flags &= ~(uint32_t)PNR_GROUP_PASSED;
        for (unsigned g = 0; g < PNR_GROUPS; g++)
                for (unsigned k = 0; k < PNR_GROUP; k++)
                        if (page->group[g].tag[k])
                                lead_to(page, page->group[g].tag[k], g);
        page->stale = 0;
}

static bool place_valid(const struct pnr_pins *page, unsigned i, uint64_t lo)
{
        struct pin pin;
        const struct pnr_group *g = &page->group[i / PNR_GROUP];
        bool held = g->flags >> i % PNR_GROUP & PNR_GROUP_HELD;
        if (!pin_read(page, i, &pin))
                return !held && !g->until[i % PNR_GROUP];
        return pin_base(pin.place, page->bits) == lo && pin.cluster < PNR_CLUSTERS_MAX &&
               held == (pin.hold_ms != 0) &&
               pin_find(page, (struct pnr_slot){.place = pin.place, .tag = pin.tag}) == i;
}

bool pin_page_valid(const struct pnr_pins *page, uint64_t lo)
{
        if (page->bits > PIN_BITS_MAX || lo < PNR_KEY_PINS || pin_base(lo, page->bits) != lo ||
            page->base_ms < 0 || page->base_ms > INT64_MAX - PIN_REACH_MS)
                return false;
        unsigned used = 0;
        for (unsigned i = 0; i < PNR_PLACES; i++) {
                if (!place_valid(page, i, lo))
                        return false;
                used += page->group[i / PNR_GROUP].tag[i % PNR_GROUP] != 0;
        }
        return used == page->used;
}

unsigned pin_count_live(const struct pnr_pins *page, struct mono now)
{
        unsigned live = 0;
        uint32_t at = now_on(page, now);
        for (unsigned g = 0; g < PNR_GROUPS; g++)
                for (unsigned k = 0; k < PNR_GROUP; k++)
                        live += page->group[g].until[k] > at;
        return live;
}

/* Bit k: pin k of the group has expired.  Without a branch: which places are taken is nowhere foreseen. */
static unsigned expired_in(const struct pnr_group *g, uint32_t at)
{
        unsigned expired = 0;
        for (unsigned k = 0; k < PNR_GROUP; k++)
                expired |= ((unsigned)(g->tag[k] != 0) & (unsigned)(g->until[k] <= at)) << k;
        return expired;
}

unsigned pin_expire(struct pnr_pins *page, struct mono now)
{
        unsigned was = page->used;
        uint32_t at = now_on(page, now);
        for (unsigned g = 0; g < PNR_GROUPS; g++)
                for (unsigned e = expired_in(&page->group[g], at); e; e &= e - 1)
                        pin_drop(page, g * PNR_GROUP + (unsigned)__builtin_ctz(e));
        return was - page->used;
}

void pin_drop(struct pnr_pins *page, unsigned i)
{
        clear_place(page, i);
        page->used--;
        if (++page->stale >= STALE_MAX)
                lead_anew(page);
}

/* Into a page with room that reaches to the pin's times. */
static unsigned insert(struct pnr_pins *page, const struct pin *pin)
{
        unsigned i = free_place(page, pin->tag);
        write_place(page, i, pin);
        lead_to(page, pin->tag, i / PNR_GROUP);
        page->used++;
        return i;
}

static struct pin pin_at(struct pnr_slot slot, const struct pin *add)
{
        struct pin pin = *add;
        pin.place = pnr_slot_place(pnr_slot_hash(slot.place), pnr_slot_low(slot.place));
        pin.tag = slot.tag;
        return pin;
}

bool pin_amend(struct pnr_pins *page, struct pnr_slot slot, const struct pin *add, struct mono now,
               struct pin *result)
{
        struct pin pin = pin_at(slot, add);
        if (now.ms < page->base_ms || !reaches(page->base_ms, add))
                return false;
        pin_expire(page, now);
        unsigned i = pin_find(page, slot);
        if (i < PNR_PLACES) {
                pin_read(page, i, &pin);
                pin_merge(&pin, add);
                write_place(page, i, &pin);
        } else if (page->used < PNR_PLACES_FULL)
                i = insert(page, &pin);
        else
                return false;
        if (result)
                pin_read(page, i, result);
        return true;
}

/* ---- a page taken apart ---- */

void pin_take(struct pin_list *ret, const struct pnr_pins *page, struct mono now)
{
        ret->n = 0;
        for (unsigned i = 0; i < PNR_PLACES; i++)
                if (pin_read(page, i, &ret->pin[ret->n]) && !pin_expired(&ret->pin[ret->n], now))
                        ret->n++;
}

unsigned pin_index(const struct pin_list *list, struct pnr_slot slot)
{
        unsigned i = 0;
        while (i < list->n && (list->pin[i].tag != slot.tag ||
                               pnr_slot_hash(list->pin[i].place) != pnr_slot_hash(slot.place)))
                i++;
        return i;
}

struct pin *pin_put(struct pin_list *list, struct pnr_slot slot, const struct pin *add)
{
        struct pin *pin = &list->pin[pin_index(list, slot)];
        if (pin < list->pin + list->n) {
                pin_merge(pin, add);
                return pin;
        }
        MUST(list->n <= PNR_PLACES);
        list->n++;
        *pin = pin_at(slot, add);
        return pin;
}

bool pin_place(struct pnr_pins *page, const struct pin_list *list, unsigned bits, struct mono now)
{
        if (list->n > PNR_PLACES_FULL)
                return false;
        for (unsigned i = 0; i < list->n; i++)
                if (!pin_in_reach(&list->pin[i], now))
                        return false;
        memset(page, 0, sizeof *page);
        page->base_ms = now.ms;
        page->bits = (uint16_t)bits;
        for (unsigned i = 0; i < list->n; i++)
                insert(page, &list->pin[i]);
        return true;
}

void pin_halve(const struct pin_list *list, uint64_t middle, struct pin_list *low, struct pin_list *high)
{
        low->n = high->n = 0;
        for (unsigned i = 0; i < list->n; i++) {
                struct pin_list *half = list->pin[i].place < middle ? low : high;
                half->pin[half->n++] = list->pin[i];
        }
}

void pin_join(const struct pin_list *a, const struct pin_list *b, struct pin_list *ret)
{
        MUST(a->n + b->n <= PNR_PLACES);
        memcpy(ret->pin, a->pin, a->n * sizeof ret->pin[0]);
        memcpy(ret->pin + a->n, b->pin, b->n * sizeof ret->pin[0]);
        ret->n = a->n + b->n;
}
