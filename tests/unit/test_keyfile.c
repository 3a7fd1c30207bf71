/* test_keyfile.c -- key_file: which files are taken, and what each mistake is told without telling a key. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/keyfile.h"
#include "proto/token.h"

/* 64 digits each; no message may hold a part of one. */
#define A "feedface00000000000000000000000000000000000000000000000000000001"
#define B "FEEDFACE00000000000000000000000000000000000000000000000000000002"
#define C "feedface00000000000000000000000000000000000000000000000000000003"
#define D "feedface00000000000000000000000000000000000000000000000000000004"
#define E "feedface00000000000000000000000000000000000000000000000000000005"
#define F "feedface00000000000000000000000000000000000000000000000000000006"

static char dir[64], path[96];
static struct pnr_token_keys keys;
static struct {
        unsigned n;
        char text[8192];
} heard;

static void make_dir(void)
{
        snprintf(dir, sizeof dir, "/tmp/pinroute-keys-XXXXXX");
        cr_assert(mkdtemp(dir));
        snprintf(path, sizeof path, "%s/keys", dir);
}

static void drop_dir(void)
{
        unlink(path);
        rmdir(dir);
}

TestSuite(keyfile, .init = make_dir, .fini = drop_dir);

static void hear(void *arg, const char *message)
{
        cr_assert_eq(arg, &heard);
        size_t n = strlen(heard.text);
        heard.n++;
        snprintf(heard.text + n, sizeof heard.text - n, "%s\n", message);
        cr_expect_null(strcasestr(message, "feedface"), "a secret is told: %s", message);
}

static bool read_it(const char *of)
{
        heard.n = 0;
        heard.text[0] = '\0';
        memset(&keys, 0xff, sizeof keys);
        bool good = keyfile_read(of, &keys, hear, &heard);
        cr_expect_eq(good, heard.n == 0);
        if (good) {
                cr_expect(pnr_token_keys_valid(&keys));
        } else {
                static const struct pnr_token_keys none;
                cr_expect_eq(memcmp(&keys, &none, sizeof keys), 0);
        }
        return good;
}

static void write_bytes(const char *text, size_t size)
{
        FILE *f = fopen(path, "w");
        cr_assert(f && fwrite(text, 1, size, f) == size && fclose(f) == 0 && chmod(path, 0600) == 0);
}

static bool read_text(const char *text)
{
        write_bytes(text, strlen(text));
        return read_it(path);
}

static void expect_keys(const char *text, unsigned n, uint8_t first, uint8_t last)
{
        cr_assert(read_text(text), "%s", heard.text);
        cr_expect_eq(keys.n, n);
        cr_expect(keys.key[0][0] == 0xfe && keys.key[0][3] == 0xce && keys.key[0][4] == 0);
        cr_expect_eq(keys.key[0][31], first, "the first one signs");
        cr_expect_eq(keys.key[n - 1][31], last);
}

Test(keyfile, keys_are_taken_in_their_order_between_blank_lines_and_comments)
{
        expect_keys(A, 1, 1, 1);
        expect_keys("\n# signs\n" B "\n\n  ; accepted\n\t" A "  \n", 2, 2, 1);
        expect_keys(C " # since May\r\n" A "\t;x\r\n", 2, 3, 1);
        expect_keys(D "\n" C "\n" B "\n" A "\n", 4, 4, 1);
}

/* Exactly one complaint, of this line (0: of the file). */
static void expect_bad(const char *text, unsigned line, const char *what, const char *mend)
{
        char head[160], where[16] = "";
        cr_expect_not(read_text(text), "taken: %s", text);
        if (line)
                snprintf(where, sizeof where, ":%u", line);
        snprintf(head, sizeof head, "%s%s: ", path, where);
        cr_expect_eq(heard.n, 1, "%s", heard.text);
        cr_expect_eq(strncmp(heard.text, head, strlen(head)), 0, "%s is not of line %u", heard.text, line);
        cr_expect(strstr(heard.text, what), "\"%s\" is missing in %s", what, heard.text);
        cr_expect(strstr(heard.text, mend), "\"%s\" is missing in %s", mend, heard.text);
}

Test(keyfile, each_mistake_is_told_with_its_line_and_the_mend)
{
        expect_bad("", 0, "holds no key", "openssl rand -hex 32");
        expect_bad("# later\n\n", 0, "holds no key", "openssl rand -hex 32");
        expect_bad("\nfeedface\n", 2, "a key of 8 digits", "it has 64");
        expect_bad(A "0\n", 1, "a key of 65 digits", "it has 64");
        expect_bad(A "\nfeedfacex\n", 2, "character 9 of the key is no hexadecimal digit", "64 of 0-9 a-f");
        expect_bad(A "#x\n", 1, "character 65", "0-9 a-f");
        expect_bad("key = " A "\n", 1, "more than a key", "one key a line");
        expect_bad(A " " B "\n", 1, "more than a key", "one key a line");
        expect_bad(A "\n" B "\n" A "\n", 3, "the same key as in line 1", "delete one");
        expect_bad(B "\nFeedface"
                     "00000000000000000000000000000000000000000000000000000002\n",
                   2, "the same key as in line 1", "delete one");
        expect_bad(A "\n" B "\n" C "\n" D "\n" E "\n" F "\n", 5, "more than 4 keys", "delete those");
}

Test(keyfile, every_mistake_of_a_file_is_told_in_one_run)
{
        cr_expect_not(read_text("feedface\n" A "\nzz\n" A "\n"));
        cr_expect_eq(heard.n, 3, "%s", heard.text);
        cr_expect(strstr(heard.text, ":1: ") && strstr(heard.text, ":3: ") && strstr(heard.text, ":4: "));
}

Test(keyfile, a_file_that_is_no_text_is_refused)
{
        write_bytes(A "\n\0" B "\n", 131);
        cr_expect_not(read_it(path));
        cr_expect(heard.n == 1 && strstr(heard.text, ":2: a NUL byte"), "%s", heard.text);
        static char big[16385];
        memset(big, '\n', sizeof big);
        write_bytes(big, sizeof big);
        cr_expect_not(read_it(path));
        cr_expect(strstr(heard.text, "is no regular file of up to 16 KiB"), "%s", heard.text);
        write_bytes(A, 64);
        cr_expect(read_it(path));
}

Test(keyfile, whom_the_file_is_open_to_is_looked_at)
{
        static const struct {
                mode_t mode;
                bool good;
        } rows[] = {{0400, true},  {0600, true},  {0640, true},  {0660, true},
                    {0644, false}, {0604, false}, {0602, false}, {0601, false}};
        cr_assert(read_text(A));
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                cr_assert_eq(chmod(path, rows[i].mode), 0);
                cr_expect_eq(read_it(path), rows[i].good, "mode %o", rows[i].mode);
                cr_expect(rows[i].good || strstr(heard.text, "chmod o="), "%s", heard.text);
        }
}

Test(keyfile, what_is_no_regular_file_is_refused_and_a_link_to_one_is_followed)
{
        char link[120];
        cr_expect_not(read_it(dir));
        cr_expect(strstr(heard.text, "is no regular file"), "%s", heard.text);
        cr_assert_eq(mkfifo(path, 0600), 0);
        cr_expect_not(read_it(path), "and nobody waits for the other end");
        unlink(path);
        cr_expect_not(read_it(path));
        cr_expect(strstr(heard.text, "No such file or directory; create it, or correct key_file"), "%s",
                  heard.text);
        cr_assert(read_text(A));
        snprintf(link, sizeof link, "%s.link", path);
        cr_assert_eq(symlink(path, link), 0);
        cr_expect(read_it(link), "%s", heard.text);
        unlink(link);
}
