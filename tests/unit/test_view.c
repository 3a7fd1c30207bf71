/* test_view.c -- which files are taken for a store, and what is read from one. */
#include "client/view.h"

#include <criterion/criterion.h>
#include <sys/mman.h>

#include "daemon/pages.h"
#include "tests/unit/live_store.h"

static struct live live;

static void setup(void) { live_init(&live); }
static void teardown(void) { live_fini(&live); }

TestSuite(view, .init = setup, .fini = teardown);

static char *data_path(void)
{
        static char path[128];
        snprintf(path, sizeof path, "%s/data.mdb", live.dir);
        return path;
}

static int open_status(void)
{
        struct view *v;
        int status = view_open(&v, live.dir);
        cr_expect_eq(v != NULL, status == PINROUTE_OK);
        view_close(&v);
        return status;
}

static int header_status(const struct pnr_header *h)
{
        struct pnr_header was = live.header;
        live.header = *h;
        live_commit(&live);
        int status = open_status();
        live.header = was;
        live_commit(&live);
        return status;
}

/* Changes a byte in every copy of the header that lies in the file: the store itself would refuse to write
 * it. */
static int damaged_status(size_t offset)
{
        int fd = open(data_path(), O_RDWR);
        struct stat st;
        fstat(fd, &st);
        uint8_t *map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        for (off_t at = 0; at + (off_t)sizeof live.header <= st.st_size; at += 2)
                if (memcmp(map + at, &live.header, sizeof live.header) == 0)
                        map[at + (off_t)offset] ^= 1;
        munmap(map, (size_t)st.st_size);
        int status = open_status();
        live_commit(&live);
        return status;
}

Test(view, a_live_store_of_this_boot_and_layout_is_taken_and_others_are_refused)
{
        struct pnr_header h = live.header;
        cr_expect_eq(open_status(), PINROUTE_OK);
        h.layout = PNR_LAYOUT + 1;
        cr_expect_eq(header_status(&h), PINROUTE_OK, "a later layout that this reader may read");
        h.oldest_reader = PNR_LAYOUT + 1;
        cr_expect_eq(header_status(&h), PINROUTE_E_STORE, "a later layout");
        h.layout = h.oldest_reader = PNR_OLDEST_STORE;
        cr_expect_eq(header_status(&h), PINROUTE_OK, "an older layout that this reader knows");
        h.layout = h.oldest_reader = PNR_OLDEST_STORE - 1;
        cr_expect_eq(header_status(&h), PINROUTE_E_STORE, "one that it does not know");
        cr_expect_eq(damaged_status(offsetof(struct pnr_header, magic)), PINROUTE_E_STORE, "another magic");
        h = live.header, h.boot_id[15] ^= 1;
        cr_expect_eq(header_status(&h), PINROUTE_E_STORE, "another boot");
        cr_expect_eq(damaged_status(offsetof(struct pnr_header, file_ino)), PINROUTE_E_STORE, "a copy");
        h = live.header, h.state = PNR_RETIRED;
        cr_expect_eq(header_status(&h), PINROUTE_E_STORE, "retired");
        h.state = 0;
        cr_expect_eq(header_status(&h), PINROUTE_E_STORE, "no state");
        cr_expect_eq(open_status(), PINROUTE_OK);
}

Test(view, a_file_that_others_may_write_a_link_a_pipe_and_nothing_are_refused)
{
        char aside[160];
        snprintf(aside, sizeof aside, "%s-aside", live.dir);
        chmod(data_path(), 0660);
        cr_expect_eq(open_status(), PINROUTE_E_STORE);
        chmod(data_path(), 0642);
        cr_expect_eq(open_status(), PINROUTE_E_STORE);
        chmod(data_path(), 0640);
        cr_expect_eq(open_status(), PINROUTE_OK);
        rename(data_path(), aside);
        cr_expect_eq(open_status(), PINROUTE_E_STORE);
        cr_assert_eq(symlink(aside, data_path()), 0);
        cr_expect_eq(open_status(), PINROUTE_E_STORE);
        unlink(data_path());
        cr_assert_eq(mkfifo(data_path(), 0600), 0);
        cr_expect_eq(open_status(), PINROUTE_E_STORE);
        rename(aside, data_path());
        cr_expect_eq(open_status(), PINROUTE_OK);
        struct view *v;
        cr_expect_eq(view_open(&v, "/nonexistent"), PINROUTE_E_STORE);
        cr_expect_null(v);
}

Test(view, a_copy_and_a_truncated_copy_are_refused)
{
        char command[400];
        static const char *const cut[] = {"", " && truncate -s -4096 %s", " && truncate -s 8192 %s",
                                          " && truncate -s 5000 %s", " && truncate -s 0 %s"};
        for (unsigned i = 0; i < sizeof cut / sizeof *cut; i++) {
                int n = snprintf(command, sizeof command, "cd %s && cp -p data.mdb copy", live.dir);
                snprintf(command + n, sizeof command - (size_t)n, cut[i], "copy");
                strcat(command, " && mv copy data.mdb");
                cr_assert_eq(system(command), 0);
                cr_expect_eq(open_status(), PINROUTE_E_STORE, "%s", command);
        }
}

static int facts_of(struct view *v, const char *cluster, const char *key, struct facts *f, struct view_at *at)
{
        char name[PNR_NAME_SIZE] = {0};
        struct pnr_key k = key ? pnr_key_of(key, strlen(key)) : (struct pnr_key){0};
        strcpy(name, cluster);
        *f = (struct facts){.now = {live_now()}};
        int st = view_facts(v, name, key ? &k : NULL, f, at);
        cr_assert(st == VIEW_AGAIN || view_holds(v, at));
        return st;
}

Test(view, facts_are_the_headers_the_clusters_and_the_pins)
{
        struct view *v;
        struct facts f;
        struct view_at at = {.number = 9};
        live_pin(&live, "writer", 6, 8, 60000, 5000);
        cr_assert_eq(view_open(&v, live.dir), PINROUTE_OK);
        cr_assert_eq(facts_of(v, "main", "writer", &f, &at), VIEW_OK);
        cr_expect_eq(at.number, 0);
        cr_expect_eq(at.epoch, 77);
        cr_expect_eq(at.heartbeat_ms, live.header.heartbeat_ms);
        cr_expect(f.age_ms >= 0 && f.age_ms < 60000);
        cr_expect_eq(f.stale_after_ms, 1000);
        cr_expect_eq(f.stale_limit_ms, 60000);
        cr_expect(f.keyed);
        cr_expect_eq(f.pin.generation, 8);
        cr_expect(f.pin.until_ms > f.now.ms + 50000 && f.pin.hold_ms > f.now.ms);
        cr_expect_eq(f.cluster->pin_ms, 15000);
        cr_assert_eq(facts_of(v, "main", "nobody", &f, &at), VIEW_OK);
        cr_expect_eq(f.pin.until_ms, 0);
        cr_assert_eq(facts_of(v, "other", "writer", &f, &at), VIEW_OK);
        cr_expect_eq(f.pin.until_ms, 0, "another cluster's");
        cr_expect_eq(at.number, 1);
        cr_expect_eq(facts_of(v, "absent", NULL, &f, &at), VIEW_NO_CLUSTER);
        cr_expect_eq(view_pulse(v).epoch, 77);
        cr_expect_eq(view_pulse(v).heartbeat_ms, live.header.heartbeat_ms);
        cr_expect_eq(view_pulse(NULL).epoch, 0);
        view_close(&v);
}

/* The process may have been stopped in between: pins that came meanwhile are in another file. */
Test(view, what_was_read_before_the_store_was_retired_does_not_hold_afterwards)
{
        struct view *v;
        struct facts f;
        struct view_at at;
        cr_assert_eq(view_open(&v, live.dir), PINROUTE_OK);
        cr_expect_eq(facts_of(v, "main", "k", &f, &at), VIEW_OK);
        cr_expect_lt(f.age_ms, f.stale_after_ms);
        cr_assert_eq(store_retire(live.store), STORE_OK);
        cr_expect(!view_holds(v, &at));
        cr_expect_eq(facts_of(v, "main", "k", &f, &at), VIEW_OK);
        cr_expect_geq(f.age_ms, f.stale_after_ms);
        view_close(&v);
}

Test(view, a_cluster_is_known_by_its_name_wherever_it_is_and_not_when_removed)
{
        struct view *v;
        struct facts f;
        struct view_at at = {0};
        cr_assert_eq(view_open(&v, live.dir), PINROUTE_OK);
        cr_assert_eq(facts_of(v, "main", NULL, &f, &at), VIEW_OK);
        at.number = 1;
        cr_assert_eq(facts_of(v, "main", NULL, &f, &at), VIEW_OK, "a wrong guess");
        cr_expect_eq(at.number, 0);
        struct pnr_cluster swap = live.cluster[0];
        live.cluster[0] = live.cluster[1];
        live.cluster[1] = swap;
        live_commit(&live);
        cr_assert_eq(facts_of(v, "main", NULL, &f, &at), VIEW_OK);
        cr_expect_eq(at.number, 1);
        cr_expect_eq(f.cluster->pin_ms, 15000);
        live.cluster[1].flags = PNR_CLUSTER_REMOVED;
        live_commit(&live);
        cr_expect_eq(facts_of(v, "main", NULL, &f, &at), VIEW_NO_CLUSTER);
        live.cluster[1].flags = 0;
        live.header.n_clusters = 1;
        live_commit(&live);
        cr_expect_eq(facts_of(v, "main", NULL, &f, &at), VIEW_NO_CLUSTER);
        view_close(&v);
}

Test(view, a_heartbeat_in_either_direction_has_an_age_and_none_is_the_oldest)
{
        struct view *v;
        struct facts f;
        struct view_at at = {0};
        cr_assert_eq(view_open(&v, live.dir), PINROUTE_OK);
        live_beat(&live, -5000);
        facts_of(v, "main", NULL, &f, &at);
        cr_expect(f.age_ms >= 5000 && f.age_ms < 50000);
        live_beat(&live, 100000);
        facts_of(v, "main", NULL, &f, &at);
        cr_expect(f.age_ms > 50000 && f.age_ms <= 100000);
        live.header.heartbeat_ms = 0;
        live_commit(&live);
        facts_of(v, "main", NULL, &f, &at);
        cr_expect_eq(f.age_ms, INT64_MAX);
        view_close(&v);
}

Test(view, each_of_thousands_of_pins_is_found_and_no_other)
{
        struct view *v;
        struct facts f;
        struct view_at at = {0};
        char key[32];
        live.header.stale_after_ms = 60000;
        cr_assert_eq(view_open(&v, live.dir), PINROUTE_OK);
        for (uint64_t i = 1; i <= 3000; i++) {
                int n = snprintf(key, sizeof key, "session-%lu", (unsigned long)i);
                live_pin(&live, key, (size_t)n, i, 600000, 0);
        }
        for (uint64_t i = 1; i <= 6000; i++) {
                snprintf(key, sizeof key, "session-%lu", (unsigned long)i);
                cr_assert_eq(facts_of(v, "main", key, &f, &at), VIEW_OK);
                cr_assert_eq(f.pin.generation, i <= 3000 ? i : 0, "%s", key);
        }
        view_close(&v);
}

Test(view, a_view_knows_whether_its_file_is_still_linked_and_can_be_blanked_in_place)
{
        struct view *v;
        struct facts f;
        struct view_at at = {0}, before;
        cr_assert_eq(view_open(&v, live.dir), PINROUTE_OK);
        cr_expect(view_is_linked(v, live.dir));
        facts_of(v, "main", NULL, &f, &before);
        store_close(&live.store);
        live_open(&live);
        cr_expect_not(view_is_linked(v, live.dir));
        cr_expect_not(view_is_linked(v, "/nonexistent"));
        view_blank(v);
        cr_expect_not(view_holds(v, &before));
        cr_expect_eq(facts_of(v, "main", NULL, &f, &at), VIEW_AGAIN);
        cr_expect_eq(view_pulse(v).epoch, 0);
        view_close(&v);
}

Test(view, nodes_have_numbers_and_endpoints)
{
        struct view *v;
        struct facts f;
        struct view_at at = {0};
        struct pnr_endpoint e = {"host=10.0.0.1 dbname=app"}, got;
        LIVE_MUST(store_begin(live.store) == STORE_OK);
        LIVE_MUST(store_put_endpoint(live.store, 0, 2, &e) == STORE_OK);
        LIVE_MUST(store_commit(live.store) == STORE_OK);
        cr_assert_eq(view_open(&v, live.dir), PINROUTE_OK);
        cr_assert_eq(facts_of(v, "main", NULL, &f, &at), VIEW_OK);
        cr_expect_eq(view_node(f.cluster, "shadow-2"), 2);
        cr_expect_eq(view_node(f.cluster, "shadow"), -1);
        cr_expect_eq(view_node(f.cluster, ""), -1);
        cr_expect_eq(view_endpoint(v, &at, 2, &got), VIEW_OK);
        cr_expect_str_eq(got.conninfo, e.conninfo);
        cr_expect_neq(view_endpoint(v, &at, 1, &got), VIEW_OK);
        view_close(&v);
}

Test(view, a_pins_stamp_is_the_keys_that_was_asked_for)
{
        struct view *v;
        struct facts f;
        struct view_at at = {0};
        live_pin_stamped(&live, "writer", 6, 8, 60000, 0, 0x123456789abcdef0);
        live_pin(&live, "other", 5, 8, 60000, 0);
        cr_assert_eq(view_open(&v, live.dir), PINROUTE_OK);
        cr_assert_eq(facts_of(v, "main", "writer", &f, &at), VIEW_OK);
        cr_expect_eq(view_stamp(v, &at), 0x123456789abcdef0);
        cr_assert_eq(facts_of(v, "main", "other", &f, &at), VIEW_OK);
        cr_expect_eq(view_stamp(v, &at), 0);
        cr_assert_eq(facts_of(v, "main", "nobody", &f, &at), VIEW_OK);
        cr_expect_eq(view_stamp(v, &at), 0);
        view_close(&v);
}

/* A slot whose home is the last group; those of one page. */
static struct pnr_slot crowded(uint64_t n)
{
        return (struct pnr_slot){.place = PNR_KEY_PINS + (n << 40), .tag = UINT32_MAX};
}

static void pin_crowded(uint64_t n, struct mono now)
{
        struct pin pin = {.generation = n + 1,
                          .until_ms = now.ms + 1000 + (int64_t)n,
                          .hold_ms = n % 2 ? 0 : now.ms + 500 + (int64_t)n,
                          .stamp = n + 7};
        LIVE_MUST(store_merge_pin(live.store, crowded(n), &pin, now, NULL) == STORE_OK);
}

Test(view, pins_of_one_tag_that_go_round_the_page_are_found_each_and_no_other)
{
        struct view *v;
        struct facts f;
        struct view_at at = {0};
        struct need need;
        const struct mono now = {live_now()};
        const uint64_t n = 50;
        cr_assert_eq(view_open(&v, live.dir), PINROUTE_OK);
        cr_assert_eq(facts_of(v, "main", NULL, &f, &at), VIEW_OK);
        cr_expect_eq(view_pin(v, &at.snap, crowded(0), &need), WALK_ABSENT, "no page");
        LIVE_MUST(store_begin(live.store) == STORE_OK);
        for (uint64_t i = 0; i < n; i++)
                pin_crowded(i, now);
        LIVE_MUST(store_commit(live.store) == STORE_OK);
        cr_assert_eq(facts_of(v, "main", NULL, &f, &at), VIEW_OK);
        for (uint64_t i = 0; i < 2 * n; i++) {
                at.slot = crowded(i);
                cr_assert_eq(view_pin(v, &at.snap, at.slot, &need), WALK_FOUND);
                cr_expect_eq(need.generation, i < n ? i + 1 : 0);
                cr_expect_eq(need.until_ms, i < n ? now.ms + 1000 + (int64_t)i : 0);
                cr_expect_eq(need.hold_ms, i < n && i % 2 == 0 ? now.ms + 500 + (int64_t)i : 0);
                cr_expect_eq(view_stamp(v, &at), i < n ? i + 7 : 0);
                at.slot.tag -= 1 + (uint32_t)i;
                view_pin(v, &at.snap, at.slot, &need);
                cr_expect_eq(need.generation, 0, "the place alone is not the pin");
        }
        view_close(&v);
}

Test(view, a_page_that_leads_nowhere_or_is_no_page_ends_the_search)
{
        struct view *v;
        struct facts f;
        struct view_at at = {.slot = crowded(1)};
        struct need need;
        struct pnr_pins page = {.base_ms = INT64_MAX};
        memset(page.filter, 0xff, sizeof page.filter);
        for (unsigned g = 0; g < PNR_GROUPS; g++)
                page.group[g].flags = UINT32_MAX;
        page.group[0] = (struct pnr_group){.tag = {0, UINT32_MAX}, .until = {0, UINT32_MAX}, .flags = 2};
        cr_assert_eq(view_open(&v, live.dir), PINROUTE_OK);
        LIVE_MUST(store_begin(live.store) == STORE_OK);
        LIVE_MUST(pages_put(live.store, PNR_KEY_PINS, &page) == STORE_OK);
        LIVE_MUST(store_commit(live.store) == STORE_OK);
        cr_assert_eq(facts_of(v, "main", NULL, &f, &at), VIEW_OK);
        cr_expect_eq(view_pin(v, &at.snap, crowded(1u << 20), &need), WALK_FOUND);
        cr_expect_eq(need.until_ms, 0);
        cr_expect_eq(view_pin(v, &at.snap, crowded(0), &need), WALK_FOUND);
        cr_expect_neq(need.until_ms, 0, "whatever time that is");
        cr_expect_eq(need.hold_ms, 0);
        LIVE_MUST(store_begin(live.store) == STORE_OK);
        page.group[0].flags = UINT32_MAX, page.group[0].tag[1] = 5;
        LIVE_MUST(pages_put(live.store, PNR_KEY_PINS, &page) == STORE_OK);
        LIVE_MUST(store_commit(live.store) == STORE_OK);
        cr_assert_eq(facts_of(v, "main", NULL, &f, &at), VIEW_OK);
        cr_expect_eq(view_pin(v, &at.snap, crowded(0), &need), WALK_FOUND);
        cr_expect_eq(need.until_ms, 0, "once round");
        view_close(&v);
}

static bool keys_of(struct view *v, struct pnr_token_keys *ret)
{
        struct facts f;
        struct view_at at = {0};
        cr_assert_eq(facts_of(v, "main", NULL, &f, &at), VIEW_OK);
        memset(ret, 0xff, sizeof *ret);
        return view_token_keys(v, &at, ret);
}

Test(view, keys_of_tokens_are_copied_out_if_they_are_any_good)
{
        struct view *v;
        struct pnr_token_keys got;
        cr_assert_eq(view_open(&v, live.dir), PINROUTE_OK);
        cr_expect_not(keys_of(v, &got), "there are none");
        cr_expect_eq(got.n, 0);
        for (uint32_t n = 1; n <= PNR_TOKEN_KEYS_MAX; n++) {
                struct pnr_token_keys keys = live_keys(&live, 1, n);
                cr_expect(keys_of(v, &got) && memcmp(&got, &keys, sizeof keys) == 0);
        }
        live_keys(&live, 1, 0);
        cr_expect_not(keys_of(v, &got));
        view_close(&v);
}
