"""relay.py HOST UPSTREAM -- a TCP relay in front of a server, to be cut in every way that a network can be.
Prints its port, then obeys stdin, a word a line, and says `done`:

    pass     forwards, to connections that come from now on
    refuse   all connections are closed, and so is the port
    mute     connections stay, new ones are taken, and nobody is answered
    drop     the same, but the kernel drops all that comes before TCP sees it: no refusal, no acknowledgement;
             where that is not permitted, what would connect: the queue of those is full

    relay = Relay(where); ... f"host=127.0.0.1 port={relay.port} ..."; relay.do("drop")
"""
import contextlib
import ctypes
import os
import select
import socket
import struct
import subprocess
import sys

SO_ATTACH_FILTER = 26
BPF_RETURN = 6


def hears(one, up_to):
    """From now on the kernel keeps so many bytes of each packet that comes to this socket; of 0 nobody hears."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", BPF_RETURN, 0, 0, up_to))
    one.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))


class Forwarder:
    """The process itself.  upstream: a port of 127.0.0.1 or the path of a Unix socket."""

    def __init__(self, host, upstream):
        self.upstream = upstream
        self.peer = {}
        self.clients, self.crowd = [], []
        self.listener = socket.create_server((host, 0), backlog=64)
        self.forwards = True

    def run(self):
        print(self.listener.getsockname()[1], flush=True)
        while True:
            ears = [self.listener, *self.peer] if self.forwards else []
            ready, _, _ = select.select([sys.stdin, *ears], [], [])
            if sys.stdin in ready:
                self.obey(sys.stdin.readline().strip())
                continue
            for one in ready:
                if one is self.listener:
                    self.take_in()
                elif one in self.peer:
                    self.forward(one)

    def obey(self, word):
        if not word:
            sys.exit(0)
        getattr(self, word if word != "pass" else "go_on")()
        print("done", flush=True)

    def take_in(self):
        client, _ = self.listener.accept()
        server = socket.socket(socket.AF_INET if self.upstream.isdigit() else socket.AF_UNIX)
        try:
            server.connect(("127.0.0.1", int(self.upstream)) if self.upstream.isdigit() else self.upstream)
        except OSError:
            client.close()
            return
        self.peer[client], self.peer[server] = server, client
        self.clients.append(client)

    def forward(self, one):
        try:
            data = one.recv(65536)
            self.peer[one].sendall(data)
        except OSError:
            data = b""
        if not data:
            other = self.peer.pop(one)
            self.peer.pop(other, None)
            one.close()
            other.close()

    def hang_up(self):
        for one in self.peer:
            one.close()
        self.peer, self.clients = {}, []

    def go_on(self):
        self.hang_up()
        for one in self.crowd:
            one.close()
        with contextlib.suppress(PermissionError):  # then it was not made deaf either
            hears(self.listener, 0xFFFFFFFF)
        self.listener.listen(64)
        self.forwards = True

    def refuse(self):
        address = self.listener.getsockname()
        self.listener.close()
        self.hang_up()
        self.listener = socket.socket()  # takes the port, so that nobody else does, and does not listen
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        self.forwards = False

    def mute(self):
        self.forwards = False

    def drop(self):
        try:
            for one in [self.listener, *self.clients]:
                if one.fileno() >= 0:
                    hears(one, 0)
        except PermissionError:
            self.fill_queue()
        self.forwards = False

    def fill_queue(self):
        self.listener.listen(0)
        self.crowd = [socket.socket() for _ in range(4)]
        for one in self.crowd:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.listener.getsockname()[1]))


class Relay:
    """The same, in a process of its own: it must not wait for the test's threads."""

    host = "127.0.0.1"

    def __init__(self, upstream, listen="127.0.0.1", prefix=()):
        import harness  # not for the relay's own process
        self.process = harness.spawn([*prefix, sys.executable, "-B", os.path.abspath(__file__), listen, str(upstream)],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = self.process.stdout.readline()
        if not said:
            self.close()
            raise PermissionError(f"{prefix}: it did not start")
        self.port = int(said)

    def do(self, word):
        """Returns when it is so."""
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n", word

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


class Apart(Relay):
    """In a network namespace of its own, at the other end of a cable that can be pulled and goes with it.
    PermissionError: not here.  upstream: a Unix socket, which knows no namespaces."""

    def __init__(self, upstream):
        self.cable = f"pnr{os.getpid()}"
        net = os.getpid() % 0x4000 * 4  # of four addresses, in 198.18.0.0/16: another one for each run on this machine
        self.ours, self.host = (f"198.18.{net >> 8}.{(net & 255) + n}" for n in (1, 2))
        super().__init__(upstream, "0.0.0.0", ["unshare", "--net"])
        try:
            self.ip("link", "add", self.cable, "type", "veth", "peer", "name", "cable", "netns", str(self.process.pid))
            self.ip("address", "add", self.ours + "/30", "dev", self.cable)
            self.ip("link", "set", self.cable, "up")
            self.there("address", "add", self.host + "/30", "dev", "cable")
            self.do("pass")
        except (subprocess.CalledProcessError, FileNotFoundError) as e:
            super().close()
            raise PermissionError("no virtual cables here") from e

    def ip(self, *words, prefix=()):
        subprocess.run([*prefix, "ip", *words], check=True, capture_output=True)

    def there(self, *words):
        self.ip(*words, prefix=("nsenter", "--net", "--target", str(self.process.pid)))

    def do(self, word):
        if word in ("pass", "drop"):
            self.there("link", "set", "cable", "up" if word == "pass" else "down")
        if word != "drop":
            super().do(word)


if __name__ == "__main__":
    Forwarder(*sys.argv[1:]).run()
