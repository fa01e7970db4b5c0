# SPDX-License-Identifier: Apache-2.0
"""Verifications by schedule: a view that somebody damaged is found, told of in each place, and
mended where its head says so."""

import shutil
import sqlite3
import time

import pytest

from conftest import BANK

VIEW = """-- refresh: on demand
-- database: reading
{}SELECT account, balance FROM balances
"""


@pytest.fixture
def book(make_book, tmp_path):
    folder = tmp_path / "bank"
    shutil.copytree(BANK, folder)
    return make_book(folder)


def write(book, head, name="v"):
    (book.folder / "views" / f"{name}.sql").write_text(VIEW.format(head), encoding="utf-8")


def damage(book, statement):
    connection = sqlite3.connect(book.data / "reading.db")
    with connection:
        connection.execute(statement)
    connection.close()


def wait_for(server, holds, name="v"):
    end = time.monotonic() + 20
    while not holds(shown := server.get(f"/views/{name}/status").json):
        assert time.monotonic() < end, shown
        time.sleep(0.05)
    return shown


def fill(book):
    for account in "abc":
        book.run("do", "Open", f"account={account}")
    book.run("view", "refresh", "v")


def metric(server, name):
    text = server.get("/metrics").text
    return float(text.split(f'daybook_view_{name}{{view="v"}} ')[1].split("\n")[0])


def test_a_difference_is_found_and_told_of(book, serve):
    write(book, "-- verify: every 1 second\n")
    fill(book)
    server = serve(book)
    shown = wait_for(server, lambda shown: shown["verified"])
    assert shown["verify"] == "every 1 second" and not shown["verify_refreshes"]
    assert shown["verified"]["rows"] == 3 and shown["verified"]["position"] == shown["position"]
    assert shown["verified"]["too_many"] == shown["verified"]["missing"] == 0
    assert server.get("/healthz").status == 200 and metric(server, "verify_differences") == 0
    damage(book, f"UPDATE v__g{shown['generation']} SET balance = 7 WHERE account = 'b'")
    damage(book, f"DELETE FROM v__g{shown['generation']} WHERE account = 'c'")
    shown = wait_for(server, lambda shown: shown["verified"]["missing"])
    assert (shown["verified"]["too_many"], shown["verified"]["missing"]) == (1, 2)
    assert shown["state"] == "failed" and "1 rows are stored" in shown["error"]
    health = server.get("/healthz")
    assert health.status == 503 and health.json["status"] == "degraded"
    assert [view["differs"] for view in health.json["views"] if view["name"] == "v"] == [True]
    assert metric(server, "verify_differences") == 3
    assert metric(server, "verified_timestamp_seconds") > 1e9
    # It is left as it is; who refreshes it mends it, and the next verification says so.
    time.sleep(1.5)
    still = server.get("/views/v/status").json
    assert still["generation"] == shown["generation"] and still["verified"] == shown["verified"]
    assert server.post("/views/v/refresh").status == 200
    wait_for(server, lambda shown: not shown["verified"]["missing"])
    assert server.get("/healthz").status == 200


def test_a_difference_is_mended_where_the_head_says_so(book, serve):
    write(book, "-- verify: every 1 second and refresh\n")
    fill(book)
    server = serve(book)
    shown = wait_for(server, lambda shown: shown["verified"])
    damage(book, f"DELETE FROM v__g{shown['generation']} WHERE account = 'c'")
    shown = wait_for(server, lambda shown: shown["verify_mended"])
    assert server.get("/views/v").json["rows"][2]["account"] == "c"
    shown = wait_for(server, lambda shown: not shown["verified"]["missing"])
    assert shown["last_mode"] == "full" and shown["verify_mended"] == 1
    assert server.get("/healthz").status == 200


def test_what_was_found_is_kept_and_one_a_day_waits_for_its_time(book, serve):
    write(book, "-- verify: every day at 04:00 Europe/Berlin ± 5 minutes\n")
    fill(book)
    server = serve(book)
    shown = wait_for(server, lambda shown: shown["verify_next"])
    assert shown["verified"] is None and shown["verify_next"] > shown["as_of"]
    damage(book, f"DELETE FROM v__g{shown['generation']}")
    assert server.post("/views/v/verify").status != 200
    server.stop()
    kept = book.json("view", "show", "v")["verified"]
    assert kept["missing"] == 3 and kept["rows"] == 3
    damage(book, "UPDATE _daybook_views SET verified = verified - 3 * 86400000000, error = NULL")
    server = serve(book)  # One that was missed is made up for.
    wait_for(server, lambda shown: shown["verified"]["at"] >= kept["at"])


def test_one_under_way_is_interrupted_at_shutdown(book, serve):
    write(book, "-- verify: every 1 second\n")
    fill(book)
    (book.folder / "views" / "v.sql").write_text("""-- refresh: on demand
-- database: reading
-- verify: every 1 second
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000)
SELECT count(*) AS n FROM n
""", encoding="utf-8")
    takes = book.json("view", "refresh", "v")["duration_ms"] / 1000
    server = serve(book)
    time.sleep(takes / 10)
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < takes / 2
    assert book.json("view", "show", "v")["verified"] is None


@pytest.mark.parametrize("value, said", [
    ("continuous", "does not say when the view is verified"),
    ("on demand", "does not say when the view is verified"),
    ("every day at 04:00 and refreshed", "does not say when the view is verified"),
    ("every day at 04:00 Europe/Berlni and refresh", "did you mean Europe/Berlin?"),
])
def test_what_is_no_schedule_is_refused(book, value, said):
    write(book, f"-- verify: {value}\n")
    answer = book.run("check", status=1)
    assert "views/v.sql:3:12" in answer.text + answer.errors
    assert said in answer.text + answer.errors
