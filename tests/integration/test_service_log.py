# SPDX-License-Identifier: Apache-2.0
"""What services may in the book: `service apply` makes their keys, `service check` finds what was
changed by hand, `service verify` asks with each key. With a server, and without one."""
import re
import stat

import pytest

FILES = {
    "book.yaml": "book: two\ndata: data\ndatabases: {reading: sqlite:reading.db}\n",
    "services/orders.yaml": "events: {append: [order, cart], read: [user]}\nmodels: [orders]\n"
                            "key: file:secrets/orders.key\n"
                            "scopes: ['append:note-eu-*', 'read:note-eu-1', metrics]\n",
    "services/users.yaml": "events: {append: [user]}\nkey: file:secrets/users.key\n",
    "services/none.yaml": "events: {append: [none]}\n",
    "models/orders/model.yaml": "database: reading\nsync: events\nsource: [order, cart]\n",
    "models/orders/schema.sql": "CREATE TABLE orders (id TEXT PRIMARY KEY);\n",
    "models/orders/Placed.sql": "INSERT INTO orders VALUES (:_stream);\n",
    "views/many.sql": "-- refresh: every day at 02:00\nSELECT count(*) AS n FROM orders\n",
    "queries/All.sql": "SELECT id FROM orders\n",
    "commands/Name.lua": "return { stream = function(c) return 'user-1' end,\n"
                         "decide = function() return event('Named', {}) end }\n",
}
SERVICES = ["orders", "users"]


@pytest.fixture(params=["a server", "no server"])
def book(request, make_book, tmp_path, serve):
    for name, text in FILES.items():
        file = tmp_path / "book" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    book = make_book(tmp_path / "book")
    book.run("append", "user-1", "Named", "{}")
    book.server = serve(book) if request.param == "a server" else None
    return book


def secret(book, service):
    return book.folder / "secrets" / f"{service}.key"


def stored(book):
    """All but what was refused, which is written down."""
    return [e for e in book.json("read", "--hidden", "--limit", "10000")
            if e["stream"] != "$access"]


def test_keys_are_made_once(book):
    before = stored(book)
    plan = book.run("service", "apply", "-o", "json", status=1)
    assert [(row["database"], row["service"]) for row in plan.json] == [
        ("$log", service) for service in SERVICES]
    assert "--yes" in plan.errors and stored(book) == before and not secret(book, "orders").exists()
    assert book.json("service", "check", status=1) == plan.json
    book.run("service", "apply", "--yes")
    assert book.json("service", "check") == [] == book.json("service", "apply", "--yes")
    assert stat.S_IMODE(secret(book, "orders").stat().st_mode) == 0o600
    keys = {row["service"]: row for row in book.json("access", "ls")}
    assert set(keys) == set(SERVICES) and all(row["scopes"] == [] for row in keys.values())
    assert len(stored(book)) == len(before) + 2


def test_what_services_ask_goes_as_expected(book):
    """Every operation but those that are anybody's is tried, and nothing of it is stored."""
    book.run("service", "apply", "--yes")
    before = stored(book)
    matrix = book.json("service", "verify")
    assert stored(book) == before and book.json("service", "verify", "--surprises") == []
    got = {(row["service"], row["action"], row["thing"]): row["got"] for row in matrix}
    for service, action, thing, answer in (
            ("orders", "append", "stream order-_daybook_probe", "yes"),
            ("orders", "append", "stream user-_daybook_probe", "no"),
            ("orders", "read", "stream user-_daybook_probe", "yes"),
            ("orders", "append", "stream note-eu-_daybook_probe", "yes"),
            ("users", "append", "stream note-eu-_daybook_probe", "no"),
            ("orders", "read", "stream note-eu-1", "yes"),
            ("orders", "read", "stream note-eu-_daybook_probe", "no"),
            ("orders", "read", "stream $access-keys", "no"),
            ("orders", "read", "streams none-*", "no"), ("users", "read", "category order", "no"),
            ("orders", "GET", "/metrics", "yes"), ("users", "GET", "/metrics", "no"),
            ("users", "read", "model orders", "no"), ("orders", "rebuild", "model orders", "yes"),
            ("users", "ask", "query All", "no"), ("users", "refresh", "view many", "no"),
            ("users", "make", "group orders-_daybook_probe", "no"),
            ("users", "make", "group users-_daybook_probe", "yes"),
            ("users", "set conditions on", "every stream", "no"),
            ("users", "read without a key", "the book", "no"),
            ("users", "read with a wrong key", "the book", "no"),
            ("users", "have more than its file says", "its keys", "no")):
        assert got[service, action, thing] == answer, (service, action, thing)
    if book.server is not None:
        assert_all_operations(book.server, matrix)


def assert_all_operations(server, matrix):
    tried = {row["statement"].split("?")[0] for row in matrix if row["service"] == "users"}
    shapes = {f"{method.upper()} {path}"
              for path, operations in server.get("/openapi.json").json["paths"].items()
              for method in operations}
    untried = {shape for shape in shapes if not any(
        re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(shape)), one) for one in tried)}
    # What says nothing of any stream or person, lists, and other ways to read a stream.
    assert untried == {f"GET {path}" for path in (
        "/healthz /openapi.json /proof/checkpoint /proof/inclusion /proof/consistency /proof/key "
        "/groups /models /queries /captures /views /plan /streams/{stream}/rules "
        "/streams/{stream}/state /streams/{stream}/log").split()}


# Each kind of scope, given by hand to the key in the file, and what users can do then.
SCOPES = {
    "append:order": ("append", "stream order-_daybook_probe"),
    "append:order-_d*": ("append", "stream order-_daybook_probe"),
    "read:order": ("read", "category order"), "read:order-_*": ("read", "streams order-*"),
    "read:*": ("read", "stream cart-_daybook_probe"),
    "read:$*": ("read", "stream $access-keys"),
    "model:orders": ("read", "model orders"), "operate:orders": ("rebuild", "model orders"),
    "view:many": ("read", "view many"), "query:*": ("ask", "query All"),
    "command:Place": ("do", "command Place"),
    "group:orders-*": ("make", "group orders-_daybook_probe"),
    "capture:orders": ("wait for", "capture orders"), "forget": ("GET", "/forgotten"),
    "metrics": ("GET", "/metrics"), "read-only": ("POST", "/sql"),
    "admin": ("DELETE", "/streams/_daybook_probe-1")}


def key_of(book, service):
    return secret(book, service).read_text()[4:16]


def add_by_hand(book):
    book.run("access", "add", "--service", "users", "--scope", "query:All")


def revoke(book):
    book.run("access", "revoke", key_of(book, "users"))


def rotate(book):
    book.run("access", "rotate", key_of(book, "users"))
    book.run("access", "revoke", key_of(book, "users"), "--old")


def swap(book):
    """The file has another service's key, which is no fault that a run could mend."""
    secret(book, "users").write_text(secret(book, "orders").read_text())


# How a key is changed otherwise, and what check and verify say of it.
CHANGES = {
    "another key with a scope": (add_by_hand, "query:All", "have more than its file says"),
    "the key is revoked": (revoke, "is revoked", "log in"),
    "the key has another secret": (rotate, "is not good", "log in"),
    "there is no file": (lambda book: secret(book, "users").unlink(), "there is no", "log in"),
    "the file holds no key": (lambda book: secret(book, "users").write_text("none\n"),
                              "holds no API key", "log in"),
    "the file holds another's key": (swap, "is of the service orders", "append"),
}


def test_every_scope_by_hand_is_found_and_mended(make_book, tmp_path, serve):
    """One server for all of them: what a key may counts at once."""
    for name, text in FILES.items():
        file = tmp_path / "book" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    book = make_book(tmp_path / "book")
    (book.folder / "commands" / "Place.sql").write_text(
        "-- service: shop\nINSERT INTO carts (id) VALUES (:id);\n")
    (book.folder / "services" / "shop.yaml").write_text(
        "database: shop\ntables: {carts: }\n")
    (book.folder / "book.yaml").write_text(
        "book: two\ndata: data\ndatabases: {reading: sqlite:reading.db, shop: sqlite:shop.db}\n")
    for name, head in (("queries/All.sql", "-- database: reading\n"),
                       ("views/many.sql", "-- database: reading\n")):
        (book.folder / name).write_text(head + FILES[name])
    serve(book)
    kinds = re.findall(r"[\w-]+", re.search(r"write (.*?); a name", book.run(
        "access", "scope", "x" * 12, "--scope", "x", status=1).errors, re.S).group(1))
    words = {kind for kind in kinds if kind.islower() and kind != "or"}
    assert {scope.split(":")[0] for scope in SCOPES} == words and len(words) == 13
    book.run("service", "apply", "--yes")
    for scope, (action, thing) in SCOPES.items():
        book.run("access", "scope", key_of(book, "users"), "--scope", scope)
        found = book.json("service", "check", "users", status=1)
        assert [row["what"] for row in found] == [f"its key {key_of(book, 'users')} has {scope}"]
        tried = book.json("service", "verify", "users", "--surprises", status=1)
        assert any((row["action"], row["thing"], row["got"]) == (action, thing, "yes")
                   for row in tried), (scope, tried)
        book.run("service", "apply", "--yes")
        assert book.json("service", "check") == []
    assert book.json("service", "verify", "--surprises") == []
    # What the file names stays.
    book.run("access", "scope", key_of(book, "orders"), "--scope", "metrics,forget")
    book.run("service", "apply", "--yes")
    assert {tuple(row["scopes"]) for row in book.json("access", "ls")} == {(), ("metrics",)}


@pytest.mark.parametrize("book,kind", [
    ("a server" if number % 2 else "no server", kind) for number, kind in enumerate(CHANGES)],
    indirect=["book"])
def test_every_change_of_a_key_is_found(book, kind):
    change, what, action = CHANGES[kind]
    book.run("service", "apply", "--yes")
    change(book)
    found = book.run("service", "check", status=1)
    assert what in found.text + found.errors, found
    tried = book.json("service", "verify", "users", "--surprises", status=1)
    assert action in {row["action"] for row in tried}, tried
    if "file holds" in kind:
        before = stored(book)
        book.run("service", "apply", "--yes", status=1)
        assert stored(book) == before
        secret(book, "users").unlink()
    book.run("service", "apply", "--yes")
    assert book.json("service", "check") == [] == book.json("service", "verify", "--surprises")


def test_a_key_that_cannot_be_kept_is_nobodys(book):
    """Its file cannot be written."""
    (book.folder / "secrets" / "users.key.new" / "in the way").mkdir(parents=True)
    book.run("service", "apply", "users", "--yes", status=1)
    assert [row["state"] for row in book.json("access", "ls")] == ["revoked"]
