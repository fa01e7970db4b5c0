# SPDX-License-Identifier: Apache-2.0
"""Sagas: what begins them, what they send, how they try again and go back; what they cannot take
is parked, and the others go on; `check` refuses a step without a way back."""
import json
import re
import socket
import subprocess
import sys
import time

import pytest
from conftest import ROOT, Book, clean_environment

TRIP = """
local by = function(data) return data.trip end
return {
    unmatched = "%(unmatched)s",
    on = {
        TripWanted = { by = by, starts = true, run = function(_, data)
            return { trip = data.trip, seat = data.seat, cars = 0 }, { step("flight") },
                   { timer("hurry", "1 h") }
        end },
        TripChanged = { by = by, run = function(state, data)
            if data.spin then while true do end end
            if data.throw then error("no such change") end
            state.changed = (state.changed or 0) + data.by
            return state
        end },
    },
    timers = { hurry = function(state) return state, { fail("it took too long") } end },
    steps = {
        flight = {
            send = function(state, key)
                return event("FlightAsked", { trip = state.trip, key = key },
                             { stream = "flight-" .. state.trip, tags = { "asked" } })
            end,
            done = { FlightBooked = by }, failed = { FlightFull = by },
            undo = function(state, key, why)
                return event("FlightCancelled", { trip = state.trip, why = why },
                             { stream = "flight-" .. state.trip })
            end,
            lock = function(state) return state.seat end,
            timeout = "%(timeout)s", retry = { tries = 2, delay = "50 ms" },
            key = function(state) return state.trip end,
            after = function(state, data)
                state.flight = data.number
                return state, { step("car") }
            end,
        },
        car = {
            send = function(state)
                return event("CarAsked", { trip = state.trip }, { stream = "car-" .. state.trip })
            end,
            done = { CarBooked = by }, failed = { CarGone = by },
            undo = none, timeout = "1 min",
            key = function(state) return state.trip end,
            after = function(state) return state, { complete() } end,
        },
    },
}
"""


def write_book(folder, sagas, commands=None):
    (folder / "sagas").mkdir(parents=True)
    (folder / "commands").mkdir()
    (folder / "book.yaml").write_text("book: trips\nschema: off\n", encoding="utf-8")
    for name, text in sagas.items():
        (folder / "sagas" / f"{name}.lua").write_text(text, encoding="utf-8")
    for name, text in (commands or {}).items():
        (folder / "commands" / f"{name}.lua").write_text(text, encoding="utf-8")


def trip(unmatched="ignore", timeout="1 min"):
    return TRIP % {"unmatched": unmatched, "timeout": timeout}


class Trips:
    """A book with the saga `trip`, served."""

    def __init__(self, book, serve):
        self.book, self.serve = book, serve
        self.server = serve(book)

    def append(self, kind, trip_id, **data):
        stream = f"{kind.lower()}-{trip_id}"
        answer = self.server.post(f"/streams/{stream}",
                                  [{"type": kind, "data": {"trip": trip_id, **data}}])
        assert answer.status in (200, 201), answer

    def show(self, instance, saga="trip"):
        answer = self.server.get(f"/sagas/{saga}/{instance}")
        return answer.json if answer.status == 200 else None

    def wait(self, instance, what, saga="trip"):
        """Until the instance is as a function says."""
        until = time.monotonic() + 30
        while time.monotonic() < until:
            shown = self.show(instance, saga)
            if shown is not None and what(shown):
                return shown
            time.sleep(0.01)
        raise AssertionError(f"{instance} is {shown}")

    def status(self, instance, status, steps=None):
        return self.wait(instance, lambda shown: shown["status"] == status
                         and (steps is None or shown["steps"] == steps))

    def events(self, stream):
        return [(event["type"], event["data"]) for event in
                self.server.get(f"/streams/{stream}").json["events"]]


@pytest.fixture
def trips(tmp_path, binary, data, serve):
    def start(sagas=None, commands=None, **settings):
        folder = tmp_path / "book"
        write_book(folder, sagas or {"trip": trip(**settings)}, commands)
        return Trips(Book(binary, folder, data), serve)

    return start


def test_a_saga_goes_its_way_and_tells_of_it(trips):
    it = trips()
    it.append("TripWanted", "t1", seat="12A")
    it.status("t1", "running", "flight sent")
    it.append("FlightBooked", "t1", number="LH 1")
    it.status("t1", "running", "flight done, car sent")
    it.append("FlightBooked", "t1", number="LH 2")  # a second time
    it.append("CarBooked", "t1")
    shown = it.status("t1", "completed", "flight done, car done")
    assert shown["state"] == {"trip": "t1", "seat": "12A", "cars": 0, "flight": "LH 1"}
    assert [moment["of"].split(" at ")[0] for moment in shown["moments"]] == [
        "TripWanted", "FlightBooked", "CarBooked"]
    assert it.events("flight-t1") == [("FlightAsked", {"trip": "t1", "key": "trip/flight/t1"})]
    asked = it.server.get("/streams/flight-t1").json["events"][0]
    assert asked["meta"]["idempotencykey"] == "trip/flight/t1"
    assert asked["meta"]["correlationid"] == "trip/t1"
    assert asked["tags"] == ["asked"]
    totals = it.book.json("saga", "ls")[0]
    assert (totals["open"], totals["completed"], totals["compensated"]) == (0, 1, 0)
    drawn = it.book.run("saga", "show", "trip", "t1").text
    assert "flight done, car sent" in drawn and "●" in drawn


def test_what_was_done_is_undone_in_reverse_order(trips):
    it = trips()
    it.append("TripWanted", "t1", seat="12A")
    it.append("FlightBooked", "t1", number="LH 1")
    it.status("t1", "running", "flight done, car sent")
    it.append("CarGone", "t1")
    shown = it.status("t1", "compensated", "flight undone, car failed")
    assert shown["reason"] == "car: CarGone"
    assert it.events("flight-t1")[-1] == ("FlightCancelled", {"trip": "t1", "why": "car: CarGone"})
    # Refused: nothing was done, and nothing is undone.
    it.append("TripWanted", "t2", seat="12B")
    it.status("t2", "running")
    it.append("FlightFull", "t2")
    it.status("t2", "compensated", "flight failed")
    assert [kind for kind, _ in it.events("flight-t2")] == ["FlightAsked"]


def test_no_answer_is_tried_again_and_then_undone(trips):
    it = trips(timeout="100 ms")
    it.append("TripWanted", "t1", seat="12A")
    it.status("t1", "compensated", "flight undone")
    sent = it.events("flight-t1")
    # Nobody knows whether it was done: the same key twice, then it is undone.
    assert [kind for kind, _ in sent] == ["FlightAsked", "FlightAsked", "FlightCancelled"]
    assert sent[0] == sent[1]
    it.append("FlightBooked", "t1", number="LH 1")  # too late
    it.append("TripWanted", "t2", seat="12A")
    it.status("t2", "running")
    assert it.show("t1")["status"] == "compensated"


def test_a_lock_is_taken_in_turn(trips):
    it = trips()
    for name in ("t1", "t2", "t3"):
        it.append("TripWanted", name, seat="12A")
        it.status(name, "running")
    assert [it.show(name)["steps"] for name in ("t1", "t2", "t3")] == [
        "flight sent", "flight waits", "flight waits"]
    it.server.stop()  # who holds it and who waits is in the book
    it.server = it.serve(it.book)
    it.append("FlightFull", "t1")
    it.status("t1", "compensated")
    it.status("t2", "running", "flight sent")
    assert it.show("t3")["steps"] == "flight waits"
    it.book.run("saga", "cancel", "trip", "t2", "--reason", "no more")
    it.append("FlightBooked", "t2", number="LH 1")  # it is waited for, and then undone
    assert it.status("t2", "compensated", "flight undone")["reason"] == "no more"
    it.status("t3", "running", "flight sent")


@pytest.mark.parametrize("change, why", [
    ({"throw": True}, "sagas/trip.lua:12: no such change"),
    ({"spin": True}, "it used up its instructions"),
])
def test_what_it_cannot_take_is_parked_and_others_go_on(trips, change, why):
    it = trips()
    it.append("TripWanted", "t1", seat="1")
    it.append("TripWanted", "t2", seat="2")
    it.append("TripChanged", "t1", by=1, **change)
    it.append("TripChanged", "t1", by=10)
    it.append("FlightBooked", "t1", number="LH 1")
    it.append("TripChanged", "t2", by=5)
    assert why in it.status("t1", "parked")["reason"]
    health = it.server.get("/healthz")
    assert (health.status, health.json["sagas"][0]["parked"]) == (200, 1)
    assert 'daybook_saga_parked{saga="trip"} 1\n' in it.server.get("/metrics").text
    it.wait("t2", lambda shown: shown["state"].get("changed") == 5)
    failed = it.book.run("saga", "retry", "trip", "t1", status=1)
    assert why in failed.errors
    it.server.stop()
    # The file is mended: what waited is taken, each once and in order.
    path = it.book.folder / "sagas" / "trip.lua"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("if data.spin then while true do end end", "")
                    .replace('if data.throw then error("no such change") end', ""),
                    encoding="utf-8")
    it.server = it.serve(it.book)
    it.book.run("saga", "retry", "trip", "t1")
    shown = it.wait("t1", lambda shown: shown["steps"] == "flight done, car sent")
    assert shown["state"]["changed"] == 11
    assert shown["stashed"] == 0


FAULTY = {
    "by": ("TripWanted = { by = by,", "TripWanted = { by = function() FAULT end,"),
    "run": ("run = function(_, data)", "run = function(_, data) FAULT"),
    "send": ("send = function(state, key)", "send = function(state, key) FAULT"),
    "key": ("key = function(state) return", "key = function(state) FAULT return"),
    "lock": ("lock = function(state) return", "lock = function(state) FAULT return"),
    "done": ("done = { FlightBooked = by }", "done = { FlightBooked = function() FAULT end }"),
    "after": ("state.flight = data.number", "FAULT"),
    "undo": ("undo = function(state, key, why)", "undo = function(state, key, why) FAULT"),
    "timer": ("hurry = function(state) return", "hurry = function(state) FAULT return"),
}


@pytest.mark.parametrize("fault, why", [
    ('error("boom")', "boom"), ("while true do end", "it used up its instructions")])
def test_each_function_may_fail_and_nothing_is_half_applied(trips, fault, why):
    sagas = {}
    for name, (good, bad) in FAULTY.items():
        text = trip().replace('"flight-"', f'"{name}-"').replace('"1 h"', '"10 ms"' if
                                                                 name == "timer" else '"1 h"')
        assert good in text
        sagas[name] = text.replace(good, bad.replace("FAULT", fault), 1)
    it = trips(sagas)
    position = it.server.post("/streams/tripwanted-t1", [
        {"type": "TripWanted", "data": {"trip": "t1", "seat": "1"}}]).json["position"]
    it.wait("t1", lambda shown: shown["steps"] == "flight sent", "undo")
    booked = it.server.post("/streams/flightbooked-t1", [
        {"type": "FlightBooked", "data": {"trip": "t1", "number": "LH 1"}}]).json["position"]
    it.wait("t1", lambda shown: shown["steps"] == "flight done, car sent", "undo")
    it.append("CarGone", "t1")
    instances = {"by": f"event-{position}", "done": f"event-{booked}"}
    for name in FAULTY:
        shown = it.wait(instances.get(name, "t1"), lambda shown: shown["status"] == "parked", name)
        assert why in shown["reason"], shown
        assert f"sagas/{name}.lua" in shown["reason"]
        sent = it.server.get(f"/streams/{name}-t1").json.get("events", [])
        before = ["FlightAsked"] if name in ("done", "after", "undo", "timer") else []
        assert [event["type"] for event in sent] == before, name


def test_what_cannot_be_stored_is_parked_and_later_events_are_taken(trips):
    good, bad = '"flight-" .. state.trip, tags', '(state.seat or "flight-") .. state.trip, tags'
    text = trip().replace(good, bad)
    it = trips({"trip": text})
    it.append("TripWanted", "t0", seat="a-")
    it.status("t0", "running", "flight sent")
    it.append("TripWanted", "t1", seat="$")
    assert "the book's own" in it.status("t1", "parked")["reason"]
    it.append("FlightBooked", "t0", number="LH 1")
    it.append("TripWanted", "t2", seat="b-")
    it.status("t2", "running", "flight sent")
    it.status("t0", "running", "flight done, car sent")


def test_an_event_before_its_time(trips):
    it = trips(sagas={"ignores": trip("ignore"), "parks": trip("park"), "waits": trip("wait")})
    it.append("TripChanged", "t1", by=3)
    it.append("TripWanted", "t1", seat="1")
    assert "has not begun" in it.wait("t1", lambda s: s["status"] == "parked", "parks")["reason"]
    it.book.run("saga", "retry", "parks", "t1")
    for saga, changed in (("ignores", None), ("waits", 3), ("parks", 3)):
        it.wait("t1", lambda shown, changed=changed: shown["status"] == "running"
                and shown["state"].get("changed") == changed, saga)


PAY = """
local by = function(data) return data.trip end
return {
    unmatched = "ignore",
    on = { TripWanted = { by = by, starts = true, run = function(_, data)
        return data, { step("pay"), step("more") }
    end } },
    steps = {
        pay = {
            send = function(state) return command("Pay", { trip = state.trip }) end,
            undo = function(state) return command("Refund", { trip = state.trip }) end,
            timeout = "1 s", retry = { tries = 2, delay = "10 ms" },
            key = function(state) return state.trip end,
        },
        more = {
            send = function() return command("%s", {}) end,
            undo = none, timeout = "1 s", retry = { tries = 2, delay = "10 ms" },
            key = function(state) return state.trip end,
        },
    },
}
"""
PAY_COMMAND = """return { stream = function(command) return "pay-" .. command.trip end,
    decide = function(_, command) return event("Paid", {}) end }
"""
REFUSES = """return { stream = function() return "more-1" end,
    decide = function() return refuse("no", "there is no more") end }
"""


def test_commands_are_done_once_and_one_that_cannot_be_undone_waits_for_someone(trips):
    it = trips({"buy": PAY % "More"}, {"Pay": PAY_COMMAND, "More": REFUSES,
                                       "Refund": REFUSES})
    it.append("TripWanted", "t1")
    shown = it.wait("t1", lambda shown: shown["status"] == "parked", "buy")
    assert "pay could not be undone: there is no more" in shown["reason"]
    assert it.events("pay-t1") == [("Paid", {})]
    assert it.book.json("saga", "ls")[0]["parked"] == 1
    it.book.run("saga", "retry", "buy", "t1")
    it.wait("t1", lambda shown: shown["status"] == "parked", "buy")
    it.book.run("saga", "cancel", "buy", "t1", "--reason", "refunded by hand")
    it.wait("t1", lambda shown: shown["status"] == "compensated"
            and shown["steps"] == "pay kept, more failed", "buy")
    assert "has no open instance t1" in it.book.run("saga", "retry", "buy", "t1",
                                                    status=1).errors


def test_what_a_call_did_names_its_cause_also_behind_a_kill(trips):
    it = trips({"buy": PAY % "More"}, {"Pay": PAY_COMMAND, "More": REFUSES, "Refund": REFUSES})
    names = [f"t{number}" for number in range(150)]
    answer = it.server.post("/events", {"events": [
        {"stream": f"tripwanted-{name}", "type": "TripWanted", "data": {"trip": name}}
        for name in names]})
    assert answer.status in (200, 201), answer
    it.wait("t0", lambda shown: "pay" in shown["steps"], "buy")
    it.server.kill()
    it.server = it.serve(it.book)
    for name in names:
        it.wait(name, lambda shown: shown["status"] == "parked", "buy")
    ids = {event["id"]: name for name in names
           for event in it.server.get(f"/streams/$saga.buy-{name}").json["events"]}
    paid = it.server.get("/events?category=pay&limit=1000").json["events"]
    assert len(paid) == len(names)
    for event in paid:
        assert ids.get(event["meta"]["causationid"]) == event["stream"].removeprefix("pay-"), event


def test_a_fault_of_the_book_parks_and_names_it(trips):
    it = trips({"buy": PAY % "Moar"}, {"Pay": PAY_COMMAND, "More": REFUSES, "Refund": REFUSES})
    it.append("TripWanted", "t1")
    shown = it.wait("t1", lambda shown: shown["status"] == "parked", "buy")
    assert shown["reason"] == "there is no command Moar; did you mean More?"


def test_timers_and_calls_outlive_the_process(trips):
    it = trips({"trip": trip().replace('timer("hurry", "1 h")', 'timer("hurry", "2 s")')})
    it.append("TripWanted", "t1", seat="1")
    it.append("FlightBooked", "t1", number="LH 1")
    it.status("t1", "running", "flight done, car sent")
    it.server.kill()
    it.server = it.serve(it.book)
    it.append("CarGone", "t9")  # of nobody
    # The car has not answered: it is waited for, and only then undone.
    it.status("t1", "compensating", "flight done, car sent")
    it.append("CarBooked", "t1")
    assert it.status("t1", "compensated",
                     "flight undone, car kept")["reason"] == "it took too long"


@pytest.mark.parametrize("old, new, place, what", [
    ("undo = none,", "", "car = {", "step car has no compensation: write `undo ="),
    ('undo = none, timeout = "1 min",', "undo = none,", "car = {", "step car has no timeout"),
    ("            key = function(state) return state.trip end,\n            after = function(state)"
     " return state, { complete() } end,", "", "car = {", "step car has no idempotency key"),
    ('unmatched = "ignore",', "", None, "say what becomes of an event whose instance"),
    ("failed = { CarGone = by },", "failed = { FlightFull = by },", None, "in two places"),
    ("starts = true,", "", "on = {", "no event begins it"),
    ("undo = none,", "undoo = none,", "undoo", "a step has no `undoo`; did you mean `undo`?"),
    ("return {\n    unmatched", "return {{\n    unmatched", None, "expected"),
])
def test_check_refuses(tmp_path, binary, data, old, new, place, what):
    text = trip()
    assert old in text
    write_book(tmp_path / "book", {"trip": text.replace(old, new)})
    answer = Book(binary, tmp_path / "book", data).run("check", status=1)
    assert what in answer.text + answer.errors
    if place is not None:
        changed = text.replace(old, new)
        line = changed[:changed.index(place)].count("\n") + 1
        assert f"sagas/trip.lua:{line}:" in answer.text + answer.errors


def test_what_came_before_the_first_serve_is_taken(tmp_path, binary, data, serve):
    write_book(tmp_path / "book", {"trip": trip()})
    book = Book(binary, tmp_path / "book", data)
    book.run("append", "wish-t1", "TripWanted", '{"trip":"t1","seat":"1"}')
    server = serve(book)
    until = time.monotonic() + 30
    while server.get("/sagas/trip/t1").status != 200 and time.monotonic() < until:
        time.sleep(0.01)
    assert server.get("/sagas/trip/t1").json["steps"] == "flight sent"


def test_a_book_with_a_saga_is_filled_by_a_migration(tmp_path, binary, data):
    write_book(tmp_path / "old", {})
    write_book(tmp_path / "new", {"trip": trip()})
    (tmp_path / "same.lua").write_text("return { version = 1 }\n", encoding="utf-8")
    book = Book(binary, tmp_path / "old", data)
    book.run("append", "wish-t1", "TripWanted", '{"trip":"t1","seat":"1"}')
    book.run("migrate", "--to", tmp_path / "new", "--with", tmp_path / "same.lua")


def simulated(binary, folder, data, status, name="trip"):
    rows = Book(binary, folder, data).run("saga", "simulate", name, "-o", "jsonl",
                                          status=status).lines
    return {(row["step"], row["fault"]): (row["outcome"], row["steps"]) for row in rows}


def test_simulating_the_checkout(binary, data):
    runs = simulated(binary, ROOT / "examples" / "checkout", data, 0, "checkout")
    assert runs[("", "")] == ("complete", "reject done, reserve done, pay done, confirm done")
    assert runs[("pay", "refused")][1] == "reject undone, reserve undone, pay failed"
    for fault in ("no answer", "lost", "answered late"):
        assert runs[("pay", fault)] == ("compensated",
                                        "reject undone, reserve undone, pay undone")
    for fault in ("answered twice", "out of order", "crashed"):
        assert runs[("pay", fault)][0] == "complete"
    assert runs[("reserve", "undo: no answer once")][0] == "compensated"
    assert len(runs) == 18


SAMPLES = """    samples = { TripWanted = { trip = "t1", seat = "1" }, CarBooked = { trip = "t1" },
        FlightBooked = function(state) return { trip = state.trip, number = "LH" } end,
        FlightFull = { trip = "t1" }, CarGone = { trip = "t1" } },
}
"""


@pytest.mark.parametrize("old, new, step, fault, outcome", [
    # What was done is left, and it says that it came to its end.
    ("            lock = ", "            otherwise = function(s) return s, complete() end, lock = ",
     "flight", "no answer", "half-done"),
    # It waits for what nobody sends.
    ("return state, { complete() }", "return state", "", "", "stuck"),
    ("return state, { complete() }", "error('no')", "", "", "stuck"),
])
def test_simulating_what_is_wrong(tmp_path, binary, data, old, new, step, fault, outcome):
    text = trip().rstrip()[:-1] + SAMPLES
    write_book(tmp_path / "sound", {"trip": text})
    good = simulated(binary, tmp_path / "sound", data, 0)
    assert good[("flight", "no answer")] == ("compensated", "flight undone")
    assert good[("car", "lost")] == ("compensated", "flight undone, car kept")
    assert old in text
    write_book(tmp_path / "wrong", {"trip": text.replace(old, new)
                                     .replace('timer("hurry", "1 h")', "")})
    assert simulated(binary, tmp_path / "wrong", data, 1)[(step, fault)][0] == outcome


def test_a_sample_that_is_missing_is_named(tmp_path, binary, data):
    write_book(tmp_path / "book", {"trip": trip()})
    failed = Book(binary, tmp_path / "book", data).run("saga", "simulate", "trip", status=1)
    assert "sagas/trip.lua: `samples` has no TripWanted" in failed.errors


def test_checkouts_add_up_whatever_fails(binary):
    """A short share of the torture: 400 checkouts, kills every second."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "torture" / "sagas.py"), "--checkouts", "400",
         "--kill-every", "1", "--seed", "3", "--binary", str(binary)], capture_output=True,
        text=True, timeout=300, check=False, env=clean_environment())
    assert result.returncode == 0, result.stdout + result.stderr
    answer = json.loads(result.stdout)
    assert answer["fault_count"] == 0
    assert answer["kills"] > 0 and answer["repeated"] > 0
    assert 0 < answer["confirmed"] < 400


PAYING = """return {
    unmatched = "ignore",
    initial = {},
    on = {
        OrderPlaced = { by = function(data) return data.order end, starts = true,
            run = function(_, data) return { order = data.order }, { step("pay") } end },
    },
    steps = {
        pay = {
            send = function(state) return http("payment", "POST", "/charges", state) end,
            undo = none, timeout = "1 h", retry = { tries = 2, delay = "50 ms" },
            key = function(state) return state.order end,
            after = function(state) return state, { complete() } end,
        },
    },
    samples = { OrderPlaced = { order = "o1" }, pay = {} },
}
"""


def test_who_ends_does_not_wait_for_an_answer(tmp_path, binary, data, serve):
    """A call that was under way is made again, with the same key, when the book is served next."""
    keys = []
    peer = socket.create_server(("127.0.0.1", 0))

    def take():
        connection, _ = peer.accept()
        request = b""
        while b"\r\n\r\n" not in request or not request.endswith(b"}"):
            request += connection.recv(4096)
        keys.append(re.search(rb"Idempotency-Key: (.*)\r\n", request).group(1))
        return connection

    folder = tmp_path / "book"
    write_book(folder, {"pay": PAYING})
    with open(folder / "book.yaml", "a", encoding="utf-8") as file:
        file.write(f"calls:\n  payment: http://127.0.0.1:{peer.getsockname()[1]}\n")
    book = Book(binary, folder, data)
    server = serve(book)
    server.post("/streams/order-o1", [{"type": "OrderPlaced", "data": {"order": "o1"}}])
    with take():
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 30
    server = serve(book)
    with take() as connection:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        until = time.monotonic() + 30
        while server.get("/sagas/pay/o1").json["status"] != "completed":
            assert time.monotonic() < until, server.get("/sagas/pay/o1").json
            time.sleep(0.01)
    assert len(keys) == 2 and keys[0] == keys[1]
    shown = server.get("/sagas/pay/o1").json
    assert shown["steps"] == "pay done", shown
    peer.close()
