/* What the core has done to its PostgreSQL: one operation at a time, each ends in one
 * completion. */
#include "sim.h"

#include <string.h>


enum { LSN_FIRST = 0x1500000, STOP_GIVE_UP_MS = 5000 };

static bool is_task(enum op_kind kind)
{
    return kind == OP_BOOTSTRAP || kind == OP_CLONE || kind == OP_REWIND;
}

static void op_finish(struct world *w, struct node *n, enum op_result result, int64_t after_us)
{
    struct sim_op *op = &n->op;

    if (op->kind == OP_NONE || op->finishing)
        return;
    op->finishing = true;
    op->result = result;
    world_post(w, w->now_us + after_us, EV_OP_DONE, n->index, op->serial, 0);
}

static void finish_soon(struct world *w, struct node *n, enum op_result result)
{
    op_finish(w, n, result, draw(w, 1, 25) * US_PER_MS);
}

/* Is there a server that we can copy from? */
static bool source_is_good(const struct world *w, const struct node *n, int source)
{
    const struct node *from;

    if (source < 0 || source == n->index)
        return false;
    from = &w->nodes[source];
    return net_is_open(w, n->index, source) && net_is_open(w, source, n->index) &&
           pg_answers_sql(from) && !from->pg.stopping;
}

void op_forget_data(struct node *n)
{
    n->pg.init_marked = false;
    n->pg.data_dir = DATA_DIR_EMPTY;
    n->pg.branch = -1;
    n->pg.control_branch = -1;
    n->pg.sysid = 0;
    n->pg.control = CONTROL_UNKNOWN;
    n->pg.lsn = 0;
    n->pg.end_lsn = 0;
    n->pg.checkpoint_lsn = 0;
    n->pg.standby_signal = false;
    n->pg.timeline_max = 0;
    n->pg.slot_mask = 0;
}

/* ---- tasks: children of the agent ---- */

static void clone_begin(struct world *w, struct node *n)
{
    struct sim_op *op = &n->op;
    bool has_data = n->pg.data_dir == DATA_DIR_VALID || n->pg.data_dir == DATA_DIR_HALF;

    if (pg_is_running(n) || n->pg.data_dir == DATA_DIR_FOREIGN ||
        !source_is_good(w, n, op->source) || (has_data && !op->action.u.op.replace)) {
        op_finish(w, n, OP_RESULT_FAILED, draw(w, 50, 2000) * US_PER_MS);
        return;
    }
    op_forget_data(n);
    op->source_postmaster = w->nodes[op->source].pg.postmaster_id;
    world_post(w, w->now_us + draw_skewed(w, 1500, w->setup.quiet ? 2500 : 40000) * US_PER_MS,
               EV_TASK_DONE, n->index, op->serial, 0);
}

static void rewind_begin(struct world *w, struct node *n)
{
    struct sim_op *op = &n->op;

    if (pg_is_running(n) || (n->pg.data_dir != DATA_DIR_VALID && n->pg.data_dir != DATA_DIR_HALF) ||
        !source_is_good(w, n, op->source) || !w->nodes[op->source].pg.primary ||
        !w->setup.rewind_possible || w->nodes[op->source].pg.sysid != n->pg.sysid) {
        op_finish(w, n, OP_RESULT_FAILED, draw(w, 50, 1000) * US_PER_MS);
        return;
    }
    n->pg.data_dir = DATA_DIR_HALF;
    op->source_postmaster = w->nodes[op->source].pg.postmaster_id;
    world_post(w, w->now_us + draw_skewed(w, 600, w->setup.quiet ? 1200 : 12000) * US_PER_MS,
               EV_TASK_DONE, n->index, op->serial, 0);
}

static void bootstrap_begin(struct world *w, struct node *n)
{
    if (pg_is_running(n) || n->pg.data_dir != DATA_DIR_EMPTY) {
        finish_soon(w, n, OP_RESULT_FAILED);
        return;
    }
    world_post(w, w->now_us + draw_skewed(w, 900, w->setup.quiet ? 1500 : 5000) * US_PER_MS,
               EV_TASK_DONE, n->index, n->op.serial, 0);
}

static void bootstrap_done(struct world *w, struct node *n)
{
    struct pg *pg = &n->pg;

    if (chance(w, w->setup.op_fail_permille)) {
        finish_soon(w, n, OP_RESULT_FAILED);
        return;
    }
    pg->data_dir = DATA_DIR_VALID;
    pg->init_marked = true;
    pg->sysid = UINT64_C(7000000000000000000) + prng_next(&w->prng) % 1000000000;
    pg->branch = wal_branch_new(w, -1, LSN_FIRST, 1, n->index, pg->sysid);
    pg->lsn = LSN_FIRST;
    pg->timeline_max = 1;
    pg->control = CONTROL_SHUT_DOWN;
    pg->control_branch = pg->branch;
    pg->checkpoint_lsn = LSN_FIRST;
    pg->end_lsn = LSN_FIRST;
    pg->standby_signal = false;
    finish_soon(w, n, OP_RESULT_OK);
}

static void clone_done(struct world *w, struct node *n)
{
    struct pg *pg = &n->pg;
    const struct node *from = &w->nodes[n->op.source];

    if (!source_is_good(w, n, n->op.source) ||
        from->pg.postmaster_id != n->op.source_postmaster ||
        chance(w, w->setup.op_fail_permille)) {
        finish_soon(w, n, OP_RESULT_FAILED);
        return;
    }
    pg->data_dir = DATA_DIR_VALID;
    pg->sysid = from->pg.sysid;
    pg->branch = from->pg.branch;
    pg->lsn = pg_position(w, from);
    pg->timeline_max = from->pg.timeline_max;
    pg->control = CONTROL_IN_PRODUCTION; /* as it was on the source when the copy was made */
    pg->control_branch = pg->branch;
    pg->checkpoint_lsn = pg->lsn;
    pg->end_lsn = pg->lsn;
    pg->standby_signal = true;
    finish_soon(w, n, OP_RESULT_OK);
}

static void rewind_done(struct world *w, struct node *n)
{
    struct pg *pg = &n->pg;
    const struct node *from = &w->nodes[n->op.source];

    if (!source_is_good(w, n, n->op.source) || !from->pg.primary ||
        from->pg.postmaster_id != n->op.source_postmaster ||
        chance(w, w->setup.op_fail_permille)) {
        finish_soon(w, n, OP_RESULT_FAILED);
        return;
    }
    pg->data_dir = DATA_DIR_VALID;
    if (from->pg.control_branch == from->pg.branch) {
        pg->branch = from->pg.branch;
        pg->lsn = from->pg.lsn;
        if (from->pg.timeline_max > pg->timeline_max)
            pg->timeline_max = from->pg.timeline_max;
    } else {
        /* pg_rewind reads the timeline from pg_control, and that is still the old one. */
        trace_line(w, n->index, "pg", "pg_rewind believes that there is nothing to do");
    }
    pg->control = CONTROL_IN_RECOVERY;
    pg->control_branch = pg->branch;
    pg->checkpoint_lsn = pg->lsn;
    pg->end_lsn = pg->lsn;
    pg->standby_signal = true;
    finish_soon(w, n, OP_RESULT_OK);
}

void op_task_done(struct world *w, const struct sim_event *event)
{
    struct node *n = &w->nodes[event->node];

    if (n->op.kind == OP_NONE || n->op.serial != event->arg || n->op.finishing)
        return;
    if (n->op.kind == OP_BOOTSTRAP)
        bootstrap_done(w, n);
    else if (n->op.kind == OP_CLONE)
        clone_done(w, n);
    else
        rewind_done(w, n);
}

void op_abandon(struct world *w, struct node *n)
{
    (void)w;
    /* A rewind leaves its mark, a copy or an initdb is set aside as unfinished: both states were
     * set when the task began. */
    n->op.kind = OP_NONE;
}

/* ---- orders ---- */

static void stop_begin(struct world *w, struct node *n)
{
    const struct action *action = &n->op.action;
    int64_t deadline_us = 0;

    if (!pg_is_running(n)) {
        finish_soon(w, n, OP_RESULT_OK);
        return;
    }
    if (!supervisor_runs(n))
        return; /* it sends the signals; its thaw begins this again */
    if (n->op.kind == OP_STOP && action->u.op.deadline_ms != 0)
        deadline_us = clock_true_us(w, n, action->u.op.deadline_ms);
    pg_stop(w, n, n->op.kind == OP_STOP ? action->u.op.stop_mode : STOP_FAST,
            n->op.kind == OP_STOP && action->u.op.handover, deadline_us);
}

void op_supervisor_back(struct world *w, struct node *n)
{
    if ((n->op.kind == OP_STOP || (n->op.kind == OP_RESTART && !n->op.restart_stopped)) &&
        !n->op.finishing && !n->pg.stopping)
        stop_begin(w, n);
}

static void promote_begin(struct world *w, struct node *n)
{
    if (n->pg.state != POSTMASTER_UP || n->pg.primary || n->pg.promoting || !supervisor_runs(n) ||
        !supervisor_allows_writer(w, n)) {
        finish_soon(w, n, OP_RESULT_FAILED);
        return;
    }
    pg_promote(w, n, n->op.action.u.op.timeline_above);
}

static void op_run(struct world *w, struct node *n)
{
    struct sim_op *op = &n->op;

    switch (op->kind) {
    case OP_BOOTSTRAP:
        bootstrap_begin(w, n);
        return;
    case OP_CLONE:
        clone_begin(w, n);
        return;
    case OP_REWIND:
        rewind_begin(w, n);
        return;
    case OP_START_PRIMARY:
    case OP_START_STANDBY:
        if (!pg_start(w, n, op->kind == OP_START_PRIMARY, op->source))
            finish_soon(w, n, OP_RESULT_FAILED);
        return;
    case OP_STOP:
        stop_begin(w, n);
        return;
    case OP_PROMOTE:
        promote_begin(w, n);
        return;
    case OP_FOLLOW:
        if (n->pg.state != POSTMASTER_UP || n->pg.primary) {
            finish_soon(w, n, OP_RESULT_FAILED);
            return;
        }
        pg_follow(w, n, op->source);
        op_finish(w, n, OP_RESULT_OK, draw(w, 5, 100) * US_PER_MS);
        return;
    case OP_CHECKPOINT:
        if (!pg_answers_sql(n))
            op_finish(w, n, OP_RESULT_FAILED, draw(w, 5, 2000) * US_PER_MS);
        else
            pg_checkpoint(w, n);
        return;
    case OP_RESTART:
        op->restart_primary = n->pg.primary;
        op->restart_stopped = false;
        stop_begin(w, n);
        return;
    case OP_NONE:
    case OP_COUNT:
        break;
    }
    pgh_unreachable();
}

void op_begin_order(struct world *w, struct node *n, const struct action *action)
{
    struct sim_op *op = &n->op;
    const struct node *source = node_by_name(w, action->u.op.source);

    if (op->kind != OP_NONE) {
        judge_find(w, "one operation", "%s begins %s while %s is under way", n->name,
                   op_kind_text(action->u.op.kind), op_kind_text(op->kind));
        return;
    }
    judge_on_op(w, n, action);
    op->kind = action->u.op.kind;
    op->id = action->u.op.op_id;
    op->serial = w->next_serial++;
    op->finishing = false;
    op->action = *action;
    op->source = source == NULL ? -1 : source->index;
    op->began_us = w->now_us;
    if (action->u.op.deadline_ms != 0)
        world_post(w, clock_true_us(w, n, action->u.op.deadline_ms) +
                          (op->kind == OP_STOP ? STOP_GIVE_UP_MS * US_PER_MS : 0),
                   EV_OP_DEADLINE, n->index, op->serial, 0);
    op_run(w, n);
}

void op_progress(struct world *w, struct node *n)
{
    struct sim_op *op = &n->op;
    bool is_up = n->pg.state == POSTMASTER_UP;
    bool is_down = !pg_is_running(n);

    if (op->kind == OP_NONE || op->finishing || is_task(op->kind) || op->kind == OP_FOLLOW)
        return;
    if (op->kind == OP_STOP) {
        if (is_down)
            finish_soon(w, n, n->pg.ended_by_force ? OP_RESULT_TIMEOUT : OP_RESULT_OK);
        return;
    }
    if (op->kind == OP_RESTART && !op->restart_stopped) {
        if (!is_down)
            return;
        op->restart_stopped = true;
        if (!pg_start(w, n, op->restart_primary, n->pg.follows))
            finish_soon(w, n, OP_RESULT_FAILED);
        return;
    }
    if (is_down)
        finish_soon(w, n, OP_RESULT_FAILED);
    else if (is_up && (op->kind != OP_PROMOTE || n->pg.primary) &&
             (op->kind != OP_CHECKPOINT || !n->pg.checkpointing))
        finish_soon(w, n, OP_RESULT_OK);
}

void op_deadline(struct world *w, const struct sim_event *event)
{
    struct node *n = &w->nodes[event->node];

    if (n->op.kind != OP_NONE && n->op.serial == event->arg)
        finish_soon(w, n, n->op.kind == OP_STOP ? OP_RESULT_FAILED : OP_RESULT_TIMEOUT);
}

void op_cancel_order(struct world *w, struct node *n)
{
    struct sim_op *op = &n->op;

    if (op->kind == OP_NONE || op->finishing || op->kind == OP_STOP)
        return; /* a stop that has begun cannot be taken back */
    /* Children are ended. A start or a promotion that has begun goes on in the server; only the
     * waiting for it ends. */
    op_finish(w, n, OP_RESULT_CANCELLED, draw(w, 5, 80) * US_PER_MS);
}

void op_done(struct world *w, const struct sim_event *event)
{
    struct node *n = &w->nodes[event->node];
    struct event done = {.kind = EVENT_OP_DONE};

    if (n->op.kind == OP_NONE || n->op.serial != event->arg)
        return;
    done.u.op.op_id = n->op.id;
    done.u.op.result = n->op.result;
    trace_line(w, n->index, "pg", "%s: %s", op_kind_text(n->op.kind),
               n->op.result == OP_RESULT_OK          ? "ok"
               : n->op.result == OP_RESULT_CANCELLED ? "cancelled"
               : n->op.result == OP_RESULT_TIMEOUT   ? "timed out"
                                                     : "failed");
    agent_look(w, n);
    n->op.kind = OP_NONE;
    agent_post(w, n, &done);
}
