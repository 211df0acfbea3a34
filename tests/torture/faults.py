"""The faults. Each is a context manager that lasts as long as the fault does; what it leaves behind is healed by the
campaign (everybody runs again). FAULTS is the documented set. A fault without

    keeps    may cost rows that were acknowledged while it lasted, in asynchronous mode: the server was cut off from
             its replicas, or what it had not sent yet went down with it
    frozen   does not stop a whole node: one that was may acknowledge for an instant after its thaw, which no
             software on it can prevent (docs/fencing.md)"""
import contextlib
import os
import signal
import subprocess

import netns
from cluster import children_of, is_alive, send
from shared import freeze, thaw


class Fault:
    def __init__(self, name, weight, run, keeps=False, frozen=False, brief=False):
        self.name, self.weight, self.run = name, weight, run
        self.keeps, self.frozen = keeps, frozen
        self.brief = brief  # over at once; the others last for a time


def killing(*roles):
    @contextlib.contextmanager
    def run(cluster, node, rng):
        for role in rng.sample(roles, len(roles)):
            pid = node.pid(role)
            if pid is not None:
                send(pid, signal.SIGKILL)
        yield
    return run


@contextlib.contextmanager
def node_lost(cluster, node, rng):
    node.kill_all()
    yield


@contextlib.contextmanager
def all_lost(cluster, node, rng):
    for one in cluster.nodes:
        one.kill_all()
    yield


def stopping(*roles):
    @contextlib.contextmanager
    def run(cluster, node, rng):
        pids = [pid for pid in map(node.pid, roles) if pid is not None]
        try:
            freeze([pid for pid in rng.sample(pids, len(pids)) if is_alive(pid)])
            yield
        finally:
            thaw(pids)
    return run


@contextlib.contextmanager
def node_frozen(cluster, node, rng):
    """As by a cgroup: everything of it at once, and its clients wait."""
    pids = node.pids()
    try:
        freeze(pids)
        yield
    finally:
        thaw(pids)


def etcd_ports(cluster):
    return [member.client_port for member in cluster.etcd.members]


@contextlib.contextmanager
def cut_from_all(cluster, node, rng):
    with node.end_of_cable.cut():
        yield


@contextlib.contextmanager
def cut_from_etcd(cluster, node, rng):
    with node.end_of_cable.drop(etcd_ports(cluster)):
        yield


@contextlib.contextmanager
def cut_from_etcd_member(cluster, node, rng):
    with node.end_of_cable.drop([rng.choice(etcd_ports(cluster))]):
        yield


@contextlib.contextmanager
def cut_from_peers(cluster, node, rng):
    """Servers and REST of the others; etcd is reached."""
    ports = [port for other in cluster.nodes if other is not node for port in (other.pg_port, other.rest_port)]
    with node.end_of_cable.drop(ports):
        yield


def one_way(chain, direction):
    @contextlib.contextmanager
    def run(cluster, node, rng):
        rules = "table inet cut {\n chain c { type filter hook %s priority 0; %s != \"lo\" drop; }\n}\n" % (
            chain, direction)
        netns.run("ip", "netns", "exec", node.end_of_cable.name, "nft", "-f", "-", text=rules)
        try:
            yield
        finally:
            node.end_of_cable.mend()
    return run


@contextlib.contextmanager
def lossy(cluster, node, rng):
    """A third of all packets vanish, both ways."""
    rules = "table inet cut {\n" \
        " chain i { type filter hook input priority 0; iifname != \"lo\" numgen random mod 100 < 33 drop; }\n" \
        " chain o { type filter hook output priority 0; oifname != \"lo\" numgen random mod 100 < 33 drop; }\n}\n"
    netns.run("ip", "netns", "exec", node.end_of_cable.name, "nft", "-f", "-", text=rules)
    try:
        yield
    finally:
        node.end_of_cable.mend()


@contextlib.contextmanager
def etcd_leader_killed(cluster, node, rng):
    cluster.etcd.leader().kill()
    yield
    cluster.etcd.start()


@contextlib.contextmanager
def etcd_member_stopped(cluster, node, rng):
    member = rng.choice(cluster.etcd.members)
    member.pause()
    try:
        yield
    finally:
        member.resume()


@contextlib.contextmanager
def etcd_down(cluster, node, rng):
    for member in cluster.etcd.members:
        member.kill()
    yield
    cluster.etcd.start()


@contextlib.contextmanager
def leader_key_deleted(cluster, node, rng):
    cluster.etcd.delete("/service/%s/leader" % cluster.scope)
    yield


@contextlib.contextmanager
def service_stopped(cluster, node, rng):
    if node.is_running():
        node.stop(timeout_s=90)
    yield


@contextlib.contextmanager
def switchover(cluster, node, rng):
    leader = cluster.leader()
    if leader is not None:
        candidates = [None, *[one for one in cluster.nodes if one is not leader]]
        candidate = rng.choice(candidates)
        body = {"leader": leader.name, **({"candidate": candidate.name} if candidate else {})}
        leader.rest("POST", "/switchover", body, timeout_s=60)
    yield


@contextlib.contextmanager
def postgres_restarted(cluster, node, rng):
    node.rest("POST", "/restart", {}, timeout_s=60)
    yield


@contextlib.contextmanager
def backend_crashed(cluster, node, rng):
    """SIGKILL to one session: the postmaster restarts all of them."""
    postmaster = node.pid("postmaster")
    backends = children_of(postmaster) if postmaster else []
    if backends:
        send(rng.choice(backends), signal.SIGKILL)
    yield


@contextlib.contextmanager
def busy_machine(cluster, node, rng):
    """More to do than there are processors."""
    busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


FAULTS = [
    Fault("kill -9 postmaster", 4, killing("postmaster"), brief=True),
    Fault("kill -9 agent", 4, killing("agent"), brief=True, keeps=True),
    Fault("kill -9 supervisor", 4, killing("supervisor"), brief=True),
    Fault("kill -9 guard", 2, killing("guard"), brief=True, keeps=True),
    Fault("kill -9 agent and supervisor", 2, killing("agent", "supervisor"), brief=True),
    Fault("kill -9 guard and supervisor", 2, killing("guard", "supervisor"), brief=True),
    Fault("kill -9 postmaster and agent", 2, killing("postmaster", "agent"), brief=True),
    Fault("one session killed", 2, backend_crashed, brief=True, keeps=True),
    Fault("node lost", 6, node_lost),
    Fault("all nodes lost", 1, all_lost),
    Fault("agent stopped", 5, stopping("agent")),
    Fault("supervisor stopped", 3, stopping("supervisor")),
    Fault("guard stopped", 1, stopping("guard")),
    Fault("postmaster stopped", 3, stopping("postmaster")),
    Fault("agent and supervisor stopped", 4, stopping("agent", "supervisor")),
    Fault("agent, supervisor and guard stopped", 3, stopping("agent", "supervisor", "guard")),
    Fault("all four stopped", 3, stopping("agent", "supervisor", "guard", "postmaster")),
    Fault("node frozen", 3, node_frozen, frozen=True),
    Fault("cut from everybody", 6, cut_from_all),
    Fault("cut from etcd", 5, cut_from_etcd, keeps=True),
    Fault("cut from one member of etcd", 2, cut_from_etcd_member, keeps=True),
    Fault("cut from the other members", 3, cut_from_peers),
    Fault("hears nobody", 2, one_way("input", "iifname")),
    Fault("is heard by nobody", 2, one_way("output", "oifname")),
    Fault("a third of the packets lost", 3, lossy),
    Fault("etcd's leader killed", 3, etcd_leader_killed, keeps=True),
    Fault("one member of etcd stopped", 2, etcd_member_stopped, keeps=True),
    Fault("etcd down", 2, etcd_down, keeps=True),
    Fault("leader key deleted", 2, leader_key_deleted, brief=True, keeps=True),
    Fault("service stopped", 3, service_stopped, keeps=True),
    Fault("switchover", 4, switchover, brief=True, keeps=True),
    Fault("restart asked for", 2, postgres_restarted, brief=True, keeps=True),
    Fault("busy machine", 2, busy_machine),
]
