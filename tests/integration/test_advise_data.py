# SPDX-License-Identifier: Apache-2.0
"""What a server advises from what it has seen: reads and writes that the test has counted, and on
a real PostgreSQL transactions of one service and of two."""
import json

import pytest
from conftest import Book, missing
from services.postgres import Missing, Postgres
from test_capture import SETTINGS
from test_capture_sqlite import wait_for

ORDER = '{"order_id": "%d", "customer_id": "42", "country": "France"}'


def advice(book, of, question):
    rows = [row for row in book.json("advise", "-o", "json")
            if row["of"] == of and row["question"].startswith(question)]
    assert len(rows) == 1, rows
    return rows[0]


def place(server, first, count):
    events = [{"stream": f"order-{number}", "type": "OrderPlaced",
               "data": json.loads(ORDER % number)} for number in range(first, first + count)]
    answer = server.post("/events", {"events": events})
    assert answer.status == 201, answer
    return answer.json["position"]


def test_reads_are_held_against_writes(shop, serve):
    server = serve(shop)
    place(server, 1, 3)
    for _ in range(19):
        assert server.get("/queries/GetMyOrders?user_id=42").status == 200
    row = advice(shop, "query GetMyOrders", "different")
    assert row["pattern"] == "unknown" and "asked 19 times" in row["evidence"]

    position = place(server, 4, 1)
    for _ in range(21):
        assert server.get(f"/queries/GetMyOrders?user_id=42&after={position}").status == 200
    row = advice(shop, "query GetMyOrders", "different")
    assert row["pattern"] == "CQRS" and row["in_the_book"] == "it is there: models/user_orders"
    assert row["evidence"].startswith("40 reads and 4 writes since 20")
    assert ": 10.0 to 1; user_orders is late by " in row["evidence"]

    place(server, 5, 1)
    row = advice(shop, "query GetMyOrders", "different")
    assert row["pattern"] == "don't" and ": 8.0 to 1" in row["evidence"]
    assert "models/user_orders costs a second model" in row["in_the_book"]
    row = advice(shop, "query GetMyOrders", "expensive")
    assert row["pattern"] == "none" and "of 40 calls" in row["evidence"]
    metrics = server.get("/metrics").text
    assert 'daybook_query_calls_total{query="GetMyOrders"} 40' in metrics


def test_a_slow_query_is_better_stored(binary, tmp_path, data, serve):
    folder = tmp_path / "book"
    (folder / "queries").mkdir(parents=True)
    (folder / "book.yaml").write_text(
        "book: slow\ndata: data\ndatabases:\n  reading: sqlite:reading.db\n", encoding="utf-8")
    (folder / "queries" / "Count.sql").write_text(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < "
        "400000)\n"
        "SELECT count(*) AS n FROM n\n", encoding="utf-8")
    book = Book(binary, folder, data)
    server = serve(book)
    for _ in range(20):
        assert server.get("/queries/Count").json["rows"] == [{"n": 400000}]
    row = advice(book, "query Count", "expensive")
    assert row["pattern"] == "materialized view" and "views/<name>.sql" in row["in_the_book"]
    assert advice(book, "query Count", "different")["in_the_book"] == "nothing: it reads no model"


def test_answers_go_with_ask(shop):
    result = shop.run("advise", "--acid", "no", status=2)
    assert "--acid is an answer: it goes with --ask" in result.errors


@pytest.fixture(scope="module")
def postgres():
    try:
        server = Postgres(settings=SETTINGS)
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


def test_transactions_that_cross_owners_are_counted(binary, tmp_path, data, postgres, serve):
    folder = tmp_path / "book"
    for part in ("secrets", "services"):
        (folder / part).mkdir(parents=True)
    postgres.create("shared")
    postgres.sql("CREATE TABLE people (id int PRIMARY KEY, name text)", "shared")
    postgres.sql("CREATE TABLE orders (id int PRIMARY KEY, person int)", "shared")
    (folder / "secrets" / "source").write_text(postgres.connection("shared") + "\n",
                                               encoding="utf-8")
    (folder / "book.yaml").write_text(
        "book: copy\ndata: data\ndatabases:\n  source: postgres:file:secrets/source\n",
        encoding="utf-8")
    for service, table in [("users", "people"), ("shop", "orders")]:
        (folder / "services" / f"{service}.yaml").write_text(
            f"database: source\ntables:\n  {table}:\n    capture: cdc\n", encoding="utf-8")
    book = Book(binary, folder, data)
    server = serve(book)
    row = advice(book, "service users", "independent")
    assert row["pattern"] == "unknown" and "2 services share its database" in row["evidence"]

    def count(category):
        return len(book.run("read", "--category", category, "-o", "jsonl").lines)

    def wait(category, events):
        wait_for(lambda: count(category) == events)

    postgres.sql("INSERT INTO people VALUES (0, 'first')", "shared")
    postgres.sql("INSERT INTO orders VALUES (0, 0)", "shared")
    wait("users.people", 1)
    wait("shop.orders", 1)
    for number in range(1, 26):
        postgres.sql(f"INSERT INTO people VALUES ({number}, 'p')", "shared")
    postgres.sql("UPDATE people SET name = 'q' WHERE id < 5", "shared")
    wait("users.people", 31)
    row = advice(book, "service users", "independent")
    assert row["pattern"] == "database per service", row
    assert "none changed tables of others" in row["evidence"]
    assert "5 of 31 captured changes" in advice(book, "service users", "full")["evidence"]

    for number in range(100, 103):
        postgres.sql(f"BEGIN; INSERT INTO people VALUES ({number}, 'p'); INSERT INTO orders VALUES "
                     f"({number}, {number}); COMMIT", "shared")
    wait("users.people", 34)
    wait("shop.orders", 4)
    assert advice(book, "service users", "independent")["pattern"] == "don't"
    row = advice(book, "service users", "ACID")
    assert row["pattern"] == "one program; else shared database"
    assert row["evidence"].startswith("3 of "), row
