/* ctl_command.c -- what pinroutectl can be told: one table for parser, help and tests.
 * Owns: struct command. */
#include "client/ctl_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl_call.h"
#include "client/ctl_commands.h"
#include "client/ctl_key.h"
#include "client/ctl_show.h"
#include "client/ctl_text.h"
#include "client/ctl_top.h"
#include "client/ctl_watch.h"
#include "client/ctl_why.h"
#include "proto/nearest.h"
#include "proto/wire.h"

#define SECONDS_MAX 86400
#define NAMES_MS    1000 /* a shell's user waits */

struct command {
        const char *name, *arguments, *options;
        unsigned least, most; /* arguments */
        enum ctl_exit (*run)(const struct ctl *ctl, const char *const arg[]);
        const char *text; /* "": not for people */
};

static const char *text_of(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s ? s : "-";
}

static void print(const struct ctl *ctl, const struct ctl_reply *reply, ctl_show_fn *show)
{
        if (ctl->json)
                puts(reply->raw);
        else
                show(reply->doc, stdout);
}

static enum ctl_exit ask(const struct ctl *ctl, const char *const words[], ctl_show_fn *show)
{
        struct ctl_reply reply;
        if (!ctl_call(ctl, words, &reply))
                return CTL_ERROR;
        print(ctl, &reply, show);
        ctl_call_free(&reply);
        return CTL_OK;
}

static enum ctl_exit run_status(const struct ctl *ctl, const char *const arg[])
{
        (void)arg;
        struct ctl_reply reply;
        if (!ctl_call(ctl, (const char *const[]){"status", NULL}, &reply))
                return CTL_ERROR;
        bool degraded = json_is_true(json_object_get(reply.doc, "degraded"));
        print(ctl, &reply, ctl_show_status);
        ctl_call_free(&reply);
        return degraded ? CTL_DEGRADED : CTL_OK;
}

static enum ctl_exit run_show(const struct ctl *ctl, const char *const arg[])
{
        ctl_show_fn *show = ctl_show_find(arg[0]);
        if (!show)
                return ctl_fail(CTL_USAGE, NULL, "show: \"%s\" is not known; say one of " CTL_SHOW_WORDS,
                                arg[0]);
        return ask(ctl, (const char *const[]){"show", arg[0], NULL}, show);
}

static bool key_of(const char *word, struct ctl_key *key)
{
        const char *wrong = ctl_key_read(word, stdin, key);
        if (wrong)
                ctl_fail(CTL_USAGE, NULL, "%s", wrong);
        return !wrong;
}

static bool seconds_are_valid(const char *text)
{
        char *end;
        unsigned long n = strtoul(text, &end, 10);
        return text[0] >= '0' && text[0] <= '9' && *end == '\0' && n >= 1 && n <= SECONDS_MAX;
}

static enum ctl_exit run_pin(const struct ctl *ctl, const char *const arg[])
{
        struct ctl_key key;
        char hex[33];
        if (arg[2] && !seconds_are_valid(arg[2]))
                return ctl_fail(
                    CTL_USAGE, NULL,
                    "SECONDS: \"%s\" is not one of 1..%d; leave it out for the cluster's pin_seconds", arg[2],
                    SECONDS_MAX);
        if (!key_of(arg[1], &key))
                return CTL_USAGE;
        ctl_key_hex(&key, hex);
        return ask(ctl, (const char *const[]){"pin", arg[0], hex, arg[2] ? arg[2] : "0", NULL},
                   ctl_show_pinned);
}

/* Drops the pin that `peek` showed, and no newer one. */
static enum ctl_exit drop_seen(const struct ctl *ctl, const char *cluster, const char *hex, const json_t *pin)
{
        struct ctl_reply reply;
        char generation[32], until[32];
        snprintf(generation, sizeof generation, "%" JSON_INTEGER_FORMAT,
                 json_integer_value(json_object_get(pin, "generation")));
        snprintf(until, sizeof until, "%" JSON_INTEGER_FORMAT,
                 json_integer_value(json_object_get(pin, "until_ms")));
        if (!ctl_call(ctl, (const char *const[]){"release", cluster, hex, generation, until, NULL}, &reply))
                return CTL_ERROR;
        bool released = json_is_true(json_object_get(reply.doc, "released"));
        if (released && ctl->json)
                puts(reply.raw);
        else if (released)
                ctl_text_line(stdout, "released");
        ctl_call_free(&reply);
        if (released)
                return CTL_OK;
        return ctl_fail(CTL_ERROR, "E_NEWER",
                        "not released: the key has written again meanwhile; look, and ask again");
}

static enum ctl_exit run_release(const struct ctl *ctl, const char *const arg[])
{
        struct ctl_reply seen;
        struct ctl_key key;
        char hex[33];
        if (!key_of(arg[1], &key))
                return CTL_USAGE;
        ctl_key_hex(&key, hex);
        if (!ctl_call(ctl, (const char *const[]){"peek", arg[0], hex, NULL}, &seen))
                return CTL_ERROR;
        enum ctl_exit status = CTL_OK;
        const json_t *pin = json_object_get(seen.doc, "pin");
        if (json_is_object(pin))
                status = drop_seen(ctl, arg[0], hex, pin);
        else if (ctl->json)
                puts("{\"ok\":true,\"released\":false}");
        else
                ctl_text_line(stdout, "this key has no pin");
        ctl_call_free(&seen);
        return status;
}

static bool cluster_is_valid(const char *word)
{
        char name[PNR_NAME_SIZE] = "";
        snprintf(name, sizeof name, "%s", word);
        bool valid = strlen(word) < sizeof name && pnr_name_valid(name);
        if (!valid)
                ctl_fail(CTL_USAGE, NULL, "\"%s\" is not a cluster's name; `pinroutectl status` lists them",
                         word);
        return valid;
}

static enum ctl_exit run_why(const struct ctl *ctl, const char *const arg[])
{
        static struct ctl_why why;
        struct ctl_key key;
        char name[PNR_NAME_SIZE] = "";
        if (!cluster_is_valid(arg[0]) || !key_of(arg[1], &key))
                return CTL_USAGE;
        snprintf(name, sizeof name, "%s", arg[0]);
        ctl_why_ask(&why, ctl->dir, name, key.bytes, key.len);
        if (why.status == VIEW_NO_CLUSTER)
                return ctl_fail(CTL_ERROR, "E_CLUSTER",
                                "the store in %s has no cluster %s; `pinroutectl status` lists them",
                                ctl->dir, name);
        ctl_why_explain(&why, ctl);
        if (ctl->json)
                ctl_why_json(&why, stdout);
        else
                ctl_why_show(&why, stdout);
        ctl_why_free(&why);
        return CTL_OK;
}

/* Looks for `node` in all clusters of a status; *ret: the only cluster that has it. */
static enum ctl_exit find_node(const json_t *status, const char *node, const char **ret)
{
        struct pnr_nearest near = {.limit = pnr_nearest_limit(node)};
        size_t i, k;
        const json_t *cluster, *other;
        *ret = NULL;
        json_array_foreach(json_object_get(status, "clusters"), i, cluster)
        {
                const char *of = json_string_value(json_object_get(cluster, "name"));
                json_array_foreach(json_object_get(cluster, "nodes"), k, other)
                {
                        const char *name = json_string_value(json_object_get(other, "name"));
                        if (!of || !name)
                                continue;
                        pnr_nearest_try(&near, node, name);
                        if (strcmp(name, node) != 0)
                                continue;
                        if (*ret)
                                return ctl_fail(CTL_USAGE, NULL,
                                                "%s is a node of more than one cluster; say %s/%s or %s/%s",
                                                node, *ret, node, of, node);
                        *ret = of;
                }
        }
        if (*ret)
                return CTL_OK;
        if (near.word)
                return ctl_fail(CTL_ERROR, "E_NODE", "no cluster has a node %s, did you mean %s?", node,
                                near.word);
        return ctl_fail(CTL_ERROR, "E_NODE", "no cluster has a node %s; `pinroutectl show nodes` lists them",
                        node);
}

static enum ctl_exit set_admin(const struct ctl *ctl, const char *order, const char *arg)
{
        const char *slash = strchr(arg, '/'), *cluster;
        struct ctl_reply status;
        if (slash) {
                char of[PNR_NAME_SIZE];
                if (slash == arg || !slash[1] || (size_t)(slash - arg) >= sizeof of)
                        return ctl_fail(CTL_USAGE, NULL, "\"%s\" is not a node; say NODE or CLUSTER/NODE",
                                        arg);
                snprintf(of, sizeof of, "%.*s", (int)(slash - arg), arg);
                return ask(ctl, (const char *const[]){order, of, slash + 1, NULL}, ctl_show_admin);
        }
        if (!ctl_call(ctl, (const char *const[]){"status", NULL}, &status))
                return CTL_ERROR;
        enum ctl_exit done = find_node(status.doc, arg, &cluster);
        if (done == CTL_OK)
                done = ask(ctl, (const char *const[]){order, cluster, arg, NULL}, ctl_show_admin);
        ctl_call_free(&status);
        return done;
}

static enum ctl_exit run_drain(const struct ctl *ctl, const char *const arg[])
{
        return set_admin(ctl, "drain", arg[0]);
}
static enum ctl_exit run_maint(const struct ctl *ctl, const char *const arg[])
{
        return set_admin(ctl, "maint", arg[0]);
}
static enum ctl_exit run_ready(const struct ctl *ctl, const char *const arg[])
{
        return set_admin(ctl, "ready", arg[0]);
}

static enum ctl_exit run_reload(const struct ctl *ctl, const char *const arg[])
{
        (void)arg;
        return ask(ctl, (const char *const[]){"reload", NULL}, ctl_show_reload);
}

static enum ctl_exit run_watch(const struct ctl *ctl, const char *const arg[])
{
        return arg[0] && !cluster_is_valid(arg[0]) ? CTL_USAGE : ctl_watch(ctl, arg[0]);
}

static enum ctl_exit run_top(const struct ctl *ctl, const char *const arg[])
{
        (void)arg;
        return ctl_top(ctl);
}

static enum ctl_exit run_metrics(const struct ctl *ctl, const char *const arg[])
{
        (void)arg;
        return ask(ctl, (const char *const[]){"metrics", NULL}, ctl_show_metrics);
}

static void print_name(const json_t *of, const char *name)
{
        if (of)
                ctl_text_line(stdout, "%s/%s", json_string_value(json_object_get(of, "name")), name);
        ctl_text_line(stdout, "%s", name);
}

/* For completion: what words there are now, a line each; nothing is said where there is no daemon. */
static enum ctl_exit run__names(const struct ctl *ctl, const char *const arg[])
{
        struct ctl_reply status;
        char why[CTL_CALL_WHY_MAX];
        size_t i, k;
        const json_t *cluster, *node;
        bool nodes = !strcmp(arg[0], "nodes");
        if (!ctl_call_try(ctl, (const char *const[]){"status", NULL}, NAMES_MS, &status, why))
                return CTL_ERROR;
        json_array_foreach(json_object_get(status.doc, "clusters"), i, cluster)
        {
                if (!nodes)
                        print_name(NULL, text_of(cluster, "name"));
                json_array_foreach(nodes ? json_object_get(cluster, "nodes") : NULL, k, node)
                    print_name(cluster, text_of(node, "name"));
        }
        ctl_call_free(&status);
        return CTL_OK;
}

static const struct command commands[] = {
#define ROW(name, arguments, least, most, options, text)                                                     \
        {#name, arguments, options, least, most, run_##name, text},
    CTL_COMMANDS(ROW)
#undef ROW
};
#define N_COMMANDS (sizeof commands / sizeof *commands)

static enum ctl_exit unknown(const char *word)
{
        struct pnr_nearest near = {.limit = pnr_nearest_limit(word)};
        for (const struct command *c = commands; c < commands + N_COMMANDS; c++)
                if (*c->text)
                        pnr_nearest_try(&near, word, c->name);
        if (near.word)
                return ctl_fail(CTL_USAGE, NULL, "unknown command \"%s\", did you mean %s?", word, near.word);
        return ctl_fail(CTL_USAGE, NULL, "unknown command \"%s\"; `pinroutectl --help` lists them", word);
}

static const struct command *find(const char *name)
{
        for (const struct command *c = commands; c < commands + N_COMMANDS; c++)
                if (!strcmp(c->name, name))
                        return c;
        return NULL;
}

static const struct {
        char letter;
        const char *name, *argument, *text;
} options[] = {
#define ROW(letter, name, argument, text) {letter, name, argument, text},
    CTL_OPTIONS(ROW)
#undef ROW
};
#define N_OPTIONS (sizeof options / sizeof *options)

/* "pinroutectl top [-i SECONDS] [-n COUNT]" */
static void usage_of(const struct command *c, char *buf, size_t size)
{
        size_t n = (size_t)snprintf(buf, size, "pinroutectl %s", c->name);
        for (size_t i = 0; i < N_OPTIONS; i++)
                if (strchr(c->options, options[i].letter) && n < size)
                        n += (size_t)snprintf(buf + n, size - n, " [-%c%s%s]", options[i].letter,
                                              *options[i].argument ? " " : "", options[i].argument);
        if (*c->arguments && n < size)
                snprintf(buf + n, size - n, " %s", c->arguments);
}

enum ctl_exit ctl_command_run(const struct ctl *ctl, const char *const words[], unsigned n)
{
        const struct command *c = find(words[0]);
        char usage[256];
        if (!c)
                return unknown(words[0]);
        usage_of(c, usage, sizeof usage);
        if (n - 1 < c->least || n - 1 > c->most)
                return ctl_fail(CTL_USAGE, NULL, "too %s arguments; usage: %s",
                                n - 1 < c->least ? "few" : "many", usage);
        for (const char *o = ctl->given; *o; o++)
                if (!strchr(c->options, *o))
                        return ctl_fail(CTL_USAGE, NULL, "-%c is no option of %s; usage: %s", *o, c->name,
                                        usage);
        return c->run(ctl, words + 1);
}

static void help_one(const struct command *c)
{
        char usage[256], line[64];
        usage_of(c, usage, sizeof usage);
        printf("usage: %s\n\n%s\n", usage, c->text);
        for (size_t i = 0; i < N_OPTIONS; i++) {
                if (!strchr(c->options, options[i].letter))
                        continue;
                snprintf(line, sizeof line, "-%c, --%s %s", options[i].letter, options[i].name,
                         options[i].argument);
                printf("  %-24s %s\n", line, options[i].text);
        }
}

static void help_show(void)
{
#define ROW(name, text) printf("  %-24s %s\n", #name, text);
        CTL_SHOWS(ROW)
#undef ROW
}

bool ctl_command_help(const char *name)
{
        const struct command *c = name ? find(name) : NULL;
        char line[64];
        if (c) {
                help_one(c);
                if (!strcmp(name, "show"))
                        help_show();
                return true;
        }
        for (c = commands; !name && c < commands + N_COMMANDS; c++) {
                snprintf(line, sizeof line, "%s %s", c->name, c->arguments);
                if (*c->text)
                        printf("  %-43s %s\n", line, c->text);
        }
        return !name;
}
