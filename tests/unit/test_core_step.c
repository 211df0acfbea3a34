/* One step: what is absorbed and what is not, whom a writer must fear, how a stop begins. */
#include "core_rig.h"

enum { OP_ID = 9000 };

static void set_op(struct rig *rig, enum op_kind kind)
{
    rig->core.op = (struct core_op){.kind = kind, .id = OP_ID};
}

static void post_shutdown(struct rig *rig)
{
    struct event event = rig_event(rig, EVENT_SHUTDOWN);
    rig_step(rig, &event);
}

static enum pg_role told_role(const struct rig *rig)
{
    struct core_status status;
    core_describe(&rig->core, rig->now_ms, &status);
    return status.pg_role;
}

/* --- half of the world is unknown --- */

static void post_every_answer(bool with_view, bool with_local)
{
    for (int call = 0; call < CALL_COUNT; call++)
        for (int outcome = 0; outcome < OUTCOME_COUNT; outcome++) {
            struct rig rig;
            rig_init(&rig);
            rig_become_standby(&rig, 5000);
            if (with_view)
                rig_post_view(&rig, true);
            if (with_local)
                rig_post_local(&rig);
            rig_answer(&rig, (enum call)call, (enum call_outcome)outcome);
            assert_null(rig_find(&rig, ACTION_OP_BEGIN));
            assert_null(rig_find(&rig, ACTION_EXIT));
        }
}

static void answers_before_the_whole_picture_do_nothing(void **state)
{
    (void)state;
    post_every_answer(false, false);
    post_every_answer(true, false);
    post_every_answer(false, true);
}

static void stop_before_the_whole_picture_is_clean(void **state)
{
    struct core_saved saved;
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    core_save(&rig.core, &saved);
    struct identity identity = rig.core.identity;
    core_init(&rig.core, &identity, 2, &saved, rig.now_ms); /* no view yet */
    rig_post_local(&rig);
    post_shutdown(&rig);
    assert_non_null(rig_find_op(&rig, OP_STOP));
    core_init(&rig.core, &identity, 2, &saved, rig.now_ms); /* nothing of the server yet */
    rig_post_view(&rig, true);
    post_shutdown(&rig);
    assert_null(rig_find(&rig, ACTION_OP_BEGIN));
}

/* --- servers that end --- */

static bool counts_as_crash(enum op_kind during, bool fenced)
{
    struct rig rig;
    rig_start_leader(&rig);
    if (during != OP_NONE)
        set_op(&rig, during);
    rig.core.fenced = fenced;
    rig_go_down(&rig, CONTROL_IN_PRODUCTION);
    rig_post_local(&rig);
    return rig_noted(&rig, REASON_CRASHED);
}

static void end_that_was_asked_for_is_no_crash(void **state)
{
    static const enum op_kind ending[] = {OP_STOP, OP_RESTART, OP_BOOTSTRAP, OP_START_PRIMARY,
                                          OP_START_STANDBY};
    (void)state;
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++)
        assert_false(counts_as_crash(ending[i], false));
    assert_false(counts_as_crash(OP_NONE, true));
    assert_true(counts_as_crash(OP_NONE, false));
    assert_true(counts_as_crash(OP_CHECKPOINT, false));
}

/* What SQL said last is not what a server is that cannot be asked. */
static void role_of_a_silent_server_is_remembered(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_local(&rig)->postmaster = POSTMASTER_STARTING;
    rig_local(&rig)->sql_valid = false;
    rig_local(&rig)->in_recovery = true;
    rig_post_local(&rig);
    rig_go_down(&rig, CONTROL_IN_PRODUCTION);
    rig.core.fenced = true;
    rig_post_local(&rig);
    assert_int_equal(told_role(&rig), PG_ROLE_PRIMARY);
    assert_true(rig.core.was_primary);
}

/* --- promotions that may still happen --- */

/* "me" has the key; its promotion was cancelled, the server may not have heard. */
static void promote_without_end(struct rig *rig)
{
    rig_start_leader(rig);
    rig_become_standby(rig, 5000);
    rig_local(rig)->postmaster_id = 7;
    rig->core.fenced = true;
    rig_post_local(rig);
    set_op(rig, OP_PROMOTE);
    rig_op_done(rig, OP_RESULT_CANCELLED);
}

static void lose_key_to(struct rig *rig, const char *name)
{
    rig_set_leader(rig, name, RIG_OTHER_LEASE);
    rig_view(rig)->members[0].role = PG_ROLE_PRIMARY;
    rig_post_view(rig, true);
}

static void unfinished_promotion_is_stopped_without_the_key(void **state)
{
    struct rig rig;
    (void)state;
    promote_without_end(&rig);
    rig_post_local(&rig); /* still in recovery: it may yet become a writer */
    lose_key_to(&rig, "you");
    assert_int_equal(rig.core.op.kind, OP_STOP);
    assert_int_equal(rig.core.reason, REASON_DEMOTE_LOST_KEY);
}

static void new_postmaster_does_not_promote_by_itself(void **state)
{
    struct rig rig;
    (void)state;
    promote_without_end(&rig);
    rig_local(&rig)->postmaster_id = 8;
    rig_post_local(&rig);
    lose_key_to(&rig, "you");
    assert_int_not_equal(rig.core.op.kind, OP_STOP);
}

static void other_operations_of_a_standby_leave_no_doubt(void **state)
{
    static const enum op_result results[] = {OP_RESULT_OK, OP_RESULT_FAILED, OP_RESULT_TIMEOUT};
    (void)state;
    for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        set_op(&rig, OP_FOLLOW);
        rig_op_done(&rig, results[i]);
        rig_tick(&rig, 1);
        assert_int_not_equal(rig.core.op.kind, OP_STOP);
    }
}

/* --- old news --- */

static void completion_of_an_earlier_operation_is_ignored(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    set_op(&rig, OP_CHECKPOINT);
    struct event event = rig_event(&rig, EVENT_OP_DONE);
    event.u.op.op_id = rig.core.op.id - 1;
    event.u.op.result = OP_RESULT_OK;
    rig_step(&rig, &event);
    assert_int_equal(rig.core.op.kind, OP_CHECKPOINT);
}

/* LC-01: answers that waited for a frozen agent were given about another moment. */
static void answers_to_a_frozen_agent_are_not_believed(void **state)
{
    struct rig rig;
    struct peer_answer peers[] = {rig_standby("you", 4000), rig_standby("she", 4000)};
    (void)state;
    rig_init(&rig);
    rig_become_standby(&rig, 5000);
    rig_post_view(&rig, true);
    rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
    rig_post_local(&rig);
    assert_non_null(rig_find(&rig, ACTION_PEERS_ASK));
    rig.now_ms += 2500; /* one second more than the timer allows */
    rig_peers(&rig, peers, 2);
    assert_true(rig_noted(&rig, REASON_TILT));
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
}

/* --- the guard --- */

static void found_writer_gets_one_ttl(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    rig_become_primary(&rig, 5000);
    rig_post_local(&rig);
    const struct action *fence = rig_find(&rig, ACTION_FENCE);
    assert_non_null(fence);
    assert_int_equal(fence->u.fence.kind, FENCE_UNTIL);
    assert_int_equal(fence->u.fence.until_ms, rig.now_ms + 30000); /* nothing told us of another */
    rig_init(&rig);
    rig_become_primary(&rig, 5000);
    rig_post_view(&rig, true);
    rig_post_local(&rig);
    fence = rig_find(&rig, ACTION_FENCE);
    assert_non_null(fence);
    assert_int_equal(fence->u.fence.until_ms, rig.now_ms + RIG_TTL_MS);
    assert_null(rig_find_op(&rig, OP_STOP)); /* whatever ttl a lease has that is not there yet */
    rig_go_down(&rig, CONTROL_IN_PRODUCTION);
    rig_post_local(&rig);
    rig.now_ms += 900;
    rig_become_primary(&rig, 5000);
    rig_local(&rig)->postmaster_id = 2;
    rig_post_local(&rig); /* another one: its time is not that of the one before */
    fence = rig_find(&rig, ACTION_FENCE);
    assert_non_null(fence);
    assert_int_equal(fence->u.fence.until_ms, rig.now_ms + RIG_TTL_MS);
}

/* An agent that takes a server over in a pause first hears of the pause, and of the key that the
 * agent before it left, by word that confirms nothing. */
static void found_writer_in_a_pause_is_not_stopped_for_the_key(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    rig_become_primary(&rig, 5000);
    rig_post_local(&rig);
    rig_view(&rig)->policy.pause = true;
    rig_set_leader(&rig, "me", RIG_OTHER_LEASE);
    rig_post_view(&rig, false);
    assert_null(rig_find_op(&rig, OP_STOP));
    rig_post_view(&rig, true);
    assert_null(rig_find_op(&rig, OP_STOP));
    assert_true(rig.core.pause_is_confirmed);
    rig_init(&rig);
    rig_view(&rig)->policy.pause = true;
    rig_set_leader(&rig, "me", RIG_OTHER_LEASE);
    rig_post_view(&rig, false);
    rig_become_primary(&rig, 5000);
    rig_post_local(&rig);
    assert_null(rig_find_op(&rig, OP_STOP));
    rig_tick(&rig, RIG_TTL_MS); /* unless the pause remains hearsay until the fence */
    assert_non_null(rig_find_op(&rig, OP_STOP));
}

static void servers_that_operations_start_are_no_writers(void **state)
{
    static const enum op_kind private_ops[] = {OP_BOOTSTRAP, OP_CLONE, OP_REWIND};
    (void)state;
    for (size_t i = 0; i < sizeof private_ops / sizeof private_ops[0]; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        set_op(&rig, private_ops[i]);
        rig_become_primary(&rig, 5000);
        rig_post_local(&rig);
        assert_null(rig_find(&rig, ACTION_OP_CANCEL));
        assert_null(rig_find(&rig, ACTION_FENCE));
    }
}

static void fence_stands_while_a_demoted_server_stops(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    lose_key_to(&rig, "you");
    assert_non_null(rig_find_op(&rig, OP_STOP));
    assert_null(rig_find(&rig, ACTION_FENCE));
    rig_tick(&rig, 1);
    assert_null(rig_find(&rig, ACTION_FENCE));
}

/* Nobody had the deleted key, so we could go on; somebody has it now. */
static void stop_is_short_once_somebody_else_leads(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_set_leader(&rig, NULL, 0);
    rig_post_view(&rig, true);
    assert_null(rig_find_op(&rig, OP_STOP));
    lose_key_to(&rig, "you");
    const struct action *stop = rig_find_op(&rig, OP_STOP);
    assert_non_null(stop);
    assert_int_equal(stop->u.op.deadline_ms, rig.now_ms + 1000);
}

static void resume_renews_the_lease_at_once(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_view(&rig)->policy.pause = true;
    rig_post_view(&rig, true);
    rig_view(&rig)->policy.pause = false;
    rig_post_view(&rig, false);
    assert_non_null(rig_find_call(&rig, CALL_LEASE_KEEPALIVE));
}

/* The right is over: the pause lasts until a renewal has confirmed a new one. */
static void resume_without_a_right_asks_for_one_first(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_view(&rig)->policy.pause = true;
    rig_post_view(&rig, true);
    rig_tick(&rig, RIG_TTL_MS - 1000);
    rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK); /* and no read that confirms it */
    rig_view(&rig)->policy.pause = false;
    rig_post_view(&rig, false);
    assert_true(rig.core.paused);
    assert_null(rig_find_op(&rig, OP_STOP));
    assert_non_null(rig_find_call(&rig, CALL_LEASE_KEEPALIVE));
}

/* --- stopping --- */

static void stop_ends_what_a_leader_is_doing(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    set_op(&rig, OP_CHECKPOINT);
    post_shutdown(&rig);
    assert_non_null(rig_find(&rig, ACTION_OP_CANCEL));
    rig_tick(&rig, 1);
    assert_null(rig_find(&rig, ACTION_OP_CANCEL)); /* once */
    rig_start_leader(&rig);
    set_op(&rig, OP_STOP);
    post_shutdown(&rig);
    assert_null(rig_find(&rig, ACTION_OP_CANCEL));
}

static void stop_does_not_break_a_handover(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    set_op(&rig, OP_CHECKPOINT);
    rig.core.handover.phase = SWITCH_CHECKPOINT;
    post_shutdown(&rig);
    assert_null(rig_find(&rig, ACTION_OP_CANCEL));
    rig_op_done(&rig, OP_RESULT_OK);
    assert_non_null(rig_find_op(&rig, OP_STOP));
}

static void handover_ends_with_the_key(void **state)
{
    struct rig rig;
    struct peer_answer she = rig_standby("she", 6000);
    (void)state;
    rig_start_leader(&rig);
    rig_go_down(&rig, CONTROL_SHUT_DOWN);
    rig.core.fenced = true;
    rig.core.handover.phase = SWITCH_CONFIRMING;
    rig.core.handover.shutdown_lsn = 5120;
    rig.core.handover.deadline_ms = rig.now_ms + 3000;
    rig_post_local(&rig);
    assert_true(rig.core.handover.asking);
    lose_key_to(&rig, "you");
    rig_peers(&rig, &she, 1);
    assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
}

/* Paused, the wrong data are only told; a key that we hold for them is given up, once. */
static void foreign_data_in_a_pause_keep_no_key(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_view(&rig)->policy.pause = true;
    rig_post_view(&rig, true);
    rig_local(&rig)->sysid = 666;
    rig_post_local(&rig);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
    rig_tick(&rig, 1);
    assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
    assert_null(rig_find(&rig, ACTION_EXIT));
    rig_start_follower(&rig);
    rig_view(&rig)->policy.pause = true;
    rig_post_view(&rig, true);
    rig_local(&rig)->sysid = 666;
    rig_post_local(&rig);
    assert_int_equal(rig.core.reason, REASON_FOREIGN_SYSID);
    assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_before_the_whole_picture_do_nothing),
        cmocka_unit_test(stop_before_the_whole_picture_is_clean),
        cmocka_unit_test(end_that_was_asked_for_is_no_crash),
        cmocka_unit_test(role_of_a_silent_server_is_remembered),
        cmocka_unit_test(unfinished_promotion_is_stopped_without_the_key),
        cmocka_unit_test(new_postmaster_does_not_promote_by_itself),
        cmocka_unit_test(other_operations_of_a_standby_leave_no_doubt),
        cmocka_unit_test(completion_of_an_earlier_operation_is_ignored),
        cmocka_unit_test(answers_to_a_frozen_agent_are_not_believed),
        cmocka_unit_test(found_writer_gets_one_ttl),
        cmocka_unit_test(found_writer_in_a_pause_is_not_stopped_for_the_key),
        cmocka_unit_test(servers_that_operations_start_are_no_writers),
        cmocka_unit_test(fence_stands_while_a_demoted_server_stops),
        cmocka_unit_test(stop_is_short_once_somebody_else_leads),
        cmocka_unit_test(resume_renews_the_lease_at_once),
        cmocka_unit_test(resume_without_a_right_asks_for_one_first),
        cmocka_unit_test(stop_ends_what_a_leader_is_doing),
        cmocka_unit_test(stop_does_not_break_a_handover),
        cmocka_unit_test(handover_ends_with_the_key),
        cmocka_unit_test(foreign_data_in_a_pause_keep_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
