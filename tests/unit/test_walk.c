/* test_walk.c -- the reader of LMDB pages against LMDB itself, and against damage. */
#include "client/walk.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/store.h"

#define MAP_SIZE  ((size_t)32 << 20)
#define MDB(call) cr_assert_eq((call), 0, #call)

static char dir[64];
static MDB_env *env;
static struct walk walk;

static char *path_of(const char *name)
{
        static char path[128];
        snprintf(path, sizeof path, "%s/%s", dir, name);
        return path;
}

static void setup(void)
{
        strcpy(dir, "/dev/shm/pnr-walk-XXXXXX");
        cr_assert_not_null(mkdtemp(dir));
        MDB(mdb_env_create(&env));
        MDB(mdb_env_set_mapsize(env, MAP_SIZE));
        MDB(mdb_env_open(env, dir, MDB_NOSYNC, 0600));
        cr_assert_eq(truncate(path_of("data.mdb"), (off_t)MAP_SIZE), 0);
        int fd = open(path_of("data.mdb"), O_RDONLY);
        void *map = mmap(NULL, MAP_SIZE, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
        cr_assert_neq(map, MAP_FAILED);
        walk = (struct walk){map, MAP_SIZE / PNR_PAGE_SIZE};
}

static void teardown(void)
{
        munmap((void *)(uintptr_t)walk.map, MAP_SIZE);
        mdb_env_close(env);
        unlink(path_of("data.mdb"));
        unlink(path_of("lock.mdb"));
        rmdir(dir);
}

TestSuite(walk, .init = setup, .fini = teardown);

static uint64_t random_of(uint64_t i)
{
        i = (i + 1) * 0x9e3779b97f4a7c15ull;
        i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9ull;
        i = (i ^ i >> 27) * 0x94d049bb133111ebull;
        return i ^ i >> 31;
}

/* Every third value is a page; each begins with its key. */
static size_t size_of(uint64_t key) { return key % 3 == 0 ? PNR_PAGE_VALUE : 8 + key % 600; }

static void change(const uint64_t *keys, size_t n, bool put)
{
        static uint64_t value[PNR_PAGE_VALUE / 8];
        MDB_txn *txn;
        MDB_dbi dbi;
        MDB(mdb_txn_begin(env, NULL, 0, &txn));
        MDB(mdb_dbi_open(txn, NULL, 0, &dbi));
        for (size_t i = 0; i < n; i++) {
                uint64_t be = __builtin_bswap64(keys[i]);
                MDB_val k = {8, &be}, v = {size_of(keys[i]), value};
                value[0] = keys[i];
                MDB(put ? mdb_put(txn, dbi, &k, &v, 0) : mdb_del(txn, dbi, &k, NULL));
        }
        MDB(mdb_txn_commit(txn));
}

static struct walk_snap snap(void)
{
        struct walk_snap s;
        cr_assert(walk_snap(&walk, &s));
        return s;
}

static int by_number(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
        return (x > y) - (x < y);
}

static void expect_value(const struct walk_value *v, uint64_t key)
{
        uint64_t first;
        memcpy(&first, v->at, sizeof first);
        cr_assert_eq(v->key, key);
        cr_assert_eq(first, key);
        cr_assert_eq(v->size, size_of(key));
}

static struct walk_root top;

/* Floor and exact look-up at, just below and just above each of n ascending keys; from the root's copy, where there is
 * one. */
static void expect_keys_of(struct walk_snap s, const uint64_t *keys, size_t n)
{
        struct walk_value v;
        cr_expect_eq(walk_floor(&walk, &s, 0, &v), WALK_ABSENT);
        for (size_t i = 0; i < n; i++) {
                cr_assert_eq(walk_get(&walk, &s, keys[i], &v), WALK_FOUND, "key %zu of %zu", i, n);
                expect_value(&v, keys[i]);
                cr_assert_eq(walk_get(&walk, &s, keys[i] + 1, &v), WALK_ABSENT);
                cr_assert_eq(walk_floor(&walk, &s, keys[i] + 1, &v), WALK_FOUND);
                expect_value(&v, keys[i]);
                int below = walk_floor(&walk, &s, keys[i] - 1, &v);
                cr_assert_eq(below, i == 0 ? WALK_ABSENT : WALK_FOUND, "below key %zu of %zu", i, n);
                if (i > 0)
                        expect_value(&v, keys[i - 1]);
        }
        cr_expect(walk_holds(&walk, &s));
}

static void expect_keys(const uint64_t *keys, size_t n)
{
        struct walk_snap s = snap();
        expect_keys_of(s, keys, n);
        walk_root_put(&top, &walk, &s);
        walk_root_use(&top, &walk, &s);
        cr_expect_eq(s.top != NULL, s.depth > 1);
        expect_keys_of(s, keys, n);
}

static uint64_t *random_keys(size_t n)
{
        uint64_t *keys = calloc(n + 1, sizeof *keys);
        for (size_t i = 0; i < n; i++)
                keys[i] = random_of(i) & ~1ull; /* even: key+1 and key-1 are absent */
        return keys;
}

static void play(size_t n)
{
        /* deletes leave leaves that begin above their separators */
        uint64_t *keys = random_keys(n);
        change(keys, n, true);
        qsort(keys, n, sizeof *keys, by_number);
        expect_keys(keys, n);
        for (size_t kept = n, n_left = 0; kept > 4; kept = n_left) {
                uint64_t *gone = calloc(kept, sizeof *gone), *left = calloc(kept, sizeof *left);
                size_t n_gone = 0;
                n_left = 0;
                for (size_t i = 0; i < kept; i++)
                        if (random_of(i + kept) % 2)
                                gone[n_gone++] = keys[i];
                        else
                                left[n_left++] = keys[i];
                change(gone, n_gone, false);
                memcpy(keys, left, n_left * sizeof *keys);
                expect_keys(keys, n_left);
                free(gone);
                free(left);
        }
        free(keys);
}

Test(walk, an_empty_tree_has_no_key)
{
        struct walk_snap s;
        struct walk_value v;
        cr_expect(walk_valid(&walk));
        cr_expect_not(walk_snap(&walk, &s), "nothing was ever committed");
        uint64_t key = 2;
        change(&key, 1, true);
        change(&key, 1, false);
        s = snap();
        cr_expect_eq(walk_floor(&walk, &s, UINT64_MAX, &v), WALK_ABSENT);
        cr_expect_eq(walk_get(&walk, &s, 2, &v), WALK_ABSENT);
}

Test(walk, one_leaf_answers_as_lmdb_does) { play(5); }
Test(walk, two_levels_answer_as_lmdb_does) { play(300); }
Test(walk, three_levels_answer_as_lmdb_does) { play(5000); }

Test(walk, crowded_and_lonely_keys_are_found_though_the_guess_is_far_off)
{
        static uint64_t keys[3000];
        for (uint64_t i = 0; i < 3000; i++)
                keys[i] = i < 1500 ? 0x100 + 2 * i : i < 2999 ? (1ull << 63) + (i << 33) : UINT64_MAX - 1;
        change(keys, 3000, true);
        expect_keys(keys, 3000);
}

Test(walk, a_snapshot_holds_over_one_commit_and_not_over_two)
{
        uint64_t keys[] = {2, 4, 6, 8};
        change(keys, 1, true);
        struct walk_snap s = snap();
        cr_expect(walk_holds(&walk, &s));
        change(keys + 1, 1, true);
        cr_expect(walk_holds(&walk, &s));
        change(keys + 2, 1, true);
        cr_expect_not(walk_holds(&walk, &s));
        cr_expect_eq(walk_newest(&walk), 3);
}

Test(walk, a_snapshot_does_not_hold_on_a_map_of_zeros)
{
        uint64_t key = 2;
        change(&key, 1, true);
        struct walk_snap s = snap();
        void *zeros = mmap((void *)(uintptr_t)walk.map, MAP_SIZE, PROT_READ,
                           MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        cr_assert_eq(zeros, walk.map);
        struct walk_value v;
        cr_expect_eq(walk_get(&walk, &s, 2, &v), WALK_BAD);
        cr_expect_not(walk_holds(&walk, &s));
        cr_expect_not(walk_snap(&walk, &s));
        cr_expect_not(walk_valid(&walk));
}

/* A private copy of the first pages, with a page that cannot be read behind them. */
static uint8_t *copy_of(size_t pages)
{
        size_t size = pages * PNR_PAGE_SIZE;
        uint8_t *copy =
            mmap(NULL, size + PNR_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(copy, MAP_FAILED);
        memcpy(copy, walk.map, size);
        mprotect(copy + size, PNR_PAGE_SIZE, PROT_NONE);
        return copy;
}

static bool valid_with(size_t meta_offset, uint32_t value)
{
        uint8_t *copy = copy_of(2);
        uint64_t map_size = 2 * PNR_PAGE_SIZE;
        for (int i = 0; i < 2; i++)
                memcpy(copy + i * PNR_PAGE_SIZE + 16 + 16, &map_size, sizeof map_size);
        struct walk w = {copy, 2};
        cr_assert(walk_valid(&w));
        memcpy(copy + PNR_PAGE_SIZE + 16 + meta_offset, &value, sizeof value);
        bool valid = walk_valid(&w);
        munmap(copy, 3 * PNR_PAGE_SIZE);
        return valid;
}

Test(walk, another_magic_version_page_size_or_kind_of_tree_is_refused)
{
        cr_expect_not(valid_with(0, 0xBEEFC0DF));
        cr_expect_not(valid_with(4, 2));
        cr_expect_not(valid_with(24, 8192));
        cr_expect_not(valid_with(72 + 4, 4)); /* MDB_DUPSORT */
        cr_expect_not(valid_with(16, 3 * PNR_PAGE_SIZE), "a file that is shorter than its map");
        struct walk one = {walk.map, 1}, none = {walk.map, 0};
        cr_expect_not(walk_valid(&one) || walk_valid(&none));
}

Test(walk, a_snapshot_holds_only_while_its_meta_page_says_the_same)
{
        uint64_t keys[] = {2, 4};
        change(keys, 1, true);
        change(keys + 1, 1, true);
        uint8_t *copy = copy_of(8), *meta = copy + snap().meta * PNR_PAGE_SIZE + 16;
        struct walk w = {copy, 8};
        struct walk_snap s;
        uint64_t zero = 0;
        cr_assert(walk_snap(&w, &s) && walk_holds(&w, &s));
        meta[72 + 40] ^= 1; /* root */
        cr_expect_not(walk_holds(&w, &s));
        meta[72 + 40] ^= 1;
        meta[72 + 6] ^= 1; /* depth */
        cr_expect_not(walk_holds(&w, &s));
        meta[72 + 6] ^= 1;
        memcpy(meta + 128, &zero, sizeof zero);
        cr_expect_not(walk_holds(&w, &s), "an older transaction than the snapshot's is the newest");
        munmap(copy, 9 * PNR_PAGE_SIZE);
}

/* The greatest key that there is looks like what stands beyond the last of the copy. */
Test(walk, the_greatest_key_is_found_from_the_roots_copy)
{
        uint64_t *keys = random_keys(400);
        change(keys, 400, true);
        qsort(keys, 400, sizeof *keys, by_number);
        struct walk_snap s = snap();
        struct walk_value v;
        walk_root_put(&top, &walk, &s);
        walk_root_use(&top, &walk, &s);
        cr_assert_not_null(s.top);
        cr_assert_eq(walk_floor(&walk, &s, UINT64_MAX, &v), WALK_FOUND);
        expect_value(&v, keys[399]);
        free(keys);
}

Test(walk, a_copy_of_the_root_serves_its_own_snapshot_of_its_own_map_only)
{
        uint64_t *keys = random_keys(300), one = 2;
        change(keys, 300, true);
        struct walk_snap s = snap(), later;
        struct walk elsewhere = {walk.map + PNR_PAGE_SIZE, walk.pages - 1};
        walk_root_put(&top, &walk, &s);
        walk_root_use(&top, &elsewhere, &s);
        cr_expect_null(s.top, "a replaced store counts its transactions from 1 again");
        walk_root_use(&top, &walk, &s);
        cr_expect_not_null(s.top);
        change(&one, 1, true);
        later = snap();
        walk_root_use(&top, &walk, &later);
        cr_expect_null(later.top);
        cr_expect(walk_holds(&walk, &s));
        walk_root_put(&top, &walk, &later);
        cr_expect_not(walk_holds(&walk, &s), "another root was laid out there meanwhile");
        free(keys);
}

Test(walk, a_copy_that_is_being_written_is_not_used_and_not_written_to)
{
        uint64_t *keys = random_keys(300);
        change(keys, 300, true);
        struct walk_snap s = snap();
        top.sequence.n = 1;
        walk_root_put(&top, &walk, &s);
        cr_expect_eq(top.id, 0);
        walk_root_use(&top, &walk, &s);
        cr_expect_null(s.top);
        free(keys);
}

/* A thread that is stopped between two loads sees a mixture of two roots: any words. */
Test(walk, any_words_in_the_roots_copy_are_walked_without_a_crash)
{
        uint64_t *keys = random_keys(300), *word = (uint64_t *)&top;
        change(keys, 300, true);
        struct walk_snap s = snap();
        for (uint64_t round = 0; round < 20000; round++) {
                struct walk_value v;
                for (size_t i = 0; i < sizeof top / sizeof *word; i++)
                        word[i] = random_of(round * 1000 + i) >> (round % 4) * 16;
                s.top = &top;
                int st = walk_floor(&walk, &s, random_of(round), &v);
                cr_assert(st == WALK_FOUND || st == WALK_ABSENT || st == WALK_BAD);
        }
        free(keys);
}

/* Any damage: an answer, right or wrong, and never a step out of the map.  The sanitizers and the page behind
 * the map watch. */
Test(walk, damaged_pages_are_walked_without_a_crash)
{
        enum { ROUNDS = 60000 };
        uint64_t *keys = random_keys(100);
        MDB_envinfo info;
        change(keys, 100, true);
        mdb_env_info(env, &info);
        size_t pages = info.me_last_pgno + 1;
        uint8_t *copy = copy_of(pages);
        struct walk w = {copy, pages};
        unsigned bad = 0, found = 0;
        for (uint64_t round = 0; round < ROUNDS; round++) {
                struct walk_snap s;
                struct walk_value v;
                uint64_t page = round % 2 ? 2 + random_of(round) % (pages - 2) : snap().root;
                uint8_t *at =
                    copy + page * PNR_PAGE_SIZE + random_of(round + 1) % (round % 3 ? 64 : PNR_PAGE_SIZE - 8);
                if (round % 7 == 0)
                        at = copy + random_of(round + 2) % (2 * PNR_PAGE_SIZE - 8);
                uint8_t was[8];
                uint64_t noise = random_of(round + 3) & (round % 2 ? UINT64_MAX : 0xffff);
                memcpy(was, at, 8);
                memcpy(at, &noise, 8);
                walk_valid(&w);
                if (walk_snap(&w, &s))
                        for (int i = 0; i < 8; i++) {
                                int st = walk_floor(&w, &s, random_of(random_of(round) % 150), &v);
                                bad += st == WALK_BAD;
                                if (st != WALK_FOUND)
                                        continue;
                                found++;
                                size_t from = (size_t)((const uint8_t *)v.at - copy);
                                cr_assert(from < pages * PNR_PAGE_SIZE);
                                cr_assert(from % PNR_PAGE_SIZE + v.size <= PNR_PAGE_SIZE, "out of its page");
                        }
                memcpy(at, was, 8);
        }
        cr_expect(bad > ROUNDS / 100 && found > ROUNDS, "bad %u, found %u", bad, found);
        munmap(copy, (pages + 1) * PNR_PAGE_SIZE);
        free(keys);
}

Test(walk, a_value_that_claims_more_than_its_page_is_refused)
{
        uint64_t keys[] = {4, 6}; /* in the leaf, and on a page of its own */
        change(keys, 2, true);
        uint8_t *copy = copy_of(8);
        struct walk w = {copy, 8};
        struct walk_snap s;
        struct walk_value v;
        cr_assert(walk_snap(&w, &s));
        for (unsigned i = 0; i < 2; i++) {
                uint8_t *leaf = copy + s.root * PNR_PAGE_SIZE;
                uint16_t offset, size;
                memcpy(&offset, leaf + 16 + 2 * i, sizeof offset);
                cr_assert_eq(walk_get(&w, &s, keys[i], &v), WALK_FOUND);
                size = i == 0 ? (uint16_t)(PNR_PAGE_SIZE - offset - 16) : PNR_PAGE_VALUE;
                memcpy(leaf + offset, &size, sizeof size);
                cr_expect_eq(walk_get(&w, &s, keys[i], &v), WALK_FOUND, "as much as there is");
                size++;
                memcpy(leaf + offset, &size, sizeof size);
                cr_expect_eq(walk_get(&w, &s, keys[i], &v), WALK_BAD, "one byte more");
        }
        munmap(copy, 9 * PNR_PAGE_SIZE);
}

Test(walk, a_tree_that_leads_into_itself_ends)
{
        uint64_t *keys = random_keys(300);
        change(keys, 300, true);
        uint8_t *copy = copy_of(512);
        struct walk w = {copy, 512};
        struct walk_snap s;
        struct walk_value v;
        cr_assert(walk_snap(&w, &s) && s.depth >= 2);
        uint16_t offset;
        memcpy(&offset, copy + s.root * PNR_PAGE_SIZE + 16, sizeof offset);
        uint32_t root = (uint32_t)s.root;
        memcpy(copy + s.root * PNR_PAGE_SIZE + offset, &root, sizeof root);
        cr_expect_eq(walk_floor(&w, &s, 1, &v), WALK_BAD);
        s.depth = 32;
        cr_expect_eq(walk_floor(&w, &s, 1, &v), WALK_BAD);
        munmap(copy, 513 * PNR_PAGE_SIZE);
        free(keys);
}
