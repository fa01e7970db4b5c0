#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_symbols -- the shared library exports what its header declares, and nothing else.

    tests/tools/test_symbols.py LIBRARY HEADER
"""
import re
import subprocess
import sys


def exported(library):
    lines = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True,
                           check=True).stdout.splitlines()
    return {line.split()[-1] for line in lines}


def declared(header):
    with open(header, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.DOTALL)
    return set(re.findall(r"^DAYBOOK_API\s[^;(]*?(\w+)\(", text, re.MULTILINE))


def main():
    symbols, names = exported(sys.argv[1]), declared(sys.argv[2])
    for name in sorted(symbols - names):
        print(f"{name} is exported, but not declared in the header")
    for name in sorted(names - symbols):
        print(f"{name} is declared in the header, but not exported")
    return 0 if symbols == names and names else 1


if __name__ == "__main__":
    sys.exit(main())
