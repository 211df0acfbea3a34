/* What the agent asks for. Each request is answered exactly once, here or, for START and
 * KILL_ORPHANS, when the work is done. */
#include <errno.h>
#include <signal.h>

#include "note.h"
#include "supervisor.h"

static void handle_hello(struct supervisor *self, uint64_t request_id, int64_t now_ms)
{
    self->agent.is_greeted = true;
    tell_welcome(self, request_id, now_ms);
}

static void handle_start(struct supervisor *self, uint64_t request_id, int64_t now_ms)
{
    int error = postmaster_start(self, &self->incoming.body.start, request_id, now_ms);

    if (error != 0)
        tell_start_failed(self, PROTO_START, request_id, error, now_ms);
}

static void handle_adopt(struct supervisor *self, uint64_t request_id, int64_t now_ms)
{
    int error = postmaster_adopt(self, &self->incoming.body.adopt, now_ms);

    if (error != 0)
        tell_start_failed(self, PROTO_ADOPT, request_id, error, now_ms);
    else
        tell_started(self, request_id, now_ms);
}

static void handle_kill_orphans(struct supervisor *self, uint64_t request_id, int64_t now_ms)
{
    const char *data_dir = self->incoming.body.kill_orphans.data_dir;
    int error = postmaster_clean_up(self, data_dir, request_id, now_ms);

    if (error != 0)
        tell_result(self, PROTO_KILL_ORPHANS, request_id, error, now_ms);
}

static int push_fence(struct supervisor *self, int64_t now_ms)
{
    struct fence pushed = {.kind = (enum fence_kind)self->incoming.body.fence.kind,
                           .until_ms = self->incoming.body.fence.until_ms};
    bool is_writer = postmaster_is_running(self) && self->postmaster.is_writer;
    int error = fence_push(&self->fence, &pushed, is_writer, now_ms);

    if (error != 0)
        note_warning("fence refused: kind=%d until_ms=%lld now_ms=%lld held_kind=%d "
                     "held_until_ms=%lld reason=%d",
                     (int)pushed.kind, (long long)pushed.until_ms, (long long)now_ms,
                     (int)self->fence.kind, (long long)self->fence.until_ms, error);
    return error;
}

static void handle_fence(struct supervisor *self, uint64_t request_id, int64_t now_ms)
{
    enum fence_kind before = self->fence.kind;
    int error = push_fence(self, now_ms);

    if (error == 0) {
        /* A right that ended in the past is enforced first: the kernel timer must not find us
         * idle. */
        supervisor_enforce_fence(self, now_ms);
        supervisor_publish(self);
    }
    if (before != self->fence.kind)
        note_info("fence is now %s", self->fence.kind == FENCE_UNTIL      ? "armed"
                                     : self->fence.kind == FENCE_DISARMED ? "disarmed (pause)"
                                                                          : "none");
    tell_result(self, PROTO_FENCE, request_id, error, now_ms);
}

/* What an agent said before it died still counts; what it wanted done is for the next one to
 * decide. */
static bool is_too_late(const struct supervisor *self, uint16_t type)
{
    return self->agent.pid == 0 && type != PROTO_FENCE && type != PROTO_STATE;
}

void requests_handle(struct supervisor *self, int64_t now_ms)
{
    const struct proto_message *message = &self->incoming;
    uint64_t request_id = message->request_id;

    if (is_too_late(self, message->type))
        return;
    if (!self->agent.is_greeted && message->type != PROTO_HELLO) {
        tell_result(self, message->type, request_id, EPROTO, now_ms);
        return;
    }
    switch (message->type) {
    case PROTO_HELLO:
        handle_hello(self, request_id, now_ms);
        break;
    case PROTO_START:
        handle_start(self, request_id, now_ms);
        break;
    case PROTO_SIGNAL_POSTMASTER:
        tell_result(self, PROTO_SIGNAL_POSTMASTER, request_id,
                    postmaster_signal(self, message->body.signal.signo, now_ms), now_ms);
        break;
    case PROTO_KILL_ORPHANS:
        handle_kill_orphans(self, request_id, now_ms);
        break;
    case PROTO_ADOPT:
        handle_adopt(self, request_id, now_ms);
        break;
    case PROTO_FENCE:
        handle_fence(self, request_id, now_ms);
        break;
    case PROTO_STATE:
        self->state = message->body.state;
        tell_result(self, PROTO_STATE, request_id, 0, now_ms);
        break;
    default:
        /* proto_message_check() lets no other type of an agent through. */
        agent_process_condemn(self, "it sent a message of unknown type");
        break;
    }
}
