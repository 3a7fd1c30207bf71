/* fuzz_walk.c -- damaged pages and metas of a real store under the stub's reader: libFuzzer, ASan and UBSan.
 * The map lies between two pages that nobody may touch, and there are three of it: the root, a leaf and a
 * page of pins, in turn, are its last page, so that whoever leaves that page leaves the map.  An input is a
 * list of strokes: each damages a field of a page's header, node, list of nodes, meta, or any bytes; mended
 * afterwards. */
#include <signal.h>
#include <sys/mman.h>

#include "client/view.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/live_store.h"

#define PINS    9000
#define STROKES 16 /* of one input, at most */
#define IMAGES  3

/* Fields of a meta page. */
enum { META_ROOT = 16 + 72 + 40, META_DEPTH = 16 + 72 + 6, META_LAST_PAGE = 16 + 120, META_TXNID = 16 + 128 };

struct image {
        uint8_t *map, *good; /* and how it was */
};
static struct image image[IMAGES];
static size_t pages;
static uint8_t *map; /* of the image in hand */
static struct view view;

static const char main_name[PNR_NAME_SIZE] = "main", other_name[PNR_NAME_SIZE] = "other";

/* ---- the images ---- */

static uint16_t half_at(const uint8_t *p)
{
        uint16_t v;
        memcpy(&v, p, sizeof v);
        return v;
}

static void put_pins(struct live *live)
{
        for (uint64_t i = 0; i < PINS; i++) {
                if (i % 500 == 0)
                        LIVE_MUST(store_begin(live->store) == STORE_OK);
                struct mono now = {live_now()};
                struct pin pin = {
                    .generation = i + 1, .until_ms = now.ms + 60000, .hold_ms = i % 3 ? 0 : now.ms + 60000};
                struct pnr_slot slot = pnr_slot_of(pnr_key_of(&i, sizeof i), 0, store_spread(live->store));
                LIVE_MUST(store_merge_pin(live->store, slot, &pin, now, NULL) == STORE_OK);
                struct pnr_endpoint e = {"host=10.0.0.1 dbname=app"};
                if (i % 500 == 0)
                        LIVE_MUST(store_put_endpoint(live->store, 0, (unsigned)(i / 500), &e) == STORE_OK);
                if (i % 500 == 499)
                        LIVE_MUST(store_commit(live->store) == STORE_OK);
        }
}

/* A store of 9,000 pins, whose tree is two pages deep, as a file's bytes with room for one more page. */
static uint8_t *make_store(void)
{
        struct live live;
        char path[128];
        uint64_t last_page[2];
        live_init(&live);
        put_pins(&live);
        snprintf(path, sizeof path, "%s/data.mdb", live.dir);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        for (unsigned i = 0; i < 2; i++)
                LIVE_MUST(pread(fd, &last_page[i], 8, i * PNR_PAGE_SIZE + META_LAST_PAGE) == 8);
        pages = (last_page[0] > last_page[1] ? last_page[0] : last_page[1]) + 2;
        uint8_t *bytes = malloc(pages * PNR_PAGE_SIZE);
        LIVE_MUST(bytes && pread(fd, bytes, pages * PNR_PAGE_SIZE, 0) == (ssize_t)(pages * PNR_PAGE_SIZE));
        close(fd);
        live_fini(&live);
        return bytes;
}

static uint8_t *guarded(const uint8_t *bytes)
{
        uint8_t *room =
            mmap(NULL, (pages + 2) * PNR_PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        LIVE_MUST(room != MAP_FAILED);
        LIVE_MUST(mprotect(room + PNR_PAGE_SIZE, pages * PNR_PAGE_SIZE, PROT_READ | PROT_WRITE) == 0);
        return memcpy(room + PNR_PAGE_SIZE, bytes, pages * PNR_PAGE_SIZE);
}

static void rename_on(uint8_t *page, uint64_t from, uint64_t to)
{
        unsigned flags = half_at(page + 10), n = flags & 3 ? (half_at(page + 12) - 16u) / 2 : 0;
        for (unsigned k = 0; k < n; k++) {
                uint8_t *node = page + half_at(page + 16 + 2 * k);
                uint8_t *name = flags & 1 ? node : node + 16; /* a branch's child; a leaf's overflow page */
                if (memcmp(name, &from, 6) == 0)
                        memcpy(name, &to, 6);
        }
}

/* Moves a page of the tree to the end of the map, and whoever names it gets the new name. */
static void move_to_end(uint64_t from)
{
        uint64_t to = pages - 1;
        memcpy(map + to * PNR_PAGE_SIZE, map + from * PNR_PAGE_SIZE, PNR_PAGE_SIZE);
        memcpy(map + to * PNR_PAGE_SIZE, &to, sizeof to);
        for (size_t i = 0; i < 2; i++)
                if (memcmp(map + i * PNR_PAGE_SIZE + META_ROOT, &from, 8) == 0)
                        memcpy(map + i * PNR_PAGE_SIZE + META_ROOT, &to, 8);
        for (size_t i = 2; i < pages; i++)
                rename_on(map + i * PNR_PAGE_SIZE, from, to);
}

static uint64_t page_with(const void *at) { return (uint64_t)((const uint8_t *)at - map) / PNR_PAGE_SIZE; }

static void use(const struct image *i)
{
        map = i->map;
        view = (struct view){.walk = {.map = map, .pages = pages}};
}

static void make_image(unsigned i, const uint8_t *store)
{
        struct walk_snap snap;
        struct walk_value v;
        struct pnr_header h;
        image[i].map = guarded(store);
        use(&image[i]);
        MUST_BE(walk_snap(&view.walk, &snap) && snap.depth == 2);
        MUST_BE(walk_get(&view.walk, &snap, PNR_KEY_HEADER, &v) == WALK_FOUND);
        memcpy(&h, v.at, sizeof h);
        uint64_t leaf = page_with(v.at);
        struct pnr_spread spread = pnr_spread_of(h.seed);
        struct pnr_slot slot = pnr_slot_of(pnr_key_of(&(uint64_t){0}, sizeof(uint64_t)), 0, &spread);
        MUST_BE(walk_floor(&view.walk, &snap, slot.place, &v) == WALK_FOUND);
        move_to_end(i == 0 ? snap.root : i == 1 ? leaf : page_with(v.at));
        image[i].good = malloc(pages * PNR_PAGE_SIZE);
        LIVE_MUST(image[i].good);
        memcpy(image[i].good, map, pages * PNR_PAGE_SIZE);
}

/* ---- the damage ---- */

enum kind { META, HEADER, OFFSET, NODE, VALUE, BYTES, COPY, KINDS };

/* As it lies in the input. */
struct stroke {
        uint8_t kind, which; /* which: field or byte of a value */
        uint16_t page;
        uint16_t at; /* node, byte, or the page that is copied */
        uint8_t width;
        uint8_t value[8];
} __attribute__((packed));

/* Every other stroke falls on the last page. */
static size_t page_of(const struct stroke *s)
{
        if (s->kind % KINDS == META)
                return s->page % 2u;
        return s->page & 1 ? pages - 1 : s->page / 2u % pages;
}

/* Where on its page the stroke falls; past its end where the page is damaged already. */
static size_t place_of(const struct stroke *s, const uint8_t *page)
{
        static const uint8_t meta_field[] = {META_ROOT, META_DEPTH, META_TXNID, META_LAST_PAGE, 16, 20, 40};
        static const uint8_t header_field[] = {10, 12, 14, 0};
        static const uint8_t node_field[] = {0, 2, 4, 6, 8};
        unsigned n = (unsigned)(half_at(page + 12) - 16) / 2 % 2000;
        size_t slot = 16 + 2 * (size_t)(s->at % (n ? n : 1)), node = half_at(page + slot) % PNR_PAGE_SIZE;
        switch ((enum kind)(s->kind % KINDS)) {
        case META: return meta_field[s->which % sizeof meta_field];
        case HEADER: return header_field[s->which % sizeof header_field];
        case OFFSET: return slot;
        case NODE: return node + node_field[s->which % sizeof node_field];
        case VALUE: return node + 16 + s->which;
        case BYTES:
        case COPY:
        case KINDS: break;
        }
        return s->at % PNR_PAGE_SIZE;
}

static void strike(const struct stroke *s)
{
        uint8_t *page = map + page_of(s) * PNR_PAGE_SIZE;
        size_t place = place_of(s, page), width = s->width % 8u + 1;
        if (s->kind % KINDS == COPY)
                memmove(page, map + s->at % pages * PNR_PAGE_SIZE, PNR_PAGE_SIZE);
        else if (place + width <= PNR_PAGE_SIZE)
                memcpy(page + place, s->value, width);
}

/* ---- the reader ---- */

static void touch(const void *at, size_t size)
{
        const volatile uint8_t *p = at;
        MUST_BE(size <= PNR_PAGE_VALUE && (const uint8_t *)at >= map &&
                (const uint8_t *)at + size <= map + pages * PNR_PAGE_SIZE);
        for (size_t i = 0; i < size; i++)
                (void)p[i];
}

static void read_keys(void)
{
        static const uint64_t key[] = {0,
                                       PNR_KEY_HEADER,
                                       PNR_KEY_CLUSTER(0),
                                       PNR_KEY_CLUSTER(1),
                                       PNR_KEY_ENDPOINT(0, 17),
                                       PNR_KEY_ADMIN(0, 0),
                                       PNR_KEY_PINS,
                                       PNR_KEY_PINS + (1ull << 61),
                                       UINT64_MAX};
        struct walk_snap snap;
        struct walk_value v;
        if (!walk_snap(&view.walk, &snap))
                return;
        for (unsigned i = 0; i < sizeof key / sizeof key[0]; i++) {
                if (walk_get(&view.walk, &snap, key[i], &v) == WALK_FOUND) {
                        MUST_BE(v.key == key[i]);
                        touch(v.at, v.size);
                }
                if (walk_floor(&view.walk, &snap, key[i], &v) == WALK_FOUND)
                        touch(v.at, v.size);
        }
        (void)walk_holds(&view.walk, &snap);
}

/* A read as route.c decides it; returns whether the pin of key `number` was found. */
static bool decide(const char name[PNR_NAME_SIZE], uint64_t number)
{
        struct pnr_key key = pnr_key_of(&number, sizeof number);
        struct facts f = {.now = {live_now()}};
        struct view_at at = {.number = (unsigned)number};
        struct pnr_endpoint e;
        if (view_facts(&view, name, &key, &f, &at) != VIEW_OK)
                return false;
        struct choice c = choose(&f);
        int node = choose_next(f.cluster, c.pool, number);
        MUST_BE(node >= -1 && node < PNR_NODES_MAX);
        MUST_BE(view_node(f.cluster, "shadow-1") < PNR_NODES_MAX);
        if (node >= 0)
                (void)view_endpoint(&view, &at, (unsigned)node, &e);
        (void)view_stamp(&view, &at);
        return view_holds(&view, &at) && f.pin.generation == number + 1;
}

static unsigned read_all(void)
{
        unsigned found = 0;
        read_keys();
        for (uint64_t i = 0; i < 8; i++)
                found += decide(main_name, i * (PINS / 8));
        found += decide(main_name, PINS + 1) + decide(other_name, 0);
        (void)view_pulse(&view);
        return found;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
        (void)argc, (void)argv;
        uint8_t *store = make_store();
        for (unsigned i = 0; i < IMAGES; i++) {
                make_image(i, store);
                MUST_BE(read_all() == 8);
        }
        free(store);
        return 0;
}

/* First byte: which image.  Then strokes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct stroke s;
        const struct image *i = &image[size > 0 ? data[0] % IMAGES : 0];
        size_t n = size > 0 ? (size - 1) / sizeof s : 0;
        use(i);
        for (size_t k = 0; k < n && k < STROKES; k++) {
                memcpy(&s, data + 1 + k * sizeof s, sizeof s);
                strike(&s);
        }
        (void)walk_valid(&view.walk);
        read_all();
        for (size_t k = 0; k < n && k < STROKES; k++) {
                memcpy(&s, data + 1 + k * sizeof s, sizeof s);
                memcpy(map + page_of(&s) * PNR_PAGE_SIZE, i->good + page_of(&s) * PNR_PAGE_SIZE,
                       PNR_PAGE_SIZE);
        }
        return 0;
}
