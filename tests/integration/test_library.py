# SPDX-License-Identifier: Apache-2.0
"""The installed library is found by pkg-config, and examples/c builds and runs against it."""
import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import BANK, ROOT, clean_environment, missing

BUILD = pathlib.Path(os.environ.get("DAYBOOK_BUILD", ROOT / "build"))
EXPECTED = """\
appended up to position 2
refused: """


def run(*arguments, **options):
    result = subprocess.run([str(a) for a in arguments], text=True, capture_output=True,
                            timeout=120, check=False, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def installed(binary, tmp_path_factory):
    """The folder that stands for /, with Daybook installed in it."""
    if not list((BUILD / "src").glob("libdaybook.so*")):
        missing("libdaybook")
    root = tmp_path_factory.mktemp("installed")
    run("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", root)
    return root


def test_what_is_installed(installed):
    names = {path.name for path in installed.rglob("*") if not path.is_dir()}
    assert {"daybook", "daybook.h", "daybook.pc", "libdaybook.a", "libdaybook.so"} <= names


def build(installed, folder, name, static=False):
    """Builds an example as its own head says; the program, and the environment to run it in."""
    package = next(installed.rglob("daybook.pc"))
    library = package.parent.parent
    environment = clean_environment() | {
        "PKG_CONFIG_PATH": str(package.parent), "PKG_CONFIG_SYSROOT_DIR": str(installed),
        "LD_LIBRARY_PATH": str(library)}
    if static:
        # Without the shared library beside it, the linker takes the archive.
        beside = folder / "static"
        beside.mkdir()
        shutil.copy(library / "libdaybook.a", beside)
        libraries = run("pkg-config", "--static", "--libs-only-l", "daybook", env=environment)
        flags = [f"-I{next(installed.rglob('daybook.h')).parent}", f"-L{beside}",
                 *libraries.split(), "-pthread"]
    else:
        flags = run("pkg-config", "--cflags", "--libs", "daybook", env=environment).split()
    run("cc", "-std=c11", "-Wall", "-Werror", ROOT / "examples" / "c" / f"{name}.c", *flags, "-o",
        folder / name, env=environment)
    return folder / name, environment


def test_a_fold_in_c(installed, tmp_path):
    program, environment = build(installed, tmp_path, "meter")
    first = run(program, BANK, tmp_path / "data", env=environment)
    assert "the category meter has a fold already" in first
    assert first.endswith("""\
1: {"readings":1,"total":1}
10: {"readings":10,"total":55}
17: {"readings":17,"total":153}
25: {"readings":25,"total":325}
""")
    assert len(list((tmp_path / "data" / "snapshots").iterdir())) == 2
    assert run(program, BANK, tmp_path / "data", env=environment) == first


def test_a_saga_in_c(installed, tmp_path):
    """It is what one in a file is: an order is confirmed, one is undone, one is parked."""
    program, environment = build(installed, tmp_path, "checkout")
    book = ROOT / "examples" / "checkout"
    printed = run(program, book, tmp_path / "data", env=environment)
    assert printed.splitlines() == [
        "o1: completed", "o2: compensated only 1 of tea are on hand",
        "o3: waiting saga fulfil: `on.OrderPlaced.run` failed"], printed
    # Run again it begins nothing anew, and nothing was done twice.
    assert run(program, book, tmp_path / "data", env=environment) == printed


@pytest.mark.parametrize("static", [False, True], ids=["shared", "static"])
def test_example_builds_and_runs(installed, tmp_path, static):
    program, environment = build(installed, tmp_path, "bank", static)
    printed = run(program, BANK, tmp_path / "data", env=environment)
    assert printed.startswith(EXPECTED), printed
    assert '1 AccountOpened {"id":"c-1"}\n2 Deposited {"amount":100}\n3 Withdrawn {"amount":30}\n' \
        in printed
    assert "audited AccountOpened\naudited Deposited\naudited Withdrawn\n" in printed
    assert printed.splitlines()[-1].startswith("version 3: {")
    assert '"balance":70' in printed
