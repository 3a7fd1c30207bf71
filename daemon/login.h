/* login.h -- what libpq is told when it connects, and what it may say while it logs in.
 * For probe.c. */
#ifndef PINROUTED_LOGIN_H
#define PINROUTED_LOGIN_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

/* Its value in a conninfo that was parsed; NULL: none. */
const char *login_option(const PQconninfoOption *conninfo, const char *keyword);

/* Is `host` an address rather than a name? */
bool login_is_address(const char *host);

struct login {
        const PQconninfoOption *conninfo;
        const char *user;    /* where the conninfo names none; NULL: libpq finds out */
        const char *address; /* of the host that the conninfo names; NULL: as it says */
        uint32_t timeout_ms;
};

/* PQconnectStartParams(), with every parameter spelled out. */
PGconn *login_start(const struct login *l);

/* PQconnectPoll(), but that no password goes out in clear text, unless `may_say_password` and TLS verified the
 * server.  *wrong: the log-in is over, and why; untouched otherwise. */
PostgresPollingStatusType login_poll(PGconn *conn, const PQconninfoOption *conninfo, bool may_say_password,
                                     const char **wrong);

/* Frees it; the values, which may be secrets, are wiped before. */
void login_forget(PQconninfoOption *conninfo);

#endif
