# SPDX-License-Identifier: Apache-2.0
"""Incremental views by the command line: how a refresh was done and why, what is refused, and that
a rebuilt model, a changed file and a purge leave no view wrong."""

import shutil
import sqlite3
import time

import pytest

from conftest import BANK

BY_LEVEL = """-- refresh: on demand
-- mode: incremental
-- database: reading
SELECT balance / 100 AS level, count(*) AS accounts, sum(balance) AS total, max(account) AS last
FROM balances
GROUP BY 1
HAVING count(*) > 0
"""


@pytest.fixture
def book(make_book, tmp_path):
    folder = tmp_path / "bank"
    shutil.copytree(BANK, folder)
    made = make_book(folder)
    (folder / "views" / "levels.sql").write_text(BY_LEVEL)
    for name, amount in (("a", 50), ("b", 150), ("c", 160)):
        made.run("do", "Open", f"account={name}")
        made.run("do", "Deposit", f"account={name}", f"amount={amount}")
    return made


def rows(book, view="levels"):
    return sorted(tuple(row.values()) for row in book.json("view", "read", view))


def expected(book, sql=BY_LEVEL):
    connection = sqlite3.connect(f"file:{book.data}/reading.db?mode=ro", uri=True)
    try:
        return sorted(connection.execute(sql).fetchall())
    finally:
        connection.close()


def test_a_refresh_applies_what_changed(book):
    first = book.json("view", "refresh", "levels")
    assert first["last_mode"] == "full"
    assert first["full_because"] == "it is the first refresh"
    assert rows(book) == expected(book)
    book.run("do", "Deposit", "account=a", "amount=60")
    second = book.json("view", "refresh", "levels")
    assert (second["last_mode"], second["changes"]) == ("incremental", 2)
    assert "full_because" not in second
    assert rows(book) == expected(book)
    assert [row[0] for row in rows(book)] == [1]  # the group that lost its last row is gone
    third = book.json("view", "refresh", "levels")
    assert (third["last_mode"], third["changes"]) == ("incremental", 0)


def test_a_rebuilt_model_and_a_changed_file_make_it_anew(book):
    book.run("view", "refresh", "levels")
    book.run("model", "rebuild", "balances")
    row = book.json("view", "show", "levels")  # it was swapped with the model
    assert (row["last_mode"], row["full_because"]) == ("full", "balances was rebuilt")
    assert rows(book) == expected(book)
    book.run("do", "Withdraw", "account=b", "amount=100")
    assert book.json("view", "refresh", "levels")["last_mode"] == "incremental"
    assert rows(book) == expected(book)
    view = book.folder / "views" / "levels.sql"
    view.write_text(view.read_text().replace("/ 100", "/ 10"))
    row = book.json("view", "refresh", "levels")
    assert (row["last_mode"], row["full_because"]) == ("full", "its file has changed")
    assert rows(book) == expected(book, view.read_text())


def test_what_cannot_be_is_refused_where_it_was_asked_for(book):
    view = book.folder / "views" / "levels.sql"
    view.write_text(BY_LEVEL.replace("max(account)", "group_concat(account)"))
    answer = book.run("check", status=1)
    assert "views/levels.sql:4:77" in answer.text + answer.errors
    assert "group_concat() depends on the order" in answer.text + answer.errors
    view.write_text(view.read_text().replace("mode: incremental", "mode: auto"))
    book.run("check")
    row = book.json("view", "refresh", "levels")
    assert row["last_mode"] == "full"
    assert row["full_because"].startswith("views/levels.sql:4:77: group_concat()")


def test_a_continuous_view_follows(book, serve):
    view = book.folder / "views" / "levels.sql"
    view.write_text(BY_LEVEL.replace("on demand", "continuous"))
    server = serve(book)
    for amount in range(1, 20):
        server.post("/commands/Deposit", {"account": "a", "amount": amount})
    deadline = time.monotonic() + 10
    while rows(book) != expected(book) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert rows(book) == expected(book)
    assert book.json("view", "show", "levels")["last_mode"] == "incremental"


def test_continuous_views_of_views_and_of_what_fails(book, serve):
    """A reader that comes first by its name waits for its source, and one that fails holds up
    nobody."""
    views = book.folder / "views"
    head = "-- refresh: continuous\n-- database: reading\n"
    (views / "levels.sql").write_text(BY_LEVEL.replace("on demand", "continuous"))
    (views / "a_top.sql").write_text(head + "SELECT level, total FROM levels WHERE total > 0\n")
    (views / "b_fails.sql").write_text(
        head + "SELECT account, CASE balance WHEN 150 THEN abs(-9223372036854775807 - 1) END "
        "AS n FROM balances\n")
    server = serve(book)
    server.post("/commands/Deposit", {"account": "a", "amount": 1})
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        server.post("/commands/Deposit", {"account": "c", "amount": 1})
        want = [(level, total) for level, _, total, _ in expected(book)]
        shown = server.get("/views/a_top")
        if shown.status == 200 and shown.json["rows"]:
            break
    time.sleep(0.5)
    want = [(level, total) for level, _, total, _ in expected(book)]
    assert rows(book, "levels") == expected(book)
    assert rows(book, "a_top") == want
    assert "overflow" in book.json("view", "show", "b_fails")["error"]


def test_a_continuous_view_of_nothing_holds_up_nobody(make_book, tmp_path, serve):
    folder = tmp_path / "bank"
    shutil.copytree(BANK, folder)
    (folder / "views" / "levels.sql").write_text(BY_LEVEL.replace("on demand", "continuous"))
    (folder / "views" / "counts.sql").write_text(
        "-- refresh: every 1 second\n-- database: reading\nSELECT count(*) AS n FROM balances\n")
    server = serve(make_book(folder))
    deadline = time.monotonic() + 5
    while server.get("/views/counts").status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 5


def test_it_says_how_it_is_maintained(book):
    before = book.json("view", "explain", "levels")
    assert before["incremental"] is True and "statements" not in before
    book.run("view", "refresh", "levels")
    told = book.json("view", "explain", "levels")
    assert [part["operator"] for part in told["parts"]] == [
        "table balances", "select from one table", "group by 1 keys", "count(*)", "sum(…)",
        "max(…)", "having"]
    assert 'UPDATE "levels__g1" AS v SET _daybook_n' in told["statements"]
    assert rows(book) == expected(book)
    view = book.folder / "views" / "levels.sql"
    view.write_text(BY_LEVEL.replace("incremental", "auto").replace("sum(balance)", "random()"))
    told = book.json("view", "explain", "levels")
    assert told["incremental"] is False
    assert (told["obstacle"]["line"], told["obstacle"]["column"]) == (4, 54)
    assert "random() is not known" in told["obstacle"]["what"]


def test_wrong_rows_are_found_and_made_good(book):
    book.run("view", "refresh", "levels")
    book.run("do", "Deposit", "account=a", "amount=60")
    assert book.json("view", "verify", "levels") == {"view": "levels", "rows": 1, "equal": True}
    connection = sqlite3.connect(book.data / "reading.db")
    connection.execute("UPDATE levels__g1 SET total = total + 1, _daybook_v1 = _daybook_v1 + 1")
    connection.commit()
    connection.close()
    answer = book.run("view", "verify", "levels", status=1)
    assert "1 rows are stored that its SELECT does not give, and 1 are missing" in answer.errors
    assert book.json("view", "show", "levels")["error"] is not None
    assert book.json("view", "refresh", "levels")["last_mode"] == "full"
    assert book.json("view", "verify", "levels")["equal"] is True
    assert book.json("view", "verify", "bank_totals")["equal"] is True


def test_nothing_of_the_followed_rows_stays(book):
    """What a view has taken is gone from its notes, also from the newest one."""
    book.run("view", "refresh", "levels")
    book.run("do", "Withdraw", "account=c", "amount=160")
    book.run("view", "refresh", "levels")
    connection = sqlite3.connect(book.data / "reading.db")
    ((table,),) = connection.execute("SELECT name FROM sqlite_schema WHERE name LIKE "
                                     "'_daybook_changes%' AND type = 'table'").fetchall()
    notes = connection.execute(f'SELECT * FROM "{table}"').fetchall()
    connection.close()
    assert len(notes) == 1 and notes[0][2] == 0 and set(notes[0][3:]) == {None}


def followed(book):
    connection = sqlite3.connect(book.data / "reading.db")
    found = connection.execute("SELECT name FROM sqlite_schema WHERE name LIKE '_daybook_changes%' "
                               "OR type = 'trigger'").fetchall()
    connection.close()
    return found


def test_a_view_that_is_gone_ends_the_following(book):
    book.run("view", "refresh", "levels")
    book.run("view", "refresh", "bank_totals")
    (book.folder / "views" / "levels.sql").unlink()
    book.run("do", "Deposit", "account=a", "amount=1")
    assert followed(book) != []  # the other one stands on the same table
    (book.folder / "views" / "bank_totals.sql").unlink()
    book.run("do", "Deposit", "account=a", "amount=1")
    assert followed(book) == []


def test_a_full_view_ends_the_following(book):
    book.run("view", "refresh", "levels")
    view = book.folder / "views" / "levels.sql"
    view.write_text(BY_LEVEL.replace("mode: incremental", "mode: full"))
    assert book.json("view", "refresh", "levels")["full_because"] == "its head says `mode: full`"
    assert followed(book) == []


def test_a_first_fill_that_was_cut_short_ends_the_following(book):
    """Cursors before all notes, as a crash leaves them, keep no triggers on."""
    book.run("view", "refresh", "levels")
    connection = sqlite3.connect(book.data / "reading.db")
    connection.execute("UPDATE _daybook_cursors SET seq = -1")
    connection.commit()
    connection.close()
    assert followed(book) != []
    book.run("do", "Deposit", "account=a", "amount=1")
    assert followed(book) == []
    row = book.json("view", "refresh", "levels")
    assert row["last_mode"] == "full" and rows(book) == expected(book)


def test_a_unique_index_on_an_expression_is_refused(book):
    schema = book.folder / "models" / "balances" / "schema.sql"
    schema.write_text(schema.read_text() +
                      "\nCREATE UNIQUE INDEX ue ON balances (lower(account));\n")
    answer = book.run("check", status=1)
    assert 'a unique index on an expression, "ue"' in answer.text + answer.errors
    view = book.folder / "views" / "levels.sql"
    view.write_text(view.read_text().replace("mode: incremental", "mode: auto"))
    book.run("check")
    book.run("model", "rebuild", "balances")
    row = book.json("view", "refresh", "levels")
    assert row["last_mode"] == "full" and "a unique index on an expression" in row["full_because"]
