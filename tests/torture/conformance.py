# SPDX-License-Identifier: Apache-2.0
"""Strikes four models of one book, in SQLite, PostgreSQL, MongoDB and Neo4j, run after run.

    tests/torture/conformance.py --runs 1000 --seed 1 --state FILE [--seconds N] [--binary FILE]

Each run ends the daemon, a server or a connection at one message of a batch, appends events, and
holds all four databases against what the events come to (tests/integration/test_conformance.py).
The state file keeps how many runs are done and what struck; the same command goes on behind them,
with a book of its own every fifty runs. The first difference ends it with status 1, and says the
seed and the run.
"""
import argparse
import collections
import json
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "integration"))
sys.path.insert(0, str(ROOT / "tests"))
import test_conformance  # noqa: E402
from services.postgres import Missing  # noqa: E402

EACH_BOOK = 50


def load(options):
    if options.state.exists():
        state = json.loads(options.state.read_text(encoding="utf-8"))
        assert state["seed"] == options.seed, f"{options.state} is of seed {state['seed']}"
        return state
    return {"seed": options.seed, "done": 0, "struck": {}, "events": 0, "seconds": 0}


def save(options, state):
    beside = options.state.with_suffix(".new")
    beside.write_text(json.dumps(state) + "\n", encoding="utf-8")
    beside.replace(options.state)


def some(options, state, end):
    """Runs on one book, until it is used up or the time is."""
    struck = collections.Counter(state["struck"])
    with tempfile.TemporaryDirectory(prefix="daybook-conformance-") as name:
        bench = test_conformance.Bench(options.binary, pathlib.Path(name))
        try:
            for _ in range(EACH_BOOK):
                if state["done"] >= options.runs or time.monotonic() >= end:
                    return
                begun, before = time.monotonic(), bench.last
                target, kind, came = test_conformance.run(bench, options.seed, state["done"])
                struck[f"{kind} {target}"] += came
                state.update(done=state["done"] + 1, struck=dict(struck),
                             events=state["events"] + bench.last - before,
                             seconds=round(state["seconds"] + time.monotonic() - begun, 1))
                save(options, state)
                print(f"{state['done']} of {options.runs}: {kind} {target}", file=sys.stderr)
        finally:
            bench.kill_daemon()
            bench.server.process.communicate()
            bench.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=86400)
    parser.add_argument("--state", type=pathlib.Path, required=True)
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "build" / "daybook")
    options = parser.parse_args()
    state = load(options)
    end = time.monotonic() + options.seconds
    while state["done"] < options.runs and time.monotonic() < end:
        try:
            some(options, state, end)
        except AssertionError:
            print(f"seed {options.seed}, run {state['done']}: {json.dumps(state)}")
            raise
    print(json.dumps(state))


if __name__ == "__main__":
    try:
        main()
    except Missing as why:
        print(f"missing: {why}")
        sys.exit(2)
