/* ctl_show.h -- the daemon's answers as text for people: one function per kind of answer.
 * A member that is missing shows as "-": an older daemon can still be asked. */
#ifndef PINROUTECTL_SHOW_H
#define PINROUTECTL_SHOW_H

#include <jansson.h>
#include <stdio.h>

typedef void ctl_show_fn(const json_t *doc, FILE *to);

ctl_show_fn ctl_show_status, ctl_show_nodes, ctl_show_pins, ctl_show_clients, ctl_show_config, ctl_show_stats,
    ctl_show_news, ctl_show_metrics, ctl_show_pinned, ctl_show_admin, ctl_show_reload;

/* The one for `show WHAT`; NULL: there is none. */
ctl_show_fn *ctl_show_find(const char *what);

#endif
