/* test_ctl_event.c -- each thing that happens is a line that a person reads and greps. */
#include "client/ctl_event.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void expect(const char *event, const char *line)
{
        char buf[CTL_EVENT_MAX];
        setenv("TZ", "UTC", 1);
        tzset();
        json_t *doc = json_loads(event, 0, NULL);
        cr_assert(doc, "%s", event);
        ctl_event_text(doc, buf);
        cr_expect_str_eq(buf, line);
        json_decref(doc);
}

Test(ctl_event, news_have_their_level_and_the_log_s_words)
{
        expect("{\"event\":\"news\",\"wall_ms\":1795850366055,\"level\":\"warning\",\"cluster\":\"main\","
               "\"text\":\"shadow-1 UP -> DOWN: connection refused\"}",
               "2026-11-28 07:19:26.055  warning   cluster main: shadow-1 UP -> DOWN: connection refused");
        expect("{\"event\":\"news\",\"wall_ms\":1795850366005,\"level\":\"info\",\"cluster\":\"\",\"text\":"
               "\"stopping\"}",
               "2026-11-28 07:19:26.005  info      stopping");
}

Test(ctl_event, pins_and_releases_name_key_generation_and_who)
{
        expect("{\"event\":\"pin\",\"wall_ms\":0,\"what\":\"record\",\"cluster\":\"main\",\"key\":\"00ab\","
               "\"generation\":7,"
               "\"ms\":15000,\"pid\":4711}",
               "1970-01-01 00:00:00.000  record    cluster main: 00ab pinned for 15.0s, generation 7, by pid "
               "4711");
        expect("{\"event\":\"pin\",\"wall_ms\":0,\"what\":\"hold\",\"cluster\":\"main\",\"key\":\"00ab\","
               "\"generation\":7,"
               "\"ms\":500,\"pid\":4711}",
               "1970-01-01 00:00:00.000  hold      cluster main: 00ab held for 500ms, generation 7, by pid "
               "4711");
        expect(
            "{\"event\":\"pin\",\"wall_ms\":0,\"what\":\"record\",\"cluster\":\"main\",\"key\":\"00ab\","
            "\"generation\":null,"
            "\"ms\":500,\"pid\":0}",
            "1970-01-01 00:00:00.000  record    cluster main: 00ab pinned for 500ms, kept as a floor, by the "
            "operator");
        expect(
            "{\"event\":\"released\",\"wall_ms\":0,\"cluster\":\"main\",\"node\":\"shadow-2\","
            "\"generation\":9}",
            "1970-01-01 00:00:00.000  released  cluster main: shadow-2 has every write up to generation 9");
        expect("{\"event\":\"missed\",\"wall_ms\":0,\"events\":12}",
               "1970-01-01 00:00:00.000  missed    12 events are missing here: too many to tell");
}

Test(ctl_event, what_is_too_long_is_cut_and_what_is_missing_is_empty)
{
        char text[3000], event[4000], buf[CTL_EVENT_MAX];
        memset(text, 'x', sizeof text - 1);
        text[sizeof text - 1] = '\0';
        snprintf(event, sizeof event,
                 "{\"event\":\"news\",\"level\":\"info\",\"cluster\":\"%s\",\"text\":\"%s\"}", "main", text);
        json_t *doc = json_loads(event, 0, NULL);
        ctl_event_text(doc, buf);
        cr_expect_eq(strlen(buf), strlen("2026-11-28 07:19:26.055  info      cluster main: ") + 400);
        json_decref(doc);
        expect("{}", "1970-01-01 00:00:00.000            ");
        expect("[]", "1970-01-01 00:00:00.000            ");
}
