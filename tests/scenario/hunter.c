/* hunter.c -- many writers and readers on two hosts whose faults hunter.py plays, and the judge of what they saw.
 * Needs: create table hunted (k bigint primary key, v int not null), whose rows' v counts their commits.
 *
 *   hunter play DIR SEED WRITERS READERS HOST0 PIN0 MAX0 HOST1 PIN1 MAX1 NODE=PORT...
 *     DIR      of the history, and of the board, on which hunter.py writes its wishes
 *     WRITERS, READERS  processes per host: each second one opens a handle of its own, the others use one that was
 *              opened before the fork
 *     HOSTn    the daemon's directory; PINn, MAXn: its pin_seconds and max_pin_seconds, in ms
 *     A player that is killed is replaced; SIGTERM ends them all.
 *   hunter check DIR
 *     judges the history, by DIR/faults, too; tells the first violations with their story, prints one line of
 *     `name=number`, and exits with 1 when there was any. */
#include "hunter_check.h"
#include "hunter_play.h"

#define PLAYERS_MAX 256

struct casting {
        const char *dir, *host_dir[HUNT_HOSTS];
        uint32_t pin_ms[HUNT_HOSTS], max_pin_ms[HUNT_HOSTS];
        unsigned writers, readers;
        uint64_t seed;
        struct crew_at at[HUNT_HOSTS]; /* opened before the fork */
        struct pg pg;
        struct board *board;
};

static void on_term(int number)
{
        (void)number;
        play_over = 1;
}

static void catch_term(void)
{
        struct sigaction end = {.sa_handler = on_term}; /* no SA_RESTART: naps end, too */
        sigaction(SIGTERM, &end, NULL);
}

static struct board *open_board(const char *dir)
{
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/board", dir);
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        CREW_MUST(fd >= 0 && ftruncate(fd, sizeof(struct board)) == 0);
        void *board = mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        CREW_MUST(board != MAP_FAILED);
        close(fd);
        return board;
}

static int open_history(const char *dir, unsigned host)
{
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/events-%u-%d", dir, host, getpid());
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        CREW_MUST(fd >= 0);
        return fd;
}

/* Players 0, 1, 2 ...: of both hosts in turn; in each host the writers come first. */
static void play(void *arg, unsigned number)
{
        struct casting *c = arg;
        unsigned host = number % HUNT_HOSTS, place = number / HUNT_HOSTS % (c->writers + c->readers);
        struct player p = {
            .board = c->board,
            .news = &c->board->host[host],
            .pg = c->pg,
            .dice = (c->seed + 1) * 0x9e3779b97f4a7c15ull ^ (number + 1) * 0xbf58476d1ce4e5b9ull,
            .pin_ms = c->pin_ms[host],
            .max_pin_ms = c->max_pin_ms[host],
            .host = (uint8_t)host,
            .sync = place % 2,
        };
        catch_term();
        p.history = open_history(c->dir, host);
        p.at = place % 2 ? c->at[host] : crew_attach(c->host_dir[host], "main");
        pinroute_set_timeout(p.at.pr, place % 3 == 1 ? 1000 : 50);
        if (place < c->writers)
                writer(&p);
        else
                reader(&p);
        pg_close(&p.pg);
        pinroute_close(&p.at.pr);
}

static void replace_the_killed(struct casting *c, pid_t child[PLAYERS_MAX], unsigned *number,
                               unsigned players)
{
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        for (unsigned i = 0; pid > 0 && i < players; i++)
                if (child[i] == pid) {
                        CREW_MUST(play_over || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
                        *number += players;
                        child[i] = play_over ? 0 : crew_fork(play, c, *number / players * players + i);
                }
}

static void direct(struct casting *c)
{
        pid_t child[PLAYERS_MAX];
        unsigned players = HUNT_HOSTS * (c->writers + c->readers), number = 0;
        CREW_MUST(players <= PLAYERS_MAX);
        c->board = open_board(c->dir);
        for (unsigned host = 0; host < HUNT_HOSTS; host++)
                c->at[host] = crew_attach(c->host_dir[host], "main");
        catch_term();
        for (unsigned i = 0; i < players; i++)
                child[i] = crew_fork(play, c, i);
        puts("playing");
        fflush(stdout);
        while (!play_over)
                replace_the_killed(c, child, &number, players);
        for (unsigned i = 0; i < players; i++)
                if (child[i] > 0) {
                        kill(child[i], SIGTERM);
                        kill(child[i], SIGCONT);
                        waitpid(child[i], NULL, 0);
                }
}

static uint32_t number_of(const char *text) { return (uint32_t)strtoul(text, NULL, 10); }

static int play_all(char **word, int n)
{
        struct casting c = {.dir = word[0], .seed = strtoull(word[1], NULL, 10)};
        c.writers = number_of(word[2]);
        c.readers = number_of(word[3]);
        word += 4;
        for (unsigned host = 0; host < HUNT_HOSTS; host++, word += 3) {
                c.host_dir[host] = word[0];
                c.pin_ms[host] = number_of(word[1]);
                c.max_pin_ms[host] = number_of(word[2]);
        }
        for (int i = 4 + 3 * HUNT_HOSTS; i < n && c.pg.nodes < HUNT_NODES; i++, word++) {
                struct pg_node *node = &c.pg.node[c.pg.nodes++];
                CREW_MUST(sscanf(*word, "%63[^=]=%u", node->name, &node->port) == 2);
        }
        direct(&c);
        return 0;
}

int main(int argc, char **argv)
{
        if (argc == 3 && strcmp(argv[1], "check") == 0)
                return check_all(argv[2]);
        if (argc > 6 + 3 * HUNT_HOSTS && strcmp(argv[1], "play") == 0)
                return play_all(argv + 2, argc - 2);
        fputs("usage: hunter play DIR SEED WRITERS READERS HOST0 PIN0 MAX0 HOST1 PIN1 MAX1 NODE=PORT...\n"
              "       hunter check DIR\n",
              stderr);
        return 2;
}
