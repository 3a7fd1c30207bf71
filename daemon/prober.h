/* prober.h -- the frames between the daemon's core and its prober process.
 *
 * The prober is `pinrouted` started again by its own core: libpq, the network, a memory limit, no access to
 * the store.  (Only conninfo.c uses libpq besides, to check a config file: it connects to nothing.) Core and
 * prober talk over a SOCK_SEQPACKET pair, descriptor PROBER_FD in the prober, with fixed-size frames; both
 * ends are the same binary, so there is no version.  The core treats results as hostile bytes. */
#ifndef PINROUTED_PROBER_H
#define PINROUTED_PROBER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/units.h"

#define PROBER_FD           3
#define PROBER_CONNINFO_MAX 1024
#define PROBER_TEXT_MAX     160
#define PROBER_NODES_MAX    2048 /* PNR_CLUSTERS_MAX * PNR_NODES_MAX */

enum prober_order_kind {
        PROBER_NODE_SET =
            1, /* (re)define node `node`: conninfo; an open connection to another conninfo is closed */
        PROBER_NODE_DROP = 2, /* forget it */
        PROBER_CHECK = 3,     /* connect if need be, ask, answer within timeout_ms from now */
};

/* Core to prober. */
struct prober_order {
        uint32_t kind;
        uint32_t node;       /* below PROBER_NODES_MAX, chosen by the core */
        uint64_t number;     /* CHECK: repeated in the result; the question is sent after this order came */
        uint32_t timeout_ms; /* CHECK */
        uint32_t cleartext;  /* NODE_SET: probe_let_cleartext() */
        char conninfo[PROBER_CONNINFO_MAX]; /* NODE_SET */
};

enum prober_result_kind {
        PROBER_ANSWER = 1, /* the node answered: the fields below are its facts */
        PROBER_FAILED = 2, /* no answer to this CHECK: text says why */
        PROBER_BROKEN = 3, /* the connection of an idle node broke; number is 0 */
};

/* Prober to core. */
struct prober_result {
        uint32_t kind;
        uint32_t node;
        uint64_t number;
        uint64_t system_identifier;
        struct lsn position; /* primary: pg_current_wal_insert_lsn(), normalised (facts.c); replica:
                                pg_last_wal_replay_lsn(); 0: none */
        uint32_t timeline;   /* primary: its own; replica: of a streaming WAL receiver; 0: unknown */
        uint8_t in_recovery;
        uint8_t connected; /* a new connection was made for this check */
        uint8_t reserved[2];
        uint32_t took_us; /* from order to result */
        uint32_t reserved32;
        char text[PROBER_TEXT_MAX]; /* FAILED, BROKEN: one printable line; ANSWER: what is missing, e.g.
                                       rights, or "" */
};

/* The prober's main(): never returns but to exit.  Called by main.c when argv[0] says so. */
int prober_main(void);

#endif
