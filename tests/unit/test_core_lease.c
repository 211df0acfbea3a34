/* The right to write: what counts as a renewal, and what happens when it ends. */
#include "core_rig.h"

#include "../../src/core/internal.h"

static const int64_t margin_ms = 500; /* max(300, 5000 / 10) */
static const int64_t lead_ms = 1000;  /* max(500, 5000 / 5) */

static void fence_counts_from_the_moment_of_sending(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    int64_t sent_at_ms = rig.now_ms;
    assert_int_equal(rig.core.key.fence_until_ms, sent_at_ms + RIG_TTL_MS - margin_ms);
    rig_tick(&rig, 1700);
    assert_non_null(rig_find_call(&rig, CALL_LEASE_KEEPALIVE));
    sent_at_ms = rig.now_ms;
    rig.now_ms += 900; /* a slow answer must not stretch the right */
    rig_answer_full(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK, sent_at_ms, RIG_TTL_MS);
    rig_post_view(&rig, true);
    assert_int_equal(rig.core.key.fence_until_ms, sent_at_ms + RIG_TTL_MS - margin_ms);
    const struct action *fence = rig_find(&rig, ACTION_FENCE);
    assert_non_null(fence);
    assert_int_equal(fence->u.fence.kind, FENCE_UNTIL);
    assert_int_equal(fence->u.fence.until_ms, rig.core.key.fence_until_ms);
}

static void keepalive_without_a_later_read_does_not_count(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    int64_t fence_ms = rig.core.key.fence_until_ms;
    rig_tick(&rig, 1700);
    rig_post_view(&rig, true); /* the read of the loop, sent before the keepalive's answer */
    assert_int_equal(rig.core.key.fence_until_ms, fence_ms);
    rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK);
    assert_non_null(rig_find_call(&rig, CALL_VIEW_READ));
    assert_int_equal(rig.core.key.fence_until_ms, fence_ms);
    rig_post_view(&rig, false); /* the watch proves nothing */
    assert_int_equal(rig.core.key.fence_until_ms, fence_ms);
    rig.now_ms += 10;
    struct event event = rig_event(&rig, EVENT_VIEW);
    event.u.view.view = rig_view(&rig);
    event.u.view.from_read = true;
    event.u.view.sent_at_ms = rig.core.lease.answered_at_ms - 1; /* sent before the answer */
    rig_step(&rig, &event);
    assert_int_equal(rig.core.key.fence_until_ms, fence_ms);
}

static void keepalive_under_another_raft_term_does_not_count(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    int64_t fence_ms = rig.core.key.fence_until_ms;
    rig_tick(&rig, 1700);
    rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK);
    rig.raft_term = 6;
    rig_post_view(&rig, true);
    assert_int_equal(rig.core.key.fence_until_ms, fence_ms);
    assert_null(rig_find_call(&rig, CALL_LEASE_KEEPALIVE)); /* not at the pace of the answers */
    rig_tick(&rig, 50);
    assert_non_null(rig_find_call(&rig, CALL_LEASE_KEEPALIVE));
}

static void renewal_is_due_every_third_of_ttl(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_answer(&rig, CALL_MEMBER_PUT, OUTCOME_OK);
    rig_tick(&rig, RIG_TTL_MS / 3 - 1);
    assert_null(rig_find_call(&rig, CALL_LEASE_KEEPALIVE));
    rig_tick(&rig, 1);
    assert_non_null(rig_find_call(&rig, CALL_LEASE_KEEPALIVE));
}

static void demotes_before_the_fence(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    int64_t due_ms = rig.core.key.fence_until_ms - lead_ms;
    rig_tick(&rig, due_ms - rig.now_ms - 1);
    assert_null(rig_find_op(&rig, OP_STOP));
    rig_tick(&rig, 1);
    const struct action *stop = rig_find_op(&rig, OP_STOP);
    assert_non_null(stop);
    assert_int_equal(stop->u.op.stop_mode, STOP_FAST);
    assert_true(stop->u.op.deadline_ms < rig.core.key.fence_until_ms);
    assert_true(rig_noted(&rig, REASON_DEMOTE_FENCE));
}

static void deadline_is_armed_for_the_demotion(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    while (rig_find_op(&rig, OP_STOP) == NULL) {
        int64_t next_ms = core_deadline(&rig.core);
        assert_true(next_ms > rig.now_ms);
        assert_true(next_ms <= rig.core.key.fence_until_ms - lead_ms);
        rig_tick(&rig, next_ms - rig.now_ms);
    }
    assert_int_equal(rig.now_ms, rig.core.key.fence_until_ms - lead_ms);
}

/* LC-01: on waking the first act is to compare the fence with the clock, whatever the event
 * says. */
static void frozen_leader_stops_first(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig.now_ms += 60000;
    rig_post_view(&rig, true); /* an old picture that still shows our key */
    const struct action *stop = rig_find_op(&rig, OP_STOP);
    assert_non_null(stop);
    assert_int_equal(stop->u.op.stop_mode, STOP_IMMEDIATE);
    struct core_status status;
    core_describe(&rig.core, rig.now_ms, &status);
    assert_false(status.is_leader);
    assert_false(status.is_primary_serving);
}

static void leader_answer_ends_with_the_fence(void **state)
{
    struct rig rig;
    struct core_status status;
    (void)state;
    rig_start_leader(&rig);
    core_describe(&rig.core, rig.core.key.fence_until_ms - 1, &status);
    assert_true(status.is_primary_serving);
    core_describe(&rig.core, rig.core.key.fence_until_ms, &status);
    assert_false(status.is_leader);
    assert_int_equal(status.fence_left_ms, 0);
}

static void stops_at_once_when_somebody_else_has_the_key(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_set_leader(&rig, "you", RIG_OTHER_LEASE);
    rig_post_view(&rig, false);
    assert_non_null(rig_find_op(&rig, OP_STOP));
    assert_true(rig_noted(&rig, REASON_DEMOTE_LOST_KEY));
    assert_false(rig.core.key.create_revision != 0);
}

static void same_name_under_another_lease_is_not_our_key(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_set_leader(&rig, "me", 12345);
    rig_post_view(&rig, true);
    assert_int_equal(rig.core.key.create_revision, 0);
    assert_non_null(rig_find_op(&rig, OP_STOP));
}

/* LC-06, ET-05: a deleted key is created again inside our own fence, not afterwards. */
static void vanished_key_is_created_again(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    int64_t fence_ms = rig.core.key.fence_until_ms;
    rig_set_leader(&rig, NULL, 0);
    rig_post_view(&rig, false);
    assert_true(rig_noted(&rig, REASON_KEY_VANISHED));
    assert_null(rig_find_op(&rig, OP_STOP));
    assert_non_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    struct core_status status;
    core_describe(&rig.core, rig.now_ms, &status);
    assert_false(status.is_leader); /* RC-01: no 200 in between */
    rig_tick(&rig, fence_ms - lead_ms - rig.now_ms);
    assert_non_null(rig_find_op(&rig, OP_STOP));
}

static void lost_lease_is_told_and_read_again(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_tick(&rig, 1700);
    rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_LEASE_GONE);
    assert_true(rig_noted(&rig, REASON_LEASE_LOST));
    assert_non_null(rig_find_call(&rig, CALL_LEASE_GRANT));
}

/* A key that vanished leaves its writer one grace, however many agents it sees. */
static void next_agent_gets_no_second_grace(void **state)
{
    struct rig rig;
    struct core_saved saved;
    (void)state;
    rig_start_leader(&rig);
    rig_set_leader(&rig, NULL, 0);
    rig.now_ms += 1000;
    rig_post_view(&rig, true);
    int64_t until_ms = rig.core.grace_until_ms;
    assert_true(until_ms > rig.now_ms);
    core_save(&rig.core, &saved);
    struct identity identity = rig.core.identity;
    core_init(&rig.core, &identity, 2, &saved, rig.now_ms + 50);
    rig.now_ms += 50;
    rig_post_local(&rig);
    rig_post_view(&rig, true);
    assert_int_equal(rig.core.grace_until_ms, until_ms);
    assert_true(rig.core.fence_sent_until_ms <= until_ms);
}

static void next_agent_carries_on(void **state)
{
    struct rig rig;
    struct core_saved saved;
    (void)state;
    rig_start_leader(&rig);
    core_save(&rig.core, &saved);
    int64_t fence_ms = rig.core.key.fence_until_ms;
    struct identity identity = rig.core.identity;
    core_init(&rig.core, &identity, 2, &saved, rig.now_ms + 50);
    rig.now_ms += 50;
    rig_post_local(&rig);
    assert_null(rig_find_op(&rig, OP_STOP));
    assert_null(rig_find(&rig, ACTION_FENCE));
    rig_post_view(&rig, true);
    assert_int_equal(rig.core.key.fence_until_ms, fence_ms);
    /* and it still demotes in time if etcd never answers it */
    rig_tick(&rig, fence_ms - lead_ms - rig.now_ms);
    assert_non_null(rig_find_op(&rig, OP_STOP));
}

static void next_agent_demotes_even_without_a_view(void **state)
{
    struct rig rig;
    struct core_saved saved;
    (void)state;
    rig_start_leader(&rig);
    core_save(&rig.core, &saved);
    struct identity identity = rig.core.identity;
    core_init(&rig.core, &identity, 2, &saved, rig.now_ms);
    rig_post_local(&rig);
    rig_tick(&rig, saved.fence_until_ms - lead_ms - rig.now_ms);
    assert_non_null(rig_find_op(&rig, OP_STOP));
}

/* The key was deleted by hand and its holder is out of reach: it may write until its fence, also
 * when the agent that waits for that is replaced meanwhile. */
static void next_agent_waits_for_the_old_fence(void **state)
{
    struct rig rig;
    struct core_saved saved;
    (void)state;
    rig_start_follower(&rig);
    rig_set_leader(&rig, NULL, 0); /* "you" is still a member on the same lease */
    rig_post_view(&rig, false);
    int64_t hold_until_ms = rig.now_ms + RIG_TTL_MS;
    rig_peers(&rig, NULL, 0);
    rig_answer(&rig, CALL_LEADER_ACQUIRE, OUTCOME_OK);
    core_save(&rig.core, &saved);
    struct identity identity = rig.core.identity;
    core_init(&rig.core, &identity, 2, &saved, rig.now_ms);
    rig_post_local(&rig);
    rig_set_leader(&rig, "me", RIG_LEASE);
    rig_view(&rig)->leader_create_revision = rig.core.key.create_revision;
    while (rig.now_ms < hold_until_ms) {
        rig_post_view(&rig, true);
        if (rig.core.calls[CALL_LEASE_KEEPALIVE].in_flight)
            rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK);
        assert_false(rig.core.calls[CALL_TIMELINE_CLAIM].in_flight);
        rig_tick(&rig, 100);
    }
    rig_post_view(&rig, true);
    assert_true(rig.core.calls[CALL_TIMELINE_CLAIM].in_flight);
}

static void changed_ttl_moves_the_key_to_a_new_lease(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_view(&rig)->policy.ttl_ms = 10000;
    rig_post_view(&rig, false);
    const struct action *grant = rig_find_call(&rig, CALL_LEASE_GRANT);
    assert_non_null(grant);
    assert_int_equal(grant->u.call.ttl_ms, 10000);
    struct event event = rig_event(&rig, EVENT_CALL);
    event.u.call.call = CALL_LEASE_GRANT;
    event.u.call.outcome = OUTCOME_OK;
    event.u.call.sent_at_ms = rig.now_ms;
    event.u.call.raft_term = rig.raft_term;
    event.u.call.lease_id = 555;
    event.u.call.ttl_ms = 10000;
    rig_step(&rig, &event);
    const struct action *move = rig_find_call(&rig, CALL_LEADER_MOVE);
    assert_non_null(move);
    assert_int_equal(move->u.call.lease_id, 555);
    assert_int_equal(move->u.call.create_revision, rig.core.key.create_revision);
    rig_answer(&rig, CALL_LEADER_MOVE, OUTCOME_OK);
    assert_int_equal(rig.core.lease.id, 555);
    assert_null(rig_find_call(&rig, CALL_LEASE_GRANT));
}

/* The agent asks etcd about its name before the core hears anything. */
static void start_is_neither_late_nor_silent(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    rig.now_ms += 4000;
    rig_become_standby(&rig, 1000);
    rig_post_local(&rig);
    assert_false(rig_noted(&rig, REASON_TILT));
    rig_post_view(&rig, false);
    assert_false(rig_noted(&rig, REASON_ETCD_SILENT));
}

static void silence_counts_from_the_start(void **state)
{
    struct rig rig;
    struct policy policy;
    (void)state;
    policy_init(&policy);
    rig_init(&rig);
    rig_become_standby(&rig, 1000);
    rig_post_local(&rig);
    rig_tick(&rig, policy.loop_wait_ms + policy.retry_timeout_ms);
    assert_false(rig_noted(&rig, REASON_ETCD_SILENT));
    rig_tick(&rig, 1);
    assert_true(rig_noted(&rig, REASON_ETCD_SILENT));
    rig_tick(&rig, 1000);
    assert_false(rig_noted(&rig, REASON_ETCD_SILENT));
    rig_post_view(&rig, true);
    assert_true(rig_noted(&rig, REASON_ETCD_BACK));
}

/* Until there is a configuration in etcd, reads are as rare as the defaults allow. */
static void shorter_timings_make_no_silence(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    policy_init(&rig_view(&rig)->policy);
    rig_become_standby(&rig, 1000);
    rig_post_local(&rig);
    rig_post_view(&rig, true);
    rig_tick(&rig, 4000);
    assert_false(rig_noted(&rig, REASON_ETCD_SILENT));
    rig_view(&rig)->policy.loop_wait_ms = 1000;
    rig_view(&rig)->policy.retry_timeout_ms = 2000;
    rig_post_view(&rig, false);
    assert_false(rig_noted(&rig, REASON_ETCD_SILENT));
    assert_true(rig.core.calls[CALL_VIEW_READ].in_flight);
    rig_tick(&rig, 3001);
    assert_true(rig_noted(&rig, REASON_ETCD_SILENT));
}

/* A write of what stands there already is not sent, so nobody has heard of etcd through it. */
static void write_that_was_not_sent_is_no_sign_of_etcd(void **state)
{
    struct rig rig;
    struct core_status status;
    (void)state;
    rig_start_follower(&rig);
    int64_t seen_at_ms = rig.now_ms;
    rig.now_ms += 1000;
    rig_answer_full(&rig, CALL_MEMBER_PUT, OUTCOME_OK, 0, 0);
    core_describe(&rig.core, rig.now_ms, &status);
    assert_int_equal(status.etcd_seen_at_ms, seen_at_ms);
    rig_answer(&rig, CALL_MEMBER_PUT, OUTCOME_OK);
    core_describe(&rig.core, rig.now_ms, &status);
    assert_int_equal(status.etcd_seen_at_ms, rig.now_ms);
}

static void silence_is_the_reason_of_who_does_not_lead(void **state)
{
    struct rig rig;
    struct core_status status;
    (void)state;
    rig_start_leader(&rig);
    rig.core.reason = REASON_FOLLOWING_LEADER;
    rig.core.etcd_is_silent = true;
    core_describe(&rig.core, rig.now_ms, &status);
    assert_int_equal(status.reason, REASON_FOLLOWING_LEADER);
    core_describe(&rig.core, rig.core.key.fence_until_ms, &status);
    assert_int_equal(status.reason, REASON_ETCD_SILENT);
    assert_string_equal(status.reason_member, "");
    rig.core.etcd_is_silent = false;
    core_describe(&rig.core, rig.core.key.fence_until_ms, &status);
    assert_int_equal(status.reason, REASON_FOLLOWING_LEADER);
}

/* --- what does not count --- */

static void key_won_under_another_raft_term_needs_a_renewal(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        rig_init(&rig);
        rig_become_primary(&rig, 5000);
        rig_post_view(&rig, true);
        rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
        rig_post_local(&rig);
        rig.raft_term = i == 0 ? 6 : 5;
        rig_answer_full(&rig, CALL_LEADER_ACQUIRE, OUTCOME_OK, rig.now_ms - (i == 1 ? 1 : 0),
                        RIG_TTL_MS);
        assert_int_equal(rig.core.key.fence_until_ms != 0, i == 2);
    }
}

static void read_without_a_renewal_says_nothing_of_terms(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig.raft_term = 6; /* etcd elected; our last renewal was counted before */
    rig_post_view(&rig, true);
    assert_int_not_equal(rig.core.reason, REASON_LEASE_UNCONFIRMED);
    assert_null(rig_find_call(&rig, CALL_LEASE_KEEPALIVE));
    rig_tick(&rig, 100);
    assert_null(rig_find_call(&rig, CALL_LEASE_KEEPALIVE));
}

/* --- the move to another lease --- */

static void move_to_lease(struct rig *rig, int64_t lease_id, int64_t ttl_ms)
{
    rig_start_leader(rig);
    rig_view(rig)->policy.ttl_ms = ttl_ms;
    rig_post_view(rig, false);
    struct event event = rig_event(rig, EVENT_CALL);
    event.u.call.call = CALL_LEASE_GRANT;
    event.u.call.outcome = OUTCOME_OK;
    event.u.call.sent_at_ms = rig->now_ms;
    event.u.call.raft_term = rig->raft_term;
    event.u.call.lease_id = lease_id;
    event.u.call.ttl_ms = ttl_ms;
    rig_step(rig, &event);
    assert_non_null(rig_find_call(rig, CALL_LEADER_MOVE));
}

static void move_without_an_answer_is_seen_in_the_view(void **state)
{
    struct rig rig;
    (void)state;
    move_to_lease(&rig, 555, 10000);
    rig_post_view(&rig, true); /* the key hangs on the old lease still */
    assert_int_equal(rig.core.lease.id, RIG_LEASE);
    rig_view(&rig)->leader_lease_id = 555;
    rig_view(&rig)->revision++;
    rig_post_view(&rig, true);
    assert_int_equal(rig.core.lease.id, 555);
    assert_int_equal(rig.core.lease.next_id, 0);
    assert_int_not_equal(rig.core.key.create_revision, 0);
}

static void move_is_tried_again_unless_its_lease_is_gone(void **state)
{
    (void)state;
    for (int gone = 0; gone < 2; gone++) {
        struct rig rig;
        move_to_lease(&rig, 555, 10000);
        rig_answer(&rig, CALL_LEADER_MOVE, gone ? OUTCOME_LEASE_GONE : OUTCOME_UNAVAILABLE);
        rig_tick(&rig, 500);
        assert_int_equal(rig_find_call(&rig, CALL_LEASE_GRANT) != NULL ||
                         rig.core.calls[CALL_LEASE_GRANT].in_flight, gone);
        assert_int_equal(rig_find_call(&rig, CALL_LEADER_MOVE) != NULL ||
                         rig.core.calls[CALL_LEADER_MOVE].in_flight, !gone);
    }
}

/* A supervisor that does not listen holds the longest fence that it was told: no lease may be
 * shorter than that. */
static void shorter_lease_waits_for_the_long_fence(void **state)
{
    struct rig rig;
    bool granted = false;
    (void)state;
    rig_start_leader(&rig);
    int64_t longest_ms = rig.core.fence_sent_until_ms;
    rig_view(&rig)->policy.ttl_ms = 3000;
    rig_post_view(&rig, false);
    assert_null(rig_find_call(&rig, CALL_LEASE_GRANT));
    for (int i = 0; i < 60 && !granted; i++) {
        rig_tick(&rig, 50);
        granted = rig_find_call(&rig, CALL_LEASE_GRANT) != NULL;
        if (rig.core.calls[CALL_LEASE_KEEPALIVE].in_flight)
            rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK);
        granted = granted || rig_find_call(&rig, CALL_LEASE_GRANT) != NULL;
        rig_post_view(&rig, true);
        granted = granted || rig_find_call(&rig, CALL_LEASE_GRANT) != NULL;
        assert_true(rig.core.key.fence_until_ms <= longest_ms ||
                    rig.core.key.fence_until_ms <= rig.now_ms + 3000);
    }
    assert_true(granted);
    assert_true(longest_ms <= rig.now_ms + 3000 - 300);
}

/* --- after the right --- */

static void nothing_of_the_cluster_is_written_after_the_fence(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_answer(&rig, CALL_STATUS_PUT, OUTCOME_OK);
    rig_local(&rig)->flush_lsn = 6000;
    rig_local(&rig)->timeline = 2;
    rig_post_local(&rig);
    rig_tick(&rig, rig.core.key.fence_until_ms - rig.now_ms);
    assert_null(rig_find_call(&rig, CALL_STATUS_PUT));
    assert_null(rig_find_call(&rig, CALL_HISTORY_PUT));
}

/* The key went to somebody and then vanished, and our stop did not work: what the supervisor was
 * told last still ends. */
static void fence_that_was_told_ends_without_the_key(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    int64_t until_ms = rig.core.fence_sent_until_ms;
    rig_set_leader(&rig, "you", RIG_OTHER_LEASE);
    rig_post_view(&rig, true);
    assert_non_null(rig_find_op(&rig, OP_STOP));
    rig_set_leader(&rig, NULL, 0);
    rig_post_view(&rig, true);
    rig_op_done(&rig, OP_RESULT_FAILED);
    assert_null(rig_find_op(&rig, OP_STOP));
    rig_tick(&rig, until_ms - lead_ms - rig.now_ms - 1);
    assert_null(rig_find_op(&rig, OP_STOP));
    rig_tick(&rig, 1);
    assert_non_null(rig_find_op(&rig, OP_STOP));
}

/* We gave the key up at revision 100: views from before, and the key that they show, are over. */
static void views_from_before_a_release_name_no_leader(void **state)
{
    static const struct {
        int64_t revision, create_revision, lease_id;
        const char *shown, *leader;
    } rows[] = {
        {99, 90, RIG_OTHER_LEASE, "you", NULL}, {100, 90, RIG_OTHER_LEASE, "you", "you"},
        {99, 90, RIG_LEASE, "me", NULL},        {101, 90, RIG_LEASE, "me", NULL},
        {101, 100, RIG_LEASE, "me", NULL},      {101, 101, RIG_LEASE, "me", "me"},
        {101, 90, RIG_OTHER_LEASE, "me", "me"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        rig_set_leader(&rig, rows[i].shown, rows[i].lease_id);
        rig_view(&rig)->revision = rows[i].revision;
        rig_view(&rig)->leader_create_revision = rows[i].create_revision;
        rig.core.key.lost_revision = 100;
        const char *leader = leader_name(&rig.core);
        assert_int_equal(leader != NULL, rows[i].leader != NULL);
        assert_true(leader == NULL || strcmp(leader, rows[i].leader) == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fence_counts_from_the_moment_of_sending),
        cmocka_unit_test(keepalive_without_a_later_read_does_not_count),
        cmocka_unit_test(keepalive_under_another_raft_term_does_not_count),
        cmocka_unit_test(renewal_is_due_every_third_of_ttl),
        cmocka_unit_test(demotes_before_the_fence),
        cmocka_unit_test(deadline_is_armed_for_the_demotion),
        cmocka_unit_test(frozen_leader_stops_first),
        cmocka_unit_test(leader_answer_ends_with_the_fence),
        cmocka_unit_test(stops_at_once_when_somebody_else_has_the_key),
        cmocka_unit_test(same_name_under_another_lease_is_not_our_key),
        cmocka_unit_test(vanished_key_is_created_again),
        cmocka_unit_test(lost_lease_is_told_and_read_again),
        cmocka_unit_test(next_agent_gets_no_second_grace),
        cmocka_unit_test(next_agent_carries_on),
        cmocka_unit_test(next_agent_waits_for_the_old_fence),
        cmocka_unit_test(next_agent_demotes_even_without_a_view),
        cmocka_unit_test(changed_ttl_moves_the_key_to_a_new_lease),
        cmocka_unit_test(start_is_neither_late_nor_silent),
        cmocka_unit_test(silence_counts_from_the_start),
        cmocka_unit_test(shorter_timings_make_no_silence),
        cmocka_unit_test(write_that_was_not_sent_is_no_sign_of_etcd),
        cmocka_unit_test(silence_is_the_reason_of_who_does_not_lead),
        cmocka_unit_test(key_won_under_another_raft_term_needs_a_renewal),
        cmocka_unit_test(read_without_a_renewal_says_nothing_of_terms),
        cmocka_unit_test(move_without_an_answer_is_seen_in_the_view),
        cmocka_unit_test(move_is_tried_again_unless_its_lease_is_gone),
        cmocka_unit_test(shorter_lease_waits_for_the_long_fence),
        cmocka_unit_test(nothing_of_the_cluster_is_written_after_the_fence),
        cmocka_unit_test(fence_that_was_told_ends_without_the_key),
        cmocka_unit_test(views_from_before_a_release_name_no_leader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
