# SPDX-License-Identifier: Apache-2.0
"""`check --portable` against the databases themselves: what it calls portable they both prepare,
and what it names with a place one of them refuses."""
import json
import sqlite3

import pytest
from conftest import Book, missing
from services.postgres import Missing, Postgres

SCHEMA = ("CREATE TABLE t (id BIGINT PRIMARY KEY, k TEXT UNIQUE, total BIGINT, "
          "x DOUBLE PRECISION);\n")
# Of one line each, with values where a handler has parameters.
STATEMENTS = [
    "INSERT INTO t (id, k, total) VALUES (1, 'a', 2) ON CONFLICT (k) DO NOTHING",
    "INSERT OR REPLACE INTO t (id, k) VALUES (1, 'a')",
    "INSERT OR IGNORE INTO t (id, k) VALUES (1, 'a')",
    "REPLACE INTO t (id, k) VALUES (1, 'a')",
    "INSERT INTO t (k, total) VALUES ('a', 1) ON CONFLICT (k) DO UPDATE SET total = total + 1",
    "INSERT INTO t AS o (k, total) VALUES ('a', 1) ON CONFLICT (k) "
    "DO UPDATE SET total = o.total + excluded.total",
    "UPDATE t SET total = coalesce(total, 0) + 1 WHERE k = 'a'",
    "UPDATE t SET total = ifnull(total, 0) + 1 WHERE k = 'a'",
    "UPDATE t SET total = iif(total > 1, 1, 2)",
    "UPDATE t SET total = max(total, 1)",
    "UPDATE t SET total = (SELECT max(total) FROM t)",
    "UPDATE t SET k = strftime('%Y', k)",
    "UPDATE t SET k = substr(k, 1, 10)",
    "UPDATE t SET k = 'ifnull(a) == greatest(b)' -- iif(x), total == 1",
    "UPDATE t SET x = 1 WHERE total == 2",
    "UPDATE t SET x = 1 WHERE k IS 'a'",
    "UPDATE t SET x = 1 WHERE k IS NOT NULL",
    "UPDATE t SET x = 1 WHERE k GLOB 'a*'",
    "DELETE FROM t WHERE rowid = 1",
    "UPDATE t SET x = CASE WHEN total > 1 THEN 1.5 ELSE 2 END",
    "UPDATE t SET x = total::double precision",
    "UPDATE t SET total = greatest(total, 1)",
    "UPDATE t SET k = left(k, 2)",
    "UPDATE t SET x = 1 WHERE k ILIKE 'A%'",
    "UPDATE t SET x = 1 WHERE id = ANY (ARRAY[1, 2])",
    "UPDATE t SET k = to_char(1, '9')",
    "DELETE FROM t WHERE k IN (SELECT k FROM t GROUP BY k HAVING count(*) > 1)",
]


@pytest.fixture(scope="module")
def postgres():
    try:
        server = Postgres()
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


def make(folder, database, handlers):
    (folder / "models/m").mkdir(parents=True)
    (folder / "book.yaml").write_text(
        f"book: b\nschema: off\ndatabases:\n  here: {database}\n", encoding="utf-8")
    (folder / "models/m/model.yaml").write_text(
        "database: here\nsync: events\nsource: [a]\n", encoding="utf-8")
    (folder / "models/m/schema.sql").write_text(SCHEMA, encoding="utf-8")
    (folder / "models/m/handlers.sql").write_text(
        "".join(f"-- on: T{number}\n{sql};\n" for number, sql in handlers.items()),
        encoding="utf-8")


def prepares_in_sqlite(sql):
    database = sqlite3.connect(":memory:")
    try:
        database.execute(SCHEMA)
        database.execute("EXPLAIN " + sql)
        return True
    except sqlite3.Error:
        return False
    finally:
        database.close()


def prepares_in_postgres(server, sql):
    try:
        server.sql("EXPLAIN " + sql.split(" --")[0])
        return True
    except Exception:  # psql's
        return False


@pytest.mark.parametrize("home", ["sqlite", "postgres"])
def test_it_names_what_the_other_refuses(binary, tmp_path, postgres, home):
    postgres.sql("DROP TABLE IF EXISTS t; " + SCHEMA)
    sqlite = [prepares_in_sqlite(sql) for sql in STATEMENTS]
    server = [prepares_in_postgres(postgres, sql) for sql in STATEMENTS]
    own, other = (sqlite, server) if home == "sqlite" else (server, sqlite)
    handlers = {number: sql for number, sql in enumerate(STATEMENTS) if own[number]}
    assert 8 < sum(other[number] for number in handlers) < len(handlers) - 4
    make(tmp_path, "sqlite:a.db" if home == "sqlite" else "postgres:env:NOWHERE", handlers)
    book = Book(binary, tmp_path, tmp_path / "data")
    book.run("check")
    faults = book.run("check", "--portable", "-o", "jsonl", status=1).lines
    lines = {2 * at + 2: number for at, number in enumerate(handlers)}
    named = {lines[fault["line"]] for fault in faults if fault["severity"] == "error"}
    assert named == {number for number in handlers if not other[number]}, json.dumps(faults)
    for fault in faults:
        assert fault["column"] > 0 and fault["fix"], fault


def test_settings_types_and_the_log(binary, tmp_path):
    make(tmp_path, "sqlite:a.db", {0: "DELETE FROM t"})
    (tmp_path / "models/m/model.yaml").write_text(
        "database: here\nsource: [a]\nsync: transaction\n", encoding="utf-8")
    (tmp_path / "models/m/schema.sql").write_text(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB);\n", encoding="utf-8")
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries/Log.sql").write_text("SELECT count(*) AS n FROM events;\n",
                                              encoding="utf-8")
    book = Book(binary, tmp_path, tmp_path / "data")
    found = {(fault["file"], fault["line"], fault["column"], fault["severity"])
             for fault in book.run("check", "--portable", "-o", "jsonl", status=1).lines}
    assert found == {("models/m/model.yaml", 3, 1, "error"),
                     ("models/m/schema.sql", 1, 20, "warning"),
                     ("models/m/schema.sql", 1, 43, "error"),
                     ("queries/Log.sql", 1, 27, "error")}
    answer = book.run("check", "--portable", status=1)
    assert "2 errors" not in answer.text and "3 errors" in answer.text


def test_a_portable_book_says_so(binary, tmp_path):
    make(tmp_path, "sqlite:a.db", {0: STATEMENTS[0], 1: STATEMENTS[5]})
    book = Book(binary, tmp_path, tmp_path / "data")
    assert "no errors" in book.run("check", "--portable").text
