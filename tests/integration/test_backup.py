# SPDX-License-Identifier: Apache-2.0
"""Backups taken while the book is written to, restored and compared; full disks and kills."""
import json
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from conftest import Book

EVENT = {"type": "Counted", "data": {"pad": "x" * 400}}


def read(book):
    return [(e["position"], e["stream"], e["version"], e["id"], e["time"], e["data"])
            for e in book.run("read", "-o", "jsonl").lines]


def restored(book, backup, folder):
    again = Book(book.binary, book.folder, folder)
    return again, again.json("restore", backup)


def test_backup_while_four_write(bank, serve, tmp_path):
    server = serve(bank)
    backup = tmp_path / "backup"
    stop = threading.Event()

    def write(number):
        count = 0
        while not stop.is_set():
            count += 1
            answer = server.post(f"/streams/writer-{number}", [EVENT] * 5)
            assert answer.status == 201, answer

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    answers = []
    try:
        for _ in range(8):
            time.sleep(0.15)
            answers.append(bank.json("backup", backup, "--verify"))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    positions = [answer["position"] for answer in answers]
    assert positions == sorted(positions) and positions[0] > 0
    # Only what is new: what was copied in all is what there is.
    assert sum(answer["copied_bytes"] for answer in answers) == answers[-1]["bytes"]
    whole = read(bank)
    again, answer = restored(bank, backup, tmp_path / "again")
    assert answer["position"] == positions[-1]
    assert read(again) == whole[:positions[-1]]
    again.run("append", "account-1", "AccountOpened", '{"id":"c"}')
    assert again.json("state", "account-1")["state"]["status"] == "active"


def test_what_is_refused_says_why(bank, make_book, tmp_path):
    backup = tmp_path / "backup"
    half = Book(bank.binary, bank.folder, tmp_path / "again")
    bank.run("backup", backup, status=1)  # there is no log yet
    assert not backup.exists()
    bank.run("append", "account-1", "AccountOpened", '{"id":"c"}')
    before = sorted(bank.data.rglob("*"))
    for folder in (bank.data, bank.data / "log"):
        assert "give a backup a folder of its own" in \
            bank.run("backup", folder, status=1).errors
    assert sorted(bank.data.rglob("*")) == before
    bank.run("backup", backup)
    assert "is not empty, it has" in bank.run("restore", backup, status=1).errors
    assert "there is no whole backup in" in \
        half.run("restore", tmp_path / "none", status=1).errors
    other = Book(bank.binary, bank.folder, tmp_path / "other")
    other.run("append", "account-1", "AccountOpened", '{"id":"c"}')
    assert "is a backup of another book" in other.run("backup", backup, status=4).errors
    copy = next(path for path in backup.iterdir() if path.suffix == ".seg")
    damaged = bytearray(copy.read_bytes())
    damaged[200] ^= 1
    copy.write_bytes(damaged)
    assert f"{copy} is damaged" in bank.run("backup", backup, "--only-verify", status=1).errors
    assert f"{copy} is damaged" in \
        half.run("restore", backup, status=1).errors
    # A restore that did not come through is nobody's book, and goes on when it can.
    half.run("read", status=1)
    damaged[200] ^= 1
    copy.write_bytes(damaged)
    again, _ = restored(bank, backup, tmp_path / "again")
    assert read(again) == read(bank)


def fill(book, megabytes):
    """Events of so many megabytes in all, which do not compress or repeat."""
    for number in range(megabytes // 8):
        lines = [json.dumps({"stream": f"blob-{number}", "type": "Kept",
                             "data": {"pad": os.urandom(400_000).hex()}}) for _ in range(10)]
        book.run("append", "--file", "-", text_in="\n".join(lines))


@pytest.mark.parametrize("what", ["backup", "restore"])
def test_killed_it_goes_on(bank, tmp_path, what):
    backup, again = tmp_path / "backup", tmp_path / "again"
    fill(bank, 160)
    if what == "restore":
        bank.run("backup", backup)
    copy = Book(bank.binary, bank.folder, again)
    folder = backup if what == "backup" else again / "log"
    command = (bank if what == "backup" else copy).command(what, backup)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and process.poll() is None and \
                len(list(folder.glob("*.seg")) if folder.exists() else []) < 2:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    answer = bank.json("backup", backup) if what == "backup" else restored(bank, backup, again)[1]
    done = "copied_bytes" if what == "backup" else "written_bytes"
    assert answer[done] <= answer["bytes"]
    if what == "backup":
        restored(bank, backup, again)
    assert len(read(copy)) == len(read(bank)) == 200


def test_a_full_disk_is_waited_for(bank, tmp_path):
    """On a file system of its own, which is full until someone makes room."""
    small = tmp_path / "small"
    small.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small],
                             capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    try:
        fill(bank, 16)
        (small / "ballast").write_bytes(bytes(20 << 20))
        assert "No space" in bank.run("backup", small / "backup", "--no-wait", status=1).errors
        with subprocess.Popen(bank.command("backup", small / "backup", "--verify", "-o", "json"),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            assert process.stderr.readline().startswith("waiting: ")
            (small / "ballast").unlink()
            out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert json.loads(out)["position"] == 20
        again, _ = restored(bank, small / "backup", tmp_path / "again")
        assert read(again) == read(bank)
    finally:
        subprocess.run(["umount", small], check=False)
