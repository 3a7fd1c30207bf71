/* wire.h -- frames on pinrouted.sock (SOCK_SEQPACKET): one request, one reply, of the fixed size of the op.
 * Writes and reads them: client/ask.c (request out, reply in) and daemon/conn.c (the reverse).
 *
 * A worker can only add to pins here: no frame shortens, drops or lists one.
 * A reply repeats the request's number.  A stub that stops waiting closes the connection, so that a late
 * reply is never taken for a later one; the number is a second lock on the same door.  A connection's
 * requests are answered in their order: a stub may send ahead.  Numbers are little-endian.
 *
 * Versioning: stub and daemon may be of different versions, whichever is newer, and a connection's next may be to another.
 *   - Each connection begins with HELLO, which is the same for ever.  Its reply says what the daemon can do beside, and
 *     0 is the word of one that does not know the field.  A stub asks this connection for that, and for no more.
 *   - Bytes of a request that a version does not know are sent as 0 and must be 0: a frame with anything else, and one
 *     of an unknown op, ends the connection.  Those of a reply are sent as 0 and ignored.
 *   - Ops, fields and statuses keep their numbers, places and meanings, and the frames of an op their size.
 * What breaks one of these raises PNR_WIRE_VERSION, and then neither understands the other. */
#ifndef PNR_WIRE_H
#define PNR_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/store.h"

#define PNR_WIRE_MAGIC   0x57524e50u /* "PNRW" */
#define PNR_WIRE_VERSION 1
#define PNR_RECORDS_MAX  64 /* keys of a RECORDS frame */

/* By number for life. */
enum pnr_op {
        PNR_OP_HELLO = 1,  /* asks for a turn to start from and the daemon's clock; cluster and key are 0 */
        PNR_OP_RECORD = 2, /* a write of this key has committed: pin it */
        PNR_OP_HOLD = 3,   /* nothing but the primary satisfies this key for `ms` */
        PNR_OP_TOKEN = 4, /* a write of this key with this stamp was committed, here or elsewhere: pin the key
                           * for `ms`, unless its pin covers the stamp already */
        PNR_OP_RECORDS = 5, /* writes of these keys have committed: RECORD for each, all in one commit; for a
                             * daemon whose HELLO said that it takes so many */
        PNR_OP_COUNTS =
            6, /* asks for the memory to count decisions in (counts.h), of a daemon whose HELLO said
                             * PNR_FEATURE_COUNTS; cluster and key are 0.  With the reply come two descriptors
                             * (SCM_RIGHTS), the family's and the common one, unless it is E_REFUSED */
};

/* What a daemon can do beside; a stub of before takes them for reserved bytes. */
enum pnr_feature { PNR_FEATURE_COUNTS = 1 };

struct pnr_request {
        uint32_t magic;
        uint16_t version;
        uint16_t op;     /* enum pnr_op */
        uint64_t number; /* chosen by the stub, repeated in the reply */
        char cluster[PNR_NAME_SIZE];
        uint64_t key[2]; /* struct pnr_key: stage 1, the daemon does stage 2; RECORDS: 0 */
        uint32_t ms;     /* RECORD, RECORDS: length of the pin, 0 is the cluster's default; HOLD: length of
                          * the hold; TOKEN: what is left of the pin, not 0 */
        uint32_t n;      /* RECORDS: keys that follow, 1..PNR_RECORDS_MAX; 0 in all others */
        uint64_t stamp;  /* TOKEN: the write's, not 0 */
        uint64_t reserved[2];
};
static_assert(sizeof(struct pnr_request) == 128, "on the wire: bump PNR_WIRE_VERSION, add a golden frame");

/* The frame of a RECORDS; of all other ops the head alone is one. */
struct pnr_records {
        struct pnr_request head;
        uint64_t key[PNR_RECORDS_MAX][2]; /* as a request's; from head.n on 0 */
};
static_assert(sizeof(struct pnr_records) == 1152, "on the wire: bump PNR_WIRE_VERSION, add a golden frame");

struct pnr_reply {
        uint32_t magic;
        uint16_t version;
        uint16_t op;
        uint64_t number;
        uint32_t status;      /* enum pinroute_status: OK, E_INVALID, E_CLUSTER, E_REFUSED */
        uint32_t records_max; /* HELLO: keys that a RECORDS frame may carry; 0: it knows no such frame */
        uint64_t epoch;       /* of the daemon that answers */
        int64_t now_ms;       /* its CLOCK_MONOTONIC, for stubs in another time namespace */
        uint64_t turn;        /* HELLO: where this process starts in every schedule */
        uint64_t generation;  /* of what pins: what the pins now carry; 0: they became a floor */
        uint64_t features;    /* HELLO: enum pnr_feature, or'ed; 0 in all others */
};
static_assert(sizeof(struct pnr_reply) == 64, "on the wire: bump PNR_WIRE_VERSION, add a golden frame");

/* Is this a frame that this version can act on?  `size` is what the kernel said the packet's length is.
 * A bad one gets no answer: the connection is closed and counted. */
bool pnr_request_valid(const struct pnr_request *q, size_t size); /* any but RECORDS */
bool pnr_frame_valid(const struct pnr_records *f, size_t size);   /* any; only `size` bytes are there */
bool pnr_reply_valid(const struct pnr_reply *r, size_t size, const struct pnr_request *asked);

/* How many bytes the frame with this head has. */
static inline size_t pnr_frame_size(const struct pnr_request *head)
{
        return head->op == PNR_OP_RECORDS ? sizeof(struct pnr_records) : sizeof *head;
}

/* Is `name` 1..63 bytes of [A-Za-z0-9_.-], and NULs to the end of its PNR_NAME_SIZE bytes? */
bool pnr_name_valid(const char name[PNR_NAME_SIZE]);

#endif
