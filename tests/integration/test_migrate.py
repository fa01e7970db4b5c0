# SPDX-License-Identifier: Apache-2.0
"""A book is copied into a new one beside its writer, killed, followed, and compared with itself.

DAYBOOK_SEED gives the moments of kills; DAYBOOK_KILLS how many of them (a longer run tries more).
"""
import hashlib
import json
import os
import random
import shutil
import subprocess
import time

import pytest

from conftest import BANK, Book, clean_environment

SEED = int(os.environ.get("DAYBOOK_SEED", "1"))
KILLS = int(os.environ.get("DAYBOOK_KILLS", "6"))

SCRIPT = """
return {
    version = 1,
    rename_categories = { account = "konto" },
    rename_types = { Deposited = "PaidIn" },
    drop_types = { "Noise" },
    retag = { AccountOpened = { "account:{id}" } },
    events = {
        Withdrawn = function(event)
            return { type = "PaidIn", data = { amount = -event.data.amount } }
        end,
        AccountOpened = function(event)
            return { event, { type = "Numbered", data = { number = event.data.id } } }
        end,
    },
}
"""

FOLD = """
return {
    initial = { balance = 0, status = "none" },
    on = {
        AccountOpened = function(state, data) state.id = data.id state.status = "active" end,
        PaidIn = function(state, data) state.balance = state.balance + data.amount end,
    },
}
"""


@pytest.fixture
def old(bank):
    bank.run("import", BANK / "sample.jsonl", "--as", "sample")
    return bank


@pytest.fixture
def new(binary, tmp_path):
    """A book whose shape is the one that SCRIPT makes; its data lies in its folder."""
    folder = tmp_path / "new"
    (folder / "folds").mkdir(parents=True)
    (folder / "book.yaml").write_text("book: new\ndata: data\n")
    (folder / "folds" / "konto.lua").write_text(FOLD)
    (folder / "migration.lua").write_text(SCRIPT)
    return Book(binary, folder, folder / "data")


def migrating(old, new, *arguments):
    return ["migrate", *arguments, "--to", new.folder, "--to-data", new.data]


def migrate(old, new, *arguments, status=0):
    return old.run(*migrating(old, new, "--with", new.folder / "migration.lua", *arguments),
                   "-o", "json", status=status)


def events_of(book, *arguments):
    return book.run("read", "-o", "jsonl", *arguments).lines


def expected(events):
    """What SCRIPT makes, computed a second time."""
    made = []
    for event in events:
        if event["type"] == "Noise":
            continue
        event = dict(event, stream=event["stream"].replace("account-", "konto-"))
        if event["type"] == "Withdrawn":
            event["data"] = {"amount": -event["data"]["amount"]}
        if event["type"] in ("Deposited", "Withdrawn"):
            event["type"] = "PaidIn"
        made.append(event)
        if event["type"] == "AccountOpened":
            event["tags"] = ["account:" + event["data"]["id"]]
            extra = dict(event, type="Numbered", data={"number": event["data"]["id"]}, id=None)
            extra.pop("tags")
            made.append(extra)
    return made


def check(old, new):
    want, got = expected(events_of(old)), events_of(new)
    assert len(got) == len(want)
    versions = {}
    for event, other in zip(got, want):
        versions[event["stream"]] = versions.get(event["stream"], 0) + 1
        assert event["version"] == versions[event["stream"]]
        for key in ("stream", "type", "data", "time", "occurred", "tags", "meta"):
            assert event.get(key) == other.get(key)
        assert other["id"] in (None, event["id"])
    assert len({event["id"] for event in got}) == len(got)


def log_of(book):
    """A checksum of each sealed byte of the log, as far as it is synced now."""
    return {path.name: hashlib.sha256(path.read_bytes().rstrip(b"\0")).hexdigest()
            for path in sorted((book.data / "log").glob("*.seg"))}


def test_a_book_is_copied_and_changed(old, new):
    before = log_of(old)
    answer = migrate(old, new).json
    assert (answer["read"], answer["made"], answer["split"], answer["behind"]) == (2351, 2353, 2, 0)
    check(old, new)
    assert log_of(old) == before
    # Times are kept: what was true then is answered alike.
    at = events_of(old)[1000]["time"]
    for stream, other in (("account-123", "konto-123"), ("account-456", "konto-456")):
        for question in ([], ["--at", at], ["--occurred-at", "2026-02-12"]):
            assert old.json("state", stream, *question)["state"]["balance"] == \
                new.json("state", other, *question)["state"]["balance"]
    again = migrate(old, new).json
    assert again["position"] == answer["position"] and again["made"] == answer["made"]


def test_it_goes_on_beside_a_server(old, new, serve):
    server = serve(old)
    follower = subprocess.Popen(
        old.command(*migrating(old, new, "--with", new.folder / "migration.lua", "--follow")),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment())
    for number in range(300):
        answer = server.post("/streams/account-%d" % (number % 7),
                             {"type": ("Noise", "Deposited")[number % 2], "data": {"amount": 1}})
        assert answer.status == 201, answer
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if len(events_of(new)) == 2353 + 150:
            break
        time.sleep(0.05)
    follower.terminate()
    output, errors = follower.communicate(timeout=30)
    assert follower.returncode == 0, errors
    check(old, new)
    server.stop()
    migrate(old, new)
    check(old, new)


@pytest.mark.parametrize("index", range(KILLS))
def test_killed_and_done_again(old, new, index):
    source = random.Random(SEED * 5000 + index)
    events = [{"stream": f"account-{n % 50}", "type": "Deposited", "data": {"amount": n}}
              for n in range(9000)]
    for first in range(0, len(events), 3000):
        old.run("append", "--file", "-",
                text_in="\n".join(json.dumps(e) for e in events[first:first + 3000]))
    command = old.command(*migrating(old, new, "--with", new.folder / "migration.lua"))
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=clean_environment())
        time.sleep(source.uniform(0, 0.15))
        process.kill()
        process.wait()
    migrate(old, new)
    check(old, new)


def test_what_is_wrong_is_named(old, new, tmp_path):
    def refused(arguments, *texts, status=1):
        answer = old.run(*arguments, status=status)
        for text in texts:
            assert text in answer.errors, answer
    to = ["--to", new.folder, "--to-data", new.data]
    refused(["migrate"], "--to DIR is missing", status=2)
    refused(["migrate", *to], "keeps no migration's script")
    refused(["migrate", *to, "--with", tmp_path / "none.lua"], "none.lua")
    refused(["migrate", "--to", tmp_path / "nowhere", "--with", new.folder / "migration.lua"],
            "nowhere")
    bad = tmp_path / "bad.lua"
    bad.write_text("return { version = 1, any = function(event) while true do end end }")
    refused(["migrate", *to, "--with", bad], "position 1, AccountOpened, version 1 of account-123",
            "instructions")
    assert events_of(new) == []
    migrate(old, new)
    refused(["migrate", *to, "--with", bad], "has changed", "--changed-script", status=4)
    # It takes nothing else while it is being filled, and no other book.
    answer = new.run("append", "a", "T", "{}", status=5)
    assert "being filled by a migration" in answer.errors
    other = Book(old.binary, BANK, tmp_path / "other")
    other.run("append", "a", "T", "{}")
    answer = other.run("migrate", *to, "--with", new.folder / "migration.lua", status=5)
    assert "filled from another book" in answer.errors
    with_events = Book(new.binary, new.folder, tmp_path / "with-events")
    with_events.run("append", "a", "T", "{}")
    answer = old.run("migrate", "--to", new.folder, "--to-data", with_events.data, "--with",
                     new.folder / "migration.lua", status=5)
    assert "events of its own" in answer.errors


def test_a_script_that_was_mended(old, new):
    script = new.folder / "migration.lua"
    script.write_text(SCRIPT.replace("AccountOpened = function(event)",
                                     "Late = function() error('not now') end,\n"
                                     "AccountOpened = function(event)"))
    old.run("append", "account-9", "Late", "{}")
    answer = migrate(old, new, status=1)
    assert "version 1 of account-9" in answer.errors and "not now" in answer.errors
    script.write_text(SCRIPT)
    migrate(old, new, "--changed-script")
    check(old, new)
