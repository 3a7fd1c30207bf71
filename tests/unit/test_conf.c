/* test_conf.c -- the config file: what is taken, and what each mistake is told. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "daemon/option.h"

#define HEAD    "[cluster main]\n"
#define PRIMARY "[nodes main]\ndb = host=db1 role=primary\n"
#define GOOD    HEAD PRIMARY /* three lines */

#define KEY "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"

static char dir[64], path[96], key_path[96];

static void make_dir(void)
{
        snprintf(dir, sizeof dir, "/tmp/pinroute-conf-XXXXXX");
        cr_assert(mkdtemp(dir));
        snprintf(path, sizeof path, "%s/pinrouted.ini", dir);
        snprintf(key_path, sizeof key_path, "%s/keys", dir);
}

static void drop_dir(void)
{
        unlink(path);
        unlink(key_path);
        rmdir(dir);
}

TestSuite(conf, .init = make_dir, .fini = drop_dir);

struct heard {
        unsigned n;
        char text[8192];
};

static void hear(void *arg, const char *message)
{
        struct heard *h = arg;
        size_t n = strlen(h->text);
        h->n++;
        snprintf(h->text + n, sizeof h->text - n, "%s\n", message);
}

static struct conf *load_bytes(const char *text, size_t size, struct heard *h)
{
        FILE *f = fopen(path, "w");
        cr_assert(f && fwrite(text, 1, size, f) == size && fclose(f) == 0);
        *h = (struct heard){0};
        return conf_load(path, hear, h);
}

static struct conf *load(const char *text, struct heard *h) { return load_bytes(text, strlen(text), h); }

static struct conf *load_good(const char *text)
{
        struct heard h;
        struct conf *c = load(text, &h);
        cr_assert(c, "refused:\n%s", h.text);
        cr_assert_eq(h.n, 0, "%s", h.text);
        return c;
}

/* Exactly one complaint, which begins "FILE:LINE: subject: " and holds what and mend. */
static void expect(const char *text, size_t size, unsigned line, const char *subject, const char *what,
                   const char *mend)
{
        struct heard h;
        char head[400], where[16] = "";
        cr_assert_null(load_bytes(text, size, &h), "taken:\n%s", text);
        if (line)
                snprintf(where, sizeof where, ":%u", line);
        snprintf(head, sizeof head, "%s%s: %s%s", path, where, subject, *subject ? ": " : "");
        cr_expect_eq(h.n, 1, "one complaint, not %u:\n%s", h.n, h.text);
        cr_expect_eq(strncmp(h.text, head, strlen(head)), 0, "expected %s\nheard %s", head, h.text);
        cr_expect(strstr(h.text, what), "expected %s\nheard %s", what, h.text);
        cr_expect(strstr(h.text, mend), "expected %s\nheard %s", mend, h.text);
}

static const struct bad {
        const char *text;
        unsigned line;
        const char *subject, *what, *mend;
} bad[] = {
    /* keys and sections */
    {HEAD "pin_second = 15\n" PRIMARY, 2, "[cluster main] pin_second", "unknown key",
     "did you mean pin_seconds?"},
    {HEAD "colour = red\n" PRIMARY, 2, "[cluster main] colour", "unknown key",
     "known here: pin_seconds, max_pin_"},
    {"[pinrouted]\nfall = 2\n" GOOD, 2, "[pinrouted] fall", "does not belong here",
     "move it to [cluster NAME]"},
    {HEAD "max_pins = 5000\n" PRIMARY, 2, "[cluster main] max_pins", "does not belong",
     "move it to [pinrouted]"},
    {"[pinroute]\ndir = /x\n" GOOD, 1, "[pinroute]", "unknown section", "did you mean [pinrouted]?"},
    {GOOD "[node shadow]\na = b\n", 4, "[node shadow]", "unknown section", "did you mean [nodes shadow]?"},
    {GOOD "[databases]\n", 4, "[databases]", "unknown section",
     "there are [pinrouted], [cluster NAME] and [nodes NAME]"},
    {GOOD "[]\n", 4, "[]", "unknown section", "there are [pinrouted]"},
    {GOOD "[pinrouted extra]\n", 4, "[pinrouted extra]", "unknown section", "did you mean [pinrouted]?"},
    {GOOD "[pinrouted\n", 4, "[pinrouted", "] is missing", "write it behind the name"},
    {GOOD "[nodes other]\ndb = host=x role=primary\n", 4, "[nodes other]", "there is no [cluster other]",
     "add that line"},
    {GOOD "[cluster other]\n", 4, "[cluster other]", "there is no [nodes other]", "a line for each server"},
    {GOOD "[cluster main]\n", 4, "[cluster main]", "began in line 1", "join the two"},
    {GOOD "[nodes main]\n", 4, "[nodes main]", "began in line 2", "join the two"},
    {"[pinrouted]\n[pinrouted]\n" GOOD, 2, "[pinrouted]", "began in line 1", "join the two"},
    {HEAD "fall = 2\nrise = 2\nfall = 3\n" PRIMARY, 4, "[cluster main] fall", "already given in line 2",
     "delete one"},
    {"max_pins = 5000\n" GOOD, 1, "max_pins", "before any section", "put it under [pinrouted]"},
    {HEAD "early_release\n" PRIMARY, 2, "[cluster main] early_release", "there is no \"=\"",
     "write key = value"},
    {HEAD "fall ; = 3\n" PRIMARY, 2, "[cluster main] fall", "there is no \"=\"", "write key = value"},
    {HEAD "= 3\n" PRIMARY, 2, "[cluster main]", "nothing stands before", "write key = value"},
    {HEAD "%include other.ini\n" PRIMARY, 2, "[cluster main] %include other.ini", "no \"=\"",
     "write key = value"},
    {"", 0, "", "names no cluster", "add [cluster main]"},
    {"; nothing\n[pinrouted]\n", 0, "", "names no cluster", "add [cluster main]"},
    /* names */
    {"[cluster ma!n]\n", 1, "[cluster ma!n]", "is not a cluster's name", "use 1 to 63 of A-Z a-z 0-9 _ . -"},
    {"[cluster]\n", 1, "[cluster]", "\"\" is not a cluster's name", "use 1 to 63"},
    {"[cluster a b]\n", 1, "[cluster a b]", "is not a cluster's name", "use 1 to 63"},
    {GOOD "sha dow = host=x\n", 4, "[nodes main] sha dow", "not a node's name", "use 1 to 63"},
    {GOOD "a2345678901234567890123456789012345678901234567890123456789012_4 = host=x\n", 4,
     "[nodes main] a2345678901234567890123456789012345678901234567890123456789012_4", "not a node's name",
     "use 1 to 63"},
    /* values */
    {HEAD "check_interval = 500\n" PRIMARY, 2, "[cluster main] check_interval", "500 has no unit",
     "say 500ms or 500s"},
    {HEAD "max_lag = 3h\n" PRIMARY, 2, "[cluster main] max_lag", "\"h\" is not a unit",
     "say 500ms, 15s or 2min"},
    {HEAD "max_lag = soon\n" PRIMARY, 2, "[cluster main] max_lag", "not a duration",
     "say 500ms, 15s or 2min"},
    {HEAD "max_lag =\n" PRIMARY, 2, "[cluster main] max_lag", "not a duration", "say 500ms"},
    {HEAD "max_lag = -1s\n" PRIMARY, 2, "[cluster main] max_lag", "not a duration", "say 500ms"},
    {HEAD "pin_seconds = 0\n" PRIMARY, 2, "[cluster main] pin_seconds", "0 is out of range",
     "say 1s..86400s"},
    {HEAD "pin_seconds = 999999999999999999min\n" PRIMARY, 2, "[cluster main] pin_seconds", "out of range",
     "say 1s..86400s"},
    {HEAD "fall = 33\n" PRIMARY, 2, "[cluster main] fall", "33 is out of range", "say 1..32"},
    {HEAD "fall = two\n" PRIMARY, 2, "[cluster main] fall", "not a whole number", "say one of 1..32"},
    {"[pinrouted]\nmax_pins = 999\n" GOOD, 2, "[pinrouted] max_pins", "999 is out of range",
     "say 1000..10000000"},
    {"[pinrouted]\nlog_level = inf\n" GOOD, 2, "[pinrouted] log_level", "did you mean info?",
     "say error, warning, info or debug"},
    {HEAD "early_release = yes\n" PRIMARY, 2, "[cluster main] early_release", "\"yes\" is not known",
     "say off or on"},
    {HEAD "no_replica = fail\n" PRIMARY, 2, "[cluster main] no_replica", "\"fail\" is not known",
     "say primary or error"},
    {HEAD "balance = afinity\n" PRIMARY, 2, "[cluster main] balance", "did you mean affinity?",
     "say round_robin or affinity"},
    {HEAD "primary_budget = 16777216\n" PRIMARY, 2, "[cluster main] primary_budget",
     "16777216 is out of range", "say 0..16777215"},
    {HEAD "no_replica = error\nprimary_budget = 50\n" PRIMARY, 3, "[cluster main] primary_budget",
     "with no_replica = error no read goes to the primary", "delete the one or the other"},
    {"[pinrouted]\ndir = run/pinroute\n" GOOD, 2, "[pinrouted] dir", "not an absolute path",
     "begin it with /"},
    {"[pinrouted]\ndir =\n" GOOD, 2, "[pinrouted] dir", "not an absolute path", "begin it with /"},
    {"[pinrouted]\nhttp_listen = 9899\n" GOOD, 2, "[pinrouted] http_listen", "is not ADDR:PORT",
     "say 127.0.0.1:9899"},
    {"[pinrouted]\nhttp_listen = localhost:80\n" GOOD, 2, "[pinrouted] http_listen", "is not ADDR:PORT",
     "[::1]:9899"},
    {"[pinrouted]\nhttp_listen = 10.0.0.1:0\n" GOOD, 2, "[pinrouted] http_listen", "port 0 is out of",
     "say 1..65535"},
    {"[pinrouted]\nhttp_listen = 0.0.0.0:80\n" GOOD, 2, "[pinrouted] http_listen",
     "0.0.0.0:80 can be reached from other machines", "say http_remote = allow"},
    {"[pinrouted]\nhttp_listen = [2001:db8::1]:80\nhttp_remote = refuse\n" GOOD, 2, "[pinrouted] http_listen",
     "can be reached from other machines", "or listen on 127.0.0.1"},
    {"[pinrouted]\nhttp_remote = alow\nhttp_listen = 0.0.0.0:80\n" GOOD, 2, "[pinrouted] http_remote",
     "did you mean allow?", "say refuse or allow"},
    {"[pinrouted]\nhttp_host = a.example:80\n" GOOD, 2, "[pinrouted] http_host",
     "\":80\" is no part of a host", "names without ports"},
    {"[pinrouted]\nhttp_host = mon.example,foo\n" GOOD, 2, "[pinrouted] http_host",
     "\",foo\" is no part of a host", "separated by spaces"},
    {"[pinrouted]\nkey_file = keys\n" GOOD, 2, "[pinrouted] key_file", "not an absolute path",
     "begin it with /"},
    {"[pinrouted]\ngroup = a b\n" GOOD, 2, "[pinrouted] group", "is not a group's name", "/etc/group"},
    /* one value against another */
    {HEAD "check_timeout = 600ms\n" PRIMARY, 2, "[cluster main] check_timeout",
     "600ms is more than check_interval = 500ms (its default)", "lower the one or raise the other"},
    {HEAD "check_interval = 300ms\n" PRIMARY, 2, "[cluster main] check_timeout",
     "400ms (its default) is more than check_interval = 300ms", "lower the one"},
    {HEAD "lag_resume = 11s\n" PRIMARY, 2, "[cluster main] lag_resume", "11s is more than max_lag = 10s",
     "lower the one"},
    {HEAD "max_pin_seconds = 5\n" PRIMARY, 2, "[cluster main] pin_seconds", "more than max_pin_seconds = 5",
     "raise the other"},
    {"[pinrouted]\nstale_after = 2s\nstale_limit = 1s\n" GOOD, 2, "[pinrouted] stale_after",
     "more than stale_limit = 1s", "raise"},
    /* nodes */
    {HEAD "[nodes main]\na = host=x\n", 2, "[nodes main]", "none of the nodes is the primary",
     "write role=primary behind"},
    {HEAD "[nodes main]\n", 2, "[nodes main]", "no node stands here", "write role=primary"},
    {GOOD "b = host=x role=primary\n", 4, "[nodes main] b", "a second primary, the first is db in line 3",
     "delete role=primary"},
    {HEAD "follow_promotion = on\n[nodes main]\na = host=x\n", 3, "[nodes main]",
     "none of the nodes is the primary", "role=primary"},
    {GOOD "db = host=x\n", 4, "[nodes main] db", "stands in line 3 already", "choose another"},
    {GOOD "b = host=x weight=257\n", 4, "[nodes main] b weight", "257 is out of range", "say 0..256"},
    {GOOD "b = host=x weight=1 weight=2\n", 4, "[nodes main] b weight", "already given in line 4",
     "delete one"},
    {GOOD "b = host=x max_lag=5\n", 4, "[nodes main] b max_lag", "5 has no unit", "say 5ms or 5s"},
    {HEAD "[nodes main]\nb = host=x role=prmary\n", 3, "[nodes main] b role", "did you mean primary?",
     "say replica or primary"},
    {GOOD "b = host=x prot=5432\n", 4, "[nodes main] b", "prot: unknown", "did you mean port?"},
    {GOOD "b = host=x wieght=2\n", 4, "[nodes main] b", "wieght: unknown", "did you mean weight?"},
    {GOOD "b = host=x w=2\n", 4, "[nodes main] b", "w: unknown;", "use the key words of libpq"},
    {GOOD "b = host=x user='me\n", 4, "[nodes main] b", "a quote is not closed", "end the value with '"},
    {GOOD "b = postgresql://me@x/app\n", 4, "[nodes main] b", "a URI is not taken here", "write it as host="},
    {GOOD "host=x port=5432\n", 4, "[nodes main] host", "a word without key", "write key=value"},
    {GOOD "b = host=x,y\n", 4, "[nodes main] b", "host: \"x,y\" is a list", "give each its own line"},
    {GOOD "b = service=app\n", 4, "[nodes main] b", "service: a service file is not read", "write host="},
    {GOOD "b = dbname=app\n", 4, "[nodes main] b", "host: missing", "say where the server is"},
    /* bytes */
    {HEAD "fall = 2\033[31m\n" PRIMARY, 2, "[cluster main]", "control character (0x1b)", "delete it"},
};

Test(conf, each_mistake_is_told_with_file_line_key_and_mend)
{
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
                expect(bad[i].text, strlen(bad[i].text), bad[i].line, bad[i].subject, bad[i].what,
                       bad[i].mend);
        cr_assert_geq(sizeof bad / sizeof *bad, 25);
}

Test(conf, every_mistake_of_a_file_is_told_in_one_run)
{
        struct heard h;
        cr_assert_null(
            load("[pinrouted]\nmax_pin = 1\nlog_level = loud\n[cluster main]\nfall = 0\n[nodes main]\n"
                 "a = host=x prot=1\na = host=y\n[clusters b]\n",
                 &h));
        cr_assert_eq(h.n, 7, "%s", h.text);
        for (const char *const *part =
                 (const char *const[]){":2:", ":3:", ":5:", ":6:", ":7:", ":8:", ":9:", NULL};
             *part; part++)
                cr_expect(strstr(h.text, *part), "%s is missing in\n%s", *part, h.text);
}

Test(conf, bytes_that_are_no_text_are_refused)
{
        expect(GOOD "\0\0", sizeof GOOD "\0\0" - 1, 4, "", "a NUL byte", "save it as UTF-8");
        static char longest[5000] = GOOD;
        memset(longest + sizeof GOOD - 1, 'x', sizeof longest - sizeof GOOD + 1);
        expect(longest, sizeof longest, 4, "[nodes main]", "bytes in one line are too long",
               "use at most 4096");
}

Test(conf, what_is_too_long_for_its_field_is_refused)
{
        char text[2048], x[1100];
        memset(x, 'x', sizeof x);
        snprintf(text, sizeof text, "[pinrouted]\ndir = /%.92s\n" GOOD, x);
        expect(text, strlen(text), 2, "[pinrouted] dir", "93 bytes are too long for a socket address",
               "use at most 92");
        snprintf(text, sizeof text, "[pinrouted]\nhttp_listen = /%.107s\n" GOOD, x);
        expect(text, strlen(text), 2, "[pinrouted] http_listen", "too long for a socket address",
               "use at most 107");
        snprintf(text, sizeof text, "[pinrouted]\noperator_group = %.256s\n" GOOD, x);
        expect(text, strlen(text), 2, "[pinrouted] operator_group", "256 bytes are too long",
               "use at most 255");
        snprintf(text, sizeof text, GOOD "b = host=x user=%.1020s\n", x);
        expect(text, strlen(text), 4, "[nodes main] b", "too long", "use at most 1023 bytes");
        snprintf(text, sizeof text, GOOD "b = host=x user=%.1024s\n", x);
        expect(text, strlen(text), 4, "[nodes main] b", "a value is too long", "use at most 1,000 bytes");
        snprintf(text, sizeof text, GOOD "b = host=%.506s\n", x);
        conf_free(&(struct conf *){load_good(text)});
        snprintf(text, sizeof text, GOOD "b = host=%.507s\n", x);
        expect(text, strlen(text), 4, "[nodes main] b", "together are too long", "use at most 511 bytes");
        snprintf(text, sizeof text, "[pinrouted]\ndir = /%.91s\n" GOOD, x);
        conf_free(&(struct conf *){load_good(text)});
}

Test(conf, more_nodes_or_clusters_than_fit_are_refused)
{
        static char text[16384];
        int n = snprintf(text, sizeof text, GOOD);
        for (int i = 1; i < PNR_NODES_MAX; i++)
                n += snprintf(text + n, sizeof text - (size_t)n, "n%d = host=x\n", i);
        struct conf *c = load_good(text);
        cr_assert_eq(c->cluster[0].n_nodes, PNR_NODES_MAX);
        conf_free(&c);
        snprintf(text + n, sizeof text - (size_t)n, "over = host=x\n");
        expect(text, strlen(text), 35, "[nodes main] over", "more than 32 nodes", "a cluster holds no more");

        n = 0;
        for (int i = 0; i < PNR_CLUSTERS_MAX; i++)
                n += snprintf(text + n, sizeof text - (size_t)n,
                              "[cluster c%d]\n[nodes c%d]\na = host=x role=primary\n", i, i);
        c = load_good(text);
        cr_assert_eq(c->n_clusters, PNR_CLUSTERS_MAX);
        conf_free(&c);
        snprintf(text + n, sizeof text - (size_t)n, "[cluster over]\n");
        expect(text, strlen(text), 193, "[cluster over]", "more than 64 clusters", "a daemon of their own");
}

Test(conf, a_file_that_cannot_be_read_is_told_with_its_name)
{
        struct heard h = {0};
        cr_assert_null(conf_load("/nonexistent/pinrouted.ini", hear, &h));
        cr_expect_str_eq(h.text,
                         "/nonexistent/pinrouted.ini: No such file or directory; create it, or name another "
                         "file with -c\n");
        h = (struct heard){0};
        cr_assert_null(conf_load(dir, hear, &h));
        cr_expect(strstr(h.text, "is a directory; name the file in it"), "%s", h.text);
        h = (struct heard){0};
        cr_assert_null(conf_load("/dev/null", hear, &h));
        cr_expect(strstr(h.text, "is no regular file"), "%s", h.text);
        static char path_too_long[CONF_PATH_MAX + 1];
        memset(path_too_long, 'x', CONF_PATH_MAX);
        h = (struct heard){0};
        cr_assert_null(conf_load(path_too_long, hear, &h));
        cr_expect(strstr(h.text, "path is too long; use a shorter one"), "%s", h.text);
        if (geteuid() != 0) {
                FILE *f = fopen(path, "w");
                cr_assert(f && fclose(f) == 0 && chmod(path, 0) == 0);
                h = (struct heard){0};
                cr_assert_null(conf_load(path, hear, &h));
                cr_expect(strstr(h.text, "the daemon's user, read it"), "%s", h.text);
        }
}

Test(conf, the_example_of_the_design_is_read_as_it_is_meant)
{
        struct conf *c = load_good(";; pinrouted.ini\n"
                                   "[pinrouted]\n"
                                   "dir = /run/pinroute\n"
                                   "http_listen = 127.0.0.1:9899        ; /metrics\n"
                                   "max_pins = 100000\n"
                                   "[cluster main]\n"
                                   "pin_seconds = 15\n"
                                   "check_interval = 500ms              # also max_lag\n"
                                   "[nodes main]\n"
                                   "default  = host=10.0.0.10 dbname=app user=pinroute role=primary\n"
                                   "shadow-1 = host=10.0.0.11 dbname=app user=pinroute weight=2 ; twice\n"
                                   "shadow-2 = max_lag=20s host=10.0.0.12 password='a ; b' dbname=app\n");
        const struct cluster_conf *m = c->cluster;
        cr_expect_str_eq(c->http_listen, "127.0.0.1:9899");
        cr_expect(c->max_pins == 100000 && c->max_clients == 4096 && c->log_level == CONF_LOG_INFO);
        cr_expect(c->stale_after_ms == 1000 && c->stale_limit_ms == 60000 && c->n_clusters == 1);
        cr_expect_str_eq(m->name, "main");
        cr_expect(m->pin_seconds_ms == 15000 && m->max_pin_seconds_ms == 300000 &&
                  m->check_interval_ms == 500);
        cr_expect(m->check_timeout_ms == 400 && m->fall == 2 && m->rise == 3 && m->max_lag_ms == 10000);
        cr_expect(m->lag_resume_ms == 10000 && m->fence_interval_ms == 100 && m->caught_up_trust_ms == 60);
        cr_expect(m->early_release == 1 && m->follow_promotion == 0 &&
                  m->no_replica == CONF_NO_REPLICA_PRIMARY);
        cr_expect(m->balance == CONF_BALANCE_ROUND_ROBIN && m->primary_budget == 0);
        cr_assert_eq(m->n_nodes, 3);
        cr_expect(m->line == 6 && m->node[0].line == 10 && m->node[2].line == 12);
        cr_expect(m->node[0].is_primary && !m->node[1].is_primary && m->node[1].weight == 2 &&
                  m->node[2].weight == 1);
        cr_expect(m->node[1].max_lag_ms == 10000 && m->node[2].max_lag_ms == 20000);
        cr_expect_str_eq(m->node[1].conninfo, "host=10.0.0.11 dbname=app user=pinroute");
        cr_expect_str_eq(m->node[2].conninfo, "host=10.0.0.12 password='a ; b' dbname=app");
        cr_expect_str_eq(m->node[2].endpoint, "host=10.0.0.12 dbname=app");
        conf_free(&c);
        cr_expect_null(c);
        conf_free(&c);
}

Test(conf, windows_files_durations_and_any_order_are_taken)
{
        struct conf *c =
            load_good("\xef\xbb\xbf[nodes a]\r\nx = host=h role = primary\r\n\r\n  [cluster a] ; c\r\n"
                      "pin_seconds = 1500ms\r\nmax_lag = 2min\r\n\tcheck_interval=1 s\r\nlag_resume=5s");
        const struct cluster_conf *a = c->cluster;
        cr_expect(a->pin_seconds_ms == 1500 && a->max_lag_ms == 120000 && a->check_interval_ms == 1000);
        cr_expect(a->lag_resume_ms == 5000 && a->node[0].max_lag_ms == 120000 && a->line == 4);
        conf_free(&c);
        const char *listen[] = {"", "[::1]:80", "/run/pinroute/http.sock", "127.0.0.1:65535"};
        for (size_t i = 0; i < sizeof listen / sizeof *listen; i++) {
                char text[200];
                snprintf(text, sizeof text, "[pinrouted]\nhttp_listen = %s\n" GOOD, listen[i]);
                c = load_good(text);
                cr_expect_str_eq(c->http_listen, listen[i]);
                conf_free(&c);
        }
}

Test(conf, what_other_machines_can_reach_is_allowed_in_so_many_words)
{
        struct conf *c = load_good("[pinrouted]\nhttp_listen = 0.0.0.0:80\nhttp_remote = allow\n"
                                   "http_host = metrics.example.com app-1\n" GOOD);
        cr_expect_str_eq(c->http_listen, "0.0.0.0:80");
        cr_expect_str_eq(c->http_host, "metrics.example.com app-1");
        cr_expect_eq(c->http_remote, CONF_HTTP_REMOTE_ALLOW);
        conf_free(&c);
}

static void write_row(void *arg, const char *section, const char *key, const char *value, bool is_default,
                      bool at_start)
{
        FILE *f = arg;
        fprintf(f, "[%s] %s = %s%s%s\n", section, key, value, is_default ? " (default)" : "",
                at_start ? " (restart)" : "");
}

static char *shown(const struct conf *c)
{
        char *text;
        size_t size;
        FILE *f = open_memstream(&text, &size);
        conf_show(c, write_row, f);
        fclose(f);
        return text;
}

Test(conf, show_has_every_option_once_and_knows_the_defaults)
{
        struct conf *c = load_good(GOOD);
        char *text = shown(c);
        unsigned rows = 0, defaults = 0, all = 0;
        for (unsigned i = 0; i < N_OPTIONS; i++)
                all += options[i].scope != SCOPE_NODE;
        for (const char *p = text; (p = strchr(p, '\n')); p++)
                rows++;
        for (const char *p = text; (p = strstr(p, "(default)")); p++)
                defaults++;
        cr_expect_eq(rows, all, "%s", text);
        cr_expect_eq(rows, defaults, "%s", text);
        cr_expect(strstr(text, "[pinrouted] dir = /run/pinroute (default) (restart)\n"), "%s", text);
        cr_expect(strstr(text, "[cluster main] lag_resume = 10s (default)\n"), "%s", text);
        free(text);
        conf_free(&c);

        c = load_good("[pinrouted]\nlog_level=debug\n" HEAD
                      "pin_seconds=20\ncheck_interval=1500ms\nmax_lag=1min\n" PRIMARY
                      "r = host=h password=hush\n");
        text = shown(c);
        cr_expect(strstr(text, "[pinrouted] log_level = debug\n"), "%s", text);
        cr_expect(strstr(text, "[cluster main] pin_seconds = 20\n"), "%s", text);
        cr_expect(strstr(text, "[cluster main] check_interval = 1500ms\n"), "%s", text);
        cr_expect(strstr(text, "[cluster main] max_lag = 60s\n"), "%s", text);
        cr_expect(strstr(text, "[cluster main] lag_resume = 60s (default)\n"), "%s", text);
        cr_expect_null(strstr(text, "hush"));
        free(text);
        conf_free(&c);
}

Test(conf, what_show_prints_can_be_read_again)
{
        struct conf *c = load_good("[pinrouted]\nmax_pins=2000\nhttp_listen=/x\n" HEAD
                                   "primary_budget=50\nbalance=affinity\nmax_lag=1234ms\n" PRIMARY);
        char *text = shown(c), *again = strdup(text), file[4096] = "";
        const char *section = "";
        for (char *line = strtok(again, "\n"); line; line = strtok(NULL, "\n")) {
                char *end = strchr(line, ']'), *note = strstr(line, " (");
                *end = '\0';
                if (note)
                        *note = '\0';
                if (strcmp(section, line) != 0)
                        strcat(strcat(file, section = line), "]\n");
                strcat(strcat(file, end + 2), "\n");
        }
        strcat(file, PRIMARY);
        struct conf *c2 = load_good(file);
        char *text2 = shown(c2);
        cr_expect_str_eq(text, text2);
        free(text), free(text2), free(again);
        conf_free(&c), conf_free(&c2);
}

static void collect(void *arg, const char *key) { strcat(strcat(arg, key), " "); }

/* ---- key_file ---- */

static void write_keys(const char *text)
{
        FILE *f = fopen(key_path, "w");
        cr_assert(f && fputs(text, f) >= 0 && fclose(f) == 0 && chmod(key_path, 0640) == 0);
}

static const char *with_key_file(void)
{
        static char text[300];
        snprintf(text, sizeof text, "[pinrouted]\nkey_file = %s\n" GOOD, key_path);
        return text;
}

Test(conf, the_keys_of_tokens_are_read_and_only_their_file_is_shown)
{
        struct conf *c = load_good(GOOD);
        cr_expect_eq(c->token_keys.n, 0);
        conf_free(&c);
        write_keys("# new\n" KEY "\n");
        c = load_good(with_key_file());
        cr_expect(c->token_keys.n == 1 && c->token_keys.key[0][1] == 0x11 &&
                  c->token_keys.key[0][31] == 0xff);
        char *text = shown(c), row[200];
        snprintf(row, sizeof row, "[pinrouted] key_file = %s\n", key_path);
        cr_expect(strstr(text, row), "%s", text);
        cr_expect_null(strcasestr(text, "00112233"));
        free(text);
        conf_free(&c);
}

Test(conf, mistakes_of_the_key_file_are_told_with_those_of_the_config)
{
        struct heard h;
        char text[400], at[120];
        write_keys(KEY "\n" KEY "\nx\n");
        snprintf(text, sizeof text, "%sb = host=x weight=999\n", with_key_file());
        cr_assert_null(load(text, &h));
        cr_expect_eq(h.n, 4, "%s", h.text);
        cr_expect(strstr(h.text, "pinrouted.ini:6: [nodes main] b weight"), "%s", h.text);
        cr_expect(strstr(h.text, "pinrouted.ini:2: [pinrouted] key_file: the keys in it cannot be used"),
                  "%s", h.text);
        for (unsigned line = 2; line <= 3; line++) {
                snprintf(at, sizeof at, "%s:%u: ", key_path, line);
                cr_expect(strstr(h.text, at), "%s", h.text);
        }
        unlink(key_path);
        cr_assert_null(load(with_key_file(), &h));
        cr_expect(strstr(h.text, "/keys: No such file or directory; create it, or correct key_file"), "%s",
                  h.text);
}

Test(conf, other_keys_in_the_same_file_need_no_restart)
{
        char keys[200] = "";
        write_keys(KEY "\n");
        struct conf *old = load_good(GOOD), *new = load_good(with_key_file());
        conf_needs_restart(old, new, collect, keys);
        cr_expect_str_eq(keys, "");
        conf_keep_start_options(new, old);
        cr_expect_eq(new->token_keys.n, 1);
        cr_expect_str_eq(new->key_file, key_path);
        conf_free(&old), conf_free(&new);
}

/* ---- reload ---- */

Test(conf, only_a_changed_option_of_the_start_needs_a_restart)
{
        struct conf *old = load_good(GOOD);
        struct conf *new =
            load_good("[pinrouted]\ndir=/tmp/x\nmax_pins=1000\nlog_level=debug\nstale_after=2s\n" HEAD
                      "fall=3\n" PRIMARY);
        char keys[200] = "";
        conf_needs_restart(old, old, collect, keys);
        cr_expect_str_eq(keys, "");
        conf_needs_restart(old, new, collect, keys);
        cr_expect_str_eq(keys, "dir max_pins ");
        conf_free(&old), conf_free(&new);
}

Test(conf, no_message_holds_a_password)
{
        static const char *const lines[] = {
            "b = host=x password=hush hush2\n",  "b = host=x password=hush hush2=3\n",
            "b = host=x password='hush\n",       "b = postgresql://me:hush@x/app?sslmode=require\n",
            "b = password=hush dbname=app\n",    "b = host=x password=hu hush port=1\n",
            "b = host=x,y password=hush\n",      "b = host=x password=hush weight=9999\n",
            "b = host=x password=two hush='x\n",
        };
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
                char text[300];
                struct heard h;
                snprintf(text, sizeof text, GOOD "%s", lines[i]);
                cr_expect_null(load(text, &h), "%s", lines[i]);
                cr_expect_null(strstr(h.text, "hush"), "%s", h.text);
        }
}
