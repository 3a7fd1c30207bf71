/* conf.c -- the config file: what may stand in it, and what it says.
 * Reads one regular file, once; keeps nothing between calls.  Owns: struct conf. */
#include "daemon/conf.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/address.h"
#include "daemon/conninfo.h"
#include "daemon/keyfile.h"
#include "daemon/option.h"
#include "daemon/user.h"
#include "proto/nearest.h"
#include "proto/wire.h"

#define FILE_SIZE_MAX (1 << 20)
#define LINE_SIZE_MAX 4096
#define NAME_RULE     "use 1 to 63 of A-Z a-z 0-9 _ . -"

/* Where each word of a record was given; 0: nowhere.  A bad one is not compared with others. */
struct given {
        unsigned line[N_OPTIONS];
        bool bad[N_OPTIONS];
};

enum section { SECTION_NONE, SECTION_SKIPPED, SECTION_DAEMON, SECTION_CLUSTER, SECTION_NODES };

/* What is known of a cluster while its file is being read. */
struct draft {
        struct given given;
        unsigned cluster_line, nodes_line;
        bool unread_nodes; /* who is the primary cannot be said */
};

struct reader {
        void (*complain)(void *arg, const char *message);
        void *arg;
        struct conf *conf;
        struct given given; /* of [pinrouted] */
        unsigned daemon_line;
        struct draft draft[PNR_CLUSTERS_MAX];
        enum section section;
        unsigned cluster; /* of SECTION_CLUSTER and SECTION_NODES */
        char title[96];   /* "[cluster main]" */
        unsigned line;
        unsigned mistakes;
        bool skipped; /* a section could not be read at all */
};

/* "FILE:LINE: [section] key: what is wrong; mend".  line 0: of the file; title "", key NULL: left out. */
__attribute__((format(printf, 5, 6))) static void mistake(struct reader *r, unsigned line, const char *title,
                                                          const char *key, const char *format, ...)
{
        char text[CONF_PATH_MAX + 1024], where[16] = "", subject[256] = "";
        if (line)
                snprintf(where, sizeof where, ":%u", line);
        if (*title || key)
                snprintf(subject, sizeof subject, "%s%s%.140s: ", title, *title && key ? " " : "",
                         key ? key : "");
        int n = snprintf(text, sizeof text, "%s%s: %s", r->conf->path, where, subject);
        va_list args;
        va_start(args, format);
        vsnprintf(text + n, sizeof text - (size_t)n, format, args);
        va_end(args);
        r->mistakes++;
        r->complain(r->arg, text);
}

/* `prefix`: "" or "shadow-1 ", before the key in messages. */
static void set_option(struct reader *r, const struct option *o, struct given *given, void *record,
                       const char *prefix, const char *text)
{
        char label[CONNINFO_WORD_MAX], why[VALUE_WHY_MAX];
        size_t i = (size_t)(o - options);
        snprintf(label, sizeof label, "%s%s", prefix, o->key);
        if (given->line[i]) {
                mistake(r, r->line, r->title, label, "already given in line %u; delete one of the two",
                        given->line[i]);
                return;
        }
        given->line[i] = r->line;
        given->bad[i] = !value_read(&o->rule, text, option_field(o, record), why);
        if (given->bad[i])
                mistake(r, r->line, r->title, label, "%s", why);
}

static void unknown_key(struct reader *r, enum option_scope scope, const char *key)
{
        char why[VALUE_WHY_MAX];
        option_unknown(scope, key, why);
        mistake(r, r->line, r->title, key, "%s", why);
}

static bool name_read(const char *text, char name[PNR_NAME_SIZE])
{
        memset(name, 0, PNR_NAME_SIZE);
        if (strlen(text) >= PNR_NAME_SIZE)
                return false;
        memcpy(name, text, strlen(text) + 1);
        return pnr_name_valid(name);
}

/* Passwords are not left behind in memory that somebody else gets. */
static void free_clusters(struct conf *conf)
{
        if (conf->cluster)
                explicit_bzero(conf->cluster, conf->n_clusters * sizeof *conf->cluster);
        free(conf->cluster);
}

/* Finds the cluster or makes room for it.  False: it is one too many. */
static bool enter_cluster(struct reader *r, const char name[PNR_NAME_SIZE])
{
        struct conf *conf = r->conf;
        for (r->cluster = 0; r->cluster < conf->n_clusters; r->cluster++)
                if (strcmp(conf->cluster[r->cluster].name, name) == 0)
                        return true;
        if (conf->n_clusters == PNR_CLUSTERS_MAX) {
                mistake(r, r->line, r->title, NULL,
                        "more than %d clusters; give some of them a daemon of their own", PNR_CLUSTERS_MAX);
                return false;
        }
        struct cluster_conf *more = calloc(conf->n_clusters + 1, sizeof *more);
        if (!more) {
                mistake(r, r->line, r->title, NULL, "out of memory; free some, or configure fewer clusters");
                return false;
        }
        for (unsigned i = 0; i < conf->n_clusters; i++)
                more[i] = conf->cluster[i];
        free_clusters(conf);
        conf->cluster = more;
        memset(&more[r->cluster], 0, sizeof *more);
        memcpy(more[r->cluster].name, name, PNR_NAME_SIZE);
        option_defaults(SCOPE_CLUSTER, &more[r->cluster]);
        conf->n_clusters++;
        return true;
}

static void note_section(struct reader *r, unsigned *line)
{
        if (*line)
                mistake(r, r->line, r->title, NULL, "this section began in line %u already; join the two",
                        *line);
        else
                *line = r->line;
}

static void unknown_section(struct reader *r, const char *word, const char *name)
{
        static const char *const known[] = {"pinrouted", "cluster", "nodes"};
        struct pnr_nearest near = {.limit = pnr_nearest_limit(word)};
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
                pnr_nearest_try(&near, word, known[i]);
        bool named = near.word && near.word != known[0];
        if (near.word)
                mistake(r, r->line, r->title, NULL, "unknown section, did you mean [%s%s%s]?", near.word,
                        named ? " " : "",
                        !named  ? ""
                        : *name ? name
                                : "main");
        else
                mistake(r, r->line, r->title, NULL,
                        "unknown section; there are [pinrouted], [cluster NAME] and [nodes NAME]");
}

/* `inside`: what stands between the brackets.  False: the section's lines cannot be read. */
static bool open_section(struct reader *r, char *inside)
{
        char *word = strtok(inside, " \t"), *rest = strtok(NULL, "");
        char name[PNR_NAME_SIZE];
        const char *given = rest ? rest + strspn(rest, " \t") : "";
        if (word && !*given && strcmp(word, "pinrouted") == 0) {
                r->section = SECTION_DAEMON;
                note_section(r, &r->daemon_line);
                return true;
        }
        bool cluster = word && strcmp(word, "cluster") == 0;
        if (!cluster && (!word || strcmp(word, "nodes") != 0)) {
                unknown_section(r, word ? word : "", given);
                return false;
        }
        if (!name_read(given, name)) {
                mistake(r, r->line, r->title, NULL, "\"%.80s\" is not a cluster's name; " NAME_RULE, given);
                return false;
        }
        if (!enter_cluster(r, name))
                return false;
        r->section = cluster ? SECTION_CLUSTER : SECTION_NODES;
        struct draft *d = &r->draft[r->cluster];
        if (cluster)
                r->conf->cluster[r->cluster].line = r->line;
        note_section(r, cluster ? &d->cluster_line : &d->nodes_line);
        return true;
}

static void read_section(struct reader *r, char *text)
{
        size_t n = strlen(text);
        snprintf(r->title, sizeof r->title, "%.90s%s", text, n > 90 ? "..." : "");
        if (text[n - 1] != ']') {
                mistake(r, r->line, r->title, NULL, "the section's ] is missing; write it behind the name");
                r->section = SECTION_SKIPPED;
        } else {
                text[n - 1] = '\0';
                if (!open_section(r, text + 1))
                        r->section = SECTION_SKIPPED;
        }
        r->skipped |= r->section == SECTION_SKIPPED;
}

#define OWN_DAEMON(key)
#define OWN_CLUSTER(key)
#define OWN_NODE(key) #key,

/* Takes role=, weight= and max_lag= out of a node's line; what is left is for libpq. */
static bool split_node(struct reader *r, const char *alias, const char *text, struct given *given,
                       struct option_node *own, struct node_conf *node)
{
        static const char *const own_keys[] = {
#define OPTION(key, section, kind, min, max, fallback, when, text) OWN_##section(key)
#include "daemon/options.h"
#undef OPTION
            NULL};
        char why[CONNINFO_WHY_MAX], prefix[PNR_NAME_SIZE + 1];
        size_t n = 0;
        struct conninfo_word word;
        enum conninfo_next next;
        snprintf(prefix, sizeof prefix, "%s ", alias);
        while ((next = conninfo_next(&text, &word, why)) == CONNINFO_WORD) {
                const struct option *o = option_find(SCOPE_NODE, word.key);
                size_t size = (size_t)(word.to - word.from);
                if (o) {
                        set_option(r, o, given, own, prefix, word.value);
                } else if (n + size + 2 > sizeof node->conninfo) {
                        mistake(r, r->line, r->title, alias,
                                "its connection string is too long; use at most %d bytes",
                                PROBER_CONNINFO_MAX - 1);
                        return false;
                } else {
                        n += (size_t)snprintf(node->conninfo + n, sizeof node->conninfo - n, "%s%.*s",
                                              n ? " " : "", (int)size, word.from);
                }
        }
        if (next == CONNINFO_BAD)
                mistake(r, r->line, r->title, alias, "%s", why);
        else if (!conninfo_check(node->conninfo, own_keys, node->endpoint, why))
                mistake(r, r->line, r->title, alias, "%s", why);
        return true;
}

static bool alias_is_free(struct reader *r, const char *alias, const struct cluster_conf *c)
{
        for (unsigned i = 0; i < c->n_nodes; i++)
                if (strcmp(c->node[i].name, alias) == 0) {
                        mistake(r, r->line, r->title, alias,
                                "this alias stands in line %u already; choose another", c->node[i].line);
                        return false;
                }
        if (c->n_nodes == PNR_NODES_MAX)
                mistake(r, r->line, r->title, alias, "more than %d nodes; a cluster holds no more",
                        PNR_NODES_MAX);
        return c->n_nodes < PNR_NODES_MAX;
}

static void read_node(struct reader *r, const char *alias, const char *text)
{
        struct cluster_conf *c = &r->conf->cluster[r->cluster];
        struct draft *d = &r->draft[r->cluster];
        struct node_conf node = {.line = r->line};
        struct option_node own = {0};
        struct given given = {0};
        if (!name_read(alias, node.name)) {
                mistake(r, r->line, r->title, alias, "this is not a node's name; " NAME_RULE);
                d->unread_nodes = true;
                return;
        }
        option_defaults(SCOPE_NODE, &own);
        if (!split_node(r, alias, text, &given, &own, &node) || given.bad[OPTION_NODE_role])
                d->unread_nodes = true;
        node.is_primary = own.role == 1;
        node.weight = (unsigned)own.weight;
        node.max_lag_ms = own.max_lag_ms;
        if (alias_is_free(r, alias, c))
                c->node[c->n_nodes++] = node;
}

static void read_option(struct reader *r, const char *key, const char *text)
{
        bool cluster = r->section == SECTION_CLUSTER;
        enum option_scope scope = cluster ? SCOPE_CLUSTER : SCOPE_DAEMON;
        const struct option *o = option_find(scope, key);
        if (!o)
                unknown_key(r, scope, key);
        else if (cluster)
                set_option(r, o, &r->draft[r->cluster].given, &r->conf->cluster[r->cluster], "", text);
        else
                set_option(r, o, &r->given, r->conf, "", text);
}

static char *trim(char *text)
{
        text += strspn(text, " \t");
        size_t n = strlen(text);
        while (n > 0 && strchr(" \t", text[n - 1]))
                n--;
        text[n] = '\0';
        return text;
}

/* Where a comment begins: `;` or `#` at the line's beginning or after white space. */
static char *find_comment(char *text)
{
        char *p = text;
        while (*p && !((*p == ';' || *p == '#') && (p == text || strchr(" \t", p[-1]))))
                p++;
        return p;
}

static void read_assignment(struct reader *r, char *text)
{
        char *comment = find_comment(text), *eq = memchr(text, '=', (size_t)(comment - text));
        if (!eq) {
                *comment = '\0';
                mistake(r, r->line, r->title, trim(text),
                        "there is no \"=\"; write key = value, or begin a comment with ;");
                return;
        }
        if (r->section != SECTION_NODES) /* there, a comment ends where libpq's quotes allow it */
                *comment = '\0';
        *eq = '\0';
        char *key = trim(text);
        if (r->section == SECTION_NONE)
                mistake(r, r->line, "", key, "stands before any section; put it under [pinrouted]");
        else if (!*key)
                mistake(r, r->line, r->title, NULL, "nothing stands before \"=\"; write key = value");
        else if (r->section == SECTION_NODES)
                read_node(r, key, eq + 1);
        else
                read_option(r, key, trim(eq + 1));
}

static void read_line(struct reader *r, const char *from, size_t n, char text[LINE_SIZE_MAX + 1])
{
        if (n > 0 && from[n - 1] == '\r')
                n--;
        if (n > LINE_SIZE_MAX) {
                mistake(r, r->line, r->title, NULL, "%zu bytes in one line are too long; use at most %d", n,
                        LINE_SIZE_MAX);
                return;
        }
        memcpy(text, from, n);
        text[n] = '\0';
        for (size_t i = 0; i < n; i++)
                if (iscntrl((unsigned char)text[i]) && text[i] != '\t') {
                        mistake(r, r->line, r->title, NULL,
                                "byte %zu is a control character (0x%02x); delete it", i + 1,
                                (unsigned char)text[i]);
                        return;
                }
        char *p = text + strspn(text, " \t");
        char *comment = find_comment(p);
        if (comment == p)
                return;
        if (*p == '[') {
                *comment = '\0';
                read_section(r, trim(p));
        } else if (r->section != SECTION_SKIPPED) {
                read_assignment(r, p);
        }
}

static void read_text(struct reader *r, const char *text, size_t size)
{
        const char *end = text + size;
        char line[LINE_SIZE_MAX + 1];
        if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
                text += 3;
        while (text < end) {
                const char *newline = memchr(text, '\n', (size_t)(end - text));
                size_t n = (size_t)((newline ? newline : end) - text);
                r->line++;
                if (memchr(text, '\0', n)) {
                        mistake(r, r->line, "", NULL,
                                "a NUL byte: this is not a text file; save it as UTF-8");
                        return;
                }
                read_line(r, text, n, line);
                text += n + 1;
        }
        explicit_bzero(line, sizeof line);
}

/* Rows: `low` must not be more than `high`. */
static const struct order {
        enum option_number low, high;
} orders[] = {
    {OPTION_DAEMON_stale_after, OPTION_DAEMON_stale_limit},
    {OPTION_CLUSTER_pin_seconds, OPTION_CLUSTER_max_pin_seconds},
    {OPTION_CLUSTER_check_timeout, OPTION_CLUSTER_check_interval},
    {OPTION_CLUSTER_lag_resume, OPTION_CLUSTER_max_lag},
};

static void check_order(struct reader *r, const struct order *rule, const struct given *given,
                        const void *record, const char *title)
{
        const struct option *low = &options[rule->low], *high = &options[rule->high];
        unsigned low_line = given->line[rule->low], high_line = given->line[rule->high];
        const int64_t *a = option_field(low, record), *b = option_field(high, record);
        if (given->bad[rule->low] || given->bad[rule->high] || *a <= *b)
                return;
        char a_text[32], b_text[32];
        value_show(low->rule.kind, a, a_text, sizeof a_text);
        value_show(high->rule.kind, b, b_text, sizeof b_text);
        mistake(r, low_line ? low_line : high_line, title, low->key,
                "%s%s is more than %s = %s%s; lower the one or raise the other", a_text,
                low_line ? "" : " (its default)", high->key, b_text, high_line ? "" : " (its default)");
}

static void check_orders(struct reader *r, enum option_scope scope, const struct given *given,
                         const void *record, const char *title)
{
        for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
                if (options[orders[i].low].scope == scope)
                        check_order(r, &orders[i], given, record, title);
}

/* Who lets no read go to the primary has nothing to share out. */
static void check_budget(struct reader *r, const struct cluster_conf *c, const struct given *given,
                         const char *title)
{
        if (c->primary_budget && c->no_replica == CONF_NO_REPLICA_ERROR &&
            !given->bad[OPTION_CLUSTER_primary_budget] && !given->bad[OPTION_CLUSTER_no_replica])
                mistake(r, given->line[OPTION_CLUSTER_primary_budget], title, "primary_budget",
                        "with no_replica = error no read goes to the primary; delete the one or the other");
}

static void check_primary(struct reader *r, const struct cluster_conf *c, unsigned line, const char *title)
{
        const struct node_conf *first = NULL;
        for (const struct node_conf *n = c->node; n < c->node + c->n_nodes; n++) {
                if (n->is_primary && first)
                        mistake(r, n->line, title, n->name,
                                "a second primary, the first is %s in line %u; a cluster has one: delete "
                                "role=primary from "
                                "one of the two",
                                first->name, first->line);
                if (n->is_primary && !first)
                        first = n;
        }
        if (!first)
                mistake(r, line, title, NULL, "%s; write role=primary behind the one that is",
                        c->n_nodes ? "none of the nodes is the primary" : "no node stands here");
}

static void check_cluster(struct reader *r, unsigned i)
{
        struct cluster_conf *c = &r->conf->cluster[i];
        const struct draft *d = &r->draft[i];
        char cluster[96], nodes[96];
        snprintf(cluster, sizeof cluster, "[cluster %s]", c->name);
        snprintf(nodes, sizeof nodes, "[nodes %s]", c->name);
        if (!d->cluster_line)
                mistake(r, d->nodes_line, nodes, NULL,
                        "there is no %s; add that line, no option under it is needed", cluster);
        if (!d->nodes_line)
                mistake(r, d->cluster_line, cluster, NULL,
                        "there is no %s; add it, with a line for each server", nodes);
        if (!d->given.line[OPTION_CLUSTER_lag_resume])
                c->lag_resume_ms = c->max_lag_ms;
        for (unsigned n = 0; n < c->n_nodes; n++)
                if (!c->node[n].max_lag_ms)
                        c->node[n].max_lag_ms = c->max_lag_ms;
        check_orders(r, SCOPE_CLUSTER, &d->given, c, cluster);
        check_budget(r, c, &d->given, cluster);
        if (d->nodes_line && !d->unread_nodes)
                check_primary(r, c, d->nodes_line, nodes);
}

static void check_daemon(struct reader *r)
{
        struct conf *conf = r->conf;
        check_orders(r, SCOPE_DAEMON, &r->given, conf, "[pinrouted]");
        if (!r->given.bad[OPTION_DAEMON_http_remote] && conf->http_remote != CONF_HTTP_REMOTE_ALLOW &&
            !address_is_local(conf->http_listen))
                mistake(
                    r, r->given.line[OPTION_DAEMON_http_listen], "[pinrouted]", "http_listen",
                    "%s can be reached from other machines; say http_remote = allow if they may read this, "
                    "or listen on 127.0.0.1 or [::1]",
                    conf->http_listen);
        conf->dir_line = r->given.line[OPTION_DAEMON_dir];
        conf->user_line = r->given.line[OPTION_DAEMON_user];
        conf->group_line = r->given.line[OPTION_DAEMON_group];
        conf->operator_group_line = r->given.line[OPTION_DAEMON_operator_group];
        if (conf->key_file[0] && !keyfile_read(conf->key_file, &conf->token_keys, r->complain, r->arg))
                mistake(r, r->given.line[OPTION_DAEMON_key_file], "[pinrouted]", "key_file",
                        "the keys in it cannot be used, see above; mend that file, or name another");
}

static void check_whole(struct reader *r)
{
        check_daemon(r);
        for (unsigned i = 0; i < r->conf->n_clusters; i++)
                check_cluster(r, i);
        if (r->conf->n_clusters == 0 && !r->skipped)
                mistake(r, 0, "", NULL,
                        "names no cluster; add [cluster main], and [nodes main] with a line for each server");
}

/* Returns the file's bytes, to be freed, or NULL after a complaint. */
static char *slurp(struct reader *r, size_t *size)
{
        struct stat st;
        char *text = NULL;
        ssize_t n = -1;
        int fd = open(r->conf->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0)
                mistake(r, 0, "", NULL, "%s; %s", strerror(errno),
                        errno == EACCES ? user_must_read() : "create it, or name another file with -c");
        else if (S_ISDIR(st.st_mode))
                mistake(r, 0, "", NULL, "is a directory; name the file in it");
        else if (!S_ISREG(st.st_mode) || st.st_size > FILE_SIZE_MAX)
                mistake(r, 0, "", NULL, "is no regular file of up to 1 MiB; name a config file");
        else if (!(text = malloc((size_t)st.st_size + 1)) || (n = read(fd, text, (size_t)st.st_size)) < 0)
                mistake(r, 0, "", NULL, "%s; try again", strerror(errno));
        if (fd >= 0)
                close(fd);
        if (n < 0) {
                free(text);
                return NULL;
        }
        *size = (size_t)n;
        return text;
}

struct conf *conf_read(const char *path, void (*complain)(void *arg, const char *message), void *arg,
                       bool *right)
{
        struct reader r = {.complain = complain, .arg = arg, .conf = calloc(1, sizeof *r.conf)};
        size_t size;
        *right = false;
        if (!r.conf || strlen(path) >= CONF_PATH_MAX) {
                complain(arg, r.conf ? "the config file's path is too long; use a shorter one"
                                     : "out of memory; free some");
                conf_free(&r.conf);
                return NULL;
        }
        snprintf(r.conf->path, sizeof r.conf->path, "%s", path);
        option_defaults(SCOPE_DAEMON, r.conf);
        char *text = slurp(&r, &size);
        if (text) {
                read_text(&r, text, size);
                check_whole(&r);
                explicit_bzero(text, size);
        }
        free(text);
        *right = !r.mistakes;
        return r.conf;
}

struct conf *conf_load(const char *path, void (*complain)(void *arg, const char *message), void *arg)
{
        bool right;
        struct conf *conf = conf_read(path, complain, arg, &right);
        if (conf && !right)
                conf_free(&conf);
        return conf;
}

void conf_free(struct conf **conf)
{
        if (*conf) {
                free_clusters(*conf);
                explicit_bzero(*conf, sizeof **conf);
        }
        free(*conf);
        *conf = NULL;
}

const struct node_conf *conf_find_node(const struct cluster_conf *conf, const char *name)
{
        for (unsigned i = 0; i < conf->n_nodes; i++)
                if (!strcmp(conf->node[i].name, name))
                        return &conf->node[i];
        return NULL;
}
