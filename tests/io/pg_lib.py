"""Drives tests/io/pg_probe: one request through the PostgreSQL door per run."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e", "lib"))

from postgres import PG_BIN, unprivileged  # noqa: E402

BUILD = os.environ.get("PGHEIR_BUILD", os.getcwd())
PROBE = os.path.join(BUILD, "tests", "io", "pg_probe")


class Answer(dict):
    """The last line as a dictionary; progress: lines before it; log: what it said on stderr."""

    def __getattr__(self, key):
        try:
            return self[key]
        except KeyError:
            raise AttributeError(key) from None


def spawn(op, **request):
    """Starts the request and does not wait. With `as_root` pg_probe runs as we do."""
    as_user = {} if request.pop("as_root", False) else unprivileged()
    environment = dict(os.environ, **request.pop("environment", {}))
    process = subprocess.Popen([PROBE], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, cwd="/", env=environment, **as_user)
    process.stdin.write(json.dumps({"op": op, "bin_dir": PG_BIN, **request}))
    process.stdin.close()
    process.stdin = None
    return process


def collect(process, timeout_s=120):
    out, log = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, "exit status %s\n%s\n%s" % (process.returncode, out, log)
    lines = [json.loads(line) for line in out.splitlines()]
    answer = Answer(lines[-1])
    answer["progress"] = [line["progress"] for line in lines[:-1]]
    answer["log"] = log
    assert answer.pop("done")
    return answer


def door(op, timeout_s=120, **request):
    """Does it and returns the Answer. Exactly one completion is a part of every test."""
    answer = collect(spawn(op, **request), timeout_s)
    if not request.get("free_after_ms"):
        assert answer["completions"] == 1
    return answer


def session(server, **more):
    """Where and as whom to log in."""
    return {"address": "127.0.0.1", "port": server.port, "user": "postgres", **more}


def lsn(text):
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)
