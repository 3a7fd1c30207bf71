/* vet.c -- what others may have put in the daemon's way: on the path to its directory, and into it.
 * Follows no link below the directory; removes only names that it was given.  No state. */
#include "daemon/vet.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"

/* ---- the path ---- */

struct trust {
        const char *path; /* as the config has it */
        uid_t user, top;  /* top: of /, which has another owner where root's own is not mapped */
};

static bool trusts(const struct trust *t, uid_t uid)
{
        return uid == 0 || uid == geteuid() || uid == t->user || uid == t->top;
}

/* One directory, or link, on the way. */
static bool vet_part(const struct trust *t, const char *part)
{
        struct stat st;
        if (lstat(part, &st))
                return true; /* open() says it better */
        if (!trusts(t, st.st_uid)) {
                log_error("%s: %s on the way to it belongs to uid %u, who could put another directory in its "
                          "place: chown it, or name another dir",
                          t->path, part, st.st_uid);
                return false;
        }
        if (S_ISLNK(st.st_mode) || st.st_mode & S_ISVTX)
                return true;
        if (st.st_mode & S_IWOTH) {
                log_error("%s: everybody can write to %s on the way to it, and put another directory in its "
                          "place: chmod o-w it, or name another dir",
                          t->path, part);
                return false;
        }
        if (st.st_mode & S_IWGRP && st.st_gid != 0)
                log_warning("%s: members of group %u can put another directory in its place: chmod g-w %s",
                            t->path, st.st_gid, part);
        return true;
}

/* Each directory above `path`, from the top. */
static bool vet_parts(const struct trust *t, const char *path)
{
        char part[PATH_MAX];
        for (const char *slash = path; (slash = strchr(slash, '/')); slash++) {
                size_t n = (size_t)(slash - path);
                if (n >= sizeof part)
                        return true;
                memcpy(part, path, n);
                part[n] = '\0';
                if (!vet_part(t, n ? part : "/"))
                        return false;
        }
        return true;
}

bool vet_path(const char *path, uid_t user)
{
        struct trust t = {.path = path, .user = user};
        struct stat top;
        char above[PATH_MAX], real[PATH_MAX];
        t.top = stat("/", &top) ? 0 : top.st_uid;
        snprintf(above, sizeof above, "%s", path);
        char *last = strrchr(above, '/');
        if (!last)
                return true;
        last[last == above] = '\0';
        if (!vet_parts(&t, path))
                return false;
        if (!realpath(above, real) || !strcmp(real, above) || strlen(real) + 2 > sizeof real)
                return true;
        strcat(real, "/"); /* so that its last part is looked at, too */
        return vet_parts(&t, real);
}

/* ---- the directory ---- */

/* The name of something there that is not known; false: there is none. */
static bool find_strange(int fd, bool (*known)(const char *name), char strange[NAME_MAX + 1])
{
        int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *list = again < 0 ? NULL : fdopendir(again);
        struct dirent *e = NULL;
        while (list && (e = readdir(list)))
                if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && !known(e->d_name))
                        break;
        if (e)
                snprintf(strange, NAME_MAX + 1, "%s", e->d_name);
        if (list)
                closedir(list);
        else if (again >= 0)
                close(again);
        return e != NULL;
}

bool vet_is_for_all(const struct stat *st, const char *dir, char why[VET_WHY_MAX])
{
        if (!(st->st_mode & S_ISVTX))
                return false;
        snprintf(
            why, VET_WHY_MAX,
            "%.256s is a place for all, and dir is closed to others: name a directory of its own, such as "
            "%.256s/pinroute, or, if it is for pinroute alone, chmod 0750 %.256s",
            dir, dir, dir);
        return true;
}

bool vet_alone(int fd, const char *dir, bool (*known)(const char *name))
{
        struct stat st;
        char strange[NAME_MAX + 1], why[VET_WHY_MAX];
        if (fstat(fd, &st))
                return true; /* the next to ask says it */
        if (vet_is_for_all(&st, dir, why)) {
                log_error("%s", why);
                return false;
        }
        if (!(st.st_mode & S_IRWXO) || !find_strange(fd, known, strange))
                return true;
        log_error("%s is open to others and holds %s, which is none of pinroute's, and dir is closed to "
                  "others: name "
                  "a directory of its own, such as %s/pinroute, or chmod o-rwx %s",
                  dir, strange, dir, dir);
        return false;
}

/* ---- the entries ---- */

static const char *oddity(const struct stat *st, mode_t type)
{
        if ((st->st_mode & S_IFMT) != type)
                return S_ISLNK(st->st_mode) ? "a symbolic link" : "no such thing as pinrouted makes";
        if (st->st_uid != 0 && st->st_uid != geteuid())
                return "another user's";
        if (type == S_IFREG && st->st_nlink != 1)
                return "a file with another name, too";
        if (type == S_IFREG && st->st_mode & (S_IWGRP | S_IWOTH))
                return "a file that others could write to";
        return NULL;
}

bool vet_entry(int fd, const char *dir, const char *name, mode_t type)
{
        struct stat st;
        if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW))
                return true; /* there is none */
        const char *odd = oddity(&st, type);
        if (!odd)
                return true;
        if (unlinkat(fd, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0)) {
                log_error("%s/%s: %s, put there by uid %u: remove it (%s)", dir, name, odd, st.st_uid,
                          strerror(errno));
                return false;
        }
        log_warning("%s/%s: %s, put there by uid %u: removed", dir, name, odd, st.st_uid);
        return true;
}

bool vet_give(int fd, const char *name, uid_t uid, gid_t gid)
{
        struct stat st;
        int file = openat(fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (file < 0)
                return errno == ENOENT;
        bool given = !fstat(file, &st) && (!S_ISREG(st.st_mode) || st.st_uid != 0 || st.st_nlink != 1 ||
                                           !fchownat(file, "", uid, gid, AT_EMPTY_PATH));
        close(file);
        return given;
}
