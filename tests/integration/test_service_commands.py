# SPDX-License-Identifier: Apache-2.0
"""Commands that are one transaction in a service's own database: all of it or nothing, once a key,
refused in the database's words or the file's, in SQLite and in PostgreSQL."""
import concurrent.futures
import json
import sqlite3

import pytest
from conftest import Book, missing
from services.postgres import Missing, Postgres

TABLES = """CREATE TABLE users (id integer PRIMARY KEY, name text NOT NULL, posts integer NOT NULL
    DEFAULT 0);
CREATE TABLE posts (id text PRIMARY KEY, body text NOT NULL CHECK (body <> ''), tags text);
CREATE TABLE users_posts (user_id integer NOT NULL REFERENCES users, post_id text NOT NULL
    REFERENCES posts DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE outbox (id text PRIMARY KEY, type text NOT NULL, data text NOT NULL, meta text);
INSERT INTO users (id, name) VALUES (1, 'Anna'), (2, 'Bert');
"""
CREATE_POST = """-- service: posts
-- parameters: author integer, body text, tags json?
-- expect: 1 row, else no-such-user: there is no such user
UPDATE users SET posts = posts + 1 WHERE id = :author;
INSERT INTO users_posts (user_id, post_id) VALUES (:author, :_id);
INSERT INTO posts (id, body, tags) VALUES (:_id, :body, :tags);
INSERT INTO outbox (id, type, data, meta) VALUES (:_id, 'PostCreated', :_time, :_meta);
SELECT p.id, u.name AS author, u.posts FROM posts p, users u WHERE p.id = :_id AND u.id = :author;
"""
MORE = {
    "Orphan": "-- service: posts\nINSERT INTO users_posts VALUES (:user, :post);\n",
    "Rename": "-- service: posts\n-- expect: at least 1 row\n"
              "UPDATE users SET name = :name WHERE id >= :from RETURNING id, name\n",
    "Broken": "-- service: posts\nINSERT INTO users (id, name) VALUES (7, :name);\n"
              "INSERT INTO nowhere VALUES (:name);\n",
}


@pytest.fixture(scope="module")
def server():
    try:
        server = Postgres()
    except Missing as why:
        missing(str(why))
    yield server
    server.close()


class Source:
    """The service's database, and how it is asked."""

    def __init__(self, address, rows, run):
        self.address, self.rows, self.run = address, rows, run


@pytest.fixture(params=["sqlite", "postgres"])
def source(request, tmp_path):
    if request.param == "sqlite":
        file = tmp_path / "posts.db"
        connection = sqlite3.connect(file, isolation_level=None)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.executescript(TABLES)
        yield Source(f"sqlite:{file}",
                     lambda sql: [list(map(str, row)) for row in connection.execute(sql)],
                     connection.executescript)
        connection.close()
        return
    postgres = request.getfixturevalue("server")
    name = "t" + str(abs(hash(request.node.name)))
    postgres.create(name)
    postgres.sql(TABLES, name)
    (tmp_path / "secret").write_text(postgres.connection(name), encoding="utf-8")
    yield Source(f"postgres:file:{tmp_path}/secret",
                 lambda sql: postgres.sql(sql, name),
                 lambda sql: postgres.sql(sql, name))


@pytest.fixture
def book(binary, tmp_path, data, source):
    folder = tmp_path / "book"
    for part in ("services", "commands"):
        (folder / part).mkdir(parents=True)
    (folder / "book.yaml").write_text(
        f"book: feed\ndatabases:\n  posts: {source.address}\n", encoding="utf-8")
    (folder / "services" / "posts.yaml").write_text(
        "database: posts\ntables:\n  posts:\n", encoding="utf-8")
    for name, text in {"CreatePost": CREATE_POST, **MORE}.items():
        (folder / "commands" / f"{name}.sql").write_text(text, encoding="utf-8")
    return Book(binary, folder, data)


def count(source, table):
    return int(source.rows(f"SELECT count(*) FROM {table}")[0][0])


def test_it_is_one_transaction_and_answers_with_its_rows(book, source):
    answer = book.json("do", "CreatePost", '{"author": 1, "body": "hello", "tags": ["a", "b"]}',
                       "--correlation", "c-1")
    assert answer["command"] == "CreatePost" and answer["service"] == "posts"
    assert answer["known"] is False
    [row] = answer["rows"]
    assert row["author"] == "Anna" and row["posts"] == 1
    assert source.rows("SELECT id, body, tags FROM posts") == [[row["id"], "hello", '["a", "b"]']]
    [[kind, at, meta]] = source.rows("SELECT type, data, meta FROM outbox")
    assert kind == "PostCreated" and at.endswith("Z")
    assert json.loads(meta)["correlationid"] == "c-1"
    assert ("source_position" in answer) == source.address.startswith("postgres")
    # What may be missing is NULL.
    book.run("do", "CreatePost", "author=2", "body=again")
    assert sorted(source.rows("SELECT user_id FROM users_posts")) == [["1"], ["2"]]


def test_what_is_expected_otherwise_refuses_all_of_it(book, source, serve):
    http = serve(book)
    answer = http.post("/commands/CreatePost", {"author": 9, "body": "x"})
    assert answer.status == 422
    assert answer.json["refusal"] == "no-such-user"
    assert answer.json["detail"] == "there is no such user"
    answer = http.post("/commands/Rename", {"name": "C", "from": 5})
    assert answer.status == 422 and answer.json["refusal"] == "rows"
    assert answer.json["detail"] == \
        "commands/Rename.sql:3: 0 rows, where at least 1 is expected"
    answer = http.post("/commands/Rename", {"name": "C", "from": 1})
    assert [row["name"] for row in answer.json["rows"]] == ["C", "C"]
    assert count(source, "posts") == 0


def test_a_constraint_refuses_in_the_databases_words(book, source, serve):
    http = serve(book)
    answer = http.post("/commands/CreatePost", {"author": 1, "body": ""})
    assert answer.status == 422 and answer.json["refusal"] == "constraint"
    assert answer.json["detail"].startswith("commands/CreatePost.sql:6: ")
    assert "constraint" in answer.json["detail"]
    # A deferred one is violated by the commit.
    answer = http.post("/commands/Orphan", {"user": 1, "post": "none"})
    assert answer.status == 422 and answer.json["refusal"] == "constraint", answer
    assert source.rows("SELECT posts FROM users WHERE id = 1") == [["0"]]
    assert count(source, "users_posts") == 0
    # The session is good for the next.
    assert http.post("/commands/CreatePost", {"author": 1, "body": "b"}).status == 200


def test_a_repeated_key_answers_as_the_first_time(book, source, serve):
    http = serve(book)

    def do(body, key="k-1"):
        return http.post("/commands/CreatePost", body, headers={"Idempotency-Key": key})
    body = {"author": 1, "body": "once"}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: do(body), range(16)))
    assert [answer.status for answer in answers] == [200] * 16, answers
    assert len({json.dumps(answer.json["rows"]) for answer in answers}) == 1
    assert sorted(answer.json["known"] for answer in answers) == [False] + [True] * 15
    assert count(source, "posts") == 1
    other = do({"author": 1, "body": "other"})
    assert other.status == 409 and "was used for another CreatePost" in other.json["detail"]
    # Nothing is kept of a refusal.
    assert do({"author": 9, "body": "x"}, "k-2").status == 422
    assert do({"author": 2, "body": "x"}, "k-2").json["known"] is False
    # The key is the service's: another daemon on another book's data knows it.
    source.run("DELETE FROM users_posts; DELETE FROM posts;")
    assert do(body).json["rows"] == answers[0].json["rows"]


def test_a_dry_run_changes_nothing(book, source):
    answer = book.json("do", "CreatePost", '{"author": 1, "body": "x"}', "--dry-run")
    assert answer["rows"][0]["posts"] == 1
    assert count(source, "posts") == 0 and count(source, "outbox") == 0


@pytest.mark.parametrize("body, words", [
    ({"author": 1}, "command CreatePost: the parameter body is missing: a text"),
    ({"author": "1", "body": "x"},
     'command CreatePost: the parameter author must be an integer, not "1"'),
    ({"author": 1, "body": "x", "title": "y"}, "command CreatePost has no parameter title"),
    ({"author": 1, "body": "x", "_id": "y"}, "command CreatePost has no parameter _id"),
    ([], "the command's body is no JSON object"),
])
def test_parameters_are_checked_by_name(book, source, serve, body, words):
    answer = serve(book).post("/commands/CreatePost", body)
    assert answer.status == 400 and answer.json["detail"] == words, answer
    assert count(source, "posts") == 0


def test_a_statement_that_cannot_be_prepared_is_named(book, source, serve):
    answer = serve(book).post("/commands/Broken", {"name": "x"})
    assert answer.status == 500
    assert answer.json["detail"].startswith("commands/Broken.sql:3: "), answer
    assert "nowhere" in answer.json["detail"]
    assert count(source, "users") == 2


@pytest.mark.parametrize("text, fault", [
    ("INSERT INTO posts VALUES (1)", "1:1: it is not said whose database the command is of"),
    ("-- service: post\nSELECT 1", "1:13: there is no service `post`"),
    ("-- service: posts\n", "1:1: the command has no statement"),
    ("-- service: posts\nSELECT 1;\n  DROP TABLE posts;",
     "3:3: a command may not do more than read and change rows"),
    ("-- service: posts\nBEGIN", "2:1: a command may not do more than read and change rows"),
    ("-- service: posts\nSELECT :_when", "2:8: this is none of the parameters"),
    ("-- service: posts\nSELECT :a.b", "2:8: a command's parameter is a plain `:name`"),
    ("-- service: posts\nSELECT ?", "2:8: a command's parameter is a plain `:name`"),
    ("-- service: posts\n-- parameters: a text\nSELECT :a, :b", "3:12: the parameter has no type"),
    ("-- service: posts\n-- parameters: a texts\nSELECT :a", "2:16: the parameter has no type"),
    ("-- service: posts\n-- parameters: a text\nSELECT 1", "1:1: the parameter `a` is used by no"),
    ("-- service: posts\n-- expect: one row\nSELECT 1", "2:12: this is no number of rows"),
    ("-- service: posts\n-- expect: 1 row, otherwise x\nSELECT 1", "2:19: what is said when it is"),
    ("-- service: posts\n-- expects: 1 row\nSELECT 1", "2:1: this expects nothing"),
    ("-- service: posts\nSELECT 1; -- expect: 1 row\nSELECT 2", "2:11: this is read only before"),
    ("-- service: posts\nSELECT 1;\n-- expect: 1 row\n", "3:12: no statement follows"),
    ("-- service: posts\nSELECT :long_name, 1 +", "2:"),
    ("-- service: posts\nUPDATE posts SET body = 'x", "a string, comment or quoted name"),
    ("-- service: posts\nINSERT INTO _daybook_commands VALUES (1)", "2:"),
])
def test_check_names_each_fault(book, source, text, fault):
    (book.folder / "commands" / "Orphan.sql").write_text(text, encoding="utf-8")
    if "_daybook" in text and source.address.startswith("sqlite"):
        # Names of tables are the database's to know: then it is refused when it is done.
        source.run("CREATE TABLE _daybook_commands (x)")
        assert "may not change the book's own tables" in book.run("do", "Orphan", status=1).errors
        return
    answer = book.run("check", status=1)
    assert "commands/Orphan.sql:" in answer.text + answer.errors
    assert fault in answer.text + answer.errors


def test_one_name_is_one_command(book):
    (book.folder / "commands" / "Rename.lua").write_text(
        "return {stream = function(c) return 'a-1' end, decide = function() return {} end}",
        encoding="utf-8")
    answer = book.run("check", status=1)
    assert "commands/Rename.sql: commands/Rename.lua is this command, too" in \
        answer.text + answer.errors


def test_a_database_that_is_not_there_is_named(binary, tmp_path, data):
    folder = tmp_path / "book"
    for part in ("services", "commands"):
        (folder / part).mkdir(parents=True)
    (folder / "book.yaml").write_text(
        f"book: feed\ndatabases:\n  posts: sqlite:{tmp_path}/none.db\n", encoding="utf-8")
    (folder / "services" / "posts.yaml").write_text(
        "database: posts\ntables:\n  posts:\n", encoding="utf-8")
    (folder / "commands" / "Any.sql").write_text("-- service: posts\nSELECT 1\n", encoding="utf-8")
    answer = Book(binary, folder, data).run("do", "Any", status=3)
    assert "service posts: " in answer.errors and "none.db" in answer.errors
    assert not (tmp_path / "none.db").exists()
