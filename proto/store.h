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
 * Versioning: PNR_LAYOUT counts the changes of this file, all but one kind: a version may add a field, in what was
 * reserved, where 0 says that it is unknown, and what is lost then is offload.  Who does not know the field writes 0, or
 * on a page of pins leaves what was there.  The header has three numbers of the daemon that wrote last:
 *   layout         its PNR_LAYOUT
 *   oldest_reader  the oldest stub that may go by the file
 *   oldest_writer  the oldest daemon that may take the file over, and go on with it in place; 0: none but its own
 * A stub reads, and a daemon takes over, what is of its own layout; what is older, down to PNR_OLDEST_STORE; and what is
 * newer, if the number above lets it.  Else a stub answers "primary", and a daemon makes a new file, with a floor for
 * all that may stand in this one.  A daemon that takes a file over writes its own three numbers with its first commit,
 * and owes what the file says: pins, holds, floors, generations, an operator's words, cursor, keys and seed.
 * A record with a key of its own is a new layout that lets the one before read and write: a daemon that does not know it
 * leaves it, and it is void where `layout` is older.  Whatever else changes raises oldest_reader or oldest_writer, or
 * both.
 */
#ifndef PNR_STORE_H
#define PNR_STORE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ASSERT_SIZE(type, size)                                                                              \
        static_assert(sizeof(type) == (size), #type ": in the store: bump PNR_LAYOUT, add a golden file")

#ifndef PNR_LAYOUT /* the tests build the next one, too */
#define PNR_LAYOUT 2
#endif
#define PNR_MAGIC         0x31455455524e4950ull /* "PINRUTE1" as bytes in the file */
#define PNR_OLDEST_STORE  2 /* 1 was never released: other pages of pins, another stage 2 (key.h) */
#define PNR_OLDEST_READER 2
#define PNR_OLDEST_WRITER 2

#define PNR_PAGE_SIZE    4096
#define PNR_PAGE_VALUE   4080 /* a page less LMDB's 16-byte page header */
#define PNR_NAME_SIZE    64   /* 1..63 bytes of [A-Za-z0-9_.-] and NULs to the end */
#define PNR_CLUSTERS_MAX 64
#define PNR_NODES_MAX    32
#define PNR_SCHEDULE_MAX 512
#define PNR_WEIGHT_MAX   256
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
        uint8_t seed[16];     /* of the second stage, see key.h; one per file, kept over restarts */
        uint64_t file_ino;    /* inode of the file this was written into: a copy is refused */
        int64_t heartbeat_ms; /* daemon's clock when it last committed a heartbeat */
        uint32_t state;       /* enum pnr_store_state */
        uint32_t n_clusters;  /* cluster records 0..n-1 exist */
        uint32_t stale_after_ms; /* heartbeat older: keyed reads answer "primary" */
        uint32_t stale_limit_ms; /* heartbeat older: all reads answer "primary" */
        uint64_t cursor;         /* the turn that the next attaching process gets */
        uint32_t oldest_writer;  /* 0: the writer knew of none */
        uint32_t reserved32;
        uint64_t reserved[5];
};
ASSERT_SIZE(struct pnr_header, 144);

/* Of a header: may a stub of this version read the file?  May a daemon of this version take it over? */
static inline bool pnr_layout_readable(uint32_t layout, uint32_t oldest_reader)
{
        return layout >= PNR_OLDEST_STORE && (layout <= PNR_LAYOUT || oldest_reader <= PNR_LAYOUT);
}

static inline bool pnr_layout_writable(uint32_t layout, uint32_t oldest_writer)
{
        return layout >= PNR_OLDEST_STORE &&
               (layout <= PNR_LAYOUT || (oldest_writer && oldest_writer <= PNR_LAYOUT));
}

enum pnr_cluster_flags {
        PNR_CLUSTER_REMOVED = 1,          /* no longer configured: a reader answers as if it did not exist */
        PNR_CLUSTER_NO_REPLICA_ERROR = 2, /* no_replica = error */
        PNR_CLUSTER_AFFINITY =
            4, /* balance = affinity.  A stub that does not know it takes turns all the same */
};

struct pnr_node {
        char name[PNR_NAME_SIZE];
        uint64_t caught_up; /* newest generation whose fence this replica has replayed; 0: none */
        int64_t stamp_ms;   /* when the question was sent whose answer says so */
        uint32_t flags;     /* reserved, 0 */
        uint32_t weight;    /* as configured; the schedule already contains it */
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
        int64_t as_of_ms[PNR_NODES_MAX]; /* node n has all that the primary had then; 0: unknown.  New in 3 */
        uint32_t
            primary_budget; /* reads without key or replica that the primary takes a second; 0: all.  New in 3 */
        uint32_t reserved32;
        uint64_t reserved[44];
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

/* One overflow page: a hash bucket.  A reader that looks for a pin which is not there is told so by the filter, nine
 * times in ten, and has then read no more than the cache line with the page's header; for one that is there it
 * reads one line more, and knows its address at once.  (Without the filter, reads of keys that have no pin, which nearly
 * all are, would go through the whole of the table's groups, more than the caches hold.)
 * The page's places stand in groups of PNR_GROUP; place i is number i % PNR_GROUP of group i / PNR_GROUP.  A pin's home
 * is the group that its tag says (key.h: pnr_tag_home); it stands there, or in the next group (after the last comes the
 * first) that had room, and then each group before that is flagged as passed: a reader goes on to the next group only
 * from one that is.  The filter has all bits of all pins (pnr_tag_bits).  So a place may become free at any time; a
 * flag and a bit may stay for too long, but never be missing.  Order within a group says nothing.  Tag and hash
 * together, 64 bits, are whose the pin is.  More than PNR_PLACES_FULL pins: the page is halved. */
#define PNR_GROUPS      35
#define PNR_GROUP       3
#define PNR_PLACES      (PNR_GROUPS * PNR_GROUP)
#define PNR_PLACES_FULL 80
#define PNR_FILTER      5 /* words of 64 bits */

enum pnr_group_flags {
        PNR_GROUP_HELD = 1,   /* << i: its pin i has a hold */
        PNR_GROUP_PASSED = 8, /* a pin whose home is here or before stands in a group after this */
};

/* One cache line. */
struct pnr_group {
        uint32_t tag[PNR_GROUP];        /* 0: a free place, all of whose fields are 0 */
        uint32_t hash[PNR_GROUP];       /* key.h: pnr_slot_hash */
        uint32_t until[PNR_GROUP];      /* ms after base_ms; the pin is void from then on; 0: it always was */
        uint32_t flags;                 /* enum pnr_group_flags */
        uint64_t generation[PNR_GROUP]; /* the pin needs a replica that has caught up with this */
};
ASSERT_SIZE(struct pnr_group, 64);

/* What a reader seldom wants of a pin, and what halving a page takes. */
struct pnr_cold {
        uint64_t stamp;   /* of the last write or token merged into it, see token.h; 0: none */
        uint32_t hold;    /* ms after base_ms; only the primary satisfies the pin before this; 0: no hold */
        uint16_t low;     /* the 16 bits of the place that follow those in hash */
        uint16_t cluster; /* the store's number of it */
};
ASSERT_SIZE(struct pnr_cold, 16);

struct pnr_pins {
        int64_t base_ms; /* what the page's times count from: when it was last built anew */
        uint64_t filter[PNR_FILTER];
        struct pnr_group group[PNR_GROUPS];
        struct pnr_cold cold[PNR_PLACES];
        uint16_t bits;  /* this page holds 2^(63-bits) keys from its own on */
        uint16_t stale; /* pins dropped since filter and flags were last made anew; the writer's own */
        uint32_t used;
        uint64_t reserved[13];
};
ASSERT_SIZE(struct pnr_pins, PNR_PAGE_VALUE);
static_assert((PNR_PAGE_SIZE - PNR_PAGE_VALUE + offsetof(struct pnr_pins, group)) % 64 == 0,
              "a group is one cache line of the page");

#endif
