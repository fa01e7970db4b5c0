# SPDX-License-Identifier: Apache-2.0
"""Every kind of database holds what the events say: four models of one book, side by side, while
the daemon, each server and each connection are ended at every message of a batch.

The oracle is worked out from the events that were appended. DAYBOOK_CONFORMANCE_RUNS asks for more
runs than a test needs, DAYBOOK_CONFORMANCE_SEED for others; tests/torture/conformance.py does many,
and goes on where it was ended.
"""
import argparse
import collections
import importlib.util
import json
import os
import pathlib
import random
import sqlite3
import time
import uuid

import pytest
import retail
from conftest import ROOT, Book, Server, missing
from services.ferretdb import FerretDB
from services.neo4j import Neo4j
from services.postgres import Missing, Postgres
from services.proxy import Proxy, http_messages, mongodb_messages

REAL = pathlib.Path(os.environ.get(
    "DAYBOOK_RETAIL", ROOT.parent / "shared" / "data" / "online-retail.csv.zst"))
RUNS = int(os.environ.get("DAYBOOK_CONFORMANCE_RUNS", "14"))
SEED = int(os.environ.get("DAYBOOK_CONFORMANCE_SEED", "1"))

SQL_SCHEMA = """CREATE TABLE accounts_{0} (id TEXT PRIMARY KEY,
    balance BIGINT NOT NULL CHECK (balance >= 0), events BIGINT NOT NULL, log TEXT NOT NULL);
CREATE TABLE amounts_{0} (amount BIGINT PRIMARY KEY, times BIGINT NOT NULL);
"""
SQL_HANDLERS = """-- on: Opened
INSERT INTO accounts_{0} (id, balance, events, log) VALUES (:_stream, 0, 1, 'o');
-- on: Paid
UPDATE accounts_{0} SET balance = balance + :amount, events = events + 1, log = log || 'p'
WHERE id = :_stream;
INSERT INTO amounts_{0} AS a (amount, times) VALUES (:amount, 1)
ON CONFLICT (amount) DO UPDATE SET times = a.times + 1;
-- on: Taken
UPDATE accounts_{0} SET balance = balance - :amount, events = events + 1, log = log || 't'
WHERE id = :_stream;
-- on: Closed
DELETE FROM accounts_{0} WHERE id = :_stream;
"""
CYPHER = {
    "schema": "CREATE CONSTRAINT {gen}account IF NOT EXISTS FOR (a:{gen}Account) "
              "REQUIRE a.id IS UNIQUE;\n"
              "CREATE CONSTRAINT {gen}amount IF NOT EXISTS FOR (n:{gen}Amount) "
              "REQUIRE n.amount IS UNIQUE;\n",
    "Opened": "CREATE (a:{gen}Account {id: $_stream, balance: 0, events: 1, log: 'o'})\n",
    "Paid": "MATCH (a:{gen}Account {id: $_stream})\n"
            "SET a.balance = a.balance + $amount, a.events = a.events + 1, a.log = a.log + 'p'\n"
            "MERGE (n:{gen}Amount {amount: $amount}) SET n.times = coalesce(n.times, 0) + 1\n",
    "Taken": "MATCH (a:{gen}Account {id: $_stream})\n"
             "SET a.balance = a.balance - $amount, a.events = a.events + 1, a.log = a.log + 't'\n",
    "Closed": "MATCH (a:{gen}Account {id: $_stream}) DETACH DELETE a\n",
}
DOCUMENTS = {
    "schema": '{"create": "{gen}Account"}\n{"create": "{gen}Amount"}\n',
    "Opened": '{"insert": "{gen}Account", "documents": [\n'
              '  {"_id": ":_stream", "balance": 0, "events": 1, "log": ["o"]}]}\n',
    "Paid": '{"update": "{gen}Account", "updates": [{"q": {"_id": ":_stream"},\n'
            '  "u": {"$inc": {"balance": ":amount", "events": 1}, "$push": {"log": "p"}}}]}\n'
            '{"update": "{gen}Amount", "updates": [{"q": {"_id": ":amount"},\n'
            '  "u": {"$inc": {"times": 1}}, "upsert": true}]}\n',
    "Closed": '{"delete": "{gen}Account", "deletes": [{"q": {"_id": ":_stream"}, "limit": 1}]}\n',
}
# What is taken comes as a number below zero, too: commands do not compute.
DOCUMENTS["Taken"] = DOCUMENTS["Paid"].split('{"update": "{gen}Amount"')[0].replace(
    '":amount"', '":change"').replace('"p"', '"t"')


class InSqlite:
    """A file: it has no server and no messages, and is hit by what ends the daemon."""
    name = "file"
    address = "sqlite:reading.db"
    server = proxy = None

    def __init__(self, folder):
        self.path = folder / "data" / "reading.db"

    def write(self, folder):
        (folder / "schema.sql").write_text(SQL_SCHEMA.format(self.name), encoding="utf-8")
        (folder / "handlers.sql").write_text(SQL_HANDLERS.format(self.name), encoding="utf-8")

    def rows(self):
        database = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        try:
            accounts = database.execute("SELECT id, balance, events, log FROM accounts_file")
            amounts = database.execute("SELECT amount, times FROM amounts_file")
            return ({row[0]: list(row[1:]) for row in accounts}, dict(amounts.fetchall()))
        finally:
            database.close()


class InPostgres:
    name = "tables"
    address = "postgres:file:secrets/tables"

    def __init__(self, folder):
        self.server = Postgres()
        self.proxy = Proxy(self.server.port)
        (folder / "secrets/tables").write_text(
            f"host=127.0.0.1 port={self.proxy.port} user=postgres dbname=postgres "
            "sslmode=disable gssencmode=disable\n", encoding="utf-8")

    def write(self, folder):
        (folder / "schema.sql").write_text(SQL_SCHEMA.format(self.name), encoding="utf-8")
        (folder / "handlers.sql").write_text(SQL_HANDLERS.format(self.name), encoding="utf-8")

    def rows(self):
        accounts = self.server.sql("SELECT id, balance, events, log FROM accounts_tables")
        amounts = self.server.sql("SELECT amount, times FROM amounts_tables")
        return ({row[0]: [int(row[1]), int(row[2]), row[3]] for row in accounts},
                {int(amount): int(times) for amount, times in amounts})


class InNeo4j:
    name = "graph"
    address = "neo4j:file:secrets/graph"

    def __init__(self, folder):
        self.server = Neo4j()
        self.proxy = Proxy(self.server.port, http_messages)
        (folder / "secrets/graph").write_text(self.server.connection(self.proxy.port) + "\n",
                                              encoding="utf-8")

    def write(self, folder):
        for name, text in CYPHER.items():
            (folder / f"{name}.cypher").write_text(text, encoding="utf-8")

    def rows(self):
        accounts = self.server.cypher("MATCH (a:`graph__g1_Account`) "
                                      "RETURN a.id, a.balance, a.events, a.log")
        amounts = self.server.cypher("MATCH (n:`graph__g1_Amount`) RETURN n.amount, n.times")
        return ({row[0]: row[1:] for row in accounts}, dict(map(tuple, amounts)))


class InMongoDB:
    """Without transactions: each document says which event changed it last."""
    name = "documents"
    address = "mongodb:file:secrets/documents"

    def __init__(self, folder):
        self.server = FerretDB()
        self.proxy = Proxy(self.server.port, mongodb_messages)
        (folder / "secrets/documents").write_text(self.server.connection(self.proxy.port) + "\n",
                                                  encoding="utf-8")

    def write(self, folder):
        for name, text in DOCUMENTS.items():
            (folder / f"{name}.json").write_text(text, encoding="utf-8")

    def rows(self):
        return ({one["_id"]: [one["balance"], one["events"], "".join(one["log"])]
                 for one in self.server.find("documents__g1_Account")},
                {one["_id"]: one["times"] for one in self.server.find("documents__g1_Amount")})


TARGETS = [InSqlite, InPostgres, InNeo4j, InMongoDB]


class Bench:
    """A book with a model in each kind of database, and what the events come to."""

    def __init__(self, binary, folder):
        for part in ("secrets", "data"):
            (folder / part).mkdir()
        self.targets = []
        try:
            for target in TARGETS:
                self.targets.append(target(folder))
        except BaseException:
            self.close()
            raise
        databases = "".join(f"  {one.name}: {one.address}\n" for one in self.targets)
        (folder / "book.yaml").write_text(
            f"book: conformance\nschema: off\ndatabases:\n{databases}", encoding="utf-8")
        for one in self.targets:
            (folder / "models" / one.name).mkdir(parents=True)
            (folder / "models" / one.name / "model.yaml").write_text(
                f"database: {one.name}\nsync: events\nsource: [account]\n", encoding="utf-8")
            one.write(folder / "models" / one.name)
        self.book = Book(binary, folder, folder / "data")
        self.accounts = {}
        self.amounts = collections.Counter()
        self.next = 0
        self.last = 0
        self.server = Server(self.book)

    def close(self):
        for one in self.targets:
            if one.proxy:
                one.proxy.close()
                one.server.close()

    def draw(self, chance):
        """An event that may come now."""
        open_now = [name for name, row in self.accounts.items() if row]
        kind = chance.choices(["Opened", "Paid", "Taken", "Closed"], [2, 8, 4, 1])[0]
        if kind == "Opened" or not open_now:
            self.next += 1
            stream, kind, data = f"account-{self.next}", "Opened", {}
            self.accounts[stream] = [0, 1, "o"]
            return {"stream": stream, "type": kind, "data": data}
        stream = chance.choice(open_now)
        row = self.accounts[stream]
        if kind == "Closed":
            self.accounts[stream] = None
            return {"stream": stream, "type": kind, "data": {}}
        amount = chance.randint(1, 9)
        if kind == "Taken" and row[0] < amount:
            kind = "Paid"
        row[0] += amount if kind == "Paid" else -amount
        row[1] += 1
        row[2] += kind[0].lower()
        self.amounts[amount] += kind == "Paid"
        data = {"amount": amount} if kind == "Paid" else {"amount": amount, "change": -amount}
        return {"stream": stream, "type": kind, "data": data}

    def append(self, chance, count):
        """Events have ids: what a killed daemon did not answer is sent again."""
        while count > 0:
            size = min(count, chance.choice([1, 2, 5, 20]))
            count -= size
            events = [self.draw(chance) | {"id": str(uuid.UUID(int=chance.getrandbits(128),
                                                               version=4))}
                      for _ in range(size)]
            self.send({"events": events})

    def send(self, body):
        for _ in range(50):
            try:
                answer = self.server.post("/events", body)
            except OSError:
                self.revive()
                continue
            assert answer.status in (200, 201), answer
            self.last = answer.json["position"]
            return
        raise AssertionError("nothing was answered")

    def revive(self):
        """The daemon again, once it is gone."""
        self.server.process.wait(30)
        self.server.process.communicate()
        self.server = Server(self.book)

    def kill_daemon(self):
        if self.server.process.poll() is None:
            self.server.process.kill()

    def status(self):
        """Of all models, by name."""
        for _ in range(50):
            try:
                return {one["name"]: one for one in self.server.get("/models").json["models"]}
            except OSError:
                self.revive()
        raise AssertionError("nothing was answered")

    def settle(self, seconds=120, mend=lambda: None):
        end = time.monotonic() + seconds
        while True:
            mend()
            found = self.status()
            if all(one["position"] >= self.last for one in found.values()):
                return
            assert time.monotonic() < end, json.dumps(found)
            time.sleep(0.02)

    def check(self):
        accounts = {name: row for name, row in self.accounts.items() if row}
        amounts = {amount: times for amount, times in self.amounts.items() if times}
        for one in self.targets:
            found = one.rows()
            assert found == (accounts, amounts), one.name


@pytest.fixture(scope="module")
def bench(binary, tmp_path_factory):
    try:
        made = Bench(binary, tmp_path_factory.mktemp("conformance"))
    except Missing as why:
        missing(str(why))
    yield made
    made.server.stop()
    made.close()


def strike(bench, chance, target, number, killed):
    """One fault, at one of the first messages of what comes next. killed gets a server that is."""
    at = 1 + number % 11
    after = number // 11 % 2 == 1
    kind = chance.choices(["cut", "reset", "delay", "daemon", "server"], [4, 4, 1, 3, 1])[0]
    if kind == "server" and isinstance(target, InNeo4j) and chance.random() < 0.7:
        kind = "cut"  # its start takes long
    if kind in ("cut", "reset"):
        target.proxy.arm(at, after=after, reset=kind == "reset")
    elif kind == "delay":
        target.proxy.delay_s = 0.05
    elif kind == "daemon":
        target.proxy.arm(at, after=after, action=bench.kill_daemon)
    else:
        target.proxy.arm(at, after=after, action=lambda: killed.append(target.server.kill()))
    return kind


def run(bench, seed, number):
    """One run: a fault, events, and all databases against the oracle. What it was, and whether it
    came to pass."""
    chance = random.Random(seed * 100000 + number)
    target = chance.choice([one for one in bench.targets if one.proxy])
    killed = []
    kind = strike(bench, chance, target, number, killed)
    struck = target.proxy.cuts
    bench.append(chance, chance.randint(5, 80))
    if kind == "server":
        # The others go on without it.
        for other in bench.targets:
            if other is not target:
                end = time.monotonic() + 60
                while bench.status()[other.name]["position"] < bench.last:
                    assert time.monotonic() < end, bench.status()
                    time.sleep(0.02)

    def mend():
        """A server is started again, also one that is only hit by a later try."""
        while killed:
            target.server.start()
            killed.pop()

    bench.settle(mend=mend)
    target.proxy.arm(None)
    mend()  # it went with the last message
    bench.settle()
    target.proxy.delay_s = 0
    bench.check()
    return target.name, kind, target.proxy.cuts > struck or kind == "delay"


def test_they_hold_what_the_events_say(bench):
    counts = collections.Counter()
    for number in range(RUNS):
        _, kind, struck = run(bench, SEED, number)
        counts[kind] += struck
    print(dict(counts))
    assert sum(counts.values()) > RUNS // 2


def test_online_retail_has_the_same_totals(bench, binary, tmp_path):
    """The first lines of the real file; a file of its shape where that is not there. The comparison
    is the script's, which also measures."""
    spec = importlib.util.spec_from_file_location("retail_targets",
                                                  ROOT / "tests" / "torture" / "retail.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    rows, data = 400, REAL
    if not REAL.is_file():
        rows, data = 0, tmp_path / "made.csv"
        data.write_bytes(retail.make(rows=400, seed=7, faults=False)[0])
    options = argparse.Namespace(data=data, rows=rows, product="85123A", binary=binary, hand=False)
    script.compare(options, tmp_path, [one.server for one in bench.targets if one.server])
