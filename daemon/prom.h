/* prom.h -- a writer of Prometheus' text format, 0.0.4, into memory.  Touches no file, no clock.
 *
 * A family is begun once, with all its samples behind it.  After a failed allocation nothing more is written and
 * prom_end() says so. */
#ifndef PINROUTED_PROM_H
#define PINROUTED_PROM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/histogram.h"

#define PROM_LABELS_MAX 512 /* bytes; what does not fit is left out, label by label */

/* What stands between { and }. */
struct prom_labels {
        char text[PROM_LABELS_MAX];
        size_t n;
};

/* Adds name="value", with value escaped. */
void prom_label(struct prom_labels *l, const char *name, const char *value);

struct prom {
        char *text;
        size_t n, size;
        bool lost; /* no memory */
        const char *family;
        size_t family_n; /* its length */
};

/* HELP and TYPE; help has neither \ nor a line end in it. */
void prom_family(struct prom *p, const char *name, const char *type, const char *help);

/* Samples of the family; NULL: without labels. */
void prom_count(struct prom *p, const struct prom_labels *l, uint64_t value);
void prom_millis(struct prom *p, const struct prom_labels *l, uint64_t ms);              /* as seconds */
void prom_micros(struct prom *p, const struct prom_labels *l, uint64_t us);              /* as seconds */
void prom_ratio(struct prom *p, const struct prom_labels *l, unsigned of, unsigned all); /* 0 of 0 is 0 */
void prom_histogram(struct prom *p, const struct prom_labels *l, const struct histogram *h,
                    const struct histogram_bounds *by);

/* The text, to be freed, and its length; NULL: out of memory.  The writer is empty again. */
char *prom_end(struct prom *p, size_t *n);

#endif
