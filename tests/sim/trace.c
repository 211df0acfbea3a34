/* One line per event in fixed columns: time, node, who, what. */
#include "sim.h"

#include <stdarg.h>
#include <string.h>

void trace_line(struct world *w, int node, const char *who, const char *fmt, ...)
{
    char text[300];
    va_list args;

    if (w->trace == NULL)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    (void)fprintf(w->trace, "%11.6f  %-6s %-7s %s\n", (double)w->now_us / US_PER_S,
                  node < 0 ? "-" : w->nodes[node].name, who, text);
}

static void trace_note(struct world *w, struct node *n, const struct action *action)
{
    trace_line(w, n->index, "core", "%c %-24s %s%s%lld", reason_severity(action->u.note.reason),
               reason_code(action->u.note.reason), action->u.note.member,
               action->u.note.member[0] != '\0' ? " " : "", (long long)action->u.note.value);
}

static void trace_order(struct world *w, struct node *n, const struct action *action)
{
    switch (action->kind) {
    case ACTION_NOTE:
        trace_note(w, n, action);
        return;
    case ACTION_FENCE:
        trace_line(w, n->index, "core", "- fence %d until %+lld ms", (int)action->u.fence.kind,
                   (long long)(action->u.fence.until_ms - clock_now_ms(w, n)));
        return;
    case ACTION_OP_BEGIN:
        trace_line(w, n->index, "core", "- begin %s %s", op_kind_text(action->u.op.kind),
                   action->u.op.source);
        return;
    case ACTION_CALL:
        trace_line(w, n->index, "core", "- call %s within %lld ms", call_text(action->u.call.call),
                   (long long)(action->u.call.deadline_ms - clock_now_ms(w, n)));
        return;
    case ACTION_OP_CANCEL:
    case ACTION_PEERS_ASK:
    case ACTION_HISTORY_READ:
    case ACTION_SLOT_CREATE:
    case ACTION_SLOT_ADVANCE:
    case ACTION_SLOT_DROP:
    case ACTION_CONF_APPLY:
    case ACTION_STATE_SAVE:
    case ACTION_REPLY:
    case ACTION_EXIT:
    case ACTION_COUNT:
        trace_line(w, n->index, "core", "- %s", action_kind_text(action->kind));
        return;
    }
}

void trace_actions(struct world *w, struct node *n)
{
    for (int32_t i = 0; i < w->actions.count; i++)
        trace_order(w, n, &w->actions.items[i]);
}

void trace_event(struct world *w, struct node *n, const struct event *event)
{
    const struct view *view;

    switch (event->kind) {
    case EVENT_VIEW:
        view = event->u.view.view;
        trace_line(w, n->index, "event", "view rev %lld leader %s members %d init %d%s",
                   (long long)view->revision, view->leader_present ? view->leader_name : "-",
                   (int)view->member_count, (int)view->init_state,
                   event->u.view.from_read ? " (read)" : "");
        return;
    case EVENT_CALL:
        trace_line(w, n->index, "event", "call %s %s ttl %lld", call_text(event->u.call.call),
                   call_outcome_text(event->u.call.outcome), (long long)event->u.call.ttl_ms);
        return;
    case EVENT_LOCAL:
        trace_line(w, n->index, "event", "local dir %d pm %d %s tl %u %llx",
                   (int)event->u.local->data_dir, (int)event->u.local->postmaster,
                   event->u.local->sql_valid ? (event->u.local->in_recovery ? "standby" : "primary")
                                             : "no sql",
                   local_timeline(event->u.local),
                   (unsigned long long)local_position_lsn(event->u.local));
        return;
    case EVENT_PEERS:
        for (int32_t i = 0; i < event->u.peers.count; i++) {
            const struct peer_answer *answer = &event->u.peers.answers[i];

            trace_line(w, n->index, "event", "peer %s%s%s%s tl %u %llx fence %lld", answer->name,
                       answer->reachable ? "" : " silent", answer->is_primary ? " primary" : "",
                       answer->running ? " running" : "", answer->timeline,
                       (unsigned long long)answer->received_lsn,
                       (long long)answer->fence_left_ms);
        }
        return;
    case EVENT_TIMER:
    case EVENT_OP_DONE:
    case EVENT_HISTORY:
    case EVENT_REQUEST:
    case EVENT_SHUTDOWN:
    case EVENT_IDENTITY:
    case EVENT_FENCED:
    case EVENT_COUNT:
        trace_line(w, n->index, "event", "%s", event_kind_text(event->kind));
        return;
    }
}
