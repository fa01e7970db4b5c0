# SPDX-License-Identifier: Apache-2.0
"""Processes beside each other on one data directory."""
import sqlite3
import subprocess

from conftest import clean_environment


def test_commands_at_the_same_time_take_turns(bank):
    processes = [subprocess.Popen(bank.command("append", f"note-{i}", "Noted", "{}"),
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                  env=clean_environment()) for i in range(6)]
    for process in processes:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
    assert bank.json("sql", "select count(*) n from events") == [{"n": 6}]


def test_reading_commands_work_beside_a_server(bank, serve):
    server = serve(bank)
    server.post("/commands/Open", {"account": "1"})
    (bank.data / "daybook.sock").unlink()  # so that the command cannot ask the server
    assert bank.json("state", "account-1")["state"]["status"] == "active"
    bank.run("read", "account-1")
    refused = bank.run("append", "note-1", "Noted", "{}", status=1)
    assert "daybook serve (process " in refused.errors


def test_a_program_that_opens_a_read_model_takes_no_lock_away(bank, serve):
    """SQLite's locks are the process's: one file closed elsewhere in the daemon would end them all,
    and the last program that reads would then remove what the daemon is writing."""
    server = serve(bank)
    server.post("/commands/Open", {"account": "1"})
    for turn in range(1, 31):
        assert server.post("/commands/Deposit", {"account": "1", "amount": 1}).status == 200
        reader = sqlite3.connect(bank.data / "reading.db")
        assert reader.execute("SELECT balance FROM balances").fetchall() == [(turn,)]
        reader.close()
        for _ in range(2):
            answer = server.post("/sql", {"sql": "SELECT balance FROM balances"})
            assert (answer.status, answer.json["rows"]) == (200, [{"balance": turn}]), answer
