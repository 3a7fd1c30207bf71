"""test_server.py -- the example server does what a C user who copies from it relies on.
ctest: asan parallel"""
import base64
import hmac
import os
import signal
import socket
import time
import unittest

import harness
from harness import eventually

SLOW_COMMIT = """
create or replace function slowly() returns trigger language plpgsql as
  $$ begin if new.text = 'slowly' then perform pg_sleep(2); end if; return null; end $$;
create constraint trigger slowly after insert on guestbook deferrable initially deferred for each row execute function slowly()
"""
REPLICAS = {"shadow-1", "shadow-2"}


def signed_with(key, token):
    """The same token under another key."""
    body = base64.urlsafe_b64decode(token + "==")[:48]
    mac = hmac.digest(bytes.fromhex(key), body, "sha256")[:16]
    return base64.urlsafe_b64encode(body + mac).decode().rstrip("=")


def balanced(visit):
    """Was it for a replica?  If that had restarted since this worker read from it, the primary stood in."""
    return visit.reason == "BALANCED" or visit.fallback != ""


class GuestBook(harness.Scenario):
    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=2))
        cls.key = harness.random_key()
        cls.daemon_, cls.far_daemon = (cls.shared(harness.Daemon(cls.pg, keys=[cls.key])) for _ in range(2))
        cls.book = cls.shared(harness.Server(cls.pg, cls.daemon_))
        cls.far = cls.shared(harness.Server(cls.pg, cls.far_daemon))  # of another host
        for book in (cls.book, cls.far):
            eventually(lambda b=book: {b.visitor().look().node for _ in range(8)} == REPLICAS, 20, "both replicas read")

    def pause_replay(self):
        """From here on no replica shows any write, until self.resume_replay()."""
        self.addCleanup(self.resume_replay)
        for n in (1, 2):
            self.pg.sql(n, "select pg_wal_replay_pause()")
            eventually(lambda n=n: self.pg.sql(n, "select pg_get_wal_replay_pause_state()") == "paused", 10)

    def resume_replay(self):
        for n in (1, 2):
            self.pg.sql(n, "select pg_wal_replay_resume()")

    def status(self, method, path, body=None, headers=None):
        """The status of a request that a browser would not send."""
        return self.raw(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers or ''}\r\n{body or ''}".encode())

    def raw(self, request):
        host, port = self.book.address.split(":")
        with socket.create_connection((host, int(port)), timeout=15) as s:
            s.sendall(request)
            answer = b""
            while part := s.recv(65536):
                answer += part
        return int(answer.split()[1]) if answer else None

    def workers(self):
        children = f"/proc/{self.book.process.pid}/task/{self.book.process.pid}/children"
        with open(children, encoding="ascii") as f:
            return {int(pid) for pid in f.read().split()}

    def test_a_person_sees_their_own_posts_whichever_worker_answers(self):
        for n in (1, 2):
            self.addCleanup(self.pg.lag, n, 0)
            self.pg.lag(n, "200ms")
        person = self.book.visitor()
        answered = set()
        for n in range(20):
            post = person.sign(f"post {n}")
            self.assertEqual((post.status, post.recorded), (303, "yes"))
            for _ in range(4):
                seen = person.sees(post.post)
                answered.add(seen.worker)
                self.assertTrue(seen.seen, (seen.node, seen.reason))
        self.assertGreater(len(answered), 1)

    def test_what_a_person_writes_is_shown_escaped(self):
        person = self.book.visitor()
        person.sign("<script>alert('x')</script> & \"so on\" \u00e4")
        page = person.look().body.decode()
        self.assertIn("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;so on&quot; \u00e4", page)
        self.assertNotIn("<script>", page)

    def test_what_is_no_proper_request_is_refused_and_the_server_goes_on(self):
        form = "Content-Length: {}\r\n"
        for status, request in [
                (404, ("GET", "/nowhere")), (405, ("POST", "/")), (405, ("GET", "/post")), (405, ("DELETE", "/")),
                (400, ("GET", "/seen")), (400, ("GET", "/seen?id=1;drop")), (400, ("GET", "/" + "x" * 200)),
                (400, ("POST", "/post", "text=", form.format(5))), (400, ("POST", "/post", "text=a%00b", form.format(10))),
                (400, ("POST", "/post", "text=" + "x" * 501, form.format(506))), (400, ("POST", "/post", "name=x", form.format(6))),
                (413, ("POST", "/post", "", form.format(10**6))), (413, ("POST", "/post", "", form.format(2**64 - 1))),
                (400, ("POST", "/post", "", form.format(-1))),
                (501, ("POST", "/post", "0\r\n\r\n", "Transfer-Encoding: chunked\r\n"))]:
            self.assertEqual(self.status(*request), status, request[:2])
        self.assertEqual(self.raw(b"hello\r\n\r\n"), 400)
        self.assertEqual(self.raw(b"GET / HTTP/1.1\r\n\0\r\n\r\n"), 400)
        self.assertEqual(self.raw(b"GET / HTTP/1.1\r\nX: " + b"x" * 20000), 431)
        self.assertEqual(self.book.visitor().look().status, 200)

    def test_a_client_that_sends_nothing_more_is_told_so_and_keeps_one_worker_only(self):
        host, port = self.book.address.split(":")
        with socket.create_connection((host, int(port)), timeout=30) as slow:
            slow.sendall(b"GET / HTTP/1.1\r\n")
            self.assertEqual({self.book.visitor().look().status for _ in range(10)}, {200})
            self.assertIn(b" 408 ", slow.recv(65536))

    def test_a_cookie_that_is_none_of_ours_makes_a_new_person(self):
        for name, value in [("who", "short"), ("who", "g" * 32), ("who", "a" * 33), ("whose", "a" * 32)]:
            visitor = self.book.visitor()
            visitor.cookies[name] = value
            visitor.look()
            self.assertRegex(visitor.cookies["who"], "^[0-9a-f]{32}$")
            self.assertNotEqual(visitor.cookies["who"], value)
        visitor.cookies = {"other": "1", "who": "a" * 32}
        visitor.look()
        self.assertEqual(visitor.cookies["who"], "a" * 32)

    def take_along(self, person, text):
        """They write here, and read there: at once, from the primary; later, from a replica that has it."""
        self.pause_replay()
        post = person.sign(text)
        stranger, traveller = person.at(self.far, "who"), person.at(self.far)
        before = eventually(lambda: (read := stranger.sees(post.post)).node in REPLICAS and read, 5, "known already")
        self.assertFalse(before.seen)
        for cookies in (("who", "pin"), ("pin",), ("who",)):  # from the first of them on, that host knows
            for _ in range(8):
                read = person.at(self.far, *cookies).sees(post.post)
                self.assertEqual((read.node, read.reason, read.seen), ("default", "PINNED", True), cookies)
        self.resume_replay()
        back = eventually(lambda: (read := traveller.sees(post.post)).node in REPLICAS and read, 5, "on replicas again")
        self.assertTrue(back.seen)
        return post

    def test_a_token_takes_a_write_along_to_another_host(self):
        post = self.take_along(self.book.visitor(), "to be seen from afar")
        given = next(cookie for cookie in post.headers.get_all("Set-Cookie") if cookie.startswith("pin="))
        self.assertEqual(set(given.split("; ")[1:]), {"Max-Age=300", "Path=/", "HttpOnly", "SameSite=Lax"})

    def test_a_newer_token_is_heeded_where_the_pin_of_an_older_one_is_released(self):
        person = self.book.visitor()
        self.take_along(person, "one")
        self.take_along(person, "another")

    def test_a_token_works_where_the_daemon_is_dead_and_one_made_there_works_elsewhere(self):
        self.pause_replay()
        person, unlucky = self.book.visitor(), self.far.visitor()
        near = person.sign("before the daemon died")
        self.addCleanup(eventually, lambda: self.far.visitor().sign("recorded again").recorded == "yes", 10)
        self.addCleanup(self.far_daemon.start)
        self.far_daemon.kill()
        for _ in "nobody answers", "and all have noticed":
            for _ in range(8):
                read = person.at(self.far, "pin").sees(near.post)
                self.assertEqual((read.node, read.seen), ("default", True), read.reason)
            self.assertTrue(all(balanced(self.far.visitor().look()) for _ in range(8)))
            eventually(lambda: person.at(self.far, "who").look().reason == "STORE_STALE", 5)
        post = unlucky.sign("while the daemon is dead")
        self.assertEqual(post.status, 303)
        self.assertNotEqual(post.recorded, "yes")
        for _ in range(8):
            read = unlucky.at(self.book, "pin").sees(post.post)
            self.assertEqual((read.node, read.reason, read.seen), ("default", "PINNED", True))

    def test_a_cookie_that_is_no_token_of_ours_changes_nothing(self):
        person = self.book.visitor()
        self.assertEqual(person.look().status, 200)
        self.assertNotIn("pin", person.cookies)
        person.sign("with a token")
        token, workers = person.cookies["pin"], self.workers()
        self.pause_replay()
        again = person.sign("whose token is good")
        self.assertEqual(signed_with(self.key, person.cookies["pin"]), person.cookies["pin"])
        self.assertEqual(person.at(self.book, "pin").sees(again.post).reason, "PINNED")
        self.resume_replay()
        bad = [signed_with(harness.random_key(), token), signed_with("0" * 64, token), token[:-1], token + "A",
               token.swapcase(), f'"{token}"', "", "=", "y", "\xff\xfe", "A" * 86, "-" * 95, "_" * 96, "x" * 12000]
        bad += [token[:i] + ("B" if token[i] == "A" else "A") + token[i + 1:] for i in range(0, 86, 5)]
        for text in bad:
            visitor = self.book.visitor()
            visitor.cookies["pin"] = text
            visit = visitor.look()
            self.assertEqual((visit.status, balanced(visit)), (200, True), text)
            self.assertEqual(visitor.cookies["pin"], text)
        self.assertEqual(self.workers(), workers, "none of them has crashed")

    def test_with_hold_a_person_stays_on_the_primary_though_replicas_have_their_write(self):
        holding = self.server(self.pg, self.daemon_, "--hold", "60000", workers=1)
        held, other = holding.visitor(), self.book.visitor()
        post, later = held.sign("held"), other.sign("not held")
        eventually(lambda: other.sees(later.post).node in REPLICAS, 5, "on replicas again")
        read = held.sees(post.post)
        self.assertEqual((read.node, read.reason, read.seen), ("default", "PINNED", True))
        self.assertGreater(read.pin_left_ms, 15_000)

    def test_a_worker_that_is_killed_is_replaced(self):
        before = self.workers()
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: len(self.workers() - {victim}) == len(before), 5, "as many workers as before")
        self.assertEqual({self.book.visitor().look().status for _ in range(10)}, {200})

    def test_a_commit_of_unknown_outcome_holds_its_person_on_the_primary(self):
        self.pg.sql(0, SLOW_COMMIT)
        self.addCleanup(self.pg.sql, 0, "drop trigger slowly on guestbook")
        person = self.book.visitor()
        self.assertEqual(person.sign("slowly").status, 504)
        until = time.monotonic() + 1.5  # replicas catch up meanwhile; a hold is not for them
        while time.monotonic() < until:
            self.assertEqual((read := person.look()).node, "default", read.reason)

    def test_a_replica_that_does_not_answer_is_answered_for_by_the_primary(self):
        self.addCleanup(eventually, lambda: self.book.visitor().look().node == "shadow-2", 20, "shadow-2 is back")
        self.addCleanup(self.pg.thaw, 2)
        self.pg.freeze(2)
        visits = [self.book.visitor().look() for _ in range(12)]
        self.assertEqual({visit.status for visit in visits}, {200})
        self.assertEqual({visit.node for visit in visits} - {"shadow-1", "default"}, set())
        self.assertIn(("default", "from shadow-2"), {(visit.node, visit.fallback) for visit in visits})

    def test_a_replica_that_restarted_is_read_again_by_every_worker_without_an_error(self):
        visits = []

        def read_by_all():
            visits.append(self.book.visitor().look())
            return len({visit.worker for visit in visits if visit.node == "shadow-2"}) == self.book.workers

        eventually(read_by_all, 20, "each worker has a connection to shadow-2")
        self.pg.kill(2)
        self.pg.start(2)
        visits.clear()
        eventually(read_by_all, 20, "shadow-2 is back")
        self.assertEqual({visit.status for visit in visits}, {200})

    def test_a_primary_that_dies_costs_writes_only(self):
        self.pg.kill(0)
        try:
            self.assertEqual(self.book.visitor().sign("nobody there").status, 503)
            visits = [self.book.visitor().look() for _ in range(10)]
            self.assertEqual({visit.status for visit in visits}, {200})
        finally:
            self.pg.start(0)
        eventually(lambda: self.book.visitor().sign("back again").status == 303, 10, "writes again")

    def test_a_server_without_a_daemon_serves_from_the_primary_it_was_told(self):
        empty = harness.Daemon(self.pg, start=False)
        self.addCleanup(empty.close)
        os.environ["PINROUTE_PRIMARY"] = "default"
        self.addCleanup(os.environ.pop, "PINROUTE_PRIMARY")
        book = self.server(self.pg, empty, "--node", "default=" + self.pg.conninfo(0, user="app"))
        visit = book.visitor().look()
        self.assertEqual((visit.status, visit.node, visit.reason), (200, "default", "STORE_UNAVAILABLE"))
        person = book.visitor()
        post = person.sign("no daemon")
        self.assertEqual(post.status, 303)
        self.assertTrue(person.sees(post.post).seen)


if __name__ == "__main__":
    unittest.main()
