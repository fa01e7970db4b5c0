# SPDX-License-Identifier: Apache-2.0
"""What a key sees: reads of the book, lists, queries, views and commands give what its scopes name,
and do not tell of the rest. The oracle is the operator's answer, filtered here."""
import http.client
import json
import threading
import time
import urllib.request

import pytest
from conftest import TIMEOUT_S

FILES = {
    "book.yaml": "book: two\ndata: data\ndatabases: {reading: sqlite:reading.db}\n",
    "services/orders.yaml": "events: {append: [order, cart], read: [user]}\nmodels: [orders]\n",
    "services/users.yaml": "events: {append: [user]}\nmodels: [users]\n",
    "models/orders/model.yaml": "database: reading\nsync: events\nsource: [order, cart]\n",
    "models/orders/schema.sql": "CREATE TABLE orders (id TEXT PRIMARY KEY, user TEXT);\n",
    "models/orders/Placed.sql": "INSERT INTO orders VALUES (:_stream, :user);\n",
    "models/users/model.yaml": "database: reading\nsync: events\nsource: [user]\n",
    "models/users/schema.sql": "CREATE TABLE users (id TEXT PRIMARY KEY, name TEXT);\n",
    "models/users/Named.sql": "INSERT INTO users VALUES (:_stream, :name)\n"
                              "ON CONFLICT (id) DO UPDATE SET name = excluded.name;\n",
    "views/orders_by_user.sql": "-- refresh: every day at 02:00\n"
                                "SELECT user, count(*) AS n FROM orders GROUP BY user\n",
    "views/names.sql": "-- refresh: every day at 02:00\n"
                       "SELECT name, n FROM orders_by_user JOIN users ON users.id = user\n",
    "queries/Own.sql": "SELECT id, user FROM orders WHERE user = :user\n",
    "queries/OwnView.sql": "SELECT user, n FROM orders_by_user\n",
    "queries/Both.sql": "SELECT o.id, u.name FROM orders o JOIN users u ON u.id = o.user\n",
    "queries/BothView.sql": "SELECT name, n FROM names\n",
    # What is no model's.
    "queries/Beside.sql": "SELECT o.id, s.sql FROM orders o, sqlite_schema s\n",
    "queries/Below.sql": "SELECT id FROM orders\n"
                         "WHERE EXISTS (SELECT 1 FROM (SELECT * FROM sqlite_schema))\n",
    "queries/Log.sql": "SELECT count(*) AS n FROM events\n",
    "commands/Place.lua": """return {
        stream = function(command) return "order-" .. command.order end,
        decide = function(state, command)
            return { event("Placed", { user = command.user }),
                     event("Emptied", {}, { stream = "cart-" .. command.order }) }
        end,
    }""",
    "commands/Rename.lua": """return {
        stream = function(command) return "order-" .. command.order end,
        decide = function(state, command)
            return event("Named", { name = "x" }, { stream = "user-" .. command.order })
        end,
    }""",
    "commands/Name.lua": """return {
        stream = function(command) return "user-" .. command.user end,
        decide = function(state, command, stream)
            if stream.version > 3 then return refuse("named", "enough") end
            return event("Named", { name = command.name })
        end,
    }""",
}
SSE = {"Accept": "text/event-stream"}
LINES = {"Accept": "application/x-ndjson"}


def bearer(text):
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def book(make_book, tmp_path):
    for name, text in FILES.items():
        file = tmp_path / "book" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return make_book(tmp_path / "book")


@pytest.fixture
def server(book, serve):
    return serve(book)


def key(server, *scopes, **members):
    body = {"name": "k"} | members | {"scopes": list(scopes)}
    answer = server.post("/access/keys", body)
    assert answer.status == 201, answer
    return bearer(answer.json["secret"])


STREAMS = ["order-acme-1", "order-acme-2", "order-acmex-1", "order-globex-1", "order",
           "cart-acme-1", "cart-globex-1", "user-1", "orders-1", "note-1", "note-12"]


def fill(server, count=400):
    events = [{"stream": STREAMS[n * 7 % len(STREAMS)], "type": "ABC"[n % 3], "data": {"n": n}}
              for n in range(count)]
    assert server.post("/events", {"events": events}).status == 201


# Scopes, and which streams they are of.
KEYS = [
    (["read:order"], lambda s: s.split("-")[0] == "order"),
    (["read:order-acme-*", "read:cart-acme-*"],
     lambda s: s.startswith(("order-acme-", "cart-acme-"))),
    (["read:order-acme-*"], lambda s: s.startswith("order-acme-")),
    (["read:note-1", "read:user"], lambda s: s == "note-1" or s.startswith("user-")),
    (["read:ord*"], lambda s: s.startswith("ord")),
    (["read:*"], lambda s: True),
]


@pytest.mark.parametrize("scopes,sees", KEYS, ids=[" ".join(k[0]) for k in KEYS])
def test_reads_give_what_the_key_sees(server, scopes, sees):
    fill(server)
    headers = key(server, *scopes)
    everything = server.get("/events?limit=10000").json["events"]
    mine = [e for e in everything if sees(e["stream"])]
    assert 0 < len(mine) and (len(mine) < len(everything) or scopes == ["read:*"])
    for query, wanted in (
            ("", mine), ("backwards=true", mine[::-1]),
            ("type=A", [e for e in mine if e["type"] == "A"]),
            ("after=100&before=300", [e for e in mine if 100 < e["position"] < 300])):
        answer = server.get(f"/events?limit=10000&{query}", headers=headers)
        assert answer.json["events"] == wanted and not answer.json["more"], query
        assert server.get(f"/events?{query}", headers=headers | LINES).lines == wanted, query
        hidden = set(STREAMS) - {s for s in STREAMS if sees(s)}
        assert not any(f'"{stream}"' in answer.text for stream in hidden)
    # Page by page.
    pages, after, more = [], 0, True
    while more:
        page = server.get(f"/events?limit=7&after={after}", headers=headers).json
        pages, after, more = pages + page["events"], page["position"], page["more"]
        assert len(page["events"]) == 7 or not more
    assert pages == mine
    # What is named: what of it the key sees, or a refusal where that is nothing.
    for name in ("order", "cart", "user", "note", "orders", "order-acme"):
        answer = server.get(f"/events?limit=10000&category={name}", headers=headers)
        some = [e for e in mine if e["stream"].split("-")[0] == name]
        if some:
            assert answer.json["events"] == some, name
        else:
            assert answer.status == 403 or answer.json["events"] == [], (name, answer)
    for prefix in ("order-acme-", "order-acme-1", "order-", "o", "note-1", "zzz", "cart-globex"):
        answer = server.get(f"/events?limit=10000&stream_prefix={prefix}", headers=headers)
        some = [e for e in mine if e["stream"].startswith(prefix)]
        assert (answer.json["events"] == some) if some else (
            answer.status == 403 or answer.json["events"] == []), prefix
    for stream in STREAMS:
        answer = server.get(f"/streams/{stream}", headers=headers)
        assert answer.status == (200 if sees(stream) else 403), stream


def test_a_tail_and_a_long_poll_give_what_the_key_sees(server):
    fill(server, 50)
    headers = key(server, "read:order-acme-*", "read:cart-acme-*")
    sees = KEYS[1][1]
    got = []

    def follow():
        request = urllib.request.Request(server.url + "/events?after=0", headers=headers | SSE)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    got.append(json.loads(line[6:]))
                    if got[-1]["type"] == "End":
                        return

    thread = threading.Thread(target=follow)
    thread.start()
    fill(server, 50)
    last = server.get("/events?limit=1&backwards=true").json["position"]
    polled = []
    poller = threading.Thread(target=lambda: polled.append(server.get(
        f"/events?after={last}&wait_ms=30000", headers=headers).json["events"]))
    poller.start()
    time.sleep(0.3)
    for stream in ("order-globex-1", "cart-acme-1"):
        assert server.post(f"/streams/{stream}", {"type": "End", "data": {}}).status == 201
    thread.join(TIMEOUT_S)
    poller.join(TIMEOUT_S)
    everything = server.get("/events?limit=10000").json["events"]
    assert got == [e for e in everything if sees(e["stream"])]
    assert [e["stream"] for e in polled[0]] == ["cart-acme-1"]


def test_a_service_runs_and_reads_what_is_its_own(server, book):
    orders = key(server, service="orders")
    users = key(server, service="users")

    def do(headers, command, **body):
        return server.post(f"/commands/{command}", body, headers=headers)

    assert do(orders, "Place", order="1", user="user-1").status == 200
    assert do(users, "Name", user="1", name="Eve").status == 200
    # About its own streams, but with an event in another's: refused whole.
    before = server.get("/events?limit=1&backwards=true").json["position"]
    for headers, name, body in ((orders, "Rename", {"order": "1"}),
                                (users, "Rename", {"order": "1"}),
                                (orders, "Name", {"user": "1", "name": "Eve"}),
                                (users, "Place", {"order": "2", "user": "user-1"})):
        answer = do(headers, name, **body)
        assert answer.status == 403 and f"command:{name}" in answer.json["detail"], answer
        assert server.post(f"/commands/{name}?dry_run=true", body, headers=headers).status == 403
    assert server.get("/events?limit=1&backwards=true").json["position"] == before
    assert do(orders, "None").status == 404

    seen = {"Own": {"orders"}, "OwnView": {"orders"}, "Both": set(), "BothView": set(),
            "Log": set(), "Beside": set(), "Below": set()}
    for view in ("orders_by_user", "names"):
        assert server.post(f"/views/{view}/refresh").status == 200
    for service, headers in (("orders", orders), ("users", users)):
        for query, who in seen.items():
            answer = server.get(f"/queries/{query}{'?user=user-1' if query == 'Own' else ''}",
                                headers=headers)
            assert answer.status == (200 if service in who else 403), (service, query, answer)
        listed = {q["name"] for q in server.get("/queries", headers=headers).json["queries"]}
        assert listed == {query for query, who in seen.items() if service in who}
        models = server.get("/models", headers=headers).json["models"]
        assert [m["name"] for m in models] == [service]
        assert server.get(f"/models/{service}/tables/{service}", headers=headers).status == 200
        for path in ("/models/orders", "/models/users"):
            assert server.get(path, headers=headers).status == (200 if service in path else 403)
        views = server.get("/views", headers=headers).json["views"]
        assert [v["name"] for v in views] == (["orders_by_user"] if service == "orders" else [])
        for view in ("orders_by_user", "names"):
            status = 200 if view == "orders_by_user" and service == "orders" else 403
            assert server.get(f"/views/{view}", headers=headers).status == status
    lists = server.get("/queries", headers=key(server, "read-only")).json["queries"]
    assert {q["name"] for q in lists} == set(seen)


def test_a_command_within_a_prefix(server):
    headers = key(server, "command:Place/order-acme-*", "command:Name")
    place = server.post("/commands/Place", {"order": "acme-1", "user": "u"}, headers=headers)
    assert place.status == 403 and "command:Place/" in place.json["detail"]  # the cart's event
    headers = key(server, "command:Place/order-acme-*", "command:*/cart-acme-*", "command:Name")
    repeat = {"Idempotency-Key": "once"}
    for _ in range(2):
        answer = server.post("/commands/Place", {"order": "acme-1", "user": "u"},
                             headers=headers | repeat)
        assert answer.status == 200, answer
    assert answer.json["known"]
    # Somebody else's answer is not given again to who may not see its stream.
    other = key(server, "command:Place/order-globex-*", "command:*/cart-globex-*")
    assert server.post("/commands/Place", {"order": "acme-1", "user": "u"},
                       headers=other | repeat).status == 403
    assert server.post("/commands/Place", {"order": "globex-1", "user": "u"},
                       headers=headers).status == 403
    assert server.post("/commands/Name", {"user": "9", "name": "x"}, headers=headers).status == 200


def test_lists_of_groups(server):
    headers = key(server, "group:acme-*", "read:order")
    for name in ("acme-mail", "globex-mail"):
        made = {"categories": ["order"]}
        assert server.request("PUT", f"/groups/{name}", made).status == 201
    names = [g["name"] for g in server.get("/groups", headers=headers).json["groups"]]
    assert names == ["acme-mail"]
    headers = key(server, "read-only")
    names = [g["name"] for g in server.get("/groups", headers=headers).json["groups"]]
    assert names == ["acme-mail", "globex-mail"]


def test_other_scopes_count_at_once_and_for_good(book, serve):
    """Also for live answers, which end; a restart reads them again."""
    server = serve(book)
    made = server.post("/access/keys", {"name": "k", "scopes": ["read:order", "read:user"]}).json
    path, headers = f"/access/keys/{made['key']}/scopes", bearer(made["secret"])
    fill(server, 20)
    tail = urllib.request.urlopen(urllib.request.Request(
        server.url + "/events?category=user", headers=headers | SSE), timeout=TIMEOUT_S)
    assert tail.readline()
    for body in ({"scopes": ["read:order", "all"]}, {"scopes": []}, {"scopes": "read:order"}, {},
                 {"scopes": ["metrics"] * 65}, {"scopes": ["metrics"], "rate": 1}):
        assert server.post(path, body).status in (400, 413), body
    assert server.get("/events?category=user", headers=headers).status == 200
    assert server.post(path, {"scopes": ["read:order"]}, headers=headers).status == 403
    assert book.json("access", "scope", made["key"], "--scope", "read:order")["scopes"] == \
        ["read:order"]
    with pytest.raises(http.client.IncompleteRead):  # it breaks off
        tail.read()
    for _ in range(2):
        assert server.get("/events?category=user", headers=headers).status == 403
        assert server.get("/events?category=order", headers=headers).status == 200
        server.stop()
        server = serve(book)
    book.run("access", "scope", made["key"], status=1)


def test_scopes_of_a_services_file(book, serve):
    """On top of what follows from the rest of it, and as good as a key's own."""
    file = book.folder / "services" / "users.yaml"
    before = file.read_text()
    for scopes in ("[read:]", "[[read]]", "[all]"):
        file.write_text(before + f"scopes: {scopes}\n")
        assert "services/users.yaml:3:" in book.run("check", status=1).text
    file.write_text(before + "key: secret\n")
    assert "is named, not written here" in book.run("check", status=1).text
    file.write_text(before + "scopes: [read:note-1, query:Both, 'command:Place/order-eu-*']\n"
                    "key: file:secrets/users.key\n")
    server = serve(book)
    fill(server)
    headers = key(server, service="users")
    seen = {e["stream"] for e in server.get("/events?limit=10000", headers=headers).json["events"]}
    assert seen == {"user-1", "note-1"}
    assert server.get("/events?category=note", headers=headers).status == 200
    assert server.get("/queries/Both", headers=headers).status == 200
    for query in ("Own", "Beside"):
        assert server.get(f"/queries/{query}", headers=headers).status == 403
    assert book.json("service", "show", "users")["scopes"][0] == "read:note-1"
