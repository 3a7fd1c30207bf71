/* text.h -- makes one printable line of bytes that came from outside.
 * Pure: servers, files and clients send what they like, and we print it in logs, JSON and HTML. */
#ifndef PINROUTED_TEXT_H
#define PINROUTED_TEXT_H

#include <stddef.h>

/* Copies `src` to `dst` (`size` bytes, always terminated): valid UTF-8 stays, white space becomes one blank,
 * control characters and broken bytes become \xNN.  Cut at a whole character.  dst and src do not overlap. */
void text_clean(char *dst, size_t size, const char *src);

/* Replaces each occurrence of `secret` in `text` by stars of the same length.  NULL or "": nothing to hide.
 */
void text_hide(char *text, const char *secret);

#endif
