/* test_store.c -- the environment: made, gone on with, replaced, retired; modes; a file that cannot be
 * trusted. */
#include "tests/unit/store_dir.h"

#include <sys/resource.h>
#include <sys/wait.h>

#include "daemon/pages.h"
#include "daemon/survey.h"

TestSuite(store, .init = make_dir, .fini = remove_dir);

static struct stat stat_of(const char *name)
{
        struct stat st;
        cr_assert_eq(stat(in_dir(name), &st), 0, "%s", name);
        return st;
}

static struct survey survey(const char *name)
{
        struct survey ret;
        struct store_found found = {0};
        struct store_want want = want_of(1000);
        int dir_fd = open(store_dir, O_PATH | O_DIRECTORY);
        survey_file(&ret, dir_fd, name, want.boot_id, want.now, &found);
        close(dir_fd);
        free(found.cluster);
        return ret;
}

/* Opens with `want`, expects a new file for a reason that contains `why`, and closes again. */
static void expect_new(const struct store_want *want, const char *why, bool old_retired)
{
        struct store_found found;
        struct store *s = open_store(want, &found);
        cr_assert(!found.reused && strstr(found.why_new, why), "\"%s\" lacks \"%s\"", found.why_new, why);
        cr_assert_eq(found.old_retired, old_retired, "%s: old_retired %d", why, found.old_retired);
        cr_assert_eq(count_of(s).pins, 0);
        cr_assert(store_is_linked(s));
        store_close(&s);
        free(found.cluster);
        cr_assert_neq(access(in_dir("new"), F_OK), 0, "nothing is left in the making");
}

Test(store, a_new_store_has_its_size_its_modes_and_no_heartbeat)
{
        umask(0077);
        struct store_want want = want_of(1000);
        want.group = geteuid() == 0 ? 12345 : getegid();
        struct store_found found;
        struct store *s = open_store(&want, &found);
        cr_assert(!found.reused && !found.old_retired && !strcmp(found.why_new, "no file"),
                  "an empty directory may have held a store a moment ago");
        cr_assert(found.n_clusters == 0 && found.max_generation == 0);
        struct stat st = stat_of("data.mdb");
        cr_assert_eq(st.st_mode & 07777, 0640);
        cr_assert_eq(st.st_gid, want.group);
        cr_assert_eq((size_t)st.st_size, store_map_size(1000));
        cr_assert_geq((size_t)st.st_blocks * 512, store_map_size(1000), "allocated, not sparse");
        cr_assert_eq(st.st_ino, store_ino(s));
        cr_assert_eq(stat_of("lock.mdb").st_mode & 07777, 0600);
        struct survey v = survey("data.mdb");
        cr_assert(v.whole && v.header.heartbeat_ms == 0 && v.header.state == PNR_LIVE && v.header.epoch != 0);
        cr_assert_eq(memcmp(v.header.seed, store_seed(s), 16), 0);
        put_pins(s, 0, 1000, 10, T0, 100);
        cr_assert_eq(stat_of("data.mdb").st_size, st.st_size, "it never grows");
        store_close(&s);
        cr_assert_null(s);
}

static void limit_descriptors(rlim_t more)
{
        struct rlimit l;
        int next = dup(0);
        cr_assert(next > 0 && close(next) == 0 && getrlimit(RLIMIT_NOFILE, &l) == 0);
        l.rlim_cur = (rlim_t)next + more;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &l), 0);
}

/* Its holds are nowhere else. */
Test(store, a_file_that_cannot_be_read_now_is_not_replaced)
{
        struct store *s;
        struct store_found found;
        struct store_want want = want_of(1000);
        s = open_store(&want, NULL);
        put_state(s);
        store_close(&s);
        limit_descriptors(1);
        cr_assert_eq(store_open(&s, &want, &found), STORE_SYSTEM);
        cr_assert(strstr(store_error(), "data.mdb: Too many open files; remove it"), "%s", store_error());
        cr_assert(!s && !found.cluster);
        limit_descriptors(20);
        cr_assert_eq(store_open(&s, &want, &found), STORE_OK);
        cr_assert(found.reused, "%s", found.why_new);
        store_close(&s);
        free(found.cluster);
}

Test(store, the_map_grows_with_max_pins_and_stays_in_whole_mebibytes)
{
        for (uint64_t n = 1; n <= 10000000; n *= 10) {
                cr_assert_eq(store_map_size(n) % (1 << 20), 0);
                cr_assert_geq(store_map_size(n), (8u << 20) + n * 192);
        }
        cr_assert_leq(store_map_size(1000000), 256u << 20);
}

Test(store, a_store_that_was_left_is_gone_on_with_pins_and_all)
{
        struct store_want want = want_of(5000);
        struct store *s = open_store(&want, NULL);
        put_state(s);
        struct pnr_token_keys keys = keys_of(7);
        MUST_OK(store_begin(s));
        MUST_OK(store_put_tokens(s, &keys));
        MUST_OK(store_commit(s));
        put_pins(s, 0, 3000, 64, T0, 5000);
        uint8_t seed[16];
        memcpy(seed, store_seed(s), sizeof seed);
        uint64_t ino = store_ino(s), pages = count_of(s).pin_pages;
        store_close(&s);

        struct store_found found;
        s = open_store(&want, &found);
        cr_assert(found.reused && !found.why_new[0], "%s", found.why_new);
        cr_assert(store_ino(s) == ino && !memcmp(seed, store_seed(s), sizeof seed));
        cr_assert(found.cursor == 42 && found.n_clusters == 2 && found.max_generation == 3000);
        cr_assert_str_eq(found.cluster[1].name, "other");
        cr_assert(found.admin[1][31] == 3 && found.admin[0][0] == 0);
        cr_assert_eq(memcmp(&found.tokens, &keys, sizeof keys), 0);
        cr_assert(found.live_until[0].ms == T0.ms + 5000 && found.live_until[1].ms == 0);
        cr_assert(count_of(s).pins == 3000 && count_of(s).pin_pages == pages);
        struct pin pin;
        for (uint64_t i = 0; i < 3000; i++)
                MUST_OK(store_get_pin(s, slot_of(s, i, 0), &pin));
        put_pins(s, 3000, 1000, 64, T0, 5000);
        store_close(&s);
        free(found.cluster);
}

Test(store, a_replaced_store_is_retired_and_its_clusters_and_drains_are_handed_over)
{
        struct store_want want = want_of(5000);
        struct store *s = open_store(&want, NULL);
        put_state(s);
        put_pins(s, 0, 100, 10, T0, 5000);
        uint8_t seed[16];
        memcpy(seed, store_seed(s), sizeof seed);
        store_close(&s);
        cr_assert_eq(link(in_dir("data.mdb"), in_dir("aside")), 0);

        struct store_found found;
        want.fresh = true;
        s = open_store(&want, &found);
        cr_assert(!found.reused && found.old_retired);
        cr_assert(found.n_clusters == 2 && found.admin[1][31] == 3 && found.cursor == 42);
        cr_assert_eq(found.live_until[0].ms, T0.ms + 5000, "what may still be owed");
        cr_assert_eq(count_of(s).pins, 0);
        cr_assert_neq(memcmp(seed, store_seed(s), sizeof seed), 0, "a seed belongs to one file");
        free(found.cluster);
        cr_assert(survey("aside").retired && !survey("data.mdb").retired);
        cr_assert_eq(survey("data.mdb").header.cursor, 42);
        put_pins(s, 0, 100, 10, T0, 5000);
        store_close(&s);
        want.fresh = false;
        s = open_store(&want, NULL);
        cr_assert_eq(count_of(s).pins, 100);
        store_close(&s);
}

Test(store, a_file_that_cannot_be_trusted_is_replaced_and_the_reason_named)
{
        struct store_want want = want_of(1000), other;
        struct store *s = open_store(&want, NULL);
        put_state(s);
        store_close(&s);

        other = want;
        other.max_pins = 500000;
        expect_new(&other, "another max_pins", true);
        expect_new(&want, "another max_pins", false); /* without a heartbeat: who knows what was before */

        other = want;
        other.boot_id[0] ^= 1;
        expect_new(&other, "another boot", true);
        expect_new(&want, "another boot", true);

        copy_file(in_dir("data.mdb"), in_dir("copy"), SIZE_MAX);
        rename(in_dir("copy"), in_dir("data.mdb"));
        expect_new(&want, "a copy", false);

        unlink(in_dir("data.mdb"));
        expect_new(&want, "no file", false);
        unlink(in_dir("data.mdb"));
        unlink(in_dir("lock.mdb"));
        expect_new(&want, "no file", false);

        copy_file(in_dir("data.mdb"), in_dir("copy"), 100000);
        rename(in_dir("copy"), in_dir("data.mdb"));
        expect_new(&want, "truncated", false);

        cr_assert_eq(truncate(in_dir("data.mdb"), 5000), 0);
        expect_new(&want, "too short", false);
        cr_assert_eq(truncate(in_dir("data.mdb"), 0), 0);
        expect_new(&want, "too short", false);

        unlink(in_dir("data.mdb"));
        cr_assert_eq(mkdir(in_dir("data.mdb"), 0700), 0);
        struct store_found found;
        cr_assert_eq(store_open(&s, &want, &found), STORE_SYSTEM);
        cr_assert(!s && strstr(store_error(), "rename"), "%s", store_error());
        rmdir(in_dir("data.mdb"));
        cr_assert_eq(symlink("/etc/passwd", in_dir("data.mdb")), 0);
        expect_new(&want, "symbolic", false);

        s = open_store(&want, NULL);
        put_state(s);
        MUST_OK(store_retire(s));
        store_close(&s);
        expect_new(&want, "retired", true);

        int fd = open(in_dir("data.mdb"), O_WRONLY);
        cr_assert_eq(fallocate(fd, 0, 0, (off_t)store_map_size(1000) + 4096), 0);
        close(fd);
        expect_new(&want, "another max_pins", false);
}

Test(store, leftovers_of_a_crash_while_a_store_was_made_are_removed)
{
        struct store_want want = want_of(1000);
        cr_assert_eq(mkdir(in_dir("new"), 0700), 0);
        copy_file("/etc/passwd", in_dir("new/data.mdb"), SIZE_MAX);
        copy_file("/etc/passwd", in_dir("new/lock.mdb"), SIZE_MAX);
        expect_new(&want, "no file", false);
        unlink(in_dir("data.mdb"));
        copy_file("/etc/passwd", in_dir("new"), SIZE_MAX);
        expect_new(&want, "no file", false);
}

Test(store, a_directory_that_is_not_there_and_a_full_file_system_are_errors_that_say_so)
{
        struct store_want want = want_of(1000);
        struct store_found found;
        struct store *s;
        want.dir = "/nonexistent/dir";
        cr_assert_eq(store_open(&s, &want, &found), STORE_SYSTEM);
        cr_assert(!s && strstr(store_error(), "/nonexistent/dir"));
        want = want_of(1000);
        struct rlimit limit = {1 << 20, 1 << 20};
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        cr_assert_eq(store_open(&s, &want, &found), STORE_SYSTEM);
        cr_assert(!s && strstr(store_error(), "data.mdb"), "%s", store_error());
}

Test(store, it_notices_that_its_file_was_taken_away_and_can_still_retire_it)
{
        struct store_want want = want_of(1000);
        struct store *s = open_store(&want, NULL);
        put_state(s);
        cr_assert(store_is_linked(s));
        rename(in_dir("data.mdb"), in_dir("aside"));
        cr_assert(!store_is_linked(s));
        copy_file(in_dir("aside"), in_dir("data.mdb"), SIZE_MAX);
        cr_assert(!store_is_linked(s), "a copy is not the file");
        MUST_OK(store_retire(s));
        cr_assert(survey("aside").retired);
        store_close(&s);
}

Test(store, retire_gives_up_an_open_transaction)
{
        struct store_want want = want_of(1000);
        struct store *s = open_store(&want, NULL);
        put_state(s);
        MUST_OK(store_begin(s));
        struct pin pin = {.until_ms = T0.ms + 9};
        MUST_OK(store_merge_pin(s, slot_of(s, 1, 0), &pin, T0, NULL));
        MUST_OK(store_retire(s));
        cr_assert_eq(count_of(s).pins, 0);
        cr_assert(survey("data.mdb").retired);
        store_close(&s);
}

Test(store, no_descriptor_of_the_store_outlives_an_exec)
{
        struct store_want want = want_of(1000);
        struct store *s = open_store(&want, NULL);
        for (int fd = 3; fd < 256; fd++) {
                char link[64], path[256] = "";
                snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
                if (readlink(link, path, sizeof path - 1) > 0 && strstr(path, store_dir))
                        cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC, "%s", path);
        }
        store_close(&s);
}

Test(store, a_transaction_too_large_for_the_map_is_full_and_leaves_the_store_usable)
{
        struct store_want want = want_of(1000);
        struct store *s = open_store(&want, NULL);
        put_state(s);
        struct pnr_cluster c = cluster_of("main");
        int rc = STORE_OK;
        MUST_OK(store_begin(s));
        struct pnr_pins page = {.bits = 40}; /* by hand: more pages than the map has */
        for (uint64_t i = 0; rc == STORE_OK && i < 10000; i++)
                rc = pages_put(s, PNR_KEY_PINS + (i << 23), &page);
        cr_assert_eq(rc, STORE_FULL, "%s", store_error());
        store_abort(s);
        MUST_OK(store_begin(s));
        c.floor_until_ms = T0.ms + 15000;
        MUST_OK(store_put_cluster(s, 0, &c));
        MUST_OK(store_commit(s));
        put_pins(s, 0, 1000, 100, T0, 100);
        store_close(&s);
        s = open_store(&want, NULL);
        cr_assert_eq(count_of(s).pins, 1000);
        store_close(&s);
}

/* liblmdb asserts two keys on each branch, and would abort the process. */
Test(store, a_page_damaged_under_it_breaks_the_store_and_not_the_process)
{
        struct store_want want = want_of(20000);
        struct store_found found;
        struct store *s = open_store(&want, NULL);
        struct pin pin = {.until_ms = T0.ms + 9};
        put_state(s);
        put_pins(s, 0, 10000, 200, T0, 5000);
        uint64_t meta[2][17];
        int fd = open(in_dir("data.mdb"), O_RDONLY);
        for (int i = 0; i < 2; i++)
                cr_assert_eq(pread(fd, meta[i], sizeof meta[i], i * 4096 + 16), (ssize_t)sizeof meta[i]);
        close(fd);
        uint64_t root = meta[meta[0][16] < meta[1][16]][14];
        uint16_t one_key = 18;
        scribble(in_dir("data.mdb"), (off_t)root * 4096 + 12, &one_key, sizeof one_key);
        MUST_OK(store_begin(s));
        cr_assert_eq(store_merge_pin(s, slot_of(s, 1, 0), &pin, T0, NULL), STORE_BROKEN);
        cr_assert(strstr(store_error(), "NUMKEYS"), "%s", store_error());
        store_abort(s);
        cr_assert_eq(store_begin(s), STORE_BROKEN);
        cr_assert_eq(store_get_pin(s, slot_of(s, 1, 0), &pin), STORE_BROKEN);
        cr_assert_eq(store_retire(s), STORE_BROKEN);
        store_close(&s);
        s = open_store(&want, &found);
        cr_assert(!found.reused && !found.old_retired && strstr(found.why_new, "damaged"), "%s",
                  found.why_new);
        put_pins(s, 0, 100, 10, T0, 5000);
        store_close(&s);
        free(found.cluster);
}

/* As an mdb_stat would: a process with a slot in lock.mdb and a snapshot that it never gives back. */
static pid_t start_lmdb_reader(const struct store_want *want)
{
        int ready[2];
        char byte;
        cr_assert_eq(pipe(ready), 0);
        pid_t pid = fork();
        if (pid == 0) {
                struct store *s = open_store(want, NULL);
                MUST_OK(pages_begin_read(s));
                if (write(ready[1], "", 1) == 1)
                        pause();
                _exit(1);
        }
        cr_assert_eq(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        close(ready[1]);
        return pid;
}

Test(store, a_reader_by_liblmdb_that_was_killed_does_not_fill_the_map)
{
        struct store_want want = want_of(1000);
        struct store *s = open_store(&want, NULL);
        put_state(s);
        store_close(&s);
        pid_t reader = start_lmdb_reader(&want);
        s = open_store(&want, NULL);
        for (int i = 0; i < 50; i++)
                put_state(s);
        kill(reader, SIGKILL);
        waitpid(reader, NULL, 0);
        for (int i = 0; i < 3000; i++)
                put_state(s);
        store_close(&s);
}

/* Kills a writer mid-commit, goes on, and finds every pin that was acknowledged. */
Test(store, a_killed_writer_leaves_a_whole_store_with_every_committed_pin, .timeout = 60)
{
        struct store_want want = want_of(100000);
        struct store *s = open_store(&want, NULL);
        put_state(s);
        store_close(&s);
        uint64_t done = 0;
        for (int kills = 0; kills < 40; kills++) {
                int acks[2];
                cr_assert_eq(pipe(acks), 0);
                pid_t writer = fork();
                if (writer == 0) {
                        s = open_store(&want, NULL);
                        for (uint64_t i = done;; i += 20) {
                                uint64_t upto = i + 20;
                                put_pins(s, i, 20, 20, T0, 5000);
                                if (write(acks[1], &upto, sizeof upto) < 0)
                                        _exit(1);
                        }
                }
                close(acks[1]);
                for (int i = 0; i < 3 + kills % 7; i++)
                        cr_assert_eq(read(acks[0], &done, sizeof done), (ssize_t)sizeof done);
                kill(writer, SIGKILL);
                while (read(acks[0], &done, sizeof done) == (ssize_t)sizeof done)
                        ;
                close(acks[0]);
                waitpid(writer, NULL, 0);
                struct store_found found;
                s = open_store(&want, &found);
                cr_assert(found.reused, "%s", found.why_new);
                free(found.cluster);
                struct pin pin;
                for (uint64_t i = 0; i < done; i++)
                        MUST_OK(store_get_pin(s, slot_of(s, i, 0), &pin));
                store_close(&s);
        }
        cr_assert_gt(done, 4000);
}
