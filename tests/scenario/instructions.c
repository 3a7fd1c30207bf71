/* instructions.c -- reads of one kind, for callgrind to count: `instructions unkeyed | unpinned | pinned | scope`.
 * The same pins in the same places every time: libsodium's random numbers, which make a store's seed, are numbered here. */
#include <sodium.h>
#include <string.h>

#include "client/pinroute.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/live_store.h"

#define PINS   5000
#define CALLS  2000
#define ABSENT 1000000
#define PIN_MS 1000000

static const char *name_of(void) { return "numbers in order"; }
static uint32_t next_number(void)
{
        static uint32_t number;
        return ++number * 0x9e3779b9u;
}
static void fill(void *buf, const size_t size)
{
        for (size_t i = 0; i < size; i++)
                ((uint8_t *)buf)[i] = (uint8_t)(next_number() >> 24);
}

struct key {
        char text[32]; /* like a session id */
};

static struct key key_number(unsigned i)
{
        struct key k = {{0}};
        snprintf(k.text, sizeof k.text, "session-%08u", i);
        return k;
}

static void read_many(struct pinroute *pr, unsigned cluster, bool keyed, unsigned first, int reason)
{
        for (unsigned i = 0; i < CALLS; i++) {
                struct pinroute_decision d;
                struct key k = key_number(first + i);
                FAKE_MUST(pinroute_route_read(pr, cluster, keyed ? &k : NULL, keyed ? sizeof k : 0, &d) ==
                              PINROUTE_OK &&
                          d.reason == reason);
        }
}

static void read_scope(struct pinroute *pr, unsigned cluster)
{
        struct pinroute_scope s;
        pinroute_scope_begin(&s, pr, cluster, "somebody", 8);
        for (unsigned i = 0; i < CALLS; i++) {
                struct pinroute_decision d;
                FAKE_MUST(pinroute_scope_read(&s, &d) == PINROUTE_OK && d.reason == PINROUTE_BALANCED);
        }
}

static int read_kind(const char *kind, struct pinroute *pr, unsigned cluster)
{
        if (!strcmp(kind, "unkeyed"))
                read_many(pr, cluster, false, 0, PINROUTE_BALANCED);
        else if (!strcmp(kind, "unpinned"))
                read_many(pr, cluster, true, ABSENT, PINROUTE_BALANCED);
        else if (!strcmp(kind, "pinned"))
                read_many(pr, cluster, true, 0, PINROUTE_PINNED);
        else if (!strcmp(kind, "scope"))
                read_scope(pr, cluster);
        else
                return 2;
        return 0;
}

/* On a busy machine no greeting may have been quick enough to tell the daemon's clock by; a read tries again. */
static void wait_for_clock(struct pinroute *pr, unsigned cluster)
{
        struct pinroute_decision d;
        while (pinroute_route_write(pr, cluster, &d) != PINROUTE_OK)
                usleep(1000);
}

int main(int argc, char **argv)
{
        static struct randombytes_implementation numbers = {
            .implementation_name = name_of, .random = next_number, .buf = fill};
        struct live live;
        struct fake fake = {0};
        struct pinroute *pr;
        unsigned cluster;
        FAKE_MUST(randombytes_set_implementation(&numbers) == 0);
        live_init(&live);
        live.header.stale_after_ms = live.header.stale_limit_ms = 600000;
        for (unsigned i = 0; i < PINS; i++) {
                struct key k = key_number(i);
                live_pin(&live, &k, sizeof k, 9, PIN_MS, 0);
        }
        live_beat(&live, 0);
        fake_start(&fake, live.dir);
        FAKE_MUST(pinroute_open(&pr, live.dir) == PINROUTE_OK &&
                  pinroute_cluster(pr, "main", &cluster) == PINROUTE_OK);
        wait_for_clock(pr, cluster);
        int status = read_kind(argc == 2 ? argv[1] : "", pr, cluster);
        printf("%d calls\n", CALLS);
        pinroute_close(&pr);
        fake_fini(&fake);
        live_fini(&live);
        return status;
}
