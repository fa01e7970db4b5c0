# SPDX-License-Identifier: Apache-2.0
"""What belongs together and why: events by their correlation, over streams and in one."""
import csv
import datetime
import decimal
import io
import json
import random
import re
import shutil
import subprocess
import uuid

import pytest

from conftest import TIMEOUT_S


def event(stream, kind, **meta):
    return json.dumps({"stream": stream, "type": kind, "data": {"amount": 1}, "meta": meta})


def append(book, *lines):
    return book.json("append", "--file", "-", text_in="\n".join(lines))


def positions(answer):
    return [row["position"] for row in answer]


def test_events_are_read_by_their_correlation(bank, serve):
    append(bank, event("account-1", "AccountOpened", correlationid="c/1 ü"),
           event("account-2", "AccountOpened", correlationid="c-2"),
           event("account-1", "Deposited", correlationid="c/1 ü", other={"correlationid": "c-2"}),
           event("account-2", "Deposited", correlationid=5),
           event("account-2", "Deposited", correlationid="c/1 ü"))
    serve(bank)
    for _ in range(2):
        read = bank.json("read", "--correlation", "c/1 ü")
        assert positions(read) == [1, 3, 5]
        assert positions(bank.json("read", "--correlation", "c/1 ü", "--backwards")) == [5, 3, 1]
        assert positions(bank.json("read", "account-1", "--correlation", "c/1 ü")) == [1, 3]
        assert positions(bank.json("tail", "--after", "1", "--no-follow", "--correlation",
                                   "c/1 ü")) == [3, 5]
        assert bank.json("read", "--correlation", "5") == []
        assert bank.json("read", "--correlation", "c-2", "--type", "Deposited") == []
        assert bank.json("read", "--correlation", "x" * 2000) == []


def uuid_of(number):
    return str(uuid.UUID(int=number))


def caused(number, stream, kind, cause=None, correlation="transfer-17", **meta):
    """Event `number`, caused by another by its number, or by whatever else."""
    if cause is not None:
        meta["causationid"] = uuid_of(cause) if isinstance(cause, int) else cause
    if correlation is not None:
        meta["correlationid"] = correlation
    return json.dumps({"stream": stream, "type": kind, "data": {"amount": 1},
                       "id": uuid_of(number), "meta": meta})


def check_tree(rows, events):
    """Each event has one row, behind its cause; what it says is what the event says."""
    by_id = {event["id"]: event for event in events}
    rows_of = {row["row"]: row for row in rows}
    assert [row["row"] for row in rows] == list(range(1, len(rows) + 1))
    assert sorted(row["id"] for row in rows if row["kind"] == "event") == sorted(by_id)
    begun = min(event["time"] for event in events)
    for row in rows:
        assert row["parent"] is None or row["parent"] < row["row"]
        assert row["depth"] == (rows_of[row["parent"]]["depth"] + 1 if row["parent"] else 0)
        if row["kind"] != "event":
            continue
        event = by_id[row["id"]]
        meta = event.get("meta", {})
        for name in ["stream", "version", "type", "time", "position"]:
            assert row[name] == event[name]
        assert row.get("actor") == meta.get("actor")
        assert row["offset_us"] == micros(event["time"]) - micros(begun)
        cause = meta.get("causationid")
        assert row.get("cause") == cause
        above = row.get("circle") or row["parent"]
        assert (above is None) == (cause is None)
        if cause is not None:
            assert cause in (rows_of[above].get("id"), rows_of[above].get("cause"))
            assert row.get("later_cause", False) == (
                row["parent"] is not None and rows_of[above].get("position", 0) > row["position"])


def micros(text):
    time = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round(time.timestamp() * 1000000)


def test_a_trace_is_the_tree_of_causes(bank, serve):
    append(bank, caused(1, "account-0", "AccountOpened", correlation="other"))
    append(bank, caused(2, "transfer-17", "Requested", "cmd-9", actor="anna"),
           caused(3, "account-1", "Withdrawn", 2, actor="transfers"),
           caused(4, "account-2", "Deposited", 3, actor="transfers"))
    append(bank, caused(5, "transfer-17", "Done", 4), caused(6, "account-1", "FeeTaken", 2),
           caused(7, "audit-1", "Checked", 1), caused(8, "a-1", "X", 9), caused(9, "a-1", "Y", 8),
           caused(10, "b-1", "Z", 11), caused(11, "b-1", "W", 2), caused(12, "b-1", "Alone", 99))
    events = bank.json("read", "--correlation", "transfer-17")
    rows = bank.json("trace", "transfer-17")
    check_tree(rows, events)
    assert [(row["depth"], row.get("type", row.get("cause"))) for row in rows] == [
        (0, "AccountOpened"), (1, "Checked"),
        (0, "cmd-9"), (1, "Requested"), (2, "Withdrawn"), (3, "Deposited"), (4, "Done"),
        (2, "FeeTaken"), (2, "W"), (3, "Z"), (0, "X"), (1, "Y"), (0, uuid_of(99)), (1, "Alone")]
    assert rows[0]["kind"] == "outside" and rows[0]["correlation"] == "other"
    assert rows[10]["circle"] == 12 and rows[9]["later_cause"]
    # An event's id and position stand for its correlation.
    assert bank.json("trace", uuid_of(5).upper()) == rows
    assert bank.json("trace", events[3]["position"]) == rows
    assert bank.run("trace", "transfer-17", "-o", "jsonl").lines == rows
    read = list(csv.DictReader(io.StringIO(bank.run("trace", "transfer-17", "-o", "csv").text)))
    assert [row["type"] for row in read] == [row.get("type", "") for row in rows]
    table = bank.run("trace", "transfer-17").text.splitlines()
    column = slice(table[0].index("event"), table[0].index("stream"))
    assert [line[column].rstrip() for line in table[4:11]] == [
        "cmd-9 (no event)", "└─ Requested", "   ├─ Withdrawn", "   │  └─ Deposited",
        "   │     └─ Done", "   ├─ FeeTaken", "   └─ W"]
    server = serve(bank)
    assert server.get("/trace/transfer-17").json == {"correlation": "transfer-17", "rows": rows,
                                                     "more": False}
    assert bank.json("trace", "transfer-17") == rows


def test_an_event_without_a_correlation_is_one_by_its_own_id(bank):
    append(bank, caused(1, "account-1", "AccountOpened", correlation=None),
           caused(2, "account-1", "Deposited", 1, correlation=uuid_of(1)),
           caused(3, "account-2", "AccountOpened", correlation=None))
    rows = bank.json("trace", uuid_of(1))
    assert [(row["type"], row["parent"]) for row in rows] == [("AccountOpened", None),
                                                              ("Deposited", 1)]
    assert bank.json("trace", "1") == bank.json("trace", uuid_of(2)) == rows
    assert [row["position"] for row in bank.json("trace", "3")] == [3]


def test_random_graphs_are_traced_as_they_are(bank):
    randomness = random.Random(5)
    for graph in range(8):
        first = 1000 * (graph + 1)
        count = randomness.randrange(1, 60)
        append(bank, *[caused(first + i, f"account-{randomness.randrange(9)}", "Deposited",
                              randomness.choice([None, "x", first + randomness.randrange(70)]),
                              correlation=f"g{graph}", actor=f"a{i}") for i in range(count)])
        check_tree(bank.json("trace", f"g{graph}"),
                   bank.json("read", "--correlation", f"g{graph}"))


DOT = re.compile(r'\s*(digraph trace \{|\}|subgraph cluster_\d+ \{|'
                 r'(graph|node|edge|n\d+( -> n\d+)?)?\s*'
                 r'(\[(\w+=([\w.]+|"([^"\\]|\\.)*")(, )?)+\])?;|'
                 r'(rankdir=LR|label="([^"\\]|\\.)*");)')


def test_hostile_names_stay_in_their_cells_and_labels(bank):
    name = 'x"];}\x1b[31m\\" & <b>\u202e|\n'
    append(bank, json.dumps({"stream": 'a-"];} & \\', "type": 'T"]; evil [', "data": {},
                             "meta": {"correlationid": "h", "actor": name, "causationid": name}}))
    table = bank.run("trace", "h").text
    assert "\x1b" not in table and len(table.splitlines()) == 4
    assert bank.json("trace", "h")[1]["actor"] == name
    dot = bank.run("trace", "h", "-o", "dot").text
    for line in dot.splitlines():
        assert DOT.fullmatch(line), line
    assert "\x1b" not in dot and "& " not in dot.replace("&amp;", "")
    if shutil.which("dot"):
        svg = subprocess.run(["dot", "-Tsvg"], input=dot, text=True, capture_output=True,
                             check=True, timeout=TIMEOUT_S)
        assert svg.stdout.count('class="node"') == 2 and svg.stdout.count('class="edge"') == 1


def test_a_long_correlation_is_cut_where_it_is_asked_to(bank):
    for begin in range(0, 20000, 10000):
        append(bank, *[caused(i, f"account-{i % 100}", "Deposited", i - 1 if i > 1 else None,
                              correlation="long") for i in range(begin + 1, begin + 10001)])
    cut = bank.run("trace", "long", "-o", "jsonl")
    assert len(cut.lines) == 10000 and "--limit" in cut.errors
    whole = bank.run("trace", "long", "--limit", "1000000", "-o", "jsonl")
    assert len(whole.lines) == 20000 and whole.errors == ""
    assert whole.lines[-1]["depth"] == 19999
    table = bank.run("trace", "long", "--limit", "100000").text.splitlines()
    assert len(table) == 20002 and "… 19999 deep: Deposited" in table[-1]
    assert max(map(len, table)) < 250


def test_wrong_traces_are_named(bank, serve):
    bank.run("append", "account-1", "AccountOpened", "{}")
    server = serve(bank)
    for id_ in ["nothing", "2", uuid_of(7), "x" * 3000, "%22"]:
        problem = server.get("/trace/" + id_)
        assert problem.status == 404 and problem.json["code"] == "not-found"
    assert server.get("/trace/").status == 400
    assert server.get("/trace/1?limit=0").status == 400
    assert server.get("/trace/1?limit=1000001").status == 400
    assert "limit" in server.get("/trace/1?depth=3").json["detail"]
    assert bank.run("trace", "nothing", status=1).errors.startswith("daybook: nothing is")
    bank.run("trace", status=2)
    bank.run("log", "account-1", "-o", "dot", status=2)


def test_an_event_is_a_line_also_where_its_json_is_not(bank, serve):
    bank.run("append", "account-1", "AccountOpened", '{\n"id":\r\n "a\\n"}', "--meta", '{"a":\n1}')
    server = serve(bank)
    for _ in range(2):
        line, = bank.run("read", "-o", "jsonl").lines
        assert line["data"] == {"id": "a\n"} and line["meta"] == {"a": 1}
        assert len(bank.run("log", "account-1").text.splitlines()) == 3
    lines = server.get("/events", headers={"Accept": "application/x-ndjson"}).text.splitlines()
    assert len(lines) == 1


# ---- What each event changed ----

FOLD = """return { initial = { start = array{}, n = 0.5 }, snapshot = { every = 7 }, on = {
    Became = function(state, data) return data end } }
"""


@pytest.fixture
def things(make_book, tmp_path):
    """A book in which the state of a thing is the data of its last event."""
    folder = tmp_path / "things"
    (folder / "folds").mkdir(parents=True)
    (folder / "book.yaml").write_text("book: things\n")
    (folder / "folds" / "thing.lua").write_text(FOLD.replace("0.5", 'decimal("0.5")'))
    return make_book(folder)


def became(*states):
    return "\n".join(json.dumps({"stream": "thing-1", "type": "Became", "data": state})
                     for state in states)


def patch(value, changes):
    """Does a JSON Patch (RFC 6902); what stands there must be what the change says was there."""
    for change in changes:
        keys = [key.replace("~1", "/").replace("~0", "~") for key in change["path"].split("/")[1:]]
        if not keys:
            assert value == change["old"]
            value = change["value"]
            continue
        at = value
        for key in keys[:-1]:
            at = at[int(key) if isinstance(at, list) else key]
        key = int(keys[-1]) if isinstance(at, list) else keys[-1]
        if change["op"] == "add":
            assert "old" not in change
            if isinstance(at, list):
                at.insert(key, change["value"])
            else:
                assert key not in at
                at[key] = change["value"]
            continue
        assert at[key] == change["old"]
        if change["op"] == "remove":
            del at[key]
        else:
            assert change["op"] == "replace"
            at[key] = change["value"]
    return value


def random_value(randomness, depth):
    kind = randomness.randrange(8 if depth > 0 else 5)
    if kind < 5:
        return [None, True, randomness.randrange(4), randomness.choice(["", "a/b", "~ä\n"]),
                decimal.Decimal(randomness.randrange(9)) / 4][kind]
    if kind < 7:
        return {randomness.choice(["a", "b/c", "~d", "", "é", "0"]): random_value(
            randomness, depth - 1) for _ in range(randomness.randrange(5))}
    return [random_value(randomness, depth - 1) for _ in range(randomness.randrange(7))]


def vary(randomness, value):
    """The value with a few places changed, so that much of it stays."""
    if isinstance(value, dict) and value and randomness.randrange(4):
        key = randomness.choice(list(value))
        return {**value, key: vary(randomness, value[key])}
    if isinstance(value, list) and value and randomness.randrange(4):
        at = randomness.randrange(len(value))
        return value[:at] + randomness.choice([[], [vary(randomness, value[at])], [1, value[at]]]) \
            + value[at + 1:]
    return random_value(randomness, 2)


def exact(text):
    """JSON as it is meant: numbers as decimals, and none of them taken for a truth value."""
    return json.loads(text, parse_float=decimal.Decimal, parse_int=decimal.Decimal)


class Exact(json.JSONEncoder):
    """Decimals as the numbers they are."""

    def iterencode(self, o, _one_shot=False):
        return iter([self.text(o)])

    def text(self, value):
        if isinstance(value, decimal.Decimal):
            return str(value)
        if isinstance(value, dict):
            return "{" + ",".join(f"{json.dumps(key)}:{self.text(item)}"
                                  for key, item in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ",".join(map(self.text, value)) + "]"
        return json.dumps(value)


def test_the_changes_of_each_event_make_its_state_of_the_one_before(things, serve):
    randomness = random.Random(17)
    states = [{"a": 1}]
    lines = [{"sku": i, "q": 1} for i in range(6)]
    while len(states) < 300:
        state = vary(randomness, states[-1])
        for _ in range(randomness.randrange(5)):
            at = randomness.randrange(len(lines) + 1)
            lines = lines[:at] + randomness.choice([[], [vary(randomness, {"sku": at, "q": 1})]]) \
                + lines[at + randomness.randrange(3):]
        states.append({**(state if isinstance(state, dict) else {}), "lines": lines})
    append(things, *[json.dumps({"stream": "thing-1", "type": "Became", "data": state}, cls=Exact)
                     for state in states])
    logged = exact(things.run("log", "thing-1", "-o", "json").text)
    text = things.run("log", "thing-1", "--diff", "-o", "json").text
    before = exact('{"start":[],"n":0.5}')
    for entry, changed in zip(logged, exact(text), strict=True):
        assert "left_out" not in changed and "state" not in changed
        assert changed["version"] == entry["version"] and changed["data"] == entry["data"]
        before = patch(before, changed["changes"])
        assert before == entry["state"]
        assert sum(change["path"] == "" for change in changed["changes"]) == 0
    serve(things)
    assert things.run("log", "thing-1", "--diff", "-o", "json").text == text
    for begin, end in [(1, 3), (2, 2), (8, 9), (299, 300), (150, 400)]:
        assert exact(things.run("log", "thing-1", "--diff", "--from-version", begin, "--to-version",
                                end, "-o", "json").text) == exact(text)[begin - 1:end]


def test_changes_are_shown_with_who_made_them(bank):
    bank.run("do", "Open", "account=1", "--actor", "anna", "--correlation", "c-1")
    bank.run("append", "account-1", "Noted", "{}")
    bank.run("append", "account-1", "Deposited", '{"amount":5}', "--meta",
             '{"actor":"x\\u001b[31m"}')
    table = bank.run("log", "account-1", "--diff").text.splitlines()
    rows = [re.split(r" {2,}", line.strip()) for line in table]
    assert rows[0] == ["version", "time", "type", "by", "field", "old", "new"]
    assert rows[2][2:] == ["AccountOpened", "anna (c-1)", "/id", '"1"']
    assert rows[3] == ["/status", '"none"', '"active"']
    assert rows[4][2:] == ["Noted", "(no change)"]
    assert rows[5][2:] == ["Deposited", "x\\x1b[31m", "/balance", "0", "5"]
    assert "\x1b" not in "".join(table)
    read = list(csv.DictReader(io.StringIO(
        bank.run("log", "account-1", "--diff", "-o", "csv").text)))
    assert [(row["version"], row["actor"], row["op"], row["path"], row["value"])
            for row in read] == [
        ("1", "anna", "add", "/id", '"1"'), ("1", "anna", "replace", "/status", '"active"'),
        ("2", "", "", "", ""), ("3", "x\x1b[31m", "replace", "/balance", "5")]


def test_changes_without_end_are_cut_and_counted(things, serve):
    append(things, became({"large": "x" * 900000, "small": 1}))
    append(things, became({"large": "y" * 900000, "small": 2}))
    append(things, became({f"k{i:04}": i for i in range(1500)}))
    serve(things)
    lines = things.run("log", "thing-1", "--diff", "-o", "jsonl").lines
    assert [len(line["changes"]) for line in lines] == [4, 1, 1000]
    assert [line.get("left_out", 0) for line in lines] == [0, 1, 502]
    table = things.run("log", "thing-1", "--diff").text
    assert "(502 more, too many or too large)" in table and max(map(len, table.split("\n"))) < 600
    read = things.run("log", "thing-1", "--diff", "-o", "csv", "--from-version", 3).text
    assert ",left-out,,,502" in read and len(read.splitlines()) == 1002


def test_wrong_uses_of_diff_are_named(bank, serve):
    bank.run("do", "Open", "account=1")
    server = serve(bank)
    assert server.get("/streams/account-1/log?diff=maybe").status == 400
    assert server.get("/streams/account-2/log?diff=true").status == 404
    entry, = server.get("/streams/account-1/log?diff=true").json["entries"]
    assert [change["path"] for change in entry["changes"]] == ["/id", "/status"]
    assert bank.json("log", "account-1", "--diff", "--from-version", 2) == []
    bank.run("log", "account-2", "--diff", status=1)
