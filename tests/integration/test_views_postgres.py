# SPDX-License-Identifier: Apache-2.0
"""Views in PostgreSQL, on a real server: refreshed while others read and write, as PostgreSQL
itself would compute them; and what goes wrong is named, with the old result in place."""
import contextlib
import itertools
import json
import os
import subprocess
import time

import pytest
from conftest import Book, Server, missing
from services.postgres import Missing, Postgres
from test_postgres import append, deposits, wait_for, write_book

TOTALS = """-- refresh: on demand
-- database: people
-- index: band
SELECT CASE WHEN balance >= 100 THEN 'rich' ELSE 'poor' END AS band, count(*) AS accounts,
       sum(balance) AS balance, sum(events) AS events
FROM totals GROUP BY 1
"""


@pytest.fixture(scope="module")
def postgres():
    try:
        server = Postgres()
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


NUMBERS = itertools.count(1)


@pytest.fixture
def database(postgres):
    name = f"views_{next(NUMBERS)}"
    postgres.create(name)
    return name


@pytest.fixture
def book(binary, tmp_path, postgres, database):
    folder = tmp_path / "book"
    write_book(folder, postgres.connection(database))
    (folder / "views" / "bands.sql").write_text(TOTALS, encoding="utf-8")
    return Book(binary, folder, tmp_path / "data")


def write_view(book, name, text):
    (book.folder / "views" / f"{name}.sql").write_text(text, encoding="utf-8")


@contextlib.contextmanager
def serving(book):
    server = Server(book)
    try:
        yield server
    finally:
        server.stop()


def fill(book, seed=1, accounts=30, count=200):
    """Some events, and what the view shows of them, by another way."""
    events, balances = deposits(seed, accounts, count)
    with serving(book) as server:
        append(server, events)
    return events, balances


def bands(events, balances):
    counts = {}
    for event in events:
        account = event["stream"][len("account-"):]
        counts[account] = counts.get(account, 0) + 1
    rows = {}
    for account, count in counts.items():
        balance = balances.get(account, 0)
        row = rows.setdefault("rich" if balance >= 100 else "poor", [0, 0, 0])
        row[0] += 1
        row[1] += balance
        row[2] += count
    return rows


def read(book, view="bands"):
    return {row["band"]: [row["accounts"], row["balance"], row["events"]]
            for row in book.json("view", "read", view)}


def test_a_view_is_refreshed_and_read(book, postgres, database):
    events, balances = fill(book)
    first = book.json("view", "refresh", "bands")
    assert first["rows"] == len(bands(events, balances)) and first["generation"] == 1
    assert first["position"] == len(events)
    assert read(book) == bands(events, balances)
    # Anybody reads it there by its plain name.
    assert {row[0] for row in postgres.sql("SELECT band FROM bands", database)} == set(read(book))
    book.json("view", "verify", "bands")
    book.run("append", "account-0", "Deposited", '{"amount":1000000}')
    assert read(book) == bands(events, balances)
    second = book.json("view", "refresh", "bands")
    assert (second["generation"], second["last_mode"], second["changes"]) == (1, "incremental", 1)
    assert read(book)["rich"][1] >= 1000000
    book.json("view", "verify", "bands")
    told = book.json("view", "explain", "bands")
    assert told["incremental"] and "pg_temp.d0" in told["statements"]
    # Full refreshes leave one generation, and notes end with the last view that needs them.
    write_view(book, "bands", TOTALS.replace("on demand", "on demand\n-- mode: full"))
    assert book.json("view", "refresh", "bands")["generation"] == 2
    assert read(book)["rich"][1] >= 1000000
    tables = postgres.sql("SELECT relname FROM pg_class WHERE (relname LIKE 'bands%' OR relname "
                          "LIKE '_daybook_changes%') AND relkind IN ('r', 'i') ORDER BY 1",
                          database)
    assert tables == [["bands__g2"], ["bands__g2_1"]]
    assert not postgres.sql("SELECT tgname FROM pg_trigger WHERE tgname LIKE '_daybook%'", database)


def test_readers_of_a_view_are_not_blocked_and_do_not_block(book, postgres, database):
    fill(book)
    write_view(book, "bands", TOTALS.replace("on demand", "on demand\n-- mode: full"))
    book.json("view", "refresh", "bands")
    reader = subprocess.Popen(
        ["psql", "-X", "-q", "-At", postgres.connection(database), "-c",
         "BEGIN", "-c", "SELECT count(*) FROM bands", "-c", "SELECT pg_sleep(1.5)", "-c",
         "SELECT count(*) FROM bands", "-c", "COMMIT"],
        stdout=subprocess.PIPE, text=True)
    wait_for(lambda: postgres.sql("SELECT 1 FROM pg_locks JOIN pg_class ON oid = relation WHERE "
                                  "relname = 'bands'", database))
    # While the refresh waits for that reader, others read: nobody queues behind it for long.
    refresh = subprocess.Popen(book.command("view", "refresh", "bands"), stdout=subprocess.PIPE)
    slowest = 0
    while refresh.poll() is None:
        begun = time.monotonic()
        postgres.sql("SELECT count(*) FROM bands", database)
        slowest = max(slowest, time.monotonic() - begun)
    assert refresh.wait() == 0
    assert slowest < 1, slowest
    out, _ = reader.communicate()
    assert reader.returncode == 0 and len(set(out.split())) == 1
    assert book.json("view", "show", "bands")["generation"] == 2


def test_other_columns_keep_the_grants(book, postgres, database):
    fill(book)
    book.json("view", "refresh", "bands")
    postgres.sql("DROP ROLE IF EXISTS clerk; CREATE ROLE clerk; GRANT SELECT ON bands TO clerk",
                 database)
    write_view(book, "bands", TOTALS.replace("count(*) AS accounts", "0.5 AS half, count(*) AS n"))
    assert book.json("view", "refresh", "bands")["generation"] == 2
    assert postgres.sql("SET ROLE clerk; SELECT sum(n) FROM bands", database) == [["30"]]
    postgres.sql("DROP OWNED BY clerk; DROP ROLE clerk", database)


def test_a_schedule_is_kept(book):
    write_view(book, "bands", TOTALS.replace("on demand", "every 1 second"))
    events, balances = deposits(3, 10, 50)
    with serving(book) as server:
        append(server, events)
        wait_for(lambda: book.json("view", "show", "bands")["generation"] > 0)
        wait_for(lambda: read(book) == bands(events, balances))
        assert read(book) == bands(events, balances)


@pytest.mark.parametrize("text, said", [
    ("SELECT nothing FROM totals", 'views/bands.sql:3:8: column "nothing" does not exist'),
    ("SELECT 1 AS a\nFROM missing", 'views/bands.sql:4:6: relation "missing" does not exist'),
    ("SELECT 1 / (balance - balance) AS a FROM totals", "division by zero"),
    ("SELECT 1 AS a, 2 AS a", 'column "a" specified more than once'),
])
def test_a_refresh_that_fails_is_named_and_keeps_the_rows(book, text, said):
    events, balances = fill(book, accounts=5, count=20)
    book.json("view", "refresh", "bands")
    write_view(book, "bands", f"-- refresh: on demand\n-- database: people\n{text}\n")
    answer = book.run("view", "refresh", "bands", status=1)
    assert said in answer.errors, answer.errors
    assert read(book) == bands(events, balances)
    (row,) = [row for row in book.json("view", "ls") if row["name"] == "bands"]
    assert said in row["error"]


@pytest.fixture
def clerk(book, postgres, database):
    """A role of few rights, with a schema of its own: another service's."""
    postgres.sql("CREATE ROLE clerk LOGIN PASSWORD 'right'; CREATE SCHEMA clerk AUTHORIZATION "
                 "clerk; CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(10, 2)); "
                 "INSERT INTO orders SELECT g, g FROM generate_series(1, 10) AS g", database)
    (book.folder / "secrets" / "clerk").write_text(
        postgres.connection(database, user="clerk") + " options='-c search_path=clerk,public'",
        encoding="utf-8")
    config = book.folder / "book.yaml"
    config.write_text(config.read_text(encoding="utf-8") +
                      "  theirs: postgres:file:secrets/clerk\n", encoding="utf-8")
    yield book
    postgres.sql("DROP OWNED BY clerk CASCADE; DROP ROLE clerk", database)


ORDERS = "-- refresh: on demand\n-- database: theirs\nSELECT sum(amount) AS amount FROM orders\n"


def test_a_view_of_anothers_tables_by_a_role_of_few_rights(clerk, postgres, database):
    write_view(clerk, "taken", ORDERS)
    answer = clerk.run("view", "refresh", "taken", status=5)
    assert "permission denied for table orders" in answer.errors, answer.errors
    postgres.sql("GRANT SELECT ON orders TO clerk", database)
    first = clerk.json("view", "refresh", "taken")
    assert clerk.json("view", "read", "taken") == [{"amount": 55}]
    assert postgres.sql("SELECT * FROM clerk.taken", database) == [["55.00"]]
    # Without the right to a trigger it is computed whole, and says what would change that.
    assert "may not note the changes" in first["full_because"]
    told = clerk.json("view", "explain", "taken")
    assert "GRANT TRIGGER" in told["obstacle"]["fix"]
    write_view(clerk, "taken", ORDERS.replace("on demand", "on demand\n-- mode: incremental"))
    assert "may not note the changes" in clerk.run("view", "refresh", "taken", status=1).errors
    postgres.sql("GRANT TRIGGER ON orders TO clerk", database)
    assert clerk.json("view", "refresh", "taken")["last_mode"] == "full"
    # Whoever writes needs no right to the notes.
    postgres.sql("CREATE ROLE seller LOGIN; GRANT INSERT, UPDATE, DELETE, SELECT ON orders TO "
                 "seller", database)
    postgres.sql("SET ROLE seller; INSERT INTO orders VALUES (11, 0.5); DELETE FROM orders WHERE "
                 "id = 1; UPDATE orders SET amount = 100 WHERE id = 2", database)
    second = clerk.json("view", "refresh", "taken")
    assert (second["last_mode"], second["changes"]) == ("incremental", 3)
    assert postgres.sql("SELECT * FROM clerk.taken", database) == [["152.50"]]
    clerk.json("view", "verify", "taken")
    # What its owner does to the table never fails by us; the view finds out.
    postgres.sql("SET ROLE seller; INSERT INTO orders VALUES (12, 1)", database)
    postgres.sql("ALTER TABLE orders ADD COLUMN note text; ALTER TABLE orders RENAME COLUMN note "
                 "TO remark; INSERT INTO orders VALUES (13, 1, 'x'); ALTER TABLE orders DROP "
                 "COLUMN remark; INSERT INTO orders VALUES (14, 1)", database)
    postgres.sql("ALTER TABLE orders RENAME COLUMN amount TO total; INSERT INTO orders VALUES "
                 "(15, 1); ALTER TABLE orders RENAME COLUMN total TO amount", database)
    third = clerk.json("view", "refresh", "taken")
    assert postgres.sql("SELECT * FROM clerk.taken", database) == [["156.50"]], third
    postgres.sql("TRUNCATE orders", database)
    fourth = clerk.json("view", "refresh", "taken")
    assert "truncated" in fourth["full_because"]
    assert postgres.sql("SELECT * FROM clerk.taken", database) == [[""]]
    postgres.sql("DROP OWNED BY seller; DROP ROLE seller", database)


def test_concurrent_writers_are_taken_once_each(clerk, postgres, database):
    """Transactions that commit in another order than they began, while it is refreshed."""
    write_view(clerk, "taken", "-- refresh: on demand\n-- mode: incremental\n-- database: theirs\n"
               "SELECT id % 3 AS third, count(*) AS n, sum(amount) AS amount FROM orders "
               "GROUP BY 1\n")
    postgres.sql("GRANT SELECT, TRIGGER ON orders TO clerk", database)
    clerk.json("view", "refresh", "taken")
    scripts = []
    for writer in range(4):
        lines = []
        for n in range(120):
            base = 100 + writer * 1000 + n * 4
            lines.append(f"BEGIN; INSERT INTO orders SELECT g, {n} FROM generate_series({base}, "
                         f"{base + 3}) AS g; SELECT pg_sleep({0.02 if n % 3 == writer % 3 else 0});"
                         f" UPDATE orders SET amount = amount + 1 WHERE id = {base}; SAVEPOINT s; "
                         f"DELETE FROM orders WHERE id = {base + 1}; "
                         + ("ROLLBACK TO s; " if n % 2 else "")
                         + ("ROLLBACK;" if n % 7 == 0 else "COMMIT;"))
        scripts.append(subprocess.Popen(
            ["psql", "-X", "-q", "-At", postgres.connection(database), "-c", "\n".join(lines)],
            stdout=subprocess.DEVNULL))
    refreshed = 0
    with serving(clerk):
        while any(script.poll() is None for script in scripts):
            clerk.json("view", "refresh", "taken")
            refreshed += 1
        assert all(script.returncode == 0 for script in scripts)
        last = clerk.json("view", "refresh", "taken")
        assert refreshed > 1 and last["generation"] == 1
        clerk.json("view", "verify", "taken")
    kept = postgres.sql("SELECT id % 3, count(*), sum(amount) FROM orders GROUP BY 1 ORDER BY 1",
                        database)
    assert postgres.sql("SELECT * FROM clerk.taken ORDER BY 1", database) == kept
    # All notes have been taken, and are gone but for those as new as what was under way then.
    seen = "(SELECT seen::txid_snapshot FROM clerk._daybook_cursors WHERE view = 'taken')"
    assert postgres.sql("SELECT count(*) FROM clerk.\"_daybook_changes_public.orders\" WHERE NOT "
                        f"txid_visible_in_snapshot(_daybook_xid, {seen}) OR _daybook_xid < "
                        f"txid_snapshot_xmin({seen})", database) == [["0"]]


def test_a_view_over_a_view_and_over_a_rebuilt_model(book, postgres, database):
    fill(book)
    write_view(book, "richest", "-- refresh: on demand\n-- database: people\n"
               "SELECT max(balance) AS most, count(*) AS n FROM bands WHERE accounts > 0\n")
    book.json("view", "refresh", "bands")
    book.json("view", "refresh", "richest")
    book.run("append", "account-0", "Deposited", '{"amount":1000000}')
    book.json("view", "refresh", "bands")
    assert book.json("view", "refresh", "richest")["last_mode"] == "incremental"
    assert postgres.sql("SELECT most, n FROM richest", database) == postgres.sql(
        "SELECT max(balance), count(*) FROM bands", database)
    # With the model they are swapped, so that nobody reads a view of the old rows beside the new.
    write_view(book, "apart", "-- refresh: on demand\n-- database: people\nSELECT sum(balance) AS "
               "balance FROM public.totals\n")
    book.json("view", "refresh", "apart")
    handlers = book.folder / "models" / "totals" / "handlers.sql"
    handlers.write_text(handlers.read_text().replace(":amount::numeric", "10 * :amount::numeric"))
    check = ("SELECT (SELECT sum(balance) FROM totals), (SELECT sum(balance) FROM bands), (SELECT "
             "most = (SELECT max(balance) FROM bands) FROM richest)")
    seen = set()
    with serving(book):
        rebuild = subprocess.Popen(book.command("model", "rebuild", "totals"),
                                   stdout=subprocess.DEVNULL)
        while rebuild.poll() is None:
            for row in postgres.sql(";".join([check] * 10), database):
                assert row[0] == row[1] and row[2] == "t", row
                seen.add(row[0])
        assert rebuild.returncode == 0
    last, = postgres.sql(check, database)
    assert last[0] == last[1] and last[2] == "t" and len(seen | {last[0]}) == 2, (seen, last)
    for name in ("bands", "richest"):
        told = book.json("view", "show", name)
        assert told["full_because"] == "totals was rebuilt" and told["generation"] == 2, told
        book.json("view", "verify", name)
    # One that names a schema keeps its rows, and says why.
    assert "leave the schema out" in json.dumps(book.json("view", "show", "apart"))
    assert postgres.sql("SELECT balance FROM apart", database) != [last[:1]]
    book.run("append", "account-0", "Deposited", '{"amount":5}')
    assert book.json("view", "refresh", "bands")["last_mode"] == "incremental"
    assert book.json("view", "refresh", "richest")["last_mode"] == "incremental"
    book.json("view", "verify", "bands")
    # Nothing is left of the old generations.
    assert not postgres.sql("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ "
                            "'^(bands|richest)__g1' UNION SELECT view FROM _daybook_cursors WHERE "
                            "view ~ '__g'", database)


def test_windows_and_limits_are_maintained(clerk, postgres, database):
    """Each shows what PostgreSQL shows, in its order, also of NULL partitions and of what moves up
    from behind a LIMIT; and rows that the view does not show are compared as well."""
    postgres.sql("CREATE TABLE marks (id int PRIMARY KEY, team text, mark numeric, note json); "
                 "INSERT INTO marks SELECT g, nullif('t' || g % 4, 't3'), g * 7 % 11, '{}' FROM "
                 "generate_series(1, 60) AS g; GRANT SELECT, TRIGGER ON marks TO clerk", database)
    head = "-- refresh: on demand\n-- mode: incremental\n-- database: theirs\n"
    views = {
        "ranks": "SELECT team, id, rank() OVER w AS place, sum(mark) OVER (PARTITION BY team "
                 "ORDER BY mark DESC, id ROWS UNBOUNDED PRECEDING) AS so_far FROM marks WINDOW w "
                 "AS (PARTITION BY team ORDER BY mark DESC, id)",
        "best": "SELECT id, mark FROM marks ORDER BY mark DESC NULLS LAST, id LIMIT 5 OFFSET 1",
        "teams": "SELECT team, sum(mark) AS mark FROM marks GROUP BY team HAVING count(*) > 1 "
                 "ORDER BY max(id) DESC, team LIMIT 3",
        "firsts": "SELECT team, count(*) AS n FROM (SELECT team, row_number() OVER (PARTITION BY "
                  "team, mark ORDER BY id) AS n FROM marks) AS q WHERE n = 1 GROUP BY team",
    }
    for name, text in views.items():
        write_view(clerk, name, head + text + "\n")
    changes = ["SELECT 1", "UPDATE marks SET mark = mark + 5 WHERE id % 9 = 0; "
               "DELETE FROM marks WHERE id IN (SELECT id FROM marks ORDER BY mark DESC LIMIT 4)",
               "UPDATE marks SET team = CASE WHEN team IS NULL THEN 't1' END WHERE id % 5 = 1",
               "INSERT INTO marks SELECT g, NULL, g % 13 FROM generate_series(100, 130) AS g; "
               "UPDATE marks SET mark = NULL WHERE id > 120"]
    with serving(clerk) as server:
        for change in changes:
            postgres.sql(change, database)
            for name, text in views.items():
                told = server.post(f"/views/{name}/refresh").json
                assert change == "SELECT 1" or told["last_mode"] == "incremental", told
                rows = postgres.sql(f"SELECT * FROM clerk.{name}", database)
                wanted = postgres.sql(text, database)
                assert rows == wanted if "LIMIT" in text else sorted(rows) == sorted(wanted), name
        for name in views:
            clerk.json("view", "verify", name)
        # Only what the view does not show is damaged: verify compares all that is stored.
        postgres.sql("DELETE FROM clerk.best__g1 WHERE id = (SELECT id FROM marks ORDER BY mark, "
                     "id LIMIT 1)", database)
        assert "1 are missing" in clerk.run("view", "verify", "best", status=1).errors
    # One that reads a LIMIT cannot be, nor one whose rows have no order.
    for name, text, said in (("over", "SELECT count(*) FROM best", "a part of its rows"),
                             ("notes", "SELECT id, note FROM marks ORDER BY id LIMIT 2", "order")):
        write_view(clerk, name, head + text + "\n")
        assert said in clerk.run("view", "refresh", name, status=1).errors


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_no_reader_sees_half_a_diamond(clerk, postgres, database, mode):
    """Two views over one table and a third over both, of which one may be computed in full: in each
    snapshot they agree."""
    postgres.sql("GRANT SELECT, TRIGGER ON orders TO clerk", database)
    head = "-- refresh: continuous\n-- database: theirs\n"
    late = "-- refresh: lag 100 ms\n-- database: theirs\n-- mode: full\n"
    if mode == "full":
        head = head.replace("continuous", "lag 100 ms")
    write_view(clerk, "a_each", f"{head}SELECT id, amount FROM orders\n")
    write_view(clerk, "b_all", f"{late if mode == 'full' else head}SELECT sum(amount) AS total, "
               "count(*) AS n FROM orders\n")
    write_view(clerk, "c_both", f"{head}SELECT a.id, a.amount, b.total, b.n FROM a_each AS a CROSS "
               "JOIN b_all AS b\n")
    check = ("SELECT (SELECT sum(amount) FROM clerk.a_each), (SELECT total FROM clerk.b_all), "
             "(SELECT concat_ws(' ', sum(amount), min(total), max(total), max(n) - count(*)) FROM "
             "clerk.c_both)")
    totals = set()
    with serving(clerk):
        wait_for(lambda: clerk.json("view", "show", "c_both")["generation"] > 0)
        # The first ones come one after the other.
        postgres.sql("INSERT INTO orders VALUES (1000, 1)", database)
        wait_for(lambda: "56.00 56.00" in postgres.sql(check, database)[0][2])
        writer = subprocess.Popen(["psql", "-X", "-q", "-At", postgres.connection(database)],
                                  stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        writer.stdin.write("\n".join(
            f"INSERT INTO orders VALUES ({n}, {n % 7}); UPDATE orders SET amount = amount + 1 "
            f"WHERE id = 3; SELECT pg_sleep(0.01);" for n in range(2000, 2300)))
        writer.stdin.close()
        while writer.poll() is None:
            for each, total, both in postgres.sql(";".join([check] * 20), database):
                assert both == f"{each} {each} {each} 0" and each == total, (each, total, both)
                totals.add(total)
        assert writer.returncode == 0
        last = postgres.sql("SELECT sum(amount) FROM orders", database)[0][0]
        wait_for(lambda: postgres.sql(check, database)[0][1] == last)
        modes = {name: clerk.json("view", "show", name)["last_mode"]
                 for name in ("a_each", "b_all", "c_both")}
    assert len(totals) > 5, totals
    assert modes["b_all"] == mode and modes["a_each"] == "incremental", modes


def test_keys_domains_and_cascades_are_followed(clerk, postgres, database):
    """Equal keys of other spellings, columns that may not be NULL by their type, keys that come
    round by a foreign key; and what stands in the way of a swap is named."""
    postgres.sql("CREATE DOMAIN must AS text NOT NULL; CREATE DOMAIN mustier AS must; CREATE TABLE "
                 "a (id numeric PRIMARY KEY, d mustier); CREATE TABLE node (id int PRIMARY KEY, up "
                 "int REFERENCES node ON UPDATE CASCADE); CREATE TABLE odd (id interval PRIMARY "
                 "KEY); INSERT INTO a VALUES (1.0, 'x'), (2, 'y'); INSERT INTO node VALUES (1, 1), "
                 "(2, 1), (3, 2); GRANT SELECT, TRIGGER ON a, node, odd TO clerk", database)
    views = {"both": "SELECT id, d FROM a UNION ALL SELECT id, 'node' FROM node",
             "tree": "SELECT up, sum(id) AS ids, count(*) AS n FROM node GROUP BY up",
             "sums": "SELECT d, count(*) AS n FROM a GROUP BY d"}
    head = "-- refresh: on demand\n-- database: theirs\n"
    for name, text in views.items():
        write_view(clerk, name, f"{head}{text}\n")
    write_view(clerk, "odds", f"{head}SELECT id FROM odd UNION ALL SELECT id FROM odd\n")
    steps = {"SELECT 1": "full",
             "UPDATE a SET id = 1.00 WHERE id = 1; INSERT INTO a VALUES (3, 'x'); UPDATE node SET "
             "up = 1 WHERE id = 3": "incremental",
             "UPDATE node SET id = id + 10; DELETE FROM a WHERE id = 3": None}
    with serving(clerk) as server:
        for step, mode in steps.items():
            postgres.sql(step, database)
            for name, text in views.items():
                told = server.post(f"/views/{name}/refresh").json
                assert mode in (None, told["last_mode"]), told
                assert sorted(postgres.sql(f"SELECT * FROM clerk.{name}", database)) == sorted(
                    postgres.sql(text, database)), (name, step)
        assert "truncated, or written by" in clerk.json("view", "show", "tree")["full_because"]
        assert "type interval" in server.post("/views/odds/refresh").json["full_because"]
    postgres.sql("CREATE VIEW others AS SELECT account FROM totals", database)
    assert "view others depends on view totals" in clerk.run("model", "rebuild", "totals",
                                                             status=None).errors


def test_rows_that_foreign_keys_change_and_delete_at_once(clerk, postgres, database):
    """The deletions are told first, with rows that had been changed before them."""
    postgres.sql("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, b int "
                 "REFERENCES p ON DELETE CASCADE, a int REFERENCES p ON DELETE SET NULL); INSERT "
                 "INTO p SELECT generate_series(1, 20); INSERT INTO t SELECT g, g + 1, g FROM "
                 "generate_series(1, 10) AS g; GRANT SELECT, TRIGGER ON t TO clerk", database)
    text = "SELECT a, count(*) AS n FROM t GROUP BY a"
    write_view(clerk, "each", f"-- refresh: on demand\n-- database: theirs\n{text}\n")
    steps = {"SELECT 1": "full", "DELETE FROM p WHERE id IN (1, 2)": "full",
             "DELETE FROM p WHERE id = 11; UPDATE t SET a = 9 WHERE id = 8": "incremental"}
    for step, mode in steps.items():
        postgres.sql(step, database)
        told = clerk.json("view", "refresh", "each")
        assert sorted(postgres.sql("SELECT * FROM clerk.each", database)) == sorted(
            postgres.sql(text, database)), step
        assert told["last_mode"] == mode, told


def test_a_fill_does_not_bring_back_rows_of_before_a_swap(clerk, postgres, database):
    """Another generation serves since its snapshot, as when the view was swapped with its model."""
    postgres.sql("GRANT SELECT ON orders TO clerk", database)
    write_view(clerk, "taken", ORDERS.replace("on demand", "on demand\n-- mode: full"))
    clerk.json("view", "refresh", "taken")
    with subprocess.Popen(["psql", "-X", "-q", postgres.connection(database)],
                          stdin=subprocess.PIPE, text=True) as other:
        other.stdin.write("BEGIN; LOCK TABLE orders;\n")
        other.stdin.flush()
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass"
        wait_for(lambda: postgres.sql("SELECT 1 FROM pg_locks WHERE relation = 'orders'::regclass "
                                      "AND mode = 'AccessExclusiveLock'", database))
        refresh = subprocess.Popen(clerk.command("view", "refresh", "taken", "-o", "json"),
                                   stdout=subprocess.PIPE, text=True)
        wait_for(lambda: postgres.sql(waits, database))
        postgres.sql("UPDATE clerk._daybook_views SET generation = 7", database)
        other.stdin.write("INSERT INTO orders VALUES (1000, 1); COMMIT;\n")
        other.stdin.close()
        told = json.loads(refresh.communicate()[0])
    assert refresh.returncode == 0 and told["generation"] == 8, told
    assert postgres.sql("SELECT amount FROM clerk.taken", database) == [["56.00"]]


def test_what_a_crash_left_of_a_build_goes_when_the_book_is_served(book, postgres, database):
    """The number, the tables and the cursors of one that was never swapped with its model."""
    fill(book, accounts=5, count=20)
    book.json("view", "refresh", "bands")
    rows = read(book)
    tables = ("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'bands__g%' "
              "ORDER BY 1")
    generations = "SELECT generation, state FROM _daybook_view_generations ORDER BY 1"
    cursors = "SELECT view, source FROM _daybook_cursors ORDER BY 1, 2"
    before = [postgres.sql(sql, database) for sql in (tables, generations, cursors)]
    postgres.sql("INSERT INTO _daybook_view_generations (view, generation, state, stored, "
                 "fingerprint, definition) VALUES ('bands', 2, 'building', 1, '', ''); "
                 "CREATE TABLE bands__g2 AS SELECT 1 AS a; CREATE TABLE bands__g2n3 AS SELECT 1 "
                 "AS a; INSERT INTO _daybook_cursors SELECT 'bands__g2', source, log, seen, lost "
                 "FROM _daybook_cursors WHERE view = 'bands'", database)
    with serving(book):
        wait_for(lambda: before == [postgres.sql(sql, database)
                                    for sql in (tables, generations, cursors)])
    assert before == [postgres.sql(sql, database) for sql in (tables, generations, cursors)]
    assert read(book) == rows
    book.run("append", "account-0", "Deposited", '{"amount":1000000}')
    assert book.json("view", "refresh", "bands")["last_mode"] == "incremental"


def test_a_failure_is_not_told_over_what_serves_meanwhile(clerk, postgres, database):
    """As of a build beside a refresh: the generation that this one has made stays the view's."""
    postgres.sql("GRANT SELECT ON orders TO clerk", database)
    text = ORDERS.replace("on demand", "on demand\n-- mode: full")
    write_view(clerk, "taken", text)
    clerk.json("view", "refresh", "taken")
    write_view(clerk, "taken", text.replace("sum(amount)", "sum(1 / (amount - amount))"))
    with subprocess.Popen(["psql", "-X", "-q", postgres.connection(database)],
                          stdin=subprocess.PIPE, text=True) as other:
        other.stdin.write("BEGIN; UPDATE clerk._daybook_views SET generation = 7;\n")
        other.stdin.flush()
        wait_for(lambda: postgres.sql("SELECT 1 FROM pg_locks WHERE mode = 'RowExclusiveLock' AND "
                                      "relation = 'clerk._daybook_views'::regclass", database))
        with subprocess.Popen(clerk.command("view", "refresh", "taken"), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as refresh:
            wait_for(lambda: postgres.sql("SELECT 1 FROM pg_locks WHERE NOT granted", database))
            other.stdin.write("COMMIT;\n")
            other.stdin.close()
            errors = refresh.communicate()[1]
    assert refresh.returncode == 1 and "division by zero" in errors, errors
    row = postgres.sql("SELECT generation, error FROM clerk._daybook_views", database)[0]
    assert row[0] == "7" and "division by zero" in row[1], row


def test_a_continuous_view_follows_other_writers_and_ends_with_its_file(clerk, postgres, database):
    """No read model says that something has changed; and nothing is left on another's table."""
    postgres.sql("GRANT SELECT, TRIGGER ON orders TO clerk", database)
    write_view(clerk, "taken", ORDERS.replace("on demand", "continuous"))
    def shown():
        rows = postgres.sql("SELECT amount FROM clerk.taken", database)
        return rows[0][0]
    with serving(clerk):
        wait_for(lambda: clerk.json("view", "show", "taken")["generation"] > 0)
        for n in range(100, 103):
            postgres.sql(f"INSERT INTO orders VALUES ({n}, 1)", database)
            wait_for(lambda: shown() == f"{55 + n - 99}.00")
            assert shown() == f"{55 + n - 99}.00"
        assert clerk.json("view", "show", "taken")["last_mode"] == "incremental"
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE '_daybook%'"
    assert postgres.sql(triggers, database) == [["4"]]
    (clerk.folder / "views" / "taken.sql").unlink()
    with serving(clerk):
        wait_for(lambda: postgres.sql(triggers, database) == [["0"]])
    assert postgres.sql(triggers, database) == [["0"]]
    assert not postgres.sql("SELECT 1 FROM pg_class WHERE relname LIKE '_daybook_changes%'",
                            database)


def test_hostile_values_are_what_the_server_says(book, postgres, database):
    """Decimals of sums, NULL keys, names in quotes, composite keys, and what cannot be added."""
    postgres.sql("""
        CREATE TABLE "odd table" ("a b" int, b int, n numeric, f float8, t text, "Group" text,
                                  PRIMARY KEY (b, "a b"));
        INSERT INTO "odd table" SELECT g, g % 5, g / 8.0, g / 3.0, nullif(g % 3, 0)::text,
            nullif(g % 4, 1)::text FROM generate_series(1, 60) AS g""", database)
    write_view(book, "odd", """-- refresh: on demand
-- mode: incremental
-- database: people
SELECT t, "Group", count(*) AS n, sum(n) AS "s um", avg(n) AS a, avg(b) AS w, sum(f) AS f,
       min(t) AS least, bool_or(b > 3) AS any, count(DISTINCT b) AS d,
       date_trunc('day', '2020-01-01 10:00'::timestamp) AS day
FROM "odd table" WHERE (n > 0.5) IS NOT FALSE AND b BETWEEN 0 AND 4
GROUP BY t, "Group" HAVING count(*) > 1
""")
    book.json("view", "refresh", "odd")
    for change in ("UPDATE \"odd table\" SET n = 1.12345 WHERE \"a b\" % 7 = 0",
                   "DELETE FROM \"odd table\" WHERE \"a b\" % 7 = 0",
                   "UPDATE \"odd table\" SET t = NULL, n = 'NaN' WHERE b = 1",
                   "UPDATE \"odd table\" SET t = 'it''s', n = b WHERE b = 1",
                   "UPDATE \"odd table\" SET b = b + 5",
                   "UPDATE \"odd table\" SET b = b - 5, \"Group\" = NULL"):
        postgres.sql(change, database)
        assert book.json("view", "refresh", "odd")["last_mode"] == "incremental"
        book.json("view", "verify", "odd")
        # Also as they are written: the decimals of sums are those of the values that are there.
        sums = "SELECT t, \"Group\", sum(n), avg(n), avg(b) FROM \"odd table\" WHERE (n > 0.5) " \
            "IS NOT FALSE AND b BETWEEN 0 AND 4 GROUP BY 1, 2 HAVING count(*) > 1"
        assert sorted(postgres.sql("SELECT t, \"Group\", \"s um\", a, w FROM odd", database)) == \
            sorted(postgres.sql(sums, database))


def test_random_views(binary, postgres, database):
    """More of them, or others, by DAYBOOK_VIEWS_POSTGRES (arguments of the program)."""
    program = binary.parent / "tests" / "torture" / "views_postgres"
    if not program.exists():
        missing("views_postgres")
    words = os.environ.get("DAYBOOK_VIEWS_POSTGRES", "--count 9 --batches 4").split()
    result = subprocess.run([program, *words], capture_output=True, text=True, check=False,
                            env=os.environ | {"DAYBOOK_POSTGRES": postgres.connection(database)})
    assert result.returncode == 0, result.stderr
    counts = json.loads(result.stdout)
    assert counts["incremental"] > counts["batches"] / 2, counts


def test_a_wrong_password_is_named_and_not_told(clerk, postgres, database):
    write_view(clerk, "taken", ORDERS)
    rules = postgres.data / "pg_hba.conf"
    before = rules.read_text(encoding="utf-8")
    rules.write_text("host all clerk 127.0.0.1/32 scram-sha-256\n" + before, encoding="utf-8")
    try:
        postgres.sql("SELECT pg_reload_conf()")
        secret = clerk.folder / "secrets" / "clerk"
        secret.write_text(secret.read_text(encoding="utf-8") + " password=hunter2",
                          encoding="utf-8")
        wait_for(lambda: "authentication failed" in clerk.run(
            "view", "refresh", "taken", status=3).errors, 5)
        answer = clerk.run("view", "refresh", "taken", status=3)
        assert "password authentication failed" in answer.errors
        assert "hunter2" not in answer.errors
    finally:
        rules.write_text(before, encoding="utf-8")
        postgres.sql("SELECT pg_reload_conf()")


def test_a_name_of_others_is_not_taken(book, postgres, database):
    postgres.sql("CREATE VIEW bands AS SELECT 1 AS theirs", database)
    answer = book.run("view", "refresh", "bands", status=1)
    assert "something of that name" in answer.errors
    assert postgres.sql("SELECT theirs FROM bands", database) == [["1"]]


def test_a_server_that_is_down_stops_its_own_views_only(book):
    (book.folder / "secrets" / "people").write_text("host=127.0.0.1 port=1 dbname=x",
                                                    encoding="utf-8")
    answer = book.run("view", "refresh", "bands", status=3)
    assert "PostgreSQL" in answer.errors
    rows = {row["name"]: row for row in book.json("view", "ls")}
    assert "PostgreSQL" in rows["bands"]["error"]
    book.json("view", "refresh", "bank_totals")


@pytest.mark.parametrize("name, text, said", [
    ("Bands", TOTALS, "small letters"),
    ("b" * 47, TOTALS, "at most 46 bytes"),
    ("x", TOTALS.replace("SELECT", "DELETE FROM totals; SELECT"), "second statement"),
    ("x", "-- refresh: on demand\n-- database: people\nSELEKT 1", 'syntax error at or near'),
    ("x", "-- refresh: on demand\n-- database: people\nSELECT pg_read_file('x')", "reach out"),
    ("x", "-- refresh: on demand\n-- database: people\nSELECT * FROM x", "in a circle"),
    ("x", "-- refresh: on demand\n-- database: people\n-- alert: a\n-- when: 1 = 1\n"
          "-- to: command true\nSELECT 1 AS one", "in PostgreSQL has no alerts"),
])
def test_faults_are_named_without_a_server(book, name, text, said):
    write_view(book, name, text)
    answer = book.run("check", status=1)
    assert said in answer.text + answer.errors, answer
