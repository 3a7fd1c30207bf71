/* test_history.c -- a value a second for five minutes, and none where nobody looked. */
#include "tests/unit/cluster_play.h"

#include "daemon/history.h"

static struct history h;
static struct cluster c;
static struct mono now = {500000};

static void open_history(void)
{
        struct cluster_conf conf = play_conf("main", 2);
        cluster_init(&c, &conf, 3, now);
        c.node[0].state = c.node[1].state = NODE_UP;
        c.n_schedule = 2;
        c.schedule[0] = c.schedule[1] = 1;
}

static void end_history(void) { history_fini(&h); }

TestSuite(history, .init = open_history, .fini = end_history);

static uint64_t decided[PNR_NODES_MAX];

static void pass(int64_t ms, uint64_t pins)
{
        now.ms += ms;
        history_begin(&h, now, pins);
        history_take(&h, &c, decided);
}

static struct history_node of(unsigned slot)
{
        static struct history_node n;
        history_read(&h, 3, slot, &n);
        return n;
}

/* `age` seconds before the newest. */
static unsigned at(unsigned age) { return HISTORY_SECONDS - 1 - age; }

Test(history, before_the_first_second_nothing_is_known)
{
        uint32_t pins[HISTORY_SECONDS];
        cr_expect(history_is_due(&h, now));
        cr_expect_eq(of(1).state[at(0)], HISTORY_ABSENT);
        cr_expect_eq(of(1).lag_ms[0], HISTORY_UNKNOWN);
        history_read_stored(&h, pins);
        cr_expect_eq(pins[at(0)], HISTORY_UNKNOWN);
        pass(0, 5);
        cr_expect_not(history_is_due(&h, mono_plus(now, 999)));
        cr_expect(history_is_due(&h, mono_plus(now, 1000)));
        history_read_stored(&h, pins);
        cr_expect_eq(pins[at(0)], 5);
        cr_expect_eq(pins[at(1)], HISTORY_UNKNOWN);
        cr_expect_eq(of(1).state[at(1)], HISTORY_ABSENT);
        cr_expect_str_eq(of(1).name, "shadow-1");
        cr_expect_str_eq(of(9).name, "");
}

Test(history, each_state_has_its_word)
{
        static const struct {
                enum node_state state;
                enum node_admin admin;
                enum history_state said;
        } row[] = {
            {NODE_UP, NODE_READY, HISTORY_UP},          {NODE_DOWN, NODE_READY, HISTORY_DOWN},
            {NODE_UNKNOWN, NODE_READY, HISTORY_UNSURE}, {NODE_UP, NODE_DRAIN, HISTORY_DRAIN},
            {NODE_DOWN, NODE_DRAIN, HISTORY_DOWN},      {NODE_UNKNOWN, NODE_MAINT, HISTORY_MAINT},
        };
        const unsigned n = sizeof row / sizeof *row;
        for (unsigned i = 0; i < n; i++) {
                c.node[1].state = row[i].state;
                c.node[1].admin = row[i].admin;
                pass(1000, 0);
        }
        for (unsigned i = 0; i < n; i++)
                cr_expect_eq(of(1).state[at(n - 1 - i)], row[i].said, "row %u", i);
}

Test(history, a_lag_is_a_replica_s_and_a_share_is_of_the_schedule)
{
        c.node[1].facts.lag_ms = 340;
        c.node[0].facts.lag_ms = 7;
        pass(1000, 0);
        cr_expect_eq(of(1).lag_ms[at(0)], 340);
        cr_expect_eq(of(2).lag_ms[at(0)], HISTORY_UNKNOWN);
        cr_expect_eq(of(0).lag_ms[at(0)], HISTORY_UNKNOWN);
        cr_expect_eq(of(1).share[at(0)], 1000);
        cr_expect_eq(of(2).share[at(0)], 0);
        c.schedule[1] = 2;
        c.node[1].facts.lag_ms = INT64_MAX;
        pass(1000, UINT64_MAX);
        cr_expect_eq(of(1).share[at(0)], 500);
        cr_expect_eq(of(1).lag_ms[at(0)], HISTORY_UNKNOWN - 1);
        cr_expect_eq(of(1).lag_ms[at(1)], 340);
        uint32_t pins[HISTORY_SECONDS];
        history_read_stored(&h, pins);
        cr_expect_eq(pins[at(0)], HISTORY_UNKNOWN - 1);
}

Test(history, seconds_that_were_missed_stay_empty)
{
        pass(1000, 1);
        pass(4000, 2);
        cr_expect_eq(of(1).state[at(0)], HISTORY_UP);
        for (unsigned age = 1; age < 4; age++)
                cr_expect_eq(of(1).state[at(age)], HISTORY_ABSENT);
        cr_expect_eq(of(1).state[at(4)], HISTORY_UP);
        pass(3600000, 3);
        cr_expect_eq(of(1).state[at(0)], HISTORY_UP);
        for (unsigned age = 1; age < HISTORY_SECONDS; age++)
                cr_expect_eq(of(1).state[at(age)], HISTORY_ABSENT);
}

Test(history, it_goes_back_five_minutes_and_no_further)
{
        for (unsigned i = 0; i < HISTORY_SECONDS + 7; i++) {
                c.node[1].facts.lag_ms = i;
                pass(1000, i);
        }
        uint32_t pins[HISTORY_SECONDS];
        history_read_stored(&h, pins);
        cr_expect_eq(pins[0], 7);
        cr_expect_eq(of(1).lag_ms[0], 7);
        cr_expect_eq(of(1).lag_ms[at(0)], HISTORY_SECONDS + 6);
}

Test(history, a_node_that_leaves_its_slot_takes_its_history_along)
{
        pass(1000, 0);
        strcpy(c.node[1].conf.name, "other");
        pass(1000, 0);
        cr_expect_str_eq(of(1).name, "other");
        cr_expect_eq(of(1).state[at(0)], HISTORY_UP);
        cr_expect_eq(of(1).state[at(1)], HISTORY_ABSENT);
        c.node[1].conf.name[0] = '\0';
        pass(1000, 0);
        cr_expect_null(h.node[3][1]);
        cr_expect_eq(of(2).state[at(2)], HISTORY_UNSURE, "its neighbour's stays");
}

Test(history, decisions_are_told_by_the_second)
{
        decided[1] = 1000;
        pass(1000, 0);
        cr_expect_eq(of(1).per_second, 0, "the first total says nothing of the last second");
        decided[1] = 1500;
        pass(1000, 0);
        cr_expect_eq(of(1).per_second, 500);
        cr_expect_eq(of(1).decided, 1500);
        cr_expect_eq(of(2).per_second, 0);
        decided[1] = 1900;
        pass(4000, 0);
        cr_expect_eq(of(1).per_second, 100);
        decided[1] = 7;
        pass(1000, 0);
        cr_expect_eq(of(1).per_second, 0);
}

Test(history, a_cluster_s_pins_are_those_that_still_wait)
{
        uint32_t waiting[HISTORY_SECONDS];
        c.release.created = 9;
        c.release.early = 4;
        c.release.expired = 2;
        pass(1000, 0);
        history_read_waiting(&h, 3, waiting);
        cr_expect_eq(waiting[at(0)], 3);
        cr_expect_eq(waiting[at(1)], HISTORY_UNKNOWN);
        history_read_waiting(&h, 4, waiting);
        cr_expect_eq(waiting[at(0)], HISTORY_UNKNOWN);
}
