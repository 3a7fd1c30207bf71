/* listen.c -- the daemon's directory, its lock and its two listening sockets.
 * With vet.c the only file that changes owners and modes, but for data.mdb's (place.c). */
#include "daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/vet.h"

#define WORKER_SOCKET   "pinrouted.sock"
#define OPERATOR_SOCKET "ctl.sock"
#define LOCK_FILE       "pinrouted.lock"
#define BACKLOG         4096
#define HTTP_BACKLOG    64

static bool fail(const struct listen_dir *d, const char *file, const char *what)
{
        log_error("%s%s%s: %s: %s", d->path, file[0] ? "/" : "", file, what, strerror(errno));
        return false;
}

/* Readers map the store: on a file system of another machine, or one served by a process, maps are not
 * coherent. */
static bool check_file_system(const struct listen_dir *d, int fd)
{
        static const struct {
                long magic;
                const char *name;
        } refused[] = {{NFS_SUPER_MAGIC, "NFS"},   {SMB_SUPER_MAGIC, "SMB"}, {(long)0xff534d42, "CIFS"},
                       {(long)0xfe534d42, "SMB2"}, {0x65735546, "FUSE"},     {V9FS_MAGIC, "9p"},
                       {CEPH_SUPER_MAGIC, "Ceph"}, {AFS_SUPER_MAGIC, "AFS"}, {CODA_SUPER_MAGIC, "Coda"},
                       {0x0bd00bd0, "Lustre"},     {0x01161970, "GFS2"},     {0x7461636f, "OCFS2"}};
        struct statfs fs;
        if (fstatfs(fd, &fs))
                return fail(d, "", "statfs");
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
                if (fs.f_type == refused[i].magic) {
                        log_error("%s is on %s, where memory maps are not coherent: use a directory on "
                                  "tmpfs, such as /run",
                                  d->path, refused[i].name);
                        return false;
                }
        if (fs.f_type != TMPFS_MAGIC)
                log_warning(
                    "%s is not on tmpfs: every commit costs disk writes; /run/... is the place meant for it",
                    d->path);
        return true;
}

/* Whose is it?  Who could write to it can do so no longer. */
static bool is_ours(const struct listen_dir *d, int fd, uid_t *owner)
{
        struct stat st;
        if (fstat(fd, &st))
                return fail(d, "", "stat");
        *owner = st.st_uid;
        if (st.st_uid != geteuid() && (geteuid() != 0 || st.st_uid != d->user)) {
                log_error("%s belongs to uid %u, this daemon runs as %u: chown it, or name another dir%s",
                          d->path, st.st_uid, geteuid(), geteuid() ? "" : " or user");
                return false;
        }
        return !(st.st_mode & (S_IWGRP | S_IWOTH)) || !fchmod(fd, st.st_mode & 07755) ||
               fail(d, "", "chmod go-w");
}

static bool check_dir(const struct listen_dir *d, int fd)
{
        if (d->group != (gid_t)-1 && fchown(fd, (uid_t)-1, d->group))
                return fail(d, "", "chgrp (pinrouted's user must belong to `group`)");
        if (fchmod(fd, 0750))
                return fail(d, "", "chmod 0750");
        return check_file_system(d, fd);
}

/* Not a file that somebody else made, or that is another file, too: we are about to write into it. */
static bool is_our_lock(struct listen_dir *d)
{
        struct stat st;
        if (fstat(d->lock, &st))
                return fail(d, LOCK_FILE, "stat");
        d->lock_dev = st.st_dev;
        d->lock_ino = st.st_ino;
        if (S_ISREG(st.st_mode) && st.st_uid == geteuid() && st.st_nlink == 1)
                return true;
        log_error("%s/" LOCK_FILE " is not a file that pinrouted made (uid %u, mode %o, %u names): remove it",
                  d->path, st.st_uid, st.st_mode, (unsigned)st.st_nlink);
        return false;
}

static bool take_lock(struct listen_dir *d, int dirfd)
{
        d->lock =
            openat(dirfd, LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
        if (d->lock < 0)
                return fail(d, LOCK_FILE, "open");
        if (!is_our_lock(d))
                return false;
        if (fchmod(d->lock, 0600)) /* whatever the umask made of it: the next daemon has to open it */
                return fail(d, LOCK_FILE, "chmod");
        if (flock(d->lock, LOCK_EX | LOCK_NB)) {
                char pid[16] = "";
                if (errno != EWOULDBLOCK)
                        return fail(d, LOCK_FILE, "flock");
                if (pread(d->lock, pid, sizeof pid - 1, 0) < 0)
                        pid[0] = '\0';
                pid[strspn(pid, "0123456789")] = '\0';
                log_error("another pinrouted (pid %s) serves %s: stop it, or name another dir",
                          pid[0] ? pid : "?", d->path);
                return false;
        }
        char pid[16];
        int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
        if (ftruncate(d->lock, 0) || pwrite(d->lock, pid, (size_t)n, 0) != n)
                return fail(d, LOCK_FILE, "write");
        return true;
}

bool listen_holds_dir(const struct listen_dir *d)
{
        char path[sizeof(struct sockaddr_un)];
        struct stat there;
        if (d->lock < 0)
                return false;
        snprintf(path, sizeof path, "%s/%s", d->path, LOCK_FILE);
        if (lstat(path, &there))
                return errno == EIO || errno == EINTR || errno == ENOMEM; /* the next turn asks again */
        return d->lock_dev == there.st_dev &&
               d->lock_ino == there.st_ino; /* open: no other gets its number */
}

static const struct {
        const char *name;
        mode_t type;
} entries[] = {{"data.mdb", S_IFREG},
               {"lock.mdb", S_IFREG},
               {"new", S_IFDIR},
               {WORKER_SOCKET, S_IFSOCK},
               {OPERATOR_SOCKET, S_IFSOCK}};
#define N_ENTRIES (sizeof entries / sizeof *entries)

/* Some keep the config beside the store. */
static bool is_entry(const char *name)
{
        bool known = strcmp(name, LOCK_FILE) == 0 || strcmp(name, "pinrouted.ini") == 0;
        for (unsigned i = 0; i < N_ENTRIES; i++)
                known = known || strcmp(name, entries[i].name) == 0;
        return known;
}

/* A descriptor of the directory; -1 after logging why not. */
static int enter(const struct listen_dir *d, uid_t *owner)
{
        if (!vet_path(d->path, d->user))
                return -1;
        if (mkdir(d->path, 0750) && errno != EEXIST)
                return fail(d, "", "mkdir (its parent must exist and be writable)"), -1;
        int fd = open(d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return fail(d, "", "open (a directory, not a symbolic link)"), -1;
        if (vet_alone(fd, d->path, is_entry) && is_ours(d, fd, owner))
                return fd;
        close(fd);
        return -1;
}

static bool vet_entries(const struct listen_dir *d, int fd)
{
        bool good = true;
        for (unsigned i = 0; i < N_ENTRIES; i++)
                good &= vet_entry(fd, d->path, entries[i].name, entries[i].type);
        return good;
}

/* What root's daemon left there before the config named a user. */
static bool give_entries(const struct listen_dir *d, int fd, gid_t gid)
{
        bool given = vet_give(fd, LOCK_FILE, d->user, gid);
        for (unsigned i = 0; i < N_ENTRIES; i++)
                given &= vet_give(fd, entries[i].name, d->user, gid);
        return given;
}

bool listen_give_dir(struct listen_dir *d, gid_t gid)
{
        uid_t owner;
        int fd = enter(d, &owner);
        if (fd < 0)
                return false;
        bool ok = owner == d->user || (take_lock(d, fd) && vet_entries(d, fd));
        if (ok && owner != d->user && (!give_entries(d, fd, gid) || fchown(fd, d->user, gid)))
                ok = fail(d, "", "chown to `user`");
        close(fd);
        return ok;
}

bool listen_open_dir(struct listen_dir *d)
{
        uid_t owner;
        int fd = enter(d, &owner);
        if (fd < 0)
                return false;
        bool ok = (d->lock >= 0 || take_lock(d, fd)) && check_dir(d, fd) && vet_entries(d, fd);
        close(fd);
        return ok;
}

static int listen_on(const struct listen_dir *d, const char *name, int type, mode_t mode, gid_t group)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        int n = snprintf(at.sun_path, sizeof at.sun_path, "%s/%s", d->path, name);
        MUST(n > 0 && (size_t)n < sizeof at.sun_path); /* conf.c checks the length of dir */
        int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return fail(d, name, "socket"), -1;
        if (unlink(at.sun_path) && errno != ENOENT)
                return fail(d, name, "unlink"), close(fd), -1;
        mode_t was = umask(0777); /* nobody connects before owner and mode are right */
        int rc = bind(fd, (struct sockaddr *)&at, sizeof at);
        umask(was);
        if (rc)
                return fail(d, name, "bind"), close(fd), -1;
        if ((group != (gid_t)-1 && chown(at.sun_path, (uid_t)-1, group)) || chmod(at.sun_path, mode))
                return fail(d, name, "chgrp (pinrouted's user must belong to `operator_group`) or chmod"),
                       close(fd), -1;
        if (listen(fd, BACKLOG))
                return fail(d, name, "listen"), close(fd), -1;
        return fd;
}

int listen_workers(const struct listen_dir *d)
{
        return listen_on(d, WORKER_SOCKET, SOCK_SEQPACKET, 0660, d->group);
}

int listen_operators(const struct listen_dir *d)
{
        return listen_on(d, OPERATOR_SOCKET, SOCK_STREAM, d->operators == (gid_t)-1 ? 0600 : 0660,
                         d->operators);
}

static bool fail_at(const char *path, const char *what)
{
        log_error("http_listen: %s: %s: %s", path, what, strerror(errno));
        return false;
}

static bool somebody_listens(const struct sockaddr_un *at)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        bool heard = fd >= 0 && (!connect(fd, (const struct sockaddr *)at, sizeof *at) || errno == EAGAIN);
        if (fd >= 0)
                close(fd);
        return heard;
}

/* Takes away what an earlier daemon left. */
static bool clear_name(const struct sockaddr_un *at)
{
        struct stat st;
        const char *odd = NULL;
        if (lstat(at->sun_path, &st))
                return errno == ENOENT || fail_at(at->sun_path, "stat");
        if (!S_ISSOCK(st.st_mode))
                odd = "is there, and is no socket: remove it";
        else if (st.st_uid != 0 && st.st_uid != geteuid())
                odd = "is there, and is another user's: remove it";
        else if (somebody_listens(at))
                odd = "another program listens there: stop it";
        if (odd) {
                log_error("http_listen: %s: %s, or name another path", at->sun_path, odd);
                return false;
        }
        return !unlink(at->sun_path) || errno == ENOENT || fail_at(at->sun_path, "unlink");
}

/* Its directory is one where nobody else could have put another file in the socket's place (vet_path). */
static bool bind_at(int fd, const struct sockaddr_un *at, gid_t group)
{
        mode_t was = umask(0777); /* nobody connects before owner and mode are right */
        int rc = bind(fd, (const struct sockaddr *)at, sizeof *at);
        umask(was);
        if (rc)
                return fail_at(at->sun_path, "bind (its directory must exist, and `user` may write to it)");
        if ((group != (gid_t)-1 && lchown(at->sun_path, (uid_t)-1, group)) || chmod(at->sun_path, 0660))
                return fail_at(at->sun_path, "chgrp (pinrouted's user must belong to `group`) or chmod");
        return !listen(fd, HTTP_BACKLOG) || fail_at(at->sun_path, "listen");
}

int listen_at(struct listen_name *n, gid_t group)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        struct stat st;
        int length = snprintf(at.sun_path, sizeof at.sun_path, "%s", n->path);
        MUST(length > 0 && (size_t)length < sizeof at.sun_path); /* value.c checks it */
        if (!vet_path(n->path, (uid_t)-1) || !clear_name(&at))
                return -1;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return fail_at(n->path, "socket"), -1;
        if (!bind_at(fd, &at, group) || (lstat(n->path, &st) && !fail_at(n->path, "stat"))) {
                close(fd);
                return -1;
        }
        n->dev = st.st_dev;
        n->ino = st.st_ino;
        return fd;
}

bool listen_lost(const struct listen_name *n)
{
        struct stat st;
        return lstat(n->path, &st) && errno == ENOENT;
}

void listen_unname(const struct listen_name *n)
{
        struct stat st;
        if (!lstat(n->path, &st) && st.st_dev == n->dev && st.st_ino == n->ino)
                unlink(n->path);
}

static bool has_socket(const struct listen_dir *d, const char *name)
{
        char path[sizeof(struct sockaddr_un)];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", d->path, name);
        return lstat(path, &st) ? errno != ENOENT : S_ISSOCK(st.st_mode);
}

bool listen_has_workers(const struct listen_dir *d) { return has_socket(d, WORKER_SOCKET); }

bool listen_has_operators(const struct listen_dir *d) { return has_socket(d, OPERATOR_SOCKET); }

void listen_close_dir(struct listen_dir *d)
{
        static const char *const names[] = {WORKER_SOCKET, OPERATOR_SOCKET};
        char path[sizeof(struct sockaddr_un)];
        for (unsigned i = 0; i < sizeof names / sizeof *names && listen_holds_dir(d); i++) {
                snprintf(path, sizeof path, "%s/%s", d->path, names[i]);
                unlink(path);
        }
        if (d->lock >= 0)
                close(d->lock);
        d->lock = -1;
}
