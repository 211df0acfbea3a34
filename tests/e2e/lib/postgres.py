"""A raw PostgreSQL, without any agent: for tests that need the real thing on the other side.

    with Postgres(folder + "/a") as primary:
        primary.initdb()
        primary.start()
        primary.sql("CREATE TABLE t (i int)")
        standby = Postgres(folder + "/b")
        standby.clone(primary, slot="b")
        standby.start()
        standby.promote()
        primary.kill()                   kill -9 of the postmaster; orphans() are the backends left
        primary.stop("immediate")

The postmaster is our child in a process group of its own; everything runs as the user postgres, or as we
do if we are not root. Listens on 127.0.0.1 and on a socket in its own folder."""
import atexit
import contextlib
import functools
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

import psycopg2

from etcd import PATIENCE_S, free_ports, wait_for

PG_BIN = os.environ.get("PG_BIN") or next(
    iter(sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)), "/usr/bin")
SUPERUSER = "postgres"


def unprivileged():
    """Arguments for Popen: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def give_away(path):
    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(path, user.pw_uid, user.pw_gid)


def make_folder(path):
    """A folder that PostgreSQL may write into. The folders above it must let it through."""
    os.makedirs(path, exist_ok=True)
    give_away(path)
    return path


def tool(name, *arguments, check=True, timeout_s=120, **more):
    """Runs one of PostgreSQL's programs; returns its standard output."""
    ended = subprocess.run([os.path.join(PG_BIN, name), *map(str, arguments)], text=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, timeout=timeout_s, cwd="/",
                           env=dict(os.environ, LC_ALL="C", **more), **unprivileged())
    if check and ended.returncode != 0:
        raise AssertionError("%s: exit status %d\n%s" % (name, ended.returncode, ended.stderr))
    return ended.stdout


def next_port():
    """Free, and not given to another server of this run that has not bound it yet."""
    while True:
        port = free_ports(1)[0]
        if port not in given_ports:
            given_ports.add(port)
            return port


@functools.lru_cache(maxsize=1)
def template_dir():
    """A fresh data directory that nobody starts."""
    folder = make_folder(tempfile.mkdtemp(prefix="pgheir-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Postgres(folder).initdb().data_dir


given_ports = set()


class Postgres:
    """One data directory and, while it runs, its postmaster."""

    def __init__(self, folder, port=None, **settings):
        self.folder = make_folder(folder)
        self.data_dir = os.path.join(folder, "data")
        self.log_path = os.path.join(folder, "log")
        self.port = port or next_port()
        self.settings = {"fsync": "off", "wal_log_hints": "on", "max_wal_senders": "5",
                         "wal_keep_size": "256MB", "wal_retrieve_retry_interval": "100ms",
                         **settings}
        self.process = None
        self.argv = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop("immediate")

    def __repr__(self):
        return "PostgreSQL on port %d" % self.port

    # ---- Data directory ----

    def initdb(self, *arguments):
        tool("initdb", "-D", self.data_dir, "-U", SUPERUSER, "-A", "trust", "-N", "-E", "UTF8",
             "--locale=C", *arguments)
        return self

    def copy_template(self):
        """As initdb(), but quick: all that are made so in one run share their system identifier."""
        subprocess.run(["cp", "-a", template_dir(), self.data_dir], check=True, **unprivileged())
        return self

    def clone(self, source, slot=None):
        """A standby of source, by PostgreSQL's own means."""
        if slot:
            source.sql("SELECT pg_create_physical_replication_slot(%s, true)", slot)
        tool("pg_basebackup", "-D", self.data_dir, "-X", "stream", "-c", "fast", "-R",
             "-d", source.dsn(application_name=os.path.basename(self.folder)),
             *(["-S", slot] if slot else []))
        return self

    def path(self, *names):
        return os.path.join(self.data_dir, *names)

    def read(self, *names):
        with open(self.path(*names)) as file:
            return file.read()

    def write(self, name, text, mode="w"):
        with open(self.path(name), mode) as file:
            file.write(text)
        give_away(self.path(name))

    def control(self):
        """What pg_controldata prints, as a dictionary."""
        lines = tool("pg_controldata", "-D", self.data_dir).splitlines()
        return {key: value.strip() for key, value in
                (line.split(":", 1) for line in lines if ":" in line)}

    # ---- Process ----

    def command(self):
        settings = {"port": self.port, "listen_addresses": "127.0.0.1",
                    "unix_socket_directories": self.folder, **self.settings}
        return [os.path.join(PG_BIN, "postgres"), "-D", self.data_dir] + [
            "--%s=%s" % item for item in settings.items()]

    def spawn(self, argv=None):
        """Starts it and does not wait. argv: instead of the command line made from the settings."""
        assert not self.is_running()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(argv or self.command(), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd="/",
                                            start_new_session=True, **unprivileged())
        return self.process.pid

    def start(self, argv=None, timeout_s=PATIENCE_S):
        self.spawn(argv)
        wait_for(self.is_ready, timeout_s, "%s is ready: %s" % (self, self.log()[-2000:]))
        return self

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def is_ready(self):
        assert self.is_running(), "%s ended: %s" % (self, self.log()[-2000:])
        with contextlib.suppress(OSError, IndexError):
            lines = self.read("postmaster.pid").splitlines()
            return int(lines[0]) == self.pid and lines[7].strip() in ("ready", "standby")
        return False

    def stop(self, mode="fast", timeout_s=PATIENCE_S):
        """mode: smart, fast or immediate. A stopped one (SIGSTOP) is continued."""
        if not self.is_running():
            return
        signo = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
        self.process.send_signal(signo)
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            for pid in self.orphans():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def kill(self):
        """kill -9 of the postmaster alone."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

        def is_stopped():
            with open("/proc/%d/stat" % self.pid) as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] == "T"
        wait_for(is_stopped, PATIENCE_S, "the postmaster is stopped")

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def orphans(self):
        """Processes that sit in the data directory, the postmaster left out."""
        found = []
        for name in os.listdir("/proc"):
            if name.isdigit() and (self.process is None or int(name) != self.pid):
                with contextlib.suppress(OSError):
                    if os.readlink("/proc/%s/cwd" % name) == os.path.realpath(self.data_dir):
                        found.append(int(name))
        return found

    def remove(self):
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        with contextlib.suppress(OSError):
            with open(self.log_path, errors="replace") as log:
                return log.read()
        return ""

    # ---- SQL ----

    def dsn(self, **more):
        words = {"host": "127.0.0.1", "port": self.port, "user": SUPERUSER, "dbname": "postgres",
                 "connect_timeout": 5, **more}
        return psycopg2.extensions.make_dsn(**words)

    def connect(self, **more):
        connection = psycopg2.connect(self.dsn(**more))
        connection.autocommit = True
        return connection

    def sql(self, text, *parameters, **more):
        """Runs one statement in a session of its own; returns its rows."""
        connection = self.connect(**more)
        try:
            with connection.cursor() as cursor:
                cursor.execute(text, parameters or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def value(self, text, *parameters, **more):
        return self.sql(text, *parameters, **more)[0][0]

    def is_primary(self):
        return not self.value("SELECT pg_is_in_recovery()")

    def promote(self, timeout_s=PATIENCE_S):
        self.write("promote", "")
        self.process.send_signal(signal.SIGUSR1)
        wait_for(self.is_primary, timeout_s, "%s is promoted" % self)

    def flush_lsn(self):
        return self.value("SELECT pg_current_wal_flush_lsn()::text")

    def wait_caught_up(self, primary, timeout_s=PATIENCE_S):
        """Has replayed all that primary has written by now."""
        target = primary.flush_lsn()
        wait_for(lambda: self.value("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", target),
                 timeout_s, "%s has replayed %s" % (self, target))
