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
    source = folder / f"{name}.c"
    if not source.exists():
        source = ROOT / "examples" / "c" / f"{name}.c"
    run("cc", "-std=c11", "-Wall", "-Werror", source, *flags, "-o", folder / name,
        env=environment)
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


LARGE = r"""
#include <daybook.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
static int by(const struct daybook_saga_now *now, struct daybook_text *text, void *context)
{
    const char *json = NULL;
    size_t size = 0;
    (void)context;
    if (daybook_member(now->event, "id", &json, &size, NULL) != 1)
        return 1;
    daybook_write(text, json, size);
    return 0;
}
static int take(const struct daybook_saga_now *now, struct daybook_saga_answer *answer,
                void *context)
{
    static char spaces[1 << 20];
    static char why[8 << 20];
    const char *json = NULL;
    size_t size = 0;
    (void)context;
    if (daybook_member(now->event, "id", &json, &size, NULL) != 1)
        return 1;
    struct daybook_text *text = daybook_saga_state(answer);
    memset(spaces, 'x', sizeof(spaces));
    daybook_write(text, "{\"a\":\"", 6);
    for (int i = 0; i < atoi(json); i++)
        daybook_write(text, spaces, sizeof(spaces));
    daybook_write(text, "\"}", 2);
    memset(why, 'x', sizeof(why) - 1);
    if (atoi(json) == 60)
        daybook_saga_fail(answer, why);
    else
        daybook_saga_complete(answer);
    return 0;
}
static const struct daybook_saga_on on = {.type = "Came", .starts = 1, .by = by, .run = take};
static const struct daybook_saga saga = {
    .name = "large", .unmatched = DAYBOOK_SAGA_IGNORE, .from_start = 1, .on = &on, .on_count = 1};
int main(int count, char **words)
{
    static const char *const ids[] = {"70", "60", "50", "0"};
    struct daybook *book = NULL;
    struct daybook_error error;
    int rc = daybook_open(&(struct daybook_options){.folder = words[1], .data = words[2]}, &book,
                          &error);
    (void)count;
    for (size_t i = 0; rc == DAYBOOK_OK && i < 4; i++) {
        char data[32];
        int size = snprintf(data, sizeof(data), "{\"id\":%s}", ids[i]);
        struct daybook_new_event event = {.stream = "thing-1", .type = "Came", .data = data,
                                          .data_size = (size_t)size};
        rc = daybook_append(book, &(struct daybook_batch){.events = &event, .count = 1}, NULL,
                            &error);
    }
    if (rc == DAYBOOK_OK)
        rc = daybook_saga_add(book, &saga, &error);
    for (size_t i = 0; rc == DAYBOOK_OK && i < 4; i++) {
        const struct timespec pause = {.tv_nsec = 10000000};
        char *record = NULL;
        for (int tries = 0; tries < 3000 && record == NULL; tries++) {
            if (daybook_saga_show(book, "large", ids[i], &record, &error) < 0)
                (void)nanosleep(&pause, NULL);
        }
        (void)printf("%s: %.300s\n", ids[i], record == NULL ? "nothing" : record);
        daybook_free(record);
    }
    daybook_close(book);
    if (rc < 0)
        (void)printf("%s\n", error.message);
    return rc < 0;
}
"""


PERSONAL = r"""
#include <daybook.h>
#include <stdio.h>
static int by(const struct daybook_saga_now *now, struct daybook_text *text, void *context)
{
    (void)now;
    (void)text;
    (void)context;
    return 1;
}
static int take(const struct daybook_saga_now *now, struct daybook_saga_answer *answer,
                void *context)
{
    (void)now;
    (void)answer;
    (void)context;
    return 0;
}
static const struct daybook_saga_on on = {
    .type = "OrderPlaced", .starts = 1, .by = by, .run = take};
static const struct daybook_saga saga = {
    .name = "curious", .unmatched = DAYBOOK_SAGA_IGNORE, .on = &on, .on_count = 1};
int main(int count, char **words)
{
    struct daybook *book = NULL;
    struct daybook_error error = {0};
    int rc = daybook_open(&(struct daybook_options){.folder = words[1], .data = words[2]}, &book,
                          &error);
    (void)count;
    if (rc == DAYBOOK_OK)
        rc = daybook_saga_add(book, &saga, &error);
    (void)printf("%d %s\n", rc == DAYBOOK_EINVAL, error.message);
    daybook_close(book);
    return 0;
}
"""


def test_a_saga_in_c_takes_no_personal_fields(installed, tmp_path):
    """Its records would outlive the subject's key; `check` refuses a file's for that."""
    (tmp_path / "personal.c").write_text(PERSONAL, encoding="utf-8")
    program, environment = build(installed, tmp_path, "personal")
    printed = run(program, ROOT / "examples" / "shop-personal", tmp_path / "data", env=environment)
    assert printed.startswith(
        "1 saga curious takes OrderPlaced, which has personal fields: "), printed


def test_what_is_too_large_parks_one_and_the_others_go_on(installed, tmp_path):
    (tmp_path / "large.c").write_text("#define _GNU_SOURCE\n" + LARGE, encoding="utf-8")
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "book.yaml").write_text("book: large\nschema: off\n", encoding="utf-8")
    program, environment = build(installed, tmp_path, "large")
    printed = run(program, tmp_path / "book", tmp_path / "data", env=environment).splitlines()
    assert printed[0].startswith("70: ") and "`on.Came.run` failed" in printed[0], printed
    assert printed[1].startswith("60: ") and "keeps or sends is too large" in printed[1], printed
    assert printed[2].startswith("50: ") and "at most 1048576 are allowed" in printed[2], printed
    assert printed[3].startswith("0: ") and '"completed"' in printed[3], printed


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
