#!/usr/bin/env python3
"""test_batch.py -- many records in one round trip, sent now and waited for later: what is promised holds when it is said to."""
# ctest: asan parallel
import os
import subprocess
import unittest

import harness
from harness import BUILD, bound, eventually, size, spawn

NO_NODES = ["default = host=127.0.0.1 port=1 dbname=app user=pinroute role=primary"]
TIMEOUT_MS = 50
MANY = 200


class Batch(harness.Scenario):
    """The daemon alone; no node answers, and the floor of its start is over: what is PINNED was recorded."""

    def setUp(self):
        self.serving = self.daemon({"main": NO_NODES}, {"max_pins": 100000}, {"pin_seconds": 60, "max_pin_seconds": 120})
        self.writer, self.reader = self.worker(self.serving), self.worker(self.serving)
        self.writer.timeout(20000)

    def reasons(self, worker, key, n):
        return {worker.read("main", f"{key}-{i}").reason for i in range(n)}

    def stat(self, name):
        return self.serving.ask("show", "stats")["stats"][name]

    def test_many_writes_are_seen_by_every_process_from_the_ok_on(self):
        self.assertEqual(self.writer.records("main", "many", MANY, 60).status, "OK")
        self.assertEqual(self.reasons(self.reader, "many", MANY), {"PINNED"})
        self.assertNotEqual(self.reader.read("main", f"many-{MANY}").reason, "PINNED")
        self.assertEqual(self.stat("records"), MANY)
        self.assertEqual(self.stat("closed_garbage"), 0)
        self.assertEqual(self.writer.records("main", "none", 0).status, "OK")
        ghost = self.writer.do("cluster", "ghost").cluster
        self.assertEqual(self.writer.do("records", ghost, "00", 3, 60).status, "E_CLUSTER")

    def test_what_was_sent_is_seen_here_at_once_and_elsewhere_from_the_waits_ok_on(self):
        self.writer.record("main", "first", 60)
        self.serving.pause()
        self.assertEqual(self.writer.start_record("main", "k", 64, 60).status, "OK")
        self.assertEqual(self.reasons(self.writer, "k", 64), {"PINNED"})
        self.assertNotIn("PINNED", self.reasons(self.reader, "k", 64))
        self.serving.resume()
        self.assertEqual(self.writer.wait_record().status, "OK")
        self.assertEqual(self.reasons(self.reader, "k", 64), {"PINNED"})
        self.assertEqual(self.stat("records"), 65)
        self.serving.pause()
        self.assertEqual(self.writer.wait_record().status, "OK", "it was answered before")
        self.serving.resume()

    def test_a_daemon_that_is_killed_in_between_is_told_again_by_the_wait(self):
        self.writer.record("main", "first", 60)
        self.serving.pause()
        self.assertEqual(self.writer.start_record("main", "k", 64, 60).status, "OK")
        self.serving.kill()
        self.assertEqual(self.reasons(self.writer, "k", 64), {"PINNED"})
        self.serving.start()
        self.assertEqual(self.writer.wait_record().status, "OK")
        self.assertEqual(self.reasons(self.reader, "k", 64), {"PINNED"})

    def test_a_daemon_that_stays_away_fails_the_wait_in_time_and_is_told_at_the_next_contact(self):
        for end in (self.serving.pause, self.serving.kill):
            self.writer.timeout(20000)
            eventually(lambda: self.writer.record("main", "first", 60).status == "OK", what="it answers")
            end()
            self.writer.timeout(TIMEOUT_MS)
            sent = self.writer.start_record("main", end.__name__, 5, 60)
            waited = self.writer.wait_record()
            self.assertEqual(waited.status, "E_UNREACHABLE")
            self.assertLess(max(sent.us, waited.us) / 1e6, bound(TIMEOUT_MS / 1000) * 2)
            self.assertEqual(self.reasons(self.writer, end.__name__, 5), {"PINNED"})
            self.writer.timeout(20000)
            if end == self.serving.kill:
                self.serving.start()
            else:
                self.serving.resume()
            eventually(lambda: self.writer.record("main", "next", 60).status == "OK", what="it answers again")
            self.assertEqual(self.reasons(self.reader, end.__name__, 5), {"PINNED"})
            self.assertEqual(self.writer.wait_record().status, "E_UNREACHABLE")

    def test_a_child_waits_for_what_its_parent_sent_and_so_does_the_parent(self):
        self.writer.record("main", "first", 60)
        self.assertEqual(self.writer.start_record("main", "k", 10, 60).status, "OK")
        child = self.writer.fork()
        self.assertEqual(child.wait_record().status, "OK")
        self.assertEqual(self.reasons(self.reader, "k", 10), {"PINNED"})
        self.assertEqual(self.writer.wait_record().status, "OK")

    def test_who_records_one_key_is_answered_promptly_beside_many_who_send_all_that_they_can(self):
        seconds = size(20, 1)
        greedy = spawn([os.path.join(BUILD, "tests", "greedy"), self.serving.dir, "64", str(seconds * 1000)],
                       stdout=subprocess.PIPE, text=True)
        eventually(lambda: self.stat("records") > 10000, what="they are at it")
        took = []
        while greedy.poll() is None:
            answer = self.writer.record("main", f"one-{len(took)}", 60)
            self.assertEqual(answer.status, "OK")
            took.append(answer.us / 1000)
        said = harness.Answer(greedy.communicate()[0].strip())
        self.assertEqual(greedy.returncode, 0)
        took.sort()
        print(f"beside 64 greedy clients: {len(took)} records, p50 {took[len(took) // 2]:.2f} ms, "
              f"p99 {took[len(took) * 99 // 100]:.2f} ms, worst {took[-1]:.2f} ms; theirs: {said} in {seconds} s")
        self.assertGreater(said.recorded, 1000)
        self.assertLess(took[len(took) * 99 // 100], bound(TIMEOUT_MS))
        self.assertEqual(self.stat("closed_slow"), 0)


if __name__ == "__main__":
    unittest.main()
