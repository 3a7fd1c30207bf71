/* plot.h -- small plots as inline SVG: values over the last minutes, and what state held when.
 * Pure: arrays in, markup out, no script needed to see it. */
#ifndef PINROUTED_PLOT_H
#define PINROUTED_PLOT_H

#include <stdint.h>

struct evbuffer;

#define PLOT_GAP    UINT32_MAX /* nothing is known of this moment */
#define PLOT_HEIGHT 100        /* of the drawing; its width is one per value, and the page stretches it */

/* The end of the scale for values up to `max`: 1, 2 or 5 times a power of ten, at least `least`. */
uint32_t plot_top(uint32_t max, uint32_t least);

/* The greatest of n values that are no gaps; 0 when all are. */
uint32_t plot_max(const uint32_t *value, unsigned n);

/* One path of steps, oldest value first, on a scale from 0 to `top`; gaps stay empty.  Of each `each` values the
 * greatest is drawn, so a peak is never lost.  Bytes: about 8 for each step. */
void plot_steps(struct evbuffer *out, const uint32_t *value, unsigned n, unsigned each, uint32_t top);

/* A rectangle for each run of equal states, of class `name[state]`; states whose name is NULL stay empty. */
void plot_bands(struct evbuffer *out, const uint8_t *state, unsigned n, const char *const *name);

#endif
