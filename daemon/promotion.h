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
 * may still lead, nor who was never on a newer timeline than it, nor while two could. */
struct promotion promotion_decide(const struct cluster *c);

#endif
