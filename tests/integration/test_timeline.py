# SPDX-License-Identifier: Apache-2.0
"""When one event was what: its moments lie in their order, between the clocks of those who made
them, wherever it came from; and what is not known says why."""
import csv
import datetime
import io
import time

from conftest import Book
from test_capture_sqlite import wait_for
from test_tables import SqliteTable, write_book


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def time_of(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def moments_of(server, position):
    answer = server.get(f"/events/{position}/timeline")
    assert answer.status == 200, answer
    return answer.json["moments"]


def times(moments):
    """Of the moments that are known, in the answer's order."""
    return {(m["moment"], m["of"]): time_of(m["time"]) for m in moments if m["time"]}


def whys(moments):
    return {(m["moment"], m["of"]): m["why"] for m in moments if not m["time"]}


def check_order(moments, begun, ended):
    """The moments are in their order, none before or after what was done; offsets are of the
    first."""
    known = list(times(moments).values())
    assert known == sorted(known) and begun <= known[0] and known[-1] <= ended, moments
    for moment in moments:
        if moment["time"]:
            offset = time_of(moment["time"]) - known[0]
            assert moment["offset_us"] == offset // datetime.timedelta(microseconds=1)


def test_a_command_s_event(bank, serve):
    server = serve(bank)
    begun = now()
    done = server.post("/commands/Open", {"account": "1"}).json
    position = done["last_position"] if "last_position" in done else done["position"]
    moments = moments_of(server, position)
    assert list(times(moments)) == [("sent", "Open"), ("saved", "bank"), ("published", "bank"),
                                    ("received", "balances"), ("applied", "balances")]
    assert "not yet" in whys(moments)[("seen", "balances")]
    # `transaction`: it is in the model before the command is answered.
    check_order(moments, begun, now())
    assert server.get("/models/balances/tables/balances").json["rows"]
    again = moments_of(server, position)
    check_order(again, begun, now())
    assert times(again)[("seen", "balances")] > times(again)[("applied", "balances")]
    # A second read is not the first.
    server.get("/models/balances/tables/balances")
    assert moments_of(server, position) == again


def test_an_event_that_was_appended(bank, serve):
    server = serve(bank)
    begun = now()
    event = {"type": "AccountOpened", "data": {"id": "7"}, "occurred": "2026-03-01T08:00:00Z"}
    position = server.post("/streams/account-7", event).json["position"]
    moments = moments_of(server, position)
    # When it occurred is the caller's word, and counts for no offset.
    assert moments[0] == {"moment": "occurred", "of": "", "time": "2026-03-01T08:00:00Z"}
    check_order(moments[1:], begun, now())
    assert [m["moment"] for m in moments[1:]] == ["saved", "published", "received", "applied",
                                                  "seen"]


def test_a_change_in_a_service_s_table(binary, tmp_path, data, serve):
    folder = tmp_path / "book"
    folder.mkdir()
    table = SqliteTable(folder)
    table.run("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
    write_book(folder, [table.address, "sqlite:reading.db"])
    server = serve(Book(binary, folder, data))
    wait_for(lambda: server.get("/captures").json["captures"][0]["state"] == "streaming")
    begun = now()
    table.run("INSERT INTO people VALUES (1, 'Anna')")
    event = wait_for(lambda: server.get("/streams/users.people-1").json.get("events"))[0]
    wait_for(lambda: server.get("/models/names").json["lag_events"] == 0)
    server.get("/models/names/tables/names")
    moments = moments_of(server, event["position"])
    assert [(m["moment"], m["of"]) for m in moments] == [
        ("saved", "users"), ("taken", "users"), ("published", "names"), ("received", "names"),
        ("applied", "names"), ("seen", "names")]
    # SQLite has no time of a commit: the trigger's is of the statement, in whole milliseconds.
    check_order(moments, begun - datetime.timedelta(milliseconds=1), now())
    # The same by the event's id; and from the process that serves, by the command line.
    assert moments_of(server, event["id"]) == moments
    book = server.book
    assert book.json("trace", event["position"], "--timeline") == moments
    rows = list(csv.DictReader(io.StringIO(
        book.run("trace", event["id"], "--timeline", "-o", "csv").text)))
    assert [row["time"] for row in rows] == [m["time"] for m in moments]
    drawn = book.run("trace", event["position"], "--timeline").text.splitlines()
    assert drawn[0].startswith(f"people.insert of users.people-1 at position {event['position']}")
    assert sum("●" in line for line in drawn) == len(moments)
    columns = [line.rindex("●") for line in drawn if "●" in line]
    assert columns == sorted(columns)


def test_what_was_before_a_process_is_not_guessed(bank, serve):
    server = serve(bank)
    server.post("/commands/Open", {"account": "1"})
    server.get("/models/balances/tables/balances")
    assert ("seen", "balances") in times(moments_of(server, 1))
    server.stop()
    # Without a server, and with another.
    for moments in (bank.json("trace", "1", "--timeline"), moments_of(serve(bank), 1)):
        assert list(times(moments)) == [("saved", "bank"), ("published", "bank")]
        unknown = whys(moments)
        assert "before this process began, at 2" in unknown[("sent", "")]
        assert set(unknown) == {("sent", ""), ("applied", "balances"), ("seen", "balances")}
        assert all("process" in why for why in unknown.values())


def test_a_model_that_is_behind_says_where_it_is(shop, serve):
    server = serve(shop)
    done = server.post("/commands/PlaceOrder", {
        "order_id": "1", "customer_id": "42", "country": "France",
        "lines": [{"stock_code": "A", "description": "a", "quantity": 1, "price": 1}]}).json
    position = done["last_position"] if "last_position" in done else done["position"]
    wait_for(lambda: server.get("/models/user_orders").json["lag_events"] == 0)
    time.sleep(0.01)
    moments = moments_of(server, position)
    assert ("applied", "user_orders") in times(moments)
    # Events without a handler have no moments in a model.
    assert all(m["of"] != "user_orders" for m in moments_of(server, server.post(
        "/streams/note-1", {"type": "Noted"}).json["position"]))


def test_wrong_questions_are_answered(bank, serve):
    bank.run("append", "account-1", "AccountOpened", '{"id":"1"}')
    for what, errors in [(("trace", "2", "--timeline"), 'no event has "2" as its position or id'),
                         (("trace", "0", "--timeline"), 'no event has "0"'),
                         (("trace", "x", "--timeline"), 'no event has "x"')]:
        assert errors in bank.run(*what, status=1).errors
    for what in (("-o", "dot"), ("--limit", "3"), ("--hidden",)):
        assert "--timeline is" in bank.run("trace", "1", "--timeline", *what, status=2).errors
    server = serve(bank)
    assert server.get("/events/99/timeline").status == 404
    assert server.get("/events/1/timeline?limit=1").status == 400
    assert server.get("/events//timeline").status == 400
