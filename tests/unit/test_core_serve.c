/* The holder of the key: crashes, unfitness, switchover, stop, pause. */
#include "core_rig.h"

static void crash_is_restarted_in_place(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_go_down(&rig, CONTROL_IN_PRODUCTION);
    rig_post_local(&rig);
    assert_true(rig_noted(&rig, REASON_CRASHED));
    assert_non_null(rig_find_op(&rig, OP_START_PRIMARY));
    const struct action *fence = rig_find(&rig, ACTION_FENCE);
    assert_true(fence == NULL || fence->u.fence.kind == FENCE_UNTIL);
    assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
}

/* PG-04: the third crash in ten minutes gives the key to somebody else, if there is somebody. */
static void crash_loop_gives_the_key_up(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    for (int i = 0; i < 3; i++) {
        rig_go_down(&rig, CONTROL_IN_PRODUCTION);
        rig_post_local(&rig);
        if (i == 2)
            break;
        assert_non_null(rig_find_op(&rig, OP_START_PRIMARY));
        rig_become_primary(&rig, 5000);
        rig_local(&rig)->postmaster_id = 10 + i;
        rig_post_local(&rig);
        rig_op_done(&rig, OP_RESULT_OK);
    }
    assert_null(rig_find_op(&rig, OP_START_PRIMARY));
    rig_tick(&rig, 1);
    assert_null(rig_find_op(&rig, OP_START_PRIMARY));
    assert_true(rig.core.calls[CALL_LEADER_RELEASE].in_flight);
    rig_answer(&rig, CALL_LEADER_RELEASE, OUTCOME_OK);
    assert_int_equal(rig.core.key.create_revision, 0);
    assert_true(rig.core.race.bench_until_ms > rig.now_ms);
}

static void sick_node_without_successor_keeps_trying(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_view(&rig)->member_count = 0;
    rig_post_view(&rig, false);
    rig_go_down(&rig, CONTROL_IN_PRODUCTION);
    rig_post_local(&rig);
    rig_op_done(&rig, OP_RESULT_FAILED);
    assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
    assert_null(rig_find_op(&rig, OP_START_PRIMARY)); /* not in the same breath */
    assert_true(rig.core.follow.start_at_ms > rig.now_ms);
}

static void standby_that_wins_is_started_as_standby_first(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_go_down(&rig, CONTROL_IN_RECOVERY);
    rig_local(&rig)->has_standby_signal = true;
    rig_post_local(&rig);
    assert_null(rig_find_op(&rig, OP_START_PRIMARY));
    assert_non_null(rig_find_op(&rig, OP_START_STANDBY));
}

/* --- winning --- */

static void ask_for_the_key(struct rig *rig)
{
    rig_start_follower(rig);
    rig->core.former.expires_at_ms = rig->now_ms;
    rig_view(rig)->member_count = 0;
    rig_add_member(rig, "she", 99);
    rig_set_leader(rig, NULL, 0);
    rig_post_view(rig, false);
    rig_peers(rig, NULL, 0);
    assert_non_null(rig_find_call(rig, CALL_LEADER_ACQUIRE));
}

/* The view shows the key that was won, and the lease is confirmed. */
static void show_the_key(struct rig *rig)
{
    rig_set_leader(rig, "me", RIG_LEASE);
    rig_view(rig)->leader_create_revision = rig->core.key.create_revision;
    rig_post_view(rig, true);
}

/* The request for the key hung in etcd, and meanwhile somebody else had it, wrote and lost it. */
static void what_was_won_too_late_is_given_back(void **state)
{
    const enum reason why[] = {REASON_RACE_LAG, REASON_RACE_TIMELINE, REASON_RACE_NOT_IN_SYNC};
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(why); i++) {
        struct rig rig;
        ask_for_the_key(&rig);
        struct view *view = rig_view(&rig);
        view->optime_lsn = why[i] == REASON_RACE_LAG ? 100000000 : 0;
        view->history_count = why[i] == REASON_RACE_TIMELINE ? 1 : 0;
        view->history[0] = (struct history_row){.timeline = 1, .switch_lsn = 4999};
        view->history_timeline = why[i] == REASON_RACE_TIMELINE ? 2 : 0;
        view->sync_present = why[i] == REASON_RACE_NOT_IN_SYNC;
        memcpy(view->sync_leader, "she", 4);
        rig_post_view(&rig, false);
        rig_answer(&rig, CALL_LEADER_ACQUIRE, OUTCOME_OK);
        show_the_key(&rig);
        assert_null(rig_find_op(&rig, OP_PROMOTE));
        assert_false(rig.core.calls[CALL_TIMELINE_CLAIM].in_flight);
        assert_true(rig.core.calls[CALL_LEADER_RELEASE].in_flight);
        assert_int_equal(rig.core.reason, why[i]);
        rig_answer(&rig, CALL_LEADER_RELEASE, OUTCOME_OK);
        assert_int_equal(rig.core.key.create_revision, 0);
    }
}

/* The same when the answer was lost and a view tells of the key. What was found good is not asked
 * again: a server that replays is behind what it has on its disk. */
static void win_is_looked_at_once(void **state)
{
    struct rig rig;
    (void)state;
    ask_for_the_key(&rig);
    rig_view(&rig)->optime_lsn = 100000000;
    rig_answer(&rig, CALL_LEADER_ACQUIRE, OUTCOME_UNKNOWN);
    rig_set_leader(&rig, "me", RIG_LEASE);
    rig_post_view(&rig, true);
    rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK);
    rig_post_view(&rig, true);
    assert_true(rig.core.calls[CALL_LEADER_RELEASE].in_flight);
    assert_null(rig_find_call(&rig, CALL_TIMELINE_CLAIM));

    ask_for_the_key(&rig);
    rig_answer(&rig, CALL_LEADER_ACQUIRE, OUTCOME_OK);
    show_the_key(&rig);
    assert_true(rig.core.calls[CALL_TIMELINE_CLAIM].in_flight);
    rig_view(&rig)->optime_lsn = 100000000;
    rig_post_view(&rig, false);
    rig_answer(&rig, CALL_TIMELINE_CLAIM, OUTCOME_OK);
    assert_int_equal(rig.core.op.kind, OP_PROMOTE);
    assert_false(rig.core.calls[CALL_LEADER_RELEASE].in_flight);
}

/* --- switchover --- */

static void request_switchover(struct rig *rig, const char *candidate)
{
    struct failover_request *request = &rig_view(rig)->failover;
    memset(request, 0, sizeof *request);
    request->present = true;
    memcpy(request->leader, "me", 3);
    rig_text(request->candidate, NAME_SIZE, candidate);
    request->mod_revision = ++rig_view(rig)->revision;
    rig_post_view(rig, false);
}

static void switchover_until_stopped(struct rig *rig)
{
    struct peer_answer peers[] = {rig_standby("she", 5000), rig_standby("you", 5000)};
    rig_start_leader(rig);
    request_switchover(rig, "she");
    assert_non_null(rig_find(rig, ACTION_PEERS_ASK));
    rig_peers(rig, peers, 1);
    assert_non_null(rig_find_op(rig, OP_CHECKPOINT));
    rig_op_done(rig, OP_RESULT_OK);
    assert_null(rig_find_op(rig, OP_STOP));
    assert_non_null(rig_find(rig, ACTION_PEERS_ASK));
    rig_peers(rig, peers, 1);
    const struct action *stop = rig_find_op(rig, OP_STOP);
    assert_non_null(stop);
    assert_true(stop->u.op.handover);
    rig_go_down(rig, CONTROL_SHUT_DOWN);
    rig_local(rig)->control_end_lsn = 5120;
    rig_local(rig)->control_checkpoint_lsn = 5000;
    rig_post_local(rig);
    assert_null(rig_find_op(rig, OP_START_PRIMARY));
    rig_op_done(rig, OP_RESULT_OK);
    assert_null(rig_find_call(rig, CALL_LEADER_RELEASE));
    assert_non_null(rig_find(rig, ACTION_PEERS_ASK));
}

/* PD-02: not one byte earlier than the end of the shutdown record, and by the named candidate
 * itself. */
static void key_is_released_only_with_the_shutdown_record(void **state)
{
    struct rig rig;
    (void)state;
    switchover_until_stopped(&rig);
    struct peer_answer she = rig_standby("she", 5119);
    rig_peers(&rig, &she, 1);
    assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
    rig_tick(&rig, 25);
    assert_non_null(rig_find(&rig, ACTION_PEERS_ASK));
    struct peer_answer you = rig_standby("you", 5120);
    rig_peers(&rig, &you, 1);
    assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
    rig_tick(&rig, 25);
    she.received_lsn = 5120;
    rig_peers(&rig, &she, 1);
    const struct action *release = rig_find_call(&rig, CALL_LEADER_RELEASE);
    assert_non_null(release);
    assert_int_equal(release->u.call.create_revision, rig.core.key.create_revision);
    rig_answer(&rig, CALL_LEADER_RELEASE, OUTCOME_OK);
    assert_int_equal(rig.core.key.create_revision, 0);
    rig_tick(&rig, 1);
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE)); /* the candidate's turn */
}

static void hanging_candidate_brings_the_old_primary_back(void **state)
{
    struct rig rig;
    bool back = false;
    (void)state;
    switchover_until_stopped(&rig);
    struct peer_answer she = rig_standby("she", 5000);
    for (int i = 0; i < 60 && !back; i++) {
        rig_peers(&rig, &she, 1);
        assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
        rig_tick(&rig, 100);
        back = rig_find_op(&rig, OP_START_PRIMARY) != NULL;
        if (rig_find_call(&rig, CALL_LEASE_KEEPALIVE) != NULL)
            rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK);
        else if (rig.core.calls[CALL_LEASE_KEEPALIVE].in_flight)
            rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK);
        back = back || rig_find_op(&rig, OP_START_PRIMARY) != NULL;
        rig_post_view(&rig, true);
        back = back || rig_find_op(&rig, OP_START_PRIMARY) != NULL;
    }
    assert_true(back);
    assert_true(rig.core.calls[CALL_FAILOVER_CLEAR].in_flight);
}

static void stop_by_force_brings_the_old_primary_back(void **state)
{
    struct rig rig;
    struct peer_answer she = rig_standby("she", 5000);
    (void)state;
    rig_start_leader(&rig);
    request_switchover(&rig, "she");
    rig_peers(&rig, &she, 1);
    rig_op_done(&rig, OP_RESULT_OK);
    rig_peers(&rig, &she, 1);
    rig_go_down(&rig, CONTROL_IN_PRODUCTION);
    rig_post_local(&rig);
    rig_op_done(&rig, OP_RESULT_TIMEOUT);
    assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
    rig_tick(&rig, 1);
    assert_int_equal(rig.core.op.kind, OP_START_PRIMARY);
}

static void probe_begins(struct rig *rig, const struct peer_answer *she)
{
    rig_start_leader(rig);
    request_switchover(rig, "she");
    rig_peers(rig, she, 1);
    rig_local(rig)->flush_lsn = she->received_lsn + 100;
    rig_post_local(rig);
    rig_op_done(rig, OP_RESULT_OK);
}

/* Answers and renews for so long; true if PostgreSQL was told to stop. */
static bool probe_goes_on(struct rig *rig, struct peer_answer *she, int64_t span_ms, uint64_t step)
{
    bool is_stopped = false;

    for (int64_t i = 0; i < span_ms && !is_stopped; i += 100) {
        she->received_lsn += step;
        rig_peers(rig, she, 1);
        is_stopped = rig_find_op(rig, OP_STOP) != NULL;
        if (rig->core.calls[CALL_LEASE_KEEPALIVE].in_flight)
            rig_answer(rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK);
        if (rig->core.calls[CALL_VIEW_READ].in_flight)
            rig_post_view(rig, true);
        rig_tick(rig, 100);
    }
    return is_stopped;
}

/* Its agent answers and its WAL receiver stands still: found out before anything is stopped. */
static void stuck_candidate_costs_no_outage(void **state)
{
    struct rig rig;
    struct peer_answer she = rig_standby("she", 5000);
    (void)state;
    probe_begins(&rig, &she);
    assert_false(probe_goes_on(&rig, &she, 1900, 0));
    assert_int_equal(rig.core.handover.phase, SWITCH_PROBING);
    assert_false(probe_goes_on(&rig, &she, 300, 0));
    assert_int_equal(rig.core.handover.phase, SWITCH_NONE);
    assert_true(rig.core.calls[CALL_FAILOVER_CLEAR].in_flight);
    assert_false(probe_goes_on(&rig, &she, 500, 100));
}

static void slow_candidate_gets_its_time(void **state)
{
    struct rig rig;
    struct peer_answer she = rig_standby("she", 5000);
    (void)state;
    probe_begins(&rig, &she);
    assert_true(probe_goes_on(&rig, &she, 10000, 2));
    assert_int_equal(she.received_lsn, 5100);
}

/* A person's failover waives what the candidate lacks; a stop is a stop. */
static void forced_or_asked_to_stop_there_is_no_probe(void **state)
{
    struct rig rig;
    struct peer_answer she = rig_standby("she", 5000);
    (void)state;
    probe_begins(&rig, &she);
    struct event event = rig_event(&rig, EVENT_SHUTDOWN);
    rig_step(&rig, &event);
    assert_non_null(rig_find_op(&rig, OP_STOP));
    rig_start_leader(&rig);
    request_switchover(&rig, "she");
    rig.core.handover.is_forced = true;
    rig_peers(&rig, &she, 1);
    rig_op_done(&rig, OP_RESULT_OK);
    assert_non_null(rig_find_op(&rig, OP_STOP));
}

static void rejected(struct peer_answer peer, const char *candidate)
{
    struct rig rig;
    rig_start_leader(&rig);
    request_switchover(&rig, candidate);
    rig_peers(&rig, &peer, 1);
    assert_null(rig_find_op(&rig, OP_CHECKPOINT));
    assert_null(rig_find_op(&rig, OP_STOP));
    const struct action *clear = rig_find_call(&rig, CALL_FAILOVER_CLEAR);
    assert_non_null(clear);
    assert_int_equal(clear->u.call.mod_revision, rig_view(&rig)->failover.mod_revision);
    assert_true(rig_noted(&rig, REASON_SWITCHOVER_REJECTED));
}

static void bad_candidates_are_refused(void **state)
{
    struct peer_answer peer = rig_standby("she", 5000);
    (void)state;
    peer.reachable = false;
    rejected(peer, "she");
    peer = rig_standby("she", 5000);
    peer.nofailover = true;
    rejected(peer, "she");
    peer = rig_standby("she", 5000);
    peer.timeline = 9;
    rejected(peer, "she");
    peer = rig_standby("she", 5000);
    peer.running = false;
    rejected(peer, "");
    rejected(rig_standby("you", 5000), "she");
}

static void best_candidate_is_chosen(void **state)
{
    struct rig rig;
    struct peer_answer peers[] = {rig_standby("she", 4000), rig_standby("you", 4900)};
    (void)state;
    rig_start_leader(&rig);
    request_switchover(&rig, "");
    rig_peers(&rig, peers, 2);
    assert_string_equal(rig.core.handover.candidate, "you");
}

static void request_that_does_not_fit_is_cleared(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    request_switchover(&rig, "me");
    assert_non_null(rig_find_call(&rig, CALL_FAILOVER_CLEAR));
    assert_null(rig_find(&rig, ACTION_PEERS_ASK));
}

/* --- stop --- */

static void shutdown_hands_over(void **state)
{
    struct rig rig;
    struct peer_answer peer = rig_standby("you", 5000);
    (void)state;
    rig_start_leader(&rig);
    struct event event = rig_event(&rig, EVENT_SHUTDOWN);
    rig_step(&rig, &event);
    rig_peers(&rig, &peer, 1);
    rig_op_done(&rig, OP_RESULT_OK); /* checkpoint */
    assert_non_null(rig_find_op(&rig, OP_STOP));
    rig_go_down(&rig, CONTROL_SHUT_DOWN);
    rig_local(&rig)->control_end_lsn = 5120;
    rig_post_local(&rig);
    rig_op_done(&rig, OP_RESULT_OK);
    peer.received_lsn = 5120;
    rig_peers(&rig, &peer, 1);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
    assert_null(rig_find(&rig, ACTION_EXIT));
    rig_answer(&rig, CALL_LEADER_RELEASE, OUTCOME_OK);
    const struct action *leave = rig_find(&rig, ACTION_EXIT);
    assert_non_null(leave);
    assert_int_equal(leave->u.exit.code, 0);
}

static void shutdown_without_confirmation_keeps_the_key(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    struct event event = rig_event(&rig, EVENT_SHUTDOWN);
    rig_step(&rig, &event);
    rig_peers(&rig, NULL, 0);
    rig_op_done(&rig, OP_RESULT_OK);
    rig_go_down(&rig, CONTROL_SHUT_DOWN);
    rig_local(&rig)->control_end_lsn = 5120;
    rig_post_local(&rig);
    rig_op_done(&rig, OP_RESULT_OK);
    struct peer_answer peer = rig_standby("you", 5119);
    for (int i = 0; i < 100 && rig_find(&rig, ACTION_EXIT) == NULL; i++) {
        rig_peers(&rig, &peer, 1);
        assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
        rig_tick(&rig, 50);
    }
    assert_non_null(rig_find(&rig, ACTION_EXIT));
}

static void replica_stops_and_leaves(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    struct event event = rig_event(&rig, EVENT_SHUTDOWN);
    rig_step(&rig, &event);
    assert_non_null(rig_find_op(&rig, OP_STOP));
    rig_go_down(&rig, CONTROL_SHUT_DOWN_IN_RECOVERY);
    rig_post_local(&rig);
    rig_op_done(&rig, OP_RESULT_OK);
    rig_answer(&rig, CALL_MEMBER_PUT, OUTCOME_OK);
    rig_tick(&rig, 1);
    for (int i = 0; i < 30 && !rig.core.exiting; i++) {
        if (rig.core.calls[CALL_MEMBER_PUT].in_flight)
            rig_answer(&rig, CALL_MEMBER_PUT, OUTCOME_OK);
        else
            rig_tick(&rig, 10);
    }
    assert_true(rig.core.exiting);
    assert_int_equal(rig.core.told_state, PG_STATE_STOPPED);
}

/* --- the member key --- */

static void pending_restart_is_told_at_once(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    for (int i = 0; i < 5 && rig.core.calls[CALL_MEMBER_PUT].in_flight; i++)
        rig_answer(&rig, CALL_MEMBER_PUT, OUTCOME_OK);
    rig_post_local(&rig);
    assert_null(rig_find_call(&rig, CALL_MEMBER_PUT));
    for (int i = 0; i < 2; i++) {
        rig_local(&rig)->pending_restart = !rig_local(&rig)->pending_restart;
        rig_post_local(&rig);
        assert_non_null(rig_find_call(&rig, CALL_MEMBER_PUT));
        rig_answer(&rig, CALL_MEMBER_PUT, OUTCOME_OK);
    }
}

/* --- pause --- */

static void pause_disarms_and_resume_arms_before_acting(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_view(&rig)->policy.pause = true;
    rig_post_view(&rig, true);
    const struct action *fence = rig_find(&rig, ACTION_FENCE);
    assert_non_null(fence);
    assert_int_equal(fence->u.fence.kind, FENCE_DISARMED);
    rig_tick(&rig, 60000); /* etcd silent for a minute: nothing is done */
    assert_null(rig_find_op(&rig, OP_STOP));
    rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_UNKNOWN);
    rig_view(&rig)->policy.pause = false;
    rig_post_view(&rig, true);
    assert_null(rig_find(&rig, ACTION_FENCE)); /* the right is not confirmed yet */
    rig_tick(&rig, 1000);
    rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK);
    int64_t sent_at_ms = rig.core.lease.sent_at_ms;
    rig_post_view(&rig, true);
    fence = rig_find(&rig, ACTION_FENCE);
    assert_non_null(fence);
    assert_int_equal(fence->u.fence.kind, FENCE_UNTIL);
    assert_int_equal(fence->u.fence.until_ms, sent_at_ms + RIG_TTL_MS - 500);
    assert_null(rig_find_op(&rig, OP_STOP));
}

/* Word of a pause that was on its way to a frozen node: the pause may be over long since. */
static void pause_is_confirmed_by_a_fresh_read(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_view(&rig)->policy.pause = true;
    rig_post_view(&rig, false);
    assert_null(rig_find(&rig, ACTION_FENCE));
    assert_non_null(rig_find_call(&rig, CALL_VIEW_READ));
    struct event event = rig_event(&rig, EVENT_VIEW);
    event.u.view.view = rig_view(&rig);
    event.u.view.from_read = true;
    event.u.view.sent_at_ms = rig.now_ms - 2001; /* longer than retry_timeout */
    rig_step(&rig, &event);
    assert_null(rig_find(&rig, ACTION_FENCE));
    assert_non_null(rig_find_call(&rig, CALL_VIEW_READ)); /* once more */
    rig_post_view(&rig, true);
    const struct action *fence = rig_find(&rig, ACTION_FENCE);
    assert_non_null(fence);
    assert_int_equal(fence->u.fence.kind, FENCE_DISARMED);
}

static void paused_leader_without_primary_lets_go(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_view(&rig)->policy.pause = true;
    rig_post_view(&rig, true);
    rig_go_down(&rig, CONTROL_SHUT_DOWN);
    rig_post_local(&rig);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
    assert_null(rig_find_op(&rig, OP_START_PRIMARY));
}

/* A new etcd answers the release already, and no view of it has come yet: its revisions say nothing
 * about when to ask again. */
static void refused_release_is_not_repeated_at_once(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_view(&rig)->policy.pause = true;
    rig_post_view(&rig, true);
    rig_go_down(&rig, CONTROL_SHUT_DOWN);
    rig_post_local(&rig);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
    struct event event = rig_event(&rig, EVENT_CALL);
    event.u.call.call = CALL_LEADER_RELEASE;
    event.u.call.outcome = OUTCOME_REFUSED;
    event.u.call.revision = 7;
    rig_step(&rig, &event);
    assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
    assert_non_null(rig_find_call(&rig, CALL_VIEW_READ));
    rig_tick(&rig, 200);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
}

static void sigterm_in_pause_leaves_everything(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_view(&rig)->policy.pause = true;
    rig_post_view(&rig, true);
    struct event event = rig_event(&rig, EVENT_SHUTDOWN);
    rig_step(&rig, &event);
    assert_non_null(rig_find(&rig, ACTION_EXIT));
    assert_null(rig_find_op(&rig, OP_STOP));
    assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
}

static void foreign_data_is_refused(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    rig_local(&rig)->sysid = 666;
    rig_post_local(&rig);
    const struct action *leave = rig_find(&rig, ACTION_EXIT);
    assert_non_null(leave);
    assert_int_equal(leave->u.exit.code, 1);
    assert_true(rig_noted(&rig, REASON_FOREIGN_SYSID));
}

/* The key may be gone already: who took it does not wait for a holder that let it go. */
static void nothing_is_started_on_a_key_that_may_be_released(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig.core.calls[CALL_LEADER_RELEASE].in_flight = true;
    rig_go_down(&rig, CONTROL_SHUT_DOWN);
    assert_null(rig_find_op(&rig, OP_START_PRIMARY));
    rig_answer(&rig, CALL_LEADER_RELEASE, OUTCOME_UNKNOWN);
    assert_null(rig_find_op(&rig, OP_START_PRIMARY));
    rig_tick(&rig, 1000);
    assert_null(rig_find_op(&rig, OP_START_PRIMARY));
    rig_post_view(&rig, true);
    assert_non_null(rig_find_op(&rig, OP_START_PRIMARY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crash_is_restarted_in_place),
        cmocka_unit_test(crash_loop_gives_the_key_up),
        cmocka_unit_test(sick_node_without_successor_keeps_trying),
        cmocka_unit_test(standby_that_wins_is_started_as_standby_first),
        cmocka_unit_test(what_was_won_too_late_is_given_back),
        cmocka_unit_test(win_is_looked_at_once),
        cmocka_unit_test(key_is_released_only_with_the_shutdown_record),
        cmocka_unit_test(hanging_candidate_brings_the_old_primary_back),
        cmocka_unit_test(stuck_candidate_costs_no_outage),
        cmocka_unit_test(slow_candidate_gets_its_time),
        cmocka_unit_test(forced_or_asked_to_stop_there_is_no_probe),
        cmocka_unit_test(stop_by_force_brings_the_old_primary_back),
        cmocka_unit_test(bad_candidates_are_refused),
        cmocka_unit_test(best_candidate_is_chosen),
        cmocka_unit_test(request_that_does_not_fit_is_cleared),
        cmocka_unit_test(shutdown_hands_over),
        cmocka_unit_test(shutdown_without_confirmation_keeps_the_key),
        cmocka_unit_test(replica_stops_and_leaves),
        cmocka_unit_test(pending_restart_is_told_at_once),
        cmocka_unit_test(pause_disarms_and_resume_arms_before_acting),
        cmocka_unit_test(pause_is_confirmed_by_a_fresh_read),
        cmocka_unit_test(paused_leader_without_primary_lets_go),
        cmocka_unit_test(refused_release_is_not_repeated_at_once),
        cmocka_unit_test(sigterm_in_pause_leaves_everything),
        cmocka_unit_test(foreign_data_is_refused),
        cmocka_unit_test(nothing_is_started_on_a_key_that_may_be_released),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
