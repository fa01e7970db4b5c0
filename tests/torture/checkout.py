#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checkouts across users in PostgreSQL, products in MongoDB's protocol and payment behind HTTP,
whose steps are refused, lost, answered twice and late, while the daemon is killed: is any order
half done, do stock, credit and money add up, was anything done twice?

Connections to both databases are cut at random messages, before or behind what they carry; updates
of documents come again, seconds later, as a network or a server may deliver them; the payment
service refuses, breaks before and behind the charge, and answers after the saga has given up. The
oracle reads the three databases and the book's events by other ways than Daybook's.

    python3 tests/torture/checkout.py --checkouts 100000 --seed 7 --state /tmp/checkout.json

It runs in rounds of a fresh book and fresh databases; each is verified before the next. The state
file keeps what was done, and the same command goes on behind it.
"""
import argparse
import json
import os
import pathlib
import random
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
sys.path.insert(0, str(ROOT / "tests" / "torture"))
import sagas  # noqa: E402
from services.bson import Client, command_of, encode  # noqa: E402
from services.ferretdb import FerretDB  # noqa: E402
from services.postgres import Missing, Postgres  # noqa: E402
from services.proxy import Proxy, mongodb_messages, postgres_messages  # noqa: E402

EXAMPLE = ROOT / "examples" / "checkout-services"
PRODUCTS, PEOPLE = 20, 50
BATCH = 20
WAIT_S = 60


class Faults:
    """Cuts connections, and lets updates that were done come again."""

    def __init__(self, servers, seed, every_s):
        postgres, ferretdb = servers
        self.dice = random.Random(seed)
        self.every_s = every_s
        self.ferretdb = ferretdb
        self.lock = threading.Lock()
        self.late = []
        self.again = 0
        self.ended = threading.Event()
        self.users = Proxy(postgres.port, postgres_messages)
        self.products = Proxy(ferretdb.port, self.take)
        self.threads = [threading.Thread(target=run, daemon=True)
                        for run in (self.cut, self.repeat) if every_s > 0]
        for thread in self.threads:
            thread.start()

    def take(self, buffer, first):
        messages, first = mongodb_messages(buffer, first)
        for message in messages:
            if b"_daybook_command" in message and b"updates" in message:
                with self.lock:
                    if self.every_s > 0 and self.dice.random() < 0.05:
                        self.late.append((time.monotonic() + self.dice.uniform(0.5, 3), message))
        return messages, first

    def cut(self):
        while not self.ended.wait(self.every_s * self.dice.uniform(0.5, 1.5)):
            proxy = self.dice.choice([self.users, self.products])
            proxy.arm(self.dice.randint(1, 12), after=self.dice.random() < 0.5,
                      reset=self.dice.random() < 0.5)

    def repeat(self):
        """As it was sent, on a connection of its own."""
        client = None
        while not self.ended.wait(0.05):
            with self.lock:
                due = [one for one in self.late if one[0] <= time.monotonic()]
                self.late = [one for one in self.late if one[0] > time.monotonic()]
            for _, message in due:
                _, _, command = command_of(message)
                try:
                    client = client or Client(self.ferretdb.port)
                    client.send(encode(command))
                    self.again += 1
                except OSError:
                    client = None

    def close(self):
        self.ended.set()
        for thread in self.threads:
            thread.join()
        self.users.close()
        self.products.close()


class Daemon(sagas.Daemon):
    """With the databases' addresses, and the key that a book with services asks for."""

    def __init__(self, binary, book, environment):
        self.environment = {**os.environ, **environment}
        self.book = book
        super().__init__(binary, book)

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True,
                                        env=self.environment)
        ready, _, _ = select.select([self.process.stdout], [], [], 120)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            raise RuntimeError("serve did not start")
        key = self.book / "data" / "access.key"
        self.headers = {"Authorization": f"Bearer {key.read_text(encoding='utf-8')}"}
        self.port = int(json.loads(line)["url"].rsplit(":", 1)[1])  # whoever waits goes on now

    def kill(self):
        self.port = 1  # nobody's: the one that it had may be another program's in a moment
        super().kill()

    def request(self, method, path, body=None, headers=None):
        return super().request(method, path, body, {**self.headers, **(headers or {})})


class Round:
    """One book, one database at each server, and so many checkouts."""

    def __init__(self, arguments, servers, number, count, folder):
        self.arguments, self.number, self.count = arguments, number, count
        self.postgres, self.ferretdb = servers
        self.seed = arguments.seed * 1000 + number
        self.dice = random.Random(self.seed)
        self.name = f"checkout{os.getpid()}x{number}"
        self.folder = folder
        self.payment = sagas.Payment(self.seed, not arguments.calm)
        self.listener = sagas.Listener(("127.0.0.1", 0), sagas.handler(self.payment))
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()
        self.orders = [self.order_of(i) for i in range(count)]
        total = sum(order["amount"] for order in self.orders)
        # Some people and some products are short, so that holding and reserving are refused, too.
        self.credit = {f"u{i}": total // PEOPLE * (3 if i % 5 else 1) for i in range(PEOPLE)}
        self.stock = {f"p{i}": count // PRODUCTS * (4 if i % 4 else 1) for i in range(PRODUCTS)}
        self.parked = 0
        self.why = set()

    def order_of(self, number):
        dice = random.Random(f"{self.seed}/{number}")
        return {"order": f"o{number}", "person": f"u{dice.randrange(PEOPLE)}",
                "sku": f"p{dice.randrange(PRODUCTS)}", "count": dice.randint(1, 3),
                "amount": dice.randint(100, 9999)}

    def prepare(self):
        self.book = self.folder / "book"
        shutil.copytree(EXAMPLE, self.book, ignore=shutil.ignore_patterns("data"))
        text = (self.book / "book.yaml").read_text(encoding="utf-8")
        self.book.joinpath("book.yaml").write_text(
            text.replace("127.0.0.1:8080", f"127.0.0.1:{self.listener.server_address[1]}"),
            encoding="utf-8")
        self.postgres.create(self.name)
        self.postgres.sql((EXAMPLE / "users" / "schema.sql").read_text(encoding="utf-8"),
                          self.name)
        people = ", ".join(f"('{person}', {credit})" for person, credit in self.credit.items())
        self.postgres.sql(f"INSERT INTO people VALUES {people}", self.name)
        self.ferretdb.command({"insert": "items", "documents": [
            {"_id": sku, "stock": stock, "sold": 0, "reserved": []}
            for sku, stock in self.stock.items()]}, self.name)

    def place(self, daemon, first):
        events = [{"stream": f"order-{order['order']}", "type": "OrderPlaced",
                   "id": f"{self.seed:08x}-0000-4000-8000-{number:012x}", "data": order}
                  for number, order in enumerate(self.orders[first:first + BATCH], first)]
        # What comes twice is one: each tenth batch is sent again.
        for _ in range(1 + (self.dice.random() < 0.1)):
            status, answer = sagas.insist(daemon, "POST", "/events", {"events": events})
            assert status in (200, 201), answer

    def retry(self, daemon):
        _, answer = sagas.insist(daemon, "GET", "/sagas/checkout")
        for one in answer["instances"]:
            if one["status"] == "parked":
                self.parked += 1
                self.why.add(one["reason"])
                sagas.insist(daemon, "POST", f"/sagas/checkout/{one['instance']}/retry")

    def work(self, daemon):
        """A window of orders is open at a time, until all have ended."""
        placed, last, moved, tried = 0, None, time.monotonic(), 0.0
        while True:
            status, answer = sagas.insist(daemon, "GET", "/sagas")
            assert status == 200, answer
            totals = answer["sagas"][0]
            ended = totals["completed"] + totals["compensated"]
            if ended == self.count:
                return totals
            if totals["parked"] > 0 and time.monotonic() - tried > 1:
                self.retry(daemon)
                tried = time.monotonic()
            while placed < self.count and placed - ended < self.arguments.window:
                self.place(daemon, placed)
                placed += min(BATCH, self.count - placed)
            if totals != last:
                last, moved = totals, time.monotonic()
            if time.monotonic() - moved > WAIT_S:
                raise AssertionError(f"nothing moves: {totals}, {self.why}")
            time.sleep(0.05)

    def run(self):
        self.prepare()
        faults = Faults((self.postgres, self.ferretdb), self.seed,
                        0 if self.arguments.calm else self.arguments.cut_every)
        daemon = Daemon(self.arguments.binary, self.book, {
            "CHECKOUT_USERS": self.postgres.connection(self.name, faults.users.port) +
                              " sslmode=disable gssencmode=disable",
            "CHECKOUT_PRODUCTS": self.ferretdb.connection(faults.products.port, self.name)})
        ended, kills = threading.Event(), [0]
        storm = threading.Thread(target=lambda: kills.append(sagas.storm(
            daemon, self.dice, ended, self.arguments.kill_every)))
        if not self.arguments.calm:
            storm.start()
        began = time.monotonic()
        try:
            totals = self.work(daemon)
            lasted = time.monotonic() - began
            ended.set()
            if storm.is_alive():
                storm.join()
            daemon.stop()
        finally:
            ended.set()
            faults.close()
            self.listener.shutdown()
            if daemon.process.poll() is None:
                daemon.kill()
        wrong, took = self.compare()
        self.postgres.sql(f'DROP DATABASE "{self.name}"')
        self.ferretdb.clear(self.name)
        return {"confirmed": totals["completed"], "undone": totals["compensated"],
                "kills": sum(kills), "cuts": faults.users.cuts + faults.products.cuts,
                "updates_again": faults.again, "requests": self.payment.requests,
                "requests_again": self.payment.repeated, "parked": self.parked,
                "seconds": round(lasted, 1), "wrong": wrong}, took

    def compare(self):
        """Every order is whole in all four places, or in none; sums are those of the orders."""
        wrong, state, placed, took = [], {}, {}, []
        kinds = "OrderPlaced,OrderConfirmed,OrderRejected"
        for event in sagas.read_events(self.arguments.binary, self.book, kinds):
            order, kind = event["data"]["order"], event["type"]
            at = sagas.seconds(event["time"])
            if kind == "OrderPlaced":
                if order in placed:
                    wrong.append(f"{order} was placed twice")
                placed[order] = at
                continue
            if order in state:
                wrong.append(f"{order} ended twice: {state[order]}, {kind}")
            state[order] = kind
            took.append(round(at - placed[order], 4))
        held = {order: int(amount) for order, amount in self.postgres.sql(
            "SELECT order_id, amount FROM holds WHERE state = 'held'", self.name)}
        credit = {person: int(left) for person, left in self.postgres.sql(
            "SELECT id, credit FROM people", self.name)}
        items = {item["_id"]: item for item in self.ferretdb.find("items", None, self.name)}
        spent, sold = dict.fromkeys(self.credit, 0), dict.fromkeys(self.stock, 0)
        for order in self.orders:
            name = order["order"]
            confirmed = state.get(name) == "OrderConfirmed"
            due = order["amount"] if confirmed else 0
            paid = self.payment.charged.get(name, 0) - self.payment.refunded.get(name, 0)
            if name not in state or (paid, held.get(name, 0)) != (due, due):
                wrong.append(f"{name}: {state.get(name)}, paid {paid}, held {held.get(name, 0)}, "
                             f"where {due} is due")
            spent[order["person"]] += due
            sold[order["sku"]] += order["count"] if confirmed else 0
        for person, given in self.credit.items():
            if credit[person] != given - spent[person]:
                wrong.append(f"{person} has {credit[person]}, where {given - spent[person]} is due")
        for sku, given in self.stock.items():
            item = items[sku]
            if (item["stock"], item["sold"], item["reserved"]) != (given - sold[sku], sold[sku],
                                                                   []):
                wrong.append(f"{sku} is {item}, where {given - sold[sku]} and {sold[sku]} are due")
        return wrong, took


def load(arguments):
    if arguments.state and arguments.state.exists():
        state = json.loads(arguments.state.read_text(encoding="utf-8"))
        assert state["seed"] == arguments.seed, f"{arguments.state} is of seed {state['seed']}"
        return state
    return {"seed": arguments.seed, "done": 0, "rounds": 0, "totals": {}, "took": []}


def save(arguments, state):
    if arguments.state:
        beside = arguments.state.with_suffix(".new")
        beside.write_text(json.dumps(state) + "\n", encoding="utf-8")
        beside.replace(arguments.state)


def play(arguments, state, servers):
    end = time.monotonic() + arguments.seconds if arguments.seconds else float("inf")
    while state["done"] < arguments.checkouts and time.monotonic() < end:
        count = min(arguments.each, arguments.checkouts - state["done"])
        folder = pathlib.Path(tempfile.mkdtemp(prefix="checkout-", dir=arguments.dir))
        try:
            result, took = Round(arguments, servers, state["rounds"], count, folder).run()
        finally:
            shutil.rmtree(folder)
        wrong = result.pop("wrong")
        if wrong:
            print(f"seed {arguments.seed}, round {state['rounds']}: {len(wrong)} wrong:",
                  *wrong[:20], sep="\n", file=sys.stderr)
            return 1
        for key, value in result.items():
            state["totals"][key] = round(state["totals"].get(key, 0) + value, 1)
        state["took"] += took
        state.update(done=state["done"] + count, rounds=state["rounds"] + 1)
        save(arguments, state)
        print(f"{state['done']} of {arguments.checkouts}, seed {arguments.seed}: {result}",
              file=sys.stderr, flush=True)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--checkouts", type=int, default=1000)
    parser.add_argument("--each", type=int, default=2500, help="checkouts a round")
    parser.add_argument("--window", type=int, default=200, help="how many are open at once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="begin no round behind that")
    parser.add_argument("--state", type=pathlib.Path, help="a file that keeps what was done")
    parser.add_argument("--kill-every", type=float, default=5.0, help="seconds, on average")
    parser.add_argument("--cut-every", type=float, default=0.3, help="seconds, on average")
    parser.add_argument("--calm", action="store_true", help="nothing fails: how fast is it")
    parser.add_argument("--binary", type=pathlib.Path,
                        default=os.environ.get("DAYBOOK_BINARY", ROOT / "build" / "daybook"))
    parser.add_argument("--dir", help="a folder on the disk to run on")
    arguments = parser.parse_args()
    state = load(arguments)
    try:
        servers = Postgres(), FerretDB()
    except Missing as why:
        print(why, file=sys.stderr)
        return 2
    try:
        status = play(arguments, state, servers)
    finally:
        for server in servers:
            server.close()
    took = sorted(state["took"])
    if took:
        print(json.dumps({
            "seed": state["seed"], "checkouts": state["done"], "rounds": state["rounds"],
            **state["totals"],
            "checkouts_per_second": round(state["done"] / state["totals"]["seconds"], 1),
            "latency_ms": {"p50": round(1000 * statistics.median(took), 1),
                           "p99": round(1000 * took[len(took) * 99 // 100], 1),
                           "max": round(1000 * took[-1], 1)},
            "wrong": status}, indent=2))
    return status


if __name__ == "__main__":
    sys.exit(main())
