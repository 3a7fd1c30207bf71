/* test_ctl_command.c -- the command line is judged before anybody is asked. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/ctl_command.h"
#include "ctl_told.h"

static const struct ctl nobody = {.dir = "/nonexistent"};

static void expect(const char *words, enum ctl_exit status, const char *part)
{
        char copy[200];
        const char *word[8];
        unsigned n = 0;
        snprintf(copy, sizeof copy, "%s", words);
        for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
                word[n++] = w;
        word[n] = NULL;
        told[0] = '\0';
        cr_expect_eq(ctl_command_run(&nobody, word, n), status, "%s: %s", words, told);
        cr_expect(strstr(told, part), "%s: %s", words, told);
}

Test(ctl_command, a_wrong_command_line_asks_nobody)
{
        expect("relaod", CTL_USAGE, "did you mean reload?");
        expect("zzzzzzz", CTL_USAGE, "`pinroutectl --help` lists them");
        expect("status now", CTL_USAGE, "too many arguments; usage: pinroutectl status");
        expect("why main", CTL_USAGE, "too few arguments; usage: pinroutectl why CLUSTER KEY");
        expect("show all", CTL_USAGE, "say one of nodes|pins|clients|config|stats|news");
        expect("pin main k 1s", CTL_USAGE, "not one of 1..86400");
        expect("pin main k 86401", CTL_USAGE, "not one of 1..86400");
        expect("drain a/", CTL_USAGE, "say NODE or CLUSTER/NODE");
        expect("why no/name k", CTL_USAGE, "not a cluster's name");
}

Test(ctl_command, a_right_one_that_nobody_answers_is_an_error)
{
        static const char *const lines[] = {"status",  "show pins", "pin main k 86400", "release main k",
                                            "drain a", "maint m/a", "ready a",          "reload"};
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
                expect(lines[i], CTL_ERROR, "/nonexistent/ctl.sock: No such file or directory");
}
