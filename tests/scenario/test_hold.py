"""test_hold.py -- T32: between COMMIT and record_write nobody knows of the write; a hold before it closes that gap.
hold_gap.c plays writers and readers on real replicas that lag; the gap is made by waiting for the readers, not by time."""
# ctest: parallel
import unittest

import harness
from harness import eventually, size

LAG_MS = 300


class Hold(harness.Scenario):
    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=2))
        cls.pg.sql(0, "create table hold_gap (k bigint primary key); grant all on hold_gap to app")
        eventually(lambda: cls.pg.caught_up(1) and cls.pg.caught_up(2), within=20)
        for n in (1, 2):
            cls.pg.lag(n, f"{LAG_MS}ms")
        cls.system = cls.shared(harness.Daemon(cls.pg))
        cls.writer = cls.shared(harness.Worker(cls.system))
        cls.other = cls.shared(harness.Worker(cls.system))
        eventually(lambda: {cls.other.read("main", "nobody").node for _ in range(8)} == {"shadow-1", "shadow-2"}, within=20)

    def play(self, title, rounds, *options):
        seen = harness.run_program("hold_gap", self.system.dir, rounds, *options)
        print(f"{title}: {rounds} rounds: {seen}", flush=True)
        self.assertEqual(seen.failed, 0)
        return seen

    def pinned(self, key):
        return self.other.read("main", key).reason == "PINNED"

    def on_a_replica(self, key):
        return self.other.read("main", key).role == "REPLICA"

    def test_without_a_hold_reads_between_commit_and_record_are_stale(self):
        seen = self.play("no hold", size(500, 50))
        self.assertGreater(seen.gap_stale, seen.gap_reads // 2, "the gap is hardly there: this shows nothing")
        self.assertEqual(seen.after_stale, 0, "once it was recorded")

    def test_with_a_hold_before_the_write_no_read_is_stale(self):
        seen = self.play("hold", size(2000, 200), "hold=30000")
        self.assertEqual((seen.gap_stale, seen.after_stale), (0, 0))
        self.assertEqual(seen.PINNED, seen.gap_reads)

    def test_replicas_that_replay_all_there_was_before_the_write_do_not_end_a_hold(self):
        # long gaps: at the hold's position every replica arrives in the middle of them, at the write's they do not
        seen = self.play("long gap", 1, "hold=30000", f"gap={LAG_MS * 3}", "readers=2")
        self.assertEqual((seen.gap_stale, seen.PINNED), (0, seen.gap_reads))
        self.assertEqual(self.writer.record("main", "control").status, "OK")
        self.assertEqual(self.writer.hold("main", "held", 30_000).status, "OK")
        eventually(lambda: self.on_a_replica("control"), within=5)
        self.assertTrue(self.pinned("held"))

    def test_a_hold_outlives_a_writer_that_is_killed_before_it_records(self):
        hold = LAG_MS * 4  # by when the replicas have it, also on a busy machine
        lost = self.play("killed, no hold", 3, "die")
        self.assertGreater(lost.gap_stale, 0, "nothing was lost: this shows nothing")
        seen = self.play("killed, hold", size(20, 2), "die", f"hold={hold}", f"gap={hold + LAG_MS}")
        self.assertEqual((seen.gap_stale, seen.after_stale), (0, 0))
        self.assertGreater(seen.PINNED, 0)
        self.assertGreater(seen.on_replicas, 0, "the hold did not end")

    def test_a_hold_ends_by_itself_and_is_not_shortened_by_a_later_shorter_one(self):
        self.assertEqual(self.writer.hold("main", "longer", 20_000).status, "OK")
        for key in ("longer", "shorter"):
            self.assertEqual(self.writer.hold("main", key, 300).status, "OK")
        self.assertTrue(self.pinned("shorter"))
        eventually(lambda: self.on_a_replica("shorter"), within=5, what="the end of a hold of 0.3 s")
        held = self.other.read("main", "longer")
        self.assertEqual((held.node, held.reason), ("default", "PINNED"))
        self.assertGreater(held.left, 10_000)

    def test_a_record_does_not_end_a_hold(self):
        self.assertEqual(self.writer.hold("main", "held and recorded", 30_000).status, "OK")
        for key in ("held and recorded", "recorded"):
            self.assertEqual(self.writer.record("main", key).status, "OK")
        eventually(lambda: self.on_a_replica("recorded"), within=5)
        self.assertTrue(self.pinned("held and recorded"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
