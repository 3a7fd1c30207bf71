/* ctl_text.h -- text for people: aligned tables, durations, sizes; nothing that steers a terminal. */
#ifndef PINROUTECTL_TEXT_H
#define PINROUTECTL_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CTL_TEXT_COLUMNS_MAX 16
#define CTL_TEXT_SPAN_MAX    32

/* Filled row by row, cell by cell; printed and freed at once. */
struct ctl_table {
        unsigned columns;
        unsigned right; /* bit n: column n is aligned to the right */
        size_t cells, room;
        char **cell; /* the header's first */
};

/* heads: to NULL; ">LAG" aligns to the right. */
void ctl_table_init(struct ctl_table *t, const char *const heads[]);
void ctl_table_put(struct ctl_table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void ctl_table_print(struct ctl_table *t, FILE *to, unsigned indent);

/* One line, control characters replaced. */
void ctl_text_line(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "340ms", "12.3s", "2m 5s", "3h 4m", "5d 2h"; "12 B", "3.4 KiB".  Returns buf. */
const char *ctl_text_span(int64_t ms, char buf[CTL_TEXT_SPAN_MAX]);
const char *ctl_text_bytes(int64_t bytes, char buf[CTL_TEXT_SPAN_MAX]);

#endif
