# SPDX-License-Identifier: Apache-2.0
"""`on_error: set-aside` in a MongoDB without transactions: an event whose commands fail half way
leaves nothing of itself, whichever of them fails, and whatever is ended at whichever message.

Every command fails, and at every message the connection is cut (before the server has it, and
behind that), the daemon or the server is killed. DAYBOOK_EXHAUST=1 does it all, on a program of
ours that stands in for MongoDB; without it some cases of each kind, and some on FerretDB.
"""
import http.client
import os
import time
import uuid

import pytest
from conftest import Book, Server, missing
from services.ferretdb import FerretDB
from services.mongod import Mongod
from services.postgres import Missing
from services.proxy import Proxy, mongodb_messages

STRIDE = 1 if os.environ.get("DAYBOOK_EXHAUST") else 97
SETTINGS = "database: documents\nsync: events\nsource: [thing]\non_error: set-aside\n"
COMMANDS = {
    "schema": "".join(f'{{"create": "{{gen}}{name}"}}\n' for name in ("A", "B", "C", "D", "E")),
    "Begun": '{"insert": "{gen}A", "documents": [{"_id": ":_stream", "n": 0, "log": ["b"]}]}\n'
             '{"insert": "{gen}C", "documents": [{"_id": ":_stream", "n": 0}]}\n'
             '{"insert": "{gen}E", "documents": [{"_id": ":_stream", "n": 0}]}\n',
    # A text can be added to nothing, and a key that is there is refused. One document is changed
    # twice, one is made, one goes, one is put in place of what was there.
    "Moved": '{"update": "{gen}A", "updates": [{"q": {"_id": ":_stream"},\n'
             '  "u": {"$inc": {"n": ":first"}, "$push": {"log": "m"}}}]}\n'
             '{"update": "{gen}B", "updates": [{"q": {"_id": ":to"},\n'
             '  "u": {"$inc": {"n": ":second"}}, "upsert": true}]}\n'
             '{"delete": "{gen}C", "deletes": [{"q": {"_id": ":_stream"}, "limit": 1}]}\n'
             '{"update": "{gen}A", "updates": [{"q": {"_id": ":_stream"},\n'
             '  "u": {"$inc": {"n": ":third"}}}]}\n'
             '{"insert": "{gen}D", "documents": [{"_id": ":fourth"}]}\n'
             '{"update": "{gen}E", "updates": [{"q": {"_id": ":_stream"}, "u": {"at": ":to"}},\n'
             '  {"q": {"_id": ":_stream"}, "u": {"$inc": {"n": ":fifth"}}}]}\n',
}
FAILS = ("first", "second", "third", "fourth", "fifth")


def moved(number, to, fails=None):
    data = {"to": to, "first": 1, "second": 1, "third": 10, "fourth": number, "fifth": 100}
    if fails == "fourth":
        data["fourth"] = 1  # is there
    elif fails:
        data[fails] = "none"
    return {"stream": "thing-1", "type": "Moved", "data": data}


def events_of(fails):
    """The third cannot be posted; those beside it change the same documents."""
    return [{"stream": "thing-1", "type": "Begun", "data": {}}, moved(1, "x"),
            moved(2, "y", fails), moved(3, "y"), moved(4, "x")]


def oracle(posted):
    """posted: the Moved that are in, in their order."""
    state = {"A": {"thing-1": {"_id": "thing-1", "n": 0, "log": ["b"]}},
             "B": {}, "C": {"thing-1": {"_id": "thing-1", "n": 0}}, "D": {},
             "E": {"thing-1": {"_id": "thing-1", "n": 0}}}
    for event in posted:
        data = event["data"]
        state["A"]["thing-1"]["n"] += data["first"] + data["third"]
        state["A"]["thing-1"]["log"].append("m")
        state["B"].setdefault(data["to"], {"_id": data["to"], "n": 0})["n"] += data["second"]
        state["C"] = {}
        state["D"][data["fourth"]] = {"_id": data["fourth"]}
        state["E"]["thing-1"] = {"_id": "thing-1", "at": data["to"], "n": data["fifth"]}
    return state


def documents_of(server):
    return {name: {one["_id"]: one for one in server.find(f"things__g1_{name}")}
            for name in "ABCDE"}


@pytest.fixture(scope="module", params=["alone", "ferretdb"])
def target(request):
    try:
        made = Mongod(transactions=False) if request.param == "alone" else FerretDB()
    except Missing as why:
        missing(str(why))
    yield made
    made.close()


def write_book(binary, folder, connection):
    model = folder / "models" / "things"
    model.mkdir(parents=True)
    (folder / "secret").write_text(connection + "\n", encoding="utf-8")
    (folder / "book.yaml").write_text("book: things\nschema: off\ndatabases:\n"
                                      "  documents: mongodb:file:secret\n", encoding="utf-8")
    (model / "model.yaml").write_text(SETTINGS, encoding="utf-8")
    for name, text in COMMANDS.items():
        (model / f"{name}.json").write_text(text, encoding="utf-8")
    return Book(binary, folder, folder.parent / "data")


def settle(server, position, mend=lambda: None):
    """Of a daemon that may be killed meanwhile: the one that is there at the end."""
    end = time.monotonic() + 30
    while True:
        mend()
        try:
            found = server.get("/models/things").json
            if found["position"] >= position and found["state"] == "following":
                return server
            assert time.monotonic() < end, found
        except (OSError, http.client.HTTPException):
            server.process.wait(30)
            server.process.communicate()
            server = Server(server.book)
        time.sleep(0.01)


def append(server, events):
    """With ids: what a killed daemon did not answer is sent again, and stored once."""
    body = {"events": [event | {"id": str(uuid.uuid4())} for event in events]}
    while True:
        try:
            return server, server.post("/events", body).json["position"]
        except (OSError, http.client.HTTPException):
            server.process.wait(30)
            server.process.communicate()
            server = Server(server.book)


def strike(kind, target, proxy, server, message, killed):
    """killed gets what is to be started again."""
    if kind in ("before", "behind"):
        proxy.arm(message, after=kind == "behind")
    elif kind == "daemon":
        proxy.arm(message, after=message % 2 == 1, action=server.process.kill)
    else:
        proxy.arm(message, after=message % 2 == 1, action=lambda: killed.append(target.kill()))


def one_case(binary, folder, target, fails, kind, message):
    """False: so many messages are not sent."""
    target.clear()
    proxy = Proxy(target.port, mongodb_messages)
    book = write_book(binary, folder / "book", target.connection(proxy.port))
    server = Server(book)
    killed = []

    def mend():
        while killed:
            target.start()
            killed.pop()

    try:
        settle(server, 0)
        events = events_of(fails)
        strike(kind, target, proxy, server, message, killed)
        server, last = append(server, events)
        server = settle(server, last, mend)
        struck = proxy.cuts > 0
        proxy.arm(None)
        time.sleep(0.02)
        server = settle(server, last, mend)  # it went with the last message
        good = [event for event in events[1:] if event is not events[2]]
        assert documents_of(target) == oracle(good), (fails, kind, message)
        letters = server.get("/models/things/letters").json["letters"]
        assert [letter["position"] for letter in letters] == [last - 2], (fails, kind, message)
        return struck
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()
        proxy.close()


@pytest.mark.parametrize("kind", ["before", "behind", "daemon", "server"])
@pytest.mark.parametrize("target", ["alone"], indirect=True)
def test_whichever_command_fails_nothing_of_its_event_is_left(kind, target, binary, tmp_path):
    cases = 0
    for which, fails in enumerate(FAILS):
        message = 1 + (which * 3 + len(kind)) % STRIDE
        while one_case(binary, tmp_path / f"{fails}-{message}", target, fails, kind, message):
            cases, message = cases + 1, message + STRIDE
    print(f"{kind}: {cases} cases")
    assert cases >= 2


@pytest.mark.parametrize("target", ["ferretdb"], indirect=True)
def test_a_real_server_is_left_so_too(target, binary, tmp_path):
    for number, kind in enumerate(["before", "behind", "daemon", "server"]):
        fails = FAILS[number % len(FAILS)]
        assert one_case(binary, tmp_path / str(number), target, fails, kind, 10 + number * 12)


@pytest.mark.parametrize("target", ["alone"], indirect=True)
def test_a_letter_is_posted_once_wherever_its_retry_is_cut(target, binary, tmp_path):
    """Its handler was mended: it is posted behind what came later, or stays a letter, whole."""
    for after in (False, True):
        message = 1 + after * 3
        while True:
            target.clear()
            proxy = Proxy(target.port, mongodb_messages)
            book = write_book(binary, tmp_path / f"{after}-{message}" / "book",
                              target.connection(proxy.port))
            server = Server(book)
            try:
                settle(server, 0)
                events = events_of("fourth")
                last = server.post("/events", {"events": events}).json["position"]
                settle(server, last)
                # The key that was in the way goes.
                with target.lock:
                    del target.collections[("documents", "things__g1_D")]["1"]
                expected = oracle([event for event in events[1:] if event is not events[2]])
                del expected["D"][1]
                assert documents_of(target) == expected
                proxy.arm(message, after=after)
                answer = server.post("/models/things/letters/retry")
                struck = proxy.cuts > 0
                proxy.arm(None)
                if answer.status != 200 or answer.json["retried"] == 0:
                    left = server.get("/models/things/letters").json["letters"]
                    if left:
                        settle(server, last)
                        answer = server.post("/models/things/letters/retry")
                        assert answer.json["retried"] in (0, 1), answer
                settle(server, last)
                done = oracle([events[1], events[3], events[4], events[2]])
                assert documents_of(target) == done, (after, message)
                assert server.get("/models/things/letters").json["letters"] == []
                # Events go on behind it.
                last = server.post("/events", {"events": [moved(9, "z")]}).json["position"]
                settle(server, last)
                done = oracle([events[1], events[3], events[4], events[2], moved(9, "z")])
                assert documents_of(target) == done, (after, message)
            finally:
                server.kill()
                proxy.close()
            if not struck:
                break
            message += min(STRIDE, 5)
        assert message > 10
