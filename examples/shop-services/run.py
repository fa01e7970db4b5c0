# SPDX-License-Identifier: Apache-2.0
"""Starts the databases of the sample, fills them, has orders placed, and says what to look at.

    ./run services [--orders N] [--seed N] [--listen ADDRESS] [--once]

The databases and the book's data are in temporary folders, and go with the program; --once ends it
when all is shown.
"""
import argparse
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from services.bson import Date  # noqa: E402
from services.ferretdb import FerretDB  # noqa: E402
from services.neo4j import Neo4j  # noqa: E402
from services.postgres import Missing, Postgres, free_port  # noqa: E402

NAMES = ["Anna", "Ben", "Chiara", "Deniz", "Eva", "Farid", "Greta", "Hugo", "Ines", "Jonas"]
FAMILIES = ["Arendt", "Bosch", "Curie", "Dunant", "Euler", "Fermi"]
THINGS = ["mug", "teapot", "lantern", "poster", "candle", "basket", "clock", "blanket"]
COLOURS = ["white", "red", "green", "blue", "yellow"]
TIMEOUT_S = 60


class Databases:
    """PostgreSQL for users, FerretDB (MongoDB's protocol) for products and pages, Neo4j."""

    def __init__(self):
        self.all = []
        try:
            self.postgres = self._begun(Postgres(settings=["wal_level = logical"]))
            self.ferretdb = self._begun(FerretDB())
            self.neo4j = self._begun(Neo4j())
        except BaseException:
            self.close()
            raise

    def _begun(self, server):
        self.all.append(server)
        return server

    def environment(self):
        """Where the book finds them (book.yaml)."""
        return {"SHOP_USERS": self.postgres.connection(),
                "SHOP_PRODUCTS": self.ferretdb.connection(database="products"),
                "SHOP_PAGES": self.ferretdb.connection(database="pages"),
                "SHOP_RECOMMENDATIONS": self.neo4j.connection()}

    def close(self):
        for server in reversed(self.all):
            server.close()


class Users:
    """The user service: its own tables in PostgreSQL."""

    def __init__(self, postgres):
        self.postgres = postgres
        self.names = {}
        postgres.sql((FOLDER / "users" / "schema.sql").read_text(encoding="utf-8"))

    def register(self, names):
        """names: by number. Where the server's log stands behind them."""
        rows = ", ".join(f"({number}, '{name}', 'secret{number}')"
                         for number, name in names.items())
        self.names |= names
        self.postgres.sql(f"INSERT INTO people VALUES {rows}")
        return self._committed()

    def rename(self, number, name):
        self.names[number] = name
        self.postgres.sql(f"UPDATE people SET name = '{name}' WHERE id = {number}")
        return self._committed()

    def _committed(self):
        return self.postgres.sql("SELECT pg_current_wal_insert_lsn()")[0][0]


class Products:
    """The catalogue: its own collection in MongoDB."""

    def __init__(self, ferretdb):
        self.ferretdb = ferretdb
        self.items = {}
        ferretdb.command({"create": "items"}, "products")

    def put(self, product, title, cents):
        item = {"title": title, "picture": f"/pictures/{product}.jpg", "cents": cents}
        self.items[product] = item
        change = {"$set": item | {"changed": Date(int(time.time() * 1000))}}
        self.ferretdb.command({"update": "items", "updates": [
            {"q": {"_id": product}, "u": change, "upsert": True}]}, "products")


class Daybook:
    """The daemon, and requests to it."""

    def __init__(self, binary, data, environment, listen="127.0.0.1:0"):
        host, port = listen.rsplit(":", 1)
        self.url = f"http://{host}:{port if port != '0' else free_port()}"
        self.key = pathlib.Path(data) / "access.key"
        self.process = subprocess.Popen(
            [str(binary), "serve", "--book", str(FOLDER), "--data", str(data), "--listen",
             self.url[7:]], env=os.environ | environment, stdout=subprocess.DEVNULL)
        self._wait(lambda: self.get("/healthz") is not None)

    def request(self, path, body=None):
        """The answer's JSON; None: nobody answers, or there is no such thing."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if self.key.exists():  # made anew with each start, for this user alone
            headers["Authorization"] = f"Bearer {self.key.read_text()}"
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers),
                                        timeout=TIMEOUT_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as why:
            if why.code == 503 and path == "/healthz":
                return json.load(why)
            if why.code == 404:
                return None
            raise RuntimeError(f"{path}: {why.read().decode()}") from why
        except urllib.error.URLError:
            return None

    def get(self, path):
        return self.request(path)

    def _wait(self, done):
        end = time.monotonic() + TIMEOUT_S
        while not done():
            if self.process.poll() is not None:
                raise RuntimeError("daybook serve has ended")
            if time.monotonic() > end:
                raise RuntimeError(f"waited too long: {self.get('/healthz')}")
            time.sleep(0.05)

    def wait_for_user(self, committed):
        """Until what the user service had committed then is in the book."""
        self.get(f"/captures/users/position?source={committed}&timeout_ms={TIMEOUT_S * 1000}")

    def wait_for_products(self, items):
        """Until the book has the catalogue's newest images."""
        def known(product, item):
            stream = self.get(f"/streams/products.items-{product}?backwards=true&limit=1")
            return stream and stream["events"][0]["data"]["new"]["title"] == item["title"]
        for product, item in items.items():
            self._wait(lambda p=product, i=item: known(p, i))

    def query(self, name, after, **parameters):
        words = "&".join(f"{key}={value}" for key, value in parameters.items())
        words += f"&after={after}&timeout_ms={TIMEOUT_S * 1000}"
        return self.get(f"/queries/{name}?{words}")["rows"]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=TIMEOUT_S)


class Orders:
    """The shop's customers."""

    def __init__(self, seed, users, products):
        self.chance = random.Random(seed)
        self.users, self.products = users, products
        self.count = 0
        self.placed = []  # what the customers saw of it
        self.position = 0

    def place(self, daybook):
        customer = self.chance.choice(sorted(self.users.names))
        chosen = self.chance.sample(sorted(self.products.items), self.chance.randint(1, 4))
        lines = [{"product": product, "quantity": self.chance.randint(1, 3),
                  "cents": self.products.items[product]["cents"]} for product in chosen]
        self.count += 1
        order = {"order": str(1000 + self.count), "customer": customer, "lines": lines}
        self.position = daybook.request("/commands/PlaceOrder", order)["position"]
        seen = [line | {key: self.products.items[line["product"]][key]
                        for key in ("title", "picture")} for line in lines]
        self.placed.append({"order": order["order"], "customer": customer, "items": seen,
                            "name": self.users.names[customer], "status": "placed"})

    def cancel(self, daybook):
        standing = [order for order in self.placed if order["status"] == "placed"]
        order = self.chance.choice(standing)
        order["status"] = "cancelled"
        command = {"order": order["order"]}
        self.position = daybook.request("/commands/CancelOrder", command)["position"]


def open_shop(daybook, users, products, seed):
    """Users and products, in their services' databases, and in the book."""
    chance = random.Random(seed)
    committed = users.register({number: f"{chance.choice(NAMES)} {chance.choice(FAMILIES)}"
                                for number in range(1, 21)})
    for number in range(16):
        colour, thing = COLOURS[number % len(COLOURS)], THINGS[number % len(THINGS)]
        products.put(f"{colour}-{thing}", f"A {colour} {thing}", chance.randint(3, 60) * 50)
    daybook.wait_for_user(committed)
    daybook.wait_for_products(products.items)
    return Orders(seed, users, products)


def trade(daybook, users, products, orders, count):
    """Orders are placed, some are cancelled; then a user and a product get other names, and more
    orders follow."""
    for number in range(count):
        orders.place(daybook)
        if number % 7 == 6:
            orders.cancel(daybook)
        if number == count // 2:
            user, product = max(users.names), sorted(products.items)[0]
            daybook.wait_for_user(users.rename(user, "Zoe Newname"))
            products.put(product, "Now with a lid", products.items[product]["cents"])
            daybook.wait_for_products({product: products.items[product]})


def show(daybook, users, products, orders):
    customer = orders.placed[-1]["customer"]
    print(f"\n\"My orders\" of user {customer} ({users.names[customer]}), one document an order:\n")
    for row in daybook.query("GetMyOrders", orders.position, customer=customer)[:3]:
        print(f"  order {row['_id']} of {row['name']}, {row['status']}, {row['total'] / 100:.2f}")
        for item in json.loads(row["items"]):
            print(f"      {item['quantity']} × {item['title']} at {item['cents'] / 100:.2f}"
                  f"   {item['picture']}")
    product = orders.placed[-1]["items"][0]["product"]
    print(f"\nWho bought {products.items[product]['title']} also bought:\n")
    for row in daybook.query("AlsoBought", orders.position, product=product)[:5]:
        print(f"  {row['title']} ({row['customers']} customers)")


WHERE = """
The definitions are in examples/shop-services; the databases are on loopback until this ends. In
another terminal:

    export PATH="$PWD/build:$PATH" DAYBOOK_BOOK=examples/shop-services DAYBOOK_DATA={data}
{environment}
    daybook tail --after 0 --no-follow --limit 20    # what users, products and orders have told
    daybook capture ls                               # how far the services' databases are followed
    daybook model ls                                 # how far pages and recommendations are
    daybook get GetMyOrders customer={customer}
    daybook get AlsoBought product={product}
    psql "$SHOP_USERS" -c "UPDATE people SET name = 'You' WHERE id = {customer}"
    daybook do PlaceOrder '{{"order":"1","customer":{customer},
        "lines":[{{"product":"{product}","quantity":1,"cents":500}}]}}'

Ctrl-C ends it.
"""


def serve(options):
    """Until it is interrupted."""
    print("starting PostgreSQL, FerretDB and Neo4j (the first time they are fetched)", flush=True)
    try:
        databases = Databases()
    except Missing as why:
        sys.exit(f"a database of the sample cannot be had here: {why}")
    daybook = None
    with tempfile.TemporaryDirectory(prefix="daybook-shop-") as data:
        try:
            users, products = Users(databases.postgres), Products(databases.ferretdb)
            environment = databases.environment()
            daybook = Daybook(options.binary, data, environment, options.listen)
            orders = open_shop(daybook, users, products, options.seed)
            print(f"{len(users.names)} users, {len(products.items)} products; placing "
                  f"{options.orders} orders at {daybook.url}", flush=True)
            trade(daybook, users, products, orders, options.orders)
            show(daybook, users, products, orders)
            last = orders.placed[-1]
            exports = "\n".join(f"    export {key}='{value}'" for key, value in environment.items())
            print(WHERE.format(data=data, customer=last["customer"], environment=exports,
                               product=last["items"][0]["product"]), flush=True)
            if not options.once:
                daybook.process.wait()
        except KeyboardInterrupt:
            pass
        finally:
            if daybook is not None and daybook.process.poll() is None:
                daybook.stop()
            databases.close()


def main():
    parser = argparse.ArgumentParser(prog="./run services", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--listen", default="127.0.0.1:4170")
    parser.add_argument("--binary", default=str(ROOT / "build" / "daybook"))
    parser.add_argument("--once", action="store_true", help="ends when all is shown")
    options = parser.parse_args()
    if options.orders < 1:
        parser.error("--orders: one at least")
    # Ctrl-C goes to all programs of the terminal: the databases are to end in their turn.
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        serve(options)
        return
    while True:
        try:
            _, status = os.waitpid(child, 0)
            sys.exit(os.waitstatus_to_exitcode(status))
        except KeyboardInterrupt:
            os.kill(child, signal.SIGTERM)


if __name__ == "__main__":
    main()
