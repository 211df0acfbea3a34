/* Actions -> doors, in the order of enum action_kind: first what makes us safer. */
#include "agent.h"

#include <errno.h>
#include <string.h>

#include "pgheir/base/log.h"

static void
dispatch_on_fence(void *arg, const struct proto_message *message, int error)
{
    (void)arg;
    (void)message;
    /* ESTALE: it had passed already, and the supervisor is ending PostgreSQL; it tells us when
     * it is done. */
    if (error != 0 && error != EPIPE)
        log_warning("the supervisor refuses the fence: %s", strerror(error));
}

static void
dispatch_fence(struct agent *agent, const struct action *action)
{
    agent->is_fence_held = action->u.fence.kind != FENCE_NONE;
    supervisor_link_fence(agent->link, action->u.fence.kind, action->u.fence.until_ms,
                          dispatch_on_fence, agent);
}

static void
dispatch_state(struct agent *agent)
{
    struct agent_saved saved;

    memset(&saved, 0, sizeof(saved));
    core_save(agent->core, &saved.core);
    agent_copy(saved.follows, sizeof(saved.follows), local_watch_follows(agent->local));
    supervisor_link_state(agent->link, &saved, sizeof(saved), NULL, NULL);
}

static void
dispatch_one(struct agent *agent, const struct action *action, int64_t now_ms)
{
    switch (action->kind) {
    case ACTION_NOTE:
        notes_write(agent, action);
        break;
    case ACTION_FENCE:
        dispatch_fence(agent, action);
        break;
    case ACTION_OP_CANCEL:
        ops_cancel(agent->ops);
        break;
    case ACTION_OP_BEGIN:
        ops_begin(agent->ops, action);
        break;
    case ACTION_CALL:
        etcd_calls_begin(agent->calls, action, now_ms);
        break;
    case ACTION_PEERS_ASK:
        peers_ask_action(agent->peers, action);
        break;
    case ACTION_HISTORY_READ:
        history_reader_begin(agent->history, action);
        break;
    case ACTION_SLOT_CREATE:
    case ACTION_SLOT_ADVANCE:
    case ACTION_SLOT_DROP:
        slots_change(agent->slots, action);
        break;
    case ACTION_CONF_APPLY:
        agent->pg_wanted_revision++;
        reload_apply(agent->reload);
        break;
    case ACTION_STATE_SAVE:
        dispatch_state(agent);
        break;
    case ACTION_REPLY:
        rest_link_on_reply(agent->rest_link, action);
        break;
    case ACTION_EXIT:
        agent_exit(agent, action->u.exit.code);
        break;
    case ACTION_COUNT:
        pgh_unreachable();
    }
}

void
dispatch_actions(struct agent *agent, const struct actions *actions, int64_t now_ms)
{
    for (int kind = 0; kind < ACTION_COUNT; kind++)
        for (int32_t i = 0; i < actions->count; i++)
            if ((int)actions->items[i].kind == kind)
                dispatch_one(agent, &actions->items[i], now_ms);
}
