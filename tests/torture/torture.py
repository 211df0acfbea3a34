"""What scripts/torture runs: a real cluster in network namespaces, random faults, writers, and a checker outside.
Uses the small library of the end-to-end tests (tests/e2e/lib)."""
import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "e2e", "lib")]

import netns  # noqa: E402
import report  # noqa: E402
from cluster import FAST  # noqa: E402
from etcd import EtcdCluster  # noqa: E402
from faults import FAULTS  # noqa: E402
from isolated import IsolatedCluster, open_hba  # noqa: E402
from shared import heal  # noqa: E402
from watch import Watch  # noqa: E402

WELL_S = 120           # everybody runs and streams again, or it is a finding
CALM_S = (1.0, 4.0)    # between two faults
SECOND_SHARE = 0.3     # of faults that get company
LEADER_SHARE = 0.65    # of faults that go for the leader


class Campaign:
    def __init__(self, cluster, watch, rng, minutes):
        self.cluster, self.watch, self.rng = cluster, watch, rng
        self.until = watch.began_at + 60 * minutes
        self.events = []
        self.findings = []

    def since_start(self, moment=None):
        return (time.monotonic() if moment is None else moment) - self.watch.began_at

    def find(self, text):
        self.findings.append({"at_s": self.since_start(), "text": text})
        report.say("%8.1f s  FOUND     %s" % (self.since_start(), text))

    def draw_fault(self, unlike=None):
        choice = [fault for fault in FAULTS if fault is not unlike]
        return self.rng.choices(choice, [fault.weight for fault in choice])[0]

    def draw_node(self):
        leader = None
        with contextlib.suppress(AssertionError):
            leader = self.cluster.leader()
        if leader is not None and self.rng.random() < LEADER_SHARE:
            return leader
        return self.rng.choice(self.cluster.nodes)

    def draw_length_s(self):
        ttl_s = FAST["ttl"]
        return self.rng.choice((0.3, 1, 2, ttl_s, 2 * ttl_s, 3 * ttl_s)) * self.rng.uniform(0.7, 1.3)

    def one_round(self):
        first = self.draw_fault()
        faults = [(first, self.draw_node())]
        if self.rng.random() < SECOND_SHARE:
            faults.append((self.draw_fault(first), self.draw_node()))
        event = {"at_s": self.since_start(), "faults": ["%s (%s)" % (f.name, n.name) for f, n in faults],
                 "keeps": all(f.keeps for f, _ in faults), "frozen": any(f.frozen for f, _ in faults)}
        report.say("%8.1f s  fault     %s" % (event["at_s"], ", ".join(event["faults"])))
        with contextlib.ExitStack() as stack:
            for fault, node in faults:
                try:
                    stack.enter_context(fault.run(self.cluster, node, self.rng))
                except (AssertionError, RuntimeError) as error:
                    report.say("            not possible now: %s" % str(error).splitlines()[0])
                # The second one comes a little later, when the cluster is dealing with the first.
                self.pause(self.rng.uniform(0.05, FAST["ttl"]) if len(faults) > 1 else 0)
            if not all(f.brief for f, _ in faults):
                self.pause(self.draw_length_s())
        healed_at = time.monotonic()
        event["healed_s"] = self.since_start(healed_at)
        self.recover(event, healed_at)
        self.events.append(event)

    def recover(self, event, healed_at):
        """Everybody is started again who does not run; then the cluster has to come back by itself."""
        try:
            heal(self.cluster, WELL_S)
        except AssertionError as error:
            self.find("not well within %d s after %s: %s" % (WELL_S, event["faults"], error))
            raise
        first_at = self.watch.first_after(healed_at)
        while first_at is None and time.monotonic() < healed_at + WELL_S:
            self.pause(0.05)
            first_at = self.watch.first_after(healed_at)
        if first_at is None:
            self.find("nothing acknowledged within %d s after %s" % (WELL_S, event["faults"]))
            raise AssertionError("no writes")
        event["writes_after_s"] = first_at - healed_at
        event["well_after_s"] = time.monotonic() - healed_at
        for node in self.cluster.nodes:
            own = (node.status() or {}).get("pgheir") or {}
            if not own.get("reason"):
                self.find("%s does not say why it does what it does" % node.name)
        report.say("%8.1f s  well      writes %.1f s, everybody %.1f s after the end of the fault" %
                   (self.since_start(), event["writes_after_s"], event["well_after_s"]))

    def pause(self, seconds):
        """A span of time that is part of the campaign, not a wait for something."""
        time.sleep(seconds)

    def run(self):
        while time.monotonic() < self.until:
            self.pause(self.rng.uniform(*CALM_S))
            self.one_round()


def judge(campaign, watch, leader):
    """The promises, from what was seen outside. Returns what the report needs."""
    events = campaign.events
    overlaps = watch.overlaps()
    for overlap in overlaps:
        overlap["excused"] = any(e["frozen"] and e["at_s"] - 1 <= overlap["at_s"] <= e["healed_s"] + 2
                                 for e in events)
        if not overlap["excused"]:
            campaign.find("two servers acknowledged at once: %s" % overlap)
    for moment, names in watch.primaries.together:
        campaign.find("%s both said that they are the primary at %.1f s" %
                      (" and ".join(names), campaign.since_start(moment)))
    for event in events:
        end_s = event["healed_s"] + event["writes_after_s"]
        event["outage_s"] = watch.outage_s(watch.began_at + event["at_s"], watch.began_at + end_s)
    lost = watch.lost(leader)
    for ack in lost:
        at_s = campaign.since_start(ack.at)
        blamed = next((e for e in events if not e["keeps"] and
                       e["at_s"] - 1 <= at_s <= e["healed_s"] + e.get("writes_after_s", WELL_S)), None)
        if blamed is None:
            campaign.find("row %d of %s, acknowledged at %.1f s, is lost, and no fault may have cost it" %
                          (ack.number, ack.node, at_s))
            break
        blamed["lost_rows"] = blamed.get("lost_rows", 0) + 1
    return {"overlaps": overlaps, "lost_rows": len(lost), "acknowledged_rows": len(watch.acks())}


def play(arguments, folder):
    rng = random.Random(arguments.seed)
    with netns.Network(arguments.nodes) as network, \
            EtcdCluster(3, os.path.join(folder, "etcd"), host=network.address) as etcd, \
            IsolatedCluster(network, os.path.join(folder, "c"), etcd, scope="torture",
                            change=open_hba) as cluster:
        cluster.start()
        cluster.wait_leader()
        cluster.wait_replicas(arguments.nodes - 1)
        with Watch(cluster) as watch:
            campaign = Campaign(cluster, watch, rng, arguments.minutes)
            with contextlib.suppress(AssertionError):
                campaign.run()
            watched_s = time.monotonic() - watch.began_at
        found = {}
        if not campaign.findings:
            found = judge(campaign, watch, heal(cluster, WELL_S))
        reigns = [{"timeline": t, "server": name, "first_s": first - watch.began_at,
                   "last_s": last - watch.began_at, "rows": rows} for t, name, first, last, rows in watch.reigns()]
        return dict(found, seed=arguments.seed, nodes=arguments.nodes, ttl_s=FAST["ttl"], watched_s=watched_s,
                    events=campaign.events, reigns=reigns, findings=campaign.findings)


def main():
    parser = argparse.ArgumentParser(prog="scripts/torture")
    parser.add_argument("--minutes", type=float, default=2, metavar="M")
    parser.add_argument("--seed", type=int, default=None, metavar="S", help="default: drawn, and printed")
    parser.add_argument("--nodes", type=int, default=3, choices=(3, 5))
    parser.add_argument("--report", default="torture-report", metavar="FOLDER",
                        help="report.json, summary.txt, timeline.svg; logs of the members if something was found")
    arguments = parser.parse_args()
    if arguments.minutes <= 0:
        parser.error("--minutes must be more than 0")
    why_not = netns.why_not()
    if why_not is not None:
        parser.exit(2, "scripts/torture: %s\n" % why_not)
    if arguments.seed is None:
        arguments.seed = random.SystemRandom().randrange(1, 1000000)
    os.makedirs(arguments.report, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="pgheir-torture-")
    os.chmod(folder, 0o755)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    report.say("seed %d, %d members, %g minutes" % (arguments.seed, arguments.nodes, arguments.minutes))
    try:
        found = play(arguments, folder)
        report.write(found, arguments.report)
        if found["findings"]:
            report.keep_logs(folder, arguments.report)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if found["findings"] else 0)


if __name__ == "__main__":
    main()
