# SPDX-License-Identifier: Apache-2.0
"""What services may in MongoDB: users and roles, on a server of ours that has them as MongoDB's
documentation says (tests/services/mongod_roles.py): no real one can be had here."""
import copy
import stat

import pytest
from conftest import Book, missing
from services.ferretdb import FerretDB, Missing
from services.mongod import Refused
from services.mongod_roles import RolesMongod, role

FILES = {
    "book.yaml": "book: shop\ndatabases:\n  shop: mongodb:file:secrets/shop\n",
    "services/users.yaml": "database: shop\ntables: {people: , passwords: }\n"
                           "login: file:secrets/users\n",
    "services/orders.yaml": "database: shop\ntables: {orders: }\nlogin: file:secrets/orders\n",
}


@pytest.fixture
def server():
    server = RolesMongod()
    for name in ("people", "passwords", "orders", "nobodys"):
        server.collections["shop", name] = {"1": {"_id": 1, "a": 1}}
    yield server
    server.close()


@pytest.fixture
def shop(server, binary, tmp_path):
    for name, text in (FILES | {"secrets/shop": server.connection(database="shop")}).items():
        (tmp_path / "book" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "book" / name).write_text(text)
    return Book(binary, tmp_path / "book", tmp_path / "data")


def state(server):
    return copy.deepcopy((server.users, server.roles, server.collections))


def test_a_plan_is_shown_and_done_once(shop, server):
    before = state(server)
    plan = shop.run("service", "apply", "-o", "json", status=1)
    assert plan.text, plan
    statements = [row["statement"] for row in plan.json]
    assert any(s.startswith('{"createUser":"orders","pwd":"***"') for s in statements), plan
    assert any(s.startswith('{"createRole":"orders"') for s in statements)
    assert '{"grantRolesToUser":"orders","roles":["orders"]}' in statements
    assert state(server) == before and not (shop.folder / "secrets/orders").exists()
    shop.run("service", "apply", "--yes")
    after = state(server)
    assert shop.json("service", "check") == [] == shop.json("service", "apply", "--yes")
    assert state(server) == after
    assert stat.S_IMODE((shop.folder / "secrets/orders").stat().st_mode) == 0o600
    password = server.users["shop", "orders"]["pwd"]
    assert len(password) == 48 and password in (shop.folder / "secrets/orders").read_text()
    assert password not in plan.text


def test_what_services_try_goes_as_expected(shop, server):
    shop.run("service", "apply", "--yes")
    server.collections["shop", "_daybook_probe_0123abcd"] = {}  # of a run that was killed
    kept = {name: copy.deepcopy(kept) for name, kept in server.collections.items()
            if "probe" not in name[1]}
    matrix = shop.json("service", "verify")
    assert server.collections == kept and shop.json("service", "verify", "--surprises") == []
    got = {(row["service"], row["action"], row["thing"]): row["got"] for row in matrix}
    for service, action, thing, answer in (
            ("users", "read", "people", "yes"), ("users", "insert", "passwords", "yes"),
            ("users", "delete", "orders", "no"), ("orders", "read", "people", "no"),
            ("orders", "read through its own", "people", "no"),
            ("orders", "write through its own", "people", "no"),
            ("orders", "read", "nobodys", "no"), ("orders", "update", "orders", "yes"),
            ("orders", "make a collection", "the database", "no"),
            ("orders", "read", "another database", "no"),
            ("orders", "read its users", "the database", "no")):
        assert got[service, action, thing] == answer, (service, action, thing)
    later = [row for row in matrix if row["thing"].startswith("_daybook_probe_")]
    assert {row["action"] for row in later} >= {"read", "insert", "drop", "change"}
    assert {row["got"] for row in later} == {"no"}


def grant(server, database, collection, action):
    server.roles["shop", "orders"]["privileges"].append(
        {"resource": {"db": database, "collection": collection}, "actions": [action]})


def give(server, user, name, database="shop"):
    server.users[user]["roles"].append(role(name, database))


def take(server, action):
    for one in server.roles["shop", "orders"]["privileges"]:
        one["actions"] = [a for a in one["actions"] if a != action]


def inherit(server):
    server.roles["shop", "orders"]["roles"].append(role("users", "shop"))


def holder(server):
    server.users["other", "eve"] = {"pwd": "x", "roles": [role("orders", "shop")],
                                    "customData": {}, "authenticationRestrictions": []}


def other_role(server):
    server.roles["shop", "reports"] = {"privileges": [], "roles": [role("orders", "shop")]}


# Each kind of change by hand, what check says, and what verify finds (None: nothing the service
# itself can do is changed by it).
KINDS = {
    f"a right on another's: {action}": (
        lambda server, a=action: grant(server, "shop", "people", a), f'has "{action}" on', "yes")
    for action in ("find", "insert", "update", "remove", "collMod", "dropCollection",
                   "createIndex", "listIndexes", "changeStream")} | {
    f"its own right is taken: {action}": (
        lambda server, a=action: take(server, a), f"has no {action}", "no")
    for action in ("find", "insert", "update", "remove", "collMod", "collStats",
                   "createCollection", "createIndex", "dropCollection", "dropIndex",
                   "indexStats", "listIndexes")} | {
    "a right on all collections": (lambda server: grant(server, "shop", "", "find"),
                                   'has "find" on', "yes"),
    "a right on all databases": (lambda server: grant(server, "", "", "find"), 'has "find" on',
                                 "yes"),
    "a right on another database": (lambda server: grant(server, "other", "", "find"),
                                    'has "find" on', "yes"),
    "a right on the server": (
        lambda server: server.roles["shop", "orders"]["privileges"].append(
            {"resource": {"cluster": True}, "actions": ["serverStatus"]}),
        'has "serverStatus" on', "yes"),
    "a right on anything": (
        lambda server: server.roles["shop", "orders"]["privileges"].append(
            {"resource": {"anyResource": True}, "actions": ["find"]}), 'has "find" on', "yes"),
    "another's role": (lambda server: give(server, ("shop", "orders"), "users"),
                       "orders of shop has the role users", "yes"),
    "the server's role": (lambda server: give(server, ("shop", "orders"), "readAnyDatabase",
                                              "admin"),
                          "orders of shop has the role readAnyDatabase of admin", "yes"),
    "its role inherits": (inherit, "orders of shop has the role users", "yes"),
    "its role is another user's": (holder, "eve of other has the role orders", None),
    "its role is in another role": (other_role, "reports of shop has the role orders", None),
    "its role is taken": (lambda server: server.users["shop", "orders"].update(roles=[]),
                          "has not its role", "no"),
    "its role is dropped": (lambda server: server.do_dropRole({"dropRole": "orders",
                                                               "$db": "shop"}),
                            "there is no role orders", "no"),
    "its user is dropped": (lambda server: (server.users.pop(("shop", "orders")),
                                            server.roles.pop(("shop", "orders"))),
                            "there is no user orders", "no"),
    "its password is another": (lambda server: server.users["shop", "orders"].update(pwd="x"),
                                "it cannot log in", "no"),
    "it may log in from elsewhere alone": (
        lambda server: server.users["shop", "orders"].update(
            authenticationRestrictions=[{"clientSource": ["10.0.0.1"]}]),
        "may log in from some places alone", "no"),
}


def test_every_change_by_hand_is_found_and_mended(shop, server):
    shop.run("service", "apply", "--yes")
    rounds = {}  # rights that differ in their action go together
    for kind in KINDS:
        rounds.setdefault(kind.split(": ")[0], []).append(kind)
    for kinds in rounds.values():
        for kind in kinds:
            KINDS[kind][0](server)
        found = shop.json("service", "check", status=1)
        wanted = {KINDS[kind][2] for kind in kinds} - {None}
        tried = shop.json("service", "verify", "--surprises", status=1 if wanted else 0)
        assert {row["got"] for row in tried} >= wanted, (kinds, tried)
        for kind in kinds:
            what = KINDS[kind][1]
            action = kind.partition(": ")[2]
            assert any(what in row["what"] or action and action in row["what"]
                       for row in found), (kind, found)
            assert not action or any(row["action"] == action and row["how"] == "asked"
                                     for row in tried), (kind, tried)
        shop.run("service", "apply", "--yes")
        assert shop.json("service", "check") == [], kinds
    assert shop.json("service", "verify", "--surprises") == []


def test_a_failure_at_each_step_takes_back_what_was_done(shop, server):
    """Also rights that are missing: the n-th command about users and roles is refused."""
    before = state(server)
    changing = ("createUser", "createRole", "grantRolesToUser")
    steps = []

    def refuse(command):
        name = next(iter(command))
        if name in changing:
            steps.append(name)
            if len(steps) == number:
                raise Refused(13, "Unauthorized", f"not authorized to {name}")

    server.before = refuse
    for number in range(1, 7):
        steps.clear()
        answer = shop.run("service", "apply", "--yes", status=5)
        assert "give it the role userAdminAnyDatabase; nothing was changed" in answer.errors
        assert state(server) == before and len(steps) == number
        assert not (shop.folder / "secrets/orders").exists()
    server.before = None
    shop.run("service", "apply", "--yes")


def test_what_is_somebody_elses_is_named(shop, server):
    cases = {
        "the user `orders` of the database is there already":
            lambda: server.users.update({("shop", "orders"): {
                "pwd": "x", "roles": [], "customData": {}, "authenticationRestrictions": []}}),
        "the role `orders` of the database is there already":
            lambda: server.roles.update({("shop", "orders"): {"privileges": [], "roles": []}})}
    for words, make in cases.items():
        make()
        before = state(server)
        for command in (["apply", "--yes"], ["check"]):
            assert words in shop.run("service", *command, status=1).errors
        assert state(server) == before
        server.users.pop(("shop", "orders"), None)
        server.roles.pop(("shop", "orders"), None)
    file = shop.folder / "services" / "users.yaml"
    text = file.read_text()
    file.write_text(text.replace("people: ,", "people: {public: [name]},"))
    (shop.folder / "services" / "orders.yaml").write_text(
        FILES["services/orders.yaml"] + "reads: {users.people: {columns: [name], version: 1}}\n")
    refused = shop.run("service", "apply", "--yes", status=1).errors
    assert "services/orders.yaml:4:9: MongoDB grants whole documents" in refused, refused
    (shop.folder / "secrets" / "shop").write_text(server.connection(database="shop",
                                                                    password="wrong"))
    assert "does not let us in" in shop.run("service", "check", status=3).errors


def test_one_that_is_alone_owns_all(shop, server):
    (shop.folder / "services" / "orders.yaml").unlink()
    (shop.folder / "services" / "users.yaml").write_text("database: shop\ntables: {people: }\n")
    assert "has to be this service's alone" in shop.run("service", "check").errors
    (shop.folder / "services" / "users.yaml").write_text(
        "database: shop\nlogin: file:secrets/users\n")
    shop.run("service", "apply", "--yes")
    assert shop.json("service", "check") == []
    matrix = shop.json("service", "verify")
    got = {(row["action"], row["thing"]): row["got"] for row in matrix}
    assert got["read", "nobodys"] == "yes" == got["make a collection", "the database"]
    assert shop.json("service", "verify", "--surprises") == []
    assert not [name for name in server.collections if "probe" in name[1]]


def test_a_server_without_roles_is_refused(shop):
    """FerretDB speaks MongoDB's protocol, and has none."""
    try:
        server = FerretDB()
    except Missing as why:
        missing(str(why))
    try:
        (shop.folder / "secrets" / "shop").write_text(server.connection(database="shop"))
        for words in (["apply", "--yes"], ["check"], ["verify"]):
            refused = shop.run("service", *words, status=1).errors
            assert "the server of the database shop has no roles" in refused, refused
        assert not (shop.folder / "secrets" / "orders").exists()
    finally:
        server.close()
