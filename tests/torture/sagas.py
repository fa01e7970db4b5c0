#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checkouts whose steps fail, come twice, come late, while the daemon is killed: are stock and
money exact afterwards?

The payment service is this script's: it refuses, breaks before and behind the charge, and answers
after the saga has given up, at random. What it has charged and refunded by key, and what the book
says of stock and orders, must add up to the unit.

    python3 tests/torture/sagas.py --checkouts 100000 --seed 7
"""
import argparse
import http.client
import http.server
import json
import os
import pathlib
import random
import select
import shutil
import signal
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PRODUCTS = 20
WAIT_S = 600


class Payment:
    """Charges and refunds, each once a key, whatever comes how often."""

    def __init__(self, seed, faults):
        self.random = random.Random(seed)
        self.faults = faults
        self.lock = threading.Lock()
        self.answers = {}
        self.charged = {}
        self.refunded = {}
        self.requests = self.repeated = 0

    def answer(self, path, key, body):
        """(status, reply, seconds to wait before it is sent; negative: the connection is cut)"""
        with self.lock:
            self.requests += 1
            self.repeated += key in self.answers
            dice = self.random.random() if self.faults else 1.0
            if dice < 0.05:
                return 503, {"error": "busy"}, 0
            if key not in self.answers:
                self.answers[key] = self.do(path, body)
            status, reply = self.answers[key]
            if dice < 0.08:
                return status, reply, -1  # done, and nobody hears of it
            if dice < 0.083:
                return status, reply, 2.5  # longer than the step waits
            return status, reply, 0

    def do(self, path, body):
        order = body["order"]
        if path == "/refunds":
            # A refund of what never was charged is no fault, and closes the order for good.
            self.refunded[order] = self.charged.get(order, 0)
            return 200, {"refunded": self.refunded[order]}
        if order in self.refunded or (self.faults and self.random.random() < 0.1):
            return 402, {"error": "declined"}
        assert order not in self.charged, f"{order} is charged twice"
        self.charged[order] = body["amount"]
        return 200, {"charge": f"c-{order}"}


def handler(payment):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key = self.headers["Idempotency-Key"]
            status, reply, wait = payment.answer(self.path, key, body)
            if wait < 0:
                self.close_connection = True
                return
            time.sleep(wait)
            text = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            try:
                self.wfile.write(text)
            except OSError:
                self.close_connection = True

        def log_message(self, *arguments):
            pass

    return Handler


class Listener(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # a daemon that was killed


class Daemon:
    def __init__(self, binary, book):
        self.command = [str(binary), "serve", "--book", str(book), "--listen", "127.0.0.1:0", "-o",
                        "json"]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        ready, _, _ = select.select([self.process.stdout], [], [], 120)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            raise RuntimeError("serve did not start")
        self.port = int(json.loads(line)["url"].rsplit(":", 1)[1])

    def kill(self):
        self.process.kill()
        self.process.communicate()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=120)

    def request(self, method, path, body=None, headers=None):
        """None: the daemon is being killed."""
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            connection.request(method, path, None if body is None else json.dumps(body),
                               headers or {})
            reply = connection.getresponse()
            text = reply.read()
            connection.close()
            return reply.status, json.loads(text)
        except (OSError, http.client.HTTPException, ValueError):
            return None


def insist(daemon, method, path, body=None, headers=None):
    """Repeats until there is an answer: commands carry a key."""
    while (answer := daemon.request(method, path, body, headers)) is None:
        time.sleep(0.05)
    return answer


def order_of(seed, number):
    dice = random.Random(f"{seed}/{number}")
    return {"order": f"o{number}", "sku": f"p{dice.randrange(PRODUCTS)}",
            "count": dice.randint(1, 3), "amount": dice.randint(100, 9999)}


def place(daemon, seed, numbers):
    """Orders as a client appends them: in batches, with ids that make a second time the same."""
    for first in range(numbers.start, numbers.stop, 200):
        events = []
        for number in range(first, min(first + 200, numbers.stop)):
            order = order_of(seed, number)
            events.append({"stream": f"order-{order['order']}", "type": "OrderPlaced",
                           "id": f"{seed:08x}-0000-4000-8000-{number:012x}", "data": order})
        status, answer = insist(daemon, "POST", "/events", {"events": events})
        assert status in (200, 201), answer


def book_for(folder, port):
    book = folder / "book"
    shutil.copytree(ROOT / "examples" / "checkout", book)
    (book / "book.yaml").write_text(f"book: checkout\nschema: off\ncalls:\n"
                                    f"  payment: http://127.0.0.1:{port}\n", encoding="utf-8")
    return book


def open_ones(daemon):
    _, answer = insist(daemon, "GET", "/sagas")
    return answer["sagas"][0]


def storm(daemon, dice, ended, kill_s):
    """Kills and starts the daemon until it is told to end. Returns how often."""
    kills = 0
    while not ended.wait(kill_s * dice.uniform(0.5, 1.5)):
        daemon.kill()
        daemon.start()
        kills += 1
    return kills


def settle(daemon, arguments):
    """Until no instance is open; parked ones are tried again."""
    until = time.monotonic() + WAIT_S + arguments.checkouts / 50
    while time.monotonic() < until:
        totals = open_ones(daemon)
        done = totals["completed"] + totals["compensated"]
        if totals["open"] == 0 and done == arguments.checkouts:
            return totals
        if totals["parked"] == totals["open"] > 0:
            _, answer = insist(daemon, "GET", "/sagas/checkout")
            for one in answer["instances"]:
                insist(daemon, "POST", f"/sagas/checkout/{one['instance']}/retry")
        time.sleep(0.2)
    raise AssertionError(f"not ended in time: {totals}")


def read_events(binary, book, types):
    output = subprocess.run([str(binary), "read", "--book", str(book), "--type", types, "-o",
                             "jsonl"], capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def compare(binary, book, payment, arguments, received):
    """Every order is whole: confirmed, with goods and money; or rejected, with neither."""
    state, reserved, faults, placed_us = {}, {}, [], {}
    took = []
    on_hand = dict(received)
    kinds = "OrderPlaced,OrderConfirmed,OrderRejected,StockReserved,StockReleased"
    for event in read_events(binary, book, kinds):
        data, kind = event["data"], event["type"]
        order = data["order"]
        if kind == "OrderPlaced":
            placed_us[order] = event["time"]
        elif kind in ("OrderConfirmed", "OrderRejected"):
            if order in state:
                faults.append(f"{order} ended twice: {state[order]}, {kind}")
            state[order] = kind
            took.append(seconds(event["time"]) - seconds(placed_us[order]))
        elif kind == "StockReserved":
            if order in reserved:
                faults.append(f"{order} reserved twice")
            reserved[order] = data["count"]
            on_hand[data["sku"]] -= data["count"]
        else:
            if reserved.pop(order, None) != data["count"]:
                faults.append(f"{order} released what it had not reserved")
            on_hand[data["sku"]] += data["count"]
    expected = dict(received)
    for number in range(arguments.checkouts):
        order = order_of(arguments.seed, number)
        name = order["order"]
        money = payment.charged.get(name, 0) - payment.refunded.get(name, 0)
        confirmed = state.get(name) == "OrderConfirmed"
        want = (order["amount"], order["count"]) if confirmed else (0, 0)
        if (money, reserved.get(name, 0)) != want or name not in state:
            faults.append(f"{name}: {state.get(name)}, paid {money}, reserved "
                          f"{reserved.get(name, 0)}, where {want} is due")
        if confirmed:
            expected[order["sku"]] -= order["count"]
    if on_hand != expected:
        faults.append(f"stock is {on_hand}, where {expected} is due")
    return faults, sum(kind == "OrderConfirmed" for kind in state.values()), took


def seconds(text):
    """Of RFC 3339 in UTC; only differences are looked at."""
    day, clock = text.rstrip("Z").split("T")
    hours, minutes, rest = clock.split(":")
    return int(day[-2:]) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(rest)


def run(arguments, folder):
    payment = Payment(arguments.seed, not arguments.calm)
    listener = Listener(("127.0.0.1", 0), handler(payment))
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    book = book_for(folder, listener.server_address[1])
    daemon = Daemon(arguments.binary, book)
    dice = random.Random(arguments.seed)
    ended, kills = threading.Event(), []
    try:
        # Some products are short, so that reserving is refused, too.
        received = {f"p{i}": arguments.checkouts // PRODUCTS * (2 if i % 4 else 1) + 1
                    for i in range(PRODUCTS)}
        for sku, count in received.items():
            status, answer = insist(daemon, "POST", "/commands/ReceiveStock",
                                    {"sku": sku, "count": count}, {"Idempotency-Key": sku})
            assert status in (200, 201), answer
        thread = threading.Thread(
            target=lambda: kills.append(storm(daemon, dice, ended, arguments.kill_every)))
        if not arguments.calm:
            thread.start()
        began = time.monotonic()
        place(daemon, arguments.seed, range(arguments.checkouts))
        totals = settle(daemon, arguments)
        lasted = time.monotonic() - began
        ended.set()
        if not arguments.calm:
            thread.join()
        daemon.stop()
        faults, confirmed, took = compare(arguments.binary, book, payment, arguments, received)
    finally:
        ended.set()
        listener.shutdown()
        if daemon.process.poll() is None:
            daemon.kill()
    took.sort()
    return {"checkouts": arguments.checkouts, "confirmed": confirmed,
            "undone": totals["compensated"], "kills": sum(kills), "requests": payment.requests,
            "repeated": payment.repeated, "seconds": round(lasted, 1),
            "checkouts_per_second": round(arguments.checkouts / lasted),
            "latency_ms": {"p50": round(1000 * statistics.median(took), 1),
                           "p99": round(1000 * took[len(took) * 99 // 100], 1)},
            "faults": faults[:20], "fault_count": len(faults)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--checkouts", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kill-every", type=float, default=3.0, help="seconds, on average")
    parser.add_argument("--calm", action="store_true", help="nothing fails: how fast is it")
    parser.add_argument("--binary", default=os.environ.get("DAYBOOK_BINARY",
                                                           ROOT / "build" / "daybook"))
    parser.add_argument("--dir", help="a folder on the disk to run on")
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sagas-", dir=arguments.dir))
    try:
        result = run(arguments, folder)
    finally:
        shutil.rmtree(folder)
    print(json.dumps(result, indent=2))
    return 1 if result["fault_count"] > 0 else 0


if __name__ == "__main__":
    sys.exit(main())
