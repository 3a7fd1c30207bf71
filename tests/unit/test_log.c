/* test_log.c -- what a line looks like, and that nobody ever waits for it. */
#include "daemon/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
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

static void expect_match(const char *pattern, const char *line)
{
        regex_t r;
        cr_assert_eq(regcomp(&r, pattern, REG_EXTENDED | REG_NOSUB), 0);
        cr_expect_eq(regexec(&r, line, 0, NULL, 0), 0, "'%s' is not %s", line, pattern);
        regfree(&r);
}

Test(log, a_file_has_time_and_level_in_words)
{
        char path[] = "/dev/shm/pnr-log-XXXXXX";
        int fd = mkstemp(path), copy = dup(fd);
        cr_assert(fd >= 0 && copy >= 0 && unlink(path) == 0);
        become_stderr(fd);
        log_warning("node %s is late", "shadow-1");
        cr_assert_eq(lseek(copy, 0, SEEK_SET), 0);
        expect_match(
            "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-9:]{8}[.][0-9]{3}Z warning prober: node shadow-1 is late\n$",
            next(copy));
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

/* ---- syslog ---- */

static char syslog_path[64];

/* The host's: a socket with a name. */
static int open_syslog(void)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        snprintf(syslog_path, sizeof syslog_path, "/dev/shm/pnr-syslog-%d", (int)getpid());
        strcpy(at.sun_path, syslog_path);
        unlink(syslog_path);
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
        return fd;
}

static void close_syslog(int fd)
{
        close(fd);
        unlink(syslog_path);
}

Test(log, a_line_to_syslog_is_one_message_as_syslog_3_writes_it)
{
        pipe_as_stderr();
        log_init("pinrouted");
        int fd = open_syslog();
        log_to_syslog(syslog_path);
        log_error("disk %s", "full");
        char want[128];
        snprintf(want, sizeof want,
                 "^<27>[A-Z][a-z]{2} [ 1-3][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} pinrouted\\[%d\\]: disk full$",
                 (int)getpid());
        expect_match(want, next(fd));
        log_debug("unseen");
        log_info("two");
        expect_match("^<30>.*: two$", next(fd));
        close_syslog(fd);
}

Test(log, a_child_of_a_daemon_that_logs_to_syslog_logs_there_and_says_who_it_is)
{
        int fd = open_syslog();
        log_to_syslog(syslog_path);
        log_init("prober"); /* as the child does, with the socket as its stderr */
        log_info("hello");
        expect_match("^<30>.* pinrouted\\[[0-9]+\\]: prober: hello$", next(fd));
        close_syslog(fd);
        fd = open_syslog();
        log_info("it has a new one");
        expect_match(": prober: it has a new one$", next(fd));
        close_syslog(fd);
}

Test(log, a_full_syslog_drops_and_counts_and_nobody_waits, .timeout = 20)
{
        int fd = open_syslog();
        log_to_syslog(syslog_path);
        fill(100);
        close_syslog(fd);
}

Test(log, a_syslog_that_is_not_there_is_told_of_once_and_looked_for_at_each_line)
{
        int was = pipe_as_stderr();
        close_syslog(open_syslog());
        log_to_syslog(syslog_path);
        expect_match("^<4>prober: log_to = syslog: /dev/shm/pnr-syslog-[0-9]+: No such file or directory; ",
                     next(was));
        log_info("lost");
        cr_expect_eq(log_dropped(), 1u);
        int fd = open_syslog();
        log_info("heard");
        expect_match(": prober: heard$", next(fd));
        cr_expect_eq(log_dropped(), 1u);
        close_syslog(fd);
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
