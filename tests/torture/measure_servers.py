# SPDX-License-Identifier: Apache-2.0
"""Runs a benchmark on the servers of the tests, which it starts and stops:

    tests/torture/measure_servers.py [--only postgres,mongodb,neo4j] [--binary FILE] sync [OPTION …]

What follows the options is `daybook bench`'s own. FerretDB stands for MongoDB.
"""
import argparse
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from services.ferretdb import FerretDB  # noqa: E402
from services.neo4j import Neo4j  # noqa: E402
from services.postgres import Missing, Postgres  # noqa: E402

SERVERS = {"postgres": lambda: Postgres(settings=["wal_level = logical"]), "mongodb": FerretDB,
           "neo4j": lambda: Neo4j(heap_mb=1024)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(SERVERS))
    parser.add_argument("--binary", default=ROOT / "build" / "daybook")
    parser.add_argument("bench", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    servers, where, environment = [], [], dict(os.environ)
    try:
        for name in options.only.split(","):
            servers.append(SERVERS[name]())
            environment[f"MEASURE_{name.upper()}"] = servers[-1].connection()
            where += [f"--{name}", f"env:MEASURE_{name.upper()}"]
        if options.bench[0] == "model" and "mongodb" in options.only:
            where += ["--hand-updates", "50"]  # more than a hundred FerretDB never answers
        return subprocess.call([options.binary, "bench", *options.bench, *where], env=environment)
    finally:
        for server in servers:
            server.close()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Missing as why:
        print(f"missing: {why}")
        sys.exit(2)
