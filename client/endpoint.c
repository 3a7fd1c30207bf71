/* endpoint.c -- a node's connection string, as far as it is no secret.
 * Knows the handle only through handle.h. */
#include <string.h>

#include "client/handle.h"

struct endpoint_wanted {
        const char *node;
        struct pnr_endpoint found;
};

static int use_endpoint(struct visit *v)
{
        struct endpoint_wanted *want = v->ret;
        int node = view_node(v->facts.cluster, want->node);
        if (node < 0)
                return PINROUTE_E_NODE;
        return view_endpoint(v->view, &v->at, (unsigned)node, &want->found) == VIEW_OK ? PINROUTE_OK
                                                                                       : PINROUTE_E_STORE;
}

int pinroute_endpoint(struct pinroute *pr, unsigned cluster, const char *node, char *buf, size_t size)
{
        if (!handle_has(pr, cluster) || !node || !buf)
                return PINROUTE_E_INVALID;
        struct endpoint_wanted want = {.node = node};
        struct visit v = {.pr = pr, .cluster = cluster, .ret = &want};
        int status = handle_visit(&v, use_endpoint);
        if (status != PINROUTE_OK)
                return status == NO_STORE ? PINROUTE_E_STORE : status;
        size_t n = strlen(want.found.conninfo) + 1;
        if (n > size)
                return PINROUTE_E_INVALID;
        memcpy(buf, want.found.conninfo, n);
        return PINROUTE_OK;
}
