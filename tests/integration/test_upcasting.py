# SPDX-License-Identifier: Apache-2.0
"""One book with events of three schema versions: every reader sees the newest, or all of them say
why not."""
import http.client
import json
import os
import pathlib
import subprocess

import pytest

from conftest import ROOT, Book, clean_environment, missing

BUILD = pathlib.Path(os.environ.get("DAYBOOK_BUILD", ROOT / "build"))

# Version 1 in whole units, 2 with a currency, 3 in cents, by steps and by a script.
VERSIONS = [
    {"version": 1, "schema": {"type": "object", "properties": {"amount": {"type": "integer"}},
                              "required": ["amount"]}},
    {"version": 2, "upcast": [{"add": "currency", "value": "USD"}],
     "schema": {"type": "object", "properties": {"amount": {"type": "integer"},
                                                 "currency": {"type": "string"}}}},
    {"version": 3, "schema": {"type": "object", "properties": {"cents": {"type": "integer"},
                                                               "currency": {"type": "string"}}}}]
TO_CENTS = """return function(data, event)
    data.cents = data.amount * 100
    data.amount = nil
    return data
end
"""
STORED = [(0, {"amount": 5}), (1, {"amount": 7}), (2, {"amount": 11, "currency": "EUR"}),
          (3, {"cents": 1300, "currency": "EUR"})]
SEEN = [{"cents": 500, "currency": "USD"}, {"cents": 700, "currency": "USD"},
        {"cents": 1100, "currency": "EUR"}, {"cents": 1300, "currency": "EUR"}]
TOTALS = {"EUR": 2400, "USD": 1200}
FOLD = """return { initial = {}, on = {
    Deposited = function(state, data)
        state[data.currency] = (state[data.currency] or 0) + data.cents
    end } }
"""
MODEL = {"schema.sql": "CREATE TABLE {0} (stream TEXT, currency TEXT, cents INTEGER);",
         "Deposited.sql": "INSERT INTO {0} VALUES (:_stream, :currency, :cents);"}


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if isinstance(text, str) else json.dumps(text))


@pytest.fixture
def mixed(binary, tmp_path):
    """The book, with an event that was stored before its type was declared, and one of each
    version."""
    folder = tmp_path / "book"
    write(folder, {"book.yaml": "book: mixed\ndatabases:\n  reading: sqlite:reading.db\n"})
    book = Book(binary, folder, tmp_path / "data")
    book.run("append", "account-1", "Deposited", json.dumps(STORED[0][1]))
    write(folder, {"events/Deposited.schema.json": {"versions": VERSIONS},
                   "events/Deposited.2-3.lua": TO_CENTS, "folds/account.lua": FOLD})
    for sync in ("events", "transaction"):
        write(folder / "models" / f"by_{sync}",
              {name: text.format(f"of_{sync}") for name, text in MODEL.items()} |
              {"model.yaml": f"sync: {sync}\nsource: [account]\n"})
    for version, data in STORED[1:]:
        book.run("append", "account-1", "Deposited", json.dumps(data), "--schema-version", version)
    return book


def data_of(events):
    return [event["data"] for event in events]


def totals(rows):
    found = {}
    for row in rows:
        found[row["currency"]] = found.get(row["currency"], 0) + row["cents"]
    return found


def table(server, model, name, after):
    answer = server.get(f"/models/{model}/tables/{name}?after={after}")
    assert answer.status == 200, answer
    return answer.json["rows"]


def sse(text):
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


def check_commands(book):
    """What the command line sees, with and without a server beside it."""
    assert data_of(book.run("read", "account-1", "-o", "jsonl").lines) == SEEN
    assert data_of(book.run("read", "--backwards", "-o", "jsonl").lines) == SEEN[::-1]
    assert data_of(book.run("tail", "--after", 0, "--no-follow", "-o", "jsonl").lines) == SEEN
    assert book.json("state", "account-1")["state"] == TOTALS
    log = book.run("log", "account-1", "-o", "jsonl").lines
    assert data_of(log) == SEEN and log[-1]["state"] == TOTALS
    rows = book.json("sql", "select data from events order by position")
    assert [json.loads(row["data"]) for row in rows] == SEEN
    stored = [data for _, data in STORED]
    assert data_of(book.run("read", "account-1", "--raw", "-o", "jsonl").lines) == stored
    assert data_of(
        book.run("tail", "--after", 0, "--no-follow", "--raw", "-o", "jsonl").lines) == stored
    raw = book.run("log", "account-1", "--raw", "-o", "jsonl").lines
    assert data_of(raw) == stored and raw[-1]["state"] == TOTALS
    assert [row.get("schema_version", 0) for row in raw] == [version for version, _ in STORED]
    assert {row["schema_version"] for row in log} == {3}


def test_every_reader_sees_the_newest_version(mixed, serve):
    check_commands(mixed)
    for model in ("by_events", "by_transaction"):
        mixed.run("model", "rebuild", model)
    server = serve(mixed)
    check_commands(mixed)
    assert data_of(server.get("/streams/account-1").json["events"]) == SEEN
    assert data_of(server.get("/events?raw=true").json["events"]) == [data for _, data in STORED]
    live = server.get("/events?limit=4", headers={"Accept": "text/event-stream"})
    assert data_of(sse(live.text)) == SEEN
    assert server.request("PUT", "/groups/g", {"categories": ["account"]}).status < 300
    leased = server.post("/groups/g/read?limit=10").json["events"]
    assert data_of(leased) == SEEN
    for sync in ("events", "transaction"):
        rows = mixed.json("sql", f"select currency, cents from of_{sync}")
        assert totals(rows) == TOTALS, sync
    last = server.post("/streams/account-2", {"type": "Deposited", "schema_version": 1,
                                              "data": {"amount": 1}}).json["position"]
    for sync in ("events", "transaction"):
        rows = table(server, f"by_{sync}", f"of_{sync}", last)
        assert totals(rows) == TOTALS | {"USD": 1300}, sync
    rows = mixed.json("sql", "select currency, cents from of_events", "--at", "2100-01-01")
    assert totals(rows) == TOTALS | {"USD": 1300}


PROGRAM = r"""
#include <daybook.h>
#include <stdio.h>
#include <string.h>

/* Version 4: the currency goes. */
static int upcast(const struct daybook_event *event, struct daybook_text *text, void *context)
{
    (void)event;
    daybook_write(text, context, 9);
    return event->schema_version == 3 ? 0 : 1;
}

int main(int count, char **arguments)
{
    struct daybook *book = NULL;
    struct daybook_cursor *cursor = NULL;
    struct daybook_event event;
    struct daybook_error error = {0};
    static char made[] = "{\"c\":\"x\"}";
    const struct daybook_upcaster upcaster = {"Deposited", 4, "1", made, upcast};
    const struct daybook_options options = {arguments[1], arguments[2], DAYBOOK_READ, &upcaster,
                                            count > 3};
    if (daybook_open(&options, &book, &error) < 0 ||
        daybook_read(book, &(struct daybook_filter){.raw = count > 4}, &cursor, &error) < 0)
        return fprintf(stderr, "%s\n", error.message), 1;
    int rc;
    while ((rc = daybook_next(cursor, &event, &error)) == 1) {
        static const char *const names[] = {"amount", "cents", "currency", "c", "none"};
        const char *text;
        size_t size;
        char members[200] = "{\"\":0";
        /* Before the data is made, and behind it. */
        for (size_t i = 0; i < 10; i++) {
            const char *data = i == 5 ? daybook_data(&event, &size, &error) : "";
            int found =
                data == NULL ? -1 : daybook_member(&event, names[i % 5], &text, &size, &error);
            if (found < 0) {
                rc = error.code;
                break;
            }
            if (found == 1)
                sprintf(members + strlen(members), ",\"%s%s\":%.*s", names[i % 5],
                        i < 5 ? "" : "2", (int)size, text);
        }
        if (rc < 0)
            break;
        const char *data = daybook_data(&event, &size, &error);
        printf("%d %.*s\t%s}\n", event.schema_version, (int)size, data, members);
    }
    if (rc < 0)
        printf("%s\n", error.message);
    daybook_cursor_close(cursor);
    daybook_close(book);
    return 0;
}
"""


def test_a_program_reads_and_upcasts(mixed, tmp_path):
    if not list((BUILD / "src").glob("libdaybook.so*")):
        missing("libdaybook")
    (tmp_path / "program.c").write_text(PROGRAM)
    subprocess.run(["cc", "-std=c11", f"-I{ROOT / 'include'}", tmp_path / "program.c",
                    f"-L{BUILD / 'src'}", "-ldaybook", f"-Wl,-rpath,{BUILD / 'src'}", "-o",
                    tmp_path / "program"], check=True)

    def run(*more):
        result = subprocess.run([tmp_path / "program", mixed.folder, mixed.data, *more],
                                capture_output=True, text=True, check=False,
                                env=clean_environment())
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines()

    def told(lines):
        """The data; members asked for one by one before it was made, and behind, are its own."""
        all_data = []
        for line in lines:
            data, members = (json.loads(part) for part in line[2:].split("\t"))
            assert members == {"": 0} | {name + behind: value for name, value in data.items()
                                         for behind in ("", "2")}
            all_data.append(data)
        return all_data

    assert told(run()) == SEEN
    versions = [version or 0 for version, _ in STORED]
    assert [int(line[0]) for line in run()] == versions
    schema = {"versions": VERSIONS + [{"version": 4, "schema": {}, "upcast": "program"}]}
    write(mixed.folder, {"events/Deposited.schema.json": schema})
    assert told(run("with")) == [{"c": "x"}] * 4
    assert told(run("with", "raw")) == [data for _, data in STORED]
    alone = "events/Deposited.schema.json: version 4: it takes the program that has the upcaster"
    assert run()[0].startswith(alone)
    assert alone in mixed.run("read", status=1).errors


def cut(server, accept):
    """An answer that fails after it has begun says why and is cut off."""
    with pytest.raises(http.client.IncompleteRead) as failure:
        server.get("/events", headers={"Accept": accept})
    return failure.value.partial.decode()


def test_an_upcaster_that_fails_is_named_everywhere(mixed, serve):
    why = "events/Deposited.2-3.lua:2: no (Deposited of account-1, version 1, position 1)"
    write(mixed.folder, {"events/Deposited.2-3.lua":
                         "return function(data)\n    error(\"no\")\nend\n"})
    write(mixed.folder / "models" / "other",
          {"model.yaml": "sync: events\nsource: [account]\n",
           "schema.sql": "CREATE TABLE others (n INTEGER);",
           "Other.sql": "INSERT INTO others VALUES (:n);"})
    write(mixed.folder / "models" / "fresh",
          {name: text.format("fresh_rows") for name, text in MODEL.items()} |
          {"model.yaml": "sync: events\nsource: [account]\n"})
    for command in (("state", "account-1"), ("log", "account-1"), ("read",),
                    ("tail", "--after", 0, "--no-follow"), ("sql", "select data from events")):
        assert why in mixed.run(*command, status=1).errors, command
    server = serve(mixed)
    assert server.get("/events").json["detail"] == why
    lines = cut(server, "application/x-ndjson").splitlines()
    assert json.loads(lines[-1])["detail"] == why
    live = cut(server, "text/event-stream")
    assert "event: error\ndata: " in live and sse(live)[-1]["detail"] == why
    last = server.post("/streams/account-9", {"type": "Other", "data": {"n": 5}}).json["position"]
    assert table(server, "other", "others", last) == [{"n": 5}]
    models = {row["name"]: row for row in mixed.json("model", "ls")}
    assert models["fresh"]["state"] == "stopped" and why in models["fresh"]["error"]
    assert models["fresh"]["position"] == 0 and models["other"]["state"] == "following"
    assert [row["data"] for row in mixed.run("read", "account-1", "--raw", "-o", "jsonl").lines] \
        == [data for _, data in STORED]
    server.stop()
    write(mixed.folder, {"events/Deposited.2-3.lua": TO_CENTS})
    mixed.run("model", "rebuild", "fresh")
    assert totals(mixed.json("sql", "select currency, cents from fresh_rows")) == TOTALS


def test_functions_and_handlers_for_one_version(mixed):
    write(mixed.folder, {"folds/account.lua": """return { initial = { old = 0, new = 0 }, on = {
        ["Deposited.v1"] = function(state, data) state.old = state.old + data.amount end,
        ["Deposited.v2"] = function(state, data) state.two = data end,
        Deposited = function(state, data) state.new = state.new + data.cents end } }"""})
    assert mixed.json("state", "account-1")["state"] == \
        {"old": 12, "two": STORED[2][1], "new": 1300}
    log = mixed.run("log", "account-1", "-o", "jsonl").lines
    assert data_of(log) == SEEN and log[1]["state"] == {"old": 12, "new": 0}
    model = mixed.folder / "models" / "by_events"
    write(model, {"Deposited.v1.sql": "INSERT INTO of_events VALUES ('v1', 'old', :amount);",
                  "handlers.sql": "-- on: Deposited.v2\n"
                                  "INSERT INTO of_events VALUES ('v2', :currency, :amount);\n"})
    mixed.run("model", "rebuild", "by_events")
    assert [tuple(row.values()) for row in mixed.json("sql", "select * from of_events")] == [
        ("v1", "old", 5), ("v1", "old", 7), ("v2", "EUR", 11), ("account-1", "EUR", 1300)]
    write(model, {"Deposited.v4.sql": "SELECT 1;", "Deposited.v1.sql": "SELECT :amout;"})
    faults = mixed.run("check", status=1)
    said = faults.text + faults.errors
    assert "models/by_events/Deposited.v4.sql:1:1: `Deposited` has no version 4" in said
    assert "declares no field `amout`" in said and "did you mean `amount`?" in said
    write(mixed.folder, {"folds/account.lua": "return { initial = {}, on = {\n"
                                              "  [\"Deposited.v9\"] = function() end } }"})
    said = mixed.run("check", status=1)
    assert "`on` has `Deposited.v9`, and Deposited has versions 1 to 3" in said.text + said.errors


def test_what_was_made_by_another_upcaster_is_unfit(mixed):
    fold = FOLD.replace("on = {", "snapshot = { every = 2 }, on = {")
    write(mixed.folder, {"folds/account.lua": fold})

    def state():
        return mixed.json("state", "account-1", "--explain")

    for _ in range(2):
        mixed.run("append", "account-1", "Deposited", '{"cents":1,"currency":"EUR"}')
    assert state()["explain"]["snapshot_version"] == 6
    assert not any(row["changed"] for row in mixed.json("model", "ls"))
    write(mixed.folder, {"events/Deposited.2-3.lua": TO_CENTS.replace("* 100", "* 1000")})
    changed = state()
    assert changed["explain"]["snapshot_version"] == 0
    assert changed["state"] == {"EUR": 11000 + 1302, "USD": 12000}
    assert all(row["changed"] for row in mixed.json("model", "ls"))
    mixed.run("model", "rebuild", "by_events")
    rows = {row["name"]: row["changed"] for row in mixed.json("model", "ls")}
    assert rows == {"by_events": False, "by_transaction": True}
    assert totals(mixed.json("sql", "select currency, cents from of_events")) == changed["state"]
