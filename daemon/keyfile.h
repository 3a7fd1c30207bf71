/* keyfile.h -- key_file: the keys that tokens are signed with, the same on all hosts.
 * A file of keys is a secret: no message holds a byte of it. */
#ifndef PINROUTED_KEYFILE_H
#define PINROUTED_KEYFILE_H

#include <stdbool.h>

#include "proto/store.h"

/* One key a line, 64 hexadecimal digits; blank lines and comments (# or ;) are passed over.  The first signs,
 * all are accepted: to change keys, put the new one first, and delete the old one once its last token has
 * expired.  (With several hosts append the new one everywhere, then move it to the front.)
 * Every mistake is reported through `complain` ("FILE:LINE: what; mend").  False, *ret all zeros: there was
 * one. */
bool keyfile_read(const char *path, struct pnr_token_keys *ret,
                  void (*complain)(void *arg, const char *message), void *arg);

#endif
