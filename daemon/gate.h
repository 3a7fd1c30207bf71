/* gate.h -- what libpq may say to a server that asks for a password in clear text: nothing.
 * Its send() and SSL_write() come through gate.c: what stands there is the last to see the bytes, whatever a
 * server, or somebody between, made libpq believe and in however many pieces. */
#ifndef PINROUTED_GATE_H
#define PINROUTED_GATE_H

#include <stdbool.h>

/* From here to gate_open(), on this thread, a message that consists of this password does not leave: libpq is
 * told that it did.  NULL or "": all passes. */
void gate_close(const char *password);

/* True: a password was held back.  Hang up: libpq waits for what the server says to it. */
bool gate_open(void);

/* Has libpq ever written through here between the two, in plain or in TLS?  If it has not after its first
 * message, it was built in another way, and nothing holds its passwords back. */
bool gate_is_there(bool tls);

#endif
