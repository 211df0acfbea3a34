"""A pgheir supervisor with a fake agent and a real PostgreSQL, and writers that remember what was
acknowledged.

PGHEIR_BUILD names the build folder. As root, pgheir is started as root and drops to the owner of
the data directory (user postgres); otherwise everything runs as the caller."""
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import psycopg2

BUILD = os.environ.get("PGHEIR_BUILD", os.getcwd())
PGHEIR = os.path.join(BUILD, "pgheir")
FAKE_AGENT = os.path.join(BUILD, "tests", "supervisor", "fake_agent")
WRITER = os.path.join(BUILD, "tests", "supervisor", "writer")
# A build with sanitizers on a shared machine is slower; promises about milliseconds get this
# factor.
SLOW = 4 if os.environ.get("PGHEIR_SANITIZERS") not in (None, "", "no") else 1


def find_bindir():
    for folder in [os.environ.get("PGHEIR_PG_BINDIR", "")] + \
            ["/usr/lib/postgresql/%d/bin" % major for major in range(18, 12, -1)]:
        if folder and os.access(os.path.join(folder, "postgres"), os.X_OK):
            return folder
    path = shutil.which("postgres")
    if path is None:
        raise RuntimeError("no PostgreSQL found: set PGHEIR_PG_BINDIR")
    return os.path.dirname(path)


BINDIR = find_bindir()
OWNER = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


# How long tests wait for what must come; only what is itself the promise has a shorter bound.
PATIENCE_S = 60


def now_ms():
    return time.clock_gettime(time.CLOCK_BOOTTIME) * 1000


def wait_for(what, condition, timeout=PATIENCE_S):
    """Waits until condition() is true and returns its value. what is a text, or makes one when it
    fails."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError("not within %s s: %s" % (timeout, what()
                                                          if callable(what) else what))
        time.sleep(0.005)


def as_owner(*command):
    if os.geteuid() == 0:
        return ["setpriv", "--reuid", str(OWNER.pw_uid), "--regid", str(OWNER.pw_gid),
                "--init-groups",
                *command]
    return list(command)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def read_stat(pid):
    """(comm, state, ppid, pgrp, session, start) or None."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    comm = text[text.index("(") + 1:text.rindex(")")]
    fields = text[text.rindex(")") + 2:].split()
    return comm, fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19])


def is_alive(pid):
    stat = read_stat(pid)
    return stat is not None and stat[1] not in "ZX"


def kill_if_same(pid, start):
    """Kills it unless somebody else has its pid by now."""
    stat = read_stat(pid)
    if stat is not None and stat[5] == start:
        os.kill(pid, signal.SIGKILL)


def state_of(pid):
    stat = read_stat(pid)
    return stat[1] if stat else None


def name_of(pid):
    stat = read_stat(pid)
    return stat[0] if stat else None


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def is_postgres_in(pid, folder):
    try:
        return os.readlink("/proc/%d/cwd" % pid) == folder and \
            os.path.basename(os.readlink("/proc/%d/exe" % pid)) == "postgres" and is_alive(pid)
    except OSError:
        return False


def processes_in(folder):
    """Living postgres processes whose working directory is this one."""
    return [pid for pid in all_pids() if is_postgres_in(pid, folder)]


def children_of(pid):
    return [child for child in all_pids() if (read_stat(child) or (0, 0, -1))[2] == pid]


def private_dirty_kb(pid):
    with open("/proc/%d/smaps_rollup" % pid) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Private_Dirty:"))


class Cluster:
    """A data directory made once, copied for each test."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="pgheir-sup-template-")
        os.chown(self.folder, OWNER.pw_uid, OWNER.pw_gid)
        self.data = os.path.join(self.folder, "data")
        subprocess.run(as_owner(os.path.join(BINDIR, "initdb"), "-D", self.data, "-U", "postgres",
                                "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"),
                       check=True, stdout=subprocess.DEVNULL, cwd="/")
        with open(os.path.join(self.data, "postgresql.conf"), "a") as conf:
            conf.write("shared_buffers = 16MB\nunix_socket_directories = ''\n"
                       "listen_addresses = '127.0.0.1'\n"
                       "logging_collector = on\nlog_directory = 'log'\n"
                       "wal_level = replica\nhot_standby = on\nautovacuum = off\n")

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class Writers:
    """Processes that insert one row after the other, and remember when each commit was
    acknowledged."""

    def __init__(self, port, count):
        self.process = subprocess.Popen(
            [WRITER, "host=127.0.0.1 port=%d user=postgres dbname=postgres" % port, str(count)],
            stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"
        self.lines = None

    def results(self, timeout=PATIENCE_S):
        """[(name, acks, first ms, last ms, lost or ended)], when all have ended."""
        if self.lines is None:
            try:
                self.lines = self.process.communicate(timeout=timeout)[0].split("\n")[:-1]
            except subprocess.TimeoutExpired:
                raise AssertionError("a writer still waits for its answer") from None
        return [(name, int(acks), int(first) / 1000, int(last) / 1000, ended)
                for name, acks, first, last, ended in map(str.split, self.lines)]

    def end(self):
        """Ends those that still write; returns the names of those whose session was lost."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        return [result[0] for result in self.results() if result[4] == "lost"]

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process.stdout.close()


class Node:
    """One supervisor. folder/config, folder/events, folder/stderr, folder/data."""

    def __init__(self, cluster=None, config=None, start=True, command=(), env=None, as_root=True,
                 pass_fds=()):
        self.folder = tempfile.mkdtemp(prefix="pgheir-sup-")
        os.chmod(self.folder, 0o755)
        os.chown(self.folder, OWNER.pw_uid, OWNER.pw_gid)
        self.data = os.path.join(self.folder, "data")
        self.state = os.path.join(self.folder, "data.pgheir")
        self.config = os.path.join(self.folder, "config")
        self.port = free_port()
        self.process = None
        self.all_writers = []
        self.strays = []
        if cluster is not None:
            subprocess.run(["cp", "-a", cluster.data, self.data], check=True)
            with open(os.path.join(self.data, "postgresql.conf"), "a") as conf:
                conf.write("port = %d\n" % self.port)
        self.write_config(**(config or {}))
        if start:
            self.run(command, env, as_root, pass_fds)

    def write_config(self, **keys):
        keys = {"data_dir": self.data, "state_dir": self.state, "folder": self.folder, **keys}
        with open(self.config, "w") as file:
            file.write("".join("%s=%s\n" % item for item in keys.items()))

    def run(self, command=(), env=None, as_root=True, pass_fds=()):
        self.stderr = open(os.path.join(self.folder, "stderr"), "ab")
        prefix = list(command) if as_root else as_owner(*command)
        self.process = subprocess.Popen(
            [*prefix, PGHEIR, self.config], stdout=self.stderr, stderr=self.stderr,
            stdin=subprocess.DEVNULL, cwd="/", pass_fds=pass_fds,
            env={**os.environ, "PGHEIR_AGENT": FAKE_AGENT, "PATRONI_SUPERUSER_PASSWORD": "planted",
                 **(env or {})})

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        with open(os.path.join(self.folder, "stderr"), errors="replace") as file:
            return file.read()

    def events(self, word=None, after=0):
        """[(ms, agent pid, text)] of the fake agent, those that begin with word."""
        try:
            with open(os.path.join(self.folder, "events")) as file:
                lines = file.read().split("\n")[after:-1]
        except FileNotFoundError:
            return []
        parsed = [(int(ms), int(pid), text) for ms, pid, text in (line.split(" ", 2)
                                                                  for line in lines)]
        return [event for event in parsed if word is None or event[2].startswith(word)]

    def mark(self):
        return len(self.events())

    def wait_event(self, word, after=0, timeout=PATIENCE_S):
        return wait_for(lambda: "event %s; log:\n%s" % (word, self.log()),
                        lambda: self.events(word, after), timeout)[0][2]

    def tell(self, command):
        """Tells the agent, which may just be starting."""
        path = os.path.join(self.folder, "commands")

        def attempt():
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
                try:
                    door.sendto(command.encode(), path)
                    return True
                except (FileNotFoundError, ConnectionRefusedError):
                    return False
        wait_for(lambda: "agent takes commands; log:\n" + self.log(), attempt)

    def ask(self, command, *words, timeout=PATIENCE_S):
        """Tells, and returns the first new event that begins with one of words."""
        mark = self.mark()
        self.tell(command)
        return wait_for(lambda: "answer %s to %s; log:\n%s" % (words, command, self.log()),
                        lambda: [event[2] for event in self.events(None, mark)
                                 if event[2].startswith(tuple(words))], timeout)[0]

    @property
    def agent(self):
        return self.wait_event("welcome") and self.events("welcome")[-1][1]

    @property
    def guard(self):
        def find():
            return [pid for pid in children_of(self.supervisor)
                    if name_of(pid) == "pgheir-guard" and is_alive(pid)]
        return wait_for("a guard", find)[0]

    @property
    def supervisor(self):
        return self.pid

    def start_primary(self, span=20000, period=300):
        self.wait_event("welcome")
        self.ask("renew %d %d" % (span, period), "done fence")
        answer = self.ask("start primary %s/postgres -D %s" % (BINDIR, self.data), "started",
                          "start_failed")
        assert answer.startswith("started"), answer
        self.postmaster = int(answer.split("pid=")[1].split()[0])
        self.wait_for_writes()
        return self.postmaster

    def will_stay(self, pid):
        """A process that does not end with the supervisor: close() ends it."""
        self.strays.append((pid, read_stat(pid)[5]))

    def touch(self, name):
        path = os.path.join(self.data, name)
        open(path, "w").close()
        os.chown(path, OWNER.pw_uid, OWNER.pw_gid)

    def connect(self):
        connection = psycopg2.connect(host="127.0.0.1", port=self.port, user="postgres",
                                      dbname="postgres", connect_timeout=10)
        connection.autocommit = True
        return connection

    def wait_for_writes(self, timeout=PATIENCE_S):
        def attempt():
            try:
                connection = self.connect()
                connection.cursor().execute(
                    "create table if not exists rows (writer text, number int)")
                connection.close()
                return True
            except psycopg2.Error:
                return False
        wait_for(lambda: "PostgreSQL takes writes; log:\n" + self.log(), attempt, timeout)

    def write(self, count=8):
        self.writers = Writers(self.port, count)
        self.all_writers.append(self.writers)

    def last_ack_ms(self):
        return max(last_ms for _, _, _, last_ms, _ in self.writers.results())

    def is_gone(self):
        return not processes_in(self.data)

    def everybody(self):
        """Supervisor, agent, guard, and everything of PostgreSQL."""
        return [self.supervisor, self.agent, self.guard, *processes_in(self.data)]

    def close(self):
        for writers in self.all_writers:
            writers.close()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.stderr.close()
        for pid, start in self.strays:
            kill_if_same(pid, start)
        try:
            wait_for("nothing is left", self.is_gone)
        finally:
            for pid in processes_in(self.data):
                kill_if_same(pid, read_stat(pid)[5])
            shutil.rmtree(self.folder, ignore_errors=True)
