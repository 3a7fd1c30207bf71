/* test_user.c -- who the daemon becomes, and that there is no way back. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/user.h"

static void quiet(void)
{
        log_init("test");
        log_set_level(0);
}

TestSuite(user, .init = quiet);

/* The status with which `fn` ends, in a process of its own. */
static int apart(int (*fn)(void))
{
        int status;
        pid_t pid = fork();
        cr_assert(pid >= 0);
        if (pid == 0)
                _exit(fn());
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Test(user, names_are_found_and_no_name_is_nobody)
{
        struct user u;
        char why[USER_WHY_MAX];
        cr_expect(user_find("", &u, why) && u.uid == (uid_t)-1 && !user_is_another(&u));
        cr_expect(user_find("root", &u, why) && u.uid == 0 && user_is_another(&u) == (geteuid() != 0));
        cr_expect(user_find("nobody", &u, why) && u.uid != 0 && user_is_another(&u) == (geteuid() != u.uid));
        cr_expect_not(user_find("no-such-user-here", &u, why));
        cr_expect_str_eq(why, "no user named no-such-user-here on this host: create it, or name another");
}

Test(user, a_group_is_found_by_name_and_no_name_is_none)
{
        char why[USER_WHY_MAX];
        gid_t gid = 7;
        const struct group *own = getgrgid(0);
        cr_expect(user_group("", &gid, why));
        cr_expect_eq(gid, (gid_t)-1);
        cr_expect_not(user_group("no-such-group-here", &gid, why));
        cr_expect_str_eq(why, "no group named no-such-group-here on this host: create it, or name another");
        cr_assert_not_null(own);
        cr_expect(user_group(own->gr_name, &gid, why));
        cr_expect_eq(gid, 0);
}

Test(user, we_have_a_name_or_a_number)
{
        const struct passwd *own = getpwuid(geteuid());
        char number[32];
        snprintf(number, sizeof number, "uid %u", geteuid());
        cr_expect_str_eq(user_own_name(), own ? own->pw_name : number);
        errno = EACCES;
        cr_expect(strstr(user_must_read(), user_own_name()));
        cr_expect_eq(errno, EACCES);
}

static int become_nobody(void)
{
        struct user u;
        char why[USER_WHY_MAX];
        gid_t groups[8], more[] = {4242, (gid_t)-1, 4343};
        setenv("HOME", "/root", 1);
        if (!user_find("nobody", &u, why) || !user_become(&u, more, 3))
                return 1;
        int n = getgroups(8, groups);
        bool has[2] = {false, false};
        for (int i = 0; i < n; i++)
                for (int j = 0; j < 2; j++)
                        has[j] |= groups[i] == (j ? 4343 : 4242);
        if (n != 3 || !has[0] || !has[1])
                return 2;
        if (getuid() != u.uid || geteuid() != u.uid || getegid() != u.gid)
                return 3;
        if (!setuid(0) || !seteuid(0) || !setgid(0) || !setgroups(0, NULL) || !access("/etc/shadow", W_OK))
                return 4;
        if (getenv("HOME"))
                return 6; /* it is root's */
        return user_become(&(struct user){"root", 0, 0}, NULL, 0) ? 5 : 0;
}

Test(user, root_becomes_another_for_good_with_the_groups_it_is_to_have)
{
        if (geteuid() != 0)
                cr_skip("only root can become another user");
        cr_expect_eq(apart(become_nobody), 0);
}

static int become_from_nobody(void) { return user_become(&(struct user){.name = "root"}, NULL, 0); }

Test(user, nobody_else_can)
{
        if (geteuid() != 0)
                cr_expect_eq(apart(become_from_nobody), 0);
}

static int harden(void)
{
        struct rlimit l;
        char filter[32] = "";
        user_harden();
        FILE *f = fopen("/proc/self/coredump_filter", "r");
        if (!f || !fgets(filter, sizeof filter, f) || strtoul(filter, NULL, 16) != 0x10)
                return 1;
        if (getrlimit(RLIMIT_CORE, &l) || l.rlim_cur || l.rlim_max)
                return 2;
        return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 3;
}

Test(user, a_hardened_process_leaves_no_core_and_gains_no_rights) { cr_expect_eq(apart(harden), 0); }

static char dir[64];

static int write_nothing(void)
{
        char path[96], other[96], byte;
        snprintf(path, sizeof path, "%s/file", dir);
        snprintf(other, sizeof other, "%s/other", dir);
        int before = open(path, O_RDWR | O_CREAT, 0600);
        if (before < 0 || write(before, "x", 1) != 1)
                return 1;
        if (!user_write_nothing())
                return 77;
        if (open(path, O_WRONLY) >= 0 || open(path, O_RDWR) >= 0 ||
            open(other, O_CREAT | O_RDONLY, 0600) >= 0)
                return 2;
        if (!rename(path, other) || !unlink(path) || !symlink("x", other) || !mkdir(other, 0700))
                return 3;
        int reading = open(path, O_RDONLY);
        if (reading < 0 || read(reading, &byte, 1) != 1)
                return 4;
        return write(before, "y", 1) == 1 ? 0 : 5;
}

Test(user, a_process_that_writes_nothing_reads_on)
{
        strcpy(dir, "/tmp/pnr-user-XXXXXX");
        cr_assert_not_null(mkdtemp(dir));
        int status = apart(write_nothing);
        char command[96];
        snprintf(command, sizeof command, "rm -rf %s", dir);
        cr_expect_eq(system(command), 0);
        if (status == 77)
                cr_skip("this kernel knows no such limit");
        cr_expect_eq(status, 0);
}
