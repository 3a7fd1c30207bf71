/* test_vet.c -- what others put in the way is seen: refused on the path, removed from the directory. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/vet.h"

static char root[64];
static int root_fd;

static const char *in(const char *name)
{
        static char path[4][160];
        static unsigned turn;
        char *p = path[turn++ % 4];
        snprintf(p, sizeof path[0], "%s/%s", root, name);
        return p;
}

static void make_root(void)
{
        log_init("test");
        log_set_level(0);
        strcpy(root, "/tmp/pnr-vet-XXXXXX");
        cr_assert_not_null(mkdtemp(root));
        root_fd = open(root, O_RDONLY | O_DIRECTORY);
}

static void remove_root(void)
{
        char command[128];
        close(root_fd);
        snprintf(command, sizeof command, "rm -rf %s", root);
        cr_expect_eq(system(command), 0);
}

TestSuite(vet, .init = make_root, .fini = remove_root);

static bool path_is_good(const char *name) { return vet_path(in(name), (uid_t)-1); }

static void write_file(const char *name, mode_t mode)
{
        int fd = open(in(name), O_CREAT | O_WRONLY, 0600);
        cr_assert(fd >= 0 && !fchmod(fd, mode) && !close(fd));
}

static bool there(const char *name)
{
        struct stat st;
        return !lstat(in(name), &st);
}

Test(vet, a_path_that_only_we_and_root_can_change_is_good)
{
        cr_assert_eq(mkdir(in("a"), 0755), 0);
        cr_assert_eq(symlink(in("a"), in("link")), 0);
        cr_expect(path_is_good("a/run") && path_is_good("link/run") && path_is_good("run/"));
        cr_expect(path_is_good("nothing/here/yet"), "open() says that better");
        cr_expect(vet_path("/run", (uid_t)-1) && vet_path("run", (uid_t)-1));
        cr_assert_eq(chmod(in("a"), 01777), 0);
        cr_expect(path_is_good("a/run"), "as /tmp is");
}

Test(vet, a_directory_on_the_way_that_everybody_can_write_to_is_refused)
{
        cr_assert_eq(mkdir(in("a"), 0755), 0);
        cr_assert_eq(mkdir(in("a/b"), 0755), 0);
        cr_assert_eq(symlink(in("a/b"), in("link")), 0);
        cr_assert_eq(chmod(in("a"), 0777), 0);
        cr_expect_not(path_is_good("a/run"));
        cr_expect_not(path_is_good("a/b/run"));
        cr_expect_not(path_is_good("link/run"), "where it leads to counts");
        cr_assert_eq(chmod(in("a"), 0775), 0);
        cr_expect(path_is_good("a/b/run"), "the group is warned of");
}

Test(vet, a_directory_or_link_of_another_user_on_the_way_is_refused)
{
        if (geteuid() != 0)
                cr_skip("only root can give files away");
        cr_assert_eq(mkdir(in("a"), 0755), 0);
        cr_assert_eq(chown(in("a"), 12345, 12345), 0);
        cr_expect_not(path_is_good("a/run"));
        cr_expect(vet_path(in("a/run"), 12345), "unless that is whom we become");
        cr_assert_eq(mkdir(in("b"), 0755), 0);
        cr_assert_eq(symlink(in("b"), in("link")), 0);
        cr_expect(path_is_good("link/run"));
        cr_assert_eq(lchown(in("link"), 12345, 12345), 0);
        cr_expect_not(path_is_good("link/run"));
}

static bool entry_is_good(const char *name, mode_t type) { return vet_entry(root_fd, root, name, type); }

static bool is_store(const char *name) { return strcmp(name, "data.mdb") == 0; }

Test(vet, a_directory_that_others_use_too_is_refused)
{
        cr_assert(!fchmod(root_fd, 0755));
        cr_expect(vet_alone(root_fd, root, is_store));
        write_file("data.mdb", 0640);
        cr_expect(vet_alone(root_fd, root, is_store));
        write_file("theirs", 0644);
        cr_expect_not(vet_alone(root_fd, root, is_store));
        cr_assert(!fchmod(root_fd, 0701));
        cr_expect_not(vet_alone(root_fd, root, is_store));
        cr_assert(!fchmod(root_fd, 0750));
        cr_expect(vet_alone(root_fd, root, is_store));
        cr_assert(!fchmod(root_fd, 01750));
        cr_expect_not(vet_alone(root_fd, root, is_store));
}

Test(vet, what_is_ours_stays)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        snprintf(at.sun_path, sizeof at.sun_path, "%s", in("sock"));
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
        close(fd);
        write_file("data", 0640);
        cr_assert_eq(mkdir(in("new"), 0700), 0);
        cr_expect(entry_is_good("sock", S_IFSOCK) && there("sock"));
        cr_expect(entry_is_good("data", S_IFREG) && there("data"));
        cr_expect(entry_is_good("new", S_IFDIR) && there("new"));
        cr_expect(entry_is_good("nothing", S_IFREG));
}

Test(vet, what_was_planted_is_removed_and_what_it_leads_to_stays)
{
        write_file("victim", 0600);
        cr_assert_eq(symlink(in("victim"), in("link")), 0);
        cr_assert_eq(mkfifo(in("fifo"), 0600), 0);
        cr_assert_eq(link(in("victim"), in("hard")), 0);
        write_file("open", 0666);
        cr_assert_eq(mkdir(in("empty"), 0700), 0);
        static const char *const planted[] = {"link", "fifo", "hard", "open", "empty"};
        for (unsigned i = 0; i < sizeof planted / sizeof *planted; i++) {
                cr_expect(entry_is_good(planted[i], S_IFREG), "%s", planted[i]);
                cr_expect_not(there(planted[i]), "%s", planted[i]);
        }
        cr_expect(there("victim"));
        write_file("foreign", 0640);
        if (geteuid() == 0 && !chown(in("foreign"), 12345, 0))
                cr_expect(entry_is_good("foreign", S_IFREG) && !there("foreign"));
}

Test(vet, a_directory_with_something_in_it_is_refused)
{
        cr_assert_eq(mkdir(in("full"), 0700), 0);
        write_file("full/file", 0600);
        cr_expect_not(entry_is_good("full", S_IFREG));
        cr_expect(there("full/file"));
}

Test(vet, a_file_of_roots_is_given_and_no_link_followed)
{
        struct stat st;
        if (geteuid() != 0)
                cr_skip("only root can give files away");
        write_file("victim", 0600);
        write_file("file", 0600);
        cr_assert_eq(symlink(in("victim"), in("link")), 0);
        cr_assert_eq(link(in("victim"), in("hard")), 0);
        static const char *const names[] = {"file", "link", "hard", "nothing"};
        for (unsigned i = 0; i < 4; i++)
                cr_expect(vet_give(root_fd, names[i], 12345, 12345), "%s", names[i]);
        cr_expect(!stat(in("victim"), &st) && st.st_uid == 0);
        cr_expect(!stat(in("file"), &st) && st.st_uid == 12345 && st.st_gid == 12345);
}
