"""No space for our own files: the lease is renewed all the same, and a demotion needs no disk."""
import contextlib
import os
import subprocess
import time

import psycopg2
import pytest

from cluster import FAST, give_away
from etcd import PATIENCE_S, wait_for
from shared import EachServer

TTL_S = FAST["ttl"]


@contextlib.contextmanager
def small_filesystem(path):
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "pgheir-test", path], check=True)
    try:
        give_away(path)
        os.chmod(path, 0o700)
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def fill(path):
    with open(os.path.join(path, "filler"), "wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(b"x" * 1024)
    with pytest.raises(OSError), open(os.path.join(path, "one more"), "wb") as out:
        out.write(b"x" * 8192)


def only_reads(node):
    with contextlib.suppress(psycopg2.Error):
        return node.value("SELECT pg_is_in_recovery()") is True
    return False


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_no_space_for_our_own_files(make_cluster, folder):
    """DM-02."""
    with small_filesystem(os.path.join(folder, "state")) as path:
        def change(_, config):
            config["pgheir"] = {"state_dir": path}
        cluster = make_cluster(1, change=change)
        cluster.start()
        node = cluster.wait_leader()
        postmaster = node.pid("postmaster")
        fill(path)
        with EachServer(cluster) as watch:
            watch.wait_acks(node, 50)
            until = time.monotonic() + 2 * TTL_S
            while time.monotonic() < until:
                assert node.code("/primary") == 200 and node.pid("postmaster") == postmaster, cluster.logs()
                time.sleep(0.1)
            # An agent that starts now has nowhere to write, either.
            node.kill("agent")
            watch.wait_acks(node, 50)
            wait_for(node.is_leader, PATIENCE_S, "%s leads; %s" % (node.name, cluster.logs()))
            assert node.pid("postmaster") == postmaster
            cluster.etcd.stop()
            down_at = time.monotonic()
            wait_for(lambda: only_reads(node), PATIENCE_S, "%s reads on; %s" % (node.name, cluster.logs()))
            assert watch.last(node) - down_at < TTL_S
            cluster.etcd.start()
            watch.wait_acks(node, 50)
        assert not watch.missing()
