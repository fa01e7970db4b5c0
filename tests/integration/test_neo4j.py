# SPDX-License-Identifier: Apache-2.0
"""Read models in Neo4j, on a real server: the same nodes and edges as an oracle's, and what goes
wrong is named. What is killed and cut meanwhile is in test_conformance."""
import http.server
import json
import random
import shutil
import threading
import time

import pytest
from conftest import BANK, Book, Server, missing
from services.neo4j import Neo4j
from services.postgres import Missing

MODEL = """database: graph
sync: events
source: [account]
"""
SCHEMA = """// what MERGE looks for
CREATE CONSTRAINT {gen}account IF NOT EXISTS FOR (a:{gen}Account) REQUIRE a.id IS UNIQUE;
CREATE CONSTRAINT {gen}amount IF NOT EXISTS FOR (a:{gen}Amount) REQUIRE a.n IS UNIQUE;
"""
HANDLERS = {
    "AccountOpened": "MERGE (a:{gen}Account {id: 'account-' + $id}) SET a.balance = 0, "
                     "a.events = 1, a.log = 'o' // new\n",
    "Deposited": "MATCH (a:{gen}Account {id: $_stream})\n"
                 "SET a.balance = a.balance + $amount, a.events = a.events + 1\n"
                 "SET a.log = a.log + 'd'\n"
                 "MERGE (n:{gen}Amount {n: $amount})\n"
                 "MERGE (a)-[r:{gen}GOT]->(n) SET r.times = coalesce(r.times, 0) + 1;\n",
    "Withdrawn": "MATCH (a:{gen}Account {id: $_stream})\n"
                 "SET a.balance = a.balance - $amount, a.events = a.events + 1;\n"
                 "MATCH (a:{gen}Account {id: $_stream}) SET a.log = a.log + 'w'\n",
}
QUERY = """// database: graph
MATCH (a:{accounts}Account {id: 'account-' + $account})
RETURN a.balance AS balance, a.events AS events, a.log AS log
"""


@pytest.fixture(scope="module")
def neo4j():
    try:
        server = Neo4j()
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


def write_book(folder, connection):
    shutil.copytree(BANK, folder, ignore=shutil.ignore_patterns("data"))
    (folder / "secrets").mkdir()
    (folder / "secrets" / "graph").write_text(connection + "\n", encoding="utf-8")
    (folder / "book.yaml").write_text(
        "book: bank\nschema: off\ndatabases:\n  reading: sqlite:reading.db\n"
        "  graph: neo4j:file:secrets/graph\n", encoding="utf-8")
    for file in folder.glob("queries/*.sql"):
        file.write_text("-- database: reading\n" + file.read_text(encoding="utf-8"),
                        encoding="utf-8")
    model = folder / "models" / "accounts"
    model.mkdir()
    (model / "model.yaml").write_text(MODEL, encoding="utf-8")
    (model / "schema.cypher").write_text(SCHEMA, encoding="utf-8")
    for name, text in HANDLERS.items():
        (model / f"{name}.cypher").write_text(text, encoding="utf-8")
    (folder / "queries" / "GetAccount.cypher").write_text(QUERY, encoding="utf-8")


@pytest.fixture
def book(binary, tmp_path, neo4j):
    neo4j.clear()
    folder = tmp_path / "book"
    write_book(folder, neo4j.connection())
    return Book(binary, folder, tmp_path / "data")


def events_of(seed, accounts=5, count=300):
    """Events for an append, none of which overdraws an account."""
    chance = random.Random(seed)
    events = [{"stream": f"account-{n}", "type": "AccountOpened", "data": {"id": str(n)}}
              for n in range(accounts)]
    balances = {}
    for _ in range(count):
        stream = f"account-{chance.randrange(accounts)}"
        kind = chance.choice(["Deposited", "Withdrawn"])
        amount = chance.randrange(1, 20)
        change = amount if kind == "Deposited" else -amount
        if balances.get(stream, 0) + change < 0:
            continue
        balances[stream] = balances.get(stream, 0) + change
        events.append({"stream": stream, "type": kind, "data": {"amount": amount}})
    return events


def oracle(events):
    nodes, edges = {}, {}
    for event in events:
        stream, kind, data = event["stream"], event["type"], event["data"]
        if kind == "AccountOpened":
            nodes[stream] = [0, 1, "o"]
            continue
        deposit = kind == "Deposited"
        node = nodes[stream]
        node[0] += data["amount"] if deposit else -data["amount"]
        node[1] += 1
        node[2] += "d" if deposit else "w"
        if deposit:
            key = (stream, data["amount"])
            edges[key] = edges.get(key, 0) + 1
    return nodes, edges


def graph_of(neo4j, generation=1):
    nodes = {i: [b, e, log] for i, b, e, log in neo4j.cypher(
        f"MATCH (a:`accounts__g{generation}_Account`) RETURN a.id, a.balance, a.events, a.log")}
    edges = {(i, n): t for i, n, t in neo4j.cypher(
        f"MATCH (a)-[r:`accounts__g{generation}_GOT`]->(n) RETURN a.id, n.n, r.times")}
    return nodes, edges


def append(server, events, size=100):
    last = 0
    for at in range(0, len(events), size):
        answer = server.post("/events", {"events": events[at:at + size]},
                             headers={"Content-Type": "application/json"})
        assert answer.status in (200, 201), answer
        last = answer.json["position"]
    return last


def status_of(server, model="accounts"):
    return server.get(f"/models/{model}").json


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def ask(server, account, after=None):
    path = f"/queries/GetAccount?account={account}" + (f"&after={after}" if after else "")
    return server.get(path)


def test_it_holds_what_the_oracle_holds_and_is_rebuilt(book, neo4j):
    events = events_of(1)
    server = Server(book)
    try:
        last = append(server, events)
        wait_for(lambda: status_of(server)["position"] >= last)
        assert graph_of(neo4j) == oracle(events)
        assert server.post("/models/accounts/rebuild").status == 200
        wait_for(lambda: status_of(server)["generation"] == 2)
        assert graph_of(neo4j, 2) == oracle(events)
        wait_for(lambda: graph_of(neo4j) == ({}, {}))
        names = {name for name, in neo4j.cypher("SHOW CONSTRAINTS YIELD name")}
        assert names == {"_daybook_model", "accounts__g2_account", "accounts__g2_amount"}
    finally:
        assert server.stop() == 0


def test_queries_are_asked_and_wait_and_change_nothing(book, neo4j):
    (book.folder / "queries" / "Wrong.cypher").write_text(
        "// database: graph\nMATCH (a:{accounts}Account) SET a.balance = 0 RETURN a.id AS id\n",
        encoding="utf-8")
    events = events_of(2, count=40)
    server = Server(book)
    try:
        last = append(server, events)
        answer = ask(server, "1", after=last)
        assert answer.status == 200, answer
        nodes, _ = oracle(events)
        row = answer.json["rows"][0]
        values = [row["balance"], row["events"], row["log"]] if isinstance(row, dict) else row
        assert values == nodes["account-1"]
        refused = server.get("/queries/Wrong")
        assert refused.status in (400, 403, 422), refused
        assert graph_of(neo4j) == oracle(events)
    finally:
        assert server.stop() == 0


def test_a_handler_that_fails_is_named_with_its_event(book, neo4j):
    handler = book.folder / "models" / "accounts" / "Withdrawn.cypher"
    handler.write_text("MATCH (a:{gen}Account {id: $_stream})\n"
                       "CREATE (b:{gen}Account {id: a.id})\n", encoding="utf-8")
    events = [{"stream": "account-1", "type": "AccountOpened", "data": {"id": "1"}},
              {"stream": "account-1", "type": "Deposited", "data": {"amount": 5}},
              {"stream": "account-1", "type": "Withdrawn", "data": {"amount": 2}},
              {"stream": "account-1", "type": "Deposited", "data": {"amount": 7}}]
    server = Server(book)
    try:
        append(server, events)
        wait_for(lambda: status_of(server).get("error"))
        text = json.dumps(status_of(server))
        assert "Withdrawn.cypher:1" in text and "already exists" in text, text
        assert graph_of(neo4j)[0] == {"account-1": [5, 2, "od"]}
    finally:
        assert server.stop() == 0


def check_lines(book):
    answer = book.run("check", status=1)
    return answer.text + answer.errors


def test_check_names_file_line_and_column(book):
    model = book.folder / "models" / "accounts"
    (model / "Withdrawn.cypher").write_text("MATCH (a:{gen}Account)\nSET a.at = datetime()\n",
                                            encoding="utf-8")
    (model / "Deposited.cypher").write_text("MERGE (a:Account {id: 1})\n", encoding="utf-8")
    text = check_lines(book)
    assert "Withdrawn.cypher:2:12" in text and "clock" in text, text
    assert "Deposited.cypher:1:10" in text and "{gen}" in text, text


def test_what_cannot_be_reached_is_named_and_tells_no_secret(book, neo4j):
    secret = book.folder / "secrets" / "graph"
    secret.write_text(neo4j.connection(database="nope", password="geheim42") + "\n",
                      encoding="utf-8")
    server = Server(book)
    try:
        append(server, events_of(5, count=5))
        wait_for(lambda: "nope" in json.dumps(status_of(server)))
        text = json.dumps(status_of(server)) + server.get("/healthz").text
        assert "geheim42" not in text and "connection string" in text, text
        secret.write_text("http://neo4j:geheim42@127.0.0.1:1/neo4j\n", encoding="utf-8")
        wait_for(lambda: "connect" in json.dumps(status_of(server)).lower())
        assert "geheim42" not in json.dumps(status_of(server))
        secret.write_text(neo4j.connection() + "\n", encoding="utf-8")
        wait_for(lambda: status_of(server).get("lag_events") == 0)
    finally:
        server.stop()
    with_password = Neo4j(password="geheim42")
    try:
        secret.write_text(with_password.connection(password="falsch42") + "\n", encoding="utf-8")
        server = Server(book)
        wait_for(lambda: "password" in json.dumps(status_of(server)))
        assert "falsch42" not in json.dumps(status_of(server))
        secret.write_text(with_password.connection() + "\n", encoding="utf-8")
        wait_for(lambda: status_of(server).get("lag_events") == 0)
        assert server.stop() == 0
    finally:
        with_password.close()


class SaysVersion(http.server.BaseHTTPRequestHandler):
    """What a Neo4j of an older version says of itself."""

    def do_GET(self):  # pylint: disable=invalid-name
        text = b'{"neo4j_version": "4.4.30", "neo4j_edition": "community"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def test_a_server_that_is_too_old_is_named(book):
    old = http.server.ThreadingHTTPServer(("127.0.0.1", 0), SaysVersion)
    threading.Thread(target=old.serve_forever, daemon=True).start()
    (book.folder / "secrets" / "graph").write_text(
        f"http://127.0.0.1:{old.server_address[1]}/neo4j\n", encoding="utf-8")
    server = Server(book)
    try:
        last = append(server, events_of(5, count=5))
        wait_for(lambda: status_of(server).get("error"))
        error = status_of(server)["error"]
        assert "Neo4j 4.4.30 is too old: 5.23 or later is needed" in error
        wait_for(lambda: status_of(server, "balances")["position"] == last)
    finally:
        server.stop()
        old.shutdown()
        old.server_close()


def test_a_value_of_another_type_stops_that_model_alone(book):
    (book.folder / "models" / "balances" / "handlers.sql").write_text(
        "-- on: Closed\nDELETE FROM balances;\n", encoding="utf-8")
    server = Server(book)
    try:
        last = append(server, [
            {"stream": "account-a", "type": "AccountOpened", "data": {"id": "a"}},
            {"stream": "account-a", "type": "Withdrawn", "data": {"amount": "much"}},
            {"stream": "account-b", "type": "AccountOpened", "data": {"id": "b"}}])
        wait_for(lambda: status_of(server)["state"] == "stopped")
        status = status_of(server)
        assert "Withdrawn.cypher:1" in status["error"], status
        assert "(event 2, Withdrawn of account-a version 2)" in status["error"], status
        assert status["position"] == 1
        wait_for(lambda: status_of(server, "balances")["position"] == last)
    finally:
        server.stop()


OWNERS = """MERGE (a:{gen}Owner {id: $_stream})
SET a.customer = $customer, a.owner = $owner, a.n = coalesce(a.n, 0) + 1
MERGE (p:{gen}Person {customer: $customer}) SET p.name = $owner
MERGE (p)-[r:{gen}OWNS]->(a) SET r.since = $owner;
"""
PURGE = """// what tells who it was
MATCH (a:{gen}Owner {customer: $_subject}) REMOVE a.owner;
MATCH (p:{gen}Person {customer: $_subject}) DETACH DELETE p;
"""


@pytest.mark.parametrize("way", ["rebuild", "purge.cypher"])
def test_a_person_is_forgotten_in_it(way, book, neo4j):
    """As in SQLite: no node or edge tells the name any more, in no generation."""
    folder = book.folder / "models" / "owners"
    folder.mkdir()
    (folder / "model.yaml").write_text(MODEL + f"personal: {way}\n", encoding="utf-8")
    (folder / "schema.cypher").write_text(
        "CREATE INDEX {gen}owner IF NOT EXISTS FOR (a:{gen}Owner) ON (a.id);\n", encoding="utf-8")
    (folder / "OwnerNamed.cypher").write_text(OWNERS, encoding="utf-8")
    if way == "purge.cypher":
        (folder / way).write_text(PURGE, encoding="utf-8")

    def named(n):
        return {"customer": f"c-{n % 4}", "owner": f"Marker{n % 4} Berg"}

    for n in range(8):
        book.run("append", f"account-{n}", "OwnerNamed", json.dumps(named(n)))
    server = Server(book)

    def told():
        return str(neo4j.cypher("MATCH (n) RETURN properties(n)") +
                   neo4j.cypher("MATCH ()-[r]->() RETURN properties(r)"))

    try:
        wait_for(lambda: status_of(server, "owners")["position"] >= 8)
        assert all(f"Marker{n}" in told() for n in range(4))
        assert server.post("/subjects/c-3/forget?wait=true").status in (200, 201, 202)
        wait_for(lambda: "Marker3" not in told())
        assert all(f"Marker{n}" in told() for n in range(3))
        generation = status_of(server, "owners")["generation"]
        assert generation == (2 if way == "rebuild" else 1)
        server.post("/events", {"events": [
            {"stream": "account-0", "type": "OwnerNamed",
             "data": {"customer": "c-0", "owner": "Marker0 Tal"}}]})
        owner = f"MATCH (a:`owners__g{generation}_Owner` {{id: 'account-0'}}) RETURN a.owner, a.n"
        wait_for(lambda: neo4j.cypher(owner) == [["Marker0 Tal", 2]])
    finally:
        assert server.stop() == 0
