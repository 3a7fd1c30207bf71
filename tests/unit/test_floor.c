/* test_floor.c -- a floor's beginning and its end are news, once each. */
#include "daemon/floor.h"

#include "cluster_play.h"
#include "daemon/news.h"

static struct play p;

static void two_up(void)
{
        play_init(&p, 2);
        play_up(&p);
}

/* How many items of the floor there are, and whether the newest of them says `word`. */
static unsigned told(const char *word)
{
        const char *last = "";
        unsigned n = 0;
        for (uint64_t i = 1; i <= news_last(news_ours()); i++) {
                const struct news_item *item = news_at(news_ours(), i);
                if (item->kind != NEWS_FLOOR)
                        continue;
                n++;
                last = item->to;
        }
        cr_expect_str_eq(last, word);
        return n;
}

Test(floor, it_is_told_when_raised_and_when_every_replica_has_caught_up, .init = two_up)
{
        floor_raise(&p.c, p.now, 20000, "daemon started");
        cr_expect(floor_stands(&p.c, p.now));
        cr_expect_eq(told("RAISED"), 1);
        play_for(&p, 1000);
        cr_expect_not(floor_stands(&p.c, p.now));
        cr_expect_eq(told("OVER"), 2);
        play_for(&p, 30000);
        cr_expect_eq(told("OVER"), 2, "its deadline is no second end");
}

Test(floor, it_stands_while_one_replica_lacks_it_and_until_its_time_is_up, .init = two_up)
{
        p.server[2].manner = SILENT;
        floor_raise(&p.c, p.now, 600, "test");
        play_for(&p, 400);
        cr_expect(p.c.node[1].caught_up >= p.c.floor_generation, "the other has it");
        cr_expect(floor_stands(&p.c, p.now));
        cr_expect_eq(told("RAISED"), 1);
        play_for(&p, 300);
        cr_expect_eq(told("OVER"), 2);
}

Test(floor, a_hold_and_an_empty_schedule_end_by_their_deadline_only, .init = two_up)
{
        floor_raise(&p.c, p.now, 3000, "test");
        floor_hold_until(&p.c, mono_plus(p.now, 2000));
        play_for(&p, 1900);
        cr_expect(floor_stands(&p.c, p.now));
        play_for(&p, 200);
        cr_expect_not(floor_stands(&p.c, p.now));
        cluster_set_admin(&p.c, 1, NODE_DRAIN, p.now);
        cluster_set_admin(&p.c, 2, NODE_DRAIN, p.now);
        cr_expect(floor_stands(&p.c, p.now), "nobody else may be read from");
        play_for(&p, 1000);
        cr_expect_not(floor_stands(&p.c, p.now));
}

Test(floor, one_that_stands_is_not_told_again_nor_the_same_cause_within_ten_seconds, .init = two_up)
{
        floor_raise(&p.c, p.now, 20000, "full");
        floor_raise(&p.c, p.now, 20000, "full, and a stall");
        cr_expect_eq(told("RAISED"), 1);
        play_for(&p, 1000);
        cr_expect_eq(told("OVER"), 2);
        floor_raise(&p.c, p.now, 20000, "full");
        play_for(&p, 1000);
        cr_expect_eq(told("OVER"), 2);
        floor_raise(&p.c, p.now, 20000, "another cause");
        cr_expect_eq(told("RAISED"), 3);
        play_for(&p, 10000);
        cr_expect_eq(told("OVER"), 4);
        floor_raise(&p.c, p.now, 20000, "another cause");
        cr_expect_eq(told("RAISED"), 5, "10 s later it is news again");
        cr_expect(strstr(news_at(news_ours(), news_last(news_ours()))->text, "(5 since the start)"));
}
