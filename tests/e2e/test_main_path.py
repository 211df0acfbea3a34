"""The main path on real processes: a cluster is made, loses its leader, gets it back, is switched over.

Each test runs writers that record what was acknowledged; the judge is what the cluster has afterwards."""
import time

from cluster import FAST
from etcd import PATIENCE_S, wait_for
from shared import STUCK_S, wait_caught_up


def test_bootstrap_of_one(make_cluster):
    cluster = make_cluster(1)
    cluster.start()
    node = cluster.wait_leader()
    with cluster.writer() as writer:
        writer.wait_acks(20)
    cluster.check_rows(writer)
    assert cluster.key("leader") == node.name
    assert cluster.key("initialize") == node.value(
        "SELECT system_identifier::text FROM pg_control_system()")
    member = cluster.member(node)
    assert (member["role"], member["state"], member["timeline"]) == ("primary", "running", 1)
    # The configuration of the bootstrap section is the cluster's.
    code, text = node.rest("GET", "/config")
    assert code == 200 and '"ttl": %d' % FAST["ttl"] in text
    assert node.value("SHOW max_connections") == "50"
    assert node.stop() == 0
    assert cluster.key("leader") is None
    assert not node.postgres_pids()


def test_bootstrap_of_three(trio):
    leader = trio.wait_leader()
    assert len({n.value("SELECT system_identifier::text FROM pg_control_system()")
                for n in trio.nodes}) == 1
    assert {trio.member(n)["role"] for n in trio.nodes} == {"primary", "replica"}
    assert leader.value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == 2
    # One permanent slot for each follower.
    wait_for(lambda: leader.value("SELECT count(*) FROM pg_replication_slots WHERE active") == 2, PATIENCE_S,
             "both followers use their slots; " + trio.logs())
    with trio.writer() as writer:
        writer.wait_acks(50)
    trio.check_rows(writer)
    wait_caught_up(trio)
    for replica in trio.replicas():
        assert not trio.missing(writer, replica)
        assert replica.code("/primary") == 503 and replica.code("/replica") == 200


def test_leader_killed_and_back(trio):
    old = trio.wait_leader()
    with trio.writer() as writer:
        writer.wait_acks(100)
        killed_at = time.monotonic()
        old.kill_all()
        new = trio.wait_leader(other_than=old)
        writer.wait_acks(50)
        assert writer.first_after(killed_at, new.pg_port) is not None
    # Asynchronous: at most what maximum_lag_on_failover allows; the test's rows are small and replicas near.
    missing = trio.missing(writer)
    assert len(missing) <= 20, "%d rows lost" % len(missing)
    assert writer.outage_s(since=killed_at) < STUCK_S, writer.outage_s(since=killed_at)
    history = trio.history()
    assert history and history[-1][4] == new.name

    # The dead node comes back as a replica by itself.
    old.start()
    wait_for(old.is_replica, PATIENCE_S, "%s follows; %s" % (old.name, trio.logs()))
    with trio.writer() as writer:
        writer.wait_acks(20)
    wait_caught_up(trio)
    assert not trio.missing(writer, old)
    assert trio.wait_leader() is new


def test_switchover(trio):
    old = trio.wait_leader()
    candidate = next(n for n in trio.nodes if n is not old)
    with trio.writer() as writer:
        writer.wait_acks(100)
        began_at = time.monotonic()
        code, text = trio.switchover(old, candidate)
        assert code == 200, (code, text)
        assert candidate.name in text
        assert trio.wait_leader() is candidate
        writer.wait_acks(50)
        wait_for(old.is_replica, PATIENCE_S, "%s follows; %s" % (old.name, trio.logs()))
    trio.check_rows(writer)
    assert writer.outage_s(since=began_at) < STUCK_S, writer.outage_s(since=began_at)
    # Nobody was rewound or cloned, and the third follows, too.
    assert "pg_rewind" not in old.log_text()
    trio.wait_replicas(2)
    assert trio.key("failover") in (None, "{}")


def test_switchover_without_candidate(trio):
    old = trio.wait_leader()
    with trio.writer() as writer:
        writer.wait_acks(50)
        code, text = trio.switchover(old)
        assert code == 200, (code, text)
        new = trio.wait_leader(other_than=old)
        assert new.name in text
        writer.wait_acks(50)
    trio.check_rows(writer)
    trio.wait_replicas(2)
