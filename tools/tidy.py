#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the house rules that a compiler does not know.

    tools/tidy.py [--root DIR] [--no-format]

Faults are printed as file:line: rule: what, and make the exit status 1. Sizes past what we aim at
(unless LONG lists them with a reason) and pages that are not written yet are only noted. The
rooms and their order come from meson.build.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

COLUMNS = 100
FUNCTION_LINES = 70
FILE_LINES = 600
FORMAT_VERSION = "14"

# Headers that other rooms may include beside <room>/<room>.h; of base, all of them.
FRONTS = {"log/backup.h", "log/record.h", "migrate/finish.h", "migrate/verify.h", "model/as_of.h",
          "json/decimal.h", "json/quotes.h", "schema/compare.h", "schema/event.h", "schema/infer.h",
          "schema/upcaster.h", "view/alert.h", "view/changes.h", "view/schedule.h", "os/sim.h",
          "server/api.h"}

# Those of personal fields.
FRONTS |= {"log/sealed.h", "vault/backup.h", "vault/copies.h", "vault/fields.h", "vault/keys.h"}

# What forgets calls the rooms that it cleans.
FRONTS |= {"model/forget.h", "saga/functions.h", "saga/simulate.h"}

FRONTS |= {"model/letters.h", "model/with.h", "service/ask.h", "service/hot.h",
           "service/impact.h", "service/migration.h", "service/observed.h",
           "service/placement.h", "service/placement_files.h", "service/scope.h", "service/sql.h"}

# Whose files are on the real system; what a command is kept from, to be tried.
FRONTS |= {"os/owner.h", "command/fence.h"}

# A server's connection string is read in one place.
FRONTS |= {"target/login.h", "target/roles.h", "target/secret.h"}

# What is outside of the book is called in one place.
FRONTS |= {"os/process.h", "target/http.h"}

# Sources and homes of views share a target's session, within its module.
FRONTS |= {"target/driver.h", "target/mongodb/session.h", "target/neo4j/session.h"}

# What a login fails of is said alike by all that log in.
FRONTS |= {"target/postgres/advice.h"}

# Whose header a library's is: the others use the room.
DRIVERS = {
    "simdjson.h": {"json"},
    "lua.h": {"script", "schema", "fold", "saga", "migrate", "command", "book", "cli"},
    "lauxlib.h": {"script", "schema", "fold", "saga", "migrate", "command", "book", "cli"},
    "lualib.h": {"script"},
    "sqlite3.h": {"target"},
    "sodium.h": {"vault", "access"},
    "libpq-fe.h": {"target", "capture"},
    "pg_query.h": {"service", "target", "view"},
    "yaml.h": {"book"},
    "pcre2.h": {"schema"},
    "microhttpd.h": {"server"},
    "csv.h": {"cli"},
    "zstd.h": {"cli"},
    "zlib.h": {"cli"},
}

# Only os/ calls the system for files.
FILE_CALLS = """access chdir chmod chown copy_file_range creat faccessat fallocate fchmod
fdatasync fdopen fdopendir flock fopen freopen fstat fstatat fsync ftruncate getcwd link lstat
mkdir mkdirat mkdtemp mkstemp mmap open openat opendir posix_fallocate pread preadv pwrite
pwritev readdir readlink realpath remove rename renameat rmdir scandir sendfile stat statx
symlink tmpfile truncate unlink unlinkat""".split()
FILE_CALLS_ALLOWED = {
    "src/cli/place.c": {"getcwd"},
    # daybook-verify shares nothing with the daemon.
    "src/verify/file.c": {"fstat", "mmap", "open", "opendir", "readdir", "stat"},
}

# Everywhere in src/: what each would be replaced by.
BANNED_CALLS = {
    "sprintf": "snprintf", "vsprintf": "vsnprintf", "strcpy": "memcpy", "strcat": "struct dbk_buf",
    "gets": "fgets", "strtok": "a loop over a slice", "alloca": "dbk_alloc",
    "atoi": "dbk_slice_to_i64",
    "atol": "dbk_slice_to_i64", "atof": "struct dbk_decimal", "system": "nothing",
    "popen": "nothing", "assert": "dbk_assert",
    "malloc": "dbk_alloc", "calloc": "dbk_alloc_zero", "realloc": "dbk_realloc", "free": "dbk_free",
    "strdup": "dbk_copy_text", "strndup": "dbk_copy_text", "asprintf": "dbk_buf_append_format",
}
# The simulated disk is no part of what the n-th allocation fails in.
HEAP = {"malloc", "calloc", "realloc", "free"}
BANNED_CALLS_ALLOWED = {
    "src/base/memory.c": HEAP,
    "src/os/sim.c": HEAP,
    "src/os/sim_disk.c": HEAP,
    "src/verify/book.c": HEAP,
    "src/verify/bytes.c": HEAP,
    "src/verify/event.c": HEAP,
    "src/verify/file.c": HEAP,
    "src/verify/log.c": HEAP,
}

# Sizes that stay: path or path:function, and why.
LONG = {
    "src/os/sim.c": "one simulated system call after the other, and no second subject",
}

TEXT = {".c", ".h", ".cpp", ".py", ".md", ".lua", ".sql", ".yaml", ".yml", ".sh", ".build", ".js",
        ".txt", ".in", ".toml", ".jsonl", ".json"}
SOURCE = {".c", ".h", ".cpp"}
NAMES = {"Makefile", "run", "test"}
SKIPPED = re.compile(
    r"^(build.*|\.git|\.cache|__pycache__|\.pytest_cache|corpus|data|.*-data|\.venv)$")

CONFLICT = re.compile(r"<{7} |>{7} |={7}$")
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.$}{])/(?:work|home|root|Users)/\w")
PAGE = re.compile(r"\bdocs/[\w/-]+\.md\b")
TICKET = re.compile(r"\b(?:issue|ticket|bug) #?[0-9]+\b", re.IGNORECASE)


class Report:
    def __init__(self):
        self.faults = []
        self.notes = []

    def fault(self, path, line, rule, text):
        self.faults.append(f"{path}:{line}: {rule}: {text}")

    def note(self, key, path, line, rule, text):
        if key not in LONG:
            self.notes.append(f"{path}:{line}: note: {rule}: {text}")


def read_rooms(root):
    """The names of the rooms in meson.build, in order."""
    text = (root / "meson.build").read_text()
    table = re.search(r"^rooms = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^  \['(\w+)'", table.group(1), re.MULTILINE)


def files_of(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not SKIPPED.match(f))
        for name in sorted(names):
            path = pathlib.Path(folder) / name
            if (path.suffix in TEXT or name in NAMES) and not path.is_symlink():
                yield path


TOKEN = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)


def blank(text):
    """The code with comments, and what literals hold, as spaces; lines and columns stay."""
    def spaces(match):
        token = match.group(0)
        inner = re.sub(r"[^\n]", " ", token)
        return token[0] + inner[1:-1] + token[0] if token[0] in "\"'" else inner
    return TOKEN.sub(spaces, text)


def line_at(text, offset):
    return text.count("\n", 0, offset) + 1


def check_text(report, root, path, lines, name):
    """What holds for every text file."""
    for number, line in enumerate(lines, 1):
        for page in PAGE.findall(line):
            if not (root / page).exists():
                report.note(path, path, number, "page", f"{page} is not there")
        if CONFLICT.match(line):
            report.fault(path, number, "conflict", "what git could not merge stands here")
        if UNFINISHED.search(line):
            report.fault(path, number, "unfinished", "do it, or name it as a limit")
        if MACHINE_PATH.search(line):
            report.fault(path, number, "machine-path", "an absolute path of somebody's machine")
        if TICKET.search(line):
            report.fault(path, number, "ticket", "give the reason instead of a number")
        if line != line.rstrip() and not name.endswith(".md"):
            report.fault(path, number, "trailing-space", "spaces at the end of the line")
        if "\t" in line and name != "Makefile":
            report.fault(path, number, "tab", "use spaces")
    if lines and lines[-1] == "":
        report.fault(path, len(lines), "end-of-file", "an empty line at the end")


def check_spdx(report, path, lines):
    top = lines[:2] if lines and lines[0].startswith("#!") else lines[:1]
    if not any("SPDX-License-Identifier: Apache-2.0" in line for line in top):
        report.fault(path, 1, "spdx", "the first line is the SPDX line")


def check_columns(report, path, lines):
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS:
            report.fault(path, number, "columns", f"{len(line)} columns, at most {COLUMNS}")


def guard_of(path):
    parts = list(pathlib.PurePath(path).with_suffix("").parts)
    if parts[0] == "include":
        return parts[-1].upper() + "_H"
    if parts[0] == "src":
        parts[0] = "DBK"
    elif parts[0] == "tests":
        parts[0:1] = ["DBK", "TESTS"]
        parts = [part for part in parts if part != "unit"]
    else:
        return None
    return "_".join(parts).upper() + "_H"


def check_guard(report, path, code):
    guard = guard_of(path)
    if guard is None:
        return
    lines = [line for line in code.split("\n") if line.strip()]
    if lines[:2] != [f"#ifndef {guard}", f"#define {guard}"] or lines[-1].strip() != "#endif":
        report.fault(path, 1, "guard", f"the header's guard is {guard}, around all of it")


def includes_of(lines):
    """(line, '<' or '"', name, block) of each; blocks end where another line stands between."""
    block = 0
    for number, line in enumerate(lines, 1):
        match = re.match(r'#include ([<"])([^>"]+)[>"]', line)
        if match:
            yield number, match.group(1), match.group(2), block
        else:
            block += 1


def check_include_order(report, path, lines):
    if any("clang-format off" in line for line in lines):
        return
    found = list(includes_of(lines))
    if path.endswith((".c", ".cpp")) and path.startswith("src/"):
        own = os.path.splitext(path[len("src/"):])[0] + ".h"
        at = [i for i, include in enumerate(found) if include[2] == own]
        if at and at[0] != 0:
            report.fault(path, found[at[0]][0], "include-order", f"\"{own}\" comes first")
            return
    # The header a file is about, or its harness, stands alone before the others.
    alone = len(found) > 1 and found[0][1] == '"' and found[1][3] != found[0][3]
    rest = found[1:] if alone else found
    seen_ours = False
    for before, include in zip([None] + rest, rest):
        number, kind, name, block = include
        if kind == '<' and seen_ours:
            report.fault(path, number, "include-order", f"<{name}> comes before \"ours\"")
            return
        seen_ours = seen_ours or kind == '"'
        if before and before[3] == block and before[1] == kind and before[2] > name:
            report.fault(path, number, "include-order", f"{name} comes before {before[2]}")
            return


def check_layers(report, path, lines, rooms):
    parts = pathlib.PurePath(path).parts
    is_test = parts[:2] == ("tests", "unit")
    room = parts[1] if parts[0] == "src" else parts[2] if is_test else None
    if room not in rooms:
        return
    for number, kind, name, _ in includes_of(lines):
        if kind == '<':
            if name in DRIVERS and room not in DRIVERS[name] and not is_test:
                owners = ", ".join(sorted(DRIVERS[name]))
                report.fault(path, number, "driver",
                             f"{room}/ may not include <{name}>: only {owners} may")
            continue
        other = name.split("/")[0]
        if "/" not in name or other == room:
            continue
        if other not in rooms:
            report.fault(path, number, "layer", f"{other}/ is no room of meson.build")
        elif rooms.index(other) > rooms.index(room):
            report.fault(path, number, "layer", f"{room}/ may not include {name}")
        elif not (is_test or other == "base" or name in FRONTS or name == f"{other}/{other}.h"):
            report.fault(path, number, "front-door", f"{name} is private to {other}/")


CALL = re.compile(r"(?<![\w.>])(\w+)\(")


def check_calls(report, path, code):
    room = path.split("/")[1]
    own = set(re.findall(r"^static [^;={]*?\b(\w+)\(", code, re.MULTILINE))
    for number, line in enumerate(code.split("\n"), 1):
        for name in CALL.findall(line):
            if name in own or name in BANNED_CALLS_ALLOWED.get(path, ()):
                continue
            if (name in FILE_CALLS and room != "os"
                    and name not in FILE_CALLS_ALLOWED.get(path, ())):
                report.fault(path, number, "file-call", f"{name}: only os/ makes calls on files")
            if name in BANNED_CALLS:
                report.fault(path, number, "banned-call", f"{name}: use {BANNED_CALLS[name]}")


def check_comments(report, path, text):
    for match in TOKEN.finditer(text):
        if match.group(0).startswith("//"):
            report.fault(path, line_at(text, match.start()), "comment", "write /* */, not //")


def check_sizes(report, path, lines, code):
    if len(lines) > FILE_LINES:
        report.note(path, path, 1, "file-size", f"{len(lines)} lines, aim at {FILE_LINES}")
    begin = None
    name = "?"
    for number, line in enumerate(code.split("\n"), 1):
        match = re.match(r"\w.*?\b(\w+)\(", line)
        if match and not line.startswith("#"):
            name = match.group(1)
        if line == "{":
            begin = number
        elif line.startswith("}") and begin is not None:
            if number - begin - 1 > FUNCTION_LINES:
                report.note(f"{path}:{name}", path, begin, "function-size",
                            f"{name} has {number - begin - 1} lines, aim at {FUNCTION_LINES}")
            begin = None


def check_format(report, root, paths):
    program = shutil.which("clang-format-" + FORMAT_VERSION) or shutil.which("clang-format")
    version = "" if program is None else subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=True).stdout
    if f"version {FORMAT_VERSION}." not in version:
        if os.environ.get("CI") == "true":
            report.fault("tools/tidy.py", 1, "format", f"clang-format {FORMAT_VERSION} is not here")
        else:
            report.notes.append(f"note: no clang-format {FORMAT_VERSION}: format unchecked")
        return
    result = subprocess.run([program, "--dry-run", "-Werror", *paths], cwd=root, text=True,
                            capture_output=True, check=False)
    for line in result.stderr.split("\n"):
        match = re.match(r"(.*?):(\d+):\d+: error: code should be clang-formatted", line)
        if match:
            report.fault(match.group(1), match.group(2), "format", "run `make format`")
    if result.returncode != 0 and "clang-formatted" not in result.stderr:
        report.fault(".clang-format", 1, "format", result.stderr.strip())


def check_source(report, path, text, lines, rooms):
    code = blank(text)
    check_columns(report, path, lines)
    check_comments(report, path, text)
    check_include_order(report, path, lines)
    check_layers(report, path, lines, rooms)
    check_sizes(report, path, lines, code)
    if path.endswith(".h"):
        check_guard(report, path, code)
    if path.startswith("src/"):
        check_calls(report, path, code)


def check(root, with_format=True):
    report = Report()
    rooms = read_rooms(root)
    formatted = []
    for file in files_of(root):
        path = file.relative_to(root).as_posix()
        text = file.read_text(encoding="utf-8")
        lines = text.split("\n")
        if lines.pop() != "":
            report.fault(path, len(lines) + 1, "end-of-file", "the last line has no end")
        check_text(report, root, path, lines, file.name)
        if file.suffix in SOURCE:
            formatted.append(path)
            check_source(report, path, text, lines, rooms)
        if file.suffix in SOURCE | {".py", ".sh"} or text.startswith("#!"):
            check_spdx(report, path, lines)
        if file.suffix == ".py":
            check_columns(report, path, lines)
    if with_format and formatted:
        check_format(report, root, formatted)
    return report


def main():
    parser = argparse.ArgumentParser(description="Checks the house rules.")
    parser.add_argument("--root", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--no-format", action="store_true", help="leave clang-format out")
    arguments = parser.parse_args()
    report = check(arguments.root, not arguments.no_format)
    for line in report.notes + report.faults:
        print(line)
    if report.faults:
        print(f"{len(report.faults)} faults")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
