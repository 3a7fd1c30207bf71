"""test_hunter.py -- the judge catches what breaks the promise, rule by rule, and the hunter finds no such thing.
Histories are made up here, event by event; the hunt itself is half a minute of real faults."""
# ctest: parallel long
import os
import random
import shutil
import struct
import unittest

import harness
import hunter
from hunter_faults import Faults

EVENT = struct.Struct("<qqqIiII4BBbBB")  # struct hunt_event of hunter_event.h
READ, UNKEYED, RECORD, HOLD, ISSUE, ACCEPT, SCOPE = range(1, 8)
OK, UNREACHABLE = 0, 5
BALANCED, PINNED, CAUGHT_UP, _, NO_REPLICA, FLOOR, STORE_STALE = range(1, 8)
PRIMARY, REPLICA = 1, 2
NO_KEY, NOTHING = 0xFFFFFFFF, -1
PROGRAM = os.path.join(harness.BUILD, "tests", "hunter")


class History:
    """Times are in ms; a call takes one, a query another.  Each process has a file of its own."""

    def __init__(self):
        self.place = harness.scratch("history-")
        self.faults = open(os.path.join(self.place, "faults"), "w", encoding="ascii")
        self.record(-2, 0, key=99, pid=9)
        for at in range(30):
            self.read(at, value=0, key=99)

    def put(self, op, at, key=7, value=NOTHING, ms=0, token=0, host=0, pid=1, status=OK, reason=0, role=0,
            node=NOTHING, keyed=1):
        began = 1000000 + at * 1000
        event = EVENT.pack(began, began + 1000, began + 2000, key, value, ms, token, op, host, status, reason, role,
                           node, keyed, 0)
        with open(os.path.join(self.place, f"events-{host}-{pid}"), "ab") as f:
            f.write(event)

    def record(self, at, value, ms=3000, **more):
        self.put(RECORD, at, value=value, ms=ms, **more)

    def hold(self, at, ms, **more):
        self.put(HOLD, at, ms=ms, **more)

    def read(self, at, value=NOTHING, reason=CAUGHT_UP, pid=2, op=READ, **more):
        replica = reason in (BALANCED, CAUGHT_UP)
        self.put(op, at, value=value, reason=reason, role=REPLICA if replica else PRIMARY, node=1 if replica else 0,
                 pid=pid, **more)

    def fault(self, what, host, *words):
        self.faults.write(" ".join(map(str, (what, host, *words))) + "\n")
        self.faults.flush()

    def judge(self):
        self.faults.flush()
        return hunter.judge(PROGRAM, self.place)

    def close(self):
        self.faults.close()
        shutil.rmtree(self.place)


def us(at):
    return 1000000 + at * 1000


class Judge(unittest.TestCase):
    def history(self):
        made = History()
        self.addCleanup(made.close)
        return made

    def judged(self, *moves):
        """What the judge says of a history: each move is a function of it."""
        made = self.history()
        for move in moves:
            move(made)
        return made.judge()

    def holds(self, *moves):
        story, seen = self.judged(*moves)
        self.assertEqual((story, seen.violations), ("", 0))

    def breaks(self, what, *moves):
        story, seen = self.judged(*moves)
        self.assertGreaterEqual(seen.violations, 1)
        self.assertIn(f"violation: {what}", story)
        return story

    def test_a_read_after_the_ok_sees_the_write(self):
        wrote = lambda h: h.record(100, 5)
        self.holds(wrote, lambda h: h.read(110, 5))
        self.holds(wrote, lambda h: h.read(110, 6))
        self.breaks("stale read: 4, not 5", wrote, lambda h: h.read(110, 4))

    def test_a_read_on_the_primary_can_be_stale_too(self):
        self.breaks("stale read", lambda h: h.record(100, 5), lambda h: h.read(110, 4, PINNED))

    def test_a_read_that_began_before_the_ok_may_miss_the_write(self):
        self.holds(lambda h: h.record(100, 5), lambda h: h.read(100, 4))

    def test_another_key_and_another_host_are_promised_nothing(self):
        wrote = lambda h: h.record(100, 5)
        self.holds(wrote, lambda h: h.read(110, 4, key=8), lambda h: h.read(110, 4, BALANCED, host=1))

    def test_the_highest_of_all_recorded_versions_counts(self):
        for first, second in ((7, 5), (5, 7)):
            self.breaks("stale read: 6, not 7", lambda h: h.record(100, first), lambda h: h.record(102, second, pid=3),
                        lambda h: h.read(110, 6))

    def test_a_write_that_was_not_acknowledged_is_no_promise_to_others(self):
        self.holds(lambda h: h.record(100, 5, status=UNREACHABLE), lambda h: h.read(110, 4, BALANCED))

    def test_a_pin_lasts_as_long_as_it_was_asked_for_and_no_longer(self):
        wrote = lambda h: h.record(100, 5, ms=3000)
        self.breaks("lost pin: BALANCED", wrote, lambda h: h.read(2800, reason=BALANCED))
        self.holds(wrote, lambda h: h.record(100, 5, ms=9000, key=8), lambda h: h.read(3200, 4, BALANCED))

    def test_a_later_shorter_pin_does_not_shorten_the_first(self):
        wrote = [lambda h: h.record(100, 5, ms=3000), lambda h: h.record(110, 5, ms=1000)]
        self.breaks("lost pin: BALANCED", *wrote, lambda h: h.read(2000, reason=BALANCED))
        self.holds(*wrote, lambda h: h.read(2000, 5))

    def test_a_pinned_read_for_which_there_is_no_replica_has_lost_its_pin(self):
        wrote = lambda h: h.record(100, 5)
        self.breaks("lost pin: NO_REPLICA", wrote, lambda h: h.read(110, reason=NO_REPLICA))
        for reason in (PINNED, FLOOR, STORE_STALE, CAUGHT_UP):
            self.holds(wrote, lambda h, reason=reason: h.read(110, 5, reason))

    def test_a_held_key_goes_to_the_primary(self):
        held = lambda h: h.hold(100, 1000)
        self.breaks("lost hold: node 1", held, lambda h: h.read(500, 9))
        self.holds(held, lambda h: h.read(500, 9, PINNED), lambda h: h.read(1300, 9))

    def test_a_later_shorter_hold_does_not_shorten_the_first(self):
        self.breaks("lost hold", lambda h: h.hold(100, 1000), lambda h: h.hold(110, 10), lambda h: h.read(500, 9))

    def test_holds_end_with_a_store_that_was_lost_while_no_daemon_ran(self):
        held, read = lambda h: h.hold(100, 1000), lambda h: h.read(500, 9)
        self.holds(held, lambda h: h.fault("empty", 0, us(300)), read)
        self.breaks("lost hold", held, lambda h: h.fault("empty", 1, us(300)), read)

    def test_who_could_not_record_reads_from_the_primary(self):
        failed = lambda h: h.record(100, 5, status=UNREACHABLE)
        self.breaks("an unreachable daemon is not honoured: node 1", failed, lambda h: h.read(110, 5, pid=1))
        self.holds(failed, lambda h: h.read(110, 5, PINNED, pid=1))

    def test_an_answer_of_the_daemon_settles_what_is_owed(self):
        failed = [lambda h: h.record(100, 5, status=UNREACHABLE), lambda h: h.record(150, 1, key=8)]
        self.holds(*failed, lambda h: h.read(200, 5, pid=1))
        self.breaks("stale read of the process's own write: 4, not 5", *failed, lambda h: h.read(200, 4, pid=1))
        self.breaks("the process's own pin is lost: BALANCED", *failed, lambda h: h.read(200, reason=BALANCED, pid=1))

    def test_a_restart_covers_what_failed_before_it(self):
        failed = [lambda h: h.record(100, 5, status=UNREACHABLE), lambda h: h.fault("back", 0, us(300), us(400))]
        self.holds(*failed, lambda h: h.read(350, 4, BALANCED), lambda h: h.read(450, 5))
        self.breaks("stale read: 4, not 5", *failed, lambda h: h.read(450, 4))
        self.breaks("lost pin: BALANCED", *failed, lambda h: h.read(450, reason=BALANCED))

    def test_what_fails_after_the_restart_is_covered_by_the_next_one_only(self):
        self.holds(lambda h: h.fault("back", 0, us(100), us(150)), lambda h: h.record(120, 5, status=UNREACHABLE),
                   lambda h: h.read(200, 4, BALANCED))

    def test_a_token_carries_the_write_to_the_other_host(self):
        posted = [lambda h: h.record(100, 5), lambda h: h.put(ISSUE, 105, value=5, ms=2900, token=3),
                  lambda h: h.put(ACCEPT, 110, token=3, host=1, pid=4)]
        scope = {"op": SCOPE, "host": 1, "pid": 4, "token": 3}
        for keyed in (0, 1):
            self.holds(*posted, lambda h: h.read(120, 5, keyed=keyed, **scope))
            self.breaks("stale read with token 3: 4, not 5", *posted, lambda h: h.read(120, 4, keyed=keyed, **scope))
            self.breaks("token 3 is not heeded: BALANCED", *posted,
                        lambda h: h.read(120, reason=BALANCED, keyed=keyed, **scope))

    def test_a_token_stands_for_what_others_had_recorded_before_it_was_issued(self):
        scope = {"op": SCOPE, "host": 1, "pid": 4, "token": 3}
        posted = [lambda h: h.record(101, 5), lambda h: h.put(ISSUE, 105, value=5, ms=2900, token=3),
                  lambda h: h.read(120, 5, **scope)]
        self.breaks("stale read with token 3: 5, not 6", lambda h: h.record(100, 6, pid=3), *posted)
        self.holds(lambda h: h.record(108, 6, pid=3), *posted)

    def test_a_token_stands_for_a_write_whose_record_failed(self):
        scope = {"op": SCOPE, "host": 1, "pid": 4, "token": 3}
        posted = [lambda h: h.record(101, 5, status=UNREACHABLE), lambda h: h.put(ISSUE, 105, value=5, ms=2900, token=3)]
        self.breaks("stale read with token 3: 4, not 5", *posted, lambda h: h.read(120, 4, **scope))
        self.holds(*posted, lambda h: h.read(120, 5, **scope))

    def test_an_excluded_node_is_not_named(self):
        drained = lambda h: h.fault("excluded", 0, 1, us(100), us(500), "drain")
        self.breaks("node 1 is excluded", drained,
                    lambda h: h.read(300, op=UNKEYED, reason=BALANCED, key=NO_KEY, keyed=0))
        self.breaks("node 1 is excluded", drained, lambda h: h.read(300, 5))
        self.holds(drained, lambda h: h.read(300, 5, PINNED), lambda h: h.read(50, 5), lambda h: h.read(600, 5),
                   lambda h: h.read(300, 5, host=1))

    def test_keyed_reads_keep_off_replicas_while_the_store_is_stale(self):
        silent = lambda h: h.fault("silent", 0, us(100), us(500))
        self.breaks("a keyed read from replica 1 in a store stale", silent, lambda h: h.read(300, 5, BALANCED))
        self.holds(silent, lambda h: h.read(300, 5, STORE_STALE),
                   lambda h: h.read(300, op=UNKEYED, reason=BALANCED, key=NO_KEY, keyed=0))

    def test_a_history_without_offload_proves_nothing(self):
        made = self.history()
        for at in range(4000):
            made.read(100 + at, 5, PINNED)
        story, seen = made.judge()
        self.assertEqual(seen.violations, 0)
        self.assertIn("too few reads went to replicas", story)

    def test_replicas_that_are_read_from_once_no_pin_is_left_are_no_offload_of_pins(self):
        made = self.history()
        for at in range(4000):
            made.read(3000 + at, 5)
        story, _ = made.judge()
        self.assertIn("too few reads went to replicas", story)

    def test_a_violation_is_told_with_the_key_s_story_and_the_faults_around_it(self):
        story = self.breaks("stale read", lambda h: h.record(100, 5), lambda h: h.record(104, 3, key=8),
                            lambda h: h.fault("at", us(105), "daemon killed host 0"), lambda h: h.read(110, 4))
        self.assertRegex(story, r"-10.000 ms .* pid 1 host 0 record .* value 5 .* for 3000 ms")
        self.assertIn("-5.000 ms  FAULT daemon killed host 0", story)
        self.assertNotIn("value 3", story)


class Deck(Faults):
    TIMES = {"a": 3, "b": 1, "c": 2}

    def __init__(self, seed, throws=1):
        self.seed, self.throws, self.played, self.thrown = seed, throws, [], []

    def nap(self, _low, _high):
        return len(self.played) < 12

    def __getattr__(self, name):
        def play():
            self.played.append(name)
            self.thrown.append(self.dice.random())
            for _ in range(self.throws):
                self.dice.random()
        return play


class Schedule(unittest.TestCase):
    def played(self, seed):
        deck = Deck(seed)
        deck.play()
        return deck.played

    def test_a_seed_replays_the_faults(self):
        one, other = Deck(5), Deck(5, throws=7)
        one.play()
        other.play()
        self.assertEqual((one.played, one.thrown), (other.played, other.thrown), "however long each of them takes")
        self.assertGreater(len({tuple(self.played(seed)) for seed in range(10)}), 5)

    def test_each_kind_is_played_once_before_any_is_played_again(self):
        for seed in range(10):
            played = self.played(seed)
            self.assertEqual(sorted(played[:3]), ["a", "b", "c"])
            self.assertEqual(sorted(played[:6]), ["a", "a", "a", "b", "c", "c"])


class Hunt(unittest.TestCase):
    def test_half_a_minute_of_faults_shows_no_stale_read_and_no_lost_pin(self):
        place = hunter.scratch()
        self.addCleanup(shutil.rmtree, place)
        status, seen = hunter.run(harness.size(120, 30), random.SystemRandom().randrange(1, 1 << 31), place)
        self.assertEqual((status, seen.violations), (0, 0))
        self.assertGreater(seen.recorded, 300)
        self.assertGreater(seen.tokens, 300)


if __name__ == "__main__":
    unittest.main(verbosity=2)
