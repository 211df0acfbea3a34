"""Cut networks: the leader loses etcd, or everybody, while its own clients stay attached. Each member lives in a
network namespace; the clients of a member are inside it, too. One cluster for all tests, healed between them."""
import os
import shutil
import tempfile
import time

import pytest

import netns
from cluster import FAST
from etcd import PATIENCE_S, EtcdCluster, wait_for
from isolated import IsolatedCluster, open_hba
from shared import STUCK_S, EachServer, heal

TTL_S = FAST["ttl"]

pytestmark = pytest.mark.skipif(netns.why_not() is not None, reason=str(netns.why_not()))


def timeline(node):
    return node.value("SELECT timeline_id FROM pg_control_checkpoint()")


@pytest.fixture(scope="module")
def shared_cluster():
    folder = tempfile.mkdtemp(prefix="pgheir-network-")
    os.chmod(folder, 0o755)
    with netns.Network(3) as network, \
            EtcdCluster(3, os.path.join(folder, "etcd"), host=network.address) as etcd, \
            IsolatedCluster(network, os.path.join(folder, "c"), etcd, scope="network",
                            change=open_hba) as cluster:
        cluster.failures = 0
        cluster.start()
        cluster.wait_leader()
        cluster.wait_replicas(2)
        yield cluster
        if cluster.failures:
            cluster.save_artefacts()
    if cluster.failures:
        print("kept: %s" % folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(request, shared_cluster):
    heal(shared_cluster)
    yield shared_cluster
    shared_cluster.network.mend()
    shared_cluster.failures += getattr(request.node, "failed", False)


def lost_at_most(watch, count, cut_at):
    """Rows that the old leader acknowledged while nobody could stream from it are lost with its timeline; what it
    had acknowledged before cut_at is not."""
    early = {(w.idx, number) for w in watch.writers.values() for number, t in w.acks if t < cut_at}
    missing = [row for row in watch.missing() if row in early]
    assert len(missing) <= count, "%d rows from before the cut are lost" % len(missing)


def elsewhere_only_after(cluster, watch, old, cut_at):
    """Waits for another leader, and judges the two by what they acknowledged."""
    new = cluster.wait_leader(other_than=old)
    watch.wait_acks(new, 50)
    last, first = watch.last(old), watch.first_after(new, cut_at)
    print("last ack %.2f s, first ack elsewhere %.2f s after the cut" % (last - cut_at,
                                                                        first - cut_at))
    assert last > cut_at, "the clients of %s were cut off, too: nothing is proved" % old.name
    assert last < first
    assert first - cut_at < STUCK_S
    return new


def check_follows(cluster, old, new, watch):
    wait_for(old.is_replica, PATIENCE_S, "%s follows; %s" % (old.name, cluster.logs()))
    assert cluster.wait_leader() is new
    watch.wait_acks(new, 20)
    # Its own checkpoint record says so at its next restartpoint.
    wait_for(lambda: old.value("SELECT received_tli FROM pg_stat_wal_receiver") == timeline(new), PATIENCE_S,
             "%s is on the timeline of %s" % (old.name, new.name))


def test_leader_cut_from_everybody(cluster):
    old = cluster.wait_leader()
    with EachServer(cluster) as watch:
        watch.wait_acks(old, 50)
        cut_at = time.monotonic()
        with old.end_of_cable.cut():
            new = elsewhere_only_after(cluster, watch, old, cut_at)
            assert old.code("/primary") == 503 and old.code("/liveness") == 200
        check_follows(cluster, old, new, watch)
    watch.check_one_at_a_time(changes=1)
    lost_at_most(watch, 0, cut_at - 0.5)


def test_leader_cut_from_etcd_only(cluster):
    """It streams to its replicas to the last moment, so nothing that it acknowledged may be lost."""
    old = cluster.wait_leader()
    with EachServer(cluster) as watch:
        watch.wait_acks(old, 50)
        cut_at = time.monotonic()
        with old.end_of_cable.drop([m.client_port for m in cluster.etcd.members]):
            new = elsewhere_only_after(cluster, watch, old, cut_at)
            assert old.code("/primary") == 503 and old.code("/liveness") == 200
        check_follows(cluster, old, new, watch)
    watch.check_one_at_a_time(changes=1)
    assert not watch.missing()


def test_replica_cut_from_everybody(cluster):
    """The leader does not care, and the replica neither promotes itself nor stays away afterwards."""
    leader = cluster.wait_leader()
    replica = cluster.replicas()[0]
    with EachServer(cluster) as watch:
        watch.wait_acks(leader, 50)
        with replica.end_of_cable.cut():
            until = time.monotonic() + 2 * TTL_S
            while time.monotonic() < until:
                assert leader.code("/primary") == 200 and replica.code("/primary") == 503
                time.sleep(0.1)
        wait_for(replica.is_replica, PATIENCE_S, "%s follows; %s" % (replica.name, cluster.logs()))
        watch.wait_acks(leader, 50)
    assert {name for name, _, _ in watch.runs()} == {leader.name}
    assert not watch.missing()


def test_leader_cut_from_one_etcd_member(cluster):
    """Packets vanish, nobody refuses: the others are asked in time."""
    leader = cluster.wait_leader()
    for member in cluster.etcd.members:
        with EachServer(cluster) as watch:
            watch.wait_acks(leader, 20)
            with leader.end_of_cable.drop([member.client_port]):
                until = time.monotonic() + 1.5 * TTL_S
                while time.monotonic() < until:
                    assert leader.code("/primary") == 200, cluster.logs()
                    time.sleep(0.1)
            watch.wait_acks(leader, 20)
        assert {name for name, _, _ in watch.runs()} == {leader.name}
