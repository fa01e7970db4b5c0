# SPDX-License-Identifier: Apache-2.0
"""Migrations against a book whose contracts are known: each names exactly its users, by a table
that was written from the contracts; and each is really done, on PostgreSQL and on SQLite, where
every statement of the book is tried behind it. What fails there is named as broken, what answers
otherwise is not called safe, and what is named as broken fails."""
import json
import sqlite3
import subprocess

from conftest import Book, clean_environment, missing
from services.postgres import Missing, Postgres

SCHEMA = {
    "people": "CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, email text UNIQUE, "
              "born date, status {mood})",
    "notes": "CREATE TABLE notes (id int, text text, colour text)",
    "kept": "CREATE TABLE kept (id int, text text, colour text)",
    "orders": "CREATE TABLE orders (id integer PRIMARY KEY {ids}, person int NOT NULL, "
              "total numeric(10, 2) NOT NULL DEFAULT 0, remark text, cancelled int NOT NULL "
              "DEFAULT 0, placed text DEFAULT CURRENT_TIMESTAMP)",
    "letters": "CREATE TABLE letters (id int PRIMARY KEY, reader int, subject text)",
    "totals": "CREATE VIEW totals AS SELECT person, sum(total) AS amount FROM orders "
              "WHERE cancelled = 0 GROUP BY person",
}
POSTGRES = """
CREATE ROLE users LOGIN; CREATE ROLE orders LOGIN; CREATE ROLE mail LOGIN; CREATE ROLE stranger;
CREATE TYPE mood AS ENUM ('well', 'ill');
CREATE SEQUENCE order_ids START 100; GRANT USAGE ON SEQUENCE order_ids TO orders;
%s;
CREATE FUNCTION full_name(int) RETURNS text LANGUAGE sql SECURITY DEFINER AS
  'SELECT name FROM people WHERE id = $1';
GRANT ALL ON people, notes, kept TO users; GRANT ALL ON orders, totals TO orders;
GRANT ALL ON letters TO mail; GRANT SELECT (id, status) ON people TO orders;
GRANT SELECT (id, email) ON people TO mail; GRANT SELECT (person, amount) ON totals TO mail;
"""
ROWS = """
INSERT INTO people VALUES (1, 'Anna', 'a@x', '2000-01-01', 'well'), (2, 'Bo', NULL, NULL, 'ill');
INSERT INTO notes VALUES (1, 'a', 'red'); INSERT INTO letters VALUES (1, 1, 'Hello');
INSERT INTO orders (id, person, total) VALUES (1, 1, 10), (2, 2, 20);
CREATE TABLE basket (id int); CREATE INDEX totals_index ON orders (total);
"""
# Name: the service, and what it does; every name a user by itself.
COMMANDS = {
    "AddPerson": ("users", "INSERT INTO people (id, name, email) VALUES (:id, :name, :email) "
                           "ON CONFLICT (email) DO NOTHING"),
    "Rename": ("users", "UPDATE people SET name = :name WHERE id = :id"),
    "Forget": ("users", "DELETE FROM people WHERE id = :id"),
    "ShowAll": ("users", "SELECT * FROM people ORDER BY id"),
    "Note": ("users", "INSERT INTO notes VALUES (:id, :text, :text)"),
    "KeepNotes": ("users", "INSERT INTO kept (id, text, colour) SELECT * FROM notes"),
    "Place": ("orders", "INSERT INTO orders (person, total) VALUES (:id, :total)"),
    "Cancel": ("orders", "UPDATE orders SET cancelled = 1 WHERE id = :id"),
    "FindIll": ("orders", "SELECT o.id, remark, status FROM orders o JOIN people p ON "
                          "p.id = o.person WHERE status = 'ill' ORDER BY o.id"),
    "Write": ("mail", "INSERT INTO letters (id, reader, subject) SELECT 9, id, :text FROM people "
                      "WHERE email = :email"),
    "Summary": ("mail", "SELECT person, amount FROM totals ORDER BY person"),
}
FUNCTION = {"ShowName": ("users", "SELECT full_name(:id)")}
CONTRACTS = {"mail people": ("mail", "SELECT id, email FROM people ORDER BY id"),
             "orders people": ("orders", "SELECT id, status FROM people ORDER BY id"),
             "mail totals": ("mail", "SELECT person, amount FROM totals ORDER BY person")}
VALUES = {"id": "1", "name": "'Eve'", "email": "'a@x'", "text": "'t'", "total": "5"}
FILES = {
    "services/users.yaml": "database: shop\nlogin: env:NOWHERE\ntables:\n"
                           "  people: {public: [id, email, status]}\n  notes:\n  kept:\n",
    "services/orders.yaml": "database: shop\nlogin: env:NOWHERE\ntables:\n  orders:\n"
                            "  totals: {public: [person, amount]}\n"
                            "reads: {users.people: {columns: [id, status], version: 1}}\n",
    "services/mail.yaml": "database: shop\nlogin: env:NOWHERE\ntables: {letters: }\nreads:\n"
                          "  users.people: {columns: [id, email], version: 1}\n"
                          "  orders.totals: {columns: [person, amount], version: 1}\n",
}
PEOPLE = {"AddPerson", "Rename", "Forget", "ShowAll", "FindIll", "Write", "mail people",
          "orders people"}
WRITERS = {"AddPerson", "Rename", "Forget"}
ORDERS = {"Place", "Cancel", "FindIll"}
TOTALS = {"Summary", "mail totals"}
INSERTERS = {"AddPerson", "Note", "KeepNotes", "Place", "Write"}
EVERYBODY = set(COMMANDS) | set(FUNCTION) | set(CONTRACTS)
PG = "postgres"

# What a migration breaks, what it may break, and where it can be done ("": both).
MIGRATIONS = {
    "drop a column of a contract": (
        "ALTER TABLE people DROP COLUMN status", {"FindIll", "orders people"}, {"ShowAll"}, ""),
    "drop a column that a key is of": (
        "ALTER TABLE people DROP COLUMN email", {"AddPerson", "Write", "mail people"}, {"ShowAll"},
        PG),
    "drop a column of nobody": ("ALTER TABLE orders DROP COLUMN placed", set(), set(), ""),
    "drop a column that all are given of": (
        "ALTER TABLE notes DROP COLUMN colour", {"Note", "KeepNotes"}, set(), ""),
    "drop a table": ("DROP TABLE letters", {"Write"}, set(), ""),
    "drop a table of nobody": ("DROP TABLE basket", set(), set(), ""),
    "drop a view": ("DROP VIEW totals", TOTALS, set(), ""),
    "drop a table and its view": (
        "DROP VIEW totals; DROP TABLE orders", ORDERS | TOTALS, set(), ""),
    "rename a table": ("ALTER TABLE letters RENAME TO mails", {"Write"}, set(), ""),
    "rename a table behind a view": (
        "ALTER TABLE notes RENAME TO remarks; CREATE VIEW notes AS SELECT id, text FROM remarks",
        set(), {"Note", "KeepNotes"}, ""),
    "rename a column": (
        "ALTER TABLE people RENAME COLUMN status TO state", {"FindIll", "orders people"},
        {"ShowAll"}, ""),
    "rename a column to another one's name": (
        "ALTER TABLE people RENAME COLUMN born TO remark", {"FindIll"}, {"ShowAll"}, ""),
    "change a type": (
        "ALTER TABLE people ALTER COLUMN email TYPE varchar(20)", set(),
        {"AddPerson", "Write", "mail people", "ShowAll"}, PG),
    "change a type to one that does not compare": (
        "ALTER TABLE people ALTER COLUMN born TYPE int USING 1", set(), {"ShowAll"}, PG),
    "forbid NULL": (
        "UPDATE people SET born = '2001-01-01' WHERE born IS NULL;"
        "ALTER TABLE people ALTER COLUMN born SET NOT NULL", set(), {"AddPerson", "ShowAll"}, PG),
    "allow NULL": (
        "ALTER TABLE people ALTER COLUMN name DROP NOT NULL", set(), {"ShowAll"}, PG),
    "set a default": (
        "ALTER TABLE people ALTER COLUMN born SET DEFAULT '2002-02-02'", set(), set(), PG),
    "drop a default": (
        "ALTER TABLE orders ALTER COLUMN cancelled DROP DEFAULT", set(), {"Place"}, PG),
    "split a table": (
        "CREATE TABLE emails (person int PRIMARY KEY, email text);"
        "INSERT INTO emails SELECT id, email FROM people;"
        "ALTER TABLE people DROP COLUMN email", {"AddPerson", "Write", "mail people"}, {"ShowAll"},
        PG),
    "split a table behind a view": (
        "CREATE TABLE people_all AS SELECT * FROM people; DROP TABLE people;"
        "CREATE VIEW people AS SELECT id, name, email FROM people_all;"
        "GRANT ALL ON people TO users; GRANT SELECT ON people TO orders, mail",
        {"FindIll", "orders people"}, PEOPLE - {"FindIll", "orders people"}, PG),
    "merge two tables": (
        "ALTER TABLE notes ADD COLUMN kept int DEFAULT 0;"
        "INSERT INTO notes SELECT id, text, colour, 1 FROM kept; DROP TABLE kept",
        {"KeepNotes"}, set(), PG),
    "merge a column into another": (
        "UPDATE people SET name = name || ' ' || coalesce(email, '');"
        "ALTER TABLE people DROP COLUMN born", set(), {"ShowAll"}, ""),
    "replace a view with one column more": (
        "CREATE OR REPLACE VIEW totals AS SELECT person, sum(total) AS amount, count(*) AS n "
        "FROM orders WHERE cancelled = 0 GROUP BY person", set(), TOTALS, PG),
    "make a view anew with other columns": (
        "DROP VIEW totals; CREATE VIEW totals AS SELECT person, sum(total) AS sum FROM orders "
        "GROUP BY person", TOTALS, set(), ""),
    "make a view anew with other rows": (
        "DROP VIEW totals; CREATE VIEW totals AS SELECT person, sum(total) AS amount FROM orders "
        "WHERE total > 15 GROUP BY person", set(), TOTALS, ""),
    "add a column": ("ALTER TABLE people ADD COLUMN phone text", set(), {"ShowAll"}, ""),
    "add a column where their number counts": (
        "ALTER TABLE notes ADD COLUMN size int", {"KeepNotes"}, set(), PG),
    "add a column where they are given by place": (
        "ALTER TABLE notes ADD COLUMN size int", {"KeepNotes", "Note"}, set(), "sqlite"),
    "add a column of another one's name": (
        "ALTER TABLE orders ADD COLUMN status text", {"FindIll"}, set(), ""),
    "add a column that must be given": (
        "DELETE FROM letters; ALTER TABLE letters ADD COLUMN sent int NOT NULL", {"Write"}, set(),
        PG),
    "add a column that is filled": (
        "ALTER TABLE letters ADD COLUMN sent int NOT NULL DEFAULT 0", set(), set(), ""),
    "add a check": (
        "ALTER TABLE orders ADD CONSTRAINT c CHECK (total <> 5)", set(), {"Place", "Cancel"}, PG),
    "add a check of what comes": (
        "ALTER TABLE orders ADD CONSTRAINT c CHECK (total >= 0) NOT VALID", set(),
        {"Place", "Cancel"}, PG),
    "add references": (
        "ALTER TABLE orders ADD FOREIGN KEY (person) REFERENCES people", set(),
        {"Place", "Cancel"} | WRITERS, PG),
    "drop a constraint": (
        "ALTER TABLE people DROP CONSTRAINT people_email_key", set(), {"AddPerson"}, PG),
    "add an index": ("CREATE INDEX fast ON orders (person)", set(), set(), ""),
    "add a unique index": (
        "CREATE UNIQUE INDEX once ON orders (person)", set(), {"Place", "Cancel"}, ""),
    "drop an index": ("DROP INDEX totals_index", set(), {"AddPerson"}, ""),
    "move a table": (
        "CREATE SCHEMA archive; ALTER TABLE letters SET SCHEMA archive", {"Write"}, set(), PG),
    "drop a function": ("DROP FUNCTION full_name(int)", {"ShowName"}, set(), PG),
    "replace a function": (
        "CREATE OR REPLACE FUNCTION full_name(int) RETURNS text LANGUAGE sql AS "
        "$$SELECT 'nobody'$$", set(), {"ShowName"}, PG),
    "add a trigger": (
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no'; END$$;"
        "CREATE TRIGGER no BEFORE DELETE ON people FOR EACH ROW EXECUTE FUNCTION no()",
        set(), WRITERS, PG),
    "add a trigger of SQLite": (
        "CREATE TRIGGER no BEFORE DELETE ON people BEGIN SELECT RAISE(ABORT, 'no'); END;",
        set(), PEOPLE, "sqlite"),
    "drop a sequence": ("DROP SEQUENCE order_ids CASCADE", set(), EVERYBODY, PG),
    "change a sequence": ("ALTER SEQUENCE order_ids RESTART WITH 1", set(), INSERTERS, PG),
    "add a value of an enumeration": ("ALTER TYPE mood ADD VALUE 'so-so'", set(), EVERYBODY, PG),
    "partition a table": (
        "DROP TABLE notes; CREATE TABLE notes (id int, text text, colour text) PARTITION BY LIST "
        "(id); CREATE TABLE notes_1 PARTITION OF notes FOR VALUES IN (2)", set(),
        {"Note", "KeepNotes"}, PG),
    "take a right": (
        "REVOKE SELECT (id, email) ON people FROM mail", {"Write", "mail people"}, set(), PG),
    "take all rights": ("REVOKE ALL ON orders FROM orders", ORDERS, set(), PG),
    "take a right of a stranger": ("REVOKE ALL ON orders FROM stranger", set(), set(), PG),
    "give a right": ("GRANT SELECT ON orders TO mail", set(), set(), PG),
    "change an owner": ("ALTER TABLE letters OWNER TO stranger", set(), {"Write"}, PG),
    "hide rows": ("ALTER TABLE letters ENABLE ROW LEVEL SECURITY", set(), {"Write"}, PG),
    "change values": ("UPDATE people SET email = NULL", set(),
                      {"AddPerson", "Write", "mail people", "ShowAll"}, ""),
    "delete rows": ("DELETE FROM letters", set(), {"Write"}, ""),
    "drop with what stands on it": (
        "ALTER TABLE orders DROP COLUMN cancelled CASCADE", {"Cancel"}, EVERYBODY - {"Cancel"}, PG),
    "anything": ("DO $$ BEGIN ALTER TABLE people DROP COLUMN status; END $$", set(), EVERYBODY, PG),
}
# A function's text is not the book's: what calls it may use whatever is changed, but not these.
QUIET = {"add an index", "give a right"}
# What fails, and no text tells that it must: what a table had before, which rows there are, and
# what a statement does that nobody can read in it.
UNTOLD = {PG: {
    "rename a table behind a view": {"Note", "KeepNotes"},
    "forbid NULL": {"AddPerson"},
    "drop a default": {"Place"},
    "split a table behind a view": {"AddPerson"},
    "make a view anew with other rows": TOTALS,
    "add a check": {"Place"},
    "add references": {"Forget"},
    "drop a constraint": {"AddPerson"},
    "add a unique index": {"Place"},
    "add a trigger": {"Forget"},
    "drop a sequence": {"Place"},
    "change a sequence": {"Place"},
    "partition a table": {"Note", "KeepNotes"},
    "hide rows": {"Write"},
    "change values": {"AddPerson"},
    "drop with what stands on it": TOTALS,
    "anything": {"FindIll", "orders people"},
}, "sqlite": {
    "rename a table behind a view": {"Note", "KeepNotes"},
    "add a unique index": {"Place"},
    "add a trigger of SQLite": {"Forget"},
    "change values": {"AddPerson"},
}}


def user_of(row):
    """A contract by its service and table, which its line tells."""
    if row["kind"] != "service":
        return row["user"]
    lines = FILES[f"services/{row['user']}.yaml"].splitlines()
    return f"{row['user']} {lines[row['file_line'] - 1].split('.')[1].split(':')[0]}"


def write_book(folder, address, commands):
    files = FILES | {"book.yaml": f"book: shop\ndatabases:\n  shop: {address}\n"} | {
        f"commands/{name}.sql": f"-- service: {service}\n{text};\n"
        for name, (service, text) in commands.items()}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def judge(book, text, file):
    file.write_text(text, encoding="utf-8")
    result = subprocess.run(book.command("impact", file, "--database", "shop", "-o", "json"),
                            capture_output=True, text=True, timeout=60, check=False,
                            env=clean_environment() | {"NOWHERE": "host=nowhere"})
    assert result.stdout, result.stderr
    found = {"breaks": set(), "unknown": set(), "goes on": set()}
    for row in json.loads(result.stdout):
        if row["user"] is not None:
            found[row["verdict"]].add(user_of(row))
    found["unknown"] -= found["breaks"]
    bad = bool(found["breaks"] or found["unknown"])
    assert result.returncode == (1 if bad else 0), result.stdout + result.stderr
    return found["breaks"], found["unknown"]


def filled(text):
    for name, value in VALUES.items():
        text = text.replace(f":{name}", value)
    return text


def compare(name, judged, before, after):
    """before and after: of each user what it answers, or None where it fails. What fails and is
    only said to be unknown is given back."""
    _, breaks, unknown, _ = MIGRATIONS[name]
    if set(FUNCTION) <= before.keys() and name not in QUIET:
        unknown = unknown | (set(FUNCTION) - breaks)
    assert judged == (breaks, unknown & before.keys()), name
    assert None not in before.values(), before
    failing = {user for user, answer in after.items() if answer is None}
    changed = {user for user, answer in after.items() if answer != before[user]}
    assert breaks <= failing, (name, breaks - failing)
    assert changed <= breaks | unknown, (name, changed - breaks - unknown)
    return failing - breaks


def tried(server, migration, users):
    """Does a migration, tries each statement behind it, and takes all of it back."""
    script = ["BEGIN;", migration + ";", "\\echo done :ERROR"]
    for user, (role, text) in users.items():
        script += ["SAVEPOINT s;", f"SET LOCAL ROLE {role};", filled(text) + ";",
                   f"\\echo == {user}=:ERROR", "ROLLBACK TO s;"]
    result = subprocess.run(["psql", "-X", "-q", server.connection("shop")], text=True,
                            input="\n".join(script + ["ROLLBACK;"]), capture_output=True,
                            timeout=60, check=True)
    done, *answers = result.stdout.split("done ", 1)[1].split("== ")
    assert done.startswith("false"), (migration, result.stderr)
    found, text = {}, done.split("\n", 1)[1]
    for answer in answers:
        user, rest = answer.split("=", 1)
        failed, rest = rest.split("\n", 1)
        found[user] = None if failed == "true" else text
        text = rest
    return found


def test_on_postgres(binary, data, tmp_path):
    try:
        server = Postgres()
    except Missing as why:
        missing(str(why))
    try:
        server.create("shop")
        tables = ";\n".join(SCHEMA.values()).format(mood="mood",
                                                    ids="DEFAULT nextval('order_ids')")
        server.sql(POSTGRES % tables + ROWS, "shop")
        users = COMMANDS | FUNCTION | CONTRACTS
        write_book(tmp_path / "book", "postgres:env:NOWHERE", COMMANDS | FUNCTION)
        book = Book(binary, tmp_path / "book", data)
        before = tried(server, "SELECT 1", users)
        untold = {}
        for name, (migration, _, _, where) in MIGRATIONS.items():
            if where != "sqlite":
                left = compare(name, judge(book, migration, tmp_path / "m.sql"), before,
                               tried(server, migration, users))
                untold |= {name: left} if left else {}
        assert untold == UNTOLD[PG]
    finally:
        server.close()


def tried_on_sqlite(file, migration, users):
    source, copy = sqlite3.connect(file), sqlite3.connect(":memory:")
    source.backup(copy)
    copy.executescript(migration)
    copy.isolation_level = None
    found = {}
    for user, (_, text) in users.items():
        copy.execute("BEGIN")
        try:
            cursor = copy.execute(filled(text))
            found[user] = ([column[0] for column in cursor.description or ()], cursor.fetchall())
        except sqlite3.Error:
            found[user] = None
        copy.execute("ROLLBACK")
    source.close()
    copy.close()
    return found


def test_on_sqlite(binary, data, tmp_path):
    file = tmp_path / "shop.db"
    database = sqlite3.connect(file)
    database.executescript(";\n".join(SCHEMA.values()).format(mood="text", ids="") + ";" + ROWS)
    database.close()
    users = COMMANDS | CONTRACTS
    write_book(tmp_path / "book", f"sqlite:{file}", COMMANDS)
    for service in ("users", "orders", "mail"):  # Nobody logs in to a file.
        text = (tmp_path / f"book/services/{service}.yaml").read_text()
        (tmp_path / f"book/services/{service}.yaml").write_text(
            text.replace("login: env:NOWHERE\n", "\n"))
    book = Book(binary, tmp_path / "book", data)
    before = tried_on_sqlite(file, "SELECT 1", users)
    untold = {}
    for name, (migration, _, _, where) in MIGRATIONS.items():
        if where != PG:
            left = compare(name, judge(book, migration, tmp_path / "m.sql"), before,
                           tried_on_sqlite(file, migration, users))
            untold |= {name: left} if left else {}
    assert untold == UNTOLD["sqlite"]
