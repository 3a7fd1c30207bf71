/* option.h -- the rows of options.h as data: what each word of the config file is, where it goes, what it
 * defaults to. For conf.c; others ask conf.h. */
#ifndef PINROUTED_OPTION_H
#define PINROUTED_OPTION_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/value.h"

enum option_scope { SCOPE_DAEMON, SCOPE_CLUSTER, SCOPE_NODE };
enum option_when { AT_RELOAD, AT_START };

/* The words of a node's line, before they are put into struct node_conf. */
struct option_node {
        int64_t role, weight, max_lag_ms;
};

struct option {
        const char *key;
        enum option_scope scope;
        struct value_rule rule;
        const char *fallback;
        enum option_when when;
        size_t offset; /* in struct conf, cluster_conf or option_node */
};

#define OPTION(key, section, kind, min, max, fallback, when, text) OPTION_##section##_##key,
enum option_number {
#include "daemon/options.h"
        N_OPTIONS
};
#undef OPTION

extern const struct option options[N_OPTIONS]; /* by enum option_number */

/* NULL: there is none. */
const struct option *option_find(enum option_scope scope, const char *key);

/* The field of `record`: a struct conf, cluster_conf or option_node, as the option's scope says. */
void *option_field(const struct option *o, const void *record);

/* Fills the fields of `record` that have a default of their own. */
void option_defaults(enum option_scope scope, void *record);

/* What to say about a key that `scope` does not know: "what; mend". */
void option_unknown(enum option_scope scope, const char *key, char why[VALUE_WHY_MAX]);

#endif
