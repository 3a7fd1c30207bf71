/* prober_driver.c -- the prober process under a test's hand: started as the core starts it, orders from
 * stdin.
 *
 * Orders, one a line:  set N CONNINFO | trust N CONNINFO | check N TIMEOUT_MS | drop N | hold | go | raw BYTES
 * Output, one a line:  prober PID | ordered NUMBER | KIND node=.. number=.. ... text=.. | gone STATUS
 * `hold` reads no results until `go`, as a stopped core.  `trust` is `set`
 * for a cluster with cleartext_password = allow.  `raw` sends a frame of so many zero bytes. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/prober.h"

static int core_end;
static bool holding;

static double now_ms(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void die(const char *what)
{
        perror(what);
        exit(2);
}

static pid_t start(void)
{
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
                die("socketpair");
        pid_t pid = fork();
        if (pid < 0)
                die("fork");
        if (pid == 0) {
                int null = open("/dev/null", O_RDWR);
                if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
                        die("dup2");
                if (pair[1] == PROBER_FD ? fcntl(PROBER_FD, F_SETFD, 0) < 0 : dup2(pair[1], PROBER_FD) < 0)
                        die("dup2");
                exit(prober_main());
        }
        close(pair[1]);
        core_end = pair[0];
        return pid;
}

static void give(const struct prober_order *o)
{
        if (send(core_end, o, sizeof *o, MSG_NOSIGNAL) < 0 && errno != EPIPE)
                die("send");
}

static void obey(char *line)
{
        static uint64_t number;
        struct prober_order o = {.kind = 0};
        static const char zeros[4096];
        unsigned size;
        int at = 0;

        line[strcspn(line, "\n")] = '\0';
        if ((sscanf(line, "set %" SCNu32 " %n", &o.node, &at) == 1 && at > 0) ||
            (sscanf(line, "trust %" SCNu32 " %n", &o.node, &at) == 1 && at > 0)) {
                o.kind = PROBER_NODE_SET;
                o.cleartext = line[0] == 't';
                snprintf(o.conninfo, sizeof o.conninfo, "%s", line + at);
                give(&o);
        } else if (sscanf(line, "check %" SCNu32 " %" SCNu32, &o.node, &o.timeout_ms) == 2) {
                o.kind = PROBER_CHECK;
                o.number = ++number;
                printf("ordered number=%" PRIu64 " node=%u at=%.3f\n", o.number, o.node, now_ms());
                give(&o);
        } else if (sscanf(line, "drop %" SCNu32, &o.node) == 1) {
                o.kind = PROBER_NODE_DROP;
                give(&o);
        } else if (sscanf(line, "raw %u", &size) == 1 && size <= sizeof zeros) {
                if (send(core_end, zeros, size, MSG_NOSIGNAL) < 0)
                        die("send");
        } else if (strcmp(line, "hold") == 0 || strcmp(line, "go") == 0) {
                holding = line[0] == 'h';
        } else {
                fprintf(stderr, "not an order: %s\n", line);
                exit(2);
        }
}

static void show(const struct prober_result *r)
{
        static const char *const kind[] = {"?", "ANSWER", "FAILED", "BROKEN"};

        printf("%s node=%u number=%" PRIu64 " system=%" PRIu64 " position=%" PRIu64
               " timeline=%u in_recovery=%u connected=%u took_us=%u at=%.3f text=%s\n",
               kind[r->kind <= PROBER_BROKEN ? r->kind : 0], r->node, r->number, r->system_identifier,
               r->position.bytes, r->timeline, r->in_recovery, r->connected, r->took_us, now_ms(), r->text);
}

/* False: the prober has gone. */
static bool take_result(void)
{
        struct prober_result r;
        ssize_t n = recv(core_end, &r, sizeof r, MSG_TRUNC);

        if (n != (ssize_t)sizeof r)
                return false;
        show(&r);
        return true;
}

int main(void)
{
        setvbuf(stdout, NULL, _IOLBF, 0);
        pid_t pid = start();
        printf("prober %d\n", (int)pid);

        char line[2048];
        bool more = true;
        struct pollfd both[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = core_end, .events = POLLIN}};
        setvbuf(stdin, NULL, _IONBF, 0); /* poll() must see each line */
        while (more) {
                both[1].events = holding ? 0 : POLLIN;
                if (poll(both, 2, -1) < 0)
                        die("poll");
                if (!holding && both[1].revents)
                        more = take_result();
                else if (both[1].revents & (POLLHUP | POLLERR))
                        more = false;
                if (both[0].revents && more) {
                        more = fgets(line, sizeof line, stdin) != NULL;
                        if (more)
                                obey(line);
                }
        }
        int status;
        close(core_end);
        if (waitpid(pid, &status, 0) != pid)
                die("waitpid");
        printf("gone %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        return 0;
}
