# SPDX-License-Identifier: Apache-2.0
"""The book as it was: tails from a time, models and SQL as of a time.

The oracle of an as-of is a fresh book to which only the events of that time were appended.
"""
import datetime
import json
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

import retail
from conftest import BANK, SHOP, TIMEOUT_S, Book, clean_environment

UTC = datetime.timezone.utc


def deposit(book, amount, occurred=None):
    """Appends; what was recorded a moment later has a later time."""
    time.sleep(0.002)
    more = ["--occurred", occurred] if occurred else []
    return book.json("append", "account-1", "Deposited", f'{{"amount":{amount}}}', *more)


def positions(events):
    return [event["position"] for event in events]


@pytest.fixture
def filled(bank):
    bank.run("append", "account-1", "AccountOpened", '{"id":"1"}')
    for amount in range(1, 8):
        deposit(bank, amount)
    return bank


def test_a_tail_from_a_time_begins_with_the_first_event_then_or_later(filled):
    events = filled.run("read", "-o", "jsonl").lines
    for time_ in ["1970-01-01", "1960-01-01", "9999-12-31", *[e["time"] for e in events]]:
        expected = [e["position"] for e in events if e["time"] >= time_]
        tail = filled.run("tail", "--no-follow", "--from-time", time_, "-o", "jsonl").lines
        read = filled.run("read", "--from-time", time_, "-o", "jsonl").lines
        assert positions(tail) == positions(read) == expected
    both = filled.run("tail", "--no-follow", "--from-time", events[2]["time"], "--after", "5", "-o",
                      "jsonl").lines
    assert positions(both) == [6, 7, 8]


def test_a_tail_from_a_time_goes_on_live(filled, serve):
    third = filled.run("read", "-o", "jsonl").lines[2]
    command = filled.command("tail", "--from-time", third["time"], "--limit", "7", "-o", "jsonl")
    serve(filled)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                          env=clean_environment()) as tail:
        lines = [tail.stdout.readline()]
        deposit(filled, 8)
        lines += tail.stdout.readlines()
    assert positions(map(json.loads, lines)) == [3, 4, 5, 6, 7, 8, 9]


def test_a_tail_from_the_future_waits_for_it(filled, serve):
    server = serve(filled)
    begin = datetime.datetime.now(UTC) + datetime.timedelta(seconds=1)
    query = urllib.parse.urlencode({"from_time": begin.isoformat()})
    request = urllib.request.Request(f"{server.url}/events?{query}",
                                     headers={"Accept": "text/event-stream"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as stream:
        assert deposit(filled, 8)["position"] == 9
        assert datetime.datetime.now(UTC) < begin
        time.sleep(1.1)
        assert deposit(filled, 9)["position"] == 10
        assert next(line for line in stream if line.startswith(b"id: ")) == b"id: 10\n"


def test_a_wrong_time_is_named(filled, serve):
    answer = filled.run("tail", "--from-time", "soon", status=2)
    assert "--from-time takes an instant such as 2011-03-01" in answer.errors
    answer = serve(filled).get("/events?from_time=soon")
    assert answer.status == 400 and "from_time" in answer.json["detail"]


# ---- Models and SQL as of a time ----

NEW = ("stream", "type", "data", "id", "occurred", "meta", "tags")
ROWS = "SELECT * FROM user_orders ORDER BY order_id"
DAYS = "SELECT date, region, orders FROM daily_orders ORDER BY 1, 2"
SALES = "SELECT date, region, category, sales FROM daily_sales_summary ORDER BY 1, 2, 3"


def rows_of(path, sql):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return database.execute(sql).fetchall()


def occurred_of(event):
    return event.get("occurred") or event["time"]


def instant(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def fresh(book, events, tmp_path):
    """A book of the same definitions that never held anything but these events."""
    folder = pathlib.Path(tmp_path)
    other = Book(book.binary, book.folder, folder / "fresh")
    shutil.rmtree(other.data, ignore_errors=True)
    lines = [json.dumps({key: e[key] for key in NEW if e.get(key) is not None}) for e in events]
    (folder / "events.jsonl").write_text("\n".join(lines))
    if events:
        other.run("append", "--file", folder / "events.jsonl")
    other.run("model", "rebuild", "user_orders")
    for view in ("daily_orders", "daily_sales_summary"):
        other.run("view", "refresh", view)
    return other


@pytest.fixture(scope="module")
def orders(binary, tmp_path_factory):
    """A shop whose events have many times, and all of its events."""
    folder = tmp_path_factory.mktemp("orders")
    (folder / "orders.csv").write_bytes(retail.make(rows=900, seed=3)[0])
    book = Book(binary, SHOP, folder / "data")
    book.run("import", folder / "orders.csv", "--as", "online_retail", "--batch", "40")
    book.events = book.run("read", "-o", "jsonl").lines
    assert len({event["time"] for event in book.events}) > 20
    return book


def check_as_of(book, option, time_, events, tmp_path):
    """The model, its views and `events`, against a book that holds nothing else."""
    other = fresh(book, events, tmp_path)
    built = book.json("model", "as-of", "user_orders", option, time_)
    assert rows_of(built["file"], ROWS) == rows_of(other.data / "reading.db", ROWS)
    for sql in (ROWS, DAYS, SALES):
        assert book.json("sql", sql, option, time_) == other.json("sql", sql)
    seen = book.json("sql", "select * from events order by position", option, time_)
    for row in seen:
        row["data"] = json.loads(row["data"])
    keys = ("position", "stream", "version", "type", "time", "id", "data")
    assert [[row[key] for key in keys] for row in seen] == \
        [[event[key] for key in keys] for event in events]
    return built


def test_as_of_a_time_of_recording(orders, tmp_path):
    source = random.Random(11)
    times = sorted({event["time"] for event in orders.events})
    for time_ in ["2001-01-01", times[0], *source.sample(times[1:-1], 3), "2999-01-01"]:
        events = [e for e in orders.events if instant(e["time"]) <= instant(
            time_ if "T" in time_ else time_ + "T00:00:00Z")]
        built = check_as_of(orders, "--at", time_, events, tmp_path)
        assert built["position"] == len(events)
        assert built.get("position_time") == (events[-1]["time"] if events else None)


def test_as_of_between_two_times(orders):
    """A microsecond before an event's time it is not in."""
    times = sorted({event["time"] for event in orders.events})
    for time_ in times[1:4]:
        before = (instant(time_) - datetime.timedelta(microseconds=1)).isoformat()
        count = sum(e["time"] < time_ for e in orders.events)
        assert orders.json("sql", "select count(*) n from events", "--at", before) == [{"n": count}]
        assert orders.json("model", "as-of", "user_orders", before)["position"] == count


def test_as_of_an_occurrence(orders, tmp_path):
    source = random.Random(12)
    times = sorted({occurred_of(event) for event in orders.events})
    for time_ in ["2001-01-01T00:00:00Z", *source.sample(times, 3), times[-1]]:
        events = [e for e in orders.events if instant(occurred_of(e)) <= instant(time_)]
        built = check_as_of(orders, "--occurred-at", time_, events, tmp_path)
        assert built["position"] == len(orders.events)


def test_an_event_without_an_occurrence_counts_by_its_time(bank):
    bank.run("append", "account-1", "AccountOpened", '{"id":"1"}', "--occurred", "2020-01-01")
    deposit(bank, 5, "2021-01-01")
    deposit(bank, 7)
    deposit(bank, 11, "2020-06-01")
    for time_, balance, count in [("2020-01-01", 0, 1), ("2020-12-31", 11, 2),
                                  ("2022-01-01", 16, 3), ("2999-01-01", 23, 4)]:
        assert bank.json("model", "as-of", "balances", "--occurred-at", time_, "--query",
                         "select balance from balances") == [{"balance": balance}]
        assert bank.json("sql", "select count(*) n from events", "--occurred-at", time_) == \
            [{"n": count}]
    for time_, amounts in [("1970-01-01", [3]), ("1969-12-31T23:59:59.999999Z", [])]:
        if amounts:
            deposit(bank, 3, "1970-01-01")
        assert [row["n"] for row in bank.json(
            "sql", "select data ->> 'amount' n from events", "--occurred-at", time_)] == amounts


def test_what_is_appended_later_but_occurred_before_is_added(bank):
    bank.run("append", "account-1", "AccountOpened", '{"id":"1"}', "--occurred", "2020-01-01")
    ask = ["model", "as-of", "balances", "--occurred-at", "2021-01-01"]
    first = bank.json(*ask)
    assert bank.json(*ask)["built"] == "before"
    deposit(bank, 9, "2020-02-02")
    again = bank.json(*ask)
    assert (again["file"], again["built"], again["position"]) == (first["file"], "the rest", 2)
    assert rows_of(again["file"], "select balance from balances") == [(9,)]


def test_it_is_found_again_and_the_live_model_is_left_alone(filled, serve):
    server = serve(filled)
    third = server.get("/events").json["events"][2]["time"]
    before = server.get("/models/balances").json
    built = filled.json("model", "as-of", "balances", third)
    assert (built["position"], built["built"]) == (3, "now")
    assert filled.json("model", "as-of", "balances", third)["built"] == "before"
    sql = "select balance from balances"
    assert filled.json("model", "as-of", "balances", third, "--query", sql) == [{"balance": 3}]
    assert filled.json("model", "as-of", "balances", third, sql) == [{"balance": 3}]
    answer = server.post("/sql", {"sql": sql, "at": third})
    assert (answer.json["rows"], answer.json["position"]) == ([{"balance": 3}], 3)
    occurred = server.post("/sql", {"sql": sql, "occurred_at": third}).json
    assert occurred["rows"] == [{"balance": 3}]
    assert server.post("/sql", {"sql": sql}).json["rows"] == [{"balance": 28}]
    after = server.get("/models/balances").json
    assert [after[key] for key in ("generation", "position")] == \
        [before[key] for key in ("generation", "position")]


def test_names_with_their_database(orders):
    time_ = orders.events[400]["time"]
    plain = orders.json("sql", "select count(*) n, max(user_orders.order_id) m from user_orders",
                        "--at", time_)
    assert plain == orders.json(
        "sql", "select count(*) n, max(reading.user_orders.order_id) m from "
               "\"reading\" . [user_orders]", "--at", time_)
    orders.run("sql", "select * from reading.daily_orders", "--at", time_)
    gone = orders.run("sql", "select * from nowhere", "--at", time_, status=1)
    assert "no such table: nowhere" in gone.errors
    orders.run("sql", "delete from user_orders", "--at", time_, status=5)


def test_files_are_listed_and_removed(filled):
    times = [event["time"] for event in filled.run("read", "-o", "jsonl").lines]
    for time_ in times[1:4]:
        filled.run("model", "as-of", "balances", time_)
    filled.run("model", "as-of", "balances", "--occurred-at", times[5])
    listed = filled.json("model", "as-of")
    assert sorted(file["position"] for file in listed) == [2, 3, 4, 8]
    assert {file["state"] for file in listed} == {"whole"}
    folder = filled.data / "as-of"
    assert {f.name for f in folder.glob("*.db")} == {file["file"] for file in listed}
    assert filled.json("model", "as-of", "balances", times[2], "--rm") == {"removed": 1}
    assert filled.json("model", "as-of", "balances", times[2], "--rm") == {"removed": 0}
    assert filled.json("model", "as-of", "other", "--rm") == {"removed": 0}
    assert len(filled.json("model", "as-of", "balances")) == 3
    (folder / "stray.db").write_text("no database at all, but long enough to be looked at")
    assert [f["state"] for f in filled.json("model", "as-of") if f["file"] == "stray.db"] == \
        ["damaged"]
    assert filled.json("model", "as-of", "--rm") == {"removed": 4}
    assert [f.name for f in folder.iterdir()] == ["lock"]
    assert filled.json("model", "as-of") == []


def test_a_file_of_ones_own(filled, tmp_path):
    times = [event["time"] for event in filled.run("read", "-o", "jsonl").lines]
    mine = tmp_path / "mine.db"
    built = filled.json("model", "as-of", "balances", times[3], "--out", mine)
    assert built["file"] == str(mine)
    assert rows_of(mine, "select balance from balances") == [(6,)]
    assert filled.json("model", "as-of") == []
    assert filled.json("model", "as-of", "balances", times[3], "--out", mine)["built"] == "before"
    wrong = filled.run("model", "as-of", "balances", times[4], "--out", mine, status=1)
    assert "mine.db is there already" in wrong.errors
    other = tmp_path / "other.db"
    sqlite3.connect(other).execute("create table precious (x)").connection.close()
    text = tmp_path / "text"
    text.write_text("no database, and dear to somebody\n" * 100)
    for path in (other, text):
        kept = path.read_bytes()
        refused = filled.run("model", "as-of", "balances", times[4], "--out", path, status=1)
        assert "is there already" in refused.errors
        assert path.read_bytes() == kept


def test_damage_in_the_folder_is_built_anew(filled):
    time_ = filled.run("read", "-o", "jsonl").lines[3]["time"]
    path = pathlib.Path(filled.json("model", "as-of", "balances", time_)["file"])
    for damage in (b"", b"this is no database" * 1000):
        path.write_bytes(damage)
        assert filled.json("model", "as-of", "balances", time_)["built"] == "now"
        assert rows_of(path, "select balance from balances") == [(6,)]


def test_a_changed_definition_is_another_file(binary, tmp_path):
    folder = tmp_path / "book"
    shutil.copytree(BANK, folder)
    book = Book(binary, folder, tmp_path / "data")
    book.run("append", "account-1", "AccountOpened", '{"id":"1"}')
    deposit(book, 5)
    first = book.json("model", "as-of", "balances", "2999-01-01")
    handlers = folder / "models" / "balances" / "handlers.sql"
    handlers.write_text(handlers.read_text().replace("balance + :amount", "balance + 2 * :amount"))
    second = book.json("model", "as-of", "balances", "2999-01-01")
    assert second["file"] != first["file"] and "not what serves" in second["definition"]
    assert rows_of(second["file"], "select balance from balances") == [(10,)]
    assert sorted(f["state"] for f in book.json("model", "as-of")) == \
        ["of another definition", "whole"]


def test_a_handler_that_fails_is_named(binary, tmp_path):
    folder = tmp_path / "book"
    shutil.copytree(BANK, folder)
    book = Book(binary, folder, tmp_path / "data")
    book.run("append", "account-1", "AccountOpened", '{"id":"1"}')
    deposit(book, 5)
    handlers = folder / "models" / "balances" / "handlers.sql"
    text = handlers.read_text()
    handlers.write_text(text.replace("balance + :amount", "balance - :amount"))
    failed = book.run("model", "as-of", "balances", "2999-01-01", status=1)
    assert "event 2" in failed.errors and "handlers.sql" in failed.errors
    failed = book.run("sql", "select * from balances", "--at", "2999-01-01", status=1)
    assert "event 2" in failed.errors and "handlers.sql" in failed.errors


@pytest.mark.parametrize("words", [
    ["balances", "soon"], ["balances", "--at", "soon"], ["balances", "2020-13-01"],
    ["balances", "--query", "select 1"], ["balances", "2020-01-01", "select 1", "2"],
    ["balances", "2020-01-01", "--query", "select 1", "--out", "x"], ["--at", "2020-01-01"],
    ["balances", "--at", "2020-01-01", "--occurred-at", "2020-01-01"],
    ["balances", "2020-01-01", "--rm", "--query", "select 1"], ["balances", "--out", "x"]])
def test_wrong_words_are_named(bank, words):
    answer = bank.run("model", "as-of", *words, status=2)
    assert answer.text == "" and answer.errors.strip()
    assert not bank.data.exists()


def test_other_wrong_requests(bank, serve):
    assert "did you mean balances" in bank.run("model", "as-of", "balance", "2020-01-01",
                                               status=1).errors
    bank.run("sql", "select 1", "--at", "2020-01-01", "--occurred-at", "2020-01-01", status=2)
    server = serve(bank)
    for body in ({"at": "soon"}, {"at": 5}, {"at": "2020-01-01", "occurred_at": "2020-01-01"},
                 {"when": "2020-01-01"}):
        answer = server.post("/sql", {"sql": "select 1", **body})
        assert answer.status == 400 and answer.json["detail"], body


def test_an_interrupted_build_is_gone_on_with(binary, tmp_path):
    book = Book(binary, BANK, tmp_path / "data")
    lines = ['{"stream":"account-1","type":"AccountOpened","data":{"id":"1"}}']
    lines += ['{"stream":"account-1","type":"Deposited","data":{"amount":1}}'] * 9999
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    for _ in range(8):
        book.run("append", "--file", tmp_path / "events.jsonl")
        lines[0] = lines[1]
        (tmp_path / "events.jsonl").write_text("\n".join(lines))
    command = book.command("model", "as-of", "balances", "2999-01-01")
    stopped = 0
    for _ in range(200):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              env=clean_environment()) as build:
            time.sleep(0.03)
            build.send_signal(signal.SIGINT)
            text, errors = build.communicate(timeout=TIMEOUT_S)
        if build.returncode == 0:
            break
        stopped += "the next one goes on there" in errors
    listed = book.json("model", "as-of")
    assert stopped > 0 and [f["state"] for f in listed] == ["whole"], (text, errors)
    assert rows_of(book.data / "as-of" / listed[0]["file"], "select balance from balances") == \
        [(79999,)]
