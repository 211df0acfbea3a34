/* etcd as one linearizable store: keys as a view, leases, elections. What every call of
 * model/event.h means as a transaction is written at its function; tests/sim/README.md has the
 * table. */
#include "sim.h"

#include <string.h>


enum { LEASE_TTL_FLOOR_MS = 2000 };

bool etcd_is_up(const struct world *w)
{
    return w->etcd.down_count == 0 && !w->etcd.electing;
}

/* ---- shared views ---- */

const struct view *etcd_view(const struct world *w, int32_t view_idx)
{
    return view_idx < 0 ? NULL : &w->etcd.pool[view_idx].view;
}

void etcd_view_put(struct world *w, int32_t view_idx)
{
    struct shared_view *shared;

    if (view_idx < 0)
        return;
    shared = &w->etcd.pool[view_idx];
    pgh_assert(shared->refs > 0);
    if (--shared->refs == 0) {
        shared->next_free = w->etcd.pool_free;
        w->etcd.pool_free = view_idx;
    }
}

/* Arrays beyond their counts are not copied: a view has room for 64 members, and there are
 * three. */
static void view_copy(struct view *to, const struct view *from)
{
    memcpy(to, from, offsetof(struct view, history));
    memcpy(to->history, from->history, sizeof(from->history[0]) * (size_t)from->history_count);
    to->history_timeline = from->history_timeline;
    to->claimed_timeline = from->claimed_timeline;
    to->sync_present = false;
    to->sync_leader[0] = '\0';
    to->sync_count = 0;
    to->member_count = from->member_count;
    memcpy(to->members, from->members, sizeof(from->members[0]) * (size_t)from->member_count);
}

int32_t etcd_view_get(struct world *w)
{
    struct etcd *etcd = &w->etcd;

    if (etcd->view_idx < 0) {
        struct shared_view *shared;

        pgh_assert(etcd->pool_free >= 0);
        etcd->view_idx = etcd->pool_free;
        shared = &etcd->pool[etcd->view_idx];
        etcd->pool_free = shared->next_free;
        shared->refs = 1; /* the store's own */
        view_copy(&shared->view, &etcd->now);
    }
    etcd->pool[etcd->view_idx].refs++;
    return etcd->view_idx;
}

static void view_forget(struct etcd *etcd, struct world *w)
{
    etcd_view_put(w, etcd->view_idx);
    etcd->view_idx = -1;
}

void etcd_changed(struct world *w)
{
    struct etcd *etcd = &w->etcd;

    etcd->now.revision++;
    view_forget(etcd, w);
    if (!etcd->flush_pending) {
        etcd->flush_pending = true;
        /* What happens within a few milliseconds reaches the watchers as one. */
        world_post(w, w->now_us + draw(w, 2, 12) * US_PER_MS, EV_WATCH_FLUSH, 0, 0, 0);
    }
}

/* ---- birth and elections ---- */

static void keys_reset(struct world *w)
{
    struct etcd *etcd = &w->etcd;

    view_init(&etcd->now);
    etcd->now.history_count = 0;
    etcd->now.init_state = INIT_ABSENT;
    etcd->lease_high = 0;
    etcd->status_put_us = 0;
}

void etcd_reset(struct world *w)
{
    struct etcd *etcd = &w->etcd;

    for (int32_t i = 0; i < VIEWS_MAX; i++) {
        etcd->pool[i].refs = 0;
        etcd->pool[i].next_free = i + 1 < VIEWS_MAX ? i + 1 : -1;
    }
    etcd->pool_free = 0;
    etcd->view_idx = -1;
    etcd->down_count = 0;
    etcd->electing = false;
    etcd->stale_node = -1;
    etcd->stale_until_us = 0;
    etcd->flush_pending = false;
    etcd->next_lease_id = 7000;
    etcd->wiped_us = 0;
    keys_reset(w);
    etcd->now.cluster_id = 42;
    etcd->now.raft_term = (uint64_t)draw(w, 2, 9);
    etcd->now.revision = draw(w, 1, 1000);
}

void etcd_begin_election(struct world *w, int64_t pause_us)
{
    if (w->etcd.electing)
        return;
    w->etcd.electing = true;
    trace_line(w, -1, "etcd", "no leader for %lld ms", (long long)pause_us / US_PER_MS);
    world_post(w, w->now_us + pause_us, EV_ETCD_ELECTED, 0, 0, 0);
}

/* The new leader does not know how much of each lease is left and gives all of it again (LC-07). */
void etcd_elected(struct world *w)
{
    struct etcd *etcd = &w->etcd;

    if (!etcd->electing)
        return;
    etcd->electing = false;
    etcd->now.raft_term++;
    view_forget(etcd, w);
    for (int32_t i = 0; i < etcd->lease_high; i++)
        if (etcd->leases[i].id != 0)
            etcd->leases[i].expires_us = w->now_us + etcd->leases[i].ttl_ms * US_PER_MS;
    trace_line(w, -1, "etcd", "leader elected, raft term %llu",
               (unsigned long long)etcd->now.raft_term);
}

/* ---- leases ---- */

struct sim_lease *etcd_find_lease(struct world *w, int64_t id)
{
    for (int32_t i = 0; i < w->etcd.lease_high; i++)
        if (w->etcd.leases[i].id == id && id != 0)
            return &w->etcd.leases[i];
    return NULL;
}

int etcd_leader_node(const struct world *w)
{
    const struct view *now = &w->etcd.now;

    if (!now->leader_present)
        return -1;
    for (int32_t i = 0; i < w->node_count; i++)
        if (strcmp(w->nodes[i].name, now->leader_name) == 0)
            return i;
    return -1;
}

static void leader_clear(struct view *now)
{
    now->leader_present = false;
    now->leader_name[0] = '\0';
    now->leader_lease_id = 0;
    now->leader_create_revision = 0;
    now->leader_mod_revision = 0;
}

static void member_remove(struct etcd *etcd, int32_t idx)
{
    struct view *now = &etcd->now;

    now->member_count--;
    for (int32_t i = idx; i < now->member_count; i++) {
        now->members[i] = now->members[i + 1];
        etcd->member_lease[i] = etcd->member_lease[i + 1];
    }
}

void etcd_revoke(struct world *w, struct sim_lease *lease, bool forced)
{
    struct etcd *etcd = &w->etcd;
    struct view *now = &etcd->now;
    int64_t id = lease->id;
    bool any = false;

    trace_line(w, lease->node, "etcd", "lease %lld %s", (long long)id,
               forced ? "revoked early" : "expired");
    lease->id = 0;
    if (now->leader_present && now->leader_lease_id == id) {
        int holder = etcd_leader_node(w);

        leader_clear(now);
        judge_on_key_gone(w, holder, forced);
        any = true;
    }
    if (now->init_state == INIT_RUNNING && now->init_lease_id == id) {
        now->init_state = INIT_ABSENT;
        now->init_lease_id = 0;
        now->init_mod_revision = 0;
        any = true;
    }
    for (int32_t i = 0; i < now->member_count; i++)
        if (etcd->member_lease[i] == id) {
            member_remove(etcd, i--);
            any = true;
        }
    if (any)
        etcd_changed(w);
}

void etcd_tick(struct world *w)
{
    if (!etcd_is_up(w))
        return;
    for (int32_t i = 0; i < w->etcd.lease_high; i++) {
        struct sim_lease *lease = &w->etcd.leases[i];

        if (lease->id != 0 && lease->expires_us <= w->now_us)
            etcd_revoke(w, lease, false);
    }
}

static struct sim_lease *lease_new(struct world *w, int node, int64_t ttl_ms)
{
    struct etcd *etcd = &w->etcd;
    struct sim_lease *lease = NULL;

    for (int32_t i = 0; i < etcd->lease_high && lease == NULL; i++)
        if (etcd->leases[i].id == 0)
            lease = &etcd->leases[i];
    if (lease == NULL) {
        pgh_assert(etcd->lease_high < LEASES_MAX);
        lease = &etcd->leases[etcd->lease_high++];
    }
    if (ttl_ms < LEASE_TTL_FLOOR_MS)
        ttl_ms = LEASE_TTL_FLOOR_MS;
    lease->id = etcd->next_lease_id++;
    lease->ttl_ms = (ttl_ms + 999) / 1000 * 1000;
    lease->expires_us = w->now_us + lease->ttl_ms * US_PER_MS;
    lease->node = (int16_t)node;
    return lease;
}

/* ---- calls ---- */

static enum call_outcome apply_keepalive(struct world *w, struct rpc *rpc)
{
    struct sim_lease *lease = etcd_find_lease(w, rpc->action.u.call.lease_id);

    if (lease == NULL)
        return OUTCOME_LEASE_GONE;
    rpc->lease_id = lease->id;
    rpc->ttl_ms = lease->ttl_ms;
    lease->expires_us = w->now_us + lease->ttl_ms * US_PER_MS;
    return OUTCOME_OK;
}

static enum call_outcome apply_ask(struct world *w, struct rpc *rpc)
{
    const struct sim_lease *lease = etcd_find_lease(w, rpc->action.u.call.lease_id);
    int64_t left_ms;

    rpc->lease_id = rpc->action.u.call.lease_id;
    rpc->ttl_ms = -1000;
    if (lease != NULL) {
        left_ms = (lease->expires_us - w->now_us) / US_PER_MS;
        rpc->ttl_ms = left_ms < 0 ? 0 : left_ms / 1000 * 1000; /* whole seconds, rounded down */
    }
    return OUTCOME_OK;
}

static void leader_put(struct world *w, const struct node *n, int64_t lease_id)
{
    struct view *now = &w->etcd.now;

    now->leader_present = true;
    text_set(now->leader_name, sizeof(now->leader_name), n->name);
    now->leader_lease_id = lease_id;
    now->leader_mod_revision = now->revision + 1;
    if (now->leader_create_revision == 0)
        now->leader_create_revision = now->revision + 1;
}

/* CREATE(leader) = 0 -> put name on the lease. */
static enum call_outcome apply_acquire(struct world *w, struct node *n, struct rpc *rpc)
{
    if (w->etcd.now.leader_present)
        return OUTCOME_REFUSED;
    if (etcd_find_lease(w, rpc->action.u.call.lease_id) == NULL)
        return OUTCOME_LEASE_GONE;
    leader_put(w, n, rpc->action.u.call.lease_id);
    etcd_changed(w);
    judge_on_key_won(w, n->index);
    return OUTCOME_OK;
}

/* VALUE(leader) = name and CREATE(leader) = create_revision: what every write of a leader rests
 * on. */
static bool is_own_key(const struct world *w, const struct node *n, const struct rpc *rpc)
{
    const struct view *now = &w->etcd.now;

    return now->leader_present && strcmp(now->leader_name, n->name) == 0 &&
           now->leader_create_revision == rpc->action.u.call.create_revision;
}

static enum call_outcome apply_move(struct world *w, struct node *n, struct rpc *rpc)
{
    if (!is_own_key(w, n, rpc))
        return OUTCOME_REFUSED;
    if (etcd_find_lease(w, rpc->action.u.call.lease_id) == NULL)
        return OUTCOME_LEASE_GONE;
    leader_put(w, n, rpc->action.u.call.lease_id);
    etcd_changed(w);
    return OUTCOME_OK;
}

static enum call_outcome apply_release(struct world *w, struct node *n, struct rpc *rpc)
{
    struct view *now = &w->etcd.now;

    if (!is_own_key(w, n, rpc))
        return OUTCOME_REFUSED;
    if (rpc->action.u.call.lsn != 0) {
        now->status_present = true;
        now->optime_lsn = rpc->action.u.call.lsn;
        w->etcd.status_put_us = w->now_us;
    }
    leader_clear(now);
    etcd_changed(w);
    judge_on_release(w, n->index);
    return OUTCOME_OK;
}

/* CREATE(initialize) = 0 -> put "" on our lease. */
static enum call_outcome apply_init_race(struct world *w, struct rpc *rpc)
{
    struct view *now = &w->etcd.now;

    if (now->init_state != INIT_ABSENT)
        return OUTCOME_REFUSED;
    if (etcd_find_lease(w, rpc->action.u.call.lease_id) == NULL)
        return OUTCOME_LEASE_GONE;
    now->init_state = INIT_RUNNING;
    now->init_lease_id = rpc->action.u.call.lease_id;
    now->init_mod_revision = now->revision + 1;
    etcd_changed(w);
    return OUTCOME_OK;
}

/* initialize is still the empty one that we put (MOD, or our lease), and CREATE(leader) = 0 ->
 * system identifier without a lease, config and leader, all in one. */
static enum call_outcome apply_init_commit(struct world *w, struct node *n, struct rpc *rpc)
{
    struct view *now = &w->etcd.now;
    int64_t mod_revision = rpc->action.u.call.mod_revision;

    if (now->init_state != INIT_RUNNING || now->leader_present)
        return OUTCOME_REFUSED;
    if (mod_revision != 0 ? now->init_mod_revision != mod_revision
                          : now->init_lease_id != rpc->action.u.call.lease_id)
        return OUTCOME_REFUSED;
    if (etcd_find_lease(w, rpc->action.u.call.lease_id) == NULL)
        return OUTCOME_LEASE_GONE;
    now->init_state = INIT_DONE;
    now->sysid = rpc->action.u.call.sysid;
    now->init_lease_id = 0;
    now->init_mod_revision = now->revision + 1;
    if (!now->config_present) {
        now->config_present = true;
        now->policy = w->setup.policy;
        now->config_mod_revision = now->revision + 1;
    }
    leader_put(w, n, rpc->action.u.call.lease_id);
    etcd_changed(w);
    judge_on_init(w, n->index, now->sysid);
    judge_on_key_won(w, n->index);
    return OUTCOME_OK;
}

/* initialize is the empty one on our lease -> delete it. */
static enum call_outcome apply_init_abort(struct world *w, struct rpc *rpc)
{
    struct view *now = &w->etcd.now;

    if (now->init_state != INIT_RUNNING || now->init_lease_id != rpc->action.u.call.lease_id)
        return OUTCOME_REFUSED;
    now->init_state = INIT_ABSENT;
    now->init_lease_id = 0;
    now->init_mod_revision = 0;
    etcd_changed(w);
    return OUTCOME_OK;
}

/* With a leader key of ours: it, and initialize absent or not a system identifier. Without
 * (first start on existing data): CREATE(initialize) = 0. -> put the system identifier. */
static enum call_outcome apply_init_write(struct world *w, struct node *n, struct rpc *rpc)
{
    struct view *now = &w->etcd.now;

    if (now->init_state == INIT_DONE)
        return OUTCOME_REFUSED;
    if (rpc->action.u.call.create_revision != 0 && !is_own_key(w, n, rpc))
        return OUTCOME_REFUSED;
    if (rpc->action.u.call.create_revision == 0 && now->init_state != INIT_ABSENT)
        return OUTCOME_REFUSED;
    now->init_state = INIT_DONE;
    now->sysid = rpc->action.u.call.sysid;
    now->init_lease_id = 0;
    now->init_mod_revision = now->revision + 1;
    etcd_changed(w);
    judge_on_init(w, n->index, now->sysid);
    return OUTCOME_OK;
}

static enum call_outcome apply_config_restore(struct world *w, struct node *n, struct rpc *rpc)
{
    struct view *now = &w->etcd.now;

    if (!is_own_key(w, n, rpc) || now->config_present)
        return OUTCOME_REFUSED;
    now->config_present = true;
    now->policy = w->setup.policy; /* the agent's own copy */
    now->config_mod_revision = now->revision + 1;
    etcd_changed(w);
    return OUTCOME_OK;
}

static enum call_outcome apply_leader_write(struct world *w, struct node *n, struct rpc *rpc)
{
    struct view *now = &w->etcd.now;

    if (!is_own_key(w, n, rpc))
        return OUTCOME_REFUSED;
    if (rpc->call == CALL_TIMELINE_CLAIM) {
        now->claimed_timeline = rpc->action.u.call.timeline;
    } else if (rpc->call == CALL_STATUS_PUT) {
        now->status_present = true;
        now->optime_lsn = rpc->action.u.call.lsn;
        w->etcd.status_put_us = w->now_us;
    } else {
        now->history_count = wal_history(w, n->pg.branch, now->history, HISTORY_MAX);
        now->history_timeline = rpc->action.u.call.timeline;
    }
    etcd_changed(w);
    return OUTCOME_OK;
}

/* MOD(failover) as read; a leader's clearing also rests on its key. -> {} (or only the leader
 * dropped) */
static enum call_outcome apply_failover_clear(struct world *w, struct node *n, struct rpc *rpc)
{
    struct failover_request *request = &w->etcd.now.failover;

    if (request->mod_revision != rpc->action.u.call.mod_revision)
        return OUTCOME_REFUSED;
    if (rpc->action.u.call.create_revision != 0 && !is_own_key(w, n, rpc))
        return OUTCOME_REFUSED;
    request->leader[0] = '\0';
    request->candidate[0] = '\0';
    request->present = false;
    request->scheduled_at_wall_ms = 0;
    request->mod_revision = w->etcd.now.revision + 1;
    etcd_changed(w);
    return OUTCOME_OK;
}

static enum call_outcome apply_member_put(struct world *w, struct node *n, struct rpc *rpc)
{
    struct etcd *etcd = &w->etcd;
    struct view *now = &etcd->now;
    int32_t idx = 0;

    if (etcd_find_lease(w, rpc->action.u.call.lease_id) == NULL)
        return OUTCOME_LEASE_GONE;
    while (idx < now->member_count && strcmp(now->members[idx].name, n->name) < 0)
        idx++;
    if (idx == now->member_count || strcmp(now->members[idx].name, n->name) != 0) {
        pgh_assert(now->member_count < MEMBERS_MAX);
        for (int32_t i = now->member_count++; i > idx; i--) {
            now->members[i] = now->members[i - 1];
            etcd->member_lease[i] = etcd->member_lease[i - 1];
        }
    }
    now->members[idx] = rpc->member;
    now->members[idx].lease_id = rpc->action.u.call.lease_id;
    now->members[idx].mod_revision = now->revision + 1;
    etcd->member_lease[idx] = rpc->action.u.call.lease_id;
    etcd_changed(w);
    return OUTCOME_OK;
}

static enum call_outcome apply(struct world *w, struct node *n, struct rpc *rpc)
{
    switch (rpc->call) {
    case CALL_LEASE_GRANT: {
        const struct sim_lease *lease = lease_new(w, n->index, rpc->action.u.call.ttl_ms);

        rpc->lease_id = lease->id;
        rpc->ttl_ms = lease->ttl_ms;
        return OUTCOME_OK;
    }
    case CALL_LEASE_KEEPALIVE:
        return apply_keepalive(w, rpc);
    case CALL_LEASE_ASK:
        return apply_ask(w, rpc);
    case CALL_VIEW_READ:
        rpc->view_idx = etcd_view_get(w);
        return OUTCOME_OK;
    case CALL_LEADER_ACQUIRE:
        return apply_acquire(w, n, rpc);
    case CALL_LEADER_MOVE:
        return apply_move(w, n, rpc);
    case CALL_LEADER_RELEASE:
        return apply_release(w, n, rpc);
    case CALL_INIT_RACE:
        return apply_init_race(w, rpc);
    case CALL_INIT_COMMIT:
        return apply_init_commit(w, n, rpc);
    case CALL_INIT_ABORT:
        return apply_init_abort(w, rpc);
    case CALL_INIT_WRITE:
        return apply_init_write(w, n, rpc);
    case CALL_CONFIG_RESTORE:
        return apply_config_restore(w, n, rpc);
    case CALL_TIMELINE_CLAIM:
    case CALL_STATUS_PUT:
    case CALL_HISTORY_PUT:
        return apply_leader_write(w, n, rpc);
    case CALL_FAILOVER_CLEAR:
        return apply_failover_clear(w, n, rpc);
    case CALL_MEMBER_PUT:
        return apply_member_put(w, n, rpc);
    case CALL_COUNT:
        break;
    }
    pgh_unreachable();
}

void etcd_apply(struct world *w, struct rpc *rpc)
{
    struct etcd *etcd = &w->etcd;

    if (rpc->call == CALL_LEASE_KEEPALIVE && rpc->node == etcd->stale_node &&
        w->now_us < etcd->stale_until_us) {
        /* A deposed leader that was frozen answers before it learns that it is one. */
        rpc->outcome = OUTCOME_OK;
        rpc->lease_id = rpc->action.u.call.lease_id;
        rpc->ttl_ms = (etcd->now.policy.ttl_ms + 999) / 1000 * 1000;
        rpc->raft_term = etcd->stale_term;
        rpc->revision = etcd->now.revision;
        return;
    }
    rpc->outcome = apply(w, &w->nodes[rpc->node], rpc);
    rpc->raft_term = etcd->now.raft_term;
    rpc->revision = etcd->now.revision;
}

/* ---- what people do to keys ---- */

void etcd_delete_leader(struct world *w)
{
    int holder = etcd_leader_node(w);

    if (holder < 0)
        return;
    trace_line(w, -1, "person", "deletes the leader key");
    leader_clear(&w->etcd.now);
    judge_on_key_gone(w, holder, true);
    etcd_changed(w);
}

void etcd_wipe_keys(struct world *w)
{
    int holder = etcd_leader_node(w);
    struct view *now = &w->etcd.now;
    const struct view before = {
        .cluster_id = now->cluster_id, .raft_term = now->raft_term, .revision = now->revision};

    trace_line(w, -1, "person", "deletes all keys");
    view_init(now);
    now->history_count = 0;
    now->init_state = INIT_ABSENT;
    now->cluster_id = before.cluster_id;
    now->raft_term = before.raft_term;
    now->revision = before.revision;
    w->etcd.wiped_us = w->now_us;
    judge_on_key_gone(w, holder, true);
    etcd_changed(w);
}

/* Another etcd, empty, at the same addresses. */
void etcd_wipe_store(struct world *w)
{
    int holder = etcd_leader_node(w);
    uint64_t cluster_id = w->etcd.now.cluster_id;

    trace_line(w, -1, "person", "replaces etcd by an empty one");
    keys_reset(w);
    w->etcd.now.cluster_id = cluster_id + 1;
    w->etcd.now.raft_term = 2;
    w->etcd.now.revision = 1;
    w->etcd.wiped_us = w->now_us;
    judge_on_key_gone(w, holder, true);
    etcd_changed(w);
}

void etcd_put_failover(struct world *w, const char *leader, const char *candidate,
                       int64_t at_wall_ms)
{
    struct failover_request *request = &w->etcd.now.failover;

    trace_line(w, -1, "person", "asks for a %s to %s",
               leader[0] != '\0' ? "switchover" : "failover",
               candidate[0] != '\0' ? candidate : "anybody");
    request->present = true;
    text_set(request->leader, sizeof(request->leader), leader);
    text_set(request->candidate, sizeof(request->candidate), candidate);
    request->scheduled_at_wall_ms = at_wall_ms;
    request->mod_revision = w->etcd.now.revision + 1;
    etcd_changed(w);
}

void etcd_put_policy(struct world *w, const struct policy *policy)
{
    w->etcd.now.policy = *policy;
    w->etcd.now.config_present = true;
    w->etcd.now.config_mod_revision = w->etcd.now.revision + 1;
    etcd_changed(w);
}

void etcd_put_initialize(struct world *w, uint64_t sysid)
{
    w->etcd.now.init_state = INIT_DONE;
    w->etcd.now.sysid = sysid;
    w->etcd.now.init_lease_id = 0;
    w->etcd.now.init_mod_revision = w->etcd.now.revision + 1;
    etcd_changed(w);
}
