#include "pgheir/core/core.h"

#include <string.h>

#include "internal.h"

enum {
    DEFAULT_TTL_MS = 30000,
    LATE_MS = 1000, /* woken this late, we were frozen or starved */
    IDLE_MAX_MS = 1000
};

void core_init(struct core *core, const struct identity *identity, uint64_t seed,
               const struct core_saved *saved, int64_t now_ms)
{
    memset(core, 0, sizeof *core);
    core->identity = *identity;
    prng_seed(&core->prng, seed);
    core->now_ms = now_ms;
    core->silent_since_ms = now_ms;
    core->planned_at_ms = INT64_MAX; /* nothing is planned yet, so the first step cannot be late */
    policy_init(&core->policy);
    core->lease.ttl_ms = DEFAULT_TTL_MS;
    core->conf_stale = true;
    core->follow.check_wanted = true;
    core->member_dirty = true;
    if (saved == NULL || saved->version != CORE_SAVED_VERSION)
        return;
    core->saved = *saved;
    core->lease.id = saved->lease_id;
    core->lease.ttl_ms = saved->lease_ttl_ms;
    core->lease.asked_ttl_ms = saved->asked_ttl_ms;
    core->lease.sent_at_ms = saved->keepalive_sent_at_ms;
    core->lease.renew_now = true;
    core->key.create_revision = saved->leader_create_revision;
    if (saved->leader_create_revision != 0)
        core->key.fence_until_ms = saved->fence_until_ms;
    else
        core->grace_until_ms = saved->fence_until_ms; /* and no second one for the same writer */
    core->key.hold_until_ms = saved->hold_until_ms;
    memcpy(core->key.hold_for, saved->hold_for, NAME_SIZE - 1);
    core->paused = saved->pause_confirmed != 0;
    core->pause_is_confirmed = core->paused;
    core->crash.count = (int32_t)saved->crash_count;
    core->crash.window_at_ms = saved->crash_window_at_ms;
    core->cluster_id = saved->cluster_id;
    if (core->key.create_revision != 0) {
        core->fence_sent_kind = core->paused ? FENCE_DISARMED : FENCE_UNTIL;
        core->fence_sent_until_ms = core->paused ? 0 : saved->fence_until_ms;
    }
}

void core_save(const struct core *core, struct core_saved *ret_saved)
{
    memset(ret_saved, 0, sizeof *ret_saved);
    ret_saved->version = CORE_SAVED_VERSION;
    ret_saved->lease_id = core->lease.id;
    ret_saved->lease_ttl_ms = core->lease.ttl_ms;
    ret_saved->asked_ttl_ms = core->lease.asked_ttl_ms;
    ret_saved->keepalive_sent_at_ms = core->lease.sent_at_ms;
    ret_saved->leader_create_revision = core->key.create_revision;
    ret_saved->fence_until_ms = right_until_ms(core);
    ret_saved->pause_confirmed = core->pause_is_confirmed ? 1 : 0;
    ret_saved->crash_count = core->crash.count;
    ret_saved->crash_window_at_ms = core->crash.window_at_ms;
    ret_saved->cluster_id = core->cluster_id;
    ret_saved->hold_until_ms = core->key.hold_until_ms;
    memcpy(ret_saved->hold_for, core->key.hold_for, NAME_SIZE);
}

/* --- absorbing events
 * ------------------------------------------------------------------------------- */

static void set_pause(struct step *step, bool paused)
{
    struct core *core = step->core;

    if (core->paused == paused)
        return;
    if (!paused && core->pause_is_confirmed && key_is_ours(core) &&
        core->now_ms >= right_until_ms(core) - demote_lead_ms(core)) {
        /* The fence is armed again before the resume acts, and for that the right must be
         * confirmed: the pause lasts until then, or until the key turns out to be lost. */
        core->lease.renew_now = core->lease.id != 0;
        return;
    }
    core->paused = paused;
    core->pause_is_confirmed = false;
    core->member_dirty = true;
    if (paused) {
        note(step, REASON_PAUSE_BEGIN, NULL, 0);
        return;
    }
    /* The world may have changed meanwhile: everything is looked at again before anything is
     * done. A primary without the key gets one ttl to win it (guard.c). */
    note(step, REASON_PAUSE_END, NULL, 0);
    core->follow.check_wanted = true;
    core->key.confirm_wanted = key_is_ours(core);
    core->lease.renew_now = core->lease.id != 0;
}

/* The fence is disarmed only once a read has shown the pause that was sent a moment ago: what was
 * on its way to us while we were frozen may be long over. */
static void confirm_pause(struct step *step, const struct event *event)
{
    struct core *core = step->core;

    if (!core->paused || core->pause_is_confirmed)
        return;
    core->pause_is_confirmed =
        event->u.view.from_read && core->policy.pause &&
        core->now_ms - event->u.view.sent_at_ms <= core->policy.retry_timeout_ms;
    if (!core->pause_is_confirmed)
        core->read_at_ms = core->now_ms;
}

/* Another etcd answers at the old addresses. Revisions and leases of the old one mean nothing in
 * it: our key, if we had it, has vanished. */
static void forget_store(struct step *step)
{
    struct core *core = step->core;

    lease_forget_store(step);
    for (int call = 0; call < CALL_COUNT; call++) {
        core->calls[call].after_revision = 0;
        core->calls[call].is_of_old_store = core->calls[call].in_flight;
    }
    core->bootstrap_revision = 0;
    core->handover.request_revision = 0;
    core->config_seen_revision = 0;
    core->member_dirty = true;
}

/* What stands in etcd, or was seen there last; until then what we were given. */
static void take_policy(struct core *core)
{
    const struct policy *new = &core->view->policy;
    int64_t old_ms = core->policy.loop_wait_ms + core->policy.retry_timeout_ms;

    if (!core->view->config_present && core->policy_is_seen)
        return;
    /* Reads were as rare as the former timings allowed: that none came says nothing by these. */
    if (new->loop_wait_ms + new->retry_timeout_ms < old_ms && !core->etcd_is_silent) {
        core->silent_since_ms = core->now_ms;
        core->read_at_ms = core->now_ms;
    }
    core->policy = *new;
}

/* Whoever made the first view has just heard etcd. How long it was silent before is measured by
 * what that view says, for until then nothing else did. */
static void end_first_silence(struct core *core, const struct policy *policy)
{
    if (core->now_ms - core->silent_since_ms > policy->loop_wait_ms + policy->retry_timeout_ms)
        core->etcd_back_at_ms = core->now_ms;
    core->silent_since_ms = core->now_ms;
}

static void on_view(struct step *step, const struct event *event)
{
    struct core *core = step->core;

    if (core->view == NULL)
        end_first_silence(core, &event->u.view.view->policy);
    core->view = event->u.view.view;
    if (core->cluster_id != 0 && core->cluster_id != core->view->cluster_id)
        forget_store(step);
    core->cluster_id = core->view->cluster_id;
    take_policy(core);
    core->cluster_is_known = core->cluster_is_known || core->view->init_state == INIT_DONE;
    core->policy_is_seen = core->policy_is_seen || core->view->config_present;
    lease_on_view(step, event);
    set_pause(step, core->policy.pause);
    confirm_pause(step, event);
    race_on_view(step);
}

static void on_local(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    const struct local *local = event->u.local;
    bool was_up = core->known_postmaster_id != 0;
    bool is_expected = core->op.kind == OP_STOP || core->op.kind == OP_RESTART ||
                       core->op.kind == OP_BOOTSTRAP || core->op.kind == OP_START_PRIMARY ||
                       core->op.kind == OP_START_STANDBY || core->fenced;

    core->local = local;
    if (local->postmaster_id != core->known_postmaster_id) {
        bool is_new = local->postmaster != POSTMASTER_DOWN;
        core->known_postmaster_id = local->postmaster_id;
        core->member_dirty = true;
        if (is_new && local->adopted)
            note(step, REASON_ADOPTED, NULL, local->postmaster_id);
        if (is_new)
            core->fenced = false;
        if (was_up && !is_new && !is_expected && !core->paused)
            serve_count_crash(step);
        if (!is_new)
            core->follow.check_wanted = true;
    }
    if (local->postmaster != POSTMASTER_DOWN && local->sql_valid)
        core->was_primary = !local->in_recovery;
    if (local->postmaster_id != core->doubtful_postmaster_id ||
        (local->sql_valid && !local->in_recovery))
        core->doubtful_postmaster_id = 0;
    if (local->postmaster == POSTMASTER_DOWN) {
        core->grace_until_ms = 0; /* it was given to a writer that is gone */
        core->lease.was_lost = false;
    }
}

static void on_call(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    struct event unknown = *event;

    pgh_assert(event->u.call.call < CALL_COUNT);
    if (core->calls[event->u.call.call].is_of_old_store) {
        /* Whatever it did, it did to keys that are gone: a key won there is not ours here, and its
         * revision would wait for a view that never comes. */
        unknown.u.call.outcome = OUTCOME_UNKNOWN;
        event = &unknown;
    }
    /* What was refused waits as well: the view that tells why may take its time. */
    call_end(core, event->u.call.call, event->u.call.outcome == OUTCOME_OK);
    keep_on_call(step, event);
    lease_on_call(step, event);
    if (core->view == NULL || core->local == NULL)
        return;
    race_on_call(step, event);
    bootstrap_on_call(step, event);
    serve_on_call(step, event);
    if (event->u.call.call == CALL_LEADER_RELEASE) {
        handover_on_call(step, event);
        serve_on_release(step, event);
    }
}

static void on_op(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    enum op_kind kind = core->op.kind;
    enum op_result result = event->u.op.result;

    if (core->op.kind == OP_NONE || event->u.op.op_id != core->op.id)
        return; /* the completion of something that is not ours any more */
    core->member_dirty = true;
    core->op.kind = OP_NONE;
    if (kind == OP_PROMOTE && result != OP_RESULT_OK && core->local != NULL)
        core->doubtful_postmaster_id = core->local->postmaster_id;
    serve_on_op(step, kind, result);
    follow_on_op(step, kind, result);
    people_on_op(step, kind, result);
    bootstrap_on_op(step, kind, result);
    handover_on_op(step, kind, result);
}

static void absorb(struct step *step, const struct event *event)
{
    struct core *core = step->core;

    switch (event->kind) {
    case EVENT_TIMER:
        break;
    case EVENT_VIEW:
        on_view(step, event);
        break;
    case EVENT_CALL:
        on_call(step, event);
        break;
    case EVENT_LOCAL:
        on_local(step, event);
        break;
    case EVENT_OP_DONE:
        on_op(step, event);
        break;
    case EVENT_PEERS:
        race_on_peers(step, event);
        handover_on_peers(step, event);
        break;
    case EVENT_HISTORY:
        if (core->local != NULL)
            follow_on_history(step, event);
        break;
    case EVENT_REQUEST:
        people_on_request(step, event);
        break;
    case EVENT_SHUTDOWN:
        core->stopping = true;
        break;
    case EVENT_IDENTITY:
        core->identity = *event->u.identity;
        core->conf_stale = true;
        core->member_dirty = true;
        break;
    case EVENT_FENCED:
        note(step, REASON_FENCE_PASSED, NULL, 0);
        core->fenced = true;
        core->fence_sent_kind = FENCE_NONE;
        core->fence_sent_until_ms = 0;
        core->follow.check_wanted = true;
        break;
    case EVENT_COUNT:
        pgh_unreachable();
    }
}

/* --- deciding
 * ------------------------------------------------------------------------------------------ */

/* Woken late: what we know is old. Nothing is acted on before a read; the fence was compared
 * already. */
static void distrust(struct step *step)
{
    struct core *core = step->core;

    if (core->planned_at_ms == INT64_MAX || core->now_ms - core->planned_at_ms < LATE_MS)
        return;
    note(step, REASON_TILT, NULL, core->now_ms - core->planned_at_ms);
    core->read_at_ms = core->now_ms;
    if (core->race.phase == RACE_ASKING)
        core->race.phase = RACE_IDLE;
}

static bool is_foreign(struct step *step)
{
    struct core *core = step->core;
    const struct local *local = core->local;

    if (core->view->init_state != INIT_DONE || local->data_dir != DATA_DIR_VALID ||
        core->bootstrapping || local->sysid == core->view->sysid)
        return false;
    if (core->paused) {
        if (key_is_ours(core) && call_is_ready(core, CALL_LEADER_RELEASE))
            (void)call_begin(step, CALL_LEADER_RELEASE);
        explain(step, REASON_FOREIGN_SYSID, NULL, (int64_t)local->sysid);
        return true;
    }
    note(step, REASON_FOREIGN_SYSID, NULL, (int64_t)local->sysid);
    exit_agent(step, 1);
    return true;
}

static void decide_stop(struct step *step)
{
    struct core *core = step->core;

    if (core->pause_is_confirmed) {
        note(step, REASON_SHUTDOWN_DONE, NULL, 0);
        exit_agent(step, 0); /* PostgreSQL and the key are left as they are */
        return;
    }
    if (core->view == NULL || core->local == NULL || !key_is_ours(core)) {
        people_stop(step);
        return;
    }
    if (op_is_running(core) && core->handover.phase == SWITCH_NONE && core->op.kind != OP_STOP) {
        op_cancel(step);
        return;
    }
    if (!core->handover.is_shutdown)
        handover_begin_shutdown(step);
    (void)handover(step);
}

static void decide(struct step *step)
{
    struct core *core = step->core;

    if (core->handover.phase != SWITCH_NONE && !key_is_ours(core))
        handover_end(step);
    if (core->stopping) {
        decide_stop(step);
        return;
    }
    if (core->view == NULL || core->local == NULL || is_foreign(step))
        return;
    if (core->paused && !core->bootstrapping) {
        people_pause(step);
        return;
    }
    if (bootstrap(step))
        return;
    if (key_is_ours(core)) {
        serve(step);
        return;
    }
    if (people_serve(step))
        return;
    if (leader_name(core) == NULL)
        race(step);
    else if (!local_is_primary(core->local) || server_is_down(core))
        follow(step);
}

void core_step(struct core *core, const struct event *event, struct actions *actions)
{
    struct step step = {.core = core, .actions = actions};

    if (core->exiting)
        return;
    core->now_ms = event->now_ms;
    core->now_wall_ms = event->now_wall_ms;
    distrust(&step);
    bool is_demoting = core->local != NULL && event->kind != EVENT_LOCAL &&
                       event->kind != EVENT_OP_DONE && guard_demote(&step);
    absorb(&step, event);
    if (!core->exiting && core->local != NULL && !is_demoting)
        is_demoting = guard_demote(&step);
    if (!core->exiting)
        lease_upkeep(&step);
    if (!core->exiting && !is_demoting)
        decide(&step);
    if (!core->exiting)
        keep_house(&step);
    fence_send(&step);
    state_save(&step);
    core->planned_at_ms = core_deadline(core);
}

/* --- the one timer
 * ---------------------------------------------------------------------------------------- */

static int64_t sooner(const struct core *core, int64_t best_ms, int64_t at_ms)
{
    return at_ms > core->now_ms && at_ms < best_ms ? at_ms : best_ms;
}

int64_t core_deadline(const struct core *core)
{
    int64_t best_ms = core->now_ms + IDLE_MAX_MS;

    if (core->lease.id != 0)
        best_ms = sooner(core, best_ms, core->lease.renew_at_ms);
    best_ms = sooner(core, best_ms, core->read_at_ms);
    best_ms = sooner(core, best_ms, core->ask_lease_at_ms);
    best_ms = sooner(core, best_ms, core->tick_at_ms);
    best_ms = sooner(core, best_ms, demote_at_ms(core));
    best_ms = sooner(core, best_ms, core->key.fence_until_ms);
    best_ms = sooner(core, best_ms, core->grace_until_ms);
    best_ms = sooner(core, best_ms, core->key.hold_until_ms);
    best_ms = sooner(core, best_ms, core->race.next_at_ms);
    best_ms = sooner(core, best_ms, core->race.bench_until_ms);
    best_ms = sooner(core, best_ms, core->checkpoint_at_ms);
    best_ms = sooner(core, best_ms, core->handover.ask_at_ms);
    best_ms = sooner(core, best_ms, core->handover.deadline_ms);
    best_ms = sooner(core, best_ms, core->follow.ask_at_ms);
    best_ms = sooner(core, best_ms, core->follow.start_at_ms);
    best_ms = sooner(core, best_ms, core->follow.follow_at_ms);
    best_ms = sooner(core, best_ms, core->follow.rewind_at_ms);
    best_ms = sooner(core, best_ms, core->follow.clone_at_ms);
    for (int call = 0; call < CALL_COUNT; call++)
        best_ms = sooner(core, best_ms, core->calls[call].retry_at_ms);
    return best_ms;
}
