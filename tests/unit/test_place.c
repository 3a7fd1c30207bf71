/* test_place.c -- the files of a store: leftovers, modes, the move into place. */
#include "daemon/place.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static int dir_fd;

static void make_dir(void)
{
        snprintf(dir, sizeof dir, "/dev/shm/pnr-place-XXXXXX");
        cr_assert(mkdtemp(dir));
        dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void drop_dir(void)
{
        char command[128];
        close(dir_fd);
        snprintf(command, sizeof command, "rm -rf %s", dir);
        cr_expect_eq(system(command), 0);
}

TestSuite(place, .init = make_dir, .fini = drop_dir);

static int make(const char *name)
{
        int fd = openat(dir_fd, name, O_CREAT | O_RDWR, 0666);
        cr_assert_geq(fd, 0);
        return fd;
}

static struct stat stat_of(const char *name)
{
        struct stat st = {0};
        fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW);
        return st;
}

static bool is_there(const char *name) { return stat_of(name).st_mode != 0; }

Test(place, leftovers_are_cleared_but_nothing_that_is_a_stranger_s)
{
        close(make("new"));
        cr_expect_eq(place_clear_new(dir_fd), 0);
        cr_expect_eq(stat_of("new").st_mode & 07777, 0700);
        close(make(place_new.data));
        close(make(place_new.lock));
        cr_expect_eq(place_clear_new(dir_fd), 0);
        cr_expect(!is_there(place_new.data) && !is_there(place_new.lock));
        close(make("new/x"));
        cr_expect(place_clear_new(dir_fd) == -1 && errno == EEXIST);
}

Test(place, a_link_is_cleared_and_nothing_of_what_it_leads_to)
{
        cr_assert_eq(mkdirat(dir_fd, "elsewhere", 0700), 0);
        close(make("elsewhere/" PLACE_DATA));
        close(make("elsewhere/" PLACE_LOCK));
        cr_assert_eq(symlinkat("elsewhere", dir_fd, "new"), 0);
        cr_expect_eq(place_clear_new(dir_fd), 0);
        cr_expect(S_ISDIR(stat_of("new").st_mode));
        cr_expect(is_there("elsewhere/" PLACE_DATA) && is_there("elsewhere/" PLACE_LOCK));
}

Test(place, what_was_made_takes_the_place_of_what_is_there)
{
        cr_assert_eq(place_clear_new(dir_fd), 0);
        close(make(place_final.data));
        cr_expect(place_publish_new(dir_fd) == -1 && errno == ENOENT);
        close(make(place_new.data));
        close(make(place_new.lock));
        ino_t data = stat_of(place_new.data).st_ino, lock = stat_of(place_new.lock).st_ino;
        cr_expect_eq(place_publish_new(dir_fd), 0);
        cr_expect_eq(stat_of(place_final.data).st_ino, data);
        cr_expect_eq(stat_of(place_final.lock).st_ino, lock);
        cr_expect_not(is_there("new"));
}

Test(place, modes_are_what_they_are_whatever_the_umask)
{
        umask(0077);
        int data = make(place_final.data);
        close(make(place_final.lock));
        gid_t group = getegid();
        cr_expect_eq(place_set_modes(dir_fd, &place_final, data, (gid_t)-1), 0);
        cr_expect_eq(place_set_modes(dir_fd, &place_final, data, group), 0);
        cr_expect_eq(stat_of(place_final.data).st_mode & 07777, 0640);
        cr_expect_eq(stat_of(place_final.data).st_gid, group);
        cr_expect_eq(stat_of(place_final.lock).st_mode & 07777, 0600);
        unlinkat(dir_fd, place_final.lock, 0);
        cr_expect_eq(place_set_modes(dir_fd, &place_final, data, group), -1);
        close(data);
}

Test(place, a_file_gets_all_its_bytes_or_says_why_not)
{
        int data = make(place_final.data);
        cr_expect_eq(place_allocate(data, 12345), 0);
        cr_expect_eq(stat_of(place_final.data).st_size, 12345);
        cr_expect(place_allocate(-1, 12345) == -1 && errno == EBADF);
        close(data);
}

Test(place, the_lock_file_has_no_holes_that_a_full_file_system_could_not_fill)
{
        cr_expect_eq(place_allocate_lock(dir_fd, &place_final), 0);
        struct stat st = stat_of(place_final.lock);
        cr_expect(st.st_size == 8192 && st.st_blocks * 512 >= st.st_size);
        cr_expect_eq(st.st_mode & 07777, 0600);
        cr_expect_eq(place_allocate_lock(dir_fd, &place_final), 0, "as often as one likes");
        unlinkat(dir_fd, place_final.lock, 0);
        cr_assert_eq(symlinkat("/dev/null", dir_fd, place_final.lock), 0);
        cr_expect(place_allocate_lock(dir_fd, &place_final) == -1 && errno == ELOOP);
        unlinkat(dir_fd, place_final.lock, 0);
}

Test(place, an_exec_closes_what_is_open_on_the_files_and_nothing_else)
{
        int data = make(place_final.data), lock = make(place_final.lock), again = make(place_final.lock),
            other = make("new");
        place_close_on_exec(dir_fd, &place_final);
        cr_expect(fcntl(data, F_GETFD) & FD_CLOEXEC);
        cr_expect(fcntl(lock, F_GETFD) & FD_CLOEXEC);
        cr_expect(fcntl(again, F_GETFD) & FD_CLOEXEC);
        cr_expect_not(fcntl(other, F_GETFD) & FD_CLOEXEC);
        close(data), close(lock), close(again), close(other);
        unlinkat(dir_fd, "new", 0);
}
