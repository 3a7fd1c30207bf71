/* named.c -- what a config names on this host: users, groups, its directory, files of libpq's.
 * No state; opens nothing. */
#include "daemon/named.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/conninfo.h"
#include "daemon/vet.h"

#define TEXT_MAX (CONF_PATH_MAX + CONNINFO_WORD_MAX + 512)

/* ---- [pinrouted] ---- */

static bool is_wrong(const struct conf *conf, unsigned line, const char *key, const char *why,
                     named_say_fn *say)
{
        char text[TEXT_MAX];
        snprintf(text, sizeof text, "%s:%u: [pinrouted] %s: %s", conf->path, line, key, why);
        say(NULL, text);
        return false;
}

bool named_find(const struct conf *conf, struct named *ret, named_say_fn *say)
{
        char why[USER_WHY_MAX];
        bool user =
            user_find(conf->user, &ret->user, why) || is_wrong(conf, conf->user_line, "user", why, say);
        bool group =
            user_group(conf->group, &ret->group, why) || is_wrong(conf, conf->group_line, "group", why, say);
        bool operators = user_group(conf->operator_group, &ret->operators, why) ||
                         is_wrong(conf, conf->operator_group_line, "operator_group", why, say);
        return user && group && operators;
}

bool named_dir(const struct conf *conf, named_say_fn *say)
{
        struct stat st;
        char why[VET_WHY_MAX];
        return stat(conf->dir, &st) || !vet_is_for_all(&st, conf->dir, why) ||
               is_wrong(conf, conf->dir_line, "dir", why, say);
}

/* ---- [nodes X] ---- */

static bool is_file(const char *key)
{
        static const char *const files[] = {"passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl"};
        for (size_t i = 0; i < sizeof files / sizeof *files; i++)
                if (!strcmp(key, files[i]))
                        return true;
        return false;
}

/* Words without a slash are libpq's own, such as sslrootcert=system. */
static void warn_of_node(const struct conf *conf, const struct cluster_conf *c, const struct node_conf *n,
                         named_say_fn *say)
{
        struct conninfo_word word;
        char why[CONNINFO_WHY_MAX], text[TEXT_MAX];
        for (const char *at = n->conninfo; conninfo_next(&at, &word, why) == CONNINFO_WORD;) {
                if (!is_file(word.key) || !strchr(word.value, '/') || !access(word.value, R_OK))
                        continue;
                snprintf(
                    text, sizeof text,
                    "%s:%u: [nodes %s] %s: warning: %s: %s cannot read %s (%s); the daemon must be able to",
                    conf->path, n->line, c->name, n->name, word.key, user_own_name(), word.value,
                    strerror(errno));
                say(NULL, text);
        }
        explicit_bzero(&word, sizeof word); /* another of them may have been a password */
}

void named_warn(const struct conf *conf, named_say_fn *say)
{
        for (unsigned i = 0; i < conf->n_clusters; i++)
                for (unsigned k = 0; k < conf->cluster[i].n_nodes; k++)
                        warn_of_node(conf, &conf->cluster[i], &conf->cluster[i].node[k], say);
}
