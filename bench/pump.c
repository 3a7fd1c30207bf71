/* pump.c -- pins that arrive at a daemon: frames of its protocol, without libpinroute's waits and breakers.
 * Not measured itself, so that what it costs is as little as can be. */
#include "bench/pump.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/bench.h"
#include "client/clock.h"
#include "proto/key.h"
#include "proto/wire.h"

#define STEP_US 250

void pump_open(struct pump *p, const char *dir)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        snprintf(at.sun_path, sizeof at.sun_path, "%s/pinrouted.sock", dir);
        p->slowest_ns = 0;
        for (unsigned i = 0; i < PUMP_WORKERS; i++) {
                p->fd[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
                BENCH_MUST(p->fd[i] >= 0 && connect(p->fd[i], (struct sockaddr *)&at, sizeof at) == 0);
        }
}

static void send_one(int fd, uint64_t number, uint32_t ms)
{
        struct bench_key k = bench_key(number);
        struct pnr_key key = pnr_key_of(&k, sizeof k);
        struct pnr_request q = {.magic = PNR_WIRE_MAGIC,
                                .version = PNR_WIRE_VERSION,
                                .op = PNR_OP_RECORD,
                                .number = number + 1,
                                .cluster = "main",
                                .key = {key.w[0], key.w[1]},
                                .ms = ms};
        BENCH_MUST(send(fd, &q, sizeof q, MSG_NOSIGNAL) == sizeof q);
}

void pump_record(struct pump *p, uint64_t first, unsigned n, uint32_t ms)
{
        int64_t from = clock_ns();
        for (unsigned i = 0; i < n; i++)
                send_one(p->fd[i], first + i, ms);
        for (unsigned i = 0; i < n; i++) {
                struct pnr_reply r;
                BENCH_MUST(recv(p->fd[i], &r, sizeof r, 0) == sizeof r && r.status == 0);
        }
        int64_t took = clock_ns() - from;
        p->slowest_ns = took > p->slowest_ns ? took : p->slowest_ns;
}

unsigned pace_next(struct pace *p)
{
        uint64_t due = p->done + PUMP_WORKERS;
        if (!p->from_ns)
                p->from_ns = clock_ns();
        while (p->per_second) {
                due = (uint64_t)((double)(clock_ns() - p->from_ns) * 1e-9 * (double)p->per_second);
                if (due > p->done)
                        break;
                usleep(STEP_US);
        }
        unsigned n = due - p->done < PUMP_WORKERS ? (unsigned)(due - p->done) : PUMP_WORKERS;
        p->done += n;
        return n;
}
