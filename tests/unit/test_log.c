/* test_log.c -- what a line looks like, and that nobody ever waits for it. */
#include "daemon/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void become_stderr(int fd)
{
        cr_assert_eq(dup2(fd, STDERR_FILENO), STDERR_FILENO);
        close(fd);
        log_init("prober");
}

static int pipe_as_stderr(void)
{
        int ends[2];

        cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
        become_stderr(ends[1]);
        return ends[0];
}

static const char *next(int fd)
{
        static char line[4096];
        ssize_t n = read(fd, line, sizeof line - 1);

        cr_assert_gt(n, 0);
        line[n] = '\0';
        return line;
}

Test(log, a_line_has_its_level_for_journald_and_says_who)
{
        int fd = pipe_as_stderr();

        log_info("node %s is %d", "shadow-1", 3);
        cr_assert_str_eq(next(fd), "<6>prober: node shadow-1 is 3\n");
        log_error("e");
        cr_assert_str_eq(next(fd), "<3>prober: e\n");
        log_warning("w");
        cr_assert_str_eq(next(fd), "<4>prober: w\n");
}

Test(log, a_person_at_a_terminal_sees_no_level)
{
        int master, slave;

        if (openpty(&master, &slave, NULL, NULL, NULL) != 0)
                cr_skip_test("no pseudo-terminals here: a bare chroot has none");
        become_stderr(slave);
        log_info("hello");
        cr_assert_str_eq(next(master), "prober: hello\r\n");
}

Test(log, the_level_decides)
{
        int fd = pipe_as_stderr();

        log_debug("unseen");
        log_info("seen");
        cr_assert_str_eq(next(fd), "<6>prober: seen\n");
        log_set_level(LOG_AT_DEBUG);
        log_debug("now");
        cr_assert_str_eq(next(fd), "<7>prober: now\n");
        log_set_level(LOG_AT_ERROR);
        log_warning("unseen");
        log_error("last");
        cr_assert_str_eq(next(fd), "<3>prober: last\n");
        cr_assert_eq(log_dropped(), 0u);
}

Test(log, control_characters_do_not_make_a_second_line)
{
        int fd = pipe_as_stderr();

        log_info("a\n<0>kernel: %s", "\x1b[2J");
        cr_assert_str_eq(next(fd), "<6>prober: a <0>kernel: \\x1b[2J\n");
}

Test(log, a_long_line_is_cut)
{
        int fd = pipe_as_stderr();
        char text[3000];

        memset(text, 'x', sizeof text);
        text[sizeof text - 1] = '\0';
        log_info("%s", text);
        cr_assert_eq(strlen(next(fd)), strlen("<6>prober: \n") + 1000);
}

/* Logs until `times` lines are dropped: it would hang here if a line ever waited. */
static void fill(uint64_t times)
{
        uint64_t before = log_dropped();

        for (int i = 0; i < 1000000 && log_dropped() < before + times; i++)
                log_info("line %d of many that nobody reads", i);
        cr_assert_geq(log_dropped(), before + times);
}

Test(log, a_full_pipe_drops_and_counts_and_serves_again, .timeout = 20)
{
        int fd = pipe_as_stderr();

        fill(100);
        cr_assert_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0,
                     "the pipe's other users keep their blocking end");
        uint64_t dropped = log_dropped();
        cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
        char waste[65536];
        while (read(fd, waste, sizeof waste) > 0)
                ;
        cr_assert_eq(errno, EAGAIN);
        log_info("again");
        cr_assert_str_eq(next(fd), "<6>prober: again\n");
        cr_assert_eq(log_dropped(), dropped);
}

Test(log, a_full_socket_drops_and_counts, .timeout = 20)
{
        int ends[2];

        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        become_stderr(ends[1]);
        log_info("first");
        cr_assert_str_eq(next(ends[0]), "<6>prober: first\n");
        fill(100);
}

Test(log, a_closed_socket_drops_and_no_signal_comes)
{
        int ends[2];

        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
        become_stderr(ends[1]);
        close(ends[0]);
        log_info("to nobody");
        cr_assert_eq(log_dropped(), 1u);
}

Test(log, errno_is_left_alone)
{
        int fd = pipe_as_stderr();

        errno = ENOTTY;
        log_info("line");
        cr_assert_eq(errno, ENOTTY);
        (void)next(fd);
}

Test(log, a_broken_invariant_is_a_bug_of_ours_and_ends_the_process, .signal = SIGABRT)
{
        (void)pipe_as_stderr();
        MUST(1 + 1 == 3);
}
