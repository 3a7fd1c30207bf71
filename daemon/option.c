/* option.c -- the rows of options.h as data; `show config` and "what needs a restart" are walks over it.
 * Pure. */
#include "daemon/option.h"

#include <stdio.h>
#include <string.h>

#include "daemon/conf.h"
#include "daemon/log.h"
#include "proto/nearest.h"

#define RECORD_DAEMON       struct conf
#define RECORD_CLUSTER      struct cluster_conf
#define RECORD_NODE         struct option_node
#define FIELD_PATH(f)       f
#define FIELD_LISTEN(f)     f
#define FIELD_HOSTS(f)      f
#define FIELD_GROUP(f)      f
#define FIELD_USER(f)       f
#define FIELD_FILE(f)       f
#define FIELD_COUNT(f)      f
#define FIELD_SECONDS(f)    f##_ms
#define FIELD_DURATION(f)   f##_ms
#define FIELD_ON_OFF(f)     f
#define FIELD_LOG_LEVEL(f)  f
#define FIELD_LOG_TO(f)     f
#define FIELD_NO_REPLICA(f) f
#define FIELD_CLEARTEXT(f)  f
#define FIELD_REMOTE(f)     f
#define FIELD_BALANCE(f)    f
#define FIELD_ROLE(f)       f

const struct option options[N_OPTIONS] = {
#define OPTION(key, section, kind, min, max, fallback, when, text)                                           \
        {#key,                                                                                               \
         SCOPE_##section,                                                                                    \
         {VALUE_##kind, min, max},                                                                           \
         fallback,                                                                                           \
         when,                                                                                               \
         offsetof(RECORD_##section, FIELD_##kind(key))},
#include "daemon/options.h"
#undef OPTION
};

const struct option *option_find(enum option_scope scope, const char *key)
{
        for (const struct option *o = options; o < options + N_OPTIONS; o++)
                if (o->scope == scope && strcmp(o->key, key) == 0)
                        return o;
        return NULL;
}

void *option_field(const struct option *o, const void *record)
{
        return (char *)(uintptr_t)record + o->offset;
}

void option_defaults(enum option_scope scope, void *record)
{
        char why[VALUE_WHY_MAX];
        for (const struct option *o = options; o < options + N_OPTIONS; o++)
                if (o->scope == scope && o->fallback[0] && o->fallback[0] != '=')
                        value_read(&o->rule, o->fallback, option_field(o, record), why);
}

static const char *section_of(enum option_scope scope)
{
        switch (scope) {
        case SCOPE_DAEMON: return "[pinrouted]";
        case SCOPE_CLUSTER: return "[cluster NAME]";
        case SCOPE_NODE: break;
        }
        return "a line of [nodes NAME]";
}

void option_unknown(enum option_scope scope, const char *key, char why[VALUE_WHY_MAX])
{
        struct pnr_nearest near = {.limit = pnr_nearest_limit(key)};
        char all[300] = "";
        for (const struct option *o = options; o < options + N_OPTIONS; o++) {
                if (o->scope != scope && strcmp(o->key, key) == 0) {
                        snprintf(why, VALUE_WHY_MAX, "does not belong here; move it to %s",
                                 section_of(o->scope));
                        return;
                }
                if (o->scope != scope)
                        continue;
                pnr_nearest_try(&near, key, o->key);
                size_t n = strlen(all);
                snprintf(all + n, sizeof all - n, "%s%s", n ? ", " : "", o->key);
        }
        if (near.word)
                snprintf(why, VALUE_WHY_MAX, "unknown key, did you mean %s?", near.word);
        else
                snprintf(why, VALUE_WHY_MAX, "unknown key; known here: %s", all);
}

typedef void show_row(void *arg, const char *section, const char *key, const char *value, bool is_default,
                      bool at_start);

static void show_record(enum option_scope scope, const void *record, const char *section, show_row *row,
                        void *arg)
{
        for (const struct option *o = options; o < options + N_OPTIONS; o++) {
                if (o->scope != scope)
                        continue;
                char value[VALUE_TEXT_MAX], other[VALUE_TEXT_MAX];
                const char *fallback = o->fallback;
                value_show(o->rule.kind, option_field(o, record), value, sizeof value);
                if (fallback[0] == '=') {
                        const struct option *as = option_find(scope, fallback + 1);
                        MUST(as); /* options.h names one of the same section */
                        value_show(as->rule.kind, option_field(as, record), other, sizeof other);
                        fallback = other;
                }
                row(arg, section, o->key, value, strcmp(value, fallback) == 0, o->when == AT_START);
        }
}

void conf_show(const struct conf *conf, show_row *row, void *arg)
{
        show_record(SCOPE_DAEMON, conf, "pinrouted", row, arg);
        for (unsigned i = 0; i < conf->n_clusters; i++) {
                char section[PNR_NAME_SIZE + 16];
                snprintf(section, sizeof section, "cluster %s", conf->cluster[i].name);
                show_record(SCOPE_CLUSTER, &conf->cluster[i], section, row, arg);
        }
}

void conf_needs_restart(const struct conf *old, const struct conf *new,
                        void (*say)(void *arg, const char *key), void *arg)
{
        for (const struct option *o = options; o < options + N_OPTIONS; o++) {
                char was[VALUE_TEXT_MAX], is[VALUE_TEXT_MAX];
                if (o->scope != SCOPE_DAEMON || o->when != AT_START)
                        continue;
                value_show(o->rule.kind, option_field(o, old), was, sizeof was);
                value_show(o->rule.kind, option_field(o, new), is, sizeof is);
                if (strcmp(was, is) != 0)
                        say(arg, o->key);
        }
}

void conf_keep_start_options(struct conf *new, const struct conf *old)
{
        for (const struct option *o = options; o < options + N_OPTIONS; o++)
                if (o->scope == SCOPE_DAEMON && o->when == AT_START)
                        memcpy(option_field(o, new), option_field(o, old),
                               value_is_text(o->rule.kind) ? VALUE_TEXT_MAX : sizeof(int64_t));
}
