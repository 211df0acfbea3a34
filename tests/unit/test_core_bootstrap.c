/* No data yet: who may make the cluster, when it is ours, where a copy comes from. */
#include "core_rig.h"

static void start_empty(struct rig *rig)
{
    rig_init(rig);
    rig_local(rig)->data_dir = DATA_DIR_EMPTY;
    rig_post_local(rig);
}

static void start_empty_without_cluster(struct rig *rig)
{
    start_empty(rig);
    rig_view(rig)->init_state = INIT_ABSENT;
    rig_view(rig)->config_present = false;
    rig_view(rig)->member_count = 0;
    rig_post_view(rig, true);
    rig_answer(rig, CALL_LEASE_GRANT, OUTCOME_OK);
}

static void show_our_initialize(struct rig *rig)
{
    rig_view(rig)->init_state = INIT_RUNNING;
    rig_view(rig)->init_lease_id = RIG_LEASE;
    rig_view(rig)->init_mod_revision = rig_view(rig)->revision;
    rig_post_view(rig, true);
}

static void fill_directory(struct rig *rig)
{
    rig_local(rig)->data_dir = DATA_DIR_VALID;
    rig_local(rig)->sysid = 9999;
    rig_local(rig)->control_state = CONTROL_SHUT_DOWN;
    rig_local(rig)->control_timeline = 1;
    rig_post_local(rig);
}

/* initdb is done, and the view shows that "initialize" is ours. */
static void bootstrap_until_commit(struct rig *rig)
{
    start_empty_without_cluster(rig);
    rig_answer(rig, CALL_INIT_RACE, OUTCOME_OK);
    assert_non_null(rig_find_op(rig, OP_BOOTSTRAP));
    show_our_initialize(rig);
    fill_directory(rig);
    rig_op_done(rig, OP_RESULT_OK);
    assert_non_null(rig_find_call(rig, CALL_INIT_COMMIT));
}

static void won_bootstrap_without_an_answer_is_begun(void **state)
{
    struct rig rig;
    (void)state;
    start_empty_without_cluster(&rig);
    rig_answer(&rig, CALL_INIT_RACE, OUTCOME_UNKNOWN);
    assert_null(rig_find(&rig, ACTION_OP_BEGIN));
    show_our_initialize(&rig);
    assert_non_null(rig_find_op(&rig, OP_BOOTSTRAP));
}

/* Without a lease nothing is ours: an "initialize" without one is somebody's. */
static void initialize_without_a_lease_is_not_ours(void **state)
{
    struct rig rig;
    (void)state;
    start_empty(&rig);
    rig_view(&rig)->init_state = INIT_RUNNING;
    rig_view(&rig)->init_lease_id = 0;
    rig_post_view(&rig, true);
    assert_null(rig_find(&rig, ACTION_OP_BEGIN));
    assert_int_equal(rig.core.reason, REASON_WAIT_BOOTSTRAP);
}

static void bootstrap_is_for_those_that_may(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct rig rig;
        start_empty(&rig);
        rig.core.identity.may_bootstrap = i == 0;
        rig.core.identity.tags.nofailover = i == 0;
        rig_view(&rig)->init_state = INIT_ABSENT;
        rig_post_view(&rig, true);
        rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
        assert_null(rig_find_call(&rig, CALL_INIT_RACE));
        assert_int_equal(rig.core.reason, REASON_BOOTSTRAP_NOT_ALLOWED);
    }
}

/* ET-05: a cluster that was seen is never made again. */
static void vanished_initialize_is_no_invitation(void **state)
{
    struct rig rig;
    (void)state;
    start_empty(&rig);
    rig_post_view(&rig, true);
    rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
    rig_view(&rig)->init_state = INIT_ABSENT;
    rig_post_view(&rig, true);
    assert_null(rig_find_call(&rig, CALL_INIT_RACE));
    start_empty(&rig);
    rig_view(&rig)->init_state = INIT_INVALID;
    rig_post_view(&rig, true);
    rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
    assert_null(rig_find_call(&rig, CALL_INIT_RACE));
}

static void older_view_does_not_end_a_bootstrap(void **state)
{
    struct rig rig;
    (void)state;
    start_empty_without_cluster(&rig);
    int64_t revision = rig_view(&rig)->revision;
    rig_answer(&rig, CALL_INIT_RACE, OUTCOME_OK);
    rig_view(&rig)->revision = revision; /* the view is older than our initialize */
    fill_directory(&rig);
    rig_op_done(&rig, OP_RESULT_OK);
    assert_null(rig_find(&rig, ACTION_EXIT));
    assert_null(rig_find_call(&rig, CALL_INIT_COMMIT));
    rig_view(&rig)->revision = revision + 1;
    show_our_initialize(&rig);
    assert_non_null(rig_find_call(&rig, CALL_INIT_COMMIT));
}

static void failed_cleanly(const struct rig *rig)
{
    assert_non_null(rig_find(rig, ACTION_EXIT));
    assert_int_equal(rig_find(rig, ACTION_EXIT)->u.exit.code, 1);
    assert_null(rig_find_call(rig, CALL_INIT_COMMIT));
    assert_null(rig_find_call(rig, CALL_INIT_RACE));
    assert_null(rig_find(rig, ACTION_OP_BEGIN));
}

static void initialize_of_somebody_else_ends_a_bootstrap(void **state)
{
    struct rig rig;
    (void)state;
    start_empty_without_cluster(&rig);
    rig_answer(&rig, CALL_INIT_RACE, OUTCOME_OK);
    show_our_initialize(&rig);
    rig_view(&rig)->init_lease_id = RIG_OTHER_LEASE; /* our lease ran out meanwhile */
    rig_post_view(&rig, true);
    fill_directory(&rig);
    rig_op_done(&rig, OP_RESULT_OK);
    failed_cleanly(&rig);
    assert_non_null(rig_find_call(&rig, CALL_INIT_ABORT));
}

static void failed_initdb_ends_a_bootstrap(void **state)
{
    struct rig rig;
    (void)state;
    start_empty_without_cluster(&rig);
    rig_answer(&rig, CALL_INIT_RACE, OUTCOME_OK);
    show_our_initialize(&rig);
    rig_op_done(&rig, OP_RESULT_FAILED);
    failed_cleanly(&rig);
    assert_non_null(rig_find_call(&rig, CALL_INIT_ABORT));
}

static void refused_commit_ends_a_bootstrap(void **state)
{
    struct rig rig;
    (void)state;
    bootstrap_until_commit(&rig);
    rig_answer(&rig, CALL_INIT_COMMIT, OUTCOME_REFUSED);
    failed_cleanly(&rig);
}

static void commit_without_an_answer_is_sent_again(void **state)
{
    struct rig rig;
    bool sent = false;
    (void)state;
    bootstrap_until_commit(&rig);
    rig_answer(&rig, CALL_INIT_COMMIT, OUTCOME_UNKNOWN);
    assert_null(rig_find(&rig, ACTION_EXIT));
    for (int i = 0; i < 20 && !sent; i++) {
        rig_tick(&rig, 100);
        sent = rig_find_call(&rig, CALL_INIT_COMMIT) != NULL;
    }
    assert_true(sent);
}

/* The commit worked, its answer was lost, the view shows the key. */
static void commit_is_seen_in_the_view(void **state)
{
    struct rig rig;
    (void)state;
    bootstrap_until_commit(&rig);
    rig_answer(&rig, CALL_INIT_COMMIT, OUTCOME_UNKNOWN);
    rig_view(&rig)->init_state = INIT_DONE;
    rig_view(&rig)->sysid = 9999;
    rig_set_leader(&rig, "me", RIG_LEASE);
    rig_post_view(&rig, true);
    assert_null(rig_find(&rig, ACTION_EXIT));
    assert_false(rig.core.bootstrapping);
    assert_int_not_equal(rig.core.key.create_revision, 0);
}

/* --- clones --- */

static void start_empty_beside_leader(struct rig *rig)
{
    start_empty(rig);
    rig_set_leader(rig, "you", RIG_OTHER_LEASE);
    rig_view(rig)->members[0].role = PG_ROLE_PRIMARY;
}

static void no_clone_of_a_cluster_without_identity(void **state)
{
    struct rig rig;
    (void)state;
    start_empty_beside_leader(&rig);
    rig_view(&rig)->init_state = INIT_RUNNING;
    rig_post_view(&rig, true);
    assert_null(rig_find_op(&rig, OP_CLONE));
    rig_view(&rig)->init_state = INIT_DONE;
    rig_post_view(&rig, true);
    assert_non_null(rig_find_op(&rig, OP_CLONE));
}

static void failed_clone_is_not_begun_again_at_once(void **state)
{
    struct rig rig;
    (void)state;
    start_empty_beside_leader(&rig);
    rig_post_view(&rig, true);
    rig_op_done(&rig, OP_RESULT_FAILED);
    assert_true(rig_noted(&rig, REASON_CLONE_FAILED));
    assert_null(rig_find_op(&rig, OP_CLONE));
    rig_tick(&rig, 900);
    assert_null(rig_find_op(&rig, OP_CLONE));
    rig_tick(&rig, 60000);
    rig_tick(&rig, 1);
    assert_int_equal(rig.core.op.kind, OP_CLONE);
    rig_op_done(&rig, OP_RESULT_CANCELLED);
    assert_true(rig_noted(&rig, REASON_OP_CANCELLED));
    assert_false(rig_noted(&rig, REASON_CLONE_FAILED));
}

static void copy_comes_from_a_member_that_offers_itself(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct rig rig;
        start_empty_beside_leader(&rig);
        struct member *she = &rig_view(&rig)->members[1];
        she->tags.clonefrom = i != 0;
        if (i == 1)
            she->state = PG_STATE_STARTING;
        if (i == 2)
            she->conn_host[0] = '\0';
        rig_add_member(&rig, "me", RIG_LEASE)->tags.clonefrom = true;
        rig_view(&rig)->members[0].tags.clonefrom = true;
        rig_post_view(&rig, true);
        const struct action *clone = rig_find_op(&rig, OP_CLONE);
        assert_non_null(clone);
        assert_string_equal(clone->u.op.source, i == 3 ? "she" : "you");
    }
}

/* --- directories that are not there --- */

static void running_server_without_a_directory_is_stopped(void **state)
{
    static const enum data_dir_state states[] = {DATA_DIR_GONE, DATA_DIR_EMPTY};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        rig_local(&rig)->data_dir = states[i];
        rig_post_local(&rig);
        const struct action *stop = rig_find_op(&rig, OP_STOP);
        assert_non_null(stop);
        assert_int_equal(stop->u.op.stop_mode, STOP_IMMEDIATE);
        rig_tick(&rig, 1);
        assert_null(rig_find(&rig, ACTION_OP_BEGIN));
        assert_int_equal(rig.core.reason, REASON_DIRECTORY_GONE);
    }
}

static void volume_that_is_away_is_filled_on_request_only(void **state)
{
    struct rig rig;
    (void)state;
    start_empty_beside_leader(&rig);
    rig_local(&rig)->data_dir = DATA_DIR_WAITING;
    rig_post_local(&rig);
    rig_post_view(&rig, true);
    assert_null(rig_find(&rig, ACTION_OP_BEGIN));
    struct event event = rig_event(&rig, EVENT_REQUEST);
    event.u.request.kind = REQUEST_REINIT;
    rig_step(&rig, &event);
    assert_non_null(rig_find_op(&rig, OP_CLONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(won_bootstrap_without_an_answer_is_begun),
        cmocka_unit_test(initialize_without_a_lease_is_not_ours),
        cmocka_unit_test(bootstrap_is_for_those_that_may),
        cmocka_unit_test(vanished_initialize_is_no_invitation),
        cmocka_unit_test(older_view_does_not_end_a_bootstrap),
        cmocka_unit_test(initialize_of_somebody_else_ends_a_bootstrap),
        cmocka_unit_test(failed_initdb_ends_a_bootstrap),
        cmocka_unit_test(refused_commit_ends_a_bootstrap),
        cmocka_unit_test(commit_without_an_answer_is_sent_again),
        cmocka_unit_test(commit_is_seen_in_the_view),
        cmocka_unit_test(no_clone_of_a_cluster_without_identity),
        cmocka_unit_test(failed_clone_is_not_begun_again_at_once),
        cmocka_unit_test(copy_comes_from_a_member_that_offers_itself),
        cmocka_unit_test(running_server_without_a_directory_is_stopped),
        cmocka_unit_test(volume_that_is_away_is_filled_on_request_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
