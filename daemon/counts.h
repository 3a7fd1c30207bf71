/* counts.h -- what processes have decided, counted by themselves, in memory that we hand out and sum up.
 * Owns: struct counts, every memfd in it.  Whatever stands in that memory is a stranger's: numbers, no more.
 *
 * A family is a process that opened a handle and the children that it forks.  It holds its memory by an open file
 * description that we do not have, with a lock on it: once we can have the lock, all of them are gone. */
#ifndef PINROUTED_COUNTS_H
#define PINROUTED_COUNTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/units.h"

#define COUNTS_MOST (1ull << 53) /* where a sum stops: the greatest that JSON and Prometheus tell apart */

/* Families that one process may have had handed out and not lost. */
#define COUNTS_OF_PROCESS 16

struct counts;

/* NULL: no memory, or no memfd.  Hands out nothing before counts_limit(). */
struct counts *counts_open(void);
void counts_close(struct counts **c);

/* May we hand out memory at all?  Not where the kernel has promised memory to the last page (vm.overcommit_memory = 2,
 * as `path` says): a process that counts its first decision would then be killed for want of one, and no count is worth
 * that. */
bool counts_may(const char *path);

/* How many families may have memory at once; each costs us one descriptor. */
void counts_limit(struct counts *c, unsigned families);

/* For one more: the family's descriptor, to be sent and then closed, and the common one, which stays ours.
 *   pid  who asks, as the kernel says; 0: of a namespace that we do not see.  Those share half of all places
 * false: too many are there, or too many of this process, no descriptor is left, or /proc is not mounted. */
bool counts_give(struct counts *c, pid_t pid, int fd[2]);

/* Looks for families that are gone, a bounded number a second, and goes on with a reading that was too long for one
 * turn.  Costs by the memory that they have written, whatever they say of it: 2 to 3 us for two pages. */
void counts_turn(struct counts *c, unsigned n_clusters, struct mono now);

/* Sums what all processes have counted, living and gone: call it before counts_of().  1,000 families that use one
 * cluster take 2 to 3 ms.  Makes at most 1,024 reads of two pages: where that is not enough, counts_of() tells what the
 * last reading that is complete has found. */
void counts_read(struct counts *c, unsigned n_clusters);

/* Never less than before.
 *   slot  PNR_NO_NODE, and cluster 0: answers that named no node */
uint64_t counts_of(const struct counts *c, unsigned cluster, unsigned slot, unsigned reason);

/* Families that have memory now. */
unsigned counts_processes(const struct counts *c);

/* Another node has the slot now: it starts at 0. */
void counts_forget(struct counts *c, unsigned cluster, unsigned slot);

#endif
