"""test_instructions.py -- what a read costs, in instructions, which are the same on every machine and every day.
Counted by callgrind over the build that is tested (gcc -O2), libsodium and libc included, over one store whose pins lie
in the same places every time.  A figure that grew is a read that got slower; one that fell is to be written down here.
ctest: parallel"""
import os
import re
import subprocess
import tempfile
import unittest

BUILD = os.environ["PINROUTE_BUILD"]
FIGURES = {  # instructions a call
    ("unkeyed", "pinroute_route_read"): 326.0,
    ("unpinned", "pinroute_route_read"): 1065.3,
    ("pinned", "pinroute_route_read"): 1295.0,
    ("scope", "pinroute_scope_read"): 114.3,
}
MAY_GROW = 1.10


def count(kind, function):
    with tempfile.TemporaryDirectory() as place:
        run = subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={place}/out",
                              f"--toggle-collect={function}", f"{BUILD}/tests/instructions", kind],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             timeout=300, check=False)
    calls = re.search(r"^(\d+) calls$", run.stdout, re.M)
    # the children that it forked are counted, too, and have made no call
    collected = max((int(m) for m in re.findall(r"Collected : (\d+)", run.stdout)), default=0)
    if run.returncode or not calls or not collected:
        raise AssertionError(run.stdout)
    return collected / int(calls[1])


@unittest.skipIf(os.environ.get("PINROUTE_SANITIZE"), "a sanitizer's build does not run under valgrind")
class Instructions(unittest.TestCase):
    def test_a_read_takes_no_more_instructions_than_it_did(self):
        for (kind, function), figure in FIGURES.items():
            with self.subTest(kind):
                now = count(kind, function)
                print(f"{kind}: {now:.1f} instructions a call, {figure} written down")
                self.assertLessEqual(now, figure * MAY_GROW)


if __name__ == "__main__":
    unittest.main()
