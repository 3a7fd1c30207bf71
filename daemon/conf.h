/* conf.h -- the config file: what may stand in it, and what it says.
 * One table (options.h) drives parser, messages, `show config`, reload and manual. */
#ifndef PINROUTED_CONF_H
#define PINROUTED_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/prober.h"
#include "proto/store.h"

#define CONF_PATH_MAX   4096
#define CONF_WORD_MAX   256
#define CONF_WEIGHT_MAX PNR_WEIGHT_MAX
#define CONF_BUDGET_MAX ((1 << 24) - 1) /* what the count of a second has room for: client/budget.h */

enum conf_no_replica { CONF_NO_REPLICA_PRIMARY = 0, CONF_NO_REPLICA_ERROR = 1 };
enum conf_balance { CONF_BALANCE_ROUND_ROBIN = 0, CONF_BALANCE_AFFINITY = 1 };
enum conf_cleartext { CONF_CLEARTEXT_REFUSE = 0, CONF_CLEARTEXT_ALLOW = 1 };
enum conf_log_to { CONF_LOG_TO_STDERR = 0, CONF_LOG_TO_SYSLOG = 1 };
enum conf_http_remote { CONF_HTTP_REMOTE_REFUSE = 0, CONF_HTTP_REMOTE_ALLOW = 1 };
enum conf_log_level { CONF_LOG_ERROR = 3, CONF_LOG_WARNING = 4, CONF_LOG_INFO = 6, CONF_LOG_DEBUG = 7 };

/* One line `alias = conninfo role= weight= max_lag=` of a [nodes X] section. */
struct node_conf {
        char name[PNR_NAME_SIZE];
        bool is_primary;                    /* role=primary */
        unsigned weight;                    /* 0..CONF_WEIGHT_MAX; 0: in no schedule */
        int64_t max_lag_ms;                 /* the cluster's, unless given */
        char conninfo[PROBER_CONNINFO_MAX]; /* what is left, for libpq; may hold a password: never shown */
        char endpoint[PNR_ENDPOINT_MAX];    /* host, port, dbname, sslmode of it */
        unsigned line;                      /* where it stands in the file */
};

/* [cluster X] with its [nodes X].  Fields named as their options; times in ms. */
struct cluster_conf {
        char name[PNR_NAME_SIZE];
        int64_t pin_seconds_ms, max_pin_seconds_ms;
        int64_t check_interval_ms, check_timeout_ms;
        int64_t fall, rise;
        int64_t max_lag_ms, lag_resume_ms; /* lag_resume defaults to max_lag */
        int64_t fence_interval_ms, caught_up_trust_ms;
        int64_t early_release, follow_promotion; /* 0 off, 1 on */
        int64_t no_replica;                      /* enum conf_no_replica */
        int64_t primary_budget;                  /* 0: none */
        int64_t balance;                         /* enum conf_balance */
        int64_t cleartext_password;              /* enum conf_cleartext */
        unsigned n_nodes;
        unsigned line;
        struct node_conf node[PNR_NODES_MAX];
};

struct conf {
        char path[CONF_PATH_MAX];
        char dir[CONF_WORD_MAX];
        char http_listen[CONF_WORD_MAX];
        char http_host[CONF_WORD_MAX]; /* words; for hosts_admit() */
        char user[CONF_WORD_MAX];      /* whom root's daemon becomes; "": nobody else */
        char group[CONF_WORD_MAX];     /* group of dir, store and worker socket; "": the daemon's own */
        char
            operator_group[CONF_WORD_MAX]; /* may use ctl.sock besides root and the daemon's user; "": none */
        char key_file[CONF_WORD_MAX];
        unsigned dir_line, user_line, group_line, operator_group_line; /* where they stand in the file */
        int64_t max_pins, max_clients;
        int64_t stale_after_ms, stale_limit_ms;
        int64_t log_level;
        int64_t log_to;                   /* enum conf_log_to */
        int64_t http_remote;              /* enum conf_http_remote */
        struct pnr_token_keys token_keys; /* what stands in key_file; n is 0 without one; never shown */
        unsigned n_clusters;
        struct cluster_conf *cluster; /* n_clusters of them */
};

/* Reads and checks the whole file.  Every mistake is reported through `complain` ("FILE:LINE: ..." with the
 * key and the mend), not only the first.  Returns a conf to be freed with conf_free(), or NULL when there was
 * any. */
struct conf *conf_load(const char *path, void (*complain)(void *arg, const char *message), void *arg);
void conf_free(struct conf **conf);

/* The same, for who looks for more mistakes: where there are any, *right is false and what could be read is returned.
 * Not for use then.  NULL: there was no memory for it. */
struct conf *conf_read(const char *path, void (*complain)(void *arg, const char *message), void *arg,
                       bool *right);

/* NULL: the cluster has no node of this name. */
const struct node_conf *conf_find_node(const struct cluster_conf *conf, const char *name);

/* Calls `row` for each option: section "pinrouted" or "cluster NAME", key, value as it would stand in the
 * file, whether it is the default, and whether a change needs a restart. */
void conf_show(const struct conf *conf,
               void (*row)(void *arg, const char *section, const char *key, const char *value,
                           bool is_default, bool at_start),
               void *arg);

/* The options that differ between two confs and need a restart: calls `say` with each key. */
void conf_needs_restart(const struct conf *old, const struct conf *new,
                        void (*say)(void *arg, const char *key), void *arg);

/* Gives `new` the old values of those options: they stay in force until a restart. */
void conf_keep_start_options(struct conf *new, const struct conf *old);

#endif
