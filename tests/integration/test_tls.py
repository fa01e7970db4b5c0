# SPDX-License-Identifier: Apache-2.0
"""TLS: with a certificate of a CA that the test makes, what is spoken and what is refused; another
certificate without an answer lost; and nothing beyond loopback without TLS and keys."""
import http.client
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse

import pytest
from conftest import TIMEOUT_S, clean_environment, missing


EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)


class Authority:
    """A CA, and certificates of it."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        self.ca = folder / "ca.pem"
        openssl(folder, "req", "-x509", *EC, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
                "-subj", "/CN=test CA",
                "-addext", "basicConstraints=critical,CA:TRUE",
                "-addext", "keyUsage=critical,keyCertSign")

    def certificate(self, name, names="IP:127.0.0.1,DNS:localhost", days="2"):
        """(certificate, key), as paths."""
        openssl(self.folder, "req", *EC, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
                f"/CN={name}")
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        openssl(self.folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey",
                "ca.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", days, "-extfile",
                f"{name}.ext")
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def context(self, **settings):
        context = ssl.create_default_context(cafile=self.ca)
        for name, value in settings.items():
            setattr(context, name, value)
        return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    if shutil.which("openssl") is None:
        missing("openssl")
    return Authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture
def pair(authority, tmp_path):
    """Certificate and key that a test may exchange."""
    for source, name in zip(authority.certificate("server"), ("in-use.pem", "in-use.key")):
        shutil.copy(source, tmp_path / name)
    return tmp_path / "in-use.pem", tmp_path / "in-use.key"


def flags(pair):
    return "--tls-certificate", str(pair[0]), "--tls-key", str(pair[1])


@pytest.fixture
def secure(bank, serve, authority, pair):
    server = serve(bank, *flags(pair))
    server.context = authority.context()
    server.files = pair
    return server


def shake_hands(server, context):
    """The certificate that a new connection is given, and what is spoken."""
    place = urllib.parse.urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname=place.hostname) as wrapped:
            return wrapped.getpeercert()["serialNumber"], wrapped.version()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TLS 1.1
def test_what_is_spoken_and_what_is_refused(secure, authority):
    assert secure.url.startswith("https://127.0.0.1:")
    event = {"type": "Made", "data": {"text": "x" * 200000}}
    assert secure.post("/streams/account-1", [event] * 20).status == 201
    lines = secure.get("/events", headers={"Accept": "application/x-ndjson"}).lines
    assert [one["data"] for one in lines] == [event["data"]] * 20
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = authority.context(minimum_version=version, maximum_version=version)
        assert shake_hands(secure, context)[1] == version.name.replace("_", ".")
    old = authority.context()
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shake_hands(secure, old)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(secure, ssl.create_default_context())
    # Without TLS there is no answer, and those with it go on.
    place = urllib.parse.urlsplit(secure.url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not plain.recv(100).startswith(b"HTTP")
    assert secure.get("/healthz", headers={"Origin": "https://localhost:1"}).status == 200
    assert secure.get("/healthz", headers={"Origin": "https://example.com"}).status == 403


def refused(book, *arguments):
    """Why serve does not start."""
    answer = subprocess.run(book.command("serve", *arguments), capture_output=True, text=True,
                            timeout=TIMEOUT_S, check=False, env=clean_environment())
    assert answer.returncode in (1, 5), answer
    return answer.stderr


def test_files_that_are_no_good_are_named(bank, authority, tmp_path):
    certificate, key = authority.certificate("good")
    other = authority.certificate("other")
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    locked = tmp_path / "locked.key"
    openssl(tmp_path, "pkey", "-in", str(key), "-aes256", "-passout", "pass:x", "-out", str(locked))
    long = tmp_path / "long.pem"
    long.write_text(certificate.read_text() * 17)
    past = authority.certificate("past", days="0")  # good until it was made
    time.sleep(1)
    for one, two, what in (
            (tmp_path / "none.pem", key, "none.pem"),
            (certificate, tmp_path / "none.key", "none.key"),
            (text, key, "text.pem is no certificate"),
            (certificate, text, "text.pem is no private"),
            (key, key, "good.key is no certificate"), (certificate, locked, "under a password"),
            (certificate, other[1], "other.key is not that of the certificate in"),
            (long, key, "17 certificates"), (*past, "was good until")):
        assert what in refused(bank, "--listen", "127.0.0.1:0", *flags((one, two))), what
    assert "together" in refused(bank, "--tls-key", str(key))
    assert "together" in refused(bank, "--tls-certificate", str(certificate))


def wait_for(what):
    end = time.monotonic() + TIMEOUT_S
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_another_certificate_without_downtime(secure, authority):
    """Threads ask on new connections and on kept ones all the while; a tail that began with the
    first certificate gets what comes after the third."""
    place = urllib.parse.urlsplit(secure.url)
    stop, counts, failures = threading.Event(), [0, 0], []

    def ask(kept):
        connection = None
        while not stop.is_set():
            try:
                if connection is None or not kept:
                    connection = http.client.HTTPSConnection(place.netloc, timeout=30,
                                                             context=secure.context)
                connection.request("GET", "/healthz")
                if connection.getresponse().read():
                    counts[kept] += 1
                if not kept:
                    connection.close()
            except (OSError, http.client.HTTPException) as why:
                failures.append(why)
                connection = None

    tail = http.client.HTTPSConnection(place.netloc, timeout=60, context=secure.context)
    tail.request("GET", "/events?after=now", headers={"Accept": "text/event-stream"})
    answer = tail.getresponse()
    threads = [threading.Thread(target=ask, args=(kept,)) for kept in (0, 0, 1)]
    for thread in threads:
        thread.start()
    try:
        serials = [shake_hands(secure, secure.context)[0]]
        for name in ("second", "third"):
            for source, target in zip(authority.certificate(name), secure.files):
                shutil.copy(source, target)
            before = counts[0]
            secure.process.send_signal(signal.SIGHUP)
            wait_for(lambda: shake_hands(secure, secure.context)[0] != serials[-1])
            serials.append(shake_hands(secure, secure.context)[0])
            wait_for(lambda: counts[0] > before + 10)
        # What is not good changes nothing, and is told.
        secure.files[0].write_text("no certificate")
        secure.process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert shake_hands(secure, secure.context)[0] == serials[-1]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failures and len(set(serials)) == 3 and min(counts) > 20
    assert secure.post("/streams/account-1", {"type": "Late", "data": {}}).status == 201
    assert any(b"Late" in answer.readline() for _ in range(6))
    tail.close()
    process = secure.process
    assert secure.stop() == 0
    assert process.returncode == 0


def is_served(server, headers):
    try:
        return server.get("/events?category=account", headers=headers).status == 200
    except (OSError, urllib.error.URLError):
        return False


def test_beyond_loopback_only_with_tls_and_keys(bank, serve, authority, pair):
    text = refused(bank, "--listen", "0.0.0.0:0")
    assert "--tls-certificate" in text and "127.0.0.1" in text and "proxy" in text
    text = refused(bank, "--listen", "0.0.0.0:0", *flags(pair))
    assert "daybook access add" in text and "127.0.0.1" in text and "proxy" in text
    assert "no address" in refused(bank, "--listen", "example.com:0")
    key = bank.json("access", "add", "anna", "--scope", "read:account")["secret"]
    assert "--tls-certificate" in refused(bank, "--listen", "0.0.0.0:0")
    server = serve(bank, "--listen", "0.0.0.0:0", *flags(pair))
    server.context = authority.context()
    server.url = server.url.replace("0.0.0.0", "127.0.0.1")
    assert server.get("/events?category=account", local=False).status == 401
    headers = {"Authorization": f"Bearer {key}", "Host": "books.example.com"}
    assert server.get("/events?category=account", headers=headers).status == 200
    assert server.get("/streams/note-1", headers=headers).status == 403
    # One address has a quarter of the connections, and leaves the others to others.
    port = int(server.url.rsplit(":", 1)[1])
    held = [socket.create_connection(("127.0.0.1", port), TIMEOUT_S) for _ in range(128)]
    more = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
    try:
        assert more.recv(1) == b""
    except ConnectionResetError:
        pass
    other = socket.create_connection(("127.0.0.1", port), TIMEOUT_S,
                                     source_address=("127.0.0.2", 0))
    other.settimeout(0.3)
    with pytest.raises(TimeoutError):
        other.recv(1)
    for one in (*held, more, other):
        one.close()
    end = time.monotonic() + TIMEOUT_S
    while not is_served(server, headers) and time.monotonic() < end:
        time.sleep(0.05)
    assert is_served(server, headers)


@pytest.fixture
def ask(binary, secure, authority):
    """ask(words..., status=0): a command that asks the secure server by its URL."""

    def run(*words, status=0, ca=authority.ca, url=secure.url, text_in=None, environment=()):
        command = [str(binary), *words, "--url", url, *(["--ca", str(ca)] if ca else [])]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, input=text_in,
                                timeout=TIMEOUT_S, env=clean_environment() | dict(environment))
        assert answer.returncode == status, answer
        return answer.stdout if status == 0 else answer.stderr

    return run


def test_commands_ask_a_server_by_its_url(ask, secure, authority, tmp_path, bank):
    ask("append", "account-1", "Made", '{"text": "first"}')
    assert secure.post("/events", {"events": [
        {"stream": f"account-{n % 50}", "type": "Made", "data": {"n": n, "text": "x" * 300}}
        for n in range(3000)]}).status == 201
    assert ask("read", "-o", "jsonl").count("\n") == 3001
    assert "first" in ask("read", ca=None, environment={"DAYBOOK_CA": str(authority.ca)})
    # With a key, out of a file that an editor has written.
    secret = bank.json("access", "add", "eve", "--scope", "read:account")["secret"]
    assert "unauthorized" in ask("read", "-o", "json", status=5)
    file = tmp_path / "eve.key"
    file.write_text(secret + "\n")
    assert "first" in ask("read", "--category", "account", "--key-file", str(file))
    assert "first" in ask("read", "--category", "account",
                          environment={"DAYBOOK_KEY_FILE": str(file)})
    denied = ask("append", "account-1", "Made", "{}", "--key-file", str(file), status=5)
    assert "append:account" in denied
    # Over the socket, too, instead of this machine's operator's.
    assert "append:account" in bank.run("append", "account-1", "Made", "{}", "--key-file",
                                        str(file), status=5).errors


def test_whom_commands_do_not_ask(ask, secure, authority, tmp_path, bank):
    text = tmp_path / "text"
    text.write_text("no key")
    good = tmp_path / "good.key"
    good.write_text("dbk_" + "a" * 12 + "_" + "b" * 43)
    assert "issuer is unknown" in ask("read", status=3, ca=None)
    assert "no certificates" in ask("read", status=1, ca=text)
    assert "none.pem" in ask("read", status=1, ca=tmp_path / "none.pem")
    assert "holds no API key" in ask("read", "--key-file", str(text), status=1)
    assert "none.key" in ask("read", "--key-file", str(tmp_path / "none.key"), status=1)
    assert "https://" in ask("read", "--key-file", str(good), status=5,
                             url="http://books.example.com")
    assert "no server's URL" in ask("read", status=1, url=secure.url + "/events")
    assert "--book" in ask("read", "--book", str(bank.folder), status=1)
    assert "`daybook check` works on a book's files" in ask("check", status=1)
    assert ask("read", status=3, url="https://127.0.0.1:1")
    assert ask("read", status=3, url=secure.url.replace("https", "http"))
    # A certificate for another name.
    for source, target in zip(authority.certificate("far", "DNS:books.example.com"), secure.files):
        shutil.copy(source, target)
    secure.process.send_signal(signal.SIGHUP)
    relaxed = authority.context(check_hostname=False)
    wait_for(lambda: ("DNS", "books.example.com") in peer_names(secure, relaxed))
    assert "name in the certificate does not match" in ask("read", status=3)


def peer_names(server, context):
    place = urllib.parse.urlsplit(server.url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
            return wrapped.getpeercert()["subjectAltName"]


def test_a_tail_over_tls_ends_with_a_signal(binary, secure, authority):
    process = subprocess.Popen(
        [str(binary), "tail", "--after", "0", "--url", secure.url, "--ca", str(authority.ca), "-o",
         "jsonl"], stdout=subprocess.PIPE, text=True, env=clean_environment())
    try:
        assert secure.post("/streams/account-1", {"type": "Made", "data": {}}).status == 201
        assert '"Made"' in process.stdout.readline()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
