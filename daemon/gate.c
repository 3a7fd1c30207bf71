/* gate.c -- in front of libpq's send() and SSL_write(): a password in clear text stays here.
 * Owns: both symbols.  (libpq 15 sends a password to whoever asks for it, and has no option against that.) */
#include "daemon/gate.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/log.h"

#define HEAD 5 /* 'p' and a length: a PasswordMessage, or an answer to another kind of question */

static struct {
        bool closed, withheld;
        const char *password;
        bool plain, tls; /* seen at work */
} gate;

void gate_close(const char *password)
{
        gate.closed = true;
        gate.withheld = false;
        gate.password = password && password[0] ? password : NULL;
}

bool gate_open(void)
{
        gate.closed = false;
        gate.password = NULL;
        return gate.withheld;
}

bool gate_is_there(bool tls) { return tls ? gate.tls : gate.plain; }

/* libpq hands a message over in one piece: it waits for room rather than to begin another before. */
static bool holds_back(const char *data, size_t size)
{
        size_t n = gate.password ? strlen(gate.password) : 0;
        if (!n || size < HEAD + n || data[0] != 'p' || memcmp(data + HEAD, gate.password, n) != 0)
                return false;
        bool whole = size == HEAD + n || data[HEAD + n] == '\0';
        gate.withheld |= whole;
        return whole;
}

static void *next(const char *name)
{
        void *found = dlsym(RTLD_NEXT, name);
        MUST(found);
        return found;
}

__attribute__((visibility("default"))) ssize_t send(int fd, const void *data, size_t size, int flags)
{
        static ssize_t (*real)(int, const void *, size_t, int);
        if (!real)
                *(void **)&real = next("send");
        gate.plain |= gate.closed;
        return holds_back(data, size) ? (ssize_t)size : real(fd, data, size, flags);
}

__attribute__((visibility("default"))) int SSL_write(void *ssl, const void *data, int size);

int SSL_write(void *ssl, const void *data, int size)
{
        static int (*real)(void *, const void *, int);
        if (!real)
                *(void **)&real = next("SSL_write");
        gate.tls |= gate.closed;
        return size > 0 && holds_back(data, (size_t)size) ? size : real(ssl, data, size);
}
