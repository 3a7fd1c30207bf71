/* ctl_event.h -- one thing that has happened, as a line for people: its time, how bad it is, and the log's words. */
#ifndef PINROUTECTL_EVENT_H
#define PINROUTECTL_EVENT_H

#include <jansson.h>
#include <stdio.h>

#define CTL_EVENT_MAX 600 /* bytes of a line, with its end */

/* `event`: as daemon/watch.h describes them; the time is this host's local one. */
void ctl_event_text(const json_t *event, char buf[CTL_EVENT_MAX]);
void ctl_event_show(const json_t *event, FILE *to);

#endif
