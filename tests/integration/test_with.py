# SPDX-License-Identifier: Apache-2.0
"""`with:` in handlers: the folded state of other streams, as it was at the event's position, in
every target, the same in each replay; and what is wrong with it is named."""
import itertools
import pathlib
import random
import shutil
import sqlite3
import threading
import time

import pytest
from conftest import Book, Server, missing
from services.ferretdb import FerretDB
from services.neo4j import Neo4j
from services.postgres import Missing, Postgres

MODEL = "sync: events\nsource: [order]\n"
FOLD = """return {
    initial = { title = "", prices = {}, renamed = 0 },
    snapshot = { every = 4 },
    on = {
        ProductAdded = function(state, data)
            state.title = data.title
            state.maker = { name = data.maker }
        end,
        ProductRenamed = function(state, data)
            state.title = data.title
            state.renamed = state.renamed + 1
        end,
    },
}
"""
ORDER_FOLD = """return {
    initial = { lines = 0 },
    on = { LineAdded = function(state) state.lines = state.lines + 1 end },
}
"""
SCHEMA = """CREATE TABLE lines (n bigint PRIMARY KEY, title text, maker text, renamed bigint,
    line bigint, place bigint);
"""
HANDLER = """-- on: LineAdded
-- with: product = product-{product.id}
-- with: self = {_stream}
-- what an order's line shows, whole
INSERT INTO lines VALUES (:n, :product.title, :product.maker.name, :product.renamed, :self.lines,
    :_position);
"""
CYPHER_SCHEMA = """CREATE CONSTRAINT {gen}line IF NOT EXISTS FOR (l:{gen}Line)
REQUIRE l.n IS UNIQUE;
"""
CYPHER = """// with: product = product-{product.id}
// with: self = {_stream}
CREATE (l:{gen}Line {n: $n})
SET l.title = $product.title, l.maker = $product.maker.name, l.renamed = $product.renamed
SET l.line = $self.lines, l.place = $_position
"""
DOCUMENTS = """{"create": "{gen}Line"}
"""
COMMAND = """// with: product = product-{product.id}
// with: self = {_stream}
{"insert": "{gen}Line", "documents": [
  {"_id": ":n", "title": ":product.title", "maker": ":product.maker.name",
   "renamed": ":product.renamed", "line": ":self.lines", "place": ":_position",
   "whole": ":product"}]}
"""
NUMBERS = itertools.count(1)


class InSqlite:
    server = None
    address = "sqlite:reading.db"

    def rows(self, book):
        with sqlite3.connect(f"{book.data}/reading.db") as database:
            return sorted(database.execute("SELECT * FROM lines").fetchall())


class InPostgres:
    address = "postgres:file:secret"

    def __init__(self):
        self.server = Postgres()
        self.database = None

    def fresh(self):
        self.database = f"with_{next(NUMBERS)}"
        return self.server.create(self.database)

    def rows(self, _):
        rows = self.server.sql("SELECT n, coalesce(title, '-'), coalesce(maker, '-'), "
                               "coalesce(renamed, -1), line, place FROM lines", self.database)
        return sorted((int(n), None if title == "-" else title, None if maker == "-" else maker,
                       None if renamed == "-1" else int(renamed), int(line), int(place))
                      for n, title, maker, renamed, line, place in rows)


class InNeo4j:
    address = "neo4j:file:secret"

    def __init__(self):
        self.server = Neo4j()

    def fresh(self):
        self.server.clear()
        return self.server.connection()

    def rows(self, _):
        (number,), = self.server.cypher("MATCH (m:_DaybookModel {serving: true}) "
                                        "RETURN m.generation")
        return sorted(tuple(row) for row in self.server.cypher(
            f"MATCH (l:`lines__g{number}_Line`) "
            "RETURN l.n, l.title, l.maker, l.renamed, l.line, l.place"))


class InMongodb:
    address = "mongodb:file:secret"

    def __init__(self):
        self.server = FerretDB()

    def fresh(self):
        self.server.clear()
        return self.server.connection()

    def rows(self, _):
        (serving,) = self.server.find("_daybook_serving", {"_id": "lines"})
        lines = self.server.find(f"lines__g{serving['generation']}_Line")
        for line in lines:  # a state is a document there
            assert (line["whole"] or {}).get("title") == line["title"]
        return sorted((line["_id"], line["title"], line["maker"], line["renamed"], line["line"],
                       line["place"]) for line in lines)


KINDS = {"sqlite": InSqlite, "postgres": InPostgres, "neo4j": InNeo4j, "mongodb": InMongodb}


@pytest.fixture(scope="module", params=KINDS)
def target(request):
    try:
        made = KINDS[request.param]()
    except Missing as why:
        missing(str(why))
    yield made
    if made.server is not None:
        made.server.close()


def write_book(folder, address, handler=None):
    model = folder / "models" / "lines"
    model.mkdir(parents=True)
    (folder / "folds").mkdir()
    (folder / "folds" / "product.lua").write_text(FOLD, encoding="utf-8")
    (folder / "folds" / "order.lua").write_text(ORDER_FOLD, encoding="utf-8")
    (folder / "book.yaml").write_text(
        f"book: shop\nschema: off\ndatabases:\n  reading: {address}\n", encoding="utf-8")
    (model / "model.yaml").write_text(MODEL, encoding="utf-8")
    if address.startswith("neo4j"):
        (model / "schema.cypher").write_text(CYPHER_SCHEMA, encoding="utf-8")
        (model / "LineAdded.cypher").write_text(handler or CYPHER, encoding="utf-8")
    elif address.startswith("mongodb"):
        (model / "schema.json").write_text(DOCUMENTS, encoding="utf-8")
        (model / "LineAdded.json").write_text(COMMAND, encoding="utf-8")
    else:
        (model / "schema.sql").write_text(SCHEMA, encoding="utf-8")
        (model / "handlers.sql").write_text(handler or HANDLER, encoding="utf-8")


def book_on(target, binary, tmp_path):
    folder = tmp_path / "book"
    write_book(folder, target.address)
    if target.server is not None:
        (folder / "secret").write_text(target.fresh() + "\n", encoding="utf-8")
    return Book(binary, folder, tmp_path / "data")


@pytest.fixture
def book(target, binary, tmp_path):
    return book_on(target, binary, tmp_path)


def some_events(chance, count, numbers, products=6):
    events = []
    for _ in range(count):
        product = chance.randrange(products)
        kind = chance.random()
        if kind < 0.1:
            events.append({"stream": f"product-{product}", "type": "ProductAdded",
                           "data": {"title": f"t{next(numbers)}", "maker": f"m{product}"}})
        elif kind < 0.4:
            events.append({"stream": f"product-{product}", "type": "ProductRenamed",
                           "data": {"title": f"t{next(numbers)}"}})
        else:
            # Whole numbers name streams as texts do; a product without an id has none.
            number = chance.choice([product, str(product), product, None])
            events.append({"stream": f"order-{chance.randrange(4)}", "type": "LineAdded",
                           "data": {"n": next(numbers),
                                    "product": {} if number is None else {"id": number}}})
    return events


class Oracle:
    def __init__(self):
        self.products, self.lines, self.rows = {}, {}, []

    def post(self, position, event):
        stream, data = event["stream"], event["data"]
        if event["type"] == "LineAdded":
            self.lines[stream] = self.lines.get(stream, 0) + 1
            product = self.products.get(f"product-{data['product'].get('id')}", {})
            self.rows.append((data["n"], product.get("title"), product.get("maker"),
                              product.get("renamed"), self.lines[stream], position))
            return
        product = self.products.setdefault(stream, {"renamed": 0})
        product["title"] = data["title"]
        if event["type"] == "ProductAdded":
            product["maker"] = data["maker"]
        else:
            product["renamed"] += 1


def append(server, oracle, events, size=30):
    for at in range(0, len(events), size):
        part = events[at:at + size]
        answer = server.post("/events", {"events": part})
        assert answer.status in (200, 201), answer
        for position, event in enumerate(part, answer.json["first_position"]):
            oracle.post(position, event)
    return answer.json["position"]


def wait(server, position):
    end = time.monotonic() + 50
    while server.get("/models/lines").json["position"] < position:
        assert time.monotonic() < end, server.get("/models/lines").text
        time.sleep(0.02)


def test_a_document_is_made_whole_and_the_same_in_each_replay(book, target, serve):
    chance, numbers, oracle = random.Random(3), itertools.count(1), Oracle()
    server = serve(book)
    for _ in range(3):
        last = append(server, oracle, some_events(chance, 150, numbers))
        wait(server, last)
        assert target.rows(book) == sorted(oracle.rows)
    assert any(row[1] is None for row in oracle.rows) and any(row[3] for row in oracle.rows)
    assert server.post("/models/lines/rebuild").json["generation"] == 2
    assert target.rows(book) == sorted(oracle.rows)
    # What follows lies behind states that the rebuild has left.
    last = append(server, oracle, some_events(chance, 60, numbers))
    wait(server, last)
    assert target.rows(book) == sorted(oracle.rows)
    assert server.get("/models/lines").json["state"] == "following"


def test_a_kill_changes_nothing(book, target):
    chance, numbers, oracle = random.Random(4), itertools.count(1), Oracle()
    for _ in range(4):
        server = Server(book)
        last = append(server, oracle, some_events(chance, 80, numbers), 7)
        time.sleep(chance.uniform(0, 0.2))
        server.kill()
    server = Server(book)
    wait(server, last)
    assert target.rows(book) == sorted(oracle.rows)
    server.stop()


def test_more_streams_than_are_kept(binary, tmp_path, serve):
    book = book_on(InSqlite(), binary, tmp_path)
    chance, numbers, oracle = random.Random(5), itertools.count(1), Oracle()
    server = serve(book)
    last = append(server, oracle, some_events(chance, 6000, numbers, products=900), 1000)
    wait(server, last)
    assert InSqlite().rows(book) == sorted(oracle.rows)


def test_states_that_grow_past_what_is_kept(binary, tmp_path, serve):
    """Small ones are kept first; grown, they are more than 32 MiB together, each too great to be
    kept folded."""
    book = book_on(InSqlite(), binary, tmp_path)
    numbers, oracle = itertools.count(1), Oracle()
    server = serve(book)
    products = range(160)

    def line(product):
        return {"stream": "order-1", "type": "LineAdded",
                "data": {"n": next(numbers), "product": {"id": product}}}

    for product in products:
        append(server, oracle, [{"stream": f"product-{product}", "type": "ProductAdded",
                                 "data": {"title": "small", "maker": "m"}}, line(product)])
    for product in products:
        last = append(server, oracle, [{"stream": f"product-{product}", "type": "ProductRenamed",
                                        "data": {"title": f"{product} " * 100000}}, line(product)])
    wait(server, last)
    last = append(server, oracle, [line(product) for product in (3, 108, 3, 109, 50)])
    wait(server, last)
    assert InSqlite().rows(book) == sorted(oracle.rows)
    if b"__asan_init" not in binary.read_bytes():
        status = pathlib.Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
        peak, = [int(x.split()[1]) for x in status.splitlines() if x.startswith("VmHWM")]
        assert peak < 170000
    server.stop()
    shutil.rmtree(book.data)


def test_a_model_as_of_a_time_takes_states_of_then(binary, tmp_path):
    book = book_on(InSqlite(), binary, tmp_path)

    def put(stream, kind, data, occurred):
        book.run("append", stream, kind, data, "--occurred", occurred)

    put("product-1", "ProductAdded", '{"title":"old","maker":"m"}', "2020-01-01")
    put("product-1", "ProductRenamed", '{"title":"later"}', "2022-01-01")
    put("order-1", "LineAdded", '{"n":1,"product":{"id":1}}', "2020-06-01")
    sql = "SELECT title, renamed FROM lines"
    book.run("model", "read", "lines", "--after", 3, "--timeout", "20 s")
    assert book.json("sql", sql) == [{"title": "later", "renamed": 1}]
    for words, row in ((("--occurred-at", "2021-01-01"), {"title": "old", "renamed": 0}),
                       (("--at", "2100-01-01"), {"title": "later", "renamed": 1})):
        assert book.run("model", "as-of", "lines", *words, "-o", "json", "--", sql).json == [row]


def test_what_rules_remove_is_removed_from_states_as_it_was_then(binary, tmp_path, serve):
    """Rules come and go between the events; a replay, also one that begins behind them all, makes
    the rows that were made as it happened."""
    book = book_on(InSqlite(), binary, tmp_path)
    chance, numbers, oracle = random.Random(6), itertools.count(1), Oracle()
    server = serve(book)
    for renaming in range(12):
        append(server, oracle, some_events(chance, 40, numbers, products=3))
        wait(server, server.get("/healthz").json["position"])
        words = ("--max-count", 3), ("--truncate-before", 5), ("--max-age", "40 ms")
        book.run("stream", "keep", f"product-{renaming % 3}", *chance.choice(words))
        if renaming % 4 == 3:
            book.run("stream", "delete", f"product-{chance.randrange(3)}")
    last = append(server, oracle, some_events(chance, 40, numbers, products=3))
    wait(server, last)
    live = InSqlite().rows(book)
    assert len(live) == len(oracle.rows) and live != sorted(oracle.rows)
    assert server.post("/models/lines/rebuild").json["generation"] == 2
    assert InSqlite().rows(book) == live


def test_a_changed_fold_is_a_changed_model(binary, tmp_path, serve):
    book = book_on(InSqlite(), binary, tmp_path)
    server = serve(book)
    append(server, Oracle(), [{"stream": "product-1", "type": "ProductAdded",
                               "data": {"title": "a", "maker": "m"}}])
    assert server.get("/models/lines").json["changed"] is False
    server.stop()
    fold = book.folder / "folds" / "product.lua"
    fold.write_text(fold.read_text(encoding="utf-8").replace("data.maker", "data.title"),
                    encoding="utf-8")
    server = serve(book)
    assert server.get("/models/lines").json["changed"] is True
    assert server.post("/models/lines/rebuild").json["changed"] is False


@pytest.mark.parametrize("old,new,fault", [
    ("product-{product.id}", "produkt-{product.id}",
     "handlers.sql:2:20: there is no fold for the category `produkt`"),
    ("product-{product.id}", "{product.id}-x",
     "handlers.sql:2:20: the category, up to the stream's first dash, has to be written out"),
    ("product-{product.id}", "product-{product.id", "handlers.sql:2:28: a { is not closed"),
    ("product-{product.id}", "product-{_time}", "handlers.sql:2:29: between { and } stands"),
    ("product-{product.id}", "", "handlers.sql:2:"),
    ("with: product =", "with: product", "handlers.sql:2:10: `with:` has a name, = and a stream"),
    ("with: product =", "With: product =", "handlers.sql:2:4: this names no stream"),
    ("with: self =", "with: product =", "handlers.sql:3:10: the name stands twice"),
    (":self.lines", "1", "handlers.sql:3:10: no parameter takes anything of `self`"),
    ("    :_position);", "    :_position); -- end\n-- with: late = product-1\nSELECT :late;",
     "handlers.sql:7:4: `with:` stands behind a statement"),
])
def test_what_is_wrong_with_it_is_named_by_its_place(old, new, fault, binary, tmp_path):
    folder = tmp_path / "book"
    assert old in HANDLER
    write_book(folder, InSqlite.address, HANDLER.replace(old, new))
    found = Book(binary, folder, tmp_path / "data").run("check", status=1)
    assert fault in found.text + found.errors


def post(server, *batch):
    return server.post("/events", {"events": list(batch)}).status


def transaction_book(binary, tmp_path):
    """One model that follows events, and beside it the same in the appends' own transaction."""
    folder = tmp_path / "book"
    write_book(folder, InSqlite.address)
    shutil.copytree(folder / "models" / "lines", folder / "models" / "same")
    for name in ("schema.sql", "handlers.sql"):
        text = (folder / "models" / "same" / name).read_text(encoding="utf-8")
        text = text.replace("TABLE lines (n bigint", "TABLE same (n bigint").replace(
            "INTO lines", "INTO same")
        (folder / "models" / "same" / name).write_text(text, encoding="utf-8")
    (folder / "models" / "same" / "model.yaml").write_text(
        MODEL.replace("events", "transaction"), encoding="utf-8")
    return Book(binary, folder, tmp_path / "data")


def both(book):
    with sqlite3.connect(f"{book.data}/reading.db") as database:
        return [sorted(database.execute(f"SELECT * FROM {name}").fetchall())
                for name in ("lines", "same")]


def write_batches(server, seed, numbers, refused):
    """Batches that share groups; some are refused, by a number that is there twice."""
    chance = random.Random(seed)
    for _ in range(60):
        batch = some_events(chance, chance.choice([1, 2, 30]), numbers, products=3)
        lines = [e for e in batch if e["type"] == "LineAdded"]
        if lines and chance.random() < 0.25:
            batch.append(lines[0])
        try:
            status = post(server, *batch)
        except OSError:
            return
        assert status in (200, 201, 409, 422), status
        if status > 201:
            refused.append(seed)


def change_rules(server, seed):
    """What the streams' rules leave out is in no state: those of then, in the same group or not."""
    chance = random.Random(seed)
    for _ in range(40):
        try:
            server.post(chance.choice(["/streams/product-1/rules", "/streams/order-2/rules"]),
                        {"max_count": chance.randrange(1, 6)})
        except OSError:
            return


def test_a_transaction_sees_what_its_replay_sees(binary, tmp_path):
    book = transaction_book(binary, tmp_path)
    numbers, refused = itertools.count(1), []
    for turn in range(3):
        server = Server(book)
        threads = [threading.Thread(target=write_batches,
                                    args=(server, turn * 10 + n, numbers, refused))
                   for n in range(6)]
        threads.append(threading.Thread(target=change_rules, args=(server, turn)))
        for thread in threads:
            thread.start()
        if turn < 2:
            time.sleep(0.7)
            server.kill()
        for thread in threads:
            thread.join()
    try:
        book.run("model", "rebuild", "lines")
        lines, same = both(book)
        assert lines == same and len(lines) > 200 and len(refused) > 5
        # Within a batch, and of the event itself.
        assert post(server,
                      {"stream": "product-new", "type": "ProductAdded",
                       "data": {"title": "a", "maker": "m"}},
                      {"stream": "order-new", "type": "LineAdded",
                       "data": {"n": 1000001, "product": {"id": "new"}}},
                      {"stream": "product-new", "type": "ProductRenamed", "data": {"title": "b"}},
                      {"stream": "order-new", "type": "LineAdded",
                       "data": {"n": 1000002, "product": {"id": "new"}}}) in (200, 201)
        assert [row[:5] for row in both(book)[1] if row[0] > 1000000] == [
            (1000001, "a", "m", 0, 1), (1000002, "b", "m", 1, 2)]
    finally:
        server.stop()


def test_what_was_refused_is_in_no_state(binary, tmp_path):
    """Neither in the next one that is asked for, nor in a snapshot (each fourth event has one)."""
    book = transaction_book(binary, tmp_path)
    server = Server(book)
    line = {"stream": "order-1", "type": "LineAdded", "data": {"n": 1, "product": {"id": "p"}}}

    def named(title):
        return {"stream": "product-p", "type": "ProductRenamed", "data": {"title": title}}
    try:
        for i in range(1, 12):
            line["data"]["n"] = i
            assert post(server, named(f"t{i}"), line) in (200, 201)
            wrong = [named(f"wrong{i}")] * (i % 5 + 1)
            assert post(server, *wrong, line) > 201  # the number is there
        assert [row[1:4] for row in both(book)[1]] == [(f"t{i}", None, i) for i in range(1, 12)]
        book.run("model", "rebuild", "lines")
        lines, same = both(book)
        assert lines == same
        for i in range(1, 12):
            state = server.get(f"/streams/product-p/state?version={i}").json["state"]
            assert state["title"] == f"t{i}"
    finally:
        server.stop()


def test_a_fold_that_fails_refuses_the_append(binary, tmp_path):
    book = transaction_book(binary, tmp_path)
    fold = book.folder / "folds" / "order.lua"
    fold.write_text(ORDER_FOLD.replace("state.lines + 1", "state.nothing + 1"), encoding="utf-8")
    server = Server(book)
    try:
        answer = server.post("/events", {"events": [
            {"stream": "order-1", "type": "LineAdded", "data": {"n": 1, "product": {"id": "p"}}}]})
        assert answer.status > 201 and "order.lua" in answer.text
        assert book.run("read", "order-1", status=None).text.strip() in ("", "[]")
    finally:
        server.stop()


PERSONAL = """{"versions":[{"version":1,"schema":{"type":"object","x-subject":"customer",
"properties":{"customer":{"type":"string"},"name":{"type":"string","x-personal":true}},
"required":["customer"]}}]}
"""
CUSTOMER_FOLD = """return {
    initial = {},
    on = { Registered = function(state, data) state.shown = data.name end },
}
"""
CUSTOMER_HANDLER = """-- with: customer = customer-{customer}
INSERT INTO orders VALUES (:_stream, :customer.shown);
"""


def test_a_personal_field_is_followed_through_a_state(binary, tmp_path, serve):
    folder = tmp_path / "book"
    model = folder / "models" / "orders"
    for part in (model, folder / "folds", folder / "events"):
        part.mkdir(parents=True)
    (folder / "book.yaml").write_text(
        "book: shop\nschema: warn\ndatabases:\n  reading: sqlite:reading.db\n", encoding="utf-8")
    (folder / "events" / "Registered.schema.json").write_text(PERSONAL, encoding="utf-8")
    (folder / "folds" / "customer.lua").write_text(CUSTOMER_FOLD, encoding="utf-8")
    (model / "schema.sql").write_text("CREATE TABLE orders (id text, customer text);\n",
                                      encoding="utf-8")
    (model / "OrderPlaced.sql").write_text(CUSTOMER_HANDLER, encoding="utf-8")
    book = Book(binary, folder, tmp_path / "data")
    for personal in ("", "personal: sealed\n"):
        (model / "model.yaml").write_text(MODEL + personal, encoding="utf-8")
        found = book.run("check", status=1)
        assert "OrderPlaced.sql:1:10: the state of `customer-{customer}` may hold personal " \
            "fields" in found.text + found.errors
    (model / "model.yaml").write_text(MODEL + "personal: rebuild\n", encoding="utf-8")
    server = serve(book)
    for customer in ("7", "8"):
        server.post("/events", {"events": [
            {"stream": f"customer-{customer}", "type": "Registered",
             "data": {"customer": customer, "name": f"Anna {customer}"}},
            {"stream": f"order-{customer}", "type": "OrderPlaced",
             "data": {"customer": customer}}]})
    sql = {"sql": "SELECT customer FROM orders ORDER BY id"}
    path = "/models/orders/tables/orders?after=4"
    assert len(server.get(path).json["rows"]) == 2
    assert [r["customer"] for r in server.post("/sql", sql).json["rows"]] == ["Anna 7", "Anna 8"]
    # The events that the orders are made of are others than those that are forgotten.
    assert server.post("/subjects/7/forget?wait").status == 200
    last = server.post("/events", {"events": [
        {"stream": "order-9", "type": "OrderPlaced", "data": {"customer": "7"}}]}).json["position"]
    assert len(server.get(f"/models/orders/tables/orders?after={last}").json["rows"]) == 3
    rows = [r["customer"] for r in server.post("/sql", sql).json["rows"]]
    assert "Anna 7" not in str(rows) and rows[1] == "Anna 8"
    assert "forgotten" in rows[0] and "forgotten" in rows[2]
    server.stop()
    with open(book.data / "reading.db", "rb") as file:
        assert b"Anna 7" not in file.read()
    shutil.rmtree(book.data)


def test_a_state_in_a_transaction_leaves_out_what_a_tombstone_does(binary, tmp_path, serve):
    folder = tmp_path / "book"
    model = folder / "models" / "orders"
    for part in (model, folder / "folds", folder / "events"):
        part.mkdir(parents=True)
    for path, text in (
            (folder / "book.yaml",
             "book: shop\nschema: warn\ndatabases:\n  reading: sqlite:reading.db\n"),
            (folder / "events" / "Registered.schema.json", PERSONAL),
            (folder / "folds" / "customer.lua", CUSTOMER_FOLD),
            (model / "schema.sql", "CREATE TABLE orders (id text, customer text);\n"),
            (model / "OrderPlaced.sql", CUSTOMER_HANDLER),
            (model / "model.yaml",
             "sync: transaction\nsource: [order]\npersonal: rebuild\n")):
        path.write_text(text, encoding="utf-8")
    book = Book(binary, folder, tmp_path / "data")
    server = serve(book)

    def register_and_order(name):
        return server.post("/events", {"events": [
            {"stream": "customer-7", "type": "Registered",
             "data": {"customer": "7", "name": name}},
            {"stream": f"order-{name}", "type": "OrderPlaced", "data": {"customer": "7"}}]})

    assert register_and_order("Anna").status in (200, 201)
    sql = {"sql": "SELECT id, customer FROM orders WHERE id = 'order-Berta'"}
    assert server.post("/subjects/7/forget?tombstone&wait").status == 200
    assert register_and_order("Berta").status in (200, 201)
    rows = server.post("/sql", sql).json["rows"]
    server.stop()
    book.run("model", "rebuild", "orders")
    assert rows == book.json("sql", sql["sql"]) == [{"id": "order-Berta", "customer": None}]


def test_who_forgets_does_not_wait_for_who_posts_in_the_same_file(binary, tmp_path, serve):
    """Each would wait for the other's lock until SQLite gives up, after 10 s."""
    folder = tmp_path / "book"
    write_book(folder, InSqlite.address)
    (folder / "events").mkdir()
    (folder / "events" / "Registered.schema.json").write_text(PERSONAL, encoding="utf-8")
    seen = folder / "models" / "seen"
    seen.mkdir()
    (seen / "model.yaml").write_text("sync: transaction\nsource: [seen]\n", encoding="utf-8")
    (seen / "schema.sql").write_text("CREATE TABLE seen (id bigint);\n", encoding="utf-8")
    (seen / "Seen.sql").write_text("INSERT INTO seen VALUES (:_position);\n", encoding="utf-8")
    server = serve(Book(binary, folder, tmp_path / "data"))
    chance, numbers = random.Random(3), itertools.count()
    server.post("/events", {"events": [
        {"stream": f"customer-{c}", "type": "Registered",
         "data": {"customer": str(c), "name": f"Anna {c}"}} for c in range(60)]})
    over = threading.Event()

    def write():
        while not over.is_set():
            events = some_events(chance, 20, numbers)
            assert server.post("/events", {"events": events}).status in (200, 201)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    longest = 0
    for customer in range(60):
        begun = time.monotonic()
        assert server.post(f"/subjects/{customer}/forget").status in (200, 202)
        longest = max(longest, time.monotonic() - begun)
    over.set()
    writer.join()
    assert longest < 5
