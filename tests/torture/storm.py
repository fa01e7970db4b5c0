#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills a real daemon again and again under clients that know every byte they wrote.

    tests/torture/storm.py [--kills N | --seconds N] [--seed N] [--parallel N] [--daybook PATH]

Four clients write, two read, one names people and has half of them forgotten, and the daemon is
killed (SIGKILL) every 50 to 450 ms, one time in four before it has answered anything, that is,
while it recovers. What a client writes is a function of seed, client and sequence, with ids and
expected versions, so that a batch whose answer was lost is sent again and stored once. One client
also deletes streams and compacts. A migration follows the book into a new one, and is killed as
often. Readers look at everything as it comes: positions without a gap, nothing that changes,
nothing that nobody wrote; and they keep signed checkpoints. At the end all is read once more: what
was acknowledged is there, once, and nothing else is; no byte tells a name; and the book is the one
that was signed, as the last kill has left it, and when it was opened again. Prints a JSON line;
ends with 1 at the first violation.
"""
import argparse
import http.client
import json
import multiprocessing
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WRITERS = 4
READERS = 2
KILL_S = (0.05, 0.45)
PATIENCE_S = 60


PERSON = """{"versions": [{"version": 1, "schema": {"type": "object", "x-subject": "who",
    "properties": {"who": {"type": "string"}, "name": {"type": "string", "x-personal": true}}}}]}
"""

MIGRATION = """return { version = 1, rename_types = { T1 = "Tea" }, drop_types = { "Person" },
events = {
    T2 = function(event)
        if event.data.n % 3 == 0 then return false end
        return { event, { type = "Copy", data = { n = event.data.n } } }
    end,
} }
"""


class Violation(Exception):
    """What must not happen happened."""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the socket in the data directory, whose name stays the same."""

    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.unix_path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.unix_path)


class Client:
    """Sends a request until it has an answer; the daemon may be dead for a while."""

    def __init__(self, storm):
        self.storm = storm
        self.connection = None

    def once(self, method, path, body=None):
        if self.connection is None:
            self.connection = UnixConnection(self.storm.socket)
        data = None if body is None else json.dumps(body).encode()
        self.connection.request(method, path, data, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def send(self, method, path, body=None):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                return self.once(method, path, body)
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                self.connection = None
                if self.storm.over.is_set():
                    return None, None
                time.sleep(0.005)
        raise Violation(f"no answer to {method} {path} for {PATIENCE_S} s")


def event_of(seed, writer, number):
    """The event that a writer's n-th is: nobody needs to remember it."""
    chance = random.Random(f"{seed}-{writer}-{number}")
    stream = f"w{writer}-{chance.randrange(5)}"
    return {"stream": stream, "type": f"T{chance.randrange(3)}",
            "id": str(uuid.UUID(int=(seed << 80) + (writer << 64) + number, version=4)),
            "tags": [f"writer:{writer}"],
            "data": {"w": writer, "n": number, "pad": "x" * chance.choice((3, 40, 900, 5000))}}


class Storm:
    """One daemon with its clients."""

    def __init__(self, arguments, seed, kills):
        self.daybook, self.seed, self.kills_wanted = arguments.daybook, seed, kills
        self.end = time.monotonic() + arguments.seconds if arguments.seconds else None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="storm-"))
        (self.folder / "book.yaml").write_text("book: storm\ndata: data\n", encoding="utf-8")
        (self.folder / "events").mkdir()
        (self.folder / "events" / "Person.schema.json").write_text(PERSON, encoding="utf-8")
        self.new = self.folder / "new"
        self.new.mkdir()
        (self.new / "book.yaml").write_text("book: new\ndata: data\n", encoding="utf-8")
        (self.new / "migration.lua").write_text(MIGRATION, encoding="utf-8")
        self.socket = self.folder / "data" / "daybook.sock"
        self.over = threading.Event()
        self.faults = []
        self.acknowledged = [0] * WRITERS  # events of each writer, from its first on
        self.attempted = [0] * WRITERS
        self.named = {}  # people: their marker, or None once they are forgotten
        self.checkpoints = []
        self.key = None
        self.counts = {"kills": 0, "recovery_kills": 0, "compactions": 0, "resent": 0, "read": 0,
                       "migration_kills": 0, "forgotten": 0}
        self.random = random.Random(seed)

    # ---- Clients ----

    def write(self, writer):
        client = Client(self)
        chance = random.Random(f"{self.seed}-{writer}")
        versions = {}
        while not self.over.is_set():
            first = self.acknowledged[writer] + 1
            count = chance.choice((1, 1, 3))
            events = [event_of(self.seed, writer, first + i) for i in range(count)]
            streams = {event["stream"] for event in events}
            expect = [{"stream": s, "version": versions.get(s, 0) or "none"} for s in streams]
            self.attempted[writer] = max(self.attempted[writer], first + len(events) - 1)
            status, answer = client.send("POST", "/events", {"events": events, "expect": expect})
            if status is None:
                return
            if status not in (200, 201):
                raise Violation(f"writer {writer} at {first}: {status} {answer}")
            self.counts["resent"] += answer["known"]
            for event in events:
                versions[event["stream"]] = versions.get(event["stream"], 0) + 1
            self.acknowledged[writer] = first + len(events) - 1
            if writer == 0 and chance.randrange(20) == 0:
                self.tidy(client, chance.randrange(3))

    def tidy(self, client, number):
        """Streams of no account come and go, and compaction runs."""
        stream = f"junk-{number}"
        for method, path, body in (("POST", f"/streams/{stream}", {"type": "Junk"}),
                                   ("DELETE", f"/streams/{stream}", None),
                                   ("POST", "/compact?percent=0", None)):
            status, answer = client.send(method, path, body)
            # A deletion whose answer was lost is done: there is nothing left to delete.
            if status not in (None, 200, 201) and (status, method) != (404, "DELETE"):
                raise Violation(f"{method} {path}: {status} {answer}")
        self.counts["compactions"] += 1

    def name_and_forget(self, _):
        """People are named, and every other one is forgotten as soon as it is there."""
        client = Client(self)
        chance = random.Random(f"{self.seed}-people")
        while not self.over.is_set():
            who, name = f"s{len(self.named)}", f"Marker-{self.seed}-{len(self.named)}-person"
            status, answer = client.send("POST", f"/streams/p-{who}", {
                "type": "Person", "id": str(uuid.UUID(int=(self.seed << 80) + (9 << 64) +
                                                      len(self.named), version=4)),
                "data": {"who": who, "name": name}})
            if status is None:
                return
            if status not in (200, 201):
                raise Violation(f"naming {who}: {status} {answer}")
            forgets = chance.randrange(2) == 0
            if forgets:
                status, answer = client.send("POST", f"/subjects/{who}/forget")
                if status is None:
                    return
                # When the answer was lost it is done: there is nothing left to forget.
                if status not in (200, 201, 202, 404):
                    raise Violation(f"forgetting {who}: {status} {answer}")
                self.counts["forgotten"] += 1
            self.named[who] = None if forgets else name
            status, answer = client.send("GET", f"/streams/p-{who}")
            if status is None:
                return
            self.check_person(self.named, who, answer["events"][0]["data"]["name"])
            time.sleep(chance.random() * 0.02)

    def check_person(self, named, who, name):
        """What was read of a person, against what was known of them before it was asked for."""
        wanted = named.get(who)
        told = isinstance(name, str)
        if who in named and (told if wanted is None else name != wanted):
            raise Violation(f"{who} reads as {name}, not as {wanted or 'forgotten'}")

    def follow(self, _):
        client = Client(self)
        position, seen = 0, [0] * WRITERS
        while not self.over.is_set():
            named = dict(self.named)
            status, answer = client.send(
                "GET", f"/events?after={position}&limit=500&hidden=true&removed=true")
            if status is None:
                return
            if status != 200:
                raise Violation(f"a reader: {status} {answer}")
            for event in answer["events"]:
                position = self.check(event, position, seen, named)
            self.counts["read"] += len(answer["events"])
            if len(answer["events"]) > 20:
                self.keep_checkpoint(client)
            if not answer["events"]:
                time.sleep(0.02)

    def keep_checkpoint(self, client):
        while self.key is None and not self.over.is_set():
            self.key = (client.send("GET", "/proof/key")[1] or {}).get("key")
        status, answer = client.send("GET", "/proof/checkpoint")
        if status not in (None, 200):
            raise Violation(f"a checkpoint: {status} {answer}")
        if status == 200:
            self.checkpoints.append(answer["checkpoint"])

    def check(self, event, position, seen, named):
        """One event behind a position; seen counts each writer's events."""
        if event["position"] != position + 1:
            raise Violation(f"position {event['position']} comes behind {position}")
        if event["stream"].startswith("p-") and not event.get("removed"):
            self.check_person(named, event["stream"][2:], event["data"]["name"])
        if not event["stream"].startswith("w"):
            return position + 1
        writer = int(event["stream"][1])
        seen[writer] += 1
        expected = event_of(self.seed, writer, seen[writer])
        if any(event.get(key) != expected[key] for key in expected) or \
                seen[writer] > self.attempted[writer]:
            raise Violation(f"position {position + 1}: writer {writer}'s event {seen[writer]} "
                            f"is {json.dumps(event)[:300]}")
        return position + 1

    def migrating(self, *words):
        return [self.daybook, "migrate", *words, "--book", self.folder, "--to", self.new]

    def migrate(self, _):
        """A migration that follows, killed again and again."""
        chance = random.Random(f"{self.seed}-migration")
        while not any(self.acknowledged) and not self.over.is_set():
            time.sleep(0.02)
        while not self.over.is_set():
            process = subprocess.Popen(
                self.migrating("--with", self.new / "migration.lua", "--follow"),
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            self.over.wait(chance.uniform(*KILL_S))
            process.send_signal(signal.SIGKILL)
            _, errors = process.communicate()
            if process.returncode != -signal.SIGKILL:
                raise Violation("a migration: " + errors)
            self.counts["migration_kills"] += 1

    def check_migrated(self):
        """What is left is copied, and all of it is what the script makes of the book."""
        for words in (["--with", self.new / "migration.lua"], ["verify"]):
            process = subprocess.run(self.migrating(*words), capture_output=True,
                                     text=True, check=False)
            if process.returncode != 0:
                raise Violation("the migration: " + process.stderr + process.stdout)

    def guard(self, function, argument):
        try:
            function(argument)
        except Exception as fault:  # pylint: disable=broad-except
            self.faults.append(f"{type(fault).__name__}: {fault}")
            self.over.set()

    # ---- The daemon ----

    def start(self):
        return subprocess.Popen([self.daybook, "serve", "--book", self.folder, "--listen",
                                 "127.0.0.1:0", "-o", "json"], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def is_done(self):
        if self.end is not None and time.monotonic() > self.end:
            return True
        return self.end is None and self.counts["kills"] >= self.kills_wanted

    def kill_again_and_again(self):
        while not self.is_done() and not self.over.is_set():
            process = self.start()
            if self.random.randrange(4) == 0:
                time.sleep(self.random.uniform(0, 0.03))
                self.counts["recovery_kills"] += 1
            else:
                line = process.stdout.readline()
                if not line:
                    self.faults.append("serve did not start: " + process.stderr.read())
                    process.wait()
                    return
                time.sleep(self.random.uniform(*KILL_S))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            self.counts["kills"] += 1

    def run(self):
        threads = [threading.Thread(target=self.guard, args=(self.write, n), daemon=True)
                   for n in range(WRITERS)]
        threads += [threading.Thread(target=self.guard, args=(self.follow, n), daemon=True)
                    for n in range(READERS)]
        threads += [threading.Thread(target=self.guard, args=(work, 0), daemon=True)
                    for work in (self.migrate, self.name_and_forget)]
        for thread in threads:
            thread.start()
        self.kill_again_and_again()
        # One more, in peace, so that everyone can end what they began.
        process = self.start()
        process.stdout.readline()
        time.sleep(0.3)
        self.over.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if not self.faults:
            self.guard(self.check_all, None)
        if not self.faults:
            shutil.rmtree(self.folder)
        return {"seed": self.seed, "faults": self.faults, "folder": str(self.folder),
                "acknowledged": sum(self.acknowledged), **self.counts}

    def verify(self, when):
        """The book as it lies there, against the first, a middle and the last kept checkpoint."""
        kept = self.folder / "kept.checkpoint"
        for index in sorted({0, len(self.checkpoints) // 2, len(self.checkpoints) - 1}):
            kept.write_text(self.checkpoints[index], encoding="utf-8")
            result = subprocess.run(
                [pathlib.Path(self.daybook).parent / "daybook-verify", self.folder / "data",
                 "--checkpoint", kept, "--key", self.key],
                capture_output=True, text=True, check=False)
            if result.returncode != 0:
                raise Violation(f"daybook-verify {when}: {result.stdout}{result.stderr}")
        self.counts["checkpoints"] = len(self.checkpoints)

    def search(self):
        """No name is anywhere in the data, whoever is forgotten and whoever is not."""
        marker = f"Marker-{self.seed}-".encode()
        for path in (self.folder / "data").rglob("*"):
            if path.is_file() and marker in path.read_bytes():
                raise Violation(f"{path} tells a name")

    def check_all(self, _):
        """Everything that was acknowledged is there, once, in order, and nothing else is."""
        self.search()
        if self.checkpoints:
            self.verify("as the last kill left it")
        process = subprocess.run([self.daybook, "read", "--book", self.folder, "--hidden",
                                  "--removed", "-o", "jsonl"], capture_output=True, text=True,
                                 check=False)
        if process.returncode != 0:
            raise Violation("the last read: " + process.stderr)
        position, seen = 0, [0] * WRITERS
        for line in process.stdout.splitlines():
            position = self.check(json.loads(line), position, seen, self.named)
        self.check_migrated()
        for writer in range(WRITERS):
            if seen[writer] < self.acknowledged[writer]:
                raise Violation(f"of writer {writer}'s {self.acknowledged[writer]} acknowledged "
                                f"events {seen[writer]} are there")
        if self.checkpoints:
            self.verify("when it was opened again")


def run_one(arguments, seed, kills, results):
    results.put(Storm(arguments, seed, kills).run())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("--daybook", default=str(ROOT / "build" / "daybook"))
    arguments = parser.parse_args()
    results = multiprocessing.Queue()
    share = -(-arguments.kills // arguments.parallel)
    storms = [multiprocessing.Process(target=run_one,
                                      args=(arguments, arguments.seed + i, share, results))
              for i in range(arguments.parallel)]
    for storm in storms:
        storm.start()
    total = {}
    faults = []
    for _ in storms:
        result = results.get()
        for fault in result["faults"]:
            faults.append(f"seed {result['seed']}, left in {result['folder']}: {fault}")
        for key, value in result.items():
            if isinstance(value, int) and key != "seed":
                total[key] = total.get(key, 0) + value
    for storm in storms:
        storm.join()
    for fault in faults:
        print("VIOLATION:", fault)
    print(json.dumps({"seed": arguments.seed, **total, "violations": len(faults)}))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
