/* A bench for the core: one node, whose world the test plays by hand. Time moves only when told
 * to. */
#ifndef PGHEIR_UNIT_CORE_RIG_H
#define PGHEIR_UNIT_CORE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pgheir/base/str.h"
#include "pgheir/core/core.h"

enum { RIG_TTL_MS = 5000, RIG_LEASE = 77, RIG_OTHER_LEASE = 88, RIG_SYSID = 4242 };

struct rig {
    struct core core;
    struct view views[2]; /* the core keeps a pointer to the last one */
    int view_idx;
    struct local locals[2];
    int local_idx;
    struct actions actions;
    int64_t now_ms;
    uint64_t raft_term;
};

static inline void rig_text(char *dst, size_t size, const char *text)
{
    assert_true(str_copy(dst, size, text));
}

static inline struct view *rig_view(struct rig *rig)
{
    return &rig->views[rig->view_idx];
}

static inline struct local *rig_local(struct rig *rig)
{
    return &rig->locals[rig->local_idx];
}

static inline struct event rig_event(struct rig *rig, enum event_kind kind)
{
    return (struct event){
        .kind = kind, .now_ms = rig->now_ms, .now_wall_ms = 1000000000 + rig->now_ms};
}

static inline void rig_step(struct rig *rig, const struct event *event)
{
    rig->actions.count = 0;
    core_step(&rig->core, event, &rig->actions);
    if (!rig->core.exiting)
        core_check(&rig->core);
}

static inline void rig_tick(struct rig *rig, int64_t ms)
{
    rig->now_ms += ms;
    struct event event = rig_event(rig, EVENT_TIMER);
    rig_step(rig, &event);
}

/* Posts the view as the test left it: from a read that was sent now, or from the watch. */
static inline void rig_post_view(struct rig *rig, bool from_read)
{
    int next = 1 - rig->view_idx;
    rig->views[next] = rig->views[rig->view_idx];
    rig->view_idx = next;
    rig_view(rig)->raft_term = rig->raft_term;
    struct event event = rig_event(rig, EVENT_VIEW);
    event.u.view.view = rig_view(rig);
    event.u.view.from_read = from_read;
    event.u.view.sent_at_ms = rig->now_ms;
    rig_step(rig, &event);
}

static inline void rig_post_local(struct rig *rig)
{
    int next = 1 - rig->local_idx;
    rig->locals[next] = rig->locals[rig->local_idx];
    rig->local_idx = next;
    struct event event = rig_event(rig, EVENT_LOCAL);
    event.u.local = rig_local(rig);
    rig_step(rig, &event);
}

static inline const struct action *rig_find(const struct rig *rig, enum action_kind kind)
{
    for (int32_t i = 0; i < rig->actions.count; i++)
        if (rig->actions.items[i].kind == kind)
            return &rig->actions.items[i];
    return NULL;
}

static inline const struct action *rig_find_call(const struct rig *rig, enum call call)
{
    for (int32_t i = 0; i < rig->actions.count; i++)
        if (rig->actions.items[i].kind == ACTION_CALL && rig->actions.items[i].u.call.call == call)
            return &rig->actions.items[i];
    return NULL;
}

static inline const struct action *rig_find_op(const struct rig *rig, enum op_kind kind)
{
    for (int32_t i = 0; i < rig->actions.count; i++)
        if (rig->actions.items[i].kind == ACTION_OP_BEGIN &&
            rig->actions.items[i].u.op.kind == kind)
            return &rig->actions.items[i];
    return NULL;
}

static inline bool rig_noted(const struct rig *rig, enum reason reason)
{
    for (int32_t i = 0; i < rig->actions.count; i++)
        if (rig->actions.items[i].kind == ACTION_NOTE &&
            rig->actions.items[i].u.note.reason == reason)
            return true;
    return false;
}

static inline void rig_answer_full(struct rig *rig, enum call call, enum call_outcome outcome,
                                   int64_t sent_at_ms, int64_t ttl_ms)
{
    struct event event = rig_event(rig, EVENT_CALL);
    event.u.call.call = call;
    event.u.call.outcome = outcome;
    event.u.call.sent_at_ms = sent_at_ms;
    event.u.call.raft_term = rig->raft_term;
    event.u.call.revision = ++rig_view(rig)->revision;
    event.u.call.lease_id = call == CALL_LEASE_ASK ? RIG_OTHER_LEASE : RIG_LEASE;
    event.u.call.ttl_ms = ttl_ms;
    rig_step(rig, &event);
}

static inline void rig_answer(struct rig *rig, enum call call, enum call_outcome outcome)
{
    rig_answer_full(rig, call, outcome, rig->now_ms, RIG_TTL_MS);
}

static inline void rig_op_done(struct rig *rig, enum op_result result)
{
    struct event event = rig_event(rig, EVENT_OP_DONE);
    event.u.op.op_id = rig->core.op.id;
    event.u.op.result = result;
    rig_step(rig, &event);
}

static inline void rig_peers(struct rig *rig, const struct peer_answer *answers, int32_t count)
{
    struct event event = rig_event(rig, EVENT_PEERS);
    event.u.peers.ask_id = rig->core.next_id; /* the last question asked */
    event.u.peers.answers = answers;
    event.u.peers.count = count;
    rig_step(rig, &event);
}

static inline struct peer_answer rig_standby(const char *name, uint64_t lsn)
{
    struct peer_answer peer = {.reachable = true, .is_pgheir = true, .running = true,
                               .failover_priority = 1, .timeline = 1, .received_lsn = lsn,
                               .fence_left_ms = 0};
    rig_text(peer.name, NAME_SIZE, name);
    return peer;
}

static inline struct member *rig_add_member(struct rig *rig, const char *name, int64_t lease_id)
{
    struct member *member = &rig_view(rig)->members[rig_view(rig)->member_count++];
    memset(member, 0, sizeof *member);
    rig_text(member->name, NAME_SIZE, name);
    rig_text(member->api_url, URL_SIZE, "http://127.0.0.1:8008/patroni");
    rig_text(member->conn_host, HOST_SIZE, "127.0.0.1");
    member->conn_port = 5432;
    tags_init(&member->tags);
    member->state = PG_STATE_RUNNING;
    member->role = PG_ROLE_REPLICA;
    member->timeline = 1;
    member->lease_id = lease_id;
    member->is_pgheir = true;
    return member;
}

static inline void rig_set_leader(struct rig *rig, const char *name, int64_t lease_id)
{
    struct view *view = rig_view(rig);
    view->revision++;
    view->leader_present = name != NULL;
    view->leader_name[0] = '\0';
    if (name == NULL)
        return;
    rig_text(view->leader_name, NAME_SIZE, name);
    view->leader_lease_id = lease_id;
    view->leader_create_revision = view->revision;
}

/* Node "me" in a cluster with "you" and "she"; nothing known yet but the configuration. */
static inline void rig_init(struct rig *rig)
{
    struct identity identity = {.may_bootstrap = true};
    memset(rig, 0, sizeof *rig);
    rig_text(identity.name, NAME_SIZE, "me");
    tags_init(&identity.tags);
    rig->now_ms = 1000000;
    rig->raft_term = 5;
    core_init(&rig->core, &identity, 1, NULL, rig->now_ms);
    view_init(rig_view(rig));
    local_init(rig_local(rig));
    struct view *view = rig_view(rig);
    view->revision = 100;
    view->init_state = INIT_DONE;
    view->sysid = RIG_SYSID;
    view->config_present = true;
    view->policy.ttl_ms = RIG_TTL_MS;
    view->policy.loop_wait_ms = 1000;
    view->policy.retry_timeout_ms = 2000;
    view->policy.use_slots = false;
    rig_add_member(rig, "you", RIG_OTHER_LEASE);
    rig_add_member(rig, "she", 99);
}

static inline void rig_become_standby(struct rig *rig, uint64_t lsn)
{
    struct local *local = rig_local(rig);
    local->data_dir = DATA_DIR_VALID;
    local->postmaster = POSTMASTER_UP;
    local->postmaster_id = 1;
    local->sysid = RIG_SYSID;
    local->control_state = CONTROL_IN_RECOVERY;
    local->control_timeline = 1;
    local->has_standby_signal = true;
    local->sql_valid = true;
    local->sql_ok_at_ms = rig->now_ms;
    local->in_recovery = true;
    local->timeline = 1;
    local->receive_lsn = lsn;
    local->replay_lsn = lsn;
    local->replication_state = REPLICATION_STREAMING;
}

static inline void rig_become_primary(struct rig *rig, uint64_t lsn)
{
    struct local *local = rig_local(rig);
    rig_become_standby(rig, lsn);
    local->has_standby_signal = false;
    local->control_state = CONTROL_IN_PRODUCTION;
    local->in_recovery = false;
    local->flush_lsn = lsn;
    local->control_end_lsn = lsn;
    local->replication_state = REPLICATION_NONE;
}

static inline void rig_go_down(struct rig *rig, enum control_state state)
{
    struct local *local = rig_local(rig);
    local->postmaster = POSTMASTER_DOWN;
    local->postmaster_id = 0;
    local->sql_valid = false;
    local->control_state = state;
}

/* A standby with a lease that follows "you". */
static inline void rig_start_follower(struct rig *rig)
{
    rig_init(rig);
    rig_set_leader(rig, "you", RIG_OTHER_LEASE);
    rig_view(rig)->members[0].role = PG_ROLE_PRIMARY;
    rig_become_standby(rig, 5000);
    rig_text(rig_local(rig)->follows, NAME_SIZE, "you");
    rig_local(rig)->follows_current_address = true;
    rig_post_view(rig, true);
    rig_answer(rig, CALL_LEASE_GRANT, OUTCOME_OK);
    rig_post_local(rig);
}

/* A serving primary whose fence is confirmed. */
static inline void rig_start_leader(struct rig *rig)
{
    rig_init(rig);
    rig_become_primary(rig, 5000);
    rig_post_view(rig, true);
    rig_answer(rig, CALL_LEASE_GRANT, OUTCOME_OK);
    rig_post_local(rig);
    assert_non_null(rig_find_call(rig, CALL_LEADER_ACQUIRE));
    rig_answer(rig, CALL_LEADER_ACQUIRE, OUTCOME_OK);
    rig_set_leader(rig, "me", RIG_LEASE);
    rig_view(rig)->leader_create_revision = rig->core.key.create_revision;
    rig_answer(rig, CALL_LEASE_KEEPALIVE, OUTCOME_OK);
    rig_post_view(rig, true);
    rig_post_view(rig, true);
}

#endif
