# SPDX-License-Identifier: Apache-2.0
"""Where a shared database is the bottleneck: waits that are made here, by role and table, with who
holds what others wait for."""
import json
import subprocess
import time

import pytest
from conftest import Book, clean_environment, missing
from services.postgres import Missing, Postgres

FILES = {
    "book.yaml": "book: shop\ndatabases:\n  shop: postgres:file:secrets/shop\n"
                 "  alone: sqlite:alone.db\n",
    "services/users.yaml": "database: shop\nrole: shop_users\ntables: {people: }\n",
    "services/orders.yaml": "database: shop\nrole: shop_orders\ntables: {orders: }\n",
}


@pytest.fixture(scope="module")
def server():
    try:
        one = Postgres(settings=["shared_preload_libraries = 'pg_stat_statements'"])
    except Missing as reason:
        missing(str(reason))
    one.sql("CREATE ROLE shop_users SUPERUSER LOGIN; CREATE ROLE shop_orders SUPERUSER LOGIN")
    yield one
    one.close()


@pytest.fixture
def shop(server, binary, data, tmp_path):
    server.sql("DROP DATABASE IF EXISTS shop WITH (FORCE)")
    for name, text in (FILES | {"secrets/shop": server.create("shop")}).items():
        (tmp_path / "book" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "book" / name).write_text(text, encoding="utf-8")
    server.sql("CREATE TABLE people (id int PRIMARY KEY, credit int); "
               "CREATE TABLE orders (id int); INSERT INTO people "
               "SELECT n, 0 FROM generate_series(1, 50) n", "shop")
    return Book(binary, tmp_path / "book", data)


def session(server, user, text):
    process = subprocess.Popen(["psql", "-X", "-q", server.connection("shop", user=user)],
                               stdin=subprocess.PIPE, text=True)
    process.stdin.write(text + "\n")
    process.stdin.flush()
    return process


def watch(shop, server, holds, wants, during_s=1.0):
    """The rows of a window in which the users' service holds something that orders want."""
    holder = session(server, "shop_users", f"BEGIN; {holds};")
    time.sleep(0.2)
    waiter = session(server, "shop_orders", f"{wants};")
    time.sleep(0.1)
    hot = subprocess.Popen(shop.command("service", "hot", "--for", "2500 ms", "-o", "jsonl"),
                           stdout=subprocess.PIPE, text=True, env=clean_environment())
    time.sleep(during_s)
    holder.stdin.write("COMMIT; INSERT INTO orders SELECT generate_series(1, 300);\n")
    holder.stdin.flush()
    time.sleep(0.1)
    holder.communicate()
    waiter.communicate()
    text = hot.communicate(timeout=60)[0]
    assert hot.returncode == 0, text
    return [json.loads(line) for line in text.splitlines()]


def of(rows, by, name):
    found = [row for row in rows if row["by"] == by and row["name"] == name]
    assert len(found) == 1, rows
    return found[0]


@pytest.mark.parametrize("holds, wants", [
    ("UPDATE people SET credit = 1 WHERE id = 7", "UPDATE people SET credit = 2 WHERE id = 7"),
    ("LOCK TABLE people IN SHARE MODE", "DELETE FROM people WHERE id = 8"),
])
def test_who_waits_for_whom_is_told(shop, server, holds, wants):
    server.sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements", "shop")
    rows = watch(shop, server, holds, wants)
    orders = of(rows, "service", "shop_orders")
    assert orders["service"] == "orders" and 500 <= orders["waited_ms"] <= 1500
    assert of(rows, "service", "shop_users")["waited_ms"] == 0
    assert 500 <= of(rows, "table", "people")["waited_ms"] <= 1500
    assert of(rows, "table", "people")["service"] == "users"
    wait = of(rows, "wait", "shop_orders")
    assert wait["for_table"] == "people" and wait["held_by"] == "shop_users"
    assert 500 <= wait["waited_ms"] <= 1500
    # What the server counted, in the window alone: not the rows that were there.
    assert of(rows, "table", "orders")["rows_written"] == 300
    assert of(rows, "table", "people")["rows_written"] <= 2
    # A table's lock is waited for before a statement's execution begins, which is what is timed.
    assert orders["calls"] >= 1 and (orders["time_ms"] >= 500) == holds.startswith("UPDATE")


def test_counts_that_begin_anew_in_the_window_are_not_negative(shop, server):
    server.sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements", "shop")
    server.sql("SET ROLE shop_users; UPDATE people SET credit = 1; UPDATE people SET credit = 2; "
               "SET ROLE shop_orders; SELECT count(*) FROM people",
               "shop")
    time.sleep(1.2)  # The statistics of tables are told with some delay.
    hot = subprocess.Popen(shop.command("service", "hot", "--for", "2500 ms", "-o", "jsonl"),
                           stdout=subprocess.PIPE, text=True, env=clean_environment())
    time.sleep(1)
    server.sql("SELECT pg_stat_statements_reset(); SELECT pg_stat_reset();"
               "SET ROLE shop_users; UPDATE people SET credit = 3 WHERE id = 1", "shop")
    rows = [json.loads(line) for line in hot.communicate(timeout=60)[0].splitlines()]
    numbers = [row[key] for row in rows for key in ("time_ms", "calls", "rows_read", "rows_written")
               if row.get(key) is not None]
    assert numbers and min(numbers) >= 0, rows
    assert 1 <= of(rows, "service", "shop_users")["calls"] <= 4


def test_without_what_counts_time_it_says_how(shop):
    answer = shop.run("service", "hot", "--for", "100 ms")
    assert "CREATE EXTENSION pg_stat_statements" in answer.errors
    assert "time_ms" not in shop.run("service", "hot", "--for", "100 ms", "-o", "json").text


def test_a_database_that_cannot_tell_is_named(shop):
    refused = shop.run("service", "hot", "--database", "alone", status=1)
    assert "no PostgreSQL database" in refused.errors
    assert "have that name" in shop.run("service", "hot", "--database", "no", status=1).errors
