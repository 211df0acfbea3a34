/* Somebody else leads: cloning, comparing histories, rewinding, following; and the very first
 * start. */
#include "core_rig.h"

#include "../../src/core/internal.h"

static void divergence_table(void **state)
{
    const struct history_row rows[] = {{1, 1000}, {2, 2000}};
    (void)state;
    assert_true(diverge_can_follow(3, 9999, 3, rows, 2));   /* same timeline */
    assert_true(diverge_can_follow(1, 1000, 3, rows, 2));   /* at the fork */
    assert_false(diverge_can_follow(1, 1001, 3, rows, 2));  /* one byte past it */
    assert_true(diverge_can_follow(2, 2000, 3, rows, 2));
    assert_false(diverge_can_follow(2, 2001, 3, rows, 2));
    assert_false(diverge_can_follow(4, 1, 3, rows, 2));     /* a future of its own */
    assert_false(diverge_can_follow(7, 1, 9, rows, 2));     /* a timeline the leader never had */
    assert_false(diverge_can_follow(1, 1, 2, NULL, 0));
}

static void answer_history(struct rig *rig, uint32_t timeline, uint64_t fork_lsn, bool is_primary)
{
    struct history_row row = {.timeline = timeline - 1, .switch_lsn = fork_lsn};
    struct event event = rig_event(rig, EVENT_HISTORY);
    event.u.history.ok = true;
    memcpy(event.u.history.leader, "you", 4);
    event.u.history.leader_is_primary = is_primary;
    event.u.history.timeline = timeline;
    event.u.history.count = 1;
    event.u.history.rows = &row;
    rig_step(rig, &event);
}

/* An old primary that stopped cleanly at 5120; "you" leads on timeline 2. */
static void start_as_old_primary(struct rig *rig, enum control_state control)
{
    rig_start_follower(rig);
    rig_become_primary(rig, 5000);
    rig_go_down(rig, control);
    rig_local(rig)->control_end_lsn = 5120;
    rig_local(rig)->rewind_possible = true;
    rig_view(rig)->policy.use_pg_rewind = true;
    rig_view(rig)->members[0].timeline = 2;
    rig_post_view(rig, true);
    rig_post_local(rig);
    assert_null(rig_find_op(rig, OP_START_STANDBY));
    assert_null(rig_find_op(rig, OP_REWIND));
}

static void clean_old_primary_follows_without_rewind(void **state)
{
    struct rig rig;
    (void)state;
    start_as_old_primary(&rig, CONTROL_SHUT_DOWN);
    answer_history(&rig, 2, 5120, true);
    const struct action *start = rig_find_op(&rig, OP_START_STANDBY);
    assert_non_null(start);
    assert_string_equal(start->u.op.source, "you");
}

static void one_byte_past_the_fork_is_rewound(void **state)
{
    struct rig rig;
    (void)state;
    start_as_old_primary(&rig, CONTROL_SHUT_DOWN);
    answer_history(&rig, 2, 5119, true);
    assert_null(rig_find_op(&rig, OP_START_STANDBY));
    assert_non_null(rig_find_op(&rig, OP_REWIND));
}

static void rewind_waits_for_the_checkpoint_of_the_new_primary(void **state)
{
    struct rig rig;
    (void)state;
    start_as_old_primary(&rig, CONTROL_SHUT_DOWN);
    rig_view(&rig)->members[0].checkpoint_pending = true;
    rig_post_view(&rig, true);
    answer_history(&rig, 2, 5000, true);
    assert_null(rig_find_op(&rig, OP_REWIND));
    assert_int_equal(rig.core.reason, REASON_REWIND_WAIT_CHECKPOINT);
    rig_view(&rig)->members[0].checkpoint_pending = false;
    rig_post_view(&rig, true);
    assert_non_null(rig_find_op(&rig, OP_REWIND));
}

static void not_yet_promoted_leader_is_not_believed(void **state)
{
    struct rig rig;
    (void)state;
    start_as_old_primary(&rig, CONTROL_SHUT_DOWN);
    answer_history(&rig, 2, 5000, false);
    assert_null(rig_find_op(&rig, OP_REWIND));
    assert_null(rig_find_op(&rig, OP_START_STANDBY));
    rig_tick(&rig, 250);
    assert_non_null(rig_find(&rig, ACTION_HISTORY_READ));
}

/* After a crash the end of the WAL is not known: recovery as a standby of nobody finds it. */
static void crashed_old_primary_finds_its_end_first(void **state)
{
    struct rig rig;
    (void)state;
    start_as_old_primary(&rig, CONTROL_IN_PRODUCTION);
    answer_history(&rig, 2, 6000, true);
    const struct action *start = rig_find_op(&rig, OP_START_STANDBY);
    assert_non_null(start);
    assert_string_equal(start->u.op.source, "");
    rig_become_standby(&rig, 6001);
    rig_local(&rig)->postmaster_id = 2;
    rig_post_local(&rig);
    rig_op_done(&rig, OP_RESULT_OK);
    rig_tick(&rig, 250);
    answer_history(&rig, 2, 6000, true);
    assert_null(rig_find_op(&rig, OP_FOLLOW));
    assert_non_null(rig_find_op(&rig, OP_STOP)); /* then it is rewound */
}

static void nothing_is_rewound_or_replaced_without_permission(void **state)
{
    struct rig rig;
    (void)state;
    start_as_old_primary(&rig, CONTROL_SHUT_DOWN);
    rig_view(&rig)->policy.use_pg_rewind = false;
    rig_post_view(&rig, true);
    answer_history(&rig, 2, 5000, true);
    assert_null(rig_find_op(&rig, OP_REWIND));
    assert_null(rig_find_op(&rig, OP_CLONE));
    assert_int_equal(rig.core.reason, REASON_REWIND_IMPOSSIBLE);
    rig_view(&rig)->policy.remove_data_directory_on_diverged_timelines = true;
    rig_post_view(&rig, true);
    const struct action *clone = rig_find_op(&rig, OP_CLONE);
    assert_non_null(clone);
    assert_true(clone->u.op.replace);
}

/* It would show rows that the cluster never had. */
static void diverged_server_that_may_not_be_changed_is_stopped(void **state)
{
    struct rig rig;
    (void)state;
    start_as_old_primary(&rig, CONTROL_IN_PRODUCTION);
    rig_view(&rig)->policy.use_pg_rewind = false;
    answer_history(&rig, 2, 6000, true);
    rig_become_standby(&rig, 6001);
    rig_local(&rig)->postmaster_id = 2;
    rig_post_local(&rig);
    rig_op_done(&rig, OP_RESULT_OK);
    rig_view(&rig)->policy.use_pg_rewind = false;
    rig_post_view(&rig, true);
    rig_tick(&rig, 250);
    answer_history(&rig, 2, 6000, true);
    assert_int_equal(rig.core.reason, REASON_REWIND_IMPOSSIBLE);
    assert_non_null(rig_find_op(&rig, OP_STOP));
}

static void failed_rewinds_end_in_a_clone_only_if_allowed(void **state)
{
    (void)state;
    for (int allowed = 0; allowed < 2; allowed++) {
        struct rig rig;
        start_as_old_primary(&rig, CONTROL_SHUT_DOWN);
        rig_view(&rig)->policy.remove_data_directory_on_rewind_failure = allowed == 1;
        rig_post_view(&rig, true);
        answer_history(&rig, 2, 5000, true);
        bool cloned = false;
        int rewinds = 1;
        rig_op_done(&rig, OP_RESULT_FAILED);
        assert_null(rig_find_op(&rig, OP_REWIND)); /* slower, not at once */
        for (int i = 0; i < 600 && !cloned; i++) {
            rig_tick(&rig, 200);
            cloned = rig_find_op(&rig, OP_CLONE) != NULL;
            if (rig_find_op(&rig, OP_REWIND) != NULL) {
                rewinds++;
                rig_op_done(&rig, OP_RESULT_FAILED);
                cloned = rig_find_op(&rig, OP_CLONE) != NULL;
            }
        }
        /* Two minutes: a third failure ends it if there is another way; else tried on, slower. */
        assert_in_range(rewinds, 3, allowed == 1 ? 3 : 7);
        assert_true(allowed == 1 || rewinds > 4);
        assert_int_equal(cloned, allowed == 1);
    }
}

static void half_rewound_directory_is_never_started(void **state)
{
    struct rig rig;
    (void)state;
    start_as_old_primary(&rig, CONTROL_SHUT_DOWN);
    rig_local(&rig)->data_dir = DATA_DIR_HALF;
    rig_post_local(&rig);
    assert_null(rig_find_op(&rig, OP_START_STANDBY));
    assert_non_null(rig_find_op(&rig, OP_REWIND));
}

static void running_standby_changes_its_upstream_by_reload(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    answer_history(&rig, 1, 0, true);
    rig_local(&rig)->follows_current_address = false;
    rig_post_local(&rig);
    const struct action *follow_op = rig_find_op(&rig, OP_FOLLOW);
    assert_non_null(follow_op);
    assert_string_equal(follow_op->u.op.source, "you");
}

/* RS-07: at rest nothing is done. */
static void at_rest_nothing_is_touched(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    answer_history(&rig, 1, 0, true);
    for (int i = 0; i < 1000; i++) {
        rig_tick(&rig, 1000);
        assert_null(rig_find(&rig, ACTION_OP_BEGIN));
        assert_null(i == 0 ? NULL : rig_find(&rig, ACTION_CONF_APPLY));
        rig_post_view(&rig, true);
        rig_post_local(&rig);
        assert_null(rig_find(&rig, ACTION_OP_BEGIN));
    }
}

static void standby_that_does_not_stream_is_compared_again(void **state)
{
    struct rig rig;
    bool asked = false;
    (void)state;
    rig_start_follower(&rig);
    answer_history(&rig, 1, 0, true);
    rig_local(&rig)->replication_state = REPLICATION_NONE;
    rig_post_local(&rig);
    for (int i = 0; i < 10 && !asked; i++) {
        rig_tick(&rig, 1000);
        asked = rig_find(&rig, ACTION_HISTORY_READ) != NULL;
    }
    assert_true(asked);
}

/* --- no data --- */

static void start_empty(struct rig *rig)
{
    rig_init(rig);
    rig_local(rig)->data_dir = DATA_DIR_EMPTY;
    rig_post_local(rig);
}

static void empty_node_clones_from_a_serving_leader_only(void **state)
{
    struct rig rig;
    (void)state;
    start_empty(&rig);
    rig_set_leader(&rig, "you", RIG_OTHER_LEASE);
    rig_view(&rig)->members[0].role = PG_ROLE_PRIMARY;
    rig_view(&rig)->members[0].state = PG_STATE_STARTING;
    rig_post_view(&rig, true);
    assert_null(rig_find_op(&rig, OP_CLONE));
    rig_view(&rig)->members[0].state = PG_STATE_RUNNING;
    rig_view(&rig)->members[1].tags.clonefrom = true;
    rig_post_view(&rig, true);
    const struct action *clone = rig_find_op(&rig, OP_CLONE);
    assert_non_null(clone);
    assert_string_equal(clone->u.op.source, "she");
    assert_false(clone->u.op.replace);
}

static void first_node_bootstraps(void **state)
{
    struct rig rig;
    (void)state;
    start_empty(&rig);
    rig_view(&rig)->init_state = INIT_ABSENT;
    rig_view(&rig)->config_present = false;
    rig_view(&rig)->member_count = 0;
    rig_post_view(&rig, true);
    rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
    const struct action *init_race = rig_find_call(&rig, CALL_INIT_RACE);
    assert_non_null(init_race);
    assert_int_equal(init_race->u.call.lease_id, RIG_LEASE);
    rig_answer(&rig, CALL_INIT_RACE, OUTCOME_OK);
    assert_non_null(rig_find_op(&rig, OP_BOOTSTRAP));
    rig_view(&rig)->init_state = INIT_RUNNING;
    rig_view(&rig)->init_lease_id = RIG_LEASE;
    rig_view(&rig)->init_mod_revision = rig_view(&rig)->revision;
    rig_post_view(&rig, true);
    assert_null(rig_find_call(&rig, CALL_INIT_COMMIT));
    rig_local(&rig)->data_dir = DATA_DIR_VALID;
    rig_local(&rig)->sysid = 9999;
    rig_local(&rig)->control_state = CONTROL_SHUT_DOWN;
    rig_local(&rig)->control_timeline = 1;
    rig_post_local(&rig);
    rig_op_done(&rig, OP_RESULT_OK);
    const struct action *commit = rig_find_call(&rig, CALL_INIT_COMMIT);
    assert_non_null(commit);
    assert_int_equal(commit->u.call.sysid, 9999);
    assert_null(rig_find_op(&rig, OP_START_PRIMARY)); /* no writer before the key */
    rig_answer(&rig, CALL_INIT_COMMIT, OUTCOME_OK);
    assert_non_null(rig_find_op(&rig, OP_START_PRIMARY));
}

/* The first configuration shortens the ttl, and by it our right is over before it was renewed for
 * the first time: the renewal is awaited, the new cluster does not begin with a promotion. */
static void slow_bootstrap_ends_as_a_primary(void **state)
{
    struct rig rig;
    (void)state;
    start_empty(&rig);
    rig_view(&rig)->init_state = INIT_ABSENT;
    rig_view(&rig)->config_present = false;
    rig_view(&rig)->policy.ttl_ms = 30000;
    rig_view(&rig)->member_count = 0;
    rig_post_view(&rig, true);
    rig_answer_full(&rig, CALL_LEASE_GRANT, OUTCOME_OK, rig.now_ms, 30000);
    rig_answer(&rig, CALL_INIT_RACE, OUTCOME_OK);
    rig_view(&rig)->init_state = INIT_RUNNING;
    rig_view(&rig)->init_lease_id = RIG_LEASE;
    rig_view(&rig)->init_mod_revision = rig_view(&rig)->revision;
    rig.now_ms += 9000;
    rig_post_view(&rig, true);
    rig_local(&rig)->data_dir = DATA_DIR_VALID;
    rig_local(&rig)->sysid = 9999;
    rig_local(&rig)->control_state = CONTROL_SHUT_DOWN;
    rig_local(&rig)->control_timeline = 1;
    rig_post_local(&rig);
    rig_op_done(&rig, OP_RESULT_OK);
    rig_view(&rig)->config_present = true;
    rig_view(&rig)->policy.ttl_ms = 5000;
    rig_set_leader(&rig, "me", RIG_LEASE);
    rig_post_view(&rig, false); /* the watch is quicker than the transaction's answer */
    rig_answer(&rig, CALL_INIT_COMMIT, OUTCOME_OK);
    assert_null(rig_find_op(&rig, OP_START_STANDBY));
    assert_null(rig_find_op(&rig, OP_START_PRIMARY));
    rig.now_ms += 10;
    rig_post_view(&rig, true);
    assert_null(rig_find_op(&rig, OP_START_STANDBY));
    rig_answer_full(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK, rig.now_ms, 30000);
    rig.now_ms += 10;
    rig_post_view(&rig, true);
    assert_non_null(rig_find_op(&rig, OP_START_PRIMARY));
}

static void lost_bootstrap_is_not_committed(void **state)
{
    struct rig rig;
    (void)state;
    start_empty(&rig);
    rig_view(&rig)->init_state = INIT_ABSENT;
    rig_post_view(&rig, true);
    rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
    rig_answer(&rig, CALL_INIT_RACE, OUTCOME_OK);
    rig_op_done(&rig, OP_RESULT_FAILED);
    assert_non_null(rig_find_call(&rig, CALL_INIT_ABORT));
    assert_null(rig_find_call(&rig, CALL_INIT_COMMIT));
    assert_int_equal(rig_find(&rig, ACTION_EXIT)->u.exit.code, 1);
}

static void loser_of_the_bootstrap_waits(void **state)
{
    struct rig rig;
    (void)state;
    start_empty(&rig);
    rig_view(&rig)->init_state = INIT_RUNNING;
    rig_view(&rig)->init_lease_id = RIG_OTHER_LEASE;
    rig_post_view(&rig, true);
    rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
    assert_null(rig_find(&rig, ACTION_OP_BEGIN));
    assert_null(rig_find_call(&rig, CALL_INIT_RACE));
    assert_int_equal(rig.core.reason, REASON_WAIT_BOOTSTRAP);
}

static void foreign_or_missing_volume_is_left_alone(void **state)
{
    struct rig rig;
    (void)state;
    start_empty(&rig);
    rig_local(&rig)->data_dir = DATA_DIR_WAITING;
    rig_set_leader(&rig, "you", RIG_OTHER_LEASE);
    rig_view(&rig)->members[0].role = PG_ROLE_PRIMARY;
    rig_post_local(&rig);
    rig_post_view(&rig, true);
    assert_null(rig_find(&rig, ACTION_OP_BEGIN));
    assert_int_equal(rig.core.reason, REASON_WAIT_VOLUME);
    rig_local(&rig)->data_dir = DATA_DIR_FOREIGN;
    rig_post_local(&rig);
    assert_null(rig_find(&rig, ACTION_OP_BEGIN));
    assert_int_equal(rig_find(&rig, ACTION_EXIT)->u.exit.code, 1);
}

/* --- whom to follow, and when --- */

static void agree(struct rig *rig)
{
    rig_start_follower(rig);
    answer_history(rig, 1, 0, true);
}

static void named_upstream_is_followed_while_it_runs(void **state)
{
    static const struct {
        const char *named, *target;
        enum pg_state she;
    } rows[] = {
        {"", "you", PG_STATE_RUNNING},    {"she", "she", PG_STATE_RUNNING},
        {"she", "you", PG_STATE_STOPPED}, {"me", "you", PG_STATE_RUNNING},
        {"stranger", "you", PG_STATE_RUNNING},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        agree(&rig);
        rig_add_member(&rig, "me", RIG_LEASE);
        rig_text(rig.core.identity.tags.replicatefrom, NAME_SIZE, rows[i].named);
        rig_view(&rig)->members[1].state = rows[i].she;
        rig_local(&rig)->follows[0] = '\0';
        rig_post_view(&rig, false);
        rig_post_local(&rig);
        assert_int_equal(rig.core.op.kind, OP_FOLLOW);
        assert_string_equal(rig.core.op.source, rows[i].target);
    }
}

static void refused_upstream_is_not_changed_at_once_again(void **state)
{
    struct rig rig;
    (void)state;
    agree(&rig);
    rig_local(&rig)->follows[0] = '\0';
    rig_post_local(&rig);
    assert_non_null(rig_find_op(&rig, OP_FOLLOW));
    rig_op_done(&rig, OP_RESULT_FAILED);
    assert_null(rig_find_op(&rig, OP_FOLLOW));
    rig_tick(&rig, 999);
    assert_null(rig_find_op(&rig, OP_FOLLOW));
    rig_tick(&rig, 1);
    assert_non_null(rig_find_op(&rig, OP_FOLLOW));
}

static void start_takes_as_long_as_the_policy_says(void **state)
{
    (void)state;
    for (int limited = 0; limited < 2; limited++) {
        struct rig rig;
        agree(&rig);
        rig_view(&rig)->policy.primary_start_timeout_ms = limited ? 7000 : 0;
        rig_post_view(&rig, false);
        rig_go_down(&rig, CONTROL_SHUT_DOWN_IN_RECOVERY);
        rig_post_local(&rig);
        answer_history(&rig, 1, 0, true);
        const struct action *start = rig_find_op(&rig, OP_START_STANDBY);
        assert_non_null(start);
        assert_int_equal(start->u.op.deadline_ms, limited ? rig.now_ms + 7000 : 0);
    }
}

/* Nobody leads: the server is brought up for readers, not faster than it fails. */
static void lonely_start_is_paced_and_needs_data(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    rig_go_down(&rig, CONTROL_SHUT_DOWN_IN_RECOVERY);
    rig_set_leader(&rig, NULL, 0);
    rig_post_view(&rig, false);
    rig_post_local(&rig);
    assert_int_equal(rig.core.op.kind, OP_START_STANDBY);
    assert_string_equal(rig.core.op.source, "");
    rig_op_done(&rig, OP_RESULT_FAILED);
    assert_null(rig_find_op(&rig, OP_START_STANDBY));
    rig_tick(&rig, 499);
    assert_null(rig_find_op(&rig, OP_START_STANDBY));
    rig_tick(&rig, 1);
    assert_non_null(rig_find_op(&rig, OP_START_STANDBY));
    rig_start_follower(&rig);
    rig_go_down(&rig, CONTROL_SHUT_DOWN_IN_RECOVERY);
    rig_local(&rig)->data_dir = DATA_DIR_HALF;
    rig_set_leader(&rig, NULL, 0);
    rig_post_view(&rig, false);
    rig_post_local(&rig);
    assert_null(rig_find_op(&rig, OP_START_STANDBY));
}

static void history_of_a_former_leader_is_ignored(void **state)
{
    struct rig rig;
    (void)state;
    start_as_old_primary(&rig, CONTROL_SHUT_DOWN);
    rig_set_leader(&rig, "she", 99);
    rig_post_view(&rig, true);
    answer_history(&rig, 2, 5120, true); /* from "you" */
    assert_null(rig_find(&rig, ACTION_OP_BEGIN));
    start_as_old_primary(&rig, CONTROL_SHUT_DOWN);
    rig_set_leader(&rig, NULL, 0);
    rig_post_view(&rig, true);
    rig.core.op.kind = OP_CHECKPOINT; /* nothing can be begun */
    answer_history(&rig, 2, 5120, true);
    assert_true(rig.core.follow.check_wanted);
}

static void server_in_between_is_left_alone(void **state)
{
    static const enum postmaster_state between[] = {POSTMASTER_STARTING, POSTMASTER_STOPPING};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        answer_history(&rig, 2, 5120, false);
        rig_local(&rig)->postmaster = between[i];
        rig_local(&rig)->sql_valid = false;
        rig_post_local(&rig);
        rig_tick(&rig, 1000);
        assert_null(rig_find(&rig, ACTION_HISTORY_READ));
        assert_null(rig_find(&rig, ACTION_OP_BEGIN));
    }
}

static void reason_says_that_rewinding_goes_on_failing(void **state)
{
    struct rig rig;
    (void)state;
    start_as_old_primary(&rig, CONTROL_SHUT_DOWN);
    answer_history(&rig, 2, 5000, true);
    for (int failures = 1; failures <= 3; failures++) {
        assert_int_equal(rig.core.op.kind, OP_REWIND);
        assert_int_equal(rig.core.reason, REASON_REWIND_BEGIN);
        rig_op_done(&rig, OP_RESULT_FAILED);
        rig_tick(&rig, 1);
        answer_history(&rig, 2, 5000, true);
        assert_int_equal(rig.core.reason,
                         failures < 3 ? REASON_REWIND_BEGIN : REASON_REWIND_FAILED);
        rig_tick(&rig, 60000);
        rig_tick(&rig, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(divergence_table),
        cmocka_unit_test(clean_old_primary_follows_without_rewind),
        cmocka_unit_test(one_byte_past_the_fork_is_rewound),
        cmocka_unit_test(rewind_waits_for_the_checkpoint_of_the_new_primary),
        cmocka_unit_test(not_yet_promoted_leader_is_not_believed),
        cmocka_unit_test(crashed_old_primary_finds_its_end_first),
        cmocka_unit_test(nothing_is_rewound_or_replaced_without_permission),
        cmocka_unit_test(diverged_server_that_may_not_be_changed_is_stopped),
        cmocka_unit_test(failed_rewinds_end_in_a_clone_only_if_allowed),
        cmocka_unit_test(half_rewound_directory_is_never_started),
        cmocka_unit_test(running_standby_changes_its_upstream_by_reload),
        cmocka_unit_test(at_rest_nothing_is_touched),
        cmocka_unit_test(standby_that_does_not_stream_is_compared_again),
        cmocka_unit_test(empty_node_clones_from_a_serving_leader_only),
        cmocka_unit_test(first_node_bootstraps),
        cmocka_unit_test(slow_bootstrap_ends_as_a_primary),
        cmocka_unit_test(lost_bootstrap_is_not_committed),
        cmocka_unit_test(loser_of_the_bootstrap_waits),
        cmocka_unit_test(foreign_or_missing_volume_is_left_alone),
        cmocka_unit_test(named_upstream_is_followed_while_it_runs),
        cmocka_unit_test(refused_upstream_is_not_changed_at_once_again),
        cmocka_unit_test(start_takes_as_long_as_the_policy_says),
        cmocka_unit_test(lonely_start_is_paced_and_needs_data),
        cmocka_unit_test(history_of_a_former_leader_is_ignored),
        cmocka_unit_test(server_in_between_is_left_alone),
        cmocka_unit_test(reason_says_that_rewinding_goes_on_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
