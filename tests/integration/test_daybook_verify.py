# SPDX-License-Identifier: Apache-2.0
"""daybook-verify: what it takes, what it finds, and that it ends as it says."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT, missing

sys.path.insert(0, str(ROOT / "tests" / "torture"))
import tamper  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture
def program(binary):
    path = binary.parent / "daybook-verify"
    if not path.exists():
        missing(str(path))
    return path


@pytest.fixture
def run(program):
    """run(arguments..., status=0): what it printed."""
    def call(*arguments, status=0):
        result = subprocess.run([program, *arguments], capture_output=True, text=True, check=False,
                                timeout=60)
        assert result.returncode == status, result.stdout + result.stderr
        return result.stdout + result.stderr
    return call


@pytest.fixture
def signed(bank, tmp_path):
    """A closed book of 300 events, its kept checkpoint and its key."""
    lines = "".join(f'{{"stream":"thing-{n % 5}","type":"Seen","data":{{"n":{n}}}}}\n'
                    for n in range(300))
    bank.run("append", "--file", "-", text_in=lines)
    kept, key = tmp_path / "kept.checkpoint", tmp_path / "bank.vkey"
    kept.write_text(bank.run("proof", "checkpoint").text, encoding="utf-8")
    key.write_text(bank.run("proof", "key").text, encoding="utf-8")
    return bank, kept, key


def test_a_book_a_backup_and_an_event(signed, run, tmp_path):
    book, kept, key = signed
    with_both = ("--checkpoint", kept, "--key", key)
    assert "300 events" in run(book.data, *with_both)
    book.run("backup", tmp_path / "backup")
    assert "300 events" in run(tmp_path / "backup", *with_both)
    proof = tmp_path / "event.tlog-proof"
    proof.write_text(book.run("proof", "inclusion", 17).text, encoding="utf-8")
    assert '{"n":16}' in run(proof, "--key", key)
    assert '{"n":16}' in run(proof, "--key", key.read_text(encoding="utf-8").strip())
    book.run("append", "thing-1", "Seen", "{}")
    answer = json.loads(run(book.data, *with_both, "-o", "json"))
    assert (answer["events"], answer["checkpoint"], answer["wrong"]) == (301, 301, 0)


def test_every_byte_of_a_proof_counts(signed, run, tmp_path):
    book, _, key = signed
    proof = tmp_path / "event.tlog-proof"
    text = book.run("proof", "inclusion", 17).text.encode()
    for at in range(0, len(text), 3):
        proof.write_bytes(text[:at] + bytes([text[at] ^ 1]) + text[at + 1:])
        run(proof, "--key", key, status=1)
    for size in range(0, len(text), 11):
        proof.write_bytes(text[:size])
        run(proof, "--key", key, status=1)


def test_a_book_that_was_killed(signed, serve, run):
    book, kept, key = signed
    server = serve(book)
    for n in range(20):
        server.post("/streams/thing-1", {"type": "Seen", "data": {"n": n}})
    server.kill()
    assert "320 events" in run(book.data, "--checkpoint", kept, "--key", key)


def test_what_is_wrong_is_named(signed, run, tmp_path):
    book, kept, key = signed
    with_both = ("--checkpoint", kept, "--key", key)
    other = type(book)(book.binary, book.folder, tmp_path / "other")
    other.run("append", "thing-1", "Seen", "{}")
    foreign = tmp_path / "foreign.checkpoint"
    foreign.write_text(other.run("proof", "checkpoint").text, encoding="utf-8")
    answer = run(book.data, "--checkpoint", foreign, "--key", key, status=2)
    assert "not signed by the key" in answer
    foreign_key = other.run("proof", "key").text
    assert "not signed by the key" in run(book.data, "--key", foreign_key, status=1)
    # A record that was changed, with every checksum mended.
    data = tmp_path / "changed"
    shutil.copytree(book.data, data)
    log = tamper.Log(data / "log")
    log.events()[41].data = b'{"n":9}'
    log.seal()
    answer = run(data, *with_both, status=1)
    assert "tile, proof/tiles-0 byte 1312, position 42: it has another hash here" in answer
    assert f"checkpoint, {kept} byte 0, position 300" in answer
    # A damaged one, without.
    segment = next((book.data / "log").glob("*.seg"))
    with open(segment, "r+b") as file:
        file.seek(5000)
        byte = file.read(1)
        file.seek(5000)
        file.write(bytes([byte[0] ^ 1]))
    answer = run(book.data, *with_both, status=1)
    assert answer.startswith(f"group, log/{segment.name} byte 128, position 1: ")
    lines = run(book.data, *with_both, "-o", "json", status=1).splitlines()
    assert json.loads(lines[0])["file"] == f"log/{segment.name}"
    os.unlink(segment)
    assert "there are no segments" in run(book.data, *with_both, status=1)


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--key"], ["--nonsense", "a"],
                                       ["/does/not/exist"], [".", "--key", "nonsense"],
                                       [".", "--checkpoint", "/does/not/exist"], ["-o", "csv", "."],
                                       [str(pathlib.Path(__file__))]])
def test_usage(run, arguments):
    assert run(*arguments, status=2).startswith("daybook-verify: ")


def test_help(run):
    text = run("--help")
    assert text.startswith("daybook-verify shop/data") and "Ends with 0" in text
