"""test_valgrind.py -- the stub under valgrind: threads, forks and new stores, and no bad access.
TSan and ASan watch what they compiled; valgrind also watches libsodium and libc.
ctest: parallel"""
import os
import subprocess
import unittest

BUILD = os.environ["PINROUTE_BUILD"]
SECONDS = "20" if os.environ.get("PINROUTE_FULL") else "2"


@unittest.skipIf(os.environ.get("PINROUTE_SANITIZE"), "a sanitizer's build does not run under valgrind")
class Valgrind(unittest.TestCase):
    def test_threads_and_forks_over_one_handle_touch_no_memory_that_is_not_theirs(self):
        run = subprocess.run(["valgrind", "-q", "--error-exitcode=9", "--leak-check=no", "--fair-sched=yes",
                              f"{BUILD}/tests/tsan_stub", SECONDS],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        self.assertEqual(run.returncode, 0, run.stdout)
        self.assertNotIn("Invalid", run.stdout)


if __name__ == "__main__":
    unittest.main()
