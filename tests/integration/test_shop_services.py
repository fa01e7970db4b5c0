# SPDX-License-Identifier: Apache-2.0
"""The sample of services: users in PostgreSQL, products in MongoDB's protocol, orders in the book,
recommendations in Neo4j. The pages and recommendations are those that an oracle has from what
customers saw, also when the daemon is killed between the orders."""
import collections
import importlib.util
import json
import subprocess

import pytest
from conftest import ROOT, clean_environment, missing

SHOP = ROOT / "examples" / "shop-services"


@pytest.fixture(scope="module")
def shop():
    spec = importlib.util.spec_from_file_location("shop_services", SHOP / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def databases(shop):
    try:
        made = shop.Databases()
    except shop.Missing as why:
        missing(str(why))
    yield made
    made.close()


def page_of(orders, customer):
    """What "my orders" shows, the newest first."""
    return [(o["order"], o["name"], o["status"],
             sum(i["quantity"] * i["cents"] for i in o["items"]), o["items"])
            for o in reversed(orders.placed) if o["customer"] == customer]


def shown(rows):
    return [(row["_id"], row["name"], row["status"], row["total"], json.loads(row["items"]))
            for row in rows]


def also_bought(orders, product):
    bought, titles = collections.defaultdict(set), {}
    for order in orders.placed:
        for item in order["items"]:
            titles[item["product"]] = item["title"]
            if order["status"] == "placed":
                bought[item["product"]].add(order["customer"])
    found = [(-len(bought[product] & customers), other, titles[other])
             for other, customers in bought.items()
             if other != product and bought[product] & customers]
    return [(other, title, -customers) for customers, other, title in sorted(found)[:10]]


def check(daybook, users, products, orders):
    for customer in users.names:
        rows = daybook.query("GetMyOrders", orders.position, customer=customer)
        assert shown(rows) == page_of(orders, customer)
    for product in products.items:
        rows = daybook.query("AlsoBought", orders.position, product=product)
        assert [(row["product"], row["title"], row["customers"]) for row in rows] == \
            also_bought(orders, product)


def test_pages_and_recommendations_are_what_customers_saw(shop, databases, binary, data):
    users, products = shop.Users(databases.postgres), shop.Products(databases.ferretdb)
    environment = databases.environment()
    daybook = shop.Daybook(binary, data, environment)
    try:
        orders = shop.open_shop(daybook, users, products, seed=7)
        shop.trade(daybook, users, products, orders, 40)
        check(daybook, users, products, orders)
        names = {name for order in orders.placed for name in (order["name"],)}
        titles = {item["title"] for order in orders.placed for item in order["items"]}
        assert {"Zoe Newname", "Now with a lid"} <= names | titles
        # Killed at once behind more orders: what is not posted yet is, by the next one.
        for _ in range(20):
            orders.place(daybook)
        orders.cancel(daybook)
        daybook.kill()
        daybook = shop.Daybook(binary, data, environment)
        check(daybook, users, products, orders)
        # What a service keeps to itself is not in the book.
        told = daybook.get("/events?category=users.people&limit=1000")["events"]
        assert len(told) == len(users.names) + 1
        assert all(set(event["data"]["new"]) == {"id", "name"} for event in told)
    finally:
        daybook.stop()


def test_run_has_it(binary):
    assert binary.exists()
    told = subprocess.run(["./run", "services", "--help"], cwd=ROOT, text=True, timeout=300,
                          capture_output=True, check=True, env=clean_environment()).stdout
    assert "./run services [--orders N]" in told and "--once" in told
