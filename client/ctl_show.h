/* ctl_show.h -- the daemon's answers as text for people: one function per kind of answer.
 * A member that is missing shows as "-": an older daemon can still be asked. */
#ifndef PINROUTECTL_SHOW_H
#define PINROUTECTL_SHOW_H

#include <jansson.h>
#include <stdio.h>

typedef void show_fn(const json_t *doc, FILE *to);

show_fn show_status, show_nodes, show_pins, show_clients, show_config, show_stats, show_pinned, show_admin,
    show_reload;

/* The one for `show WHAT`; NULL: there is none. */
show_fn *show_find(const char *what);

/* The words of `show`, "nodes|pins|..." */
#define SHOW_WORDS "nodes|pins|clients|config|stats"

#endif
