/* The engine of the operations: begins, steps, cancels, completes. */
#include "ops.h"

#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum {
    OPS_RUN_MS = 600000,        /* start, promote: the core's own limit is mostly shorter */
    OPS_BUILD_MS = 7 * 86400000 /* a copy takes as long as it takes; the core cancels it */
};

static ops_step_fn *const *
ops_steps_of(enum op_kind kind)
{
    switch (kind) {
    case OP_BOOTSTRAP:
        return ops_steps_bootstrap;
    case OP_CLONE:
        return ops_steps_clone;
    case OP_START_PRIMARY:
    case OP_START_STANDBY:
        return ops_steps_start;
    case OP_STOP:
        return ops_steps_stop;
    case OP_PROMOTE:
        return ops_steps_promote;
    case OP_FOLLOW:
        return ops_steps_follow;
    case OP_CHECKPOINT:
        return ops_steps_checkpoint;
    case OP_REWIND:
        return ops_steps_rewind;
    case OP_RESTART:
        return ops_steps_restart;
    case OP_NONE:
    case OP_COUNT:
        break;
    }
    pgh_unreachable();
}

static bool
ops_is_building(enum op_kind kind)
{
    return kind == OP_BOOTSTRAP || kind == OP_CLONE || kind == OP_REWIND || kind == OP_CHECKPOINT;
}

enum op_kind
ops_running(const struct ops *ops)
{
    return ops->kind;
}

void
ops_begin(struct ops *ops, const struct action *action)
{
    const struct view *view = agent_view(ops->agent);
    const struct member *source = NULL;
    enum op_kind kind = action->u.op.kind;

    pgh_assert(ops->kind == OP_NONE);
    if (view != NULL && !str_is_empty(action->u.op.source))
        source = view_find_member(view, action->u.op.source);
    ops->kind = kind;
    ops->request = *action;
    ops->steps = ops_steps_of(kind);
    ops->step = -1;
    ops->is_cancelled = ops->is_forced = ops->is_ending = false;
    ops->is_private = ops->is_undoing = false;
    ops->stop_stage = ops->tries = 0;
    ops->method = 0;
    ops->began_at_ms = clock_boot_ms();
    ops->deadline_ms = action->u.op.deadline_ms;
    if (ops->deadline_ms == 0 && kind != OP_STOP)
        ops->deadline_ms = ops->began_at_ms + (int64_t)(ops_is_building(kind) ? OPS_BUILD_MS
                                                                              : OPS_RUN_MS);
    ops->source = source != NULL ? *source : (struct member){0};
    log_info("operation %s begins%s%s", op_kind_text(kind),
             str_is_empty(action->u.op.source) ? "" : " source=", action->u.op.source);
    ops_next(ops);
}

void
ops_next(struct ops *ops)
{
    ops->step++;
    if (ops->is_cancelled && ops->steps[ops->step] != NULL) {
        if (ops->kind == OP_BOOTSTRAP)
            ops_bootstrap_undo(ops);
        else
            ops_end(ops, OP_RESULT_CANCELLED);
        return;
    }
    if (ops->steps[ops->step] == NULL)
        ops_end(ops, ops->is_forced ? OP_RESULT_TIMEOUT : OP_RESULT_OK);
    else
        ops->steps[ops->step](ops);
}

void
ops_fail(struct ops *ops, const struct err *err)
{
    enum op_result result = OP_RESULT_FAILED;

    if (ops->is_cancelled || err->rc == RC_CANCELLED)
        result = OP_RESULT_CANCELLED;
    else if (err->rc == RC_TIMEOUT)
        result = OP_RESULT_TIMEOUT;
    if (result != OP_RESULT_CANCELLED)
        log_error("operation %s failed: %s", op_kind_text(ops->kind), err->text);
    ops->result = result;
    if (ops->kind == OP_BOOTSTRAP)
        ops_bootstrap_undo(ops);
    else
        ops_end(ops, result);
}

static void
ops_complete(void *arg)
{
    struct ops *ops = arg;
    struct event event = {.kind = EVENT_OP_DONE};
    static const char *const results[] = {"ok", "failed", "timeout", "cancelled"};

    log_info("operation %s ends result=%s ms=%lld", op_kind_text(ops->kind), results[ops->result],
             (long long)(clock_boot_ms() - ops->began_at_ms));
    event.u.op.op_id = ops->request.u.op.op_id;
    event.u.op.result = ops->result;
    callbacks_on_op(ops->agent->callbacks, ops->kind, ops->result, ops->is_standby);
    if ((ops->kind == OP_START_PRIMARY || ops->kind == OP_PROMOTE) && ops->result == OP_RESULT_OK)
        roles_ensure(ops->agent->roles);
    ops->kind = OP_NONE;
    agent_post(ops->agent, &event);
    reload_on_op(ops->agent->reload);
}

/* Only a restart of the server, or its first start, makes PostgreSQL's files differ from what
 * they were. */
static enum local_depth
ops_depth(enum op_kind kind)
{
    return kind == OP_CHECKPOINT || kind == OP_FOLLOW || kind == OP_PROMOTE ? LOCAL_LOOK_SQL
                                                                            : LOCAL_LOOK_DISK;
}

void
ops_end(struct ops *ops, enum op_result result)
{
    if (ops->is_ending)
        return;
    ops->is_ending = true;
    ops->result = result;
    ops->on_exit = NULL;
    loop_timer_disarm(ops->timer);
    pg_conn_free(ops->conn);
    ops->conn = NULL;
    local_watch_look(ops->agent->local, ops_depth(ops->kind), ops_complete, ops);
}

void
ops_cancel(struct ops *ops)
{
    if (ops->kind == OP_NONE || ops->kind == OP_STOP || ops->is_cancelled || ops->is_ending)
        return;
    log_info("operation %s is cancelled", op_kind_text(ops->kind));
    ops->is_cancelled = true;
    if (ops->pg_op != NULL)
        pg_op_cancel(ops->pg_op);
    if (ops->job != NULL)
        job_cancel(ops->job);
    if (ops->child != NULL)
        child_cancel(ops->child);
    if (ops->lookup != NULL)
        resolver_lookup_cancel(ops->lookup);
    if (ops->conn != NULL)
        pg_conn_close(ops->conn);
}

void
ops_on_exited(struct ops *ops)
{
    loop_call_fn *on_exit = ops->on_exit;

    ops->on_exit = NULL;
    if (on_exit != NULL)
        on_exit(ops);
}

/* ---- Helpers of the steps ---- */

static void
ops_on_timer(void *arg)
{
    struct ops *ops = arg;
    loop_call_fn *on_timer = ops->on_timer;

    ops->on_timer = NULL;
    if (on_timer != NULL && ops->kind != OP_NONE && !ops->is_ending)
        on_timer(ops);
}

void
ops_wait(struct ops *ops, int64_t at_ms, loop_call_fn *fn)
{
    ops->on_timer = fn;
    loop_timer_arm(ops->timer, at_ms);
}

void
ops_on_pg_op(const struct pg_op_result *result, void *arg)
{
    struct ops *ops = arg;

    ops->pg_op = NULL;
    if (result->rc == RC_OK)
        ops_next(ops);
    else
        ops_fail(ops, &result->err);
}

static void
ops_on_progress(const char *text, void *arg)
{
    const struct ops *ops = arg;

    log_info("operation %s: %s", op_kind_text(ops->kind), text);
}

struct pg_op_hooks
ops_hooks(struct ops *ops)
{
    return (struct pg_op_hooks){
        .on_progress = ops_on_progress, .on_done = ops_on_pg_op, .arg = ops};
}

void
ops_on_job(enum rc rc, const struct err *err, const void *answer, size_t length, void *arg)
{
    struct ops *ops = arg;

    (void)answer;
    (void)length;
    ops->job = NULL;
    if (rc == RC_OK)
        ops_next(ops);
    else
        ops_fail(ops, err);
}

static void
ops_on_address(const struct resolver_answer *answer, void *arg)
{
    struct ops *ops = arg;

    ops->lookup = NULL;
    if (answer->rc != RC_OK) {
        ops_fail(ops, answer->err);
        return;
    }
    agent_copy(ops->address, sizeof(ops->address), answer->addresses[0]);
    ops_next(ops);
}

void
ops_step_address(struct ops *ops)
{
    struct err err;

    if (str_is_empty(ops->source.conn_host)) {
        (void)err_set(&err, RC_NOT_FOUND, "member \"%s\" gives no conn_url",
                      ops->request.u.op.source);
        ops_fail(ops, &err);
        return;
    }
    ops->lookup = resolver_lookup_begin(ops->agent->resolver, ops->source.conn_host,
                                        ops->deadline_ms, ops_on_address, ops);
}

struct ops *
ops_new(struct agent *agent)
{
    struct ops *ops = mem_new(1, sizeof(*ops));

    ops->agent = agent;
    ops->timer = loop_timer_new(agent->loop, ops_on_timer, ops);
    return ops;
}

void
ops_free(struct ops *ops)
{
    if (ops == NULL)
        return;
    pg_op_free(ops->pg_op);
    job_free(ops->job);
    if (ops->child != NULL)
        child_free(ops->child);
    pg_conn_free(ops->conn);
    loop_timer_free(ops->timer);
    mem_free(ops);
}
