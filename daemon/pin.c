/* pin.c -- one page of pins: taken apart, put together, halved, joined.
 * Pure: the order of tags and gaps that client/ reads by is made and judged here alone. */
#include "daemon/pin.h"

#include <string.h>

#include "daemon/log.h"

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

void pin_merge(struct pnr_pin *into, const struct pnr_pin *add)
{
        if (into->generation < add->generation)
                into->generation = add->generation;
        into->until_ms = later(into->until_ms, add->until_ms);
        into->hold_ms = later(into->hold_ms, add->hold_ms);
        into->stamp = add->stamp ? add->stamp : into->stamp;
}

static bool slot_valid(const struct pnr_pins *page, unsigned i, uint64_t lo)
{
        const struct pnr_pin *pin = &page->pin[i];
        return pin_base(pnr_ident_place(pin->ident), page->bits) == lo &&
               pnr_ident_cluster(pin->ident) < PNR_CLUSTERS_MAX;
}

bool pin_page_valid(const struct pnr_pins *page, uint64_t lo)
{
        if (page->bits > PIN_BITS_MAX || lo < PNR_KEY_PINS || pin_base(lo, page->bits) != lo)
                return false;
        unsigned used = 0, gapless_from = 0;
        uint32_t last = 0;
        for (unsigned i = 0; i < PNR_SLOTS; i++) {
                uint32_t tag = page->tag[i];
                if (!tag) {
                        gapless_from = i + 1;
                        continue;
                }
                unsigned home = pnr_tag_home(tag);
                if (tag < last || i < home || home < gapless_from || !slot_valid(page, i, lo))
                        return false;
                last = tag;
                used++;
        }
        return used == page->used;
}

static unsigned find(const struct pnr_pins *page, struct pnr_slot slot)
{
        unsigned i = pnr_tag_home(slot.tag);
        while (i < PNR_SLOTS && page->tag[i] && page->tag[i] < slot.tag)
                i++;
        for (; i < PNR_SLOTS && page->tag[i] == slot.tag; i++)
                if (page->pin[i].ident == slot.ident)
                        return i;
        return PNR_SLOTS;
}

const struct pnr_pin *pin_find(const struct pnr_pins *page, struct pnr_slot slot)
{
        unsigned i = find(page, slot);
        return i < PNR_SLOTS ? &page->pin[i] : NULL;
}

void pin_take(struct pin_list *ret, const struct pnr_pins *page, struct mono now)
{
        ret->n = 0;
        for (unsigned i = 0; i < PNR_SLOTS; i++) {
                if (!page->tag[i] || pin_expired(&page->pin[i], now))
                        continue;
                ret->tag[ret->n] = page->tag[i];
                ret->pin[ret->n++] = page->pin[i];
        }
}

static unsigned first_not_below(const struct pin_list *list, uint32_t tag)
{
        unsigned i = 0;
        while (i < list->n && list->tag[i] < tag)
                i++;
        return i;
}

unsigned pin_index(const struct pin_list *list, struct pnr_slot slot)
{
        for (unsigned i = first_not_below(list, slot.tag); i < list->n && list->tag[i] == slot.tag; i++)
                if (list->pin[i].ident == slot.ident)
                        return i;
        return list->n;
}

struct pnr_pin *pin_put(struct pin_list *list, struct pnr_slot slot, const struct pnr_pin *add)
{
        unsigned i = pin_index(list, slot);
        if (i < list->n) {
                pin_merge(&list->pin[i], add);
                return &list->pin[i];
        }
        MUST(list->n <= PNR_SLOTS);
        i = first_not_below(list, slot.tag);
        memmove(&list->tag[i + 1], &list->tag[i], (list->n - i) * sizeof list->tag[0]);
        memmove(&list->pin[i + 1], &list->pin[i], (list->n - i) * sizeof list->pin[0]);
        list->n++;
        list->tag[i] = slot.tag;
        list->pin[i] = *add;
        list->pin[i].ident = slot.ident;
        return &list->pin[i];
}

void pin_drop(struct pin_list *list, unsigned i)
{
        MUST(i < list->n);
        list->n--;
        memmove(&list->tag[i], &list->tag[i + 1], (list->n - i) * sizeof list->tag[0]);
        memmove(&list->pin[i], &list->pin[i + 1], (list->n - i) * sizeof list->pin[0]);
}

bool pin_place(struct pnr_pins *page, const struct pin_list *list, unsigned bits)
{
        if (list->n > PNR_SLOTS_FULL)
                return false;
        memset(page, 0, sizeof *page);
        page->bits = bits;
        page->used = list->n;
        unsigned at = 0;
        for (unsigned i = 0; i < list->n; i++, at++) {
                unsigned home = pnr_tag_home(list->tag[i]);
                if (at < home)
                        at = home;
                if (at >= PNR_SLOTS)
                        return false;
                page->tag[at] = list->tag[i];
                page->pin[at] = list->pin[i];
        }
        return true;
}

/* ---- in its place: what comes out is what pin_place() would have made of the same pins ---- */

/* Those behind the gap that are not at home move up by one. */
static void take_out(struct pnr_pins *page, unsigned i)
{
        unsigned end = i + 1;
        while (end < PNR_SLOTS && page->tag[end] && pnr_tag_home(page->tag[end]) < end)
                end++;
        memmove(&page->tag[i], &page->tag[i + 1], (end - i - 1) * sizeof page->tag[0]);
        memmove(&page->pin[i], &page->pin[i + 1], (end - i - 1) * sizeof page->pin[0]);
        page->tag[end - 1] = 0;
        memset(&page->pin[end - 1], 0, sizeof page->pin[0]);
        page->used--;
}

/* Without a branch: the gaps of a page are nowhere foreseen, and each that is not costs as much as a cache line. */
unsigned pin_count_live(const struct pnr_pins *page, struct mono now)
{
        unsigned live = 0;
        for (unsigned i = 0; i < PNR_SLOTS; i++)
                live += (unsigned)(page->tag[i] != 0) & (unsigned)!pin_expired(&page->pin[i], now);
        return live;
}

unsigned pin_expire(struct pnr_pins *page, struct mono now)
{
        unsigned was = page->used;
        for (unsigned i = PNR_SLOTS; i-- > 0;) /* from the end: what moves up was looked at */
                if (page->tag[i] && pin_expired(&page->pin[i], now))
                        take_out(page, i);
        return was - page->used;
}

static struct pnr_pin *put_in(struct pnr_pins *page, struct pnr_slot slot)
{
        unsigned i = pnr_tag_home(slot.tag), gap;
        while (i < PNR_SLOTS && page->tag[i] && page->tag[i] < slot.tag)
                i++;
        for (gap = i; gap < PNR_SLOTS && page->tag[gap];)
                gap++;
        if (gap == PNR_SLOTS || page->used >= PNR_SLOTS_FULL)
                return NULL;
        memmove(&page->tag[i + 1], &page->tag[i], (gap - i) * sizeof page->tag[0]);
        memmove(&page->pin[i + 1], &page->pin[i], (gap - i) * sizeof page->pin[0]);
        page->tag[i] = slot.tag;
        page->used++;
        return &page->pin[i];
}

const struct pnr_pin *pin_amend(struct pnr_pins *page, struct pnr_slot slot, const struct pnr_pin *add,
                                struct mono now)
{
        if (pin_count_live(page, now) < page->used)
                pin_expire(page, now);
        unsigned i = find(page, slot);
        if (i < PNR_SLOTS) {
                pin_merge(&page->pin[i], add);
                return &page->pin[i];
        }
        struct pnr_pin *pin = put_in(page, slot);
        if (pin) {
                *pin = *add;
                pin->ident = slot.ident;
        }
        return pin;
}

void pin_halve(const struct pin_list *list, uint64_t middle, struct pin_list *low, struct pin_list *high)
{
        low->n = high->n = 0;
        for (unsigned i = 0; i < list->n; i++) {
                struct pin_list *half = pnr_ident_place(list->pin[i].ident) < middle ? low : high;
                half->tag[half->n] = list->tag[i];
                half->pin[half->n++] = list->pin[i];
        }
}

void pin_join(const struct pin_list *a, const struct pin_list *b, struct pin_list *ret)
{
        MUST(a->n + b->n <= PNR_SLOTS);
        unsigned i = 0, j = 0;
        ret->n = 0;
        while (i < a->n || j < b->n) {
                bool from_a = j == b->n || (i < a->n && a->tag[i] <= b->tag[j]);
                const struct pin_list *from = from_a ? a : b;
                unsigned k = from_a ? i++ : j++;
                ret->tag[ret->n] = from->tag[k];
                ret->pin[ret->n++] = from->pin[k];
        }
}
