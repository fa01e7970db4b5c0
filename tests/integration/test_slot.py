# SPDX-License-Identifier: Apache-2.0
"""What a PostgreSQL server keeps for a slot is watched: a warning, and where the service's file
says so an end of it before the server's disk is full. What holds it is a transaction that stays
open, as it does in life."""
import threading

import pytest
from conftest import Book
from services.postgres import Missing, Postgres
from test_capture import (PEOPLE, SERVICE, SETTINGS, assert_same, failure, missing, settle, slot_of,
                          status, write_book)
from test_capture_sqlite import wait_for

NOISE = ("CREATE TABLE noise{0} AS SELECT i, repeat(md5(i::text), 40) FROM "
         "generate_series(1, {1}) AS i")
HELD = ("SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND pid <> "
        "pg_backend_pid()")


@pytest.fixture(scope="module")
def postgres():
    try:
        server = Postgres(settings=SETTINGS)
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


@pytest.fixture
def hold(postgres):
    """Opens a transaction that has written and does not end; gives what ends it."""
    threads = []

    def run():
        try:
            postgres.sql("BEGIN; CREATE TABLE held (i int); SELECT pg_sleep(600)", "slots")
        except AssertionError:
            pass  # it was ended

    def end():
        for row in postgres.sql(HELD):
            postgres.sql(f"SELECT pg_terminate_backend({row[0]})")
        for thread in threads:
            thread.join()

    def begin():
        threads.append(threading.Thread(target=run))
        threads[-1].start()
        wait_for(lambda: postgres.sql(HELD))
        return end
    yield begin
    end()


def test_a_slot_is_warned_of_and_given_up(binary, postgres, tmp_path, data, serve, hold):
    postgres.create("slots")
    postgres.sql(PEOPLE + "; INSERT INTO people (id, name) VALUES (1, 'a')", "slots")
    write_book(tmp_path / "book", postgres.connection("slots"),
               SERVICE + "slot: {warn: 8 MiB, stop: 64 MiB, every: 200 ms}\n")
    book = Book(binary, tmp_path / "book", data)
    server = serve(book)
    settle(server, postgres, "slots")
    slot = slot_of(postgres, "slots")
    end = hold()
    postgres.sql(NOISE.format(1, 20000), "slots")
    now = wait_for(lambda: "warn" in (status(server).get("warning") or "") and status(server))
    assert "more than `warn` in services/users.yaml" in now["warning"]
    assert now["state"] == "streaming" and now["retained_bytes"] > 8 << 20
    postgres.sql("INSERT INTO people (id, name) VALUES (2, 'b')", "slots")
    settle(server, postgres, "slots")
    # Past `stop` the server gets its disk back, and what to do is said.
    postgres.sql(NOISE.format(2, 60000), "slots")
    now = failure(server)
    assert now["state"] == "failed" and f"for the slot {slot}" in now["error"]
    assert "more than `stop` in services/users.yaml: it was dropped" in now["error"]
    assert "daybook capture resnapshot users" in now["error"]
    assert postgres.sql("SELECT * FROM pg_replication_slots") == []
    assert server.get("/healthz").status == 503
    postgres.sql("DELETE FROM people WHERE id = 1", "slots")
    end()
    book.run("capture", "resnapshot", "users")
    settle(server, postgres, "slots")
    assert_same(book, postgres, "slots")
    assert server.get("/healthz").status == 200


@pytest.mark.parametrize("database,slot,message", [
    ("postgres:env:SOURCE", "{warn: much}", ':5:14: "much" is no size'),
    ("postgres:env:SOURCE", "{stop: 1 MiB}", "a server keeps as much as `stop` for a slot that"),
    ("postgres:env:SOURCE", "{warn: 1 GiB, stop: 512 MiB}", "`warn` would come after `stop`"),
    ("postgres:env:SOURCE", "{every: 0 s}", '"0 s" is no duration'),
    ("sqlite:source.db", "{warn: 1 GiB}", "`slot` is for a service whose database is PostgreSQL"),
])
def test_check_names_what_is_wrong(binary, tmp_path, data, database, slot, message):
    folder = tmp_path / "book"
    write_book(folder, "", SERVICE + f"slot: {slot}\n")
    (folder / "book.yaml").write_text(f"book: copy\ndatabases:\n  source: {database}\n",
                                      encoding="utf-8")
    answer = Book(binary, folder, data).run("check", status=1)
    assert message in answer.text + answer.errors
