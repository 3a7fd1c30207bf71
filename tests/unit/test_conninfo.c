/* test_conninfo.c -- connection strings: words, checks, and what becomes public of them. */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "daemon/conninfo.h"

static const char *const also[] = {"weight", NULL};

Test(conninfo, a_word_is_taken_as_libpq_takes_it)
{
        static const struct {
                const char *text, *key, *value, *left;
        } rows[] = {
            {"host=x port=1", "host", "x", " port=1"},
            {"  host = x", "host", "x", ""},
            {"a='' b=2", "a", "", " b=2"},
            {"a='b c' d=2", "a", "b c", " d=2"},
            {"a='it\\'s' d=2", "a", "it's", " d=2"},
            {"a=b\\ c d=2", "a", "b c", " d=2"},
            {"a=b'c d=2", "a", "b'c", " d=2"},
            {"a=;b d=2", "a", ";b", " d=2"},
            {"a=x;y#z", "a", "x;y#z", ""},
            {"a='x ; y'", "a", "x ; y", ""},
            {"a= ; note", "a", "", " ; note"},
            {"a=b=c", "a", "b=c", ""},
        };
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                struct conninfo_word word;
                char why[CONNINFO_WHY_MAX];
                const char *at = rows[i].text;
                cr_assert_eq(conninfo_next(&at, &word, why), CONNINFO_WORD, "%s", rows[i].text);
                cr_expect_str_eq(word.key, rows[i].key);
                cr_expect_str_eq(word.value, rows[i].value);
                cr_expect_str_eq(at, rows[i].left);
        }
}

Test(conninfo, space_and_comments_end_it_and_bad_words_are_told)
{
        struct conninfo_word word;
        char why[CONNINFO_WHY_MAX];
        const char *ends[] = {"", "   ", " ; x=1", "\t# x=1"};
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
                cr_expect_eq(conninfo_next(&ends[i], &word, why), CONNINFO_END);
        const char *bads[] = {"x",       "x y=1", "=1",           "x='1",
                              "x='1\\'", "a;b=1", "postgres://x", "h\xc3\xb6st=1"};
        for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
                why[0] = '\0';
                cr_expect_eq(conninfo_next(&bads[i], &word, why), CONNINFO_BAD);
                cr_expect(strchr(why, ';'), "\"what; mend\", not %s", why);
        }
}

Test(conninfo, the_endpoint_holds_what_is_public_and_libpq_reads_it_back)
{
        char endpoint[PNR_ENDPOINT_MAX], why[CONNINFO_WHY_MAX];
        cr_assert(
            conninfo_check(
                "password=hush user=me sslmode=require dbname='my app' passfile=/x host=/run/p\\'g port=5433 "
                "hostaddr=::1 application_name=hush sslpassword=hush",
                also, endpoint, why),
            "%s", why);
        cr_expect_str_eq(endpoint,
                         "host='/run/p\\'g' hostaddr=::1 port=5433 dbname='my app' sslmode=require");
        PQconninfoOption *o = PQconninfoParse(endpoint, NULL);
        cr_assert(o);
        for (PQconninfoOption *p = o; p->keyword; p++)
                if (strcmp(p->keyword, "host") == 0)
                        cr_expect_str_eq(p->val, "/run/p'g");
        PQconninfoFree(o);
        cr_assert(conninfo_check("host=x", also, endpoint, why));
        cr_expect_str_eq(endpoint, "host=x");
}

Test(conninfo, what_does_not_name_one_server_is_refused)
{
        static const struct {
                const char *text, *why;
        } rows[] = {
            {"", "host: missing; say where the server is"},
            {"host='' dbname=x", "host: missing"},
            {"host=a,b", "host: \"a,b\" is a list; a node is one server"},
            {"hostaddr=10.0.0.1,10.0.0.2", "hostaddr: \"10.0.0.1,10.0.0.2\" is a list"},
            {"host=a port=1,2", "port: \"1,2\" is a list"},
            {"host=a port=0", "port: \"0\" is not a port; say 1..65535"},
            {"host=a port=5432x", "port: \"5432x\" is not a port"},
            {"host=a port=65536", "port: \"65536\" is not a port"},
            {"hostaddr=10.0.0.300", "hostaddr: \"10.0.0.300\" is not an IP address; say host="},
            {"host=a sslmode=verify", "sslmode: \"verify\" is not known; say disable, allow"},
            {"host=a service=b", "service: a service file is not read; write host="},
            {"host=a prot=1", "prot: unknown, did you mean port?"},
            {"host=a wieght=1", "wieght: unknown, did you mean weight?"},
            {"host=a zzzzzz=1", "zzzzzz: unknown; use the key words of libpq"},
            {"host=a password=b hush=1",
             "a word after the password is not an option of libpq; put quotes around"},
        };
        char endpoint[PNR_ENDPOINT_MAX], why[CONNINFO_WHY_MAX];
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                cr_expect_not(conninfo_check(rows[i].text, also, endpoint, why), "%s", rows[i].text);
                cr_expect_eq(strncmp(why, rows[i].why, strlen(rows[i].why)), 0, "%s: %s", rows[i].text, why);
        }
}

Test(conninfo, what_is_too_long_is_refused)
{
        char text[2 * PROBER_CONNINFO_MAX], endpoint[PNR_ENDPOINT_MAX], why[CONNINFO_WHY_MAX];
        snprintf(text, sizeof text, "host=x user=%0*d", PROBER_CONNINFO_MAX - 13, 0);
        cr_expect(conninfo_check(text, also, endpoint, why), "%s", why);
        strcat(text, "0");
        cr_expect_not(conninfo_check(text, also, endpoint, why));
        cr_expect(strstr(why, "too long; use at most 1023"), "%s", why);
        for (int quotes = 250; quotes <= 260; quotes++) {
                snprintf(text, sizeof text, "host='");
                for (int i = 0; i < quotes; i++)
                        strcat(text, "\\'");
                strcat(text, "'");
                bool fits = strlen(text) < PNR_ENDPOINT_MAX;
                cr_expect_eq(conninfo_check(text, also, endpoint, why), fits, "%d quotes: %s", quotes, why);
        }
}
