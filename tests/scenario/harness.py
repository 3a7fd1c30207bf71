"""harness.py -- what a scenario is played with: a PostgreSQL cluster, a daemon, worker processes.
Waits for events with a deadline, never for time; ends what it started, also when a test fails or is killed.

    class Story(harness.Scenario):
        def test_a_sentence_that_holds(self):
            pg = self.cluster(replicas=2)
            daemon = self.daemon(pg)
            worker = self.worker(daemon)
            self.assertEqual(worker.record("main", "alice").status, "OK")
            eventually(lambda: worker.read("main", "alice").reason == "CAUGHT_UP", within=2)
"""
import contextlib
import ctypes
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse

SOURCE = os.environ.get("PINROUTE_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("PINROUTE_BUILD") or os.path.join(SOURCE, "build", "dev")
SANITIZE = os.environ.get("PINROUTE_SANITIZE", "")
FULL = os.environ.get("PINROUTE_FULL", "") not in ("", "0")
SANITIZER_SAID = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|bug: \S+:\d+: ")

PGCLUSTER = os.path.join(SOURCE, "tests", "pgcluster.sh")
SHARED_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

_prctl = ctypes.CDLL(None, use_errno=True).prctl
PR_SET_PDEATHSIG = 1


def size(full, part=None):
    """How often: `full` with --full, else a tenth, or `part`."""
    return full if FULL else (part if part is not None else max(1, full // 10))


def bound(seconds):
    """A bound on time, as asserted: its own figure with --full, four times that on whatever machine CI has."""
    return seconds * (1 if FULL and not SANITIZE else 4)


def eventually(predicate, within=5.0, what=None, every=0.01):
    """Polls until predicate() is true and returns what it said; AssertionError after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        said = predicate()
        if said:
            return said
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what or getattr(predicate, '__name__', predicate)} (last: {said!r})")
        time.sleep(every)


def scratch(prefix="pinroute-", memory=False):
    """A new directory, in shared memory for a store.  Its maker removes it."""
    return tempfile.mkdtemp(prefix=prefix, dir=SHARED_MEMORY if memory else None)


def gives_out_terminals():
    try:
        for fd in os.openpty():
            os.close(fd)
    except OSError:
        return False
    return True


needs_terminal = unittest.skipUnless(gives_out_terminals(), "this host gives out no terminals: mount /dev/pts")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def when_we_are_gone(*command, env=None):
    """Runs the command when this process has ended, in whatever way, or has closed the descriptor that is returned."""
    read_end, write_end = os.pipe()
    subprocess.run(["setsid", "--fork", "bash", "-c", 'read -r _; exec "$@"', "guard", *command], env=env, stdin=read_end,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    os.close(read_end)
    return write_end


def _dies_with_us():
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def spawn(command, **options):
    """A child process that is killed when the thread that started it ends, however that ends.
    In a session of its own: a Ctrl-C is for us, and we end our children in order."""
    return subprocess.Popen(command, preexec_fn=_dies_with_us, start_new_session=True, **options)


class Cluster:
    """A throw-away primary (node 0) with replicas (1..); see tests/pgcluster.sh for what can be done to it."""

    def __init__(self, replicas=2, conf=""):
        self.replicas = replicas
        self.dir = scratch("pgcluster-")
        self.env = {**os.environ, "DIR": self.dir, "NREP": str(replicas), "CONF": conf}
        self.env.pop("PORT", None)
        self._guard = when_we_are_gone(PGCLUSTER, "down", env=self.env)
        try:
            self.do("up")
        except BaseException:
            self.close()
            raise
        self.ports = [int(self.do("port", n)) for n in range(replicas + 1)]

    def do(self, *words):
        """Runs a command of pgcluster.sh and returns what it printed."""
        done = subprocess.run([PGCLUSTER, *map(str, words)], env=self.env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise RuntimeError(f"pgcluster.sh {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout.rstrip("\n")

    def lag(self, n, delay):
        self.do("lag", n, delay)

    def freeze(self, n):
        self.do("freeze", n)

    def thaw(self, n):
        self.do("thaw", n)

    def stop(self, n, mode="fast"):
        self.do("stop", n, mode)

    def start(self, n):
        self.do("start", n)

    def kill(self, n):
        self.do("kill", n)

    def crash(self, n):
        self.do("crash", n)

    def promote(self, n):
        self.do("promote", n)

    def follow(self, n, upstream):
        self.do("follow", n, upstream)

    def pid(self, n):
        return int(self.do("pid", n))

    def sql(self, n, statement):
        """One statement through a client of its own, which takes 20 ms: see session() for many."""
        return self.do("q", n, statement)

    def session(self, n, database="app", user="postgres"):
        return Session(self.ports[n], database, user)

    def conninfo(self, n, user="pinroute", database="app"):
        return f"host=127.0.0.1 port={self.ports[n]} dbname={database} user={user}"

    def nodes(self, **options):
        """Lines of a [nodes X] section: default, shadow-1, shadow-2 ...; shadow_1="weight=2" adds to one."""
        lines = []
        for n in range(self.replicas + 1):
            alias = f"shadow-{n}" if n else "default"
            extra = options.get(alias.replace("-", "_"), "")
            lines.append(f"{alias} = {self.conninfo(n)} {'' if n else 'role=primary '}{extra}".rstrip())
        return lines

    def caught_up(self, n):
        """Has replica n replayed all that the primary has written by now?"""
        here = self.sql(0, "select pg_current_wal_insert_lsn()")
        return self.sql(n, f"select pg_last_wal_replay_lsn() >= '{here}'") == "t"

    def close(self):
        if self._guard is not None:
            self.do("down")
            os.close(self._guard)
            self._guard = None
            shutil.rmtree(self.dir, ignore_errors=True)


class Session:
    """One open connection through psql: run() returns the rows of one statement as lists of text.
    Given two statements at once, psql would send them as one transaction: give them one by one."""

    END = "-- end of answer --"

    def __init__(self, port, database="app", user="postgres"):
        self.process = spawn(["/usr/lib/postgresql/15/bin/psql", "-XAtq", "-F", "\t", "-h", "127.0.0.1", "-p", str(port),
                              "-U", user, "-d", database], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"})

    def run(self, statement):
        self.process.stdin.write(f"{statement};\n\\echo {self.END}\n")
        self.process.stdin.flush()
        rows, errors = [], []
        for line in iter(self.process.stdout.readline, ""):
            line = line.rstrip("\n")
            if line == self.END:
                if errors:
                    raise RuntimeError(f"{statement}: {errors}")
                return rows
            if errors or re.match(r"(ERROR|FATAL|PANIC):", line):
                errors.append(line)
            else:
                rows.append(line.split("\t"))
        raise ConnectionError(f"psql ended: {errors or rows}")

    def value(self, statement):
        return self.run(statement)[0][0]

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


def config(directory, clusters, options=None, cluster_options=None):
    """The text of a config file.  clusters: {name: lines of its nodes}; options of [pinrouted] and of each [cluster X]."""
    text = ["[pinrouted]", f"dir = {directory}"]
    text += [f"{key} = {value}" for key, value in {"http_listen": "", **(options or {})}.items()]
    for name, nodes in clusters.items():
        text += ["", f"[cluster {name}]"]
        text += [f"{key} = {value}" for key, value in (cluster_options or {}).items()]
        text += [f"[nodes {name}]", *nodes]
    return "\n".join(text) + "\n"


def random_key():
    """A line of a key_file."""
    return secrets.token_hex(32)


class Daemon:
    """pinrouted on a directory and a config file of its own.  start() returns when it has said READY.
    Two of them stand for two hosts: with the same `keys` (random_key()), each in a key_file of its own."""

    command = [os.path.join(BUILD, "pinrouted")]  # whoever starts it in another way has its own

    def __init__(self, clusters, options=None, cluster_options=None, start=True, keys=()):
        self.dir = scratch(memory=True)
        self.keys = list(keys)
        self._guard = when_we_are_gone("rm", "-rf", self.dir)
        self.conf = os.path.join(self.dir, "pinrouted.ini")
        self.process = None
        self.log = []  # lines of stderr, of every run
        self._said = threading.Condition()
        self._reader = None
        self.write_config(clusters, options, cluster_options)
        if start:
            try:
                self.start()
            except BaseException:
                with contextlib.suppress(AssertionError):  # what went wrong first is what matters
                    self.close()
                raise

    def write_config(self, clusters, options=None, cluster_options=None):
        if isinstance(clusters, Cluster):
            clusters = {"main": clusters.nodes()}
        if self.keys:
            options = {"key_file": self.write_keys(), **(options or {})}
        self.write_text(config(self.dir, clusters, options, cluster_options))

    def write_keys(self):
        path = os.path.join(self.dir, "keys")
        with open(path, "w", encoding="ascii", opener=lambda name, flags: os.open(name, flags, 0o600)) as f:
            f.writelines(key + "\n" for key in self.keys)
        return path

    def write_text(self, text):
        with open(self.conf + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(self.conf + ".new", self.conf)

    def start(self, within=10.0, wait=True):
        assert self.process is None or self.process.poll() is not None, "it runs already"
        seen = len(self.log)
        began = time.monotonic()
        self.process = spawn([*self.command, "-c", self.conf], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True, errors="replace")
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        if wait:
            self.wait_log(r"\bREADY\b", within, seen)
        return time.monotonic() - began

    def _read(self, process):
        for line in process.stderr:
            with self._said:
                self.log.append(line.rstrip("\n"))
                self._said.notify_all()
        process.stderr.close()
        with self._said:
            self._said.notify_all()

    def wait_log(self, pattern, within=5.0, since=0):
        """The first line from number `since` on that matches; fails at once when the daemon has ended without."""
        def found():
            return next((line for line in self.log[since:] if re.search(pattern, line)), None)

        with self._said:
            self._said.wait_for(lambda: found() or not self._reader.is_alive() or self.process.poll() is not None, within)
            line = found()
        if line is None and self.process.poll() is not None:  # its last words may still be on their way
            self._reader.join(2)
            line = found()
        if line is None:
            raise AssertionError(f"pinrouted never said {pattern!r}:\n" + "\n".join(self.log[-30:]))
        return line

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        self.process.send_signal(number)

    def pause(self):
        """SIGSTOP, and not before the kernel has really stopped it."""
        self.signal(signal.SIGSTOP)
        eventually(lambda: state_of(self.pid) == "T", within=2, what="stopped")

    def resume(self):
        self.signal(signal.SIGCONT)

    def reload(self):
        self.signal(signal.SIGHUP)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait(10)
        self._reader.join(10)

    def stop(self, within=5.0):
        """SIGTERM; returns the exit status."""
        self.resume()
        self.signal(signal.SIGTERM)
        try:
            status = self.process.wait(within * (4 if SANITIZE else 1))
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("pinrouted did not end on SIGTERM:\n" + "\n".join(self.log[-30:])) from None
        self._reader.join(10)
        return status

    def ctl(self, *words, check=True):
        """Runs pinroutectl on this daemon: the finished process, with stdout, stderr, returncode."""
        done = subprocess.run([os.path.join(BUILD, "pinroutectl"), *map(str, words)], text=True, capture_output=True,
                              env={**os.environ, "PINROUTE_DIR": self.dir}, timeout=30)
        if check and done.returncode not in (0, 3):
            raise AssertionError(f"pinroutectl {' '.join(map(str, words))}: exit {done.returncode}: {done.stderr}")
        return done

    def ask(self, *words):
        """What `pinroutectl ... --json` says, decoded."""
        return json.loads(self.ctl(*words, "--json").stdout)

    def close(self):
        try:
            if self.process is not None and self.process.poll() is None:
                status = self.stop()
                assert status == 0, f"pinrouted ended with {status}:\n" + "\n".join(self.log[-30:])
            bad = [line for line in self.log if SANITIZER_SAID.search(line)]
            assert not bad, "pinrouted said:\n" + "\n".join(self.log[self.log.index(bad[0]):][:60])
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)
            os.close(self._guard)


def stat_of(pid):
    """State and parent in /proc/PID/stat; (None, None) when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            state, parent = f.read().rpartition(")")[2].split()[:2]
            return state, int(parent)
    except OSError:
        return None, None


def state_of(pid):
    """The letter in /proc: R, S, T (stopped), Z ...; None when there is no such process."""
    return stat_of(pid)[0]


def as_hex(key):
    if key is None:
        return "-"
    return (key.encode() if isinstance(key, str) else bytes(key)).hex() or "."


class Answer:
    """`status=OK node=shadow-1 ...` as attributes; numbers are int; a histogram is in counts {(node, reason): n}."""

    def __init__(self, line):
        self.line = line
        self.counts = {}
        line, _, self.endpoint = line.partition(" endpoint=")
        for word in line.split():
            name, _, value = word.rpartition("=")
            if "/" in name:
                self.counts[tuple(name.rsplit("/", 1))] = int(value)
            else:
                setattr(self, name, int(value) if value.isdigit() else value)

    def by_reason(self):
        totals = {}
        for (_, reason), n in self.counts.items():
            totals[reason] = totals.get(reason, 0) + n
        return totals

    def by_node(self):
        totals = {}
        for (node, _), n in self.counts.items():
            totals[node] = totals.get(node, 0) + n
        return totals

    def __repr__(self):
        return self.line


def run_program(name, *words, within=120):
    """Runs a scenario program of many processes to its end: the last line that it printed, as an Answer."""
    done = subprocess.run([os.path.join(BUILD, "tests", name), *map(str, words)], text=True, capture_output=True,
                          timeout=within)
    if done.returncode or SANITIZER_SAID.search(done.stderr):
        raise AssertionError(f"{name} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    answer = Answer(done.stdout.rstrip("\n").rpartition("\n")[2])
    answer.complaints = done.stderr
    return answer


class Worker:
    """An application process (worker.c) with a handle of its own.  Clusters are given by name."""

    command = [os.path.join(BUILD, "tests", "worker")]  # a subclass may start it in another way

    def __init__(self, where=None, opened=True, process=None, pipes=None, clusters=None):
        self.process = process
        self.clusters = dict(clusters or {})
        self.children = []
        if pipes:
            self.stdin, self.stdout = pipes
        else:
            self.process = spawn(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.stdin, self.stdout = self.process.stdin, self.process.stdout
            self.pid = self.process.pid
        if opened and not pipes:
            self.opened = self.open(where)

    def send(self, *words):
        """Gives the command and does not wait; answer() does."""
        self.stdin.write(" ".join(map(str, words)) + "\n")
        self.stdin.flush()

    def answer(self):
        line = self.stdout.readline()
        if not line:
            raise ConnectionError("the worker has ended")
        return Answer(line.rstrip("\n"))

    def do(self, *words):
        self.send(*words)
        return self.answer()

    def open(self, where):
        return self.do("open", where.dir if isinstance(where, Daemon) else where or "-")

    def number(self, cluster):
        if cluster not in self.clusters:
            self.clusters[cluster] = self.do("cluster", cluster).cluster
        return self.clusters[cluster]

    def read(self, cluster="main", key=None):
        return self.do("read", self.number(cluster), as_hex(key))

    def within(self, ms, cluster="main", key=None):
        """A read that may be at most so many milliseconds behind."""
        return self.do("within", self.number(cluster), as_hex(key), ms)

    def write(self, cluster="main"):
        return self.do("write", self.number(cluster))

    def reads(self, cluster="main", key=None, n=1000):
        return self.do("reads", self.number(cluster), as_hex(key), n)

    def start_spin(self, cluster="main", key=None, ms=1000):
        """Decides without a pause for `ms`; answer() fetches the counts."""
        self.send("spin", self.number(cluster), as_hex(key), ms)

    def threads(self, cluster="main", key=None, n=1000):
        """Decides n times in each of four threads at once."""
        return self.do("threads", self.number(cluster), as_hex(key), n)

    def record(self, cluster="main", key="", seconds=0):
        return self.do("record", self.number(cluster), as_hex(key), seconds)

    def records(self, cluster="main", key="", n=1, seconds=0):
        """Of KEY-0 to KEY-(n-1)."""
        return self.do("records", self.number(cluster), as_hex(key), n, seconds)

    def start_record(self, cluster="main", key="", n=1, seconds=0):
        return self.do("send", self.number(cluster), as_hex(key), n, seconds)

    def wait_record(self):
        return self.do("wait")

    def hold(self, cluster="main", key="", ms=1000):
        return self.do("hold", self.number(cluster), as_hex(key), ms)

    def endpoint(self, cluster, node):
        return self.do("endpoint", self.number(cluster), node)

    def timeout(self, ms):
        return self.do("timeout", ms)

    def scope(self, what, cluster=None, key=None):
        if what == "begin":
            return self.do("scope", "begin", self.number(cluster or "main"), as_hex(key))
        return self.do("scope", what)

    def rekey(self, key):
        return self.do("scope", "rekey", as_hex(key))

    def issue(self, cluster="main", key=""):
        """A token for the key, as .token of the answer."""
        return self.do("issue", self.number(cluster), as_hex(key))

    def accept(self, token, cluster="main"):
        """Accepts a token (any text) for the scope that was begun last."""
        return self.do("scope", "accept", self.number(cluster), as_hex(token))

    def fork(self, how="fork"):
        """A forked child of the worker, with the handle that it inherited; how: fork or rawfork."""
        place = scratch("worker-")
        paths = [os.path.join(place, name) for name in ("in", "out")]
        for path in paths:
            os.mkfifo(path)
        self.send(how, *paths)
        pipes = open(paths[0], "w", encoding="ascii"), open(paths[1], encoding="ascii")
        shutil.rmtree(place)
        answer = self.answer()
        child = Worker(pipes=pipes, clusters=self.clusters)
        assert answer.status == "OK" and child.answer().pid == answer.pid, answer
        child.pid = answer.pid
        self.children.append(child)
        return child

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.signal(signal.SIGKILL)
        if self.process:
            self.process.wait(10)
        else:
            eventually(lambda: state_of(self.pid) in (None, "Z"), what="the child's end")

    def close(self):
        for child in self.children:
            child.close()
        for pipe in (self.stdin, self.stdout):
            try:
                pipe.close()
            except BrokenPipeError:
                pass
        if self.process:
            status = self.process.wait(10)
            assert status in (0, -signal.SIGKILL), f"a worker ended with {status}"


class Server:
    """The example prefork server, with the table that it needs: see client/examples/prefork_server.c."""

    SCHEMA = """create table if not exists guestbook (id bigserial primary key, who text not null, text text not null,
                at timestamptz not null default now());
                grant all on guestbook to app; grant all on guestbook_id_seq to app"""

    def __init__(self, cluster, daemon, *options, workers=4):
        cluster.sql(0, self.SCHEMA)
        self.workers = workers
        self.log = tempfile.TemporaryFile(mode="w+", errors="replace")
        self.process = spawn([os.path.join(BUILD, "prefork_server"), "--listen", "127.0.0.1:0", "--dir", daemon.dir,
                              "--workers", str(workers), *options],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True)
        said = self.process.stdout.readline()
        if not said:
            raise AssertionError(f"the server did not start: {self.said()}")
        self.url = said.split()[-1]
        self.address = self.url.split("/")[2]

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def visitor(self):
        return Visitor(self.address)

    def close(self):
        self.process.terminate()
        status = self.process.wait(30)
        self.process.stdout.close()
        said = self.said()
        self.log.close()
        assert status == 0 and not SANITIZER_SAID.search(said), f"the server ended with {status}:\n{said}"


class Visit:
    """One answer of the server; what its X-Pinroute headers say, as worker, node, reason, fallback, recorded."""

    def __init__(self, response, began, ended):
        self.status = response.status
        self.body = response.read()
        self.headers = response.headers
        self.began, self.ended = began, ended
        self.seconds = ended - began
        for name in ("worker", "node", "reason", "fallback", "recorded"):
            setattr(self, name, self.headers.get(f"X-Pinroute-{name.capitalize()}", ""))
        self.post = int(self.headers.get("X-Guestbook-Post", 0))
        if self.headers.get_content_type() == "application/json":
            said = json.loads(self.body)
            self.seen, self.pin_left_ms = said["seen"], said["pin_left_ms"]


class Visitor:
    """A person with a browser: keeps cookies, `who` they are and the `pin` of their last write."""

    def __init__(self, address, cookies=None):
        self.address = address
        self.cookies = dict(cookies or {})

    def at(self, server, *cookies):
        """The same browser on another server, with these cookies only, if any are named."""
        return Visitor(server.address, {name: self.cookies[name] for name in cookies or self.cookies})

    def request(self, method, path, form=None):
        headers = {"Cookie": "; ".join(map("=".join, self.cookies.items()))} if self.cookies else {}
        connection = http.client.HTTPConnection(self.address, timeout=10)
        began = time.monotonic()
        connection.request(method, path, urllib.parse.urlencode(form) if form else None, headers)
        visit = Visit(connection.getresponse(), began, time.monotonic())
        connection.close()
        for given in visit.headers.get_all("Set-Cookie", ()):
            name, _, value = given.partition(";")[0].partition("=")
            self.cookies[name] = value
        return visit

    def look(self):
        return self.request("GET", "/")

    def sign(self, text):
        return self.request("POST", "/post", {"text": text})

    def sees(self, post):
        return self.request("GET", f"/seen?id={post}")


class Scenario(unittest.TestCase):
    """A TestCase that ends what it began, in reverse order."""

    def cluster(self, replicas=2, conf=""):
        return self._ends(Cluster(replicas, conf))

    def daemon(self, clusters, options=None, cluster_options=None, start=True, keys=()):
        return self._ends(Daemon(clusters, options, cluster_options, start, keys))

    def worker(self, where=None, opened=True):
        return self._ends(Worker(where, opened))

    def server(self, cluster, daemon, *options, workers=4):
        return self._ends(Server(cluster, daemon, *options, workers=workers))

    def _ends(self, thing):
        self.addCleanup(thing.close)
        return thing

    @classmethod
    def shared(cls, thing):
        """For setUpClass: ends with the class."""
        cls.addClassCleanup(thing.close)
        return thing
