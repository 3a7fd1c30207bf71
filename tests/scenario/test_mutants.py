#!/usr/bin/env python3
"""test_mutants.py -- the hunter catches what it hunts: the product with one rule broken does not get past it."""
# ctest: parallel long
import subprocess
import time
import unittest

import harness
import mutants

SECONDS = 60  # has to do on a machine with nothing else to do, as with --full
TOGETHER, AROUND = 270, 20  # for those of a busy one, which has 300; of each: to start and to end


def git(*words):
    """What it says of these sources, whoever owns them; "" where it does not."""
    try:
        return subprocess.run(["git", "-c", "safe.directory=*", "-C", harness.SOURCE, *words], text=True,
                              capture_output=True).stdout.strip()
    except FileNotFoundError:
        return ""


def commits():
    """How many there are up to this one; where nobody knows, as in a shallow clone: another number for each."""
    if git("rev-parse", "--is-shallow-repository") == "false":
        return int(git("rev-list", "--count", "HEAD") or 0)
    return int(git("rev-parse", "--short=7", "HEAD") or "0", 16)


def turn(number, n):
    """n of all mutants, others at the next commit, until all have had their turn."""
    return [mutants.MUTANTS[(number * n + i) % len(mutants.MUTANTS)] for i in range(n)]


class Mutants(unittest.TestCase):
    def test_each_is_the_product_as_it_is_with_one_rule_broken(self):
        self.assertEqual(len({m.name for m in mutants.MUTANTS}), len(mutants.MUTANTS))
        for m in mutants.MUTANTS:
            with self.subTest(m.name):
                texts = mutants.changed(m.changes)
                self.assertTrue(all(text != mutants.text_of(path) for path, text in texts.items()))

    def test_a_change_whose_text_is_gone_or_there_twice_is_refused(self):
        change = mutants.Change("a.c", "b();", "")
        for text in ("a();", "b(); b();"):
            with self.assertRaises(ValueError):
                mutants.changed([change], lambda _: text)
        self.assertEqual(mutants.changed([change], lambda _: "a(); b();"), {"a.c": "a(); "})

    def test_all_have_their_turn(self):
        n = len(mutants.MUTANTS)
        self.assertEqual({m.name for number in range(1000, 1000 + (n + 1) // 2) for m in turn(number, 2)},
                         {m.name for m in mutants.MUTANTS})

    def test_the_hunter_catches_them(self):
        workshop, number, end = mutants.Workshop(), commits(), time.monotonic() + TOGETHER
        todo = list(mutants.MUTANTS) if harness.FULL else turn(number, 2)
        while todo:
            m, seconds = todo.pop(0), SECONDS
            if not harness.FULL:  # all that is left, but for what the others take
                seconds = max(SECONDS, int(end - time.monotonic()) - AROUND - len(todo) * (SECONDS + AROUND))
            with self.subTest(m.name):
                caught = mutants.hunt(workshop.build(m.name, m.changes), seconds, seed=number)
                self.assertTrue(caught, f"not caught in {seconds} s, seed {number}: {m.breaks}")
                print(f"mutants: {m.name} ({m.breaks}): after {caught.seconds:.0f} s: {caught.first()}", flush=True)


if __name__ == "__main__":
    unittest.main()
