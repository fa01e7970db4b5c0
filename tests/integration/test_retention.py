# SPDX-License-Identifier: Apache-2.0
"""What streams keep, deleting, closing and compaction, through the CLI and the server."""
import json
import os
import signal
import subprocess
import time

import pytest

SEGMENT = 64 << 20


def amounts(book, stream):
    return [event["data"]["n"] for event in book.run("read", stream, "-o", "jsonl").lines]


def append(book, stream, count, first=1, size=0, **more):
    lines = [json.dumps({"stream": stream, "type": "Counted",
                         "data": {"n": n, "pad": "x" * size}, **more})
             for n in range(first, first + count)]
    return book.json("append", "--file", "-", text_in="\n".join(lines))


@pytest.mark.parametrize("served", [False, True], ids=["direct", "served"])
def test_rules_deleting_and_closing(bank, serve, served):
    if served:
        serve(bank)
    book = bank
    append(book, "meter-1", 5)
    assert book.json("stream", "keep", "meter-1", "--max-count", "2")["first_version"] == 4
    assert amounts(book, "meter-1") == [4, 5]
    assert len(book.run("read", "meter-1", "--removed", "-o", "jsonl").lines) == 5
    book.run("append", "meter-1", "Counted", '{"n":6}', "--expect", "5")
    assert amounts(book, "meter-1") == [5, 6]
    # What was left out stays so.
    book.run("stream", "keep", "meter-1", "--all")
    assert amounts(book, "meter-1") == [5, 6]
    book.run("stream", "delete", "meter-1", "--expect", "5", status=4)
    assert not book.json("stream", "delete", "meter-1", "--expect", "6")["exists"]
    assert "stream meter-1 was deleted" in book.run("read", "meter-1", status=1).errors
    book.run("append", "meter-1", "Counted", '{"n":7}', "--expect", "exists", status=4)
    assert book.json("append", "meter-1", "Counted", '{"n":7}', "--expect", "none")["version"] == 7
    assert amounts(book, "meter-1") == [7]
    assert book.json("stream", "close", "meter-1")["closed"]
    assert "closed for good" in book.run("append", "meter-1", "A", "{}", status=5).errors
    assert "closed for good" in book.run("stream", "keep", "meter-1", "--all", status=5).errors
    assert book.json("compact", "--percent", "0")["segments"] == 0  # the last is never touched


def test_a_state_is_of_what_is_kept(bank):
    bank.run("append", "account-9", "AccountOpened", '{"id":"c"}')
    for amount in (5, 7, 11):
        bank.run("append", "account-9", "Deposited", json.dumps({"amount": amount}))
    bank.run("stream", "keep", "account-9", "--truncate-before", "3")
    assert bank.json("state", "account-9")["state"]["balance"] == 18


@pytest.mark.parametrize("arguments, message", [
    (["stream", "show", "none-1"], "there is no stream none-1"),
    (["stream", "keep", "none-1", "--max-count", "1"], "there is no stream none-1"),
    (["stream", "keep", "meter-1"], "say --max-age"),
    (["stream", "keep", "meter-1", "--max-count", "0"], "max_count is a number from 1 on"),
    (["stream", "keep", "meter-1", "--max-age", "soon"], "takes a duration"),
    (["stream", "keep", "meter-1", "--max-age", "0 s"], "max_age is a duration"),
    (["stream", "keep", "meter-1", "--truncate-before", "9"], "past the next version, which is 2"),
    (["stream", "keep", "$stream-meter-1", "--max-count", "1"], "holds rules, and has none"),
    (["stream", "keep", "m" * 1020, "--max-count", "1"], "too long for rules"),
    (["compact", "--percent", "101"], "101 is more than all"),
    (["compact", "--rate", "0"], "rate: bytes a second, from 1 on"),
])
def test_bad_input_is_named_and_stores_nothing(bank, arguments, message):
    append(bank, "meter-1", 1)
    if arguments[2].startswith("$"):
        bank.run("stream", "keep", "meter-1", "--max-count", "1")
    before = bank.json("sql", "select count(*) n from events")
    command = bank.command(*arguments)
    answer = bank.run(*arguments, status=2 if "takes a" in message or "say" in message else 1)
    assert message in answer.errors, command
    assert bank.json("sql", "select count(*) n from events") == before


def fill_segments(book, count):
    """So many sealed segments, of events of two streams in turns."""
    size = 900_000
    for i in range(count * SEGMENT // size // 40 + 1):
        lines = [json.dumps({"stream": f"blob-{n % 2}", "type": "Kept", "data": {"n": i * 40 + n,
                                                                                "pad": "x" * size}})
                 for n in range(40)]
        book.json("append", "--file", "-", text_in="\n".join(lines))


def log_size(data):
    return sum(path.stat().st_size for path in (data / "log").iterdir())


def test_compaction_gives_back_space_beside_a_server(bank, serve, data):
    server = serve(bank)
    fill_segments(bank, 2)
    before = log_size(data)
    last = bank.json("sql", "select max(position) n, count(*) c from events")
    bank.run("stream", "delete", "blob-0")
    answer = bank.json("compact")
    assert answer["segments"] == 2 and answer["removed"] > 60
    assert log_size(data) < before * 0.65
    # Nothing else has changed: the other stream, positions, and what is removed reads as removed.
    kept = [e["data"]["n"] for e in bank.run("read", "blob-1", "-o", "jsonl").lines]
    assert kept == list(range(1, last[0]["n"] + 1, 2))
    gone = bank.run("read", "blob-0", "--removed", "--limit", "3", "-o", "jsonl").lines
    assert [(e["removed"], len(e["leaf"]), e["version"]) for e in gone] == \
        [(True, 64, 1), (True, 64, 2), (True, 64, 3)]
    # The same after a kill, and in a model's eyes.
    server.kill()
    assert [e["data"]["n"] for e in bank.run("read", "blob-1", "-o", "jsonl").lines] == kept
    assert bank.json("compact")["segments"] == 0


def test_compaction_killed_goes_on(bank, serve, data):
    server = serve(bank)
    fill_segments(bank, 1)
    bank.run("stream", "delete", "blob-0")
    kept = [e["data"]["n"] for e in bank.run("read", "blob-1", "-o", "jsonl").lines]
    process = subprocess.Popen(bank.command("compact", "--rate", "30000000"),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 20
    while not (data / "log" / "compact.tmp").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(server.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode != 0
    server.kill()
    serve(bank)
    assert not (data / "log" / "compact.tmp").exists()
    assert [e["data"]["n"] for e in bank.run("read", "blob-1", "-o", "jsonl").lines] == kept
    assert bank.json("compact")["removed"] > 20
    assert [e["data"]["n"] for e in bank.run("read", "blob-1", "-o", "jsonl").lines] == kept
