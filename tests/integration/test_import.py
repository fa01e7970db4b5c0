# SPDX-License-Identifier: Apache-2.0
"""Imports: what goes in, what is rejected and why, and that a second run adds nothing.

A generated file always; the whole Online Retail file where it lies in ../shared/data, or where
DAYBOOK_RETAIL says.
"""
import collections
import csv
import decimal
import gzip
import io
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess

import pytest

import retail
from conftest import ROOT, SHOP, Book, clean_environment, missing

REAL = pathlib.Path(os.environ.get(
    "DAYBOOK_RETAIL", ROOT.parent / "shared" / "data" / "online-retail.csv.zst"))
CENT = decimal.Decimal("0.01")


@pytest.fixture(scope="module")
def made():
    return retail.make()


@pytest.fixture
def file(made, tmp_path):
    path = tmp_path / "orders.csv"
    path.write_bytes(made[0])
    return path


def load(book, path, *arguments, status=0):
    return book.run("import", path, "--as", "online_retail", "-o", "json", *arguments,
                    status=status)


def rows_of(book, sql):
    """Asks the database file itself, as any program may."""
    with sqlite3.connect(f"file:{book.data}/reading.db?mode=ro", uri=True) as database:
        return database.execute(sql).fetchall()


def stored(book):
    return book.json("sql", "select count(*) n from events")[0]["n"]


def test_a_dirty_file(shop, file, made):
    expected = made[1]
    assert len(expected.rejected) > 10
    answer = load(shop, file)
    counts = answer.json
    assert (counts["rows"], counts["events"], counts["streams"], counts["rejected"]) == \
        (expected.rows, expected.events, len(expected.totals), len(expected.rejected))
    assert counts["known"] == 0 and counts["seconds"] > 0
    said = re.findall(r"^.*orders\.csv:(\d+): row \d+ is rejected: (.+)$", answer.errors, re.M)
    assert [int(line) for line, _ in said] == sorted(expected.rejected)[:20]
    for line, reason in said:
        assert expected.rejected[int(line)] in reason
    totals = {order: decimal.Decimal(total) / 1000 for order, total in
              rows_of(shop, "SELECT order_id, total_thousandths FROM user_orders")}
    assert totals == expected.totals
    items = {order: len(json.loads(text)) for order, text in
             rows_of(shop, "SELECT order_id, items FROM user_orders")}
    assert items == expected.lines


def test_the_view_of_it(shop, file, made):
    load(shop, file)
    shop.run("view", "refresh", "daily_sales_summary")
    rows = rows_of(shop, "SELECT date, region, round(sum(sales) * 1000) FROM daily_sales_summary "
                         "GROUP BY 1, 2")
    assert {(d, r): decimal.Decimal(int(s)) / 1000 for d, r, s in rows} == made[1].sales


def test_state_and_occurred(shop, file, made):
    load(shop, file)
    order = max(made[1].lines, key=made[1].lines.get)
    state = json.loads(shop.run("state", f"order-{order}", "-o", "json").text,
                       parse_float=decimal.Decimal)["state"]
    assert (state["lines"], state["total"]) == (made[1].lines[order], made[1].totals[order])
    shop.run("state", "order-536365", "--occurred-at", "2011-03-01")
    refused = shop.run("state", "order-536365", "--occurred-at", "2010-11-01", status=1)
    assert "no stream order-536365" in refused.errors


def test_more_rejected_rows_than_are_shown(shop, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(retail.HEADER + "\n" + "only,two\n" * 25)
    answer = load(shop, path)
    assert answer.json["rejected"] == 25
    assert answer.errors.count("is rejected") == 20
    assert "5 more rows are rejected" in answer.errors


def test_strict_stops_at_the_first(shop, file, made):
    answer = load(shop, file, "--strict", status=1)
    first = min(made[1].rejected)
    assert f"orders.csv:{first}: row " in answer.errors
    assert answer.text == ""
    load(shop, file)
    assert stored(shop) == made[1].events


def test_importing_again_adds_nothing(shop, file, made):
    before = load(shop, file).json["events"]
    again = load(shop, file).json
    assert (again["events"], again["known"]) == (0, before)
    assert stored(shop) == made[1].events


def test_another_source_adds(bank, tmp_path):
    bank.run("do", "Open", '{"account":"1"}')
    path = tmp_path / "moves.jsonl"
    path.write_text('{"account":"1","type":"Deposited","amount":7,"times":10}\n')
    for source, added in [("moves.jsonl", 10), ("other", 10), ("other", 0), ("moves.jsonl", 0)]:
        answer = bank.json("import", path, "--as", "sample", "--source", source)
        assert answer["events"] == added
    assert bank.json("get", "GetBalance", "account=1")[0]["balance"] == 140


def test_events_that_the_read_model_cannot_post_are_stored_all_the_same(shop, file, made):
    load(shop, file)
    answer = load(shop, file, "--source", "elsewhere", status=1)
    assert "the events are stored, but model user_orders has stopped" in answer.errors
    assert f"event {made[1].events + 1}, OrderPlaced of order-" in answer.errors
    assert stored(shop) == 2 * made[1].events
    assert load(shop, file, "--source", "elsewhere", "--no-wait").json["events"] == 0


def test_a_row_that_is_rejected_did_not_begin_an_order(shop, tmp_path):
    row = "1,2,TEA,3,{},1.5,,France\n"
    path = tmp_path / "orders.csv"
    path.write_text(retail.HEADER + "\n" + row.format("some day") +
                    2 * row.format("2010-12-01 08:26:00"))
    counts = load(shop, path).json
    assert (counts["events"], counts["rejected"]) == (3, 1)
    assert rows_of(shop, "SELECT order_id, total FROM user_orders") == [("1", 9.0)]


def test_batches_of_any_size_give_the_same(shop, file, made):
    load(shop, file, "--batch", "7")
    assert load(shop, file, "--batch", "1000").json["known"] == made[1].events
    assert stored(shop) == made[1].events


def test_compressed_is_the_same_source(shop, file, made):
    load(shop, file)
    packed = file.with_name("orders.csv.gz")
    half = len(made[0]) // 2
    packed.write_bytes(gzip.compress(made[0][:half]) + gzip.compress(made[0][half:]))
    assert load(shop, packed).json["known"] == made[1].events
    if shutil.which("zstd") is None:
        missing("zstd")
    subprocess.run(["zstd", "-q", file], check=True, timeout=60)
    assert load(shop, f"{file}.zst").json["known"] == made[1].events
    assert stored(shop) == made[1].events


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_a_compressed_file_that_is_cut_or_damaged(shop, file, made, kind):
    if kind == "gz":
        packed = gzip.compress(made[0])
    elif shutil.which("zstd") is None:
        missing("zstd")
    else:
        packed = subprocess.run(["zstd", "-qc", "--check", file], check=True, timeout=60,
                                capture_output=True).stdout
    path = file.with_name("orders.csv." + kind)
    for at in (len(packed) // 2, len(packed) - 1):
        path.write_bytes(packed[:at])
        answer = load(shop, path, status=1)
        assert "orders.csv." + kind in answer.errors and answer.text == ""
    path.write_bytes(packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:])
    load(shop, path, status=1)
    path.write_bytes(packed)
    load(shop, path)
    assert stored(shop) == made[1].events


def test_standard_input_needs_a_name(shop, made, binary):
    shop.run("import", "-", "--as", "online_retail", status=2)
    text = (retail.HEADER + "\n1,2,TEA,3,2010-12-01 08:26:00,1.5,,France\n")
    answer = shop.run("import", "-", "--as", "online_retail", "--source", "orders.csv", "-o",
                      "json", text_in=text)
    assert answer.json["events"] == 2


def test_json_lines(bank, tmp_path):
    path = tmp_path / "moves.jsonl"
    path.write_text('{"account":"9007199254740993","type":"AccountOpened"}\n'
                    '\n'
                    '{"account":"9007199254740993","type":"Deposited","amount":9007199254740993}\n'
                    '{"account":\n'
                    '["account"]\n'
                    '{"account":"1","type":"Deposited","amount":1,"occurred":"yesterday"}\n'
                    '{"account":"9007199254740993","type":"Deposited","amount":2,"times":3}')
    answer = bank.run("import", path, "--as", "sample", "-o", "json")
    counts = answer.json
    assert (counts["rows"], counts["events"], counts["rejected"]) == (6, 5, 3), answer
    assert re.findall(r"moves\.jsonl:(\d+): row (\d+)", answer.errors) == \
        [("4", "3"), ("5", "4"), ("6", "5")]
    state = bank.json("state", "account-9007199254740993")["state"]
    assert state["balance"] == 9007199254740999


def test_an_import_through_a_server(shop, serve, file, made):
    serve(shop)
    assert load(shop, file).json["events"] == made[1].events
    assert load(shop, file).json["events"] == 0


def test_a_header_is_needed_and_an_import_by_that_name(shop, file, tmp_path):
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert "empty.csv" in load(shop, empty, status=1).errors
    answer = shop.run("import", file, "--as", "online_retial", status=1)
    assert "did you mean --as online_retail" in answer.errors
    shop.run("import", file, status=2)
    assert "nowhere.csv" in load(shop, "nowhere.csv", status=1).errors


# ---- The whole file ----

@pytest.fixture(scope="module")
def real(binary, tmp_path_factory):
    """The whole file, imported once."""
    if not REAL.exists():
        pytest.skip("../shared/data/online-retail.csv.zst is not here")  # also in CI: it is large
    book = Book(binary, SHOP, tmp_path_factory.mktemp("real") / "data")
    book.counts = load(book, REAL).json
    return book


def test_the_whole_file(real):
    counts = real.counts
    assert (counts["rows"], counts["events"], counts["streams"], counts["rejected"]) == \
        (541909, 567809, 25900, 0)
    assert counts["seconds"] < 60  # 12 are promised, on a machine with nothing else to do


def test_the_whole_file_again(real):
    again = load(real, REAL).json
    assert (again["events"], again["known"]) == (0, 567809)


def cents(thousandths):
    return (decimal.Decimal(int(thousandths)) / 1000).quantize(CENT)


def test_figures_of_the_read_model(real):
    rows = rows_of(real, "SELECT country, count(*), sum(total_thousandths) FROM user_orders "
                         "GROUP BY 1")
    by_country = {country: (orders, cents(total)) for country, orders, total in rows}
    assert sum(orders for orders, _ in by_country.values()) == 25900
    assert by_country["United Kingdom"] == (23494, decimal.Decimal("8187806.36"))
    assert by_country["Netherlands"] == (101, decimal.Decimal("284661.54"))
    ((total, returned, customers),) = rows_of(
        real, "SELECT sum(total_thousandths), sum(status = 'returned'), count(DISTINCT user_id) "
              "FROM user_orders")
    assert (cents(total), returned, customers) == (decimal.Decimal("9747747.93"), 3836, 4372)


def test_figures_of_the_view(real):
    shown = real.json("view", "refresh", "daily_sales_summary")
    assert (shown["position"], shown["error"]) == (567809, None)
    ((total, pairs),) = rows_of(
        real, "SELECT sum(CAST(round(sales * 1000) AS INTEGER)), count(DISTINCT date || region) "
              "FROM daily_sales_summary")
    assert (cents(total), pairs) == (decimal.Decimal("9747747.93"), 1716)
    by_region = {region: cents(sales) for region, sales in rows_of(
        real, "SELECT region, sum(CAST(round(sales * 1000) AS INTEGER)) "
              "FROM daily_sales_summary GROUP BY 1")}
    assert by_region["United Kingdom"] == decimal.Decimal("8187806.36")
    assert by_region["Netherlands"] == decimal.Decimal("284661.54")
    real.run("view", "refresh", "daily_orders")
    assert rows_of(real, "SELECT sum(orders) FROM daily_orders") == [(25900,)]


@pytest.fixture(scope="module")
def days(real):
    """From the file itself: what was sold on each day, exactly."""
    if shutil.which("zstd") is None:
        missing("zstd")
    text = subprocess.run(["zstd", "-dcq", REAL], check=True, timeout=60,
                          stdout=subprocess.PIPE).stdout.decode()
    sales = collections.Counter()
    for row in csv.DictReader(io.StringIO(text)):
        sales[row["InvoiceDate"][:10]] += int(row["Quantity"]) * decimal.Decimal(row["UnitPrice"])
    assert sum(sales.values()).quantize(CENT) == decimal.Decimal("9747747.93")
    return sales


def test_revenue_as_of_a_date(real, days):
    """By the model's orders, by the view, and by `events`, as of the end of four days."""
    for day in ("2010-11-30", "2010-12-01", "2011-02-28", "2011-08-15"):
        end = day + "T23:59:59.999999Z"
        total = sum((amount for date, amount in days.items() if date <= day), decimal.Decimal(0))
        ask = ("--occurred-at", end)
        built = real.json("model", "as-of", "user_orders", *ask)
        with sqlite3.connect(f"file:{built['file']}?mode=ro", uri=True) as database:
            ((thousandths,),) = database.execute("SELECT total(total_thousandths) FROM user_orders")
        assert decimal.Decimal(int(thousandths)) / 1000 == total
        of_day = real.json("sql", "select sum(round(sales * 1000)) s from daily_sales_summary "
                                  f"where date = '{day}'", *ask)[0]["s"] or 0
        assert decimal.Decimal(int(of_day)) / 1000 == days[day]
        assert real.json("sql", "select max(substr(occurred, 1, 10)) d from events", *ask) == \
            [{"d": max((date for date in days if date <= day), default=None)}]
    real.run("model", "as-of", "--rm")


def test_states_of_the_whole_file(real):
    assert real.json("state", "order-573585")["state"]["lines"] == 1114
    assert real.json("state", "order-536365", "--occurred-at", "2011-03-01")["state"]["lines"] == 7
    real.run("state", "order-536365", "--occurred-at", "2010-11-01", status=1)


def test_sql_over_the_whole_log(real):
    assert real.json("sql", "select category, count(*) n from events group by 1") == \
        [{"category": "order", "n": 567809}]


def test_memory_of_an_import(real, tmp_path):
    """At most 256 MiB, read model included: what the kernel counted at its most."""
    script = ("import resource, subprocess, sys\n"
              "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
              "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n")
    book = Book(real.binary, SHOP, tmp_path / "data")
    result = subprocess.run(
        ["python3", "-c", script, *book.command("import", REAL, "--as", "online_retail")],
        text=True, capture_output=True, check=True, timeout=120, env=clean_environment())
    assert int(result.stdout) <= 256 * 1024
