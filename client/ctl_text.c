/* ctl_text.c -- text for people: aligned tables, durations, sizes; nothing that steers a terminal.
 * Owns: struct table.  Out of memory ends the tool. */
#include "client/ctl_text.h"

#include <inttypes.h>
#include <stdarg.h>
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

static void put(struct table *t, char *text)
{
        if (t->cells == t->room) {
                t->room = t->room ? 2 * t->room : 64;
                t->cell = need(realloc(t->cell, t->room * sizeof *t->cell));
        }
        t->cell[t->cells++] = plain(text);
}

void table_init(struct table *t, const char *const heads[])
{
        *t = (struct table){0};
        for (; heads[t->columns] && t->columns < TEXT_COLUMNS_MAX; t->columns++) {
                const char *head = heads[t->columns];
                if (*head == '>')
                        t->right |= 1u << t->columns;
                put(t, need(strdup(head + (*head == '>'))));
        }
}

void table_put(struct table *t, const char *format, ...)
{
        char *text = NULL;
        va_list args;
        va_start(args, format);
        if (vasprintf(&text, format, args) < 0)
                text = NULL;
        va_end(args);
        put(t, need(text));
}

/* The last column is not padded: its lines end where its text ends. */
static void print_cell(const struct table *t, unsigned column, const char *text, int width, FILE *to)
{
        const char *gap = column ? "  " : "";
        if (t->right >> column & 1)
                fprintf(to, "%s%*s", gap, width, text);
        else if (column + 1 == t->columns)
                fprintf(to, "%s%s", gap, text);
        else
                fprintf(to, "%s%-*s", gap, width, text);
}

void table_print(struct table *t, FILE *to, unsigned indent)
{
        size_t width[TEXT_COLUMNS_MAX] = {0};
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
        *t = (struct table){0};
}

void text_line(FILE *to, const char *format, ...)
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

const char *text_span(int64_t ms, char buf[TEXT_SPAN_MAX])
{
        int64_t s = ms / 1000;
        if (ms < 1000)
                snprintf(buf, TEXT_SPAN_MAX, "%" PRId64 "ms", ms);
        else if (s < 60)
                snprintf(buf, TEXT_SPAN_MAX, "%" PRId64 ".%" PRId64 "s", s, ms % 1000 / 100);
        else if (s < 3600)
                snprintf(buf, TEXT_SPAN_MAX, "%" PRId64 "m %" PRId64 "s", s / 60, s % 60);
        else if (s < 86400)
                snprintf(buf, TEXT_SPAN_MAX, "%" PRId64 "h %" PRId64 "m", s / 3600, s % 3600 / 60);
        else
                snprintf(buf, TEXT_SPAN_MAX, "%" PRId64 "d %" PRId64 "h", s / 86400, s % 86400 / 3600);
        return buf;
}

const char *text_bytes(int64_t bytes, char buf[TEXT_SPAN_MAX])
{
        static const char *const unit[] = {"KiB", "MiB", "GiB", "TiB"};
        double n = (double)bytes / 1024;
        size_t u = 0;
        for (; n >= 1024 && u + 1 < sizeof unit / sizeof *unit; u++)
                n /= 1024;
        if (bytes < 1024)
                snprintf(buf, TEXT_SPAN_MAX, "%" PRId64 " B", bytes);
        else
                snprintf(buf, TEXT_SPAN_MAX, "%.1f %s", n, unit[u]);
        return buf;
}
