/* test_ctl_call.c -- one line out, one document in, over a socket whose other end is this test. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ctl_call.h"
#include "ctl_told.h"

static char dir[64];
static int listener;

static void begin(void)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        snprintf(dir, sizeof dir, "/tmp/pinroute-call-XXXXXX");
        cr_assert(mkdtemp(dir));
        snprintf(at.sun_path, sizeof at.sun_path, "%s/ctl.sock", dir);
        listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert(!bind(listener, (struct sockaddr *)&at, sizeof at) && !listen(listener, 4));
}

static void end(void)
{
        char path[96];
        snprintf(path, sizeof path, "%s/ctl.sock", dir);
        close(listener);
        unlink(path);
        rmdir(dir);
}

TestSuite(ctl_call, .init = begin, .fini = end);

/* A child that takes one request, checks it, and sends `pieces` pieces of `text`.  Its exit status: was it
 * right? */
static pid_t answer(const char *expected, const char *text, unsigned pieces)
{
        pid_t pid = fork();
        if (pid)
                return pid;
        char line[4096];
        int fd = accept(listener, NULL, NULL);
        ssize_t n = expected ? read(fd, line, sizeof line) : 0;
        bool right = !expected || (n == (ssize_t)strlen(expected) && memcmp(line, expected, (size_t)n) == 0);
        for (unsigned i = 0; i < pieces; i++)
                right &= write(fd, text, strlen(text)) == (ssize_t)strlen(text);
        close(fd);
        _exit(right ? 0 : 1);
}

static int status_of(pid_t pid)
{
        int status = -1;
        waitpid(pid, &status, 0);
        return status;
}

Test(ctl_call, words_are_encoded_and_the_answer_is_kept_as_it_came)
{
        struct ctl ctl = {.dir = dir};
        struct ctl_reply reply;
        pid_t pid = answer("pin a%20b%25 A-z_0.9 %C3%B6\n", "{\"ok\":true , \"n\":0.10}", 1);
        cr_expect(ctl_call(&ctl, (const char *const[]){"pin", "a b%", "A-z_0.9", "\xc3\xb6", NULL}, &reply),
                  "%s", told);
        cr_expect_str_eq(reply.raw, "{\"ok\":true , \"n\":0.10}");
        cr_expect(json_is_real(json_object_get(reply.doc, "n")));
        ctl_call_free(&reply);
        cr_expect_eq(status_of(pid), 0);
}

Test(ctl_call, a_long_answer_in_many_pieces_is_one_document)
{
        struct ctl ctl = {.dir = dir};
        struct ctl_reply reply;
        char text[1000];
        memset(text, ' ', sizeof text - 1);
        text[sizeof text - 1] = '\0';
        pid_t pid = answer("status\n", text, 500);
        cr_expect_not(ctl_call(&ctl, (const char *const[]){"status", NULL}, &reply));
        cr_expect(strstr(told, "the answer is not what was expected"), "%s", told);
        cr_expect_eq(status_of(pid), 0, "all of it was taken");
        cr_expect(!reply.doc && !reply.raw);
}

Test(ctl_call, an_answer_that_never_ends_is_given_up)
{
        struct ctl ctl = {.dir = dir};
        struct ctl_reply reply;
        static char text[1 << 20];
        memset(text, ' ', sizeof text - 1);
        pid_t pid = answer("status\n", text, 100);
        cr_expect_not(ctl_call(&ctl, (const char *const[]){"status", NULL}, &reply));
        cr_expect(strstr(told, "Cannot allocate memory"), "%s", told);
        cr_expect_neq(status_of(pid), 0, "the rest was not taken");
}

Test(ctl_call, a_refusal_to_read_is_answered_all_the_same)
{
        struct ctl ctl = {.dir = dir};
        struct ctl_reply reply;
        for (unsigned round = 0; round < 50; round++) { /* either may be first */
                pid_t pid =
                    answer(NULL, "{\"ok\":false,\"error\":\"not an operator\",\"code\":\"E_REFUSED\"}", 1);
                cr_expect_not(ctl_call(&ctl, (const char *const[]){"status", NULL}, &reply));
                cr_expect_str_eq(told, "not an operator (E_REFUSED)");
                cr_expect_eq(status_of(pid), 0);
        }
}
