/* ctl_term.h -- the terminal that a view has to itself: its size, its keys, and as it was before at the end.
 * One per process. */
#ifndef PINROUTECTL_TERM_H
#define PINROUTECTL_TERM_H

#include <stdbool.h>
#include <stdint.h>

enum ctl_term_event {
        CTL_TERM_TIMEOUT,
        CTL_TERM_KEY,    /* *key is it */
        CTL_TERM_REDRAW, /* another size, or back from a stop */
        CTL_TERM_END,    /* SIGINT, SIGTERM, SIGHUP, or the terminal is gone */
};

/* May a view be drawn on stdout? */
bool ctl_term_is_there(void);

/* Catches the signals; ctl_term_wait() tells of them, and they come at no other time. */
void ctl_term_catch(void);

/* The alternate screen, no cursor, no echo, keys one by one; ctl_term_leave() gives back what was before.  A stop
 * (Ctrl-Z) leaves and, when continued, enters again. */
void ctl_term_enter(void);
void ctl_term_leave(void);

void ctl_term_size(unsigned *columns, unsigned *lines);

enum ctl_term_event ctl_term_wait(int64_t most_ms, char *key);

#endif
