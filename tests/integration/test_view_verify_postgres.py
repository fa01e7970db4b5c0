# SPDX-License-Identifier: Apache-2.0
"""Verifications by schedule of a view in PostgreSQL, on a real server."""

import time

from test_views_postgres import (TOTALS, book, database, fill, postgres,  # noqa: F401
                                 serving, write_view)


def wait_for(server, holds):
    end = time.monotonic() + 20
    while not holds(shown := server.get("/views/bands/status").json):
        assert time.monotonic() < end, shown
        time.sleep(0.05)
    return shown


def test_a_difference_is_found_and_mended(book, postgres, database):  # noqa: F811
    schedule = "-- verify: every 1 second"
    write_view(book, "bands", f"{schedule}\n{TOTALS}")
    fill(book)
    book.json("view", "refresh", "bands")
    with serving(book) as server:
        shown = wait_for(server, lambda shown: shown["verified"])
        assert (shown["verified"]["too_many"], shown["verified"]["missing"]) == (0, 0)
        assert shown["verified"]["rows"] == shown["rows"]
        postgres.sql(f"UPDATE bands__g{shown['generation']} SET events = 0 WHERE band = 'poor'",
                     database)
        found = wait_for(server, lambda shown: shown["verified"]["missing"])
        assert found["verified"]["too_many"] == 1 and found["generation"] == shown["generation"]
        assert server.get("/healthz").status == 503
    write_view(book, "bands", f"{schedule} and refresh\n{TOTALS}")
    book.json("view", "refresh", "bands")
    with serving(book) as server:
        shown = wait_for(server, lambda shown: not shown["verified"]["missing"])
        postgres.sql(f"DELETE FROM bands__g{shown['generation']} WHERE band = 'poor'", database)
        wait_for(server, lambda shown: shown["verify_mended"])
        wait_for(server, lambda shown: not shown["verified"]["missing"])
        assert server.get("/healthz").status == 200
