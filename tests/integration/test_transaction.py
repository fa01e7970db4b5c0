# SPDX-License-Identifier: Apache-2.0
"""A read model in the append's own commit: what it refuses leaves no trace anywhere."""
import threading

import pytest

from conftest import Book

BOOK = """book: ledger
data: data
databases:
  reading: sqlite:reading.db
"""
MODEL = """database: reading
sync: transaction
source: [entry]
"""
SCHEMA = """CREATE TABLE parties (name TEXT PRIMARY KEY);
CREATE TABLE entries (
    id TEXT PRIMARY KEY,
    party TEXT NOT NULL REFERENCES parties (name) DEFERRABLE INITIALLY DEFERRED,
    amount INTEGER NOT NULL CHECK (amount > 0));
CREATE TABLE totals (party TEXT PRIMARY KEY, amount INTEGER NOT NULL CHECK (amount <= 1000));
"""
HANDLERS = """-- on: Party
INSERT INTO parties VALUES (:name);
-- on: Entry
INSERT INTO entries VALUES (:id, :party, :amount);
INSERT INTO totals VALUES (:party, :amount)
    ON CONFLICT (party) DO UPDATE SET amount = amount + excluded.amount;
-- on: Endless
INSERT INTO parties SELECT count(*) FROM (
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n);
"""


@pytest.fixture
def ledger(binary, tmp_path):
    folder = tmp_path / "book"
    (folder / "models" / "ledger").mkdir(parents=True)
    (folder / "book.yaml").write_text(BOOK)
    (folder / "models" / "ledger" / "model.yaml").write_text(MODEL)
    (folder / "models" / "ledger" / "schema.sql").write_text(SCHEMA)
    (folder / "models" / "ledger" / "handlers.sql").write_text(HANDLERS)
    return Book(binary, folder, tmp_path / "data")


def entry(number, party, amount):
    return {"stream": f"entry-{party}", "type": "Entry",
            "data": {"id": str(number), "party": party, "amount": amount}}


def party(name):
    return {"stream": f"entry-{name}", "type": "Party", "data": {"name": name}}


def post(server, *events):
    return server.post("/events", {"events": list(events)})


def rows(server, table):
    return server.post("/sql", {"sql": f"select * from {table} order by 1"}).json["rows"]


def test_a_deferred_foreign_key_refuses_the_batch_it_is_open_in(ledger, serve):
    server = serve(ledger)
    refused = post(server, entry(1, "anna", 5))
    assert refused.status == 422 and "foreign key" in refused.json["detail"]
    assert server.get("/events").json["events"] == []
    assert post(server, entry(1, "anna", 5), party("anna")).status == 201  # the row comes later
    assert [row["amount"] for row in rows(server, "totals")] == [5]


def test_a_refused_batch_leaves_no_trace_and_later_ones_get_its_positions(ledger, serve):
    server = serve(ledger)
    assert post(server, party("anna")).json["position"] == 1
    refused = post(server, entry(1, "anna", 5), entry(2, "anna", -5))
    assert refused.status == 422
    assert "models/ledger/handlers.sql:4" in refused.json["detail"]
    assert "CHECK constraint failed: amount > 0" in refused.json["detail"]
    assert "__g" not in refused.json["detail"]
    assert rows(server, "entries") == [] and rows(server, "totals") == []
    assert server.get("/streams/entry-anna").json["position"] == 1
    assert post(server, entry(1, "anna", 7)).json["position"] == 2
    assert rows(server, "totals") == [{"party": "anna", "amount": 7}]


def test_a_handler_without_end_refuses_its_batch_alone(ledger, serve):
    server = serve(ledger)
    assert post(server, party("anna")).status == 201
    endless = post(server, {"stream": "entry-x", "type": "Endless", "data": {}})
    assert endless.status == 422 and "ran too long" in endless.json["detail"]
    assert post(server, entry(1, "anna", 7)).json["position"] == 2


def test_of_many_at_once_exactly_those_that_fit_are_taken(ledger, serve):
    server = serve(ledger)
    assert post(server, party("anna")).status == 201
    taken = []

    def pay(number):
        answer = post(server, entry(number, "anna", 30))
        assert answer.status in (201, 422)
        if answer.status == 201:
            taken.append(number)

    threads = [threading.Thread(target=pay, args=(i,)) for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 33  # 990 of 1000
    assert rows(server, "totals") == [{"party": "anna", "amount": 990}]
    assert sorted(row["id"] for row in rows(server, "entries")) == sorted(map(str, taken))
    assert server.get("/healthz").json["events"] == 34


def test_the_model_is_caught_up_before_it_is_read_again(ledger, serve):
    server = serve(ledger)
    assert post(server, party("anna"), entry(1, "anna", 7)).status == 201
    server.stop()
    for leftover in ledger.data.glob("reading.db*"):
        leftover.unlink()
    assert ledger.json("sql", "select * from totals") == [{"party": "anna", "amount": 7}]
