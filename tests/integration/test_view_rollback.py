# SPDX-License-Identifier: Apache-2.0
"""A view whose file was changed: what `view plan` says, what is kept of it, and the way back."""

import os
import shutil
import sqlite3
import threading
import time

import pytest

from conftest import BANK, Book, killed_at

HEAD = "-- refresh: on demand\n-- database: reading\n"
OLD = HEAD + "SELECT account, balance AS total FROM balances\n"
NEW = HEAD + "SELECT account, 10 * balance AS total, 1 AS one FROM balances\n"
READER = HEAD + "SELECT count(*) AS n, sum(total) AS total FROM totals\n"


@pytest.fixture
def book(make_book, tmp_path):
    folder = tmp_path / "bank"
    shutil.copytree(BANK, folder)
    made = make_book(folder)
    for name, amount in (("a", 50), ("b", 150), ("c", 160)):
        made.run("do", "Open", f"account={name}")
        made.run("do", "Deposit", f"account={name}", f"amount={amount}")
    write(made, "totals", OLD)
    made.run("view", "refresh", "totals")
    return made


def write(book, name, text):
    (book.folder / "views" / f"{name}.sql").write_text(text)


def ask(book, sql):
    connection = sqlite3.connect(f"file:{book.data}/reading.db?mode=ro", uri=True, timeout=20)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def change(book, sql):
    connection = sqlite3.connect(book.data / "reading.db", timeout=20)
    with connection:
        connection.execute(sql)
    connection.close()


def total(book):
    return ask(book, "SELECT sum(total) FROM totals")[0][0]


def status(book, name="totals"):
    return book.json("view", "show", name)


def plan(book):
    return {row["view"]: row for row in book.json("view", "plan")}


def tables(book, name="totals"):
    return sorted(row[0] for row in ask(book, "SELECT name FROM sqlite_schema WHERE type = 'table' "
                                        f"AND name GLOB '{name}__g[0-9]*'"))


def test_a_plan_says_what_is_built_why_and_what_it_takes(book):
    write(book, "reader", READER)
    rows = plan(book)
    assert rows["totals"]["action"] == "none" and rows["totals"]["because"] is None
    assert rows["reader"]["action"] == "build"
    # Nothing was measured: what it reads is counted.
    assert rows["reader"]["basis"].startswith("3 rows that it reads")
    assert rows["reader"]["estimated_bytes"] is None
    book.run("view", "refresh", "reader")
    assert {row["action"] for name, row in plan(book).items() if name != "bank_totals"} == {"none"}
    write(book, "totals", OLD.replace("on demand", "every 1 hour"))
    row = plan(book)["totals"]
    assert (row["action"], row["because"], row["old_kept_s"]) == (
        "rebuild", "its head has changed", 0)
    write(book, "totals", NEW)
    rows = plan(book)
    assert (rows["totals"]["action"], rows["totals"]["because"]) == (
        "rebuild", "its SELECT has changed")
    assert rows["totals"]["old_kept_s"] == 7 * 86400
    assert rows["totals"]["estimated_ms"] >= 0 and rows["totals"]["estimated_bytes"] >= 4096
    assert "3 rows" in rows["totals"]["basis"] and "SELECT before" in rows["totals"]["basis"]
    assert rows["reader"]["action"] == "refresh" and "reads totals" in rows["reader"]["because"]
    assert "rebuild" in book.run("view", "plan").text
    book.run("view", "refresh", "totals")
    assert plan(book)["totals"]["action"] == "none"
    answer = book.json("view", "refresh", "reader")
    assert answer["last_mode"] == "full"  # as the plan said


def test_a_plan_is_the_first_that_is_asked_of_a_book(shop):
    plan = shop.json("view", "plan")
    assert plan and all(row["action"] == "build" for row in plan), plan


def test_a_plan_is_made_by_the_files_beside_a_server(book, serve):
    server = serve(book)
    write(book, "totals", NEW)
    assert plan(book)["totals"]["action"] == "rebuild"
    shown = {row["view"]: row["action"] for row in server.get("/plan").json["plan"]}
    assert shown["totals"] == "none"  # it has the files of when it started
    write(book, "totals", HEAD + "SELECT account balance AS total FROM balances\n")
    answer = book.run("view", "plan", status=1)
    assert "views/totals.sql:3" in answer.errors + answer.text
    assert total(book) == 360 and server.get("/views/totals").json["rows"]


def test_an_edit_with_a_fault_leaves_the_rows(book):
    for select, place in (("SELECT account FROM balances WHERE", "3:"),
                          ("SELECT account, amount FROM balances", "3:17")):
        write(book, "totals", HEAD + select + "\n")
        answer = book.run("view", "refresh", "totals", status=1)
        assert f"views/totals.sql:{place}" in answer.errors, answer.errors
        assert total(book) == 360
    write(book, "totals", HEAD + "SELECT account, abs(-9223372036854775807 - 1) AS total "
          "FROM balances\n")
    answer = book.run("view", "refresh", "totals", status=1)
    assert "integer overflow" in answer.errors
    assert total(book) == 360 and status(book)["generation"] == 1
    assert "integer overflow" in status(book)["error"]
    write(book, "totals", OLD)
    assert book.json("view", "refresh", "totals")["error"] is None


def test_rolled_back_and_forth(book):
    before = status(book)
    assert before["kept"] is None
    answer = book.run("view", "rollback", "totals", status=1)
    assert "no other generation of it is kept" in answer.errors
    book.run("do", "Deposit", "account=a", "amount=1")
    write(book, "totals", NEW)
    new = book.json("view", "refresh", "totals")
    assert total(book) == 3610 and new["generation"] == 2
    kept = new["kept"]
    assert (kept["generation"], kept["position"], kept["rows"]) == (1, before["position"], 3)
    assert kept["as_of"] == before["as_of"]
    assert tables(book) == ["totals__g1", "totals__g2"]

    back = book.json("view", "rollback", "totals")
    assert total(book) == 360 and back["generation"] == 1 and back["rolled_back"]
    assert back["position"] == before["position"] and back["kept"]["generation"] == 2
    assert plan(book)["totals"]["action"] == "none"
    assert "rolled back" in plan(book)["totals"]["because"]
    # It goes on by its old file, though the new one lies there.
    fresh = book.json("view", "refresh", "totals")
    assert total(book) == 361 and fresh["position"] > before["position"] and fresh["rolled_back"]
    assert (fresh["last_mode"], fresh["generation"]) == ("full", 3)
    book.run("do", "Deposit", "account=a", "amount=1")
    assert book.json("view", "refresh", "totals")["last_mode"] == "incremental"
    assert total(book) == 362
    book.run("view", "verify", "totals")

    forth = book.json("view", "rollback", "totals")
    assert total(book) == 3610 and forth["generation"] == 2 and not forth["rolled_back"]
    assert ask(book, "SELECT sum(one) FROM totals") == [(3,)]
    book.run("view", "refresh", "totals")
    assert total(book) == 3620
    # The old file laid back is a change like any other, and so is a third one.
    book.run("view", "rollback", "totals")
    write(book, "totals", NEW.replace("1 AS one", "2 AS two"))
    third = book.json("view", "refresh", "totals")
    assert not third["rolled_back"] and total(book) == 3620
    assert ask(book, "SELECT sum(two) FROM totals") == [(6,)]
    assert len(tables(book)) == 2 and third["kept"]["generation"] != third["generation"]
    assert ask(book, "SELECT count(*) FROM _daybook_view_generations WHERE view = 'totals'") == [
        (2,)]


def test_what_is_kept_ends(book):
    write(book, "totals", NEW.replace(HEAD, HEAD + "-- keep: nothing\n"))
    assert plan(book)["totals"]["old_kept_s"] == 0
    assert book.json("view", "refresh", "totals")["kept"] is None
    assert tables(book) == ["totals__g2"]
    for value in ("ever", "59 s", "0 days", "3651 days", "7"):
        write(book, "totals", OLD.replace(HEAD, HEAD + f"-- keep: {value}\n"))
        answer = book.run("check", status=1)
        assert "views/totals.sql:3:10" in answer.text + answer.errors


def test_what_is_kept_ends_by_itself(book, serve):
    write(book, "totals", NEW)
    assert book.json("view", "refresh", "totals")["kept"]["generation"] == 1
    change(book, "UPDATE _daybook_view_generations SET replaced = replaced - 7 * 86400000000 WHERE "
           "state = 'kept'")
    server = serve(book)
    end = time.monotonic() + 10
    while server.get("/views/totals/status").json["kept"] is not None:
        assert time.monotonic() < end
        time.sleep(0.05)
    while tables(book) != ["totals__g2"]:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert server.post("/views/totals/rollback").status == 404
    assert total(book) == 3600


@pytest.mark.parametrize("how, said", [
    ("DROP TABLE totals__g1", "no such table: main.totals__g1"),
    ("DELETE FROM totals__g1 WHERE account = 'a'", "which was kept with 3 rows, has 2 of them"),
    ("ALTER TABLE totals__g1 DROP COLUMN total", "cannot be read: no such column: total"),
])
def test_what_is_damaged_is_not_rolled_back_to(book, how, said):
    write(book, "totals", NEW)
    book.run("view", "refresh", "totals")
    connection = sqlite3.connect(book.data / "reading.db")
    connection.executescript(how)
    connection.close()
    answer = book.run("view", "rollback", "totals", status=1)
    assert "view totals: generation 1, which was kept" in answer.errors
    assert said.replace("main.", "") in answer.errors.replace("main.", ""), answer.errors
    assert total(book) == 3600 and status(book)["generation"] == 2
    book.run("do", "Deposit", "account=a", "amount=1")
    assert book.json("view", "refresh", "totals")["last_mode"] == "incremental"
    assert total(book) == 3610


def test_a_rollback_makes_no_circle(book):
    """The old file read a view that by now reads the view."""
    write(book, "other", HEAD + "SELECT account, balance AS total FROM balances\n")
    write(book, "totals", HEAD + "SELECT account, total FROM other\n")
    book.run("view", "refresh", "other")
    book.run("view", "refresh", "totals")
    write(book, "totals", NEW)
    book.run("view", "refresh", "totals")
    write(book, "other", HEAD + "SELECT account, total FROM totals\n")
    book.run("view", "refresh", "other")
    answer = book.run("view", "rollback", "totals", status=1)
    assert "it reads a view that reads it by now" in answer.errors
    assert total(book) == 3600 and status(book)["generation"] == status(book)["generation"]


def test_readers_see_one_or_the_other(book, serve):
    """A change, rollbacks and refreshes with a writer and readers: never an error, never a mixture
    of columns and rows, and the writer is never held up for long by one step."""
    lines = "\n".join(
        f'{{"stream":"account-{number}","type":"{kind}","data":{data}}}' for number in range(3000)
        for kind, data in (("AccountOpened", f'{{"id":"{number}"}}'),
                           ("Deposited", '{"amount":7,"currency":"USD"}')))
    book.run("append", "--file", "-", text_in=lines)
    book.run("view", "refresh", "totals")
    write(book, "totals", NEW)
    server = serve(book)
    ends = threading.Event()
    seen, faults, waits = set(), [], []

    def read():
        connection = sqlite3.connect(f"file:{book.data}/reading.db?mode=ro", uri=True, timeout=20)
        while not ends.is_set():
            try:
                cursor = connection.execute(
                    "SELECT * FROM totals WHERE account IN ('b', '17') ORDER BY account")
                names = [column[0] for column in cursor.description]
                seen.add((tuple(names), tuple(cursor.fetchall())))
            except sqlite3.Error as fault:
                faults.append(str(fault))

    def act():
        while not ends.is_set():
            begun = time.monotonic()
            server.post("/commands/Deposit", {"account": "a", "amount": 1})
            waits.append(time.monotonic() - begun)

    threads = [threading.Thread(target=each) for each in (read, read, act)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    assert server.post("/views/totals/refresh").status == 200
    for _ in range(3):
        time.sleep(0.1)
        assert server.post("/views/totals/rollback").status == 200
        assert server.post("/views/totals/refresh").status == 200
    ends.set()
    for thread in threads:
        thread.join()
    assert not faults, faults[:3]
    assert seen == {(("account", "total"), (("17", 7), ("b", 150))),
                    (("account", "total", "one"), (("17", 70, 1), ("b", 1500, 1)))}
    assert len(waits) > 20 and max(waits) < 2, max(waits)
    server.stop()
    book.run("view", "verify", "totals")


def test_who_follows_begins_with_the_rows_again(book, serve):
    write(book, "totals", NEW.replace(HEAD, HEAD + "-- changes: keep\n"))
    book.run("view", "refresh", "totals")
    server = serve(book)
    point = server.get("/views/totals/changes").lines[-1]["id"]
    assert server.get(f"/views/totals/changes?after={point}").status == 200
    assert server.post("/views/totals/rollback").status == 200
    answer = server.get(f"/views/totals/changes?after={point}")
    assert (answer.status, answer.json["code"]) == (410, "gone")
    rows = server.get("/views/totals/changes").lines
    assert {row["new"]["total"] for row in rows if row["change"] == "snapshot"} == {50, 150, 160}


def test_forgetting_takes_what_is_kept(book):
    """Nobody refreshes it, and it may tell of the person."""
    select = "SELECT data ->> '$.owner' AS name FROM events WHERE type = 'OwnerNamed'\n"
    write(book, "names", HEAD + select)
    book.run("append", "account-1", "OwnerNamed",
             '{"customer": "17", "owner": "Ada Lovelace"}')
    book.run("view", "refresh", "names")
    write(book, "names", HEAD + select.replace("SELECT", "SELECT upper(type) AS type,"))
    row = book.json("view", "refresh", "names")
    assert row["kept"]["rows"] == 1
    assert b"Ada Lovelace" in (book.data / "reading.db").read_bytes()
    book.run("view", "rollback", "names")
    book.run("forget", "17")
    book.run("forgotten", "run", "--now")
    row = status(book, "names")
    assert row["kept"] is None and row["rolled_back"]
    assert len(tables(book, "names")) == 1
    for file in book.data.glob("reading.db*"):
        assert b"Ada Lovelace" not in file.read_bytes(), file
    assert "no other generation" in book.run("view", "rollback", "names", status=1).errors
    # It goes on by the file that it was rolled back to.
    book.run("append", "account-2", "OwnerNamed", '{"customer": "18", "owner": "Grace"}')
    book.run("view", "refresh", "names")
    assert ("Grace",) in ask(book, "SELECT * FROM names")


KILLS = int(os.environ.get("DAYBOOK_KILLS", "4"))


@pytest.mark.parametrize("command", ["refresh", "rollback"])
def test_a_kill_at_calls_of_a_swap(binary, book, kill_at, tmp_path, command):
    """At each call that changes a file: one of the two is shown whole, and is what the book says
    of it; done once more, all is as if nobody had been killed."""
    write(book, "totals", NEW)
    if command == "rollback":
        book.run("view", "refresh", "totals")
    old = total(book)
    trial = Book(binary, book.folder, tmp_path / "trial")

    def begin():
        shutil.rmtree(trial.data, ignore_errors=True)
        shutil.copytree(book.data, trial.data)

    begin()
    line = trial.command("view", command, "totals")
    assert killed_at(kill_at, line, 0, tmp_path / "count").returncode == 0
    calls, new = int((tmp_path / "count").read_text()), total(trial)
    assert new != old and calls > 4
    seen = set()
    for number in range(1, calls + 1, 1 if KILLS == 0 else max(1, calls // KILLS)):
        begin()
        killed_at(kill_at, line, number)
        there = total(trial)
        assert there in (old, new)
        seen.add(there == new)
        row = status(trial)
        assert row["rolled_back"] == (command == "rollback" and there == new)
        if command == "rollback" and there == old:
            trial.run("view", "rollback", "totals")
        trial.run("view", "refresh", "totals")
        assert total(trial) == new
        trial.run("view", "verify", "totals")
        assert len(tables(trial)) == 2
    assert False in seen
    if KILLS == 0:
        assert seen == {False, True}
