/* fuzz_facts.c -- a PostgreSQL server that says anything: its rows' text under facts.c, and its bytes under libpq and
 * probe.c: libFuzzer.  The server is the other end of a Unix socket, played between two turns of the loop.
 * First byte: 'r' for the nine columns of a row, NULL where a line is "~"; else a log-in and what follows it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/facts.h"
#include "daemon/log.h"
#include "daemon/probe.h"
#include "tests/fuzz/fuzz.h"

#define TIMEOUT_MS 20000
#define TURNS_MAX  20000

static struct event_base *base;
static char dir[64];
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static int listener;

/* ---- rows ---- */

/* What PostgreSQL would print for it: the text must be that, byte by byte. */
static void check_number(const char *text, uint64_t number)
{
        char again[32];
        snprintf(again, sizeof again, "%" PRIu64, number);
        MUST_BE(!strcmp(text, again));
}

static void check_lsn(const char *text, struct lsn lsn)
{
        unsigned high, low;
        char rest;
        MUST_BE(strspn(text, "0123456789ABCDEF/") == strlen(text));
        MUST_BE(sscanf(text, "%8X/%8X%c", &high, &low, &rest) == 2);
        MUST_BE(lsn.bytes == ((uint64_t)high << 32 | low));
}

/* At most a header before what was said, and then at the beginning of a page. */
static void check_normal(const char *const row[], struct lsn position)
{
        struct lsn said;
        MUST_BE(facts_lsn(row[FACTS_POSITION], &said) && said.bytes > 0);
        uint64_t less = said.bytes - position.bytes;
        MUST_BE(less == 0 || less == 24 || less == 40);
        MUST_BE(less == 0 || position.bytes % strtoull(row[FACTS_BLOCK_SIZE], NULL, 10) == 0);
}

static void check_facts(const char *const row[], const struct facts *f)
{
        MUST_BE(!strcmp(row[FACTS_IN_RECOVERY], f->in_recovery ? "t" : "f"));
        check_number(row[FACTS_SYSTEM_IDENTIFIER], f->system_identifier);
        MUST_BE(f->system_identifier != 0 && memchr(f->note, '\0', sizeof f->note));
        MUST_BE((f->timeline == 0) == (f->note[0] != '\0'));
        if (row[FACTS_POSITION] && f->in_recovery)
                check_lsn(row[FACTS_POSITION], f->position);
        if (!row[FACTS_POSITION])
                MUST_BE(f->in_recovery && f->position.bytes == 0);
        if (!f->in_recovery) {
                char timeline[9];
                snprintf(timeline, sizeof timeline, "%08X", f->timeline);
                MUST_BE(f->timeline && !strncmp(row[FACTS_WAL_FILE], timeline, 8));
                check_normal(row, f->position);
        } else if (f->timeline) {
                check_number(row[FACTS_RECEIVER_TIMELINE], f->timeline);
                MUST_BE(!strcmp(row[FACTS_RECEIVER_STATUS], "streaming") &&
                        !strcmp(row[FACTS_RECEIVER], "t"));
        }
}

/* Each column alone on the heap: who reads on is seen. */
static void read_row(const uint8_t *data, size_t size)
{
        char *row[FACTS_COLUMNS], *all = malloc(size + 1), *rest = all;
        struct facts f;
        MUST_BE(all);
        memcpy(all, data, size);
        all[size] = '\0';
        for (unsigned i = 0; i < FACTS_COLUMNS; i++) {
                const char *text = strsep(&rest, "\n");
                row[i] = text && strcmp(text, "~") != 0 ? strdup(text) : NULL;
        }
        const char *wrong = facts_read((const char *const *)row, "watcher", &f);
        if (!wrong)
                check_facts((const char *const *)row, &f);
        MUST_BE(!wrong || wrong[0]);
        for (unsigned i = 0; i < FACTS_COLUMNS; i++)
                free(row[i]);
        free(all);
}

/* ---- a conversation ---- */

static struct {
        unsigned n;
        struct prober_result last;
} given;

static void on_result(void *arg, const struct prober_result *r)
{
        (void)arg;
        MUST_BE(memchr(r->text, '\0', sizeof r->text));
        for (const char *c = r->text; *c; c++)
                MUST_BE((unsigned char)*c >= 0x20 && *c != 0x7f);
        if (r->kind == PROBER_BROKEN)
                return;
        MUST_BE(r->kind == PROBER_ANSWER || (r->kind == PROBER_FAILED && r->text[0]));
        MUST_BE(r->kind != PROBER_ANSWER || r->system_identifier);
        given.n++;
        given.last = *r;
}

static void put(int fd, const void *bytes, size_t n)
{
        (void)!send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void put_message(int fd, uint8_t kind, const void *body, size_t n)
{
        uint8_t m[1024] = {kind};
        uint32_t length = htonl((uint32_t)n + 4);
        memcpy(m + 1, &length, 4);
        memcpy(m + 5, body, n);
        put(fd, m, n + 5);
}

/* Nine cells, as they stand in the input: "~" for NULL, each to its '\n'. */
static void put_row(int fd, struct input *in, unsigned cells)
{
        uint8_t body[1000] = {0, (uint8_t)cells};
        size_t n = 2;
        for (unsigned i = 0; i < cells; i++) {
                const uint8_t *end = input_left(in) ? memchr(in->at, '\n', input_left(in)) : NULL;
                size_t length = end ? (size_t)(end - in->at) : input_left(in);
                bool null = length == 1 && *in->at == '~';
                if (length > 60 || n + length + 4 > sizeof body)
                        break;
                uint32_t wire = null ? UINT32_MAX : htonl((uint32_t)length);
                memcpy(body + n, &wire, 4);
                memcpy(body + n + 4, in->at, null ? 0 : length);
                n += 4 + (null ? 0 : length);
                in->at += length + (end != NULL);
        }
        put_message(fd, 'D', body, n);
}

static void put_columns(int fd, unsigned cells)
{
        uint8_t body[400] = {0, (uint8_t)cells};
        for (unsigned i = 0; i < cells; i++)
                memcpy(body + 2 + 20 * (size_t)i, "c\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0", 20);
        put_message(fd, 'T', body, 2 + 20 * (size_t)cells);
}

/* false: the server hangs up. */
static bool say(int fd, struct input *in)
{
        uint8_t body[256], n;
        switch (take(in)) {
        case 'a': put_message(fd, 'R', "\0\0\0", 4); return true;
        case 'A': /* authentication of some kind */
                memset(body, 0, 8);
                body[3] = take(in);
                put_message(fd, 'R', body, 8);
                return true;
        case 'z': put_message(fd, 'Z', "I", 1); return true;
        case 't': put_columns(fd, take_below(in, 12)); return true;
        case 'd': put_row(fd, in, take_below(in, 12)); return true;
        case 'c': put_message(fd, 'C', "SELECT 1", 9); return true;
        case 'e': put_message(fd, 'E', "SERROR\0C42501\0Mno\n\x01right\0", 26); return true;
        case 'n': put_message(fd, 'N', "SNOTICE\0C00000\0Mby the way\0", 27); return true;
        case 'l': put_message(fd, 'A', "\0\0\0\7channel\0payload", 20); return true;
        case 's': put_message(fd, 'S', "server_version\00015.1", 20); return true;
        case 'k': put_message(fd, 'K', "\0\0\0\1\0\0\0\2", 8); return true;
        case 'm': { /* any message */
                uint8_t kind = take(in);
                n = take(in);
                take_bytes(in, body, n);
                put_message(fd, kind, body, n);
                return true;
        }
        case 'b': /* any bytes */
                n = take(in);
                take_bytes(in, body, n);
                put(fd, body, n);
                return true;
        case 'f': /* a flood of one message's body */
                n = take(in);
                memset(body, n, sizeof body);
                for (unsigned i = 0; i < 1024; i++)
                        put(fd, body, sizeof body);
                return true;
        case '.': return true;
        }
        return false;
}

static void turn(void) { event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK); }

static void check_once(struct probe *p, struct input *in, int *fd, uint64_t number)
{
        unsigned before = given.n;
        probe_check(p, number, TIMEOUT_MS);
        for (unsigned i = 0; given.n == before; i++) {
                MUST_BE(i < TURNS_MAX); /* a server that has hung up is no reason to wait */
                if (*fd < 0)
                        *fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (*fd >= 0 && !say(*fd, in)) {
                        close(*fd);
                        *fd = -1;
                }
                turn();
        }
        MUST_BE(given.n == before + 1 && given.last.number == number && given.last.node == 3);
}

/* Two checks: the second on the connection of the first, where that is left. */
static void converse(struct input *in)
{
        char conninfo[200];
        int fd = -1;
        struct probe_host host = {.base = base, .user = "watcher", .result = on_result};
        snprintf(conninfo, sizeof conninfo, "host=%s dbname=app password=x sslmode=disable", dir);
        struct probe *p = probe_open(&host, 3, conninfo);
        check_once(p, in, &fd, 7);
        check_once(p, in, &fd, 8);
        probe_close(&p);
        for (int late; (late = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;)
                close(late);
        if (fd >= 0)
                close(fd);
        turn();
}

/* ---- */

static void leave(void)
{
        close(listener);
        unlink(address.sun_path);
        rmdir(dir);
        event_base_free(base);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        (void)argc, (void)argv;
        log_init("fuzz");
        log_set_level(0);
        base = event_base_new();
        strcpy(dir, "/dev/shm/pnr-facts-XXXXXX");
        MUST_BE(mkdtemp(dir));
        snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.5432", dir);
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        MUST_BE(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 &&
                listen(listener, 16) == 0);
        atexit(leave);
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = input_of(data, size);
        if (take(&in) == 'r')
                read_row(in.at, input_left(&in));
        else
                converse(&in);
        return 0;
}
