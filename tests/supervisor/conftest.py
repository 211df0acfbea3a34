import contextlib
import os
import sys

import pytest

sys.path[:0] = [os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), "..", "e2e", "lib")]

import supervisor_lib  # noqa: E402
from afterwards import pytest_configure, pytest_runtest_makereport  # noqa: E402,F401


@pytest.fixture(scope="session")
def cluster():
    made = supervisor_lib.Cluster()
    yield made
    made.remove()


@pytest.fixture
def make_node(cluster):
    """make_node(...) starts a supervisor; everything of it is gone when the test ends."""
    nodes = []

    def make(with_data=True, **arguments):
        node = supervisor_lib.Node(cluster if with_data else None, **arguments)
        nodes.append(node)
        return node
    yield make
    # Each of them, whatever becomes of the others.
    with contextlib.ExitStack() as stack:
        for node in nodes:
            stack.callback(node.close)
