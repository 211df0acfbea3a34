/* Composes what the agent is told. An agent that has not said HELLO yet is told nothing: WELCOME
 * will tell it everything that still counts. */
#include <string.h>

#include "supervisor.h"

static struct proto_message *begin(struct supervisor *self, enum proto_type type,
                                   uint64_t request_id)
{
    proto_message_init(&self->outgoing, type, request_id);
    return &self->outgoing;
}

static void put_fence(const struct fence *fence, struct proto_fence *ret_fence)
{
    ret_fence->kind = fence->kind;
    ret_fence->until_ms = fence->until_ms;
}

static void put_postmaster(const struct postmaster *postmaster, struct proto_welcome *welcome)
{
    if (postmaster->phase == POSTMASTER_NONE)
        return;
    welcome->postmaster_pid = postmaster->id.pid;
    welcome->mode = postmaster->mode;
    welcome->postmaster_start_time_ticks = postmaster->id.start_ticks;
    welcome->postmaster_started_at_ms = postmaster->started_at_ms;
    welcome->is_adopted = postmaster->is_adopted;
    welcome->is_writer = postmaster->is_writer;
    welcome->is_ending = postmaster->phase == POSTMASTER_ENDING || postmaster->is_doomed;
    memcpy(welcome->data_dir, postmaster->data_dir, sizeof(welcome->data_dir));
}

void tell_welcome(struct supervisor *self, uint64_t request_id, int64_t now_ms)
{
    struct proto_welcome *welcome = &begin(self, PROTO_WELCOME, request_id)->body.welcome;

    put_postmaster(&self->postmaster, welcome);
    welcome->previous = self->agent.previous;
    welcome->previous_status = self->agent.previous_status;
    welcome->restart_count = self->agent.restart_count;
    welcome->crash_count = (uint32_t)self->agent.crash_count;
    welcome->is_shutting_down = self->is_shutting_down;
    put_fence(&self->fence, &welcome->fence);
    welcome->last_fenced = self->last_fenced;
    welcome->state = self->state;
    agent_process_send(self, now_ms);
}

void tell_result(struct supervisor *self, uint16_t request_type, uint64_t request_id, int error,
                 int64_t now_ms)
{
    enum proto_type type = error == 0 ? PROTO_DONE : PROTO_REFUSED;
    struct proto_message *message = begin(self, type, request_id);

    message->body.result.request_type = request_type;
    message->body.result.error = error;
    agent_process_send(self, now_ms);
}

void tell_start_failed(struct supervisor *self, uint16_t request_type, uint64_t request_id,
                       int error, int64_t now_ms)
{
    struct proto_message *message = begin(self, PROTO_START_FAILED, request_id);

    message->body.result.request_type = request_type;
    message->body.result.error = error;
    agent_process_send(self, now_ms);
}

void tell_started(struct supervisor *self, uint64_t request_id, int64_t now_ms)
{
    struct proto_message *message = begin(self, PROTO_POSTMASTER_STARTED, request_id);
    struct proto_started *started = &message->body.started;

    started->pid = self->postmaster.id.pid;
    started->is_adopted = self->postmaster.is_adopted;
    started->start_time_ticks = self->postmaster.id.start_ticks;
    started->started_at_ms = self->postmaster.started_at_ms;
    agent_process_send(self, now_ms);
}

void tell_exited(struct supervisor *self, int64_t now_ms)
{
    struct proto_exited *exited = &begin(self, PROTO_POSTMASTER_EXITED, 0)->body.exited;

    if (!self->agent.is_greeted)
        return;
    exited->pid = self->postmaster.id.pid;
    exited->status = self->postmaster.status;
    exited->has_status = self->postmaster.has_status;
    exited->orphan_count = self->postmaster.orphan_count;
    exited->exited_at_ms = self->postmaster.exited_at_ms;
    exited->orphans_gone_at_ms = now_ms;
    agent_process_send(self, now_ms);
}

void tell_orphans_gone(struct supervisor *self, uint64_t request_id, int64_t now_ms)
{
    struct proto_message *message = begin(self, PROTO_ORPHANS_GONE, request_id);

    message->body.exited.orphan_count = self->postmaster.orphan_count;
    message->body.exited.orphans_gone_at_ms = now_ms;
    agent_process_send(self, now_ms);
}

void tell_fenced(struct supervisor *self, int64_t now_ms)
{
    if (!self->agent.is_greeted)
        return;
    begin(self, PROTO_FENCED, 0)->body.fenced = self->last_fenced;
    agent_process_send(self, now_ms);
}

void tell_ping(struct supervisor *self, int64_t now_ms)
{
    if (!self->agent.is_greeted)
        return;
    (void)begin(self, PROTO_PING, 0);
    agent_process_send(self, now_ms);
}

void tell_shutdown(struct supervisor *self, int64_t now_ms)
{
    if (!self->agent.is_greeted)
        return;
    (void)begin(self, PROTO_SHUTDOWN, 0);
    agent_process_send(self, now_ms);
}
