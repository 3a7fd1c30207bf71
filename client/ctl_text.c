/* ctl_text.c -- text for people: aligned tables, durations, sizes; nothing that steers a terminal.
 * Owns: struct ctl_table.  Out of memory ends the tool. */
#include "client/ctl_text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void *need(void *memory)
{
        if (!memory) {
                fputs("pinroutectl: out of memory\n", stderr);
                exit(1);
        }
        return memory;
}

/* What nodes and daemons say is printed as text only. */
static char *plain(char *text)
{
        for (unsigned char *p = (unsigned char *)text; *p; p++)
                if (*p < 0x20 || *p == 0x7f)
                        *p = '?';
        return text;
}

static void put(struct ctl_table *t, char *text)
{
        if (t->cells == t->room) {
                t->room = t->room ? 2 * t->room : 64;
                t->cell = need(realloc(t->cell, t->room * sizeof *t->cell));
        }
        t->cell[t->cells++] = plain(text);
}

void ctl_table_init(struct ctl_table *t, const char *const heads[])
{
        *t = (struct ctl_table){0};
        for (; heads[t->columns] && t->columns < CTL_TEXT_COLUMNS_MAX; t->columns++) {
                const char *head = heads[t->columns];
                if (*head == '>')
                        t->right |= 1u << t->columns;
                put(t, need(strdup(head + (*head == '>'))));
        }
}

void ctl_table_put(struct ctl_table *t, const char *format, ...)
{
        char *text = NULL;
        va_list args;
        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        put(t, need(text));
}

/* The last column is not padded: its lines end where their text ends. */
static void print_cell(const struct ctl_table *t, unsigned column, const char *text, int width, FILE *to)
{
        bool last = column + 1 == t->columns;
        const char *gap = column && !(last && !*text) ? "  " : "";
        if (t->right >> column & 1)
                fprintf(to, "%s%*s", gap, width, text);
        else if (last)
                fprintf(to, "%s%s", gap, text);
        else
                fprintf(to, "%s%-*s", gap, width, text);
}

void ctl_table_print(struct ctl_table *t, FILE *to, unsigned indent)
{
        size_t width[CTL_TEXT_COLUMNS_MAX] = {0};
        for (size_t i = 0; i < t->cells; i++) {
                size_t n = strlen(t->cell[i]);
                if (n > width[i % t->columns])
                        width[i % t->columns] = n;
        }
        for (size_t i = 0; i < t->cells; i++) {
                unsigned column = (unsigned)(i % t->columns);
                if (column == 0)
                        fprintf(to, "%*s", (int)indent, "");
                print_cell(t, column, t->cell[i], (int)width[column], to);
                if (column + 1 == t->columns)
                        fputc('\n', to);
                free(t->cell[i]);
        }
        free(t->cell);
        *t = (struct ctl_table){0};
}

void ctl_text_line(FILE *to, const char *format, ...)
{
        char *text = NULL;
        va_list args;
        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        fprintf(to, "%s\n", plain(need(text)));
        free(text);
}

/* Two units at most, the second only where it says something. */
static void two_units(int64_t n, const char *big, int64_t rest, const char *small,
                      char buf[CTL_TEXT_SPAN_MAX])
{
        if (rest)
                snprintf(buf, CTL_TEXT_SPAN_MAX, "%" PRId64 "%s %" PRId64 "%s", n, big, rest, small);
        else
                snprintf(buf, CTL_TEXT_SPAN_MAX, "%" PRId64 "%s", n, big);
}

const char *ctl_text_span(int64_t ms, char buf[CTL_TEXT_SPAN_MAX])
{
        int64_t s = ms / 1000;
        if (ms < 1000)
                snprintf(buf, CTL_TEXT_SPAN_MAX, "%" PRId64 "ms", ms);
        else if (s < 60)
                snprintf(buf, CTL_TEXT_SPAN_MAX, "%" PRId64 ".%" PRId64 "s", s, ms % 1000 / 100);
        else if (s < 3600)
                two_units(s / 60, "m", s % 60, "s", buf);
        else if (s < 86400)
                two_units(s / 3600, "h", s % 3600 / 60, "m", buf);
        else
                two_units(s / 86400, "d", s % 86400 / 3600, "h", buf);
        return buf;
}

const char *ctl_text_bytes(int64_t bytes, char buf[CTL_TEXT_SPAN_MAX])
{
        static const char *const unit[] = {"KiB", "MiB", "GiB", "TiB"};
        double n = (double)bytes / 1024;
        size_t u = 0;
        for (; n >= 1024 && u + 1 < sizeof unit / sizeof *unit; u++)
                n /= 1024;
        if (bytes < 1024)
                snprintf(buf, CTL_TEXT_SPAN_MAX, "%" PRId64 " B", bytes);
        else
                snprintf(buf, CTL_TEXT_SPAN_MAX, "%.1f %s", n, unit[u]);
        return buf;
}
