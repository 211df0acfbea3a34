"""Real pgheir clusters on loopback: three processes of etcd, n members, writers that record what was acknowledged.

    with EtcdCluster(3, folder + "/etcd") as etcd, Cluster(3, folder, etcd) as cluster:
        cluster.start()
        leader = cluster.wait_leader()
        cluster.wait_replicas(2)
        with cluster.writer() as writer:
            leader.kill_all()                    kill -9 of supervisor, guard, agent, PostgreSQL
            cluster.wait_leader(other_than=leader)
            writer.wait_acks(10)
        writer.outage_s()                        longest time without an acknowledgement
        cluster.check_rows(writer)               no acknowledged row is missing

Binaries: PGHEIR_BIN names the folder with pgheir and pgheir-agent (default: the build tree in which we run).
Everything of PostgreSQL runs as the user postgres, or as we do if we are not root."""
import base64
import contextlib
import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

import psycopg2
import yaml

from etcd import PATIENCE_S, free_ports, wait_for

PG_BIN = os.environ.get("PG_BIN") or next(
    iter(sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)), "/usr/bin")
ASK_S = 10   # for one answer over REST, whoever needs it
POLL_S = 2   # where the next one may be asked
REST_USER, REST_PASSWORD = "admin", "rest-secret"
PASSWORDS = {"superuser": "super-secret", "replication": "repl-secret", "rewind": "rewind-secret"}
FAST = {"ttl": 5, "loop_wait": 1, "retry_timeout": 2}


def find_bin(name):
    folder = os.environ.get("PGHEIR_BIN") or os.getcwd()
    for path in (os.path.join(folder, name), os.path.join(folder, "..", "libexec", name)):
        if os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise RuntimeError("no %s in %s: build it, and name the folder in PGHEIR_BIN" % (name, folder))


def unprivileged():
    """Arguments for Popen: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def give_away(path):
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(path, user.pw_uid, user.pw_gid)


# ---- Processes ----

def proc_stat(pid):
    """(state, ppid, start) or None."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return fields[0], int(fields[1]), int(fields[19])
    except (OSError, IndexError):
        return None


def is_alive(pid):
    stat = proc_stat(pid)
    return stat is not None and stat[0] not in "ZX"


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children_of(pid):
    found = []
    for other in all_pids():
        stat = proc_stat(other)
        if stat is not None and stat[1] == pid and stat[0] not in "ZX":
            found.append(other)
    return found


def program_of(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as cmdline:
            return os.path.basename(cmdline.read().split(b"\0")[0].decode(errors="replace"))
    except OSError:
        return ""


def cwd_of(pid):
    try:
        return os.readlink("/proc/%d/cwd" % pid)
    except OSError:
        return ""


def pids_below(folder):
    """Processes that work in this folder, or have it in their command line."""
    found = []
    for pid in all_pids():
        with contextlib.suppress(OSError), open("/proc/%d/cmdline" % pid, "rb") as cmdline:
            if (cwd_of(pid) + "/").startswith(folder + "/") or folder.encode() + b"/" in cmdline.read():
                found.append(pid)
    return [pid for pid in found if is_alive(pid)]


def send(pid, signo):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signo)


# ---- A member ----

class Node:
    """One member: its folder, its ports, its processes."""

    host = "127.0.0.1"

    def __init__(self, cluster, idx, pg_port, rest_port):
        self.cluster = cluster
        self.idx = idx
        self.name = "node%d" % (idx + 1)
        self.pg_port, self.rest_port = pg_port, rest_port
        self.folder = os.path.join(cluster.folder, self.name)
        self.data_dir = os.path.join(self.folder, "data")
        self.config_path = os.path.join(self.folder, "pgheir.yml")
        self.log_path = os.path.join(self.folder, "pgheir.log")
        self.process = None
        os.makedirs(self.folder, exist_ok=True)
        give_away(self.folder)

    def __repr__(self):
        return self.name

    # Configuration.

    def config(self):
        own = {
            "scope": self.cluster.scope, "name": self.name, "namespace": "/service/",
            "restapi": {"listen": "%s:%d" % (self.host, self.rest_port),
                        "connect_address": "%s:%d" % (self.host, self.rest_port),
                        "authentication": {"username": REST_USER, "password": REST_PASSWORD}},
            "etcd3": {"hosts": self.cluster.etcd_hosts},
            "bootstrap": {"dcs": self.cluster.dcs,
                          "initdb": [{"encoding": "UTF8"}, {"locale": "C"}, {"auth": "scram-sha-256"},
                                     "data-checksums"]},
            "postgresql": {
                "listen": "%s:%d" % (self.host, self.pg_port),
                "connect_address": "%s:%d" % (self.host, self.pg_port),
                "data_dir": self.data_dir, "bin_dir": PG_BIN,
                "authentication": {
                    "superuser": {"username": "postgres", "password": PASSWORDS["superuser"]},
                    "replication": {"username": "replicator", "password": PASSWORDS["replication"]},
                    "rewind": {"username": "rewinder", "password": PASSWORDS["rewind"]}},
                "pg_hba": ["local all all scram-sha-256",
                           "host all all 127.0.0.1/32 scram-sha-256",
                           "host replication replicator 127.0.0.1/32 scram-sha-256"],
                "parameters": {"unix_socket_directories": self.folder, "fsync": "off",
                               "shared_buffers": "16MB"}},
            "tags": {}, "log": {"level": os.environ.get("PGHEIR_TEST_LOG", "INFO")}}
        return self.cluster.change(self, own) or own

    def write_config(self):
        with open(self.config_path, "w") as out:
            yaml.safe_dump(self.config(), out)
        os.chmod(self.config_path, 0o600)
        give_away(self.config_path)

    # Life.

    def spawn(self, env=None):
        assert self.process is None
        self.write_config()
        environment = {k: v for k, v in os.environ.items()
                       if not k.startswith(("PATRONI_", "PGHEIR_", "PG"))}
        environment["PGHEIR_AGENT"] = find_bin("pgheir-agent")
        environment.update(env or {})
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([find_bin("pgheir"), self.config_path], stdout=log,
                                            stderr=log, stdin=subprocess.DEVNULL, cwd="/",
                                            env=environment, start_new_session=True,
                                            **unprivileged())

    def start(self):
        """Starts it and waits until its REST API answers."""
        self.spawn()
        wait_for(self.is_listening, PATIENCE_S, "%s answers, see %s" % (self.name, self.log_path))

    def is_listening(self):
        if self.process.poll() is not None:
            raise AssertionError("%s has ended with %s, see %s" % (self.name, self.process.returncode,
                                                                  self.log_path))
        return self.status(POLL_S) is not None

    def stop(self, timeout_s=PATIENCE_S):
        """SIGTERM, as the service manager does it. Returns the exit code."""
        self.process.terminate()
        return self.wait_end(timeout_s)

    def wait_end(self, timeout_s=PATIENCE_S):
        code = self.process.wait(timeout=timeout_s)
        self.process = None
        return code

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    # Processes by role.

    def pid(self, role):
        """Of "supervisor", "agent", "guard" or "postmaster"; None if there is none."""
        if role == "postmaster":
            return self.postmaster_pid()
        if not self.is_running():
            return None
        if role == "supervisor":
            return self.process.pid
        for child in children_of(self.process.pid):
            program = program_of(child)
            if role == "agent" and program == "pgheir-agent":
                return child
            if role == "guard" and program == "pgheir":
                return child
        return None

    def postmaster_pid(self):
        try:
            with open(os.path.join(self.data_dir, "postmaster.pid")) as pidfile:
                pid = int(pidfile.readline())
        except (OSError, ValueError):
            return None
        return pid if is_alive(pid) and cwd_of(pid) == self.data_dir else None

    def postgres_pids(self):
        """Everything that works in the data directory: postmaster and backends."""
        return [p for p in all_pids() if cwd_of(p) == self.data_dir and is_alive(p)]

    def pids(self):
        own = [] if self.process is None else [self.process.pid] + children_of(self.process.pid)
        return list(dict.fromkeys([p for p in own if is_alive(p)] + self.postgres_pids()))

    def kill(self, role, signo=signal.SIGKILL):
        """Returns the pid that got the signal."""
        pid = self.pid(role)
        assert pid is not None, "%s has no %s" % (self.name, role)
        os.kill(pid, signo)
        return pid

    def kill_all(self, signo=signal.SIGKILL):
        """Signals supervisor, guard, agent and all of PostgreSQL, as when a machine goes down. With SIGKILL
        nothing is left when it returns."""
        pids = self.pids()
        for pid in pids:
            send(pid, signo)
        if signo == signal.SIGKILL:
            if self.process is not None:
                self.process.wait(timeout=PATIENCE_S)
                self.process = None
            for pid in self.pids():
                send(pid, signal.SIGKILL)
            wait_for(lambda: not self.pids(), PATIENCE_S, "no process of %s is left" % self.name)

    def end(self):
        """For the end of a test: without ceremony, whatever state it is in. Also ends what is not ours any more, as a
        keeper from a pause."""
        def none_left():
            pids = self.pids() + pids_below(self.folder)
            for pid in pids:
                send(pid, signal.SIGKILL)
            return not pids
        wait_for(none_left, PATIENCE_S, "no process of %s is left" % self.name)
        if self.process is not None:
            self.process.wait(timeout=PATIENCE_S)
        self.process = None

    # REST and SQL.

    def rest(self, method, path, body=None, timeout_s=ASK_S):
        """(code, text); (None, reason) if nobody answers."""
        request = urllib.request.Request("http://%s:%d%s" % (self.host, self.rest_port, path),
                                         method=method)
        token = base64.b64encode(("%s:%s" % (REST_USER, REST_PASSWORD)).encode()).decode()
        request.add_header("Authorization", "Basic " + token)
        data = None
        if body is not None or method in ("POST", "PUT", "PATCH"):
            data = json.dumps(body).encode() if body is not None else b""
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, data=data, timeout=timeout_s) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, urllib.error.URLError) as error:
            return None, str(error)

    def code(self, path, timeout_s=ASK_S):
        return self.rest("GET", path, timeout_s=timeout_s)[0]

    def status(self, timeout_s=ASK_S):
        """GET /patroni as an object, or None."""
        code, text = self.rest("GET", "/patroni", timeout_s=timeout_s)
        return json.loads(text) if code == 200 else None

    def says(self, name, unanswered=None):
        """One field of GET /patroni; None if it is not there."""
        status = self.status(POLL_S)
        return unanswered if status is None else status.get(name)

    def is_leader(self):
        return self.is_running() and self.code("/leader", POLL_S) == 200

    def is_replica(self):
        """A replica that streams."""
        status = self.status(POLL_S) if self.is_running() else None
        return (status is not None and status["role"] == "replica" and status["state"] == "running" and
                status.get("replication_state") == "streaming")

    def connect(self, user="postgres", password=None, timeout_s=ASK_S, dbname="postgres", **options):
        connection = psycopg2.connect(
            host=self.host, port=self.pg_port, user=user, dbname=dbname,
            password=password or PASSWORDS["superuser"], connect_timeout=timeout_s, **options)
        connection.autocommit = True
        return connection

    def sql(self, statement, *parameters):
        """Rows of one statement."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else None

    def value(self, statement, *parameters):
        return self.sql(statement, *parameters)[0][0]

    def log_text(self):
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def wait_log(self, text, timeout_s=PATIENCE_S, since=0):
        wait_for(lambda: text in self.log_text()[since:], timeout_s,
                 "%r in %s" % (text, self.log_path))

    def memory_bytes(self):
        """Private_Dirty of supervisor, guard and agent together."""
        total = 0
        for role in ("supervisor", "guard", "agent"):
            with open("/proc/%d/smaps_rollup" % self.pid(role)) as smaps:
                total += sum(int(line.split()[1]) for line in smaps
                             if line.startswith("Private_Dirty")) * 1024
        return total


# ---- Writers ----

class Writer:
    """Inserts one row per transaction wherever writes are accepted, and records each acknowledgement with its
    time and server. Rows are (writer, number): a number is used once, whatever came of it."""

    def __init__(self, cluster, idx, table):
        self.cluster, self.idx, self.table = cluster, idx, table
        self.acks = []      # (number, monotonic seconds, port)
        self.errors = []    # (monotonic seconds, text)
        self.number = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        self.stopping.set()
        self.thread.join(timeout=PATIENCE_S)

    def run(self):
        connection = None
        while not self.stopping.is_set():
            try:
                if connection is None:
                    connection, cursor, port = self.open()
                self.number += 1
                cursor.execute("INSERT INTO %s VALUES (%%s, %%s)" % self.table,
                               (self.idx, self.number))
                self.acks.append((self.number, time.monotonic(), port))
            except psycopg2.Error as error:
                self.errors.append((time.monotonic(), str(error).strip()))
                if connection is not None:
                    connection.close()
                connection = None
                time.sleep(0.005)
        if connection is not None:
            connection.close()

    def open(self):
        nodes = self.cluster.nodes
        connection = psycopg2.connect(
            host=",".join(n.host for n in nodes), port=",".join(str(n.pg_port) for n in nodes),
            user="postgres", password=PASSWORDS["superuser"], dbname="postgres",
            target_session_attrs="read-write", connect_timeout=2,
            options="-c statement_timeout=10000", tcp_user_timeout=3000)
        connection.autocommit = True
        return connection, connection.cursor(), connection.info.port

    def ack_count(self):
        return len(self.acks)

    def wait_acks(self, count, timeout_s=PATIENCE_S):
        """Waits for so many more acknowledgements from now on."""
        wanted = len(self.acks) + count
        wait_for(lambda: len(self.acks) >= wanted, timeout_s,
                 "%d more rows acknowledged (last error: %s)" % (count,
                                                                self.errors[-1:] or "none"))

    def outage_s(self, since=None):
        """Longest time between two acknowledgements, the second of them after `since`."""
        times = [t for _, t, _ in self.acks]
        gaps = [b - a for a, b in zip(times, times[1:]) if since is None or b >= since]
        return max(gaps, default=0)

    def first_after(self, moment, port=None):
        """Time of the first acknowledgement after moment, of this server if port is given."""
        return next((t for _, t, p in self.acks if t > moment and port in (None, p)), None)

    def last_on(self, port):
        return max((t for _, t, p in self.acks if p == port), default=None)

    def by_server(self):
        """Runs of acknowledgements by one server: [(port, first, last)]."""
        runs = []
        for _, moment, port in self.acks:
            if runs and runs[-1][0] == port:
                runs[-1][2] = moment
            else:
                runs.append([port, moment, moment])
        return [tuple(run) for run in runs]


# ---- The cluster ----

# Those that live, or have ended in the test that runs.
clusters = []


class Cluster:
    """n members of one scope. etcd: an EtcdCluster that runs. change(node, config): changes or replaces the
    configuration of a member before it is written. ports: of PostgreSQL and REST of each, in turn."""

    node_class = Node

    def __init__(self, n, folder, etcd, scope="demo", dcs=None, change=None, ports=None):
        self.folder = str(folder)
        self.scope = scope
        self.etcd = etcd
        self.etcd_hosts = etcd.hosts() if etcd is not None else ["127.0.0.1:1"]
        self.dcs = dict(FAST, maximum_lag_on_failover=1048576,
                        postgresql={"use_pg_rewind": True, "use_slots": True,
                                    "parameters": {"max_connections": 50, "wal_keep_size": "256MB"}})
        self.dcs.update(dcs or {})
        self.change = change or (lambda node, config: config)
        self.writers = 0
        self.ended = False
        clusters.append(self)
        os.makedirs(self.folder, exist_ok=True)
        os.chmod(self.folder, 0o755)
        ports = ports or free_ports(2 * n)
        self.nodes = [self.node_class(self, i, ports[2 * i], ports[2 * i + 1]) for i in range(n)]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.end()
        if kind is not None:
            self.save_artefacts()

    def end(self):
        self.ended = True
        with contextlib.ExitStack() as stack:  # each of them, whatever becomes of the others
            for node in self.nodes:
                stack.callback(node.end)

    def save_artefacts(self):
        """Configuration and logs of a failed test, where PGHEIR_ARTEFACTS names a folder."""
        folder = os.environ.get("PGHEIR_ARTEFACTS")
        if not folder:
            print("logs: %s" % " ".join(n.log_path for n in self.nodes))
            return
        for node in self.nodes:
            to = os.path.join(folder, os.path.basename(self.folder), node.name)
            os.makedirs(to, exist_ok=True)
            for path in (node.config_path, node.log_path):
                if os.path.exists(path):
                    shutil.copy(path, to)
        print("artefacts: %s" % folder)

    def add_node(self):
        """A further member with an empty directory; not started."""
        ports = free_ports(2)
        node = self.node_class(self, len(self.nodes), *ports)
        self.nodes.append(node)
        return node

    def start(self):
        """All at once, as after a power cut."""
        for node in self.nodes:
            if not node.is_running():
                node.process = None
                node.spawn()
        for node in self.nodes:
            wait_for(node.is_listening, PATIENCE_S, "%s answers, see %s" % (node.name, node.log_path))

    def running(self):
        return [n for n in self.nodes if n.is_running()]

    def leader(self):
        """The member whose /leader says 200, or None. Two of them are an error."""
        leaders = [n for n in self.running() if n.is_leader()]
        assert len(leaders) <= 1, "two leaders: %s" % leaders
        return leaders[0] if leaders else None

    def wait_leader(self, timeout_s=PATIENCE_S, other_than=None):
        """Waits for a leader that accepts writes."""
        def found():
            leader = self.leader()
            return leader if leader is not None and leader is not other_than and \
                leader.code("/primary", POLL_S) == 200 else None
        return wait_for(found, timeout_s, "a leader%s; %s" % (
            "" if other_than is None else " other than %s" % other_than.name, self.logs()))

    def logs(self):
        return "logs: " + " ".join(n.log_path for n in self.nodes)

    def replicas(self):
        return [n for n in self.running() if n.is_replica()]

    def wait_replicas(self, count, timeout_s=PATIENCE_S):
        """Waits until so many members stream, as both ends see it, and returns them."""
        def found():
            replicas = self.replicas()
            leader = self.leader() if len(replicas) >= count else None
            with contextlib.suppress(psycopg2.Error):
                if leader is not None and leader.value(
                        "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") >= count:
                    return replicas
            return None
        return wait_for(found, timeout_s, "%d replicas that stream; %s" % (count, self.logs()))

    def key(self, name):
        """Value of a key of the cluster."""
        return self.etcd.get("/service/%s/%s" % (self.scope, name))

    def member(self, node):
        text = self.key("members/" + node.name)
        return json.loads(text) if text is not None else None

    def history(self):
        return json.loads(self.key("history") or "[]")

    def writer(self):
        """A writer into a table of its own; the table is made on the leader first."""
        self.writers += 1
        table = "acks%d" % self.writers
        self.wait_leader().sql("CREATE TABLE %s (writer int, number bigint, "
                               "PRIMARY KEY (writer, number))" % table)
        return Writer(self, self.writers, table)

    def missing(self, writer, node=None):
        """Acknowledged numbers that the leader (or node) does not have."""
        node = node or self.wait_leader()
        rows = {row[0] for row in node.sql("SELECT number FROM %s" % writer.table)}
        return [number for number, _, _ in writer.acks if number not in rows]

    def check_rows(self, writer):
        missing = self.missing(writer)
        assert not missing, "%d of %d acknowledged rows are missing, first %d" % (
            len(missing), writer.ack_count(), missing[0])

    def switchover(self, leader, candidate=None, via=None, timeout_s=PATIENCE_S):
        """POST /switchover; (code, text)."""
        body = {"leader": leader.name}
        if candidate is not None:
            body["candidate"] = candidate.name
        return (via or leader).rest("POST", "/switchover", body, timeout_s=timeout_s)
