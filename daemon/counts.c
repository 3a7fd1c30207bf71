/* counts.c -- what processes have decided: memory handed out, read as numbers of strangers, summed up.
 * The only file that makes memfds.  Reads them with pread(), and of them what is there (SEEK_DATA): to touch a hole of
 * a map would fill it, and a process that says it has used every page would make us pay for all of them. */
#include "daemon/counts.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/counts.h"

#define READS_AT_ONCE 1024 /* of two pages, 2 to 3 us each; the loop may not stand still */
#define READS_A_TURN  256
#define CHECKS        512 /* families a second that are asked whether they are gone */
#define GIVE_CHECKS   2   /* with each that comes, so that none finds the places of the gone taken */
#define REAP_MS       1000

struct sums {
        uint64_t of[PNR_CLUSTERS_MAX][PNR_NODES_MAX][PNR_COUNT_REASONS];
        uint64_t nameless[PNR_COUNT_REASONS];
};

struct family {
        int fd;
        pid_t pid; /* whom it was given to; it may be another's by now */
        bool gone; /* but not summed up yet */
};

struct counts {
        struct family *family;
        unsigned n, room, max;
        int common;
        unsigned n_clusters;
        unsigned next_check; /* the family that is asked next */
        unsigned checks;     /* of this second, yet to make */
        struct mono reap_due;
        bool reading;     /* `sum` is not complete yet */
        unsigned at;      /* of the reading: family */
        size_t page;      /* and page of its memory */
        struct sums gone; /* what families that are gone had counted */
        struct sums sum;  /* the living's, as far as the reading has come */
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
                close((*c)->family[i].fd);
        close((*c)->common);
        free((*c)->family);
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
        struct family *family = realloc(c->family, room * sizeof *family);
        if (!family)
                return false;
        c->family = family;
        c->room = room;
        return true;
}

/* ---- reading ---- */

static void add(uint64_t *to, uint64_t n)
{
        n = n < COUNTS_MOST ? n : COUNTS_MOST;
        *to = *to + n < COUNTS_MOST ? *to + n : COUNTS_MOST;
}

#define PAGE_WORDS (PNR_NODES_MAX * PNR_COUNT_REASONS)
#define LANE_PAGES (sizeof(struct pnr_count_lane) / PNR_PAGE_SIZE)
#define NAMELESS   (offsetof(struct pnr_count_head, count) / sizeof(uint64_t))

static void add_words(uint64_t *sum, const uint64_t *words, unsigned n)
{
        for (unsigned i = 0; i < n; i++)
                if (words[i])
                        add(&sum[i], words[i]);
}

/* A page of the family's memory: the head of a lane, or what was counted in one cluster. */
static void add_page(struct sums *to, unsigned n_clusters, size_t page, const uint64_t *words)
{
        size_t in_lane = page % LANE_PAGES;
        if (in_lane == 0)
                add_words(to->nameless, words + NAMELESS, PNR_COUNT_REASONS);
        else if (in_lane <= n_clusters)
                add_words(to->of[in_lane - 1][0], words, PAGE_WORDS);
}

/* Two pages, and which is the next that is there: a head and the first cluster's are mostly all.  What a process says of
 * them is not asked; to be read, they must be there, and cost it as much as us.
 * false: there are no more. */
static bool read_pages(int fd, size_t *page, unsigned n_clusters, struct sums *to)
{
        uint64_t words[2][PAGE_WORDS];
        ssize_t n = pread(fd, words, sizeof words, (off_t)(*page * PNR_PAGE_SIZE));
        for (size_t i = 0; n > 0 && i < (size_t)n / sizeof *words; i++)
                add_page(to, n_clusters, *page + i, words[i]);
        off_t next = lseek(fd, (off_t)((*page + 2) * PNR_PAGE_SIZE), SEEK_DATA);
        *page = next < 0 ? 0 : (size_t)next / PNR_PAGE_SIZE;
        return next >= 0;
}

static void begin_reading(struct counts *c)
{
        memset(c->sum.of, 0, c->n_clusters * sizeof *c->sum.of);
        memset(c->sum.nameless, 0, sizeof c->sum.nameless);
        c->reading = true;
        c->at = 0;
        c->page = 0;
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

static void go_on_reading(struct counts *c, unsigned *reads)
{
        for (; c->at < c->n && *reads; --*reads) {
                if (!read_pages(c->family[c->at].fd, &c->page, c->n_clusters, &c->sum))
                        c->at++;
        }
        if (c->at >= c->n)
                end_reading(c);
}

static void know_clusters(struct counts *c, unsigned n)
{
        if (!c->reading && n > c->n_clusters)
                c->n_clusters = n < PNR_CLUSTERS_MAX ? n : PNR_CLUSTERS_MAX;
}

/* ---- the gone ---- */

/* It stays so: the lock is ours now. */
static bool is_gone(struct family *f)
{
        f->gone = f->gone || !flock(f->fd, LOCK_EX | LOCK_NB);
        return f->gone;
}

/* Returns how many reads that took. */
static unsigned fold(struct counts *c, unsigned i)
{
        unsigned reads = 1;
        for (size_t page = 0; read_pages(c->family[i].fd, &page, c->n_clusters, &c->gone);)
                reads++;
        close(c->family[i].fd);
        c->family[i] = c->family[--c->n];
        return reads;
}

/* Not during a reading, which would miss one, or count it twice. */
static void reap(struct counts *c, unsigned *checks)
{
        unsigned reads = 0;
        for (; *checks && c->n && !c->reading && reads < READS_A_TURN; --*checks) {
                if (c->next_check >= c->n)
                        c->next_check = 0;
                if (is_gone(&c->family[c->next_check]))
                        reads += fold(c, c->next_check);
                else
                        c->next_check++;
        }
}

/* Between two readings there is time for the gone, however often somebody reads. */
void counts_read(struct counts *c, unsigned n_clusters)
{
        unsigned reads = READS_AT_ONCE;
        if (c->reading)
                go_on_reading(c, &reads);
        if (c->reading)
                return;
        reap(c, &c->checks);
        know_clusters(c, n_clusters);
        begin_reading(c);
        go_on_reading(c, &reads);
}

void counts_turn(struct counts *c, unsigned n_clusters, struct mono now)
{
        unsigned reads = READS_A_TURN;
        if (c->reading)
                go_on_reading(c, &reads);
        know_clusters(c, n_clusters);
        if (mono_reached(now, c->reap_due)) {
                c->reap_due = mono_plus(now, REAP_MS);
                c->checks = c->n < CHECKS ? c->n : CHECKS;
        }
        reap(c, &c->checks);
}

/* One process must not take the places of all others.  Those of which we know only that they are in another namespace
 * of processes share half of them all. */
static bool may_have(struct counts *c, pid_t pid)
{
        unsigned most = pid ? COUNTS_OF_PROCESS : (c->max + 1) / 2, n = 0;
        for (unsigned i = 0; i < c->n; i++)
                n += c->family[i].pid == pid && !c->family[i].gone;
        for (unsigned i = 0; i < c->n && pid && n >= most; i++)
                if (c->family[i].pid == pid && !c->family[i].gone)
                        n -= is_gone(&c->family[i]);
        return n < most;
}

bool counts_give(struct counts *c, pid_t pid, int fd[2])
{
        reap(c, &(unsigned){GIVE_CHECKS});
        if (c->n >= c->max || !may_have(c, pid) || !make_place(c))
                return false;
        int ours = make(sizeof(struct pnr_counts));
        int theirs = ours < 0 ? -1 : lock_other(ours);
        if (theirs < 0) {
                if (ours >= 0)
                        close(ours);
                return false;
        }
        c->family[c->n++] = (struct family){.fd = ours, .pid = pid};
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
