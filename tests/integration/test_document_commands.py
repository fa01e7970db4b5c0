# SPDX-License-Identifier: Apache-2.0
"""Commands that change one document in a service's MongoDB database: once a key on a real server
without transactions (FerretDB), whichever message of it is lost, and refused by its conditions."""
import concurrent.futures
import itertools
import json

import pytest
from conftest import Book, missing
from services.bson import Client, command_of, encode
from services.ferretdb import FerretDB
from services.postgres import Missing
from services.proxy import Proxy, mongodb_messages

COMMANDS = {
    "Reserve": """// service: products
// parameters: sku text, order text, count integer, change integer
// expect: 1 document, else sold-out: there are not enough of it
{"update": "items", "updates": [
  {"q": {"_id": ":sku", "stock": {"$gte": ":count"}},
   "u": {"$inc": {"stock": ":change"},
         "$push": {"reserved": {"order": ":order", "count": ":count"}}}}]}
""",
    "Release": """// service: products
// parameters: sku text, order text, count integer
{"update": "items", "updates": [
  {"q": {"_id": ":sku", "reserved.order": ":order"},
   "u": {"$inc": {"stock": ":count"},
         "$pull": {"reserved": {"order": ":order", "count": ":count"}}}}]}
""",
    "Receive": """// service: products
// parameters: sku text, count integer
{"update": "items", "updates": [
  {"q": {"_id": ":sku"},
   "u": {"$inc": {"stock": ":count"}, "$set": {"by": ":_key", "at": {"$date": ":_time"}}},
   "upsert": true}]}
""",
    "Stock": """// service: products
// parameters: sku text, stock integer
{"update": "items", "updates": [
  {"q": {"_id": ":sku"}, "u": {"$set": {"stock": ":stock"}}, "upsert": true}]}
""",
}
NUMBERS = itertools.count(1)
SENT = []


def messages(buffer, first):
    """Keeps updates of documents, as they are sent."""
    found, first = mongodb_messages(buffer, first)
    SENT.extend(message for message in found if b"updates" in message and b"$push" in message)
    return found, first


@pytest.fixture(scope="module")
def ferretdb():
    try:
        server = FerretDB()
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


@pytest.fixture(scope="module")
def proxy(ferretdb):
    proxy = Proxy(ferretdb.port, messages)
    yield proxy
    proxy.close()


class Products:
    def __init__(self, ferretdb, name):
        self.ferretdb, self.name = ferretdb, name

    def item(self, sku):
        [item] = self.ferretdb.find("items", {"_id": sku}, self.name)
        return item

    def kept(self):
        return {one["_id"] for one in self.ferretdb.find("_daybook_commands", None, self.name)}

    def put(self, sku, stock):
        self.ferretdb.command({"insert": "items", "documents": [{"_id": sku, "stock": stock}]},
                              self.name)


@pytest.fixture
def products(ferretdb):
    return Products(ferretdb, f"products{next(NUMBERS)}")


@pytest.fixture
def book(tmp_path, binary, data, proxy, ferretdb, products):
    folder = tmp_path / "book"
    for part in ("services", "commands"):
        (folder / part).mkdir(parents=True)
    (folder / "secret").write_text(ferretdb.connection(proxy.port, products.name),
                                   encoding="utf-8")
    (folder / "book.yaml").write_text(
        f"book: shop\ndatabases:\n  products: mongodb:file:{folder}/secret\n", encoding="utf-8")
    (folder / "services" / "products.yaml").write_text("database: products\n", encoding="utf-8")
    for name, text in COMMANDS.items():
        (folder / "commands" / f"{name}.json").write_text(text, encoding="utf-8")
    return Book(binary, folder, data)


def do(http, name, key=None, **body):
    return http.request("POST", f"/commands/{name}", body,
                        {"Idempotency-Key": key} if key else {})


def reserve(http, key, order, count=2, sku="tea"):
    return do(http, "Reserve", key, sku=sku, order=order, count=count, change=-count)


def test_it_changes_one_document_once_a_key(book, products, serve):
    http = serve(book)
    products.put("tea", 5)
    answer = reserve(http, "k1", "o1")
    assert answer.status == 200, answer
    assert answer.json["service"] == "products" and answer.json["known"] is False
    assert products.item("tea")["stock"] == 3
    assert products.item("tea")["reserved"] == [{"order": "o1", "count": 2}]
    assert reserve(http, "k1", "o1").json["known"] is True
    # Also once the document knows nothing of it any more: others have been there meanwhile.
    assert reserve(http, "k2", "o2").json["known"] is False
    assert reserve(http, "k1", "o1").json["known"] is True
    assert reserve(http, "k1", "o3").status == 409  # another body
    assert products.item("tea")["stock"] == 1
    # What is refused changes nothing, and may be asked again.
    answer = reserve(http, "k4", "o4")
    assert answer.status == 422 and answer.json["refusal"] == "sold-out"
    assert answer.json["detail"] == "there are not enough of it"
    assert do(http, "Receive", "r1", sku="tea", count=1).status == 200
    assert reserve(http, "k4", "o4").json["known"] is False
    assert products.item("tea")["stock"] == 0
    # Where nothing is expected, nothing that matches is nothing done, and that is kept.
    assert do(http, "Release", "l1", sku="tea", order="o9", count=2).json["known"] is False
    assert do(http, "Release", "l1", sku="tea", order="o9", count=2).json["known"] is True
    assert do(http, "Release", "l2", sku="none", order="o9", count=2).json["known"] is False
    assert do(http, "Release", "l2", sku="none", order="o9", count=2).json["known"] is True
    # One that is not there is made, by the one of two that comes first.
    assert do(http, "Receive", "r2", sku="cup", count=7).json["known"] is False
    assert do(http, "Receive", "r2", sku="cup", count=7).json["known"] is True
    item = products.item("cup")
    assert item["stock"] == 7 and item["by"] == "r2"


def test_without_a_key_and_tried_only(book, products):
    products.put("tea", 3)
    body = json.dumps({"sku": "tea", "order": "o1", "count": 2, "change": -2})
    assert book.json("do", "Reserve", body, "--dry-run")["known"] is False
    assert products.item("tea") == {"_id": "tea", "stock": 3}
    book.run("do", "Reserve", body)
    assert "not enough" in book.run("do", "Reserve", body, status=1).errors
    assert "not enough" in book.run("do", "Reserve", body, "--dry-run", status=1).errors
    assert products.item("tea")["stock"] == 1
    assert products.kept() == set()


def test_what_the_server_refuses_is_refused_again(book, products, ferretdb, serve):
    """Nothing was done: a key that is repeated must not be told that it was."""
    http = serve(book)
    products.put("cup", 1)
    ferretdb.command({"createIndexes": "items", "indexes": [
        {"key": {"stock": 1}, "name": "stock", "unique": True}]}, products.name)

    def stock():
        return http.post("/commands/Stock", {"sku": "tea", "stock": 1},
                         headers={"Idempotency-Key": "k1"})

    for _ in range(2):
        assert stock().status == 422
    ferretdb.command({"update": "items", "updates": [
        {"q": {"_id": "cup"}, "u": {"$set": {"stock": 2}}}]}, products.name)
    assert stock().json["known"] is False
    assert stock().json["known"] is True
    assert products.item("tea")["stock"] == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "behind"])
def test_a_connection_cut_at_every_message_changes_it_once(book, products, proxy, serve, after):
    """Each message of a session and of the run is lost in turn, and the key is repeated."""
    http = serve(book)
    products.put("tea", 1000)
    cut = expected = 0
    for number in range(1, 14):
        for kind in range(2):
            order, key = f"o{number}-{kind}", f"k{number}-{kind}"
            proxy.arm(number, after=after, reset=kind == 1)
            cut -= proxy.cuts
            answers = []
            while 200 not in answers and len(answers) < 6:
                answers.append(reserve(http, key, order).status)
            proxy.arm(None)
            cut += proxy.cuts
            assert answers[-1] == 200, answers
            assert reserve(http, key, order).json["known"] is True
            expected += 1
            reserved = [one["order"] for one in products.item("tea")["reserved"]]
            assert reserved.count(order) == 1 and len(reserved) == expected
            assert products.item("tea")["stock"] == 1000 - 2 * expected
    assert cut >= 8, "the run has more messages than that"


def test_many_at_once_come_to_the_sum(book, products, serve):
    """FerretDB loses one of two changes of a document that come at once: they are made to wait."""
    http = serve(book)
    products.put("tea", 100)
    keys = [f"k{n % 40}" for n in range(120)]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda key: reserve(http, key, f"o-{key}"), keys))
    assert {answer.status for answer in answers} == {200}
    assert sum(answer.json["known"] is False for answer in answers) == 40
    assert products.item("tea")["stock"] == 20
    assert len(products.item("tea")["reserved"]) == 40


def test_what_was_sent_before_finds_another_document(book, products, ferretdb, serve):
    """An update that a server does long after its client gave up: what it asks for is past."""
    http = serve(book)
    client = Client(ferretdb.port)
    products.put("tea", 5)
    products.put("cup", 1)
    SENT.clear()
    assert reserve(http, "k1", "o1").status == 200
    assert reserve(http, "k2", "o2").status == 200
    # What was refused is not done either once there is enough of it.
    assert reserve(http, "k3", "o3", sku="cup").status == 422
    ferretdb.command({"update": "items", "updates": [
        {"q": {"_id": "cup"}, "u": {"$set": {"stock": 9}}}]}, products.name)
    assert len(SENT) == 3
    for message in SENT:
        assert client.send(encode(command_of(message)[2]))["n"] == 0
    client.close()
    assert products.item("tea")["stock"] == 1 and products.item("cup")["stock"] == 9
    assert [one["order"] for one in products.item("tea")["reserved"]] == ["o1", "o2"]


@pytest.mark.parametrize("text,says", [
    ('{"insert": "items", "documents": [{"_id": ":sku"}]}', "a command is one update"),
    ('{"update": "items", "updates": [{"q": {"stock": 1}, "u": {"$set": {"a": ":sku"}}}]}',
     "named by its _id"),
    ('{"update": "{gen}items", "updates": [{"q": {"_id": ":sku"}, "u": {"$set": {"a": 1}}}]}',
     "none of the service's own collections"),
    ('{"update": "_daybook_x", "updates": [{"q": {"_id": ":sku"}, "u": {"$set": {"a": 1}}}]}',
     "none of the service's own collections"),
    ('{"update": "items", "updates": [{"q": {"_id": ":sku"}, "u": {"a": 1}}]}',
     "use $set, $inc, $push"),
    ('{"update": "items", "updates": [{"q": {"_id": ":sku"}, "u": {"$set": {"_daybook_x": 1}}}]}',
     "this name is Daybook's own"),
    ('{"update": "items", "updates": [{"q": {"_id": ":sku"}, "u": {"$set": {"a": ":b"}}}]}',
     "the parameter has no type"),
    ('{"update": "items", "updates": [{"q": {"_id": ":sku"}, "u": {"$set": {"a": 1}}}]}\n'
     '{"update": "items", "updates": [{"q": {"_id": ":sku"}, "u": {"$set": {"a": 1}}}]}',
     "a command is one update of one document"),
    ('{"update": "items", "updates": [{"q": {"_id": ":sku"}, "u": {"$set": {"a": 1}}}',
     "commands/Bad.json:3"),
])
def test_check_names_what_a_command_may_not_do(book, text, says):
    (book.folder / "commands" / "Bad.json").write_text(
        "// service: products\n// parameters: sku text\n" + text + "\n", encoding="utf-8")
    answer = book.run("check", status=1)
    said = answer.text + answer.errors
    assert "commands/Bad.json:" in said and says in said


def test_check_tells_which_file_a_service_takes(book):
    bad = book.folder / "commands" / "Bad.sql"
    bad.write_text("-- service: products\nUPDATE items SET a = 1;\n", encoding="utf-8")
    assert "write it as commands/<Name>.json" in book.run("check", status=1).text
    bad.unlink()
    (book.folder / "commands" / "Reserve.sql").write_text("-- service: products\nSELECT 1;\n",
                                                          encoding="utf-8")
    assert "is this command, too" in book.run("check", status=1).text
