/* pinroutectl.c -- the operator's tool: argv in, a command run, an exit status out.
 * Owns: the command line, stderr. */
#include <ctype.h>
#include <getopt.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/ctl.h"
#include "client/ctl_command.h"
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

static void help(void)
{
        puts("usage: pinroutectl [-d DIR] [--json] COMMAND ...\n");
        ctl_command_help();
        puts("\n"
             "  -d, --dir DIR   the daemon's directory; else $PINROUTE_DIR, else " DEFAULT_DIR "\n"
             "      --json      answer with JSON\n"
             "  -h, --help      this text\n"
             "  -V, --version\n"
             "\n"
             "NODE is an alias of the config file, or CLUSTER/ALIAS.  KEY is 1 to 4096 bytes; -: it is read "
             "from\n"
             "stdin, less one newline at its end, so that no process list shows it.\n"
             "Exit status: 0 done, 1 not reachable or refused, 2 wrong command line, 3 degraded (status "
             "only).");
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

/* Returns true to go on with the words from optind on; false: end with *status.
 * Goes to the end also after a bad option: a --json behind it counts. */
static bool parse(int argc, char **argv, enum ctl_exit *status)
{
        static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
                                                {"json", no_argument, NULL, 'j'},
                                                {"help", no_argument, NULL, 'h'},
                                                {"version", no_argument, NULL, 'V'},
                                                {0}};
        struct bad_option bad = {0};
        opterr = 0;
        *status = CTL_OK;
        for (int c; (c = getopt_long(argc, argv, ":d:hV", options, NULL)) != -1;) {
                switch (c) {
                case 'd': ctl.dir = optarg; break;
                case 'j': ctl.json = true; break;
                case 'h': help(); return false;
                case 'V': puts("pinroutectl " PINROUTE_VERSION); return false;
                default:
                        if (!bad.word)
                                bad = (struct bad_option){
                                    c == ':', argv[optind - 1], {optopt ? '-' : '\0', (char)optopt}};
                }
        }
        if (bad.word)
                *status = tell_bad_option(&bad);
        else if (optind == argc)
                *status = ctl_fail(CTL_USAGE, NULL, "no command; `pinroutectl --help` lists them");
        return !bad.word && optind < argc;
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
