#!/usr/bin/env python3
"""test_daemon.py -- the failure contract: the daemon is killed or stopped, for a moment or for long, restarted,
upgraded, or its store is replaced.  No read lacks a write that was recorded; one that nobody took is not forgotten."""
# ctest: asan parallel long
import os
import shutil
import subprocess
import time
import unittest

import contract
import harness
import lagging
from contract import KEYED, RECORD, UNKEYED
from harness import bound, eventually, size

PINNED_MS = lagging.PINNED_FOR * 1000
LONG = "20s"  # stale_after, where being back within it must not be a question of how busy the machine is
CROWD = size(900, 300)  # acknowledged pins, of which none may be lost


def newer(directory):
    """A copy of pinrouted that says it is another version."""
    path, own = os.path.join(directory, "pinrouted"), harness.Daemon.command[0]
    version = subprocess.run([own, "-V"], capture_output=True, check=True).stdout.split()[1]
    with open(own, "rb") as f:
        content = f.read()
    other = version[:-1] + (b"9" if version[-1:] != b"9" else b"8")
    assert content.count(version) > 0
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o755)) as f:
        f.write(content.replace(version, other))
    return path, other.decode()


class Away(lagging.Lagging):
    """It leaves, and it comes back."""

    def leave_and_come(self, row, fault, leave, come, why, reasons):
        """reasons: of keyed reads of what was recorded, while it is away."""
        with self.cell(row, RECORD, fault):
            self.assertEqual(self.writer.hold("main", "held", PINNED_MS).status, "OK")
        released = self.wrote(self.writer, "released")
        self.sees_until(self.other, "released", released, "CAUGHT_UP")
        self.hold_back()
        acked = self.wrote(self.writer, "acked")
        filled = harness.run_program("pins", "fill", self.system.dir, "main", 0, CROWD, 4, lagging.PINNED_FOR)
        self.assertEqual(filled.ok, CROWD)
        leave()
        with self.cell(row, KEYED, fault):
            for key, write in (("acked", acked), ("released", released)):
                self.sees_until(self.other, key, write, reasons[-1])
                self.sees(self.other, key, write, reasons[-1])
        with self.cell(row, UNKEYED, fault):
            self.balanced(self.other)
        with self.cell(row, RECORD, fault):
            owed, held, token, lost = self.record_in_vain(reasons)
        unkeyed, keyed = self.spin(300), self.spin(300, "acked")
        with self.cell(row, UNKEYED, fault):
            self.balanced(self.other)
            come()
            self.balanced(self.other)
            self.was_balanced(unkeyed)
        with self.cell(row, RECORD, fault):
            self.floored(why)
            self.sees_until(self.other, "lost", lost, "FLOOR", "PINNED")  # PINNED: a stopped daemon finds its frame
            self.sees_until(self.other, "held", held, "PINNED")
            self.is_sent_again(self.writer, "owed", owed)
            self.bring(token, owed)  # only now: it would have told the daemon, too
        with self.cell(row, KEYED, fault):
            self.was_on_the_primary(keyed)
            self.sees_until(self.other, "acked", acked, "PINNED")
            eventually(self.whole_crowd_is_pinned, what="every acknowledged pin is there")
            self.sees_until(self.other, "released", released, "PINNED")
            for write in (acked, owed, held, lost):
                self.lack(write)
            self.catches_up(self.other, ("acked", acked), ("released", released), ("owed", owed), ("lost", lost))
        with self.cell(row, RECORD, fault):
            self.sees(self.other, "held", held, "PINNED")

    def whole_crowd_is_pinned(self):
        found = harness.run_program("pins", "look", self.system.dir, "main", 0, CROWD)
        return getattr(found, "PINNED", 0) == CROWD

    def record_in_vain(self, reasons):
        """Three writes that nobody records: their process goes on, was careful enough to hold, or dies."""
        owed = self.fails_to_record(self.writer, "owed")
        self.sees(self.writer, "owed", owed, *reasons)
        held = self.fails_to_record(self.writer, "held")
        self.sees(self.other, "held", held, *reasons)
        issued = self.writer.issue("main", "owed")
        self.assertEqual(issued.status, "OK")
        self.bring(issued.token, owed)
        victim = self.worker(self.system)
        lost = self.fails_to_record(victim, "lost")
        victim.kill()
        return owed, held, issued.token, lost

    def bring(self, token, write):
        """Another process, which knows of the write by its token only."""
        self.other.timeout(lagging.TIMEOUT_MS)
        self.other.scope("begin", "main")
        self.assertEqual(self.other.accept(token).status, "OK")
        said = self.found(self.other.scope("read"), write)
        self.assertEqual(said.role, "PRIMARY")

    def test_a_killed_daemon_that_is_back_in_time_costs_no_pin(self):
        self.serve(stale_after=LONG)
        self.leave_and_come("daemon back", "killed", self.system.kill, self.system.start, "daemon started", ("PINNED",))

    def test_a_stopped_daemon_that_is_back_in_time_costs_no_pin(self):
        self.serve(stale_after=LONG)
        self.leave_and_come("daemon back", "stopped", self.system.pause, self.system.resume, "the daemon stood still",
                            ("PINNED",))

    def test_a_killed_daemon_that_stays_away_costs_keyed_reads_their_replicas(self):
        self.serve()
        self.leave_and_come("daemon away", "killed", self.system.kill, self.system.start, "daemon started",
                            ("PINNED", "STORE_STALE"))

    def test_a_stopped_daemon_that_stays_away_costs_keyed_reads_their_replicas(self):
        self.serve()
        self.addCleanup(self.system.resume)
        self.leave_and_come("daemon away", "stopped", self.system.pause, self.system.resume, "the daemon stood still",
                            ("PINNED", "STORE_STALE"))


class New(lagging.Lagging):
    """Another process, or another file: handles that were open before find it by themselves."""

    def replaced(self, fault, end, begin, why, unkeyed=lagging.Lagging.was_balanced, ms=300):
        self.serve()
        self.hold_back()
        acked = self.wrote(self.writer, "acked")
        self.writer.timeout(20_000)
        readers = self.spin(ms), self.spin(ms, "acked")
        end()
        meant = self.commit()
        self.writer.send("record", 0, harness.as_hex("meanwhile"), lagging.PINNED_FOR)
        begin()
        with self.cell("daemon new", RECORD, fault):
            said = self.writer.answer()
            self.assertEqual(said.status, "OK", "it did not reconnect within its deadline")
        with self.cell("daemon new", UNKEYED, fault):
            unkeyed(self, readers[0])
        with self.cell("daemon new", KEYED, fault):
            self.was_on_the_primary(readers[1])
            self.floored(why)
            for key, write in (("acked", acked), ("meanwhile", meant)):
                self.sees_until(self.other, key, write, "FLOOR", "PINNED")
                self.lack(write)
            began = time.monotonic()
            self.catches_up(self.other, ("acked", acked), ("meanwhile", meant))
            took = time.monotonic() - began
            print(f"daemon new, {fault}: on replicas again {took:.2f} s after they went on; the record took "
                  f"{said.us / 1000:.0f} ms")
            self.assertLess(took, bound(1))
        self.settled()

    def test_a_restarted_daemon_raises_the_floor(self):
        self.replaced("restarted", self.system.stop, self.system.start, "daemon started")

    def test_an_upgraded_daemon_goes_on_with_the_store_of_the_one_before(self):
        place = harness.scratch()
        self.addCleanup(shutil.rmtree, place)
        path, version = newer(place)
        seen = len(self.system.log)

        def begin():
            self.system.command = [path]
            self.addCleanup(lambda: self.system.stop() and None)  # the class goes on with its own
            self.addCleanup(self.system.__dict__.pop, "command")
            self.system.start()

        self.replaced("upgraded", self.system.stop, begin, "daemon started")
        self.assertIn(version, self.system.wait_log("version", since=seen))
        self.system.wait_log("going on with the store", since=seen)

    def test_a_store_that_is_removed_under_the_daemon_is_made_anew(self):
        def end():
            seen = len(self.system.log)
            os.unlink(self.data())
            self.system.wait_log("making a new one", since=seen)

        self.replaced("store replaced", end, lambda: None, "store lost")
        self.assertGreater(self.system.ask("show", "stats")["stats"]["stores_replaced"], 0)

    def test_a_store_that_is_deleted_while_the_daemon_is_dead_is_made_anew(self):
        def end():
            self.system.kill()
            os.unlink(self.data())

        def unkeyed(test, reader):
            """Nobody can know whether replicas that stand still lag: they have to come back."""
            said = reader.answer()
            test.assertEqual(said.status, "OK")
            test.assertGreater(said.by_reason()["BALANCED"], 0, "the last schedule, as long as there is no other")
            read = {("default", "NO_REPLICA"), *((name, "BALANCED") for name in lagging.REPLICAS)}
            test.assertLessEqual(set(said.counts), read)

        self.replaced("store deleted", end, self.system.start, "daemon started with an empty store", unkeyed, 800)

    def data(self):
        return os.path.join(self.system.dir, "data.mdb")


if __name__ == "__main__":
    unittest.main()
