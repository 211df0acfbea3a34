/* One PostgreSQL: its processes, what ends them, and how it moves from one role to the other. */
#include "sim.h"

#include <string.h>

enum {
    RECORD_BYTES = 120,           /* a checkpoint record */
    STOP_DEFAULT_US = 60 * US_PER_S,
    KILL_AFTER_US = 700 * US_PER_MS
};

void pg_reset(struct world *w, struct node *n)
{
    struct pg *pg = &n->pg;

    memset(pg, 0, sizeof(*pg));
    pg->data_dir = DATA_DIR_EMPTY;
    pg->branch = -1;
    pg->control_branch = -1;
    pg->follows = -1;
    pg->upstream = -1;
    pg->lag_us = draw(w, 300, 3000);
}

bool pg_is_running(const struct node *n)
{
    return n->pg.state != POSTMASTER_DOWN || n->pg.orphans;
}

bool pg_can_ack(const struct node *n)
{
    return n->pg.writable && machine_runs(n) && !n->pg.disk_full;
}

/* Does a new session get an answer? */
bool pg_answers_sql(const struct node *n)
{
    return machine_runs(n) && n->pg.state == POSTMASTER_UP && !n->pg.frozen;
}

static int64_t disk_time_us(struct world *w, const struct node *n, int64_t low_ms, int64_t high_ms)
{
    return draw_skewed(w, low_ms, high_ms) * US_PER_MS * n->disk_factor;
}

void pg_changed(struct world *w, struct node *n)
{
    op_progress(w, n);
    agent_look_soon(w, n);
}

void pg_set_writable(struct world *w, struct node *n, bool writable)
{
    struct pg *pg = &n->pg;

    if (pg->writable == writable)
        return;
    pg->writable = writable;
    if (writable && !pg->writer_armed) {
        pg->writer_armed = true;
        world_post(w, w->now_us, EV_WRITER, n->index, 0, pg->epoch);
    }
    judge_on_ack_change(w, n);
}

/* ---- clients ---- */

void pg_writer(struct world *w, const struct sim_event *event)
{
    struct node *n = &w->nodes[event->node];
    struct pg *pg = &n->pg;
    int64_t every_us = w->setup.write_every_us;

    if (event->extra != pg->epoch)
        return; /* another postmaster has its own */
    if (!pg->writable) {
        pg->writer_armed = false;
        return;
    }
    if (pg_can_ack(n)) {
        wal_append(w, pg->branch, (uint64_t)draw_skewed(w, 100, w->setup.write_bytes));
        pg->lsn = w->branches[pg->branch].end_lsn;
        w->branches[pg->branch].acked_lsn = pg->lsn;
        if (chance(w, w->setup.quiet ? 0 : 15))
            every_us += draw(w, 1, 12) * US_PER_S; /* the clients have a break */
    }
    world_post(w, w->now_us + draw(w, every_us / 2, every_us * 3 / 2), EV_WRITER, n->index, 0,
               pg->epoch);
}

/* ---- the stream ---- */

uint64_t pg_position(const struct world *w, const struct node *n)
{
    const struct pg *pg = &n->pg;
    uint64_t upstream_lsn;

    /* Bounded: each step goes one node up, and a ring of standbys has no writer. */
    if (pg->link != LINK_UP || pg->primary)
        return pg->lsn;
    if (w->nodes[pg->upstream].pg.primary)
        upstream_lsn = wal_lsn_at(w, w->nodes[pg->upstream].pg.branch, w->now_us - pg->lag_us);
    else if (w->nodes[pg->upstream].pg.upstream == n->index)
        return pg->lsn;
    else
        upstream_lsn = pg_position(w, &w->nodes[pg->upstream]);
    return upstream_lsn > pg->lsn ? upstream_lsn : pg->lsn;
}

void pg_settle(struct world *w, struct node *n)
{
    n->pg.lsn = pg_position(w, n);
}

static void link_arm_retry(struct world *w, struct node *n, int64_t after_us)
{
    if (n->pg.retry_armed)
        return;
    n->pg.retry_armed = true;
    world_post(w, w->now_us + after_us, EV_LINK_RETRY, n->index, 0, 0);
}

void pg_link_break(struct world *w, struct node *n, bool retry)
{
    if (n->pg.link != LINK_NONE) {
        pg_settle(w, n);
        n->pg.link = LINK_NONE;
        n->pg.upstream = -1;
        n->pg.unlinked_us = w->now_us;
        trace_line(w, n->index, "pg", "stream ends at %llx", (unsigned long long)n->pg.lsn);
    }
    if (retry)
        link_arm_retry(w, n, draw(w, w->setup.receiver_retry_us / 4, w->setup.receiver_retry_us));
}

void pg_links_check(struct world *w, struct node *n)
{
    struct pg *pg = &n->pg;
    const struct node *up;
    bool open;
    bool flows;

    if (pg->link == LINK_NONE)
        return;
    up = &w->nodes[pg->upstream];
    open = net_is_open(w, n->index, pg->upstream) && net_is_open(w, pg->upstream, n->index) &&
           machine_runs(up) && machine_runs(n);
    flows = open && up->pg.postmaster_id == pg->upstream_id;
    if (open && !flows) {
        pg_link_break(w, n, true); /* the other kernel says so */
        return;
    }
    if (!flows && pg->link == LINK_UP) {
        pg_settle(w, n);
        pg->link = LINK_STALLED;
        pg->stalled_us = w->now_us;
        pg->unlinked_us = w->now_us;
        world_post(w, w->now_us + w->setup.receiver_timeout_us, EV_LINK_TIMEOUT, n->index, 0, 0);
    } else if (flows && pg->link == LINK_STALLED) {
        pg->link = LINK_UP;
    }
}

static void downstream_check(struct world *w, const struct node *n)
{
    for (int32_t i = 0; i < w->node_count; i++)
        if (w->nodes[i].pg.link != LINK_NONE && w->nodes[i].pg.upstream == n->index)
            pg_links_check(w, &w->nodes[i]);
}

/* The timeline that is sent ends: whoever listens connects again for the next one. */
static void downstream_break(struct world *w, const struct node *n)
{
    for (int32_t i = 0; i < w->node_count; i++)
        if (w->nodes[i].pg.link != LINK_NONE && w->nodes[i].pg.upstream == n->index)
            pg_link_break(w, &w->nodes[i], true);
}

static void link_retry(struct world *w, struct node *n)
{
    struct pg *pg = &n->pg;
    struct node *up;

    pg->retry_armed = false;
    if (pg->link != LINK_NONE || pg->primary || pg->promoting || pg->state != POSTMASTER_UP ||
        pg->follows < 0 || pg->follows == n->index)
        return;
    up = &w->nodes[pg->follows];
    if (!net_is_open(w, n->index, up->index) || !net_is_open(w, up->index, n->index) ||
        !pg_answers_sql(up) || up->pg.stopping || up->pg.sysid != pg->sysid ||
        !wal_is_on(w, pg->branch, pg->lsn, up->pg.branch, pg_position(w, up))) {
        link_arm_retry(w, n, w->setup.receiver_retry_us);
        return;
    }
    if (pg->branch != up->pg.branch)
        downstream_break(w, n);
    pg->branch = up->pg.branch;
    pg->link = LINK_UP;
    pg->upstream = up->index;
    pg->upstream_id = up->pg.postmaster_id;
    if (up->pg.timeline_max > pg->timeline_max)
        pg->timeline_max = up->pg.timeline_max;
    trace_line(w, n->index, "pg", "streams from %s at %llx", up->name,
               (unsigned long long)pg->lsn);
}

static void link_timeout(struct world *w, struct node *n)
{
    if (n->pg.link == LINK_STALLED &&
        w->now_us - n->pg.stalled_us >= w->setup.receiver_timeout_us)
        pg_link_break(w, n, true);
}

/* ---- the end of a server ---- */

/* No process is left. What the control file says was written before. */
static void pg_end(struct world *w, struct node *n)
{
    struct pg *pg = &n->pg;

    pg_link_break(w, n, false);
    if (pg->state != POSTMASTER_DOWN || pg->orphans)
        trace_line(w, n->index, "pg", "gone");
    pg->ended_by_force = pg->stop_forced;
    pg->stop_forced = false;
    pg->epoch++;
    pg->state = POSTMASTER_DOWN;
    pg->postmaster_id = 0;
    pg->frozen = false;
    pg->orphans = false;
    pg->primary = false;
    pg->promoting = false;
    pg->stopping = false;
    pg->adopted = false;
    pg->checkpointing = false;
    pg->retry_armed = false;
    if (pg->control == CONTROL_IN_PRODUCTION)
        pg->end_lsn = pg->checkpoint_lsn;
    else if (pg->control == CONTROL_IN_RECOVERY)
        pg->end_lsn = pg->lsn;
    pg_set_writable(w, n, false);
    pg->writer_armed = false;
    downstream_check(w, n);
    supervisor_arm_nets(w, n);
    pg_changed(w, n);
}

void pg_kill_all(struct world *w, struct node *n)
{
    if (pg_is_running(n))
        pg_end(w, n);
}

/* kill -9 of the postmaster alone: its backends do not notice. */
void pg_kill_postmaster(struct world *w, struct node *n)
{
    struct pg *pg = &n->pg;

    if (pg->state == POSTMASTER_DOWN)
        return;
    trace_line(w, n->index, "pg", "postmaster killed");
    if (!pg->writable) {
        pg_end(w, n);
        return;
    }
    pg->epoch++;
    pg->state = POSTMASTER_DOWN;
    pg->told_id = pg->postmaster_id;
    pg->postmaster_id = 0;
    pg->frozen = false;
    pg->stopping = false;
    pg->promoting = false;
    pg->checkpointing = false;
    pg->orphans = true;
    world_post(w, w->now_us + US_PER_MS, EV_WRITER, n->index, 0, pg->epoch);
    downstream_check(w, n);
    supervisor_postmaster_died(w, n);
}

/* ---- start ---- */

bool pg_start(struct world *w, struct node *n, bool primary, int follows)
{
    struct pg *pg = &n->pg;
    int64_t took_us = disk_time_us(w, n, 80, 1200);

    if (pg->data_dir != DATA_DIR_VALID || pg_is_running(n) || !supervisor_runs(n))
        return false;
    if (primary && !supervisor_allows_writer(w, n))
        return false;
    if (pg->control == CONTROL_IN_PRODUCTION)
        took_us += disk_time_us(w, n, 50, w->setup.quiet ? 300 : 6000); /* redo */
    pg->init_marked = false;
    pg->epoch++;
    pg->state = POSTMASTER_STARTING;
    pg->postmaster_id = w->next_postmaster_id++;
    pg->primary = primary;
    pg->standby_signal = !primary;
    pg->stopping = false;
    pg->promoting = false;
    pg->by_hand = false;
    pg->adopted = false;
    pg->follows = (int16_t)follows;
    pg->unlinked_us = w->now_us;
    trace_line(w, n->index, "pg", "starts as %s at %u/%llx", primary ? "primary" : "standby",
               w->branches[pg->branch].timeline, (unsigned long long)pg->lsn);
    if (chance(w, w->setup.op_fail_permille))
        world_post(w, w->now_us + took_us / 2, EV_PG_CRASH, n->index, 0, 0);
    else
        world_post(w, w->now_us + took_us, EV_PG_STARTED, n->index, 0, 0);
    supervisor_arm_nets(w, n);
    return true;
}

static void arm_crash_loop(struct world *w, struct node *n)
{
    if (n->pg.crash_loops)
        world_post(w, w->now_us + draw(w, 200, 5000) * US_PER_MS, EV_PG_CRASH, n->index, 0, 0);
}

/* From here on the server writes to branch. */
static void become_writer(struct world *w, struct node *n)
{
    struct pg *pg = &n->pg;
    struct branch *branch = &w->branches[pg->branch];

    if (branch->end_lsn != pg->lsn) {
        /* Two servers go on from different points under one number. */
        pg->branch = wal_branch_new(w, pg->branch, pg->lsn, branch->timeline, n->index,
                                    branch->sysid);
        judge_on_branch(w, n, pg->branch);
    }
    w->branches[pg->branch].writer = n->index;
    pg->control = CONTROL_IN_PRODUCTION;
    wal_append(w, pg->branch, RECORD_BYTES);
    pg->lsn = w->branches[pg->branch].end_lsn;
    pg_set_writable(w, n, true);
}

static void pg_started(struct world *w, struct node *n)
{
    struct pg *pg = &n->pg;

    if (pg->frozen) {
        world_post(w, w->now_us + US_PER_S / 10, EV_PG_STARTED, n->index, 0, 0);
        return;
    }
    if (pg->state == POSTMASTER_STOPPING)
        return;
    pg->state = POSTMASTER_UP;
    pg->up_us = w->now_us;
    trace_line(w, n->index, "pg", "is up as %s", pg->primary ? "primary" : "standby");
    arm_crash_loop(w, n);
    if (pg->primary) {
        become_writer(w, n);
        pg->control_branch = pg->branch;
        pg->checkpoint_lsn = pg->lsn;
    } else {
        pg->control = CONTROL_IN_RECOVERY;
        link_retry(w, n);
    }
    pg_changed(w, n);
}

/* ---- promotion, checkpoint, a new upstream ---- */

void pg_promote(struct world *w, struct node *n, uint32_t timeline_above)
{
    int64_t took_us = disk_time_us(w, n, 20, 250);

    if (chance(w, w->setup.quiet ? 0 : 40))
        took_us += draw(w, 1, 9) * US_PER_S; /* much left to replay */
    pg_link_break(w, n, false);
    n->pg.promoting = true;
    trace_line(w, n->index, "pg", "is told to promote above %u", timeline_above);
    world_post(w, w->now_us + took_us, EV_PG_PROMOTED, n->index, timeline_above, 0);
    supervisor_arm_nets(w, n);
}

static void pg_promoted(struct world *w, struct node *n, uint32_t above)
{
    struct pg *pg = &n->pg;
    uint32_t timeline = pg->timeline_max > above ? pg->timeline_max : above;
    int32_t parent;

    if (pg->frozen || pg->stopping) {
        if (pg->frozen)
            world_post(w, w->now_us + US_PER_S / 10, EV_PG_PROMOTED, n->index, above, 0);
        return;
    }
    downstream_break(w, n);
    parent = wal_branch_at(w, pg->branch, pg->lsn);
    pg->branch = wal_branch_new(w, parent, pg->lsn, timeline + 1, n->index, pg->sysid);
    w->branches[pg->branch].won_us = n->won_us;
    pg->timeline_max = timeline + 1;
    pg->promoting = false;
    pg->primary = true;
    pg->standby_signal = false;
    w->seen.promotions++;
    trace_line(w, n->index, "pg", "promoted: timeline %u from %u at %llx", timeline + 1,
               w->branches[parent].timeline, (unsigned long long)pg->lsn);
    judge_on_branch(w, n, pg->branch);
    become_writer(w, n);
    world_post(w, w->now_us + disk_time_us(w, n, 100, w->setup.quiet ? 500 : 20000),
               EV_PG_CHECKPOINTED, n->index, 0, 0);
    pg_changed(w, n);
}

void pg_checkpoint(struct world *w, struct node *n)
{
    n->pg.checkpointing = true;
    world_post(w, w->now_us + disk_time_us(w, n, 10, w->setup.quiet ? 50 : 2500),
               EV_PG_CHECKPOINTED, n->index, 0, 0);
}

static void pg_checkpointed(struct world *w, struct node *n)
{
    struct pg *pg = &n->pg;

    pg->checkpointing = false;
    if (pg->primary) {
        pg->control_branch = pg->branch;
        pg->checkpoint_lsn = pg->lsn;
    }
    pg_changed(w, n);
}

void pg_follow(struct world *w, struct node *n, int follows)
{
    n->pg.follows = (int16_t)follows;
    pg_link_break(w, n, false);
    link_arm_retry(w, n, draw(w, 1, 30) * US_PER_MS);
}

/* ---- stop ---- */

void pg_stop(struct world *w, struct node *n, enum stop_mode mode, bool handover,
             int64_t deadline_us)
{
    struct pg *pg = &n->pg;

    if (!pg_is_running(n))
        return;
    trace_line(w, n->index, "pg", "is told to stop (%s)", mode == STOP_FAST ? "fast" : "immediate");
    pg->stopping = true;
    pg->stop_forced = false;
    pg->stop_handover = handover;
    if (pg->state != POSTMASTER_DOWN)
        pg->state = POSTMASTER_STOPPING;
    if (deadline_us == 0)
        deadline_us = w->now_us + STOP_DEFAULT_US;
    if (mode == STOP_IMMEDIATE)
        world_post(w, w->now_us + draw(w, 3, 40) * US_PER_MS, EV_PG_GONE, n->index, 0, 0);
    else
        world_post(w, w->now_us + draw(w, 1, 20) * US_PER_MS, EV_PG_STOP_STEP, n->index,
                   STOP_SESSIONS, 0);
    world_post(w, deadline_us, EV_PG_STOP_STEP, n->index, STOP_DEADLINE, 0);
    agent_look_soon(w, n);
}

/* Returns 0 if everybody who listens has the shutdown record, else how long to wait. */
static int64_t senders_wait_us(struct world *w, const struct node *n)
{
    int64_t wait_us = 0;

    for (int32_t i = 0; i < w->node_count; i++) {
        const struct node *to = &w->nodes[i];

        if (to->pg.link == LINK_NONE || to->pg.upstream != n->index)
            continue;
        if (to->pg.link == LINK_STALLED)
            wait_us = 200 * US_PER_MS;
        else if (pg_position(w, to) < n->pg.lsn && wait_us < to->pg.lag_us + US_PER_MS)
            wait_us = to->pg.lag_us + US_PER_MS;
    }
    return wait_us;
}

static void stop_write_checkpoint(struct world *w, struct node *n)
{
    struct pg *pg = &n->pg;

    if (pg->primary) {
        wal_append(w, pg->branch, RECORD_BYTES);
        pg->lsn = w->branches[pg->branch].end_lsn;
        pg->control = CONTROL_SHUT_DOWN;
        pg->control_branch = pg->branch;
        pg->checkpoint_lsn = pg->lsn - RECORD_BYTES;
    } else {
        pg_settle(w, n);
        pg->control = CONTROL_SHUT_DOWN_IN_RECOVERY;
    }
    pg->end_lsn = pg->lsn;
}

static void stop_step(struct world *w, struct node *n, enum stop_step step)
{
    struct pg *pg = &n->pg;
    int64_t next_us = w->now_us + US_PER_MS;
    enum stop_step next = step;

    if (pg->frozen && step != STOP_DEADLINE && step != STOP_KILL) {
        world_post(w, w->now_us + US_PER_S / 10, EV_PG_STOP_STEP, n->index, step, 0);
        return;
    }
    switch (step) {
    case STOP_SESSIONS:
        pg_set_writable(w, n, false);
        next = STOP_CHECKPOINT;
        next_us = w->now_us + disk_time_us(w, n, 10, w->setup.quiet ? 60 : 1500);
        break;
    case STOP_CHECKPOINT:
        stop_write_checkpoint(w, n);
        next = STOP_SENDERS;
        break;
    case STOP_SENDERS:
        next = pg->stop_handover && senders_wait_us(w, n) > 0 ? STOP_SENDERS : STOP_EXIT;
        next_us = w->now_us + (next == STOP_EXIT ? draw(w, 1, 8) * US_PER_MS
                                                 : senders_wait_us(w, n));
        break;
    case STOP_EXIT:
        trace_line(w, n->index, "pg", "stopped cleanly at %llx", (unsigned long long)pg->lsn);
        pg_end(w, n);
        return;
    case STOP_DEADLINE:
        pg->stop_forced = true;
        world_post(w, w->now_us + draw(w, 3, 40) * US_PER_MS, EV_PG_GONE, n->index, 0, 0);
        next = STOP_KILL;
        next_us = w->now_us + KILL_AFTER_US;
        break;
    case STOP_KILL:
        if (supervisor_runs(n))
            pg_kill_all(w, n);
        return;
    }
    world_post(w, next_us, EV_PG_STOP_STEP, n->index, next, 0);
}

void pg_on_event(struct world *w, const struct sim_event *event)
{
    struct node *n = &w->nodes[event->node];

    switch (event->kind) {
    case EV_PG_STARTED:
        pg_started(w, n);
        return;
    case EV_PG_STOP_STEP:
        stop_step(w, n, (enum stop_step)event->arg);
        return;
    case EV_PG_GONE:
        if (n->pg.frozen)
            world_post(w, w->now_us + US_PER_S / 10, EV_PG_GONE, n->index, 0, 0);
        else
            pg_end(w, n);
        return;
    case EV_PG_PROMOTED:
        pg_promoted(w, n, event->arg);
        return;
    case EV_PG_CHECKPOINTED:
        pg_checkpointed(w, n);
        return;
    case EV_PG_CRASH:
        pg_kill_postmaster(w, n);
        return;
    case EV_LINK_RETRY:
        link_retry(w, n);
        return;
    case EV_LINK_TIMEOUT:
        link_timeout(w, n);
        return;
    default:
        pgh_unreachable();
    }
}
