# SPDX-License-Identifier: Apache-2.0
"""`on_error: set-aside`: what a handler cannot digest becomes a letter, all else is posted exactly
once, in every target, whatever is killed; a letter is retried exactly once, or dropped."""
import contextlib
import itertools
import random
import shutil
import sqlite3
import subprocess
import time

import pytest
from conftest import Book, Server, killed_at, missing
from services.ferretdb import FerretDB
from services.mongod import Mongod
from services.neo4j import Neo4j
from services.postgres import Missing, Postgres

SETTINGS = """sync: {sync}
source: [entry]
on_error: {on_error}
"""
# Totals change before the entry is refused: what a handler did before it failed is taken back.
SQL_SCHEMA = """CREATE TABLE totals (stream text PRIMARY KEY, amount bigint NOT NULL,
    posted bigint NOT NULL);
CREATE TABLE entries (n bigint PRIMARY KEY, amount bigint NOT NULL CHECK (amount > 0));
"""
SQL_HANDLERS = """-- on: Entered
INSERT INTO totals VALUES (:_stream, :amount, 1) ON CONFLICT (stream) DO UPDATE
    SET amount = totals.amount + excluded.amount, posted = totals.posted + 1;
INSERT INTO entries VALUES (:n, :amount);

-- on: Removed
DELETE FROM entries WHERE n = :n;
"""
CYPHER_SCHEMA = """CREATE CONSTRAINT {gen}total IF NOT EXISTS FOR (t:{gen}Total)
REQUIRE t.stream IS UNIQUE;
CREATE CONSTRAINT {gen}entry IF NOT EXISTS FOR (e:{gen}Entry) REQUIRE e.n IS UNIQUE;
"""
CYPHER_HANDLERS = {
    "Entered": "MERGE (t:{gen}Total {stream: $_stream}) ON CREATE SET t.amount = 0, t.posted = 0\n"
               "SET t.amount = t.amount + $amount, t.posted = t.posted + 1\n"
               "CREATE (e:{gen}Entry {n: $n})\n"
               "SET e.amount = $amount, e.checked = 1 / CASE WHEN $amount > 0 THEN 1 ELSE 0 END\n",
    "Removed": "MATCH (e:{gen}Entry {n: $n}) DELETE e\n",
}
COMMANDS = {
    "schema": '{"create": "{gen}Total"}\n'
              '{"create": "{gen}Entry", "validator": {"amount": {"$gt": 0}}}\n',
    "Entered": '{"update": "{gen}Total", "updates": [{"q": {"_id": ":_stream"},\n'
               '  "u": {"$inc": {"amount": ":amount", "posted": 1}}, "upsert": true}]}\n'
               '{"insert": "{gen}Entry", "documents": [{"_id": ":n", "amount": ":amount"}]}\n',
    "Removed": '{"delete": "{gen}Entry", "deletes": [{"q": {"_id": ":n"}, "limit": 1}]}\n',
}
# FerretDB has no validators: there a text is what nothing can be added to.
FERRETDB_COMMANDS = {
    "schema": '{"create": "{gen}Total"}\n{"create": "{gen}Entry"}\n',
    "Entered": COMMANDS["Entered"] +
    '{"update": "{gen}Entry", "updates": [{"q": {"_id": ":n"}, '
    '"u": {"$inc": {"checked": ":checked"}}}]}\n',
    "Removed": COMMANDS["Removed"],
}
NUMBERS = itertools.count(1)
MODEL = "ledger"


def write_book(folder, address, sync="events", on_error="set-aside", commands=None):
    model = folder / "models" / MODEL
    model.mkdir(parents=True)
    (folder / "book.yaml").write_text(
        f"book: ledger\nschema: off\ndatabases:\n  reading: {address}\n", encoding="utf-8")
    (model / "model.yaml").write_text(SETTINGS.format(sync=sync, on_error=on_error),
                                      encoding="utf-8")
    if address.startswith("neo4j"):
        (model / "schema.cypher").write_text(CYPHER_SCHEMA, encoding="utf-8")
        for name, text in CYPHER_HANDLERS.items():
            (model / f"{name}.cypher").write_text(text, encoding="utf-8")
    elif address.startswith("mongodb"):
        for name, text in (commands or COMMANDS).items():
            (model / f"{name}.json").write_text(text, encoding="utf-8")
    else:
        (model / "schema.sql").write_text(SQL_SCHEMA, encoding="utf-8")
        (model / "handlers.sql").write_text(SQL_HANDLERS, encoding="utf-8")


class Sqlite:
    share = 1  # of the events that are many
    sync = "events"
    server = None
    address = "sqlite:reading.db"

    def rows(self, book):
        with contextlib.closing(sqlite3.connect(f"{book.data}/reading.db")) as database:
            totals = {s: (a, e) for s, a, e in database.execute("SELECT * FROM totals")}
            return totals, dict(database.execute("SELECT * FROM entries"))

    def count(self, book, table):
        with contextlib.closing(sqlite3.connect(f"{book.data}/reading.db")) as database:
            return database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    def marks(self, book):
        with contextlib.closing(sqlite3.connect(f"{book.data}/reading.db")) as database:
            return database.execute("SELECT count(*) FROM _daybook_letters").fetchone()[0]


class Transaction(Sqlite):
    sync = "transaction"


class InPostgres:
    share = 1
    sync = "events"
    address = "postgres:file:secret"

    def __init__(self):
        self.server = Postgres()
        self.database = None

    def fresh(self):
        self.database = f"letters_{next(NUMBERS)}"
        return self.server.create(self.database)

    def rows(self, _):
        totals = self.server.sql("SELECT * FROM totals", self.database)
        entries = self.server.sql("SELECT * FROM entries", self.database)
        return ({s: (int(a), int(e)) for s, a, e in totals},
                {int(n): int(a) for n, a in entries})

    def count(self, _, table):
        return int(self.server.sql(f"SELECT count(*) FROM {table}", self.database)[0][0])

    def marks(self, _):
        return int(self.server.sql("SELECT count(*) FROM _daybook_letters", self.database)[0][0])


class InNeo4j:
    share = 1
    sync = "events"
    address = "neo4j:file:secret"

    def __init__(self):
        self.server = Neo4j()

    def fresh(self):
        self.server.clear()
        return self.server.connection()

    def label(self, name):
        (number,), = self.server.cypher(
            f"MATCH (m:_DaybookModel {{model: '{MODEL}', serving: true}}) RETURN m.generation")
        return f"`{MODEL}__g{number}_{name}`"

    def rows(self, _):
        totals = self.server.cypher(f"MATCH (t:{self.label('Total')}) "
                                    "RETURN t.stream, t.amount, t.posted")
        entries = self.server.cypher(f"MATCH (e:{self.label('Entry')}) RETURN e.n, e.amount")
        return {s: (a, e) for s, a, e in totals}, dict(entries)

    def marks(self, _):
        return self.server.cypher("MATCH (m:_DaybookModel) "
                                  "RETURN sum(size(coalesce(m.retried, [])))")[0][0]


class InMongoDB:
    """With transactions, which a program of ours stands in for."""
    share = 1
    sync = "events"
    address = "mongodb:file:secret"

    def __init__(self):
        self.server = Mongod()

    def fresh(self):
        self.server.clear()
        return self.server.connection()

    def documents(self, name):
        number, = [one["generation"] for one in self.server.find("_daybook_serving")]
        return self.server.find(f"{MODEL}__g{number}_{name}")

    def rows(self, _):
        return ({one["_id"]: (one["amount"], one["posted"]) for one in self.documents("Total")},
                {one["_id"]: one["amount"] for one in self.documents("Entry")})

    def marks(self, _):
        return sum(len(one.get("retried", [])) for one in self.server.find("_daybook_models"))


class Guarded(InMongoDB):
    """Without them."""
    share = 2

    def __init__(self):
        self.server = Mongod(transactions=False)


class InFerretDB(InMongoDB):
    share = 8  # it does some hundred updates a second
    commands = FERRETDB_COMMANDS

    def __init__(self):
        self.server = FerretDB()


KINDS = {"sqlite": Sqlite, "transaction": Transaction, "postgres": InPostgres, "neo4j": InNeo4j,
         "mongodb": InMongoDB, "guarded": Guarded, "ferretdb": InFerretDB}


@pytest.fixture(scope="module", params=KINDS)
def target(request):
    try:
        made = KINDS[request.param]()
    except Missing as why:
        missing(str(why))
    yield made
    if made.server is not None:
        made.server.close()


def book_on(target, binary, tmp_path, **options):
    folder = tmp_path / "book"
    write_book(folder, target.address, target.sync, commands=getattr(target, "commands", None),
               **options)
    if target.server is not None:
        (folder / "secret").write_text(target.fresh() + "\n", encoding="utf-8")
    return Book(binary, folder, tmp_path / "data")


@pytest.fixture
def book(target, binary, tmp_path):
    return book_on(target, binary, tmp_path)


def entered(stream, n, amount):
    return {"stream": f"entry-{stream}", "type": "Entered",
            "data": {"n": n, "amount": amount, "checked": 1 if amount > 0 else "no"}}


def removed(n):
    return {"stream": "entry-removals", "type": "Removed", "data": {"n": n}}


def some_events(seed, count=240):
    """About every tenth cannot be posted: its number was there before, or it has no amount."""
    chance = random.Random(seed)
    events = []
    for n in range(count):
        kind = chance.random()
        number = chance.randrange(n) if kind < 0.06 and n > 0 else n
        events.append(entered(chance.randrange(7), number,
                              chance.randrange(1, 50) if kind < 0.94 else -1))
    return events


class Oracle:
    def __init__(self):
        self.totals, self.entries, self.letters = {}, {}, []

    def post(self, position, event):
        stream, data = event["stream"], event["data"]
        if event["type"] == "Removed":
            self.entries.pop(data["n"], None)
        elif data["amount"] <= 0 or data["n"] in self.entries:
            return False
        else:
            amount, count = self.totals.get(stream, (0, 0))
            self.totals[stream] = (amount + data["amount"], count + 1)
            self.entries[data["n"]] = data["amount"]
        return True

    def all(self, events):
        """events: pairs of position and event."""
        for position, event in events:
            if not self.post(position, event):
                self.letters.append(position)
        return self

    @property
    def rows(self):
        return self.totals, self.entries


def append(server, events, size=40):
    """The events with their positions."""
    placed = []
    for at in range(0, len(events), size):
        part = events[at:at + size]
        answer = server.post("/events", {"events": part})
        assert answer.status in (200, 201), answer
        placed += zip(range(answer.json["first_position"], answer.json["position"] + 1), part)
    return placed


def catch_up(book, position):
    book.run("model", "read", MODEL, "entries", "--limit", 1, "--after", position, "--timeout",
             "50 s")


def wait(server, position):
    # Any read that waits will do, in a target that has no tables, too.

    end = time.monotonic() + 50
    while server.get(f"/models/{MODEL}").json["position"] < position:
        assert time.monotonic() < end, server.get(f"/models/{MODEL}").text
        time.sleep(0.02)


def letters_of(server):
    return server.get(f"/models/{MODEL}/letters").json["letters"]


def check(target, book, server, oracle):
    assert target.rows(book) == oracle.rows
    assert [letter["position"] for letter in letters_of(server)] == oracle.letters


def test_all_but_what_fails_is_posted(book, target, serve):
    server = serve(book)
    placed = append(server, some_events(1, 240 // target.share))
    last = placed[-1][0]
    wait(server, last)
    oracle = Oracle().all(placed)
    assert len(oracle.letters) > 10 / target.share
    check(target, book, server, oracle)
    row = server.get(f"/models/{MODEL}").json
    assert (row["state"], row["letters"], row["on_error"]) == \
        ("following", len(oracle.letters), "set-aside")
    assert row["failures"] == len(oracle.letters) and row["error"] is None
    assert f'daybook_model_letters{{model="ledger"}} {len(oracle.letters)}' in \
        server.get("/metrics").text
    health = server.get("/healthz")
    assert health.status == 200 and health.json["models"][0]["letters"] == len(oracle.letters)
    # Each says what it is about, and why.
    events = dict(placed)
    for letter in letters_of(server):
        assert letter["stream"] == events[letter["position"]]["stream"]
        assert (letter["type"], letter["tries"], letter["generation"]) == ("Entered", 1, 1)
        assert f"event {letter['position']}, " in letter["reason"]
        assert any(file in letter["reason"]
                   for file in ("Entered.cypher:", "Entered.json:", "handlers.sql:"))
    one = server.get(f"/models/{MODEL}/letters/{oracle.letters[-1]}").json
    assert one["event"]["data"] == events[oracle.letters[-1]]["data"]
    # They are known to the next process, and to one that only reads.
    server.stop()
    server = serve(book)
    check(target, book, server, oracle)
    assert server.get(f"/models/{MODEL}").json["letters"] == len(oracle.letters)
    assert book.json("model", "letters", MODEL) == letters_of(server)


def test_a_new_generation_has_letters_of_its_own(book, target, serve):
    server = serve(book)
    placed = append(server, some_events(2, 120 // target.share))
    wait(server, placed[-1][0])
    oracle = Oracle().all(placed)
    first = oracle.letters[0]
    assert server.post(f"/models/{MODEL}/letters/drop", {"positions": [first]}).json == \
        {"dropped": 1}
    assert [letter["position"] for letter in letters_of(server)] == oracle.letters[1:]
    answer = server.post(f"/models/{MODEL}/rebuild")
    assert (answer.status, answer.json["generation"]) == (200, 2)
    check(target, book, server, oracle)
    assert {letter["generation"] for letter in letters_of(server)} == {2}
    more = append(server, [entered("x", 1000, 5), entered("x", 1000, 5), entered("x", 1001, 5)])
    oracle.all(more)
    wait(server, more[-1][0])
    check(target, book, server, oracle)


def test_a_letter_is_retried_once_and_stays_while_it_fails(book, target, serve):
    server = serve(book)
    placed = append(server, [entered(1, 1, 10), entered(2, 1, 20), entered(3, 2, -1),
                             entered(4, 2, 40)])
    wait(server, placed[-1][0])
    oracle = Oracle().all(placed)
    twice, negative = oracle.letters
    path = f"/models/{MODEL}/letters/retry"
    refused = server.post(path, {"positions": [negative]})
    assert refused.status == 422 and f"event {negative}" in refused.json["detail"]
    assert [(x["position"], x["tries"]) for x in letters_of(server)] == [(twice, 1), (negative, 2)]
    check(target, book, server, oracle)
    placed += append(server, [removed(1)])
    wait(server, placed[-1][0])
    oracle.all(placed[-1:])
    answer = server.post(path)
    assert (answer.json["retried"], answer.json["failed"]) == (1, 1)
    assert f"event {negative}" in answer.json["error"]
    assert oracle.post(twice, placed[1][1])
    oracle.letters.remove(twice)
    check(target, book, server, oracle)
    assert target.marks(book) == 0
    again = server.post(path, {"positions": [twice]})
    assert again.status == 404 and "is no letter of model ledger" in again.json["detail"]
    assert server.post(f"/models/{MODEL}/letters/drop").json == {"dropped": 1}
    oracle.letters = []
    check(target, book, server, oracle)
    server.stop()
    server = serve(book)
    check(target, book, server, oracle)


def test_letters_are_posted_on_what_came_later(book, target, serve):
    """Two of one stream, whose total others have changed since, and change again."""
    server = serve(book)
    placed = append(server, [entered(1, 1, 10), entered(1, 2, 20), entered(5, 1, 100),
                             entered(5, 2, 200), entered(5, 3, 30), removed(1), removed(2)])
    wait(server, placed[-1][0])
    oracle = Oracle().all(placed)
    assert len(oracle.letters) == 2
    answer = server.post(f"/models/{MODEL}/letters/retry")
    assert (answer.json["retried"], answer.json["failed"]) == (2, 0)
    for position in list(oracle.letters):
        assert oracle.post(position, dict(placed)[position])
    oracle.letters = []
    check(target, book, server, oracle)
    assert oracle.totals["entry-5"] == (330, 3) and target.marks(book) == 0
    placed = append(server, [entered(5, 4, 7), removed(3), entered(5, 3, 8)])
    wait(server, placed[-1][0])
    oracle.all(placed)
    check(target, book, server, oracle)


DEFERRED = """CREATE TABLE entries (n bigint PRIMARY KEY, amount bigint NOT NULL CHECK (amount > 0),
    parent bigint REFERENCES entries (n) DEFERRABLE INITIALLY DEFERRED);
"""
DEFERRED_HANDLER = """-- on: Entered
INSERT INTO entries VALUES (:n, :amount, :parent);
"""


def families(seed):
    """Each entry's parent comes later, up to 1,500 events so; some entries are bad, and nobody's
    parents. The last one's parent never comes."""
    chance, events, n = random.Random(seed), [], 0

    def entry(amount, parent=None):
        events.append({"stream": f"entry-{n % 5}", "type": "Entered",
                       "data": {"n": n, "amount": amount, "parent": parent}})

    for family in (3, 40, 2, 1500, 5, 700, 2):
        last = n + family - 1
        while n < last:
            if chance.random() < 0.01:
                entry(-1)
                events[-1]["data"]["n"] = n + 100000
            entry(1, last if chance.random() < 0.5 else n + 1)
            n += 1
        entry(1)
        n += 1
    return events


@pytest.mark.parametrize("on_error", ["set-aside", "stop"])
@pytest.mark.parametrize("target", ["sqlite", "postgres"], indirect=True)
def test_rows_that_wait_for_later_ones_are_nobodys_fault(target, on_error, binary, tmp_path, serve):
    book = book_on(target, binary, tmp_path, on_error=on_error)
    model = book.folder / "models" / MODEL
    (model / "schema.sql").write_text(DEFERRED, encoding="utf-8")
    (model / "handlers.sql").write_text(DEFERRED_HANDLER, encoding="utf-8")
    events = families(11)
    if on_error == "stop":
        events = [event for event in events if event["data"]["amount"] > 0]
    server = serve(book)
    placed = append(server, events, 5000)
    last = placed[-1][0]
    wait(server, last)
    bad = [position for position, event in placed if event["data"]["amount"] < 0]
    assert [letter["position"] for letter in letters_of(server)] == bad
    assert target.count(book, "entries") == len(events) - len(bad)
    if on_error == "stop":
        assert server.get(f"/models/{MODEL}").json["failures"] == 0
        # What stops the model is what fails, not who waited before it.
        rows = [(300000, 1, 300001), (300001, 1, None), (300002, 1, 300003), (300003, -1, None)]
        more = append(server, [{"stream": "entry-1", "type": "Entered", "data":
                                {"n": n, "amount": amount, "parent": parent}}
                               for n, amount, parent in rows])
        end = time.monotonic() + 30
        while (model := server.get(f"/models/{MODEL}").json)["state"] != "stopped":
            assert time.monotonic() < end
        assert f"event {more[3][0]}, " in model["error"] and model["position"] >= more[1][0] - 2
        return
    assert len(bad) > 5
    # One whose parent does not come is set aside, and takes no other with it.
    more = append(server, [{"stream": "entry-1", "type": "Entered",
                            "data": {"n": 200000 + i, "amount": 1,
                                     "parent": 999999 if i == 20 else None}} for i in range(60)])
    wait(server, more[-1][0])
    assert [letter["position"] for letter in letters_of(server)] == [*bad, more[20][0]]
    assert target.count(book, "entries") == len(events) - len(bad) + 59


def test_killed_at_any_time_no_event_is_lost_or_posted_twice(book, target):
    chance = random.Random(7)
    oracle = Oracle()
    for round_number in range(6):
        server = Server(book)
        events = some_events(100 + round_number, 80 // target.share)
        for event in events:
            event["data"]["n"] += round_number * 40 // target.share
        oracle.all(append(server, events, 10 // min(target.share, 5)))
        if chance.random() < 0.5:

            time.sleep(chance.uniform(0, 0.3))
        server.kill()
    server = Server(book)
    wait(server, book.json("read", "--backwards", "--limit", 1)[0]["position"])
    check(target, book, server, oracle)
    server.stop()


# Another session's retry: it holds the model's row until somebody waits for it, posts, and commits.
LATE_RETRY = """BEGIN;
SELECT position FROM _daybook_models WHERE model = '{model}' AND generation = 1 FOR UPDATE;
DO $$ BEGIN
    WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted) LOOP PERFORM pg_sleep(0.01); END LOOP;
END $$;
UPDATE totals__g1 SET amount = amount + 20, posted = posted + 1;
INSERT INTO _daybook_letters VALUES ('{model}', 1, {position}, 1, '');
COMMIT;
"""


def test_a_retry_whose_session_was_lost_is_not_posted_once_more(binary, serve, tmp_path):
    """The server goes on with a transaction whose client is gone, and commits it under the next."""
    try:
        target = InPostgres()
    except Missing as why:
        missing(str(why))
    book = book_on(target, binary, tmp_path)
    server = serve(book)
    placed = append(server, [entered(1, 1, 10), entered(1, 1, 20), removed(1)])
    wait(server, placed[-1][0])
    letter, = [x["position"] for x in letters_of(server)]
    connection = target.server.connection(target.database)
    with subprocess.Popen(["psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", connection, "-c",
                           LATE_RETRY.format(model=MODEL, position=letter)]) as late:
        end = time.monotonic() + 30
        while target.server.sql("SELECT count(*) FROM pg_locks WHERE mode = 'RowShareLock' AND "
                                "relation = '_daybook_models'::regclass",
                                target.database) == [["0"]]:
            assert time.monotonic() < end
            time.sleep(0.01)
        answer = server.post(f"/models/{MODEL}/letters/retry")
        assert late.wait(30) == 0
    assert (answer.status, answer.json["retried"], answer.json["failed"]) == (200, 1, 0), answer
    assert target.rows(book) == ({"entry-1": (30, 2)}, {})
    assert letters_of(server) == [] and target.marks(book) == 0
    target.server.close()


# ---- At every call ----

def test_a_kill_at_every_call_of_setting_aside(binary, kill_at, tmp_path):
    kinds = {"events": Sqlite(), "transaction": Transaction()}
    for sync, target in kinds.items():
        clean = Book(binary, tmp_path / sync / "book", tmp_path / sync / "clean")
        write_book(clean.folder, target.address, sync)
        clean.run("append", "entry-1", "Entered", '{"n":1,"amount":1}')
        catch_up(clean, 1)
        trial = Book(binary, clean.folder, tmp_path / sync / "trial")
        count = tmp_path / sync / "count"
        shutil.copytree(clean.data, trial.data)
        command = trial.command("append", "entry-1", "Entered", '{"n":1,"amount":2}', "--id",
                                "00000000-0000-0000-0000-000000000005")
        assert killed_at(kill_at, command, 0, count).returncode == 0
        calls = int(count.read_text())
        assert calls > 10
        for number in range(1, calls + 1):
            shutil.rmtree(trial.data)
            shutil.copytree(clean.data, trial.data)
            killed_at(kill_at, command, number)
            trial.run(*command[1:7])  # what was not answered is sent again, and stored once
            position = trial.json("read", "entry-1", "--backwards", "--limit", 1)[0]["position"]
            third = trial.run("append", "entry-1", "Entered", '{"n":3,"amount":4}', "-o", "json")
            catch_up(trial, third.json["position"])
            letters = trial.json("model", "letters", MODEL)
            assert [x["position"] for x in letters] == [position], (sync, number)
            assert target.rows(trial) == ({"entry-1": (5, 2)}, {1: 1, 3: 4}), (sync, number)
            history = trial.json("read", "$letters-ledger")
            assert [event["type"] for event in history] == ["LetterKept"], (sync, number)
            assert target.marks(trial) == 0


@pytest.mark.parametrize("sync", ["events", "transaction"])
def test_a_kill_at_every_call_of_a_retry(sync, binary, kill_at, tmp_path):
    target = {"events": Sqlite, "transaction": Transaction}[sync]()
    clean = Book(binary, tmp_path / "book", tmp_path / "clean")
    write_book(clean.folder, target.address, sync)
    for data in ('{"n":1,"amount":1}', '{"n":1,"amount":2}', '{"n":2,"amount":-1}'):
        clean.run("append", "entry-1", "Entered", data)
    clean.run("append", "entry-2", "Removed", '{"n":1}')
    catch_up(clean, clean.json("read", "--backwards", "--limit", 1)[0]["position"])
    twice, negative = [x["position"] for x in clean.json("model", "letters", MODEL)]
    assert target.rows(clean) == ({"entry-1": (1, 1)}, {})
    trial = Book(binary, clean.folder, tmp_path / "trial")
    command = trial.command("model", "retry", MODEL, "--all")
    shutil.copytree(clean.data, trial.data)
    assert killed_at(kill_at, command, 0, tmp_path / "count").returncode == 0
    seen = set()
    for number in range(1, int((tmp_path / "count").read_text()) + 1):
        shutil.rmtree(trial.data)
        shutil.copytree(clean.data, trial.data)
        assert killed_at(kill_at, command, number).returncode in (-9, 0)
        left = [x["position"] for x in trial.json("model", "letters", MODEL)]
        posted = target.rows(trial) == ({"entry-1": (3, 2)}, {1: 2})
        # What is in the tables is no letter any more, what is not is one.
        assert left == ([negative] if posted else [twice, negative]), number
        assert posted or target.rows(trial) == ({"entry-1": (1, 1)}, {}), number
        seen.add(posted)
        if not posted:
            assert trial.json("model", "retry", MODEL, twice) == {"retried": 1, "failed": 0}
        assert trial.run("model", "retry", MODEL, twice, status=1).errors.count("is no letter")
        assert target.rows(trial) == ({"entry-1": (3, 2)}, {1: 2}), number
        assert target.marks(trial) == 0
    assert seen == {True, False}


# ---- What is kept of it ----

PERSONAL_EVENT = """{"versions":[{"version":1,"schema":{"type":"object","x-subject":"customer",
"properties":{"customer":{"type":"string"},"email":{"type":"string","x-personal":true}},
"required":["customer"]}}]}
"""
PERSONAL_MODEL = {
    "model.yaml": "sync: events\nsource: [customer]\non_error: set-aside\npersonal: rebuild\n",
    "schema.sql": "CREATE TABLE customers (email text PRIMARY KEY, customer text);\n",
    "handlers.sql": "-- on: Registered\nINSERT INTO customers VALUES (:email, :customer);\n",
}


def test_no_letter_tells_what_is_personal(binary, serve, tmp_path):
    """PostgreSQL quotes values of the row that it refuses."""
    try:
        target = InPostgres()
    except Missing as why:
        missing(str(why))
    folder = tmp_path / "book"
    model = folder / "models" / "customers"
    model.mkdir(parents=True)
    (folder / "events").mkdir()
    (folder / "book.yaml").write_text(
        "book: shop\ndatabases:\n  reading: postgres:file:secret\n", encoding="utf-8")
    (folder / "secret").write_text(target.fresh() + "\n", encoding="utf-8")
    (folder / "events" / "Registered.schema.json").write_text(PERSONAL_EVENT, encoding="utf-8")
    for name, text in PERSONAL_MODEL.items():
        (model / name).write_text(text, encoding="utf-8")
    book = Book(binary, folder, tmp_path / "data")
    server = serve(book)
    for customer in ("7", "8"):
        last = server.post("/events", {"events": [
            {"stream": f"customer-{customer}", "type": "Registered",
             "data": {"customer": customer, "email": "anna@example.org"}}]}).json["position"]
    wait_name(server, "customers", last)
    (letter,) = server.get("/models/customers/letters").json["letters"]
    assert "models/customers/handlers.sql:2: a constraint refused it" in letter["reason"]
    # Who asks is told once, and it is kept nowhere.
    refused = server.post("/models/customers/letters/retry")
    assert refused.status == 422 and "anna@example.org" in refused.json["detail"]
    path = f"/models/customers/letters/{letter['position']}"
    assert server.get(path).json["event"]["data"]["email"] == "anna@example.org"
    assert server.post("/subjects/8/forget?wait").status == 200
    # What was forgotten is no value of the other's any more: the new generation has both.
    assert server.get("/models/customers/letters").json["letters"] == []
    server.stop()
    for file in book.data.rglob("*"):
        assert not file.is_file() or b"anna@" not in file.read_bytes(), file
    target.server.close()


def wait_name(server, model, position):
    end = time.monotonic() + 50
    while server.get(f"/models/{model}").json["position"] < position:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_model_as_of_a_time_says_what_it_is_without(binary, tmp_path):
    book = book_on(Sqlite(), binary, tmp_path)
    for data in ('{"n":1,"amount":1}', '{"n":1,"amount":2}', '{"n":2,"amount":3}'):
        book.run("append", "entry-1", "Entered", data)
    for built in ("now", "before"):
        row = book.json("model", "as-of", MODEL, "2100-01-01")
        assert (row["letters"], row["built"]) == (1, built)
    with sqlite3.connect(row["file"]) as database:
        assert database.execute("SELECT n FROM entries ORDER BY n").fetchall() == [(1,), (2,)]
        (position, reason), = database.execute("SELECT position, reason FROM _daybook_letters")
        assert position == 2 and "UNIQUE constraint failed" in reason


def test_a_book_that_takes_one_event_at_a_time_keeps_letters_too(binary, serve, tmp_path):
    book = book_on(Sqlite(), binary, tmp_path)
    with open(book.folder / "book.yaml", "a", encoding="utf-8") as file:
        file.write("limits: {batch_events: 1}\n")
    server = serve(book)
    placed = append(server, [entered(1, n, -1) for n in range(3)], 1)
    wait(server, placed[-1][0])
    assert server.post(f"/models/{MODEL}/letters/retry").status == 422
    assert [letter["tries"] for letter in letters_of(server)] == [2, 2, 2]


def test_a_table_that_is_gone_is_no_event_s_fault(binary, serve, tmp_path):
    try:
        target = InPostgres()
    except Missing as why:
        missing(str(why))
    check_gone_table(book_on(target, binary, tmp_path), serve, lambda: target.server.sql(
        'DROP TABLE "entries__g1" CASCADE', target.database))
    target.server.close()


def test_a_table_that_is_gone_from_a_file_is_no_event_s_fault(binary, serve, tmp_path):
    book = book_on(Sqlite(), binary, tmp_path)

    def drop():
        with contextlib.closing(sqlite3.connect(f"{book.data}/reading.db")) as database:
            database.execute("DROP TABLE entries__g1")

    check_gone_table(book, serve, drop)


def check_gone_table(book, serve, drop):
    server = serve(book)
    placed = append(server, [entered(1, 1, 1)])
    wait(server, placed[-1][0])
    drop()
    append(server, [entered(1, 2, 1)])
    end = time.monotonic() + 30
    while server.get(f"/models/{MODEL}").json["state"] != "stopped":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert letters_of(server) == []
