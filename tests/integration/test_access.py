# SPDX-License-Identifier: Apache-2.0
"""API keys: from the first one on the daemon answers nobody without, and each key does what its
scopes say."""
import pytest

ACCESS = "/access/keys"


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
        answer = asked.get("/events", headers=headers)
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
            else:
                assert "no rule" not in answer.json["detail"], (method, path)
    assert passed == {"/", "/openapi.json", "/proof/checkpoint", "/proof/inclusion",
                      "/proof/consistency", "/proof/key"}


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
    for query in ("", "?category=order,note", "?category=order&hidden=true", "?stream_prefix=n"):
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
    assert again.get("/events").status == 401
    assert again.get("/events", headers=bearer(secret)).status == 200
    assert (data / "access.key").stat().st_mode & 0o777 == 0o600
    again.stop()
    assert not (data / "access.key").exists()


def test_bad_keys_are_refused_with_a_reason(bank):
    for arguments in (("anna",), ("anna", "--scope", "reed:order"), ("anna", "--scope", "read"),
                      ("anna", "--scope", "read:a*b"), ("--scope", "admin"),
                      ("--service", "none"), ("a" * 65, "--scope", "admin")):
        assert bank.run("access", "add", *arguments, status=1).errors
