# SPDX-License-Identifier: Apache-2.0
"""A position of a service's own database is a consistency token: a read with it sees what had been
committed there, on a real PostgreSQL server."""
import time

import pytest
from conftest import Book
from services.proxy import Proxy
from test_capture import database, postgres, write_book  # noqa: F401

COUNT = "SELECT count(*) AS n, max(position) AS last FROM events WHERE type = 'people.insert'\n"


@pytest.fixture
def book(binary, tmp_path, postgres, database, data):  # noqa: F811
    folder = tmp_path / "book"
    write_book(folder, postgres.connection(database))
    for part in ("queries", "models/names"):
        (folder / part).mkdir(parents=True)
    with open(folder / "book.yaml", "a", encoding="utf-8") as settings:
        settings.write("  reading: sqlite:reading.db\n")
    (folder / "queries/Count.sql").write_text("-- database: reading\n" + COUNT, encoding="utf-8")
    (folder / "models/names/model.yaml").write_text(
        "database: reading\nsync: cdc\nsource: [users.people]\n", encoding="utf-8")
    (folder / "models/names/schema.sql").write_text(
        "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT);\n", encoding="utf-8")
    (folder / "models/names/handlers.sql").write_text(
        "-- on: people.insert\nINSERT INTO names VALUES (:new.id, :new.name);\n"
        "-- on: people.update\nUPDATE names SET name = :new.name WHERE id = :old.id;\n"
        "-- on: people.delete\nDELETE FROM names WHERE id = :old.id;\n", encoding="utf-8")
    postgres.sql("CREATE TABLE people (id int PRIMARY KEY, name text)", database)
    return Book(binary, folder, data)


def lsn_of(postgres, database):  # noqa: F811
    return postgres.sql("SELECT pg_current_wal_insert_lsn()", database)[0][0]


def test_a_read_sees_what_was_committed(book, postgres, database, serve):  # noqa: F811
    # There before the capture is: the token waits for the whole snapshot.
    postgres.sql("INSERT INTO people SELECT n, 'old' FROM generate_series(1, 20000) n", database)
    server = serve(book)
    token = f"users:{lsn_of(postgres, database)}"
    answer = server.get(f"/queries/Count?after={token}&timeout_ms=60000")
    assert (answer.status, answer.json["rows"][0]["n"]) == (200, 20000), answer
    for number in range(20001, 20041):
        postgres.sql(f"INSERT INTO people VALUES ({number}, 'new')", database)
        postgres.sql(f"UPDATE people SET name = 'newer' WHERE id = {number}", database)
        token = f"users:{lsn_of(postgres, database)}"
        path = f"/models/names/tables/names?after={token}&limit=30000&timeout_ms=60000"
        answer = server.get(path)
        assert answer.status == 200, answer
        assert {"id": number, "name": "newer"} in answer.json["rows"]
        assert len(answer.json["rows"]) == number
    rows = book.json("model", "read", "names", "--after", token, "--limit", 30000)
    assert len(rows) == 20040


def test_what_is_not_reached_is_said(book, postgres, database, serve):  # noqa: F811
    server = serve(book)
    token = f"users:{lsn_of(postgres, database)}"
    assert server.get(f"/queries/Count?after={token}&timeout_ms=60000").status == 200
    began = time.monotonic()
    late = server.get("/queries/Count?after=users:FFFFFFFF/0&timeout_ms=300")
    assert (late.status, late.json["code"]) == (504, "timeout")
    assert "users is captured up to 0/" in late.json["detail"]
    assert 0.3 <= time.monotonic() - began < 20
    wrong = server.get("/queries/Count?after=users:17")
    assert (wrong.status, wrong.json["code"]) == (400, "invalid")
    assert '"17" is no position of the database `source`' in wrong.json["detail"]
    unknown = server.get("/queries/Count?after=user:0/1")
    assert unknown.status == 404 and "did you mean `users`" in unknown.json["detail"]
    server.stop()
    # Where nobody captures, that is said at once.
    answer = book.run("get", "Count", "--after", token, "--timeout", "50 s", status=1)
    assert "users is captured by `daybook serve`, which does not run" in answer.errors


def test_who_waits_does_not_keep_the_capture_from_connecting(book, postgres, database,  # noqa: F811
                                                             serve):
    """Its looks are closer together than a slow server's answers."""
    proxy = Proxy(postgres.port, delay_s=0.03)
    (book.folder / "secrets/source").write_text(
        postgres.connection(database, proxy.port) + " sslmode=disable gssencmode=disable\n",
        encoding="utf-8")
    server = serve(book)
    postgres.sql("INSERT INTO people VALUES (1, 'here')", database)
    token = f"users:{lsn_of(postgres, database)}"
    answer = server.get(f"/queries/Count?after={token}&timeout_ms=30000")
    assert answer.status == 200, answer
    assert answer.json["rows"][0]["n"] == 1
    server.stop()
    proxy.close()
