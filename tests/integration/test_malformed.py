# SPDX-License-Identifier: Apache-2.0
"""Malformed everything: a named error, the right status, and nothing stored is touched."""
import hashlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse

import pytest

from conftest import BANK, TIMEOUT_S, Answer, Book, clean_environment, missing

LOOP_SQL = ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
            "SELECT count(*) FROM n")


def digest(book):
    """Of every byte of the log, the note of what is synced left out: it says the same in turns."""
    sums = hashlib.sha256()
    for path in sorted((book.data / "log").glob("*.seg")):
        sums.update(path.name.encode() + path.read_bytes().rstrip(b"\0"))
    return sums.hexdigest()


@pytest.fixture
def book(binary, tmp_path):
    """The bank as a copy whose files may be spoilt, with events in it."""
    folder = tmp_path / "bank"
    shutil.copytree(BANK, folder, ignore=shutil.ignore_patterns("data"))
    book = Book(binary, folder, tmp_path / "data")
    book.run("import", BANK / "sample.jsonl", "--as", "sample")
    return book


@pytest.fixture
def untouched(book):
    """The book; when the test is over, its log must be what it was, and answer as it did."""
    before = digest(book)
    yield book
    assert digest(book) == before
    shutil.rmtree(book.folder)
    shutil.copytree(BANK, book.folder, ignore=shutil.ignore_patterns("data"))
    assert book.json("state", "account-123")["state"]["balance"] == 120
    assert book.json("get", "GetBalance", "account=123")[0]["balance"] == 120
    book.run("append", "account-123", "Deposited", '{"amount":1}')


# ---- Files of a book ----

SPOILT = [
    ("book.yaml", b"book: [bank\n", "book.yaml:"),
    ("book.yaml", b"book: bank\ndatabses: {}\n", "databses"),
    ("book.yaml", b"\xff\xfe\n", "book.yaml:"),
    ("book.yaml", b"book: a\0b\n", "book.yaml:"),
    ("book.yaml", b"book: &a [*a]\n", "book.yaml:"),
    ("book.yaml", b"- " * 5000, "book.yaml:"),
    ("models/balances/model.yaml", b"database: reading\nsync: often\n", "model.yaml:2:"),
    ("models/balances/model.yaml", b"database: raeding\n", "reading"),
    ("models/balances/schema.sql", b"CREATE TABLE balances (", "schema.sql:"),
    ("models/balances/schema.sql", b"CREATE TABLE balances (account, balance, changed, "
     b"luck DEFAULT (random()))", "chance"),
    ("models/balances/handlers.sql", b"-- on: Deposited\nUPDAET balances SET balance = 1",
     "handlers.sql:2:"),
    ("models/balances/handlers.sql", b"-- on: Deposited\nDELETE FROM nowhere", "handlers.sql:2:"),
    ("models/balances/handlers.sql", b"-- on: Deposited\nCOMMIT", "handlers.sql:2:"),
    ("models/balances/handlers.sql", b"-- on: Deposited\nSELECT '\0'", "handlers.sql:"),
    ("models/balances/handlers.sql", b"-- on: Deposited\nSELECT '\xff'", "handlers.sql:"),
    ("folds/account.lua", b"return {", "account.lua:1:"),
    ("folds/account.lua", b"return 1", "account.lua:"),
    ("folds/account.lua", b"\x1bLua\x54\x00", "account.lua:"),
    ("folds/account.lua", b"while true do end", "account.lua:"),
    ("folds/account.lua", b"local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1e6) .. i end",
     "account.lua:"),
    ("commands/Deposit.lua", b"return { decide = 1 }", "Deposit.lua:"),
    ("queries/GetBalance.sql", b"DELETE FROM balances", "GetBalance.sql:"),
    ("queries/GetBalance.sql", b"SELECT nothing FROM balances", "GetBalance.sql:"),
    ("views/bank_totals.sql", b"-- refresh: now and then\nSELECT 1", "bank_totals.sql:1:"),
]


@pytest.mark.parametrize("name, text, says", SPOILT,
                         ids=[f"{i}-{name}" for i, (name, _, _) in enumerate(SPOILT)])
def test_a_spoilt_file_of_the_book(untouched, name, text, says):
    (untouched.folder / name).write_bytes(text)
    checked = untouched.run("check", status=1)
    assert says in checked.text + checked.errors
    refused = untouched.run("append", "account-123", "Deposited", '{"amount":1}', status=1)
    assert says in refused.errors


@pytest.mark.parametrize("folder, name", [("", "book.yaml"), ("models/balances", "schema.sql"),
                                          ("models/balances", "model.yaml")])
def test_a_missing_file_of_the_book(untouched, folder, name):
    (untouched.folder / folder / name).unlink()
    assert name in untouched.run("state", "account-123", status=1).errors


# ---- JSON and what is appended ----

BAD_JSON = ['{"amount":', '{"amount":1}}', "{'amount':1}", '{"amount":NaN}', '{"amount":01}',
            '{"amount":"\\ud800"}', '{"amount":"\\x"}', '{"amount":1,"amount":2}', "",
            "[" * 5000 + "]" * 5000]


@pytest.mark.parametrize("data", BAD_JSON)
def test_json_that_is_none(untouched, data):
    answer = untouched.run("append", "account-123", "Deposited", data, status=1)
    assert answer.errors.startswith("daybook: ") and answer.errors.count("\n") == 1


@pytest.mark.parametrize("amount", ["9223372036854775808", "-9223372036854775809", "1e999",
                                    '"ten"', "null", "[1]", "1.5", "18446744073709551616"])
def test_amounts_that_are_no_64_bit_integers(untouched, amount):
    answer = untouched.run("do", "Deposit", f'{{"account":"123","amount":{amount}}}', status=1)
    assert answer.errors.startswith("daybook: ") and answer.errors.count("\n") == 1


def test_a_balance_past_64_bits(untouched):
    answer = untouched.run("append", "account-123", "Deposited",
                           '{"amount":9223372036854775807}', status=1)
    assert "CHECK constraint failed" in answer.errors


def bodies():
    event = b'{"type":"Deposited","data":{"amount":1}}'
    return [b"", b"null", b"[]", b"{}", b'{"type":1,"data":{}}', b'{"type":"","data":{}}',
            event[:-1], event + b"x", b"\0" + event, event.replace(b"1", b"1\0"),
            event.replace(b"1", b'"\xff"'), event.replace(b"Deposited", b"De\\u0000posited"),
            event.replace(b'"data"', b'"dta"'), event.replace(b"1", b"9" * 400),
            b'{"type":"Deposited","data":{"amount":1},"id":"no-uuid"}',
            b'{"type":"Deposited","data":{"amount":1},"occurred":"soon"}',
            b'{"type":"Deposited","data":{"amount":1},"meta":[]}',
            b'{"type":"Deposited","data":{"amount":1},"tags":[1]}',
            b'{"type":"Deposited","data":{"a":"' + b"x" * (2 << 20) + b'"}}']


def test_bodies_of_requests(untouched, serve):
    server = serve(untouched)
    for body in bodies():
        answer = server.post("/streams/account-123", body)
        assert answer.status in (400, 413, 422), (body[:80], answer)
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert answer.json["detail"], body[:80]
    for path in ("/streams/account-123%00", "/streams/%ff", "/streams/$own-1",
                 "/streams/" + "a" * 5000):
        answer = server.post(path, b'{"type":"Deposited","data":{"amount":1}}')
        assert 400 <= answer.status < 500, (path[:40], answer)
    assert server.get("/streams/account-123/state?version=99999999999999999999").status == 400
    answer = server.get("/events?type=Deposited&type=Withdrawn")
    assert answer.status == 400 and '"type\\" is given twice' in answer.text
    for path in ("/groups/g/read", "/compact", "/models/balances/rebuild"):
        answer = server.post(path, {"limit": 10})
        assert answer.status == 400 and "takes no body" in answer.json["detail"]
    assert server.get("/healthz").status == 200
    server.stop()


# ---- Options of the store's commands ----

QUERY = '[{"types":["Deposited"]}]'
THEN = "2026-02-12"
WRONG = [
    (("group", "shwo"), 2, "there is no command group shwo, did you mean group show?"),
    (("bench", "xyzzy"), 2, "there is no command bench xyzzy; see `daybook help bench`"),
    (("group", "set", ""), 1, "a name on the command line is empty"),
    (("stream", "keep", "", "--max-count", 1), 1, "a name on the command line is empty"),
    (("group", "set", "a b"), 1, "a group's name is"),
    (("group", "set", "g", "--query", '[{"types":'), 1, "--query: line 1, column 11"),
    (("group", "set", "g", "--query", QUERY + ',"window":5'), 1, "--query: line 1, column"),
    (("group", "set", "g", "--query", "{}"), 1, "query: it is a list of items"),
    (("group", "set", "g", "--query", QUERY, "--tag", "a"), 2, "exclude each other"),
    (("group", "set", "g", "--window", 10001), 1, "window is a number from 1 to 10000"),
    (("group", "set", "g", "--max-retries", -1), 2, "--max-retries takes a whole number"),
    (("group", "set", "g", "--timeout", "-1 s"), 1, "timeout is a duration"),
    (("group", "set", "g", "--after", 99999999), 1, "after is a number from 0 to"),
    (("group", "ack", "none", 1), 1, "there is no group none"),
    (("group", "nack", "g", 1, "--action", "drop"), 2, "--action is one of retry|park|skip"),
    (("group", "replay", "g"), 2, "say positions, or --all"),
    (("stream", "keep", "none-1", "--max-count", 1), 1, "there is no stream none-1"),
    (("stream", "keep", "account-123"), 2, "say --max-age, --max-count or --truncate-before"),
    (("stream", "keep", "account-123", "--max-count", 0), 1, "max_count is a number from 1"),
    (("stream", "keep", "account-123", "--max-age", "soon"), 2, "--max-age takes a duration"),
    (("stream", "keep", "account-123", "--truncate-before", 99), 1, "past the next version"),
    (("stream", "delete", "account-123", "--expect", 99), 4, "was expected at version 99"),
    (("compact", "--percent", 101), 1, "percent: 101 is more than all"),
    (("compact", "--rate", 0), 1, "rate: bytes a second"),
    (("backup", ""), 1, "make folder"),
    (("restore", "none"), 1, "there is no whole backup in none"),
    (("sql", "select 1", "--at", "2026-02-30"), 2, "--at takes an instant"),
    (("sql", "select 1", "--at", THEN, "--occurred-at", THEN), 2, "one of --at, --occurred-at"),
    (("sql", "delete from balances", "--at", THEN), 5, "only reading is possible here"),
    (("model", "as-of", "none", THEN), 1, "there is no model none"),
    (("model", "as-of", "balances", "then"), 2, "TIME is an instant"),
    (("model", "as-of", "balances", THEN, "--at", THEN), 2, "one time"),
    (("model", "as-of", "balances", THEN, "--out", "."), 1, ". is there already"),
    (("tail", "--from-time", "then", "--no-follow"), 2, "--from-time takes an instant"),
    (("read", "--query", "[]"), 1, "query: it is a list of items"),
    (("read", "--type", ""), 1, "type"),
    (("append", "account-123", "Deposited", "{}", "--fail-if", "x"), 1, "--fail-if: line 1"),
]


@pytest.mark.parametrize("words, status, says", WRONG,
                         ids=[" ".join(map(str, words)) for words, _, _ in WRONG])
def test_options_that_are_wrong(untouched, words, status, says):
    if words[0] == "bench" or words[:2] == ("group", "shwo"):
        result = subprocess.run([str(untouched.binary), *words], text=True, capture_output=True,
                                timeout=TIMEOUT_S, check=False)
        assert (result.returncode, result.stderr) == (status, f"daybook: {says}\n")
        return
    assert says in untouched.run(*words, status=status).errors


def send_gigabyte(server, chunked):
    """Sends as much of 1 GiB as the server takes; returns the status and how much that was."""
    place = urllib.parse.urlparse(server.url)
    block = b" " * (1 << 20)
    sent = 0
    with socket.create_connection((place.hostname, place.port), timeout=TIMEOUT_S) as connection:
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {1 << 30}"
        connection.sendall(f"POST /streams/account-123 HTTP/1.1\r\nHost: {place.netloc}\r\n"
                           f"{length}\r\n\r\n".encode())
        try:
            for _ in range(1024):
                connection.sendall(b"100000\r\n" + block + b"\r\n" if chunked else block)
                sent += len(block)
            if chunked:
                connection.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            pass
        try:
            line = connection.recv(4096).split(b"\r\n")[0]
        except ConnectionResetError:
            line = b""
    return line, sent


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_a_gigabyte(untouched, serve, chunked):
    server = serve(untouched)
    line, sent = send_gigabyte(server, chunked)
    assert b" 413 " in line or (line == b"" and sent < 1 << 30)
    with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
        peak = next(int(text.split()[1]) for text in status if text.startswith("VmHWM"))
    assert peak < 256 * 1024  # KiB
    assert server.get("/healthz").status == 200
    server.stop()


# ---- Handlers that never end ----

def spoil(book, name, old, new):
    path = book.folder / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_fold_that_never_ends(untouched):
    spoil(untouched, "folds/account.lua", "state.status = \"active\"", "while true do end")
    assert "account.lua:" in untouched.run("state", "account-123", status=1).errors


def test_a_command_that_never_ends(untouched):
    spoil(untouched, "commands/Deposit.lua", "return event(", "while true do end return event(")
    answer = untouched.run("do", "Deposit", '{"account":"123","amount":1}', status=1)
    assert "Deposit.lua:" in answer.errors


def test_a_command_that_eats_memory(untouched):
    spoil(untouched, "commands/Deposit.lua", "return event(",
          "local s = 'x' while true do s = s .. s end return event(")
    answer = untouched.run("do", "Deposit", '{"account":"123","amount":1}', status=1)
    assert "memory" in answer.errors


def test_a_handler_in_sql_that_never_ends(untouched):
    spoil(untouched, "models/balances/handlers.sql", "balance = balance + :amount",
          f"balance = ({LOOP_SQL})")
    began = time.monotonic()
    answer = untouched.run("model", "rebuild", "balances", status=1)
    assert "handlers.sql:" in answer.errors and "Deposited" in answer.errors
    assert time.monotonic() - began < 30


def test_a_mapping_that_never_ends(untouched, tmp_path):
    spoil(untouched, "imports/sample.lua", "local events = {}", "while true do end local events")
    path = tmp_path / "one.jsonl"
    path.write_text('{"account":"123","type":"Deposited","amount":1}\n')
    answer = untouched.run("import", path, "--as", "sample", "-o", "json")
    assert answer.json["rejected"] == 1 and "sample.lua:" in answer.errors


# ---- The disk ----

def test_a_data_directory_that_is_a_file(binary, tmp_path):
    path = tmp_path / "data"
    path.write_text("not a folder")
    answer = Book(binary, BANK, path).run("append", "account-1", "AccountOpened", '{"id":"1"}',
                                          status=1)
    assert str(path) in answer.errors
    assert path.read_text() == "not a folder"


def without_rights(book, *arguments):
    """Runs it as a user to whom file permissions apply."""
    command = book.command(*arguments)
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            missing("setpriv")
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
    result = subprocess.run(command, text=True, capture_output=True, timeout=TIMEOUT_S,
                            check=False, env=clean_environment())
    return Answer(result.returncode, result.stdout, result.stderr)


@pytest.fixture
def open_folders(tmp_path):
    """The folders above the test's, and the book, may be entered by everyone."""
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.stat().st_uid == os.geteuid() and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o055)


def test_a_read_only_data_directory(untouched, open_folders):
    paths = [untouched.data, *untouched.data.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        answer = without_rights(untouched, "append", "account-123", "Deposited", '{"amount":1}')
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert answer.status in (1, 5), answer
    assert str(untouched.data) in answer.errors and "denied" in answer.errors.lower()


def small_files():
    """No file may grow; and writing past that is an error, not a signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_files_that_cannot_grow(untouched):
    result = subprocess.run(
        untouched.command("append", "account-123", "Deposited", '{"amount":1}'), text=True,
        capture_output=True, timeout=TIMEOUT_S, check=False, env=clean_environment(),
        preexec_fn=small_files)
    assert result.returncode == 1, result
    assert str(untouched.data) in result.stderr


FULL = r"""
note() { printf '{"amount":1,"why":"%08000d"}' 0; }
mount -t tmpfs -o size=3m tmpfs "$DISK" || exit 99
$RUN append account-1 AccountOpened '{"id":"1"}' >/dev/null || exit 10
if [ "$SERVED" = yes ]
then
    $RUN serve --listen 127.0.0.1:0 >/dev/null 2>&1 &
    server=$!
    trap 'kill $server' EXIT
    until [ -S "$DISK/data/daybook.sock" ]; do sleep 0.02; done
fi
dd if=/dev/zero of="$DISK/filler" bs=4096 count=600 >/dev/null 2>&1
status=0
while [ $status = 0 ]
do
    $RUN append account-1 Deposited "$(note)" >/dev/null 2>"$OUT"
    status=$?
done
[ $status = 1 ] || exit 12
before=$(sha256sum "$DISK"/data/log/*.seg)
$RUN append account-1 Deposited "$(note)" >/dev/null 2>&1 && exit 13
[ "$before" = "$(sha256sum "$DISK"/data/log/*.seg)" ] || exit 14
$RUN state account-1 >/dev/null || exit 15
rm "$DISK/filler"
$RUN append account-1 Deposited '{"amount":1}' >/dev/null || exit 16
$RUN get GetBalance account=1 -o json
"""


@pytest.mark.parametrize("served", ["no", "yes"], ids=["alone", "served"])
def test_a_full_disk(binary, tmp_path, served):
    """A small file system of its own, seen by this test alone. What was refused for want of room
    is taken again when there is some, also by a server that went on running."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("mounting a small file system takes root")  # also in CI
    disk = tmp_path / "disk"
    disk.mkdir()
    run = tmp_path / "run"
    run.write_text(f'#!/bin/sh\nexec "{binary}" "$@" --book "{BANK}" --data "{disk}/data"\n')
    run.chmod(0o755)
    environment = clean_environment() | {"DISK": str(disk), "RUN": str(run), "SERVED": served,
                                         "OUT": str(tmp_path / "out")}
    result = subprocess.run(["unshare", "--mount", "sh", "-c", FULL], env=environment, text=True,
                            capture_output=True, timeout=TIMEOUT_S, check=False)
    if result.returncode == 99 or "unshare" in result.stderr:
        pytest.skip("a small file system cannot be mounted here")  # also in CI
    assert result.returncode == 0, result
    said = (tmp_path / "out").read_text()
    assert str(disk) in said and said.count("\n") == 1, said
