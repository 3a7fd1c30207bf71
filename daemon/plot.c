/* plot.c -- small plots as inline SVG.
 * Pure: no state of its own; writes paths and rectangles only, the page frames them. */
#include "daemon/plot.h"

#include <event2/buffer.h>
#include <stdbool.h>

uint32_t plot_top(uint32_t max, uint32_t least)
{
        static const uint32_t step[] = {1, 2, 5};
        uint64_t power = 1;
        for (unsigned i = 0;; i++) {
                uint64_t top = step[i % 3] * power;
                if (top >= max && top >= least)
                        return top < UINT32_MAX ? (uint32_t)top : UINT32_MAX;
                power *= i % 3 == 2 ? 10 : 1;
        }
}

uint32_t plot_max(const uint32_t *value, unsigned n)
{
        uint32_t max = 0;
        for (unsigned i = 0; i < n; i++)
                if (value[i] != PLOT_GAP && value[i] > max)
                        max = value[i];
        return max;
}

/* The greatest of what is known, PLOT_GAP when nothing is. */
static uint32_t greatest(const uint32_t *value, unsigned n)
{
        uint32_t max = PLOT_GAP;
        for (unsigned i = 0; i < n; i++)
                if (value[i] != PLOT_GAP && (max == PLOT_GAP || value[i] > max))
                        max = value[i];
        return max;
}

/* An evbuffer's own printf would take most of a large page's time. */
struct pen {
        char buf[512];
        unsigned n;
        struct evbuffer *out;
};

static void flush(struct pen *p)
{
        evbuffer_add(p->out, p->buf, p->n);
        p->n = 0;
}

static void draw(struct pen *p, char command, unsigned number)
{
        char digit[10];
        unsigned n = 0;
        if (p->n + 1 + sizeof digit > sizeof p->buf)
                flush(p);
        p->buf[p->n++] = command;
        do
                digit[n++] = (char)('0' + number % 10);
        while (number /= 10);
        while (n)
                p->buf[p->n++] = digit[--n];
}

static unsigned height_of(uint32_t value, uint32_t top)
{
        uint64_t part = (uint64_t)value * PLOT_HEIGHT / top;
        unsigned up = part > PLOT_HEIGHT ? PLOT_HEIGHT : (unsigned)part;
        if (value && up < 2)
                up = 2; /* little is not nothing */
        return PLOT_HEIGHT - up;
}

/* From the end of one run of known values to its own end, down to the ground. */
static void close_run(struct pen *p, unsigned x)
{
        draw(p, 'H', x);
        draw(p, 'V', PLOT_HEIGHT);
}

void plot_steps(struct evbuffer *out, const uint32_t *value, unsigned n, unsigned each, uint32_t top)
{
        struct pen p = {.out = out};
        bool open = false;
        unsigned y = 0;
        evbuffer_add_printf(out, "<path d=\"");
        for (unsigned x = 0; x < n; x += each) {
                uint32_t v = greatest(value + x, n - x < each ? n - x : each);
                if (v == PLOT_GAP) {
                        if (open)
                                close_run(&p, x);
                        open = false;
                        continue;
                }
                unsigned next = height_of(v, top);
                if (!open) {
                        draw(&p, 'M', x);
                        draw(&p, ' ', PLOT_HEIGHT);
                        draw(&p, 'V', next);
                } else if (next != y) {
                        draw(&p, 'H', x);
                        draw(&p, 'V', next);
                }
                open = true;
                y = next;
        }
        if (open)
                close_run(&p, n);
        flush(&p);
        evbuffer_add_printf(out, "\"/>");
}

void plot_bands(struct evbuffer *out, const uint8_t *state, unsigned n, const char *const *name)
{
        for (unsigned from = 0, to; from < n; from = to) {
                for (to = from + 1; to < n && state[to] == state[from];)
                        to++;
                if (name[state[from]])
                        evbuffer_add_printf(out, "<rect class=\"%s\" x=\"%u\" width=\"%u\" height=\"%d\"/>",
                                            name[state[from]], from, to - from, PLOT_HEIGHT);
        }
}
