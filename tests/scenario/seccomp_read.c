/* seccomp_read.c -- 10,000 decisions of each kind without a system call: the kernel kills who makes one.
 * The parent writes the store; a child opens it, goes under SECCOMP_MODE_STRICT, and decides.
 * ctest: asan parallel */
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "client/pinroute.h"
#include "proto/token.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/live_store.h"

#define ROUNDS 10000

struct kind {
        const char *name;
        const char *key;
        int reason;
        bool by_token; /* of the key, in a request that has none */
};

static const struct kind kinds[] = {
    {"unkeyed", NULL, PINROUTE_BALANCED, false},          {"unpinned", "nobody", PINROUTE_BALANCED, false},
    {"pinned", "writer", PINROUTE_PINNED, false},         {"caught up", "reader", PINROUTE_CAUGHT_UP, false},
    {"with a token", "reader", PINROUTE_CAUGHT_UP, true},
};
#define KINDS (sizeof kinds / sizeof *kinds)

static int by_token(struct pinroute *pr, unsigned cluster, const char *key, struct pinroute_decision *d)
{
        char token[PINROUTE_TOKEN_SIZE];
        struct pinroute_scope s;
        pinroute_scope_begin(&s, pr, cluster, NULL, 0);
        int status = pinroute_token_issue(pr, cluster, key, strlen(key), token, sizeof token);
        if (status == PINROUTE_OK)
                status = pinroute_token_accept(pr, cluster, token, &s);
        return status == PINROUTE_OK ? pinroute_scope_read(&s, d) : status;
}

static int wrong_answers(struct pinroute *pr, unsigned cluster, const struct kind *k)
{
        int wrong = 0;
        for (int i = 0; i < ROUNDS; i++) {
                struct pinroute_decision d;
                int status = k->by_token
                                 ? by_token(pr, cluster, k->key, &d)
                                 : pinroute_route_read(pr, cluster, k->key, k->key ? strlen(k->key) : 0, &d);
                wrong += status != PINROUTE_OK || d.reason != k->reason;
        }
        return wrong;
}

/* exit_group() is more than strict mode allows. */
static void leave(int status) { syscall(SYS_exit, status); }

static void decide_under_seccomp(const char *dir, size_t which, int rounds_before)
{
        struct pinroute *pr;
        unsigned cluster;
        LIVE_MUST(pinroute_open(&pr, dir) == PINROUTE_OK);
        LIVE_MUST(pinroute_cluster(pr, "main", &cluster) == PINROUTE_OK);
        if (rounds_before < 0) { /* the first read after a fork is read under seccomp, too */
                pid_t child = fork();
                int st;
                if (child != 0) {
                        LIVE_MUST(waitpid(child, &st, 0) == child);
                        if (WIFSIGNALED(st))
                                kill(getpid(), WTERMSIG(st));
                        leave(WEXITSTATUS(st));
                }
        }
        LIVE_MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0);
        leave(wrong_answers(pr, cluster, &kinds[which]) != 0);
}

static bool holds(struct live *l, size_t which, int rounds_before)
{
        int st;
        live_beat(l, 0);
        pid_t child = fork();
        if (child == 0)
                decide_under_seccomp(l->dir, which, rounds_before);
        LIVE_MUST(child > 0 && waitpid(child, &st, 0) == child);
        bool good = WIFEXITED(st) && WEXITSTATUS(st) == 0;
        printf("%s: %d decisions %s%s: %s\n", good ? "ok" : "FAILED", ROUNDS, kinds[which].name,
               rounds_before < 0 ? " in a forked child" : "",
               good              ? "no system call"
               : WIFSIGNALED(st) ? "killed: a system call was made"
                                 : "wrong answers");
        fflush(stdout);
        return good;
}

int main(void)
{
        struct live l;
        struct fake fake = {0}; /* tells its clock */
        int passed = 0, failed = 0;
        live_init(&l);
        fake_start(&fake, l.dir);
        l.cluster[0].trust_ms = 60000;
        l.header.stale_after_ms = 30000; /* a slow machine must not make the heartbeat of this test stale */
        l.cluster[0].node[1].caught_up = 7;
        live_pin(&l, "writer", 6, 8, 60000, 0);
        live_pin_stamped(&l, "reader", 6, 7, 60000, 0, pnr_stamp(LIVE_ISSUER, 1));
        live_keys(&l, 1, 2);
        for (size_t i = 0; i < KINDS; i++)
                for (int fork_first = 0; fork_first < 2; fork_first++)
                        *(holds(&l, i, -fork_first) ? &passed : &failed) += 1;
        fake_fini(&fake);
        live_fini(&l);
        printf("%d passed, %d failed\n", passed, failed);
        return failed != 0;
}
