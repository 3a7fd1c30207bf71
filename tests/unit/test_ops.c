/* test_ops.c -- what an operator asks and orders, and who is one. */
#include "tests/unit/core_play.h"
#include "tests/unit/json_check.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <grp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "daemon/ops.h"

#define KEY "00000000000000070000000000000008"

static struct conns conns;
static struct ops ops;
static char said[65536];
static bool reload_works;

static bool on_reload(void *arg, ops_say_fn *say, void *say_arg)
{
        (void)arg;
        if (!reload_works)
                say(say_arg, "conf:3: unknown \"key\"");
        return reload_works;
}

static void open_ops(void)
{
        core_open();
        TAILQ_INIT(&conns.by_use);
        ops = (struct ops){.core = &core, .conns = &conns, .operators = (gid_t)-1, .reload = on_reload};
}

TestSuite(ops, .init = open_ops, .fini = core_close);

static const char *run(const char *line)
{
        struct evbuffer *out = evbuffer_new();
        ops_run(&ops, line, out);
        size_t n = evbuffer_get_length(out);
        cr_assert_lt(n, sizeof said);
        evbuffer_remove(out, said, n);
        said[n] = '\0';
        evbuffer_free(out);
        cr_assert(json_check(said), "%s: %s", line, said);
        return said;
}

static bool says(const char *part) { return strstr(said, part) != NULL; }

static void expect_refused(const char *line, const char *code)
{
        char part[64];
        snprintf(part, sizeof part, "\"code\":\"%s\"", code);
        run(line);
        cr_expect(says("{\"ok\":false,") && says(part), "%s: %s", line, said);
}

static uint64_t number_of(const char *name)
{
        char part[64];
        snprintf(part, sizeof part, "\"%s\":", name);
        const char *at = strstr(said, part);
        cr_assert_not_null(at, "%s in %s", name, said);
        return strtoull(at + strlen(part), NULL, 10);
}

Test(ops, what_is_no_request_is_refused)
{
        static char longest[5000];
        const char *const bad[] = {"",
                                   "   ",
                                   "nonsense",
                                   "STATUS",
                                   "status now",
                                   "show",
                                   "show everything",
                                   "show nodes pins",
                                   "drain main",
                                   "pin main " KEY,
                                   "pin main " KEY " 1 2",
                                   "release main " KEY " 1",
                                   "a b c d e f g h i",
                                   "status%",
                                   "status%4",
                                   "status%zz",
                                   "drain main%00 shadow-1",
                                   "drain ma%0 shadow-1",
                                   "status\n",
                                   "{\"ok\":true}"};
        for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
                expect_refused(bad[i], "E_INVALID");
        for (size_t n = 2040; n <= 2056; n++) {
                memset(longest, 'x', n);
                longest[n] = '\0';
                expect_refused(longest, "E_INVALID");
        }
        memset(longest, ' ', sizeof longest - 1);
        memcpy(longest, "status", 6);
        expect_refused(longest, "E_INVALID");
}

Test(ops, words_are_decoded_and_what_they_say_is_shown_escaped)
{
        run("drain m%61in shado%77%2d1");
        cr_expect(says("\"ok\":true") && says("\"node\":\"shadow-1\""), "%s", said);
        expect_refused("drain a%22b%0a%20c shadow-1", "E_CLUSTER");
        cr_expect(says("no cluster named a\\\"b\\u000a c;"), "%s", said);
        expect_refused("drain %25%73%6e shadow-1", "E_CLUSTER");
        cr_expect(says("no cluster named %sn;"), "%s", said);
}

Test(ops, everything_can_be_shown)
{
        const char *const lines[] = {"status",     "show nodes", "show pins", "show clients",  "show config",
                                     "show stats", "show news",  "metrics",   "explain main 0"};
        for (unsigned i = 0; i < 9; i++) {
                run(lines[i]);
                cr_expect(says("{\"ok\":true,"), "%s: %s", lines[i], said);
        }
}

Test(ops, a_pin_is_made_seen_and_released_only_as_it_was_seen)
{
        cr_expect(run("peek main " KEY) && says("\"pin\":null"), "%s", said);
        run("pin main " KEY " 20");
        cr_expect(says("\"ok\":true") && says("\"left_ms\":20000"), "%s", said);
        run("peek main " KEY);
        char old[200], release[200];
        snprintf(old, sizeof old, "release main " KEY " %lu %lu", (unsigned long)number_of("generation"),
                 (unsigned long)number_of("until_ms"));
        run("peek other " KEY);
        cr_expect(says("\"pin\":null"), "another cluster's key is another key");
        run("pin main " KEY " 40");
        cr_expect(run(old) && says("\"released\":false"), "a newer write came in between");
        run("pin main " KEY " 1");
        run("peek main " KEY);
        cr_expect_gt(number_of("left_ms"), 39000);
        snprintf(release, sizeof release, "release main " KEY " %lu %lu",
                 (unsigned long)number_of("generation"), (unsigned long)number_of("until_ms"));
        run("pin main " KEY " 1"); /* changes no deadline: its generation tells it apart */
        cr_expect(run(release) && says("\"released\":false"), "%s", said);
        run("peek main " KEY);
        snprintf(release, sizeof release, "release main " KEY " %lu %lu",
                 (unsigned long)number_of("generation"), (unsigned long)number_of("until_ms"));
        cr_expect(run(release) && says("\"released\":true"), "%s", said);
        cr_expect(run("peek main " KEY) && says("\"pin\":null"), "%s", said);
        cr_expect(run(release) && says("\"released\":false"), "%s", said);
}

Test(ops, a_pin_s_length_is_the_cluster_s_within_its_bounds)
{
        run("pin main " KEY " 0");
        cr_expect(says("\"left_ms\":15000,\"cut\":false"), "%s", said);
        run("pin main " KEY " 86400");
        cr_expect(says("\"left_ms\":300000,\"cut\":true"), "%s", said);
        const char *const bad[] = {"86401", "-1", "x", "1x", "+1", "99999999999999999999", "%20", "0x10"};
        char line[100];
        for (unsigned i = 0; i < 8; i++) {
                snprintf(line, sizeof line, "pin main " KEY " %s", bad[i]);
                expect_refused(line, "E_INVALID");
        }
        expect_refused("pin main 123 5", "E_INVALID");
        expect_refused("pin main 0000000000000007000000000000000G 5", "E_INVALID");
        expect_refused("peek main 000000000000000700000000000000080", "E_INVALID");
        expect_refused("release main " KEY " 1 x", "E_INVALID");
        expect_refused("release main " KEY " 18446744073709551616 1", "E_INVALID");
        expect_refused("explain main 9223372036854775808", "E_INVALID");
        expect_refused("explain nobody 1", "E_CLUSTER");
        expect_refused("pin nobody " KEY " 5", "E_CLUSTER");
}

Test(ops, nodes_are_drained_and_made_ready_and_the_store_knows)
{
        struct cluster *c = core.cluster[0];
        const struct {
                const char *line;
                enum node_admin admin;
        } t[] = {{"drain main shadow-1", NODE_DRAIN},
                 {"maint main shadow-1", NODE_MAINT},
                 {"ready main shadow-1", NODE_READY}};
        for (unsigned i = 0; i < 3; i++) {
                cr_expect(run(t[i].line) && says("\"ok\":true"), "%s", said);
                cr_expect_eq(c->node[1].admin, t[i].admin);
                cr_expect_not(core.admin_dirty, "committed at once");
        }
        run("drain main shadow-2");
        core_fini(&core);
        core_now = clock_mono(); /* operators are answered by the clock */
        core_start();
        cr_expect_eq(core.cluster[0]->node[2].admin, NODE_DRAIN);
        expect_refused("drain main default", "E_NODE");
        cr_expect(says("make another node the primary first (role=primary in the config)"), "%s", said);
        expect_refused("maint main default", "E_NODE");
        cr_expect(run("ready main default") && says("\"ok\":true"), "what can only help is not refused");
        expect_refused("drain main nobody", "E_NODE");
        expect_refused("drain nobody shadow-1", "E_CLUSTER");
}

Test(ops, taking_the_last_replica_out_is_done_and_warned_of)
{
        core_up();
        run("drain main shadow-1");
        cr_expect_not(says("warning"), "%s", said);
        run("maint main shadow-2");
        cr_expect(says("\"admin\":\"maint\",\"warning\":\"no replica is read from now: all its reads go to "
                       "the primary\"}"),
                  "%s", said);
        core.cluster[0]->node[2].state = NODE_DOWN;
        cr_expect(run("ready main shadow-2") && !says("warning"), "who gives back is not warned: %s", said);
}

Test(ops, a_reload_says_what_was_wrong)
{
        run("reload");
        cr_expect(
            says("\"messages\":[\"conf:3: unknown \\\"key\\\"\"],\"reloaded\":false,\"ok\":false,\"error\":"
                 "\"not reloaded: the configuration in force stays\",\"code\":\"E_CONFIG\""),
            "%s", said);
        reload_works = true;
        run("reload");
        cr_expect(says("\"messages\":[],\"reloaded\":true,\"ok\":true}"), "%s", said);
}

Test(ops, without_a_store_it_is_said_and_what_needs_none_works)
{
        struct store *store = core.store;
        core.store = NULL;
        const char *const lines[] = {"show pins", "pin main " KEY " 1", "peek main " KEY,
                                     "release main " KEY " 1 1"};
        for (unsigned i = 0; i < 4; i++)
                expect_refused(lines[i], "E_STORE");
        cr_expect(run("drain main shadow-1") && says("\"ok\":true"), "%s", said);
        cr_expect(run("status") && says("writes are not being acknowledged"), "%s", said);
        core.store = store;
}

/* ---- who is one, and the line ---- */

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_size;
static struct event_base *base;

static int listening(void)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int n = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "pnr-ops-%d", (int)getpid());
        address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
        cr_assert_eq(bind(fd, (struct sockaddr *)&address, address_size), 0);
        cr_assert_eq(listen(fd, 64), 0);
        base = ops.base = event_base_new();
        cr_assert(ops_init(&ops, fd));
        return fd;
}

static void serve_until(const unsigned *n, unsigned want)
{
        for (unsigned i = 0; *n != want; i++) {
                cr_assert_lt(i, 4000, "%u connections, not %u", *n, want);
                event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
                if (*n != want)
                        poll(NULL, 0, 1);
        }
}

static int caller(void)
{
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        cr_assert_eq(connect(fd, (struct sockaddr *)&address, address_size), 0);
        serve_until(&ops.n, 1);
        return fd;
}

/* What the daemon says to this until it hangs up. */
static void converse(const char *bytes, size_t n)
{
        int fd = caller();
        send(fd, bytes, n, MSG_NOSIGNAL);
        serve_until(&ops.n, 0);
        ssize_t got = recv(fd, said, sizeof said - 1, MSG_WAITALL);
        said[got > 0 ? got : 0] = '\0';
        close(fd);
}

Test(ops, a_line_gets_its_answer_and_then_the_end)
{
        int listener = listening();
        converse("show clients\n", 13);
        cr_expect_str_eq(said, "{\"ok\":true,\"clients\":[]}");
        converse("show clients\nreload\n", 20);
        cr_expect_str_eq(said, "{\"ok\":true,\"clients\":[]}", "one line, one answer");
        static char flood[100000];
        memset(flood, 'x', sizeof flood);
        converse(flood, sizeof flood);
        cr_expect(json_check(said) && says("E_INVALID"), "a line without an end: %s", said);
        int fd = caller();
        send(fd, "show cli", 8, 0);
        for (unsigned i = 0; i < 20; i++)
                event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        cr_expect_eq(ops.n, 1, "the rest is to come");
        send(fd, "ents\n", 5, 0);
        serve_until(&ops.n, 0);
        close(fd);
        close(caller());
        serve_until(&ops.n, 0);
        ops_fini(&ops);
        event_base_free(base);
        close(listener);
}

Test(ops, who_watches_stays_and_is_no_longer_a_caller)
{
        static struct watch watch;
        int listener = listening();
        expect_refused("watch * pins", "E_BUSY");
        watch.core = &core;
        ops.watch = &watch;
        expect_refused("watch * everything", "E_INVALID");
        expect_refused("watch nobody pins", "E_CLUSTER");
        expect_refused("watch * pins", "E_BUSY"); /* not from a connection */
        int fd = caller();
        send(fd, "watch main pins\n", 16, 0);
        serve_until(&ops.n, 0);
        for (unsigned i = 0; i < 20; i++)
                event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        cr_expect_eq(watch.n, 1);
        ssize_t got = recv(fd, said, sizeof said - 1, 0);
        said[got > 0 ? got : 0] = '\0';
        cr_expect(says("{\"ok\":true,\"version\":") && says("\"epoch\":\"") && says("}\n{\"event\":\"news\""),
                  "%s", said);
        close(fd);
        serve_until(&watch.n, 0);
        ops_fini(&ops);
        event_base_free(base);
        close(listener);
}

Test(ops, without_a_descriptor_an_operator_waits_and_the_loop_does_not_spin)
{
        struct rlimit was, low;
        int listener = listening(), fd = socket(AF_UNIX, SOCK_STREAM, 0), next = dup(fd);
        close(next);
        getrlimit(RLIMIT_NOFILE, &was);
        low = (struct rlimit){(rlim_t)next, was.rlim_max};
        setrlimit(RLIMIT_NOFILE, &low);
        cr_assert_eq(connect(fd, (struct sockaddr *)&address, address_size), 0);
        event_base_loop(base, EVLOOP_ONCE);
        cr_expect_eq(ops.n, 0);
        cr_expect_not(event_pending(ops.acceptable, EV_READ, NULL), "the listener rests");
        setrlimit(RLIMIT_NOFILE, &was);
        serve_until(&ops.n, 1);
        close(fd);
        serve_until(&ops.n, 0);
        ops_fini(&ops);
        event_base_free(base);
        close(listener);
}

/* Is a process with these ids admitted?  As root only. */
static bool admitted(uid_t uid, gid_t gid, gid_t supplementary, gid_t operators)
{
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        int n = snprintf(at.sun_path + 1, sizeof at.sun_path - 1, "pnr-who-%d", (int)getpid());
        socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
        cr_assert(!bind(fd, (struct sockaddr *)&at, size) && !listen(fd, 1));
        pid_t pid = fork();
        if (!pid) {
                int own = socket(AF_UNIX, SOCK_STREAM, 0);
                bool ok = !setgroups(1, &supplementary) && !setgid(gid) && !setuid(uid) &&
                          !connect(own, (struct sockaddr *)&at, size);
                char byte;
                _exit(ok && read(own, &byte, 1) >= 0 ? 0 : 1);
        }
        int peer = accept(fd, NULL, NULL), status;
        bool yes = ops_admits(peer, operators);
        close(peer);
        close(fd);
        waitpid(pid, &status, 0);
        cr_assert_eq(status, 0);
        return yes;
}

Test(ops, operators_are_root_the_daemon_s_user_and_members_of_the_group)
{
        int pair[2];
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        cr_expect(ops_admits(pair[0], (gid_t)-1), "the daemon's own user");
        close(pair[0]);
        close(pair[1]);
        int file = dup(2), pipe_fds[2];
        cr_assert_eq(pipe(pipe_fds), 0);
        cr_expect_not(ops_admits(pipe_fds[0], 4343), "no socket");
        cr_expect_not(ops_admits(-1, 4343));
        close(file);
        if (geteuid() != 0)
                cr_skip("only root can be somebody else");
        cr_expect_not(admitted(12345, 12345, 12345, (gid_t)-1));
        cr_expect_not(admitted(12345, 12345, 12345, 4343));
        cr_expect(admitted(12345, 4343, 12345, 4343), "by its group");
        cr_expect(admitted(12345, 12345, 4343, 4343), "by a supplementary group");
        cr_expect(admitted(0, 12345, 12345, (gid_t)-1), "root");
        cr_expect_not(admitted(12345, 0, 0, (gid_t)-1), "root's group is not root");
}
