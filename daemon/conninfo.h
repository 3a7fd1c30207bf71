/* conninfo.h -- libpq connection strings: their words, their check, and the part that is no secret.
 * conninfo.c and the prober alone include <libpq-fe.h>; nothing here connects or resolves. */
#ifndef PINROUTED_CONNINFO_H
#define PINROUTED_CONNINFO_H

#include <stdbool.h>
#include <stddef.h>

#include "daemon/prober.h"
#include "proto/store.h"

#define CONNINFO_WORD_MAX 1024
#define CONNINFO_WHY_MAX  400

/* One `key = value`, as it stands and as it is meant. */
struct conninfo_word {
        const char *from, *to; /* the whole of it */
        char key[64];
        char value[CONNINFO_WORD_MAX]; /* without quotes and backslashes; may be a secret */
};

enum conninfo_next { CONNINFO_WORD, CONNINFO_END, CONNINFO_BAD };

/* Takes the next word at *at, which moves behind it.  CONNINFO_END: only space is left, or a comment (`;` or
 * `#` after white space, outside a value).  CONNINFO_BAD: `why` says "what; mend" and names no value. */
enum conninfo_next conninfo_next(const char **at, struct conninfo_word *ret, char why[CONNINFO_WHY_MAX]);

/* Would libpq take this, and does it name one server?  Fills the endpoint: host, hostaddr, port, dbname and
 * sslmode, quoted for libpq.  False: `why` says "[word: ]what; mend" and holds no secret.
 * also: words, to NULL, that the caller has taken out; for "did you mean". */
bool conninfo_check(const char *conninfo, const char *const also[], char endpoint[PNR_ENDPOINT_MAX],
                    char why[CONNINFO_WHY_MAX]);

#endif
