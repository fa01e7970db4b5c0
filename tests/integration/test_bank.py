# SPDX-License-Identifier: Apache-2.0
"""The sample bank: imported, folded, snapshotted, commanded, and constrained by its read model."""
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
