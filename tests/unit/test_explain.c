/* test_explain.c -- a generation's way to its release: open, closed, asked, fenced; and each node's place before it. */
#include "daemon/explain.h"

#include <event2/buffer.h>

#include "cluster_play.h"
#include "json_check.h"

static struct play p;
static char said[8192];

static void two_up(void)
{
        play_init(&p, 2);
        play_up(&p);
}

static const char *ask(uint64_t generation)
{
        struct evbuffer *out = evbuffer_new();
        struct json j = {.out = out};
        json_open(&j, NULL, '{');
        explain(&p.c, generation, p.now, &j);
        json_close(&j, '}');
        int n = evbuffer_remove(out, said, sizeof said - 1);
        cr_assert_gt(n, 0);
        said[n] = '\0';
        evbuffer_free(out);
        cr_assert(json_check(said), "%s", said);
        return said;
}

static void expect(uint64_t generation, const char *part)
{
        cr_expect(strstr(ask(generation), part), "%s in %s", part, said);
}

Test(explain, a_generation_is_open_then_closed_asked_and_fenced, .init = two_up)
{
        play_for(&p, 1000);
        uint64_t g = play_write(&p);
        expect(g, "\"fence\":{\"state\":\"open\",\"position\":null}");
        fence_open_next(&p.c.fence);
        expect(g, "\"fence\":{\"state\":\"closed\",\"position\":null}");
        fence_close(&p.c.fence);
        expect(g, "\"fence\":{\"state\":\"asked\",\"position\":null}");
        fence_answer(&p.c.fence, (struct lsn){0x5000005A4000});
        expect(g, "\"fence\":{\"state\":\"fenced\",\"position\":\"5000/5A4000\"}");
        p.c.conf.early_release = 0;
        expect(g, "\"fence\":{\"state\":\"off\",\"position\":null}");
        expect(0, "\"fence\":{\"state\":null,\"position\":null}");
}

Test(explain, the_gap_is_what_a_replica_has_to_replay_and_unknown_on_another_history, .init = two_up)
{
        uint64_t g = play_write(&p);
        p.server[2].position = p.server[0].position;
        play_for(&p, 300);
        expect(g, "\"name\":\"shadow-1\",\"role\":\"replica\",\"state\":\"UP\",\"admin\":\"ready\"");
        cr_expect(strstr(said, "\"position\":\"0/3E8\",\"gap_bytes\":10}"), "%s", said);
        cr_expect(strstr(said, "\"position\":\"0/3F2\",\"gap_bytes\":0}]"), "%s", said);
        p.c.node[1].facts.last_timeline = 2;
        expect(g, "\"position\":\"0/3E8\",\"gap_bytes\":null}");
        expect(0, "\"position\":\"0/3F2\",\"gap_bytes\":null}]");
        p.server[1].manner = REFUSES;
        play_for(&p, 3000);
        expect(g, "\"state\":\"DOWN\",\"admin\":\"ready\",\"why\":\"connection refused\"");
        cr_expect(strstr(said, "\"scheduled\":false"), "%s", said);
}
