/* login.c -- what libpq is told when it connects, and what it may say while it logs in.
 * Includes <libpq-fe.h>; probe.c drives it.  No state. */
#include "daemon/login.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "daemon/gate.h"
#include "daemon/log.h"
#include "daemon/prober.h"

#define PARAMETERS_MAX 64

struct parameters {
        const char *keyword[PARAMETERS_MAX], *value[PARAMETERS_MAX];
        unsigned n;
};

const char *login_option(const PQconninfoOption *conninfo, const char *keyword)
{
        for (const PQconninfoOption *o = conninfo; o && o->keyword; o++)
                if (strcmp(o->keyword, keyword) == 0)
                        return o->val && o->val[0] ? o->val : NULL;
        return NULL;
}

bool login_is_address(const char *host)
{
        struct in6_addr any;
        char plain[INET6_ADDRSTRLEN + 1];

        snprintf(plain, sizeof plain, "%.*s", (int)strcspn(host, "%"), host);
        return inet_pton(AF_INET, plain, &any) == 1 || inet_pton(AF_INET6, plain, &any) == 1;
}

static void add(struct parameters *list, const char *keyword, const char *value)
{
        MUST(list->n < PARAMETERS_MAX - 1);
        list->keyword[list->n] = keyword;
        list->value[list->n++] = value;
}

/* All spelled out: a default of libpq may be an environment variable, a file, or a question to the name
 * service. Of two equal keywords libpq takes the later. */
static void fill(const struct login *l, struct parameters *list, char *options, size_t size, char timeout[16])
{
        const char *more = login_option(l->conninfo, "options"), *host = login_option(l->conninfo, "host");

        for (const PQconninfoOption *o = l->conninfo; o && o->keyword; o++)
                if (o->val && o->val[0])
                        add(list, o->keyword, o->val);
        if (!login_option(l->conninfo, "user") && l->user)
                add(list, "user", l->user);
        if (l->address)
                add(list, "hostaddr", l->address);
        else if (host && login_is_address(host) && !login_option(l->conninfo, "hostaddr"))
                add(list, "hostaddr", host);
        snprintf(timeout, 16, "%u", l->timeout_ms);
        snprintf(options, size,
                 "%s -c statement_timeout=%u -c lock_timeout=%u -c idle_in_transaction_session_timeout=%u",
                 more ? more : "", l->timeout_ms, l->timeout_ms, l->timeout_ms);
        add(list, "options", options);
        add(list, "tcp_user_timeout", timeout);
        add(list, "application_name", "pinrouted");
        add(list, "client_encoding", "UTF8");
        add(list, "gssencmode", "disable");
        add(list, "target_session_attrs", "any");
        add(list, "replication", "");
}

PGconn *login_start(const struct login *l)
{
        struct parameters list = {.n = 0};
        char options[PROBER_CONNINFO_MAX + 160], timeout[16];

        fill(l, &list, options, sizeof options, timeout);
        gate_close(NULL); /* nobody asks yet */
        PGconn *conn = PQconnectStartParams(list.keyword, list.value, 0);
        gate_open();
        return conn;
}

/* The one that must not go out in clear text; NULL: none. */
static const char *withheld(const PGconn *conn, const PQconninfoOption *conninfo, bool may_say_password)
{
        const char *mode = login_option(conninfo, "sslmode");
        bool verified = PQsslInUse((PGconn *)(uintptr_t)conn) && mode && strncmp(mode, "verify-", 7) == 0;

        return may_say_password && verified ? NULL : PQpass(conn);
}

PostgresPollingStatusType login_poll(PGconn *conn, const PQconninfoOption *conninfo, bool may_say_password,
                                     const char **wrong)
{
        const char *password = withheld(conn, conninfo, may_say_password);
        bool held = password && password[0];

        gate_close(password);
        PostgresPollingStatusType next = PQconnectPoll(conn);
        if (gate_open())
                *wrong = may_say_password
                             ? "the server asks for the password in clear text: not sent without "
                               "sslmode=verify-full"
                             : "the server asks for the password in clear text: not sent, see "
                               "cleartext_password";
        else if (held && PQstatus(conn) == CONNECTION_AWAITING_RESPONSE && !gate_is_there(PQsslInUse(conn)))
                *wrong = "this libpq cannot be kept from sending a password in clear text";
        return next;
}

void login_forget(PQconninfoOption *conninfo)
{
        for (PQconninfoOption *o = conninfo; o && o->keyword; o++)
                if (o->val)
                        explicit_bzero(o->val, strlen(o->val));
        PQconninfoFree(conninfo);
}
