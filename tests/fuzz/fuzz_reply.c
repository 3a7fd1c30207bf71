/* fuzz_reply.c -- a daemon that lies, stammers, delays and hangs up, under the stub's public calls: libFuzzer.
 * The daemon is played inside of ppoll(), which the linker hands to us with the clock: one thread, and no waiting, so
 * that deadlines can be held to the millisecond.  An input is what the application does, a '|', and what the daemon
 * does with each request that comes. */
#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "client/pinroute.h"
#include "proto/counts.h"
#include "proto/token.h"
#include "proto/wire.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/live_store.h"

#define STEPS    24
#define KEYS     4
#define CLIENTS  8
#define PENDING  8
#define PENDINGS 4 /* that the application keeps */
#define TOLD_MAX 256
#define LOOK_MS  20 /* that a read may take to ask for the clock, see handle.c */
#define BEAT_MS  300

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __real_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask);
int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask);

static struct live live;
static struct pnr_token_keys keys;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int64_t now_ns, wall_less_now_ns; /* a clock that only moves when looked at, or waited for */

/* ---- the daemon ---- */

struct answer {
        int fd; /* -1: none */
        int64_t due_ns;
        size_t size;
        uint8_t bytes[256];
        struct pnr_records asked;
};

static struct {
        struct input script;
        int listener, client[CLIENTS], passed_fd, memory[2];
        struct answer pending[PENDING];
        struct pnr_reply told[TOLD_MAX]; /* whole answers, each to the question at its place in asked[] */
        struct pnr_records asked[TOLD_MAX];
        unsigned n_told;
        bool interrupts;
} peer;

static void listen_again(void)
{
        peer.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        unlink(address.sun_path);
        MUST_BE(bind(peer.listener, (void *)&address, sizeof address) == 0 && listen(peer.listener, 64) == 0);
}

static void stop_listening(void)
{
        if (peer.listener >= 0)
                close(peer.listener);
        peer.listener = -1;
}

static void hang_up(int fd)
{
        for (unsigned i = 0; i < PENDING; i++)
                if (peer.pending[i].fd == fd)
                        peer.pending[i].fd = -1;
        for (unsigned i = 0; i < CLIENTS; i++)
                if (peer.client[i] == fd)
                        peer.client[i] = -1;
        close(fd);
}

static struct pnr_reply honest(const struct pnr_request *q, uint32_t status)
{
        return (struct pnr_reply){.magic = PNR_WIRE_MAGIC,
                                  .version = PNR_WIRE_VERSION,
                                  .op = q->op,
                                  .number = q->number,
                                  .status = status,
                                  .records_max = q->op == PNR_OP_HELLO ? PNR_RECORDS_MAX : 0,
                                  .epoch = live.header.epoch,
                                  .now_ms = now_ns / CLOCK_NS_PER_MS,
                                  .generation = q->op == PNR_OP_HELLO ? 0 : 8};
}

/* What is an answer by the letter of proto/wire.h: the question's number and op, and 64 bytes. */
static void remember(const struct answer *a)
{
        struct pnr_reply r;
        memcpy(&r, a->bytes, sizeof r);
        bool whole = a->size == 64 && r.magic == PNR_WIRE_MAGIC && r.version == 1 &&
                     r.op == a->asked.head.op && r.number == a->asked.head.number;
        if (whole && peer.n_told < TOLD_MAX) {
                peer.asked[peer.n_told] = a->asked;
                peer.told[peer.n_told++] = r;
        }
}

static void put(const struct answer *a)
{
        if (send(a->fd, a->bytes, a->size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)a->size)
                remember(a);
}

static void put_with(const struct answer *a, const int *fd, size_t n)
{
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(2 * sizeof(int))];
        } control = {.header = {CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
        struct iovec bytes = {(void *)(uintptr_t)a->bytes, a->size};
        struct msghdr m = {.msg_iov = &bytes,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = CMSG_SPACE(n * sizeof(int))};
        memcpy(CMSG_DATA(&control.header), fd, n * sizeof(int));
        if (sendmsg(a->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)a->size)
                remember(a);
}

static void put_later(const struct answer *a, uint64_t ms)
{
        for (unsigned i = 0; i < PENDING; i++)
                if (peer.pending[i].fd < 0) {
                        peer.pending[i] = *a;
                        peer.pending[i].due_ns = now_ns + (int64_t)(ms % 1000) * CLOCK_NS_PER_MS;
                        return;
                }
}

static void act(int fd, const struct pnr_records *f)
{
        const struct pnr_request *q = &f->head;
        struct answer a = {.fd = fd, .size = sizeof(struct pnr_reply), .asked = *f};
        uint8_t how = take(&peer.script);
        struct pnr_reply r = honest(q, how == 's' ? (uint32_t)take_number(&peer.script) : 0);
        if (how == 'c')
                r.now_ms = (int64_t)take_number(&peer.script);
        if (how == 'm')
                r.records_max = (uint32_t)take_number(&peer.script);
        if (how == 'o') /* offers memory to count in */
                r.features = 1;
        if (how == 'n')
                r.number += take_number(&peer.script);
        memcpy(a.bytes, &r, sizeof r);
        if (how == '~')
                take_strokes(&peer.script, a.bytes, sizeof r);
        if (how == '<')
                a.size = take(&peer.script);
        switch (how) {
        case 'q': return;
        case 'z': a.size = 0; break;
        case 'd': put_later(&a, take_number(&peer.script)); return;
        case '2': put(&a); break; /* and once more: it lies there when the next question is asked */
        case 'f': put_with(&a, &peer.passed_fd, 1); return;
        case 'p': put_with(&a, peer.memory, 2); return;
        case 'w': shutdown(fd, SHUT_WR); return;
        case 'g': stop_listening(); break;
        case 'h': hang_up(fd); return;
        case 'x':
                stop_listening();
                hang_up(fd);
                return;
        case 'i': peer.interrupts = true; break;
        }
        put(&a);
}

static bool serve_client(int fd)
{
        struct pnr_records f;
        memset(&f, 0, sizeof f);
        ssize_t n = recv(fd, &f, sizeof f, MSG_DONTWAIT | MSG_TRUNC);
        if (n < 0 && errno == EAGAIN)
                return false;
        if (n <= 0) {
                hang_up(fd);
                return true;
        }
        MUST_BE(
            pnr_frame_valid(&f, (size_t)n)); /* whatever it has been told, the stub asks what may be asked */
        act(fd, &f);
        return true;
}

static bool let_in(void)
{
        for (unsigned i = 0; peer.listener >= 0 && i < CLIENTS; i++)
                if (peer.client[i] < 0)
                        return (peer.client[i] =
                                    accept4(peer.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;
        return false;
}

/* Everything that a daemon would do now. */
static void serve(void)
{
        bool busy = true;
        while (busy) {
                busy = let_in();
                for (unsigned i = 0; i < CLIENTS; i++)
                        busy |= peer.client[i] >= 0 && serve_client(peer.client[i]);
                for (unsigned i = 0; i < PENDING; i++)
                        if (peer.pending[i].fd >= 0 && peer.pending[i].due_ns <= now_ns) {
                                put(&peer.pending[i]);
                                peer.pending[i].fd = -1;
                        }
        }
}

/* ---- the world ---- */

int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
        bool wall = id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE;
        now_ns += 1000;
        int64_t ns = now_ns + (wall ? wall_less_now_ns : 0);
        *t = (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
        return 0;
}

int __wrap_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
        static const struct timespec at_once;
        int64_t end_ns = now_ns + timeout->tv_sec * 1000000000 + timeout->tv_nsec;
        if (peer.interrupts) {
                peer.interrupts = false;
                errno = EINTR;
                return -1;
        }
        for (;;) {
                serve();
                int ready = n ? __real_ppoll(fds, n, &at_once, mask) : 0;
                if (ready || now_ns >= end_ns)
                        return ready;
                int64_t next_ns = end_ns;
                for (unsigned i = 0; i < PENDING; i++)
                        if (peer.pending[i].fd >= 0 && peer.pending[i].due_ns < next_ns)
                                next_ns = peer.pending[i].due_ns;
                now_ns = next_ns;
        }
}

/* ---- the application ---- */

static struct {
        struct pinroute *pr;
        unsigned cluster, timeout_ms;
        int64_t owed_ms
            [KEYS];     /* until then a record of this key has failed, or is under way, and no answer came */
        unsigned since; /* of the answers, when nothing was owed */
        struct pinroute_pending pending[PENDINGS];
        unsigned sent[PENDINGS];   /* how many answers there were then */
        unsigned n_keys[PENDINGS]; /* from key 0 on */
        bool waited[PENDINGS];
        int status[PENDINGS];
} app;

static int64_t now_ms(void) { return now_ns / CLOCK_NS_PER_MS; }

/* Was this asked since, and answered so? */
static bool was_told(unsigned since, unsigned op, struct pnr_key key, int status)
{
        for (unsigned i = since; i < peer.n_told; i++) {
                const struct pnr_records *f = &peer.asked[i];
                bool many = f->head.op == PNR_OP_RECORDS;
                if ((many ? PNR_OP_RECORD : f->head.op) != op || peer.told[i].status != (uint32_t)status)
                        continue;
                for (unsigned k = 0; k < (many ? f->head.n : 1); k++)
                        if (memcmp(many ? f->key[k] : f->head.key, key.w, sizeof key.w) == 0)
                                return true;
        }
        return peer.n_told == TOLD_MAX;
}

static bool was_paid(unsigned since)
{
        for (unsigned i = since; i < peer.n_told; i++)
                if (peer.asked[i].head.op != PNR_OP_HELLO && peer.told[i].status == PINROUTE_OK)
                        return true;
        return peer.n_told == TOLD_MAX;
}

/* An answer may have been on its way since long before the call that met it. */
static void note_paid(void)
{
        if (!was_paid(app.since))
                return;
        memset(app.owed_ms, 0, sizeof app.owed_ms);
        app.since = peer.n_told;
}

static void owe(uint8_t key, uint64_t ms)
{
        app.owed_ms[key] = now_ms() + (int64_t)(ms < 300000 ? ms : 300000) - 20;
}

static void expect_quick(int64_t began_ms, unsigned most_ms)
{
        MUST_BE(now_ms() - began_ms <= (int64_t)most_ms + 2);
}

static void check_decision(const struct pinroute_decision *d, int status)
{
        MUST_BE(status == PINROUTE_OK || status == PINROUTE_E_STORE || status == PINROUTE_E_CLUSTER);
        MUST_BE(d->role == PINROUTE_PRIMARY ||
                (d->role == PINROUTE_REPLICA && strncmp(d->node, "shadow-", 7) == 0));
        MUST_BE((d->role == PINROUTE_REPLICA) ==
                (d->reason == PINROUTE_BALANCED || d->reason == PINROUTE_CAUGHT_UP));
}

static void on_read(uint8_t key)
{
        struct pinroute_decision d;
        int64_t began_ms = now_ms();
        errno = 77;
        int status = pinroute_route_read(app.pr, app.cluster, &key, 1, &d);
        MUST_BE(errno == 77);
        check_decision(&d, status);
        expect_quick(began_ms, LOOK_MS);
        if (now_ms() < app.owed_ms[key])
                MUST_BE(d.role == PINROUTE_PRIMARY);
}

/* What is said of a write is true, or it stays with this process. */
static void on_write(uint8_t key, bool hold, uint64_t length)
{
        unsigned told = peer.n_told, op = hold ? PNR_OP_HOLD : PNR_OP_RECORD, n = (unsigned)length;
        int64_t began_ms = now_ms();
        errno = 77;
        int status = hold ? pinroute_hold(app.pr, app.cluster, &key, 1, n)
                          : pinroute_record_write(app.pr, app.cluster, &key, 1, n);
        MUST_BE(errno == 77);
        expect_quick(began_ms, app.timeout_ms);
        note_paid();
        switch (status) {
        case PINROUTE_OK:
        case PINROUTE_E_CLUSTER: MUST_BE(was_told(told, op, pnr_key_of(&key, 1), status)); break;
        case PINROUTE_E_INVALID:
                MUST_BE((hold && n == 0) || was_told(told, op, pnr_key_of(&key, 1), status));
                break;
        case PINROUTE_E_REFUSED:
        case PINROUTE_E_UNREACHABLE: {
                owe(key, hold ? n : n ? n * 1000ull : 15000);
                on_read(key);
                break;
        }
        default: MUST_BE(false);
        }
}

static const struct pinroute_key *keys_of(unsigned n)
{
        static uint8_t byte[KEYS] = {0, 1, 2, 3};
        static struct pinroute_key key[70];
        for (unsigned i = 0; i < n; i++)
                key[i] = (struct pinroute_key){&byte[i % KEYS], 1};
        return key;
}

/* Of keys 0 and on, of which there are `n`, some more than once. */
static void check_told(unsigned since, unsigned n, int status)
{
        unsigned told = 0, all = n < KEYS ? n : KEYS;
        for (uint8_t key = 0; key < all; key++)
                told += was_told(since, PNR_OP_RECORD, pnr_key_of(&key, 1), status);
        MUST_BE(status == PINROUTE_OK ? told == all : told > 0);
}

static bool is_owed(int status) { return status == PINROUTE_E_REFUSED || status == PINROUTE_E_UNREACHABLE; }

static uint64_t pin_ms(unsigned seconds) { return seconds ? seconds * 1000ull : 15000; }

static void on_writes(unsigned n, uint64_t length)
{
        unsigned told = peer.n_told, seconds = (unsigned)length;
        int64_t began_ms = now_ms();
        errno = 77;
        int status = pinroute_record_writes(app.pr, app.cluster, keys_of(n), n, seconds);
        MUST_BE(errno == 77);
        expect_quick(began_ms, app.timeout_ms);
        note_paid();
        if (!is_owed(status)) {
                MUST_BE(status == PINROUTE_OK || status == PINROUTE_E_INVALID ||
                        status == PINROUTE_E_CLUSTER);
                if (n)
                        check_told(told, n, status);
                return;
        }
        for (uint8_t key = 0; key < KEYS && key < n; key++)
                if (!was_told(told, PNR_OP_RECORD, pnr_key_of(&key, 1), PINROUTE_OK)) {
                        owe(key, pin_ms(seconds));
                        on_read(key);
                }
}

static void on_send(unsigned slot, unsigned n, uint64_t length)
{
        unsigned told = peer.n_told, seconds = (unsigned)length;
        int64_t began_ms = now_ms();
        errno = 77;
        int status = pinroute_record_send(app.pr, app.cluster, keys_of(n), n, seconds, &app.pending[slot]);
        MUST_BE(errno == 77);
        expect_quick(began_ms, app.timeout_ms);
        note_paid();
        app.sent[slot] = told;
        app.n_keys[slot] = n;
        app.waited[slot] = status != PINROUTE_OK;
        app.status[slot] = status;
        MUST_BE(n <= PINROUTE_BATCH_MAX || status == PINROUTE_E_INVALID);
        if (n > PINROUTE_BATCH_MAX || (status != PINROUTE_OK && !is_owed(status)))
                return;
        for (uint8_t key = 0; key < KEYS && key < n; key++)
                if (!was_told(told, PNR_OP_RECORD, pnr_key_of(&key, 1), PINROUTE_OK)) {
                        owe(key, pin_ms(seconds));
                        on_read(key);
                }
}

static void on_wait(unsigned slot)
{
        unsigned told = peer.n_told;
        int64_t began_ms = now_ms();
        bool sent = app.pending[slot].state != 0;
        errno = 77;
        int status = pinroute_record_wait(app.pr, &app.pending[slot]);
        MUST_BE(errno == 77);
        expect_quick(began_ms, app.timeout_ms);
        note_paid();
        MUST_BE(sent || status == PINROUTE_E_INVALID);
        if (app.waited[slot])
                MUST_BE(status == app.status[slot] && peer.n_told == told);
        else if (sent && !is_owed(status) && app.n_keys[slot])
                check_told(app.sent[slot], app.n_keys[slot], status);
        if (sent && !is_owed(status)) /* answered, whatever that is */
                for (uint8_t key = 0; key < KEYS && key < app.n_keys[slot]; key++)
                        app.owed_ms[key] = 0;
        app.waited[slot] = sent;
        app.status[slot] = status;
}

/* A token that is good asks for the primary, or for what the daemon has said. */
static void on_token(uint8_t key, struct input *in)
{
        struct pinroute_scope s;
        struct pinroute_decision d;
        char name[PNR_NAME_SIZE] = "main", text[PNR_TOKEN_CHARS + 1];
        struct pnr_token t = {.cluster = pnr_token_cluster(name),
                              .key = pnr_key_of(&key, 1),
                              .stamp = take_number(in),
                              .issued_ms = (now_ns + wall_less_now_ns) / CLOCK_NS_PER_MS,
                              .left_ms = 5000};
        pnr_token_sign(&t, &keys, text);
        pinroute_scope_begin(&s, app.pr, app.cluster, NULL, 0);
        unsigned told = peer.n_told;
        int64_t began_ms = now_ms();
        errno = 77;
        int status = pinroute_token_accept(app.pr, app.cluster, text, &s);
        expect_quick(began_ms, app.timeout_ms + LOOK_MS);
        note_paid();
        check_decision(&d, pinroute_scope_read(&s, &d));
        MUST_BE(errno == 77);
        if (status == PINROUTE_OK && !was_told(told, PNR_OP_TOKEN, t.key, PINROUTE_OK))
                MUST_BE(d.role == PINROUTE_PRIMARY);
        MUST_BE(pinroute_scope_end(&s) == PINROUTE_OK);
}

/* Its token brings back what this process knows of the key, and its status is that of a key with a store. */
static void on_issue(uint8_t key)
{
        struct pinroute_scope s;
        struct pinroute_decision d;
        char text[PINROUTE_TOKEN_SIZE];
        int64_t began_ms = now_ms();
        int status = pinroute_token_issue(app.pr, app.cluster, &key, 1, text, sizeof text);
        expect_quick(began_ms, LOOK_MS);
        MUST_BE(status == PINROUTE_OK ? strlen(text) == PNR_TOKEN_CHARS : !text[0]);
        if (status != PINROUTE_OK || now_ms() >= app.owed_ms[key])
                return;
        unsigned told = peer.n_told;
        pinroute_scope_begin(&s, app.pr, app.cluster, "another", 7);
        status = pinroute_token_accept(app.pr, app.cluster, text, &s);
        MUST_BE(status == PINROUTE_OK || status == PINROUTE_E_STORE);
        check_decision(&d, pinroute_scope_read(&s, &d));
        if (peer.n_told == told)
                MUST_BE(d.role == PINROUTE_PRIMARY);
        note_paid();
        pinroute_scope_rekey(&s, &key, 1);
        MUST_BE(pinroute_scope_end(&s) == PINROUTE_OK);
}

static void open_handle(void)
{
        int64_t began_ms = now_ms();
        MUST_BE(pinroute_open(&app.pr, live.dir) == PINROUTE_OK);
        expect_quick(began_ms, 50);
        MUST_BE(pinroute_cluster(app.pr, "main", &app.cluster) == PINROUTE_OK);
        app.timeout_ms = 50;
        memset(app.owed_ms, 0, sizeof app.owed_ms);
        memset(app.pending, 0, sizeof app.pending);
        memset(app.waited, 0, sizeof app.waited);
        app.since = peer.n_told;
}

static void on_timeout(struct input *in)
{
        unsigned ms = 1 + (unsigned)(take_number(in) % 2000);
        MUST_BE(pinroute_set_timeout(app.pr, ms) == PINROUTE_OK);
        app.timeout_ms = ms;
}

static void step(struct input *in)
{
        if (now_ms() - live.header.heartbeat_ms > BEAT_MS)
                live_beat(&live, 0);
        switch (take(in)) {
        case 'r': {
                uint8_t key = (uint8_t)take_below(in, KEYS);
                on_write(key, false, take_number(in));
                break;
        }
        case 'h': {
                uint8_t key = (uint8_t)take_below(in, KEYS);
                on_write(key, true, take_number(in));
                break;
        }
        case 'R': {
                unsigned n = take_below(in, 70);
                on_writes(n, take_number(in));
                break;
        }
        case 's': {
                unsigned slot = take_below(in, PENDINGS);
                on_send(slot, take_below(in, 70), take_number(in));
                break;
        }
        case 'w': on_wait(take_below(in, PENDINGS)); break;
        case 'g': on_read((uint8_t)take_below(in, KEYS)); break;
        case 't': {
                uint8_t key = (uint8_t)take_below(in, KEYS);
                on_token(key, in);
                break;
        }
        case 'i': on_issue((uint8_t)take_below(in, KEYS)); break;
        case 'T': on_timeout(in); break;
        case '+': now_ns += (int64_t)(take_number(in) % 3000) * CLOCK_NS_PER_MS; break;
        case 'l':
                if (peer.listener < 0)
                        listen_again();
                break;
        case 'o':
                pinroute_close(&app.pr);
                serve();
                open_handle();
                break;
        }
}

static void leave(void)
{
        stop_listening();
        unlink(address.sun_path);
        live_fini(&live);
}

static int memory_of(size_t size)
{
        int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        MUST_BE(fd >= 0 && ftruncate(fd, (off_t)size) == 0 &&
                fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0);
        return fd;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        struct timespec t, wall;
        (void)argc, (void)argv;
        __real_clock_gettime(CLOCK_MONOTONIC, &t);
        __real_clock_gettime(CLOCK_REALTIME, &wall);
        now_ns = t.tv_sec * 1000000000 + t.tv_nsec;
        wall_less_now_ns = (wall.tv_sec - t.tv_sec) * 1000000000;
        live_init(&live);
        keys = live_keys(&live, 1, 1);
        snprintf(address.sun_path, sizeof address.sun_path, "%s/pinrouted.sock", live.dir);
        peer.listener = -1;
        peer.passed_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        peer.memory[0] = memory_of(sizeof(struct pnr_counts));
        peer.memory[1] = memory_of(sizeof(struct pnr_common));
        for (unsigned i = 0; i < CLIENTS; i++)
                peer.client[i] = -1;
        for (unsigned i = 0; i < PENDING; i++)
                peer.pending[i].fd = -1;
        listen_again();
        atexit(leave);
        return 0;
}

static int lowest_free_fd(void)
{
        int fd = dup(peer.passed_fd);
        close(fd);
        return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const uint8_t *bar = size ? memchr(data, '|', size) : NULL;
        struct input in = input_of(data, bar ? (size_t)(bar - data) : size);
        peer.script = bar ? (struct input){bar + 1, data + size} : (struct input){0};
        peer.n_told = 0;
        live_beat(&live, 0);
        int lowest = lowest_free_fd();
        open_handle();
        for (unsigned i = 0; i < STEPS && input_left(&in); i++)
                step(&in);
        pinroute_close(&app.pr);
        peer.script = (struct input){0};
        serve();
        for (unsigned i = 0; i < CLIENTS; i++)
                MUST_BE(peer.client[i] < 0);
        if (peer.listener < 0)
                listen_again();
        MUST_BE(lowest_free_fd() == lowest); /* nothing of a closed handle is left open */
        return 0;
}
