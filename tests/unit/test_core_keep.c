/* Housekeeping: what is written to etcd when, whose slots are kept, what others are told. */
#include "core_rig.h"

#include "../../src/core/internal.h"

enum { OP_ID = 9000, LOOP_MS = 1000 };

static void set_op(struct rig *rig, enum op_kind kind)
{
    rig->core.op = (struct core_op){.kind = kind, .id = OP_ID};
}

/* --- the member key --- */

static void settle_member(struct rig *rig)
{
    rig_start_follower(rig);
    rig_answer(rig, CALL_MEMBER_PUT, OUTCOME_OK);
    rig_tick(rig, 1);
    if (rig->core.calls[CALL_MEMBER_PUT].in_flight)
        rig_answer(rig, CALL_MEMBER_PUT, OUTCOME_OK);
    rig_tick(rig, 1);
    assert_false(rig->core.calls[CALL_MEMBER_PUT].in_flight);
}

static void every_change_is_told_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct rig rig;
        settle_member(&rig);
        if (i == 0)
            rig_local(&rig)->postmaster = POSTMASTER_STOPPING;
        if (i == 1)
            rig_local(&rig)->data_dir = DATA_DIR_FOREIGN;
        if (i == 2)
            rig_local(&rig)->replication_state = REPLICATION_NONE;
        if (i == 3)
            rig_local(&rig)->timeline = 2;
        rig_post_local(&rig);
        assert_int_equal(rig_find_call(&rig, CALL_MEMBER_PUT) != NULL, i < 4 && i != 1);
        /* the foreign directory ends the agent */
        assert_int_equal(rig_find(&rig, ACTION_EXIT) != NULL, i == 1);
    }
}

static void unanswered_member_key_is_written_again(void **state)
{
    struct rig rig;
    bool again = false;
    (void)state;
    settle_member(&rig);
    rig_local(&rig)->timeline = 2;
    rig_post_local(&rig);
    rig_answer(&rig, CALL_MEMBER_PUT, OUTCOME_UNKNOWN);
    for (int i = 0; i < 40 && !again; i++) {
        rig_tick(&rig, 10);
        again = rig_find_call(&rig, CALL_MEMBER_PUT) != NULL;
    }
    assert_true(again);
}

/* --- status --- */

/* The housekeeping turn of a leader, all answers in. */
static void next_turn(struct rig *rig)
{
    for (int call = CALL_LEASE_KEEPALIVE; call < CALL_COUNT; call++)
        if (rig->core.calls[call].in_flight && call != CALL_VIEW_READ)
            rig_answer(rig, (enum call)call, OUTCOME_OK);
    rig_post_view(rig, true);
    rig_tick(rig, LOOP_MS);
}

static void position_is_published_once(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    next_turn(&rig);
    rig_view(&rig)->status_present = true;
    rig_view(&rig)->optime_lsn = 5000;
    next_turn(&rig);
    assert_null(rig_find_call(&rig, CALL_STATUS_PUT));
    rig_local(&rig)->flush_lsn = 6000;
    rig_post_local(&rig);
    next_turn(&rig);
    const struct action *put = rig_find_call(&rig, CALL_STATUS_PUT);
    assert_non_null(put);
    assert_int_equal(put->u.call.lsn, 6000);
    rig_view(&rig)->optime_lsn = 6000;
    next_turn(&rig);
    assert_null(rig_find_call(&rig, CALL_STATUS_PUT));
    rig_view(&rig)->optime_lsn = 5500; /* somebody else's */
    next_turn(&rig);
    assert_non_null(rig_find_call(&rig, CALL_STATUS_PUT));
    rig_view(&rig)->optime_lsn = 6000;
    rig_view(&rig)->status_present = false; /* deleted */
    next_turn(&rig);
    assert_non_null(rig_find_call(&rig, CALL_STATUS_PUT));
}

static void only_a_serving_primary_publishes(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct rig rig;
        rig_start_leader(&rig);
        next_turn(&rig);
        if (i == 0)
            rig_local(&rig)->sql_valid = false;
        if (i == 1)
            rig_local(&rig)->in_recovery = true;
        rig_local(&rig)->flush_lsn = i == 2 ? 0 : 6000;
        rig_local(&rig)->timeline = 2;
        rig_post_local(&rig);
        next_turn(&rig);
        assert_int_equal(rig_find_call(&rig, CALL_STATUS_PUT) != NULL, i == 3);
        assert_int_equal(rig_find_call(&rig, CALL_HISTORY_PUT) != NULL, i >= 2);
    }
}

static void unanswered_status_is_written_again(void **state)
{
    struct rig rig;
    bool again = false;
    (void)state;
    rig_start_leader(&rig);
    next_turn(&rig);
    rig_view(&rig)->status_present = true;
    rig_view(&rig)->optime_lsn = 6000; /* of the holder before us */
    rig_local(&rig)->flush_lsn = 6000;
    rig_post_local(&rig);
    next_turn(&rig);
    assert_non_null(rig_find_call(&rig, CALL_STATUS_PUT));
    rig_answer(&rig, CALL_STATUS_PUT, OUTCOME_UNKNOWN);
    for (int i = 0; i < 3 && !again; i++) {
        rig_tick(&rig, LOOP_MS);
        again = rig_find_call(&rig, CALL_STATUS_PUT) != NULL;
    }
    assert_true(again);
    rig_answer(&rig, CALL_STATUS_PUT, OUTCOME_OK);
    rig_answer(&rig, CALL_MEMBER_PUT, OUTCOME_UNKNOWN); /* says nothing of the status */
    rig_tick(&rig, LOOP_MS);
    assert_null(rig_find_call(&rig, CALL_STATUS_PUT));
}

/* --- history and the cluster's keys --- */

static bool writes_history(uint32_t timeline, uint32_t history_timeline, int32_t rows)
{
    struct rig rig;
    rig_start_leader(&rig);
    next_turn(&rig);
    rig_local(&rig)->timeline = timeline;
    rig_view(&rig)->history_timeline = history_timeline;
    rig_view(&rig)->history_count = rows;
    rig_post_local(&rig);
    next_turn(&rig);
    const struct action *put = rig_find_call(&rig, CALL_HISTORY_PUT);
    assert_true(put == NULL || put->u.call.timeline == timeline);
    return put != NULL;
}

static void history_ends_in_our_timeline(void **state)
{
    (void)state;
    assert_false(writes_history(0, 3, 2)); /* not known */
    assert_false(writes_history(1, 0, 0)); /* the first one began with nothing */
    assert_false(writes_history(3, 3, 2));
    assert_true(writes_history(4, 3, 2));
    assert_true(writes_history(2, 0, 0));
    assert_true(writes_history(1, 3, 2)); /* of another cluster, or broken */
}

/* Followers fetch it: right after a promotion it does not wait for the next turn. */
static void history_of_a_new_timeline_is_written_at_once(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    next_turn(&rig);
    rig_become_standby(&rig, 6000);
    rig_post_local(&rig);
    set_op(&rig, OP_PROMOTE);
    rig_become_primary(&rig, 6000);
    rig_local(&rig)->timeline = 2;
    rig_post_local(&rig);
    assert_null(rig_find_call(&rig, CALL_HISTORY_PUT));
    rig_op_done(&rig, OP_RESULT_OK);
    assert_non_null(rig_find_call(&rig, CALL_HISTORY_PUT));
}

static void leader_restores_the_keys_of_the_cluster(void **state)
{
    static const enum init_state states[] = {INIT_ABSENT, INIT_INVALID, INIT_RUNNING, INIT_DONE};
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct rig rig;
        rig_start_leader(&rig);
        rig_view(&rig)->init_state = states[i];
        rig_view(&rig)->config_present = i != 3;
        rig_post_view(&rig, true);
        const struct action *write = rig_find_call(&rig, CALL_INIT_WRITE);
        assert_int_equal(write != NULL, i < 3);
        assert_true(write == NULL || write->u.call.sysid == RIG_SYSID);
        assert_int_equal(rig_find_call(&rig, CALL_CONFIG_RESTORE) != NULL, i == 3);
    }
}

static void view_older_than_our_key_restores_nothing(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_view(&rig)->init_state = INIT_ABSENT;
    rig_view(&rig)->config_present = false;
    rig_view(&rig)->revision = rig.core.key.create_revision - 1;
    rig_post_view(&rig, true);
    assert_null(rig_find_call(&rig, CALL_INIT_WRITE));
    assert_null(rig_find_call(&rig, CALL_CONFIG_RESTORE));
}

/* --- answers --- */

/* Its effect, or why it was refused, is in a view that is to come. */
static bool waits_for_the_view(enum call call, enum call_outcome outcome)
{
    struct rig rig;
    rig_start_follower(&rig);
    struct event event = rig_event(&rig, EVENT_CALL);
    event.u.call.call = call;
    event.u.call.outcome = outcome;
    event.u.call.revision = rig_view(&rig)->revision + 10;
    event.u.call.lease_id = 4711;
    rig_step(&rig, &event);
    rig.core.calls[call].in_flight = false;
    rig.core.now_ms += 60000;
    bool waits = !call_is_ready(&rig.core, call);
    rig_view(&rig)->revision += 10;
    assert_true(call_is_ready(&rig.core, call));
    return waits;
}

static void writes_are_not_repeated_before_they_are_seen(void **state)
{
    static const enum call seen[] = {
        CALL_HISTORY_PUT,    CALL_CONFIG_RESTORE, CALL_INIT_WRITE, CALL_LEADER_RELEASE,
        CALL_FAILOVER_CLEAR, CALL_LEADER_MOVE,    CALL_INIT_RACE};
    static const enum call others[] = {CALL_MEMBER_PUT, CALL_STATUS_PUT, CALL_LEASE_KEEPALIVE};
    (void)state;
    for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++) {
        assert_true(waits_for_the_view(seen[i], OUTCOME_OK));
        assert_true(waits_for_the_view(seen[i], OUTCOME_REFUSED));
        assert_false(waits_for_the_view(seen[i], OUTCOME_UNKNOWN));
        assert_false(waits_for_the_view(seen[i], OUTCOME_UNAVAILABLE));
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(waits_for_the_view(others[i], OUTCOME_OK));
}

static void answers_that_surprise_are_looked_into(void **state)
{
    struct rig rig;
    (void)state;
    settle_member(&rig);
    rig_answer(&rig, CALL_LEASE_ASK, OUTCOME_LEASE_GONE); /* the leader's, not ours */
    assert_null(rig_find_call(&rig, CALL_LEASE_KEEPALIVE));
    rig_answer(&rig, CALL_MEMBER_PUT, OUTCOME_LEASE_GONE);
    assert_non_null(rig_find_call(&rig, CALL_LEASE_KEEPALIVE));
    settle_member(&rig);
    assert_false(rig.core.calls[CALL_VIEW_READ].in_flight);
    rig_answer(&rig, CALL_FAILOVER_CLEAR, OUTCOME_REFUSED);
    assert_non_null(rig_find_call(&rig, CALL_VIEW_READ));
}

/* --- slots --- */

static struct member *add_owner(struct rig *rig, const char *name)
{
    struct member *member = rig_add_member(rig, name, 0);
    rig_text(member->slot_name, SLOT_NAME_SIZE, name);
    return member;
}

static struct slot *add_slot(struct rig *rig, const char *name)
{
    struct slot *slot = &rig_local(rig)->slots[rig_local(rig)->slot_count++];
    *slot = (struct slot){.physical = true, .restart_lsn = 100};
    rig_text(slot->name, SLOT_NAME_SIZE, name);
    return slot;
}

static const struct action *find_slot(const struct rig *rig, enum action_kind kind,
                                      const char *name)
{
    for (int32_t i = 0; i < rig->actions.count; i++)
        if (rig->actions.items[i].kind == kind &&
            strcmp(rig->actions.items[i].u.slot.name, name) == 0)
            return &rig->actions.items[i];
    return NULL;
}

static int32_t count_actions(const struct rig *rig, enum action_kind kind)
{
    int32_t count = 0;
    for (int32_t i = 0; i < rig->actions.count; i++)
        count += rig->actions.items[i].kind == kind;
    return count;
}

/* A running primary or standby that has not looked after slots yet. */
static void prepare_slots(struct rig *rig, bool is_primary)
{
    if (is_primary)
        rig_start_leader(rig);
    else
        rig_start_follower(rig);
    rig_view(rig)->policy.use_slots = true;
}

static void keep_slots(struct rig *rig)
{
    rig_post_local(rig);
    rig->core.tick_at_ms = rig->now_ms;
    rig_post_view(rig, false);
}

static void every_other_member_has_a_slot(void **state)
{
    (void)state;
    for (int is_primary = 0; is_primary < 2; is_primary++) {
        struct rig rig;
        prepare_slots(&rig, is_primary == 1);
        add_owner(&rig, "ann");
        add_owner(&rig, "bob");
        add_owner(&rig, "me");
        add_owner(&rig, "cut")->tags.nostream = true;
        add_slot(&rig, "bob");
        keep_slots(&rig);
        assert_non_null(find_slot(&rig, ACTION_SLOT_CREATE, "ann"));
        assert_int_equal(count_actions(&rig, ACTION_SLOT_CREATE), 1);
        assert_int_equal(count_actions(&rig, ACTION_SLOT_DROP), 0);
    }
}

static void slots_need_a_server_and_a_policy(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct rig rig;
        prepare_slots(&rig, false);
        add_owner(&rig, "ann");
        if (i == 0)
            rig_view(&rig)->policy.use_slots = false;
        if (i == 1)
            rig_local(&rig)->postmaster = POSTMASTER_STARTING;
        if (i == 2)
            rig_local(&rig)->sql_valid = false;
        if (i == 3)
            rig.core.identity.tags.nofailover = true; /* nobody will ever follow us */
        keep_slots(&rig);
        assert_int_equal(count_actions(&rig, ACTION_SLOT_CREATE), i == 4);
    }
}

static void broken_slots_are_made_anew(void **state)
{
    static const struct {
        bool active, physical, lost, has_xmin, is_primary, dropped;
    } rows[] = {
        {false, true, false, false, false, false}, {false, true, true, false, false, true},
        {false, true, true, false, true, true},    {false, true, false, true, false, true},
        {false, true, false, true, true, false},   {true, true, true, false, false, false},
        {false, false, true, false, false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        prepare_slots(&rig, rows[i].is_primary);
        add_owner(&rig, "ann");
        struct slot *slot = add_slot(&rig, "ann");
        slot->active = rows[i].active;
        slot->physical = rows[i].physical;
        slot->lost = rows[i].lost;
        slot->has_xmin = rows[i].has_xmin;
        keep_slots(&rig);
        assert_int_equal(find_slot(&rig, ACTION_SLOT_DROP, "ann") != NULL, rows[i].dropped);
        assert_int_equal(count_actions(&rig, ACTION_SLOT_CREATE), 0);
    }
}

/* RS-03: unused slots of a standby move with their owner, never past what we have ourselves. */
static void unused_slots_of_a_standby_move(void **state)
{
    static const struct {
        uint64_t owner_lsn, owner_receive_lsn, own_lsn, restart_lsn, moves_to;
        bool is_primary;
    } rows[] = {
        {200, 300, 5000, 100, 300, false}, {300, 200, 5000, 100, 300, false},
        {200, 300, 250, 100, 250, false},  {200, 300, 5000, 300, 0, false},
        {200, 300, 5000, 299, 300, false}, {200, 300, 5000, 0, 0, false},
        {0, 0, 5000, 100, 0, false},       {200, 300, 5000, 100, 0, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        prepare_slots(&rig, rows[i].is_primary);
        struct member *owner = add_owner(&rig, "ann");
        owner->lsn = rows[i].owner_lsn;
        owner->receive_lsn = rows[i].owner_receive_lsn;
        rig_local(&rig)->replay_lsn = rows[i].own_lsn;
        add_slot(&rig, "ann")->restart_lsn = rows[i].restart_lsn;
        keep_slots(&rig);
        const struct action *advance = find_slot(&rig, ACTION_SLOT_ADVANCE, "ann");
        assert_int_equal(advance != NULL, rows[i].moves_to != 0);
        assert_true(advance == NULL || advance->u.slot.lsn == rows[i].moves_to);
    }
}

/* RS-01, RS-02: only slots of members that we have seen, some time after they have gone. */
static void slot_outlives_its_member_for_a_while(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct rig rig;
        prepare_slots(&rig, false);
        rig_view(&rig)->policy.member_slots_ttl_ms = 10000;
        add_owner(&rig, "ann");
        add_slot(&rig, "ann");
        add_slot(&rig, "made_by_hand");
        keep_slots(&rig);
        rig_view(&rig)->member_count--;
        rig.now_ms += 10000;
        keep_slots(&rig);
        assert_int_equal(count_actions(&rig, ACTION_SLOT_DROP), 0);
        rig_local(&rig)->slots[0].active = i == 1;
        if (i == 2)
            rig_local(&rig)->slot_count = 0;
        rig_view(&rig)->policy.pause = i == 3;
        rig.now_ms += 1;
        keep_slots(&rig);
        assert_int_equal(find_slot(&rig, ACTION_SLOT_DROP, "ann") != NULL, i == 0);
        assert_int_equal(count_actions(&rig, ACTION_SLOT_DROP), i == 0);
        keep_slots(&rig);
        assert_int_equal(count_actions(&rig, ACTION_SLOT_DROP), 0); /* forgotten */
    }
}

static void member_that_stays_keeps_its_slot(void **state)
{
    struct rig rig;
    (void)state;
    prepare_slots(&rig, false);
    rig_view(&rig)->policy.member_slots_ttl_ms = 10000;
    add_owner(&rig, "ann");
    add_owner(&rig, "bob");
    add_slot(&rig, "ann");
    add_slot(&rig, "bob");
    for (int i = 0; i < 5; i++) {
        keep_slots(&rig);
        assert_int_equal(count_actions(&rig, ACTION_SLOT_DROP), 0);
        rig.now_ms += 9000;
    }
    assert_int_equal(rig.core.retained_count, 2);
}

static void changes_come_in_portions(void **state)
{
    struct rig rig;
    char name[2] = "a";
    (void)state;
    prepare_slots(&rig, false);
    rig_view(&rig)->policy.member_slots_ttl_ms = 10000;
    for (int i = 0; i < SLOT_CHANGES_MAX + 2; i++, name[0]++) {
        add_owner(&rig, name);
        if (i > 0)
            add_slot(&rig, name);
    }
    keep_slots(&rig);
    assert_int_equal(count_actions(&rig, ACTION_SLOT_CREATE), 1);
    add_slot(&rig, "a");
    rig_view(&rig)->member_count -= SLOT_CHANGES_MAX + 2;
    rig.now_ms += 10000;
    keep_slots(&rig);
    rig.now_ms += 1;
    keep_slots(&rig);
    assert_int_equal(count_actions(&rig, ACTION_SLOT_DROP), SLOT_CHANGES_MAX);
    rig_local(&rig)->slot_count = 0;
    rig_view(&rig)->member_count += SLOT_CHANGES_MAX + 2;
    keep_slots(&rig);
    assert_int_equal(count_actions(&rig, ACTION_SLOT_CREATE), SLOT_CHANGES_MAX);
}

/* A copy that was just made waits for its slot; so does everybody after a promotion. */
static void new_members_and_new_primaries_do_not_wait_for_the_turn(void **state)
{
    struct rig rig;
    (void)state;
    prepare_slots(&rig, true);
    add_owner(&rig, "ann");
    keep_slots(&rig);
    assert_non_null(find_slot(&rig, ACTION_SLOT_CREATE, "ann"));
    rig_tick(&rig, 1);
    assert_null(find_slot(&rig, ACTION_SLOT_CREATE, "ann")); /* asked for already */
    add_owner(&rig, "bob");
    rig_post_view(&rig, false);
    assert_non_null(find_slot(&rig, ACTION_SLOT_CREATE, "bob"));
    rig_tick(&rig, 1);
    assert_null(find_slot(&rig, ACTION_SLOT_CREATE, "bob"));
    rig_local(&rig)->in_recovery = true;
    rig_post_local(&rig);
    assert_non_null(find_slot(&rig, ACTION_SLOT_CREATE, "bob"));
    rig_tick(&rig, LOOP_MS);
    assert_non_null(find_slot(&rig, ACTION_SLOT_CREATE, "bob")); /* and with every turn */
}

/* --- what others are told --- */

static struct core_status describe(const struct rig *rig, int64_t now_ms)
{
    struct core_status status;
    core_describe(&rig->core, now_ms, &status);
    return status;
}

static void state_follows_the_operation_then_the_server(void **state)
{
    static const struct {
        enum op_kind op;
        enum pg_state told;
    } ops[] = {
        {OP_BOOTSTRAP, PG_STATE_INITDB},       {OP_CLONE, PG_STATE_CREATING_REPLICA},
        {OP_START_PRIMARY, PG_STATE_STARTING}, {OP_START_STANDBY, PG_STATE_STARTING},
        {OP_STOP, PG_STATE_STOPPING},          {OP_RESTART, PG_STATE_RESTARTING},
        {OP_REWIND, PG_STATE_STOPPED},         {OP_PROMOTE, PG_STATE_RUNNING},
        {OP_FOLLOW, PG_STATE_RUNNING},         {OP_CHECKPOINT, PG_STATE_RUNNING},
    };
    struct rig rig;
    (void)state;
    rig_start_follower(&rig);
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        set_op(&rig, ops[i].op);
        assert_int_equal(describe(&rig, rig.now_ms).pg_state, ops[i].told);
    }
    set_op(&rig, OP_NONE);
    rig_local(&rig)->postmaster = POSTMASTER_STARTING;
    assert_int_equal(describe(&rig, rig.now_ms).pg_state, PG_STATE_STARTING);
    rig_local(&rig)->postmaster = POSTMASTER_STOPPING;
    assert_int_equal(describe(&rig, rig.now_ms).pg_state, PG_STATE_STOPPING);
    rig_local(&rig)->postmaster = POSTMASTER_DOWN;
    assert_int_equal(describe(&rig, rig.now_ms).pg_state, PG_STATE_STOPPED);
    rig.core.follow.start_failures = 1;
    assert_int_equal(describe(&rig, rig.now_ms).pg_state, PG_STATE_START_FAILED);
    rig.core.crash.count = 1;
    assert_int_equal(describe(&rig, rig.now_ms).pg_state, PG_STATE_CRASHED);
    rig.core.stopping = true;
    assert_int_equal(describe(&rig, rig.now_ms).pg_state, PG_STATE_STOPPED);
}

static void before_the_first_look_nothing_is_claimed(void **state)
{
    struct rig rig;
    (void)state;
    rig_init(&rig);
    assert_int_equal(describe(&rig, rig.now_ms).pg_state, PG_STATE_UNKNOWN);
    assert_int_equal(describe(&rig, rig.now_ms).pg_role, PG_ROLE_UNKNOWN);
    assert_false(describe(&rig, rig.now_ms).is_leader);
}

static enum pg_role role_of(enum op_kind op, enum data_dir_state data_dir, bool is_primary)
{
    struct rig rig;
    rig_start_follower(&rig);
    if (is_primary)
        rig_become_primary(&rig, 5000);
    rig_local(&rig)->data_dir = data_dir;
    set_op(&rig, op);
    return describe(&rig, rig.now_ms).pg_role;
}

static void role_is_what_the_server_is(void **state)
{
    static const enum data_dir_state no_data[] = {DATA_DIR_EMPTY, DATA_DIR_WAITING,
                                                  DATA_DIR_FOREIGN, DATA_DIR_UNKNOWN};
    (void)state;
    for (size_t i = 0; i < sizeof no_data / sizeof no_data[0]; i++)
        assert_int_equal(role_of(OP_NONE, no_data[i], false), PG_ROLE_UNINITIALIZED);
    assert_int_equal(role_of(OP_BOOTSTRAP, DATA_DIR_VALID, true), PG_ROLE_UNINITIALIZED);
    assert_int_equal(role_of(OP_CLONE, DATA_DIR_VALID, false), PG_ROLE_UNINITIALIZED);
    assert_int_equal(role_of(OP_NONE, DATA_DIR_VALID, false), PG_ROLE_REPLICA);
    assert_int_equal(role_of(OP_NONE, DATA_DIR_VALID, true), PG_ROLE_PRIMARY);
    assert_int_equal(role_of(OP_PROMOTE, DATA_DIR_VALID, false), PG_ROLE_PROMOTED);
    assert_int_equal(role_of(OP_START_PRIMARY, DATA_DIR_VALID, false), PG_ROLE_PRIMARY);
}

static void stopped_primary_is_demoted_unless_it_holds_the_key(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    rig_local(&rig)->postmaster = POSTMASTER_DOWN;
    assert_int_equal(describe(&rig, rig.now_ms).pg_role, PG_ROLE_PRIMARY);
    rig.core.key.create_revision = 0;
    assert_int_equal(describe(&rig, rig.now_ms).pg_role, PG_ROLE_DEMOTED);
    rig.core.was_primary = false;
    assert_int_equal(describe(&rig, rig.now_ms).pg_role, PG_ROLE_REPLICA);
}

static void leader_serves_only_while_its_server_does(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct rig rig;
        rig_start_leader(&rig);
        if (i == 0)
            rig_local(&rig)->sql_valid = false;
        if (i == 1)
            rig_local(&rig)->postmaster = POSTMASTER_STOPPING;
        if (i == 2)
            rig_local(&rig)->in_recovery = true;
        struct core_status status = describe(&rig, rig.now_ms);
        assert_true(status.is_leader);
        assert_int_equal(status.is_primary_serving, i == 3);
        status = describe(&rig, rig.core.key.fence_until_ms);
        assert_false(status.is_leader || status.is_primary_serving);
        assert_int_equal(status.fence_left_ms, 0);
    }
}

static void fence_that_is_told_is_the_one_that_was_sent(void **state)
{
    struct rig rig;
    (void)state;
    rig_start_leader(&rig);
    int64_t until_ms = rig.core.fence_sent_until_ms;
    assert_int_equal(describe(&rig, until_ms - 1).fence_left_ms, 1);
    assert_false(describe(&rig, until_ms - 1).fence_disarmed);
    assert_int_equal(describe(&rig, until_ms + 1).fence_left_ms, 0);
    rig_view(&rig)->policy.pause = true;
    rig_post_view(&rig, true);
    assert_int_equal(describe(&rig, until_ms).fence_left_ms, -1);
    assert_true(describe(&rig, until_ms).fence_disarmed);
    assert_true(describe(&rig, until_ms).is_leader);
    rig_start_follower(&rig);
    assert_int_equal(describe(&rig, rig.now_ms).fence_left_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_is_told_at_once),
        cmocka_unit_test(unanswered_member_key_is_written_again),
        cmocka_unit_test(position_is_published_once),
        cmocka_unit_test(only_a_serving_primary_publishes),
        cmocka_unit_test(unanswered_status_is_written_again),
        cmocka_unit_test(history_ends_in_our_timeline),
        cmocka_unit_test(history_of_a_new_timeline_is_written_at_once),
        cmocka_unit_test(leader_restores_the_keys_of_the_cluster),
        cmocka_unit_test(view_older_than_our_key_restores_nothing),
        cmocka_unit_test(writes_are_not_repeated_before_they_are_seen),
        cmocka_unit_test(answers_that_surprise_are_looked_into),
        cmocka_unit_test(every_other_member_has_a_slot),
        cmocka_unit_test(slots_need_a_server_and_a_policy),
        cmocka_unit_test(broken_slots_are_made_anew),
        cmocka_unit_test(unused_slots_of_a_standby_move),
        cmocka_unit_test(slot_outlives_its_member_for_a_while),
        cmocka_unit_test(member_that_stays_keeps_its_slot),
        cmocka_unit_test(changes_come_in_portions),
        cmocka_unit_test(new_members_and_new_primaries_do_not_wait_for_the_turn),
        cmocka_unit_test(state_follows_the_operation_then_the_server),
        cmocka_unit_test(before_the_first_look_nothing_is_claimed),
        cmocka_unit_test(role_is_what_the_server_is),
        cmocka_unit_test(stopped_primary_is_demoted_unless_it_holds_the_key),
        cmocka_unit_test(leader_serves_only_while_its_server_does),
        cmocka_unit_test(fence_that_is_told_is_the_one_that_was_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
