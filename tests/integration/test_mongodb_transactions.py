# SPDX-License-Identifier: Apache-2.0
"""Read models on a MongoDB server with transactions, which a program of ours stands in for
(tests/services/mongod.py): no real one can be had here. At every command the server is sent, its
documents are exactly those of the events up to the model's position."""
import json
import time

import pytest
from conftest import Book, Server
from services.bson import Date, Int32
from services.mongod import Mongod, Refused
from services.proxy import Proxy, mongodb_messages
from test_mongodb import (append, documents_of, events_of, oracle, status_of, wait_for, write_book,
                          write_owners)


@pytest.fixture
def mongod():
    server = Mongod()
    yield server
    server.close()


@pytest.fixture
def book(binary, tmp_path, mongod):
    folder = tmp_path / "book"
    write_book(folder, mongod.connection())
    return Book(binary, folder, tmp_path / "data")


class Watch:
    """Looks at what is committed whenever a command arrives."""

    def __init__(self, mongod, events):
        self.mongod = mongod
        self.events = events
        self.seen = set()
        self.wrong = []
        mongod.before = self

    def __call__(self, command):
        position = [one["position"] for one in self.mongod.find("_daybook_models")
                    if one.get("generation") == 1]
        if not position:
            return
        self.seen.add(position[0])
        if documents_of(self.mongod) != oracle(self.events[:position[0]]):
            self.wrong.append(position[0])


def test_documents_and_position_are_one(book, mongod):
    events = events_of(11)
    watch = Watch(mongod, events)
    server = Server(book)
    try:
        last = append(server, events, size=20)
        wait_for(lambda: status_of(server)["position"] >= last)
        assert status_of(server)["mode"] == "transaction"
        assert mongod.commits > 0 and not watch.wrong and len(watch.seen) > 2
        assert documents_of(mongod) == oracle(events)
        assert server.post("/models/accounts/rebuild").status == 200
        wait_for(lambda: status_of(server)["generation"] == 2)
        assert documents_of(mongod, 2) == oracle(events)
        wait_for(lambda: not mongod.find("accounts__g1_Account"))
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "behind"])
def test_a_connection_cut_at_every_message(book, mongod, after):
    events = events_of(12, count=900)
    watch = Watch(mongod, events)
    proxy = Proxy(mongod.port, mongodb_messages)
    secret = book.folder / "secrets" / "documents"
    secret.write_text(mongod.connection(port=proxy.port) + "\n", encoding="utf-8")
    server = Server(book)
    try:
        size = 30
        for number, at in enumerate(range(0, len(events), size)):
            proxy.arm(number % 14 + 1, after=after, reset=number % 2 == 1)
            last = append(server, events[at:at + size], size=size)
            wait_for(lambda last=last: status_of(server)["position"] >= last)
        assert proxy.cuts >= 10 and not watch.wrong
        assert documents_of(mongod) == oracle(events)
        assert status_of(server)["failures"] == 0
        assert status_of(server)["mode"] == "transaction"
    finally:
        assert server.stop() == 0
        proxy.close()


def test_a_kill_of_either_side_loses_and_doubles_nothing(book, mongod):
    events = events_of(13, count=600)
    watch = Watch(mongod, events)
    server = Server(book)
    try:
        for at in range(0, len(events), 60):
            append(server, events[at:at + 60], size=7)
            if at % 180 == 60:
                mongod.kill()
                time.sleep(0.3)
                mongod.start()
            else:
                server.kill()
                server = Server(book)
        wait_for(lambda: status_of(server)["lag_events"] == 0)
        assert not watch.wrong
        assert documents_of(mongod) == oracle(events)
    finally:
        assert server.stop() == 0


def test_a_conflict_of_transactions_is_tried_again(book, mongod):
    events = events_of(14, count=40)
    left = [3]

    def conflict(command):
        if "commitTransaction" in command and left[0] > 0:
            left[0] -= 1
            mongod.open.clear()
            raise Refused(112, "WriteConflict", "WriteConflict", ["TransientTransactionError"])

    server = Server(book)
    try:
        wait_for(lambda: status_of(server)["mode"] == "transaction")
        mongod.before = conflict
        last = append(server, events)
        wait_for(lambda: status_of(server)["position"] >= last)
        assert left == [0] and status_of(server)["retries"] >= 3
        assert documents_of(mongod) == oracle(events)
    finally:
        assert server.stop() == 0


def test_a_handler_that_fails_takes_its_event_back(book, mongod):
    handler = book.folder / "models" / "accounts" / "Withdrawn.json"
    handler.write_text('{"update": "{gen}Account", "updates": [\n'
                       '  {"q": {"_id": ":_stream"}, "u": {"$inc": {"events": 1}}}]}\n'
                       '{"insert": "{gen}Account", "documents": [{"_id": ":_stream"}]}\n',
                       encoding="utf-8")
    events = [{"stream": "account-1", "type": "AccountOpened", "data": {"id": "1"}},
              {"stream": "account-1", "type": "Deposited", "data": {"amount": 5}},
              {"stream": "account-1", "type": "Withdrawn", "data": {"amount": 2}}]
    server = Server(book)
    try:
        append(server, events)
        wait_for(lambda: status_of(server)["state"] == "stopped")
        text = json.dumps(status_of(server))
        assert "Withdrawn.json:3" in text and "E11000" in text, text
        assert status_of(server)["position"] == 2
        assert documents_of(mongod) == oracle(events[:2])
    finally:
        assert server.stop() == 0


def test_a_collection_that_no_transaction_writes_to_stops_the_model(book, mongod):
    """A capped one, say. It is no fault of the event, which does not become a letter."""
    path = book.folder / "models" / "accounts" / "model.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "on_error: set-aside\n", encoding="utf-8")

    def before(command):
        if command.get("update", "").startswith("accounts__"):
            raise Refused(263, "OperationNotSupportedInTransaction",
                          "Collection 'documents.x' is a capped collection. Writes in "
                          "transactions are not allowed on capped collections.")
    mongod.before = before
    server = Server(book)
    try:
        append(server, events_of(3, count=5))
        wait_for(lambda: status_of(server)["error"])
        error = status_of(server)["error"]
        assert "create it in the model's schema.json, without `capped`" in error, error
        assert status_of(server)["state"] == "stopped" and status_of(server)["letters"] == 0
    finally:
        assert server.stop() == 0


def test_a_batch_cut_without_transactions_is_finished_with_them(book, mongod):
    events = events_of(15, count=80)
    mongod.transactions = False
    proxy = Proxy(mongod.port, mongodb_messages)
    secret = book.folder / "secrets" / "documents"
    secret.write_text(mongod.connection(port=proxy.port) + "\n", encoding="utf-8")
    server = Server(book)
    try:
        wait_for(lambda: status_of(server)["mode"] == "guarded")

        def becomes(command):
            if "update" in command and command["update"] == "_daybook_models":
                mongod.transactions = True
                mongod.before = None
                raise OSError("the connection is gone before the position is set")

        mongod.before = becomes
        last = append(server, events)
        wait_for(lambda: status_of(server)["position"] >= last)
        assert status_of(server)["mode"] == "transaction"
        assert documents_of(mongod) == oracle(events)
    finally:
        assert server.stop() == 0
        proxy.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "behind"])
def test_a_swap_whose_answer_is_lost_is_looked_for(book, mongod, after):
    events = events_of(18, count=60)
    server = Server(book)
    try:
        last = append(server, events[:40])
        wait_for(lambda: status_of(server)["position"] >= last)

        def cut(command):
            if command.get("update") != "_daybook_serving":
                return
            mongod.before = None
            if after:
                with mongod.lock:
                    mongod.run(command)
            raise OSError("the connection is gone")

        mongod.before = cut
        assert server.post("/models/accounts/rebuild").status >= 500
        last = append(server, events[40:])
        generation = 2 if after else 1
        wait_for(lambda: status_of(server)["position"] >= last)
        assert status_of(server)["generation"] == generation
        assert documents_of(mongod, generation) == oracle(events)
        assert server.post("/models/accounts/rebuild").status == 200
        now = status_of(server)["generation"]
        assert now > generation and documents_of(mongod, now) == oracle(events)
        wait_for(lambda: not mongod.find(f"accounts__g{generation}_Account"))
    finally:
        assert server.stop() == 0


class Forgetful(Mongod):
    """It takes what says that a command is of a transaction, and does it at once."""

    def state_of(self, command):
        return self.collections

    def end(self, command, commits):
        return {"ok": 1.0}


@pytest.mark.parametrize("kind", ["alone", "forgetful"])
def test_transactions_are_tried_and_not_believed(book, kind):
    server = Mongod(transactions=False) if kind == "alone" else Forgetful()
    (book.folder / "secrets" / "documents").write_text(server.connection() + "\n",
                                                       encoding="utf-8")
    events = events_of(16, count=40)
    daemon = Server(book)
    try:
        last = append(daemon, events)
        wait_for(lambda: status_of(daemon)["position"] >= last)
        assert status_of(daemon)["mode"] == "guarded"
        assert documents_of(server) == oracle(events)
        assert [one["_id"] for one in server.find("_daybook_models")] == ["accounts:1"]
    finally:
        assert daemon.stop() == 0
        server.close()


class Old(Mongod):
    def hello(self):
        return super().hello() | {"maxWireVersion": 3}


def refuse(code, name, text):
    def before(command):
        if not {"hello", "isMaster", "ismaster"} & set(command):
            raise Refused(code, name, text)
    return before


@pytest.mark.parametrize("kind,words", [
    ("old", "3.6 or later is needed"), ("password", "check user, password and authSource"),
    ("rights", "give the user the role readWrite"), ("primary", "not primary")])
def test_what_a_server_refuses_is_named(book, kind, words):
    server = Old() if kind == "old" else Mongod()
    server.before = {
        "old": None, "password": refuse(18, "AuthenticationFailed", "Authentication failed."),
        "rights": refuse(13, "Unauthorized", "not authorized on documents to execute command"),
        "primary": refuse(10107, "NotWritablePrimary", "not primary")}[kind]
    login = "daybook:geheim42@" if kind == "password" else ""
    (book.folder / "secrets" / "documents").write_text(
        server.connection().replace("//", "//" + login) + "\n", encoding="utf-8")
    daemon = Server(book)
    try:
        append(daemon, events_of(17, count=5))
        wait_for(lambda: words in json.dumps(status_of(daemon)))
        assert "geheim42" not in json.dumps(status_of(daemon))
        assert status_of(daemon)["state"] != "stopped"
        if kind != "old":
            server.before = None
        if kind in ("rights", "primary"):
            wait_for(lambda: status_of(daemon)["lag_events"] == 0)
    finally:
        assert daemon.stop() == 0
        server.close()


def test_a_date_that_no_text_can_be_made_of_is_named(book, mongod):
    """The years 1 and 9999 are written to their last millisecond; what is beyond fails the query,
    of nested ones the extended JSON has the number."""
    (book.folder / "queries" / "GetDates.json").write_text(
        '// database: documents\n{"find": "{accounts}Account", "filter": {"_id": ":account"},\n'
        ' "projection": {"_id": 0, "opened": 1, "nested": 1}}\n', encoding="utf-8")
    (book.folder / "queries" / "GetWhole.json").write_text(
        '// database: documents\n{"find": "{accounts}Account", "filter": {"_id": ":account"}}\n',
        encoding="utf-8")
    first, last = -62135596800000, 253402300799999
    server = Server(book)
    try:
        wait_for(lambda: status_of(server)["mode"] == "transaction")
        kept = mongod.collections[("documents", "accounts__g1_Account")]
        for ms in (first, last, first - 1, last + 1, -2**63, 2**63 - 1):
            with mongod.lock:
                kept.clear()
                kept["x"] = {"_id": "x", "opened": Date(ms), "nested": {"at": Date(ms)}}
            answer = server.get("/queries/GetDates?account=x")
            if first <= ms <= last:
                row, = answer.json["rows"]
                assert row["opened"] == ("0001-01-01T00:00:00Z" if ms == first
                                         else "9999-12-31T23:59:59.999000Z")
            else:
                assert answer.status >= 400 and "the column `opened`" in answer.text, answer
                assert "years 1 to 9999" in answer.text and str(ms) in answer.text
            whole = server.get("/queries/GetWhole?account=x")
            assert whole.status == 200 and "opened" in whole.text, whole
    finally:
        assert server.stop() == 0


WRITES = {"insert", "update", "delete", "create", "createIndexes", "drop"}


@pytest.mark.parametrize("transactions", [False, True], ids=["guarded", "transaction"])
@pytest.mark.parametrize("asked,concern", [
    ("", {"w": "majority"}), ("?w=1&journal=true", {"w": 1, "j": True}),
    ("?wtimeoutMS=700", {"w": "majority", "wtimeout": 700})], ids=["majority", "own", "timeout"])
def test_all_that_writes_says_how_it_is_to_be_confirmed(book, mongod, transactions, asked, concern):
    """Schemas, batches, positions, catalog, swap, drop and purge; in a transaction its commit."""
    mongod.transactions = transactions
    sent = []
    mongod.before = sent.append
    (book.folder / "secrets" / "documents").write_text(mongod.connection() + asked + "\n",
                                                       encoding="utf-8")
    write_owners(book, "purge.json")
    server = Server(book)
    try:
        append(server, events_of(21, count=30))
        last = append(server, [{"stream": "account-0", "type": "OwnerNamed",
                                "data": {"customer": "c-1", "owner": "Marker"}}])
        for model in ("accounts", "owners"):
            wait_for(lambda model=model: status_of(server, model)["position"] >= last)
        assert server.post("/models/accounts/rebuild").status == 200
        assert server.post("/subjects/c-1/forget?wait=true").status in (200, 201, 202)
        wait_for(lambda: "Marker" not in str(mongod.collections))
        wait_for(lambda: any("drop" in one for one in sent))
        wait_for(lambda: any(one.get("update") == "_daybook_models" and
                             "forgotten" in one["updates"][0]["u"]["$set"] for one in sent))
    finally:
        assert server.stop() == 0
    within = [one for one in sent if "txnNumber" in one and WRITES & set(one)]
    alone = [one for one in sent if "txnNumber" not in one and WRITES & set(one)]
    commits = [one for one in sent if "commitTransaction" in one]
    assert bool(commits) == transactions
    names = {next(iter(one)) for one in alone}
    assert names >= {"update", "delete", "create", "createIndexes", "drop"}, names
    assert {one["update"] for one in alone if "update" in one} >= {
        "_daybook_models", "_daybook_serving", "owners__g1_Owner"}
    assert {"accounts__g1_Account", "accounts__g2_Account", "_daybook_models"} <= {
        one.get("update") for one in (within if transactions else alone)}
    assert [one for one in alone + commits if one.get("writeConcern") != concern] == []
    # Of the model's own documents what a majority has is read, where it confirms what is written;
    # but for whether a probe was kept.
    reads = [one for one in sent if one.get("find", "").startswith("_daybook_") and
             "probe:" not in str(one["filter"])]
    majority = {"level": "majority"} if transactions and concern["w"] == "majority" else None
    assert {one["find"] for one in reads} == {"_daybook_models", "_daybook_serving",
                                              "_daybook_undo"}
    assert [one for one in reads if one.get("readConcern") != majority] == []


UNCONFIRMED = {"code": 64, "codeName": "WriteConcernFailed",
               "errmsg": "waiting for replication timed out", "errInfo": {"wtimeout": True}}


def tells(text):
    return "waiting for replication timed out" in text and "does not confirm writes" in text


class Unconfirmed:
    """The write is done, and the answer says so, but that most members have it is not known."""

    def __init__(self, mongod, what, times=None):
        self.what, self.left = what, times
        self.count = 0
        mongod.after = self

    def __call__(self, command, reply):
        if self.what(command) and self.left != 0:
            self.left = None if self.left is None else self.left - 1
            self.count += 1
            reply["writeConcernError"] = UNCONFIRMED


@pytest.mark.parametrize("target", ["accounts__g1_Account", "create"])
def test_what_is_not_confirmed_is_tried_until_it_is(book, mongod, target):
    mongod.transactions = False
    events = events_of(22, count=60)
    refused = Unconfirmed(mongod, lambda one: target in (next(iter(one)), one.get("update")))
    server = Server(book)
    try:
        last = append(server, events)
        wait_for(lambda: tells(json.dumps(status_of(server))) and refused.count >= 3)
        assert status_of(server).get("position", 0) == 0
        mongod.after = None
        wait_for(lambda: status_of(server).get("position", 0) >= last)
        assert documents_of(mongod) == oracle(events)
        assert status_of(server)["failures"] == 0
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("target", ["position", "commitTransaction"])
def test_a_position_that_is_not_confirmed_is_asked_for(book, mongod, target):
    """What moved is not moved again: the next batch begins behind it."""
    mongod.transactions = target == "commitTransaction"
    events = events_of(25, count=60)
    server = Server(book)
    try:
        wait_for(lambda: status_of(server).get("mode") is not None)
        refused = Unconfirmed(mongod, lambda one: target in one or (
            one.get("update") == "_daybook_models" and target in one["updates"][0]["q"]), times=1)
        last = append(server, events)
        wait_for(lambda: status_of(server).get("position", 0) >= last and refused.left == 0)
        assert status_of(server)["retries"] >= 1 and status_of(server)["failures"] == 0
        assert documents_of(mongod) == oracle(events)
    finally:
        assert server.stop() == 0


def test_a_swap_that_is_not_confirmed_is_told_and_asked_for(book, mongod):
    events = events_of(26, count=60)
    server = Server(book)
    try:
        last = append(server, events)
        wait_for(lambda: status_of(server)["position"] >= last)
        Unconfirmed(mongod, lambda one: one.get("update") == "_daybook_serving", times=1)
        answer = server.post("/models/accounts/rebuild")
        assert answer.status >= 500 and tells(answer.text), answer
        wait_for(lambda: status_of(server)["generation"] == 2)
        assert documents_of(mongod, 2) == oracle(events)
    finally:
        assert server.stop() == 0


def test_a_purge_that_is_not_confirmed_is_done_again(book, mongod):
    write_owners(book, "purge.json")
    server = Server(book)
    try:
        last = append(server, [{"stream": f"account-{n}", "type": "OwnerNamed",
                                "data": {"customer": f"c-{n}", "owner": f"Marker{n}"}}
                               for n in range(2)])
        wait_for(lambda: status_of(server, "owners").get("position", 0) >= last)
        sent = []
        mongod.before = sent.append
        refused = Unconfirmed(mongod, lambda one: one.get("update") == "owners__g1_Owner" and
                              "txnNumber" not in one, times=2)
        server.post("/subjects/c-1/forget?wait=true")
        wait_for(lambda: [one for one in mongod.find("_daybook_models")
                          if one["model"] == "owners" and one.get("forgotten")])
        assert refused.left == 0
        purges = [one for one in sent if one.get("update") == "owners__g1_Owner"]
        assert len(purges) >= 3, purges
        assert "Marker1" not in str(mongod.collections) and "Marker0" in str(mongod.collections)
    finally:
        assert server.stop() == 0


def test_a_string_that_asks_for_no_answers_is_refused(book, mongod):
    (book.folder / "secrets" / "documents").write_text(mongod.connection() + "?w=0\n",
                                                       encoding="utf-8")
    server = Server(book)
    try:
        wait_for(lambda: "the connection string has w=0" in json.dumps(status_of(server)))
        assert not mongod.collections
        (book.folder / "secrets" / "documents").write_text(mongod.connection() + "\n",
                                                           encoding="utf-8")
        last = append(server, events_of(23, count=5))
        wait_for(lambda: status_of(server).get("position", 0) >= last)
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("transactions", [False, True], ids=["guarded", "transaction"])
@pytest.mark.parametrize("options", ["replicaSet=rs0&readPreference=secondary",
                                     "readPreference=secondaryPreferred"], ids=["set", "alone"])
def test_all_is_read_from_the_primary(book, mongod, transactions, options):
    """What the string says of reading is another's: a secondary knows too little of what was done.
    The batch that is cut has its guards read."""
    if options.startswith("replicaSet") and not transactions:
        mongod.hello = lambda: Mongod.hello(mongod) | {
            "setName": "rs0", "hosts": [f"127.0.0.1:{mongod.port}"],
            "me": f"127.0.0.1:{mongod.port}", "primary": f"127.0.0.1:{mongod.port}",
            "setVersion": Int32(1)}
    mongod.transactions = transactions
    events, asked, cut = events_of(24, count=60), [], [not transactions]

    def look(command):
        if {"find", "listCollections", "insert", "update", "delete"} & set(command):
            asked.append(command)
        if cut[0] and command.get("update") == "_daybook_models" and \
                "position" in command["updates"][0]["q"]:
            cut[0] = False
            raise OSError("the connection is gone before the position is set")

    mongod.before = look
    (book.folder / "secrets" / "documents").write_text(f"{mongod.connection()}?{options}\n",
                                                       encoding="utf-8")
    server = Server(book)
    try:
        last = append(server, events)
        wait_for(lambda: status_of(server).get("position", 0) >= last)
        assert cut == [False] and documents_of(mongod) == oracle(events)
        assert server.get(f"/queries/GetAccount?account=account-1&after={last}").status == 200
        assert server.post("/models/accounts/rebuild").status == 200
        wait_for(lambda: not mongod.find("accounts__g1_Account"))
    finally:
        assert server.stop() == 0
    names = {one["find"] for one in asked if "find" in one}
    assert names >= {"_daybook_models", "_daybook_serving"} and (
        transactions or "accounts__g1_Account" in names)
    # libmongoc asks a server that it is connected to directly so that a secondary answers, too.
    modes = {one.get("$readPreference", {}).get("mode", "primary") for one in asked}
    assert modes <= {"primary", "primaryPreferred"}, modes
    if options.startswith("replicaSet"):
        assert modes == {"primary"}


@pytest.mark.parametrize("transactions", [False, True], ids=["guarded", "transaction"])
def test_a_batch_ends_before_its_changes_are_too_large(book, mongod, transactions):
    """Ten changes of 1 MB for each event: what waits for a commit is 64 MiB and one event's, where
    a batch of all the events would be over the bound of 256 MiB."""
    mongod.transactions = transactions
    update = '{"q": {"_id": ":_stream"}, "u": {"$set": {"text": ":text"}}, "upsert": true}'
    (book.folder / "models" / "accounts" / "Noted.json").write_text(
        '{"update": "{gen}Note", "updates": [' + ", ".join([update] * 10) + "]}\n",
        encoding="utf-8")
    count, moves = 30, []

    def look(command):
        if command.get("update") == "_daybook_models":
            one = command["updates"][0]
            if "position" in one["q"]:
                moves.append(one["u"]["$set"]["position"])

    server = Server(book)
    try:
        wait_for(lambda: status_of(server).get("mode") is not None)
        mongod.before = look
        mongod.kill()
        texts = [f"{number} " + "x" * 1_000_000 for number in range(count)]
        last = append(server, [{"stream": f"account-{number % 3}", "type": "Noted",
                                "data": {"text": text}} for number, text in enumerate(texts)],
                      size=10)
        mongod.start()
        wait_for(lambda: status_of(server)["position"] >= last)
        assert status_of(server)["failures"] == 0
    finally:
        assert server.stop() == 0
    assert {one["_id"]: one["text"] for one in mongod.find("accounts__g1_Note")} == {
        f"account-{number % 3}": texts[number] for number in range(count - 3, count)}
    assert moves == sorted(set(moves)) and moves[-1] == last
    steps = [now - before for before, now in zip([0] + moves, moves)]
    assert max(steps) <= 7, steps
