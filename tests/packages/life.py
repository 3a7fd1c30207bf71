#!/usr/bin/env python3
"""life.py -- the life of the packages on a bare Debian 12 with a systemd of its own: installed, used, upgraded while a
pin lives, removed, purged.  `life.py DIRECTORY` (of two builds of them), by root; what each step takes is printed.

The machine is a directory and some namespaces (boot.sh); its servers are a throw-away cluster on this host.
"""
import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(SOURCE, "tests", "scenario"))
import harness  # noqa: E402  (its directory is known only now)

BARE = os.path.join(SOURCE, "build", "bare.tar")  # made once
SUITE = "bookworm"
CONFIG = "/etc/pinroute/pinrouted.ini"
PATH = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
PROXIES = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}


@contextlib.contextmanager
def step(words):
    began = time.monotonic()
    print(f"   {words} ...", end="", flush=True)
    yield
    print(f" {time.monotonic() - began:.1f} s", flush=True)


def run(*command, **options):
    done = subprocess.run(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def must(holds, otherwise):
    if not holds:
        raise AssertionError(otherwise)


def mirrors():
    """Debian's sources of this host, for the suite: [(name of the distribution, address)]."""
    rows = run("apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)", "Created-By: Packages").splitlines()
    found = [row.split()[1:] for row in sorted(set(rows)) if re.match(rf"Debian {SUITE}(-security|-updates)? ", row)]
    return found or [[SUITE, "http://deb.debian.org/debian"]]


def make_bare():
    address = next(address for name, address in mirrors() if name == SUITE)
    with tempfile.TemporaryDirectory(prefix="pinroute-bare-") as place:
        run("debootstrap", "--variant=minbase", SUITE, os.path.join(place, "root"), address, env={**PATH, **PROXIES})
        run("tar", "-C", os.path.join(place, "root"), "-cf", BARE + ".new", ".")
    os.rename(BARE + ".new", BARE)


class Machine:
    """A bare Debian, booted."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="pinroute-machine-")
        self._guard = harness.when_we_are_gone("rm", "-rf", "--one-file-system", self.root)
        self._process = None
        run("tar", "-C", self.root, "-xf", BARE)
        self.write("/etc/apt/sources.list", "".join(f"deb {address} {name} main\n" for name, address in mirrors()))
        self.write("/etc/apt/apt.conf.d/80host", "".join(
            line + "\n" for line in run("apt-config", "dump").splitlines() if re.match(r"Acquire::\S*[pP]roxy", line)))
        shutil.copy("/etc/resolv.conf", self.path("/etc/resolv.conf"))
        os.chmod(self.root, 0o755)

    def path(self, name):
        return self.root + name

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)

    def chroot(self, *command):
        return run("chroot", self.root, *command, env={**PATH, **PROXIES})

    def boot(self):
        self._process = harness.spawn([os.path.join(SOURCE, "tests", "packages", "boot.sh"), self.root], stdin=subprocess.DEVNULL,
                                      stderr=subprocess.PIPE, text=True)
        harness.eventually(self.is_up, 60, "the machine runs", every=0.1)

    def first_process(self):
        """Of the machine, as this host numbers it; None: it is not there yet."""
        pid = self._process.pid
        for _ in range(2):  # boot.sh, unshare
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
                children = f.read().split()
            if len(children) != 1:
                return None
            pid = children[0]
        with open(f"/proc/{pid}/comm", encoding="ascii") as f:
            return pid if f.read() == "systemd\n" else None

    def is_up(self):
        if self._process.poll() is not None:
            raise AssertionError(f"the machine did not boot: {self._process.stderr.read()}")
        with contextlib.suppress(AssertionError, OSError):
            return self.first_process() and self.run("systemctl", "is-system-running") == "running\n"

    def entered(self, *command, user=None, cwd="/"):
        as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []
        return ["nsenter", f"--target={self.first_process()}", "--all", "--root", "--wd", "env", "-i",
                *(f"{name}={value}" for name, value in {**PATH, **PROXIES}.items()), "sh", "-c", 'cd "$0" && exec "$@"', cwd,
                *as_user, *command]

    def run(self, *command, **how):
        """A command there, as `user`, in directory `cwd`; its output."""
        return run(*self.entered(*command, **how))

    def start(self, *command, user):
        """The same, while it runs."""
        return harness.spawn(self.entered(*command, user=user), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def write_there(self, name, text):
        """What lies on a mount of its own."""
        self.run("sh", "-c", 'printf %s "$1" >"$0"', name, text)

    def fails(self, *command, user):
        done = subprocess.run(self.entered(*command, user=user), stdin=subprocess.DEVNULL, capture_output=True)
        must(done.returncode, f"{' '.join(command)}: {user} may do that")

    def apt(self, *words):
        return self.run("apt-get", "-q", "-y", *words)

    def service(self, of):
        return self.run("systemctl", "show", "pinrouted", "--value", "-p", of).strip()

    def close(self):
        if self._process is not None and self._process.poll() is None:
            pid = self.first_process()
            if pid:
                os.kill(int(pid), signal.SIGKILL)
            self._process.communicate(timeout=30)
        shutil.rmtree(self.root)
        os.close(self._guard)


def debs(directory, revision):
    found = glob.glob(os.path.join(directory, f"*-{revision}_*.deb"))
    return [path for path in found if "-dbgsym_" not in path]


class Life:
    def __init__(self, machine, servers, directory):
        self.machine, self.servers, self.directory = machine, servers, directory

    def give(self, revision):
        """Copies that build's packages there; apt's words for them."""
        for path in debs(self.directory, revision):
            shutil.copy(path, self.machine.path("/opt"))
        return ["/opt/" + os.path.basename(path) for path in debs(self.directory, revision)]

    def assert_serves(self):
        harness.eventually(lambda: self.machine.service("ActiveState") == "active", 20, "pinrouted is active", every=0.1)

    def assert_pinned(self):
        code = ("import pinroute; r = pinroute.Router(); d = r.route_read(r.cluster('main'), b'alice'); "
                "print(d.node, pinroute.reason_name(d.reason))")
        said = self.machine.run("/usr/bin/python3", "-c", code, user="app")
        must(said == "default PINNED\n", f"alice's pin is lost: {said}")

    def installed(self):
        m = self.machine
        with step("a bare Debian 12 gets systemd, as any host has it, and a compiler"):
            m.chroot("apt-get", "-qq", "update")
            m.chroot("apt-get", "-qq", "-y", "install", "--no-install-recommends", "systemd-sysv", "gcc", "libc6-dev", "make",
                     "pkg-config")
        with step("it boots"):
            m.boot()
        with step("apt installs the packages, and the daemon runs"):
            m.apt("install", "--no-install-recommends", *self.give(1))
            self.assert_serves()
            said = m.service("StatusText")
            must(said == "0 of 0 replicas of main in rotation, 0 pins", f"its status is {said}")
            must(m.run("stat", "-c", "%U %G %a", CONFIG) == "root pinroute 640\n", "who may read the config?")
            must(m.run("stat", "-c", "%U %G %a", "/run/pinroute") == "pinroute pinroute-workers 750\n", "whose is /run/pinroute?")
            must("READY: serving /run/pinroute" in m.run("journalctl", "-u", "pinrouted"), "the journal has no READY")

    def used(self):
        m = self.machine
        with step("servers are put into the config, and a reload takes them, but not a mistake"):
            text = m.read(CONFIG)
            nodes = "\n".join(self.servers.nodes())
            text = text.replace("[cluster main]\n", "[cluster main]\nearly_release = off\npin_seconds = 300\n")
            m.write(CONFIG, re.sub(r"(?m)^default = .*$", nodes, text))
            m.run("pinrouted", "-t", "-c", CONFIG)
            m.run("systemctl", "reload", "pinrouted")
            m.write(CONFIG, m.read(CONFIG).replace("early_release = off", "early_release = of"))
            m.fails("systemctl", "reload", "pinrouted", user="root")
            m.write(CONFIG, m.read(CONFIG).replace("early_release = of\n", "early_release = off\n"))
            harness.eventually(lambda: m.service("StatusText").startswith("1 of 1 replica of main in rotation"), 20, every=0.1)
        with step("a worker's program is built with libpinroute-dev, and records a write"):
            m.run("useradd", "--create-home", "--groups", "pinroute-workers", "app")
            shutil.copytree(os.path.join(SOURCE, "tests", "outside"), m.path("/home/app/outside"))
            m.run("chown", "-R", "app:app", "/home/app")
            m.run("make", "-s", user="app", cwd="/home/app/outside")
            said = m.run("/home/app/outside/outside", "main", "alice", user="app")
            must(said.endswith("default PINNED\n"), f"outside said {said}")
            m.run("install", "/home/app/outside/outside", "/usr/local/bin")
            self.assert_pinned()
        with step("operators ask, workers record, strangers do neither"):
            m.run("useradd", "--groups", "pinroute-workers,pinroute-ops", "keeper")
            m.run("useradd", "stranger")
            m.run("pinroutectl", "pin", "main", "bob", user="keeper")
            m.fails("pinroutectl", "pin", "main", "bob", user="app")
            m.fails("pinroutectl", "pin", "main", "bob", user="stranger")
            m.fails("outside", "main", "bob", user="stranger")

    def watched(self):
        m = self.machine
        with step("systemd ends a daemon that stands still, and the next one has the pins"):
            m.run("mkdir", "-p", "/run/systemd/system/pinrouted.service.d")
            m.write_there("/run/systemd/system/pinrouted.service.d/quick.conf", "[Service]\nWatchdogSec=1s\n")
            m.run("systemctl", "daemon-reload")
            m.run("systemctl", "restart", "pinrouted")
            before = m.service("MainPID")
            time.sleep(3)  # three times what the watchdog waits for
            must(m.service("MainPID") == before, "a daemon that turns was ended")
            m.run("sh", "-c", "kill -STOP $0", before)  # a bare system has no kill(1)
            harness.eventually(lambda: m.service("NRestarts") == "1", 20, "it was ended", every=0.1)
            self.assert_serves()
            must(m.service("MainPID") != before, "it is the same daemon")
            must("Watchdog timeout" in m.run("journalctl", "-u", "pinrouted"), "it was not the watchdog")
            self.assert_pinned()
            m.run("rm", "-r", "/run/systemd/system/pinrouted.service.d")
            m.run("systemctl", "daemon-reload")
        with step("it logs to the host's syslog, when told to"):
            m.write(CONFIG, m.read(CONFIG).replace("[pinrouted]\n", "[pinrouted]\nlog_to = syslog\n", 1))
            m.run("systemctl", "restart", "pinrouted")
            self.assert_serves()
            said = "READY: serving /run/pinroute"
            harness.eventually(lambda: said in m.run("journalctl", "_TRANSPORT=syslog", "-t", "pinrouted"), 5, every=0.1)

    def upgraded(self):
        m = self.machine
        with step("an upgrade: a worker reads all the while, and never from a replica that lacks its write"):
            self.assert_pinned()
            reader = m.start("/usr/bin/python3", "-c", READER, user="app")
            config, before = m.read(CONFIG), m.service("MainPID")
            m.apt("install", "--no-install-recommends", *self.give(2))
            self.assert_serves()
            m.run("touch", "/tmp/enough")
            said, _ = reader.communicate(timeout=10)
            must(re.fullmatch(r"[1-9][0-9]{2,} reads, of default", said.strip()), f"the reader said {said}")
            must(m.service("MainPID") != before, "the upgrade left the old daemon running")
            must(m.run("dpkg-query", "-W", "-f", "${Version}", "pinrouted").endswith("-2"), "it was not upgraded")
            must(m.read(CONFIG) == config, "the upgrade changed the config")
            self.assert_pinned()

    def removed(self):
        m = self.machine
        with step("removed: the daemon ends, the config stays"):
            m.apt("remove", "pinrouted", "libpinroute0", "libpinroute-dev", "python3-pinroute")
            must(os.path.exists(m.path(CONFIG)) and not os.path.exists(m.path("/usr/sbin/pinrouted")), "what is left?")
            must(m.service("ActiveState") == "inactive", "it runs still")
        with step("purged: nothing is left but its user and groups"):
            m.apt("purge", "pinrouted")
            left = m.run("find", "/", "-xdev", "(", "-path", "/opt", "-o", "-path", "/home", "-o", "-path", "/var/log", ")",
                         "-prune", "-o", "-iname", "*pinroute*", "-print").split()
            left += m.run("find", "/run", "-iname", "*pinroute*").split()
            must(left == [], f"left: {left}")
            m.run("getent", "passwd", "pinroute")


READER = """
import os, pinroute, time
router, nodes, reads = pinroute.Router(), set(), 0
cluster = router.cluster("main")
while not os.path.exists("/tmp/enough"):
    nodes.add(router.route_read(cluster, b"alice").node)
    reads += 1
    time.sleep(0.001)
print(f"{reads} reads, of {', '.join(sorted(nodes))}")
"""


def main(directory):
    must(os.geteuid() == 0, "a machine is for root to make")
    must(debs(directory, 1) and debs(directory, 2), f"{directory} has no two builds: ./run.sh test --packages makes them")
    began = time.monotonic()
    with contextlib.ExitStack() as ends:
        if not os.path.exists(BARE):
            with step("a bare Debian 12, once, with debootstrap"):
                make_bare()
        with step("a primary and a replica on this host"):
            servers = ends.enter_context(contextlib.closing(harness.Cluster(replicas=1)))
        machine = ends.enter_context(contextlib.closing(Machine()))
        life = Life(machine, servers, directory)
        stages = [life.installed, life.used, life.watched, life.upgraded, life.removed]
        for stage in stages:
            stage()
    print(f"{len(stages)} passed, 0 failed, in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1])
