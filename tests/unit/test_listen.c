/* test_listen.c -- the directory, its lock and its sockets: ours alone, with the right modes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/listen.h"
#include "daemon/log.h"

static char root[64], dir[80], said[4096];
static struct listen_dir d;

static const char *in(const char *name)
{
        static char path[4][160];
        static unsigned turn;
        char *p = path[turn++ % 4];
        snprintf(p, sizeof path[0], "%s/%s", dir, name);
        return p;
}

static void make_root(void)
{
        log_init("test");
        strcpy(root, "/dev/shm/pnr-listen-XXXXXX");
        cr_assert_not_null(mkdtemp(root));
        snprintf(dir, sizeof dir, "%s/run", root);
        d = (struct listen_dir){.path = dir, .group = (gid_t)-1, .operators = (gid_t)-1, .lock = -1};
}

static void remove_root(void)
{
        char command[128];
        snprintf(command, sizeof command, "rm -rf %s", root);
        cr_expect_eq(system(command), 0);
}

TestSuite(listen, .init = make_root, .fini = remove_root);

static bool open_dir(void) { return listen_open_dir(&d); }
static bool open_operators(void) { return listen_operators(&d) >= 0; }

/* Keeps in `said` what `act` logs. */
static bool logged(bool (*act)(void))
{
        int pipe_fds[2], err = dup(2);
        cr_assert_eq(pipe(pipe_fds), 0);
        dup2(pipe_fds[1], 2);
        log_init("test");
        bool ok = act();
        dup2(err, 2);
        log_init("test");
        close(err);
        close(pipe_fds[1]);
        ssize_t n = read(pipe_fds[0], said, sizeof said - 1);
        said[n > 0 ? n : 0] = '\0';
        close(pipe_fds[0]);
        return ok;
}

static bool open_logged(void) { return logged(open_dir); }

static void expect_said(const char *part) { cr_expect(strstr(said, part), "'%s' says '%s'", said, part); }

static void expect_mode(const char *path, mode_t type, mode_t mode)
{
        struct stat st;
        cr_assert_eq(lstat(path, &st), 0, "%s", path);
        cr_expect_eq(st.st_mode & S_IFMT, type, "%s", path);
        cr_expect_eq(st.st_mode & 07777, mode, "%s: %o", path, st.st_mode & 07777);
        cr_expect_eq(st.st_uid, geteuid());
}

Test(listen, modes_are_right_whatever_the_umask)
{
        const mode_t masks[] = {0, 022, 077, 0777};
        for (unsigned i = 0; i < 4; i++) {
                mode_t was = umask(masks[i]);
                cr_assert(listen_open_dir(&d));
                int workers = listen_workers(&d), operators = listen_operators(&d);
                umask(was);
                cr_assert(workers >= 0 && operators >= 0);
                expect_mode(dir, S_IFDIR, 0750);
                expect_mode(in("pinrouted.lock"), S_IFREG, 0600);
                expect_mode(in("pinrouted.sock"), S_IFSOCK, 0660);
                expect_mode(in("ctl.sock"), S_IFSOCK, 0600);
                close(workers);
                close(operators);
                listen_close_dir(&d);
                cr_expect_lt(access(in("pinrouted.sock"), F_OK), 0);
                cr_expect_lt(access(in("ctl.sock"), F_OK), 0);
                unlink(in("pinrouted.lock"));
        }
}

Test(listen, the_lock_is_held_while_its_file_has_its_name_and_no_longer)
{
        cr_expect_not(listen_holds_dir(&d), "not opened yet");
        cr_assert(listen_open_dir(&d));
        cr_expect(listen_holds_dir(&d));
        cr_assert_eq(rename(in("pinrouted.lock"), in("aside")), 0);
        cr_expect_not(listen_holds_dir(&d), "moved away");
        int fd = open(in("pinrouted.lock"), O_CREAT | O_RDWR, 0600);
        cr_expect_not(listen_holds_dir(&d), "another's");
        close(fd);
        cr_assert_eq(rename(in("aside"), in("pinrouted.lock")), 0);
        cr_expect(listen_holds_dir(&d));
        unlink(in("pinrouted.lock"));
        cr_expect_not(listen_holds_dir(&d), "removed");
        for (unsigned i = 0; i < 20; i++) { /* a number that is given anew would be ours */
                close(open(in("pinrouted.lock"), O_CREAT | O_RDWR, 0600));
                cr_expect_not(listen_holds_dir(&d));
                unlink(in("pinrouted.lock"));
        }
}

Test(listen, a_user_who_is_no_operator_is_told_which_group_to_join)
{
        const uid_t nobody = 65534;
        if (geteuid() == 0) /* in this test's own process */
                cr_assert(!chown(root, nobody, nobody) && !setgroups(0, NULL) && !setgid(nobody) &&
                          !setuid(nobody));
        d.operators = 4343;
        cr_assert(listen_open_dir(&d));
        cr_expect_not(logged(open_operators));
        expect_said("ctl.sock: chgrp (pinrouted's user must belong to `operator_group`)");
        listen_close_dir(&d);
}

Test(listen, groups_get_what_is_theirs)
{
        struct stat st;
        if (geteuid() != 0)
                cr_skip("only root may give files to other groups");
        d.group = 4242;
        d.operators = 4343;
        cr_assert(listen_open_dir(&d));
        int workers = listen_workers(&d), operators = listen_operators(&d);
        cr_assert(!stat(dir, &st) && st.st_gid == 4242);
        cr_assert(!stat(in("pinrouted.sock"), &st) && st.st_gid == 4242);
        cr_assert(!stat(in("ctl.sock"), &st) && st.st_gid == 4343);
        expect_mode(in("ctl.sock"), S_IFSOCK, 0660);
        close(workers);
        close(operators);
        listen_close_dir(&d);
}

Test(listen, a_second_daemon_is_refused_and_told_whose_directory_it_is)
{
        struct listen_dir first = d;
        char pid[32];
        cr_assert(listen_open_dir(&first));
        int fd = listen_workers(&first);
        cr_expect_not(open_logged());
        snprintf(pid, sizeof pid, "(pid %d)", (int)getpid());
        expect_said(pid);
        expect_mode(in("pinrouted.sock"), S_IFSOCK, 0660);
        close(fd);
        listen_close_dir(&first);
        close(d.lock);
        cr_expect(open_logged(), "%s", said);
        listen_close_dir(&d);
}

Test(listen, a_symbolic_link_is_refused_as_directory_and_as_lock)
{
        char target[80];
        snprintf(target, sizeof target, "%s/elsewhere", root);
        cr_assert_eq(mkdir(target, 0700), 0);
        cr_assert_eq(symlink(target, dir), 0);
        cr_expect_not(open_logged());
        expect_said("not a symbolic link");
        expect_mode(target, S_IFDIR, 0700);
        unlink(dir);
        mkdir(dir, 0700);
        cr_assert_eq(symlink(target, in("pinrouted.lock")), 0);
        cr_expect_not(open_logged());
        expect_said("pinrouted.lock");
}

Test(listen, a_directory_of_another_owner_or_a_file_or_no_parent_is_refused)
{
        int fd = open(dir, O_CREAT | O_WRONLY, 0600);
        close(fd);
        cr_expect_not(open_logged());
        unlink(dir);
        char deep[96];
        snprintf(deep, sizeof deep, "%s/a/b", root);
        d.path = deep;
        cr_expect_not(open_logged());
        expect_said("its parent must exist");
        d.path = dir;
        if (geteuid() != 0)
                return;
        cr_assert_eq(mkdir(dir, 0755), 0);
        cr_assert_eq(chown(dir, 12345, 12345), 0);
        cr_expect_not(open_logged());
        expect_said("belongs to uid 12345");
        struct stat st;
        cr_assert_eq(stat(dir, &st), 0);
        cr_expect_eq(st.st_mode & 07777, 0755, "what is not ours stays as it is");
}

static bool connects(const char *name, int type)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        snprintf(at.sun_path, sizeof at.sun_path, "%s", in(name));
        int fd = socket(AF_UNIX, type, 0);
        bool ok = connect(fd, (struct sockaddr *)&at, sizeof at) == 0;
        close(fd);
        return ok;
}

Test(listen, stale_sockets_are_replaced_and_connections_come_in)
{
        cr_assert(listen_open_dir(&d));
        close(listen_workers(&d)); /* as a killed daemon leaves it */
        cr_expect_not(connects("pinrouted.sock", SOCK_SEQPACKET));
        int workers = listen_workers(&d), operators = listen_operators(&d);
        cr_expect(connects("pinrouted.sock", SOCK_SEQPACKET));
        cr_expect(connects("ctl.sock", SOCK_STREAM));
        cr_expect_not(connects("pinrouted.sock", SOCK_STREAM));
        for (int *fd = (int[]){workers, operators, -1}; *fd >= 0; fd++) {
                cr_expect(fcntl(*fd, F_GETFL) & O_NONBLOCK);
                cr_expect(fcntl(*fd, F_GETFD) & FD_CLOEXEC);
        }
        cr_expect(fcntl(d.lock, F_GETFD) & FD_CLOEXEC);
        close(workers);
        close(operators);
        listen_close_dir(&d);
}

/* ---- a socket at a path of the config's ---- */

static struct listen_name name;
static bool listen_there(void) { return listen_at(&name, (gid_t)-1) >= 0; }

static void expect_refused(const char *why)
{
        cr_expect_not(logged(listen_there));
        cr_expect(strstr(said, why), "%s in %s", why, said);
}

static void name_it(const char *file)
{
        static char path[128];
        mkdir(dir, 0755);
        snprintf(path, sizeof path, "%s", in(file));
        name = (struct listen_name){.path = path};
}

Test(listen, a_socket_at_a_path_takes_the_place_of_one_that_nobody_listens_on)
{
        struct stat st;
        name_it("http");
        int first = listen_at(&name, getegid());
        cr_assert_geq(first, 0);
        cr_assert_eq(stat(name.path, &st), 0);
        cr_expect_eq(st.st_mode & 07777, 0660);
        cr_expect_eq(st.st_gid, getegid());
        expect_refused("another program listens there: stop it");
        close(first);
        int second = listen_at(&name, (gid_t)-1);
        cr_assert_geq(second, 0);
        cr_expect_neq(name.ino, 0);
        cr_expect_not(listen_lost(&name));
        struct listen_name other = {.path = name.path, .dev = name.dev, .ino = name.ino + 1};
        listen_unname(&other);
        cr_expect_not(listen_lost(&name), "it is not that one's to take away");
        listen_unname(&name);
        cr_expect(listen_lost(&name));
        close(second);
}

Test(listen, what_is_no_socket_or_somebody_elses_is_left_where_it_is)
{
        name_it("http");
        close(open(name.path, O_CREAT | O_WRONLY, 0600));
        expect_refused("is there, and is no socket: remove it, or name another path");
        unlink(name.path);
        cr_assert_eq(symlink("/dev/null", name.path), 0);
        expect_refused("is no socket");
        unlink(name.path);
        int fd = listen_at(&name, (gid_t)-1);
        close(fd);
        if (geteuid() == 0) {
                cr_assert_eq(chown(name.path, 65534, (gid_t)-1), 0);
                expect_refused("is another user's");
        }
        cr_expect_not(listen_lost(&name));
}

Test(listen, a_socket_is_made_only_where_nobody_else_could_put_another)
{
        name_it("http");
        chmod(dir, 0777);
        expect_refused("everybody can write to");
        name_it("no/such/directory");
        chmod(dir, 0755);
        expect_refused("its directory must exist");
        cr_expect(listen_lost(&name));
}
