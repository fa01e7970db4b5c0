# SPDX-License-Identifier: Apache-2.0
"""When views are refreshed: by a lag, with what stands on them, and what holds up whom."""

import shutil
import sqlite3
import threading
import time

import pytest

from conftest import BANK

HEAD = "-- refresh: {}\n-- database: reading\n"
BY_LEVEL = "SELECT balance / 100 AS level, sum(balance) AS total FROM balances GROUP BY 1\n"
FAILS = "SELECT account, CASE balance WHEN 150 THEN abs(-9223372036854775807 - 1) END AS n " \
    "FROM balances\n"


@pytest.fixture
def book(make_book, tmp_path):
    folder = tmp_path / "bank"
    shutil.copytree(BANK, folder)
    made = make_book(folder)
    for name, amount in (("a", 50), ("b", 150), ("c", 160)):
        made.run("do", "Open", f"account={name}")
        made.run("do", "Deposit", f"account={name}", f"amount={amount}")
    return made


def write(book, name, refresh, select):
    (book.folder / "views" / f"{name}.sql").write_text(HEAD.format(refresh) + select)


def deposit(server, amount=1, account="a"):
    return server.post("/commands/Deposit", {"account": account, "amount": amount}).json["position"]


def status(server, view):
    return server.get(f"/views/{view}/status").json


def wait(what, seconds=10):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def stop_a_model(book):
    """A model that stops at the first deposit."""
    folder = book.folder / "models" / "halted"
    folder.mkdir()
    (folder / "model.yaml").write_text("database: reading\nsync: events\nsource: [account]\n")
    (folder / "schema.sql").write_text("CREATE TABLE halted (id TEXT PRIMARY KEY NOT NULL);\n")
    (folder / "handlers.sql").write_text("-- on: Deposited\nINSERT INTO halted VALUES (NULL);\n")


@pytest.mark.parametrize("refresh, select, place, said", [
    ("lag 10", BY_LEVEL, "1:13", '"lag 10" is no lag'),
    ("lag 99 ms", BY_LEVEL, "1:13", '"lag 99 ms" is no lag'),
    ("downstream", BY_LEVEL, "1:13", "no view reads this one"),
    ("downstreams", BY_LEVEL, "1:13", '"downstreams" is no schedule'),
    ("lag 10 s", "SELECT level FROM daily", "1:13", "stands on `daily`, whose refresh is `every"),
    ("lag 10 s", "SELECT level FROM passed", "1:13", "stands on `seldom`, whose refresh is `on"),
    ("lag 1 s", "SELECT level FROM slow", "1:13", "stands on `slow`, whose refresh is `lag 2 s`"),
])
def test_schedules_that_cannot_be_kept_are_refused(book, refresh, select, place, said):
    write(book, "daily", "every day at 02:00", BY_LEVEL)
    write(book, "seldom", "on demand", BY_LEVEL)
    write(book, "slow", "lag 2 s", BY_LEVEL)
    write(book, "passed", "downstream", "SELECT level FROM seldom")
    write(book, "reader", "every day at 02:00", "SELECT level FROM passed")
    book.run("check")
    write(book, "v", refresh, select)
    answer = book.run("check", status=1)
    assert f"views/v.sql:{place}" in answer.text + answer.errors
    assert said in answer.text + answer.errors


def test_a_lag_is_kept_and_no_more_is_done(book, serve):
    write(book, "levels", "lag 2 s", BY_LEVEL)
    server = serve(book)
    wait(lambda: status(server, "levels")["state"] == "ready")
    begun = time.monotonic()
    seen = set()
    while time.monotonic() - begun < 4:
        deposit(server)
        row = status(server, "levels")
        assert row["lag_ms"] <= 2000 and row["late"] is False and row["target_ms"] == 2000
        assert row["next"] is not None or row["lag_ms"] == 0
        seen.add(row["position"])
        time.sleep(0.02)
    assert 2 <= len(seen) <= 4  # not with each of some hundred events
    last = deposit(server)
    wait(lambda: status(server, "levels")["position"] >= last, 3)
    assert status(server, "levels")["last_mode"] == "incremental"
    assert server.get("/healthz").status == 200


def test_what_is_past_its_lag_is_reported(book, serve):
    stop_a_model(book)
    write(book, "behind", "lag 500 ms", "SELECT count(*) AS n FROM halted\n")
    server = serve(book)
    deposit(server)
    wait(lambda: server.get("/healthz").status == 503)
    wait(lambda: any(view.get("late") for view in server.get("/healthz").json["views"]))
    metrics = server.get("/metrics").text
    assert 'daybook_view_late{view="behind"} 1' in metrics
    assert 'daybook_view_lag_target_seconds{view="behind"} 0.500000' in metrics
    row = status(server, "behind")
    assert row["late"] and row["lag_ms"] > 500


def test_a_downstream_view_goes_with_what_stands_on_it(book, serve):
    write(book, "levels", "downstream", BY_LEVEL)
    write(book, "top", "on demand", "SELECT max(total) AS most FROM levels\n")
    server = serve(book)
    time.sleep(0.3)
    assert status(server, "levels")["state"] == "empty"
    server.post("/views/top/refresh")
    first = status(server, "levels")
    assert first["state"] == "ready" and first["rows"] == 2 and first["bytes"] > 0
    deposit(server, 1000, "c")
    time.sleep(0.3)
    assert status(server, "levels")["position"] == first["position"]
    server.post("/views/top/refresh")
    assert server.get("/views/top").json["rows"] == [{"most": 1160}]
    assert status(server, "levels")["last_mode"] == "incremental"


def test_a_lag_through_a_downstream_view(book, serve):
    write(book, "levels", "downstream", BY_LEVEL)
    write(book, "top", "lag 300 ms", "SELECT max(total) AS most FROM levels\n")
    server = serve(book)
    wait(lambda: status(server, "top")["state"] == "ready")
    last = deposit(server, 500, "c")
    wait(lambda: status(server, "top")["position"] >= last, 3)
    assert server.get("/views/top").json["rows"] == [{"most": 660}]


def test_who_joins_a_refresh_gets_what_was_there_when_asking(book, serve):
    slow = ("SELECT sum(balance) AS total, (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
            "SELECT i + 1 FROM n WHERE i < 1000000) SELECT count(*) FROM n) AS n FROM balances\n")
    write(book, "slow", "on demand\n-- mode: full", slow)
    server = serve(book)
    before = server.post("/views/slow/refresh").json["position"]
    first = threading.Thread(target=server.post, args=("/views/slow/refresh",))
    first.start()
    wait(lambda: status(server, "slow")["refreshing"])
    time.sleep(0.1)  # it has read what it reads
    position = deposit(server, 7)
    assert position > before
    answer = server.post(f"/views/slow/refresh?after={position}").json
    first.join()
    assert answer["position"] >= position, answer
    now = "select (select sum(balance) from balances) as total, 1000000 as n"
    assert server.get("/views/slow").json["rows"] == book.json("sql", now)


def test_a_failed_view_blocks_what_stands_on_it_alone(book, serve):
    write(book, "a_reader", "continuous", "SELECT count(*) AS n FROM b_fails\n")
    write(book, "b_fails", "continuous", FAILS)
    write(book, "c_last", "every 1 second", "SELECT n FROM a_reader\n")
    write(book, "other", "continuous", BY_LEVEL)
    server = serve(book)
    wait(lambda: status(server, "b_fails")["state"] == "failed")
    for view in ("a_reader", "c_last"):
        wait(lambda: status(server, view)["state"] == "blocked")
        assert status(server, view)["blocked_by"] == "b_fails"
        assert status(server, view)["generation"] == 0
    answer = server.post("/views/c_last/refresh")
    assert answer.json["code"] == "refused"
    assert "view c_last is blocked: b_fails, on which it stands, failed" in answer.json["detail"]
    last = deposit(server)
    wait(lambda: status(server, "other")["position"] >= last)
    assert 'daybook_view_blocked{view="c_last"} 1' in server.get("/metrics").text
    ls = book.run("view", "ls").text
    assert "blocked" in ls and "b_fails" in ls
    deposit(server, 1, "b")  # no balance is 150 any more
    wait(lambda: all(status(server, view)["state"] == "ready" for view in ("a_reader", "c_last")))
    assert server.get("/views/c_last").json["rows"] == [{"n": 3}]


def test_a_failure_is_known_after_a_restart(book, serve):
    write(book, "b_fails", "on demand", FAILS)
    write(book, "reader", "on demand", "SELECT count(*) AS n FROM b_fails\n")
    book.run("view", "refresh", "b_fails", status=1)
    server = serve(book)
    assert status(server, "reader")["blocked_by"] == "b_fails"


def test_a_stopped_model_holds_up_its_own_views_alone(book, serve):
    stop_a_model(book)
    for number in range(6):  # more than there are threads
        write(book, f"held_{number}", "every 1 second", "SELECT count(*) AS n FROM halted\n")
    write(book, "passed", "downstream", "SELECT count(*) AS n FROM halted\n")
    write(book, "held_6", "every 1 second", "SELECT n FROM passed\n")
    write(book, "other", "every 1 second", BY_LEVEL)
    write(book, "quick", "continuous", BY_LEVEL)
    server = serve(book)
    last = deposit(server)
    wait(lambda: status(server, "other")["position"] >= last, 4)
    wait(lambda: status(server, "quick")["position"] >= last, 1)
    for number in range(7):
        row = status(server, f"held_{number}")
        assert (row["state"], row["waits_for"]) == ("waiting", "halted")
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 5


def test_what_is_told_is_what_is_there(book, serve):
    write(book, "levels", "every 1 hour", BY_LEVEL)
    server = serve(book)
    wait(lambda: status(server, "levels")["state"] == "ready")
    row = status(server, "levels")
    connection = sqlite3.connect(f"file:{book.data}/reading.db?mode=ro", uri=True)
    bytes_, = connection.execute(
        "SELECT sum(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_schema WHERE "
        "tbl_name = 'levels__g1')").fetchone()
    connection.close()
    assert (row["rows"], row["bytes"], row["last_mode"]) == (2, bytes_, "full")
    metrics = {}
    for line in server.get("/metrics").text.splitlines():
        if 'view="levels"' in line:
            metrics[line.split("{")[0].removeprefix("daybook_view_")] = float(line.split()[-1])
    assert metrics["position"] == row["position"] and metrics["rows"] == 2
    assert metrics["bytes"] == bytes_ and metrics["last_refresh_incremental"] == 0
    assert abs(metrics["next_refresh_timestamp_seconds"] - metrics["as_of_timestamp_seconds"]
               - 3600) < 5
    assert "lag_target_seconds" not in metrics
    shown = next(row for row in book.json("view", "ls") if row["name"] == "levels")
    assert {"as_of", "position", "lag_ms", "target_ms", "rows", "bytes", "last_mode", "duration_ms",
            "next", "state"} <= set(shown)


def test_no_reader_sees_half_a_diamond(book, serve):
    """Two views over one table and a third over both: in each snapshot they agree."""
    write(book, "a_each", "continuous", "SELECT account, balance FROM balances\n")
    write(book, "b_all", "continuous\n-- changes: keep 100000 rows, 64 MiB",
          "SELECT currency, sum(balance) AS total FROM balances GROUP BY 1\n")
    write(book, "c_both", "continuous",
          "SELECT a.account, a.balance, b.total FROM a_each AS a JOIN b_all AS b ON 1\n")
    write(book, "d_apart", "on demand", "SELECT total FROM b_all\n")
    server = serve(book)
    names = ("a_each", "b_all", "c_both")
    wait(lambda: all(status(server, name)["state"] == "ready" for name in names))
    deposit(server)
    wait(lambda: all(status(server, name)["last_mode"] == "incremental" for name in names))
    connection = sqlite3.connect(f"file:{book.data}/reading.db?mode=ro", uri=True)
    totals = set()
    stopping = threading.Event()

    def write_on():
        while not stopping.is_set():
            deposit(server)

    writer = threading.Thread(target=write_on)
    writer.start()
    end = time.monotonic() + 2
    try:
        while time.monotonic() < end:
            connection.execute("BEGIN")
            each, = connection.execute("SELECT sum(balance) FROM a_each").fetchone()
            total, = connection.execute("SELECT sum(total) FROM b_all").fetchone()
            both = connection.execute(
                "SELECT sum(balance), max(total), min(total) FROM c_both").fetchone()
            positions = {position for position, in connection.execute(
                "SELECT position FROM _daybook_views WHERE name IN ('a_each', 'b_all', 'c_both')")}
            connection.execute("COMMIT")
            assert each == total and both == (total, total, total) and len(positions) == 1
            totals.add(total)
    finally:
        stopping.set()
        writer.join()
    connection.close()
    last = deposit(server)
    assert len(totals) > 20
    wait(lambda: all(status(server, name)["position"] >= last for name in names))
    assert status(server, "d_apart")["state"] == "empty"


def test_what_stands_on_a_view_is_woken_by_its_refresh(book, serve):
    """And not only when the scheduler looks by itself, once a second."""
    write(book, "levels", "on demand", BY_LEVEL)
    write(book, "on_levels", "continuous", "SELECT level, total FROM levels\n")
    server = serve(book)
    assert server.post("/views/levels/refresh").status == 200
    wait(lambda: status(server, "on_levels")["state"] == "ready")
    took = 0.0
    for _ in range(8):
        position = deposit(server)
        time.sleep(0.1)  # the event's own wake-up is over
        assert server.post("/views/levels/refresh").status == 200
        begun = time.monotonic()
        wait(lambda at=position: status(server, "on_levels")["position"] >= at)
        took += time.monotonic() - begun
    assert took < 2
