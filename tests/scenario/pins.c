/* pins.c -- pins by the thousand, through the public API.
 * pins hash KEY                                    the hash that the operator's socket takes for a key
 * pins fill DIR CLUSTER FIRST N PROCESSES SECONDS  records keys FIRST .. FIRST+N-1: `ok=N failed=N us=ALL`
 * pins look DIR CLUSTER FIRST N                    decides for each of them: `us=ALL REASON=count ...` */
#include <stdatomic.h>

#include "proto/key.h"
#include "tests/scenario/crew.h"

#define PROCESSES_MAX 64

struct fill {
        const char *dir, *cluster;
        uint64_t first, n;
        unsigned processes, seconds;
        _Atomic uint64_t *ok;
};

static void fill_part(void *arg, unsigned self)
{
        const struct fill *f = arg;
        struct crew_at at = crew_attach(f->dir, f->cluster);
        CREW_MUST(pinroute_set_timeout(at.pr, 10000) == PINROUTE_OK);
        for (uint64_t i = self; i < f->n; i += f->processes) {
                struct crew_key k = crew_key("pin", f->first + i);
                if (crew_record(&at, &k, f->seconds) == PINROUTE_OK)
                        atomic_fetch_add(f->ok, 1);
        }
        pinroute_close(&at.pr);
}

static void fill(char **argv)
{
        pid_t child[PROCESSES_MAX];
        struct fill f = {.dir = argv[0],
                         .cluster = argv[1],
                         .first = strtoull(argv[2], NULL, 10),
                         .n = strtoull(argv[3], NULL, 10),
                         .processes = (unsigned)atoi(argv[4]),
                         .seconds = (unsigned)atoi(argv[5]),
                         .ok = crew_share(sizeof *f.ok)};
        CREW_MUST(f.processes <= PROCESSES_MAX);
        int64_t began_us = crew_now_us();
        for (unsigned p = 0; p < f.processes; p++)
                child[p] = crew_fork(fill_part, &f, p);
        crew_join(child, f.processes);
        printf("ok=%llu failed=%llu us=%lld\n", (unsigned long long)*f.ok, (unsigned long long)(f.n - *f.ok),
               (long long)(crew_now_us() - began_us));
}

static void look(char **argv)
{
        struct crew_at at = crew_attach(argv[0], argv[1]);
        uint64_t first = strtoull(argv[2], NULL, 10), n = strtoull(argv[3], NULL, 10);
        uint64_t times[CREW_REASONS] = {0};
        int64_t began_us = crew_now_us();
        for (uint64_t i = 0; i < n; i++) {
                struct crew_key k = crew_key("pin", first + i);
                struct pinroute_decision d;
                crew_read(&at, &k, &d);
                times[d.reason]++;
        }
        printf("us=%lld", (long long)(crew_now_us() - began_us));
        crew_print_reasons(times);
        putchar('\n');
        pinroute_close(&at.pr);
}

int main(int argc, char **argv)
{
        if (argc == 3 && strcmp(argv[1], "hash") == 0) {
                struct pnr_key k = pnr_key_of(argv[2], strlen(argv[2]));
                printf("hash=x%016llx%016llx\n", (unsigned long long)k.w[0], (unsigned long long)k.w[1]);
        } else if (argc == 8 && strcmp(argv[1], "fill") == 0) {
                fill(argv + 2);
        } else {
                CREW_MUST(argc == 6 && strcmp(argv[1], "look") == 0);
                look(argv + 2);
        }
        return 0;
}
