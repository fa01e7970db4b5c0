# SPDX-License-Identifier: Apache-2.0
"""Services in SQLite: what is one service's alone is its user's, and what several share is the
daemon's, where SQLite's authorizer holds their commands. Needs root, as whom others are tried."""
import os
import pathlib
import shutil
import sqlite3
import tempfile

import pytest
from conftest import Book

OWN = {
    "book.yaml": "book: two\ndata: data\ndatabases:\n  orders: sqlite:FOLDER/orders/orders.db\n"
                 "  users: sqlite:FOLDER/users/users.db\n  reading: sqlite:reading.db\n",
    "services/orders.yaml": "database: orders\nuser: games\nkey: file:secrets/orders.key\n",
    "services/users.yaml": "database: users\nuser: daemon:daemon\nkey: file:secrets/users.key\n",
    "models/all/model.yaml": "database: reading\nsync: events\nsource: [order]\n",
    "models/all/schema.sql": "CREATE TABLE all_orders (id TEXT PRIMARY KEY);\n",
    "models/all/Placed.sql": "INSERT INTO all_orders VALUES (:_stream);\n",
}
SHARED = {
    "book.yaml": "book: two\ndata: data\ndatabases: {shop: sqlite:FOLDER/shop/shop.db}\n",
    "services/orders.yaml": "database: shop\nuser: games\ntables: {orders: {public: [id]}}\n"
                            "reads: {users.people: {columns: [id, name], version: 1}}\n",
    "services/users.yaml": "database: shop\nuser: daemon\n"
                           "tables: {people: {public: [id, name]}}\n",
}


@pytest.fixture
def folder():
    """Where other users get to, as in /srv."""
    if os.geteuid() != 0:
        pytest.skip("only root can try as others")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="daybook-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def make(binary, folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.replace("FOLDER", str(folder)))
    book = Book(binary, folder, folder / "data")
    book.run("append", "order-1", "Placed", "{}")
    return book


def fill(path, text):
    """A database whose session leaves its log behind, as a program's that runs."""
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA journal_mode = wal;" + text)
    return connection


@pytest.fixture
def own(binary, folder):
    book = make(binary, folder, OWN)
    book.sessions = []
    for name in ("orders", "users"):
        (folder / name).mkdir()
        book.sessions.append(fill(folder / name / f"{name}.db", f"CREATE TABLE {name} (id)"))
    return book


@pytest.fixture
def shared(binary, folder):
    book = make(binary, folder, SHARED)
    (folder / "shop").mkdir()
    book.sessions = [fill(folder / "shop" / "shop.db",
                          "CREATE TABLE people (id, name, email); CREATE TABLE orders (id)")]
    return book


def modes(folder):
    return {str(path.relative_to(folder)): (path.stat().st_uid, path.stat().st_gid,
                                            path.stat().st_mode)
            for path in sorted(folder.rglob("*")) if "data" not in path.parts}


def apply(book):
    """Keys are made first, and are given away in the same run."""
    book.run("service", "apply", "--yes")
    assert book.json("service", "check") == []


def test_files_become_their_users(own, folder):
    before = modes(folder)
    plan = own.run("service", "apply", "-o", "json", status=1)
    assert modes(folder) == before and "--yes" in plan.errors
    assert any(row["statement"] == f"chown games:games {folder}/orders/orders.db && chmod 0600 "
               f"{folder}/orders/orders.db" for row in plan.json), plan
    apply(own)
    now = modes(folder)
    assert now["orders"] == (5, 60, 0o40700) and now["users"] == (1, 1, 0o42770)
    for name in ("orders.db", "orders.db-wal", "orders.db-shm"):
        assert now[f"orders/{name}"] == (5, 60, 0o100600)
    assert now["users/users.db"] == (1, 1, 0o100660)
    assert now["secrets/users.key"] == (1, 1, 0o100640)
    assert own.json("service", "apply", "--yes") == [] and modes(folder) == now
    matrix = own.json("service", "verify")
    assert own.json("service", "verify", "--surprises") == [] and modes(folder) == now
    got = {(row["service"], row["action"], row["thing"]): row["got"] for row in matrix}
    assert got["orders", "write", f"the database {folder}/orders/orders.db"] == "yes"
    assert got["orders", "read", f"the database {folder}/users/users.db-wal"] == "no"
    assert got["users", "make in", f"the folder {folder}/orders"] == "no"
    assert got["users", "list", f"the book's data {folder}/data"] == "no"
    assert got["users", "read", f"the API key {folder}/secrets/orders.key"] == "no"
    assert "untested" not in {row["how"] for row in matrix}


# What somebody may do by hand to orders' files, what check says of it, and who finds it by trying.
KINDS = {
    "a file is others', too": ("chmod 0644 orders/orders.db", "0644", "users", "read"),
    "a log is others', too": ("chmod 0644 orders/orders.db-wal", "0644", "users", "read"),
    "an index is others', too": ("chmod 0666 orders/orders.db-shm", "0666", "users", "write"),
    "a folder is others', too": ("chmod 0777 orders", "0777", "users", "make in"),
    "a key is others', too": ("chmod 0644 secrets/orders.key", "0644", "users", "read"),
    "a file is taken away": ("chmod 0000 orders/orders.db", "0000", "orders", "read"),
    "a file can be read alone": ("chmod 0400 orders/orders.db", "0400", "orders", "write"),
    "a folder can be read alone": ("chmod 0500 orders", "0500", "orders", "make in"),
    "a file can be written alone": ("chown root:games orders/orders.db && chmod 0602 "
                                    "orders/orders.db", "0602", "users", "write"),
    "a file is another's": ("chown daemon orders/orders.db", "daemon:games's", "users", "write"),
    "a folder is another's": ("chown daemon orders", "daemon:games's", "users", "make in"),
    "a file is another group's": ("chown :daemon orders/orders.db && chmod 0660 orders/orders.db",
                                  "games:daemon's", "users", "write"),
    "a key is another's": ("chown daemon secrets/orders.key", "daemon:games's", "users", "read"),
    "there is no file": ("rm orders/orders.db", "there is no", "orders", "read"),
    "there is no folder": ("rm -r orders", "there is no", "orders", "make in"),
}


def test_every_change_by_hand_is_found_and_mended(own, folder):
    """The folder lets others through: what is in it must hold alone."""
    apply(own)
    for kind, (command, what, service, action) in KINDS.items():
        (folder / "orders").chmod(0o711)
        os.system(f"cd {folder} && {command}")
        found = own.json("service", "check", status=1)
        assert any(what in row["what"] and row["database"] == "$files" for row in found), kind
        tried = own.json("service", "verify", "--surprises", status=1)
        assert any((row["service"], row["action"]) == (service, action) for row in tried), \
            (kind, tried)
        own.run("service", "apply", "--yes")
        assert own.json("service", "check") == [], kind
    assert own.json("service", "verify", "--surprises") == []


def test_what_cannot_be_given_is_named(own, folder):
    """And nothing is half done."""
    file = folder / "services" / "orders.yaml"
    text = file.read_text()

    def refused(words, before=None):
        before = before or modes(folder)
        answer = own.run("service", "apply", "--yes", status=1)
        assert words in answer.errors, answer
        assert modes(folder) == before

    for user, words in (("nobody9", "this machine has no user nobody9"),
                        ("root", "root opens everything"),
                        ("daemon", "is the user of services/users.yaml, too"),
                        ("games:nogroup9", "this machine has no group nogroup9"),
                        ("games:daemon", "games is not in the group daemon")):
        file.write_text(text.replace("games", user))
        refused(words)
    # Of a group that another service's user is in, as sync is in nogroup.
    users = folder / "services" / "users.yaml"
    of_users = users.read_text()
    file.write_text(text.replace("games", "nobody:nogroup"))
    users.write_text(of_users.replace("daemon:daemon", "sync"))
    refused("sync, the user of services/users.yaml, is in the group nogroup, too")
    users.write_text(of_users)
    file.write_text(text.replace("games", "'0 x'"))
    assert "`0 x` is no user" in own.run("check", status=1).text
    file.write_text(text)
    # A link to what is somebody else's.
    (folder / "orders" / "orders.db-journal").symlink_to(folder / "book.yaml")
    refused("is no plain file")
    (folder / "orders" / "orders.db-journal").unlink()
    os.link(folder / "book.yaml", folder / "orders" / "orders.db-journal")
    refused("is no plain file or folder with this name alone; nothing was changed"[:30])
    (folder / "orders" / "orders.db-journal").unlink()
    (folder / "orders" / "notes.txt").write_text("")
    refused("give it a folder of its own, `sqlite:/srv/orders/orders.db`")
    (folder / "orders" / "notes.txt").unlink()
    apply(own)
    # What a service puts there itself does not keep the others from being looked at.
    (folder / "orders" / "notes.txt").write_text("")
    os.chown(folder / "orders" / "notes.txt", 5, 60)
    apply(own)


def test_who_cannot_become_others_says_so(own, folder):
    """Untested is no pass, and nothing can be given away."""
    apply(own)
    os.system(f"chown -R nobody {folder}/data {folder}/secrets")
    own.binary = folder / "daybook"
    shutil.copy(os.path.realpath(os.environ.get("DAYBOOK_BINARY", "build/daybook")), own.binary)
    real = own.command
    own.command = lambda *words: ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
                                  *real(*words)]
    for service in ("orders", "users"):
        file = folder / "services" / f"{service}.yaml"
        file.write_text("\n".join(line for line in file.read_text().splitlines()
                                  if not line.startswith("key")).replace("games", "games:games"))
    answer = own.run("service", "verify", "-o", "json", status=1)
    assert {row["how"] for row in answer.json} == {"untested"}, answer
    assert {row["got"] for row in answer.json} == {"unknown"}
    assert "could not be tried" in answer.errors and "only root" in answer.json[0]["why"]


def test_a_shared_file_is_the_daemons(shared, folder):
    """Nobody opens it, and commands are held by SQLite."""
    apply(shared)
    assert modes(folder)["shop/shop.db"] == (0, 0, 0o100600)
    assert shared.json("service", "verify", "--surprises") == []
    got = {(row["service"], row["action"], row["thing"]): row["got"]
           for row in shared.json("service", "verify")}
    for service, action, thing, answer in (
            ("orders", "read", f"the shared database {folder}/shop/shop.db", "no"),
            ("orders", "read", "people.name", "yes"), ("orders", "read", "people.email", "no"),
            ("orders", "update", "people.name", "no"), ("orders", "insert", "orders.id", "yes"),
            ("orders", "delete", "people", "no"), ("users", "read", "orders.id", "no"),
            ("users", "drop", "people", "no"), ("users", "attach a file", "the database", "no")):
        assert got[service, action, thing] == answer, (service, action, thing)


def test_a_shared_file_that_others_can_open_is_found(shared, folder):
    apply(shared)
    for command in ("chmod 0644 shop/shop.db", "chown games shop/shop.db", "chmod 0777 shop"):
        os.system(f"cd {folder} && {command}")
        assert shared.json("service", "check", status=1)[0]["database"] == "$files"
        assert shared.json("service", "verify", "--surprises", status=1), command
        shared.run("service", "apply", "--yes")
        assert shared.json("service", "check") == []
    # A view over what is another's is looked through.
    shared.sessions[0].execute("CREATE VIEW seen AS SELECT email FROM people")
    shared.sessions[0].commit()
    assert shared.json("service", "verify", "--surprises") == []
