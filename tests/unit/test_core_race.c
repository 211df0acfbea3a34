/* No leader: who may take the key, who must not, and when a winner may promote. */
#include "core_rig.h"

/* The leader's lease runs out at its expected time. */
static void lose_leader(struct rig *rig)
{
    rig->core.former.expires_at_ms = rig->now_ms;
    rig_view(rig)->member_count = 0;
    rig_add_member(rig, "she", 99);
    rig_set_leader(rig, NULL, 0);
    rig_post_view(rig, false);
}

static void asks_the_others_then_takes_the_key(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    lose_leader(&rig);
    const struct action *ask = rig_find(&rig, ACTION_PEERS_ASK);
    assert_non_null(ask);
    assert_true(ask->u.peers.deadline_ms - rig.now_ms <= 300);
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    struct peer_answer she = rig_standby("she", 5000);
    rig_peers(&rig, &she, 1);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    assert_null(rig_find_op(&rig, OP_PROMOTE));
}

static void win(struct rig *rig)
{
    rig_answer(rig, CALL_LEADER_ACQUIRE, OUTCOME_OK);
}

static void promotes_only_after_the_claim_and_with_the_fence(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    rig_view(&rig)->history_timeline = 1;
    rig_view(&rig)->claimed_timeline = 3; /* somebody won before and did not live to tell */
    lose_leader(&rig);
    rig_peers(&rig, NULL, 0);
    win(&rig);
    const struct action *claim = rig_find_call(&rig, CALL_TIMELINE_CLAIM);
    assert_non_null(claim);
    assert_int_equal(claim->u.call.timeline, 4);
    assert_int_equal(claim->u.call.create_revision, rig.core.key.create_revision);
    assert_null(rig_find_op(&rig, OP_PROMOTE));
    rig_answer(&rig, CALL_TIMELINE_CLAIM, OUTCOME_OK);
    const struct action *promote = rig_find_op(&rig, OP_PROMOTE);
    assert_non_null(promote);
    assert_int_equal(promote->u.op.timeline_above, 3);
    const struct action *fence = rig_find(&rig, ACTION_FENCE);
    assert_non_null(fence);
    assert_int_equal(fence->u.fence.kind, FENCE_UNTIL);
    assert_true(fence->u.fence.until_ms > rig.now_ms);
}

static void refused_claim_is_not_a_promotion(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    lose_leader(&rig);
    rig_peers(&rig, NULL, 0);
    win(&rig);
    rig_answer(&rig, CALL_TIMELINE_CLAIM, OUTCOME_REFUSED);
    assert_null(rig_find_op(&rig, OP_PROMOTE));
}

/* PD-08, PD-09: a promotion that failed, or was refused by the hook before it, gives the key to
 * others and leaves them their chance. */
static void failed_promotion_gives_the_key_up(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    lose_leader(&rig);
    rig_peers(&rig, NULL, 0);
    win(&rig);
    rig_answer(&rig, CALL_TIMELINE_CLAIM, OUTCOME_OK);
    assert_non_null(rig_find_op(&rig, OP_PROMOTE));
    rig_op_done(&rig, OP_RESULT_FAILED);
    assert_true(rig_noted(&rig, REASON_PROMOTE_FAILED));
    /* It may yet promote by itself, so it is stopped first. */
    rig_tick(&rig, 1);
    assert_int_equal(rig.core.op.kind, OP_STOP);
    assert_false(rig.core.calls[CALL_LEADER_RELEASE].in_flight);
    rig_go_down(&rig, CONTROL_IN_RECOVERY);
    rig_post_local(&rig);
    rig_op_done(&rig, OP_RESULT_OK);
    rig_tick(&rig, 1);
    assert_true(rig.core.calls[CALL_LEADER_RELEASE].in_flight);
    rig_answer(&rig, CALL_LEADER_RELEASE, OUTCOME_OK);
    assert_int_equal(rig.core.key.create_revision, 0);
    rig_set_leader(&rig, NULL, 0);
    rig_post_view(&rig, true);
    assert_null(rig_find(&rig, ACTION_PEERS_ASK));
    assert_true(rig.core.race.bench_until_ms > rig.now_ms);
}

static void no_promotion_without_the_key(void **state)
{
    const enum call_outcome bad[] = {OUTCOME_REFUSED, OUTCOME_UNKNOWN, OUTCOME_UNAVAILABLE,
                                     OUTCOME_LEASE_GONE};
    (void)state;
    for (size_t i = 0; i < PGH_COUNT(bad); i++) {
        struct rig rig;
        rig_start_follower(&rig);
        lose_leader(&rig);
        rig_peers(&rig, NULL, 0);
        rig_answer(&rig, CALL_LEADER_ACQUIRE, bad[i]);
        assert_int_equal(rig.core.key.create_revision, 0);
        assert_null(rig_find_call(&rig, CALL_TIMELINE_CLAIM));
        assert_null(rig_find_op(&rig, OP_PROMOTE));
    }
}

/* ET-07: the write was applied though its answer was lost. */
static void recognises_its_own_key_after_a_lost_answer(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    lose_leader(&rig);
    rig_peers(&rig, NULL, 0);
    rig_answer(&rig, CALL_LEADER_ACQUIRE, OUTCOME_UNKNOWN);
    rig_set_leader(&rig, "me", RIG_LEASE);
    rig_post_view(&rig, true);
    assert_int_equal(rig.core.key.create_revision, rig_view(&rig)->leader_create_revision);
}

/* The agent was stopped with the answer to its transaction in the socket, and etcd was replaced
 * meanwhile. */
static void key_of_a_replaced_etcd_is_not_won(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    rig_view(&rig)->cluster_id = 7;
    lose_leader(&rig);
    rig_peers(&rig, NULL, 0);
    assert_int_equal(rig.core.race.phase, RACE_ACQUIRING);
    rig_view(&rig)->cluster_id = 8;
    rig_view(&rig)->revision = 5;
    rig_post_view(&rig, false);
    win(&rig);
    assert_int_equal(rig.core.key.create_revision, 0);
    assert_false(rig_noted(&rig, REASON_RACE_WON));
    rig_post_view(&rig, true);
    assert_null(rig_find_call(&rig, CALL_VIEW_READ)); /* not one read after the other for ever */
    rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
    rig_tick(&rig, 1000);
    rig_peers(&rig, NULL, 0);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE)); /* and it races in the new one */
    win(&rig);
    assert_true(rig_noted(&rig, REASON_RACE_WON));
}

static void stays_out(struct peer_answer peer, enum reason why)
{
    struct rig rig;
    rig_start_follower(&rig);
    lose_leader(&rig);
    rig_peers(&rig, &peer, 1);
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    assert_int_equal(rig.core.reason, why);
    assert_true(core_deadline(&rig.core) <= rig.now_ms + 500); /* and asks again */
}

static void goes_on(struct peer_answer peer)
{
    struct rig rig;
    rig_start_follower(&rig);
    lose_leader(&rig);
    rig_peers(&rig, &peer, 1);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
}

static void others_go_first(void **state)
{
    struct peer_answer peer = rig_standby("she", 5001);
    (void)state;
    stays_out(peer, REASON_RACE_PEER_AHEAD);
    peer = rig_standby("she", 5000);
    peer.failover_priority = 2;
    stays_out(peer, REASON_RACE_PEER_PRIORITY);
    peer = rig_standby("she", 1);
    peer.is_primary = true;
    peer.fence_left_ms = 400;
    stays_out(peer, REASON_RACE_PEER_PRIMARY);
    peer.nofailover = true; /* a primary is a primary */
    stays_out(peer, REASON_RACE_PEER_PRIMARY);
}

static void others_that_cannot_lead_do_not_block(void **state)
{
    struct peer_answer peer = rig_standby("she", 9000);
    (void)state;
    peer.reachable = false;
    goes_on(peer);
    peer = rig_standby("she", 9000);
    peer.nofailover = true;
    goes_on(peer);
    peer = rig_standby("she", 9000);
    peer.running = false;
    goes_on(peer);
    peer = rig_standby("she", 9000);
    peer.etcd_silent = true;
    goes_on(peer);
    peer = rig_standby("she", 9000);
    peer.watchdog_failed = true;
    goes_on(peer);
    goes_on(rig_standby("stranger", 9000)); /* no member key: it could not win */
    goes_on(rig_standby("she", 5000));
    peer = rig_standby("she", 4999);
    peer.failover_priority = 9; /* priority only breaks ties */
    goes_on(peer);
}

/* Slow etcd for everybody: a peer that does not hear it is no worse off than we are. */
static void peer_ahead_is_waited_for_when_etcd_is_silent_for_both(void **state)
{
    struct peer_answer peer = rig_standby("she", 9000);
    struct rig rig;
    (void)state;
    peer.etcd_silent = true;
    rig_start_follower(&rig);
    lose_leader(&rig);
    rig.core.etcd_is_silent = true;
    rig_peers(&rig, &peer, 1);
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    assert_int_equal(rig.core.reason, REASON_RACE_PEER_AHEAD);
}

/* The short round spares a silent former holder, not a peer whose answer is slow. */
/* An agent that tried in vain since its start has not heard etcd either, though nobody told it yet
 * how long is long. */
static void peer_ahead_is_waited_for_when_etcd_was_silent_since_our_start(void **state)
{
    (void)state;
    for (int is_late = 0; is_late < 2; is_late++) {
        struct rig rig;
        struct peer_answer you = rig_standby("you", 5001);
        you.etcd_silent = true;
        rig_init(&rig);
        rig.now_ms += is_late ? 3001 : 3000;
        rig_become_standby(&rig, 5000);
        rig_post_view(&rig, true);
        rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
        rig_post_local(&rig);
        assert_non_null(rig_find(&rig, ACTION_PEERS_ASK));
        rig_peers(&rig, &you, 1);
        assert_int_equal(rig.core.reason == REASON_RACE_PEER_AHEAD, is_late);
    }
}

static void slow_peer_is_asked_again_with_more_patience(void **state)
{
    struct peer_answer silent = {.fence_left_ms = -1};
    struct rig rig;
    (void)state;
    rig_text(silent.name, sizeof(silent.name), "she");
    rig_start_follower(&rig);
    rig.core.former.is_silent = true;
    lose_leader(&rig);
    rig_peers(&rig, &silent, 1);
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    const struct action *again = rig_find(&rig, ACTION_PEERS_ASK);
    assert_non_null(again);
    assert_int_equal(again->u.peers.deadline_ms, rig.now_ms + policy_race_wait_ms(RIG_TTL_MS));
    rig_peers(&rig, &silent, 1); /* and silence is no veto */
    assert_non_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));

    rig_start_follower(&rig);
    rig.core.former.is_silent = true;
    lose_leader(&rig);
    rig_text(silent.name, sizeof(silent.name), "you");
    rig_peers(&rig, &silent, 1);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
}

static void stays_out_itself(struct rig *rig, enum reason why)
{
    lose_leader(rig);
    assert_null(rig_find(rig, ACTION_PEERS_ASK));
    rig_tick(rig, 100);
    assert_null(rig_find(rig, ACTION_PEERS_ASK));
    assert_int_equal(rig->core.reason, why);
}

static void unfit_members_do_not_race(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    rig.core.identity.tags.nofailover = true;
    stays_out_itself(&rig, REASON_RACE_NOFAILOVER);

    rig_start_follower(&rig);
    rig_view(&rig)->optime_lsn = 5000 + 1048577; /* one byte too many */
    stays_out_itself(&rig, REASON_RACE_LAG);

    rig_start_follower(&rig);
    rig_view(&rig)->history_count = 1;
    rig_view(&rig)->history[0] = (struct history_row){.timeline = 1, .switch_lsn = 4999};
    rig_view(&rig)->history_timeline = 2; /* the cluster left our timeline before our position */
    stays_out_itself(&rig, REASON_RACE_TIMELINE);

    rig_start_follower(&rig);
    rig_view(&rig)->sync_present = true;
    memcpy(rig_view(&rig)->sync_leader, "you", 4);
    stays_out_itself(&rig, REASON_RACE_NOT_IN_SYNC);
}

static void tolerable_lag_and_ancestor_may_race(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    rig_view(&rig)->optime_lsn = 5000 + 1048576;
    lose_leader(&rig);
    assert_non_null(rig_find(&rig, ACTION_PEERS_ASK));

    rig_start_follower(&rig);
    rig_view(&rig)->history_count = 1;
    rig_view(&rig)->history[0] = (struct history_row){.timeline = 1, .switch_lsn = 5000};
    rig_view(&rig)->history_timeline = 2;
    lose_leader(&rig);
    assert_non_null(rig_find(&rig, ACTION_PEERS_ASK));
}

/* A key that was deleted by hand: its holder's lease lives, so it may still write. */
static void winner_of_a_deleted_key_waits_for_the_old_fence(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    rig_set_leader(&rig, NULL, 0); /* "you" is still a member on the same lease */
    rig_post_view(&rig, false);
    int64_t lost_at_ms = rig.now_ms;
    rig_peers(&rig, NULL, 0);
    win(&rig);
    assert_null(rig_find_call(&rig, CALL_TIMELINE_CLAIM));
    assert_int_equal(rig.core.reason, REASON_WAIT_OLD_FENCE);
    rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK);
    while (rig.now_ms < lost_at_ms + RIG_TTL_MS - 100) {
        rig_tick(&rig, 100);
        assert_null(rig_find_call(&rig, CALL_TIMELINE_CLAIM));
        if (rig_find_call(&rig, CALL_LEASE_KEEPALIVE) != NULL)
            rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK);
        rig_set_leader(&rig, "me", RIG_LEASE);
        rig_view(&rig)->leader_create_revision = rig.core.key.create_revision;
        rig_post_view(&rig, true);
        assert_null(rig_find_call(&rig, CALL_TIMELINE_CLAIM));
    }
    rig_tick(&rig, 200);
    assert_non_null(rig_find_call(&rig, CALL_TIMELINE_CLAIM));
}

/* LC-07: a lease that disappears before its time does not take the fence with it. */
static void winner_of_a_lease_revoked_early_waits(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    rig_answer_full(&rig, CALL_LEASE_ASK, OUTCOME_OK, rig.now_ms, 4000);
    rig.now_ms += 500;
    rig_view(&rig)->member_count = 0;
    rig_add_member(&rig, "she", 99);
    rig_set_leader(&rig, NULL, 0);
    rig_post_view(&rig, false);
    rig_peers(&rig, NULL, 0);
    win(&rig);
    assert_int_equal(rig.core.reason, REASON_WAIT_OLD_FENCE);
    assert_null(rig_find_call(&rig, CALL_TIMELINE_CLAIM));
    /* it answers after all, and not as a primary */
    struct peer_answer you = rig_standby("you", 5000);
    rig_peers(&rig, &you, 1);
    assert_non_null(rig_find_call(&rig, CALL_TIMELINE_CLAIM));
}

/* A virtual machine was paused, its clock with it: the lease ran out, the fence did not. */
static void winner_waits_for_the_fence_that_the_holder_named(void **state)
{
    struct rig rig;
    struct peer_answer you = rig_standby("you", 5000);
    (void)state;
    rig_start_follower(&rig);
    rig_answer_full(&rig, CALL_LEASE_ASK, OUTCOME_OK, rig.now_ms, 1000);
    rig.now_ms += 1000;
    rig_view(&rig)->member_count = 0;
    rig_add_member(&rig, "she", 99);
    rig_set_leader(&rig, NULL, 0);
    rig_post_view(&rig, false);
    you.is_primary = true;
    you.fence_left_ms = 3000;
    rig_peers(&rig, &you, 1);
    assert_int_equal(rig.core.reason, REASON_RACE_PEER_PRIMARY);
    rig_tick(&rig, 500);
    you = (struct peer_answer){.fence_left_ms = -1};
    rig_text(you.name, sizeof(you.name), "you");
    rig_peers(&rig, &you, 1);
    win(&rig);
    assert_int_equal(rig.core.reason, REASON_WAIT_OLD_FENCE);
    assert_null(rig_find_call(&rig, CALL_TIMELINE_CLAIM));
    rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK);
    rig_set_leader(&rig, "me", RIG_LEASE);
    rig_view(&rig)->leader_create_revision = rig.core.key.create_revision;
    rig_post_view(&rig, true);
    rig_tick(&rig, 2400);
    assert_null(rig_find_call(&rig, CALL_TIMELINE_CLAIM));
    rig_tick(&rig, 200);
    assert_non_null(rig_find_call(&rig, CALL_TIMELINE_CLAIM));
}

static void silent_leader_is_noticed_before_its_lease_ends(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    rig_answer_full(&rig, CALL_LEASE_ASK, OUTCOME_OK, rig.now_ms, 4000);
    assert_null(rig_find(&rig, ACTION_PEERS_ASK));
    rig_tick(&rig, 1000);
    rig_answer_full(&rig, CALL_LEASE_ASK, OUTCOME_OK, rig.now_ms, 1000);
    assert_non_null(rig_find(&rig, ACTION_PEERS_ASK));
}

static void replicas_never_found_a_cluster(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    rig_view(&rig)->init_state = INIT_ABSENT; /* ET-05: everything was wiped */
    rig_view(&rig)->member_count = 0;
    rig_set_leader(&rig, NULL, 0);
    rig_post_view(&rig, true);
    assert_null(rig_find(&rig, ACTION_PEERS_ASK));
    assert_null(rig_find_call(&rig, CALL_INIT_WRITE));
    assert_null(rig_find_call(&rig, CALL_INIT_RACE));
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
}

static void forced_candidate_waives_lag_but_not_the_key(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    struct view *view = rig_view(&rig);
    view->optime_lsn = 100000000;
    view->failover.present = true;
    memcpy(view->failover.candidate, "me", 3);
    view->failover.mod_revision = 50;
    lose_leader(&rig);
    assert_non_null(rig_find(&rig, ACTION_PEERS_ASK));
    struct peer_answer she = rig_standby("she", 90000);
    rig_peers(&rig, &she, 1);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    assert_null(rig_find_op(&rig, OP_PROMOTE));
}

static void others_leave_it_to_the_candidate(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    struct view *view = rig_view(&rig);
    view->failover.present = true;
    memcpy(view->failover.candidate, "she", 4);
    memcpy(view->failover.leader, "you", 4);
    lose_leader(&rig);
    struct peer_answer she = rig_standby("she", 5000);
    rig_peers(&rig, &she, 1);
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    assert_int_equal(rig.core.reason, REASON_RACE_NOT_CANDIDATE);
    /* but not for ever: a candidate that never takes the key must not be a dead end (PD-04) */
    bool acquired = false;
    for (int i = 0; i < 60 && !acquired; i++) {
        rig_tick(&rig, 200);
        if (rig_find(&rig, ACTION_PEERS_ASK) != NULL)
            rig_peers(&rig, &she, 1);
        acquired = rig_find_call(&rig, CALL_LEADER_ACQUIRE) != NULL;
    }
    assert_true(acquired);
}

static void paused_cluster_does_not_race(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    rig_view(&rig)->policy.pause = true;
    lose_leader(&rig);
    assert_null(rig_find(&rig, ACTION_PEERS_ASK));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_the_others_then_takes_the_key),
        cmocka_unit_test(promotes_only_after_the_claim_and_with_the_fence),
        cmocka_unit_test(refused_claim_is_not_a_promotion),
        cmocka_unit_test(failed_promotion_gives_the_key_up),
        cmocka_unit_test(no_promotion_without_the_key),
        cmocka_unit_test(recognises_its_own_key_after_a_lost_answer),
        cmocka_unit_test(key_of_a_replaced_etcd_is_not_won),
        cmocka_unit_test(others_go_first),
        cmocka_unit_test(others_that_cannot_lead_do_not_block),
        cmocka_unit_test(peer_ahead_is_waited_for_when_etcd_is_silent_for_both),
        cmocka_unit_test(peer_ahead_is_waited_for_when_etcd_was_silent_since_our_start),
        cmocka_unit_test(slow_peer_is_asked_again_with_more_patience),
        cmocka_unit_test(unfit_members_do_not_race),
        cmocka_unit_test(tolerable_lag_and_ancestor_may_race),
        cmocka_unit_test(winner_of_a_deleted_key_waits_for_the_old_fence),
        cmocka_unit_test(winner_of_a_lease_revoked_early_waits),
        cmocka_unit_test(winner_waits_for_the_fence_that_the_holder_named),
        cmocka_unit_test(silent_leader_is_noticed_before_its_lease_ends),
        cmocka_unit_test(replicas_never_found_a_cluster),
        cmocka_unit_test(forced_candidate_waives_lag_but_not_the_key),
        cmocka_unit_test(others_leave_it_to_the_candidate),
        cmocka_unit_test(paused_cluster_does_not_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
