/* conn.h -- the workers' connections: one frame of each per turn in, answers out after the commit.
 * Owns: struct conns.  Never blocks, never queues: a client that does not read its answer is closed. */
#ifndef PINROUTED_CONN_H
#define PINROUTED_CONN_H

#include <sys/queue.h>
#include <sys/types.h>

#include "daemon/core.h"

#define CONN_BATCH     512 /* pins of one turn, and so of one transaction; a HELLO counts as one */
#define CONN_SPARE_FDS 80  /* descriptors beside the connections'; half of them where `ulimit -n` is tight */

struct event;
struct event_base;

/* What the frame is that waits in the socket. */
enum conn_next { CONN_UNKNOWN, CONN_SINGLE, CONN_RECORDS };

struct conn {
        TAILQ_ENTRY(conn) by_use; /* least recently used first */
        TAILQ_ENTRY(conn) by_wait;
        struct conns *all;
        struct event *readable;
        int fd;
        pid_t pid; /* as the kernel said at connect: for show, and how much memory to count in it may have */
        uid_t uid;
        struct mono since, last;
        uint64_t requests;
        bool in_batch;
        bool waits;          /* its turn was full: among the first in the next one */
        bool handed;         /* it has asked for memory to count in: once is enough */
        enum conn_next next; /* reset when that frame is taken */
};

TAILQ_HEAD(conn_list, conn);

struct conns {
        struct core *core;
        struct event_base *base;
        struct event *acceptable, *again;
        struct conn_list by_use, waiting;
        unsigned n;
        struct pnr_records frame; /* the one that is being taken */
        struct core_item item[CONN_BATCH];
        struct conn *from[CONN_BATCH];
        unsigned n_batch;
        uint64_t key[CONN_BATCH][2]; /* of RECORDS frames */
        unsigned n_keys, n_pins;
};

bool conns_init(struct conns *cs, struct event_base *base, struct core *core, int listener);

/* Takes new connections from another listener; those that are there stay.  The old one is to be closed. */
void conns_listen(struct conns *cs, int listener);

/* The turn's frames are in cs->item[0..n_batch-1]; after core_turn() this sends their answers. */
void conns_reply(struct conns *cs);

/* Takes no frames while the core may not acknowledge any. */
void conns_pause(struct conns *cs, bool pause);

void conns_fini(struct conns *cs);

#endif
