#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tampers with a signed book in every way that leaves its checksums right, and looks whether
daybook-verify notices, given a checkpoint that was kept.

    tests/torture/tamper.py [--build DIR] [--count N] [--seed N] [--keep DIR]

Each run changes one thing in a copy: a bit anywhere in log and proof; a field of a record; events
swapped, left out, put in, moved to the end; the end of the log; whole segments; the content of an
event or a ciphertext that nothing explains the loss of. Records, groups, chains, headers, places
and the note are then sealed anew by an implementation of its own, so that only what was signed can
tell. In half of the runs the folder `proof` is deleted, too. Every run must end with status 1 and
name what is wrong; a book that was sealed anew without a change must pass.
"""
import argparse
import functools
import hashlib
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TABLE = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    TABLE.append(n)


@functools.lru_cache(maxsize=200000)
def crc(seed, data):
    value = seed ^ 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ TABLE[(value ^ byte) & 255]
    return value ^ 0xFFFFFFFF


class Record:
    """An event's record in its parts."""
    FIXED = struct.Struct("<QQqq16sIHHHHIII")

    def __init__(self, data):
        (self.position, self.version, self.time, self.occurred, self.id, self.flags, self.schema,
         *sizes) = self.FIXED.unpack_from(data, 8)
        at = 80
        parts = []
        for size in sizes:
            parts.append(data[at:at + size])
            at += size
        self.stream, self.type, self.tags, self.data, self.meta, self.sealed = parts

    def parts(self):
        return [self.stream, self.type, self.tags, self.data, self.meta, self.sealed]

    def encode(self, salt):
        body = self.FIXED.pack(self.position, self.version, self.time, self.occurred, self.id,
                               self.flags, self.schema, *[len(p) for p in self.parts()])
        body += b"".join(self.parts())
        return struct.pack("<II", len(body) + 8, crc(salt, body)) + body

    def content(self):
        fields, count = b"", 0
        if self.sealed:
            count, = struct.unpack_from("<H", self.sealed)
            at = 2
            for _ in range(count):
                path, kind, size = struct.unpack_from("<HHI", self.sealed, at)
                name = self.sealed[at + 24:at + 24 + path]
                value = self.sealed[at + 24 + path:at + 24 + path + size]
                fields += struct.pack("<I", path) + name + self.sealed[at + 8:at + 24]
                fields += value if kind else hashlib.sha256(value).digest()
                at += 24 + path + size
        sizes = struct.pack("<IIII", len(self.tags), len(self.data), len(self.meta), count)
        return hashlib.sha256(sizes + self.tags + self.data + self.meta + fields).digest()

    def remove(self):
        self.data = self.content()
        self.tags = self.meta = self.sealed = b""
        self.flags |= 4


class Segment:
    def __init__(self, data, end):
        self.head = bytearray(data[:128])
        self.salt, = struct.unpack_from("<I", data, 12)
        self.compacted = data[96] > 0
        if self.compacted:
            end, = struct.unpack_from("<I", data, 116)
        self.groups = []
        at = 128
        while at < end:
            size, = struct.unpack_from("<I", data, at + 28)
            records, inner = [], at + 64
            while inner < at + 64 + size:
                length, = struct.unpack_from("<I", data, inner)
                records.append(Record(data[inner:inner + length]))
                inner += length
            self.groups.append((bytes(data[at:at + 64]), records))
            at += 64 + size


class Log:
    """All of it, to be changed and sealed anew."""

    def __init__(self, folder):
        self.folder = folder
        names = sorted(folder.glob("*.seg"))
        raw = [n.read_bytes() for n in names]
        self.note = bytearray((folder / "synced").read_bytes())
        slots = [struct.unpack_from("<Q", self.note, s + 16)[0] for s in (0, 512)]
        self.slot = 512 if slots[1] > slots[0] else 0
        self.segments = []
        for i, data in enumerate(raw):
            end = struct.unpack_from("<Q", raw[i + 1], 80)[0] if i + 1 < len(raw) else \
                struct.unpack_from("<Q", self.note, self.slot + 32)[0]
            self.segments.append(Segment(data, end))

    def events(self):
        return [r for s in self.segments for _, records in s.groups for r in records]

    def places(self):
        return [(s, g, i) for s in self.segments for g, (_, records) in enumerate(s.groups)
                for i in range(len(records))]

    def seal(self):
        """Writes everything with checksums, positions, places and the note as they should be."""
        for name in self.folder.glob("*.seg"):
            name.unlink()
        before = (0, 0, 0)
        position, time = 1, 0
        self.segments = [s for s in self.segments if any(r for _, r in s.groups)]
        for ordinal, segment in enumerate(self.segments):
            head = segment.head
            struct.pack_into("<QQ", head, 48, ordinal, position)
            struct.pack_into("<qQII", head, 72, time, *before)
            first = position
            records = [r for _, rs in segment.groups for r in rs]
            # The chain of a segment that was never compacted begins with its header's checksum.
            if segment.compacted:
                chain = crc(0, bytes(head[:96]))
            else:
                struct.pack_into("<I", head, 124, crc(0, bytes(head[:124])))
                chain, = struct.unpack_from("<I", head, 124)
            out, places = bytearray(128), b""
            for header, group in segment.groups:
                if not group:
                    continue
                start, group_first, payload = len(out), position, b""
                for record in group:
                    record.position, position, time = position, position + 1, record.time
                    places += struct.pack("<I", start + 64 + len(payload))
                    payload += record.encode(segment.salt)
                body = struct.pack("<QqIIIIII", group_first, time, len(group), len(payload),
                                   crc(segment.salt, payload), chain, ordinal, start)
                body += header[48:64]
                out += b"dbkg" + struct.pack("<I", crc(segment.salt, body)) + body + payload
                chain = crc(chain, body)
            if segment.compacted:
                removed = sum(r.flags >> 2 & 1 for r in records)
                head[97:100] = struct.pack("<I", removed)[:3]
                struct.pack_into("<II", head, 116, len(out), chain)
                struct.pack_into("<I", head, 124, crc(0, bytes(head[:124])))
                before = struct.unpack_from("<III", head, 100)
                tail = places + struct.pack("<I", crc(segment.salt, places))
            else:
                before = (len(out), chain, struct.unpack_from("<I", head, 124)[0])
                tail = b""
            end = len(out)
            out[:128] = head
            (self.folder / f"{first:020}.seg").write_bytes(bytes(out) + tail)
        struct.pack_into("<QQQqII", self.note, self.slot + 24, len(self.segments) - 1, end,
                         position - 1, time, self.segments[-1].salt, chain)
        slot = bytes(self.note[self.slot:self.slot + 128])
        struct.pack_into("<I", self.note, self.slot + 12, crc(0, slot[:12] + slot[16:]))
        (self.folder / "synced").write_bytes(self.note)


# ---- What is done to a book: each takes the data directory, a Random and the last position that is
# sure to be signed, and says what it did.

def flip(data, rng, _):
    files = [*(data / "log").glob("*.seg"), *(data / "proof").glob("tiles-*"),
             data / "proof" / "checkpoints", data / "log" / "synced"]
    file = rng.choice([f for f in files if f.exists()])
    content = bytearray(file.read_bytes())
    at = rng.randrange(len(content))
    content[at] ^= 1 << rng.randrange(8)
    file.write_bytes(content)
    return f"{file.name} byte {at}"


def change_bytes(rng, value):
    value = bytearray(value)
    value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
    return bytes(value)


def record(data, rng, last):
    log = Log(data / "log")
    event = rng.choice(log.events()[:last])
    name = rng.choice([n for n in ("version", "time", "occurred", "id", "flags", "schema", "stream",
                                   "type", "tags", "data", "meta", "sealed")
                       if getattr(event, n) not in (b"",)])
    value = getattr(event, name)
    if name == "flags":
        event.flags ^= rng.choice([1, 2, 8, 1 << 20])
    elif name == "time":
        event.time += rng.choice([-1, 1])
    elif name == "occurred":
        event.occurred = rng.randrange(1 << 50)
    elif isinstance(value, int):
        setattr(event, name, value + 1)
    else:
        setattr(event, name, change_bytes(rng, value))
    log.seal()
    return f"{name} of position {event.position}"


def swap(data, rng, last):
    log = Log(data / "log")
    a, b = rng.sample(log.places()[:last], 2)
    one, other = a[0].groups[a[1]][1], b[0].groups[b[1]][1]
    one[a[2]], other[b[2]] = other[b[2]], one[a[2]]
    times = sorted(r.time for r in log.events())
    for event, time in zip(log.events(), times):
        event.time = time
    log.seal()
    return "two events"


def drop(data, rng, last):
    log = Log(data / "log")
    segment, group, index = rng.choice(log.places()[:last])
    del segment.groups[group][1][index]
    log.seal()
    return "an event"


def insert(data, rng, last):
    log = Log(data / "log")
    segment, group, index = rng.choice(log.places()[:last])
    records = segment.groups[group][1]
    event = Record(records[index].encode(0))
    event.id = rng.randbytes(16)
    records.insert(index, event)
    log.seal()
    return "an event"


def tail(data, rng, last):
    log = Log(data / "log")
    keep = rng.randrange(1, last)
    for segment, group, index in reversed(log.places()[keep:]):
        del segment.groups[group][1][index]
    while log.segments[-1].compacted or not any(r for _, r in log.segments[-1].groups):
        log.segments.pop()
        if not log.segments:
            return flip(data, rng, last)
    log.seal()
    return f"all behind position {keep}"


def drop_segment(data, rng, last):
    log = Log(data / "log")
    firsts = [i for i, s in enumerate(log.segments) if s.groups[0][1][0].position <= last]
    at = rng.choice(firsts[:-1] if len(firsts) > 1 else firsts)
    if rng.randrange(2):
        sorted((data / "log").glob("*.seg"))[at].unlink()
        return f"segment {at}, as it is"
    del log.segments[at]
    log.seal()
    return f"segment {at}"


def exchange(data, rng, last):
    log = Log(data / "log")
    names = sorted((data / "log").glob("*.seg"))
    a, b = rng.sample(range(len(names) - 1), 2)
    if rng.randrange(2):
        one, other = names[a].read_bytes(), names[b].read_bytes()
        names[a].write_bytes(other)
        names[b].write_bytes(one)
        return f"segments {a} and {b}, as they are"
    if min(a, b) > 0 and log.segments[min(a, b)].groups[0][1][0].position > last:
        a = 0
    log.segments[a], log.segments[b] = log.segments[b], log.segments[a]
    times = sorted(r.time for r in log.events())
    for event, time in zip(log.events(), times):
        event.time = time
    log.seal()
    return f"segments {a} and {b}"


def remove(data, rng, _):
    """The leaf stays; but no rule of the stream explains it."""
    log = Log(data / "log")
    whole = [e for e in log.events() if e.stream in (b"thing-0", b"thing-3", b"thing-4")]
    event = rng.choice(whole)
    event.remove()
    log.seal()
    return f"the content of position {event.position}"


def unseal(data, rng, _):
    """The leaf stays; but the key was not forgotten."""
    log = Log(data / "log")
    event = rng.choice([e for e in log.events() if e.sealed and e.sealed[4:6] == b"\0\0"])
    path, _, size = struct.unpack_from("<HHI", event.sealed, 2)
    value = event.sealed[26 + path:26 + path + size]
    event.sealed = struct.pack("<HHHI", 1, path, 1, 32) + event.sealed[10:26 + path] + \
        hashlib.sha256(value).digest()
    log.seal()
    return f"the ciphertext of position {event.position}"


def tile(data, rng, _):
    file = data / "proof" / "tiles-0"
    content = bytearray(file.read_bytes())
    a, b = rng.sample(range(len(content) // 32), 2)
    content[a * 32:a * 32 + 32], content[b * 32:b * 32 + 32] = \
        content[b * 32:b * 32 + 32], content[a * 32:a * 32 + 32]
    file.write_bytes(content)
    return f"hashes {a} and {b}"


KINDS = [flip, flip, flip, record, record, swap, drop, insert, tail, drop_segment, exchange, remove,
         unseal, tile]


def verify(arguments, base, data):
    return subprocess.run([arguments.build / "daybook-verify", data, "--checkpoint",
                           f"{base}.checkpoint", "--key", f"{base}.vkey"],
                          capture_output=True, text=True, check=False)


def one(arguments, base, number, sizes):
    """Changes a copy; what was done, and what the verifier said."""
    rng = random.Random(arguments.seed * 1000003 + number)
    kind = rng.choice(KINDS)
    with tempfile.TemporaryDirectory(dir=arguments.keep) as folder:
        data = pathlib.Path(folder) / "data"
        shutil.copytree(base, data)
        last = sizes[1]
        if kind not in (flip, tile) and rng.randrange(2):
            shutil.rmtree(data / "proof")
            last = sizes[0]
        did = kind(data, rng, last)
        return f"{kind.__name__}: {did}", verify(arguments, base, data)


def prepare(arguments, folder):
    """The book, its sizes when the kept and the newest checkpoint were signed."""
    base = folder / "book"
    subprocess.run([arguments.build / "tests" / "torture" / "tamper_book", base], check=True)
    kept = int((folder / "book.checkpoint").read_text(encoding="utf-8").split("\n")[1])
    newest = int((folder / "book.newest").read_text(encoding="utf-8").split("\n")[1])
    for name in ("index", "LOCK", "proof.key"):
        path = base / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    again = folder / "again"
    shutil.copytree(base, again)
    Log(again / "log").seal()
    for data in (base, again):
        result = verify(arguments, base, data)
        if result.returncode != 0:
            sys.exit(f"{data} was not tampered with, and does not pass:\n{result.stdout}")
    return base, (kept, newest)


def main():
    parser = argparse.ArgumentParser(description="Tampers with a book, and has it verified.")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", help="where copies are made")
    arguments = parser.parse_args()
    missed = 0
    counts = {}
    with tempfile.TemporaryDirectory(dir=arguments.keep) as folder:
        base, sizes = prepare(arguments, pathlib.Path(folder))
        for number in range(arguments.count):
            did, result = one(arguments, base, number, sizes)
            kind = did.split(":")[0]
            counts[kind] = counts.get(kind, 0) + 1
            if result.returncode != 1 or not result.stdout:
                missed += 1
                print(f"MISSED seed {arguments.seed} number {number}: {did}: status "
                      f"{result.returncode}: {result.stdout}{result.stderr}")
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    print(f"{arguments.count - missed} detected, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
