/* test_news.c -- what has happened is kept in order, and the log says it in the same words. */
#include "daemon/news.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct news_item *newest(void) { return news_at(news_ours(), news_last(news_ours())); }

static void say_numbers(unsigned n)
{
        log_set_level(0);
        for (unsigned i = 0; i < n; i++)
                news_say(LOG_AT_INFO, &(struct news_about){.kind = NEWS_DAEMON}, "item %u", i);
}

Test(news, an_item_says_what_its_line_of_the_log_says)
{
        int ends[2];
        char line[1024];
        cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
        cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
        log_init("pinrouted");
        news_say(LOG_AT_WARNING, &(struct news_about){NEWS_NODE, "main", "shadow-1", "UP", "DOWN"},
                 "%s UP -> DOWN: %s", "shadow-1", "a\tb\033[2J");
        const struct news_item *item = newest();
        ssize_t n = read(ends[0], line, sizeof line - 1);
        cr_assert_gt(n, 0);
        line[n] = '\0';
        cr_expect_str_eq(line, "<4>pinrouted: cluster main: shadow-1 UP -> DOWN: a b\\x1b[2J\n");
        cr_expect_str_eq(item->text, "shadow-1 UP -> DOWN: a b\\x1b[2J");
        cr_expect_str_eq(item->cluster, "main");
        cr_expect_str_eq(item->node, "shadow-1");
        cr_expect_str_eq(item->from, "UP");
        cr_expect_str_eq(item->to, "DOWN");
        cr_expect(item->level == LOG_AT_WARNING && item->kind == NEWS_NODE);
        cr_expect(item->wall_ms > 1700000000000 && item->when.ms > 0);

        news_say(LOG_AT_INFO, &(struct news_about){.kind = NEWS_RELOAD}, "config %s reloaded", "p.ini");
        n = read(ends[0], line, sizeof line - 1);
        line[n > 0 ? n : 0] = '\0';
        cr_expect_str_eq(line, "<6>pinrouted: config p.ini reloaded\n");
        cr_expect_str_empty(newest()->cluster);
        cr_expect_str_empty(newest()->from);
}

Test(news, a_line_that_is_not_logged_is_news_all_the_same)
{
        say_numbers(1);
        cr_expect_eq(news_last(news_ours()), 1);
        cr_expect_str_eq(newest()->text, "item 0");
}

Test(news, the_newest_are_kept_and_each_has_its_number)
{
        struct news *n = news_ours();
        cr_expect_eq(news_last(n), 0);
        cr_expect_null(news_at(n, 0));
        cr_expect_null(news_at(n, 1));
        say_numbers(NEWS_KEPT + 3);
        cr_expect_eq(news_last(n), NEWS_KEPT + 3);
        cr_expect_null(news_at(n, 3));
        cr_expect_null(news_at(n, NEWS_KEPT + 4));
        cr_assert_not_null(news_at(n, 4));
        cr_expect_str_eq(news_at(n, 4)->text, "item 3");
        for (uint64_t i = 4; i <= NEWS_KEPT + 3; i++)
                cr_expect_eq(news_at(n, i)->number, i);
}

Test(news, each_kind_has_a_name_of_its_own)
{
        cr_expect_str_eq(news_kind_name(NEWS_SPLIT_BRAIN), "split_brain");
        for (enum news_kind a = NEWS_DAEMON; a < NEWS_PROBER; a++)
                cr_expect_str_neq(news_kind_name(a), news_kind_name(a + 1));
}
