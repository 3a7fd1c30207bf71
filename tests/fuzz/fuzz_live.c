/* fuzz_live.c -- a pinrouted that runs, and clients that do all that a socket lets them: libFuzzer.
 * An input is a script: connections that come and go, frames whole, torn, oversized and many at once, nobody who reads,
 * descriptors that are passed, operators.  After each a good client records a write in time, and finds its pin. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/clock.h"
#include "client/pinroute.h"
#include "proto/wire.h"
#include "tests/fuzz/fuzz.h"

#define STEPS      64
#define CLIENTS    24
#define KEYS       8
#define OVERSIZE   65536
#define SECONDS    60    /* of the good client's pins */
#define PATIENT_MS 20000 /* on a loaded machine; by the contract it is the stub's default of 50 */
#define START_MS   60000

static char dir[64], stderr_path[96]; /* the daemon's */
static struct sockaddr_un workers = {.sun_family = AF_UNIX}, operators = {.sun_family = AF_UNIX};
static pid_t daemon_pid;
static int client[CLIENTS], null_fd;
static struct pinroute *good;
static unsigned cluster;
static long fds_at_start;

/* ---- the daemon ---- */

static const char *in_dir(const char *name)
{
        static char path[128];
        snprintf(path, sizeof path, "%s/%s", dir, name);
        return path;
}

static void write_conf(void)
{
        FILE *f = fopen(in_dir("pinrouted.ini"), "w");
        MUST_BE(f);
        fprintf(f, "[pinrouted]\ndir = %s\nmax_pins = 10000\nmax_clients = 16\n", dir);
        fputs("[cluster main]\nmax_pin_seconds = 300\n[nodes main]\n"
              "default = host=127.0.0.1 port=1 role=primary\nshadow-1 = host=127.0.0.1 port=1\n",
              f);
        MUST_BE(fclose(f) == 0);
}

/* Beside the fuzzers' directory.  It is killed when we end, however that is. */
static void start(const char *own_path)
{
        char program[4096];
        const char *slash = strrchr(own_path, '/');
        snprintf(program, sizeof program, "%.*s/../pinrouted", slash ? (int)(slash - own_path) : 1,
                 slash ? own_path : ".");
        pid_t parent = getpid();
        daemon_pid = fork();
        MUST_BE(daemon_pid >= 0);
        if (daemon_pid > 0)
                return;
        int err = open(stderr_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent || err < 0 || dup2(err, 2) < 0 ||
            dup2(null_fd, 1) < 0)
                _exit(126);
        execl(program, program, "-c", in_dir("pinrouted.ini"), (char *)NULL);
        fprintf(stderr, "%s: %s\n", program, strerror(errno));
        _exit(127);
}

/* Its log from byte `at` on; returns how much there is.  Prints it when it shows what must not be. */
static void check_log(bool all)
{
        static const char *const bad[] = {"Sanitizer", "runtime error:", "bug: "};
        static off_t at;
        static char text[1 << 20];
        int fd = open(stderr_path, O_RDONLY | O_CLOEXEC);
        ssize_t n = pread(fd, text, sizeof text - 1, all ? 0 : at);
        close(fd);
        n = n > 0 ? n : 0;
        text[n] = '\0';
        at += all ? 0 : n;
        for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
                if (strstr(text, bad[i])) {
                        fprintf(stderr, "pinrouted said:\n%s\n", text);
                        abort();
                }
}

static void check_alive(void)
{
        int status;
        if (waitpid(daemon_pid, &status, WNOHANG) == 0)
                return;
        daemon_pid = 0;
        check_log(true);
        fprintf(stderr, "pinrouted ended with status %#x\n", (unsigned)status);
        abort();
}

static long count_fds(void)
{
        char path[64];
        long n = 0;
        for (int fd = 0; fd < 256; fd++) {
                char to[8];
                snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)daemon_pid, fd);
                n += readlink(path, to, sizeof to) > 0;
        }
        return n;
}

/* ---- the good client ---- */

static void check_good_client(void)
{
        static uint8_t turn;
        struct pinroute_decision d;
        uint8_t key[2] = {'g', turn++ % 16};
        MUST_BE(pinroute_set_timeout(good, PATIENT_MS) == PINROUTE_OK);
        int status = pinroute_record_write(good, cluster, key, sizeof key, SECONDS);
        check_alive();
        MUST_BE(status == PINROUTE_OK);
        status = pinroute_route_read(good, cluster, key, sizeof key, &d);
        MUST_BE(status == PINROUTE_OK && d.role == PINROUTE_PRIMARY);
        if (d.reason == PINROUTE_STORE_STALE) /* on a machine that stood still */
                return;
        MUST_BE(d.reason == PINROUTE_PINNED &&
                d.pin_left_ms <= SECONDS * 1000u + 100); /* more is the floor's */
        MUST_BE(d.pin_left_ms > (SECONDS - PATIENT_MS / 1000) * 1000u);
}

/* ---- the others ---- */

static void hang_up(unsigned i)
{
        if (client[i] >= 0)
                close(client[i]);
        client[i] = -1;
}

static void call(unsigned i, bool operator)
{
        hang_up(i);
        client[i] =
            socket(AF_UNIX, (operator? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(client[i], (void *)(operator? &operators : & workers), sizeof workers) != 0)
                hang_up(i);
}

static void put(unsigned i, const void *bytes, size_t n)
{
        if (client[i] >= 0)
                (void)!send(client[i], bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static struct pnr_records take_frame(struct input *in)
{
        struct pnr_records f = {.head = {.magic = PNR_WIRE_MAGIC, .version = PNR_WIRE_VERSION, .number = 7}};
        struct pnr_request *q = &f.head;
        q->op = (uint16_t)(1 + take_below(in, 5));
        if (q->op != PNR_OP_HELLO) {
                memcpy(q->cluster, "main", 4);
                q->key[0] = take_below(in, KEYS);
                q->ms = (uint32_t)take_number(in);
        }
        if (q->op == PNR_OP_TOKEN)
                q->stamp = take_number(in);
        if (q->op != PNR_OP_RECORDS)
                return f;
        q->n = take_below(in, 70);
        for (unsigned i = 0; i < q->n && i < PNR_RECORDS_MAX; i++)
                f.key[i][0] = q->key[0] + i;
        q->key[0] = 0;
        return f;
}

/* Reads what is there: only whole answers, each to what may have been asked. */
static void read_answers(unsigned i)
{
        struct pnr_reply r;
        int type = SOCK_STREAM;
        socklen_t size = sizeof type;
        if (client[i] < 0 || getsockopt(client[i], SOL_SOCKET, SO_TYPE, &type, &size) || type == SOCK_STREAM)
                return;
        for (ssize_t n; (n = recv(client[i], &r, sizeof r, MSG_DONTWAIT | MSG_TRUNC)) > 0;)
                MUST_BE(n == (ssize_t)sizeof r && r.magic == PNR_WIRE_MAGIC && r.op >= PNR_OP_HELLO &&
                        r.op <= PNR_OP_RECORDS && r.status <= PINROUTE_E_REFUSED);
}

static void pass_fd(unsigned i, const struct pnr_records *f)
{
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int))];
        } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
        struct iovec bytes = {(void *)(uintptr_t)f, pnr_frame_size(&f->head)};
        struct msghdr m = {
            .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        memcpy(CMSG_DATA(&control.header), &null_fd, sizeof null_fd);
        if (client[i] >= 0)
                (void)!sendmsg(client[i], &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void order(unsigned i, struct input *in)
{
        static const char *const word[] = {"status\n",      "show clients\n",
                                           "show pins\n",   "show stats\n",
                                           "show config\n", "pin main 00000000000000000000000000000000 9\n",
                                           "reload\n",      "drain main shadow-1\n",
                                           "show nodes\n",  "ready main shadow-1\n"};
        unsigned n = take_below(in, sizeof word / sizeof *word + 1);
        uint8_t bytes[64];
        if (n < sizeof word / sizeof *word) {
                put(i, word[n], strlen(word[n]));
                return;
        }
        n = take_below(in, sizeof bytes);
        take_bytes(in, bytes, n);
        put(i, bytes, n);
}

static void step(struct input *in)
{
        static uint8_t zeros[OVERSIZE];
        uint8_t what = take(in);
        unsigned i = take_below(in, CLIENTS);
        struct pnr_records f;
        switch (what) {
        case 'o': call(i, false); break;
        case 'O': call(i, true); break;
        case 'c': hang_up(i); break;
        case 'k': order(i, in); break;
        case 'r': read_answers(i); break;
        case 'z': put(i, zeros, 0); break;
        case 'b': put(i, zeros, take_number(in) % OVERSIZE); break;
        case 's': shutdown(client[i], (int)take_below(in, 3)); break;
        case 'w': poll(NULL, 0, 1); break;
        case 'H': kill(daemon_pid, SIGHUP); break;
        case 'f':
                f = take_frame(in);
                put(i, &f, pnr_frame_size(&f.head));
                break;
        case 'm':
                f = take_frame(in);
                take_strokes(in, &f, pnr_frame_size(&f.head));
                put(i, &f, pnr_frame_size(&f.head));
                break;
        case 'h':
                f = take_frame(in);
                put(i, &f, take(in) % pnr_frame_size(&f.head));
                break;
        case 'n':
                f = take_frame(in);
                for (unsigned n = take(in); n > 0; n--, f.head.number++)
                        put(i, &f, pnr_frame_size(&f.head));
                break;
        case 'p':
                f = take_frame(in);
                pass_fd(i, &f);
                break;
        case 'R': {
                int little = 1;
                setsockopt(client[i], SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
                break;
        }
        }
}

/* ---- from beginning to end ---- */

/* The last check: it ends in order, with all memory given back. */
static void leave(void)
{
        int status = 0;
        pid_t pid = daemon_pid;
        daemon_pid = 0;
        pinroute_close(&good);
        bool ended = !pid;
        if (pid)
                kill(pid, SIGTERM);
        for (unsigned i = 0; !ended && i < PATIENT_MS / 10; i++)
                ended = waitpid(pid, &status, WNOHANG) == pid || poll(NULL, 0, 10) < 0;
        if (!ended)
                kill(pid, SIGKILL);
        check_log(true);
        static const char *const names[] = {
            "pinrouted.ini",  "pinrouted.sock", "ctl.sock", "data.mdb", "lock.mdb",
            "pinrouted.lock", "stderr",         "new",      ""};
        for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
                remove(in_dir(names[i]));
        MUST_BE(ended && status == 0);
}

static bool serves(void)
{
        struct pinroute_decision d;
        return pinroute_record_write(good, cluster, "g", 1, 1) == PINROUTE_OK &&
               pinroute_route_read(good, cluster, NULL, 0, &d) == PINROUTE_OK;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        (void)argc;
        const char *room = getenv("TMPDIR");
        snprintf(dir, sizeof dir, "%.40s/pnr-live-XXXXXX", room ? room : "/dev/shm");
        MUST_BE(mkdtemp(dir));
        snprintf(stderr_path, sizeof stderr_path, "%s/stderr", dir);
        snprintf(workers.sun_path, sizeof workers.sun_path, "%s/pinrouted.sock", dir);
        snprintf(operators.sun_path, sizeof operators.sun_path, "%s/ctl.sock", dir);
        null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        for (unsigned i = 0; i < CLIENTS; i++)
                client[i] = -1;
        write_conf();
        start((*argv)[0]);
        atexit(leave);
        MUST_BE(pinroute_open(&good, dir) == PINROUTE_OK);
        pinroute_cluster(good, "main", &cluster);
        MUST_BE(pinroute_set_timeout(good, 1000) == PINROUTE_OK);
        for (int64_t end_ns = clock_ns() + START_MS * CLOCK_NS_PER_MS; !serves(); poll(NULL, 0, 20)) {
                check_alive();
                MUST_BE(clock_ns() < end_ns);
        }
        fds_at_start = count_fds();
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static unsigned inputs;
        struct input in = input_of(data, size);
        for (unsigned i = 0; i < STEPS && input_left(&in); i++)
                step(&in);
        check_good_client();
        for (unsigned i = 0; i < CLIENTS; i++)
                hang_up(i);
        check_alive();
        check_log(false);
        if (++inputs % 1024)
                return 0;
        for (unsigned i = 0; count_fds() > fds_at_start + 4;
             i++) { /* the prober's, and its sockets' changes */
                MUST_BE(i < 1000);
                poll(NULL, 0, 10);
        }
        return 0;
}
