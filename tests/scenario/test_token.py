"""test_token.py -- a pin as text: from one host to another, with a daemon gone, and from people who lie.
Two daemons with a key_file each stand for two hosts that share a PostgreSQL cluster; the replica lags."""
# ctest: asan parallel
import base64
import hashlib
import hmac
import struct
import time
import unittest

import harness
from harness import bound, eventually
from test_pins import hash_of, operator

LAG = "700ms"
FIELDS = "<IQ16sQqI"  # proto/token.h: version, cluster, key, stamp, issued_ms, left_ms; then a MAC of 16 bytes
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
TIMEOUT_MS = 2000


class Token:
    """A token taken apart, by a second implementation of proto/token.h."""

    def __init__(self, text):
        raw = base64.urlsafe_b64decode(text + "==")
        self.body, self.mac = raw[:48], raw[48:]
        self.version, self.cluster, self.key, self.stamp, self.issued_ms, self.left_ms = struct.unpack(FIELDS, self.body)

    def is_signed_with(self, key):
        return hmac.compare_digest(self.mac, hmac.new(bytes.fromhex(key), self.body, hashlib.sha256).digest()[:16])

    def signed(self, key, **changes):
        """The text of the same token with some fields changed, as whoever has the key would write it."""
        fields = {**self.__dict__, **changes}
        names = ("version", "cluster", "key", "stamp", "issued_ms", "left_ms")
        body = struct.pack(FIELDS, *(fields[name] for name in names))
        mac = hmac.new(bytes.fromhex(key), body, hashlib.sha256).digest()[:16]
        return base64.urlsafe_b64encode(body + mac).decode().rstrip("=")


class Travel(harness.Scenario):
    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=1))
        cls.pg.sql(0, "create table write (id int primary key)")
        eventually(lambda: cls.pg.caught_up(1), within=20)
        cls.pg.lag(1, LAG)
        cls.primary = cls.shared(cls.pg.session(0))
        cls.replica = cls.shared(cls.pg.session(1))
        cls.key = harness.random_key()
        cls.here, cls.there = (cls.shared(cls.a_daemon()) for _ in range(2))
        cls.at_here, cls.at_there = (cls.shared(harness.Worker(daemon)) for daemon in (cls.here, cls.there))
        for worker in (cls.at_here, cls.at_there):
            worker.timeout(TIMEOUT_MS)
            eventually(lambda: worker.read("main", "nobody").role == "REPLICA", within=20)
        cls.writes = 0

    @classmethod
    def a_daemon(cls):
        return harness.Daemon(cls.pg, keys=[cls.key])

    def write(self, worker, key, recorded="OK"):
        """Commits a write for the key, records it there, and returns its number and its token."""
        type(self).writes += 1
        self.primary.run(f"insert into write values ({self.writes})")
        self.assertEqual(worker.record("main", key).status, recorded)
        issued = worker.issue("main", key)
        self.assertEqual(issued.status, "OK")
        return self.writes, issued.token

    def on_replica(self, write):
        return self.replica.value(f"select count(*) from write where id = {write}") == "1"

    def bring(self, worker, token, key=None):
        """A new request with this token: its first decision."""
        worker.scope("begin", "main", key)
        self.assertEqual(worker.accept(token).status, "OK")
        return worker.scope("read")

    def peek(self, daemon, key):
        return operator(daemon, "peek", "main", hash_of(key))["pin"]

    def released(self, worker, key):
        return eventually(lambda: worker.read("main", key).reason == "CAUGHT_UP", within=20)

    # -- from host to host --

    def test_a_key_with_an_older_released_pin_here_and_a_newer_token_of_another_host_waits_for_that_write_too(self):
        _, first = self.write(self.at_here, "traveller")
        self.released(self.at_here, "traveller")
        self.assertEqual(self.bring(self.at_here, first).reason, "CAUGHT_UP")
        write, second = self.write(self.at_there, "traveller")
        for key in (None, "traveller", "somebody else"):
            self.assertEqual(self.bring(self.at_here, second, key).reason, "PINNED")
        self.assertFalse(self.on_replica(write), "the replica does not lag: this shows nothing")
        self.assertEqual(self.at_here.read("main", "traveller").reason, "PINNED", "pinned on this host from now on")
        while self.bring(self.at_here, second).reason == "PINNED":
            pass
        self.assertEqual(self.at_here.scope("read").reason, "CAUGHT_UP")
        self.assertTrue(self.on_replica(write))

    def test_without_its_token_the_same_request_reads_where_the_write_is_not(self):
        write, _ = self.write(self.at_there, "no token")
        self.at_here.scope("begin", "main", "no token")
        self.assertEqual(self.at_here.scope("read").role, "REPLICA")
        self.assertFalse(self.on_replica(write), "the replica does not lag: this shows nothing")

    def test_a_token_that_is_known_here_or_older_than_one_that_is_changes_nothing(self):
        _, older = self.write(self.at_there, "again")
        _, newer = self.write(self.at_there, "again")
        self.bring(self.at_here, newer)
        known = self.peek(self.here, "again")
        self.released(self.at_here, "again")
        _, another = self.write(self.at_here, "another key")
        self.assertNotEqual(self.peek(self.here, "another key")["generation"], known["generation"])
        for token in (newer, older, newer):
            self.assertEqual(self.bring(self.at_here, token).reason, "CAUGHT_UP")
        for field in ("generation", "until_ms"):
            self.assertEqual(self.peek(self.here, "again")[field], known[field])
        self.assertEqual(self.bring(self.at_here, another).reason, "PINNED", "it is not that nothing is pinned")

    def test_a_write_here_is_not_lost_on_the_host_whose_token_came_between_it_and_its_own_token(self):
        _, theirs = self.write(self.at_there, "both")
        self.released(self.at_there, "both")
        write, _ = self.write(self.at_here, "both")
        self.bring(self.at_here, theirs)
        ours = self.at_here.issue("main", "both").token
        self.assertEqual(self.bring(self.at_there, ours).reason, "PINNED")
        self.assertFalse(self.on_replica(write), "the replica does not lag: this shows nothing")

    def test_a_session_that_logs_in_needs_what_it_needed_before(self):
        write, token = self.write(self.at_there, "visitor")
        self.at_here.scope("begin", "main", "session")
        self.assertEqual(self.at_here.accept(token).status, "OK")
        for key in ("user", None):
            self.assertEqual(self.at_here.rekey(key).status, "OK")
            self.assertEqual(self.at_here.scope("read").reason, "PINNED")
        self.at_there.scope("begin", "main", "visitor")
        self.assertEqual(self.at_there.rekey("user").status, "OK")
        self.assertEqual(self.at_there.scope("read").reason, "PINNED", "its own pin, under another name")
        self.assertFalse(self.on_replica(write), "the replica does not lag: this shows nothing")

    # -- without a daemon --

    def test_a_killed_daemon_costs_a_token_no_wait_and_its_scope_reads_from_the_primary(self):
        host = self._ends(self.a_daemon())
        worker = self.worker(host)
        worker.timeout(TIMEOUT_MS)
        _, token = self.write(self.at_here, "refugee")
        host.kill()
        self.assertEqual(self.bring(worker, token).reason, "PINNED")
        self.assertLess(worker.accept(token).us, bound(TIMEOUT_MS * 1000 / 10))
        eventually(lambda: self.bring(worker, token).reason == "STORE_STALE", within=10)
        worker.timeout(20)
        _, owed = self.write(worker, "refugee", recorded="E_UNREACHABLE")
        self.assertNotEqual(owed, token)
        self.assertEqual(self.bring(self.at_here, owed).reason, "PINNED", "a write that no daemon knows of")
        self.assertEqual(self.bring(worker, owed).role, "PRIMARY")

    def test_a_stopped_daemon_costs_a_token_the_timeout_at_most(self):
        host = self._ends(self.a_daemon())
        worker = self.worker(host)
        _, token = self.write(self.at_here, "patient")
        worker.timeout(100)
        worker.scope("begin", "main")
        host.pause()
        self.assertLess(worker.accept(token).us, bound(0.3) * 1e6)
        self.assertEqual(worker.scope("read").role, "PRIMARY")
        eventually(lambda: worker.read("main", "nobody").reason == "STORE_STALE", within=10)
        worker.timeout(TIMEOUT_MS)
        self.assertLess(max(worker.accept(token).us for _ in range(3)), TIMEOUT_MS * 1000 / 2, "nobody is asked")

    # -- keys --

    def test_keys_are_changed_on_two_hosts_without_refusing_a_token(self):
        hosts = [self._ends(self.a_daemon()) for _ in range(2)]
        workers = [self.worker(host) for host in hosts]
        tokens = [self.at_here.issue("main", "old").token]
        old, new = self.key, harness.random_key()

        def rotate(host, worker, keys):
            seen = len(host.log)
            host.keys = keys
            host.write_keys()
            host.reload()
            host.wait_log("keys of key_file in force", since=seen)
            eventually(lambda: Token(worker.issue("main", "any").token).is_signed_with(keys[0]))
            tokens.append(worker.issue("main", "any").token)
            for other in workers:
                for token in tokens:
                    self.bring(other, token)

        for keys in ([old, new], [new, old]):
            for host, worker in zip(hosts, workers):
                rotate(host, worker, keys)
        tokens.clear()
        rotate(hosts[0], workers[0], [new])
        workers[0].scope("begin", "main")
        self.assertEqual(workers[0].accept(self.at_here.issue("main", "old").token).status, "E_TOKEN_FORGED")

    # -- from people who lie --

    def refused(self, text, status):
        answer = self.at_here.accept(text)
        self.assertEqual(answer.status, status, text)

    def test_a_token_with_any_character_changed_is_refused(self):
        _, token = self.write(self.at_there, "altered")
        self.at_here.scope("begin", "main")
        for at, character in enumerate(token):
            swapped = ALPHABET[(ALPHABET.index(character) + 1) % 64]
            for other in (swapped, "_" if character != "_" else "A", "=", "%", " "):
                self.refused(token[:at] + other + token[at + 1:], "E_TOKEN_FORGED")
        self.assertEqual(self.at_here.scope("read").reason, "BALANCED")

    def test_truncated_lengthened_and_made_up_tokens_are_refused(self):
        _, token = self.write(self.at_there, "garbage")
        self.at_here.scope("begin", "main")
        for text in [token[:n] for n in range(86)] + [token + c for c in ("A", "=", "==", token)]:
            self.refused(text, "E_TOKEN_FORGED")
        for text in ("y", "A" * 86, "\xff" * 86, "'; drop table write --", "../" * 1000):
            self.refused(text, "E_TOKEN_FORGED")
        self.refused(Token(token).signed(harness.random_key()), "E_TOKEN_FORGED")
        self.refused(Token(token).signed(self.key, version=2), "E_TOKEN_FORGED")
        self.assertEqual(self.at_here.scope("read").reason, "BALANCED")
        self.assertIsNone(self.peek(self.here, "garbage"))

    def test_expired_foreign_and_future_tokens_are_refused_by_name(self):
        token = Token(self.write(self.at_there, "times")[1])
        self.assertTrue(token.is_signed_with(self.key))
        self.assertLess(abs(time.time() * 1000 - token.issued_ms), 60_000)
        self.assertLessEqual(token.left_ms, 15_000 + 20)
        self.at_here.scope("begin", "main")
        minute, day = 60_000, 86_400_000
        self.refused(token.signed(self.key, issued_ms=token.issued_ms - token.left_ms - minute), "E_TOKEN_EXPIRED")
        self.refused(token.signed(self.key, left_ms=0), "E_TOKEN_EXPIRED")
        self.refused(token.signed(self.key, cluster=token.cluster ^ 1), "E_TOKEN_FOREIGN")
        self.refused(token.signed(self.key, issued_ms=token.issued_ms + day + 2 * minute), "E_TOKEN_FORGED")
        self.refused(token.signed(self.key, left_ms=0xffffffff), "E_TOKEN_FORGED")
        self.assertEqual(self.at_here.scope("read").reason, "BALANCED")
        self.assertIsNone(self.peek(self.here, "times"), "and nothing was pinned for them")

    def test_a_clock_that_is_off_by_less_than_the_slack_loses_nothing(self):
        for off in (-50_000, 50_000):
            token = Token(self.write(self.at_there, f"off by {off}")[1])
            self.assertEqual(self.bring(self.at_here, token.signed(self.key, issued_ms=token.issued_ms + off)).reason, "PINNED")
            self.assertGreater(self.peek(self.here, f"off by {off}")["left_ms"], 5_000)


if __name__ == "__main__":
    unittest.main()
