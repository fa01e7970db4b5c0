# SPDX-License-Identifier: Apache-2.0
"""Following a view: its rows, then exactly what its refreshes change, also when the follower and
the daemon are killed again and again; what comes too late, and what a forgotten person leaves."""

import collections
import json
import random
import shutil
import socket
import sqlite3
import subprocess
import threading
import time

import pytest

from conftest import BANK, clean_environment

LEVELS = """-- refresh: continuous
-- database: reading
-- changes: keep
SELECT balance / 100 AS level, count(*) AS accounts, sum(balance) AS total
FROM balances GROUP BY 1
"""


@pytest.fixture
def book(make_book, tmp_path):
    folder = tmp_path / "bank"
    shutil.copytree(BANK, folder)
    (folder / "views" / "levels.sql").write_text(LEVELS)
    made = make_book(folder)
    for name in "abc":
        made.run("do", "Open", f"account={name}")
        made.run("do", "Deposit", f"account={name}", "amount=50")
    return made


def bag(rows):
    return collections.Counter(json.dumps(row, sort_keys=True) for row in rows)


def changes_of(answer):
    """Those lines of an answer that are changes."""
    return [line for line in answer.lines if line["change"] != "fresh"]


class Replica:
    """What a follower has: the rows by what it was told, and the id of the last change."""

    def __init__(self):
        self.rows = collections.Counter()
        self.token = None
        self.seen = []
        self.snapshot = []

    def take(self, change):
        kind = change["change"]
        if kind == "snapshot":
            self.snapshot.append(change["new"])
            return
        if self.snapshot is not None:  # the first that is none: the snapshot is whole
            self.rows = bag(self.snapshot)
            self.snapshot = None
        self.token = change["id"]
        if kind == "fresh":
            return
        self.seen.append(change["id"])
        if "old" in change:
            went = json.dumps(change["old"], sort_keys=True)
            assert self.rows[went] > 0, (change, self.rows)
            self.rows[went] -= 1
        if "new" in change:
            self.rows[json.dumps(change["new"], sort_keys=True)] += 1

    def shown(self):
        return +self.rows


def follow(book, replica, *arguments):
    """Follows until the process ends; returns the process."""
    if replica.token is None:
        replica.snapshot = []
    after = () if replica.token is None else ("--after", replica.token)
    process = subprocess.Popen(book.command("tail", "--view", "levels", "-o", "jsonl", *after,
                                            *arguments),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=clean_environment())

    def read():
        for line in process.stdout:
            if line.endswith("\n"):
                replica.take(json.loads(line))
    process.reader = threading.Thread(target=read)
    process.reader.start()
    return process


def end(process):
    process.kill()
    process.wait()
    process.reader.join()
    process.stdout.close()
    process.stderr.close()


def wait_for(what, seconds=15):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_follower_and_a_killed_daemon_lose_nothing(book, serve):
    """SQLite's own answer at the end is what the replica has, and no id came twice."""
    chance = random.Random(7)
    replica = Replica()
    server = serve(book)
    wait_for(lambda: server.get("/views/levels").status == 200)
    process = follow(book, replica)
    wait_for(lambda: replica.token is not None)
    for turn in range(12):
        for _ in range(8):
            server.post("/commands/Deposit", {"account": chance.choice("abc"),
                                              "amount": chance.randrange(1, 60)})
        if turn % 4 == 3:
            server.kill()
            server = serve(book)
        if turn % 2 == 1:
            end(process)
            process = follow(book, replica)
    want = server.get("/models/balances/tables/balances").json["position"]

    def caught_up():
        answer = server.get(f"/views/levels?after={want}&timeout_ms=5000")
        return answer.status == 200 and replica.shown() == bag(answer.json["rows"])
    wait_for(caught_up)
    end(process)
    assert len(replica.seen) == len(set(replica.seen)) > 20
    numbers = [int(token.split(".")[1]) for token in replica.seen]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_the_stream_has_ids_and_resumes_by_last_event_id(book, serve):
    server = serve(book)
    wait_for(lambda: server.get("/views/levels").status == 200)
    answer = server.get("/views/levels/changes?limit=1",
                        headers={"Accept": "text/event-stream"})
    assert "event: snapshot\ndata: {" in answer.text
    lines = server.get("/views/levels/changes").lines
    assert [line["change"] for line in lines] == ["snapshot", "fresh"]
    token = lines[-1]["id"]
    server.post("/commands/Deposit", {"account": "a", "amount": 7})
    lines = changes_of(server.get("/views/levels/changes?wait_ms=5000",
                                  headers={"Last-Event-ID": token}))
    assert lines[0]["change"] == "update"
    assert (lines[0]["old"]["total"], lines[0]["new"]["total"]) == (150, 157)
    live = server.get(f"/views/levels/changes?after={token}&limit=1",
                      headers={"Accept": "text/event-stream"}).text
    assert f"id: {lines[0]['id']}\nevent: update\ndata: {{" in live


def test_what_comes_too_late_is_told_so(book, serve):
    view = book.folder / "views" / "levels.sql"
    view.write_text(LEVELS.replace("changes: keep", "changes: keep 3 rows"))
    server = serve(book)
    wait_for(lambda: server.get("/views/levels").status == 200)
    token = server.get("/views/levels/changes").lines[-1]["id"]
    for amount in range(1, 6):
        server.post("/commands/Deposit", {"account": "a", "amount": amount})
        assert server.get(f"/views/levels?after={7 + amount - 1}").status == 200
    answer = server.get(f"/views/levels/changes?after={token}")
    assert answer.status == 410 and answer.json["code"] == "gone"
    assert "no longer kept" in answer.json["detail"]
    late = book.run("tail", "--view", "levels", "--after", token, status=1)
    assert "begin with the rows" in late.errors
    assert server.get("/views/levels/changes?after=nonsense").status == 400
    assert server.get("/views/nothing/changes").status == 404


def test_a_changed_file_and_a_rebuilt_model_are_differences(book):
    book.run("view", "refresh", "levels")
    token = book.run("tail", "--view", "levels", "--no-follow", "-o", "jsonl").lines[-1]["id"]

    def since(after):
        answer = book.run("tail", "--view", "levels", "--no-follow", "-o", "jsonl", "--after",
                          after)
        return changes_of(answer), answer.lines[-1]["id"]
    view = book.folder / "views" / "levels.sql"
    view.write_text(LEVELS.replace("/ 100", "/ 10"))
    book.run("view", "refresh", "levels")
    changes, token = since(token)
    assert [line["change"] for line in changes] == ["delete", "insert"]
    assert changes[1]["new"] == {"level": 5, "accounts": 3, "total": 150}
    book.run("model", "rebuild", "balances")
    assert since(token)[0] == []  # it was swapped with its model, and shows what it did
    view.write_text(LEVELS.replace("sum(balance) AS total", "max(balance) AS most"))
    book.run("view", "refresh", "levels")
    changes, token = since(token)
    assert changes[0]["old"] == {"level": 5, "accounts": 3, "total": 150}
    assert changes[1]["new"] == {"level": 0, "accounts": 3, "most": 50}


def test_a_key_pairs_the_rows_of_a_full_refresh(book):
    view = book.folder / "views" / "levels.sql"
    head = LEVELS.replace("continuous", "on demand\n-- mode: full")
    for key, kinds in (("", ["delete", "insert"]), ("-- key: level\n", ["update"])):
        view.write_text(key + head)
        book.run("view", "refresh", "levels")
        token = book.run("tail", "--view", "levels", "--no-follow", "-o", "jsonl").lines[-1]["id"]
        book.run("do", "Deposit", "account=a", "amount=1")
        book.run("view", "refresh", "levels")
        answer = book.run("tail", "--view", "levels", "--no-follow", "-o", "jsonl", "--after",
                          token)
        assert [line["change"] for line in changes_of(answer)] == kinds


def test_check_names_what_is_wrong_in_the_head(book):
    view = book.folder / "views" / "levels.sql"
    view.write_text(LEVELS.replace("changes: keep", "changes: all"))
    answer = book.run("check", status=1)
    assert "views/levels.sql:3:13" in answer.text + answer.errors
    view.write_text(LEVELS.replace("changes: keep", "key: level, sort"))
    answer = book.run("check", status=1)
    assert "views/levels.sql:3:9" in answer.text + answer.errors
    assert "no column `sort`" in answer.text + answer.errors


def test_a_view_that_nobody_asked_to_record_is_when_it_is_followed(book, serve):
    view = book.folder / "views" / "levels.sql"
    view.write_text(LEVELS.replace("-- changes: keep\n", ""))
    book.run("view", "refresh", "levels")
    reading = sqlite3.connect(f"{book.data}/reading.db")
    assert reading.execute("SELECT count(*) FROM _daybook_recorded").fetchone() == (0,)
    reading.close()
    answer = book.run("tail", "--view", "levels", "--limit", "1", status=1)
    assert "is not recorded" in answer.errors and "changes: keep" in answer.errors
    server = serve(book)
    token = server.get("/views/levels/changes").lines[-1]["id"]
    server.post("/commands/Deposit", {"account": "a", "amount": 7})
    lines = changes_of(server.get(f"/views/levels/changes?wait_ms=5000&after={token}"))
    assert lines[0]["change"] == "update"


def test_of_a_view_that_is_no_more_nothing_is_kept(book):
    """Forgetting goes through the views that there are."""
    view = book.folder / "views" / "levels.sql"
    book.run("view", "refresh", "levels")
    book.run("do", "Deposit", "account=a", "amount=7")
    book.run("view", "refresh", "levels")

    def kept():
        with sqlite3.connect(f"{book.data}/reading.db") as reading:
            return [reading.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                    for table in ("_daybook_recorded", "_daybook_differences")]
    assert kept() == [1, 1]
    view.unlink()
    book.run("do", "Deposit", "account=a", "amount=7")
    assert kept() == [0, 0]


def test_an_earlier_state_of_the_database_is_no_part_of_the_history(book):
    """Restored from a copy: numbers that are given once more are not those that were seen."""
    def step(account, amount):
        book.run("do", "Deposit", f"account={account}", f"amount={amount}")
        book.run("view", "refresh", "levels")
        return book.run("tail", "--view", "levels", "--no-follow", "-o", "jsonl").lines[-1]["id"]

    def since(token, status=0):
        return book.run("tail", "--view", "levels", "--no-follow", "-o", "jsonl", "--after", token,
                        status=status)
    first = step("a", 1)
    copy = book.data.parent / "copy.db"
    with sqlite3.connect(f"{book.data}/reading.db") as reading, sqlite3.connect(copy) as target:
        reading.backup(target)
    seen = step("b", 2)
    ids = [line["id"] for line in changes_of(since(first))]
    later = step("b", 3)
    assert [line["id"] for line in changes_of(since(first))][:len(ids)] == ids  # for good
    assert changes_of(since(seen))
    for suffix in ("", "-wal", "-shm"):
        (book.data / f"reading.db{suffix}").unlink(missing_ok=True)
    shutil.copy(copy, book.data / "reading.db")
    for amount in range(4, 8):
        step("c", amount)
    for token in (seen, later):
        late = since(token, status=1)
        assert "an earlier state of its database" in late.errors
    lines = since(first).lines
    rows = bag(book.json("view", "read", "levels"))
    assert changes_of(since(first))[0]["id"] != ids[0]
    replica = Replica()
    replica.token, replica.snapshot = first, None
    replica.rows = bag([changes_of(since(first))[0]["old"]])
    for line in lines:
        replica.take(line)
    assert replica.shown() == rows


def test_a_refresh_that_failed_gives_no_change_another_id(book):
    """It began an epoch, and no row of that counts: the last change before keeps its own."""
    def step(amount):
        book.run("do", "Deposit", "account=a", f"amount={amount}")
        book.run("view", "refresh", "levels")

    def ids():
        return [line["id"] for line in changes_of(
            book.run("tail", "--view", "levels", "--no-follow", "-o", "jsonl", "--after", first))]
    step(1)
    first = book.run("tail", "--view", "levels", "--no-follow", "-o", "jsonl").lines[-1]["id"]
    step(2)
    seen = ids()
    with sqlite3.connect(f"{book.data}/reading.db") as reading:
        reading.execute("UPDATE _daybook_record_epochs SET upto = (SELECT head FROM "
                        "_daybook_recorded WHERE view = 'levels') WHERE view = 'levels' AND upto "
                        "IS NULL")
        reading.execute("INSERT INTO _daybook_record_epochs VALUES ('levels', ?, 'x', NULL)",
                        ("0" * 16,))
        reading.execute("UPDATE _daybook_recorded SET epoch = ? WHERE view = 'levels'",
                        ("0" * 16,))
    reading.close()
    assert ids() == seen
    step(3)
    assert ids()[:len(seen)] == seen and len(ids()) > len(seen)


def test_a_client_that_does_not_read_holds_up_nothing(book, serve):
    """What it was promised is read, and the write-ahead log is emptied all the same."""
    view = book.folder / "views" / "levels.sql"
    view.write_text("-- refresh: on demand\n-- database: reading\n"
                    "SELECT a.account, b.account AS other, hex(zeroblob(1500000)) AS text "
                    "FROM balances AS a, balances AS b\n")
    server = serve(book)
    assert server.post("/views/levels/refresh").status == 200
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"GET /views/levels/changes HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                       b"Accept: text/event-stream\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        time.sleep(0.3)
        server.post("/commands/Deposit", {"account": "a", "amount": 7})

        def is_emptied():
            reading = sqlite3.connect(f"{book.data}/reading.db", timeout=5)
            try:
                return reading.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
            finally:
                reading.close()
        wait_for(is_emptied, 10)
        text = b""
        client.settimeout(10)
        deadline = time.monotonic() + 30
        while b"event: fresh" not in text and time.monotonic() < deadline:
            text = text[-1000:] + client.recv(1 << 20)
        assert b"event: fresh" in text


def test_a_long_answer_is_whole_for_a_client_that_is_slow(book, serve):
    """Longer than what is kept for it, and taken with pauses."""
    server = serve(book)
    host, port = server.url.removeprefix("http://").split(":")
    body = json.dumps({"sql": "SELECT hex(zeroblob(500000)) AS text FROM balances AS a, "
                              "balances AS b"}).encode()
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(b"POST /sql HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                       b"Content-Length: %d\r\n\r\n" % len(body) + body)
        text = client.recv(1000)
        time.sleep(0.7)
        while piece := client.recv(1 << 20):
            text += piece
    assert text.count(b"0") > 9_000_000 and text.endswith(b"0\r\n\r\n")
