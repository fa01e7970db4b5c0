# SPDX-License-Identifier: Apache-2.0
"""Polling of a service's tables: with many writers, whose transactions commit in any order, and a
daemon that is killed, the book's events replay to exactly the source's rows; and what would miss
rows is refused."""
import itertools
import json
import os
import random
import sqlite3
import threading
import time

import pytest
from conftest import Book, Server, missing
from services.postgres import Missing, Postgres
from test_capture import events_of, rows_of, status
from test_capture_sqlite import assert_same, connect, source_rows, wait_for

NUMBERS = itertools.count(1)
SECONDS = float(os.environ.get("DAYBOOK_CAPTURE_SECONDS", "6"))
WRITERS = int(os.environ.get("DAYBOOK_CAPTURE_WRITERS", "16"))


@pytest.fixture(scope="module")
def postgres():
    try:
        server = Postgres(settings=["max_prepared_transactions = 5"])
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


@pytest.fixture
def database(postgres):
    name = f"polling_{next(NUMBERS)}"
    postgres.create(name)
    return name


def write_book(folder, address, table):
    for part in ("secrets", "services"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    if not address.startswith("sqlite:"):
        (folder / "secrets" / "source").write_text(address + "\n", encoding="utf-8")
        address = "postgres:file:secrets/source"
    (folder / "book.yaml").write_text(f"book: copy\ndatabases:\n  source: {address}\n",
                                      encoding="utf-8")
    (folder / "services" / "users.yaml").write_text(
        "database: source\ntables:\n  people:\n    capture: polling\n    every: 50 ms\n"
        + "".join(f"    {line}\n" for line in table), encoding="utf-8")


@pytest.fixture
def make(binary, tmp_path, data):
    def make_book(address, *table):
        write_book(tmp_path / "book", address, table)
        return Book(binary, tmp_path / "book", data)
    return make_book


XID = """CREATE TABLE people (id int PRIMARY KEY, name text, deleted boolean NOT NULL DEFAULT false,
    stamp xid8 NOT NULL DEFAULT pg_current_xact_id());
    CREATE INDEX ON people (stamp, id);
    CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN NEW.stamp := pg_current_xact_id(); RETURN NEW; END$$;
    CREATE TRIGGER stamp BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION stamp()"""
TIME = XID.replace("xid8", "timestamptz").replace("pg_current_xact_id()", "now()")


class Writers:
    """Sessions of PostgreSQL whose transactions stay open for a while, until they are stopped."""

    def __init__(self, postgres, database, count, soft):
        self.soft = soft
        self.stopping = False
        self.failures = []
        self.threads = [threading.Thread(target=self._run, args=(postgres, database, n))
                        for n in range(count)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()

    def _statement(self, chance):
        i = chance.randrange(2000)
        delete = (f"UPDATE people SET deleted = true WHERE id = {i};" if self.soft
                  else f"DELETE FROM people WHERE id = {i};")
        return chance.choice([
            f"INSERT INTO people VALUES ({i}, '{chance.random()}') ON CONFLICT (id) DO UPDATE "
            "SET name = excluded.name, deleted = false;",
            f"UPDATE people SET name = '{chance.random()}' WHERE id = {i};", delete])

    def _run(self, postgres, database, number):
        chance = random.Random(number)
        while not self.stopping:
            script = ""
            for _ in range(10):
                script += "BEGIN;"
                for _ in range(chance.randrange(1, 4)):
                    script += self._statement(chance)
                    script += f"SELECT pg_sleep({chance.choice([0, 0, 0.01, 0.1])});"
                script += chance.choice(["COMMIT;", "COMMIT;", "COMMIT;", "ROLLBACK;"])
            try:
                postgres.sql(script, database)
            except AssertionError as error:
                if "deadlock" not in str(error):
                    self.failures.append(str(error))


def postgres_rows(postgres, database):
    lines = postgres.sql("SELECT to_jsonb(t) - 'stamp' FROM people AS t WHERE NOT deleted "
                         "ORDER BY id", database)
    return [json.loads(line[0]) for line in lines]


def storm(postgres, database, book, soft):
    chance = random.Random(3)
    postgres.sql("INSERT INTO people SELECT i, 'n' FROM generate_series(0, 3000, 3) AS i", database)
    server = Server(book)
    writers = Writers(postgres, database, WRITERS, soft)
    end = time.time() + SECONDS
    try:
        while time.time() < end:
            time.sleep(chance.uniform(0.1, 1.5))
            server.kill()
            server = Server(book)
        writers.stop()
        assert writers.failures == []
        expected = postgres_rows(postgres, database)

        def rows():
            found = sorted(rows_of(events_of(book)), key=lambda row: row["id"])
            return [{k: v for k, v in row.items() if k != "stamp"} for row in found]
        wait_for(lambda: rows() == expected, 20)
    finally:
        writers.stop()
        server.stop()
    assert len(expected) > 300 and len(events_of(book)) > len(expected)


@pytest.mark.parametrize("deletes", [["deleted: deleted"],
                                     ["deletes: compare", "compare_every: 500 ms"]])
def test_xid_with_many_writers(postgres, database, make, deletes):
    postgres.sql(XID, database)
    book = make(postgres.connection(database), "cursor: stamp", *deletes)
    storm(postgres, database, book, soft="deleted" in deletes[0])


def test_a_time_with_many_writers(postgres, database, make):
    """The overlap is far shorter than transactions are: the bound is what counts."""
    postgres.sql(TIME, database)
    book = make(postgres.connection(database), "cursor: stamp", "overlap: 10 ms",
                "deleted: deleted")
    storm(postgres, database, book, soft=True)


def test_a_whole_table_is_compared(postgres, database, make):
    postgres.sql("CREATE TABLE people (id int PRIMARY KEY, name text, deleted boolean NOT NULL "
                 "DEFAULT false)", database)
    book = make(postgres.connection(database))
    storm(postgres, database, book, soft=False)


@pytest.mark.parametrize("kind,table,extra", [("xid8", XID, []),
                                              ("timestamptz", TIME, ["overlap: 10 ms"])])
def test_a_late_commit_is_not_missed(postgres, database, make, serve, kind, table, extra):
    """A transaction takes its stamp, others commit behind it and are read, then it commits."""
    postgres.sql(table, database)
    book = make(postgres.connection(database), "cursor: stamp", "deletes: none", *extra)
    server = serve(book)
    late = threading.Thread(target=postgres.sql, args=(
        "BEGIN; INSERT INTO people VALUES (1, 'late'); SELECT pg_sleep(2); COMMIT", database))
    late.start()
    time.sleep(0.5)
    postgres.sql("INSERT INTO people VALUES (2, 'early')", database)
    if kind == "timestamptz":  # it is read at once, and again as long as the other is open
        wait_for(lambda: [r["id"] for r in rows_of(events_of(book))] == [2])
    late.join()
    wait_for(lambda: sorted(r["id"] for r in rows_of(events_of(book))) == [1, 2], 5)
    assert len(events_of(book)) == 2
    assert status(server)["capture"] == "polling"


def test_values_are_those_of_cdc(postgres, database, make, serve):
    postgres.sql("CREATE DOMAIN amount AS numeric; CREATE TABLE people (id char(5), n int, "
                 "a boolean, b boolean, big int8, num amount, f float8, j jsonb, at timestamptz, "
                 "raw bytea, list int[], span interval, PRIMARY KEY (n, id))", database)
    postgres.sql("INSERT INTO people VALUES ('a,%', 7, true, false, 9007199254740993, 1.50, 0.1, "
                 "'{\"b\": 1}', '2026-01-02 03:04:05.5+01', '\\x00ff', '{1,2}', '1 day')", database)
    server = serve(make(postgres.connection(database)))
    event = wait_for(lambda: events_of(server.book))[0]
    assert event["stream"] == "users.people-7,a%2C%25  "
    assert event["data"]["new"] == {
        "id": "a,%  ", "n": 7, "a": True, "b": False, "big": 9007199254740993, "num": 1.50,
        "f": 0.1, "j": {"b": 1}, "at": "2026-01-02T02:04:05.500000Z", "raw": "AP8=",
        "list": "{1,2}", "span": "P1D"}


@pytest.mark.parametrize("lines,script,message", [
    (["cursor: id", "deletes: none"], "CREATE TABLE people (id bigint PRIMARY KEY)",
     "would be missed. Add a column `xid8"),
    (["cursor: at", "deletes: none"],
     "CREATE TABLE people (id int PRIMARY KEY, at timestamptz)", "may be NULL"),
    (["cursor: nothing", "deletes: none"], "CREATE TABLE people (id int PRIMARY KEY)",
     "no column that `cursor` names"),
    (["deleted: nothing"], "CREATE TABLE people (id int PRIMARY KEY)",
     "no column that `deleted` names"),
    ([], "CREATE TABLE people (id int)", "no primary key"),
    ([], "SELECT 1", "services/users.yaml:3:3: the table `people` is not in the database"),
])
def test_what_would_miss_rows_is_refused(postgres, database, make, serve, lines, script, message):
    postgres.sql(script, database)
    server = serve(make(postgres.connection(database), *lines))
    now = wait_for(lambda: status(server)["state"] == "failed" and status(server))
    assert message in now["error"]


def test_a_table_that_was_missing_is_polled_when_it_comes(postgres, database, make, serve):
    server = serve(make(postgres.connection(database), "cursor: stamp", "deletes: none"))
    wait_for(lambda: status(server)["state"] == "failed")
    # One that comes without its cursor's column is waited for, too.
    postgres.sql("CREATE TABLE people (id int PRIMARY KEY, name text)", database)
    wait_for(lambda: "no column that `cursor` names" in status(server)["error"], 20)
    postgres.sql("ALTER TABLE people ADD stamp xid8 NOT NULL DEFAULT pg_current_xact_id(); "
                 "INSERT INTO people VALUES (1, 'a')", database)
    wait_for(lambda: len(events_of(server.book)) == 1, 20)
    assert status(server)["error"] is None


def test_a_time_needs_to_see_open_transactions(postgres, database, make, serve):
    postgres.sql(TIME + "; CREATE ROLE reader LOGIN; GRANT SELECT ON people TO reader", database)
    server = serve(make(postgres.connection(database, user="reader"), "cursor: stamp",
                        "deletes: none"))
    now = wait_for(lambda: status(server)["state"] == "failed" and status(server))
    assert "GRANT pg_read_all_stats" in now["error"]


# ---- SQLite ----

VERSIONED = """CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, gone TEXT,
    version INTEGER NOT NULL DEFAULT 0);
    CREATE INDEX people_version ON people (version, id);
    CREATE TRIGGER people_insert AFTER INSERT ON people BEGIN UPDATE people SET version =
        (SELECT max(version) + 1 FROM people) WHERE id = NEW.id; END;
    CREATE TRIGGER people_update AFTER UPDATE OF name, gone ON people BEGIN UPDATE people SET
        version = (SELECT max(version) + 1 FROM people) WHERE id = NEW.id; END"""


def write_sqlite(file, number, stop, cursor, failures):
    chance = random.Random(number)
    source = connect(file)
    try:
        while not stop.is_set():
            source.execute("BEGIN IMMEDIATE")
            for _ in range(chance.randrange(1, 4)):
                i = chance.randrange(500)
                source.execute(*chance.choice([
                    ("INSERT INTO people (id, name) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET "
                     "name = excluded.name, gone = NULL", (i, str(chance.random()))),
                    ("UPDATE people SET gone = 'now' WHERE id = ?" if cursor
                     else "DELETE FROM people WHERE id = ?", (i,))]))
            time.sleep(chance.choice([0, 0.003]))
            source.execute(chance.choice(["COMMIT", "COMMIT", "ROLLBACK"]))
            time.sleep(chance.choice([0, 0.003]))
    except sqlite3.Error as error:
        failures.append(error)
    source.close()


@pytest.mark.parametrize("cursor", [True, False])
def test_sqlite_with_many_writers(tmp_path, make, cursor):
    file = tmp_path / "source.db"
    source = connect(file)
    source.executescript(VERSIONED)
    lines = ["cursor: version", "deleted: gone", "overlap: 500 ms"] if cursor else []
    book = make(f"sqlite:{file}", *lines)
    stop, failures, chance = threading.Event(), [], random.Random(5)
    threads = [threading.Thread(target=write_sqlite, args=(file, n, stop, cursor, failures))
               for n in range(WRITERS)]
    server = Server(book)
    for thread in threads:
        thread.start()
    try:
        end = time.time() + SECONDS
        while time.time() < end:
            time.sleep(chance.uniform(0.1, 1.5))
            server.kill()
            server = Server(book)
        stop.set()
        for thread in threads:
            thread.join()
        assert failures == []
        expected = [row for row in source_rows(source) if row["gone"] is None]
        wait_for(lambda: sorted(rows_of(events_of(book)), key=lambda r: r["id"]) == expected, 20)
    finally:
        stop.set()
        server.stop()
    source.close()
    assert len(expected) > 50


def test_polling_and_cdc_of_one_service(tmp_path, make, serve):
    source = connect(tmp_path / "source.db")
    source.executescript("CREATE TABLE people (id INTEGER PRIMARY KEY, name); "
                         "CREATE TABLE pets (id INTEGER PRIMARY KEY, name); "
                         "INSERT INTO people VALUES (1, 'a'); INSERT INTO pets VALUES (1, 'rex')")
    book = make(f"sqlite:{tmp_path / 'source.db'}")
    with open(book.folder / "services" / "users.yaml", "a", encoding="utf-8") as file:
        file.write("  pets:\n    capture: cdc\n")
    server = serve(book)
    captures = server.get("/captures").json["captures"]
    assert [(c["service"], c["capture"]) for c in captures] == [("users", "cdc"),
                                                               ("users", "polling")]
    wait_for(lambda: len(events_of(book)) == 2)
    # What a cursor cannot know a new snapshot makes good, in both; nothing else becomes an event.
    source.execute("UPDATE people SET name = 'b'")
    source.execute("DELETE FROM pets")
    wait_for(lambda: len(events_of(book)) == 4)
    book.run("capture", "resnapshot", "users")
    time.sleep(0.5)
    assert [e["type"] for e in events_of(book)[2:]] in (["people.update", "pets.delete"],
                                                        ["pets.delete", "people.update"])
    assert_same(book, source)
    source.close()
