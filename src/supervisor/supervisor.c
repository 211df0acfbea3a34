#include "supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "note.h"
#include "pgheir/base/clock.h"

enum {
    /* Ticks without a beat of the guard (it beats once per tick) before it is replaced. */
    GUARD_SILENT_TICKS_MAX = 4,
    /* A guard that dies sooner than this is not started again before the next tick. */
    GUARD_LIFE_MS_MIN = 100,
    CHILDREN_PER_TURN = 64,
};

enum { WATCH_SIGNALS, WATCH_TIMER, WATCH_AGENT, WATCH_STATUS, WATCH_ADOPTED, WATCH_COUNT };

static struct timespec timespec_from_ms(int64_t at_ms)
{
    struct timespec at = {(time_t)(at_ms / 1000), (long)(at_ms % 1000) * 1000000};

    return at;
}

static bool open_signals(struct supervisor *self)
{
    static const int watched[] = {SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2};
    sigset_t all;
    sigset_t set;

    /* All are blocked, so nothing ever interrupts; those that mean something are read from a
     * descriptor. */
    (void)sigfillset(&all);
    (void)sigemptyset(&set);
    for (size_t idx = 0; idx < PGH_COUNT(watched); idx++)
        (void)sigaddset(&set, watched[idx]);
    if (sigprocmask(SIG_SETMASK, &all, NULL) != 0)
        return false;
    self->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return self->signal_fd >= 0;
}

static bool open_timers(struct supervisor *self)
{
    struct sigevent event;

    memset(&event, 0, sizeof(event));
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGKILL;
    self->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (self->timer_fd < 0)
        return false;
    return timer_create(CLOCK_BOOTTIME, &event, &self->kernel_timer) == 0;
}

/* Net 3: the kernel ends us, stopped or not, if we do not act at the fence. While we are acting
 * it is off: killing may take its time, and the guard helps. */
static void arm_kernel_timer(struct supervisor *self)
{
    const struct postmaster *postmaster = &self->postmaster;
    bool is_running = postmaster->phase != POSTMASTER_NONE && !postmaster->is_doomed;
    int64_t deadline_ms = fence_kernel_deadline_ms(&self->fence, is_running);
    struct itimerspec setting;

    if (deadline_ms == self->kernel_deadline_ms)
        return;
    memset(&setting, 0, sizeof(setting));
    setting.it_value = timespec_from_ms(deadline_ms);
    if (timer_settime(self->kernel_timer, TIMER_ABSTIME, &setting, NULL) != 0) {
        note_error("cannot set the kernel timer: %s", strerror(errno));
        return;
    }
    self->kernel_deadline_ms = deadline_ms;
}

void supervisor_publish(struct supervisor *self)
{
    const struct postmaster *postmaster = &self->postmaster;
    struct guard_facts facts;

    memset(&facts, 0, sizeof(facts));
    facts.data_dir = postmaster->dir_id;
    facts.postmaster = postmaster->id;
    facts.agent = self->agent.id;
    facts.fence = self->fence;
    facts.is_running = postmaster->phase != POSTMASTER_NONE;
    if (memcmp(&facts, &self->published, sizeof(facts)) != 0) {
        self->published = facts;
        guard_page_publish(self->page, &facts);
    }
    arm_kernel_timer(self);
}

static void start_guard(struct supervisor *self, int64_t now_ms)
{
    struct guard_watch *guard = &self->guard;
    int32_t pid = guard_start(self->page, self->is_mute ? -1 : self->lock_fd);

    guard->restart_at_ms = 0;
    guard->started_at_ms = now_ms;
    guard->silent_ticks = 0;
    if (pid < 0) {
        note_error("cannot start the guard: %s", strerror(errno));
        guard->restart_at_ms = now_ms + SUPERVISOR_TICK_MS;
        return;
    }
    guard->pid = pid;
}

static void on_guard_exit(struct supervisor *self, int64_t now_ms)
{
    struct guard_watch *guard = &self->guard;
    bool is_early = now_ms - guard->started_at_ms < GUARD_LIFE_MS_MIN;

    note_warning("the guard is gone, starting another one");
    guard->pid = 0;
    guard->restart_at_ms = now_ms + (is_early ? SUPERVISOR_TICK_MS : 0);
}

static void replace_guard(struct supervisor *self, const char *why)
{
    if (self->guard.pid == 0)
        return;
    note_warning("replacing the guard: %s", why);
    (void)kill(self->guard.pid, SIGKILL);
}

static void check_guard(struct supervisor *self)
{
    struct guard_watch *guard = &self->guard;
    uint32_t beat = atomic_load(&self->page->beat);

    if (guard->pid == 0 || beat != guard->beat)
        guard->silent_ticks = 0;
    else if (++guard->silent_ticks == GUARD_SILENT_TICKS_MAX)
        replace_guard(self, "it shows no sign of life");
    guard->beat = beat;
}

void supervisor_enforce_fence(struct supervisor *self, int64_t now_ms)
{
    struct postmaster *postmaster = &self->postmaster;
    bool is_running = postmaster->phase != POSTMASTER_NONE;
    int64_t until_ms = self->fence.until_ms;
    uint32_t why = PROTO_FENCED_PASSED;

    switch (fence_act_at(&self->fence, is_running, now_ms)) {
    case FENCE_ACT_NOTHING:
        return;
    case FENCE_ACT_CLEAR:
        fence_clear(&self->fence);
        supervisor_publish(self);
        return;
    case FENCE_ACT_KILL:
        break;
    }
    if (postmaster->is_fenced)
        return;
    if (atomic_exchange(&self->page->acted_at_ms, 0) != 0)
        why = PROTO_FENCED_GUARD;
    postmaster_doom(self, why, now_ms);
    arm_kernel_timer(self);
    postmaster_step(self, now_ms);
    note_error("fence passed, killing PostgreSQL until_ms=%lld late_ms=%lld", (long long)until_ms,
               (long long)(now_ms - until_ms));
}

void supervisor_leave(struct supervisor *self, int code, int64_t now_ms)
{
    if (self->is_leaving)
        return;
    self->is_leaving = true;
    self->leave_code = code;
    self->agent.restart_at_ms = 0;
    if (!postmaster_is_running(self))
        return;
    if (self->fence.kind != FENCE_DISARMED) {
        postmaster_stop_begin(self, now_ms);
        return;
    }
    /* A pause. PostgreSQL stays, and so do we, without a word, until it ends; another pgheir may
     * come and adopt it meanwhile, so the lock is let go (by both that hold it: it belongs to
     * the open file). */
    self->is_mute = true;
    if (self->lock_fd >= 0)
        (void)flock(self->lock_fd, LOCK_UN);
    note_info("paused: PostgreSQL runs on without an agent, staying until it ends");
}

static void on_stop_signal(struct supervisor *self, uint32_t signo, int64_t now_ms)
{
    if (self->is_mute) {
        note_info("signal %u: paused, PostgreSQL runs on; stop it with pg_ctl to end this", signo);
        return;
    }
    note_info("signal %u: shutting down", signo);
    self->is_shutting_down = true;
    agent_process_signal(self, SIGTERM);
    tell_shutdown(self, now_ms);
    /* An agent is needed to let go of the leader key, so one in back-off comes at once. */
    if (self->agent.restart_at_ms > 0)
        self->agent.restart_at_ms = now_ms;
}

static void note_state(const struct supervisor *self)
{
    note_info("agent=%d crashes=%d guard=%d postmaster=%d adopted=%d writer=%d fence=%d "
              "until_ms=%lld",
              self->agent.pid, self->agent.crash_count, self->guard.pid, self->postmaster.id.pid,
              self->postmaster.is_adopted, self->postmaster.is_writer, (int)self->fence.kind,
              (long long)self->fence.until_ms);
}

static void on_signal(struct supervisor *self, uint32_t signo, int64_t now_ms)
{
    switch (signo) {
    case SIGINT:
    case SIGTERM:
    case SIGQUIT:
        on_stop_signal(self, signo, now_ms);
        break;
    case SIGHUP:
    case SIGUSR2:
        /* Before HELLO its handlers may not be set; it is reading its configuration anyway. */
        if (self->agent.is_greeted)
            agent_process_signal(self, (int)signo);
        break;
    case SIGUSR1:
        note_state(self);
        break;
    default:
        break; /* SIGCHLD: children are looked at in every turn. */
    }
}

static void read_signals(struct supervisor *self, int64_t now_ms)
{
    struct signalfd_siginfo info;

    while (read(self->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        on_signal(self, info.ssi_signo, now_ms);
}

static void on_child_end(struct supervisor *self, int32_t pid, int status, int64_t now_ms)
{
    if (pid == self->agent.pid)
        agent_process_on_exit(self, status, now_ms);
    else if (pid == self->guard.pid)
        on_guard_exit(self, now_ms);
    else if (pid == self->postmaster.id.pid)
        postmaster_on_death(self, &status, now_ms);
    /* Others are orphans that the kernel gave to us: reaped, and that is all. */
}

static void on_child_stop(struct supervisor *self, int32_t pid)
{
    if (pid == self->guard.pid)
        replace_guard(self, "it was stopped");
    else if (pid == self->agent.pid)
        note_warning("the agent was stopped by a signal");
    else if (pid == self->postmaster.id.pid)
        note_warning("the postmaster was stopped by a signal");
}

static void reap_children(struct supervisor *self, int64_t now_ms)
{
    for (int count = 0; count < CHILDREN_PER_TURN; count++) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG | WUNTRACED);

        if (pid <= 0)
            return;
        if (WIFSTOPPED(status))
            on_child_stop(self, pid);
        else
            on_child_end(self, pid, status, now_ms);
    }
    /* More are waiting: the timer brings us back at once. */
    self->next_tick_ms = now_ms;
}

static void on_tick(struct supervisor *self, int64_t now_ms)
{
    if (now_ms < self->next_tick_ms)
        return;
    self->next_tick_ms = now_ms + SUPERVISOR_TICK_MS;
    check_guard(self);
    agent_process_on_tick(self, now_ms);
}

static void start_what_is_due(struct supervisor *self, int64_t now_ms)
{
    if (self->guard.restart_at_ms > 0 && now_ms >= self->guard.restart_at_ms)
        start_guard(self, now_ms);
    if (self->agent.restart_at_ms > 0 && now_ms >= self->agent.restart_at_ms)
        agent_process_start(self, now_ms);
}

static int64_t earlier(int64_t a_ms, int64_t b_ms)
{
    if (a_ms == 0 || b_ms == 0)
        return a_ms == 0 ? b_ms : a_ms;
    return a_ms < b_ms ? a_ms : b_ms;
}

static void arm_timer(struct supervisor *self)
{
    struct itimerspec setting;
    int64_t at_ms = self->next_tick_ms;

    /* Once it is being enforced, the fence asks for no more turns: the passes do. */
    if (!self->postmaster.is_fenced)
        at_ms = earlier(at_ms, fence_deadline_ms(&self->fence));
    at_ms = earlier(at_ms, postmaster_deadline_ms(self));
    at_ms = earlier(at_ms, self->agent.restart_at_ms);
    at_ms = earlier(at_ms, self->guard.restart_at_ms);
    memset(&setting, 0, sizeof(setting));
    setting.it_value = timespec_from_ms(at_ms);
    (void)timerfd_settime(self->timer_fd, TFD_TIMER_ABSTIME, &setting, NULL);
}

static void wait_for_events(struct supervisor *self, struct pollfd watches[static WATCH_COUNT])
{
    uint64_t expirations;
    ssize_t length;

    watches[WATCH_SIGNALS].fd = self->signal_fd;
    watches[WATCH_TIMER].fd = self->timer_fd;
    watches[WATCH_AGENT].fd = self->agent.fd;
    watches[WATCH_STATUS].fd = self->postmaster.status_fd;
    watches[WATCH_ADOPTED].fd = self->postmaster.pid_fd;
    for (int idx = 0; idx < WATCH_COUNT; idx++) {
        watches[idx].events = POLLIN;
        watches[idx].revents = 0;
    }
    arm_timer(self);
    (void)poll(watches, WATCH_COUNT, -1);
    length = read(self->timer_fd, &expirations, sizeof(expirations));
    (void)length; /* Only emptied; what is due is found by the clock. */
}

/* One turn. The order matters: first the fence, then who died, then who wants something. */
static void take_turn(struct supervisor *self)
{
    struct pollfd watches[WATCH_COUNT];
    int64_t now_ms;

    wait_for_events(self, watches);
    now_ms = clock_boot_ms();
    supervisor_enforce_fence(self, now_ms);
    read_signals(self, now_ms);
    reap_children(self, now_ms);
    if (watches[WATCH_ADOPTED].revents != 0 && self->postmaster.pid_fd >= 0)
        postmaster_on_death(self, NULL, now_ms);
    if (watches[WATCH_STATUS].revents != 0 && self->postmaster.status_fd >= 0)
        postmaster_on_status(self, now_ms);
    postmaster_step(self, now_ms);
    if (watches[WATCH_AGENT].revents != 0)
        agent_process_on_readable(self, clock_boot_ms());
    on_tick(self, now_ms);
    start_what_is_due(self, now_ms);
    supervisor_publish(self);
}

static bool is_done(const struct supervisor *self)
{
    return self->is_leaving && self->postmaster.phase == POSTMASTER_NONE && self->agent.pid == 0;
}

/* Without PostgreSQL there is nothing to guard; it must not take our end for a death. */
static void retire_guard(struct supervisor *self)
{
    atomic_store(&self->page->is_retired, true);
    if (self->guard.pid == 0)
        return;
    (void)kill(self->guard.pid, SIGKILL);
}

int supervisor_run(struct supervisor *self)
{
    int64_t now_ms = clock_boot_ms();

    self->agent.fd = -1;
    self->postmaster.status_fd = -1;
    self->postmaster.pid_fd = -1;
    self->next_tick_ms = now_ms + SUPERVISOR_TICK_MS;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 || !open_signals(self) || !open_timers(self)) {
        note_error("cannot prepare signals and timers: %s", strerror(errno));
        return AGENT_EXIT_REFUSED;
    }
    start_guard(self, now_ms);
    agent_process_start(self, now_ms);
    while (!is_done(self))
        take_turn(self);
    retire_guard(self);
    note_info("ended with code %d", self->leave_code);
    return self->leave_code;
}
