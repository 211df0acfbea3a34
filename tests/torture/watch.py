"""What is seen from outside while the faults rage: one writer per server, glued to it, and who calls itself
primary. Every acknowledged row is recorded with its moment, its server and the timeline it was written on."""
import bisect
import contextlib
import threading
import time

import psycopg2

POLL_S = 0.2
PACE_S = 0.004
TOGETHER_S = 0.3  # two answers of one round, so close that no hand-over fits between them
TABLE = "torture"
INSERT = ("INSERT INTO " + TABLE + " VALUES (%s, %s) "
          "RETURNING substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)")


class Ack:
    __slots__ = ("node", "number", "at", "timeline")

    def __init__(self, node, number, at, timeline):
        self.node, self.number, self.at, self.timeline = node, number, at, timeline


class ServerWriter(threading.Thread):
    """Inserts at one server, whatever its role, and keeps its session as long as it lives. A number is used once,
    whatever became of it."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node = node
        self.acks = []
        self.number = 0
        self.stopping = threading.Event()

    def run(self):
        connection = cursor = None
        while not self.stopping.is_set():
            try:
                if connection is None:
                    connection = self.node.connect(timeout_s=2, options="-c statement_timeout=30000")
                    cursor = connection.cursor()
                self.number += 1
                cursor.execute(INSERT, (self.node.idx, self.number))
                at = time.monotonic()
                self.acks.append(Ack(self.node.name, self.number, at, int(cursor.fetchone()[0], 16)))
                self.stopping.wait(PACE_S)
            except (psycopg2.errors.ReadOnlySqlTransaction, psycopg2.errors.UndefinedTable,
                    psycopg2.errors.ObjectNotInPrerequisiteState):
                self.stopping.wait(0.02)
            except psycopg2.Error:
                with contextlib.suppress(psycopg2.Error, AttributeError):
                    connection.close()
                connection = None
                self.stopping.wait(0.05)


class PrimaryWatch(threading.Thread):
    """Asks every member for /primary, over and over, as a load balancer does."""

    def __init__(self, nodes):
        super().__init__(daemon=True)
        self.nodes = nodes
        self.stopping = threading.Event()
        self.seen = []  # (moment, names that answered 200)
        self.together = []

    def run(self):
        while not self.stopping.wait(POLL_S):
            said = []
            for node in self.nodes:
                if node.code("/primary", 0.25) == 200:
                    said.append((time.monotonic(), node.name))
            names = [name for _, name in said]
            self.seen.append((time.monotonic(), names))
            if len(said) > 1 and said[-1][0] - said[0][0] < TOGETHER_S:
                self.together.append((said[0][0], names))


class Watch:
    def __init__(self, cluster):
        self.cluster = cluster
        self.began_at = time.monotonic()
        cluster.wait_leader().sql("CREATE TABLE %s (writer int, number bigint, "
                                  "PRIMARY KEY (writer, number))" % TABLE)
        self.writers = [ServerWriter(node) for node in cluster.nodes]
        self.primaries = PrimaryWatch(cluster.nodes)

    def __enter__(self):
        for thread in [*self.writers, self.primaries]:
            thread.start()
        return self

    def __exit__(self, *exc):
        threads = [*self.writers, self.primaries]
        for thread in threads:
            thread.stopping.set()
        for thread in threads:
            thread.join(timeout=60)

    def acks(self):
        """All of them in the order of time."""
        return sorted((ack for w in self.writers for ack in list(w.acks)), key=lambda ack: ack.at)

    def first_after(self, moment):
        """Moment of the first acknowledgement after this one, by any server; None if there is none yet."""
        firsts = []
        for writer in self.writers:
            idx = bisect.bisect_right(writer.acks, moment, key=lambda ack: ack.at)
            firsts += [ack.at for ack in writer.acks[idx:idx + 1]]
        return min(firsts, default=None)

    def outage_s(self, begin, end):
        """Longest time without an acknowledgement by any server that began between the two moments."""
        moments = [ack.at for ack in self.acks()]
        inner = moments[max(0, bisect.bisect_left(moments, begin) - 1):bisect.bisect_right(moments, end) + 1]
        return max((b - a for a, b in zip(inner, inner[1:])), default=0)

    def reigns(self):
        """Stretches of one server on one timeline: [(timeline, name, first, last, rows)]."""
        reigns = {}
        for ack in self.acks():
            reign = reigns.setdefault((ack.timeline, ack.node), [ack.at, ack.at, 0])
            reign[1] = ack.at
            reign[2] += 1
        return [(timeline, name, first, last, rows)
                for (timeline, name), (first, last, rows) in sorted(reigns.items(), key=lambda i: i[1][0])]

    def overlaps(self):
        """Instants in which two servers acknowledged: of each pair of reigns that overlap, who, when, how long."""
        found = []
        reigns = self.reigns()
        for idx, (timeline, name, first, last, _) in enumerate(reigns):
            for timeline_2, name_2, first_2, last_2, _ in reigns[idx + 1:]:
                begin, end = max(first, first_2), min(last, last_2)
                if name != name_2 and end >= begin:
                    found.append({"servers": [name, name_2], "timelines": [timeline, timeline_2],
                                  "at_s": begin - self.began_at, "length_s": end - begin})
        return found

    def lost(self, leader):
        """Acknowledged rows that the last primary does not have."""
        rows = set(leader.sql("SELECT writer, number FROM " + TABLE))
        return [ack for w in self.writers for ack in list(w.acks) if (w.node.idx, ack.number) not in rows]
