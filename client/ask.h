/* ask.h -- one request to pinrouted, one reply, one deadline; or the request now and the reply later.
 * Knows frames and the socket; knows nothing of what is asked. */
#ifndef PINROUTE_ASK_H
#define PINROUTE_ASK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "client/lock.h"
#include "client/sent.h"
#include "client/tally.h"
#include "client/view.h"
#include "proto/wire.h"

#define ASK_BREAKER_FAILURES 3
#define ASK_BREAKER_NS       1000000000ll

/* A descriptor, and what it stood for when we made it: the application may have closed it and reused the
 * number. */
struct ask_socket {
        int number; /* descriptor + 1; 0: none */
        dev_t dev;
        ino_t ino;
};

/* In memory that a fork wipes; zeros are a good start. */
struct ask_fresh {
        struct lock lock; /* held over a round trip; the rest belongs to its holder */
        struct ask_socket socket;
        uint64_t number;      /* of the last request */
        uint32_t records_max; /* as this connection's HELLO said */
        bool greeted;         /* one was answered */
        struct sent sent;
        unsigned failures;     /* in a row */
        int64_t open_until_ns; /* the breaker is open until then, or until the pulse differs from: */
        struct view_pulse open_pulse;
};

/* In ordinary memory. */
struct ask {
        struct sockaddr_un address;
        struct ask_fresh *fresh;
        struct tally *tally; /* has the daemon's memory to count in, once it is greeted; NULL: wants none */
        struct ask_socket inherited; /* copy of fresh->socket: what a child must close, if it still is that */
        _Atomic int64_t clock_ahead_ms; /* the daemon's clock less ours: 0 unless in another time namespace */
        atomic_bool clock_known; /* and a HELLO has said so: until then no time in the store means a thing */
        uint64_t first_serial;   /* another handle's serials, of before or after, are not ours */
        _Atomic uint64_t serial; /* the last; a child goes on from there */
};

static inline bool ask_knows_clock(const struct ask *a)
{
        return atomic_load_explicit(&a->clock_known, memory_order_acquire);
}

/* false: dir is too long for a socket's address. */
bool ask_init(struct ask *a, struct ask_fresh *fresh, const char *dir);

/* Closes the connection. */
void ask_fini(struct ask *a);

/* Beside the statuses of pinroute.h. */
enum {
        ASK_TOO_MANY = -1, /* a RECORDS of more keys than this daemon takes: r->records_max says how many */
        ASK_NO_ROOM = -2,  /* too many are sent ahead */
        ASK_LOST = -3,     /* no answer will come: the connection is gone, or it was another process's */
        ASK_AWAITED = -4,  /* not yet */
};

/* Sends q (number is filled in; where it is a RECORDS, the head of a struct pnr_records) and waits for the
 * reply until deadline_ns (clock_ns()), waiting for the lock
 * included; connects, says HELLO and reconnects as needed, also to a daemon that is only just starting.
 *   pulse  what the store says now: another one than when the breaker opened closes it
 * Returns PINROUTE_OK, and whatever the daemon answered is in r | PINROUTE_E_UNREACHABLE | ASK_TOO_MANY.
 * Threads: one at a time, the others wait.  errno is kept. */
int ask(struct ask *a, struct pnr_request *q, struct view_pulse pulse, int64_t deadline_ns,
        struct pnr_reply *r);

/* The same, without patience for a daemon that is not there: no socket, or nobody listens. */
int ask_if_there(struct ask *a, struct pnr_request *q, struct view_pulse pulse, int64_t deadline_ns,
                 struct pnr_reply *r);

/* A number for one ask_send(); was it this handle, in this process or an ancestor, that gave it out? */
uint64_t ask_serial(struct ask *a);
bool ask_gave(const struct ask *a, uint64_t serial);

/* The same as ask() but for the answer, which is waited for later, by this serial, or read on the way by
 * whoever asks next.
 * Returns PINROUTE_OK (it is on its way) | PINROUTE_E_UNREACHABLE | ASK_TOO_MANY | ASK_NO_ROOM. */
int ask_send(struct ask *a, struct pnr_request *q, uint64_t serial, struct view_pulse pulse,
             int64_t deadline_ns);

/* Its answer: *status is what the daemon answered.  It is kept until others need its place.
 * Returns PINROUTE_OK | PINROUTE_E_UNREACHABLE (not within the deadline) | ASK_LOST. */
int ask_wait(struct ask *a, uint64_t serial, struct view_pulse pulse, int64_t deadline_ns, uint32_t *status);

/* The same without waiting for it; or ASK_AWAITED. */
int ask_peek(struct ask *a, uint64_t serial, int64_t deadline_ns, uint32_t *status);

/* Says HELLO once, without patience for a daemon that is not there, and closes the connection.
 * Threads: as ask(). */
int ask_hello(struct ask *a, int64_t deadline_ns, struct pnr_reply *r);

/* The same, without patience for one whose backlog is full, either. */
int ask_hello_now(struct ask *a, int64_t deadline_ns, struct pnr_reply *r);

#endif
