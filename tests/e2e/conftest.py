"""Fixtures of the end-to-end tests: etcd, clusters, folders that go away when the test has passed."""
import os
import shutil
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "lib"))

from afterwards import pytest_configure, pytest_runtest_makereport  # noqa: E402,F401
from cluster import Cluster  # noqa: E402
from etcd import EtcdCluster  # noqa: E402


@pytest.fixture
def folder(request):
    """A folder that the user postgres may enter. Kept if the test fails."""
    path = tempfile.mkdtemp(prefix="pgheir-%s-" % request.node.name[:40].replace("[", "-").strip("]"))
    os.chmod(path, 0o755)
    yield path
    if getattr(request.node, "failed", False):
        print("kept: %s" % path)
    else:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def etcd(folder):
    """Three members."""
    with EtcdCluster(3, os.path.join(folder, "etcd")) as cluster:
        yield cluster


@pytest.fixture
def make_cluster(request, folder, etcd):
    """make_cluster(n, ...): a Cluster, not started; ended with the test."""
    clusters = []

    def make(n, **options):
        cluster = Cluster(n, os.path.join(folder, "c%d" % (len(clusters) + 1)), etcd,
                          scope="demo%d" % (len(clusters) + 1), **options)
        clusters.append(cluster)
        return cluster

    yield make
    for cluster in clusters:
        cluster.end()
        if getattr(request.node, "failed", False):
            cluster.save_artefacts()


@pytest.fixture
def trio(make_cluster):
    """Three members, two of them streaming from the third."""
    cluster = make_cluster(3)
    cluster.start()
    cluster.wait_leader()
    cluster.wait_replicas(2)
    return cluster


@pytest.fixture(scope="module")
def shared_trio(request):
    """The same for a whole file, whose tests leave the cluster as they found it: three members take
    some seconds to come up."""
    folder = tempfile.mkdtemp(prefix="pgheir-%s-" % request.module.__name__)
    os.chmod(folder, 0o755)
    with EtcdCluster(3, os.path.join(folder, "etcd")) as etcd, \
            Cluster(3, os.path.join(folder, "c"), etcd, scope="shared") as cluster:
        cluster.start()
        yield cluster
        failed = any(getattr(item, "failed", False) for item in request.session.items
                     if item.module is request.module)
        if failed:
            cluster.save_artefacts()
    if failed:
        print("kept: %s" % folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
