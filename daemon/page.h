/* page.h -- the status page: the daemon's state for a person with a browser, in one document.
 * Reads the daemon's state, writes HTML.  Nothing is fetched from elsewhere, and it reads without JavaScript. */
#ifndef PINROUTED_PAGE_H
#define PINROUTED_PAGE_H

#include "daemon/core.h"

struct evbuffer;

/* Nodes with plots; the rest have words and numbers only, so that the largest host's page stays within 10 ms of the
 * loop's time. */
#define PAGE_PLOTS_MAX 128

/* wall_ms is `now` by the clock on the wall. */
void page_fill(const struct core *core, unsigned clients, struct mono now, int64_t wall_ms,
               struct evbuffer *out);

/* The Content-Security-Policy that the page is to be sent with: its own style and script, by their hashes, and
 * questions to this server, nothing else. */
const char *page_policy(void);

#endif
