# SPDX-License-Identifier: Apache-2.0
"""The book as it was: tails from a time."""
import datetime
import json
import subprocess
import time
import urllib.parse
import urllib.request

import pytest

from conftest import TIMEOUT_S, clean_environment

UTC = datetime.timezone.utc


def deposit(book, amount, occurred=None):
    """Appends; what was recorded a moment later has a later time."""
    time.sleep(0.002)
    more = ["--occurred", occurred] if occurred else []
    return book.json("append", "account-1", "Deposited", f'{{"amount":{amount}}}', *more)


def positions(events):
    return [event["position"] for event in events]


@pytest.fixture
def filled(bank):
    bank.run("append", "account-1", "AccountOpened", '{"id":"1"}')
    for amount in range(1, 8):
        deposit(bank, amount)
    return bank


def test_a_tail_from_a_time_begins_with_the_first_event_then_or_later(filled):
    events = filled.run("read", "-o", "jsonl").lines
    for time_ in ["1970-01-01", "1960-01-01", "9999-12-31", *[e["time"] for e in events]]:
        expected = [e["position"] for e in events if e["time"] >= time_]
        tail = filled.run("tail", "--no-follow", "--from-time", time_, "-o", "jsonl").lines
        read = filled.run("read", "--from-time", time_, "-o", "jsonl").lines
        assert positions(tail) == positions(read) == expected
    both = filled.run("tail", "--no-follow", "--from-time", events[2]["time"], "--after", "5", "-o",
                      "jsonl").lines
    assert positions(both) == [6, 7, 8]


def test_a_tail_from_a_time_goes_on_live(filled, serve):
    third = filled.run("read", "-o", "jsonl").lines[2]
    command = filled.command("tail", "--from-time", third["time"], "--limit", "7", "-o", "jsonl")
    serve(filled)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                          env=clean_environment()) as tail:
        lines = [tail.stdout.readline()]
        deposit(filled, 8)
        lines += tail.stdout.readlines()
    assert positions(map(json.loads, lines)) == [3, 4, 5, 6, 7, 8, 9]


def test_a_tail_from_the_future_waits_for_it(filled, serve):
    server = serve(filled)
    begin = datetime.datetime.now(UTC) + datetime.timedelta(seconds=1)
    query = urllib.parse.urlencode({"from_time": begin.isoformat()})
    request = urllib.request.Request(f"{server.url}/events?{query}",
                                     headers={"Accept": "text/event-stream"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as stream:
        assert deposit(filled, 8)["position"] == 9
        assert datetime.datetime.now(UTC) < begin
        time.sleep(1.1)
        assert deposit(filled, 9)["position"] == 10
        assert next(line for line in stream if line.startswith(b"id: ")) == b"id: 10\n"


def test_a_wrong_time_is_named(filled, serve):
    answer = filled.run("tail", "--from-time", "soon", status=2)
    assert "--from-time takes an instant such as 2011-03-01" in answer.errors
    answer = serve(filled).get("/events?from_time=soon")
    assert answer.status == 400 and "from_time" in answer.json["detail"]
