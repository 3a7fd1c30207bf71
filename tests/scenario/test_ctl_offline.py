"""test_ctl_offline.py -- pinroutectl alone: its command line, its exit statuses, and what it makes of each answer.
The daemon is a socket that answers with canned JSON; the store is absent."""
# ctest: parallel
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import unittest

import harness

CTL = os.path.join(harness.BUILD, "pinroutectl")

NODE = {"name": "default", "role": "primary", "state": "UP", "admin": "ready", "why": "", "since_ms": 7384000, "lag_ms": None,
        "behind_bytes": 0, "position": "0/5A3F10", "timeline": 1, "weight": 1, "share": 0.0, "caught_up": 0,
        "stamp_age_ms": None, "check_ms": 0.412, "checks": 1203, "fails": 0}
REPLICA = {**NODE, "name": "shadow-1", "role": "replica", "since_ms": 12345, "lag_ms": 120, "behind_bytes": 2048,
           "share": 66.667, "caught_up": 41, "stamp_age_ms": 33, "weight": 2}
DOWN = {**REPLICA, "name": "shadow-2", "state": "DOWN", "why": "Connection \x1b[31mrefused", "lag_ms": None, "behind_bytes": None,
        "position": None, "share": 0.0, "check_ms": 400.0, "fails": 3}
STATUS = {"ok": True, "version": "0.1.0", "pid": 4711, "uptime_ms": 93784000, "epoch": "00ff", "degraded": False, "why": [],
          "pins": 812, "max_pins": 100000, "clients": 12,
          "clusters": [{"name": "main", "primary": "default", "open_generation": 42, "floor_left_ms": 0, "floor_why": "",
                        "schedule": ["shadow-1"], "nodes": [NODE, REPLICA, DOWN]},
                       {"name": "other", "primary": None, "open_generation": 3, "floor_left_ms": 14999, "floor_generation": 42,
                        "floor_why": "the store was lost", "without_replica": "its reads fail", "floor_cost": "it costs nothing",
                        "schedule": [], "nodes": [{**REPLICA, "state": "UNKNOWN"}]}]}
PIN = {"cluster": "main", "key": "a6b775d2026332ce30b3", "left_ms": 12345, "hold_left_ms": 0, "until_ms": 99887766,
       "generation": 41, "released": ["shadow-1", "shadow-2"]}

STATUS_TEXT = """\
pinrouted 0.1.0, pid 4711, up 1d 2h: ok
812 pins (max_pins 100000), 12 clients

cluster main: primary default, open generation 42
  schedule: shadow-1
  NODE      ROLE     STATE  ADMIN  SINCE    LAG   BEHIND  SHARE    CHECK  WHY
  default   primary  UP     ready  2h 3m      -      0 B      -    0.4ms
  shadow-1  replica  UP     ready  12.3s  120ms  2.0 KiB  66.7%    0.4ms
  shadow-2  replica  DOWN   ready  12.3s      -        -   0.0%  400.0ms  Connection ?[31mrefused

cluster other: primary -, open generation 3
  schedule: empty: its reads fail
  floor: every key needs generation 42 for 14.9s more: the store was lost
         it costs nothing
  NODE      ROLE     STATE    ADMIN  SINCE    LAG   BEHIND  SHARE  CHECK  WHY
  shadow-1  replica  UNKNOWN  ready  12.3s  120ms  2.0 KiB  66.7%  0.4ms  -
"""
NODES_TEXT = """\
NODE           ROLE     STATE  ADMIN  SINCE    LAG   BEHIND  SHARE  CHECK  WEIGHT  CAUGHT-UP  STAMP  POSITION  TIMELINE   FAILS  WHY
main/default   primary  UP     ready  2h 3m      -      0 B      -  0.4ms       1          0      -  0/5A3F10         1  0/1203
main/shadow-1  replica  UP     ready  12.3s  120ms  2.0 KiB  66.7%  0.4ms       2         41   33ms  0/5A3F10         1  0/1203
"""
PINS_TEXT = """\
CLUSTER  KEY (HASH)             LEFT   HOLD  GENERATION  RELEASED ON
main     a6b775d2026332ce30b3  12.3s      -          41  shadow-1 shadow-2
main     a6b775d2026332ce30b3  12.3s  500ms          41  -
2 of 5000 pins, the rest is not listed
"""
CLIENTS_TEXT = """\
 PID  UID  SINCE   LAST  REQUESTS
4712   33  1m 1s  250ms       977
1 client
"""
CONFIG_TEXT = """\
SECTION       KEY          VALUE          GIVEN    CHANGES AT
pinrouted     dir          /run/pinroute  default  restart
cluster main  pin_seconds  20             file     reload
token key 0badcafe, which signs
token key 1337beef
"""
STATS_TEXT = """\
NAME     VALUE
records      7
rate     0.500

CLUSTER  NODE      REASON    DECISIONS
main     shadow-1  BALANCED        977
"""
NEWS_TEXT = """\
2026-11-28 07:19:26.055  warning   cluster main: shadow-1 UP -> DOWN: gone
2026-11-28 07:19:26.056  info      config p.ini reloaded
"""


class FakeDaemon:
    """DIR/ctl.sock: `answer(request line)` says what each connection gets; bytes, or a JSON value, or None: silence."""

    def __init__(self, directory, answer):
        self.requests = []
        self.answer = answer
        self.held = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.path = os.path.join(directory, "ctl.sock")
        self.listener.bind(self.path)
        self.listener.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            line = b""
            while not line.endswith(b"\n"):
                got = peer.recv(4096)
                if not got:
                    break
                line += got
            self.requests.append(line.decode())
            answer = self.answer(line.decode().rstrip("\n"))
            if answer is None:
                self.held.append(peer)
                continue
            peer.sendall(answer if isinstance(answer, bytes) else json.dumps(answer).encode())
            peer.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        os.unlink(self.path)
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(5)
        self.listener.close()
        for peer in self.held:
            peer.close()


class Ctl(unittest.TestCase):
    maxDiff = None
    STREAMS = ("watch", "top")  # their answers have no end, or come in several questions

    def setUp(self):
        self.dir = harness.scratch()
        self.addCleanup(shutil.rmtree, self.dir)

    def run_ctl(self, *words, stdin="", env=None):
        return subprocess.run([CTL, *words], input=stdin, text=True, capture_output=True, timeout=30,
                              env={**os.environ, "PINROUTE_DIR": self.dir, **(env or {})})

    def fake(self, answers):
        """answers: one for every request, or {request: answer}."""
        def answer(line):
            return answers[line] if isinstance(answers, dict) and "ok" not in answers else answers
        daemon = FakeDaemon(self.dir, answer)
        self.addCleanup(daemon.close)
        return daemon

    def expect(self, words, status, out=None, err=None, **options):
        done = self.run_ctl(*words, **options)
        self.assertEqual(done.returncode, status, f"{words}: {done.stdout}{done.stderr}")
        if out is not None:
            self.assertEqual(done.stdout, out)
        if err is not None:
            self.assertIn(err, done.stderr)
        if status in (1, 2):
            self.assertRegex(done.stderr, r"\Apinroutectl: [^\n]+\n\Z")
        return done

    def commands(self):
        """The table of commands, as the help prints it: [(name, its arguments)]."""
        rows = re.findall(r"^  ([a-z]+) (.*?) {2,}\S", self.run_ctl("--help").stdout, re.M)
        self.assertGreaterEqual(len(rows), 9)
        return [(name, arguments.split()) for name, arguments in rows]

    def example(self, arguments):
        words = {"CLUSTER": "main", "KEY": "alice", "[SECONDS]": "7", "NODE": "main/shadow-1", "[CLUSTER]": "main"}
        return [words.get(a, a.split("|")[0]) for a in arguments]

    # ---- the command line ----

    def test_too_few_and_too_many_arguments_are_usage_errors_of_every_command(self):
        for name, arguments in self.commands():
            words = self.example(arguments)
            needed = [w for w, a in zip(words, arguments) if not a.startswith("[")]
            options = {"watch": "[-c]", "top": "[-i SECONDS] [-n COUNT]"}.get(name, "").split()
            usage = f"usage: pinroutectl {' '.join([name, *options, *arguments])}\n"
            self.expect([name, *words, "more"], 2, "", usage)
            if needed:
                self.expect([name, *needed[:-1]], 2, "", usage)

    def test_every_command_but_why_says_that_there_is_no_daemon_and_what_to_do(self):
        for name, arguments in self.commands():
            if name != "why":
                self.expect([name, *self.example(arguments)], 1, "", f"{self.dir}/ctl.sock: No such file or directory; start pinrouted")

    def test_wrong_command_lines_are_told_with_a_hint(self):
        for words, hint in [
            ([], "no command; `pinroutectl --help` lists them"),
            (["stauts"], 'unknown command "stauts", did you mean status?'),
            (["frobnicate"], 'unknown command "frobnicate"; `pinroutectl --help` lists them'),
            (["--jsn", "status"], "--jsn: unknown option"),
            (["-x"], "-x: unknown option"),
            (["-d"], "-d: what it needs is missing"),
            (["show", "node"], "say one of nodes|pins|clients|config|stats|news"),
            (["watch", "ma!n"], "not a cluster's name"),
            (["status", "-n", "3"], "-n is no option of status; usage: pinroutectl status"),
            (["top", "-c"], "-c is no option of top; usage: pinroutectl top [-i SECONDS] [-n COUNT]"),
            (["top", "-i"], "-i: what it needs is missing"),
            (["top", "-i", "0.05"], "SECONDS is one of 0.1 to 3600"),
            (["top", "-i", "1e1"], "SECONDS is one of 0.1 to 3600"),
            (["top", "-n", "0"], "COUNT is one of 1 to 1000000000"),
            (["top", "-n", "1.5"], "COUNT is one of 1 to 1000000000"),
            (["pin", "main", "k", "0"], "not one of 1..86400"),
            (["pin", "main", "k", "-5"], "-5: unknown option"),
            (["pin", "main", "k", "86401"], "not one of 1..86400"),
            (["pin", "main", "k", "5s"], "not one of 1..86400"),
            (["pin", "main", ""], "KEY is empty"),
            (["pin", "main", "x" * 4097], "KEY is too long"),
            (["why", "ma!n", "k"], "not a cluster's name"),
            (["why", "x" * 64, "k"], "not a cluster's name"),
            (["drain", "main/"], "say NODE or CLUSTER/NODE"),
            (["drain", "/x"], "say NODE or CLUSTER/NODE"),
            (["drain", "x" * 64 + "/n"], "say NODE or CLUSTER/NODE"),
        ]:
            with self.subTest(words):
                self.expect(words, 2, "", hint)

    def expect_json_failure(self, words, status, code, part, **options):
        done = self.expect(["--json", *words], status, err=part, **options)
        said = json.loads(done.stdout)
        self.assertEqual((said["ok"], said["code"]), (False, code), words)
        self.assertIn(part, said["error"])
        self.assertIn(said["error"], done.stderr)

    def test_every_failure_is_json_for_those_who_ask_for_json(self):
        absent = "No such file or directory; start pinrouted"
        for words in [["status"], ["-d", "/nonexistent", "reload"], ["drain", "shadow-1"], ["pin", "main", "k"]]:
            self.expect_json_failure(words, 1, "E_DAEMON", absent)
        for words, part in [([], "no command"), (["frob"], 'unknown command "frob"'), (["-x"], "-x: unknown option"),
                            (["show"], "too few arguments"), (["show", "x"], '"x" is not known'), (["drain", "/"], "not a node"),
                            (["pin", "main", ""], "KEY is empty"), (["pin", "main", "k", "0"], "not one of 1..86400"),
                            (["why", "ma!n", "k"], "not a cluster's name")]:
            self.expect_json_failure(words, 2, "E_INVALID", part)
        self.assertFalse(json.loads(self.expect(["-x", "--json"], 2).stdout)["ok"], "an option behind the bad one counts")
        done = subprocess.run([CTL, "--json", b"a\xff\"\n"], capture_output=True, timeout=30)
        self.assertIn('"a?\"\n"', json.loads(done.stdout)["error"])
        daemon = self.fake({"status": STATUS})
        self.expect_json_failure(["drain", "nope"], 1, "E_NODE", "no cluster has a node nope")
        self.expect_json_failure(["drain", "shadow-1"], 2, "E_INVALID", "more than one cluster")
        daemon.answer = lambda line: b"[1]"
        self.expect_json_failure(["status"], 1, "E_DAEMON", "not what was expected")
        daemon.answer = lambda line: {"ok": True, "pin": PIN, "released": False}
        self.expect_json_failure(["release", "main", "k"], 1, "E_NEWER", "has written again meanwhile")

    def test_help_and_version_are_answers(self):
        done = self.expect(["--help"], 0)
        self.assertTrue(done.stdout.startswith("usage: pinroutectl"))
        self.assertLessEqual(max(map(len, done.stdout.splitlines())), 105)
        self.assertRegex(self.expect(["-V"], 0).stdout, r"\Apinroutectl \d+\.\d+\.\d+\n\Z")

    # ---- a daemon that cannot be reached ----

    def test_a_socket_left_over_by_a_dead_daemon_is_told(self):
        left = socket.socket(socket.AF_UNIX)
        left.bind(os.path.join(self.dir, "ctl.sock"))
        left.close()
        self.expect(["status"], 1, "", "Connection refused; pinrouted is not running")

    def test_a_directory_too_long_for_a_socket_is_told(self):
        self.expect(["-d", "/" + "x" * 120, "status"], 1, "", "File name too long; name a shorter directory")

    def test_a_daemon_that_never_answers_costs_five_seconds(self):
        self.fake({"status": None})
        began = harness.time.monotonic()
        self.expect(["status"], 1, "", "ctl.sock: no answer within 5 s; pinrouted is stopped or hangs")
        took = harness.time.monotonic() - began
        self.assertGreaterEqual(took, 4.9)
        self.assertLess(took, 5 + harness.bound(0.5))

    def test_an_answer_that_is_none_is_told(self):
        for raw, told in [(b"", "closed without an answer"), (b'{"ok":tr', "the answer is not what was expected"),
                          (b"HTTP/1.1 400\r\n", "not what was expected"), (b"[1]", "not what was expected"),
                          (b'{"ok":1}', "not what was expected")]:
            with self.subTest(raw):
                with FakeDaemon(self.dir, lambda line, raw=raw: raw):
                    self.expect(["status"], 1, "", told)

    def test_a_refusal_is_passed_on_and_as_json_too(self):
        refusal = {"ok": False, "error": "no cluster named nope", "code": "E_CLUSTER"}
        self.fake(refusal)
        self.expect(["pin", "nope", "k"], 1, "", "pinroutectl: no cluster named nope (E_CLUSTER)")
        self.assertEqual(json.loads(self.expect(["--json", "pin", "nope", "k"], 1).stdout), refusal)

    # ---- answers ----

    def test_status_is_shown_and_exits_0_or_3(self):
        daemon = self.fake({"status": STATUS})
        self.expect(["status"], 0, STATUS_TEXT)
        self.assertEqual(daemon.requests, ["status\n"])
        daemon.answer = lambda line: {**STATUS, "degraded": True, "why": ["main/shadow-2 is DOWN"]}
        done = self.expect(["status"], 3)
        self.assertEqual(done.stdout, STATUS_TEXT.replace("up 1d 2h: ok\n", "up 1d 2h: DEGRADED\n  ! main/shadow-2 is DOWN\n"))
        self.expect(["--json", "status"], 3)

    def test_everything_that_can_be_shown_is_a_table(self):
        daemon = self.fake({
            "show nodes": {"ok": True, "nodes": [{"cluster": "main", **NODE}, {"cluster": "main", **REPLICA}]},
            "show pins": {"ok": True, "pins": [PIN, {**PIN, "hold_left_ms": 500, "released": []}], "total": 5000, "truncated": True},
            "show clients": {"ok": True, "clients": [{"pid": 4712, "uid": 33, "since_ms": 61000, "last_ms": 250, "requests": 977}]},
            "show config": {"ok": True, "options": [
                {"section": "pinrouted", "key": "dir", "value": "/run/pinroute", "default": True, "restart": True},
                {"section": "cluster main", "key": "pin_seconds", "value": "20", "default": False, "restart": False}],
                "token_keys": ["0badcafe", "1337beef"]},
            "show stats": {"ok": True, "stats": {"records": 7, "rate": 0.5},
                           "decisions": [{"cluster": "main", "node": "shadow-1", "reason": "BALANCED", "count": 977}]},
            "show news": {"ok": True, "news": [
                {"event": "news", "wall_ms": 1795850366055, "level": "warning", "cluster": "main", "text": "shadow-1 UP -> DOWN: gone"},
                {"event": "news", "wall_ms": 1795850366056, "level": "info", "cluster": "", "text": "config p.ini reloaded"}]},
        })
        for what, text in [("nodes", NODES_TEXT), ("pins", PINS_TEXT), ("clients", CLIENTS_TEXT), ("config", CONFIG_TEXT),
                           ("stats", STATS_TEXT), ("news", NEWS_TEXT)]:
            self.expect(["show", what], 0, text, env={"TZ": "UTC"})
        self.assertEqual(daemon.requests[0], "show nodes\n")

    def test_json_is_what_the_daemon_said_byte_for_byte(self):
        raw = b'{"ok":true,"new":{"b":1,"a":0.4120},"reloaded":true,"messages":[],"generation":3}'
        self.addCleanup(FakeDaemon(self.dir, lambda line: raw).close)
        for name, arguments in self.commands():
            if name not in ("why", "release", *self.STREAMS):
                done = self.expect([name, *self.example(arguments), "--json"], 0)
                self.assertEqual(done.stdout.encode(), raw + b"\n", name)

    def test_an_answer_without_the_members_is_shown_with_dashes(self):
        self.fake({"ok": True, "reloaded": True, "clusters": [{"nodes": [{}]}], "nodes": [{}], "pins": [{}], "clients": [{}],
                   "options": [{}], "stats": {"x": None}})
        for name, arguments in self.commands():
            if name not in ("why", "release", *self.STREAMS):
                self.expect([name, *self.example(arguments)], 0)

    def test_nothing_that_steers_a_terminal_is_printed(self):
        self.fake({"ok": True, "nodes": [{"name": "a\x1b]0;x\x07\n\x7f", "why": "\r\x1b[2J", "state": "DOWN"}]})
        self.assertNotRegex(self.expect(["show", "nodes"], 0).stdout, r"[^\n\x20-\x7e]")

    # ---- watch ----

    @staticmethod
    def stream(epoch, *numbers):
        lines = [{"ok": True, "epoch": epoch}] + [{"event": "news", "number": n, "wall_ms": 0, "level": "info", "text": f"{epoch}{n}"}
                                                  for n in numbers]
        return "".join(json.dumps(line) + "\n" for line in lines).encode()

    def test_watch_tells_each_event_once_however_often_its_connection_is_lost(self):
        answers = [self.stream("a", 1, 2), b"", self.stream("a", 1, 2, 3), self.stream("b", 1)]
        daemon = FakeDaemon(self.dir, lambda line: answers.pop(0) if answers else None)
        self.addCleanup(daemon.close)
        watch = harness.spawn([CTL, "-d", self.dir, "watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        harness.eventually(lambda: len(daemon.requests) == 5, 10)
        watch.send_signal(harness.signal.SIGINT)
        out, told = watch.communicate(timeout=10)
        self.assertEqual(watch.returncode, 0)
        self.assertEqual([line.split()[-1] for line in out.splitlines()], ["a1", "a2", "a3", "b1"])
        self.assertEqual([line.split()[3] for line in told.splitlines()], ["has", "is", "has", "is", "has"])
        self.assertEqual(daemon.requests[0], "watch %2A pins\n")

    def test_watch_ends_where_what_answers_is_no_daemon_of_ours(self):
        for raw in (b"", b"HTTP/1.1 400\r\n", b"[1]\n", b"x" * 10000):
            with FakeDaemon(self.dir, lambda line, raw=raw: raw):
                self.expect(["watch"], 1, "", "the answer is not what was expected")
        with FakeDaemon(self.dir, lambda line: {"ok": False, "error": "full", "code": "E_BUSY"}):
            self.expect_json_failure(["watch"], 1, "E_BUSY", "full")

    # ---- what is printed as it is ----

    def test_metrics_are_printed_as_they_are(self):
        self.fake({"ok": True, "metrics": "# HELP a b\na{c=\"d\"} 1\n\u001b"})
        self.expect(["metrics"], 0, '# HELP a b\na{c="d"} 1\n?')

    def test_the_names_for_completion_are_those_that_there_are_and_nothing_is_said_without(self):
        self.assertEqual((self.run_ctl("_names", "nodes").stdout, self.run_ctl("_names", "nodes").stderr), ("", ""))
        self.fake({"status": STATUS})
        self.expect(["_names", "clusters"], 0, "main\nother\n")
        self.expect(["_names", "nodes"], 0, "main/default\ndefault\nmain/shadow-1\nshadow-1\nmain/shadow-2\nshadow-2\n"
                                            "other/shadow-1\nshadow-1\n")

    def test_help_behind_a_command_is_that_one_s(self):
        done = self.expect(["top", "-h"], 0)
        self.assertTrue(done.stdout.startswith("usage: pinroutectl top [-i SECONDS] [-n COUNT]\n"), done.stdout)
        self.assertIn("  -i, --interval SECONDS ", done.stdout)
        for name, _ in self.commands():
            self.assertTrue(self.expect(["--help", name], 0).stdout.startswith(f"usage: pinroutectl {name}"))

    # ---- orders ----

    def test_a_key_crosses_the_socket_as_its_hash_only(self):
        daemon = self.fake({"ok": True, "generation": 41, "left_ms": 15000})
        self.expect(["pin", "main", "alice"], 0, "pinned for 15.0s, generation 41\n")
        self.expect(["pin", "main", "-", "20"], 0, stdin="alice\n")
        self.expect(["pin", "main", "-"], 0, stdin="alice")
        self.expect(["pin", "main", "-"], 0, stdin="alice\n\n")
        self.expect(["pin", "main", "--", "-x"], 0)
        self.expect(["pin", "main", "-"], 2, "", "KEY is empty", stdin="\n")
        self.expect(["pin", "main", "-"], 2, "", "KEY is too long", stdin="x" * 4098)
        self.expect(["pin", "main", "-"], 0, stdin="x" * 4096 + "\n")
        hashes = [re.fullmatch(r"pin main ([0-9a-f]{32}) (\d+)\n", r) for r in daemon.requests]
        self.assertTrue(all(hashes), daemon.requests)
        self.assertEqual(hashes[0][1], hashes[1][1])
        self.assertEqual(hashes[0][1], hashes[2][1])
        self.assertNotEqual(hashes[0][1], hashes[3][1], "only one newline is taken off")
        self.assertEqual([h[2] for h in hashes[:3]], ["0", "20", "0"])

    def test_release_drops_what_it_saw_and_nothing_newer(self):
        def answer(line):
            return {"ok": True, "pin": PIN} if line.startswith("peek ") else {"ok": True, "released": self.released}
        daemon = FakeDaemon(self.dir, answer)
        self.addCleanup(daemon.close)
        self.released = True
        self.expect(["release", "main", "alice"], 0, "released\n")
        key = daemon.requests[0].split()[2]
        self.assertEqual(daemon.requests, [f"peek main {key}\n", f"release main {key} 41 99887766\n"])
        self.assertEqual(json.loads(self.expect(["release", "main", "alice", "--json"], 0).stdout), {"ok": True, "released": True})
        self.released = False
        self.expect(["release", "main", "alice"], 1, "", "not released: the key has written again meanwhile")

    def test_release_of_a_key_without_a_pin_is_no_error(self):
        daemon = self.fake({"ok": True, "pin": None})
        self.expect(["release", "main", "alice"], 0, "this key has no pin\n")
        self.assertEqual(json.loads(self.expect(["release", "main", "alice", "--json"], 0).stdout), {"ok": True, "released": False})
        self.assertTrue(all(r.startswith("peek ") for r in daemon.requests))

    def test_a_node_is_found_by_its_alias_when_only_one_cluster_has_it(self):
        for order in ("drain", "maint", "ready"):
            def answer(line):
                if line == "status":
                    return STATUS
                return {"ok": True, "cluster": line.split()[1], "node": line.split()[2], "admin": line.split()[0]}
            with FakeDaemon(self.dir, answer) as daemon:
                self.expect([order, "shadow-2"], 0, f"main/shadow-2: {order}\n")
                self.expect([order, "other/shadow-1"], 0, f"other/shadow-1: {order}\n")
                self.expect([order, "shadow-1"], 2, "", "more than one cluster; say main/shadow-1 or other/shadow-1")
                self.expect([order, "shadow2"], 1, "", "did you mean shadow-2?")
                self.expect([order, "elsewhere"], 1, "", "`pinroutectl show nodes` lists them")
                self.assertEqual([r for r in daemon.requests if r != "status\n"],
                                 [f"{order} main shadow-2\n", f"{order} other shadow-1\n"])

    def test_words_are_encoded_so_that_they_stay_words(self):
        daemon = self.fake({"ok": True})
        self.expect(["drain", "a b\n%/n\u00f6de"], 0)
        self.assertEqual(daemon.requests, ["drain a%20b%0A%25 n%C3%B6de\n"])
        self.expect(["pin", "x" * 2100, "k"], 1, "", "shorten the arguments")

    def test_a_reload_that_failed_exits_1_and_lists_the_mistakes(self):
        daemon = self.fake({"ok": True, "reloaded": True, "messages": ["dir needs a restart"]})
        self.expect(["reload"], 0, "dir needs a restart\nreloaded\n")
        refusal = {"messages": ["p.ini:2: [pinrouted] x: unknown key"], "reloaded": False, "ok": False,
                   "error": "not reloaded: it stays", "code": "E_CONFIG"}
        daemon.answer = lambda line: refusal
        done = self.run_ctl("reload")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "p.ini:2: [pinrouted] x: unknown key\npinroutectl: not reloaded: it stays (E_CONFIG)\n")
        done = self.run_ctl("reload", "--json")
        self.assertEqual((done.returncode, json.loads(done.stdout)), (1, refusal))

    # ---- why, without a store ----

    def test_why_tells_what_a_worker_is_told_when_there_is_no_store(self):
        self.expect(["why", "main", "alice"], 0,
                    "STORE_UNAVAILABLE: primary, whichever the application knows\n"
                    "  there is no usable store\n"
                    f"  1 store      {self.dir}/data.mdb: it is not there: start pinrouted, or name its directory with -d"
                    " => STORE_UNAVAILABLE\n")
        said = json.loads(self.expect(["why", "main", "alice", "--json"], 0).stdout)
        self.assertEqual((said["role"], said["reason"], said["nodes"]), ("primary", "STORE_UNAVAILABLE", []))

    def test_why_calls_a_file_that_is_no_store_by_that_name(self):
        with open(os.path.join(self.dir, "data.mdb"), "wb") as f:
            f.write(b"\0" * 65536)
        self.assertIn("it is no live store of this boot", self.expect(["why", "main", "alice"], 0).stdout)

    # ---- output that goes nowhere ----

    def test_an_answer_that_cannot_be_written_is_an_error(self):
        self.fake({"status": STATUS})
        with open("/dev/full", "w") as full:
            done = subprocess.run([CTL, "-d", self.dir, "status"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
        self.assertEqual(done.returncode, 1)
        self.assertIn("stdout took not all of the answer", done.stderr)


if __name__ == "__main__":
    unittest.main()
