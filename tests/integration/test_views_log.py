# SPDX-License-Identifier: Apache-2.0
"""Views over `events`, maintained from the log: what they hold is what the events up to their
position come to, worked out here from the events as any reader gets them."""
import collections
import decimal
import json
import shutil
import sqlite3
import subprocess
import time

import pytest

from conftest import ROOT, SHOP, Book, clean_environment, killed_at
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
    head, *lines = retail(6000).splitlines(keepends=True)
    orders = sorted({line.split(",")[0] for line in lines})
    server = serve(sales)

    def load(part):
        """A fifth of the orders; until the last position was seen in the view."""
        text = tmp_path / f"retail_{part}.csv"
        chosen = set(orders[part::5])
        text.write_text(head + "".join(line for line in lines if line.split(",")[0] in chosen))
        loading = subprocess.Popen(
            sales.command("import", text, "--as", "online_retail", "--batch", 200),
            stdout=subprocess.DEVNULL, env=clean_environment())
        deadline = time.monotonic() + 40
        ended = None
        while time.monotonic() < deadline and (ended is None or ended not in seen):
            answer = server.get("/views/daily_sales_summary?limit=10000")
            if answer.status == 200:
                seen[answer.json["position"]] = {(row["date"], row["region"], row["category"]):
                                                 round(row["sales"] * 1000)
                                                 for row in answer.json["rows"]}
            if ended is None and loading.poll() is not None:
                (last,) = sales.run("read", "--backwards", "--limit", 1, "-o", "jsonl").lines
                ended = last["position"]
        assert loading.wait() == 0

    for part in range(5):
        load(part)
    events = sales.run("read", "-o", "jsonl").lines
    assert len(seen) >= 5 and max(seen) == events[-1]["position"]
    for position, rows in seen.items():
        assert rows == sales_of(events, position), position
    shown = sales.json("view", "show", "daily_sales_summary")
    assert shown["last_mode"] == "incremental"


# ---- As of a time ----

@pytest.fixture(scope="module")
def filled(binary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("filled")
    book = Book(binary, SHOP, folder / "data")
    (folder / "retail.csv").write_text(retail(600))
    book.run("import", folder / "retail.csv", "--as", "online_retail", "--batch", 100)
    book.events = book.run("read", "-o", "jsonl").lines
    return book


def sales_in(file):
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
        return {(date, region, category): round(sales * 1000) for date, region, category, sales in
                database.execute("SELECT date, region, category, sales FROM daily_sales_summary")}


def test_a_view_as_of_a_position(filled):
    last = filled.events[-1]["position"]
    for position in (1, 2, 57, 300, last - 1, last):
        built = filled.json("view", "as-of", "daily_sales_summary", "--position", position)
        rows = sales_of(filled.events, position)
        assert (built["position"], built["rows"], built["built"]) == (position, len(rows), "now")
        assert sales_in(built["file"]) == rows
        again = filled.json("view", "as-of", "daily_sales_summary", "--position", position)
        assert again == built | {"built": "before"}
    listed = filled.json("view", "as-of")
    assert {row["position"] for row in listed} == {1, 2, 57, 300, last - 1, last}
    assert {row["state"] for row in listed} == {"whole"}
    assert filled.json("model", "as-of") == []
    assert filled.json("view", "as-of", "--rm") == {"removed": 6}
    assert filled.json("view", "as-of") == []


def test_a_view_as_of_a_time(filled, tmp_path):
    """By the clock of the book, by that of what happened, and through a read model."""
    event = filled.events[400]
    upto = max(e["position"] for e in filled.events if e["time"] <= event["time"])
    built = filled.json("view", "as-of", "daily_sales_summary", event["time"],
                        "--out", tmp_path / "then.db")
    assert built["file"] == str(tmp_path / "then.db")
    assert sales_in(built["file"]) == sales_of(filled.events, upto)
    built = filled.json("view", "as-of", "daily_sales_summary", "--occurred-at",
                        filled.events[50]["occurred"])
    occurred = [e for e in filled.events if e["occurred"] <= filled.events[50]["occurred"]]
    assert sales_in(built["file"]) == sales_of(occurred, len(filled.events))
    built = filled.json("view", "as-of", "daily_orders", "--position", 300)
    placed = collections.Counter(
        (e["occurred"][:10], e["data"]["country"]) for e in filled.events[:300]
        if e["type"] in ("OrderPlaced", "ReturnPlaced"))
    with sqlite3.connect(f"file:{built['file']}?mode=ro", uri=True) as database:
        assert {(d, r): n for d, r, n in database.execute(
            "SELECT date, region, orders FROM daily_orders")} == placed
    filled.run("model", "as-of", "--rm")
    assert filled.json("view", "as-of") == []


def test_what_a_view_as_of_a_time_refuses(filled, tmp_path, binary):
    def errors(*arguments, status=1):
        return filled.run("view", "as-of", *arguments, status=status).errors
    last = filled.events[-1]["position"]
    assert "no view is named daily_ordres; did you mean daily_orders?" in \
        errors("daily_ordres", "--position", 1)
    assert f"there is no position {last + 1}: the log ends at {last}" in \
        errors("daily_orders", "--position", last + 1)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE mine (a)")
    assert "it holds something else" in \
        errors("daily_orders", "--position", 5, "--out", other)
    assert "takes one of TIME" in errors("daily_orders", "2011-01-01", "--position", 5, status=2)
    folder = tmp_path / "book"
    (tmp_path / "link").write_text("host=/nowhere")
    write(folder, {"book.yaml": "book: away\ndatabases:\n  away: postgres:file:../link\n",
                   "views/theirs.sql": "-- refresh: on demand\n-- database: away\nSELECT 1 AS a\n"})
    away = Book(binary, folder, tmp_path / "data")
    assert "view theirs does not stand on the log: it is a SELECT of the server `away`" in \
        away.run("view", "as-of", "theirs", "2011-01-01", status=None).errors


def test_a_build_that_was_cut_short(filled, kill_at):
    """Killed at any of its writes, it is whole with the next, and nothing else is shown."""
    filled.run("view", "as-of", "--rm")
    ask = ("view", "as-of", "daily_sales_summary", "--position", 500, "-o", "json")
    expected = sales_of(filled.events, 500)
    for number in range(1, 400, 7):
        done = killed_at(kill_at, filled.command(*ask), number).returncode == 0
        listed = filled.json("view", "as-of")
        assert [row["position"] for row in listed] in ([], [500])
        built = filled.json(*ask[:-2])
        assert sales_in(built["file"]) == expected
        filled.run("view", "as-of", "--rm")
        if done:
            return
    pytest.fail("it never ended by itself")
