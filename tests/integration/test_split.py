# SPDX-License-Identifier: Apache-2.0
"""A service's tables leave a shared PostgreSQL while both run: under writers, through kills, there
and back. Writers are as programs are: they go to the other database when they are told that a table
is not written here."""
import os
import pty
import random
import subprocess
import threading
import time

import pytest
from conftest import Book, clean_environment, missing
from services.postgres import Missing, Postgres

ROWS = int(os.environ.get("DAYBOOK_SPLIT_ROWS", "20000"))
RATE = int(os.environ.get("DAYBOOK_SPLIT_RATE", "200"))
TIMEOUT_S = 60 if ROWS <= 20000 else 900

FILES = {
    "book.yaml": "book: shop\ndatabases:\n  shop: postgres:file:secrets/shop\n"
                 "  orders: postgres:file:secrets/orders\n",
    "services/users.yaml": "database: shop\ntables:\n  people: {public: [id, name]}\n",
    "services/orders.yaml":
        "# The orders.\ndatabase: shop   # shared\ntables: {orders: , lines: }\n",
}
TABLES = """
CREATE SCHEMA sales;
CREATE TABLE people (id integer PRIMARY KEY, name text);
CREATE TABLE orders (id bigserial PRIMARY KEY, person integer REFERENCES people,
    total numeric(12, 2) NOT NULL DEFAULT 0 CHECK (total >= 0), note text, paid boolean,
    at timestamptz NOT NULL DEFAULT now(), twice numeric GENERATED ALWAYS AS (total * 2) STORED);
CREATE TABLE lines ("order" bigint REFERENCES orders ON DELETE CASCADE, nr integer,
    "what thing" text COLLATE "C", data jsonb, raw bytea, price double precision,
    tags text[], PRIMARY KEY ("order", nr));
CREATE TABLE payments (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "order" bigint CONSTRAINT paid_for REFERENCES orders);
CREATE UNIQUE INDEX orders_note ON orders (lower(note)) WHERE note IS NOT NULL;
COMMENT ON COLUMN orders.total IS 'with it''s tax';
INSERT INTO people SELECT n, 'p' || n FROM generate_series(1, 10) n;
"""
FILL = """
INSERT INTO orders (person, total, note) SELECT n % 10 + 1, n % 1000 / 7.0,
    CASE WHEN n % 3 = 0 THEN repeat('é', n % 50) || n END FROM generate_series(1, {0}) n;
INSERT INTO lines SELECT n, 1, 'x' || n, jsonb_build_object('a', n), decode(md5(n::text), 'hex'),
    n / 3.0, ARRAY['a', NULL, n::text] FROM generate_series(1, {0} / 10) n;
INSERT INTO payments ("order") SELECT n FROM generate_series(1, 100) n;
ANALYZE;
"""


@pytest.fixture(scope="module")
def servers():
    try:
        both = [Postgres(settings=["wal_level = logical", "max_wal_size = 4GB",
                                   "wal_retrieve_retry_interval = 100ms"]) for _ in range(2)]
    except Missing as reason:
        missing(str(reason))
    yield both
    for one in both:
        one.close()


class Shop(Book):
    """The book, and its two databases."""

    def split(self, *arguments, status=0):
        result = subprocess.run(
            self.command("service", "split", "orders", *arguments), text=True, capture_output=True,
            timeout=TIMEOUT_S, check=False, env=clean_environment())
        assert status in (None, result.returncode), (arguments, result)
        return result

    def state(self):
        return self.json("service", "split", "orders", "--status")

    def sql(self, side, text):
        return self.sides[side][0].sql(text, self.sides[side][1])

    def content(self, side):
        return [self.sql(side, f"SELECT md5(string_agg(md5(t::text), '' ORDER BY {key})), "
                               f"count(*) FROM {table} t")
                for table, key in (("orders", "id"), ("lines", '"order", nr'))]

    def traces(self):
        """Whatever the product may have made, on both servers."""
        found = []
        for one, database in self.sides.values():
            found += one.sql("SELECT 'slot', slot_name FROM pg_replication_slots UNION ALL SELECT "
                             "'publication', pubname FROM pg_publication UNION ALL SELECT "
                             "'subscription', subname FROM pg_subscription UNION ALL SELECT "
                             "'trigger', tgname FROM pg_trigger WHERE tgname ~ 'daybook' UNION ALL "
                             "SELECT 'relation', relname FROM pg_class WHERE relname ~ 'daybook' "
                             "UNION ALL SELECT 'function', proname FROM pg_proc WHERE proname ~ "
                             "'daybook' UNION ALL SELECT 'origin', roname FROM "
                             "pg_replication_origin", database)
        return found


@pytest.fixture(params=["two", "one"])
def shop(request, servers, binary, data, tmp_path):
    return make_shop(request.param, servers, binary, data, tmp_path)


def make_shop(kind, servers, binary, data, tmp_path, rows=200):
    sides = {"old": (servers[0], "shop"), "new": (servers[0 if kind == "one" else 1], "orders")}
    folder = tmp_path / "book"
    files = dict(FILES)
    for side, (one, database) in sides.items():
        for name in one.sql("SELECT subname FROM pg_subscription"):
            raise AssertionError(f"{name} was left")
        one.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        files["secrets/" + database] = one.create(database)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    book = Shop(binary, folder, data)
    book.sides = sides
    book.sql("old", TABLES)
    book.sql("old", FILL.format(rows))
    return book


@pytest.fixture
def one(servers, binary, data, tmp_path):
    return make_shop("one", servers, binary, data, tmp_path)


class Writer(threading.Thread):
    """Writes orders and lines by one psql for each database; goes where the tables are written.
    Keeps what was acknowledged, and the longest time that a write took to be."""

    def __init__(self, shop, rate):
        super().__init__()
        self.shop = shop
        self.rate = rate
        self.ended = threading.Event()
        self.side = "old"
        self.user = "postgres"
        self.orders = {}  # id -> total, NULL: deleted
        self.longest = 0
        self.count = 0
        self.failures = []
        self.chance = random.Random(11)
        self.connections = {}

    def tell(self, text):
        """One statement, answered by a line of what it returns; None: not written here."""
        if self.side not in self.connections:
            one, database = self.shop.sides[self.side]
            self.connections[self.side] = subprocess.Popen(
                ["psql", "-X", "-q", "-At", one.connection(database, user=self.user)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                bufsize=1)
        process = self.connections[self.side]
        process.stdin.write(text + ";\n\\echo done\n")
        process.stdin.flush()
        lines = []
        while (line := process.stdout.readline()) != "done\n":
            assert line, "psql ended"
            lines.append(line.strip())
        answer = "\n".join(lines)
        if "is not written here now" in answer:
            return None
        if "ERROR" in answer:
            self.failures.append((text, answer))
        return lines[0] if lines else ""

    def write(self, text):
        """Until it is done, on whichever side that is."""
        while (answer := self.tell(text)) is None:
            self.side = "new" if self.side == "old" else "old"
            time.sleep(0.002)
        return answer

    def one(self):
        total = str(self.chance.randint(0, 9999))
        kind = self.chance.random()
        if kind < 0.5 or len(self.orders) < 10:
            number = self.write(f"INSERT INTO orders (person, total) VALUES (1, {total}) "
                                "RETURNING id")
            assert number not in self.orders, f"the number {number} was given twice"
            self.orders[number] = total
            return
        number = self.chance.choice(list(self.orders))
        if kind < 0.9:
            self.write(f"UPDATE orders SET total = {total} WHERE id = {number}")
            if self.orders[number] is not None:
                self.orders[number] = total
        else:
            self.write(f"DELETE FROM orders WHERE id = {number}")
            self.orders[number] = None

    def run(self):
        started = time.monotonic()
        while not self.ended.is_set():
            begun = time.monotonic()
            self.one()
            self.longest = max(self.longest, time.monotonic() - begun)
            self.count += 1
            time.sleep(max(0, started + self.count / self.rate - time.monotonic()))
        for process in self.connections.values():
            process.communicate()

    def end(self):
        self.ended.set()
        self.join()
        assert not self.failures, self.failures[:3]

    def assert_kept(self, side):
        found = dict(self.shop.sql(side, "SELECT id::text, total FROM orders"))
        for number, total in self.orders.items():
            assert (number in found) == (total is not None), number
            assert total is None or float(found[number]) == float(total), number


def test_under_a_writer_there_and_back(servers, binary, data, tmp_path):
    shop = make_shop("two", servers, binary, data, tmp_path, ROWS)
    before = shop.traces()
    writer = Writer(shop, RATE)
    writer.start()
    begun = time.monotonic()
    shop.split("--to", "orders", "--yes")
    print("copied and verified in", round(time.monotonic() - begun, 1), "s")
    ready = shop.state()
    assert ready["step"] == "ready" and ready["rows_equal"] >= ROWS
    writer.longest = 0
    count = writer.count
    time.sleep(1)
    print("writes/s:", writer.count - count)
    shop.split("--switch")
    time.sleep(1)
    moved = shop.state()
    assert moved["step"] == "moved" and writer.side == "new"
    assert "database: orders   # shared" in (shop.folder / "services/orders.yaml").read_text()
    print("pause by the product", moved["switch_pause_us"] / 1e6, "s, by the writer",
          round(writer.longest, 3), "s; to verify", ready["verify_pause_us"] / 1e6, "s")
    assert moved["switch_pause_us"] <= 1_000_000 and writer.longest <= 1
    # What is written in the new one is in the old one, too: row by row, while it is written.
    shop.split()
    assert shop.state()["rows_equal"] >= ROWS
    writer.longest = 0
    shop.split("--back")
    time.sleep(0.3)
    assert shop.state()["step"] == "ready" and writer.side == "old" and writer.longest <= 1
    shop.split("--switch")
    time.sleep(0.3)
    writer.end()
    writer.assert_kept("new")
    shop.split()
    assert shop.content("new") == shop.content("old")
    shop.split("--confirm", "--yes")
    print("writes:", writer.count, "rows lost or different: 0")
    assert shop.traces() == before
    assert shop.sql("old", "SELECT to_regclass('orders'), to_regclass('lines')") == [["", ""]]
    assert shop.state()["step"] == "none"


@pytest.mark.parametrize("kind", ["two", "one"])
def test_it_may_write_the_moment_it_is_switched(kind, servers, binary, data, tmp_path):
    """By its own role, whose grants are there before, and its own login, which leads there."""
    shop = make_shop(kind, servers, binary, data, tmp_path)
    for service in ("users", "orders"):
        with open(shop.folder / f"services/{service}.yaml", "a", encoding="utf-8") as file:
            file.write(f"login: file:secrets/{service}_login\nrole: {service}_of_{kind}\n")
    shop.run("service", "apply", "--yes")
    login = shop.folder / "secrets/orders_login"
    before = login.read_text()
    writer = Writer(shop, 100)
    writer.user = f"orders_of_{kind}"
    writer.start()
    shop.split("--to", "orders", "--yes")
    session = hold(shop, "new", "LOCK TABLE lines IN SHARE MODE")
    refused = shop.split("--switch", status=None)
    assert refused.returncode != 0 and "lock timeout" in refused.stderr, refused
    session.communicate("ROLLBACK;\n")
    assert login.read_text() == before
    shop.split("--switch")
    time.sleep(0.3)
    assert writer.side == "new" and writer.longest <= 3
    shop.run("service", "check", "orders")
    text = login.read_text()
    assert text != before and login.stat().st_mode & 0o777 == 0o600
    assert shop.sql("new", "SELECT tableowner FROM pg_tables WHERE tablename = 'orders'") == [
        [writer.user]]
    subprocess.run(["psql", "-X", "-v", "ON_ERROR_STOP=1", text, "-c",
                    "INSERT INTO orders (person) VALUES (1)"], check=True, timeout=60)
    shop.split("--back")
    time.sleep(0.3)
    assert writer.side == "old" and login.read_text() == before
    shop.run("service", "check", "orders")
    shop.split("--switch")
    writer.end()
    writer.assert_kept("new")
    shop.split("--confirm", "--yes")
    assert list((shop.data / "splits").iterdir()) == []


def test_what_cannot_be_granted_is_not_switched(one):
    with open(one.folder / "services/orders.yaml", "a", encoding="utf-8") as file:
        file.write("login: file:secrets/orders_login\nrole: orders_alone\n")
    with open(one.folder / "services/users.yaml", "a", encoding="utf-8") as file:
        file.write("login: file:secrets/users_login\nrole: users_alone\n")
    one.run("service", "apply", "--yes")
    one.split("--to", "orders", "--yes")
    one.sql("new", "COMMENT ON ROLE orders_alone IS 'somebody''s'")
    refused = one.split("--switch", status=None)
    assert refused.returncode != 0 and "the old side serves on" in refused.stderr
    assert "exists, and is not this book's" in refused.stderr and one.state()["step"] == "ready"
    one.split("--abort")


def dump(shop, side):
    """The tables' schema as pg_dump writes it: statements, without the key that is cut."""
    one, database = shop.sides[side]
    text = subprocess.run([one.bin / "pg_dump", "-s", "-O", "-x", "-t", "orders", "-t", "lines",
                           one.connection(database)], capture_output=True, text=True, check=True,
                          timeout=60).stdout
    lines = [line for line in text.splitlines() if line and not line.startswith(("--", "\\"))]
    return sorted(part.strip() for part in "\n".join(lines + [""]).split(";\n")
                  if "orders_person_fkey" not in part)


def test_killed_anywhere_it_goes_on(shop):
    """Each command is killed again and again, later each time, until it is through. A writer goes
    on meanwhile, and sees no number twice and loses nothing."""
    schema = dump(shop, "old")
    before = shop.traces()
    writer = Writer(shop, 100)
    writer.start()
    kills = 0
    for arguments in (["--to", "orders", "--yes"], ["--switch"], ["--back"], ["--switch"], []):
        delay_s = 0.02
        while True:
            process = subprocess.Popen(shop.command("service", "split", "orders", *arguments),
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                       env=clean_environment())
            try:
                answer = process.communicate(timeout=delay_s)
                assert process.returncode == 0 or "another command is at it" in answer[1], answer
                if process.returncode == 0:
                    break
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                kills += 1
            delay_s *= 1.7
    writer.end()
    assert kills > 10
    writer.assert_kept("new")
    assert shop.content("new") == shop.content("old")
    shop.split("--confirm", "--yes")
    assert shop.traces() == before
    assert dump(shop, "new") == schema
    # The new database numbers on.
    assert int(shop.sql("new", "INSERT INTO orders DEFAULT VALUES RETURNING id")[0][0]) > max(
        map(int, writer.orders), default=0)


def test_aborted_nothing_is_left(one):
    shop = one
    before = [shop.traces(), dump(shop, "old"), shop.content("old")]
    begun = subprocess.Popen(shop.command("service", "split", "orders", "--to", "orders", "--yes"),
                             env=clean_environment(), stderr=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL)
    while not shop.sql("new", "SELECT 1 FROM pg_subscription"):
        assert begun.poll() is None
    begun.kill()
    begun.wait()
    shop.split("--abort")
    assert [shop.traces(), dump(shop, "old"), shop.content("old")] == before
    assert shop.sql("new", "SELECT to_regclass('orders'), to_regclass('orders_id_seq')") == [
        ["", ""]]
    assert not list((shop.data / "splits").iterdir())
    # Also where it had been switched and taken back: the keys that are cut hold again.
    shop.split("--to", "orders", "--yes")
    shop.split("--abort", "--switch", status=2)
    shop.split("--switch")
    refused = shop.split("--abort", status=1)
    assert "--back first" in refused.stderr
    assert shop.sql("old", "SELECT conname FROM pg_constraint WHERE conname IN ('paid_for', "
                           "'orders_person_fkey')") == []
    shop.split("--back")
    shop.split("--abort")
    assert [shop.traces(), dump(shop, "old"), shop.content("old")] == before
    assert shop.sql("old", "SELECT conname, convalidated FROM pg_constraint WHERE conname IN "
                           "('paid_for', 'orders_person_fkey') ORDER BY 1") == [
        ["orders_person_fkey", "t"], ["paid_for", "t"]]
    assert "database: shop   # shared" in (shop.folder / "services/orders.yaml").read_text()


def test_what_is_committed_at_the_last_moment_goes_along(servers, binary, data, tmp_path):
    """A long transaction ends while the switch waits for its lock: the other side has none of it
    then."""
    one = make_shop("two", servers, binary, data, tmp_path)
    one.split("--to", "orders", "--yes")
    long = subprocess.Popen(["psql", "-X", "-q", one.sides["old"][0].connection("shop")],
                            stdin=subprocess.PIPE, text=True)
    long.stdin.write("BEGIN; INSERT INTO orders (person, total) SELECT 1, 7 FROM "
                     "generate_series(1, 60000);\n")
    long.stdin.flush()
    time.sleep(0.5)
    switch = subprocess.Popen(one.command("service", "split", "orders", "--switch"),
                              env=clean_environment(), stdout=subprocess.DEVNULL)
    # By a session that is there already: the wait is short.
    subprocess.run(
        ["psql", "-X", "-q", one.sides["old"][0].connection("shop"), "-c",
         "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND mode = "
         "'ExclusiveLock' AND locktype = 'relation') LOOP END LOOP; END $$"], check=True,
        timeout=TIMEOUT_S)
    long.stdin.write("COMMIT;\n")
    long.communicate()
    assert switch.wait(timeout=TIMEOUT_S) == 0
    assert one.sql("new", "SELECT count(*) FROM orders WHERE total = 7")[0][0] >= "60000"
    assert one.state()["switch_pause_us"] <= 1_000_000
    one.split("--confirm", "--yes")


def test_the_plan_says_what_becomes_of_it(one):
    one.sql("old", "CREATE VIEW paid AS SELECT id FROM orders WHERE paid; CREATE FUNCTION f() "
                   "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER "
                   "stamps BEFORE INSERT ON lines FOR EACH ROW EXECUTE FUNCTION f()")
    before = one.traces()
    answer = one.run("service", "split", "orders", "--to", "orders", "-o", "json", status=1)
    assert "--yes" in answer.errors and one.traces() == before
    found = {(row["what"], row["thing"]) for row in answer.json}
    assert found == {
        ("moves", "public.orders"), ("moves", "public.lines"),
        ("cut", "public.orders (orders_person_fkey)"), ("cut", "public.payments (paid_for)"),
        ("stays", "public.lines (trigger stamps)"), ("stays", "public.paid")}
    # Its view wants to be gone before the old tables can be.
    one.split("--to", "orders", "--yes")
    one.split("--switch")
    refused = one.split("--confirm", "--yes", status=1)
    assert "view public.paid depends on table public.orders" in refused.stderr
    assert one.state()["step"] == "moved"
    one.sql("old", "DROP VIEW paid")
    one.split("--confirm", "--yes")


CANNOT = [
    ("old", "ALTER TABLE lines DROP CONSTRAINT lines_pkey", "no primary key"),
    ("old", "ALTER TABLE lines REPLICA IDENTITY NOTHING", "REPLICA IDENTITY DEFAULT"),
    ("old", "ALTER TABLE lines ENABLE ROW LEVEL SECURITY", "row security"),
    ("old", "ALTER TABLE lines SET UNLOGGED", "SET LOGGED"),
    ("old", "CREATE UNLOGGED TABLE more () INHERITS (lines)", "inherited"),
    ("old", "CREATE TYPE mood AS ENUM ('a', 'b'); ALTER TABLE lines ADD m mood[]",
     "CREATE TYPE public.mood AS ENUM ('a', 'b')"),
    ("new", "CREATE TABLE orders (id int)", "exists in the new database"),
    ("new", "DROP TABLE orders; CREATE SEQUENCE orders_id_seq", "exists in the new database"),
    ("old", "DROP TABLE lines CASCADE", "not in the old database"),
]


def test_what_cannot_be_is_said_first(one):
    before = one.traces()
    for side, change, said in CANNOT:
        one.sql(side, change)
        answer = one.run("service", "split", "orders", "--to", "orders", "--yes", "-o", "json",
                         status=1)
        assert any(row["what"] == "refused" and said in row["becomes"] for row in answer.json), (
            change, answer)
    assert one.traces() == before and one.state()["step"] == "none"


def test_servers_that_cannot_are_named(one, tmp_path):
    other = Postgres()
    try:
        other.create("orders")
        other.sql("CREATE ROLE weak LOGIN")
        (one.folder / "secrets/orders").write_text(other.connection("orders", user="weak"))
        answer = one.run("service", "split", "orders", "--to", "orders", "--yes", "-o", "json",
                         status=1)
        said = [row["becomes"] for row in answer.json if row["thing"] == "the new database"]
        for part in ("wal_level = logical", "only a superuser may", "ALTER ROLE weak REPLICATION",
                     "GRANT CREATE ON DATABASE orders TO weak"):
            assert any(part in text for text in said), said
    finally:
        other.close()
    assert "the database that orders is in" in one.split("--to", "shop", "--yes",
                                                         status=1).stderr
    assert "expected a name of book.yaml" in one.split("--to", "nothing", "--yes",
                                                       status=1).stderr
    # An address that the other server takes for a database of its own.
    (one.folder / "secrets/orders").write_text(one.sides["new"][0].connection("orders"))
    wrong = tmp_path / "wrong"
    wrong.write_text(one.sides["old"][0].connection("postgres"))
    refused = one.split("--to", "orders", "--reach-old", f"postgres:file:{wrong}", "--yes",
                        status=1)
    assert "--reach-old" in refused.stderr
    one.split("--abort")


def test_a_book_that_would_have_faults_is_not_switched(one):
    one.split("--to", "orders", "--yes")
    with open(one.folder / "services/orders.yaml", "a", encoding="utf-8") as file:
        file.write("reads: {users.people: {columns: [id], version: 1}}\n")
    refused = one.split("--switch", status=1)
    assert "in another database" in refused.stderr and "nothing was changed" in refused.stderr
    assert sorted(path.name for path in (one.folder / "services").iterdir()) == [
        "orders.yaml", "users.yaml"]
    assert one.state()["step"] == "ready"
    one.split("--abort")


def test_a_row_that_differs_is_found(one):
    """Each kind of difference that somebody makes by hand on the side that follows."""
    one.split("--to", "orders", "--yes")
    gate = "SET session_replication_role = replica; "
    for change, mend in (
            ("UPDATE lines SET tags = '{b}' WHERE nr = 1 AND \"order\" = 7",
             "UPDATE lines SET tags = ARRAY['a', NULL, '7'] WHERE \"order\" = 7"),
            ("UPDATE orders SET note = coalesce(note, '') WHERE id = 1",
             "UPDATE orders SET note = NULL WHERE id = 1"),
            ("INSERT INTO orders (id, person) VALUES (-1, 1)", "DELETE FROM orders WHERE id = -1")):
        one.sql("new", gate + change)
        refused = one.split(status=1)
        assert "side" in refused.stderr and "--abort" in refused.stderr
        one.sql("new", gate + mend)
        one.split()
    one.sql("new", gate + "DELETE FROM lines WHERE \"order\" = 9")
    assert '["9", "1"]' in one.split(status=1).stderr
    one.split("--abort")


def test_a_switch_that_stopped_halfway_is_taken_back(one):
    """The gates of both sides are closed then: nobody writes until one of them is opened."""
    one.split("--to", "orders", "--yes")
    blocker = subprocess.Popen(
        ["psql", "-X", "-q", one.sides["new"][0].connection("orders")], stdin=subprocess.PIPE,
        text=True)
    blocker.stdin.write("BEGIN; LOCK TABLE lines IN SHARE MODE;\n")
    blocker.stdin.flush()
    time.sleep(0.2)
    switch = subprocess.Popen(one.command("service", "split", "orders", "--switch"),
                              env=clean_environment())
    write = "INSERT INTO orders (person) VALUES (1)"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            one.sql("old", write)
        except AssertionError as refused:
            assert "is not written here now" in str(refused)
            break
    switch.kill()
    switch.wait()
    with pytest.raises(AssertionError, match="is not written here now"):
        one.sql("new", write)
    halfway = one.state()
    assert halfway["step"] == "switching"
    assert [row["of"] for row in halfway["slots"]] == ["old", "new"]
    blocker.communicate("ROLLBACK;\n")
    one.split("--back")
    assert one.state()["step"] == "ready"
    one.sql("old", write)
    one.split("--switch")
    one.sql("new", write)
    one.split("--back")
    one.split("--abort")
    assert one.traces() == []


def test_who_says_yes_too_late_drops_nothing(one):
    """What was asked about is not so any more: the old tables serve again when the answer comes."""
    one.split("--to", "orders", "--yes")
    one.split("--switch")
    ours, theirs = pty.openpty()
    asked = subprocess.Popen(one.command("service", "split", "orders", "--confirm"), stdin=theirs,
                             stderr=subprocess.PIPE, text=True, env=clean_environment())
    said = ""
    while "(yes/no)" not in said:
        said += asked.stderr.read(1)
    one.split("--back")
    os.write(ours, b"yes\n")
    said = asked.communicate(timeout=TIMEOUT_S)[1]
    os.close(ours)
    os.close(theirs)
    assert asked.returncode == 1 and "gone on with the split" in said
    one.sql("old", "INSERT INTO orders (person) VALUES (1)")
    # Nor what the old database's address leads to since.
    one.split("--switch")
    secret = one.folder / "secrets/shop"
    address = secret.read_text()
    secret.write_text((one.folder / "secrets/orders").read_text())
    assert "can be written" in one.split("--confirm", "--yes", status=1).stderr
    one.sql("new", "INSERT INTO orders (person) VALUES (1)")
    secret.write_text(address)
    one.split("--confirm", "--yes")
    assert one.traces() == []


SLOTS = ("SELECT slot_name FROM pg_replication_slots UNION ALL SELECT pubname FROM pg_publication "
         "ORDER BY 1")


def hold(shop, side, text):
    """A session that has a transaction open."""
    session = subprocess.Popen(["psql", "-X", "-q", shop.sides[side][0].connection(
        shop.sides[side][1])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    session.stdin.write(f"BEGIN; {text};\n\\echo held\n")
    session.stdin.flush()
    assert session.stdout.readline().endswith("held\n")
    return session


def test_a_side_that_cannot_be_opened_is_not_waited_for(one):
    """Who served before serves again, and no slot keeps the other server's log."""
    one.split("--to", "orders", "--yes")
    kept = one.sql("old", SLOTS)
    session = hold(one, "new", "LOCK TABLE lines IN SHARE MODE")
    begun = time.monotonic()
    refused = one.split("--switch", status=1)
    assert "the old side serves on" in refused.stderr and time.monotonic() - begun < 20
    assert one.state()["step"] == "ready"
    one.sql("old", "INSERT INTO orders (person) VALUES (1)")
    assert one.sql("old", SLOTS) == kept
    session.communicate("ROLLBACK;\n")
    one.split("--switch")
    one.split("--confirm", "--yes")
    assert one.traces() == []


def test_who_opens_it_at_the_last_moment_keeps_it(one):
    """Gates are looked at once nobody else can have the tables."""
    one.split("--to", "orders", "--yes")
    one.split("--switch")
    name = one.sql("new", "SELECT pubname FROM pg_publication")[0][0].removesuffix("_back")
    session = hold(one, "old", f"ALTER TABLE orders DISABLE TRIGGER {name}_gate")
    confirm = subprocess.Popen(one.command("service", "split", "orders", "--confirm", "--yes"),
                               env=clean_environment(), stderr=subprocess.PIPE, text=True)
    while not one.sql("old", "SELECT 1 FROM pg_locks WHERE NOT granted"):
        assert confirm.poll() is None
    session.communicate("COMMIT;\n")
    said = confirm.communicate(timeout=TIMEOUT_S)[1]
    assert confirm.returncode == 1 and "can be written" in said
    assert one.state()["step"] == "moved"
    one.sql("old", f"ALTER TABLE orders ENABLE TRIGGER {name}_gate")
    one.split("--confirm", "--yes")
    assert one.traces() == []


def test_others_do_not_wait_behind_it(one):
    """A key is cut at a table that stays: who reads there is not held up by a reader before."""
    one.split("--to", "orders", "--yes")
    session = hold(one, "old", "LOCK TABLE people IN ACCESS SHARE MODE")
    switch = subprocess.Popen(one.command("service", "split", "orders", "--switch"),
                              env=clean_environment(), stdout=subprocess.DEVNULL)
    longest = 0
    until = time.monotonic() + 3
    while time.monotonic() < until:
        begun = time.monotonic()
        one.sql("old", "SELECT count(*) FROM people")
        longest = max(longest, time.monotonic() - begun)
    assert switch.poll() is None and longest < 1
    session.communicate("ROLLBACK;\n")
    assert switch.wait(timeout=TIMEOUT_S) == 0
    one.split("--back")
    one.split("--abort")


def test_a_key_that_was_never_checked_is_not_checked(one):
    one.sql("old", "ALTER TABLE payments DROP CONSTRAINT paid_for; INSERT INTO payments "
                   "(\"order\") VALUES (-1); ALTER TABLE payments ADD CONSTRAINT paid_for FOREIGN "
                   "KEY (\"order\") REFERENCES orders NOT VALID")
    one.split("--to", "orders", "--yes")
    one.split("--switch")
    one.split("--back")
    assert one.sql("old", "SELECT convalidated FROM pg_constraint WHERE conname = 'paid_for'") == [
        ["f"]]
    one.split("--abort")


def test_a_key_that_broke_meanwhile_hinders_no_way_back(one):
    """A row in a table that stays lost what it refers to while the key was cut."""
    one.split("--to", "orders", "--yes")
    one.split("--switch")
    one.sql("old", "INSERT INTO payments (\"order\") VALUES (-5)")
    said = one.split("--back").stderr
    assert "the key paid_for of public.payments holds for new rows alone" in said
    assert "VALIDATE CONSTRAINT paid_for" in said and one.state()["step"] == "ready"
    assert one.sql("old", "SELECT conname, convalidated FROM pg_constraint WHERE conname IN "
                          "('paid_for', 'orders_person_fkey') ORDER BY 1") == [
        ["orders_person_fkey", "t"], ["paid_for", "f"]]
    with pytest.raises(AssertionError, match="paid_for"):
        one.sql("old", "INSERT INTO payments (\"order\") VALUES (-6)")
    # Nor one whose table is gone.
    one.split("--switch")
    one.sql("old", "DROP TABLE payments")
    assert "the key paid_for of public.payments is not made again" in one.split("--back").stderr
    one.split("--abort")
    assert one.traces() == []


def test_a_check_that_old_rows_fail_comes_behind_them(one):
    one.sql("old", "ALTER TABLE lines ADD CONSTRAINT many CHECK (nr > 9) NOT VALID")
    schema = dump(one, "old")
    one.split("--to", "orders", "--yes")
    one.split("--switch")
    assert one.content("new") == one.content("old")
    with pytest.raises(AssertionError, match="many"):
        one.sql("new", "INSERT INTO lines (\"order\", nr) VALUES (1, 2)")
    one.split("--confirm", "--yes")
    assert dump(one, "new") == schema


def test_slots_that_are_not_free_are_said_first(one):
    """With as many as it says, the copies are through."""
    server = one.sides["old"][0]
    most = int(one.sql("old", "SHOW max_replication_slots")[0][0])
    one.sql("old", f"SELECT pg_create_physical_replication_slot('other_' || n) FROM "
                   f"generate_series(1, {most - 2}) n")
    try:
        answer = one.run("service", "split", "orders", "--to", "orders", "--yes", "-o", "json",
                         status=1)
        assert ("the old database", "it has 2 free replication slots where 3 are needed: set "
                f"max_replication_slots = {most + 1} at least, and restart the server") in [
                    (row["thing"], row["becomes"]) for row in answer.json], answer
        assert one.state()["step"] == "none"
        one.sql("old", "SELECT pg_drop_replication_slot('other_1')")
        one.split("--to", "orders", "--yes")
        one.split("--switch")
        one.split("--confirm", "--yes")
    finally:
        server.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE "
                   "slot_name ~ '^other'")


def test_a_slot_that_is_lost_is_said(one):
    one.split("--to", "orders", "--yes")
    ready = one.state()["slots"]
    assert [(row["of"], row["active"], row["wal_status"]) for row in ready] == [
        ("old", True, "reserved")]
    name = ready[0]["slot"].removesuffix("_out")
    one.sql("new", f"ALTER SUBSCRIPTION {name}_out DISABLE")
    one.sql("old", "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    one.sql("old", "SELECT pg_reload_conf()")
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while "is lost" not in (said := one.split("--status", status=None)).stderr:
            assert time.monotonic() < deadline, said
            one.sql("old", "INSERT INTO people SELECT max(id) + 1 FROM people")
            one.sql("old", "SELECT pg_switch_wal()")
            one.sql("old", "CHECKPOINT")
        assert said.returncode == 1 and "--abort, and begin anew" in said.stderr
        assert "lost" in said.stdout
    finally:
        one.sql("old", "ALTER SYSTEM RESET max_slot_wal_keep_size")
        one.sql("old", "SELECT pg_reload_conf()")
    one.sql("new", f"ALTER SUBSCRIPTION {name}_out SET (slot_name = NONE)")
    one.sql("old", f"SELECT pg_drop_replication_slot('{name}_out')")
    assert "has no slot" in one.split("--status", status=1).stderr
    one.split("--abort")
    assert one.traces() == []


def test_slots_of_copies_are_dropped_with_it(one):
    """As a server leaves them that does not reach the other one when its subscription ends."""
    one.split("--to", "orders", "--yes")
    number, server = one.sql("new", "SELECT s.oid, system_identifier FROM pg_subscription s, "
                                    "pg_control_system()")[0]
    for slot in (f"pg_{number}_sync_77_{server}", f"pg_{number}1_sync_77_{server}"):
        one.sql("old", f"SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")
    one.split("--abort")
    assert one.sql("old", SLOTS) == [[f"pg_{number}1_sync_77_{server}"]]
    one.sql("old", f"SELECT pg_drop_replication_slot('pg_{number}1_sync_77_{server}')")
    assert one.traces() == []


def test_services_are_split_beside_each_other(one):
    """A plan that waits for its answer keeps others from the same service alone."""
    ours, theirs = pty.openpty()
    asked = subprocess.Popen(one.command("service", "split", "orders", "--to", "orders"),
                             stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                             text=True, env=clean_environment())
    said = ""
    while "(yes/no)" not in said:
        said += asked.stderr.read(1)
    assert "another command is at" in one.split("--to", "orders", "--yes", status=1).stderr
    other = one.run("service", "split", "users", "--to", "orders", status=1)
    assert "--yes does it" in other.errors
    os.write(ours, b"no\n")
    asked.communicate(timeout=TIMEOUT_S)
    os.close(ours)
    os.close(theirs)
    assert asked.returncode == 1 and one.traces() == []


def test_no_password_is_in_a_log(one):
    """A statement that fails, or takes long, is written there whole."""
    for side in ("old", "new"):
        one.sql(side, f"ALTER DATABASE {one.sides[side][1]} SET log_statement = 'all'; ALTER "
                      f"DATABASE {one.sides[side][1]} SET log_min_messages = 'log'; ALTER DATABASE "
                      f"{one.sides[side][1]} SET log_min_duration_statement = 0")
    with open(one.folder / "secrets/shop", "a", encoding="utf-8") as file:
        file.write(" password=hidden-in-here")
    one.split("--to", "orders", "--yes")
    one.split("--abort")
    log = (one.sides["new"][0].folder / "log").read_text(encoding="utf-8", errors="replace")
    assert "hidden-in-here" not in log and "log_statement" in log


def test_the_way_back_is_tried_first(one, tmp_path):
    """A server that does not find the other one is told before it is the one that follows."""
    wrong = tmp_path / "wrong"
    wrong.write_text(one.sides["old"][0].connection("postgres"))
    address = f"postgres:file:{wrong}"
    refused = one.split("--to", "orders", "--reach-new", address, "--yes", status=1)
    assert "--reach-new" in refused.stderr
    one.split("--abort")
    assert one.traces() == []
    # Also where it has not been found since.
    wrong.write_text((one.folder / "secrets/orders").read_text())
    one.split("--to", "orders", "--reach-new", address, "--yes")
    wrong.write_text("host=127.0.0.1 port=1 dbname=orders user=postgres")
    assert "cannot follow the new one" in one.split("--switch", status=3).stderr
    one.sql("old", "INSERT INTO orders (person) VALUES (1)")
    one.split("--back")
    assert one.state()["step"] == "ready"
    one.split("--abort")
    assert one.traces() == []


def test_what_another_user_made_under_its_names_is_not_used(one):
    """A trigger there would run as the book's user, and a function's owner may change it."""
    one.sql("old", "DROP ROLE IF EXISTS mallory; CREATE ROLE mallory")
    one.split("--to", "orders", "--yes")
    name = one.sql("old", "SELECT pubname FROM pg_publication")[0][0].removesuffix("_out")
    one.sql("old", f"CREATE FUNCTION _{name}_gate() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN "
                   f"RETURN NULL; END'; ALTER FUNCTION _{name}_gate() OWNER TO mallory")
    assert "another user's" in one.split("--switch", status=1).stderr
    one.sql("old", "INSERT INTO orders (person) VALUES (1)")
    one.split("--back")
    one.split("--abort")
    one.sql("old", f"CREATE TABLE _{name} (id integer PRIMARY KEY, token text); ALTER TABLE "
                   f"_{name} OWNER TO mallory")
    assert "another user's" in one.split("--to", "orders", "--yes", status=1).stderr
    one.split("--abort")
    one.sql("old", f"DROP TABLE IF EXISTS _{name}; DROP ROLE mallory")
    assert one.traces() == []
