"""What people do to a running cluster: agents replaced, configuration changed, pause, stop, switchover. One cluster
for all tests, healed between them; writers record what was acknowledged."""
import contextlib
import json
import os
import signal
import threading
import time

import psycopg2
import pytest

from cluster import FAST, is_alive
from etcd import PATIENCE_S, wait_for
from shared import (LAST_ACK_S, STUCK_S, EachServer, freeze, heal, pgheirctl, running_cluster, thaw,
                    wait_caught_up)


def unchanged(node, config):
    return config


@pytest.fixture(scope="module")
def shared_cluster():
    with running_cluster(3, "people", change=unchanged) as cluster:
        yield cluster


@pytest.fixture
def cluster(request, shared_cluster):
    heal(shared_cluster)
    wait_caught_up(shared_cluster)
    yield shared_cluster
    if shared_cluster.change is not unchanged:
        shared_cluster.change = unchanged
        for node in shared_cluster.running():
            node.write_config()
            node.kill("supervisor", signal.SIGHUP)
    shared_cluster.failures += getattr(request.node, "failed", False)


def set_local(cluster, node, **parameters):
    """Writes the node's file anew with these parameters of PostgreSQL."""
    def change(_, config):
        config["postgresql"]["parameters"].update(parameters)
        return config
    cluster.change = change
    node.write_config()


def postmasters(cluster):
    return {n.name: n.pid("postmaster") for n in cluster.nodes}


def shows(node, name, value):
    with contextlib.suppress(psycopg2.Error):
        return node.value("SHOW " + name) == value
    return False


# ---- Agents and configuration ----

def test_agent_is_replaced_while_the_disk_is_slow(cluster):
    """What the new agent has not seen yet it does not judge: a standby is not taken for a primary."""
    replica = cluster.replicas()[0]
    before, since = postmasters(cluster), len(replica.log_text())
    version = os.path.join(replica.data_dir, "PG_VERSION")
    os.rename(version, version + ".kept")
    os.mkfifo(version)  # whoever reads it waits
    os.chmod(version, 0o666)
    try:
        replica.kill("supervisor", signal.SIGUSR2)
        replica.wait_log("I am %s of" % replica.name, since=since)
    finally:
        os.rename(version + ".kept", version)
    wait_for(lambda: replica.code("/replica") == 200, PATIENCE_S, "%s is healthy" % replica.name)
    assert postmasters(cluster) == before
    assert "DEMOTE" not in replica.log_text()[since:], replica.log_path


@pytest.mark.parametrize("how", ["SIGUSR2", "kill"])
def test_agent_restart(cluster, how):
    before = postmasters(cluster)
    supervisors = {n.name: n.pid("supervisor") for n in cluster.nodes}
    with cluster.writer() as writer:
        writer.wait_acks(20)
        for node in cluster.nodes:
            old = node.pid("agent")
            if how == "SIGUSR2":
                node.kill("supervisor", signal.SIGUSR2)
            else:
                os.kill(old, signal.SIGKILL)
            wait_for(lambda: node.pid("agent") not in (None, old), PATIENCE_S, "another agent")
            wait_for(lambda: node.code("/health") == 200, PATIENCE_S, "%s is healthy" % node.name)
        writer.wait_acks(20)
        cluster.wait_replicas(2)
        until = time.monotonic() + FAST["ttl"]
        while time.monotonic() < until:
            assert cluster.wait_leader().code("/leader") == 200
            time.sleep(0.2)
    assert not writer.errors, writer.errors[:3]
    assert postmasters(cluster) == before
    assert {n.name: n.pid("supervisor") for n in cluster.nodes} == supervisors
    cluster.check_rows(writer)


@pytest.mark.parametrize("how", ["SIGHUP", "POST /reload", "pgheirctl reload"])
def test_reload(cluster, how):
    leader = cluster.wait_leader()
    before = postmasters(cluster)
    agent = leader.pid("agent")
    value = "%dMB" % (11 + ["SIGHUP", "POST /reload", "pgheirctl reload"].index(how))
    with cluster.writer() as writer:
        writer.wait_acks(20)
        set_local(cluster, leader, work_mem=value)
        if how == "SIGHUP":
            leader.kill("supervisor", signal.SIGHUP)
        elif how == "POST /reload":
            code, text = leader.rest("POST", "/reload")
            assert code == 202, text
        else:
            code, text = pgheirctl(cluster, "reload", cluster.scope, leader.name, "--force")
            assert code == 0, text
        wait_for(lambda: shows(leader, "work_mem", value), PATIENCE_S, "work_mem; " + cluster.logs())
        writer.wait_acks(20)
    assert not writer.errors, writer.errors[:3]
    assert postmasters(cluster) == before and leader.pid("agent") == agent
    assert not leader.status().get("pending_restart")


def test_reload_of_a_broken_file(cluster):
    leader = cluster.wait_leader()
    before = postmasters(cluster)
    with open(leader.config_path) as good:
        lines = len(good.read().splitlines())
    with open(leader.config_path, "a") as out:
        out.write("  bad: [\n")
    since = len(leader.log_text())
    with cluster.writer() as writer:
        writer.wait_acks(20)
        leader.kill("supervisor", signal.SIGHUP)
        wait_for(lambda: leader.config_path in leader.log_text()[since:], PATIENCE_S,
                 "the log names the file; " + cluster.logs())
        writer.wait_acks(20)
        error = next(line for line in leader.log_text()[since:].splitlines()
                     if leader.config_path in line)
        assert "%d" % (lines + 1) in error or "%d" % (lines + 2) in error, error
        assert leader.is_leader() and not writer.errors
        leader.write_config()
    assert postmasters(cluster) == before


def test_dynamic_configuration(cluster):
    """PATCH /config: what a reload can do is done, what needs a restart is shown, and done when asked."""
    leader = cluster.wait_leader()
    before = postmasters(cluster)
    code, text = leader.rest("PATCH", "/config", {"postgresql": {"parameters": {
        "max_connections": 60, "temp_buffers": "21MB"}}})
    assert code == 200, text
    with cluster.writer() as writer:
        writer.wait_acks(20)
        wait_for(lambda: all(shows(n, "temp_buffers", "21MB") for n in cluster.nodes), PATIENCE_S,
                 "temp_buffers everywhere; " + cluster.logs())
        wait_for(lambda: all(n.says("pending_restart") for n in cluster.nodes), PATIENCE_S,
                 "pending_restart everywhere; " + cluster.logs())
        assert postmasters(cluster) == before and not writer.errors
        wait_for(lambda: all(row.get("Pending restart") == "*" for row in json.loads(
            pgheirctl(cluster, "list", cluster.scope, "-f", "json")[1])), PATIENCE_S, "pgheirctl lists it")
        # Standbys first: they must not have fewer than the primary.
        code, text = pgheirctl(cluster, "restart", cluster.scope, "--role", "replica", "--force",
                               "--pending")
        assert code == 0, text
        cluster.wait_replicas(2)
        assert leader.pid("postmaster") == before[leader.name] and not writer.errors
    with cluster.writer() as writer:
        writer.wait_acks(20)
        code, text = leader.rest("POST", "/restart", {"restart_pending": True}, timeout_s=PATIENCE_S)
        assert code == 200, text
        writer.wait_acks(20)
    cluster.check_rows(writer)
    assert cluster.wait_leader() is leader
    assert all(shows(n, "max_connections", "60") for n in cluster.nodes)
    wait_for(lambda: not any(n.says("pending_restart", True) for n in cluster.nodes), PATIENCE_S,
             "no pending_restart; " + cluster.logs())
    assert all(a != b for a, b in zip(before.values(), postmasters(cluster).values()))


# ---- Pause ----

def pause(cluster):
    code, text = pgheirctl(cluster, "pause", cluster.scope, "--wait")
    assert code == 0, text
    wait_for(lambda: all(n.says("pause") for n in cluster.running()), PATIENCE_S, "pause everywhere")


def resume(cluster):
    # Members that have just lost their leases are not registered for a moment.
    wait_for(lambda: all(cluster.member(n) for n in cluster.running()), PATIENCE_S, "all are registered")
    code, text = pgheirctl(cluster, "resume", cluster.scope, "--wait")
    assert code == 0, text


def test_pause_touches_nothing(cluster):
    leader = cluster.wait_leader()
    before = postmasters(cluster)
    replica, other = cluster.replicas()
    with cluster.writer() as writer:
        writer.wait_acks(20)
        pause(cluster)
        # Somebody stops a replica by hand, another one dies.
        os.kill(replica.pid("postmaster"), signal.SIGINT)
        other.kill("postmaster")
        wait_for(lambda: not replica.postmaster_pid() and not other.postmaster_pid(), PATIENCE_S, "both down")
        # etcd away for longer than ttl: the fence is disarmed.
        for member in cluster.etcd.members:
            member.pause()
        until = time.monotonic() + FAST["ttl"] + 2
        try:
            while time.monotonic() < until:
                assert not replica.postmaster_pid() and not other.postmaster_pid()
                assert leader.pid("postmaster") == before[leader.name]
                time.sleep(0.2)
        finally:
            for member in cluster.etcd.members:
                member.resume()
        wait_for(lambda: cluster.key("leader") == leader.name and leader.is_leader() and
                 leader.says("pgheir", {"etcd_age_ms": 1000})["etcd_age_ms"] < 1000, PATIENCE_S,
                 "leads; " + cluster.logs())
        writer.wait_acks(20)
        resume(cluster)
        cluster.wait_replicas(2)
        writer.wait_acks(20)
    assert not writer.errors, writer.errors[:3]
    assert leader.pid("postmaster") == before[leader.name]
    wait_caught_up(cluster)
    assert all(not cluster.missing(writer, n) for n in cluster.nodes)


def test_pause_and_the_leader_dies(cluster):
    old = cluster.wait_leader()
    others = [n for n in cluster.nodes if n is not old]
    with EachServer(cluster) as watch:
        watch.wait_acks(old, 20)
        pause(cluster)
        old.kill_all()
        wait_for(lambda: cluster.key("leader") is None, PATIENCE_S, "the key is gone")
        until = time.monotonic() + FAST["ttl"]
        while time.monotonic() < until:
            assert cluster.key("leader") is None
            assert all(n.status()["role"] == "replica" for n in others)
            time.sleep(0.2)
        assert not any(watch.acks(n) for n in others)
        resume(cluster)
        new = cluster.wait_leader(other_than=old)
        watch.wait_acks(new, 20)
    watch.check_one_at_a_time(changes=1)
    old.start()
    wait_for(old.is_replica, PATIENCE_S, "%s follows; %s" % (old.name, cluster.logs()))


@pytest.mark.parametrize("role", ["leader", "replica"])
def test_stop_in_pause_and_adoption(cluster, role):
    """SIGTERM leaves PostgreSQL running; another pgheir adopts it, and fences it."""
    leader = cluster.wait_leader()
    node = leader if role == "leader" else cluster.replicas()[0]
    before = node.pid("postmaster")
    with cluster.writer() as writer:
        writer.wait_acks(20)
        pause(cluster)
        keeper, agent = node.process, node.pid("agent")
        keeper.terminate()
        wait_for(lambda: not is_alive(agent), PATIENCE_S, "the agent has gone; " + cluster.logs())
        writer.wait_acks(50)
        assert node.pid("postmaster") == before and is_alive(before)
        node.process = None
        node.start()
        wait_for(lambda: node.says("state") == "running", PATIENCE_S, "adopted")
        if role == "leader":
            wait_for(node.is_leader, PATIENCE_S, "%s leads; %s" % (node.name, cluster.logs()))
        assert node.status()["pgheir"]["fencing"] == "adopted"
        assert node.pid("postmaster") == before
        resume(cluster)
        cluster.wait_leader()
        writer.wait_acks(20)
        cluster.wait_replicas(2)
        assert node.pid("postmaster") == before and cluster.wait_leader() is leader
    assert not writer.errors, writer.errors[:3]
    cluster.check_rows(writer)
    # A stop by pgheir ends PostgreSQL, and with it the keeper.
    assert node.stop() == 0
    assert not node.postgres_pids()
    assert keeper.wait(timeout=PATIENCE_S) is not None


def test_kill_of_an_adopter(cluster):
    """The adopted PostgreSQL has no parent-death signal to the new supervisor: the guard ends it."""
    node = cluster.wait_leader()
    pause(cluster)
    keeper, agent = node.process, node.pid("agent")
    keeper.terminate()
    wait_for(lambda: not is_alive(agent), PATIENCE_S, "the agent has gone; " + cluster.logs())
    node.process = None
    node.start()
    wait_for(node.is_leader, PATIENCE_S, "%s leads; %s" % (node.name, cluster.logs()))
    resume(cluster)
    wait_for(lambda: node.is_leader() and not node.says("pause", True), PATIENCE_S, "resumed")
    with EachServer(cluster) as watch:
        watch.wait_acks(node, 20)
        killed_at = time.monotonic()
        node.kill("supervisor")
        wait_for(lambda: not node.postgres_pids(), PATIENCE_S, "nothing of PostgreSQL is left")
        new = cluster.wait_leader(other_than=node)
        watch.wait_acks(new, 20)
    print("last ack %.1f ms after" % ((watch.last(node) - killed_at) * 1000))
    assert watch.last(node) - killed_at < LAST_ACK_S
    watch.check_one_at_a_time(changes=1)
    assert keeper.wait(timeout=PATIENCE_S) is not None


# ---- SIGTERM ----

def test_stop_of_a_replica(cluster):
    leader, replica = cluster.wait_leader(), cluster.replicas()[0]
    with cluster.writer() as writer:
        writer.wait_acks(20)
        assert replica.stop() == 0
        writer.wait_acks(20)
    assert not replica.postgres_pids()
    assert not writer.errors and cluster.wait_leader() is leader
    wait_for(lambda: cluster.member(replica) is None, PATIENCE_S, "its member key is gone")


def test_stop_of_the_leader(cluster):
    old = cluster.wait_leader()
    with EachServer(cluster) as watch, cluster.writer() as writer:
        watch.wait_acks(old, 50)
        began_at = time.monotonic()
        assert old.stop() == 0
        assert not old.postgres_pids()
        new = cluster.wait_leader(other_than=old)
        watch.wait_acks(new, 50)
        writer.wait_acks(20)
        since = len(old.log_text())
        old.start()
        wait_for(old.is_replica, PATIENCE_S, "%s follows; %s" % (old.name, cluster.logs()))
    assert not watch.missing()
    cluster.check_rows(writer)
    watch.check_one_at_a_time(changes=1)
    print("outage %.2f s" % writer.outage_s(since=began_at))
    assert writer.outage_s(since=began_at) < STUCK_S
    assert "reason=REWIND_BEGIN" not in old.log_text()[since:]


def test_stop_of_all(cluster):
    """Replicas first, then the leader, which has nobody to hand over to and says so by deleting its key."""
    leader, replicas = cluster.wait_leader(), cluster.replicas()
    with cluster.writer() as writer:
        writer.wait_acks(20)
    for node in replicas:
        assert node.stop() == 0
    wait_for(lambda: not any(cluster.member(n) for n in replicas), PATIENCE_S, "nobody else is registered")
    assert leader.stop() == 0
    assert cluster.key("leader") is None
    for node in cluster.nodes:
        node.spawn()
    cluster.wait_leader()
    cluster.wait_replicas(2)
    cluster.check_rows(writer)


# ---- Switchover ----

@pytest.mark.parametrize("named", [True, False], ids=["candidate", "no candidate"])
@pytest.mark.parametrize("how", ["rest", "pgheirctl"])
def test_switchover(cluster, how, named):
    old = cluster.wait_leader()
    candidate = cluster.replicas()[-1] if named else None
    with EachServer(cluster) as watch, cluster.writer() as writer:
        watch.wait_acks(old, 50)
        began_at = time.monotonic()
        if how == "rest":
            code, text = cluster.switchover(old, candidate)
            assert code == 200, text
        else:
            code, text = pgheirctl(cluster, "switchover", cluster.scope, "--force", "--leader",
                                   old.name, *(["--candidate", candidate.name] if named else []))
            assert code == 0, text
        new = cluster.wait_leader(other_than=old)
        assert new is candidate or not named
        assert 'Successfully switched over to "%s"' % new.name in text
        watch.wait_acks(new, 50)
        writer.wait_acks(20)
        cluster.wait_replicas(2)
    assert not watch.missing()
    cluster.check_rows(writer)
    watch.check_one_at_a_time(changes=1)
    print("outage %.2f s" % writer.outage_s(since=began_at))
    assert writer.outage_s(since=began_at) < STUCK_S
    assert cluster.key("failover") in (None, "{}")


def test_switchover_refused(cluster):
    leader = cluster.wait_leader()
    replica = cluster.replicas()[0]

    def nofailover(node, config):
        config["tags"] = {"nofailover": True} if node is replica else {}
        return config
    cluster.change = nofailover
    replica.write_config()
    replica.kill("supervisor", signal.SIGHUP)
    wait_for(lambda: ((cluster.member(replica) or {}).get("tags") or {}).get("nofailover"), PATIENCE_S,
             "the tag is published; " + cluster.logs())
    before = postmasters(cluster)
    with cluster.writer() as writer:
        writer.wait_acks(20)
        for name in (replica.name, "nobody"):
            code, text = pgheirctl(cluster, "switchover", cluster.scope, "--force", "--leader",
                                   leader.name, "--candidate", name)
            assert code == 1, text
            assert "Member %s does not exist in cluster %s or is tagged as nofailover" % (
                name, cluster.scope) in text
            code, text = leader.rest("POST", "/switchover",
                                     {"leader": leader.name, "candidate": name}, timeout_s=PATIENCE_S)
            assert code == 412, (code, text)
            print(name, text)
        # Whoever writes the key by hand gets no more than that.
        cluster.etcd.put("/service/%s/failover" % cluster.scope, json.dumps(
            {"leader": leader.name, "member": replica.name}))
        wait_for(lambda: cluster.key("failover") in (None, "{}"), PATIENCE_S, "the request is cleared")
        writer.wait_acks(20)
        code, text = pgheirctl(cluster, "switchover", cluster.scope, "--force", "--leader",
                               replica.name)
        assert code == 1 and "is not the leader" in text, text
    assert not writer.errors and postmasters(cluster) == before
    assert cluster.wait_leader() is leader


def test_switchover_to_a_frozen_node(cluster):
    """The whole candidate stands still: refused, and the primary is not touched."""
    leader, candidate = cluster.wait_leader(), cluster.replicas()[0]
    before = leader.pid("postmaster")
    with cluster.writer() as writer:
        writer.wait_acks(20)
        stopped = freeze(candidate.pids())
        try:
            code, text = cluster.switchover(leader, candidate)
            print(code, text)
            assert code in (412, 503) and "unknown" not in text, (code, text)
            writer.wait_acks(20)
        finally:
            thaw(stopped)
    assert cluster.wait_leader() is leader and leader.pid("postmaster") == before
    assert not writer.errors
    cluster.check_rows(writer)


def test_switchover_to_a_frozen_server(cluster):
    """Its agent answers, its PostgreSQL does not: refused, too."""
    leader, candidate = cluster.wait_leader(), cluster.replicas()[0]
    before = leader.pid("postmaster")
    with cluster.writer() as writer:
        writer.wait_acks(20)
        stopped = freeze(candidate.postgres_pids())
        try:
            code, text = pgheirctl(cluster, "switchover", cluster.scope, "--force", "--leader",
                                   leader.name, "--candidate", candidate.name)
            print(code, text)
            assert code == 1 and "Switchover failed, details: 412" in text, (code, text)
            writer.wait_acks(20)
        finally:
            thaw(stopped)
    assert cluster.wait_leader() is leader and leader.pid("postmaster") == before
    assert not writer.errors
    cluster.check_rows(writer)


def server_process(node, title):
    """The process of its PostgreSQL with this in its title."""
    def found():
        for pid in node.postgres_pids():
            with contextlib.suppress(OSError), open("/proc/%d/cmdline" % pid, "rb") as cmdline:
                if title in cmdline.read():
                    return pid
        return None
    return wait_for(found, PATIENCE_S, "a %s of %s" % (title.decode(), node.name))


@pytest.mark.parametrize("how", ["rest", "pgheirctl"])
def test_switchover_to_a_frozen_receiver(cluster, how):
    """The candidate looks well, but receives nothing any more: that is found out before anything is stopped for it,
    and the requester is told so."""
    leader, candidate = cluster.wait_leader(), cluster.replicas()[0]
    postmaster, since = leader.pid("postmaster"), len(leader.log_text())
    with EachServer(cluster) as watch, cluster.writer() as writer:
        watch.wait_acks(leader, 50)
        began_at = time.monotonic()
        stopped = freeze([server_process(candidate, b"walreceiver")])
        try:
            if how == "rest":
                code, text = cluster.switchover(leader, candidate)
                print(code, text)
                assert code == 503 and text == "Switchover failed", (code, text)
            else:
                code, text = pgheirctl(cluster, "switchover", cluster.scope, "--force", "--leader",
                                       leader.name, "--candidate", candidate.name)
                print(code, text)
                assert code == 1 and "Switchover failed, details: 503" in text, (code, text)
            wait_for(leader.is_leader, PATIENCE_S, "%s leads; %s" % (leader.name, cluster.logs()))
            writer.wait_acks(50)
        finally:
            thaw(stopped)
        writer.wait_acks(50)
    print("outage %.2f s" % writer.outage_s(since=began_at))
    assert "reason=SWITCHOVER_REJECTED" in leader.log_text()[since:], leader.log_path
    assert cluster.wait_leader() is leader and leader.pid("postmaster") == postmaster
    assert not writer.errors
    watch.check_one_at_a_time(changes=0)
    assert not watch.missing()
    cluster.check_rows(writer)


@pytest.mark.parametrize("what", ["agent", "everything"])
def test_switchover_and_the_candidate_freezes(cluster, what):
    """The candidate was chosen when it answered, and stands still from then on. A checkpointer that stands still
    holds the switchover up between the two."""
    leader, candidate = cluster.wait_leader(), cluster.replicas()[0]
    postmaster, since = leader.pid("postmaster"), len(leader.log_text())
    with EachServer(cluster) as watch, cluster.writer() as writer:
        watch.wait_acks(leader, 50)
        checkpointer = freeze([server_process(leader, b"checkpointer")])
        answers = []
        began_at = time.monotonic()
        asker = threading.Thread(
            target=lambda: answers.append(cluster.switchover(leader, candidate)))
        asker.start()
        stopped = []
        try:
            wait_for(lambda: leader.value("SELECT count(*) FROM pg_stat_activity "
                                          "WHERE query ILIKE 'checkpoint%%' AND state = 'active'"), PATIENCE_S,
                     "the checkpoint of the switchover")
            stopped = freeze([candidate.pid("agent")] if what == "agent" else candidate.pids())
            thaw(checkpointer)
            asker.join(timeout=PATIENCE_S)
            (code, text), = answers
            print(code, text)
            assert code == 503 and text == "Switchover failed", (code, text)
            wait_for(leader.is_leader, PATIENCE_S, "%s leads; %s" % (leader.name, cluster.logs()))
            writer.wait_acks(50)
        finally:
            thaw(checkpointer + stopped)
            asker.join(timeout=PATIENCE_S)
        writer.wait_acks(50)
        cluster.wait_replicas(1)
    print("outage %.2f s" % writer.outage_s(since=began_at))
    assert "reason=SWITCHOVER_REJECTED" in leader.log_text()[since:], leader.log_path
    assert cluster.wait_leader() is leader and leader.pid("postmaster") == postmaster
    watch.check_one_at_a_time(changes=0)
    assert not watch.missing()
    cluster.check_rows(writer)
