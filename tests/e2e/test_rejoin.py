"""Coming back: with WAL that nobody has, with an empty directory, with a lost volume, and everybody at once."""
import glob
import os
import shutil
import time

import pytest

from etcd import PATIENCE_S, wait_for
from postgres import PG_BIN
from shared import freeze, heal, pgheirctl, running_cluster, wait_caught_up

ROWS = 50


@pytest.fixture(scope="module")
def shared_cluster():
    with running_cluster(3, "rejoin") as cluster:
        cluster.wait_leader().sql("CREATE TABLE kept (i int PRIMARY KEY)")
        yield cluster


@pytest.fixture
def cluster(request, shared_cluster):
    heal(shared_cluster)
    wait_caught_up(shared_cluster)
    yield shared_cluster
    shared_cluster.failures += getattr(request.node, "failed", False)


def write_where_nobody_hears(leader, first, rows=ROWS):
    """Commits rows on the leader that no replica gets: its WAL senders stand still. They must be killed with it."""
    senders = [row[0] for row in leader.sql("SELECT pid FROM pg_stat_replication")]
    assert len(senders) == 2
    freeze(senders)
    leader.sql("INSERT INTO kept SELECT generate_series(%s, %s)", first, first + rows - 1)
    return leader.value("SELECT pg_current_wal_flush_lsn()::text")


def diverge(cluster, first):
    """Returns (old, new): old is down and has rows that new, which leads, has not."""
    old = cluster.wait_leader()
    write_where_nobody_hears(old, first)
    old.kill_all()
    new = cluster.wait_leader(other_than=old)
    assert new.value("SELECT count(*) FROM kept WHERE i >= %s AND i < %s", first, first + ROWS) == 0
    new.sql("INSERT INTO kept VALUES (%s)", first + ROWS)
    return old, new


def rows_since(node, first):
    return [row[0] for row in node.sql(
        "SELECT i FROM kept WHERE i >= %s AND i <= %s ORDER BY i", first, first + ROWS)]


def mark(node):
    """A file that a rewind leaves, and that no one would keep who replaces the directory."""
    path = os.path.join(node.data_dir, "not_replaced")
    with open(path, "w") as out:
        out.write("here\n")
    shutil.chown(path, "postgres", "postgres")
    return path


def reason(node):
    status = node.status()
    return status and status["pgheir"]["reason"]


def test_diverged_is_rewound(cluster):
    with cluster.writer() as writer:
        writer.wait_acks(20)
        old, new = diverge(cluster, 1000)
        writer.wait_acks(20)
        since = len(old.log_text())
        old.start()
        wait_for(old.is_replica, PATIENCE_S, "%s follows; %s" % (old.name, cluster.logs()))
        writer.wait_acks(20)
    log = old.log_text()[since:]
    assert "reason=REWIND_BEGIN" in log and "reason=REWIND_DONE" in log, old.log_path
    assert "reason=CLONE_BEGIN" not in log, old.log_path
    # What was lost has been kept aside.
    assert glob.glob(old.data_dir + ".pgheir/lost/*/about"), os.listdir(old.data_dir + ".pgheir")
    wait_caught_up(cluster)
    assert rows_since(old, 1000) == [1000 + ROWS]
    late = [a for a in writer.acks if a[2] == new.pg_port]
    missing = set(cluster.missing(writer, old))
    assert late and not missing & {number for number, _, _ in late}
    assert cluster.missing(writer, old) == cluster.missing(writer, new)


def test_diverged_and_nothing_allowed(cluster):
    """Stays out, says so, removes nothing; a person's reinit brings it back."""
    code, text = cluster.wait_leader().rest("PATCH", "/config",
                                            {"postgresql": {"use_pg_rewind": False}})
    assert code == 200, text
    try:
        old, new = diverge(cluster, 2000)
        since = len(old.log_text())
        kept = mark(old)
        old.start()
        wait_for(lambda: reason(old) == "REWIND_IMPOSSIBLE", PATIENCE_S, "REWIND_IMPOSSIBLE; " + cluster.logs())
        # It stays so, and everything stays where it is.
        until = time.monotonic() + 4
        while time.monotonic() < until:
            assert os.path.exists(kept) and not old.is_replica()
            assert reason(old) == "REWIND_IMPOSSIBLE"
            assert old.code("/replica") == 503
            time.sleep(0.2)
        log = old.log_text()[since:]
        assert "reason=REWIND_BEGIN" not in log and "reason=CLONE_BEGIN" not in log, old.log_path
        assert cluster.wait_leader() is new

        code, text = pgheirctl(cluster, "reinit", cluster.scope, old.name, "--force")
        assert code == 0, text
        wait_for(old.is_replica, PATIENCE_S, "%s follows; %s" % (old.name, cluster.logs()))
        assert not os.path.exists(kept)
        wait_caught_up(cluster)
        assert rows_since(old, 2000) == [2000 + ROWS]
    finally:
        code, text = cluster.wait_leader().rest("PATCH", "/config",
                                                {"postgresql": {"use_pg_rewind": True}})
        assert code == 200, text


REWIND_BROKEN_OFF = """#!/bin/sh
# The first time: has begun to write, has taken WAL away, and is no more.
if [ -e %(once)s ]; then exec %(real)s "$@"; fi
touch %(once)s
rm -f %(data)s/pg_wal/0*
echo "pg_rewind: need to copy 1 MB" >&2
kill -9 $$
"""


def breaks_off_rewind(cluster, node):
    """The programs that this node is to use from its next start on."""
    folder = os.path.join(node.folder, "programs")
    os.makedirs(folder)
    for name in os.listdir(PG_BIN):
        os.symlink(os.path.join(PG_BIN, name), os.path.join(folder, name))
    path = os.path.join(folder, "pg_rewind")
    os.unlink(path)
    with open(path, "w") as out:
        out.write(REWIND_BROKEN_OFF % {"once": os.path.join(node.folder, "once"), "data": node.data_dir,
                                       "real": os.path.join(PG_BIN, "pg_rewind")})
    os.chmod(path, 0o755)
    before = cluster.change

    def change(which, config):
        if which is node:
            config["postgresql"]["bin_dir"] = folder
        return before(which, config)
    cluster.change = change


def test_rewind_broken_off(cluster, request):
    """TR-03: what is half rewound is never started. It says what to do, and is replaced where that is allowed."""
    old, new = diverge(cluster, 7000)
    request.addfinalizer(lambda before=cluster.change: setattr(cluster, "change", before))
    breaks_off_rewind(cluster, old)
    since = len(old.log_text())
    old.start()
    wait_for(lambda: reason(old) == "REWIND_FAILED" and old.log_text()[since:].count("reason=REWIND_BEGIN") >= 3,
             PATIENCE_S, "tried again; " + cluster.logs())
    assert "reason=CLONE_BEGIN" not in old.log_text()[since:], old.log_path
    assert old.postmaster_pid() is None and old.code("/replica") == 503
    broken_at = old.log_text().index("reason=REWIND_FAILED", since)
    code, text = new.rest("PATCH", "/config", {"postgresql": {"remove_data_directory_on_rewind_failure": True}})
    assert code == 200, text
    try:
        wait_for(old.is_replica, PATIENCE_S, "%s follows; %s" % (old.name, cluster.logs()))
    finally:
        code, text = new.rest("PATCH", "/config", {"postgresql": {"remove_data_directory_on_rewind_failure": None}})
        assert code == 200, text
    half = old.log_text()[broken_at:old.log_text().index("reason=CLONE_DONE", broken_at)]
    assert "reason=START_AS" not in half, old.log_path
    wait_caught_up(cluster)
    assert rows_since(old, 7000) == [7000 + ROWS]


def test_reinit_over_rest(cluster):
    replica = cluster.replicas()[0]
    leader = cluster.wait_leader()
    kept = mark(replica)
    code, text = leader.rest("POST", "/reinitialize", {})
    assert code == 503 and "I am the leader, can not reinitialize" in text
    with cluster.writer() as writer:
        writer.wait_acks(20)
        code, text = replica.rest("POST", "/reinitialize", {})
        assert code == 200, text
        wait_for(lambda: not os.path.exists(kept) and replica.is_replica(), PATIENCE_S,
                 "%s is new; %s" % (replica.name, cluster.logs()))
        writer.wait_acks(20)
    assert not writer.errors
    wait_caught_up(cluster)
    assert not cluster.missing(writer, replica)


def test_nothing_is_removed_without_a_source(cluster):
    """P5: a leader that lets nobody copy from it is no source, however well its key looks."""
    replica = cluster.replicas()[0]
    leader = cluster.wait_leader()
    kept = mark(replica)
    leader.sql("ALTER ROLE replicator NOLOGIN")
    try:
        since = len(replica.log_text())
        code, text = replica.rest("POST", "/reinitialize", {})
        assert code == 200, text
        replica.wait_log("operation clone failed", since=since)
        assert os.path.exists(kept) and os.path.exists(os.path.join(replica.data_dir, "PG_VERSION"))
    finally:
        leader.sql("ALTER ROLE replicator LOGIN")
    wait_for(lambda: not os.path.exists(kept) and replica.is_replica(), PATIENCE_S,
             "%s is new; %s" % (replica.name, cluster.logs()))


def test_new_node_joins(cluster):
    with cluster.writer() as writer:
        writer.wait_acks(20)
        node = cluster.add_node()
        try:
            node.start()
            wait_for(node.is_replica, PATIENCE_S, "%s follows; %s" % (node.name, cluster.logs()))
            writer.wait_acks(20)
            writer.stop()  # one that goes on is always some rows ahead of what was just read
            wait_caught_up(cluster)
            assert not writer.errors
            assert not cluster.missing(writer, node)
            leader = cluster.wait_leader()
            assert leader.value("SELECT count(*) FROM pg_replication_slots WHERE active "
                                "AND slot_name = %s", node.name) == 1
            assert node.stop() == 0
            assert not node.postgres_pids()
            wait_for(lambda: cluster.member(node) is None, PATIENCE_S, "its member key is gone")
        finally:
            node.end()
            cluster.nodes.remove(node)


def test_lost_volume_waits(cluster):
    """An empty directory under the name of a member that held data is a volume that is not mounted, until a person
    says that it is not."""
    replica = cluster.replicas()[0]
    assert replica.stop() == 0
    shutil.rmtree(replica.data_dir)
    shutil.rmtree(replica.data_dir + ".pgheir")
    replica.start()
    wait_for(lambda: reason(replica) == "WAIT_VOLUME", PATIENCE_S, "WAIT_VOLUME; " + cluster.logs())
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert not os.path.exists(os.path.join(replica.data_dir, "PG_VERSION"))
        assert reason(replica) == "WAIT_VOLUME" and replica.code("/replica") == 503
        time.sleep(0.2)
    code, text = pgheirctl(cluster, "reinit", cluster.scope, replica.name, "--force", "--wait")
    assert code == 0, text
    wait_for(replica.is_replica, PATIENCE_S, "%s follows; %s" % (replica.name, cluster.logs()))


def test_volume_comes_back(cluster):
    """The same, and the volume is mounted while it waits: nothing is cloned."""
    replica = cluster.replicas()[0]
    assert replica.stop() == 0
    kept = mark(replica)
    away = os.path.join(replica.folder, "away")
    os.mkdir(away)
    for name in ("data", "data.pgheir"):
        os.rename(os.path.join(replica.folder, name), os.path.join(away, name))
    replica.start()
    wait_for(lambda: reason(replica) == "WAIT_VOLUME", PATIENCE_S, "WAIT_VOLUME; " + cluster.logs())
    for name in ("data", "data.pgheir"):
        there = os.path.join(replica.folder, name)
        if os.path.exists(there):
            shutil.rmtree(there)
        os.rename(os.path.join(away, name), there)
    os.rmdir(away)
    wait_for(replica.is_replica, PATIENCE_S, "%s follows; %s" % (replica.name, cluster.logs()))
    assert os.path.exists(kept)


def test_emptied_directory_is_cloned(cluster):
    """The volume is there and somebody emptied the data directory on it: the member fills it again."""
    replica = cluster.replicas()[0]
    assert replica.stop() == 0
    kept = mark(replica)
    shutil.rmtree(replica.data_dir)
    replica.start()
    wait_for(replica.is_replica, PATIENCE_S, "%s follows; %s" % (replica.name, cluster.logs()))
    assert not os.path.exists(kept)


# ---- Cold start ----

def kill_all_at_once(cluster):
    """All nodes and all of etcd, as a power cut."""
    for node in cluster.nodes:
        freeze(node.pids())
    for member in cluster.etcd.members:
        member.kill()
    for node in cluster.nodes:
        node.kill_all()


def start_one_by_one(cluster, nodes):
    for node in nodes:
        node.start()


@pytest.mark.parametrize("first", ["etcd first", "nodes first"])
def test_cold_start(cluster, first):
    """Everybody is there again before anybody could be chosen, so nothing may be lost."""
    old = cluster.wait_leader()
    with cluster.writer() as writer:
        writer.wait_acks(100)
        kill_all_at_once(cluster)
        writer.stop()
    order = [old] + [n for n in cluster.nodes if n is not old]
    if first == "etcd first":
        for member in reversed(cluster.etcd.members):
            member.spawn()
        start_one_by_one(cluster, order)
    else:
        start_one_by_one(cluster, reversed(order))
        cluster.etcd.start()
    leader = cluster.wait_leader()
    cluster.wait_replicas(2)
    cluster.check_rows(writer)
    # And it is a cluster again, with the identity that it had.
    with cluster.writer() as again:
        again.wait_acks(20)
    wait_caught_up(cluster)
    assert all(not cluster.missing(again, n) for n in cluster.nodes)
    assert cluster.key("initialize") == leader.value(
        "SELECT system_identifier::text FROM pg_control_system()")


def test_cold_start_without_the_most_advanced(cluster):
    """The old primary was ahead by less than maximum_lag and does not return: the others go on without it. It returns
    last, and is rewound."""
    old = cluster.wait_leader()
    write_where_nobody_hears(old, 3000)
    # Published, so the others know how far it was.
    flush = old.value("SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint")
    wait_for(lambda: '"optime":%d' % flush in (cluster.key("status") or "").replace(" ", ""), PATIENCE_S,
             "status says %d: %s" % (flush, cluster.key("status")))
    kill_all_at_once(cluster)
    cluster.etcd.start()
    others = [n for n in reversed(cluster.nodes) if n is not old]
    start_one_by_one(cluster, others)
    new = cluster.wait_leader()
    cluster.wait_replicas(1)
    assert rows_since(new, 3000) == []
    new.sql("INSERT INTO kept VALUES (%s)", 3000 + ROWS)
    since = len(old.log_text())
    old.start()
    wait_for(old.is_replica, PATIENCE_S, "%s follows; %s" % (old.name, cluster.logs()))
    assert "reason=REWIND_DONE" in old.log_text()[since:], old.log_path
    assert cluster.wait_leader() is new
    wait_caught_up(cluster)
    assert rows_since(old, 3000) == [3000 + ROWS]
