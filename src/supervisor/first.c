#include "first.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "footing.h"
#include "note.h"
#include "pgheir/base/base.h"
#include "pgheir/base/clock.h"

enum {
    /* For the guard, which needs milliseconds, and two seconds for a stuck agent. Our end kills
     * the rest anyway. */
    FIRST_GUARD_MS = 10000,
};

static const int FORWARDED[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

struct first {
    int32_t child_pid;
    int child_status;
    bool is_child_gone;
    bool is_guard_gone;
};

/* Takes in everybody who died; true if the child or the guard was among them. */
static void reap(struct first *first, int32_t guard_pid)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid == first->child_pid) {
            first->is_child_gone = true;
            first->child_status = status;
        }
        if (pid == guard_pid)
            first->is_guard_gone = true;
    }
    if (pid < 0 && errno == ECHILD)
        first->is_guard_gone = true;
}

static void forward(const struct first *first, const siginfo_t *info)
{
    for (size_t idx = 0; idx < PGH_COUNT(FORWARDED); idx++) {
        if (info->si_signo == FORWARDED[idx] && !first->is_child_gone)
            (void)kill(first->child_pid, info->si_signo);
    }
}

static int exit_code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

PGH_NORETURN static void stay(struct guard_page *page, int32_t child_pid, const sigset_t *waited)
{
    struct first first = {.child_pid = child_pid};
    int64_t deadline_ms = 0;

    note_set_speaker("init");
    for (;;) {
        struct timespec limit = {1, 0};
        siginfo_t info;

        if (sigtimedwait(waited, &info, deadline_ms > 0 ? &limit : NULL) > 0)
            forward(&first, &info);
        reap(&first, atomic_load(&page->guard_pid));
        if (!first.is_child_gone)
            continue;
        if (deadline_ms == 0)
            deadline_ms = clock_boot_ms() + FIRST_GUARD_MS;
        /* A supervisor that exited has ended its guard itself. */
        if (WIFEXITED(first.child_status) || first.is_guard_gone || clock_boot_ms() >= deadline_ms)
            _exit(exit_code_of(first.child_status));
    }
}

static void fill_waited(sigset_t *ret_set)
{
    (void)sigemptyset(ret_set);
    (void)sigaddset(ret_set, SIGCHLD);
    for (size_t idx = 0; idx < PGH_COUNT(FORWARDED); idx++)
        (void)sigaddset(ret_set, FORWARDED[idx]);
}

void first_hold_signals(void)
{
    sigset_t waited;

    fill_waited(&waited);
    (void)sigprocmask(SIG_SETMASK, &waited, NULL);
}

void first_split(struct guard_page *page)
{
    sigset_t waited;
    pid_t pid;

    fill_waited(&waited);
    pid = fork();
    if (pid < 0) {
        note_error("cannot fork: %s", strerror(errno));
        _exit(1);
    }
    if (pid > 0)
        stay(page, pid, &waited);
    /* Locks on memory are not inherited; the rest of our footing is. */
    footing_lock_memory();
}
