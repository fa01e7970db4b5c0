# SPDX-License-Identifier: Apache-2.0
"""Forgetting: afterwards no byte of the book tells a name that was forgotten, and all of the others
are still there. Names and addresses have a marker each, which is looked for in every file."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

import pytest

import ed25519
from conftest import ROOT, Book, clean_environment, missing

PERSONAL = ROOT / "examples" / "shop-personal"
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
CUSTOMERS = 40
NAME, STREET = "Nadia <{}> Novak", "Elm <{}> Road"


def orders(count=240, seed=7):
    """A file in the shape of Online Retail: every customer has orders, some orders have none."""
    source = random.Random(seed)
    rows = [HEADER]
    for number in range(count):
        customer = "" if number % 11 == 10 else f"{12000 + number % CUSTOMERS}.0"
        for _ in range(source.randint(1, 6)):
            rows.append(f"{536000 + number},85123A,LANTERN,{source.randint(1, 20)},"
                        f"2011-0{number % 9 + 1}-01 08:26:00,{source.choice(['2.55', '0.1', '4'])},"
                        f"{customer},{source.choice(['France', 'EIRE'])}\n")
    return "".join(rows)


def files_of(folder):
    return [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]


def told(folder, customers, markers=(NAME, STREET)):
    """Of which customers some byte in the folder tells name or address."""
    texts = [path.read_bytes() for path in files_of(folder)]
    return {customer for customer in customers
            if any(marker.format(customer).encode() in text
                   for marker in markers for text in texts)}


@pytest.fixture
def personal(make_book):
    return make_book(PERSONAL)


def fill(book, text=None):
    """Imports, and has everything made of it that can hold a name."""
    book.run("import", "-", "--as", "online_retail", "--source", "orders.csv",
             text_in=text or orders())


def use(server, book, customers):
    """Models, views, states, an as-of file, and parked events with reasons that quote names."""
    last = server.get("/events?backwards=true&limit=1").json["events"][0]["position"]
    for model in ("customers", "mailing", "labels"):
        table = server.get(f"/models/{model}/tables/{model}?after={last}&limit=1")
        assert table.status == 200, table
    for view in ("country_sales", "best_customers"):
        assert server.post(f"/views/{view}/refresh").status == 200
    for number in range(240):
        server.get(f"/streams/order-{536000 + number}/state")
    book.run("model", "as-of", "customers", "2100-01-01")
    assert server.request("PUT", "/groups/mailer", {
        "types": ["OrderPlaced"], "timeout": "5 min", "window": 1000}).status == 201
    parked = 0
    for event in server.post("/groups/mailer/read?limit=200").json["events"]:
        answer = server.post("/groups/mailer/nack", {
            "positions": [event["position"]], "action": "park",
            "reason": "no such person: " + event["data"]["customer_name"]})
        assert answer.status == 200, answer
        parked += 1
    assert parked > CUSTOMERS
    return parked


def wait_final(server, count):
    deadline = time.monotonic() + 60
    while True:
        answer = server.get("/forgotten").json
        final = [one for one in answer["forgotten"] if one["state"] == "final"]
        if len(final) == count:
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)


def test_no_byte_tells_what_was_forgotten(personal, serve, tmp_path):
    customers = [str(12000 + number) for number in range(CUSTOMERS)]
    forgotten = set(customers[::4])
    others = set(customers) - forgotten
    fill(personal)
    server = serve(personal)
    use(server, personal, customers)
    sales = server.get("/views/country_sales").json["rows"]
    backup = tmp_path / "backup"
    personal.run("backup", backup)
    assert told(personal.data, customers) == set(customers)
    times = []
    for number, customer in enumerate(sorted(forgotten)):
        last = number == len(forgotten) - 1
        begun = time.monotonic()
        answer = server.post(f"/subjects/{customer}/forget" + ("?now=true" if last else ""))
        times.append(time.monotonic() - begun)
        assert answer.status == (200 if last else 202), answer
        row = server.post("/sql", {"sql": "select data from events where type = 'OrderPlaced' "
                                          f"and data ->> '$.customer_id' = '{customer}' limit 1"})
        assert NAME.format(customer) not in row.text and "$forgotten" in row.text
    answer = wait_final(server, len(forgotten))
    assert all(one["ciphertext_removed"] for one in answer["forgotten"])
    assert server.get("/views/country_sales").json["rows"] == sales
    assert server.post("/views/country_sales/refresh").status == 200
    assert server.get("/views/country_sales").json["rows"] == sales
    names = {row["customer_id"]: row["name"]
             for row in server.get("/models/customers/tables/customers?limit=1000").json["rows"]}
    assert {one for one in customers if names[one] == NAME.format(one)} == others
    assert all("$forgotten" in names[customer] for customer in forgotten)
    parked = server.get("/groups/mailer/parked").json["parked"]
    assert {one["reason"].split("<")[1].split(">")[0] for one in parked} == others
    labels = server.get("/queries/GetLabel?order_id=536000").json["rows"]
    assert "$forgotten" in labels[0]["name"]
    certificate(server, personal, answer["forgotten"][0])
    server.stop()
    assert told(personal.data, customers) == others
    # A backup has no keys. Reasons of parked events, which a consumer wrote, are as they were.
    assert told(backup, customers, [STREET]) == set()
    assert sorted(times)[len(times) // 2] < 0.5
    verify(personal)


def test_views_over_views_are_refreshed_sources_first(make_book, tmp_path):
    """By name they would come in the other order; and what they follow each other by is no copy,
    nor what is kept for who follows them."""
    folder = tmp_path / "book"
    shutil.copytree(PERSONAL, folder)
    for name, source in (("c_people", "mailing"), ("b_people", "c_people"),
                         ("a_people", "b_people")):
        (folder / "views" / f"{name}.sql").write_text(
            "-- refresh: on demand\n-- database: reading\n-- changes: keep\n"
            f"SELECT order_id, customer_id, label FROM {source}\n")
    book = make_book(folder)
    customers = [str(12000 + number) for number in range(CUSTOMERS)]
    fill(book)
    # Twice, so that they follow.
    for _ in range(2):
        for view in ("c_people", "b_people", "a_people"):
            book.run("view", "refresh", view)
    follow = ("tail", "--view", "a_people", "--no-follow", "-o", "jsonl")
    token = book.run(*follow).lines[-1]["id"]
    for customer in customers[:5]:
        book.run("forget", customer)
    book.run("forgotten", "run", "--now")
    assert told(book.data, customers) == set(customers[5:])
    rows = book.json("sql", "select * from a_people order by 1")
    assert {row["customer_id"] for row in rows} == set(customers[5:])
    assert rows == book.json("sql", "select order_id, customer_id, label from mailing order by 1")
    # Nor is it kept for who follows, who begins again.
    assert "begin with the rows" in book.run(*follow, "--after", token, status=1).errors
    assert len(book.run(*follow).lines) == len(rows) + 1


def certificate(server, book, one):
    """Signed by the book's key, and what it says is so."""
    note = server.get(f"/forgotten/{one['key']}/certificate").text
    key = book.run("proof", "key").text
    said = json.loads(ed25519.open_note(note, key))
    assert said["key"] == one["key"] and said["mode"] == "erase"
    assert said["purged"]["position"] == one["purged"]
    assert said["epoch"]["position"] > one["purged"]
    assert said["tree"]["before"]["size"] == one["forgotten"]
    assert said["tree"]["after"]["size"] > one["purged"] and len(said["not_covered"]) > 3
    ed25519.open_note(said["tree"]["checkpoint"], key)
    with pytest.raises(AssertionError):
        ed25519.open_note(note.replace('"erase"', '"eraze"'), key)


def verify(book):
    """By the book itself, and offline by the program that shares nothing with it."""
    book.run("verify")
    offline = book.binary.parent / "daybook-verify"
    if not offline.exists():
        missing("daybook-verify")
    result = subprocess.run([str(offline), str(book.data)], capture_output=True, text=True,
                            timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_killed_at_any_step_it_goes_on(personal, tmp_path):
    """`forgotten run` killed after ever longer times, until it comes through."""
    customers = [str(12000 + number) for number in range(CUSTOMERS)]
    forgotten = set(customers[:10])
    fill(personal)
    personal.run("view", "refresh", "best_customers")
    for number in range(40):
        personal.run("state", f"order-{536000 + number * 5}")
    # What is left to do is left to do: the process dies as soon as it has answered.
    for customer in sorted(forgotten):
        process = subprocess.Popen(personal.command("forget", customer, "-o", "json"),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=clean_environment())
        process.stdout.readline()
        process.kill()
        process.communicate()
    delay, kills = 0.01, 0
    while True:
        process = subprocess.Popen(personal.command("forgotten", "run", "--now"),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=clean_environment())
        try:
            out, errors = process.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            delay *= 1.35
            continue
        assert process.returncode == 0, errors
        break
    assert kills > 3
    answer = personal.json("forgotten", "ls")
    assert {one["state"] for one in answer} == {"final"} and len(answer) == len(forgotten)
    assert told(personal.data, customers) == set(customers) - forgotten
    names = personal.json("sql", "select customer_id, name from customers")
    assert len(names) == CUSTOMERS
    assert {row["customer_id"] for row in names if "$forgotten" in row["name"]} == forgotten
    verify(personal)


def test_tombstones_leave_a_subject_out(personal):
    fill(personal)
    before = personal.json("sql", "select count(*) n from customers")[0]["n"]
    lines = personal.json("sql", "select count(*) n from events where type = 'LineAdded'")[0]["n"]
    answer = personal.json("forget", "12003", "--tombstone", "--wait")
    assert answer["mode"] == "tombstone" and answer["state"] == "final"
    assert personal.json("sql", "select count(*) n from customers")[0]["n"] == before - 1
    assert personal.json("sql", "select count(*) n from mailing where customer_id = '12003'"
                         )[0]["n"] == 0
    text = personal.run("read", "-o", "jsonl", "--limit", "100000").text
    assert NAME.format("12003") not in text and NAME.format("12004") in text
    # Its other events have no subject, and stay.
    assert personal.json("sql", "select count(*) n from events where type = 'LineAdded'"
                         )[0]["n"] == lines
    personal.run("forget", "12003", "--tombstone", status=1)
    answer = personal.json("forget", "12003", "--now")
    assert answer["mode"] == "erase" and answer["state"] == "final"
    assert "12003" not in told(personal.data, ["12003", "12004"])


def test_what_comes_behind_a_tombstone_is_in_no_model(personal, serve):
    fill(personal)
    personal.json("forget", "12003", "--tombstone", "--wait")
    server = serve(personal)
    for size in (1, 3):
        batch = [{"stream": f"order-late-{size}-{n}", "type": "OrderPlaced",
                  "data": {"order_id": f"late-{size}-{n}", "customer_id": customer,
                           "customer_name": NAME.format(customer),
                           "address": {"street": STREET.format(customer), "city": "Ely"}}}
                 for n, customer in enumerate(["12003", "12004", "12003"][:size])]
        answer = server.post("/events", {"events": batch})
        assert answer.status in (200, 201), answer
    rows = personal.json("sql", "select order_id, customer_id from mailing "
                                "where order_id like 'late%'")
    assert [tuple(row.values()) for row in rows] == [("late-3-1", "12004")]


def test_what_is_wrong_is_named(personal, serve):
    fill(personal)
    server = serve(personal)
    answer = server.post("/subjects/nobody/forget")
    assert answer.status == 404 and "has no key" in answer.json["detail"], answer
    assert server.post("/subjects/12001/forget?nwo=true").status == 400
    key = server.post("/subjects/12001/forget?wait=true").json["key"]
    assert server.get(f"/forgotten/{key}").json["state"] == "waiting for an epoch"
    answer = server.get(f"/forgotten/{key}/certificate")
    assert answer.status == 404 and "epoch" in answer.json["detail"], answer
    answer = server.get("/forgotten/xyz")
    assert answer.status == 400 and "32" in answer.json["detail"], answer
    assert server.get("/forgotten/" + "0" * 32).status == 404
    assert server.post("/subjects/12001/forget").status == 404
    # A stream, a tag or meta with a personal value could not be forgotten.
    data = {"order_id": "1", "customer_id": "9", "customer_name": "Ada Lovelace",
            "address": {"street": "Ash Lane 4", "city": "Ely"}}
    good = {"type": "OrderPlaced", "data": data}
    for path, change in (("/streams/order-Ada%20Lovelace", {}),
                         ("/streams/order-1", {"tags": ["at:Ash Lane 4"]}),
                         ("/streams/order-1", {"meta": {"note": "for Ada Lovelace"}})):
        answer = server.post(path, [good | change])
        assert answer.status == 400 and "personal field" in answer.json["detail"], answer
    assert server.post("/streams/order-1", [good]).status == 201


def test_a_consumer_is_told(personal, serve):
    fill(personal)
    server = serve(personal)
    assert server.request("PUT", "/groups/partner", {
        "categories": ["$subjects"], "types": ["SubjectForgotten"]}).status == 201
    key = server.post("/subjects/12001/forget?now=true").json["key"]
    events = server.post("/groups/partner/read?limit=10&wait_ms=5000").json["events"]
    assert events[0]["type"] == "SubjectForgotten" and events[0]["data"]["key"] == key
    tagged = server.get(f"/events?tag=$key:{key}&limit=10").json["events"]
    assert tagged and all(event["data"]["customer_id"] == "12001" for event in tagged)
    note = json.loads(server.get(f"/forgotten/{key}/certificate").text.splitlines()[0])
    assert [group["name"] for group in note["groups"]] == ["partner"]


def test_a_backup_from_before_brings_nothing_back(personal, make_book, tmp_path):
    customers = [str(12000 + number) for number in range(CUSTOMERS)]
    fill(personal)
    backup, restored = tmp_path / "backup", tmp_path / "restored"
    personal.run("backup", backup)
    personal.run("forget", "12005", "--now")
    personal.run("backup", backup)
    Book(personal.binary, PERSONAL, restored).run("restore", backup)
    assert told(restored, customers) == set()
    shutil.rmtree(restored)


def test_a_model_says_what_becomes_of_personal_fields(make_book, tmp_path):
    folder = tmp_path / "book"
    shutil.copytree(PERSONAL, folder)
    yaml = folder / "models" / "customers" / "model.yaml"
    yaml.write_text(yaml.read_text().replace("personal: rebuild\n", ""))
    book = make_book(folder)
    answer = book.run("check", status=1)
    text = answer.text + answer.errors
    assert "models/customers/handlers.sql:3:23" in text and "customer_name" in text, text
    assert "personal: rebuild" in text
    yaml.write_text(yaml.read_text() + "personal: gone.sql\n")
    text = str(book.run("check", status=1))
    assert "models/customers/gone.sql" in text, text
    yaml.write_text(yaml.read_text().replace("gone.sql", "rebuilt"))
    assert "did you mean `rebuild`" in str(book.run("check", status=1))
