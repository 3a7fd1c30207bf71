/* manual_tables.c -- fills the markers of a manual page from the tables that the programs are made of.
 * A page on stdin becomes scdoc's source on stdout; `--names` lists what the tables hold.  Never installed.
 *
 * A marker is a line of its own:
 *     @PAGE pinrouted(8)@        the preamble
 *     @OPTION cluster max_lag@   one row of a table: a heading, to be followed by an indented paragraph
 *     @OPTIONS cluster@          all rows of this section that no line of the page names, with their sentences
 *     @STATUS E_STORE@           likewise, @STATUSES@, @REASON PINNED@, @REASONS@
 *     @METRICS@                  every metric of /metrics
 *     @COMMAND drain@, @COMMANDS@, @SHOWS@   of pinroutectl */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl_commands.h"
#include "client/pinroute.h"
#include "client/words.h"
#include "daemon/conf.h"
#include "daemon/option.h"

struct row {
        const char *table, *name; /* "OPTION cluster", "max_lag" */
        const char *text;         /* a sentence, or NULL */
        const char *kind;         /* of an option or metric */
        const struct option *option;
        const char *labels;              /* of a metric, separated by commas */
        const char *arguments, *letters; /* of a command: what follows it, and its options */
        int number;                      /* of a status or reason */
        bool named;                      /* by a line of this page */
};

#define SECTION_DAEMON  "OPTION pinrouted"
#define SECTION_CLUSTER "OPTION cluster"
#define SECTION_NODE    "OPTION node"

static struct row rows[] = {
#define OPTION(word, of, type, low, high, unless, change, sentence)                                          \
        {.table = SECTION_##of,                                                                              \
         .name = #word,                                                                                      \
         .text = (sentence),                                                                                 \
         .kind = #type,                                                                                      \
         .option = &options[OPTION_##of##_##word]},
#include "daemon/options.h"
#undef OPTION
#define METRIC(metric, type, scope, with, help)                                                              \
        {.table = "METRIC", .name = "pinrouted_" #metric, .text = (help), .kind = #type, .labels = (with)},
#include "daemon/metric_rows.h"
#undef METRIC
#define STATUS(word, value, sentence)                                                                        \
        {.table = "STATUS", .name = #word, .text = (sentence), .number = (value)},
    WORDS_STATUS(STATUS)
#define REASON(word, value, sentence) {.table = "REASON", .name = #word, .number = (value)},
        WORDS_REASON(REASON)
#define COMMAND(word, what, least, most, options, sentence)                                                  \
        {.table = "COMMAND", .name = #word, .text = (sentence), .arguments = (what), .letters = (options)},
            CTL_COMMANDS(COMMAND)
#define SHOW(word, sentence) {.table = "SHOW", .name = #word, .text = (sentence)},
                CTL_SHOWS(SHOW)};
#define N_ROWS (sizeof rows / sizeof *rows)

static unsigned line_number;

__attribute__((noreturn)) static void fail(const char *what, const char *line)
{
        fprintf(stderr, "manual_tables: line %u: %s: %s\n", line_number, what, line);
        exit(1); /* NOLINT(concurrency-mt-unsafe): there is one thread */
}

/* Text of a table: what scdoc would take for bold or underlined is meant as it stands. */
static void put(const char *text)
{
        for (; *text; text++)
                printf("%s%c", strchr("*_\\", *text) ? "\\" : "", *text);
}

static void put_sentence(const char *text)
{
        char first[2] = {text[0], '\0'};
        bool whole = strchr(".?", text[strlen(text) - 1]);
        if (first[0] >= 'a' && first[0] <= 'z')
                first[0] = (char)(first[0] - 'a' + 'A');
        put(first);
        put(text + 1);
        puts(whole ? "" : ".");
}

/* What may stand right of the `=`: a noun and bounds, or the words that the parser names when it refuses. */
static void put_values(const struct row *r)
{
        static const char *const nouns[][2] = {
            {"PATH", "directory"}, {"LISTEN", "address"},  {"GROUP", "group"},
            {"USER", "user"},      {"HOSTS", "names"},     {"FILE", "file"},
            {"COUNT", "number"},   {"SECONDS", "seconds"}, {"DURATION", "duration"}};
        const struct value_rule *rule = &r->option->rule;
        union {
                int64_t number;
                char text[VALUE_TEXT_MAX];
        } field;
        char why[VALUE_WHY_MAX] = "", low[VALUE_TEXT_MAX], high[VALUE_TEXT_MAX];
        for (size_t i = 0; i < sizeof nouns / sizeof *nouns; i++)
                if (strcmp(nouns[i][0], r->kind) == 0)
                        printf("_%s_", nouns[i][1]);
        if (value_is_text(rule->kind))
                return;
        if (rule->max) {
                value_show(rule->kind, &rule->min, low, sizeof low);
                value_show(rule->kind, &rule->max, high, sizeof high);
                printf(", %s to %s", low, high);
        } else if (!value_read(rule, "?", &field, why) && strstr(why, "; say ")) {
                put(strstr(why, "; say ") + strlen("; say "));
        }
}

static void put_option(const struct row *r)
{
        const char *fallback = r->option->fallback;
        printf("*%s* = ", r->name);
        put_values(r);
        printf(" (default: ");
        put(*fallback == '\0' ? "none" : *fallback == '=' ? fallback + 1 : fallback);
        puts(r->option->when == AT_START ? "; a change takes a restart)" : ")");
}

/* "pinrouted_node_up (gauge; cluster, node, role)" */
static void put_metric(const struct row *r)
{
        printf("*%s* (", r->name);
        for (const char *p = r->kind; *p; p++)
                putchar(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p);
        printf("%s", *r->labels ? "; " : "");
        for (const char *p = r->labels; *p; p++)
                printf(*p == ',' ? ", " : "%c", *p);
        puts(")");
}

static const struct {
        char letter;
        const char *name, *argument, *text;
} command_options[] = {
#define OPTION_ROW(a_letter, a_name, an_argument, a_text) {a_letter, a_name, an_argument, a_text},
    CTL_OPTIONS(OPTION_ROW)};
#define N_COMMAND_OPTIONS (sizeof command_options / sizeof *command_options)

/* "*top* [*-i* _SECONDS_] [*-n* _COUNT_]" */
static void put_command(const struct row *r)
{
        printf("*%s*", r->name);
        for (size_t i = 0; i < N_COMMAND_OPTIONS; i++) {
                const char *argument = command_options[i].argument;
                if (strchr(r->letters, command_options[i].letter))
                        printf(*argument ? " [*-%c* _%s_]" : " [*-%c*%s]", command_options[i].letter,
                               argument);
        }
        if (*r->arguments)
                putchar(' ');
        put(r->arguments);
        putchar('\n');
}

/* "*-i*, *--interval* _SECONDS_: ...", each a paragraph below the command's sentence */
static void put_options_of(const struct row *r)
{
        for (size_t i = 0; i < N_COMMAND_OPTIONS; i++) {
                const char *argument = command_options[i].argument;
                if (!strchr(r->letters, command_options[i].letter))
                        continue;
                printf("\n\t*-%c*, *--%s*", command_options[i].letter, command_options[i].name);
                printf(*argument ? " _%s_: " : "%s: ", argument);
                put_sentence(command_options[i].text);
        }
}

static void put_heading(const struct row *r)
{
        if (r->option)
                put_option(r);
        else if (r->labels)
                put_metric(r);
        else if (r->arguments)
                put_command(r);
        else if (strcmp(r->table, "SHOW") == 0)
                printf("\t*%s*: ", r->name);
        else
                printf("*PINROUTE_%s* (%d)\n", r->name, r->number);
}

/* What pinroute_strerror() says stands in quotes. */
static void put_text(const struct row *r)
{
        if (strcmp(r->table, "STATUS") != 0) {
                put_sentence(r->text);
                return;
        }
        putchar('"');
        put(r->text);
        puts("\".");
}

static void put_row(struct row *r)
{
        r->named = true;
        put_heading(r);
        if (!r->text)
                return;
        if (strcmp(r->table, "SHOW") != 0)
                putchar('\t');
        put_text(r);
        if (r->letters && *r->letters)
                put_options_of(r);
}

static void put_rest(const char *table)
{
        unsigned n = 0;
        for (struct row *r = rows; r < rows + N_ROWS; r++)
                if (strcmp(r->table, table) == 0 && !r->named && (!r->text || *r->text)) {
                        if (n++)
                                putchar('\n');
                        put_row(r);
                }
}

static bool is_table(const char *table)
{
        for (const struct row *r = rows; r < rows + N_ROWS; r++)
                if (strcmp(r->table, table) == 0)
                        return true;
        return false;
}

/* "OPTION cluster max_lag" */
static struct row *find_row(const char *words)
{
        for (struct row *r = rows; r < rows + N_ROWS; r++) {
                size_t n = strlen(r->table);
                if (strncmp(words, r->table, n) == 0 && words[n] == ' ' &&
                    strcmp(words + n + 1, r->name) == 0)
                        return r;
        }
        return NULL;
}

/* "OPTIONS cluster" -> "OPTION cluster", "STATUSES" -> "STATUS"; false: no plural. */
static bool singular(const char *words, char *table, size_t size)
{
        static const char *const plurals[][2] = {{"OPTIONS", "OPTION"},   {"STATUSES", "STATUS"},
                                                 {"REASONS", "REASON"},   {"METRICS", "METRIC"},
                                                 {"COMMANDS", "COMMAND"}, {"SHOWS", "SHOW"}};
        for (size_t i = 0; i < sizeof plurals / sizeof *plurals; i++) {
                size_t n = strlen(plurals[i][0]);
                if (strncmp(words, plurals[i][0], n) == 0 && (words[n] == ' ' || words[n] == '\0')) {
                        snprintf(table, size, "%s%s", plurals[i][1], words + n);
                        return true;
                }
        }
        return false;
}

static void put_marker(const char *words)
{
        char table[64];
        struct row *r = find_row(words);
        if (strncmp(words, "PAGE ", 5) == 0) {
                printf("%s \"pinroute %s\" \"pinroute\"\n", words + 5, pinroute_version());
        } else if (r) {
                put_row(r);
        } else if (singular(words, table, sizeof table)) {
                if (!is_table(table))
                        fail("no such table", words);
                put_rest(table);
        } else {
                fail("no such marker, or no such row", words);
        }
}

/* Text that stands between ```: scdoc takes a backslash for its own there, too. */
static void put_literal(const char *line)
{
        for (; *line; line++)
                printf(*line == '\\' ? "\\%c" : "%c", *line);
        putchar('\n');
}

/* NULL: it is no marker; else what stands between its @s, in the line itself. */
static char *marker_of(char *line)
{
        size_t n = strlen(line);
        if (n < 3 || line[0] != '@' || line[n - 1] != '@')
                return NULL;
        line[n - 1] = '\0';
        return line + 1;
}

static void put_page(char *line[], unsigned n)
{
        bool literal = false;
        for (line_number = 1; line_number <= n; line_number++) {
                char *text = line[line_number - 1], *marker;
                literal ^= strcmp(text, "```") == 0;
                if (literal)
                        put_literal(text);
                else if ((marker = marker_of(text)))
                        put_marker(marker);
                else
                        puts(text);
        }
}

/* What a line further down names is not among the rest. */
static void fill(void)
{
        static char text[1 << 17], *line[1 << 17];
        unsigned n = 0;
        size_t size = fread(text, 1, sizeof text - 1, stdin);
        if (!feof(stdin))
                fail("not read to its end", "the page");
        for (char *p = text; p < text + size; p += strlen(p) + 1) {
                p[strcspn(p, "\n")] = '\0';
                line[n++] = p;
                char words[64];
                struct row *r = NULL;
                if (sscanf(p, "@%63[^@]@", words) == 1 && (r = find_row(words)))
                        r->named = true;
        }
        put_page(line, n);
}

int main(int argc, char **argv)
{
        if (argc == 2 && strcmp(argv[1], "--names") == 0) {
                for (const struct row *r = rows; r < rows + N_ROWS; r++)
                        if (!r->text || *r->text)
                                printf("%s %s %d\n", r->table, r->name, r->number);
        } else if (argc == 1) {
                fill();
        } else {
                fprintf(stderr, "usage: manual_tables <PAGE.scd.in >PAGE.scd, or manual_tables --names\n");
                return 2;
        }
        return fflush(stdout) ? 1 : 0;
}
