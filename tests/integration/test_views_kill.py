# SPDX-License-Identifier: Apache-2.0
"""Refreshes of views that are killed or find the disk full: the old rows or the new ones are shown,
and the next refresh leaves no trace of what was begun.

A kill comes before a call that changes a file: statements between two of these leave nothing on the
disk that could differ. DAYBOOK_KILLS=0 kills at all of them, else a share is tried.
"""

import os
import shutil
import sqlite3

import pytest

from conftest import BANK, Book, killed_at
from test_full_disk import SmallDisk

KILLS = int(os.environ.get("DAYBOOK_KILLS", "4"))
HEAD = "-- refresh: on demand\n-- database: reading\n"
VIEWS = {
    "levels": "SELECT balance / 10 AS level, count(*) AS n, sum(balance) AS total FROM balances "
              "GROUP BY 1\n",
    "a_each": "SELECT account, balance FROM balances\n",
    "b_all": "SELECT currency, sum(balance) AS total FROM balances GROUP BY 1\n",
    "c_both": "SELECT a.account, a.balance, b.total FROM a_each AS a JOIN b_all AS b ON 1\n",
}
TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB '*__g[0-9]*'"


def make(binary, folder):
    shutil.copytree(BANK, folder / "bank")
    book = Book(binary, folder / "bank", folder / "data")
    for name, select in VIEWS.items():
        (book.folder / "views" / f"{name}.sql").write_text(HEAD + select)
    lines = []
    for number in range(40):
        lines.append(f'{{"stream":"account-{number}","type":"AccountOpened","data":'
                     f'{{"id":"{number}"}}}}')
        lines.append(f'{{"stream":"account-{number}","type":"Deposited","data":'
                     f'{{"amount":{number * 7},"currency":"USD"}}}}')
    book.run("append", "--file", "-", text_in="\n".join(lines))
    return book


def ask(book, sql):
    connection = sqlite3.connect(book.data / "reading.db")
    try:
        return sorted(connection.execute(sql).fetchall())
    finally:
        connection.close()


def shown(book, names):
    return {name: ask(book, f"SELECT * FROM {name}") for name in names}


def wanted(book, names):
    """By the SELECTs themselves, one over the others' texts."""
    each, all_ = (VIEWS[name].strip() for name in ("a_each", "b_all"))
    texts = VIEWS | {"c_both": VIEWS["c_both"].replace("a_each", f"({each})").replace(
        "b_all", f"({all_})")}
    return {name: ask(book, texts[name]) for name in names}


def check_whole(book, names):
    assert shown(book, names) == wanted(book, names)
    for name in names:
        row = book.json("view", "show", name)
        assert row["error"] is None
        kept = [table for table, in ask(book, TABLES) if table.startswith(f"{name}__g")]
        assert kept == [f"{name}__g{row['generation']}"]
    assert ask(book, "SELECT * FROM _daybook_cursors WHERE seq < 0") == []


@pytest.mark.parametrize("what, view, names", [
    ("first", "levels", ["levels"]),
    ("incremental", "levels", ["levels"]),
    ("full", "levels", ["levels"]),
    ("diamond", "c_both", ["a_each", "b_all", "c_both"]),
])
def test_a_kill_at_calls_of_a_refresh(binary, kill_at, tmp_path, what, view, names):
    book = make(binary, tmp_path / "base")
    old = None
    if what != "first":
        book.run("view", "refresh", view)
        old = shown(book, names)
        for number in range(0, 40, 3):
            book.run("do", "Deposit", f"account={number}", "amount=3")
    if what == "full":
        file = book.folder / "views" / "levels.sql"
        file.write_text(file.read_text().replace("count(*) AS n", "count(*) AS n, 1 AS one"))
    trial = Book(binary, book.folder, tmp_path / "trial")

    def begin():
        shutil.rmtree(trial.data, ignore_errors=True)
        shutil.copytree(book.data, trial.data)

    begin()
    command = trial.command("view", "refresh", view)
    assert killed_at(kill_at, command, 0, tmp_path / "count").returncode == 0
    calls = int((tmp_path / "count").read_text())
    new = shown(trial, names)
    assert new != old and calls > 4
    step = 1 if KILLS == 0 else max(1, calls // KILLS)
    seen = set()
    for number in range(1, calls + 1, step):
        begin()
        killed_at(kill_at, command, number)
        try:
            there = shown(trial, names)
        except sqlite3.OperationalError:
            there = None  # it was never refreshed
        assert there in (old, new)
        seen.add(there == new)
        trial.run("view", "refresh", view)
        assert shown(trial, names) == new
        if what != "full":
            check_whole(trial, names)
    assert False in seen
    if KILLS == 0:
        assert seen == {False, True}


def test_a_full_disk_in_a_refresh(binary, tmp_path):
    """The old rows stay, the error is named, and with space again all is well."""
    disk = SmallDisk(tmp_path / "disk")
    try:
        book = make(binary, tmp_path / "base")
        file = book.folder / "views" / "wide.sql"
        file.write_text(HEAD + "SELECT a.account, hex(zeroblob(4000)) AS text FROM balances AS a, "
                        "balances AS b, balances AS c LIMIT 2000\n")
        data = disk.folder / "data"
        disk.run(f"cp -r {book.data} {data}")
        book.data = data
        command = " ".join(f"'{part}'" for part in book.command("view", "refresh", "wide"))
        levels = " ".join(f"'{part}'" for part in book.command("view", "refresh", "levels"))
        read = (f"python3 -c \"import sqlite3; print(sqlite3.connect('file:{data}/reading.db"
                "?mode=ro', uri=True).execute('SELECT count(*), sum(total) FROM levels')"
                ".fetchall())\"")
        assert "levels" in disk.run(levels)
        before = disk.run(read)
        assert before.startswith("[(2")
        disk.fill(3000)
        answer = disk.run(f"{command} 2>&1; echo status $?")
        assert "status 1" in answer and "full" in answer, answer
        assert disk.run(read) == before
        disk.free()
        answer = disk.run(f"{command} 2>&1; echo status $?")
        assert "status 0" in answer, answer
    finally:
        disk.close()
