# SPDX-License-Identifier: Apache-2.0
"""A bounded share of `make torture`: kills, tampering; and that mutations find their places."""
import json
import random
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


def test_a_shop_in_every_database(binary, tmp_path):
    """The same sales everywhere, and what was also bought is the same in a graph as in SQL."""
    chance = random.Random(8)
    rows = [f"{536365 + number // 5},{chance.choice(['85123A', '71053', '22139', '21730'])},MUG,"
            f"{chance.randint(1, 9)},2010-12-01 08:26:00,{chance.randint(1, 9999) / 1000},17850,"
            f"{chance.choice(['France', 'EIRE', 'Norway'])}" for number in range(1500)]
    (tmp_path / "orders.csv").write_text(
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n" +
        "\n".join(rows) + "\n", encoding="utf-8")
    result = subprocess.run([sys.executable, TORTURE / "retail.py", "--data",
                             tmp_path / "orders.csv", "--binary", binary], capture_output=True,
                            text=True, timeout=300, check=False)
    if result.returncode == 2:
        missing(result.stdout.splitlines()[-1])
    assert result.returncode == 0, result.stdout + result.stderr
    assert "all have the same totals, countries 3" in result.stdout


def test_checkouts_across_three_services(binary, tmp_path):
    """No order is half done, and stock, credit and money add up, whatever is killed and cut."""
    result = subprocess.run([sys.executable, TORTURE / "checkout.py", "--checkouts", "100",
                             "--window", "50", "--seed", "11", "--kill-every", "1.5", "--binary",
                             binary, "--dir", tmp_path], capture_output=True, text=True,
                            timeout=300, check=False)
    if result.returncode == 2:
        missing(result.stderr.splitlines()[-1])
    assert result.returncode == 0, result.stdout + result.stderr
    told = json.loads(result.stdout)
    assert told["confirmed"] + told["undone"] == 100
    assert told["undone"] > 5 and told["cuts"] > 5 and told["updates_again"] > 0


def test_mutations_find_their_places():
    result = subprocess.run([sys.executable, TORTURE / "mutations.py", "--check"],
                            capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
