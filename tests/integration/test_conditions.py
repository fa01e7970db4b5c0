# SPDX-License-Identifier: Apache-2.0
"""Appends guarded by a query, through the CLI, the server and many clients at once."""
import json
import threading

import pytest

QUERY = [{"types": ["SeatTaken"], "tags": ["seat:12A", "flight:7"]}]


def taken(who):
    return {"stream": f"seat-{who}", "type": "SeatTaken", "data": {"by": who},
            "tags": ["seat:12A", "flight:7"]}


@pytest.mark.parametrize("served", [False, True], ids=["direct", "served"])
def test_a_seat_is_taken_once(bank, serve, served):
    if served:
        serve(bank)
    guard = ("--fail-if", json.dumps(QUERY))
    tags = ("--tags", "seat:12A,flight:7")
    first = bank.json("append", "seat-anna", "SeatTaken", "{}", *tags, *guard)
    again = bank.run("append", "seat-ben", "SeatTaken", "{}", *tags, *guard, status=4)
    assert f"position {first['position']} matches the condition" in again.errors
    # Aware of it, and with another seat, it goes on; an expected version beside it holds too.
    bank.run("append", "seat-ben", "SeatTaken", "{}", *tags, *guard, "--after",
             str(first["position"]), "--expect", "none")
    bank.run("append", "seat-ben", "SeatTaken", "{}", *tags, *guard, "--after", "99",
             "--expect", "7", status=4)
    assert [e["stream"] for e in bank.run("read", "--tag", "flight:7,seat:12A", "-o",
                                          "jsonl").lines] == ["seat-anna", "seat-ben"]
    assert bank.run("read", "--tag", "flight:7,seat:1", "-o", "jsonl").lines == []
    assert len(bank.run("read", "--query", json.dumps(QUERY), "-o", "jsonl").lines) == 2


def test_of_many_clients_one_wins(bank, serve):
    server = serve(bank)
    answers = []

    def take(who):
        body = {"events": [taken(who)], "condition": {"fail_if_match": QUERY}}
        answers.append(server.post("/events", body))

    threads = [threading.Thread(target=take, args=(f"p{i}",)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(a.status for a in answers) == [201] + [409] * 23
    won = next(a for a in answers if a.status == 201).json["position"]
    assert {a.json["matched"] for a in answers if a.status == 409} == {won}


@pytest.mark.parametrize("condition, message", [
    ({}, 'condition: it is {"fail_if_match"'),
    ({"fail_if_match": []}, "condition: fail_if_match: query: it is a list of items"),
    ({"fail_if_match": [7]}, "query: item 0 is no object"),
    ({"fail_if_match": [{}, {"tags": "x"}]}, "query: tags of item 1 is no list of texts"),
    ({"fail_if_match": [{"tags": [""]}]}, "query: tags of item 0 is no list of texts of 1 to 255"),
    ({"fail_if_match": [{"tag": ["x"]}]}, 'query: item 0 has "tag"; it may have types and tags'),
    ({"fail_if_match": QUERY, "after": -1}, "condition: it is"),
    ({"fail_if_match": QUERY, "behind": 1}, "condition: it is"),
    ({"fail_if_match": [{"types": ["A"] * 500}] * 3}, "at most 1024 are allowed"),
])
def test_bad_conditions_are_named(bank, serve, condition, message):
    server = serve(bank)
    answer = server.post("/events", {"events": [taken("x")], "condition": condition})
    assert answer.status in (400, 413), answer
    assert message in answer.json["detail"]
    assert server.get("/events?tag=seat:12A").json["events"] == []


def test_bad_options_are_named(bank):
    assert "--after goes with --fail-if" in \
        bank.run("append", "a-1", "A", "{}", "--after", "1", status=2).errors
    assert "--fail-if" in bank.run("append", "a-1", "A", "{}", "--fail-if", "[", status=1).errors
    assert "tag and query exclude each other" in \
        bank.run("read", "--tag", "a", "--query", "[{}]", status=1).errors
