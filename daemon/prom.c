/* prom.c -- a writer of Prometheus' text format.
 * Writes numbers by hand: printf would hold the loop up where thousands of nodes are told of. */
#include "daemon/prom.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE  (64u << 10)
#define NUMBER_MAX  24
#define BESIDES_MAX 96 /* suffix, braces, le, number, line end */

static char *put(char *to, const char *text, size_t n)
{
        memcpy(to, text, n);
        return to + n;
}

/* ---- labels ---- */

static char *put_escaped(char *to, char c)
{
        if (c == '\n')
                return put(to, "\\n", 2);
        if (c == '"' || c == '\\')
                *to++ = '\\';
        *to++ = c;
        return to;
}

void prom_label(struct prom_labels *l, const char *name, const char *value)
{
        size_t before = l->n, n = strlen(name);
        if (n + 2 * strlen(value) + 4 > sizeof l->text - before)
                return;
        char *to = l->text + before;
        if (before)
                *to++ = ',';
        to = put(to, name, n);
        to = put(to, "=\"", 2);
        for (; *value; value++)
                to = put_escaped(to, *value);
        *to++ = '"';
        l->n = (size_t)(to - l->text);
}

/* ---- text ---- */

/* Room for n bytes more; NULL: none. */
static char *room(struct prom *p, size_t n)
{
        size_t size = p->size ? p->size : FIRST_SIZE;
        while (size - p->n < n)
                size *= 2;
        if (!p->lost && size != p->size) {
                char *text = realloc(p->text, size);
                p->lost = !text;
                p->text = text ? text : p->text;
                p->size = text ? size : p->size;
        }
        return p->lost ? NULL : p->text + p->n;
}

static char *put_number(char *to, uint64_t value)
{
        char digits[NUMBER_MAX], *d = digits + sizeof digits;
        do
                *--d = (char)('0' + value % 10);
        while (value /= 10);
        return put(to, d, (size_t)(digits + sizeof digits - d));
}

/* value / 10^places, without the zeros at the end. */
static char *put_decimal(char *to, uint64_t value, unsigned places)
{
        uint64_t one = 1;
        for (unsigned i = 0; i < places; i++)
                one *= 10;
        to = put_number(to, value / one);
        if (value % one)
                *to++ = '.';
        for (value %= one; value; value %= one) {
                one /= 10;
                *to++ = (char)('0' + value / one);
        }
        return to;
}

static void add(struct prom *p, const char *text)
{
        size_t n = strlen(text);
        char *to = room(p, n);
        if (to)
                p->n += (size_t)(put(to, text, n) - to);
}

void prom_family(struct prom *p, const char *name, const char *type, const char *help)
{
        const char *const parts[] = {"# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n"};
        for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++)
                add(p, parts[i]);
        p->family = name;
        p->family_n = strlen(name);
}

/* ---- samples ---- */

/* One line: the family's name with a suffix, labels and one more of its own, value / 10^places. */
struct sample {
        const char *suffix;
        const struct prom_labels *labels; /* NULL: none */
        const char *le;                   /* NULL: none */
        uint64_t value;
        unsigned places;
};

static void add_sample(struct prom *p, const struct sample *s)
{
        size_t n = s->labels ? s->labels->n : 0;
        char *to = room(p, p->family_n + n + BESIDES_MAX), *begin = to;
        if (!to)
                return;
        to = put(to, p->family, p->family_n);
        to = put(to, s->suffix, strlen(s->suffix));
        if (n || s->le)
                *to++ = '{';
        if (n)
                to = put(to, s->labels->text, n);
        if (n && s->le)
                *to++ = ',';
        if (s->le) {
                to = put(to, "le=\"", 4);
                to = put(to, s->le, strlen(s->le));
                *to++ = '"';
        }
        if (n || s->le)
                *to++ = '}';
        *to++ = ' ';
        to = put_decimal(to, s->value, s->places);
        *to++ = '\n';
        p->n += (size_t)(to - begin);
}

void prom_count(struct prom *p, const struct prom_labels *l, uint64_t value)
{
        add_sample(p, &(struct sample){"", l, NULL, value, 0});
}

void prom_millis(struct prom *p, const struct prom_labels *l, uint64_t ms)
{
        add_sample(p, &(struct sample){"", l, NULL, ms, 3});
}

void prom_micros(struct prom *p, const struct prom_labels *l, uint64_t us)
{
        add_sample(p, &(struct sample){"", l, NULL, us, 6});
}

void prom_ratio(struct prom *p, const struct prom_labels *l, unsigned of, unsigned all)
{
        uint64_t millionths = all ? ((uint64_t)of * 1000000 + all / 2) / all : 0;
        add_sample(p, &(struct sample){"", l, NULL, millionths, 6});
}

void prom_histogram(struct prom *p, const struct prom_labels *l, const struct histogram *h,
                    const struct histogram_bounds *by)
{
        uint64_t n = 0;
        for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++) {
                char le[NUMBER_MAX] = "+Inf";
                if (i < HISTOGRAM_BOUNDS)
                        *put_decimal(le, by->us[i], 6) = '\0';
                n += h->n[i];
                add_sample(p, &(struct sample){"_bucket", l, le, n, 0});
        }
        add_sample(p, &(struct sample){"_sum", l, NULL, h->sum_us, 6});
        add_sample(p, &(struct sample){"_count", l, NULL, n, 0});
}

char *prom_end(struct prom *p, size_t *n)
{
        char *text = p->lost ? NULL : p->text;
        *n = p->n;
        if (p->lost)
                free(p->text);
        *p = (struct prom){0};
        return text;
}
