/* promotion.h -- follow_promotion: which node is the primary, by what all of them told last?  Pure. */
#ifndef PINROUTED_PROMOTION_H
#define PINROUTED_PROMOTION_H

#include "daemon/cluster.h"

struct promotion {
        unsigned primary; /* slot, or PNR_NO_NODE */
        bool settled;     /* as in struct cluster */
        bool split_brain; /* more than one node of the primary's system is out of recovery */
};

/* The primary is the node that is not in recovery.  Two at once: the last one stays; where no store tells
 * which one was the last, the newest timeline, else the configured role.  Nobody inherits from a primary that
 * may still lead, nor who was never on a newer timeline than it, nor while two could, nor who does not answer
 * now.  A node's word that it leads stands until `fall` checks in a row went unanswered, so one lost answer
 * decides nothing; the alarm is raised by two of which each said so after the other. */
struct promotion promotion_decide(const struct cluster *c);

/* "; also out of recovery: shadow-1, shadow-2", or "": who leads beside the primary, by their last word.  Cut to `size`. */
void promotion_name_rivals(const struct cluster *c, char *ret, size_t size);

/* Does another node, by its last word, lead the very timeline that the primary leads?  Two were promoted from
 * one history: their timelines have one name, and a replica's does not tell whose it follows. */
bool promotion_is_forked(const struct cluster *c);

#endif
