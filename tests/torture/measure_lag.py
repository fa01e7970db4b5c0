# SPDX-License-Identifier: Apache-2.0
"""How far a continuous view over the log is behind while Online Retail is imported.

    tests/torture/measure_lag.py [--data CSV] [--rows N] [--batch N] [--rate N] [--binary FILE]

examples/shop is served with daily_sales_summary as `continuous`, and the file is imported into it.
Every few milliseconds it is asked up to which position the view is; an event's lag is the time from
when it was recorded to the first answer whose position has it. So the asking itself is in it. At
the end the view's rows must be those that the events come to, worked out here. --rate limits the
import to so many rows a second: without, it writes as fast as it can, and the view gets what the
machine has left.
"""
import argparse
import collections
import decimal
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "integration"))
from conftest import Book, Server, clean_environment  # noqa: E402

VIEW = "daily_sales_summary"


def rows_of(path, limit):
    if path.suffix == ".zst":
        with subprocess.Popen(["zstd", "-dc", path], stdout=subprocess.PIPE, text=True) as process:
            for number, line in enumerate(process.stdout):
                if limit and number > limit:
                    process.terminate()
                    return
                yield line
    else:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines):
                if limit and number > limit:
                    return
                yield line


def feed(process, lines, rate):
    begun = time.monotonic()
    for number, line in enumerate(lines):
        process.stdin.write(line)
        if rate and number % 100 == 99:
            process.stdin.flush()
            wait = begun + number / rate - time.monotonic()
            if wait > 0:
                time.sleep(wait)
    process.stdin.close()


def watch(book, server, process, looks):
    """Notes when the view was seen at which position, until all of the import is in it."""
    target = None
    while target is None or looks[-1][1] < target:
        status = server.get(f"/views/{VIEW}/status").json
        looks.append((time.time(), status["position"]))
        if target is None and process.poll() is not None:
            assert process.returncode == 0
            (last,) = book.run("read", "--backwards", "--limit", 1, "-o", "jsonl").lines
            target = last["position"]
        time.sleep(0.004)
    return target


def check(book, events):
    """The view's rows against the events."""
    sums = collections.defaultdict(int)
    for event in events:
        if event["type"] in ("LineAdded", "LineReturned"):
            data = event["data"]
            sums[(event["occurred"][:10], data["country"], data["category"])] += \
                int(decimal.Decimal(str(data["price"])) * 1000) * data["quantity"]
    rows = {(row["date"], row["region"], row["category"]): round(row["sales"] * 1000)
            for row in book.json("view", "read", VIEW, "--limit", 1000000)}
    assert rows == sums, "the view's rows are not what the events come to"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build" / "daybook")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        shutil.copytree(ROOT / "examples" / "shop", folder / "shop")
        file = folder / "shop" / "views" / f"{VIEW}.sql"
        file.write_text(file.read_text().replace("every day at 02:00",
                                                 "continuous\n-- mode: incremental"))
        book = Book(given.binary, folder / "shop", folder / "data")
        server = Server(book)
        begun = time.monotonic()
        process = subprocess.Popen(
            book.command("import", "-", "--as", "online_retail", "--source", "retail", "--batch",
                         given.batch, "--no-wait"),
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=clean_environment())
        looks = []
        feeder = threading.Thread(target=feed, args=(process, rows_of(given.data, given.rows),
                                                     given.rate))
        feeder.start()
        watch(book, server, process, looks)
        feeder.join()
        seconds = time.monotonic() - begun
        events = book.run("read", "-o", "jsonl").lines
        check(book, events)
        status = server.get(f"/views/{VIEW}/status").json
        server.stop()
    lags = []
    at = 0
    for event in events:
        recorded = datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()
        while looks[at][1] < event["position"]:
            at += 1
        lags.append(max(0.0, looks[at][0] - recorded) * 1000)
    lags.sort()
    print(json.dumps({
        "events": len(events), "events_per_s": round(len(events) / seconds),
        "looks": len(looks), "refreshes_seen": len({position for _, position in looks}),
        "last_mode": status["last_mode"], "last_ms": status["duration_ms"],
        "lag_ms": {name: round(lags[min(len(lags) - 1, int(len(lags) * share))], 1)
                   for name, share in (("p50", .5), ("p90", .9), ("p99", .99), ("max", 1))}}))


if __name__ == "__main__":
    main()
