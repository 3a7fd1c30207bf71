/* hunter_pg.h -- a player's connections to the servers: every wait has an end, a frozen server holds nobody up.
 * The only place that knows libpq here. */
#ifndef SCENARIO_HUNTER_PG_H
#define SCENARIO_HUNTER_PG_H

#include <poll.h>
#include <stdbool.h>

#include <libpq-fe.h>

#include "hunter_event.h"

#define PG_CONNECT_MS 400
#define PG_QUERY_MS   400
#define PG_FROZEN_US  500000
#define PG_AGAIN_US   10000 /* after a connection that failed */

struct pg_node {
        char name[PINROUTE_NODE_SIZE];
        unsigned port;
        PGconn *conn;
        int64_t again_us;
};

struct pg {
        struct pg_node node[HUNT_NODES];
        unsigned nodes;
};

static inline int pg_find(const struct pg *pg, const char *name)
{
        for (unsigned i = 0; i < pg->nodes; i++)
                if (strcmp(pg->node[i].name, name) == 0)
                        return (int)i;
        return HUNT_NOTHING;
}

static inline void pg_drop(struct pg_node *n, int64_t again_us)
{
        PQfinish(n->conn);
        n->conn = NULL;
        n->again_us = crew_now_us() + again_us;
}

static inline bool pg_ready(int fd, short events, int64_t until_us)
{
        int64_t left_us = until_us - crew_now_us();
        struct pollfd p = {.fd = fd, .events = events};
        return left_us > 0 && poll(&p, 1, (int)(left_us / 1000) + 1) > 0;
}

/* Servers that crash say a lot. */
static void pg_hush(void *arg, const char *message)
{
        (void)arg;
        (void)message;
}

static inline bool pg_connect(struct pg_node *n)
{
        char conninfo[200];
        int64_t until_us = crew_now_us() + PG_CONNECT_MS * 1000;
        snprintf(conninfo, sizeof conninfo, "host=127.0.0.1 port=%u dbname=app user=app", n->port);
        n->conn = PQconnectStart(conninfo);
        PQsetNoticeProcessor(n->conn, pg_hush, NULL);
        PostgresPollingStatusType st =
            PQstatus(n->conn) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;
        while (st == PGRES_POLLING_READING || st == PGRES_POLLING_WRITING) {
                short events = st == PGRES_POLLING_READING ? POLLIN : POLLOUT;
                st = pg_ready(PQsocket(n->conn), events, until_us) ? PQconnectPoll(n->conn)
                                                                   : PGRES_POLLING_FAILED;
        }
        if (st != PGRES_POLLING_OK) { /* a frozen one takes its time to say nothing */
                pg_drop(n, crew_now_us() < until_us ? PG_AGAIN_US : PG_FROZEN_US);
                return false;
        }
        return true;
}

/* The open connection.  *fresh: it was not open yet, so whatever was decided has to be decided again. */
static inline struct pg_node *pg_open(struct pg *pg, int number, bool *fresh)
{
        *fresh = false;
        if (number < 0)
                return NULL;
        struct pg_node *n = &pg->node[number];
        if (n->conn)
                return n;
        if (crew_now_us() < n->again_us || !pg_connect(n))
                return NULL;
        *fresh = true;
        return n;
}

/* false: nothing came in time, or the connection is gone. */
static inline bool pg_await(PGconn *c, int64_t until_us)
{
        while (PQisBusy(c))
                if (!pg_ready(PQsocket(c), POLLIN, until_us) || !PQconsumeInput(c))
                        return false;
        return true;
}

/* One statement: the number in its only row, 0 where there is none, HUNT_NOTHING where it failed or took too long. */
static inline int32_t pg_number(struct pg_node *n, const char *sql)
{
        int64_t until_us = crew_now_us() + PG_QUERY_MS * 1000;
        int32_t number = HUNT_NOTHING;
        bool sent = PQsendQuery(n->conn, sql);
        while (sent && pg_await(n->conn, until_us)) {
                PGresult *r = PQgetResult(n->conn);
                if (!r && PQstatus(n->conn) == CONNECTION_OK)
                        return number;
                if (!r)
                        break;
                if (PQresultStatus(r) == PGRES_TUPLES_OK)
                        number = PQntuples(r) ? atoi(PQgetvalue(r, 0, 0)) : 0;
                else if (PQresultStatus(r) == PGRES_COMMAND_OK)
                        number = 0;
                PQclear(r);
        }
        pg_drop(n, PG_AGAIN_US);
        return number;
}

static inline void pg_close(struct pg *pg)
{
        for (unsigned i = 0; i < pg->nodes; i++)
                pg_drop(&pg->node[i], 0);
}

#endif
