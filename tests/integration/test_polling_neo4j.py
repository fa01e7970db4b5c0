# SPDX-License-Identifier: Apache-2.0
"""Polling of a label of a real Neo4j: with many writers, whose transactions commit in any order,
and a daemon that is killed, the book's events replay to exactly the graph's nodes; and what would
miss nodes is refused."""
import itertools
import json
import random
import threading
import time
import urllib.request

import pytest
from conftest import Book, Server, missing
from services.neo4j import Neo4j
from services.postgres import Missing
from services.proxy import Proxy, http_messages
from test_capture import events_of, rows_of, status
from test_capture_sqlite import wait_for
from test_polling import SECONDS

WRITERS = 8
KEYS = 300
STAMPS = itertools.count(1)


@pytest.fixture(scope="module")
def neo4j():
    try:
        server = Neo4j()
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


@pytest.fixture
def graph(neo4j):
    neo4j.clear()
    neo4j.cypher("CREATE CONSTRAINT FOR (n:people) REQUIRE n.id IS UNIQUE")
    return neo4j


def write_book(folder, address, table, model=None):
    for part in ("secrets", "services"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "secrets" / "source").write_text(address + "\n", encoding="utf-8")
    (folder / "book.yaml").write_text(
        "book: copy\ndatabases:\n  source: neo4j:file:secrets/source\n"
        "  reading: sqlite:reading.db\n", encoding="utf-8")
    capture = [] if model else ["capture: polling"]
    (folder / "services" / "users.yaml").write_text(
        "database: source\ntables:\n  people:\n"
        + "".join(f"    {line}\n" for line in [*capture, *table]), encoding="utf-8")
    if model is not None:
        (folder / "models" / "names").mkdir(parents=True)
        for name, text in model.items():
            (folder / "models" / "names" / name).write_text(text, encoding="utf-8")


@pytest.fixture
def make(binary, tmp_path, data, graph):
    def make_book(*table, model=None):
        write_book(tmp_path / "book", graph.connection(),
                   ["key: id", "every: 50 ms", *table], model)
        return Book(binary, tmp_path / "book", data)
    return make_book


class Transaction:
    """One that stays open until it is committed or taken back."""

    def __init__(self, graph):
        self.url = json.loads(self._send(
            "POST", f"http://127.0.0.1:{graph.port}/db/neo4j/tx"))["commit"].removesuffix("/commit")

    @staticmethod
    def _send(method, url, statements=()):
        request = urllib.request.Request(
            url, method=method, data=json.dumps({"statements": list(statements)}).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read()

    def run(self, statement, **parameters):
        """False: it had to be given up, since another waited for it."""
        reply = json.loads(self._send("POST", self.url, [{"statement": statement,
                                                          "parameters": parameters}]))
        if any("DeadlockDetected" not in error["code"] for error in reply["errors"]):
            raise AssertionError(reply["errors"])
        return not reply["errors"]

    def end(self, commit=True):
        self._send("POST" if commit else "DELETE", self.url + ("/commit" if commit else ""))


class Writers:
    def __init__(self, graph, stamp, soft):
        self.graph, self.stamp, self.soft = graph, stamp, soft
        self.stopping = False
        self.failures = []
        self.threads = [threading.Thread(target=self._run, args=(n,)) for n in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()

    def _statement(self, chance):
        put = ("MERGE (n:people {id: $id}) SET n.name = $name, n.gone = false, "
               f"n.changed = {self.stamp}")
        gone = (f"MATCH (n:people {{id: $id}}) SET n.gone = true, n.changed = {self.stamp}"
                if self.soft else "MATCH (n:people {id: $id}) DELETE n")
        return chance.choice([put, put, put, gone])

    def _run(self, number):
        chance = random.Random(number)
        try:
            while not self.stopping:
                transaction = Transaction(self.graph)
                done = True
                for i in sorted(chance.sample(range(KEYS), chance.randrange(1, 4))):
                    done = done and transaction.run(
                        self._statement(chance), id=i, name=str(chance.random()),
                        stamp=next(STAMPS))
                    time.sleep(chance.choice([0, 0, 0.01, 0.1]))
                if done:
                    transaction.end(chance.random() < 0.8)
        except (AssertionError, OSError) as error:
            self.failures.append(error)


def nodes_of(graph):
    rows = [row for row, in graph.cypher("MATCH (n:people) WHERE NOT coalesce(n.gone, false) "
                                         "RETURN properties(n) ORDER BY n.id")]
    return rows


@pytest.mark.parametrize("stamp,soft,table", [
    ("datetime()", True, ["cursor: changed", "deleted: gone", "overlap: 10 ms"]),
    ("$stamp", False, ["cursor: changed", "deletes: compare", "compare_every: 500 ms",
                       "overlap: 10 ms"]),
    ("datetime()", False, []),
], ids=["time", "number", "whole"])
def test_many_writers(graph, make, stamp, soft, table):
    """The overlap is far shorter than transactions are: the bound is what counts."""
    graph.cypher("CREATE INDEX FOR (n:people) ON (n.changed)")
    graph.cypher("UNWIND range(0, 2999, 3) AS i CREATE (:people {id: i, name: 'n', changed: "
                 + ("0" if "$" in stamp else stamp) + "})")
    book = make(*table)
    chance = random.Random(3)
    server = Server(book)
    wait_for(lambda: len(events_of(book)) >= 1000)
    writers = Writers(graph, stamp, soft)
    end = time.time() + SECONDS * 0.5
    try:
        while time.time() < end:
            time.sleep(chance.uniform(0.5, 2))
            server.kill()
            server = Server(book)
        writers.stop()
        assert writers.failures == []
        expected = nodes_of(graph)
        wait_for(lambda: sorted(rows_of(events_of(book)), key=lambda row: row["id"]) == expected,
                 20)
    finally:
        writers.stop()
        server.stop()
    assert len(expected) > 900 and len(events_of(book)) > len(expected)


@pytest.mark.parametrize("stamp", ["datetime()", "datetime({timezone: 'Europe/Berlin'})",
                                   "localdatetime()", "toString(datetime())", "$stamp"])
def test_a_late_commit_is_not_missed(graph, make, serve, stamp):
    """A transaction takes its stamp, others commit behind it and are read, then it commits."""
    server = serve(make("cursor: changed", "deletes: none", "overlap: 10 ms"))
    put = f"CREATE (:people {{id: $id, changed: {stamp}}})"
    late = Transaction(graph)
    assert late.run(put, id=1, stamp=next(STAMPS))
    for i in range(2, 8):
        graph.cypher(put, {"id": i, "stamp": next(STAMPS)})
        wait_for(lambda i=i: i in [r["id"] for r in rows_of(events_of(server.book))])
    time.sleep(0.3)
    late.end()
    wait_for(lambda: len(events_of(server.book)) == 7, 5)
    assert sorted(r["id"] for r in rows_of(events_of(server.book))) == list(range(1, 8))
    assert status(server)["capture"] == "polling"
    # And it goes on: what was read is not read for ever.
    graph.cypher(f"MATCH (n:people {{id: 3}}) SET n.name = 'new', n.changed = {stamp}",
                 {"stamp": next(STAMPS)})
    event = wait_for(lambda: events_of(server.book)[7:])[0]
    assert event["type"] == "people.update" and event["data"]["new"]["name"] == "new"


def test_values(graph, make, serve):
    graph.cypher("CREATE (:people:other {id: 'a,%', n: 9007199254740993, f: 0.1, big: "
                 "1.7976931348623157E308, yes: true, list: [1, 2], texts: ['a', 'b'], "
                 "at: datetime('2026-01-02T03:04:05.123456789+01:00'), day: date('2026-01-02'), "
                 "span: duration('P1D'), `we``i\\u005Cu0041rd`: 'x', place: point({x: 1, y: 2})})")
    server = serve(make())
    event = wait_for(lambda: events_of(server.book))[0]
    assert event["stream"] == "users.people-a%2C%25"
    place = event["data"]["new"].pop("place")
    assert place["coordinates"] == [1.0, 2.0]
    assert event["data"]["new"] == {
        "id": "a,%", "n": 9007199254740993, "f": 0.1, "big": 1.7976931348623157E308, "yes": True,
        "list": [1, 2], "texts": ["a", "b"], "at": "2026-01-02T03:04:05.123456789+01:00",
        "day": "2026-01-02", "span": "P1D", "we`i\\u0041rd": "x"}
    # Nothing comes of it again, and a property that goes is an update.
    graph.cypher("MATCH (n:people) REMOVE n.place, n.list")
    wait_for(lambda: len(events_of(server.book)) == 2)
    time.sleep(0.2)
    assert [e["type"] for e in events_of(server.book)] == ["people.insert", "people.update"]


def test_columns_masks_and_times(graph, make, serve):
    graph.cypher("CREATE (:people {id: 1, name: 'Ann', mail: 'a@b', other: 1, "
                 "changed: datetime('2026-01-02T03:04:05.5+01:00[Europe/Berlin]')})")
    server = serve(make("cursor: changed", "deleted: gone", "columns: [name, mail, phone]",
                        "mask: [mail, phone]"))
    event = wait_for(lambda: events_of(server.book))[0]
    assert event["data"]["new"] == {"name": "Ann", "mail": "***", "phone": None}
    assert event["occurred"] == "2026-01-02T02:04:05.500000Z"


def test_long_nodes_come_in_short_pages(graph, make, serve):
    """One answer of all of them would be longer than is read of one."""
    for i in range(0, 75, 15):
        graph.cypher("UNWIND range($i, $i + 14) AS i CREATE (:people {id: i, text: "
                     "left(reduce(t = 'x', n IN range(1, 20) | t + t), 950000)})", {"i": i})
    server = serve(make())
    wait_for(lambda: status(server)["events"] == 75, 60)
    assert status(server)["error"] is None


def test_pages_grow_again_behind_long_nodes(graph, make, serve):
    """Counted by what is asked: a thousand nodes of which one answer would be too long once came by
    sixty, and those behind them did for ever."""
    proxy = Proxy(graph.port, http_messages)
    try:
        for i in range(0, 75, 15):
            graph.cypher("UNWIND range($i, $i + 14) AS i CREATE (:people {id: i, at: i, text: "
                         "left(reduce(t = 'x', n IN range(1, 20) | t + t), 950000)})", {"i": i})
        book = make("cursor: at", "deletes: none")
        (book.folder / "secrets" / "source").write_text(graph.connection(proxy.port) + "\n",
                                                        encoding="utf-8")
        server = serve(book)
        wait_for(lambda: status(server)["events"] == 75, 60)
        before = proxy.count
        graph.cypher("UNWIND range(100, 6099) AS i CREATE (:people {id: i, at: i})")
        wait_for(lambda: status(server)["events"] == 6075, 60)
        assert proxy.count - before < 80
    finally:
        proxy.close()


@pytest.mark.parametrize("table,script,message", [
    ([], "DROP CONSTRAINT `it`", "services/users.yaml:3:3: the label `people` has no constraint "
     "that its `key` is each node's own: CREATE CONSTRAINT FOR (n:people) REQUIRE n.id IS UNIQUE"),
    ([], "CREATE (:people {name: 'a'})", "whose `key` is missing"),
    ([], "CREATE (:people {id: 1.5})", "whose `key` is no text and no whole number"),
    ([], "CREATE (:people {id: 1}), (:people {id: '1'})", "of another kind than that of others"),
    (["cursor: at", "deletes: none"], "CREATE (:people {id: 'x'})",
     "(one with the key x) whose cursor is missing"),
    (["cursor: at", "deletes: none"], "CREATE (:people {id: 'x', at: 1.5})",
     "whose cursor is of a kind that is not taken"),
    (["cursor: at", "deletes: none"],
     "CREATE (:people {id: 'x', at: 1}), (:people {id: 'y', at: 'b'})",
     "whose cursor is of another kind than that of others"),
])
def test_what_would_miss_nodes_is_refused(graph, make, serve, table, script, message):
    if "`it`" in script:
        script = script.replace("it", graph.cypher("SHOW CONSTRAINTS YIELD name")[0][0])
    graph.cypher(script)
    server = serve(make(*table))
    now = wait_for(lambda: status(server)["state"] == "failed" and status(server))
    assert message in now["error"]


MODEL = {
    "model.yaml": "database: reading\nsync: polling\nsource: [users.people]\n",
    "schema.sql": "CREATE TABLE {gen}names (id INTEGER PRIMARY KEY, name TEXT);\n",
    "people.insert.sql": "INSERT INTO {gen}names VALUES (:new.id, :new.name);\n",
    "people.update.sql": "UPDATE {gen}names SET name = :new.name WHERE id = :new.id;\n",
    "people.delete.sql": "DELETE FROM {gen}names WHERE id = :old.id;\n",
}


def test_a_model_follows_a_label(graph, make, serve):
    model = {name: text.replace("{gen}", "") for name, text in MODEL.items()}
    book = make(model=model)
    graph.cypher("CREATE (:people {id: 1, name: 'a'}), (:people {id: 2, name: 'b'})")
    server = serve(book)

    def names():
        return server.book.json("sql", "SELECT * FROM names ORDER BY id")
    wait_for(lambda: [list(row.values()) for row in names()] == [[1, "a"], [2, "b"]])
    graph.cypher("MATCH (n:people {id: 1}) DELETE n")
    graph.cypher("MATCH (n:people {id: 2}) SET n.name = 'c'")
    wait_for(lambda: [list(row.values()) for row in names()] == [[2, "c"]])


def test_check_names_what_is_wrong(binary, tmp_path, data):
    folder = tmp_path / "book"

    def faults(*table, model=None):
        write_book(folder, "http://127.0.0.1:1/neo4j", table, model)
        return Book(binary, folder, data).run("check", status=1).text
    assert "the label `people` of users has no `key`" in faults()
    (folder / "services" / "users.yaml").write_text(
        "database: source\ntables:\n  people:\n    capture: cdc\n", encoding="utf-8")
    assert "Neo4j does not tell its changes" in Book(binary, folder, data).run(
        "check", status=1).text
    (folder / "book.yaml").write_text("book: copy\ndatabases:\n  source: sqlite:a.db\n",
                                      encoding="utf-8")
    (folder / "services" / "users.yaml").write_text(
        "database: source\ntables:\n  people:\n    capture: polling\n    key: id\n",
        encoding="utf-8")
    assert "`key` of `users.people` belongs to Neo4j's labels" in Book(binary, folder, data).run(
        "check", status=1).text
