#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""test_tidy -- each rule of tools/tidy.py is broken once, in a small tree that keeps them all."""
import pathlib
import shutil
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import tidy  # noqa: E402

SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"
ROOMS = "rooms = [\n  ['base', []],\n  ['os', []],\n  ['log', []],\n  ['store', []],\n]\n"
CLEAN = {
    "meson.build": ROOMS,
    "src/log/log.h": SPDX + "#ifndef DBK_LOG_LOG_H\n#define DBK_LOG_LOG_H\n\nint dbk_log(void);\n\n"
                            "#endif\n",
    "src/log/log.c": SPDX + '#include "log/log.h"\n\n#include <stdio.h>\n#include <stdlib.h>\n\n'
                            '#include "base/error.h"\n#include "os/os.h"\n\nint dbk_log(void)\n{\n'
                            '    return puts("http://x"); /* not a // comment */\n}\n',
    "tests/unit/log/sample.h": SPDX + "#ifndef DBK_TESTS_LOG_SAMPLE_H\n"
                                      "#define DBK_TESTS_LOG_SAMPLE_H\n\n#endif\n",
    "page.md": "# A page\n",
}


class TidyTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        for path, text in CLEAN.items():
            self.write(path, text)

    def write(self, path, text):
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def in_function(self, line):
        self.write("src/log/log.c", CLEAN["src/log/log.c"].replace("{\n", "{\n    " + line + "\n"))

    def report(self, with_format=False):
        return tidy.check(self.folder, with_format)

    def assert_fault(self, *parts):
        """One fault and no other, and it holds all the parts."""
        faults = self.report().faults
        self.assertEqual(len(faults), 1, faults)
        for part in parts:
            self.assertIn(part, faults[0])

    def test_a_clean_tree_has_no_faults(self):
        report = self.report()
        self.assertEqual(report.faults, [])
        self.assertEqual(report.notes, [])

    def test_an_upward_include(self):
        self.write("src/log/log.c", CLEAN["src/log/log.c"].replace("os/os.h", "store/store.h"))
        self.assert_fault("src/log/log.c:8: layer: log/ may not include store/store.h")

    def test_an_upward_include_of_a_test(self):
        self.write("tests/unit/log/log_test.c", SPDX + '#include "store/store.h"\n')
        self.assert_fault("layer: log/ may not include store/store.h")

    def test_an_unknown_room(self):
        self.write("src/log/log.c", CLEAN["src/log/log.c"].replace("os/os.h", "zoo/zoo.h"))
        self.assert_fault("layer: zoo/ is no room")

    def test_a_private_header_of_another_room(self):
        self.write("src/store/store.c", SPDX + '#include "log/segment.h"\n')
        self.assert_fault("front-door: log/segment.h is private to log/")

    def test_a_listed_front_and_any_of_base_are_fine(self):
        self.write("src/store/store.c", SPDX + '#include "base/hash.h"\n#include "log/record.h"\n')
        self.assertEqual(self.report().faults, [])

    def test_somebody_elses_driver(self):
        self.write("src/store/store.c", SPDX + "#include <simdjson.h>\n")
        self.assert_fault("driver: store/ may not include <simdjson.h>")

    def test_header_guard(self):
        for text in ("#ifndef LOG_H\n#define LOG_H\n\n#endif\n",
                     "#ifndef DBK_LOG_LOG_H\n#define DBK_LOG_LOG_H\n#endif\nint dbk_log(void);\n"):
            self.write("src/log/log.h", SPDX + text)
            self.assert_fault("guard: the header's guard is DBK_LOG_LOG_H")

    def test_spdx(self):
        self.write("src/log/log.h", CLEAN["src/log/log.h"].removeprefix(SPDX))
        self.assert_fault("src/log/log.h:1: spdx")
        self.write("src/log/log.h", CLEAN["src/log/log.h"])
        self.write("tools/x.py", "#!/usr/bin/env python3\n\nprint()\n")
        self.assert_fault("tools/x.py:1: spdx")

    def test_the_own_header_first(self):
        self.write("src/log/log.c", SPDX + '#include <stdio.h>\n\n#include "log/log.h"\n')
        self.assert_fault('include-order: "log/log.h" comes first')

    def test_the_system_before_ours(self):
        self.write("src/log/scan.c", SPDX + '#include "base/error.h"\n#include "os/os.h"\n\n'
                                            "#include <stdio.h>\n")
        self.assert_fault('include-order: <stdio.h> comes before "ours"')

    def test_sorted_includes(self):
        self.write("src/log/scan.c", SPDX + "#include <stdlib.h>\n#include <stdio.h>\n")
        self.assert_fault("include-order: stdio.h comes before stdlib.h")

    def test_line_comments(self):
        self.in_function("int x = 1; // one")
        self.assert_fault("src/log/log.c:12: comment")

    def test_tabs(self):
        self.in_function("\tint x;")
        self.assert_fault("src/log/log.c:12: tab")

    def test_trailing_space(self):
        self.in_function("int x; ")
        self.assert_fault("src/log/log.c:12: trailing-space")

    def test_columns_are_characters(self):
        self.in_function('f("' + 90 * "\u00e9" + '");')
        self.assertEqual(self.report().faults, [])
        self.in_function('f("' + 91 * "\u00e9" + '");')
        self.assert_fault("columns: 101 columns")

    def test_ends_of_files(self):
        self.write("page.md", "# A page")
        self.assert_fault("page.md:1: end-of-file")
        self.write("page.md", "# A page\n\n")
        self.assert_fault("page.md:2: end-of-file")

    def test_unfinished_work(self):
        for word in ("TO" "DO", "FIX" "ME"):
            self.write("page.md", f"# A page\n{word}: more\n")
            self.assert_fault("page.md:2: unfinished")

    def test_paths_of_a_machine(self):
        self.write("page.md", "see /" "home/anna/daybook\n")
        self.assert_fault("page.md:1: machine-path")
        self.write("page.md", "see http://host/" "work/x and a/" "home/b\n")
        self.assertEqual(self.report().faults, [])

    def test_pages_that_are_not_there(self):
        self.write("docs/" "here.md", "# Here\n")
        self.write("src/log/scan.c", SPDX + "/* See docs/" "here.md and docs/" "gone.md. */\n")
        self.assertEqual(self.report().faults, [])
        self.assertEqual(self.report().notes,
                         ["src/log/scan.c:2: note: page: docs/" "gone.md is not there"])

    def test_ticket_numbers(self):
        self.write("page.md", "as issue " "#12 says\n")
        self.assert_fault("page.md:1: ticket")

    def test_calls_on_files(self):
        for name in tidy.FILE_CALLS:
            self.in_function(f"{name}(x);")
            self.assert_fault(f"src/log/log.c:12: file-call: {name}:")
        self.in_function("os->open(os); table.rename(x); dbk_open(x); /* open(x) */ \"open(x)\";")
        self.assertEqual(self.report().faults, [])

    def test_os_and_own_functions_may_be_named_so(self):
        self.write("src/os/real.c", SPDX + "int dbk_x(void)\n{\n    return open(x);\n}\n")
        own = "static int remove(int x)\n{\n    return remove(x);\n}\n"
        self.write("src/log/scan.c", SPDX + own)
        self.assertEqual(self.report().faults, [])

    def test_banned_calls(self):
        for name, better in tidy.BANNED_CALLS.items():
            self.in_function(f"{name}(x);")
            self.assert_fault(f"banned-call: {name}: use {better}")

    def test_long_functions_are_noted_unless_listed(self):
        begin = SPDX + "int dbk_x(int y,\n          int z)\n{\n"
        body = tidy.FUNCTION_LINES * "    x();\n"
        self.write("src/log/scan.c", begin + body + "}\n")
        self.assertEqual(self.report().notes, [])
        self.write("src/log/scan.c", begin + "    x();\n" + body + "}\n")
        self.assertEqual(self.report().faults, [])
        self.assertIn("function-size: dbk_x has 71 lines", self.report().notes[0])
        tidy.LONG["src/log/scan.c:dbk_x"] = "a table"
        self.addCleanup(tidy.LONG.pop, "src/log/scan.c:dbk_x")
        self.assertEqual(self.report().notes, [])

    def test_long_files_are_noted(self):
        self.write("src/log/scan.c", SPDX + tidy.FILE_LINES * "/* x */\n")
        self.assertIn("file-size: 601 lines", self.report().notes[0])

    @unittest.skipIf(shutil.which("clang-format") is None, "no clang-format")
    def test_format(self):
        shutil.copy(ROOT / ".clang-format", self.folder)
        self.assertEqual(self.report(True).faults, [])
        self.in_function("int  x;")
        faults = self.report(True).faults
        self.assertEqual(len(faults), 1, faults)
        self.assertIn("src/log/log.c:12: format: run `make format`", faults[0])


if __name__ == "__main__":
    unittest.main()
