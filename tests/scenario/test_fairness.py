#!/usr/bin/env python3
"""test_fairness.py -- reads of many processes, none of which knows of the others, spread as the weights say."""
# ctest: parallel
import unittest

import harness
from harness import eventually

SHARES = {"shadow-1": 0.25, "shadow-2": 0.25, "shadow-3": 0.5}


class Fairness(harness.Scenario):
    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=3))
        cls.serving = cls.shared(harness.Daemon({"main": cls.pg.nodes(shadow_3="weight=2")}))
        worker = cls.shared(harness.Worker(cls.serving))
        eventually(lambda: set(worker.reads("main", None, 100).by_node()) == set(SHARES), what="all replicas are read from")

    def worst(self, processes, forked, reads):
        """The greatest distance of a node from its share, in parts of that share."""
        said = harness.run_program("fairness", self.serving.dir, "main", processes, forked, reads)
        print(f"fairness, {processes} processes ({forked} forked from an open handle) x {reads} reads: {said}")
        total = processes * reads
        self.assertEqual(said.others, 0)
        self.assertEqual(sum(said.by_node().values()), total)
        return max(abs(said.by_node()[node] - share * total) / (share * total) for node, share in SHARES.items())

    def test_eight_processes_of_many_reads_give_each_node_its_share(self):
        self.assertLess(self.worst(8, 4, 10_000), 0.005)

    def test_a_hundred_processes_of_three_reads_interleave(self):
        self.assertLess(self.worst(100, 0, 3), 0.10)

    def test_a_hundred_children_of_an_open_handle_of_three_reads_interleave(self):
        self.assertLess(self.worst(100, 100, 3), 0.10)

    def test_a_hundred_processes_of_one_read_interleave(self):
        self.assertLess(self.worst(100, 50, 1), 0.10)


if __name__ == "__main__":
    unittest.main()
