"""test_floor.py -- pins may be owed that nobody remembers: after a start, a stall, a lost store.
Then every key counts as pinned, written or not, until replicas have caught up."""
# ctest: parallel
import os
import time
import unittest

import harness
from harness import bound, eventually, size

BOTH = {"shadow-1", "shadow-2"}


class Floor(harness.Scenario):
    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=2))
        cls.pg.sql(0, "create table t (i int)")
        cls.sessions = [cls.pg.session(n) for n in range(3)]
        for session in cls.sessions:
            cls.addClassCleanup(session.close)

    def start(self, **options):
        self.system = self.daemon(self.pg, cluster_options=options)
        self.reader = self.worker(self.system)
        eventually(lambda: self.reader.read("main").reason == "BALANCED", within=10)

    def cluster_now(self):
        return self.system.ask("status")["clusters"][0]

    def hold_replicas_back(self):
        """Both stand still, and the primary writes on: nobody has caught up with what comes now."""
        for session in self.sessions[1:]:
            session.run("select pg_wal_replay_pause()")
            eventually(lambda s=session: s.value("select pg_get_wal_replay_pause_state()") == "paused", within=10)
        self.addCleanup(self.let_go)
        self.sessions[0].run("insert into t values (1)")

    def let_go(self):
        for session in self.sessions[1:]:
            session.run("select pg_wal_replay_resume()")

    def floored(self, why):
        """The next read of a key that never wrote says so; reads without a key are not concerned."""
        eventually(lambda: self.reader.read("main", "never wrote").reason in ("FLOOR", "STORE_STALE"), within=5)
        eventually(lambda: self.reader.read("main", "never wrote").reason == "FLOOR", within=5)
        said = self.cluster_now()
        self.assertEqual((said["floor_why"], said["floor_left_ms"] > 0), (why, True))

    def stays_floored(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            said = self.reader.read("main", "never wrote")
            self.assertEqual((said.node, said.reason), ("default", "FLOOR"))
            self.assertGreater(said.left, 0)

    def back(self, title, began, within=1.0):
        """Until both replicas serve keyed reads again: on each its own CAUGHT_UP."""
        seen = {}
        while set(seen) != BOTH:
            said = self.reader.read("main", "never wrote")
            self.assertIn(said.reason, ("FLOOR", "CAUGHT_UP", "STORE_STALE", "NO_REPLICA", "STORE_UNAVAILABLE"))
            if said.reason == "CAUGHT_UP":
                seen.setdefault(said.node, time.monotonic() - began)
            self.assertLess(time.monotonic() - began, bound(within), f"{title}: {said} {seen}")
        times = ", ".join(f"{node} {t * 1000:.0f} ms" for node, t in sorted(seen.items()))
        print(f"{title}: keyed reads are back on {times}", flush=True)

    def lose_store(self):
        os.unlink(os.path.join(self.system.dir, "data.mdb"))

    def stall(self):
        before = self.stalls()
        self.system.pause()
        time.sleep(0.3)  # the fault itself: a daemon that stands still for so long
        self.system.resume()
        eventually(lambda: self.stalls() > before, within=5)

    def stalls(self):
        return self.system.ask("show", "stats")["stats"]["stalls"]

    def restart(self):
        self.system.kill()
        self.system.start()

    CAUSES = [("a restart", "restart", "daemon started"), ("a stall", "stall", "the daemon stood still"),
              ("a lost store", "lose_store", "store lost")]

    def test_after_a_start_a_stall_and_a_lost_store_keys_wait_for_replicas(self):
        self.start()
        for title, cause, why in self.CAUSES:
            with self.subTest(title):
                eventually(lambda: self.reader.read("main", "never wrote").reason == "CAUGHT_UP", within=10)
                self.hold_replicas_back()
                floors = self.cluster_now()["floors"]
                getattr(self, cause)()
                self.floored(why)
                self.assertEqual(self.reader.read("main").reason, "BALANCED")
                self.assertGreater(self.cluster_now()["floors"], 0 if cause == "restart" else floors)
                self.stays_floored(size(5, 1))
                began = time.monotonic()
                self.let_go()
                # after a restart nobody knows how far behind they were: they had to leave, and come back
                self.back(f"{title}, replicas going on", began, within=2.5 if cause == "restart" else 1)

    def test_replicas_that_keep_up_are_back_within_a_second(self):
        self.start()
        for title, cause, _ in self.CAUSES:
            with self.subTest(title):
                eventually(lambda: self.reader.read("main", "never wrote").reason == "CAUGHT_UP", within=10)
                before = self.reader.read("main").epoch
                getattr(self, cause)()
                began = time.monotonic()
                if cause == "restart":
                    eventually(lambda b=before: self.reader.read("main").epoch != b, within=5)
                if cause == "lose_store":
                    eventually(lambda: self.system.ask("show", "stats")["stats"]["stores_replaced"], within=5)
                self.back(title, began)

    def test_reads_without_a_key_do_not_notice_a_restart(self):
        self.start()
        for end in (self.system.kill, self.system.stop):
            self.reader.start_spin("main", None, 1500)
            end()
            self.system.start()
            said = self.reader.answer()
            self.assertEqual(set(said.by_reason()), {"BALANCED"}, said)
            self.assertEqual(set(said.by_node()), BOTH)

    def test_a_first_start_raises_the_floor(self):
        began = time.monotonic()
        self.start()
        self.assertEqual(self.cluster_now()["floor_why"], "daemon started with an empty store")
        self.back("a first start", began, within=2)

    def test_an_acknowledged_pin_outlives_the_floor_of_a_restart(self):
        self.start(max_pin_seconds=20)
        self.hold_replicas_back()
        self.assertEqual(self.reader.record("main", "wrote").status, "OK")
        self.restart()
        eventually(lambda: self.reader.read("main", "wrote").reason == "PINNED", within=5)
        self.floored("daemon started")
        self.assertEqual(self.reader.read("main", "wrote").reason, "PINNED")

    def test_without_early_release_the_floor_lasts_to_its_deadline(self):
        seconds = size(10, 3)
        self.start(early_release="off", pin_seconds=seconds, max_pin_seconds=seconds)
        eventually(lambda: self.reader.read("main", "never wrote").reason == "BALANCED", within=seconds * 4)
        began = time.monotonic()
        self.stall()
        while (said := self.reader.read("main", "never wrote")).reason != "BALANCED":
            self.assertEqual((said.node, said.reason), ("default", "FLOOR"))
            self.assertEqual(self.reader.read("main").reason, "BALANCED")
            self.assertLess(time.monotonic() - began, seconds + 0.3 + bound(0.5))
        took = time.monotonic() - began
        print(f"without early release: {took:.2f} s for a floor of {seconds} s", flush=True)
        self.assertGreater(took, seconds)


if __name__ == "__main__":
    unittest.main(verbosity=2)
