/* test_manager.c -- what a service manager hears, and when. */
#include "tests/unit/core_play.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/manager.h"

static struct manager m;
static int ear = -1;

static void listen_as_manager(void)
{
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        char name[64];
        snprintf(name, sizeof name, "@pnr-manager-%d", (int)getpid());
        memcpy(at.sun_path + 1, name + 1, strlen(name) - 1);
        ear = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
        cr_assert_eq(bind(ear, (struct sockaddr *)&at, size), 0);
        setenv("NOTIFY_SOCKET", name, 1);
        unsetenv("WATCHDOG_USEC");
        unsetenv("WATCHDOG_PID");
}

static void up(void)
{
        core_open();
        listen_as_manager();
        manager_init(&m, core_now);
}

TestSuite(manager, .init = up, .fini = core_close);

/* The next message, "" if there is none. */
static const char *heard(void)
{
        static char message[1024];
        ssize_t n = recv(ear, message, sizeof message - 1, 0);
        cr_assert(n >= 0 || errno == EAGAIN);
        message[n < 0 ? 0 : n] = '\0';
        return message;
}

static void turn(int64_t ms)
{
        core_now.ms += ms;
        manager_turn(&m, &core, core_now);
}

Test(manager, a_turn_pets_a_watchdog_at_a_third_of_its_time_and_not_more_often)
{
        setenv("WATCHDOG_USEC", "9000000", 1);
        manager_init(&m, core_now);
        m.status_due = mono_plus(core_now, 1000000);
        turn(0);
        cr_expect_str_eq(heard(), "WATCHDOG=1");
        turn(2999);
        cr_expect_str_eq(heard(), "");
        turn(1);
        cr_expect_str_eq(heard(), "WATCHDOG=1");
        cr_expect_str_eq(heard(), "");
}

Test(manager, a_watchdog_that_is_none_or_another_process_s_is_not_petted)
{
        static const char *const with[][2] = {{NULL, NULL},
                                              {"0", NULL},
                                              {"soon", NULL},
                                              {"9000000x", NULL},
                                              {"9000000", "1"},
                                              {"-1", NULL},
                                              {"99999999999999999999", NULL}};
        for (unsigned i = 0; i < sizeof with / sizeof *with; i++) {
                unsetenv("WATCHDOG_USEC");
                unsetenv("WATCHDOG_PID");
                if (with[i][0])
                        setenv("WATCHDOG_USEC", with[i][0], 1);
                if (with[i][1])
                        setenv("WATCHDOG_PID", with[i][1], 1);
                manager_init(&m, core_now);
                cr_expect_eq(m.pet_ms, 0, "%u", i);
        }
        char own[16];
        snprintf(own, sizeof own, "%d", (int)getpid());
        setenv("WATCHDOG_USEC", "1000", 1);
        setenv("WATCHDOG_PID", own, 1);
        manager_init(&m, core_now);
        cr_expect_eq(m.pet_ms, 1);
}

Test(manager, it_hears_in_words_how_the_clusters_are_and_again_when_that_has_changed)
{
        turn(0);
        cr_expect_str_eq(
            heard(),
            "STATUS=0 of 2 replicas of main in rotation, 0 of 1 replica of other in rotation, 0 pins");
        turn(5000);
        cr_expect_str_eq(heard(), "", "nothing has changed");
        struct cluster_node *n = &core.cluster[0]->node[1];
        n->state = NODE_UP;
        cluster_remove(core.cluster[1]);
        turn(1);
        cr_expect_str_eq(heard(), "", "no more than once a second");
        turn(999);
        cr_expect_str_eq(heard(), "STATUS=1 of 2 replicas of main in rotation, 0 pins");
}

Test(manager, it_hears_why_a_daemon_does_not_serve_yet)
{
        core.silent_until = mono_plus(core_now, 500);
        turn(0);
        cr_expect_str_eq(heard(), "STATUS=waiting until no process can trust an earlier store");
        turn(499);
        cr_expect_str_eq(heard(), "");
        turn(1);
        cr_expect(strstr(heard(), " pins"), "that it serves it hears at once");
}

Test(manager, more_clusters_than_a_line_holds_are_cut)
{
        char status[MANAGER_STATUS_MAX];
        memset(core.cluster[0]->conf.name, 'm', sizeof core.cluster[0]->conf.name - 1);
        for (core.n_clusters = 2; core.n_clusters < 8; core.n_clusters++)
                core.cluster[core.n_clusters] = core.cluster[0];
        manager_status(&core, core_now, status);
        core.n_clusters = 2;
        cr_expect_eq(strlen(status), MANAGER_STATUS_MAX - 1u);
        cr_expect_str_eq(status + strlen(status) - 4, "m...");
}

Test(manager, a_reload_begins_and_ends)
{
        manager_reloading((struct mono){1234});
        cr_expect_str_eq(heard(), "RELOADING=1\nMONOTONIC_USEC=1234000");
        manager_reloaded();
        cr_expect_str_eq(heard(), "READY=1");
}
