#!/usr/bin/env python3
"""test_clock.py -- the failure contract: the wall clock is stepped, the machine suspended, or all of it stopped.
Steps are seen by daemon and workers alone, through clock_preload.c; a pause is SIGSTOP to every process of the play."""
# ctest: parallel long
import contextlib
import itertools
import os
import signal
import struct
import time
import unittest

from contract import KEYED, RECORD, UNKEYED  # first: it knows where harness.py is
import harness
import lagging
from harness import BUILD, eventually

YEAR = 365 * 86400
TICK_MS = 20  # of the coarse clock, and of milliseconds that are cut
TRUST = 0.06  # caught_up_trust


class Clock:
    """What a process takes for the time: the wall's and the suspended one are off by so many seconds."""

    LIBRARY = os.path.join(BUILD, "tests", "libclock_preload.so")

    def __init__(self, directory, name):
        self.path = os.path.join(directory, name)
        self.step()
        assert os.path.exists(self.LIBRARY), self.LIBRARY

    def step(self, wall=0, suspended=0):
        """In place: it is mapped."""
        with open(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o644), "wb") as f:
            f.write(struct.pack("<qq", wall * 10**9, suspended * 10**9))

    def run(self, command):
        return ["env", f"LD_PRELOAD={self.LIBRARY}", f"CLOCK_STEPS={self.path}", *command]


class Stepped(lagging.Lagging):
    """CLOCK_MONOTONIC alone decides: a wall clock that is set costs nothing."""

    @classmethod
    def prepare(cls, system):
        cls.daemons = Clock(system.dir, "daemon.clock")
        cls.workers = Clock(system.dir, "worker.clock")
        system.command = cls.daemons.run(system.command)
        cls.kind = type("Stepped", (harness.Worker,), {"command": cls.workers.run(harness.Worker.command)})

    def worker(self, where=None, opened=True):
        return self._ends(self.kind(where, opened))

    def setUp(self):
        self.addCleanup(self.daemons.step)
        self.addCleanup(self.workers.step)

    def counts(self):
        """(stalls, floors): a busy machine may stall by itself, but a floor has a stall then."""
        return self.system.ask("show", "stats")["stats"]["stalls"], self.system.ask("status")["clusters"][0]["floors"]

    def left(self):
        """(when at the latest, when at the earliest, what was left of the pin then, in ms)."""
        before = time.monotonic()
        said = self.other.read("main", "acked")
        return before * 1000, time.monotonic() * 1000, said.left

    def stepped(self, daemon, worker):
        self.hold_back()
        acked = self.wrote(self.writer, "acked")
        counts, first = self.counts(), self.left()
        unkeyed, keyed = self.spin(200), self.spin(200, "acked")
        self.daemons.step(daemon)
        self.workers.step(worker)
        with self.cell("clock", UNKEYED, "wall clock stepped"):
            self.balanced(self.other)
            self.was_balanced(unkeyed)
        with self.cell("clock", RECORD, "wall clock stepped"):
            later = self.wrote(self.writer, "later")
        with self.cell("clock", KEYED, "wall clock stepped"):
            for key, write in (("acked", acked), ("later", later)):
                said = self.sees_until(self.other, key, write, "PINNED")
                self.assertLessEqual(said.left, lagging.PINNED_FOR * 1000 + TICK_MS)
            self.was_on_the_primary(keyed)
            last = self.left()
            self.assertLessEqual(first[2] - last[2], last[1] - first[0] + TICK_MS, "the pin has become shorter")
            self.assertGreaterEqual(first[2] - last[2], last[0] - first[1] - TICK_MS, "the pin has become longer")
            self.lack(acked)
            self.catches_up(self.other, ("acked", acked), ("later", later))
        stalls, floors = self.counts()
        self.assertTrue(floors == counts[1] or stalls > counts[0], "a floor for a step of the wall clock")

    def test_a_wall_clock_that_is_set_costs_nothing(self):
        self.serve()
        for daemon, worker in ((3600, 3600), (-3600, -3600), (10 * YEAR, 0), (0, -10 * YEAR), (-YEAR, YEAR), (0, 0)):
            with self.subTest(daemon=daemon, worker=worker):
                self.stepped(daemon, worker)
        self.settled()

    def test_a_token_outlives_a_step_of_less_than_a_minute_and_says_when_it_does_not(self):
        self.serve()
        self.hold_back()
        steps = {50: "OK", -50: "OK", -3600: "OK", 3600: "E_TOKEN_EXPIRED", -3 * 86400: "E_TOKEN_FORGED"}
        for step, status in steps.items():
            with self.subTest(step=step):
                write = self.wrote(self.writer, "mine")
                token = self.writer.issue("main", "mine").token
                self.workers.step(step)
                self.other.scope("begin", "main")
                self.assertEqual(self.other.accept(token).status, status)
                if status == "OK":
                    self.assertEqual(self.found(self.other.scope("read"), write).reason, "PINNED")
                self.sees_until(self.other, "mine", write, "PINNED")
                self.workers.step()

    def test_a_machine_that_slept_owes_a_floor(self):
        """What replicas and the network did meanwhile is not known, and CLOCK_MONOTONIC stood still."""
        self.serve()
        self.hold_back()
        acked = self.wrote(self.writer, "acked")
        unkeyed, keyed = self.spin(300), self.spin(300, "acked")
        self.daemons.step(suspended=3600)
        self.workers.step(suspended=3600, wall=3600)
        with self.cell("clock", KEYED, "machine suspended"):
            self.floored("the daemon stood still")
            self.sees_until(self.other, "acked", acked, "PINNED")
            self.was_on_the_primary(keyed)
        with self.cell("clock", UNKEYED, "machine suspended"):
            self.balanced(self.other)
            self.was_balanced(unkeyed)
        with self.cell("clock", RECORD, "machine suspended"):
            later = self.wrote(self.writer, "later")
        with self.cell("clock", KEYED, "machine suspended"):
            self.sees_until(self.other, "later", later, "PINNED")
            self.lack(acked)
            self.catches_up(self.other, ("acked", acked), ("later", later))


def children_of(parents):
    """From /proc: the prober, and what a server has forked."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as f:
            if int(f.read().rpartition(")")[2].split()[1]) in parents:
                found.append(int(name))
    return found


class Paused(lagging.Lagging):
    """Everything stands still, and what goes on first finds the others as they were."""

    @classmethod
    def prepare(cls, system):
        cls.servers = [cls.pg.pid(n) for n in range(3)]

    def stop(self, part):
        """Parents first: what is stopped forks no more."""
        workers = [worker.pid for worker in (self.writer, self.other, *self.spinning)]
        parents = {"daemon": [self.system.pid], "servers": self.servers, "workers": workers}[part]
        self.stopped[part] = []
        for find in (lambda: parents, lambda: children_of(parents)):
            for pid in find():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    self.stopped[part].append(pid)
            eventually(lambda: all(harness.state_of(pid) in ("T", "Z", None) for pid in self.stopped[part]), what="stopped")

    def go_on(self, part):
        for pid in self.stopped.pop(part, ()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def one_way(self, order, pause, stale):
        """All of it stands still, then goes on in that order.  stale: why keyed reads go to the primary until then."""
        self.spinning, self.stopped = [], {}
        released = self.wrote(self.writer, "released")
        self.sees_until(self.other, "released", released, "CAUGHT_UP")
        self.hold_back()
        acked = self.wrote(self.writer, "acked")
        self.writer.timeout(20_000)
        self.spinning = [self.spin(500), self.spin(500, "acked")]
        try:
            self.stop("daemon")
            meanwhile = self.commit()
            self.writer.send("record", 0, harness.as_hex("meanwhile"), lagging.PINNED_FOR)
            self.stop("workers")
            self.stop("servers")
            time.sleep(pause)  # the fault itself
            for n, part in enumerate(order, 1):
                self.go_on(part)
                self.while_some_stand_still(set(order[:n]), stale)
        finally:
            for part in order:
                self.go_on(part)
        with self.cell("clock", RECORD, "machine paused"):
            self.assertEqual(self.writer.answer().status, "OK", "a record that was under way")
            later = self.wrote(self.writer, "later")
        with self.cell("clock", KEYED, "machine paused"):
            self.sees_until(self.other, "never wrote", 0, "FLOOR")
            self.was_on_the_primary(self.spinning[1])
            written = ("acked", acked), ("meanwhile", meanwhile), ("later", later)
            for key, write in written:
                self.sees_until(self.other, key, write, "PINNED")
                self.lack(write)
            self.catches_up(self.other, ("released", released), *written)
        with self.cell("clock", UNKEYED, "machine paused"):
            self.was_balanced(self.spinning[0])
            self.balanced(self.other)

    def while_some_stand_still(self, awake, stale):
        if "workers" not in awake:
            return
        with self.cell("clock", UNKEYED, "machine paused"):
            self.balanced(self.other)
        with self.cell("clock", KEYED, "machine paused"):
            for key in ("acked", "released"):
                said = self.other.read("main", key)
                self.assertIn(said.reason, ("STORE_STALE", "PINNED", "FLOOR") if "daemon" in awake else (stale,))
                self.assertEqual(said.node, "default")

    def test_a_machine_that_stood_still_for_long_goes_on_in_any_order(self):
        self.serve()
        for order in itertools.permutations(("daemon", "workers", "servers")):
            with self.subTest(" ".join(order)):
                self.one_way(order, 0.4, "STORE_STALE")

    def test_a_machine_that_stood_still_for_a_moment_trusts_no_position_from_before(self):
        self.serve(stale_after="20s")
        self.one_way(("workers", "servers", "daemon"), TRUST * 3, "PINNED")


if __name__ == "__main__":
    unittest.main()
