"""etcd hosts given as names, and a name server that falls silent. Every member runs in mount namespaces of its own,
whose /etc/resolv.conf names our server and whose /etc/hosts knows nothing."""
import contextlib
import os
import socket
import struct
import subprocess
import threading
import time

import pytest

from cluster import FAST, Cluster, Node, find_bin
from etcd import PATIENCE_S, wait_for

TTL_S = FAST["ttl"]
FRESH_S = 30  # for so long an answer is not asked for again
ZONE = "dns.test"


def why_not():
    if os.geteuid() != 0:
        return "mount namespaces need root"
    done = subprocess.run(["unshare", "-m", "true"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if done.returncode != 0:
        return "unshare -m: %s" % done.stdout.strip()
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as door:
        try:
            door.bind((NameServer.ADDRESS, 53))
        except OSError as error:
            return "port 53: %s" % error
    return None


class NameServer:
    """Says that every name of the zone is 127.0.0.1, for a second; silent: takes questions and answers none."""

    ADDRESS = "127.0.%d.%d" % (100 + os.getpid() // 250 % 150, 1 + os.getpid() % 250)

    def __init__(self):
        self.silent = False
        self.asked = self.asked_in_silence = 0
        self.door = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.door.bind((self.ADDRESS, 53))
        self.door.settimeout(0.1)
        self.closing = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def close(self):
        self.closing = True
        self.thread.join()
        self.door.close()

    def run(self):
        while not self.closing:
            with contextlib.suppress(TimeoutError):
                question, sender = self.door.recvfrom(4096)
                self.asked += 1
                self.asked_in_silence += self.silent
                if not self.silent:
                    self.door.sendto(self.answer(question), sender)

    def answer(self, question):
        end = 12
        labels = []
        while question[end]:
            labels.append(question[end + 1:end + 1 + question[end]].decode())
            end += 1 + question[end]
        asked, kind = question[12:end + 5], question[end + 1:end + 3]
        known = ".".join(labels).endswith(ZONE)
        has_address = known and kind == b"\0\1"
        head = question[:2] + (b"\x85\x80" if known else b"\x85\x83") + struct.pack(
            ">HHHH", 1, int(has_address), 0, 0)
        record = b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 1, 4) + b"\x7f\0\0\1"
        return head + asked + (record if has_address else b"")


class NamedNode(Node):
    """Its supervisor is started by unshare, which becomes it."""

    def spawn(self, env=None):
        assert self.process is None
        self.write_config()
        self.write("resolv.conf", "nameserver %s\noptions timeout:1 attempts:1\n" % NameServer.ADDRESS)
        self.write("hosts", "127.0.0.1 localhost\n")
        script = "mount --bind $0/resolv.conf /etc/resolv.conf && mount --bind $0/hosts /etc/hosts && " \
            "exec setpriv --reuid=postgres --regid=postgres --init-groups -- \"$1\" \"$2\""
        environment = {k: v for k, v in os.environ.items()
                       if not k.startswith(("PATRONI_", "PGHEIR_", "PG"))}
        environment["PGHEIR_AGENT"] = find_bin("pgheir-agent")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["unshare", "-m", "--propagation", "private", "sh", "-c", script, self.folder,
                 find_bin("pgheir"), self.config_path], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, cwd="/", env=environment, start_new_session=True)

    def write(self, name, text):
        with open(os.path.join(self.folder, name), "w") as out:
            out.write(text)


class NamedCluster(Cluster):
    node_class = NamedNode


pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def names(node, config):
    config["etcd3"]["hosts"] = ["etcd%d.%s:%d" % (i, ZONE, m.client_port)
                                for i, m in enumerate(node.cluster.etcd.members)]
    return config


@pytest.fixture
def server():
    with contextlib.closing(NameServer()) as server:
        yield server


def test_name_server_falls_silent(server, folder, etcd):
    with NamedCluster(2, os.path.join(folder, "c"), etcd, scope="dns", change=names) as cluster:
        cluster.start()
        leader = cluster.wait_leader()
        cluster.wait_replicas(1)
        postmaster = leader.pid("postmaster")
        assert server.asked > 0, "nobody asked our name server"
        server.silent = True
        with cluster.writer() as writer:
            writer.wait_acks(20)
            for member in etcd.members:  # new connections, and so names, are needed
                member.kill()
                member.start()
            slowest_s, until = 0.0, None
            given_up_at = time.monotonic() + 2 * FRESH_S
            while until is None or time.monotonic() < until:
                if until is None and server.asked_in_silence > 0:
                    until = time.monotonic() + 2 * TTL_S
                assert until is not None or time.monotonic() < given_up_at, "nobody asked"
                for node in cluster.nodes:
                    asked_at = time.monotonic()
                    assert node.code("/liveness") == 200, cluster.logs()
                    slowest_s = max(slowest_s, time.monotonic() - asked_at)
                assert leader.code("/primary") == 200, cluster.logs()
                time.sleep(0.1)
            writer.wait_acks(20)
        assert leader.pid("postmaster") == postmaster
        assert not writer.errors, writer.errors[:3]
        print("slowest /liveness %.0f ms, %d questions in silence" % (slowest_s * 1000,
                                                                     server.asked_in_silence))
        cluster.check_rows(writer)


def test_started_while_the_name_server_is_silent(server, folder, etcd):
    """Nothing is known yet: it lives, says why it waits, and goes on by itself."""
    server.silent = True
    with NamedCluster(1, os.path.join(folder, "c"), etcd, scope="dns", change=names) as cluster:
        node = cluster.nodes[0]
        node.spawn()
        wait_for(lambda: node.code("/liveness") == 200, PATIENCE_S, "/liveness; %s" % node.log_path)
        node.wait_log("etcd does not answer yet")
        assert server.asked_in_silence > 0 and node.code("/primary") == 503
        server.silent = False
        assert cluster.wait_leader() is node
