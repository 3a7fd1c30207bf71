/* pump.c -- one process that keeps its connections busy: each has questions on its way at all times.
 * pump DIR CONNECTIONS [again]
 *
 * Says `ready=N` when each has been asked to connect, and `answers=N` when stdin ends.  again: what the
 * daemon closes connects anew at once, and so takes as many places as it can get. */
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "proto/wire.h"
#include "tests/scenario/crew.h"

#define CONNECTIONS_MAX 4096
#define DEPTH           4
#define PAUSE_MS        2

static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int connection[CONNECTIONS_MAX];
static uint64_t answers;

static int dial(void)
{
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        CREW_MUST(fd >= 0);
        if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
                return fd;
        close(fd);
        return -1;
}

static bool ask(int fd)
{
        const struct pnr_request q = {
            .magic = PNR_WIRE_MAGIC, .version = PNR_WIRE_VERSION, .op = PNR_OP_HELLO, .number = 1};
        return send(fd, &q, sizeof q, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof q || errno == EAGAIN;
}

static void deepen(int fd)
{
        for (int i = 1; i < DEPTH; i++)
                ask(fd);
}

/* As many questions as there were answers. */
static bool pump(int fd)
{
        struct pnr_reply r;
        ssize_t n;
        while ((n = recv(fd, &r, sizeof r, MSG_DONTWAIT)) > 0) {
                answers++;
                if (!ask(fd))
                        return false;
        }
        return n < 0 && errno == EAGAIN;
}

static void keep_busy(int *fd, bool again)
{
        if (*fd >= 0 && pump(*fd))
                return;
        if (*fd >= 0)
                close(*fd);
        *fd = again ? dial() : -1;
        if (*fd >= 0)
                deepen(*fd);
}

int main(int argc, char **argv)
{
        struct pollfd end = {.fd = 0, .events = POLLIN};
        CREW_MUST(argc >= 3);
        int n = atoi(argv[2]);
        bool again = argc > 3;
        CREW_MUST(n <= CONNECTIONS_MAX);
        snprintf(address.sun_path, sizeof address.sun_path, "%s/pinrouted.sock", argv[1]);
        for (int i = 0; i < n; i++) {
                CREW_MUST((connection[i] = dial()) >= 0);
                deepen(connection[i]);
        }
        printf("ready=%d\n", n);
        fflush(stdout);
        while (poll(&end, 1, PAUSE_MS) == 0)
                for (int i = 0; i < n; i++)
                        keep_busy(&connection[i], again);
        printf("answers=%llu\n", (unsigned long long)answers);
        return 0;
}
