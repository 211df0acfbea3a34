"""docker/: an image in which pgheir is PID 1, and a compose file. The cluster heals by itself after what docker
can do to a container. Needs a Docker engine; the base image is made locally if no registry has brought it
(docker/offline-base.sh)."""
import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
sys.path.insert(0, os.path.join(TOP, "tests", "e2e", "lib"))

from etcd import PATIENCE_S, free_ports, wait_for  # noqa: E402

NODES = ("node1", "node2", "node3")


def engine_missing():
    """Why this cannot be tried here, or None."""
    if os.environ.get("PGHEIR_SANITIZERS"):
        return "the image is the same whatever this build is: tried once is enough"
    if shutil.which("docker") is None:
        return "no docker command on this machine"
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return "the Docker engine does not answer"
    if done.returncode != 0:
        return "no Docker engine: " + done.stderr.strip()[-200:]
    if compose_command() is None:
        return "neither docker compose nor docker-compose on this machine"
    return None


def compose_command():
    for command in (["docker", "compose"], ["docker-compose"]):
        with contextlib.suppress(OSError):
            if subprocess.run(command + ["version"], capture_output=True).returncode == 0:
                return command
    return None


WHY_NOT = engine_missing()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or "")


class Compose:
    def __init__(self, project, environment):
        self.project, self.environment = project, environment
        self.base = compose_command() + ["-p", project, "-f",
                                         os.path.join(TOP, "docker", "compose.yaml")]
        self.ids = {}

    def run(self, *arguments, check=True, timeout=900):
        done = subprocess.run(self.base + list(arguments), capture_output=True, text=True,
                              env=self.environment, timeout=timeout, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise AssertionError("%s: %s" % (" ".join(arguments), (done.stdout + done.stderr)[-2000:]))
        return done.stdout

    def id_of(self, service):
        """Asked once: a container keeps its id through stop and start, and asking is slow."""
        if service not in self.ids:
            self.ids[service] = self.run("ps", "-q", service).strip().splitlines()[0]
        return self.ids[service]

    def inside(self, service, *command, timeout=PATIENCE_S):
        return subprocess.run(["docker", "exec", self.id_of(service)] + list(command),
                              capture_output=True, text=True, timeout=timeout)


def docker(*arguments, timeout=120):
    return subprocess.run(["docker"] + list(arguments), check=True, capture_output=True, text=True,
                          timeout=timeout).stdout


class Cluster:
    def __init__(self, compose):
        self.compose = compose

    def key(self, name):
        for etcd in ("etcd1", "etcd2", "etcd3"):
            done = self.compose.inside(etcd, "etcdctl", "get", "--print-value-only",
                                       "/service/demo/" + name)
            if done.returncode == 0:
                return done.stdout.strip() or None
        raise AssertionError(done.stderr)

    def members(self, ask):
        """Rows of pgheirctl list, asked in a container that runs."""
        done = self.compose.inside(ask, "pgheirctl", "list", "-f", "json")
        return json.loads(done.stdout) if done.returncode == 0 else []

    def streaming(self, ask):
        return [row["Member"] for row in self.members(ask) if row.get("State") == "streaming"]

    def sql(self, node, statement, timeout=PATIENCE_S):
        script = "PGPASSWORD=$(cat /run/secrets/superuser_password) exec psql -qXAt -h 127.0.0.1 " \
                 "-U postgres -v ON_ERROR_STOP=1 -c \"$0\""
        return self.compose.inside(node, "sh", "-c", script, statement, timeout=timeout)

    def is_primary(self, node):
        with contextlib.suppress(subprocess.SubprocessError):
            return self.compose.inside(node, "curl", "-fs", "-o", "/dev/null", "-m", "2",
                                       "http://127.0.0.1:8008/primary").returncode == 0
        return False

    def wait_leader(self, other_than=None, timeout_s=PATIENCE_S):
        def found():
            leader = self.key("leader")
            return leader if leader not in (None, other_than) and self.is_primary(leader) else None
        return wait_for(found, timeout_s, "a leader other than %s" % other_than)

    def others(self, name):
        return [n for n in NODES if n != name]

    def wait_whole(self, timeout_s=120):
        leader = self.wait_leader()
        wait_for(lambda: len(self.streaming(leader)) == 2, timeout_s, "two members stream: %s"
                 % self.members(leader))
        return leader


@pytest.fixture(scope="module")
def shared_cluster():
    subprocess.run([os.path.join(TOP, "docker", "offline-base.sh")], check=True, timeout=900)
    subprocess.run([os.path.join(TOP, "docker", "secrets", "make.sh")], check=True)
    environment = dict(os.environ, BUILD_NETWORK="host", DOCKER_BUILDKIT="0",
                       COMPOSE_DOCKER_CLI_BUILD="0")
    ports = free_ports(6)
    for n in range(3):
        environment["NODE%d_PG_PORT" % (n + 1)] = str(ports[2 * n])
        environment["NODE%d_REST_PORT" % (n + 1)] = str(ports[2 * n + 1])
    compose = Compose("pgheirtest%d" % os.getpid(), environment)
    try:
        compose.run("build", "etcd1", "node1", timeout=1800)
        compose.run("up", "-d", "--no-build")
        made = Cluster(compose)
        made.wait_whole(180)
        yield made
    except BaseException:
        with contextlib.suppress(Exception):
            print(compose.run("logs", "--tail=60", check=False))
        raise
    finally:
        compose.run("down", "-v", "--timeout", "5", check=False)


@pytest.fixture
def cluster(request, shared_cluster):
    """Whole again, whatever the test before left undone."""
    for node in NODES:
        docker("start", shared_cluster.compose.id_of(node))
    yield shared_cluster
    if getattr(request.node, "failed", False):
        print(shared_cluster.compose.run("logs", "--tail=60", *NODES, check=False))


class Writer:
    """Numbers inserted through any node that takes them; what was acknowledged is kept."""

    def __init__(self, cluster):
        self.cluster, self.acked, self.number = cluster, [], 0
        self.stopping = threading.Event()
        leader = cluster.wait_leader()
        made = cluster.sql(leader, "CREATE TABLE IF NOT EXISTS acks (n bigint PRIMARY KEY)")
        assert made.returncode == 0, made.stderr
        self.number = int(cluster.sql(leader, "SELECT coalesce(max(n), 0) FROM acks").stdout) + 1000
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        wait_for(lambda: len(self.acked) > 3, PATIENCE_S, "rows are acknowledged")
        return self

    def __exit__(self, *exc):
        self.stopping.set()
        self.thread.join(timeout=PATIENCE_S)

    def run(self):
        node = 0
        while not self.stopping.is_set():
            self.number += 1
            try:
                done = self.cluster.sql(NODES[node], "INSERT INTO acks VALUES (%d)" % self.number,
                                        timeout=5)
                worked = done.returncode == 0
            except (subprocess.SubprocessError, AssertionError, IndexError):
                worked = False
            if worked:
                self.acked.append((self.number, time.monotonic()))
            else:
                node = (node + 1) % len(NODES)

    def check_rows(self):
        leader = self.cluster.wait_leader()
        rows = {int(n) for n in self.cluster.sql(leader, "SELECT n FROM acks").stdout.split()}
        missing = [n for n, _ in self.acked if n not in rows]
        assert len(missing) <= 1, "%d of %d rows are missing" % (len(missing), len(self.acked))


def test_pgheir_is_pid_1_and_unprivileged(cluster):
    done = cluster.compose.inside("node1", "sh", "-c", "cat /proc/1/comm; stat -c %U /proc/1")
    assert done.stdout.split() == ["pgheir", "postgres"]


def test_etcdctl_shows_the_leader_key(cluster):
    assert cluster.key("leader") == cluster.wait_leader()


def test_secrets_reach_no_process_list_and_no_environment(cluster):
    secret = open(os.path.join(TOP, "docker", "secrets", "superuser_password")).read().strip()
    seen = cluster.compose.inside("node1", "sh", "-c",
                                  "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'")
    assert "pgheir" in seen.stdout and secret not in seen.stdout
    assert secret not in docker("inspect", cluster.compose.id_of("node1"))


def test_docker_kill(cluster):
    old = cluster.wait_whole()
    container = cluster.compose.id_of(old)
    with Writer(cluster) as writer:
        docker("kill", container)
        cluster.wait_leader(other_than=old)
        docker("start", container)
        cluster.wait_whole()
    writer.check_rows()


def test_docker_stop_hands_over(cluster):
    old = cluster.wait_whole()
    container = cluster.compose.id_of(old)
    with Writer(cluster) as writer:
        docker("stop", "-t", "60", container)
        state = json.loads(docker("inspect", container))[0]["State"]
        assert state["ExitCode"] == 0, state
        cluster.wait_leader(other_than=old)
        docker("start", container)
        cluster.wait_whole()
    writer.check_rows()


def test_docker_pause(cluster):
    old = cluster.wait_whole()
    container = cluster.compose.id_of(old)
    docker("pause", container)
    try:
        def new_leader():
            leader = cluster.key("leader")
            return leader not in (None, old) and cluster.is_primary(leader)
        wait_for(new_leader, PATIENCE_S, "somebody else leads while %s is frozen" % old)
    finally:
        docker("unpause", container)
    cluster.wait_whole()
    assert not cluster.is_primary(old)


def test_disconnected_network(cluster):
    old = cluster.wait_whole()
    container = cluster.compose.id_of(old)
    network = next(iter(json.loads(docker("inspect", container))[0]["NetworkSettings"]["Networks"]))
    docker("network", "disconnect", network, container)
    try:
        wait_for(lambda: cluster.key("leader") not in (None, old) and
                 cluster.is_primary(cluster.key("leader")), PATIENCE_S, "somebody reachable leads")
        assert not cluster.is_primary(old)
    finally:
        docker("network", "connect", "--alias", old, network, container)
    cluster.wait_whole()
