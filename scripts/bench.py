"""What scripts/bench runs. Uses the small library of the end-to-end tests (tests/e2e/lib)."""
import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg2

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "e2e", "lib"))

from cluster import (FAST, Cluster, Node, find_bin, give_away,  # noqa: E402
                     unprivileged)
from etcd import PATIENCE_S, EtcdCluster, wait_for  # noqa: E402

PATRONI_TTL = {"ttl": 20, "loop_wait": 1, "retry_timeout": 3}
LIST_CALLS = 10


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- Patroni as a member ----

class PatroniNode(Node):
    """The same configuration and the same questions; other processes."""

    venv = None

    def spawn(self, env=None):
        assert self.process is None
        self.write_config()
        environment = {k: v for k, v in os.environ.items()
                       if not k.startswith(("PATRONI_", "PGHEIR_", "PG"))}
        environment["HOME"] = self.folder  # of its pgpass
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(self.venv, "bin", "patroni"), self.config_path], stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, cwd="/", env=environment, start_new_session=True,
                **unprivileged())

    def memory_bytes(self):
        return private_dirty([self.process.pid])


class PatroniCluster(Cluster):
    node_class = PatroniNode


def install_patroni(folder):
    """Patroni in a virtual environment that sees the system's psycopg2."""
    venv = os.path.join(folder, "patroni")
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--system-site-packages", venv], check=True,
                   stdout=sys.stderr)
    subprocess.run([os.path.join(venv, "bin", "pip"), "install", "-q", "patroni[etcd3]"], check=True,
                   stdout=sys.stderr)
    return venv


# ---- Measuring ----

def private_dirty(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/smaps_rollup" % pid) as smaps:
            total += sum(int(line.split()[1]) for line in smaps
                         if line.startswith("Private_Dirty")) * 1024
    return total


def lease_left_s(cluster):
    """Time to live of the leader's lease, which etcd tells in whole seconds."""
    key = "/service/%s/leader" % cluster.scope
    kv = json.loads(cluster.etcd.etcdctl("get", "-w", "json", key))["kvs"][0]
    out = cluster.etcd.etcdctl("lease", "timetolive", "%x" % kv["lease"], "-w", "json")
    return json.loads(out)["ttl"]


def outage_after(writer, moment, timeout_s=90):
    """Longest span without an acknowledgement that ended after moment."""
    writer.wait_acks(20, timeout_s)
    return writer.outage_s(since=moment)


def keepalive_age_s(leader):
    """How long ago the last keepalive was sent that the leader counts: its fence is that moment
    plus ttl minus the margin (docs/fencing.md). None for who has no fence."""
    own = (leader.status() or {}).get("pgheir")
    if own is None or own["fence_left_ms"] < 0:
        return None
    return FAST["ttl"] - max(0.3, FAST["ttl"] / 10) - own["fence_left_ms"] / 1000


def lost_rows(cluster, writer):
    """Acknowledged rows that the primary does not have. One that has just called itself the primary may have crashed
    since, unnoticed by its agent: it is asked again."""
    found = []

    def is_known():
        with contextlib.suppress(psycopg2.Error):
            found.append(len(cluster.missing(writer)))
        return bool(found)
    wait_for(is_known, 120, "the primary answers")
    return found[0]


def measure_node_lost(cluster):
    old = cluster.wait_leader()
    with cluster.writer() as writer:
        writer.wait_acks(50)
        left_s = lease_left_s(cluster)
        age_s = keepalive_age_s(old)
        killed_at = time.monotonic()
        old.kill_all()
        cluster.wait_leader(other_than=old, timeout_s=120)
        wait_for(lambda: writer.first_after(killed_at + 0.2) is not None, 60, "writes again")
        outage_s = outage_after(writer, killed_at)
        first_s = writer.first_after(killed_at + 0.2) - killed_at
    lost = lost_rows(cluster, writer)
    old.spawn()
    cluster.wait_replicas(len(cluster.nodes) - 1, 120)
    # Until the lease ends nobody may lead, whatever is done; the rest is the software's own share.
    found = {"node lost, outage s": outage_s, "node lost, lease left at the kill s": left_s,
             "node lost, outage beyond the lease s": outage_s - left_s, "node lost, rows lost": lost}
    if age_s is not None:
        found["node lost, last keepalive to first write s"] = age_s + first_s
    return found


def measure_switchover(cluster):
    old = cluster.wait_leader()
    candidate = cluster.replicas()[0]
    with cluster.writer() as writer:
        writer.wait_acks(50)
        began_at = time.monotonic()
        code, text = cluster.switchover(old, candidate)
        if code != 200:
            raise RuntimeError("switchover: %s %s" % (code, text))
        cluster.wait_leader(other_than=old)
        wait_for(lambda: writer.first_after(began_at, candidate.pg_port) is not None, 60, "writes")
        outage_s = outage_after(writer, began_at)
    lost = lost_rows(cluster, writer)
    cluster.wait_replicas(len(cluster.nodes) - 1, 120)
    return {"switchover, outage s": outage_s, "switchover, rows lost": lost}


def measure_postmaster_crash(cluster):
    leader = cluster.wait_leader()
    with cluster.writer() as writer:
        writer.wait_acks(50)
        killed_at = time.monotonic()
        leader.kill("postmaster")
        wait_for(lambda: writer.first_after(killed_at + 0.05) is not None, 120, "writes again")
        outage_s = outage_after(writer, killed_at)
    lost = lost_rows(cluster, writer)
    cluster.wait_leader(timeout_s=120)
    cluster.wait_replicas(len(cluster.nodes) - 1, 120)
    return {"postmaster crash, outage s": outage_s, "postmaster crash, rows lost": lost}


def measure_memory(cluster, minutes):
    """A span of time to be measured, not a wait for something."""
    time.sleep(minutes * 60)
    leader = cluster.wait_leader()
    return {"memory of the leader's node MiB": leader.memory_bytes() / 2 ** 20,
            "memory of a replica's node MiB": cluster.replicas()[0].memory_bytes() / 2 ** 20}


def measure_list(cluster, command):
    took = []
    for _ in range(LIST_CALLS):
        began_at = time.monotonic()
        subprocess.run(command + ["-c", cluster.nodes[0].config_path, "list"], check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)
        took.append(time.monotonic() - began_at)
    return {"list ms": statistics.median(took) * 1000}


def measure(kind, folder, arguments, list_command, dcs):
    """{what: [one number per run]}."""
    results = {}

    def keep(found):
        for name, value in found.items():
            results.setdefault(name, []).append(value)
            say("%-8s %-42s %10.3f" % (kind.__name__.replace("Cluster", "") or "pgheir", name, value))

    with EtcdCluster(3, os.path.join(folder, "etcd"), tls=True) as etcd:
        for path in (etcd.authority.folder, etcd.base_dir):
            os.chmod(path, 0o755)
        for path in (etcd.client_files[1], etcd.authority.cert, etcd.client_files[0]):
            give_away(path)

        def secure(node, config):
            config["etcd3"].update(protocol="https", cacert=etcd.authority.cert,
                                   cert=etcd.client_files[0], key=etcd.client_files[1])
            config["log"] = {"level": "INFO"}
            return config

        with kind(3, os.path.join(folder, "c"), etcd, scope="bench", dcs=dcs, change=secure) as cluster:
            try:
                cluster.start()
            except AssertionError:
                say(cluster.nodes[0].log_text()[-3000:])
                raise
            cluster.wait_leader(timeout_s=PATIENCE_S)
            cluster.wait_replicas(2, 120)
            if arguments.minutes:
                keep(measure_memory(cluster, arguments.minutes))
            keep(measure_list(cluster, list_command))
            for _ in range(arguments.runs):
                keep(measure_switchover(cluster))
                keep(measure_postmaster_crash(cluster))
                keep(measure_node_lost(cluster))
    return results


def summary(values):
    ordered = sorted(values)
    return {"median": statistics.median(values), "p90": ordered[-(-9 * len(ordered) // 10) - 1],
            "min": ordered[0], "max": ordered[-1], "values": values}


def table(found):
    columns = list(found)
    names = list(dict.fromkeys(name for column in found.values() for name in column))
    print("%-44s" % "median, p90 (min .. max)" + "".join("%34s" % c for c in columns))
    for name in names:
        cells = []
        for column in columns:
            one = found[column].get(name)
            cells.append("" if one is None else "%.3f, %.3f (%.3f .. %.3f)" %
                         (one["median"], one["p90"], one["min"], one["max"]))
        print("%-44s" % name + "".join("%34s" % cell for cell in cells))


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--runs", type=int, default=3, metavar="N")
    parser.add_argument("--minutes", type=float, default=1, metavar="M", help="before memory is read")
    parser.add_argument("--json", metavar="FILE", help="write every figure there")
    parser.add_argument("--peer", choices=["patroni"])
    arguments = parser.parse_args()
    if arguments.runs < 1 or arguments.minutes < 0:
        parser.error("--runs must be at least 1, --minutes at least 0")
    folder = tempfile.mkdtemp(prefix="pgheir-bench-")
    os.chmod(folder, 0o755)
    found = {}
    try:
        for name in ["pgheir"] + ([arguments.peer] if arguments.peer else []):
            own = os.path.join(folder, name)
            os.makedirs(own)
            if name == "patroni":
                PatroniNode.venv = install_patroni(folder + "/venv")
                results = measure(PatroniCluster, own, arguments,
                                  [os.path.join(PatroniNode.venv, "bin", "patronictl")], PATRONI_TTL)
            else:
                results = measure(Cluster, own, arguments, [find_bin("pgheirctl")], dict(FAST))
            found[name] = {what: summary(values) for what, values in results.items()}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table(found)
    if arguments.json:
        with open(arguments.json, "w") as out:
            json.dump({"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                       "load": os.getloadavg(), "runs": arguments.runs, "minutes": arguments.minutes,
                       "pgheir": dict(FAST), "peer": dict(PATRONI_TTL) if arguments.peer else None,
                       "results": found}, out, indent=2)
            out.write("\n")


if __name__ == "__main__":
    main()
