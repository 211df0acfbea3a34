"""One network namespace per member, on a bridge in a namespace of its own (the bridge of a machine with docker passes
what its firewall lets through, which is not ours to change). Needs root; Linux only.

    with Network(3) as network:                 network.address, 10.x.y.1, is our own end
        network.ends[0].address                 "10.x.y.11"
        with network.ends[0].cut(): ...         its cable is pulled: nobody hears it, it hears nobody
        with network.ends[0].drop(ports): ...   nothing passes to or from these TCP ports
    with inside(end): ...                       sockets that this thread makes belong to the namespace

Names and subnet are derived from our pid, so that runs side by side do not meet. Everything is removed at the end,
and what a killed run of the same pid left is removed at the beginning."""
import contextlib
import ctypes
import os
import shutil
import subprocess

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def why_not():
    """Reason why namespaces cannot be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "nft"):
        if shutil.which(tool) is None:
            return "%s is missing" % tool
    name = "pgh%dx" % (os.getpid() % 100000)
    done = subprocess.run(["ip", "netns", "add", name], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        return "ip netns add: %s" % done.stdout.strip()
    subprocess.run(["ip", "netns", "delete", name], check=True)
    return None


def run(*command, check=True, text=None):
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    if check and done.returncode != 0:
        raise RuntimeError("%s: %s" % (" ".join(command), done.stdout.strip()))
    return done.stdout


def enter(namespace_fd):
    if libc.setns(namespace_fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def inside(end):
    """This thread's new sockets, and processes it starts, are in the namespace."""
    with open("/proc/thread-self/ns/net") as ours, open(end.path) as theirs:
        enter(theirs.fileno())
        try:
            yield
        finally:
            enter(ours.fileno())


class End:
    """A namespace with its cable to the bridge."""

    def __init__(self, network, idx):
        self.network = network
        self.name = "%sn%d" % (network.prefix, idx + 1)
        self.path = "/run/netns/" + self.name
        self.outer = "%sv%d" % (network.prefix, idx + 1)
        self.address = "%s.%d" % (network.subnet, 11 + idx)

    def make(self):
        run("ip", "netns", "add", self.name)
        self.network.plug(self.outer, self.name)
        for words in (("link", "set", "lo", "up"), ("link", "set", "eth0", "up"),
                      ("addr", "add", self.address + "/24", "dev", "eth0")):
            run("ip", "-n", self.name, *words)

    def remove(self):
        run("ip", "netns", "delete", self.name, check=False)

    @contextlib.contextmanager
    def cut(self):
        """The cable is pulled at the bridge. The namespace sees a link without carrier and keeps its address:
        its own clients stay attached."""
        run("ip", "-n", self.network.hub, "link", "set", self.outer, "down")
        try:
            yield
        finally:
            self.mend()

    def mend(self):
        run("ip", "-n", self.network.hub, "link", "set", self.outer, "up")
        with contextlib.suppress(RuntimeError):
            run("ip", "netns", "exec", self.name, "nft", "delete", "table", "inet", "cut")

    @contextlib.contextmanager
    def drop(self, ports, address=None):
        """Packets to and from these TCP ports (of this address only) vanish without a word."""
        where = "ip %s " + address + " " if address else "%.0s"
        ports = ", ".join(str(p) for p in ports)
        rules = "table inet cut {\n chain out { type filter hook output priority 0; %stcp dport { %s } drop; }\n" \
            " chain in { type filter hook input priority 0; %stcp sport { %s } drop; }\n}\n" % (
                where % "daddr", ports, where % "saddr", ports)
        run("ip", "netns", "exec", self.name, "nft", "-f", "-", text=rules)
        try:
            yield
        finally:
            self.mend()


class Network:
    """A bridge and n ends."""

    def __init__(self, n):
        number = os.getpid() % 100000
        self.prefix = "pgh%d" % number
        self.hub, self.ours = self.prefix + "h", self.prefix + "r"
        self.subnet = "10.%d.%d" % (100 + number // 250 % 150, number % 250)
        self.address = self.subnet + ".1"
        self.ends = [End(self, i) for i in range(n)]

    def __enter__(self):
        self.remove()
        try:
            run("ip", "netns", "add", self.hub)
            run("ip", "-n", self.hub, "link", "add", "bridge", "type", "bridge")
            run("ip", "-n", self.hub, "link", "set", "bridge", "up")
            run("ip", "link", "add", self.ours, "type", "veth", "peer", "name", "ours", "netns", self.hub)
            run("ip", "-n", self.hub, "link", "set", "ours", "master", "bridge", "up")
            run("ip", "addr", "add", self.address + "/24", "dev", self.ours)
            run("ip", "link", "set", self.ours, "up")
            for end in self.ends:
                end.make()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *exc):
        self.remove()

    def plug(self, outer, namespace):
        """A cable from the bridge to eth0 of a namespace."""
        run("ip", "-n", self.hub, "link", "add", outer, "type", "veth", "peer", "name", "eth0",
            "netns", namespace)
        run("ip", "-n", self.hub, "link", "set", outer, "master", "bridge", "up")

    def remove(self):
        for end in self.ends:
            end.remove()
        run("ip", "link", "delete", self.ours, check=False)
        run("ip", "netns", "delete", self.hub, check=False)

    def mend(self):
        for end in self.ends:
            end.mend()
