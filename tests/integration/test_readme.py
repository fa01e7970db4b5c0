# SPDX-License-Identifier: Apache-2.0
"""Each fenced block of README.md does what it says, in the order in which a reader pastes them.

`sh` blocks run in one shell session (what they export and start goes on), `python` and `js` blocks
as files of their own. A `text` block is what the block before it prints. The port is exchanged for
a free one.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from conftest import ROOT, clean_environment, missing

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PORT = "4170"
TIMEOUT_S = 60


class Session:
    """A folder that looks like the repository, and what the blocks so far left behind."""

    def __init__(self, folder, binary, port):
        self.folder = folder
        self.port = str(port)
        self.printed = ""
        self.pids = []
        (folder / "build").mkdir()
        (folder / "build" / "daybook").symlink_to(binary)
        for name in ("bank", "checkout", "feed", "shop", "shop-personal", "shop-relational",
                     "shop-services"):
            shutil.copytree(ROOT / "examples" / name, folder / "examples" / name,
                            ignore=shutil.ignore_patterns("data"))
        (folder / ".env").write_text("")

    def run(self, arguments):
        """Runs it with its output in a file, which what it leaves running may keep open."""
        with open(self.folder / ".out", "w+", encoding="utf-8") as out:
            result = subprocess.run(arguments, cwd=self.folder, env=clean_environment(), stdout=out,
                                    stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=False)
            out.seek(0)
            self.printed = out.read()
        assert result.returncode == 0, self.printed

    def sh(self, text):
        script = f". ./.env\n{text}\njobs -p > .pids\nexport -p > .env\n"
        try:
            self.run(["bash", "-euo", "pipefail", "-c", script])
        finally:
            pids = self.folder / ".pids"
            if pids.exists():
                self.pids += [int(pid) for pid in pids.read_text().split()]

    def script(self, program, suffix, text):
        (self.folder / f"block{suffix}").write_text(text, encoding="utf-8")
        self.run([program, f"block{suffix}"])

    def end(self):
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass


@pytest.fixture(scope="module")
def session(binary, tmp_path_factory):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    session = Session(tmp_path_factory.mktemp("readme"), binary.resolve(), port)
    yield session
    session.end()


def test_readme_has_blocks_of_each_kind():
    kinds = {kind for kind, _ in BLOCKS}
    assert {"sh", "python", "js"} <= kinds
    assert kinds <= {"sh", "python", "js", "text"}


@pytest.mark.parametrize("index", range(len(BLOCKS)),
                         ids=[f"{i}-{kind}" for i, (kind, _) in enumerate(BLOCKS)])
def test_block(session, index):
    kind, text = BLOCKS[index]
    text = text.replace(PORT, session.port)
    if kind == "sh":
        session.sh(text)
    elif kind == "python":
        session.script(sys.executable, ".py", text)
    elif kind == "js":
        if shutil.which("node") is None:
            missing("node")
        session.script("node", ".mjs", text)
    else:
        assert session.printed.rstrip() == text.rstrip()
