# SPDX-License-Identifier: Apache-2.0
"""A real server on a small disk that fills up: amid appends, a compaction and a backup; each goes
on by itself when there is space again.

The disk is a tmpfs in a mount namespace of its own, in which a shell starts everything.
"""
import json
import pathlib
import subprocess
import threading
import time

import pytest

from conftest import BANK, Server, clean_environment, missing

SIZE_MIB = 230
EVENT = {"type": "Measured", "data": {"text": "x" * 60000}}


class SmallDisk:
    """A shell in a namespace where `folder` is a disk of its own; commands are lines to it."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.shell = subprocess.Popen(
            ["unshare", "--map-root-user", "--mount", "bash"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=clean_environment())
        answer = self.run(f"mount -t tmpfs -o size={SIZE_MIB}m tmpfs {folder} && echo mounted")
        if answer.strip() != "mounted":
            self.close()
            missing(f"a mount namespace ({answer.strip()})")

    def run(self, line):
        self.shell.stdin.write(f"{line}\necho; echo end-of-answer\n")
        self.shell.stdin.flush()
        lines = []
        for text in self.shell.stdout:
            if text == "end-of-answer\n":
                break
            lines.append(text)
        return "".join(lines).rstrip("\n")

    def fill(self, left_kib):
        """Takes all space but so much."""
        free = int(self.run(f"df --output=avail -k {self.folder} | tail -n 1"))
        self.run(f"head -c {(free - left_kib) * 1024} /dev/zero > {self.folder}/filler")

    def free(self):
        self.run(f"rm {self.folder}/filler")

    def close(self):
        self.shell.stdin.close()
        self.shell.wait()
        self.shell.stdout.close()


class ServerOnIt(Server):
    """A server that the shell starts; its output is a file outside of the small disk."""

    def __init__(self, disk, book, folder):
        command = book.command("serve", "--listen", "127.0.0.1:0", "-o", "json")
        out = folder / "serve.out"
        self.shell_pid = int(disk.run(f"{' '.join(command)} > {out} 2>&1 & echo $!"))
        end = time.monotonic() + 30
        while "url" not in (text := out.read_text(encoding="utf-8") if out.exists() else ""):
            assert time.monotonic() < end, text
            time.sleep(0.05)
        self.url = json.loads(text.splitlines()[0])["url"]


@pytest.fixture
def disk(tmp_path):
    small = SmallDisk(tmp_path / "disk")
    yield small
    small.close()


@pytest.fixture
def server(disk, make_book, tmp_path):
    book = make_book(BANK)
    book.data = disk.folder / "data"
    started = ServerOnIt(disk, book, tmp_path)
    started.book = book
    yield started
    disk.run(f"kill {started.shell_pid}; wait {started.shell_pid}")


def append(server, stream="m-1", count=20):
    return server.post(f"/streams/{stream}", [EVENT] * count)


def test_appends_are_refused_and_go_on(disk, server):
    assert append(server).status == 201
    disk.fill(400)
    answers = [append(server).status for _ in range(3)]
    assert answers[-1] == 507 and set(answers) <= {201, 507}
    version = server.get("/streams/m-1?backwards=true&limit=1").json["events"][0]["version"]
    assert version % 20 == 0
    disk.free()
    answer = append(server)
    assert answer.status == 201 and answer.json["version"] == version + 20


def test_a_compaction_waits_for_space(disk, server):
    for _ in range(64):
        assert append(server).status == 201  # more than the 64 MiB of a segment
    server.post("/streams/m-1/rules", {"max_count": 600})
    disk.fill(400)
    lines = []

    def compact():
        answer = server.post("/compact?percent=0", headers={"Accept": "application/x-ndjson"})
        lines.extend(answer.lines)

    # The waiting lines come in the middle of the answer: they are seen in its whole.
    thread = threading.Thread(target=compact)
    thread.start()
    time.sleep(2.5)
    assert thread.is_alive(), lines
    assert server.get("/streams/m-1?backwards=true&limit=1").status == 200
    disk.free()
    thread.join(60)
    assert any("waiting" in line for line in lines)
    assert lines[-1]["segments"] == 1 and lines[-1]["removed"] > 300
    assert len(server.get("/streams/m-1?limit=1000").json["events"]) == 600


def test_a_backup_waits_for_space(disk, server, tmp_path):
    for _ in range(30):
        assert append(server).status == 201
    disk.fill(3000)
    out = tmp_path / "backup.out"
    command = server.book.command("backup", disk.folder / "copy", "-o", "json")
    disk.run(f"{' '.join(command)} > {out} 2> {tmp_path}/backup.err & echo $! > {tmp_path}/pid")
    time.sleep(2.5)
    assert out.read_text(encoding="utf-8") == ""
    errors = pathlib.Path(tmp_path / "backup.err").read_text(encoding="utf-8")
    disk.free()
    disk.run(f"wait $(cat {tmp_path}/pid)")
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["position"] == 600, (report, errors)
