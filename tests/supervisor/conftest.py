import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import supervisor_lib


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
    for node in nodes:
        node.close()
