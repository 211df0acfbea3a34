#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "footing.h"
#include "note.h"
#include "pgheir/supervisor/proto.h"

enum { SPAWN_ENV_MAX = 1024, SPAWN_FD_CHANNEL = 3, SPAWN_FD_FIRST_HIGH = 64 };

/* Not for the agent: it gets a new one. */
static const char *const HIDDEN_FROM_AGENT[] = {PROTO_FD_ENV "=", NULL};

/* Not for PostgreSQL: secrets, and ways to speak to the service manager in our name. */
static const char *const HIDDEN_FROM_POSTGRES[] = {"PGHEIR_", "PATRONI_", "NOTIFY_SOCKET=",
                                                   "WATCHDOG_", NULL};

static char *environment[SPAWN_ENV_MAX + 1];

static bool is_hidden(const char *entry, const char *const *prefixes)
{
    for (size_t idx = 0; prefixes[idx] != NULL; idx++) {
        if (strncmp(entry, prefixes[idx], strlen(prefixes[idx])) == 0)
            return true;
    }
    return false;
}

static bool is_replaced(const char *entry, char *const *more)
{
    size_t name_length = strcspn(entry, "=") + 1;

    for (size_t idx = 0; more[idx] != NULL; idx++) {
        if (strncmp(entry, more[idx], name_length) == 0)
            return true;
    }
    return false;
}

/* Our environment without what is hidden or replaced, then more. false: too many. */
static bool build_environment(const char *const *hidden, char *const *more)
{
    size_t count = 0;

    for (size_t idx = 0; environ[idx] != NULL; idx++) {
        if (is_hidden(environ[idx], hidden) || is_replaced(environ[idx], more))
            continue;
        if (count == SPAWN_ENV_MAX)
            return false;
        environment[count++] = environ[idx];
    }
    for (size_t idx = 0; more[idx] != NULL; idx++) {
        if (count == SPAWN_ENV_MAX)
            return false;
        environment[count++] = more[idx];
    }
    environment[count] = NULL;
    return true;
}

/* What every child needs. A signal that came at our death while all were blocked arrives at the
 * end of this. */
static void settle_child(int32_t parent_pid, int death_signal, bool keeps_oom_score)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;

    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, death_signal);
    /* If the parent died before this line, no signal comes any more. */
    if (getppid() != parent_pid)
        _exit(SPAWN_EXIT_NO_EXEC);
    footing_restore(keeps_oom_score);
    for (int signo = 1; signo < NSIG; signo++)
        (void)sigaction(signo, &standard, NULL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void take_null_stdin(void)
{
    int fd = open("/dev/null", O_RDONLY);

    if (fd > STDIN_FILENO) {
        (void)dup2(fd, STDIN_FILENO);
        (void)close(fd);
    }
}

/* Moves fd to target, also if they are the same, without the close-on-exec flag. */
static void place_descriptor(int fd, int target)
{
    if (fd < 0)
        return;
    if (fd == target)
        (void)fcntl(fd, F_SETFD, 0);
    else
        (void)dup2(fd, target);
}

PGH_NORETURN static void run_agent(const struct spawn_agent *agent, int32_t parent_pid)
{
    const char *argv[] = {agent->program, NULL, NULL, NULL};
    int argc = 1;

    if (agent->option != NULL)
        argv[argc++] = agent->option;
    if (agent->config != NULL)
        argv[argc++] = agent->config;
    settle_child(parent_pid, SIGTERM, true);
    take_null_stdin();
    place_descriptor(agent->output_fd, STDOUT_FILENO);
    place_descriptor(agent->channel_fd, SPAWN_FD_CHANNEL);
    note_forget_descriptor();
    footing_close_from(agent->channel_fd >= 0 ? SPAWN_FD_CHANNEL + 1 : SPAWN_FD_CHANNEL);
    (void)execve(agent->program, (char *const *)(uintptr_t)argv, environment);
    note_error("cannot execute %s: %s", agent->program, strerror(errno));
    _exit(SPAWN_EXIT_NO_EXEC);
}

int32_t spawn_agent(const struct spawn_agent *agent)
{
    static char channel[] = PROTO_FD_ENV "=3";
    char *more[] = {agent->channel_fd >= 0 ? channel : NULL, NULL};
    int32_t parent_pid = getpid();
    pid_t pid;

    if (!build_environment(HIDDEN_FROM_AGENT, more)) {
        errno = E2BIG;
        return -1;
    }
    pid = fork();
    if (pid == 0)
        run_agent(agent, parent_pid);
    return pid;
}

PGH_NORETURN static void run_postmaster(char *const *argv, struct guard_page *page, int status_fd,
                                        int32_t parent_pid)
{
    int high_fd = fcntl(status_fd, F_DUPFD_CLOEXEC, SPAWN_FD_FIRST_HIGH);
    int error;
    ssize_t written;

    guard_page_announce(page);
    settle_child(parent_pid, SIGQUIT, false);
    take_null_stdin();
    (void)dup3(high_fd, SPAWN_FD_CHANNEL, O_CLOEXEC);
    footing_close_from(SPAWN_FD_CHANNEL + 1);
    (void)execve(argv[0], argv, environment);
    error = errno;
    written = write(SPAWN_FD_CHANNEL, &error, sizeof(error));
    (void)written; /* The exit code says that much. */
    _exit(SPAWN_EXIT_NO_EXEC);
}

int32_t spawn_postmaster(char *const *argv, char *const *env, struct guard_page *page,
                         int *ret_status_fd)
{
    int32_t parent_pid = getpid();
    int ends[2];
    pid_t pid;

    if (!build_environment(HIDDEN_FROM_POSTGRES, env)) {
        errno = E2BIG;
        return -1;
    }
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return -1;
    pid = fork();
    if (pid == 0)
        run_postmaster(argv, page, ends[1], parent_pid);
    (void)close(ends[1]);
    if (pid < 0) {
        (void)close(ends[0]);
        return -1;
    }
    *ret_status_fd = ends[0];
    return pid;
}
