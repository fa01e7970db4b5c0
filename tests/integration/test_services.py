# SPDX-License-Identifier: Apache-2.0
"""Services of a book: `check` names what is wrong with their contracts, and `service ls` and `show`
tell who owns and reads what."""
import pytest
from conftest import Book

FILES = {
    "book.yaml": "book: shop\ndatabases:\n  shop: sqlite:shop.db\n",
    "services/users.yaml": "database: shop\ntables:\n  people: {public: [id, name], version: 2}\n"
                           "  passwords:\nevents: {append: [user]}\n",
    "services/orders.yaml": "database: shop\ntables: {orders: {capture: polling}}\n"
                            "reads: {users.people: {columns: [id, name], version: 2}}\n"
                            "events: {append: [basket], read: [user]}\n",
    "services/mail.yaml": "events: {read: [orders.orders, basket]}\n",
}


@pytest.fixture
def book(binary, data, tmp_path):
    folder = tmp_path / "book"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return Book(binary, folder, data)


def test_services_are_listed(book):
    assert "3 services" in book.run("check").text
    rows = {row["service"]: row for row in book.json("service", "ls")}
    assert list(rows) == ["mail", "orders", "users"]
    assert rows["mail"]["database"] is None and not rows["mail"]["shared"]
    assert rows["orders"] == {
        "service": "orders", "database": "shop", "shared": True, "tables": ["orders"],
        "reads": ["users.people"], "events_append": ["basket"], "events_read": ["user"],
        "models": []}
    assert rows["users"]["tables"] == ["people", "passwords"]
    assert book.run("service", "ls").text.count("\n") == 5


def test_an_owner_sees_who_reads(book):
    users = book.json("service", "show", "users")
    assert users["shared_with"] == ["orders"]
    people, passwords = users["tables"]
    assert people["version"] == 2 and people["public"] == ["id", "name"]
    assert people["read_by"] == [{"service": "orders", "columns": ["id", "name"], "version": 2}]
    assert passwords["read_by"] == [] and passwords["public"] == []
    orders = book.json("service", "show", "orders")
    assert orders["tables"][0]["capture"] == "polling"
    assert orders["reads"] == [
        {"table": "users.people", "columns": ["id", "name"], "version": 2}]
    refused = book.run("service", "show", "user", status=1)
    assert "did you mean users?" in refused.errors


def test_a_contract_that_names_nothing_is_a_fault(book):
    file = book.folder / "services" / "orders.yaml"
    file.write_text(file.read_text().replace("[id, name]", "[id, email]"))
    faults = book.json("check", status=1)
    assert [(f["file"], f["line"], f["column"]) for f in faults] == [
        ("services/orders.yaml", 3, 38)]
    assert "no public column `email`" in faults[0]["what"]
