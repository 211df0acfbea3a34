"""What remains of a test that failed, and of a run that was told to end. For the conftest.py of each folder:

    from afterwards import pytest_configure, pytest_runtest_makereport

A failed test shows the end of the log of each node that lived in it. A run that gets SIGTERM, as scripts/test sends it
at a time limit, puts away what it has started, as after Ctrl-C."""
import signal

import pytest

from cluster import clusters

LINES_SHOWN = 40


def end_of(path):
    try:
        with open(path, errors="replace") as log:
            return "".join(log.readlines()[-LINES_SHOWN:])
    except OSError as error:
        return str(error)


def pytest_configure(config):
    def end(*_):
        pytest.exit("told to end", returncode=1)
    signal.signal(signal.SIGTERM, end)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Also lets fixtures see whether the test has failed: item.failed."""
    outcome = yield
    report = outcome.get_result()
    item.failed = report.failed or getattr(item, "failed", False)
    if report.failed:
        for cluster in clusters:
            for node in cluster.nodes:
                report.sections.append(("end of the log of %s" % node.name, end_of(node.log_path)))
    if call.when == "teardown":
        clusters[:] = [cluster for cluster in clusters if not cluster.ended]
