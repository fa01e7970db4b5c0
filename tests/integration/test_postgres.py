# SPDX-License-Identifier: Apache-2.0
"""Read models in PostgreSQL, on a real server: the same rows as SQLite's, exactly once, whatever is
killed meanwhile; and what goes wrong is named."""
import itertools
import json
import random
import shutil
import threading
import time

import pytest
from conftest import BANK, Book, Server, missing
from services.postgres import Missing, Postgres, SaysVersion
from services.proxy import Proxy

MODEL = """database: people
sync: events
source: [account]
"""
SCHEMA = """CREATE TABLE totals (
    account text PRIMARY KEY,
    balance numeric NOT NULL CHECK (balance > -1000000),
    changed timestamptz NOT NULL,
    events bigint NOT NULL DEFAULT 1,
    CONSTRAINT totals_positive UNIQUE (account, balance)
);
CREATE INDEX totals_changed ON totals (changed);
CREATE VIEW rich AS SELECT account FROM totals WHERE balance >= 1000;
"""
HANDLERS = """-- on: AccountOpened
INSERT INTO totals (account, balance, changed) VALUES (:id, 0, :_time);

-- on: Deposited
UPDATE totals SET balance = balance + :amount::numeric, changed = :_time, events = events + 1
WHERE account = substr(:_stream::text, length('account-') + 1);

-- on: Withdrawn
UPDATE totals SET balance = balance - :amount::numeric, changed = :_time, events = events + 1
WHERE account = substr(:_stream::text, length('account-') + 1);
"""


@pytest.fixture(scope="module")
def postgres():
    try:
        server = Postgres()
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


NUMBERS = itertools.count(1)


@pytest.fixture
def database(postgres):
    name = f"test_{next(NUMBERS)}"
    postgres.create(name)
    return name


def write_book(folder, connection):
    shutil.copytree(BANK, folder, ignore=shutil.ignore_patterns("data"))
    (folder / "secrets").mkdir()
    (folder / "secrets" / "people").write_text(connection + "\n", encoding="utf-8")
    (folder / "book.yaml").write_text(
        "book: bank\nschema: off\ndatabases:\n  reading: sqlite:reading.db\n"
        "  people: postgres:file:secrets/people\n", encoding="utf-8")
    for file in [*folder.glob("queries/*.sql")]:
        file.write_text("-- database: reading\n" + file.read_text(encoding="utf-8"),
                        encoding="utf-8")
    model = folder / "models" / "totals"
    model.mkdir()
    (model / "model.yaml").write_text(MODEL, encoding="utf-8")
    (model / "schema.sql").write_text(SCHEMA, encoding="utf-8")
    (model / "handlers.sql").write_text(HANDLERS, encoding="utf-8")
    (folder / "queries" / "GetTotal.sql").write_text(
        "-- database: people\nSELECT account, balance, changed, events FROM totals "
        "WHERE account = :account\n", encoding="utf-8")


@pytest.fixture
def book(binary, tmp_path, postgres, database):
    folder = tmp_path / "book"
    write_book(folder, postgres.connection(database))
    return Book(binary, folder, tmp_path / "data")


def deposits(seed, accounts, count):
    """Events for an append in batches, and the balances they add up to, by another way."""
    chance = random.Random(seed)
    events = [{"stream": f"account-{n}", "type": "AccountOpened", "data": {"id": str(n)}}
              for n in range(accounts)]
    for _ in range(count):
        kind = chance.choice(["Deposited", "Withdrawn"])
        events.append({"stream": f"account-{chance.randrange(accounts)}", "type": kind,
                       "data": {"amount": chance.randrange(1, 100)}})
    # The read model `balances` refuses what is below zero.
    balances = {}
    kept = []
    for event in events:
        account = event["stream"][len("account-"):]
        change = event["data"].get("amount", 0) * (1 if event["type"] == "Deposited" else -1)
        if balances.get(account, 0) + change < 0:
            continue
        balances[account] = balances.get(account, 0) + change
        kept.append(event)
    return kept, balances


def append(server, events, size=100):
    last = 0
    for at in range(0, len(events), size):
        answer = server.post("/events", {"events": events[at:at + size]},
                             headers={"Content-Type": "application/json"})
        assert answer.status in (200, 201), answer
        last = answer.json["position"]
    return last


def rows_of(postgres, database):
    return {account: (int(balance), int(events)) for account, balance, events in postgres.sql(
        "SELECT account, balance, events FROM totals ORDER BY account", database)}


def expected(events, balances):
    counts = {}
    for event in events:
        account = event["stream"][len("account-"):]
        counts[account] = counts.get(account, 0) + 1
    return {account: (balances.get(account, 0), counts[account]) for account in counts}


def wait_for(what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def status_of(server, model="totals"):
    return server.get(f"/models/{model}").json


def test_it_holds_what_sqlite_holds(book, postgres, database):
    book.run("import", book.folder / "sample.jsonl", "--as", "sample")
    sqlite = book.json("sql", "select account, balance from balances order by 1")
    server = book.json("sql", "select account, balance from totals order by 1", "--database",
                       "people")
    assert server == sqlite and len(server) == 2
    assert book.json("get", "GetTotal", "account=123")[0]["balance"] == 120
    changed = book.json("get", "GetTotal", "account=123")[0]["changed"]
    assert changed == book.json("read", "account-123", "--backwards", "--limit", "1")[0]["time"]
    assert [m["position"] for m in book.json("model", "ls")] == [2351, 2351]
    # Plain names for whoever comes with psql.
    assert postgres.sql("SELECT account FROM rich", database) == [["456"]]


def test_a_read_waits_for_its_own_append(book, serve):
    server = serve(book)
    server.post("/commands/Open", {"account": "a"})
    for n in range(30):
        done = server.post("/commands/Deposit", {"account": "a", "amount": 1}).json
        rows = server.get(f"/queries/GetTotal?account=a&after={done['position']}").json["rows"]
        assert rows[0]["balance"] == n + 1


def test_fractions_stay_exact(book, postgres, database):
    book.run("append", "account-x", "AccountOpened", '{"id":"x"}')
    (book.folder / "models" / "balances" / "handlers.sql").write_text(
        "-- on: AccountOpened\nINSERT INTO balances (account, balance, changed) "
        "VALUES (:id, 0, :_time);\n", encoding="utf-8")
    book.run("model", "rebuild", "balances")
    for amount in ("0.1", "0.2", "123456789012345.678", "1e-3"):
        book.run("append", "account-x", "Deposited", '{"amount":%s}' % amount)
    book.run("get", "GetTotal", "account=x", "--after", "5")
    assert postgres.sql("SELECT balance FROM totals", database) == [["123456789012345.979"]]


def test_a_rebuild_swaps_and_leaves_nothing(book, postgres, database, serve):
    server = serve(book)
    events, balances = deposits(1, 20, 2000)
    append(server, events)
    handlers = book.folder / "models" / "totals" / "handlers.sql"
    handlers.write_text(HANDLERS.replace("balance + :amount", "balance + 2 * :amount"),
                        encoding="utf-8")
    server.stop()
    server = Server(book)
    try:
        assert status_of(server)["changed"] is True
        before = rows_of(postgres, database)
        seen = set()
        stop = threading.Event()

        def look():
            while not stop.is_set():
                rows = postgres.sql("SELECT count(*), sum(events) FROM totals", database)
                seen.add(tuple(rows[0]))

        watcher = threading.Thread(target=look)
        watcher.start()
        answer = server.post("/models/totals/rebuild")
        stop.set()
        watcher.join()
        assert answer.status == 200, answer
        assert seen == {("20", str(len(events)))}, "a reader saw half of it"
        assert rows_of(postgres, database) != before
        assert status_of(server)["generation"] == 2 and status_of(server)["changed"] is False
        tables = postgres.sql("SELECT relname FROM pg_class WHERE relname LIKE '%\\_\\_g%' "
                              "AND relkind IN ('r', 'v') ORDER BY 1", database)
        assert tables == [["rich__g2"], ["totals__g2"]]
        append(server, [{"stream": "account-new", "type": "AccountOpened", "data": {"id": "new"}}])
        wait_for(lambda: "new" in rows_of(postgres, database))
    finally:
        server.stop()


def test_a_handler_that_fails_names_event_and_line(book, serve):
    server = serve(book)
    append(server, [{"stream": "account-a", "type": "AccountOpened", "data": {"id": "a"}},
                    {"stream": "account-a", "type": "Deposited", "data": {"amount": 5}}])
    # A second opening of the same account is one row too many for the key in PostgreSQL; the model
    # in SQLite would refuse it, too, so it goes by another stream's name.
    (book.folder / "models" / "balances" / "handlers.sql").write_text(
        "-- on: Closed\nDELETE FROM balances;\n", encoding="utf-8")
    server.post("/models/balances/rebuild")
    server.stop()
    server = serve(book)
    server.post("/models/balances/rebuild")
    append(server, [{"stream": "account-b", "type": "AccountOpened", "data": {"id": "b"}},
                    {"stream": "account-c", "type": "AccountOpened", "data": {"id": "a"}},
                    {"stream": "account-b", "type": "Deposited", "data": {"amount": 7}}])
    wait_for(lambda: status_of(server)["state"] == "stopped")
    status = status_of(server)
    assert "models/totals/handlers.sql:2: duplicate key value" in status["error"], status
    assert "(event 4, AccountOpened of account-c version 1)" in status["error"]
    assert status["position"] == 3
    assert status_of(server, "balances")["state"] == "following"


def test_a_value_of_another_type_stops_that_model_alone(book, serve):
    server = serve(book)
    append(server, [{"stream": "account-a", "type": "AccountOpened", "data": {"id": "a"}}])
    (book.folder / "models" / "balances" / "handlers.sql").write_text(
        "-- on: Closed\nDELETE FROM balances;\n", encoding="utf-8")
    server.post("/models/balances/rebuild")
    append(server, [{"stream": "account-a", "type": "Deposited", "data": {"amount": "much"}}])
    wait_for(lambda: status_of(server)["state"] == "stopped")
    status = status_of(server)
    assert 'models/totals/handlers.sql:5: invalid input syntax for type numeric: "much"' in status[
        "error"], status
    assert "(event 2, Deposited of account-a version 2)" in status["error"]
    append(server, [{"stream": "account-b", "type": "AccountOpened", "data": {"id": "b"}}])
    wait_for(lambda: status_of(server, "balances")["position"] == 3)
    assert status_of(server)["position"] == 1


def test_a_wrong_password_is_named_with_what_to_do(book, postgres, database):
    """And not told; the other models go on, and this one when it is right."""
    role = f"locked_{database}"
    postgres.ask_password(role, "geheim42")
    secret = book.folder / "secrets" / "people"
    secret.write_text(postgres.connection(database, user=role), encoding="utf-8")
    server = Server(book)
    try:
        append(server, [{"stream": "account-a", "type": "AccountOpened", "data": {"id": "a"}}])
        wait_for(lambda: status_of(server)["error"])
        assert "write the user's password= into the connection string" in status_of(server)["error"]
        wait_for(lambda: status_of(server, "balances")["position"] == 1)
        secret.write_text(postgres.connection(database, user=role) + " password=falsch42",
                          encoding="utf-8")
        wait_for(lambda: "check user= and password= in the connection string" in
                 status_of(server)["error"])
        assert "falsch42" not in json.dumps(status_of(server))
        secret.write_text(postgres.connection(database, user=role) + " password=geheim42",
                          encoding="utf-8")
        wait_for(lambda: status_of(server)["position"] == 1)
    finally:
        server.stop()


def test_a_server_that_is_too_old_is_named(book, serve):
    old = SaysVersion("11.22")
    (book.folder / "secrets" / "people").write_text(old.connection(), encoding="utf-8")
    server = serve(book)
    append(server, [{"stream": "account-a", "type": "AccountOpened", "data": {"id": "a"}}])
    wait_for(lambda: status_of(server)["error"])
    assert "PostgreSQL 11 is too old: 12 or later is needed" in status_of(server)["error"]
    wait_for(lambda: status_of(server, "balances")["position"] == 1)
    old.close()


def test_a_server_that_is_down_stops_nothing_else(binary, tmp_path):
    try:
        postgres = Postgres()
    except Missing as why:
        missing(str(why))
    try:
        write_book(tmp_path / "book", postgres.connection("down"))
        postgres.create("down")
        postgres.stop()
        book = Book(binary, tmp_path / "book", tmp_path / "data")
        server = Server(book)
        try:
            events, balances = deposits(2, 5, 300)
            append(server, events)
            status = status_of(server)
            assert status["position"] == 0 and "PostgreSQL" in status["error"], status
            assert str(postgres.connection("down")) not in json.dumps(status)
            assert status_of(server, "balances")["position"] == len(events)
            late = server.get("/queries/GetTotal?account=0&after=1&timeout_ms=50")
            assert late.status in (503, 504, 502), late
            postgres.start()
            wait_for(lambda: status_of(server)["position"] == len(events))
            assert status_of(server)["error"] is None
            assert rows_of(postgres, "down") == expected(events, balances)
        finally:
            server.stop()
    finally:
        postgres.close()


@pytest.mark.parametrize("what", ["server", "connections", "daemon"])
def test_nothing_is_lost_or_doubled_when_killed(what, binary, tmp_path):
    """Appends go on while the server, its connections, or the daemon are killed again and again."""
    try:
        postgres = Postgres()
    except Missing as why:
        missing(str(why))
    chance = random.Random(what)
    try:
        postgres.create("storm")
        write_book(tmp_path / "book", postgres.connection("storm"))
        book = Book(binary, tmp_path / "book", tmp_path / "data")
        events, balances = deposits(3, 50, 12000)
        server = Server(book)
        batches = [events[at:at + 400] for at in range(0, len(events), 400)]
        for number, batch in enumerate(batches):
            append(server, batch, 400)
            time.sleep(chance.random() * 0.02)
            if number % 3 == 2 and what == "server":
                postgres.kill()
                postgres.start()
            elif number % 2 == 1 and what == "connections":
                postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                             "WHERE application_name = 'daybook'", "storm")
            elif number % 3 == 2 and what == "daemon":
                server.kill()
                server = Server(book)
        wait_for(lambda: status_of(server)["position"] == len(events), 60)
        server.stop()
        assert rows_of(postgres, "storm") == expected(events, balances)
    finally:
        postgres.close()


@pytest.mark.parametrize("after, reset, step",
                         [(False, False, 2), (True, False, 1), (False, True, 3)])
def test_a_connection_cut_at_every_message(after, reset, step, binary, tmp_path, postgres,
                                           database):
    """Of what posts one batch, each message once is the last of its connection: before the server
    has it, or after, so that its answer is lost. The COMMIT is among them."""
    proxy = Proxy(postgres.port)
    write_book(tmp_path / "book", f"host=127.0.0.1 port={proxy.port} user=postgres "
               f"dbname={database} sslmode=disable gssencmode=disable")
    book = Book(binary, tmp_path / "book", tmp_path / "data")
    server = Server(book)
    try:
        server.post("/commands/Open", {"account": "a"})
        wait_for(lambda: status_of(server)["position"] == 1)
        last, balance, cut_at = 1, 0, 0
        while True:
            cut_at += step
            cuts = proxy.cuts
            proxy.arm(cut_at, after, reset)
            # One append of two events is one transaction: its messages, then silence.
            last = append(server, [{"stream": "account-a", "type": "Deposited",
                                    "data": {"amount": cut_at}}] * 2)
            balance += 2 * cut_at
            wait_for(lambda: status_of(server)["position"] == last)
            proxy.arm(None)
            assert rows_of(postgres, database) == {"a": (balance, last)}, cut_at
            if proxy.cuts == cuts:
                break
        assert cut_at > 8, "too few messages to mean anything"
    finally:
        server.stop()
        proxy.close()


def test_a_transaction_left_behind_is_waited_for(book, postgres, database, serve):
    """The server goes on with what a killed daemon had begun: the next one does not do it again."""
    book.run("append", "account-a", "AccountOpened", '{"id":"a"}')
    server = serve(book)
    wait_for(lambda: status_of(server)["position"] == 1)
    # Someone who posted up to position 2 and has not committed yet.
    holder = threading.Thread(target=postgres.sql, args=(
        "BEGIN; UPDATE _daybook_models SET position = 2 WHERE model = 'totals'; "
        "UPDATE totals SET balance = balance + 5, events = 2; SELECT pg_sleep(1.5); COMMIT",
        database))
    holder.start()
    time.sleep(0.5)
    append(server, [{"stream": "account-a", "type": "Deposited", "data": {"amount": 5}},
                    {"stream": "account-a", "type": "Deposited", "data": {"amount": 1}}])
    holder.join()
    wait_for(lambda: status_of(server)["position"] == 3)
    assert rows_of(postgres, database) == {"a": (6, 3)}


@pytest.mark.parametrize("connection, expected_text", [
    ("host=127.0.0.1 port={port} user=postgres dbname=nowhere", '"nowhere" does not exist'),
    ("host=127.0.0.1 port=1 user=postgres dbname=x password=hunter2", "port 1 failed"),
    ("nonsense=1", "invalid connection option"),
    ("", "the connection string is empty"),
    (None, "secrets/people"),
])
def test_what_keeps_it_from_connecting_is_named(connection, expected_text, book, postgres):
    secret = book.folder / "secrets" / "people"
    if connection is None:
        secret.unlink()
    else:
        secret.write_text(connection.format(port=postgres.port), encoding="utf-8")
    book.run("append", "account-a", "AccountOpened", '{"id":"a"}')
    model = [m for m in book.json("model", "ls") if m["name"] == "totals"][0]
    assert expected_text in model["error"], model
    assert "hunter2" not in json.dumps(model)
    answer = book.run("get", "GetTotal", "account=a", status=3)
    assert expected_text in answer.errors and "hunter2" not in answer.errors
    assert book.json("get", "GetBalance", "account=a")[0]["balance"] == 0


def fault_of(book, file, text):
    path = book.folder / file
    heads = {HANDLER_FILE: "-- on: A\n", QUERY_FILE: "-- database: people\n"}
    text = heads.get(file, "") + text
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return book.run("check", status=1).text + book.run("check", status=1).errors


SCHEMA_FILE = "models/totals/schema.sql"
HANDLER_FILE = "models/totals/handlers.sql"
QUERY_FILE = "queries/GetTotal.sql"
# A file, what stands in it, and what is said of it; a handler or query has its first line besides.
FAULTS = [
    (SCHEMA_FILE, "CREATE TABLE totals (id serial)", "schema.sql:1:25: a schema may not count"),
    (SCHEMA_FILE, "CREATE TABLE totals (at timestamptz DEFAULT now())", "may not read the clock"),
    (SCHEMA_FILE, "CREATE TABLE totals (a int);\nDROP TABLE x", "schema.sql:2:1: a schema may not"),
    (SCHEMA_FILE, 'CREATE TABLE "Totals" (a int)', "capitals"),
    (SCHEMA_FILE, "CREATE TABLE other.totals (a int)", "may not name a schema"),
    (SCHEMA_FILE, "CREATE TABEL totals (a int)", 'schema.sql:1:8: syntax error at or near "TABEL"'),
    (SCHEMA_FILE, "CREATE TABLE " + "t" * 51 + " (a int)", "is too long"),
    (HANDLER_FILE, "UPDATE totals SET a = random()", "handlers.sql:2:23: a handler may not use"),
    (HANDLER_FILE, "UPDATE totals SET a = CURRENT_TIMESTAMP", "may not read the clock"),
    (HANDLER_FILE, "UPDATE totals SET a = 'now'::timestamptz", "may not read the clock"),
    (HANDLER_FILE, "COMMIT", "a handler may not do more"),
    (HANDLER_FILE, "UPDATE _daybook_models SET position = 0", "book's own tables"),
    (HANDLER_FILE, "SELECT pg_read_file('x')", "reach out"),
    (HANDLER_FILE, "UPDATE totals SET a = :_nothing", "no :_nothing"),
    (HANDLER_FILE, "UPDATE totals SET a = " + "+".join(["1"] * 20000), "words and signs"),
    (QUERY_FILE, "DELETE FROM totals", "may not change anything"),
    (QUERY_FILE, "WITH x AS (DELETE FROM totals RETURNING 1) SELECT * FROM x",
     "may not change anything"),
    ("models/totals/model.yaml", MODEL.replace("events", "transaction"), "needs a SQLite database"),
    ("book.yaml", "book: b\ndatabases:\n  people: postgres://me:hunter2@x/y\n",
     "named, not written here"),
    ("book.yaml", "book: b\ndatabases:\n  people: 'postgres:file:'\n", "named, not written here"),
]


@pytest.mark.parametrize("file, text, fault", FAULTS)
def test_faults_are_named_without_a_server(book, file, text, fault):
    said = fault_of(book, file, text)
    assert fault in said, said
    assert "hunter2" not in said


def test_a_long_sum_is_no_danger(book):
    """As long as one may be."""
    handlers = book.folder / "models" / "totals" / "handlers.sql"
    handlers.write_text("-- on: A\nUPDATE totals SET events = " + "+".join(["1"] * 4900),
                        encoding="utf-8")
    said = book.run("check", status=1)
    assert "deep" in said.text + said.errors or "levels" in said.text + said.errors, said


EXTENSIONS = ("dblink", "adminpack", "tablefunc", "xml2", "pageinspect", "lo", "file_fdw",
              "pg_trgm", "pgcrypto", "citext", "fuzzystrmatch")
# Functions that change something, read files, settings or the catalog, run other texts of SQL, or
# wait; and all that are not the server's, but those of a name that it has itself.
DOORS = """SELECT DISTINCT proname, pronamespace <> 'pg_catalog'::regnamespace FROM pg_proc WHERE
 (pronamespace <> 'pg_catalog'::regnamespace AND proname NOT IN (SELECT proname FROM pg_proc WHERE
 pronamespace = 'pg_catalog'::regnamespace)) OR (pronamespace = 'pg_catalog'::regnamespace AND
 provolatile = 'v' AND proname NOT IN ('random',
 'gen_random_uuid', 'clock_timestamp', 'timeofday')) OR proname ~
 '^(pg_.*file|pg_ls|lo_|pg_sleep|pg_logical|pg_get_|query_to|table_to|database_to|schema_to)'
 OR proname ~ '^cursor_to' OR proname IN ('current_setting', 'ts_stat', 'ts_rewrite', 'loread',
 'has_table_privilege')
 ORDER BY 1"""


def test_no_function_that_reaches_out_is_called(book, postgres, database):
    """By a call, or as if it were a column; extensions' functions, too. All that there are."""
    for extension in EXTENSIONS:
        postgres.sql(f"CREATE EXTENSION {extension}", database)
    postgres.sql("CREATE FUNCTION public.spill(text) RETURNS text LANGUAGE sql AS "
                 "'SELECT pg_read_file($1)'; CREATE FUNCTION public.lower(int) RETURNS text "
                 "LANGUAGE sql AS 'SELECT pg_read_file(''PG_VERSION'')';"
                 "CREATE OPERATOR public.@@@ (RIGHTARG = text, FUNCTION = public.spill);"
                 "CREATE TABLE people (id int, name text, size text); "
                 "INSERT INTO people VALUES (1, 'A', 'b')", database)
    doors = postgres.sql(DOORS, database)
    assert len(doors) > 400 and ["dblink", "t"] in doors and ["pg_read_file", "f"] in doors
    one = {row[0] for row in postgres.sql(
        "SELECT DISTINCT proname FROM pg_proc WHERE pronargs >= 1 AND pronargs - pronargdefaults "
        "<= 1", database)}
    server = Server(book)

    def ask(text):
        return server.post("/sql", {"sql": text, "database": "people"})
    try:
        assert ask("SELECT p.name, lower(p.name) AS l, count(*) OVER () AS n, p.size FROM people p "
                   "WHERE now() IS NOT NULL").json["rows"] == [
                       {"name": "A", "l": "a", "n": 1, "size": "b"}]
        for index, (name, _) in enumerate(doors):
            quoted = '"' + name.replace('"', '""') + '"'
            called = (f"SELECT {quoted}()", f"SELECT * FROM {quoted}('x')")
            looked = (f"SELECT ('x'::text).{quoted}", f"SELECT p.{quoted} FROM people p",
                      f"SELECT (p.name).{quoted} FROM people p")
            for text in [called[index % 2], *([looked[index % 3]] if name in one else [])]:
                answer = ask(text)
                assert answer.status == 403 and "may not" in answer.text, (text, answer)
        for text in ("SELECT public.lower(1)", "SELECT OPERATOR(public.@@@) 'PG_VERSION'::text",
                     "SELECT 1 ORDER BY 'a' USING OPERATOR(public.@@@)",
                     "SELECT * FROM dblink('', 'SELECT 1') AS t(a int)",
                     "SELECT * FROM crosstab('SELECT 1, 2, 3') AS t(a int, b int)"):
            assert ask(text).status == 403, text
        # A column is named without its table where a function has its name.
        postgres.sql("ALTER TABLE people RENAME COLUMN name TO soundex", database)
        refused = ask("SELECT p.soundex FROM people p")
        assert refused.status == 403 and "without its table" in refused.text
        assert ask("SELECT soundex FROM people p").json["rows"] == [{"soundex": "A"}]
    finally:
        server.stop()


def test_reading_only(book, postgres, database):
    book.run("append", "account-a", "AccountOpened", '{"id":"a"}')
    book.run("sql", "delete from totals", "--database", "people", status=5)
    book.run("sql", "select * into x from totals", "--database", "people", status=5)
    book.run("sql", "select * from nowhere", "--database", "people", status=1)
    # What the database's user may read, and nobody who asks is to.
    for text in ("select rolpassword from pg_authid", "select * from pg_catalog.pg_stat_activity",
                 "select 1 from totals where exists (select from PG_SHADOW)",
                 "with a as (select * from pg_class) select * from a"):
        refused = book.run("sql", text, "--database", "people", status=5)
        assert "may not read the server's own tables" in refused.errors
    refused = book.run("sql", "select option_value from information_schema.user_mapping_options",
                       "--database", "people", status=5)
    assert "may not read the server's own tables" in refused.errors
    # A function of one value is also called as if it were that value's column.
    for text in ("select pg_read_file('PG_VERSION')", "select ('PG_VERSION'::text).pg_read_file",
                 "select x.pg_read_file from unnest(array['PG_VERSION']) x",
                 "select (x.v).pg_read_file from (select 'PG_VERSION'::text as v) x",
                 "select 1 where ('PG_VERSION'::text).pg_read_file.length > 0",
                 "select x.v.\"pg_read_file\" from (select 'PG_VERSION'::text as v) x",
                 "select ('select 1'::text).ts_stat", "select ('/etc/hosts'::text).lo_import"):
        refused = book.run("sql", text, "--database", "people", status=5)
        assert "the server's own functions" in refused.errors, text
    answer = book.run("sql", "select * from totals", status=1)
    assert "in the database people" in answer.errors
    rows = book.json("sql", "select 1 as a, 2 as a, null as n, true as t, 1.50 as d, "
                     "2.5::float8 as f, '\\x00ff'::bytea as b, "
                     "timestamptz '2011-03-01 08:26:00+00' as at, '{\"x\":1}'::jsonb as j, "
                     "timestamptz '2011-03-01 08:26:00.02422+00' as u",
                     "--database", "people")
    assert rows == [{"a": 1, "a_2": 2, "n": None, "t": 1, "d": 1.5, "f": 2.5, "b": "\\x00ff",
                     "at": "2011-03-01T08:26:00Z", "j": '{"x": 1}',
                     "u": "2011-03-01T08:26:00.024220Z"}]


def test_a_text_that_it_cannot_keep_stops_the_model_by_name(book):
    book.run("append", "account-a", "AccountOpened", '{"id":"a\\u0000b"}')
    said = book.run("get", "GetTotal", "account=a", "--after", "1", status=1).errors
    assert "NUL character" in said and "event 1" in said, said


@pytest.mark.parametrize("way", ["rebuild", "purge.sql"])
def test_a_person_is_forgotten_in_it(way, book, postgres, database):
    """As in SQLite: no row tells the name any more, in no generation."""
    folder = book.folder / "models" / "owners"
    folder.mkdir()
    (folder / "model.yaml").write_text(MODEL + f"personal: {way}\n", encoding="utf-8")
    (folder / "schema.sql").write_text(
        "CREATE TABLE owners (customer text PRIMARY KEY, owner text, n bigint)", encoding="utf-8")
    (folder / "OwnerNamed.sql").write_text(
        "INSERT INTO owners VALUES (:customer, :owner, 1) ON CONFLICT (customer) "
        "DO UPDATE SET owner = excluded.owner, n = owners.n + 1", encoding="utf-8")
    if way != "rebuild":
        (folder / way).write_text("UPDATE owners SET owner = NULL WHERE customer = :_subject",
                                  encoding="utf-8")
    for n in range(5):
        book.run("append", f"account-{n}", "OwnerNamed",
                 json.dumps({"customer": f"c-{n}", "owner": f"Marker{n} Berg"}))
    book.run("model", "read", "owners", "--after", "5")
    key = book.json("forget", "c-3", "--wait")["key"]
    rows = dict(postgres.sql("SELECT customer, owner FROM owners ORDER BY 1", database))
    assert rows.pop("c-3") in ("", '{"$forgotten":"%s"}' % key)
    assert rows == {f"c-{n}": f"Marker{n} Berg" for n in (0, 1, 2, 4)}
    tables = [t for (t,) in postgres.sql("SELECT relname FROM pg_class WHERE relname LIKE "
                                         "'owners\\_\\_g%' AND relkind = 'r'", database)]
    assert len(tables) == 1 and "Marker3" not in str(postgres.sql(f"TABLE {tables[0]}", database))


def test_sealed_fields_stay_in_files(book):
    folder = book.folder / "models" / "owners"
    folder.mkdir()
    (folder / "model.yaml").write_text(MODEL + "personal: sealed\n", encoding="utf-8")
    (folder / "schema.sql").write_text("CREATE TABLE owners (owner text)", encoding="utf-8")
    (folder / "OwnerNamed.sql").write_text("INSERT INTO owners VALUES (:owner)", encoding="utf-8")
    said = book.run("check", status=1)
    assert "`personal: sealed` needs a SQLite database" in said.text + said.errors
