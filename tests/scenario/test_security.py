#!/usr/bin/env python3
"""test_security.py -- what strangers, servers, workers and operators cannot do, row by row of README's threats.
What takes other users is skipped where this is not run by root."""
# ctest: parallel
import contextlib
import grp
import os
import pwd
import shutil
import socket
import stat
import subprocess
import unittest
from unittest import mock

import harness
from fakepg import FakePg
from harness import eventually
from test_crowd import prober_of
from test_prober import Prober

NO_NODES = ["default = host=127.0.0.1 port=1 dbname=app user=pinroute role=primary"]
QUICK = {"stale_after": "200ms"}  # so that a daemon in an empty directory is ready soon
AS_ROOT = unittest.skipUnless(os.geteuid() == 0, "only root can be others")
STRANGER = 12345  # a user and group that nobody has


def status(pid, *names):
    """Words of /proc/PID/status: {name: [words]}."""
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        rows = dict(line.rstrip("\n").split(":", 1) for line in f)
    return [rows[name].split() for name in names]


def content(path):
    with open(path, "rb") as f:
        return f.read()


def mode_of(path):
    return f"{stat.S_IMODE(os.lstat(path).st_mode):04o}"


def as_user(uid, gid, *command, groups=()):
    """Runs it as somebody else."""
    ids = ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
    return subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={gid}", *ids, *command], capture_output=True,
                          text=True, timeout=30)


def try_as(uid, gid, code, *args, groups=()):
    """What a line of Python says about it there: "" or the name of its error."""
    program = ("import errno, os, socket, sys\ntry:\n"
               f"    {code}\nexcept OSError as e:\n    print(errno.errorcode[e.errno])")
    done = as_user(uid, gid, "/usr/bin/python3", "-c", program, *args, groups=groups)
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout.strip()


OPEN = "os.open(sys.argv[1], os.O_RDONLY)"
WRITE = "os.open(sys.argv[1], os.O_RDWR)"
MAKE = "os.open(sys.argv[1] + '/planted', os.O_CREAT | os.O_WRONLY)"
TALK = "socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect(sys.argv[1])"
ORDER = "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(sys.argv[1])"


class Story(harness.Scenario):
    def quiet_daemon(self, options=None, start=True):
        return self.daemon({"main": NO_NODES}, {**QUICK, **(options or {})}, start=start)

    def refused(self, daemon, said):
        """It does not start, and says why."""
        daemon.start(wait=False)
        self.assertEqual(daemon.process.wait(20), 1)
        return daemon.wait_log(said)

    def assertServes(self, daemon):
        worker = self.patient_worker(daemon)
        self.assertEqual(worker.record("main", "alice").status, "OK")
        self.assertPinned(worker, "alice")

    def patient_worker(self, daemon):
        worker = self.worker(daemon)
        worker.timeout(20_000)
        return worker

    def assertPinned(self, worker, key):
        """By and by: on a busy machine a heartbeat may come later than stale_after, and pins are not asked for."""
        def reason():
            said = worker.read("main", key).reason
            return said if said != "STORE_STALE" else None

        self.assertEqual(eventually(reason, within=20), "PINNED")


class Directory(Story):
    def modes(self, daemon):
        names = ("", "pinrouted.lock", "data.mdb", "lock.mdb", "pinrouted.sock", "ctl.sock")
        return {name or "dir": mode_of(os.path.join(daemon.dir, name)) for name in names}

    def test_files_have_their_modes_whatever_the_umask(self):
        right = {"dir": "0750", "pinrouted.lock": "0600", "data.mdb": "0640", "lock.mdb": "0600",
                 "pinrouted.sock": "0660", "ctl.sock": "0600"}
        for mask in (0o000, 0o077, 0o777):
            with self.subTest(f"{mask:04o}"):
                daemon = self.quiet_daemon(start=False)
                was = os.umask(mask)
                try:
                    daemon.start()
                finally:
                    os.umask(was)
                self.assertEqual(self.modes(daemon), right)
                with self.subTest("and again where they lie already, open to all"):
                    daemon.stop()
                    os.chmod(daemon.dir, 0o777)
                    for name in ("pinrouted.lock", "data.mdb", "lock.mdb"):
                        os.chmod(os.path.join(daemon.dir, name), 0o666)
                    daemon.start()
                    self.assertEqual(self.modes(daemon), right)
                    self.assertServes(daemon)

    def test_a_directory_that_others_use_too_is_left_as_it_is(self):
        for mode, stranger in ((0o1777, None), (0o755, "of-somebody-else")):
            daemon = self.quiet_daemon(start=False)
            if stranger:
                with open(os.path.join(daemon.dir, stranger), "x", encoding="ascii"):
                    pass
            os.chmod(daemon.dir, mode)
            daemon.start(wait=False)
            daemon.wait_log(f"name a directory of its own, such as {daemon.dir}/pinroute")
            self.assertEqual(daemon.process.wait(10), 1)
            self.assertEqual(stat.S_IMODE(os.stat(daemon.dir).st_mode), mode)
            daemon.process = None

    def test_what_was_planted_before_the_start_is_removed_and_what_it_leads_to_stays(self):
        elsewhere = harness.scratch(memory=True)
        self.addCleanup(shutil.rmtree, elsewhere)
        for name in ("data.mdb", "lock.mdb"):
            with open(os.path.join(elsewhere, name), "wb") as f:
                f.write(b"precious")
        victim = os.path.join(elsewhere, "data.mdb")
        plants = {"a link to a file": lambda path: os.symlink(victim, path),
                  "a link to a directory": lambda path: os.symlink(elsewhere, path),
                  "another name of a file": lambda path: os.link(victim, path),
                  "a pipe": os.mkfifo, "a directory": os.mkdir}
        names = ("data.mdb", "lock.mdb", "new", "pinrouted.sock", "ctl.sock")
        for turn in range(harness.size(len(plants), 2)):
            pairs = [(name, list(plants)[(i + turn) % len(plants)]) for i, name in enumerate(names)]
            with self.subTest(pairs):
                daemon = self.quiet_daemon(start=False)
                os.chmod(daemon.dir, 0o777)
                for name, what in pairs:
                    plants[what](os.path.join(daemon.dir, name))
                daemon.start()
                self.assertServes(daemon)
                self.assertEqual(mode_of(daemon.dir), "0750")
                for name, what in pairs:
                    if (name, what) != ("new", "a directory"):
                        daemon.wait_log(rf"/{name}: .*, put there by uid {os.geteuid()}: removed")
                for name in ("data.mdb", "lock.mdb"):
                    self.assertEqual(content(os.path.join(elsewhere, name)), b"precious")

    def test_a_lock_that_pinrouted_did_not_make_is_refused_and_stays(self):
        victim = os.path.join(harness.scratch(memory=True), "file")
        self.addCleanup(shutil.rmtree, os.path.dirname(victim))
        with open(victim, "wb") as f:
            f.write(b"precious")
        for what, plant in {"a link": lambda path: os.symlink(victim, path), "a pipe": os.mkfifo,
                            "another name": lambda path: os.link(victim, path)}.items():
            with self.subTest(what):
                daemon = self.quiet_daemon(start=False)
                plant(os.path.join(daemon.dir, "pinrouted.lock"))
                self.refused(daemon, r"pinrouted\.lock")
                self.assertEqual(content(victim), b"precious")

    def test_a_directory_that_is_a_link_or_lies_where_all_can_write_is_refused(self):
        daemon = self.quiet_daemon(start=False)
        place = harness.scratch(memory=True)
        self.addCleanup(shutil.rmtree, place)
        real, link, below = (os.path.join(place, name) for name in ("real", "link", "open/run"))
        os.mkdir(real)
        os.symlink(real, link)
        os.makedirs(below)
        os.chmod(os.path.dirname(below), 0o777)
        for path, said in ((link, "not a symbolic link"), (below, "everybody can write to .*open")):
            daemon.write_text(harness.config(path, {"main": NO_NODES}))
            self.refused(daemon, said)
        self.assertEqual(os.listdir(real) + os.listdir(below), [])

    @AS_ROOT
    def test_a_whole_store_that_strangers_planted_and_hold_open_does_them_no_good(self):
        """As if their own pinrouted had made it: right in every byte, and theirs to change afterwards."""
        daemon = self.quiet_daemon()
        daemon.stop()
        names = [os.path.join(daemon.dir, name) for name in ("data.mdb", "lock.mdb")]
        for name in names:
            os.chown(name, STRANGER, STRANGER)
            os.chmod(name, 0o666)
        os.chmod(daemon.dir, 0o777)
        hold = ("import fcntl, os, sys\n"
                "held = [os.open(name, os.O_RDWR) for name in sys.argv[1:]]\n"
                "[fcntl.lockf(fd, fcntl.LOCK_EX) for fd in held]\n"
                "print('ready', flush=True)\nsys.stdin.read()\n"
                "[os.pwrite(fd, b'evil' * 40960, 0) for fd in held]\nprint('done', flush=True)")
        stranger = harness.spawn(["setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups",
                                  "/usr/bin/python3", "-c", hold, *names],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for end in (stranger.wait, stranger.stdout.close, stranger.stdin.close, stranger.kill):
            self.addCleanup(end)
        self.assertEqual(stranger.stdout.readline(), "ready\n")
        daemon.start()
        for name in names:
            daemon.wait_log(f"{name}: another user's, put there by uid {STRANGER}: removed")
        self.assertServes(daemon)
        stranger.stdin.close()
        self.assertEqual(stranger.stdout.readline(), "done\n")
        self.assertServes(daemon)
        self.assertTrue(daemon.ask("status")["ok"])

    @AS_ROOT
    def test_a_lock_or_a_directory_on_the_way_of_strangers_is_refused(self):
        daemon = self.quiet_daemon(start=False)
        lock = os.path.join(daemon.dir, "pinrouted.lock")
        with open(lock, "wb"):
            os.chown(lock, STRANGER, STRANGER)
        self.refused(daemon, rf"pinrouted\.lock is not a file that pinrouted made \(uid {STRANGER}")
        place = harness.scratch(memory=True)
        self.addCleanup(shutil.rmtree, place)
        os.mkdir(os.path.join(place, "run"))
        os.chown(place, STRANGER, STRANGER)
        daemon.write_text(harness.config(os.path.join(place, "run"), {"main": NO_NODES}))
        self.refused(daemon, rf"{place} on the way to it belongs to uid {STRANGER}")

    @AS_ROOT
    def test_strangers_are_kept_out_and_workers_read_and_record_and_no_more(self):
        workers = pwd.getpwnam("www-data")
        daemon = self.quiet_daemon({"group": grp.getgrgid(workers.pw_gid).gr_name})
        at = {name: os.path.join(daemon.dir, name)
              for name in ("data.mdb", "lock.mdb", "pinrouted.lock", "pinrouted.sock", "ctl.sock")}
        for code, path in ((OPEN, "data.mdb"), (OPEN, "lock.mdb"), (OPEN, "pinrouted.lock"), (TALK, "pinrouted.sock"),
                           (ORDER, "ctl.sock")):
            self.assertEqual(try_as(STRANGER, STRANGER, code, at[path]), "EACCES", (code, path))
        self.assertEqual(try_as(STRANGER, STRANGER, MAKE, daemon.dir), "EACCES")
        worker = (workers.pw_uid, workers.pw_gid)
        self.assertEqual((try_as(*worker, OPEN, at["data.mdb"]), try_as(*worker, TALK, at["pinrouted.sock"])), ("", ""))
        for code, path in ((WRITE, "data.mdb"), (OPEN, "lock.mdb"), (OPEN, "pinrouted.lock"), (ORDER, "ctl.sock")):
            self.assertEqual(try_as(*worker, code, at[path]), "EACCES", (code, path))
        self.assertEqual(try_as(*worker, MAKE, daemon.dir), "EACCES")
        self.assertEqual(try_as(STRANGER, STRANGER, OPEN, at["data.mdb"], groups=[workers.pw_gid]), "", "also")


@AS_ROOT
class Drop(Story):
    """Root's daemon becomes `user`."""

    USER, GROUP = "daemon", "www-data"

    def setUp(self):
        self.user = pwd.getpwnam(self.USER)
        self.group = grp.getgrnam(self.GROUP).gr_gid

    def dropping(self, options=None, **more):
        return self.quiet_daemon({"user": self.USER, "group": self.GROUP, **(options or {})}, **more)

    def test_daemon_and_prober_are_the_user_for_good_and_the_directory_is_theirs(self):
        daemon = self.dropping()
        uid, gid = str(self.user.pw_uid), str(self.user.pw_gid)
        for pid in (daemon.pid, eventually(lambda: prober_of(daemon))):
            uids, gids, groups, permitted, effective, ambient, no_new = status(
                pid, "Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs")
            self.assertEqual((uids, gids), ([uid] * 4, [gid] * 4))
            self.assertEqual(set(groups), {gid, str(self.group)})
            self.assertEqual({int(caps[0], 16) for caps in (permitted, effective, ambient)}, {0})
            self.assertEqual(no_new, ["1"])
        for name, mode, group in (("", "0750", self.group), ("data.mdb", "0640", self.group),
                                  ("pinrouted.sock", "0660", self.group), ("ctl.sock", "0600", None),
                                  ("lock.mdb", "0600", None), ("pinrouted.lock", "0600", None)):
            st = os.lstat(os.path.join(daemon.dir, name))
            self.assertEqual((mode_of(os.path.join(daemon.dir, name)), st.st_uid), (mode, self.user.pw_uid), name)
            self.assertTrue(group is None or st.st_gid == group, name)
        self.assertServes(daemon)
        self.assertTrue(daemon.ask("status")["ok"], "root is an operator")
        self.assertTrue(daemon.ask("reload")["ok"])

    def test_a_directory_that_is_not_there_is_made_and_given(self):
        daemon = self.dropping(start=False)
        place = os.path.join(harness.scratch(memory=True), "run")
        self.addCleanup(shutil.rmtree, os.path.dirname(place))
        os.chmod(os.path.dirname(place), 0o755)
        daemon.write_text(harness.config(place, {"main": NO_NODES}, {**QUICK, "user": self.USER}))
        os.chmod(daemon.dir, 0o755)  # the config lies there
        daemon.start()
        self.assertEqual((os.stat(place).st_uid, mode_of(place)), (self.user.pw_uid, "0750"))

    def test_a_reload_says_which_file_the_user_cannot_read_and_the_old_config_stays(self):
        daemon = self.dropping(start=False)
        daemon.keys = [harness.random_key()]
        daemon.write_config({"main": NO_NODES}, {**QUICK, "user": self.USER, "group": self.GROUP})
        os.chmod(os.path.join(daemon.dir, "keys"), 0o600)
        os.chmod(daemon.conf, 0o644)
        daemon.start()  # root reads what it may
        daemon.wait_log(rf"/keys: {self.USER} cannot read it, so a reload will be refused: Permission denied")
        said = daemon.ctl("reload", check=False)
        self.assertEqual(said.returncode, 1)
        heard = said.stdout + said.stderr
        self.assertRegex(heard, rf"/keys: Permission denied; let {self.USER}, the daemon's user, read it")
        self.assertRegex(heard, r"pinrouted\.ini:\d+: \[pinrouted\] key_file: the keys in it cannot be used")
        os.chown(os.path.join(daemon.dir, "keys"), 0, self.user.pw_gid)
        os.chmod(os.path.join(daemon.dir, "keys"), 0o640)
        self.assertEqual(daemon.ctl("reload").returncode, 0)
        os.chmod(daemon.conf, 0o600)
        seen = len(daemon.log)
        daemon.reload()
        daemon.wait_log(rf"pinrouted\.ini: Permission denied; let {self.USER}, the daemon's user, read it", since=seen)
        self.assertServes(daemon)

    def test_what_root_s_daemon_left_is_gone_on_with(self):
        daemon = self.quiet_daemon()
        daemon.wait_log(r"runs as root: say user = NAME")
        self.assertEqual(self.patient_worker(daemon).record("main", "bob", 60).status, "OK")
        self.assertEqual(daemon.stop(), 0)
        daemon.write_config({"main": NO_NODES}, {**QUICK, "user": self.USER, "group": self.GROUP})
        seen = len(daemon.log)
        daemon.start()
        daemon.wait_log("going on with the store", since=seen)
        self.assertPinned(self.worker(daemon), "bob")
        owners = {os.stat(os.path.join(daemon.dir, name)).st_uid
                  for name in ("", "data.mdb", "lock.mdb", "pinrouted.lock")}
        self.assertEqual(owners, {self.user.pw_uid})

    def test_the_check_tells_what_this_host_has_not_along_with_every_other_mistake(self):
        program = os.path.join(harness.BUILD, "pinrouted")
        path = os.path.join(harness.scratch(), "p.ini")
        self.addCleanup(shutil.rmtree, os.path.dirname(path))

        def check(text):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)
            done = subprocess.run([program, "-t", "-c", path], capture_output=True, text=True, timeout=30)
            return done.returncode, done.stderr.replace(path + ":", "").splitlines()

        status, said = check("[pinrouted]\ndir = /tmp\ngroup = no-such\nuser = nobody-such\nmax_pins = 0\n"
                             "[cluster main]\n[nodes main]\na = host=/x dbname=app sslcert=/nonexistent/c role=primary\n")
        self.assertEqual(status, 1)
        starts = ("5: [pinrouted] max_pins", "4: [pinrouted] user: no user named", "3: [pinrouted] group: no group named",
                  "2: [pinrouted] dir: /tmp is a place for all",
                  "8: [nodes main] a: warning: sslcert: root cannot read /nonexistent/c (No such file or directory)")
        self.assertEqual(len(said), len(starts), said)
        for line, start in zip(said, starts):
            self.assertTrue(line.startswith(start), line)
        status, said = check("[cluster main]\n[nodes main]\na = host=/x dbname=app sslcert=/nonexistent/c role=primary\n")
        self.assertEqual((status, len(said)), (0, 1), "a warning is no mistake")
        done = subprocess.run([program, path], capture_output=True, text=True, timeout=30)
        self.assertEqual(done.returncode, 2)
        self.assertTrue(done.stderr.startswith("pinrouted: say -c before the config file's name\nusage: "), done.stderr)

    def test_no_such_user_and_a_user_that_only_root_can_become_are_refused(self):
        daemon = self.quiet_daemon({"user": "nobody-of-that-name"}, start=False)
        self.refused(daemon, "no user named nobody-of-that-name on this host")
        checked = subprocess.run([os.path.join(harness.BUILD, "pinrouted"), "-t", "-c", daemon.conf],
                                 capture_output=True, text=True, timeout=30)
        self.assertEqual(checked.returncode, 1)
        with open(daemon.conf, encoding="utf-8") as f:
            line = 1 + [text.split()[:1] for text in f].index(["user"])
        self.assertEqual(checked.stderr, f"{daemon.conf}:{line}: [pinrouted] user: no user named nobody-of-that-name on this "
                                         "host: create it, or name another\n")
        os.chmod(daemon.dir, 0o755)
        daemon.write_text(harness.config(daemon.dir, {"main": NO_NODES}, {"user": self.USER}))
        program = shutil.copy(os.path.join(harness.BUILD, "pinrouted"), daemon.dir)  # where everybody may enter
        done = as_user(STRANGER, STRANGER, program, "-c", daemon.conf)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"only root can become {self.USER}, this daemon was started by uid {STRANGER}", done.stderr)


class Secrets(Story):
    PASSWORD = "pa55-of-this-test"

    def test_passwords_and_keys_are_nowhere_to_be_seen(self):
        daemon = self.daemon({"main": NO_NODES}, start=False)
        server = self._ends(FakePg("cleartext"))
        node = f"default = {server.conninfo()} password={self.PASSWORD} role=primary"
        daemon.keys = [harness.random_key(), harness.random_key()]
        options = {**QUICK, "log_level": "debug"}
        daemon.write_config({"main": [node]}, options)
        daemon.start()
        worker = self.patient_worker(daemon)
        self.assertEqual(worker.record("main", "alice").status, "OK")
        eventually(lambda: daemon.ask("show", "nodes")["nodes"][0]["why"])
        said = [worker.endpoint("main", "default").endpoint, worker.issue("main", "alice").line]
        shown = [["show", what] for what in ("nodes", "pins", "clients", "config", "stats")]
        for words in (["status"], *shown, ["why", "main", "a"]):
            said += [daemon.ctl(*words).stdout, daemon.ctl(*words, "--json").stdout]
        for bad in (f"password={self.PASSWORD} {self.PASSWORD} role=primary", f"password='{self.PASSWORD}",
                    self.PASSWORD, f"hots=x password={self.PASSWORD}", f"port=x password={self.PASSWORD}",
                    f"password = {self.PASSWORD} role=nobody"):
            daemon.write_text(harness.config(daemon.dir, {"main": [f"default = host=h {bad}"]}, options))
            done = daemon.ctl("reload", check=False)
            self.assertEqual(done.returncode, 1)
            said += [done.stdout, done.stderr]
        self.assertEqual(len(set(daemon.ask("show", "config")["token_keys"])), 2, "each has a fingerprint")
        with open(os.path.join(daemon.dir, "keys"), "a", encoding="ascii") as f:
            f.write(daemon.keys[0] + "\n" + daemon.keys[1][:-1] + "x\n")
        said += [daemon.ctl("reload", check=False).stdout]
        for pid in (daemon.pid, prober_of(daemon)):
            for name in ("cmdline", "environ"):
                if os.access(f"/proc/{pid}/{name}", os.R_OK):
                    said.append(content(f"/proc/{pid}/{name}").decode(errors="replace"))
        said += daemon.log
        for secret in (self.PASSWORD, *daemon.keys):
            self.assertEqual([text for text in said if secret in text], [])
            self.assertNotIn(secret.encode(), content(os.path.join(daemon.dir, "data.mdb")))
        self.assertEqual([line for line in server.heard() if line.startswith("heard ") and line != "heard "], [])

    def test_no_core_has_what_was_in_memory(self):
        daemon = self.quiet_daemon()
        for pid in (daemon.pid, eventually(lambda: prober_of(daemon))):
            with open(f"/proc/{pid}/limits", encoding="ascii") as f:
                self.assertRegex(f.read(), r"Max core file size\s+0\s+0\s")
            try:
                self.assertEqual(int(content(f"/proc/{pid}/coredump_filter"), 16), 0x10)
            except PermissionError:  # the prober's, which is not to be dumped at all
                self.assertNotEqual(pid, daemon.pid)

    @unittest.skipIf(harness.SANITIZE, "a sanitizer maps and opens what it likes")
    def test_the_prober_has_neither_descriptor_nor_mapping_of_the_store(self):
        daemon = self.quiet_daemon()
        pid = eventually(lambda: prober_of(daemon))
        eventually(lambda: os.path.basename(os.readlink(f"/proc/{daemon.pid}/exe")) == "pinrouted")
        try:
            held = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
            mapped = content(f"/proc/{pid}/maps").decode()
        except PermissionError:
            self.skipTest("not even its own user may look into the prober")
        self.assertEqual([name for name in held if daemon.dir in name], [])
        self.assertNotIn(daemon.dir, mapped)
        own = [os.readlink(f"/proc/{daemon.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{daemon.pid}/fd")]
        self.assertTrue(any(daemon.dir in name for name in own))


class Race(Story):
    def test_of_twenty_daemons_started_at_once_one_serves(self):
        daemon = self.quiet_daemon(start=False)
        runs = [harness.spawn([os.path.join(harness.BUILD, "pinrouted"), "-c", daemon.conf], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                for _ in range(harness.size(100, 20))]
        try:
            eventually(lambda: sum(run.poll() is not None for run in runs) >= len(runs) - 1, within=30)
            eventually(lambda: self.patient_worker(daemon).record("main", "alice").status == "OK", within=20, every=0.1)
            alive = [run for run in runs if run.poll() is None]
            self.assertEqual(len(alive), 1)
            self.assertEqual(daemon.ask("status")["pid"], alive[0].pid)
        finally:
            for run in runs:
                run.terminate()
            said = {run.pid: run.communicate(timeout=20)[1] for run in runs}
        for run in runs:
            if run is not alive[0]:
                self.assertEqual(run.returncode, 1)
                self.assertIn("another pinrouted", said[run.pid])
                self.assertIn("stop it, or name another dir", said[run.pid])


class Operators(Story):
    def call(self, daemon, line=b""):
        """An operator's connection; one too many may be closed before it has said anything."""
        operator = socket.socket(socket.AF_UNIX)
        self.addCleanup(operator.close)
        operator.settimeout(30)
        operator.connect(os.path.join(daemon.dir, "ctl.sock"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            operator.sendall(line)
        return operator

    def test_operators_who_read_slowly_or_not_at_all_stop_nobody(self):
        daemon = self.quiet_daemon()
        worker = self.patient_worker(daemon)
        for n in range(1200):  # more pins than are listed at once
            self.assertEqual(worker.record("main", f"key-{n}", 60).status, "OK")
        slow = [self.call(daemon, b"show pins\n") for _ in range(24)]
        for n in range(300):
            self.assertEqual(worker.record("main", f"other-{n}").status, "OK")
        self.assertEqual(daemon.ask("show", "pins")["total"], 1500)
        self.assertEqual(b"{", slow[0].recv(1))

    def test_operators_who_say_nothing_or_drip_lose_their_places(self):
        daemon = self.quiet_daemon()
        self.assertIn(b"E_INVALID", self.call(daemon, b"x" * 4000).recv(4096), "an endless line")
        silent = [self.call(daemon) for _ in range(20)]
        dripping = [self.call(daemon, b"s") for _ in range(20)]  # more than there are places
        self.assertServes(daemon)

        def are_over():
            for operator in list(dripping):
                with contextlib.suppress(BlockingIOError):
                    try:
                        operator.send(b"x", socket.MSG_DONTWAIT)
                    except OSError:
                        dripping.remove(operator)
            return not dripping

        eventually(are_over, within=30, every=0.5)
        for operator in silent:
            self.assertEqual(operator.recv(1), b"")
        self.assertTrue(daemon.ask("status")["ok"])


class Cleartext(Story):
    PASSWORD = "s3cret-of-this-test"

    @classmethod
    def setUpClass(cls):
        if not shutil.which("openssl"):
            raise unittest.SkipTest("no openssl here to make a certificate with")
        cls.dir = harness.scratch()
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        os.chmod(cls.dir, 0o755)
        cls.certificate, cls.root = (os.path.join(cls.dir, name) for name in ("both.pem", "root.crt"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-days", "2", "-subj", "/CN=db.example", "-addext", "subjectAltName=IP:127.0.0.1",
                        "-keyout", cls.dir + "/key.pem", "-out", cls.root], check=True, capture_output=True)
        with open(cls.certificate, "wb") as f:
            f.write(content(cls.root) + content(cls.dir + "/key.pem"))

    def prober(self):
        return self._ends(Prober())

    def server(self, mode, tls=False):
        return self._ends(FakePg(mode, self.certificate if tls else None))

    def conninfo(self, server, mode):
        said = server.conninfo(f"password={self.PASSWORD} sslrootcert={self.root}")
        return said.replace("sslmode=disable", f"sslmode={mode}")

    REFUSED = {
        "set": "the server asks for the password in clear text: not sent, see cleartext_password",
        "trust": "the server asks for the password in clear text: not sent without sslmode=verify-full",
    }

    def assertKept(self, server, result, said):
        self.assertEqual((result.kind, result.text), ("FAILED", said))
        server.wait("closed")
        heard = "".join(line.split()[1] for line in server.heard() if line.startswith("heard ") and line != "heard ")
        self.assertNotIn(self.PASSWORD.encode().hex(), heard)

    def test_without_tls_no_server_gets_it_however_it_asks_and_whatever_is_allowed(self):
        p = self.prober()
        for mode in ("cleartext", "cleartext_in_pieces", "cleartext_after_md5"):
            for order in ("set", "trust"):
                with self.subTest(mode, order=order):
                    server = self.server(mode)
                    p.say(f"{order} 0 " + self.conninfo(server, "prefer"))
                    self.assertKept(server, p.check(0, 5000), self.REFUSED[order])
        server = self.server("cleartext_at_once")  # libpq waits for what it has read already
        p.say("trust 0 " + self.conninfo(server, "prefer"))
        self.assertKept(server, p.check(0, 300), "no answer within 300 ms (connecting)")

    def test_in_tls_it_goes_only_where_it_is_allowed_and_the_server_has_shown_who_it_is(self):
        p = self.prober()
        for order, mode in (("set", "verify-full"), ("set", "require"), ("trust", "require"), ("trust", "prefer")):
            with self.subTest(order, mode=mode):
                server = self.server("cleartext", tls=True)
                p.say(f"{order} 0 " + self.conninfo(server, mode))
                self.assertKept(server, p.check(0, 5000), self.REFUSED[order])
        for mode in ("verify-ca", "verify-full"):
            with self.subTest(mode):
                server = self.server("cleartext_good", tls=True)
                p.say("trust 0 " + self.conninfo(server, mode))
                self.assertEqual(p.check(0, 5000).kind, "ANSWER")
                self.assertEqual(bytes.fromhex(server.wait("heard").split()[1])[5:-1].decode(), self.PASSWORD)

    def test_a_certificate_that_is_not_the_one_ends_it_before_a_password_is_asked_for(self):
        p = self.prober()
        server = self.server("cleartext_good", tls=True)
        other = self.conninfo(server, "verify-full").replace("host=127.0.0.1", "host=db.other hostaddr=127.0.0.1")
        p.say("trust 0 " + other)
        said = p.check(0, 5000)
        self.assertEqual(said.kind, "FAILED")
        self.assertIn("does not match host name", said.text)
        server.wait("closed")
        self.assertFalse([line for line in server.heard() if line.startswith("heard")])

    def test_what_a_server_repeats_is_hidden(self):
        p = self.prober()
        server = self.server("cleartext", tls=True)
        p.say("trust 0 " + self.conninfo(server, "verify-full"))
        self.assertEqual(p.check(0, 5000).text, r"FATAL: \x1b[2Jwrong password " + "*" * len(self.PASSWORD))

    @AS_ROOT
    def test_whom_root_becomes_speaks_tls_although_root_s_home_is_closed_to_it(self):
        home = harness.scratch()
        self.addCleanup(shutil.rmtree, home)
        os.chmod(home, 0o700)
        server = self.server("good", tls=True)
        node = [f"default = {self.conninfo(server, 'verify-full')} role=primary"]
        with mock.patch.dict(os.environ, HOME=home):
            daemon = self.daemon({"main": node}, {**QUICK, "user": Drop.USER})
        eventually(lambda: daemon.ask("show", "nodes")["nodes"][0]["state"] == "UP", within=20)

    def test_the_clusters_option_says_so_and_a_reload_changes_it(self):
        server = self.server("cleartext_good", tls=True)
        node = [f"default = {self.conninfo(server, 'verify-full')} role=primary"]
        often = {"check_interval": "200ms", "check_timeout": "200ms"}
        daemon = self.daemon({"main": node}, QUICK, often)
        state = lambda: daemon.ask("show", "nodes")["nodes"][0]  # noqa: E731
        eventually(lambda: state()["state"] == "DOWN", within=20)
        self.assertIn("in clear text: not sent, see cleartext_password", state()["why"])
        for value, wanted in (("allow", "UP"), ("refuse", "UP")):
            daemon.write_config({"main": node}, QUICK, {**often, "cleartext_password": value})
            self.assertEqual(daemon.ctl("reload").returncode, 0)
            eventually(lambda wanted=wanted: state()["state"] == wanted, within=20)
        server.hang_up()
        eventually(lambda: state()["state"] == "DOWN", within=20, what="a new connection asks again")


if __name__ == "__main__":
    unittest.main()
