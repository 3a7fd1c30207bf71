"""test_tally.py -- run.sh's verdict: what tests/tally.py makes of what tests say.
Needs nothing built."""
import contextlib
import io
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import tally  # noqa: E402


def ctest_log(**said):
    """A log as ctest writes it: each program's output and, for a name that ends in _bad, a failure."""
    text = "Start testing: Nov 22 18:00 UTC\n"
    for n, (name, output) in enumerate(said.items(), 1):
        verdict = "Test Failed." if name.endswith("_bad") else "Test Passed."
        text += f"{'-' * 58}\n{n}/9 Testing: unit/{name}\n{n}/9 Test: unit/{name}\nCommand: \"x\"\nOutput:\n{'-' * 58}\n"
        text += f"{output}\n<end of output>\nTest time =   0.01 sec\n{'-' * 58}\n{verdict}\n\"{name}\" end time: x\n\n"
    return text


def judge(*logs, **how):
    """(exit status, last line) of a whole run over these logs; None: a run that left no log."""
    with tempfile.TemporaryDirectory() as place:
        paths = [os.path.join(place, str(n)) for n in range(len(logs))]
        for path, log in zip(paths, logs):
            if log is not None:
                with open(path, "w", encoding="utf-8") as f:
                    f.write(log)
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = tally.main(paths, **how)
        return status, said.getvalue().splitlines()[-1]


CRITERION = "[====] Synthesis: Tested: {} | Passing: {} | Failing: {} | Crashing: {} "


class Tally(unittest.TestCase):
    def test_results_of_all_kinds_add_up(self):
        self.assertEqual(judge(ctest_log(a=CRITERION.format(7, 7, 0, 0), b="..\nRan 2 tests in 0.1s\n\nOK", c="5 passed, 0 failed"),
                               ctest_log(a=CRITERION.format(7, 7, 0, 0))), (0, "21 passed, 0 failed"))

    def test_a_failure_of_any_kind_fails_the_run(self):
        self.assertEqual(judge(ctest_log(a_bad=CRITERION.format(7, 4, 3, 1))), (1, "4 passed, 3 failed"))
        self.assertEqual(judge(ctest_log(a_bad="Ran 6 tests in 1s\n\nFAILED (failures=1, errors=2)")), (1, "3 passed, 3 failed"))
        self.assertEqual(judge(ctest_log(a_bad="9 passed, 1 failed")), (1, "9 passed, 1 failed"))

    def test_skips_are_counted_apart(self):
        self.assertEqual(judge(ctest_log(a="Ran 6 tests in 1s\n\nOK (skipped=2)")), (0, "4 passed, 0 failed, 2 skipped"))

    def test_a_failure_seen_by_ctest_alone_counts(self):
        self.assertEqual(judge(ctest_log(a_bad="5 passed, 0 failed")), (1, "5 passed, 1 failed"))
        self.assertEqual(judge(ctest_log(a_bad="killed after a timeout")), (1, "0 passed, 1 failed"))

    def test_a_run_without_any_test_of_the_contract_fails(self):
        said = ctest_log(a="5 passed, 0 failed")
        self.assertEqual(judge(said), (0, "5 passed, 0 failed"))
        self.assertEqual(judge(said, every_cell=True)[0], 1)

    def test_cells_of_the_contract_that_were_not_shown_fail_the_run(self):
        every = [(row, column, fault) for row, (_, faults) in tally.contract.ROWS.items()
                 for column in tally.contract.COLUMNS for fault in faults]

        def run(verdict, cells):
            said = "".join(f"cell: {' / '.join(cell)}: {verdict}\n" for cell in cells)
            log = ctest_log(a=said + "Ran 1 test in 0.1s\n\nOK").replace("unit/", "faults/")
            return judge(log)

        self.assertEqual(run("holds", every), (0, "1 passed, 0 failed"))
        self.assertEqual(run("holds", every[1:]), (1, "1 passed, 1 failed"))
        self.assertEqual(run("broken", every), (1, f"1 passed, {3 * len(tally.contract.ROWS)} failed"))
        self.assertEqual(run("skipped (no namespaces)", every), (1, f"1 passed, {3 * len(tally.contract.ROWS)} failed"))

    def test_silence_is_no_success(self):
        self.assertEqual(judge(ctest_log(a="hello")), (1, "0 passed, 1 failed"))
        self.assertEqual(judge(ctest_log(a=CRITERION.format(0, 0, 0, 0))), (1, "0 passed, 1 failed"))
        self.assertEqual(judge("Start testing\n"), (1, "0 passed, 1 failed"))

    def test_a_run_that_ran_nothing_or_left_no_log_has_failed(self):
        self.assertEqual(judge(ctest_log(a="5 passed, 0 failed"), None), (1, "5 passed, 1 failed"))
        self.assertEqual(judge(ctest_log(a="5 passed, 0 failed"), "Start testing\n"), (1, "5 passed, 1 failed"))


if __name__ == "__main__":
    unittest.main()
