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

const struct pnr_pin *pin_find(const struct pnr_pins *page, struct pnr_slot slot)
{
        unsigned i = pnr_tag_home(slot.tag);
        while (i < PNR_SLOTS && page->tag[i] && page->tag[i] < slot.tag)
                i++;
        for (; i < PNR_SLOTS && page->tag[i] == slot.tag; i++)
                if (page->pin[i].ident == slot.ident)
                        return &page->pin[i];
        return NULL;
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

/* Stands `pin` on the first place of `page` from *at on that its tag may have; NULL: there is none. */
static struct pnr_pin *stand(struct pnr_pins *page, unsigned *at, uint32_t tag, const struct pnr_pin *pin)
{
        unsigned home = pnr_tag_home(tag), i = *at < home ? home : *at;
        if (i >= PNR_SLOTS || page->used == PNR_SLOTS_FULL)
                return NULL;
        *at = i + 1;
        page->used++;
        page->tag[i] = tag;
        page->pin[i] = *pin;
        return &page->pin[i];
}

struct pnr_pin *pin_amend(struct pnr_pins *to, const struct pnr_pins *from, struct pnr_slot slot,
                          const struct pnr_pin *add, struct mono now)
{
        const struct pnr_pin *was = pin_find(from, slot);
        struct pnr_pin *amended = NULL, next = *add;
        bool inserts = !was || pin_expired(was, now);
        unsigned at = 0;
        next.ident = slot.ident;
        memset(to, 0, sizeof *to);
        to->bits = from->bits;
        for (unsigned i = 0; i < PNR_SLOTS; i++) {
                const struct pnr_pin *pin = &from->pin[i];
                if (!from->tag[i] || pin_expired(pin, now))
                        continue;
                if (inserts && !amended && from->tag[i] >= slot.tag &&
                    !(amended = stand(to, &at, slot.tag, &next)))
                        return NULL;
                struct pnr_pin *stands = stand(to, &at, from->tag[i], pin);
                if (!stands)
                        return NULL;
                if (pin == was) {
                        pin_merge(stands, add);
                        amended = stands;
                }
        }
        return amended ? amended : stand(to, &at, slot.tag, &next);
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
