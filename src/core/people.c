/* What people ask of this node: restart, reinitialize, pause, stop. */
#include <string.h>

#include "internal.h"

enum { STOP_LIMIT_MS = 30000, REINIT_STOP_MS = 2000, TELL_LIMIT_MS = 1000 };

static void on_restart(struct step *step, const struct event *event)
{
    struct core *core = step->core;

    if (op_is_running(core) || core->handover.phase != SWITCH_NONE || core->request.restart ||
        core->stopping || core->local == NULL) {
        reply(step, event->u.request.request_id, REPLY_BUSY);
        return;
    }
    if (core->local->postmaster != POSTMASTER_UP) {
        reply(step, event->u.request.request_id, REPLY_FAILED);
        return;
    }
    core->request.restart = true;
    core->request.restart_id = event->u.request.request_id;
}

static void on_reinit(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    enum reply_code code = REPLY_OK;

    if (core->view == NULL || core->local == NULL || leader_name(core) == NULL)
        code = REPLY_NO_LEADER;
    else if (key_is_ours(core))
        code = REPLY_IS_LEADER;
    else if ((op_is_running(core) || core->request.reinit) && !event->u.request.force)
        code = REPLY_BUSY;
    else if (core->stopping)
        code = REPLY_BUSY;
    reply(step, event->u.request.request_id, code);
    if (code != REPLY_OK)
        return;
    if (op_is_running(core))
        op_cancel(step);
    core->request.reinit = true;
    core->request.from_leader = event->u.request.from_leader;
    core->follow.clone_at_ms = 0;
    note(step, REASON_REINIT_BEGIN, leader_name(core), 0);
}

void people_on_request(struct step *step, const struct event *event)
{
    switch (event->u.request.kind) {
    case REQUEST_RESTART:
        on_restart(step, event);
        break;
    case REQUEST_REINIT:
        on_reinit(step, event);
        break;
    }
}

static void begin_restart(struct step *step)
{
    struct core *core = step->core;
    int64_t limit_ms = policy_of(core)->primary_start_timeout_ms;

    note(step, REASON_RESTART_BEGIN, NULL, 0);
    struct action *action = op_begin(step, OP_RESTART, NULL);
    action->u.op.deadline_ms = limit_ms > 0 ? core->now_ms + limit_ms : 0;
}

/* P5: the cluster's own identity, and a primary to copy from. */
static void begin_reinit(struct step *step)
{
    struct core *core = step->core;
    const struct member *leader = view_leader_member(core->view);

    if (leader == NULL || core->view->init_state != INIT_DONE ||
        leader->role != PG_ROLE_PRIMARY || leader->conn_host[0] == '\0' ||
        core->follow.clone_at_ms > core->now_ms) {
        explain(step, REASON_WAIT_LEADER_TO_CLONE, NULL, 0);
        return;
    }
    if (!server_is_down(core)) {
        stop_server(step, STOP_IMMEDIATE, core->now_ms + REINIT_STOP_MS, false);
        return;
    }
    explain(step, REASON_CLONE_BEGIN, leader->name, 0);
    op_begin(step, OP_CLONE, leader->name)->u.op.replace = true;
}

bool people_serve(struct step *step)
{
    struct core *core = step->core;

    if (key_is_ours(core))
        core->request.reinit = false; /* the leader changed meanwhile: it is us */
    if (op_is_running(core))
        return core->request.restart || core->request.reinit;
    if (core->request.restart) {
        begin_restart(step);
        return true;
    }
    if (core->request.reinit && leader_name(core) != NULL) {
        begin_reinit(step);
        return true;
    }
    return false;
}

void people_on_op(struct step *step, enum op_kind kind, enum op_result result)
{
    struct core *core = step->core;

    if (kind != OP_RESTART || !core->request.restart)
        return;
    core->request.restart = false;
    core->crash.count = 0;
    enum reply_code code = result == OP_RESULT_OK        ? REPLY_OK
                           : result == OP_RESULT_TIMEOUT ? REPLY_TIMEOUT
                                                         : REPLY_FAILED;
    note(step, code == REPLY_OK ? REASON_RESTART_DONE : REASON_RESTART_FAILED, NULL, result);
    reply(step, core->request.restart_id, code);
}

/* Paused: PostgreSQL is left alone. A running primary keeps or takes the key, a holder without
 * one lets go; requests by people are carried out. Source: contract/behaviour.md section 13. */
void people_pause(struct step *step)
{
    struct core *core = step->core;
    const struct local *local = core->local;
    bool is_primary = local_is_primary(local);

    if (key_is_ours(core)) {
        bool is_receiving = core->handover.phase == SWITCH_NONE && core->taken_on_request &&
                            server_is_running_standby(core);
        if (is_primary || core->handover.phase != SWITCH_NONE || is_receiving ||
            op_is_running(core)) {
            serve(step);
        } else if (call_is_ready(core, CALL_LEADER_RELEASE)) {
            note(step, REASON_PAUSE_RELEASE, NULL, 0);
            (void)call_begin(step, CALL_LEADER_RELEASE);
        }
        return;
    }
    if (people_serve(step) || op_is_running(core))
        return;
    explain(step, REASON_PAUSED, NULL, 0);
    if (leader_name(core) != NULL)
        return;
    const struct failover_request *request = &core->view->failover;
    bool is_named = request->present && request->scheduled_at_wall_ms == 0 &&
                    strcmp(request->candidate, core->identity.name) == 0;
    bool is_same_cluster =
        core->view->init_state == INIT_DONE && core->view->sysid == local->sysid;
    if ((is_primary && (is_same_cluster || core->view->init_state == INIT_ABSENT)) ||
        (is_named && server_is_running_standby(core)))
        race(step);
}

/* SIGTERM and not the holder of the key: stop what runs, cleanly, and leave. */
void people_stop(struct step *step)
{
    struct core *core = step->core;

    if (op_is_running(core)) {
        if (core->op.kind != OP_STOP)
            op_cancel(step);
        return;
    }
    if (core->local != NULL && !server_is_down(core)) {
        explain(step, REASON_SHUTDOWN_BEGIN, NULL, 0);
        stop_server(step, STOP_FAST, core->now_ms + STOP_LIMIT_MS, false);
        return;
    }
    if (core->leave_at_ms == 0)
        core->leave_at_ms = core->now_ms + TELL_LIMIT_MS;
    bool is_told =
        core->told_state == PG_STATE_STOPPED && !core->calls[CALL_MEMBER_PUT].in_flight;
    if (!is_told && core->lease.id != 0 && core->now_ms < core->leave_at_ms) {
        core->member_dirty = core->told_state != PG_STATE_STOPPED;
        return;
    }
    note(step, REASON_SHUTDOWN_DONE, NULL, 0);
    exit_agent(step, 0);
}
