# SPDX-License-Identifier: Apache-2.0
"""A FerretDB server (1.24, MongoDB's protocol on SQLite) in a temporary folder, on a free port of
loopback.

It is a Go module, built once; the program is kept in ~/.cache/daybook-tests. It wants Go 1.22,
which an older one (Debian 12 has 1.19) fetches as a module.
It has no transactions, no sessions to speak of, and no change streams.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time

from services.bson import Client
from services.postgres import Missing, free_port

VERSION = "v1.24.0"
GO = (1, 22)
TOOLCHAIN = "golang.org/toolchain@v0.0.1-go1.22.12.linux-amd64"
MODULE = "github.com/FerretDB/FerretDB"
TIMEOUT_S = 60
BUILD_TIMEOUT_S = 1200


def fetch(module, folder):
    """Where the module's files are."""
    told = subprocess.run(["go", "mod", "download", "-json", module], cwd=folder, check=True,
                          capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    return pathlib.Path(json.loads(told.stdout)["Dir"])


def compiler(folder):
    """A go that is new enough."""
    told = subprocess.run(["go", "env", "GOVERSION"], check=True, capture_output=True, text=True,
                          timeout=TIMEOUT_S).stdout
    found = re.match(r"go(\d+)\.(\d+)", told)
    if found and (int(found[1]), int(found[2])) >= GO:
        return "go"
    tools = folder / "go"
    shutil.copytree(fetch(TOOLCHAIN, folder), tools)
    for path in [*(tools / "bin").iterdir(), *(tools / "pkg" / "tool").rglob("*")]:
        path.chmod(0o755)
    return tools / "bin" / "go"


def make(folder):
    """Builds the program in a folder of its own; the version stands in a file that git makes."""
    go = compiler(folder)
    source = folder / "source"
    shutil.copytree(fetch(f"{MODULE}@{VERSION}", folder), source)
    for path in [source, *source.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    (source / "build" / "version" / "version.txt").write_text(VERSION + "\n", encoding="utf-8")
    subprocess.run([go, "build", "-o", folder / "ferretdb", "./cmd/ferretdb"], cwd=source,
                   check=True, capture_output=True, timeout=BUILD_TIMEOUT_S,
                   env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"})
    return folder / "ferretdb"


def program():
    """The program's path. It appears whole or not at all."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    kept = cache / "daybook-tests" / "ferretdb" / VERSION / "ferretdb"
    if kept.is_file():
        return kept
    if shutil.which("go") is None:
        raise Missing("FerretDB: go (package golang-go)")
    kept.parent.mkdir(parents=True, exist_ok=True)
    making = pathlib.Path(tempfile.mkdtemp(prefix=".making-", dir=kept.parent))
    try:
        os.replace(make(making), kept)
    except (subprocess.SubprocessError, OSError, ValueError) as why:
        raise Missing(f"FerretDB {VERSION} by go: {why}") from why
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return kept


class FerretDB:
    """One server. login: (user, password) for a server that asks for one."""

    def __init__(self, login=None):
        self.program = program()
        self.login = login
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="daybook-ferretdb-"))
        self.port = free_port()
        self.process = None
        self.client = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        login = [] if self.login is None else [
            "--test-enable-new-auth", "--setup-database=admin",
            f"--setup-username={self.login[0]}", f"--setup-password={self.login[1]}"]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "--handler=sqlite", f"--sqlite-url=file:{self.folder}/",
                 f"--listen-addr=127.0.0.1:{self.port}", "--telemetry=disable", "--debug-addr=-",
                 f"--state-dir={self.folder}", *login], stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.client = Client(self.port)
                self.client.command({"hello": 1}, "admin")
                return
            except OSError:
                time.sleep(0.05)
        tail = (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
        self.kill()
        raise AssertionError("FerretDB did not start: " + tail)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(TIMEOUT_S)

    def kill(self):
        """As the power does."""
        self.process.kill()
        self.process.wait(TIMEOUT_S)

    def close(self):
        if self.client is not None:
            self.client.close()
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connection(self, port=None, database="documents", login=None):
        """An address, as a book's secret holds it."""
        login = login or self.login
        who = f"{login[0]}:{login[1]}@" if login else ""
        more = "?authSource=admin" if login else ""
        return f"mongodb://{who}127.0.0.1:{port or self.port}/{database}{more}"

    def command(self, command, database="documents"):
        """Runs a command; what the server refuses is an error."""
        try:
            reply = self.client.command(command, database)
        except OSError:  # of before the server was killed
            self.client = Client(self.port)
            reply = self.client.command(command, database)
        if not reply.get("ok"):
            raise AssertionError(reply)
        return reply

    def find(self, collection, query=None, database="documents"):
        """All documents, the guards of Daybook's left out."""
        reply = self.command({"find": collection, "filter": query or {}, "batchSize": 100000},
                             database)["cursor"]
        assert reply["id"] == 0
        return [{key: value for key, value in document.items() if key != "_daybook"}
                for document in reply["firstBatch"]]

    def collections(self, database="documents"):
        reply = self.command({"listCollections": 1, "nameOnly": True}, database)
        return {one["name"] for one in reply["cursor"]["firstBatch"]}

    def clear(self, database="documents"):
        self.command({"dropDatabase": 1}, database)
