# SPDX-License-Identifier: Apache-2.0
"""Two services in one database: a transaction over both is done whole or not at all, in PostgreSQL
and in SQLite, and a migration that breaks a contract is refused."""
import random
import shutil
import sqlite3
import threading
import urllib.error

import pytest
from conftest import ROOT, Book, missing
from services.postgres import Missing, Postgres

SHOP = ROOT / "examples" / "shop-shared"
CREDIT = 1000


@pytest.fixture(scope="module")
def server():
    try:
        one = Postgres(settings=["wal_level = logical"])
    except Missing as reason:
        missing(str(reason))
    yield one
    one.close()


class Shared(Book):
    """The example, with its environment, and its tables as texts."""

    def __init__(self, kind, *arguments):
        super().__init__(*arguments)
        self.kind = kind

    def command(self, *arguments):
        more = ["--env", "sqlite"] if self.kind == "sqlite" else []
        return super().command(*arguments, *more)

    def rows(self, sql):
        if self.kind == "postgres":
            return [tuple(row) for row in self.postgres.sql(sql, "shop")]
        source = sqlite3.connect(self.data / "shop.db", timeout=30)
        try:
            return [tuple(str(value) for value in row) for row in source.execute(sql)]
        finally:
            source.close()


@pytest.fixture(params=["sqlite", "postgres"])
def shop(request, binary, tmp_path, data, monkeypatch):
    shutil.copytree(SHOP, tmp_path / "shop", ignore=shutil.ignore_patterns("data", "secrets"))
    book = Shared(request.param, binary, tmp_path / "shop", data)
    schema = (SHOP / "shop/schema.sql").read_text(encoding="utf-8")
    data.mkdir(exist_ok=True)
    if request.param == "sqlite":
        with sqlite3.connect(data / "shop.db") as source:
            source.executescript(schema)
        return book
    book.postgres = request.getfixturevalue("server")
    book.postgres.sql("DROP DATABASE IF EXISTS shop WITH (FORCE)")
    for role in ("users", "orders"):
        book.postgres.sql(f"DROP ROLE IF EXISTS {role}")
    monkeypatch.setenv("SHOP_SHARED", book.postgres.create("shop"))
    book.postgres.sql(schema, "shop")
    return book


def credits(shop):
    """By person: what is left, and what is left and was spent, which is what there was."""
    rows = shop.rows("SELECT id, credit, credit + (SELECT coalesce(sum(total), 0) FROM orders "
                     "WHERE person = people.id) FROM people")
    return {row[0]: int(row[1]) for row in rows}, {row[0]: int(row[2]) for row in rows}


def test_one_transaction_over_both(shop, serve):
    server = serve(shop)
    chance = random.Random(7)
    model = {str(person): CREDIT for person in (1, 2, 3)}
    orders = {}
    for _ in range(60):
        name, person, total = (str(chance.randint(0, 20)), chance.choice("12349"),
                               chance.choice([0, 5, 90, 400]))
        if chance.random() < 0.3:
            answer = server.post("/commands/CancelOrder", {"id": name})
            good = name in orders
            if good:
                owner, price = orders.pop(name)
                model[owner] += price
        else:
            answer = server.post("/commands/PlaceOrder",
                                 {"id": name, "person": int(person), "total": total})
            good = model.get(person, -1) >= total > 0 and name not in orders
            if good:
                orders[name] = (person, total)
                model[person] -= total
        assert answer.status == (200 if good else 422), (answer, model, orders)
        if not good:
            # What the first statement did is taken back with the second.
            assert credits(shop)[0] == model
    assert credits(shop)[0] == model and min(model.values()) < 400
    assert {name: (person, int(total)) for name, person, total in
            shop.rows("SELECT id, person, total FROM orders")} == orders


def test_a_kill_leaves_no_half_of_it(shop, serve):
    everybody = {str(person): CREDIT for person in (1, 2, 3)}
    for number in range(3):
        server = serve(shop)
        answered = []

        def place(server=server, number=number, answered=answered):
            for count in range(1000):
                try:
                    answer = server.post("/commands/PlaceOrder", {
                        "id": f"{number}-{count}", "person": count % 3 + 1, "total": 1})
                except (OSError, urllib.error.URLError):
                    return
                answered.append((f"{number}-{count}", answer.status))

        thread = threading.Thread(target=place)
        thread.start()
        while len(answered) < 20 + 10 * number and thread.is_alive():
            pass
        server.kill()
        thread.join()
        there = {row[0] for row in shop.rows("SELECT id FROM orders")}
        assert credits(shop)[1] == everybody
        assert len(answered) >= 20
        assert {name for name, status in answered if status == 200} <= there


def test_a_migration_that_breaks_a_contract_is_refused(shop):
    refused = shop.run("impact", shop.folder / "shop/split-names.sql", "-o", "json", status=1)
    broken = {(row["kind"], row["user"]) for row in refused.json if row["verdict"] == "breaks"}
    assert broken == {("service", "orders")}
    # The owner's own: which others do not read.
    own = shop.folder / "own.sql"
    own.write_text("ALTER TABLE people ADD COLUMN phone text;\n")
    shop.run("impact", own)


def test_check_warns_of_the_price(shop):
    faults = shop.run("check", "-o", "json").json
    assert [(fault["file"], fault["line"], fault["severity"]) for fault in faults] == [
        ("commands/CancelOrder.sql", 4, "warning"), ("commands/PlaceOrder.sql", 4, "warning")]
    assert all("people" in fault["what"] for fault in faults)


def test_a_command_of_one_keeps_to_its_contract(shop):
    """Where a file knows nobody, SQLite tells what a command would do, also through a view, and
    through a trigger that is made while the command has a session. What keys do is nobody's."""
    if shop.kind == "postgres":
        return
    (shop.folder / "services/users.yaml").write_text(
        "database: shop\ntables:\n  people: {public: [id, credit]}\n  secrets:\n")
    (shop.folder / "services/orders.yaml").write_text(
        "database: shop\ntables: {orders: }\n"
        "reads: {users.people: {columns: [id, credit], version: 1}}\n")
    for name, text in {
            "Names": "SELECT name FROM everybody", "Ids": "SELECT id FROM ids",
            "Count": "SELECT count(*) AS n FROM people", "Secrets": "SELECT count(*) FROM hidden",
            "Move": "UPDATE orders SET person = 2 WHERE id = 'x'"}.items():
        (shop.folder / "commands" / f"{name}.sql").write_text(f"-- service: orders\n{text};\n")
    (shop.folder / "commands/Leave.sql").write_text(
        "-- service: users\nDELETE FROM people WHERE id = 2;\n")
    source = sqlite3.connect(shop.data / "shop.db", isolation_level=None)
    source.executescript(
        "CREATE TABLE secrets (id integer); CREATE VIEW hidden AS SELECT * FROM secrets; "
        "CREATE VIEW everybody AS SELECT * FROM people; CREATE VIEW ids AS SELECT id FROM people; "
        "CREATE TABLE visits (id integer REFERENCES orders ON DELETE CASCADE); "
        "INSERT INTO orders VALUES ('x', 1, 5)")
    assert len(shop.json("do", "Ids", "{}")["rows"]) == 3
    assert shop.json("do", "Count", "{}")["rows"] == [{"n": 3}]
    for command, what in (("Names", "people.name is users's, and in no contract of orders"),
                          ("Secrets", "secrets.id is users's, and in no contract of orders")):
        refused = shop.run("do", command, "{}", status=1)
        assert f"commands/{command}.sql:2: {what}" in refused.errors
    # The order's key is looked for at the owner's, and the person's among the orders.
    shop.run("do", "Move", "{}")
    assert "FOREIGN KEY" in shop.run("do", "Leave", "{}", status=1).errors
    source.execute("CREATE TRIGGER pay AFTER UPDATE ON orders BEGIN "
                   "UPDATE people SET credit = 0 WHERE id = new.person; END")
    refused = shop.run("do", "Move", "{}", status=1)
    assert "the table people is users's, and would be changed" in refused.errors
    assert shop.rows("SELECT sum(credit) FROM people") == [("3000",)]
    source.close()


def test_a_new_trigger_is_seen_by_a_session_that_is_kept(shop, serve):
    if shop.kind == "postgres":
        return
    (shop.folder / "commands/Move.sql").write_text(
        "-- service: orders\nUPDATE orders SET person = 2;\n")
    server = serve(shop)
    assert server.post("/commands/Move", {}).status == 200
    with sqlite3.connect(shop.data / "shop.db") as source:
        source.execute("CREATE TRIGGER pay AFTER UPDATE ON orders BEGIN "
                       "UPDATE people SET credit = 0; END")
    answer = server.post("/commands/Move", {})
    assert answer.status == 500 and "would be changed" in answer.json["detail"], answer
    assert shop.rows("SELECT sum(credit) FROM people") == [("3000",)]


def test_its_services_can_do_what_they_should(shop):
    if shop.kind == "sqlite":
        # SQLite holds their commands; as which users they run the book does not say.
        shop.run("service", "apply", "--yes")
        assert shop.json("service", "check") == []
        assert (shop.data / "shop.db").stat().st_mode & 0o777 == 0o600
        rows = shop.json("service", "verify", status=1)
        assert not [row for row in rows if row["surprise"]]
        assert {row["how"] for row in rows} == {"tried", "untested"}
        got = {(row["service"], row["action"], row["thing"]): row["got"] for row in rows}
        assert got["orders", "read", "people.credit"] == "yes"
        assert got["orders", "update", "people.credit"] == "no"
        return
    shop.run("service", "apply", "--yes")
    assert shop.json("service", "verify", "--surprises") == []
    answer = shop.run("do", "PlaceOrder", '{"id":"o1","person":1,"total":300}')
    assert answer.status == 0 and credits(shop)[0]["1"] == 700
    # What only one of them may is refused by the server.
    shop.postgres.sql("CREATE VIEW everybody AS SELECT * FROM people", "shop")
    (shop.folder / "commands/Take.sql").write_text(
        "-- service: orders\nSELECT name FROM everybody;\n")
    assert "permission denied for view everybody" in shop.run("do", "Take", "{}", status=1).errors


def test_orders_leave(server, binary, tmp_path, data, monkeypatch):
    """As the page says: the table moves, the key is cut, and the book stands without what needed
    both tables."""
    folder = tmp_path / "shop"
    shutil.copytree(SHOP, folder, ignore=shutil.ignore_patterns("data", "secrets"))
    shop = Book(binary, folder, data)
    for name in ("shop", "away"):
        server.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    monkeypatch.setenv("SHOP_SHARED", server.create("shop"))
    monkeypatch.setenv("SHOP_ORDERS", server.create("away"))
    server.sql((SHOP / "shop/schema.sql").read_text(encoding="utf-8"), "shop")
    shop.run("do", "PlaceOrder", '{"id":"o1","person":1,"total":300}')
    shown = shop.run("service", "split", "orders", "--to", "postgres:env:SHOP_ORDERS", "--yes")
    assert "orders_person_fkey" in shown.text
    told = shop.run("service", "split", "orders", "--switch").errors
    assert "orders: postgres:env:SHOP_ORDERS" in told and "database: orders" in told
    shop.run("service", "split", "orders", "--confirm", "--yes")
    assert server.sql("SELECT id, total FROM orders", "away") == [["o1", "300"]]
    assert server.sql("SELECT to_regclass('orders'), count(*) FROM people", "shop") == [["", "3"]]
    with open(folder / "book.yaml", "a", encoding="utf-8") as file:
        file.write("  orders: postgres:env:SHOP_ORDERS\n")
    service = folder / "services/orders.yaml"
    lines = service.read_text(encoding="utf-8").replace("database: shop", "database: orders")
    service.write_text(lines, encoding="utf-8")
    faults = shop.run("check", status=1).text
    assert "another database" in faults
    service.write_text("\n".join(line for line in lines.splitlines()
                                 if "reads:" not in line and "users.people" not in line) + "\n",
                       encoding="utf-8")
    for command in ("PlaceOrder", "CancelOrder"):
        (folder / "commands" / f"{command}.sql").unlink()
    shop.run("check")
