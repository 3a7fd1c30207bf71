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

static struct pnr_request request(unsigned op, uint64_t number, uint32_t ms)
{
        return (struct pnr_request){.magic = PNR_WIRE_MAGIC,
                                    .version = PNR_WIRE_VERSION,
                                    .op = (uint16_t)op,
                                    .number = number + 1,
                                    .cluster = "main",
                                    .ms = ms};
}

static void put_key(uint64_t to[2], uint64_t number)
{
        struct bench_key k = bench_key(number);
        struct pnr_key key = pnr_key_of(&k, sizeof k);
        memcpy(to, key.w, sizeof key.w);
}

static void await_answer(int fd)
{
        struct pnr_reply r;
        BENCH_MUST(recv(fd, &r, sizeof r, 0) == sizeof r && r.status == 0);
}

void pump_record(struct pump *p, uint64_t first, unsigned n, uint32_t ms)
{
        int64_t from = clock_ns();
        for (unsigned i = 0; i < n; i++) {
                struct pnr_request q = request(PNR_OP_RECORD, first + i, ms);
                put_key(q.key, first + i);
                BENCH_MUST(send(p->fd[i], &q, sizeof q, MSG_NOSIGNAL) == sizeof q);
        }
        for (unsigned i = 0; i < n; i++)
                await_answer(p->fd[i]);
        int64_t took = clock_ns() - from;
        p->slowest_ns = took > p->slowest_ns ? took : p->slowest_ns;
}

void pump_batch(struct pump *p, uint64_t first, unsigned n, uint32_t ms)
{
        struct pnr_records f = {.head = request(PNR_OP_RECORDS, first, ms)};
        f.head.n = n;
        for (unsigned i = 0; i < n; i++)
                put_key(f.key[i], first + i);
        BENCH_MUST(send(p->fd[0], &f, sizeof f, MSG_NOSIGNAL) == sizeof f);
        await_answer(p->fd[0]);
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
