/* echo.c -- a server that answers each frame at once, with libevent and SOCK_SEQPACKET as the daemon does.
 * And its client, which blocks in recv(). */
#include "bench/echo.h"

#include <event2/event.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "proto/wire.h"

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
        struct pnr_request q;
        struct pnr_reply r = {.magic = PNR_WIRE_MAGIC};
        (void)what, (void)arg;
        if (recv(fd, &q, sizeof q, MSG_DONTWAIT | MSG_TRUNC) != sizeof q)
                _exit(0);
        r.number = q.number;
        send(fd, &r, sizeof r, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int echo_start(void)
{
        int end[2];
        BENCH_MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, end) == 0);
        if (bench_fork()) {
                close(end[1]);
                return end[0];
        }
        struct event_base *base = event_base_new();
        struct event *readable = event_new(base, end[1], EV_READ | EV_PERSIST, on_readable, NULL);
        BENCH_MUST(event_add(readable, NULL) == 0);
        for (;;)
                event_base_loop(base, EVLOOP_ONCE);
}

bool echo_ask(int fd)
{
        static uint64_t number;
        struct pnr_request q = {.magic = PNR_WIRE_MAGIC, .number = ++number};
        struct pnr_reply r;
        return send(fd, &q, sizeof q, MSG_NOSIGNAL) == sizeof q && recv(fd, &r, sizeof r, 0) == sizeof r &&
               r.number == number;
}
