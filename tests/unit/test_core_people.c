/* What people ask of a node: restart, reinitialize, pause, stop. */
#include "core_rig.h"

enum { OP_ID = 9000, REQUEST_ID = 31 };

static void set_op(struct rig *rig, enum op_kind kind)
{
    rig->core.op = (struct core_op){.kind = kind, .id = OP_ID};
}

static void ask(struct rig *rig, enum request_kind kind, bool force)
{
    struct event event = rig_event(rig, EVENT_REQUEST);
    event.u.request.kind = kind;
    event.u.request.request_id = REQUEST_ID;
    event.u.request.force = force;
    rig_step(rig, &event);
}

static void assert_reply(const struct rig *rig, enum reply_code code)
{
    const struct action *action = rig_find(rig, ACTION_REPLY);
    assert_non_null(action);
    assert_int_equal(action->u.reply.request_id, REQUEST_ID);
    assert_int_equal(action->u.reply.code, code);
}

static void pause_cluster(struct rig *rig)
{
    rig_view(rig)->policy.pause = true;
    rig_post_view(rig, true);
}

/* --- restart --- */

static void restart_is_for_an_idle_server(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        if (i == 0)
            set_op(&rig, OP_FOLLOW);
        if (i == 1)
            rig.core.handover.phase = SWITCH_ASKING;
        if (i == 2)
            rig.core.request.restart = true;
        if (i == 3)
            rig.core.stopping = true;
        if (i == 4)
            rig_local(&rig)->postmaster = POSTMASTER_STARTING;
        ask(&rig, REQUEST_RESTART, false);
        if (i < 5)
            assert_reply(&rig, i == 4 ? REPLY_FAILED : REPLY_BUSY);
        else
            assert_null(rig_find(&rig, ACTION_REPLY)); /* when it is done */
        assert_int_equal(rig_find_op(&rig, OP_RESTART) != NULL, i == 2 || i == 5);
    }
    struct rig rig;
    rig_init(&rig);
    ask(&rig, REQUEST_RESTART, false); /* nothing known of the server */
    assert_reply(&rig, REPLY_BUSY);
}

static void restart_is_answered_when_it_is_done(void **state)
{
    static const struct {
        enum op_result result;
        enum reply_code code;
    } rows[] = {{OP_RESULT_OK, REPLY_OK},
                {OP_RESULT_FAILED, REPLY_FAILED},
                {OP_RESULT_CANCELLED, REPLY_FAILED},
                {OP_RESULT_TIMEOUT, REPLY_TIMEOUT}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        ask(&rig, REQUEST_RESTART, false);
        rig_op_done(&rig, rows[i].result);
        assert_reply(&rig, rows[i].code);
        assert_int_equal(rig_noted(&rig, REASON_RESTART_DONE), i == 0);
        assert_int_equal(rig_noted(&rig, REASON_RESTART_FAILED), i != 0);
        rig_tick(&rig, 1);
        assert_null(rig_find_op(&rig, OP_RESTART)); /* once */
    }
}

static void end_of_something_else_answers_no_restart(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    rig.core.request.restart = true; /* asked for just before something came between */
    set_op(&rig, OP_STOP);
    rig_op_done(&rig, OP_RESULT_OK);
    assert_null(rig_find(&rig, ACTION_REPLY));
}

static void restart_takes_as_long_as_a_start_may(void **state)
{
    (void)state;
    for (int limited = 0; limited < 2; limited++) {
        struct rig rig;
        rig_start_follower(&rig);
        rig_view(&rig)->policy.primary_start_timeout_ms = limited ? 7000 : 0;
        rig_post_view(&rig, false);
        ask(&rig, REQUEST_RESTART, false);
        const struct action *restart = rig_find_op(&rig, OP_RESTART);
        assert_non_null(restart);
        assert_int_equal(restart->u.op.deadline_ms, limited ? rig.now_ms + 7000 : 0);
    }
}

/* --- reinitialize --- */

static void reinit_stops_then_copies(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    ask(&rig, REQUEST_REINIT, false);
    assert_reply(&rig, REPLY_OK);
    assert_non_null(rig_find_op(&rig, OP_STOP));
    ask(&rig, REQUEST_REINIT, false);
    assert_reply(&rig, REPLY_BUSY);
    rig_go_down(&rig, CONTROL_IN_RECOVERY);
    rig_post_local(&rig);
    rig_op_done(&rig, OP_RESULT_OK);
    const struct action *clone = rig_find_op(&rig, OP_CLONE);
    assert_non_null(clone);
    assert_true(clone->u.op.replace);
    assert_string_equal(clone->u.op.source, "you");
    rig_op_done(&rig, OP_RESULT_FAILED);
    assert_null(rig_find_op(&rig, OP_CLONE)); /* again, but not at once */
    ask(&rig, REQUEST_REINIT, false);
    assert_reply(&rig, REPLY_BUSY); /* it is still being tried */
    ask(&rig, REQUEST_REINIT, true);
    assert_reply(&rig, REPLY_OK);
    assert_non_null(rig_find_op(&rig, OP_CLONE));
    rig_op_done(&rig, OP_RESULT_OK);
    assert_false(rig.core.request.reinit);
}

static void reinit_by_force_ends_what_runs(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    set_op(&rig, OP_FOLLOW);
    ask(&rig, REQUEST_REINIT, false);
    assert_reply(&rig, REPLY_BUSY);
    assert_null(rig_find(&rig, ACTION_OP_CANCEL));
    ask(&rig, REQUEST_REINIT, true);
    assert_reply(&rig, REPLY_OK);
    assert_non_null(rig_find(&rig, ACTION_OP_CANCEL));
}

static void reinit_needs_a_leader_that_is_somebody_else(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    rig_become_standby(&rig, 5000);
    rig_post_local(&rig);
    ask(&rig, REQUEST_REINIT, false);
    assert_reply(&rig, REPLY_NO_LEADER); /* no view */
    rig_init(&rig);
    rig_set_leader(&rig, "you", RIG_OTHER_LEASE);
    rig_post_view(&rig, true);
    ask(&rig, REQUEST_REINIT, false);
    assert_reply(&rig, REPLY_NO_LEADER); /* and nothing known of our server */
    rig_start_follower(&rig);
    rig_set_leader(&rig, NULL, 0);
    rig_post_view(&rig, false);
    ask(&rig, REQUEST_REINIT, true);
    assert_reply(&rig, REPLY_NO_LEADER);
    rig_start_leader(&rig);
    ask(&rig, REQUEST_REINIT, true);
    assert_reply(&rig, REPLY_IS_LEADER);
    rig_start_follower(&rig);
    rig.core.stopping = true;
    ask(&rig, REQUEST_REINIT, true);
    assert_reply(&rig, REPLY_BUSY);
}

/* P5: what is there is not given up before a source is. */
static void reinit_waits_for_a_source(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        if (i == 0)
            rig_view(&rig)->members[0].role = PG_ROLE_REPLICA;
        if (i == 1)
            rig_view(&rig)->members[0].conn_host[0] = '\0';
        if (i == 2)
            rig_view(&rig)->init_state = INIT_RUNNING;
        if (i == 3)
            rig_set_leader(&rig, "stranger", 4711);
        rig_post_view(&rig, false);
        ask(&rig, REQUEST_REINIT, false);
        assert_int_equal(rig_find_op(&rig, OP_STOP) != NULL, i == 4);
        assert_int_equal(rig.core.reason == REASON_WAIT_LEADER_TO_CLONE, i != 4);
    }
}

static void reinit_ends_when_we_become_the_leader(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig.core.request.reinit = true;
    rig_tick(&rig, 1);
    assert_false(rig.core.request.reinit);
    assert_null(rig_find(&rig, ACTION_OP_BEGIN));
}

/* --- pause --- */

static void paused_reinit_says_what_it_waits_for(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    pause_cluster(&rig);
    assert_int_equal(rig.core.reason, REASON_PAUSED);
    rig_view(&rig)->members[0].role = PG_ROLE_REPLICA;
    rig_post_view(&rig, false);
    ask(&rig, REQUEST_REINIT, false);
    assert_int_equal(rig.core.reason, REASON_WAIT_LEADER_TO_CLONE);
}

static void paused_holder_lets_go_unless_it_was_asked_to_take_over(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct rig rig;
        rig_start_leader(&rig);
        pause_cluster(&rig);
        rig.core.taken_on_request = i >= 2;
        rig_become_standby(&rig, 5000);
        if (i % 2 == 1)
            rig_go_down(&rig, CONTROL_SHUT_DOWN_IN_RECOVERY);
        rig_post_local(&rig);
        assert_int_equal(rig_find_call(&rig, CALL_LEADER_RELEASE) != NULL, i != 2);
        assert_int_equal(rig_find_call(&rig, CALL_TIMELINE_CLAIM) != NULL, i == 2);
    }
}

static void paused_primary_takes_the_key_of_its_own_cluster(void **state)
{
    static const struct {
        enum init_state init;
        bool takes;
    } rows[] = {{INIT_DONE, true}, {INIT_ABSENT, true}, {INIT_RUNNING, false},
                {INIT_INVALID, false}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        rig_init(&rig);
        rig_view(&rig)->policy.pause = true;
        rig_view(&rig)->init_state = rows[i].init;
        rig_become_primary(&rig, 5000);
        rig_post_view(&rig, true);
        rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
        rig_post_local(&rig);
        assert_int_equal(rig_find_call(&rig, CALL_LEADER_ACQUIRE) != NULL, rows[i].takes);
    }
}

static void paused_standby_races_as_the_named_candidate_only(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        rig_view(&rig)->failover = (struct failover_request){.present = i != 0};
        rig_text(rig_view(&rig)->failover.candidate, NAME_SIZE, i == 1 ? "she" : "me");
        rig_view(&rig)->failover.scheduled_at_wall_ms = i == 2 ? 1 : 0;
        rig_set_leader(&rig, NULL, 0);
        pause_cluster(&rig);
        assert_int_equal(rig_find(&rig, ACTION_PEERS_ASK) != NULL, i == 3);
    }
}

/* --- stop --- */

static void post_shutdown(struct rig *rig)
{
    struct event event = rig_event(rig, EVENT_SHUTDOWN);
    rig_step(rig, &event);
}

static void stop_cancels_what_runs_but_a_stop(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    set_op(&rig, OP_FOLLOW);
    post_shutdown(&rig);
    assert_non_null(rig_find(&rig, ACTION_OP_CANCEL));
    rig_start_follower(&rig);
    set_op(&rig, OP_STOP);
    post_shutdown(&rig);
    assert_null(rig_find(&rig, ACTION_OP_CANCEL));
}

static void stop_server_of_follower(struct rig *rig)
{
    rig_start_follower(rig);
    post_shutdown(rig);
    assert_non_null(rig_find_op(rig, OP_STOP));
    rig_go_down(rig, CONTROL_SHUT_DOWN_IN_RECOVERY);
    rig_post_local(rig);
    rig_op_done(rig, OP_RESULT_OK);
}

/* The cluster hears that we stopped; etcd's silence does not keep us. */
static void leaving_waits_for_the_member_key_a_second(void **state)
{
    struct rig rig;
    (void)state;
    stop_server_of_follower(&rig);
    assert_null(rig_find(&rig, ACTION_EXIT));
    rig_tick(&rig, 999);
    assert_null(rig_find(&rig, ACTION_EXIT));
    rig_tick(&rig, 1);
    assert_non_null(rig_find(&rig, ACTION_EXIT));
    stop_server_of_follower(&rig);
    for (int i = 0; i < 10 && rig_find(&rig, ACTION_EXIT) == NULL; i++) {
        assert_true(rig.core.calls[CALL_MEMBER_PUT].in_flight);
        rig_answer(&rig, CALL_MEMBER_PUT, OUTCOME_OK);
    }
    assert_non_null(rig_find(&rig, ACTION_EXIT));
    assert_int_equal(rig.core.told_state, PG_STATE_STOPPED);
}

static void nobody_is_told_without_a_lease(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    rig_post_local(&rig);
    post_shutdown(&rig);
    assert_non_null(rig_find(&rig, ACTION_EXIT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restart_is_for_an_idle_server),
        cmocka_unit_test(restart_is_answered_when_it_is_done),
        cmocka_unit_test(end_of_something_else_answers_no_restart),
        cmocka_unit_test(restart_takes_as_long_as_a_start_may),
        cmocka_unit_test(reinit_stops_then_copies),
        cmocka_unit_test(reinit_by_force_ends_what_runs),
        cmocka_unit_test(reinit_needs_a_leader_that_is_somebody_else),
        cmocka_unit_test(reinit_waits_for_a_source),
        cmocka_unit_test(reinit_ends_when_we_become_the_leader),
        cmocka_unit_test(paused_reinit_says_what_it_waits_for),
        cmocka_unit_test(paused_holder_lets_go_unless_it_was_asked_to_take_over),
        cmocka_unit_test(paused_primary_takes_the_key_of_its_own_cluster),
        cmocka_unit_test(paused_standby_races_as_the_named_candidate_only),
        cmocka_unit_test(stop_cancels_what_runs_but_a_stop),
        cmocka_unit_test(leaving_waits_for_the_member_key_a_second),
        cmocka_unit_test(nobody_is_told_without_a_lease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
