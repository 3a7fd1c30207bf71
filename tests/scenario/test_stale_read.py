"""test_stale_read.py -- no read decided after a recorded write misses it: on real replicas whose delays keep changing.
stale_read.c plays the application; each run prints its figures in one line."""
# ctest: parallel
import os
import random
import subprocess
import threading
import unittest

import harness
from harness import size

DELAY_MS = 300


class Shaker(threading.Thread):
    """Gives each replica another apply delay, several times a second, until stopped."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.random = random.Random(1)
        self.sessions = [cluster.session(n) for n in range(1, cluster.replicas + 1)]
        self.changes = 0
        self.enough = threading.Event()

    def run(self):
        while not self.enough.wait(self.random.uniform(0.05, 0.3)):
            session = self.random.choice(self.sessions)
            delay(session, self.random.choice([0, self.random.randint(0, DELAY_MS), DELAY_MS]))
            self.changes += 1

    def stop(self):
        self.enough.set()
        self.join()
        for session in self.sessions:
            session.close()


def delay(session, ms):
    session.run(f"alter system set recovery_min_apply_delay = '{ms}ms'")
    session.run("select pg_reload_conf()")


class StaleRead(harness.Scenario):
    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=2, conf="wal_writer_delay = 10ms"))
        cls.pg.sql(0, "create table stale_read (k bigint primary key, v bigint not null)")
        cls.pg.sql(0, "grant all on stale_read to app")

    def setUp(self):
        self.pg.sql(0, "truncate stale_read")
        harness.eventually(lambda: self.pg.caught_up(1) and self.pg.caught_up(2), within=20)
        self.system = self.daemon(self.pg)
        watcher = self.worker(self.system)
        harness.eventually(lambda: watcher.read().reason == "BALANCED", within=10)

    def play(self, title, rounds, *options):
        """Runs it to its end and returns its figures; what it said on stderr is in `said`."""
        done = subprocess.run([os.path.join(harness.BUILD, "tests", "stale_read"), self.system.dir, str(rounds), *options],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        self.said = done.stderr[-3000:]
        self.assertIn(done.returncode, (0, 1), self.said)
        print(f"{title}: {done.stdout.strip()}", flush=True)
        return harness.Answer(done.stdout.strip())

    def shaken(self, title, rounds, *options):
        shaker = Shaker(self.pg)
        shaker.start()
        try:
            return self.play(title, rounds, *options)
        finally:
            shaker.stop()
            print(f"{title}: {shaker.changes} changes of delay", flush=True)

    def test_no_recorded_write_is_ever_missed_while_delays_change(self):
        pairs, rounds = 8, size(20000, 2400)
        seen = self.shaken("promise", rounds // pairs, f"pairs={pairs}", "pause=20", "idle=20")
        self.assertEqual((seen.stale, seen.failed, seen.unrecorded), (0, 0, 0), self.said)
        self.assertEqual(seen.rounds, rounds // pairs * pairs)
        self.assertGreater(seen.CAUGHT_UP, seen.reads / 20, "hardly a read went to a replica: this shows nothing")
        self.assertGreater(seen.PINNED, seen.reads / 20, "hardly a read met a pin: this shows nothing")
        self.assertEqual(seen.STORE_UNAVAILABLE, 0)

    def test_no_asynchronous_commit_is_ever_missed_by_readers_that_never_rest(self):
        # nothing but the walwriter flushes: a position of what was written, not inserted, would be too old
        pairs, rounds = 2, size(2000, 200)
        seen = self.play("asynchronous", rounds // pairs, f"pairs={pairs}", "pause=30", "idle=0", "keys=8", "async")
        self.assertEqual((seen.stale, seen.failed, seen.unrecorded), (0, 0, 0), self.said)
        self.assertGreater(seen.CAUGHT_UP, seen.reads / 20)

    def test_without_its_pins_the_same_program_reads_stale(self):
        seen = self.shaken("pins ignored", size(200, 50), "pairs=4", "pause=10", "ignore-pins")
        self.assertEqual((seen.failed, seen.unrecorded), (0, 0), self.said)
        self.assertEqual(seen.BALANCED, seen.reads)
        self.assertGreater(seen.stale, 0)
        self.assertGreater(seen.synchronous_stale, 0)

    def test_reads_return_to_replicas_long_before_the_pin_ends(self):
        spread = size(15000, 3000)
        for n in (1, 2):
            session = self.pg.session(n)
            delay(session, 50)
            session.close()
        pairs, pause = 4, 40
        rounds = spread * 2 // pause  # a warm-up of `spread`, and as much again that counts
        seen = self.play("offload", rounds, f"pairs={pairs}", f"pause={pause}", "idle=20", f"spread={spread}",
                         f"keys={max(64, rounds)}")
        self.assertEqual((seen.stale, seen.failed, seen.unrecorded), (0, 0, 0), self.said)
        share = (seen.CAUGHT_UP + seen.BALANCED) / seen.reads
        print(f"offload: {share:.4f} of {seen.reads} reads on replicas, spread over {spread / 1000} s after the write",
              flush=True)
        self.assertGreater(share, 0.95 if harness.FULL else 0.7)

    def tearDown(self):
        for n in (1, 2):
            session = self.pg.session(n)
            delay(session, 0)
            session.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
