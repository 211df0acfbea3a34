/* No leader: who is fit, and the key's former holder. A race is won only by creating the leader
 * key. */
#include <string.h>

#include "internal.h"

enum {
    RACE_PACE_MS = 200,         /* between two rounds of questions */
    SILENT_PEER_WAIT_MS = 100,  /* nobody waits longer for one that was silent a moment ago */
    PRIMARY_PEER_WAIT_MS = 500, /* at most, before a live primary is asked again */
    AHEAD_PACE_MS = 1000,
    LEASE_SECOND_MS = 1000,     /* etcd tells whole seconds, rounded down */
    RENEWAL_SLACK_MS = 1500,    /* one of them, and half a second of tick */
    EXPIRY_SLACK_MS = 200,
    DEAD_END_MARGIN_MS = 2000
};

/* --- the former holder
 * -------------------------------------------------------------------------- */

static bool has_left_cleanly(const struct member *member)
{
    return member != NULL &&
           (member->role == PG_ROLE_DEMOTED || member->state == PG_STATE_STOPPED);
}

/* When the key went, the session that held it said that its server was stopped, not that it
 * crashed: it let go by itself, once the candidate had everything. Whoever comes back later
 * under that name with a server that is down has handed nothing over. */
static bool has_let_go(const struct core_former *former, const struct member *member)
{
    return member != NULL && member->lease_id == former->lease_id &&
           member->state == PG_STATE_STOPPED;
}

void race_on_view(struct step *step)
{
    struct core *core = step->core;
    struct core_former *former = &core->former;
    const char *leader = leader_name(core);

    if (key_is_ours(core) && core->key.hold_until_ms > core->now_ms)
        return; /* we wait for it: keep what we know of it */
    if (leader != NULL) {
        bool is_other = strcmp(leader, core->identity.name) != 0;
        if (!key_is_ours(core))
            core->key.vanished_at_ms = 0;
        former->ever = true;
        former->lost_at_ms = 0;
        former->left_cleanly = false;
        former->has_let_go = false;
        former->is_harmless = false;
        if (strcmp(former->name, leader) != 0 ||
            former->lease_id != core->view->leader_lease_id) {
            *former = (struct core_former){.ever = true, .lease_id = core->view->leader_lease_id};
            memcpy(former->name, leader, strlen(leader) + 1);
        }
        if (is_other && core->race.phase != RACE_ACQUIRING)
            core->race.phase = RACE_IDLE;
        if (is_other)
            core->race.stalled_since_ms = 0;
        return;
    }
    const struct member *member = view_find_member(core->view, former->name);
    if (former->lost_at_ms == 0) {
        former->lost_at_ms = core->now_ms;
        former->has_let_go = has_let_go(former, member);
        core->race.next_at_ms = core->now_ms;
    }
    if (has_left_cleanly(member))
        former->left_cleanly = true;
}

/* Until when the former holder may still write, as far as we can tell. 0: it cannot. */
static int64_t former_fence_ms(const struct core *core)
{
    const struct core_former *former = &core->former;
    const struct member *member = view_find_member(core->view, former->name);

    if (!former->ever || former->left_cleanly || former->is_harmless ||
        strcmp(former->name, core->identity.name) == 0)
        return 0;
    bool lease_lives = member != NULL && member->lease_id == former->lease_id;
    bool expired = !lease_lives && former->expires_at_ms != 0 &&
                   former->lost_at_ms >= former->expires_at_ms - EXPIRY_SLACK_MS;
    /* A lease that ran out takes the fence with it. A key that was deleted, or a lease revoked
     * early, does not: its holder may write for up to one ttl after the last proof that it could
     * still be renewed. Neither does a lease that ran out while the holder's clock stood still (a
     * virtual machine was paused), and that one can only be known from its own words. */
    if (!expired)
        return former->lost_at_ms + core->lease.ttl_ms;
    /* And what seems to have run out may have been revoked in its last second. */
    return max_ms(former->told_until_ms,
                  former->expires_by_ms - policy_fence_margin_ms(core->lease.ttl_ms));
}

/* While somebody else leads: how long its lease still lasts, and whether it is silent. */
void race_watch_holder(struct step *step)
{
    struct core *core = step->core;
    struct core_former *former = &core->former;

    if (leader_name(core) == NULL || key_is_ours(core) || former->lease_id == 0)
        return;
    if (core->ask_lease_at_ms <= core->now_ms && call_is_ready(core, CALL_LEASE_ASK)) {
        call_begin(step, CALL_LEASE_ASK)->u.call.lease_id = former->lease_id;
        core->ask_lease_at_ms = core->now_ms + policy_of(core)->loop_wait_ms;
    }
}

/* The last second of a lease begins with the first answer that tells it, unless it may have been
 * renewed between that one and this. */
static void bound_lease(struct core *core, const struct event *event)
{
    struct core_former *former = &core->former;
    int64_t left_ms = max_ms(event->u.call.ttl_ms, 0) + LEASE_SECOND_MS;
    int64_t apart_ms = core->now_ms - former->answer_sent_at_ms;
    bool is_renewed = left_ms > core->lease.ttl_ms - apart_ms;

    if (is_renewed || former->expires_by_ms > core->now_ms + left_ms)
        former->expires_by_ms = core->now_ms + left_ms;
    former->answer_sent_at_ms = event->u.call.sent_at_ms;
}

static void on_lease_answer(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    struct core_former *former = &core->former;
    int64_t ttl_ms = core->lease.ttl_ms;

    if (event->u.call.outcome != OUTCOME_OK || event->u.call.lease_id != former->lease_id)
        return;
    former->expires_at_ms = event->u.call.sent_at_ms + max_ms(event->u.call.ttl_ms, 0);
    bound_lease(core, event);
    int64_t usual_ms = ttl_ms - policy_renew_interval_ms(ttl_ms) - RENEWAL_SLACK_MS;
    if (event->u.call.ttl_ms >= usual_ms)
        return;
    /* It missed a renewal. Connections and names are made ready before they are needed. */
    core->ask_lease_at_ms = core->now_ms + AHEAD_PACE_MS / 2;
    if (former->asked_ahead_at_ms + AHEAD_PACE_MS <= core->now_ms && former->lost_at_ms == 0) {
        former->asked_ahead_at_ms = core->now_ms;
        former->ahead_id = peers_ask(step, AHEAD_PACE_MS, NULL);
    }
}

/* --- eligibility
 * ---------------------------------------------------------------------------------- */

static bool request_is_due(const struct core *core)
{
    const struct failover_request *request = &core->view->failover;

    return request->present && request->scheduled_at_wall_ms <= core->now_wall_ms;
}

static bool am_named_candidate(const struct core *core)
{
    return request_is_due(core) &&
           strcmp(core->view->failover.candidate, core->identity.name) == 0;
}

/* A failover by a person, not a switchover: waives lag, timeline and /sync, never the key. */
static bool am_forced(const struct core *core)
{
    return am_named_candidate(core) && core->view->failover.leader[0] == '\0';
}

static bool is_in_sync(const struct core *core)
{
    const struct view *view = core->view;

    if (!view->sync_present || view->sync_leader[0] == '\0')
        return true;
    if (strcmp(view->sync_leader, core->identity.name) == 0)
        return true;
    for (int32_t i = 0; i < view->sync_count; i++)
        if (strcmp(view->sync_standby[i], core->identity.name) == 0)
            return true;
    return false;
}

/* What keeps us out of the race whatever the others say; REASON_NONE if nothing does. */
static enum reason own_obstacle(const struct core *core, int64_t *ret_value)
{
    const struct view *view = core->view;
    uint64_t position_lsn = local_position_lsn(core->local);

    *ret_value = 0;
    if (core->identity.tags.nofailover)
        return REASON_RACE_NOFAILOVER;
    if (core->race.bench_until_ms > core->now_ms) {
        *ret_value = core->race.bench_until_ms - core->now_ms;
        return REASON_RACE_BENCHED;
    }
    if (position_lsn == 0)
        return REASON_RACE_NOT_READY;
    if (am_forced(core))
        return REASON_NONE;
    if (!is_in_sync(core))
        return REASON_RACE_NOT_IN_SYNC;
    if (!view_is_on_history(view, local_timeline(core->local), position_lsn)) {
        *ret_value = local_timeline(core->local);
        return REASON_RACE_TIMELINE;
    }
    int64_t lag_bytes =
        view->optime_lsn > position_lsn ? (int64_t)(view->optime_lsn - position_lsn) : 0;
    if (lag_bytes > policy_of(core)->maximum_lag_on_failover_bytes) {
        *ret_value = lag_bytes;
        return REASON_RACE_LAG;
    }
    return REASON_NONE;
}

/* --- the others' answers
 * ---------------------------------------------------------------------------- */

struct verdict {
    enum reason reason; /* REASON_NONE: nobody stands in the way */
    const char *member;
    int64_t value;
    int64_t again_ms; /* ask again after this */
};

static void judge_primary(struct verdict *verdict, const struct peer_answer *peer)
{
    verdict->reason = REASON_RACE_PEER_PRIMARY;
    verdict->member = peer->name;
    verdict->value = peer->fence_left_ms;
    verdict->again_ms = peer->fence_left_ms > 0
                            ? min_ms(peer->fence_left_ms, PRIMARY_PEER_WAIT_MS)
                            : RACE_PACE_MS;
}

/* etcd is away or slow for us as well, or was a moment ago: a peer that does not hear it is no
 * worse off than we are. */
static bool is_etcd_poor_for_us(const struct core *core)
{
    return core->etcd_is_silent ||
           (core->etcd_back_at_ms != 0 &&
            core->now_ms - core->etcd_back_at_ms < policy_of(core)->retry_timeout_ms);
}

static bool peer_could_win(const struct core *core, const struct peer_answer *peer)
{
    return peer->reachable && peer->running && !peer->is_primary && !peer->nofailover &&
           !peer->watchdog_failed && (!peer->etcd_silent || is_etcd_poor_for_us(core)) &&
           peer->received_lsn > 0 &&
           view_find_member(core->view, peer->name) != NULL &&
           (peer->timeline == 0 ||
            view_is_on_history(core->view, peer->timeline, peer->received_lsn));
}

/* Does this peer, fit itself, go before us? */
static enum reason judge_standby(const struct core *core, const struct peer_answer *peer)
{
    uint64_t position_lsn = local_position_lsn(core->local);
    const struct failover_request *request = &core->view->failover;
    bool is_former = strcmp(peer->name, core->former.name) == 0;

    if (request_is_due(core) && strcmp(request->candidate, peer->name) == 0)
        return REASON_RACE_NOT_CANDIDATE;
    if (request_is_due(core) && strcmp(request->leader, core->identity.name) == 0)
        return REASON_RACE_NOT_CANDIDATE; /* we have just handed over: anybody else first */
    if (peer->received_lsn > position_lsn)
        return REASON_RACE_PEER_AHEAD;
    if (peer->received_lsn == position_lsn && !is_former &&
        peer->failover_priority > core->identity.tags.failover_priority)
        return REASON_RACE_PEER_PRIORITY;
    return REASON_NONE;
}

static struct verdict judge_peers(const struct core *core, const struct event *event)
{
    struct verdict verdict = {.reason = REASON_NONE, .again_ms = RACE_PACE_MS};
    int64_t patience_ms = core->lease.ttl_ms + DEAD_END_MARGIN_MS;
    bool is_stalled = core->race.stalled_since_ms != 0 &&
                      core->now_ms - core->race.stalled_since_ms > patience_ms;

    for (int32_t i = 0; i < event->u.peers.count; i++) {
        const struct peer_answer *peer = &event->u.peers.answers[i];
        if (peer->reachable && peer->is_primary) {
            judge_primary(&verdict, peer);
            return verdict; /* whoever writes goes before everything else */
        }
        if (am_forced(core) || !peer_could_win(core, peer))
            continue;
        enum reason reason = judge_standby(core, peer);
        /* Only being ahead is worth waiting for without end; a candidate or a better priority
         * that does not take the key must not become a dead end. */
        if (reason == REASON_NONE || (is_stalled && reason != REASON_RACE_PEER_AHEAD))
            continue;
        verdict.reason = reason;
        verdict.member = peer->name;
        verdict.value = (int64_t)peer->received_lsn;
    }
    return verdict;
}

static void acquire(struct step *step)
{
    struct core *core = step->core;

    if (core->lease.id == 0 || !call_is_ready(core, CALL_LEADER_ACQUIRE)) {
        core->race.phase = RACE_IDLE;
        core->race.next_at_ms = core->now_ms + RACE_PACE_MS;
        return;
    }
    core->race.phase = RACE_ACQUIRING;
    (void)call_begin(step, CALL_LEADER_ACQUIRE);
}

static void mark_former(struct core *core, const struct event *event)
{
    for (int32_t i = 0; i < event->u.peers.count; i++) {
        const struct peer_answer *peer = &event->u.peers.answers[i];
        if (strcmp(peer->name, core->former.name) != 0)
            continue;
        core->former.is_silent = !peer->reachable;
        if (peer->reachable) {
            bool may_write = peer->is_primary && peer->fence_left_ms > 0;
            core->former.told_until_ms = may_write ? core->now_ms + peer->fence_left_ms : 0;
        }
        if (peer->reachable && !peer->is_primary && core->former.lost_at_ms != 0 &&
            (!peer->is_pgheir || peer->fence_left_ms <= 0))
            core->former.is_harmless = true;
    }
}

static void ask(struct step *step, bool is_hasty)
{
    struct core *core = step->core;
    int64_t wait_ms = policy_race_wait_ms(core->lease.ttl_ms);

    core->race.is_hasty = is_hasty;
    core->race.phase = RACE_ASKING;
    core->race.ask_id =
        peers_ask(step, is_hasty ? min_ms(wait_ms, SILENT_PEER_WAIT_MS) : wait_ms, NULL);
}

/* Somebody besides the former holder did not answer: a short round may have been too short. */
static bool others_are_silent(const struct core *core, const struct event *event)
{
    for (int i = 0; i < event->u.peers.count; i++) {
        const struct peer_answer *peer = &event->u.peers.answers[i];
        if (!peer->reachable && strcmp(peer->name, core->former.name) != 0)
            return true;
    }
    return false;
}

void race_on_peers(struct step *step, const struct event *event)
{
    struct core *core = step->core;

    if (event->u.peers.ask_id == core->former.ahead_id) {
        core->former.ahead_id = 0;
        mark_former(core, event);
        return;
    }
    if (event->u.peers.ask_id != core->race.ask_id)
        return;
    mark_former(core, event);
    if (core->race.phase != RACE_ASKING)
        return;
    core->race.phase = RACE_IDLE;
    int64_t value = 0;
    core->race.next_at_ms = core->now_ms + RACE_PACE_MS;
    if (leader_name(core) != NULL || (core->paused && !am_named_candidate(core)) ||
        core->stopping || op_is_running(core) ||
        !server_is_running_standby(core) || core->local->data_dir != DATA_DIR_VALID ||
        core->view->init_state != INIT_DONE || core->local->sysid != core->view->sysid ||
        own_obstacle(core, &value) != REASON_NONE)
        return;
    struct verdict verdict = judge_peers(core, event);
    if (verdict.reason == REASON_NONE && core->race.is_hasty && others_are_silent(core, event)) {
        ask(step, false);
        return;
    }
    if (verdict.reason == REASON_NONE) {
        acquire(step);
        return;
    }
    if (core->race.stalled_since_ms == 0)
        core->race.stalled_since_ms = core->now_ms;
    core->race.next_at_ms = core->now_ms + verdict.again_ms;
    explain(step, verdict.reason, verdict.member, verdict.value);
}

/* --- the race
 * ---------------------------------------------------------------------------------------- */

/* Somebody has led after us, while our virtual machine was paused or we were out of reach. For a
 * standby the place where a timeline ended is still on the cluster's line; a primary that stands
 * there writes on beside it. What was announced and not promoted counts only if our lease did not
 * last. */
static bool was_succeeded(const struct core *core)
{
    const struct view *view = core->view;
    uint32_t timeline = local_timeline(core->local);

    return view->history_timeline > timeline ||
           (core->lease.was_lost && view->claimed_timeline > timeline);
}

static void race_as_primary(struct step *step)
{
    struct core *core = step->core;
    const struct view *view = core->view;

    /* A lease that ended without our knowing (a virtual machine was paused) leaves time for
     * somebody else to have led. The history tells it, and where that was deleted, too, nothing
     * does: then the key is raced for as a standby, which asks who may still write. */
    bool is_unsure = view->init_state != INIT_DONE && core->lease.was_lost;
    if (is_unsure || (view->init_state == INIT_RUNNING && core->key.vanished_at_ms == 0)) {
        explain(step, REASON_WAIT_BOOTSTRAP, NULL, 0);
        return;
    }
    if (view->init_state == INIT_DONE &&
        (was_succeeded(core) || !view_is_on_history(view, local_timeline(core->local),
                                                    local_position_lsn(core->local)))) {
        explain(step, REASON_RACE_TIMELINE, NULL, local_timeline(core->local));
        return;
    }
    if (core->race.phase != RACE_ACQUIRING && core->lease.id != 0 &&
        call_is_ready(core, CALL_LEADER_ACQUIRE))
        acquire(step);
}

/* A cluster without the key "initialize": only data that was a primary's may give it its
 * identity. */
static void race_without_init(struct step *step)
{
    struct core *core = step->core;
    const struct local *local = core->local;
    bool was_primary = !local->has_standby_signal &&
                       (local->control_state == CONTROL_SHUT_DOWN ||
                        local->control_state == CONTROL_IN_PRODUCTION || local_is_primary(local));

    if (core->view->init_state != INIT_RUNNING && was_primary) {
        if (call_is_ready(core, CALL_INIT_WRITE)) {
            struct action *action = call_begin(step, CALL_INIT_WRITE);
            action->u.call.sysid = local->sysid;
            action->u.call.create_revision = 0;
        }
        return;
    }
    explain(step, REASON_WAIT_BOOTSTRAP, NULL, 0);
}

static void ask_round(struct step *step)
{
    struct core *core = step->core;
    bool is_given = core->former.has_let_go &&
                    local_position_lsn(core->local) >= core->view->optime_lsn;

    if (am_named_candidate(core) && (am_forced(core) ? core->former.left_cleanly : is_given)) {
        if (am_forced(core))
            explain(step, REASON_FAILOVER_FORCED, NULL, 0);
        acquire(step); /* its releaser has seen that we have everything */
        return;
    }
    if (core->reason != REASON_RACE_PEER_AHEAD && core->reason != REASON_RACE_PEER_PRIMARY &&
        core->reason != REASON_RACE_PEER_PRIORITY && core->reason != REASON_RACE_NOT_CANDIDATE)
        explain(step, REASON_RACE_BEGIN, NULL, 0);
    ask(step, core->former.is_silent);
}

void race(struct step *step)
{
    struct core *core = step->core;
    int64_t value = 0;

    if (op_is_running(core) || core->view == NULL)
        return;
    if (local_is_primary(core->local)) {
        race_as_primary(step);
        return;
    }
    if (core->view->init_state != INIT_DONE) {
        race_without_init(step);
        if (core->view->init_state != INIT_DONE)
            return;
    }
    if (server_is_down(core)) {
        follow_start_alone(step);
        return;
    }
    if (!server_is_running_standby(core)) {
        explain(step, REASON_RACE_NOT_READY, NULL, 0);
        return;
    }
    enum reason obstacle = own_obstacle(core, &value);
    if (obstacle != REASON_NONE) {
        explain(step, obstacle, NULL, value);
        return;
    }
    if (core->race.phase == RACE_IDLE && core->race.next_at_ms <= core->now_ms &&
        core->lease.id != 0)
        ask_round(step);
}

/* The key is ours, by an answer or by a view: what is still to be seen to before a promotion. */
void race_won(struct core *core)
{
    int64_t hold_until_ms = core->local == NULL || local_is_primary(core->local)
                                ? 0
                                : former_fence_ms(core);

    core->taken_on_request = am_named_candidate(core);
    core->key.is_unproven = true;
    if (hold_until_ms <= core->now_ms)
        return;
    core->key.hold_until_ms = hold_until_ms;
    memcpy(core->key.hold_for, core->former.name, NAME_SIZE);
}

/* What would have kept us from asking for the key, had we known what the view shows now: a request
 * may hang in etcd, and meanwhile somebody else has the key, writes, and loses it. REASON_NONE if
 * nothing would. */
enum reason race_regret(const struct core *core, int64_t *ret_value)
{
    enum reason obstacle = own_obstacle(core, ret_value);
    bool is_of_others = obstacle == REASON_RACE_NOT_IN_SYNC || obstacle == REASON_RACE_TIMELINE ||
                        obstacle == REASON_RACE_LAG;

    return is_of_others && !core->taken_on_request ? obstacle : REASON_NONE;
}

static void on_acquired(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    bool is_recreated = core->key.vanished_at_ms != 0;

    core->race.phase = RACE_IDLE;
    core->race.stalled_since_ms = 0;
    key_won(step, event);
    if (request_is_due(core))
        core->handover.request_revision = core->view->failover.mod_revision; /* it is fulfilled */
    note(step, is_recreated ? REASON_KEY_RECREATED : REASON_RACE_WON, NULL, event->u.call.revision);
    race_won(core);
}

void race_on_call(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    enum call_outcome outcome = event->u.call.outcome;

    if (event->u.call.call == CALL_LEASE_ASK)
        on_lease_answer(step, event);
    if (event->u.call.call == CALL_INIT_WRITE && outcome == OUTCOME_OK && !key_is_ours(core)) {
        note(step, REASON_SYSID_ADOPTED, NULL, 0);
        core->read_at_ms = core->now_ms;
    }
    if (event->u.call.call != CALL_LEADER_ACQUIRE)
        return;
    if (outcome == OUTCOME_OK) {
        on_acquired(step, event);
        return;
    }
    core->race.phase = RACE_IDLE;
    core->race.next_at_ms = core->now_ms + RACE_PACE_MS;
    core->read_at_ms = core->now_ms;
    if (outcome == OUTCOME_REFUSED)
        explain(step, REASON_RACE_LOST, NULL, 0);
}
