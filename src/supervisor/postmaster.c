/* PostgreSQL under the supervisor.
 *
 *   NONE --start--> STARTING --exec--> RUNNING --death--> ENDING --nobody left--> NONE
 *     \---adopt-----------------------/                  /
 *      \--clean up (orphans found at start)-------------/
 *
 * Doomed, in any phase but NONE: everything of this data directory is killed, pass after pass,
 * until a pass finds nobody. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "note.h"
#include "pgheir/base/clock.h"
#include "quell.h"
#include "spawn.h"
#include "supervisor.h"

enum { PASS_MS = 2, PASS_SLOW_MS = 20, QUICK_PASSES = 50 };

bool postmaster_is_running(const struct supervisor *self)
{
    return self->postmaster.phase != POSTMASTER_NONE && !self->postmaster.is_cleanup;
}

static void reset(struct postmaster *postmaster)
{
    memset(postmaster, 0, sizeof(*postmaster));
    postmaster->status_fd = -1;
    postmaster->pid_fd = -1;
}

static void take_data_dir(struct postmaster *postmaster, const char *data_dir,
                          const struct file_id *dir_id)
{
    memccpy(postmaster->data_dir, data_dir, '\0', sizeof(postmaster->data_dir));
    postmaster->dir_id = *dir_id;
}

/* Only one at a time, and no new one while the last one's remains are about. */
static int check_free(const struct supervisor *self)
{
    switch (self->postmaster.phase) {
    case POSTMASTER_NONE:
        return 0;
    case POSTMASTER_ENDING:
        return EBUSY;
    case POSTMASTER_STARTING:
    case POSTMASTER_RUNNING:
        return self->postmaster.is_doomed ? EBUSY : EEXIST;
    }
    return EBUSY;
}

static int check_writer(const struct supervisor *self, uint32_t mode, int64_t now_ms)
{
    if (mode == PROTO_MODE_PRIMARY && !fence_allows_writer(&self->fence, now_ms))
        return EPERM;
    return 0;
}

static int spawn(struct supervisor *self, struct proto_start *start)
{
    static char *argv[PROTO_ARGV_MAX + 1];
    static char *env[PROTO_ENV_MAX + 1];
    struct postmaster *postmaster = &self->postmaster;
    int32_t pid;

    if (proto_unpack_strings(start->argv, start->argv_length, argv, PROTO_ARGV_MAX) < 1 ||
        proto_unpack_strings(start->env, start->env_length, env, PROTO_ENV_MAX) < 0)
        return EINVAL;
    /* The guard must know the directory before there can be anybody in it. */
    postmaster->phase = POSTMASTER_STARTING;
    supervisor_publish(self);
    pid = spawn_postmaster(argv, env, self->page, &postmaster->status_fd);
    if (pid < 0)
        return errno;
    postmaster->id = (struct proc_id){pid, 0};
    (void)procfs_identify(pid, &postmaster->id);
    supervisor_publish(self);
    return 0;
}

int postmaster_start(struct supervisor *self, struct proto_start *start, uint64_t request_id,
                     int64_t now_ms)
{
    struct postmaster *postmaster = &self->postmaster;
    struct file_id dir_id;
    int error = check_free(self);

    if (error == 0)
        error = check_writer(self, start->mode, now_ms);
    if (error == 0)
        error = procfs_identify_dir(start->data_dir, &dir_id);
    if (error != 0)
        return error;
    reset(postmaster);
    take_data_dir(postmaster, start->data_dir, &dir_id);
    postmaster->mode = start->mode;
    postmaster->is_writer = start->mode == PROTO_MODE_PRIMARY;
    postmaster->started_at_ms = now_ms;
    postmaster->request_id = request_id;
    postmaster->requester = self->agent.generation;
    error = spawn(self, start);
    if (error != 0) {
        reset(postmaster);
        supervisor_publish(self);
    }
    return error;
}

/* The request that is still open, once, if the agent that made it is still there. */
static bool take_request(struct supervisor *self, uint64_t *ret_request_id)
{
    struct postmaster *postmaster = &self->postmaster;

    *ret_request_id = postmaster->request_id;
    postmaster->request_id = 0;
    return *ret_request_id != 0 && postmaster->requester == self->agent.generation &&
           self->agent.is_greeted;
}

void postmaster_on_status(struct supervisor *self, int64_t now_ms)
{
    struct postmaster *postmaster = &self->postmaster;
    uint64_t request_id;
    int error = 0;
    ssize_t length = read(postmaster->status_fd, &error, sizeof(error));

    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    (void)close(postmaster->status_fd);
    postmaster->status_fd = -1;
    if (postmaster->phase != POSTMASTER_STARTING)
        return;
    postmaster->phase = POSTMASTER_RUNNING;
    if (length == (ssize_t)sizeof(error)) {
        /* Told when the child is reaped: from then on the next START is possible. */
        note_error("cannot execute PostgreSQL: %s", strerror(error));
        postmaster->start_error = error;
        return;
    }
    note_info("postmaster started pid=%d mode=%s", postmaster->id.pid,
              postmaster->is_writer ? "primary" : "standby");
    if (take_request(self, &request_id))
        tell_started(self, request_id, now_ms);
}

/* Whether pid is the very process that the agent saw, in the directory it named. */
static int check_identity(const struct proto_adopt *adopt, struct file_id *ret_dir_id)
{
    struct proc_facts facts;
    struct file_id cwd;
    int error = procfs_identify_dir(adopt->data_dir, ret_dir_id);
    int fd;

    if (error != 0)
        return error;
    fd = procfs_open_process(adopt->pid);
    if (fd < 0)
        return ESRCH;
    if (!procfs_read_facts(fd, &facts) || facts.state == 'Z' ||
        facts.start_ticks != adopt->start_time_ticks)
        error = ESRCH;
    else if (!procfs_read_cwd(fd, &cwd) || !file_id_is_equal(&cwd, ret_dir_id) ||
             !procfs_is_postgres(fd))
        error = EXDEV;
    (void)close(fd);
    return error;
}

/* A descriptor that becomes readable when the process ends. */
static int watch_process(const struct proc_id *id)
{
    int fd = (int)syscall(SYS_pidfd_open, id->pid, 0);

    /* Whoever had the pid when it was opened must be the one that we mean. */
    if (fd >= 0 && !procfs_is_alive(id)) {
        (void)close(fd);
        errno = ESRCH;
        return -1;
    }
    return fd;
}

int postmaster_adopt(struct supervisor *self, const struct proto_adopt *adopt, int64_t now_ms)
{
    struct postmaster *postmaster = &self->postmaster;
    struct proc_id id = {adopt->pid, adopt->start_time_ticks};
    struct file_id dir_id;
    int error = check_free(self);
    int fd;

    if (error == 0)
        error = check_writer(self, adopt->mode, now_ms);
    if (error == 0)
        error = check_identity(adopt, &dir_id);
    if (error != 0)
        return error;
    fd = watch_process(&id);
    if (fd < 0)
        return errno;
    reset(postmaster);
    take_data_dir(postmaster, adopt->data_dir, &dir_id);
    postmaster->phase = POSTMASTER_RUNNING;
    postmaster->id = id;
    postmaster->mode = adopt->mode;
    postmaster->is_writer = adopt->mode == PROTO_MODE_PRIMARY;
    postmaster->is_adopted = true;
    postmaster->started_at_ms = now_ms;
    postmaster->pid_fd = fd;
    supervisor_publish(self);
    note_info("postmaster adopted pid=%d mode=%s: no parent-death signal until its next restart",
              id.pid, postmaster->is_writer ? "primary" : "standby");
    return 0;
}

int postmaster_clean_up(struct supervisor *self, const char *data_dir, uint64_t request_id,
                        int64_t now_ms)
{
    struct postmaster *postmaster = &self->postmaster;
    struct file_id dir_id;
    int error = self->postmaster.phase == POSTMASTER_NONE ? 0 : EBUSY;

    if (error == 0)
        error = procfs_identify_dir(data_dir, &dir_id);
    if (error == 0 && quell_has_postmaster(data_dir, &dir_id))
        error = EBUSY;
    if (error != 0)
        return error;
    reset(postmaster);
    take_data_dir(postmaster, data_dir, &dir_id);
    postmaster->phase = POSTMASTER_ENDING;
    postmaster->is_cleanup = true;
    postmaster->is_doomed = true;
    postmaster->request_id = request_id;
    postmaster->requester = self->agent.generation;
    postmaster->next_pass_ms = now_ms;
    supervisor_publish(self);
    return 0;
}

static bool is_allowed_signal(int signo)
{
    static const int allowed[] = {SIGHUP,  SIGINT,  SIGTERM, SIGQUIT,
                                  SIGUSR1, SIGUSR2, SIGCONT, SIGKILL};

    for (size_t idx = 0; idx < PGH_COUNT(allowed); idx++) {
        if (signo == allowed[idx])
            return true;
    }
    return false;
}

int postmaster_signal(struct supervisor *self, int signo, int64_t now_ms)
{
    struct postmaster *postmaster = &self->postmaster;

    if (!is_allowed_signal(signo))
        return EINVAL;
    if (postmaster->phase != POSTMASTER_STARTING && postmaster->phase != POSTMASTER_RUNNING)
        return ESRCH;
    if (signo == SIGUSR1) {
        /* A promotion: from here on it is a writer, whatever becomes of the signal. */
        if (check_writer(self, PROTO_MODE_PRIMARY, now_ms) != 0)
            return EPERM;
        postmaster->is_writer = true;
    }
    return procfs_signal(&postmaster->id, signo);
}

void postmaster_doom(struct supervisor *self, uint32_t why, int64_t now_ms)
{
    struct postmaster *postmaster = &self->postmaster;

    if (why != 0 && !postmaster->is_fenced) {
        postmaster->is_fenced = true;
        postmaster->fenced_why = why;
    }
    if (postmaster->is_doomed)
        return;
    postmaster->is_doomed = true;
    postmaster->pass_count = 0;
    postmaster->next_pass_ms = now_ms;
}

/* How a child ended, for the log. */
static void note_death(const struct postmaster *postmaster)
{
    int32_t pid = postmaster->id.pid;

    if (!postmaster->has_status)
        note_info("adopted postmaster ended pid=%d", pid);
    else if (WIFSIGNALED(postmaster->status))
        note_warning("postmaster killed by signal %d pid=%d", WTERMSIG(postmaster->status), pid);
    else
        note_info("postmaster exited with code %d pid=%d", WEXITSTATUS(postmaster->status), pid);
}

/* A mute keeper has let go of its lock. If another pgheir holds it now, that one has taken the
 * server over and looks after its remains; who runs in the directory next is its business. */
static bool has_heir(const struct supervisor *self)
{
    return self->is_mute && self->lock_fd >= 0 &&
           flock(self->lock_fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

void postmaster_on_death(struct supervisor *self, const int *status, int64_t now_ms)
{
    struct postmaster *postmaster = &self->postmaster;
    bool is_orderly;

    if (postmaster->phase != POSTMASTER_STARTING && postmaster->phase != POSTMASTER_RUNNING)
        return;
    if (postmaster->status_fd >= 0)
        postmaster_on_status(self, now_ms);
    if (postmaster->pid_fd >= 0)
        (void)close(postmaster->pid_fd);
    postmaster->pid_fd = -1;
    postmaster->has_status = status != NULL;
    postmaster->status = status != NULL ? *status : 0;
    postmaster->exited_at_ms = now_ms;
    postmaster->phase = POSTMASTER_ENDING;
    postmaster->pass_count = 0;
    postmaster->next_pass_ms = now_ms;
    is_orderly = status != NULL && WIFEXITED(*status);
    postmaster->grace_until_ms = is_orderly ? now_ms + POSTMASTER_GRACE_MS : now_ms;
    note_death(postmaster);
    if (has_heir(self)) {
        reset(postmaster);
        supervisor_publish(self);
    }
}

void postmaster_stop_begin(struct supervisor *self, int64_t now_ms)
{
    struct postmaster *postmaster = &self->postmaster;

    if (postmaster->stop != STOP_NONE || postmaster->phase == POSTMASTER_NONE)
        return;
    note_info("stopping PostgreSQL (fast)");
    postmaster->stop = STOP_FAST;
    postmaster->stop_deadline_ms = now_ms + STOP_FAST_MS;
    (void)procfs_signal(&postmaster->id, SIGINT);
}

static void step_stop(struct supervisor *self, int64_t now_ms)
{
    struct postmaster *postmaster = &self->postmaster;

    if (postmaster->stop == STOP_NONE || postmaster->stop == STOP_KILL)
        return;
    if (now_ms < postmaster->stop_deadline_ms)
        return;
    if (postmaster->stop == STOP_FAST) {
        note_warning("PostgreSQL did not stop within %d s, stopping it (immediate)",
                     STOP_FAST_MS / 1000);
        postmaster->stop = STOP_IMMEDIATE;
        postmaster->stop_deadline_ms = now_ms + STOP_IMMEDIATE_MS;
        (void)procfs_signal(&postmaster->id, SIGQUIT);
        return;
    }
    note_error("PostgreSQL did not stop within %d s more, killing it", STOP_IMMEDIATE_MS / 1000);
    postmaster->stop = STOP_KILL;
    postmaster_doom(self, 0, now_ms);
}

/* Nobody is left: tell it, and be ready for the next one. */
static void finish(struct supervisor *self, int64_t now_ms)
{
    struct postmaster *postmaster = &self->postmaster;
    bool is_fenced = postmaster->is_fenced;
    uint64_t request_id;

    if (postmaster->orphan_count > 0)
        note_warning("killed %u processes that PostgreSQL left behind", postmaster->orphan_count);
    if (is_fenced) {
        self->last_fenced.why = postmaster->fenced_why;
        self->last_fenced.fence.kind = self->fence.kind;
        self->last_fenced.fence.until_ms = self->fence.until_ms;
        self->last_fenced.acted_at_ms = now_ms;
    }
    if (!take_request(self, &request_id))
        tell_exited(self, now_ms);
    else if (postmaster->is_cleanup)
        tell_orphans_gone(self, request_id, now_ms);
    else
        tell_start_failed(self, PROTO_START, request_id, postmaster->start_error, now_ms);
    reset(postmaster);
    if (is_fenced) {
        fence_clear(&self->fence);
        tell_fenced(self, now_ms);
        note_warning("PostgreSQL was fenced, no process of it is left");
    }
    supervisor_publish(self);
}

/* As the guard does: at least as long a pause as the pass took. */
static void plan_next_pass(struct postmaster *postmaster, int64_t begun_ms)
{
    int64_t pause_ms = postmaster->pass_count < QUICK_PASSES ? PASS_MS : PASS_SLOW_MS;
    int64_t ended_ms = clock_boot_ms();

    if (ended_ms - begun_ms > pause_ms)
        pause_ms = ended_ms - begun_ms;
    postmaster->next_pass_ms = ended_ms + pause_ms;
}

/* Takes no new descriptor. A child of ours that is not reaped yet still owns its pid. */
static void signal_blindly(const struct postmaster *postmaster, int signo)
{
    if (postmaster->is_adopted)
        (void)procfs_signal_process(postmaster->pid_fd, signo);
    else
        (void)kill(postmaster->id.pid, signo);
}

/* The kernel has no descriptor left with which backends could be found. The postmaster knows them:
 * at SIGQUIT it ends them at once, without a checkpoint. One that does not is killed. */
static void end_blindly(const struct postmaster *postmaster)
{
    if (postmaster->phase == POSTMASTER_ENDING)
        return;
    if (postmaster->pass_count > QUICK_PASSES) {
        signal_blindly(postmaster, SIGKILL);
        return;
    }
    signal_blindly(postmaster, SIGQUIT);
    signal_blindly(postmaster, SIGCONT);
}

static void make_pass(struct supervisor *self, int64_t now_ms)
{
    struct postmaster *postmaster = &self->postmaster;
    struct quell_site site = {
        .data_dir = postmaster->dir_id,
        .postmaster = postmaster->id,
        .reaper_pid = getpid(),
        .spared_pids = {self->agent.pid, self->guard.pid},
    };
    struct quell_result result;
    bool does_kill = postmaster->is_doomed || now_ms >= postmaster->grace_until_ms;

    quell_pass(&site, does_kill, &result);
    postmaster->pass_count++;
    if (does_kill && result.is_unsure)
        end_blindly(postmaster);
    plan_next_pass(postmaster, now_ms);
    if (postmaster->phase != POSTMASTER_ENDING)
        return;
    if (result.killed > (int)postmaster->orphan_count)
        postmaster->orphan_count = (uint32_t)result.killed;
    if (quell_is_over(&result))
        finish(self, now_ms);
}

void postmaster_step(struct supervisor *self, int64_t now_ms)
{
    struct postmaster *postmaster = &self->postmaster;

    if (postmaster->phase == POSTMASTER_NONE)
        return;
    step_stop(self, now_ms);
    if (postmaster->next_pass_ms > 0 && now_ms >= postmaster->next_pass_ms)
        make_pass(self, now_ms);
}

int64_t postmaster_deadline_ms(const struct supervisor *self)
{
    const struct postmaster *postmaster = &self->postmaster;
    int64_t deadline_ms = postmaster->next_pass_ms;

    if (postmaster->phase == POSTMASTER_NONE)
        return 0;
    if (postmaster->stop == STOP_FAST || postmaster->stop == STOP_IMMEDIATE) {
        if (deadline_ms == 0 || postmaster->stop_deadline_ms < deadline_ms)
            deadline_ms = postmaster->stop_deadline_ms;
    }
    return deadline_ms;
}
