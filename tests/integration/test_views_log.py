# SPDX-License-Identifier: Apache-2.0
"""Views over `events`, maintained from the log: what they hold is what the events up to their
position come to, worked out here from the events as any reader gets them."""
import collections
import decimal
import json
import shutil
import subprocess
import time

import pytest

from conftest import ROOT, SHOP, Book, clean_environment
from test_forget import NAME, fill
from test_upcasting import TO_CENTS, VERSIONS, write

PERSONAL = ROOT / "examples" / "shop-personal"
NAMES = """-- refresh: on demand
-- mode: incremental
-- database: reading
SELECT stream, data ->> '$.customer_name' AS name FROM events WHERE type = 'OrderPlaced'
"""


def test_a_forgotten_subject_is_read_again(make_book, tmp_path):
    folder = tmp_path / "shop"
    shutil.copytree(PERSONAL, folder)
    (folder / "views" / "names.sql").write_text(NAMES)
    book = make_book(folder)
    fill(book)
    book.run("view", "refresh", "names")
    book.run("append", "order-last", "Packed", "{}")
    assert book.json("view", "refresh", "names")["last_mode"] == "incremental"
    names = {row["name"] for row in book.json("view", "read", "names")}
    assert NAME.format("12003") in names
    book.run("forget", "12003", "--now")
    shown = book.json("view", "show", "names")
    assert shown["full_because"] == "subjects were forgotten since: 1 by now, 0 then"
    assert {row["name"] for row in book.json("view", "read", "names")
            if row["name"] and "forgotten" not in row["name"]} == names - {NAME.format("12003")}
    assert book.json("view", "refresh", "names")["last_mode"] == "incremental"


def test_an_upcaster_that_changed(binary, tmp_path):
    folder = tmp_path / "book"
    view = ("-- refresh: on demand\n-- mode: incremental\n-- database: reading\n"
            "SELECT sum(CAST(data ->> '$.cents' AS INTEGER)) AS cents FROM events "
            "WHERE type = 'Deposited'\n")
    write(folder, {"book.yaml": "book: mixed\ndatabases:\n  reading: sqlite:reading.db\n",
                   "views/summed.sql": view,
                   "events/Deposited.schema.json": {"versions": VERSIONS},
                   "events/Deposited.2-3.lua": TO_CENTS})
    book = Book(binary, folder, tmp_path / "data")
    for amount in (5, 7):
        book.run("append", "account-1", "Deposited", json.dumps({"amount": amount}),
                 "--schema-version", 1)
        shown = book.json("view", "refresh", "summed")
    assert shown["last_mode"] == "incremental"
    assert book.json("view", "read", "summed") == [{"cents": 1200}]
    write(folder, {"events/Deposited.2-3.lua": TO_CENTS.replace("100", "10")})
    shown = book.json("view", "refresh", "summed")
    assert shown["full_because"] == "how events of older versions are read has changed since"
    assert book.json("view", "read", "summed") == [{"cents": 120}]


LINES = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
"""


def retail(count):
    """A file in the shape of Online Retail: days, countries and categories in turn."""
    words = ("LANTERN", "MUG", "PAPER BAG", "NOTHING", "TOY")
    rows = [LINES]
    for n in range(count):
        returned = n % 17 == 16
        rows.append(f"{'C' if returned else ''}{536000 + n // 4},S{n},{words[n % 5]},"
                    f"{-(n % 7) - 1 if returned else n % 9 + 1},"
                    f"2011-01-{n // 400 % 28 + 1:02} 08:26:00,{n % 50}.{n % 10}5,"
                    f"{12000 + n % 40}.0,{('France', 'EIRE', 'Spain')[n % 3]}\n")
    return "".join(rows)


def sales_of(events, position):
    """What daily_sales_summary is as of a position, in thousandths."""
    sums = collections.defaultdict(int)
    for event in events:
        if event["position"] <= position and event["type"] in ("LineAdded", "LineReturned"):
            data = event["data"]
            price = int(decimal.Decimal(str(data["price"])) * 1000)
            sums[(event["occurred"][:10], data["country"], data["category"])] += \
                price * data["quantity"]
    return dict(sums)


@pytest.fixture
def sales(make_book, tmp_path):
    folder = tmp_path / "shop"
    shutil.copytree(SHOP, folder)
    view = folder / "views" / "daily_sales_summary.sql"
    view.write_text(view.read_text().replace("every day at 02:00",
                                             "continuous\n-- mode: incremental"))
    return make_book(folder)


def test_daily_sales_while_an_import_runs(sales, serve, tmp_path):
    """Every answer is right as of the position that it names, while the import goes on."""
    seen = {}
    text = tmp_path / "retail.csv"
    text.write_text(retail(6000))
    server = serve(sales)
    loading = subprocess.Popen(
        sales.command("import", text, "--as", "online_retail", "--batch", 200),
        stdout=subprocess.DEVNULL, env=clean_environment())
    deadline = time.monotonic() + 40
    ended = None
    while time.monotonic() < deadline:
        answer = server.get("/views/daily_sales_summary?limit=10000")
        if answer.status == 200:
            seen[answer.json["position"]] = {(row["date"], row["region"], row["category"]):
                                             round(row["sales"] * 1000)
                                             for row in answer.json["rows"]}
        if ended is None and loading.poll() is not None:
            (last,) = sales.run("read", "--backwards", "--limit", 1, "-o", "jsonl").lines
            ended = last["position"]
        if ended is not None and ended in seen:
            break
    assert loading.wait() == 0
    events = sales.run("read", "-o", "jsonl").lines
    assert len(seen) >= 5 and max(seen) == events[-1]["position"]
    for position, rows in seen.items():
        assert rows == sales_of(events, position), position
    shown = sales.json("view", "show", "daily_sales_summary")
    assert shown["last_mode"] == "incremental"
