# SPDX-License-Identifier: Apache-2.0
"""Read models in MongoDB, on a real server without transactions (FerretDB): the same documents as
an oracle's, exactly once, whatever is killed or cut meanwhile; and what goes wrong is named."""
import json
import random
import shutil
import threading
import time

import pytest
from conftest import BANK, Book, Server, missing
from services.ferretdb import FerretDB
from services.postgres import Missing
from services.proxy import Proxy, mongodb_messages

MODEL = """database: documents
sync: events
source: [account]
"""
SCHEMA = """// what handlers write
{"create": "{gen}Account"}
{"create": "{gen}Amount"}
{"create": "{gen}Note"}
{"createIndexes": "{gen}Account", "indexes": [{"key": {"balance": 1}, "name": "by_balance"}]}
"""
HANDLERS = {
    "AccountOpened": """// a document of its own
{"insert": "{gen}Account", "documents": [
  {"_id": ":_stream", "balance": 0, "events": 1, "log": ["o"], "fresh": true,
   "opened": {"$date": ":_time"}}]}
""",
    "Deposited": """
{"update": "{gen}Account", "updates": [
  {"q": {"_id": ":_stream"},
   "u": {"$inc": {"balance": ":amount", "events": 1}, "$push": {"log": "d"}}}]}
{"update": "{gen}Amount", "updates": [
  {"q": {"_id": ":amount"}, "u": {"$inc": {"times": 1}}, "upsert": true}]}
""",
    "Withdrawn": """
{"update": "{gen}Account", "updates": [
  {"q": {"_id": ":_stream"}, "u": {"$inc": {"events": 1}, "$push": {"log": "w"}}},
  {"q": {"_id": ":_stream"}, "u": {"$inc": {"balance": 0}, "$set": {"last": ":amount"}}}]}
{"delete": "{gen}Note", "deletes": [{"q": {"_id": ":_stream"}, "limit": 1}]}
""",
    "Noted": """
{"update": "{gen}Note", "updates": [
  {"q": {"_id": ":_stream"}, "u": {"text": ":text", "more": ":more", "is": "::text"},
   "upsert": true}]}
""",
}
QUERY = """// database: documents
{"find": "{accounts}Account", "filter": {"_id": ":account"},
 "projection": {"_id": 0, "balance": 1, "events": 1, "log": 1}}
"""
FRESH = """// database: documents
{"find": "{accounts}Account", "filter": {"fresh": ":fresh"}, "projection": {"_id": 1}}
"""
SUM = """// database: documents
{"aggregate": "{accounts}Account", "pipeline": [
  {"$match": {"events": {"$gte": ":least"}}},
  {"$group": {"_id": null, "events": {"$sum": "$events"}}}]}
"""


@pytest.fixture(scope="module")
def ferretdb():
    try:
        server = FerretDB()
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


def write_book(folder, connection):
    shutil.copytree(BANK, folder, ignore=shutil.ignore_patterns("data"))
    (folder / "secrets").mkdir()
    (folder / "secrets" / "documents").write_text(connection + "\n", encoding="utf-8")
    (folder / "book.yaml").write_text(
        "book: bank\nschema: off\ndatabases:\n  reading: sqlite:reading.db\n"
        "  documents: mongodb:file:secrets/documents\n", encoding="utf-8")
    for file in folder.glob("queries/*.sql"):
        file.write_text("-- database: reading\n" + file.read_text(encoding="utf-8"),
                        encoding="utf-8")
    model = folder / "models" / "accounts"
    model.mkdir()
    (model / "model.yaml").write_text(MODEL, encoding="utf-8")
    (model / "schema.json").write_text(SCHEMA, encoding="utf-8")
    for name, text in HANDLERS.items():
        (model / f"{name}.json").write_text(text, encoding="utf-8")
    (folder / "queries" / "GetAccount.json").write_text(QUERY, encoding="utf-8")
    (folder / "queries" / "GetFresh.json").write_text(FRESH, encoding="utf-8")
    (folder / "queries" / "GetSum.json").write_text(SUM, encoding="utf-8")


@pytest.fixture
def book(binary, tmp_path, ferretdb):
    ferretdb.clear()
    folder = tmp_path / "book"
    write_book(folder, ferretdb.connection())
    return Book(binary, folder, tmp_path / "data")


def events_of(seed, accounts=5, count=300):
    """Events for an append, with documents that come and go; none overdraws an account."""
    chance, left = random.Random(seed), {}
    events = [{"stream": f"account-{n}", "type": "AccountOpened", "data": {"id": str(n)}}
              for n in range(accounts)]
    for number in range(count):
        stream = f"account-{chance.randrange(accounts)}"
        kind = chance.choice(["Deposited", "Withdrawn", "Noted"])
        data = {"amount": chance.randrange(1, 20)}
        if kind == "Withdrawn" and left.get(stream, 0) < data["amount"]:
            kind = "Deposited"
        left[stream] = left.get(stream, 0) + {"Deposited": 1, "Withdrawn": -1, "Noted": 0}[kind] * \
            data["amount"]
        if kind == "Noted":
            data = {"text": f"$note {number}", "more": [number, {"a": 1.5, "b": [None, True]}]}
        events.append({"stream": stream, "type": kind, "data": data})
    return events


def oracle(events):
    accounts, amounts, notes = {}, {}, {}
    for event in events:
        stream, kind, data = event["stream"], event["type"], event["data"]
        if kind == "AccountOpened":
            accounts[stream] = {"_id": stream, "balance": 0, "events": 1, "log": ["o"],
                                "fresh": True}
            continue
        account = accounts[stream]
        if kind == "Noted":
            notes[stream] = {"_id": stream, "text": data["text"], "more": data["more"],
                             "is": ":text"}
            continue
        account["events"] += 1
        if kind == "Deposited":
            account["balance"] += data["amount"]
            account["log"].append("d")
            amounts[data["amount"]] = amounts.get(data["amount"], 0) + 1
        else:
            account["log"].append("w")
            account["last"] = data["amount"]
            notes.pop(stream, None)
    return accounts, amounts, notes


def documents_of(server, generation=1):
    accounts = {}
    for document in server.find(f"accounts__g{generation}_Account"):
        assert document.pop("opened").ms > 1_600_000_000_000
        accounts[document["_id"]] = document
    amounts = {one["_id"]: one["times"] for one in server.find(f"accounts__g{generation}_Amount")}
    notes = {one["_id"]: one for one in server.find(f"accounts__g{generation}_Note")}
    return accounts, amounts, notes


def append(server, events, size=100):
    last = 0
    for at in range(0, len(events), size):
        answer = server.post("/events", {"events": events[at:at + size]},
                             headers={"Content-Type": "application/json"})
        assert answer.status in (200, 201), answer
        last = answer.json["position"]
    return last


def status_of(server, model="accounts"):
    return server.get(f"/models/{model}").json


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def test_it_holds_what_the_oracle_holds_and_is_rebuilt(book, ferretdb):
    events = events_of(1)
    server = Server(book)
    try:
        last = append(server, events)
        wait_for(lambda: status_of(server)["position"] >= last)
        assert status_of(server)["mode"] == "guarded"
        assert documents_of(ferretdb) == oracle(events)
        assert server.post("/models/accounts/rebuild").status == 200
        wait_for(lambda: status_of(server)["generation"] == 2)
        assert documents_of(ferretdb, 2) == oracle(events)
        wait_for(lambda: ferretdb.collections() == {
            "_daybook_models", "_daybook_serving", "_daybook_undo", "accounts__g2_Account",
            "accounts__g2_Amount", "accounts__g2_Note"})
    finally:
        assert server.stop() == 0


def test_queries_are_asked_and_wait_and_collections_are_read(book, ferretdb):
    events = events_of(2, count=60)
    accounts, _, _ = oracle(events)
    server = Server(book)
    try:
        last = append(server, events)
        answer = server.get(f"/queries/GetAccount?account=account-1&after={last}")
        assert answer.status == 200, answer
        one = accounts["account-1"]
        row, = answer.json["rows"]
        assert list(row) == ["balance", "events", "log"]
        assert [row["balance"], row["events"]] == [one["balance"], one["events"]]
        assert json.loads(row["log"]) == one["log"]
        assert answer.json["position"] >= last
        assert server.get("/queries/GetAccount?account=%7B%22$ne%22:1%7D").json["rows"] == []
        fresh = [len(server.get(f"/queries/GetFresh?fresh={word}").json["rows"])
                 for word in ("true", "false", "1")]
        assert fresh == [len(accounts), 0, 0]
        rows = server.get("/queries/GetSum?least=1").json["rows"]
        assert rows == [{"_id": None, "events": sum(a["events"] for a in accounts.values())}]
        rows = server.get("/models/accounts/tables/Account?limit=3").json["rows"]
        assert [json.loads(row["document"])["_id"] for row in rows] == sorted(accounts)[:3]
        assert "_daybook" not in rows[0]["document"]
        assert server.get("/models/accounts/tables/Nothing").status == 404
        assert status_of(server)["tables"] == ["Account", "Amount", "Note"]
        asked = server.post("/sql", {"sql": '{"delete": "{accounts}Account", "deletes": []}',
                                     "database": "documents"})
        assert asked.status in (400, 403), asked
        table = book.run("model", "ls")
        assert "guarded" in table.text, table
    finally:
        assert server.stop() == 0


def test_a_kill_of_either_side_loses_and_doubles_nothing(book, ferretdb):
    events = events_of(3, count=600)
    chance = random.Random(3)
    server = Server(book)
    try:
        for at in range(0, len(events), 60):
            append(server, events[at:at + 60], size=7)
            time.sleep(chance.random() * 0.1)
            if at % 180 == 60:
                ferretdb.kill()
                append(server, [{"stream": "account-0", "type": "Other", "data": {}}])
                wait_for(lambda: "MongoDB" in json.dumps(status_of(server)), 20)
                ferretdb.start()
            else:
                server.kill()
                server = Server(book)
        wait_for(lambda: status_of(server)["lag_events"] == 0)
        assert documents_of(ferretdb) == oracle(events)
        assert status_of(server)["failures"] == 0
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "behind"])
def test_a_connection_cut_at_every_message(book, ferretdb, after):
    events = events_of(4, count=1200)
    proxy = Proxy(ferretdb.port, mongodb_messages)
    secret = book.folder / "secrets" / "documents"
    secret.write_text(ferretdb.connection(port=proxy.port) + "\n", encoding="utf-8")
    server = Server(book)
    try:
        size = 80
        for number, at in enumerate(range(0, len(events), size)):
            proxy.arm(number % 12 + 1, after=after, reset=number % 2 == 1)
            last = append(server, events[at:at + size], size=40)
            wait_for(lambda last=last: status_of(server)["position"] >= last)
        assert proxy.cuts >= 10
        assert documents_of(ferretdb) == oracle(events)
        assert status_of(server)["failures"] == 0
    finally:
        assert server.stop() == 0
        proxy.close()


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside"])
def test_what_a_killed_daemon_has_sent_is_waited_for(book, ferretdb, beside):
    """FerretDB carries a command out to its end, whoever is gone; and what it is told to update by
    an _id alone has no guard that would say that it was done. That another collection is quiet
    says nothing."""
    model = book.folder / "models" / "accounts"
    (model / "AccountOpened.json").write_text(
        ('{"insert": "{gen}Note", "documents": [{"_id": ":_stream", "n": 0}]}\n' if beside else "")
        + '{"insert": "{gen}Account", "documents": [{"_id": ":_stream", "padding": ":padding",\n'
        '  "balance": 0, "a": ":padding", "b": ":padding", "c": ":padding"}]}\n', encoding="utf-8")
    (model / "Deposited.json").write_text(
        ('{"update": "{gen}Note", "updates": [{"q": {"_id": ":_stream"}, "u": {"$inc": {"n": 1}}}'
         ']}\n' if beside else "")
        + '{"update": "{gen}Account", "updates": [{"q": {"_id": ":_stream"},\n'
        '  "u": {"$inc": {"balance": ":amount"}}}]}\n', encoding="utf-8")
    sent = threading.Event()

    def watch(buffer, first):
        messages, first = mongodb_messages(buffer, first)
        if any(b"\2update\0" in one and b"accounts__g1_Account\0" in one for one in messages):
            sent.set()
        return messages, first

    proxy = Proxy(ferretdb.port, watch)
    secret = book.folder / "secrets" / "documents"
    secret.write_text(ferretdb.connection(port=proxy.port) + "\n", encoding="utf-8")
    server = Server(book)
    try:
        append(server, [{"stream": "account-1", "type": "AccountOpened",
                         "data": {"padding": "x" * 300000}}])
        wait_for(lambda: status_of(server)["lag_events"] == 0)
        for round_number in range(1, 3):
            sent.clear()
            append(server, [{"stream": "account-1", "type": "Deposited", "data": {"amount": 1}}] *
                   60)
            assert sent.wait(20)
            server.kill()
            server = Server(book)
            wait_for(lambda: status_of(server)["lag_events"] == 0)
            assert ferretdb.find("accounts__g1_Account")[0]["balance"] == 60 * round_number
            assert not beside or ferretdb.find("accounts__g1_Note")[0]["n"] == 60 * round_number
    finally:
        assert server.stop() == 0
        proxy.close()


def test_a_handler_that_fails_is_named_with_its_event(book, ferretdb):
    handler = book.folder / "models" / "accounts" / "Withdrawn.json"
    handler.write_text('{"update": "{gen}Account", "updates": [\n'
                       '  {"q": {"_id": ":_stream"}, "u": {"$inc": {"events": 1}}}]}\n'
                       '{"insert": "{gen}Account", "documents": [{"_id": ":_stream"}]}\n',
                       encoding="utf-8")
    events = [{"stream": "account-1", "type": "AccountOpened", "data": {"id": "1"}},
              {"stream": "account-1", "type": "Deposited", "data": {"amount": 5}},
              {"stream": "account-1", "type": "Withdrawn", "data": {"amount": 2}},
              {"stream": "account-1", "type": "Deposited", "data": {"amount": 7}}]
    server = Server(book)
    try:
        append(server, events)
        wait_for(lambda: status_of(server).get("state") == "stopped")
        text = json.dumps(status_of(server))
        assert "Withdrawn.json:3" in text and "duplicate key" in text, text
        assert "event 3, Withdrawn of account-1 version 3" in text, text
        assert status_of(server)["position"] == 2
        account = documents_of(ferretdb)[0]["account-1"]
        assert account["balance"] == 5 and account["events"] == 2  # nothing of it is left
    finally:
        assert server.stop() == 0


def test_what_cannot_be_a_value_stops_the_model_by_name(book, ferretdb):
    server = Server(book)
    try:
        append(server, [{"stream": "account-1", "type": "AccountOpened", "data": {"id": "1"}},
                        {"stream": "account-1", "type": "Noted",
                         "data": {"text": "a", "more": [{"a": {"$gt": 1}}]}}])
        wait_for(lambda: status_of(server).get("state") == "stopped")
        text = json.dumps(status_of(server))
        assert "Noted.json:2" in text and "would be an operator" in text, text
        assert not ferretdb.find("accounts__g1_Note")
    finally:
        assert server.stop() == 0


def check_lines(book):
    answer = book.run("check", status=1)
    return answer.text + answer.errors


REFUSED = [
    ('{"update": "{gen}Account", "updates": [\n {"q": {"a": 1}, "u": {"$set": {"b": 1}}}]}',
     "2:8", "by its _id"),
    ('{"update": "{gen}Account", "updates": [\n'
     ' {"q": {"_id": 1}, "u": {"$set": {"b": 1}}, "multi": true}]}', "2:54",
     "an update is of one document"),
    ('{"delete": "{gen}Account", "deletes": [\n {"q": {"_id": 1}, "limit": 0}]}',
     "2:29", "deletes one document"),
    ('{"delete": "{gen}Account", "deletes": [\n {"q": {"_id": 1, "b": 2}, "limit": 1}]}',
     "2:8", "by _id alone"),
    ('{"update": "Account", "updates": [{"q": {"_id": 1}, "u": {"$set": {"b": 1}}}]}',
     "1:12", "{gen}Name"),
    ('{"insert": "{gen}Account", "documents": [\n {"a": ":_stream"}]}', "2:2", "_id of its own"),
    ('{"findAndModify": "{gen}Account", "query": {}}', "1:2", "write update"),
    ('{"update": "{gen}Account", "updates": [\n'
     ' {"q": {"_id": 1}, "u": {"$currentDate": {"b": true}}}]}', "2:26", "no operator"),
    ('{"update": "{gen}Account", "updates": [\n'
     ' {"q": {"_id": 1, "$where": "1"}, "u": {"$set": {"b": 1}}}]}', "2:19", "no programs"),
    ('{"update": "{gen}Account", "updates": [\n'
     ' {"q": {"_id": 1}, "u": {"$set": {"_daybook": 1}}}]}', "2:35", "Daybook's own"),
    ('{"update": "{gen}Account", "updates": [\n {"q": {"_id": 1}, "u": [{"$set": {"b": 1}}]}]}',
     "2:25", "pipelines"),
    ('{"update": "{gen}Account", "updates": [}', "1:40", ""),
    ('{"update": "{gen}Other", "updates": [\n {"q": {"_id": 1}, "u": {"$set": {"b": 1}}}]}',
     "1:12", "not created"),
    ('{"update": "{gen}Account", "updates": [\n'
     ' {"q": {"_id": ":_nothing"}, "u": {"$set": {"b": 1}}}]}', "1:1", "no :_nothing"),
    ("UPDATE x", "1:1", ""),
]


@pytest.mark.parametrize("text,place,words", REFUSED)
def test_check_refuses_and_names_the_place(book, text, place, words):
    (book.folder / "models" / "accounts" / "Withdrawn.json").write_text(text + "\n",
                                                                        encoding="utf-8")
    found = check_lines(book)
    assert f"Withdrawn.json:{place}" in found and words in found, found


def test_check_refuses_queries_that_do_more_than_read(book):
    queries = {
        "Out": ('{"aggregate": "{accounts}Account", "pipeline": [{"$out": "x"}]}', "2:50", "reads"),
        "Path": ('{"aggregate": "{accounts}Account", "pipeline": [{"$set": {"a": ":b"}}]}', "2:64",
                 "$literal"),
        "Gen": ('{"find": "{gen}Account"}', "2:10", "names the model"),
        "Kind": ('{"drop": "{accounts}Account"}', "2:2", "find or an aggregate"),
    }
    for name, (text, _, _) in queries.items():
        (book.folder / "queries" / f"{name}.json").write_text(
            f"// database: documents\n{text}\n", encoding="utf-8")
    (book.folder / "queries" / "Sql.sql").write_text("-- database: documents\nSELECT 1 AS a\n",
                                                    encoding="utf-8")
    found = check_lines(book)
    for name, (_, place, words) in queries.items():
        assert f"{name}.json:{place}" in found and words in found, found
    assert "Sql.sql:1:1" in found and "speaks MongoDB's commands" in found, found


def test_what_cannot_be_reached_is_named_and_tells_no_secret(book, ferretdb):
    secret = book.folder / "secrets" / "documents"
    secret.write_text("mongodb://daybook:geheim42@127.0.0.1:1/documents\n", encoding="utf-8")
    server = Server(book)
    try:
        append(server, events_of(5, count=5))
        wait_for(lambda: "MongoDB" in json.dumps(status_of(server)))
        text = json.dumps(status_of(server)) + server.get("/healthz").text
        assert "geheim42" not in text and "refused" in text, text
        assert status_of(server)["mode"] is None
        for wrong in ("mongodb://daybook:geheim42@127.0.0.1", "http://geheim42@x/documents",
                      "mongodb://a:geheim42@b/c?nonsense"):
            secret.write_text(wrong + "\n", encoding="utf-8")
            wait_for(lambda: "connection string is none" in json.dumps(status_of(server)) or
                     "nonsense" in wrong)
            assert "geheim42" not in json.dumps(status_of(server))
        secret.write_text(ferretdb.connection() + "\n", encoding="utf-8")
        wait_for(lambda: status_of(server).get("lag_events") == 0)
        assert status_of(server)["mode"] == "guarded"
    finally:
        assert server.stop() == 0


PURGE = """// what tells who it was
{"update": "{gen}Owner", "updates": [
  {"q": {"customer": ":_subject"}, "u": {"$unset": {"owner": ""}}, "multi": true}]}
{"delete": "{gen}Named", "deletes": [{"q": {"by": ":_subject"}, "limit": 0}]}
"""
OWNERS = """
{"update": "{gen}Owner", "updates": [
  {"q": {"_id": ":_stream"}, "u": {"$set": {"customer": ":customer", "owner": ":owner"},
   "$inc": {"n": 1}}, "upsert": true}]}
{"insert": "{gen}Named", "documents": [
  {"_id": ":_position", "by": ":customer", "owner": ":owner"}]}
"""


def write_owners(book, way, purge=PURGE):
    folder = book.folder / "models" / "owners"
    folder.mkdir(exist_ok=True)
    (folder / "model.yaml").write_text(MODEL + (f"personal: {way}\n" if way else ""),
                                       encoding="utf-8")
    (folder / "schema.json").write_text('{"create": "{gen}Owner"}\n{"create": "{gen}Named"}\n',
                                        encoding="utf-8")
    (folder / "OwnerNamed.json").write_text(OWNERS, encoding="utf-8")
    if way == "purge.json":
        (folder / way).write_text(purge, encoding="utf-8")


@pytest.mark.parametrize("way", ["rebuild", "purge.json"])
def test_a_person_is_forgotten_in_it(way, book, ferretdb):
    """As in SQLite: no document tells the name any more, in no generation."""
    write_owners(book, way)
    for n in range(8):
        book.run("append", f"account-{n}", "OwnerNamed",
                 json.dumps({"customer": f"c-{n % 4}", "owner": f"Marker{n % 4} Berg"}))
    server = Server(book)
    try:
        wait_for(lambda: status_of(server, "owners")["position"] >= 8)
        answer = server.post("/subjects/c-3/forget?wait=true")
        assert answer.status in (200, 201, 202), answer
        wait_for(lambda: "Marker3" not in str(
            [ferretdb.find(name) for name in ferretdb.collections()
             if name.startswith("owners__")]))
        generation = status_of(server, "owners")["generation"]
        assert generation == (2 if way == "rebuild" else 1)
        owners = {one["_id"]: one for one in ferretdb.find(f"owners__g{generation}_Owner")}
        assert {key: one.get("owner") for key, one in owners.items() if int(key[-1]) % 4 != 3} == {
            f"account-{n}": f"Marker{n % 4} Berg" for n in (0, 1, 2, 4, 5, 6)}
        if way == "purge.json":
            assert "owner" not in owners["account-3"] and owners["account-3"]["n"] == 1
            assert len(ferretdb.find("owners__g1_Named")) == 6
        # What is appended later is posted as before.
        server.post("/events", {"events": [
            {"stream": "account-0", "type": "OwnerNamed",
             "data": {"customer": "c-0", "owner": "Marker0 Tal"}}]})
        wait_for(lambda: [one for one in ferretdb.find(f"owners__g{generation}_Owner",
                                                       {"_id": "account-0"})
                          if one["owner"] == "Marker0 Tal" and one["n"] == 2])
    finally:
        assert server.stop() == 0


def test_a_model_says_how_it_forgets(book):
    write_owners(book, None)
    found = check_lines(book)
    assert "OwnerNamed.json:3:80" in found and "personal field `owner`" in found, found
    write_owners(book, "purge.json", PURGE.replace("$unset", "$inc"))
    found = check_lines(book)
    assert "purge.json:3:42" in found and "twice" in found, found
    write_owners(book, "sealed")
    (book.folder / "models" / "owners" / "purge.json").unlink()
    assert "`personal: sealed` needs a SQLite database" in check_lines(book)


def test_a_handler_takes_the_state_of_a_stream(book, ferretdb):
    """Each withdrawal's document has the balance as it was at it, also after a rebuild."""
    folder = book.folder / "models" / "slips"
    folder.mkdir()
    (folder / "model.yaml").write_text(MODEL + "personal: rebuild\n", encoding="utf-8")
    (folder / "schema.json").write_text('{"create": "{gen}Slip"}\n', encoding="utf-8")
    (folder / "Withdrawn.json").write_text("""// with: account = {_stream}
{"insert": "{gen}Slip", "documents": [
  {"_id": ":_position", "amount": ":amount", "left": ":account.balance"}]}
""", encoding="utf-8")
    events = events_of(6, count=120)
    left, slips = {}, {}
    for position, event in enumerate(events, 1):
        sign = {"Deposited": 1, "Withdrawn": -1}.get(event["type"], 0)
        left[event["stream"]] = left.get(event["stream"], 0) + sign * event["data"].get("amount", 0)
        if event["type"] == "Withdrawn":
            slips[position] = [event["data"]["amount"], left[event["stream"]]]
    server = Server(book)
    try:
        last = append(server, events)
        wait_for(lambda: status_of(server, "slips")["position"] >= last)
        assert {one["_id"]: [one["amount"], one["left"]]
                for one in ferretdb.find("slips__g1_Slip")} == slips
        assert server.post("/models/slips/rebuild").status == 200
        assert {one["_id"]: [one["amount"], one["left"]]
                for one in ferretdb.find("slips__g2_Slip")} == slips
    finally:
        assert server.stop() == 0
