#include "pgheir/io/child.h"

#include "child_exec.h"
#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LINE_SIZE = 4096,
    STDIN_MAX = 64 * 1024,
    OUTPUT_CEILING_DEFAULT = 1024 * 1024,
    READ_SIZE = 16 * 1024,
    READS_PER_TURN = 8,    /* a child that floods its pipe must not hold the loop */
    DRAIN_MS = 500,        /* for what is still in the pipes after the exit */
    REAP_WAIT_MS = 20
};

/*            exit seen                    pipes at their end, or DRAIN_MS over
 *  RUNNING ------------> DRAINING -----------------------------------------> on_done, freed
 *     |  deadline, cancel      ^
 *     v                        |
 *  ENDING (TERM, then KILL) ---'                                                             */
enum child_state { CHILD_RUNNING, CHILD_ENDING, CHILD_DRAINING };

struct child_pipe {
    enum child_stream stream;
    int fd;
    struct loop_fd *watch;
    struct child *child;
    size_t line_length;
    char line[LINE_SIZE];
};

struct child {
    struct loop *loop;
    enum child_state state;
    char name[64];
    pid_t pid;
    int pid_fd;
    struct loop_fd *pid_watch;
    struct loop_timer *timer;
    int64_t started_at_ms, deadline_ms, term_grace_ms;
    bool has_termed;
    bool is_in_callback, is_free_wanted;
    bool keep_stdout;
    size_t output_ceiling, output_bytes;
    struct buf out;
    char last_line[LINE_SIZE];
    bool is_last_line_error;
    struct child_pipe pipes[2];
    struct child_result result;
    void (*on_line)(enum child_stream stream, const char *line, void *arg);
    void (*on_done)(const struct child_result *result, void *arg);
    void *arg;
};

/* ---- ends ---- */

static void group_signal(const struct child *child, int signal_number)
{
    if (child->pid > 0)
        (void)kill(-child->pid, signal_number);
}

static void pipe_close(struct child_pipe *pipe)
{
    loop_fd_free(pipe->watch);
    pipe->watch = NULL;
    if (pipe->fd >= 0)
        (void)close(pipe->fd);
    pipe->fd = -1;
}

static void child_destroy(struct child *child)
{
    for (size_t i = 0; i < PGH_COUNT(child->pipes); i++)
        pipe_close(&child->pipes[i]);
    loop_fd_free(child->pid_watch);
    loop_timer_free(child->timer);
    if (child->pid_fd >= 0)
        (void)close(child->pid_fd);
    buf_done(&child->out);
    mem_free(child);
}

/* A killed process is gone within a millisecond. One in an uninterruptible sleep would hold us: it
 * stays a zombie for whoever inherits our children. */
static void group_reap(const struct child *child)
{
    struct pollfd poll_fd = {.fd = child->pid_fd, .events = POLLIN};
    siginfo_t info;
    group_signal(child, SIGKILL);
    (void)poll(&poll_fd, 1, REAP_WAIT_MS);
    (void)waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG);
}

void child_free(struct child *child)
{
    if (child == NULL)
        return;
    child->on_line = NULL;
    child->on_done = NULL;
    if (child->state != CHILD_DRAINING)
        group_reap(child);
    if (child->is_in_callback) {
        child->is_free_wanted = true;
        return;
    }
    child_destroy(child);
}

static void child_finish(struct child *child)
{
    for (size_t i = 0; i < PGH_COUNT(child->pipes); i++)
        pipe_close(&child->pipes[i]);
    child->result.took_ms = clock_boot_ms() - child->started_at_ms;
    child->result.out = child->keep_stdout ? &child->out : NULL;
    child->result.last_line = child->last_line;
    log_debug("child ended name=%s pid=%d outcome=%d status=%d signal=%d took_ms=%lld",
              child->name, (int)child->pid, (int)child->result.outcome, child->result.exit_status,
              child->result.exit_signal, (long long)child->result.took_ms);
    child->is_in_callback = true;
    if (child->on_done != NULL)
        child->on_done(&child->result, child->arg);
    child_destroy(child);
}

/* ---- output ---- */

/* The line that says why: the last one with "error" or "fatal" in it, else the last one. Tools
 * append "removing contents of ..." and hints to the reason. */
static void last_line_note(struct child *child, const char *line)
{
    bool is_error = strcasestr(line, "error:") != NULL || strcasestr(line, "fatal:") != NULL ||
                    strcasestr(line, "panic:") != NULL;
    if (line[0] == '\0' || (child->is_last_line_error && !is_error))
        return;
    child->is_last_line_error = is_error;
    if (!str_copy(child->last_line, sizeof child->last_line, line))
        child->last_line[0] = '\0';
}

static void line_end(struct child_pipe *pipe)
{
    struct child *child = pipe->child;
    pipe->line[pipe->line_length] = '\0';
    pipe->line_length = 0;
    if (pipe->line[0] == '\0')
        return;
    if (pipe->stream == CHILD_STDERR)
        last_line_note(child, pipe->line);
    if (child->on_line == NULL)
        return;
    if (child->output_bytes > child->output_ceiling) {
        child->result.is_output_cut = true;
        return;
    }
    child->is_in_callback = true;
    child->on_line(pipe->stream, pipe->line, child->arg);
    child->is_in_callback = false;
}

static void pipe_take(struct child_pipe *pipe, const char *bytes, size_t length)
{
    struct child *child = pipe->child;
    child->output_bytes += length;
    if (pipe->stream == CHILD_STDOUT && child->keep_stdout) {
        if (buf_append(&child->out, bytes, length) != RC_OK)
            child->result.is_output_cut = true;
        return;
    }
    for (size_t i = 0; i < length && !child->is_free_wanted; i++) {
        if (bytes[i] == '\n' || bytes[i] == '\r') {
            line_end(pipe);
        } else {
            pipe->line[pipe->line_length++] = bytes[i] == '\0' ? ' ' : bytes[i];
            if (pipe->line_length == sizeof pipe->line - 1)
                line_end(pipe);
        }
    }
}

static void done_check(struct child *child)
{
    if (child->state == CHILD_DRAINING && child->pipes[0].fd < 0 && child->pipes[1].fd < 0)
        child_finish(child);
}

static void on_pipe(int fd, unsigned ready, void *arg)
{
    struct child_pipe *pipe = arg;
    struct child *child = pipe->child;
    char bytes[READ_SIZE];
    (void)ready;
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t length = read(fd, bytes, sizeof bytes);
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (length > 0) {
            pipe_take(pipe, bytes, (size_t)length);
        } else {
            line_end(pipe);
            if (!child->is_free_wanted)
                pipe_close(pipe);
        }
        if (child->is_free_wanted) {
            child_destroy(child);
            return;
        }
        if (length <= 0) {
            done_check(child);
            return;
        }
    }
}

/* ---- exit ---- */

static void on_exit_seen(int fd, unsigned ready, void *arg)
{
    struct child *child = arg;
    siginfo_t info = {0};
    (void)fd;
    (void)ready;
    if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == 0)
        return;
    /* While the leader is a zombie its group's number cannot be another's: end what it left. */
    group_signal(child, SIGKILL);
    (void)waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG);
    if (info.si_code == CLD_EXITED)
        child->result.exit_status = info.si_status;
    else
        child->result.exit_signal = info.si_status;
    if (child->state == CHILD_RUNNING)
        child->result.outcome = info.si_code == CLD_EXITED ? CHILD_EXITED : CHILD_SIGNALED;
    child->state = CHILD_DRAINING;
    loop_fd_free(child->pid_watch);
    child->pid_watch = NULL;
    loop_timer_arm(child->timer, clock_boot_ms() + DRAIN_MS);
    done_check(child);
}

static void end_begin(struct child *child, enum child_outcome outcome)
{
    if (child->state == CHILD_RUNNING) {
        child->state = CHILD_ENDING;
        child->result.outcome = outcome;
    }
    if (child->term_grace_ms > 0 && !child->has_termed) {
        child->has_termed = true;
        /* CONT first: a stopped program could not act on TERM. */
        group_signal(child, SIGCONT);
        group_signal(child, SIGTERM);
        loop_timer_arm(child->timer, clock_boot_ms() + child->term_grace_ms);
        return;
    }
    group_signal(child, SIGKILL);
    /* Again and again: a fork in this very instant may have slipped through. */
    loop_timer_arm(child->timer, clock_boot_ms() + DRAIN_MS);
}

static void on_timer(void *arg)
{
    struct child *child = arg;
    if (child->state == CHILD_DRAINING)
        child_finish(child);
    else
        end_begin(child, CHILD_TIMED_OUT);
}

void child_cancel(struct child *child)
{
    if (child->state == CHILD_RUNNING)
        end_begin(child, CHILD_CANCELLED);
}

void child_extend(struct child *child, int64_t deadline_ms)
{
    if (child->state != CHILD_RUNNING)
        return;
    child->deadline_ms = deadline_ms;
    loop_timer_arm(child->timer, deadline_ms);
}

pid_t child_pid(const struct child *child)
{
    return child->pid;
}

/* ---- start ---- */

static bool name_is_unset(const char *entry, const char *const *unset)
{
    size_t length = strcspn(entry, "=");
    for (; unset != NULL && *unset != NULL; unset++) {
        size_t want = strlen(*unset);
        bool is_prefix = want > 0 && (*unset)[want - 1] == '*';
        if (is_prefix ? strncmp(entry, *unset, want - 1) == 0
                      : want == length && strncmp(entry, *unset, length) == 0)
            return true;
    }
    return false;
}

static bool name_is_set(const char *entry, const char *const *set)
{
    size_t length = strcspn(entry, "=");
    for (; set != NULL && *set != NULL; set++)
        if (strncmp(entry, *set, length) == 0 && (*set)[length] == '=')
            return true;
    return false;
}

/* Pointers only: the strings are the environment's and the spec's, and are needed until the
 * fork. */
static char **env_build(const struct child_spec *spec)
{
    size_t count = 0, used = 0;
    for (char **entry = environ; *entry != NULL; entry++)
        count++;
    for (const char *const *entry = spec->env_set; entry != NULL && *entry != NULL; entry++)
        count++;
    char **envp = mem_new(count + 1, sizeof *envp);
    for (char **entry = environ; *entry != NULL; entry++)
        if (!name_is_unset(*entry, spec->env_unset) && !name_is_set(*entry, spec->env_set))
            envp[used++] = *entry;
    for (const char *const *entry = spec->env_set; entry != NULL && *entry != NULL; entry++)
        memcpy(&envp[used++], entry, sizeof *envp); /* execve() takes char *const and writes none */
    return envp;
}

struct child_fds {
    int input, out_read, out_write, err_read, err_write;
};

static void fd_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

static void fds_close(struct child_fds *fds)
{
    fd_close(&fds->input);
    fd_close(&fds->out_read);
    fd_close(&fds->out_write);
    fd_close(&fds->err_read);
    fd_close(&fds->err_write);
}

static enum rc input_open(const struct child_spec *spec, int *ret_fd, struct err *err)
{
    int ends[2];
    if (spec->stdin_bytes == NULL) {
        *ret_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return *ret_fd >= 0 ? RC_OK : err_set_errno(err, errno, "cannot open /dev/null");
    }
    if (spec->stdin_length > STDIN_MAX)
        return err_set(err, RC_LIMIT, "%s: more than %d bytes for its stdin", spec->name,
                       STDIN_MAX);
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return err_set_errno(err, errno, "cannot make a pipe for %s", spec->name);
    ssize_t written = write(ends[1], spec->stdin_bytes, spec->stdin_length);
    int write_errno = errno;
    (void)close(ends[1]);
    (void)fcntl(ends[0], F_SETFL, 0);
    *ret_fd = ends[0];
    if (written < 0 || (size_t)written != spec->stdin_length)
        return err_set_errno(err, write_errno, "cannot fill the stdin of %s", spec->name);
    return RC_OK;
}

static enum rc fds_open(const struct child_spec *spec, struct child_fds *fds, struct err *err)
{
    int ends[2];
    enum rc rc = input_open(spec, &fds->input, err);
    if (rc != RC_OK)
        return rc;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_set_errno(err, errno, "cannot make a pipe for %s", spec->name);
    fds->out_read = ends[0];
    fds->out_write = ends[1];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_set_errno(err, errno, "cannot make a pipe for %s", spec->name);
    fds->err_read = ends[0];
    fds->err_write = ends[1];
    (void)fcntl(fds->out_read, F_SETFL, O_NONBLOCK);
    (void)fcntl(fds->err_read, F_SETFL, O_NONBLOCK);
    return RC_OK;
}

static enum rc fork_run(const struct child_spec *spec, const struct child_fds *fds, pid_t *ret_pid,
                        int *ret_pid_fd, struct err *err)
{
    sigset_t all, before;
    siginfo_t info;
    char **envp = spec->argv != NULL ? env_build(spec) : NULL;
    struct child_exec plan = {
        .parent_pid = getpid(),
        .stdin_fd = fds->input,
        .stdout_fd = fds->out_write,
        .stderr_fd = fds->err_write,
        .is_low_priority = spec->is_low_priority,
        .dir = spec->dir,
        .envp = envp,
        .function = spec->function,
        .function_arg = spec->function_arg,
    };
    memcpy(&plan.argv, &spec->argv, sizeof plan.argv); /* execve() takes char *const, writes none */
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        child_exec_run(&plan);
    int fork_errno = errno;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    mem_free(envp);
    if (pid < 0)
        return err_set_errno(err, fork_errno, "cannot fork for %s", spec->name);
    (void)setpgid(pid, pid);
    int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pid_fd < 0) {
        int open_errno = errno;
        (void)kill(-pid, SIGKILL);
        (void)waitid(P_PID, (id_t)pid, &info, WEXITED);
        return err_set_errno(err, open_errno, "cannot watch %s (Linux 5.3 or later is needed)",
                             spec->name);
    }
    *ret_pid = pid;
    *ret_pid_fd = pid_fd;
    return RC_OK;
}

static void pipe_init(struct child *child, size_t idx, enum child_stream stream, int fd)
{
    struct child_pipe *pipe = &child->pipes[idx];
    pipe->stream = stream;
    pipe->fd = fd;
    pipe->child = child;
    pipe->watch = loop_fd_new(child->loop, fd, on_pipe, pipe);
    loop_fd_want(pipe->watch, LOOP_READ);
}

enum rc child_start(struct loop *loop, const struct child_spec *spec, struct child **ret,
                    struct err *err)
{
    struct child_fds fds = {-1, -1, -1, -1, -1};
    pid_t pid = -1;
    int pid_fd = -1;
    pgh_assert((spec->argv != NULL) != (spec->function != NULL));
    pgh_assert(spec->deadline_ms > 0 && spec->on_done != NULL);
    enum rc rc = fds_open(spec, &fds, err);
    if (rc == RC_OK)
        rc = fork_run(spec, &fds, &pid, &pid_fd, err);
    if (rc != RC_OK) {
        fds_close(&fds);
        return rc;
    }
    struct child *child = mem_new(1, sizeof *child);
    child->loop = loop;
    child->pid = pid;
    child->pid_fd = pid_fd;
    child->started_at_ms = clock_boot_ms();
    child->deadline_ms = spec->deadline_ms;
    child->term_grace_ms = spec->term_grace_ms;
    child->keep_stdout = spec->keep_stdout;
    child->output_ceiling =
        spec->output_ceiling > 0 ? spec->output_ceiling : OUTPUT_CEILING_DEFAULT;
    child->on_line = spec->on_line;
    child->on_done = spec->on_done;
    child->arg = spec->arg;
    if (!str_copy(child->name, sizeof child->name, spec->name))
        child->name[0] = '\0';
    buf_init(&child->out, child->output_ceiling);
    pipe_init(child, 0, CHILD_STDOUT, fds.out_read);
    pipe_init(child, 1, CHILD_STDERR, fds.err_read);
    fds.out_read = fds.err_read = -1;
    fds_close(&fds);
    child->pid_watch = loop_fd_new(loop, pid_fd, on_exit_seen, child);
    loop_fd_want(child->pid_watch, LOOP_READ);
    child->timer = loop_timer_new(loop, on_timer, child);
    loop_timer_arm(child->timer, child->deadline_ms);
    log_debug("child started name=%s pid=%d", child->name, (int)pid);
    *ret = child;
    return RC_OK;
}

enum rc child_result_check(const char *name, const struct child_result *result, struct err *err)
{
    const char *line = result->last_line != NULL ? result->last_line : "";
    const char *mark = line[0] != '\0' ? ": " : "";
    switch (result->outcome) {
    case CHILD_EXITED:
        if (result->exit_status == 0)
            return RC_OK;
        return err_set(err, result->exit_status == 127 ? RC_NOT_FOUND : RC_REFUSED,
                       "%s: exit status %d%s%s", name, result->exit_status, mark, line);
    case CHILD_SIGNALED:
        return err_set(err, RC_SYSTEM, "%s: ended by signal %d%s%s", name, result->exit_signal,
                       mark, line);
    case CHILD_TIMED_OUT:
        return err_set(err, RC_TIMEOUT, "%s: not done after %lld ms and ended%s%s", name,
                       (long long)result->took_ms, mark, line);
    case CHILD_CANCELLED:
        return err_set(err, RC_CANCELLED, "%s: cancelled after %lld ms", name,
                       (long long)result->took_ms);
    case CHILD_OUTCOME_COUNT:
        break;
    }
    pgh_unreachable();
}
