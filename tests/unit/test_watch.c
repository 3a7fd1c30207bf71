/* test_watch.c -- who watches is told what happens, in order, and never holds anything up. */
#include "tests/unit/core_play.h"
#include "tests/unit/json_check.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <poll.h>
#include <sys/socket.h>

#include "daemon/watch.h"

static struct conns conns;
static struct conn worker = {.pid = 4711};
static struct watch watch;
static struct event_base *base;
static char said[1 << 20];

static void open_watch(void)
{
        core_open();
        core_up();
        base = event_base_new();
        watch = (struct watch){.core = &core};
}

static void close_watch(void)
{
        watch_fini(&watch);
        event_base_free(base);
        core_close();
}

TestSuite(watch, .init = open_watch, .fini = close_watch);

/* Returns the reader's end. */
static int join(const char *cluster, bool pins)
{
        int pair[2];
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        struct bufferevent *b = bufferevent_socket_new(base, pair[0], BEV_OPT_CLOSE_ON_FREE);
        cr_assert(watch_join(&watch, b, cluster, pins));
        return pair[1];
}

static void loop(void)
{
        for (unsigned i = 0; i < 20; i++)
                event_base_loop(base, EVLOOP_NONBLOCK);
}

/* All that the reader is told by now; each line a document. */
static const char *hear(int fd)
{
        size_t n = 0;
        for (ssize_t got = 1; got > 0; n += got > 0 ? (size_t)got : 0) {
                loop();
                got = recv(fd, said + n, sizeof said - 1 - n, MSG_DONTWAIT);
        }
        said[n] = '\0';
        char *copy = strdup(said), *at = copy;
        for (char *line; (line = strsep(&at, "\n")) && *line;)
                cr_expect(json_check(line), "%s", line);
        free(copy);
        return said;
}

static unsigned count(const char *part)
{
        unsigned n = 0;
        for (const char *at = said; (at = strstr(at, part)); at++)
                n++;
        return n;
}

/* A turn with these requests of one worker. */
static void turn(const struct core_item *items, unsigned n)
{
        for (unsigned i = 0; i < n; i++) {
                conns.item[i] = items[i];
                conns.from[i] = &worker;
        }
        conns.n_batch = n;
        core_now.ms += 10;
        core_turn(&core, conns.item, n, core_on_ask, NULL, core_now);
        watch_turn(&watch, &conns, core_now);
        conns.n_batch = 0;
        core_answer();
}

static void turns(unsigned n)
{
        while (n--)
                turn(NULL, 0);
}

static void say(const char *cluster, const char *text)
{
        news_say(LOG_AT_WARNING, &(struct news_about){NEWS_NODE, cluster, "shadow-1", "UP", "DOWN"}, "%s",
                 text);
}

Test(watch, who_comes_hears_the_last_news_first_and_then_what_is_new)
{
        char text[32];
        for (unsigned i = 0; i < 30; i++) {
                snprintf(text, sizeof text, "old %u.", i);
                say("main", text);
                say("other", "elsewhere");
        }
        int fd = join("main", false);
        hear(fd);
        cr_expect_eq(count("\"event\":\"news\""), WATCH_NEWS_AT_ONCE, "%s", said);
        cr_expect_eq(count("old 19."), 0);
        cr_expect(strstr(said, "old 20.") && strstr(said, "old 29.") > strstr(said, "old 20."));
        cr_expect_eq(count("elsewhere"), 0);
        say("other", "elsewhere");
        say("main", "new");
        say(NULL, "of all");
        turns(1);
        hear(fd);
        cr_expect(strstr(said, "\"level\":\"warning\",\"kind\":\"node\",\"cluster\":\"main\",\"node\":"
                               "\"shadow-1\",\"from\":\"UP\",\"to\":\"DOWN\",\"text\":\"new\"}\n"),
                  "%s", said);
        cr_expect_eq(count("\n"), 2, "%s", said);
        turns(3);
        cr_expect_str_empty(hear(fd), "once");
        close(fd);
}

Test(watch, each_pin_is_told_with_its_hash_and_its_worker_and_who_has_it)
{
        int fd = join("", true), of_other = join("other", true), news = join("", false);
        const struct core_item items[] = {
            core_item(PNR_OP_RECORD, "main", 5, 0), core_item(PNR_OP_HOLD, "main", 6, 700),
            core_item_many("main", 8, 3, 999999999), core_item(PNR_OP_RECORD, "nobody", 9, 0)};
        hear(fd), hear(news), hear(of_other);
        turn(items, 4);
        char part[200];
        struct pin pin = core_pin("main", 5);
        snprintf(
            part, sizeof part,
            "\"what\":\"record\",\"cluster\":\"main\",\"key\":\"%012llx%08x\",\"generation\":%llu,\"ms\":"
            "15000,\"pid\":4711}\n",
            (unsigned long long)pnr_slot_shown(pin.place), (unsigned)pin.tag,
            (unsigned long long)pin.generation);
        hear(fd);
        cr_expect(strstr(said, part), "%s in %s", part, said);
        cr_expect(strstr(said, "\"what\":\"hold\"") && strstr(said, "\"ms\":700,"));
        cr_expect_eq(count("\"event\":\"pin\""), 5);
        cr_expect_eq(count("\"ms\":300000,"), 3, "as long as it may be: %s", said);
        turns(30);
        hear(fd);
        cr_expect_eq(count("\"event\":\"released\""), 2, "by each replica: %s", said);
        snprintf(part, sizeof part, "\"node\":\"shadow-2\",\"generation\":%llu}",
                 (unsigned long long)pin.generation);
        cr_expect(strstr(said, part), "%s", said);
        cr_expect_str_empty(hear(of_other));
        cr_expect_str_empty(hear(news));
        close(fd), close(of_other), close(news);
}

Test(watch, a_write_that_became_a_floor_has_no_generation_and_a_token_seen_before_is_none)
{
        core_fill(60000);
        int fd = join("", true);
        struct core_item it = core_item(PNR_OP_TOKEN, "main", 1000, 9000);
        it.request.stamp = core_pin("main", 1000).stamp;
        hear(fd);
        turn(&it, 1);
        cr_expect_eq((hear(fd), count("\"event\":\"pin\"")), 0, "it was pinned for that write: %s", said);
        it = core_item(PNR_OP_RECORD, "main", 99999, 0);
        turn(&it, 1);
        hear(fd);
        cr_expect(strstr(said, "\"generation\":null,\"ms\":15000"), "%s", said);
        close(fd);
}

Test(watch, too_many_pins_are_counted_instead)
{
        int fd = join("", true);
        hear(fd);
        core_now.ms += 1000 - core_now.ms % 1000; /* a second of its own */
        for (unsigned i = 0; i < WATCH_PINS_MAX / 50 + 1; i++) {
                struct core_item it = core_item_many("main", 50 * i, 50, 1000);
                watch.second = core_now.ms / 1000;
                conns.item[0] = it;
                conns.from[0] = &worker;
                core_turn(&core, conns.item, 1, NULL, NULL, core_now);
                watch_item(&watch, &conns.item[0], 1, core_now);
        }
        cr_expect_eq((hear(fd), count("\"event\":\"pin\"")), WATCH_PINS_MAX);
        core_now.ms += 1000;
        watch_turn(&watch, &conns, core_now);
        hear(fd);
        cr_expect(strstr(said, "{\"event\":\"missed\"") && strstr(said, "\"events\":50}"), "%s", said);
        close(fd);
}

Test(watch, who_does_not_read_is_told_how_much_was_missed_and_keeps_no_more_than_its_buffer)
{
        int fd = join("", false);
        char text[NEWS_TEXT_MAX];
        hear(fd);
        memset(text, 'x', sizeof text - 1);
        text[sizeof text - 1] = '\0';
        for (unsigned i = 0; i < 4000; i++) {
                say("main", text);
                watch_turn(&watch, &conns, core_now);
                event_base_loop(base, EVLOOP_NONBLOCK);
        }
        size_t waits = evbuffer_get_length(bufferevent_get_output(watch.who[0].b));
        cr_expect(waits >= WATCH_BUFFER_MAX && waits < WATCH_BUFFER_MAX + 2048, "%zu", waits);
        uint64_t missed = watch.who[0].missed;
        hear(fd);
        unsigned heard = count("\"event\":\"news\"");
        say("main", "the last");
        watch_turn(&watch, &conns, core_now);
        hear(fd);
        char part[64];
        snprintf(part, sizeof part, "\"events\":%llu}", (unsigned long long)missed);
        cr_expect(strstr(said, part) && strstr(said, "the last"), "%s", said);
        cr_expect_gt(missed, 1000);
        cr_expect_eq(missed + heard, 4000, "%llu and %u", (unsigned long long)missed, heard);
        close(fd);
}

Test(watch, who_is_gone_or_talks_is_let_go_and_a_place_is_free_again)
{
        int fd[WATCHERS_MAX];
        for (unsigned i = 0; i < WATCHERS_MAX; i++)
                fd[i] = join("", true);
        int pair[2];
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        struct bufferevent *b = bufferevent_socket_new(base, pair[0], BEV_OPT_CLOSE_ON_FREE);
        cr_expect_not(watch_join(&watch, b, "", true), "no place");
        bufferevent_free(b);
        close(pair[1]);
        close(fd[0]);
        cr_assert_eq(send(fd[1], "x\n", 2, 0), 2);
        loop();
        cr_expect_eq(watch.n, WATCHERS_MAX - 2);
        say("main", "still");
        turns(1);
        for (unsigned i = 2; i < WATCHERS_MAX; i++) {
                cr_expect(strstr(hear(fd[i]), "still"));
                close(fd[i]);
        }
        turns(1);
        loop();
        cr_expect_eq(watch.n, 0);
}

Test(watch, the_last_words_arrive)
{
        int fd = join("", true);
        hear(fd);
        news_say(LOG_AT_INFO, &(struct news_about){.kind = NEWS_DAEMON}, "stopping");
        watch_fini(&watch);
        ssize_t n = recv(fd, said, sizeof said - 1, 0);
        cr_assert_gt(n, 0);
        said[n] = '\0';
        cr_expect(strstr(said, "\"text\":\"stopping\"}\n"));
        loop();
        cr_expect_eq(recv(fd, said, 1, 0), 0, "and then the end");
        close(fd);
}
