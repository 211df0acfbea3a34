#!/usr/bin/env python3
"""Each rule of tidy.py, broken once: a rule that nothing can break is none."""
import os
import tempfile
import unittest

import tidy

HEADER = """/* For: this test. */
#ifndef PGHEIR_MODEL_A_H
#define PGHEIR_MODEL_A_H

/* Says what it does. */
int a_do(int x);
#endif
"""


class TidyTest(unittest.TestCase):
    def problems(self, files):
        with tempfile.TemporaryDirectory() as top:
            for path, text in files.items():
                os.makedirs(os.path.join(top, os.path.dirname(path)), exist_ok=True)
                data = text if isinstance(text, bytes) else text.encode("utf-8")
                with open(os.path.join(top, path), "wb") as file:
                    file.write(data)
            checker = tidy.Tidy(top)
            checker.run()
        return [f"{path}:{line}: {text}" for path, line, text in checker.problems
                if path != "tests/tidy/tidy.py"]

    def assert_clean(self, files):
        self.assertEqual(self.problems(files), [])

    def assert_problem(self, files, *wanted):
        found = self.problems(files)
        self.assertEqual(len(found), len(wanted), found)
        for line, text in zip(found, wanted):
            self.assertIn(text, line)

    def test_clean_files(self):
        self.assert_clean({
            "include/pgheir/model/a.h": HEADER,
            "src/model/a.c": '#include "pgheir/model/a.h"\n\n'
                             "/* sprintf( in a comment */\n"
                             "int\na_do(int x)\n{\n    return x;\n}\n"
                             'static const char text[] = "strcpy(";\n',
            "README.md": "x" * 200 + "\n",
        })

    def test_text(self):
        self.assert_problem({"src/base/a.c": "int a;  \n"}, "a.c:1: blanks at the end")
        self.assert_problem({"src/base/a.c": "int a;"}, "no newline")
        self.assert_problem({"docs/a.md": "caf\u00e9\n"}, "a.md:1: a character outside")
        self.assert_problem({"src/base/a.c": "\tint a;\n"}, "a tab")
        self.assert_problem({"src/base/a.c": "/*" + "x" * 97 + "*/\n"}, "101 columns")
        self.assert_problem({"scripts/a": "#" + "x" * 100 + "\n"}, "101 columns")
        self.assert_clean({"tests/fuzz/corpus/x/a": b"\xff\x00 \n"})

    def test_sizes(self):
        self.assert_clean({"src/base/a.c": "int x;\n" * 800})
        self.assert_problem({"src/base/a.c": "int x;\n" * 801}, "801 lines")
        body = "int\na_do(void)\n{{\n{}}}\n"
        self.assert_clean({"src/base/a.c": body.format("    x();\n" * 70)})
        self.assert_problem({"src/base/a.c": body.format("    x();\n" * 71)}, "a_do() has 71")

    def test_banned(self):
        for name in ("strcpy", "sprintf", "atoi", "localtime", "system", "malloc", "strdup"):
            self.assert_problem({"src/io/a.c": f"int x = {name}(y);\n"}, f"{name}()")
        self.assert_clean({"src/base/mem.c": "int x = malloc(y);\n"})
        self.assert_clean({"src/io/a.c": "int x = strcpy_all(y) + s->system(z) + t.sleep(1);\n"})
        self.assert_problem({"src/io/a.c": "int x = exit(1);\n"}, "exit() outside main.c")
        self.assert_clean({"src/agent/main.c": "int x = exit(1);\n"})

    def test_walls(self):
        def include(room, header):
            return {f"src/{room}/a.c": f'#include "pgheir/{header}"\n',
                    f"include/pgheir/{header}": HEADER.replace(
                        "MODEL_A_H", header.replace("/", "_").replace(".", "_").upper())}

        for room, header in (("core", "io/b.h"), ("core", "codec/b.h"), ("model", "core/b.h"),
                             ("codec", "io/b.h"), ("io", "core/b.h"), ("cli", "core/b.h"),
                             ("supervisor", "model/b.h"), ("base", "model/b.h")):
            self.assert_problem(include(room, header), f"{room} must not include pgheir/{header}")
        for room, header in (("core", "model/b.h"), ("agent", "core/b.h"), ("io", "codec/b.h"),
                             ("supervisor", "base/b.h")):
            self.assert_clean(include(room, header))
        self.assert_problem(include("core", "base/log.h"), "it has no clock")
        self.assert_problem(include("supervisor", "base/mem.h"), "no allocation")
        for room, header in (("core", "jansson.h"), ("agent", "event2/event.h"),
                             ("codec", "curl/curl.h"), ("agent", "libpq-fe.h"),
                             ("supervisor", "yaml.h")):
            self.assert_problem({f"src/{room}/a.c": f"#include <{header}>\n"}, "must not include")
        self.assert_problem({"src/core/a.c": "#include <stdio.h>\n"}, "core must not include")
        self.assert_problem({"src/io/a.c": '#include "src/core/core_private.h"\n'},
                            "only the room itself")
        self.assert_problem({"src/io/a.c": '#include "pgheir/io/none.h"\n'}, "does not exist")

    def test_names(self):
        self.assert_problem({"src/base/a.c": "typedef struct a b;\n"}, "typedef of a struct")
        self.assert_problem({"src/base/a.c": "struct a_t;\n"}, "a_t")
        self.assert_problem({"src/base/a.c": "static int _a(int x);\n"}, "_a: names")

    def test_headers(self):
        path = "include/pgheir/model/a.h"
        self.assert_problem({path: HEADER.replace("PGHEIR_MODEL_A_H", "A_H")}, "PGHEIR_MODEL_A_H")
        self.assert_problem({path: HEADER + "int x(void);\n"}, "guard", "without a comment")
        self.assert_problem({path: HEADER.replace("/* Says what it does. */\n", "")},
                            "a.h:5: a prototype without a comment")
        self.assert_clean({path: HEADER.replace("x);\n", "x);\nint b_do(int x,\n      int y);\n")})
        self.assert_problem({path: HEADER.replace("x);\n", "x);\n\nint b_do(int x);\n")},
                            "a.h:8: a prototype without a comment")
        self.assert_problem({path: HEADER.replace("#endif", "extern int a_count;\n#endif")},
                            "a variable that may change")
        self.assert_problem({path: HEADER.replace("#endif", "extern const char *a;\n#endif")},
                            "a variable that may change")
        self.assert_clean({path: HEADER.replace("#endif", "extern const int a[3];\n#endif")})

    def test_reflow(self):
        comment = "    /* " + "word " * 30 + "*/\nint x; /* " + "kept " * 25 + "*/\n"
        with tempfile.NamedTemporaryFile("w+", suffix=".c") as file:
            file.write(comment)
            file.flush()
            tidy.reflow([file.name])
            with open(file.name, encoding="ascii") as again:
                lines = again.read().split("\n")
        self.assertEqual(len(lines), 4)
        self.assertTrue(all(len(line) <= tidy.LINE_MAX for line in lines[:2]))
        self.assertEqual(" ".join(lines[:2]).count("word"), 30)
        self.assertEqual(lines[2].count("kept"), 25)


if __name__ == "__main__":
    unittest.main()
