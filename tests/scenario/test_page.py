#!/usr/bin/env python3
"""test_page.py -- the status page tells a person with a browser how things are, and goes on telling.
One daemon with two clusters on real servers, a process that reads and writes, and a headless Chromium."""
# ctest: parallel
import json
import os
import re
import threading
import unittest

import harness
from browser import Browser
from harness import eventually

PICTURES = os.path.join(harness.SOURCE, "build")
PHONE = (360, 780)
FAST = {"check_interval": "100ms", "check_timeout": "80ms"}

# Kept once the page, by its own script and without being loaded again, shows what is expected.
COMES = """new Promise(kept => {
  const look = () => new RegExp(%s).test(document.body.innerText) && (kept(document.title), true);
  look() || document.addEventListener('refreshed', look);
})"""


class Life:
    """A process that reads and writes without a pause."""

    def __init__(self, worker):
        self.worker, self.over = worker, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        n = 0
        while not self.over.wait(0.02):
            n += 1
            self.worker.record("main", f"visitor-{n % 100}", 5)
            self.worker.reads("main", f"visitor-{n % 70}", 20)
            self.worker.reads("main", None, 60)

    def close(self):
        self.over.set()
        self.thread.join(10)


class StatusPage(harness.Scenario):
    @classmethod
    def setUpClass(cls):
        cls.browser = cls.shared(Browser())
        cls.pg = cls.shared(harness.Cluster(replicas=2))
        nodes = cls.pg.nodes()
        port = harness.free_port()
        options = {"http_listen": f"127.0.0.1:{port}"}
        cls.daemon = cls.shared(harness.Daemon({"main": nodes, "archive": nodes}, options, FAST))
        cls.url = f"http://127.0.0.1:{port}/"
        cls.life = cls.shared(Life(cls.shared(harness.Worker(cls.daemon))))

    def setUp(self):
        eventually(lambda: self.daemon.ctl("status").returncode == 0, 20, "all is well")
        self.page = self.browser.page()
        self.addCleanup(self.page.close)
        self.page.size(1280, 900)

    def comes(self, pattern):
        """The title of the page that shows what matches."""
        return self.page.evaluate(COMES % json.dumps(pattern), within=20)

    def expect(self, *lines):
        text = self.page.text()
        for line in lines:
            self.assertRegex(text, line)

    def nothing_went_astray(self):
        self.assertEqual([url for url in self.page.requested() if not url.startswith((self.url, "data:"))], [])
        self.assertEqual(self.page.complaints(), [])

    def picture(self, name, width, height, scheme, mobile=False):
        self.page.prefer(scheme)
        self.page.size(width, height, mobile=mobile)
        self.assertLessEqual(self.page.evaluate("document.documentElement.scrollWidth"), width, "nothing sticks out")
        self.page.screenshot(os.path.join(PICTURES, f"status-{name}.png"))

    def test_it_tells_of_a_replica_that_freezes_and_comes_back_without_being_loaded_again(self):
        self.page.open(self.url)
        self.page.evaluate("window.loadedOnce = true")
        self.assertRegex(self.comes(r"[1-9]\d*/s\s+[1-9]\d* in all"), r"^OK pinroute on ")
        self.expect(r"OK\s+Reads are spread over 4 replicas of 2 clusters\.", r"reads on 2 of 2 replicas",
                    r"shadow-1\s+replica\s+UP", r"50\.0 %\s+weight 1", r"default\s+primary\s+UP", r"good, \d+\.\d ms",
                    r"\d+ pins wait for a replica", r"5 min ago", r"READY: serving", r"This page comes anew every \d+ s\.")
        self.daemon.ctl("drain", "archive/shadow-1")
        self.pg.freeze(1)
        self.addCleanup(self.pg.thaw, 1)
        title = self.comes("main/shadow-1 is DOWN")
        self.assertRegex(title, r"^DEGRADED pinroute on ")
        self.expect(r"DEGRADED\s+main/shadow-1 is DOWN \(\d+ s\): .*\. No reads go there\.", r"reads on 1 of 2 replicas",
                    r"archive/shadow-1 is drained by an operator", r"shadow-1\s+replica\s+DOWN\s+\d+ s\s+\w+",
                    r"UP\s+DRAIN|DOWN\s+DRAIN", r"0\.0 %\s+weight 1", r"unknown", r"failed, \d+ in a row",
                    r"main/shadow-1\s+shadow-1 UP -> DOWN: ")
        self.picture("light", 1280, 900, "light")
        self.picture("dark", 1280, 900, "dark")
        self.picture("phone", *PHONE, "light", mobile=True)
        self.pg.thaw(1)
        self.assertRegex(self.comes(r"Reads are spread over 3 replicas of 2 clusters\."), r"^OK pinroute on ")
        self.expect(r"shadow-1\s+replica\s+UP\s+\d+ s", r"shadow-1 DOWN -> UP")
        self.assertTrue(self.page.evaluate("window.loadedOnce"), "the page was loaded once")
        self.daemon.ctl("ready", "archive/shadow-1")
        self.nothing_went_astray()

    def test_it_reads_in_full_without_javascript_and_comes_anew_all_the_same(self):
        self.page.scripts(allowed=False)
        self.page.open(self.url)
        self.expect(r"OK\s+Reads are spread over 4 replicas of 2 clusters\.", r"shadow-2\s+replica\s+UP", r"50\.0 %",
                    r"READY: serving", r"This page comes anew every 5 s\.")
        self.assertNotIn("Pause", self.page.text())
        self.assertGreater(self.page.evaluate("document.querySelectorAll('svg path').length"), 4)
        self.assertEqual(self.page.evaluate("document.querySelector('meta[http-equiv=refresh]').content"), "5")
        self.nothing_went_astray()

    def test_when_the_daemon_is_silent_it_says_that_what_you_see_is_old(self):
        self.page.open(self.url)
        self.daemon.pause()
        self.addCleanup(self.daemon.resume)
        eventually(lambda: re.search(r"No answer from the daemon for \d+ s: what you see is old\.", self.page.text()), 20)
        self.daemon.resume()
        eventually(lambda: re.search(r"This page comes anew every \d+ s\.", self.page.text()), 20, "it goes on")
        self.assertFalse(self.page.evaluate("document.body.classList.contains('old')"))


if __name__ == "__main__":
    unittest.main()
