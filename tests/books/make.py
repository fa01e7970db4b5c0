# SPDX-License-Identifier: Apache-2.0
"""Writes a book whose content is a function of numbers, with a Daybook of any version.

    tests/books/make.py DAYBOOK FOLDER      makes FOLDER/book.yaml and FOLDER/data

For each format ever written `format-N.tar.zst` beside this file keeps what this made with a Daybook
of that time; test_formats.py reads them all, and says what must be in them.
"""
import json
import pathlib
import subprocess
import sys
import uuid

SMALL = 4200        # enough for a run of the index
LARGE = 100         # enough for a sealed segment and the beginning of another
LARGE_SIZE = 900_000
CUT_STREAM = "thing-3"
CUT_BEFORE = 300    # from format 2 on: its versions before this one are not kept, and compacted


def event(number):
    """The event of a position: what it was appended as."""
    if number <= SMALL:
        data = {"n": number}
    else:
        data = {"n": number, "pad": "x" * LARGE_SIZE}
    return {"stream": f"thing-{number % 7}", "type": "Seen" if number % 2 else "Changed",
            "data": data, "id": str(uuid.UUID(int=number)),
            "occurred": "2011-03-01T08:26:00Z", "tags": [f"mod:{number % 3}"],
            "meta": {"correlationid": f"c{number % 11}"}}


def main():
    daybook, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True)
    (folder / "book.yaml").write_text("book: kept\ndata: data\n", encoding="utf-8")
    last = SMALL + LARGE
    for first in list(range(1, SMALL, 600)) + list(range(SMALL + 1, last, 20)):
        size = 600 if first <= SMALL else 20
        lines = [json.dumps(event(n)) for n in range(first, min(first + size, last + 1))]
        subprocess.run([daybook, "append", "--file", "-", "--book", folder], text=True, check=True,
                       input="\n".join(lines), stdout=subprocess.DEVNULL)
    helped = subprocess.run([daybook, "help", "compact"], capture_output=True, check=False)
    if helped.returncode == 0:
        for command in (["stream", "keep", CUT_STREAM, "--truncate-before", str(CUT_BEFORE)],
                        ["compact", "--percent", "0"]):
            subprocess.run([daybook, *command, "--book", folder], check=True,
                           stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
