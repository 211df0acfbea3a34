import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "e2e", "lib"))

from afterwards import pytest_configure, pytest_runtest_makereport  # noqa: E402,F401
from ctl_lib import PGHEIRCTL, Agent, Ctl  # noqa: E402
from etcd import EtcdCluster  # noqa: E402


def pytest_collection_modifyitems(items):
    if os.path.exists(PGHEIRCTL):
        return
    skip = pytest.mark.skip(reason="no %s: build it and set PGHEIR_BUILD" % PGHEIRCTL)
    for item in items:
        item.add_marker(skip)


@pytest.fixture(scope="session")
def etcd(tmp_path_factory):
    with EtcdCluster(1, str(tmp_path_factory.mktemp("etcd"))) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ctl(etcd, tmp_path_factory):
    return Ctl(tmp_path_factory.mktemp("ctl"), etcd.hosts())


@pytest.fixture
def agent():
    """Starts played agents."""
    agents = []

    def start(*arguments, **options):
        agents.append(Agent(*arguments, **options))
        return agents[-1]

    yield start
    for one in agents:
        one.stop()
