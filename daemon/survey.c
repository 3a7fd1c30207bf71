/* survey.c -- what a store file that was found holds, and whether it can be trusted.
 * Reads through daemon/image.h alone; changes nothing. */
#include "daemon/survey.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/image.h"
#include "daemon/pin.h"
#include "proto/token.h"
#include "proto/wire.h"

#define SAME_CLOCK_MS 20 /* two readings of one clock, one of them coarse or taken before the other */

/* One piece, so that free(found->cluster) is all. */
struct records {
        struct pnr_cluster cluster[PNR_CLUSTERS_MAX];
        struct pnr_endpoint endpoint[PNR_CLUSTERS_MAX][PNR_NODES_MAX];
};

struct visit {
        struct survey *survey;
        struct store_found *found;
        const uint8_t *boot_id;
        struct mono now;
        bool has_header;
        uint64_t next_page; /* key of the pin page that is due; 0: none, or all seen */
};

static bool odd(struct survey *survey, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool odd(struct survey *survey, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        vsnprintf(survey->why, sizeof survey->why, format, args);
        va_end(args);
        return false;
}

static bool visit_header(struct visit *v, const void *value, size_t size)
{
        struct survey *survey = v->survey;
        struct pnr_header *h = &survey->header;
        if (size != sizeof *h)
                return odd(survey, "header of %zu bytes", size);
        memcpy(h, value, sizeof *h);
        if (h->magic != PNR_MAGIC)
                return odd(survey, "not a store of pinrouted");
        if (!pnr_layout_writable(h->layout, h->oldest_writer))
                return odd(survey, "layout %u, this daemon writes %u", h->layout, PNR_LAYOUT);
        survey->copied = h->file_ino != survey->st.st_ino;
        survey->retired = h->state == PNR_RETIRED;
        survey->other_boot = memcmp(h->boot_id, v->boot_id, sizeof h->boot_id) != 0;
        survey->refused = survey->copied || survey->retired || survey->other_boot;
        if (survey->other_boot)
                return odd(survey, "of another boot");
        if ((h->state != PNR_LIVE && h->state != PNR_RETIRED) || h->n_clusters > PNR_CLUSTERS_MAX)
                return odd(survey, "header is damaged");
        if (h->heartbeat_ms > v->now.ms + SAME_CLOCK_MS) /* it does not go back, but namespaces shift it */
                return odd(survey, "of another time namespace: its heartbeat is %lld ms ahead",
                           (long long)(h->heartbeat_ms - v->now.ms));
        v->found->layout = h->layout;
        v->found->cursor = h->cursor;
        v->found->heartbeat = (struct mono){h->heartbeat_ms};
        v->has_header = true;
        return true;
}

static void saw_generation(struct visit *v, uint64_t generation)
{
        if (v->found->max_generation < generation)
                v->found->max_generation = generation;
}

static bool cluster_valid(const struct pnr_cluster *c)
{
        if (!pnr_name_valid(c->name) || c->n_nodes > PNR_NODES_MAX || c->n_schedule > PNR_SCHEDULE_MAX ||
            (c->primary >= c->n_nodes && c->primary != PNR_NO_NODE))
                return false;
        for (unsigned i = 0; i < c->n_schedule; i++)
                if (c->schedule[i] >= c->n_nodes)
                        return false;
        for (unsigned i = 0; i < c->n_nodes; i++)
                if (!pnr_name_valid(c->node[i].name))
                        return false;
        return true;
}

static bool visit_cluster(struct visit *v, unsigned number, const void *value, size_t size)
{
        const struct pnr_cluster *c = value;
        struct store_found *found = v->found;
        if (size != sizeof *c || number != found->n_clusters || number >= v->survey->header.n_clusters ||
            !cluster_valid(c))
                return odd(v->survey, "record of cluster %u is damaged", number);
        found->cluster[found->n_clusters++] = *c;
        saw_generation(v, c->open_generation);
        saw_generation(v, c->floor_generation);
        return true;
}

static bool visit_tokens(struct visit *v, const void *value, size_t size)
{
        struct pnr_token_keys *keys = &v->found->tokens;
        if (size != sizeof *keys)
                return odd(v->survey, "record of keys of %zu bytes", size);
        memcpy(keys, value, sizeof *keys);
        return pnr_token_keys_valid(keys) || odd(v->survey, "record of keys is damaged");
}

static bool damaged(struct visit *v, uint64_t key)
{
        return odd(v->survey, "record %#llx is damaged", (unsigned long long)key);
}

static bool visit_endpoint(struct visit *v, uint64_t key, const void *value, size_t size)
{
        uint64_t i = key - PNR_KEY_ENDPOINT(0, 0);
        struct pnr_endpoint *e = &v->found->endpoint[i / PNR_NODES_MAX][i % PNR_NODES_MAX];
        if (size != sizeof *e || !memchr(value, 0, size))
                return damaged(v, key);
        memcpy(e, value, sizeof *e);
        return true;
}

static bool visit_admin(struct visit *v, uint64_t key, const void *value, size_t size)
{
        uint64_t i = key - PNR_KEY_ADMIN(0, 0);
        if (size != 1)
                return damaged(v, key);
        v->found->admin[i / PNR_NODES_MAX][i % PNR_NODES_MAX] = *(const uint8_t *)value;
        return true;
}

static void saw_pin(struct visit *v, const struct pnr_pins *page, unsigned i)
{
        struct pin pin;
        if (!pin_read(page, i, &pin))
                return;
        struct mono *until = &v->found->live_until[pin.cluster], *hold = &v->found->hold_until[pin.cluster];
        *until = mono_later(*until, (struct mono){pin.until_ms});
        *hold = mono_later(*hold, (struct mono){pin.hold_ms});
        saw_generation(v, pin.generation);
}

static bool visit_pins(struct visit *v, uint64_t key, const void *value, size_t size)
{
        const struct pnr_pins *page = value;
        uint64_t due = v->survey->pin_pages ? v->next_page : PNR_KEY_PINS;
        if (size != sizeof *page || key != due || !pin_page_valid(page, key))
                return odd(v->survey, "page of pins %#llx is damaged", (unsigned long long)key);
        v->next_page = key + pin_width(page->bits);
        v->survey->pin_pages++;
        v->survey->pins += page->used;
        for (unsigned i = 0; i < PNR_PLACES; i++)
                saw_pin(v, page, i);
        return true;
}

static bool visit_record(void *arg, uint64_t key, const void *value, size_t size)
{
        struct visit *v = arg;
        if (key == PNR_KEY_HEADER)
                return visit_header(v, value, size);
        if (!v->has_header)
                return odd(v->survey, "no header");
        if (key >= PNR_KEY_PINS)
                return visit_pins(v, key, value, size);
        if (key == PNR_KEY_TOKENS)
                return visit_tokens(v, value, size);
        if (key >= PNR_KEY_CLUSTER(0) && key < PNR_KEY_CLUSTER(PNR_CLUSTERS_MAX))
                return visit_cluster(v, (unsigned)(key - PNR_KEY_CLUSTER(0)), value, size);
        if (key >= PNR_KEY_ENDPOINT(0, 0) && key < PNR_KEY_ENDPOINT(PNR_CLUSTERS_MAX, 0))
                return visit_endpoint(v, key, value, size);
        if (key >= PNR_KEY_ADMIN(0, 0) && key < PNR_KEY_ADMIN(PNR_CLUSTERS_MAX, 0))
                return visit_admin(v, key, value, size);
        return true; /* of a newer layout */
}

static bool survey_records(struct survey *survey, int fd, const uint8_t boot_id[16], struct mono now,
                           struct store_found *found)
{
        struct image image;
        struct visit v = {.survey = survey, .found = found, .boot_id = boot_id, .now = now};
        bool opened = image_open(&image, fd);
        survey->map_bytes = image.map_bytes;
        bool walked = opened && image_walk(&image, visit_record, &v);
        survey->unread = image.unread;
        if (!walked)
                return survey->why[0] ? false : odd(survey, "%s", image.why);
        if (!v.has_header)
                return odd(survey, "no header");
        if (found->n_clusters != survey->header.n_clusters)
                return odd(survey, "%u records of %u clusters", found->n_clusters, survey->header.n_clusters);
        if (v.next_page)
                return odd(survey, "pages of pins are missing");
        return true;
}

static bool survey_open_file(struct survey *ret, int fd, const uint8_t boot_id[16], struct mono now,
                             struct store_found *found)
{
        ret->unread = fstat(fd, &ret->st) != 0;
        if (ret->unread)
                return odd(ret, "fstat: %s", strerror(errno));
        if (!S_ISREG(ret->st.st_mode))
                return odd(ret, "not a regular file");
        if (ret->st.st_uid != geteuid())
                return odd(ret, "belongs to user %u", ret->st.st_uid);
        struct records *records = calloc(1, sizeof *records);
        ret->unread = !records;
        if (!records)
                return odd(ret, "out of memory");
        struct store_found read = {.cluster = records->cluster, .endpoint = records->endpoint};
        if (!survey_records(ret, fd, boot_id, now, &read)) {
                free(records);
                return false;
        }
        *found = read;
        return true;
}

/* Another attempt may do better; EACCES and such will stay. */
static bool is_passing(int err)
{
        return err == EIO || err == EINTR || err == EAGAIN || err == EMFILE || err == ENFILE ||
               err == ENOMEM || err == ENOSPC;
}

void survey_file(struct survey *ret, int dir_fd, const char *name, const uint8_t boot_id[16], struct mono now,
                 struct store_found *found)
{
        memset(ret, 0, sizeof *ret);
        int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd < 0) {
                ret->refused = ret->absent = errno == ENOENT;
                ret->unread = is_passing(errno);
                odd(ret, "%s", errno == ENOENT ? "no file" : strerror(errno));
                return;
        }
        ret->whole = survey_open_file(ret, fd, boot_id, now, found);
        close(fd);
}

bool survey_reusable(struct survey *survey, uint64_t map_bytes)
{
        if (!survey->whole)
                return false;
        if (survey->copied)
                return odd(survey, "a copy of another file");
        if (survey->retired)
                return odd(survey, "retired");
        if (survey->map_bytes != map_bytes || (uint64_t)survey->st.st_size != map_bytes)
                return odd(survey, "made for another max_pins: %llu bytes, not %llu",
                           (unsigned long long)survey->map_bytes, (unsigned long long)map_bytes);
        return true;
}

/* A copy has been put in the place of its original; an empty directory may have been emptied a moment ago, as systemd
 * does with a RuntimeDirectory; and the maker of a store without a heartbeat may have died while it waited for stubs to
 * drop the one before. */
bool survey_supplants(const struct survey *survey)
{
        bool unfinished = survey->whole && !survey->retired && survey->header.heartbeat_ms == 0;
        return survey->copied || survey->absent || unfinished;
}

/* A file that cannot be read does not tell; and whoever made one that has no state died before it wrote what it owed. */
bool survey_may_have_held(const struct survey *survey)
{
        bool unwritten = survey->whole && survey->header.heartbeat_ms == 0 && survey->header.n_clusters == 0;
        return unwritten || !(survey->whole || survey->absent || survey->other_boot);
}
