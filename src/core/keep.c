/* Housekeeping, at the pace of loop_wait: our member key, and as the holder of the key status,
 * history, initialize, configuration. Slots are kept by every member. */
#include <string.h>

#include "internal.h"

static void keep_member(struct step *step)
{
    struct core *core = step->core;
    enum pg_state state = status_pg_state(core);
    enum pg_role role = status_pg_role(core);

    if (core->lease.id == 0 || core->local == NULL)
        return;
    if (state != core->told_state || role != core->told_role ||
        core->local->replication_state != core->told_replication ||
        local_timeline(core->local) != core->told_timeline ||
        core->local->pending_restart != core->told_pending_restart)
        core->member_dirty = true;
    if (!core->member_dirty || !call_is_ready(core, CALL_MEMBER_PUT))
        return;
    core->member_dirty = false;
    core->told_state = state;
    core->told_role = role;
    core->told_replication = core->local->replication_state;
    core->told_timeline = local_timeline(core->local);
    core->told_pending_restart = core->local->pending_restart;
    (void)call_begin(step, CALL_MEMBER_PUT);
}

static void keep_status(struct step *step)
{
    struct core *core = step->core;
    const struct local *local = core->local;

    if (!core->status_due || !local->sql_valid || local->in_recovery || local->flush_lsn == 0 ||
        !call_is_ready(core, CALL_STATUS_PUT))
        return;
    core->status_due = false;
    if (local->flush_lsn == core->status_sent_lsn && core->view->status_present &&
        core->view->optime_lsn == local->flush_lsn)
        return;
    core->status_sent_lsn = local->flush_lsn;
    call_begin(step, CALL_STATUS_PUT)->u.call.lsn = local->flush_lsn;
}

/* The last row of history must describe how our timeline began. */
static void keep_history(struct step *step)
{
    struct core *core = step->core;
    const struct view *view = core->view;
    const struct local *local = core->local;
    bool is_first = local->timeline == 1 && view->history_count == 0;

    if (!local->sql_valid || local->in_recovery || local->timeline == 0 || is_first ||
        view->history_timeline == local->timeline || !call_is_ready(core, CALL_HISTORY_PUT))
        return;
    call_begin(step, CALL_HISTORY_PUT)->u.call.timeline = local->timeline;
}

/* Keys that belong to the cluster and that only its leader may write again (hazard ET-05). */
static void keep_cluster_keys(struct step *step)
{
    struct core *core = step->core;
    const struct view *view = core->view;

    if ((view->init_state == INIT_ABSENT || view->init_state == INIT_INVALID ||
         view->init_state == INIT_RUNNING) &&
        call_is_ready(core, CALL_INIT_WRITE) && view->revision >= core->key.create_revision) {
        note(step, REASON_INIT_RESTORED, NULL, 0);
        call_begin(step, CALL_INIT_WRITE)->u.call.sysid = core->local->sysid;
    }
    if (!view->config_present && call_is_ready(core, CALL_CONFIG_RESTORE) &&
        view->revision >= core->key.create_revision) {
        note(step, REASON_CONFIG_RESTORED, NULL, 0);
        (void)call_begin(step, CALL_CONFIG_RESTORE);
    }
}

static void keep_config(struct step *step)
{
    struct core *core = step->core;
    const struct view *view = core->view;

    if (view->config_present && view->config_mod_revision != core->config_seen_revision) {
        core->config_seen_revision = view->config_mod_revision;
        core->conf_stale = true;
    }
    if (!core->conf_stale)
        return;
    core->conf_stale = false;
    conf_apply(step);
}

/* Silence is said once, and so is its end. It counts from our start, when etcd was away before. */
static void watch_etcd(struct step *step)
{
    struct core *core = step->core;
    const struct policy *policy = policy_of(core);
    int64_t silent_ms = core->now_ms - max_ms(core->etcd_seen_at_ms, core->silent_since_ms);
    bool is_silent = silent_ms > policy->loop_wait_ms + policy->retry_timeout_ms;

    if (is_silent == core->etcd_is_silent)
        return;
    core->etcd_is_silent = is_silent;
    if (!is_silent)
        core->etcd_back_at_ms = core->now_ms;
    note(step, is_silent ? REASON_ETCD_SILENT : REASON_ETCD_BACK, NULL, silent_ms);
}

void keep_house(struct step *step)
{
    struct core *core = step->core;

    watch_etcd(step);
    if (core->view == NULL || core->local == NULL)
        return;
    /* A policy that was just read may want a quicker pace than the one we began with. */
    core->tick_at_ms = min_ms(core->tick_at_ms, core->now_ms + policy_of(core)->loop_wait_ms);
    bool is_tick = core->tick_at_ms <= core->now_ms;
    if (is_tick) {
        core->tick_at_ms = core->now_ms + policy_of(core)->loop_wait_ms;
        core->member_dirty = true;
        core->status_due = true;
    }
    keep_member(step);
    keep_config(step);
    race_watch_holder(step);
    if (core->local->data_dir == DATA_DIR_VALID && right_holds(core) && !core->stopping) {
        keep_status(step);
        if (is_tick || core->checkpoint_pending)
            keep_history(step);
        keep_cluster_keys(step);
    }
    if (is_tick || slots_are_due(core))
        slots_keep(step);
}

/* Calls that are decided by comparing the view with what it should be: until it shows their
 * effect (or why they were refused) the same comparison would send them again. */
static bool is_seen_in_view(enum call call)
{
    return call == CALL_HISTORY_PUT || call == CALL_CONFIG_RESTORE || call == CALL_INIT_WRITE ||
           call == CALL_LEADER_RELEASE || call == CALL_FAILOVER_CLEAR ||
           call == CALL_LEADER_MOVE || call == CALL_INIT_RACE;
}

void keep_on_call(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    enum call_outcome outcome = event->u.call.outcome;

    if ((outcome == OUTCOME_OK || outcome == OUTCOME_REFUSED) &&
        is_seen_in_view(event->u.call.call))
        core->calls[event->u.call.call].after_revision = event->u.call.revision;

    if (outcome == OUTCOME_OK && event->u.call.sent_at_ms != 0)
        core->etcd_seen_at_ms = core->now_ms;
    if (event->u.call.call == CALL_MEMBER_PUT && outcome != OUTCOME_OK)
        core->member_dirty = true;
    if (event->u.call.call == CALL_STATUS_PUT && outcome != OUTCOME_OK)
        core->status_sent_lsn = 0;
    if (outcome == OUTCOME_LEASE_GONE && event->u.call.call != CALL_LEASE_ASK)
        core->lease.renew_now = true; /* the keepalive tells for certain */
    if (outcome == OUTCOME_REFUSED && event->u.call.call != CALL_LEADER_ACQUIRE)
        core->read_at_ms = core->now_ms; /* our picture is not the present one */
}
