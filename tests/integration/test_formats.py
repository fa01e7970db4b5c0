# SPDX-License-Identifier: Apache-2.0
"""Books of every format ever written: read, written, and upgraded, also when that is killed."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from conftest import ROOT, Book, missing

KEPT = ROOT / "tests" / "books"
sys.path.insert(0, str(KEPT))
import make  # noqa: E402  pylint: disable=wrong-import-position

FORMATS = [1, 2, 3]
LAST = make.SMALL + make.LARGE


@pytest.fixture(scope="session", params=FORMATS, ids=[f"format-{n}" for n in FORMATS])
def unpacked(request, tmp_path_factory):
    """A kept book's folder, which nobody changes, and its format."""
    folder = tmp_path_factory.mktemp("kept")
    if shutil.which("zstd") is None:
        missing("zstd")
    with subprocess.Popen(["zstd", "-dcq", KEPT / f"format-{request.param}.tar.zst"],
                          stdout=subprocess.PIPE) as zstd:
        subprocess.run(["tar", "-xf", "-", "-C", folder], stdin=zstd.stdout, check=True)
    return folder / "kept", request.param


@pytest.fixture
def kept(unpacked, binary, tmp_path):
    folder = tmp_path / "kept"
    shutil.copytree(unpacked[0], folder)
    return Book(binary, folder, folder / "data"), unpacked[1]


def is_cut(number, written_in):
    """Whether the event was truncated when the book was made."""
    return written_in > 1 and make.event(number)["stream"] == make.CUT_STREAM and \
        sum(n % 7 == number % 7 for n in range(1, number + 1)) < make.CUT_BEFORE


def check(book, written_in, more=0):
    """Everything the book was made of is there, as it was."""
    number = 0
    versions = {}
    for event in book.run("read", "--removed", "-o", "jsonl").lines:
        number += 1
        if number > LAST:
            break
        expected = make.event(number)
        stream = expected["stream"]
        versions[stream] = versions.get(stream, 0) + 1
        assert (event["position"], event["version"], event["stream"], event["type"], event["id"],
                event["occurred"][:19]) == \
            (number, versions[stream], stream, expected["type"], expected["id"],
             expected["occurred"][:19])
        if is_cut(number, written_in):
            assert event["removed"] and len(event["leaf"]) == 64
        else:
            assert (event["data"], event["tags"], event["meta"]) == \
                (expected["data"], expected["tags"], expected["meta"])
    assert number >= LAST
    # By the index: streams, types, ids and tags.
    thing = [e["data"]["n"] for e in book.run("read", "thing-5", "-o", "jsonl").lines]
    assert thing[:LAST // 7] == [n for n in range(1, LAST + 1) if n % 7 == 5][:LAST // 7]
    tagged = len(book.run("read", "--tag", "mod:1", "-o", "jsonl").lines)
    whole = [n for n in range(1, LAST + 1) if not is_cut(n, written_in)]
    assert tagged == sum(n % 3 == 1 for n in whole) + more
    again = make.event(17)
    answer = book.json("append", again["stream"], again["type"], '{"n": 17}', "--id", again["id"],
                       "--occurred", again["occurred"], "--tags", ",".join(again["tags"]),
                       "--meta", '{"correlationid": "c6"}')
    assert answer["known"] and answer["position"] == 17


def test_every_format_has_its_book():
    """A format that is written without its book being kept would never be tried again."""
    header = (ROOT / "src" / "log" / "log.h").read_text(encoding="utf-8")
    assert f"#define DBK_LOG_FORMAT {FORMATS[-1]}\n" in header
    assert sorted(p.name for p in KEPT.glob("format-*")) == [f"format-{n}.tar.zst" for n in FORMATS]


def test_is_read_and_written(kept):
    book, written_in = kept
    check(book, written_in)
    assert book.json("append", "thing-5", "Seen", '{"n": 0}', "--tags", "mod:1")["position"] > LAST
    check(book, written_in, more=1)


def test_is_upgraded(kept):
    book, written_in = kept
    answer = book.json("upgrade")
    assert answer["segments"] == (1 if written_in < FORMATS[-1] else 0)
    assert answer["removed"] == 0
    check(book, written_in)
    assert book.json("upgrade")["segments"] == 0


def test_an_upgrade_that_is_killed_goes_on(kept):
    book, written_in = kept
    if written_in == FORMATS[-1]:
        return
    with subprocess.Popen(book.command("upgrade", "--rate", "40000000"), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        begun = pathlib.Path(book.data) / "log" / "compact.tmp"
        deadline = time.monotonic() + 20
        while not begun.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    check(book, written_in)
    assert not begun.exists()
    assert book.json("upgrade")["segments"] == 1
    check(book, written_in)
