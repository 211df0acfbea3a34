"""pgheirctl on a real cluster: what it says is what happened."""
import json
import subprocess

import pytest

from cluster import find_bin
from etcd import PATIENCE_S, wait_for
from shared import heal


class Ctl:
    """Runs pgheirctl with the configuration of a member."""

    def __init__(self, cluster):
        self.node = cluster.nodes[0]

    def __call__(self, *arguments, text="", code=0):
        answer = subprocess.run([find_bin("pgheirctl"), "-c", self.node.config_path, *arguments],
                                input=text, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, timeout=180)
        assert answer.returncode == code, (arguments, answer)
        return answer.stdout if code == 0 else answer.stdout + answer.stderr

    def rows(self):
        return {row["Member"]: row for row in json.loads(self("list", "-f", "json"))}


@pytest.fixture
def trio(shared_trio):
    """Whole again after whatever the test before has done."""
    heal(shared_trio)
    return shared_trio


@pytest.fixture
def ctl(trio):
    return Ctl(trio)


def wait_listed(ctl, condition, what):
    wait_for(lambda: condition(ctl.rows()), PATIENCE_S, what)


def test_list(trio, ctl):
    leader = trio.wait_leader()
    wait_listed(ctl, lambda rows: [row["State"] for row in rows.values()].count("streaming") == 2,
                "two members stream")
    rows = ctl.rows()
    assert rows[leader.name]["Role"] == "Leader" and rows[leader.name]["State"] == "running"
    assert {row["Host"] for row in rows.values()} == {"127.0.0.1:%d" % n.pg_port for n in trio.nodes}
    assert all(row["TL"] == 1 for row in rows.values())
    assert "+ Cluster: " + trio.scope in ctl("list")
    lines = ctl("topology").splitlines()
    assert sum("| + node" in line for line in lines) == 2
    assert ctl("show-config").startswith("loop_wait: 1\n")
    assert ctl("version", trio.scope).count("Patroni 4.1.4 PostgreSQL ") == 3


def test_switchover_and_failover(trio, ctl):
    leader, (one, _) = trio.wait_leader(), trio.replicas()
    with trio.writer() as writer:
        writer.wait_acks(20)
        out = ctl("switchover", text="\n%s\nnow\ny\n" % one.name)
        assert 'Successfully switched over to "%s"' % one.name in out
        assert trio.wait_leader() is one
        trio.wait_replicas(2)
        out = ctl("failover", "--candidate", leader.name, "--force")
        assert 'Successfully failed over to "%s"' % leader.name in out
        assert trio.wait_leader() is leader
        writer.wait_acks(20)
    trio.check_rows(writer)
    trio.wait_replicas(2)
    history = json.loads(ctl("history", "-f", "json"))
    assert [row["New Leader"] for row in history][-2:] == [one.name, leader.name]
    assert "does not exist in cluster" in ctl("switchover", "--candidate", "nobody", "--force", code=1)
    assert trio.wait_leader() is leader


def test_switchover_refused_is_exit_1(trio, ctl):
    one = trio.replicas()[0]
    etcd_key = trio.key("members/" + one.name)
    # The agent of the candidate is gone, its key is not yet.
    one.kill_all()
    assert etcd_key is not None
    out = ctl("switchover", "--candidate", one.name, "--force", code=1)
    assert "Switchover failed, details: 412, switchover is not possible: no good candidates have " \
           "been found" in out or "does not exist in cluster" in out
    assert trio.leader() is not None
    one.start()


def test_restart_reload_and_pending(trio, ctl):
    leader = trio.wait_leader()
    out = ctl("restart", trio.scope, "--force")
    assert [("Success: restart on member node%d\n" % n in out) for n in (1, 2, 3)] == [True] * 3
    assert trio.wait_leader() is leader
    trio.wait_replicas(2)
    assert "Configuration changed" in ctl("edit-config", "-p", "max_connections=60", "-p",
                                          "work_mem=7MB", "--force")
    wait_listed(ctl, lambda rows: all(r.get("Pending restart") == "*" for r in rows.values()),
                "all have to be restarted")
    assert "max_connections: 50->60" in ctl("list")
    out = ctl("restart", trio.scope, "--pending", "--force", "-r", "replica")
    assert out.count("Success: restart on member") == 2
    # Standbys first may not raise what the primary has not: PostgreSQL takes the greater anyhow.
    out = ctl("restart", trio.scope, "--pending", "--force")
    assert "Success: restart on member " + leader.name in out
    wait_listed(ctl, lambda rows: not any("Pending restart" in r for r in rows.values()),
                "nothing is pending")
    assert leader.value("SHOW max_connections") == "60"
    assert ctl("reload", trio.scope, "--force").count("Reload request received for member") == 3


def test_reinit(trio, ctl):
    leader, one = trio.wait_leader(), trio.replicas()[0]
    before = one.postmaster_pid()
    out = ctl("reinit", trio.scope, one.name, "--force", "--wait")
    assert "Success: reinitialize for member %s\n" % one.name in out
    assert "Reinitialize is completed on: %s\n" % one.name in out
    wait_for(lambda: one.postmaster_pid() not in (None, before) and one.is_replica(), PATIENCE_S,
             "it follows again; " + trio.logs())
    assert "No 'replica' among provided members" in ctl("reinit", trio.scope, leader.name, "--force",
                                                       code=1)
    assert trio.wait_leader() is leader


def test_pause_and_resume(trio, ctl):
    leader = trio.wait_leader()
    assert ctl("pause", "--wait").endswith("Success: cluster management is paused\n")
    assert " Maintenance mode: on\n" in ctl("list")
    assert all(trio.member(node).get("pause") for node in trio.nodes)
    assert "Error: Cluster is already paused" in ctl("pause", code=1)
    assert "Switchover is possible only to a specific candidate in a paused state" in ctl(
        "switchover", "--force", code=1)
    out = ctl("switchover", "--scheduled", "2030-01-01T00:00:00Z", "--force", code=1)
    assert "Can't schedule switchover in the paused state" in out
    assert ctl("resume", "--wait").endswith("Success: cluster management is resumed\n")
    assert "Error: Cluster is not paused" in ctl("resume", code=1)
    assert trio.wait_leader() is leader


def test_wrong_password_is_told(trio, ctl, tmp_path):
    path = str(tmp_path / "ctl.yml")
    with open(path, "w") as out:
        out.write("scope: %s\netcd3:\n  hosts: %s\nctl:\n  authentication: {username: admin, "
                  "password: wrong}\n" % (trio.scope, ",".join(trio.etcd_hosts)))
    ctl.node = type("Stub", (), {"config_path": path})()
    for command in (["switchover", "--force"], ["restart", trio.scope, "--force"],
                    ["pause"], ["reload", trio.scope, "--force"]):
        assert "401, " in ctl(*command, code=1).replace("status code=401, ", "401, ")
    assert trio.leader() is not None and '"pause"' not in trio.key("config")
