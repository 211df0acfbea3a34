/* No leader: whose fence a winner waits for, what an answer is worth, whose data are the
 * cluster's. */
#include "core_rig.h"

/* "you" leads until the key is gone; its member key stays unless is_removed. */
static void lose_leader(struct rig *rig, bool is_removed)
{
    if (is_removed) {
        rig_view(rig)->member_count = 0;
        rig_add_member(rig, "she", 99);
    }
    rig_set_leader(rig, NULL, 0);
    rig_post_view(rig, false);
}

static void win(struct rig *rig)
{
    struct peer_answer she = rig_standby("she", 4000);
    rig_peers(rig, &she, 1);
    assert_non_null(rig_find_call(rig, CALL_LEADER_ACQUIRE));
    rig_answer(rig, CALL_LEADER_ACQUIRE, OUTCOME_OK);
}

static bool waits(const struct rig *rig)
{
    bool is_claiming = rig->core.calls[CALL_TIMELINE_CLAIM].in_flight;

    assert_true(is_claiming || rig->core.reason == REASON_WAIT_OLD_FENCE);
    return !is_claiming;
}

/* --- the former holder --- */

static void lease_that_lives_is_waited_for(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        rig.core.former.expires_at_ms = rig.now_ms; /* by what we last heard */
        if (i == 1)
            rig_view(&rig)->members[0].lease_id = 4711; /* it was started again since */
        lose_leader(&rig, i == 2);
        win(&rig);
        assert_int_equal(waits(&rig), i == 0);
    }
}

static void holder_that_stopped_is_not_waited_for(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        if (i == 0)
            rig_view(&rig)->members[0].state = PG_STATE_STOPPED;
        if (i == 1)
            rig_view(&rig)->members[0].role = PG_ROLE_DEMOTED;
        lose_leader(&rig, false);
        win(&rig);
        assert_int_equal(waits(&rig), i == 2);
    }
}

static void holder_that_answered_is_not_waited_for(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct rig rig;
        struct peer_answer you = rig_standby("you", 4000);
        rig_start_follower(&rig);
        lose_leader(&rig, false);
        you.is_pgheir = i != 2;
        you.fence_left_ms = i == 0 ? 0 : 1000; /* Patroni has none to tell */
        you.reachable = i != 3;
        rig_peers(&rig, &you, 1);
        assert_non_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
        rig_answer(&rig, CALL_LEADER_ACQUIRE, OUTCOME_OK);
        assert_int_equal(waits(&rig), i == 1 || i == 3);
    }
}

static void nobody_is_waited_for_where_nobody_led(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    rig_become_standby(&rig, 5000);
    rig_post_view(&rig, true);
    rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
    rig_post_local(&rig);
    win(&rig);
    assert_false(waits(&rig));
}

static void we_do_not_wait_for_ourselves(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    rig_set_leader(&rig, "me", 4711); /* of the agent before us */
    rig_post_view(&rig, false);
    lose_leader(&rig, false);
    win(&rig);
    assert_false(waits(&rig));
}

/* The view shows that we hold the key now; whom we wait for is not forgotten over that. */
static void waiting_winner_remembers_the_holder(void **state)
{
    struct rig rig;
    struct peer_answer you = rig_standby("you", 4000);
    (void)state;
    rig_start_follower(&rig);
    lose_leader(&rig, false);
    win(&rig);
    assert_true(waits(&rig));
    rig_set_leader(&rig, "me", RIG_LEASE);
    rig_view(&rig)->leader_create_revision = rig.core.key.create_revision;
    rig_post_view(&rig, true);
    assert_true(waits(&rig));
    rig_tick(&rig, 300);
    const struct action *ask = rig_find(&rig, ACTION_PEERS_ASK);
    assert_non_null(ask);
    assert_string_equal(ask->u.peers.only, "you");
    rig_peers(&rig, &you, 1);
    assert_false(waits(&rig));
}

static void leader_on_a_new_lease_is_asked_about_that_one(void **state)
{
    struct rig rig;
    bool asked = false;
    (void)state;
    rig_start_follower(&rig);
    rig_answer_full(&rig, CALL_LEASE_ASK, OUTCOME_OK, rig.now_ms, 4000);
    rig_view(&rig)->leader_lease_id = 555;
    rig_post_view(&rig, false);
    for (int i = 0; i < 3 && !asked; i++) {
        rig_tick(&rig, 1000);
        const struct action *ask = rig_find_call(&rig, CALL_LEASE_ASK);
        asked = ask != NULL;
        assert_true(ask == NULL || ask->u.call.lease_id == 555);
    }
    assert_true(asked);
    assert_int_equal(rig.core.former.expires_at_ms, 0); /* that was of the other lease */
}

static void only_an_answer_about_its_lease_counts(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        struct event event = rig_event(&rig, EVENT_CALL);
        event.u.call.call = CALL_LEASE_ASK;
        event.u.call.outcome = i == 0 ? OUTCOME_UNAVAILABLE : OUTCOME_OK;
        event.u.call.lease_id = i == 1 ? 4711 : RIG_OTHER_LEASE;
        event.u.call.sent_at_ms = rig.now_ms;
        event.u.call.ttl_ms = 500; /* it missed a renewal */
        rig_step(&rig, &event);
        assert_int_equal(rig_find(&rig, ACTION_PEERS_ASK) != NULL, i == 2);
    }
}

static void answer_about_its_lease(struct rig *rig, int64_t ttl_ms)
{
    struct event event = rig_event(rig, EVENT_CALL);

    event.u.call.call = CALL_LEASE_ASK;
    event.u.call.outcome = OUTCOME_OK;
    event.u.call.lease_id = RIG_OTHER_LEASE;
    event.u.call.sent_at_ms = rig->now_ms;
    event.u.call.ttl_ms = ttl_ms;
    rig_step(rig, &event);
}

/* etcd tells whole seconds: a lease with 0 left may be revoked early like any other, and its holder
 * writes until the margin before the end of that second. */
static void last_second_of_a_lease_is_waited_for(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        rig.now_ms += 1000;
        answer_about_its_lease(&rig, i == 3 ? 3000 : 0);
        rig.now_ms += 499;
        if (i > 0)
            answer_about_its_lease(&rig, 0); /* by the first answer it is nearly over */
        if (i == 2)
            rig.now_ms += 1;
        lose_leader(&rig, true);
        win(&rig);
        assert_int_equal(waits(&rig), i != 2);
        if (i == 3)
            assert_int_equal(rig.core.key.hold_until_ms, rig.now_ms + 500);
    }
}

/* --- rounds of questions --- */

static void round_ends_when_somebody_leads(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    lose_leader(&rig, true);
    assert_non_null(rig_find(&rig, ACTION_PEERS_ASK));
    rig_set_leader(&rig, "she", 99);
    rig_post_view(&rig, false);
    rig.now_ms += 1000;
    lose_leader(&rig, true);
    assert_non_null(rig_find(&rig, ACTION_PEERS_ASK)); /* a new round, not the old one */
}

static void answers_without_a_lease_win_nothing(void **state)
{
    struct rig rig;
    struct peer_answer she = rig_standby("she", 4000);
    (void)state;
    rig_start_follower(&rig);
    lose_leader(&rig, true);
    rig_answer(&rig, CALL_LEASE_KEEPALIVE, OUTCOME_LEASE_GONE);
    rig_peers(&rig, &she, 1);
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
}

static void key_is_not_asked_for_twice(void **state)
{
    struct rig rig;
    struct peer_answer she = rig_standby("she", 4000);
    (void)state;
    rig_start_follower(&rig);
    lose_leader(&rig, true);
    rig_peers(&rig, &she, 1);
    rig_answer(&rig, CALL_LEADER_ACQUIRE, OUTCOME_UNAVAILABLE);
    assert_null(rig_find(&rig, ACTION_PEERS_ASK)); /* not at once */
    rig_tick(&rig, 200);
    assert_non_null(rig_find(&rig, ACTION_PEERS_ASK));
    rig.core.calls[CALL_LEADER_ACQUIRE].retry_at_ms = rig.now_ms + 50;
    rig_peers(&rig, &she, 1);
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    rig_tick(&rig, 200);
    assert_non_null(rig_find(&rig, ACTION_PEERS_ASK)); /* and then a new round */
}

/* --- fitness --- */

static void request_of_tomorrow_decides_nothing_today(void **state)
{
    (void)state;
    for (int due = 0; due < 2; due++) {
        struct rig rig;
        struct peer_answer she = rig_standby("she", 4000);
        rig_start_follower(&rig);
        rig_view(&rig)->failover = (struct failover_request){.present = true};
        rig_text(rig_view(&rig)->failover.candidate, NAME_SIZE, "she");
        rig_text(rig_view(&rig)->failover.leader, NAME_SIZE, "you");
        rig_view(&rig)->failover.scheduled_at_wall_ms =
            rig_event(&rig, EVENT_TIMER).now_wall_ms + (due ? 0 : 1);
        lose_leader(&rig, true);
        rig_peers(&rig, &she, 1);
        assert_int_equal(rig_find_call(&rig, CALL_LEADER_ACQUIRE) != NULL, !due);
    }
}

static void post_switchover_to_me(struct rig *rig)
{
    struct failover_request *request = &rig_view(rig)->failover;

    *request = (struct failover_request){.present = true};
    rig_text(request->candidate, NAME_SIZE, "me");
    rig_text(request->leader, NAME_SIZE, "you");
}

/* A holder that let go has seen that the candidate has everything. One that died has not, even
 * where it comes back as somebody whose server is down. */
static void candidate_asks_unless_it_was_given_the_key(void **state)
{
    (void)state;
    for (int is_back = 0; is_back < 2; is_back++) {
        struct rig rig;
        rig_start_follower(&rig);
        post_switchover_to_me(&rig);
        rig_view(&rig)->members[0].state = PG_STATE_STOPPED;
        if (is_back)
            rig_view(&rig)->members[0].lease_id = 4711;
        lose_leader(&rig, false);
        assert_int_equal(rig_find_call(&rig, CALL_LEADER_ACQUIRE) != NULL, !is_back);
        assert_int_equal(rig_find(&rig, ACTION_PEERS_ASK) != NULL, is_back);
    }
}

/* Who lets go because it cannot serve has asked nobody, whatever it says afterwards. */
static void candidate_of_a_crashed_holder_asks(void **state)
{
    struct rig rig;
    struct peer_answer she = rig_standby("she", 5001);
    (void)state;
    rig_start_follower(&rig);
    post_switchover_to_me(&rig);
    rig_view(&rig)->members[0].state = PG_STATE_CRASHED;
    lose_leader(&rig, false);
    rig_peers(&rig, &she, 1);
    assert_int_equal(rig.core.reason, REASON_RACE_PEER_AHEAD);
    rig_view(&rig)->members[0].state = PG_STATE_STOPPED;
    rig_view(&rig)->members[0].role = PG_ROLE_DEMOTED;
    rig_post_view(&rig, false);
    rig_tick(&rig, 200);
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    assert_non_null(rig_find(&rig, ACTION_PEERS_ASK));
}

static void synchronous_standbys_only(void **state)
{
    static const struct {
        bool present;
        const char *leader, *standby;
        bool may;
    } rows[] = {
        {false, "you", "she", true}, {true, "", "she", true},  {true, "you", "she", false},
        {true, "you", "me", true},   {true, "me", "she", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        rig_view(&rig)->sync_present = rows[i].present;
        rig_text(rig_view(&rig)->sync_leader, NAME_SIZE, rows[i].leader);
        rig_text(rig_view(&rig)->sync_standby[0], NAME_SIZE, rows[i].standby);
        rig_view(&rig)->sync_count = 1;
        lose_leader(&rig, true);
        assert_int_equal(rig_find(&rig, ACTION_PEERS_ASK) != NULL, rows[i].may);
        assert_int_equal(rig.core.reason == REASON_RACE_NOT_IN_SYNC, !rows[i].may);
    }
}

/* A peer ahead of us that etcd was silent for: it hears it in a moment, as we just did. */
static void peer_hears_etcd_a_moment_after_us(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        struct peer_answer she = rig_standby("she", 9000);
        she.etcd_silent = true;
        rig_start_follower(&rig);
        rig.core.etcd_back_at_ms = i == 0 ? 0 : rig.now_ms - (i == 1 ? 1999 : 2000);
        lose_leader(&rig, true);
        rig_peers(&rig, &she, 1);
        assert_int_equal(rig_find_call(&rig, CALL_LEADER_ACQUIRE) != NULL, i != 1);
    }
}

/* Better by priority only: waited for, but not for ever. */
static void better_peer_that_does_not_act_is_no_dead_end(void **state)
{
    struct rig rig;
    struct peer_answer she = rig_standby("she", 5000);
    bool won = false;
    (void)state;
    she.failover_priority = 2;
    rig_start_follower(&rig);
    lose_leader(&rig, true);
    int64_t since_ms = rig.now_ms;
    while (!won && rig.now_ms < since_ms + 20000) {
        rig_peers(&rig, &she, 1);
        won = rig_find_call(&rig, CALL_LEADER_ACQUIRE) != NULL;
        rig_tick(&rig, 200);
    }
    assert_true(won);
    assert_in_range(rig.now_ms - since_ms, RIG_TTL_MS + 2000, RIG_TTL_MS + 3000);
}

static void answers_are_for_a_standby_without_a_leader(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct rig rig;
        struct peer_answer she = rig_standby("she", 4000);
        rig_start_follower(&rig);
        lose_leader(&rig, true);
        if (i == 0)
            rig_set_leader(&rig, "she", 99); /* the core has not been told yet that it changed */
        if (i == 1)
            rig.core.paused = true;
        if (i == 2)
            rig.core.stopping = true;
        if (i == 3)
            rig.core.op = (struct core_op){.kind = OP_FOLLOW, .id = 9000};
        if (i == 4)
            rig_local(&rig)->sql_valid = false;
        if (i == 5)
            rig_local(&rig)->data_dir = DATA_DIR_HALF;
        if (i == 6)
            rig_view(&rig)->init_state = INIT_RUNNING;
        rig_peers(&rig, &she, 1);
        assert_int_equal(rig_find_call(&rig, CALL_LEADER_ACQUIRE) != NULL, i == 7);
    }
}

/* --- primaries that were found, clusters without identity --- */

static void post_primary(struct rig *rig, enum init_state init)
{
    rig_init(rig);
    rig_view(rig)->init_state = init;
    rig_become_primary(rig, 5000);
    rig_post_view(rig, true);
    rig_answer(rig, CALL_LEASE_GRANT, OUTCOME_OK);
    rig_post_local(rig);
}

static void found_primary_takes_the_key_of_its_own_line(void **state)
{
    struct rig rig;
    (void)state;
    post_primary(&rig, INIT_DONE);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    rig_tick(&rig, 1);
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE)); /* it is under way */
    post_primary(&rig, INIT_ABSENT);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    post_primary(&rig, INIT_RUNNING); /* somebody makes another cluster */
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    assert_int_equal(rig.core.reason, REASON_WAIT_BOOTSTRAP);
    for (int done = 0; done < 2; done++) {
        rig_init(&rig);
        rig_view(&rig)->init_state = done ? INIT_DONE : INIT_ABSENT;
        rig_view(&rig)->history_count = 1;
        rig_view(&rig)->history[0] = (struct history_row){.timeline = 1, .switch_lsn = 4999};
        rig_view(&rig)->history_timeline = 2;
        rig_become_primary(&rig, 5000);
        rig_post_view(&rig, true);
        rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
        rig_post_local(&rig);
        assert_int_equal(rig_find_call(&rig, CALL_LEADER_ACQUIRE) != NULL, !done);
    }
}

static void found_primary_waits_for_a_lease(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    rig_become_primary(&rig, 5000);
    rig_post_view(&rig, true);
    rig_post_local(&rig);
    assert_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
    rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
    assert_non_null(rig_find_call(&rig, CALL_LEADER_ACQUIRE));
}

static void identity_comes_from_data_of_a_primary(void **state)
{
    static const struct {
        enum control_state control;
        bool has_signal;
        enum init_state init;
        bool writes;
    } rows[] = {
        {CONTROL_SHUT_DOWN, false, INIT_ABSENT, true},
        {CONTROL_IN_PRODUCTION, false, INIT_ABSENT, true},
        {CONTROL_IN_PRODUCTION, true, INIT_ABSENT, false},
        {CONTROL_SHUT_DOWN, true, INIT_ABSENT, false},
        {CONTROL_SHUT_DOWN_IN_RECOVERY, false, INIT_ABSENT, false},
        {CONTROL_SHUT_DOWN, false, INIT_RUNNING, false},
        {CONTROL_SHUT_DOWN, false, INIT_INVALID, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        rig_init(&rig);
        rig_view(&rig)->init_state = rows[i].init;
        rig_become_standby(&rig, 5000);
        rig_go_down(&rig, rows[i].control);
        rig_local(&rig)->has_standby_signal = rows[i].has_signal;
        rig_post_view(&rig, true);
        rig_answer(&rig, CALL_LEASE_GRANT, OUTCOME_OK);
        rig_post_local(&rig);
        const struct action *write = rig_find_call(&rig, CALL_INIT_WRITE);
        assert_int_equal(write != NULL, rows[i].writes);
        assert_true(write == NULL || write->u.call.sysid == RIG_SYSID);
        assert_int_equal(rig.core.reason == REASON_WAIT_BOOTSTRAP, !rows[i].writes);
        assert_null(rig_find_op(&rig, OP_START_STANDBY));
    }
}

static void written_identity_is_read_before_it_is_used(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        rig_start_follower(&rig);
        rig_answer(&rig, i == 1 ? CALL_STATUS_PUT : CALL_INIT_WRITE,
                   i == 2 ? OUTCOME_UNAVAILABLE : OUTCOME_OK);
        assert_int_equal(rig_noted(&rig, REASON_SYSID_ADOPTED), i == 0);
        assert_int_equal(rig_find_call(&rig, CALL_VIEW_READ) != NULL, i == 0);
    }
    struct rig rig;
    rig_start_leader(&rig);
    rig_answer(&rig, CALL_INIT_WRITE, OUTCOME_OK); /* restored, not adopted */
    assert_false(rig_noted(&rig, REASON_SYSID_ADOPTED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lease_that_lives_is_waited_for),
        cmocka_unit_test(holder_that_stopped_is_not_waited_for),
        cmocka_unit_test(holder_that_answered_is_not_waited_for),
        cmocka_unit_test(nobody_is_waited_for_where_nobody_led),
        cmocka_unit_test(we_do_not_wait_for_ourselves),
        cmocka_unit_test(waiting_winner_remembers_the_holder),
        cmocka_unit_test(leader_on_a_new_lease_is_asked_about_that_one),
        cmocka_unit_test(only_an_answer_about_its_lease_counts),
        cmocka_unit_test(last_second_of_a_lease_is_waited_for),
        cmocka_unit_test(round_ends_when_somebody_leads),
        cmocka_unit_test(answers_without_a_lease_win_nothing),
        cmocka_unit_test(key_is_not_asked_for_twice),
        cmocka_unit_test(request_of_tomorrow_decides_nothing_today),
        cmocka_unit_test(candidate_asks_unless_it_was_given_the_key),
        cmocka_unit_test(candidate_of_a_crashed_holder_asks),
        cmocka_unit_test(synchronous_standbys_only),
        cmocka_unit_test(peer_hears_etcd_a_moment_after_us),
        cmocka_unit_test(better_peer_that_does_not_act_is_no_dead_end),
        cmocka_unit_test(answers_are_for_a_standby_without_a_leader),
        cmocka_unit_test(found_primary_takes_the_key_of_its_own_line),
        cmocka_unit_test(found_primary_waits_for_a_lease),
        cmocka_unit_test(identity_comes_from_data_of_a_primary),
        cmocka_unit_test(written_identity_is_read_before_it_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
