/* hosts.c -- which names a client may call our HTTP server by.
 * Pure: looks nothing up. */
#include "daemon/hosts.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define BETWEEN_NAMES " \t"
#define PORT_DIGITS   5

static bool is_port(const char *text)
{
        if (*text == '\0')
                return true;
        size_t n = strspn(text + 1, "0123456789");
        return *text == ':' && n > 0 && n <= PORT_DIGITS && text[1 + n] == '\0';
}

static bool is_address(int family, const char *text, size_t n)
{
        char address[INET6_ADDRSTRLEN];
        unsigned char bytes[sizeof(struct in6_addr)];
        if (n >= sizeof address)
                return false;
        memcpy(address, text, n);
        address[n] = '\0';
        return inet_pton(family, address, bytes) == 1;
}

static bool is_among(const char *names, const char *name, size_t n)
{
        for (names += strspn(names, BETWEEN_NAMES); *names; names += strspn(names, BETWEEN_NAMES)) {
                size_t length = strcspn(names, BETWEEN_NAMES);
                if (length == n && !strncasecmp(names, name, n))
                        return true;
                names += length;
        }
        return false;
}

bool hosts_admit(const char *host, const char *names)
{
        if (*host == '[') {
                size_t n = strcspn(++host, "]");
                return host[n] && is_port(host + n + 1) && is_address(AF_INET6, host, n);
        }
        size_t n = strcspn(host, ":");
        if (!is_port(host + n))
                return false;
        if (n > 1 && host[n - 1] == '.') /* "localhost." is the same, written out */
                n--;
        return is_address(AF_INET, host, n) || is_among("localhost", host, n) || is_among(names, host, n);
}
