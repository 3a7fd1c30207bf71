/* address.c -- ADDR:PORT of http_listen as a socket address.
 * Pure: resolves and looks up nothing. */
#include "daemon/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "ADDR:PORT" cut in two, brackets taken off; NULL: it is none. */
static const char *cut(const char *text, char address[INET6_ADDRSTRLEN])
{
        const char *colon = strrchr(text, ':');
        size_t n = colon ? (size_t)(colon - text) : 0;
        if (text[0] == '/' || n == 0)
                return NULL;
        if (text[0] == '[')
                text++, n -= n > 1 ? 2 : 1;
        if (n >= INET6_ADDRSTRLEN)
                return NULL;
        memcpy(address, text, n);
        address[n] = '\0';
        return colon + 1;
}

socklen_t address_read(const char *text, struct sockaddr_storage *ret)
{
        char address[INET6_ADDRSTRLEN];
        struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
        memset(ret, 0, sizeof *ret);
        const char *port = cut(text, address);
        if (!port)
                return 0;
        in_port_t number = htons((in_port_t)strtoul(port, NULL, 10));
        if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
                v4->sin_family = AF_INET;
                v4->sin_port = number;
                return sizeof *v4;
        }
        memset(ret, 0, sizeof *ret);
        if (inet_pton(AF_INET6, address, &v6->sin6_addr) != 1)
                return 0;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = number;
        return sizeof *v6;
}

bool address_is_local(const char *text)
{
        struct sockaddr_storage at;
        if (!address_read(text, &at))
                return true;
        if (at.ss_family == AF_INET)
                return ntohl(((struct sockaddr_in *)&at)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
        return IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)&at)->sin6_addr);
}
