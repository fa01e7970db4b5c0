# SPDX-License-Identifier: Apache-2.0
"""Each shell block of the pages does what it says, in a fresh copy of the examples."""
import re

import pytest

from conftest import ROOT
from test_readme import Session

PATTERNS = sorted((ROOT / "docs" / "patterns").glob("*.md"))
PAGES = [*(ROOT / "docs" / f"{name}.md" for name in [
    "cli", "import", "time", "audit", "subscriptions", "migration", "forgetting", "tenants"]),
         *PATTERNS]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


# What is to be said of the five patterns, numbered: 1 to 6 a database per service, 7 to 11 a
# shared one, 12 to 20 event sourcing, 21 to 27 CQRS, 28 to 31 materialized views, 32 to 34 the
# choice. `<!-- line N -->` stands in the section that says it.
LINES = range(1, 35)
# Those that are about a cost, or that compare: they say what was measured.
MEASURED = {3, 4, 5, 8, 9, 10, 11, 17, 18, 20, 24, 25, 27, 30, 32, 34}
LINE = re.compile(r"<!-- line (\d+) -->")
SECTION = re.compile(r"^## ", re.MULTILINE)
FIGURE = re.compile(
    r"\d (?:ns|µs|ms|s|×|lines|rows|services|of 1 other)\b|\d (?:commits|rows|inserts|events)/s"
    r"|\d(?:\.\d+)? ×|\d/s")


def sections():
    """Each section of the patterns' pages, with the lines that it answers."""
    for page in PATTERNS:
        for section in SECTION.split(page.read_text(encoding="utf-8")):
            yield page.stem, section, {int(number) for number in LINE.findall(section)}


def test_there_are_pages():
    assert [page.stem for page in PATTERNS] == [
        "README", "cqrs", "database-per-service", "event-sourcing", "materialized-view",
        "shared-database"]


@pytest.mark.parametrize("line", LINES)
def test_each_line_of_the_patterns_is_answered(line):
    found = [(page, text) for page, text, lines in sections() if line in lines]
    assert len(found) == 1, f"line {line} is answered {len(found)} times"
    page, text = found[0]
    assert BLOCK.search(text), f"{page}: nothing can be run for line {line}"
    prose = BLOCK.sub("", text)
    assert line not in MEASURED or FIGURE.search(prose), f"{page}: line {line} has no figure"


def test_no_line_is_unknown():
    assert {line for _, _, lines in sections() for line in lines} == set(LINES)


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_blocks_of_a_page(page, binary, tmp_path):
    session = Session(tmp_path, binary.resolve(), 0)
    session.sh('export PATH="$PWD/build:$PATH"')
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    try:
        for text in blocks:
            session.sh(text)
    finally:
        session.end()
