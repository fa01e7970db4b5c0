# SPDX-License-Identifier: Apache-2.0
"""Personal fields: sealed on every way in, opened on every way out; keys, epochs and backups."""
import json
import shutil
import subprocess

import pytest

from conftest import Book

SCHEMA = {"versions": [{"version": 1, "schema": {
    "type": "object", "x-subject": "who", "x-tags": ["order:{who}"],
    "properties": {"who": {"type": "string"}, "amount": {"type": "integer"},
                   "name": {"type": "string", "x-personal": True},
                   "lines": {"type": "array", "items": {"type": "object", "properties": {
                       "note": {"type": "string", "x-personal": True}}}}}}}]}
FOLD = """return {
    initial = {amount = 0},
    on = {Placed = function(state, data)
        state.label = 'for ' .. data.name
        state.amount = state.amount + data.amount
    end},
}
"""


@pytest.fixture
def shop(bank, tmp_path):
    folder = tmp_path / "shop"
    for name in ("events", "folds", "imports"):
        (folder / name).mkdir(parents=True)
    (folder / "book.yaml").write_text("book: shop\nkeys: {root: file:secret}\n")
    (folder / "secret").write_text("open sesame\n")
    (folder / "events" / "Placed.schema.json").write_text(json.dumps(SCHEMA))
    (folder / "folds" / "order.lua").write_text(FOLD)
    return Book(bank.binary, folder, tmp_path / "data")


def placed(name, who="ann"):
    return {"who": who, "amount": 5, "name": name, "lines": [{"note": f"note {name}"}]}


def holds(folder, text):
    return subprocess.run(["grep", "-rqF", text, str(folder)], check=False).returncode == 0


def names(book):
    return [e["data"].get("name") for e in book.run("read", "-o", "jsonl").lines]


def test_every_way_in_seals_and_every_way_out_opens(shop, serve, tmp_path):
    shop.run("append", "order-1", "Placed", json.dumps(placed("MARKER-CLI")))
    lines = tmp_path / "events.jsonl"
    lines.write_text(json.dumps({"stream": "order-1", "type": "Placed",
                                 "data": placed("MARKER-FILE")}) + "\n")
    shop.run("append", "--file", lines)
    server = serve(shop)
    answer = server.post("/streams/order-1", [{"type": "Placed", "data": placed("MARKER-HTTP")}])
    assert answer.status == 201, answer
    assert names(shop) == ["MARKER-CLI", "MARKER-FILE", "MARKER-HTTP"]
    event = server.get("/streams/order-1").json["events"][0]
    assert event["data"] == placed("MARKER-CLI")
    assert event["tags"] == ["order:ann"]
    assert server.get("/streams/order-1/state").json["state"]["label"] == "for MARKER-HTTP"
    limits = [l for l in open(f"/proc/{server.process.pid}/limits") if "core file" in l][0]
    assert limits.split()[4] == "0"
    for marker in ("MARKER-CLI", "MARKER-FILE", "MARKER-HTTP"):
        assert not holds(shop.data / "log", marker)
        assert not holds(shop.data / "keys", marker)


def test_bad_events_are_refused_by_name(shop):
    answer = shop.run("append", "order-1", "Placed", '{"name":"x"}', status=1)
    assert "event 0: Placed belongs to a subject, and its who, which names it, is missing" in \
        answer.errors
    answer = shop.run("append", "order-1", "Other", "{}", "--tags", "$key:1", status=1)
    assert "its tag $key:1 begins with '$'" in answer.errors
    assert not (shop.data / "keys").exists()


def test_the_same_again_is_known(shop):
    one = "0189dcd5-5311-7d40-8db0-9496a2eef37b"
    data = json.dumps(placed("A"))
    first = shop.json("append", "order-1", "Placed", data, "--id", one)
    again = shop.json("append", "order-1", "Placed", data, "--id", one)
    assert again["known"] and again["position"] == first["position"]
    shop.run("append", "order-1", "Placed", json.dumps(placed("B")), "--id", one, status=4)


def test_epochs(shop):
    shop.run("append", "order-1", "Placed", json.dumps(placed("A")))
    assert shop.json("keys", "ls")["epoch"] == 1
    assert shop.json("keys", "rotate")["epoch"] == 1
    old = (shop.data / "keys" / "epoch-0000000001.key").read_bytes()
    assert shop.json("keys", "rotate", "--now")["epoch"] == 2
    assert names(shop) == ["A"]
    assert [p.name for p in (shop.data / "keys").glob("epoch-*")] == ["epoch-0000000002.key"]
    assert (shop.data / "keys" / "epoch-0000000002.key").read_bytes() != old


def test_keys_that_do_not_fit_are_refused(shop, tmp_path):
    shop.run("append", "order-1", "Placed", json.dumps(placed("A")))
    (shop.folder / "secret").write_text("another\n")
    assert "the passphrase in" in shop.run("read", status=5).errors
    (shop.folder / "secret").write_text("open sesame\n")
    shutil.copytree(shop.data / "keys", tmp_path / "old")
    shop.run("keys", "rotate", "--now")
    shutil.rmtree(shop.data / "keys")
    assert "subjects.keys is missing" in shop.run("read", status=1).errors
    shutil.copytree(tmp_path / "old", shop.data / "keys")
    assert "it is an older copy" in shop.run("read", status=4).errors


def test_a_book_without_subjects_has_no_keys(bank):
    bank.run("append", "account-1", "AccountOpened", '{"id":"c-1"}')
    assert not (bank.data / "keys").exists()
    assert bank.json("keys", "ls")["epoch"] == 0
    bank.run("keys", "rotate", status=1)


def test_backup_takes_the_list_of_erased_keys(shop, tmp_path):
    shop.run("append", "order-1", "Placed", json.dumps(placed("MARKER")))
    backup = tmp_path / "backup"
    shop.run("backup", backup)
    assert (shop.data / "backups").read_text() == f"{backup}\n"
    assert not holds(backup, "MARKER")
    again = Book(shop.binary, shop.folder, tmp_path / "again")
    again.run("restore", backup)
    assert "subjects.keys is missing" in again.run("read", status=1).errors
    shutil.copytree(shop.data / "keys", again.data / "keys", dirs_exist_ok=True)
    assert names(again) == ["MARKER"]
    (backup / "erased.list").rename(tmp_path / "list")
    third = Book(shop.binary, shop.folder, tmp_path / "third")
    assert "erased.list is missing" in third.run("restore", backup, status=1).errors
    fourth = Book(shop.binary, shop.folder, tmp_path / "fourth")
    fourth.run("restore", backup, "--erased-list", tmp_path / "list")
    (tmp_path / "list").write_bytes(b"x" * 100)
    fifth = Book(shop.binary, shop.folder, tmp_path / "fifth")
    assert "is damaged" in fifth.run("restore", backup, "--erased-list", tmp_path / "list",
                                     status=1).errors
