"""The story that scripts/demo tells. Arguments: a folder of its own, and --keep.

Uses the same small library as the end-to-end tests (tests/e2e/lib): real etcd, real PostgreSQL."""
import contextlib
import glob
import os
import pwd
import signal
import subprocess
import sys
import threading
import time

FOLDER = os.path.abspath(sys.argv[1])
KEEP = "--keep" in sys.argv[2:]
sys.path.insert(0, os.path.join(FOLDER, "lib"))

from cluster import (PASSWORDS, REST_PASSWORD, REST_USER, Cluster, children_of, find_bin,  # noqa: E402
                     send)
from etcd import EtcdCluster, wait_for  # noqa: E402

NODES = 3


def say(text=""):
    print(text, flush=True)


def title(text):
    say("\n== %s" % text)


def is_free(port):
    import socket
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Ports:
    """The published numbers, or the next free ones after them."""

    def __init__(self):
        self.taken = set()

    def take(self, wanted):
        port = wanted
        while port in self.taken or not is_free(port):
            port += 1
            if port > 65535:
                raise RuntimeError("no free port from %d on" % wanted)
        self.taken.add(port)
        return port


class DemoCluster(Cluster):
    def save_artefacts(self):
        """Nothing: the logs go with their folder, and show_failure() has shown what they say."""


class Story:
    def __init__(self, etcd, cluster):
        self.etcd, self.cluster = etcd, cluster

    def ctl(self, *arguments):
        """Runs pgheirctl as an operator would, and shows what it says."""
        config = self.cluster.nodes[0].config_path
        say("$ pgheirctl -c %s %s" % (config, " ".join(arguments)))
        result = subprocess.run([find_bin("pgheirctl"), "-c", config] + list(arguments),
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                timeout=60)
        say(result.stdout.rstrip())
        return result.returncode

    def watch(self, done, writer, timeout_s, what):
        """Once a second, until done: who leads, what each node says, how many rows were acknowledged."""
        begin = time.monotonic()
        before, moment = writer.ack_count(), begin
        while True:
            finished = done()
            acked, now = writer.ack_count(), time.monotonic()
            states = []
            for node in self.cluster.nodes:
                status = node.status(timeout_s=0.3) if node.is_running() else None
                if status is None:
                    states.append("%s: -" % node.name)
                else:
                    states.append("%s: %s %s" % (node.name, status["role"], status["state"]))
            say("  %4.1f s  leader key: %-6s  %s  rows/s %.0f" % (
                now - begin, self.cluster.key("leader") or "none", "  ".join(states),
                (acked - before) / max(now - moment, 0.001)))
            before, moment = acked, now
            if finished:
                return
            if time.monotonic() - begin > timeout_s:
                raise AssertionError("%s: not within %d s" % (what, timeout_s))
            wake = time.monotonic() + 1
            while time.monotonic() < wake and not done():
                time.sleep(0.02)

    def outage(self, writer, since, what):
        gap = writer.outage_s(since=since)
        say("  Write outage: %.2f s (longest time without an acknowledged row during the %s)"
            % (gap, what))

    def settle(self, count):
        wait_for(lambda: len(self.cluster.replicas()) >= count, 60, "%d replicas stream" % count)

    # The chapters.

    def begin(self):
        title("Three members of etcd, three nodes, all on 127.0.0.1, as user %s"
              % pwd.getpwuid(os.getuid()).pw_name)
        for node in self.cluster.nodes:
            say("  %s: PostgreSQL %d, REST %d" % (node.name, node.pg_port, node.rest_port))
        say("  etcd: %s" % ", ".join(self.etcd.client_urls()))
        moment = time.monotonic()
        self.cluster.start()
        self.cluster.wait_leader()
        self.settle(NODES - 1)
        say("  From three empty directories to a leader with two streaming replicas: %.1f s"
            % (time.monotonic() - moment))
        self.ctl("list")

    def lose_primary(self, writer):
        leader = self.cluster.wait_leader()
        title("A writer inserts rows; kill -9 of everything on %s, the primary" % leader.name)
        writer.wait_acks(200)
        moment = time.monotonic()
        leader.kill_all()

        def is_over():
            return writer.first_after(moment + 0.2) is not None and self.cluster.key("leader") not in \
                (None, leader.name)
        self.watch(is_over, writer, 60, "a new leader accepts writes")
        writer.wait_acks(50)
        self.outage(writer, moment, "failover; the lease of a dead machine lasts up to 5 s (ttl)")
        self.ctl("list")
        return leader

    def bring_back(self, node, writer):
        title("%s comes back: it compares histories and follows, rewound if it must be" % node.name)
        node.start()
        self.watch(lambda: len(self.cluster.replicas()) >= NODES - 1, writer, 90,
                   "%s streams" % node.name)
        for line in node.log_text().splitlines():
            if "reason=REWIND" in line or "reason=START_AS_STANDBY" in line:
                say("  log of %s: %s" % (node.name, line))

    def switch_over(self, writer, candidate):
        leader = self.cluster.wait_leader()
        title("A planned switchover, from %s to %s" % (leader.name, candidate.name))
        writer.wait_acks(100)
        moment = time.monotonic()
        code = self.ctl("switchover", self.cluster.scope, "--leader", leader.name, "--candidate",
                        candidate.name, "--force")
        if code != 0:
            raise AssertionError("pgheirctl switchover ended with %d" % code)
        wait_for(lambda: writer.first_after(moment, candidate.pg_port), 30, "writes on the candidate")
        writer.wait_acks(50)
        self.outage(writer, moment, "switchover")

    def prove(self, writer, killed_at_lsn):
        title("Is every acknowledged row there?")
        self.settle(NODES - 1)
        missing = self.cluster.missing(writer)
        say("  %d rows acknowledged, %d missing on the present primary" % (writer.ack_count(),
                                                                        len(missing)))
        if missing:
            say("  Replication is asynchronous here: rows acknowledged in the last moments before the "
                "kill may be lost,\n  at most maximum_lag_on_failover (%d bytes) plus what was written "
                "since the last published position (P4)." % self.cluster.dcs["maximum_lag_on_failover"])
        if len(missing) > killed_at_lsn:
            raise AssertionError("%d missing rows are more than P4 allows" % len(missing))

    def tell_where(self):
        title("Where things are")
        config = self.cluster.nodes[0].config_path
        say("  pgheirctl:  %s -c %s list" % (find_bin("pgheirctl"), config))
        for node in self.cluster.nodes:
            say("  %s:  psql -h 127.0.0.1 -p %d -U postgres   REST http://127.0.0.1:%d/patroni   log %s"
                % (node.name, node.pg_port, node.rest_port, node.log_path))
        say("  The password of postgres is %s; REST writes need %s:%s"
            % (PASSWORDS["superuser"], REST_USER, REST_PASSWORD))
        if not KEEP:
            say("  All of this ends and goes now; scripts/demo --keep leaves it up until Ctrl-C.")

    def tell(self):
        self.begin()
        with self.cluster.writer() as writer:
            rows_at_risk = self.rows_at_risk(writer)
            dead = self.lose_primary(writer)
            self.bring_back(dead, writer)
            self.switch_over(writer, dead)
        self.prove(writer, rows_at_risk)

    def rows_at_risk(self, writer):
        """How many rows P4 would allow to lose: what is written in one loop_wait, and 1 MiB of lag."""
        wait_for(lambda: writer.ack_count() >= 200, 30, "200 rows acknowledged")
        _, first, _ = writer.acks[0]
        rate = writer.ack_count() / max(time.monotonic() - first, 0.1)
        row_bytes = 64  # at least, in WAL
        return int(rate * self.cluster.dcs["loop_wait"]
                   + self.cluster.dcs["maximum_lag_on_failover"] / row_bytes)


def interruptible():
    """The first signal ends the story. Ctrl-C comes twice, from the terminal and from the script that
    started us, and nothing may disturb the cleaning up."""
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def stop(*_):
        for signo in signals:
            signal.signal(signo, lambda *_: None)
        raise KeyboardInterrupt
    for signo in signals:
        signal.signal(signo, stop)


def end_children():
    """A process that was being started when the story was broken off is known to nobody yet."""
    def none_left():
        pids = children_of(os.getpid())
        for pid in pids:
            send(pid, signal.SIGKILL)
        return not pids
    wait_for(none_left, 30, "all processes are gone")


def change(node, config):
    config["postgresql"]["parameters"] = {"unix_socket_directories": node.folder}
    return config


def show_failure(error):
    """With the ends of the logs, which go with their folder."""
    for path in sorted(glob.glob(os.path.join(FOLDER, "**", "*.log"), recursive=True)):
        with open(path, errors="replace") as log:
            print("\nThe last lines of %s:\n%s" % (path, "".join(log.readlines()[-15:])), file=sys.stderr)
    print("\nThe demo failed: %s\nEverything was cleaned up." % error, file=sys.stderr)


def main():
    interruptible()
    ports = Ports()
    etcd_ports, node_ports = [], []
    for n in range(1, NODES + 1):
        etcd_ports += [ports.take(2379 + 10 * n), ports.take(2380 + 10 * n)]
        node_ports += [ports.take(5432 + n), ports.take(8008 + n)]
    with contextlib.ExitStack() as stack:
        stack.callback(end_children)
        etcd = stack.enter_context(EtcdCluster(3, os.path.join(FOLDER, "etcd"), ports=etcd_ports))
        cluster = stack.enter_context(DemoCluster(NODES, os.path.join(FOLDER, "nodes"), etcd,
                                                  change=change, ports=node_ports))
        story = Story(etcd, cluster)
        story.tell()
        story.tell_where()
        if KEEP:
            say("\nThe cluster stays up until Ctrl-C.")
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
            say("\nCleaning up.")
    say("\nDone.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("\nInterrupted; everything was cleaned up.")
        sys.exit(130)
    except (AssertionError, RuntimeError, OSError, subprocess.SubprocessError) as error:
        show_failure(error)
        sys.exit(1)
