/* ctl.h -- what the parts of pinroutectl share: where to ask, how to answer, how to end. */
#ifndef PINROUTECTL_H
#define PINROUTECTL_H

#include <stdbool.h>

/* Exit statuses: scripts depend on them. */
enum ctl_exit {
        CTL_OK = 0,
        CTL_ERROR = 1,    /* the daemon cannot be reached, or refuses */
        CTL_USAGE = 2,    /* the command line is wrong: nothing was asked */
        CTL_DEGRADED = 3, /* status only: it works, but not as configured */
};

struct ctl {
        const char *dir;      /* the daemon's */
        bool json;            /* answer with JSON, for programs */
        bool changes;         /* --changes */
        unsigned interval_ms; /* --interval; 0: not given */
        unsigned count;       /* --count; 0: without end */
        char given[8];        /* letters of CTL_OPTIONS that were given */
};

/* Says "pinroutectl: ..." on stderr, and with --json {"ok":false,"error":"...","code":"E_..."} on stdout.
 * code: goes into the sentence as well; NULL: E_INVALID of a wrong command line, E_DAEMON of anything else.
 * Returns `status`. */
enum ctl_exit ctl_fail(enum ctl_exit status, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The sentence alone: the answer on stdout is there already. */
void ctl_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
