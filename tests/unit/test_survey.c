/* test_survey.c -- what a found store file holds, and each reason not to trust it. */
#include "tests/unit/store_dir.h"

#include "daemon/pages.h"
#include "daemon/pin.h"
#include "daemon/survey.h"

TestSuite(survey, .init = make_dir, .fini = remove_dir);

static struct store *s;
static struct store_found found;

static struct survey survey(void)
{
        struct survey ret;
        struct store_want want = want_of(5000);
        int dir_fd = open(store_dir, O_PATH | O_DIRECTORY);
        free(found.cluster);
        memset(&found, 0, sizeof found);
        survey_file(&ret, dir_fd, "data.mdb", want.boot_id, want.now, &found);
        close(dir_fd);
        return ret;
}

static void begin(void)
{
        struct store_want want = want_of(5000);
        want.fresh = true;
        s = open_store(&want, NULL);
        put_state(s);
        put_pins(s, 0, 2000, 100, T0, 5000);
        MUST_OK(store_begin(s));
}

/* Commits what was begun and expects the file to be odd for this reason. */
static void expect(const char *why)
{
        MUST_OK(store_commit(s));
        store_close(&s);
        struct survey v = survey();
        cr_assert(!v.whole && strstr(v.why, why), "\"%s\" lacks \"%s\"", v.why, why);
        cr_assert(found.n_clusters == 0 && !found.cluster && !survey_reusable(&v, store_map_size(5000)));
}

Test(survey, a_whole_file_is_counted_and_its_facts_are_found)
{
        begin();
        struct pnr_token_keys keys = keys_of(9);
        MUST_OK(store_put_tokens(s, &keys));
        struct pin pin = {.generation = 7000, .until_ms = T0.ms + 9999, .hold_ms = T0.ms + 777, .cluster = 1};
        MUST_OK(store_merge_pin(s, slot_of(s, 1, 1), &pin, T0, NULL));
        MUST_OK(store_commit(s));
        struct store_count c = count_of(s);
        struct survey v = survey();
        cr_assert(v.whole && !v.refused && !v.retired && !v.copied && !v.why[0], "%s", v.why);
        cr_assert(v.pins == 2001 && v.pins == c.pins && v.pin_pages == c.pin_pages);
        cr_assert_eq(v.map_bytes, store_map_size(5000));
        cr_assert(found.max_generation == 7000 && found.cursor == 42 && found.n_clusters == 2);
        cr_assert(found.live_until[1].ms == T0.ms + 9999 && found.live_until[0].ms == T0.ms + 5000);
        cr_assert(found.hold_until[1].ms == T0.ms + 777 && found.hold_until[0].ms == 0);
        cr_assert_str_eq(found.endpoint[0][1].conninfo, "host=10.0.0.1 dbname=app");
        cr_assert_str_eq(found.endpoint[1][1].conninfo, "");
        cr_assert_eq(memcmp(&found.tokens, &keys, sizeof keys), 0);
        cr_assert(survey_reusable(&v, store_map_size(5000)) && !survey_reusable(&v, store_map_size(500000)));
        store_close(&s);
}

Test(survey, a_generation_counts_from_wherever_it_stands)
{
        begin();
        struct pnr_cluster c = cluster_of("main");
        c.floor_generation = 9001;
        MUST_OK(store_put_cluster(s, 0, &c));
        MUST_OK(store_commit(s));
        cr_assert(survey().whole && found.max_generation == 9001);
        MUST_OK(store_begin(s));
        c.open_generation = 9002;
        MUST_OK(store_put_cluster(s, 0, &c));
        MUST_OK(store_commit(s));
        cr_assert(survey().whole && found.max_generation == 9002);
        store_close(&s);
}

static void expect_bad_cluster(void (*damage)(struct pnr_cluster *))
{
        begin();
        struct pnr_cluster c = cluster_of("main");
        damage(&c);
        MUST_OK(store_put_cluster(s, 0, &c));
        expect("record of cluster 0 is damaged");
}

static void bad_name(struct pnr_cluster *c) { c->name[4] = '/'; }
static void bad_nodes(struct pnr_cluster *c) { c->n_nodes = PNR_NODES_MAX + 1; }
static void bad_length(struct pnr_cluster *c) { c->n_schedule = PNR_SCHEDULE_MAX + 1; }
static void bad_schedule(struct pnr_cluster *c) { c->schedule[0] = 2; }
static void bad_primary(struct pnr_cluster *c) { c->primary = 2; }
static void bad_node(struct pnr_cluster *c) { c->node[1].name[0] = 0; }

Test(survey, each_odd_record_is_a_reason)
{
        expect_bad_cluster(bad_name);
        expect_bad_cluster(bad_nodes);
        expect_bad_cluster(bad_length);
        expect_bad_cluster(bad_schedule);
        expect_bad_cluster(bad_primary);
        expect_bad_cluster(bad_node);

        begin();
        struct pnr_header h = header_of(s, 3);
        MUST_OK(store_put_header(s, &h));
        expect("2 records of 3 clusters");

        begin();
        struct pnr_cluster c = cluster_of("third");
        MUST_OK(store_put_cluster(s, 2, &c));
        expect("record of cluster 2 is damaged");

        begin();
        h = header_of(s, 2);
        h.state = 3;
        MUST_OK(store_put_header(s, &h));
        expect("header is damaged");

        begin();
        h = header_of(s, PNR_CLUSTERS_MAX + 1);
        MUST_OK(store_put_header(s, &h));
        expect("header is damaged");

        begin();
        h = header_of(s, 2);
        h.heartbeat_ms = T0.ms + 21;
        MUST_OK(store_put_header(s, &h));
        expect("of another time namespace: its heartbeat is 21 ms ahead");

        begin();
        h = header_of(s, 2);
        h.layout = 7;
        h.oldest_writer = PNR_LAYOUT + 1;
        MUST_OK(store_put_header(s, &h));
        expect("layout 7, this daemon writes 2");

        begin();
        h = header_of(s, 2);
        h.layout = 1;
        MUST_OK(store_put_header(s, &h));
        expect("layout 1, this daemon writes 2");

        begin();
        struct pnr_endpoint e;
        memset(&e, 'x', sizeof e);
        MUST_OK(store_put_endpoint(s, 0, 0, &e));
        expect("record 0x10000 is damaged");

        begin();
        struct pnr_token_keys keys = keys_of(9);
        keys.n = PNR_TOKEN_KEYS_MAX + 1;
        MUST_OK(store_put_tokens(s, &keys));
        expect("record of keys is damaged");

        begin();
        keys = keys_of(9);
        keys.n = 0;
        MUST_OK(store_put_tokens(s, &keys));
        expect("record of keys is damaged");
}

/* Written by `layout`, which lets `writer` take it over, with a record that this version does not know. */
static bool taken_over(uint32_t layout, uint32_t writer)
{
        begin();
        struct pnr_header h = header_of(s, 2);
        h.layout = layout;
        h.oldest_writer = writer;
        MUST_OK(store_put_header(s, &h));
        struct pnr_pins page = {.used = 1};
        MUST_OK(pages_put(s, 0x30000, &page));
        MUST_OK(store_commit(s));
        store_close(&s);
        struct survey v = survey();
        return survey_reusable(&v, store_map_size(5000)) && v.pins == 2000 && found.n_clusters == 2 &&
               found.layout == layout && found.cursor == 42 && found.admin[1][31] == 3;
}

Test(survey, an_older_layout_is_whole_and_a_newer_one_that_lets_this_daemon_take_it_over)
{
        cr_assert(taken_over(PNR_OLDEST_STORE, 0));
        cr_assert(taken_over(PNR_LAYOUT + 1, PNR_OLDEST_WRITER));
        cr_assert(taken_over(PNR_LAYOUT + 1, PNR_LAYOUT));
        cr_assert(taken_over(PNR_LAYOUT, PNR_OLDEST_WRITER), "as one that took a newer one over left it");
        cr_assert(!taken_over(PNR_LAYOUT + 1, PNR_LAYOUT + 1) && !taken_over(PNR_LAYOUT + 1, 0));
}

Test(survey, a_store_without_keys_is_whole)
{
        begin();
        MUST_OK(store_commit(s));
        cr_assert(survey().whole && found.tokens.n == 0);
        store_close(&s);
}

Test(survey, a_missing_or_damaged_page_of_pins_is_a_reason)
{
        uint64_t lo, first = PNR_KEY_PINS;
        const struct pnr_pins *page;
        begin();
        MUST_OK(pages_holding(s, UINT64_MAX, &lo, &page));
        MUST_OK(pages_drop(s, lo));
        expect("pages of pins are missing");

        begin();
        MUST_OK(pages_drop(s, first));
        expect("is damaged");

        begin();
        MUST_OK(pages_holding(s, first + (1ull << 62), &lo, &page));
        struct pnr_pins bad = *page;
        bad.used++;
        MUST_OK(pages_put(s, lo, &bad));
        expect("page of pins");
}

Test(survey, a_foreign_file_is_a_reason)
{
        begin();
        MUST_OK(store_commit(s));
        store_close(&s);
        uint32_t one = 1;
        scribble(in_dir("data.mdb"), 16, &one, sizeof one);
        struct survey v = survey();
        cr_assert(!v.whole && !v.refused && !strcmp(v.why, "not an LMDB file"), "%s", v.why);
}

/* A random byte anywhere in the pages in use: never a crash, and what is called whole serves liblmdb. */
Test(survey, damage_anywhere_is_found_or_does_no_harm, .timeout = 100)
{
        begin();
        MUST_OK(store_commit(s));
        size_t used = (size_t)count_of(s).used_bytes + 200000;
        store_close(&s);
        rename(in_dir("data.mdb"), in_dir("aside"));
        copy_file(in_dir("aside"), in_dir("data.mdb"), SIZE_MAX);
        uint8_t *good = malloc(used);
        int fd = open(in_dir("data.mdb"), O_RDWR);
        cr_assert_eq(pread(fd, good, used, 0), (ssize_t)used);
        unsigned odd = 0, rounds = 4000;
        srandom(7);
        for (unsigned i = 0; i < rounds; i++) {
                size_t page = (size_t)random() % (used / 4096), at = page * 4096;
                at += i % 2 ? (size_t)random() % 64 : (size_t)random() % 4096;
                uint8_t byte = (uint8_t)(i % 3 ? (unsigned)random() : good[at] ^ 1u << random() % 8);
                cr_assert_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
                struct survey v = survey();
                cr_assert(v.whole || v.why[0]);
                odd += !v.whole;
                cr_assert_eq(pwrite(fd, &good[at], 1, (off_t)at), 1);
        }
        cr_assert_gt(odd, rounds / 20, "%u of %u", odd, rounds);
        cr_assert(survey().whole && survey().copied);
        close(fd);
        free(good);
}
