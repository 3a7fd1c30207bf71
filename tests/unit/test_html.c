/* test_html.c -- what comes from outside is escaped, what is our own is not. */
#include <criterion/criterion.h>

#include "daemon/html.h"
#include "tests/unit/html_check.h"

static struct evbuffer *out;

static void open_out(void) { out = evbuffer_new(); }
static void free_out(void) { evbuffer_free(out); }

TestSuite(html, .init = open_out, .fini = free_out);

Test(html, markup_of_our_own_stands_as_it_is)
{
        html_put(out, "<b class=\"x\">&amp;</b>");
        cr_expect_str_eq(html_taken(out), "<b class=\"x\">&amp;</b>");
}

Test(html, no_text_becomes_markup)
{
        html_text(out, "<script>alert('\"&')</script>");
        cr_expect_str_eq(html_taken(out), "&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;");
        html_textf(out, "%s is %d", "<a>", 7);
        cr_expect_str_eq(html_taken(out), "&lt;a&gt; is 7");
        html_text(out, "");
        cr_expect_str_eq(html_taken(out), "");
}

Test(html, control_characters_and_broken_bytes_are_spelled_out)
{
        html_text(out, "a\nb\x1b[31m\xff\xc3\xa4");
        cr_expect_str_eq(html_taken(out), "a b\\x1b[31m\\xff\xc3\xa4");
}

Test(html, a_text_without_end_is_cut)
{
        char endless[5000];
        memset(endless, '<', sizeof endless - 1);
        endless[sizeof endless - 1] = '\0';
        html_text(out, endless);
        cr_expect_eq(strlen(html_taken(out)), 999 * strlen("&lt;"));
        html_textf(out, "%s", endless);
        cr_expect_eq(strlen(html_taken(out)), 999 * strlen("&lt;"));
}
