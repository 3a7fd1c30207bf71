#!/usr/bin/env python3
"""test_pins.py -- pins are merged, end, are released and overflow as promised."""
# ctest: parallel
import json
import socket
import time
import unittest

import harness
from harness import SANITIZE, eventually, size

NO_NODES = ["default = host=127.0.0.1 port=1 dbname=app user=pinroute role=primary"]
TICK = 0.010  # of the coarse clock, at the most: pins may last so much longer


def hash_of(key):
    return harness.run_program("pins", "hash", key).hash[1:]


def operator(daemon, *words):
    """One request on the operator's socket, as daemon/ops.h says."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(f"{daemon.dir}/ctl.sock")
        s.sendall((" ".join(map(str, words)) + "\n").encode())
        return json.loads(b"".join(iter(lambda: s.recv(65536), b"")))


def floor_of(daemon):
    return daemon.ask("status")["clusters"][0]["floor_left_ms"]


class Merging(harness.Scenario):
    """The daemon alone; no node answers."""

    def setUp(self):
        self.serving = self.daemon({"main": NO_NODES}, None, {"early_release": "on"})
        self.writer, self.reader = self.worker(self.serving), self.worker(self.serving)
        self.hash = hash_of("k")

    def record(self, seconds):
        self.assertEqual(self.writer.record("main", "k", seconds).status, "OK")

    def peek(self):
        return operator(self.serving, "peek", "main", self.hash)["pin"]

    def generation(self):
        return self.serving.ask("status")["clusters"][0]["open_generation"]

    def record_after_a_new_generation(self, seconds):
        before = self.peek()["generation"]
        eventually(lambda: self.generation() > before, what="the generation is closed")
        self.record(seconds)
        return before

    def test_a_shorter_pin_does_not_shorten_and_a_longer_one_lengthens(self):
        self.record(100)
        until = self.peek()["until_ms"]
        self.record(1)
        self.assertEqual(self.peek()["until_ms"], until)
        self.assertGreater(self.reader.read("main", "k").left, 90_000)
        self.record(200)
        self.assertGreater(self.peek()["until_ms"], until + 90_000)
        self.assertGreater(self.reader.read("main", "k").left, 190_000)

    def test_a_later_write_raises_the_generation_of_a_longer_pin(self):
        self.record(100)
        before = self.peek()
        generation = self.record_after_a_new_generation(1)
        after = self.peek()
        self.assertGreater(after["generation"], generation)
        self.assertEqual(after["until_ms"], before["until_ms"])

    def test_a_hold_does_not_shorten_a_pin_nor_a_pin_a_hold(self):
        self.record(100)
        self.assertEqual(self.writer.hold("main", "k", 50_000).status, "OK")
        held = self.peek()
        self.assertGreater(held["left_ms"], 90_000)
        self.assertGreater(held["hold_left_ms"], 40_000)
        self.record(1)
        self.assertEqual(self.writer.hold("main", "k", 10).status, "OK")
        after = self.peek()
        self.assertEqual(after["until_ms"], held["until_ms"])
        self.assertGreater(after["hold_left_ms"], 40_000)

    def test_seconds_are_cut_to_the_longest_pin_that_is_allowed(self):
        for seconds, at_most in ((0, 15), (10, 10), (300, 300), (301, 300), (86_400, 300), (4_294_967_295, 300)):
            key = f"of {seconds}"
            self.assertEqual(self.writer.record("main", key, seconds).status, "OK")
            left = self.reader.read("main", key).left / 1000
            if seconds < 300:  # else the start's floor, which is as long, is what is left
                self.assertEqual(self.reader.read("main", key).reason, "PINNED")
            self.assertLessEqual(left, 300 + TICK)
            pinned = operator(self.serving, "peek", "main", hash_of(key))["pin"]["left_ms"] / 1000
            self.assertLessEqual(pinned, at_most)
            self.assertGreater(pinned, at_most - 5)
        self.assertEqual(self.writer.hold("main", "held", 4_294_967_295).status, "OK")
        self.assertLessEqual(operator(self.serving, "peek", "main", hash_of("held"))["pin"]["hold_left_ms"], 300_000)

    def test_a_release_drops_what_the_operator_saw(self):
        self.record(100)
        seen = self.peek()
        self.assertTrue(operator(self.serving, "release", "main", self.hash, seen["generation"], seen["until_ms"])["released"])
        self.assertIsNone(self.peek())
        self.assertNotEqual(self.reader.read("main", "k").reason, "PINNED")
        self.assertFalse(operator(self.serving, "release", "main", self.hash, seen["generation"], seen["until_ms"])["released"])

    def test_a_release_does_not_drop_a_write_that_came_after_the_look(self):
        for earlier, later in ((10, 100), (10, 10), (100, 10)):  # the last changes no deadline
            with self.subTest(earlier=earlier, later=later):
                self.record(earlier)
                seen = self.peek()
                self.record(later)
                said = operator(self.serving, "release", "main", self.hash, seen["generation"], seen["until_ms"])
                self.assertEqual((said["ok"], said["released"]), (True, False))
                self.assertEqual(self.reader.read("main", "k").reason, "PINNED")

    def test_pinroutectl_releases_one_key_and_no_other(self):
        self.record(100)
        self.assertEqual(self.writer.record("main", "l", 100).status, "OK")
        self.serving.ctl("release", "main", "k")
        self.assertNotEqual(self.reader.read("main", "k").reason, "PINNED")
        self.assertEqual(self.reader.read("main", "l").reason, "PINNED")


class Many(harness.Scenario):
    def test_as_many_pins_as_the_store_has_room_for_are_all_found(self):
        n = size(1_000_000, 20_000 if SANITIZE else 100_000)
        daemon = self.daemon({"main": NO_NODES}, {"max_pins": n}, {"max_pin_seconds": 3600})
        filled = harness.run_program("pins", "fill", daemon.dir, "main", 0, n, 8, 3600, within=900)
        self.assertEqual((filled.ok, filled.failed), (n, 0))
        self.assertEqual(daemon.ask("status")["pins"], n)
        self.assertEqual(daemon.ask("show", "stats")["stats"]["floored_records"], 0)
        found = harness.run_program("pins", "look", daemon.dir, "main", 0, n, within=300)
        self.assertEqual(found.PINNED, n)
        others = harness.run_program("pins", "look", daemon.dir, "main", n, n, within=300)
        self.assertEqual(others.FLOOR, n, "keys that nobody recorded: the start's floor is all there is")
        stats = daemon.ask("show", "stats")["stats"]
        print(f"pins: {n} recorded by 8 processes in {filled.us / 1e6:.1f} s, {found.us * 1000 / n:.0f} ns a decision for a pinned key, "
              f"{others.us * 1000 / n:.0f} for another, {stats['store_used_bytes'] / n:.0f} bytes a pin")


    def test_pins_that_expire_together_are_reclaimed_and_the_loop_never_stands_long(self):
        n = size(1_000_000, 20_000)
        daemon = self.daemon({"main": NO_NODES}, {"max_pins": n})

        def stats():
            return daemon.ask("show", "stats")["stats"]

        empty = stats()
        lifetime = size(60, 5)
        filled = harness.run_program("pins", "fill", daemon.dir, "main", 0, n, 8, lifetime, within=300)
        self.assertEqual((filled.ok, filled.failed), (n, 0))
        full = stats()
        self.assertGreater(full["store_used_bytes"] - empty["store_used_bytes"], 40 * full["pins"])
        eventually(lambda: stats()["pin_pages"] == 1, within=lifetime + 30, every=0.1, what="nothing arrives, all is reclaimed")
        left = stats()
        self.assertLess(left["store_used_bytes"] - empty["store_used_bytes"], 8 * 4096 + full["store_used_bytes"] // 20)
        self.assertEqual(left["pins"], 0)
        longest = left["longest_turn_us"] / 1e6
        self.assertTrue(0 < longest <= harness.bound(0.010), f"a turn of {longest} s")
        print(f"pins: {n} of {lifetime} s, {full['store_used_bytes'] >> 10} KiB at most, {left['store_used_bytes'] >> 10} KiB after; "
              f"longest turn {longest * 1e3:.1f} ms")


class WithReplicas(harness.Scenario):
    """What others would read from a replica if there were no pin."""

    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=2))

    def serve(self, options=None, longest=2, **cluster_options):
        daemon = self.daemon(self.pg, options, {"pin_seconds": 1, "max_pin_seconds": longest, **cluster_options})
        writer, reader = self.worker(daemon), self.worker(daemon)
        over = ("BALANCED", "CAUGHT_UP") if cluster_options.get("early_release") != "off" else ("BALANCED",)
        eventually(lambda: reader.read("main", "nobody").reason in over, within=20, what="the start's floor is over")
        return daemon, writer, reader

    def test_a_pin_ends_by_the_readers_clock_and_can_begin_again(self):
        daemon, writer, reader = self.serve({"stale_after": "5s"}, longest=1, early_release="off")
        self.assertEqual(reader.read("main", "k").reason, "BALANCED")
        for _ in range(2):
            before = time.monotonic()
            self.assertEqual(writer.record("main", "k", 1).status, "OK")
            after = time.monotonic()
            daemon.pause()  # for less than stale_after: nothing is done, by anybody, when the pin ends
            asked, answer = after, reader.read("main", "k")
            self.assertEqual(answer.reason, "PINNED")
            while answer.reason == "PINNED":
                self.assertLess(asked, after + 1 + TICK, "it lasts too long")
                self.assertLessEqual(answer.left, 1000 + TICK * 1000)
                asked, answer = time.monotonic(), reader.read("main", "k")
            self.assertGreaterEqual(time.monotonic(), before + 1, "it ended too soon")
            self.assertEqual((answer.reason, answer.role, answer.left), ("BALANCED", "REPLICA", 0))
            daemon.resume()
            eventually(lambda: writer.record("main", "other", 1).status == "OK", what="it serves again")
            eventually(lambda: reader.read("main", "k").reason == "BALANCED", what="the stall's floor is over")

    def test_a_hold_lets_nothing_but_the_primary_satisfy_until_it_ends(self):
        daemon, writer, reader = self.serve(longest=6)
        self.assertEqual(writer.hold("main", "held", 2000).status, "OK")
        self.assertEqual(writer.record("main", "held", 6).status, "OK")
        self.assertEqual(writer.record("main", "free", 6).status, "OK")
        began = time.monotonic()
        eventually(lambda: reader.read("main", "free").reason == "CAUGHT_UP", what="the same write without a hold is released")
        reader.start_spin("main", "held", 500)
        said = reader.answer()
        self.assertLess(time.monotonic() - began, 1.9, "too slow a machine to say anything")
        self.assertEqual(set(said.by_reason()), {"PINNED"})
        self.assertEqual(set(said.by_node()), {"default"})
        eventually(lambda: reader.read("main", "held").reason == "CAUGHT_UP", what="the hold is over")
        self.assertGreaterEqual(time.monotonic() - began, 1.9)

    def test_a_hold_alone_ends_by_itself(self):
        _, writer, reader = self.serve()
        began = time.monotonic()
        self.assertEqual(writer.hold("main", "held", 400).status, "OK")
        while reader.read("main", "held").reason == "PINNED":
            self.assertLess(time.monotonic() - began, 5)
        self.assertGreaterEqual(time.monotonic() - began, 0.4)
        self.assertEqual(reader.read("main", "held").role, "REPLICA")

    def full(self, early_release):
        """3,000 keys in a table of 1,000."""
        longest = 3 if early_release == "off" else 30
        daemon, writer, reader = self.serve({"max_pins": 1000}, longest, early_release=early_release)
        floors = daemon.ask("show", "stats")["stats"]["floors"]
        filled = harness.run_program("pins", "fill", daemon.dir, "main", 0, 3000, 4, longest)
        self.assertEqual((filled.ok, filled.failed), (3000, 0), "a record was refused")
        found = harness.run_program("pins", "look", daemon.dir, "main", 0, 3000)
        status, stats = daemon.ask("status"), daemon.ask("show", "stats")["stats"]
        print(f"pins: 3,000 keys in a table of 1,000, early_release = {early_release}: {found}")
        self.assertFalse(hasattr(found, "BALANCED"), "a key that wrote was forgotten")
        self.assertTrue(status["degraded"])
        self.assertTrue(any("full" in why for why in status["why"]), status["why"])
        self.assertGreater(status["clusters"][0]["floor_left_ms"], 0)
        self.assertIn("full", status["clusters"][0]["floor_why"])
        self.assertLessEqual(status["pins"], 1000)
        self.assertGreaterEqual(stats["floored_records"], 2000)
        self.assertGreater(stats["floors"], floors)
        return daemon, writer, reader, found

    def test_a_full_table_pins_the_whole_cluster_and_loses_no_key(self):
        daemon, writer, reader, found = self.full("off")
        self.assertEqual(found.PINNED + found.FLOOR, 3000)
        self.assertEqual(reader.read("main", "nobody").reason, "FLOOR")
        self.assertEqual(reader.read("main", None).reason, "BALANCED")
        eventually(lambda: reader.read("main", "nobody").reason == "BALANCED", within=20, what="the floor ends")
        self.assertEqual(writer.record("main", "k", 2).status, "OK")
        self.assertEqual(reader.read("main", "k").reason, "PINNED")
        self.assertEqual(reader.read("main", "nobody").reason, "BALANCED")
        eventually(lambda: not daemon.ask("status")["degraded"], what="the table has room again")

    def test_the_floor_of_a_full_table_is_released_where_the_writes_have_arrived(self):
        _, _, reader, _ = self.full("on")
        eventually(lambda: reader.read("main", "pin-1").reason == "CAUGHT_UP", what="a replica has the write")


if __name__ == "__main__":
    unittest.main()
