/* hosts.h -- which names a client may call our HTTP server by, in its Host header.  Pure.
 *
 * A page of somebody else's in a browser on this machine can make its own name lead here (DNS rebinding) and would
 * then read what we serve: its requests carry that name.  An address, which no DNS server gives, cannot be turned so. */
#ifndef PINROUTED_HOSTS_H
#define PINROUTED_HOSTS_H

#include <stdbool.h>

/* Is `host`, a Host header's value, localhost, an address in digits, or one of `names` (words; case does not matter),
 * with or without a port behind it? */
bool hosts_admit(const char *host, const char *names);

#endif
