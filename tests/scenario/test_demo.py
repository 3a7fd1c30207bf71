"""test_demo.py -- the demo tells its story to the end, and Ctrl-C ends what --keep leaves running.
Plays it as `./run.sh demo` does, with whatever build is under test."""
# ctest: parallel
import os
import re
import signal
import subprocess
import sys
import unittest
import urllib.request

import harness

DEMO = os.path.join(harness.SOURCE, "tests", "scenario", "demo.py")


class Demo(unittest.TestCase):
    def start(self, *options):
        process = harness.spawn([sys.executable, "-B", DEMO, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait, 30)
        self.addCleanup(process.terminate)
        return process

    def test_the_story_plays_to_its_end_and_ctrl_c_ends_what_was_kept(self):
        process = self.start("--keep")
        said = []
        for line in process.stdout:
            said.append(line)
            if "look around" in line or "FAILED" in line:
                break
        text = "".join(said)
        self.assertIn("look around", text)
        self.assertNotIn("\033", text, "colours are for terminals")
        self.assertGreater(text.count("✓"), 24)
        with urllib.request.urlopen(re.search(r"status page\s+(http://\S+)\n", text)[1], timeout=10) as answer:
            self.assertRegex(answer.read().decode(), r"<title>(OK|DEGRADED) pinroute on ")
        servers = re.findall(r"(?:guest-book|ignored|second host)\s+(http://\S+)\n", text.partition("Left running")[2])
        self.assertEqual(len(servers), 3)
        for url in servers:
            with urllib.request.urlopen(url, timeout=10) as answer:
                self.assertIn(b"Hello from step 7", answer.read())
        config = re.search(r"config\s+(\S+)", text)[1]
        tool = subprocess.run(re.search(r"look around\s+(.*)", text)[1].split(), text=True, capture_output=True, timeout=30)
        self.assertIn(tool.returncode, (0, 3), tool.stderr)  # 3: it works, and something is to be looked at
        self.assertIn("shadow-1", tool.stdout)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        self.assertEqual(process.wait(30), 0, rest)
        self.assertEqual(rest.splitlines()[-1], "demo: ok")
        self.assertFalse(os.path.exists(os.path.dirname(config)))


if __name__ == "__main__":
    unittest.main()
