#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs clang-tidy over the C files of a build directory's compile_commands.json.

    tools/lint.py BUILD [--all] [--seconds N]

A file that passed is left out until it, any header or .clang-tidy changes (--all: none is left
out). Files not begun within --seconds count as skipped. Ends with a line `N passed, N failed, N
skipped`.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def sources_of(build):
    """Our C files that the build compiles, each once."""
    commands = json.loads((build / "compile_commands.json").read_text())
    files = {(pathlib.Path(c["directory"]) / c["file"]).resolve() for c in commands}
    return sorted(f for f in files if f.suffix == ".c" and ROOT / "src" in f.parents)


def shared_hash():
    """Of what every file's outcome rests on beside the file itself."""
    digest = hashlib.sha256((ROOT / ".clang-tidy").read_bytes())
    for header in sorted((ROOT / "src").rglob("*.h")) + sorted((ROOT / "include").rglob("*.h")):
        digest.update(header.read_bytes())
    return digest


def lint(program, build, source, deadline):
    if time.monotonic() > deadline:
        return None, ""
    result = subprocess.run([program, "--quiet", "-p", str(build), str(source)], text=True,
                            capture_output=True, check=False, cwd=ROOT)
    return result.returncode == 0, result.stdout


def main():
    parser = argparse.ArgumentParser(description="Runs clang-tidy.")
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--seconds", type=float, default=1200)
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    program = shutil.which("clang-tidy-14") or shutil.which("clang-tidy")
    sources = sources_of(build)
    if program is None:
        print(f"clang-tidy is not here\n0 passed, 0 failed, {len(sources)} skipped")
        return 1 if os.environ.get("CI") == "true" else 0

    stamps = build / "lint"
    stamps.mkdir(exist_ok=True)
    deadline = time.monotonic() + arguments.seconds
    base = shared_hash()
    passed, failed, skipped, work = 0, 0, 0, {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for source in sources:
            digest = base.copy()
            digest.update(source.read_bytes())
            stamp = stamps / re.sub(r"\W", "_", source.relative_to(ROOT).as_posix())
            if not arguments.all and stamp.exists() and stamp.read_text() == digest.hexdigest():
                passed += 1
                continue
            future = pool.submit(lint, program, build, source, deadline)
            work[future] = (stamp, digest.hexdigest())
        for future in concurrent.futures.as_completed(work):
            stamp, digest = work[future]
            clean, output = future.result()
            if clean:
                stamp.write_text(digest)
                passed += 1
            elif clean is None:
                skipped += 1
            else:
                print("\n".join(line for line in output.split("\n") if ": error: " in line))
                failed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
