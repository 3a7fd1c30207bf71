#!/usr/bin/env python3
"""test_frames.py -- whatever comes over the worker socket: that connection is closed and counted, others are served."""
# ctest: asan parallel
import os
import random
import select
import socket
import struct
import time
import unittest

import harness
from harness import bound, eventually, size

REQUEST = struct.Struct("<IHHQ64sQQI28s")
REPLY = struct.Struct("<IHHQIIQqQQQ")
MAGIC, VERSION = 0x57524E50, 1
HELLO, RECORD, HOLD, TOKEN, RECORDS = 1, 2, 3, 4, 5
OK, E_INVALID, E_CLUSTER = 0, 1, 2
NO_NODES = ["default = host=127.0.0.1 port=1 dbname=app user=pinroute role=primary"]


def frame(op=RECORD, magic=MAGIC, version=VERSION, number=7, cluster=b"main", key=(1, 2), ms=1000, reserved=b""):
    return REQUEST.pack(magic, version, op, number, cluster, *key, ms, reserved)


def stamp(number):
    """What a TOKEN has in the reserve of the others."""
    return struct.pack("<IQ", 0, number)


def records(n, keys=None, reserved=b"", **changed):
    """Of keys (1, 1), (2, 2) and so on; n is what it says of them."""
    keys = min(n, 64) if keys is None else keys
    head = frame(**{"op": RECORDS, "key": (0, 0), "reserved": struct.pack("<I", n) + reserved, **changed})
    return head + b"".join(struct.pack("<QQ", i + 1, i + 1) for i in range(keys)) + bytes(16 * (64 - keys))


def hello(**changed):
    return frame(**{"op": HELLO, "cluster": b"", "key": (0, 0), "ms": 0, **changed})


class Reply:
    def __init__(self, packet):
        assert len(packet) == REPLY.size, packet
        (self.magic, self.version, self.op, self.number, self.status, self.records_max, self.epoch, self.now_ms, self.turn,
         self.generation, _) = REPLY.unpack(packet)


class Client:
    """A process that speaks to the worker socket by itself."""

    def __init__(self, daemon):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(10)
        self.socket.connect(f"{daemon.dir}/pinrouted.sock")

    def ask(self, packet):
        self.socket.send(packet)
        return Reply(self.socket.recv(4096))

    def is_closed_after(self, *packets):
        try:
            for packet in packets:
                self.socket.send(packet)
            return self.socket.recv(4096) == b""
        except (ConnectionResetError, BrokenPipeError):
            return True

    def close(self):
        self.socket.close()


MALFORMED = {
    "of one byte": b"x",
    "that lacks its last byte": frame()[:-1],
    "with a byte too many": frame() + b"\0",
    "twice as long": frame() + frame(),
    "of 64 KB": frame() + bytes(65536 - REQUEST.size),
    "of zeros": bytes(REQUEST.size),
    "of ones": b"\xff" * REQUEST.size,
    "of another magic": frame(magic=MAGIC ^ 1),
    "of a magic in the other byte order": frame(magic=int.from_bytes(MAGIC.to_bytes(4, "little"), "big")),
    "of version 0": frame(version=0),
    "of the next version": frame(version=VERSION + 1),
    "with operation 0": frame(op=0),
    "with an operation that there is not": frame(op=RECORDS + 1),
    "of one record with a number of keys": frame(reserved=struct.pack("<I", 1)),
    "of many records that lacks its keys": records(2)[:REQUEST.size],
    "of many records that lacks its last byte": records(64)[:-1],
    "of many records with a byte too many": records(64) + b"\0",
    "of many records and no key": records(0),
    "of more records than it has room for": records(65),
    "of as many records as there are numbers": records(2**32 - 1),
    "of many records with a key behind the last": records(3, keys=4),
    "of many records with a key in its head": records(3, key=(0, 1)),
    "of many records with a stamp": records(3, reserved=struct.pack("<Q", 7)),
    "of many records without a cluster": records(3, cluster=b""),
    "of one record in the room of many": records(3, op=RECORD),
    "with operation 65535": frame(op=65535),
    "with something in its reserve": frame(reserved=b"\1"),
    "with something at the end of its reserve": frame(reserved=bytes(27) + b"\1"),
    "with a stamp of its own choice": frame(reserved=stamp(7)),
    "that holds with a stamp": frame(op=HOLD, reserved=stamp(7)),
    "that says hello with a stamp": hello(reserved=stamp(7)),
    "of a token with something before its stamp": frame(op=TOKEN, reserved=b"\1\0\0\0" + stamp(7)[4:]),
    "of a token with something behind its stamp": frame(op=TOKEN, reserved=stamp(7) + b"\1"),
    "of a token without a cluster": frame(op=TOKEN, cluster=b"", reserved=stamp(7)),
    "without a cluster": frame(cluster=b""),
    "with a name that does not end": frame(cluster=b"m" * 64),
    "with a space in the name": frame(cluster=b"ma in"),
    "with a slash in the name": frame(cluster=b"../main"),
    "with a letter beyond ASCII": frame(cluster="maïn".encode()),
    "with something behind the name": frame(cluster=b"main\0\0x"),
    "that holds without a name": frame(op=HOLD, cluster=b""),
    "that says hello to a cluster": hello(cluster=b"main"),
    "that says hello with a key": hello(key=(0, 1)),
    "that says hello for a time": hello(ms=1),
}


class Frames(harness.Scenario):
    def setUp(self):
        self.serving = self.daemon({"main": NO_NODES}, {"max_clients": 256})
        self.other = Client(self.serving)
        self.addCleanup(self.other.close)

    def client(self):
        client = Client(self.serving)
        self.addCleanup(client.close)
        return client

    def stats(self):
        return self.serving.ask("show", "stats")["stats"]

    def test_many_records_are_one_question_and_answers_come_in_the_order_of_the_questions(self):
        client = self.client()
        self.assertEqual(client.ask(hello()).records_max, 64)
        before = self.stats()["records"]
        for packet in (records(64, number=1), records(1, number=2), frame(number=3), records(2, number=4, cluster=b"ghost")):
            client.socket.send(packet)
        replies = [Reply(client.socket.recv(4096)) for _ in range(4)]
        self.assertEqual([(r.op, r.number, r.status) for r in replies],
                         [(RECORDS, 1, OK), (RECORDS, 2, OK), (RECORD, 3, OK), (RECORDS, 4, E_CLUSTER)])
        self.assertGreater(replies[0].generation, 0)
        self.assertEqual(self.stats()["records"], before + 66)

    def others_are_served(self):
        began = time.monotonic()
        reply = self.other.ask(frame(number=99))
        self.assertEqual((reply.number, reply.status), (99, OK))
        self.assertLess(time.monotonic() - began, bound(0.25))

    def test_a_frame_as_it_should_be_is_answered(self):
        client = self.client()
        said = client.ask(hello(number=1))
        self.assertEqual((said.magic, said.version, said.op, said.number, said.status), (MAGIC, VERSION, HELLO, 1, OK))
        self.assertLess(abs(said.now_ms - time.monotonic() * 1000), 5000)
        for op in (RECORD, HOLD):
            reply = client.ask(frame(op=op, number=2**64 - op))
            self.assertEqual((reply.op, reply.number, reply.status, reply.epoch), (op, 2**64 - op, OK, said.epoch))
            self.assertGreater(reply.generation, 0)
        self.assertEqual(client.ask(hello()).turn, said.turn + 1)

    def test_a_malformed_frame_closes_its_connection_and_is_counted(self):
        for what, packet in MALFORMED.items():
            with self.subTest(what):
                before = self.stats()["closed_garbage"]
                client = Client(self.serving)
                self.assertEqual(client.ask(frame()).status, OK)
                self.assertTrue(client.is_closed_after(packet), "the connection was kept")
                client.close()
                self.assertEqual(self.stats()["closed_garbage"], before + 1)
                self.others_are_served()
        self.assertEqual(self.stats()["pins"], 1, "a malformed frame pinned something")

    def test_a_zero_length_frame_closes_its_connection(self):
        client = self.client()
        self.assertTrue(client.is_closed_after(b""))
        self.others_are_served()

    def test_descriptors_that_come_with_a_frame_do_not_stay(self):
        self.others_are_served()  # and so accepted
        before = len(os.listdir(f"/proc/{self.serving.pid}/fd"))
        for packet in (frame(), frame(version=9)):
            client = Client(self.serving)
            socket.send_fds(client.socket, [packet], [client.socket.fileno()] * 100)
            try:
                client.socket.recv(4096)
            except ConnectionResetError:
                pass
            client.close()
        eventually(lambda: len(os.listdir(f"/proc/{self.serving.pid}/fd")) == before, what="no descriptor stayed")
        self.others_are_served()

    def test_a_sound_frame_behind_a_malformed_one_does_nothing(self):
        self.assertTrue(self.client().is_closed_after(frame(version=9), frame(key=(5, 6))))
        self.others_are_served()
        self.assertEqual(self.stats()["pins"], 1)

    def test_questions_that_cannot_be_granted_are_answered_and_the_connection_stays(self):
        client = self.client()
        for packet, status in ((frame(cluster=b"ghost"), E_CLUSTER), (frame(op=HOLD, cluster=b"ghost"), E_CLUSTER),
                               (frame(op=TOKEN, cluster=b"ghost", reserved=stamp(7)), E_CLUSTER),
                               (frame(op=TOKEN, ms=0, reserved=stamp(7)), E_INVALID), (frame(op=TOKEN), E_INVALID),
                               (frame(op=TOKEN, reserved=stamp(7)), OK),
                               (frame(op=HOLD, ms=0), E_INVALID), (frame(ms=0), OK), (frame(ms=2**32 - 1), OK)):
            self.assertEqual(client.ask(packet).status, status)
        self.assertEqual(self.stats()["refused"], 6)

    def test_a_client_that_never_reads_its_answers_is_closed_and_counted(self):
        client = self.client()
        client.socket.settimeout(0.05)
        deadline = time.monotonic() + 20
        sent = 0
        while self.stats()["closed_slow"] == 0:
            self.assertLess(time.monotonic(), deadline)
            try:
                for _ in range(100):
                    client.socket.send(frame(number=sent))
                    sent += 1
            except (TimeoutError, BrokenPipeError, ConnectionResetError):
                pass
            self.others_are_served()
        self.assertEqual(self.stats()["closed_slow"], 1)
        print(f"frames: a client that never reads was closed after {sent} frames")

    def test_silent_clients_take_nothing_from_others(self):
        silent = [self.client() for _ in range(200)]
        eventually(lambda: self.serving.ask("status")["clients"] >= 200)
        self.others_are_served()
        for _ in range(100):  # more than max_clients: the longest idle make room
            self.client()
        worker = self.worker(self.serving)
        for i in range(100):
            self.assertEqual(worker.record("main", f"key-{i}").status, "OK")
        eventually(lambda: self.stats()["closed_idle"] > 0)
        self.assertLessEqual(self.serving.ask("status")["clients"], 256)
        self.assertEqual(silent[0].socket.recv(4096), b"", "the longest idle was not the one that went")

    def test_garbage_at_full_speed_harms_nobody_else(self):
        worker = self.worker(self.serving)
        worker.timeout(1000)
        chance = random.Random(1)
        packets = list(MALFORMED.values()) + [chance.randbytes(chance.randrange(1, 300)) for _ in range(50)]
        until = time.monotonic() + size(10, 2)
        closed = recorded = 0
        worst = 0.0
        while time.monotonic() < until:
            flood = [Client(self.serving) for _ in range(20)]
            for client in flood:
                client.socket.send(chance.choice(packets))
                client.close()
                closed += 1
            answer = worker.record("main", f"key-{recorded}")
            self.assertEqual(answer.status, "OK")
            worst = max(worst, answer.us / 1e6)
            recorded += 1
        eventually(lambda: self.stats()["closed_garbage"] >= closed, what="each was counted")
        self.assertEqual(self.stats()["closed_garbage"], closed)
        eventually(lambda: self.stats()["pins"] == recorded, what="each record is there")
        self.assertLess(worst, bound(0.25))
        print(f"frames: {closed} malformed frames, each on a connection of its own; {recorded} records meanwhile, the slowest "
              f"{worst * 1000:.1f} ms")

    def test_two_questions_at_once_are_answered_in_their_order(self):
        client = self.client()
        for number in range(1, 51):
            client.socket.send(frame(number=number, cluster=b"main" if number % 2 else b"ghost"))
        for number in range(1, 51):
            ready, _, _ = select.select([client.socket], [], [], 10)
            self.assertTrue(ready)
            reply = Reply(client.socket.recv(4096))
            self.assertEqual((reply.number, reply.status), (number, OK if number % 2 else E_CLUSTER))


class Calls(harness.Scenario):
    """Wrong arguments through the stub."""

    @classmethod
    def setUpClass(cls):
        cls.serving = cls.shared(harness.Daemon({"main": NO_NODES}))

    def test_empty_and_oversized_keys_are_refused_and_the_read_goes_to_the_primary(self):
        worker = self.worker(self.serving)
        for key in ("", b"k" * 4097):
            self.assertEqual(worker.record("main", key).status, "E_INVALID")
            self.assertEqual(worker.hold("main", key).status, "E_INVALID")
            answer = worker.read("main", key)
            self.assertEqual((answer.status, answer.role, answer.reason), ("E_INVALID", "PRIMARY", "STORE_UNAVAILABLE"))
        for key in ("k", b"\0", b"\xff" * 4096):
            self.assertEqual(worker.record("main", key).status, "OK")
            self.assertEqual(worker.read("main", key).reason, "PINNED")

    def test_a_key_that_is_missing_is_refused_where_one_is_needed(self):
        worker = self.worker(self.serving)
        self.assertEqual(worker.record("main", None).status, "E_INVALID")
        self.assertEqual(worker.hold("main", None).status, "E_INVALID")
        self.assertEqual(worker.hold("main", "k", ms=0).status, "E_INVALID")

    def test_unknown_clusters_and_nodes_have_statuses_of_their_own(self):
        worker = self.worker(self.serving)
        unknown = worker.do("cluster", "ghost")
        self.assertEqual(unknown.status, "E_CLUSTER")
        answer = worker.read("ghost", "k")
        self.assertEqual((answer.status, answer.role, answer.reason), ("E_CLUSTER", "PRIMARY", "STORE_UNAVAILABLE"))
        self.assertEqual(worker.write("ghost").status, "E_CLUSTER")
        self.assertEqual(worker.record("ghost", "k").status, "E_CLUSTER")
        self.assertEqual(worker.hold("ghost", "k").status, "E_CLUSTER")
        self.assertEqual(worker.endpoint("ghost", "default").status, "E_CLUSTER")
        self.assertEqual(worker.endpoint("main", "shadow-9").status, "E_NODE")
        self.assertEqual(worker.endpoint("main", "default").endpoint.split()[0], "host=127.0.0.1")

    def test_a_number_from_nowhere_is_refused(self):
        worker = self.worker(self.serving)
        for number in (0, 63, 64, 4294967295):  # none was asked for yet
            self.assertEqual(worker.do("read", number, "6b").status, "E_INVALID")
            self.assertEqual(worker.do("record", number, "6b", 1).status, "E_INVALID")

    def test_a_name_that_cannot_be_one_is_refused(self):
        worker = self.worker(self.serving)
        for name in ("ma/in", "m" * 64, "maïn"):
            self.assertEqual(worker.do("cluster", name).status, "E_INVALID")


if __name__ == "__main__":
    unittest.main()
