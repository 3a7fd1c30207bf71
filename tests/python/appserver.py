"""appserver.py -- the guest-book of tests/python/site under a real application server, and clients that visit it.
Every request is a connection of its own, so that any worker may answer it."""
import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

import harness
from harness import eventually

SITE = os.path.join(harness.SOURCE, "tests", "python", "site")
PACKAGES = os.path.join(harness.BUILD, "python")
PYTHON = "/usr/bin/python3"
GUNICORN = [PYTHON, "-m", "gunicorn", "--worker-tmp-dir", harness.SHARED_MEMORY or tempfile.gettempdir(),
            "--log-level", "warning", "--workers", "{workers}", "--bind", "unix:{path}"]
COMMANDS = {
    "uwsgi": ["uwsgi", "--plugin", "python3", "--master", "--die-on-term", "--no-orphans", "--need-app",
              "--disable-logging", "--processes", "{workers}", "--http-socket", "{path}", "--module", "book.wsgi"],
    "gunicorn": [*GUNICORN, "book.wsgi"],
    "gunicorn --preload": [*GUNICORN, "--preload", "book.wsgi"],
    "gthread": [*GUNICORN, "--worker-class", "gthread", "--threads", "4", "book.wsgi"],
}


def environment(pg, daemon, **more):
    """Of a process that runs the site."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "PYTHONPATH": f"{PACKAGES}:{SITE}",
            "PYTHONDONTWRITEBYTECODE": "1", "DJANGO_SETTINGS_MODULE": "book.settings",
            "BOOK_PORTS": ",".join(map(str, pg.ports)), "PINROUTE_DIR": daemon.dir, **more}


def manage(pg, daemon, *words):
    """Runs a command of manage.py."""
    done = subprocess.run([PYTHON, os.path.join(SITE, "manage.py"), *words], env=environment(pg, daemon), text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    if done.returncode:
        raise AssertionError(f"manage.py {' '.join(words)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


class AppServer:
    """The site under one of COMMANDS.  Returns when every worker has answered."""

    def __init__(self, kind, pg, daemon, workers=4, **env):
        self.kind = kind
        self.count = workers
        self.dir = harness.scratch("appserver-")
        self._guard = harness.when_we_are_gone("rm", "-rf", self.dir)
        self.path = os.path.join(self.dir, "http")
        self.log = tempfile.TemporaryFile(mode="w+", errors="replace")
        command = [word.format(workers=workers, path=self.path) for word in COMMANDS[kind]]
        self.process = harness.spawn(command, env=environment(pg, daemon, **env), cwd=self.dir,
                                     stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)
        try:
            eventually(lambda: os.path.exists(self.path) or self.process.poll() is not None, 20, "a socket")
            self.wait_for_workers()
        except BaseException:
            print(self.said(), file=sys.stderr)
            self.close()
            raise

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def workers(self):
        """Pids of the processes that the server has forked to answer requests."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as f:
            return set(map(int, f.read().split()))

    def wait_for_workers(self):
        """Until every worker has answered; returns their pids."""
        answered = set()

        def all_answered():
            if self.process.poll() is not None:
                raise AssertionError(f"{self.kind} ended with {self.process.poll()}")
            with contextlib.suppress(ConnectionRefusedError):  # bound, and nobody listens yet
                answered.add(Client(self).ping().pid)
            now = self.workers()
            return answered & now if len(now) == self.count and now <= answered else None

        return eventually(all_answered, 30, f"an answer of each worker of {self.kind}")

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)
        os.close(self._guard)


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout):
        super().__init__("book", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    """Of one request: status, headers, the JSON's values as attributes, who answered (pid), the databases asked."""

    def __init__(self, response, began):
        body = response.read()
        self.seconds = time.monotonic() - began
        self.status = response.status
        self.headers = response.headers
        if self.headers.get_content_type() == "application/json":
            self.__dict__.update(json.loads(body))
        self.pid = int(self.headers.get("X-Book-Worker", 0))
        self.asked = [alias for alias in self.headers.get("X-Book-Asked", "").split(",") if alias]


class Client:
    """Nobody: shows no identity and keeps nothing."""

    def __init__(self, server, timeout=10):
        self.server = server
        self.timeout = timeout

    def request(self, method, path, values=None):
        headers = {"Connection": "close", **self.identity()}
        body = urllib.parse.urlencode(values) if values else None
        if method == "GET" and body:
            path, body = f"{path}?{body}", None
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = _Connection(self.server.path, self.timeout)
        began = time.monotonic()
        try:
            connection.request(method, path, body, headers)
            answer = Answer(connection.getresponse(), began)
        finally:
            connection.close()
        self.remember(answer)
        return answer

    def identity(self):
        """The headers by which the site knows this client."""
        return {}

    def remember(self, answer):
        """Takes from an answer what it will show from then on."""

    def ping(self):
        return self.request("GET", "/ping")

    def seen(self, text):
        return self.request("GET", "/seen", {"text": text})

    def seen_by_another(self, text, pid):
        """Looks at once, and on until another worker than `pid` has answered: all the answers."""
        for _ in range(500):
            seen = self.seen(text)
            yield seen
            if seen.pid != pid:
                return
        raise AssertionError(f"nobody but worker {pid} answers")


class Browser(Client):
    """Keeps cookies, and drops them when they have run out."""

    def __init__(self, server, timeout=10):
        super().__init__(server, timeout)
        self.cookies = {}  # name: (value, until)

    def identity(self):
        now = time.monotonic()
        kept = [f"{name}={value}" for name, (value, until) in self.cookies.items() if until > now]
        return {"Cookie": "; ".join(kept)} if kept else {}

    def remember(self, answer):
        for line in answer.headers.get_all("Set-Cookie", []):
            pair, *attributes = line.split(";")
            name, _, value = pair.partition("=")
            ages = [float(a.partition("=")[2]) for a in attributes if a.strip().lower().startswith("max-age=")]
            self.cookies[name] = value, time.monotonic() + min(ages, default=float("inf"))


class LoggedIn(Browser):
    """A browser whose user has joined and is logged in by a session."""

    def __init__(self, server, name, timeout=10):
        super().__init__(server, timeout)
        self.joined = self.request("POST", "/join", {"name": name})


class TokenClient(Client):
    """An API client without cookies: hands back the token that it was given last."""

    token = None

    def identity(self):
        return {"X-Pinroute-Token": self.token} if self.token else {}

    def remember(self, answer):
        self.token = answer.headers.get("X-Pinroute-Token", self.token)


class UserClient(Client):
    """An API client without cookies and tokens: says who its user is."""

    def __init__(self, server, name, timeout=10):
        super().__init__(server, timeout)
        self.joined = None
        self.joined = self.request("POST", "/join", {"name": name})

    def identity(self):
        return {"Authorization": f"Token {self.joined.token}"} if self.joined else {}


class UserTokenClient(UserClient, TokenClient):
    """A user's API client that hands back tokens, too."""

    def identity(self):
        return {**UserClient.identity(self), **TokenClient.identity(self)}
