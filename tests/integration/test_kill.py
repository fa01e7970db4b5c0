# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at many moments: what was acknowledged is there, once, and everything else agrees.

DAYBOOK_SEED gives the moments; DAYBOOK_KILLS how many of them (a longer run tries more).
"""
import collections
import http.client
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import threading
import time
import urllib.parse
import uuid

import pytest

import retail
from conftest import BANK, SHOP, Book, clean_environment, killed_at

SEED = int(os.environ.get("DAYBOOK_SEED", "7"))
KILLS = int(os.environ.get("DAYBOOK_KILLS", "24"))
SERVER_KILLS = max(1, KILLS // 6)
CLIENTS = 8
ORDERS = "SELECT * FROM user_orders ORDER BY order_id"


def rows_of(book, sql):
    with sqlite3.connect(f"file:{book.data}/reading.db?mode=ro", uri=True) as database:
        return database.execute(sql).fetchall()


def events_of(book):
    """The book's events; positions must have no gaps."""
    events = book.run("read", "-o", "jsonl").lines
    assert [event["position"] for event in events] == list(range(1, len(events) + 1))
    return events


def by_stream(events):
    streams = collections.defaultdict(list)
    for event in events:
        assert event["version"] == len(streams[event["stream"]]) + 1
        streams[event["stream"]].append(
            (event["id"], event["type"], event.get("occurred"), json.dumps(event["data"])))
    return streams


def importing(book, file):
    return book.command("import", file, "--as", "online_retail", "--batch", "64", "-o", "json")


@pytest.fixture(scope="module")
def whole(binary, tmp_path_factory):
    """The file, and the book as an uninterrupted import leaves it."""
    folder = tmp_path_factory.mktemp("whole")
    file = folder / "orders.csv"
    file.write_bytes(retail.make(seed=SEED)[0])
    book = Book(binary, SHOP, folder / "data")
    began = time.monotonic()
    subprocess.run(importing(book, file), check=True, capture_output=True, timeout=60,
                   env=clean_environment())
    took = time.monotonic() - began
    return file, by_stream(events_of(book)), rows_of(book, ORDERS), took


@pytest.mark.parametrize("index", range(KILLS))
def test_an_import_killed_and_done_again(whole, make_book, index):
    file, streams, orders, took = whole
    source = random.Random(SEED * 1000 + index)
    book = make_book(SHOP)
    for _ in range(source.choice([1, 1, 2, 3])):
        process = subprocess.Popen(importing(book, file), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, env=clean_environment())
        time.sleep(source.uniform(0, took))
        process.kill()
        process.wait()
    result = subprocess.run(importing(book, file), check=True, capture_output=True, timeout=60,
                            env=clean_environment())
    counts = json.loads(result.stdout)
    assert counts["events"] + counts["known"] == sum(len(s) for s in streams.values())
    assert by_stream(events_of(book)) == streams
    assert rows_of(book, ORDERS) == orders


class Client(threading.Thread):
    """Moves money between accounts, one request after the other, until the server is gone."""

    def __init__(self, url, seed):
        super().__init__()
        self.place = urllib.parse.urlparse(url).netloc
        self.source = random.Random(seed)
        self.acknowledged = []  # (ids, position of the last)
        self.sent = []          # all ids, a list a batch
        self.wrong = []

    def batch(self):
        first, second = self.source.sample(range(CLIENTS), 2)
        amount = self.source.randint(1, 5)
        ids = [str(uuid.UUID(int=self.source.getrandbits(128), version=4)) for _ in range(2)]
        return ids, {"events": [
            {"id": ids[0], "stream": f"account-{first}", "type": "Withdrawn",
             "data": {"amount": amount}},
            {"id": ids[1], "stream": f"account-{second}", "type": "Deposited",
             "data": {"amount": amount}}]}

    def run(self):
        connection = http.client.HTTPConnection(self.place, timeout=30)
        try:
            while True:
                ids, body = self.batch()
                self.sent.append(ids)
                connection.request("POST", "/events", json.dumps(body))
                reply = connection.getresponse()
                text = reply.read()
                if reply.status in (200, 201):
                    self.acknowledged.append((ids, json.loads(text)["position"]))
                elif reply.status != 422:
                    self.wrong.append((reply.status, text))
                    return
        except (OSError, http.client.HTTPException):
            pass  # the server is gone


def check_balances(book, events):
    sums = collections.Counter()
    for event in events:
        account = event["stream"].removeprefix("account-")
        sums[account] += {"AccountOpened": 0, "Deposited": 1, "Withdrawn": -1}[event["type"]] * \
            event["data"].get("amount", 0)
    assert dict(rows_of(book, "SELECT account, balance FROM balances")) == dict(sums)


@pytest.mark.parametrize("index", range(SERVER_KILLS))
def test_a_server_killed_under_eight_clients(bank, serve, index):
    source = random.Random(SEED * 2000 + index)
    server = serve(bank)
    for account in range(CLIENTS):
        assert server.post("/commands/Open", {"account": str(account)}).status == 200
        assert server.post("/commands/Deposit",
                           {"account": str(account), "amount": 1000}).status == 200
    clients = []
    for round_number in range(3):
        clients += [Client(server.url, source.random()) for _ in range(CLIENTS)]
        for client in clients[-CLIENTS:]:
            client.start()
        time.sleep(source.uniform(0.02, 0.5))
        server.kill()
        for client in clients[-CLIENTS:]:
            client.join(timeout=30)
            assert not client.is_alive()
        server = serve(bank)
        totals = server.get("/queries/GetBalance?account=0")
        assert totals.status == 200, (round_number, totals)
    server.stop()
    events = events_of(bank)
    at = {event["id"]: event["position"] for event in events}
    assert len(at) == len(events)
    assert sum(len(client.acknowledged) for client in clients) > 0
    for client in clients:
        assert client.wrong == []
        for ids, position in client.acknowledged:
            assert at[ids[1]] == at[ids[0]] + 1 == position
        for ids in client.sent:
            assert len({i in at for i in ids}) == 1  # all of a batch, or nothing
    check_balances(bank, events)


def test_a_kill_at_every_call_of_an_append(binary, kill_at, tmp_path):
    """Among them: between the log's commit and the read model's."""
    clean = Book(binary, BANK, tmp_path / "clean")
    clean.run("do", "Open", '{"account":"1"}')
    clean.run("do", "Deposit", '{"account":"1","amount":10}')
    command = ["append", "account-1", "Deposited", '{"amount":5}', "--id", str(uuid.UUID(int=5))]
    trial = Book(binary, BANK, tmp_path / "trial")
    shutil.copytree(clean.data, trial.data)
    assert killed_at(kill_at, trial.command(*command), 0, tmp_path / "count").returncode == 0
    calls = int((tmp_path / "count").read_text())
    assert calls > 8
    outcomes = collections.Counter()
    for number in range(1, calls + 1):
        shutil.rmtree(trial.data)
        shutil.copytree(clean.data, trial.data)
        result = killed_at(kill_at, trial.command(*command), number)
        assert result.returncode == -9
        balance = trial.json("get", "GetBalance", "account=1")[0]["balance"]
        assert trial.json("state", "account-1")["state"]["balance"] == balance
        events = events_of(trial)
        assert balance == {2: 10, 3: 15}[len(events)]
        check_balances(trial, events)
        outcomes[len(events)] += 1
        if result.stdout:
            assert balance == 15
        trial.run(*command)  # what was not answered is sent again, and stored once
        assert trial.json("get", "GetBalance", "account=1")[0]["balance"] == 15
    assert set(outcomes) == {2, 3}


def test_a_kill_at_calls_of_an_import(binary, whole, kill_at, tmp_path):
    """At calls spread over all of it, from a seed; each killed import is done again."""
    file, streams, orders, _ = whole
    book = Book(binary, SHOP, tmp_path / "data")
    assert killed_at(kill_at, importing(book, file), 0, tmp_path / "count").returncode == 0
    calls = int((tmp_path / "count").read_text())
    source = random.Random(SEED * 3000)
    for number in sorted(source.sample(range(1, calls // 2), KILLS)):
        shutil.rmtree(book.data)
        assert killed_at(kill_at, importing(book, file), number).returncode == -9
        assert killed_at(kill_at, importing(book, file), 0).returncode == 0
        assert by_stream(events_of(book)) == streams
        assert rows_of(book, ORDERS) == orders


def test_a_kill_at_calls_of_a_build_as_of_a_time(binary, whole, kill_at, tmp_path):
    """At calls spread over all of it; the next one goes on, to the same rows."""
    file, _, orders, _ = whole
    book = Book(binary, SHOP, tmp_path / "data")
    subprocess.run(importing(book, file), check=True, capture_output=True, timeout=60,
                   env=clean_environment())
    command = book.command("model", "as-of", "user_orders", "2999-01-01", "-o", "json")
    result = killed_at(kill_at, command, 0, tmp_path / "count")
    assert result.returncode == 0
    path = json.loads(result.stdout)["file"]
    calls = int((tmp_path / "count").read_text())
    source = random.Random(SEED * 4000)
    built = collections.Counter()
    for number in sorted(source.sample(range(1, calls + 1), min(calls, 2 * KILLS))):
        shutil.rmtree(book.data / "as-of")
        # Threads beside make a few calls more or fewer: the last of them may not come.
        result = killed_at(kill_at, command, number)
        assert result.returncode == -9 or (number > calls * 0.9 and result.returncode == 0)
        result = killed_at(kill_at, command, 0)
        assert result.returncode == 0
        built[json.loads(result.stdout)["built"]] += 1
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            assert database.execute(ORDERS).fetchall() == orders
    assert built["now"] > 0 and built["the rest"] > 0
