# SPDX-License-Identifier: Apache-2.0
"""The sample feed: written in a service's tables, read from one table that is made for reading."""
import re
import shutil
import sqlite3

import pytest
from conftest import ROOT, Book
from test_capture_sqlite import wait_for
from test_readme import Session

FEED = ROOT / "examples" / "feed"


@pytest.fixture
def feed(binary, tmp_path, data):
    """With an outbox that is looked at rarely, so that a read comes before it."""
    shutil.copytree(FEED, tmp_path / "feed", ignore=shutil.ignore_patterns("data"))
    settings = tmp_path / "feed/services/posts.yaml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("20 ms", "2 s"),
                        encoding="utf-8")
    data.mkdir(exist_ok=True)
    source = sqlite3.connect(data / "posts.db")
    source.executescript((FEED / "posts/schema.sql").read_text(encoding="utf-8"))
    source.close()
    return Book(binary, tmp_path / "feed", data)


def feed_of(server, user, query=""):
    answer = server.get(f"/queries/GetUserFeed?user={user}{query}")
    assert answer.status == 200, answer
    return [(row["user_name"], row["avatar"], row["content"]) for row in answer.json["rows"]]


def test_a_read_is_stale_without_after_and_fresh_with_it(feed, serve):
    server = serve(feed)
    # The first look of the outbox is over when this one is read.
    first = server.post("/commands/CreatePost", {"user": 2, "content": "first"}).json
    wait_for(lambda: feed_of(server, 2))
    done = server.post("/commands/CreatePost", {"user": 1, "content": "hello"}).json
    post = done["rows"][0]["post"]
    assert feed_of(server, 1) == []
    # The event has the position that the reader waits for.
    event = wait_for(lambda: server.get(f"/streams/post-{post}").json.get("events"))[0]
    assert event["type"] == "PostCreated"
    assert feed_of(server, 1, f"&after={event['position']}") == [("Anna", "anna.png", "hello")]
    assert post != first["rows"][0]["post"]


def test_a_post_s_timeline(feed, serve):
    server = serve(feed)
    done = server.post("/commands/CreatePost", {"user": 2, "content": "hello"}).json
    post = done["rows"][0]["post"]
    event = wait_for(lambda: server.get(f"/streams/post-{post}").json.get("events"))[0]
    assert event["meta"] == {"causationid": post}
    path = f"/events/{event['position']}/timeline"
    wait_for(lambda: server.get("/models/user_feed").json["lag_events"] == 0)
    before = server.get(path).json["moments"]
    assert [(m["moment"], m["of"]) for m in before] == [
        ("sent", "CreatePost"), ("saved", "posts"), ("taken", "posts"), ("published", "feed"),
        ("received", "user_feed"), ("applied", "user_feed"), ("seen", "user_feed")]
    assert before[-1]["time"] is None and "not yet" in before[-1]["why"]
    # Somebody else's read is past it, too: whether it shows the post is not asked.
    assert feed_of(server, 1) == []
    moments = server.get(path).json["moments"]
    offsets = [m["offset_us"] for m in moments]
    assert offsets[0] == 0 and offsets == sorted(offsets)
    assert moments[:-1] == before[:-1]
    assert post not in server.get("/events/2/timeline").text


def test_a_post_is_in_all_tables_or_in_none(feed, serve, data):
    server = serve(feed)
    for body, code in [({"user": 99, "content": "x"}, "no-such-user"),
                       ({"user": 1, "content": "x" * 501}, "constraint")]:
        answer = server.post("/commands/CreatePost", body)
        assert answer.status == 422 and code in answer.text, answer
    source = sqlite3.connect(data / "posts.db")
    for table in ("posts", "users_posts", "outbox"):
        assert source.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    source.close()


def test_the_readme(binary, tmp_path, free_port):
    session = Session(tmp_path, binary.resolve(), free_port)
    session.sh('export PATH="$PWD/build:$PATH"')
    text = (FEED / "README.md").read_text(encoding="utf-8").replace("4171", session.port)
    try:
        for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            session.sh(block)
            if "Good morning" in block:
                assert re.search(r"Anna +anna.png +Good morning", session.printed)
            if "--timeline" in block:
                drawn = re.findall(r"^ *[0-9.]+ ms +(\w+) +\w+ .*●", session.printed, re.MULTILINE)
                assert drawn[-7:] == ["sent", "saved", "taken", "published", "received", "applied",
                                      "seen"]
    finally:
        session.end()
