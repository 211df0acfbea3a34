"""Wrong input: broken files, foreign directories, names and ports that are taken, nonsense over REST. What is refused
is refused with a reason and changes nothing. One small cluster for all tests; the intruders come and go."""
import base64
import contextlib
import hashlib
import itertools
import json
import os
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from cluster import (FAST, PG_BIN, REST_PASSWORD, REST_USER, Cluster, find_bin, give_away,
                     unprivileged)
from etcd import PATIENCE_S, EtcdCluster, free_ports, wait_for
from shared import running_cluster


numbers = itertools.count(1)


@pytest.fixture(scope="module")
def shared_cluster():
    with running_cluster(1, "wrong", etcd_count=1) as cluster:
        yield cluster


@pytest.fixture
def cluster(request, shared_cluster):
    yield shared_cluster
    while len(shared_cluster.nodes) > 1:
        shared_cluster.nodes.pop().end()
    shared_cluster.change = lambda node, config: config
    leader = shared_cluster.wait_leader()
    failed = getattr(request.node, "failed", False)
    shared_cluster.failures += failed
    assert failed or leader is shared_cluster.nodes[0]


@pytest.fixture
def intruder(cluster, request):
    """A further member, not started, with a folder of its own."""
    node = cluster.add_node()
    node.name = "intruder%d" % next(numbers)  # a name that held data before would wait for its volume
    node.folder = os.path.join(cluster.folder, request.node.name.replace("[", "-").strip("]"))
    node.data_dir = os.path.join(node.folder, "data")
    node.config_path = os.path.join(node.folder, "pgheir.yml")
    node.log_path = os.path.join(node.folder, "pgheir.log")
    os.makedirs(node.folder)
    give_away(node.folder)
    return node


def change(cluster, node, function):
    """Only this node's file is different."""
    def changed(some, config):
        if some is node:
            function(config)
        return config
    cluster.change = changed


def refused(node, *texts, timeout_s=PATIENCE_S):
    """It ends with 1 by itself, and the log has these texts in one line that says why."""
    node.spawn()
    code = node.wait_end(timeout_s)
    log = node.log_text()
    assert code == 1, (code, log[-2000:])
    assert any(all(text in line for text in texts) for line in log.splitlines()), log[-3000:]
    return log


def tree(folder):
    """Every file with its content, to see whether anybody touched anything."""
    found = {}
    for path, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(path, name), "rb") as file:
                found[os.path.join(path, name)] = hashlib.sha256(file.read()).hexdigest()
    return found


# ---- Files ----

@pytest.mark.parametrize("section, key", [(None, "scope"), (None, "name"), ("etcd3", "hosts"),
                                          ("postgresql", "data_dir"), ("restapi", "listen")])
def test_missing_key(cluster, intruder, section, key):
    change(cluster, intruder, lambda c: (c if section is None else c[section]).pop(key))
    refused(intruder, key, "rror", intruder.config_path)
    assert not os.path.exists(intruder.data_dir)


@pytest.mark.parametrize("section, key, value", [
    ("restapi", "listen", 17), ("postgresql", "data_dir", ["a"]), ("postgresql", "parameters", "x"),
    ("etcd3", "hosts", {"a": 1}), (None, "bootstrap", {"dcs": {"ttl": "soon"}}),
    (None, "tags", {"nofailover": "perhaps"})])
def test_wrong_type(cluster, intruder, section, key, value):
    change(cluster, intruder, lambda c: (c if section is None else c[section]).update({key: value}))
    refused(intruder, key, "expected")
    assert not os.path.exists(intruder.data_dir)


def test_broken_yaml(cluster, intruder):
    """With the place."""
    intruder.write_config()
    with open(intruder.config_path, "a") as out:
        out.write("postgresql: {listen: [\n")
    intruder.write_config = lambda: None
    refused(intruder, "pgheir.yml:", "rror")


def test_unknown_key_is_a_warning(cluster, intruder):
    change(cluster, intruder, lambda c: c["postgresql"].update({"listenn": "x"}))
    intruder.start()
    wait_for(intruder.is_replica, PATIENCE_S, "%s follows; %s" % (intruder.name, cluster.logs()))
    assert any("WARNING" in line and "postgresql.listenn" in line
               for line in intruder.log_text().splitlines())


def test_validate_config_lists_all(cluster, intruder):
    def spoil(config):
        config["restapi"]["listen"] = 17
        config["postgresql"]["data_dir"] = [1]
        config["postgresql"]["bin_dir"] = 5
        del config["name"]
        config["scoope"] = "x"
    change(cluster, intruder, spoil)
    intruder.write_config()
    environment = dict(os.environ, PGHEIR_AGENT=find_bin("pgheir-agent"))
    done = subprocess.run([find_bin("pgheir"), "--validate-config", intruder.config_path],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=PATIENCE_S, env=environment, **unprivileged())
    assert done.returncode == 1, done.stdout
    for text in ("restapi.listen", "postgresql.data_dir", "name: missing", "scoope"):
        assert text in done.stdout, done.stdout
    change(cluster, intruder, lambda config: None)
    intruder.write_config()
    done = subprocess.run([find_bin("pgheir"), "--validate-config", intruder.config_path],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=PATIENCE_S, env=environment, **unprivileged())
    assert done.returncode == 0, done.stdout


# ---- etcd ----

FORWARD = """
import socket, sys, threading
def pump(a, b):
    try:
        while True:
            data = a.recv(65536)
            if not data: break
            b.sendall(data)
    except OSError: pass
    for s in (a, b):
        try: s.shutdown(socket.SHUT_RDWR)
        except OSError: pass
door = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    a = door.accept()[0]
    b = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
    for pair in ((a, b), (b, a)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""

@contextlib.contextmanager
def forwarded(port, to):
    forward = subprocess.Popen(["/usr/bin/python3", "-c", FORWARD, str(port), str(to)],
                               stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        forward.kill()
        forward.wait()


def start_without_etcd(cluster, node):
    """Returns the port at which it will look for etcd."""
    port = free_ports(1)[0]
    change(cluster, node, lambda c: c["etcd3"].update(hosts=["127.0.0.1:%d" % port]))
    node.spawn()
    wait_for(lambda: node.code("/liveness") == 200, PATIENCE_S, "/liveness; %s" % node.log_path)
    node.wait_log("etcd does not answer yet")
    return port


def test_unreachable_etcd(cluster, intruder):
    """Says so, answers /liveness, keeps trying, and joins when etcd is there."""
    port = start_without_etcd(cluster, intruder)
    assert intruder.code("/primary") == 503 and intruder.code("/health") == 503
    assert intruder.is_running() and not os.path.exists(intruder.data_dir)
    with forwarded(port, cluster.etcd.members[0].client_port):
        wait_for(intruder.is_replica, PATIENCE_S, "%s follows; %s" % (intruder.name, cluster.logs()))
        intruder.end()


def test_volume_missing_and_etcd_late(cluster, intruder):
    """An empty directory under a name that held data waits, also if etcd could not say so at first."""
    cluster.etcd.put("/service/%s/pgheir/seen/%s" % (cluster.scope, intruder.name), json.dumps(
        {"sysid": cluster.key("initialize"), "at": "2026-01-01T00:00:00Z"}))
    port = start_without_etcd(cluster, intruder)
    with forwarded(port, cluster.etcd.members[0].client_port):
        intruder.wait_log("reason=WAIT_VOLUME")
        wait_for(lambda: cluster.member(intruder), PATIENCE_S, "its key is there")
        assert "CLONE_BEGIN" not in intruder.log_text()
        assert not os.path.exists(intruder.data_dir)
        intruder.end()


def test_wrong_etcd_password(folder):
    with EtcdCluster(1, os.path.join(folder, "etcd")) as etcd:
        etcd.enable_auth()
        etcd.add_user("pgheir", "right", "/service/")

        def spoil(node, config):
            config["etcd3"].update(username="pgheir", password="wrong-secret")
            return config
        with Cluster(1, os.path.join(folder, "c"), etcd, change=spoil) as cluster:
            log = refused(cluster.nodes[0], "etcd refuses us")
            assert "wrong-secret" not in log
            cluster.change = lambda node, config: (config["etcd3"].update(
                username="pgheir", password="right"), config)[1]
            cluster.start()
            cluster.wait_leader()


# ---- Directories ----

def test_foreign_directory(cluster, intruder):
    os.makedirs(os.path.join(intruder.data_dir, "thesis"))
    with open(os.path.join(intruder.data_dir, "thesis", "chapter1"), "w") as out:
        out.write("irreplaceable")
    for path in (intruder.data_dir, os.path.join(intruder.data_dir, "thesis")):
        give_away(path)
    before = tree(intruder.data_dir)
    refused(intruder, intruder.data_dir)
    assert tree(intruder.data_dir) == before


def test_other_system_id(cluster, intruder):
    """Data of another cluster under our scope: both ids are named, the data is untouched."""
    subprocess.run([os.path.join(PG_BIN, "initdb"), "-D", intruder.data_dir, "-A", "trust", "-N"],
                   check=True, stdout=subprocess.DEVNULL, cwd="/", **unprivileged())
    control = subprocess.run([os.path.join(PG_BIN, "pg_controldata"), intruder.data_dir], check=True,
                             stdout=subprocess.PIPE, text=True, env=dict(os.environ, LC_ALL="C"),
                             **unprivileged()).stdout
    theirs = next(line.split(":")[1].strip() for line in control.splitlines()
                  if line.startswith("Database system identifier"))
    before = tree(intruder.data_dir)
    refused(intruder, theirs, cluster.key("initialize"))
    assert tree(intruder.data_dir) == before
    assert cluster.member(intruder) is None or cluster.member(intruder)["state"] != "running"


@pytest.mark.parametrize("key, value, texts", [
    ("bin_dir", "/nowhere/bin", ["postgresql.bin_dir", "/nowhere/bin/postgres", "No such file"]),
    ("data_dir", "/etc/passwd", ["postgresql.data_dir", "/etc/passwd", "not a directory"]),
    ("data_dir", "/nowhere/data", ["postgresql.data_dir", "/nowhere/data.pgheir", "make the folder above"])])
def test_paths_that_cannot_be(cluster, intruder, key, value, texts):
    change(cluster, intruder, lambda c: c["postgresql"].update({key: value}))
    refused(intruder, *texts)


def test_initdb_refuses(cluster, intruder):
    """Its words are in the log, and nothing is said of remains that are not there."""
    change(cluster, intruder, lambda c: (c.update(scope="other"),
                                         c["bootstrap"].update(initdb=[{"encoding": "klingon"}])))
    log = refused(intruder, "operation bootstrap failed", "klingon")
    assert "reason=BOOTSTRAP_FAILED" in log and "stays where it is" not in log
    assert not os.path.exists(intruder.data_dir)


# ---- What is taken ----

def test_rest_port_in_use(cluster, intruder):
    with socket.create_server(("127.0.0.1", intruder.rest_port)):
        refused(intruder, str(intruder.rest_port), "in use")
    assert not os.path.exists(intruder.data_dir)


def test_postgres_port_in_use(cluster, intruder):
    """It says so and keeps trying; the leader notices nothing."""
    with socket.create_server(("127.0.0.1", intruder.pg_port)):
        intruder.start()
        intruder.wait_log("could not bind")
        assert intruder.code("/liveness") == 200 and not intruder.is_replica()
    wait_for(intruder.is_replica, PATIENCE_S, "%s follows; %s" % (intruder.name, cluster.logs()))


def test_duplicate_name(cluster, intruder):
    leader = cluster.nodes[0]
    before = cluster.member(leader)["conn_url"]
    change(cluster, intruder, lambda c: c.update(name=leader.name))
    refused(intruder, "there is already a node named '%s' running" % leader.name)
    assert cluster.member(leader)["conn_url"] == before
    assert not os.path.exists(intruder.data_dir)


# ---- REST ----

def raw(node, method, path, data):
    """(code, text) of a request whose body is these bytes."""
    request = urllib.request.Request("http://%s:%d%s" % (node.host, node.rest_port, path), data=data,
                                     method=method)
    token = base64.b64encode(("%s:%s" % (REST_USER, REST_PASSWORD)).encode()).decode()
    request.add_header("Authorization", "Basic " + token)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize("method, path", [("PATCH", "/config"), ("PUT", "/config"),
                                          ("POST", "/switchover"), ("POST", "/failover")])
@pytest.mark.parametrize("data", [b"{", b"[1]", b"", b"\xff\xfe", b'{"a": 1} x', b"null",
                                  b"[" * 5000], ids=range(7))
def test_bad_json(cluster, method, path, data):
    before = cluster.key("config")
    code, text = raw(cluster.nodes[0], method, path, data)
    assert code == 400 and text, (code, text)
    assert cluster.key("config") == before


@pytest.mark.parametrize("key, value", [
    ("ttl", "soon"), ("ttl", [5]), ("loop_wait", -1), ("postgresql", "x"), ("synchronous_mode", {"a": 1}),
    ("maximum_lag_on_failover", "much"), ("postgresql", {"parameters": [1]}), ("slots", "x")])
def test_wrong_patch(cluster, key, value):
    before = cluster.key("config")
    code, text = cluster.nodes[0].rest("PATCH", "/config", {key: value, "retry_timeout": 3})
    assert code == 400 and key in text, (code, text)
    assert cluster.key("config") == before
    assert json.loads(before)["ttl"] == FAST["ttl"]
