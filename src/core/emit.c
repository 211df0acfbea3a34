#include <string.h>

#include "internal.h"
#include "pgheir/base/str.h"

enum {
    CALL_BUDGET_MIN_MS = 200,
    CALL_BUDGET_BLIND_MS = 3000, /* before the first view the policy is unknown */
    RETRY_FIRST_MS = 100,
    RETRY_DOUBLINGS_MAX = 3
};

static struct action *append(struct step *step, enum action_kind kind)
{
    struct actions *actions = step->actions;

    pgh_assert(actions->count < ACTIONS_MAX);
    struct action *action = &actions->items[actions->count++];
    memset(action, 0, sizeof *action);
    action->kind = kind;
    return action;
}

static void copy_name(char dst[static NAME_SIZE], const char *name)
{
    bool fits = str_copy(dst, NAME_SIZE, name == NULL ? "" : name);
    pgh_assert(fits);
}

void note(struct step *step, enum reason reason, const char *member, int64_t value)
{
    struct action *action = append(step, ACTION_NOTE);

    action->u.note.reason = reason;
    action->u.note.value = value;
    copy_name(action->u.note.member, member);
}

void explain(struct step *step, enum reason reason, const char *member, int64_t value)
{
    struct core *core = step->core;
    const char *name = member == NULL ? "" : member;

    core->reason_value = value;
    if (core->reason == reason && strcmp(core->reason_member, name) == 0)
        return;
    core->reason = reason;
    copy_name(core->reason_member, name);
    note(step, reason, name, value);
}

bool call_is_ready(const struct core *core, enum call call)
{
    const struct call_slot *slot = &core->calls[call];

    return !slot->in_flight && slot->retry_at_ms <= core->now_ms &&
           (core->view == NULL || core->view->revision >= slot->after_revision);
}

/* A holder of the key has no more time than until its demotion; everybody else has
 * retry_timeout. */
static int64_t call_deadline_ms(const struct core *core)
{
    int64_t budget_ms =
        core->view == NULL ? CALL_BUDGET_BLIND_MS : policy_of(core)->retry_timeout_ms;
    int64_t deadline_ms = min_ms(core->now_ms + budget_ms, demote_at_ms(core));

    return max_ms(deadline_ms, core->now_ms + CALL_BUDGET_MIN_MS);
}

struct action *call_begin(struct step *step, enum call call)
{
    struct core *core = step->core;
    struct action *action = append(step, ACTION_CALL);

    pgh_assert(call_is_ready(core, call));
    core->calls[call].in_flight = true;
    core->calls[call].is_of_old_store = false;
    action->u.call.call = call;
    action->u.call.deadline_ms = call_deadline_ms(core);
    action->u.call.lease_id = core->lease.id;
    action->u.call.create_revision = core->key.create_revision;
    return action;
}

void call_end(struct core *core, enum call call, bool worked)
{
    struct call_slot *slot = &core->calls[call];

    slot->in_flight = false;
    if (worked) {
        slot->failures = 0;
        slot->retry_at_ms = 0;
        return;
    }
    int32_t doublings = slot->failures < RETRY_DOUBLINGS_MAX ? slot->failures : RETRY_DOUBLINGS_MAX;
    int64_t pause_ms = (int64_t)RETRY_FIRST_MS << doublings;
    slot->failures++;
    slot->retry_at_ms = core->now_ms + pause_ms + (int64_t)prng_below(&core->prng, RETRY_FIRST_MS);
}

struct action *op_begin(struct step *step, enum op_kind kind, const char *source)
{
    struct core *core = step->core;
    struct action *action = append(step, ACTION_OP_BEGIN);

    pgh_assert(core->op.kind == OP_NONE);
    core->next_id++;
    core->op = (struct core_op){.kind = kind, .id = core->next_id, .began_at_ms = core->now_ms};
    copy_name(core->op.source, source);
    copy_name(action->u.op.source, source);
    action->u.op.op_id = core->op.id;
    action->u.op.kind = kind;
    core->member_dirty = true;
    return action;
}

void op_cancel(struct step *step)
{
    struct core *core = step->core;

    if (core->op.kind == OP_NONE || core->op.cancelling)
        return;
    core->op.cancelling = true;
    struct action *action = append(step, ACTION_OP_CANCEL);
    action->u.op.op_id = core->op.id;
    action->u.op.kind = core->op.kind;
}

void stop_server(struct step *step, enum stop_mode mode, int64_t deadline_ms, bool handover)
{
    struct action *action = op_begin(step, OP_STOP, NULL);

    action->u.op.stop_mode = mode;
    action->u.op.deadline_ms = deadline_ms;
    action->u.op.handover = handover;
}

uint32_t peers_ask(struct step *step, int64_t wait_ms, const char *only)
{
    struct core *core = step->core;
    struct action *action = append(step, ACTION_PEERS_ASK);

    core->next_id++;
    action->u.peers.ask_id = core->next_id;
    action->u.peers.deadline_ms = core->now_ms + wait_ms;
    if (only != NULL) {
        action->u.peers.count = 1;
        copy_name(action->u.peers.only, only);
    }
    return core->next_id;
}

void history_ask(struct step *step, const char *leader, int64_t wait_ms)
{
    struct action *action = append(step, ACTION_HISTORY_READ);

    copy_name(action->u.history.leader, leader);
    action->u.history.deadline_ms = step->core->now_ms + wait_ms;
}

void slot_change(struct step *step, enum action_kind kind, const char *name, uint64_t lsn)
{
    struct action *action = append(step, kind);
    bool fits = str_copy(action->u.slot.name, SLOT_NAME_SIZE, name);

    pgh_assert(fits);
    action->u.slot.lsn = lsn;
}

void conf_apply(struct step *step)
{
    (void)append(step, ACTION_CONF_APPLY);
}

void reply(struct step *step, uint32_t request_id, enum reply_code code)
{
    struct action *action = append(step, ACTION_REPLY);

    action->u.reply.request_id = request_id;
    action->u.reply.code = code;
    action->u.reply.busy_with = step->core->op.kind;
}

void exit_agent(struct step *step, int32_t code)
{
    struct action *action = append(step, ACTION_EXIT);

    action->u.exit.code = code;
    action->u.exit.stop_postgres = !step->core->pause_is_confirmed;
    step->core->exiting = true;
}

void fence_send(struct step *step)
{
    struct core *core = step->core;
    enum fence_kind kind = FENCE_NONE;
    int64_t until_ms = 0;

    fence_wanted(core, &kind, &until_ms);
    if (kind == core->fence_sent_kind && until_ms == core->fence_sent_until_ms)
        return;
    core->fence_sent_kind = kind;
    core->fence_sent_until_ms = until_ms;
    core->fence_longest_ms =
        kind == FENCE_UNTIL ? max_ms(core->fence_longest_ms, until_ms) : 0;
    struct action *action = append(step, ACTION_FENCE);
    action->u.fence.kind = kind;
    action->u.fence.until_ms = until_ms;
}

void state_save(struct step *step)
{
    struct core *core = step->core;
    struct core_saved saved;

    core_save(core, &saved);
    if (memcmp(&saved, &core->saved, sizeof saved) == 0)
        return;
    core->saved = saved;
    (void)append(step, ACTION_STATE_SAVE);
}
