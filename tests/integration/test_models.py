# SPDX-License-Identifier: Apache-2.0
"""Read models and views by the command line: shown, noticed when changed, rebuilt, refreshed."""
import shutil
import sqlite3
import time

import pytest

from conftest import BANK, SHOP, Book

HANDLERS = "models/balances/handlers.sql"


@pytest.fixture
def own_bank(binary, tmp_path):
    """The bank as a copy whose files may be changed, with two accounts in it."""
    folder = tmp_path / "bank"
    shutil.copytree(BANK, folder, ignore=shutil.ignore_patterns("data"))
    book = Book(binary, folder, tmp_path / "data")
    book.run("import", BANK / "sample.jsonl", "--as", "sample")
    return book


def rows_of(book, sql):
    with sqlite3.connect(f"file:{book.data}/reading.db?mode=ro", uri=True) as database:
        return database.execute(sql).fetchall()


def change(book, name, old, new):
    path = book.folder / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def model(book):
    return book.json("model", "show", "balances")


def test_models_are_listed_and_shown(own_bank):
    (row,) = own_bank.json("model", "ls")
    assert (row["name"], row["database"], row["sync"], row["state"]) == \
        ("balances", "reading", "transaction", "following")
    assert (row["position"], row["lag_events"], row["changed"], row["error"]) == \
        (2351, 0, False, None)
    assert model(own_bank) == row
    assert row["tables"] == ["balances"]
    for output in ("table", "csv", "jsonl"):
        assert "balances" in own_bank.run("model", "ls", "-o", output).text


def test_a_model_s_rows(own_bank):
    rows = own_bank.json("model", "read", "balances")
    assert [(r["account"], r["balance"]) for r in rows] == [("123", 120), ("456", 7847)]
    assert len(own_bank.json("model", "read", "balances", "--limit", 1)) == 1
    began = time.monotonic()
    answer = own_bank.run("model", "read", "balances", "--after", 9999, "--timeout", "100ms",
                          status=1)
    assert "position 2351, not yet to 9999" in answer.errors
    assert time.monotonic() - began < 4


def test_a_changed_definition_is_noticed_and_rebuilt(own_bank):
    change(own_bank, HANDLERS, "balance + :amount", "balance + :amount + 1")
    before = model(own_bank)
    assert (before["changed"], before["generation"]) == (True, 1)
    # Until then it goes on under the definition it was built with.
    own_bank.run("do", "Deposit", '{"account":"123","amount":10}')
    assert own_bank.json("get", "GetBalance", "account=123")[0]["balance"] == 130
    after = own_bank.json("model", "rebuild", "balances")
    assert (after["changed"], after["generation"], after["position"]) == (False, 2, 2352)
    assert own_bank.json("get", "GetBalance", "account=123")[0]["balance"] == 133
    tables = {name for (name,) in rows_of(
        own_bank, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert "balances__g2" in tables and "balances__g1" not in tables


def test_a_rebuild_that_fails_leaves_the_old(own_bank):
    change(own_bank, HANDLERS, "balance - :amount", "balance - 10 * :amount")
    answer = own_bank.run("model", "rebuild", "balances", status=1)
    assert "CHECK constraint failed" in answer.errors and "account-123" in answer.errors
    after = model(own_bank)
    assert (after["generation"], after["changed"]) == (1, True)
    assert own_bank.json("get", "GetBalance", "account=123")[0]["balance"] == 120
    own_bank.run("do", "Deposit", '{"account":"123","amount":1}')
    assert own_bank.json("get", "GetBalance", "account=123")[0]["balance"] == 121


def test_a_rebuild_under_a_server(own_bank, serve):
    server = serve(own_bank)
    change(own_bank, HANDLERS, "balance + :amount", "balance + 2 * :amount")
    server.stop()
    server = serve(own_bank)
    assert server.get("/models/balances").json["changed"] is True
    assert own_bank.json("model", "rebuild", "balances")["generation"] == 2
    assert server.get("/queries/GetBalance?account=123").json["rows"][0]["balance"] == 270
    assert server.get("/models/balances").json["changed"] is False


def test_a_stopped_model_says_at_which_event(binary, serve, tmp_path):
    book = Book(binary, SHOP, tmp_path / "data")
    serve(book)
    book.run("append", "order-1", "OrderPlaced",
             '{"order_id":"1","customer_id":"7","country":"France"}', "--occurred", "2026-01-01")
    book.run("append", "order-2", "OrderPlaced",
             '{"order_id":"1","customer_id":"7","country":"France"}', "--occurred", "2026-01-02")
    book.run("append", "order-3", "OrderPlaced",
             '{"order_id":"3","customer_id":"7","country":"France"}', "--occurred", "2026-01-03")
    answer = book.run("get", "GetMyOrders", "user_id=7", "--after", 3, "--timeout", "2 s",
                      status=1)
    assert "user_orders" in answer.errors
    (row,) = book.json("model", "ls")
    assert (row["state"], row["position"], row["lag_events"]) == ("stopped", 1, 2)
    for part in ("handlers.sql:", "UNIQUE constraint failed", "event 2", "order-2 version 1"):
        assert part in row["error"]
    assert len(book.json("model", "read", "user_orders")) == 1


def order(book, number, **options):
    return book.run("append", f"order-{number}", "OrderPlaced",
                    f'{{"order_id":"{number}","customer_id":"7","country":"France"}}',
                    "--occurred", "2011-03-01", **options)


def metric(server, name, labels='model="user_orders"'):
    line = next(line for line in server.get("/metrics").text.splitlines()
                if line.startswith(f"daybook_model_{name}{{{labels}}} "))
    return float(line.split()[-1])


def test_a_model_tells_how_it_keeps_up(binary, serve, tmp_path):
    book = Book(binary, SHOP, tmp_path / "data")
    order(book, 1)
    book.run("get", "GetMyOrders", "user_id=7", "--after", 1)
    server = serve(book)
    (row,) = book.json("model", "ls")
    # What was there before has nothing to tell of how it keeps up.
    assert (row["visible_p50_ms"], row["visible_max_ms"]) == (None, None)
    for number in range(2, 22):
        order(book, number)
    book.run("get", "GetMyOrders", "user_id=7", "--after", 21)
    (row,) = book.json("model", "ls")
    # Orders that occurred long ago are measured from when the book got them.
    assert 0 < row["visible_p50_ms"] <= row["visible_p99_ms"] <= row["visible_max_ms"] < 60000
    assert (row["events_posted"], row["failures"], row["retries"]) == (20, 0, 0)
    assert metric(server, "visible_seconds_count") == 20
    assert metric(server, "visible_max_seconds") == pytest.approx(row["visible_max_ms"] / 1000)
    assert 0 < metric(server, "visible_seconds", 'model="user_orders",quantile="0.99"') <= \
        metric(server, "visible_max_seconds")
    assert metric(server, "lag_events") == 0
    deadline = time.monotonic() + 30
    while book.json("model", "show", "user_orders")["events_per_second"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_tries_and_failures_are_counted(binary, serve, tmp_path):
    book = Book(binary, SHOP, tmp_path / "data")
    server = serve(book)
    with sqlite3.connect(f"{book.data}/reading.db", isolation_level=None) as database:
        database.execute("BEGIN IMMEDIATE")
        order(book, 1)
        deadline = time.monotonic() + 60
        while metric(server, "retries_total") == 0:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert metric(server, "lag_events") == 1
        assert metric(server, "lag_seconds") > 0
        database.execute("ROLLBACK")
    book.run("get", "GetMyOrders", "user_id=7", "--after", 1, "--timeout", "30 s")
    assert (metric(server, "failures_total"), metric(server, "stopped")) == (0, 0)
    book.run("append", "order-2", "OrderPlaced",
             '{"order_id":"1","customer_id":"7","country":"France"}', "--occurred", "2011-03-01")
    book.run("get", "GetMyOrders", "user_id=7", "--after", 2, "--timeout", "30 s", status=1)
    assert (metric(server, "failures_total"), metric(server, "stopped")) == (1, 1)


def shop_with(binary, tmp_path, *settings):
    """The shop, whose model has settings of its own."""
    folder = tmp_path / "shop"
    shutil.copytree(SHOP, folder, ignore=shutil.ignore_patterns("data"))
    book = Book(binary, folder, tmp_path / "data")
    with open(folder / "models/user_orders/model.yaml", "a", encoding="utf-8") as file:
        file.write("".join(f"{setting}\n" for setting in settings))
    return book


def stop_at_event_2(book):
    """The second order has the number of the first: its handler fails, and the model stops."""
    order(book, 1)
    book.run("append", "order-2", "OrderPlaced",
             '{"order_id":"1","customer_id":"7","country":"France"}', "--occurred", "2011-03-01")
    book.run("get", "GetMyOrders", "user_id=7", "--after", 2, "--timeout", "30 s", status=1)


READS = ("/queries/GetMyOrders?user_id=7", "/models/user_orders/tables/user_orders")


def test_answers_say_how_far_behind_they_are(binary, serve, tmp_path):
    book = Book(binary, SHOP, tmp_path / "data")
    server = serve(book)
    order(book, 1)
    for path in READS:
        answer = server.get(path + ("&" if "?" in path else "?") + "after=1")
        assert (answer.status, answer.json["position"], answer.json["lag_ms"]) == (200, 1, 0)
        assert (answer.headers["Daybook-Position"], answer.headers["Daybook-Lag-Ms"]) == \
            ("1", "0.000")
    stop_at_event_2(book)
    time.sleep(0.05)
    for path in READS:
        answer = server.get(path)
        assert (answer.status, answer.json["position"], len(answer.json["rows"])) == (200, 1, 1)
        assert 50 <= answer.json["lag_ms"] < 600000
        assert float(answer.headers["Daybook-Lag-Ms"]) == answer.json["lag_ms"]
    # What is as of a time is not behind.
    answer = server.post("/sql", {"sql": "SELECT count(*) n FROM events", "at": "2030-01-01"})
    assert "lag_ms" not in answer.json and "Daybook-Lag-Ms" not in answer.headers


def test_a_stale_model_is_refused_where_that_is_wanted(binary, serve, tmp_path):
    book = shop_with(binary, tmp_path, "max_lag: 500 ms", "stale: refuse")
    server = serve(book)
    stop_at_event_2(book)
    time.sleep(0.6)
    for path in READS:
        answer = server.get(path)
        assert (answer.status, answer.json["code"]) == (503, "stale")
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert "model user_orders is 1 events" in answer.json["detail"]
        assert "max_lag of 500 ms" in answer.json["detail"]
    assert server.post("/sql", {"sql": "SELECT * FROM user_orders"}).status == 503
    assert server.post("/sql", {"sql": "SELECT count(*) n FROM events"}).status == 200
    assert "max_lag of 500 ms" in book.run("get", "GetMyOrders", "user_id=7", status=1).errors
    row = server.get("/models/user_orders").json
    assert (row["late"], row["max_lag_ms"], row["state"]) == (True, 500, "stopped")
    assert metric(server, "late") == 1
    # The events put into order, it catches up, and is read again.
    change(book, "models/user_orders/schema.sql", "PRIMARY KEY", "")
    server.stop()
    server = serve(book)
    assert book.json("model", "rebuild", "user_orders")["late"] is False
    assert server.get(READS[0]).status == 200
    assert server.get("/healthz").status == 200


def test_a_late_model_is_told_of_and_served(binary, serve, tmp_path):
    book = shop_with(binary, tmp_path, "max_lag: 50 ms")
    server = serve(book)
    health = server.get("/healthz")
    assert (health.status, health.json["models"][0]["late"]) == (200, False)
    with sqlite3.connect(f"{book.data}/reading.db", isolation_level=None) as database:
        database.execute("BEGIN IMMEDIATE")  # the model cannot write, and has not stopped
        order(book, 1)
        time.sleep(0.1)
        health = server.get("/healthz")
        assert (health.status, health.json["status"]) == (503, "degraded")
        (model_health,) = health.json["models"]
        assert (model_health["late"], model_health["max_lag_ms"], model_health["state"]) == \
            (True, 50, "following")
        answer = server.get(READS[0])
        assert (answer.status, answer.json["rows"]) == (200, [])
        assert answer.json["lag_ms"] > 50
        database.execute("ROLLBACK")
    book.run("get", "GetMyOrders", "user_id=7", "--after", 1, "--timeout", "30 s")
    assert server.get("/healthz").status == 200
    # It is no part of what builds the tables.
    server.stop()
    change(book, "models/user_orders/model.yaml", "max_lag: 50 ms", "max_lag: 70 ms")
    assert book.json("model", "show", "user_orders")["changed"] is False


# ---- Views ----

def test_a_view_is_refreshed_on_demand(own_bank):
    (row,) = own_bank.json("view", "ls")
    assert (row["name"], row["generation"], row["as_of"], row["next"]) == \
        ("bank_totals", 0, None, None)
    first = own_bank.json("view", "refresh", "bank_totals")
    assert (first["generation"], first["position"], first["rows"]) == (1, 2351, 1)
    assert own_bank.json("view", "read", "bank_totals") == [{"accounts": 2, "balance": 7967}]
    own_bank.run("do", "Deposit", '{"account":"123","amount":3}')
    assert own_bank.json("view", "read", "bank_totals")[0]["balance"] == 7967  # as it was
    second = own_bank.json("view", "refresh", "bank_totals")
    assert (second["position"], second["as_of"] > first["as_of"]) == (2352, True)
    assert own_bank.json("view", "show", "bank_totals") == second
    assert own_bank.json("view", "read", "bank_totals")[0]["balance"] == 7970
    assert rows_of(own_bank, "SELECT balance FROM bank_totals") == [(7970,)]


def test_a_refresh_that_fails_keeps_the_old_and_says_why(own_bank):
    own_bank.run("view", "refresh", "bank_totals")
    change(own_bank, "views/bank_totals.sql", "sum(balance)",
           "json_extract('{', '$.' || max(account))")
    answer = own_bank.run("view", "refresh", "bank_totals", status=1)
    assert "malformed JSON" in answer.errors
    assert own_bank.json("view", "read", "bank_totals") == [{"accounts": 2, "balance": 7967}]
    assert "malformed JSON" in own_bank.json("view", "show", "bank_totals")["error"]


def test_a_changed_view_is_noticed(own_bank):
    own_bank.run("view", "refresh", "bank_totals")
    change(own_bank, "views/bank_totals.sql", "sum(balance)", "max(balance)")
    assert own_bank.json("view", "show", "bank_totals")["changed"] is True
    assert own_bank.json("view", "refresh", "bank_totals")["changed"] is False
    assert own_bank.json("view", "read", "bank_totals")[0]["balance"] == 7847


# ---- SQL ----

def test_sql_reads_models_views_and_the_log(own_bank):
    own_bank.run("view", "refresh", "bank_totals")
    assert own_bank.json("sql", "select category, count(*) n from events group by 1") == \
        [{"category": "account", "n": 2351}]
    joined = own_bank.json(
        "sql", "select b.account, b.balance, count(*) n from balances b join events e "
               "on e.stream = 'account-' || b.account group by 1 order by 1")
    assert joined == [{"account": "123", "balance": 120, "n": 4},
                      {"account": "456", "balance": 7847, "n": 2347}]
    assert own_bank.json("sql", "select accounts from bank_totals") == [{"accounts": 2}]
    assert own_bank.json("sql", "select 1 x where 0") == []
    assert own_bank.json("sql", "select position from events where stream = 'account-456' "
                                "and version between 10 and 12") == \
        [{"position": p} for p in (14, 15, 16)]
    assert own_bank.run("sql", "select type, count(*) n from events group by 1 order by 1", "-o",
                        "csv").text == "type,n\nAccountOpened,2\nDeposited,2346\nWithdrawn,3\n"


def test_integers_of_64_bits_come_through_sql(own_bank):
    for number in (2**63 - 1, -2**63):
        assert own_bank.json("sql", f"select {number} n") == [{"n": number}]


def test_the_command_line_says_where_rows_are(bank, serve):
    bank.run("do", "Open", "account=1")
    done = bank.json("do", "Deposit", "account=1", "amount=5")
    queries = [("get", "GetBalance", "account=1"), ("model", "read", "balances"),
               ("sql", "SELECT * FROM balances")]

    def check():
        for words in queries:
            rows = bank.json(*words)
            whole = bank.json(*words, "--position")
            assert whole["rows"] == rows and len(rows) == 1
            assert whole["position"] == done["position"] and whole["lag_ms"] == 0
            assert whole["columns"] == list(rows[0])
            for output in ("table", "csv", "jsonl"):
                plain = bank.run(*words, "-o", output)
                said = bank.run(*words, "--position", "-o", output)
                assert (said.text, plain.errors) == (plain.text, "")
                assert said.errors == f"position {done['position']}, 0.000 ms behind\n"

    check()
    serve(bank)
    check()
    bank.run("view", "refresh", "bank_totals")
    view = bank.json("view", "read", "bank_totals", "--position")
    assert view["view"] == "bank_totals" and view["position"] == done["position"]
    # As of a time there is nothing that is lacking.
    then = bank.run("sql", "SELECT * FROM balances", "--at", "2999-01-01", "--position", "-o",
                    "jsonl")
    assert then.errors.endswith(f"position {done['position']}\n")
    assert "goes with a query" in bank.run("get", "--position", status=2).errors
