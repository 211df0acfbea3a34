#!/usr/bin/env python3
"""Rules on the source text that no compiler checks. Part of `make check`.

    tidy.py              check the whole tree; prints file:line: rule, exits 1 if there is any
    tidy.py --reflow F.. rewrap block comments of these files that are wider than a line may be
"""
import os
import re
import sys

LINE_MAX = 100
# Tests in Python say much in one call.
LINE_MAX_PYTHON = 120
FILE_MAX = 800
FUNCTION_MAX = 70

# Functions that may be longer than FUNCTION_MAX, each with its reason: "file:function": "reason".
LONG_FUNCTIONS = {
}

BANNED = {
    "strcpy": "str_copy()", "strcat": "buf_puts()", "sprintf": "str_format()",
    "vsprintf": "vsnprintf()", "strncpy": "str_copy()", "strncat": "buf_append()",
    "strtok": "a cursor", "strtok_r": "a cursor", "atoi": "str_parse_int64()",
    "atol": "str_parse_int64()", "atoll": "str_parse_int64()", "atof": "str_parse_int64()",
    "sscanf": "str_parse_*()", "alloca": "an array with a maximum", "gets": "read()",
    "localtime": "localtime_r()", "gmtime": "gmtime_r()", "ctime": "clock_iso_format()",
    "asctime": "clock_iso_format()", "rand": "prng_next()", "random": "prng_next()",
    "srand": "prng_seed()", "sleep": "a timer of the loop", "usleep": "a timer of the loop",
    "nanosleep": "a timer of the loop", "system": "io/child.h", "popen": "io/child.h",
    "tmpnam": "mkstemp()", "mktemp": "mkstemp()", "getaddrinfo": "io/resolver.h",
    "gethostbyname": "io/resolver.h",
}
# Where a banned function is right, with the reason.
BANNED_EXCEPTIONS = {
}
ALLOCATORS = ("malloc", "calloc", "realloc", "strdup", "strndup", "asprintf", "vasprintf")
ALLOCATOR_FILES = ("src/base/mem.c",)
# Only main() ends a process, and the two places that end it because nothing else is left.
EXIT_FILES = re.compile(r"src/[a-z]+/main\.c|tests/.*")

# What a room may include, beside its own headers and libc.
ROOM_MAY = {
    "base": {"base"},
    "model": {"model", "base", "supervisor/fence"},
    "core": {"core", "model", "base"},
    "codec": {"codec", "model", "base"},
    "io": {"io", "codec", "model", "base", "supervisor"},
    "supervisor": {"supervisor", "base"},
    "agent": {"agent", "io", "codec", "core", "model", "base", "supervisor"},
    "cli": {"cli", "io", "codec", "model", "base"},
}
# Third-party headers and the rooms that may name them.
THIRD_PARTY = [
    (re.compile(r"^libpq-fe\.h$|^postgres_ext\.h$"), {"io"}),
    (re.compile(r"^curl/"), {"io", "agent", "cli"}),
    (re.compile(r"^jansson\.h$"), {"codec", "io", "agent", "cli"}),
    (re.compile(r"^event2?/|^event\.h$|^ev(http|dns|util)\.h$"), {"io"}),
    (re.compile(r"^yaml\.h$"), {"codec", "cli"}),
    (re.compile(r"^openssl/"), {"io", "codec"}),
]
# What core and model must not even be able to name.
PURE_ROOMS = {"core", "model"}
PURE_BANNED_HEADERS = {
    "stdio.h", "stdlib.h", "time.h", "sys/time.h", "unistd.h", "pthread.h", "locale.h",
    "pgheir/base/clock.h", "pgheir/base/log.h", "pgheir/base/mem.h", "pgheir/base/buf.h",
    "pgheir/base/err.h",
}
SUPERVISOR_BANNED_HEADERS = {"pgheir/base/log.h", "pgheir/base/mem.h", "pgheir/base/buf.h"}

C_FOLDERS = ("include", "src", "tests/unit", "tests/sim", "tests/fuzz", "tests/lib", "tests/e2e")
TEXT_FOLDERS = ("include", "src", "tests", "scripts", "docker", "docs", "etc", "m4", "man",
                "packaging", ".ci")
TEXT_FILES = ("Makefile.am", "configure.ac", "README.md", "CHANGELOG.md", "CONTRIBUTING.md",
              "SECURITY.md", "LICENSE", ".gitignore")
# Data whose bytes are the point, such as what a fuzzer found.
RAW = re.compile(r"^tests/\w+/(corpus|data|golden)/|\.(png|svg|xz|gz|bin)$")


def blank(text):
    """As many blanks, with the line ends kept, so that offsets and line numbers stay true."""
    return re.sub(r"[^\n]", " ", text)


TOKENS = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


def without_comments(text):
    return TOKENS.sub(lambda m: blank(m[0]) if m[0][0] == "/" else m[0], text)


def code_only(text):
    """Comments and the insides of literals blanked."""
    return TOKENS.sub(lambda m: blank(m[0]) if m[0][0] == "/"
                      else m[0][0] + blank(m[0][1:-1]) + m[0][-1], text)


class Source:
    def __init__(self, path, text):
        self.path = path
        self.text = text
        self.lines = text.split("\n")
        self.code = code_only(text)
        parts = path.split("/")
        self.room = None
        if parts[0] == "src" and len(parts) > 2:
            self.room = parts[1]
        elif parts[0] == "include" and len(parts) > 3:
            self.room = parts[2]

    def line_at(self, offset):
        return self.text.count("\n", 0, offset) + 1


class Tidy:
    def __init__(self, top):
        self.top = top
        self.problems = []
        self.used_exceptions = set()

    def report(self, path, line, text):
        self.problems.append((path, line, text))

    # ---- every text file ----

    def check_text(self, path, data):
        for number, line in enumerate(data.split(b"\n"), 1):
            if any(byte > 126 or (byte < 32 and byte != 9) for byte in line):
                self.report(path, number, "a character outside printable ASCII")
            # A patch marks an empty line of its context with one blank.
            if line.endswith((b" ", b"\t")) and not (path.endswith(".patch") and line == b" "):
                self.report(path, number, "blanks at the end of the line")
        if data and not data.endswith(b"\n"):
            self.report(path, data.count(b"\n") + 1, "no newline at the end of the file")
        if path.endswith((".c", ".h", ".py", ".sh")) or path.startswith("scripts/"):
            limit = LINE_MAX_PYTHON if path.endswith(".py") else LINE_MAX
            for number, line in enumerate(data.split(b"\n"), 1):
                if len(line) > limit:
                    self.report(path, number, f"{len(line)} columns, {limit} are allowed "
                                "(comments: tests/tidy/tidy.py --reflow FILE)")

    # ---- C ----

    def check_c(self, source):
        if len(source.lines) - 1 > FILE_MAX:
            self.report(source.path, FILE_MAX, f"{len(source.lines) - 1} lines, {FILE_MAX} are "
                        "allowed: split the file by its jobs")
        if re.search(r"\t", source.text):
            line = source.line_at(source.text.index("\t"))
            self.report(source.path, line, "a tab; C files are indented with four blanks")
        self.check_functions(source)
        self.check_banned(source)
        self.check_includes(source)
        self.check_names(source)
        if source.path.endswith(".h"):
            self.check_guard(source)
            self.check_extern(source)
        if source.path.startswith("include/"):
            self.check_prototypes(source)

    def check_functions(self, source):
        start = None
        for number, line in enumerate(source.code.split("\n"), 1):
            if line.startswith("{"):
                start = number
            elif line.startswith("}") and start is not None:
                length = number - start - 1
                if length > FUNCTION_MAX:
                    self.check_long_function(source, start, length)
                start = None

    def check_long_function(self, source, start, length):
        head = " ".join(source.code.split("\n")[max(0, start - 8):start - 1])
        names = re.findall(r"(\w+)\s*\([^()]*(?:\([^()]*\)[^()]*)*\)\s*$", head)
        key = f"{source.path}:{names[-1] if names else '?'}"
        if key in LONG_FUNCTIONS:
            self.used_exceptions.add(key)
            return
        self.report(source.path, start, f"{key.split(':')[1]}() has {length} lines, "
                    f"{FUNCTION_MAX} are allowed")

    def check_banned(self, source):
        for match in re.finditer(r"(?<![\w.>])(\w+)\s*\(", source.code):
            name = match[1]
            line = source.line_at(match.start())
            key = f"{source.path}:{name}"
            if key in BANNED_EXCEPTIONS:
                self.used_exceptions.add(key)
                continue
            if name in BANNED:
                self.report(source.path, line, f"{name}() is banned: use {BANNED[name]}")
            elif name in ALLOCATORS and source.path not in ALLOCATOR_FILES:
                self.report(source.path, line, f"{name}() outside base/mem.c: use mem_new()")
            elif name in ("exit", "_exit") and source.room and source.room != "supervisor" \
                    and not EXIT_FILES.fullmatch(source.path):
                # A forked child that could not exec has no other way out.
                if name == "exit":
                    self.report(source.path, line, "exit() outside main.c: return an error")

    def check_includes(self, source):
        plain = without_comments(source.text)
        for match in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', plain, re.M):
            line = source.line_at(match.start())
            header = match[2]
            ours = header.startswith("pgheir/")
            if ours and match[1] == "<":
                self.report(source.path, line, f'<{header}>: our own headers stand in quotes')
            if source.room is None:
                continue
            if ours:
                self.check_own_include(source, line, header)
            for pattern, rooms in THIRD_PARTY:
                if pattern.match(header) and source.room not in rooms:
                    self.report(source.path, line,
                                f"{source.room} must not include {header} (only {sorted(rooms)})")
            if source.room in PURE_ROOMS and header in PURE_BANNED_HEADERS:
                self.report(source.path, line, f"{source.room} must not include {header}: it has "
                            "no clock, no log, no memory, no errors")
            if source.room == "supervisor" and header in SUPERVISOR_BANNED_HEADERS:
                self.report(source.path, line, f"the supervisor must not include {header}: "
                            "libc only, no allocation")
            if not ours and match[1] == '"':
                self.check_private_include(source, line, header)

    def check_private_include(self, source, line, header):
        """A private header is named alone, or by its path from the top of the tree."""
        if "/" in header and not header.startswith(f"src/{source.room}/"):
            self.report(source.path, line, f'"{header}": only the room itself may include it')

    def check_own_include(self, source, line, header):
        parts = header.split("/")
        if len(parts) != 3:
            self.report(source.path, line, f"{header}: expected pgheir/<room>/<file>.h")
        elif not {parts[1], f"{parts[1]}/{parts[2][:-2]}"} & ROOM_MAY.get(source.room, set()):
            self.report(source.path, line, f"{source.room} must not include {header} "
                        f"(it may: {', '.join(sorted(ROOM_MAY.get(source.room, [])))})")
        elif not os.path.exists(os.path.join(self.top, "include", header)):
            self.report(source.path, line, f"{header} does not exist")

    def check_names(self, source):
        for match in re.finditer(r"\btypedef\s+(struct|enum|union)\b", source.code):
            self.report(source.path, source.line_at(match.start()),
                        f"typedef of a {match[1]}: write `{match[1]} name`")
        pattern = r"^(?:static\s+)?(?:const\s+)?(?:struct\s+|enum\s+)?\w+[\s*]+(_\w+)\s*\("
        for match in re.finditer(pattern, source.code, re.M):
            self.report(source.path, source.line_at(match.start()),
                        f"{match[1]}: names with a leading underscore belong to the compiler")
        for match in re.finditer(r"\b(?:struct|enum|union)\s+(\w+_t)\b", source.code):
            self.report(source.path, source.line_at(match.start()),
                        f"{match[1]}: names ending in _t belong to POSIX")

    def check_guard(self, source):
        parts = source.path.split("/")
        room = parts[1] if parts[0] == "tests" else source.room
        name = re.sub(r"\W", "_", "_".join(filter(None, ["pgheir", room, parts[-1]]))).upper()
        wanted = [name]
        if parts[0] == "src":
            # Private headers may say so in their guard.
            wanted.append(name.replace("PGHEIR_", "PGHEIR_SRC_", 1))
        directives = [line.strip() for line in source.code.split("\n") if line.strip()]
        if directives[-1] != "#endif" or not any(
                directives[:2] == [f"#ifndef {guard}", f"#define {guard}"] for guard in wanted):
            self.report(source.path, 1, f"expected the include guard {wanted[0]} around everything")

    def check_extern(self, source):
        for match in re.finditer(r"^[ \t]*extern\s+(?!\"C\")([^;(]*);", source.code, re.M):
            if not re.search(r"\bconst\b[^*]*$", match[1]):
                self.report(source.path, source.line_at(match.start()),
                            "a variable that may change in a header: pass a struct instead")

    def check_prototypes(self, source):
        """Each prototype has a comment above it, alone or with the prototypes right before it, or
        one behind it."""
        plain = source.code.split("\n")
        raw = source.lines
        index = 0
        while index < len(plain):
            line = plain[index]
            starts = re.match(r"^(?!static\b|typedef\b|struct \w+ \{|enum \w* ?\{|#|\}|\s|extern\b)"
                              r"[A-Za-z_][\w\s*]*\(?", line)
            if not starts or "(" not in line or line.rstrip().endswith("\\"):
                index += 1
                continue
            last = index
            while last < len(plain) and ";" not in plain[last] and "{" not in plain[last]:
                last += 1
            ends = last < len(plain) and ";" in plain[last]
            if ends and not self.is_explained(raw, plain, index, last):
                self.report(source.path, index + 1, "a prototype without a comment above it")
            index = last + 1

    @staticmethod
    def is_explained(raw, plain, first, last):
        if raw[last].rstrip().endswith("*/"):
            return True
        above = first - 1
        while above >= 0 and raw[above].strip():
            if not plain[above].strip():
                return True     # a comment
            if plain[above].startswith("#"):
                return False
            above -= 1
        return False

    # ---- the tree ----

    def walk(self):
        for folder in TEXT_FOLDERS:
            for root, folders, files in os.walk(os.path.join(self.top, folder)):
                folders[:] = sorted(f for f in folders
                                    if f not in ("__pycache__", ".deps", ".pytest_cache"))
                for name in sorted(files):
                    yield os.path.relpath(os.path.join(root, name), self.top)
        for name in TEXT_FILES:
            if os.path.exists(os.path.join(self.top, name)):
                yield name

    def run(self):
        for path in self.walk():
            if RAW.search(path) or path.endswith((".o", ".a", ".log", ".trs", ".pyc", ".dirstamp")):
                continue
            with open(os.path.join(self.top, path), "rb") as file:
                data = file.read()
            if data.startswith(b"\x7fELF"):
                continue
            self.check_text(path, data)
            if path.endswith((".c", ".h")) and path.startswith(C_FOLDERS):
                self.check_c(Source(path, data.decode("ascii", "replace")))
        for key in sorted((set(LONG_FUNCTIONS) | set(BANNED_EXCEPTIONS)) - self.used_exceptions):
            self.report("tests/tidy/tidy.py", 1, f"the exception for {key} is not needed")


# ---- reflow ----

def reflow_comment(match):
    indent, body = match[1], match[2]
    if all(len(line) <= LINE_MAX for line in match[0].split("\n")):
        return match[0]
    lines = [re.sub(r"^\s*\*? ?", "", line, count=1) if number else line.strip()
             for number, line in enumerate(body.rstrip().split("\n"))]
    paragraphs = []
    for line in lines:
        stands_alone = not line.strip() or re.match(r"\s{2,}|[-*] |\d+\. |[A-Z]\w+: ", line)
        if stands_alone or not paragraphs or paragraphs[-1][1]:
            paragraphs.append([line, bool(not line.strip() or line.startswith("  "))])
        else:
            paragraphs[-1][0] += " " + line.strip()
    out = []
    for text, fixed in paragraphs:
        if fixed:
            out.append(text.rstrip())
            continue
        hang = "  " if re.match(r"[-*] |\d+\. ", text) else ""
        current = ""
        for word in text.split():
            # The closing of the comment needs three columns on the last line.
            if current and len(indent) + 3 + len(current) + 1 + len(word) + 3 > LINE_MAX:
                out.append(current)
                current = hang + word
            else:
                current = f"{current} {word}" if current else word
        out.append(current)
    joined = ("\n" + indent + " * ").join(out)
    return (indent + "/* " + joined + " */").replace(" * \n", " *\n")


def reflow(paths):
    for path in paths:
        with open(path, encoding="ascii") as file:
            text = file.read()
        # Only comments that have their lines for themselves.
        changed = re.sub(r"^([ ]*)/\* ?((?:[^*]|\*(?!/))*?) ?\*/[ ]*$", reflow_comment, text,
                         flags=re.M)
        if changed != text:
            with open(path, "w", encoding="ascii") as file:
                file.write(changed)


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "--reflow":
        reflow(sys.argv[2:])
        return 0
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    tidy = Tidy(top)
    tidy.run()
    for path, line, text in sorted(tidy.problems):
        print(f"{path}:{line}: {text}")
    print(f"tidy: {len(tidy.problems)} problems")
    return 1 if tidy.problems else 0


if __name__ == "__main__":
    sys.exit(main())
