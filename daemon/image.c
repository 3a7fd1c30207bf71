/* image.c -- an LMDB file that may be damaged or foreign, read by its documented page format with pread
 * alone. Trusts no byte: every page number and offset is checked, no page is entered twice, depth is bounded.
 */
#include "daemon/image.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/store.h"

#define NO_PAGE      (~0ull)
#define DEPTH_MAX    32
#define LMDB_MAGIC   0xBEEFC0DEu
#define LMDB_VERSION 1
#define INTEGER_KEYS 8 /* flag of the tree of free pages */
#define PAGE_HEADER  16
#define NODE_HEADER  8
#define NODE_BIG     1 /* the value stands on overflow pages, the node holds the number of the first */

enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8 };

struct page {
        uint64_t number;
        uint16_t pad, flags, lower, upper; /* an overflow page: lower and upper are its count of pages */
        uint8_t body[PNR_PAGE_SIZE - PAGE_HEADER];
};
static_assert(sizeof(struct page) == PNR_PAGE_SIZE, "a page of LMDB 0.9, 64 bit");

struct tree_record {
        uint32_t pad; /* page size, in the tree of free pages */
        uint16_t flags, depth;
        uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct meta_record {
        uint32_t magic, version;
        uint64_t address, map_bytes;
        struct tree_record tree[2];
        uint64_t last_page, txnid;
};
static_assert(sizeof(struct meta_record) == 136, "a meta page of LMDB 0.9, 64 bit");

struct node {
        uint16_t low, high, flags, key_size;
        const uint8_t *key, *data;
        size_t data_size, room; /* what the node says its data is; bytes of its data in this page */
};

struct walk {
        struct image *image;
        uint8_t *seen; /* a bit per page */
        bool of_free;  /* the tree of free pages: native keys, values of any length */
        image_visit *visit;
        void *arg;
        uint64_t entries;
};

static bool wrong(struct image *image, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(struct image *image, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        vsnprintf(image->why, sizeof image->why, format, args);
        va_end(args);
        return false;
}

static bool no_memory(struct image *image)
{
        image->unread = true;
        return wrong(image, "out of memory");
}

static bool read_page(struct image *image, uint64_t number, struct page *ret)
{
        ssize_t n = pread(image->fd, ret, sizeof *ret, (off_t)(number * PNR_PAGE_SIZE));
        image->unread = n < 0;
        if (n < 0)
                return wrong(image, "page %llu: %s", (unsigned long long)number, strerror(errno));
        return n == (ssize_t)sizeof *ret || wrong(image, "page %llu is cut off", (unsigned long long)number);
}

static bool meta_valid(struct image *image, const struct meta_record *m)
{
        if (m->magic != LMDB_MAGIC)
                return wrong(image, "not an LMDB file");
        if (m->version != LMDB_VERSION)
                return wrong(image, "LMDB data version %u, not %u", m->version, LMDB_VERSION);
        if (m->tree[0].pad != PNR_PAGE_SIZE)
                return wrong(image, "pages of %u bytes, not %u", m->tree[0].pad, PNR_PAGE_SIZE);
        if (m->tree[0].flags != INTEGER_KEYS || m->tree[1].flags != 0)
                return wrong(image, "trees of another kind");
        if (m->map_bytes % PNR_PAGE_SIZE || m->map_bytes > image->file_bytes)
                return wrong(image, "truncated: %llu bytes of %llu", (unsigned long long)image->file_bytes,
                             (unsigned long long)m->map_bytes);
        if (m->last_page < 1 || m->last_page >= m->map_bytes / PNR_PAGE_SIZE)
                return wrong(image, "last page outside the file");
        return true;
}

static struct image_tree tree_of(const struct tree_record *t)
{
        return (struct image_tree){.root = t->root, .entries = t->entries, .depth = t->depth};
}

bool image_open(struct image *image, int fd)
{
        *image = (struct image){.fd = fd};
        struct stat st;
        image->unread = fstat(fd, &st) != 0;
        if (image->unread || st.st_size < 2 * PNR_PAGE_SIZE)
                return wrong(image, "not an LMDB file: too short");
        image->file_bytes = (uint64_t)st.st_size;
        struct meta_record meta[2];
        for (unsigned i = 0; i < 2; i++) {
                struct page page;
                if (!read_page(image, i, &page))
                        return false;
                memcpy(&meta[i], page.body, sizeof meta[i]);
                if (!(page.flags & PAGE_META))
                        return wrong(image, "not an LMDB file");
                if (!meta_valid(image, &meta[i]))
                        return false;
        }
        const struct meta_record *newer = &meta[meta[0].txnid < meta[1].txnid];
        image->map_bytes = newer->map_bytes;
        image->last_page = newer->last_page;
        image->txnid = newer->txnid;
        image->free = tree_of(&newer->tree[0]);
        image->main = tree_of(&newer->tree[1]);
        return true;
}

/* Each page has one owner: a parent, or one list of free pages. */
static bool own_page(struct walk *w, uint64_t number)
{
        if (number < 2 || number > w->image->last_page)
                return wrong(w->image, "page number %llu of %llu", (unsigned long long)number,
                             (unsigned long long)w->image->last_page);
        uint8_t bit = (uint8_t)(1u << number % 8);
        if (w->seen[number / 8] & bit)
                return wrong(w->image, "page %llu is in use twice", (unsigned long long)number);
        w->seen[number / 8] |= bit;
        return true;
}

static bool read_node(struct walk *w, const struct page *page, unsigned i, struct node *ret)
{
        const uint8_t *bytes = (const uint8_t *)page;
        uint16_t offset;
        memcpy(&offset, page->body + i * sizeof offset, sizeof offset);
        if (offset % 2 || offset < page->upper || offset > PNR_PAGE_SIZE - NODE_HEADER)
                return wrong(w->image, "page %llu: node outside", (unsigned long long)page->number);
        memcpy(ret, bytes + offset, NODE_HEADER);
        size_t room = PNR_PAGE_SIZE - NODE_HEADER - offset;
        if (ret->key_size > room)
                return wrong(w->image, "page %llu: key outside", (unsigned long long)page->number);
        ret->key = bytes + offset + NODE_HEADER;
        ret->data = ret->key + ret->key_size;
        ret->data_size = (size_t)ret->low | (size_t)ret->high << 16;
        ret->room = room - ret->key_size;
        return true;
}

static uint64_t key_of(const struct walk *w, const struct node *node)
{
        uint64_t key;
        memcpy(&key, node->key, sizeof key);
        return w->of_free ? key : __builtin_bswap64(key);
}

static bool visit_free_list(struct walk *w, const uint64_t *list, size_t size)
{
        if (size < sizeof list[0] || list[0] > size / sizeof list[0] - 1)
                return wrong(w->image, "a list of free pages is longer than its record");
        for (uint64_t i = 1; i <= list[0]; i++)
                if (!own_page(w, list[i]))
                        return false;
        return true;
}

static bool deliver(struct walk *w, uint64_t key, const void *value, size_t size)
{
        w->entries++;
        if (w->of_free)
                return visit_free_list(w, value, size);
        return w->visit(w->arg, key, value, size) ||
               (w->image->why[0] ? false : wrong(w->image, "record %#llx", (unsigned long long)key));
}

/* A value on overflow pages; all but long lists of free pages fit one. */
static bool visit_big(struct walk *w, uint64_t key, const struct node *node)
{
        uint64_t first, n = (PAGE_HEADER + node->data_size - 1) / PNR_PAGE_SIZE + 1;
        if (node->room < sizeof first || node->data_size == 0)
                return wrong(w->image, "record %#llx: no overflow page", (unsigned long long)key);
        memcpy(&first, node->data, sizeof first);
        for (uint64_t i = 0; i < n; i++)
                if (!own_page(w, first + i))
                        return false;
        uint8_t *run = malloc(n * PNR_PAGE_SIZE); /* NOLINT(*UnixAPI): n is 1 at least */
        if (!run)
                return no_memory(w->image);
        struct page *page = (struct page *)run;
        bool ok = true;
        for (uint64_t i = 0; ok && i < n; i++)
                ok = read_page(w->image, first + i, &page[i]);
        if (ok && (page->number != first || page->flags != PAGE_OVERFLOW ||
                   (page->lower | (uint32_t)page->upper << 16) != n))
                ok = wrong(w->image, "page %llu is no overflow page", (unsigned long long)first);
        ok = ok && deliver(w, key, run + PAGE_HEADER, node->data_size);
        free(run);
        return ok;
}

static bool visit_leaf(struct walk *w, uint64_t key, const struct node *node)
{
        if (node->flags & ~NODE_BIG)
                return wrong(w->image, "record %#llx: flags", (unsigned long long)key);
        if (node->flags & NODE_BIG)
                return visit_big(w, key, node);
        if (node->data_size > node->room)
                return wrong(w->image, "record %#llx: outside its page", (unsigned long long)key);
        uint64_t aligned[PNR_PAGE_SIZE / sizeof(uint64_t)];
        memcpy(aligned, node->data, node->data_size);
        return deliver(w, key, aligned, node->data_size);
}

static bool page_valid(struct walk *w, const struct page *page, uint64_t number, unsigned level)
{
        uint16_t kind = level == 1 ? PAGE_LEAF : PAGE_BRANCH;
        unsigned least = level == 1 || w->of_free ? 1 : 2; /* liblmdb asserts two below each branch */
        if (page->number != number || page->flags != kind || page->lower > page->upper ||
            page->upper > PNR_PAGE_SIZE || page->lower % 2 || page->lower < PAGE_HEADER + 2 * least)
                return wrong(w->image, "page %llu is damaged", (unsigned long long)number);
        return true;
}

static size_t node_bytes(const struct node *node, bool leaf)
{
        size_t data = !leaf ? 0 : node->flags & NODE_BIG ? sizeof(uint64_t) : node->data_size;
        return (NODE_HEADER + node->key_size + data + 1) & ~(size_t)1;
}

/* All keys of the page at `number` are to be in [from, to].
 * NOLINTNEXTLINE(misc-no-recursion): as deep as the tree, whose depth was checked */
static bool visit_page(struct walk *w, uint64_t number, unsigned level, uint64_t from, uint64_t to)
{
        struct page page;
        if (!own_page(w, number) || !read_page(w->image, number, &page) ||
            !page_valid(w, &page, number, level))
                return false;
        unsigned n = (page.lower - PAGE_HEADER) / 2u;
        size_t bytes = 0;
        struct node node = {0}, next = {0};
        uint64_t key = from;
        for (unsigned i = 0; i < n; i++, node = next) {
                if (i == 0 && !read_node(w, &page, 0, &node))
                        return false;
                if (i + 1 < n && !read_node(w, &page, i + 1, &next))
                        return false;
                bytes += node_bytes(&node, level == 1);
                bool unnamed = level > 1 && i == 0; /* a branch's first key is never looked at */
                if ((!unnamed && node.key_size != sizeof key) || (i + 1 < n && next.key_size != sizeof key))
                        return wrong(w->image, "page %llu: size of a key", (unsigned long long)number);
                key = unnamed ? from : key_of(w, &node);
                uint64_t after = i + 1 < n ? key_of(w, &next) : to;
                if (key < from || key > to || (i + 1 < n && after <= key))
                        return wrong(w->image, "page %llu: order of keys", (unsigned long long)number);
                uint64_t last = i + 1 < n ? after - 1 : to;
                uint64_t child = node.low | (uint64_t)node.high << 16 | (uint64_t)node.flags << 32;
                if (!(level == 1 ? visit_leaf(w, key, &node) : visit_page(w, child, level - 1, key, last)))
                        return false;
                from = key;
        }
        return bytes == PNR_PAGE_SIZE - (size_t)page.upper ||
               wrong(w->image, "page %llu: nodes overlap", (unsigned long long)number);
}

static bool visit_tree(struct walk *w, const struct image_tree *tree)
{
        if ((tree->root == NO_PAGE) != (tree->depth == 0) || tree->depth > DEPTH_MAX)
                return wrong(w->image, "depth of a tree");
        w->entries = 0;
        if (tree->depth && !visit_page(w, tree->root, tree->depth, 0, UINT64_MAX))
                return false;
        return w->entries == tree->entries || wrong(w->image, "count of records");
}

bool image_walk(struct image *image, image_visit *visit, void *arg)
{
        struct walk w = {.image = image, .visit = visit, .arg = arg};
        w.seen = calloc(1, image->last_page / 8 + 1);
        if (!w.seen)
                return no_memory(image);
        bool ok = visit_tree(&w, &image->main);
        w.of_free = true;
        ok = ok && visit_tree(&w, &image->free);
        free(w.seen);
        return ok;
}
