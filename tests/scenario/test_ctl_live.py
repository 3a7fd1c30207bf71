"""test_ctl_live.py -- pinroutectl on a real daemon: every command against a golden file, watch, and top on a real terminal.
PINROUTE_GOLDEN=write writes the golden files anew; look at what git says of them then."""
# ctest: parallel
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading
import time

import harness
from harness import eventually

CTL = os.path.join(harness.BUILD, "pinroutectl")
GOLDEN = os.path.join(harness.SOURCE, "tests", "scenario", "golden")


def settle(text):
    """What differs from run to run made the same: numbers, times, positions, hashes, addresses, and columns' widths."""
    for pattern, word in ((r"daemon started( with an empty store)?|the daemon stood still", "CAUSE"), (r"\d+\.\d+\.\d+", "VERSION"),
                          (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", "WHEN"), (r"\b\d\d:\d\d:\d\d\b", "CLOCK"),
                          (r"/\S*/pinroute-\w+", "DIR"), (r"\b[0-9A-F]+/[0-9A-F]+\b", "LSN"), (r"\b[0-9a-f]{16,20}\b", "HASH"),
                          (r"\b\d+(\.\d+)?(ms|s|m|h|d)( \d+[smh])?\b", "SPAN"), (r"\b\d+(\.\d+)? (B|KiB|MiB)", "BYTES"),
                          (r"(?<![-\w])\d+(\.\d+)?k?(?![\w.])", "N"), (r" {2,}", "  "), (r"(?m)^ +", "")):
        text = re.sub(pattern, word, text)
    return text


def settled(value):
    if isinstance(value, dict):
        return {key: settled(v) for key, v in value.items()}
    if isinstance(value, list):
        return [settled(v) for v in value]
    if isinstance(value, str):
        return settle(value)
    return "N" if isinstance(value, (int, float)) and not isinstance(value, bool) else value


class Terminal:
    """A program on a pseudo-terminal of 80 columns and 24 lines; its screen as a person sees it."""

    def __init__(self, *words, columns=80, lines=24, **env):
        self.size = (lines, columns)
        self.said = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(words[0], words, {"TERM": "xterm", "PATH": "/usr/bin:/bin", **env})
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self.fd)
        self.status = None

    def resize(self, columns, lines):
        self.size = (lines, columns)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self):
        while select.select([self.fd], [], [], 0.02)[0]:
            try:
                got = os.read(self.fd, 65536)
            except OSError:  # the other end is gone
                return
            if not got:
                return
            self.said += got

    def screen(self):
        """The newest whole frame, without colours."""
        self.read()
        frames = self.said.decode(errors="replace").split("\x1b[H")
        whole = [f for f in frames if "\x1b[J" in f]
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", whole[-1].split("\x1b[J")[0]).replace("\r", "") if whole else ""

    def shows(self, pattern, within=10):
        return eventually(lambda: re.search(pattern, self.screen()), within, what=pattern)

    def type(self, text):
        os.write(self.fd, text.encode())

    def wait(self, within=10):
        def ended():
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            return pid
        eventually(ended, within, what="ended")
        self.read()
        return self.status

    def close(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


class Lines:
    """A command that goes on: its lines, as they come."""

    def __init__(self, daemon, *words):
        self.process = harness.spawn([CTL, "-d", daemon.dir, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines, self.complaints = [], []
        self.threads = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.complaints))]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _read(pipe, to):
        for line in pipe:
            to.append(line.rstrip("\n"))
        pipe.close()

    def says(self, pattern, where=None):
        lines = self.lines if where is None else where
        return eventually(lambda: next((line for line in lines if re.search(pattern, line)), None), 10,
                          what=f"{pattern} in {lines[-10:]}")

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(10)
        for thread in self.threads:
            thread.join(10)
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


class Watch(Lines):
    def __init__(self, daemon, *words):
        super().__init__(daemon, "watch", *words)


class Live(harness.Scenario):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.pg = cls.shared(harness.Cluster(replicas=2))
        cls.common = cls.shared(harness.Daemon(cls.pg, None, cls.OPTIONS))

    OPTIONS = {"pin_seconds": 60, "max_lag": "60s"}

    def serving(self, daemon=None):
        """The common daemon, or this one, with all nodes UP, ready, and the floor of its start over."""
        daemon = daemon or self.common
        if daemon.process.poll() is not None:
            daemon.start()
        daemon.wait_log("floor over", 20)

        def settled_down():
            nodes = daemon.ask("show", "nodes")["nodes"]
            return all(n["state"] == "UP" and n["admin"] == "ready" and (n["role"] == "primary" or n["caught_up"]) for n in nodes)
        eventually(settled_down, 20)
        return daemon

    def golden(self, name, ask):
        """What is asked for comes to be what the file says: a stall of this machine in between is no change of the text."""
        path, deadline = os.path.join(GOLDEN, name), time.monotonic() + 10
        if os.environ.get("PINROUTE_GOLDEN") == "write":
            with open(path, "w", encoding="utf-8") as f:
                f.write(ask())
        with open(path, encoding="utf-8") as f:
            expected = f.read()
        while (text := ask()) != expected and time.monotonic() < deadline:
            pass
        self.assertEqual(expected, text, name)

    def compare(self, daemon, name, *words, before=lambda: None):
        """The command's two answers with the golden files of this name; before: makes things so that it says the same again."""
        def text():
            before()
            return settle(daemon.ctl(*words).stdout)

        def documents():
            before()
            said = daemon.ctl(*words, "--json").stdout
            return "".join(json.dumps(settled(json.loads(line)), indent=1) + "\n" for line in said.splitlines())
        self.golden(f"{name}.txt", text)
        self.golden(f"{name}.json", documents)

    # ---- every command ----

    def test_every_command_says_what_its_golden_file_has(self):
        daemon = self.serving(self.daemon(self.pg, None, self.OPTIONS))
        worker = self.worker(daemon)
        worker.record("main", "alice")
        eventually(lambda: worker.read("main", "alice").reason == "CAUGHT_UP", 10)
        self.compare(daemon, "status", "status")
        self.compare(daemon, "nodes", "show", "nodes")
        self.compare(daemon, "pins", "show", "pins")
        self.compare(daemon, "clients", "show", "clients")
        self.compare(daemon, "why-unpinned", "why", "main", "bob")
        self.compare(daemon, "why-caught-up", "why", "main", "alice")
        self.compare(daemon, "top", "top", "-i", "0.1", "-n", "2")
        self.compare(daemon, "pin", "pin", "main", "carol", "20")
        self.compare(daemon, "release", "release", "main", "carol", before=lambda: daemon.ctl("pin", "main", "carol"))
        self.compare(daemon, "drain", "drain", "shadow-1")
        self.compare(daemon, "maint", "maint", "main/shadow-1")
        self.compare(daemon, "ready", "ready", "shadow-1")
        self.compare(daemon, "reload", "reload")
        self.lists_agree(daemon)

    def lists_agree(self, daemon):
        """What grows with each version has no golden file: the text shows what the JSON holds."""
        stats, text = daemon.ask("show", "stats"), daemon.ctl("show", "stats").stdout
        self.assertEqual(list(stats["stats"]), re.findall(r"^([a-z_]+) +\d+$", text, re.M))
        self.assertIn("DECISIONS", text)
        config, text = daemon.ask("show", "config")["options"], daemon.ctl("show", "config").stdout.splitlines()[1:]
        self.assertEqual([row["key"] for row in config], [re.split(r" {2,}", line)[1] for line in text[:len(config)]])
        news, text = daemon.ask("show", "news")["news"], daemon.ctl("show", "news").stdout.splitlines()
        self.assertEqual([item["number"] for item in news], list(range(1, len(news) + 1)))
        for item, line in zip(news, text):
            self.assertTrue(line.endswith(("cluster main: " if item["cluster"] else "") + item["text"]), (item, line))
        metrics = daemon.ask("metrics")["metrics"]
        self.assertEqual(re.sub(r" \S+\n", "\n", daemon.ctl("metrics").stdout), re.sub(r" \S+\n", "\n", metrics))
        self.assertIn("# TYPE pinrouted_node_up gauge\n", metrics)

    # ---- why ----

    def test_why_tells_how_far_a_replica_lags_behind_a_pin_and_works_without_the_daemon(self):
        daemon = self.serving()
        self.addCleanup(self.pg.lag, 2, "0")
        self.pg.lag(2, "20s")
        self.pg.sql(0, "create table if not exists t(i int)")
        self.pg.sql(0, "insert into t select generate_series(1, 1000)")
        worker = self.worker(daemon)
        worker.record("main", "alice")
        eventually(lambda: worker.read("main", "alice").reason == "CAUGHT_UP", 10)
        self.compare(daemon, "why-lagging", "why", "main", "alice")
        daemon.ctl("drain", "shadow-1")
        worker.hold("main", "bob", 60000)
        eventually(lambda: daemon.ask("why", "main", "bob")["daemon"]["fence"]["state"] == "fenced", 10)
        self.compare(daemon, "why-held", "why", "main", "bob")
        self.compare(daemon, "why-pinned", "why", "main", "alice")
        daemon.kill()
        eventually(lambda: daemon.ask("why", "main", "alice")["reason"] == "STORE_STALE", 10)
        self.compare(daemon, "why-silent", "why", "main", "alice")
        daemon.start()
        daemon.ctl("ready", "shadow-1")

    # ---- watch ----

    def test_watch_tells_changes_and_pins_over_a_restart_until_interrupted(self):
        daemon = self.serving()
        worker = self.worker(daemon)
        watch, changes, as_json = (self._ends(Watch(daemon, *words)) for words in ((), ("-c", "main"), ("--json",)))
        for one in (watch, changes):
            one.says("info      READY: serving ")
        as_json.says('"text":"READY: serving ')
        worker.record("main", "alice")
        watch.says(rf"record    cluster main: [0-9a-f]{{20}} pinned for 1m, generation \d+, by pid {worker.pid}$")
        watch.says(r"released  cluster main: shadow-2 has every write up to generation \d+$")
        worker.hold("main", "alice", 500)
        watch.says("hold      cluster main: [0-9a-f]{20} held for 500ms, ")
        daemon.ctl("drain", "shadow-1")
        changes.says("info      cluster main: shadow-1 ready -> drain by the operator$")
        daemon.ctl("ready", "shadow-1")
        daemon.stop()
        watch.says("info      stopping$")
        watch.says("pinroutectl: the daemon has gone; waiting for it to come back", watch.complaints)
        daemon.start()
        watch.says("pinroutectl: the daemon is back", watch.complaints)
        changes.says("info      cluster main: shadow-1 UNKNOWN -> UP: the daemon before had it in its schedule$")
        as_json.says('^{"event":"back","wall_ms":')
        as_json.says('"kind":"floor","cluster":"main","node":"","from":"RAISED","to":"OVER"')
        self.assertEqual([one.interrupt() for one in (watch, changes, as_json)], [0, 0, 0])
        self.assertFalse([line for line in changes.lines if re.search("record|hold|released", line)])
        events = [json.loads(line) for line in as_json.lines]
        self.assertLessEqual({"news", "pin", "released", "lost", "back"}, {e["event"] for e in events})
        texts = [line[25:] for line in changes.lines]
        self.assertEqual(len([t for t in texts if "drain by the operator" in t]), 1, "each is told once")

    def test_watch_is_refused_where_there_is_no_such_cluster_or_no_place(self):
        daemon = self.serving()
        done = daemon.ctl("watch", "nope", check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"\Apinroutectl: no cluster named nope; `pinroutectl status` lists them \(E_CLUSTER\)\n\Z")
        watches = [self._ends(Watch(daemon, "-c")) for _ in range(8)]
        for watch in watches:
            watch.says("READY")
        done = daemon.ctl("watch", "--json", check=False)
        self.assertEqual((done.returncode, json.loads(done.stdout)["code"]), (1, "E_BUSY"))
        watches[0].interrupt()

        def finds_a_place():
            watch = self._ends(Watch(daemon))
            eventually(lambda: watch.lines or watch.process.poll() is not None, 10)
            return watch.lines
        eventually(finds_a_place, 10, what="the place of one that has gone")

    # ---- top ----

    COOKED = termios.ECHO | termios.ICANON  # what a shell finds, and top takes away

    def top(self, daemon, *words, **options):
        terminal = self._ends(Terminal(CTL, "-d", daemon.dir, "top", *words, **options))
        terminal.shows("q quit")
        return terminal

    @harness.needs_terminal
    def test_top_is_a_view_that_keys_steer_and_that_leaves_the_terminal_as_it_was(self):
        daemon = self.serving()
        top = self.top(daemon, "-i", "0.1")
        screen = top.screen()
        self.assertEqual(len(screen.splitlines()), 24)
        for line in (r"\Apinrouted \d+\.\d+\.\d+  up \S+  ok\n", r"^main/default \*  +UP \S+ ", r"^main/shadow-2  +UP \S+ ",
                     r"READY: serving /", r"^q quit  p pause  s sort: cluster  1-9 every 0.1s  h help"):
            self.assertRegex(screen, re.compile(line, re.M))
        self.assertNotIn(b"\x1b[?1049l", top.said)
        self.assertFalse(termios.tcgetattr(top.fd)[3] & self.COOKED)
        for key, shown in (("s", "s sort: state"), ("h", "q        quit"), ("?", "main/default"), ("3", "every 3s"),
                           ("p", "PAUSED  q quit  p go on"), ("\x1b[A", "PAUSED"), ("1", "every 1s"), ("p", "(?m)^q quit  p pause")):
            top.type(key)
            top.shows(shown)
        top.type("q")
        self.assertEqual(top.wait(), 0)
        self.assertTrue(top.said.endswith(b"\x1b[?25h\x1b[?1049l"), top.said[-80:])
        self.assertEqual(termios.tcgetattr(top.fd), top.before)

    @harness.needs_terminal
    def test_top_follows_the_terminal_s_size_and_colours_nothing_where_that_is_not_wanted(self):
        daemon = self.serving()
        top = self.top(daemon, "-i", "60", NO_COLOR="1")
        top.resize(120, 40)
        top.shows("CHECK      FAILS")
        self.assertEqual(len(top.screen().splitlines()), 40)
        top.resize(30, 8)
        eventually(lambda: len(top.screen().splitlines()) == 8, 10)
        self.assertLessEqual(max(map(len, top.screen().splitlines())), 30)
        self.assertNotRegex(top.said, rb"\x1b\[3\dm")
        os.kill(top.pid, signal.SIGTERM)
        self.assertEqual(top.wait(), 0)
        self.assertEqual(termios.tcgetattr(top.fd), top.before)

    @harness.needs_terminal
    def test_top_says_that_no_one_answers_and_goes_on_with_the_next_daemon(self):
        daemon = self.serving()
        top = self.top(daemon, "-i", "0.1")
        line = self._ends(Lines(daemon, "top", "-i", "0.1"))
        line.says(r" 3/3 .* ok$")
        self.assertRegex(line.lines[0], "^TIME ")
        daemon.kill()
        top.shows(r"\Ano answer for ([1-9]\d\dms|\d\.\ds): \S+/ctl.sock: Connection refused")
        self.assertIn("main/shadow-1", top.screen(), "what was known stays")
        line.says(r"no answer: \S+/ctl.sock: Connection refused")
        line.lines.clear()
        daemon.start()
        top.shows(r"\Apinrouted \S+  up ")
        line.says(r" 3/3 .* ok$")
        self.assertEqual(line.interrupt(), 0)
        os.kill(top.pid, signal.SIGINT)
        self.assertEqual(top.wait(), 0)

    @harness.needs_terminal
    def test_top_that_is_stopped_gives_the_terminal_back_and_takes_it_again(self):
        daemon = self.serving()
        shell = self._ends(Terminal("/bin/bash", "--norc", "--noediting", PS1="ready> "))
        eventually(lambda: shell.read() or b"ready> " in shell.said, 10)
        before = termios.tcgetattr(shell.fd)
        shell.type(f"{CTL} -d {daemon.dir} top -i 0.1\n")
        for _ in range(2):
            shell.shows("q quit")
            shell.type("\x1a")
            eventually(lambda: shell.read() or re.search(rb"\x1b\[\?1049l.*Stopped.*ready> \Z",
                                                         shell.said.rpartition(b"\x1b[?1049h")[2], re.S), 10)
            self.assertEqual(termios.tcgetattr(shell.fd)[3] & self.COOKED, before[3] & self.COOKED)
            shell.said = b""
            shell.type("fg\n")
            eventually(lambda: shell.read() or b"\x1b[?1049h" in shell.said, 10)
        shell.shows("q quit")
        shell.type("q")
        eventually(lambda: shell.read() or shell.said.endswith(b"ready> "), 10)
        shell.type("exit\n")
        self.assertEqual(shell.wait(), 0)

    @harness.needs_terminal
    def test_top_that_went_on_after_a_stop_it_was_not_told_of_takes_the_terminal_again(self):
        top = self.top(self.serving(), "-i", "60")
        for reset in (True, False):
            os.kill(top.pid, signal.SIGSTOP)
            self.assertTrue(os.WIFSTOPPED(os.waitpid(top.pid, os.WUNTRACED)[1]))
            if reset:  # as a shell does
                termios.tcsetattr(top.fd, termios.TCSANOW, top.before)
            top.said = b""
            os.kill(top.pid, signal.SIGCONT)
            top.shows("q quit")
            self.assertIn(b"\x1b[?1049h", top.said)
        top.type("q")
        self.assertEqual(top.wait(), 0)
        self.assertEqual(termios.tcgetattr(top.fd)[3] & self.COOKED, top.before[3] & self.COOKED)

    def test_top_on_a_pipe_has_its_heads_every_twenty_lines(self):
        daemon = self.serving()
        lines = daemon.ctl("top", "-i", "0.1", "-n", "21").stdout.splitlines()
        self.assertEqual([i for i, line in enumerate(lines) if line.startswith("TIME ")], [0, 21])
        self.assertEqual(len(lines), 23)


if __name__ == "__main__":
    import unittest
    unittest.main()
