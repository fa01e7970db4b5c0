# SPDX-License-Identifier: Apache-2.0
"""An outbox: rows that many writers commit in any order become events once each, while the daemon
is killed; and a row that cannot become one stops the outbox, and is named."""
import itertools
import json
import os
import random
import threading
import time

import pytest
from conftest import Book, Server, missing
from services.postgres import Missing, Postgres
from test_capture import events_of, status
from test_capture_sqlite import connect, wait_for

NUMBERS = itertools.count(1)
SECONDS = float(os.environ.get("DAYBOOK_CAPTURE_SECONDS", "6"))
WRITERS = int(os.environ.get("DAYBOOK_CAPTURE_WRITERS", "16"))
OUTBOX = "outbox:\n  table: outbox\n  every: 20 ms\n"


@pytest.fixture(scope="module")
def postgres():
    try:
        server = Postgres()
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


@pytest.fixture
def make(binary, tmp_path, data):
    def make_book(address, lines=""):
        folder = tmp_path / "book"
        for part in ("secrets", "services", "events"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        if not address.startswith("sqlite:"):
            (folder / "secrets" / "source").write_text(address + "\n", encoding="utf-8")
            address = "postgres:file:secrets/source"
        (folder / "book.yaml").write_text(f"book: copy\ndatabases:\n  source: {address}\n",
                                          encoding="utf-8")
        (folder / "services" / "orders.yaml").write_text("database: source\n" + OUTBOX + lines,
                                                         encoding="utf-8")
        (folder / "events" / "OrderPlaced.schema.json").write_text(json.dumps({
            "versions": [{"version": 1, "schema": {
                "type": "object", "required": ["n"], "x-tags": ["n:{n}"],
                "properties": {"n": {"type": "integer"}}}}]}), encoding="utf-8")
        return Book(binary, folder, data)
    return make_book


POSTGRES = """CREATE TABLE outbox (id bigserial PRIMARY KEY, stream text, type text, data jsonb,
    meta text, happened timestamptz DEFAULT now(), sent boolean)"""
SQLITE = """CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT, type TEXT,
    data TEXT, meta TEXT, happened TEXT, sent TEXT)"""


def write_postgres(postgres, database, number, stop, written):
    chance = random.Random(number)
    count = 0
    while not stop.is_set():
        script, numbers = "", []
        for _ in range(8):
            keep = chance.random() < 0.8
            script += "BEGIN;"
            for _ in range(chance.randrange(1, 4)):
                count += 1
                script += ("INSERT INTO outbox (stream, type, data) VALUES "
                           f"('order-{number}', 'OrderPlaced', '{{\"n\": {count}}}');")
                numbers += [count] if keep else []
            script += f"SELECT pg_sleep({chance.choice([0, 0, 0.02])});"
            script += "COMMIT;" if keep else "ROLLBACK;"
        postgres.sql(script, database)
        written[number] += numbers


def write_sqlite(file, number, stop, written):
    chance = random.Random(number)
    source = connect(file)
    count = 0
    while not stop.is_set():
        numbers = []
        source.execute("BEGIN IMMEDIATE")
        for _ in range(chance.randrange(1, 4)):
            count += 1
            source.execute("INSERT INTO outbox (stream, type, data) VALUES (?, 'OrderPlaced', ?)",
                           (f"order-{number}", json.dumps({"n": count})))
            numbers.append(count)
        if chance.random() < 0.8:
            source.execute("COMMIT")
            written[number] += numbers
        else:
            source.execute("ROLLBACK")
        time.sleep(0.002)
    source.close()


def storm(book, write, arguments, left):
    written = {n: [] for n in range(WRITERS)}
    stop, chance = threading.Event(), random.Random(11)
    threads = [threading.Thread(target=write, args=(*arguments, n, stop, written))
               for n in range(WRITERS)]
    server = Server(book)
    for thread in threads:
        thread.start()
    try:
        end = time.time() + SECONDS
        while time.time() < end:
            time.sleep(chance.uniform(0.05, 0.6))
            server.kill()
            server = Server(book)
        stop.set()
        for thread in threads:
            thread.join()
        wait_for(lambda: left() == 0)
        events = events_of(book)
    finally:
        stop.set()
        server.stop()
    found = {n: [] for n in range(WRITERS)}
    for event in events:
        assert event["type"] == "OrderPlaced" and event["tags"] == [f"n:{event['data']['n']}"]
        found[int(event["stream"].split("-")[1])].append(event["data"]["n"])
    # One writer's are in its order; none is missing and none is there twice.
    assert found == written
    assert sum(map(len, written.values())) > 100


@pytest.mark.parametrize("after", ["", "  after: mark\n  mark: sent\n"])
def test_postgres_with_many_writers(postgres, make, after):
    database = f"outbox_{next(NUMBERS)}"
    postgres.create(database)
    postgres.sql(POSTGRES, database)
    where = " WHERE sent IS NOT TRUE" if after else ""
    storm(make(postgres.connection(database), after), write_postgres, (postgres, database),
          lambda: int(postgres.sql("SELECT count(*) FROM outbox" + where, database)[0][0]))


@pytest.mark.parametrize("after", ["", "  after: mark\n  mark: sent\n"])
def test_sqlite_with_many_writers(tmp_path, make, after):
    file = tmp_path / "source.db"
    source = connect(file)
    source.execute(SQLITE)
    where = " WHERE sent IS NULL" if after else ""
    storm(make(f"sqlite:{file}", after), write_sqlite, (file,),
          lambda: source.execute("SELECT count(*) FROM outbox" + where).fetchone()[0])
    source.close()


def test_columns_by_other_names(postgres, make, serve):
    database = f"outbox_{next(NUMBERS)}"
    postgres.create(database)
    postgres.sql("""CREATE TABLE outbox (event_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        aggregatetype text, aggregateid text, kind text, payload json, headers jsonb,
        happened timestamptz)""", database)
    server = serve(make(postgres.connection(database),
                        "  id: event_id\n  category: aggregatetype\n  key: aggregateid\n"
                        "  type: kind\n  data: payload\n  meta: headers\n  occurred: happened\n"))
    postgres.sql("""INSERT INTO outbox (aggregatetype, aggregateid, kind, payload, headers,
        happened) VALUES ('order', '7-a', 'OrderPlaced', '{"n": 1, "big": 9007199254740993}',
        '{"correlationid": "c"}', '2026-01-02 03:04:05+01')""", database)
    event = wait_for(lambda: events_of(server.book))[0]
    assert event["stream"] == "order-7-a" and event["meta"] == {"correlationid": "c"}
    assert event["data"] == {"n": 1, "big": 9007199254740993}
    assert event["occurred"] == "2026-01-02T02:04:05Z"
    assert status(server)["capture"] == "outbox" and status(server)["events"] == 1


@pytest.mark.parametrize("row,message", [
    (("order-1", "OrderPlaced", "{", None), "its data: "),
    (("order-1", "OrderPlaced", None, None), "its data: "),
    (("order-1", "OrderPlaced", '{"n": "one"}', None), "OrderPlaced, version 1"),
    (("order-1", "OrderPlaced", '{"n": 1}', "[]"), "its meta: a JSON object is expected"),
    (("$secret-1", "OrderPlaced", '{"n": 1}', None), "begins with '$'"),
    (("", "OrderPlaced", '{"n": 1}', None), "names no stream"),
    (("order-1", None, '{"n": 1}', None), "names no type"),
])
def test_a_row_that_is_refused_stops_the_outbox(tmp_path, make, serve, row, message):
    source = connect(tmp_path / "source.db")
    source.execute(SQLITE)
    insert = "INSERT INTO outbox (stream, type, data, meta) VALUES (?, ?, ?, ?)"
    good = ("order-1", "OrderPlaced", '{"n": 1}', None)
    source.execute("BEGIN")
    source.executemany(insert, [good] * 5 + [row] + [good] * 5)
    source.execute("COMMIT")
    server = serve(make(f"sqlite:{tmp_path / 'source.db'}", "  meta: meta\n"))
    now = wait_for(lambda: status(server)["state"] == "failed" and status(server))
    assert "`outbox` of orders whose id is 6" in now["error"] and message in now["error"]
    assert server.get("/healthz").status == 503
    assert len(events_of(server.book)) == 5
    source.execute("UPDATE outbox SET stream = ?, type = ?, data = ?, meta = ? WHERE id = 6", good)
    wait_for(lambda: len(events_of(server.book)) == 11)
    # Rows go once the book has them.
    wait_for(lambda: source.execute("SELECT count(*) FROM outbox").fetchone()[0] == 0)
    source.close()


def test_what_a_restored_source_brings_back_is_known(tmp_path, make, serve):
    source = connect(tmp_path / "source.db")
    source.execute(SQLITE)
    rows = [(i, "order-1", "OrderPlaced", '{"n": 1}') for i in range(1, 4)]
    insert = "INSERT INTO outbox (id, stream, type, data) VALUES (?, ?, ?, ?)"
    source.executemany(insert, rows)
    server = serve(make(f"sqlite:{tmp_path / 'source.db'}"))
    wait_for(lambda: source.execute("SELECT count(*) FROM outbox").fetchone()[0] == 0)
    source.execute("BEGIN")
    source.executemany(insert, rows + [(4, "order-1", "OrderPlaced", '{"n": 2}')])
    source.execute("COMMIT")
    wait_for(lambda: source.execute("SELECT count(*) FROM outbox").fetchone()[0] == 0)
    assert [e["data"]["n"] for e in events_of(server.book)] == [1, 1, 1, 2]
    # An id that is given again for something else is no event, and is not dropped either.
    source.execute(insert, (4, "order-1", "OrderPlaced", '{"n": 3}'))
    now = wait_for(lambda: status(server)["state"] == "failed" and status(server))
    assert "whose id is 4" in now["error"]
    source.close()


@pytest.mark.parametrize("table,message", [
    (SQLITE.replace(" AUTOINCREMENT", ""), "AUTOINCREMENT"),
    ("CREATE TABLE outbox (id TEXT PRIMARY KEY, stream, type)", "has no column `data`"),
    ("SELECT 1", "services/orders.yaml:3:10: the table `outbox` is not in the database"),
])
def test_what_is_wrong_is_named(tmp_path, make, serve, table, message):
    source = connect(tmp_path / "source.db")
    source.execute(table)
    source.close()
    server = serve(make(f"sqlite:{tmp_path / 'source.db'}"))
    assert message in wait_for(lambda: status(server)["error"])
