/* address.h -- ADDR:PORT of http_listen as a socket address.  Pure. */
#ifndef PINROUTED_ADDRESS_H
#define PINROUTED_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* Reads what value.h let pass as VALUE_LISTEN.  Returns the length of *ret, 0 where it is a path, or "". */
socklen_t address_read(const char *text, struct sockaddr_storage *ret);

/* Can nobody but processes of this machine reach it?  True for a path, too. */
bool address_is_local(const char *text);

#endif
