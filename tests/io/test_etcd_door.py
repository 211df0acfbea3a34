"""The etcd door against real etcd members on loopback: what it does when they die, hang, lie or ask
for a password. Run: PGHEIR_BUILD=<build> pytest tests/io/test_etcd_door.py"""
import os
import subprocess
import sys
import threading
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e", "lib")]

from etcd import PATIENCE_S, Authority, EtcdCluster, wait_for  # noqa: E402
from etcd_lib import FakeDns, Probe  # noqa: E402


# How often what must never fail is tried: 1 in every run, 20 once before a release.
SOAK = int(os.environ.get("PGHEIR_SOAK", "1"))


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A cluster that no test harms."""
    with EtcdCluster(3, tmp_path_factory.mktemp("quiet")) as cluster:
        yield cluster


@pytest.fixture
def cluster(tmp_path):
    with EtcdCluster(3, tmp_path) as cluster:
        yield cluster


@pytest.fixture
def key(request):
    """A prefix of its own per test."""
    return "/%s/" % request.node.name


# Of the time for a request that an attempt gets while others are left.
SHARE_MS = 3000


def url_of(line):
    return line["endpoint"]


def member_of(cluster, line):
    return next(m for m in cluster.members if m.client_url == url_of(line))


def prefer(probe, cluster, member):
    """Makes the probe begin with this member."""
    probe.ask("reconfigure", hosts=["127.0.0.1:%d" % member.client_port], use_proxies=True)
    assert url_of(probe.ask("range", key="x")) == member.client_url
    probe.ask("reconfigure", hosts=cluster.hosts(), use_proxies=True)
    assert url_of(probe.ask("range", key="x")) == member.client_url


def can(cluster, *arguments, **options):
    """Whether etcdctl succeeds."""
    try:
        cluster.etcdctl(*arguments, **options)
        return True
    except subprocess.CalledProcessError:
        return False


# ---- leases, reads, transactions ----

def test_lease_life(quiet, key):
    with Probe(quiet.hosts()) as probe:
        lease = probe.ask("grant", ttl_ms=4200)
        assert (lease["outcome"], lease["ttl_ms"]) == ("ok", 5000)  # whole seconds
        assert lease["lease"] in quiet.leases()
        assert probe.put(key + "a", "v", lease=lease["lease"])["outcome"] == "ok"
        kept = probe.ask("keepalive", lease=lease["lease"])
        assert (kept["outcome"], kept["ttl_ms"]) == ("ok", 5000)
        assert kept["sent_at_ms"] <= kept["ended_at_ms"]
        left = probe.ask("ttl", lease=lease["lease"])
        assert left["granted_ttl_ms"] == 5000 and 3000 <= left["ttl_ms"] <= 5000
        assert probe.ask("revoke", lease=lease["lease"])["outcome"] == "ok"
        assert probe.get(key + "a") is None
        for op in ("keepalive", "ttl", "revoke"):
            assert probe.ask(op, lease=lease["lease"])["outcome"] == "lease not found"
        put = probe.put(key + "a", "v", lease=lease["lease"])
        assert put["outcome"] == "lease not found"


def test_lease_runs_out(quiet, key):
    with Probe(quiet.hosts()) as probe:
        lease = probe.ask("grant", ttl_ms=1000)
        probe.put(key + "a", "v", lease=lease["lease"])
        watch = probe.watch(key, lease["revision"] + 1)
        watch.value(key + "a", None)
        assert probe.ask("keepalive", lease=lease["lease"])["outcome"] == "lease not found"


def test_values_pass_unchanged(quiet, key):
    with Probe(quiet.hosts()) as probe:
        for value in ("", "v", "a\nb", "\u00e9\U0001f600", "x" * 100000, '{"a":"b"}'):
            probe.put(key + "v", value)
            assert probe.get(key + "v") == value
            assert quiet.get(key + "v") == value
        assert probe.get(key + "none") is None


def test_prefix_ends_where_it_ends(quiet, key):
    with Probe(quiet.hosts()) as probe:
        for name in ("demo/a", "demo/b", "demo2/a", "demo"):
            probe.put(key + name, "v")
        found = probe.ask("range", key=key + "demo/", prefix=True)
        assert [kv["key"] for kv in found["kvs"]] == [key + "demo/a", key + "demo/b"]
        gone = probe.ask("txn", success=[{"delete_prefix": key + "demo/"}])
        assert gone["ops"][0]["deleted"] == 2
        assert probe.get(key + "demo2/a") == "v"


def test_guards(quiet, key):
    with Probe(quiet.hosts()) as probe:
        name = key + "k"
        lease = probe.ask("grant", ttl_ms=60000)["lease"]

        def put(new, **guard):
            return probe.ask("txn", compares=[dict(guard, key=name)],
                             success=[{"put": name, "value": new, "lease": lease}, {"get": name}],
                             failure=[{"get": name}])
        assert put("0", mod=1)["outcome"] == "refused"
        made = put("1", create=0)
        assert made["outcome"] == "ok"
        kv = made["ops"][1]["kvs"][0]
        assert (kv["value"], kv["lease"]) == ("1", lease)
        refused = put("2", create=0)
        assert (refused["outcome"], refused["ops"][0]["kvs"][0]["value"]) == ("refused", "1")
        assert put("2", create=kv["create"])["outcome"] == "ok"
        assert put("3", value="1")["outcome"] == "refused"
        assert put("3", value="2")["outcome"] == "ok"
        assert put("4", lease=lease + 1)["outcome"] == "refused"
        assert put("4", lease=lease)["outcome"] == "ok"
        assert put("5", version=3)["outcome"] == "refused"
        assert put("5", version=4)["outcome"] == "ok"
        mod = probe.ask("range", key=name)["kvs"][0]["mod"]
        assert put("6", mod=mod)["outcome"] == "ok"
        assert put("7", mod=mod)["outcome"] == "refused"


def test_refused_by_etcd_is_invalid(quiet, key):
    with Probe(quiet.hosts()) as probe:
        twice = probe.ask("txn", success=[{"put": key + "a", "value": "1"},
                                          {"put": key + "a", "value": "2"}])
        assert twice["outcome"] == "invalid" and "duplicate key" in twice["error"]
        large = probe.put(key + "a", "x" * 900000 + "y" * 900000, timeout_ms=60000)
        assert large["outcome"] == "invalid", large
        assert not any(e["avoided"] for e in probe.endpoints())


def test_race_has_one_winner(quiet, key):
    """ET-09: the key is created once, and one lease per racer lives afterwards."""
    before = len(quiet.leases())
    probes = [Probe(quiet.hosts()) for _ in range(4)]
    leases = [p.ask("grant", ttl_ms=60000)["lease"] for p in probes]
    try:
        for turn in range(60 * SOAK):
            name = key + str(turn)
            tasks = [p.send("txn", compares=[{"key": name, "create": 0}], retry_safe=True,
                            success=[{"put": name, "value": str(lease), "lease": lease}],
                            failure=[{"get": name}]) for p, lease in zip(probes, leases)]
            answers = [p.wait(task) for p, task in zip(probes, tasks)]
            winners = [lease for a, lease in zip(answers, leases) if a["outcome"] == "ok"]
            assert len(winners) == 1, answers
            for answer in answers:
                if answer["outcome"] != "ok":
                    assert answer["outcome"] == "refused"
                    assert answer["ops"][0]["kvs"][0]["value"] == str(winners[0])
        assert len(quiet.leases()) - before == len(probes)
    finally:
        for probe in probes:
            probe.close()


# ---- watches ----

def test_watch_delivers_in_order(quiet, key):
    with Probe(quiet.hosts()) as probe:
        start = probe.ask("range", key=key)["revision"] + 1
        watch = probe.watch(key, start)
        watch.created()
        for value in range(50):
            probe.put(key + "a", str(value))
        probe.ask("txn", success=[{"delete": key + "a"}, {"put": key + "b", "value": "end"}])
        watch.value(key + "b", "end")
        assert [e[1] for e in watch.events() if e[0] == key + "a"] == \
            [str(v) for v in range(50)] + [None]
        assert watch.cancel()["lost"] == "cancelled"


def test_watch_of_the_past_and_compacted(quiet, key):
    with Probe(quiet.hosts()) as probe:
        first = probe.put(key + "a", "1")["revision"]
        probe.put(key + "a", "2")
        past = probe.watch(key, first)
        past.value(key + "a", "2")
        assert [e[1] for e in past.events()] == ["1", "2"]
        past.cancel()
        last = probe.put(key + "a", "3")["revision"]
        quiet.etcdctl("compaction", str(last))
        lost = probe.watch(key, first).lost()
        assert (lost["lost"], lost["resume"]) == ("compacted", 0)


def test_watch_resumes_after_kill(cluster, key):
    """Nothing is missed and nothing comes twice across kill -9 of the member that streams."""
    with Probe(cluster.hosts()) as writer, Probe(cluster.hosts(), use_proxies=True) as probe:
        stop = threading.Event()
        written = []

        def write():
            while not stop.is_set():
                answer = writer.put(key + "a", str(len(written)), retry_safe=True, timeout_ms=20000)
                assert answer["outcome"] == "ok", answer
                written.append(str(len(written)))
        start = probe.ask("range", key=key)["revision"] + 1
        thread = threading.Thread(target=write)
        thread.start()
        seen = []
        try:
            for _ in range(2):
                victim = member_of(cluster, probe.ask("range", key=key))
                watch = probe.watch(key, start)
                wait_for(lambda: len(watch.events()) > 10, PATIENCE_S, "events before the kill")
                victim.kill()
                lost = watch.lost()
                assert lost["lost"] == "disconnected"
                seen += watch.events()
                start = lost["resume"]
                wait_for(lambda: probe.ask("range", key=key)["outcome"] == "ok", PATIENCE_S, "etcd is back")
                again = probe.watch(key, start)
                wait_for(lambda: len(again.events()) > 10, PATIENCE_S, "events after the kill")
                start = again.cancel()["resume"]
                seen += again.events()
                victim.start()
        finally:
            stop.set()
            thread.join(60)
        watch = probe.watch(key, start)
        watch.value(key + "a", written[-1])
        seen += watch.events()
        mods = [e[2] for e in seen]
        assert mods == sorted(set(mods)), "out of order or twice"
        values = [int(e[1]) for e in seen]
        assert sorted(set(values)) == list(range(len(written))), "missed"


def test_black_holed_watch_is_noticed(cluster, key):
    """ET-04: the member streams nothing more; what a read has shown must arrive in time."""
    follower = cluster.followers()[0]
    rest = ["127.0.0.1:%d" % m.client_port for m in cluster.members if m is not follower]
    with Probe(cluster.hosts(), use_proxies=True) as probe, \
            Probe(rest, use_proxies=True) as other:
        prefer(probe, cluster, follower)
        start = probe.ask("range", key=key)["revision"] + 1
        watch = probe.watch(key, start)
        other.put(key + "a", "1")
        watch.value(key + "a", "1")
        follower.pause()
        revision = other.put(key + "a", "2")["revision"]
        assert revision > start
        begun = time.monotonic()
        probe.send("expect", task=watch.task, revision=revision, timeout_ms=400)
        lost = watch.lost()
        assert lost["lost"] == "idle"
        assert time.monotonic() - begun > 0.3
        follower.resume()
        again = probe.watch(key, lost["resume"])
        again.value(key + "a", "2")


def test_expectation_that_is_met(quiet, key):
    with Probe(quiet.hosts()) as probe:
        start = probe.ask("range", key=key)["revision"] + 1
        watch = probe.watch(key, start)
        watch.created()
        for value in range(5):
            revision = probe.put(key + "a", str(value))["revision"]
            probe.send("expect", task=watch.task, revision=revision, timeout_ms=300)
        watch.value(key + "a", "4")
        deadline = time.monotonic() + 0.6
        while time.monotonic() < deadline:
            assert probe.put(key + "b", "x")["outcome"] == "ok"
        assert not any("lost" in line for line in probe.lines)


def test_watch_goes_with_its_member(cluster, key):
    """A member that does not answer a request loses the streams through it at once."""
    with Probe(cluster.hosts(), use_proxies=True) as probe:
        follower = cluster.followers()[0]
        prefer(probe, cluster, follower)
        watch = probe.watch(key, probe.ask("range", key=key)["revision"] + 1)
        watch.created()
        follower.pause()
        assert probe.ask("range", key=key, timeout_ms=6000)["outcome"] == "ok"
        assert watch.lost()["lost"] == "disconnected"
        follower.resume()


def test_idle_limit(quiet, key):
    with Probe(quiet.hosts()) as probe:
        watch = probe.watch(key, probe.ask("range", key=key)["revision"] + 1, idle_ms=300)
        watch.created()
        assert watch.lost()["lost"] == "idle"


# ---- members that fail ----

def test_silent_member_gets_a_share(cluster, key):
    """ET-01: it accepts and never answers. Requests go on elsewhere inside their deadline; it is
    avoided until it answers well."""
    with Probe(cluster.hosts(), use_proxies=True) as probe:
        lease = probe.ask("grant", ttl_ms=60000)["lease"]
        follower = cluster.followers()[0]
        prefer(probe, cluster, follower)
        follower.pause()
        kept = probe.ask("keepalive", lease=lease, timeout_ms=SHARE_MS * 3)
        assert kept["outcome"] == "ok"
        assert kept["endpoint"] != follower.client_url
        # The fence counts from the attempt that was answered, not from the first one.
        assert kept["ended_at_ms"] - kept["sent_at_ms"] < SHARE_MS - 500
        assert [e["url"] for e in probe.endpoints() if e["avoided"]] == [follower.client_url]
        for _ in range(20):
            again = probe.ask("keepalive", lease=lease, timeout_ms=SHARE_MS * 3)
            assert again["outcome"] == "ok" and again["endpoint"] != follower.client_url
        assert [e["url"] for e in probe.endpoints() if e["avoided"]] == [follower.client_url]
        follower.resume()
        wait_for(lambda: not any(e["avoided"] for e in probe.endpoints()), PATIENCE_S, "trusted again")


def test_refusing_member_costs_nothing(cluster, key):
    with Probe(cluster.hosts(), use_proxies=True) as probe:
        follower = cluster.followers()[0]
        prefer(probe, cluster, follower)
        follower.kill()
        begun = time.monotonic()
        # Not sent there, so it may be repeated, and no share of the time is waited for.
        assert probe.put(key + "a", "1", timeout_ms=SHARE_MS * 3)["outcome"] == "ok"
        assert time.monotonic() - begun < SHARE_MS / 1000


def test_leader_killed_again_and_again(cluster, key):
    """ET-02: etcd's own election never looks like a loss to requests with time enough."""
    with Probe(cluster.hosts()) as probe:
        lease = probe.ask("grant", ttl_ms=60000)["lease"]
        outcomes = []
        stop = threading.Event()

        def keep():
            while not stop.is_set():
                outcomes.append(probe.ask("keepalive", lease=lease, timeout_ms=20000)["outcome"])
                outcomes.append(probe.ask("range", key=key, timeout_ms=20000)["outcome"])
                outcomes.append(probe.put(key + "a", "1", retry_safe=True,
                                          timeout_ms=20000)["outcome"])
        thread = threading.Thread(target=keep)
        thread.start()
        try:
            for _ in range(3 * SOAK):
                leader = cluster.leader()
                leader.kill()
                cluster.leader()
                leader.start()
                # An election ends before the next begins, else there is no etcd to speak of.
                healed = len(outcomes) + 9
                wait_for(lambda: len(outcomes) > healed, PATIENCE_S, "requests go on")
        finally:
            stop.set()
            thread.join(30)
        assert set(outcomes) == {"ok"}
        assert len(outcomes) > 30


def test_everything_down(cluster, key):
    with Probe(cluster.hosts()) as probe:
        lease = probe.ask("grant", ttl_ms=60000)["lease"]
        cluster.stop()
        tasks = [(probe.send("range", key=key, timeout_ms=1000), {"unavailable"}),
                 (probe.send("keepalive", lease=lease, timeout_ms=1000),
                  {"unavailable", "unknown"}),
                 (probe.send("txn", success=[{"put": key, "value": "v"}], timeout_ms=1000),
                  {"unavailable", "unknown"})]
        begun = time.monotonic()
        for task, allowed in tasks:
            answer = probe.wait(task)
            assert answer["outcome"] in allowed, answer
            assert "127.0.0.1" in answer["error"]
        assert 0.5 < time.monotonic() - begun
        cluster.start()
        assert probe.ask("keepalive", lease=lease, timeout_ms=20000)["outcome"] == "ok"


def test_unknown_write_is_not_repeated(cluster, key):
    """ET-07: all members are silent. What was sent once is unknown, and done once at most."""
    with Probe(cluster.hosts(), use_proxies=True) as probe:
        probe.put(key + "a", "0")
        version = probe.ask("txn", compares=[{"key": key + "a", "version": 1}])["outcome"]
        assert version == "ok"
        for member in cluster.members:
            member.pause()
        write = probe.put(key + "a", "1", timeout_ms=1000)
        assert write["outcome"] == "unknown"
        assert write["sent_at_ms"] > 0
        read = probe.ask("range", key=key, timeout_ms=500)
        assert read["outcome"] == "unavailable"
        for member in cluster.members:
            member.resume()
        wait_for(lambda: probe.ask("range", key=key + "a", timeout_ms=3000)["outcome"] == "ok", PATIENCE_S,
                 "etcd is back")
        # Sent once: version is 1 or 2, never 3. Members that stood still may yet elect again, so the
        # question is one that may be repeated.
        answers = [probe.ask("txn", compares=[{"key": key + "a", "version": n}], retry_safe=True,
                             timeout_ms=20000)["outcome"] for n in (1, 2)]
        assert sorted(answers) == ["ok", "refused"]


def test_repeated_write_recognises_itself(cluster, key):
    """A guarded write whose first copy was applied is refused the second time, and says so."""
    with Probe(cluster.hosts(), use_proxies=True) as probe:
        follower = cluster.followers()[0]
        prefer(probe, cluster, follower)
        follower.pause()
        task = probe.send("txn", compares=[{"key": key + "a", "create": 0}], retry_safe=True,
                          success=[{"put": key + "a", "value": "mine"}],
                          failure=[{"get": key + "a"}], timeout_ms=6000)
        # The first copy waits in the socket of the stopped member until the second was answered.
        answer = probe.wait(task)
        assert answer["outcome"] == "ok" and answer["repeat"]
        follower.resume()
        assert probe.get(key + "a") == "mine"


def test_a_grant_leaves_one_lease(cluster):
    """The first copy of a grant is carried out late: it must not make a second lease."""
    with Probe(cluster.hosts(), use_proxies=True) as probe:
        follower = cluster.followers()[0]
        prefer(probe, cluster, follower)
        follower.pause()
        granted = probe.ask("grant", ttl_ms=60000, timeout_ms=4000)
        assert granted["outcome"] == "ok" and granted["repeat"]
        follower.resume()
        follower.wait_healthy()
        assert cluster.leases() == [granted["lease"]]


def test_discovery(cluster, key):
    """ET-06: one host is configured, the others are learned, and serve when it is gone."""
    first = cluster.members[0]
    with Probe(["127.0.0.1:%d" % first.client_port]) as probe:
        probe.put(key + "a", "1")
        wait_for(lambda: sorted(e["url"] for e in probe.endpoints()) ==
                 sorted(cluster.client_urls()), PATIENCE_S, "all members known")
        assert [e["url"] for e in probe.endpoints() if e["configured"]] == [first.client_url]
        first.kill()
        assert probe.get(key + "a", timeout_ms=20000) == "1"


def test_advertised_addresses_that_nobody_reaches(tmp_path, key):
    """ET-06: what works stays in use, whatever is advertised."""
    with EtcdCluster(3, tmp_path, advertise="http://192.0.2.1:2379,http://127.0.0.1:1") as cluster:
        with Probe(cluster.hosts()) as probe:
            probe.put(key + "a", "1")
            wait_for(lambda: len(probe.endpoints()) == 5, PATIENCE_S, "advertised addresses are listed")
            for _ in range(10):
                assert probe.get(key + "a", timeout_ms=20000) == "1"
            probe_url = url_of(probe.ask("range", key=key))
            next(m for m in cluster.members if m.client_url == probe_url).kill()
            assert probe.get(key + "a", timeout_ms=20000) == "1"


def test_rolling_replacement(tmp_path, key):
    """ET-06: every member is replaced by one at another address; no request fails."""
    with EtcdCluster(3, tmp_path / "old") as old, Probe(old.hosts(), ttl_ms=1000) as probe:
        new = EtcdCluster(3, tmp_path / "new")
        probe.put(key + "a", "1")
        try:
            for idx, member in enumerate(new.members):
                member.name = "n%d" % (idx + 1)
                leaving = old.members[idx]
                status = leaving.status()
                alive = ",".join(m.client_url for m in old.members[idx + 1:] +
                                 [m for m in new.members if m.is_running()])
                # etcd refuses until its members have been connected for five seconds.
                wait_for(lambda: can(old, "member", "add", member.name, "--peer-urls",
                                     member.peer_url, endpoints=alive or leaving.client_url), PATIENCE_S,
                         "the member is added")
                peers = old.members[idx:] + new.members[:idx + 1]
                member.extra = ["--initial-cluster-state", "existing", "--initial-cluster",
                                ",".join("%s=%s" % (m.name, m.peer_url) for m in peers)]
                member.start()
                wait_for(lambda: member.client_url in [e["url"] for e in probe.endpoints()] or
                         probe.get(key + "a", timeout_ms=20000) is None, PATIENCE_S, "learned the new one")
                wait_for(lambda: can(old, "member", "remove", "%x" % status["id"],
                                     endpoints=member.client_url), PATIENCE_S, "the member is removed")
                leaving.kill()
                assert probe.get(key + "a", timeout_ms=20000) == "1"
                assert probe.put(key + "b", str(idx), retry_safe=True,
                                 timeout_ms=20000)["outcome"] == "ok"
        finally:
            new.stop()


def test_reconfigure(quiet, key):
    with Probe(quiet.hosts()[:1], use_proxies=True) as probe:
        probe.put(key + "a", "1")
        assert probe.ask("reconfigure", hosts=["127.0.0.1:1", "bad host"])["error"]
        assert probe.get(key + "a") == "1"
        assert probe.ask("reconfigure", hosts=quiet.hosts()[1:], use_proxies=True)["error"] == ""
        assert probe.get(key + "a") == "1"
        assert sorted(e["url"] for e in probe.endpoints()) == sorted(quiet.client_urls()[1:])
        wrong = probe.ask("reconfigure", hosts=quiet.hosts(), cacert="/nowhere/ca.crt")["error"]
        assert "etcd3.cacert" in wrong and "/nowhere/ca.crt" in wrong


# ---- users ----

@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """Users are on; tokens live a second. User app may use /app/ only."""
    folder = tmp_path_factory.mktemp("guarded")
    with EtcdCluster(3, folder, extra=["--auth-token-ttl", "1", "--bcrypt-cost", "4"]) as cluster:
        cluster.enable_auth()
        cluster.add_user("app", "secret \"\\\u00e9", "/app/")
        yield cluster


def app_probe(cluster, **options):
    return Probe(cluster.hosts(), username="app", password="secret \"\\\u00e9", **options)


def test_user_and_password(guarded):
    with app_probe(guarded) as probe:
        assert probe.put("/app/a", "1")["outcome"] == "ok"
        assert probe.get("/app/a") == "1"
        lease = probe.ask("grant", ttl_ms=60000)
        assert lease["outcome"] == "ok"
        assert probe.ask("keepalive", lease=lease["lease"])["outcome"] == "ok"
        assert probe.put("/other", "1")["outcome"] == "authentication failed"
        assert probe.ask("range", key="/other")["outcome"] == "authentication failed"
    for wrong in ({"username": "app", "password": "wrong"}, {"username": "nobody", "password": "x"},
                  {}):
        with Probe(guarded.hosts(), **wrong) as probe:
            begun = time.monotonic()
            refused = probe.ask("range", key="/app/a", timeout_ms=60000)
            assert refused["outcome"] == "authentication failed", refused
            assert time.monotonic() - begun < 30  # not tried again to the deadline
            assert "wrong" not in refused["error"]


def test_token_runs_out(guarded):
    """ET-08: one new token per failure, no request fails, and the watch goes on."""
    with app_probe(guarded) as probe:
        start = probe.ask("range", key="/app/w", timeout_ms=5000)["revision"] + 1
        watch = probe.watch("/app/w", start)
        watch.created()
        for turn in range(3):
            # The token's time is over once etcd refuses it; ttl 1 s, looked at every second.
            deadline = time.monotonic() + 2.2
            while time.monotonic() < deadline:
                time.sleep(0.05)
            tasks = [probe.send("txn", success=[{"put": "/app/w", "value": str(turn)}]),
                     probe.send("range", key="/app/w"), probe.send("range", key="/app/a")]
            assert [probe.wait(t)["outcome"] for t in tasks] == ["ok"] * 3
            watch.value("/app/w", str(turn))


def test_tokens_forgotten_by_restart(guarded):
    with app_probe(guarded) as probe:
        assert probe.put("/app/a", "1")["outcome"] == "ok"
        for member in guarded.members:
            member.stop()
            member.start()
        guarded.leader()
        assert probe.put("/app/a", "2", timeout_ms=20000)["outcome"] == "ok"
        watch = probe.watch("/app/", 1)
        watch.value("/app/a", "2")


def test_watch_beyond_the_role(guarded):
    with app_probe(guarded) as probe:
        lost = probe.watch("/other/", 1).lost()
        assert lost["lost"] in ("refused", "disconnected")
        assert "permission denied" in lost["error"]


def test_user_given_but_auth_is_off(quiet, key):
    with Probe(quiet.hosts(), username="app", password="x") as probe:
        assert probe.put(key + "a", "1")["outcome"] == "ok"


# ---- TLS ----

@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    with EtcdCluster(1, tmp_path_factory.mktemp("secure"), tls=True,
                     alt_names="DNS:localhost,IP:127.0.0.1") as cluster:
        yield cluster


def secure_probe(cluster, host="127.0.0.1", **changes):
    options = dict(protocol="https", cacert=cluster.authority.cert, cert=cluster.client_files[0],
                   key=cluster.client_files[1], use_proxies=True)
    options.update(changes)
    options = {name: value for name, value in options.items() if value is not None}
    return Probe(["%s:%d" % (host, cluster.members[0].client_port)], **options)


def check_refused_in_tls(probe, key, word):
    """No request gets through. The error is that of the last try, which its deadline may have cut off."""
    def is_told():
        answer = probe.put(key + "a", "1", timeout_ms=1000)
        assert answer["outcome"] == "unavailable", answer
        return word in answer["error"]
    wait_for(is_told, PATIENCE_S, "%s is named" % word)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_tls_with_client_certificate(secure, key, host):
    with secure_probe(secure, host) as probe:
        assert probe.put(key + "a", "1")["outcome"] == "ok"
        watch = probe.watch(key, 1)
        watch.value(key + "a", "1")


def test_tls_unverified_without_cacert(secure, key):
    with secure_probe(secure, cacert=None) as probe:
        assert probe.put(key + "a", "1")["outcome"] == "ok"


def test_tls_wrong_authority_is_refused(secure, key, tmp_path):
    with secure_probe(secure, cacert=Authority(str(tmp_path), "other").cert) as probe:
        check_refused_in_tls(probe, key, "certificate")


def test_tls_wrong_host_name_is_refused(tmp_path, key):
    with EtcdCluster(1, tmp_path, tls=True, alt_names="DNS:elsewhere,IP:127.0.0.1") as cluster:
        with secure_probe(cluster, "localhost") as probe:
            check_refused_in_tls(probe, key, "localhost")
        with secure_probe(cluster, "127.0.0.1") as probe:
            assert probe.put(key + "a", "1")["outcome"] == "ok"


def test_tls_without_client_certificate_is_refused(secure, key):
    with secure_probe(secure, cert=None) as probe:
        check_refused_in_tls(probe, key, "certificate")


def test_tls_certificate_of_another_authority_is_refused(secure, key, tmp_path):
    cert, client_key = Authority(str(tmp_path), "other").issue("client")
    with secure_probe(secure, cert=cert) as probe:
        answer = probe.ask("reconfigure", hosts=secure.hosts(), protocol="https",
                           cacert=secure.authority.cert, cert=cert, **{"key": client_key})
        assert answer["error"] == ""
        answer = probe.ask("range", key=key, timeout_ms=1000)
        assert answer["outcome"] == "unavailable"


def test_tls_checks_the_name_not_the_address(tmp_path, key):
    """Names are resolved beside libcurl, but the certificate must still carry the name."""
    with EtcdCluster(1, tmp_path, tls=True, alt_names="DNS:good.test,IP:127.0.0.1") as cluster, \
            FakeDns() as dns:
        with secure_probe(cluster, "good.test", nameserver=dns.nameserver) as probe:
            assert probe.put(key + "a", "1")["outcome"] == "ok"
        with secure_probe(cluster, "bad.test", nameserver=dns.nameserver) as probe:
            check_refused_in_tls(probe, key, "bad.test")


# ---- names ----

def named_hosts(cluster):
    return ["%s.test:%d" % (m.name, m.client_port) for m in cluster.members]


def test_dns_falls_silent(quiet, key):
    """NW-04: once resolved, names need no DNS server any more."""
    with FakeDns() as dns, Probe(named_hosts(quiet), use_proxies=True, nameserver=dns.nameserver,
                                 fresh_ms=100) as probe:
        lease = probe.ask("grant", ttl_ms=60000)["lease"]
        for host in named_hosts(quiet):
            assert probe.ask("resolve", name=host.split(":")[0])["rc"] == "ok"
        dns.silent = True
        deadline, slowest = time.monotonic() + 4, 0
        while time.monotonic() < deadline:
            begun = time.monotonic()
            assert probe.ask("keepalive", lease=lease, timeout_ms=6000)["outcome"] == "ok"
            slowest = max(slowest, time.monotonic() - begun)
        assert slowest < 1.5  # an attempt that waited for the name would have cost its share, 2 s
        again = probe.ask("resolve", name="e1.test")
        assert (again["rc"], again["old"]) == ("ok", True)
        assert dns.questions > 6


def test_dns_is_silent_from_the_start(quiet, key):
    """P6: nothing blocks. What needs the name ends at its deadline, everything else goes on."""
    first = "127.0.0.1:%d" % quiet.members[0].client_port
    with FakeDns() as dns:
        dns.silent = True
        with Probe(named_hosts(quiet), environment={"PGHEIR_NAMESERVER": dns.nameserver}) as probe:
            begun = time.monotonic()
            task = probe.send("range", key=key, timeout_ms=1500)
            slowest = 0
            while not probe.count_answers(task):
                asked = time.monotonic()
                assert probe.ask("resolve", name="127.0.0.1")["rc"] == "ok"
                slowest = max(slowest, time.monotonic() - asked)
            answer = probe.wait(task)
            assert answer["outcome"] == "unavailable" and ".test" in answer["error"]
            assert time.monotonic() - begun > 1.3
            assert slowest < 1  # who asked in the meantime did not wait for it
            assert dns.questions > 0
            # One address among the names is enough.
            probe.ask("reconfigure", hosts=named_hosts(quiet) + [first], use_proxies=True)
            assert probe.ask("range", key=key, timeout_ms=20000)["outcome"] == "ok"


def test_a_name_moves(quiet, key):
    """NW-04: a new address is found after the old one failed, without a restart."""
    with FakeDns("127.0.0.77") as dns, Probe(named_hosts(quiet), use_proxies=True,
                                             nameserver=dns.nameserver) as probe:
        assert probe.ask("range", key=key, timeout_ms=800)["outcome"] == "unavailable"
        dns.address = "127.0.0.1"
        assert probe.ask("range", key=key, timeout_ms=20000)["outcome"] == "ok"
