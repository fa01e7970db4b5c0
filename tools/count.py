#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts what a test run did, and names what failed.

    tools/count.py FILE      meson's testlog.json, or pytest's JUnit report

The last line is `N passed, N failed, N skipped`. Unit tests are counted case by case, as cmocka
reports them; a program that ended badly without a failed case counts as one failure.
"""
import json
import re
import sys
import xml.etree.ElementTree


def count_program(test):
    """(passed, failed, skipped) of one entry of testlog.json."""
    text = test.get("stdout", "") + test.get("stderr", "")
    if test["result"] == "SKIP":
        return 0, 0, 1

    def cases(word):
        found = re.findall(rf"^\[  {word}  \] (\d+) test\(s\)", text, re.MULTILINE)
        return sum(int(number) for number in found)
    passed, failed, skipped = cases("PASSED"), cases("FAILED"), cases("SKIPPED")
    if test["result"] in ("OK", "EXPECTEDFAIL"):
        return max(passed, 1), 0, skipped
    return passed, max(failed, 1), skipped


def count_meson(path):
    total = [0, 0, 0]
    with open(path, encoding="utf-8") as file:
        tests = [json.loads(line) for line in file]
    for test in tests:
        counts = count_program(test)
        if counts[1]:
            print(f"--- {test['name']}: {test['result']}")
            print("\n".join((test.get("stdout", "") + test.get("stderr", "")).split("\n")[-40:]))
        total = [a + b for a, b in zip(total, counts)]
    return total


def count_junit(path):
    total = [0, 0, 0]
    for suite in xml.etree.ElementTree.parse(path).getroot().iter("testsuite"):
        tests, skipped = int(suite.get("tests")), int(suite.get("skipped"))
        failed = int(suite.get("failures")) + int(suite.get("errors"))
        total = [a + b for a, b in zip(total, (tests - failed - skipped, failed, skipped))]
    return total


def main():
    path = sys.argv[1]
    passed, failed, skipped = (count_junit if path.endswith(".xml") else count_meson)(path)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
