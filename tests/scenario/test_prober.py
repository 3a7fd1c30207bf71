"""test_prober.py -- the prober process on real PostgreSQL, and on servers that misbehave.
Started by prober_driver.c as the core starts it; every bound on time is on the prober, not on PostgreSQL."""
import os
import re
import shutil
import signal
import socket
import subprocess
import struct
import threading
import time
import unittest

import harness
from fakepg import FakePg
from harness import bound, eventually

TIMEOUT = 400


class Result:
    """`ANSWER node=0 number=1 ... text=what is missing`: words as attributes, numbers as int."""

    def __init__(self, line):
        self.line = line
        words, _, self.text = line.partition(" text=")
        self.kind, *words = words.split()
        for word in words:
            name, _, value = word.partition("=")
            setattr(self, name, float(value) if "." in value else int(value))

    def __repr__(self):
        return self.line


class Prober:
    """The driver and the prober that it started."""

    def __init__(self, **environment):
        env = {**os.environ, **environment}
        self.process = harness.spawn([os.path.join(harness.BUILD, "tests", "prober_driver")], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
        self.pid = int(self.process.stdout.readline().split()[1])
        self.results = []
        self.ordered = []
        self.gone = None
        self._news = threading.Condition()
        self._errors = []
        self._readers = [threading.Thread(target=t, daemon=True) for t in (self._read, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read(self):
        for line in self.process.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            with self._news:
                if word == "ordered":
                    self.ordered.append(Result(line.rstrip("\n")))
                elif word == "gone":
                    self.gone = int(rest)
                else:
                    self.results.append(Result(line.rstrip("\n")))
                self._news.notify_all()

    def _read_errors(self):
        self._errors += self.process.stderr.readlines()

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def set(self, node, conninfo):
        self.say(f"set {node} {conninfo}")

    def wait(self, found, within=10.0):
        with self._news:
            if not self._news.wait_for(found, within):
                raise AssertionError(f"not within {within} s; last: {self.results[-5:]} {self._errors}")
            return found()

    def order(self, node, timeout=TIMEOUT):
        """Gives the order and returns its number."""
        before = len(self.ordered)
        self.say(f"check {node} {timeout}")
        return self.wait(lambda: self.ordered[before:])[0].number

    def result(self, number, within=10.0):
        return self.wait(lambda: next((r for r in self.results if r.number == number), None), within)

    def check(self, node, timeout=TIMEOUT):
        return self.result(self.order(node, timeout), timeout / 1000 + 10)

    def broken(self, node, since=0):
        return self.wait(lambda: next((r for r in self.results[since:] if r.kind == "BROKEN" and r.node == node), None))

    def memory_kb(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.wait(10)
        for reader in self._readers:
            reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()
        said = "".join(self._errors)
        assert not harness.SANITIZER_SAID.search(said), said


class Names:
    """A name server on 127.0.0.1: answers with `address`, with "no such name", or not at all."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.mode = "127.0.0.1"  # or "nobody", "silent"
        self.asked = 0
        self.dir = harness.scratch()
        self.path = os.path.join(self.dir, "resolv.conf")
        self.write(f"nameserver 127.0.0.1:{self.socket.getsockname()[1]}\n")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def write(self, lines):
        with open(self.path + ".new", "w", encoding="ascii") as f:
            f.write(lines)
        os.rename(self.path + ".new", self.path)

    def _serve(self):
        while True:
            question, client = self.socket.recvfrom(512)
            if question == b"end":
                return
            self.asked += 1
            if self.mode == "silent":
                continue
            name_end = question.index(b"\0", 12) + 1
            is_a = struct.unpack("!H", question[name_end:name_end + 2])[0] == 1
            found = self.mode != "nobody"
            answer = b""
            if found and is_a:
                answer = struct.pack("!HHHIH", 0xC00C, 1, 1, 0, 4) + socket.inet_aton(self.mode)
            head = struct.pack("!HHHHH", 0x8180 | (0 if found else 3), 1, 1 if answer else 0, 0, 0)
            self.socket.sendto(question[:2] + head + question[12:name_end + 4] + answer, client)

    def close(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"end", self.socket.getsockname())
        self._thread.join(10)
        self.socket.close()
        shutil.rmtree(self.dir)


class Story(harness.Scenario):
    def prober(self, **environment):
        return self._ends(Prober(**environment))

    def fake(self, mode):
        return self._ends(FakePg(mode))

    def assertFailed(self, result, said):
        self.assertEqual(result.kind, "FAILED", result)
        self.assertRegex(result.text, said)
        self.assertEqual((result.system, result.position, result.timeline), (0, 0, 0), result)

    def assertTimely(self, result, timeout=TIMEOUT):
        self.assertLess(result.took_us / 1e6, timeout / 1000 + bound(0.05), result)


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


class OnPostgres(Story):
    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(1))
        for order in ("create role locked login password 'right'", "create role plain login",
                      "grant connect on database app to plain"):
            cls.pg.sql(0, order)
        for n in (0, 1):
            hba = os.path.join(cls.pg.dir, f"n{n}", "pg_hba.conf")
            with open(hba, encoding="ascii") as f:
                lines = f.read()
            with open(hba, "w", encoding="ascii") as f:
                f.write("host all locked 127.0.0.1/32 scram-sha-256\n" + lines)
            cls.pg.sql(n, "select pg_reload_conf()")

    def setUp(self):
        """The test before may have stopped one of them."""
        eventually(lambda: self.pg.sql(1, "select status from pg_stat_wal_receiver") == "streaming", within=20)

    def set_up(self, *nodes, **environment):
        p = self.prober(**environment)
        for n in nodes or (0, 1):
            p.set(n, self.pg.conninfo(n))
        return p

    def test_a_primary_and_a_replica_say_what_psql_says(self):
        p = self.set_up()
        primary, replica = p.check(0), p.check(1)
        self.assertEqual((primary.kind, primary.in_recovery, primary.text), ("ANSWER", 0, ""))
        self.assertEqual((replica.kind, replica.in_recovery, replica.text), ("ANSWER", 1, ""))
        system = int(self.pg.sql(0, "select system_identifier from pg_control_system()"))
        self.assertEqual((primary.system, replica.system), (system, system))
        timeline = int(self.pg.sql(0, "select left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)"), 16)
        self.assertEqual((primary.timeline, replica.timeline), (timeline, timeline))
        self.assertGreater(primary.position, 0)
        self.assertGreater(replica.position, 0)

    def test_one_connection_serves_all_checks(self):
        p = self.set_up(0)
        self.assertEqual([p.check(0).connected for _ in range(5)], [1, 0, 0, 0, 0])

    def test_an_answer_is_never_older_than_its_check(self):
        p = self.set_up(0)
        session = self._ends(self.pg.session(0, user="postgres"))
        session.run("create table written (n int)")
        for n in range(50):
            session.run(f"insert into written values ({n})")
            before = lsn(session.value("select pg_current_wal_insert_lsn()"))
            said = p.check(0)
            self.assertGreaterEqual(said.position, before - 40, said)

    def test_a_replica_reaches_the_position_of_an_idle_primary_after_a_wal_switch(self):
        p = self.set_up()
        for _ in range(3):
            self.pg.sql(0, "create table if not exists filler (n int)")
            self.pg.sql(0, "insert into filler values (1)")
            self.pg.sql(0, "select pg_switch_wal()")
            raw = lsn(self.pg.sql(0, "select pg_current_wal_insert_lsn()"))
            primary = p.check(0)
            self.assertEqual(raw % (16 << 20), 40)  # just past the header of a segment
            self.assertEqual(primary.position, raw - 40)
            eventually(lambda want=primary.position: p.check(1).position >= want, within=5)

    def test_a_role_without_pg_monitor_is_told_what_it_lacks(self):
        p = self.prober()
        p.set(1, self.pg.conninfo(1, user="plain"))
        said = p.check(1)
        self.assertEqual((said.kind, said.timeline, said.text), ("ANSWER", 0, "timeline unknown: GRANT pg_monitor TO plain"))
        self.assertGreater(said.position, 0)

    def test_a_replica_that_is_cut_off_says_so(self):
        p = self.set_up(1)
        self.pg.stop(0)
        self.addCleanup(lambda: self.pg.start(0))
        said = eventually(lambda: next((r for r in [p.check(1)] if r.timeline == 0), None))
        self.assertEqual(said.kind, "ANSWER")
        self.assertIn("timeline unknown: WAL receiver is not streaming", said.text)

    def test_a_frozen_server_costs_its_own_check_the_timeout_and_no_other(self):
        p = self.set_up()
        p.check(0), p.check(1)
        self.pg.freeze(1)
        self.addCleanup(lambda: self.pg.thaw(1))
        frozen = p.order(1)
        while not any(r.number == frozen for r in p.results):
            self.assertTimely(p.check(0), 0)
        said = p.result(frozen)
        self.assertFailed(said, r"^no answer within 400 ms \(waiting for the answer\)$")
        self.assertTimely(said)
        again = p.check(1)
        self.assertFailed(again, r"^no answer within 400 ms \(connecting\)$")
        self.pg.thaw(1)
        eventually(lambda: p.check(1).kind == "ANSWER")

    def test_a_broken_connection_is_told_at_once(self):
        p = self.set_up()
        p.check(0), p.check(1)
        backend = int(self.pg.sql(1, "select pid from pg_stat_activity where application_name = 'pinrouted'"))
        before = time.monotonic() * 1000
        os.kill(backend, signal.SIGKILL)
        said = p.broken(1)
        self.assertLess(said.at - before, bound(0.05) * 1000, said)
        self.assertEqual(said.number, 0)
        self.assertEqual(said.text, "server closed the connection unexpectedly")
        eventually(lambda: p.check(1).kind == "ANSWER", within=20)
        self.assertEqual(p.check(0).connected, 0)

    def test_a_server_that_ends_says_why(self):
        p = self.set_up()
        p.check(1)
        seen = len(p.results)
        self.pg.stop(1)
        said = p.broken(1, seen)
        self.assertEqual(said.text, "FATAL: terminating connection due to administrator command")
        self.assertFailed(p.check(1), "^Connection refused$")
        self.pg.start(1)
        self.assertEqual(p.check(1).connected, 1)

    def test_what_is_wrong_with_a_log_in_is_said_in_a_line(self):
        p = self.prober()
        where = f"host=127.0.0.1 port={self.pg.ports[0]}"
        for conninfo, said in (
                (f"{where} dbname=app user=locked password=s3cret", '^FATAL: password authentication failed for user "locked"$'),
                (f"{where} dbname=app user=locked", "^fe_sendauth: no password supplied$"),
                (f"{where} dbname=none user=pinroute", '^FATAL: database "none" does not exist$'),
                (f"{where} dbname=app user=nobody_here", '^FATAL: role "nobody_here" does not exist$'),
                ("host=127.0.0.1 port=1 dbname=app user=u", "^Connection refused$"),
                ("host=/nonexistent dbname=app user=u", r"^/nonexistent/\.s\.PGSQL\.5432: No such file or directory$"),
                ("host=a,b dbname=app user=u", "several hosts"),
                ("service=x", "service="),
                ("password=one two", "^the connection string is not valid$")):
            with self.subTest(conninfo):
                p.set(7, conninfo)
                result = p.check(7)
                self.assertFailed(result, said)
                self.assertNotIn("s3cret", result.text)
        p.set(7, f"{where} dbname=app user=locked password=right")
        self.assertEqual(p.check(7).kind, "ANSWER")

    def test_a_socket_directory_and_a_literal_and_a_name_of_the_hosts_file_all_connect(self):
        p = self.prober(PINROUTE_RESOLV_CONF="/nonexistent")
        for n, host in enumerate((f"host={self.pg.dir}", "host=127.0.0.1", "host=localhost", "hostaddr=127.0.0.1",
                                  "host=anything.invalid hostaddr=127.0.0.1")):
            p.set(n, f"{host} port={self.pg.ports[0]} dbname=app user=pinroute")
            self.assertEqual(p.check(n).kind, "ANSWER", host)

    def test_the_environment_of_libpq_does_not_count(self):
        p = self.set_up(0, PGHOSTADDR="127.0.0.9", PGOPTIONS="-c nonsense=1", PGSSLMODE="verify-full", PGCONNECT_TIMEOUT="x",
                        PGSERVICE="none", PGTARGETSESSIONATTRS="standby")
        self.assertEqual(p.check(0).kind, "ANSWER")

    def test_the_session_has_its_name_and_its_limits(self):
        p = self.set_up(0)
        p.check(0)
        self.assertEqual(self.pg.sql(0, "select count(*) from pg_stat_activity where application_name = 'pinrouted'"), "1")
        p.set(3, self.pg.conninfo(0) + " options='-c search_path=x' application_name=other")
        self.assertEqual(p.check(3).kind, "ANSWER")

    def test_another_conninfo_closes_the_connection_and_the_same_does_not(self):
        p = self.set_up(0)
        p.check(0)
        p.set(0, self.pg.conninfo(0))
        self.assertEqual(p.check(0).connected, 0)
        p.set(0, self.pg.conninfo(1))
        said = p.check(0)
        self.assertEqual((said.connected, said.in_recovery), (1, 1))
        p.say("drop 0")
        self.assertFailed(p.check(0), "^not defined$")
        count = "select count(*) from pg_stat_activity where application_name = 'pinrouted'"
        eventually(lambda: self.pg.sql(0, count) == self.pg.sql(1, count) == "0")

    def test_every_misbehaving_server_ends_in_time_and_disturbs_nobody(self):
        flooded = "far more than an answer"
        for mode, said in {
                "silent": r"no answer within 400 ms \(connecting\)",
                "ok_then_silent": r"no answer within 400 ms \(waiting for the answer\)",
                "drip": r"no answer within 400 ms \(waiting for the answer\)",
                "rows": f"more than one row|{flooded}", "two_rows": "more than one row", "no_row": "no row",
                "big_row": f"{flooded}|number of columns|memory", "notify": "nobody asked for",
                "notify_flood": f"nobody asked for|{flooded}",
                "notify_idle": "", "notice_login": flooded, "notice_flood": flooded, "parameters": flooded,
                "big_error": ".", "big_error_later": f"{flooded}|.", "columns": "number of columns",
                "fewer_columns": "number of columns", "bad_lsn": "our question: WAL position",
                "lie": "our question: pg_is_in_recovery", "zero_byte": "zero byte", "garbage": ".",
                "copy": f"PGRES_COPY_OUT|{flooded}"}.items():
            with self.subTest(mode):
                self.play(mode, said)

    def play(self, mode, said):
        p = self.set_up(0)
        self.assertEqual(p.check(0).kind, "ANSWER")
        with FakePg(mode) as server:
            p.set(9, server.conninfo())
            for _ in range(harness.size(10, 3)):
                bad = p.order(9)
                slowest = 0
                while True:
                    good = p.check(0)
                    self.assertEqual(good.kind, "ANSWER", good)
                    slowest = max(slowest, good.took_us)
                    if any(r.number == bad for r in p.results):
                        break
                if not harness.SANITIZE:  # which allows no limit on memory, and so none on a huge message
                    self.assertLess(slowest / 1e6, bound(0.05))
                result = p.result(bad)
                self.assertTimely(result)
                if mode == "notify_idle":  # either the answer was not yet followed by the flood, or it was
                    self.assertTrue(result.kind == "FAILED" or p.broken(9), result)
                else:
                    self.assertFailed(result, said)
        if not harness.SANITIZE:
            self.assertLess(p.memory_kb(), 64 << 10)
        p.close()


class OnNoServer(Story):
    def test_nothing_is_asked_before_the_order(self):
        p = self.prober()
        server = self.fake("good")
        p.set(0, server.conninfo())
        self.assertEqual(p.check(0).kind, "ANSWER")
        server.wait("question")
        p.check(1)  # undefined: has passed through the loop
        self.assertNotIn("question", server.heard()[2:])
        self.assertEqual(p.check(0).connected, 0)
        server.wait("question")

    def test_a_name_that_nobody_knows_and_a_resolver_that_is_dead_disturb_nobody(self):
        names = self._ends(Names())
        server = self.fake("good")
        p = self.prober(PINROUTE_RESOLV_CONF=names.path)
        p.set(0, server.conninfo())
        p.set(1, server.conninfo().replace("host=127.0.0.1", "host=db.example"))
        self.assertEqual(p.check(0).kind, "ANSWER")
        names.mode = "nobody"
        self.assertFailed(p.check(1), "^cannot resolve db.example: ")
        names.mode = "silent"
        for _ in range(3):
            unknown = p.order(1)
            while not any(r.number == unknown for r in p.results):
                self.assertTimely(p.check(0), 0)
            self.assertFailed(p.result(unknown), r"^no answer within 400 ms \(resolving db.example\)$")
            self.assertTimely(p.result(unknown))
        names.mode = "127.0.0.1"
        eventually(lambda: p.check(1).kind == "ANSWER", within=20)

    def test_an_address_once_known_serves_on_when_the_resolver_fails(self):
        names = self._ends(Names())
        server = self.fake("good")
        p = self.prober(PINROUTE_RESOLV_CONF=names.path)
        p.set(0, server.conninfo().replace("host=127.0.0.1", "host=db.example"))
        self.assertEqual(p.check(0).kind, "ANSWER")
        for mode in ("silent", "nobody"):
            names.mode = mode
            seen = len(p.results)
            server.hang_up()
            p.broken(0, seen)
            said = p.check(0)
            self.assertEqual((said.kind, said.connected), ("ANSWER", 1))
            self.assertGreaterEqual(names.asked, 2)

    def test_a_new_resolv_conf_is_read_without_a_restart(self):
        names = self._ends(Names())
        server = self.fake("good")
        with open(names.path, encoding="ascii") as f:
            good = f.read()
        names.write("# nobody\n")
        p = self.prober(PINROUTE_RESOLV_CONF=names.path)
        p.set(0, server.conninfo().replace("host=127.0.0.1", "host=db.example"))
        self.assertFailed(p.check(0), "resolv")
        names.write(good)
        eventually(lambda: p.check(0).kind == "ANSWER")

    def test_a_core_that_does_not_read_gets_the_newest_result_of_each_node_later(self):
        p = self.prober()
        server = self.fake("good")
        p.set(0, server.conninfo())
        p.say("hold")
        orders = {}
        for turn in range(3):
            for node in range(600):
                if node != 0 or turn == 0:
                    orders[node] = p.order(node)
        p.say("go")
        for node, number in orders.items():
            self.assertEqual(p.result(number).node, node)
        self.assertEqual(p.check(0).kind, "ANSWER")

    def test_a_break_that_waits_takes_the_answer_with_it(self):
        p = self.prober()
        server = self.fake("good")
        p.set(0, server.conninfo())
        p.say("hold")
        for node in range(1, 1500):
            p.order(node)
        number = p.order(0)
        server.wait("answered")
        server.hang_up()
        eventually(lambda: self.nobody_is_connected_to(server.port))
        p.say("go")
        said = p.result(number)
        self.assertFailed(said, "closed the connection")

    def nobody_is_connected_to(self, port):
        with open("/proc/net/tcp", encoding="ascii") as f:
            rows = [line.split() for line in f][1:]
        return not any(row[2].endswith(f":{port:04X}") and row[3] in ("01", "08") for row in rows)

    def test_a_server_that_asks_for_kerberos_is_refused_before_a_name_is_resolved(self):
        """The GSS library would ask the system's resolver for db.example.test and wait for it."""
        p = self.prober()
        p.set(0, self.fake("gss").conninfo().replace("host=127.0.0.1", "host=db.example.test hostaddr=127.0.0.1"))
        p.set(1, self.fake("good").conninfo())
        for _ in range(3):
            kerberos = p.order(0)
            self.assertTimely(p.check(1), 0)
            self.assertFailed(p.result(kerberos), "^GSSAPI (name import error: .*not available|authentication not supported)")
            self.assertTimely(p.result(kerberos), 0)

    def test_a_second_socket_within_one_log_in_is_followed(self):
        p = self.prober()
        server = self.fake("wants_tls")
        p.set(0, server.conninfo().replace("sslmode=disable", "sslmode=allow"))
        self.assertEqual(p.check(0).kind, "ANSWER")
        self.assertEqual(server.heard().count("connected"), 2)

    def test_a_newer_check_overtakes(self):
        p = self.prober()
        server = self.fake("ok_then_silent")
        p.set(0, server.conninfo())
        first = p.order(0, 5000)
        server.wait("question")
        second = p.order(0, 200)
        self.assertFailed(p.result(first), "overtaken")
        self.assertFailed(p.result(second), "no answer within 200 ms")

    def test_the_prober_ends_with_its_core(self):
        p = self.prober()
        p.check(0)
        os.kill(p.pid, signal.SIGSTOP)  # also when it is too busy to see it
        p.process.kill()
        eventually(lambda: harness.state_of(p.pid) in (None, "Z"))
        q = self.prober()
        q.process.stdin.close()
        q.process.wait(10)
        self.assertEqual(q.wait(lambda: q.gone is not None and [q.gone]), [0])

    def test_a_frame_that_is_no_order_ends_it(self):
        for size in (1, 64, 1056, 4096):
            with self.subTest(size):
                p = self.prober()
                p.say(f"raw {size}")
                self.assertEqual(p.wait(lambda p=p: p.gone is not None and [p.gone]), [1])

    @unittest.skipIf(harness.SANITIZE, "a sanitizer needs the address space and the core")
    def test_the_process_is_limited(self):
        p = self.prober()
        p.check(0)
        with open(f"/proc/{p.pid}/limits", encoding="ascii") as f:
            limits = f.read()
        soft, hard = map(int, re.search(r"Max address space\s+(\d+)\s+(\d+)", limits).groups())
        self.assertEqual(hard, 512 << 20)
        self.assertLess(soft, 128 << 20)
        self.assertRegex(limits, r"Max core file size\s+0\s+0")


if __name__ == "__main__":
    unittest.main(verbosity=2)
