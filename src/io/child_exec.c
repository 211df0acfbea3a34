#include "child_exec.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_NOT_RUN = 127, NICE_LOW = 10, IOPRIO_IDLE = 3 << 13, IOPRIO_WHO_PROCESS = 1 };

static void text_write(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written; /* there is nobody else to tell */
}

PGH_NORETURN static void fail(const char *what, const char *name)
{
    const char *why = strerror(errno);
    text_write("error: ");
    text_write(what);
    text_write(" ");
    text_write(name);
    text_write(": ");
    text_write(why);
    text_write("\n");
    _exit(EXIT_NOT_RUN);
}

static void signals_reset(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int i = 1; i < NSIG; i++)
        (void)sigaction(i, &action, NULL); /* refused for KILL, STOP and the C library's own */
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Dies with its parent. Checks afterwards, because the parent may have died before the call. */
static void parent_death_set(int signal_number, pid_t parent_pid)
{
    if (prctl(PR_SET_PDEATHSIG, signal_number) != 0 || getppid() != parent_pid)
        _exit(EXIT_NOT_RUN);
}

/* The agent may run with a protected oom score and real-time priority: what it starts must not. */
static void privileges_drop(bool is_low_priority)
{
    struct sched_param ordinary = {0};
    char score[16] = "";
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        bool is_lowered = read(fd, score, sizeof score - 1) > 0 && score[0] == '-';
        if (is_lowered && pwrite(fd, "0", 1, 0) != 1)
            text_write("cannot reset oom_score_adj\n");
        (void)close(fd);
    }
    if (sched_getscheduler(0) != SCHED_OTHER)
        (void)sched_setscheduler(0, SCHED_OTHER, &ordinary);
    if (getpriority(PRIO_PROCESS, 0) < 0)
        (void)setpriority(PRIO_PROCESS, 0, 0);
    if (is_low_priority) {
        (void)setpriority(PRIO_PROCESS, 0, NICE_LOW);
        (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
    }
}

static void descriptors_close(int first)
{
    if (syscall(SYS_close_range, (unsigned)first, ~0u, 0u) == 0)
        return;
    for (int fd = first; fd < 1024; fd++)
        (void)close(fd);
}

static void descriptors_set(const struct child_exec *plan)
{
    int fds[3] = {plan->stdin_fd, plan->stdout_fd, plan->stderr_fd};
    /* Above 2 first: one of them may be 0, 1 or 2 itself if we were started with those closed. */
    for (int i = 0; i < 3; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD, 3);
        if (fds[i] < 0)
            _exit(EXIT_NOT_RUN);
    }
    for (int i = 0; i < 3; i++)
        if (dup2(fds[i], i) < 0)
            _exit(EXIT_NOT_RUN);
    descriptors_close(3);
}

/* ---- the watcher: parent of the program, so that a whole group dies with us ---- */

static void on_agent_death(int signal_number)
{
    (void)signal_number;
    (void)kill(0, SIGKILL);
    _exit(EXIT_NOT_RUN);
}

static void watcher_signals_set(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction death = {.sa_handler = on_agent_death};
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR2, SIGPIPE, SIGALRM};
    for (size_t i = 0; i < PGH_COUNT(ignored); i++)
        (void)sigaction(ignored[i], &ignore, NULL);
    (void)sigaction(SIGUSR1, &death, NULL);
}

/* Ends as the program ended, so that its parent sees the same. */
PGH_NORETURN static void end_like(int status)
{
    struct rlimit no_core = {0, 0};
    struct sigaction action = {.sa_handler = SIG_DFL};
    if (WIFEXITED(status))
        _exit(WEXITSTATUS(status));
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)sigaction(WTERMSIG(status), &action, NULL);
    (void)kill(getpid(), WTERMSIG(status));
    _exit(EXIT_NOT_RUN);
}

PGH_NORETURN static void program_run(const struct child_exec *plan, pid_t watcher_pid)
{
    signals_reset();
    parent_death_set(SIGKILL, watcher_pid);
    if (plan->dir != NULL && chdir(plan->dir) != 0)
        fail("cannot change to directory", plan->dir);
    (void)execvpe(plan->argv[0], plan->argv, plan->envp);
    fail("cannot run", plan->argv[0]);
}

PGH_NORETURN static void watcher_run(const struct child_exec *plan)
{
    int status = 0;
    pid_t watcher_pid = getpid();
    sigset_t none;
    watcher_signals_set();
    parent_death_set(SIGUSR1, plan->parent_pid);
    pid_t program_pid = fork();
    if (program_pid < 0)
        fail("cannot fork for", plan->argv[0]);
    if (program_pid == 0)
        program_run(plan, watcher_pid);
    descriptors_close(0);
    (void)prctl(PR_SET_NAME, "pgheir-watcher");
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    while (waitpid(program_pid, &status, 0) != program_pid)
        if (errno != EINTR)
            _exit(EXIT_NOT_RUN);
    end_like(status);
}

void child_exec_run(const struct child_exec *plan)
{
    (void)setpgid(0, 0);
    descriptors_set(plan);
    privileges_drop(plan->is_low_priority);
    if (plan->argv != NULL)
        watcher_run(plan);
    signals_reset();
    parent_death_set(SIGKILL, plan->parent_pid);
    (void)prctl(PR_SET_NAME, "pgheir-job");
    if (plan->dir != NULL && chdir(plan->dir) != 0)
        fail("cannot change to directory", plan->dir);
    _exit(plan->function(plan->function_arg));
}
