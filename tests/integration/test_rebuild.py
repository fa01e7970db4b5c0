# SPDX-License-Identifier: Apache-2.0
"""Read models that change, fail and are built anew, while others read them."""
import shutil
import sqlite3
import threading
import time

import pytest

from conftest import BANK, Book

COUNTS = {
    "model.yaml": "database: reading\nsync: events\nsource: [account]\n",
    "schema.sql": "CREATE TABLE counts (stream TEXT PRIMARY KEY, n INTEGER NOT NULL);\n",
    "handlers.sql": """-- on: AccountOpened, Deposited, Withdrawn
INSERT INTO counts VALUES (:_stream, 1) ON CONFLICT (stream) DO UPDATE SET n = n + 1;
""",
}


@pytest.fixture
def book(binary, tmp_path):
    folder = tmp_path / "book"
    shutil.copytree(BANK, folder)
    (folder / "models" / "counts").mkdir()
    for name, text in COUNTS.items():
        (folder / "models" / "counts" / name).write_text(text)
    return Book(binary, folder, tmp_path / "data")


def handlers(book, text):
    (book.folder / "models" / "counts" / "handlers.sql").write_text(text)


def wait_for(what):
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def fill(server, count=60):
    assert server.post("/commands/Open", {"account": "1"}).status == 200
    events = [{"type": "Deposited", "data": {"amount": 1}}] * (count - 1)
    return server.post("/streams/account-1", events).json["position"]


def counts(server, after=0):
    return server.get(f"/models/counts/tables/counts?after={after}").json["rows"]


def test_a_failing_handler_stops_its_model_at_the_event_and_the_others_go_on(book, serve):
    handlers(book, COUNTS["handlers.sql"] + """-- on: Frozen
INSERT INTO counts VALUES (:_stream, :missing);
""")
    server = serve(book)
    position = fill(server)
    assert server.post("/streams/account-1", {"type": "Frozen", "data": {}}).status == 201
    assert server.post("/commands/Deposit", {"account": "1", "amount": 1}).status == 200
    wait_for(lambda: server.get("/models/counts").json["state"] == "stopped")
    status = server.get("/models/counts").json
    assert status["position"] == position  # everything before the event is in
    for part in ("models/counts/handlers.sql:4", f"event {position + 1}", "Frozen of account-1"):
        assert part in status["error"]
    assert counts(server) == [{"stream": "account-1", "n": position}]
    assert server.get("/models/balances").json["position"] == position + 2
    health = server.get("/healthz")
    assert health.status == 503 and health.json["status"] == "degraded"
    assert server.get(f"/models/counts/tables/counts?after={position + 1}").status == 500


def test_a_changed_definition_is_noticed_and_the_old_one_goes_on_until_a_rebuild(book, serve):
    server = serve(book)
    fill(server)
    server.stop()
    handlers(book, COUNTS["handlers.sql"].replace("n + 1", "n + 100"))
    server = serve(book)
    last = server.post("/commands/Deposit", {"account": "1", "amount": 1}).json["position"]
    assert counts(server, last) == [{"stream": "account-1", "n": 61}]
    status = server.get("/models/counts").json
    assert (status["changed"], status["generation"]) == (True, 1)
    assert "model counts has changed" in server.process.stderr.readline()
    assert server.post("/models/counts/rebuild").status == 200
    assert counts(server, last) == [{"stream": "account-1", "n": 6001}]
    status = server.get("/models/counts").json
    assert (status["changed"], status["generation"]) == (False, 2)
    names = sqlite3.connect(book.data / "reading.db").execute(
        "select name from sqlite_schema where name like 'counts%' order by 1").fetchall()
    assert names == [("counts",), ("counts__g2",)]  # the first generation is gone


def test_a_stopped_model_is_healed_by_a_rebuild(book, serve):
    handlers(book, COUNTS["handlers.sql"].replace("VALUES (:_stream, 1)",
                                                  "VALUES (:_stream, :nothing)"))
    server = serve(book)
    last = fill(server)
    wait_for(lambda: server.get("/models/counts").json["state"] == "stopped")
    server.stop()
    handlers(book, COUNTS["handlers.sql"])
    server = serve(book)
    assert server.post("/models/counts/rebuild").status == 200
    assert counts(server, last) == [{"stream": "account-1", "n": 60}]
    last = server.post("/commands/Deposit", {"account": "1", "amount": 1}).json["position"]
    assert counts(server, last) == [{"stream": "account-1", "n": 61}]


def test_readers_never_see_half_a_rebuild(book, serve):
    server = serve(book)
    last = fill(server, 4000)
    counts(server, last)
    stop = threading.Event()
    seen = set()

    def read():
        connection = sqlite3.connect(book.data / "reading.db", timeout=10)
        while not stop.is_set():
            seen.add(connection.execute("select n from counts").fetchone())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(3):
        assert server.post("/models/counts/rebuild").status == 200
    stop.set()
    reader.join()
    assert seen == {(4000,)}


def test_a_view_that_fails_keeps_its_old_result_and_says_why(book, serve):
    (book.folder / "views" / "ratio.sql").write_text(
        "-- refresh: on demand\n"
        "SELECT stream, abs(n - 61 + -9223372036854775807 - 1) AS r FROM counts\n")
    server = serve(book)
    last = fill(server)
    counts(server, last)
    first = server.post(f"/views/ratio/refresh?after={last}")
    assert first.status == 200, first
    rows = server.get("/views/ratio").json["rows"]
    assert len(rows) == 1
    last = server.post("/commands/Deposit", {"account": "1", "amount": 1}).json["position"]
    counts(server, last)
    failed = server.post(f"/views/ratio/refresh?after={last}")
    assert failed.status >= 400 and "overflow" in failed.json["detail"]
    assert server.get("/views/ratio").json["rows"] == rows
    assert "overflow" in server.get("/views/ratio/status").json["error"]
