"""Real etcd clusters on loopback for tests.

    with EtcdCluster(3, base_dir) as etcd:
        etcd.client_urls()            ["http://127.0.0.1:40001", ...]
        etcd.put("/a", "b")
        etcd.leader()                 the Member that leads
        etcd.leader().kill()          kill -9; start() brings it back with its data
        etcd.members[0].pause()       SIGSTOP: accepts connections, never answers; resume()

Needs etcd and etcdctl (Debian: etcd-server, etcd-client). Ports are free ones.
"""
import base64
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request

# How long tests wait for what must come. It costs nothing when it comes, and a busy machine may take its time;
# only what is itself the promise has a shorter bound.
PATIENCE_S = 90
EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def wait_for(condition, timeout_s, what):
    """Polls until condition() is true and returns its value."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("not within %s s: %s" % (timeout_s, what))
        time.sleep(0.02)


def free_ports(count):
    """Ports that nobody uses now. Outside the kernel's range for outgoing connections, so that none
    of those takes one before the server binds it."""
    ports = []
    with open("/proc/sys/net/ipv4/ip_local_port_range") as range_file:
        low, high = map(int, range_file.read().split())
    candidates = [p for p in range(20000, 32000) if not low <= p <= high] or range(low, high)
    start = (os.getpid() * 37 + int(time.monotonic() * 1000)) % len(candidates)
    for step in range(len(candidates)):
        port = candidates[(start + step * 7) % len(candidates)]
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in ports:
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError("no free ports")


def openssl(*arguments):
    subprocess.run(("openssl",) + arguments, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


class Authority:
    """A certificate authority with its files in folder."""

    def __init__(self, folder, name="ca"):
        os.makedirs(folder, exist_ok=True)
        self.folder = str(folder)
        self.cert = os.path.join(self.folder, name + ".crt")
        self.key = os.path.join(self.folder, name + ".key")
        openssl("req", "-x509", *EC_KEY, "-days", "30", "-subj", "/CN=" + name, "-keyout", self.key,
                "-out", self.cert)

    def issue(self, name, alt_names="DNS:localhost,IP:127.0.0.1"):
        """Returns the paths of certificate and key, good for servers and clients."""
        cert, key, request, extensions = (os.path.join(self.folder, name + end)
                                          for end in (".crt", ".key", ".csr", ".ext"))
        with open(extensions, "w") as out:
            out.write("subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n" % alt_names)
        openssl("req", *EC_KEY, "-subj", "/CN=" + name, "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key,
                "-CAcreateserial", "-days", "30", "-extfile", extensions, "-out", cert)
        return cert, key


class Member:
    """One etcd process."""

    def __init__(self, cluster, idx, client_port, peer_port):
        self.cluster = cluster
        self.name = "e%d" % (idx + 1)
        self.client_port = client_port
        self.peer_port = peer_port
        self.client_url = "%s://%s:%d" % (cluster.scheme, cluster.host, client_port)
        self.peer_url = "http://127.0.0.1:%d" % peer_port
        self.data_dir = os.path.join(cluster.base_dir, self.name)
        self.log_path = os.path.join(cluster.base_dir, self.name + ".log")
        self.extra = []
        self.process = None

    def command(self):
        command = ["etcd", "--name", self.name, "--data-dir", self.data_dir,
                   "--listen-client-urls", self.client_url,
                   "--advertise-client-urls", self.cluster.advertised(self),
                   "--listen-peer-urls", self.peer_url,
                   "--initial-advertise-peer-urls", self.peer_url,
                   "--initial-cluster", ",".join("%s=%s" % (m.name, m.peer_url)
                                                 for m in self.cluster.members),
                   "--initial-cluster-token", "t%d" % self.cluster.members[0].client_port,
                   "--initial-cluster-state", "new", "--logger", "zap", "--log-level", "warn",
                   "--heartbeat-interval", "100", "--election-timeout", "1000"]
        if self.cluster.tls:
            cert, key = self.cluster.server_files
            command += ["--cert-file", cert, "--key-file", key, "--client-cert-auth",
                        "--trusted-ca-file", self.cluster.authority.cert]
        return command + self.cluster.extra + self.extra

    def spawn(self):
        assert self.process is None
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)

    def start(self):
        """Starts it and waits until it answers."""
        self.spawn()
        self.wait_healthy()

    def get(self, path, timeout_s=5):
        request = urllib.request.Request(self.client_url + path)
        context = self.cluster.ssl_context() if self.cluster.tls else None
        with urllib.request.urlopen(request, timeout=timeout_s, context=context) as answer:
            return json.load(answer)

    def is_healthy(self):
        try:
            return self.get("/health").get("health") == "true"
        except (OSError, ValueError):
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError("%s ended, see %s" % (self.name, self.log_path))
            return False

    def wait_healthy(self, timeout_s=PATIENCE_S):
        wait_for(self.is_healthy, timeout_s, "%s healthy, see %s" % (self.name, self.log_path))

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def end(self, signo):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signo)
        self.process.wait(timeout=PATIENCE_S)
        self.process = None

    def stop(self):
        self.end(signal.SIGTERM)

    def kill(self):
        self.end(signal.SIGKILL)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        path = "/proc/%d/stat" % self.process.pid

        def is_stopped():
            with open(path) as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] in "Tt"
        wait_for(is_stopped, PATIENCE_S, self.name + " stopped")

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def status(self):
        """Of this member alone, or None: leader id, own id, raft term."""
        try:
            out = self.cluster.etcdctl("endpoint", "status", "-w", "json",
                                       endpoints=self.client_url, timeout_s=5)
        except (subprocess.SubprocessError, OSError):
            return None
        status = json.loads(out)[0]["Status"]
        return {"leader": status.get("leader", 0), "id": status["header"]["member_id"],
                "term": status["raftTerm"], "revision": status["header"]["revision"]}

    def is_leader(self):
        status = self.status() if self.is_running() else None
        return status is not None and status["leader"] == status["id"]


class EtcdCluster:
    """n members under base_dir. tls: client certificates are asked for; files in self.authority and
    self.client_files. extra: more options of etcd, for all. advertise: what members tell clients
    instead of their client URL (one for all). ports: client and peer port of each, in turn; default
    free ones. host: address on which clients are served."""

    def __init__(self, n, base_dir, tls=False, extra=(), advertise=None,
                 alt_names="DNS:localhost,IP:127.0.0.1", ports=None,
                 host="127.0.0.1"):
        self.base_dir = str(base_dir)
        self.tls = tls
        self.scheme = "https" if tls else "http"
        self.extra = list(extra)
        self.advertise = advertise
        self.host = host
        self.user = None
        os.makedirs(self.base_dir, exist_ok=True)
        if tls:
            self.authority = Authority(os.path.join(self.base_dir, "tls"))
            self.server_files = self.authority.issue("server", alt_names)
            self.client_files = self.authority.issue("client")
        ports = ports or free_ports(2 * n)
        self.members = []
        for idx in range(n):
            self.members.append(Member(self, idx, ports[2 * idx], ports[2 * idx + 1]))

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *exc):
        self.stop()

    def advertised(self, member):
        return self.advertise or member.client_url

    def start(self):
        """Starts every member that does not run and waits until all answer."""
        for member in self.members:
            if not member.is_running():
                member.process = None
                member.spawn()
        for member in self.members:
            member.wait_healthy()
        return self

    def stop(self):
        """Ends all at once, without ceremony. The data stays."""
        for member in self.members:
            member.kill()

    def wipe(self):
        """Removes the data of members that do not run."""
        for member in self.members:
            assert member.process is None
            shutil.rmtree(member.data_dir, ignore_errors=True)

    def ssl_context(self):
        context = ssl.create_default_context(cafile=self.authority.cert)
        context.load_cert_chain(*self.client_files)
        return context

    def running(self):
        return [m for m in self.members if m.is_running()]

    def client_urls(self):
        return [m.client_url for m in self.members]

    def hosts(self):
        """For the configuration: host:port."""
        return ["%s:%d" % (self.host, m.client_port) for m in self.members]

    def leader(self, timeout_s=PATIENCE_S):
        return wait_for(lambda: next((m for m in self.members if m.is_leader()), None), timeout_s,
                        "etcd has a leader")

    def followers(self):
        leader = self.leader()
        return [m for m in self.members if m is not leader]

    def etcdctl(self, *arguments, endpoints=None, timeout_s=30, text=None):
        """Runs etcdctl and returns what it printed. endpoints: default all."""
        command = ["etcdctl", "--endpoints", endpoints or ",".join(self.client_urls()),
                   "--command-timeout", "%ds" % timeout_s]
        if self.tls:
            command += ["--cacert", self.authority.cert, "--cert", self.client_files[0], "--key",
                        self.client_files[1]]
        if self.user:
            command += ["--user", self.user]
        return subprocess.run(command + list(arguments), check=True, timeout=timeout_s + 5,
                              env=dict(os.environ, ETCDCTL_API="3"), input=text,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True).stdout

    def put(self, key, value, lease=None):
        self.etcdctl("put", *(["--lease", "%x" % lease] if lease else []), "--", key, value)

    def get(self, key):
        """The value, or None."""
        out = json.loads(self.etcdctl("get", "-w", "json", "--", key))
        return base64.b64decode(out["kvs"][0].get("value", "")).decode() if "kvs" in out else None

    def delete(self, key, prefix=False):
        self.etcdctl("del", *(["--prefix"] if prefix else []), "--", key)

    def keys(self, prefix=""):
        out = self.etcdctl("get", "--prefix", "--keys-only", "--", prefix)
        return [line for line in out.splitlines() if line]

    def leases(self):
        """Ids of the leases that live."""
        out = self.etcdctl("lease", "list")
        return [int(line, 16) for line in out.splitlines()[1:] if line]

    def revision(self):
        return json.loads(self.etcdctl("get", "-w", "json", "--", "x"))["header"]["revision"]

    def enable_auth(self, root_password="root"):
        """User root with every right; etcdctl uses it from now on."""
        self.etcdctl("user", "add", "root:" + root_password)
        self.etcdctl("user", "grant-role", "root", "root")
        self.etcdctl("auth", "enable")
        self.user = "root:" + root_password

    def add_user(self, name, password, prefix):
        """A user who may read and write below prefix only."""
        self.etcdctl("role", "add", name)
        self.etcdctl("role", "grant-permission", name, "--prefix=true", "readwrite", prefix)
        self.etcdctl("user", "add", "%s:%s" % (name, password))
        self.etcdctl("user", "grant-role", name, name)
