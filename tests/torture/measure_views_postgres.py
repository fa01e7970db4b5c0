#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A view over a million rows of PostgreSQL (join, GROUP BY), brought up to date after changes,
beside REFRESH MATERIALIZED VIEW CONCURRENTLY; and what following costs who writes the table.

    tests/torture/measure_views_postgres.py [ROWS]

Prints a JSON line a measurement: milliseconds, the median of three.
"""
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / "tests"), str(ROOT / "tests" / "integration")]

from conftest import Book, Server  # noqa: E402
from services.postgres import Postgres  # noqa: E402

SELECT = """SELECT c.region, o.n, count(*) AS orders, sum(o.amount) AS amount, avg(o.amount) AS mean
FROM o JOIN c ON c.id = o.c GROUP BY c.region, o.n"""


def timed(what):
    begun = time.monotonic()
    what()
    return (time.monotonic() - begun) * 1000


def median(what):
    return round(statistics.median(timed(what) for _ in range(3)), 1)


def say(**what):
    print(json.dumps(what), flush=True)


def make_book(folder, postgres):
    (folder / "secrets").mkdir()
    (folder / "views").mkdir()
    (folder / "secrets" / "m").write_text(postgres.connection("m"), encoding="utf-8")
    (folder / "book.yaml").write_text("book: m\ndatabases:\n  m: postgres:file:secrets/m\n",
                                      encoding="utf-8")
    (folder / "views" / "v.sql").write_text(
        f"-- refresh: every 1 minute\n-- mode: incremental\n-- database: m\n{SELECT}\n",
        encoding="utf-8")
    return Book(ROOT / "build" / "daybook", folder, folder / "data")


def write(postgres, table, base, one_by_one):
    if one_by_one:
        text = "".join(f"INSERT INTO {table} VALUES ({base + i}, 1, 1, 1); UPDATE {table} SET "
                       f"amount = 2 WHERE id = {base + i};" for i in range(2000))
        subprocess.run(["psql", "-X", "-q", postgres.connection("m"), "-f", "-"], input=text,
                       text=True, check=True)
    else:
        postgres.sql(f"INSERT INTO {table} SELECT {base} + g, 1 + g % 10000, 1, 1 FROM "
                     f"generate_series(1, 50000) AS g; UPDATE {table} SET amount = 2 WHERE id >= "
                     f"{base}; DELETE FROM {table} WHERE id >= {base}", "m")


def measure(postgres, server):
    def refresh():
        answer = server.post("/views/v/refresh")
        assert answer.status == 200, answer

    say(first=round(timed(refresh), 1))
    postgres.sql(f"CREATE MATERIALIZED VIEW mv AS {SELECT}; CREATE UNIQUE INDEX ON mv (region, n)",
                 "m")
    say(refresh_concurrently=median(
        lambda: postgres.sql("REFRESH MATERIALIZED VIEW CONCURRENTLY mv", "m")))
    for count in (10, 1000, 100000):
        took = []
        for i in range(3):
            postgres.sql(f"UPDATE o SET amount = amount + 1, n = (n + 1) % 7 WHERE id > "
                         f"{i * count} AND id <= {(i + 1) * count}", "m")
            took.append(timed(refresh))
        say(changed=count, refresh=round(statistics.median(took), 1))
    assert server.post("/views/v/verify").json["equal"]
    for one_by_one in (True, False):
        ratios = []
        for i in range(5):
            base = (10000000 if one_by_one else 20000000) + i * 100000
            bare = timed(lambda: write(postgres, "bare", base, one_by_one))
            ratios.append(timed(lambda: write(postgres, "o", base, one_by_one)) / bare)
        say(one_by_one=one_by_one, followed_to_bare=round(statistics.median(ratios), 2))


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000
    postgres = Postgres(settings=["shared_buffers = 512MB", "max_wal_size = 4GB"])
    try:
        postgres.create("m")
        postgres.sql(f"""
            CREATE TABLE c (id int PRIMARY KEY, region int NOT NULL);
            INSERT INTO c SELECT g, g % 100 FROM generate_series(1, 10000) AS g;
            CREATE TABLE o (id bigint PRIMARY KEY, c int NOT NULL, amount numeric(10, 2) NOT NULL,
                            n int NOT NULL);
            INSERT INTO o SELECT g, 1 + g % 10000, (g % 1000) / 4.0, g % 7
            FROM generate_series(1, {rows}) AS g;
            CREATE INDEX ON o (c);
            CREATE TABLE bare AS TABLE o;
            ALTER TABLE bare ADD PRIMARY KEY (id);
            CREATE INDEX ON bare (c);
            ANALYZE""", "m")
        with tempfile.TemporaryDirectory() as folder:
            server = Server(make_book(pathlib.Path(folder), postgres))
            try:
                measure(postgres, server)
            finally:
                server.stop()
    finally:
        postgres.close()


main()
