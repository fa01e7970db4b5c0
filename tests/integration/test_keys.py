# SPDX-License-Identifier: Apache-2.0
"""Personal fields: sealed on every way in, opened on every way out; keys, epochs and backups."""
import json
import shutil
import subprocess
import threading

import pytest

from conftest import Book, SHOP

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


def test_a_book_without_subjects_has_no_keys(make_book):
    book = make_book(SHOP)
    book.run("append", "note-1", "Noted", '{"id":"c-1"}')
    assert not (book.data / "keys").exists()
    assert book.json("keys", "ls")["epoch"] == 0
    book.run("keys", "rotate", status=1)


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
    # It goes on where it was refused.
    third.run("restore", backup, "--erased-list", tmp_path / "list")
    assert (third.data / "keys" / "erased.list").exists()
    fourth = Book(shop.binary, shop.folder, tmp_path / "fourth")
    fourth.run("restore", backup, "--erased-list", tmp_path / "list")
    (tmp_path / "list").write_bytes(b"x" * 100)
    fifth = Book(shop.binary, shop.folder, tmp_path / "fifth")
    assert "is damaged" in fifth.run("restore", backup, "--erased-list", tmp_path / "list",
                                     status=1).errors
    assert not fifth.data.exists()  # it was told before anything was written


def test_backup_and_restore_of_keys(shop, serve, tmp_path):
    shop.run("append", "order-1", "Placed", json.dumps(placed("MARKER-A")))
    serve(shop)
    file = tmp_path / "shop.keys"
    taken = shop.json("keys", "backup", file)
    assert (taken["subjects"], taken["epoch"], taken["under"]) == (1, 1, "root")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.glob("shop.keys*")] == ["shop.keys"]
    shop.run("keys", "rotate", "--now")
    assert shop.json("keys", "backup", file)["epoch"] == 2
    shop.run("backup", tmp_path / "backup")
    assert shop.run("keys", "restore", file, status=1).errors  # the server holds it
    again = Book(shop.binary, shop.folder, tmp_path / "again")
    answer = again.run("keys", "restore", file, status=1)
    assert "has no log" in answer.errors and "daybook restore" in answer.errors
    assert not (tmp_path / "again").exists()
    again.run("restore", tmp_path / "backup")
    put = again.json("keys", "restore", file)
    assert (put["subjects"], put["left_out"], put["epoch"]) == (1, 0, 3)
    assert names(again) == ["MARKER-A"]
    assert again.json("keys", "ls")["epoch"] == 3
    assert [p.name for p in (again.data / "keys").glob("epoch-*")] == ["epoch-0000000003.key"]
    assert "--replace" in again.run("keys", "restore", file, status=1).errors
    again.run("keys", "restore", file, "--replace")
    assert names(again) == ["MARKER-A"]
    shop.run("append", "order-2", "Placed", json.dumps(placed("MARKER-B", "bob")))
    assert shop.json("keys", "backup", file)["subjects"] == 2


def test_keys_are_backed_up_while_epochs_begin(shop, serve, tmp_path):
    shop.run("append", "order-1", "Placed", json.dumps(placed("A")))
    server = serve(shop)
    stop = threading.Event()
    epochs = []

    def rotate():
        while not stop.is_set():
            epochs.append(server.post("/keys/rotate?now=true").json["epoch"])

    thread = threading.Thread(target=rotate)
    thread.start()
    try:
        taken = [shop.json("keys", "backup", tmp_path / "shop.keys") for _ in range(4)]
    finally:
        stop.set()
        thread.join()
    assert all(t["subjects"] == 1 for t in taken)
    assert len(set(epochs)) > 1 and len({t["epoch"] for t in taken}) > 1
    server.stop()
    shop.run("keys", "restore", tmp_path / "shop.keys", "--replace")
    assert names(shop) == ["A"]


def test_keys_are_not_copied_unprotected_by_accident(shop, tmp_path):
    (shop.folder / "book.yaml").write_text("book: shop\n")
    file, own = tmp_path / "shop.keys", tmp_path / "own"
    answer = shop.run("keys", "backup", file, "--plain", status=1)
    assert "has no log" in answer.errors
    shop.run("append", "order-1", "Placed", json.dumps(placed("A")))
    answer = shop.run("keys", "backup", file, status=1)
    assert "--passphrase FILE" in answer.errors and "keys: {root: file:<path>}" in answer.errors
    assert not file.exists()
    own.write_text("\n")
    assert "holds no passphrase" in shop.run("keys", "backup", file, "--passphrase", own,
                                             status=1).errors
    shop.run("keys", "backup", file, "--plain", "--passphrase", own, status=2)
    own.write_text("of its own\n")
    assert shop.json("keys", "backup", file, "--passphrase", own)["under"] == "passphrase"
    shutil.rmtree(shop.data / "keys")
    assert "name its file with --passphrase" in shop.run("keys", "restore", file, status=5).errors
    (tmp_path / "wrong").write_text("wrong\n")
    answer = shop.run("keys", "restore", file, "--passphrase", tmp_path / "wrong", status=5)
    assert "does not open it" in answer.errors
    assert not (shop.data / "keys").exists()
    shop.run("keys", "restore", file, "--passphrase", own)
    assert names(shop) == ["A"]
    plain = tmp_path / "plain.keys"
    assert shop.json("keys", "backup", plain, "--plain")["under"] == "nothing"
    answer = shop.run("keys", "restore", plain, "--replace", "--passphrase", own, status=1)
    assert "is under no passphrase" in answer.errors
    shop.run("keys", "restore", plain, "--replace")
    assert names(shop) == ["A"]


def test_backups_of_keys_that_do_not_fit_are_refused(shop, bank, tmp_path):
    shop.run("append", "order-1", "Placed", json.dumps(placed("A")))
    file, bad = tmp_path / "shop.keys", tmp_path / "bad.keys"
    shop.run("keys", "backup", file)
    whole = file.read_bytes()

    def refused(content, words, status=1):
        bad.write_bytes(content)
        assert words in shop.run("keys", "restore", bad, "--replace", status=status).errors
        assert names(shop) == ["A"]

    refused(whole[:-1], "was cut off")
    refused(whole + b"x", "is damaged")
    refused(whole[:400] + b"?" + whole[401:], "is damaged or was altered")
    refused(b"", "no backup of keys")
    refused(whole[:8] + b"\x02" + whole[9:], "format version 2")
    bank = Book(bank.binary, bank.folder, tmp_path / "other")
    bank.run("append", "account-1", "AccountOpened", '{"id":"c-1"}')
    assert "another book's keys" in bank.run("keys", "restore", file, status=4).errors
    assert "no keys to back up" in bank.run("keys", "backup", bad, "--plain", status=1).errors
    bad.write_text("a letter")
    assert "no backup of keys" in shop.run("keys", "backup", bad, status=1).errors
    problem = shop.run("keys", "backup", bad, "-o", "json", status=1).errors
    assert json.loads(problem)["detail"].startswith(str(bad))
    assert bad.read_text() == "a letter"


def test_an_old_backup_of_keys_brings_nobody_back(shop, tmp_path):
    for who in ("ann", "bob"):
        shop.run("append", f"order-{who}", "Placed", json.dumps(placed(f"MARKER-{who}", who)))
    old, backup = tmp_path / "old.keys", tmp_path / "backup"
    assert shop.json("keys", "backup", old)["subjects"] == 2
    shop.run("backup", backup)
    shutil.copytree(backup, tmp_path / "old-backup")
    shop.run("forget", "ann", "--wait")
    shop.run("append", "order-cem", "Placed", json.dumps(placed("MARKER-cem", "cem")))
    shop.run("forget", "cem", "--wait")
    seen = [e["data"]["name"] for e in shop.run("read", "-o", "jsonl").lines]
    assert seen[1] == "MARKER-bob"
    shutil.copytree(shop.data / "keys", tmp_path / "keys")
    # Over the keys that are there: the same is forgotten.
    put = shop.json("keys", "restore", old, "--replace")
    assert (put["subjects"], put["left_out"], put["erased"]) == (1, 1, 2)
    assert [e["data"]["name"] for e in shop.run("read", "-o", "jsonl").lines] == seen
    # All keys lost, the list with them: the backup's own is older than the log.
    shutil.rmtree(shop.data / "keys")
    answer = shop.run("keys", "restore", old, status=1)
    assert "it is an older copy; give the newest with --erased-list" in answer.errors
    assert not (shop.data / "keys").exists()
    shop.run("keys", "restore", old, "--erased-list", backup / "erased.list")
    assert [e["data"]["name"] for e in shop.run("read", "-o", "jsonl").lines] == seen
    # An old log does not know; the newest list, beside its backup, does.
    again = Book(shop.binary, shop.folder, tmp_path / "again")
    again.run("restore", tmp_path / "old-backup", "--erased-list", backup / "erased.list")
    put = again.json("keys", "restore", old)
    assert (put["subjects"], put["left_out"]) == (1, 1)
    restored = [e["data"]["name"] for e in again.run("read", "-o", "jsonl").lines]
    assert restored == seen[:2]
    assert not holds(again.data / "keys", "MARKER")
