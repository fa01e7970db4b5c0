# SPDX-License-Identifier: Apache-2.0
"""A bounded share of `make torture`: kills, tampering; and that mutations find their places."""
import json
import subprocess
import sys

from conftest import ROOT, missing

TORTURE = ROOT / "tests" / "torture"


def test_a_storm_of_kills(binary):
    result = subprocess.run([sys.executable, TORTURE / "storm.py", "--kills", "60", "--parallel",
                             "2", "--seed", "3", "--daybook", binary], capture_output=True,
                            text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    counts = json.loads(result.stdout.splitlines()[-1])
    assert counts["kills"] >= 60 and counts["recovery_kills"] > 0
    assert counts["acknowledged"] > 100 and counts["read"] > 100


def test_tampering_is_noticed(binary):
    if not (binary.parent / "tests" / "torture" / "tamper_book").exists():
        missing("tests/torture/tamper_book")
    result = subprocess.run([sys.executable, TORTURE / "tamper.py", "--build", binary.parent,
                             "--count", "150", "--seed", "7"], capture_output=True, text=True,
                            timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_mutations_find_their_places():
    result = subprocess.run([sys.executable, TORTURE / "mutations.py", "--check"],
                            capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
