# SPDX-License-Identifier: Apache-2.0
"""Alerts of a view: who is told of what, at least once, in order and with an id that stays.

What is to be told is found from the view's changes, as anybody who follows it gets them; a webhook
notes what it was told. DAYBOOK_KILLS=0 kills the daemon before each call that changes a file.
"""

import contextlib
import http.server
import json
import os
import random
import shutil
import sqlite3
import subprocess
import threading
import time

import pytest

from conftest import BANK, clean_environment

KILLS = int(os.environ.get("DAYBOOK_KILLS", "6"))
SELECT = "SELECT account, balance FROM balances\n"
HEAD = "-- refresh: continuous\n-- database: reading\n"


class Hook:
    """A webhook; `answers` are given one after the other, then 200."""

    def __init__(self):
        self.told = []
        self.headers = []
        self.answers = []
        self.killed = None  # a server that is killed by being told, which then does not count
        self.unheard = []
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):  # pylint: disable=invalid-name
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if hook.killed is not None:
                    hook.killed.process.kill()
                    hook.killed = None
                    hook.unheard.append(body)
                    return
                hook.told.append(body)
                hook.headers.append(dict(self.headers))
                status = hook.answers.pop(0) if hook.answers else 200
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/stock"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def ids(self):
        return [told["id"] for told in self.told]

    def end(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hook():
    made = Hook()
    yield made
    made.end()


@pytest.fixture
def book(make_book, tmp_path):
    folder = tmp_path / "bank"
    shutil.copytree(BANK, folder)
    made = make_book(folder)
    for name in "abc":
        made.run("do", "Open", f"account={name}")
        made.run("do", "Deposit", f"account={name}", "amount=50")
    return made


def write(book, *alerts, head=HEAD, select=SELECT):
    (book.folder / "views" / "accounts.sql").write_text(head + "".join(alerts) + select)


def alert(name, when, to, *more):
    lines = (f"alert: {name}", f"when: {when}", f"to: {to}", *more)
    return "".join(f"-- {line}\n" for line in lines)


def wait_for(what, seconds=20):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def do(server, command, **body):
    """Done, and seen by the view: what one refresh takes together is judged together."""
    answer = server.post(f"/commands/{command}", body)
    assert answer.status == 200, answer
    after = answer.json["position"]
    assert server.get(f"/views/accounts?after={after}&timeout_ms=9000").status == 200


def withdraw(server, account, amount):
    do(server, "Withdraw", account=account, amount=amount)


def ready(server, view="accounts"):
    """The first fill is there: what it is begun with is told to nobody."""
    wait_for(lambda: server.get(f"/views/{view}").status == 200)


def status(server, index=0):
    return server.get("/views/accounts/alerts").json["alerts"][index]


def test_a_row_that_begins_to_fulfil_it_is_told_of_once(book, serve, hook):
    write(book, alert("poor", "balance < 20 AND account <> 'c'", hook.url))
    server = serve(book)
    ready(server)
    wait_for(lambda: status(server)["state"] == "ready")
    withdraw(server, "a", 25)  # 25: not yet
    withdraw(server, "a", 10)  # 15
    wait_for(lambda: len(hook.told) == 1)
    withdraw(server, "a", 5)   # 10: it was before
    withdraw(server, "c", 45)  # another's
    do(server, "Deposit", account="a", amount=100)  # 110
    do(server, "Open", account="d")  # a row that came: 0
    withdraw(server, "a", 100)  # 10: again
    wait_for(lambda: len(hook.told) == 3)
    first, came, again = hook.told
    assert first == {"id": first["id"], "view": "accounts", "alert": "poor", "change": "update",
                     "position": 8, "row": {"account": "a", "balance": 15},
                     "old": {"account": "a", "balance": 25}}
    assert (came["change"], came["row"]) == ("insert", {"account": "d", "balance": 0})
    assert "old" not in came
    assert again["row"] == {"account": "a", "balance": 10} and again["old"]["balance"] == 110
    assert [told["position"] for told in hook.told] == sorted(t["position"] for t in hook.told)
    changes = {line["id"] for line in
               server.get("/views/accounts/changes").lines if "id" in line}
    assert first["id"].startswith("accounts/poor/") and len(changes) == 1
    assert hook.headers[0]["Idempotency-Key"] == f'"{first["id"]}"'
    shown = book.json("view", "alerts", "accounts")[0]
    assert (shown["delivered"], shown["waiting"], shown["failures"]) == (3, 0, 0)
    assert again["id"].endswith(shown["last"])
    metrics = server.get("/metrics").text
    assert 'daybook_alert_delivered_total{view="accounts",alert="poor"} 3' in metrics


def test_what_fails_is_told_again_in_order_with_the_same_id(book, serve, hook):
    write(book, alert("poor", "balance < 20", hook.url))
    hook.answers = [503, 429, 200, 404]
    server = serve(book)
    ready(server)
    wait_for(lambda: status(server)["state"] == "ready")
    for account in "abc":
        withdraw(server, account, 40)
    wait_for(lambda: len(hook.told) == 5)
    ids = hook.ids()
    assert ids[0] == ids[1] == ids[2] != ids[3] != ids[4]
    assert hook.told[0] == hook.told[2]
    assert [told["row"]["account"] for told in hook.told] == ["a", "a", "a", "b", "c"]
    wait_for(lambda: status(server)["delivered"] == 2)
    shown = status(server)
    assert (shown["set_aside"], shown["failures"]) == (1, 3)
    due = book.json("view", "alerts", "accounts", "poor")
    assert [(one["id"], one["state"]) for one in due] == [(ids[3], "set aside")]
    assert due[0]["reason"] == f"{hook.url} answered 404"
    book.run("view", "alerts", "accounts", "poor", "--retry")
    wait_for(lambda: len(hook.told) == 6)
    assert hook.ids()[5] == ids[3]
    wait_for(lambda: status(server)["delivered"] == 3)
    book.run("view", "alerts", "accounts", "rich", "--retry", status=1)
    book.run("view", "alerts", "accounts", "--retry", status=2)


def test_nobody_there_is_stuck_and_paused_is_not(book, serve, free_port):
    write(book, alert("poor", "balance < 20", f"http://127.0.0.1:{free_port}/"))
    server = serve(book)
    ready(server)
    wait_for(lambda: status(server)["state"] == "ready")
    withdraw(server, "a", 40)
    wait_for(lambda: status(server)["state"] == "stuck")
    shown = status(server)
    assert shown["attempts"] >= 4 and shown["next_try"] and "onnect" in shown["error"]
    health = server.get("/healthz")
    assert health.status == 503
    view = next(view for view in health.json["views"] if view["name"] == "accounts")
    assert view["alerts"] == [{"name": "poor", "state": "stuck", "waiting": 1, "set_aside": 0,
                               "missed": 0}]
    book.run("view", "alerts", "accounts", "poor", "--pause")
    assert status(server)["state"] == "paused"
    assert server.get("/healthz").status == 200
    withdraw(server, "b", 40)
    wait_for(lambda: status(server)["waiting"] == 2)
    tries = status(server)["failures"]
    time.sleep(0.7)
    assert status(server)["failures"] == tries
    write(book, alert("other", "balance < 20", f"http://127.0.0.1:{free_port}/"))
    server.stop()
    server = serve(book)
    assert status(server)["waiting"] == 0  # those of an alert that is no more went with it


def test_a_command_gets_words_as_they_are_and_the_row_on_its_input(book, serve, tmp_path):
    script = book.folder / "bin" / "note.py"
    script.parent.mkdir()
    script.write_text("#!/usr/bin/env python3\nimport json, sys\n"
                      "told = json.load(sys.stdin)\n"
                      f"with open({str(tmp_path / 'told')!r}, 'a') as file:\n"
                      "    print(json.dumps([sys.argv[1:], told]), file=file)\n"
                      "if told['row']['account'] == 'b': sys.exit('no such account')\n"
                      "if told['row']['account'] == 'c': sys.exit(65)\n")
    script.chmod(0o755)
    write(book, alert("poor", "balance < 20", 'command bin/note.py "$(touch x) `id`" ; &'))
    server = serve(book)
    ready(server)
    wait_for(lambda: status(server)["state"] == "ready")
    file = tmp_path / "told"
    for account, amount in (("a", 41), ("c", 42), ("b", 43)):
        withdraw(server, account, amount)
    wait_for(lambda: file.exists() and len(file.read_text().splitlines()) >= 4)
    told = [json.loads(line) for line in file.read_text().splitlines()]
    assert all(words == ["$(touch x) `id`", ";", "&"] for words, _ in told)
    assert [one["row"]["account"] for _, one in told[:4]] == ["a", "c", "b", "b"]
    assert told[2][1] == told[3][1]
    assert not (book.folder / "x").exists()
    wait_for(lambda: status(server)["attempts"] >= 1)
    assert status(server)["error"] == "bin/note.py ended with status 1: no such account"
    assert (status(server)["delivered"], status(server)["set_aside"]) == (1, 1)


def test_a_command_ends_with_the_daemon(book, serve, tmp_path):
    file = tmp_path / "pid"
    script = book.folder / "hang.sh"
    script.write_text(f"#!/bin/sh\necho $$ >> {file}\nexec sleep 600\n")
    script.chmod(0o755)
    write(book, alert("poor", "balance < 20", "command ./hang.sh"))

    def run_until_it_hangs():
        server = serve(book)
        ready(server)
        return server

    def is_there(pid):
        try:
            return open(f"/proc/{pid}/stat", encoding="ascii").read().split()[2] != "Z"
        except OSError:
            return False
    server = run_until_it_hangs()
    wait_for(lambda: status(server)["state"] == "ready")
    withdraw(server, "a", 40)
    for number, end in enumerate((server.stop, None), 1):
        wait_for(lambda n=number: file.exists() and len(file.read_text().split()) == n)
        pid = int(file.read_text().split()[-1])
        assert is_there(pid)
        begun = time.monotonic()
        if end is None:
            server.kill()
        else:
            assert end() == 0
            assert time.monotonic() - begun < 5
        wait_for(lambda p=pid: not is_there(p), 5)
        if number == 1:
            server = run_until_it_hangs()


def test_secrets_are_sent_and_shown_nowhere(book, serve, hook, monkeypatch):
    (book.folder / "secrets").mkdir()
    (book.folder / "secrets" / "token").write_text("Bearer hidden-in-a-file\n")
    write(book, alert("by_file", "balance < 20", hook.url,
                      "header: Authorization: file:secrets/token"),
          alert("by_name", "balance < 20", "env:ALERT_HOOK", "header: X-Key: env:ALERT_KEY"))
    monkeypatch.setenv("ALERT_HOOK", hook.url + "?hidden-in-the-address")
    monkeypatch.setenv("ALERT_KEY", "hidden-in-the-environment")
    hook.answers = [500, 500]
    server = serve(book)
    ready(server)
    wait_for(lambda: all(status(server, i)["state"] == "ready" for i in (0, 1)))
    withdraw(server, "a", 40)
    wait_for(lambda: len(hook.told) == 4)
    sent = json.dumps(hook.headers)
    assert "Bearer hidden-in-a-file" in sent and "hidden-in-the-environment" in sent
    due = book.run("view", "alerts", "accounts", "by_name").text
    shown = server.get("/views/accounts/alerts").text + due + server.get("/healthz").text
    assert "hidden" not in shown and '"to":"env:ALERT_HOOK"' in shown
    (book.folder / "secrets" / "token").unlink()
    monkeypatch.setenv("ALERT_HOOK", "http://127.0.0.1:1/hidden-address")
    withdraw(server, "b", 40)
    wait_for(lambda: status(server)["attempts"] >= 1)
    assert "token" in status(server)["error"]
    server.process.send_signal(15)
    text = "".join(server.process.communicate(timeout=20))
    assert "hidden" not in text
    server = serve(book)  # its address is another by now
    wait_for(lambda: status(server, 1)["attempts"] + status(server, 1)["delivered"] >= 1)
    withdraw(server, "c", 40)
    wait_for(lambda: status(server, 1)["attempts"] >= 1)
    assert status(server, 1)["error"].startswith("the address: ")
    assert "hidden" not in server.get("/views/accounts/alerts").text


def test_check_names_the_place(book):
    good = "https://hooks.example/stock"

    def refused(place, words, *alerts):
        write(book, *alerts)
        answer = book.run("check", status=1)
        text = answer.text + answer.errors
        assert f"views/accounts.sql:{place}" in text and words in text, text
    refused("4:27", "no such column: sum", alert("poor", "balance < 20 AND sum < 4", good))
    refused("4:10", "misuse of aggregate", alert("poor", "sum(balance) < 20", good))
    refused("4:21", "a parenthesis has no beginning", alert("poor", "balance < 1) OR (1", good))
    refused("4:22", "a parenthesis has no end", alert("poor", "(balance < 1", good))
    refused("4:21", "a statement ends in it", alert("poor", "balance < 1; DELETE", good))
    refused("4:21", "SELECT", alert("poor", "balance > (SELECT 1)", good))
    refused("4:20", "parameter", alert("poor", "balance < :most", good))
    refused("5:8", "this is no address and no command", alert("poor", "1", "ftp://x"))
    refused("5:8", "a name or password", alert("poor", "1", "https://me:secret@x/"))
    refused("6:12", "where a header's value stands", alert("poor", "1", good, "header: A: secret"))
    refused("3:11", "does not say whom it tells", "-- alert: poor\n-- when: 1\n")
    refused("3:11", "does not say of which rows", f"-- alert: poor\n-- to: {good}\n")
    refused("3:10", "belongs to no alert", "-- when: 1\n")
    refused("6:11", "another alert of this name", alert("poor", "1", good),
            alert("poor", "2", good))
    write(book, alert("poor", "balance < 20", good), alert("rich", "balance > 900", good))
    book.run("check")


def test_what_cannot_be_judged_is_set_aside(book, serve, hook):
    write(book, alert("odd", "abs(-9223372036854775807 - (balance - 10)) > 0", hook.url))
    server = serve(book)
    ready(server)
    wait_for(lambda: status(server)["state"] == "ready")
    withdraw(server, "a", 39)  # 11: what is asked of it overflows
    wait_for(lambda: status(server)["set_aside"] == 1)
    assert "overflow" in book.json("view", "alerts", "accounts", "odd")[0]["reason"]
    book.run("view", "alerts", "accounts", "odd", "--drop")
    assert status(server)["set_aside"] == 0 and hook.told == []
    with contextlib.closing(sqlite3.connect(book.data / "reading.db")) as reading, reading:
        reading.executemany("INSERT INTO _daybook_alerts_due VALUES ('accounts', 'odd', ?, 'x', 1, "
                            "NULL, '{}', 0, 0, 0, 1, 'odd')", [(-i,) for i in range(1, 1002)])
    withdraw(server, "b", 39)  # of more than 1,000 the oldest go
    wait_for(lambda: status(server)["set_aside"] == 1000)
    assert status(server)["dropped"] == 2
    assert len(book.json("view", "alerts", "accounts", "odd")) <= 1000 and hook.told == []


def expected(changes):
    """The ids that are told of, by what followers get."""
    return [change["id"] for change in changes
            if "new" in change and "id" in change and change["new"]["balance"] < 20
            and not ("old" in change and change["old"]["balance"] < 20)]


def check_told(hook, server, token, view="accounts"):
    """All are told of, none but them, in order where it was the first time, and always the same."""
    changes = server.get(f"/views/{view}/changes?after={token}").lines
    want = [f"{view}/poor/{one}" for one in expected(changes)]
    wait_for(lambda: set(hook.ids()) >= set(want), 40)
    assert set(hook.ids()) == set(want)
    assert list(dict.fromkeys(hook.ids())) == want
    by_id = {}
    for told in hook.told:
        assert by_id.setdefault(told["id"], told) == told
    return want


def test_a_daemon_that_is_killed_loses_none(book, serve, hook):
    """Killed at any moment, and while it tells, while the webhook fails now and then."""
    chance = random.Random(11)
    write(book, alert("poor", "balance < 20", hook.url))
    server = serve(book)
    ready(server)
    wait_for(lambda: status(server)["state"] == "ready")
    token = server.get("/views/accounts/changes").lines[-1]["id"]
    for turn in range(4):
        hook.answers = [chance.choice((200, 200, 503)) for _ in range(3)]
        for _ in range(8):
            account = chance.choice("abc")
            server.post("/commands/Withdraw", {"account": account, "amount": 37})
            time.sleep(0.02)
            server.post("/commands/Deposit", {"account": account, "amount": 37})
        if turn % 2 == 0:
            hook.killed = server
            with contextlib.suppress(OSError):
                server.post("/commands/Withdraw", {"account": "abc"[turn // 2], "amount": 37})
            wait_for(lambda s=server: s.process.poll() is not None)
        time.sleep(chance.random() / 4)
        server.kill()
        server = serve(book)
    hook.answers = []
    wait_for(lambda: server.get("/views/accounts?after=1").status == 200)
    last = server.get("/models/balances/tables/balances").json["position"]
    assert server.get(f"/views/accounts?after={last}&timeout_ms=9000").status == 200
    assert len(check_told(hook, server, token)) > 10
    assert hook.unheard and {told["id"] for told in hook.unheard} <= set(hook.ids())


def test_a_kill_at_calls_of_telling(book, serve, hook, kill_at, tmp_path):
    """Before each call that changes a file while one is judged, told of and noted."""
    write(book, alert("poor", "balance < 20", hook.url))
    server = serve(book)
    ready(server)
    wait_for(lambda: status(server)["state"] == "ready")
    token = server.get("/views/accounts/changes").lines[-1]["id"]
    server.stop()
    for account in "abc":
        book.run("do", "Withdraw", f"account={account}", "amount=40")
    base = tmp_path / "base"
    shutil.copytree(book.data, base)

    def run(number, count=None):
        """Serves until it is killed, or all three are noted as told of."""
        environment = clean_environment() | {"LD_PRELOAD": str(kill_at), "KILL_AT": str(number)}
        if count is not None:
            environment["KILL_COUNT"] = str(count)
        process = subprocess.Popen(book.command("serve", "--listen", "127.0.0.1:0"),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env=environment)
        deadline = time.monotonic() + 20
        while process.poll() is None and len(set(hook.ids())) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.1)
        process.terminate()
        process.wait(20)

    run(0, tmp_path / "count")
    calls = int((tmp_path / "count").read_text())
    assert calls > 10
    step = 1 if KILLS == 0 else max(1, calls // KILLS)
    for number in range(1, calls + 1, step):
        shutil.rmtree(book.data)
        shutil.copytree(base, book.data)
        hook.told.clear()
        run(number)
        server = serve(book)
        wait_for(lambda s=server: s.get("/views/accounts?after=9&timeout_ms=5000").status == 200)
        assert len(check_told(hook, server, token)) == 3
        server.stop()


def test_what_waits_is_forgotten_with_the_person(book, serve, hook):
    model = book.folder / "models" / "owners"
    model.mkdir()
    (model / "model.yaml").write_text("database: reading\nsync: events\nsource: [account]\n"
                                      "personal: rebuild\n")
    (model / "schema.sql").write_text("CREATE TABLE owners (customer TEXT PRIMARY KEY, "
                                      "owner TEXT);\n")
    (model / "OwnerNamed.sql").write_text("INSERT INTO owners VALUES (:customer, :owner) ON "
                                          "CONFLICT DO UPDATE SET owner = excluded.owner;\n")
    write(book, alert("named", "owner IS NOT NULL", hook.url), select="SELECT * FROM owners\n")
    server = serve(book)
    ready(server)
    wait_for(lambda: status(server)["state"] == "ready")
    book.run("view", "alerts", "accounts", "named", "--pause")
    for customer in ("1", "2"):
        answer = server.post("/events", {"events": [
            {"stream": f"account-{customer}", "type": "OwnerNamed",
             "data": {"customer": customer, "owner": f"Ada-{customer}-Hidden"}}]})
        assert answer.status == 201, answer
    wait_for(lambda: status(server)["waiting"] == 2)
    assert "Ada-1-Hidden" in book.run("view", "alerts", "accounts", "named", "-o", "json").text
    assert server.post("/subjects/1/forget?wait=true").status in (200, 202)
    wait_for(lambda: status(server)["waiting"] == 0)
    assert status(server)["missed"] >= 2
    server.stop()
    for file in book.data.glob("reading.db*"):
        assert b"Ada-1-Hidden" not in file.read_bytes(), file
    assert hook.told == []
