"""Trouble with etcd: all of it away and back, one member standing still, keys deleted by hand. One cluster for all
tests, healed between them; writers that are glued to their servers see whether two of them acknowledge at once."""
import contextlib
import time

import psycopg2
import pytest

from cluster import FAST
from etcd import PATIENCE_S, wait_for
from shared import STUCK_S, EachServer, heal, running_cluster, wait_caught_up

TTL_S = FAST["ttl"]


@pytest.fixture(scope="module")
def shared_cluster():
    with running_cluster(3, "trouble") as cluster:
        yield cluster


@pytest.fixture
def cluster(request, shared_cluster):
    heal(shared_cluster)
    yield shared_cluster
    shared_cluster.failures += getattr(request.node, "failed", False)


def timeline(node):
    return node.value("SELECT timeline_id FROM pg_control_checkpoint()")


def answers_reads(node):
    """Rows come, from a server that would not write."""
    with contextlib.suppress(psycopg2.Error):
        return node.value("SELECT pg_is_in_recovery()") is True
    return False


def watch_no_demotion(cluster, leader, span_s):
    """For so long it leads and accepts writes, with the very same postmaster."""
    postmaster = leader.pid("postmaster")
    until = time.monotonic() + span_s
    while time.monotonic() < until:
        assert leader.code("/primary") == 200 and leader.pid("postmaster") == postmaster, \
            cluster.logs()
        time.sleep(0.1)


# ---- etcd is away ----

def test_all_down_and_back(cluster):
    """Nobody may write once the lease could have ended, everybody may read, and the first who can leads."""
    etcd = cluster.etcd
    with EachServer(cluster) as watch:
        old = cluster.wait_leader()
        watch.wait_acks(old, 50)
        etcd.stop()
        down_at = time.monotonic()
        wait_for(lambda: answers_reads(old), PATIENCE_S,
                 "%s reads on; %s" % (old.name, cluster.logs()))
        for node in cluster.nodes:
            wait_for(lambda: answers_reads(node), PATIENCE_S, "%s reads on" % node.name)
            assert node.code("/primary") == 503 and node.code("/liveness") == 200
        assert cluster.leader() is None
        # Nobody promotes itself while etcd cannot say who may.
        until = time.monotonic() + TTL_S
        while time.monotonic() < until:
            assert all(answers_reads(n) for n in cluster.nodes), cluster.logs()
            time.sleep(0.2)
        last_s = watch.last(old) - down_at
        etcd.start()
        back_at = time.monotonic()
        new = cluster.wait_leader()
        back_s = time.monotonic() - back_at
        watch.wait_acks(new, 50)
    print("last ack %.2f s after etcd died, a leader %.2f s after it was back" % (last_s, back_s))
    # The fence is ttl after the last keepalive was sent, less a reserve.
    assert last_s < TTL_S, last_s
    assert back_s < STUCK_S, back_s
    if new is not old:
        watch.check_one_at_a_time(changes=1)
    assert not watch.missing()
    heal(cluster)


def test_silence_is_said_once_and_not_hidden(cluster):
    """A replica does not say that all is well while it cannot know who leads, and says so again when it can."""
    replica = cluster.replicas()[0]
    since = len(replica.log_text())
    cluster.etcd.stop()
    wait_for(lambda: "etcd is not accessible" in replica.log_text()[since:], PATIENCE_S, "said; " + cluster.logs())
    assert replica.status()["pgheir"]["reason"] == "ETCD_SILENT"
    silent_from = len(replica.log_text())
    wait_for(lambda: cluster.leader() is None, PATIENCE_S, "the leader let go; " + cluster.logs())
    heard = replica.log_text()[silent_from:]
    assert "following a leader" not in heard, replica.log_path
    cluster.etcd.start()
    wait_for(lambda: "following a leader" in replica.log_text()[silent_from:] or replica.code("/primary") == 200,
             PATIENCE_S, "well again; " + cluster.logs())
    assert replica.log_text()[since:].count("reason=ETCD_SILENT") == 1, replica.log_path


def test_short_outage_is_no_demotion(cluster):
    """All of etcd is restarted, within the lease."""
    leader = cluster.wait_leader()
    before = timeline(leader)
    postmaster = leader.pid("postmaster")
    with cluster.writer() as writer:
        writer.wait_acks(20)
        for member in cluster.etcd.followers():
            member.kill()
            member.start()
            watch_no_demotion(cluster, leader, 0.5)
        writer.wait_acks(20)
    assert not writer.errors, writer.errors[:3]
    assert leader.pid("postmaster") == postmaster and timeline(leader) == before
    cluster.check_rows(writer)


@pytest.mark.parametrize("which", ["leader", "follower"])
def test_one_member_stands_still(cluster, which):
    """Connections to it are accepted and never answered: the others must be asked in time."""
    etcd = cluster.etcd
    leader = cluster.wait_leader()
    before = timeline(leader)
    member = etcd.leader() if which == "leader" else etcd.followers()[0]
    with cluster.writer() as writer:
        writer.wait_acks(20)
        member.pause()
        try:
            watch_no_demotion(cluster, leader, 3 * TTL_S)
        finally:
            member.resume()
        watch_no_demotion(cluster, leader, 2)
        writer.wait_acks(20)
    assert not writer.errors, writer.errors[:3]
    assert timeline(leader) == before
    cluster.check_rows(writer)


# ---- Keys deleted by hand ----

def test_leader_key_deleted(cluster):
    """The right to write ends at once with its key; whoever has the lead after it got it from etcd."""
    old = cluster.wait_leader()
    before = timeline(old)
    with EachServer(cluster) as watch:
        watch.wait_acks(old, 50)
        cluster.etcd.delete("/service/%s/leader" % cluster.scope)
        wait_for(lambda: cluster.key("leader") is not None, PATIENCE_S,
                 "the leader key is there again; %s" % cluster.logs())
        new = cluster.wait_leader()
        watch.wait_acks(new, 50)
    assert new is old, cluster.logs()
    assert cluster.key("leader") == old.name
    assert timeline(old) == before
    assert {n for n, _, _ in watch.runs()} == {old.name}
    assert not watch.missing()


def test_all_keys_wiped(cluster):
    """What etcd has forgotten the leader writes again: no promotion, no second bootstrap."""
    old = cluster.wait_leader()
    before = timeline(old)
    names = ("leader", "initialize", "config")
    values = {name: cluster.key(name) for name in names}
    history = cluster.history()
    with EachServer(cluster) as watch:
        watch.wait_acks(old, 50)
        cluster.etcd.delete("/service/%s/" % cluster.scope, prefix=True)
        wait_for(lambda: all(cluster.key(name) is not None for name in names), PATIENCE_S,
                 "the keys are there again; %s" % cluster.logs())
        for node in cluster.nodes:
            wait_for(lambda: cluster.member(node), PATIENCE_S, "the key of %s is there" % node.name)
        new = cluster.wait_leader()
        watch.wait_acks(new, 50)
        wait_for(lambda: len(cluster.replicas()) == 2, PATIENCE_S, "replicas; %s" % cluster.logs())
    assert new is old, cluster.logs()
    assert cluster.key("leader") == old.name and cluster.key("initialize") == values["initialize"]
    assert cluster.key("config") == values["config"]
    assert timeline(old) == before
    # From its own files the leader knows where each timeline began; when, and by whom, of the last one only.
    assert [row[:3] for row in cluster.history()] in ([row[:3] for row in history], []), cluster.history()
    assert {n for n, _, _ in watch.runs()} == {old.name}
    assert not watch.missing()


def test_wiped_while_leader_is_dead(cluster):
    """Nothing says any more which data is the cluster's: the replicas wait for the one that was primary, rather
    than lead or make a new cluster. Once it has said so again, each of them may lead."""
    old = cluster.wait_leader()
    before = timeline(old)
    sysid = cluster.key("initialize")
    with cluster.writer() as writer:
        writer.wait_acks(20)
    wait_caught_up(cluster)
    old.kill_all()
    cluster.etcd.delete("/service/%s/" % cluster.scope, prefix=True)
    until = time.monotonic() + 2 * TTL_S
    others = [n for n in cluster.nodes if n is not old]
    while time.monotonic() < until:
        assert cluster.key("leader") is None and cluster.key("initialize") is None
        assert all(answers_reads(n) for n in others), cluster.logs()
        time.sleep(0.2)
    old.start()
    new = cluster.wait_leader()
    wait_for(lambda: cluster.key("initialize") == sysid, PATIENCE_S, "initialize is there again")
    assert new.value("SELECT system_identifier::text FROM pg_control_system()") == sysid
    wait_for(lambda: timeline(new) in (before, before + 1), PATIENCE_S, "at most one promotion")
    wait_for(lambda: len(cluster.replicas()) == 2, PATIENCE_S, "replicas; %s" % cluster.logs())
    cluster.check_rows(writer)


def test_replication_session_by_socket(make_cluster):
    """use_unix_socket_repl: only the session that asks a standby for its timeline goes that way."""
    def change(_node, config):
        config["postgresql"]["use_unix_socket_repl"] = True
        config["postgresql"]["pg_hba"].append("local replication replicator scram-sha-256")
        config["postgresql"]["parameters"].update(log_connections="on", log_line_prefix="%h %u ")
    alone = make_cluster(1, change=change)
    alone.start()
    node = alone.wait_leader()
    alone.etcd.stop()  # it becomes a standby that streams from nobody
    wait_for(lambda: answers_reads(node), PATIENCE_S, "it reads on; " + alone.logs())
    wait_for(lambda: "[local] replicator LOG:  connection authorized" in node.log_text() or
             "[local] replicator LOG:  replication connection authorized" in node.log_text(),
             PATIENCE_S, "its timeline was asked; " + alone.logs())
    assert "127.0.0.1 replicator" not in node.log_text()
    assert "127.0.0.1 postgres" in node.log_text()
