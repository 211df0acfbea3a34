"""What pgheirctl prints, against golden outputs that were compared with patronictl's."""
import json
import os
import subprocess
import time

import pytest

from clusters import CLUSTERS, COMMANDS
from ctl_lib import PGHEIRCTL, fill, member

GOLDEN = os.path.join(os.path.dirname(__file__), "golden")


@pytest.fixture(scope="module")
def filled(etcd):
    for name, keys in CLUSTERS.items():
        fill(etcd, name, keys)
    return etcd


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_golden(filled, ctl, name):
    with open(os.path.join(GOLDEN, name + ".out"), encoding="utf-8") as expected:
        answer = ctl.run(*COMMANDS[name], as_patronictl=True)
        assert answer.stdout == expected.read()
    # Diffs end in a question that nobody answers.
    assert answer.returncode == (1 if "Apply these" in answer.stdout else 0)


def test_fencing_column_only_where_not_normal(etcd, ctl):
    fill(etcd, "fenced", {
        "leader": "a",
        "members/a": member("h1", role="primary", pgheir={"instance": "1", "fencing": "adopted"}),
        "members/b": member("h2", pgheir={"instance": "2"})})
    lines = ctl.run("list", "fenced", "-f", "tsv").stdout.splitlines()
    assert lines[0].split("\t")[-1] == "Fencing"
    assert lines[1].split("\t")[-1] == "adopted"
    rows = json.loads(ctl.run("list", "fenced", "-f", "json").stdout)
    assert rows[0]["Fencing"] == "adopted" and "Fencing" not in rows[1]
    fill(etcd, "fenced", {"leader": "a", "members/a": member("h1", role="primary")})
    assert "Fencing" not in ctl.run("list", "fenced").stdout


def test_timestamp(filled, ctl):
    line = ctl.run("list", "noleader", "-t").stdout.splitlines()[0]
    time.strptime(line, "%Y-%m-%d %H:%M:%S")


def test_unknown_cluster(filled, ctl):
    for name in ("one", "two"):
        filled.put("/apart/%s/leader" % name, "n1")
    answer = ctl.run("-d", "etcd3://%s/apart" % filled.hosts()[0], "list", "nosuch", dcs=False)
    assert answer.returncode == 1
    assert answer.stderr == "Error: there is no cluster nosuch under /apart/; there are: one, two\n"
    answer = ctl.run("list", "nosuch", as_patronictl=True)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "+ Cluster: nosuch (uninitialized) " in answer.stdout


def test_version(ctl):
    assert ctl.run("version", as_patronictl=True, dcs=False).stdout == "patronictl version 4.1.4\n"
    assert ctl.run("version", dcs=False).stdout.startswith("pgheirctl version 4.1.4 (pgheir ")


def test_version_of_members(etcd, ctl, agent):
    one = agent({("GET", "/patroni"): (200, json.dumps(
        {"state": "running", "server_version": 150020, "patroni": {"version": "4.1.4"}}))})
    two = agent({("GET", "/patroni"): (200, "nonsense")})
    fill(etcd, "versions", {"members/a": member("h1", api=one.url),
                            "members/b": member("h2", api=two.url),
                            "members/c": member("h3", api="http://127.0.0.1:1")})
    answer = ctl.run("version", "versions")
    lines = answer.stdout.splitlines()
    assert lines[1:3] == ["", "a: Patroni 4.1.4 PostgreSQL 15.20"]
    assert lines[3].startswith("b: failed to get version: ")
    assert lines[4].startswith("c: failed to get version: ") and "127.0.0.1:1" in lines[4]
    assert answer.returncode == 1
    answer = ctl.run("version", "versions", "a")
    assert answer.returncode == 0 and "b:" not in answer.stdout


def test_watch(filled, ctl):
    """Shows again and again; ends with an error when nobody reads any more."""
    with subprocess.Popen([PGHEIRCTL, "-d", "etcd3://" + filled.hosts()[0], "list", "noleader",
                           "-w", "0.1"], stdout=subprocess.PIPE, text=True) as process:
        seen = 0
        while seen < 3:
            seen += process.stdout.readline().startswith("+ Cluster: noleader")
        process.stdout.close()
        assert process.wait(20) != 0
