# SPDX-License-Identifier: Apache-2.0
"""Consumer groups over HTTP and the command line, and the ways to follow a book."""
import http.client
import json
import threading
import time
import urllib.parse

from conftest import Server

SSE = {"Accept": "text/event-stream"}


def append(server, stream, count=1):
    events = [{"type": "Happened", "data": {"n": n}} for n in range(count)]
    answer = server.post(f"/streams/{stream}", events)
    assert answer.status == 201, answer
    return answer


class Live:
    """A connection with a live stream, read event by event."""

    def __init__(self, server, path, headers=None):
        self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(server.url).netloc,
                                                     timeout=30)
        self.connection.request("GET", path, headers=SSE | (headers or {}))
        self.reply = self.connection.getresponse()
        assert self.reply.status == 200, self.reply.read()

    def next(self):
        fields = {}
        while True:
            line = self.reply.readline().decode().rstrip("\n")
            assert line or fields or not self.reply.isclosed(), "the stream has ended"
            if line.startswith(":"):
                assert self.reply.readline() == b"\n"
            elif line:
                name, value = line.split(": ", 1)
                fields[name] = value
            elif fields:
                return fields

    def event(self):
        return json.loads(self.next()["data"])

    def close(self):
        self.reply.close()
        self.connection.close()


def group(server, name="g"):
    return server.get(f"/groups/{name}").json


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def test_a_group_over_http(bank, serve):
    server = serve(bank)
    append(server, "order-1", 3)
    append(server, "other-1")
    made = server.request("PUT", "/groups/g", {"categories": ["order"], "retry_delay": "0 s",
                                               "max_retries": 1})
    assert made.status == 201 and made.json["settings"]["max_retries"] == 1
    assert server.request("PUT", "/groups/g", {"categories": ["order"], "retry_delay": "0 s",
                                               "max_retries": 1}).status == 200
    first = server.post("/groups/g/read?limit=2").json["events"]
    assert [(e["position"], e["attempt"], e["data"]) for e in first] == [
        (1, 1, {"n": 0}), (2, 1, {"n": 1})]
    assert server.post("/groups/g/ack", {"positions": [1]}).json == {"acked": 1}
    assert server.post("/groups/g/ack", {"positions": [1, 4, 99]}).json == {"acked": 0}
    assert server.post("/groups/g/nack", {"positions": [2], "reason": "a\u20ac" * 200}).json == {
        "nacked": 1}
    again = server.post("/groups/g/read?limit=9").json["events"]
    assert [(e["position"], e["attempt"]) for e in again] == [(2, 2), (3, 1)]
    server.post("/groups/g/nack", {"positions": [2], "action": "retry", "delay": "1 s"})
    parked = server.get("/groups/g/parked").json["parked"]
    assert [(p["position"], p["stream"], p["attempts"]) for p in parked] == [(2, "order-1", 2)]
    assert parked[0]["reason"] == ""
    server.post("/groups/g/nack", {"positions": [3], "action": "skip"})
    state = group(server)
    assert (state["leased"], state["parked"], state["ready"], state["acked"]) == (0, 1, 0, 1)
    metrics = server.get("/metrics").text
    assert 'daybook_group_parked{group="g"} 1\n' in metrics
    assert 'daybook_group_open{group="g"} 0\n' in metrics
    assert server.post("/groups/g/parked/replay", {"positions": [2]}).json == {"replayed": 1}
    assert server.post("/groups/g/read").json["events"][0]["attempt"] == 1
    assert server.request("DELETE", "/groups/g").status == 200
    assert server.get("/groups").json == {"groups": []}


def test_bad_input_says_what_is_wrong_and_stores_nothing(bank, serve):
    server = serve(bank)
    server.request("PUT", "/groups/g", {})
    before = server.get("/healthz").json["position"]
    bad = [
        ("PUT", "/groups/a b", {}, 400), ("PUT", "/groups/" + "g" * 65, {}, 400),
        ("PUT", "/groups/x", [], 400), ("PUT", "/groups/x", b"{", 400),
        ("PUT", "/groups/x", {"window": 0}, 400), ("PUT", "/groups/x", {"timeout": 5}, 400),
        ("PUT", "/groups/x", {"query": [{"tagz": []}]}, 400),
        ("GET", "/groups/nobody", None, 404), ("DELETE", "/groups/nobody", None, 404),
        ("POST", "/groups/nobody/read", None, 404), ("GET", "/groups/g/events", None, 400),
        ("POST", "/groups/g/read?limit=0", None, 400),
        ("POST", "/groups/g/read?limit=1001", None, 400),
        ("POST", "/groups/g/read?wait_ms=300001", None, 400),
        ("POST", "/groups/g/read?colour=red", None, 400),
        ("POST", "/groups/g/ack", None, 400), ("POST", "/groups/g/ack", {"positions": []}, 400),
        ("POST", "/groups/g/ack", {"positions": [0]}, 400),
        ("POST", "/groups/g/ack", {"positions": ["1"]}, 400),
        ("POST", "/groups/g/ack", {"positions": [1], "action": "park"}, 400),
        ("POST", "/groups/g/ack", {"positions": list(range(1, 1002))}, 413),
        ("POST", "/groups/g/nack", {"positions": [1], "action": "eat"}, 400),
        ("POST", "/groups/g/nack", {"positions": [1], "delay": "soon"}, 400),
        ("POST", "/groups/g/nack", {"positions": [1], "reason": 5}, 400),
        ("POST", "/groups/g/parked/replay", {"positions": [7]}, 404),
        ("POST", "/groups/g/parked/drop", {"all": True}, 400),
        ("GET", "/events?wait_ms=5&backwards=true", None, 400),
        ("GET", "/events?wait_ms=300001", None, 400),
    ]
    for method, path, body, status in bad:
        answer = server.request(method, urllib.parse.quote(path, safe="/?=&"), body)
        assert answer.status == status, (method, path, body, answer)
        assert len(answer.json["detail"]) > 10
    assert server.get("/healthz").json["position"] == before


def test_a_group_without_work_is_not_behind(bank, serve):
    server = serve(bank)
    server.request("PUT", "/groups/g", {"types": ["Happened"]})
    assert group(server)["behind"] == 0 and group(server)["ready"] == 0
    append(server, "other-1", 3)
    # What is deliverable is said to be, though nobody has read yet.
    assert group(server)["behind"] == 0 and group(server)["ready"] == 3
    positions = [e["position"] for e in server.post("/groups/g/read?limit=3").json["events"]]
    assert server.post("/groups/g/ack", {"positions": positions}).json["acked"] == 3
    # Nor is it behind what it has saved of itself.
    wait_for(lambda: bank.run("read", "$group-g", "-o", "jsonl").lines[-1]["version"] > 1)
    assert group(server)["behind"] == 0 and group(server)["ready"] == 0
    assert "daybook_group_behind{group=\"g\"} 0" in server.get("/metrics").text


def test_consumers_share_and_one_that_dies_loses_nothing(bank, serve):
    server = serve(bank)
    server.request("PUT", "/groups/g", {"categories": ["order"], "max_retries": 5})
    one, two = [Live(server, "/groups/g/events?unacked=2") for _ in range(2)]
    append(server, "order-1", 6)
    wait_for(lambda: group(server)["leased"] == 4)
    assert group(server)["consumers"] == 2
    mine = [one.event()["position"], one.event()["position"]]
    others = [two.event()["position"], two.event()["position"]]
    assert len(set(mine + others)) == 4
    two.close()
    wait_for(lambda: group(server)["consumers"] == 1)
    done = []
    while len(done) < 6:
        server.post("/groups/g/ack", {"positions": mine})
        done += mine
        mine = []
        while len(done) + len(mine) < 6 and len(mine) < 2:
            mine.append(one.event()["position"])
    assert sorted(done) == sorted(set(done)) and set(others) <= set(done)
    wait_for(lambda: group(server)["leased"] == 0)
    one.close()


def test_a_killed_server_loses_nothing(bank, serve):
    server = serve(bank)
    server.request("PUT", "/groups/g", {"categories": ["order"], "order": "stream"})
    append(server, "order-1", 5)
    got = server.post("/groups/g/read?limit=5").json["events"]
    assert len(got) == 1  # in order, one after the other
    server.post("/groups/g/ack", {"positions": [got[0]["position"]]})
    leased = server.post("/groups/g/read").json["events"][0]["position"]
    server.kill()
    server = Server(bank)
    try:
        seen = []
        while len(seen) < 10:
            events = server.post("/groups/g/read?limit=10&wait_ms=200").json["events"]
            if not events and group(server)["waiting"] == 0:
                break
            seen += [e["position"] for e in events]
            server.post("/groups/g/ack", {"positions": [e["position"] for e in events] or [1]})
        assert leased in seen and seen == sorted(seen)
        assert group(server)["ready"] == 0 and seen[-1] == got[0]["position"] + 4
    finally:
        server.stop()
    last = bank.json("group", "show", "g")
    assert last["ready"] == last["leased"] == last["waiting"] == 0


def test_a_long_poll_answers_with_the_first_event(bank, serve):
    server = serve(bank)
    server.request("PUT", "/groups/g", {"categories": ["order"]})
    answers = {}

    def poll(name, method, path):
        answers[name] = server.request(method, path)

    threads = [threading.Thread(target=poll, args=arguments) for arguments in
               (("group", "POST", "/groups/g/read?wait_ms=20000"),
                ("book", "GET", "/events?category=order&after=0&wait_ms=20000"))]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    append(server, "other-1")
    time.sleep(0.1)
    assert not answers
    append(server, "order-1")
    for thread in threads:
        thread.join(20)
    event = answers["group"].json["events"][0]
    assert event["stream"] == "order-1"
    book = answers["book"].json
    assert [e["position"] for e in book["events"]] == [event["position"]] and not book["more"]
    began = time.monotonic()
    empty = server.get(f"/events?category=order&after={book['position']}&wait_ms=200")
    assert empty.json["events"] == [] and time.monotonic() - began >= 0.2


def test_polling_beside_a_writer_has_no_gap(bank, serve):
    server = serve(bank)
    ends = threading.Event()

    def write():
        for _ in range(150):
            append(server, "order-1", 2)
        ends.set()

    writer = threading.Thread(target=write)
    writer.start()
    after, seen = 0, []
    while not ends.is_set() or len(seen) < 300:
        answer = server.get(f"/events?category=order&after={after}&limit=7&wait_ms=500").json
        seen += [e["position"] for e in answer["events"]]
        after = answer["position"]
        assert not answer["events"] or after >= answer["events"][-1]["position"]
    writer.join()
    assert seen == list(range(1, 301))


def test_a_tail_resumes_and_filters(bank, serve):
    server = serve(bank)
    append(server, "order-1", 2)
    append(server, "other-1", 2)
    live = Live(server, "/events?category=order&after=0")
    assert [live.next()["id"], live.next()["id"]] == ["1", "2"]
    live.close()
    append(server, "order-1", 2)
    live = Live(server, "/events?category=order", {"Last-Event-ID": "2"})
    assert [live.next()["id"], live.next()["id"]] == ["5", "6"]
    append(server, "order-2")
    assert live.next()["id"] == "7"
    live.close()


def test_a_slow_subscriber_is_bounded_and_a_gone_one_noticed(bank, serve):
    server = serve(bank)
    for _ in range(40):
        assert server.post("/streams/order-1", [{"type": "T", "data": "x" * 60000}] * 10).status \
            == 201
    live = Live(server, "/events?after=0")  # and does not read

    def tails():
        text = server.get("/metrics").text
        return int(next(line.split()[1] for line in text.splitlines()
                        if line.startswith("daybook_tails")))

    wait_for(lambda: tails() == 1)
    with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
        anonymous = int(next(line.split()[1] for line in status if line.startswith("RssAnon")))
    assert anonymous < 64 * 1024
    assert append(server, "order-2").status == 201  # nobody else waits for it
    live.close()
    wait_for(lambda: tails() == 0)


def test_the_command_line(bank):
    for n in range(4):
        bank.run("append", f"order-{n % 2}", "Happened", json.dumps({"n": n}))
    assert bank.json("group", "set", "g", "--category", "order", "--retry-delay", "0 s",
                     "--max-retries", "1")["name"] == "g"
    assert [e["position"] for e in bank.json("group", "read", "g", "--limit", 2)] == [1, 2]
    assert bank.json("group", "ack", "g", 1) == {"acked": 1}
    script = ('read line; case $line in *\'"n": 1\'*) exit 65;; *\'"n": 2\'*) exit 3;; esac; '
              'echo "$line"')
    run = bank.run("group", "run", "g", "--until-empty", "-o", "json", "--", "sh", "-c", script)
    assert [line["data"] for line in run.lines] == [{"n": 3}]
    assert json.loads(run.errors) == {"acked": 1, "nacked": 3}
    parked = bank.json("group", "parked", "g")
    assert [(p["position"], p["reason"]) for p in parked] == [(2, "exit status 65"),
                                                               (3, "exit status 3")]
    assert bank.json("group", "replay", "g", 3) == {"replayed": 1}
    assert bank.json("group", "nack", "g", 3, "--action", "skip") == {"nacked": 1}
    assert bank.json("group", "drop", "g", "--all") == {"dropped": 1}
    assert [g["name"] for g in bank.json("group", "ls")] == ["g"]
    bank.run("group", "replay", "g", status=2)
    bank.run("group", "ack", "g", "x", status=2)
    bank.run("group", "run", "g", "--until-empty", "--", "/no/such/command")
    bank.run("append", "order-1", "Happened", "{}")
    assert "no/such/command" in bank.run("group", "run", "g", "--", "/no/such/command",
                                         status=1).errors
    assert bank.json("group", "rm", "g") == {"removed": "g"}
    assert "no group g" in bank.run("group", "show", "g", status=1).errors
