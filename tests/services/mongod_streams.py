# SPDX-License-Identifier: Apache-2.0
"""The server of services/mongod.py with change streams, as MongoDB's documentation describes them.

What a command or a transaction changed is found by comparing the collections before and after it,
and becomes events in an oplog; an update's event has the document as it is when the event is read.
"""
import copy
import struct
import threading
import time

from services.bson import Date, Int32, Raw
from services.mongod import Mongod, Refused

RANKS = {"number": 1, "string": 2, "object": 3, "binData": 4, "objectId": 5, "bool": 6, "date": 7}


def timestamp(at):
    return Raw(0x11, struct.pack("<II", at[1], at[0]))


def time_of(value):
    count, seconds = struct.unpack("<II", value.data)
    return seconds, count


def token(at, number=0):
    """Tokens sort as what they are of: of a time without an event first."""
    return {"_data": f"82{at[0]:08X}{at[1]:08X}{number:04X}"}


def kind_of(value):
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, Raw):
        return {0x07: "objectId", 0x05: "binData"}[value.type]
    return {str: "string", dict: "object", Date: "date"}[type(value)]


def order(value):
    kind = kind_of(value)
    return RANKS[kind], (repr(value) if kind == "object" else
                         value.data if kind in ("objectId", "binData") else value)


def lookup(document, path):
    for part in path.split("."):
        document = document.get(part) if isinstance(document, dict) else None
    return document


def satisfies(document, query):
    for key, wanted in query.items():
        if key == "$or":
            if not any(satisfies(document, item) for item in wanted):
                return False
            continue
        value = lookup(document, key)
        if not isinstance(wanted, dict) or not next(iter(wanted), "").startswith("$"):
            wanted = {"$in": [wanted]}
        for operator, operand in wanted.items():
            if operator == "$in":
                good = any(value == one and isinstance(value, bool) == isinstance(one, bool)
                           for one in operand)
            elif operator == "$gt":
                good = kind_of(value) == kind_of(operand) and order(value) > order(operand)
            elif operator == "$type":
                good = value is not None and kind_of(value) in operand
            else:
                raise Refused(2, "BadValue", f"unknown operator: {operator}")
            if not good:
                return False
    return True


class StreamingMongod(Mongod):
    """batch_max: events in a reply, at most. before and after: as of Mongod."""

    def __init__(self, transactions=True):
        self.now = (int(time.time()), 1)
        self.oplog = []  # events, and the time and number of each
        self.cut = 0     # those before it are not kept
        self.cursors = {}
        self.count = 0
        self.batch_max = 1000
        self.sharded = False
        super().__init__(transactions)
        self.changed = threading.Condition(self.lock)

    def kill(self):
        super().kill()
        with self.lock:
            self.cursors.clear()

    def hello(self):
        return super().hello() | ({"msg": "isdbgrid"} if self.sharded else {})

    def tick(self):
        self.now = max((int(time.time()), 0), self.now)
        self.now = (self.now[0], self.now[1] + 1)
        return self.now

    def run(self, command):
        name = next(iter(command))
        if name == "aggregate":
            reply = self.watch(command)
        elif name == "getMore":
            reply = self.more(command)
        elif name in ("renameCollection", "dropDatabase"):
            reply = getattr(self, name)(command)
        else:
            before = copy.deepcopy(self.collections) if name in (
                "insert", "update", "delete", "commitTransaction", "drop") else None
            reply = super().run(command)
            if before is not None:
                self.compare(before, command)
        return reply | ({"operationTime": timestamp(self.now)} if self.transactions else {})

    # ---- The oplog ----

    def log(self, kind, kept, at, number=1, **more):
        self.oplog.append((at, number, {"operationType": kind, "clusterTime": timestamp(at),
                                        "wallTime": Date(int(time.time() * 1000)),
                                        "ns": {"db": kept[0], "coll": kept[1]}, **more}))
        self.changed.notify_all()

    def compare(self, before, command):
        """A transaction's events have one time; those of a command one each."""
        more, number = {}, 0
        if "txnNumber" in command:
            if "commitTransaction" not in command:
                return
            more = {"lsid": {"id": command["lsid"]["id"]}, "txnNumber": command["txnNumber"]}
            at = self.tick()
        for kept in sorted(before.keys() | self.collections.keys()):
            if kept not in self.collections:
                self.log("drop", kept, self.tick())
                continue
            old, new = before.get(kept, {}), self.collections[kept]
            for key in sorted(old.keys() | new.keys()):
                if old.get(key) == new.get(key):
                    continue
                at, number = (at, number + 1) if more else (self.tick(), 1)
                found = new.get(key, old.get(key))
                kind = "delete" if key not in new else "update" if key in old else "insert"
                event = {"documentKey": {"_id": found["_id"]}, **more}
                if kind == "insert":
                    event["fullDocument"] = copy.deepcopy(found)
                self.log(kind, kept, at, number, **event)

    def renameCollection(self, command):
        old = tuple(command["renameCollection"].split(".", 1))
        new = tuple(command["to"].split(".", 1))
        self.collections[new] = self.collections.pop(old)
        self.log("rename", old, self.tick(), to={"db": new[0], "coll": new[1]})
        return {"ok": 1.0}

    def dropDatabase(self, command):
        for kept in [kept for kept in self.collections if kept[0] == command["$db"]]:
            del self.collections[kept]
            self.log("drop", kept, self.tick())
        self.log("dropDatabase", (command["$db"], None), self.tick())
        self.log("invalidate", (command["$db"], None), self.now, 2)
        return {"ok": 1.0}

    def forget(self):
        """What is in the oplog now is kept no more."""
        with self.lock:
            self.cut = len(self.oplog)
            self.cursors.clear()

    # ---- Streams ----

    def watch(self, command):
        if not self.transactions:
            raise Refused(40573, "Location40573", "The $changeStream stage is only supported on "
                          "replica sets")
        stream = command["pipeline"][0]["$changeStream"]
        match = (command["pipeline"][1:] or [{"$match": {}}])[0]["$match"]
        after = stream.get("startAfter") or stream.get("resumeAfter")
        at = len(self.oplog)
        if after is not None:
            at = self.place_of(after, "resumeAfter" in stream)
        elif "startAtOperationTime" in stream:
            time = time_of(stream["startAtOperationTime"])
            at = next((i for i, (when, _, _) in enumerate(self.oplog) if when >= time), at)
        if at < self.cut:
            raise Refused(286, "ChangeStreamHistoryLost", "Resume of change stream was not "
                          "possible, as the resume point may no longer be in the oplog.")
        self.count += 1
        number = 1 << 40 | self.count
        self.cursors[number] = {"at": at, "match": match, "db": command["$db"],
                                "last": after or token(self.now)}
        return self.batch(number, "firstBatch", command["cursor"]["batchSize"])

    def place_of(self, after, resumes):
        """What follows a token. That of an event must be an event's here, where it is kept."""
        tokens = [token(when, number)["_data"] for when, number, _ in self.oplog]
        at = next((i for i, one in enumerate(tokens) if one > after["_data"]), len(tokens))
        if not after["_data"].endswith("0000") and at >= self.cut and after["_data"] not in tokens:
            raise Refused(280, "ChangeStreamFatalError",
                          "cannot resume stream; the resume token was not found.")
        if resumes and at and tokens[at - 1] == after["_data"] and (
                self.oplog[at - 1][2]["operationType"] == "invalidate"):
            raise Refused(260, "InvalidResumeToken", "Attempting to resume a change stream "
                          "using 'resumeAfter' is not allowed from an invalidate notification")
        return at

    def more(self, command):
        cursor = self.cursors.get(command["getMore"])
        if cursor is None:
            raise Refused(43, "CursorNotFound", "cursor id not found")
        self.changed.wait_for(lambda: cursor["at"] < len(self.oplog),
                              command["maxTimeMS"] / 1000)
        if command["getMore"] not in self.cursors:
            raise Refused(237, "CursorKilled", "cursor was killed")
        return self.batch(command["getMore"], "nextBatch", command["batchSize"])

    def batch(self, number, name, size):
        cursor, events = self.cursors[number], []
        while cursor["at"] < len(self.oplog) and len(events) < min(size, self.batch_max):
            at, count, event = self.oplog[cursor["at"]]
            cursor["at"] += 1
            kept = (event["ns"]["db"], event["ns"]["coll"])
            event = {"_id": token(at, count), **event}
            if kept[0] != cursor["db"] or not satisfies(event, cursor["match"]):
                continue
            if event["operationType"] == "update":
                found = self.collections.get(kept, {}).get(repr(event["documentKey"]["_id"]))
                event["fullDocument"] = copy.deepcopy(found)
            events.append(event)
            cursor["last"] = event["_id"]
            if event["operationType"] == "invalidate":
                del self.cursors[number]
                number = 0
                break
        if cursor["at"] == len(self.oplog):
            cursor["last"] = max(cursor["last"], token(self.now), key=lambda one: one["_data"])
        return {"cursor": {"id": number, "ns": f"{cursor['db']}.$cmd.aggregate", name: events,
                           "postBatchResumeToken": cursor["last"]}, "ok": 1.0}

    # ---- Reading ----

    def found(self, documents, command):
        concern = command["readConcern"]
        assert concern["level"] == "majority"
        after = concern.get("afterClusterTime")  # polling asks for none
        assert after is None or time_of(after) <= self.now
        found = [one for one in documents.values() if satisfies(one, command.get("filter", {}))]
        found.sort(key=lambda one: order(one["_id"]))
        return copy.deepcopy(found[:command.get("limit") or None])

    @staticmethod
    def cursor(command, documents):
        if "listCollections" in command:
            documents = [one for one in documents if satisfies(one, command["filter"])]
        return {"cursor": {"firstBatch": documents, "id": 0, "ns": f"{command['$db']}.x"},
                "ok": 1.0}

    def command(self, command, database="documents"):
        """Runs a command as a client of its own would."""
        with self.lock:
            return self.run(command | {"$db": database})

    def transaction(self, *commands, database="documents"):
        """Runs commands as one transaction."""
        with self.lock:
            self.count += 1
            own = {"lsid": {"id": Raw(0x05, b"\x10\0\0\0\x04" + self.count.to_bytes(16, "big"))},
                   "txnNumber": self.count, "autocommit": False, "$db": database}
            for index, command in enumerate(commands):
                first = {"startTransaction": True} if index == 0 else {}
                self.run(command | own | first)
            self.run({"commitTransaction": Int32(1)} | own)
