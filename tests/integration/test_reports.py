# SPDX-License-Identifier: Apache-2.0
"""A report is on one cut: all that it reads is as of one position, which splits no batch; the
answer says how far each source is in it, which is what its own database had committed there."""
import csv
import io
import sqlite3
import threading

import pytest
from conftest import Book, Server
from test_capture_sqlite import connect, wait_for

FILES = {
    "book.yaml": "book: shop\ndatabases:\n"
                 "  source: sqlite:source.db\n  reading: sqlite:reading.db\n",
    "services/users.yaml": "database: source\ntables:\n  people: {capture: cdc}\n",
    "services/orders.yaml": "events:\n  append: [order]\n",
    "models/sales/model.yaml": "database: reading\nsync: events\nsource: [order]\n",
    "models/sales/schema.sql":
        "CREATE TABLE sales (id TEXT PRIMARY KEY, person INTEGER, total INT);",
    "models/sales/Sold.sql":
        "INSERT INTO sales (id, person, total) VALUES (:id, :person, :total);",
    "models/both/model.yaml": "database: reading\nsync: cdc\nsource: [users.people]\n",
    "models/both/schema.sql":
        "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, moved INTEGER);",
    "models/both/people.insert.sql":
        "INSERT INTO people (id, name, moved) VALUES (:new.id, :new.name, :new.moved);",
    "models/both/people.update.sql":
        "UPDATE people SET name = :new.name, moved = :new.moved WHERE id = :new.id;",
    "models/both/people.delete.sql": "DELETE FROM people WHERE id = :old.id;",
    "queries/Sums.sql":
        "-- database: reading\nSELECT count(*) AS n, count(DISTINCT moved) AS moves,\n"
        "max(moved) AS moved FROM people",
    "queries/Sales.sql": "-- database: reading\nSELECT p.name, sum(s.total) AS total\n"
                         "FROM people p JOIN sales s ON s.person = p.id\n"
                         "GROUP BY p.name ORDER BY p.name",
    "queries/OfView.sql": "-- database: reading\nSELECT * FROM totals",
    "views/totals.sql": "-- refresh: on demand\n-- database: reading\n"
                        "SELECT p.name, s.total FROM people p\n"
                        "JOIN sales s ON s.person = p.id",
}
PEOPLE = 20


@pytest.fixture
def book(binary, tmp_path, data):
    for name, text in FILES.items():
        file = tmp_path / "book" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + ("" if text.endswith("\n") else "\n"), encoding="utf-8")
    data.mkdir(parents=True, exist_ok=True)
    source = connect(data / "source.db")
    source.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, moved INTEGER)")
    source.executemany("INSERT INTO people VALUES (?, ?, 0)",
                       [(n, f"p{n}") for n in range(PEOPLE)])
    source.close()
    return Book(binary, tmp_path / "book", data)


@pytest.fixture
def server(book):
    server = Server(book)
    wait_for(lambda: server.get("/queries/Sums").json["rows"][0]["n"] == PEOPLE)
    yield server
    server.stop()


def test_a_report_says_how_far_its_sources_are(book, server):
    server.post("/streams/order-1", {"type": "Sold", "data": {"id": "1", "person": 3, "total": 5}})
    answer = server.get("/reports/Sales").json
    assert answer["rows"] == [{"name": "p3", "total": 5}]
    cut = answer["cut"]
    assert cut["position"] == answer["position"] and cut["log"] is False
    people, order = sorted(cut["sources"], key=lambda s: s["source"], reverse=True)
    assert (people["source"], people["service"], people["by"]) == ("users.people", "users", "cdc")
    assert (order["source"], order["service"], order["by"]) == ("order", "orders", "events")
    assert order["source_position"] is None
    assert order["event"] == server.get("/streams/order-1").json["events"][0]["position"]
    # As the journal, and whoever waits for it, have it.
    journal = sqlite3.connect(book.data / "source.db")
    last = journal.execute("SELECT seq FROM sqlite_sequence WHERE name = '_daybook_journal'")
    last = (last.fetchone() or ("0",))[0]
    captured = [c for c in server.get("/captures").json["captures"] if c["capture"] == "cdc"]
    assert people["source_position"] == captured[0]["position"] == str(last)
    journal.close()


def test_rows_come_as_table_csv_and_json(book, server):
    server.post("/streams/order-1", {"type": "Sold", "data": {"id": "1", "person": 3, "total": 5}})
    table = book.run("report", "Sales", "--after", "1")
    assert "p3" in table.text and "as of position" in table.errors
    assert "users.people by cdc, its database up to " in table.errors
    rows = book.run("report", "Sales", "-o", "csv")
    assert list(csv.DictReader(io.StringIO(rows.text))) == [{"name": "p3", "total": "5"}]
    answer = book.json("report", "Sales")
    assert answer["rows"] == [{"name": "p3", "total": 5}] and answer["cut"]["sources"]
    assert "did you mean Sales" in book.run("report", "Sale", status=1).errors


def test_a_cut_splits_no_transaction_of_a_source(book, server):
    """A transaction moves all people; in between is never to be seen. And the position in the
    source that a report names is that of the move that its rows show."""
    ended = []
    moves = {"0": 0}

    def move():
        for n in range(1, 150):
            source.execute("BEGIN IMMEDIATE")
            source.execute("UPDATE people SET moved = ?", (n,))
            at = source.execute("SELECT seq FROM sqlite_sequence WHERE name = '_daybook_journal'")
            moves[str(at.fetchone()[0])] = n
            source.execute("COMMIT")
        ended.append(True)

    source = sqlite3.connect(book.data / "source.db", timeout=30, isolation_level=None,
                             check_same_thread=False)
    thread = threading.Thread(target=move)
    thread.start()
    seen = set()
    while not ended:
        answer = server.get("/reports/Sums?timeout_ms=30000").json
        row = answer["rows"][0]
        assert row["n"] == PEOPLE and row["moves"] == 1
        position = answer["cut"]["sources"][0]["source_position"]
        assert moves.get(position, 0) == row["moved"], (position, row)
        seen.add(row["moved"])
    thread.join()
    assert len(seen) > 3


def test_what_has_no_one_cut_is_refused(server):
    server.post("/views/totals/refresh")
    answer = server.get("/reports/OfView")
    assert answer.status == 400 and "several models" in answer.json["detail"]


def test_a_model_that_stopped_is_waited_for_in_vain(book, server):
    """Two models of which one cannot go on are never level: nothing is told as if they were."""
    event = {"type": "Sold", "data": {"id": "1", "person": 3, "total": 5}}
    server.post("/streams/order-1", event)
    assert server.get("/reports/Sales").status == 200
    server.post("/streams/order-2", event)  # the id is there already
    wait_for(lambda: server.get("/models/sales").json["state"] == "stopped")
    source = connect(book.data / "source.db")
    source.execute("UPDATE people SET moved = 7")
    source.close()
    wait_for(lambda: server.get("/queries/Sums").json["rows"][0]["moved"] == 7)
    answer = server.get("/reports/Sales?timeout_ms=300")
    assert answer.status != 200 and "sales" in answer.json["detail"], answer
