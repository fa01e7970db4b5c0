# SPDX-License-Identifier: Apache-2.0
"""Views that are swapped with the model they read: by a rebuild with readers and a writer beside
it, one that cannot be built, and kills; who follows them gets what the swap changes."""

import collections
import json
import os
import shutil
import sqlite3
import threading
import time

import pytest

from conftest import BANK, Book, killed_at

TOTALS = """-- refresh: on demand
-- mode: incremental
-- database: reading
SELECT account, sum(balance) AS total FROM balances GROUP BY account
"""
# Over a view, over the model as well, and with an order that the plain view has.
SHARES = """-- refresh: on demand
-- database: reading
SELECT t.account AS account, t.total - b.balance AS off, t.total AS total
FROM totals AS t JOIN balances AS b ON b.account = t.account
ORDER BY t.total DESC LIMIT 100
"""
# Not incremental: it reads the log, too.
PLAIN = """-- refresh: on demand
-- mode: full
-- database: reading
SELECT (SELECT count(*) FROM events) AS events, sum(balance) AS total FROM balances
"""
VIEWS = {"totals": TOTALS, "shares": SHARES, "plain": PLAIN}


def tenfold(book):
    """The handlers, changed: each amount counts ten times."""
    file = book.folder / "models" / "balances" / "handlers.sql"
    file.write_text(file.read_text().replace(":amount", "(10 * :amount)"))


@pytest.fixture
def book(binary, tmp_path):
    folder = tmp_path / "bank"
    shutil.copytree(BANK, folder)
    made = Book(binary, folder, tmp_path / "data")
    for name, text in VIEWS.items():
        (folder / "views" / f"{name}.sql").write_text(text)
    for name, amount in (("a", 50), ("b", 150), ("c", 160)):
        made.run("do", "Open", f"account={name}")
        made.run("do", "Deposit", f"account={name}", f"amount={amount}")
    for name in VIEWS:
        made.run("view", "refresh", name)
    return made


def ask(book, sql):
    connection = sqlite3.connect(f"file:{book.data}/reading.db?mode=ro", uri=True, timeout=20)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


# What model and views say, in one statement and so in one snapshot.
TOGETHER = ("SELECT (SELECT sum(balance) FROM balances), (SELECT sum(total) FROM totals), (SELECT "
            "sum(total) FROM shares), (SELECT sum(abs(off)) FROM shares), (SELECT total FROM "
            "plain)")


def status(book, name):
    return book.json("view", "show", name)


def test_a_view_is_swapped_with_its_model(book):
    assert ask(book, TOGETHER) == [(360, 360, 360, 0, 360)]
    tenfold(book)
    book.run("model", "rebuild", "balances")
    assert ask(book, TOGETHER) == [(3600, 3600, 3600, 0, 3600)]
    for name in VIEWS:
        row = status(book, name)
        assert row["generation"] == 2 and not row["error"]
        assert "balances was rebuilt" in row["full_because"] or name == "plain"
    # The next refresh goes on from there, and nothing of before is left.
    book.run("do", "Deposit", "account=a", "amount=1")
    for name in ("totals", "shares"):
        assert book.json("view", "refresh", name)["last_mode"] == "incremental"
        book.run("view", "verify", name)
    tables = {name for (name,) in ask(book, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert not [name for name in tables if name.endswith("__g1")], tables
    assert ask(book, "SELECT count(*) FROM _daybook_cursors WHERE view LIKE '%__g%'") == [(0,)]


def test_what_comes_meanwhile_is_in_the_views(book, serve):
    """No reader sees model and views of two generations; a writer goes on all the time."""
    tenfold(book)
    server = serve(book)
    ends = threading.Event()
    seen = set()
    slowest = [0.0]

    def write():
        while not ends.is_set():
            begun = time.monotonic()
            server.post("/commands/Deposit", {"account": "a", "amount": 1})
            slowest[0] = max(slowest[0], time.monotonic() - begun)

    def read():
        connection = sqlite3.connect(f"file:{book.data}/reading.db?mode=ro", uri=True, timeout=20)
        while not ends.is_set():
            model, totals, shares, _, plain = connection.execute(TOGETHER).fetchone()
            # b's balance says the generation; what a view lacks is no more than what came since.
            seen.add((model >= 3600, totals >= 3600, shares >= 3600, plain >= 3600))

    threads = [threading.Thread(target=each) for each in (write, read)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    assert server.post("/models/balances/rebuild").status == 200
    time.sleep(0.2)
    ends.set()
    for thread in threads:
        thread.join()
    assert seen == {(False,) * 4, (True,) * 4}
    assert slowest[0] < 2.5
    for name in ("totals", "shares"):
        assert server.post(f"/views/{name}/refresh").json["last_mode"] == "incremental"
        assert server.post(f"/views/{name}/verify").status == 200


def test_views_that_follow_go_on_during_a_rebuild(book, serve):
    for name in ("totals", "shares"):
        file = book.folder / "views" / f"{name}.sql"
        file.write_text(file.read_text().replace("on demand", "continuous"))
    server = serve(book)
    for _ in range(4):
        for _ in range(20):
            answer = server.post("/commands/Deposit", {"account": "a", "amount": 1})
        assert server.post("/models/balances/rebuild").status == 200
    end = time.monotonic() + 20
    while server.get("/views/shares/status").json["position"] < answer.json["position"]:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert ask(book, TOGETHER)[0][:4] == (440, 440, 440, 0)
    for name in ("totals", "shares"):
        assert server.post(f"/views/{name}/verify").status == 200


def test_a_view_that_cannot_be_built_keeps_its_rows_and_says_why(book):
    (book.folder / "views" / "totals.sql").write_text(
        TOTALS.replace("sum(balance)", "sum(abs(balance - 500 + -9223372036854775807 - 1))"))
    tenfold(book)  # a's balance is 500 then, and abs() fails
    book.run("model", "rebuild", "balances")
    assert ask(book, TOGETHER)[0][:3] == (3600, 360, 360)  # and what reads it keeps its rows
    assert ask(book, TOGETHER)[0][4] == 3600
    assert status(book, "totals")["generation"] == 1
    assert "overflow" in status(book, "totals")["error"]


def test_one_that_was_never_refreshed_is_left_alone(book):
    (book.folder / "views" / "late.sql").write_text(TOTALS)
    book.run("model", "rebuild", "balances")
    assert status(book, "late")["generation"] == 0


def changes_of(book, name, after=None):
    """What a follower gets, and the id it goes on behind."""
    lines = book.run("tail", "--view", name, "--no-follow", "-o", "jsonl",
                     *(("--after", after) if after else ())).lines
    return lines, lines[-1]["id"] if lines else after


class Follower:
    """The rows by what it was told; each step is a set: what went is there before it goes."""

    def __init__(self, lines=()):
        self.rows = collections.Counter()
        self.ids = []
        self.token = None
        self.step = []
        for line in lines:
            self.take(line)

    def take(self, line):
        self.token = line.get("id", self.token)
        if line["change"] == "snapshot":
            self.rows[json.dumps(line["new"], sort_keys=True)] += 1
        elif line["change"] != "fresh":
            self.ids.append(line["id"])
            self.step.append(line)
        else:
            for sign, side in ((-1, "old"), (1, "new")):
                for change in self.step:
                    if side in change:
                        self.rows[json.dumps(change[side], sort_keys=True)] += sign
                assert min(self.rows.values(), default=0) >= 0, self.step
            self.step = []

    def shows(self, book, name):
        rows = book.json("view", "read", name)
        return +self.rows == collections.Counter(json.dumps(row, sort_keys=True) for row in rows)


def record(book):
    """Keeps what changes of all views."""
    for name, text in VIEWS.items():
        (book.folder / "views" / f"{name}.sql").write_text("-- changes: keep\n" + text)
        book.run("view", "refresh", name)


def test_who_follows_gets_what_the_swap_changes(book):
    record(book)
    begun = {name: changes_of(book, name) for name in VIEWS}
    tenfold(book)
    book.run("model", "rebuild", "balances")
    for name, (rows, token) in begun.items():
        lines, begun[name] = changes_of(book, name, token)
        follower = Follower(rows + lines)
        assert follower.shows(book, name) and follower.ids
        if name == "totals":  # what is grouped by is the same one
            assert [(line["change"], line.get("new", {}).get("total")) for line in lines] == [
                ("update", 500), ("update", 1500), ("update", 1600), ("fresh", None)]
    # The same rows again: nobody is told anything.
    book.run("model", "rebuild", "balances")
    for name, token in begun.items():
        lines = changes_of(book, name, token)[0]
        assert [line for line in lines if line["change"] != "fresh"] == []
    # What is more than is kept begins anew.
    (book.folder / "views" / "totals.sql").write_text("-- changes: keep 2 rows\n" + TOTALS)
    book.run("view", "refresh", "totals")
    token = changes_of(book, "totals")[1]
    tenfold(book)
    book.run("model", "rebuild", "balances")
    assert "begin with the rows" in book.run("tail", "--view", "totals", "--after", token,
                                             status=1).errors
    assert ask(book, "SELECT count(*) FROM _daybook_differences WHERE view = 'totals'") == [(0,)]


@pytest.mark.parametrize("killed", [False, True])
def test_a_follower_goes_on_across_rebuilds(book, serve, killed):
    """With a writer beside them; and where the daemon is killed in the middle of some."""
    record(book)
    for name in ("totals", "shares"):
        file = book.folder / "views" / f"{name}.sql"
        file.write_text(file.read_text().replace("on demand", "continuous"))
    server = serve(book)
    followers = {name: Follower(server.get(f"/views/{name}/changes").lines)
                 for name in ("totals", "shares")}
    handlers = book.folder / "models" / "balances" / "handlers.sql"
    text = handlers.read_text()

    def take():
        for name, follower in followers.items():
            answer = server.get(f"/views/{name}/changes?after={follower.token}")
            assert answer.status == 200, answer
            for line in answer.lines:
                follower.take(line)
    ends = threading.Event()

    def write():
        while not ends.is_set():
            try:
                server.post("/commands/Deposit", {"account": "b", "amount": 1})
            except OSError:
                time.sleep(0.01)
    writer = threading.Thread(target=write)
    writer.start()
    for turn in range(4):
        handlers.write_text(text.replace(":amount", f"({turn + 2} * :amount)"))
        if killed:
            rebuild = threading.Thread(target=lambda s=server: rebuild_quietly(s))
            rebuild.start()
            time.sleep(0.03 * turn)
            server.kill()
            rebuild.join()
            server = serve(book)
        else:
            server.stop()  # the files are read when it starts
            server = serve(book)
        assert server.post("/models/balances/rebuild").status == 200
        take()
    ends.set()
    writer.join()
    last = server.post("/commands/Deposit", {"account": "c", "amount": 1}).json["position"]
    for name in followers:
        assert server.get(f"/views/{name}?after={last}&timeout_ms=9000").status == 200
    take()
    for name, follower in followers.items():
        assert not follower.step and follower.shows(book, name)
        numbers = [int(one.split(".")[1]) for one in follower.ids]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def rebuild_quietly(server):
    try:
        server.post("/models/balances/rebuild")
    except OSError:
        pass


def check_whole(book, old, new):
    """Model and views are all of before or all of after, and all is as if nothing had been."""
    together = ask(book, TOGETHER)
    assert together in (old, new), together
    for name in VIEWS:
        book.run("view", "refresh", name)
        book.run("view", "verify", name)
    assert ask(book, TOGETHER) == together
    kept = {name for (name,) in ask(
        book, "SELECT view || '__g' || generation FROM _daybook_view_generations WHERE stored = 1")}
    there = {name.rstrip("0123456789").rstrip("n") if "n" in name.split("__g")[1] else name
             for (name,) in ask(
                 book, "SELECT name FROM sqlite_schema WHERE type = 'table' AND (name LIKE "
                 "'totals!_!_g%' ESCAPE '!' OR name LIKE 'shares!_!_g%' ESCAPE '!' OR name LIKE "
                 "'plain!_!_g%' ESCAPE '!')")}
    assert there == kept
    assert ask(book, "SELECT count(*) FROM _daybook_view_generations WHERE state = 'building'") == [
        (0,)]
    return together == new


def test_a_kill_at_calls_of_a_rebuild(book, kill_at, tmp_path):
    """At calls spread over all of it, or with DAYBOOK_KILL_ALL at each."""
    record(book)
    begun = {name: changes_of(book, name) for name in VIEWS}
    tenfold(book)
    clean = tmp_path / "clean"
    shutil.copytree(book.data, clean)
    command = book.command("model", "rebuild", "balances")
    assert killed_at(kill_at, command, 0, tmp_path / "count").returncode == 0
    calls = int((tmp_path / "count").read_text())
    old, new = [(360, 360, 360, 0, 360)], [(3600, 3600, 3600, 0, 3600)]
    outcomes = []
    step = 1 if "DAYBOOK_KILL_ALL" in os.environ else max(1, calls // 8)
    for number in range(1, calls + 1, step):
        shutil.rmtree(book.data)
        shutil.copytree(clean, book.data)
        result = killed_at(kill_at, command, number)
        assert result.returncode == -9 or number > calls * 0.9
        outcomes.append(check_whole(book, old, new))
        for name, (rows, token) in begun.items():
            follower = Follower(rows + changes_of(book, name, token)[0])
            assert not follower.step and follower.shows(book, name)
    assert False in outcomes and True in outcomes
