/* stub_play.h -- an open handle over a real store and a fake daemon, for the tests of the public calls.
 * Criterion runs each test in a process of its own: all of it is static. */
#ifndef STUB_PLAY_H
#define STUB_PLAY_H

#include <criterion/criterion.h>
#include <errno.h>

#include "client/pinroute.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/live_store.h"

static struct live live;
static struct fake fake;
static struct pinroute *pr;
static unsigned cluster;

static inline void stub_open(void)
{
        live_init(&live);
        live.header.stale_after_ms = 20000; /* a slow machine must not make a heartbeat stale */
        live.cluster[0].trust_ms = 20000;
        live_beat(&live, 0);
        fake_start(&fake, live.dir);
        cr_assert_eq(pinroute_open(&pr, live.dir), PINROUTE_OK);
        cr_assert_eq(pinroute_cluster(pr, "main", &cluster), PINROUTE_OK);
        cr_assert_eq(pinroute_set_timeout(pr, 2000), PINROUTE_OK);
}

static inline void stub_close(void)
{
        pinroute_close(&pr);
        cr_expect_null(pr);
        fake_fini(&fake);
        live_fini(&live);
}

static inline struct pinroute_decision expect_read(const char *key, int status, int reason)
{
        struct pinroute_decision d;
        errno = 77;
        int got = pinroute_route_read(pr, cluster, key, key ? strlen(key) : 0, &d);
        cr_expect_eq(errno, 77);
        cr_expect_eq(got, status, "%s instead of %s", pinroute_strerror(got), pinroute_strerror(status));
        cr_expect_eq(d.reason, reason, "%s instead of %s", pinroute_reason_name(d.reason),
                     pinroute_reason_name(reason));
        bool replica = reason == PINROUTE_BALANCED || reason == PINROUTE_CAUGHT_UP;
        cr_expect_eq(d.role, replica ? PINROUTE_REPLICA : PINROUTE_PRIMARY);
        for (int i = 0; i < 4; i++)
                cr_expect_eq(d.reserved[i], 0);
        return d;
}

static inline int record(const char *key, unsigned seconds)
{
        errno = 77;
        int status = pinroute_record_write(pr, cluster, key, strlen(key), seconds);
        cr_expect_eq(errno, 77);
        return status;
}

#endif
