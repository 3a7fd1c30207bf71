/* explain.c -- a generation's fence and each node's place before it, spelled out.
 * Reads one cluster; writes JSON only. */
#include "daemon/explain.h"

#include <inttypes.h>
#include <stdio.h>

static void position(struct json *j, const char *name, struct lsn at)
{
        char text[32];
        snprintf(text, sizeof text, "%" PRIX64 "/%" PRIX64, at.bytes >> 32, at.bytes & UINT32_MAX);
        json_text(j, name, at.bytes ? text : NULL);
}

static const char *state_of(const struct cluster *c, uint64_t generation)
{
        const struct fence *f = &c->fence;
        return !c->conf.early_release    ? "off"
               : generation <= f->fenced ? "fenced"
               : generation <= f->asked  ? "asked"
               : generation < f->open    ? "closed"
                                         : "open";
}

static void explain_node(const struct cluster *c, unsigned slot, struct lsn fence, struct mono now,
                         struct json *j)
{
        const struct cluster_node *n = &c->node[slot];
        struct lsn at = n->facts.known ? n->facts.position : (struct lsn){0};
        bool comparable = fence.bytes && at.bytes && n->facts.last_timeline == c->timeline &&
                          n->facts.system_identifier == c->system_identifier;
        json_open(j, NULL, '{');
        json_text(j, "name", n->conf.name);
        json_text(j, "role", slot == c->primary ? "primary" : "replica");
        json_text(j, "state", node_state_name(n->state));
        json_text(j, "admin", node_admin_name(n->admin));
        json_text(j, "why", n->why);
        json_int(j, "since_ms", mono_since(now, n->since));
        json_int(j, "weight", n->conf.weight);
        json_bool(j, "scheduled", cluster_schedules(c, n));
        json_unsigned(j, "caught_up", n->caught_up);
        position(j, "position", at);
        if (comparable)
                json_unsigned(j, "gap_bytes", fence.bytes > at.bytes ? fence.bytes - at.bytes : 0);
        else
                json_null(j, "gap_bytes");
        json_close(j, '}');
}

void explain(const struct cluster *c, uint64_t generation, struct mono now, struct json *j)
{
        const char *state = state_of(c, generation);
        bool fenced = generation && c->conf.early_release && generation <= c->fence.fenced;
        struct lsn at = fenced ? marks_at(&c->fence.marks, generation) : (struct lsn){0};
        json_unsigned(j, "generation", generation);
        json_open(j, "fence", '{');
        json_text(j, "state", generation ? state : NULL);
        position(j, "position", at);
        json_close(j, '}');
        json_int(j, "fence_interval_ms", c->conf.fence_interval_ms);
        json_open(j, "nodes", '[');
        for (unsigned slot = 0; slot < PNR_NODES_MAX; slot++)
                if (c->node[slot].conf.name[0])
                        explain_node(c, slot, at, now, j);
        json_close(j, ']');
}
