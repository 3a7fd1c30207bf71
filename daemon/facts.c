/* facts.c -- what one answer of a PostgreSQL server says.
 * Pure: no I/O, no clock, no libpq; takes every byte for hostile. */
#include "daemon/facts.h"

#include <stdio.h>
#include <string.h>

#define PAGE_HEADER    24 /* SizeOfXLogShortPHD */
#define SEGMENT_HEADER 40 /* SizeOfXLogLongPHD */

/* Order matters, and OFFSET 0 keeps the planner from merging the steps: r, then p from r, then w from p.
 * - In recovery or not is asked once; recovery only ever ends, so a function that needs a primary cannot
 * raise.
 * - A replica's position is older than its timeline: a replica can only stream a timeline whose history holds
 * all that it had replayed before, so the pair is true; the other way round it would not be. Without
 * pg_monitor, pg_stat_get_wal_receiver() shows the pid and NULL for all the rest. */
const char facts_question[] =
    "SELECT r.recovering, p.lsn,"
    " CASE WHEN NOT r.recovering THEN pg_catalog.pg_walfile_name(p.lsn) END,"
    " w.pid IS NOT NULL, w.status, w.received_tli, s.system_identifier,"
    " pg_catalog.current_setting('wal_block_size'),"
    " pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))"
    " FROM (SELECT pg_catalog.pg_is_in_recovery() AS recovering OFFSET 0) r"
    " CROSS JOIN LATERAL (SELECT CASE WHEN r.recovering THEN pg_catalog.pg_last_wal_replay_lsn()"
    " ELSE pg_catalog.pg_current_wal_insert_lsn() END AS lsn OFFSET 0) p"
    " LEFT JOIN LATERAL (SELECT pid, status, received_tli FROM pg_catalog.pg_stat_get_wal_receiver()"
    " WHERE r.recovering AND (p.lsn IS NULL OR p.lsn IS NOT NULL) OFFSET 0) w ON true"
    " CROSS JOIN pg_catalog.pg_control_system() s";

static const char *const column_name[FACTS_COLUMNS] = {
    [FACTS_IN_RECOVERY] = "pg_is_in_recovery",
    [FACTS_POSITION] = "WAL position",
    [FACTS_WAL_FILE] = "pg_walfile_name",
    [FACTS_RECEIVER] = "WAL receiver",
    [FACTS_RECEIVER_STATUS] = "WAL receiver's status",
    [FACTS_RECEIVER_TIMELINE] = "received_tli",
    [FACTS_SYSTEM_IDENTIFIER] = "system_identifier",
    [FACTS_BLOCK_SIZE] = "wal_block_size",
    [FACTS_SEGMENT_SIZE] = "wal_segment_size",
};

bool facts_bool(const char *text, bool *ret)
{
        if (strcmp(text, "t") != 0 && strcmp(text, "f") != 0)
                return false;
        *ret = *text == 't';
        return true;
}

/* One to `most` hex digits, capitals as PostgreSQL prints them; returns what follows them, NULL when there is
 * none. */
static const char *hex_word(const char *text, size_t most, uint32_t *ret)
{
        size_t n = strspn(text, "0123456789ABCDEF");
        uint32_t word = 0;

        if (n == 0 || n > most)
                return NULL;
        for (size_t i = 0; i < n; i++)
                word = word << 4 | (uint32_t)(text[i] <= '9' ? text[i] - '0' : text[i] - 'A' + 10);
        *ret = word;
        return text + n;
}

bool facts_lsn(const char *text, struct lsn *ret)
{
        uint32_t high, low;

        text = hex_word(text, 8, &high);
        if (!text || *text != '/')
                return false;
        text = hex_word(text + 1, 8, &low);
        if (!text || *text != '\0')
                return false;
        ret->bytes = (uint64_t)high << 32 | low;
        return true;
}

bool facts_number(const char *text, uint64_t max, uint64_t *ret)
{
        size_t n = strspn(text, "0123456789");
        uint64_t number = 0;

        if (n == 0 || text[n] != '\0' || (n > 1 && text[0] == '0'))
                return false;
        for (size_t i = 0; i < n; i++) {
                uint64_t digit = (uint64_t)(text[i] - '0');
                if (number > (max - digit) / 10)
                        return false;
                number = number * 10 + digit;
        }
        *ret = number;
        return true;
}

bool facts_wal_file_timeline(const char *text, uint32_t *ret)
{
        char first[9] = "";
        uint32_t timeline;

        if (strlen(text) != 24 || strspn(text, "0123456789ABCDEF") != 24)
                return false;
        memcpy(first, text, 8);
        if (!hex_word(first, 8, &timeline) || timeline == 0)
                return false;
        *ret = timeline;
        return true;
}

struct lsn facts_normalise(struct lsn insert, uint64_t block_size, uint64_t segment_size)
{
        if (insert.bytes % segment_size == SEGMENT_HEADER)
                return (struct lsn){insert.bytes - SEGMENT_HEADER};
        if (insert.bytes % block_size == PAGE_HEADER)
                return (struct lsn){insert.bytes - PAGE_HEADER};
        return insert;
}

/* A power of two between `min` and `max`. */
static bool read_size(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
        return text && facts_number(text, max, ret) && *ret >= min && (*ret & (*ret - 1)) == 0;
}

/* Returns the column that is wrong, FACTS_COLUMNS when none is. */
static enum facts_column read_primary(const char *const row[], struct facts *ret)
{
        uint64_t block, segment;

        if (!read_size(row[FACTS_BLOCK_SIZE], 1024, 65536, &block))
                return FACTS_BLOCK_SIZE;
        if (!read_size(row[FACTS_SEGMENT_SIZE], 1 << 20, 1 << 30, &segment))
                return FACTS_SEGMENT_SIZE;
        if (!row[FACTS_POSITION] || ret->position.bytes == 0)
                return FACTS_POSITION;
        if (!row[FACTS_WAL_FILE] || !facts_wal_file_timeline(row[FACTS_WAL_FILE], &ret->timeline))
                return FACTS_WAL_FILE;
        ret->position = facts_normalise(ret->position, block, segment);
        return FACTS_COLUMNS;
}

static enum facts_column read_replica(const char *const row[], const char *role, struct facts *ret)
{
        const char *status = row[FACTS_RECEIVER_STATUS];
        bool has_receiver;
        uint64_t timeline;

        if (!row[FACTS_RECEIVER] || !facts_bool(row[FACTS_RECEIVER], &has_receiver))
                return FACTS_RECEIVER;
        if (!has_receiver) {
                snprintf(ret->note, sizeof ret->note,
                         "timeline unknown: WAL receiver is not streaming (none runs)");
        } else if (!status) {
                snprintf(ret->note, sizeof ret->note, "timeline unknown: GRANT pg_monitor TO %s", role);
        } else if (strcmp(status, "streaming") != 0) {
                snprintf(ret->note, sizeof ret->note, "timeline unknown: WAL receiver is not streaming (%s)",
                         status);
        } else {
                const char *text = row[FACTS_RECEIVER_TIMELINE];
                if (!text || !facts_number(text, INT32_MAX, &timeline) || timeline == 0)
                        return FACTS_RECEIVER_TIMELINE;
                ret->timeline = (uint32_t)timeline;
        }
        return FACTS_COLUMNS;
}

static enum facts_column read_row(const char *const row[], const char *role, struct facts *ret)
{
        if (!row[FACTS_IN_RECOVERY] || !facts_bool(row[FACTS_IN_RECOVERY], &ret->in_recovery))
                return FACTS_IN_RECOVERY;
        if (row[FACTS_POSITION] && !facts_lsn(row[FACTS_POSITION], &ret->position))
                return FACTS_POSITION;
        const char *identifier = row[FACTS_SYSTEM_IDENTIFIER];
        if (!identifier || !facts_number(identifier, INT64_MAX, &ret->system_identifier) ||
            ret->system_identifier == 0)
                return FACTS_SYSTEM_IDENTIFIER;
        return ret->in_recovery ? read_replica(row, role, ret) : read_primary(row, ret);
}

const char *facts_read(const char *const row[FACTS_COLUMNS], const char *role, struct facts *ret)
{
        memset(ret, 0, sizeof *ret);
        enum facts_column wrong = read_row(row, role, ret);
        return wrong == FACTS_COLUMNS ? NULL : column_name[wrong];
}
