#!/usr/bin/env python3
"""test_visibility.py -- once record_write has returned OK, no process of the host misses the pin."""
# ctest: parallel
import unittest

import harness
from harness import eventually, size


class Visibility(harness.Scenario):
    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=2))

    def play(self, how, seconds, **options):
        daemon = self.daemon(self.pg, {"max_pins": 300000}, {"pin_seconds": seconds, "max_pin_seconds": seconds, **options})
        reader = self.worker(daemon)
        eventually(lambda: reader.read("main", "nobody").reason == "BALANCED", within=30, what="the start's floor is over")
        said = harness.run_program("visibility", daemon.dir, "main", 8, size(100_000, 8_000), seconds, how, within=600)
        print(f"visibility, {how}: {said}")
        self.assertEqual(said.misses, 0)
        self.assertEqual(said.backwards, 0)
        self.assertEqual(said.failed, 0)
        self.assertEqual(said.rounds, size(100_000, 8_000))
        self.assertGreater(said.unpinned_balanced, 0, "nothing went to replicas anyway: this run could not fail")
        self.assertGreater(said.decisions, said.rounds)
        self.assertGreater(said.looks, said.rounds)
        return said

    def test_without_early_release_every_process_sees_every_pin_at_once(self):
        said = self.play("strict", 3, early_release="off")
        self.assertGreater(said.PINNED, said.rounds)

    def test_with_early_release_only_a_replica_that_has_the_write_is_named(self):
        said = self.play("released", 5)
        self.assertGreater(said.PINNED, 0)


if __name__ == "__main__":
    unittest.main()
