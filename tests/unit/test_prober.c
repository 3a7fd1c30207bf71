/* test_prober.c -- the prober process and its frames; scenario/test_prober.py plays it on real servers. */
#include "daemon/prober.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int core_end = -1;
static pid_t pid;

static void begin(void)
{
        int pair[2];

        cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
        pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
                if (dup2(pair[1], 100) < 0 || dup2(100, PROBER_FD) < 0)
                        _exit(99);
                _exit(prober_main());
        }
        close(pair[1]);
        core_end = pair[0];
}

static void end(void)
{
        if (pid <= 0)
                return;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

static int exit_status(void)
{
        int status;

        cr_assert_eq(waitpid(pid, &status, 0), pid);
        pid = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void give(struct prober_order o) { cr_assert_eq(send(core_end, &o, sizeof o, 0), (ssize_t)sizeof o); }

static void check(uint32_t node, uint64_t number)
{
        give((struct prober_order){.kind = PROBER_CHECK, .node = node, .number = number, .timeout_ms = 5000});
}

static void set(uint32_t node, const char *conninfo)
{
        struct prober_order o = {.kind = PROBER_NODE_SET, .node = node};

        snprintf(o.conninfo, sizeof o.conninfo, "%s", conninfo);
        give(o);
}

static struct prober_result take(void)
{
        struct prober_result r;
        struct pollfd ready = {.fd = core_end, .events = POLLIN};

        cr_assert_eq(poll(&ready, 1, 10000), 1);
        cr_assert_eq(recv(core_end, &r, sizeof r, 0), (ssize_t)sizeof r);
        return r;
}

static void check_fails(uint32_t node, uint64_t number, const char *text)
{
        check(node, number);
        struct prober_result r = take();

        cr_assert_eq(r.kind, (uint32_t)PROBER_FAILED);
        cr_assert_eq(r.node, node);
        cr_assert_eq(r.number, number);
        cr_assert_not_null(strstr(r.text, text), "%s", r.text);
}

TestSuite(prober, .init = begin, .fini = end, .timeout = 30);

Test(prober, each_check_has_its_result_with_its_number)
{
        check_fails(5, 11, "not defined");
        set(5, "host=/nonexistent user=u dbname=d");
        check_fails(5, 12, "No such file");
        set(5, "no connection string at all");
        check_fails(5, 13, "not valid");
        give((struct prober_order){.kind = PROBER_NODE_DROP, .node = 5});
        check_fails(5, 14, "not defined");
        check_fails(PROBER_NODES_MAX - 1, 15, "not defined");
}

Test(prober, it_ends_quietly_when_the_core_is_gone)
{
        check_fails(0, 1, "not defined");
        close(core_end);
        cr_assert_eq(exit_status(), 0);
}

Test(prober, an_order_of_an_unknown_kind_ends_it)
{
        give((struct prober_order){.kind = 4});
        cr_assert_eq(exit_status(), 1);
}

Test(prober, a_node_beyond_the_last_ends_it)
{
        check(PROBER_NODES_MAX, 1);
        cr_assert_eq(exit_status(), 1);
}

Test(prober, an_endless_conninfo_ends_it)
{
        struct prober_order o = {.kind = PROBER_NODE_SET};

        memset(o.conninfo, 'x', sizeof o.conninfo);
        give(o);
        cr_assert_eq(exit_status(), 1);
}

Test(prober, a_frame_of_another_size_ends_it)
{
        char longer[sizeof(struct prober_order) + 1] = "";

        cr_assert_eq(send(core_end, longer, sizeof longer, 0), (ssize_t)sizeof longer);
        cr_assert_eq(exit_status(), 1);
}

/* More results than the socket takes, while it goes on taking orders: of each node the newest comes in the
 * end. */
Test(prober, a_core_that_does_not_read_blocks_nothing_and_gets_the_newest_of_each_node)
{
        uint64_t newest[600] = {0};

        for (uint64_t number = 1; number <= 3000; number++) {
                uint32_t node = (uint32_t)(number % 600);
                check(node, number);
                newest[node] = number;
        }
        for (unsigned left = 600; left > 0;) {
                struct prober_result r = take();
                cr_assert_lt(r.node, 600u);
                if (r.number == newest[r.node])
                        left--;
        }
}
