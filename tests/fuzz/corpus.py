#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the first corpora of the fuzz targets: small valid inputs and a few hand-made bad ones.

    tests/fuzz/corpus.py

The same files each time. Inputs that a fuzzer or a person found are added beside them by hand,
under other names, and are left alone.
"""
import gzip
import pathlib
import struct

SALT = 0xC0FFEE
NO_TIME = -(2**63)
FOLDER = pathlib.Path(__file__).resolve().parent / "corpus"


def crc32c(data, seed=0):
    crc = seed ^ 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(stream=b"a-1", kind=b"T", tags=b"", data=b"", meta=b"", sealed=b"", flags=3,
           occurred=NO_TIME):
    parts = stream + kind + tags + data + meta + sealed
    body = struct.pack("<QQqq16sIHHHHIII", 7, 3, 1700000000000001, occurred, b"fedcba9876543210",
                       flags, 2, len(stream), len(kind), len(tags), len(data), len(meta),
                       len(sealed)) + parts
    return struct.pack("<II", 8 + len(body), crc32c(body, SALT)) + body


def sealed_field(path, kind, value):
    return struct.pack("<HHI", len(path), kind, len(value)) + b"0123456789abcdef" + path + value


def records():
    two = struct.pack("<H", 2) + sealed_field(b"/a", 0, b"XYZ") + sealed_field(b"/b", 1, b"h" * 32)
    yield "smallest", record()
    yield "json", record(b"account-123", b"Deposited", b"\x01x\x02yz", b'{"amount":50}', b"{}")
    yield "sealed", record(data=b"{}", sealed=two)
    yield "sealed-count-too-high", record(sealed=struct.pack("<H", 9) + sealed_field(b"/a", 0, b""))
    yield "removed", record(data=b"l" * 32, flags=7)
    yield "tags-cut", record(tags=b"\x05ab")
    yield "no-stream", record(stream=b"")
    yield "two", record() + record(data=b"[]", occurred=1)


def segments():
    header = b"dbksegm\n" + struct.pack("<II16s16sQQqqQII28x", 1, SALT, b"b" * 16, b"k" * 16, 3,
                                        1001, 1700000000000000, 1699999999999999, 4096, 5, 6)
    yield "segment", header + struct.pack("<I", crc32c(header))
    compacted = header[:8] + struct.pack("<I", 2) + header[12:96] + \
        struct.pack("<IIIIIII", 1 | 77 << 8, 4096, 5, 7, SALT, 2048, 9)
    yield "segment-compacted", compacted + struct.pack("<I", crc32c(compacted))
    newer = header[:8] + struct.pack("<I", 99) + header[12:]
    yield "segment-newer", newer + struct.pack("<I", crc32c(newer))
    group = struct.pack("<QqIIIIIII12x", 1001, 1700000000000000, 2, 300, 0x12345678, 5, 3, 128, 128)
    yield "group", b"dbkg" + struct.pack("<I", crc32c(group, SALT)) + group + bytes(64)
    empty = struct.pack("<QqIIIIIII12x", 1001, 1700000000000000, 0, 0, 0, 5, 3, 128, 128)
    yield "group-empty", b"dbkg" + struct.pack("<I", crc32c(empty, SALT)) + empty + bytes(64)
    front = b"dbknote\n" + struct.pack("<I", 1)
    note = struct.pack("<QQQQqII64x", 9, 3, 4096, 1002, 1700000000000000, SALT, 77)
    yield "note", front + struct.pack("<I", crc32c(note, crc32c(front))) + note


def manifests():
    entries = struct.pack("<QIIQ", 1, 5, 6, 70000) + struct.pack("<QIIQ", 1001, 7, 8, 300)
    body = b"b" * 16 + struct.pack("<QqqIIQ", 1002, 1700000000000000, 1700000000000001, 9, SALT,
                                   2) + entries
    for name, version in (("two", 1), ("newer", 2)):
        yield name, b"dbkbackp" + struct.pack("<II", version, crc32c(body, version)) + body
    yield "short", b"dbkbackp" + struct.pack("<II", 1, crc32c(body[:-1], 1)) + body[:-1]


def key_files():
    def headed(mark, rest, version=1):
        front = mark + struct.pack("<I", version)
        return front + struct.pack("<I", crc32c(rest, crc32c(front))) + rest

    def epoch(root, passes, memory):
        return b"b" * 16 + struct.pack("<QqIIQ", 3, 1700000000000000, root, passes, memory) + \
            b"s" * 16 + b"n" * 24 + b"k" * 64 + b"t" * 16 + bytes(8)

    def slot(state, body):
        rest = struct.pack("<I", state) + body
        return struct.pack("<I", crc32c(rest, crc32c(struct.pack("<Q", 0)))) + rest

    def entry(number, crc):
        body = struct.pack("<Qq16s32s", number, 1700000000000000, b"i" * 16, b"m" * 32)
        return body + struct.pack("<II", crc32c(body, crc), 0)

    yield "epoch", headed(b"dbkepoch", epoch(0, 0, 0))
    yield "epoch-passphrase", headed(b"dbkepoch", epoch(1, 3, 64 << 20))
    yield "epoch-dear", headed(b"dbkepoch", epoch(1, 17, 64 << 20))
    yield "epoch-newer", headed(b"dbkepoch", epoch(0, 0, 0), 2)
    table = b"b" * 16 + struct.pack("<QqQ", 3, 1700000000000000, 7) + bytes(72)
    yield "table", headed(b"dbkkeys\n", table)
    counter = struct.pack("<QQQ", 5, 7, 1000)
    yield "counter", counter + struct.pack("<II", crc32c(counter, 1), 0)
    live = b"i" * 16 + b"n" * 16 + b"x" * 24 + b"w" * 48 + struct.pack("<q", 1700000000000000)
    yield "slot", slot(1, live + bytes(8))
    yield "slot-destroyed", slot(2, b"i" * 16 + bytes(104))
    yield "slot-destroyed-in-part", slot(2, live + bytes(8))
    yield "slot-free", bytes(128)
    erased = headed(b"dbkerasd", b"b" * 16 + struct.pack("<q", 1700000000000000) + bytes(24))
    yield "erased", erased
    yield "erased-entry", entry(1, 0)
    for name, count, version in (("backup", 1000, 1), ("backup-many", 1 << 32, 1),
                                 ("backup-newer", 1000, 2)):
        yield name, headed(b"dbkkeysb", b"b" * 16 + struct.pack(
            "<QqQQ", 3, 1700000000000000, count, 7) + bytes(64), version)
    yield "mark", headed(b"dbkmark\n", struct.pack("<QQ", 3, 99) + bytes(32))


def splices():
    yield "flat", b'n\0{"a":1}'
    yield "empty", b"n\0 { } "
    yield "nested", b'a.n\0{"b":{"n":1},"a":{}}'
    yield "elements", b'l[1].n\0{"l":[{"k":"}"},{"k":[]}]}'
    yield "escaped-name", b'a.n\0{"\\u0061":{}}'
    yield "pair", "\U0001f600.n".encode() + b'\0{"\\ud83d\\ude00":{}}'
    yield "dotted", b"a\\.b.n\0" + b'{"a.b":{}}'
    yield "cut-escape", b'a.n\0{"\\ud83d'
    yield "no-place", b"l[2].n\0[]"
    yield "open", b'a.n\0{"a":{"'


def texts():
    yield "kinds", b'{"a":[null,true,false,0,-1,1.50,"x"],"b":{}}'
    yield "numbers", b"[9223372036854775807,-9223372036854775808,0.1,-0.0,1e3,1.25E-4,12345678.90]"
    yield "past-64-bits", b"[9223372036854775808]"
    yield "too-many-digits", b"[1.00000000000000000000000000000000001]"
    yield "huge", b"1e999"
    yield "escapes", b'"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\ud83d\\ude00\\u0000"'
    yield "half-surrogate", b'"\\ud83d"'
    yield "utf8", '"\u00e9\u20ac\U0001f600"'.encode()
    yield "utf8-bad", b'"\xc0\xaf\xed\xa0\x80"'
    yield "twice", b'{"a":1,"a":2}'
    yield "twice-escaped", b'{"a":1,"\\u0061":2}'
    yield "trailing", b"{} x"
    yield "control", b'"\x01"'
    yield "deep", b"[" * 127 + b"]" * 127
    yield "too-deep", b"[" * 200 + b"]" * 200
    yield "white-space", b" \t\r\n[ 1 , 2 ] \n"
    yield "scalar", b"-0"
    yield "bom", b"\xef\xbb\xbf{}"


def varint(value):
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def run(entries, first, last, keys=2):
    """A run of an index: entries are (key high, key low, rank, position) in order."""
    blocks, marks, key, rank, position = b"", b"", None, 0, 0
    line = 64 * b"\xff"
    for number, (high, low, entry_rank, entry_position) in enumerate(entries):
        if number % 2 == 0:
            marks += struct.pack("<QQQQ", high, low, entry_rank, len(blocks))
            key = None
        if (high, low) != key:
            key, rank, position = (high, low), 0, first
            blocks += varint(entry_rank << 1 | 1) + struct.pack("<QQ", high, low)
        else:
            blocks += varint((entry_rank - rank) << 1)
        blocks += varint(entry_position - position)
        rank, position = entry_rank, entry_position
    zone = struct.pack("<Qqqqq", first, 1, 2, 3, 4)
    places = b"".join(struct.pack("<II", 0, 128 + n) for n in range(first, last + 1))
    body = blocks + marks + line + places + zone
    head = struct.pack("<QQ16s16x", first, last, b"book-of-a-fuzzer")
    header = b"DBKINDEX" + struct.pack("<II", 2, crc32c(head, 2)) + head
    footer = struct.pack("<QQQQQQ8xI", keys, 1, len(blocks), len(marks) // 32, 1, 1, crc32c(body))
    return header + body + footer + struct.pack("<I", crc32c(footer))


def runs():
    yield "one", run([(5, 6, 1, 1)], 1, 1, 1)
    yield "keys", run([(1, 1, 1, 7), (1, 1, 2, 8), (1, 1, 3, 9), (2, 9, 300, 7), (2, 9, 9000, 9)],
                      7, 9)
    yield "unsorted", run([(9, 9, 1, 3), (1, 1, 2, 1)], 1, 3)


def decimals():
    yield "money", b"12.50 -0.75"
    yield "largest", b"9223372036854775807 1"
    yield "smallest", b"-9223372036854775808 -1"
    yield "exponents", b"1e400 1E-400"
    yield "zeros", b"-0.000 0e5"
    yield "half", b"0.125 2"
    yield "not", b"01"


def selects():
    yield "rows", b"SELECT a, b || c AS x FROM t WHERE a > 1 AND c LIKE 'x%' OR b IS NULL"
    yield "join", b"SELECT x.*, y.a AS z FROM t x JOIN t AS y ON x.a = y.b, s WHERE s.d IN (1, -2)"
    yield "group", (b"SELECT upper(c) AS k, avg(a) + 1 AS m, max(b), count(DISTINCT b) FROM t "
                    b"GROUP BY 1 HAVING sum(a) NOT BETWEEN 2 AND 3.5")
    yield "union", b"SELECT a FROM t UNION ALL SELECT d FROM s UNION ALL SELECT 1 FROM t"
    yield "case", b"SELECT DISTINCT CASE a WHEN 1 THEN 'x' ELSE CAST(b AS TEXT) END FROM t"
    yield "window", b"-- head\nSELECT a, row_number() OVER (PARTITION BY b) FROM t ORDER BY 1"
    yield "star", b"SELECT * FROM t, s WHERE NOT t.a = s.a"
    yield "outer", (b"SELECT x.a, count(*) FROM t x RIGHT JOIN s ON x.a = s.d FULL JOIN t y ON "
                    b"y.b = s.a JOIN t z ON z.a = y.a GROUP BY x.a")
    yield "using", b"SELECT * FROM t LEFT JOIN s USING (a) NATURAL JOIN t y"
    yield "from", (b"SELECT z.n FROM (SELECT a, count(*) AS n FROM t GROUP BY a HAVING n > 1) z "
                   b"LEFT JOIN s ON s.a = z.n")
    yield "with", b"WITH z(x) AS (SELECT max(a) FROM t) SELECT y.x FROM z y JOIN z ON y.x = z.x"
    yield "sets", b"SELECT a FROM t UNION SELECT d FROM s EXCEPT SELECT b FROM t"
    yield "exists", (b"SELECT a FROM t WHERE a NOT IN (SELECT d FROM s WHERE s.a = t.b) AND NOT "
                     b"EXISTS (SELECT 1 FROM s x JOIN s y ON x.a = y.d WHERE y.a = t.a)")
    yield "value", b"SELECT b, sum(a) AS n FROM t GROUP BY b HAVING n > (SELECT avg(d) FROM s)"


def views():
    yield "daily", b"-- refresh: every day at 02:00\n-- database: reading\nSELECT 1 AS one\n"
    yield "minutes", b"-- refresh: every 5 minutes\n-- index: a, b\n-- index: c\nSELECT 1\n"
    yield "demand", b"-- refresh: on demand\n\nSELECT 1"
    yield "unknown", b"-- refesh: on demand\n-- refresh: each day\nSELECT 1"
    yield "twice", b"-- refresh: on demand\n-- refresh: on demand\nSELECT \xff\0"


def replies():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    yield "sized", head + b"Content-Length: 2\r\nDaybook-Position: 17\r\n\r\n{}and more"
    yield "chunked", head + (b"Transfer-Encoding: chunked\r\n\r\n4\r\n{\"a\r\nA;x=y\r\n"
                             b"\":1,\"b\":2}\r\n0\r\nX: y\r\n\r\n")
    yield "open", head + b"\r\n{}"
    yield "continue", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    yield "problem", (b"HTTP/1.1 412 No\r\n"
                      b"Content-Type: application/problem+json; charset=utf-8\r\n"
                      b"Content-Length: 0\r\n\r\n")
    yield "huge", head + b"Content-Length: 99999999999999999999\r\n\r\n"
    yield "other", b"SSH-2.0-x\r\n"


def statements():
    yield "select", b"SELECT a, \"b\", [c d], `a` FROM t WHERE a = :a AND b = :b OR a = :a"
    yield "path", b"INSERT INTO t VALUES (:customer.name, :_position, :_data)"
    yield "literals", b"SELECT 'it''s', x'0aFF', 1.5e-3, 0x1F, .5, 1e5, \"a\"\"b\" AS \"a\"\"b\""
    yield "comments", b"-- :a 'x\n/* ; :b */ SELECT 1 /* :c */ + :d -- ;"
    yield "trigger", (b"CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT CASE WHEN 1 THEN 2 END; "
                      b"DELETE FROM t; END; SELECT 1;;")
    yield "open-string", b"SELECT 'x"
    yield "open-comment", b"SELECT 1 /* x"
    yield "json", b"SELECT a->>'$.x' FROM t; UPDATE t SET a = json(:a)"
    yield "others", b"SELECT ?1, @x, $y, :1"


def cypher():
    yield "handler", (b"MERGE (o:{gen}Order {id: $order_id}) ON CREATE SET o.name = $new.name\n"
                      b"WITH o MATCH (p:{gen}Product|{gen}Thing) WHERE p.id IN [1, 2.5, 1..3]\n"
                      b"CALL (o, p) { MERGE (o)-[r:{gen}HAS*1..2 {n: 1}]->(p) }")
    yield "quotes", (b"MATCH (n:{gen}A {`a``b`: 'it\\'s', c: \"x\\\"y\"}) // end\n"
                     b"SET n.x = /* ; */ 1;;")
    yield "schema", b"CREATE CONSTRAINT {gen}k IF NOT EXISTS FOR (n:{gen}A) REQUIRE n.id IS UNIQUE"
    yield "escape", b"MATCH (n:{gen}A) SET n.x = '\\u0027'"
    yield "open-string", b"RETURN 'x"
    yield "open-comment", b"RETURN 1 /* x"
    yield "brackets", b"MATCH " + b"([{" * 30
    yield "labels", b"MATCH (n:A), (n IS B) SET n:C RETURN {a: n:D, b: x}"


def mongodb_commands():
    yield "handler", (b'// first\n{"insert": "{gen}A", "documents": [{"_id": ":a.b", "t": '
                      b'{"$date": ":_time"}, "n": [1, -2.5e3, true, null]}]}\n'
                      b'{"update": "{gen}A", "updates": [{"q": {"_id": 1}, "u": {"$inc": {"n": '
                      b'":n"}, "$set": {"c": "::d"}}, "upsert": true}]}\n'
                      b'{"delete": "{gen}A", "deletes": [{"q": {"_id": ":a"}, "limit": 1}]}')
    yield "schema", (b'{"create": "{gen}A", "validator": {"a": {"$gt": 0}}} {"createIndexes": '
                     b'"{gen}A", "indexes": [{"key": {"a": 1}, "name": "a", "unique": true}]}')
    yield "purge", (b'{"update": "{gen}A", "updates": [{"q": {"by": ":_subject"}, "u": {"$unset": '
                    b'{"x": 1}}, "multi": true}]}')
    yield "find", (b'// database: d\n{"find": "{m}A", "filter": {"a": ":b"}, '
                   b'"projection": {"a": 1, "b": {"$literal": ":c"}}, "sort": {"a": -1}}')
    yield "aggregate", (b'{"aggregate": "{m}A", "pipeline": [{"$match": {"a": ":b"}}, {"$lookup": '
                        b'{"from": "{n}B", "pipeline": [], "as": "c"}}, {"$unionWith": "{m}C"}, '
                        b'{"$group": {"_id": null, "n": {"$sum": 1}}}]}')
    yield "open-string", b'{"update": "x'
    yield "closed", b'}]{"a":[}'
    yield "words", b'// only this'


def mongodb_builds():
    yield "types", (b'{"a": {"$oid": "0123456789abcdef01234567"}, "b": {"$date": {"$_": 0}}, "c": '
                    b'{"$numberDecimal": "1.50"}, "d": {"$numberInt": "2147483648"}, "e": '
                    b'{"$numberDouble": {"$_": 0}}, "f": {"$regularExpression": {"pattern": "x", '
                    b'"options": "i"}}, "g": {"$minKey": 1}}\x00"2011-03-01T08:26:00Z"')
    yield "nested", b'{"a": [{"b": {"$_": 0}}, "{m}C", 1.5]}\x00[{"a": {"b": [null, true, 1e300]}}]'
    yield "operator", b'{"a": {"b": {"$_": 0}, "c": 1}}\x00[{"a": {"$gt": 1}}]'
    yield "forgotten", b'{"a": {"$_": 0}}\x00{"$forgotten":"k"}'
    yield "nul", b'{"a\\u0000": {"$_": 0}}\x00{"b\\u0000":"\\u0000"}'


def neo4j_nodes():
    yield "plain", b'["a,1",{"name":"Ann","a":1,"b":[1,2.5],"c":null,"d":true}]'
    yield "number", b'[-9007199254740993,{"z":"\\u00e9","a":1.0E300,"m":{"x":"NaN"}}]'
    yield "empty", b'["",{"a":""}]'
    yield "no-key", b'[1.5,{"a":1}]'
    yield "no-properties", b'[1,[]]'


def neo4j_replies():
    yield "rows", (b'{"results":[{"columns":["n","m"],"data":[{"row":[1,{"a":[null]}],"meta":[null,'
                   b'null]}]}],"errors":[],"lastBookmarks":["x"]}')
    yield "error", (b'{"results":[],"errors":[{"code":"Neo.ClientError.Statement.SyntaxError",'
                    b'"message":"Invalid\\n  ^"}]}')
    yield "cut-result", b'{"results":[{"columns":["n"]}],"errors":[{"code":"Neo.x","message":""}]}'
    yield "no-results", b'{"errors":[{"code":"Neo.ClientError.Security.x","message":"m"}]}'
    yield "wrong", b'{"results":[{"columns":["n"],"data":[{"row":[]}]}],"errors":[]}'
    yield "cut", b'{"results":[{"columns":["n"],"data":[{"row":[1'
    yield "html", b"<html>"


def settings():
    yield "book", (b"# a shop\nbook: shop\ndata: data\ndatabases:\n  reading: sqlite:reading.db\n"
                   b"limits: {event_bytes: 1 MiB, batch_events: 10000}\n")
    yield "model-lists", b"database: reading\nsync: events\nsource: [order, 'a-b', \"c\"]\n"
    yield "anchors", b"a: &x [1]\nb: *x\n"
    yield "tags", b"a: !!int 5\n--- \nb: 1\n"
    yield "twice", b"a: 1\na: 2\n"
    yield "brackets", b"[" * 20 + b"]" * 20
    yield "nul", b"a: x\0y\n"
    yield "latin1", b"a: \xe9\n"
    yield "block", b"a: |\n  x\n   y\nb: >-\n  z\n"
    yield "broken", b"a: [1, 2\nb: }\n"


def snapshot(stream=b"account-1", state=b'{"balance":120}', version=2, book=b"book-of-a-fuzzer"):
    body = book + bytes(range(32)) + struct.pack("<QQqqII", version, 17, 1700000000000001,
                                                 1700000000000000, len(stream), len(state))
    body += stream + state
    return b"DBKSNAPS" + struct.pack("<II", 1, crc32c(body, 1)) + body


def snapshots():
    yield "one", snapshot()
    yield "empty", snapshot(b"", b"")
    yield "cut", snapshot()[:-3]
    yield "flipped", snapshot()[:-1] + b"?"


def requests():
    yield "state", b"/streams/account-1/state\nversion=3&explain=true"
    yield "encoded", b"/streams/a%2Fb%20%C3%A9\nk=%22v%22&k2=a+b"
    yield "nul", b"/streams/a%00b\nx=%00"
    yield "latin1", b"/streams/%ff\nx=%ff"
    yield "cut", b"/streams/%4\nx=%"
    yield "many", b"/a/b/c/d/e/f/g\n" + b"&".join(b"p%d=1" % i for i in range(80))
    yield "empty", b"\n"


def imports():
    text = b'id,"a name",price\r\n1,"x, ""y""\nz",2.50\r\n\r\n2,short\r\n3,a"b,1\r\n4,\xff,1\n5,d,6'
    yield "csv", b"c" + text
    yield "csv-mark", b"c\xef\xbb\xbfa,b\n1,2\n"
    yield "csv-nameless", b"c,\n1,2\n"
    yield "csv-twice", b"ca,a\n1,2\n"
    yield "csv-open", b'ca,b\n1,"2\n3,4\n'
    yield "csv-nul", b"ca,b\n1,\0\n\r,\r2\n"
    yield "jsonl", b'j{"a":1}\r\n\n[]\n{"b":\n\xff\n3'
    yield "gzip", b"c" + gzip.compress(text, mtime=0) + gzip.compress(b"\n6,e,7\n", mtime=0)
    yield "gzip-cut", b"c" + gzip.compress(text, mtime=0)[:-9]
    zstd = bytes.fromhex("28b52ffd0458690000612c620a312c320a332c340a359389c642")
    yield "zstd", b"c" + zstd


def main():
    corpora = {"record": records(), "segment": segments(), "json": texts(), "index": runs(),
               "algebra": selects(), "decimal": decimals(), "view": views(),
               "http_reply": replies(),
               "sql": statements(), "cypher": cypher(), "neo4j_node": neo4j_nodes(),
               "neo4j_reply": neo4j_replies(),
               "mongodb_command": mongodb_commands(), "mongodb_build": mongodb_builds(),
               "backup": manifests(), "yaml": settings(),
               "snapshot": snapshots(), "request": requests(), "rows": imports(),
               "keys": key_files(), "splice": splices()}
    for name, corpus in corpora.items():
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
        for file_name, data in corpus:
            (FOLDER / name / file_name).write_bytes(data)


if __name__ == "__main__":
    main()
