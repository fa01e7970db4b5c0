#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every fuzz target under libFuzzer with ASan and UBSan, and counts the executions.

    tests/torture/fuzz.py [--seconds N | --executions N] [--seed N] [--jobs N] [TARGET ...]

Builds with clang into build-fuzz. The time (or the number of executions) is shared evenly by the
targets; each starts from tests/fuzz/corpus/<target>, and what it finds on its way is kept in
build-fuzz/corpus/<target>, so that a later run goes on from there. A failing input is left in
build-fuzz/found/, and the exit status is 1: put it beside the corpus and it is replayed for ever.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build-fuzz"


def build():
    if not (BUILD / "build.ninja").exists():
        compiler = {"CC": os.environ.get("FUZZ_CC", "clang"),
                    "CXX": os.environ.get("FUZZ_CXX", "clang++")}
        subprocess.run(["meson", "setup", BUILD, "-Dfuzz=true", "-Db_lundef=false",
                        "-Db_sanitize=address,undefined", "-Dbuildtype=debugoptimized"],
                       cwd=ROOT, env=os.environ | compiler, check=True,
                       stdout=subprocess.DEVNULL)
    listed = subprocess.run(["ninja", "-C", BUILD, "-t", "targets", "all"], check=True, text=True,
                            capture_output=True).stdout
    names = sorted(set(re.findall(r"^tests/fuzz/fuzz-(\w+):", listed, re.M)))
    made = subprocess.run(["ninja", "-C", BUILD, *(f"tests/fuzz/fuzz-{name}" for name in names)],
                          text=True, capture_output=True)
    if made.returncode != 0:
        sys.exit(made.stdout[-4000:])
    return names


def fuzz(name, seconds, executions, seed):
    """Executions done, and whether no input failed."""
    kept = BUILD / "corpus" / name
    found = BUILD / "found"
    kept.mkdir(parents=True, exist_ok=True)
    found.mkdir(exist_ok=True)
    bound = f"-runs={executions}" if executions else f"-max_total_time={seconds}"
    # A short leak check at the end would count what libFuzzer keeps; ASan checks leaks at exit.
    began = time.monotonic()
    run = subprocess.run([BUILD / "tests/fuzz" / f"fuzz-{name}", bound, f"-seed={seed}",
                          "-max_len=4096", "-print_final_stats=1", "-detect_leaks=0",
                          f"-artifact_prefix={found}/{name}-", kept,
                          ROOT / "tests/fuzz/corpus" / name],
                         text=True, errors="replace", capture_output=True)
    done = re.search(r"stat::number_of_executed_units:\s*(\d+)", run.stderr)
    count = int(done[1]) if done else 0
    took = time.monotonic() - began
    print(f"{name}: {count} executions, {count / max(took, 1e-3):.0f}/s, "
          f"{'no failure' if run.returncode == 0 else 'FAILED'}", flush=True)
    if run.returncode != 0:
        print(run.stderr[-3000:], file=sys.stderr)
    return count, run.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=int, default=60, help="over all targets (60)")
    parser.add_argument("--executions", type=int, default=0, help="over all targets, not seconds")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    parser.add_argument("targets", nargs="*")
    given = parser.parse_args()
    names = build()
    unknown = set(given.targets) - set(names)
    if unknown:
        sys.exit(f"no target {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    names = given.targets or names
    seconds = max(1, given.seconds * given.jobs // len(names))
    executions = -(-given.executions // len(names))
    print(f"seed {given.seed}, {len(names)} targets", flush=True)
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        results = list(pool.map(lambda name: fuzz(name, seconds, executions, given.seed), names))
    failed = sum(not passed for _, passed in results)
    print(f"{sum(count for count, _ in results)} executions over {len(names)} targets, "
          f"{failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
