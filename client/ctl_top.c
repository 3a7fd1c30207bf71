/* ctl_top.c -- look, show, wait; again.
 * The loop of `top` and its keys. */
#include "client/ctl_top.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/clock.h"
#include "client/ctl_look.h"
#include "client/ctl_screen.h"
#include "client/ctl_term.h"

#define ANSWER_MS   1000 /* a view is not held up for longer */
#define HEADS_EVERY 20   /* lines */

struct top {
        const struct ctl *ctl;
        struct ctl_look
            look[2]; /* the newest, and the one before; on a screen, of those that were answered */
        struct ctl_view view;
        bool on_screen;
        unsigned shown;
        char why[CTL_CALL_WHY_MAX];
};

/* Takes a look; one without an answer leaves what is shown, and says so. */
static void look(struct top *t)
{
        struct ctl_look new;
        ctl_look_take(&new, t->ctl, ANSWER_MS);
        if (!new.answered && t->on_screen) {
                snprintf(t->why, sizeof t->why, "%s", new.why);
                t->view.no_answer = t->why;
                t->view.silent_ms = (new.at_ns - t->look[0].at_ns) / CLOCK_NS_PER_MS;
                ctl_look_free(&new);
                return;
        }
        t->view.no_answer = NULL;
        ctl_look_free(&t->look[1]);
        t->look[1] = t->look[0];
        t->look[0] = new;
        t->view.before = t->look[1].answered ? &t->look[1] : NULL;
        if (new.answered)
                ctl_look_remember(&t->look[0], t->view.lags);
}

static void draw(struct top *t)
{
        ctl_term_size(&t->view.columns, &t->view.lines);
        fputs("\033[H", stdout);
        ctl_screen_draw(&t->view, stdout);
        fputs("\033[K\033[J", stdout);
        fflush(stdout);
}

static void show(struct top *t)
{
        if (t->on_screen)
                draw(t);
        else if (t->ctl->json)
                ctl_screen_json(&t->view, stdout);
        else {
                if (t->shown % HEADS_EVERY == 0)
                        ctl_screen_heads(stdout);
                ctl_screen_line(&t->view, stdout);
        }
        t->shown++;
}

/* False: quit. */
static bool take_key(struct top *t, char key)
{
        switch (key) {
        case 'q': return false;
        case 'p': t->view.paused = !t->view.paused; break;
        case 's': t->view.sort = (t->view.sort + 1) % CTL_SORT_N; break;
        case 'h':
        case '?': t->view.help = !t->view.help; break;
        default:
                if (key >= '1' && key <= '9')
                        t->view.interval_ms = (unsigned)(key - '0') * 1000;
        }
        draw(t);
        return true;
}

/* Until the next look is due.  False: end. */
static bool wait_for_next(struct top *t, int64_t since_ns)
{
        for (;;) {
                char key = '\0';
                int64_t waited_ms = (clock_ns() - since_ns) / CLOCK_NS_PER_MS;
                int64_t left_ms = (int64_t)t->view.interval_ms - waited_ms;
                if (left_ms <= 0 && !t->view.paused)
                        return true;
                switch (ctl_term_wait(t->view.paused ? 60000 : left_ms, &key)) {
                case CTL_TERM_TIMEOUT: break;
                case CTL_TERM_END: return false;
                case CTL_TERM_REDRAW:
                        if (t->on_screen)
                                draw(t);
                        break;
                case CTL_TERM_KEY:
                        if (!take_key(t, key))
                                return false;
                }
        }
}

static void loop(struct top *t)
{
        for (;;) {
                int64_t since_ns = clock_ns();
                show(t);
                if ((t->ctl->count && t->shown >= t->ctl->count) || !wait_for_next(t, since_ns))
                        return;
                look(t);
        }
}

static bool wants_colour(void)
{
        const char *no = getenv("NO_COLOR");
        return !no || !*no;
}

enum ctl_exit ctl_top(const struct ctl *ctl)
{
        static struct top t;
        t = (struct top){.ctl = ctl,
                         .view = {.now = &t.look[0],
                                  .interval_ms = ctl->interval_ms ? ctl->interval_ms : 1000,
                                  .colour = wants_colour(),
                                  .lags = json_object()}};
        look(&t);
        if (!t.look[0].answered)
                return ctl_fail(CTL_ERROR, NULL, "%s", t.look[0].why);
        t.on_screen = !ctl->json && ctl_term_is_there();
        ctl_term_catch();
        if (t.on_screen)
                ctl_term_enter();
        loop(&t);
        ctl_term_leave();
        ctl_look_free(&t.look[0]);
        ctl_look_free(&t.look[1]);
        json_decref(t.view.lags);
        return CTL_OK;
}
