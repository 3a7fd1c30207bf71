/* user.c -- who a process of the daemon is, and what it gives up for good.
 * The only file that changes ids.  No state but texts. */
#include "daemon/user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/log.h"

#define GROUPS_MAX 1024
#define TRUNCATE   (1ull << 14) /* LANDLOCK_ACCESS_FS_TRUNCATE of newer headers: from version 3 on, 6.2 */
#define NOTHING    "0x10"       /* coredump_filter: no memory, only what says that this is a program */

static bool none_of_name(const char *what, const char *name, char why[USER_WHY_MAX])
{
        snprintf(why, USER_WHY_MAX, "no %s named %.64s on this host: create it, or name another", what, name);
        return false;
}

bool user_find(const char *name, struct user *ret, char why[USER_WHY_MAX])
{
        *ret = (struct user){.uid = (uid_t)-1, .gid = (gid_t)-1};
        if (!name[0])
                return true;
        const struct passwd *found = getpwnam(name);
        if (!found || strlen(name) >= sizeof ret->name)
                return none_of_name("user", name, why);
        snprintf(ret->name, sizeof ret->name, "%s", name);
        ret->uid = found->pw_uid;
        ret->gid = found->pw_gid;
        return true;
}

bool user_group(const char *name, gid_t *ret, char why[USER_WHY_MAX])
{
        const struct group *found = name[0] ? getgrnam(name) : NULL;
        *ret = found ? found->gr_gid : (gid_t)-1;
        return found || !name[0] || none_of_name("group", name, why);
}

bool user_is_another(const struct user *u) { return u->uid != (uid_t)-1 && u->uid != geteuid(); }

static unsigned list_groups(const struct user *u, const gid_t *more, unsigned n_more, gid_t all[GROUPS_MAX])
{
        int n = GROUPS_MAX - (int)n_more;
        if (getgrouplist(u->name, u->gid, all, &n) < 0)
                n = GROUPS_MAX - (int)n_more;
        for (unsigned i = 0; i < n_more; i++)
                if (more[i] != (gid_t)-1)
                        all[n++] = more[i];
        return (unsigned)n;
}

static bool is_for_good(const struct user *u)
{
        uid_t r, e, s;
        gid_t rg, eg, sg;
        if (getresuid(&r, &e, &s) || getresgid(&rg, &eg, &sg) || r != u->uid || e != u->uid || s != u->uid ||
            rg != u->gid || eg != u->gid || sg != u->gid)
                return false;
        return u->uid == 0 || (setresuid((uid_t)-1, 0, (uid_t)-1) && setresgid((gid_t)-1, 0, (gid_t)-1));
}

bool user_become(const struct user *u, const gid_t *more, unsigned n_more)
{
        gid_t all[GROUPS_MAX];
        if (geteuid() != 0) {
                log_error("user: only root can become %s, this daemon was started by %s: start it as one of "
                          "the two, or leave `user` out",
                          u->name, user_own_name());
                return false;
        }
        unsigned n = list_groups(u, more, n_more, all);
        if (setgroups(n, all) || setresgid(u->gid, u->gid, u->gid) || setresuid(u->uid, u->uid, u->uid)) {
                log_error("user: becoming %s: %s", u->name, strerror(errno));
                return false;
        }
        if (!is_for_good(u)) {
                log_error("user: became %s, and could become root again: ending", u->name);
                return false;
        }
        unsetenv("HOME"); /* root's, and closed to it: libpq looks for certificates there, and fails */
        return true;
}

const char *user_own_name(void)
{
        static char name[64];
        int saved = errno; /* of what a message is about */
        const struct passwd *own = getpwuid(geteuid());
        if (own)
                snprintf(name, sizeof name, "%.60s", own->pw_name);
        else
                snprintf(name, sizeof name, "uid %u", geteuid());
        errno = saved;
        return name;
}

const char *user_must_read(void)
{
        static char text[128];
        snprintf(text, sizeof text, "let %s, the daemon's user, read it", user_own_name());
        return text;
}

/* coredump_filter holds where a program takes cores whatever their limit.  All is inherited. */
void user_harden(void)
{
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        int fd = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
        if (fd >= 0 && write(fd, NOTHING, strlen(NOTHING)) < 0)
                log_debug("coredump_filter: %s", strerror(errno));
        if (fd >= 0)
                close(fd);
}

bool user_write_nothing(void)
{
        long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
        const struct landlock_ruleset_attr all = {
            .handled_access_fs =
                LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
                LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
                LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
                LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM | (version >= 3 ? TRUNCATE : 0)};
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        int fd = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof all, 0);
        bool held = fd >= 0 && syscall(SYS_landlock_restrict_self, fd, 0) == 0;
        if (fd >= 0)
                close(fd);
        return held;
}
