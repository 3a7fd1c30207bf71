/* test_child.c -- the prober process as its parent sees it.  This program, started as the prober, plays one
 * by the script in $PLAY. */
#include <criterion/criterion.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/child.h"
#include "daemon/clock.h"
#include "daemon/log.h"

/* ---- the other side ---- */

static void send_result(const void *bytes, size_t n) { send(PROBER_FD, bytes, n, MSG_NOSIGNAL); }

/* Answers each check with the conninfo that the node was set to. */
static void play(const char *script)
{
        static char conninfo[PROBER_NODES_MAX][PROBER_CONNINFO_MAX];
        struct prober_order o;
        struct pollfd readable = {.fd = PROBER_FD, .events = POLLIN};
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
        while (poll(&readable, 1, -1) == 1 && recv(PROBER_FD, &o, sizeof o, 0) == (ssize_t)sizeof o) {
                struct prober_result r = {.kind = PROBER_ANSWER, .node = o.node, .number = o.number};
                if (o.kind == PROBER_NODE_SET)
                        snprintf(conninfo[o.node], sizeof conninfo[0], "%.1000s%s", o.conninfo,
                                 o.cleartext ? " may say" : "");
                if (o.kind == PROBER_NODE_DROP)
                        strcpy(conninfo[o.node], "dropped");
                if (o.kind != PROBER_CHECK || !strcmp(script, "mute"))
                        continue;
                snprintf(r.text, sizeof r.text, "%.100s", conninfo[o.node]);
                if (!strcmp(script, "die"))
                        _exit(1);
                if (!strcmp(script, "short"))
                        send_result("x", 1);
                else if (!strcmp(script, "long"))
                        send_result(conninfo, sizeof conninfo[0]);
                else if (!strcmp(script, "node"))
                        r.node = PROBER_NODES_MAX;
                else if (!strcmp(script, "text"))
                        memset(r.text, 'x', sizeof r.text);
                else if (!strcmp(script, "fds"))
                        snprintf(r.text, sizeof r.text, "%d", dup(0));
                send_result(&r, sizeof r);
        }
        _exit(0);
}

__attribute__((constructor)) static void be_the_prober(int argc, char **argv)
{
        if (argc == 1 && !strcmp(argv[0], "pinrouted: prober"))
                play(getenv("PLAY"));
}

/* ---- the stage ---- */

static struct event_base *base;
static struct child child;
static struct prober_result newest;
static unsigned results, losses;
static const char *conninfo_of_5 = "host=five";
static bool may_say;
static uint64_t number;

static void on_result(void *arg, const struct prober_result *r)
{
        (void)arg;
        newest = *r;
        results++;
}

static void on_lost(void *arg)
{
        (void)arg;
        losses++;
}

static const char *on_conninfo(void *arg, unsigned node)
{
        (void)arg;
        return node == 5 ? conninfo_of_5 : NULL;
}

static bool on_cleartext(void *arg, unsigned node)
{
        (void)arg, (void)node;
        return may_say;
}

static void open_stage(void)
{
        log_init("test");
        log_set_level(0);
        base = event_base_new();
        struct child_hooks hooks = {
            .result = on_result, .lost = on_lost, .conninfo = on_conninfo, .cleartext = on_cleartext};
        child_init(&child, base, &hooks);
}

static void close_stage(void)
{
        child_fini(&child);
        event_base_free(base);
}

TestSuite(child, .init = open_stage, .fini = close_stage);

static void start(const char *script)
{
        setenv("PLAY", script, 1);
        for (unsigned i = 0; !child.pid; i++) {
                cr_assert_lt(i, 3000, "it is started again");
                child_turn(&child, clock_mono());
                if (!child.pid)
                        poll(NULL, 0, 1);
        }
}

/* Turns the loop until the counter moves. */
static void await(const unsigned *counter)
{
        unsigned before = *counter;
        for (unsigned i = 0; *counter == before; i++) {
                cr_assert_lt(i, 5000, "nothing comes");
                event_base_loop(base, EVLOOP_NONBLOCK);
                if (*counter == before)
                        poll(NULL, 0, 1);
        }
}

static void check(void) { child_check(&child, 5, ++number, 400, clock_mono()); }

Test(child, a_check_is_answered_by_a_process_that_was_told_the_conninfo_first)
{
        start("answer");
        check();
        await(&results);
        cr_expect_eq(newest.number, number);
        cr_expect_eq(newest.node, 5);
        cr_expect_str_eq(newest.text, "host=five");
        cr_expect_eq(child.starts, 1);
        child_check(&child, 6, 99, 400, clock_mono()); /* no such node: nothing is asked */
        check();
        await(&results);
        cr_expect_eq(newest.number, number);
}

Test(child, a_reload_tells_it_anew_and_drops_what_is_gone)
{
        start("answer");
        check();
        await(&results);
        conninfo_of_5 = "host=other";
        child_retell(&child, 5);
        check();
        await(&results);
        cr_expect_str_eq(newest.text, "host=other");
        may_say = true;
        child_retell(&child, 5);
        check();
        await(&results);
        cr_expect_str_eq(newest.text, "host=other may say");
        conninfo_of_5 = NULL;
        child_retell(&child, 5);
        cr_expect_not(child.told[5]);
        child.told[5] = true; /* asks it without telling */
        check();
        await(&results);
        cr_expect_str_eq(newest.text, "dropped");
}

Test(child, a_process_that_dies_is_reported_and_another_started_and_told_all)
{
        start("die");
        check();
        await(&losses);
        cr_expect_eq(child.pid, 0);
        cr_expect_not(child.waiting);
        start("answer");
        cr_expect_eq(child.starts, 2);
        check();
        await(&results);
        cr_expect_str_eq(newest.text, "host=five");
        kill(child.pid, SIGKILL);
        await(&losses);
        cr_expect_eq(losses, 2);
}

Test(child, frames_of_the_wrong_shape_end_it_and_reach_nobody)
{
        const char *const script[] = {"short", "long", "node"};
        for (unsigned i = 0; i < 3; i++) {
                start(script[i]);
                check();
                await(&losses);
                cr_expect_eq(results, 0, "%s", script[i]);
                cr_expect_eq(child.pid, 0);
        }
}

Test(child, a_text_always_ends)
{
        start("text");
        check();
        await(&results);
        cr_expect_eq(strlen(newest.text), sizeof newest.text - 1);
}

Test(child, it_inherits_its_socket_and_nothing_else)
{
        int extra = dup(2), far = fcntl(2, F_DUPFD, 200);
        start("fds");
        check();
        await(&results);
        cr_expect_str_eq(newest.text, "4", "the first free descriptor: %s", newest.text);
        close(extra);
        close(far);
}

Test(child, one_that_hangs_is_given_up_2_s_after_the_longest_timeout)
{
        start("mute");
        struct mono t = clock_mono();
        pid_t pid = child.pid;
        child_check(&child, 5, 1, 400, t);
        child_check(&child, 5, 2, 700, mono_plus(t, 100));
        child_turn(&child, mono_plus(t, 2700));
        cr_expect_eq(child.pid, pid);
        child_turn(&child, mono_plus(t, 2701));
        cr_expect_eq(child.pid, 0);
        cr_expect_eq(losses, 1);
        for (unsigned i = 0; child.n_dying; i++) {
                cr_assert_lt(i, 3000, "it is buried by and by");
                poll(NULL, 0, 1);
                child_turn(&child, t);
        }
        cr_expect(kill(pid, 0) && errno == ESRCH, "it is dead and buried");
}

/* A process that holds `held` as a debugger does; 0: tracing is forbidden here. */
static pid_t tracer_of(pid_t held, int *release)
{
        int ready[2], end[2];
        char byte;
        cr_assert(!pipe2(ready, O_CLOEXEC) && !pipe2(end, O_CLOEXEC));
        pid_t pid = fork();
        if (!pid) {
                close(ready[0]);
                close(end[1]);
                if (ptrace(PTRACE_SEIZE, held, 0, 0) || write(ready[1], "", 1) != 1)
                        _exit(1);
                _exit(read(end[0], &byte, 1) < 0);
        }
        close(ready[1]);
        close(end[0]);
        bool holds = read(ready[0], &byte, 1) == 1;
        close(ready[0]);
        *release = end[1];
        if (!holds)
                waitpid(pid, NULL, 0);
        return holds ? pid : 0;
}

Test(child, one_that_a_tracer_holds_is_replaced_without_waiting_for_it)
{
        int release[CHILD_DYING_MAX];
        pid_t tracer[CHILD_DYING_MAX], held = 0;
        struct mono t = clock_mono();
        setenv("PLAY", "mute", 1);
        alarm(20); /* ends who waits for ever */
        for (unsigned i = 0; i < CHILD_DYING_MAX; i++) {
                child_turn(&child, t);
                cr_assert_neq(child.pid, 0, "start %u", i);
                held = child.pid;
                tracer[i] = tracer_of(held, &release[i]);
                if (!tracer[i])
                        cr_skip("this system allows no tracing");
                child_check(&child, 5, i + 1, 400, t);
                t.ms += 2401;
                child_turn(&child, t);
                cr_assert_eq(child.pid, 0);
                cr_expect_eq(kill(held, 0), 0, "it is still there");
                t.ms += 1000;
        }
        child_turn(&child, t);
        cr_expect_eq(child.pid, 0, "so many that will not die are enough");
        child_fini(&child);
        cr_expect_eq(child.n_dying, CHILD_DYING_MAX, "nor does the end wait");
        for (unsigned i = 0; i < CHILD_DYING_MAX; i++)
                close(release[i]);
        for (unsigned i = 0; i < CHILD_DYING_MAX; i++)
                waitpid(tracer[i], NULL, 0);
        for (unsigned i = 0; !child.pid || child.n_dying; i++) {
                cr_assert_lt(i, 3000, "it goes on when they are gone");
                poll(NULL, 0, 1);
                child_turn(&child, t);
        }
}

Test(child, one_that_answers_or_has_nothing_to_do_does_not_hang)
{
        start("answer");
        struct mono t = clock_mono();
        check();
        await(&results);
        child_turn(&child, mono_plus(t, 3600000));
        cr_expect_neq(child.pid, 0);
        cr_expect_eq(losses, 0);
}

Test(child, pauses_between_starts_grow_to_a_second_and_an_answer_ends_them)
{
        struct mono t = {1000000};
        int64_t want[] = {50, 100, 200, 400, 800, 1000, 1000};
        setenv("PLAY", "mute", 1);
        for (unsigned i = 0; i < sizeof want / sizeof *want; i++) {
                child_turn(&child, t);
                cr_assert_neq(child.pid, 0, "start %u", i);
                child_check(&child, 5, i + 1, 400, t);
                t.ms += 2401;
                child_turn(&child, t);
                cr_assert_eq(child.pid, 0);
                child_turn(&child, mono_plus(t, want[i] - 1));
                cr_assert_eq(child.pid, 0, "pause %u", i);
                t.ms += want[i];
        }
        setenv("PLAY", "answer", 1);
        child_turn(&child, t);
        check();
        await(&results);
        cr_expect_eq(child.restart_pause_ms, 50);
}

Test(child, without_a_process_a_check_is_a_check_without_an_answer)
{
        check();
        cr_expect_not(child.waiting);
        child_retell(&child, 5);
        child_fini(&child);
}

Test(child, a_process_that_reads_nothing_does_not_block_the_parent)
{
        start("mute");
        kill(child.pid, SIGSTOP);
        for (unsigned i = 0; i < 5000; i++)
                check();
        cr_expect(child.waiting);
        cr_expect_neq(child.pid, 0);
}
