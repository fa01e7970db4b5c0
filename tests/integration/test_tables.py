# SPDX-License-Identifier: Apache-2.0
"""A service's table as a model's source: the rows that its handlers make are the rows of the table,
in every kind of database, and whatever is killed meanwhile."""
import random
import sys

import pytest
from conftest import ROOT, Book, Server, missing
from test_capture_sqlite import connect, wait_for

sys.path.insert(0, str(ROOT / "tests"))
from services.postgres import Missing, Postgres  # noqa: E402

HANDLERS = """-- on: people.insert
INSERT INTO names (id, name, changes) VALUES (:new.id, :new.name, 1);

-- on: people.update
UPDATE names SET name = :new.name, changes = changes + 1 WHERE id = :old.id;
INSERT INTO renamed (position, id, was, is_now)
SELECT CAST(:_position AS BIGINT), CAST(:new.id AS BIGINT), CAST(:old.name AS TEXT),
    CAST(:new.name AS TEXT)
WHERE CAST(:old.name AS TEXT) <> CAST(:new.name AS TEXT);

-- on: people.delete
DELETE FROM names WHERE id = :old.id;
"""
SCHEMA = """CREATE TABLE names (id BIGINT PRIMARY KEY, name TEXT NOT NULL, changes BIGINT NOT NULL);
CREATE TABLE renamed (position BIGINT PRIMARY KEY, id BIGINT NOT NULL, was TEXT, is_now TEXT);
"""


@pytest.fixture(scope="module")
def postgres():
    try:
        server = Postgres(settings=["wal_level = logical"])
    except Missing as error:
        missing(str(error))
    yield server
    server.close()


def write_book(folder, databases, sync="cdc"):
    for sub in ("services", "models/names"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    (folder / "book.yaml").write_text(f"book: names\ndatabases:\n  source: {databases[0]}\n"
                                      f"  reading: {databases[1]}\n", encoding="utf-8")
    (folder / "services/users.yaml").write_text("database: source\ntables:\n  people:\n",
                                                encoding="utf-8")
    (folder / "models/names/model.yaml").write_text(
        f"database: reading\nsync: {sync}\nsource: [users.people]\n", encoding="utf-8")
    (folder / "models/names/schema.sql").write_text(SCHEMA, encoding="utf-8")
    (folder / "models/names/handlers.sql").write_text(HANDLERS, encoding="utf-8")


class SqliteTable:
    def __init__(self, folder):
        self.connection = connect(folder / "people.db")
        self.address = f"sqlite:{folder / 'people.db'}"

    def run(self, sql):
        self.connection.execute(sql)

    def rows(self):
        return [tuple(row) for row in
                self.connection.execute("SELECT id, name FROM people ORDER BY id")]


def secret_of(folder, postgres, name):
    secret = folder / name
    secret.write_text(postgres.connection(name), encoding="utf-8")
    return f"postgres:file:{secret}"


class PostgresTable:
    def __init__(self, folder, postgres, name):
        self.postgres, self.name = postgres, name
        postgres.sql(f"CREATE DATABASE {name}")
        self.address = secret_of(folder, postgres, name)

    def run(self, sql):
        self.postgres.sql(sql, self.name)

    def rows(self):
        rows = self.postgres.sql("SELECT id, name FROM people ORDER BY id", self.name)
        return [(int(number), name) for number, name in rows]


@pytest.fixture(params=["sqlite", "postgres"])
def table(request, tmp_path):
    if request.param == "sqlite":
        return SqliteTable(tmp_path)
    server = request.getfixturevalue("postgres")
    return PostgresTable(tmp_path, server, f"t{random.randrange(10**9)}")


@pytest.fixture(params=["sqlite", "postgres"])
def reading(request, tmp_path):
    """Where the model lies."""
    if request.param == "sqlite":
        return "sqlite:reading.db"
    server = request.getfixturevalue("postgres")
    name = f"r{random.randrange(10**9)}"
    server.create(name)
    return secret_of(tmp_path, server, name)


def rows_of(server, last):
    """What the model has once it has got to a row."""
    rows = sorted((row["id"], row["name"]) for row in
                  server.get("/models/names/tables/names?limit=1000").json["rows"])
    return rows if last in [name for _, name in rows] else None


def change(table, chance, count, ids):
    for _ in range(count):
        number = chance.randrange(1, 40)
        if number not in ids:
            ids.add(number)
            table.run(f"INSERT INTO people VALUES ({number}, 'n{chance.randrange(10**6)}')")
        elif chance.random() < 0.3:
            ids.remove(number)
            table.run(f"DELETE FROM people WHERE id = {number}")
        else:
            table.run(f"UPDATE people SET name = 'n{chance.randrange(10**6)}' WHERE id = {number}")


def test_the_model_has_the_rows_of_the_table(binary, tmp_path, data, table, reading):
    write_book(tmp_path / "book", (table.address, reading))
    book = Book(binary, tmp_path / "book", data)
    assert book.run("check").status == 0
    table.run("CREATE TABLE people (id BIGINT PRIMARY KEY, name TEXT NOT NULL)")
    chance, ids = random.Random(5), set()
    change(table, chance, 30, ids)
    for turn in range(4):
        server = Server(book)
        try:
            change(table, chance, 40, ids)
            if turn % 2 == 0:
                server.kill()
                continue
            mark = 1000 + turn
            table.run(f"INSERT INTO people VALUES ({mark}, 'mark {turn}')")
            rows = wait_for(lambda: rows_of(server, f"mark {turn}"), 60)  # noqa: B023
            assert rows == table.rows()
            listed = book.json("model", "ls", "-o", "json")
            listed = listed["models"] if isinstance(listed, dict) else listed
            assert listed[0]["sync"] == "cdc"
        finally:
            server.stop()
    # A rebuild from the log comes to the same, and old and new fit each other all along.
    book.run("model", "rebuild", "names")
    server = Server(book)
    try:
        assert rows_of(server, "mark 3") == table.rows()
        renamed = server.get("/models/names/tables/renamed?limit=1000").json["rows"]
        assert renamed and all(row["was"] != row["is_now"] for row in renamed)
    finally:
        server.stop()


def test_another_word_needs_no_rebuild(binary, tmp_path, data, table):
    """How a table is captured is no part of what builds the model."""
    table.run("CREATE TABLE people (id BIGINT PRIMARY KEY, name TEXT NOT NULL)")
    for turn, sync in enumerate(["polling", "cdc", "polling"]):
        write_book(tmp_path / "book", (table.address, "sqlite:reading.db"), sync)
        (tmp_path / "book/services/users.yaml").write_text(
            "database: source\ntables:\n  people:\n    every: 20 ms\n", encoding="utf-8")
        book = Book(binary, tmp_path / "book", data)
        server = Server(book)
        try:
            table.run(f"UPDATE people SET name = 'then {turn}'")
            table.run(f"DELETE FROM people WHERE id = {turn - 1}")
            table.run(f"INSERT INTO people VALUES ({turn}, 'now {turn}')")
            rows = wait_for(lambda: rows_of(server, f"now {turn}"), 60)  # noqa: B023
            assert rows == table.rows()
            model = server.get("/models/names").json
            assert (model["sync"], model["changed"], model["generation"]) == (sync, False, 1)
        finally:
            server.stop()


def test_words_that_do_not_fit_are_named(binary, tmp_path, data):
    write_book(tmp_path / "book", ("sqlite:people.db", "sqlite:reading.db"), "events")
    answer = Book(binary, tmp_path / "book", data).run("check", status=1)
    assert ("models/names/model.yaml:2:7: `sync: events` follows events, and "
            "`users.people` is a service's table") in answer.text + answer.errors
    assert "write `sync: cdc` or `sync: polling`" in answer.text + answer.errors
