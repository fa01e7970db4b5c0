# SPDX-License-Identifier: Apache-2.0
"""./run builds what is there already, serves the shop, and places orders."""
import subprocess

from conftest import ROOT, clean_environment


def test_run_places_orders_and_says_where_to_look(binary, data):
    assert binary.exists()
    result = subprocess.run(
        ["./run", "--orders", "3", "--rate", "100", "--listen", "127.0.0.1:0", "--data", str(data)],
        cwd=ROOT, text=True, capture_output=True, timeout=300, check=False, env=clean_environment())
    assert result.returncode == 0, result.stdout + result.stderr
    assert "http://127.0.0.1:" in result.stdout
    assert "daybook tail" in result.stdout
    assert "3 orders were placed or cancelled" in result.stdout
