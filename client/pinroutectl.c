/* pinroutectl.c -- the operator's tool: argv in, a command run, an exit status out.
 * Owns: the command line, stderr. */
#include <ctype.h>
#include <getopt.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl.h"
#include "client/ctl_command.h"
#include "client/ctl_commands.h"
#include "client/pinroute.h"

#define DEFAULT_DIR   "/run/pinroute"
#define SENTENCE_SIZE 8192 /* a longer one is cut */

static struct ctl ctl;

void ctl_tell(const char *format, ...)
{
        va_list args;
        va_start(args, format);
        fflush(stdout);
        fputs("pinroutectl: ", stderr);
        vfprintf(stderr, format, args);
        fputc('\n', stderr);
        va_end(args);
}

/* A word of the command line may be any bytes, JSON takes UTF-8 only. */
static void answer_failure(char *sentence, const char *code)
{
        json_t *error = json_string(sentence);
        for (char *p = sentence; !error && *p; p++)
                *p = isascii((unsigned char)*p) ? *p : '?';
        json_t *doc =
            json_pack("{sb so ss}", "ok", 0, "error", error ? error : json_string(sentence), "code", code);
        json_dumpf(doc, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(doc);
}

enum ctl_exit ctl_fail(enum ctl_exit status, const char *code, const char *format, ...)
{
        char sentence[SENTENCE_SIZE];
        va_list args;
        va_start(args, format);
        vsnprintf(sentence, sizeof sentence, format, args);
        va_end(args);
        ctl_tell("%s%s%s%s", sentence, code ? " (" : "", code ? code : "", code ? ")" : "");
        if (ctl.json)
                answer_failure(sentence, code ? code : status == CTL_USAGE ? "E_INVALID" : "E_DAEMON");
        return status;
}

/* Of a command, or of all.  False: there is no such command. */
static bool help(const char *command)
{
        if (command)
                return ctl_command_help(command);
        puts("usage: pinroutectl [-d DIR] [--json] COMMAND ...\n");
        ctl_command_help(NULL);
        puts("\n"
             "  -d, --dir DIR   the daemon's directory; else $PINROUTE_DIR, else " DEFAULT_DIR "\n"
             "      --json      answer with JSON\n"
             "  -h, --help      this text; behind a command, that one's\n"
             "  -V, --version\n"
             "\n"
             "NODE is an alias of the config file, or CLUSTER/ALIAS.  KEY is 1 to 4096 bytes; -: it is read "
             "from\n"
             "stdin, less one newline at its end, so that no process list shows it.\n"
             "Exit status: 0 done, 1 not reachable or refused, 2 wrong command line, 3 degraded (status "
             "only).");
        return true;
}

static const char *default_dir(void)
{
        const char *dir = getenv("PINROUTE_DIR");
        return dir && *dir ? dir : DEFAULT_DIR;
}

struct bad_option {
        bool incomplete;
        const char *word; /* NULL: there is none */
        char letter[3];
};

static enum ctl_exit tell_bad_option(const struct bad_option *bad)
{
        return ctl_fail(CTL_USAGE, NULL, "%s: %s; `pinroutectl --help` tells",
                        bad->letter[0] ? bad->letter : bad->word,
                        bad->incomplete ? "what it needs is missing" : "unknown option");
}

/* 0: it is none from `least` to `most`. */
static double number_of(const char *text, double least, double most)
{
        char *end;
        double n = strtod(text, &end);
        bool digits = strspn(text, "0123456789.") == strlen(text);
        return digits && end != text && !*end && n >= least && n <= most ? n : 0;
}

/* An option that some commands have.  NULL, or what is wrong with it. */
static const char *take(int letter)
{
        size_t n = strlen(ctl.given);
        if (!strchr(ctl.given, letter) && n + 1 < sizeof ctl.given)
                ctl.given[n] = (char)letter;
        switch (letter) {
        case 'c': ctl.changes = true; return NULL;
        case 'i':
                ctl.interval_ms = (unsigned)(number_of(optarg, 0.1, 3600) * 1000 + 0.5);
                return ctl.interval_ms ? NULL : "SECONDS is one of 0.1 to 3600";
        default:
                ctl.count = strchr(optarg, '.') ? 0 : (unsigned)number_of(optarg, 1, 1e9);
                return ctl.count ? NULL : "COUNT is one of 1 to 1000000000";
        }
}

/* Returns true to go on with the words from optind on; false: end with *status.
 * Goes to the end also after a bad option: a --json behind it counts. */
static bool parse(int argc, char **argv, enum ctl_exit *status)
{
        static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
                                                {"json", no_argument, NULL, 'j'},
                                                {"help", no_argument, NULL, 'h'},
                                                {"version", no_argument, NULL, 'V'},
#define ROW(letter, name, argument, text)                                                                    \
        {name, sizeof(argument) > 1 ? required_argument : no_argument, NULL, letter},
                                                CTL_OPTIONS(ROW)
#undef ROW
                                                    {0}};
        static const char letters[] = ":d:hVci:n:";
        struct bad_option bad = {0};
        const char *wrong = NULL;
        bool wants_help = false;
        opterr = 0;
        *status = CTL_OK;
        for (int c; (c = getopt_long(argc, argv, letters, options, NULL)) != -1;) {
                switch (c) {
                case 'd': ctl.dir = optarg; break;
                case 'j': ctl.json = true; break;
                case 'h': wants_help = true; break;
                case 'V': puts("pinroutectl " PINROUTE_VERSION); return false;
                case 'c':
                case 'i':
                case 'n': wrong = wrong ? wrong : take(c); break;
                default:
                        if (!bad.word)
                                bad = (struct bad_option){
                                    c == ':', argv[optind - 1], {optopt ? '-' : '\0', (char)optopt}};
                }
        }
        if (wants_help && help(optind < argc ? argv[optind] : NULL))
                return false;
        if (bad.word)
                *status = tell_bad_option(&bad);
        else if (wrong)
                *status = ctl_fail(CTL_USAGE, NULL, "%s; `pinroutectl --help` tells", wrong);
        else if (optind == argc)
                *status = ctl_fail(CTL_USAGE, NULL, "no command; `pinroutectl --help` lists them");
        return !bad.word && !wrong && optind < argc;
}

int main(int argc, char **argv)
{
        enum ctl_exit status;
        ctl.dir = default_dir();
        if (parse(argc, argv, &status))
                status = ctl_command_run(&ctl, (const char *const *)argv + optind, (unsigned)(argc - optind));
        if (fflush(stdout) != 0 && status == CTL_OK) {
                ctl_tell("stdout took not all of the answer");
                status = CTL_ERROR;
        }
        return (int)status;
}
