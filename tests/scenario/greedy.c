/* greedy.c -- clients that send frames of 64 records as fast as they are taken, and read their answers.
 * greedy DIR CLIENTS MS.  Prints how many keys were recorded; ends with 2 if one that reads its answers was closed.
 * It speaks the wire itself: libpinroute has one frame out at a time, or a few. */
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "proto/wire.h"
#include "tests/scenario/crew.h"

#define CLIENTS_MAX 256

static struct pollfd client[CLIENTS_MAX];

static int call(const char *dir)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        CREW_MUST(snprintf(at.sun_path, sizeof at.sun_path, "%s/pinrouted.sock", dir) <
                  (int)sizeof at.sun_path);
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        CREW_MUST(connect(fd, (void *)&at, sizeof at) == 0);
        return fd;
}

/* As many as the socket takes, each of other keys. */
static void send_frames(int fd)
{
        static uint64_t number;
        struct pnr_records f = {.head = {.magic = PNR_WIRE_MAGIC,
                                         .version = PNR_WIRE_VERSION,
                                         .op = PNR_OP_RECORDS,
                                         .cluster = "main",
                                         .n = PNR_RECORDS_MAX}};
        do {
                f.head.number = ++number;
                for (unsigned i = 0; i < PNR_RECORDS_MAX; i++) {
                        f.key[i][0] = number % 1000 * PNR_RECORDS_MAX + i;
                        f.key[i][1] = ~f.key[i][0];
                }
        } while (send(fd, &f, sizeof f, MSG_NOSIGNAL) == (ssize_t)sizeof f);
        CREW_MUST(errno == EAGAIN);
}

static unsigned read_answers(int fd)
{
        struct pnr_reply r;
        unsigned n = 0;
        for (; recv(fd, &r, sizeof r, 0) == (ssize_t)sizeof r; n++)
                CREW_MUST(r.op == PNR_OP_RECORDS && r.status == PINROUTE_OK);
        CREW_MUST(errno == EAGAIN);
        return n;
}

int main(int argc, char **argv)
{
        uint64_t answers = 0;
        CREW_MUST(argc == 4);
        unsigned n = (unsigned)atoi(argv[2]);
        CREW_MUST(n > 0 && n <= CLIENTS_MAX);
        for (unsigned i = 0; i < n; i++)
                client[i] = (struct pollfd){.fd = call(argv[1]), .events = POLLIN | POLLOUT};
        for (int64_t end_ms = crew_now_ms() + atoi(argv[3]); crew_now_ms() < end_ms;) {
                poll(client, n, 10);
                for (unsigned i = 0; i < n; i++) {
                        if (client[i].revents & POLLIN)
                                answers += read_answers(client[i].fd);
                        if (client[i].revents & POLLOUT)
                                send_frames(client[i].fd);
                }
        }
        printf("recorded=%llu\n", (unsigned long long)answers * PNR_RECORDS_MAX);
        return 0;
}
