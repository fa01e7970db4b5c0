# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server in a temporary folder, on a Unix socket and a free port of loopback."""
import glob
import os
import pathlib
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

TIMEOUT_S = 60


class Missing(Exception):
    """The server cannot be had here, and why."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Postgres:
    """One cluster. Commits are not synced to the disk unless `durable`: tests kill processes, not
    machines."""

    def __init__(self, durable=False, settings=()):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
        if not found:
            raise Missing("PostgreSQL (package postgresql)")
        self.bin = pathlib.Path(found[-1]).parent
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="daybook-postgres-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self.process = None
        # It refuses to run as root.
        self.user = "postgres" if os.getuid() == 0 else None
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                  "--no-sync")
        lines = [f"port = {self.port}", "listen_addresses = '127.0.0.1'",
                 f"unix_socket_directories = '{self.folder}'", "shared_buffers = 32MB",
                 "max_connections = 60", "log_min_messages = fatal",
                 "fsync = " + ("on" if durable else "off"), *settings]
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as config:
            config.write("\n".join(lines) + "\n")
        self.start()

    def _command(self, program, *arguments):
        words = [str(self.bin / program), *[str(a) for a in arguments]]
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--clear-groups",
                *words] if self.user else words

    def _run(self, program, *arguments):
        subprocess.run(self._command(program, *arguments), check=True, capture_output=True,
                       timeout=TIMEOUT_S, cwd=self.folder)

    def start(self):
        """After a kill the last of its processes may still hold what a new one needs."""
        for attempt in range(20):
            try:
                self._run("pg_ctl", "-D", self.data, "-w", "-t", TIMEOUT_S, "-l",
                          self.folder / "log", "start")
                return
            except subprocess.CalledProcessError:
                if attempt == 19:
                    raise
                time.sleep(0.2)

    def stop(self, how="fast"):
        self._run("pg_ctl", "-D", self.data, "-w", "-m", how, "stop")

    def kill(self):
        """As the power does: the postmaster and all its children."""
        pid = int((self.data / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        children = []
        for status in glob.glob("/proc/[0-9]*/stat"):
            try:
                fields = pathlib.Path(status).read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                children.append(status.split("/")[2])
        for one in [str(pid), *children]:
            try:
                os.kill(int(one), signal.SIGKILL)
            except ProcessLookupError:
                pass
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def close(self):
        try:
            self.stop("immediate")
        except subprocess.CalledProcessError:
            pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def connection(self, database="postgres", port=None, user="postgres"):
        """A connection string, over TCP."""
        return f"host=127.0.0.1 port={port or self.port} user={user} dbname={database}"

    def sql(self, text, database="postgres"):
        """Runs SQL by psql; rows as lists of texts."""
        result = subprocess.run(
            ["psql", "-X", "-q", "-At", "-F", "\t", "-v", "ON_ERROR_STOP=1",
             self.connection(database), "-c", text],
            capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if result.returncode != 0:
            raise AssertionError(result.stderr)
        return [line.split("\t") for line in result.stdout.splitlines()]

    def ask_password(self, role, password):
        """Makes a role that is let in with its password alone."""
        self.sql(f"SET password_encryption = 'scram-sha-256'; "
                 f"CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{password}'")
        rules = self.data / "pg_hba.conf"
        rules.write_text(f"host all {role} 127.0.0.1/32 scram-sha-256\n" +
                         rules.read_text(encoding="utf-8"), encoding="utf-8")
        self.sql("SELECT pg_reload_conf()")

    def create(self, database):
        self.sql(f'CREATE DATABASE "{database}"')
        return self.connection(database)


class SaysVersion:
    """What a server says when somebody logs in, of whatever version. All that it is asked for then
    is done, without a result."""

    def __init__(self, version):
        self.version = version
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def connection(self):
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    @staticmethod
    def message(kind, data):
        return kind + struct.pack(">I", len(data) + 4) + data

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        ready = self.message(b"Z", b"I")
        with client, client.makefile("rb") as stream:
            while head := stream.read(8):
                size, code = struct.unpack(">II", head)
                stream.read(size - 8)
                if code not in (80877103, 80877104):  # TLS, GSSAPI
                    break
                client.sendall(b"N")
            client.sendall(self.message(b"R", bytes(4)) + b"".join(
                self.message(b"S", f"{key}\0{value}\0".encode()) for key, value in
                [("server_version", self.version), ("client_encoding", "UTF8"),
                 ("standard_conforming_strings", "on")]) + ready)
            while head := stream.read(5):
                stream.read(struct.unpack(">I", head[1:])[0] - 4)
                if head[:1] in b"QS":
                    client.sendall(self.message(b"C", b"SET\0") + ready)
