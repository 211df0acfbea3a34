"""Drives tests/io/etcd_probe: one running client of the etcd, HTTP and resolver doors."""
import json
import os
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e", "lib"))

from etcd import PATIENCE_S  # noqa: E402

BUILD = os.environ.get("PGHEIR_BUILD", os.getcwd())
PROBE = os.path.join(BUILD, "tests", "io", "etcd_probe")


class Probe:
    """Answers are dictionaries as etcd_probe prints them."""

    def __init__(self, hosts=("127.0.0.1:1",), environment=None, **config):
        config["hosts"] = list(hosts)
        self.process = subprocess.Popen([PROBE, json.dumps(config)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=dict(os.environ, **(environment or {})))
        self.changed = threading.Condition()
        self.lines = []
        self.log = []
        self.last_id = 0
        self.readers = [threading.Thread(target=self.read, daemon=True),
                        threading.Thread(target=self.read_log, daemon=True)]
        for reader in self.readers:
            reader.start()
        self.find(lambda line: line.get("ready"), PATIENCE_S, "start")

    def read(self):
        for text in self.process.stdout:
            with self.changed:
                self.lines.append(json.loads(text))
                self.changed.notify_all()
        with self.changed:
            self.lines.append({"ended": True})
            self.changed.notify_all()

    def read_log(self):
        for text in self.process.stderr:
            self.log.append(text.rstrip("\n"))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close(check=exc[0] is None)

    def close(self, check=True):
        """Ends it in order; with check, a crash or a leak seen by a sanitizer fails the test."""
        self.process.stdin.close()
        try:
            status = self.process.wait(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        for reader in self.readers:
            reader.join(5)
        if check:
            assert status == 0, "\n".join(self.log[-60:])

    def find(self, condition, timeout_s, what="an answer"):
        """The first line that satisfies condition, now or within timeout_s."""
        deadline = time.monotonic() + timeout_s
        seen = 0
        with self.changed:
            while True:
                for line in self.lines[seen:]:
                    if condition(line):
                        return line
                seen = len(self.lines)
                assert not (self.lines and self.lines[-1].get("ended")), \
                    "the probe ended:\n" + "\n".join(self.log[-60:])
                left = deadline - time.monotonic()
                assert left > 0, "no %s within %s s" % (what, timeout_s)
                self.changed.wait(left)

    def send(self, op, **order):
        self.last_id += 1
        order.update(op=op, id=self.last_id)
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self.last_id

    def wait(self, task, timeout_s=PATIENCE_S):
        return self.find(lambda line: line.get("id") == task, timeout_s)

    def ask(self, op, **order):
        return self.wait(self.send(op, **order))

    def count_answers(self, task):
        with self.changed:
            return sum(line.get("id") == task for line in self.lines)

    def put(self, key, value, lease=0, **order):
        return self.ask("txn", success=[{"put": key, "value": value, "lease": lease}], **order)

    def get(self, key, **order):
        answer = self.ask("range", key=key, **order)
        assert answer["outcome"] == "ok", answer
        return answer["kvs"][0]["value"] if answer["kvs"] else None

    def endpoints(self):
        return self.ask("endpoints")["endpoints"]

    def watch(self, prefix, start, **options):
        return Watch(self, prefix, start, **options)


class Watch:
    def __init__(self, probe, prefix, start, **options):
        self.probe = probe
        self.task = probe.send("watch", prefix=prefix, start=start, **options)

    def find(self, condition, timeout_s=PATIENCE_S, what="a message of the watch"):
        return self.probe.find(lambda line: line.get("watch") == self.task and condition(line),
                               timeout_s, what)

    def created(self):
        return self.find(lambda line: line.get("created"), what="a created watch")

    def lost(self, timeout_s=PATIENCE_S):
        return self.find(lambda line: "lost" in line, timeout_s, "a lost watch")

    def value(self, key, value, timeout_s=PATIENCE_S):
        """Waits until the watch has reported this value of key (None: its deletion)."""
        return self.find(lambda line: any(
            event["kv"][0]["key"] == key and
            (event["delete"] if value is None else event["kv"][0]["value"] == value)
            for event in line.get("events", [])), timeout_s, "%s=%s" % (key, value))

    def events(self):
        """All events so far as (key, value or None, mod revision)."""
        with self.probe.changed:
            lines = list(self.probe.lines)
        return [(e["kv"][0]["key"], None if e["delete"] else e["kv"][0]["value"], e["kv"][0]["mod"])
                for line in lines if line.get("watch") == self.task
                for e in line.get("events", [])]

    def cancel(self):
        self.probe.send("cancel", task=self.task)
        return self.lost()


class FakeDns:
    """A DNS server on loopback: every name is at address; silent: it answers nothing."""

    def __init__(self, address="127.0.0.1"):
        self.address = address
        self.silent = False
        self.questions = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.nameserver = "127.0.0.1:%d" % self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self.sock.getsockname())
        self.thread.join(5)
        self.sock.close()

    def serve(self):
        while True:
            packet, peer = self.sock.recvfrom(512)
            if not packet:
                return
            self.questions += 1
            if self.silent:
                continue
            end = packet.index(b"\0", 12) + 5
            is_v4 = packet[end - 4:end - 2] == b"\0\1"
            answer = packet[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_v4 else b"\0\0") + b"\0\0\0\0"
            answer += packet[12:end]
            if is_v4:
                answer += b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(self.address)
            self.sock.sendto(answer, peer)
