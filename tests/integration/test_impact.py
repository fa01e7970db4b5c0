# SPDX-License-Identifier: Apache-2.0
"""`daybook impact`: for each of many migrations exactly the users in a book whose users are known,
and nothing that cannot be judged is called safe."""
import datetime
import json
import sqlite3
import subprocess
import time

import pytest
from conftest import Book, Server, clean_environment, missing
from services.postgres import Missing, Postgres

FILES = {
    "book.yaml": "book: shop\ndatabases:\n  shop: SHOP\n  reading: sqlite:reading.db\n",
    "services/users.yaml": """database: shop
tables:
  people: {public: [id, name, email], version: 2, capture: cdc, columns: [id, name, born]}
  notes:
events: {append: [user]}
""",
    "services/orders.yaml": """database: shop
tables: {orders: {public: [id, total]}}
outbox: {table: outbox}
reads: {users.people: {columns: [id, name], version: 2}}
events: {append: [order], read: [users.people]}
models: [names]
""",
    "services/mail.yaml": """database: shop
tables: {letters: }
reads:
  users.people: {columns: [id, email], version: 2}
  orders.orders: {columns: [id], version: 1}
""",
    "commands/AddPerson.sql": """-- service: users
INSERT INTO people (id, name, email) VALUES (:id, :name, :email)
ON CONFLICT (id) DO UPDATE SET email = excluded.email;
""",
    "commands/NotePerson.sql": "-- service: users\nINSERT INTO notes VALUES (:id, :text);\n",
    "commands/ShowPerson.sql": """-- service: users
SELECT p.*, lower(n.text) AS note FROM people AS p JOIN notes AS n ON n.id = p.id WHERE p.id = :id
ORDER BY note;
""",
    "commands/PlaceOrder.sql": """-- service: orders
INSERT INTO orders (id, person, total)
SELECT :id, p.id, :total FROM people p WHERE p.id = :person;
INSERT INTO outbox (id, stream, type, data) VALUES (:id, 'order-1', 'OrderPlaced', '{}');
""",
    "commands/CancelOrder.sql": """-- service: orders
UPDATE orders SET cancelled = 1 WHERE id = :id AND person IN (SELECT id FROM people);
""",
    "models/names/model.yaml": "database: reading\nsync: cdc\nsource: [users.people]\n",
    "models/names/schema.sql": "CREATE TABLE names (id integer PRIMARY KEY, name text);\n",
    "models/names/people.insert.sql": "INSERT INTO names VALUES (:new.id, :new.name);\n",
    "models/names/people.delete.sql": "DELETE FROM names WHERE id = :old.id;\n",
    "models/totals/model.yaml": "database: shop\nsync: events\nsource: [order]\n",
    "models/totals/schema.sql":
        "CREATE TABLE totals (person integer PRIMARY KEY, amount bigint NOT NULL);\n",
    "models/totals/OrderPlaced.sql": "INSERT INTO totals (person, amount) VALUES (:id, 1);\n",
    "queries/GetTotals.sql": "-- database: shop\nSELECT person, amount FROM totals\n",
}
CONTRACT = {"orders", "mail"}
IMAGES = {"names/insert", "names/delete"}
CAPTURE = {"users.people"}
EVENTS = {"orders!"}

# What each migration breaks, may break, and leaves alone, by user.
CASES = {
    "drop a column of contracts": (
        "ALTER TABLE people DROP COLUMN name",
        {"orders", "users.people", "AddPerson", "names/insert"}, {"orders!", "ShowPerson"}, set()),
    "drop a column of one contract": (
        "ALTER TABLE people DROP COLUMN email", {"mail", "AddPerson"}, {"ShowPerson"}, set()),
    "drop a column that is captured": (
        "ALTER TABLE people DROP COLUMN born", {"users.people"}, {"orders!", "ShowPerson"}, set()),
    "drop a column of nobody": (
        "ALTER TABLE orders DROP COLUMN remark", set(), set(), set()),
    "drop a column of a command": (
        "ALTER TABLE orders DROP COLUMN cancelled", {"CancelOrder"}, set(), set()),
    "drop a column that is inserted by its place": (
        "ALTER TABLE notes DROP COLUMN colour", {"NotePerson"}, set(), set()),
    "drop a table": (
        "DROP TABLE orders", {"mail", "PlaceOrder", "CancelOrder"}, set(), set()),
    "drop a table that is captured": (
        "DROP TABLE people", CONTRACT | CAPTURE | EVENTS | IMAGES |
        {"AddPerson", "ShowPerson", "PlaceOrder", "CancelOrder"}, set(), set()),
    "drop a table of nobody": ("DROP TABLE basket", set(), set(), set()),
    "drop with what stands on it": (
        "DROP TABLE basket CASCADE", set(), CONTRACT | {
            "AddPerson", "NotePerson", "ShowPerson", "PlaceOrder", "CancelOrder", "totals/handler",
            "GetTotals"}, set()),
    "rename a table": (
        "ALTER TABLE orders RENAME TO purchases", {"mail", "PlaceOrder", "CancelOrder"}, set(),
        set()),
    "rename a column": (
        "ALTER TABLE orders RENAME COLUMN id TO number", {"mail", "PlaceOrder", "CancelOrder"},
        set(), set()),
    "rename a column that the query's own name hides": (
        "ALTER TABLE notes RENAME COLUMN note TO remark", set(), set(), set()),
    "move a table": (
        "ALTER TABLE orders SET SCHEMA archive", {"mail", "PlaceOrder", "CancelOrder"}, set(),
        set()),
    "change a type": (
        "ALTER TABLE people ALTER COLUMN email TYPE citext", set(),
        {"mail", "AddPerson", "ShowPerson"}, set()),
    "change a type that is captured": (
        "ALTER TABLE people ALTER COLUMN born TYPE timestamptz", set(),
        {"orders!", "ShowPerson", "users.people"}, set()),
    "forbid NULL where it is written": (
        "ALTER TABLE people ALTER COLUMN email SET NOT NULL", set(), {"AddPerson"},
        {"mail", "ShowPerson"}),
    "forbid NULL where it is left out": (
        "ALTER TABLE orders ALTER COLUMN remark SET NOT NULL", set(), {"PlaceOrder"}, set()),
    "allow NULL": (
        "ALTER TABLE people ALTER COLUMN name DROP NOT NULL", set(),
        {"orders", "orders!", "names/insert", "ShowPerson"}, {"AddPerson"}),
    "set a default": (
        "ALTER TABLE orders ALTER COLUMN remark SET DEFAULT ''", set(), set(), {"PlaceOrder"}),
    "drop a default": (
        "ALTER TABLE orders ALTER COLUMN remark DROP DEFAULT", set(), {"PlaceOrder"}, set()),
    "add a column": ("ALTER TABLE orders ADD COLUMN currency text", set(), set(), set()),
    "add a column where all are read": (
        "ALTER TABLE people ADD COLUMN phone text", set(), {"ShowPerson"}, set()),
    "add a column where they are inserted by place": (
        "ALTER TABLE notes ADD COLUMN colour text", set(), set(), {"NotePerson"}),
    "add a required column": (
        "ALTER TABLE orders ADD COLUMN currency text NOT NULL", {"PlaceOrder"}, set(), set()),
    "add a filled column": (
        "ALTER TABLE orders ADD COLUMN currency text NOT NULL DEFAULT 'EUR'", set(), set(), set()),
    "add a check": (
        "ALTER TABLE orders ADD CONSTRAINT positive CHECK (total > 0)", set(),
        {"PlaceOrder", "CancelOrder"}, set()),
    "add references": (
        "ALTER TABLE orders ADD FOREIGN KEY (person) REFERENCES people", set(),
        {"PlaceOrder", "CancelOrder", "AddPerson"}, set()),
    "change a primary key that is captured": (
        "ALTER TABLE people ADD PRIMARY KEY (id, name)", {"users.people"}, {"AddPerson"}, set()),
    "drop a constraint": (
        "ALTER TABLE people DROP CONSTRAINT people_pkey", set(), {"users.people", "AddPerson"},
        set()),
    "add an index": ("CREATE INDEX ON orders (total)", set(), set(), set()),
    "add a unique index": (
        "CREATE UNIQUE INDEX ON orders (person)", set(), {"PlaceOrder", "CancelOrder"}, set()),
    "drop an index": (
        "DROP INDEX people_email", set(), {"users.people", "AddPerson", "totals"}, set()),
    "drop an index of this file": (
        "CREATE INDEX fast ON orders (total); DROP INDEX fast", set(), set(), set()),
    "add a table": ("CREATE TABLE coupons (id int PRIMARY KEY)", set(), set(), set()),
    "change a table of this file": (
        "CREATE TABLE t (a int); ALTER TABLE t DROP COLUMN a; DROP TABLE t", set(), set(), set()),
    "change a table that may be there before": (
        "CREATE TABLE IF NOT EXISTS orders (id int);\nALTER TABLE orders DROP COLUMN total",
        {"PlaceOrder"}, set(), set()),
    "change a table of another one's name": (
        "CREATE TABLE archive.orders (id int);\nALTER TABLE orders DROP COLUMN total",
        {"PlaceOrder"}, set(), set()),
    "change a table that a temporary one hides": (
        "CREATE TEMP TABLE orders (id int);\nALTER TABLE orders DROP COLUMN total",
        {"PlaceOrder"}, set(), set()),
    "change a table of another case": (
        'CREATE TABLE "Orders" (id int);\nALTER TABLE orders DROP COLUMN total',
        {"PlaceOrder"}, set(), set()),
    "change a table under its new name": (
        "ALTER TABLE notes RENAME TO remarks;\nALTER TABLE remarks DROP COLUMN colour",
        {"NotePerson", "ShowPerson"}, set(), set()),
    "split a table": (
        "CREATE TABLE emails (person int, email text);\n"
        "INSERT INTO emails SELECT id, email FROM people;\n"
        "ALTER TABLE people DROP COLUMN email", {"mail", "AddPerson"}, {"ShowPerson"}, set()),
    "split a table behind a view": (
        "ALTER TABLE orders RENAME TO orders_all;\n"
        "CREATE VIEW orders AS SELECT id, person FROM orders_all", {"PlaceOrder", "CancelOrder"},
        {"mail"}, set()),
    "replace a view": (
        "CREATE OR REPLACE VIEW letters AS SELECT 1 AS id", set(), set(), set()),
    "replace a view that is read": (
        "CREATE OR REPLACE VIEW orders AS SELECT 1 AS total", {"mail", "PlaceOrder", "CancelOrder"},
        set(), set()),
    "change values": (
        "UPDATE people SET email = lower(email)", set(), {"mail", "ShowPerson"}, {"AddPerson"}),
    "delete rows": (
        "WITH gone AS (DELETE FROM orders RETURNING id) SELECT count(*) FROM gone", set(),
        {"mail", "PlaceOrder", "CancelOrder"}, set()),
    "take rights": (
        "REVOKE SELECT ON orders FROM mail", {"mail"}, set(), set()),
    "take rights of everybody": (
        "REVOKE SELECT ON orders FROM PUBLIC", set(), {"mail", "PlaceOrder", "CancelOrder"}, set()),
    "add a trigger": (
        "CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION f()", set(),
        {"PlaceOrder", "CancelOrder"}, set()),
    "drop a function": ("DROP FUNCTION lower(text)", {"ShowPerson"}, set(), set()),
    "a column of the outbox": (
        "ALTER TABLE outbox RENAME COLUMN type TO kind", {"orders", "PlaceOrder"}, set(), set()),
    "a model's own table": (
        "ALTER TABLE totals ALTER COLUMN amount TYPE numeric", {"totals"},
        {"totals/handler", "GetTotals"}, set()),
    "an index on a model's own table": (
        "CREATE INDEX ON totals (amount)", set(), set(), {"totals"}),
}
# Besides: what takes all columns, names without their tables, and Lua.
MORE = {
    "commands/KeepNotes.sql": "-- service: users\n"
                              "INSERT INTO kept (id, text) SELECT * FROM notes;\n",
    "commands/CopyNotes.sql": "-- service: users\nINSERT INTO kept SELECT * FROM notes;\n",
    "commands/FindLetters.sql": "-- service: mail\n"
                                "SELECT l.subject FROM letters l, orders o WHERE o.id = number "
                                "AND EXISTS (SELECT * FROM people);\n",
    "folds/users.people.lua": """-- state.born and "born" in a comment are no use
return {
    initial = { name = "" },
    on = {
        ["people.insert"] = function(state, data) state.name = data.new.name end,
        ["people.delete"] = function(state) return { name = "" } end,
    },
}
""",
    "sagas/order.lua": """local by = function(data) return data.order end
return {
    unmatched = "ignore",
    on = { ["OrderPlaced"] = { by = by, starts = true, run = function(state, data)
        return data, { step("cancel") }
    end } },
    steps = { cancel = {
        send = function(state) return command("CancelOrder", { id = state.order }) end,
        undo = none, timeout = "30 s", key = function(state) return state.order end,
    } },
}
""",
    "sagas/greet.lua": """return {
    unmatched = "ignore",
    on = { ["people.insert"] = { by = function(data) return data.new.id end, starts = true,
        run = function(state, data) return { born = data.new["born"] }, { complete() } end } },
    steps = {},
}
""",
    "models/greetings/model.yaml": "database: reading\nsync: events\nsource: [order]\n",
    "models/greetings/schema.sql":
        "CREATE TABLE greetings (id integer PRIMARY KEY, text text);\n",
    "models/greetings/OrderPlaced.sql": "-- with: person = users.people-{person}\n"
                                        "INSERT INTO greetings VALUES (:id, :person.name);\n",
}
FOLD, GREET, STATE, SAGA = "users.people~fold", "greet~saga", "greetings", "order~saga"
MORE_CASES = {
    "a column of a fold": (
        "ALTER TABLE people DROP COLUMN name",
        {"orders", "users.people", "AddPerson", "names/insert", FOLD, STATE},
        {"orders!", "ShowPerson", GREET}, set()),
    "a column of a saga": (
        "ALTER TABLE people RENAME COLUMN born TO birthday", {"users.people", GREET},
        {"orders!", "ShowPerson", FOLD, STATE}, set()),
    "a column that is not captured": (
        "ALTER TABLE people DROP COLUMN email", {"mail", "AddPerson"}, {"ShowPerson"}, set()),
    "what a saga has done": (
        "ALTER TABLE orders DROP COLUMN cancelled", {"CancelOrder", SAGA}, set(), set()),
    "a column less of all": (
        "ALTER TABLE notes DROP COLUMN colour", {"NotePerson", "KeepNotes"}, {"CopyNotes"}, set()),
    "a column more of all": (
        "ALTER TABLE notes ADD COLUMN colour text", {"KeepNotes"}, {"CopyNotes"}, {"NotePerson"}),
    "a column that another one's name is": (
        "ALTER TABLE orders ADD COLUMN number int", {"FindLetters"}, set(), set()),
    "a column under another one's name": (
        "ALTER TABLE orders RENAME COLUMN total TO number", {"FindLetters", "PlaceOrder"}, set(),
        set()),
    "a column that nobody looks at": (
        "ALTER TABLE people DROP COLUMN phone", set(), {"ShowPerson"}, set()),
}
# What changes anything of a database: all that use any of it.
BLIND = ["DO $$ BEGIN DROP TABLE people; END $$", "SELECT split_people()", "SET search_path = x",
         "ALTER TYPE mood ADD VALUE 'glad'", "DROP SCHEMA shop CASCADE", "CALL p()",
         "REASSIGN OWNED BY a TO b"]


def write(folder, address, extra=()):
    for name, text in {**FILES, **dict(extra)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.replace("SHOP", address), encoding="utf-8")


@pytest.fixture
def book(binary, data, tmp_path):
    write(tmp_path / "book", "postgres:env:NOWHERE")
    return Book(binary, tmp_path / "book", data)


def user_of(row):
    """A user by a name of its own: a model by its handlers', who reads events by `!`."""
    if row["kind"] == "events":
        return row["user"] + "!"
    if row["kind"] in ("fold", "saga"):
        return f"{row['user']}~{row['kind']}"
    if row["kind"] == "handler":
        change = row["file"].rsplit("/", 1)[1].split(".")
        return f"{row['user']}/{change[1] if len(change) == 3 else 'handler'}"
    return row["user"]


def judge(book, text, tmp_path, *arguments):
    file = tmp_path / "migration.sql"
    file.write_text(text, encoding="utf-8")
    result = subprocess.run(book.command("impact", file, "--database", "shop", "-o", "json",
                                         *arguments),
                            capture_output=True, text=True, timeout=60, check=False,
                            env=clean_environment() | getattr(book, "environment", {}))
    rows = json.loads(result.stdout) if result.stdout else []
    found = {"breaks": set(), "unknown": set(), "goes on": set()}
    for row in rows:
        if row["user"] is not None:
            found[row["verdict"]].add(user_of(row))
    found["unknown"] -= found["breaks"]
    found["goes on"] -= found["breaks"] | found["unknown"]
    return result, rows, found


@pytest.mark.parametrize("case", CASES)
def test_exactly_the_users_are_named(book, tmp_path, case):
    text, breaks, unknown, safe = CASES[case]
    result, rows, found = judge(book, text, tmp_path)
    assert found == {"breaks": breaks, "unknown": unknown, "goes on": safe}, result.stdout
    assert result.returncode == (1 if breaks or unknown else 0), result.stderr
    assert all(row["verdict"] == "goes on" for row in rows) == (not breaks and not unknown)


@pytest.mark.parametrize("case", MORE_CASES)
def test_lua_and_stars_are_judged(binary, data, tmp_path, case):
    write(tmp_path / "book", "postgres:env:NOWHERE", MORE.items())
    text, breaks, unknown, safe = MORE_CASES[case]
    result, rows, found = judge(Book(binary, tmp_path / "book", data), text, tmp_path)
    assert found == {"breaks": breaks, "unknown": unknown, "goes on": safe}, result.stdout
    for row in rows:
        if row["user"] == "greetings":
            assert row["why"].startswith("by the state of folds/users.people.lua: ")
        if row["kind"] == "saga" and row["user"] == "order":
            assert row["why"].startswith("by the command CancelOrder: ")
        assert row["version"] == (2 if row["kind"] == "service" else None)


@pytest.mark.parametrize("text", BLIND)
def test_what_cannot_be_judged_is_not_called_safe(book, tmp_path, text):
    result, rows, found = judge(book, text, tmp_path)
    assert result.returncode == 1
    assert CONTRACT | CAPTURE | EVENTS | IMAGES | {"AddPerson", "GetTotals"} <= (
        found["unknown"] | found["breaks"]), result.stdout
    assert found["goes on"] == set() and rows


def test_places_are_named(book, tmp_path):
    _, rows, _ = judge(book, "-- first\nSELECT 1;\n\n  ALTER TABLE people\n  DROP COLUMN email;\n",
                       tmp_path)
    mail = next(row for row in rows if row["user"] == "mail")
    assert (mail["line"], mail["column"]) == (4, 3)
    assert (mail["file"], mail["file_line"]) == ("services/mail.yaml", 4)
    assert mail["change"] == "drops the column people.email"
    assert "drop it later" in mail["first"]
    add = next(row for row in rows if row["user"] == "AddPerson")
    assert (add["file"], add["file_line"]) == ("commands/AddPerson.sql", 2)


def test_what_is_no_migration_is_refused(book, tmp_path):
    result, _, _ = judge(book, "SELECT 1;\nALTER TABLE people DROP COLUM name;", tmp_path)
    assert result.returncode == 1 and "migration.sql:2:" in result.stderr
    for text in ["SELECT " + "a+" * 30000 + "a", "SELECT " + "(" * 20000, "-- '" + "+a" * 9000,
                 "SELECT $$'$$" + "+a" * 9000]:
        result, _, _ = judge(book, text, tmp_path)
        assert result.returncode == 1 and "split it" in result.stderr, result.stderr
    large, _, _ = judge(book, "SELECT 1" + " " * 300000, tmp_path)
    assert large.returncode == 1 and "larger than" in large.stderr
    deep, _, _ = judge(book, "SELECT " + "(" * 2000 + "1" + ")" * 2000, tmp_path)
    assert deep.returncode in (0, 1)
    unknown = book.run("impact", tmp_path / "migration.sql", "--database", "shup", status=1)
    assert "book.yaml has no database shup" in unknown.errors


SQLITE_SCHEMA = """CREATE TABLE people (id INTEGER PRIMARY KEY, name, email, born);
CREATE TABLE notes (id, text);
CREATE TABLE orders (id INTEGER PRIMARY KEY, person, total, remark, cancelled);
CREATE TABLE outbox (id, stream, type, data);
CREATE TABLE letters (id); CREATE TABLE totals (person, amount);
CREATE VIEW everybody AS SELECT id, email FROM people;
"""


@pytest.fixture
def sqlite_book(binary, data, tmp_path):
    database = tmp_path / "shop.db"
    connection = sqlite3.connect(database)
    connection.executescript(SQLITE_SCHEMA)
    connection.close()
    write(tmp_path / "book", f"sqlite:{database}", {
        "commands/Mail.sql": "-- service: mail\n"
                             "SELECT everybody.email FROM everybody WHERE id = :id;\n",
        "commands/Both.sql": "-- service: orders\n"
                             "SELECT total, name FROM orders, people WHERE person = people.id;\n",
    }.items())
    return Book(binary, tmp_path / "book", data)


def test_sqlite_is_asked_what_is_used(sqlite_book, tmp_path):
    """It looks through a view, and knows whose a column without a table is."""
    _, _, found = judge(sqlite_book, "ALTER TABLE people DROP COLUMN email", tmp_path)
    assert found["breaks"] == {"mail", "AddPerson", "Mail"}
    assert found["unknown"] == {"ShowPerson"}
    _, _, found = judge(sqlite_book, "ALTER TABLE orders DROP COLUMN name", tmp_path)
    assert found["breaks"] | found["unknown"] == set()
    _, _, found = judge(sqlite_book, "ALTER TABLE orders DROP COLUMN total", tmp_path)
    assert found["breaks"] == {"PlaceOrder", "Both"}
    (tmp_path / "shop.db").rename(tmp_path / "elsewhere.db")
    _, _, found = judge(sqlite_book, "ALTER TABLE people DROP COLUMN email", tmp_path)
    assert "Mail" in found["unknown"], "nobody knows what the view stands on"


def test_sqlites_own_grammar_is_judged_by_its_words(sqlite_book, tmp_path):
    result, rows, found = judge(
        sqlite_book, "PRAGMA foreign_keys = OFF;\nCREATE TABLE made (a, b) WITHOUT ROWID;\n"
        "REPLACE INTO letters VALUES (1);\n", tmp_path)
    assert result.returncode == 0 and found["unknown"] == set(), result.stdout
    result, rows, found = judge(
        sqlite_book, "UPDATE OR REPLACE orders SET total = 1;\n", tmp_path)
    assert result.returncode == 1
    assert found["unknown"] == {"mail", "PlaceOrder", "CancelOrder", "Both"}
    assert any("PostgreSQL's grammar" in row["change"] for row in rows)
    result, rows, found = judge(
        sqlite_book, "CREATE TABLE made (id INTEGER PRIMARY KEY, total text);\n"
        "INSERT INTO made SELECT id, total FROM orders;\nDROP TABLE orders;\n"
        "ALTER TABLE made RENAME TO orders;\n", tmp_path)
    assert found["breaks"] == {"PlaceOrder", "CancelOrder", "Both"}
    assert found["unknown"] == {"mail"}, result.stdout


def test_what_a_server_has_seen_counts(book, tmp_path):
    try:
        server = Postgres(settings=["shared_preload_libraries = 'pg_stat_statements'"])
    except Missing as why:
        missing(str(why))
    try:
        book.environment = {"NOWHERE": server.create("shop")}
        result, _, _ = judge(book, "SELECT 1", tmp_path, "--observed")
        assert result.returncode == 1 and "pg_stat_statements" in result.stderr
        server.sql("CREATE EXTENSION pg_stat_statements; CREATE TABLE people (id int, secret text);"
                   "CREATE ROLE stranger LOGIN; GRANT SELECT ON people TO stranger", "shop")
        server.sql("SET ROLE stranger; SELECT secret FROM people WHERE id = 7", "shop")
        change = "ALTER TABLE people DROP COLUMN secret"
        _, rows, found = judge(book, change, tmp_path, "--observed")
        assert "stranger" in found["breaks"]
        row = next(row for row in rows if row["user"] == "stranger")
        assert row["kind"] == "observed" and "SELECT secret FROM people" in row["statement"]
        _, _, found = judge(book, change, tmp_path)
        assert "stranger" not in found["breaks"]
        revoke = "REVOKE SELECT ON people FROM stranger"
        _, _, found = judge(book, revoke, tmp_path, "--observed")
        assert found["breaks"] == {"stranger"}, "whose right is taken is the role that did it"
        # A table of the same name stands first for the role: whose column it is is not known.
        server.sql("CREATE SCHEMA stranger AUTHORIZATION stranger;"
                   "CREATE TABLE stranger.people (id int, secret text)", "shop")
        _, rows, found = judge(book, change, tmp_path, "--observed")
        assert "stranger" in found["unknown"] and "stranger" not in found["breaks"], rows
    finally:
        server.close()


def times(rows, user, kind):
    row = next(row for row in rows if (row["user"], row["kind"]) == (user, kind))
    return row["seen_after"], row["last_seen"]


def now():
    return datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")


def test_when_a_use_was_last_seen_is_kept(binary, data, tmp_path):
    """The server counts, and has no times: a look's count differs from the one before."""
    try:
        server = Postgres(settings=["shared_preload_libraries = 'pg_stat_statements'"])
    except Missing as why:
        missing(str(why))
    try:
        address = server.create("shop")
        (tmp_path / "shop.url").write_text(address)
        (tmp_path / "shop.url").chmod(0o600)
        write(tmp_path / "book", f"postgres:file:{tmp_path / 'shop.url'}", {
            "services/users.yaml": FILES["services/users.yaml"].replace(
                ", capture: cdc, columns: [id, name, born]", ""),
            "services/orders.yaml": FILES["services/orders.yaml"].replace(
                ", read: [users.people]", "").replace("outbox: {table: outbox}\n", "").replace(
                "models: [names]\n", ""),
            "models/names/model.yaml": "database: reading\nsync: events\nsource: [order]\n",
            "models/names/people.insert.sql": "", "models/names/people.delete.sql": "",
            "models/names/OrderPlaced.sql": "INSERT INTO names VALUES (:id, :name);\n",
        }.items())
        for file in ("people.insert.sql", "people.delete.sql"):
            (tmp_path / "book/models/names" / file).unlink()
        book = Book(binary, tmp_path / "book", data)
        data.mkdir(exist_ok=True)
        server.sql("CREATE SCHEMA hidden; CREATE EXTENSION pg_stat_statements SCHEMA hidden;"
                   "CREATE TABLE people (id int PRIMARY KEY, name text, email text);"
                   "CREATE TABLE orders (id int, person int, total int, cancelled int);"
                   "CREATE ROLE mail LOGIN; GRANT SELECT ON people TO mail;"
                   # What a role could put in front of the extension's view is not asked.
                   "CREATE VIEW public.pg_stat_statements AS SELECT 1 / 0 AS queryid", "shop")
        read = "SET ROLE mail; SELECT id FROM people WHERE email = 'x'"
        add = ("INSERT INTO people (id, name, email) VALUES (%d, 'a', 'b') "
               "ON CONFLICT (id) DO UPDATE SET email = excluded.email")
        change = "ALTER TABLE people DROP COLUMN email"
        server.sql(read + "; RESET ROLE; ALTER ROLE mail PASSWORD 'hush'", "shop")
        before = now()
        _, rows, found = judge(book, change, tmp_path, "--observed")
        first = now()
        assert {"mail", "AddPerson"} <= found["breaks"]
        for kind in ("service", "observed"):
            after, by = times(rows, "mail", kind)
            assert after is None and before <= by <= first, "nobody looked before"
        assert times(rows, "AddPerson", "command") == (None, None), "nobody has done it"
        seen = times(rows, "mail", "service")[1]
        # One is done, and the other is not.
        server.sql(add % 1, "shop")
        _, rows, _ = judge(book, change, tmp_path, "--observed")
        assert times(rows, "mail", "service") == (None, seen)
        after, by = times(rows, "AddPerson", "command")
        assert after == seen and first <= by <= now()
        # What the server has forgotten was done all the same; without asking it, too.
        server.sql("SELECT hidden.pg_stat_statements_reset()", "shop")
        judge(book, change, tmp_path, "--observed")
        _, rows, _ = judge(book, change, tmp_path)
        assert times(rows, "mail", "service") == (None, seen)
        assert times(rows, "AddPerson", "command") == (after, by)
        # A server looks by itself.
        server.sql(read, "shop")
        daemon = Server(book)
        try:
            for _ in range(100):
                _, rows, _ = judge(book, change, tmp_path)
                if times(rows, "mail", "service")[1] != seen:
                    break
                time.sleep(0.1)
        finally:
            daemon.stop()
        after, by = times(rows, "mail", "service")
        assert after > seen and by > after
        file = data / "observed-shop.jsonl"
        assert file.stat().st_mode & 0o007 == 0, "it has what others asked"
        text = file.read_text()
        assert "hush" not in text, "a server keeps passwords in what sets them"
        file.write_text(text.replace('"calls":', '"calls":x', 1))
        result, _, _ = judge(book, change, tmp_path)
        assert result.returncode == 1 and "observed-shop.jsonl:2: " in result.stderr
    finally:
        server.close()
