/* store.c -- the LMDB environment: opened or made anew, one transaction at a time, state records, pin pages.
 * The only file that includes <lmdb.h>.  Owns: struct store, DIR/data.mdb, DIR/lock.mdb, DIR/new. */
#include "daemon/store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/pages.h"
#include "daemon/pin.h"
#include "daemon/place.h"
#include "daemon/survey.h"

struct store {
        MDB_env *env;
        MDB_dbi dbi;
        MDB_txn *txn;
        MDB_cursor *cursor;
        bool reading;  /* txn is a reader's, opened by pages_begin_read() */
        bool entered;  /* inside liblmdb, with assert_jump set */
        bool asserted; /* liblmdb found itself wrong: this env is not entered again, and never closed */
        jmp_buf assert_jump;
        int dir_fd, fd; /* fd: liblmdb's, of data.mdb */
        dev_t dev;
        ino_t ino;
        uint8_t seed[16];
        struct pnr_spread spread;
        uint64_t max_pins;
        size_t map_size;
        struct tally tally, before; /* now; when the transaction began */
};

static char error_text[256];
const char *store_error(void) { return error_text; }

static int failed(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int failed(int status, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        vsnprintf(error_text, sizeof error_text, format, args);
        va_end(args);
        return status;
}

enum { ASSERTED = -1 }; /* beside liblmdb's statuses; store_error() says already which assertion */

static int lmdb_failed(int rc, const char *what)
{
        if (rc == ASSERTED)
                return STORE_BROKEN;
        if (rc == MDB_NOTFOUND)
                return failed(STORE_ABSENT, "%s: not there", what);
        if (rc == MDB_MAP_FULL || rc == MDB_TXN_FULL)
                return failed(STORE_FULL, "%s: %s", what, mdb_strerror(rc));
        if (rc > 0)
                return failed(STORE_SYSTEM, "%s: %s", what, strerror(rc));
        return failed(STORE_BROKEN, "%s: %s", what, mdb_strerror(rc));
}

/* ---- liblmdb, entered here alone.  Where an assertion of its own fails, it calls back and then aborts the
 * process: we jump out instead, and the environment is lost, not the daemon. ---- */

static void on_assert(MDB_env *env, const char *text)
{
        struct store *s = mdb_env_get_userctx(env);
        failed(STORE_BROKEN, "%s", text);
        if (!s->entered)
                return;
        s->entered = false;
        s->asserted = true;
        longjmp(s->assert_jump, 1);
}

static int left(struct store *s, int rc)
{
        s->entered = false;
        return rc;
}

#define ENTER(s)                                                                                             \
        if ((s)->asserted || setjmp((s)->assert_jump))                                                       \
                return ASSERTED;                                                                             \
        (s)->entered = true

static int enter_open(struct store *s, const char *dir)
{
        ENTER(s);
        return left(s, mdb_env_open(s->env, dir, MDB_NOSYNC | MDB_NOTLS, 0600));
}

static int enter_begin(struct store *s, unsigned flags)
{
        ENTER(s);
        s->cursor = NULL;
        int rc = mdb_txn_begin(s->env, NULL, flags, &s->txn);
        if (rc)
                s->txn = NULL;
        return left(s, rc ? rc : mdb_cursor_open(s->txn, s->dbi, &s->cursor));
}

static int enter_commit(struct store *s)
{
        ENTER(s);
        return left(s, mdb_txn_commit(s->txn));
}

static int enter_get(struct store *s, MDB_val *key, MDB_val *value, MDB_cursor_op op)
{
        ENTER(s);
        return left(s, mdb_cursor_get(s->cursor, key, value, op));
}

static int enter_put(struct store *s, MDB_val *key, MDB_val *value, unsigned flags)
{
        ENTER(s);
        return left(s, mdb_cursor_put(s->cursor, key, value, flags));
}

static int enter_drop(struct store *s)
{
        ENTER(s);
        return left(s, mdb_cursor_del(s->cursor, 0));
}

/* ---- transactions ---- */

static void undo_tally(struct store *s)
{
        s->tally.pins = s->before.pins;
        s->tally.pages = s->before.pages;
}

int store_begin(struct store *s)
{
        MUST(!s->txn);
        int rc = enter_begin(s, 0);
        if (rc) {
                store_abort(s);
                return lmdb_failed(rc, "begin");
        }
        s->before = s->tally;
        return STORE_OK;
}

int store_commit(struct store *s)
{
        MUST(s->txn && !s->reading);
        int rc = enter_commit(s);
        s->txn = NULL;
        if (rc) {
                undo_tally(s);
                return lmdb_failed(rc, "commit");
        }
        return STORE_OK;
}

void store_abort(struct store *s)
{
        if (s->txn && !s->asserted)
                mdb_txn_abort(s->txn);
        if (s->txn && !s->reading)
                undo_tally(s);
        s->txn = NULL;
}

int pages_begin_read(struct store *s)
{
        if (s->txn)
                return STORE_OK;
        int rc = enter_begin(s, MDB_RDONLY);
        s->reading = true;
        if (rc) {
                pages_end_read(s);
                return lmdb_failed(rc, "begin to read");
        }
        return STORE_OK;
}

void pages_end_read(struct store *s)
{
        if (!s->reading)
                return;
        if (s->cursor && s->txn && !s->asserted)
                mdb_cursor_close(s->cursor); /* liblmdb frees those of writers only */
        s->cursor = NULL;
        store_abort(s);
        s->reading = false;
}

/* ---- records ---- */

struct record_key {
        uint64_t big_endian;
};

static struct record_key key_make(uint64_t key) { return (struct record_key){__builtin_bswap64(key)}; }

static int put_value(struct store *s, uint64_t key, MDB_val *value, unsigned flags)
{
        MUST(s->txn && !s->reading);
        struct record_key k = key_make(key);
        MDB_val mk = {sizeof k, &k};
        int rc = enter_put(s, &mk, value, flags);
        return rc ? lmdb_failed(rc, "put") : STORE_OK;
}

static int put(struct store *s, uint64_t key, const void *value, size_t size)
{
        MDB_val mv = {size, (void *)(uintptr_t)value};
        return put_value(s, key, &mv, 0);
}

static int get_header(struct store *s, struct pnr_header *ret)
{
        struct record_key k = key_make(PNR_KEY_HEADER);
        MDB_val mk = {sizeof k, &k}, mv;
        int rc = enter_get(s, &mk, &mv, MDB_SET);
        if (rc)
                return lmdb_failed(rc, "header");
        if (mv.mv_size != sizeof *ret)
                return failed(STORE_BROKEN, "header of %zu bytes", mv.mv_size);
        memcpy(ret, mv.mv_data, sizeof *ret);
        return STORE_OK;
}

int store_put_header(struct store *s, const struct pnr_header *h)
{
        MUST(h->magic == PNR_MAGIC && h->file_ino == s->ino && !memcmp(h->seed, s->seed, sizeof s->seed));
        int dead; /* the slot of a killed mdb_stat would keep every page from being free again */
        mdb_reader_check(s->env, &dead);
        return put(s, PNR_KEY_HEADER, h, sizeof *h);
}

int store_put_cluster(struct store *s, unsigned cluster, const struct pnr_cluster *c)
{
        MUST(cluster < PNR_CLUSTERS_MAX);
        return put(s, PNR_KEY_CLUSTER(cluster), c, sizeof *c);
}

int store_put_endpoint(struct store *s, unsigned cluster, unsigned node, const struct pnr_endpoint *e)
{
        MUST(cluster < PNR_CLUSTERS_MAX && node < PNR_NODES_MAX);
        return put(s, PNR_KEY_ENDPOINT(cluster, node), e, sizeof *e);
}

int store_put_admin(struct store *s, unsigned cluster, unsigned node, uint8_t admin)
{
        MUST(cluster < PNR_CLUSTERS_MAX && node < PNR_NODES_MAX);
        return put(s, PNR_KEY_ADMIN(cluster, node), &admin, sizeof admin);
}

int store_put_tokens(struct store *s, const struct pnr_token_keys *keys)
{
        return put(s, PNR_KEY_TOKENS, keys, sizeof *keys);
}

/* ---- pin pages ---- */

struct tally *pages_tally(struct store *s) { return &s->tally; }
uint64_t pages_max_pins(const struct store *s) { return s->max_pins; }
size_t pages_map_size(const struct store *s) { return s->map_size; }
int pages_full(const char *why) { return failed(STORE_FULL, "%s", why); }

static int page_of(int rc, const MDB_val *key, const MDB_val *value, uint64_t *lo,
                   const struct pnr_pins **ret)
{
        if (rc)
                return lmdb_failed(rc, "page of pins");
        uint64_t k;
        if (key->mv_size != sizeof k)
                return failed(STORE_BROKEN, "a key of %zu bytes", key->mv_size);
        memcpy(&k, key->mv_data, sizeof k);
        *lo = __builtin_bswap64(k);
        if (*lo < PNR_KEY_PINS)
                return failed(STORE_ABSENT, "no page of pins");
        if (value->mv_size != sizeof **ret)
                return failed(STORE_BROKEN, "page of pins of %zu bytes", value->mv_size);
        *ret = value->mv_data;
        return STORE_OK;
}

int pages_from(struct store *s, uint64_t from, uint64_t *lo, const struct pnr_pins **ret)
{
        struct record_key k = key_make(from > PNR_KEY_PINS ? from : PNR_KEY_PINS);
        MDB_val mk = {sizeof k, &k}, mv;
        int rc = enter_get(s, &mk, &mv, MDB_SET_RANGE);
        return page_of(rc, &mk, &mv, lo, ret);
}

int pages_holding(struct store *s, uint64_t place, uint64_t *lo, const struct pnr_pins **ret)
{
        int rc = pages_from(s, place, lo, ret);
        if ((rc != STORE_OK && rc != STORE_ABSENT) || (rc == STORE_OK && *lo == place))
                return rc;
        MDB_val mk, mv;
        int moved = enter_get(s, &mk, &mv, rc == STORE_OK ? MDB_PREV : MDB_LAST);
        return page_of(moved, &mk, &mv, lo, ret);
}

int pages_reserve(struct store *s, uint64_t lo, struct pnr_pins **ret)
{
        MDB_val mv = {sizeof **ret, NULL};
        int rc = put_value(s, lo, &mv, MDB_RESERVE);
        *ret = mv.mv_data;
        return rc;
}

int pages_drop(struct store *s, uint64_t lo)
{
        struct record_key k = key_make(lo);
        MDB_val mk = {sizeof k, &k}, mv;
        int rc = enter_get(s, &mk, &mv, MDB_SET);
        if (!rc)
                rc = enter_drop(s);
        return rc ? lmdb_failed(rc, "drop") : STORE_OK;
}

/* ---- files ---- */

static int open_files(struct store *s, const char *dir, const struct place *place, size_t map_size)
{
        char path[PATH_MAX];
        struct stat st;
        if (snprintf(path, sizeof path, "%s%s", dir, place->below) >= (int)sizeof path)
                return failed(STORE_SYSTEM, "path too long");
        if (place_allocate_lock(s->dir_fd, place))
                return failed(STORE_SYSTEM, "%s/%s: %s", dir, place->lock, strerror(errno));
        int rc = mdb_env_create(&s->env);
        if (rc)
                return lmdb_failed(rc, "create");
        mdb_env_set_userctx(s->env, s);
        mdb_env_set_assert(s->env, on_assert);
        mdb_env_set_mapsize(s->env, map_size);
        s->map_size = map_size;
        rc = enter_open(s, path);
        if (rc)
                return lmdb_failed(rc, "open");
        place_close_on_exec(s->dir_fd, place);
        if (mdb_env_get_fd(s->env, &s->fd) || fstat(s->fd, &st))
                return failed(STORE_SYSTEM, "fstat of %s/%s: %s", dir, place->data, strerror(errno));
        s->dev = st.st_dev;
        s->ino = st.st_ino;
        return STORE_OK;
}

static int open_env(struct store *s, const char *dir, const struct place *place, size_t map_size)
{
        MDB_txn *txn;
        int rc = open_files(s, dir, place, map_size);
        if (rc != STORE_OK)
                return rc;
        rc = mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn);
        if (!rc) {
                rc = mdb_dbi_open(txn, NULL, 0, &s->dbi); /* the unnamed one; also sets its order of keys */
                mdb_txn_abort(txn);
        }
        return rc ? lmdb_failed(rc, "open the database") : STORE_OK;
}

static MDB_env *lost; /* each with the one before as its userctx: never entered again, and no leak */

static void close_env(struct store *s)
{
        store_abort(s);
        if (s->env && s->asserted) {
                mdb_env_set_userctx(s->env, lost);
                lost = s->env;
        } else if (s->env)
                mdb_env_close(s->env);
        s->env = NULL;
        s->asserted = false;
}

static int set_modes(struct store *s, const struct place *place, gid_t group)
{
        if (place_set_modes(s->dir_fd, place, s->fd, group))
                return failed(STORE_SYSTEM, "mode or group of %s: %s", place->data, strerror(errno));
        return STORE_OK;
}

/* ---- a new store ---- */

/* Live by its state, but without a heartbeat: no stub trusts it before the caller's first one. */
static int put_first_header(struct store *s, const struct store_want *want, uint64_t cursor)
{
        struct pnr_header h = {.magic = PNR_MAGIC,
                               .layout = PNR_LAYOUT,
                               .oldest_reader = PNR_OLDEST_READER,
                               .oldest_writer = PNR_OLDEST_WRITER,
                               .file_ino = s->ino,
                               .state = PNR_LIVE,
                               .stale_after_ms = want->stale_after_ms,
                               .stale_limit_ms = want->stale_limit_ms,
                               .cursor = cursor};
        memcpy(h.boot_id, want->boot_id, sizeof h.boot_id);
        randombytes_buf(s->seed, sizeof s->seed);
        memcpy(h.seed, s->seed, sizeof h.seed);
        s->spread = pnr_spread_of(s->seed);
        do
                randombytes_buf(&h.epoch, sizeof h.epoch);
        while (h.epoch == 0);
        int rc = store_begin(s);
        if (rc == STORE_OK)
                rc = put(s, PNR_KEY_HEADER, &h, sizeof h);
        if (rc == STORE_OK)
                return store_commit(s);
        store_abort(s);
        return rc;
}

static int make_new(struct store *s, const struct store_want *want, uint64_t cursor)
{
        size_t size = store_map_size(want->max_pins);
        if (place_clear_new(s->dir_fd))
                return failed(STORE_SYSTEM, "mkdir %s%s: %s", want->dir, place_new.below, strerror(errno));
        int rc = open_env(s, want->dir, &place_new, size);
        if (rc != STORE_OK)
                return rc;
        if (place_allocate(s->fd, size))
                return failed(STORE_SYSTEM, "%zu bytes for %s/" PLACE_DATA ": %s", size, want->dir,
                              strerror(errno));
        rc = set_modes(s, &place_new, want->group);
        return rc == STORE_OK ? put_first_header(s, want, cursor) : rc;
}

/* The file in want->dir, which is whole, live and of this layout, is marked as done with.  The lock file that
 * belongs to it may be held by a store that broke in this process, so it is made anew. */
static bool retire_old(const struct store_want *want, const struct survey *old, int dir_fd)
{
        struct store *s = calloc(1, sizeof *s);
        if (!s)
                return false;
        s->dir_fd = dir_fd;
        unlinkat(dir_fd, PLACE_LOCK, 0);
        bool ok = open_env(s, want->dir, &place_final, old->map_bytes) == STORE_OK &&
                  s->ino == old->st.st_ino && store_retire(s) == STORE_OK;
        close_env(s);
        free(s);
        return ok;
}

/* ---- open and close ---- */

static int reuse(struct store *s, const struct store_want *want, const struct survey *old)
{
        int rc = open_env(s, want->dir, &place_final, old->map_bytes);
        if (rc == STORE_OK && s->ino != old->st.st_ino)
                rc = failed(STORE_SYSTEM, "%s/" PLACE_DATA " changed while it was opened", want->dir);
        if (rc == STORE_OK)
                rc = set_modes(s, &place_final, want->group);
        if (rc != STORE_OK) {
                close_env(s);
                return rc;
        }
        memcpy(s->seed, old->header.seed, sizeof s->seed);
        s->spread = pnr_spread_of(s->seed);
        s->tally = (struct tally){.pins = old->pins, .pages = old->pin_pages};
        return STORE_OK;
}

static int open_any(struct store *s, const struct store_want *want, struct store_found *found)
{
        struct survey old;
        survey_file(&old, s->dir_fd, PLACE_DATA, want->boot_id, want->now, found);
        if (old.unread && !want->fresh) /* its holds would be forgotten */
                return failed(STORE_SYSTEM, PLACE_DATA ": %s; remove it if that stays so", old.why);
        bool supplanted = survey_supplants(&old);
        found->holds_unknown = survey_may_have_held(&old);
        if (!survey_reusable(&old, store_map_size(want->max_pins)))
                memcpy(found->why_new, old.why, sizeof found->why_new);
        else if (want->fresh)
                snprintf(found->why_new, sizeof found->why_new, "a new one was asked for");
        else if (reuse(s, want, &old) == STORE_OK) {
                found->reused = true;
                found->old_retired = !supplanted;
                return STORE_OK;
        } else
                snprintf(found->why_new, sizeof found->why_new, "%.150s", error_text);
        int rc = make_new(s, want, found->cursor);
        if (rc != STORE_OK)
                return rc;
        found->old_retired = !supplanted && (old.refused || (old.whole && retire_old(want, &old, s->dir_fd)));
        if (place_publish_new(s->dir_fd))
                return failed(STORE_SYSTEM, "rename: %s", strerror(errno));
        return STORE_OK;
}

int store_open(struct store **ret, const struct store_want *want, struct store_found *found)
{
        *ret = NULL;
        memset(found, 0, sizeof *found);
        if (sysconf(_SC_PAGESIZE) != PNR_PAGE_SIZE)
                return failed(STORE_SYSTEM, "pages of %ld bytes: the store needs %d", sysconf(_SC_PAGESIZE),
                              PNR_PAGE_SIZE);
        struct store *s = calloc(1, sizeof *s);
        if (!s)
                return failed(STORE_SYSTEM, "out of memory");
        s->max_pins = want->max_pins;
        s->dir_fd = open(want->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        int rc = s->dir_fd < 0 ? failed(STORE_SYSTEM, "%s: %s", want->dir, strerror(errno))
                               : open_any(s, want, found);
        if (rc != STORE_OK) {
                free(found->cluster);
                found->cluster = NULL;
                found->endpoint = NULL;
                found->n_clusters = 0;
                store_close(&s);
                return rc;
        }
        *ret = s;
        return STORE_OK;
}

void store_close(struct store **store)
{
        struct store *s = *store;
        *store = NULL;
        if (!s)
                return;
        close_env(s);
        if (s->dir_fd >= 0)
                close(s->dir_fd);
        free(s);
}

static int put_retired(struct store *s)
{
        struct pnr_header h;
        int rc = store_begin(s);
        if (rc != STORE_OK)
                return rc;
        rc = get_header(s, &h);
        h.state = PNR_RETIRED;
        if (rc == STORE_OK)
                rc = put(s, PNR_KEY_HEADER, &h, sizeof h);
        if (rc == STORE_OK)
                return store_commit(s);
        store_abort(s);
        return rc;
}

/* Twice: a reader that stood still since before the first does not mind one commit, and no heartbeat follows. */
int store_retire(struct store *s)
{
        store_abort(s);
        int rc = put_retired(s);
        return rc == STORE_OK ? put_retired(s) : rc;
}

bool store_is_linked(const struct store *s)
{
        struct stat st;
        if (fstatat(s->dir_fd, PLACE_DATA, &st, AT_SYMLINK_NOFOLLOW))
                return errno == EIO || errno == EINTR || errno == ENOMEM; /* the next heartbeat asks again */
        return st.st_dev == s->dev && st.st_ino == s->ino;
}

const uint8_t *store_seed(const struct store *s) { return s->seed; }
const struct pnr_spread *store_spread(const struct store *s) { return &s->spread; }
uint64_t store_ino(const struct store *s) { return s->ino; }

static uint64_t bytes_of(MDB_txn *txn, MDB_dbi dbi)
{
        MDB_stat st;
        if (mdb_stat(txn, dbi, &st))
                return 0;
        return (st.ms_branch_pages + st.ms_leaf_pages + st.ms_overflow_pages) * PNR_PAGE_SIZE;
}

void store_count(struct store *s, struct store_count *ret)
{
        MDB_envinfo info;
        *ret = (struct store_count){.pins = s->tally.pins, .pin_pages = s->tally.pages};
        if (pages_begin_read(s) != STORE_OK)
                return;
        ret->used_bytes = 2 * PNR_PAGE_SIZE + bytes_of(s->txn, 0) + bytes_of(s->txn, s->dbi);
        pages_end_read(s);
        mdb_env_info(s->env, &info);
        ret->map_bytes = info.me_mapsize;
        ret->transactions = info.me_last_txnid;
        ret->reader_slots = info.me_numreaders;
}
