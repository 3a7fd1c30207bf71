/* test_named.c -- what a config names and this host has not is said, all of it. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "daemon/named.h"

static char told[8192];
static struct cluster_conf cluster;
static struct conf conf;
static struct named found;

static void say(void *arg, const char *message)
{
        (void)arg;
        size_t n = strlen(told);
        snprintf(told + n, sizeof told - n, "%s\n", message);
}

static void begin(void)
{
        told[0] = '\0';
        cluster = (struct cluster_conf){.name = "main", .n_nodes = 1, .node = {{.name = "a", .line = 8}}};
        conf = (struct conf){.path = "p.ini",
                             .dir = "/",
                             .n_clusters = 1,
                             .cluster = &cluster,
                             .dir_line = 2,
                             .user_line = 3,
                             .group_line = 4,
                             .operator_group_line = 5};
}

TestSuite(named, .init = begin);

Test(named, nobody_is_found_where_nobody_is_named_and_root_where_root_is)
{
        cr_expect(named_find(&conf, &found, say));
        cr_expect(found.user.uid == (uid_t)-1 && found.group == (gid_t)-1 && found.operators == (gid_t)-1);
        strcpy(conf.user, "root");
        strcpy(conf.group, "root");
        strcpy(conf.operator_group, "root");
        cr_expect(named_find(&conf, &found, say));
        cr_expect(found.user.uid == 0 && found.group == 0 && found.operators == 0);
        cr_expect_str_eq(told, "");
}

Test(named, each_that_is_not_there_is_said_with_its_line)
{
        strcpy(conf.user, "no-such");
        strcpy(conf.group, "no-such");
        strcpy(conf.operator_group, "no-such");
        cr_expect_not(named_find(&conf, &found, say));
        cr_expect(strstr(told, "p.ini:3: [pinrouted] user: no user named no-such on this host"), "%s", told);
        cr_expect(strstr(told, "p.ini:4: [pinrouted] group: no group named no-such"), "%s", told);
        cr_expect(strstr(told, "p.ini:5: [pinrouted] operator_group: no group named no-such"), "%s", told);
}

Test(named, a_directory_for_all_is_wrong_and_one_that_is_not_there_will_be_made)
{
        cr_expect(named_dir(&conf, say));
        strcpy(conf.dir, "/nonexistent/pinroute");
        cr_expect(named_dir(&conf, say));
        cr_expect_str_eq(told, "");
        strcpy(conf.dir, "/tmp");
        cr_expect_not(named_dir(&conf, say));
        cr_expect(strstr(told, "p.ini:2: [pinrouted] dir: /tmp is a place for all, "), "%s", told);
}

Test(named, files_that_cannot_be_read_are_warned_of_and_no_other_word_is)
{
        strcpy(cluster.node[0].conninfo,
               "host=/nonexistent password='/no/file' sslrootcert=system passfile=/dev/null "
               "sslkey='/nonexistent/a key' sslcrl=/nonexistent/l");
        named_warn(&conf, say);
        cr_expect(strstr(told, "p.ini:8: [nodes main] a: warning: sslkey: "), "%s", told);
        cr_expect(strstr(told, " cannot read /nonexistent/a key (No such file or directory)"), "%s", told);
        cr_expect(strstr(told, "a: warning: sslcrl: "), "%s", told);
        cr_expect_null(strstr(told, "/no/file"), "a password stays secret: %s", told);
        cr_expect_null(strstr(told, "system"), "%s", told);
        cr_expect_null(strstr(told, "/dev/null"), "%s", told);
}
