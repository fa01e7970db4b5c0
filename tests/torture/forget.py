# SPDX-License-Identifier: Apache-2.0
"""Forgets a part of the customers of Online Retail, and looks for them in every byte.

    tests/torture/forget.py [--data CSV] [--forget N] [--binary FILE]

The file is imported into examples/shop-personal; read models, views, snapshots, a model as of a
time and parked events are made of it, and a backup is taken. Then N subjects are forgotten, one
request each, the last one with now=true. Afterwards no file of the data directory may tell one of
the names or addresses of these, and every other one must be told; sales are what they were, and the
book verifies.
"""
import argparse
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "integration"))
from conftest import Book, Server  # noqa: E402

MARKER = re.compile(rb"Nadia <(\d+)> Novak|Elm <(\d+)> Road")


def told(folder):
    """Of whom some byte in the folder tells."""
    found = set()
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file():
            for match in MARKER.finditer(path.read_bytes()):
                found.add((match.group(1) or match.group(2)).decode())
    return found


def say(what, begun=None, **figures):
    took = "" if begun is None else f" in {time.monotonic() - begun:.2f} s"
    print(what + took + "".join(f", {key} {value}" for key, value in figures.items()), flush=True)


def decompress(path, folder):
    if path.suffix != ".zst":
        return path
    plain = folder / "orders.csv"
    subprocess.run(["zstd", "-dqf", str(path), "-o", str(plain)], check=True)
    return plain


def park(server, count):
    """Parks events, each for a reason that tells the name."""
    server.request("PUT", "/groups/mailer",
                   {"types": ["OrderPlaced"], "timeout": "1 h", "window": 10000})
    parked = 0
    while parked < count:
        events = server.post("/groups/mailer/read?limit=500").json["events"]
        for event in events:
            answer = server.post("/groups/mailer/nack", {
                "positions": [event["position"]], "action": "park",
                "reason": "no such person: " + event["data"]["customer_name"]})
            assert answer.status == 200, answer
        parked += len(events)
        if not events:
            break
    return parked


def use(book, server):
    customers = server.post("/sql", {"sql": "select customer_id from customers"}).json["rows"]
    for view in ("country_sales", "best_customers"):
        assert server.post(f"/views/{view}/refresh", timeout=600).status == 200
    streams = server.post("/sql", {"sql": "select distinct stream from events where version = 8 "
                                          "limit 1500"}, timeout=600).json["rows"]
    for row in streams:
        server.get(f"/streams/{row['stream']}/state")
    book.run("model", "as-of", "customers", "2100-01-01")
    say("used", snapshots=len(list((book.data / "snapshots").iterdir())),
        parked=park(server, 2000))
    return sorted(row["customer_id"] for row in customers)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path,
                        default=ROOT.parent / "shared" / "data" / "online-retail.csv.zst")
    parser.add_argument("--forget", type=int, default=1000)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build" / "daybook")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="daybook-forget-"))
    book = Book(options.binary, ROOT / "examples" / "shop-personal", folder / "data")
    source = decompress(options.data, folder)
    begun = time.monotonic()
    subprocess.run(book.command("import", source, "--as", "online_retail"), check=True,
                   stdout=subprocess.DEVNULL)
    say("imported", begun)
    server = Server(book)
    try:
        last = server.get("/events?backwards=true&limit=1").json["events"][0]["position"]
        for model in ("customers", "mailing", "labels"):
            answer = server.get(f"/models/{model}/tables/{model}?after={last}&limit=1"
                                "&timeout_ms=300000", timeout=400)
            assert answer.status == 200, answer
        customers = use(book, server)
        sales = server.get("/views/country_sales").json["rows"]
        backup = folder / "backup"
        book.run("backup", backup)
        assert told(book.data) == set(customers)
        forgotten = set(random.Random(5).sample(customers, options.forget))
        order = sorted(forgotten)
        times = []
        for customer in order[:-1]:
            begun = time.monotonic()
            answer = server.post(f"/subjects/{customer}/forget")
            times.append(time.monotonic() - begun)
            assert answer.status == 202, answer
        times.sort()
        say(f"forgot {len(order)} of {len(customers)}",
            median_ms=round(times[len(times) // 2] * 1e3, 1),
            p99_ms=round(times[len(times) * 99 // 100] * 1e3, 1),
            longest_ms=round(times[-1] * 1e3, 1))
        begun = time.monotonic()
        answer = server.post(f"/subjects/{order[-1]}/forget?now=true", timeout=3000)
        assert answer.status == 200 and answer.json["state"] == "final", answer
        say("all final", begun)
        listed = server.get("/forgotten", timeout=600).json
        assert len(listed["forgotten"]) == len(order) and listed["waiting"] == 0, listed["waiting"]
        assert all(one["state"] == "final" and one["ciphertext_removed"]
                   for one in listed["forgotten"])
        assert server.get("/views/country_sales").json["rows"] == sales
        assert server.post("/views/country_sales/refresh", timeout=600).status == 200
        assert server.get("/views/country_sales").json["rows"] == sales
    finally:
        server.stop()
    begun = time.monotonic()
    left = told(book.data)
    size = sum(path.stat().st_size for path in book.data.rglob("*") if path.is_file())
    say("searched", begun, bytes=size, told=len(left), forgotten_told=len(left & forgotten))
    assert left == set(customers) - forgotten, sorted(left & forgotten)[:5]
    begun = time.monotonic()
    book.run("verify")
    subprocess.run([str(options.binary.parent / "daybook-verify"), str(book.data)], check=True,
                   stdout=subprocess.DEVNULL)
    say("verified, twice", begun)
    shutil.rmtree(folder)


if __name__ == "__main__":
    os.nice(5)
    main()
