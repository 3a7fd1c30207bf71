/* test_ctl_text.c -- tables, spans and sizes for people. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl_text.h"

Test(ctl_text, spans_have_two_units_at_most)
{
        static const struct {
                int64_t ms;
                const char *text;
        } rows[] = {
            {0, "0ms"},         {999, "999ms"},   {1000, "1.0s"},       {59999, "59.9s"},
            {60000, "1m"},      {61000, "1m 1s"}, {3599999, "59m 59s"}, {3600000, "1h"},
            {3661000, "1h 1m"}, {86400000, "1d"}, {93600000, "1d 2h"},  {-5, "-5ms"},
        };
        char buf[CTL_TEXT_SPAN_MAX];
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
                cr_expect_str_eq(ctl_text_span(rows[i].ms, buf), rows[i].text);
}

Test(ctl_text, sizes_are_binary)
{
        char buf[CTL_TEXT_SPAN_MAX];
        cr_expect_str_eq(ctl_text_bytes(1023, buf), "1023 B");
        cr_expect_str_eq(ctl_text_bytes(1024, buf), "1.0 KiB");
        cr_expect_str_eq(ctl_text_bytes(16 << 20, buf), "16.0 MiB");
        cr_expect_str_eq(ctl_text_bytes(INT64_MAX, buf), "8388608.0 TiB");
}

Test(ctl_text, columns_are_aligned_and_lines_end_with_their_text)
{
        char *text;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        struct ctl_table t;
        ctl_table_init(&t, (const char *const[]){"NAME", ">N", "WHY", NULL});
        for (unsigned i = 0; i < 100; i++) {
                ctl_table_put(&t, "%s", i ? "b" : "longest");
                ctl_table_put(&t, "%u", i * 10);
                ctl_table_put(&t, "%s", i % 2 ? "" : "is\x1bso\n");
        }
        ctl_table_print(&t, f, 2);
        ctl_text_line(f, "%s", "a\tb");
        fclose(f);
        const char *head = "  NAME       N  WHY\n  longest    0  is?so?\n  b         10\n";
        cr_expect_eq(strncmp(text, head, strlen(head)), 0, "%s", text);
        cr_expect(strstr(text, "\n  b        990\na?b\n"), "%s", text);
        free(text);
}
