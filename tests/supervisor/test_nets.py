"""The nets of docs/fencing.md under a real PostgreSQL with writers: what is acknowledged, and until
when."""
import os
import shutil
import signal
import subprocess
import time

import psycopg2
import pytest

from supervisor_lib import (BINDIR, OWNER, PATIENCE_S, SLOW, all_pids, as_owner, children_of,
                            is_alive, name_of, now_ms, processes_in, read_stat, state_of, wait_for)

# How late the last acknowledgement may be. It is milliseconds, and some more where many tests run at
# once; the fence lies 300 ms and more before the lease's end.
LATE_MS = 150 + 100 * SLOW
FREEZER = "/sys/fs/cgroup/freezer"


def stop(*pids):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_for("stopped", lambda: all(state_of(pid) in ("T", "t", None) for pid in pids))


def kill_at_once(node, delay_ms):
    """Starts PostgreSQL under a new supervisor, and kills that one some milliseconds later."""
    node.process.wait()
    mark = node.mark()
    # What the agent does after a death that nobody reaped: a zombie's pid file looks alive.
    if os.path.exists(os.path.join(node.data, "postmaster.pid")):
        os.unlink(os.path.join(node.data, "postmaster.pid"))
    node.run()
    node.wait_event("welcome", mark)
    node.ask("renew 20000 300", "done fence")
    node.tell("start primary %s/postgres -D %s" % (BINDIR, node.data))
    time.sleep(delay_ms / 1000)
    os.kill(node.supervisor, signal.SIGKILL)


def stop_in_order(node, who):
    """Stops the named ones, the supervisor first, so that it cannot heal the others."""
    named = {"supervisor": [node.supervisor], "guard": [node.guard], "agent": [node.agent],
             "postmaster": [node.postmaster],
             "backends": [pid for pid in processes_in(node.data) if pid != node.postmaster]}
    for name in ("supervisor", "guard", "agent", "postmaster", "backends"):
        if name in who:
            stop(*named[name])


def report(what, **numbers):
    print("MEASURED %s %s" % (what, " ".join("%s=%.1f" % item for item in numbers.items())))


STOPPED = ["", "supervisor", "agent", "postmaster", "guard", "supervisor agent",
           "supervisor postmaster",
           "supervisor guard", "agent postmaster", "supervisor agent postmaster",
           "supervisor guard agent postmaster", "supervisor guard agent postmaster backends"]


@pytest.mark.parametrize("who", STOPPED)
def test_supervisor_killed(make_node, who):
    node = make_node()
    node.start_primary()
    node.write()
    agent, guard = node.agent, node.guard
    stop_in_order(node, who.split())
    killed_ms = now_ms()
    os.kill(node.supervisor, signal.SIGKILL)
    wait_for("PostgreSQL is gone", node.is_gone)
    gone_ms = now_ms()
    last_ms = node.last_ack_ms()
    report("supervisor-killed stopped=%s" % (who.replace(" ", "+") or "nobody"),
           ack=last_ms - killed_ms,
           gone=gone_ms - killed_ms)
    assert last_ms - killed_ms <= LATE_MS
    # Nobody of ours stays behind either, so that the next pgheir finds its ports and its lock.
    wait_for("agent and guard are gone", lambda: not is_alive(agent) and not is_alive(guard))


def kill_guard_then_supervisor(node):
    """A supervisor that is not stopped would have started another guard between the two."""
    guard = node.guard
    stop(node.supervisor)
    os.kill(guard, signal.SIGKILL)
    wait_for("the guard is dead", lambda: not is_alive(guard))
    os.kill(node.supervisor, signal.SIGKILL)


def test_supervisor_and_guard_killed_together(make_node):
    node = make_node()
    node.start_primary()
    node.write()
    kill_guard_then_supervisor(node)
    killed_ms = now_ms()
    wait_for("PostgreSQL is gone", node.is_gone)
    gone_ms = now_ms()
    report("supervisor-and-guard-killed", ack=node.last_ack_ms() - killed_ms,
           gone=gone_ms - killed_ms)
    assert node.last_ack_ms() - killed_ms <= LATE_MS


def test_everything_of_ours_killed_with_a_stopped_postmaster(make_node):
    """Guard and supervisor dead, the postmaster stopped: the kernel continues an orphaned group."""
    node = make_node()
    node.start_primary()
    node.write()
    stop_in_order(node, ["postmaster"])
    kill_guard_then_supervisor(node)
    killed_ms = now_ms()
    wait_for("PostgreSQL is gone", node.is_gone)
    report("postmaster-stopped-and-all-killed", ack=node.last_ack_ms() - killed_ms,
           gone=now_ms() - killed_ms)
    assert node.last_ack_ms() - killed_ms <= LATE_MS


@pytest.mark.parametrize("who", ["", "agent", "supervisor", "postmaster", "supervisor agent",
                                 "guard",
                                 "supervisor guard", "supervisor guard agent postmaster"])
def test_fence_passes(make_node, who):
    node = make_node()
    node.start_primary()
    node.write()
    fence_ms = int(now_ms()) + 2500
    node.ask("fence until %d" % fence_ms, "done fence")
    stop_in_order(node, who.split())
    assert now_ms() < fence_ms - 200, "the test was too slow to say anything"
    wait_for("PostgreSQL is gone", node.is_gone)
    gone_ms = now_ms()
    last_ms = node.last_ack_ms()
    report("fence-passes stopped=%s" % (who.replace(" ", "+") or "nobody"), ack=last_ms - fence_ms,
           gone=gone_ms - fence_ms)
    assert last_ms - fence_ms <= LATE_MS
    assert fence_ms - last_ms < 1000, "nobody ended it before its time"
    if "supervisor" in who:
        assert node.process.wait(PATIENCE_S) == -signal.SIGKILL
        return
    assert node.process.poll() is None
    if "agent" in who:
        os.kill(node.agent, signal.SIGCONT)
    assert node.wait_event("fenced") == "fenced why=1 until=%d" % fence_ms
    # The right is gone, and a new one must be pushed before anybody may write.
    start = "start primary %s/postgres -D %s" % (BINDIR, node.data)
    assert node.ask(start, "start") == "start_failed start error=1"
    node.start_primary()


def freezer_of(node):
    path = os.path.join(FREEZER, "pgheir-test-%d" % node.supervisor)
    os.mkdir(path)
    with open(os.path.join(path, "cgroup.procs"), "w") as file:
        file.write(str(node.supervisor))
    return path


def set_freezer(path, state):
    with open(os.path.join(path, "freezer.state"), "w") as file:
        file.write(state)
    wait_for(state, lambda: open(os.path.join(path, "freezer.state")).read().strip() == state)


@pytest.mark.skipif(os.geteuid() != 0 or not os.access(os.path.join(FREEZER, "cgroup.procs"),
                                                       os.W_OK),
                    reason="needs the freezer of cgroup v1, in which not even SIGKILL acts")
def test_guard_enforces_the_fence_for_a_supervisor_that_cannot_die(make_node):
    node = make_node()
    node.start_primary()
    node.write()
    path = freezer_of(node)
    try:
        fence_ms = int(now_ms()) + 1500
        node.ask("fence until %d" % fence_ms, "done fence")
        set_freezer(path, "FROZEN")
        wait_for("PostgreSQL is gone", lambda: all(state_of(pid) in ("Z", None)
                                                   for pid in processes_in(node.data)))
        last_ms = node.last_ack_ms()
        report("fence-passes supervisor=frozen", ack=last_ms - fence_ms)
        assert last_ms - fence_ms <= LATE_MS
        assert state_of(node.supervisor) == "D"
    finally:
        set_freezer(path, "THAWED")
        wait_for("the supervisor is dead", lambda: node.process.poll() is not None)
        wait_for("the group is empty", lambda: not open(os.path.join(path, "cgroup.procs")).read())
        os.rmdir(path)


# PGHEIR_SOAK=20 makes it a soak of 20 times as many.
@pytest.mark.parametrize("round_number", range(int(os.environ.get("PGHEIR_SOAK", "1"))))
def test_supervisor_killed_while_postgres_starts(make_node, round_number):
    """Between fork, exec and the postmaster's chdir there is no moment at which nobody knows it."""
    node = make_node()
    node.wait_event("welcome")
    os.kill(node.supervisor, signal.SIGKILL)
    for delay_ms in (0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 20, 40, 80, 160):
        kill_at_once(node, delay_ms + round_number * 0.1)
        wait_for("PostgreSQL is gone", node.is_gone)
        # The next one waits for the lock that the guard holds: only then it is certain that nobody
        # comes to life later.
    kill_at_once(node, 0)
    wait_for("every guard is done", lambda: node.log().count("none is left") == 16)
    assert node.is_gone()
    killed = [int(line.split("killed ")[1].split()[0]) for line in node.log().split("\n")
              if "none is left" in line]
    print("killed by the guard:", killed)
    assert sum(killed) > 5


def test_agent_killed_interrupts_nobody(make_node):
    node = make_node()
    postmaster = node.start_primary()
    connection = node.connect()
    connection.autocommit = False
    cursor = connection.cursor()
    cursor.execute("insert into rows values ('open', 1)")
    node.write()
    for crash in range(3):
        mark = node.mark()
        os.kill(node.agent, signal.SIGKILL)
        text = node.wait_event("welcome", mark)
        assert "postmaster=%d mode=2 adopted=0 writer=1" % postmaster in text
        node.ask("renew 20000 300", "done fence")
    connection.commit()
    assert node.writers.end() == []
    cursor.execute("select count(*) from rows where writer = 'open'")
    assert cursor.fetchone() == (1,)
    assert is_alive(postmaster)


def test_broken_configuration_does_not_end_a_running_server(make_node):
    """An agent that refuses before it said hello is started again until somebody mends the file."""
    node = make_node()
    postmaster = node.start_primary()
    node.write_config(exit=1)
    os.kill(node.agent, signal.SIGKILL)
    wait_for("two tries", lambda: node.log().count("agent crashed (exit code 1)") >= 2)
    node.write_config()
    mark = node.mark()
    assert "postmaster=%d" % postmaster in node.wait_event("welcome", mark)
    assert is_alive(postmaster)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_guard_is_replaced(make_node, how):
    node = make_node()
    postmaster = node.start_primary()
    node.write()
    first = node.guard
    os.kill(first, how)
    # At once: the beats that it misses would show it only after some seconds.
    wait_for("another guard", lambda: not is_alive(first) and node.guard != first, 2 * SLOW)
    assert node.writers.end() == []
    assert is_alive(postmaster)
    # And the new one does its work.
    node.write()
    killed_ms = now_ms()
    os.kill(node.supervisor, signal.SIGKILL)
    wait_for("PostgreSQL is gone", node.is_gone)
    assert node.last_ack_ms() - killed_ms <= LATE_MS


def test_orphans_of_a_killed_postmaster(make_node):
    node = make_node()
    node.start_primary()
    node.write()
    killed_ms = now_ms()
    os.kill(node.postmaster, signal.SIGKILL)
    text = node.wait_event("exited")
    report("postmaster-killed", ack=node.last_ack_ms() - killed_ms,
           told=node.events("exited")[0][0] - killed_ms)
    assert "status=9 has_status=1" in text
    assert node.last_ack_ms() - killed_ms <= LATE_MS
    assert node.is_gone()
    node.start_primary()


def test_orphan_that_does_not_look_up(make_node):
    """A backend in the middle of a long statement does not notice that its postmaster is dead."""
    node = make_node()
    node.start_primary()
    connection = psycopg2.connect(host="127.0.0.1", port=node.port, user="postgres",
                                  dbname="postgres", async_=1)
    wait_for("connected", lambda: connection.poll() == psycopg2.extensions.POLL_OK)
    cursor = connection.cursor()
    cursor.execute("insert into rows select 'long', count(*) from generate_series(1, 200000000)")
    assert connection.poll() == psycopg2.extensions.POLL_READ
    busy = connection.get_backend_pid()
    wait_for("it works", lambda: state_of(busy) == "R")
    killed_ms = now_ms()
    os.kill(node.postmaster, signal.SIGKILL)
    text = node.wait_event("exited")
    assert node.events("exited")[0][0] - killed_ms < 10000
    assert int(text.split("orphans=")[1]) >= 1 and not is_alive(busy)


def test_deaf_agent_does_not_outlive_its_supervisor(make_node):
    node = make_node(config={"deaf": "yes"})
    node.start_primary()
    agent = node.agent
    os.kill(node.supervisor, signal.SIGKILL)
    wait_for("the agent is gone", lambda: not is_alive(agent))
    assert "outlived" in node.log()


def test_clean_stop_keeps_the_last_log_lines(make_node):
    node = make_node()
    node.start_primary()
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(PATIENCE_S) == 0
    control = subprocess.run([os.path.join(BINDIR, "pg_controldata"), node.data],
                             stdout=subprocess.PIPE,
                             text=True, check=True, env={"LC_ALL": "C"}).stdout
    assert "shut down\n" in control
    folder = os.path.join(node.data, "log")
    text = "".join(open(os.path.join(folder, name)).read() for name in os.listdir(folder))
    assert "database system is shut down" in text
    assert "left behind" not in node.log()


def test_agent_that_decides_to_end_ends_postgres(make_node):
    node = make_node()
    node.start_primary()
    node.tell("exit 1")
    assert node.process.wait(PATIENCE_S) == 1
    assert node.is_gone()
    assert "stopping PostgreSQL (fast)" in node.log()


def test_shutdown_when_the_agent_cannot(make_node):
    node = make_node(config={"die_in_shutdown": "yes"})
    node.start_primary()
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(PATIENCE_S) == 1
    assert node.is_gone() and "stopping without it" in node.log()


def test_pause_leaves_a_mute_keeper(make_node):
    node = make_node()
    postmaster = node.start_primary()
    node.write()
    node.ask("fence disarmed", "done fence")
    agent = node.agent
    node.process.send_signal(signal.SIGTERM)
    wait_for("the agent is gone", lambda: not is_alive(agent))
    wait_for("the keeper says so", lambda: "staying until it ends" in node.log())
    node.process.send_signal(signal.SIGTERM)
    wait_for("it is told how", lambda: "pg_ctl" in node.log())
    assert node.process.poll() is None and is_alive(postmaster) and is_alive(node.guard)
    assert node.writers.end() == []
    subprocess.run(as_owner(os.path.join(BINDIR, "pg_ctl"), "stop", "-D", node.data, "-m", "fast"),
                   check=True,
                   stdout=subprocess.DEVNULL, cwd="/")
    assert node.process.wait(PATIENCE_S) == 0


def test_fence_passes_and_no_descriptor_is_left(make_node):
    """As where the kernel has no more open files to give: who cannot look may not say that nobody
    is there. Writing ends all the same, and a new guard that cannot begin kills nobody."""
    node = make_node()
    node.start_primary()
    connection = node.connect()
    orphan = connection.get_backend_pid()
    node.write()
    subprocess.run(as_owner("prlimit", "--pid", str(node.supervisor), "--nofile=5:"), check=True)
    stop(node.guard)
    wait_for("no other guard can begin", lambda: node.log().count("the guard is gone") >= 2)
    assert node.writers.process.poll() is None and "supervisor is dead" not in node.log()
    stop(orphan)
    fence_ms = int(now_ms()) + 500
    node.ask("fence until %d" % fence_ms, "done fence")
    wait_for("the postmaster is dead", lambda: not is_alive(node.postmaster))
    assert node.last_ack_ms() - fence_ms <= LATE_MS
    assert is_alive(orphan) and node.events("exited") == []
    subprocess.run(as_owner("prlimit", "--pid", str(node.supervisor), "--nofile=100:"), check=True)
    assert node.wait_event("fenced").startswith("fenced why=1")
    assert node.is_gone()


def processes_of(program):
    """Living ones that run this file."""
    return [pid for pid in all_pids() if is_alive(pid) and exe_of(pid) == program]


def exe_of(pid):
    try:
        return os.readlink("/proc/%d/exe" % pid)
    except OSError:
        return None


def test_server_of_another_name(make_node):
    """postgresql.bin_name.postgres: orphans of such a server are found by that name."""
    node = make_node(start=False)
    program = os.path.join(node.folder, "server")
    shutil.copy(os.path.join(BINDIR, "postgres"), program)
    node.write_config(program=program)
    node.run()
    node.wait_event("welcome")
    node.ask("renew 20000 300", "done fence")
    node.ask("start primary %s -D %s" % (program, node.data), "started")
    node.wait_for_writes()
    postmaster = int(node.events("started")[-1][2].split("pid=")[1].split()[0])
    connection = node.connect()
    orphan = connection.get_backend_pid()
    node.will_stay(orphan)
    stop(orphan)
    # Those whose postmaster is dead already are nobody's children.
    stop(node.supervisor)
    os.kill(postmaster, signal.SIGKILL)
    wait_for("the backend is an orphan", lambda: read_stat(orphan)[2] != postmaster)
    os.kill(node.supervisor, signal.SIGKILL)
    wait_for("nothing is left", lambda: not processes_of(program))
    connection.close()


def test_mute_keeper_killed(make_node):
    node = make_node()
    node.start_primary()
    node.ask("fence disarmed", "done fence")
    node.process.send_signal(signal.SIGTERM)
    wait_for("the keeper says so", lambda: "staying until it ends" in node.log())
    os.kill(node.supervisor, signal.SIGKILL)
    wait_for("PostgreSQL is gone", node.is_gone)


def test_mute_keeper_leaves_the_next_server_alone(make_node):
    """Another pgheir has taken the server over and started it again before the keeper, which was
    held up, looks at its end."""
    node = make_node()
    postmaster = node.start_primary()
    node.ask("fence disarmed", "done fence")
    node.process.send_signal(signal.SIGTERM)
    wait_for("the keeper says so", lambda: "staying until it ends" in node.log())
    keeper, mark = node.process, node.mark()
    node.will_stay(keeper.pid)
    node.run()
    node.wait_event("welcome", mark)
    node.ask("renew 20000 300", "done fence")
    assert node.ask("adopt %d primary" % postmaster, "start").startswith("started")
    stop(keeper.pid)
    os.kill(postmaster, signal.SIGINT)
    node.wait_event("exited", mark)
    started = node.ask("start primary %s/postgres -D %s" % (BINDIR, node.data), "start")
    assert started.startswith("started"), started
    node.wait_for_writes()
    node.write()
    os.kill(keeper.pid, signal.SIGCONT)
    assert keeper.wait(PATIENCE_S) == 0
    assert node.writers.end() == []
    assert len(node.events("exited")) == 1


def start_outside(node):
    """A PostgreSQL that somebody else started, session and all."""
    subprocess.run(as_owner(os.path.join(BINDIR, "pg_ctl"), "start", "-w", "-D", node.data, "-l",
                            os.path.join(node.folder,
                                         "pg.log")), check=True, stdout=subprocess.DEVNULL, cwd="/")
    node.wait_for_writes()
    with open(os.path.join(node.data, "postmaster.pid")) as file:
        node.postmaster = int(file.readline())
    return node.postmaster


@pytest.mark.parametrize("who", ["", "supervisor", "postmaster", "supervisor guard",
                                 "supervisor guard agent postmaster"])
def test_adopted_server_is_fenced(make_node, who):
    node = make_node()
    pid = start_outside(node)
    node.wait_event("welcome")
    assert node.ask("adopt %d primary" % pid, "start") == "start_failed adopt error=1"
    node.ask("renew 20000 300", "done fence")
    assert node.ask("adopt %d primary" % pid, "start") == "started pid=%d adopted=1" % pid
    node.write()
    fence_ms = int(now_ms()) + 2500
    node.ask("fence until %d" % fence_ms, "done fence")
    stop_in_order(node, who.split())
    wait_for("PostgreSQL is gone", node.is_gone)
    report("adopted-fence-passes stopped=%s" % (who.replace(" ", "+") or "nobody"),
           ack=node.last_ack_ms() - fence_ms)
    assert node.last_ack_ms() - fence_ms <= LATE_MS
    if "supervisor" not in who:
        assert "has_status=0" in node.wait_event("exited")
        assert node.wait_event("fenced").startswith("fenced why=1")


def test_adopted_server_dies_with_the_supervisor(make_node):
    node = make_node()
    pid = start_outside(node)
    node.wait_event("welcome")
    node.ask("renew 20000 300", "done fence")
    node.ask("adopt %d primary" % pid, "started")
    node.write()
    killed_ms = now_ms()
    os.kill(node.supervisor, signal.SIGKILL)
    wait_for("PostgreSQL is gone", node.is_gone)
    report("adopted-supervisor-killed", ack=node.last_ack_ms() - killed_ms,
           gone=now_ms() - killed_ms)
    assert node.last_ack_ms() - killed_ms <= LATE_MS


def test_orphans_found_at_start(make_node):
    node = make_node()
    start_outside(node)
    node.wait_event("welcome")
    node.write(4)
    # A living server is nobody's orphan, whether it has backends or not.
    assert node.ask("orphans", "refused", "orphans_gone") == "refused kill_orphans error=16"
    os.kill(node.postmaster, signal.SIGKILL)
    wait_for("orphans are left", lambda: processes_in(node.data) and not is_alive(node.postmaster))
    assert node.ask("orphans", "refused", "orphans_gone").startswith("orphans_gone")
    assert node.is_gone()
    assert node.ask("orphans", "refused", "orphans_gone").startswith("orphans_gone")
    # Where nobody reaps it, the dead postmaster is a zombie, and PostgreSQL takes its pid file for
    # a living one's: removing it is the agent's part.
    os.unlink(os.path.join(node.data, "postmaster.pid"))
    node.start_primary()


def spawn_stranger(node, program, folder):
    """A process that looks like ours in one respect only."""
    stranger = subprocess.Popen(as_owner(program, "1000"), cwd=folder, stdin=subprocess.DEVNULL)
    node.will_stay(stranger.pid)
    wait_for("the stranger runs",
             lambda: os.readlink("/proc/%d/exe" % stranger.pid) == os.path.realpath(program))
    return stranger


def test_strangers_are_never_touched(make_node):
    """A shell in the data directory; a program called postgres elsewhere; whoever has a recycled
    pid."""
    node = make_node()
    node.start_primary()
    elsewhere = os.path.join(node.folder, "elsewhere")
    os.mkdir(elsewhere)
    os.chmod(elsewhere, 0o755)
    imposter = os.path.join(elsewhere, "postgres")
    shutil.copy("/bin/sleep", imposter)
    strangers = [spawn_stranger(node, "/bin/sleep", node.data), spawn_stranger(node, imposter,
                                                                               elsewhere)]
    node.write(2)
    node.ask("fence until %d" % (int(now_ms()) + 300), "done fence")
    node.wait_event("fenced")
    node.start_primary()
    os.kill(node.postmaster, signal.SIGKILL)
    wait_for("exited", lambda: len(node.events("exited")) == 2)
    os.kill(node.supervisor, signal.SIGKILL)
    node.process.wait()
    wait_for("the guard is done", lambda: "outlived" in node.log() or "none is left" in node.log())
    for stranger in strangers:
        assert stranger.poll() is None
        stranger.kill()
        stranger.wait()


def test_recycled_pid_is_not_adopted(make_node):
    node = make_node()
    node.wait_event("welcome")
    stranger = spawn_stranger(node, "/bin/sleep", node.data)
    # Right pid, right directory, another program; then a right pid with another start time.
    assert node.ask("adopt %d standby" % stranger.pid, "start") == "start_failed adopt error=18"
    start = read_stat(stranger.pid)[5]
    assert node.ask("adopt %d standby %d" % (stranger.pid, start + 1),
                    "start") == "start_failed adopt error=3"
    assert node.ask("adopt 4194303 standby 1", "start") == "start_failed adopt error=3"
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_fence_rules_over_the_wire(make_node):
    node = make_node()
    node.start_primary()
    assert node.ask("fence none", "refused", "done") == "refused fence error=16"
    assert node.ask("fence until 1", "refused", "done", "exited") in ("done fence", "exited")
    assert node.wait_event("fenced")
    node.start_primary()
    assert node.ask("fence disarmed", "refused", "done") == "done fence"
    time.sleep(0.1)
    assert is_alive(node.postmaster)
    assert node.ask("fence until %d" % (int(now_ms()) + 400), "refused", "done") == "done fence"
    wait_for("fenced again", lambda: len(node.events("fenced")) == 2)


def test_promotion_needs_a_fence_and_makes_a_writer(make_node):
    node = make_node()
    node.touch("standby.signal")
    node.wait_event("welcome")
    node.ask("start standby %s/postgres -D %s" % (BINDIR, node.data), "started")

    def ask_server(question):
        try:
            connection = node.connect()
            cursor = connection.cursor()
            cursor.execute(question)
            return cursor.fetchone()[0]
        except psycopg2.Error:
            return None
    wait_for("the standby answers", lambda: ask_server("select pg_is_in_recovery()") is True)
    node.touch("promote")
    assert node.ask("signal 10", "refused", "done") == "refused signal_postmaster error=1"
    # A fence that passes over a standby that was not promoted ends it, too: see fence_act_at().
    node.ask("renew 20000 300", "done fence")
    assert node.ask("signal 10", "refused", "done signal") == "done signal_postmaster"
    wait_for("it is promoted", lambda: ask_server("select pg_is_in_recovery()") is False)
    assert node.ask("fence none", "refused", "done") == "refused fence error=16"
    fence_ms = int(now_ms()) + 500
    node.ask("fence until %d" % fence_ms, "done fence")
    node.wait_for_writes()
    node.write(2)
    assert node.wait_event("fenced")
    assert node.last_ack_ms() - fence_ms <= LATE_MS


def test_a_late_push_revives_nothing(make_node):
    """The supervisor is stopped over the fence with a fresh push waiting in its socket."""
    node = make_node()
    node.start_primary()
    node.write(2)
    fence_ms = int(now_ms()) + 800
    node.ask("fence until %d" % fence_ms, "done fence")
    stop(node.supervisor)
    node.tell("fence until %d" % (fence_ms + 60000))
    wait_for("PostgreSQL is gone", node.is_gone)
    assert node.last_ack_ms() - fence_ms <= LATE_MS
    assert node.process.wait(PATIENCE_S) == -signal.SIGKILL


@pytest.mark.skipif(os.geteuid() != 0, reason="is what every other test does without root")
def test_without_privileges(make_node):
    node = make_node(as_root=False)
    assert os.stat("/proc/%d" % node.agent).st_uid == OWNER.pw_uid
    node.start_primary()
    node.write()
    stop(node.postmaster)
    killed_ms = now_ms()
    os.kill(node.supervisor, signal.SIGKILL)
    wait_for("PostgreSQL is gone", node.is_gone)
    report("supervisor-killed unprivileged stopped=postmaster", ack=node.last_ack_ms() - killed_ms)
    assert node.last_ack_ms() - killed_ms <= LATE_MS


class Container:
    """pgheir as process 1 of a pid namespace; pids as seen from outside."""

    def __init__(self, make_node):
        self.node = make_node(command=["unshare", "-pf", "--mount-proc"])
        self.node.wait_event("welcome")
        self.first = children_of(self.node.pid)[0]
        self.node.will_stay(self.first)
        self.supervisor = [pid for pid in children_of(self.first)
                           if name_of(pid) == "pgheir"][0]
        mark = self.node.mark()
        self.node.tell("renew 20000 300")
        self.node.wait_event("done fence", mark)
        self.node.tell("start primary %s/postgres -D %s" % (BINDIR, self.node.data))
        self.node.wait_event("started", mark)
        self.node.wait_for_writes()
        self.postmaster = [pid for pid in children_of(self.supervisor)
                           if name_of(pid) == "postgres"][0]


needs_namespaces = pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a pid namespace")


@needs_namespaces
def test_process_1_forwards_and_passes_the_code_on(make_node):
    container = Container(make_node)
    for pid in (container.first, container.supervisor):
        with open("/proc/%d/status" % pid) as file:
            status = file.read()
        assert "Uid:\t%d\t%d" % (OWNER.pw_uid, OWNER.pw_uid) in status
        assert "CapPrm:\t0000000000000000" in status
    os.kill(container.first, signal.SIGHUP)
    container.node.wait_event("signal 1")
    os.kill(container.first, signal.SIGTERM)
    assert container.node.process.wait(PATIENCE_S) == 0
    assert container.node.is_gone()


@needs_namespaces
def test_process_1_waits_for_the_guard(make_node):
    container = Container(make_node)
    container.node.write()
    stop(container.postmaster)
    killed_ms = now_ms()
    os.kill(container.supervisor, signal.SIGKILL)
    container.node.process.wait(PATIENCE_S)
    report("container supervisor-killed", ack=container.node.last_ack_ms() - killed_ms,
           gone=now_ms() - killed_ms)
    assert container.node.is_gone()
    assert "none is left" in container.node.log()
    assert container.node.last_ack_ms() - killed_ms <= LATE_MS


@needs_namespaces
def test_kernel_timer_in_a_container(make_node):
    container = Container(make_node)
    container.node.write()
    mark = container.node.mark()
    fence_ms = int(now_ms()) + 1000
    container.node.tell("fence until %d" % fence_ms)
    container.node.wait_event("done fence", mark)
    stop(container.supervisor, container.postmaster)
    container.node.process.wait(PATIENCE_S)
    report("container fence-passes stopped=supervisor+postmaster",
           ack=container.node.last_ack_ms() - fence_ms)
    assert container.node.last_ack_ms() - fence_ms <= LATE_MS


@needs_namespaces
def test_process_1_reaps(make_node):
    container = Container(make_node)
    inside = ["nsenter", "-t", str(container.first), "-p", "-m", "sh", "-c",
              "(sleep 0.05 &) ; exit 0"]
    for _ in range(5):
        subprocess.run(inside, check=True)
    wait_for("no zombies", lambda: not [pid for pid in children_of(container.first)
                                        + children_of(container.supervisor)
                                        if state_of(pid) == "Z"])
    connection = container.node.connect()
    connection.cursor().execute("copy (select 1) to program "
                                "'sh -c \"(sleep 0.05 &) ; cat >/dev/null\"'")
    connection.close()
    wait_for("no zombies", lambda: not [pid for pid in children_of(container.supervisor)
                                        if state_of(pid) == "Z"])


def test_thousands_of_children(make_node):
    """Floods of SIGCHLD neither stop the loop nor leave zombies."""
    node = make_node()
    node.wait_event("welcome")
    script = "i=0; while [ $i -lt 3000 ]; do (/bin/true &); i=$((i+1)); done; " \
        "(tail -f /dev/null &); exec sleep 1000"
    with open(os.path.join(node.folder, "flood"), "w") as file:
        file.write("#!/bin/sh\n" + script + "\n")
    os.chmod(os.path.join(node.folder, "flood"), 0o755)
    node.ask("start standby %s/flood" % node.folder, "started")
    wait_for("the flood is over", lambda: "sleep" in map(name_of, children_of(node.supervisor)), 60)
    orphans = [pid for pid in children_of(node.supervisor) if name_of(pid) == "tail"]
    assert orphans, "orphans come to us"
    node.will_stay(orphans[0])
    wait_for("no zombies", lambda: not [pid for pid in children_of(node.supervisor)
                                        if state_of(pid) == "Z"])
    assert node.ask("state alive", "done") == "done state"


def test_the_yardstick(make_node):
    """Writers that nobody ends go on, so a net that did not act would be seen."""
    node = make_node()
    node.start_primary()
    node.write(2)
    begun_ms = now_ms()
    time.sleep(0.5)
    assert node.writers.end() == []
    assert node.last_ack_ms() - begun_ms > 400
