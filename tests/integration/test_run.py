# SPDX-License-Identifier: Apache-2.0
"""./run builds what is there already, serves the shop, and places orders; what it installs."""
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


def test_run_installs_what_dpkg_only_knows_of(tmp_path):
    """`not-installed` is a status of packages that something else recommends."""
    query = tmp_path / "dpkg-query"
    query.write_text("""#!/bin/sh
for format in "$@"; do case "$format" in *Status*) break ;; esac; done
for line in "installed gcc" "not-installed meson" "installed ninja-build-extra"; do
    echo "$format" |
        sed -e "s/-f=//" -e "s/\\${db:Status-Status} \\${Package}/$line/" -e 's/\\\\n//'
done
""", encoding="utf-8")
    query.chmod(0o755)
    result = subprocess.run(
        ["bash", "-c", ". tools/need.sh; missing_of gcc meson ninja-build"], cwd=ROOT, text=True,
        capture_output=True, timeout=60, check=True,
        env=clean_environment() | {"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert result.stdout.split() == ["meson", "ninja-build"]
