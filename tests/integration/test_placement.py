# SPDX-License-Identifier: Apache-2.0
"""What services may do in PostgreSQL: `service apply` makes it, `service check` finds what was
changed by hand. The server asks for passwords of everybody but its superuser."""
import os
import re
import stat
import subprocess

import pytest
from conftest import Book, missing
from services.postgres import Missing, Postgres

FILES = {
    "book.yaml": "book: shop\ndatabases:\n  shop: postgres:file:secrets/shop\n",
    "services/users.yaml":
        "database: shop\ntables:\n  people: {public: [id, name]}\n  passwords:\n"
        "login: file:secrets/users\n",
    "services/orders.yaml":
        "database: shop\ntables: {orders: }\n"
        "reads: {users.people: {columns: [id, name], version: 1}}\nlogin: file:secrets/orders\n",
}
TABLES = """
CREATE TABLE people (id serial PRIMARY KEY, name text, email text);
CREATE TABLE passwords (id integer PRIMARY KEY REFERENCES people, hash text);
CREATE SEQUENCE numbers;
CREATE TABLE orders (id integer PRIMARY KEY DEFAULT nextval('numbers'), person integer,
    total numeric);
CREATE TABLE nobodys (id integer);
CREATE FUNCTION secret() RETURNS text LANGUAGE sql SECURITY DEFINER
    AS 'SELECT hash FROM passwords LIMIT 1';
CREATE FUNCTION is_good(numeric) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 >= 0';
ALTER TABLE orders ADD CHECK (is_good(total));
"""


@pytest.fixture(scope="module")
def server():
    try:
        one = Postgres()
    except Missing as reason:
        missing(str(reason))
    (one.data / "pg_hba.conf").write_text(
        "local all all trust\nhost all postgres 127.0.0.1/32 trust\n"
        "host all all 127.0.0.1/32 scram-sha-256\n", encoding="utf-8")
    one.sql("SELECT pg_reload_conf()")
    yield one
    one.close()


@pytest.fixture
def shop(server, binary, data, tmp_path):
    """A book whose services have a fresh database and no roles."""
    server.sql('DROP DATABASE IF EXISTS shop WITH (FORCE)')
    for role in ("users", "orders", "reports"):
        server.sql(f"DROP ROLE IF EXISTS {role}")
    connection = server.create("shop")
    server.sql(TABLES, "shop")
    folder = tmp_path / "book"
    for name, text in (FILES | {"secrets/shop": connection}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return Book(binary, folder, data)


def test_a_login_that_is_made_is_its_users_in_the_same_run(shop):
    if os.geteuid() != 0:
        pytest.skip("only root gives files to others")
    for service, user in (("users", "games"), ("orders", "daemon")):
        with open(shop.folder / "services" / f"{service}.yaml", "a", encoding="utf-8") as file:
            file.write(f"user: {user}\n")
    shop.run("service", "apply", "--yes")
    assert (shop.folder / "secrets/users").stat().st_uid == 5
    assert (shop.folder / "secrets/orders").stat().st_uid == 1
    assert shop.json("service", "check") == []


def catalog(server):
    """All privileges, owners and roles there are, as the server says them."""
    return server.sql(
        "SELECT 'c', oid::regclass::text, relowner, relacl FROM pg_class UNION ALL "
        "SELECT 'f', oid::regprocedure::text, proowner, proacl FROM pg_proc UNION ALL "
        "SELECT 'n', oid::regnamespace::text, nspowner, nspacl FROM pg_namespace UNION ALL "
        "SELECT 'd', datname::text, datdba, datacl FROM pg_database WHERE datname = 'shop' "
        "UNION ALL SELECT 'r', oid::regrole::text, NULL, NULL FROM pg_authid ORDER BY 1, 2", "shop")


def psql(book, service, text):
    """As the service, with its own connection string; (worked, answer)."""
    login = (book.folder / "secrets" / service).read_text()
    result = subprocess.run(["psql", "-X", "-qAt", "-v", "ON_ERROR_STOP=1", login, "-c", text],
                            capture_output=True, text=True, timeout=60, check=False)
    return result.returncode == 0, result.stdout.strip() or result.stderr


def assert_placed(book):
    """As the services themselves find it."""
    works = {
        "users": ["INSERT INTO people (name) VALUES ('Ann'); ALTER TABLE people ADD phone text",
                  "CREATE TABLE mine (id int); DROP TABLE mine"],
        "orders": ["SELECT id, name FROM people",
                   "INSERT INTO orders (person, total) VALUES (1, 2); DELETE FROM orders"]}
    fails = {
        "users": ["SELECT id FROM orders", "SELECT id FROM nobodys", "SELECT secret()",
                  "CREATE TABLE public.mine (id int)", "CREATE TEMP TABLE mine (id int)"],
        "orders": ["SELECT email FROM people", "SELECT * FROM people",
                   "UPDATE people SET name = ''", "SELECT hash FROM passwords", "SET ROLE users",
                   "CREATE TABLE users.mine (id int)"]}
    for service, texts in works.items():
        for text in texts:
            assert psql(book, service, text)[0], (service, text)
    for service, texts in fails.items():
        for text in texts:
            worked, answer = psql(book, service, text)
            assert not worked and ("denied" in answer or "must be" in answer), (service, text)


def test_a_plan_is_shown_and_changes_nothing(shop, server):
    before = catalog(server)
    refused = shop.run("service", "apply", "-o", "json", status=1)
    assert "CREATE ROLE users LOGIN" in [row["statement"] for row in refused.json]
    assert "--yes" in refused.errors and catalog(server) == before
    assert not (shop.folder / "secrets" / "users").exists()
    assert shop.json("service", "check", status=1) == refused.json


def test_services_may_what_their_files_say(shop, server):
    shop.run("service", "apply", "--yes")
    assert shop.json("service", "check") == []
    assert shop.json("service", "apply", "--yes") == []
    assert stat.S_IMODE(os.stat(shop.folder / "secrets" / "users").st_mode) == 0o600
    assert_placed(shop)


# What somebody may do by hand, and a part of what is said of it.
DRIFT = {
    "GRANT SELECT ON people TO reports": "reports has SELECT",
    "GRANT orders TO reports": "reports is a member of orders",
    "GRANT pg_read_all_data TO orders": "orders is a member of pg_read_all_data",
    "GRANT users TO orders": "orders is a member of users",
    "ALTER SCHEMA users OWNER TO postgres": "the schema users is",
    "ALTER TABLE orders OWNER TO users": "public.orders is users's",
    "ALTER SEQUENCE numbers OWNER TO postgres": "public.numbers is postgres's",
    "ALTER TABLE nobodys OWNER TO users": "public.nobodys is users's",
    "ALTER FUNCTION secret() OWNER TO orders": "public.secret() is orders's",
    "ALTER DATABASE shop OWNER TO orders": "database shop is orders's",
    "REVOKE CONNECT ON DATABASE shop FROM orders": "orders has no CONNECT",
    "REVOKE USAGE ON SCHEMA public FROM orders": "orders has no USAGE on schema public",
    "REVOKE SELECT (name) ON people FROM orders":
        "orders has no SELECT on table public.people.name",
    "REVOKE EXECUTE ON FUNCTION is_good(numeric) FROM orders": "orders has no EXECUTE",
    "GRANT SELECT (id) ON people TO orders WITH GRANT OPTION": "orders may pass on SELECT",
    "ALTER DEFAULT PRIVILEGES FOR ROLE users GRANT EXECUTE ON FUNCTIONS TO PUBLIC":
        "what users makes later gives everybody EXECUTE",
    "ALTER DEFAULT PRIVILEGES FOR ROLE users REVOKE INSERT ON TABLES FROM users":
        "what users makes later gives itself no INSERT",
    "ALTER ROLE orders SET search_path = users, public":
        "orders's search_path is set to users, public",
    "ALTER ROLE orders IN DATABASE shop RESET search_path": "orders's search_path is not",
    "ALTER ROLE orders IN DATABASE shop SET row_security = off": "orders's row_security is set",
    "ALTER ROLE orders PASSWORD 'another'": "it cannot log in",
    "ALTER ROLE orders NOLOGIN": "not allowed to log in",
    "ALTER ROLE orders VALID UNTIL '2020-01-01'": "valid for a time",
}
# The thing, as it is said, and its rights.
THINGS = {
    "table public.passwords": ("passwords", "SELECT INSERT UPDATE DELETE TRUNCATE REFERENCES "
                                            "TRIGGER"),
    "table public.passwords.hash": ("passwords", "SELECT INSERT UPDATE REFERENCES"),
    "table public.nobodys": ("nobodys", "SELECT"),
    "table pg_catalog.pg_authid": ("pg_authid", "SELECT"),
    "table pg_catalog.pg_authid.rolname": ("pg_authid", "SELECT"),
    "routine public.secret()": ("FUNCTION secret()", "EXECUTE"),
    "routine pg_catalog.pg_read_file(text)": ("FUNCTION pg_read_file(text)", "EXECUTE"),
    "sequence public.people_id_seq": ("SEQUENCE people_id_seq", "USAGE SELECT UPDATE"),
    "schema public": ("SCHEMA public", "CREATE"), "schema users": ("SCHEMA users", "CREATE USAGE"),
    "database shop": ("DATABASE shop", "CREATE TEMPORARY"),
    "tablespace pg_default": ("TABLESPACE pg_default", "CREATE"),
    "parameter log_statement": ("PARAMETER log_statement", "SET ALTER_SYSTEM"),
    "foreign data wrapper wrapper": ("FOREIGN DATA WRAPPER wrapper", "USAGE"),
    "foreign server other": ("FOREIGN SERVER other", "USAGE"),
    "large object 42": ("LARGE OBJECT 42", "SELECT UPDATE")}


def grants(who):
    """Every kind of grant of every kind of thing, and what is said of it."""
    said = "everybody" if who == "PUBLIC" else who
    for name, (thing, rights) in THINGS.items():
        column = name.split(".")[2:]
        for right in rights.replace("_", " ").replace("SET ALTER", "SET,ALTER").split(
                "," if "ALTER" in rights else None):
            words = f"{right} ({column[0]})" if column else right
            yield f"GRANT {words} ON {thing} TO {who}", f"{said} has {right} on {name}"


ROUNDS = [DRIFT, dict(grants("orders")), dict(grants("PUBLIC")), {
    f"ALTER ROLE orders {word}": f"the role orders is {what}" for word, what in (
        ("SUPERUSER", "a superuser"), ("CREATEROLE", "allowed to make roles"),
        ("CREATEDB", "allowed to make databases"), ("REPLICATION", "allowed to replicate"),
        ("BYPASSRLS", "above row security"))} | {
    f"GRANT USAGE ON {thing} TO orders": f"orders has USAGE on {name}" for thing, name in (
        ("TYPE people", "type public.people"),
        ("LANGUAGE plpgsql", "language plpgsql"))} | {
    f"REVOKE {right} ON orders FROM orders": right for right in
    "SELECT INSERT UPDATE DELETE TRUNCATE REFERENCES TRIGGER".split()} | {
    f"REVOKE {right} ON SEQUENCE numbers FROM orders": right for right in
    "SELECT USAGE UPDATE".split()} | {
    f"ALTER DEFAULT PRIVILEGES FOR ROLE {role} GRANT {right} ON {things.upper()} TO {who}":
        f"what {maker} makes later gives {said} {right} on {things}{where}"
    for role, maker, where in (("users", "users", ""),
                               ("postgres IN SCHEMA public", "postgres", " in public"))
    for right, things in (("SELECT", "tables"), ("USAGE", "sequences"))
    for who, said in (("orders", "orders"), ("PUBLIC", "everybody"))}]
# What everybody may anyway, or what a session of the service itself cannot find.
WITHOUT_EFFECT = {
    "ALTER ROLE orders IN DATABASE shop RESET search_path",
    "GRANT USAGE ON TYPE people TO orders", "GRANT USAGE ON LANGUAGE plpgsql TO orders"}
# Each alone takes minutes longer.
if "DAYBOOK_PLACEMENT_EACH" in os.environ:
    ROUNDS = [{change: what} for changes in ROUNDS for change, what in changes.items()]


def test_every_change_by_hand_is_found_and_mended(shop, server):
    server.sql("CREATE ROLE reports; CREATE FOREIGN DATA WRAPPER wrapper; "
               "CREATE SERVER other FOREIGN DATA WRAPPER wrapper; SELECT lo_create(42)", "shop")
    shop.run("service", "apply", "--yes")
    for changes in ROUNDS:
        server.sql("; ".join(changes), "shop")
        answer = shop.run("service", "check", "-o", "json", status=1)
        assert answer.text, answer
        found = answer.json
        for change, what in changes.items():
            assert any(what in row["what"] for row in found), (change, found)
        if set(changes) - WITHOUT_EFFECT:
            tried = shop.run("service", "verify", "--surprises", "-o", "json", status=None)
            assert tried.status == 1 and tried.json[0]["surprise"], (changes, tried)
        done = shop.run("service", "apply", "--yes")
        assert shop.json("service", "check") == [], (changes, done)
    assert_placed(shop)


def test_what_services_try_goes_as_expected(shop, server):
    """And leaves nothing behind, also what a killed run has left."""
    shop.run("service", "apply", "--yes")
    count = "SELECT count(*), max(oid::text) FROM pg_class WHERE relname ~ 'daybook'"
    before = [server.sql(count, "shop"), catalog(server)]
    server.sql("CREATE TABLE users._daybook_probe_0123abcd_table (id int)", "shop")
    matrix = shop.json("service", "verify")
    assert [server.sql(count, "shop"), catalog(server)] == before
    assert not [row for row in matrix if row["surprise"]]
    got = {(row["service"], row["action"], row["thing"]): row["got"] for row in matrix}
    assert got["orders", "read", "public.people.name"] == "yes"
    assert got["orders", "read", "public.people.email"] == "no"
    made = {word for row in matrix
            for word in re.findall(r"_daybook_probe_[0-9a-f]{8}_(\w+)", row["thing"])}
    assert made == {"table", "sequence", "view", "function"}
    assert shop.json("service", "verify", "--surprises") == []


def test_a_hostile_path_runs_nothing_as_the_books_user(shop, server):
    """Where the book's user looks for names somebody has put better matches than the server's."""
    server.sql("DROP ROLE IF EXISTS mallory; CREATE ROLE mallory LOGIN; "
               "GRANT CREATE ON SCHEMA public TO mallory; CREATE TABLE caught (what text); "
               "GRANT ALL ON caught TO mallory", "shop")
    trap = ("INSERT INTO public.caught VALUES (current_user); "
            "EXECUTE ''ALTER ROLE mallory SUPERUSER''; EXCEPTION WHEN OTHERS THEN NULL; END")
    text = "SET ROLE mallory; "
    for name, arguments, returns, answer in (
            ("format", "text, name, name", "text", "pg_catalog.format($1, $2, $3)"),
            ("format", "text, name", "text", "pg_catalog.format($1, $2)"),
            ("quote_ident", "name", "text", "pg_catalog.quote_ident($1::text)"),
            ("pg_get_userbyid", "oid", "name", "pg_catalog.pg_get_userbyid($1)"),
            ("same", "name, text", "boolean", "$1::text OPERATOR(pg_catalog.=) $2"),
            ("same", "text, name", "boolean", "$1 OPERATOR(pg_catalog.=) $2::text")):
        text += (f"CREATE FUNCTION public.{name}({arguments}) RETURNS {returns} LANGUAGE plpgsql "
                 f"AS 'BEGIN BEGIN {trap}; RETURN {answer}; END'; ")
    text += ("CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.same); "
             "CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = name, FUNCTION = public.same); "
             # Instead of the server's own tables.
             "CREATE VIEW public.pg_roles AS SELECT r.*, public.format('', '') "
             "FROM pg_catalog.pg_roles r; "
             "GRANT ALL ON public.pg_roles TO PUBLIC; RESET ROLE; "
             f"ALTER ROLE postgres IN DATABASE shop SET search_path = public, pg_catalog")
    server.sql(text, "shop")
    try:
        # The trap is one.
        server.sql("SELECT format('%I', relname) FROM pg_catalog.pg_class LIMIT 1", "shop")
        assert server.sql("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = 'mallory'",
                          "shop") == [["t"]]
        server.sql("ALTER ROLE mallory NOSUPERUSER; DELETE FROM caught", "shop")
        shop.run("service", "check", status=1)
        shop.run("service", "apply", "--yes")
        shop.run("service", "verify", status=None)
        assert shop.json("service", "check") == []
        assert server.sql("SELECT * FROM caught", "shop") == []
        assert server.sql("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = 'mallory'",
                          "shop") == [["f"]]
    finally:
        server.sql("DROP DATABASE shop WITH (FORCE); ")
        server.sql("DROP ROLE mallory")


COMMANDS = {
    "Who": "-- service: orders\nSELECT session_user AS session, current_user AS now;\n",
    "Place": "-- service: orders\nINSERT INTO orders (person, total) VALUES (:person, :total) "
             "RETURNING id;\n",
    "Escape": "-- service: orders\nSELECT escape();\n",
    "Both": "-- service: orders, users\nUPDATE people SET name = :name;\n"
            "SELECT session_user AS session;\n",
}


def test_a_command_may_what_its_service_may(shop, server):
    (shop.folder / "commands").mkdir()
    for name, text in COMMANDS.items():
        (shop.folder / "commands" / f"{name}.sql").write_text(text)
    refused = shop.run("do", "Who", "{}", status=3)
    assert "secrets/orders" in refused.errors and "`daybook service apply`" in refused.errors
    shop.run("service", "apply", "--yes")
    assert shop.json("do", "Who", "{}")["rows"] == [{"session": "orders", "now": "orders"}]
    assert shop.json("do", "Both", "name=Ann")["rows"] == [{"session": "postgres"}]
    placed = shop.json("do", "Place", '{"person": 1, "total": 2}', "--key", "k")
    assert placed["rows"] == [{"id": 1}]
    # A key's row is the service's own, which others cannot read.
    assert shop.json("do", "Place", '{"person": 1, "total": 2}', "--key", "k")["known"] is True
    assert psql(shop, "orders", "SELECT key FROM orders._daybook_commands") == (True, "k")
    assert not psql(shop, "users", "SELECT key FROM orders._daybook_commands")[0]
    # Nor does what it hangs on its own table get out of its role.
    assert psql(shop, "orders", """
        CREATE FUNCTION orders.escape() RETURNS text LANGUAGE plpgsql AS
            'BEGIN RESET ROLE; RESET SESSION AUTHORIZATION;
             RETURN (SELECT hash FROM passwords); END';
        CREATE FUNCTION orders.tell() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN RESET ROLE; DELETE FROM passwords; RETURN new; END';
        CREATE TRIGGER tell BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION orders.tell()
        """)[0]
    for command, body in (("Escape", "{}"), ("Place", '{"person": 1, "total": 2}')):
        refused = shop.run("do", command, body, status=1)
        assert f"commands/{command}.sql:2: permission denied for table passwords" in refused.errors


def test_what_is_others_is_left(shop, server):
    """Also where a service has the database to itself: others' schemas, models and views."""
    (shop.folder / "services" / "orders.yaml").unlink()
    (shop.folder / "services" / "users.yaml").write_text(
        "database: shop\nevents: {append: [user]}\nlogin: file:secrets/users\n")
    for name, text in {
            "models/seen/model.yaml": "database: shop\nsync: events\nsource: [user]\n",
            "models/seen/schema.sql": "CREATE TABLE seen (id integer PRIMARY KEY, name text);\n",
            "models/seen/UserSeen.sql": "INSERT INTO seen VALUES (:id, :name);\n",
            "views/counts.sql": "-- database: shop\n-- refresh: on demand\n"
                                "SELECT count(*) AS count FROM seen;\n"}.items():
        (shop.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shop.folder / name).write_text(text)
    shop.run("append", "user-1", "UserSeen", '{"id": 1, "name": "Ann"}')
    shop.run("model", "rebuild", "seen")
    shop.run("view", "refresh", "counts")
    server.sql("CREATE ROLE reports; CREATE SCHEMA crm AUTHORIZATION reports; "
               "CREATE TABLE crm.customers (id integer); "
               "ALTER TABLE crm.customers OWNER TO reports", "shop")
    shop.run("service", "apply", "--yes")
    assert shop.json("service", "check") == []
    assert shop.json("service", "verify", "--surprises") == []
    owners = dict(server.sql("SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE "
                             "relkind IN ('r', 'v') AND relowner <> 10 OR relname ~ "
                             "'^(seen|counts)' AND relkind IN ('r', 'v')", "shop"))
    assert owners.pop("customers") == "reports"
    assert {name for name, owner in owners.items() if owner == "postgres"} >= {
        "seen", "counts"} and len([name for name in owners if "__g" in name]) >= 2
    assert {name for name, owner in owners.items() if owner == "users"} == {
        "people", "passwords", "orders", "nobodys"}
    for table in ("seen", "counts", "crm.customers"):
        assert not psql(shop, "users", f"SELECT * FROM {table}")[0], table
    # A schema of the service's name that is somebody's, or that has something in it.
    server.sql("DROP OWNED BY users CASCADE", "shop")
    server.sql("CREATE SCHEMA users AUTHORIZATION reports", "shop")
    assert "the schema `users` is to be the service's own, and is reports's" in \
        shop.run("service", "apply", "--yes", status=1).errors
    server.sql("ALTER SCHEMA users OWNER TO postgres; CREATE TABLE users.others (id integer); "
               "ALTER TABLE users.others OWNER TO reports", "shop")
    assert "and has users.others in it" in shop.run("service", "apply", "--yes", status=1).errors
    server.sql("DROP TABLE users.others", "shop")
    shop.run("service", "apply", "--yes")


def test_a_role_is_of_one_database(shop, server):
    """The same book beside it, with its own database on that server: its rehearsal."""
    shop.run("service", "apply", "--yes")
    server.sql("DROP DATABASE IF EXISTS rehearsal WITH (FORCE)")
    (shop.folder / "secrets" / "shop").write_text(server.create("rehearsal"))
    server.sql(TABLES, "rehearsal")
    before = server.sql("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1")
    refused = shop.run("service", "apply", "--yes", status=1).errors
    assert "the role `orders` exists, and is not this book's" in refused
    assert "daybook: service orders of shop in rehearsal" in refused
    assert server.sql("SELECT rolname, rolpassword FROM pg_authid ORDER BY 1") == before


def test_what_cannot_be_is_refused_whole(shop, server):
    def refused(text, status=1):
        before = catalog(server)
        answer = shop.run("service", "apply", "--yes", status=status)
        assert text in answer.errors, answer
        assert catalog(server) == before
        assert not (shop.folder / "secrets" / "users").exists()

    server.sql("CREATE ROLE orders", "shop")
    refused("services/orders.yaml:1:1: the role `orders` exists, and is not this book's")
    server.sql("DROP ROLE orders; ALTER TABLE people RENAME name TO title", "shop")
    refused("services/orders.yaml:3:9: the contract names `users.people.name`")
    server.sql("ALTER TABLE people RENAME title TO name; ALTER TABLE passwords RENAME TO hidden",
               "shop")
    refused("services/users.yaml:4:3: the table `passwords` is not in the database")
    server.sql("ALTER TABLE hidden RENAME TO passwords; CREATE ROLE reports LOGIN PASSWORD 'x'",
               "shop")
    file = shop.folder / "services" / "users.yaml"
    file.write_text("role: orders\n" + FILES["services/users.yaml"])
    refused("services/users.yaml:1:1: the role `orders` is the service orders's, too")
    file.write_text(FILES["services/users.yaml"])
    # One who may make roles, and owns no table.
    server.sql("ALTER ROLE reports CREATEROLE", "shop")
    secret = shop.folder / "secrets" / "shop"
    secret.write_text(server.connection("shop", user="reports") + " password=x")
    refused("the user of the database shop may not do it", status=5)
    server.sql("ALTER ROLE reports NOCREATEROLE", "shop")
    refused("CREATE ROLE orders LOGIN", status=5)
    secret.write_text(server.connection("shop"))
    file.write_text(FILES["services/users.yaml"].replace("login: file:secrets/users\n", ""))
    refused("services/users.yaml: `login` is missing")
    (shop.folder / "secrets" / "other").write_text("user=postgres password=x")
    file.write_text(FILES["services/users.yaml"].replace("secrets/users", "secrets/other"))
    refused("the `login` is for the user `postgres`")


def test_a_login_leads_to_the_database_and_makes_sure_of_it(shop, server):
    shop.run("service", "apply", "--yes")
    login = shop.folder / "secrets" / "orders"
    own = shop.folder / "secrets" / "shop"
    good = login.read_text()

    def refused(text, words):
        login.write_text(text)
        for command in (["check"], ["apply", "--yes"]):
            assert words in shop.run("service", *command, status=1).errors
        tried = shop.run("service", "verify", "--surprises", "-o", "json", status=1).json
        assert [(row["service"], row["action"]) for row in tried] == [("orders", "log in")]
        assert words in tried[0]["why"]
        login.write_text(good)

    refused(good.replace("dbname='shop'", "dbname=postgres"), "another server or database than")
    # Who makes sure of the server has its services make sure of it, too.
    text = own.read_text()
    own.write_text(text + " sslmode=prefer channel_binding=prefer gssencmode=disable")
    other = shop.folder / "secrets" / "users"
    other.write_text(other.read_text() + " channel_binding=prefer gssencmode=disable")
    refused(good, "its channel_binding is not said, and must be prefer as the database's")
    more = " channel_binding=prefer gssencmode=disable"
    refused(good + more + " sslmode=allow", "its sslmode is allow, and must be prefer")
    refused(good + " channel_binding=prefer", "its gssencmode is not said")
    login.write_text(good + more)
    assert shop.json("service", "check") == []
    assert shop.json("service", "verify", "--surprises") == []


def test_one_who_is_no_superuser_can_apply(shop, server):
    """Who owns the database and its tables, and may make roles."""
    server.sql("CREATE ROLE reports LOGIN CREATEROLE PASSWORD 'x'; "
               "ALTER DATABASE shop OWNER TO reports; ALTER SCHEMA public OWNER TO reports", "shop")
    for one in ("TABLE people", "TABLE passwords", "TABLE orders", "TABLE nobodys",
                "SEQUENCE numbers", "FUNCTION secret()", "FUNCTION is_good(numeric)"):
        server.sql(f"ALTER {one} OWNER TO reports", "shop")
    (shop.folder / "secrets" / "shop").write_text(
        server.connection("shop", user="reports") + " password=x")
    shop.run("service", "apply", "--yes")
    assert shop.json("service", "check") == []
    assert psql(shop, "orders", "SELECT id FROM people") == (True, "")
    assert not psql(shop, "orders", "CREATE TABLE public.mine (id int)")[0]


def test_a_service_alone_owns_all(shop, server):
    (shop.folder / "services" / "orders.yaml").unlink()
    (shop.folder / "services" / "users.yaml").write_text(
        "database: shop\nrole: shop_users\nlogin: file:secrets/users\n")
    try:
        shop.run("service", "apply", "--yes")
        assert server.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'",
                          "shop") == [["shop_users"]]
        assert psql(shop, "users", "INSERT INTO orders (total) VALUES (1)")[0]
    finally:
        server.sql("DROP DATABASE shop WITH (FORCE)")
        server.sql("DROP ROLE shop_users")


def test_where_nothing_can_be_granted_each_has_its_own(shop, server):
    """The two services stay in PostgreSQL; others are elsewhere."""
    file = shop.folder / "book.yaml"
    file.write_text(FILES["book.yaml"] + "  notes: sqlite:notes.db\n  graph: neo4j:env:NO_GRAPH\n"
                    "  catalogue: mongodb:env:NO_CATALOGUE\n", encoding="utf-8")
    for name, database in (("notes", "notes"), ("graph", "graph"), ("products", "catalogue")):
        (shop.folder / "services" / f"{name}.yaml").write_text(
            f"database: {database}\ntables: {{a: }}\n")
    said = shop.run("service", "apply", "--yes").errors
    assert "notes: whoever can read" in said and "graph: Neo4j" in said and "MongoDB" in said
    assert shop.json("service", "check") == []
    assert shop.json("service", "verify", "--surprises") == []
    for database in ("graph", "catalogue"):
        other = shop.folder / "services" / "other.yaml"
        other.write_text(f"database: {database}\ntables: {{b: }}\n")
        for words in (["apply", "--yes"], ["check"], ["verify"]):
            refused = shop.run("service", *words, "other", status=1).errors
            assert f"several services share the database {database}" in refused
            assert "a server of its own" in refused
        assert shop.json("service", "check", "orders") == []


def test_commands_stay_within_their_services(shop, server):
    """With the book's user's rights nothing of the server's is read; a login leads where the
    book's string does."""
    commands = shop.folder / "commands"
    commands.mkdir()
    file = commands / "Peek.sql"
    file.write_text("-- service: orders, users\nSELECT rolpassword FROM pg_authid;\n")
    said = shop.run("check", status=1)
    assert "commands/Peek.sql:2:1: the server's own table `pg_authid` is used here" in \
        said.text + said.errors, said
    orders = shop.folder / "services" / "orders.yaml"
    text = orders.read_text()
    file.write_text("-- service: orders\nSELECT oid FROM pg_catalog.pg_class LIMIT 1;\n")
    orders.write_text(text.replace("login: file:secrets/orders", ""))
    assert "`login: file:secrets/orders` in services/orders.yaml" in \
        shop.run("check", status=1).text
    orders.write_text(text)
    shop.run("service", "apply", "--yes")
    assert shop.json("do", "Peek", "{}")
    # The same role, let into another database of the server.
    server.sql("DROP DATABASE IF EXISTS shop2")
    server.sql("CREATE DATABASE shop2")
    login = shop.folder / "secrets" / "orders"
    login.write_text(login.read_text().replace("dbname='shop'", "dbname='shop2'"))
    assert "shop2" in login.read_text()
    refused = shop.run("do", "Peek", "{}", status=3)
    assert "leads to another server or database than `shop`" in refused.errors, refused
    server.sql("DROP DATABASE shop2")
