# SPDX-License-Identifier: Apache-2.0
"""The sample bank: imported, folded, snapshotted, commanded, and constrained by its read model."""
import re
import socket
import threading
import uuid

import pytest

from conftest import BANK

EVENTS = 2351  # 4 of account 123 and 2347 of account 456


@pytest.fixture
def loaded(bank):
    answer = bank.json("import", BANK / "sample.jsonl", "--as", "sample")
    assert (answer["rows"], answer["events"], answer["streams"], answer["rejected"]) == \
        (10, EVENTS, 2, 0)
    return bank


def balance(book, account):
    rows = book.json("get", "GetBalance", f"account={account}")
    assert len(rows) == 1
    return rows[0]["balance"]


def test_importing_again_adds_nothing(loaded):
    assert loaded.json("import", BANK / "sample.jsonl", "--as", "sample")["events"] == 0
    assert loaded.json("sql", "select count(*) n from events") == [{"n": EVENTS}]


def test_state_now_and_before(loaded):
    state = loaded.json("state", "account-123")
    assert (state["version"], state["state"]["balance"], state["state"]["status"]) == \
        (4, 120, "active")
    assert loaded.json("state", "account-123", "--version", 2)["state"]["balance"] == 100
    then = loaded.json("state", "account-123", "--occurred-at", "2026-02-12")
    assert then["state"]["balance"] == 70
    loaded.run("state", "account-123", "--occurred-at", "2025-01-01", status=1)


def test_the_bank_statement(loaded):
    entries = loaded.run("log", "account-123", "-o", "jsonl").lines
    assert [entry["state"]["balance"] for entry in entries] == [0, 100, 70, 120]


def test_snapshots_shorten_the_replay(loaded):
    loaded.json("state", "account-456")
    state = loaded.json("state", "account-456", "--version", 2347, "--explain")
    assert state["explain"] == {"snapshot_version": 2000, "replayed": 347}
    assert loaded.json("state", "account-456", "--version", 1000)["state"]["balance"] == 5000
    assert loaded.json("state", "account-456", "--version", 2000)["state"]["balance"] == 7500


def test_a_withdrawal_past_the_balance_is_refused(loaded):
    answer = loaded.run("do", "Withdraw", 'account="123"', "amount=500", status=1)
    assert "the balance is 120" in answer.errors
    loaded.run("do", "Withdraw", 'account="123"', "amount=20")
    assert balance(loaded, "123") == 100


def test_the_read_model_s_constraint_refuses_an_event(loaded):
    loaded.run("append", "account-123", "Withdrawn", '{"amount":500}', status=1)
    assert balance(loaded, "123") == 120
    assert loaded.json("state", "account-123")["version"] == 4


def test_an_expected_version_that_does_not_hold_is_a_conflict(loaded):
    loaded.run("append", "account-123", "Deposited", '{"amount":1}', "--expect", 3, status=4)
    loaded.run("append", "account-123", "Deposited", '{"amount":1}', "--expect", 4)
    assert balance(loaded, "123") == 121


def test_a_repeated_command_answers_as_the_first_time(loaded):
    first = loaded.json("do", "Deposit", 'account="123"', "amount=5", "--key", "k-1")
    again = loaded.json("do", "Deposit", 'account="123"', "amount=5", "--key", "k-1")
    assert again["position"] == first["position"]
    assert balance(loaded, "123") == 125


def test_what_a_person_sees(loaded):
    state = loaded.run("state", "account-123").text
    assert re.search(r"^balance +120$", state, re.M) and re.search(r"^status +active$", state, re.M)
    statement = loaded.run("log", "account-123").text
    assert re.findall(r"balance=(\d+)", statement) == ["0", "100", "70", "120"]
    explained = loaded.run("state", "account-456", "--version", 2347, "--explain").text
    assert "snapshot 2000, 347 events replayed" in explained


# ---- Exit statuses: 0 ok, 1 failed, 2 usage, 3 cannot connect, 4 conflict, 5 not allowed ----

@pytest.mark.parametrize("arguments, says", [
    (["do", "Withdraw", '{"account":"123","amount":121}'], "the balance is 120"),
    (["do", "Deposit", '{"account":"999","amount":1}'], "not open"),
    (["do", "Withdrew", '{"account":"123"}'], "Withdraw"),
    (["state", "account-999"], "account-999"),
    (["state", "account-123", "--version", "5"], "account-123"),
    (["get", "GetBalances", "account=123"], "GetBalance"),
    (["sql", "select * from balancse"], "balancse"),
    (["model", "show", "balancse"], "balances"),
    (["append", "account-123", "Withdrawn", '{"amount":121}'], "CHECK constraint failed"),
])
def test_status_1_failed(loaded, arguments, says):
    answer = loaded.run(*arguments, status=1)
    assert says in answer.errors
    assert answer.text == ""


@pytest.mark.parametrize("arguments", [
    ["state", "account-123", "--version", "-1"], ["state", "account-123", "--at", "noon"],
    ["append", "account-123", "Deposited"], ["read", "--limit", "x"], ["do"],
    ["append", "account-123", "Deposited", "{}", "--expect", "perhaps"],
])
def test_status_2_usage(loaded, arguments):
    assert loaded.run(*arguments, status=2).errors


def test_status_3_cannot_connect(loaded):
    """A server that takes connections and answers none of them."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(loaded.data / "daybook.sock"))
        listener.listen(8)
        listener.settimeout(0.1)
        done = threading.Event()

        def hang_up():
            while not done.is_set():
                try:
                    listener.accept()[0].close()
                except TimeoutError:
                    pass

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            answer = loaded.run("state", "account-123", status=3)
        finally:
            done.set()
        thread.join()
        assert "daybook.sock" in answer.errors


def test_status_4_conflict(loaded):
    answer = loaded.run("append", "account-123", "Deposited", '{"amount":1}', "--expect", "none",
                        status=4)
    assert "account-123" in answer.errors and "4" in answer.errors
    same = ["append", "account-123", "Deposited", '{"amount":1}', "--id", uuid.UUID(int=1)]
    loaded.run(*same)
    loaded.run(*same)
    same[3] = '{"amount":2}'
    assert str(uuid.UUID(int=1)) in loaded.run(*same, status=4).errors


@pytest.mark.parametrize("arguments", [
    ["sql", "delete from balances"], ["sql", "update balances set balance = 1000000"],
    ["sql", "attach 'elsewhere.db' as e"], ["sql", "pragma journal_mode = off"],
    ["serve", "--listen", "0.0.0.0:0"],
])
def test_status_5_not_allowed(loaded, arguments):
    assert loaded.run(*arguments, status=5).errors
    assert balance(loaded, "123") == 120


def test_both_ways_to_forget_an_owner(bank):
    """Erased, the event stays without its name; behind a tombstone it was never there."""
    bank.run("import", BANK / "sample.jsonl", "--as", "sample")
    bank.run("append", "account-123", "OwnerNamed", '{"customer":"c-1","owner":"Anna Berg"}')
    bank.run("append", "account-456", "OwnerNamed", '{"customer":"c-2","owner":"Bert Tal"}')
    assert bank.json("state", "account-123")["state"]["owner"] == "Anna Berg"
    erased = bank.json("forget", "c-1")["key"]
    state = bank.json("state", "account-123")
    assert state["version"] == 5 and state["state"]["owner"] == {"$forgotten": erased}
    bank.run("forget", "c-2", "--tombstone")
    assert "owner" not in bank.json("state", "account-456")["state"]
    log = bank.json("log", "account-456", "--from-version", "2347")
    assert [e["version"] for e in log] == [2347]
    # As stored, the name itself is sealed.
    raw = bank.json("read", "account-456", "--from-version", "2348", "--raw")
    assert [e["data"] for e in raw] == [{"customer": "c-2"}]
    assert [m["state"] for m in bank.json("forgotten", "ls")][1] == "final"
