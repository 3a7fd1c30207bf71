/* fuzz_operator.c -- what anybody writes to ctl.sock, in pieces, on a core with a real store: libFuzzer.
 * A byte from 0x80 on stands for a word.  Every line gets one answer that pinroutectl's own reader takes; nothing
 * but a release that fits ends a pin; no answer holds a password. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <jansson.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/ops.h"
#include "tests/unit/core_play.h"

#define KEYS     4
#define SECRET   "S3CR3T"
#define SAID_MAX (1 << 20)
#define LINE_MAX 2048 /* as ops.c has it */

static struct conns conns;
static struct ops ops;
static struct event_base *base;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static socklen_t address_size;
static char said[SAID_MAX], complaint[64];
static struct pin seen[2][KEYS]; /* before the command in hand */

/* ---- the input's words ---- */

static size_t expand(uint8_t c, char *to, size_t room)
{
        static const char *const word[] = {"status",
                                           "show ",
                                           "nodes",
                                           "pins",
                                           "clients",
                                           "config",
                                           "stats",
                                           "pin ",
                                           "peek ",
                                           "release ",
                                           "drain ",
                                           "maint ",
                                           "ready ",
                                           "reload",
                                           "main ",
                                           "other ",
                                           "default",
                                           "shadow-1",
                                           "00000000000000000000000000000000 ",
                                           "0000000000000000ffffffffffffffff ",
                                           "0000000000000001fffffffffffffffe ",
                                           "86400",
                                           "18446744073709551615",
                                           "9223372036854775807",
                                           "%20",
                                           "%00"};
        unsigned i = c - 0x80u;
        if (c < 0x80 || i > sizeof word / sizeof *word) {
                *to = (char)c;
                return 1;
        }
        if (i < sizeof word / sizeof *word)
                return (size_t)snprintf(to, room, "%s", word[i]);
        struct pin pin = core_pin("main", 1); /* what a release of this pin has to say */
        return (size_t)snprintf(to, room, "main 0000000000000001fffffffffffffffe %lu %ld",
                                (unsigned long)pin.generation, (long)pin.until_ms);
}

/* ---- what must hold ---- */

static void look_at_pins(struct pin pins[2][KEYS])
{
        for (uint64_t key = 0; key < KEYS; key++) {
                pins[0][key] = core_pin("main", key);
                pins[1][key] = core_pin("other", key);
        }
}

static bool is_released(const json_t *answer) { return json_is_true(json_object_get(answer, "released")); }

/* One answer; a pin may only have become longer, or be gone by a release that says so. */
static void check_answer(const char *text, size_t n)
{
        struct pin after[2][KEYS];
        unsigned gone = 0;
        json_t *answer = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
        MUST_BE(json_is_object(answer));
        json_t *ok = json_object_get(answer, "ok");
        MUST_BE(json_is_boolean(ok));
        MUST_BE(json_is_true(ok) || (json_is_string(json_object_get(answer, "error")) &&
                                     json_is_string(json_object_get(answer, "code"))));
        MUST_BE(!json_is_true(ok) ||
                !memmem(text, n, SECRET, strlen(SECRET))); /* a refusal repeats its words */
        look_at_pins(after);
        for (unsigned c = 0; c < 2; c++)
                for (unsigned key = 0; key < KEYS; key++) {
                        bool dropped = seen[c][key].until_ms && !after[c][key].until_ms;
                        gone += dropped;
                        MUST_BE(dropped || (after[c][key].until_ms >= seen[c][key].until_ms &&
                                            after[c][key].generation >= seen[c][key].generation &&
                                            after[c][key].hold_ms >= seen[c][key].hold_ms));
                }
        MUST_BE(gone <= (is_released(answer) ? 1u : 0u));
        json_decref(answer);
}

/* ---- by hand, and through the socket ---- */

static void run_lines(char *text)
{
        for (char *line; (line = strsep(&text, "\n"));) {
                struct evbuffer *out = evbuffer_new();
                look_at_pins(seen);
                ops_run(&ops, line, out);
                size_t n = evbuffer_get_length(out);
                check_answer((const char *)evbuffer_pullup(out, -1), n);
                evbuffer_free(out);
        }
}

static void turn(void) { event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK); }

/* In pieces, and answered before the end of what is sent, or not at all. */
static void converse(const char *text, size_t n, size_t piece)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        MUST_BE(connect(fd, (struct sockaddr *)&address, address_size) == 0);
        look_at_pins(seen);
        for (unsigned i = 0; ops.n == 0 && i < 10; i++)
                turn();
        MUST_BE(ops.n == 1);
        for (size_t at = 0; at < n && ops.n; at += piece) {
                (void)!send(fd, text + at, n - at < piece ? n - at : piece, MSG_NOSIGNAL | MSG_DONTWAIT);
                turn();
        }
        shutdown(fd, SHUT_WR);
        size_t got = 0;
        bool over = false;
        for (unsigned i = 0; !over; i++) {
                MUST_BE(i < 10000);
                turn();
                ssize_t r = recv(fd, said + got, sizeof said - got, MSG_DONTWAIT);
                over = r == 0 || (r < 0 && errno == ECONNRESET);
                got += r > 0 ? (size_t)r : 0;
        }
        close(fd);
        MUST_BE(ops.n == 0);
        bool whole = memchr(text, '\n', n) || n >= LINE_MAX;
        MUST_BE(got == 0 || whole);
        if (got)
                check_answer(said, got);
}

/* ---- */

static bool on_reload(void *arg, ops_say_fn *say, void *say_arg)
{
        (void)arg;
        if (complaint[0])
                say(say_arg, complaint);
        return !complaint[0];
}

/* A new core every so often: pins of chance keys fill its table. */
static void start_core(void)
{
        core_open();
        snprintf(core_cluster_conf[0].node[0].conninfo, sizeof core_cluster_conf[0].node[0].conninfo,
                 "host=default user=u password=" SECRET);
        core_configure(&core, &core_conf, core_now);
        core_step(NULL, 0, 1);
}

static void leave(void)
{
        ops_fini(&ops);
        event_base_free(base);
        core_close();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        (void)argc, (void)argv;
        start_core();
        TAILQ_INIT(&conns.by_use);
        int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int n = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "pnr-fuzz-%d", (int)getpid());
        address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
        MUST_BE(bind(listener, (struct sockaddr *)&address, address_size) == 0 && listen(listener, 64) == 0);
        base = event_base_new();
        ops = (struct ops){
            .core = &core, .conns = &conns, .base = base, .operators = (gid_t)-1, .reload = on_reload};
        MUST_BE(ops_init(&ops, listener));
        atexit(leave);
        return 0;
}

/* First byte: 0 for lines by hand, else through the socket in pieces of that size.  Second: how long a complaint of
 * reload is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static char text[65536];
        struct input in = input_of(data, size);
        size_t piece = take_below(&in, 256), n = 0;
        take_bytes(&in, complaint, take_below(&in, sizeof complaint));
        complaint[sizeof complaint - 1] = '\0';
        core_now = clock_mono();
        core.last_turn = core_now;
        struct store_count count;
        store_count(core.store, &count);
        if (count.pins > 500) {
                core_close();
                start_core();
        }
        core_step(NULL, 0, 0);
        while (input_left(&in) && n < sizeof text - 200)
                n += expand(take(&in), text + n, sizeof text - n);
        text[n] = '\0';
        if (piece == 0)
                run_lines(text);
        else
                converse(text, n, piece);
        return 0;
}
