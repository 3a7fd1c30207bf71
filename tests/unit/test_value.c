/* test_value.c -- what stands right of a `=`, at its edges. */
#include <criterion/criterion.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/value.h"
#include "proto/nearest.h"

static bool reads(struct value_rule rule, const char *text, int64_t *n)
{
        char why[VALUE_WHY_MAX] = "";
        *n = -7;
        bool good = value_read(&rule, text, n, why);
        if (!good) {
                cr_expect_eq(*n, -7, "a refused value leaves the field as it was");
                cr_expect(strchr(why, ';'), "\"what; mend\", not %s", why);
        }
        return good;
}

Test(value, durations_ask_for_a_unit_unless_they_are_seconds)
{
        static const struct {
                const char *text;
                int64_t duration, seconds; /* 0: refused */
        } rows[] = {
            {"500ms", 500, 500},
            {"15s", 15000, 15000},
            {"2min", 120000, 120000},
            {"2 min", 120000, 120000},
            {"15", 0, 15000},
            {"", 0, 0},
            {"s", 0, 0},
            {"1.5s", 0, 0},
            {"+1s", 0, 0},
            {"1h", 0, 0},
            {"1S", 0, 0},
            {"1s s", 0, 0},
            {"9999999999999999999s", 0, 0},
            {"999999999999999999min", 0, 0},
        };
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                int64_t n;
                bool d = reads((struct value_rule){VALUE_DURATION, 1, INT64_MAX}, rows[i].text, &n);
                cr_expect(d ? n == rows[i].duration : rows[i].duration == 0, "%s", rows[i].text);
                bool s = reads((struct value_rule){VALUE_SECONDS, 1, INT64_MAX}, rows[i].text, &n);
                cr_expect(s ? n == rows[i].seconds : rows[i].seconds == 0, "%s", rows[i].text);
        }
}

Test(value, bounds_themselves_are_inside)
{
        static const struct value_rule count = {VALUE_COUNT, 2, 9}, time = {VALUE_DURATION, 2000, 9000};
        int64_t n;
        cr_expect(!reads(count, "2x", &n) && !reads(count, "", &n));
        cr_expect(reads(count, "2", &n) && reads(count, "9", &n) && !reads(count, "1", &n) &&
                  !reads(count, "10", &n));
        cr_expect(reads(time, "2s", &n) && reads(time, "9s", &n) && !reads(time, "1999ms", &n) &&
                  !reads(time, "9001ms", &n));
}

Test(value, what_is_shown_is_read_back)
{
        static const struct {
                enum value_kind kind;
                const char *text;
        } rows[] = {
            {VALUE_COUNT, "17"},         {VALUE_SECONDS, "15"},          {VALUE_SECONDS, "1500ms"},
            {VALUE_DURATION, "15s"},     {VALUE_DURATION, "10ms"},       {VALUE_ON_OFF, "on"},
            {VALUE_ON_OFF, "off"},       {VALUE_LOG_LEVEL, "debug"},     {VALUE_ROLE, "primary"},
            {VALUE_REMOTE, "allow"},     {VALUE_NO_REPLICA, "error"},    {VALUE_NO_REPLICA, "primary"},
            {VALUE_LOG_LEVEL, "error"},  {VALUE_LOG_TO, "syslog"},       {VALUE_LOG_TO, "stderr"},
            {VALUE_BALANCE, "affinity"}, {VALUE_BALANCE, "round_robin"},
        };
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                char shown[VALUE_TEXT_MAX];
                int64_t n;
                cr_assert(reads((struct value_rule){rows[i].kind, 0, INT64_MAX}, rows[i].text, &n), "%s",
                          rows[i].text);
                value_show(rows[i].kind, &n, shown, sizeof shown);
                cr_expect_str_eq(shown, rows[i].text);
        }
}

Test(value, paths_addresses_and_groups_are_looked_at)
{
        static const struct {
                enum value_kind kind;
                const char *text;
                bool good;
        } rows[] = {
            {VALUE_PATH, "/run/pinroute", true},
            {VALUE_PATH, "run", false},
            {VALUE_PATH, "", false},
            {VALUE_LISTEN, "", true},
            {VALUE_LISTEN, "127.0.0.1:1", true},
            {VALUE_LISTEN, "[::]:1", true},
            {VALUE_LISTEN, "::1:80", false},
            {VALUE_LISTEN, "[127.0.0.1]:80", false},
            {VALUE_LISTEN, ":80", false},
            {VALUE_LISTEN, "1.2.3.4:", false},
            {VALUE_LISTEN, "1.2.3.4:80x", false},
            {VALUE_LISTEN, "1.2.3.4:65536", false},
            {VALUE_LISTEN, "[]:1", false},
            {VALUE_LISTEN, "[::1:80", false},
            {VALUE_LISTEN, "1.2.3.4:0", false},
            {VALUE_LISTEN, "1.2.3.4", false},
            {VALUE_LISTEN, "/run/pinroute/http", true},
            {VALUE_HOSTS, "", true},
            {VALUE_HOSTS, "a.example b-1 C_2", true},
            {VALUE_HOSTS, "a.example:80", false},
            {VALUE_HOSTS, "http://a.example", false},
            {VALUE_HOSTS, "*", false},
            {VALUE_USER, "games", true},
            {VALUE_USER, "", true},
            {VALUE_USER, "two words", false},
            {VALUE_GROUP, "www-data", true},
            {VALUE_GROUP, "", true},
            {VALUE_GROUP, "a,b", false},
            {VALUE_GROUP, "-x", false},
            {VALUE_FILE, "", true},
            {VALUE_FILE, "/etc/pinroute/keys", true},
            {VALUE_FILE, "keys", false},
        };
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                char field[VALUE_TEXT_MAX] = "before", why[VALUE_WHY_MAX];
                struct value_rule rule = {.kind = rows[i].kind};
                cr_expect_eq(value_read(&rule, rows[i].text, field, why), rows[i].good, "%s", rows[i].text);
                cr_expect_str_eq(field, rows[i].good ? rows[i].text : "before");
        }
}

Test(value, a_slip_of_the_finger_finds_the_word_that_was_meant)
{
        cr_expect_eq(pnr_edits("", ""), 0);
        cr_expect_eq(pnr_edits("abc", ""), 3);
        cr_expect_eq(pnr_edits("abc", "acb"), 1, "neighbours swapped are one edit");
        cr_expect_eq(pnr_edits("pin_second", "pin_seconds"), 1);
        cr_expect_eq(pnr_edits("kitten", "sitting"), 3);
        char word[PNR_NEAREST_MAX + 8];
        memset(word, 'x', sizeof word);
        word[sizeof word - 1] = '\0';
        cr_expect_eq(pnr_edits(word, "x"), PNR_NEAREST_MAX, "a longer word than fits is near to nothing");
        struct pnr_nearest near = {.limit = pnr_nearest_limit("rse")};
        pnr_nearest_try(&near, "rse", "fall");
        cr_expect_null(near.word);
        pnr_nearest_try(&near, "rse", "rise");
        pnr_nearest_try(&near, "rse", "rose");
        cr_expect_str_eq(near.word, "rise", "the first of the nearest");
}
