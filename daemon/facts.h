/* facts.h -- what one answer of a PostgreSQL server says: the question, and how strictly its answer is read.
 * Pure: the text of a row in, facts out. */
#ifndef PINROUTED_FACTS_H
#define PINROUTED_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/units.h"

#define FACTS_NOTE_MAX 128

/* Columns of the answer to facts_question, in its order. */
enum facts_column {
        FACTS_IN_RECOVERY,
        FACTS_POSITION, /* primary: insert; replica: last replayed */
        FACTS_WAL_FILE, /* primary only */
        FACTS_RECEIVER, /* t: the replica has a WAL receiver */
        FACTS_RECEIVER_STATUS,
        FACTS_RECEIVER_TIMELINE,
        FACTS_SYSTEM_IDENTIFIER,
        FACTS_BLOCK_SIZE,
        FACTS_SEGMENT_SIZE,
        FACTS_COLUMNS,
};

extern const char facts_question[];

struct facts {
        uint64_t system_identifier;
        struct lsn position; /* a primary's is normalised; 0: none */
        uint32_t timeline;   /* 0: unknown, and note says why */
        bool in_recovery;
        char note[FACTS_NOTE_MAX]; /* what is missing, or "" */
};

/* Reads one row (NULL: SQL NULL).  `role` is named in the advice to grant rights.
 * Returns NULL, or the name of the first column that is not what facts_question asks for. */
const char *facts_read(const char *const row[FACTS_COLUMNS], const char *role, struct facts *ret);

/* A WAL position after which nothing was written yet stands just past the header of the page (24 bytes) or of
 * the segment (40): a place that no replica ever reports.  Returns where that header begins, else the
 * position. */
struct lsn facts_normalise(struct lsn insert, uint64_t block_size, uint64_t segment_size);

/* Each accepts exactly what PostgreSQL prints for the type; *ret is set only on true. */
bool facts_bool(const char *text, bool *ret);
bool facts_lsn(const char *text, struct lsn *ret);
bool facts_number(const char *text, uint64_t max, uint64_t *ret);
bool facts_wal_file_timeline(const char *text, uint32_t *ret);

#endif
