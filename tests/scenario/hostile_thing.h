/* hostile_thing.h -- what an application may open at the number of the stub's descriptor, and whether it was touched.
 * For hostile_host.c. */
#ifndef HOSTILE_THING_H
#define HOSTILE_THING_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "tests/unit/fake_daemon.h" /* FAKE_MUST, and all that it includes */

static inline bool is_stubs(int fd)
{
        struct sockaddr_un peer = {0};
        socklen_t size = sizeof peer;
        return getpeername(fd, (struct sockaddr *)&peer, &size) == 0 && peer.sun_family == AF_UNIX &&
               strstr(peer.sun_path, "pinrouted.sock");
}

/* The descriptor of a connection to the daemon; -1: there is none. */
static inline int stubs_descriptor(void)
{
        for (int fd = 3; fd < 100; fd++)
                if (is_stubs(fd))
                        return fd;
        return -1;
}

struct thing {
        const char *name;
        int fd, peer; /* peer: what is written to fd arrives here; -1: see its offset or count */
        ino_t ino;
};

static inline void tcp_pair(int pair[2])
{
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof at;
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        FAKE_MUST(bind(listener, (struct sockaddr *)&at, size) == 0 && listen(listener, 1) == 0);
        FAKE_MUST(getsockname(listener, (struct sockaddr *)&at, &size) == 0);
        pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        FAKE_MUST(connect(pair[0], (struct sockaddr *)&at, size) == 0);
        pair[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        close(listener);
}

enum { PIPE, FILE_, STREAM, DATAGRAM, TCP, EVENT, EPOLL, SEQPACKET, KINDS };

static inline struct thing make_thing(int kind, const char *path)
{
        static const char *const names[] = {
            "a pipe",       "a file",     "a stream socket", "a datagram socket",
            "a TCP socket", "an eventfd", "an epoll",        "a socket of our kind"};
        struct stat st;
        int pair[2] = {-1, -1}, swap;
        switch (kind) {
        case PIPE:
                FAKE_MUST(pipe2(pair, O_CLOEXEC) == 0);
                swap = pair[0], pair[0] = pair[1], pair[1] = swap;
                break;
        case FILE_: pair[0] = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600); break;
        case STREAM: FAKE_MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0); break;
        case DATAGRAM: FAKE_MUST(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) == 0); break;
        case TCP: tcp_pair(pair); break;
        case EVENT: pair[0] = eventfd(0, EFD_CLOEXEC); break;
        case EPOLL: pair[0] = epoll_create1(EPOLL_CLOEXEC); break;
        default: FAKE_MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0); break;
        }
        FAKE_MUST(pair[0] >= 0 && fstatat(pair[0], "", &st, AT_EMPTY_PATH) == 0);
        return (struct thing){names[kind], pair[0], pair[1], st.st_ino};
}

/* The number is still the application's thing, and nothing was written to it. */
static inline bool is_untouched(const struct thing *t, int number)
{
        struct stat st;
        struct pollfd p = {.fd = t->peer >= 0 ? t->peer : t->fd, .events = POLLIN};
        if (fstatat(number, "", &st, AT_EMPTY_PATH) != 0 || st.st_ino != t->ino || st.st_size != 0)
                return false;
        bool is_file = S_ISREG(st.st_mode);
        return is_file || poll(&p, 1, 0) == 0;
}

static inline void end_thing(const struct thing *t)
{
        close(t->fd);
        if (t->peer >= 0)
                close(t->peer);
}

#endif
