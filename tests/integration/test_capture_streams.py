# SPDX-License-Identifier: Apache-2.0
"""Change streams of MongoDB, of the server in services/mongod_streams.py (no MongoDB can be had by
package): with many writers, and connections, a daemon and a server that are killed at each message,
the book's events replay to exactly the source's documents, transactions are whole, and what cannot
be followed is named. What a server without change streams says is FerretDB's own."""
import os
import random
import threading
import time

import pytest
from conftest import Book, Server, missing
from services.bson import Int32
from services.ferretdb import FerretDB
from services.mongod import Refused
from services.mongod_streams import StreamingMongod, timestamp
from services.postgres import Missing
from services.proxy import Proxy, mongodb_messages
from test_capture import events_of, rows_of, status
from test_capture_sqlite import wait_for

SECONDS = float(os.environ.get("DAYBOOK_CAPTURE_SECONDS", "5"))
WRITERS = int(os.environ.get("DAYBOOK_CAPTURE_WRITERS", "4"))


@pytest.fixture
def mongod():
    server = StreamingMongod()
    server.command({"create": "products"})
    yield server
    server.close()


def write_book(folder, secret, capture="cdc", more="", limits="{batch_events: 120}"):
    for part in ("secrets", "services"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "secrets" / "shop").write_text(secret + "\n", encoding="utf-8")
    (folder / "book.yaml").write_text(
        "book: copy\ndatabases:\n  documents: mongodb:file:secrets/shop\n"
        f"limits: {limits}\n", encoding="utf-8")
    (folder / "services" / "shop.yaml").write_text(
        f"database: documents\ntables:\n  products:\n    capture: {capture}\n{more}",
        encoding="utf-8")


@pytest.fixture
def make(binary, tmp_path, data):
    def make_book(secret, *settings, **more):
        write_book(tmp_path / "book", secret, *settings, **more)
        return Book(binary, tmp_path / "book", data)
    return make_book


def plain(rows):
    return sorted(({k: int(v) if isinstance(v, Int32) else v for k, v in row.items()}
                   for row in rows), key=str)


def book_rows(book):
    return sorted(rows_of(events_of(book), "products"), key=str)


def put(key, **fields):
    return {"update": "products", "updates": [{"q": {"_id": key}, "u": {"$set": fields},
                                               "upsert": True}]}


def delete(key):
    return {"delete": "products", "deletes": [{"q": {"_id": key}, "limit": Int32(1)}]}


def settle(server, mongod, seconds=20):
    wait_for(lambda: book_rows(server.book) == plain(mongod.find("products")), seconds)


def begin(server):
    wait_for(lambda: status(server)["state"] == "streaming")


def write(mongod, number, stop, done):
    chance = random.Random(number)
    while not stop.is_set():
        keys = [chance.choice([chance.randrange(40), f"p{chance.randrange(40)}"])
                for _ in range(chance.randrange(1, 6))]
        commands = [delete(key) if chance.random() < 0.3 else put(key, n=chance.randrange(9))
                    for key in keys]
        if chance.random() < 0.4:
            mongod.transaction(*commands)
        else:
            for command in commands:
                mongod.command(command)
        done.append(len(commands))
        time.sleep(chance.choice([0, 0.005, 0.02]))


@pytest.mark.parametrize("batch_max", [3, 1000])
def test_many_writers_and_kills(mongod, make, batch_max):
    mongod.batch_max = batch_max
    mongod.command({"insert": "products", "documents": [
        {"_id": f"q{i}", "n": i} for i in range(250)]})
    proxy, chance = Proxy(mongod.port, mongodb_messages), random.Random(batch_max)
    book = make(mongod.connection(proxy.port))
    stop, done = threading.Event(), []
    threads = [threading.Thread(target=write, args=(mongod, n, stop, done)) for n in range(WRITERS)]
    server = Server(book)
    for thread in threads:
        thread.start()
    try:
        end, turn = time.time() + SECONDS, 0
        while time.time() < end:
            time.sleep(chance.uniform(0.1, 0.7))
            turn += 1
            if turn % 3 == 0:
                proxy.arm(chance.randrange(1, 20), after=turn % 2 == 0)
            elif turn % 4 == 0:
                mongod.kill()
                mongod.start()
            else:
                server.kill()
                server = Server(book)
        stop.set()
        for thread in threads:
            thread.join()
        settle(server, mongod, 60)
    finally:
        stop.set()
        server.stop()
        proxy.close()
    print(f"{sum(done)} changes, {len(events_of(book))} events")
    assert len(events_of(book)) > 250 + sum(done) / 10


def test_each_message_is_cut(mongod, make, serve):
    """From connecting on, with a snapshot of several pieces under way, then while it streams."""
    mongod.command({"insert": "products", "documents": [
        {"_id": f"q{i:03}", "n": i} for i in range(150)]})
    proxy = Proxy(mongod.port, mongodb_messages)
    book = make(mongod.connection(proxy.port))
    for count in range(1, 21):
        mongod.command(put(f"q{count * 4:03}", n=-count))
        mongod.transaction(put(f"t{count}", n=1), delete(f"q{count:03}"))
        proxy.arm(count, after=count % 2 == 0)
        server = serve(book)  # anew: one that fails again and again waits ever longer
        wait_for(lambda wanted=count: proxy.cuts == wanted)
        if count < 20:
            server.kill()
    settle(server, mongod)
    proxy.close()


def test_a_transaction_is_one_batch_and_its_time_can_be_waited_for(mongod, make, serve):
    mongod.batch_max = 2
    book = make(mongod.connection())
    server = serve(book)
    begin(server)
    mongod.transaction(*[put(f"t{i}", n=i) for i in range(5)])
    wanted = f"{mongod.now[0]}.{mongod.now[1]}"
    found = server.get(f"/captures/shop/position?source={wanted}")
    assert found.status == 200
    events = [e for e in events_of(book) if e["position"] <= found.json["position"]]
    assert sorted(e["stream"] for e in events) == [f"shop.products-t{i}" for i in range(5)]
    assert len({e["time"] for e in events}) == 1
    assert {e["meta"]["source"]["position"] for e in events} == {wanted}
    assert len({e["meta"]["source"]["transaction"] for e in events}) == 1
    # A resume token, as its users have it; one of a time that has not come; and what is none.
    last = mongod.oplog[-1]
    digits = f"82{last[0][0]:08X}{last[0][1]:08X}0005AB"
    assert server.get(f"/captures/shop/position?source={digits}").status == 200
    late = server.get(f"/captures/shop/position?source={mongod.now[0] + 99}.1&timeout_ms=50")
    assert late.status == 504 and "shop is captured up to " in late.text
    assert server.get("/captures/shop/position?source=0/1").status == 400
    # What is not captured has not to be waited for either.
    mongod.command({"insert": "other", "documents": [{"_id": 1}]})
    assert book.json("capture", "wait", "shop",
                     f"{mongod.now[0]}.{mongod.now[1]}")["position"] > 0


def test_a_transaction_past_a_batch_is_not_seen_in_part(mongod, make):
    mongod.batch_max = 7
    book = make(mongod.connection(), limits="{batch_events: 10}")
    server = Server(book)
    begin(server)
    mongod.transaction(*[put(i, n=i) for i in range(500)])
    seen = set()
    for _ in range(100):
        seen.add(len(events_of(book)))
        if 500 in seen:
            break
        server.kill()
        server = Server(book)
        time.sleep(0.05)
    assert seen <= {0, 500} and 500 in seen
    server.stop()


def test_the_events_are_those_of_polling(mongod, make, serve):
    """What was polled goes on by cdc: nothing becomes an event but what was changed meanwhile."""
    mongod.command({"insert": "products", "documents": [{"_id": i, "n": i} for i in range(100)]})
    book = make(mongod.connection(), "polling", more="    every: 50 ms\n")
    server = serve(book)
    wait_for(lambda: len(events_of(book)) == 100)
    server.stop()
    mongod.command(delete(3))
    mongod.command(put(4, n=44))
    write_book(book.folder, mongod.connection())
    server = serve(book)
    begin(server)
    assert [(e["stream"], e["type"]) for e in events_of(book)[100:]] == [
        ("shop.products-4", "products.update"), ("shop.products-3", "products.delete")]
    assert events_of(book)[100]["data"] == {"new": {"_id": 4, "n": 44}, "old": {"_id": 4, "n": 4}}


def test_what_the_stream_touches_while_a_piece_is_held(mongod, make, serve):
    """A reply says a later time than it has seen: what was changed between is told once."""
    mongod.command({"insert": "products", "documents": [{"_id": i, "n": 0} for i in range(100)]})

    def change(command, reply):
        if "find" in command and command["limit"] and len(reply["cursor"]["firstBatch"]) > 9:
            first = reply["cursor"]["firstBatch"][0]["_id"]
            mongod.command(put(first, n=1))
            mongod.command(delete(first + 1))
            reply["operationTime"] = timestamp(mongod.now)
    mongod.after = change
    server = serve(make(mongod.connection()))
    begin(server)
    settle(server, mongod)
    assert len(mongod.find("products")) < 100
    assert len(events_of(server.book)) <= 100


def test_an_event_behind_a_piece_has_its_own_fields(mongod, make, serve):
    mongod.command({"insert": "products", "documents": [{"_id": i, "n": 0} for i in range(100)]})

    def change(command, reply):
        if "find" in command and command["limit"] and len(reply["cursor"]["firstBatch"]) > 9:
            mongod.command(put(-1 - reply["cursor"]["firstBatch"][0]["_id"], m=1, k=2))
    mongod.after = change
    server = serve(make(mongod.connection()))
    begin(server)
    settle(server, mongod)
    assert len(mongod.find("products")) > 100


def test_a_collection_that_is_dropped_while_a_piece_is_read(mongod, make, serve):
    mongod.command({"insert": "products", "documents": [{"_id": i} for i in range(5)]})
    refused = []

    def before(command):
        if "find" in command and not refused:
            refused.append(command)
            raise Refused(175, "QueryPlanKilled", "collection dropped")
    mongod.before = before
    server = serve(make(mongod.connection()))
    settle(server, mongod)
    assert refused


def test_a_document_that_is_gone_when_its_update_is_read(mongod, make, serve):
    book = make(mongod.connection())
    server = serve(book)
    begin(server)
    mongod.command(put(1, n=1))
    settle(server, mongod)
    server.stop()
    mongod.command(put(1, n=2))
    mongod.command(delete(1))
    mongod.command(put(1, n=3))
    mongod.command(delete(1))
    mongod.command(put(2, n=3))
    server = serve(book)
    wait_for(lambda: book_rows(book) == [{"_id": 2, "n": 3}])


def test_what_happens_to_collections(mongod, make, serve):
    book = make(mongod.connection())
    server = serve(book)
    mongod.command({"insert": "products", "documents": [{"_id": i} for i in range(70)]})
    settle(server, mongod)
    mongod.command({"drop": "products"})
    wait_for(lambda: book_rows(book) == [])
    mongod.command({"insert": "drafts", "documents": [{"_id": i, "n": 1} for i in range(130)]})
    mongod.command({"renameCollection": "documents.drafts", "to": "documents.products"}, "admin")
    settle(server, mongod)
    assert len(book_rows(book)) == 130
    mongod.command({"renameCollection": "documents.products", "to": "documents.old"}, "admin")
    wait_for(lambda: book_rows(book) == [])
    # The stream ends with its database, and another one begins behind that end.
    mongod.command({"insert": "products", "documents": [{"_id": 1, "n": 1}]})
    mongod.command({"dropDatabase": 1})
    mongod.command({"insert": "products", "documents": [{"_id": 2, "n": 2}]})
    settle(server, mongod)
    server.kill()
    mongod.command({"insert": "products", "documents": [{"_id": 3, "n": 3}]})
    server = serve(book)
    settle(server, mongod)
    assert len(mongod.find("products")) == 2


def test_a_collection_takes_the_place_of_another(mongod, make, serve):
    mongod.command({"create": "drafts"})
    book = make(mongod.connection(), more="  drafts:\n    capture: cdc\n")
    server = serve(book)
    begin(server)
    mongod.command({"insert": "products", "documents": [{"_id": i} for i in range(3)]})
    mongod.command({"insert": "drafts", "documents": [{"_id": 2, "n": 1}, {"_id": 7, "n": 1}]})
    settle(server, mongod)
    mongod.command({"renameCollection": "documents.drafts", "to": "documents.products",
                    "dropTarget": True}, "admin")
    settle(server, mongod)
    wait_for(lambda: rows_of(events_of(book), "drafts") == [])


def failure(server):
    return wait_for(lambda: status(server)["state"] == "failed" and status(server))["error"]


def test_what_was_lost_stops_it_and_a_new_snapshot_makes_it_good(mongod, make, serve):
    book = make(mongod.connection())
    server = serve(book)
    mongod.command({"insert": "products", "documents": [{"_id": i} for i in range(5)]})
    settle(server, mongod)
    server.stop()
    mongod.command(delete(1))
    mongod.command(put(9, n=9))
    mongod.forget()
    server = serve(book)
    assert "does not keep what was changed since it was read last" in failure(server)
    assert "daybook capture resnapshot shop" in failure(server)
    book.run("capture", "resnapshot", "shop")
    begin(server)
    settle(server, mongod)


@pytest.mark.parametrize("code,what", [
    (286, "does not keep what was changed since it was read last"),
    (40576, "does not keep what was changed since it was read last"),
    (40585, "does not have what was read of it last")])
def test_each_word_for_a_history_that_is_lost(mongod, make, serve, code, what):
    """The last two are those of servers from before 4.2, and of some since."""
    server = serve(make(mongod.connection()))
    begin(server)
    server.stop()
    refused = []

    def before(command):
        if "aggregate" in command:
            refused.append(command)
            raise Refused(code, f"Location{code}", "resume was not possible")
    mongod.before = before
    server = serve(server.book)
    assert f"{what}" in wait_for(lambda: status(server)["error"])
    assert ("daybook capture resnapshot shop" in status(server)["error"]) == (code != 40585)
    assert status(server)["state"] == ("waiting" if code == 40585 else "failed")


def with_another_table(mongod, book, server):
    """What is read of it moves the stream's token to a time without an event, and stores it."""
    mongod.tick()
    mongod.command({"create": "drafts"})
    server.stop()
    write_book(book.folder, mongod.connection(), more="  drafts:\n    capture: cdc\n")


def test_a_set_that_was_restored_is_noticed_also_when_its_clock_has_gone_on(mongod, make, serve):
    book = make(mongod.connection())
    server = serve(book)
    mongod.command(put(1, n=1))
    backup = (mongod.collections, list(mongod.oplog))
    settle(server, mongod)
    mongod.command(put(2, n=2))
    settle(server, mongod)
    with_another_table(mongod, book, server)
    server = serve(book)
    begin(server)
    server.stop()
    looks = []
    mongod.before = lambda command: looks.append(command) if "aggregate" in command else None
    server = serve(book)
    begin(server)  # the same server: its last event is looked for, and is there
    assert len(looks) == 2 and "startAtOperationTime" in str(looks[0])
    server.stop()
    # That it is not kept any more says nothing.
    kept, mongod.cut = mongod.cut, len(mongod.oplog)
    server = serve(book)
    begin(server)
    server.stop()
    mongod.cut = kept

    # Where looking takes long it is asked in another way, of a server that has it, and of one that
    # was restored.
    def slow(command):
        if "maxTimeMS" in command and "aggregate" in command:
            raise Refused(50, "MaxTimeMSExpired", "operation exceeded time limit")
    mongod.before = slow
    server = serve(book)
    begin(server)
    server.stop()
    mongod.collections, mongod.oplog = backup
    mongod.now = (mongod.now[0] + 50, 1)
    for _ in range(3):
        mongod.command(put(3, n=3))
    server = serve(book)
    assert "was restored" in wait_for(lambda: status(server)["error"])
    server.stop()
    mongod.before = None
    server = serve(book)
    assert "was restored: or a primary that was replaced" in wait_for(
        lambda: status(server)["error"])
    assert status(server)["state"] == "waiting"
    assert "does not have what was read of it last: it was restored: `daybook capture " \
        "resnapshot shop`" in failure(server)
    assert [row["_id"] for row in book_rows(book)] == [1, 2]
    book.run("capture", "resnapshot", "shop")
    settle(server, mongod)


def test_a_stale_primary_does_not_stop_it(mongod, make, serve):
    """One by its clock, one by its elections: each steps down, and the capture goes on."""
    book = make(mongod.connection())
    server = serve(book)
    mongod.command(put(1, n=1))
    settle(server, mongod)
    for stale, fresh in [(lambda: setattr(mongod, "now", (mongod.now[0] - 1000, 1)),
                          lambda: setattr(mongod, "now", (mongod.now[0] + 1000, 9))),
                         (lambda: setattr(mongod, "term", 6), lambda: setattr(mongod, "term", 8)),
                         (lambda: setattr(mongod, "oplog", mongod.oplog[:-1]),
                          lambda: setattr(mongod, "oplog", history))]:
        history = list(mongod.oplog)
        server.stop()
        stale()
        server = serve(book)
        assert "a primary that was replaced" in wait_for(lambda: status(server)["error"])
        assert status(server)["state"] == "waiting"
        fresh()
        mongod.command(put(2, n=mongod.now[1]))
        settle(server, mongod)
        begin(server)


def test_a_member_that_stepped_down_is_left(mongod, make, serve):
    other = mongod.add_member()
    server = serve(make(f"mongodb://127.0.0.1:{mongod.port},127.0.0.1:{other}/documents"
                        "?replicaSet=rs0"))
    asked = {}

    def before(command):
        if "getMore" in command:
            asked[mongod.here.port] = asked.get(mongod.here.port, 0) + 1
    mongod.before = before
    mongod.command(put(1, n=1))
    settle(server, mongod)
    assert set(asked) == {mongod.port}
    mongod.elect(other)  # its cursors, and that of the stream, stay
    wait_for(lambda: other in asked, 25)
    count = asked[mongod.port]
    mongod.command(put(2, n=2))
    settle(server, mongod)
    assert asked[mongod.port] == count
    # With one host alone the primary is not found: that is said.
    server.stop()
    secret = server.book.folder / "secrets" / "shop"
    secret.write_text(mongod.connection() + "\n", encoding="utf-8")
    server = serve(server.book)
    assert (f"is not at the primary of its replica set, which is 127.0.0.1:{other}: it is looked "
            "for again, by all hosts of the connection string with replicaSet= in it"
            ) in wait_for(lambda: status(server)["error"])
    assert status(server)["state"] == "waiting"


def test_a_server_that_is_too_old_is_named(mongod, make, serve):
    """4.0 has change streams, but none that go on behind their end."""
    hello = mongod.hello
    mongod.hello = lambda: hello() | {"maxWireVersion": Int32(7)}
    server = serve(make(mongod.connection()))
    assert "MongoDB 4.2 or later is needed, or write `capture: polling`" in failure(server)
    server.stop()
    mongod.hello = lambda: hello() | {"maxWireVersion": Int32(8)}
    server = serve(server.book)
    begin(server)


def test_what_has_no_change_streams_is_named(make, serve):
    mongod = StreamingMongod(transactions=False)
    server = serve(make(mongod.connection()))
    assert ("services/shop.yaml: the database `documents` is a server on its own, which has no "
            "change streams: make it a replica set of one (rs.initiate()), or write `capture: "
            "polling`") in failure(server)
    server.stop()
    mongod.close()
    mongod = StreamingMongod()
    mongod.sharded = True
    server = serve(make(mongod.connection()))
    assert "is a sharded cluster" in failure(server)
    server.stop()
    mongod.close()


def test_ferretdb_is_polled(make, serve):
    try:
        ferretdb = FerretDB()
    except Missing as why:
        missing(str(why))
    ferretdb.command({"create": "products"})
    server = serve(make(ferretdb.connection()))
    assert "has no change streams: write `capture: polling`" in failure(server)
    server.stop()
    ferretdb.close()


def test_a_collection_that_was_missing_is_followed_when_it_comes(make, serve):
    mongod = StreamingMongod()
    server = serve(make(mongod.connection()))
    assert "the collection `products` is not in the database" in failure(server)
    mongod.command({"insert": "products", "documents": [{"_id": 1}]})
    settle(server, mongod)
    mongod.close()
