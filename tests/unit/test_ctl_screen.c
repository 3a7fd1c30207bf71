/* test_ctl_screen.c -- what `top` shows fits whatever terminal there is, and says what matters. */
#include "client/ctl_screen.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl_told.h"

static struct ctl_look now, before;
static struct ctl_view view;
static char *text;

static json_t *node(const char *name, const char *state, const char *admin, int lag_ms)
{
        bool primary = !strcmp(name, "default");
        return json_pack("{ss ss ss ss ss si so? si si sf sf si si}", "name", name, "role",
                         primary ? "primary" : "replica", "state", state, "admin", admin, "why",
                         strcmp(state, "UP") != 0 ? "Connection\033[31m refused" : "", "since_ms", 7384000,
                         "lag_ms", primary ? NULL : json_integer(lag_ms), "behind_bytes", 2048, "weight", 2,
                         "share", primary ? 0.0 : 66.667, "check_ms", 0.412, "checks", 1203, "fails", 3);
}

static struct ctl_look look(int64_t at_ms, int times)
{
        setenv("TZ", "UTC", 1);
        tzset();
        json_t *nodes = json_array();
        json_array_append_new(nodes, node("default", "UP", "ready", 0));
        json_array_append_new(nodes, node("shadow-2", "UP", "drain", 1500));
        json_array_append_new(nodes, node("shadow-1", "DOWN", "ready", 20));
        json_t *news = json_array();
        for (int i = 0; i < 8; i++)
                json_array_append_new(news,
                                      json_pack("{ss sI ss ss ss}", "event", "news", "wall_ms",
                                                (json_int_t)1795850366055 + i * 1000, "level", "warning",
                                                "cluster", "main", "text", i == 7 ? "the newest" : "older"));
        return (struct ctl_look){
            .answered = true,
            .at_ns = at_ms * 1000000,
            .wall_ms = 1795850366055,
            .status =
                json_pack("{ss ss si sb s[s] si si si s[{ss so}]}", "epoch", "e", "version", "0.1.0",
                          "uptime_ms", 93784000, "degraded", 1, "why", "main/shadow-1 is DOWN", "pins", 812,
                          "max_pins", 100000, "clients", 12, "clusters", "name", "main", "nodes", nodes),
            .stats =
                json_pack("{s{si si si si} s[{ss ss ss si}{ss ss ss si}{ss ss ss si}]}", "stats", "records",
                          100 * times, "holds", 0, "tokens", 20 * times, "commits", 5 * times, "decisions",
                          "cluster", "main", "node", "default", "reason", "PINNED", "count", 10 * times,
                          "cluster", "main", "node", "shadow-2", "reason", "BALANCED", "count", 12345 * times,
                          "cluster", "", "node", "", "reason", "STORE_STALE", "count", 2500000 * times),
            .news = json_pack("{so}", "news", news),
        };
}

static void begin(void)
{
        before = look(1000, 1);
        now = look(2000, 2);
        view = (struct ctl_view){.now = &now,
                                 .before = &before,
                                 .lags = json_object(),
                                 .interval_ms = 1000,
                                 .columns = 80,
                                 .lines = 24};
        ctl_look_remember(&now, view.lags);
}

static void end(void)
{
        free(text);
        json_decref(view.lags);
        ctl_look_free(&now);
        ctl_look_free(&before);
}

TestSuite(ctl_screen, .init = begin, .fini = end);

static void draw(void (*how)(const struct ctl_view *, FILE *))
{
        size_t size;
        free(text);
        text = NULL;
        FILE *f = open_memstream(&text, &size);
        how(&view, f);
        fclose(f);
}

static bool has(const char *part) { return strstr(text, part) != NULL; }

/* Takes what steers the terminal out of the text; the longest line and their number. */
static unsigned measure(unsigned *longest)
{
        unsigned lines = 1, n = 0;
        char *to = text;
        *longest = 0;
        for (const char *p = text; *p; p++) {
                if (*p == '\033') {
                        while (*p != 'm' && *p != 'K')
                                p++;
                        continue;
                }
                *to++ = *p;
                n = *p == '\n' ? 0 : n + 1;
                lines += *p == '\n';
                *longest = n > *longest ? n : *longest;
        }
        *to = '\0';
        return lines;
}

Test(ctl_screen, eighty_columns_say_what_matters)
{
        unsigned longest;
        draw(ctl_screen_draw);
        cr_expect_eq(measure(&longest), 24);
        const char *const lines[] = {
            "pinrouted 0.1.0  up 1d 2h  DEGRADED\n",
            "pins 812/100000  records/s 120  decisions/s 2.5M  commits/s 5  clients 12\n",
            "! main/shadow-1 is DOWN\n",
            "NODE (* primary)    STATE              SHARE  READS/s     LAG     MAX     BEHIND",
            "main/default *      UP 2h 3m               -       10       -       -    2.0 KiB\n",
            "main/shadow-2       UP/drain 2h 3m     66.7%    12.3k    1.5s    1.5s    2.0 KiB\n",
            "main/shadow-1       DOWN 2h 3m         66.7%        0    20ms    20ms    2.0 KiB\n",
            "07:19:33.055  warning   cluster main: the newest\n",
            "q quit  p pause  s sort: cluster  1-9 every 1s  h help",
        };
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
                cr_expect(has(lines[i]), "%s in\n%s", lines[i], text);
        cr_expect_leq(longest, 80);
        cr_expect_not(has("CHECK"), "it would take 89");
        view.columns = 79;
        draw(ctl_screen_draw);
        measure(&longest);
        cr_expect(has("     LAG     BEHIND") && !has("MAX"), "a column goes as a whole: %s", text);
}

Test(ctl_screen, it_never_has_more_lines_or_columns_than_the_terminal)
{
        for (view.columns = 1; view.columns < 160; view.columns += 3)
                for (view.lines = 1; view.lines < 40; view.lines += 2)
                        for (unsigned help = 0; help < 2; help++) {
                                unsigned longest;
                                view.help = help;
                                view.colour = view.lines % 3 == 0;
                                draw(ctl_screen_draw);
                                cr_assert_eq(measure(&longest), view.lines, "%u x %u", view.columns,
                                             view.lines);
                                cr_assert_leq(longest, view.columns, "%u x %u:\n%s", view.columns, view.lines,
                                              text);
                        }
}

Test(ctl_screen, a_wide_one_has_all_columns_and_why_a_node_is_down)
{
        unsigned longest;
        view.columns = 150;
        draw(ctl_screen_draw);
        measure(&longest);
        cr_expect(
            has("STATE             WEIGHT   SHARE  READS/s     LAG     MAX     BEHIND    CHECK      FAILS"),
            "%s", text);
        cr_expect(has("2.0 KiB    0.4ms     3/1203  Connection?[31m refused\n"), "%s", text);
        cr_expect(has("2026-11-28 07:19:33.055  warning   cluster main: the newest\n"), "%s", text);
}

Test(ctl_screen, rows_are_sorted_and_those_that_do_not_fit_are_counted)
{
        unsigned longest;
        const struct {
                enum ctl_sort sort;
                const char *first, *second;
        } t[] = {{CTL_SORT_CLUSTER, "main/default", "main/shadow-2"},
                 {CTL_SORT_STATE, "main/shadow-1", "main/default"},
                 {CTL_SORT_LAG, "main/shadow-2", "main/shadow-1"},
                 {CTL_SORT_READS, "main/shadow-2", "main/default"},
                 {CTL_SORT_NAME, "main/shadow-1", "main/shadow-2"}};
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                view.sort = t[i].sort;
                draw(ctl_screen_draw);
                const char *rows = strstr(text, "BEHIND"), *a = strstr(rows, t[i].first);
                cr_expect(a < strstr(rows, t[i].second), "sort %d:\n%s", (int)t[i].sort, text);
        }
        view.lines = 7;
        draw(ctl_screen_draw);
        measure(&longest);
        cr_expect(has("... 3 more: s sorts\n") || has("... 2 more: s sorts\n"), "%s", text);
}

Test(ctl_screen, colour_is_for_who_wants_it)
{
        draw(ctl_screen_draw);
        cr_expect_not(has("\033[3"), "%s", text);
        view.colour = true;
        draw(ctl_screen_draw);
        cr_expect(has("\033[31mmain/shadow-1"), "%s", text);
        cr_expect(has("\033[36mmain/shadow-2"), "%s", text);
}

Test(ctl_screen, silence_a_pause_and_help_are_said)
{
        view.no_answer = "/run/pinroute/ctl.sock: Connection refused";
        view.silent_ms = 12000;
        view.paused = true;
        draw(ctl_screen_draw);
        cr_expect(has("no answer for 12.0s: /run/pinroute/ctl.sock: Connection refused") &&
                      has("main/shadow-1"),
                  "%s", text);
        cr_expect(has("PAUSED  q quit  p go on"), "%s", text);
        view.help = true;
        draw(ctl_screen_draw);
        cr_expect(has("s        sort by cluster, state, lag, reads, name") && !has("UP/drain"), "%s", text);
}

Test(ctl_screen, a_pipe_gets_a_line_or_an_object)
{
        draw(ctl_screen_line);
        cr_expect_str_eq(text, "07:19:26      812        120         2.5M          5       12              "
                               "2/3     1.5s  DEGRADED\n");
        draw(ctl_screen_json);
        json_t *doc = json_loads(text, 0, NULL);
        double records, decisions, reads;
        int up;
        cr_assert_eq(json_unpack(doc, "{s:b s:f s:f s:[{s:f}]}", "ok", &up, "records_per_second", &records,
                                 "decisions_per_second", &decisions, "nodes", "reads_per_second", &reads),
                     0, "%s", text);
        cr_expect(up && records > 119.9 && records < 120.1 && decisions > 2499999 && reads > 9.9, "%s", text);
        json_decref(doc);
        now.answered = false;
        snprintf(now.why, sizeof now.why, "gone");
        draw(ctl_screen_line);
        cr_expect_str_eq(text, "07:19:26  no answer: gone\n");
        draw(ctl_screen_json);
        cr_expect_str_eq(
            text, "{\"ok\":false,\"wall_ms\":1795850366055,\"error\":\"gone\",\"code\":\"E_DAEMON\"}\n");
}

static bool says(const char *part)
{
        draw(ctl_screen_draw);
        return has(part);
}

Test(ctl_screen, a_look_with_none_before_it_has_no_rates)
{
        view.before = NULL;
        cr_expect(says("records/s -  decisions/s -  commits/s -  clients 12"), "%s", text);
        cr_expect(has("66.7%        -    1.5s"), "reads: %s", text);
        draw(ctl_screen_line);
        cr_expect_str_eq(text, "07:19:26      812          -            -          -       12              "
                               "2/3     1.5s  DEGRADED\n");
        draw(ctl_screen_json);
        cr_expect(has("\"records_per_second\":null,\"decisions_per_second\":null"), "%s", text);
        cr_expect(has("\"reads_per_second\":null"), "%s", text);
}

Test(ctl_screen, a_rate_has_three_digits_and_a_letter_at_most)
{
        const struct {
                int n;
                const char *shown;
        } t[] = {{0, "0"},
                 {7, "7"},
                 {999, "999"},
                 {1000, "1.0k"},
                 {99949, "99.9k"},
                 {99950, "100k"},
                 {999499, "999k"},
                 {999500, "1.0M"},
                 {99950000, "100M"},
                 {999499999, "999M"},
                 {999500000, "1.0G"},
                 {2000000000, "2.0G"}};
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                char part[64];
                snprintf(part, sizeof part, "commits/s %s  clients", t[i].shown);
                json_object_set_new(json_object_get(now.stats, "stats"), "commits", json_integer(5 + t[i].n));
                cr_expect(says(part), "%d in\n%s", t[i].n, text);
        }
}

Test(ctl_screen, a_daemon_that_is_well_is_ok_and_nothing_is_complained_of)
{
        unsigned longest;
        json_object_set_new(now.status, "degraded", json_false());
        json_object_del(now.status, "why");
        view.colour = true;
        cr_expect(says("\033[32mpinrouted 0.1.0  up 1d 2h  ok"), "%s", text);
        measure(&longest);
        cr_expect(has("clients 12\n\nNODE"), "an empty line: %s", text);
        draw(ctl_screen_line);
        cr_expect(has("1.5s  ok\n"), "%s", text);
}

/* The node, or the news, of the look shown. */
static json_t *node_at(size_t i)
{
        const json_t *cluster = json_array_get(json_object_get(now.status, "clusters"), 0);
        return json_array_get(json_object_get(cluster, "nodes"), i);
}

static json_t *news_at(size_t i) { return json_array_get(json_object_get(now.news, "news"), i); }

Test(ctl_screen, a_state_and_a_level_have_their_colours)
{
        view.colour = true;
        json_object_set_new(news_at(6), "level", json_string("error"));
        json_object_set_new(news_at(7), "level", json_string("info"));
        cr_expect(says("\n\033[31m07:19:32.055  error "), "%s", text);
        cr_expect(has("\n\033[33m07:19:31.055  warning "), "%s", text);
        cr_expect(has("\n07:19:33.055  info "), "%s", text);
        cr_expect(has("\nmain/default * "), "%s", text);
        json_object_set_new(node_at(2), "state", json_string("UNKNOWN"));
        cr_expect(says("\n\033[33mmain/shadow-1 "), "%s", text);
        json_object_del(node_at(2), "admin");
        cr_expect(says("\n\033[33mmain/shadow-1       UNKNOWN 2h 3m "), "untold is ready: %s", text);
        json_object_set_new(node_at(2), "admin", json_string("maint"));
        cr_expect(says("\n\033[36mmain/shadow-1       UNKNOWN/maint 2~"), "%s", text);
}

Test(ctl_screen, by_state_who_is_down_comes_before_who_is_not_known)
{
        view.sort = CTL_SORT_STATE;
        json_object_set_new(node_at(1), "state", json_string("UNKNOWN"));
        draw(ctl_screen_draw);
        const char *down = strstr(text, "main/shadow-1 "), *unknown = strstr(text, "main/shadow-2 "),
                   *up = strstr(text, "main/default ");
        cr_expect(down && down < unknown && unknown < up, "%s", text);
}

Test(ctl_screen, what_is_too_long_is_cut_and_what_is_no_text_is_a_question_mark)
{
        unsigned longest;
        json_object_set_new(node_at(1), "name", json_string("a-name-of-many-letters"));
        json_object_set_new(node_at(2), "name",
                            json_string("n\xc3\xb6"
                                        "de\x7f"));
        json_object_del(node_at(2), "behind_bytes");
        draw(ctl_screen_draw);
        measure(&longest);
        cr_expect(has("\nmain/a-name-of-ma~  UP/drain "), "%s", text);
        cr_expect(has("\nmain/n??de? "), "%s", text);
        cr_expect(has("          -\n"), "behind: %s", text);
}
