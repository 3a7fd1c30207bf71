/* conn.c -- worker connections: accept, one frame per connection and turn, answer, close.
 * The daemon's only reader of frames from workers; everything in them is hostile until pnr_frame_valid().
 */
#include "daemon/conn.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/pinroute.h"
#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/turn.h"

#define ACCEPTS_PER_TURN 64
#define ACCEPT_PAUSE_MS  100 /* when no descriptor is left: a level-triggered listener would spin */
#define FULL_PAUSE_MS    2   /* when every place is in use */
#define HEARD_REQUESTS   2   /* the greeting and what it came for */
#define IDLE_MS          10  /* who came or was answered later than this may be about to ask */

static void drop(struct conn *c)
{
        TAILQ_REMOVE(&c->all->by_use, c, by_use);
        if (c->waits)
                TAILQ_REMOVE(&c->all->waiting, c, by_wait);
        c->all->n--;
        event_free(c->readable);
        close(c->fd);
        free(c);
}

static bool has_asked(const struct conn *c)
{
        char byte;
        return c->in_batch || recv(c->fd, &byte, sizeof byte, MSG_DONTWAIT | MSG_PEEK) > 0;
}

/* Descriptors stay free for the prober, operators and a new store. */
static rlim_t room_for_descriptors(void)
{
        struct rlimit l = {.rlim_cur = RLIM_INFINITY};
        getrlimit(RLIMIT_NOFILE, &l);
        rlim_t spare = l.rlim_cur / 2 < CONN_SPARE_FDS ? l.rlim_cur / 2 : CONN_SPARE_FDS;
        return l.rlim_cur - spare;
}

static unsigned places(const struct conns *cs)
{
        rlim_t room = room_for_descriptors(), wanted = (rlim_t)cs->core->conf->max_clients;
        rlim_t taken = cs->core->counts ? counts_processes(cs->core->counts) : 0;
        room = room > taken ? room - taken : 1; /* before a reload there may have been more for them */
        return (unsigned)(room < wanted ? room : wanted);
}

/* The memory of processes that count has the descriptors that no connection will want. */
static unsigned families(const struct conns *cs)
{
        rlim_t room = room_for_descriptors(), clients = (rlim_t)cs->core->conf->max_clients;
        return (unsigned)(room <= clients ? 0 : room - clients < clients ? room - clients : clients);
}

/* Room for one more: the connection that has been idle longest goes; its stub connects again when it has to.
 * None that waits for its answer: with more workers than places, those would push each other out unheard. */
static bool make_room(struct conns *cs)
{
        struct conn *c;
        struct mono now = clock_mono();
        TAILQ_FOREACH (c, &cs->by_use, by_use) {
                if (mono_since(now, c->last) < IDLE_MS)
                        return false;
                if (has_asked(c))
                        continue;
                cs->core->stats.closed_idle++;
                drop(c);
                return true;
        }
        return false;
}

static enum conn_next look_ahead(const struct conn *c)
{
        struct pnr_request head;
        ssize_t n = recv(c->fd, &head, sizeof head, MSG_DONTWAIT | MSG_PEEK);
        if (n < 0)
                return CONN_UNKNOWN;
        return n == (ssize_t)sizeof head && head.op == PNR_OP_RECORDS ? CONN_RECORDS : CONN_SINGLE;
}

/* The last places of a turn are for single frames: who records many keys leaves some for who records one. */
static bool has_room(struct conn *c)
{
        unsigned left = CONN_BATCH - c->all->n_pins;
        if (left >= 2 * PNR_RECORDS_MAX || left == 0)
                return left > 0;
        if (c->next == CONN_UNKNOWN)
                c->next = look_ahead(c);
        return c->next == CONN_SINGLE;
}

static void set_waiting(struct conn *c, bool waits)
{
        if (waits && !c->waits)
                TAILQ_INSERT_TAIL(&c->all->waiting, c, by_wait);
        if (!waits && c->waits)
                TAILQ_REMOVE(&c->all->waiting, c, by_wait);
        c->waits = waits;
}

static void put_in_batch(struct conns *cs, struct conn *c)
{
        const struct pnr_records *f = &cs->frame;
        unsigned n = f->head.op == PNR_OP_RECORDS ? f->head.n : 0;
        MUST(cs->n_keys + n <= CONN_BATCH);
        memcpy(cs->key + cs->n_keys, f->key, n * sizeof *f->key);
        cs->item[cs->n_batch] =
            (struct core_item){.request = f->head, .keys = (const uint64_t(*)[2])(cs->key + cs->n_keys)};
        cs->from[cs->n_batch++] = c;
        cs->n_keys += n;
        cs->n_pins += n ? n : 1;
        c->in_batch = true;
}

/* Its next frame, if that has room in this turn. */
static void take(struct conn *c)
{
        struct conns *cs = c->all;
        bool fits = has_room(c);
        set_waiting(c, !fits);
        if (!fits)
                return;
        ssize_t n = recv(c->fd, &cs->frame, sizeof cs->frame, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        c->next = CONN_UNKNOWN;
        if (n > 0 && pnr_frame_valid(&cs->frame, (size_t)n)) {
                put_in_batch(cs, c);
                return;
        }
        cs->core->stats.closed_garbage += n > 0;
        drop(c);
}

/* They are as readable as ever, but epoll tells of them in the order in which they first were: behind a few
 * that always send whole frames of keys, the same ones would find each turn full. */
static void take_waiting(struct conns *cs)
{
        struct conn *c, *next;
        for (c = TAILQ_FIRST(&cs->waiting); c && cs->n_pins < CONN_BATCH; c = next) {
                next = TAILQ_NEXT(c, by_wait);
                take(c);
        }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
        (void)fd, (void)what;
        struct conn *c = arg;
        bool waited = c->waits;
        turn_woke();
        if (c->in_batch)
                return; /* it is its turn again after this one */
        if (c->all->n_batch == 0)
                take_waiting(c->all); /* closes those that have nothing to say: this one, if it waited */
        if (!waited)
                take(c);
}

static bool adopt(struct conns *cs, int fd)
{
        struct conn *c = calloc(1, sizeof *c);
        if (!c)
                return false;
        struct ucred peer = {.pid = 0, .uid = (uid_t)-1};
        socklen_t size = sizeof peer;
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size);
        *c = (struct conn){
            .all = cs, .fd = fd, .pid = peer.pid, .uid = peer.uid, .since = cs->core->last_turn};
        c->last = c->since;
        c->readable = event_new(cs->base, fd, EV_READ | EV_PERSIST, on_readable, c);
        if (!c->readable || event_add(c->readable, NULL)) {
                if (c->readable)
                        event_free(c->readable);
                free(c);
                return false;
        }
        TAILQ_INSERT_TAIL(&cs->by_use, c, by_use);
        cs->n++;
        cs->core->stats.accepted++;
        return true;
}

static void rest(struct conns *cs, int ms)
{
        struct timeval pause = {.tv_usec = ms * 1000};
        cs->core->stats.accept_failures++;
        if (!event_add(cs->again, &pause))
                event_del(cs->acceptable);
}

/* Where epoll has no room for the listener, it is asked again later. */
static void listen_again(struct conns *cs)
{
        struct timeval pause = {.tv_usec = ACCEPT_PAUSE_MS * 1000};
        if (event_add(cs->acceptable, NULL))
                event_add(cs->again, &pause);
}

static bool someone_waits(int listener)
{
        struct pollfd p = {.fd = listener, .events = POLLIN};
        return poll(&p, 1, 0) == 1;
}

/* False, and errno: nobody came, or there was no room for him. */
static bool take_in(struct conns *cs)
{
        int fd = accept4(event_get_fd(cs->acceptable), NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
                return false;
        if (adopt(cs, fd))
                return true;
        close(fd);
        errno = ENOMEM;
        return false;
}

static bool lacks_means(int err) { return err == EMFILE || err == ENFILE || err == ENOMEM || err == ENOBUFS; }

static void on_acceptable(evutil_socket_t listener, short what, void *arg)
{
        (void)what;
        struct conns *cs = arg;
        turn_woke();
        for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
                bool full = cs->n >= places(cs);
                if (full && !someone_waits(listener))
                        return; /* nobody loses a place for nobody */
                if (full && !make_room(cs)) {
                        rest(cs, FULL_PAUSE_MS);
                        return;
                }
                if (take_in(cs))
                        continue;
                if (lacks_means(errno) && !make_room(cs))
                        rest(cs, cs->n ? FULL_PAUSE_MS : ACCEPT_PAUSE_MS);
                return; /* the next turn tries again with what was freed */
        }
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
        (void)fd, (void)what;
        turn_woke();
        listen_again(arg);
}

bool conns_init(struct conns *cs, struct event_base *base, struct core *core, int listener)
{
        cs->core = core;
        cs->base = base;
        cs->n = cs->n_batch = cs->n_keys = cs->n_pins = 0;
        TAILQ_INIT(&cs->by_use);
        TAILQ_INIT(&cs->waiting);
        cs->acceptable = event_new(base, listener, EV_READ | EV_PERSIST, on_acceptable, cs);
        cs->again = event_new(base, -1, 0, on_again, cs);
        return cs->acceptable && cs->again && !event_add(cs->acceptable, NULL);
}

void conns_listen(struct conns *cs, int listener)
{
        bool takes = event_pending(cs->acceptable, EV_READ, NULL);
        event_del(cs->acceptable);
        event_assign(cs->acceptable, cs->base, listener, EV_READ | EV_PERSIST, on_acceptable, cs);
        if (takes)
                event_add(cs->acceptable, NULL);
}

static bool send_plain(const struct conn *c, const struct pnr_reply *r)
{
        return send(c->fd, r, sizeof *r, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof *r;
}

static bool send_handing(const struct conn *c, struct pnr_reply *r, const int fd[2])
{
        union {
                char bytes[CMSG_SPACE(2 * sizeof *fd)];
                struct cmsghdr first;
        } room = {{0}};
        struct iovec from = {.iov_base = r, .iov_len = sizeof *r};
        struct msghdr m = {
            .msg_iov = &from, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof room};
        room.first = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(2 * sizeof *fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&room.first), fd, 2 * sizeof *fd);
        return sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof *r;
}

/* Refuses where there is nothing to hand out, or the kernel has too many descriptors under way already. */
static bool send_counts(struct conn *c, struct pnr_reply *r)
{
        struct core *core = c->all->core;
        int fd[2];
        if (core->counts)
                counts_limit(core->counts, families(c->all));
        if (!c->handed && core->counts && counts_give(core->counts, c->pid, fd)) {
                c->handed = true;
                bool sent = send_handing(c, r, fd);
                close(fd[0]);
                if (sent || errno != ETOOMANYREFS)
                        return sent;
        }
        core->stats.counts_refused++;
        r->status = PINROUTE_E_REFUSED;
        return send_plain(c, r);
}

static bool answer(struct conns *cs, struct conn *c, struct core_item *it)
{
        if (it->reply.op ==
            PNR_OP_HELLO) /* the stub sets its clock by it: the turn may have begun long ago */
                it->reply.now_ms = clock_mono().ms;
        c->in_batch = false;
        c->requests += it->reply.op != PNR_OP_COUNTS; /* that is no more than a second greeting */
        c->last = cs->core->last_turn;
        TAILQ_REMOVE(&cs->by_use, c, by_use);
        TAILQ_INSERT_TAIL(&cs->by_use, c, by_use);
        if (it->answered &&
            (it->reply.op == PNR_OP_COUNTS ? send_counts(c, &it->reply) : send_plain(c, &it->reply)))
                return true;
        cs->core->stats.closed_slow += it->answered && errno == EAGAIN;
        drop(c);
        return false;
}

static int by_arrival(const void *a, const void *b)
{
        const struct conn *x = *(struct conn *const *)a, *y = *(struct conn *const *)b;
        return (x->since.ms > y->since.ms) - (x->since.ms < y->since.ms);
}

/* Nobody is idle and somebody waits: of those who have just been answered, the ones who came first go to the
 * end of the queue.  They were heard: a greeting and more; what a stub has sent ahead it sends again. */
static void take_turns(struct conns *cs, unsigned n)
{
        unsigned swaps = 0;
        if (!event_pending(cs->again, EV_TIMEOUT, NULL))
                return;
        qsort(cs->from, n, sizeof *cs->from, by_arrival);
        for (unsigned i = 0; i < n && swaps < ACCEPTS_PER_TURN; i++) {
                if (cs->from[i]->requests < HEARD_REQUESTS)
                        continue;
                if (!someone_waits(event_get_fd(cs->acceptable)))
                        return;
                drop(cs->from[i]);
                cs->core->stats.closed_in_turn++;
                swaps++;
                if (cs->n < places(cs) && !take_in(cs))
                        return;
        }
}

void conns_reply(struct conns *cs)
{
        unsigned n = 0;
        for (unsigned i = 0; i < cs->n_batch; i++)
                if (answer(cs, cs->from[i], &cs->item[i]))
                        cs->from[n++] = cs->from[i];
        cs->n_batch = cs->n_keys = cs->n_pins = 0;
        take_turns(cs, n);
}

void conns_pause(struct conns *cs, bool pause)
{
        struct conn *next;
        for (struct conn *c = TAILQ_FIRST(&cs->by_use); c; c = next) {
                next = TAILQ_NEXT(c, by_use);
                if (pause)
                        event_del(c->readable);
                else if (event_add(c->readable, NULL))
                        drop(c); /* rather than never heard again */
        }
        event_del(cs->again);
        if (pause)
                event_del(cs->acceptable);
        else
                listen_again(cs);
}

void conns_fini(struct conns *cs)
{
        while (!TAILQ_EMPTY(&cs->by_use))
                drop(TAILQ_FIRST(&cs->by_use)); /* NOLINT(clang-analyzer-unix.Malloc): it is off the list */
        event_free(cs->acceptable);
        event_free(cs->again);
}
