# SPDX-License-Identifier: Apache-2.0
"""The shop with tables: one ACID transaction, and one read model by outbox, CDC and polling."""
import json
import random
import re
import shutil
import sqlite3

import pytest
from conftest import ROOT, Book
from test_capture_sqlite import connect, wait_for
from test_readme import Session

SHOP = ROOT / "examples" / "shop-relational"
MODELS = ("user_orders", "user_orders_by_outbox")


@pytest.fixture(params=["cdc", "polling"])
def shop(request, binary, tmp_path, data):
    shutil.copytree(SHOP, tmp_path / "shop", ignore=shutil.ignore_patterns("data"))
    for path, was, now in [("models/user_orders/model.yaml", "sync: cdc", f"sync: {request.param}"),
                           ("services/shop.yaml", "  orders:\n  order_items:\n",
                            "  orders:\n  order_items:\n" if request.param == "cdc" else
                            "    every: 50 ms\n  orders:\n    every: 50 ms\n"
                            "  order_items:\n    every: 50 ms\n")]:
        file = tmp_path / "shop" / path
        text = file.read_text(encoding="utf-8")
        assert was in text
        file.write_text(text.replace(was, now), encoding="utf-8")
    data.mkdir(exist_ok=True)
    source = connect(data / "shop.db")
    source.executescript((SHOP / "shop/schema.sql").read_text(encoding="utf-8"))
    source.close()
    return Book(binary, tmp_path / "shop", data)


def orders_of(source):
    """What the tables say, joined here."""
    rows = []
    for order in source.execute("SELECT id, user_id, status, total, created_at FROM orders"):
        items = [{"name": name, "quantity": quantity, "price": price, "image_url": image}
                 for name, quantity, price, image in source.execute(
                     "SELECT name, quantity, price, image_url FROM order_items "
                     "JOIN products ON id = product_id WHERE order_id = ? ORDER BY id", order[:1])]
        rows.append((*order, items))
    return sorted(rows)


def rows_of(data, model):
    reading = sqlite3.connect(f"file:{data / 'reading.db'}?mode=ro", uri=True)
    rows = reading.execute("SELECT order_id, user_id, status, total, created_at, items "
                           f"FROM {model}")
    found = sorted((*row[:5], json.loads(row[5])) for row in rows)
    reading.close()
    return found


def test_the_same_rows_by_each_way(shop, serve, data):
    source = connect(data / "shop.db")
    server = serve(shop)
    chance = random.Random(4)
    placed = refused = 0
    for number in range(60):
        lines = [{"product": product, "quantity": chance.randint(1, 3)}
                 for product in chance.sample(["22139", "21730", "85123A"], chance.randint(1, 3))]
        before = source.execute("SELECT * FROM products ORDER BY id").fetchall()
        answer = server.post("/commands/PlaceOrder", {
            "order_id": str(number), "user_id": chance.choice([42, 43]), "lines": lines})
        assert answer.status in (200, 201, 422), answer
        if answer.status == 422:
            assert answer.json["refusal"] == "constraint", answer
            assert source.execute("SELECT * FROM products ORDER BY id").fetchall() == before
            refused += 1
        else:
            placed += 1
        if chance.random() < 0.3:
            server.post("/commands/CancelOrder", {"order_id": str(chance.randint(0, number))})
    assert placed > 10 and refused > 10
    expected = orders_of(source)
    assert len(expected) == placed
    for model in MODELS:
        wait_for(lambda name=model: rows_of(data, name) == expected)
    assert server.get("/queries/Differences").json["rows"] == []
    source.close()


def test_what_is_no_order(shop, serve, data):
    server = serve(shop)
    line = {"product": "22139", "quantity": 1}
    for change, code in [({"user_id": 9}, "no-such-user"), ({"lines": []}, "no-such-product"),
                         ({"lines": [line, {"product": "x", "quantity": 1}]}, "no-such-product"),
                         ({"lines": [line, line]}, "constraint"),
                         ({"lines": [{"product": "22139", "quantity": 0}]}, "constraint"),
                         ({"lines": [{"product": "22139"}]}, "constraint")]:
        body = {"order_id": "1", "user_id": 42, "lines": [line], **change}
        answer = server.post("/commands/PlaceOrder", body)
        assert answer.status == 422 and answer.json["refusal"] == code, (change, answer)
    source = connect(data / "shop.db")
    for table in ("orders", "order_items", "outbox"):
        assert source.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    assert source.execute("SELECT sum(stock) FROM products").fetchone() == (115,)
    source.close()


def test_the_readme(binary, tmp_path, free_port):
    session = Session(tmp_path, binary.resolve(), free_port)
    session.sh('export PATH="$PWD/build:$PATH"')
    text = (SHOP / "README.md").read_text(encoding="utf-8").replace("4171", session.port)
    try:
        for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            session.sh(block)
            if "GetMyOrders" in block:
                assert re.search(r"1 +placed +1145 .*Tea set", session.printed)
                assert re.search(r"2 +cancelled +5100 .*Glass star", session.printed)
            if "refused" in block:
                assert "refused, as it should be" in session.printed
    finally:
        session.end()
