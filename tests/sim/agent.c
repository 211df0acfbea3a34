/* The shell around the core, as the real agent is one: events in, actions carried out in the
 * order of their kinds, one timer, and a look at PostgreSQL whenever something about it changed. */
#include "sim.h"

#include <string.h>


enum { LOOK_SOON_US = 100 * US_PER_MS };

static void arm_timer(struct world *w, struct node *n)
{
    int64_t at_us = clock_true_us(w, n, core_deadline(&n->core));

    if (n->timer_at_us != 0 && n->timer_at_us <= at_us)
        return; /* an earlier wake-up will look again */
    n->timer_at_us = at_us;
    world_post(w, at_us, EV_AGENT_TIMER, n->index, ++n->timer_serial, 0);
}

/* ---- what the core wants done ---- */

static void slot_change(struct node *n, const struct action *action)
{
    int number = action->u.slot.name[strlen(action->u.slot.name) - 1] - '1';

    if (number < 0 || number >= NODES_MAX)
        return;
    if (action->kind == ACTION_SLOT_CREATE)
        n->pg.slot_mask |= 1u << number;
    else if (action->kind == ACTION_SLOT_DROP)
        n->pg.slot_mask &= ~(1u << number);
}

static void note_taken(struct world *w, struct node *n, enum reason reason)
{
    w->seen.reasons[reason] = true;
    if (!w->is_story || w->note_count >= STORY_NOTES_MAX || reason_severity(reason) == 'D')
        return;
    if (n->last_reason == reason)
        return; /* a reason that lasts is told once */
    n->last_reason = reason;
    w->notes[w->note_count].node = n->index;
    w->notes[w->note_count].reason = reason;
    w->notes[w->note_count].at_us = w->now_us;
    w->note_count++;
}

static void agent_exit(struct world *w, struct node *n, int32_t code)
{
    trace_line(w, n->index, "agent", "ends with %d", (int)code);
    op_abandon(w, n);
    agent_kill(w, n);
    supervisor_agent_ended(w, n, code);
}

static void carry_out(struct world *w, struct node *n, const struct action *action)
{
    struct core_saved saved;
    struct fence pushed;

    switch (action->kind) {
    case ACTION_NOTE:
        note_taken(w, n, action->u.note.reason);
        return;
    case ACTION_FENCE:
        pushed.kind = action->u.fence.kind;
        pushed.until_ms = action->u.fence.until_ms;
        supervisor_fence(w, n, &pushed);
        return;
    case ACTION_OP_CANCEL:
        op_cancel_order(w, n);
        return;
    case ACTION_OP_BEGIN:
        op_begin_order(w, n, action);
        return;
    case ACTION_CALL:
        call_send(w, n, action);
        return;
    case ACTION_PEERS_ASK:
        rest_ask(w, n, action);
        return;
    case ACTION_HISTORY_READ:
        rest_history_read(w, n, action);
        return;
    case ACTION_SLOT_CREATE:
    case ACTION_SLOT_ADVANCE:
    case ACTION_SLOT_DROP:
        slot_change(n, action);
        agent_look_soon(w, n);
        return;
    case ACTION_CONF_APPLY:
        return;
    case ACTION_STATE_SAVE:
        core_save(&n->core, &saved);
        supervisor_state(n, &saved);
        return;
    case ACTION_REPLY:
        n->requests_open--;
        return;
    case ACTION_EXIT:
        agent_exit(w, n, action->u.exit.code);
        return;
    case ACTION_COUNT:
        break;
    }
    pgh_unreachable();
}

/* In the order of their kinds: mostly they come that way. */
static void dispatch(struct world *w, struct node *n)
{
    uint32_t epoch = n->agent_epoch;
    uint32_t kinds = 0;

    for (int32_t i = 0; i < w->actions.count; i++)
        kinds |= 1u << w->actions.items[i].kind;
    for (int kind = 0; kind < ACTION_COUNT && n->agent_epoch == epoch; kind++) {
        if ((kinds & 1u << kind) == 0)
            continue;
        for (int32_t i = 0; i < w->actions.count && n->agent_epoch == epoch; i++)
            if ((int)w->actions.items[i].kind == kind)
                carry_out(w, n, &w->actions.items[i]);
    }
}

void agent_post(struct world *w, struct node *n, struct event *event)
{
    event->now_ms = clock_now_ms(w, n);
    event->now_wall_ms = clock_wall_ms(w, n);
    w->actions.count = 0;
    w->seen.steps++;
    if (w->trace != NULL)
        trace_event(w, n, event);
    core_step(&n->core, event, &w->actions);
    core_check(&n->core);
    if (w->trace != NULL)
        trace_actions(w, n);
    hash_add(w, (uint64_t)w->actions.count * 131 + event->kind);
    judge_on_step(w, n);
    dispatch(w, n);
    if (n->agent != PROC_DEAD)
        arm_timer(w, n);
}

void agent_timer(struct world *w, struct node *n)
{
    struct event event = {.kind = EVENT_TIMER};

    n->timer_at_us = 0;
    if (core_deadline(&n->core) > clock_now_ms(w, n))
        arm_timer(w, n);
    else
        agent_post(w, n, &event);
}

/* ---- what the agent sees ---- */

/* Peers that had a place in the last view with a leader are asked even if their keys are gone. */
static void remember_members(struct world *w, struct node *n, const struct view *view)
{
    if (!view->leader_present)
        return;
    n->known_mask = 0;
    for (int32_t i = 0; i < w->node_count; i++)
        if (view_find_member(view, w->nodes[i].name) != NULL)
            n->known_mask |= 1u << i;
}

void agent_view(struct world *w, struct node *n, int32_t view_idx, bool from_read,
                int64_t sent_at_ms)
{
    const struct view *view = etcd_view(w, view_idx);
    const struct view *held = etcd_view(w, n->view_held);
    struct event event = {.kind = EVENT_VIEW};

    if (held != NULL && held->cluster_id == view->cluster_id) {
        /* The watch may have told more than an older read knows; the agent never goes back. */
        if (view->revision < held->revision)
            view_idx = n->view_held;
        if (!from_read && view->revision <= held->revision)
            return;
    }
    if (view_idx != n->view_held) {
        int32_t old_idx = n->view_held;

        w->etcd.pool[view_idx].refs++;
        n->view_held = view_idx;
        event.u.view.view = etcd_view(w, view_idx);
        event.u.view.from_read = from_read;
        event.u.view.sent_at_ms = sent_at_ms;
        remember_members(w, n, event.u.view.view);
        judge_on_view(w, n, event.u.view.view);
        agent_post(w, n, &event);
        etcd_view_put(w, old_idx);
        return;
    }
    event.u.view.view = etcd_view(w, view_idx);
    event.u.view.from_read = from_read;
    event.u.view.sent_at_ms = sent_at_ms;
    agent_post(w, n, &event);
}

static void look_at_control(const struct world *w, const struct node *n, struct local *local)
{
    const struct pg *pg = &n->pg;

    local->data_dir = pg->data_dir;
    local->postmaster = pg->orphans ? POSTMASTER_UP : pg->state;
    local->postmaster_id = pg->orphans ? pg->told_id : pg->postmaster_id;
    local->adopted = pg->adopted;
    local->stop_by_hand = pg->by_hand && pg->state == POSTMASTER_DOWN;
    local->rewind_possible = w->setup.rewind_possible;
    local->server_version = 150020;
    if (pg->data_dir != DATA_DIR_VALID && pg->data_dir != DATA_DIR_HALF)
        return;
    local->sysid = pg->sysid;
    local->control_state = pg->control;
    local->control_timeline =
        w->branches[wal_branch_at(w, pg->control_branch, pg->end_lsn)].timeline;
    if (!pg->primary && (pg->control == CONTROL_IN_RECOVERY ||
                         pg->control == CONTROL_SHUT_DOWN_IN_RECOVERY))
        /* the timeline of the minimum recovery point */
        local->control_timeline = w->branches[wal_branch_at(w, pg->branch, pg->lsn)].timeline;
    local->control_checkpoint_lsn = pg->checkpoint_lsn;
    local->control_end_lsn = pg->end_lsn;
    local->has_standby_signal = pg->standby_signal;
}

static void look_at_senders(const struct world *w, const struct node *n, struct local *local)
{
    for (int32_t i = 0; i < w->node_count; i++) {
        const struct node *to = &w->nodes[i];
        struct wal_sender *sender = &local->wal_senders[local->wal_sender_count];

        if (to->pg.link == LINK_NONE || to->pg.upstream != n->index)
            continue;
        memcpy(sender->application_name, to->name, sizeof(to->name));
        sender->streaming = true;
        sender->flush_lsn = pg_position(w, to);
        local->wal_sender_count++;
    }
    for (int32_t i = 0; i < w->node_count; i++) {
        struct slot *slot = &local->slots[local->slot_count];

        if ((n->pg.slot_mask & 1u << i) == 0)
            continue;
        memset(slot, 0, sizeof(*slot));
        text_set(slot->name, sizeof(slot->name), w->nodes[i].name);
        slot->physical = true;
        slot->active = w->nodes[i].pg.link == LINK_UP && w->nodes[i].pg.upstream == n->index;
        slot->restart_lsn = w->nodes[i].pg.lsn;
        local->slot_count++;
    }
}

static void look_by_sql(const struct world *w, struct node *n, struct local *local)
{
    struct pg *pg = &n->pg;
    uint64_t lsn = pg_position(w, n);

    local->sql_valid = pg_answers_sql(n);
    if (local->sql_valid)
        pg->sql_ok_at_ms = clock_now_ms(w, n);
    local->sql_ok_at_ms = pg->sql_ok_at_ms;
    if (!local->sql_valid)
        return;
    local->in_recovery = !pg->primary;
    local->timeline = w->branches[wal_branch_at(w, pg->branch, lsn)].timeline;
    local->read_only_failed = pg->disk_full && pg->primary;
    if (pg->primary) {
        local->flush_lsn = lsn;
    } else {
        local->replay_lsn = lsn;
        local->receive_lsn = pg->link == LINK_NONE ? 0 : lsn;
        local->replication_state =
            pg->link == LINK_NONE ? REPLICATION_NONE : REPLICATION_STREAMING;
    }
    look_at_senders(w, n, local);
}

/* Posts a fresh EVENT_LOCAL. */
void agent_look(struct world *w, struct node *n)
{
    struct event event = {.kind = EVENT_LOCAL};
    struct local *local;

    n->local_idx = 1 - n->local_idx;
    local = &n->locals[n->local_idx];
    local_init(local);
    look_at_control(w, n, local);
    look_by_sql(w, n, local);
    if (n->pg.follows >= 0 && n->pg.standby_signal)
        memcpy(local->follows, w->nodes[n->pg.follows].name, sizeof(local->follows));
    local->follows_current_address = true;
    event.u.local = local;
    agent_post(w, n, &event);
}

void agent_look_soon(struct world *w, struct node *n)
{
    if (n->agent == PROC_DEAD || n->look_pending || !n->powered)
        return;
    n->look_pending = true;
    world_post(w, w->now_us + draw(w, 500, 4000), EV_AGENT_LOOK, n->index, 0, 0);
}

/* How the real agent paces its looks: soon while something is about to change. */
static int64_t poll_pause_us(const struct world *w, const struct node *n)
{
    const struct view *view = etcd_view(w, n->view_held);

    if (n->pg.state == POSTMASTER_STARTING || n->pg.state == POSTMASTER_STOPPING)
        return LOOK_SOON_US;
    if (n->pg.state == POSTMASTER_DOWN)
        return US_PER_S;
    if (view != NULL && !view->leader_present && !view->policy.pause)
        return LOOK_SOON_US;
    return w->setup.poll_us;
}

void agent_poll(struct world *w, struct node *n)
{
    agent_look(w, n);
    if (n->agent != PROC_DEAD)
        world_post(w, w->now_us + poll_pause_us(w, n), EV_AGENT_POLL, n->index, 0, 0);
}

/* The member key's content at this moment. */
void agent_member(struct world *w, struct node *n, struct member *ret_member)
{
    const struct local *local = &n->locals[n->local_idx];
    struct member *member = ret_member;
    struct core_status status;

    core_describe(&n->core, clock_now_ms(w, n), &status);
    memset(member, 0, sizeof(*member));
    memcpy(member->name, n->name, sizeof(member->name));
    (void)str_format(member->api_url, sizeof(member->api_url), "http://%s:8008/patroni", n->name);
    text_set(member->slot_name, sizeof(member->slot_name), n->name);
    text_set(member->conn_host, sizeof(member->conn_host), n->name);
    member->conn_port = 5432;
    member->state = status.pg_state;
    member->role = status.pg_role;
    member->tags = n->identity.tags;
    member->checkpoint_pending = status.checkpoint_pending;
    member->pause = status.paused;
    member->is_pgheir = true;
    if (!local->sql_valid)
        return;
    member->replication_state = local->replication_state;
    member->timeline = local->timeline;
    member->lsn = local_position_lsn(local);
    member->receive_lsn = local->receive_lsn;
    member->replay_lsn = local->replay_lsn;
}

/* ---- its life ---- */

void agent_start(struct world *w, struct node *n)
{
    if (n->agent != PROC_DEAD)
        return;
    n->agent = PROC_ALIVE;
    n->agent_epoch++;
    n->agent_started_us = w->now_us;
    n->timer_at_us = 0;
    n->stall_until_us = 0;
    n->look_pending = false;
    n->watch_on = false;
    n->watch_missed = false;
    n->watch_last_us = 0;
    n->known_mask = 0;
    n->op.kind = OP_NONE;
    n->last_reason = REASON_NONE;
    for (int i = 0; i < CALL_COUNT; i++)
        n->call_rpc[i] = -1;
    if (n->pg.init_marked && w->etcd.now.sysid != n->pg.sysid)
        op_forget_data(n); /* what an unfinished bootstrap left is set aside */
    trace_line(w, n->index, "agent", "starts%s", n->has_saved ? " with saved state" : "");
    core_init(&n->core, &n->identity, prng_next(&w->prng), n->has_saved ? &n->saved : NULL,
              clock_now_ms(w, n));
    agent_look(w, n);
    if (n->agent != PROC_DEAD)
        world_post(w, w->now_us + draw(w, 1, w->setup.poll_us), EV_AGENT_POLL, n->index, 0, 0);
}

/* Without a restart: its supervisor is dead, too, or knows why. */
void agent_kill(struct world *w, struct node *n)
{
    if (n->agent == PROC_DEAD)
        return;
    op_abandon(w, n);
    n->agent = PROC_DEAD;
    n->agent_epoch++;
    n->watch_on = false;
    n->paused_since_us = 0;
    n->requests_open = 0;
    etcd_view_put(w, n->view_held);
    n->view_held = -1;
}

void agent_crash(struct world *w, struct node *n)
{
    if (n->agent == PROC_DEAD)
        return;
    trace_line(w, n->index, "agent", "killed");
    agent_kill(w, n);
    supervisor_agent_ended(w, n, -1);
}

void agent_freeze(struct world *w, struct node *n)
{
    if (n->agent != PROC_ALIVE)
        return;
    trace_line(w, n->index, "agent", "stopped");
    n->agent = PROC_FROZEN;
}

void agent_thaw(struct world *w, struct node *n)
{
    if (n->agent != PROC_FROZEN)
        return;
    trace_line(w, n->index, "agent", "continued");
    n->agent = PROC_ALIVE;
    node_unpark(w, n, 3 * US_PER_MS);
}
