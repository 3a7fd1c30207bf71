/* fuzz_conf.c -- any text as a config file, and as the key_file that it names: libFuzzer.
 * A byte from 0x80 on stands for a word (see expand()), a byte 1 ends the config and begins the keys.
 * What is refused is told with file and line, and without secrets; what is taken can be shown and read again. */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/option.h"
#include "tests/fuzz/fuzz.h"

#define TEXT_MAX  65536
#define SECRET    "S3CR3T"
#define HEX_KEY   "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
#define WITH_NODE "\nshadow-9 = host=h user=u password=" SECRET

static char dir[64], conf_path[96], keys_path[96];
static bool has_secret; /* the text in hand, and only where nothing may repeat it */

struct text {
        size_t n;
        char bytes[TEXT_MAX];
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        int n = vsnprintf(t->bytes + t->n, sizeof t->bytes - t->n, format, args);
        va_end(args);
        MUST_BE(n >= 0 && (size_t)n < sizeof t->bytes - t->n);
        t->n += (size_t)n;
}

static void expand(struct text *t, uint8_t c)
{
        static const char *const word[] = {"\n[pinrouted]\n",
                                           "\n[cluster main]\n",
                                           "\n[nodes main]\n",
                                           "\n[cluster other]\n[nodes other]\n",
                                           "\ndefault = host=127.0.0.1 port=5432 dbname=app role=primary ",
                                           "\nshadow-1 = host=db1 ",
                                           WITH_NODE,
                                           " role=replica ",
                                           " weight=2 ",
                                           " max_lag=1s ",
                                           " host=",
                                           " sslmode=verify-full ",
                                           " hostaddr=10.0.0.1 ",
                                           "'",
                                           "on",
                                           "100ms",
                                           "15s",
                                           "86400",
                                           "debug",
                                           "127.0.0.1:9187",
                                           HEX_KEY,
                                           "\xef\xbb\xbf",
                                           "\xc3\xa4"};
        const unsigned words = sizeof word / sizeof *word, i = c - 0x80u;
        if (c < 0x80 || i > words + N_OPTIONS)
                t->bytes[t->n++] = (char)c;
        else if (i < words)
                add(t, "%s", word[i]);
        else if (i == words)
                add(t, "\nkey_file = %s\n", keys_path);
        else
                add(t, "\n%s = ", options[i - words - 1].key);
}

static void put_file(const char *path, const struct text *t)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        MUST_BE(fd >= 0 && write(fd, t->bytes, t->n) == (ssize_t)t->n);
        close(fd);
}

/* ---- what is refused ---- */

struct heard {
        const struct text *conf, *keys;
        unsigned n;
};

static unsigned long lines_of(const struct text *t)
{
        unsigned long lines = 1;
        for (size_t i = 0; i < t->n; i++)
                lines += t->bytes[i] == '\n';
        return lines;
}

static void complain(void *arg, const char *message)
{
        struct heard *h = arg;
        bool of_keys = !strncmp(message, keys_path, strlen(keys_path));
        bool of_conf = !strncmp(message, conf_path, strlen(conf_path));
        const char *at = message + strlen(of_keys ? keys_path : of_conf ? conf_path : "");
        h->n++;
        MUST_BE(of_keys || of_conf || message[0] == '/'); /* another file as key_file */
        if (!of_keys && !of_conf)
                return;
        if (*at == ':' && at[1] != ' ') {
                char *end;
                unsigned long line = strtoul(at + 1, &end, 10);
                MUST_BE(line >= 1 && line <= lines_of(of_keys ? h->keys : h->conf));
                at = end;
        } else {
                MUST_BE(of_keys || strstr(at, "names no cluster")); /* else there is a line to be named */
        }
        MUST_BE(at[0] == ':' && at[1] == ' ' && at[2]);
        for (; *at; at++)
                MUST_BE(*at == '\t' || ((unsigned char)*at >= 0x20 && *at != 0x7f));
        MUST_BE(!has_secret || !strstr(message, SECRET));
        MUST_BE(!of_keys || !strstr(message, "00112233"));
}

/* Does the secret stand only in lines that were written as they should be? */
static bool secret_is_in_place(struct text *t)
{
        bool found = false;
        t->bytes[t->n] = '\0';
        for (const char *s = t->bytes; (s = memmem(s, (size_t)(t->bytes + t->n - s), SECRET, strlen(SECRET)));
             s++) {
                size_t before = strlen(WITH_NODE) - strlen(SECRET);
                if ((size_t)(s - t->bytes) < before || memcmp(s - before, WITH_NODE, before) != 0)
                        return false;
                found = true;
        }
        return found;
}

/* ---- what is taken ---- */

struct shown {
        struct text text;
        char section[PNR_NAME_SIZE + 16];
};

static void row(void *arg, const char *section, const char *key, const char *value, bool is_default,
                bool at_start)
{
        struct shown *s = arg;
        (void)is_default, (void)at_start;
        if (strcmp(s->section, section) != 0)
                add(&s->text, "[%s]\n", section);
        snprintf(s->section, sizeof s->section, "%s", section);
        add(&s->text, "%s = %s\n", key, value);
}

static void show(const struct conf *c, struct shown *s)
{
        s->text.n = 0;
        s->section[0] = '\0';
        conf_show(c, row, s);
        MUST_BE(!has_secret || !memmem(s->text.bytes, s->text.n, SECRET, strlen(SECRET)));
        for (unsigned i = 0; i < c->n_clusters; i++) {
                const struct cluster_conf *k = &c->cluster[i];
                add(&s->text, "[nodes %s]\n", k->name);
                for (unsigned n = 0; n < k->n_nodes; n++)
                        add(&s->text, "%s = %s role=%s weight=%u max_lag=%ldms\n", k->node[n].name,
                            k->node[n].conninfo, k->node[n].is_primary ? "primary" : "replica",
                            k->node[n].weight, (long)k->node[n].max_lag_ms);
        }
}

static void check_sane(const struct conf *c)
{
        MUST_BE(c->dir[0] == '/' && c->n_clusters >= 1 && c->n_clusters <= PNR_CLUSTERS_MAX);
        MUST_BE(c->max_pins >= 1000 && c->max_clients >= 16 && c->stale_after_ms <= c->stale_limit_ms);
        MUST_BE(!c->key_file[0] || c->token_keys.n > 0);
        for (unsigned i = 0; i < c->n_clusters; i++) {
                const struct cluster_conf *k = &c->cluster[i];
                unsigned primaries = 0;
                for (unsigned n = 0; n < k->n_nodes; n++) {
                        primaries += k->node[n].is_primary;
                        MUST_BE(!has_secret || !strstr(k->node[n].endpoint, SECRET));
                }
                MUST_BE(primaries == 1 && k->pin_seconds_ms <= k->max_pin_seconds_ms);
        }
}

static void must_not_say(void *arg, const char *key)
{
        (void)arg, (void)key;
        MUST_BE(false);
}

static void show_and_read_again(const struct conf *c)
{
        static struct shown first, second;
        show(c, &first);
        put_file(conf_path, &first.text);
        struct heard h = {.conf = &first.text, .keys = &first.text};
        struct conf *again = conf_load(conf_path, complain, &h);
        MUST_BE(again && h.n == 0);
        show(again, &second);
        MUST_BE(first.text.n == second.text.n && !memcmp(first.text.bytes, second.text.bytes, first.text.n));
        MUST_BE(!memcmp(&c->token_keys, &again->token_keys, sizeof c->token_keys));
        conf_needs_restart(c, again, must_not_say, NULL);
        conf_keep_start_options(again, c);
        conf_free(&again);
}

/* ---- */

static void leave(void)
{
        unlink(conf_path);
        unlink(keys_path);
        rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        (void)argc, (void)argv;
        strcpy(dir, "/dev/shm/pnr-conf-XXXXXX");
        MUST_BE(mkdtemp(dir));
        snprintf(conf_path, sizeof conf_path, "%s/pinrouted.ini", dir);
        snprintf(keys_path, sizeof keys_path, "%s/keys", dir);
        atexit(leave);
        return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static struct text conf, keys;
        struct text *t = &conf;
        conf.n = keys.n = 0;
        for (size_t i = 0; i < size && t->n < TEXT_MAX - 200; i++)
                if (data[i] == 1 && t == &conf)
                        t = &keys;
                else
                        expand(t, data[i]);
        put_file(conf_path, &conf);
        put_file(keys_path, &keys);
        struct heard h = {.conf = &conf, .keys = &keys};
        has_secret = secret_is_in_place(&conf);
        struct conf *c = conf_load(conf_path, complain, &h);
        MUST_BE((c == NULL) == (h.n > 0));
        if (c) {
                check_sane(c);
                show_and_read_again(c);
        }
        conf_free(&c);
        return 0;
}
