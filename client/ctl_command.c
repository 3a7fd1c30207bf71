/* ctl_command.c -- what pinroutectl can be told: one table for parser, help and tests.
 * Owns: struct command. */
#include "client/ctl_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl_call.h"
#include "client/ctl_key.h"
#include "client/ctl_show.h"
#include "client/ctl_text.h"
#include "client/ctl_why.h"
#include "proto/nearest.h"
#include "proto/wire.h"

#define SECONDS_MAX 86400

struct command {
        const char *name, *arguments;
        unsigned least, most; /* arguments */
        enum ctl_exit (*run)(const struct ctl *ctl, const char *const arg[]);
        const char *text;
};

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

static enum ctl_exit run_why(const struct ctl *ctl, const char *const arg[])
{
        static struct ctl_why why;
        struct ctl_key key;
        char name[PNR_NAME_SIZE] = "";
        if (strlen(arg[0]) < sizeof name)
                memcpy(name, arg[0], strlen(arg[0]));
        if (!pnr_name_valid(name))
                return ctl_fail(CTL_USAGE, NULL,
                                "\"%s\" is not a cluster's name; `pinroutectl status` lists them", arg[0]);
        if (!key_of(arg[1], &key))
                return CTL_USAGE;
        ctl_why_ask(&why, ctl->dir, name, key.bytes, key.len);
        if (why.status == VIEW_NO_CLUSTER)
                return ctl_fail(CTL_ERROR, "E_CLUSTER",
                                "the store in %s has no cluster %s; `pinroutectl status` lists them",
                                ctl->dir, name);
        if (ctl->json)
                ctl_why_json(&why, stdout);
        else
                ctl_why_show(&why, stdout);
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

static const struct command commands[] = {
    {"status", "", 0, 0, run_status, "how the daemon, its clusters and nodes are"},
    {"show", CTL_SHOW_WORDS, 1, 1, run_show, "everything of one kind"},
    {"why", "CLUSTER KEY", 2, 2, run_why, "where a read of KEY goes now, and why; needs no daemon"},
    {"pin", "CLUSTER KEY [SECONDS]", 2, 3, run_pin, "as if KEY had just written"},
    {"release", "CLUSTER KEY", 2, 2, run_release, "drop KEY's pin, unless it writes meanwhile"},
    {"drain", "NODE", 1, 1, run_drain, "give NODE no more reads; checks go on"},
    {"maint", "NODE", 1, 1, run_maint, "leave NODE alone: no reads, no alarm"},
    {"ready", "NODE", 1, 1, run_ready, "end drain or maint"},
    {"reload", "", 0, 0, run_reload, "read the config file again, as SIGHUP does"},
};
#define N_COMMANDS (sizeof commands / sizeof *commands)

static enum ctl_exit unknown(const char *word)
{
        struct pnr_nearest near = {.limit = pnr_nearest_limit(word)};
        for (const struct command *c = commands; c < commands + N_COMMANDS; c++)
                pnr_nearest_try(&near, word, c->name);
        if (near.word)
                return ctl_fail(CTL_USAGE, NULL, "unknown command \"%s\", did you mean %s?", word, near.word);
        return ctl_fail(CTL_USAGE, NULL, "unknown command \"%s\"; `pinroutectl --help` lists them", word);
}

enum ctl_exit ctl_command_run(const struct ctl *ctl, const char *const words[], unsigned n)
{
        for (const struct command *c = commands; c < commands + N_COMMANDS; c++) {
                if (strcmp(c->name, words[0]) != 0)
                        continue;
                if (n - 1 >= c->least && n - 1 <= c->most)
                        return c->run(ctl, words + 1);
                return ctl_fail(CTL_USAGE, NULL, "too %s arguments; usage: pinroutectl %s%s%s",
                                n - 1 < c->least ? "few" : "many", c->name, *c->arguments ? " " : "",
                                c->arguments);
        }
        return unknown(words[0]);
}

void ctl_command_help(void)
{
        char line[64];
        for (const struct command *c = commands; c < commands + N_COMMANDS; c++) {
                snprintf(line, sizeof line, "%s %s", c->name, c->arguments);
                printf("  %-41s %s\n", line, c->text);
        }
}
