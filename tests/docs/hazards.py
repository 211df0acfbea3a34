#!/usr/bin/env python3
"""Every test, story, planted bug and file that docs/hazards.md names exists. Part of `make check`.

How the table names them: `story: a, b` (tests/sim/stories), `bug: a` (tests/mutants), `unit: test_x` and
`e2e/test_x` (files), each followed by the names of tests in it in backquotes, up to the next file or semicolon.
Other words in backquotes are checked if they look like a path or like a test."""
import glob
import os
import re
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
TOKEN = re.compile(r"(?P<end>;)|(?P<list>story|bug): (?P<names>\w+(?:, \w+)*)|"
                   r"(?P<python>(?:ctl|docker|e2e|io|supervisor)/test_\w+)|`(?P<quoted>[^`]*)`|"
                   r"(?P<unit>\b(?:test|fuzz)_\w+)")
LISTED = {"story": "tests/sim/stories/%s.story", "bug": "tests/mutants/%s.patch"}
ROWS_MIN = 60


def read(path):
    with open(os.path.join(TOP, path)) as file:
        return file.read()


def exists(path):
    return os.path.exists(os.path.join(TOP, path))


def tests_in(path):
    """Names of the tests in a file of C or Python."""
    pattern = r"^def (test_\w+)\(" if path.endswith(".py") else r"^static void (\w+)\(void \*\*"
    return set(re.findall(pattern, read(path), re.M))


def python_tests():
    return set().union(*(tests_in(os.path.relpath(path, TOP))
                         for path in glob.glob(os.path.join(TOP, "tests", "*", "test_*.py"))))


def quoted_problem(name, file):
    """What is wrong with a name in backquotes; file is the one named before it, or None."""
    if file is not None:
        return None if name in tests_in(file) else "%s has no test %s" % (file, name)
    if re.fullmatch(r"(src|tests|docs|scripts)/[\w./]+", name):
        return None if exists(name) else "there is no %s" % name
    if name.startswith("test_") and name not in python_tests():
        return "there is no test %s" % name
    return None


def problems_of(row):
    file = None
    for token in TOKEN.finditer(row):
        if token["end"]:
            file = None
        elif token["list"]:
            for name in token["names"].split(", "):
                path = LISTED[token["list"]] % name
                if not exists(path):
                    yield "there is no %s" % path
        elif token["quoted"] is not None:
            problem = quoted_problem(token["quoted"], file)
            if problem:
                yield problem
        else:
            file = "tests/%s.py" % token["python"] if token["python"] else \
                "tests/%s/%s.c" % ("fuzz" if token["unit"].startswith("fuzz") else "unit", token["unit"])
            if not exists(file):
                yield "there is no %s" % file
                file = None


def check():
    rows = [row for row in re.findall(r"^\| [A-Z]{2}-\d.*$", read("docs/hazards.md"), re.M)]
    if len(rows) < ROWS_MIN:
        yield "only %d rows were found" % len(rows)
    for row in rows:
        for problem in problems_of(row):
            yield "%s: %s" % (row.split("|")[1].strip(), problem)


def main():
    problems = list(check())
    for problem in problems:
        print("docs/hazards.md: %s" % problem)
    print("hazards: %d problems" % len(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
