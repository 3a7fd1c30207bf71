/* test_image.c -- an LMDB file read without liblmdb: the same records, and no damage that gets past. */
#include "tests/unit/store_dir.h"

#include "daemon/image.h"

TestSuite(image, .init = make_dir, .fini = remove_dir);

struct seen {
        uint64_t records, last, bytes, stop_at;
};

static bool count(void *arg, uint64_t key, const void *value, size_t size)
{
        struct seen *seen = arg;
        cr_assert(key > seen->last && (uintptr_t)value % 8 == 0);
        seen->last = key;
        seen->records++;
        seen->bytes += size + ((const volatile uint8_t *)value)[size - 1] * 0u;
        return seen->records != seen->stop_at;
}

static uint8_t *bytes; /* the whole file, mapped */
static size_t size;

static void make_file(uint64_t pins)
{
        struct store_want want = want_of(20000);
        struct store *s = open_store(&want, NULL);
        put_state(s);
        put_pins(s, 0, pins, 200, T0, 5000);
        store_close(&s);
        size = store_map_size(20000);
        int fd = open(in_dir("data.mdb"), O_RDONLY);
        bytes = malloc(size);
        cr_assert_eq(pread(fd, bytes, size, 0), (ssize_t)size);
        close(fd);
}

/* Walks the file with the bytes at `at` replaced, and puts them back. */
static bool walks_with(size_t at, const void *with, size_t n, char why[128])
{
        struct image image;
        struct seen seen = {0};
        scribble(in_dir("data.mdb"), (off_t)at, with, n);
        int fd = open(in_dir("data.mdb"), O_RDONLY);
        bool ok = image_open(&image, fd) && image_walk(&image, count, &seen);
        close(fd);
        scribble(in_dir("data.mdb"), (off_t)at, bytes + at, n);
        memcpy(why, image.why, 128);
        return ok;
}

static void expect(size_t at, const void *with, size_t n, const char *what)
{
        char why[128];
        cr_assert(!walks_with(at, with, n, why), "%s got past", what);
        cr_assert(strstr(why, what), "\"%s\" lacks \"%s\"", why, what);
}

static uint64_t word(size_t at)
{
        uint64_t w;
        memcpy(&w, bytes + at, sizeof w);
        return w;
}

/* The newer meta's fields. */
static size_t meta(void) { return (word(4096 + 16 + 128) > word(16 + 128) ? 4096 : 0) + 16; }
static size_t main_root(void) { return meta() + 24 + 48 + 40; }
static size_t free_root(void) { return meta() + 24 + 40; }
static size_t page_at(uint64_t number) { return (size_t)number * 4096; }

Test(image, every_record_is_visited_once_in_order)
{
        make_file(10000);
        struct image image;
        struct seen seen = {0};
        int fd = open(in_dir("data.mdb"), O_RDONLY);
        cr_assert(image_open(&image, fd), "%s", image.why);
        cr_assert_eq(image.main.depth, 2, "deep enough to mean something");
        cr_assert(image_walk(&image, count, &seen), "%s", image.why);
        cr_assert_eq(seen.records, image.main.entries);
        seen = (struct seen){.stop_at = 5};
        cr_assert(!image_walk(&image, count, &seen) && image.why[0]);
        cr_assert_eq(seen.records, 5, "a visit that returns false ends the walk");
        close(fd);
}

Test(image, a_meta_page_of_another_kind_is_refused)
{
        make_file(100);
        uint32_t magic = 0xBEEFC0DF, version = 2, page_size = 8192;
        uint16_t flags = 0;
        uint64_t huge = 1ull << 40, next = size / 4096;
        expect(16, &magic, 4, "not an LMDB file");
        expect(4096 + 16, &magic, 4, "not an LMDB file");
        expect(10, &flags, 2, "not an LMDB file");
        expect(16 + 4, &version, 4, "LMDB data version 2");
        expect(16 + 24, &page_size, 4, "pages of 8192 bytes");
        expect(16 + 24 + 4, &flags, 2, "trees of another kind");
        expect(meta() + 16, &huge, 8, "truncated");
        expect(meta() + 120, &next, 8, "last page");
}

static uint64_t node_child(size_t page, unsigned i)
{
        uint16_t offset;
        uint64_t child = 0;
        memcpy(&offset, bytes + page + 16 + 2 * i, 2);
        memcpy(&child, bytes + page + offset, 6);
        return child;
}

Test(image, a_tree_that_leads_astray_is_refused)
{
        make_file(10000);
        uint64_t root = word(main_root()), far = 1ull << 50, meta_page = 1, none = ~0ull, zero = 0;
        uint16_t deep = 40, one = 1;
        expect(main_root(), &far, 8, "page number");
        expect(main_root(), &meta_page, 8, "page number");
        expect(main_root(), &none, 8, "depth");
        expect(main_root() - 40 + 6, &deep, 2, "depth");
        expect(main_root() - 40 + 6, &one, 2, "damaged");
        expect(main_root() - 8, &zero, 8, "count of records");
        expect(free_root(), &root, 8, "in use twice");

        size_t page = page_at(root), node;
        uint16_t offset;
        memcpy(&offset, bytes + page + 16 + 2, 2); /* the root's second child */
        node = page + offset;
        uint8_t self[6];
        memcpy(self, &root, 6);
        expect(node, self, 6, "in use twice");
        expect(node + 8, &none, 8, "order of keys");
        expect(node + 8, &zero, 8, "order of keys");
        uint16_t wide = 4095, odd = offset | 1, low = 20, key9 = 9;
        expect(page + 18, &wide, 2, "node outside");
        expect(page + 18, &odd, 2, "node outside");
        expect(page + 18, &low, 2, "node outside");
        expect(node + 6, &wide, 2, "key outside");
        expect(node + 6, &key9, 2, "size of a key");
        uint64_t leaf = node_child(page_at(root), 0);
        uint16_t lower;
        memcpy(&lower, bytes + page_at(leaf) + 12, 2);
        memcpy(&offset, bytes + page_at(leaf) + lower - 2, 2);
        expect(page_at(leaf) + offset + 8, &none, 8, "order of keys");
        expect(page, &far, 8, "is damaged");
        expect(page + 12, &wide, 2, "is damaged");
        uint16_t upper;
        memcpy(&upper, bytes + page + 14, 2);
        upper = (uint16_t)(upper - 2);
        expect(page + 14, &upper, 2, "overlap");
}

Test(image, a_list_of_free_pages_that_names_a_live_one_is_refused)
{
        make_file(10000);
        uint64_t root = word(main_root()), leaf = word(free_root()), huge = 1u << 20;
        size_t page = page_at(leaf);
        uint16_t offset;
        memcpy(&offset, bytes + page + 16, 2);
        size_t list = page + offset + 8 + 8;
        cr_assert_gt(word(list), 0, "there are free pages");
        expect(list + 8, &root, 8, "in use twice");
        expect(list, &huge, 8, "longer than its record");
}

Test(image, a_file_cut_anywhere_is_refused_without_a_signal)
{
        make_file(1000);
        for (size_t cut = 0; cut < size; cut = cut * 2 + 1) {
                copy_file(in_dir("data.mdb"), in_dir("copy"), cut);
                struct image image;
                int fd = open(in_dir("copy"), O_RDONLY);
                cr_assert(!image_open(&image, fd) && image.why[0]);
                close(fd);
        }
}
