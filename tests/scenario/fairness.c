/* fairness.c -- many processes read without a key: how often is each node named?
 * fairness DIR CLUSTER PROCESSES FORKED READS.  The last FORKED processes are forked from an open handle, the
 * others open their own.  Prints how many reads were not BALANCED, and each node's reads as
 * `NODE/BALANCED=count`. */
#include <stdatomic.h>
#include <stdbool.h>

#include "tests/scenario/crew.h"

#define NODES_MAX     32
#define PROCESSES_MAX 1024

static struct {
        const char *dir, *cluster;
        unsigned processes, forked, reads;
        struct crew_at parent; /* opened before the fork */
        struct tally *tally;   /* of all processes, shared */
        _Atomic unsigned *ready;
} run;

struct tally {
        char node[NODES_MAX][PINROUTE_NODE_SIZE];
        _Atomic uint64_t reads[NODES_MAX];
        _Atomic uint64_t others; /* not BALANCED */
};

/* Names are put down by main() before anybody reads. */
static void count(const struct pinroute_decision *d)
{
        for (unsigned i = 0; i < NODES_MAX && run.tally->node[i][0]; i++)
                if (d->reason == PINROUTE_BALANCED && strcmp(run.tally->node[i], d->node) == 0) {
                        atomic_fetch_add(&run.tally->reads[i], 1);
                        return;
                }
        atomic_fetch_add(&run.tally->others, 1);
}

/* All stand at the line before the first one reads, so that they do so at the same time. */
static void play(void *arg, unsigned self)
{
        (void)arg;
        bool own = self < run.processes - run.forked;
        struct crew_at at = own ? crew_attach(run.dir, run.cluster) : run.parent;
        atomic_fetch_add(run.ready, 1);
        while (atomic_load(run.ready) < run.processes)
                usleep(100);
        for (unsigned i = 0; i < run.reads; i++) {
                struct pinroute_decision d;
                CREW_MUST(crew_read(&at, NULL, &d) == PINROUTE_OK);
                count(&d);
        }
        pinroute_close(&at.pr);
}

/* The nodes of the schedule, by a handle that takes no part. */
static void find_nodes(void)
{
        struct crew_at at = crew_attach(run.dir, run.cluster);
        for (unsigned i = 0; i < 1000; i++) {
                struct pinroute_decision d;
                unsigned n = 0;
                CREW_MUST(crew_read(&at, NULL, &d) == PINROUTE_OK);
                while (run.tally->node[n][0] && strcmp(run.tally->node[n], d.node) != 0)
                        CREW_MUST(++n < NODES_MAX);
                memcpy(run.tally->node[n], d.node, sizeof d.node);
        }
        pinroute_close(&at.pr);
}

int main(int argc, char **argv)
{
        pid_t child[PROCESSES_MAX];
        CREW_MUST(argc == 6);
        run.dir = argv[1];
        run.cluster = argv[2];
        run.processes = (unsigned)atoi(argv[3]);
        run.forked = (unsigned)atoi(argv[4]);
        run.reads = (unsigned)atoi(argv[5]);
        CREW_MUST(run.processes <= PROCESSES_MAX && run.forked <= run.processes);
        run.tally = crew_share(sizeof *run.tally);
        run.ready = crew_share(sizeof *run.ready);
        find_nodes();
        run.parent = crew_attach(run.dir, run.cluster);
        for (unsigned p = 0; p < run.processes; p++)
                child[p] = crew_fork(play, NULL, p);
        crew_join(child, run.processes);
        pinroute_close(&run.parent.pr);
        printf("others=%llu", (unsigned long long)run.tally->others);
        for (unsigned i = 0; i < NODES_MAX && run.tally->node[i][0]; i++)
                printf(" %s/BALANCED=%llu", run.tally->node[i], (unsigned long long)run.tally->reads[i]);
        putchar('\n');
        return 0;
}
