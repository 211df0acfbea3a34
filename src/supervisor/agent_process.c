/* The agent as a process: it is started, it ends, it falls silent. What it says is in
 * requests.c. */
#include <errno.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "note.h"
#include "restart.h"
#include "spawn.h"
#include "supervisor.h"

enum {
    CHANNEL_BUFFER = 212992, /* the kernel's usual maximum; some 25 messages */
    CHANNEL_MESSAGES_MAX = CHANNEL_BUFFER / PROTO_MESSAGE_SIZE,
    MESSAGES_PER_TURN = 16, /* a talkative agent must not keep the loop from its duties */
};

static void close_channel(struct agent_process *agent)
{
    if (agent->fd >= 0)
        (void)close(agent->fd);
    agent->fd = -1;
}

/* After a crash, or after a start that failed. */
static void plan_restart(struct supervisor *self, int64_t now_ms)
{
    struct agent_process *agent = &self->agent;
    int64_t delay_ms;

    agent->crash_count++;
    if (self->is_shutting_down)
        agent->shutdown_crash_count++;
    if (agent->shutdown_crash_count >= RESTART_SHUTDOWN_MAX) {
        note_error("the agent cannot finish the shutdown, stopping without it");
        supervisor_leave(self, AGENT_EXIT_REFUSED, now_ms);
        return;
    }
    delay_ms = restart_delay_ms(agent->crash_count);
    /* What is left to do in a shutdown (let go of the leader key) shall not wait. */
    agent->restart_at_ms = now_ms + (self->is_shutting_down ? 0 : delay_ms);
    note_warning("next agent in %lld ms crash=%d", (long long)(agent->restart_at_ms - now_ms),
                 agent->crash_count);
}

/* Our end stays in *ret_fd, the agent's end is handed to it by the caller. */
static bool open_channel(int *ret_fd, int *ret_agent_fd)
{
    int ends[2];
    int size = CHANNEL_BUFFER;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0)
        return false;
    for (int idx = 0; idx < 2; idx++)
        (void)setsockopt(ends[idx], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    *ret_fd = ends[0];
    *ret_agent_fd = ends[1];
    return true;
}

void agent_process_start(struct supervisor *self, int64_t now_ms)
{
    struct agent_process *agent = &self->agent;
    struct spawn_agent child = {self->program, NULL, self->config, -1, -1};
    int32_t pid = -1;

    agent->restart_at_ms = 0;
    if (open_channel(&agent->fd, &child.channel_fd)) {
        pid = spawn_agent(&child);
        (void)close(child.channel_fd);
    }
    if (pid < 0) {
        note_error("cannot start the agent: %s", strerror(errno));
        close_channel(agent);
        plan_restart(self, now_ms);
        return;
    }
    if (agent->generation > 0)
        agent->restart_count++;
    agent->generation++;
    agent->pid = pid;
    if (!procfs_identify(pid, &agent->id))
        agent->id = (struct proc_id){pid, 0};
    agent->is_greeted = false;
    agent->is_condemned = false;
    agent->started_at_ms = now_ms;
    agent->unread_since_ms = 0;
    agent->eof_at_ms = 0;
    note_info("agent started pid=%d", pid);
}

static void describe_end(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        (void)snprintf(text, size, "signal %d", WTERMSIG(status));
    else
        (void)snprintf(text, size, "exit code %d", WEXITSTATUS(status));
}

static void on_crash(struct supervisor *self, const char *how, int64_t lived_ms, int64_t now_ms)
{
    struct agent_process *agent = &self->agent;

    if (lived_ms >= RESTART_HEALTHY_MS)
        agent->crash_count = 0;
    agent->previous = PROTO_PREVIOUS_CRASHED;
    note_error("agent crashed (%s) after %lld ms%s", how, (long long)lived_ms,
               postmaster_is_running(self) ? "; PostgreSQL runs on under its fence" : "");
    plan_restart(self, now_ms);
}

/* false: nothing more to read now. */
static bool read_message(struct supervisor *self, int64_t now_ms)
{
    struct agent_process *agent = &self->agent;
    ssize_t length = recv(agent->fd, &self->incoming, sizeof(self->incoming), MSG_DONTWAIT);
    int error;

    /* Who died with something unread resets the channel. That is told once, and what it sent
     * before can still be read. */
    if (length < 0)
        return errno == EINTR || errno == ECONNRESET;
    if (length == 0) {
        close_channel(agent);
        agent->eof_at_ms = now_ms;
        return false;
    }
    error = proto_message_check(&self->incoming, (size_t)length, true);
    if (error == EPROTO && (size_t)length == sizeof(self->incoming) &&
        self->incoming.magic == PROTO_MAGIC) {
        note_error("the agent speaks protocol %u, this pgheir speaks %d: restart pgheir itself to "
                   "finish the upgrade",
                   self->incoming.version, PROTO_VERSION);
        tell_result(self, self->incoming.type, self->incoming.request_id, EPROTO, now_ms);
        return true;
    }
    if (error == EINVAL) {
        note_warning("malformed %s from the agent", proto_type_text(self->incoming.type));
        tell_result(self, self->incoming.type, self->incoming.request_id, EINVAL, now_ms);
        return true;
    }
    if (error != 0) {
        agent_process_condemn(self, "it sent something that is no message");
        return false;
    }
    requests_handle(self, now_ms);
    return true;
}

/* A supervisor that was stopped or late hears of the agent's death before it has read all that
 * the agent said. Its last fence may be the shorter one, its last state names the key that the
 * fence stands for, and who ended in a pause has disarmed it. */
static void read_last_words(struct supervisor *self, int64_t now_ms)
{
    for (int count = 0; count <= CHANNEL_MESSAGES_MAX && self->agent.fd >= 0; count++) {
        if (!read_message(self, now_ms))
            return;
    }
}

void agent_process_on_exit(struct supervisor *self, int status, int64_t now_ms)
{
    struct agent_process *agent = &self->agent;
    struct restart_facts facts = {
        .status = status,
        .is_greeted = agent->is_greeted,
        .is_postgres_running = postmaster_is_running(self),
        .is_shutting_down = self->is_shutting_down,
        .lived_ms = now_ms - agent->started_at_ms,
    };
    char how[32];
    int code = 0;

    agent->pid = 0; /* first: it is reaped, and nobody may signal it any more */
    agent->id = (struct proc_id){0, 0};
    read_last_words(self, now_ms);
    close_channel(agent);
    agent->is_greeted = false;
    agent->previous_status = status;
    describe_end(status, how, sizeof(how));
    switch (restart_judge(&facts, &code)) {
    case RESTART_LEAVE:
        note_info("agent ended (%s)", how);
        supervisor_leave(self, code, now_ms);
        break;
    case RESTART_REPLACE:
        note_info("agent asked to be replaced");
        agent->previous = PROTO_PREVIOUS_REPLACED;
        agent->restart_at_ms = now_ms;
        break;
    case RESTART_CRASH:
        on_crash(self, how, facts.lived_ms, now_ms);
        break;
    }
}

void agent_process_condemn(struct supervisor *self, const char *why)
{
    struct agent_process *agent = &self->agent;

    if (agent->pid == 0 || agent->is_condemned)
        return;
    agent->is_condemned = true;
    note_error("killing the agent: %s", why);
    /* Our own child that is not reaped yet: its pid cannot have been given to anybody else. */
    (void)kill(agent->pid, SIGKILL);
}

void agent_process_signal(const struct supervisor *self, int signo)
{
    if (self->agent.pid > 0)
        (void)kill(self->agent.pid, signo);
}

void agent_process_send(struct supervisor *self, int64_t now_ms)
{
    struct agent_process *agent = &self->agent;
    ssize_t sent;

    if (agent->fd < 0)
        return;
    self->outgoing.sent_at_ms = now_ms;
    sent = send(agent->fd, &self->outgoing, sizeof(self->outgoing), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent == (ssize_t)sizeof(self->outgoing)) {
        if (agent->unread_since_ms == 0)
            agent->unread_since_ms = now_ms;
        return;
    }
    /* A message that is lost would leave a request without an end. The next agent is told
     * everything. */
    if (errno == EAGAIN || errno == ENOBUFS)
        agent_process_condemn(self, "it does not read what it is told");
}

void agent_process_on_readable(struct supervisor *self, int64_t now_ms)
{
    for (int count = 0; count < MESSAGES_PER_TURN && self->agent.fd >= 0; count++) {
        if (!read_message(self, now_ms))
            return;
    }
}

/* Whether the agent has not read everything yet. */
static bool has_unread(const struct agent_process *agent)
{
    int bytes = 0;

    return agent->fd >= 0 && ioctl(agent->fd, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

void agent_process_on_tick(struct supervisor *self, int64_t now_ms)
{
    struct agent_process *agent = &self->agent;

    if (agent->pid == 0)
        return;
    if (!has_unread(agent))
        agent->unread_since_ms = 0;
    if (agent->unread_since_ms == 0 && now_ms - agent->pinged_at_ms >= AGENT_PING_MS) {
        agent->pinged_at_ms = now_ms;
        tell_ping(self, now_ms);
    }
    if (agent->unread_since_ms > 0 && now_ms - agent->unread_since_ms >= AGENT_UNREAD_MS)
        agent_process_condemn(self, "it hangs (or is stopped) and reads nothing");
    if (agent->eof_at_ms > 0 && now_ms - agent->eof_at_ms >= AGENT_EOF_MS)
        agent_process_condemn(self, "it closed its channel and did not end");
    if (!agent->is_greeted && now_ms - agent->started_at_ms >= AGENT_HELLO_MS)
        agent_process_condemn(self, "it did not come up within 30 s");
}
