# SPDX-License-Identifier: Apache-2.0
"""Each shell block of the pages does what it says, in a fresh copy of the examples."""
import re

import pytest

from conftest import ROOT
from test_readme import Session

PATTERNS = sorted((ROOT / "docs" / "patterns").glob("*.md"))
PAGES = [*(ROOT / "docs" / f"{name}.md" for name in [
    "cli", "import", "time", "audit", "subscriptions", "migration", "forgetting"]), *PATTERNS]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_there_are_pages():
    assert [page.stem for page in PATTERNS] == ["cqrs", "event-sourcing", "materialized-view"]


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_blocks_of_a_page(page, binary, tmp_path):
    session = Session(tmp_path, binary.resolve(), 0)
    session.sh('export PATH="$PWD/build:$PATH"')
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    assert blocks
    for text in blocks:
        session.sh(text)
