#!/usr/bin/env python3
"""test_service.py -- the daemon as a service manager runs it: what it is told, and what the unit forbids.
On a systemd of its own, sandbox and all, it is run by `./run.sh test --packages`."""
# ctest: parallel
import grp
import os
import socket
import tempfile
import unittest
from unittest import mock

import harness
from fakepg import FakePg
from harness import eventually

UNIT = os.path.join(harness.SOURCE, "packaging", "systemd", "pinrouted.service")


class Manager:
    """A socket that hears what systemd would."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0pinroute-manager-" + os.path.basename(tempfile.mktemp()))
        self.socket.settimeout(10)
        name = self.socket.getsockname().decode()
        self.env = {"NOTIFY_SOCKET": "@" + name[1:], "WATCHDOG_USEC": "600000"}

    def hears(self, *wanted):
        """These, in this order, whatever else is in between."""
        heard = []
        for words in wanted:
            while not heard or not heard[-1].startswith(words):
                heard.append(self.socket.recv(4096).decode())

    def falls_silent(self):
        """Nothing more comes: three times as long as from one WATCHDOG=1 to the next."""
        self.socket.settimeout(0.6)
        for _ in range(100):  # what was sent before
            try:
                self.socket.recv(4096)
            except TimeoutError:
                self.socket.settimeout(10)
                return True
        return False

    def close(self):
        self.socket.close()


class Service(harness.Scenario):
    def setUp(self):
        self.manager, self.server = self._ends(Manager()), self._ends(FakePg("good"))
        self.nodes = [f"default = {self.server.conninfo()} role=primary"]
        filtered = os.path.join(harness.SOURCE, "tests", "scenario", "filtered.py")
        command = ["/usr/bin/python3", "-B", filtered, UNIT, os.path.join(harness.BUILD, "pinrouted")]
        daemon = self.service = self.daemon({"main": self.nodes}, start=False)
        daemon.command = command
        own = grp.getgrgid(os.getegid()).gr_name
        self.options = {"stale_after": "200ms", "group": own, "operator_group": own,
                        "http_listen": os.path.join(daemon.dir, "http.sock")}
        self.configure(self.nodes)
        with mock.patch.dict(os.environ, self.manager.env):
            daemon.start()

    def configure(self, nodes, **options):
        self.service.write_config({"main": nodes}, {**self.options, **options}, {"check_interval": "100ms", "check_timeout": "100ms"})

    def page(self, path):
        """The first line of its answer, over the socket that http_listen names."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.options["http_listen"])
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            return s.makefile().readline()

    def test_the_daemon_and_its_prober_make_no_system_call_that_the_unit_forbids_and_the_manager_hears_how_it_is(self):
        daemon, manager = self.service, self.manager
        manager.hears("STATUS=0 of 0 replicas of main in rotation, 0 pins", "READY=1", "WATCHDOG=1")
        eventually(lambda: daemon.ask("show", "nodes")["nodes"][0]["state"] == "UP", what="the prober asks")
        worker = self.worker(daemon)
        self.assertEqual(worker.record("main", "alice").status, "OK")
        daemon.ctl("pin", "main", "bob")
        for path in ("/metrics", "/healthz"):
            self.assertEqual(self.page(path), "HTTP/1.1 200 OK\n")
        manager.hears("STATUS=0 of 0 replicas of main in rotation, 2 pins")
        self.configure([*self.nodes, "shadow-1 = host=127.0.0.1 port=1 dbname=app user=pinroute"], max_clients=3000)
        daemon.reload()
        manager.hears("RELOADING=1\nMONOTONIC_USEC=", "READY=1", "STATUS=0 of 1 replica of main in rotation")
        manager.hears(*["WATCHDOG=1"] * 3)
        self.assertEqual(daemon.ask("show", "stats")["stats"]["prober_starts"], 1)
        daemon.pause()
        self.assertTrue(manager.falls_silent())
        daemon.resume()
        self.assertEqual(daemon.stop(), 0)
        manager.hears("STOPPING=1")


if __name__ == "__main__":
    unittest.main()
