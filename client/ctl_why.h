/* ctl_why.h -- what a worker would be told about a key now, and the facts behind it.
 * Reads the store as libpinroute does, so it works with the daemon dead. */
#ifndef PINROUTECTL_WHY_H
#define PINROUTECTL_WHY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "client/choose.h"
#include "client/ctl.h"
#include "client/view.h"
#include "proto/key.h"
#include "proto/store.h"

/* One question, and everything that decides it, copied out of one snapshot of the store. */
struct ctl_why {
        char dir[256];
        char name[PNR_NAME_SIZE]; /* of the cluster */
        struct pnr_key key;
        int status; /* enum view_status; VIEW_UNUSABLE: no store, `trouble` says why */
        const char *trouble;
        struct facts facts; /* facts.cluster is &cluster */
        struct pnr_cluster cluster;
        struct choice choice;
        char hash[21]; /* of the key, as `show pins` has it */
        json_t
            *daemon; /* what it says of the generation needed, daemon/explain.h; NULL: it does not answer */
};

void ctl_why_ask(struct ctl_why *w, const char *dir, const char name[PNR_NAME_SIZE], const void *key,
                 size_t len);

/* Asks the daemon for what only it knows, and does without where it does not answer. */
void ctl_why_explain(struct ctl_why *w, const struct ctl *ctl);
void ctl_why_free(struct ctl_why *w);

/* What the facts say: the key's pin, NULL: none is live; the floor, false: none; the generation that a replica must
 * have reached, 0: any will do. */
const struct need *ctl_why_pin(const struct ctl_why *w);
bool ctl_why_floor(const struct ctl_why *w, struct need *ret);
uint64_t ctl_why_generation(const struct ctl_why *w);
unsigned ctl_why_nodes(const struct ctl_why *w);
const char *ctl_why_name(const struct ctl_why *w, unsigned node, char buf[PNR_NAME_SIZE + 1]);
bool ctl_why_is_scheduled(const struct ctl_why *w, unsigned node);
int64_t ctl_why_stamp_age(const struct ctl_why *w, unsigned node);

/* VIEW_OK and VIEW_UNUSABLE can be shown; VIEW_NO_CLUSTER is an error of the question. */
void ctl_why_show(const struct ctl_why *w, FILE *to);
void ctl_why_json(const struct ctl_why *w, FILE *to);

#endif
