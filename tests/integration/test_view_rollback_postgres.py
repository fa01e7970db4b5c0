# SPDX-License-Identifier: Apache-2.0
"""A changed view in PostgreSQL, what is kept of it, and the way back, on a real server."""
import subprocess
import threading

import pytest
from test_postgres import append, deposits, wait_for
from test_views_postgres import (TOTALS, bands, book, database,  # noqa: F401
                                 fill, postgres, read, serving, write_view)

WIDE = TOTALS.replace("count(*) AS accounts", "-count(*) AS accounts, 1 AS one")


def tables(postgres, database):  # noqa: F811
    rows = postgres.sql("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ "
                        "'^bands__g[0-9]+$' ORDER BY 1", database)
    return [name for (name,) in rows]


def negated(rows):
    return {name: [-row[0], *row[1:]] for name, row in rows.items()}


def test_rolled_back_and_forth(book, postgres, database):  # noqa: F811
    events, balances = fill(book)
    before = book.json("view", "refresh", "bands")
    old = bands(events, balances)
    postgres.sql("DROP ROLE IF EXISTS reader; CREATE ROLE reader; GRANT SELECT ON bands TO reader",
                 database)
    write_view(book, "bands", WIDE)
    (row,) = [row for row in book.json("view", "plan") if row["view"] == "bands"]
    assert (row["action"], row["because"]) == ("rebuild", "its SELECT has changed")
    assert row["estimated_bytes"] > 0 and row["old_kept_s"] == 7 * 86400
    new = book.json("view", "refresh", "bands")
    assert new["kept"] == {"generation": 1, "position": before["position"],
                           "as_of": before["as_of"], "rows": before["rows"],
                           "until": new["kept"]["until"]}
    assert tables(postgres, database) == ["bands__g1", "bands__g2"]
    assert read(book) == negated(old)
    back = book.json("view", "rollback", "bands")
    assert back["rolled_back"] and back["generation"] == 1 and read(book) == old
    # A server that starts now has the new file, and goes on by the old one.
    more = [event for event in deposits(7, 30, 80)[0] if event["type"] == "Deposited"]
    with serving(book) as server:
        append(server, more)
        answer = server.post("/views/bands/refresh").json
        assert answer["rolled_back"] and answer["last_mode"] == "full"
        counts = read(book)
        assert sum(row[0] for row in counts.values()) == 30
        append(server, more[:1])
        assert server.post("/views/bands/refresh").json["last_mode"] == "incremental"
        server.post("/views/bands/verify")
        forth = server.post("/views/bands/rollback").json
        assert not forth["rolled_back"] and forth["generation"] == 2 and read(book) == negated(old)
        server.post("/views/bands/refresh")
        assert sum(row[0] for row in read(book).values()) == -30
    assert postgres.sql("SET ROLE reader; SELECT sum(one) FROM bands", database)
    postgres.sql("DROP OWNED BY reader; DROP ROLE reader", database)
    assert len(tables(postgres, database)) == 2
    postgres.sql("UPDATE _daybook_view_generations SET replaced = 0 WHERE state = 'undone'",
                 database)
    write_view(book, "bands", WIDE.replace("on demand", "every 1 second"))
    with serving(book) as server:
        for _ in range(200):
            if server.get("/views/bands/status").json["kept"] is None:
                break
            threading.Event().wait(0.05)
        else:
            raise AssertionError("it is kept past its time")


@pytest.mark.parametrize("how, said", [
    ("DROP VIEW bands; DROP TABLE bands__g1", 'relation "bands__g1" does not exist'),
    ("DELETE FROM bands__g1 WHERE ctid = (SELECT min(ctid) FROM bands__g1)", "has 1 of them"),
])
def test_what_is_damaged_is_not_rolled_back_to(book, postgres, database, how, said):  # noqa: F811
    events, balances = fill(book)
    book.run("view", "refresh", "bands")
    write_view(book, "bands", WIDE)
    book.run("view", "refresh", "bands")
    postgres.sql(how.replace("DROP VIEW bands; ", ""), database)
    answer = book.run("view", "rollback", "bands", status=1)
    assert "view bands: generation 1, which was kept" in answer.errors and said in answer.errors
    assert read(book) == negated(bands(events, balances))


def test_what_is_removed_meanwhile_is_not_rolled_back_to(book, postgres, database):  # noqa: F811
    """What is kept reaches its end between the look at it and the swap."""
    fill(book)
    book.run("view", "refresh", "bands")
    write_view(book, "bands", WIDE)
    book.run("view", "refresh", "bands")
    rows = read(book)
    with subprocess.Popen(["psql", "-X", "-q", postgres.connection(database)],
                          stdin=subprocess.PIPE, text=True) as other:
        other.stdin.write("BEGIN; DELETE FROM _daybook_view_generations WHERE state = 'kept';\n")
        other.stdin.flush()
        wait_for(lambda: postgres.sql(
            "SELECT 1 FROM pg_locks WHERE mode = 'RowExclusiveLock' AND relation = "
            "'_daybook_view_generations'::regclass", database))
        with subprocess.Popen(book.command("view", "rollback", "bands"), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as back:
            wait_for(lambda: postgres.sql("SELECT 1 FROM pg_locks WHERE NOT granted", database))
            other.stdin.write("COMMIT;\n")
            other.stdin.close()
            errors = back.communicate()[1]
    assert back.returncode != 0 and "has been removed meanwhile" in errors, errors
    assert read(book) == rows
    assert postgres.sql("SELECT generation, state FROM _daybook_view_generations",
                        database) == [["2", "serving"]]


def test_readers_see_one_or_the_other(book, postgres, database):  # noqa: F811
    fill(book)
    book.run("view", "refresh", "bands")
    write_view(book, "bands", TOTALS.replace("count(*) AS accounts", "1000 + count(*) AS accounts"))
    ends = threading.Event()
    seen, faults = set(), []

    def look():
        while not ends.is_set():
            try:
                rows = postgres.sql("SELECT min(accounts), max(accounts) FROM bands", database)
                seen.add(tuple(int(value) // 1000 for value in rows[0]))
            except Exception as fault:  # whatever it is, a reader saw it
                faults.append(str(fault))

    with serving(book) as server:
        readers = [threading.Thread(target=look) for _ in range(2)]
        for reader in readers:
            reader.start()
        assert server.post("/views/bands/refresh").status == 200
        for _ in range(4):
            assert server.post("/views/bands/rollback").status == 200
            assert server.post("/views/bands/refresh").status == 200
        ends.set()
        for reader in readers:
            reader.join()
    assert not faults, faults[:3]
    assert seen == {(0, 0), (1, 1)}
