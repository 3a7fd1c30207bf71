/* test_text.c -- what outside bytes look like in a line of ours. */
#include "daemon/text.h"

#include <criterion/criterion.h>
#include <string.h>

static const char *clean(const char *src, size_t size)
{
        static char dst[256];

        memset(dst, '#', sizeof dst);
        text_clean(dst, size, src);
        cr_assert_lt(strlen(dst), size);
        return dst;
}

Test(text, printable_text_stays_as_it_is)
{
        static const char *const same[] = {
            "", "a", "FATAL: role \"x\" (5 %)", "gr\xc3\xbc\xc3\x9f", "\xe2\x82\xac", "\xf0\x9f\x90\x98"};

        for (size_t i = 0; i < sizeof same / sizeof same[0]; i++)
                cr_assert_str_eq(clean(same[i], 64), same[i]);
}

Test(text, white_space_is_one_blank) { cr_assert_str_eq(clean("a\r\n\tb  c\v", 64), "a b c "); }

Test(text, what_a_terminal_would_obey_is_spelled_out)
{
        cr_assert_str_eq(clean("\x1b[2J\a\x7f", 64), "\\x1b[2J\\x07\\x7f");
        cr_assert_str_eq(clean("\xc2\x9b"
                               "2J",
                               64),
                         "\\xc2\\x9b2J", "a C1 control in UTF-8");
}

Test(text, broken_utf8_is_spelled_out_byte_by_byte)
{
        static const char *const row[][2] = {
            {"\xff", "\\xff"},
            {"\x80z", "\\x80z"},
            {"\xc3", "\\xc3"},
            {"\xc3z", "\\xc3z"},
            {"\xc0\xaf", "\\xc0\\xaf"},
            {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},
            {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
            {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
            {"\xe2\x82", "\\xe2\\x82"},
        };

        for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
                cr_assert_str_eq(clean(row[i][0], 64), row[i][1], "case %zu", i);
}

Test(text, a_long_text_is_cut_between_two_characters)
{
        cr_assert_str_eq(clean("abcdef", 4), "abc");
        cr_assert_str_eq(clean("ab\xe2\x82\xac", 5), "ab");
        cr_assert_str_eq(clean("ab\xe2\x82\xac", 6), "ab\xe2\x82\xac");
        cr_assert_str_eq(clean("ab\x01", 6), "ab");
        cr_assert_str_eq(clean("abc", 1), "");
}

Test(text, a_secret_is_hidden_wherever_it_stands)
{
        char text[] = "pw s3cret, s3crets3cret";

        text_hide(text, NULL);
        text_hide(text, "");
        cr_assert_str_eq(text, "pw s3cret, s3crets3cret");
        text_hide(text, "s3cret");
        cr_assert_str_eq(text, "pw ******, ************");
}
