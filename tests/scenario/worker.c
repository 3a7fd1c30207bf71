/* worker.c -- an application process for the scenarios: calls libpinroute as it is told to on stdin.
 * One command per line, one answer per line (`status=OK node=... us=12`).  Knows pinroute.h only; no test of
 * its own.
 *
 *   open DIR|-   close   timeout MS   cluster NAME   pid   quit
 *   read C KEY   write C   endpoint C NODE   record C KEY SECONDS   hold C KEY MS
 *   records C KEY N SECONDS   send C KEY N SECONDS   wait      of the keys KEY-0 to KEY-(N-1)
 *   within C KEY MS       a read at most so far behind; scope within MS
 *   reads C KEY N         N decisions, counted by node and reason
 *   spin C KEY MS         the same for MS milliseconds
 *   threads C KEY N       the same in 4 threads at once, N each
 *   scope begin C KEY     scope read|wrote|force|unforce|end   scope rekey KEY   scope accept C TOKEN
 *   issue C KEY           answers with token=...
 *   fork IN OUT           rawfork IN OUT: the child goes on by itself, on these two FIFOs
 *
 * C is the number that `cluster` answered.  KEY and TOKEN are hexadecimal; `-`: NULL, `.`: empty. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "client/pinroute.h"

#define WORDS_MAX  8
#define COUNTS_MAX 256
#define KEYS_MAX   256
#define THREADS    4

struct key {
        unsigned char bytes[PINROUTE_KEY_MAX + 2]; /* one too many, and a NUL */
        size_t len;
        const void *at; /* bytes, or NULL for `-` */
};

struct counts {
        unsigned n;
        struct {
                char node[PINROUTE_NODE_SIZE];
                unsigned reason;
                unsigned long times;
        } row[COUNTS_MAX];
};

static struct pinroute *handle;
static struct pinroute_scope scope;
static struct pinroute_pending pending;
static FILE *in, *out;

static long long now_us(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000000LL + t.tv_nsec / 1000;
}

static unsigned number(const char *word) { return word ? (unsigned)strtoul(word, NULL, 10) : 0; }

/* An empty key is written `.`: bytes, but none of them. */
static void key_read(struct key *k, const char *word)
{
        k->len = 0;
        k->at = strcmp(word, "-") == 0 ? NULL : k->bytes;
        while (k->at && word[0] && word[1] && k->len <= PINROUTE_KEY_MAX) {
                char pair[3] = {word[0], word[1], 0};
                k->bytes[k->len++] = (unsigned char)strtoul(pair, NULL, 16);
                word += 2;
        }
}

static const char *status_word(int status)
{
        static const char *const word[] = {"OK",
                                           "E_INVALID",
                                           "E_CLUSTER",
                                           "E_NODE",
                                           "E_STORE",
                                           "E_UNREACHABLE",
                                           "E_REFUSED",
                                           "E_NO_REPLICA",
                                           "E_TOKEN_FORGED",
                                           "E_TOKEN_EXPIRED",
                                           "E_TOKEN_FOREIGN",
                                           "E_MEMORY"};
        return status >= 0 && (size_t)status < sizeof word / sizeof word[0] ? word[status] : "unknown";
}

static void answer_status(int status, long long since)
{
        fprintf(out, "status=%s us=%lld\n", status_word(status), now_us() - since);
}

static void answer_decision(int status, const struct pinroute_decision *d, long long since)
{
        fprintf(out, "status=%s node=%s role=%s reason=%s left=%u epoch=%llu us=%lld\n", status_word(status),
                d->node, d->role == PINROUTE_PRIMARY ? "PRIMARY" : "REPLICA", pinroute_reason_name(d->reason),
                d->pin_left_ms, (unsigned long long)d->epoch, now_us() - since);
}

static void count(struct counts *c, const char *node, unsigned reason, unsigned long times)
{
        unsigned i = 0;
        while (i < c->n && (c->row[i].reason != reason || strcmp(c->row[i].node, node) != 0))
                i++;
        if (i == COUNTS_MAX)
                abort();
        if (i == c->n) {
                c->n++;
                c->row[i].reason = reason;
                snprintf(c->row[i].node, sizeof c->row[i].node, "%s", node);
        }
        c->row[i].times += times;
}

static void answer_counts(const struct counts *c, int status, unsigned long done, long long since)
{
        fprintf(out, "status=%s n=%lu us=%lld", status_word(status), done, now_us() - since);
        for (unsigned i = 0; i < c->n; i++)
                fprintf(out, " %s/%s=%lu", c->row[i].node, pinroute_reason_name((int)c->row[i].reason),
                        c->row[i].times);
        fputc('\n', out);
}

/* `reads`: n decisions; `spin`: as many as fit before the deadline. */
static void do_many(char **word, int by_time)
{
        struct key k;
        key_read(&k, word[2]);
        struct counts c = {.n = 0};
        unsigned cluster = number(word[1]), n = number(word[3]);
        unsigned long done = 0;
        long long from = now_us(), until = from + n * 1000LL;
        int status = PINROUTE_OK;
        while (by_time ? now_us() < until : done < n) {
                struct pinroute_decision d;
                int s = pinroute_route_read(handle, cluster, k.at, k.len, &d);
                if (s != PINROUTE_OK)
                        status = s;
                count(&c, d.node, d.reason, 1);
                done++;
        }
        answer_counts(&c, status, done, from);
}

struct share {
        pthread_t thread;
        unsigned cluster, n;
        const struct key *key;
        struct counts counts;
};

static void *decide_share(void *arg)
{
        struct share *s = arg;
        for (unsigned i = 0; i < s->n; i++) {
                struct pinroute_decision d;
                pinroute_route_read(handle, s->cluster, s->key->at, s->key->len, &d);
                count(&s->counts, d.node, d.reason, 1);
        }
        return NULL;
}

static void do_threads(char **word)
{
        static struct share share[THREADS];
        struct counts all = {.n = 0};
        struct key k;
        long long from = now_us();
        key_read(&k, word[2]);
        for (unsigned i = 0; i < THREADS; i++) {
                share[i] = (struct share){.cluster = number(word[1]), .n = number(word[3]), .key = &k};
                if (pthread_create(&share[i].thread, NULL, decide_share, &share[i]) != 0)
                        abort();
        }
        for (unsigned i = 0; i < THREADS; i++) {
                pthread_join(share[i].thread, NULL);
                for (unsigned j = 0; j < share[i].counts.n; j++)
                        count(&all, share[i].counts.row[j].node, share[i].counts.row[j].reason,
                              share[i].counts.row[j].times);
        }
        answer_counts(&all, PINROUTE_OK, THREADS * share[0].n, from);
}

static void do_reads(char **word) { do_many(word, 0); }
static void do_spin(char **word) { do_many(word, 1); }

static void do_open(char **word)
{
        long long from = now_us();
        const char *dir = word[1] && strcmp(word[1], "-") != 0 ? word[1] : NULL;
        answer_status(pinroute_open(&handle, dir), from);
}

static void do_close(char **word)
{
        (void)word;
        long long from = now_us();
        pinroute_close(&handle);
        answer_status(PINROUTE_OK, from);
}

static void do_timeout(char **word)
{
        long long from = now_us();
        answer_status(pinroute_set_timeout(handle, number(word[1])), from);
}

static void do_cluster(char **word)
{
        unsigned cluster = 0;
        long long from = now_us();
        int status = pinroute_cluster(handle, word[1], &cluster);
        fprintf(out, "status=%s cluster=%u us=%lld\n", status_word(status), cluster, now_us() - from);
}

static void do_read(char **word)
{
        struct key k;
        key_read(&k, word[2]);
        struct pinroute_decision d;
        long long from = now_us();
        int status = pinroute_route_read(handle, number(word[1]), k.at, k.len, &d);
        answer_decision(status, &d, from);
}

static void do_within(char **word)
{
        struct key k;
        key_read(&k, word[2]);
        struct pinroute_decision d;
        long long from = now_us();
        int status = pinroute_route_read_within(handle, number(word[1]), k.at, k.len, number(word[3]), &d);
        answer_decision(status, &d, from);
}

static void do_write(char **word)
{
        struct pinroute_decision d;
        long long from = now_us();
        int status = pinroute_route_write(handle, number(word[1]), &d);
        answer_decision(status, &d, from);
}

static void do_endpoint(char **word)
{
        char text[512] = "";
        int status = pinroute_endpoint(handle, number(word[1]), word[2], text, sizeof text);
        fprintf(out, "status=%s endpoint=%s\n", status_word(status), text);
}

static void do_record(char **word)
{
        struct key k;
        key_read(&k, word[2]);
        long long from = now_us();
        answer_status(pinroute_record_write(handle, number(word[1]), k.at, k.len, number(word[3])), from);
}

/* KEY-0 and on. */
static const struct pinroute_key *keys_read(const char *word, unsigned n)
{
        static struct key text[KEYS_MAX];
        static struct pinroute_key keys[KEYS_MAX];
        for (unsigned i = 0; i < n && i < KEYS_MAX; i++) {
                key_read(&text[i], word);
                size_t room = sizeof text[i].bytes - text[i].len;
                text[i].len += (size_t)snprintf((char *)text[i].bytes + text[i].len, room, "-%u", i);
                keys[i] = (struct pinroute_key){text[i].bytes, text[i].len};
        }
        return keys;
}

static void do_records(char **word)
{
        unsigned n = number(word[3]);
        const struct pinroute_key *keys = keys_read(word[2], n);
        long long from = now_us();
        answer_status(pinroute_record_writes(handle, number(word[1]), keys, n, number(word[4])), from);
}

static void do_send(char **word)
{
        unsigned n = number(word[3]);
        const struct pinroute_key *keys = keys_read(word[2], n);
        long long from = now_us();
        answer_status(pinroute_record_send(handle, number(word[1]), keys, n, number(word[4]), &pending),
                      from);
}

static void do_wait(char **word)
{
        (void)word;
        long long from = now_us();
        answer_status(pinroute_record_wait(handle, &pending), from);
}

static void do_hold(char **word)
{
        struct key k;
        key_read(&k, word[2]);
        long long from = now_us();
        answer_status(pinroute_hold(handle, number(word[1]), k.at, k.len, number(word[3])), from);
}

static void do_issue(char **word)
{
        struct key k;
        char token[PINROUTE_TOKEN_SIZE];
        key_read(&k, word[2]);
        long long from = now_us();
        int status = pinroute_token_issue(handle, number(word[1]), k.at, k.len, token, sizeof token);
        fprintf(out, "status=%s us=%lld token=%s\n", status_word(status), now_us() - from, token);
}

static int accept_token(const char *cluster, const char *word)
{
        struct key token;
        key_read(&token, word);
        token.bytes[token.len] = '\0';
        return pinroute_token_accept(handle, number(cluster), token.at, &scope);
}

static int rekey(const char *word)
{
        struct key k;
        key_read(&k, word);
        return pinroute_scope_rekey(&scope, k.at, k.len);
}

static void do_scope(char **word)
{
        long long from = now_us();
        int status = PINROUTE_OK;
        const char *what = word[1] ? word[1] : "";
        bool bounded = strcmp(what, "within") == 0;
        if (bounded || strcmp(what, "read") == 0) {
                struct pinroute_decision d;
                status = bounded ? pinroute_scope_read_within(&scope, number(word[2]), &d)
                                 : pinroute_scope_read(&scope, &d);
                answer_decision(status, &d, from);
                return;
        }
        if (strcmp(what, "begin") == 0) {
                struct key k;
                key_read(&k, word[3] ? word[3] : "-");
                pinroute_scope_begin(&scope, handle, number(word[2]), k.at, k.len);
        } else if (strcmp(what, "rekey") == 0) {
                status = rekey(word[2] ? word[2] : "-");
        } else if (strcmp(what, "accept") == 0) {
                status = accept_token(word[2], word[2] && word[3] ? word[3] : "-");
        } else if (strcmp(what, "wrote") == 0) {
                pinroute_scope_wrote(&scope);
        } else if (strcmp(what, "force") == 0) {
                pinroute_scope_force_primary(&scope);
        } else if (strcmp(what, "unforce") == 0) {
                pinroute_scope_unforce(&scope);
        } else if (strcmp(what, "end") == 0) {
                status = pinroute_scope_end(&scope);
        }
        answer_status(status, from);
}

/* The child leaves stdin and stdout to its parent and takes up the two FIFOs. */
static void become_child(const char *in_path, const char *out_path)
{
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        in = fopen(in_path, "re");
        out = fopen(out_path, "we");
        if (!in || !out)
                _exit(1);
        setvbuf(out, NULL, _IOLBF, 0);
        fprintf(out, "status=OK pid=%d\n", (int)syscall(SYS_getpid));
}

static void do_fork(char **word)
{
        int raw = strcmp(word[0], "rawfork") == 0;
        pid_t child = raw ? (pid_t)syscall(SYS_fork) : fork();
        if (child == 0)
                become_child(word[1], word[2]);
        else
                fprintf(out, "status=%s pid=%d\n", child > 0 ? "OK" : "failed", (int)child);
}

static void do_pid(char **word)
{
        (void)word;
        fprintf(out, "status=OK pid=%d\n", (int)syscall(SYS_getpid));
}

static const struct {
        const char *name;
        int words; /* at least, its own name included */
        void (*run)(char **word);
} commands[] = {
    {"open", 2, do_open},         {"close", 1, do_close},     {"timeout", 2, do_timeout},
    {"cluster", 2, do_cluster},   {"read", 3, do_read},       {"write", 2, do_write},
    {"reads", 4, do_reads},       {"spin", 4, do_spin},       {"record", 4, do_record},
    {"endpoint", 3, do_endpoint}, {"hold", 4, do_hold},       {"scope", 2, do_scope},
    {"fork", 3, do_fork},         {"rawfork", 3, do_fork},    {"pid", 1, do_pid},
    {"issue", 3, do_issue},       {"records", 5, do_records}, {"send", 5, do_send},
    {"wait", 1, do_wait},         {"threads", 4, do_threads}, {"within", 4, do_within},
};

static void obey(char *line)
{
        char *word[WORDS_MAX + 1] = {0}, *rest = line;
        int n = 0;
        while (n < WORDS_MAX && (word[n] = strtok_r(n ? NULL : line, " \n", &rest)))
                n++;
        if (n == 1 && strcmp(word[0], "quit") == 0)
                exit(0);
        for (size_t i = 0; n > 0 && i < sizeof commands / sizeof commands[0]; i++) {
                if (strcmp(word[0], commands[i].name) == 0 && n >= commands[i].words) {
                        commands[i].run(word);
                        return;
                }
        }
        fprintf(out, "status=what\n");
}

int main(void)
{
        char *line = NULL;
        size_t size = 0;
        in = stdin;
        out = stdout;
        signal(SIGCHLD, SIG_IGN);
        setvbuf(out, NULL, _IOLBF, 0);
        while (getline(&line, &size, in) > 0)
                obey(line);
        free(line);
        pinroute_close(&handle);
        return 0;
}
