# SPDX-License-Identifier: Apache-2.0
"""bench/peers/run runs the same work on a real PostgreSQL, and leaves nothing behind."""
import glob
import json
import subprocess
import sys

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


def test_unknown_peers_are_named():
    result = subprocess.run([sys.executable, ROOT / "bench" / "peers" / "run", "--peers", "oracle"],
                            capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1 and "not oracle" in result.stderr
