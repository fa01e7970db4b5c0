# SPDX-License-Identifier: Apache-2.0
"""The server of services/mongod.py with users and roles, as MongoDB's documentation describes them.

Sessions log in by SCRAM-SHA-256 (RFC 7677); a command is judged by the privileges of its user's
roles before it is done. `root` of `admin` may do anything.
"""
import base64
import copy
import hashlib
import hmac
import re
import secrets
import struct

from services.bson import Int32, Raw
from services.mongod import Mongod, Refused

PASSWORD = "secret"
ANY = {"db": "", "collection": ""}
EVERYTHING = object()


def role(name, database):
    return {"role": name, "db": database}


class RolesMongod(Mongod):
    def __init__(self):
        self.users = {}  # by (database, name)
        self.roles = {}  # likewise: {"privileges": […], "roles": […]}
        super().__init__(transactions=False)
        self.users["admin", "root"] = {"pwd": PASSWORD, "roles": [role("root", "admin")],
                                       "customData": {}, "authenticationRestrictions": []}

    def connection(self, port=None, database="documents", user="root", password=PASSWORD,
                   source="admin"):
        return (f"mongodb://{user}:{password}@127.0.0.1:{port or self.port}/{database}"
                f"?authSource={source}")

    # ---- Logging in ----

    def start_login(self, command):
        first = command["payload"].data[5:].decode()
        name = first.split("n=", 1)[1].split(",")[0]
        nonce = first.split("r=", 1)[1] + secrets.token_hex(8)
        salt = secrets.token_bytes(28)
        reply = f"r={nonce},s={base64.b64encode(salt).decode()},i=4096"
        self.here.login = {"user": (command["$db"], name), "salt": salt, "nonce": nonce,
                           "before": first[3:] + "," + reply, "done": False}
        return self.payload(reply, False)

    @staticmethod
    def payload(text, done):
        data = text.encode()
        return {"conversationId": Int32(1), "done": done,
                "payload": Raw(5, struct.pack("<ib", len(data), 0) + data), "ok": 1.0}

    def go_on(self, command):
        login = self.here.login
        if login["done"]:
            return self.payload("", True)
        text = command["payload"].data[5:].decode()
        user = self.users.get(login["user"])
        if user is None or user["authenticationRestrictions"]:
            raise Refused(18, "AuthenticationFailed", "Authentication failed.")
        salted = hashlib.pbkdf2_hmac("sha256", user["pwd"].encode(), login["salt"], 4096)
        client = hmac.digest(salted, b"Client Key", "sha256")
        without, proof = text.rsplit(",p=", 1)
        message = (login["before"] + "," + without).encode()
        signature = hmac.digest(hashlib.sha256(client).digest(), message, "sha256")
        wanted = bytes(a ^ b for a, b in zip(client, signature))
        if not hmac.compare_digest(wanted, base64.b64decode(proof)):
            raise Refused(18, "AuthenticationFailed", "Authentication failed.")
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        login["done"] = True
        self.here.user = login["user"]
        return self.payload("v=" + base64.b64encode(server).decode(), False)

    # ---- Rights ----

    def privileges_of(self, roles, seen=()):
        """All that roles give, with what they inherit."""
        given = []
        for one in roles:
            key = (one["db"], one["role"])
            if key == ("admin", "root"):
                return EVERYTHING
            if key in seen or key not in self.roles:
                if one["role"] == "readAnyDatabase":
                    given.append({"resource": ANY, "actions": ["find", "listCollections"]})
                continue
            kept = self.roles[key]
            inherited = self.privileges_of(kept["roles"], (*seen, key))
            if inherited is EVERYTHING:
                return EVERYTHING
            given += copy.deepcopy(kept["privileges"]) + inherited
        return given

    def mine(self):
        user = self.users.get(getattr(self.here, "user", None))
        return [] if user is None else self.privileges_of(user["roles"])

    def check(self, database, collection, *actions):
        given = self.mine()
        for action in actions:
            if given is EVERYTHING:
                return
            for one in given:
                resource = one["resource"]
                fits = resource.get("anyResource") or (
                    "cluster" in resource if collection is None else
                    "db" in resource and resource["db"] in ("", database) and
                    resource["collection"] in ("", collection))
                if fits and action in one["actions"]:
                    break
            else:
                raise Refused(13, "Unauthorized", f"not authorized on {database} to execute "
                              f"command ({action})")

    def judge(self, name, command):
        database, collection = command.get("$db", "admin"), command[name]
        one = {"find": "find", "insert": "insert", "update": "update", "delete": "remove",
               "create": "createCollection", "drop": "dropCollection", "collMod": "collMod",
               "listIndexes": "listIndexes", "createIndexes": "createIndex"}
        if name in one:
            self.check(database, collection, one[name])
        elif name == "aggregate" and isinstance(collection, str):
            self.check(database, collection, "find")
            for stage in command["pipeline"]:
                if "$lookup" in stage:
                    self.check(database, stage["$lookup"]["from"], "find")
                if "$merge" in stage:
                    self.check(database, stage["$merge"]["into"], "insert", "update")
        elif name in ("usersInfo", "rolesInfo"):
            everybody = isinstance(collection, dict) and "forAllDBs" in collection
            self.check("" if everybody else database, "", "view" + name[:4].capitalize())
        elif name == "listCollections":
            self.check(database, "", "listCollections")
        elif name == "profile":
            self.check(database, "", "enableProfiler")
        elif re.search("Role|User", name):
            self.check(database, "", name)
        elif name not in ("hello", "isMaster", "ismaster", "buildInfo", "endSessions",
                          "killCursors", "connectionStatus"):
            self.check(database, None, name)

    # ---- Commands ----

    def hello(self):
        return super().hello() | {"saslSupportedMechs": ["SCRAM-SHA-256"]}

    def run(self, command):
        name = next(iter(command))
        if name == "saslStart":
            return self.start_login(command)
        if name == "saslContinue":
            return self.go_on(command)
        self.judge(name, command)
        if hasattr(self, "do_" + name):
            return {"ok": 1.0} | (getattr(self, "do_" + name)(command) or {})
        if name == "insert" and any(isinstance(one.get("_id"), list)
                                    for one in command["documents"]):
            return {"n": Int32(0), "ok": 1.0, "writeErrors": [
                {"index": Int32(0), "code": Int32(53), "errmsg": "can't use an array for _id"}]}
        if name in ("aggregate", "listIndexes"):
            return self.cursor(command, [])
        if name in ("collMod", "profile"):
            return {"ok": 1.0}
        if name == "listCollections" and "filter" in command:
            reply = super().run(command)
            batch = reply["cursor"]["firstBatch"]
            pattern = command["filter"]["name"].data.split(b"\0")[0].decode()
            reply["cursor"]["firstBatch"] = [c for c in batch if re.search(pattern, c["name"])]
            return reply
        return super().run(command)

    def do_connectionStatus(self, command):
        user = getattr(self.here, "user", None)
        given = self.mine()
        info = {"authenticatedUsers": [{"user": user[1], "db": user[0]}] if user else [],
                "authenticatedUserRoles": []}
        if command.get("showPrivileges"):
            info["authenticatedUserPrivileges"] = [
                {"resource": {"anyResource": True}, "actions": ["anyAction"]}
            ] if given is EVERYTHING else given
        return {"authInfo": info}

    @staticmethod
    def full(roles, database):
        return [role(one, database) if isinstance(one, str) else one for one in roles]

    def user_of(self, command, name):
        user = self.users.get((command["$db"], command[name]))
        if user is None:
            raise Refused(11, "UserNotFound", f"User '{command[name]}' not found")
        return user

    def role_of(self, command, name):
        found = self.roles.get((command["$db"], command[name]))
        if found is None:
            raise Refused(31, "RoleNotFound", f"Role '{command[name]}' not found")
        return found

    def do_createUser(self, command):
        key = (command["$db"], command["createUser"])
        if key in self.users:
            raise Refused(51003, "Location51003", f"User '{key[1]}' already exists")
        self.users[key] = {"pwd": command["pwd"], "customData": command.get("customData", {}),
                           "roles": self.full(command["roles"], key[0]),
                           "authenticationRestrictions": []}

    def do_updateUser(self, command):
        user = self.user_of(command, "updateUser")
        for key in ("pwd", "customData", "authenticationRestrictions", "roles"):
            if key in command:
                user[key] = command[key]

    def do_dropUser(self, command):
        self.user_of(command, "dropUser")
        del self.users[command["$db"], command["dropUser"]]

    def do_createRole(self, command):
        key = (command["$db"], command["createRole"])
        if key in self.roles:
            raise Refused(51002, "Location51002", f"Role '{key[1]}' already exists")
        self.roles[key] = {"privileges": command["privileges"],
                           "roles": self.full(command["roles"], key[0])}

    def do_dropRole(self, command):
        self.role_of(command, "dropRole")
        key = (command["$db"], command["dropRole"])
        del self.roles[key]
        for one in [*self.users.values(), *self.roles.values()]:
            one["roles"] = [r for r in one["roles"] if (r["db"], r["role"]) != key]

    def grant(self, holder, command):
        for one in self.full(command["roles"], command["$db"]):
            if (one["db"], one["role"]) not in self.roles and one["db"] != "admin":
                raise Refused(31, "RoleNotFound", f"Could not find role: {one['role']}")
            if one not in holder["roles"]:
                holder["roles"].append(one)

    def revoke(self, holder, command):
        taken = self.full(command["roles"], command["$db"])
        holder["roles"] = [one for one in holder["roles"] if one not in taken]

    def do_grantRolesToUser(self, command):
        self.grant(self.user_of(command, "grantRolesToUser"), command)

    def do_revokeRolesFromUser(self, command):
        self.revoke(self.user_of(command, "revokeRolesFromUser"), command)

    def do_grantRolesToRole(self, command):
        self.grant(self.role_of(command, "grantRolesToRole"), command)

    def do_revokeRolesFromRole(self, command):
        self.revoke(self.role_of(command, "revokeRolesFromRole"), command)

    def do_grantPrivilegesToRole(self, command):
        kept = self.role_of(command, "grantPrivilegesToRole")["privileges"]
        for one in command["privileges"]:
            same = [p for p in kept if p["resource"] == one["resource"]]
            if not same:
                kept.append({"resource": one["resource"], "actions": []})
                same = kept[-1:]
            same[0]["actions"] = sorted({*same[0]["actions"], *one["actions"]})

    def do_revokePrivilegesFromRole(self, command):
        found = self.role_of(command, "revokePrivilegesFromRole")
        for one in command["privileges"]:
            for kept in found["privileges"]:
                if kept["resource"] == one["resource"]:
                    kept["actions"] = [a for a in kept["actions"] if a not in one["actions"]]
        found["privileges"] = [one for one in found["privileges"] if one["actions"]]

    def do_usersInfo(self, command):
        wanted = command["usersInfo"]
        exact = isinstance(wanted, dict) and "user" in wanted
        users = []
        for (database, name), user in self.users.items():
            if wanted == 1 and database != command["$db"]:
                continue
            if exact and (wanted["db"], wanted["user"]) != (database, name):
                continue
            users.append({"_id": f"{database}.{name}", "user": name, "db": database,
                          "customData": user["customData"], "roles": user["roles"]})
            if command.get("showAuthenticationRestrictions"):
                if not exact:
                    raise Refused(20, "IllegalOperation", "Privilege or restriction details "
                                  "require exact-match usersInfo queries")
                users[-1]["authenticationRestrictions"] = user["authenticationRestrictions"]
        return {"users": users}

    def do_rolesInfo(self, command):
        return {"roles": [
            {"role": name, "db": database, "isBuiltin": False, "roles": one["roles"],
             "inheritedRoles": one["roles"], "privileges": one["privileges"]}
            for (database, name), one in self.roles.items() if database == command["$db"]]}
