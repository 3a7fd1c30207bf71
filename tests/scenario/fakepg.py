"""fakepg.py MODE [CERTIFICATE] -- a PostgreSQL server that misbehaves as told, on a port of 127.0.0.1, printed first.
Then prints what befalls it, a line each: `connected`, `question`, `answered`, `heard HEX` (what followed when it asked
for a password), `closed`.  SIGUSR1: it hangs up.  CERTIFICATE: a file with it and its key, to speak TLS with.

    with FakePg("silent") as server:
        ... f"host=127.0.0.1 port={server.port} ..."; server.wait("connected")
"""
import os
import queue
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading

ROW = ["f", "0/3000028", "000000010000000000000003", "f", None, None, "7000000000000000001", "8192", "16777216"]
REPLICA = ["t", "0/3000028", None, "t", "streaming", "1", "7000000000000000001", "8192", "16777216"]  # of that primary


def message(kind, body=b""):
    return kind + struct.pack("!I", len(body) + 4) + body


def text(value):
    return value.encode() + b"\0"


def description(columns):
    fields = b"".join(text("c") + struct.pack("!IhIhih", 0, 0, 25, -1, -1, 0) for _ in range(columns))
    return message(b"T", struct.pack("!h", columns) + fields)


def row(values):
    cells = b""
    for value in values:
        raw = value if isinstance(value, bytes) else None if value is None else value.encode()
        cells += struct.pack("!i", -1) if raw is None else struct.pack("!I", len(raw)) + raw
    return message(b"D", struct.pack("!h", len(values)) + cells)


def error(words, severity="ERROR"):
    return message(b"E", text("S" + severity) + text("V" + severity) + text("CXX000") + text("M" + words) + b"\0")


AUTHENTICATED = message(b"R", struct.pack("!I", 0))
ASK_CLEARTEXT = message(b"R", struct.pack("!I", 3))
READY = message(b"Z", b"I")
DONE = message(b"C", text("SELECT 1"))
PARAMETER = message(b"S", text("server_version") + text("15.1"))
NOTIFY = message(b"A", struct.pack("!I", 1) + text("channel") + text("p" * 900))
NOTICE = message(b"N", text("SNOTICE") + text("C00000") + text("M" + "n" * 900) + b"\0")
HUGE = 400_000_000  # claims what a memory limit might still allow


def changed(column, value):
    return ROW[:column] + [value] + ROW[column + 1:]


class Connection:
    """One client, from its first byte on.  Each method named as a mode plays it to its end."""

    def __init__(self, client, say, tls=None):
        self.client = client
        self.say = say
        self.tls = tls

    def take(self, size):
        data = b""
        while len(data) < size:
            more = self.client.recv(size - len(data))
            if not more:
                raise ConnectionError("closed")
            data += more
        return data

    def packet(self):
        return self.take(struct.unpack("!I", self.take(4))[0] - 4)

    def startup(self):
        """Declines TLS, unless it has a certificate, and takes the startup packet."""
        while (code := struct.unpack("!I", self.packet()[:4])[0]) in (80877103, 80877104):
            if code == 80877103 and self.tls:
                self.client.sendall(b"S")
                self.client = self.tls.wrap_socket(self.client, server_side=True)
            else:
                self.client.sendall(b"N")

    def login(self):
        self.startup()
        self.welcome()

    def welcome(self):
        self.client.sendall(AUTHENTICATED + PARAMETER + message(b"K", struct.pack("!II", 1, 2)) + READY)

    def question(self):
        kind = self.take(1)
        body = self.packet()
        if kind != b"Q":
            raise ConnectionError("closed")
        self.say("question")
        return body

    def drain(self):
        while self.client.recv(65536):
            pass

    def flood(self, one):
        many = one * (1 + 65536 // len(one))
        while True:
            self.client.sendall(many)

    def answer(self, values):
        self.startup()
        self.serve(values)

    def serve(self, values):
        self.welcome()
        while True:
            self.question()
            self.client.sendall(description(len(values)) + row(values) + DONE + READY)
            self.say("answered")

    def good(self):
        self.answer(ROW)

    def replica(self):
        self.answer(REPLICA)

    def wants_tls(self):
        """Refuses who does not ask for it, so that libpq with sslmode=allow connects once more; then has none."""
        if struct.unpack("!I", self.packet()[:4])[0] != 80877103:
            self.client.sendall(error("no encryption", "FATAL"))
            return
        self.client.sendall(b"N")
        self.good()

    def gss(self):
        """Asks for Kerberos."""
        self.startup()
        self.client.sendall(message(b"R", struct.pack("!I", 7)))
        self.drain()

    def silent(self):
        self.drain()

    def ok_then_silent(self):
        self.login()
        self.question()
        self.drain()

    def drip(self):
        self.login()
        self.question()
        pause = threading.Event()
        for byte in description(900):
            self.client.sendall(bytes([byte]))
            pause.wait(0.05)  # a server that is this slow, not a wait for something

    def rows(self):
        self.login()
        self.question()
        self.client.sendall(description(len(ROW)))
        self.flood(row(ROW))

    def big_row(self):
        self.login()
        self.question()
        self.client.sendall(description(1) + b"D" + struct.pack("!IhI", HUGE, 1, HUGE - 10))
        self.flood(b"x" * 65536)

    def notify(self):
        self.login()
        self.question()
        self.client.sendall(NOTIFY + description(len(ROW)) + row(ROW) + DONE + READY)
        self.drain()

    def notify_flood(self):
        self.login()
        self.question()
        self.flood(NOTIFY)

    def notice_flood(self):
        self.login()
        self.question()
        self.flood(NOTICE)

    def notify_idle(self):
        self.login()
        self.question()
        self.client.sendall(description(len(ROW)) + row(ROW) + DONE + READY)
        self.flood(NOTIFY)

    def notice_login(self):
        self.startup()
        self.client.sendall(AUTHENTICATED)
        self.flood(NOTICE)

    def parameters(self):
        self.startup()
        self.client.sendall(AUTHENTICATED)
        n = 0
        while True:
            self.client.sendall(b"".join(message(b"S", text(f"p{n + i}") + text("v")) for i in range(2000)))
            n += 2000

    def big_error(self):
        self.startup()
        self.client.sendall(b"E" + struct.pack("!I", 2_000_000_000))
        self.flood(b"x" * 65536)

    def big_error_later(self):
        self.login()
        self.question()
        self.client.sendall(b"E" + struct.pack("!I", HUGE))
        self.flood(b"x" * 65536)

    def hear(self):
        """Whatever comes next."""
        said = self.client.recv(65536)
        self.say("heard " + said.hex())
        return said

    def cleartext(self):
        """Repeats what it hears: it knows the password now."""
        self.startup()
        self.client.sendall(ASK_CLEARTEXT)
        self.client.sendall(error(f"\x1b[2Jwrong password {self.hear()[5:-1].decode()}", "FATAL"))

    def cleartext_in_pieces(self):
        self.startup()
        pause = threading.Event()
        for byte in ASK_CLEARTEXT:
            self.client.sendall(bytes([byte]))
            pause.wait(0.01)  # so that each byte is a packet of its own
        self.hear()

    def cleartext_at_once(self):
        """Declines TLS and asks, in one packet, before anything else was said."""
        self.packet()
        self.client.sendall(b"N" + ASK_CLEARTEXT)
        self.packet()
        self.hear()

    def cleartext_after_md5(self):
        self.startup()
        self.client.sendall(message(b"R", struct.pack("!I", 5) + b"salt"))
        self.hear()
        self.client.sendall(ASK_CLEARTEXT)
        self.hear()

    def cleartext_good(self):
        self.startup()
        self.client.sendall(ASK_CLEARTEXT)
        if self.hear():
            self.serve(ROW)

    def columns(self):
        self.answer(ROW + ["one more"])

    def fewer_columns(self):
        self.answer(ROW[:-1])

    def bad_lsn(self):
        self.answer(changed(1, "0/zzzz"))

    def lie(self):
        self.answer(["maybe", "-1", "x", "y", "z", "-7", "1e9", "0", "3"])

    def zero_byte(self):
        self.answer(changed(1, b"0/30\x0028"))

    def no_row(self):
        self.login()
        self.question()
        self.client.sendall(description(len(ROW)) + message(b"C", text("SELECT 0")) + READY)
        self.drain()

    def two_rows(self):
        self.login()
        self.question()
        self.client.sendall(description(len(ROW)) + row(ROW) * 2 + DONE + READY)
        self.drain()

    def garbage(self):
        self.startup()
        self.client.sendall(os.urandom(4096))
        self.drain()

    def copy(self):
        self.login()
        self.question()
        self.client.sendall(message(b"H", struct.pack("!bh", 0, 0)))
        self.flood(message(b"d", b"x" * 900))


MODES = [name for name in vars(Connection)
         if name not in ("take", "packet", "startup", "login", "question", "drain", "flood", "answer", "__init__",
                         "welcome", "serve", "hear")
         and callable(getattr(Connection, name)) and not name.startswith("__")]


def serve(mode, certificate=None):
    tls = None
    if certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    lock = threading.Lock()
    connections = []

    def hang_up(*_):
        for connection in connections:
            try:
                connection.client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has gone already
        connections.clear()

    def say(line):
        with lock:
            print(line, flush=True)

    def play(connection):
        say("connected")
        try:
            getattr(connection, mode)()
        except OSError:
            pass
        connection.client.close()
        say("closed")

    signal.signal(signal.SIGUSR1, hang_up)
    say(listener.getsockname()[1])
    while True:
        client, _ = listener.accept()
        connections.append(Connection(client, say, tls))
        threading.Thread(target=play, args=(connections[-1],), daemon=True).start()


class FakePg:
    """The same, in a process of its own: a flood must not take the test's time."""

    def __init__(self, mode, certificate=None):
        import harness  # not for the server's own process
        assert mode in MODES, mode
        self.process = harness.spawn([sys.executable, "-B", os.path.abspath(__file__), mode,
                                      *([certificate] if certificate else [])], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.said = []
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))

    def wait(self, beginning, within=5.0):
        """The next line that begins so."""
        while True:
            line = self._lines.get(timeout=within)
            self.said.append(line)
            if line.startswith(beginning):
                return line

    def heard(self):
        """All lines so far."""
        while not self._lines.empty():
            self.said.append(self._lines.get())
        return self.said

    def conninfo(self, more=""):
        return f"host=127.0.0.1 port={self.port} user=u dbname=d sslmode=disable {more}"

    def hang_up(self):
        self.process.send_signal(signal.SIGUSR1)

    def close(self):
        self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in MODES:
        serve(*sys.argv[1:3])
    sys.exit("usage: fakepg.py " + "|".join(MODES) + " [CERTIFICATE]")
