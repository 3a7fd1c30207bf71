"""test_walk.py -- the reader of LMDB pages under storms and kills: runs walk_storm.c.
Damaged pages are fuzz_walk.c's."""
import os
import subprocess
import unittest

import harness
from harness import size


def run(command, within, **options):
    """Its output; ended by force after `within` seconds."""
    process = harness.spawn(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    try:
        said, _ = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        raise AssertionError(f"{command[0]} took more than {within} s: {said[-4000:]}")
    return process.returncode, said


class Walk(unittest.TestCase):
    LOOKUPS = size(100_000_000)
    KILLS = size(200)

    def storm(self, *options, lookups):
        program = os.path.join(harness.BUILD, "tests", "walk_storm")
        status, said = run([program, "--lookups", str(lookups), "--seconds", "600", *options], within=620)
        print(said, end="")
        self.assertEqual(status, 0, said)
        self.assertTrue(said.endswith("walk_storm: ok\n"), said)
        return dict(word.split("=") for word in said.splitlines()[-2].split())

    def lookups(self):
        """A sanitizer costs a factor of ten."""
        return self.LOOKUPS // 10 if harness.SANITIZE else self.LOOKUPS

    def test_a_writer_flat_out_deceives_no_reader(self):
        counts = self.storm(lookups=self.lookups())
        self.assertGreaterEqual(int(counts["lookups"]), self.lookups())

    def test_readers_stopped_anywhere_in_their_walk_are_not_deceived(self):
        counts = self.storm("--storm", lookups=self.lookups())
        self.assertGreater(int(counts["torn"]), 0, "nobody was ever lapped: no storm")

    def test_a_writer_killed_mid_commit_leaves_nothing_wrong_or_lost(self):
        counts = self.storm("--storm", "--kills", str(self.KILLS), lookups=self.lookups())
        self.assertGreaterEqual(int(counts["writers"]), self.KILLS)


if __name__ == "__main__":
    unittest.main(verbosity=2)
