# SPDX-License-Identifier: Apache-2.0
"""Capture of a SQLite database that a service writes: the book's events replay to exactly its rows,
whatever is killed meanwhile; values are exact; and another file is noticed."""
import base64
import os
import random
import shutil
import sqlite3
import threading
import time

import pytest
from conftest import Book, Server
from test_capture import events_of, rows_of, status

PEOPLE = """CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE,
    balance REAL, photo BLOB, big INTEGER)"""
SERVICE = "database: source\ntables:\n  people:\n    capture: cdc\n"


def connect(file):
    source = sqlite3.connect(file, timeout=30, isolation_level=None)
    source.execute("PRAGMA journal_mode = WAL")
    source.execute("PRAGMA synchronous = OFF")
    return source


def write_book(folder, service=SERVICE, database=None):
    """A relative path would be one in the book's data directory."""
    database = database or folder / "source.db"
    (folder / "services").mkdir(parents=True, exist_ok=True)
    (folder / "book.yaml").write_text(
        f"book: copy\ndatabases:\n  source: sqlite:{database}\n", encoding="utf-8")
    (folder / "services" / "users.yaml").write_text(service, encoding="utf-8")


@pytest.fixture
def book(binary, tmp_path, data):
    write_book(tmp_path / "book")
    return Book(binary, tmp_path / "book", data)


@pytest.fixture
def source(book):
    connection = connect(book.folder / "source.db")
    yield connection
    connection.close()


def value_of(value):
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def source_rows(source, table="people", order="id"):
    cursor = source.execute(f"SELECT * FROM {table} ORDER BY {order}")
    names = [column[0] for column in cursor.description]
    return [{name: value_of(value) for name, value in zip(names, row)} for row in cursor]


def wait_for(test, timeout=30):
    end = time.time() + timeout
    while time.time() < end:
        answer = test()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"it did not come: {test()}")


def settle(server, source, timeout=60):
    """Waits until the book has all that the journal says now."""
    last = source.execute(
        "SELECT seq FROM sqlite_sequence WHERE name = '_daybook_journal'").fetchone()
    last = last[0] if last else 0

    def is_there():
        now = status(server)
        assert now["state"] != "failed", now
        return (now["state"] == "streaming" and int(now["position"] or 0) >= last
                and now["lag_ms"] == 0 and now)
    return wait_for(is_there, timeout)


def assert_same(book, source, table="people", order="id"):
    rows = rows_of(events_of(book), table)
    expected = source_rows(source, table, order)
    assert sorted(rows, key=lambda row: row[order]) == expected


def begin(server):
    wait_for(lambda: status(server)["state"] == "streaming")


def test_a_snapshot_and_what_follows_are_one(book, source, serve):
    source.execute(PEOPLE)
    source.executemany("INSERT INTO people (id, name) VALUES (?, ?)",
                       [(i, f"name {i}") for i in range(1, 12501)])
    server = serve(book)
    begin(server)
    settle(server, source)
    source.execute("UPDATE people SET name = 'anna', balance = 0.1 + 0.2, photo = x'00ff', "
                   "big = 9223372036854775807 WHERE id = 7")
    source.execute("UPDATE people SET name = name WHERE id = 8")
    source.execute("DELETE FROM people WHERE id = 9")
    before = time.time()
    source.execute("UPDATE people SET id = -10 WHERE id = 10")
    settle(server, source)
    events = events_of(book)
    assert [e["type"] for e in events[12500:]] == [
        "people.update", "people.delete", "people.delete", "people.insert"]
    assert events[12500]["stream"] == "users.people-7"
    assert events[12500]["data"]["new"] == {
        "id": 7, "name": "anna", "email": None, "balance": 0.1 + 0.2, "photo": "AP8=",
        "big": 9223372036854775807}
    assert events[12503]["stream"] == "users.people--10"
    assert all(e["meta"]["source"]["snapshot"] for e in events[:12500])
    import datetime
    occurred = datetime.datetime.fromisoformat(events[12503]["occurred"].replace("Z", "+00:00"))
    assert abs(occurred.timestamp() - before) < 5
    assert_same(book, source)
    # What the book has is removed from the journal.
    wait_for(lambda: source.execute("SELECT count(*) FROM _daybook_journal").fetchone()[0] == 0)


def test_values_are_exact(book, source, serve):
    source.execute("CREATE TABLE people (id TEXT PRIMARY KEY, v)")
    values = [None, 0, -1, 2**53 + 1, 2**63 - 1, -2**63, 0.1, 1e-300, 1.7976931348623157e308,
              5e-324, 1 / 3, 2.5, float("inf"), "", "text", "a\x00b", "5", "\N{SNOWMAN}\n\"'",
              b"", b"\x00\xff", "[1]"]
    source.executemany("INSERT INTO people VALUES (?, ?)",
                       [(f"snap,{i}%", v) for i, v in enumerate(values)])
    server = serve(book)
    begin(server)
    settle(server, source)
    source.executemany("INSERT INTO people VALUES (?, ?)",
                       [(f"live{i}", v) for i, v in enumerate(values)])
    settle(server, source)
    events = events_of(book)
    assert events[0]["stream"] == "users.people-snap%2C0%25"
    for live in (False, True):
        got = [e["data"]["new"]["v"] for i, e in enumerate(events)
               if e["data"]["new"]["id"].startswith("live") == live]
        order = sorted(range(len(values)), key=lambda i: f"snap,{i}%") if not live else range(
            len(values))
        assert [(type(g), g) for g in got] == [
            (type(value_of(values[i])), value_of(values[i])) for i in order]


def test_rows_that_no_trigger_sees_go(book, source, serve):
    """REPLACE removes rows silently, a cascade by another table, and texts that are equal to a
    collation are two keys."""
    source.execute("PRAGMA foreign_keys = ON")
    source.execute(PEOPLE)
    source.execute("CREATE TABLE pets (name TEXT COLLATE NOCASE PRIMARY KEY, owner INTEGER "
                   "REFERENCES people ON DELETE CASCADE ON UPDATE CASCADE) WITHOUT ROWID")
    write_book(book.folder, SERVICE + "  pets:\n    capture: cdc\n")
    source.execute("INSERT INTO people (id, name, email) VALUES (1, 'a', 'x'), (2, 'b', 'y'), "
                   "(3, 'c', 'z')")
    source.execute("INSERT INTO pets VALUES ('rex', 1), ('tom', 2), ('zed', 3)")
    server = serve(book)
    begin(server)
    settle(server, source)
    source.execute("REPLACE INTO people (id, name, email) VALUES (4, 'd', 'x')")
    source.execute("UPDATE OR REPLACE people SET email = 'y' WHERE id = 3")
    source.execute("INSERT INTO people (id, name, email) VALUES (3, 'again', 'q') "
                   "ON CONFLICT (id) DO UPDATE SET name = excluded.name")
    source.execute("UPDATE pets SET name = 'ZED' WHERE name = 'zed'")
    source.execute("REPLACE INTO pets VALUES ('Zed', 3)")
    settle(server, source)
    assert_same(book, source)
    assert_same(book, source, "pets", "name")
    source.execute("DELETE FROM people")
    settle(server, source)
    assert rows_of(events_of(book)) == [] and source_rows(source, "pets", "name") == []
    assert rows_of(events_of(book), "pets") == []


class Writers:
    """Sessions that change rows as people do, until they are stopped."""

    def __init__(self, file, count):
        self.file = file
        self.stopping = False
        self.failures = []
        self.threads = [threading.Thread(target=self._run, args=(n,)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()
        assert not self.failures, self.failures[:3]

    def _run(self, number):
        chance = random.Random(number)
        source = connect(self.file)
        try:
            while not self.stopping:
                self._transaction(source, chance)
        except sqlite3.Error as error:
            self.failures.append(error)
        source.close()

    def _transaction(self, source, chance):
        source.execute("BEGIN IMMEDIATE")
        for _ in range(chance.randrange(1, 5)):
            self._statement(source, chance)
            if chance.random() < 0.3:
                source.execute("SAVEPOINT s")
                self._statement(source, chance)
                source.execute(chance.choice(["ROLLBACK TO s", "RELEASE s"]))
        source.execute(chance.choice(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]))
        time.sleep(chance.choice([0, 0, 0.002]))

    def _statement(self, source, chance):
        i = chance.randrange(300)
        text = "x" * chance.choice([1, 10, 9000])
        source.execute(*chance.choice([
            ("REPLACE INTO people (id, name, email) VALUES (?, ?, ?)",
             (i, text, f"e{chance.randrange(200)}")),
            ("INSERT OR IGNORE INTO people (id, name, email, balance) VALUES (?, ?, ?, ?)",
             (i, text, f"e{chance.randrange(200)}", chance.random())),
            ("UPDATE OR REPLACE people SET email = ? WHERE id = ?",
             (f"e{chance.randrange(200)}", i)),
            ("UPDATE people SET name = ? WHERE id = ?", (text, i)),
            ("UPDATE OR IGNORE people SET id = ? WHERE id = ?", (1000 + chance.randrange(500), i)),
            ("DELETE FROM people WHERE id = ?", (i,)),
            ("DELETE FROM people WHERE id > 1000 AND id % 7 = ?", (i % 7,)),
        ]))


def test_writers_and_kills(binary, tmp_path, data):
    """DAYBOOK_CAPTURE_SECONDS=60 DAYBOOK_CAPTURE_WRITERS=16 for the long run."""
    seconds = float(os.environ.get("DAYBOOK_CAPTURE_SECONDS", "6"))
    count = int(os.environ.get("DAYBOOK_CAPTURE_WRITERS", "4"))
    folder = tmp_path / "book"
    write_book(folder)
    book = Book(binary, folder, data)
    source = connect(folder / "source.db")
    source.execute(PEOPLE)
    source.executemany("INSERT INTO people (id, name) VALUES (?, ?)",
                       [(i, "n" * 200) for i in range(20000)])
    chance = random.Random(7)
    server = Server(book)
    writers = Writers(folder / "source.db", count)
    altered = 0
    end = time.time() + seconds
    try:
        while time.time() < end:
            time.sleep(chance.uniform(0.05, seconds / 10))
            if chance.random() < 0.8:
                server.kill()
                server = Server(book)
            elif altered < 3:
                source.execute(f"ALTER TABLE people ADD COLUMN extra{altered} DEFAULT 3")
                altered += 1
        writers.stop()
        begin(server)
        settle(server, source)
    finally:
        writers.stopping = True
        server.stop()
    rows = sorted(rows_of(events_of(book)), key=lambda row: row["id"])
    expected = source_rows(source)
    source.close()
    assert [r["id"] for r in rows] == [r["id"] for r in expected]
    for row, wanted in zip(rows, expected):
        # A column that came behind the row's last change is not in its image.
        later = {k for k in wanted if k not in row}
        assert all(k.startswith("extra") and wanted[k] == 3 for k in later), (row, wanted)
        assert row == {k: v for k, v in wanted.items() if k in row}


def test_columns_that_come_and_go(book, source, serve):
    source.execute(PEOPLE)
    source.execute("INSERT INTO people (id, name) VALUES (1, 'a'), (2, 'b')")
    server = serve(book)
    begin(server)
    settle(server, source)
    source.execute("BEGIN")
    source.execute("UPDATE people SET name = 'c' WHERE id = 1")
    source.execute("ALTER TABLE people ADD COLUMN extra")
    source.execute("UPDATE people SET extra = 5 WHERE id = 2")
    source.execute("COMMIT")
    settle(server, source)
    rows = wait_for(lambda: (r := {row["id"]: row for row in rows_of(events_of(book))})
                    and r[2].get("extra") == 5 and r)
    assert rows[1]["name"] == "c"
    source.execute("ALTER TABLE people RENAME COLUMN extra TO other")
    source.execute("UPDATE people SET other = 6 WHERE id = 2")
    wait_for(lambda: any(row.get("other") == 6 for row in rows_of(events_of(book))))
    # As frameworks alter tables: a new one takes the name, and the triggers are gone.
    source.executescript("""BEGIN; CREATE TABLE people_new (id INTEGER PRIMARY KEY, name TEXT);
        INSERT INTO people_new SELECT id, name || '!' FROM people; DROP TABLE people;
        ALTER TABLE people_new RENAME TO people; DELETE FROM people WHERE id = 1; COMMIT""")
    wait_for(lambda: rows_of(events_of(book)) == [{"id": 2, "name": "b!"}])
    source.execute("INSERT INTO people VALUES (5, 'e')")
    settle(server, source)
    assert_same(book, source)


def test_another_file_is_noticed(book, source, serve, tmp_path):
    source.execute(PEOPLE)
    source.execute("INSERT INTO people (id, name) VALUES (1, 'a')")
    server = serve(book)
    begin(server)
    settle(server, source)
    with sqlite3.connect(tmp_path / "backup.db") as backup:
        source.backup(backup)
    backup.close()
    source.execute("INSERT INTO people (id, name) VALUES (2, 'b')")
    settle(server, source)
    wait_for(lambda: source.execute("SELECT count(*) FROM _daybook_journal").fetchone()[0] == 0)
    time.sleep(1.5)  # so that the book knows that it was removed
    source.execute("INSERT INTO people (id, name) VALUES (3, 'c')")
    settle(server, source)
    source.close()
    # The older file comes back while the service is captured.
    for ending in ("", "-wal", "-shm"):
        (book.folder / f"source.db{ending}").unlink(missing_ok=True)
    shutil.move(tmp_path / "backup.db", book.folder / "source.db")
    restored = connect(book.folder / "source.db")
    failed = wait_for(lambda: status(server)["state"] == "failed" and status(server))
    assert "restored" in failed["error"] and "capture resnapshot users" in failed["error"]
    restored.execute("INSERT INTO people (id, name) VALUES (9, 'z')")
    book.run("capture", "resnapshot", "users")
    begin(server)
    settle(server, restored)
    assert_same(book, restored)
    restored.close()


def test_what_is_wrong_is_named(book, serve, binary, tmp_path):
    def failure(service=SERVICE, script=""):
        folder = tmp_path / f"book{random.random()}"
        write_book(folder, service)
        if script is not None:
            source = connect(folder / "source.db")
            source.executescript(script)
            source.close()
        server = serve(Book(binary, folder, folder / "data"))
        return wait_for(lambda: status(server)["error"])
    assert "services/users.yaml:3:3: the table `people` is not in the database" in failure()
    assert "has no primary key" in failure(script="CREATE TABLE people (id)")
    assert "is a view" in failure(script="CREATE VIEW people AS SELECT 1 AS id")
    assert "unique index on an expression" in failure(
        script=PEOPLE + "; CREATE UNIQUE INDEX i ON people (lower(name))")
    assert "unable to open" in failure(script=None)


def test_a_table_that_was_missing_is_captured_when_it_comes(book, source, serve):
    server = serve(book)
    now = wait_for(lambda: status(server)["state"] == "failed" and status(server))
    assert "is not in the database" in now["error"]
    # It is shown all the while it is tried again.
    for _ in range(20):
        assert status(server)["state"] == "failed" and server.get("/healthz").status == 503
        time.sleep(0.02)
    source.execute(PEOPLE)
    source.execute("INSERT INTO people (id, name) VALUES (1, 'a')")
    wait_for(lambda: len(events_of(book)) == 1, 20)
    assert status(server)["error"] is None and server.get("/healthz").status == 200


def test_two_books_do_not_share_a_journal(book, source, serve, binary, tmp_path):
    source.execute(PEOPLE)
    source.execute("INSERT INTO people (id, name) VALUES (1, 'a')")
    first = serve(book)
    begin(first)
    settle(first, source)
    write_book(tmp_path / "other", database=book.folder / "source.db")
    second = serve(Book(binary, tmp_path / "other", tmp_path / "other-data"))
    wait_for(lambda: "captured by another book" in (status(second)["error"] or ""))
    source.execute("INSERT INTO people (id, name) VALUES (2, 'b')")
    settle(first, source)
    assert_same(book, source)
