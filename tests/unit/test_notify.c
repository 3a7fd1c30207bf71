/* test_notify.c -- one datagram to the service manager, if there is one. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/notify.h"

/* A manager's socket; `path` begins with @ for an abstract one. */
static int manager(const char *path)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        strcpy(at.sun_path, path);
        if (path[0] == '@')
                at.sun_path[0] = '\0';
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        cr_assert_eq(bind(fd, (struct sockaddr *)&at,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))),
                     0);
        setenv("NOTIFY_SOCKET", path, 1);
        return fd;
}

static void expect_ready(int fd)
{
        char got[64] = "";
        notify("READY=1");
        cr_expect_eq(recv(fd, got, sizeof got - 1, 0), 7);
        cr_expect_str_eq(got, "READY=1");
        cr_expect(recv(fd, got, sizeof got, 0) < 0 && errno == EAGAIN, "it is told once");
}

Test(notify, a_manager_is_told_by_path_and_by_abstract_name)
{
        char path[64];
        snprintf(path, sizeof path, "/dev/shm/pnr-notify-%d", (int)getpid());
        int fd = manager(path);
        expect_ready(fd);
        close(fd);
        unlink(path);
        snprintf(path, sizeof path, "@pnr-notify-%d", (int)getpid());
        fd = manager(path);
        expect_ready(fd);
        close(fd);
}

Test(notify, without_a_manager_or_with_a_bad_or_full_one_nothing_happens_and_nothing_leaks)
{
        char path[64], long_path[300];
        memset(long_path, 'x', sizeof long_path - 1);
        long_path[0] = '/';
        long_path[sizeof long_path - 1] = '\0';
        const char *const bad[] = {"", "/", "relative", long_path, "/nowhere/at/all", "vsock:2:1"};
        int before = dup(0);
        close(before);
        unsetenv("NOTIFY_SOCKET");
        notify("READY=1");
        for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
                setenv("NOTIFY_SOCKET", bad[i], 1);
                notify("READY=1");
        }
        snprintf(path, sizeof path, "@pnr-notify-full-%d", (int)getpid());
        int fd = manager(path);
        for (unsigned i = 0; i < 5000; i++)
                notify("STATUS=nobody reads this, and nobody waits for it");
        close(fd);
        int after = dup(0);
        cr_expect_eq(after, before, "no descriptor is left open");
        close(after);
}
