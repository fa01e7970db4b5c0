# SPDX-License-Identifier: Apache-2.0
"""Posts Online Retail into read models of every kind of database, and holds them against the file.

    tests/torture/retail.py [--data CSV] [--rows N] [--binary FILE] [--no-hand]

The file is imported into a book; then a model in SQLite, PostgreSQL, MongoDB (FerretDB) and Neo4j
is built of it, one after the other. Each must have the sales by country that the CSV has, worked
out here in exact decimals; what was also bought with a product must be the same in Neo4j as in
SQL. How fast each was built stands beside what the same statements in the same batches take when
sent by hand: psql reads them from a file for PostgreSQL, and requests with UNWIND go to Neo4j, and
inserts to MongoDB, one after the other, written before the clock starts.

MongoDB's commands do not compute, so a line's amount is in the event: an upcaster gives it, for
all. A line is a document of its own, and a query sums them: inserts go out by the thousand, where
each update is a search of the whole collection to FerretDB, and a write of its own.
"""
import argparse
import collections
import csv
import decimal
import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "integration"))
sys.path.insert(0, str(ROOT / "tests"))
from conftest import Book, Server  # noqa: E402
from services.bson import encode  # noqa: E402
from services.ferretdb import FerretDB  # noqa: E402
from services.neo4j import Neo4j  # noqa: E402
from services.postgres import Missing, Postgres  # noqa: E402

SQL_SCHEMA = """CREATE TABLE sales_{0} (country TEXT PRIMARY KEY, thousandths BIGINT NOT NULL);
CREATE TABLE lines_{0} (position BIGINT PRIMARY KEY, order_id TEXT NOT NULL,
    stock_code TEXT NOT NULL);
"""
SQL_HANDLERS = """-- on: LineAdded, LineReturned
INSERT INTO sales_{0} AS s (country, thousandths) VALUES (:country, :amount)
ON CONFLICT (country) DO UPDATE SET thousandths = s.thousandths + excluded.thousandths;
INSERT INTO lines_{0} (position, order_id, stock_code) VALUES (:_position, :order_id, :stock_code);
"""
DOCUMENT = """{"insert": "{gen}Line", "documents": [{"_id": ":_position", "country": ":country",
  "order": ":order_id", "product": ":stock_code", "thousandths": ":amount"}]}
"""
DOCUMENT_SALES = """// database: mongodb
{"aggregate": "{mongodb}Line", "pipeline": [
  {"$group": {"_id": "$country", "thousandths": {"$sum": "$thousandths"}}}]}
"""
UPCASTER = """return function(data)
    data.amount = math.tointeger(tonumber(tostring(data.price * data.quantity * 1000)))
    return data
end
"""
CYPHER_SCHEMA = ";\n".join(
    f"CREATE CONSTRAINT {{gen}}{label} IF NOT EXISTS FOR (n:{{gen}}{label}) "
    f"REQUIRE n.{key} IS UNIQUE"
    for label, key in (("Country", "name"), ("Order", "id"), ("Product", "id"))) + ";\n"
CYPHER = """MERGE (c:{gen}Country {name: $country})
SET c.thousandths = coalesce(c.thousandths, 0) + $amount
MERGE (o:{gen}Order {id: $order_id})
MERGE (p:{gen}Product {id: $stock_code})
MERGE (o)-[:{gen}HAS]->(p)
"""
BY_HAND = "UNWIND $rows AS row " + CYPHER.replace("$", "row.")
ALSO_CYPHER = """// database: neo4j
MATCH (p:{neo4j}Product {id: $product})<-[:{neo4j}HAS]-(o)-[:{neo4j}HAS]->(q)
WHERE q <> p RETURN q.id AS product, count(DISTINCT o) AS orders
ORDER BY orders DESC, product LIMIT 20
"""
ALSO_SQL = """SELECT b.stock_code AS product, count(DISTINCT b.order_id) AS orders
FROM lines_{0} a JOIN lines_{0} b ON b.order_id = a.order_id AND b.stock_code <> a.stock_code
WHERE a.stock_code = '{1}' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 20"""


MODELS = ["sqlite", "postgres", "neo4j", "mongodb"]  # named as what they are in


def say(what, **figures):
    print(what + "".join(f", {key} {value}" for key, value in figures.items()), flush=True)


def sales_of(path):
    """Thousandths by country, as the import takes the lines."""
    sales = collections.Counter()
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            sales[row["Country"]] += int(decimal.Decimal(row["UnitPrice"]) * 1000) * \
                int(row["Quantity"])
    return dict(sales)


def write_model(folder, name):
    model = folder / "models" / name
    model.mkdir(parents=True)
    (model / "model.yaml").write_text(f"database: {name}\nsync: events\nsource: [order]\n",
                                      encoding="utf-8")
    if name == "neo4j":
        (model / "schema.cypher").write_text(CYPHER_SCHEMA, encoding="utf-8")
        for event in ("LineAdded", "LineReturned"):
            (model / f"{event}.cypher").write_text(CYPHER, encoding="utf-8")
        return
    if name == "mongodb":
        (model / "schema.json").write_text('{"create": "{gen}Line"}\n', encoding="utf-8")
        for event in ("LineAdded", "LineReturned"):
            (model / f"{event}.json").write_text(DOCUMENT, encoding="utf-8")
        return
    (model / "schema.sql").write_text(SQL_SCHEMA.format(name), encoding="utf-8")
    (model / "handlers.sql").write_text(SQL_HANDLERS.format(name), encoding="utf-8")


def write_events(folder):
    """The shop's, with a line's amount in a version of its own."""
    (folder / "events").mkdir()
    for file in (ROOT / "examples/shop/events").glob("*.json"):
        text = json.loads(file.read_text(encoding="utf-8"))
        kind = file.name.split(".")[0]
        if kind in ("LineAdded", "LineReturned"):
            newer = json.loads(json.dumps(text["versions"][0]["schema"]))
            newer["properties"]["amount"] = {"type": "integer"}
            newer["required"].append("amount")
            text["versions"].append({"version": 2, "schema": newer})
            (folder / "events" / f"{kind}.1-2.lua").write_text(UPCASTER, encoding="utf-8")
        (folder / "events" / file.name).write_text(json.dumps(text), encoding="utf-8")


def build(book, name, last):
    """Seconds from the start of the server until the model has everything."""
    server = Server(book)
    begun = time.monotonic()
    try:
        while True:
            status = {m["name"]: m for m in server.get("/models").json["models"]}[name]
            if status["position"] >= last:
                return time.monotonic() - begun
            assert status["state"] != "stopped", status  # what may pass is tried again
            time.sleep(0.05)
    finally:
        server.stop()


def by_hand_neo4j(neo4j, events, label, batch=1000):
    for kind, key in (("Country", "name"), ("Order", "id"), ("Product", "id")):
        neo4j.cypher(f"CREATE CONSTRAINT {label}_{kind} IF NOT EXISTS FOR (n:{label}{kind}) "
                     f"REQUIRE n.{key} IS UNIQUE")
    bodies = [json.dumps({"statements": [{"statement": BY_HAND.replace("{gen}", label),
                                          "parameters": {"rows": events[at:at + batch]}}]})
              for at in range(0, len(events), batch)]
    connection = http.client.HTTPConnection("127.0.0.1", neo4j.port, timeout=600)
    begun = time.monotonic()
    for body in bodies:
        connection.request("POST", "/db/neo4j/tx/commit", body,
                           {"Content-Type": "application/json", "Accept": "application/json"})
        answer = json.loads(connection.getresponse().read())
        assert not answer["errors"], answer["errors"][:1]
    return time.monotonic() - begun


def hand_to_neo4j(neo4j, events):
    """What Java compiles while it runs is compiled before, for both."""
    by_hand_neo4j(neo4j, events[:20000], "Warm")
    return by_hand_neo4j(neo4j, events, "Hand")


def by_hand_postgres(postgres, folder, events, batch=1000):
    postgres.sql(SQL_SCHEMA.format("hand"))
    script = folder / "hand.sql"
    sales, line = [part.strip() for part in SQL_HANDLERS.format("hand").split(";")][:2]
    sales = sales.split("\n", 1)[1].replace(":country", "$1").replace(":amount", "$2")
    line = line.replace(":_position", "$1").replace(":order_id", "$2").replace(":stock_code", "$3")
    with open(script, "w", encoding="utf-8") as out:
        out.write(f"PREPARE sales (text, bigint) AS {sales};\n"
                  f"PREPARE line (bigint, text, text) AS {line};\n")
        for at in range(0, len(events), batch):
            out.write("BEGIN;\n")
            for number, event in enumerate(events[at:at + batch], at + 1):
                country = event["country"].replace("'", "''")
                out.write(f"EXECUTE sales ('{country}', {event['amount']});\n"
                          f"EXECUTE line ({number}, '{event['order_id']}', "
                          f"'{event['stock_code']}');\n")
            out.write("COMMIT;\n")
    begun = time.monotonic()
    subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(script),
                    postgres.connection()], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begun


def by_hand_mongodb(ferretdb, events, batch=1000):
    ferretdb.command({"create": "hand"}, "retail")
    commands = [encode({"insert": "hand", "ordered": True, "documents": [
        {"_id": number, "country": event["country"], "order": event["order_id"],
         "product": event["stock_code"], "thousandths": event["amount"]}
        for number, event in enumerate(events[at:at + batch], at + 1)],
                        "writeConcern": {"w": "majority"}, "$db": "retail"})
                for at in range(0, len(events), batch)]
    begun = time.monotonic()
    for command in commands:
        reply = ferretdb.client.send(command)
        assert reply.get("ok") and not reply.get("writeErrors"), reply
    return time.monotonic() - begun


def plain(path, folder, rows):
    """The file, decompressed, or its first rows."""
    if not path.is_file():
        raise Missing(f"Online Retail ({path}; DAYBOOK_RETAIL says where it is)")
    out = folder / "orders.csv"
    tool = ["zstd", "-dc", str(path)] if path.suffix == ".zst" else ["cat", str(path)]
    with subprocess.Popen(tool, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as source, \
            open(out, "wb") as target:
        for number, line in enumerate(source.stdout):
            if rows and number > rows:
                break
            target.write(line)
        source.kill()
    return out


def run(options, folder):
    servers = []
    try:
        for make in (Postgres, lambda: Neo4j(heap_mb=1024), FerretDB):
            servers.append(make())
        compare(options, folder, servers)
    finally:
        for server in servers:
            server.close()


def make_book(options, folder, servers):
    postgres, neo4j, ferretdb = servers
    shop = folder / "shop"
    (shop / "secrets").mkdir(parents=True)
    for part in ("imports", "events"):
        (shop / part).symlink_to(ROOT / "examples" / "shop" / part)
    (shop / "secrets/postgres").write_text(postgres.connection(), encoding="utf-8")
    (shop / "secrets/neo4j").write_text(neo4j.connection(), encoding="utf-8")
    (shop / "secrets/mongodb").write_text(ferretdb.connection(database="retail"), encoding="utf-8")
    (shop / "book.yaml").write_text(
        "book: shop\ndatabases:\n  sqlite: sqlite:reading.db\n"
        "  postgres: postgres:file:secrets/postgres\n  neo4j: neo4j:file:secrets/neo4j\n"
        "  mongodb: mongodb:file:secrets/mongodb\n", encoding="utf-8")
    return Book(options.binary, shop, folder / "data")


def read(book, *arguments):
    return [json.loads(line) for line in subprocess.run(
        book.command("read", "-o", "jsonl", *arguments), check=True,
        capture_output=True).stdout.splitlines()]


def compare(options, folder, servers):
    """servers: PostgreSQL, Neo4j, FerretDB."""
    postgres, neo4j, ferretdb = servers
    source = plain(pathlib.Path(options.data), folder, options.rows)
    expected = sales_of(source)
    book = make_book(options, folder, servers)
    subprocess.run(book.command("import", source, "--as", "online_retail"), check=True,
                   stdout=subprocess.DEVNULL)
    (book.folder / "events").unlink()
    write_events(book.folder)
    events = [event["data"] for kind in ("LineAdded", "LineReturned")
              for event in read(book, "--type", kind)]
    last = read(book, "--backwards", "--limit", "1")[0]["position"]
    say("imported", events=last, lines=len(events))
    hands = {"postgres": lambda: by_hand_postgres(postgres, folder, events),
             "neo4j": lambda: hand_to_neo4j(neo4j, events),
             "mongodb": lambda: by_hand_mongodb(ferretdb, events)}
    for model in MODELS:
        write_model(book.folder, model)
        # By hand first: what a server warms up by is not to help the other.
        hand = hands[model]() if options.hand and model in hands else None
        seconds = build(book, model, last)
        figures = {"events_per_second": round(last / seconds)}
        if hand:
            figures.update(lines_per_second=round(len(events) / seconds),
                           by_hand=round(len(events) / hand), ratio=round(hand / seconds, 2))
        say(model, seconds=round(seconds, 1), **figures)
    hold(options, book, expected, ferretdb)


def documents_sales(server, ferretdb):
    """FerretDB reads each document for its sums, which may take longer than a query may."""
    answer = server.get("/queries/DocumentSales", timeout=600)
    if answer.status == 200:
        return answer.json["rows"]
    say("the sums of documents are asked of FerretDB itself", status=answer.status,
        answer=answer.json.get("detail"))
    pipeline = json.loads(DOCUMENT_SALES.split("\n", 1)[1])["pipeline"]
    return ferretdb.command({"aggregate": "mongodb__g1_Line", "pipeline": pipeline,
                             "cursor": {"batchSize": 1000}}, "retail")["cursor"]["firstBatch"]


def hold(options, book, expected, ferretdb):
    """All four have the totals, and the graph has what SQL has of what was bought together."""
    queries = book.folder / "queries"
    queries.mkdir()
    (queries / "AlsoBought.cypher").write_text(ALSO_CYPHER, encoding="utf-8")
    (queries / "GraphSales.cypher").write_text(
        "// database: neo4j\nMATCH (c:{neo4j}Country) RETURN c.name AS country, "
        "c.thousandths AS thousandths\n", encoding="utf-8")
    (queries / "DocumentSales.json").write_text(DOCUMENT_SALES, encoding="utf-8")
    also = {}
    server = Server(book)
    try:
        def ask(sql, model):
            return server.post("/sql", {"sql": sql, "database": model}, timeout=600).json["rows"]

        found = {model: ask(f"SELECT country, thousandths FROM sales_{model}", model)
                 for model in ("sqlite", "postgres")}
        found["neo4j"] = server.get("/queries/GraphSales", timeout=600).json["rows"]
        found["mongodb"] = documents_sales(server, ferretdb)
        for model in ("sqlite", "postgres"):
            also[model] = ask(ALSO_SQL.format(model, options.product), model)
        also["neo4j"] = server.get(f"/queries/AlsoBought?product={options.product}",
                                   timeout=600).json["rows"]
    finally:
        server.stop()
    for model, rows in found.items():
        assert {row.get("country", row.get("_id")): row["thousandths"]
                for row in rows} == expected, (model, rows)
    assert also["sqlite"] == also["postgres"] == also["neo4j"] and len(also["neo4j"]) > 0, also
    say("all have the same totals", countries=len(expected), total=sum(expected.values()) / 1000)
    say(f"also bought with {options.product}", first=also["neo4j"][0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path,
                        default=os.environ.get("DAYBOOK_RETAIL", ROOT.parent / "shared" / "data" /
                                               "online-retail.csv.zst"))
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--product", default="85123A")
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build" / "daybook")
    parser.add_argument("--no-hand", dest="hand", action="store_false")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="daybook-retail-") as name:
        run(options, pathlib.Path(name))


if __name__ == "__main__":
    os.nice(5)
    try:
        main()
    except Missing as why:
        print(f"missing: {why}")
        sys.exit(2)
