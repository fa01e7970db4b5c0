# SPDX-License-Identifier: Apache-2.0
"""Proofs by command line, HTTP and library, checked by an oracle that knows only the documents."""
import base64
import os
import stat

import tlog

EVENTS = 700


def fill(book, count=EVENTS, begin=1):
    lines = "".join(f'{{"stream":"thing-{n % 5}","type":"Seen","data":{{"n": {n}}},'
                    f'"tags":["t:{n % 3}"]}}\n' for n in range(begin, begin + count))
    book.run("append", "--file", "-", text_in=lines)


def leaf_of(book, position, vkey):
    return tlog.read_proof(book.run("proof", "inclusion", position).text, vkey)["leaf"]


def test_every_event_is_proved_to_the_oracle(bank):
    fill(bank)
    vkey = bank.run("proof", "key").text
    origin, size, root = tlog.open_note(bank.run("proof", "checkpoint").text, vkey)
    assert origin == vkey.split("+")[0] and origin.startswith("daybook/bank/")
    assert size == EVENTS
    events = bank.run("read", "-o", "jsonl").lines
    for position in (1, 2, 255, 256, 257, 512, 513, 699, 700):
        event = tlog.read_proof(bank.run("proof", "inclusion", position).text, vkey)
        stored = events[position - 1]
        assert (event["stream"], event["version"], event["type"], event["id"]) == \
            (stored["stream"], stored["version"], stored["type"], stored["id"].replace("-", ""))
        assert event["data"] == f'{{"n": {position}}}'
    small = bank.json("proof", "consistency", 1)
    assert base64.b64decode(small["to_root"]) == root


def test_roots_are_those_of_all_leaves(bank):
    fill(bank, 20)
    vkey = bank.run("proof", "key").text
    leaves = [leaf_of(bank, n, vkey) for n in range(1, 21)]
    assert tlog.open_note(bank.run("proof", "checkpoint").text, vkey)[2] == tlog.root_of(leaves)
    for old in range(1, 21):
        answer = bank.json("proof", "consistency", old, 20)
        assert base64.b64decode(answer["from_root"]) == tlog.root_of(leaves[:old])


def test_the_same_over_http(bank, serve):
    fill(bank)
    server = serve(bank)
    vkey = server.get("/proof/key").json["key"]
    assert server.get("/proof/key", headers={"Accept": "text/plain"}).text == vkey + "\n"
    server.post("/streams/thing-9", {"type": "Seen", "data": {}})
    note = server.get("/proof/checkpoint", headers={"Accept": "text/plain"}).text
    assert tlog.open_note(note, vkey)[1] == EVENTS + 1
    assert server.get("/proof/checkpoint").json == {"size": EVENTS + 1, "checkpoint": note}
    answer = server.get("/proof/inclusion?position=300").json
    assert tlog.read_proof(answer["proof"], vkey)["leaf"] == base64.b64decode(answer["leaf"])
    assert answer["event"]["data"] == {"n": 300}
    text = server.get("/proof/inclusion?position=300", headers={"Accept": "text/plain"}).text
    assert text == answer["proof"]
    within = server.get("/proof/inclusion?position=300&size=400").json
    path = [base64.b64decode(h) for h in within["path"]]
    assert tlog.include(base64.b64decode(within["leaf"]), 299, 400, path) == \
        base64.b64decode(within["root"])
    assert within["root"] == server.get("/proof/consistency?from=400").json["from_root"]
    health = server.get("/healthz").json
    assert health["proof"]["checkpoint"] == EVENTS + 1 and "failure" not in health["proof"]
    for path, status in (("/proof/inclusion", 400), ("/proof/inclusion?position=0", 400),
                         ("/proof/inclusion?position=9999", 400),
                         ("/proof/inclusion?position=2&size=1", 400),
                         ("/proof/inclusion?position=x", 400), ("/proof/consistency", 400),
                         ("/proof/consistency?from=5&to=4", 400),
                         ("/proof/consistency?from=1&to=9999", 400),
                         ("/proof/consistency?from=0", 400), ("/proof/key?a=b", 400)):
        answer = server.get(path)
        assert answer.status == status and answer.json["code"] == "invalid", (path, answer)


def test_an_empty_book_has_nothing_to_sign(bank):
    answer = bank.run("proof", "checkpoint", status=1)
    assert "nothing was signed so far" in answer.errors
    assert bank.run("proof", "key").text.startswith("daybook/bank/")


def test_the_key_is_its_owners(bank):
    fill(bank, 1)
    assert stat.S_IMODE(os.stat(bank.data / "proof.key").st_mode) == 0o600


def test_checkpoints_come_by_themselves(bank, serve):
    server = serve(bank)
    server.post("/streams/thing-1", {"type": "Seen", "data": {}})
    server.stop()
    server = serve(bank)
    server.kill()
    # The first one signed at its end.
    assert bank.json("verify")["checkpoint"] == 1


def test_verifying_beside_a_server(bank, serve, tmp_path):
    fill(bank)
    kept = tmp_path / "kept.checkpoint"
    kept.write_text(bank.run("proof", "checkpoint").text, encoding="utf-8")
    vkey = bank.run("proof", "key").text.strip()
    server = serve(bank)
    server.post("/streams/thing-1", {"type": "Seen", "data": {}})
    answer = bank.json("verify", "--checkpoint", kept, "--key", vkey)
    assert (answer["events"], answer["wrong"], answer["tiles"]) == (EVENTS + 1, 0, 2)
    server.stop()
    with open(bank.data / "proof" / "tiles-0", "r+b") as tiles:
        tiles.seek(32 * 299)
        tiles.write(b"?")
    answer = bank.json("verify", status=1)
    assert answer["findings"] == [{"kind": "tile", "file": "proof/tiles-0", "offset": 32 * 299,
                                   "position": 300, "what": "the hash is not that of the event"}]
    # Who writes the book makes the tile again, since its root is then the one that was signed.
    bank.run("proof", "inclusion", 300)
    assert bank.json("verify")["wrong"] == 0


def test_a_foreign_checkpoint_is_named(bank, make_book, binary, tmp_path):
    fill(bank, 3)
    other = type(bank)(binary, bank.folder, tmp_path / "other-data")
    fill(other, 3)
    kept = tmp_path / "kept.checkpoint"
    kept.write_text(other.run("proof", "checkpoint").text, encoding="utf-8")
    answer = bank.run("verify", "--checkpoint", kept, status=1)
    assert "not by the key" in answer.errors
    answer = bank.run("verify", "--checkpoint", kept, "--key", other.run("proof", "key").text,
                      status=1)
    assert "position 3" in answer.errors and "are not those that were signed" in answer.errors
    kept.write_text("nonsense", encoding="utf-8")
    assert "no checkpoint" in bank.run("verify", "--checkpoint", kept, status=1).errors
    assert "no public key" in bank.run("verify", "--key", "nonsense", status=1).errors


def test_a_lost_key_is_named_and_nothing_is_signed(bank):
    fill(bank, 3)
    key = bank.data / "proof.key"
    kept = key.read_bytes()
    key.unlink()
    fill(bank, 1, 4)
    assert "proof.key is missing" in bank.run("proof", "checkpoint", status=1).errors
    key.write_bytes(kept)
    assert bank.json("proof", "checkpoint")["size"] == 4
