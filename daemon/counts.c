/* counts.c -- what processes have decided: memory handed out, read as numbers of strangers, summed up.
 * The only file that makes memfds.  Reads them with pread(): to touch a hole of a map would fill it, and a process that
 * says it has used every page would make us pay for all of them. */
#include "daemon/counts.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/counts.h"

#define READS_AT_ONCE 2048 /* 0.7 us each at the most; the loop may not stand still */
#define READS_A_TURN  512
#define CHECKS        512 /* families a second that are asked whether they are gone */
#define GIVE_CHECKS   2   /* with each that comes, so that none finds the places of the gone taken */
#define REAP_MS       1000

struct sums {
        uint64_t of[PNR_CLUSTERS_MAX][PNR_NODES_MAX][PNR_COUNT_REASONS];
        uint64_t nameless[PNR_COUNT_REASONS];
};

struct counts {
        int *fd; /* of each family */
        unsigned n, room, max;
        int common;
        unsigned n_clusters;
        unsigned next_check; /* the family that is asked next */
        struct mono reap_due;
        bool reading;             /* `sum` is not complete yet */
        unsigned at, lane, lanes; /* of the reading: family, its lane, and how many it has */
        struct sums gone;         /* what families that are gone had counted */
        struct sums sum;          /* the living's, as far as the reading has come */
        struct sums shown, forgotten;
};

/* ---- memory ---- */

static int make(size_t size)
{
        int fd = memfd_create("pinroute", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -1;
        if (!ftruncate(fd, (off_t)size) && !fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
                return fd;
        close(fd);
        return -1;
}

/* Another description of the same memory, locked: a lock goes when the last descriptor or map of it does. */
static int lock_other(int fd)
{
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        int other = open(path, O_RDWR | O_CLOEXEC);
        if (other >= 0 && flock(other, LOCK_EX | LOCK_NB)) {
                close(other);
                other = -1;
        }
        return other;
}

struct counts *counts_open(void)
{
        struct counts *c = calloc(1, sizeof *c);
        if (!c)
                return NULL;
        c->common = make(sizeof(struct pnr_common));
        if (c->common >= 0)
                return c;
        free(c);
        return NULL;
}

void counts_close(struct counts **c)
{
        if (!*c)
                return;
        for (unsigned i = 0; i < (*c)->n; i++)
                close((*c)->fd[i]);
        close((*c)->common);
        free((*c)->fd);
        free(*c);
        *c = NULL;
}

bool counts_may(const char *path)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        char mode = '0';
        ssize_t n = fd < 0 ? 0 : read(fd, &mode, 1);
        if (fd >= 0)
                close(fd);
        return n != 1 || mode != '2';
}

void counts_limit(struct counts *c, unsigned families) { c->max = families; }

static bool make_place(struct counts *c)
{
        if (c->n < c->room)
                return true;
        unsigned room = c->room ? 2 * c->room : 64;
        int *fd = realloc(c->fd, room * sizeof *fd);
        if (!fd)
                return false;
        c->fd = fd;
        c->room = room;
        return true;
}

/* ---- reading ---- */

static void add(uint64_t *to, uint64_t n)
{
        n = n < COUNTS_MOST ? n : COUNTS_MOST;
        *to = *to + n < COUNTS_MOST ? *to + n : COUNTS_MOST;
}

/* As plain numbers; zeros where there is nothing. */
static void read_words(int fd, size_t at, uint64_t *words, size_t n)
{
        if (pread(fd, words, n * sizeof *words, (off_t)at) != (ssize_t)(n * sizeof *words))
                memset(words, 0, n * sizeof *words);
}

#define PAGE_WORDS (PNR_NODES_MAX * PNR_COUNT_REASONS)
/* In words of a lane's head. */
#define NEXT_LANE (offsetof(struct pnr_count_head, next_lane) / sizeof(uint64_t))
#define USED      (offsetof(struct pnr_count_head, used) / sizeof(uint64_t))
#define NAMELESS  (offsetof(struct pnr_count_head, count) / sizeof(uint64_t))

static void add_page(uint64_t *sum, const uint64_t *page)
{
        for (unsigned i = 0; i < PAGE_WORDS; i++)
                add(&sum[i], page[i]);
}

/* Returns how many reads that took.  The head and the first cluster's page, mostly all there is, are one. */
static unsigned read_lane(int fd, unsigned lane, unsigned n_clusters, struct sums *to, unsigned *lanes)
{
        size_t at = lane * sizeof(struct pnr_count_lane);
        uint64_t head[2 * PAGE_WORDS], page[PAGE_WORDS];
        unsigned reads = 1;
        read_words(fd, at, head, 2 * PAGE_WORDS);
        uint64_t used = head[USED], next_lane = head[NEXT_LANE];
        if (lane == 0)
                *lanes = next_lane < PNR_COUNT_LANES ? (unsigned)next_lane : PNR_COUNT_LANES;
        for (unsigned i = 0; i < PNR_COUNT_REASONS; i++)
                add(&to->nameless[i], head[NAMELESS + i]);
        if (used & 1)
                add_page(to->of[0][0], head + PAGE_WORDS);
        for (unsigned k = 1; k < n_clusters; k++) {
                if (!(used >> k & 1))
                        continue;
                read_words(fd, at + offsetof(struct pnr_count_lane, page) + k * sizeof page, page,
                           PAGE_WORDS);
                add_page(to->of[k][0], page);
                reads++;
        }
        return reads;
}

static void begin_reading(struct counts *c)
{
        memset(c->sum.of, 0, c->n_clusters * sizeof *c->sum.of);
        memset(c->sum.nameless, 0, sizeof c->sum.nameless);
        c->reading = true;
        c->at = c->lane = 0;
}

/* A torn or forged number must not make a counter go back. */
static void show(const uint64_t *gone, const uint64_t *sum, uint64_t *shown, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                uint64_t all = gone[i];
                add(&all, sum[i]);
                shown[i] = all > shown[i] ? all : shown[i];
        }
}

static void end_reading(struct counts *c)
{
        size_t n = (size_t)c->n_clusters * PNR_NODES_MAX * PNR_COUNT_REASONS;
        show(c->gone.of[0][0], c->sum.of[0][0], c->shown.of[0][0], n);
        show(c->gone.nameless, c->sum.nameless, c->shown.nameless, PNR_COUNT_REASONS);
        c->reading = false;
}

/* Returns how many reads that took, a lane's more than `reads` at most. */
static unsigned go_on_reading(struct counts *c, unsigned reads)
{
        unsigned done = 0;
        while (c->at < c->n && done < reads) {
                done += read_lane(c->fd[c->at], c->lane, c->n_clusters, &c->sum, &c->lanes);
                if (++c->lane < c->lanes)
                        continue;
                c->at++;
                c->lane = 0;
        }
        if (c->at >= c->n)
                end_reading(c);
        return done;
}

static void know_clusters(struct counts *c, unsigned n)
{
        if (!c->reading && n > c->n_clusters)
                c->n_clusters = n < PNR_CLUSTERS_MAX ? n : PNR_CLUSTERS_MAX;
}

void counts_read(struct counts *c, unsigned n_clusters)
{
        unsigned done = c->reading ? go_on_reading(c, READS_AT_ONCE) : 0;
        if (c->reading)
                return;
        know_clusters(c, n_clusters);
        begin_reading(c);
        go_on_reading(c, done < READS_AT_ONCE ? READS_AT_ONCE - done : 1);
}

/* ---- the gone ---- */

static bool is_gone(int fd)
{
        if (flock(fd, LOCK_EX | LOCK_NB))
                return false;
        flock(fd, LOCK_UN);
        return true;
}

/* Returns how many reads that took. */
static unsigned fold(struct counts *c, unsigned i)
{
        unsigned reads = 0, lanes = 1;
        for (unsigned lane = 0; lane < lanes; lane++)
                reads += read_lane(c->fd[i], lane, c->n_clusters, &c->gone, &lanes);
        close(c->fd[i]);
        c->fd[i] = c->fd[--c->n];
        return reads;
}

/* Not during a reading, which would miss one, or count it twice. */
static void reap(struct counts *c, unsigned checks)
{
        unsigned reads = 0, there = c->n;
        for (unsigned i = 0; i < checks && i < there && !c->reading && reads < READS_A_TURN; i++) {
                if (c->next_check >= c->n)
                        c->next_check = 0;
                if (is_gone(c->fd[c->next_check]))
                        reads += fold(c, c->next_check);
                else
                        c->next_check++;
        }
}

void counts_turn(struct counts *c, unsigned n_clusters, struct mono now)
{
        if (c->reading)
                go_on_reading(c, READS_A_TURN);
        know_clusters(c, n_clusters);
        if (c->reading || !mono_reached(now, c->reap_due))
                return;
        c->reap_due = mono_plus(now, REAP_MS);
        reap(c, CHECKS);
}

bool counts_give(struct counts *c, int fd[2])
{
        reap(c, GIVE_CHECKS);
        if (c->n >= c->max || !make_place(c))
                return false;
        int ours = make(sizeof(struct pnr_counts));
        int theirs = ours < 0 ? -1 : lock_other(ours);
        if (theirs < 0) {
                if (ours >= 0)
                        close(ours);
                return false;
        }
        c->fd[c->n++] = ours;
        fd[0] = theirs;
        fd[1] = c->common;
        return true;
}

/* ---- what is shown ---- */

static size_t word_of(unsigned cluster, unsigned slot)
{
        return cluster < PNR_CLUSTERS_MAX && slot < PNR_NODES_MAX
                   ? offsetof(struct sums, of) / 8 +
                         ((size_t)cluster * PNR_NODES_MAX + slot) * PNR_COUNT_REASONS
                   : offsetof(struct sums, nameless) / 8;
}

uint64_t counts_of(const struct counts *c, unsigned cluster, unsigned slot, unsigned reason)
{
        size_t at = word_of(cluster, slot) + reason % PNR_COUNT_REASONS;
        return ((const uint64_t *)&c->shown)[at] - ((const uint64_t *)&c->forgotten)[at];
}

unsigned counts_processes(const struct counts *c) { return c->n; }

void counts_forget(struct counts *c, unsigned cluster, unsigned slot)
{
        size_t at = word_of(cluster, slot);
        memcpy((uint64_t *)&c->forgotten + at, (uint64_t *)&c->shown + at,
               PNR_COUNT_REASONS * sizeof(uint64_t));
}
