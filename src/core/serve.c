/* The holder of the key: serve as primary, come up again after a crash, or give the key up. */
#include <string.h>

#include "internal.h"

enum {
    CRASH_WINDOW_MS = 600000,
    CRASHES_MAX = 3, /* in the window: then others get their chance (hazard PG-04) */
    HOLD_PACE_MS = 300,
    START_PAUSE_FIRST_MS = 1000,
    START_PAUSE_MAX_MS = 30000,
    STOP_UNFIT_MS = 1000
};

/* Somebody who could lead instead of us, as the view tells it. */
static bool has_successor(const struct core *core)
{
    const struct view *view = core->view;

    for (int32_t i = 0; i < view->member_count; i++) {
        const struct member *member = &view->members[i];
        if (strcmp(member->name, core->identity.name) != 0 && !member->tags.nofailover &&
            member->state == PG_STATE_RUNNING && member->role != PG_ROLE_PRIMARY &&
            member->api_url[0] != '\0')
            return true;
    }
    return false;
}

void serve_release_unfit(struct step *step, enum reason why)
{
    struct core *core = step->core;

    if (core->unfit == REASON_NONE)
        note(step, why, NULL, core->crash.count);
    core->unfit = why;
    core->reason = why;
}

/* Carries out what serve_release_unfit() decided: stop what runs, then let the key go. */
static bool release_unfit(struct step *step)
{
    struct core *core = step->core;

    if (core->unfit == REASON_NONE)
        return false;
    if (op_is_running(core)) {
        if (core->op.kind != OP_STOP)
            op_cancel(step);
        return true;
    }
    if (!server_is_down(core)) {
        stop_server(step, STOP_IMMEDIATE, core->now_ms + STOP_UNFIT_MS, false);
        return true;
    }
    if (call_is_ready(core, CALL_LEADER_RELEASE)) {
        struct action *action = call_begin(step, CALL_LEADER_RELEASE);
        action->u.call.lsn = core->status_sent_lsn;
    }
    return true;
}

void serve_on_release(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    enum call_outcome outcome = event->u.call.outcome;

    if (outcome != OUTCOME_OK) {
        core->key.doubted_at_ms = core->now_ms;
        core->read_at_ms = core->now_ms;
        return;
    }
    if (core->unfit != REASON_NONE) {
        note(step, REASON_RELEASE_UNFIT, NULL, core->unfit);
        core->unfit = REASON_NONE;
        core->race.bench_until_ms = core->now_ms + core->lease.ttl_ms;
        core->crash = (struct core_crash){.count = 0};
        core->follow.start_at_ms = 0;
        core->follow.start_failures = 0;
    }
    core->follow.check_wanted = true;
    key_forget(core, event->u.call.revision);
}

/* A failed start or a crash loop: give the key to somebody who can serve, else try again, slower.
 * In a pause nobody takes it over without being asked to. */
static void cannot_serve(struct step *step, enum reason why)
{
    struct core *core = step->core;
    struct core_follow *follow = &core->follow;

    if (has_successor(core) && !core->paused) {
        serve_release_unfit(step, why);
        return;
    }
    int32_t doublings = follow->start_failures < 5 ? follow->start_failures : 5;
    follow->start_at_ms =
        core->now_ms + min_ms((int64_t)START_PAUSE_FIRST_MS << doublings, START_PAUSE_MAX_MS);
    follow->start_failures++;
    core->crash = (struct core_crash){.count = 0};
    explain(step, why, NULL, follow->start_failures);
}

void serve_count_crash(struct step *step)
{
    struct core *core = step->core;
    struct core_crash *crash = &core->crash;

    if (crash->count == 0 || core->now_ms - crash->window_at_ms > CRASH_WINDOW_MS)
        *crash = (struct core_crash){.window_at_ms = core->now_ms};
    crash->count++;
    note(step, core->local->stop_by_hand ? REASON_STOPPED_BY_HAND : REASON_CRASHED, NULL,
         crash->count);
}

static bool was_cleanly_primary(const struct local *local)
{
    return !local->has_standby_signal && (local->control_state == CONTROL_SHUT_DOWN ||
                                          local->control_state == CONTROL_IN_PRODUCTION);
}

static void serve_down(struct step *step)
{
    struct core *core = step->core;
    const struct local *local = core->local;

    if (local->data_dir != DATA_DIR_VALID) {
        cannot_serve(step, REASON_DIRECTORY_GONE);
        return;
    }
    if (core->crash.count >= CRASHES_MAX) {
        cannot_serve(step, REASON_CRASH_LOOP);
        return;
    }
    if (core->crash.count > 0 && policy_of(core)->primary_start_timeout_ms == 0 &&
        has_successor(core)) {
        serve_release_unfit(step, REASON_CRASHED);
        return;
    }
    if (core->follow.start_at_ms > core->now_ms)
        return;
    if (core->key.fence_until_ms == 0)
        return; /* a key that we hear of before its transaction's answer: confirmed in a moment */
    if (!right_holds(core) || core->now_ms >= demote_at_ms(core)) {
        /* A right that a shorter ttl has ended is renewed in a moment, unless etcd is silent: then
         * reads are served, without the right to write. */
        if (core->etcd_is_silent)
            follow_start_alone(step);
        return;
    }
    if (!was_cleanly_primary(local)) {
        follow_start_alone(step); /* a standby that won: it is promoted once it runs */
        return;
    }
    if (core->view->revision < core->key.create_revision)
        return; /* its configuration decides how long the first right lasts */
    explain(step, REASON_START_AS_PRIMARY, NULL, 0);
    int64_t limit_ms = policy_of(core)->primary_start_timeout_ms;
    struct action *action = op_begin(step, OP_START_PRIMARY, NULL);
    action->u.op.deadline_ms = limit_ms > 0 ? core->now_ms + limit_ms : 0;
}

static bool wait_old_fence(struct step *step)
{
    struct core *core = step->core;

    if (core->key.hold_until_ms <= core->now_ms || core->former.is_harmless ||
        core->former.left_cleanly) {
        core->key.hold_until_ms = 0;
        return false;
    }
    explain(step, REASON_WAIT_OLD_FENCE, core->key.hold_for, 0);
    if (core->race.next_at_ms <= core->now_ms) {
        core->race.next_at_ms = core->now_ms + HOLD_PACE_MS;
        core->race.ask_id = peers_ask(step, HOLD_PACE_MS, core->key.hold_for);
    }
    return true;
}

/* Looked at once, by the first view that knows our key: a server that was restarted since replays,
 * and is behind what it has on its disk. */
static bool prove(struct step *step)
{
    struct core *core = step->core;
    int64_t value = 0;

    if (!core->key.is_unproven)
        return true;
    if (core->view->revision < core->key.create_revision) {
        core->read_at_ms = core->now_ms;
        return false;
    }
    enum reason why = race_regret(core, &value);
    core->key.is_unproven = why != REASON_NONE;
    if (!core->key.is_unproven)
        return true;
    explain(step, why, NULL, value);
    if (call_is_ready(core, CALL_LEADER_RELEASE))
        (void)call_begin(step, CALL_LEADER_RELEASE);
    return false;
}

static void promote(struct step *step)
{
    struct core *core = step->core;
    const struct view *view = core->view;

    if (!prove(step) || !right_holds(core) || core->now_ms >= demote_at_ms(core) ||
        wait_old_fence(step))
        return;
    if (core->follow.start_at_ms > core->now_ms)
        return; /* it failed a moment ago, and nobody else is to do it */
    if (!core->key.claimed) {
        if (!call_is_ready(core, CALL_TIMELINE_CLAIM))
            return;
        if (view->revision < core->key.create_revision) {
            /* Our picture is older than our key: it may not show what the holder before us
             * announced. */
            core->read_at_ms = core->now_ms;
            return;
        }
        uint32_t newest = local_timeline(core->local);
        newest = view->history_timeline > newest ? view->history_timeline : newest;
        newest = view->claimed_timeline > newest ? view->claimed_timeline : newest;
        core->key.claim_timeline = newest + 1;
        call_begin(step, CALL_TIMELINE_CLAIM)->u.call.timeline = newest + 1;
        return;
    }
    explain(step, REASON_PROMOTE_BEGIN, NULL, core->key.claim_timeline);
    op_begin(step, OP_PROMOTE, NULL)->u.op.timeline_above = core->key.claim_timeline - 1;
}

static void serve_primary(struct step *step)
{
    struct core *core = step->core;

    explain(step, REASON_LEADER_WITH_LOCK, NULL, 0);
    core->follow.start_failures = 0;
    core->follow.start_at_ms = 0;
    core->key.hold_until_ms = 0;
    if (core->checkpoint_pending && core->checkpoint_at_ms <= core->now_ms) {
        core->checkpoint_at_ms = core->now_ms + policy_of(core)->loop_wait_ms;
        (void)op_begin(step, OP_CHECKPOINT, NULL);
    }
}

/* Alive, but no new session works: for how long already (hazard PG-01). */
static bool is_unresponsive(const struct core *core)
{
    int64_t limit_ms = policy_of(core)->primary_start_timeout_ms;
    const struct local *local = core->local;

    return limit_ms > 0 && local->postmaster == POSTMASTER_UP && local->sql_ok_at_ms != 0 &&
           core->now_ms - local->sql_ok_at_ms > limit_ms;
}

/* A release is under way, or was not answered and no read has shown the key since. */
static bool is_key_doubtful(const struct core *core)
{
    return core->calls[CALL_LEADER_RELEASE].in_flight ||
           (core->key.doubted_at_ms != 0 &&
            core->view_read_sent_at_ms <= core->key.doubted_at_ms);
}

void serve(struct step *step)
{
    struct core *core = step->core;
    const struct local *local = core->local;

    if (core->paused)
        core->unfit = REASON_NONE; /* whoever paused looks after the server */
    if (is_key_doubtful(core))
        return; /* nothing is begun on a key that may be gone already */
    if (release_unfit(step) || handover(step) || people_serve(step) || op_is_running(core))
        return;
    if (core->paused && !core->taken_on_request) {
        explain(step, REASON_PAUSED, NULL, 0);
        return;
    }
    if (local->data_dir == DATA_DIR_GONE || local->data_dir == DATA_DIR_EMPTY ||
        local->data_dir == DATA_DIR_HALF) {
        cannot_serve(step, REASON_DIRECTORY_GONE);
        return;
    }
    if (is_unresponsive(core) && has_successor(core)) {
        serve_release_unfit(step, REASON_PRIMARY_UNRESPONSIVE);
        return;
    }
    switch (local->postmaster) {
    case POSTMASTER_DOWN:
        serve_down(step);
        break;
    case POSTMASTER_STARTING:
    case POSTMASTER_STOPPING:
        break; /* its end is an event */
    case POSTMASTER_UP:
        if (server_is_running_standby(core))
            promote(step);
        else if (local->sql_valid)
            serve_primary(step);
        break;
    }
}

void serve_on_call(struct step *step, const struct event *event)
{
    struct core *core = step->core;

    if (event->u.call.call == CALL_TIMELINE_CLAIM) {
        /* Without a number it is the answer to a claim under a key that we have lost since. */
        core->key.claimed =
            event->u.call.outcome == OUTCOME_OK && core->key.claim_timeline != 0;
        if (!core->key.claimed)
            core->read_at_ms = core->now_ms;
    }
}

void serve_on_op(struct step *step, enum op_kind kind, enum op_result result)
{
    struct core *core = step->core;

    if (kind == OP_CHECKPOINT && result == OP_RESULT_OK && core->handover.phase == SWITCH_NONE) {
        core->checkpoint_pending = false;
        core->member_dirty = true;
    }
    if (kind == OP_PROMOTE && result == OP_RESULT_OK) {
        note(step, REASON_PROMOTE_DONE, NULL, local_timeline(core->local));
        core->checkpoint_pending = true;
        core->status_due = true;
        core->key.claimed = false;
    }
    if (!key_is_ours(core))
        return;
    if (kind == OP_PROMOTE && (result == OP_RESULT_FAILED || result == OP_RESULT_TIMEOUT)) {
        core->key.claimed = false;
        cannot_serve(step, REASON_PROMOTE_FAILED);
    }
    if (kind == OP_START_PRIMARY && result == OP_RESULT_OK)
        core->status_due = true;
    if (kind == OP_START_PRIMARY && (result == OP_RESULT_FAILED || result == OP_RESULT_TIMEOUT))
        cannot_serve(step, REASON_START_FAILED);
}
