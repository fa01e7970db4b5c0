#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_count -- ./test's sums count every case, and no way of failing goes uncounted."""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

COUNT = pathlib.Path(__file__).resolve().parent.parent.parent / "tools" / "count.py"
CASES = "[  PASSED  ] 3 test(s).\n"
FAILED_CASES = "[  PASSED  ] 2 test(s).\n[  FAILED  ] 1 test(s), listed below:\n"


class CountTest(unittest.TestCase):
    def count(self, text, suffix=".json"):
        """(last line, exit status) for a report with this text."""
        with tempfile.NamedTemporaryFile("w", suffix=suffix) as file:
            file.write(text)
            file.flush()
            result = subprocess.run([sys.executable, COUNT, file.name], capture_output=True,
                                    text=True, check=False)
        return result.stdout.splitlines()[-1], result.returncode

    def meson(self, *tests):
        return self.count("".join(json.dumps({"name": "x", "result": result, "stdout": text}) + "\n"
                                  for result, text in tests))

    def test_cases_of_cmocka_and_whole_programs(self):
        self.assertEqual(self.meson(("OK", CASES), ("OK", "7 files")),
                         ("4 passed, 0 failed, 0 skipped", 0))

    def test_a_failed_case(self):
        self.assertEqual(self.meson(("FAIL", FAILED_CASES), ("OK", CASES)),
                         ("5 passed, 1 failed, 0 skipped", 1))

    def test_a_crash_is_a_failure_even_after_cases_that_passed(self):
        for result in ("FAIL", "TIMEOUT", "ERROR", "INTERRUPT"):
            self.assertEqual(self.meson((result, CASES)), ("3 passed, 1 failed, 0 skipped", 1))
            self.assertEqual(self.meson((result, "")), ("0 passed, 1 failed, 0 skipped", 1))

    def test_skipped(self):
        self.assertEqual(self.meson(("SKIP", ""), ("OK", CASES + "[  SKIPPED  ] 2 test(s).\n")),
                         ("3 passed, 0 failed, 3 skipped", 0))

    def test_pytest(self):
        text = ('<testsuites><testsuite tests="9" failures="1" errors="2" skipped="3"/>'
                "</testsuites>")
        self.assertEqual(self.count(text, ".xml"), ("3 passed, 3 failed, 3 skipped", 1))
        text = '<testsuites><testsuite tests="2" failures="0" errors="0" skipped="0"/></testsuites>'
        self.assertEqual(self.count(text, ".xml"), ("2 passed, 0 failed, 0 skipped", 0))


if __name__ == "__main__":
    unittest.main()
