/* ctl_call.h -- one request to the daemon's operator socket, one JSON document back.
 *
 * A request is a line of words, separated by one space; a byte that is not [A-Za-z0-9_.-] is written %XX.
 * The answer ends where the stream ends: {"ok":true,...} or {"ok":false,"error":"a
 * sentence","code":"E_NODE"}. */
#ifndef PINROUTECTL_CALL_H
#define PINROUTECTL_CALL_H

#include <jansson.h>
#include <stdbool.h>

#include "client/ctl.h"

#define CTL_CALL_TIMEOUT_MS 5000 /* of one call, connecting included */
#define CTL_CALL_WHY_MAX    600

struct ctl_reply {
        json_t *doc;
        char *raw; /* the document as it came */
};

/* Asks with `words` (to NULL).  False: no answer or a refusal; it has been told on stderr (a refusal also as
 * JSON on stdout, if that was asked for), and there is nothing to free. */
bool ctl_call(const struct ctl *ctl, const char *const words[], struct ctl_reply *ret);

/* The same, but nothing is told, and it waits for `most_ms`.  False: `why` says what ctl_call() would. */
bool ctl_call_try(const struct ctl *ctl, const char *const words[], int64_t most_ms, struct ctl_reply *ret,
                  char why[CTL_CALL_WHY_MAX]);

/* Asks, and leaves the rest to the caller: the socket, from which the answer comes; -1: as ctl_call_try(). */
int ctl_call_open(const struct ctl *ctl, const char *const words[], char why[CTL_CALL_WHY_MAX]);

void ctl_call_free(struct ctl_reply *reply);

#endif
