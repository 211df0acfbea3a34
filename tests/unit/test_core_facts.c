/* All facts: whatever combination of circumstances and whatever event, some things are never
 * asked for. The space is walked whole: each fact is one bit or a few values of the bench. */
#include "core_rig.h"

enum { HOLDER_ME, HOLDER_OTHER, HOLDER_NOBODY, HOLDER_MY_NAME_OTHER_LEASE, HOLDER_COUNT };
enum { SERVER_DOWN_PRIMARY, SERVER_DOWN_STANDBY, SERVER_STANDBY, SERVER_PRIMARY, SERVER_COUNT };
enum { FENCE_AHEAD, FENCE_NEAR, FENCE_OVER, FENCE_CASES };
enum { DATA_CASES = 4, INIT_CASES = 3, EVENT_CASES = 6 };

struct facts {
    int holder, server, fence, data, init, event;
    bool paused, stopping, nofailover, benched, requested, foreign;
};

static const enum data_dir_state data_states[DATA_CASES] = {DATA_DIR_VALID, DATA_DIR_EMPTY,
                                                            DATA_DIR_HALF, DATA_DIR_WAITING};
static const enum init_state init_states[INIT_CASES] = {INIT_DONE, INIT_ABSENT, INIT_RUNNING};

static void set_server(struct rig *rig, const struct facts *facts)
{
    switch (facts->server) {
    case SERVER_DOWN_PRIMARY:
        rig_become_primary(rig, 5000);
        rig_go_down(rig, CONTROL_SHUT_DOWN);
        break;
    case SERVER_DOWN_STANDBY:
        rig_become_standby(rig, 5000);
        rig_go_down(rig, CONTROL_SHUT_DOWN_IN_RECOVERY);
        break;
    case SERVER_STANDBY:
        rig_become_standby(rig, 5000);
        break;
    default:
        rig_become_primary(rig, 5000);
        break;
    }
    rig_local(rig)->data_dir = data_states[facts->data];
    rig_local(rig)->sysid = facts->foreign ? 1 : RIG_SYSID;
    rig_local(rig)->rewind_possible = true;
}

static void set_view(struct rig *rig, const struct facts *facts)
{
    struct view *view = rig_view(rig);

    rig_set_leader(rig, NULL, 0);
    if (facts->holder == HOLDER_ME)
        rig_set_leader(rig, "me", RIG_LEASE);
    if (facts->holder == HOLDER_OTHER)
        rig_set_leader(rig, "you", RIG_OTHER_LEASE);
    if (facts->holder == HOLDER_MY_NAME_OTHER_LEASE)
        rig_set_leader(rig, "me", 4711);
    view->init_state = init_states[facts->init];
    view->policy.pause = facts->paused;
    view->members[0].role = PG_ROLE_PRIMARY;
    view->failover.present = facts->requested;
    memcpy(view->failover.leader, "me", 3);
    view->failover.mod_revision = view->revision;
}

static void set_core(struct rig *rig, const struct facts *facts)
{
    struct core *core = &rig->core;
    static const int64_t ahead_ms[FENCE_CASES] = {4000, 900, -1};

    core->lease.id = RIG_LEASE;
    core->lease.ttl_ms = RIG_TTL_MS;
    core->lease.asked_ttl_ms = RIG_TTL_MS;
    core->identity.tags.nofailover = facts->nofailover;
    core->race.bench_until_ms = facts->benched ? rig->now_ms + 1000 : 0;
    core->stopping = facts->stopping;
    if (facts->holder == HOLDER_ME) {
        core->key.create_revision = rig_view(rig)->leader_create_revision;
        core->key.fence_until_ms = rig->now_ms + ahead_ms[facts->fence];
    }
}

static void post(struct rig *rig, const struct facts *facts)
{
    static const struct peer_answer nobody;
    struct event event;

    switch (facts->event) {
    case 0:
        rig_tick(rig, 0);
        break;
    case 1:
        rig_post_view(rig, true);
        break;
    case 2:
        rig_post_local(rig);
        break;
    case 3:
        rig->core.race.phase = RACE_ASKING;
        rig->core.race.ask_id = ++rig->core.next_id;
        rig_peers(rig, &nobody, 0);
        break;
    case 4:
        rig_answer(rig, CALL_TIMELINE_CLAIM, OUTCOME_OK);
        break;
    default:
        event = rig_event(rig, EVENT_REQUEST);
        event.u.request.kind = REQUEST_REINIT;
        event.u.request.force = true;
        rig_step(rig, &event);
        break;
    }
}

static int64_t cases;

static void judge(const struct rig *rig, const struct facts *facts)
{
    const struct core *core = &rig->core;
    bool has_right = facts->holder == HOLDER_ME && (facts->fence != FENCE_OVER || facts->paused);
    bool may_begin_writer = facts->holder == HOLDER_ME && facts->fence == FENCE_AHEAD;
    const struct action *fence = rig_find(rig, ACTION_FENCE);
    struct core_status status;

    cases++;
    /* P3, P1: no promotion and no start of a writer without the key and a fence well ahead. */
    if (rig_find_op(rig, OP_PROMOTE) != NULL || rig_find_op(rig, OP_START_PRIMARY) != NULL)
        assert_true(may_begin_writer || (facts->paused && facts->holder == HOLDER_ME));
    /* A writer without the right, or near its end, is stopped whatever the event was. */
    if (facts->server == SERVER_PRIMARY && !facts->paused && facts->holder == HOLDER_ME &&
        facts->fence != FENCE_AHEAD)
        assert_true(core->op.kind == OP_STOP);
    /* The key belonged to somebody else before we looked. */
    if (facts->server == SERVER_PRIMARY && !facts->paused &&
        (facts->holder == HOLDER_OTHER || facts->holder == HOLDER_MY_NAME_OTHER_LEASE))
        assert_true(core->op.kind == OP_STOP || core->exiting);
    /* P5: nothing is replaced or rewound that is foreign, or without a leader to copy from. */
    const struct action *clone = rig_find_op(rig, OP_CLONE);
    if (clone != NULL)
        assert_true(facts->holder == HOLDER_OTHER && facts->init == 0);
    if (clone != NULL && data_states[facts->data] == DATA_DIR_VALID)
        assert_true(!facts->foreign && clone->u.op.replace && core->request.reinit);
    if (rig_find_op(rig, OP_REWIND) != NULL)
        assert_true(facts->holder == HOLDER_OTHER && !facts->foreign);
    if (rig_find_op(rig, OP_BOOTSTRAP) != NULL || rig_find_call(rig, CALL_INIT_RACE) != NULL)
        assert_true(data_states[facts->data] == DATA_DIR_EMPTY);
    /* Every write of a leader carries its guard. */
    if (rig_find_call(rig, CALL_STATUS_PUT) != NULL)
        assert_true(rig_find_call(rig, CALL_STATUS_PUT)->u.call.create_revision != 0);
    if (rig_find_call(rig, CALL_HISTORY_PUT) != NULL)
        assert_true(rig_find_call(rig, CALL_HISTORY_PUT)->u.call.create_revision != 0);
    /* The key is never let go under a running writer. */
    if (rig_find_call(rig, CALL_LEADER_RELEASE) != NULL && !facts->paused)
        assert_true(facts->server != SERVER_PRIMARY);
    /* nofailover, a bench, another cluster's data: no race. */
    if (rig_find_call(rig, CALL_LEADER_ACQUIRE) != NULL && facts->server != SERVER_PRIMARY)
        assert_true(!facts->nofailover && !facts->benched && !facts->foreign);
    /* In pause PostgreSQL is only touched because somebody asked. */
    if (facts->paused && rig_find(rig, ACTION_OP_BEGIN) != NULL)
        assert_true(facts->event == 5 || facts->holder == HOLDER_ME || facts->requested);
    if (fence != NULL && fence->u.fence.kind == FENCE_DISARMED)
        assert_true(facts->paused);
    core_describe(core, rig->now_ms, &status);
    assert_true(!status.is_leader || has_right || core->key.create_revision != 0);
    if (status.is_leader && !status.paused)
        assert_true(core->key.fence_until_ms > rig->now_ms);
}

static void try_one(const struct facts *facts)
{
    static struct rig rig;

    rig_init(&rig);
    set_server(&rig, facts);
    set_view(&rig, facts);
    set_core(&rig, facts);
    rig.core.view = rig_view(&rig);
    rig.core.local = rig_local(&rig);
    rig.core.known_postmaster_id = rig_local(&rig)->postmaster_id;
    rig.core.paused = facts->paused;
    rig.core.pause_is_confirmed = facts->paused;
    rig.core.read_at_ms = rig.now_ms + 1000;
    post(&rig, facts);
    judge(&rig, facts);
}

static void some_things_are_never_asked_for(void **state)
{
    (void)state;
    for (int bits = 0; bits < 64; bits++)
        for (int mix = 0;
             mix < HOLDER_COUNT * SERVER_COUNT * FENCE_CASES * DATA_CASES * INIT_CASES *
                       EVENT_CASES;
             mix++) {
            int rest = mix;
            struct facts facts = {
                .paused = bits & 1, .stopping = bits & 2, .nofailover = bits & 4,
                .benched = bits & 8, .requested = bits & 16, .foreign = bits & 32};
            facts.holder = rest % HOLDER_COUNT;
            rest /= HOLDER_COUNT;
            facts.server = rest % SERVER_COUNT;
            rest /= SERVER_COUNT;
            facts.fence = rest % FENCE_CASES;
            rest /= FENCE_CASES;
            facts.data = rest % DATA_CASES;
            rest /= DATA_CASES;
            facts.init = rest % INIT_CASES;
            rest /= INIT_CASES;
            facts.event = rest;
            bool impossible = data_states[facts.data] != DATA_DIR_VALID &&
                              facts.server != SERVER_DOWN_PRIMARY &&
                              facts.server != SERVER_DOWN_STANDBY;
            if (!impossible)
                try_one(&facts);
        }
    print_message("%lld combinations\n", (long long)cases);
    assert_true(cases > 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(some_things_are_never_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
