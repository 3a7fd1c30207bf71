/* view.c -- one mapped store: what it says about a read.
 * The only file that maps the store.  Copies out or points into one snapshot; believes nothing. */
#include "client/view.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/boot.h"
#include "proto/token.h"

#define TRIES 8

static bool header_of(const struct view *v, const struct walk_snap *s, struct pnr_header *ret)
{
        struct walk_value value;
        if (walk_get(&v->walk, s, PNR_KEY_HEADER, &value) != WALK_FOUND || value.size != sizeof *ret)
                return false;
        memcpy(ret, value.at, sizeof *ret);
        return ret->magic == PNR_MAGIC && pnr_layout_readable(ret->layout, ret->oldest_reader) &&
               (ret->state == PNR_LIVE || ret->state == PNR_RETIRED);
}

/* A 4 KB record, which always has a page of its own. */
static int page_record(const struct view *v, const struct walk_snap *s, uint64_t key, const void **ret)
{
        struct walk_value value;
        int st =
            key < PNR_KEY_PINS ? walk_get(&v->walk, s, key, &value) : walk_floor(&v->walk, s, key, &value);
        if (st != WALK_FOUND)
                return st;
        if (key >= PNR_KEY_PINS && value.key < PNR_KEY_PINS)
                return WALK_ABSENT;
        *ret = value.at;
        return value.size == PNR_PAGE_VALUE && (uintptr_t)value.at % 16 == 0 ? WALK_FOUND : WALK_BAD;
}

/* The cluster by name: at the number that it had last, else wherever it is now. */
static int cluster_of(const struct view *v, struct view_at *at, unsigned n_clusters, const char *name,
                      const struct pnr_cluster **ret)
{
        unsigned guess = at->number < n_clusters ? at->number : 0;
        for (unsigned i = 0; i < n_clusters && i < PNR_CLUSTERS_MAX; i++) {
                unsigned number = i == 0 ? guess : i <= guess ? i - 1 : i;
                const void *record = NULL;
                int st = page_record(v, &at->snap, PNR_KEY_CLUSTER(number), &record);
                if (st == WALK_BAD)
                        return VIEW_UNUSABLE;
                const struct pnr_cluster *c = record;
                if (st != WALK_FOUND || memcmp(c->name, name, PNR_NAME_SIZE) != 0 ||
                    c->flags & PNR_CLUSTER_REMOVED)
                        continue;
                at->number = number;
                *ret = c;
                return VIEW_OK;
        }
        return VIEW_NO_CLUSTER;
}

/* Where on a page a pin stands. */
struct found {
        const volatile struct pnr_group *group; /* NULL: nowhere */
        unsigned g, i;                          /* the group's number, the pin's in the group */
        uint32_t flags;
};

/* The filter lies where the walk has just looked, and says of most keys that have no pin that they have none.  All pins
 * of a group are compared without a branch that depends on which it is. */
static inline struct found pin_on(const volatile struct pnr_pins *page, struct pnr_slot slot)
{
        const uint32_t hash = pnr_slot_hash(slot.place);
        unsigned g = pnr_tag_home(slot.tag);
        if (pnr_tag_bits(slot.tag) & ~page->filter[pnr_tag_word(slot.tag)])
                return (struct found){0};
        for (unsigned n = 0; n < PNR_GROUPS; n++) {
                const volatile struct pnr_group *group = &page->group[g];
                unsigned same = 0;
                for (unsigned i = 0; i < PNR_GROUP; i++)
                        same |= (unsigned)(((group->tag[i] ^ slot.tag) | (group->hash[i] ^ hash)) == 0) << i;
                uint32_t flags = group->flags;
                if (same)
                        return (struct found){group, g, (unsigned)__builtin_ctz(same), flags};
                if (!(flags & PNR_GROUP_PASSED))
                        break;
                g = g + 1 < PNR_GROUPS ? g + 1 : 0;
        }
        return (struct found){0};
}

/* Unsigned, as the base may be anything. */
static inline int64_t time_on(uint64_t base_ms, uint32_t after)
{
        return after ? (int64_t)(base_ms + after) : 0;
}

/* A retired store is stale at once: it may lack pins, but its schedule is as good as it was a moment ago. */
static int64_t age_of(const struct pnr_header *h, struct mono now)
{
        int64_t age_ms = view_age_ms(h->heartbeat_ms, now);
        return h->state == PNR_RETIRED && age_ms < h->stale_after_ms ? h->stale_after_ms : age_ms;
}

int view_pin(const struct view *v, const struct walk_snap *snap, struct pnr_slot slot, struct need *ret)
{
        const void *at = NULL;
        int found = page_record(v, snap, slot.place, &at);
        const volatile struct pnr_pins *page = at;
        struct found p = found == WALK_FOUND ? pin_on(page, slot) : (struct found){0};
        *ret = (struct need){0};
        if (!p.group)
                return found;
        uint64_t base_ms = (uint64_t)page->base_ms;
        ret->generation = p.group->generation[p.i];
        ret->until_ms = time_on(base_ms, p.group->until[p.i]);
        if (p.flags >> p.i & PNR_GROUP_HELD)
                ret->hold_ms = time_on(base_ms, page->cold[p.g * PNR_GROUP + p.i].hold);
        return found;
}

int view_facts(const struct view *v, const char *name, const struct pnr_key *key, struct facts *f,
               struct view_at *at)
{
        struct pnr_header h;
        if (!walk_snap(&v->walk, &at->snap))
                return VIEW_AGAIN;
        if (!header_of(v, &at->snap, &h))
                return VIEW_UNUSABLE;
        at->epoch = h.epoch;
        at->heartbeat_ms = h.heartbeat_ms;
        f->age_ms = age_of(&h, f->now);
        f->stale_after_ms = h.stale_after_ms;
        f->stale_limit_ms = h.stale_limit_ms;
        f->keyed = key != NULL;
        f->pin = (struct need){0};
        at->spread = pnr_spread_of(h.seed);
        int st = cluster_of(v, at, h.n_clusters, name, &f->cluster);
        if (st != VIEW_OK || !key)
                return st;
        at->slot = pnr_slot_of(*key, at->number, &at->spread);
        return view_pin(v, &at->snap, at->slot, &f->pin) == WALK_BAD ? VIEW_UNUSABLE : VIEW_OK;
}

uint64_t view_stamp(const struct view *v, const struct view_at *at)
{
        const void *record = NULL;
        if (page_record(v, &at->snap, at->slot.place, &record) != WALK_FOUND)
                return 0;
        const volatile struct pnr_pins *page = record;
        struct found p = pin_on(page, at->slot);
        return p.group ? page->cold[p.g * PNR_GROUP + p.i].stamp : 0;
}

bool view_token_keys(const struct view *v, const struct view_at *at, struct pnr_token_keys *ret)
{
        struct walk_value value;
        int st = walk_get(&v->walk, &at->snap, PNR_KEY_TOKENS, &value);
        *ret = (struct pnr_token_keys){0};
        if (st != WALK_FOUND || value.size != sizeof *ret)
                return false;
        memcpy(ret, value.at, sizeof *ret);
        return pnr_token_keys_valid(ret);
}

bool view_holds(const struct view *v, const struct view_at *at) { return walk_holds(&v->walk, &at->snap); }

int view_node(const struct pnr_cluster *cluster, const char *name)
{
        unsigned n = *(const volatile uint16_t *)&cluster->n_nodes;
        for (unsigned i = 0; i < n && i < PNR_NODES_MAX; i++)
                if (strncmp(cluster->node[i].name, name, PNR_NAME_SIZE) == 0)
                        return (int)i;
        return -1;
}

int view_endpoint(const struct view *v, const struct view_at *at, unsigned node, struct pnr_endpoint *ret)
{
        struct walk_value value;
        int st = walk_get(&v->walk, &at->snap, PNR_KEY_ENDPOINT(at->number, node), &value);
        if (st != WALK_FOUND || value.size != sizeof *ret)
                return VIEW_UNUSABLE;
        memcpy(ret, value.at, sizeof *ret);
        return ret->conninfo[PNR_ENDPOINT_MAX - 1] == '\0' ? VIEW_OK : VIEW_UNUSABLE;
}

struct view_pulse view_pulse(const struct view *v)
{
        for (int tries = 0; v && tries < TRIES; tries++) {
                struct walk_snap s;
                struct pnr_header h;
                if (walk_snap(&v->walk, &s) && header_of(v, &s, &h) && walk_holds(&v->walk, &s))
                        return (struct view_pulse){h.epoch, h.heartbeat_ms};
        }
        return (struct view_pulse){0};
}

/* A live store that is served, of this boot, written into this very file? */
static bool is_ours(const struct view *v)
{
        uint8_t boot[16];
        if (!walk_valid(&v->walk) || !pnr_boot_id(boot))
                return false;
        for (int tries = 0; tries < TRIES; tries++) {
                struct walk_snap s;
                struct pnr_header h;
                bool usable = walk_snap(&v->walk, &s) && header_of(v, &s, &h);
                if (usable && walk_holds(&v->walk, &s))
                        return h.state == PNR_LIVE && h.heartbeat_ms > 0 && h.file_ino == v->ino &&
                               memcmp(h.boot_id, boot, sizeof boot) == 0;
        }
        return false;
}

/* A descriptor of DIR/data.mdb, if only root or the directory's owner can write to it; else -1. */
static int open_file(const char *dir, struct stat *st)
{
        struct stat dst;
        int dfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int fd =
            dfd < 0 ? -1 : openat(dfd, "data.mdb", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        bool good = fd >= 0 && fstat(dfd, &dst) == 0 && fstat(fd, st) == 0 && S_ISREG(st->st_mode) &&
                    (st->st_uid == 0 || st->st_uid == dst.st_uid) && !(st->st_mode & (S_IWGRP | S_IWOTH)) &&
                    st->st_size >= 2 * PNR_PAGE_SIZE && st->st_size % PNR_PAGE_SIZE == 0;
        if (dfd >= 0)
                close(dfd);
        if (fd >= 0 && !good)
                close(fd);
        return good ? fd : -1;
}

int view_open(struct view **ret, const char *dir)
{
        struct stat st;
        *ret = NULL;
        int fd = open_file(dir, &st);
        if (fd < 0)
                return PINROUTE_E_STORE;
        void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
        if (map == MAP_FAILED)
                return PINROUTE_E_MEMORY;
        struct view *v = malloc(sizeof *v);
        if (!v) {
                munmap(map, (size_t)st.st_size);
                return PINROUTE_E_MEMORY;
        }
        *v = (struct view){
            .walk = {map, (uint64_t)st.st_size / PNR_PAGE_SIZE}, .dev = st.st_dev, .ino = st.st_ino};
        if (!is_ours(v)) {
                view_close(&v);
                return PINROUTE_E_STORE;
        }
        *ret = v;
        return PINROUTE_OK;
}

void view_close(struct view **v)
{
        if (!*v)
                return;
        munmap((void *)(uintptr_t)(*v)->walk.map, (*v)->walk.pages * PNR_PAGE_SIZE);
        free(*v);
        *v = NULL;
}

bool view_is_linked(const struct view *v, const char *dir)
{
        struct stat st;
        int dfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        bool same = dfd >= 0 && fstatat(dfd, "data.mdb", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                    st.st_dev == v->dev && st.st_ino == v->ino;
        if (dfd >= 0)
                close(dfd);
        return same;
}

/* Readers may be inside: to them the zeros are one more state that does not hold.  A plain system call, since
 * a mmap() that TSan sees counts as a write of this process, which races with them.  On failure the old file
 * stays mapped, stale or retired as it is: memory is lost, nothing else. */
void view_blank(struct view *v)
{
        syscall(SYS_mmap, v->walk.map, v->walk.pages * PNR_PAGE_SIZE, PROT_READ,
                MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0L);
}
