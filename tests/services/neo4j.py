# SPDX-License-Identifier: Apache-2.0
"""A Neo4j server (Community 5.26) in a temporary folder, over HTTP on a free port of loopback.

It comes by Maven and needs Java 17 and mvn; what was fetched is kept in ~/.cache/daybook-tests.
"""
import base64
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from services.postgres import Missing, free_port

VERSION = "5.26.0"
TIMEOUT_S = 90
FETCH_TIMEOUT_S = 900
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>daybook.tests</groupId><artifactId>neo4j</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.neo4j.app</groupId><artifactId>neo4j-server</artifactId>
      <version>%(version)s</version></dependency>
    <dependency><groupId>org.neo4j</groupId><artifactId>neo4j</artifactId>
      <version>%(version)s</version></dependency>
  </dependencies>
</project>
"""
OPENED = [f"--add-opens=java.base/{package}=ALL-UNNAMED"
          for package in ("java.lang", "java.nio", "java.io", "sun.nio.ch")]


def jars():
    """The server's classes. They appear whole or not at all; Maven goes on where it was cut."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    folder = cache / "daybook-tests" / "neo4j" / VERSION
    if folder.is_dir():
        return folder
    for program, package in (("java", "default-jre-headless"), ("mvn", "maven")):
        if shutil.which(program) is None:
            raise Missing(f"Neo4j: {program} (package {package})")
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = pathlib.Path(tempfile.mkdtemp(prefix=".making-", dir=folder.parent))
    try:
        (making / "pom.xml").write_text(POM % {"version": VERSION}, encoding="utf-8")
        subprocess.run(["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime",
                        f"-DoutputDirectory={making / 'lib'}"],
                       cwd=making, check=True, capture_output=True, timeout=FETCH_TIMEOUT_S)
        try:
            (making / "lib").rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was faster
                raise
    except (subprocess.SubprocessError, OSError) as why:
        raise Missing(f"Neo4j {VERSION} by Maven: {why}") from why
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


class Neo4j:
    """One server. password: None for a server that asks for none."""

    def __init__(self, password=None, heap_mb=384):
        self.jars = jars()
        self.password = password
        self.heap_mb = heap_mb
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="daybook-neo4j-"))
        self.port = free_port()
        self.process = None
        (self.folder / "conf").mkdir()
        (self.folder / "conf" / "neo4j.conf").write_text("\n".join([
            f"dbms.security.auth_enabled={'true' if password else 'false'}",
            "server.bolt.enabled=false", "server.https.enabled=false", "server.http.enabled=true",
            f"server.http.listen_address=127.0.0.1:{self.port}",
            "server.memory.pagecache.size=32m", "db.tx_log.rotation.size=16M",
            "db.tx_log.preallocate=false", "dbms.usage_report.enabled=false",
            "dbms.security.auth_minimum_password_length=4"]) + "\n", encoding="utf-8")
        try:
            self.start()
            if password:
                self.cypher("ALTER CURRENT USER SET PASSWORD FROM 'neo4j' TO $password",
                            database="system", password="neo4j",
                            parameters={"password": password})
        except BaseException:
            self.close()
            raise

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                ["java", f"-Xmx{self.heap_mb}m", "-XX:+UseSerialGC", *OPENED, "-cp",
                 f"{self.jars}/*", "org.neo4j.server.CommunityEntryPoint",
                 f"--home-dir={self.folder}", f"--config-dir={self.folder / 'conf'}"],
                stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.request("/db/neo4j/tx/commit", {"statements": [{"statement": "RETURN 1"}]})
                return
            except urllib.error.HTTPError as error:
                if error.code in (401, 403):
                    return
            except OSError:
                pass
            time.sleep(0.1)
        tail = (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
        self.kill()
        raise AssertionError("Neo4j did not start: " + tail)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(TIMEOUT_S)

    def kill(self):
        """As the power does."""
        self.process.kill()
        self.process.wait(TIMEOUT_S)

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def connection(self, port=None, database="neo4j", password=None, user="neo4j"):
        """An address, as a book's secret holds it."""
        password = password or self.password
        login = f"{user}:{password}@" if password else ""
        return f"http://{login}127.0.0.1:{port or self.port}/{database}"

    def request(self, path, body, password=None):
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        password = password or self.password
        if password:
            login = base64.b64encode(f"neo4j:{password}".encode()).decode()
            headers["Authorization"] = "Basic " + login
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}",
                                         data=json.dumps(body).encode(), headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
            return json.loads(reply.read())

    def cypher(self, statement, parameters=None, database="neo4j", password=None):
        """Runs one statement; rows as lists."""
        reply = self.request(f"/db/{database}/tx/commit", {"statements": [
            {"statement": statement, "parameters": parameters or {}}]}, password)
        if reply["errors"]:
            raise AssertionError(reply["errors"][0]["message"])
        return [row["row"] for row in reply["results"][0]["data"]]

    def clear(self):
        """An empty database, without constraints and indexes."""
        for name, in self.cypher("SHOW CONSTRAINTS YIELD name"):
            self.cypher(f"DROP CONSTRAINT `{name}`")
        for name, in self.cypher("SHOW INDEXES YIELD name, type WHERE type <> 'LOOKUP' "
                                 "RETURN name"):
            self.cypher(f"DROP INDEX `{name}`")
        self.cypher("MATCH (n) CALL (n) { DETACH DELETE n } IN TRANSACTIONS OF 5000 ROWS")
