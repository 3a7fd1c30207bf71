/* sabotaged_stub.c -- a process whose stub has one failing call or allocation after another, from open to close.
 * Its argument is the directory of a daemon whose replica has none of our writes.  For test_sabotage.py, under
 * sabotage_preload.c. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/pinroute.h"
#include "tests/scenario/sabotage.h"

#define OCCURRENCES 50
#define ALLOCATIONS 200
#define TIMEOUT_MS  100
#define CALLS_MAX   16    /* of one life that may wait */
#define HANG_MS     20000 /* more than all of them, also on a busy machine */

extern struct sabotage *sabotage_control(void) __attribute__((weak));

static struct sabotage *control;
static const char *dir, *life_of; /* what fails in this one, for complaints */
static unsigned long served, refused, struck, bad, writes;

static void complain(const char *what)
{
        bad++;
        fprintf(stderr, "%s: %s\n", life_of, what);
}

#define EXPECT(what)                                                                                         \
        do {                                                                                                 \
                if (!(what))                                                                                 \
                        complain(#what);                                                                     \
                errno = 77;                                                                                  \
        } while (0)
#define KEPT(status) (errno == 77 ? (status) : (complain("errno"), (status)))

static long long now_ms(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

static int open_descriptors(void)
{
        int n = 0;
        uint32_t call = control->call; /* ours does not count */
        control->call = SABOTAGE_NONE;
        for (int fd = 0; fd < 64; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        control->call = call;
        return n;
}

static bool is_failure(int status)
{
        return status == PINROUTE_E_UNREACHABLE || status == PINROUTE_E_REFUSED;
}

/* Whatever became of the write, we read it from where it is. */
static void expect_primary(struct pinroute *pr, unsigned cluster, const char *key)
{
        struct pinroute_decision d = {.role = 99};
        int status = KEPT(pinroute_route_read(pr, cluster, key, strlen(key), &d));
        EXPECT(status == PINROUTE_OK || status == PINROUTE_E_STORE);
        EXPECT(d.role == PINROUTE_PRIMARY && d.reason != 0);
}

static bool records(struct pinroute *pr, unsigned cluster)
{
        char key[32];
        snprintf(key, sizeof key, "stub %lu", ++writes);
        errno = 77;
        int status = KEPT(pinroute_record_write(pr, cluster, key, strlen(key), 0));
        EXPECT(status == PINROUTE_OK || is_failure(status));
        expect_primary(pr, cluster, key);
        int held = KEPT(pinroute_hold(pr, cluster, "held", 4, 100));
        EXPECT(held == PINROUTE_OK || is_failure(held));
        return status == PINROUTE_OK && held == PINROUTE_OK;
}

/* A request of a visitor who wrote elsewhere and brings the token. */
static bool visits(struct pinroute *pr, unsigned cluster)
{
        char token[PINROUTE_TOKEN_SIZE] = "x", key[32];
        struct pinroute_scope s;
        struct pinroute_decision d = {.role = 99};
        snprintf(key, sizeof key, "stub %lu", writes);
        errno = 77;
        int issued = KEPT(pinroute_token_issue(pr, cluster, key, strlen(key), token, sizeof token));
        EXPECT(issued == PINROUTE_OK ? strlen(token) > 40 : issued == PINROUTE_E_STORE && !token[0]);
        pinroute_scope_begin(&s, pr, cluster, NULL, 0);
        if (issued == PINROUTE_OK) {
                int accepted = KEPT(pinroute_token_accept(pr, cluster, token, &s));
                EXPECT(accepted == PINROUTE_OK || accepted == PINROUTE_E_STORE);
                int status = KEPT(pinroute_scope_read(&s, &d));
                EXPECT(status == PINROUTE_OK || status == PINROUTE_E_STORE);
                EXPECT(d.role == PINROUTE_PRIMARY);
        }
        int rekeyed = KEPT(pinroute_scope_rekey(&s, "else", 4));
        EXPECT(rekeyed == PINROUTE_OK);
        pinroute_scope_wrote(&s);
        int ended = KEPT(pinroute_scope_end(&s));
        EXPECT(ended == PINROUTE_OK || is_failure(ended));
        return issued == PINROUTE_OK && ended == PINROUTE_OK;
}

/* From open to close.  Did all go as if nothing had failed? */
static bool lives(void)
{
        struct pinroute *pr = (void *)&pr;
        struct pinroute_decision d = {.role = 99};
        unsigned cluster;
        char text[512];
        errno = 77;
        int status = KEPT(pinroute_open(&pr, dir));
        EXPECT(status == PINROUTE_OK ? pr != NULL : status == PINROUTE_E_MEMORY && !pr);
        if (!pr)
                return false;
        int known = KEPT(pinroute_cluster(pr, "main", &cluster));
        EXPECT(known == PINROUTE_OK && pinroute_set_timeout(pr, TIMEOUT_MS) == PINROUTE_OK);
        status = KEPT(pinroute_route_read(pr, cluster, NULL, 0, &d));
        EXPECT(status == PINROUTE_OK || status == PINROUTE_E_STORE);
        EXPECT((d.role == PINROUTE_PRIMARY || d.role == PINROUTE_REPLICA) && d.reason != 0);
        bool good = status == PINROUTE_OK && records(pr, cluster);
        good &= visits(pr, cluster);
        status = KEPT(pinroute_endpoint(pr, cluster, "n0", text, sizeof text));
        EXPECT(status == PINROUTE_OK || status == PINROUTE_E_STORE);
        good &= status == PINROUTE_OK;
        pinroute_close(&pr);
        EXPECT(!pr);
        return good;
}

/* false: the call was not made as often. */
static bool strike(enum sabotage_call call, const char *name, int error, unsigned number, bool for_good)
{
        static char what[100];
        snprintf(what, sizeof what, "%s %s number %u%s", name, strerrorname_np(error), number,
                 for_good ? " for good" : "");
        life_of = what;
        int descriptors = open_descriptors();
        int64_t blocks = control->blocks;
        control->error = (uint32_t)error;
        control->skip = number - 1;
        control->for_good = for_good;
        control->struck = 0;
        control->call = call;
        long long began = now_ms();
        bool good = lives();
        control->call = SABOTAGE_NONE;
        EXPECT(now_ms() - began < CALLS_MAX * TIMEOUT_MS + HANG_MS);
        EXPECT(control->blocks == blocks);
        if (call != SABOTAGE_fstat) /* in doubt whose it is it stays open */
                EXPECT(open_descriptors() == descriptors);
        if (!control->struck)
                return false;
        struck++;
        *(good ? &served : &refused) += 1;
        return true;
}

static const struct {
        enum sabotage_call call;
        const char *name;
} calls[] = {
    {SABOTAGE_mmap, "mmap"},     {SABOTAGE_madvise, "madvise"}, {SABOTAGE_open, "open"},
    {SABOTAGE_openat, "openat"}, {SABOTAGE_read, "read"},       {SABOTAGE_fstat, "fstat"},
    {SABOTAGE_socket, "socket"}, {SABOTAGE_connect, "connect"}, {SABOTAGE_sendto, "sendto"},
    {SABOTAGE_recv, "recv"},     {SABOTAGE_ppoll, "ppoll"},
};
static const int errors[] = {EIO, ENOSPC, EINTR, EAGAIN, EMFILE, ENOMEM};

int main(int argc, char **argv)
{
        control = sabotage_control ? sabotage_control() : NULL;
        if (argc != 2 || !control)
                return 2;
        dir = argv[1];
        life_of = "nothing";
        fprintf(stderr, "%s", ""); /* what stdio allocates, it allocates now */
        EXPECT(lives());
        for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
                unsigned long before = struck;
                for (size_t e = 0; e < sizeof errors / sizeof *errors; e++)
                        for (unsigned n = 1; n <= OCCURRENCES; n++)
                                if (!strike(calls[i].call, calls[i].name, errors[e], n, false))
                                        break;
                printf("%s: %lu strikes\n", calls[i].name, struck - before);
                life_of = calls[i].name;
                if (calls[i].call != SABOTAGE_ppoll) /* not called where the daemon is the quicker one */
                        EXPECT(struck > before);
        }
        unsigned long before = struck;
        for (unsigned n = 1; n <= ALLOCATIONS; n++)
                for (int for_good = 0; for_good < 2; for_good++)
                        strike(SABOTAGE_malloc, "malloc", ENOMEM, n, for_good);
        printf("malloc: %lu strikes\n", struck - before);
        printf("struck=%lu served=%lu refused=%lu bad=%lu\n", struck, served, refused, bad);
        return bad != 0;
}
