"""scripts/demo.py: the whole story, the story broken off, and a start that fails. Nothing may be left running."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from cluster import all_pids, find_bin, give_away, send, unprivileged
from etcd import wait_for

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
STORY_S = 300


def pids_of(folder):
    """Processes that name the folder: etcd, pgheir, PostgreSQL and the demo itself."""
    found = []
    for pid in all_pids():
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as cmdline:
                if folder.encode() in cmdline.read():
                    found.append(pid)
        except OSError:
            pass
    return found


@pytest.fixture
def demo(folder):
    """demo(argument...): started in a folder of its own, as scripts/demo starts it."""
    shutil.copytree(os.path.join(TOP, "tests", "e2e", "lib"), os.path.join(folder, "lib"))
    shutil.copy(os.path.join(TOP, "scripts", "demo.py"), folder)
    give_away(folder)
    started = []

    def start(*arguments, path=None):
        environment = dict(os.environ, PGHEIR_BIN=os.path.dirname(find_bin("pgheir")))
        environment["PATH"] = (path + ":" if path else "") + environment["PATH"]
        with open(os.path.join(folder, "output"), "wb") as out:
            started.append(subprocess.Popen(
                ["/usr/bin/python3", "-B", os.path.join(folder, "demo.py"), folder, *arguments], stdout=out,
                stderr=out, stdin=subprocess.DEVNULL, cwd="/", env=environment, start_new_session=True,
                **unprivileged()))
        return started[-1]

    yield start
    for pid in pids_of(folder):
        send(pid, signal.SIGKILL)


@contextlib.contextmanager
def taken_ports(*ports):
    """Each of them is in use, by us if nobody else has it."""
    with contextlib.ExitStack() as stack:
        for port in ports:
            with contextlib.suppress(OSError):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


def output(folder):
    with open(os.path.join(folder, "output"), errors="replace") as out:
        return out.read()


def test_the_whole_story(demo, folder):
    process = demo()
    assert process.wait(timeout=STORY_S) == 0, output(folder)
    text = output(folder)
    for words in ("as user ", "| Leader  |", "Write outage: ", "comes back", "Successfully switched over",
                  " rows acknowledged, ", "pgheirctl:  ", "REST http://127.0.0.1:", "Done."):
        assert words in text, text
    wait_for(lambda: not pids_of(folder), 30, "no process is left; " + text)


def test_taken_ports_are_passed_over(demo, folder):
    """Kept up, and ended by two signals in a row, as Ctrl-C in a terminal gives them."""
    taken = (5433, 8010, 2389)
    with taken_ports(*taken):
        process = demo("--keep")
        wait_for(lambda: "stays up until Ctrl-C" in output(folder) or process.poll() is not None, STORY_S,
                 "the cluster stays up")
        text = output(folder)
        assert process.poll() is None, text
        for port in taken:
            assert not re.search(r"\b%d\b" % port, text.split("From three empty")[0]), text
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, output(folder)
    wait_for(lambda: not pids_of(folder), 30, "no process is left; " + output(folder))


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_broken_off(demo, folder, signo):
    process = demo()
    wait_for(lambda: "REST 80" in output(folder) or process.poll() is not None, 60, "the nodes are named")
    wait_for(lambda: len(pids_of(folder)) > 6 or process.poll() is not None, 60, "nodes are there")
    process.send_signal(signo)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130, output(folder)
    assert "everything was cleaned up" in output(folder)
    wait_for(lambda: not pids_of(folder), 30, "no process is left; " + output(folder))


def test_failed_start_shows_why(demo, folder):
    broken = os.path.join(folder, "bin", "etcd")
    os.makedirs(os.path.dirname(broken))
    with open(broken, "w") as out:
        out.write("#!/bin/sh\necho 'etcd: no space, or so' >&2\nexit 7\n")
    os.chmod(broken, 0o755)
    process = demo(path=os.path.dirname(broken))
    assert process.wait(timeout=60) == 1
    assert "etcd: no space, or so" in output(folder) and "The demo failed: " in output(folder)
    wait_for(lambda: not pids_of(folder), 30, "no process is left; " + output(folder))
