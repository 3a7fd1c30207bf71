/* ctl_key.h -- the KEY of a command: from the command line, or from stdin, where `ps` does not see it. */
#ifndef PINROUTECTL_KEY_H
#define PINROUTECTL_KEY_H

#include <stddef.h>
#include <stdio.h>

#include "proto/key.h"

struct ctl_key {
        size_t len;
        char bytes[PNR_KEY_MAX + 2];
};

/* `word`: the key itself, or "-": all of `from`, less one newline at its end.
 * Returns NULL, or what is wrong: "what; mend". */
const char *ctl_key_read(const char *word, FILE *from, struct ctl_key *ret);

/* Stage 1 as 32 hexadecimal digits: what crosses the socket. */
void ctl_key_hex(const struct ctl_key *key, char hex[33]);

#endif
