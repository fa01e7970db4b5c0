# SPDX-License-Identifier: Apache-2.0
"""API keys: where services are declared, or from the first key on, the daemon answers nobody
without, and each key does what its scopes say."""
import http.client
import time
import urllib.parse

import pytest
from conftest import TIMEOUT_S

ACCESS = "/access/keys"
LISTS = {"/groups", "/models", "/views", "/plan", "/queries", "/captures"}


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def asked(bank, serve):
    """A server with an operator's key, which is its `admin`."""
    server = serve(bank)
    assert server.get("/events").status == 200
    server.admin = bank.json("access", "add", "anna", "--scope", "admin")
    return server


def add(server, *scopes, **members):
    body = {"name": "a program", "scopes": list(scopes)} | members
    answer = server.post(ACCESS, body, headers=bearer(server.admin["secret"]))
    assert answer.status == 201, answer
    return answer.json


def test_without_a_good_key_nothing_is_answered(asked, bank):
    good = asked.admin["secret"]
    wrong = [good[:-1], good + "x", good[:-1] + ("a" if good[-1] != "a" else "b"),
             "dbk_" + "a" * 12 + good[16:], "", "x" * 4000, good.replace("_", " ")]
    for headers in [{}] + [bearer(key) for key in wrong] + [{"Authorization": f"Basic {good}"}]:
        answer = asked.get("/events", headers=headers, local=False)
        assert (answer.status, answer.json["code"]) == (401, "unauthorized"), (headers, answer)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert asked.get("/events", headers={"Authorization": f"bearer  {good} "}).status == 200
    # Commands of this machine's operator find a key of their own.
    assert bank.run("read").text


def test_every_operation_has_a_rule(asked):
    """A key that may nothing of what there is gets nowhere, but where nothing is told."""
    key = add(asked, "model:none")
    paths = asked.get("/openapi.json", headers=bearer(asked.admin["secret"])).json["paths"]
    passed = set()
    for path, operations in paths.items():
        for method in operations:
            url = path
            while "{" in url:
                url = url[:url.index("{")] + "account-1" + url[url.index("}") + 1:]
            body = ({"events": [{"stream": "account-1", "type": "X"}]}
                    if path in ("/events",) and method == "post" else None)
            answer = asked.request(method.upper(), url, body, headers=bearer(key["secret"]))
            if answer.status != 403:
                passed.add(path)
                # Lists have nothing that it may not see.
                assert path not in LISTS or answer.json == {path[1:]: []}
            else:
                assert "no rule" not in answer.json["detail"], (method, path)
    assert passed == LISTS | {"/", "/healthz", "/openapi.json", "/proof/checkpoint",
                              "/proof/inclusion", "/proof/consistency", "/proof/key"}


def test_scopes_of_streams(asked):
    key = bearer(add(asked, "append:order-eu-*", "read:order", "append:note-1")["secret"])
    event = {"type": "Made", "data": {}}
    assert asked.post("/streams/order-eu-1", event, headers=key).status == 201
    assert asked.post("/streams/note-1", event, headers=key).status == 201
    for path in ("/streams/order-us-1", "/streams/order-eu", "/streams/note-12"):
        answer = asked.post(path, event, headers=key)
        assert answer.status == 403 and "append:" in answer.json["detail"], answer
    batch = {"events": [event | {"stream": "order-eu-2"}, event | {"stream": "order-us-2"}]}
    assert asked.post("/events", batch, headers=key).status == 403
    assert asked.get("/streams/order-eu-1", headers=key).status == 200
    assert asked.get("/streams/note-1", headers=key).status == 403
    assert asked.get("/events?category=order", headers=key).json["events"]
    assert asked.get("/events", headers=key).json == asked.get("/events?category=order",
                                                               headers=key).json
    for query in ("?category=order,note", "?category=order&hidden=true", "?stream_prefix=n"):
        answer = asked.get("/events" + query, headers=key)
        assert answer.status == 403 and "read:" in answer.json["detail"], (query, answer)


def test_a_group_is_read_by_its_filter_and_not_by_its_name(asked):
    admin = bearer(asked.admin["secret"])
    key = bearer(add(asked, "group:orders-*", "read:order")["secret"])
    event = {"type": "Made", "data": {}}
    for stream in ("order-1", "note-1"):
        assert asked.post(f"/streams/{stream}", event, headers=admin).status == 201
    made = {"categories": ["order"]}
    assert asked.request("PUT", "/groups/orders-a", made, headers=key).status == 201
    assert asked.request("PUT", "/groups/orders-b", {}, headers=key).status == 403
    assert asked.request("PUT", "/groups/orders-b", {}, headers=admin).status == 201
    answer = asked.post("/groups/orders-a/read", headers=key)
    assert [one["stream"] for one in answer.json["events"]] == ["order-1"]
    for method, path in (("POST", "read"), ("GET", "parked"), ("GET", "events")):
        answer = asked.request(method, f"/groups/orders-b/{path}", headers=key)
        assert answer.status == 403 and "read:" in answer.json["detail"], answer
    # The one that it made is widened by somebody else.
    wide = {"categories": ["order", "note"], "after": 0}
    assert asked.request("PUT", "/groups/orders-a", wide, headers=admin).status == 200
    assert asked.post("/groups/orders-a/read", headers=key).status == 403
    assert asked.post("/groups/orders-a/read", headers=admin).status == 200
    assert asked.get("/groups/orders-none", headers=key).status == 404


def test_a_proof_is_for_who_reads_its_event(asked):
    """Whose text has all of the event, also where JSON is not asked for."""
    made = asked.post("/streams/order-1", {"type": "Made", "data": {"a": 1}},
                      headers=bearer(asked.admin["secret"])).json
    path = f"/proof/inclusion?position={made['position']}"
    for scopes, refused in ((["metrics"], True), (["read:account"], True), (["read:*"], False),
                            (["read:order"], False)):
        for accept in ("application/json", "text/plain"):
            answer = asked.get(path, headers={**bearer(add(asked, *scopes)["secret"]),
                                              "Accept": accept})
            assert (answer.status == 403) == refused, (scopes, accept)
            assert not refused or ("order" not in answer.text and "Made" not in answer.text)


def test_rotation_and_revocation(asked, bank):
    key = add(asked, "read:account")
    newer = bank.json("access", "rotate", key["key"])
    path = "/events?category=account"
    for secret in (key["secret"], newer["secret"]):
        assert asked.get(path, headers=bearer(secret)).status == 200
    assert bank.run("access", "rotate", key["key"], status=4)
    bank.run("access", "revoke", key["key"], "--old")
    assert asked.get(path, headers=bearer(key["secret"])).status == 401
    assert asked.get(path, headers=bearer(newer["secret"])).status == 200
    bank.run("access", "revoke", key["key"])
    assert asked.get(path, headers=bearer(newer["secret"])).status == 401
    states = {row["key"]: row["state"] for row in bank.json("access", "ls")}
    assert states[key["key"]] == "revoked" and states[asked.admin["key"]] == "good"


def test_keys_outlive_the_server_and_are_not_kept(asked, bank, serve, data):
    asked.kill()
    secret = asked.admin["secret"]
    log = b"".join(file.read_bytes() for file in data.rglob("*") if file.is_file())
    assert secret.encode() not in log and secret[17:].encode() not in log
    again = serve(bank)
    assert again.get("/events", local=False).status == 401
    assert again.get("/events", headers=bearer(secret)).status == 200
    assert (data / "access.key").stat().st_mode & 0o777 == 0o600
    again.stop()
    assert not (data / "access.key").exists()


def test_bad_keys_are_refused_with_a_reason(bank):
    for arguments in (("anna",), ("anna", "--scope", "reed:order"), ("anna", "--scope", "read"),
                      ("anna", "--scope", "read:a*b"), ("--scope", "admin"),
                      ("--service", "none"), ("a" * 65, "--scope", "admin")):
        assert bank.run("access", "add", *arguments, status=1).errors


SERVICES = {"users": "events: {append: [user]}\n",
            "orders": "events:\n  append: [order]\n  read: [user]\n"}


@pytest.fixture
def services(make_book, tmp_path):
    """A book of two services whose data are events only."""
    folder = tmp_path / "book"
    (folder / "services").mkdir(parents=True)
    (folder / "book.yaml").write_text("book: two\ndata: data\n")
    for name, text in SERVICES.items():
        (folder / "services" / f"{name}.yaml").write_text(text)
    return make_book(folder)


def test_a_book_that_declares_services_asks_from_the_start(services, serve, data):
    server = serve(services)
    for path in ("/", "/events", "/metrics", "/openapi.json", "/nothing", "/healthz/x"):
        assert server.get(path, local=False).status == 401, path
    # Whether it is up is told to everybody, and nothing else.
    answer = server.get("/healthz", local=False)
    assert (answer.status, answer.json) == (200, {"status": "up"})
    assert server.get("/healthz?x=1", local=False).status == 400
    assert server.post("/healthz", {}, local=False).status == 401
    assert server.get("/healthz", headers=bearer("dbk_none"), local=False).status == 401
    assert server.get("/healthz").json["status"] == "ok"
    # The first keys come from this machine's operator, whose own lies beside the data.
    assert (data / "access.key").stat().st_mode & 0o777 == 0o600
    key = bearer(services.json("access", "add", "--service", "orders")["secret"])
    event = {"type": "Made", "data": {}}
    assert server.get("/healthz", headers=key).json == {"status": "up"}
    assert server.post("/streams/order-1", event, headers=key).status == 201
    assert server.post("/streams/user-1", event, headers=key).status == 403
    assert server.get("/events?category=user", headers=key).status == 200
    assert server.stop() == 0
    assert not (data / "access.key").exists()
    # Without a server its files' modes are what protects the book.
    assert services.run("read").text


class Held:
    """An answer that is under way."""

    def __init__(self, server, path, key, accept, timeout=TIMEOUT_S):
        place = urllib.parse.urlsplit(server.url).netloc
        self.connection = http.client.HTTPConnection(place, timeout=timeout)
        self.connection.request("GET", path, headers=key | {"Accept": accept})

    def head(self):
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200
        return self

    def rest(self):
        """How long it goes on, and what it still says."""
        begun = time.monotonic()
        try:
            text = self.answer.read()
        except http.client.IncompleteRead as broken:
            text = broken.partial
        self.connection.close()
        return time.monotonic() - begun, text


@pytest.mark.parametrize("how", ["key", "old"])
def test_answers_under_way_end_with_their_key(asked, bank, how):
    """Live tails, long polls and consumers of a group: also when only the secret that they were
    asked with has ended, while the key's other one goes on."""
    admin = bearer(asked.admin["secret"])
    made = add(asked, "read:order", "group:g")
    key = bearer(made["secret"])
    assert asked.request("PUT", "/groups/g", {"categories": ["order"]}, headers=key).status == 201
    newer = bearer(bank.json("access", "rotate", made["key"])["secret"])
    sse = "text/event-stream"
    held = [Held(asked, "/events?category=order", key, sse).head(),
            Held(asked, "/groups/g/events", key, sse).head()]
    poll = Held(asked, "/events?category=order&wait_ms=60000", key, "*/*")
    other = Held(asked, "/events?category=order", newer, sse, timeout=3).head()
    time.sleep(0.3)  # the poll has begun to wait
    bank.run("access", "revoke", made["key"], *(["--old"] if how == "old" else []))
    for one in held:
        took, _ = one.rest()
        assert took < 10
    assert asked.post("/streams/order-1", {"type": "Late", "data": {}},
                      headers=admin).status == 201
    took, text = poll.head().rest()
    assert took < 10 and b"Late" not in text
    if how == "old":
        lines = [other.answer.readline() for _ in range(4)]
        assert b"Late" in b"".join(lines)
        other.connection.close()
    else:
        assert b"Late" not in other.rest()[1]


def test_answers_from_before_the_first_key_end_with_it(bank, serve):
    """Nobody's tails and consumers neither go on nor bring the daemon down."""
    server = serve(bank)
    assert server.request("PUT", "/groups/g", {}).status == 201
    sse = "text/event-stream"
    held = [Held(server, path, {}, sse).head() for path in ("/events", "/groups/g/events")]
    poll = Held(server, "/events?after=now&wait_ms=60000", {}, "*/*")
    time.sleep(0.3)  # the poll has begun to wait
    bank.run("access", "add", "anna", "--scope", "admin")
    assert server.post("/streams/order-1", {"type": "Late", "data": {}}).status == 201
    for one in [*held, poll.head()]:
        took, text = one.rest()
        assert took < 10 and b"Late" not in text
    assert server.get("/healthz").json["status"] == "ok"


def test_lines_end_with_their_key(asked, bank):
    """A long answer whose reader is slow is not read to its end by a key that was revoked."""
    admin = bearer(asked.admin["secret"])
    key = add(asked, "read:order")
    big = {"type": "Made", "data": {"text": "x" * 60000}}
    for _ in range(4):
        assert asked.post("/streams/order-1", [big] * 100, headers=admin).status == 201
    held = Held(asked, "/events?category=order", bearer(key["secret"]), "application/x-ndjson")
    held.head()
    bank.run("access", "revoke", key["key"])
    _, text = held.rest()
    assert text.count(b"Made") < 400
