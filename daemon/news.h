/* news.h -- what has happened: each change of state once, as a line of the log and as an item with the same words.
 * One ring per process, as there is one log; the status page and `pinroutectl watch` read it. */
#ifndef PINROUTED_NEWS_H
#define PINROUTED_NEWS_H

#include <stdint.h>

#include "daemon/log.h"
#include "proto/units.h"

#define NEWS_KEPT     256
#define NEWS_TEXT_MAX 352 /* a node's name, two states and NODE_WHY_MAX */

/* What an item is about, and what programs call that. */
#define NEWS_KINDS(X)                                                                                        \
        X(DAEMON, "daemon") /* started, ending, a socket made again */                                       \
        X(NODE, "node")     /* a node's state, or whether it is configured */                                \
        X(ADMIN, "admin")   /* an operator's order */                                                        \
        X(PRIMARY, "primary")                                                                                \
        X(SPLIT_BRAIN, "split_brain")                                                                        \
        X(FLOOR, "floor")                                                                                    \
        X(RELOAD, "reload")                                                                                  \
        X(STORE, "store") /* opened, lost, replaced, its table full */                                       \
        X(PROBER, "prober")

enum news_kind {
#define NEWS_KIND(name, text) NEWS_##name,
        NEWS_KINDS(NEWS_KIND)
#undef NEWS_KIND
};
const char *news_kind_name(enum news_kind kind);

struct news_item {
        uint64_t number; /* from 1 on, without a gap */
        struct mono when;
        int64_t wall_ms; /* the same moment, since 1970, for people */
        enum log_level level;
        enum news_kind kind;
        char cluster[64], node[64]; /* "": of none */
        char from[16], to[16];      /* states, of kinds that have them; else "" */
        char text[NEWS_TEXT_MAX];   /* the log's words behind "cluster X: "; printable */
};

/* What news_say() is told besides the words; NULL: "". */
struct news_about {
        enum news_kind kind;
        const char *cluster, *node, *from, *to;
};

/* Logs the line, "cluster X: " before it where there is a cluster, and adds it to the ring of this process. */
void news_say(enum log_level level, const struct news_about *about, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct news;
struct news *news_ours(void);

/* Adds a copy, with the next number; the oldest makes room. */
void news_add(struct news *n, const struct news_item *item);

/* The number of the newest item; 0: there is none. */
uint64_t news_last(const struct news *n);

/* NULL: dropped by now, or not there yet.  Good until the next news_add(). */
const struct news_item *news_at(const struct news *n, uint64_t number);

#endif
