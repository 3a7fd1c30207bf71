/* test_json.c -- commas and escapes. */
#include <criterion/criterion.h>
#include <event2/buffer.h>
#include <string.h>

#include "daemon/json.h"

static struct json j;

static void begin(void) { j = (struct json){.out = evbuffer_new()}; }
static void end(void) { evbuffer_free(j.out); }

TestSuite(json, .init = begin, .fini = end);

static void expect(const char *want)
{
        size_t n = evbuffer_get_length(j.out);
        char got[1024] = "";
        cr_assert_lt(n, sizeof got);
        evbuffer_remove(j.out, got, n);
        cr_expect_str_eq(got, want);
        j.comma = false;
}

Test(json, commas_stand_between_values_and_nowhere_else)
{
        json_open(&j, NULL, '{');
        json_open(&j, "empty", '[');
        json_close(&j, ']');
        json_open(&j, "list", '[');
        json_int(&j, NULL, 1);
        json_open(&j, NULL, '{');
        json_close(&j, '}');
        json_null(&j, NULL);
        json_close(&j, ']');
        json_bool(&j, "yes", true);
        json_bool(&j, "no", false);
        json_close(&j, '}');
        expect("{\"empty\":[],\"list\":[1,{},null],\"yes\":true,\"no\":false}");
}

Test(json, numbers_are_written_in_full)
{
        json_open(&j, NULL, '[');
        json_int(&j, NULL, INT64_MIN);
        json_unsigned(&j, NULL, UINT64_MAX);
        json_real(&j, NULL, 33.33349);
        json_real(&j, NULL, 0);
        json_close(&j, ']');
        expect("[-9223372036854775808,18446744073709551615,33.333,0.000]");
}

Test(json, text_that_could_break_out_is_escaped)
{
        json_text(&j, NULL, "a\"b\\c/d");
        expect("\"a\\\"b\\\\c/d\"");
        json_text(&j, NULL, "\n\t\r\x01\x1f ");
        expect("\"\\u000a\\u0009\\u000d\\u0001\\u001f \"");
        json_text(&j, NULL, "\x7f\x80\xff~");
        expect("\"???~\"");
        json_text(&j, NULL, "");
        expect("\"\"");
        json_text(&j, NULL, NULL);
        expect("null");
        json_open(&j, NULL, '{');
        json_text(&j, "na\"me", "x");
        json_close(&j, '}');
        expect("{\"na\\\"me\":\"x\"}");
}
