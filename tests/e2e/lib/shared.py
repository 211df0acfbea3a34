"""One cluster for all tests of a module, healed between them, and writers that see every server.

    with running_cluster(3, "processes") as cluster: ...
    heal(cluster)                       every member runs, one leads, the others stream
    with each_server(cluster) as watch: one writer per server, glued to it
        ...
    watch.check_one_at_a_time()         no server acknowledged after another had begun to

A writer of the cluster moves from server to server, so it cannot see two of them acknowledging at once; writers
that are glued to their servers, and keep their sessions while those are frozen, can."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import psycopg2

from cluster import Cluster, find_bin, is_alive, pids_below, proc_stat, send
from etcd import PATIENCE_S, EtcdCluster, wait_for

# Speed is what scripts/bench measures; here a role change must only not be stuck.
STUCK_S = 30
# After the supervisor's death. It is milliseconds; the threads that take the time may have to wait for a processor.
LAST_ACK_S = 1.0


@contextlib.contextmanager
def running_cluster(n, name, etcd_count=3, **options):
    """n members that stream, on an etcd of their own. The folder is kept if a test of the module failed."""
    folder = tempfile.mkdtemp(prefix="pgheir-%s-" % name)
    os.chmod(folder, 0o755)
    with EtcdCluster(etcd_count, os.path.join(folder, "etcd")) as etcd, \
            Cluster(n, os.path.join(folder, "c"), etcd, scope=name, **options) as cluster:
        cluster.failures = 0
        cluster.start()
        cluster.wait_leader()
        if n > 1:
            cluster.wait_replicas(n - 1)
        yield cluster
        if cluster.failures:
            cluster.save_artefacts()
    if cluster.failures:
        print("kept: %s" % folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def heal(cluster, timeout_s=PATIENCE_S):
    """Everybody runs and streams again, whatever a test did or left undone. Returns the leader."""
    for member in cluster.etcd.running():
        member.resume()
    cluster.etcd.start()
    for pid in pids_below(cluster.folder):
        send(pid, signal.SIGCONT)
    for node in cluster.nodes:
        if node.process is not None and node.process.poll() is not None:
            node.process = None
        if node.process is None:
            node.spawn()
    for node in cluster.nodes:
        wait_for(node.is_listening, PATIENCE_S, "%s answers, see %s" % (node.name, node.log_path))
    if json.loads(cluster.key("config") or "{}").get("pause"):
        cluster.nodes[0].rest("PATCH", "/config", {"pause": None})
    cluster.wait_leader(timeout_s)
    cluster.wait_replicas(len(cluster.nodes) - 1, timeout_s)
    return cluster.wait_leader(timeout_s)


def wait_caught_up(cluster, timeout_s=PATIENCE_S):
    """Every running replica has what the leader has written."""
    leader = cluster.wait_leader()
    target = leader.value("SELECT pg_current_wal_lsn()::text")

    def done():
        return all(n.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", target)
                   for n in cluster.replicas())
    wait_for(done, timeout_s, "replicas at %s; %s" % (target, cluster.logs()))


def pgheirctl(cluster, *arguments, timeout_s=2 * PATIENCE_S):
    """(exit code, output and errors) of pgheirctl with the configuration of a member."""
    done = subprocess.run([find_bin("pgheirctl"), "-c", cluster.nodes[0].config_path, *arguments],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=timeout_s)
    return done.returncode, done.stdout


def freeze(pids):
    """SIGSTOP; returns when all of them stand still."""
    for pid in pids:
        send(pid, signal.SIGSTOP)
    wait_for(lambda: all((proc_stat(p) or "Z")[0] in "TtZX" for p in pids), PATIENCE_S, "%s stopped" % pids)
    return pids


def thaw(pids):
    for pid in pids:
        send(pid, signal.SIGCONT)


def wait_gone(pids, what):
    wait_for(lambda: not any(is_alive(p) for p in pids), PATIENCE_S, what)


class ServerWriter:
    """Inserts at one server, whatever its role, and keeps its session as long as it lives."""

    def __init__(self, node, table, idx):
        self.node, self.table, self.idx = node, table, idx
        self.acks = []  # (number, monotonic seconds)
        self.number = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        connection = cursor = None
        while not self.stopping.is_set():
            try:
                if connection is None:
                    connection = self.node.connect(timeout_s=2)
                    cursor = connection.cursor()
                self.number += 1
                cursor.execute("INSERT INTO %s VALUES (%%s, %%s)" % self.table,
                               (self.idx, self.number))
                self.acks.append((self.number, time.monotonic()))
                time.sleep(0.002)
            except psycopg2.errors.ReadOnlySqlTransaction:
                time.sleep(0.02)
            except psycopg2.Error:
                with contextlib.suppress(psycopg2.Error, AttributeError):
                    connection.close()
                connection = None
                time.sleep(0.02)


class EachServer:
    """See above. Rows are (index of the server, number)."""

    def __init__(self, cluster):
        self.cluster = cluster
        cluster.writers += 1
        self.table = "each%d" % cluster.writers
        cluster.wait_leader().sql("CREATE TABLE %s (writer int, number bigint, "
                                  "PRIMARY KEY (writer, number))" % self.table)
        self.writers = {n.name: ServerWriter(n, self.table, n.idx) for n in cluster.nodes}

    def __enter__(self):
        for writer in self.writers.values():
            writer.thread.start()
        return self

    def __exit__(self, *exc):
        for writer in self.writers.values():
            writer.stopping.set()
        for writer in self.writers.values():
            writer.thread.join(timeout=PATIENCE_S)

    def acks(self, node):
        return self.writers[node.name].acks

    def last(self, node):
        """Moment of the last acknowledgement by this server, or None."""
        acks = self.acks(node)
        return acks[-1][1] if acks else None

    def first_after(self, node, moment):
        return next((t for _, t in self.acks(node) if t > moment), None)

    def wait_acks(self, node, count, timeout_s=PATIENCE_S):
        wanted = len(self.acks(node)) + count
        wait_for(lambda: len(self.acks(node)) >= wanted, timeout_s,
                 "%d rows acknowledged by %s; %s" % (count, node.name, self.cluster.logs()))

    def runs(self):
        """[(name, first, last)] in the order of time, a run ending where another server's begins."""
        every = sorted((t, name) for name, w in self.writers.items() for _, t in list(w.acks))
        runs = []
        for moment, name in every:
            if runs and runs[-1][0] == name:
                runs[-1][2] = moment
            else:
                runs.append([name, moment, moment])
        return runs

    def check_one_at_a_time(self, changes=None):
        """Each server's acknowledgements are one stretch, and there were so many changes of server. Tests that
        want a server to lead twice use a watch for each time."""
        runs = self.runs()
        names = [name for name, _, _ in runs]
        assert len(names) == len(set(names)), "servers took turns: %s" % runs
        if changes is not None:
            assert len(runs) == changes + 1, runs

    def missing(self, node=None):
        """Acknowledged rows, (server, number), that the leader (or node) does not have."""
        rows = set((node or self.cluster.wait_leader()).sql(
            "SELECT writer, number FROM %s" % self.table))
        return [(w.idx, number) for w in self.writers.values() for number, _ in w.acks
                if (w.idx, number) not in rows]
