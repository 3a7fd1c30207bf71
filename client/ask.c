/* ask.c -- one request to pinrouted, one reply, one deadline; or the request now and the reply later.
 * The only file of the stub that touches a socket.  Owns: struct ask, struct ask_fresh. */
#include "client/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/guest.h"

#define SOCKET_NAME     "/pinrouted.sock"
#define CONNECTIONS_MAX 3       /* that break under one request, the kept one included */
#define NAP_NS          1000000 /* between two attempts to connect */
#define ROUND_TRIP_MS   20      /* a HELLO that took longer says too little about the daemon's clock */
#define SLOW_TRIP_MS    50      /* but so much may pass where it could be ours, and nothing is known */
#define SAME_CLOCK_MS   2 /* both clocks are cut to milliseconds, and the daemon reads its own once a turn */
#define CLOCK_MAX_MS    (1ll << 50) /* no clock says that: garbage */
#define GLANCE_NS       5000000     /* is what it waits for still ours? */

enum outcome { DONE, BROKEN, LATE, UNFIT };

/* What a connection is waited for. */
enum patience { FOR_NOTHING, FOR_A_PLACE, FOR_A_DAEMON };

bool ask_init(struct ask *a, struct ask_fresh *fresh, const char *dir)
{
        size_t n = strlen(dir);
        if (n + sizeof SOCKET_NAME > sizeof a->address.sun_path)
                return false;
        a->fresh = fresh;
        a->first_serial = (uint64_t)clock_ns(); /* no send takes less than a nanosecond */
        atomic_init(&a->serial, a->first_serial);
        a->address.sun_family = AF_UNIX;
        memcpy(a->address.sun_path, dir, n);
        memcpy(a->address.sun_path + n, SOCKET_NAME, sizeof SOCKET_NAME);
        return true;
}

static bool still_ours(const struct ask_socket *s)
{
        struct stat st;
        return s->number && fstat(s->number - 1, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_dev == s->dev &&
               st.st_ino == s->ino;
}

static void drop(struct ask_socket *s)
{
        struct ask_socket was = *s;
        s->number = 0;
        if (still_ours(&was))
                close(was.number - 1);
}

static void hang_up(struct ask *a)
{
        drop(&a->fresh->socket);
        sent_lose(&a->fresh->sent);
        a->inherited.number = 0;
}

/* A fork leaves us the parent's connection: closing our copy does not disturb it. */
static void drop_inherited(struct ask *a)
{
        if (!a->fresh->socket.number)
                drop(&a->inherited);
}

/* Returns early at times, for a number may have become something that is never ready.  false: the deadline is
 * over. */
static bool wait_for(int fd, short events, int64_t deadline_ns)
{
        int64_t left_ns = deadline_ns - clock_ns();
        if (left_ns <= 0)
                return false;
        struct pollfd p = {.fd = fd, .events = events};
        struct timespec left = clock_span(left_ns < GLANCE_NS ? left_ns : GLANCE_NS);
        ppoll(&p, 1, &left, NULL);
        return true;
}

static bool nap(int64_t deadline_ns)
{
        int64_t soon_ns = clock_ns() + NAP_NS;
        return wait_for(-1, 0, soon_ns < deadline_ns ? soon_ns : deadline_ns) && clock_ns() < deadline_ns;
}

/* Descriptors 0 to 2 belong to the application, also where it has closed them. */
static int socket_above_stderr(void)
{
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || fd > 2)
                return fd;
        int high = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        close(fd);
        return high;
}

/* EAGAIN: the daemon's backlog is full; ENOENT, ECONNREFUSED: it is away, or just starting. */
static bool may_come(int err, enum patience patience)
{
        return err == EINTR || (err == EAGAIN && patience >= FOR_A_PLACE) ||
               ((err == ENOENT || err == ECONNREFUSED) && patience >= FOR_A_DAEMON);
}

static enum outcome connect_to(struct ask *a, int64_t deadline_ns, enum patience patience)
{
        struct stat st;
        int fd = socket_above_stderr();
        if (fd < 0)
                return LATE;
        while (connect(fd, (const struct sockaddr *)&a->address, sizeof a->address) != 0)
                if (!may_come(errno, patience) || !nap(deadline_ns)) {
                        close(fd);
                        return LATE;
                }
        if (fstat(fd, &st) != 0) {
                close(fd);
                return LATE;
        }
        a->fresh->socket = (struct ask_socket){fd + 1, st.st_dev, st.st_ino};
        a->inherited.dev = st.st_dev;
        a->inherited.ino = st.st_ino;
        atomic_signal_fence(memory_order_release);
        a->inherited.number = fd + 1; /* last: a fork in between must not see a number without its inode */
        return DONE;
}

/* Another thread of the application may close the number, and open something else there, at any moment.  Our own kind
 * of socket, SOCK_SEQPACKET of AF_UNIX, ignores address and MSG_FASTOPEN; all others answer one of the two with an
 * error, and write nothing. */
static ssize_t put(const struct ask *a, const struct pnr_request *q)
{
        return sendto(a->fresh->socket.number - 1, q, pnr_frame_size(q),
                      MSG_NOSIGNAL | MSG_DONTWAIT | MSG_FASTOPEN, (const struct sockaddr *)&a->address,
                      sizeof a->address);
}

/* One frame out.  LATE: the deadline is over; BROKEN: this connection will not answer any more. */
static enum outcome say(struct ask *a, struct pnr_request *q, int64_t deadline_ns)
{
        q->magic = PNR_WIRE_MAGIC;
        q->version = PNR_WIRE_VERSION;
        q->number = ++a->fresh->number;
        while (put(a, q) != (ssize_t)pnr_frame_size(q)) {
                if (errno != EAGAIN && errno != EINTR)
                        return BROKEN;
                if (!wait_for(a->fresh->socket.number - 1, POLLOUT, deadline_ns))
                        return LATE;
        }
        return DONE;
}

/* Descriptors that came with a reply, and what they stood for then. */
struct handed {
        int fd[2]; /* -1: none */
        struct stat is[2];
};

static void note_handed(struct handed *h, struct msghdr *m)
{
        const struct cmsghdr *c = CMSG_FIRSTHDR(m);
        if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                return;
        memcpy(h->fd, CMSG_DATA(c), c->cmsg_len < CMSG_LEN(sizeof h->fd) ? sizeof *h->fd : sizeof h->fd);
        for (unsigned i = 0; i < 2; i++)
                if (h->fd[i] >= 0 && fstat(h->fd[i], &h->is[i]))
                        h->fd[i] = -1;
}

static void close_handed(const struct handed *h)
{
        struct stat st;
        for (unsigned i = 0; i < 2; i++)
                if (h->fd[i] >= 0 && fstat(h->fd[i], &st) == 0 && st.st_dev == h->is[i].st_dev &&
                    st.st_ino == h->is[i].st_ino)
                        close(h->fd[i]);
}

static ssize_t get_handed(int fd, struct pnr_reply *r, struct handed *h)
{
        union {
                char bytes[CMSG_SPACE(sizeof h->fd)];
                struct cmsghdr aligned;
        } room;
        struct iovec to = {.iov_base = r, .iov_len = sizeof *r};
        struct msghdr m = {
            .msg_iov = &to, .msg_iovlen = 1, .msg_control = room.bytes, .msg_controllen = sizeof room.bytes};
        ssize_t n = recvmsg(fd, &m, MSG_TRUNC | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n >= 0)
                note_handed(h, &m);
        return n;
}

/* Where no descriptors are expected (h is NULL), there is no room for any, and the kernel drops them. */
static ssize_t get(int fd, struct pnr_reply *r, struct handed *h)
{
        return h ? get_handed(fd, r, h) : recv(fd, r, sizeof *r, MSG_TRUNC | MSG_DONTWAIT);
}

/* One frame in, to whatever was asked. */
static enum outcome hear(struct ask *a, int64_t deadline_ns, struct pnr_reply *r, size_t *size,
                         struct handed *h)
{
        const struct ask_socket *s = &a->fresh->socket;
        while (still_ours(s)) {
                ssize_t n = get(s->number - 1, r, h);
                if (n >= 0) {
                        *size = (size_t)n;
                        return DONE;
                }
                if (errno != EAGAIN && errno != EINTR)
                        return BROKEN;
                if (!wait_for(s->number - 1, POLLIN, deadline_ns))
                        return LATE;
        }
        return BROKEN;
}

/* The answers to what was sent ahead, up to this number. */
static enum outcome hear_ahead(struct ask *a, uint64_t number, int64_t deadline_ns)
{
        struct sent *sent = &a->fresh->sent;
        for (const struct sent_one *next; (next = sent_next(sent)) && next->number <= number;) {
                struct pnr_reply r;
                size_t size;
                enum outcome o = hear(a, deadline_ns, &r, &size, NULL);
                if (o != DONE)
                        return o;
                if (!sent_answer(sent, &r, size))
                        return BROKEN;
        }
        return DONE;
}

static enum outcome exchange_for(struct ask *a, struct pnr_request *q, int64_t deadline_ns,
                                 struct pnr_reply *r, struct handed *h)
{
        size_t size = 0;
        enum outcome o = say(a, q, deadline_ns);
        if (o == DONE)
                o = hear_ahead(a, q->number, deadline_ns);
        if (o == DONE)
                o = hear(a, deadline_ns, r, &size, h);
        return o == DONE && !pnr_reply_valid(r, size, q) ? BROKEN : o;
}

static enum outcome exchange(struct ask *a, struct pnr_request *q, int64_t deadline_ns, struct pnr_reply *r)
{
        return exchange_for(a, q, deadline_ns, r, NULL);
}

static enum outcome send_ahead(struct ask *a, struct pnr_request *q, uint64_t serial, int64_t deadline_ns)
{
        struct sent_one *room = sent_room(&a->fresh->sent);
        if (!room)
                return UNFIT;
        enum outcome o = say(a, q, deadline_ns);
        if (o == DONE)
                sent_put(&a->fresh->sent, room, serial, q);
        return o;
}

/* The daemon looked at its clock between asked_ms and now_ms: it is ours if what it saw lies between them. If
 * it is not, we take it to have looked at the last moment: its time is then at least what we think, and pins
 * last longer, by a round trip at most.  A slow answer sets nothing, but where nothing is known yet it may
 * say that the clock is ours: on a busy machine that is how the first one comes. */
static void learn_clock(struct ask *a, int64_t asked_ms, int64_t now_ms, int64_t daemon_ms)
{
        bool same = daemon_ms >= asked_ms - SAME_CLOCK_MS && daemon_ms <= now_ms + SAME_CLOCK_MS;
        int64_t may_take_ms = same && !ask_knows_clock(a) ? SLOW_TRIP_MS : ROUND_TRIP_MS;
        if (now_ms - asked_ms > may_take_ms)
                return;
        atomic_store_explicit(&a->clock_ahead_ms, same ? 0 : daemon_ms - now_ms, memory_order_relaxed);
        atomic_store_explicit(&a->clock_known, true, memory_order_release);
}

static bool has_stdio(void)
{
        return fcntl(0, F_GETFD) >= 0 && fcntl(1, F_GETFD) >= 0 && fcntl(2, F_GETFD) >= 0;
}

/* The memory in which the daemon wants our decisions counted.  One that breaks the connection over it is not asked
 * again; one that is slow, or refuses, is.
 * Whoever has closed one of 0 to 2 asks for none: what is handed over would land there. */
static enum outcome ask_for_memory(struct ask *a, const struct pnr_reply *hello, int64_t deadline_ns)
{
        struct pnr_request q = {.op = PNR_OP_COUNTS};
        struct handed h = {.fd = {-1, -1}};
        struct pnr_reply r;
        enum outcome o = DONE;
        bool may = hello->features & PNR_FEATURE_COUNTS && has_stdio();
        if (may && tally_wants(a->tally, hello->epoch, clock_coarse().ms)) {
                o = exchange_for(a, &q, deadline_ns, &r, &h);
                if (o == DONE)
                        tally_have(a->tally, hello->epoch, h.fd[0], h.fd[1], clock_coarse().ms);
                else if (o == LATE)
                        tally_give_up(a->tally);
                close_handed(&h);
        }
        if (o == DONE && !(may && tally_is_refused(a->tally)))
                tally_met(a->tally, hello->epoch);
        return o;
}

/* The first words on a connection: whose clock is this?  What do we count in? */
static enum outcome greet(struct ask *a, int64_t deadline_ns, struct pnr_reply *r)
{
        struct pnr_request q = {.op = PNR_OP_HELLO};
        int64_t asked_ms = clock_ns() / CLOCK_NS_PER_MS;
        enum outcome o = exchange(a, &q, deadline_ns, r);
        int64_t now_ms = clock_ns() / CLOCK_NS_PER_MS;
        if (o == DONE && (r->now_ms < -CLOCK_MAX_MS || r->now_ms > CLOCK_MAX_MS))
                return BROKEN;
        if (o == DONE) {
                learn_clock(a, asked_ms, now_ms, r->now_ms);
                a->fresh->records_max = r->records_max;
                a->fresh->greeted = true;
        }
        return o == DONE && a->tally ? ask_for_memory(a, r, deadline_ns) : o;
}

/* A connection, greeted: also a kept one, as long as no answer was quick enough to tell the clock by, unless
 * no answer is to be waited for. */
static enum outcome reach(struct ask *a, bool ahead, int64_t deadline_ns, enum patience patience,
                          struct pnr_reply *r)
{
        bool kept = still_ours(&a->fresh->socket);
        enum outcome o = DONE;
        if (!kept) {
                hang_up(a);
                o = connect_to(a, deadline_ns, patience);
        }
        if (o == DONE && (!kept || (!ahead && !ask_knows_clock(a))))
                o = greet(a, deadline_ns, r);
        return o;
}

/* A kept connection may have broken while nobody looked.  New ones that break, too, are a daemon on its way
 * out, or one that does not want us: a few are enough. */
static enum outcome contact(struct ask *a, struct pnr_request *q, uint64_t serial, int64_t deadline_ns,
                            bool patient, struct pnr_reply *r)
{
        enum outcome o = BROKEN;
        for (int i = 0; i < CONNECTIONS_MAX && o == BROKEN; i++) {
                o = reach(a, serial != 0, deadline_ns, patient ? FOR_A_DAEMON : FOR_A_PLACE, r);
                if (o == DONE && q->n > a->fresh->records_max)
                        o = UNFIT;
                else if (o == DONE)
                        o = serial ? send_ahead(a, q, serial, deadline_ns) : exchange(a, q, deadline_ns, r);
                if (o == BROKEN || o == LATE)
                        hang_up(a);
                if (o == BROKEN && i > 0 && !nap(deadline_ns))
                        o = LATE;
        }
        return o;
}

static bool breaker_open(const struct ask_fresh *f, struct view_pulse pulse)
{
        return f->failures >= ASK_BREAKER_FAILURES && clock_ns() < f->open_until_ns &&
               pulse.epoch == f->open_pulse.epoch && pulse.heartbeat_ms == f->open_pulse.heartbeat_ms;
}

static void note(struct ask_fresh *f, enum outcome o, struct view_pulse pulse)
{
        f->failures = o == DONE ? 0 : f->failures + 1;
        if (f->failures < ASK_BREAKER_FAILURES)
                return;
        f->failures = ASK_BREAKER_FAILURES;
        f->open_until_ns = clock_ns() + ASK_BREAKER_NS;
        f->open_pulse = pulse;
}

/* A daemon that is not there is waited for once: it may be starting.  After that a request of the
 * application, which may have several writes to record, finds it absent at no cost.  That counts against it
 * only where it was waited for; connections that break count, unless it is asked what it need not know. */
static enum outcome try_contact(struct ask *a, struct pnr_request *q, uint64_t serial,
                                struct view_pulse pulse, int64_t deadline_ns, bool patient,
                                struct pnr_reply *r)
{
        if (breaker_open(a->fresh, pulse))
                return LATE;
        bool waits = patient && a->fresh->failures == 0;
        drop_inherited(a);
        enum outcome o = contact(a, q, serial, deadline_ns, waits, r);
        bool tells =
            o != UNFIT && (o != DONE || !serial); /* to have sent something says nothing of the daemon */
        if (tells && (o == DONE || waits || (patient && o == BROKEN) || clock_ns() >= deadline_ns))
                note(a->fresh, o, pulse);
        return o;
}

static int ask_with(struct ask *a, struct pnr_request *q, struct view_pulse pulse, int64_t deadline_ns,
                    bool patient, struct pnr_reply *r)
{
        if (!lock_take(&a->fresh->lock, deadline_ns))
                return PINROUTE_E_UNREACHABLE;
        struct guest g = guest_enter();
        enum outcome o = try_contact(a, q, 0, pulse, deadline_ns, patient, r);
        if (o == UNFIT)
                r->records_max = a->fresh->records_max;
        lock_give(&a->fresh->lock);
        guest_leave(g);
        return o == DONE ? PINROUTE_OK : o == UNFIT ? ASK_TOO_MANY : PINROUTE_E_UNREACHABLE;
}

int ask(struct ask *a, struct pnr_request *q, struct view_pulse pulse, int64_t deadline_ns,
        struct pnr_reply *r)
{
        return ask_with(a, q, pulse, deadline_ns, true, r);
}

int ask_if_there(struct ask *a, struct pnr_request *q, struct view_pulse pulse, int64_t deadline_ns,
                 struct pnr_reply *r)
{
        return ask_with(a, q, pulse, deadline_ns, false, r);
}

uint64_t ask_serial(struct ask *a) { return atomic_fetch_add(&a->serial, 1) + 1; }

bool ask_gave(const struct ask *a, uint64_t serial)
{
        return serial > a->first_serial && serial <= atomic_load(&a->serial);
}

int ask_send(struct ask *a, struct pnr_request *q, uint64_t serial, struct view_pulse pulse,
             int64_t deadline_ns)
{
        struct pnr_reply r; /* a greeting's */
        if (!lock_take(&a->fresh->lock, deadline_ns))
                return PINROUTE_E_UNREACHABLE;
        struct guest g = guest_enter();
        enum outcome o = try_contact(a, q, serial, pulse, deadline_ns, true, &r);
        int unfit = q->n > a->fresh->records_max ? ASK_TOO_MANY : ASK_NO_ROOM;
        lock_give(&a->fresh->lock);
        guest_leave(g);
        return o == DONE ? PINROUTE_OK : o == UNFIT ? unfit : PINROUTE_E_UNREACHABLE;
}

int ask_wait(struct ask *a, uint64_t serial, struct view_pulse pulse, int64_t deadline_ns, uint32_t *status)
{
        if (!lock_take(&a->fresh->lock, deadline_ns))
                return PINROUTE_E_UNREACHABLE;
        struct guest g = guest_enter();
        struct sent_one *one = sent_find(&a->fresh->sent, serial);
        enum outcome o = one ? DONE : BROKEN;
        if (one && one->state == SENT_AWAITED) {
                o = hear_ahead(a, one->number, deadline_ns);
                if (o != BROKEN)
                        note(a->fresh, o, pulse);
        }
        if (one && o == DONE) {
                *status = one->status;
                sent_have(one);
        } else if (one) {
                hang_up(a);
        }
        lock_give(&a->fresh->lock);
        guest_leave(g);
        return o == DONE ? PINROUTE_OK : o == LATE ? PINROUTE_E_UNREACHABLE : ASK_LOST;
}

int ask_peek(struct ask *a, uint64_t serial, int64_t deadline_ns, uint32_t *status)
{
        if (!lock_take(&a->fresh->lock, deadline_ns))
                return PINROUTE_E_UNREACHABLE;
        const struct sent_one *one = sent_find(&a->fresh->sent, serial);
        int got = !one ? ASK_LOST : one->state == SENT_AWAITED ? ASK_AWAITED : PINROUTE_OK;
        if (got == PINROUTE_OK)
                *status = one->status;
        lock_give(&a->fresh->lock);
        return got;
}

static int hello(struct ask *a, int64_t deadline_ns, enum patience patience, struct pnr_reply *r)
{
        if (!lock_take(&a->fresh->lock, deadline_ns))
                return PINROUTE_E_UNREACHABLE;
        struct guest g = guest_enter();
        drop_inherited(a);
        hang_up(a);
        a->fresh->greeted = false;
        reach(a, false, deadline_ns, patience, r);
        hang_up(a);
        bool greeted = a->fresh->greeted; /* whatever became of the memory that was asked for next */
        lock_give(&a->fresh->lock);
        guest_leave(g);
        return greeted ? PINROUTE_OK : PINROUTE_E_UNREACHABLE;
}

int ask_hello(struct ask *a, int64_t deadline_ns, struct pnr_reply *r)
{
        return hello(a, deadline_ns, FOR_A_PLACE, r);
}

int ask_hello_now(struct ask *a, int64_t deadline_ns, struct pnr_reply *r)
{
        return hello(a, deadline_ns, FOR_NOTHING, r);
}

void ask_fini(struct ask *a)
{
        struct guest g = guest_enter();
        drop_inherited(a);
        hang_up(a);
        guest_leave(g);
}
