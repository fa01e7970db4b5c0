# SPDX-License-Identifier: Apache-2.0
"""A server that speaks as much of MongoDB's protocol as Daybook's models use, with transactions.

It is no MongoDB: none can be had by package here, and FerretDB has no transactions. Its documents
are in memory (they stay while it is "killed"), its replies are those of MongoDB's documentation. A
transaction works on a copy, which commitTransaction puts in place; what another one changed
meanwhile is a write conflict, as is a write beside an open one. With `transactions=False` it is a
server on its own: it knows sessions, and refuses transactions with MongoDB's code 20.
"""
import copy
import socket
import struct
import threading

from services.bson import Int32, Raw, command_of, read_message, reply_to


class Refused(Exception):
    def __init__(self, code, name, text, labels=()):
        super().__init__(text)
        self.reply = {"ok": 0.0, "errmsg": text, "code": Int32(code), "codeName": name}
        if labels:
            self.reply["errorLabels"] = list(labels)


def matches(document, query):
    for key, wanted in query.items():
        value = document.get(key)
        if isinstance(wanted, dict) and wanted and all(k.startswith("$") for k in wanted):
            for operator, operand in wanted.items():
                if operator == "$lt":
                    good = value is not None and value < operand
                elif operator == "$gte":
                    good = value is not None and value >= operand
                elif operator == "$exists":
                    good = (key in document) == operand
                elif operator == "$gt":
                    good = value is not None and value > operand
                elif operator == "$ne":
                    good = operand not in value if isinstance(value, list) else value != operand
                elif operator == "$in":
                    good = value in operand
                else:
                    raise Refused(2, "BadValue", f"unknown operator: {operator}")
                if not good:
                    return False
        elif value != wanted:
            return False
    return True


def change(document, update):
    for operator, fields in update.items():
        for key, operand in fields.items():
            if operator == "$set":
                document[key] = operand
            elif operator == "$inc":
                if isinstance(operand, str):
                    raise Refused(14, "TypeMismatch", "Cannot increment with non-numeric argument")
                document[key] = document.get(key, 0) + operand
            elif operator == "$push":
                document.setdefault(key, []).append(operand)
            elif operator == "$pull":
                document[key] = [one for one in document.get(key, []) if one != operand]
            elif operator == "$unset":
                document.pop(key, None)
            else:
                raise Refused(9, "FailedToParse", f"Unknown modifier: {operator}")


class Mongod:
    def __init__(self, transactions=True):
        self.transactions = transactions
        self.lock = threading.Lock()
        self.collections = {}  # by (database, name): {key of _id: document}
        self.validators = {}   # likewise: what an inserted document must match
        self.changes = 0       # committed ones, of all collections
        self.open = {}         # transactions by session
        self.commits = 0
        self.before = None     # called with each command; may raise Refused
        self.after = None      # called with each command that was done and its reply to be changed
        self.sockets = set()
        self.listener = None
        self.port = 0
        self.other = None      # the listener of another member of the set, if there is one
        self.primary = None    # the member that is it now, by its port
        self.term = 7          # counts elections
        self.here = threading.local()
        self.start()

    # ---- Life ----

    def start(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.primary = self.primary or self.port
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def add_member(self):
        """Another one, with the same documents, at its own port."""
        self.other = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, args=(self.other,), daemon=True).start()
        return self.other.getsockname()[1]

    def elect(self, port):
        self.primary, self.term = port, self.term + 1

    def kill(self):
        """Open transactions are lost, as are connections; what was committed stays."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            self.open.clear()
            sockets, self.sockets = self.sockets, set()
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.kill()
        if self.other:
            self.other.shutdown(socket.SHUT_RDWR)
            self.other.close()

    def clear(self):
        with self.lock:
            self.collections, self.validators, self.open = {}, {}, {}

    def connection(self, port=None, database="documents"):
        return f"mongodb://127.0.0.1:{port or self.port}/{database}"

    def find(self, name, database="documents"):
        with self.lock:
            found = copy.deepcopy(list(self.collections.get((database, name), {}).values()))
        return [{k: v for k, v in one.items() if k != "_daybook"} for one in found]

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.sockets.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        self.here.port = client.getsockname()[1]
        try:
            while message := read_message(client):
                request, opcode, command = command_of(message)
                try:
                    if self.before is not None:
                        self.before(command)
                    with self.lock:
                        reply = self.run(command)
                    if self.after is not None:
                        self.after(command, reply)
                except Refused as refused:
                    reply = refused.reply
                client.sendall(reply_to(request, opcode, reply))
        except OSError:
            pass
        self.sockets.discard(client)
        client.close()

    # ---- Commands ----

    def hello(self):
        reply = {"isWritablePrimary": True, "ismaster": True, "helloOk": True,
                 "maxBsonObjectSize": Int32(16777216), "maxMessageSizeBytes": Int32(48000000),
                 "maxWriteBatchSize": Int32(100000), "minWireVersion": Int32(0),
                 "logicalSessionTimeoutMinutes": Int32(30), "maxWireVersion": Int32(17), "ok": 1.0}
        if self.transactions:
            here = getattr(self.here, "port", self.port)
            ports = [self.port] + ([self.other.getsockname()[1]] if self.other else [])
            reply |= {"setName": "rs0", "hosts": [f"127.0.0.1:{port}" for port in ports],
                      "me": f"127.0.0.1:{here}", "primary": f"127.0.0.1:{self.primary}",
                      "setVersion": Int32(1)}
            if here == self.primary:
                reply["electionId"] = Raw(0x07, struct.pack(">IQ", 0x7fffffff, self.term))
            else:
                reply |= {"isWritablePrimary": False, "ismaster": False, "secondary": True}
        return reply

    def state_of(self, command):
        """The collections that a command sees: its transaction's, or those that are committed."""
        if "txnNumber" not in command:
            return self.collections
        if not self.transactions:
            raise Refused(20, "IllegalOperation", "Transaction numbers are only allowed on a "
                          "replica set member or mongos")
        if "writeConcern" in command and not {"commitTransaction", "abortTransaction"} & set(
                command):
            raise Refused(72, "InvalidOptions", "writeConcern is not allowed within a "
                          "multi-statement transaction")
        session = command["lsid"]["id"].data
        if command.get("startTransaction"):
            self.open[session] = {"number": command["txnNumber"], "changes": self.changes,
                                  "state": copy.deepcopy(self.collections)}
        mine = self.open.get(session)
        if mine is None or mine["number"] != command["txnNumber"]:
            raise Refused(251, "NoSuchTransaction", "Given transaction number does not match any "
                          "in-progress transactions", ["TransientTransactionError"])
        return mine["state"]

    def run(self, command):
        name = next(iter(command))
        if name in ("hello", "isMaster", "ismaster"):
            return self.hello()
        if name == "buildInfo":
            return {"version": "7.0.0", "ok": 1.0}
        if name in ("endSessions", "killCursors"):
            return {"ok": 1.0}
        if name in ("commitTransaction", "abortTransaction"):
            return self.end(command, name == "commitTransaction")
        state = self.state_of(command)
        kept = (command["$db"], command[name])
        if name == "create":
            if kept in state:
                raise Refused(48, "NamespaceExists", "Collection already exists.")
            state[kept] = {}
            self.validators[kept] = command.get("validator", {})
            return {"ok": 1.0}
        if name == "drop":
            state.pop(kept, None)
            return {"ok": 1.0}
        if name == "createIndexes":
            return {"ok": 1.0}
        if name == "listCollections":
            names = [{"name": n, "type": "collection"} for d, n in state if d == command["$db"]]
            return self.cursor(command, names)
        if name == "find":
            return self.cursor(command, self.found(state.get(kept, {}), command))
        if name in ("insert", "update", "delete"):
            if state is self.collections:
                self.changes += 1
            return self.write(state.setdefault(kept, {}), name, command)
        raise Refused(59, "CommandNotFound", f"no such command: '{name}'")

    def end(self, command, commits):
        state = self.state_of(command)
        mine = self.open.pop(command["lsid"]["id"].data)
        if not commits:
            return {"ok": 1.0}
        if mine["changes"] != self.changes:
            raise Refused(112, "WriteConflict", "a write conflict", ["TransientTransactionError"])
        self.collections = state
        self.changes += 1
        self.commits += 1
        return {"ok": 1.0}

    @staticmethod
    def cursor(command, documents):
        return {"cursor": {"firstBatch": documents, "id": 0,
                           "ns": f"{command['$db']}.x"}, "ok": 1.0}

    @staticmethod
    def found(documents, command):
        found = [one for one in documents.values() if matches(one, command.get("filter", {}))]
        for key, direction in command.get("sort", {}).items():
            found.sort(key=lambda one: one[key], reverse=direction < 0)
        return copy.deepcopy(found[:command.get("limit") or None])

    # ---- Writes ----

    def write(self, documents, name, command):
        reply = {"n": Int32(0), "ok": 1.0}
        lists = {"insert": "documents", "update": "updates", "delete": "deletes"}
        for index, item in enumerate(command[lists[name]]):
            try:
                if name == "insert" or not next(iter(item.get("u", {})), "$").startswith("$"):
                    self.validate((command["$db"], command[name]), item.get("u", item))
                count = getattr(self, name)(documents, item)
            except Refused as refused:
                if "txnNumber" in command:
                    self.open.pop(command["lsid"]["id"].data)  # it is over
                reply.setdefault("writeErrors", []).append(
                    {"index": Int32(index), "code": refused.reply["code"],
                     "errmsg": refused.reply["errmsg"]})
                if command.get("ordered", True):
                    break
                continue
            reply["n"] = Int32(reply["n"] + count)
        return reply

    def validate(self, kept, document):
        if not matches(document, self.validators.get(kept, {})):
            raise Refused(121, "DocumentValidationFailure", "Document failed validation")

    @staticmethod
    def insert(documents, document):
        key = repr(document["_id"])
        if key in documents:
            raise Refused(11000, "DuplicateKey", f"E11000 duplicate key error dup key: {key}")
        documents[key] = document
        return 1

    def update(self, documents, item):
        found = [one for one in documents.values() if matches(one, item["q"])]
        update = item["u"]
        operators = next(iter(update), "$").startswith("$")
        for one in found if item.get("multi") else found[:1]:
            if operators:
                change(one, update)
            else:
                identity = one["_id"]
                one.clear()
                one.update({"_id": identity} | update)
        if found or not item.get("upsert"):
            return len(found) if item.get("multi") else len(found[:1])
        document = {key: value for key, value in item["q"].items()
                    if not isinstance(value, dict) or not next(iter(value), "").startswith("$")}
        if operators:
            change(document, update)
        else:
            document |= update
        return self.insert(documents, document)

    @staticmethod
    def delete(documents, item):
        keys = [key for key, one in documents.items() if matches(one, item["q"])]
        for key in keys[:item["limit"] or None]:
            del documents[key]
        return len(keys[:item["limit"] or None])
