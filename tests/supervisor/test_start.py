"""How pgheir starts, whom it becomes, how it lives with its agent. Mostly without PostgreSQL."""
import os
import signal
import subprocess
import time

import pytest

from supervisor_lib import (BINDIR, FAKE_AGENT, OWNER, PATIENCE_S, PGHEIR, Node, as_owner,
                            children_of, is_alive, private_dirty_kb, read_stat, state_of, wait_for)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def run_pgheir(*arguments, agent=FAKE_AGENT):
    return subprocess.run([PGHEIR, *arguments], env={**os.environ, "PGHEIR_AGENT": agent},
                          timeout=PATIENCE_S,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def status_of(pid, key):
    with open("/proc/%d/status" % pid) as file:
        return next(line.split(":", 1)[1].split() for line in file if line.startswith(key + ":"))


def test_links_nothing_but_libc():
    if os.environ.get("PGHEIR_SANITIZERS") not in (None, "", "no"):
        pytest.skip("the sanitizers bring libraries of their own")
    out = subprocess.run(["ldd", PGHEIR], stdout=subprocess.PIPE, text=True, check=True).stdout
    names = [line.split()[0] for line in out.strip().split("\n")]
    assert [name for name in names if not name.startswith(("linux-vdso", "libc.so", "/lib"))] == []


def test_options_are_the_agents():
    ended = run_pgheir("--version")
    assert (ended.returncode, ended.stdout) == (42, "fake agent\n")


def test_missing_agent_is_named():
    ended = run_pgheir("--version", agent="/nowhere/agent")
    assert ended.returncode == 127
    assert "/nowhere/agent" in ended.stderr and "PGHEIR_AGENT" in ended.stderr


def test_two_configurations_are_refused(tmp_path):
    ended = run_pgheir("a.yml", "b.yml")
    assert ended.returncode == 1
    assert "a.yml" in ended.stderr and "b.yml" in ended.stderr


@pytest.mark.parametrize("code", [1, 7])
def test_the_agents_verdict_on_the_configuration_is_passed_on(make_node, code):
    node = make_node(with_data=False, config={"exit": code})
    assert node.process.wait(PATIENCE_S) == code
    assert "configuration is broken" in node.log()


def test_unusable_answer_of_the_agent(make_node):
    node = make_node(with_data=False, config={"data_dir": "relative/path"})
    assert node.process.wait(PATIENCE_S) == 1
    assert "no usable answer" in node.log()


@needs_root
def test_refuses_to_run_as_root(make_node):
    node = make_node(with_data=False, start=False)
    os.mkdir(node.data)
    node.run()
    assert node.process.wait(PATIENCE_S) == 1
    assert "belongs to root" in node.log() and "chown" in node.log()


@needs_root
def test_becomes_the_owner_for_good(make_node):
    node = make_node()
    for pid in (node.agent, node.supervisor, node.guard):
        assert status_of(pid, "Uid") == [str(OWNER.pw_uid)] * 4
        assert status_of(pid, "Gid") == [str(OWNER.pw_gid)] * 4
        assert int(status_of(pid, "CapEff")[0], 16) == 0
        assert int(status_of(pid, "CapPrm")[0], 16) == 0
    groups = os.getgrouplist(OWNER.pw_name, OWNER.pw_gid)
    assert sorted(map(int, status_of(node.supervisor, "Groups"))) == sorted(groups)


@needs_root
def test_owner_of_the_folder_above_counts_before_bootstrap(make_node):
    node = make_node(with_data=False)
    assert status_of(node.agent, "Uid")[0] == str(OWNER.pw_uid)
    assert os.stat(node.state).st_uid == OWNER.pw_uid
    assert os.stat(node.state).st_mode & 0o777 == 0o700


def test_a_second_pgheir_is_refused(make_node):
    node = make_node()
    node.wait_event("welcome")
    other = Node.__new__(Node)
    other.__dict__.update(node.__dict__)
    other.run()
    assert other.process.wait(PATIENCE_S) == 1
    assert "another pgheir keeps this data directory" in node.log()
    assert is_alive(node.agent)


def test_crashed_agent_comes_back_with_its_state(make_node):
    node = make_node()
    node.wait_event("welcome")
    node.ask("state lease=77", "done state")
    starts = [node.events("up")[0][0]]
    ends = []
    for crash in range(4):
        mark = node.mark()
        ends.append(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)
        os.kill(node.agent, signal.SIGKILL)
        text = node.wait_event("welcome", mark)
        assert "previous=2 status=9 restarts=%d crashes=%d" % (crash + 1, crash + 1) in text
        assert text.endswith("state=lease=77")
        starts.append(node.events("up")[-1][0])
    waits = [start - end for start, end in zip(starts[1:], ends)]
    for wait, delay in zip(waits, (0, 100, 500, 2000)):
        assert delay - 1 <= wait < delay + 1500, waits


def test_what_an_agent_said_before_it_died_counts(make_node):
    node = make_node()
    node.wait_event("welcome")
    node.ask("state lease=77", "done state")
    agent, mark = node.agent, node.mark()
    os.kill(node.supervisor, signal.SIGSTOP)
    wait_for("the supervisor is stopped", lambda: state_of(node.supervisor) == "T")
    node.tell("fence disarmed")
    node.tell("state lease=78")
    node.tell("hold")
    node.wait_event("unknown_command hold", mark)  # so both before it are on their way
    os.kill(agent, signal.SIGKILL)
    wait_for("the agent is dead", lambda: not is_alive(agent))
    os.kill(node.supervisor, signal.SIGCONT)
    text = node.wait_event("welcome", mark)
    assert "fence=2" in text and text.endswith("state=lease=78"), text


def test_replaced_agent_is_no_crash(make_node):
    node = make_node()
    first = node.agent
    time.sleep(1.1)  # One that asks sooner counts as crashing.
    node.ask("state abc", "done state")
    mark = node.mark()
    node.process.send_signal(signal.SIGUSR2)
    text = node.wait_event("welcome", mark)
    assert "previous=1" in text and "crashes=0" in text and text.endswith("state=abc")
    assert node.agent != first


def test_asking_to_be_replaced_at_once_is_a_crash(make_node):
    node = make_node()
    node.wait_event("welcome")
    mark = node.mark()
    node.tell("exit 75")
    assert "previous=2" in node.wait_event("welcome", mark)


def test_sighup_reaches_the_agent(make_node):
    node = make_node()
    node.wait_event("welcome")
    node.process.send_signal(signal.SIGHUP)
    node.wait_event("signal 1")
    assert node.process.poll() is None


def test_nonsense_costs_the_agent_its_life(make_node):
    node = make_node()
    first = node.agent
    mark = node.mark()
    node.tell("garbage")
    assert "previous=2" in node.wait_event("welcome", mark)
    assert not is_alive(first)
    assert "no message" in node.log()


def test_an_agent_that_does_not_read_is_replaced(make_node):
    node = make_node()
    first = node.agent
    mark = node.mark()
    node.tell("flood 2000")
    node.wait_event("welcome", mark)
    assert node.agent != first and "does not read" in node.log()


def test_closed_channel_ends_the_agent(make_node):
    node = make_node()
    node.wait_event("welcome")
    mark = node.mark()
    node.tell("close")
    assert "previous=2" in node.wait_event("welcome", mark)


def test_silent_agents_are_replaced(make_node):
    """One that never says hello (30 s); those that are stopped (15 s after the next message), also
    where nobody asks for anything: in a pause its successor arms the fence again at the resume."""
    mute = make_node(config={"hello": "no"})
    idle = make_node()
    idle.ask("fence disarmed", "done fence")
    idle_agent, idle_mark = idle.agent, idle.mark()
    os.kill(idle_agent, signal.SIGSTOP)
    stopped = make_node()
    first = stopped.agent
    mark = stopped.mark()
    os.kill(first, signal.SIGSTOP)
    stopped.write_config(hello="yes")
    stopped.process.send_signal(signal.SIGTERM)
    wait_for("the stopped agent is killed", lambda: not is_alive(first))
    assert "reads nothing" in stopped.log()
    assert stopped.process.wait(PATIENCE_S) == 0
    assert "shutdown=1" in stopped.wait_event("welcome", mark)
    wait_for("the idle agent is killed", lambda: not is_alive(idle_agent))
    assert "previous=2" in idle.wait_event("welcome", idle_mark)
    wait_for("the mute agent is killed", lambda: "did not come up" in mute.log())


def test_sigterm_without_postgres(make_node):
    node = make_node(with_data=False)
    node.wait_event("welcome")
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(PATIENCE_S) == 0
    assert wait_for("nobody is left", lambda: not children_of(node.pid))


def test_sigterm_before_hello(make_node):
    node = make_node(with_data=False, config={"hello": "no"})
    wait_for("agent", lambda: node.events("up"))
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(PATIENCE_S) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="the limit would count the tests' own processes")
def test_shutdown_when_no_agent_can_be_forked(make_node):
    node = make_node(as_root=False)
    node.wait_event("welcome")
    node.ask("start standby /bin/sleep 1000", "started")
    subprocess.run(as_owner("prlimit", "--pid", str(node.supervisor), "--nproc=1:"), check=True)
    os.kill(node.agent, signal.SIGKILL)
    wait_for("it cannot fork", lambda: "cannot start the agent" in node.log())
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(PATIENCE_S) == 1
    assert "stopping without it" in node.log()
    assert node.log().count("cannot start the agent") < 10, "it does not spin"


@pytest.mark.parametrize("code", [0, 1, 5])
def test_decisions_are_passed_on(make_node, code):
    node = make_node(with_data=False)
    node.wait_event("welcome")
    node.tell("exit %d" % code)
    assert node.process.wait(PATIENCE_S) == code


def test_other_codes_are_crashes(make_node):
    node = make_node(with_data=False)
    node.wait_event("welcome")
    for code in (2, 77, 137):
        mark = node.mark()
        node.tell("exit %d" % code)
        assert "status=%d " % (code << 8) in node.wait_event("welcome", mark)
    assert node.process.poll() is None


def test_children_get_a_clean_place(make_node):
    """What a postmaster finds; sleep stands in for it."""
    reader, writer = os.pipe()  # What pgheir itself was given by mistake, nobody inherits.
    node = make_node(pass_fds=(writer,))
    os.close(reader)
    os.close(writer)
    node.wait_event("welcome")
    answer = node.ask("start standby /bin/sleep 1000", "started")
    pid = int(answer.split("pid=")[1].split()[0])
    stat = read_stat(pid)
    assert stat[0] == "sleep" and stat[2] == node.supervisor
    assert stat[3] == pid, "its own process group"
    assert stat[4] == os.getsid(node.supervisor), "never its own session"
    assert sorted(os.listdir("/proc/%d/fd" % pid)) == ["0", "1", "2"]
    assert os.readlink("/proc/%d/fd/0" % pid) == "/dev/null"
    assert os.sched_getscheduler(pid) == os.SCHED_OTHER
    assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0)
    assert int(open("/proc/%d/oom_score_adj" % pid).read()) >= 0
    for key in ("SigBlk", "SigIgn", "SigCgt"):
        assert int(status_of(pid, key)[0], 16) == 0
    assert status_of(pid, "VmLck") == ["0", "kB"]
    environment = open("/proc/%d/environ" % pid).read().split("\0")
    assert "MALLOC_ARENA_MAX=1" in environment
    assert [entry for entry in environment if entry.startswith(("PGHEIR_", "PATRONI_"))] == []
    assert int(status_of(pid, "CapPrm")[0], 16) == 0
    # The agent keeps our environment, and has its channel and nothing else of ours.
    environment = open("/proc/%d/environ" % node.agent).read().split("\0")
    assert "PATRONI_SUPERUSER_PASSWORD=planted" in environment
    assert "PGHEIR_SUPERVISOR_FD=3" in environment
    kinds = [os.readlink("/proc/%d/fd/%s" % (node.agent, fd))
             for fd in os.listdir("/proc/%d/fd" % node.agent)]
    assert len([kind for kind in kinds if kind.startswith("socket:")]) == 2
    assert not [kind for kind in kinds if kind.startswith("pipe:")]
    assert not [kind for kind in kinds if "pidfd" in kind or "timerfd" in kind or kind == "/proc"]


def test_closed_descriptors_do_not_reach_the_children(make_node):
    """A server without stderr would write its log lines into the file that it opened first."""
    node = make_node(command=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])
    node.wait_event("welcome")
    answer = node.ask("start standby /bin/sleep 1000", "started")
    pid = int(answer.split("pid=")[1].split()[0])
    for descriptor in "012":
        assert os.readlink("/proc/%d/fd/%s" % (pid, descriptor)) == "/dev/null"
        assert os.readlink("/proc/%d/fd/%s" % (node.agent, descriptor)) == "/dev/null"


def test_ends_of_children_are_seen_where_sigchld_was_ignored(make_node):
    node = make_node(command=["env", "--ignore-signal=CHLD"])
    node.wait_event("welcome")
    mark = node.mark()
    os.kill(node.agent, signal.SIGKILL)
    assert "previous=2 status=9" in node.wait_event("welcome", mark)
    node.ask("start standby /bin/true", "started")
    assert "status=0 has_status=1" in node.wait_event("exited")


@needs_root
def test_children_get_the_scheduling_policy_that_we_were_started_with(make_node):
    node = make_node(command=["chrt", "--batch", "0"])
    node.wait_event("welcome")
    answer = node.ask("start standby /bin/sleep 1000", "started")
    pid = int(answer.split("pid=")[1].split()[0])
    assert os.sched_getscheduler(pid) == os.SCHED_BATCH
    assert os.sched_getscheduler(node.agent) == os.SCHED_BATCH


def test_exec_that_fails_is_told(make_node):
    node = make_node()
    node.wait_event("welcome")
    assert node.ask("start standby /nowhere/postgres", "start",
                    "exited") == "start_failed start error=2"
    assert node.events("exited") == []
    assert node.ask("start standby /bin/sleep 1000", "start").startswith("started")


def test_requests_before_hello_are_refused(make_node):
    node = make_node(config={"hello": "no"})
    assert node.ask("fence none", "refused") == "refused fence error=71"


def test_rules_of_start(make_node):
    node = make_node()
    node.wait_event("welcome")
    assert node.ask("start primary /bin/sleep 1000", "start") == "start_failed start error=1"
    assert node.ask("signal 10", "refused") == "refused signal_postmaster error=3"
    assert node.ask("start standby /bin/sleep 1000", "start").startswith("started")
    assert node.ask("start standby /bin/sleep 1000", "start") == "start_failed start error=17"
    # No promotion without a fence; no way back to none after it.
    assert node.ask("signal 10", "refused", "done") == "refused signal_postmaster error=1"
    assert node.ask("signal 11", "refused", "done") == "refused signal_postmaster error=22"
    node.ask("renew 20000 300", "done fence")
    assert node.ask("fence none", "refused", "done") == "done fence"
    node.ask("renew 20000 300", "done fence")
    assert node.ask("signal 10", "refused", "done signal") == "done signal_postmaster"
    assert node.wait_event("exited")  # SIGUSR1 ends a sleep.


@pytest.mark.skipif(os.environ.get("PGHEIR_SANITIZERS") not in (None, "", "no"),
                    reason="memory of sanitizers")
def test_memory(make_node):
    node = make_node()
    node.start_primary()
    assert private_dirty_kb(node.supervisor) <= 300
    assert private_dirty_kb(node.guard) <= 300
    print("Private_Dirty kB: supervisor", private_dirty_kb(node.supervisor), "guard",
          private_dirty_kb(node.guard), BINDIR)
