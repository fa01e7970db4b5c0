# SPDX-License-Identifier: Apache-2.0
"""A running server: appends, conditions, tails, the other commands beside it, and its end."""
import json
import urllib.request

import pytest

from conftest import Server


@pytest.fixture
def server(bank, serve):
    return serve(bank)


def append(server, stream, kind, data, **headers):
    return server.post(f"/streams/{stream}", {"type": kind, "data": data}, headers=headers)


def test_append_and_read(server):
    done = append(server, "account-1", "AccountOpened", {"id": "1"}, **{"If-None-Match": "*"})
    assert done.status == 201, done
    assert done.headers["Daybook-Position"] == str(done.json["position"])
    events = server.get("/streams/account-1").json["events"]
    assert [(e["version"], e["type"], e["data"]) for e in events] == \
        [(1, "AccountOpened", {"id": "1"})]


def test_a_condition_that_does_not_hold(server):
    append(server, "account-1", "AccountOpened", {"id": "1"})
    for header in ({"If-None-Match": "*"}, {"If-Match": '"7"'}):
        answer = append(server, "account-1", "Deposited", {"amount": 1}, **header)
        assert answer.status == 412, answer
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert answer.json["actual"] == 1
    answer = append(server, "account-1", "Deposited", {"amount": 1}, **{"If-Match": '"1"'})
    assert answer.status == 201, answer


def test_command_query_and_the_position_between_them(server):
    append(server, "account-1", "AccountOpened", {"id": "1"})
    done = server.post("/commands/Deposit", {"account": "1", "amount": 9})
    assert done.status == 200, done
    rows = server.get(f"/queries/GetBalance?account=1&after={done.json['position']}").json["rows"]
    assert rows[0]["balance"] == 9
    refused = server.post("/commands/Withdraw", {"account": "1", "amount": 10})
    assert (refused.status, refused.json["refusal"]) == (422, "balance-short")


def test_what_is_not_understood_is_named(server):
    assert server.get("/events?afer=1").status == 400
    assert "afer" in server.get("/events?afer=1").text
    assert server.post("/commands/Depositt", {}).status == 404
    assert "Deposit" in server.post("/commands/Depositt", {}).text
    assert server.post("/commands/Deposit", b"{").status == 400
    assert server.get("/nowhere").status == 404
    assert server.request("DELETE", "/events").status == 405


def read_ids(server, count, headers):
    request = urllib.request.Request(server.url + "/events", headers={
        "Accept": "text/event-stream", **headers})
    ids = []
    with urllib.request.urlopen(request, timeout=30) as stream:
        for line in stream:
            if line.startswith(b"id: "):
                ids.append(int(line[4:]))
                if len(ids) == count:
                    return ids
    return ids


def test_a_tail_goes_on_where_it_ended(server):
    append(server, "account-1", "AccountOpened", {"id": "1"})
    for amount in range(1, 6):
        append(server, "account-1", "Deposited", {"amount": amount})
    assert read_ids(server, 3, {"Last-Event-ID": "0"}) == [1, 2, 3]
    assert read_ids(server, 3, {"Last-Event-ID": "3"}) == [4, 5, 6]


def test_health_metrics_and_contract(server):
    health = server.get("/healthz")
    assert (health.status, health.json["status"]) == (200, "ok")
    assert "# TYPE " in server.get("/metrics").text
    assert json.loads(server.get("/openapi.json").text)["openapi"].startswith("3.")


def test_other_commands_talk_to_it(server, bank):
    bank.run("append", "account-1", "AccountOpened", '{"id":"1"}')
    assert len(server.get("/events").json["events"]) == 1
    assert bank.json("state", "account-1")["state"]["status"] == "active"


def test_one_process_holds_a_data_directory(server, bank):
    with pytest.raises(AssertionError, match=str(server.pid)):
        Server(bank)


def test_what_was_acknowledged_survives_a_kill(server, bank, serve):
    append(server, "account-1", "AccountOpened", {"id": "1"})
    done = append(server, "account-1", "Deposited", {"amount": 3}).json
    server.kill()
    again = serve(bank)
    assert again.get("/healthz").json["position"] == done["position"]
    assert again.get("/streams/account-1/state").json["state"]["balance"] == 3


def test_sigterm_ends_it_well(server):
    assert server.stop() == 0
