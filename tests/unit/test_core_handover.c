/* Handing the key over: who is a candidate, when a request is due, when the key may go. */
#include "core_rig.h"

enum { OP_ID = 9000 };

static void set_op(struct rig *rig, enum op_kind kind)
{
    rig->core.op = (struct core_op){.kind = kind, .id = OP_ID};
}

static void post_request(struct rig *rig, const char *leader, const char *candidate,
                         int64_t scheduled_at_wall_ms)
{
    struct failover_request *request = &rig_view(rig)->failover;
    *request = (struct failover_request){.present = true,
                                         .scheduled_at_wall_ms = scheduled_at_wall_ms};
    rig_text(request->leader, NAME_SIZE, leader);
    rig_text(request->candidate, NAME_SIZE, candidate);
    request->mod_revision = ++rig_view(rig)->revision;
    rig_post_view(rig, false);
}

static void post_shutdown(struct rig *rig)
{
    struct event event = rig_event(rig, EVENT_SHUTDOWN);
    rig_step(rig, &event);
}

/* Checkpoint done; it has arrived if it must, and the server is told to stop. */
static void begin_stop(struct rig *rig)
{
    struct peer_answer she = rig_standby("she", 5000);
    assert_non_null(rig_find_op(rig, OP_CHECKPOINT));
    rig_op_done(rig, OP_RESULT_OK);
    if (rig->core.handover.phase == SWITCH_PROBING)
        rig_peers(rig, &she, 1);
    assert_non_null(rig_find_op(rig, OP_STOP));
}

/* The server stopped cleanly at 5120. */
static void stop_cleanly(struct rig *rig)
{
    begin_stop(rig);
    rig_go_down(rig, CONTROL_SHUT_DOWN);
    rig_local(rig)->control_end_lsn = 5120;
    rig_post_local(rig);
    rig_op_done(rig, OP_RESULT_OK);
}

/* leader "": a failover by a person. */
static void hand_over_until_stopped(struct rig *rig, const char *leader)
{
    struct peer_answer she = rig_standby("she", 5000);
    rig_start_leader(rig);
    post_request(rig, leader, "she", 0);
    rig_peers(rig, &she, 1);
    stop_cleanly(rig);
    assert_non_null(rig_find(rig, ACTION_PEERS_ASK));
}

/* --- candidates --- */

static bool is_accepted(struct peer_answer peer, const char *leader, const char *candidate)
{
    struct rig rig;
    rig_start_leader(&rig);
    rig_become_primary(&rig, 9000000);
    rig_post_local(&rig);
    post_request(&rig, leader, candidate, 0);
    rig_peers(&rig, &peer, 1);
    return rig_find_op(&rig, OP_CHECKPOINT) != NULL;
}

static void one_fault_is_enough(void **state)
{
    const struct peer_answer good = rig_standby("she", 9000000);
    struct peer_answer peer[7];
    (void)state;
    for (int i = 0; i < 7; i++)
        peer[i] = good;
    peer[0].reachable = false;
    peer[1].running = false;
    peer[2].is_primary = true;
    peer[3].watchdog_failed = true;
    peer[4].nofailover = true;
    peer[5].etcd_silent = true;
    peer[6].received_lsn = 0;
    assert_true(is_accepted(good, "me", ""));
    assert_true(is_accepted(good, "me", "she"));
    for (int i = 0; i < 7; i++) {
        assert_false(is_accepted(peer[i], "me", ""));
        assert_false(is_accepted(peer[i], "me", "she"));
        assert_false(is_accepted(peer[i], "", "she"));
    }
}

static void lag_and_timeline_are_waived_for_a_failover_only(void **state)
{
    struct peer_answer late = rig_standby("she", 9000000 - 1048576);
    struct peer_answer elsewhere = rig_standby("she", 9000000);
    (void)state;
    assert_true(is_accepted(late, "me", "she"));
    late.received_lsn--;
    assert_false(is_accepted(late, "me", "she"));
    assert_true(is_accepted(late, "", "she"));
    elsewhere.timeline = 2;
    assert_false(is_accepted(elsewhere, "me", "she"));
    assert_true(is_accepted(elsewhere, "", "she"));
    elsewhere.timeline = 0; /* it did not say */
    assert_true(is_accepted(elsewhere, "me", "she"));
}

static void priority_goes_before_position(void **state)
{
    (void)state;
    for (int order = 0; order < 2; order++) {
        struct rig rig;
        struct peer_answer peers[2];
        peers[order] = rig_standby("she", 4000);
        peers[1 - order] = rig_standby("you", 4900);
        peers[order].failover_priority = 2;
        rig_start_leader(&rig);
        post_request(&rig, "me", "", 0);
        rig_peers(&rig, peers, 2);
        assert_string_equal(rig.core.handover.candidate, "she");
        peers[order].failover_priority = 1;
        rig_start_leader(&rig);
        post_request(&rig, "me", "", 0);
        rig_peers(&rig, peers, 2);
        assert_string_equal(rig.core.handover.candidate, "you");
    }
}

/* --- requests --- */

static bool is_begun(const struct rig *rig)
{
    return rig_find(rig, ACTION_PEERS_ASK) != NULL;
}

static void request_is_for_a_serving_primary(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct rig rig;
        rig_start_leader(&rig);
        if (i == 0)
            rig_local(&rig)->postmaster = POSTMASTER_STOPPING;
        if (i == 1)
            rig_local(&rig)->sql_valid = false;
        if (i == 2)
            rig_local(&rig)->in_recovery = true;
        rig_post_local(&rig);
        rig_answer(&rig, CALL_TIMELINE_CLAIM, OUTCOME_UNKNOWN);
        post_request(&rig, "me", "she", 0);
        assert_int_equal(is_begun(&rig), i == 3);
    }
}

static void scheduled_request_waits_for_its_time(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    int64_t at_wall_ms = rig_event(&rig, EVENT_TIMER).now_wall_ms + 800;
    post_request(&rig, "me", "she", at_wall_ms);
    assert_false(is_begun(&rig));
    rig_tick(&rig, 799);
    assert_false(is_begun(&rig));
    rig_tick(&rig, 1);
    assert_true(is_begun(&rig));
}

static void missed_request_is_dropped(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    int64_t now_wall_ms = rig_event(&rig, EVENT_TIMER).now_wall_ms;
    post_request(&rig, "me", "she", now_wall_ms - 1500); /* one loop and a half */
    assert_true(is_begun(&rig));
    rig_start_leader(&rig);
    post_request(&rig, "me", "she", now_wall_ms - 1501);
    assert_false(is_begun(&rig));
    assert_true(rig_noted(&rig, REASON_SWITCHOVER_STALE));
    assert_non_null(rig_find_call(&rig, CALL_FAILOVER_CLEAR));
}

static void schedules_rest_in_a_pause(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_view(&rig)->policy.pause = true;
    post_request(&rig, "me", "she", rig_event(&rig, EVENT_TIMER).now_wall_ms);
    assert_false(is_begun(&rig));
    assert_null(rig_find_call(&rig, CALL_FAILOVER_CLEAR));
    post_request(&rig, "me", "she", 0); /* at once, and somebody is named */
    assert_true(is_begun(&rig));
}

static void request_that_does_not_fit_is_stale(void **state)
{
    static const struct {
        const char *leader, *candidate;
        bool paused, fits;
    } rows[] = {
        {"me", "she", false, true}, {"me", "", false, true},    {"", "she", false, true},
        {"me", "she", true, true},  {"", "she", true, true},    {"you", "she", false, false},
        {"me", "me", false, false}, {"", "me", false, false},   {"me", "", true, false},
        {"", "", false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        rig_start_leader(&rig);
        rig_view(&rig)->policy.pause = rows[i].paused;
        post_request(&rig, rows[i].leader, rows[i].candidate, 0);
        assert_int_equal(is_begun(&rig), rows[i].fits);
        assert_int_equal(rig_noted(&rig, REASON_SWITCHOVER_STALE), !rows[i].fits);
    }
}

static void server_that_is_busy_or_gone_hands_nothing_over(void **state)
{
    struct peer_answer she = rig_standby("she", 5000);
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct rig rig;
        rig_start_leader(&rig);
        post_request(&rig, "me", "she", 0);
        if (i == 0) {
            set_op(&rig, OP_RESTART);
        } else {
            rig_local(&rig)->postmaster = POSTMASTER_STARTING;
            rig_local(&rig)->sql_valid = false;
            rig_local(&rig)->has_standby_signal = true;
            rig_post_local(&rig);
        }
        rig_peers(&rig, &she, 1);
        assert_null(rig_find_op(&rig, OP_CHECKPOINT));
        assert_true(rig_noted(&rig, REASON_SWITCHOVER_REJECTED));
    }
}

static void answers_to_an_earlier_question_do_not_count(void **state)
{
    struct rig rig;
    struct peer_answer she = rig_standby("she", 5000);
    (void)state;
    rig_start_leader(&rig);
    post_request(&rig, "me", "she", 0);
    rig.core.handover.ask_id++;
    rig_peers(&rig, &she, 1);
    assert_null(rig_find_op(&rig, OP_CHECKPOINT));
}

/* --- does the checkpoint arrive --- */

static void only_a_standby_that_received_it_lets_us_stop(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct rig rig;
        struct peer_answer she = rig_standby("she", 5000);
        rig_start_leader(&rig);
        post_request(&rig, "me", "she", 0);
        rig_peers(&rig, &she, 1);
        rig_op_done(&rig, OP_RESULT_OK);
        assert_true(is_begun(&rig));
        she.reachable = i != 0;
        she.running = i != 1;
        she.is_primary = i == 2;
        she.received_lsn = i == 3 ? 4999 : 5000;
        rig_peers(&rig, &she, i == 4 ? 0 : 1);
        assert_int_equal(rig_find_op(&rig, OP_STOP) != NULL, i == 5);
    }
}

static void failed_checkpoint_ends_a_switchover(void **state)
{
    struct rig rig;
    struct peer_answer she = rig_standby("she", 5000);
    (void)state;
    rig_start_leader(&rig);
    post_request(&rig, "me", "she", 0);
    rig_peers(&rig, &she, 1);
    rig_op_done(&rig, OP_RESULT_FAILED);
    assert_true(rig_noted(&rig, REASON_SWITCHOVER_REJECTED));
    assert_null(rig_find_op(&rig, OP_STOP));
}

static void crash_ends_a_switchover(void **state)
{
    struct rig rig;
    struct peer_answer she = rig_standby("she", 5000);
    (void)state;
    rig_start_leader(&rig);
    post_request(&rig, "me", "she", 0);
    rig_peers(&rig, &she, 1);
    rig_op_done(&rig, OP_RESULT_OK);
    rig_go_down(&rig, CONTROL_IN_PRODUCTION);
    rig_post_local(&rig);
    assert_true(rig_noted(&rig, REASON_SWITCHOVER_REJECTED));
    assert_int_equal(rig.core.handover.phase, SWITCH_NONE);
}

/* --- letting go --- */

static void only_a_standby_with_everything_takes_over(void **state)
{
    const struct peer_answer good = rig_standby("she", 5120);
    (void)state;
    for (int i = 0; i < 7; i++) {
        struct rig rig;
        struct peer_answer she = good;
        hand_over_until_stopped(&rig, "me");
        she.reachable = i != 0;
        she.running = i != 1;
        she.is_primary = i == 2;
        she.nofailover = i == 3;
        she.timeline = i == 4 ? 2 : 1;
        she.received_lsn = i == 5 ? 5119 : 5120;
        rig_peers(&rig, &she, 1);
        assert_int_equal(rig_find_call(&rig, CALL_LEADER_RELEASE) != NULL, i == 6);
    }
}

static void stop_that_was_not_clean_goes_back(void **state)
{
    static const struct {
        enum op_result result;
        enum control_state control;
    } rows[] = {
        {OP_RESULT_TIMEOUT, CONTROL_SHUT_DOWN}, {OP_RESULT_OK, CONTROL_IN_PRODUCTION}};
    struct peer_answer she = rig_standby("she", 5000);
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct rig rig;
        rig_start_leader(&rig);
        post_request(&rig, "me", "she", 0);
        rig_peers(&rig, &she, 1);
        begin_stop(&rig);
        rig_go_down(&rig, rows[i].control);
        rig_post_local(&rig);
        rig_op_done(&rig, rows[i].result);
        assert_false(is_begun(&rig));
        assert_true(rig_noted(&rig, REASON_SWITCHOVER_BACK));
    }
    struct rig rig;
    rig_start_leader(&rig);
    post_request(&rig, "me", "she", 0);
    rig_peers(&rig, &she, 1);
    begin_stop(&rig);
    rig_op_done(&rig, OP_RESULT_OK); /* it says that it stopped, and it runs */
    assert_false(is_begun(&rig));
    assert_int_equal(rig.core.handover.phase, SWITCH_NONE);
}

/* What the named candidate does not have is given up, and said. */
static void forced_failover_says_what_it_costs(void **state)
{
    (void)state;
    for (int answered = 0; answered < 2; answered++) {
        struct rig rig;
        struct peer_answer she = rig_standby("she", 5000);
        hand_over_until_stopped(&rig, "");
        rig_peers(&rig, answered ? &she : NULL, answered);
        assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
        rig_tick(&rig, 2999);
        assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
        rig_tick(&rig, 1);
        assert_non_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
        assert_true(rig_noted(&rig, REASON_FAILOVER_FORCED));
        for (int32_t i = 0; i < rig.actions.count; i++)
            if (rig.actions.items[i].kind == ACTION_NOTE &&
                rig.actions.items[i].u.note.reason == REASON_FAILOVER_FORCED)
                assert_int_equal(rig.actions.items[i].u.note.value, answered ? 120 : 5120);
    }
}

/* --- the holder is asked to stop --- */

static void stop_waits_for_nobody_that_may_not_lead(void **state)
{
    (void)state;
    for (int heirs = 0; heirs < 2; heirs++) {
        struct rig rig;
        rig_start_leader(&rig);
        rig_add_member(&rig, "me", RIG_LEASE);
        rig_view(&rig)->members[0].tags.nofailover = true;
        rig_view(&rig)->members[1].tags.nofailover = heirs == 0;
        rig_post_view(&rig, false);
        post_shutdown(&rig);
        rig_peers(&rig, NULL, 0);
        stop_cleanly(&rig);
        assert_int_equal(is_begun(&rig), heirs == 1);
        assert_int_equal(rig_find_call(&rig, CALL_LEADER_RELEASE) != NULL, heirs == 0);
    }
}

/* The release does not reach etcd, and meanwhile somebody comes who could take over. */
static void heir_that_comes_before_the_release_is_asked(void **state)
{
    (void)state;
    for (int heirs = 0; heirs < 2; heirs++) {
        struct rig rig;
        rig_start_leader(&rig);
        rig_view(&rig)->members[0].tags.nofailover = true;
        rig_view(&rig)->members[1].tags.nofailover = true;
        rig_post_view(&rig, false);
        post_shutdown(&rig);
        rig_peers(&rig, NULL, 0);
        stop_cleanly(&rig);
        rig_answer(&rig, CALL_LEADER_RELEASE, OUTCOME_UNAVAILABLE);
        rig_view(&rig)->members[1].tags.nofailover = heirs == 0;
        rig_post_view(&rig, false);
        rig_tick(&rig, 1000);
        assert_int_equal(rig_find(&rig, ACTION_PEERS_ASK) != NULL, heirs == 1);
        assert_int_equal(rig_find_call(&rig, CALL_LEADER_RELEASE) != NULL, heirs == 0);
    }
}

static void stop_names_no_candidate(void **state)
{
    struct rig rig;
    struct peer_answer peers[] = {rig_standby("she", 5000), rig_standby("you", 5000)};
    (void)state;
    rig_start_leader(&rig);
    post_shutdown(&rig);
    rig_peers(&rig, peers, 2);
    rig_op_done(&rig, OP_RESULT_OK);
    assert_int_equal(rig.core.reason, REASON_SWITCHOVER_STOP);
    assert_string_equal(rig.core.reason_member, "");
}

static void holder_that_does_not_serve_stops_at_once(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_become_standby(&rig, 5000); /* won, not yet promoted */
    rig_post_local(&rig);
    post_shutdown(&rig);
    assert_non_null(rig_find_op(&rig, OP_STOP));
    rig_start_leader(&rig);
    set_op(&rig, OP_STOP);
    post_shutdown(&rig);
    assert_false(is_begun(&rig)); /* first that one ends */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_fault_is_enough),
        cmocka_unit_test(lag_and_timeline_are_waived_for_a_failover_only),
        cmocka_unit_test(priority_goes_before_position),
        cmocka_unit_test(request_is_for_a_serving_primary),
        cmocka_unit_test(scheduled_request_waits_for_its_time),
        cmocka_unit_test(missed_request_is_dropped),
        cmocka_unit_test(schedules_rest_in_a_pause),
        cmocka_unit_test(request_that_does_not_fit_is_stale),
        cmocka_unit_test(server_that_is_busy_or_gone_hands_nothing_over),
        cmocka_unit_test(answers_to_an_earlier_question_do_not_count),
        cmocka_unit_test(only_a_standby_that_received_it_lets_us_stop),
        cmocka_unit_test(failed_checkpoint_ends_a_switchover),
        cmocka_unit_test(crash_ends_a_switchover),
        cmocka_unit_test(only_a_standby_with_everything_takes_over),
        cmocka_unit_test(stop_that_was_not_clean_goes_back),
        cmocka_unit_test(forced_failover_says_what_it_costs),
        cmocka_unit_test(stop_waits_for_nobody_that_may_not_lead),
        cmocka_unit_test(heir_that_comes_before_the_release_is_asked),
        cmocka_unit_test(stop_names_no_candidate),
        cmocka_unit_test(holder_that_does_not_serve_stops_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
