/* words.h -- every status and reason: number, name and sentence, in one table each.
 * Numbers as in pinroute.h, for life; words.c asserts them. */
#ifndef PINROUTE_WORDS_H
#define PINROUTE_WORDS_H

#define WORDS_STATUS(X)                                                                                      \
        X(OK, 0, "done")                                                                                     \
        X(E_INVALID, 1, "an argument is out of bounds")                                                      \
        X(E_CLUSTER, 2, "no such cluster")                                                                   \
        X(E_NODE, 3, "no such node in the cluster")                                                          \
        X(E_STORE, 4, "no usable store: is pinrouted running?")                                              \
        X(E_UNREACHABLE, 5, "no answer from pinrouted: pinned in this process only")                         \
        X(E_REFUSED, 6, "refused by pinrouted: pinned in this process only")                                 \
        X(E_NO_REPLICA, 7, "no replica may be read from now")                                                \
        X(E_TOKEN_FORGED, 8, "the token is not one of ours")                                                 \
        X(E_TOKEN_EXPIRED, 9, "the token has expired")                                                       \
        X(E_TOKEN_FOREIGN, 10, "the token is for another cluster or key")                                    \
        X(E_MEMORY, 11, "out of memory, address space or descriptors")

#define WORDS_REASON(X)                                                                                      \
        X(BALANCED, 1, "nothing keeps this key from the replicas")                                           \
        X(PINNED, 2, "this key wrote, and no replica is known to have the write yet")                        \
        X(CAUGHT_UP, 3, "these replicas have every write that this key needs")                               \
        X(FORCED, 4, "the scope is forced to the primary")                                                   \
        X(NO_REPLICA, 5, "no replica may be read from: all are down, lagging, drained or without weight")    \
        X(FLOOR, 6, "pins of this cluster may be missing, so all its keys count as pinned")                  \
        X(STORE_STALE, 7, "the daemon has been silent too long: nobody can record writes")                   \
        X(STORE_UNAVAILABLE, 8, "there is no usable store")                                                  \
        X(WRITE, 9, "writes go to the primary")                                                              \
        X(AFFINITY, 10, "this replica is the key's own, and nothing keeps it from it")                       \
        X(BEHIND, 11, "no replica is known to be within the bound that the call gave")                       \
        X(OVER_BUDGET, 12, "no replica may be read from, and this second's primary_budget is used up")

/* The sentence of a reason: static. */
const char *words_reason(int reason);

#endif
