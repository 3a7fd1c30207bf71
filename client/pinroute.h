/* pinroute.h -- which PostgreSQL server should this process's next read go to?
 *
 * The public interface of libpinroute: C99, opaque handle, no dependency for the caller.
 *
 *     struct pinroute *pr;
 *     unsigned main_cluster;
 *     pinroute_open(&pr, NULL);                              // once, before or after fork
 *     pinroute_cluster(pr, "main", &main_cluster);
 *     ...
 *     struct pinroute_decision d;
 *     pinroute_route_read(pr, main_cluster, session, session_len, &d);
 *     PGconn *c = connection_of(d.node);                     // your own driver, your own connections
 *     ...
 *     // after a COMMIT on the primary has returned:
 *     pinroute_record_write(pr, main_cluster, session, session_len, 0);
 *
 * The promise: once pinroute_record_write() for a key has returned PINROUTE_OK, no read decided for that key
 * on this host names a replica that lacks the write.  On any doubt the answer is the primary.
 *
 * A decision is as of its moment.  For the promise to reach the data: have the connection first, decide
 * after, read at once.  A replica that crashes comes back at an older position: a connection that was open
 * when the replica was chosen tells of that by breaking, one that is opened after the decision cannot, so
 * decide again after every connect (examples/prefork_server.c does).
 *
 * A library that is a guest: it never logs, aborts, changes signal handlers, the environment or errno, and
 * starts no thread.  Every call may be made from any thread, and after fork() in any child, whether the
 * handle was opened before the fork or not.  Not after vfork() before exec, and not from a signal handler.
 * The application may close the connection's descriptor behind our back, and use its number for something else:
 * nothing is written to what is not ours; only what takes the number in the very instant between our look at it and
 * the recv() or close() after it cannot be told from it.  A thread that is cancelled in a call ends after it.
 * Reads (route_read, route_write, scope_read, and route_read_within, scope_read_within) make no system call, take no
 * lock, allocate nothing and write to no memory that another process sees but what the daemon handed out to count in:
 * decisions, and primary_budget.  Nobody's answer depends on the decisions.  Exceptions to "no system call":
 *   - looking for a new store after the one in use was retired or went stale, at most once a second;
 *   - until the daemon has told this handle its clock once (open does that, if the daemon is there), asking for it, for
 *     20 ms at most, at most once a second;
 *   - greeting a daemon that was restarted, or gave no memory to count in, for 2 ms at most; where that fails, not again
 *     for 10 s.
 * Waits otherwise happen in open, record_write and its kin, hold, scope_end, scope_end_send and token_accept only, and
 * each has one total deadline (pinroute_set_timeout()). */
#ifndef PINROUTE_H
#define PINROUTE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define PINROUTE_VERSION "0.1.0"

#define PINROUTE_KEY_MAX      4096 /* bytes of a key; at least 1 */
#define PINROUTE_NODE_SIZE    64   /* bytes of a node's or cluster's name, its NUL included */
#define PINROUTE_CLUSTERS_MAX 64   /* clusters that one handle can number */
#define PINROUTE_BATCH_MAX    64   /* keys of one round trip; more are sent in several */
#define PINROUTE_TOKEN_SIZE   96   /* bytes that always suffice for a token, its NUL included */

struct pinroute;

/* Statuses and reasons: by number for life; new ones are added at the end. */
enum pinroute_status {
        PINROUTE_OK = 0,
        PINROUTE_E_INVALID = 1, /* an argument is out of bounds: the caller's bug */
        PINROUTE_E_CLUSTER,     /* the store, or the daemon, knows no cluster of this name */
        PINROUTE_E_NODE,        /* the cluster has no node of this name */
        PINROUTE_E_STORE,       /* no usable store: none there, unreadable, other layout, too long stale */
        PINROUTE_E_UNREACHABLE, /* the daemon did not answer in time: the write is pinned in this process only
                                 */
        PINROUTE_E_REFUSED,     /* the daemon answered that it will not do this */
        PINROUTE_E_NO_REPLICA, /* no replica may be read from, and the cluster says no_replica = error, or its
                                   primary_budget is used up */
        PINROUTE_E_TOKEN_FORGED,  /* not a token that was signed with our key, or dated far ahead */
        PINROUTE_E_TOKEN_EXPIRED, /* the pin that it carries has run out */
        PINROUTE_E_TOKEN_FOREIGN, /* of another cluster */
        PINROUTE_E_MEMORY         /* out of memory, address space or descriptors */
};

enum pinroute_role { PINROUTE_PRIMARY = 1, PINROUTE_REPLICA = 2 };

enum pinroute_reason {
        PINROUTE_BALANCED = 1,      /* the next replica in turn: nothing asked for more */
        PINROUTE_PINNED,            /* this key wrote, and no replica is known to have the write yet */
        PINROUTE_CAUGHT_UP,         /* this key wrote, and this replica has the write */
        PINROUTE_FORCED,            /* the scope is forced to the primary, or it wrote */
        PINROUTE_NO_REPLICA,        /* no replica may be read from now: all down, lagging or drained */
        PINROUTE_FLOOR,             /* pins of this cluster may be missing: all its keys count as pinned */
        PINROUTE_STORE_STALE,       /* the daemon has been silent: nobody can record writes */
        PINROUTE_STORE_UNAVAILABLE, /* no usable store */
        PINROUTE_WRITE,             /* asked for the place to write */
        PINROUTE_AFFINITY,          /* this key's own replica: the cluster says balance = affinity */
        PINROUTE_BEHIND,     /* no replica is known to be within the bound that the call gave: the primary */
        PINROUTE_OVER_BUDGET /* no replica, and this second's primary_budget is used up: E_NO_REPLICA */
};

/* An answer.  112 bytes. */
struct pinroute_decision {
        char node[PINROUTE_NODE_SIZE]; /* alias from the config; "": unknown, use your primary */
        uint16_t role;                 /* enum pinroute_role */
        uint16_t reason;               /* enum pinroute_reason */
        uint32_t pin_left_ms;          /* of the key's pin, else of the cluster's floor; 0: neither */
        uint64_t epoch;                /* of the daemon whose store decided; 0: no store */
        uint64_t reserved[4];          /* 0 */
};

/* Opens a handle.  Never waits longer than the default timeout (50 ms).
 *   ret   set to the handle, or to NULL on error
 *   dir   the daemon's directory; NULL: $PINROUTE_DIR, else /run/pinroute.  Copied.
 * Also reads $PINROUTE_PRIMARY once: the node name given in decisions while no store is readable.
 * Returns OK, with or without a store and a daemon: until one appears, all answers are "primary".
 *         E_INVALID (ret is NULL, path too long for a socket address) | E_MEMORY.
 * Threads: safe.  Fork: a handle opened before fork() serves in every child; each takes a turn of its own. */
int pinroute_open(struct pinroute **ret, const char *dir);

/* Frees the handle and sets *pr to NULL; NULL and a pointer to NULL are fine.
 * Threads: no other thread may be inside a call on this handle. */
void pinroute_close(struct pinroute **pr);

/* Numbers a cluster, once, for the calls below.  The number belongs to this handle and stays good when the
 * store is replaced or the cluster is removed and comes back.
 *   name  1..63 bytes of [A-Za-z0-9_.-]
 *   ret   the same number for the same name; set also when E_CLUSTER is returned
 * Returns OK | E_CLUSTER (a readable store lacks the name; the number works as soon as it appears)
 *         | E_INVALID (bad name, more than PINROUTE_CLUSTERS_MAX names; *ret is then unusable).
 * Threads, fork: safe.  May take the handle's lock; makes no system call unless that is contended. */
int pinroute_cluster(struct pinroute *pr, const char *name, unsigned *ret);

/* Where does a read for `key` go?  Reads shared memory: no system call, no lock, no malloc.
 *   key, len   1..PINROUTE_KEY_MAX bytes, any bytes; NULL: no pin is asked for
 *   ret        always filled: on any doubt it names the primary, so it can be used without a look at the status
 * Returns OK | E_STORE | E_CLUSTER (a readable store has no such cluster)
 *         | E_INVALID (empty or oversized key, number from nowhere), these three with reason STORE_UNAVAILABLE
 *         | E_NO_REPLICA (cluster with no_replica = error, or without key and over its primary_budget, reason
 *           OVER_BUDGET: *ret still names the primary).
 * In a cluster with balance = affinity a key without a pin goes to its own replica, always the same while that is
 * healthy (reason AFFINITY), and a key with a pin there or to the primary, but to no other replica.  So its reads never
 * go back in time, except that after reads from the primary the replica may again show the writes of others a little
 * later, and that another replica takes its place when it leaves the schedule.  Reads without a key take turns.
 * Threads: share the handle freely.  Fork: the child may call at once. */
int pinroute_route_read(struct pinroute *pr, unsigned cluster, const void *key, size_t len,
                        struct pinroute_decision *ret);

/* The same, at most `ms` behind: a replica only if it is known to have all that the primary had `ms` ago, else the
 * primary, reason BEHIND.  Pins, floors and holds count as ever.
 *   ms   any; 0: the primary
 * What is known: at each check (check_interval) the primary tells how far it is, and each replica how far it has come.
 * So what is known of a replica that lags by nothing is up to twice check_interval old, and a lower bound mostly means
 * the primary; while pins wait it is known more sharply, by fence_interval.  It grows old by itself when daemon,
 * primary or replica are silent: then these reads go to the primary, which may be down itself.  While the daemon is
 * silent beyond stale_after they do so at once (STORE_STALE), also without a key.  For the bound to reach the data,
 * connect first, as for the promise; a replica that crashes and is back within moments is found out by its connection
 * to the daemon, so a daemon that itself stands still may miss that for as long as stale_after.
 * Returns as route_read.  Costs a little more. */
int pinroute_route_read_within(struct pinroute *pr, unsigned cluster, const void *key, size_t len,
                               unsigned ms, struct pinroute_decision *ret);

/* Where does a write go?  The primary, reason WRITE, or STORE_UNAVAILABLE.  Costs and statuses as above. */
int pinroute_route_write(struct pinroute *pr, unsigned cluster, struct pinroute_decision *ret);

/* A write for `key` has committed: from the OK on, no process of this host reads it from a replica that lacks
 * it.  Call after COMMIT (or COMMIT PREPARED) has returned, never inside the transaction.  One round trip.
 *   seconds   0: the cluster's pin_seconds; more than its max_pin_seconds is cut to that
 * Returns OK | E_INVALID | E_CLUSTER (the daemon knows no such cluster)
 *         | E_UNREACHABLE (no answer within the timeout, or the breaker is open: from now on this process treats
 *           the key as pinned and sends the record again at its next contact; other processes may not know)
 *         | E_REFUSED (a daemon that does not speak this version; treated as pinned likewise).
 * Threads: safe, one round trip at a time per handle.  Fork: the child connects by itself. */
int pinroute_record_write(struct pinroute *pr, unsigned cluster, const void *key, size_t len,
                          unsigned seconds);

struct pinroute_key {
        const void *key;
        size_t len; /* 1..PINROUTE_KEY_MAX */
};

/* record_write() for many keys: one deadline for all, one round trip and one commit for each
 * PINROUTE_BATCH_MAX of them.
 *   keys, n   one key may stand there twice; n = 0 does nothing
 * Returns as record_write, and OK only if all are recorded.  E_INVALID of a key: nothing was sent.  On
 * E_UNREACHABLE and E_REFUSED those that were not acknowledged are pinned in this process, and sent again at its
 * next contact.  A process keeps 64 such keys.  Those beyond are not sent again: until their pins would have run out
 * all keys of this process count as pinned, but other processes never hear of them, so call again. */
int pinroute_record_writes(struct pinroute *pr, unsigned cluster, const struct pinroute_key *keys, size_t n,
                           unsigned seconds);

/* Records that were sent and are not waited for yet.  The caller owns the memory; fields are libpinroute's.
 * Not for two threads at once; may be carried from thread to thread.  1152 bytes, most of them touched only
 * where there are many keys. */
struct pinroute_pending {
        uint64_t serial;
        unsigned state;
        unsigned cluster;
        unsigned n;
        int status;
        uint32_t ms;
        uint32_t reserved32;
        uint64_t key[PINROUTE_BATCH_MAX][2];
        uint64_t reserved[12];
};

/* record_writes() in two halves, so that recording overlaps what is done meanwhile, say the response that is
 * sent: send does not wait for the daemon's answer, wait does.
 *   n     at most PINROUTE_BATCH_MAX
 *   ret   always filled, unless NULL
 * What is promised when: from send on this process reads these keys from the primary.  From the OK of wait on,
 * and not before, every process of the host does, until a replica has the writes: so wait before another
 * process, or the user's next request, may look for them.
 * send returns OK (sent; or recorded already, where too much is under way to send ahead, or the daemon is an
 * older one) | what wait will return, at once.  It may wait for the handle's lock, and to connect.
 * wait returns as record_writes, and the same once more when it is called again.  Where no answer will come (a
 * daemon that restarted, another thread's timeout, a fork: a child may wait for what its parent sent) it records
 * once more, within its own deadline: nothing is taken for recorded that was not.
 *         E_INVALID: never sent, or by another handle; what a closed handle owed went with it.
 * Records that nobody waits for do no harm: if no other call meets their answer on its way, the keys stay pinned
 * in this process and are sent again.
 * Threads: safe; several may be under way, and be waited for in any order. */
int pinroute_record_send(struct pinroute *pr, unsigned cluster, const struct pinroute_key *keys, size_t n,
                         unsigned seconds, struct pinroute_pending *ret);
int pinroute_record_wait(struct pinroute *pr, struct pinroute_pending *p);

/* Until `ms` from now nothing but the primary satisfies `key`, whatever replicas have replayed.  Call before
 * a write whose process may not live to record it, or when the outcome of a COMMIT is unknown.
 *   ms   1..; more than max_pin_seconds is cut to that
 * Returns as record_write. */
int pinroute_hold(struct pinroute *pr, unsigned cluster, const void *key, size_t len, unsigned ms);

/* The connection string of a node, as far as it is no secret: host, port, dbname, sslmode.
 *   buf, size   512 bytes always suffice
 * Returns OK | E_NODE | E_CLUSTER | E_STORE | E_INVALID (buffer too small; NULL).  Reads shared memory only.
 */
int pinroute_endpoint(struct pinroute *pr, unsigned cluster, const char *node, char *buf, size_t size);

/* Total time of one record_write (or record_writes, record_send, record_wait), hold, scope_end, scope_end_send or
 * token_accept, all waiting included.  1..60000 ms, default 50.
 * Returns OK | E_INVALID. */
int pinroute_set_timeout(struct pinroute *pr, unsigned ms);

/* Never NULL; static strings. */
const char *pinroute_strerror(int status);    /* "no answer from pinrouted: pinned in this process only" */
const char *pinroute_reason_name(int reason); /* "CAUGHT_UP" */
const char *pinroute_version(void);

/* One request.  The caller owns the memory (stack or request struct); fields are libpinroute's.
 * Not for two threads at once; may be carried from thread to thread.  256 bytes + the decision. */
struct pinroute_scope {
        struct pinroute *pr;
        unsigned cluster;
        unsigned forced; /* how often forced and not yet unforced */
        unsigned flags;
        int status; /* of scope_begin's arguments */
        uint64_t key[2];
        int64_t decided_ms;
        uint64_t need[4]; /* of the tokens that it accepted */
        uint32_t counted; /* where its decision counts */
        uint32_t reserved32;
        uint64_t reserved[21];
        struct pinroute_decision decision;
};

/* Begins a request.  key NULL: the request has no identity; reads are unkeyed, writes are not recorded.
 * Keeps its own hash of the key: the key may go.  Never waits.  Wrong arguments are reported by scope_end,
 * and until then every read of the scope goes to the primary. */
void pinroute_scope_begin(struct pinroute_scope *s, struct pinroute *pr, unsigned cluster, const void *key,
                          size_t len);

/* The request's identity became known, or changed (a log-in): from here on reads and scope_end() go by this
 * key.  What the old key's pin and accepted tokens ask for is still asked for, as of this call.
 *   key   NULL: no identity from here on
 * Returns OK | E_INVALID (the scope is as before).  Reads shared memory only. */
int pinroute_scope_rekey(struct pinroute_scope *s, const void *key, size_t len);

/* Ends the request: records the write, if scope_wrote() was called and there is a key.  Call it after COMMIT.
 * Returns OK (nothing to record, or recorded), else record_write's status.  The scope may be begun again. */
int pinroute_scope_end(struct pinroute_scope *s);

/* The same, but the record's answer is waited for later: pinroute_record_wait() with the scope's handle.
 *   ret   always filled; where there was nothing to record, waiting for it is OK, at once
 * Returns as record_send; E_INVALID also if ret is NULL, and then the scope has not ended. */
int pinroute_scope_end_send(struct pinroute_scope *s, struct pinroute_pending *ret);

/* Where does this request's next read go?  The first read decides, later ones repeat it (one request sees one
 * database) until the scope writes or forces, its key or tokens change, or the decision is older than the
 * store's stale_after; a new decision names the replica of the last one, if that one will do.
 * Returns as route_read; costs less when it repeats.  What repeats a decision takes nothing from primary_budget: a
 * request that it has let in is asked for again only where it decides anew, and may be refused then. */
int pinroute_scope_read(struct pinroute_scope *s, struct pinroute_decision *ret);

/* The same, at most `ms` behind: see pinroute_route_read_within().  A replica is decided on anew each time, and stays
 * the one that the scope has read from while it is within the bound; the primary is repeated.  Later reads of the
 * scope, bounded or not, repeat what this one decided. */
int pinroute_scope_read_within(struct pinroute_scope *s, unsigned ms, struct pinroute_decision *ret);

/* This request has written, or is about to: reads go to the primary from here on (FORCED). */
void pinroute_scope_wrote(struct pinroute_scope *s);

/* Reads of this request go to the primary (FORCED) until as many unforce calls; nests to any depth. */
void pinroute_scope_force_primary(struct pinroute_scope *s);
void pinroute_scope_unforce(struct pinroute_scope *s);

/* Forces the scope to the end of the C block, early return, break and goto included:
 *         { PINROUTE_USE_PRIMARY(&scope); ... }
 * gcc and clang (the cleanup attribute). */
#if defined(__GNUC__)
#define PINROUTE_USE_PRIMARY(s)          PINROUTE_USE_PRIMARY_AT(s, __LINE__)
#define PINROUTE_USE_PRIMARY_AT(s, line) PINROUTE_USE_PRIMARY_AS(s, line)
#define PINROUTE_USE_PRIMARY_AS(s, line)                                                                     \
        __attribute__((cleanup(pinroute_scope_unforce_at),                                                   \
                       unused)) struct pinroute_scope *pinroute_forced_##line = pinroute_scope_forced(s)

static inline struct pinroute_scope *pinroute_scope_forced(struct pinroute_scope *s)
{
        pinroute_scope_force_primary(s);
        return s;
}

static inline void pinroute_scope_unforce_at(struct pinroute_scope **s) { pinroute_scope_unforce(*s); }
#endif

/* Tokens: a pin that travels, in a cookie, a header or a job's payload, to processes that this host's daemon
 * does not know of: on another host with the same key_file, or here while the daemon is away.
 *
 * Issues one for the key: reads that carry it see what was recorded for the key before this call.  Call it
 * after record_write() or scope_end(), whatever those returned.
 *   buf, size   PINROUTE_TOKEN_SIZE bytes always suffice; characters of [A-Za-z0-9_-] and a NUL
 * Returns OK | E_STORE (no store is readable, so there is no key to sign with) | E_CLUSTER
 *         | E_INVALID (bad key, buffer too small).  buf is "" unless OK.
 * Reads shared memory only, and costs a few microseconds.  The key must not be secret from whoever gets the
 * token: it carries a 128-bit hash of it. */
int pinroute_token_issue(struct pinroute *pr, unsigned cluster, const void *key, size_t len, char *buf,
                         size_t size);

/* Accepts one for a scope: from here on the scope's reads also need what the token says, whatever the scope's
 * own key is.  The first token of a write that this host sees pins the token's key here, which asks the
 * daemon once and then ends early, like any pin; while the daemon does not answer, this scope's reads go to
 * the primary.
 *   cluster   the scope's; a token of another cluster is refused
 *   token     any text, of any length, from anyone
 * Returns OK | E_TOKEN_FORGED | E_TOKEN_EXPIRED | E_TOKEN_FOREIGN (refused: the scope is as before)
 *         | E_STORE, E_CLUSTER (it could not be checked: the scope's reads go to the primary)
 *         | E_INVALID (NULL, a cluster that is not the scope's).
 * Waits as record_write does, when it asks. */
int pinroute_token_accept(struct pinroute *pr, unsigned cluster, const char *token, struct pinroute_scope *s);

/* Does this HTTP method write?  1: anything but GET, HEAD, OPTIONS, TRACE (compared as RFC 9110 does:
 * exactly); NULL writes. */
int pinroute_http_method_writes(const char *method);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
