# SPDX-License-Identifier: Apache-2.0
"""Events of declared types on every way in, and the commands that look at schemas."""
import json
import os
import pathlib
import subprocess

import pytest

from conftest import ROOT, Book, clean_environment, missing

BUILD = pathlib.Path(os.environ.get("DAYBOOK_BUILD", ROOT / "build"))

DEPOSITED = {"versions": [
    {"version": 1, "schema": {"type": "object", "properties": {"amount": {"type": "integer"}},
                              "required": ["amount"]}},
    {"version": 2, "upcast": [{"add": "currency", "value": "USD"}],
     "schema": {"type": "object", "x-tags": ["account:{account}"],
                "properties": {"amount": {"type": "integer", "minimum": 1},
                               "currency": {"enum": ["USD", "EUR"]},
                               "account": {"type": "string"}},
                "required": ["amount", "currency"], "additionalProperties": False}}]}

GOOD = {"amount": 5, "currency": "EUR", "account": "7"}
BAD = {"amount": 0, "currency": "EUR"}
WHY = "its data: line 1, column 12: $.amount: expected a number of at least 1, got 0 " \
      "(Deposited, version 2)"

DEPOSIT = """return {
    stream = function(command) return "account-1" end,
    decide = function(state, command)
        return event("Deposited", { amount = command.amount, currency = "EUR" })
    end,
}
"""
SAMPLE = """return {
    map = function(row)
        return { stream = "account-" .. row.account, type = "Deposited", occurred = row.day,
            data = { amount = math.tointeger(tonumber(row.amount)), currency = "EUR" } }
    end,
}
"""


@pytest.fixture
def make(binary, tmp_path):
    """Makes a book with a declared type; mode: what book.yaml says."""
    def make_book(mode):
        folder = tmp_path / "book"
        for name in ("events", "commands", "imports"):
            (folder / name).mkdir(parents=True)
        settings = "book: small\n" + (f"schema: {mode}\n" if mode else "")
        (folder / "book.yaml").write_text(settings)
        (folder / "events" / "Deposited.schema.json").write_text(json.dumps(DEPOSITED))
        (folder / "commands" / "Deposit.lua").write_text(DEPOSIT)
        (folder / "imports" / "sample.lua").write_text(SAMPLE)
        return Book(binary, folder, tmp_path / "data")
    return make_book


def append(book, data, *more, status=0):
    return book.run("append", "account-1", "Deposited", json.dumps(data), "-o", "json", *more,
                    status=status)


def test_an_event_that_fits_gets_version_and_tags(make):
    book = make(None)
    append(book, GOOD)
    append(book, {"amount": 0}, "--schema-version", "1")
    append(book, GOOD, "--tags", "account:7,x")
    book.run("append", "account-1", "Other", "5")
    first, old, tagged, other = book.run("read", "--raw", "-o", "jsonl").lines
    assert first["schema_version"] == 2 and first["tags"] == ["account:7"]
    assert old["schema_version"] == 1 and "tags" not in old
    assert tagged["tags"] == ["account:7", "x"]
    assert "schema_version" not in other


def test_strict_refuses_on_every_way_in(make, tmp_path):
    book = make("strict")
    assert WHY in append(book, BAD, status=1).errors
    lines = "".join(json.dumps({"stream": "account-1", "type": "Deposited", "data": data}) + "\n"
                    for data in (GOOD, BAD))
    assert f"event 1: {WHY}" in book.run("append", "--file", "-", status=1, text_in=lines).errors
    assert "event 0: its data: line 1, column 11: $.amount" in book.run(
        "do", "Deposit", "amount=0", status=1).errors
    rows = tmp_path / "rows.csv"
    rows.write_text("account,day,amount\n1,2024-01-01,5\n1,2024-01-02,0\n")
    refused = book.run("import", rows, "--as", "sample", status=1)
    assert "events of rows 1 to 2: event 1: its data" in refused.errors
    assert book.run("read", "-o", "jsonl").lines == []
    append(book, GOOD)


def test_a_newer_version_is_refused_in_every_mode(make):
    book = make("off")
    assert "event 0: Deposited has no schema version 3: the newest is 2" in append(
        book, GOOD, "--schema-version", "3", status=1).errors
    refused = book.run("append", "account-1", "Other", "5", "--schema-version", "1", status=1)
    assert "event 0: Other is not declared, and so has no schema version 1" in refused.errors
    assert "schema_version is no whole number from 0 to 65535" in append(
        book, GOOD, "--schema-version", "70000", status=1).errors


def test_warn_stores_and_says_so(make, tmp_path):
    book = make("warn")
    answer = append(book, BAD).json
    assert answer["warning_count"] == 1 and answer["warnings"] == [f"event 0: {WHY}"]
    assert "warnings" not in append(book, GOOD).json
    answer = book.run("do", "Deposit", "amount=0", "-o", "json").json
    assert answer["warning_count"] == 1 and "$.amount" in answer["warnings"][0]
    rows = tmp_path / "rows.csv"
    rows.write_text("account,day,amount\n1,2024-01-01,5\n1,2024-01-02,0\n1,2024-01-03,-1\n")
    told = book.run("import", rows, "--as", "sample")
    assert "2 events do not fit their schema and are stored; the first: rows 1 to 3: event 1" \
        in told.errors
    assert len(book.run("read", "-o", "jsonl").lines) == 6


def test_off_stores_unchecked(make):
    book = make("off")
    assert "warnings" not in append(book, BAD).json
    assert book.run("read", "-o", "jsonl").lines[0]["schema_version"] == 2


def test_over_http(make, serve):
    book = make("warn")
    server = serve(book)
    answer = server.post("/streams/account-1", {"type": "Deposited", "data": BAD})
    assert answer.status == 201 and answer.json["warnings"] == [f"event 0: {WHY}"]
    answer = server.post("/streams/account-1", {"type": "Deposited", "data": {"amount": 0},
                                                "schema_version": 1})
    assert answer.status == 201 and "warnings" not in answer.json
    answer = server.post("/streams/account-1", {"type": "Deposited", "data": GOOD,
                                                "schema_version": "1"})
    assert answer.status == 400 and "schema_version" in answer.json["detail"]


PROGRAM = r"""
#include <daybook.h>
#include <stdio.h>
#include <string.h>

static void append(struct daybook *book, const char *data, int version)
{
    struct daybook_error error = {0};
    struct daybook_appended appended = {0};
    const struct daybook_new_event event = {.stream = "account-1", .type = "Deposited",
        .data = data, .data_size = strlen(data), .schema_version = (uint16_t)version};
    int rc = daybook_append(book, &(struct daybook_batch){.events = &event, .count = 1},
                            &appended, &error);
    printf("%d %zu %s%s\n", rc, appended.warning_count, appended.warning, error.message);
}

int main(int argc, char **argv)
{
    struct daybook *book = NULL;
    struct daybook_cursor *cursor = NULL;
    struct daybook_event event;
    if (argc != 3 || daybook_open(&(struct daybook_options){.folder = argv[1], .data = argv[2]},
                                  &book, NULL) < 0)
        return 1;
    append(book, "{\"amount\": 0, \"currency\": \"EUR\"}", 0);
    append(book, "{\"amount\": 0}", 1);
    append(book, "{\"amount\": 0}", 3);
    if (daybook_read(book, NULL, &cursor, NULL) < 0)
        return 1;
    while (daybook_next(cursor, &event, NULL) == 1)
        printf("version %d\n", event.schema_version);
    daybook_cursor_close(cursor);
    daybook_close(book);
    return 0;
}
"""


def test_from_c(make, tmp_path):
    library = BUILD / "src" / "libdaybook.so"
    if not library.exists():
        missing("libdaybook")
    book = make("warn")
    source = tmp_path / "program.c"
    source.write_text(PROGRAM)
    subprocess.run(["cc", "-std=c11", f"-I{ROOT / 'include'}", source, f"-L{library.parent}",
                    "-ldaybook", "-o", tmp_path / "program"], check=True)
    result = subprocess.run([tmp_path / "program", book.folder, book.data], text=True,
                            capture_output=True, check=True, timeout=60,
                            env=clean_environment() | {"LD_LIBRARY_PATH": str(library.parent)})
    assert result.stdout.splitlines() == [
        f"0 1 event 0: {WHY}", "0 0 ",
        "-1 0 event 0: Deposited has no schema version 3: the newest is 2",
        "version 2", "version 1"]


def test_bytes_are_no_json(make, serve):
    book = make("strict")
    server = serve(book)
    answer = server.post("/streams/account-1", {"type": "Deposited", "data_base64": "AAAA"})
    assert answer.status == 400 and "it is bytes, where JSON is expected" in answer.json["detail"]


def test_check_names_the_place(make):
    book = make("strict")
    path = book.folder / "events" / "Deposited.schema.json"
    path.write_text('{"versions": [{"version": 1, "schema": {"type": "object",\n'
                    '  "propertis": {}}}]}\n')
    result = subprocess.run([str(book.binary), "check", "--book", str(book.folder)], text=True,
                            capture_output=True, check=False, env=clean_environment())
    assert result.returncode == 1
    assert "events/Deposited.schema.json:2:3: " in result.stdout + result.stderr
    assert "did you mean `properties`?" in result.stdout + result.stderr


# ---- The schema commands ----

ACCOUNT = """return {
    initial = { balance = 0 },
    on = {
        Deposited = function(state, data)
            state.balance = data.amount -- not the currency
            state.currency = data.currency
        end,
    },
}
"""


@pytest.fixture
def evolved(make):
    """A book whose type gets a field that is needed, with a fold that names it."""
    book = make(None)
    (book.folder / "folds").mkdir()
    (book.folder / "folds" / "account.lua").write_text(ACCOUNT)
    return book


def test_ls_counts_events_by_version(make):
    book = make("off")
    path = book.folder / "events" / "Deposited.schema.json"
    kept = path.read_text()
    path.unlink()
    append(book, GOOD)
    path.write_text(kept)
    append(book, GOOD)
    append(book, GOOD)
    append(book, {"amount": 1}, "--schema-version", "1")
    row, = book.run("schema", "ls", "-o", "json").json
    assert row == {"type": "Deposited", "versions": 2, "personal": [], "subject": None,
                   "events": {"0": 1, "1": 1, "2": 2}}


def test_ls_of_personal_fields(make):
    book = make("off")
    (book.folder / "events" / "Moved.schema.json").write_text(json.dumps({"versions": [
        {"version": 1, "schema": {"x-subject": "id", "properties": {
            "id": {"type": "string"}, "address": {"properties": {"street": {
                "x-personal": True}}}}}}]}))
    row = book.run("schema", "ls", "-o", "json").json[1]
    assert row["personal"] == ["address.street"] and row["subject"] == "id"


def test_check_says_what_breaks_whom(evolved):
    row, = evolved.run("schema", "check", "-o", "json").json
    assert (row["from"], row["to"], row["backward"], row["forward"]) == (1, 2, False, True)
    breaks = {(item["path"], item["keyword"]): item for item in row["breaks"]}
    assert set(breaks) == {("$", "required"), ("$.amount", "minimum"), ("$.currency", "enum"),
                           ("$.account", "type"), ("$", "additionalProperties")}
    named = breaks["$.currency", "enum"]["named_by"]
    assert {"kind": "fold", "file": "folds/account.lua", "line": 6} in named
    assert {"kind": "command", "file": "commands/Deposit.lua", "line": 4} in named
    assert {"kind": "import", "file": "imports/sample.lua", "line": 4} in named
    assert [user["line"] for user in named if user["kind"] == "upcaster"] == [1]
    text = evolved.run("schema", "check", "Deposited").text
    assert "Deposited 1 to 2: forward compatible, not backward" in text
    assert "folds/account.lua:6 (fold)" in text


@pytest.mark.parametrize("required, status",
                         [("backward", 1), ("forward", 0), ("full", 1), ("sideways", 2)])
def test_check_requires(evolved, required, status):
    evolved.run("schema", "check", "--require", required, status=status)


def test_diff_is_a_patch(evolved):
    rows = evolved.run("schema", "diff", "Deposited", "-o", "json").json
    assert {"op": "add", "path": "/properties/amount/minimum", "value": 1} in rows
    assert evolved.run("schema", "diff", "Deposited", "1", "2", "-o", "json").json == rows
    assert "did you mean Deposited?" in evolved.run("schema", "diff", "Deposted", status=1).errors
    assert "versions 1 to 2, not 3" in evolved.run("schema", "diff", "Deposited", "1", "3",
                                                   status=1).errors
    evolved.run("schema", "diff", "Deposited", "1", status=2)


def test_infer_proposes_what_all_events_have_in_common(make):
    book = make("off")
    for number in range(40):
        data = {"amount": number, "currency": ["USD", "EUR"][number % 2], "at": "2024-01-01",
                "rate": 1.5 if number % 2 else 2, "lines": [{"sku": str(number)}], "note": None}
        if number % 2:
            data["extra"] = True
        append(book, data)
    text = book.run("schema", "infer", "Deposited").text
    schema = json.loads(text)["versions"][0]["schema"]
    assert schema["required"] == ["amount", "currency", "at", "rate", "lines", "note"]
    assert schema["properties"] == {
        "amount": {"type": "integer"}, "currency": {"type": "string", "enum": ["USD", "EUR"]},
        "at": {"type": "string", "format": "date"}, "rate": {"type": "number"},
        "lines": {"type": "array", "items": {"type": "object", "properties": {
            "sku": {"type": "string"}}, "required": ["sku"]}},
        "note": {"type": "null"}, "extra": {"type": "boolean"}}
    book.run("append", "other-1", "Other", "[1]")
    assert set(book.run("schema", "infer", "--all").json) == {"Deposited", "Other"}
    assert "no event of type Nothing" in book.run("schema", "infer", "Nothing", status=1).errors
    book.run("schema", "infer", status=2)
    # What it proposes is a type's file, and fits what it was made of.
    (book.folder / "events" / "Deposited.schema.json").write_text(text)
    (book.folder / "book.yaml").write_text("book: small\nschema: strict\n")
    append(book, data)
