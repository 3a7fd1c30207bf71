/* store.h -- what pinrouted writes into data.mdb and libpinroute reads from it.
 * Layout only: records, keys, limits.  Writes: daemon/store.c.  Reads: client/view.c.
 *
 * The file is an LMDB 0.9 environment (data version 1, 64-bit, little-endian) with one unnamed database and
 * one kind of key: 8 bytes, big-endian.  A value lies inside a leaf or is exactly one overflow page
 * (PNR_PAGE_VALUE bytes).  Keys below 2^63 are state; a key from 2^63 on is the lower bound of a range of
 * key hashes, and its value is the page of pins whose hashes fall into that range (struct pnr_pins).  The
 * first pin page always has the key PNR_KEY_PINS, so that every hash has a page as soon as there is one.
 *
 * Numbers are little-endian and naturally aligned inside each record.  A record inside a leaf is itself only
 * 2-byte aligned: copy it out before use.  A record on an overflow page is 16-byte aligned.
 * Times are CLOCK_MONOTONIC milliseconds of the boot named in the header.
 *
 * Versioning: PNR_LAYOUT counts every change of this file.  A reader accepts a store whose `layout` it knows
 * or whose `oldest_reader` is not above its own PNR_LAYOUT; it refuses everything else and answers "primary".
 */
#ifndef PNR_STORE_H
#define PNR_STORE_H

#include <assert.h>
#include <stdint.h>

#define ASSERT_SIZE(type, size)                                                                              \
        static_assert(sizeof(type) == (size), #type ": in the store: bump PNR_LAYOUT, add a golden file")

#define PNR_MAGIC         0x31455455524e4950ull /* "PINRUTE1" as bytes in the file */
#define PNR_LAYOUT        1
#define PNR_OLDEST_READER 1

#define PNR_PAGE_SIZE    4096
#define PNR_PAGE_VALUE   4080 /* a page less LMDB's 16-byte page header */
#define PNR_NAME_SIZE    64   /* 1..63 bytes of [A-Za-z0-9_.-] and NULs to the end */
#define PNR_CLUSTERS_MAX 64
#define PNR_NODES_MAX    32
#define PNR_SCHEDULE_MAX 512
#define PNR_ENDPOINT_MAX 512 /* bytes of a conninfo, its NUL included */
#define PNR_NO_NODE      0xffffu

/* LMDB keys of the state records; ADMIN is the daemon's own. */
#define PNR_KEY_HEADER         1ull
#define PNR_KEY_TOKENS         2ull
#define PNR_KEY_CLUSTER(c)     (0x100ull + (uint64_t)(c))
#define PNR_KEY_ENDPOINT(c, n) (0x10000ull + (uint64_t)(c)*PNR_NODES_MAX + (uint64_t)(n))
#define PNR_KEY_ADMIN(c, n)    (0x20000ull + (uint64_t)(c)*PNR_NODES_MAX + (uint64_t)(n))
#define PNR_KEY_PINS           (1ull << 63)

enum pnr_store_state { PNR_LIVE = 1, PNR_RETIRED = 2 };

/* In a leaf.  Rewritten at every heartbeat. */
struct pnr_header {
        uint64_t magic;
        uint32_t layout;
        uint32_t oldest_reader;
        uint64_t epoch;       /* random, never 0, new at each start of the daemon */
        uint8_t boot_id[16];  /* /proc/sys/kernel/random/boot_id as bytes: a store of another boot is void */
        uint8_t seed[16];     /* second-stage SipHash key, see key.h; one per file, kept over restarts */
        uint64_t file_ino;    /* inode of the file this was written into: a copy is refused */
        int64_t heartbeat_ms; /* daemon's clock when it last committed a heartbeat */
        uint32_t state;       /* enum pnr_store_state */
        uint32_t n_clusters;  /* cluster records 0..n-1 exist */
        uint32_t stale_after_ms; /* heartbeat older: keyed reads answer "primary" */
        uint32_t stale_limit_ms; /* heartbeat older: all reads answer "primary" */
        uint64_t cursor;         /* the turn that the next attaching process gets */
        uint64_t reserved[6];
};
ASSERT_SIZE(struct pnr_header, 144);

enum pnr_cluster_flags {
        PNR_CLUSTER_REMOVED = 1,          /* no longer configured: a reader answers as if it did not exist */
        PNR_CLUSTER_NO_REPLICA_ERROR = 2, /* no_replica = error */
};

struct pnr_node {
        char name[PNR_NAME_SIZE];
        uint64_t caught_up; /* newest generation whose fence this replica has replayed; 0: none */
        int64_t stamp_ms;   /* when the question was sent whose answer says so */
        uint32_t flags;     /* reserved, 0 */
        uint32_t weight;    /* as configured, for show; the schedule already contains it */
};
ASSERT_SIZE(struct pnr_node, 88);

/* One overflow page.  Rewritten when health, lag, drain, floor or caught-up generations change. */
struct pnr_cluster {
        char name[PNR_NAME_SIZE];
        uint64_t open_generation;  /* above every generation that a pin of the cluster carries, or equal */
        uint64_t floor_generation; /* the pin of the whole cluster, for keyed reads */
        int64_t floor_until_ms;    /* void from here on; 0: no floor */
        uint32_t flags;            /* enum pnr_cluster_flags */
        uint32_t trust_ms;         /* a caught_up whose stamp is this old or older is not trusted */
        uint32_t pin_ms;           /* default length of a pin */
        uint32_t max_pin_ms;
        uint16_t n_nodes;
        uint16_t n_schedule; /* 0: no replica is to be read from */
        uint16_t primary;    /* index into node[], or PNR_NO_NODE */
        uint16_t reserved16;
        uint32_t scheduled; /* bit n: node n stands in the schedule */
        uint32_t timeline;  /* of system_identifier */
        uint8_t
            schedule[PNR_SCHEDULE_MAX]; /* indices into node[]; a reader at turn t takes t mod n_schedule */
        struct pnr_node node[PNR_NODES_MAX];
        int64_t floor_hold_ms;      /* nothing but the primary satisfies the floor before this; 0: no hold */
        uint64_t system_identifier; /* of the primary's history, as last heard; 0: never */
        uint64_t reserved[77];
};
ASSERT_SIZE(struct pnr_cluster, PNR_PAGE_VALUE);

/* In a leaf: one per node, for pinroute_endpoint(). */
struct pnr_endpoint {
        char conninfo[PNR_ENDPOINT_MAX]; /* host, port, dbname, sslmode; never a user or password */
};
ASSERT_SIZE(struct pnr_endpoint, 512);

#define PNR_TOKEN_KEYS_MAX 4
#define PNR_TOKEN_KEY_SIZE 32

/* In a leaf: what tokens are signed with.  Whoever may read the store may sign: it is every worker's secret.
 */
struct pnr_token_keys {
        uint32_t n;      /* 1..PNR_TOKEN_KEYS_MAX: the first signs, all are accepted */
        uint32_t issuer; /* of this daemon's stamps, see token.h: a pin with another's was made by a token */
        uint8_t key[PNR_TOKEN_KEYS_MAX][PNR_TOKEN_KEY_SIZE];
        uint64_t reserved[7];
};
ASSERT_SIZE(struct pnr_token_keys, 192);

/* A pin's first four fields are each merged by max: a late or repeated request never shortens it.  The stamp
 * is the newest one's: what it says is covered stays covered, since the generation never falls. */
struct pnr_pin {
        uint64_t ident;      /* pnr_slot_of(): 48 bits of hash, 16 bits of cluster number */
        uint64_t generation; /* needs a replica that has caught up with this */
        int64_t until_ms;    /* the pin is void from here on */
        int64_t hold_ms;     /* nothing but the primary satisfies the pin before this; 0: no hold */
        uint64_t stamp;      /* of the last write or token merged into it, see token.h; 0: none */
};
ASSERT_SIZE(struct pnr_pin, 40);

/* One overflow page: a hash bucket.  tag[] is in ascending order with gaps (0), each tag at or after its
 * home (pnr_tag_home), pin[i] belongs to tag[i].  A key without a pin usually touches only the tag line.
 * More than PNR_SLOTS_FULL pins: the page is halved. */
#define PNR_SLOTS      92
#define PNR_SLOTS_FULL 80

struct pnr_pins {
        uint32_t tag[PNR_SLOTS];
        uint32_t bits; /* this page holds 2^(63-bits) keys from its own on */
        uint32_t used;
        struct pnr_pin pin[PNR_SLOTS];
        uint64_t reserved[3];
};
ASSERT_SIZE(struct pnr_pins, PNR_PAGE_VALUE);

#endif
