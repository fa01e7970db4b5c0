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
    initial = { balance = 0, currency = "USD", status = "none" },
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


def look(old, new, what, *arguments, status=0):
    return old.run("migrate", what, *arguments, "--to", new.folder, "--to-data", new.data, "-o",
                   "json", status=status).json


def test_verified(old, new):
    old.run("append", "account-5", "Noise", "{}")
    old.run("append", "other-5", "Deposited", '{"amount":1}')
    migrate(old, new)
    found = look(old, new, "verify")
    assert (found["old_events"], found["new_events"], found["old_streams"],
            found["new_streams"]) == (2353, 2354, 4, 3)
    assert (found["states_compared"], found["states_equal"], found["differences"]) == (2, 2, 0)
    assert found["states_not_compared"] == {"without_fold": 1, "split": 0, "merged": 0,
                                            "dropped": 1, "skipped": 0, "kept_less": 0}
    types = {row["type"]: (row["old"], row["new"], row["why"]) for row in found["types"]}
    assert types == {
        "AccountOpened": (2, 2, "2 Numbered beside them"),
        "Numbered": (0, 2, "2 of AccountOpened"),
        "Deposited": (2347, 0, "2347 became 2347 PaidIn"),
        "Withdrawn": (3, 0, "3 became 3 PaidIn"),
        "PaidIn": (0, 2350, "2347 of Deposited, 3 of Withdrawn"),
        "Noise": (1, 0, "1 dropped")}
    assert look(old, new, "verify", "--sample", 1)["states_compared"] <= 1
    status = look(old, new, "status")
    assert (status["state"], status["position"], status["behind"]) == ("copying", 2353, 0)
    old.run("append", "other-5", "Deposited", '{"amount":1}')
    assert look(old, new, "status")["behind"] == 1
    report = look(old, new, "report")
    assert (report["read"], report["made"]) == (2353, 2354)
    assert (report["dropped"], report["split"]) == (1, 2)
    assert {(row["from"], row["to"]): row["events"] for row in report["categories"]} == {
        ("account", "konto"): 2353, ("account", None): 0, ("other", "other"): 1}
    table = old.run("migrate", "report", "--to", new.folder, "--to-data", new.data).text
    assert "Deposited" in table and "konto" in table
    assert look(old, new, "position", 3) == {"position": 3, "up_to": 5, "first": 5, "count": 1}
    place = look(old, new, "position", 2352)
    assert place["count"] == 0 and place["up_to"] == look(old, new, "position", 2351)["up_to"]
    answer = old.run("migrate", "position", 9999, "--to", new.folder, "--to-data", new.data,
                     status=1)
    assert "position 9999 of the old book is not in the new one" in answer.errors


def test_another_fold_is_found(old, new):
    migrate(old, new)
    fold = new.folder / "folds" / "konto.lua"
    fold.write_text(FOLD.replace("balance = 0,", "balance = 7,"))
    found = look(old, new, "verify", status=1)
    assert (found["states_compared"], found["states_equal"], found["differences"]) == (2, 0, 2)
    assert found["different"][0] == {
        "what": "state", "old_stream": "account-123", "new_stream": "konto-123", "at": "balance",
        "expected": "120", "found": "127"}
    fold.write_text(FOLD.replace("state.balance = ", "error('no') state.balance = "))
    assert "no" in look(old, new, "verify", status=1)["different"][0]["error"]


def test_states_that_are_to_differ(old, new):
    (new.folder / "folds" / "konto.lua").write_text(FOLD.replace("balance = 0,", "balance = 7,"))
    (new.folder / "migration.lua").write_text(SCRIPT.replace("version = 1,", """version = 1,
    states = function(state, stream)
        if stream == "konto-456" then return nil end
        state.balance = state.balance + 7
        return state
    end,"""))
    migrate(old, new)
    found = look(old, new, "verify")
    assert (found["states_compared"], found["states_equal"], found["differences"]) == (1, 1, 0)
    assert found["states_not_compared"]["skipped"] == 1


def test_streams_split_and_merged(old, new):
    for name in ("b-1", "b-2", "c-1"):
        for number in range(3):
            old.run("append", name, "T", json.dumps({"n": number}))
    (new.folder / "folds" / "b.lua").write_text(FOLD)
    shutil.copytree(BANK, new.folder.parent / "old")
    old.folder = new.folder.parent / "old"
    for name in ("b", "c"):
        shutil.copy(new.folder / "folds" / "b.lua", old.folder / "folds" / f"{name}.lua")
    (new.folder / "migration.lua").write_text("""return { version = 1,
        events = { T = function(event)
            if event.stream == "c-1" then return { stream = "c-" .. event.data.n } end
            return { stream = "b-1" }
        end } }""")
    migrate(old, new)
    found = look(old, new, "verify")
    assert found["states_not_compared"] == {"without_fold": 2, "split": 1, "merged": 2,
                                            "dropped": 0, "skipped": 0, "kept_less": 0}
    merged = [(e["version"], e["data"]["n"]) for e in new.run("read", "b-1", "-o", "jsonl").lines]
    assert merged == [(1, 0), (2, 1), (3, 2), (4, 0), (5, 1), (6, 2)]


def test_a_book_that_is_not_what_the_script_says(old, new):
    """Another script for what is there already: each event that it would have changed is named."""
    migrate(old, new)
    (new.folder / "migration.lua").write_text(SCRIPT.replace('"PaidIn", data', '"PaidOut", data'))
    old.run("append", "account-123", "Withdrawn", '{"amount":1}')
    migrate(old, new, "--changed-script")
    found = look(old, new, "verify", status=1)
    events = [d for d in found["different"] if d["what"] == "event"]
    assert [(d["field"], d["expected"], d["found"]) for d in events] == \
        [("type", "PaidOut", "PaidIn")] * 3
    assert (events[0]["old_position"], events[0]["new_position"]) == (3, 5)
    (new.folder / "migration.lua").write_text(SCRIPT.replace('drop_types = { "Noise" }',
                                                             'drop_types = { "Withdrawn" }'))
    old.run("append", "account-123", "Deposited", '{"amount":1}')
    migrate(old, new, "--changed-script")
    found = look(old, new, "verify", status=1)
    events = [d for d in found["different"] if d["what"] == "event"]
    assert [(d["field"], d["old_position"]) for d in events] == [("id", 4)]


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


def switch(old, new, *arguments, status=0):
    return old.run("migrate", "switch", *arguments, "--to", new.folder, "--to-data", new.data,
                   "-o", "json", status=status)


def undo(old, new, *arguments, status=0):
    return old.run("migrate", "undo", *arguments, "--to", new.folder, "--to-data", new.data,
                   "-o", "json", status=status)


def test_the_new_book_takes_over(old, new, serve):
    server = serve(old)
    migrate(old, new)
    server.post("/streams/account-9", {"type": "Deposited", "data": {"amount": 9}})
    before = log_of(old)
    answer = switch(old, new).json
    assert answer["old_position"] == 2353 and answer["rules_left"] == 0
    refused = server.post("/streams/account-9", {"type": "Deposited", "data": {"amount": 9}})
    assert refused.status == 403 and f"has moved to {new.folder}" in refused.text
    # The old book holds one event more, and else each byte as before.
    assert [event["type"] for event in
            old.run("read", "--hidden", "--after", "2352", "-o", "jsonl").lines] == ["BookMoved"]
    for name, path in ((name, old.data / "log" / name) for name in before):
        sealed = path.read_bytes().rstrip(b"\0")
        if hashlib.sha256(sealed).hexdigest() != before[name]:
            assert name == max(before)
    check(old, new)
    new.run("append", "konto-9", "PaidIn", '{"amount":1}', "--expect", "1")
    assert new.json("state", "konto-9")["state"]["balance"] == 10
    assert look(old, new, "status")["state"] == "switched"
    answer = switch(old, new, status=5)
    assert "has been switched to" in answer.errors
    answer = undo(old, new, status=5)
    assert "has taken over" in answer.errors and "--force" in answer.errors
    undo(old, new, "--force")
    assert server.post("/streams/account-9",
                       {"type": "Deposited", "data": {"amount": 9}}).status == 201
    assert "has not moved" in undo(old, new, "--force", status=1).errors


def test_nothing_is_switched_when_anything_differs(old, new):
    migrate(old, new)
    (new.folder / "folds" / "konto.lua").write_text(FOLD.replace("balance = 0,", "balance = 7,"))
    answer = switch(old, new, status=1)
    assert json.loads(answer.text)["differences"] == 2
    old.run("append", "account-123", "Deposited", '{"amount":1}')
    switch(old, new, "--no-verify")
    assert "has moved to" in old.run("append", "account-123", "Deposited", '{"amount":1}',
                                     status=5).errors


def test_an_end_that_was_cut_short(old, new, serve, tmp_path):
    """The old book has ended, and the new one has not taken over: both ways are open."""
    migrate(old, new)
    server = serve(old)
    move = {"to": str(new.folder), "book": "00000000-0000-4000-8000-000000000001"}
    assert server.post("/move", {"to": ""}).status == 400
    assert server.post("/move", move).status == 200
    assert server.post("/move", move).status == 409
    undo(old, new)
    assert server.post("/streams/account-9",
                       {"type": "Deposited", "data": {"amount": 9}}).status == 201
    assert server.post("/move", move).status == 200
    assert "which is another book" in switch(old, new, status=5).errors
    undo(old, new)
    move["book"] = new.json("backup", tmp_path / "backup")["book"]
    assert server.post("/move", move).status == 200
    server.stop()
    switch(old, new)
    check(old, new)
    new.run("append", "konto-9", "PaidIn", '{"amount":1}')


def test_groups_and_rules_are_carried_over(old, new):
    old.run("group", "set", "mailer", "--category", "account", "--type", "AccountOpened,Withdrawn")
    old.run("group", "set", "all")
    assert [e["position"] for e in
            old.run("group", "read", "mailer", "--limit", "3", "-o", "jsonl").lines] == [1, 3, 5]
    old.run("group", "ack", "mailer", 1)
    old.run("group", "read", "mailer", "--limit", "3")
    old.run("group", "nack", "mailer", 3, "--action", "park", "--reason", "no such thing")
    for number in range(4):
        old.run("append", "account-7", "Deposited", json.dumps({"amount": number}))
        old.run("append", "account-8", "Deposited", json.dumps({"amount": number}))
    old.run("stream", "keep", "account-7", "--truncate-before", "3")
    old.run("stream", "keep", "account-8", "--max-count", "1")
    old.run("stream", "close", "account-456")
    shown = old.json("group", "show", "mailer")
    before = events_of(old, "account-7"), events_of(old, "account-8")
    answer = switch_all(old, new)
    assert (answer["groups"], answer["rules"], answer["rules_left"]) == (2, 3, 0)
    after = new.json("group", "show", "mailer")
    assert after["settings"]["categories"] == ["konto"]
    assert after["settings"]["types"] == ["AccountOpened", "Withdrawn"]
    assert after["parked"] == shown["parked"] == 1
    assert after["behind"] == 0
    # An open AccountOpened became two events, and both are open.
    assert after["ready"] + after["waiting"] == shown["ready"] + shown["waiting"] + 1
    parked = new.json("group", "parked", "mailer")[0]
    became = look(old, new, "position", 3)["first"]
    assert (parked["position"], parked["reason"], parked["type"]) == \
        (became, "no such thing", "PaidIn")
    # What was open is open: the same events, where they are now.
    assert {"mailer", "all"} == {group["name"] for group in new.json("group", "ls")}
    assert [e["data"] for e in events_of(new, "konto-7")] == [e["data"] for e in before[0]]
    assert [e["data"] for e in events_of(new, "konto-8")] == [e["data"] for e in before[1]]
    assert "closed for good" in new.run("append", "konto-456", "PaidIn", '{"amount":1}',
                                        status=5).errors


def switch_all(old, new):
    migrate(old, new)
    return switch(old, new).json


@pytest.mark.parametrize("index", range(KILLS))
def test_a_switch_killed_and_done_again(old, new, index):
    source = random.Random(SEED * 6000 + index)
    old.run("group", "set", "mailer", "--category", "account")
    old.run("stream", "keep", "account-123", "--max-count", "1")
    migrate(old, new)
    old.run("append", "account-9", "Deposited", '{"amount":1}')
    command = old.command("migrate", "switch", "--to", new.folder, "--to-data", new.data)
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=clean_environment())
        time.sleep(source.uniform(0, 0.12))
        process.kill()
        process.wait()
    if look(old, new, "status")["state"] == "copying":
        switch(old, new)
    check(old, new)
    assert [group["name"] for group in new.json("group", "ls")] == ["mailer"]
    new.run("append", "konto-9", "PaidIn", '{"amount":1}')
    assert "has moved" in old.run("append", "a", "T", "{}", status=5).errors


# ---- Personal fields ----

PEOPLE = {"versions": [{"version": 1, "schema": {
    "type": "object", "x-subject": "who", "required": ["who", "name"],
    "properties": {"who": {"type": "string"}, "amount": {"type": "integer"},
                   "name": {"type": "string", "x-personal": True},
                   "lines": {"type": "array", "items": {"type": "object", "properties": {
                       "n": {"type": "integer"},
                       "note": {"type": "string", "x-personal": True}}}}}}}]}
PEOPLE_FOLD = """return {
    initial = { amount = 0, names = {} },
    on = { Placed = function(state, data)
        state.names[#state.names + 1] = data.name
        state.amount = state.amount + data.amount
    end },
}
"""
PEOPLE_SCRIPT = """return {
    version = 1,
    rename_categories = { order = "purchase" },
    events = { Placed = function(event) event.data.amount = event.data.amount * 2 end },
    states = function(state) state.amount = state.amount * 2 return state end,
}
"""


@pytest.fixture
def shops(binary, tmp_path):
    """Two books of people's orders; what is personal holds MARKER."""
    made = []
    for name, fold in (("shop", "order"), ("shop-2", "purchase")):
        folder = tmp_path / name
        (folder / "events").mkdir(parents=True)
        (folder / "folds").mkdir()
        (folder / "book.yaml").write_text(f"book: {name}\nkeys: {{root: file:secret}}\n"
                                          "data: data\n")
        (folder / "secret").write_text(f"the secret of {name}\n")
        (folder / "events" / "Placed.schema.json").write_text(json.dumps(PEOPLE))
        (folder / "folds" / f"{fold}.lua").write_text(PEOPLE_FOLD)
        (folder / "migration.lua").write_text(PEOPLE_SCRIPT)
        made.append(Book(binary, folder, folder / "data"))
    return made


def order(number):
    who = f"p{number % 20}"
    return {"stream": f"order-{who}", "type": "Placed", "data": {
        "who": who, "amount": number, "name": f"MARKER-{who}",
        "lines": [{"note": f"MARKER-{number}-{line}", "n": line} for line in range(number % 3)]}}


def place_orders(book, count):
    book.run("append", "--file", "-",
             text_in="\n".join(json.dumps(order(number)) for number in range(count)))


def holds(folder, text):
    return subprocess.run(["grep", "-rqF", text, str(folder)], check=False).returncode == 0


def check_people(old, new):
    """The new book says of each event what the old one does: opened, forgotten, or nothing."""
    want, got = events_of(old), events_of(new)
    assert len(want) == len(got) > 0
    for event, other in zip(want, got):
        data = dict(event["data"], amount=event["data"]["amount"] * 2)
        assert other["data"] == data
        assert other["stream"] == event["stream"].replace("order-", "purchase-")
        assert (other["id"], other["time"]) == (event["id"], event["time"])
    assert not holds(new.data, "MARKER")
    return got


def test_personal_fields_are_sealed_anew(shops):
    old, new = shops
    place_orders(old, 200)
    old.run("forget", "p3", "--now")
    old.run("forget", "p4", "--tombstone", "--wait")
    place_orders(old, 3)
    migrate(old, new)
    got = check_people(old, new)
    forgotten = [e["data"]["name"] for e in got if e["data"]["who"] == "p3"]
    assert len(forgotten) == 10 and all(list(name) == ["$forgotten"] for name in forgotten)
    assert len({name["$forgotten"] for name in forgotten}) == 1
    assert not [e for e in got if e["data"]["who"] == "p4"]
    assert len([e for e in got if isinstance(e["data"]["name"], str)]) == 183
    assert look(old, new, "verify")["differences"] == 0
    switch(old, new)
    check_people(old, new)
    new.run("verify")
    # It has keys of its own, tells of their epoch now, and forgets with them.
    new.run("append", "purchase-p5", "Placed", json.dumps(order(5)["data"]))
    hidden = new.run("read", "--hidden", "-o", "jsonl").lines
    assert [e["type"] for e in hidden if e["stream"] == "$subjects"] == ["EpochRotated"]
    assert new.json("keys", "ls")["subjects"] == 18
    new.run("forget", "p5", "--now")
    assert {json.dumps(e["data"]["name"])[:13] for e in events_of(new)
            if e["data"]["who"] == "p5"} == {'{"$forgotten"'}
    shutil.rmtree(old.data)
    assert not holds(new.data, "MARKER")
    assert len([e for e in events_of(new) if isinstance(e["data"]["name"], str)]) == 173


def test_forgotten_after_it_was_copied(shops):
    """Forgotten in the old book while the migration goes on: what was copied shall not stay."""
    old, new = shops
    place_orders(old, 40)
    old.run("forget", "p1", "--now")
    migrate(old, new)
    old.run("append", "order-p1", "Placed", json.dumps(order(1)["data"]))
    migrate(old, new)
    check_people(old, new)
    old.run("forget", "p2", "--now")
    answer = migrate(old, new, status=5)
    assert "was copied before: delete the new book's data, with its keys, and begin again" in \
        answer.errors
    assert "position 4 " in answer.errors
    switch(old, new, status=5)
    shutil.rmtree(new.data)
    migrate(old, new)
    check_people(old, new)
    old.run("forget", "p6", "--tombstone", "--wait")
    assert "position 8 was copied before" in migrate(old, new, status=5).errors


def test_forgotten_after_it_was_copied_and_removed(shops):
    """The old book does not know any more whose an event was, and its copy can still be opened."""
    old, new = shops
    place_orders(old, 40)
    migrate(old, new)
    old.run("stream", "delete", "order-p2")
    old.run("append", "order-p99", "Placed", json.dumps(dict(order(1)["data"], who="p99")))
    old.run("forget", "p99", "--now")  # compacts
    old.run("forget", "p2", "--now")
    answer = migrate(old, new, status=5)
    assert "position 4, which was copied before, was removed from it since" in answer.errors
    switch(old, new, status=5)
    shutil.rmtree(new.data)
    migrate(old, new)
    assert not [e for e in events_of(new) if e["data"]["who"] == "p2"]
    switch(old, new)


def test_nothing_personal_becomes_plain_unasked(shops):
    old, new = shops
    place_orders(old, 40)
    schema = json.loads(json.dumps(PEOPLE))
    items = schema["versions"][0]["schema"]["properties"]["lines"]["items"]
    items["properties"]["note"].pop("x-personal")
    (new.folder / "events" / "Placed.schema.json").write_text(json.dumps(schema))
    answer = migrate(old, new, status=5)
    assert "position 3, Placed, version 1 of order-p1: its personal field lines[0].note would be " \
        "plain in the new book" in answer.errors
    assert "Placed.lines[].note" in answer.errors
    assert events_of(new) == [] and not holds(new.data, "MARKER")
    script = new.folder / "migration.lua"
    script.write_text(PEOPLE_SCRIPT.replace("version = 1,", """version = 1,
    plain = { "Placed.lines[].note" },"""))
    migrate(old, new)
    assert holds(new.data / "log", "MARKER-1-0") and not holds(new.data / "log", "MARKER-p1")
    shutil.rmtree(new.data)
    script.write_text(PEOPLE_SCRIPT.replace("function(event)", """function(event)
        for _, line in ipairs(event.data.lines) do line.note = "left out" end"""))
    migrate(old, new)
    assert not holds(new.data, "MARKER")
    assert events_of(new)[1]["data"]["lines"] == [{"note": "left out", "n": 0}]
    # A book that declares nothing gets nothing.
    shutil.rmtree(new.data)
    (new.folder / "events" / "Placed.schema.json").unlink()
    assert "its personal field" in migrate(old, new, status=5).errors
    assert not holds(new.data, "MARKER")


@pytest.mark.parametrize("index", range(KILLS))
def test_sealing_killed_and_done_again(shops, index):
    old, new = shops
    source = random.Random(SEED * 7000 + index)
    for _ in range(4):
        place_orders(old, 2500)
    old.run("forget", "p3", "--now")
    old.run("forget", "p4", "--tombstone", "--wait")
    command = old.command(*migrating(old, new, "--with", new.folder / "migration.lua"))
    for _ in range(4):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=clean_environment())
        time.sleep(source.uniform(0, 0.4))
        process.kill()
        process.wait()
    migrate(old, new)
    check_people(old, new)
    assert look(old, new, "verify")["differences"] == 0
    # Each subject has one key, whatever was killed.
    assert new.json("keys", "ls")["subjects"] == 18
    switch(old, new)
