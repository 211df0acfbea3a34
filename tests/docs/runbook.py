#!/usr/bin/env python3
"""docs/runbook.md names every reason and every message that is logged as a warning or an error, and no
reason that does not exist. Part of `make check`."""
import glob
import os
import re
import sys

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
LITERAL = r'"(?:\\.|[^"\\])*"'
# A literal may be broken by macros such as PRIu64.
LOGGED = re.compile(r"\b(?:log_(?:warning|error|critical)|note_(?:warning|error))\(\s*"
                    r"((?:(?:%s|PRI\w+)\s*)+)" % LITERAL)
REASON = re.compile(r'X\((\w+), ([DIWE]),')
# Between what differs, and before what explains.
SEAM = re.compile(r"\w+=|%[-+ #0-9.*lzhj]*[a-zA-Z]?|[:;(] ?| - |\. hint")


def read(*path):
    with open(os.path.join(TOP, *path)) as file:
        return file.read()


def longest_part(text):
    """What is the same in every such line."""
    return max((part.strip(" ,)") for part in SEAM.split(text)), key=len)


def messages():
    """(file, what its line always says), for every line above INFO; "" if it is somebody else's text."""
    for path in sorted(glob.glob(os.path.join(TOP, "src", "*", "*.c"))):
        for match in LOGGED.finditer(read(path)):
            text = "".join(part[1:-1] for part in re.findall(LITERAL, match[1]))
            yield os.path.relpath(path, TOP), longest_part(text)


def check():
    runbook = read("docs", "runbook.md")
    severities = dict(REASON.findall(read("include", "pgheir", "model", "reason.h")))
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)*)`", runbook))
    for code, severity in severities.items():
        if severity in "WE" and code not in named:
            yield "reason %s is missing" % code
    for code in re.findall(r"^\| `([A-Z_]+)`", runbook, re.M):
        if code not in severities:
            yield "there is no reason %s" % code
    found = list(messages())
    if len(found) < 100 or len(severities) < 50:
        yield "the sources do not look as expected: only %d messages, %d reasons" % (len(found),
                                                                                     len(severities))
    for path, text in found:
        if text not in runbook:
            yield '%s: the message "%s" is missing' % (path, text)


def main():
    problems = list(check())
    for problem in problems:
        print("docs/runbook.md: %s" % problem)
    print("runbook: %d problems" % len(problems))
    return 1 if problems else 0


sys.exit(main())
