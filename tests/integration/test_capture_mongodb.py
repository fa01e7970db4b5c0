# SPDX-License-Identifier: Apache-2.0
"""Polling of collections of MongoDB, on a real FerretDB: with many writers, a daemon, connections
and a server that are killed, the book's events replay to exactly the source's documents; values are
exact; and what would miss documents is refused. What FerretDB does not have (a replica set's reads,
views, decimals) is not tested."""
import itertools
import os
import random
import threading
import time

import pytest
from conftest import Book, Server, missing
from services.bson import Client, Date, Int32, Raw
from services.ferretdb import FerretDB
from services.postgres import Missing
from services.proxy import Proxy, mongodb_messages
from test_capture import events_of, rows_of, status
from test_capture_sqlite import wait_for

NUMBERS = itertools.count(1)
SECONDS = float(os.environ.get("DAYBOOK_CAPTURE_SECONDS", "5"))
WRITERS = int(os.environ.get("DAYBOOK_CAPTURE_WRITERS", "3"))
OID = Raw(0x07, bytes(range(12)))
UUID = Raw(0x05, b"\x10\0\0\0\x04" + bytes(range(16)))


@pytest.fixture(scope="module")
def ferretdb():
    try:
        server = FerretDB()
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


@pytest.fixture
def database(ferretdb):
    name = f"shop{next(NUMBERS)}"
    ferretdb.command({"create": "products"}, name)
    yield name
    ferretdb.clear(name)


def write_book(folder, secret, table, more=""):
    for part in ("secrets", "services"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "secrets" / "shop").write_text(secret + "\n", encoding="utf-8")
    (folder / "book.yaml").write_text(
        "book: copy\ndatabases:\n  reading: sqlite:reading.db\n"
        "  documents: mongodb:file:secrets/shop\nlimits: {batch_events: 120}\n", encoding="utf-8")
    (folder / "services" / "shop.yaml").write_text(
        "database: documents\ntables:\n  products:\n    capture: polling\n    every: 50 ms\n"
        + "".join(f"    {line}\n" for line in table) + more, encoding="utf-8")


@pytest.fixture
def make(binary, tmp_path, data):
    def make_book(secret, *table, more=""):
        write_book(tmp_path / "book", secret, table, more)
        return Book(binary, tmp_path / "book", data)
    return make_book


def now():
    return Date(int(time.time() * 1000))


class Writers:
    """Connections that write until they are stopped; what a killed server refuses is left. They
    are few: FerretDB does some dozens of these writes a second, and nothing else meanwhile."""

    def __init__(self, port, database, soft):
        self.port, self.database, self.soft = port, database, soft
        self.stopping = False
        self.done = 0
        self.threads = [threading.Thread(target=self._run, args=(n,)) for n in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()

    def _command(self, chance):
        # Keys of several kinds, which sort apart.
        i = chance.randrange(12)
        key = chance.choice([i, f"p{i}", {"shelf": i % 7, "row": f"r{i}"}])
        if not self.soft and chance.random() < 0.3:
            return {"delete": "products", "deletes": [{"q": {"_id": key}, "limit": Int32(1)}]}
        change = {"title": str(chance.random()), "stock": i, "at": now(),
                  "gone": self.soft and chance.random() < 0.3}
        return {"update": "products",
                "updates": [{"q": {"_id": key}, "u": {"$set": change}, "upsert": True}]}

    def _run(self, number):
        chance, client = random.Random(number), None
        while not self.stopping:
            try:
                client = client or Client(self.port)
                client.command(self._command(chance), self.database)
                self.done += 1
            except OSError:
                client = None
                time.sleep(0.05)
            time.sleep(chance.choice([0, 0.01, 0.05]))
        if client is not None:
            client.close()


def plain(value):
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, Int32):
        return int(value)
    return value


def source_rows(ferretdb, database):
    rows = [plain(row) for row in ferretdb.find("products", database=database)
            if not row.get("gone")]
    return sorted(({k: v for k, v in row.items() if k != "at"} for row in rows), key=str)


def book_rows(book):
    rows = rows_of(events_of(book), "products")
    return sorted(({k: v for k, v in row.items() if k != "at"} for row in rows), key=str)


@pytest.mark.parametrize("soft,lines", [
    (True, ["cursor: at", "overlap: 2 s", "deleted: gone"]),
    (False, ["cursor: at", "overlap: 2 s", "deletes: compare", "compare_every: 300 ms"]),
    (False, []),
])
def test_many_writers_and_kills(ferretdb, database, make, soft, lines):
    ferretdb.command({"insert": "products", "documents": [
        {"_id": f"q{i}", "title": "n", "stock": i, "at": now(), "gone": False}
        for i in range(250)]}, database)
    proxy, chance = Proxy(ferretdb.port, mongodb_messages), random.Random(3)
    book = make(ferretdb.connection(proxy.port, database), *lines)
    server = Server(book)
    wait_for(lambda: len(events_of(book)) == 250)
    writers = Writers(ferretdb.port, database, soft)
    try:
        end, turn = time.time() + SECONDS, 0
        while time.time() < end or len(events_of(book)) < 280:
            assert time.time() < end + 60
            time.sleep(chance.uniform(0.4, 1.2))
            turn += 1
            if turn % 3 == 0:
                proxy.arm(chance.randrange(1, 20), after=turn % 2 == 0)
            elif turn % 5 == 0:
                ferretdb.kill()
                ferretdb.start()
            else:
                server.kill()
                server = Server(book)
        writers.stop()
        expected = source_rows(ferretdb, database)
        wait_for(lambda: book_rows(book) == expected, 60)
    finally:
        writers.stop()
        server.stop()
        proxy.close()
    assert len(expected) > 250 and len(events_of(book)) > len(expected)


def test_values(ferretdb, database, make, serve):
    ferretdb.command({"insert": "products", "documents": [
        {"_id": OID, "small": Int32(-7), "big": 9007199254740993, "half": 0.5, "whole": 5.0,
         "text": "a \u00e9\n", "yes": True, "none": None,
         "at": Date(1767323045500), "before": Date(-1), "never": Date(1 << 60), "id": UUID,
         "raw": Raw(0x05, b"\x02\0\0\0\0\x00\xff"), "tags": ["x", Int32(1), {"y": OID}],
         "price": {"net": 1.25, "at": Date(0)}}]}, database)
    server = serve(make(ferretdb.connection(database=database)))
    event = wait_for(lambda: events_of(server.book))[0]
    assert event["stream"] == "shop.products-000102030405060708090a0b"
    assert event["type"] == "products.insert"
    assert event["data"] == {"new": {
        "_id": "000102030405060708090a0b", "small": -7, "big": 9007199254740993, "half": 0.5,
        "whole": 5.0, "text": "a \u00e9\n", "yes": True, "none": None,
        "at": "2026-01-02T03:04:05.500000Z", "before": "1969-12-31T23:59:59.999000Z",
        "never": {"$date": {"$numberLong": str(1 << 60)}},
        "id": "00010203-0405-0607-0809-0a0b0c0d0e0f", "raw": "AP8=",
        "tags": ["x", 1, {"y": "000102030405060708090a0b"}],
        "price": {"net": 1.25, "at": "1970-01-01T00:00:00Z"}}}


KEYS = [5, -1, 2.5, "p,%", "", OID, UUID, True,
        Raw(0x05, b"\x03\0\0\0\0abc"), Raw(0x05, b"\x03\0\0\0\x80abc"), Date(1767323045500),
        {"a": {"b": [Int32(1), "x"]}, "c": OID}, {"a": 2.5, "b": Date(-1)}]


def test_each_kind_of_key_is_found_again(ferretdb, database, make, serve):
    """Keys are compared from the start: none is taken for gone, and each that goes is told."""

    def put(key):  # which FerretDB takes some for the same
        return "writeErrors" not in ferretdb.command(
            {"insert": "products", "documents": [{"_id": key, "n": 1}]}, database)
    keys = [key for key in KEYS if put(key)]
    assert len(keys) >= 9
    server = serve(make(ferretdb.connection(database=database)))
    wait_for(lambda: len(events_of(server.book)) == len(keys))
    first = {event["stream"] for event in events_of(server.book)}
    assert len(first) == len(keys)
    assert 'shop.products-{"a":{"b":[1%2C"x"]}%2C"c":{"$oid":"000102030405060708090a0b"}}' in first
    time.sleep(0.3)
    assert len(events_of(server.book)) == len(keys)
    for count, key in enumerate(keys, 1):
        ferretdb.command({"delete": "products", "deletes": [{"q": {"_id": key},
                                                             "limit": Int32(1)}]}, database)
        wait_for(lambda wanted=len(keys) + count: len(events_of(server.book)) == wanted)
        assert events_of(server.book)[-1]["type"] == "products.delete"
    assert {event["stream"] for event in events_of(server.book)} == first


def test_a_model_personal_fields_and_masks(ferretdb, database, make, serve):
    book = make(ferretdb.connection(database=database), "cursor: meta.changed",
                "columns: [_id, owner, name, card, stock]", "mask: [card]", "subject: owner",
                "personal: [name]", "deleted: meta.gone")
    model = book.folder / "models" / "stock"
    model.mkdir(parents=True)
    (model / "model.yaml").write_text("database: reading\nsync: polling\nsource: [shop.products]\n",
                                      encoding="utf-8")
    (model / "schema.sql").write_text(
        "CREATE TABLE stock (id TEXT PRIMARY KEY, pieces INT, before INT);", encoding="utf-8")
    (model / "products.insert.sql").write_text(
        "INSERT INTO stock VALUES (:new._id, :new.stock, NULL);", encoding="utf-8")
    (model / "products.update.sql").write_text(
        "UPDATE stock SET pieces = :new.stock, before = :old.stock WHERE id = :new._id;",
        encoding="utf-8")
    (model / "products.delete.sql").write_text("DELETE FROM stock WHERE id = :old._id;",
                                               encoding="utf-8")
    book.run("check")

    def put(key, at, gone=False, **fields):
        ferretdb.command({"update": "products", "updates": [
            {"q": {"_id": key}, "u": {"$set": {"owner": "ann", "other": at, "meta":
                                               {"changed": Date(at), "gone": gone}, **fields}},
             "upsert": True}]}, database)
    put("a", 1767323045000, name="Ann", card="4000", stock=3)
    put("b", 1767323045001, name="Ann")
    server = serve(book)
    wait_for(lambda: len(events_of(book)) == 2)
    assert events_of(book)[0]["occurred"] == "2026-01-02T03:04:05Z"
    assert [event["data"]["new"] for event in events_of(book)] == [
        {"_id": "a", "owner": "ann", "name": "Ann", "card": "***", "stock": 3},
        {"_id": "b", "owner": "ann", "name": "Ann", "card": None, "stock": None}]
    put("a", 1767323045002, stock=4)
    put("b", 1767323045003, gone=True)
    wait_for(lambda: len(events_of(book)) == 4)
    # What is left out of `columns` changed: no event.
    put("a", 1767323045004, other=7)
    wait_for(lambda: book.run("sql", "SELECT * FROM stock", "-o", "json").json
             == [{"id": "a", "pieces": 4, "before": 3}])
    time.sleep(0.2)
    assert len(events_of(book)) == 4
    book.run("forget", "ann")
    assert "Ann" not in book.run("read", "-o", "jsonl").text
    assert server.get("/healthz").status == 200


@pytest.mark.parametrize("lines,documents,message", [
    (["cursor: at"], [{"_id": 1, "at": Date(1)}, {"_id": 2}],
     "(_id 2) whose cursor `at` is missing or null"),
    (["cursor: at"], [{"_id": 1, "at": Date(1)}, {"_id": "x", "at": "later"}],
     "(_id 1) whose cursor `at` is of another kind"),
    (["cursor: at"], [{"_id": 1, "at": [Date(1)]}], "is of a kind that does not grow"),
    (["cursor: at"], [{"_id": 1, "at": Date(1)}, {"_id": 2, "at": [Date(2)]}],
     "(_id 2) whose cursor `at` is of another kind"),
    (["cursor: at", "columns: [a, b]"], [{"_id": 1, "a": {"x": 1}}], "is missing or null"),
    ([], None, "services/shop.yaml:3:3: the collection `products` is not in the database"),
])
def test_what_would_miss_documents_is_refused(ferretdb, database, make, serve, lines, documents,
                                              message):
    if documents is None:
        ferretdb.command({"drop": "products"}, database)
    else:
        ferretdb.command({"insert": "products", "documents": documents}, database)
    deletes = ["deletes: none"] if lines else []
    server = serve(make(ferretdb.connection(database=database), *lines, *deletes))
    seen = wait_for(lambda: status(server)["state"] == "failed" and status(server))
    assert message in seen["error"]


def test_a_collection_that_was_missing_is_polled_when_it_comes(ferretdb, database, make, serve):
    ferretdb.command({"drop": "products"}, database)
    server = serve(make(ferretdb.connection(database=database)))
    wait_for(lambda: status(server)["state"] == "failed")
    ferretdb.command({"insert": "products", "documents": [{"_id": 1}]}, database)
    wait_for(lambda: len(events_of(server.book)) == 1, 20)
    assert status(server)["error"] is None


def test_a_document_without_a_cursor_comes_later(ferretdb, database, make, serve):
    server = serve(make(ferretdb.connection(database=database), "cursor: at", "deletes: none"))
    ferretdb.command({"insert": "products", "documents": [{"_id": 1, "at": now()}]}, database)
    wait_for(lambda: len(events_of(server.book)) == 1)
    ferretdb.command({"insert": "products", "documents": [{"_id": 2}]}, database)
    seen = wait_for(lambda: status(server)["state"] == "failed" and status(server))
    assert "(_id 2) whose cursor `at` is missing" in seen["error"]


@pytest.mark.parametrize("table,more,message", [
    ("capture: polling", "outbox: {table: outbox}\n", "an outbox in MongoDB is not taken"),
    ("capture: polling\n    overlap: 1 s", "", "`overlap` stands without `cursor`"),
    ("capture: polling\n    cursor: at", "", "a row that is gone has no cursor"),
])
def test_check_refuses(make, table, more, message):
    book = make("mongodb://127.0.0.1/shop")
    (book.folder / "services" / "shop.yaml").write_text(
        f"database: documents\ntables:\n  products:\n    {table}\n{more}", encoding="utf-8")
    done = book.run("check", status=1)
    assert message in done.text + done.errors
