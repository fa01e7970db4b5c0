# SPDX-License-Identifier: Apache-2.0
"""A small, dirty file in the shape of Online Retail, from a seed, and what has to come of it.

What is expected is worked out here, with Python's exact decimals, and not asked of the binary.
"""
import collections
import dataclasses
import decimal
import random

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
COUNTRIES = ["United Kingdom", "France", "Netherlands", "EIRE", "Côte d'Ivoire"]
NAMES = ["WHITE HANGING HEART", "TEA SET", "MUG, \"RETRO\"", "RED LANTERN", "GIFT BAG", "",
         "POSTER\nOF TWO LINES", "Zürich ☕ CUP", "  PADDED  "]
# How a row is made wrong, and a part of the reason that is to be given.
FAULTS = [
    (lambda f: f | {"Quantity": "six"}, "Quantity"),
    (lambda f: f | {"Quantity": "99999999999999999999"}, "Quantity"),
    (lambda f: f | {"Quantity": "1.5"}, "Quantity"),
    (lambda f: f | {"Quantity": "0x10"}, "Quantity"),
    (lambda f: f | {"UnitPrice": "2,55"}, "UnitPrice"),
    (lambda f: f | {"UnitPrice": "1e400"}, "UnitPrice"),
    (lambda f: f | {"UnitPrice": "0.0001"}, "UnitPrice"),
    (lambda f: f | {"UnitPrice": ""}, "UnitPrice"),
    (lambda f: f | {"InvoiceNo": ""}, "InvoiceNo"),
    (lambda f: f | {"InvoiceDate": "2010-13-01 08:26:00"}, "2010-13-01"),
    (lambda f: {"InvoiceNo": f["InvoiceNo"], "StockCode": "1"}, "2 fields"),
    (lambda f: f | {"More": "than enough"}, "9 fields"),
    (lambda f: f | {"Description": b"\xff\xfe"}, "UTF-8"),
    (lambda f: f | {"Description": b"A\0B"}, "NUL"),
    (lambda f: f | {"Description": b'"QUOTED" AND MORE'}, "quote"),
]


@dataclasses.dataclass
class Expected:
    """What an import of the file gives."""
    rows: int = 0
    events: int = 0
    rejected: dict = dataclasses.field(default_factory=dict)  # line: part of the reason
    totals: dict = dataclasses.field(default_factory=dict)    # order id: exact sum
    lines: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    sales: collections.Counter = dataclasses.field(default_factory=collections.Counter)


def _field(value):
    if isinstance(value, bytes):
        return value
    if any(c in value for c in ',"\n'):
        value = '"' + value.replace('"', '""') + '"'
    return value.encode()


def _row(source, number):
    # Invoices overlap, and some have a single line.
    invoice = 536365 + number // 6 + source.choice([0, 0, 0, 1])
    returned = invoice % 7 == 0
    return {
        "InvoiceNo": ("C" if returned else "") + str(invoice),
        "StockCode": source.choice(["85123A", "71053", "POST"]),
        "Description": source.choice(NAMES),
        "Quantity": str(source.randint(1, 48) * (-1 if returned else 1)),
        "InvoiceDate": f"2010-12-{number // 200 + 1:02} 08:{source.randint(0, 59):02}:00",
        "UnitPrice": source.choice(["2.55", "0.1", "-11062.06", "0.001", "4", "1.10"]),
        "CustomerID": source.choice(["17850.0", "13047.0", ""]),
        "Country": source.choice(COUNTRIES),
    }


def make(rows=3000, seed=1, faults=True):
    """The file's bytes, and what is expected of them."""
    source = random.Random(seed)
    parts = [HEADER.encode() + b"\n"]
    expected = Expected()
    line = 2
    for number in range(rows):
        fields = _row(source, number)
        expected.rows += 1
        if faults and source.random() < 0.006:
            change, reason = source.choice(FAULTS)
            fields = change(fields)
            expected.rejected[line] = reason
        else:
            order = fields["InvoiceNo"]
            amount = decimal.Decimal(fields["UnitPrice"]) * int(fields["Quantity"])
            expected.events += 1 if order in expected.totals else 2
            expected.totals[order] = expected.totals.get(order, 0) + amount
            expected.lines[order] += 1
            expected.sales[fields["InvoiceDate"][:10], fields["Country"]] += amount
        text = b",".join(_field(value) for value in fields.values()) + b"\n"
        parts.append(text)
        line += text.count(b"\n")
        if source.random() < 0.002:
            parts.append(b"\n")  # an empty line is no row
            line += 1
    return b"".join(parts), expected
