# SPDX-License-Identifier: Apache-2.0
"""What integration tests share: the binary, a fresh data directory, and a running server.

The binary is build/daybook, or what DAYBOOK_BINARY names. Where it is not built the tests are
skipped; with CI=true they fail.
"""
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))  # for tests/services
BANK = ROOT / "examples" / "bank"
SHOP = ROOT / "examples" / "shop"
TIMEOUT_S = 60


def missing(what):
    """Skips a test for want of something, which in CI is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not here")
    pytest.skip(f"{what} is not here")


def clean_environment():
    """The environment without what would lead the binary to somebody's book."""
    return {key: value for key, value in os.environ.items() if not key.startswith("DAYBOOK_")}


def killed_at(library, command, number, count=None):
    environment = clean_environment() | {"LD_PRELOAD": str(library), "KILL_AT": str(number)}
    if count is not None:
        environment["KILL_COUNT"] = str(count)
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False,
                          env=environment)


class Answer:
    """What a run of the binary or a request gave: status, text, and the text as JSON."""

    def __init__(self, status, text, errors="", headers=None):
        self.status = status
        self.text = text
        self.errors = errors
        self.headers = headers

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def lines(self):
        """Each line as JSON, as -o jsonl gives them."""
        return [json.loads(line) for line in self.text.splitlines()]

    def __repr__(self):
        return f"status {self.status}\n{self.text}{self.errors}"


class Book:
    """A book of the repository with a data directory of its own."""

    def __init__(self, binary, folder, data):
        self.binary = binary
        self.folder = folder
        self.data = data

    def command(self, *arguments):
        words = [str(a) for a in arguments]
        end = words.index("--") if "--" in words else len(words)
        return [str(self.binary), *words[:end], "--book", str(self.folder), "--data",
                str(self.data), *words[end:]]

    def run(self, *arguments, status=0, text_in=None):
        """Runs a command on the book; its exit status must be as expected (None: any)."""
        result = subprocess.run(self.command(*arguments), input=text_in, text=True,
                                capture_output=True, timeout=TIMEOUT_S, check=False,
                                env=clean_environment())
        answer = Answer(result.returncode, result.stdout, result.stderr)
        assert status in (None, result.returncode), answer
        return answer

    def json(self, *arguments, status=0, text_in=None):
        return self.run(*arguments, "-o", "json", status=status, text_in=text_in).json


class Server:
    """`daybook serve` on a free port, ended by its pid."""

    context = None  # of TLS

    def __init__(self, book, *arguments):
        self.book = book
        self.process = subprocess.Popen(
            book.command("serve", *([] if "--listen" in arguments
                                    else ["--listen", "127.0.0.1:0"]), "-o", "json", *arguments),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment())
        ready, _, _ = select.select([self.process.stdout], [], [], TIMEOUT_S)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.process.kill()
            raise AssertionError("serve did not start: " + self.process.communicate()[1])
        self.url = json.loads(line)["url"]

    @property
    def pid(self):
        return self.process.pid

    @property
    def key(self):
        """The header with this machine's operator's key, which a book with services asks for."""
        file = pathlib.Path(self.book.data) / "access.key"
        return {"Authorization": f"Bearer {file.read_text()}"} if file.exists() else {}

    def request(self, method, path, body=None, headers=None, timeout=TIMEOUT_S, local=True):
        """One request; every status is an answer, not an exception. local: as this machine's
        operator, where it has no other key."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method,
                                         headers=(self.key if local else {}) | (headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=timeout,
                                        context=self.context) as reply:
                return Answer(reply.status, reply.read().decode(), headers=reply.headers)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode(), headers=error.headers)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.request("POST", path, body, **options)

    def kill(self):
        """As the power does."""
        self.process.kill()
        self.process.communicate()

    def stop(self):
        """Asks it to end, and returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode


@pytest.fixture(scope="session")
def binary():
    path = pathlib.Path(os.environ.get("DAYBOOK_BINARY", ROOT / "build" / "daybook"))
    if not path.exists():
        missing(str(path))
    return path


@pytest.fixture(scope="session")
def kill_at(tmp_path_factory):
    """The library that kills before the n-th call that changes a file."""
    if shutil.which("cc") is None:
        missing("cc")
    library = tmp_path_factory.mktemp("kill") / "kill_at.so"
    source = pathlib.Path(__file__).parent / "kill_at.c"
    subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, source,
                    "-ldl"], check=True, timeout=60)
    return library


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def make_book(binary, data):
    """make_book(folder): that book, with the test's data directory."""
    return lambda folder: Book(binary, folder, data)


@pytest.fixture
def bank(make_book):
    return make_book(BANK)


@pytest.fixture
def shop(make_book):
    return make_book(SHOP)


@pytest.fixture
def serve():
    """serve(book, arguments...): a server on it that the test's end stops."""
    servers = []

    def start(book, *arguments):
        servers.append(Server(book, *arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
