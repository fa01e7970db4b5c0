# SPDX-License-Identifier: Apache-2.0
"""Capture of a PostgreSQL database, on a real server: the book's events replay to exactly the
source's rows, whatever is killed meanwhile; and what goes wrong is named."""
import itertools
import json
import os
import random
import threading
import time

import pytest
from conftest import Book, Server, missing
from services.postgres import Missing, Postgres, SaysVersion
from services.proxy import Proxy

# The least memory for decoding: transactions of more than a few rows are streamed before they end.
SETTINGS = ["wal_level = logical", "max_replication_slots = 40", "max_wal_senders = 40",
            "logical_decoding_work_mem = 64kB"]


@pytest.fixture(scope="module")
def postgres():
    try:
        server = Postgres(settings=SETTINGS)
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


NUMBERS = itertools.count(1)


@pytest.fixture
def database(postgres):
    name = f"capture_{next(NUMBERS)}"
    postgres.create(name)
    yield name
    # A slot that is left keeps the write-ahead log of all.
    postgres.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                 f"WHERE database = '{name}' AND active")
    for attempt in range(50):
        try:
            postgres.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                         f"WHERE database = '{name}'")
            break
        except AssertionError:
            if attempt == 49:
                raise
            time.sleep(0.1)


PEOPLE = """CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, email text,
    balance numeric(30, 10), at timestamptz, tags jsonb, photo bytea,
    active boolean DEFAULT true)"""
SERVICE = "database: source\ntables:\n  people:\n    capture: cdc\n"


def write_book(folder, connection, service=SERVICE):
    for part in ("secrets", "services"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "secrets" / "source").write_text(connection + "\n", encoding="utf-8")
    (folder / "book.yaml").write_text(
        "book: copy\ndatabases:\n  source: postgres:file:secrets/source\n", encoding="utf-8")
    (folder / "services" / "users.yaml").write_text(service, encoding="utf-8")


@pytest.fixture
def book(binary, tmp_path, postgres, database, data):
    folder = tmp_path / "book"
    write_book(folder, postgres.connection(database))
    return Book(binary, folder, data)


def events_of(book, *options):
    return book.run("read", "-o", "jsonl", *options).lines


def rows_of(events, table="people"):
    """What the events replay to: the last image of each stream. Each event must fit the one before
    it."""
    rows = {}
    for event in events:
        if event["type"] not in (f"{table}.insert", f"{table}.update", f"{table}.delete"):
            continue
        stream, data = event["stream"], event["data"]
        assert data.get("old") == rows.get(stream), event
        change = event["type"].rsplit(".", 1)[1]
        assert (change == "insert") == ("old" not in data), event
        assert (change == "delete") == ("new" not in data), event
        assert data.get("new") != data.get("old"), event
        if change == "delete":
            del rows[stream]
        else:
            rows[stream] = data["new"]
    return list(rows.values())


def status(server):
    return server.get("/captures").json["captures"][0]


def settle(server, postgres, database, timeout=60):
    """Waits until the book has all that is committed now."""
    lsn = position(postgres.sql("SELECT pg_current_wal_insert_lsn()", database)[0][0])
    if lsn % 8192 == 24 or lsn % (16 << 20) == 40:
        lsn -= lsn % 8192  # behind a page's header, where nothing was written yet
    end = time.time() + timeout
    while time.time() < end:
        now = status(server)
        if (now["state"] == "streaming" and position(now["position"]) >= lsn
                and now["lag_ms"] == 0):
            return now
        assert now["state"] != "failed", now
        time.sleep(0.02)
    raise AssertionError(status(server))


def position(text):
    high, low = text.split("/") if "/" in text else ("0", "0")
    return int(high, 16) << 32 | int(low, 16)


def test_a_snapshot_and_what_follows_are_one(postgres, database, book, serve):
    postgres.sql(PEOPLE, database)
    postgres.sql("INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 2500) AS i",
                 database)
    server = serve(book)
    settle(server, postgres, database)
    postgres.sql("UPDATE people SET name = 'anna', at = '2026-01-02 03:04:05.5+01', "
                 "tags = '{\"b\": 1, \"a\": [true, null]}', photo = '\\x00ff', "
                 "balance = 12345678901234.0000000001 WHERE id = 7;"
                 "UPDATE people SET name = name WHERE id = 8;"
                 "DELETE FROM people WHERE id = 9; UPDATE people SET id = -10 WHERE id = 10",
                 database)
    settle(server, postgres, database)
    events = events_of(book)
    assert [e["type"] for e in events[2500:]] == [
        "people.update", "people.delete", "people.delete", "people.insert"]
    assert len(events) == 2504
    update = events[2500]
    assert update["stream"] == "users.people-7"
    assert update["data"]["old"]["name"] == "name 7"
    new = update["data"]["new"]
    assert new == {"id": 7, "name": "anna", "email": None, "at": "2026-01-02T02:04:05.500000Z",
                   "balance": "12345678901234.0000000001", "tags": {"a": [True, None], "b": 1},
                   "photo": "AP8=", "active": True}
    assert events[2503]["stream"] == "users.people--10"
    assert len({e["meta"]["source"]["transaction"] for e in events[2500:]}) == 1
    assert all(e["meta"]["source"]["snapshot"] for e in events[:2500])
    rows = {row["id"]: row["name"] for row in rows_of(events)}
    assert rows == {int(i): name for i, name in postgres.sql("SELECT id, name FROM people",
                                                             database)}


# ---- What is committed at once by many, while things are killed ----


class Writers:
    """Sessions that change rows as people do, until they are stopped."""

    def __init__(self, postgres, database, count):
        self.postgres = postgres
        self.database = database
        self.stopping = False
        self.failures = 0
        self.threads = [threading.Thread(target=self._run, args=(n,)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()

    def _run(self, number):
        chance = random.Random(number)
        while not self.stopping:
            script = "".join(self._transaction(chance) for _ in range(20))
            try:
                self.postgres.sql(script, self.database)
            except AssertionError:
                self.failures += 1  # killed, a deadlock, or a key that is there
                time.sleep(0.05)

    def _statement(self, chance):
        i = chance.randrange(300)
        big = f"repeat(md5('{chance.random()}'), {chance.choice([1, 1, 300])})"
        return chance.choice([
            f"INSERT INTO people (id, name, email) VALUES ({i}, 'n{chance.random()}', {big}) "
            "ON CONFLICT (id) DO UPDATE SET name = excluded.name;",
            f"UPDATE people SET name = 'u{chance.random()}' WHERE id = {i};",
            f"UPDATE people SET email = {big} WHERE id = {i};",
            f"UPDATE people SET name = name WHERE id = {i};",
            f"UPDATE people SET id = {1000 + chance.randrange(100000)} WHERE id = {i} "
            f"AND NOT EXISTS (SELECT FROM people WHERE id = {i} + 1);",
            f"DELETE FROM people WHERE id = {i};",
            f"DELETE FROM people WHERE id > 1000 AND id % 7 = {i % 7};",
            f"INSERT INTO people (id, name, email) SELECT i, 'many', {big} FROM generate_series("
            f"{200000 + 50 * i}, {200000 + 50 * i + chance.choice([3, 400])}) AS i "
            "ON CONFLICT (id) DO UPDATE SET email = excluded.email;",
        ])

    def _transaction(self, chance):
        parts = ["BEGIN;"]
        for _ in range(chance.randrange(1, 5)):
            parts.append(self._statement(chance))
            if chance.random() < 0.3:
                parts.append("SAVEPOINT s;" + self._statement(chance) + "ROLLBACK TO s;")
            if chance.random() < 0.2:
                parts.append("SAVEPOINT s;" + self._statement(chance) + "RELEASE s;")
        parts.append(chance.choice(["COMMIT;", "COMMIT;", "COMMIT;", "ROLLBACK;"]))
        return "".join(parts)


def source_rows(postgres, database, table="people"):
    lines = postgres.sql(f"SELECT to_jsonb(t) FROM {table} AS t ORDER BY id", database)
    return [json.loads(line[0]) for line in lines]


def assert_same(book, postgres, database):
    rows = sorted(rows_of(events_of(book)), key=lambda row: row["id"])
    expected = source_rows(postgres, database)
    assert [r["id"] for r in rows] == [r["id"] for r in expected]
    for row, wanted in zip(rows, expected):
        # A column that came behind the row's last change is not in its image.
        missing_columns = {k: v for k, v in wanted.items() if k not in row}
        assert set(missing_columns) <= {"extra"}, (row, wanted)
        assert row == {k: v for k, v in wanted.items() if k in row}


def test_writers_and_kills(postgres, database, binary, tmp_path, data):
    """DAYBOOK_CAPTURE_SECONDS=60 DAYBOOK_CAPTURE_WRITERS=16 for the long run."""
    seconds = float(os.environ.get("DAYBOOK_CAPTURE_SECONDS", "6"))
    count = int(os.environ.get("DAYBOOK_CAPTURE_WRITERS", "4"))
    folder = tmp_path / "book"
    write_book(folder, postgres.connection(database))
    book = Book(binary, folder, data)
    postgres.sql(PEOPLE, database)
    postgres.sql("INSERT INTO people SELECT i, 'name ' || i, repeat(md5(i::text), 300) "
                 "FROM generate_series(1, 3000) AS i", database)
    chance = random.Random(7)
    server = Server(book)
    writers = Writers(postgres, database, count)
    altered = False
    end = time.time() + seconds
    try:
        while time.time() < end:
            time.sleep(chance.uniform(0.1, seconds / 8))
            what = chance.random()
            if what < 0.5:
                server.kill()
                server = Server(book)
            elif what < 0.7:
                postgres.kill()
                postgres.start()
            elif what < 0.85 and not altered:
                postgres.sql("ALTER TABLE people ADD COLUMN extra int DEFAULT 3", database)
                altered = True
            else:
                postgres.sql("TRUNCATE people", database)
        writers.stop()
        settle(server, postgres, database)
    finally:
        writers.stop()
        server.stop()
    assert_same(book, postgres, database)


def test_columns_are_left_out_masked_and_sealed(postgres, database, binary, tmp_path, data, serve):
    folder = tmp_path / "book"
    write_book(folder, postgres.connection(database), """database: source
tables:
  people:
    capture: cdc
    columns: [id, name, email]
    mask: [email]
    subject: id
    personal: [name]
""")
    book = Book(binary, folder, data)
    postgres.sql(PEOPLE, database)
    postgres.sql("INSERT INTO people VALUES (1234, 'Anna Maria', 'a@b.c'), (1235, 'Ben', NULL)",
                 database)
    server = serve(book)
    settle(server, postgres, database)
    postgres.sql("UPDATE people SET email = 'x@y.z', active = false WHERE id = 1234;"
                 "UPDATE people SET name = 'Benjamin' WHERE id = 1235", database)
    settle(server, postgres, database)
    events = events_of(book)
    assert [(e["type"], e["data"].get("new")) for e in events] == [
        ("people.insert", {"id": 1234, "name": "Anna Maria", "email": "***"}),
        ("people.insert", {"id": 1235, "name": "Ben", "email": None}),
        ("people.update", {"id": 1235, "name": "Benjamin", "email": None})]
    stored = b"".join(file.read_bytes() for file in (data / "log").glob("*"))
    assert b"Anna" not in stored and b"a@b.c" not in stored and b"x@y.z" not in stored
    assert server.post("/subjects/1235/forget").status in (200, 202)
    forgotten = events_of(book, "--category", "users.people")[2]["data"]
    assert "$forgotten" in forgotten["new"]["name"]
    postgres.sql("UPDATE people SET name = 'Bob' WHERE id = 1235", database)
    settle(server, postgres, database)
    assert events_of(book)[-1]["data"]["new"]["name"] == "Bob"


def test_a_table_that_changes(postgres, database, book, serve):
    postgres.sql(PEOPLE, database)
    postgres.sql("INSERT INTO people (id, name) SELECT i, 'n' FROM generate_series(1, 50) AS i",
                 database)
    server = serve(book)
    settle(server, postgres, database)
    postgres.sql("ALTER TABLE people ADD COLUMN age int; ALTER TABLE people DROP COLUMN photo;"
                 "UPDATE people SET age = 3 WHERE id = 1;"
                 "CREATE DOMAIN tall AS int; ALTER TABLE people ADD COLUMN height tall;"
                 "UPDATE people SET height = 7 WHERE id = 2;", database)
    settle(server, postgres, database)
    first, second = events_of(book)[-2:]
    assert first["data"]["new"]["age"] == 3 and "photo" not in first["data"]["new"]
    assert "photo" in first["data"]["old"]
    assert second["data"]["new"]["height"] == 7
    postgres.sql("BEGIN; INSERT INTO people (id, name) VALUES (60, 'x'); TRUNCATE people;"
                 "INSERT INTO people (id, name) VALUES (1, 'again'); COMMIT", database)
    settle(server, postgres, database)
    assert [row["name"] for row in rows_of(events_of(book))] == ["again"]
    assert len(events_of(book)) == 50 + 2 + 1 + 51 + 1


def test_full_identity_and_partitions(postgres, database, binary, tmp_path, data, serve):
    folder = tmp_path / "book"
    write_book(folder, postgres.connection(database),
               SERVICE + "  sales:\n    capture: cdc\n")
    book = Book(binary, folder, data)
    postgres.sql(PEOPLE + "; ALTER TABLE people REPLICA IDENTITY FULL;"
                 "CREATE TABLE sales (at date, id int, n int, PRIMARY KEY (at, id)) "
                 "PARTITION BY RANGE (at);"
                 "CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM ('2026-01-01') TO "
                 "('2026-02-01');"
                 "CREATE TABLE sales_2 PARTITION OF sales FOR VALUES FROM ('2026-02-01') TO "
                 "('2026-03-01');"
                 "INSERT INTO people (id, name, email) SELECT i, 'n', repeat(md5(i::text), 300) "
                 "FROM generate_series(1, 20) AS i;"
                 "INSERT INTO sales VALUES ('2026-01-05', 1, 1), ('2026-02-05', 2, 2)", database)
    server = serve(book)
    settle(server, postgres, database)
    postgres.sql("UPDATE people SET name = 'x' WHERE id < 5; DELETE FROM people WHERE id = 6;"
                 "UPDATE people SET id = 100 WHERE id = 7;"
                 "UPDATE sales SET n = 5 WHERE id = 1;"
                 "UPDATE sales SET at = '2026-02-06' WHERE id = 1", database)
    settle(server, postgres, database)
    assert_same(book, postgres, database)
    events = events_of(book)
    assert sorted(row["at"] for row in rows_of(events, "sales")) == ["2026-02-05", "2026-02-06"]
    assert [e["stream"] for e in events if e["type"] == "sales.delete"] == [
        "users.sales-2026-01-05,1"]


def test_an_idle_slot_is_acknowledged(postgres, database, book, serve):
    """Another table's changes are no reason for the server to keep its log."""
    postgres.sql(PEOPLE, database)
    postgres.sql("CREATE TABLE other (id int, text text)", database)
    server = serve(book)
    settle(server, postgres, database)
    slot = ("SELECT confirmed_flush_lsn FROM pg_replication_slots "
            "WHERE database = current_database()")
    before = position(postgres.sql(slot, database)[0][0])
    postgres.sql("INSERT INTO other SELECT i, repeat(md5(i::text), 20) FROM "
                 "generate_series(1, 60000) AS i", database)
    written = position(postgres.sql("SELECT pg_current_wal_insert_lsn()", database)[0][0])
    assert written - before > 20 << 20
    end = time.time() + 30
    while position(postgres.sql(slot, database)[0][0]) < written - (16 << 20):
        assert time.time() < end, status(server)
        time.sleep(0.1)
    assert not events_of(book)
    server.stop()
    server = serve(book)
    settle(server, postgres, database)


def test_a_snapshot_goes_on_where_it_was_killed(postgres, database, binary, tmp_path, data):
    folder = tmp_path / "book"
    write_book(folder, postgres.connection(database))
    book = Book(binary, folder, data)
    postgres.sql(PEOPLE, database)
    postgres.sql("INSERT INTO people SELECT i, 'name ' || i, md5(i::text) "
                 "FROM generate_series(1, 60000) AS i", database)
    writers = Writers(postgres, database, 2)
    kills = 0
    server = Server(book)
    try:
        while kills < 6 and status(server)["state"] != "streaming":
            time.sleep(0.15)
            server.kill()
            kills += 1
            server = Server(book)
        writers.stop()
        settle(server, postgres, database)
    finally:
        writers.stop()
        server.stop()
    assert kills > 1
    assert_same(book, postgres, database)


def test_what_is_committed_while_a_piece_is_read(postgres, database, binary, tmp_path, data):
    """The piece's answer comes long after the stream told of transactions that it has not seen."""
    proxy = Proxy(postgres.port, delay_s=0.1, slow=lambda first: b"replication" not in first)
    folder = tmp_path / "book"
    write_book(folder, postgres.connection(database, proxy.port) +
               " sslmode=disable gssencmode=disable")
    book = Book(binary, folder, data)
    postgres.sql(PEOPLE, database)
    postgres.sql("INSERT INTO people SELECT i, 'name ' || i FROM generate_series(1, 30000) AS i",
                 database)
    server = Server(book)
    try:
        turn = 0
        while status(server)["state"] != "streaming":
            postgres.sql("".join(
                f"BEGIN; DELETE FROM people WHERE id % 397 = {n}; COMMIT; BEGIN; UPDATE people SET "
                f"name = 'turn {n}' WHERE id % 389 = {n}; COMMIT;"
                for n in range(turn, turn + 20)), database)
            turn += 20
        settle(server, postgres, database)
    finally:
        server.stop()
        proxy.close()
    assert turn > 20
    assert_same(book, postgres, database)


def test_a_table_that_is_locked_holds_up_no_other(postgres, database, binary, tmp_path, data):
    """The stream waits for a piece that is being read, but not for whoever locks its table."""
    folder = tmp_path / "book"
    write_book(folder, postgres.connection(database), "database: source\ntables:\n  people:\n"
               "    capture: cdc\n  notes:\n    capture: cdc\n")
    postgres.sql(PEOPLE + "; CREATE TABLE notes (id int PRIMARY KEY)", database)
    postgres.sql("INSERT INTO people (id, name) SELECT n, 'n' FROM generate_series(1, 150000) n",
                 database)
    book = Book(binary, folder, data)
    lock = threading.Thread(target=postgres.sql, args=(
        "BEGIN; LOCK people IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(9); COMMIT", database))
    server = Server(book)
    try:
        while status(server)["state"] != "snapshot":
            time.sleep(0.01)
        lock.start()
        time.sleep(0.5)
        assert status(server)["state"] == "snapshot"
        postgres.sql("INSERT INTO notes VALUES (1)", database)
        begun = time.monotonic()
        while not server.get("/streams/users.notes-1").json.get("events"):
            assert time.monotonic() - begun < 7, status(server)
            time.sleep(0.05)
        assert lock.is_alive()
        lock.join()
        settle(server, postgres, database)
    finally:
        server.stop()
    assert_same(book, postgres, database)


def failure(server, timeout=30):
    end = time.time() + timeout
    while time.time() < end:
        now = status(server)
        if now["error"]:
            return now
        time.sleep(0.02)
    raise AssertionError(status(server))


def restart(book, serve, server):
    server.stop()
    return serve(book)


def slot_of(postgres, database):
    return postgres.sql("SELECT slot_name FROM pg_replication_slots WHERE database = "
                        "current_database()", database)[0][0]


def test_a_lost_slot_stops_it_and_a_new_snapshot_makes_it_good(postgres, database, book, serve):
    postgres.sql(PEOPLE, database)
    postgres.sql("INSERT INTO people (id, name) SELECT i, 'n' || i FROM generate_series(1, 3000) "
                 "AS i", database)
    server = serve(book)
    settle(server, postgres, database)
    server.stop()
    slot = slot_of(postgres, database)
    postgres.sql(f"SELECT pg_drop_replication_slot('{slot}')", database)
    postgres.sql("DELETE FROM people WHERE id % 3 = 0; UPDATE people SET name = 'changed' WHERE id "
                 "= 1; INSERT INTO people (id, name) VALUES (4000, 'new')", database)
    server = serve(book)
    now = failure(server)
    assert now["state"] == "failed"
    assert "is gone from the server" in now["error"]
    assert "daybook capture resnapshot users" in now["error"]
    assert server.get("/healthz").status == 503
    assert len(events_of(book)) == 3000
    assert book.json("capture", "resnapshot", "users")["resnapshot"]
    settle(server, postgres, database)
    assert_same(book, postgres, database)
    assert len(events_of(book)) == 3000 + 1000 + 2
    assert server.get("/healthz").status == 200
    # Again, where nothing is different: no event.
    book.run("capture", "resnapshot", "users")
    time.sleep(0.3)
    settle(server, postgres, database)
    assert len(events_of(book)) == 3000 + 1000 + 2


def test_a_moved_slot_is_noticed(postgres, database, book, serve):
    postgres.sql(PEOPLE, database)
    server = serve(book)
    settle(server, postgres, database)
    server.stop()
    postgres.sql("INSERT INTO people (id, name) VALUES (1, 'unseen')", database)
    slot = slot_of(postgres, database)
    postgres.sql(f"SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn())", database)
    server = serve(book)
    assert "was moved to" in failure(server)["error"]
    book.run("capture", "resnapshot", "users")
    settle(server, postgres, database)
    assert_same(book, postgres, database)


def test_without_a_server_a_snapshot_is_noted_for_the_next(postgres, database, book, serve):
    postgres.sql(PEOPLE, database)
    server = serve(book)
    settle(server, postgres, database)
    server.stop()
    slot = slot_of(postgres, database)
    postgres.sql(f"SELECT pg_drop_replication_slot('{slot}')", database)
    postgres.sql("INSERT INTO people (id, name) VALUES (1, 'unseen')", database)
    assert book.run("capture", "resnapshot", "user", status=1).errors.count("did you mean `users`?")
    book.run("capture", "resnapshot", "users")
    [now] = book.json("capture", "ls")
    assert now["state"] == "stopped" and position(now["position"]) > 0
    server = serve(book)
    settle(server, postgres, database)
    assert_same(book, postgres, database)


def test_a_table_that_comes_later_is_read(postgres, database, binary, tmp_path, data, serve):
    folder = tmp_path / "book"
    write_book(folder, postgres.connection(database))
    book = Book(binary, folder, data)
    postgres.sql(PEOPLE, database)
    postgres.sql("CREATE TABLE orders (id int, line text, n int, PRIMARY KEY (line, id));"
                 "INSERT INTO orders VALUES (1, 'a,b', 3), (1, '50%', 4)", database)
    server = serve(book)
    settle(server, postgres, database)
    (folder / "services" / "users.yaml").write_text(SERVICE + "  orders:\n    capture: cdc\n",
                                                    encoding="utf-8")
    server = restart(book, serve, server)
    settle(server, postgres, database)
    postgres.sql("UPDATE orders SET n = 5; DELETE FROM orders WHERE line = '50%'", database)
    settle(server, postgres, database)
    events = events_of(book)
    assert sorted(e["stream"] for e in events[:2]) == ["users.orders-50%25,1",
                                                       "users.orders-a%2Cb,1"]
    assert rows_of(events, "orders") == [{"id": 1, "line": "a,b", "n": 5}]


def test_a_large_transaction(postgres, database, book, serve):
    """Past the batch limit it is stored in parts."""
    postgres.sql(PEOPLE, database)
    server = serve(book)
    settle(server, postgres, database)
    postgres.sql("BEGIN; INSERT INTO people (id, name) SELECT i, 'n' || i FROM "
                 "generate_series(1, 25000) AS i; UPDATE people SET name = 'x' WHERE id < 5000;"
                 "SAVEPOINT s; DELETE FROM people; ROLLBACK TO s; DELETE FROM people WHERE id > "
                 "20000; COMMIT", database)
    settle(server, postgres, database)
    assert_same(book, postgres, database)
    assert len(events_of(book)) == 25000 + 4999 + 5000


def test_open_transactions_are_streamed_side_by_side(postgres, database, book, data, serve):
    """What is rolled back, in whole or to a savepoint, is in no event."""
    postgres.sql(PEOPLE, database)
    server = serve(book)
    settle(server, postgres, database)

    def work(base, last):
        savepoints = "".join(
            f"SAVEPOINT s{n}; INSERT INTO people (id, name) SELECT i, 'lost' FROM generate_series("
            f"{base + 10000}, {base + 10900}) AS i; ROLLBACK TO s{n};"
            f"SAVEPOINT t{n}; INSERT INTO people (id, name) SELECT i, 'kept' FROM generate_series("
            f"{base + 1000 * n}, {base + 1000 * n + 900}) AS i; RELEASE t{n};"
            "SELECT pg_sleep(0.05);" for n in range(5))
        postgres.sql(f"BEGIN; {savepoints} UPDATE people SET name = 'x' WHERE id = {base}; {last}",
                     database)

    threads = [threading.Thread(target=work, args=(100000 * n, "ROLLBACK" if n == 2 else "COMMIT"))
               for n in range(4)]
    for thread in threads:
        thread.start()
    streamed = postgres.sql("SELECT 1", database)
    while any(thread.is_alive() for thread in threads):
        streamed += [[file.name] for file in (data / "capture").glob("users-*.spill")]
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    settle(server, postgres, database)
    assert len({name for [name] in streamed}) > 2, "nothing was streamed"
    assert not list((data / "capture").glob("*.spill"))
    assert_same(book, postgres, database)
    events = events_of(book)
    assert len(events) == 3 * (5 * 901 + 1)
    assert all(e["data"]["new"]["name"] != "lost" for e in events)
    # Each transaction's events stand together.
    order = [e["meta"]["source"]["transaction"] for e in events]
    assert len([key for key, _ in itertools.groupby(order)]) == 3


def test_a_part_of_a_transaction_is_not_seen(postgres, database, binary, tmp_path, data):
    """Not while it is stored, and not behind a kill in its midst."""
    folder = tmp_path / "book"
    write_book(folder, postgres.connection(database))
    book = Book(binary, folder, data)
    count = 120000
    postgres.sql(PEOPLE, database)
    server = Server(book)
    kills = 0
    try:
        settle(server, postgres, database)
        postgres.sql("INSERT INTO people (id, name) SELECT i, 'n' || i FROM "
                     f"generate_series(1, {count}) AS i", database)
        end = time.time() + 60
        while True:
            shown = server.get("/events?limit=1").json["events"]
            stored = server.get("/healthz").json["events"]
            if shown:
                break
            assert time.time() < end
            if 10000 < stored < count and kills < 3:
                server.kill()
                kills += 1
                server = Server(book)
        assert stored >= count
        assert kills > 0
        settle(server, postgres, database)
    finally:
        server.stop()
    assert len(events_of(book)) == count
    assert_same(book, postgres, database)


@pytest.mark.parametrize("setup, error", [
    ("", "services/users.yaml:3:3: the table `people` is not in the database: create it, or put "
         "its schema into the user's search_path"),
    ("CREATE VIEW people AS SELECT 1 AS id", "the table `people` is a view or a foreign table"),
    ("CREATE TABLE people (id int)", "the table `people` has no primary key: it names the row's "
                                     "stream: ALTER TABLE … ADD PRIMARY KEY"),
    ("CREATE TABLE people (id int PRIMARY KEY); ALTER TABLE people REPLICA IDENTITY NOTHING",
     "does not tell which row was changed (its replica identity)"),
])
def test_what_a_table_lacks_is_named(postgres, database, book, serve, setup, error):
    if setup:
        postgres.sql(setup, database)
    now = failure(serve(book))
    assert error in now["error"]
    assert now["state"] == "failed"


def test_a_table_that_was_missing_is_captured_when_it_comes(postgres, database, book, serve):
    server = serve(book)
    assert "is not in the database" in failure(server)["error"]
    postgres.sql(PEOPLE + "; INSERT INTO people (id, name) VALUES (1, 'a')", database)
    end = time.time() + 30
    while status(server)["state"] == "failed" and time.time() < end:
        time.sleep(0.05)
    settle(server, postgres, database)
    assert status(server)["error"] is None
    assert_same(book, postgres, database)


def test_what_the_user_may_not_is_named(postgres, database, binary, tmp_path, data, serve):
    role = f"limited_{next(NUMBERS)}"
    postgres.sql(PEOPLE, database)
    postgres.sql(f"CREATE ROLE {role} LOGIN", database)
    folder = tmp_path / "book"
    write_book(folder, postgres.connection(database, user=role))
    book = Book(binary, folder, data)
    server = serve(book)
    assert (f'the user of source may not replicate: ALTER ROLE "{role}" REPLICATION'
            in failure(server)["error"])
    postgres.sql(f"ALTER ROLE {role} REPLICATION", database)
    server = restart(book, serve, server)
    error = failure(server)["error"]
    assert 'somebody who owns the tables runs CREATE PUBLICATION "' in error
    command = error.split("runs ", 1)[1]
    postgres.sql(command, database)
    postgres.sql(f"GRANT SELECT ON people TO {role}", database)
    postgres.sql("INSERT INTO people (id, name) VALUES (1, 'a')", database)
    server = restart(book, serve, server)
    settle(server, postgres, database)
    assert len(events_of(book)) == 1
    postgres.sql(f"DROP OWNED BY {role}", database)


def test_a_server_that_does_not_tell_is_named(binary, tmp_path, data, serve):
    try:
        server = Postgres()
    except Missing as why:
        missing(str(why))
    try:
        folder = tmp_path / "book"
        write_book(folder, server.connection())
        book = Book(binary, folder, data)
        serving = serve(book)
        assert ("the server of source has wal_level = replica: set wal_level = logical"
                in failure(serving)["error"])
        server.stop()
        serving = restart(book, serve, serving)
        now = failure(serving)
        assert now["state"] == "waiting"
        assert "password" not in now["error"]
        # Everything else goes on.
        book.run("append", "note-1", "Noted", '{"text": "here"}')
    finally:
        server.close()


def test_a_server_that_is_too_old_is_named(binary, tmp_path, data, serve):
    old = SaysVersion("12.20")
    write_book(tmp_path / "book", old.connection())
    book = Book(binary, tmp_path / "book", data)
    now = failure(serve(book))
    assert "PostgreSQL 12 is too old: 13 or later is needed" in now["error"]
    assert now["state"] == "failed"
    old.close()


def test_a_wrong_password_is_named_with_what_to_do(postgres, database, binary, tmp_path, data,
                                                   serve):
    """And not told. When it is right the capture begins."""
    role = f"locked_{next(NUMBERS)}"
    postgres.sql(PEOPLE + "; INSERT INTO people (id, name) VALUES (1, 'a')", database)
    postgres.ask_password(role, "geheim42")
    connection = postgres.connection(database, user=role)
    write_book(tmp_path / "book", connection)
    book = Book(binary, tmp_path / "book", data)
    server = serve(book)
    now = failure(server)
    assert "write the user's password= into the connection string" in now["error"]
    secret = book.folder / "secrets" / "source"
    secret.write_text(connection + " password=falsch42", encoding="utf-8")
    end = time.time() + 30
    while "check user=" not in (now["error"] or "") and time.time() < end:
        time.sleep(0.05)
        now = status(server)
    assert "check user= and password= in the connection string" in now["error"]
    assert "falsch42" not in now["error"] and now["state"] == "waiting"
    secret.write_text(connection + " password=geheim42", encoding="utf-8")
    server = restart(book, serve, server)
    settle(server, postgres, database)
    assert len(events_of(book)) == 1


def test_a_writer_finds_its_commit_in_the_book(postgres, database, book, serve):
    postgres.sql(PEOPLE + "; CREATE TABLE other (id int)", database)
    server = serve(book)
    settle(server, postgres, database)
    for i in range(20):
        postgres.sql(f"INSERT INTO people (id, name) VALUES ({i}, 'n')", database)
        [[lsn]] = postgres.sql("SELECT pg_current_wal_insert_lsn()", database)
        answer = server.get(f"/captures/users/position?source={lsn}")
        assert answer.status == 200, answer
        found = answer.json["position"]
        assert int(answer.headers["Daybook-Position"]) == found
        streams = [e["stream"] for e in events_of(book) if e["position"] <= found]
        assert f"users.people-{i}" in streams
    # Neither does a commit that is not captured have to wait for the next keepalive.
    begun = time.time()
    postgres.sql("INSERT INTO other VALUES (1)", database)
    [[lsn]] = postgres.sql("SELECT pg_current_wal_insert_lsn()", database)
    assert book.json("capture", "wait", "users", lsn)["position"] >= found
    assert time.time() - begun < 5
    late = server.get("/captures/users/position?source=FFFF/0&timeout_ms=50")
    assert late.status == 504 and "users is captured up to " in late.text
    assert server.get("/captures/users/position?source=12").status == 400
    assert server.get("/captures/nobody/position?source=0/1").status == 404


def test_metrics_and_the_list_tell(postgres, database, book, serve):
    postgres.sql(PEOPLE, database)
    server = serve(book)
    settle(server, postgres, database)
    postgres.sql("INSERT INTO people (id, name) VALUES (1, 'a')", database)
    settle(server, postgres, database)
    [now] = book.json("capture", "ls")
    assert now["service"] == "users" and now["database"] == "source"
    assert now["state"] == "streaming" and now["events"] == 1 and now["error"] is None
    metrics = server.get("/metrics").text
    assert 'daybook_capture_events_total{service="users",capture="cdc"} 1\n' in metrics
    assert 'daybook_capture_failed{service="users",capture="cdc"} 0\n' in metrics
    assert 'daybook_capture_lag_seconds{service="users",capture="cdc"} 0.000000\n' in metrics
    health = server.get("/healthz").json
    assert health["captures"] == [
        {"service": "users", "capture": "cdc", "state": "streaming", "lag_ms": 0}]
    refused = server.post("/streams/users.people-1", {"type": "people.update", "data": {}})
    assert refused.status == 403
    assert "is captured from the database `source`: change the row there" in refused.text
    event = events_of(book)[0]
    assert event["occurred"] <= event["time"]
