/* pinroutectl.c -- the operator's tool: argv in, a command run, an exit status out.
 * Owns: the command line, stderr. */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/ctl.h"
#include "client/ctl_command.h"
#include "client/pinroute.h"

#define DEFAULT_DIR "/run/pinroute"

enum ctl_exit ctl_fail(enum ctl_exit status, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        fflush(stdout);
        fputs("pinroutectl: ", stderr);
        vfprintf(stderr, format, args);
        fputc('\n', stderr);
        va_end(args);
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

static enum ctl_exit bad_option(bool incomplete, const char *word)
{
        char letter[] = {'-', (char)optopt, '\0'};
        return ctl_fail(CTL_USAGE, "%s: %s; `pinroutectl --help` tells", optopt ? letter : word,
                        incomplete ? "what it needs is missing" : "unknown option");
}

/* Returns true to go on with the words from optind on; false: end with *status. */
static bool parse(int argc, char **argv, struct ctl *ctl, enum ctl_exit *status)
{
        static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
                                                {"json", no_argument, NULL, 'j'},
                                                {"help", no_argument, NULL, 'h'},
                                                {"version", no_argument, NULL, 'V'},
                                                {0}};
        int c;
        opterr = 0;
        *status = CTL_OK;
        while ((c = getopt_long(argc, argv, ":d:hV", options, NULL)) != -1) {
                switch (c) {
                case 'd': ctl->dir = optarg; break;
                case 'j': ctl->json = true; break;
                case 'h': help(); return false;
                case 'V': puts("pinroutectl " PINROUTE_VERSION); return false;
                default: *status = bad_option(c == ':', argv[optind - 1]); return false;
                }
        }
        if (optind == argc)
                *status = ctl_fail(CTL_USAGE, "no command; `pinroutectl --help` lists them");
        return optind < argc;
}

int main(int argc, char **argv)
{
        struct ctl ctl = {.dir = default_dir()};
        enum ctl_exit status;
        if (parse(argc, argv, &ctl, &status))
                status = ctl_command_run(&ctl, (const char *const *)argv + optind, (unsigned)(argc - optind));
        if (fflush(stdout) != 0 && status == CTL_OK)
                status = ctl_fail(CTL_ERROR, "stdout took not all of the answer");
        return (int)status;
}
