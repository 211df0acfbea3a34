"""Death and standstill of each process of the leader's node: who must notice, who must not, and what of it a client
sees. One cluster for all tests, healed between them; writers record what was acknowledged."""
import os
import time

import pytest

from cluster import FAST
from etcd import PATIENCE_S, wait_for
from shared import (LAST_ACK_S, STUCK_S, EachServer, freeze, heal, running_cluster, thaw, wait_caught_up,
                    wait_gone)



@pytest.fixture(scope="module")
def shared_cluster():
    with running_cluster(3, "processes") as cluster:
        yield cluster


@pytest.fixture
def cluster(request, shared_cluster):
    heal(shared_cluster)
    yield shared_cluster
    shared_cluster.failures += getattr(request.node, "failed", False)


def timeline(node):
    return node.value("SELECT timeline_id FROM pg_control_checkpoint()")


def lost_at_most(watch, count):
    """Asynchronous: at most what maximum_lag_on_failover allows; the rows are small and replicas near."""
    missing = watch.missing()
    assert len(missing) <= count, "%d rows lost" % len(missing)


def check_comes_back(cluster, old):
    """The node follows again once pgheir is started on it, and a row written now reaches it."""
    if not old.is_running():
        old.process = None
        old.start()
    wait_for(old.is_replica, PATIENCE_S, "%s follows; %s" % (old.name, cluster.logs()))


# ---- kill -9 ----

def test_kill_agent(cluster):
    leader = cluster.wait_leader()
    postmaster = leader.pid("postmaster")
    with cluster.writer() as writer:
        writer.wait_acks(50)
        old = leader.kill("agent")
        wait_for(lambda: leader.pid("agent") not in (None, old), PATIENCE_S, "another agent")
        wait_for(leader.is_leader, PATIENCE_S, "%s leads; %s" % (leader.name, cluster.logs()))
        writer.wait_acks(50)
    assert not writer.errors, writer.errors[:3]
    assert {port for _, _, port in writer.acks} == {leader.pg_port}
    assert leader.pid("postmaster") == postmaster
    cluster.check_rows(writer)
    # It holds the very lease of its predecessor: nobody raced, nothing was demoted for longer than ttl.
    time_to_fence_s = FAST["ttl"] + 1
    until = time.monotonic() + time_to_fence_s
    while time.monotonic() < until:
        assert leader.is_leader() and leader.pid("postmaster") == postmaster, cluster.logs()
        time.sleep(0.1)


def test_kill_guard(cluster):
    leader = cluster.wait_leader()
    others = {role: leader.pid(role) for role in ("supervisor", "agent", "postmaster")}
    with cluster.writer() as writer:
        writer.wait_acks(50)
        old = leader.kill("guard")
        wait_for(lambda: leader.pid("guard") not in (None, old), PATIENCE_S, "another guard")
        writer.wait_acks(50)
    assert not writer.errors, writer.errors[:3]
    assert {role: leader.pid(role) for role in others} == others
    cluster.check_rows(writer)


def test_kill_postmaster(cluster):
    leader = cluster.wait_leader()
    before = timeline(leader)
    with cluster.writer() as writer:
        writer.wait_acks(50)
        killed_at = time.monotonic()
        old = leader.kill("postmaster")
        wait_for(lambda: leader.pid("postmaster") not in (None, old), PATIENCE_S, "another postmaster")
        wait_for(lambda: writer.first_after(killed_at + 0.05) is not None, PATIENCE_S, "writes again")
        writer.wait_acks(50)
    outage_s = writer.outage_s(since=killed_at)
    print("outage %.2f s" % outage_s)
    assert outage_s < STUCK_S, outage_s
    # Rows may be acknowledged before the agent has seen that the server serves.
    wait_for(leader.is_leader, PATIENCE_S, "%s leads; %s" % (leader.name, cluster.logs()))
    assert timeline(leader) == before
    assert {port for _, _, port in writer.acks} == {leader.pg_port}
    cluster.check_rows(writer)


def test_slow_disk_is_no_loss(cluster):
    """DM-03: a disk that gives no answer for a while has not lost the data, and PostgreSQL serves from its memory."""
    leader = cluster.wait_leader()
    pid = leader.postmaster_pid()
    version = os.path.join(leader.data_dir, "PG_VERSION")
    os.rename(version, version + ".kept")
    os.mkfifo(version)  # whoever reads it waits
    os.chmod(version, 0o666)
    try:
        for _ in range(2):
            leader.wait_log("the data directory cannot be looked at", since=len(leader.log_text()))
        assert leader.is_leader() and leader.postmaster_pid() == pid, leader.log_path
    finally:
        os.rename(version + ".kept", version)
    assert "DIRECTORY_GONE" not in leader.log_text()


def test_kill_supervisor(cluster):
    old = cluster.wait_leader()
    with EachServer(cluster) as watch, cluster.writer() as writer:
        watch.wait_acks(old, 50)
        postgres = old.postgres_pids()
        agent, guard = old.pid("agent"), old.pid("guard")
        killed_at = time.monotonic()
        old.kill("supervisor")
        wait_gone(postgres, "nothing of PostgreSQL is left")
        gone_s = time.monotonic() - killed_at
        assert not old.postgres_pids()
        wait_gone([agent, guard], "agent and guard are gone")
        new = cluster.wait_leader(other_than=old)
        watch.wait_acks(new, 50)
        writer.wait_acks(20)
        # A server that nobody looks after stays down, until pgheir is started again.
        assert not old.postgres_pids()
        old.wait_end()
        check_comes_back(cluster, old)
    last_ack_s = watch.last(old) - killed_at
    print("last ack %.1f ms after, nothing left after %.2f s, outage %.2f s" % (
        last_ack_s * 1000, gone_s, writer.outage_s(since=killed_at)))
    assert last_ack_s < LAST_ACK_S
    watch.check_one_at_a_time(changes=1)
    lost_at_most(watch, 20)
    assert writer.outage_s(since=killed_at) < STUCK_S


def test_kill_everything(cluster):
    old = cluster.wait_leader()
    with EachServer(cluster) as watch, cluster.writer() as writer:
        watch.wait_acks(old, 50)
        killed_at = time.monotonic()
        old.kill_all()
        new = cluster.wait_leader(other_than=old)
        watch.wait_acks(new, 50)
        writer.wait_acks(20)
        check_comes_back(cluster, old)
    watch.check_one_at_a_time(changes=1)
    lost_at_most(watch, 20)
    print("outage %.2f s" % writer.outage_s(since=killed_at))
    assert writer.outage_s(since=killed_at) < STUCK_S


@pytest.mark.parametrize("role", ["agent", "guard", "postmaster", "supervisor"])
def test_kill_on_a_replica(cluster, role):
    """The leader's clients notice nothing, and the replica is there again."""
    leader, replica = cluster.wait_leader(), cluster.replicas()[0]
    before = leader.pid("postmaster")
    with cluster.writer() as writer:
        writer.wait_acks(20)
        server = replica.pid("postmaster")
        old = replica.kill(role)
        wait_gone([old], "%s is dead" % role)
        if role == "supervisor":
            wait_for(lambda: not replica.postgres_pids(), PATIENCE_S, "nothing is left")
            replica.wait_end()
            replica.start()
        wait_for(lambda: replica.pid(role) not in (None, old), PATIENCE_S, "another " + role)
        wait_for(replica.is_replica, PATIENCE_S, "%s follows; %s" % (replica.name, cluster.logs()))
        writer.wait_acks(20)
    assert (replica.pid("postmaster") == server) == (role in ("agent", "guard"))
    assert not writer.errors and leader.pid("postmaster") == before
    wait_caught_up(cluster)
    assert not cluster.missing(writer, replica)


# ---- SIGSTOP, for longer than ttl ----

def freeze_until_another_leads(cluster, choose):
    """Stops what choose(old) names until another member has acknowledged rows, then watches it run on."""
    old = cluster.wait_leader()
    with EachServer(cluster) as watch:
        watch.wait_acks(old, 50)
        stopped_at = time.monotonic()
        stopped = freeze(choose(old))
        try:
            new = cluster.wait_leader(other_than=old)
            watch.wait_acks(new, 50)
        finally:
            thaw(stopped)
        # The dangerous moments are those after the thaw.
        watch.wait_acks(new, 100)
        wait_for(lambda: not old.is_leader(), PATIENCE_S, "%s does not say that it leads" % old.name)
        check_comes_back(cluster, old)
        watch.wait_acks(new, 50)
    assert cluster.wait_leader() is new
    watch.check_one_at_a_time(changes=1)
    lost_at_most(watch, 20)
    outage_s = watch.first_after(new, stopped_at) - stopped_at
    print("last ack %.2f s, first ack of another %.2f s after the stop" % (
        watch.last(old) - stopped_at, outage_s))


def test_stop_agent(cluster):
    """Net 2: the supervisor acts when the agent does not renew."""
    old = cluster.wait_leader()
    supervisor = old.pid("supervisor")
    freeze_until_another_leads(cluster, lambda node: [node.pid("agent")])
    assert old.pid("supervisor") == supervisor


def test_stop_supervisor(cluster):
    """Net 3: the agent renews, but cannot push the fence of a supervisor that stands still."""
    freeze_until_another_leads(cluster, lambda node: [node.pid("supervisor")])


def test_stop_supervisor_agent_guard_postmaster(cluster):
    """Nets 3 and 4: nobody of ours runs, and the postmaster must be continued to die. Backends run on."""
    roles = ("supervisor", "agent", "guard", "postmaster")
    freeze_until_another_leads(cluster, lambda node: [node.pid(role) for role in roles])


def test_stop_everything(cluster):
    """As a machine that stands still and comes back."""
    freeze_until_another_leads(cluster, lambda node: node.pids())


@pytest.mark.parametrize("roles", [(), ("agent",), ("postmaster",), ("guard",),
                                   ("agent", "guard", "postmaster")])
def test_kill_supervisor_with_others_stopped(cluster, roles):
    """The promise of test_kill_supervisor, whatever stands still before."""
    old = cluster.wait_leader()
    with EachServer(cluster) as watch:
        watch.wait_acks(old, 50)
        postgres, everything = old.postgres_pids(), old.pids()
        freeze([old.pid(role) for role in roles])
        watch.wait_acks(old, 5)
        killed_at = time.monotonic()
        old.kill("supervisor")
        wait_gone(postgres, "nothing of PostgreSQL is left")
        assert not old.postgres_pids()
        last_ack_s = watch.last(old) - killed_at
    print("last ack %.1f ms after" % (last_ack_s * 1000))
    assert last_ack_s < LAST_ACK_S
    thaw(everything)
    old.wait_end()
    wait_gone(everything, "agent and guard are gone")
