/* sabotage_preload.c -- a library for LD_PRELOAD: lets the n-th call of one libc function fail as told.
 * $SABOTAGE names the file with a struct sabotage; only a process called $SABOTAGE_WHO strikes.  Reaches what goes
 * through the PLT: the daemon, liblmdb, libevent and libc's own malloc(), not what libc calls inside itself. */
#include <assert.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/scenario/sabotage.h"

static_assert(SABOTAGE_END <= SABOTAGE_MAX, "seen[]");

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);
int __fxstat(int version, int fd, struct stat *st); /* what liblmdb was built with */
struct sabotage *sabotage_control(void);

static struct sabotage *control; /* NULL: this process is left alone */

static bool is_meant(void)
{
        const char *who = getenv("SABOTAGE_WHO");
        return who && strcmp(who, program_invocation_short_name) == 0;
}

/* By plain system calls: those below are ours. */
__attribute__((constructor)) static void begin(void)
{
        const char *path = getenv("SABOTAGE");
        if (!path || !is_meant())
                return;
        int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
        void *map =
            (void *)syscall(SYS_mmap, NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0l);
        syscall(SYS_close, fd);
        if (map == MAP_FAILED)
                return;
        control = map;
        control->pid = (uint32_t)getpid();
}

struct sabotage *sabotage_control(void) { return control; }

/* The error to answer with; 0: this call passes. */
static int struck(enum sabotage_call call)
{
        struct sabotage *c = control;
        if (!c)
                return 0;
        __atomic_add_fetch(&c->seen[call], 1, __ATOMIC_RELAXED);
        if (__atomic_load_n(&c->call, __ATOMIC_ACQUIRE) != call)
                return 0;
        if (c->skip) {
                c->skip--;
                return 0;
        }
        int error = (int)c->error;
        __atomic_add_fetch(&c->struck, 1, __ATOMIC_RELEASE);
        if (!c->for_good)
                __atomic_store_n(&c->call, SABOTAGE_NONE, __ATOMIC_RELEASE);
        return error;
}

static void *next(const char *name)
{
        void *found = dlsym(RTLD_NEXT, name);
        if (!found)
                abort();
        return found;
}

#define REAL(name)                                                                                           \
        static __typeof__(name) *real;                                                                       \
        if (!real)                                                                                           \
        real = (__typeof__(name) *)next(#name)

/* ---- calls that answer -1, or what FAILED says ---- */

#define WRAP_AS(call, type, FAILED, name, params, args)                                                      \
        type name params                                                                                     \
        {                                                                                                    \
                REAL(name);                                                                                  \
                int error = struck(SABOTAGE_##call);                                                         \
                if (!error)                                                                                  \
                        return real args;                                                                    \
                errno = error;                                                                               \
                return FAILED;                                                                               \
        }
#define WRAP(type, name, params, args) WRAP_AS(name, type, -1, name, params, args)

WRAP(int, accept4, (int fd, struct sockaddr *a, socklen_t *n, int flags), (fd, a, n, flags))
WRAP(ssize_t, recv, (int fd, void *p, size_t n, int flags), (fd, p, n, flags))
WRAP(int, poll, (struct pollfd * p, nfds_t n, int ms), (p, n, ms))
WRAP(int, ppoll, (struct pollfd * p, nfds_t n, const struct timespec *t, const sigset_t *s), (p, n, t, s))
WRAP(int, epoll_create1, (int flags), (flags))
WRAP(int, epoll_ctl, (int e, int op, int fd, struct epoll_event *ev), (e, op, fd, ev))
WRAP(int, epoll_wait, (int e, struct epoll_event *ev, int n, int ms), (e, ev, n, ms))
WRAP(int, eventfd, (unsigned n, int flags), (n, flags))
WRAP(int, timerfd_create, (clockid_t c, int flags), (c, flags))
WRAP(int, timerfd_settime, (int fd, int flags, const struct itimerspec *new, struct itimerspec *old),
     (fd, flags, new, old))
WRAP(int, getsockopt, (int fd, int level, int name, void *p, socklen_t *n), (fd, level, name, p, n))
WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(int, socketpair, (int domain, int type, int protocol, int pair[2]), (domain, type, protocol, pair))
WRAP(int, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
WRAP(int, listen, (int fd, int n), (fd, n))
WRAP(int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
WRAP(pid_t, waitpid, (pid_t pid, int *st, int flags), (pid, st, flags))
WRAP_AS(opendir, DIR *, NULL, opendir, (const char *path), (path))
WRAP(ssize_t, read, (int fd, void *p, size_t n), (fd, p, n))
WRAP(ssize_t, readv, (int fd, const struct iovec *v, int n), (fd, v, n))
WRAP(ssize_t, pread, (int fd, void *p, size_t n, off_t at), (fd, p, n, at))
WRAP(off_t, lseek, (int fd, off_t at, int whence), (fd, at, whence))
WRAP(int, ftruncate, (int fd, off_t n), (fd, n))
WRAP(int, flock, (int fd, int op), (fd, op))
WRAP(int, fstat, (int fd, struct stat *st), (fd, st))
WRAP_AS(fstat, int, -1, __fxstat, (int version, int fd, struct stat *st), (version, fd, st))
WRAP(int, lstat, (const char *path, struct stat *st), (path, st))
WRAP(int, fstatat, (int dir, const char *path, struct stat *st, int flags), (dir, path, st, flags))
WRAP(int, fstatfs, (int fd, struct statfs *st), (fd, st))
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(int, chmod, (const char *path, mode_t mode), (path, mode))
WRAP(int, fchmodat, (int dir, const char *path, mode_t mode, int flags), (dir, path, mode, flags))
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
WRAP(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
WRAP(int, unlink, (const char *path), (path))
WRAP(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
WRAP_AS(mmap, void *, MAP_FAILED, mmap, (void *at, size_t n, int prot, int flags, int fd, off_t from),
        (at, n, prot, flags, fd, from))
WRAP(int, madvise, (void *at, size_t n, int advice), (at, n, advice))
WRAP(int, sigaction, (int number, const struct sigaction *new, struct sigaction *old), (number, new, old))
WRAP(ssize_t, getrandom, (void *p, size_t n, unsigned flags), (p, n, flags))

/* glibc's headers name an enum here for C. */
WRAP(int, getrlimit, (__rlimit_resource_t what, struct rlimit *l), (what, l))
WRAP(int, setrlimit, (__rlimit_resource_t what, const struct rlimit *l), (what, l))

/* ---- calls that answer with the error itself ---- */

int posix_fallocate(int fd, off_t at, off_t n)
{
        REAL(posix_fallocate);
        int error = struck(SABOTAGE_posix_fallocate);
        return error ? error : real(fd, at, n);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *files,
                const posix_spawnattr_t *attr, char *const argv[], char *const env[])
{
        REAL(posix_spawn);
        int error = struck(SABOTAGE_posix_spawn);
        return error ? error : real(pid, path, files, attr, argv, env);
}

/* ---- calls with one more argument at times ---- */

#define THIRD(type)                                                                                          \
        va_list args;                                                                                        \
        va_start(args, third);                                                                               \
        type more = va_arg(args, type);                                                                      \
        va_end(args)

int open(const char *path, int third, ...)
{
        REAL(open);
        THIRD(mode_t);
        int error = struck(SABOTAGE_open);
        if (!error)
                return real(path, third, more);
        errno = error;
        return -1;
}

int openat(int dir, const char *path, int third, ...)
{
        REAL(openat);
        THIRD(mode_t);
        int error = struck(SABOTAGE_openat);
        if (!error)
                return real(dir, path, third, more);
        errno = error;
        return -1;
}

int fcntl(int fd, int third, ...)
{
        REAL(fcntl);
        THIRD(void *);
        int error = struck(SABOTAGE_fcntl);
        if (!error)
                return real(fd, third, more);
        errno = error;
        return -1;
}

/* ---- calls that may write half ---- */

#define WRITES(name, params, args, half)                                                                     \
        ssize_t name params                                                                                  \
        {                                                                                                    \
                REAL(name);                                                                                  \
                int error = struck(SABOTAGE_##name);                                                         \
                if (!error)                                                                                  \
                        return real args;                                                                    \
                if (error == SABOTAGE_SHORT)                                                                 \
                        return half;                                                                         \
                errno = error;                                                                               \
                return -1;                                                                                   \
        }

WRITES(send, (int fd, const void *p, size_t n, int flags), (fd, p, n, flags), real(fd, p, n / 2, flags))
WRITES(sendto, (int fd, const void *p, size_t n, int flags, const struct sockaddr *a, socklen_t size),
       (fd, p, n, flags, a, size), real(fd, p, n / 2, flags, a, size))
WRITES(write, (int fd, const void *p, size_t n), (fd, p, n), real(fd, p, n / 2))
WRITES(pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at), real(fd, p, n / 2, at))
WRITES(writev, (int fd, const struct iovec *v, int n), (fd, v, n), real(fd, v, n > 1 ? n / 2 : n))

/* ---- memory ---- */

static void *counted(void *p)
{
        if (p && control)
                __atomic_add_fetch(&control->blocks, 1, __ATOMIC_RELAXED);
        return p;
}

static bool no_memory(void)
{
        if (struck(SABOTAGE_malloc))
                errno = ENOMEM;
        else
                return false;
        return true;
}

void *malloc(size_t n) { return no_memory() ? NULL : counted(__libc_malloc(n)); }
void *calloc(size_t n, size_t size) { return no_memory() ? NULL : counted(__libc_calloc(n, size)); }
void *memalign(size_t align, size_t n);
void *memalign(size_t align, size_t n) { return no_memory() ? NULL : counted(__libc_memalign(align, n)); }
void *aligned_alloc(size_t align, size_t n) { return memalign(align, n); }

void *realloc(void *was, size_t n)
{
        if (no_memory())
                return NULL;
        void *p = __libc_realloc(was, n);
        return was ? p : counted(p);
}

int posix_memalign(void **ret, size_t align, size_t n)
{
        *ret = memalign(align, n);
        return *ret ? 0 : ENOMEM;
}

void free(void *p)
{
        if (p && control)
                __atomic_sub_fetch(&control->blocks, 1, __ATOMIC_RELAXED);
        __libc_free(p);
}
