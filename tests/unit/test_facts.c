/* test_facts.c -- how strictly an answer of PostgreSQL is read, and where an insert position is normalised.
 * Pure: rows are written here by hand. */
#include "daemon/facts.h"

#include <criterion/criterion.h>
#include <string.h>

#define SEGMENT (16ull << 20)

static const char *const primary[FACTS_COLUMNS] = {
    "f",    "1A/30000D8", "000000070000001A00000003", "f", NULL, NULL, "7711053027699984063",
    "8192", "16777216"};
static const char *const replica[FACTS_COLUMNS] = {"t", "1A/3000028",          NULL,   "t",       "streaming",
                                                   "7", "7711053027699984063", "8192", "16777216"};

struct change {
        enum facts_column column;
        const char *value;
};

static const char *read_changed(const char *const row[], struct change change, struct facts *ret)
{
        const char *changed[FACTS_COLUMNS];

        memcpy(changed, row, sizeof changed);
        changed[change.column] = change.value;
        return facts_read(changed, "pinroute", ret);
}

Test(facts, a_primary_says_its_insert_position_and_its_own_timeline)
{
        struct facts f;

        cr_assert_null(facts_read(primary, "pinroute", &f));
        cr_assert(!f.in_recovery);
        cr_assert_eq(f.position.bytes, 0x1A030000D8ull);
        cr_assert_eq(f.timeline, 7u);
        cr_assert_eq(f.system_identifier, 7711053027699984063ull);
        cr_assert_str_eq(f.note, "");
}

Test(facts, a_replica_says_what_it_replayed_and_the_timeline_that_it_streams)
{
        struct facts f;

        cr_assert_null(facts_read(replica, "pinroute", &f));
        cr_assert(f.in_recovery);
        cr_assert_eq(f.position.bytes, 0x1A03000028ull, "never normalised");
        cr_assert_eq(f.timeline, 7u);
        cr_assert_str_eq(f.note, "");
}

Test(facts, a_replica_that_has_replayed_nothing_has_no_position)
{
        struct facts f;

        cr_assert_null(read_changed(replica, (struct change){FACTS_POSITION, NULL}, &f));
        cr_assert_eq(f.position.bytes, 0u);
}

Test(facts, an_unknown_timeline_is_zero_and_says_whether_rights_or_the_receiver_are_missing)
{
        struct facts f;

        cr_assert_null(read_changed(replica, (struct change){FACTS_RECEIVER_STATUS, NULL}, &f));
        cr_assert_eq(f.timeline, 0u);
        cr_assert_str_eq(f.note, "timeline unknown: GRANT pg_monitor TO pinroute");

        cr_assert_null(read_changed(replica, (struct change){FACTS_RECEIVER, "f"}, &f));
        cr_assert_eq(f.timeline, 0u);
        cr_assert_str_eq(f.note, "timeline unknown: WAL receiver is not streaming (none runs)");

        cr_assert_null(read_changed(replica, (struct change){FACTS_RECEIVER_STATUS, "waiting"}, &f));
        cr_assert_eq(f.timeline, 0u);
        cr_assert_str_eq(f.note, "timeline unknown: WAL receiver is not streaming (waiting)");
}

Test(facts, each_column_that_is_not_what_was_asked_for_refuses_the_row)
{
        static const struct change in_both[] = {
            {FACTS_IN_RECOVERY, NULL},      {FACTS_IN_RECOVERY, "maybe"},
            {FACTS_IN_RECOVERY, ""},        {FACTS_POSITION, "0"},
            {FACTS_POSITION, ""},           {FACTS_SYSTEM_IDENTIFIER, NULL},
            {FACTS_SYSTEM_IDENTIFIER, "0"}, {FACTS_SYSTEM_IDENTIFIER, "-1"},
            {FACTS_SYSTEM_IDENTIFIER, "x"}, {FACTS_SYSTEM_IDENTIFIER, "9223372036854775808"},
        };
        static const struct change in_primary[] = {
            {FACTS_POSITION, NULL},       {FACTS_POSITION, "0/0"},
            {FACTS_WAL_FILE, NULL},       {FACTS_WAL_FILE, "00000001"},
            {FACTS_BLOCK_SIZE, NULL},     {FACTS_BLOCK_SIZE, "0"},
            {FACTS_BLOCK_SIZE, "8191"},   {FACTS_BLOCK_SIZE, "512"},
            {FACTS_BLOCK_SIZE, "131072"}, {FACTS_SEGMENT_SIZE, NULL},
            {FACTS_SEGMENT_SIZE, "0"},    {FACTS_SEGMENT_SIZE, "16MB"},
            {FACTS_SEGMENT_SIZE, "8192"}, {FACTS_SEGMENT_SIZE, "2147483648"},
        };
        static const struct change in_replica[] = {
            {FACTS_RECEIVER, NULL},
            {FACTS_RECEIVER, "1"},
            {FACTS_RECEIVER_TIMELINE, NULL},
            {FACTS_RECEIVER_TIMELINE, "0"},
            {FACTS_RECEIVER_TIMELINE, "-1"},
            {FACTS_RECEIVER_TIMELINE, "1.5"},
            {FACTS_RECEIVER_TIMELINE, "2147483648"},
        };
        struct facts f;

        for (size_t i = 0; i < sizeof in_both / sizeof in_both[0]; i++) {
                cr_assert_not_null(read_changed(primary, in_both[i], &f), "primary, case %zu", i);
                cr_assert_not_null(read_changed(replica, in_both[i], &f), "replica, case %zu", i);
        }
        for (size_t i = 0; i < sizeof in_primary / sizeof in_primary[0]; i++)
                cr_assert_not_null(read_changed(primary, in_primary[i], &f), "case %zu", i);
        for (size_t i = 0; i < sizeof in_replica / sizeof in_replica[0]; i++)
                cr_assert_not_null(read_changed(replica, in_replica[i], &f), "case %zu", i);
}

Test(facts, an_insert_position_just_past_a_header_is_where_the_header_begins)
{
        static const struct {
                uint64_t insert, want;
        } row[] = {
            {SEGMENT + 40, SEGMENT},
            {SEGMENT + 39, SEGMENT + 39},
            {SEGMENT + 41, SEGMENT + 41},
            {SEGMENT + 24, SEGMENT},
            {SEGMENT + 8192 + 24, SEGMENT + 8192},
            {SEGMENT + 8192 + 23, SEGMENT + 8192 + 23},
            {SEGMENT + 8192 + 25, SEGMENT + 8192 + 25},
            {SEGMENT + 8192 + 40, SEGMENT + 8192 + 40},
            {SEGMENT, SEGMENT},
        };

        for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
                cr_assert_eq(facts_normalise((struct lsn){row[i].insert}, 8192, SEGMENT).bytes, row[i].want,
                             "case %zu", i);
        cr_assert_eq(facts_normalise((struct lsn){65536 + 4096 + 24}, 4096, 1 << 20).bytes, 65536u + 4096u);
}

Test(facts, the_row_of_a_primary_is_normalised_by_the_sizes_that_it_names)
{
        struct facts f;

        cr_assert_null(read_changed(primary, (struct change){FACTS_POSITION, "1A/4000028"}, &f));
        cr_assert_eq(f.position.bytes, 0x1A04000000ull);
        cr_assert_null(read_changed(primary, (struct change){FACTS_POSITION, "1A/4002018"}, &f));
        cr_assert_eq(f.position.bytes, 0x1A04002000ull);
}

Test(facts, a_position_is_two_hex_words_and_nothing_else)
{
        static const char *const bad[] = {"",     "/",     "0",           "0/",          "/0",
                                          "0/0 ", " 0/0",  "0/g",         "0x1/0",       "1/-1",
                                          "a/b",  "0/0/0", "123456789/0", "0/123456789", "+1/0"};
        struct lsn l = {77};

        cr_assert(facts_lsn("FFFFFFFF/FFFFFFFF", &l));
        cr_assert_eq(l.bytes, UINT64_MAX);
        cr_assert(facts_lsn("0/0", &l));
        cr_assert_eq(l.bytes, 0u);
        cr_assert(facts_lsn("16/B374D848", &l));
        cr_assert_eq(l.bytes, 0x16B374D848ull);
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
                l.bytes = 77;
                cr_assert(!facts_lsn(bad[i], &l), "\"%s\"", bad[i]);
                cr_assert_eq(l.bytes, 77u);
        }
}

Test(facts, a_number_is_decimal_and_within_its_bound)
{
        static const char *const bad[] = {"",    "-1",  "+1", " 1",  "1 ",
                                          "1.0", "0x1", "01", "101", "18446744073709551617"};
        uint64_t n = 77;

        cr_assert(facts_number("0", 0, &n) && n == 0);
        cr_assert(facts_number("100", 100, &n) && n == 100);
        cr_assert(facts_number("18446744073709551615", UINT64_MAX, &n) && n == UINT64_MAX);
        cr_assert(!facts_number("18446744073709551616", UINT64_MAX, &n));
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
                cr_assert(!facts_number(bad[i], 100, &n), "\"%s\"", bad[i]);
}

Test(facts, a_truth_is_t_or_f)
{
        static const char *const bad[] = {"", "T", "true", "tt", "0", "1", "off"};
        bool b = false;

        cr_assert(facts_bool("t", &b) && b);
        cr_assert(facts_bool("f", &b) && !b);
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
                cr_assert(!facts_bool(bad[i], &b), "\"%s\"", bad[i]);
}

Test(facts, a_timeline_is_the_first_word_of_a_wal_file_name)
{
        static const char *const bad[] = {"",
                                          "00000001",
                                          "000000010000000000000003.partial",
                                          "000000000000000000000003",
                                          "00000001000000000000000G",
                                          "0000000100000000000000033",
                                          "0000000a0000000000000003"};
        uint32_t t = 77;

        cr_assert(facts_wal_file_timeline("0000000A0000000000000003", &t) && t == 10);
        cr_assert(facts_wal_file_timeline("FFFFFFFF0000000000000003", &t) && t == UINT32_MAX);
        for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
                cr_assert(!facts_wal_file_timeline(bad[i], &t), "\"%s\"", bad[i]);
}
