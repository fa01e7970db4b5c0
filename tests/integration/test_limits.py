# SPDX-License-Identifier: Apache-2.0
"""Keys that may ask so often, refusals that are written down, and rotation while requests go on."""
import http.client
import threading
import time
import urllib.parse

import pytest
from conftest import TIMEOUT_S


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def server(bank, serve):
    server = serve(bank)
    server.admin = bank.json("access", "add", "anna", "--scope", "admin")
    return server


def add(server, *scopes, **members):
    answer = server.post("/access/keys", {"name": "k", "scopes": list(scopes)} | members)
    assert answer.status == 201, answer
    return answer.json


class Kept:
    """Requests over one connection."""

    def __init__(self, server, secret):
        place = urllib.parse.urlsplit(server.url).netloc
        self.connection = http.client.HTTPConnection(place, timeout=TIMEOUT_S)
        self.secret = secret

    def get(self, path):
        self.connection.request("GET", path, headers=bearer(self.secret))
        answer = self.connection.getresponse()
        answer.text = answer.read()
        return answer


def test_a_key_asks_as_often_as_it_may(server, bank, serve, tmp_path):
    made = add(server, "read:account", rate=2, burst=5)
    kept, begun = Kept(server, made["secret"]), time.monotonic()
    answers = [kept.get("/events?category=account") for _ in range(200)]
    passed = sum(answer.status == 200 for answer in answers)
    assert 5 <= passed <= 5 + 2 * (time.monotonic() - begun) + 1
    late = [answer for answer in answers if answer.status != 200]
    assert {answer.status for answer in late} == {429}
    assert {answer.getheader("Retry-After") for answer in late} == {"1"}
    assert b'"throttled"' in late[0].text and made["key"].encode() in late[0].text
    metrics = server.get("/metrics").text
    assert f'daybook_access_throttled_total{{key="{made["key"]}"}} {len(late)}\n' in metrics
    assert f'daybook_access_requests_total{{key="{made["key"]}"}} 200\n' in metrics
    assert f'daybook_access_refused_total{{reason="throttled"}} {len(late)}\n' in metrics
    # Nobody else is kept from asking; commands say why.
    assert server.get("/events").status == 200
    file = tmp_path / "key"
    file.write_text(made["secret"])
    for _ in range(10):
        answer = server.get("/events?category=account", headers=bearer(made["secret"]))
    assert answer.status == 429
    row = next(r for r in bank.json("access", "ls") if r["key"] == made["key"])
    assert (row["rate"], row["burst"]) == (2, 5) and row["throttled"] >= len(late)
    # The limit outlives the server, and can be changed at once.
    bank.run("access", "limit", made["key"], "--rate", "3")
    server.kill()
    again = serve(bank)
    row = next(r for r in again.get("/access/keys").json["keys"] if r["key"] == made["key"])
    assert (row["rate"], row["burst"]) == (3, 3)
    bank.run("access", "limit", made["key"], "--none")
    kept = Kept(again, made["secret"])
    assert {kept.get("/events?category=account").status for _ in range(100)} == {200}


def test_limits_that_are_none_are_refused(server, bank):
    for members in ({"rate": 0}, {"rate": -1}, {"rate": 1000001}, {"rate": "5"}, {"rate": 1.5},
                    {"burst": 5}, {"rate": 5, "burst": 0}):
        answer = server.post("/access/keys", {"name": "k", "scopes": ["admin"]} | members)
        assert answer.status == 400 and "1 to 1000000" in answer.json["detail"], members
    key = server.admin["key"]
    for body in ({}, {"rate": 0}, {"burst": 5}, {"rate": None, "burst": 5}, {"rate": 5, "x": 1}):
        assert server.post(f"/access/keys/{key}/limit", body).status == 400, body
    assert server.post("/access/keys/none/limit", {"rate": 5}).status == 404
    bank.run("access", "limit", key, status=1)
    bank.run("access", "add", "eve", "--scope", "admin", "--rate", "0", status=1)


def refusals(server):
    """The events of `$access`, each as its data."""
    answer = server.get("/streams/$access?limit=10000")
    return [] if answer.status == 404 else [event["data"] for event in answer.json["events"]]


def count(server, **members):
    return sum(data["count"] for data in refusals(server)
               if all(data.get(name) == value for name, value in members.items()))


def wait_for(what):
    end = time.monotonic() + TIMEOUT_S
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_refusals_are_written_down_and_bounded(server, data, bank, serve):
    made = add(server, "read:account")
    key, secret = made["key"], made["secret"]
    wrong = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    good, bad, strange = Kept(server, secret), Kept(server, wrong), Kept(server, "none")
    for _ in range(500):
        assert good.get("/streams/order-7").status == 403
        assert bad.get("/events").status == 401
        assert strange.get("/events").status == 401
    # What was sent is not written down: neither names that the book does not have, nor a key that
    # somebody wrote into a path.
    event = {"type": "Made", "data": {}}
    for path in (f"/streams/{secret}", "/streams/eve@example.com", "/models/eve@example.com",
                 "/commands/Withdraw"):
        assert server.post(path, event, headers=bearer(secret)).status in (403, 405)
    wait_for(lambda: len(refusals(server)) >= 5)
    server.stop()
    again = serve(bank)
    rows = refusals(again)
    assert len(rows) < 20
    assert count(again, reason="denied", operation="GET /streams/{stream}") == 500
    assert count(again, reason="unauthorized", key=key) == 500
    assert count(again, reason="unauthorized", key=None) == 500
    assert count(again, key=key, needs="command:Withdraw") == 1
    # `account` is a category of the book's, `order` none.
    assert {row.get("needs") for row in rows} == {"read", "append", "command:Withdraw", None}
    assert all(row["from"] <= row["to"] for row in rows)
    text = str(rows)
    assert "eve" not in text and secret[17:] not in text and wrong[17:] not in text
    stored = b"".join(file.read_bytes() for file in data.rglob("*") if file.is_file())
    for part in (secret[17:], wrong[17:], "eve@example.com"):
        assert part.encode() not in stored
    # Hidden, and for those alone who may read the book's own streams.
    assert all(not e["stream"].startswith("$") for e in again.get("/events").json["events"])
    assert again.get("/streams/$access", headers=bearer(secret)).status == 403
    assert again.post("/streams/$access", event).status in (400, 403)


def test_rotation_while_requests_go_on(server, bank):
    """Threads ask all the time, some with the newest secret, some with the one before it for a
    second; nobody is refused, and each old secret ends when it was said to."""
    made = add(server, "read:account")
    told, stop, failures, counts = [made["secret"]], threading.Event(), [], [0] * 4

    def ask(n):
        kept = Kept(server, told[-1])
        while not stop.is_set():
            if n % 2:
                kept.secret = told[-1]  # the others go on with theirs for a second
            elif len(told) > 1 and time.monotonic() - switched[0] > 1:
                kept.secret = told[-1]
            answer = kept.get("/events?category=account")
            counts[n] += 1
            if answer.status != 200:
                failures.append((n, answer.status))

    switched = [time.monotonic()]
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            newer = bank.json("access", "rotate", made["key"], "--keep", "2s")
            switched[0] = time.monotonic()
            told.append(newer["secret"])
            old = Kept(server, told[-2])
            wait_for(lambda: old.get("/events?category=account").status == 401)
            assert time.monotonic() - switched[0] < 10
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures and min(counts) > 100
    assert len(set(told)) == 4
