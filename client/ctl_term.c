/* ctl_term.c -- the terminal of a view.
 * The only file of the tool that changes the terminal; it restores it on every way out but SIGKILL. */
#include "client/ctl_term.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "client/clock.h"

#define ENTER "\033[?1049h\033[?25l\033[H\033[2J"
#define LEAVE "\033[?25h\033[?1049l"

static struct {
        bool inside, keys; /* keys: stdin is a terminal, too */
        struct termios before;
        sigset_t waiting; /* the mask while we wait */
} term;

static volatile sig_atomic_t resized, stopped, continued, ended;

static void on_signal(int number)
{
        switch (number) {
        case SIGWINCH: resized = 1; break;
        case SIGTSTP: stopped = 1; break;
        case SIGCONT: continued = 1; break;
        default: ended = 1;
        }
}

static const int caught[] = {SIGWINCH, SIGTSTP, SIGCONT, SIGINT, SIGTERM, SIGHUP};

bool ctl_term_is_there(void)
{
        const char *kind = getenv("TERM");
        return isatty(STDOUT_FILENO) && kind && *kind && strcmp(kind, "dumb") != 0;
}

void ctl_term_catch(void)
{
        sigset_t all;
        sigemptyset(&all);
        for (size_t i = 0; i < sizeof caught / sizeof *caught; i++) {
                struct sigaction act = {.sa_handler = on_signal};
                sigaddset(&all, caught[i]);
                sigaction(caught[i], &act, NULL);
        }
        sigprocmask(SIG_BLOCK, &all, &term.waiting);
        for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
                sigdelset(&term.waiting, caught[i]);
}

void ctl_term_leave(void)
{
        if (!term.inside)
                return;
        term.inside = false;
        fputs(LEAVE, stdout);
        fflush(stdout);
        if (term.keys)
                tcsetattr(STDIN_FILENO, TCSADRAIN, &term.before);
}

void ctl_term_enter(void)
{
        static bool at_exit;
        if (!at_exit)
                at_exit = !atexit(ctl_term_leave);
        term.keys = !tcgetattr(STDIN_FILENO, &term.before);
        if (term.keys) {
                struct termios ours = term.before;
                ours.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
                ours.c_cc[VMIN] = 0;
                ours.c_cc[VTIME] = 0;
                tcsetattr(STDIN_FILENO, TCSADRAIN, &ours);
        }
        term.inside = true;
        fputs(ENTER, stdout);
}

void ctl_term_size(unsigned *columns, unsigned *lines)
{
        struct winsize size = {0};
        bool known = !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col && size.ws_row;
        *columns = known ? size.ws_col : 80;
        *lines = known ? size.ws_row : 24;
}

/* As if we did not catch it: the shell sees a stopped job. */
static void stop(void)
{
        struct sigaction act = {.sa_handler = SIG_DFL}, ours;
        sigset_t one, before;
        bool inside = term.inside;
        stopped = 0;
        ctl_term_leave();
        sigaction(SIGTSTP, &act, &ours);
        raise(SIGTSTP);
        sigemptyset(&one);
        sigaddset(&one, SIGTSTP);
        sigprocmask(SIG_UNBLOCK, &one, &before); /* here we stop */
        sigprocmask(SIG_SETMASK, &before, NULL);
        sigaction(SIGTSTP, &ours, NULL);
        if (inside)
                ctl_term_enter();
}

/* Who was stopped by SIGSTOP found the terminal as the shell has it. */
static void go_on(void)
{
        continued = 0;
        if (!term.inside)
                return;
        ctl_term_leave();
        ctl_term_enter();
}

static bool signalled(enum ctl_term_event *event)
{
        if (stopped)
                stop();
        else if (continued)
                go_on();
        else if (!resized && !ended)
                return false;
        *event = ended ? CTL_TERM_END : CTL_TERM_REDRAW;
        resized = 0;
        return true;
}

/* Of an arrow or another key of several bytes, nothing is left. */
static enum ctl_term_event read_key(char *key)
{
        char bytes[64];
        ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
        if (n <= 0)
                return CTL_TERM_END;
        *key = '\0';
        if (bytes[0] != '\033')
                *key = bytes[0];
        return CTL_TERM_KEY;
}

enum ctl_term_event ctl_term_wait(int64_t most_ms, char *key)
{
        enum ctl_term_event event;
        struct pollfd p = {.fd = term.inside && term.keys ? STDIN_FILENO : -1, .events = POLLIN};
        struct timespec most = clock_span((most_ms > 0 ? most_ms : 0) * CLOCK_NS_PER_MS);
        fflush(stdout);
        int n = ppoll(&p, 1, &most, &term.waiting);
        if (signalled(&event))
                return event;
        return n > 0 ? read_key(key) : CTL_TERM_TIMEOUT;
}
