/* Handing the key over: a switchover, a failover by a person while a leader lives, or a leader
 * that is asked to stop. Checkpoint first, see that it arrives, stop, let go of the key only
 * when a member has the shutdown record; when a step fails or hangs, back to being the primary
 * (DESIGN section 4). */
#include <string.h>

#include "internal.h"

enum {
    ASK_WAIT_MS = 2000,
    CONFIRM_WAIT_MS = 300,
    CONFIRM_PACE_MS = 20,
    CONFIRM_LIMIT_MS = 3000,
    CHECKPOINT_LIMIT_MS = 60000,
    /* A candidate that answers well may have a WAL receiver that stands still, and one that stands
     * still holds the stop for as long as it is waited for: an outage that ends where it began. So
     * the candidate must first receive the checkpoint's record, while we still serve. It always
     * moves within milliseconds if it lives; this long without a single byte, it is stuck. */
    PROBE_STUCK_MS = 2000,
    PROBE_LIMIT_MS = 30000,
    /* One that freezes only after that still costs this. It cannot be shorter by the same rule:
     * while the shutdown checkpoint is written, nothing moves on a healthy candidate either. */
    STOP_LIMIT_MS = 10000
};

static bool request_fits(const struct core *core)
{
    const struct failover_request *request = &core->view->failover;
    const char *me = core->identity.name;

    if (request->leader[0] != '\0' && strcmp(request->leader, me) != 0)
        return false;
    if (strcmp(request->candidate, me) == 0)
        return false;
    if (core->paused && request->candidate[0] == '\0')
        return false;
    return request->leader[0] != '\0' || request->candidate[0] != '\0';
}

static void clear_request(struct step *step)
{
    struct core *core = step->core;

    if (!core->view->failover.present || !call_is_ready(core, CALL_FAILOVER_CLEAR))
        return;
    struct action *action = call_begin(step, CALL_FAILOVER_CLEAR);
    action->u.call.mod_revision = core->view->failover.mod_revision;
}

/* The request as the view has it may be one that we have dealt with and whose clearing is under
 * way. */
static bool request_is_new(const struct core *core)
{
    const struct failover_request *request = &core->view->failover;

    return request->present && request->mod_revision > core->handover.request_revision;
}

void handover_end(struct step *step)
{
    struct core *core = step->core;
    int64_t revision = core->handover.request_revision;

    core->handover = (struct core_switch){.request_revision = revision};
}

static void give_up(struct step *step, enum reason why)
{
    struct core *core = step->core;

    explain(step, why, core->handover.candidate, 0);
    if (!core->handover.is_shutdown)
        clear_request(step);
    handover_end(step);
}

/* --- choosing
 * ---------------------------------------------------------------------------------------- */

static bool is_good(const struct core *core, const struct peer_answer *peer)
{
    const struct core_switch *handover = &core->handover;
    uint64_t position_lsn = local_position_lsn(core->local);
    int64_t lag_bytes =
        position_lsn > peer->received_lsn ? (int64_t)(position_lsn - peer->received_lsn) : 0;
    bool is_named = handover->candidate_named && strcmp(peer->name, handover->candidate) == 0;

    if (!peer->reachable || !peer->running || peer->is_primary || peer->watchdog_failed ||
        peer->received_lsn == 0)
        return false;
    if (handover->candidate_named && !is_named)
        return false;
    if (peer->nofailover || peer->etcd_silent)
        return false;
    if (handover->is_forced)
        return true;
    return (peer->timeline == 0 || peer->timeline == local_timeline(core->local)) &&
           lag_bytes <= policy_of(core)->maximum_lag_on_failover_bytes;
}

static const struct peer_answer *choose(const struct core *core, const struct event *event)
{
    const struct peer_answer *best = NULL;

    for (int32_t i = 0; i < event->u.peers.count; i++) {
        const struct peer_answer *peer = &event->u.peers.answers[i];
        if (!is_good(core, peer))
            continue;
        if (best == NULL || peer->failover_priority > best->failover_priority ||
            (peer->failover_priority == best->failover_priority &&
             peer->received_lsn > best->received_lsn))
            best = peer;
    }
    return best;
}

/* --- the steps
 * ----------------------------------------------------------------------------------------- */

static void begin_checkpoint(struct step *step)
{
    struct core *core = step->core;

    core->handover.phase = SWITCH_CHECKPOINT;
    op_begin(step, OP_CHECKPOINT, NULL)->u.op.deadline_ms = core->now_ms + CHECKPOINT_LIMIT_MS;
}

static void on_candidates(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    const struct peer_answer *best = choose(core, event);

    if (op_is_running(core) || !local_is_primary(core->local) ||
        (best == NULL && !core->handover.is_shutdown)) {
        give_up(step, REASON_SWITCHOVER_REJECTED);
        return;
    }
    if (best != NULL && !core->handover.is_shutdown)
        memcpy(core->handover.candidate, best->name, NAME_SIZE);
    begin_checkpoint(step);
}

static bool has_shutdown_record(const struct core *core, const struct peer_answer *peer)
{
    const struct core_switch *handover = &core->handover;

    if (!peer->reachable || !peer->running || peer->is_primary || peer->nofailover)
        return false;
    if (handover->candidate[0] != '\0' && !handover->is_shutdown &&
        strcmp(peer->name, handover->candidate) != 0)
        return false;
    /* A longer WAL of another timeline is not ours. */
    return peer->received_lsn >= handover->shutdown_lsn &&
           peer->timeline == local_timeline(core->local);
}

static void release(struct step *step)
{
    struct core *core = step->core;

    core->handover.phase = SWITCH_RELEASING;
    if (!call_is_ready(core, CALL_LEADER_RELEASE))
        return;
    struct action *action = call_begin(step, CALL_LEADER_RELEASE);
    action->u.call.lsn = core->local->control_checkpoint_lsn;
}

static void on_confirmation(struct step *step, const struct event *event)
{
    struct core *core = step->core;

    core->handover.ask_at_ms = core->now_ms + CONFIRM_PACE_MS;
    if (core->handover.is_forced && event->u.peers.count == 1)
        core->handover.candidate_lsn = event->u.peers.answers[0].received_lsn;
    for (int32_t i = 0; i < event->u.peers.count; i++) {
        if (!has_shutdown_record(core, &event->u.peers.answers[i]))
            continue;
        note(step, REASON_SWITCHOVER_RELEASE, event->u.peers.answers[i].name,
             (int64_t)core->handover.shutdown_lsn);
        release(step);
        return;
    }
}

static void begin_stop(struct step *step)
{
    struct core *core = step->core;

    core->handover.asking = false;
    explain(step, REASON_SWITCHOVER_STOP, core->handover.candidate, 0);
    core->handover.phase = SWITCH_STOPPING;
    stop_server(step, STOP_FAST, core->now_ms + STOP_LIMIT_MS, true);
}

static void begin_probe(struct step *step)
{
    struct core *core = step->core;
    struct core_switch *handover = &core->handover;

    handover->phase = SWITCH_PROBING;
    handover->probe_lsn = core->local->flush_lsn;
    handover->probed_lsn = 0;
    handover->probe_until_ms = core->now_ms + PROBE_LIMIT_MS;
    handover->deadline_ms = core->now_ms + PROBE_STUCK_MS;
    handover->ask_at_ms = core->now_ms;
}

static void on_probe(struct step *step, const struct event *event)
{
    struct core *core = step->core;
    struct core_switch *handover = &core->handover;
    const struct peer_answer *peer = event->u.peers.answers;

    handover->ask_at_ms = core->now_ms + CONFIRM_PACE_MS;
    if (event->u.peers.count != 1 || !peer->reachable || !peer->running || peer->is_primary ||
        op_is_running(core)) /* a demotion has begun */
        return;
    if (peer->received_lsn >= handover->probe_lsn) {
        begin_stop(step);
        return;
    }
    if (peer->received_lsn > handover->probed_lsn) {
        handover->probed_lsn = peer->received_lsn;
        handover->deadline_ms =
            min_ms(core->now_ms + PROBE_STUCK_MS, handover->probe_until_ms);
    }
}

void handover_on_peers(struct step *step, const struct event *event)
{
    struct core_switch *handover = &step->core->handover;

    if (!handover->asking || event->u.peers.ask_id != handover->ask_id)
        return;
    handover->asking = false;
    if (handover->phase == SWITCH_ASKING)
        on_candidates(step, event);
    else if (handover->phase == SWITCH_PROBING)
        on_probe(step, event);
    else if (handover->phase == SWITCH_CONFIRMING)
        on_confirmation(step, event);
}

static void probe(struct step *step)
{
    struct core *core = step->core;
    struct core_switch *handover = &core->handover;

    if (op_is_running(core))
        return;
    if (handover->is_shutdown) {
        begin_stop(step); /* asked to stop meanwhile: whoever has all of it in the end */
        return;
    }
    if (core->now_ms >= handover->deadline_ms || server_is_down(core) ||
        !local_is_primary(core->local)) {
        give_up(step, REASON_SWITCHOVER_REJECTED);
        return;
    }
    if (handover->asking || handover->ask_at_ms > core->now_ms)
        return;
    handover->asking = true;
    handover->ask_id = peers_ask(step, CONFIRM_WAIT_MS, handover->candidate);
}

static void begin_confirmation(struct core *core)
{
    core->handover.phase = SWITCH_CONFIRMING;
    core->handover.deadline_ms = core->now_ms + CONFIRM_LIMIT_MS;
    core->handover.ask_at_ms = core->now_ms;
}

static void after_stop(struct step *step, enum op_result result)
{
    struct core *core = step->core;

    if (result != OP_RESULT_OK || !server_is_down(core) ||
        core->local->control_state != CONTROL_SHUT_DOWN) {
        core->handover.phase = SWITCH_BACK;
        return;
    }
    core->handover.shutdown_lsn = core->local->control_end_lsn;
    begin_confirmation(core);
}

void handover_on_op(struct step *step, enum op_kind kind, enum op_result result)
{
    struct core *core = step->core;

    if (core->handover.phase == SWITCH_CHECKPOINT && kind == OP_CHECKPOINT) {
        if (core->handover.is_shutdown || (result == OP_RESULT_OK && core->handover.is_forced))
            begin_stop(step);
        else if (result == OP_RESULT_OK)
            begin_probe(step);
        else
            give_up(step, REASON_SWITCHOVER_REJECTED);
    } else if (core->handover.phase == SWITCH_STOPPING && kind == OP_STOP) {
        after_stop(step, result);
    }
}

/* No member could ever take over: then a clean stop lets go of the key at once (DESIGN section
 * 1). */
static bool has_heir(const struct core *core)
{
    const struct view *view = core->view;

    for (int32_t i = 0; i < view->member_count; i++)
        if (strcmp(view->members[i].name, core->identity.name) != 0 &&
            !view->members[i].tags.nofailover)
            return true;
    return false;
}

static void confirm(struct step *step)
{
    struct core *core = step->core;
    struct core_switch *handover = &core->handover;

    if (handover->is_shutdown && !has_heir(core)) {
        handover->is_heirless = true;
        release(step);
        return;
    }
    if (core->now_ms >= handover->deadline_ms) {
        handover->asking = false;
        if (!handover->is_forced) {
            handover->phase = SWITCH_BACK;
            return;
        }
        /* A person named the candidate for a failover: what it does not have is given up, and
         * said. */
        note(step, REASON_FAILOVER_FORCED, handover->candidate,
             (int64_t)(handover->shutdown_lsn - handover->candidate_lsn));
        release(step);
        return;
    }
    if (handover->asking || handover->ask_at_ms > core->now_ms)
        return;
    handover->asking = true;
    handover->ask_id = peers_ask(step, CONFIRM_WAIT_MS,
                                 handover->is_shutdown ? NULL : handover->candidate);
}

/* The release has not arrived. Let go of because nobody could take over, the key is for whoever
 * came meanwhile only like any other: with everything that we wrote, or once the lease is over. */
static void release_again(struct step *step)
{
    struct core *core = step->core;
    struct core_switch *handover = &core->handover;

    if (!handover->is_heirless || !has_heir(core)) {
        release(step);
        return;
    }
    handover->is_heirless = false;
    begin_confirmation(core);
    confirm(step);
}

/* Something failed or hung. A switchover starts the old primary again; a stop ends without a
 * release, so that nobody leads before the lease is over or somebody has everything. */
static void back(struct step *step)
{
    struct core *core = step->core;

    if (core->handover.is_shutdown) {
        explain(step, REASON_RELEASE_WAIT, NULL, 0);
        note(step, REASON_SHUTDOWN_DONE, NULL, 0);
        exit_agent(step, 0);
        return;
    }
    give_up(step, REASON_SWITCHOVER_BACK); /* serve() starts the server again */
}

void handover_on_call(struct step *step, const struct event *event)
{
    struct core *core = step->core;

    if (event->u.call.call != CALL_LEADER_RELEASE || core->handover.phase != SWITCH_RELEASING)
        return;
    if (event->u.call.outcome != OUTCOME_OK)
        return; /* sent again, or the next view shows that the key is gone */
    note(step, REASON_RELEASE_STOPPING, NULL, 0);
    core->race.next_at_ms = core->now_ms;
    if (core->handover.is_shutdown) {
        note(step, REASON_SHUTDOWN_DONE, NULL, 0);
        exit_agent(step, 0);
    }
    handover_end(step);
}

static void begin(struct step *step, bool is_shutdown)
{
    struct core *core = step->core;
    const struct failover_request *request = &core->view->failover;

    core->handover = (struct core_switch){
        .phase = SWITCH_ASKING,
        .is_shutdown = is_shutdown,
        .request_revision = core->handover.request_revision,
    };
    if (!is_shutdown) {
        core->handover.request_revision = request->mod_revision;
        core->handover.is_forced = request->leader[0] == '\0';
        core->handover.candidate_named = request->candidate[0] != '\0';
        memcpy(core->handover.candidate, request->candidate, NAME_SIZE);
    }
    explain(step, is_shutdown ? REASON_SHUTDOWN_BEGIN : REASON_SWITCHOVER_BEGIN,
            core->handover.candidate, 0);
    core->handover.asking = true;
    core->handover.ask_id =
        peers_ask(step, ASK_WAIT_MS,
                  core->handover.candidate_named ? core->handover.candidate : NULL);
}

void handover_begin_shutdown(struct step *step)
{
    struct core *core = step->core;

    if (op_is_running(core))
        return;
    if (core->handover.phase != SWITCH_NONE) {
        core->handover.is_shutdown = true; /* the switchover under way becomes the way out */
        return;
    }
    begin(step, true);
    if (!local_is_primary(core->local)) {
        core->handover.asking = false;
        core->handover.phase = SWITCH_STOPPING;
        if (server_is_down(core))
            after_stop(step, OP_RESULT_OK);
        else
            stop_server(step, STOP_FAST, core->now_ms + STOP_LIMIT_MS, true);
    }
}

static bool handover_due(struct step *step)
{
    struct core *core = step->core;
    const struct failover_request *request = &core->view->failover;

    if (!request_is_new(core) || core->stopping)
        return false;
    if (!request_fits(core)) {
        note(step, REASON_SWITCHOVER_STALE, request->leader, 0);
        core->handover.request_revision = request->mod_revision;
        clear_request(step);
        return false;
    }
    if (request->scheduled_at_wall_ms > 0) {
        int64_t late_ms = core->now_wall_ms - request->scheduled_at_wall_ms;
        if (core->paused || late_ms < 0)
            return false;
        if (late_ms > policy_of(core)->loop_wait_ms * 3 / 2) {
            note(step, REASON_SWITCHOVER_STALE, request->leader, late_ms);
            core->handover.request_revision = request->mod_revision;
            clear_request(step);
            return false;
        }
    }
    return core->local->postmaster == POSTMASTER_UP && core->local->sql_valid &&
           !core->local->in_recovery;
}

bool handover(struct step *step)
{
    struct core *core = step->core;

    /* A request that was dealt with but whose clearing failed. */
    if (core->handover.phase == SWITCH_NONE && core->view->failover.present &&
        core->view->failover.mod_revision == core->handover.request_revision)
        clear_request(step);
    if (core->handover.phase == SWITCH_NONE) {
        if (!handover_due(step))
            return false;
        if (op_is_running(core)) {
            op_cancel(step); /* only a checkpoint can be under way on a serving primary */
            return true;
        }
        begin(step, false);
        return true;
    }
    if (core->handover.phase == SWITCH_PROBING)
        probe(step);
    if (core->handover.phase == SWITCH_CONFIRMING)
        confirm(step);
    if (core->handover.phase == SWITCH_RELEASING && call_is_ready(core, CALL_LEADER_RELEASE))
        release_again(step);
    if (core->handover.phase == SWITCH_BACK)
        back(step);
    return core->handover.phase != SWITCH_NONE;
}
