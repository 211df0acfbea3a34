"""What pgheirctl does: prompts in their order, requests as agents get them, exit codes."""
import json
import os
import sys
import threading

import pytest

from ctl_lib import fill, member


def cluster(etcd, name, *agents, leader="n1", config=None, **keys):
    """Members n1, n2, ... with these agents; the first leads."""
    content = {"initialize": "7711380018334676876",
               "config": json.dumps(config or {"ttl": 30, "loop_wait": 10})}
    for idx, agent in enumerate(agents, 1):
        fields = {"role": "primary"} if leader == "n%d" % idx else {
            "replication_state": "streaming"}
        content["members/n%d" % idx] = member(
            "10.0.0.%d" % idx, api=agent if isinstance(agent, str) else agent.url, timeline=1,
            xlog_location=1000, **fields)
    if leader:
        content["leader"] = leader
    content.update(keys)
    fill(etcd, name, content)
    return name


DEAD = "http://127.0.0.1:1"
SWITCHED = {("POST", "/switchover"): (200, 'Successfully switched over to "n2"')}


def test_switchover_by_prompts(etcd, ctl, agent):
    one, two = agent(SWITCHED), agent()
    name = cluster(etcd, "sw1", one, two)
    answer = ctl.run("switchover", name, text="\nn2\n\ny\n")
    assert answer.returncode == 0, answer.stderr
    out = answer.stdout
    positions = [out.index(words) for words in (
        "Current cluster topology\n+ Cluster: sw1", "Primary [n1]: ", "Candidate ['n2'] []: ",
        "When should the switchover take place (e.g. ", " )  [now]: ",
        "Are you sure you want to switchover cluster sw1, demoting current leader n1? [y/N]: ",
        'Successfully switched over to "n2"\n+ Cluster: sw1')]
    assert positions == sorted(positions)
    assert one.calls == [("POST", "/switchover", {"leader": "n1", "candidate": "n2"})]
    assert two.calls == []


@pytest.mark.parametrize("text, error", [
    ("", "Aborted!"), ("n2\n", "Error: Member n2 is not the leader of cluster sw2"),
    ("\nn1\n", "Error: Member n1 is already the leader of cluster sw2"),
    ("\nn9\n", "Error: Member n9 does not exist in cluster sw2 or is tagged as nofailover"),
    ("\nn2\nnonsense\n", "Error: Unable to parse scheduled timestamp (nonsense). It should be in an"
                         " unambiguous format (e.g. ISO 8601)"),
    ("\nn2\n\n", "Aborted!"), ("\nn2\n\nn\n", "Error: Aborting switchover"),
    ("\nn2\n2030-05-01T10:00:00+02:00\n\n", "Error: Aborting scheduled switchover"),
])
def test_switchover_refused_at_the_prompt(etcd, ctl, agent, text, error):
    one = agent(SWITCHED)
    name = cluster(etcd, "sw2", one, agent())
    for as_patronictl in (False, True):
        answer = ctl.run("switchover", name, text=text, as_patronictl=as_patronictl)
        assert (answer.returncode, answer.stderr.strip()) == (1, error)
    assert one.calls == []


@pytest.mark.parametrize("given, sent", [
    ("2030-05-01T10:00:00+02:00", "2030-05-01T10:00:00+02:00"),
    ("2030-05-01 10:00", "2030-05-01T10:00:00+02:00"),  # Berlin in summer
    ("2030-12-01T10:00:30", "2030-12-01T10:00:30+01:00"),
    ("2030-05-01T10:00Z", "2030-05-01T10:00:00+00:00"),
    ("2030-05-01T10:00:00-03:30", "2030-05-01T10:00:00-03:30"),
])
def test_switchover_scheduled(etcd, ctl, agent, given, sent):
    one = agent({("POST", "/switchover"): (202, "Switchover scheduled")})
    name = cluster(etcd, "sw3", one, agent())
    answer = ctl.run("switchover", name, "--force", "--scheduled", given)
    assert (answer.returncode, "Switchover scheduled\n" in answer.stdout) == (0, True)
    assert one.calls == [("POST", "/switchover", {"leader": "n1", "scheduled_at": sent})]


def test_switchover_scheduled_in_pause(etcd, ctl, agent):
    name = cluster(etcd, "sw4", agent(), agent(), config={"pause": True})
    answer = ctl.run("switchover", name, "--force", "--scheduled", "2030-05-01T10:00:00Z")
    assert answer.returncode == 1
    assert answer.stderr == "Error: Can't schedule switchover in the paused state\n"


@pytest.mark.parametrize("status, body, code, said", [
    (200, 'Successfully switched over to "n2"', 0, 'Successfully switched over to "n2"'),
    (200, 'Switched over to "n3" instead of "n2"', 1, 'Switched over to "n3" instead of "n2"'),
    (503, "Switchover failed", 1, "Switchover failed, details: 503, Switchover failed"),
    (412, "candidate does not exists", 1,
     "Switchover failed, details: 412, candidate does not exists"),
    (503, "Switchover status unknown after 20 seconds; operation may still be in progress", 3,
     "Switchover result unknown, details: 503, Switchover status unknown after 20 seconds; "
     "operation may still be in progress"),
])
def test_switchover_outcomes(etcd, ctl, agent, status, body, code, said):
    name = cluster(etcd, "sw5", agent({("POST", "/switchover"): (status, body)}), agent())
    arguments = ["switchover", name, "--force", "--candidate", "n2"]
    answer = ctl.run(*arguments)
    assert said in answer.stdout
    assert answer.returncode == code
    # The original ends with 0 whatever the agent said.
    assert ctl.run(*arguments, as_patronictl=True).returncode == 0


def test_switchover_with_a_broken_connection_is_not_sent_twice(etcd, ctl, agent):
    one = agent({("POST", "/switchover"): None})
    name = cluster(etcd, "sw6", one, agent())
    answer = ctl.run("switchover", name, "--force")
    assert answer.returncode == 3
    assert "Switchover result unknown" in answer.stdout
    assert len(one.calls) == 1
    assert etcd.get("/service/sw6/failover") is None


def test_switchover_without_any_agent_goes_through_etcd(etcd, ctl):
    name = cluster(etcd, "sw7", DEAD, DEAD)
    answer = ctl.run("switchover", name, "--force", "--candidate", "n2")
    assert "Could not switchover using Patroni api, falling back to DCS" in answer.stdout
    assert answer.returncode == 3
    assert json.loads(etcd.get("/service/sw7/failover")) == {"leader": "n1", "member": "n2"}


def test_switchover_without_leader_or_candidates(etcd, ctl, agent):
    name = cluster(etcd, "sw8", agent(), leader=None)
    answer = ctl.run("switchover", name, "--force")
    assert (answer.returncode, answer.stderr) == (1, "Error: This cluster has no leader\n")
    name = cluster(etcd, "sw8", agent())
    answer = ctl.run("switchover", name, "--force")
    assert (answer.returncode, answer.stderr) == (
        1, "Error: No candidates found to switchover to\n")


def test_failover(etcd, ctl, agent):
    one = agent({("POST", "/failover"): (200, 'Successfully failed over to "n2"')})
    name = cluster(etcd, "fo1", one, agent())
    answer = ctl.run("failover", name, text="n2\ny\n")
    assert answer.returncode == 0
    assert "Candidate ['n2'] []: Are you sure you want to failover cluster fo1, demoting current " \
           "leader n1? [y/N]: " in answer.stdout
    assert one.calls == [("POST", "/failover", {"candidate": "n2"})]
    answer = ctl.run("failover", name, "--force")
    assert (answer.returncode, answer.stderr) == (
        1, "Error: Failover could be performed only to a specific candidate\n")


def test_failover_without_leader_asks_the_candidate(etcd, ctl, agent):
    two = agent({("POST", "/failover"): (200, 'Successfully failed over to "n2"')})
    name = cluster(etcd, "fo2", DEAD, two, leader=None)
    assert ctl.run("failover", name, "--candidate", "n2", text="y\n").returncode == 0
    assert two.calls == [("POST", "/failover", {"candidate": "n2"})]


def test_failover_to_an_asynchronous_member_asks_twice(etcd, ctl, agent):
    one = agent({("POST", "/failover"): (200, 'Successfully failed over to "n3"')})
    name = cluster(etcd, "fo3", one, agent(), agent(), config={"synchronous_mode": True},
                   sync=json.dumps({"leader": "n1", "sync_standby": "n2"}))
    answer = ctl.run("failover", name, "--candidate", "n3", text="n\n")
    assert (answer.returncode, answer.stderr) == (1, "Error: Aborting failover\n")
    assert "Are you sure you want to failover to the asynchronous node n3? [y/N]: " in answer.stdout
    assert one.calls == []
    assert ctl.run("failover", name, "--candidate", "n3", text="y\ny\n").returncode == 0
    assert ctl.run("failover", name, "--candidate", "n2", text="y\n").returncode == 0


# ---- restart, reload, reinit ----


def test_restart_by_prompts(etcd, ctl, agent):
    answers = {("POST", "/restart"): (200, "restarted successfully")}
    one, two = agent(answers), agent(answers)
    name = cluster(etcd, "re1", one, two)
    answer = ctl.run("restart", name, text="\ny\n15.99\n")
    assert answer.returncode == 0, answer.stderr
    out = answer.stdout
    positions = [out.index(words) for words in (
        "+ Cluster: re1", "When should the restart take place (e.g. ", ")  [now]: ",
        "Are you sure you want to restart members n1, n2? [y/N]: ",
        "Restart if the PostgreSQL version is less than provided (e.g. 9.5.2)  []: ",
        "Success: restart on member n1\n", "Success: restart on member n2\n")]
    assert positions == sorted(positions)
    assert one.calls == two.calls == [("POST", "/restart", {"postgres_version": "15.99"})]


@pytest.mark.parametrize("status, body, code, said", [
    (200, "restarted successfully", 0, "Success: restart on member n2\n"),
    (202, "Restart scheduled", 0, "Success: restart scheduled on member n2\n"),
    (409, "Another restart is already scheduled", 1,
     "Failed: another restart is already scheduled on member n2\n"),
    (503, "restart failed", 1,
     "Failed: restart for member n2, status code=503, (restart failed)\n"),
    (503, "postgres is still starting", 3,
     "Failed: restart for member n2, status code=503, (postgres is still starting)\n"),
])
def test_restart_outcomes(etcd, ctl, agent, status, body, code, said):
    two = agent({("POST", "/restart"): (status, body)})
    name = cluster(etcd, "re2", agent(), two)
    answer = ctl.run("restart", name, "n2", "nobody", "--force")
    assert said in answer.stdout
    assert answer.returncode == code
    assert ctl.run("restart", name, "n2", "--force", as_patronictl=True).returncode == 0
    assert two.calls[0] == ("POST", "/restart", {})


def test_restart_filters(etcd, ctl, agent):
    answers = {("POST", "/restart"): (200, "ok"), ("DELETE", "/restart"): (200, "deleted")}
    agents = [agent(answers) for _ in range(3)]
    name = cluster(etcd, "re3", *agents)
    etcd.put("/service/re3/members/n3", member(
        "h", api=agents[2].url, pending_restart=True,
        scheduled_restart={"schedule": "2030-01-01T00:00:00+00:00"}))

    def asked(*arguments):
        for one in agents:
            one.calls.clear()
        assert ctl.run("restart", name, "--force", *arguments).returncode == 0
        return [one.calls for one in agents]

    restart = ("POST", "/restart", {})
    assert asked("-r", "leader") == [[restart], [], []]
    assert asked("--role=replica") == [[], [restart], [restart]]
    assert asked("--pending") == [[], [], [("POST", "/restart", {"restart_pending": True})]]
    assert sum(len(calls) for calls in asked("--any")) == 1
    body = {"schedule": "2030-05-01T10:00:00+00:00", "timeout": "30s"}
    later = asked("--scheduled", "2030-05-01T10:00Z", "--timeout", "30s")
    assert later == [[("POST", "/restart", body)], [("POST", "/restart", body)],
                     [("DELETE", "/restart", None), ("POST", "/restart", body)]]


@pytest.mark.parametrize("arguments, text, error", [
    (["nobody", "--force"], "", "No 'any' among provided members"),
    (["-r", "primary", "n2", "--force"], "", "No 'primary' among provided members"),
    (["--force", "--pg-version", "15"], "",
     "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted: 15"),
    (["--force", "--pg-version", "x.y"], "", "Invalid PostgreSQL version: x.y"),
    ([], "now\nn\n", "Aborted restart"),
    ([], "2030-01-01T00:00:00Z\nn\n", "Aborted scheduled restart"),
])
def test_restart_refused(etcd, ctl, agent, arguments, text, error):
    agents = [agent(), agent()]
    name = cluster(etcd, "re4", *agents)
    answer = ctl.run("restart", name, *arguments, text=text)
    assert (answer.returncode, answer.stderr) == (1, "Error: %s\n" % error)
    assert [one.calls for one in agents] == [[], []]


def test_reload(etcd, ctl, agent):
    one = agent({("POST", "/reload"): (202, "reload scheduled")})
    name = cluster(etcd, "rl1", one, DEAD, config={"loop_wait": 7})
    answer = ctl.run("reload", name, text="y\n")
    assert "Are you sure you want to reload members n1, n2? [y/N]: " in answer.stdout
    assert "Reload request received for member n1 and will be processed within 7 seconds\n" \
        in answer.stdout
    assert "Failed: reload for member n2, (" in answer.stdout
    assert answer.returncode == 1
    assert ctl.run("reload", name, "n1", "--force").returncode == 0


def test_reinit(etcd, ctl, agent):
    two = agent({("POST", "/reinitialize"): (200, "reinitialize started")})
    name = cluster(etcd, "ri1", agent(), two)
    answer = ctl.run("reinit", name, text="n2\ny\n")
    assert answer.returncode == 0
    assert "Which member do you want to reinitialize [n2]? []: " in answer.stdout
    assert "Success: reinitialize for member n2\n" in answer.stdout
    assert two.calls == [("POST", "/reinitialize", {"force": False, "from_leader": False})]
    two.calls.clear()
    # Nobody is cloned anew because a name was forgotten.
    assert ctl.run("reinit", name, "--force").returncode == 0
    assert two.calls == []
    # The leader is no candidate.
    assert ctl.run("reinit", name, "n1", "--force").returncode == 1
    assert ctl.run("reinit", name, "n2", "--force", "--from-leader").returncode == 0
    assert two.calls == [("POST", "/reinitialize", {"force": True, "from_leader": True})]


def test_reinit_cancels_what_is_running(etcd, ctl, agent):
    busy = (503, "clone already in progress")
    two = agent({("POST", "/reinitialize"): lambda body: (200, "started") if body["force"]
                 else busy})
    name = cluster(etcd, "ri2", agent(), two)
    answer = ctl.run("reinit", name, "n2", text="y\ny\n")
    assert answer.returncode == 0
    assert "Do you want to cancel it and reinitialize anyway? [y/N]: " in answer.stdout
    assert [call[2]["force"] for call in two.calls] == [False, True]
    answer = ctl.run("reinit", name, "n2", text="y\nn\n")
    assert answer.returncode == 1


def test_reinit_waits(etcd, ctl, agent):
    states = [(200, json.dumps({"state": "creating replica"})), (503, "starting"),
              (200, json.dumps({"state": "running"}))]
    two = agent({("POST", "/reinitialize"): (200, "reinitialize started"),
                 ("GET", "/patroni"): states})
    name = cluster(etcd, "ri3", agent(), two)
    answer = ctl.run("reinit", name, "n2", "--force", "--wait")
    assert answer.returncode == 0
    assert answer.stdout.endswith("Waiting for reinitialize to complete on: n2\n"
                                  "Reinitialize is completed on: n2\n")


# ---- pause ----


def test_pause_and_resume(etcd, ctl, agent):
    answers = {("PATCH", "/config"): (200, "{}")}
    one, two = agent(answers), agent(answers)
    name = cluster(etcd, "pa1", one, two)
    answer = ctl.run("pause", name)
    assert (answer.returncode, answer.stdout) == (0, "Success: cluster management is paused\n")
    assert one.calls == [("PATCH", "/config", {"pause": True})] and two.calls == []
    assert ctl.run("resume", name).stderr == "Error: Cluster is not paused\n"
    etcd.put("/service/pa1/config", json.dumps({"pause": True}))
    assert ctl.run("pause", name).stderr == "Error: Cluster is already paused\n"
    one.calls.clear()
    answer = ctl.run("resume", name)
    assert (answer.returncode, answer.stdout) == (0, "Success: cluster management is resumed\n")
    assert one.calls == [("PATCH", "/config", {"pause": None})]


def test_pause_asks_the_next_member(etcd, ctl, agent):
    two = agent({("PATCH", "/config"): (200, "{}")})
    name = cluster(etcd, "pa2", DEAD, two)
    answer = ctl.run("pause", name)
    assert answer.returncode == 0
    assert "Member n1 is not accessible" in answer.stderr
    name = cluster(etcd, "pa2", DEAD, DEAD)
    answer = ctl.run("pause", name)
    assert answer.returncode == 1
    assert "Error: Can not find accessible cluster member\n" in answer.stderr


def test_pause_waits_for_members_that_lost_their_leases(etcd, ctl, agent):
    """Right after all leases were lost nobody is registered, and who is again may not hear etcd yet."""
    one = agent({("PATCH", "/config"): [(503, "etcd does not answer"), (200, "{}")]})
    fill(etcd, "pa4", {"config": "{}", "initialize": "1"})
    later = threading.Timer(1, lambda: etcd.put("/service/pa4/members/n1", member("h", api=one.url)))
    later.start()
    answer = ctl.run("pause", "pa4")
    later.join()
    assert (answer.returncode, answer.stdout) == (0, "Success: cluster management is paused\n"), answer.stderr
    assert len(one.calls) == 2


def test_pause_without_members_says_what_is_missing(etcd, ctl):
    fill(etcd, "pa5", {"config": "{}", "initialize": "1"})
    answer = ctl.run("pause", "pa5")
    assert answer.returncode == 1
    assert "Error: Can not find accessible cluster member: none is registered in etcd" in answer.stderr


def test_pause_waits_for_the_members(etcd, ctl, agent):
    def apply(_):
        etcd.put("/service/pa3/members/n1", member("h", api=one.url, pause=True))
        etcd.put("/service/pa3/members/n2", member("h", api=one.url, pause=True))
        return 200, "{}"

    one = agent({("PATCH", "/config"): apply})
    name = cluster(etcd, "pa3", one, one)
    answer = ctl.run("pause", name, "--wait")
    assert (answer.returncode, answer.stdout) == (
        0, "'pause' request sent, waiting until it is recognized by all nodes\n"
           "Success: cluster management is paused\n")
    lazy = agent({("PATCH", "/config"): (200, "{}")})
    name = cluster(etcd, "pa3", lazy, lazy, config={"loop_wait": 1})
    answer = ctl.run("pause", name, "--wait")
    assert answer.returncode == 3
    assert "n1, n2 members didn't recognized pause state after 1 seconds\n" in answer.stdout


# ---- edit-config ----


def config_of(etcd, name):
    return json.loads(etcd.get("/service/%s/config" % name))


def test_edit_config_writes(etcd, ctl, agent, tmp_path):
    name = cluster(etcd, "ed1", agent(), config={"ttl": 30, "extra": {"kept": [1]}})
    answer = ctl.run("edit-config", name, "-s", "ttl=40", text="y\n")
    assert answer.returncode == 0
    assert answer.stdout.endswith("Apply these changes? [y/N]: Configuration changed\n")
    assert config_of(etcd, name) == {"ttl": 40, "extra": {"kept": [1]}}
    assert etcd.get("/service/ed1/config") == '{"ttl":40,"extra":{"kept":[1]}}'
    patch = tmp_path / "patch.yml"
    patch.write_text("ttl: 50\nextra:\n  more: yes\n")
    answer = ctl.run("edit-config", name, "--apply", str(patch), "--force", "-q")
    assert (answer.returncode, answer.stdout) == (0, "Configuration changed\n")
    assert config_of(etcd, name) == {"ttl": 50, "extra": {"kept": [1], "more": True}}
    answer = ctl.run("edit-config", name, "--replace", "-", "--force", text="loop_wait: 3\n")
    assert config_of(etcd, name) == {"loop_wait": 3}
    answer = ctl.run("edit-config", name, "--apply", "-", text="loop_wait: 4\n")
    assert answer.stdout.endswith("Use --force option to apply changes\n")
    assert config_of(etcd, name) == {"loop_wait": 3}
    assert ctl.run("edit-config", name, "-s", "loop_wait=4", text="n\n").returncode == 0
    assert config_of(etcd, name) == {"loop_wait": 3}
    assert ctl.run("edit-config", name, "-s", "loop_wait=3").stdout == "Not changed\n"


@pytest.mark.parametrize("arguments, text, words", [
    (["-s", "ttl"], "", ["Invalid parameter setting ttl"]),
    (["-s", "ttl=soon", "--force"], "", ["ttl"]),
    (["-s", "loop_wait=-1", "--force"], "", ["loop_wait"]),
    (["--apply", "/nowhere", "--force"], "", ["cannot read /nowhere", "No such file"]),
    (["--apply", "-", "--force"], "a: [", ["standard input:", "not YAML"]),
    (["--apply", "-", "--force"], "- a\n", ["-: expected a mapping"]),
    (["--replace", "-", "--force"], "ttl: []\n", ["ttl"]),
])
def test_edit_config_refuses(etcd, ctl, agent, arguments, text, words):
    name = cluster(etcd, "ed2", agent(), config={"ttl": 30})
    answer = ctl.run("edit-config", name, *arguments, text=text)
    assert answer.returncode == 1
    for word in words:
        assert word in answer.stderr
    assert config_of(etcd, name) == {"ttl": 30}


EDITOR = """#!%s
import os, sys
assert os.stat(sys.argv[1]).st_mode & 0o077 == 0
text = open(sys.argv[1]).read()
open(sys.argv[1], "w").write(text.replace("ttl: 30", %r))
%s
"""


def editor(folder, replacement, more=""):
    path = folder / "editor"
    path.write_text(EDITOR % (sys.executable, replacement, more))
    path.chmod(0o755)
    return {"EDITOR": str(path), "TMPDIR": str(folder)}


def test_edit_config_by_editor(etcd, ctl, agent, tmp_path):
    name = cluster(etcd, "ed3", agent(), config={"ttl": 30})
    answer = ctl.run("edit-config", name, text="y\n", environment=editor(tmp_path, "ttl: 60"))
    assert answer.returncode == 0, answer.stderr
    assert config_of(etcd, name) == {"ttl": 60}
    answer = ctl.run("edit-config", name, environment=editor(tmp_path, "", "sys.exit(3)"))
    assert answer.returncode == 1 and "exited with return code 3" in answer.stderr
    answer = ctl.run("edit-config", name, environment={"EDITOR": "/nowhere"})
    assert answer.returncode == 1 and "/nowhere" in answer.stderr
    cluster(etcd, "ed3", agent(), config={"ttl": 30})
    answer = ctl.run("edit-config", name, environment=editor(tmp_path, "ttl: ["))
    assert answer.returncode == 1 and "not YAML" in answer.stderr
    assert os.listdir(tmp_path) == ["editor"]


def test_edit_config_sees_a_concurrent_change(etcd, ctl, agent, tmp_path):
    name = cluster(etcd, "ed4", agent(), config={"ttl": 30})
    more = "import subprocess\nsubprocess.run(['etcdctl', '--endpoints', %r, 'put', " \
           "'/service/ed4/config', '{\"ttl\":33}'], env=dict(os.environ, ETCDCTL_API='3'))" \
        % etcd.hosts()[0]
    answer = ctl.run("edit-config", name, "--force",
                     environment=editor(tmp_path, "ttl: 60", more))
    assert answer.returncode == 1
    assert answer.stderr == "Error: Config modification aborted due to concurrent changes\n"
    assert config_of(etcd, name) == {"ttl": 33}


def test_edit_config_without_key(etcd, ctl, agent):
    name = cluster(etcd, "ed5", agent())
    etcd.delete("/service/ed5/config")
    answer = ctl.run("edit-config", name, "-s", "ttl=40")
    assert answer.stderr == "Error: The config key does not exist in the cluster ed5\n"
