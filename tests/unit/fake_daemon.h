/* fake_daemon.h -- a daemon's worker socket that misbehaves to order, in a child process.
 * For the stub's tests; plain C, so that scenario programs can use it, too. */
#ifndef FAKE_DAEMON_H
#define FAKE_DAEMON_H

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/clock.h"
#include "proto/wire.h"

#define FAKE_CLIENTS_MAX 256
#define FAKE_EPOCH       77 /* as live_store.h's */

#define FAKE_MUST(what)                                                                                      \
        do {                                                                                                 \
                if (!(what)) {                                                                               \
                        fprintf(stderr, "%s:%d: %s: %m\n", __FILE__, __LINE__, #what);                       \
                        exit(1);                                                                             \
                }                                                                                            \
        } while (0)

enum fake_kind {
        FAKE_ANSWERS,
        FAKE_NEVER,        /* reads, and says nothing */
        FAKE_LATE,         /* answers late_ms later */
        FAKE_WRONG_NUMBER, /* all these but in HELLO only: that is answered */
        FAKE_SHORT,
        FAKE_LONG,
        FAKE_EMPTY,  /* a packet of no bytes */
        FAKE_CLOSES, /* instead of answering */
};

/* Shared with the test: orders down, counts up. */
struct fake_orders {
        atomic_int kind, late_ms, status;
        _Atomic int64_t ahead_ms;
        atomic_uint connections, hellos, records, holds, tokens,
            clients;                 /* records: keys; clients: open now */
        atomic_uint done;            /* requests that were answered as it was ordered */
        atomic_uint batches;         /* RECORDS frames */
        atomic_uint records_max;     /* keys that one may carry; 0: an older daemon */
        _Atomic uint64_t generation; /* of replies */
        _Atomic uint64_t turn;
        atomic_uint later;        /* added to the epoch of its answers */
        atomic_uint features;     /* of HELLO's answer */
        atomic_uint counts;       /* requests for memory */
        atomic_uint breaks_on_it; /* closes instead of handing out */
        atomic_uint keeps_it;     /* says nothing to it */
        atomic_uint n_handed;     /* descriptors, opened before fake_start(), that come with the answer */
        atomic_uint always;       /* and with every other */
        int handed[3];
        struct pnr_request last;      /* written before its count goes up */
        struct pnr_records last_many; /* the last RECORDS */
};

struct fake {
        struct sockaddr_un address;
        pid_t pid;
        int listener;
        int lifeline; /* the child ends when nobody holds this any more */
        struct fake_orders *orders;
};

/* As send(), with descriptors. */
static inline void fake_send(struct fake_orders *o, int fd, void *bytes, size_t size, bool handing)
{
        unsigned n = handing ? atomic_load(&o->n_handed) : 0;
        union {
                char bytes[CMSG_SPACE(3 * sizeof(int))];
                struct cmsghdr first;
        } room = {{0}};
        struct iovec from = {.iov_base = bytes, .iov_len = size};
        struct msghdr m = {.msg_iov = &from,
                           .msg_iovlen = 1,
                           .msg_control = n ? &room : NULL,
                           .msg_controllen = n ? CMSG_SPACE(n * sizeof(int)) : 0};
        room.first = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(n * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&room.first), o->handed, n * sizeof(int));
        (void)!sendmsg(fd, &m, MSG_NOSIGNAL);
}

static inline void fake_reply(struct fake_orders *o, int fd, const struct pnr_request *q)
{
        struct {
                struct pnr_reply r;
                char more;
        } out = {{.magic = PNR_WIRE_MAGIC,
                  .version = PNR_WIRE_VERSION,
                  .op = q->op,
                  .number = q->number,
                  .status = q->op == PNR_OP_HELLO ? 0 : (uint32_t)atomic_load(&o->status),
                  .epoch = FAKE_EPOCH + atomic_load(&o->later),
                  .now_ms = clock_ns() / CLOCK_NS_PER_MS + atomic_load(&o->ahead_ms),
                  .generation = atomic_load(&o->generation)},
                 0};
        size_t size = sizeof out.r;
        int kind = atomic_load(&o->kind);
        if (q->op == PNR_OP_HELLO)
                out.r.turn = atomic_fetch_add(&o->turn, 1), out.r.records_max = atomic_load(&o->records_max),
                out.r.features = atomic_load(&o->features);
        if (q->op != PNR_OP_HELLO && kind == FAKE_WRONG_NUMBER)
                out.r.number++;
        if (q->op != PNR_OP_HELLO && kind == FAKE_SHORT)
                size--;
        if (q->op != PNR_OP_HELLO && kind == FAKE_LONG)
                size++;
        if (q->op != PNR_OP_HELLO && kind == FAKE_EMPTY)
                size = 0;
        if (kind == FAKE_LATE)
                poll(NULL, 0, atomic_load(&o->late_ms));
        if (kind != FAKE_NEVER && !(atomic_load(&o->keeps_it) && q->op == PNR_OP_COUNTS))
                fake_send(o, fd, &out, size, q->op == PNR_OP_COUNTS || atomic_load(&o->always));
}

/* false: this client is done with. */
static inline bool fake_serve_one(struct fake_orders *o, int fd)
{
        struct pnr_records frame;
        ssize_t n = recv(fd, &frame, sizeof frame, MSG_TRUNC);
        if (n <= 0)
                return false;
        struct pnr_request q = frame.head;
        if (!pnr_frame_valid(&frame, (size_t)n) || q.n > atomic_load(&o->records_max)) {
                fprintf(stderr, "the stub sent a bad frame of %zd bytes\n", n);
                _exit(1);
        }
        o->last = q;
        if (q.op == PNR_OP_RECORDS)
                o->last_many = frame;
        atomic_fetch_add(&o->batches, q.op == PNR_OP_RECORDS);
        atomic_fetch_add(q.op == PNR_OP_HELLO    ? &o->hellos
                         : q.op == PNR_OP_HOLD   ? &o->holds
                         : q.op == PNR_OP_TOKEN  ? &o->tokens
                         : q.op == PNR_OP_COUNTS ? &o->counts
                                                 : &o->records,
                         q.n ? q.n : 1);
        bool closes = (atomic_load(&o->kind) == FAKE_CLOSES && q.op != PNR_OP_HELLO) ||
                      (atomic_load(&o->breaks_on_it) && q.op == PNR_OP_COUNTS);
        if (!closes)
                fake_reply(o, fd, &q);
        atomic_fetch_add(&o->done, 1);
        return !closes;
}

static inline void fake_serve(struct fake_orders *o, int listener, int lifeline)
{
        struct pollfd p[2 + FAKE_CLIENTS_MAX] = {{.fd = listener, .events = POLLIN}, {.fd = lifeline}};
        unsigned n = 2;
        for (;;) {
                if (poll(p, n, -1) < 0)
                        continue;
                if (p[1].revents)
                        _exit(0);
                for (unsigned i = n - 1; i > 1; i--)
                        if (p[i].revents && !fake_serve_one(o, p[i].fd)) {
                                close(p[i].fd);
                                p[i] = p[--n];
                                atomic_fetch_sub(&o->clients, 1);
                        }
                if (p[0].revents && n < 2 + FAKE_CLIENTS_MAX) {
                        p[n++] = (struct pollfd){.fd = accept(listener, NULL, NULL), .events = POLLIN};
                        atomic_fetch_add(&o->connections, 1);
                        atomic_fetch_add(&o->clients, 1);
                }
        }
}

/* Listens; serves only after fake_start(). */
static inline void fake_listen(struct fake *f, const char *dir, int backlog)
{
        f->address = (struct sockaddr_un){.sun_family = AF_UNIX};
        snprintf(f->address.sun_path, sizeof f->address.sun_path, "%s/pinrouted.sock", dir);
        unlink(f->address.sun_path);
        f->pid = 0;
        f->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        FAKE_MUST(bind(f->listener, (void *)&f->address, sizeof f->address) == 0);
        FAKE_MUST(listen(f->listener, backlog) == 0);
}

/* Before fake_start(), where there is something to order for its first words. */
static inline void fake_orders(struct fake *f)
{
        f->orders = mmap(NULL, sizeof *f->orders, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        FAKE_MUST(f->orders != MAP_FAILED);
        f->orders->records_max = PNR_RECORDS_MAX;
}

static inline void fake_start(struct fake *f, const char *dir)
{
        if (!f->orders)
                fake_orders(f);
        fake_listen(f, dir, 64);
        atomic_store(&f->orders->clients, 0);
        int life[2];
        FAKE_MUST(pipe2(life, O_CLOEXEC) == 0);
        f->pid = fork();
        FAKE_MUST(f->pid >= 0);
        if (f->pid == 0) {
                close(life[1]);
                fake_serve(f->orders, f->listener, life[0]);
        }
        close(life[0]);
        f->lifeline = life[1];
        close(f->listener);
        f->listener = -1;
}

/* Killed, as by SIGKILL: the socket's name stays. */
static inline void fake_kill(struct fake *f)
{
        if (f->listener >= 0)
                close(f->listener);
        f->listener = -1;
        if (f->pid <= 0)
                return;
        kill(f->pid, SIGKILL);
        waitpid(f->pid, NULL, 0);
        close(f->lifeline);
        f->pid = 0;
}

static inline void fake_fini(struct fake *f)
{
        fake_kill(f);
        unlink(f->address.sun_path);
        if (f->orders)
                munmap(f->orders, sizeof *f->orders);
        f->orders = NULL;
}

#endif
