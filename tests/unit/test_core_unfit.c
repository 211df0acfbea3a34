/* A holder of the key that cannot serve, or not yet: when it lets go, when it tries again. */
#include "core_rig.h"

enum { OP_ID = 9000 };

static void set_op(struct rig *rig, enum op_kind kind)
{
    rig->core.op = (struct core_op){.kind = kind, .id = OP_ID};
}

static void crash(struct rig *rig)
{
    rig_go_down(rig, CONTROL_IN_PRODUCTION);
    rig_post_local(rig);
}

static void come_up(struct rig *rig, int64_t postmaster_id)
{
    rig_become_primary(rig, 5000);
    rig_local(rig)->postmaster_id = postmaster_id;
    rig_post_local(rig);
    rig_op_done(rig, OP_RESULT_OK);
}

/* A leader whose only possible successor is "she". */
static struct member *start_leader_with_one(struct rig *rig)
{
    rig_start_leader(rig);
    rig_view(rig)->member_count = 0;
    rig_add_member(rig, "me", RIG_LEASE);
    return rig_add_member(rig, "she", 99);
}

static void successor_is_somebody_who_could_lead(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        struct rig rig;
        struct member *she = start_leader_with_one(&rig);
        if (i == 0)
            rig_text(she->name, NAME_SIZE, "me");
        if (i == 1)
            she->tags.nofailover = true;
        if (i == 2)
            she->state = PG_STATE_STARTING;
        if (i == 3)
            she->role = PG_ROLE_PRIMARY;
        if (i == 4)
            she->api_url[0] = '\0';
        rig_view(&rig)->policy.primary_start_timeout_ms = 0; /* not one restart */
        rig_post_view(&rig, false);
        crash(&rig);
        rig_tick(&rig, 1);
        assert_int_equal(rig.core.calls[CALL_LEADER_RELEASE].in_flight, i == 5);
        assert_int_equal(rig.core.op.kind == OP_START_PRIMARY, i < 5);
    }
}

/* With a start timeout of 0 it is the crash that counts, not that the server is down. */
static void server_that_did_not_crash_is_started(void **state)
{
    struct rig rig;
    (void)state;
    start_leader_with_one(&rig);
    rig_view(&rig)->policy.primary_start_timeout_ms = 0;
    rig_post_view(&rig, false);
    rig.core.fenced = true;
    rig_go_down(&rig, CONTROL_SHUT_DOWN);
    rig_post_local(&rig);
    const struct action *start = rig_find_op(&rig, OP_START_PRIMARY);
    assert_non_null(start);
    assert_int_equal(start->u.op.deadline_ms, 0);
}

static void start_ends_in_time(void **state)
{
    struct rig rig;
    (void)state;
    start_leader_with_one(&rig);
    rig_view(&rig)->policy.primary_start_timeout_ms = 7000;
    rig_post_view(&rig, false);
    crash(&rig);
    const struct action *start = rig_find_op(&rig, OP_START_PRIMARY);
    assert_non_null(start);
    assert_int_equal(start->u.op.deadline_ms, rig.now_ms + 7000);
}

static void unfit_holder_ends_what_runs_but_a_stop(void **state)
{
    static const enum op_kind running[] = {OP_CHECKPOINT, OP_STOP};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct rig rig;
        start_leader_with_one(&rig);
        rig.core.unfit = REASON_CRASH_LOOP;
        set_op(&rig, running[i]);
        rig_tick(&rig, 1);
        assert_int_equal(rig_find(&rig, ACTION_OP_CANCEL) != NULL, i == 0);
        assert_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
    }
}

/* "stopped" would be taken for a handover. */
static void holder_that_gave_up_says_that_it_crashed(void **state)
{
    struct rig rig;
    (void)state;
    start_leader_with_one(&rig);
    rig.core.unfit = REASON_PRIMARY_UNRESPONSIVE;
    rig_go_down(&rig, CONTROL_IN_PRODUCTION);
    rig.core.op.kind = OP_STOP;
    rig_post_local(&rig);
    rig_op_done(&rig, OP_RESULT_OK);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_RELEASE));
    rig_answer(&rig, CALL_MEMBER_PUT, OUTCOME_OK); /* it was stopping */
    assert_int_equal(rig.core.told_state, PG_STATE_CRASHED);
    rig_view(&rig)->policy.pause = true; /* so that it is not started at once */
    rig_post_view(&rig, true);
    rig_answer(&rig, CALL_LEADER_RELEASE, OUTCOME_OK);
    rig_answer(&rig, CALL_MEMBER_PUT, OUTCOME_OK);
    assert_int_equal(rig.core.told_role, PG_ROLE_DEMOTED);
    assert_int_equal(rig.core.told_state, PG_STATE_CRASHED);
}

static void crashes_of_another_time_do_not_count(void **state)
{
    struct rig rig;
    (void)state;
    start_leader_with_one(&rig);
    crash(&rig);
    come_up(&rig, 10);
    assert_int_equal(rig.core.crash.count, 1);
    rig.core.crash.window_at_ms = rig.now_ms - 600000;
    crash(&rig);
    come_up(&rig, 11);
    assert_int_equal(rig.core.crash.count, 2);
    rig.core.crash.window_at_ms = rig.now_ms - 600001;
    crash(&rig);
    assert_int_equal(rig.core.crash.count, 1);
    assert_non_null(rig_find_op(&rig, OP_START_PRIMARY));
}

static void lonely_holder_tries_ever_slower(void **state)
{
    static const int64_t pauses_ms[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_view(&rig)->member_count = 0;
    rig_post_view(&rig, false);
    rig.core.fenced = true;
    rig_go_down(&rig, CONTROL_SHUT_DOWN);
    rig_post_local(&rig);
    for (size_t i = 0; i < sizeof pauses_ms / sizeof pauses_ms[0]; i++) {
        set_op(&rig, OP_START_PRIMARY);
        rig_op_done(&rig, OP_RESULT_FAILED);
        assert_int_equal(rig.core.follow.start_at_ms - rig.now_ms, pauses_ms[i]);
        assert_null(rig_find(&rig, ACTION_OP_BEGIN));
    }
}

static void only_a_primary_is_started_as_one(void **state)
{
    static const struct {
        enum control_state control;
        bool has_signal, as_primary;
    } rows[] = {
        {CONTROL_SHUT_DOWN, false, true},    {CONTROL_IN_PRODUCTION, false, true},
        {CONTROL_SHUT_DOWN, true, false},    {CONTROL_IN_PRODUCTION, true, false},
        {CONTROL_IN_RECOVERY, false, false}, {CONTROL_SHUT_DOWN_IN_RECOVERY, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        start_leader_with_one(&rig);
        rig.core.fenced = true;
        rig_go_down(&rig, rows[i].control);
        rig_local(&rig)->has_standby_signal = rows[i].has_signal;
        rig_post_local(&rig);
        assert_int_equal(rig.core.op.kind,
                         rows[i].as_primary ? OP_START_PRIMARY : OP_START_STANDBY);
    }
}

static void holder_without_usable_data_lets_go(void **state)
{
    static const enum data_dir_state states[] = {DATA_DIR_GONE, DATA_DIR_EMPTY, DATA_DIR_HALF};
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        start_leader_with_one(&rig);
        rig.core.fenced = true;
        rig_go_down(&rig, CONTROL_SHUT_DOWN);
        rig_local(&rig)->data_dir = states[i];
        rig_post_local(&rig);
        rig_tick(&rig, 1);
        assert_true(rig.core.calls[CALL_LEADER_RELEASE].in_flight);
        assert_int_equal(rig.core.op.kind, OP_NONE);
    }
}

/* PG-01: alive, but no session works. */
static void unresponsive_primary_lets_go_after_its_time(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct rig rig;
        struct member *she = start_leader_with_one(&rig);
        rig_view(&rig)->policy.primary_start_timeout_ms = i == 1 ? 0 : 2000;
        she->tags.nofailover = i == 2;
        rig_post_view(&rig, false);
        rig_local(&rig)->sql_valid = false;
        rig_local(&rig)->sql_ok_at_ms = i == 3 ? 0 : rig.now_ms;
        rig_post_local(&rig);
        rig_tick(&rig, i == 4 ? 2000 : 2001);
        assert_int_equal(rig_find_op(&rig, OP_STOP) != NULL || rig.core.unfit != REASON_NONE,
                         i == 0);
    }
}

/* --- promotion --- */

static void new_timeline_is_above_every_known_one(void **state)
{
    static const uint32_t rows[][4] = {{4, 0, 0, 5}, {4, 4, 3, 5}, {4, 3, 4, 5},
                                       {4, 4, 6, 7}, {4, 6, 5, 7}, {4, 6, 8, 9}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        rig_start_leader(&rig);
        rig.core.fenced = true;
        rig_become_standby(&rig, 5000);
        rig_local(&rig)->timeline = rows[i][0];
        rig_view(&rig)->history_count = 1;
        rig_view(&rig)->history[0] = (struct history_row){.timeline = 4, .switch_lsn = 5000};
        rig_view(&rig)->history_timeline = rows[i][1];
        rig_view(&rig)->claimed_timeline = rows[i][2];
        rig_post_local(&rig);
        const struct action *claim = rig_find_call(&rig, CALL_TIMELINE_CLAIM);
        assert_non_null(claim);
        assert_int_equal(claim->u.call.timeline, rows[i][3]);
    }
}

static void promotion_that_ended_badly_lets_go(void **state)
{
    static const enum op_result results[] = {OP_RESULT_FAILED, OP_RESULT_TIMEOUT,
                                             OP_RESULT_CANCELLED};
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        start_leader_with_one(&rig);
        rig_become_standby(&rig, 5000);
        rig_post_local(&rig);
        set_op(&rig, OP_PROMOTE);
        rig_op_done(&rig, results[i]);
        assert_int_equal(rig_noted(&rig, REASON_PROMOTE_FAILED), i < 2);
    }
}

static void checkpoint_is_pending_until_it_worked(void **state)
{
    static const struct {
        enum op_kind kind;
        enum op_result result;
        bool done;
    } rows[] = {{OP_CHECKPOINT, OP_RESULT_OK, true},
                {OP_CHECKPOINT, OP_RESULT_FAILED, false},
                {OP_RESTART, OP_RESULT_OK, false}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        struct core_status status;
        start_leader_with_one(&rig);
        rig.core.checkpoint_pending = true;
        rig.core.checkpoint_at_ms = rig.now_ms + 60000;
        set_op(&rig, rows[i].kind);
        rig_op_done(&rig, rows[i].result);
        core_describe(&rig.core, rig.now_ms, &status);
        assert_int_equal(status.checkpoint_pending, !rows[i].done);
    }
}

static void position_is_told_right_after_a_start(void **state)
{
    static const struct {
        enum op_kind kind;
        enum op_result result;
        bool told;
    } rows[] = {{OP_START_PRIMARY, OP_RESULT_OK, true},
                {OP_START_PRIMARY, OP_RESULT_CANCELLED, false},
                {OP_CHECKPOINT, OP_RESULT_OK, false}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        start_leader_with_one(&rig);
        rig_answer(&rig, CALL_STATUS_PUT, OUTCOME_OK);
        rig.core.status_due = false;
        rig_local(&rig)->flush_lsn = 6000;
        set_op(&rig, rows[i].kind);
        rig_op_done(&rig, rows[i].result);
        assert_int_equal(rig_find_call(&rig, CALL_STATUS_PUT) != NULL, rows[i].told);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(successor_is_somebody_who_could_lead),
        cmocka_unit_test(server_that_did_not_crash_is_started),
        cmocka_unit_test(start_ends_in_time),
        cmocka_unit_test(unfit_holder_ends_what_runs_but_a_stop),
        cmocka_unit_test(holder_that_gave_up_says_that_it_crashed),
        cmocka_unit_test(crashes_of_another_time_do_not_count),
        cmocka_unit_test(lonely_holder_tries_ever_slower),
        cmocka_unit_test(only_a_primary_is_started_as_one),
        cmocka_unit_test(holder_without_usable_data_lets_go),
        cmocka_unit_test(unresponsive_primary_lets_go_after_its_time),
        cmocka_unit_test(new_timeline_is_above_every_known_one),
        cmocka_unit_test(promotion_that_ended_badly_lets_go),
        cmocka_unit_test(checkpoint_is_pending_until_it_worked),
        cmocka_unit_test(position_is_told_right_after_a_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
