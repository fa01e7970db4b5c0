# SPDX-License-Identifier: Apache-2.0
"""What belongs together and why: events by their correlation, over streams and in one."""
import json


def event(stream, kind, **meta):
    return json.dumps({"stream": stream, "type": kind, "data": {"amount": 1}, "meta": meta})


def append(book, *lines):
    return book.json("append", "--file", "-", text_in="\n".join(lines))


def positions(answer):
    return [row["position"] for row in answer]


def test_events_are_read_by_their_correlation(bank, serve):
    append(bank, event("account-1", "AccountOpened", correlationid="c/1 ü"),
           event("account-2", "AccountOpened", correlationid="c-2"),
           event("account-1", "Deposited", correlationid="c/1 ü", other={"correlationid": "c-2"}),
           event("account-2", "Deposited", correlationid=5),
           event("account-2", "Deposited", correlationid="c/1 ü"))
    serve(bank)
    for _ in range(2):
        read = bank.json("read", "--correlation", "c/1 ü")
        assert positions(read) == [1, 3, 5]
        assert positions(bank.json("read", "--correlation", "c/1 ü", "--backwards")) == [5, 3, 1]
        assert positions(bank.json("read", "account-1", "--correlation", "c/1 ü")) == [1, 3]
        assert positions(bank.json("tail", "--after", "1", "--no-follow", "--correlation",
                                   "c/1 ü")) == [3, 5]
        assert bank.json("read", "--correlation", "5") == []
        assert bank.json("read", "--correlation", "c-2", "--type", "Deposited") == []
        assert bank.json("read", "--correlation", "x" * 2000) == []
