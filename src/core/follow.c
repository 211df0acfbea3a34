/* Somebody else leads: follow, and come back after having diverged. Histories are compared, not
 * numbers; nothing is rewound or replaced unless the configuration allows it and a source is
 * there (P5). */
#include <string.h>

#include "internal.h"

enum {
    HISTORY_WAIT_MS = 2000,
    HISTORY_PACE_MS = 200,
    FOLLOW_PACE_MS = 1000,
    START_PACE_FIRST_MS = 500,
    START_PACE_MAX_MS = 30000,
    REWINDS_MAX = 3,
    REWIND_PACE_MS = 2000,
    CLONE_PACE_MS = 1000,
    PACE_MAX_MS = 60000,
    STOP_LIMIT_MS = 10000,
    RECHECK_MIN_MS = 5000,
    RECHECKS_PER_LOOP = 2
};

static int64_t slower(int32_t failures, int64_t first_ms, int64_t limit_ms)
{
    return min_ms(first_ms << (failures < 7 ? failures : 7), limit_ms);
}

/* Whom to stream from: the member named by our tag if it lives, else the leader. */
static const char *follow_target(const struct core *core, const char *leader)
{
    const char *named = core->identity.tags.replicatefrom;

    if (named[0] == '\0' || strcmp(named, core->identity.name) == 0)
        return leader;
    const struct member *member = view_find_member(core->view, named);
    return member != NULL && member->state == PG_STATE_RUNNING ? named : leader;
}

/* The leader as a source: it must be known, run, and be a primary. */
static const struct member *leader_as_source(const struct core *core)
{
    const struct member *leader = view_leader_member(core->view);

    if (leader == NULL || strcmp(leader->name, core->identity.name) == 0 ||
        leader->conn_host[0] == '\0')
        return NULL;
    return leader;
}

static void start_standby(struct step *step, const char *source)
{
    struct core *core = step->core;
    int64_t limit_ms = policy_of(core)->primary_start_timeout_ms;

    explain(step, REASON_START_AS_STANDBY, source, 0);
    struct action *action = op_begin(step, OP_START_STANDBY, source);
    /* Recovery may take long and is never killed for that: the operation ends, the server goes
     * on. */
    action->u.op.deadline_ms = limit_ms > 0 ? core->now_ms + limit_ms : 0;
}

void follow_start_alone(struct step *step)
{
    struct core *core = step->core;

    if (op_is_running(core) || !server_is_down(core) ||
        core->follow.start_at_ms > core->now_ms || core->local->data_dir != DATA_DIR_VALID)
        return;
    core->follow.check_wanted = true;
    start_standby(step, "");
}

/* --- comparing histories
 * ------------------------------------------------------------------------------- */

static bool has_agreed(const struct core *core, const struct member *leader)
{
    const struct core_follow *follow = &core->follow;

    return !follow->check_wanted && strcmp(follow->agreed_with, leader->name) == 0 &&
           (leader->timeline == 0 || leader->timeline <= follow->agreed_timeline);
}

static void ask_history(struct step *step, const struct member *leader)
{
    struct core *core = step->core;

    if (core->follow.asking || core->follow.ask_at_ms > core->now_ms)
        return;
    core->follow.asking = true;
    history_ask(step, leader->name, HISTORY_WAIT_MS);
}

/* The end of our WAL is known: a running standby tells it, a clean stop leaves it in the control
 * file. */
static bool knows_own_end(const struct core *core)
{
    const struct local *local = core->local;

    return !server_is_down(core) || local->control_state == CONTROL_SHUT_DOWN ||
           local->control_state == CONTROL_SHUT_DOWN_IN_RECOVERY ||
           local->control_state == CONTROL_IN_RECOVERY;
}

/* What has been replayed is what cannot be taken back; received WAL of another branch is not
 * replayed. */
static uint64_t fork_position_lsn(const struct core *core)
{
    if (server_is_running_standby(core))
        return core->local->replay_lsn;
    return core->local->control_end_lsn;
}

void follow_on_history(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    struct core_follow *follow = &core->follow;
    const struct member *leader = core->view == NULL ? NULL : view_leader_member(core->view);

    follow->asking = false;
    follow->ask_at_ms = core->now_ms + HISTORY_PACE_MS;
    if (!event->u.history.ok || !event->u.history.leader_is_primary || leader == NULL ||
        strcmp(leader->name, event->u.history.leader) != 0) {
        if (server_is_down(core) && !event->u.history.ok && !follow->diverged)
            follow_start_alone(step); /* nobody to compare with: serve reads meanwhile */
        return;
    }
    bool agrees = diverge_can_follow(local_timeline(core->local), fork_position_lsn(core),
                                     event->u.history.timeline, event->u.history.rows,
                                     event->u.history.count);
    if (agrees && !knows_own_end(core)) {
        follow_start_alone(step); /* its recovery finds the end; then we compare again */
        return;
    }
    follow->check_wanted = false;
    follow->diverged = !agrees;
    memcpy(follow->agreed_with, leader->name, NAME_SIZE);
    follow->agreed_timeline = event->u.history.timeline;
    follow->not_streaming_since_ms = 0;
    if (agrees)
        note(step, REASON_REWIND_NOT_NEEDED, leader->name, event->u.history.timeline);
}

/* --- diverged
 * -------------------------------------------------------------------------------------------- */

static void replace(struct step *step, const struct member *leader)
{
    struct core *core = step->core;

    if (core->follow.clone_at_ms > core->now_ms)
        return;
    explain(step, REASON_CLONE_BEGIN, leader->name, 0);
    op_begin(step, OP_CLONE, leader->name)->u.op.replace = true;
}

/* True once it is down. A server that shows rows which the cluster never had serves nobody. */
static bool is_stopped(struct step *step)
{
    const struct core *core = step->core;

    if (server_is_down(core))
        return true;
    if (core->local->postmaster != POSTMASTER_STOPPING)
        stop_server(step, STOP_FAST, core->now_ms + STOP_LIMIT_MS, false);
    return false;
}

static void come_back(struct step *step, const struct member *leader)
{
    struct core *core = step->core;
    const struct policy *policy = policy_of(core);
    struct core_follow *follow = &core->follow;
    bool may_rewind = policy->use_pg_rewind && core->local->rewind_possible;
    bool may_replace = may_rewind ? policy->remove_data_directory_on_rewind_failure
                                  : policy->remove_data_directory_on_diverged_timelines;

    bool gives_up_rewind = !may_rewind || (follow->rewind_failures >= REWINDS_MAX && may_replace);

    if (may_rewind && follow->rewind_failures >= REWINDS_MAX && !may_replace &&
        follow->rewind_at_ms > core->now_ms) {
        /* Nothing else is allowed: tried again from time to time, the cause may go away. */
        explain(step, REASON_REWIND_FAILED, leader->name, follow->rewind_failures);
        return;
    }
    if (!may_rewind && !may_replace) {
        explain(step, REASON_REWIND_IMPOSSIBLE, leader->name, 0);
        (void)is_stopped(step);
        return;
    }
    if (!is_stopped(step))
        return;
    if (gives_up_rewind) {
        replace(step, leader);
        return;
    }
    if (leader->checkpoint_pending || leader->role != PG_ROLE_PRIMARY) {
        explain(step, REASON_REWIND_WAIT_CHECKPOINT, leader->name, 0);
        return;
    }
    if (follow->rewind_at_ms > core->now_ms)
        return;
    explain(step, REASON_REWIND_BEGIN, leader->name, follow->rewind_failures);
    (void)op_begin(step, OP_REWIND, leader->name);
}

/* --- following
 * ---------------------------------------------------------------------------------------------- */

/* A standby that does not stream from a leader that runs has perhaps not the same history after
 * all. */
static void watch_streaming(struct step *step, const struct member *leader)
{
    struct core *core = step->core;
    struct core_follow *follow = &core->follow;
    int64_t patience_ms = max_ms(RECHECKS_PER_LOOP * policy_of(core)->loop_wait_ms, RECHECK_MIN_MS);

    if (core->local->replication_state == REPLICATION_STREAMING ||
        leader->state != PG_STATE_RUNNING) {
        follow->not_streaming_since_ms = 0;
        return;
    }
    if (follow->not_streaming_since_ms == 0)
        follow->not_streaming_since_ms = core->now_ms;
    if (core->now_ms - follow->not_streaming_since_ms > patience_ms) {
        follow->not_streaming_since_ms = 0;
        follow->check_wanted = true;
    }
}

static void follow_running(struct step *step, const struct member *leader)
{
    struct core *core = step->core;
    const char *target = follow_target(core, leader->name);

    if (strcmp(core->local->follows, target) == 0 && core->local->follows_current_address) {
        explain(step, REASON_FOLLOWING_LEADER, leader->name, 0);
        core->crash.count = 0;
        core->race.bench_until_ms = 0;
        core->follow.start_failures = 0;
        watch_streaming(step, leader);
        return;
    }
    if (core->follow.follow_at_ms > core->now_ms)
        return;
    explain(step, REASON_FOLLOW_CHANGED, target, 0);
    core->follow.follow_at_ms = core->now_ms + FOLLOW_PACE_MS;
    (void)op_begin(step, OP_FOLLOW, target);
}

void follow(struct step *step)
{
    struct core *core = step->core;
    const struct member *leader = leader_as_source(core);

    if (op_is_running(core))
        return;
    if (leader == NULL) {
        follow_start_alone(step); /* the key names nobody we know: serve reads, keep what we have */
        return;
    }
    if (core->local->postmaster == POSTMASTER_STARTING ||
        core->local->postmaster == POSTMASTER_STOPPING)
        return;
    if (core->local->data_dir == DATA_DIR_HALF)
        /* an unfinished rewind is finished or replaced, never started */
        core->follow.diverged = true;
    else if (!has_agreed(core, leader)) {
        if (core->follow.start_at_ms <= core->now_ms || !server_is_down(core)) {
            if (!core->follow.asking && core->follow.ask_at_ms <= core->now_ms &&
                core->reason != REASON_HISTORY_CHECK && core->reason != REASON_FOLLOWING_LEADER)
                explain(step, REASON_HISTORY_CHECK, leader->name, 0);
            ask_history(step, leader);
        }
        return;
    }
    if (core->follow.diverged) {
        come_back(step, leader);
        return;
    }
    if (!server_is_down(core))
        follow_running(step, leader);
    else if (core->follow.start_at_ms <= core->now_ms)
        start_standby(step, follow_target(core, leader->name));
}

static void on_rewind(struct step *step, enum op_result result)
{
    struct core *core = step->core;
    struct core_follow *follow = &core->follow;

    if (result == OP_RESULT_OK) {
        note(step, REASON_REWIND_DONE, core->op.source, 0);
        follow->rewind_failures = 0;
        follow->diverged = false;
        follow->check_wanted = true;
    } else if (result != OP_RESULT_CANCELLED) {
        follow->rewind_failures++;
        follow->rewind_at_ms =
            core->now_ms + slower(follow->rewind_failures, REWIND_PACE_MS, PACE_MAX_MS);
        note(step, REASON_REWIND_FAILED, core->op.source, follow->rewind_failures);
    }
}

static void on_clone(struct step *step, enum op_result result)
{
    struct core *core = step->core;
    struct core_follow *follow = &core->follow;

    core->request.reinit = core->request.reinit && result != OP_RESULT_OK;
    if (result == OP_RESULT_OK) {
        note(step, REASON_CLONE_DONE, core->op.source, 0);
        follow->clone_failures = 0;
        follow->rewind_failures = 0;
        follow->diverged = false;
        follow->check_wanted = true;
        follow->start_at_ms = 0;
    } else {
        follow->clone_failures++;
        follow->clone_at_ms =
            core->now_ms + slower(follow->clone_failures, CLONE_PACE_MS, PACE_MAX_MS);
        note(step, result == OP_RESULT_CANCELLED ? REASON_OP_CANCELLED : REASON_CLONE_FAILED,
             core->op.source, follow->clone_failures);
    }
}

void follow_on_op(struct step *step, enum op_kind kind, enum op_result result)
{
    struct core *core = step->core;
    struct core_follow *follow = &core->follow;

    if (kind == OP_REWIND)
        on_rewind(step, result);
    if (kind == OP_CLONE)
        on_clone(step, result);
    if (kind == OP_START_STANDBY && result == OP_RESULT_FAILED) {
        follow->start_at_ms =
            core->now_ms + slower(follow->start_failures, START_PACE_FIRST_MS, START_PACE_MAX_MS);
        follow->start_failures++;
        follow->check_wanted = true;
        explain(step, REASON_START_FAILED, NULL, follow->start_failures);
    }
    if (kind == OP_STOP && core->was_primary)
        follow->check_wanted = true;
}
