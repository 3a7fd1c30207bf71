#!/usr/bin/env python3
"""test_late.py -- a daemon that answers late: every call ends in time, and no answer is taken for another question's."""
# ctest: asan parallel
import os
import socket
import struct
import threading
import time
import unittest

import harness
from harness import bound, eventually, size

NO_NODES = ["default = host=127.0.0.1 port=1 dbname=app user=pinroute role=primary"]
TIMEOUT_MS = 50


class LateAnswers(harness.Scenario):
    """Two clusters in turn, one of which the daemon does not know: an answer in the wrong place would show."""

    def setUp(self):
        self.serving = self.daemon({"main": NO_NODES})
        self.caller = self.worker(self.serving)
        self.assertEqual(self.caller.do("cluster", "ghost").status, "E_CLUSTER")
        self.asked = 0

    def ask_both(self):
        self.asked += 1
        return (self.caller.record("main", f"key-{self.asked}", 60), self.caller.record("ghost", f"key-{self.asked}", 60))

    def test_calls_end_in_time_while_the_daemon_stands_still(self):
        self.ask_both()
        self.serving.pause()
        for _ in range(10):
            for answer in self.ask_both():
                self.assertEqual(answer.status, "E_UNREACHABLE")
                self.assertLess(answer.us / 1000, TIMEOUT_MS * 4)
        began = time.monotonic()
        self.ask_both()
        self.assertLess(time.monotonic() - began, bound(TIMEOUT_MS / 1000), "the breaker is open: no more waiting")
        for n in range(2, self.asked + 1):
            self.assertEqual(self.caller.read("main", f"key-{n}").role, "PRIMARY")
        self.serving.resume()

    def test_opening_a_handle_ends_in_time_while_the_daemon_stands_still(self):
        self.serving.pause()
        for _ in range(5):
            opened = self.worker(self.serving).opened
            self.assertEqual(opened.status, "OK")
            self.assertLess(opened.us / 1000, TIMEOUT_MS * 4)
        self.serving.resume()

    def test_no_call_gets_the_answer_to_an_earlier_one(self):
        told = {"OK": 0, "E_CLUSTER": 0, "E_UNREACHABLE": 0}
        for round_ in range(size(200, 20)):
            self.serving.pause()
            for _ in range(1 + round_ % 3):  # so that both kinds of question are the last one before it goes on
                late = self.caller.record("main" if round_ % 2 else "ghost", f"late-{round_}", 60)
                self.assertEqual(late.status, "E_UNREACHABLE")
            self.serving.resume()
            deadline = time.monotonic() + 10
            while True:
                known, unknown = self.ask_both()
                self.assertIn(known.status, ("OK", "E_UNREACHABLE"))
                self.assertIn(unknown.status, ("E_CLUSTER", "E_UNREACHABLE"))
                told[known.status] += 1
                told[unknown.status] += 1
                if (known.status, unknown.status) == ("OK", "E_CLUSTER"):
                    break
                self.assertLess(time.monotonic(), deadline, "it never answers again")
        print(f"late: {told}")
        eventually(lambda: self.serving.ask("show", "stats")["stats"]["closed_garbage"] == 0)

    def test_a_write_that_failed_is_recorded_at_the_next_contact(self):
        self.serving.pause()
        self.assertEqual(self.caller.record("main", "owed", 60).status, "E_UNREACHABLE")
        self.assertEqual(self.caller.read("main", "owed").reason, "PINNED")
        self.serving.resume()
        eventually(lambda: self.caller.record("main", "next", 60).status == "OK", what="it answers again")
        self.assertEqual(self.worker(self.serving).read("main", "owed").reason, "PINNED")

    def test_a_stall_longer_than_the_timeout_raises_the_floor(self):
        serving = self.daemon({"main": NO_NODES}, None, {"pin_seconds": 1, "max_pin_seconds": 2})
        caller = self.worker(serving)

        def cluster():
            return serving.ask("status")["clusters"][0]

        def stalls():
            return serving.ask("show", "stats")["stats"]["stalls"]

        eventually(lambda: cluster()["floor_left_ms"] == 0, what="the start's floor is over")
        self.assertEqual(self.worker(serving).read("main", "anybody").reason, "NO_REPLICA")
        floors, stalled = cluster()["floors"], stalls()
        serving.pause()
        self.assertEqual(caller.record("main", "k", 1).status, "E_UNREACHABLE")
        serving.resume()
        status = eventually(lambda: cluster() if cluster()["floors"] > floors else None, what="a floor")
        self.assertGreater(status["floor_left_ms"], 0)
        self.assertIn("stood still", status["floor_why"])
        self.assertEqual(self.worker(serving).read("main", "anybody").reason, "FLOOR")
        self.assertGreater(stalls(), stalled)


class FakeDaemon:
    """Speaks the worker protocol on a socket of its own; `spoil` may change an honest reply's fields and say its size
    (0: none)."""

    REQUEST = struct.Struct("<IHHQ64sQQI28s")
    REPLY = struct.Struct("<IHHQIIQqQQQ")

    def __init__(self, spoil):
        self.dir = harness.scratch()
        self.spoil = spoil
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(os.path.join(self.dir, "pinrouted.sock"))
        self.listener.listen(16)
        self.hung_up = threading.Event()  # a client has closed its end
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                self._answer(client)

    def _answer(self, client):
        try:
            while packet := client.recv(4096):
                magic, version, op, number, *_ = self.REQUEST.unpack(packet)
                fields = {"magic": magic, "version": version, "op": op, "number": number}
                reply = 1, time.monotonic_ns() // 10**6, 0, 1, 0
                cut = None if op == 1 else self.spoil(fields)
                if cut == 0:
                    continue
                client.send((self.REPLY.pack(*fields.values(), 0, 0, *reply) + b"\0")[:cut or self.REPLY.size])
            self.hung_up.set()
        except OSError:
            pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)
        os.unlink(os.path.join(self.dir, "pinrouted.sock"))
        os.rmdir(self.dir)


def changed(**changes):
    def spoil(fields):
        for name, change in changes.items():
            fields[name] = change(fields[name])
    return spoil


class ForeignAnswers(harness.Scenario):
    """A server that answers at once, but not what was asked."""

    def status_with(self, spoil):
        fake = self._ends(FakeDaemon(spoil))
        worker = self.worker(fake.dir)
        worker.timeout(500)
        return worker.record("main", "k").status

    def test_a_call_whose_time_is_over_hangs_up(self):
        fake = self._ends(FakeDaemon(lambda _: 0))
        worker = self.worker(fake.dir)
        fake.hung_up.clear()  # of the opening
        answer = worker.record("main", "k")
        self.assertEqual(answer.status, "E_UNREACHABLE")
        self.assertGreaterEqual(answer.us / 1000, TIMEOUT_MS)
        self.assertLess(answer.us / 1000, TIMEOUT_MS * 4)
        self.assertTrue(fake.hung_up.wait(5), "what it answers later would be taken for the answer to something else")

    def test_an_answer_to_the_question_is_taken(self):
        self.assertEqual(self.status_with(changed()), "OK")

    def test_an_answer_to_another_question_is_not_taken(self):
        for what in (changed(number=lambda n: n - 1), changed(number=lambda n: n + 1), changed(op=lambda _: 1),
                     changed(op=lambda _: 3), changed(magic=lambda m: m ^ 1), changed(version=lambda v: v + 1),
                     lambda _: 63, lambda _: 65):
            self.assertEqual(self.status_with(what), "E_UNREACHABLE")


if __name__ == "__main__":
    unittest.main()
