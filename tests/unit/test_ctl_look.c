/* test_ctl_look.c -- rates lie between two looks at one daemon, and between no others. */
#include "client/ctl_look.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl_told.h"

static struct ctl_row rows[CTL_LOOK_ROWS];

static struct ctl_look look(int64_t at_ms, const char *epoch, int records, int reads, int lag_ms)
{
        json_t *node = json_pack("{ss ss ss si sf}", "name", "shadow-1", "role", "replica", "state", "UP",
                                 "lag_ms", lag_ms, "share", 50.0);
        return (struct ctl_look){
            .answered = true,
            .at_ns = at_ms * 1000000,
            .status =
                json_pack("{ss s[{ss s[o]}]}", "epoch", epoch, "clusters", "name", "main", "nodes", node),
            .stats = json_pack("{s{si si} s[{ss ss ss si}{ss ss ss si}{ss ss ss si}{ss ss ss si}]}", "stats",
                               "records", records, "holds", 2 * records, "decisions", "cluster", "main",
                               "node", "shadow-1", "reason", "BALANCED", "count", reads, "cluster", "main",
                               "node", "shadow-1", "reason", "WRITE", "count", 3 * reads, "cluster", "other",
                               "node", "shadow-1", "reason", "BALANCED", "count", reads, "cluster", "",
                               "node", "", "reason", "STORE_UNAVAILABLE", "count", 7),
        };
}

static double rate(const struct ctl_look *now, const struct ctl_look *before)
{
        return ctl_look_rate(now, before, (const char *const[]){"records", "holds", NULL});
}

Test(ctl_look, a_rate_is_the_difference_per_second)
{
        struct ctl_look a = look(1000, "e", 10, 100, 0), b = look(1500, "e", 20, 300, 0);
        json_t *lags = json_object();
        cr_expect_float_eq(rate(&b, &a), 60.0, 0.001);
        cr_expect_lt(ctl_look_rate(&b, &a, (const char *const[]){"records", "nonsense", NULL}), 0);
        cr_assert_eq(ctl_look_rows(&b, &a, lags, rows), 1);
        cr_expect_float_eq(rows[0].reads_s, 400.0, 0.001, "its own, and reads only");
        cr_expect_float_eq(ctl_look_decisions(&b, &a), 2000.0, 0.001, "of all, writes included");
        cr_expect_str_eq(rows[0].cluster, "main");
        cr_expect_float_eq(rows[0].share, 50.0, 0.001);
        cr_expect_eq(rows[0].behind_bytes, CTL_LOOK_UNKNOWN);
        json_decref(lags);
        ctl_look_free(&a), ctl_look_free(&b);
}

Test(ctl_look, there_is_none_across_a_restart_a_silence_or_no_time)
{
        struct ctl_look a = look(1000, "e", 10, 100, 0), b = look(1500, "another", 20, 300, 0), none = {0};
        struct ctl_look at_once = look(1000, "e", 20, 300, 0);
        json_t *lags = json_object();
        cr_expect_lt(rate(&b, &a), 0);
        cr_expect_lt(rate(&b, NULL), 0);
        cr_expect_lt(rate(&b, &none), 0);
        cr_expect_lt(rate(&none, &a), 0);
        cr_expect_lt(rate(&at_once, &a), 0);
        ctl_look_rows(&b, &a, lags, rows);
        cr_expect_lt(rows[0].reads_s, 0);
        cr_expect_eq(ctl_look_rows(&none, &a, lags, rows), 0);
        json_decref(lags);
        ctl_look_free(&a), ctl_look_free(&b), ctl_look_free(&at_once);
}

Test(ctl_look, counts_that_fall_or_are_only_in_one_of_two_looks_make_no_rate)
{
        struct ctl_look a = look(1000, "e", 30, 300, 0), b = look(2000, "e", 20, 100, 0);
        cr_expect_eq(rate(&b, &a), CTL_LOOK_UNKNOWN);
        cr_expect_eq(ctl_look_decisions(&b, &a), CTL_LOOK_UNKNOWN);
        cr_expect_float_eq(ctl_look_rate(&b, &a, (const char *const[]){NULL}), 0, 0.001);
        ctl_look_free(&b);
        b = look(2000, "e", 1000, 1000, 0);
        json_object_del(json_object_get(b.stats, "stats"), "holds");
        cr_expect_eq(rate(&b, &a), CTL_LOOK_UNKNOWN);
        json_object_set_new(a.stats, "decisions", json_integer(7));
        cr_expect_eq(ctl_look_decisions(&b, &a), CTL_LOOK_UNKNOWN);
        json_object_del(a.stats, "decisions");
        cr_expect_eq(ctl_look_decisions(&b, &a), CTL_LOOK_UNKNOWN);
        ctl_look_free(&a), ctl_look_free(&b);
}

/* A look at clusters "a" and "b" with so many nodes each, between them one without any. */
static struct ctl_look wide(int nodes)
{
        json_t *clusters = json_array();
        for (int c = 0; c < 3; c++) {
                json_t *all = json_array();
                for (int i = 0; c != 1 && i < nodes; i++)
                        json_array_append_new(all, json_pack("{ss}", "name", "n"));
                json_array_append_new(clusters, json_pack("{ss so}", "name", c ? "b" : "a", "nodes", all));
        }
        return (struct ctl_look){.answered = true, .status = json_pack("{so}", "clusters", clusters)};
}

Test(ctl_look, nodes_of_all_clusters_are_rows_in_the_daemon_s_order_while_there_is_room)
{
        struct ctl_look few = wide(2), many = wide(CTL_LOOK_ROWS - 1);
        cr_assert_eq(ctl_look_rows(&few, NULL, NULL, rows), 4);
        for (unsigned i = 0; i < 4; i++) {
                cr_expect_str_eq(rows[i].cluster, i < 2 ? "a" : "b");
                cr_expect_eq(rows[i].at, i);
        }
        cr_assert_eq(ctl_look_rows(&many, NULL, NULL, rows), CTL_LOOK_ROWS);
        cr_expect_str_eq(rows[CTL_LOOK_ROWS - 1].cluster, "b");
        ctl_look_free(&few), ctl_look_free(&many);
}

Test(ctl_look, the_greatest_lag_is_of_the_last_sixty_looks)
{
        json_t *lags = json_object();
        for (int i = 0; i <= CTL_LOOK_LAGS; i++) {
                struct ctl_look a = look(1000 * i, "e", 0, 0, i == 0 ? 9000 : i == 30 ? 70 : 5);
                ctl_look_remember(&a, lags);
                cr_assert_eq(ctl_look_rows(&a, NULL, lags, rows), 1);
                cr_expect_eq(rows[0].lag_most_ms, i < CTL_LOOK_LAGS ? 9000 : 70, "look %d", i);
                ctl_look_free(&a);
        }
        json_decref(lags);
}

Test(ctl_look, who_does_not_answer_is_told_quietly)
{
        struct ctl ctl = {.dir = "/nonexistent"};
        struct ctl_look a;
        ctl_look_take(&a, &ctl, 100);
        cr_expect_not(a.answered);
        cr_expect(strstr(a.why, "/nonexistent/ctl.sock: No such file or directory; start pinrouted"), "%s",
                  a.why);
        cr_expect_str_empty(told);
        ctl_look_free(&a);
}

/* A daemon in DIR that takes `n` questions, each of which has to be the next of these.  Its exit status: were they? */
static pid_t daemon_in(const char *dir, const char *const (*talk)[2], unsigned n)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        snprintf(at.sun_path, sizeof at.sun_path, "%s/ctl.sock", dir);
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert(!bind(listener, (struct sockaddr *)&at, sizeof at) && !listen(listener, 4));
        pid_t pid = fork();
        if (pid) {
                close(listener);
                return pid;
        }
        bool right = true;
        alarm(10); /* for questions that never come */
        for (unsigned i = 0; i < n; i++) {
                char line[256];
                int fd = accept(listener, NULL, NULL);
                ssize_t got = read(fd, line, sizeof line);
                size_t len = strlen(talk[i][1]);
                right &= got == (ssize_t)strlen(talk[i][0]) && !memcmp(line, talk[i][0], (size_t)got);
                right &= write(fd, talk[i][1], len) == (ssize_t)len;
                close(fd);
        }
        unlink(at.sun_path);
        _exit(right ? 0 : 1);
}

Test(ctl_look, a_daemon_that_answers_is_asked_for_all_and_may_leave_out_what_it_does_not_know)
{
        static const char *const talk[][2] = {{"status\n", "{\"ok\":true,\"pins\":3}"},
                                              {"show stats\n", "{\"ok\":false,\"error\":\"unknown\"}"},
                                              {"show news\n", "{\"ok\":true,\"news\":[]}"}};
        char dir[] = "/tmp/pinroute-look-XXXXXX";
        struct ctl ctl = {.dir = dir};
        struct ctl_look a;
        int status = -1;
        cr_assert(mkdtemp(dir));
        pid_t pid = daemon_in(dir, talk, 3);
        ctl_look_take(&a, &ctl, 5000);
        cr_expect(a.answered, "%s", a.why);
        cr_expect_eq(ctl_look_number(a.status, "pins"), 3);
        cr_expect_null(a.stats);
        cr_expect(json_is_array(json_object_get(a.news, "news")));
        cr_expect_str_empty(told);
        cr_expect(waitpid(pid, &status, 0) == pid && status == 0, "status, show stats, show news");
        ctl_look_free(&a);
        rmdir(dir);
}
