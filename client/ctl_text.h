/* ctl_text.h -- text for people: aligned tables, durations, sizes; nothing that steers a terminal. */
#ifndef PINROUTECTL_TEXT_H
#define PINROUTECTL_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TEXT_COLUMNS_MAX 16
#define TEXT_SPAN_MAX    32

/* Filled row by row, cell by cell; printed and freed at once. */
struct table {
        unsigned columns;
        unsigned right; /* bit n: column n is aligned to the right */
        size_t cells, room;
        char **cell; /* the header's first */
};

/* heads: to NULL; ">LAG" aligns to the right. */
void table_init(struct table *t, const char *const heads[]);
void table_put(struct table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_print(struct table *t, FILE *to, unsigned indent);

/* One line, control characters replaced. */
void text_line(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "340ms", "12.3s", "2m 5s", "3h 4m", "5d 2h"; "12 B", "3.4 KiB".  Returns buf. */
const char *text_span(int64_t ms, char buf[TEXT_SPAN_MAX]);
const char *text_bytes(int64_t bytes, char buf[TEXT_SPAN_MAX]);

#endif
