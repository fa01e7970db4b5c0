# SPDX-License-Identifier: Apache-2.0
"""bench/peers/run runs the same work on a real PostgreSQL, and leaves nothing behind."""
import glob
import json
import os
import subprocess
import sys

import pytest

from conftest import ROOT, missing


def test_the_same_work_on_postgresql(binary):
    if not glob.glob("/usr/lib/postgresql/*/bin/initdb"):
        missing("postgresql")
    before = set((ROOT / "build").iterdir())
    result = subprocess.run([sys.executable, ROOT / "bench" / "peers" / "run", "--seconds", "1",
                             "--rounds", "1", "--clients", "2", "--peers", "postgres", "-o",
                             "json"], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["missing"] == {}
    assert [row["clients"] for row in report["peers"]] == [2, 2, 2]
    assert all(row["appends_per_second"] > 10 for row in report["peers"])
    assert report["peers"][0]["daybook_is"] == 1 and report["raw_syncs_per_second"] > 0
    assert {path.name for path in before} == {path.name for path in (ROOT / "build").iterdir()}


@pytest.mark.parametrize("words, status, says", [
    (["--peers", "oracle"], 1, "not oracle"),
    (["--clients", "one"], 2, "invalid list of numbers value: 'one'"),
    (["--clients", "1,0"], 2, "0 is not from 1 on"),
    (["--rounds", "0"], 2, "0 is not from 1 on"),
    (["--seconds", "nan"], 2, "nan is not from 1 on"),
    (["--dir", "/dev/null"], 1, "--dir /dev/null is no folder")])
def test_what_is_wrong_is_named(binary, words, status, says):
    result = subprocess.run([sys.executable, ROOT / "bench" / "peers" / "run", *words],
                            capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == status and says in result.stderr, result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_closed_to_the_server_is_named(binary, tmp_path):
    if os.getuid() != 0:
        pytest.skip("only root has to run it as another user")
    if not glob.glob("/usr/lib/postgresql/*/bin/initdb"):
        missing("postgresql")
    closed = tmp_path / "closed"
    (closed / "in").mkdir(parents=True)
    closed.chmod(0o700)
    result = subprocess.run([sys.executable, ROOT / "bench" / "peers" / "run", "--seconds", "1",
                             "--rounds", "1", "--clients", "1", "--peers", "postgres", "--dir",
                             closed / "in"], capture_output=True, text=True, timeout=60,
                            check=False)
    assert "give a folder on the same disk with --dir" in result.stdout, result
