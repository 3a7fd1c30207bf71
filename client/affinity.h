/* affinity.h -- which of several replicas is a key's own: balance = affinity.  Pure.
 *
 * Weighted rendezvous hashing: a key has a hash with each node, uniform in (0, 1), and its own node is the one whose
 * -log(hash) / weight is the least.  Those are exponentially distributed, at the rates of the weights: so each node is
 * the own one of its weight's share of all keys, and when a node goes, its keys are spread over the others in their
 * shares and no other key moves; when it comes back, they come back.  Thaler and Ravishankar, "A Name-Based Mapping
 * Scheme for Rendezvous", 1996; with weights: Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", 2005.
 *
 * It goes by the key's stage 1 hash, the node's name and its weight, and by nothing else: the answer is the same in
 * every process, after every restart, over a new store, and on every host that has the same names and weights. */
#ifndef PINROUTE_AFFINITY_H
#define PINROUTE_AFFINITY_H

#include <stdint.h>

#include "proto/key.h"
#include "proto/store.h"

/* The one bit of `pool` (bit n: node n of the cluster) that is the key's own; 0 of an empty pool.  The record may lie
 * in the map: any bytes are safe. */
uint32_t affinity_of(const struct pnr_cluster *cluster, uint32_t pool, struct pnr_key key);

/* -log2((hash | 1) / 2^64) in units of 2^-32, right to 16 of them. */
uint64_t affinity_log(uint64_t hash);

#endif
