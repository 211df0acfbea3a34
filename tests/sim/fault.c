/* What can go wrong, and what people do: each kind begins, and where it lasts, ends. */
#include "sim.h"

#include <string.h>

static const char *const fault_texts[FAULT_COUNT] = {
#define X(name, weight) [FAULT_##name] = #name,
    FAULT_TABLE(X)
#undef X
};

const char *fault_text(enum fault_kind kind)
{
    return fault_texts[kind];
}

/* ---- network ---- */

static void cut_node(struct world *w, int node, int16_t by, bool out, bool in)
{
    for (int32_t i = 0; i < w->node_count; i++) {
        if (i == node)
            continue;
        if (out)
            w->net.cut[node][i] = (int16_t)(w->net.cut[node][i] + by);
        if (in)
            w->net.cut[i][node] = (int16_t)(w->net.cut[i][node] + by);
    }
}

static void cut_etcd(struct world *w, int node, int16_t by, bool out, bool in)
{
    if (out)
        w->net.etcd_cut_out[node] = (int16_t)(w->net.etcd_cut_out[node] + by);
    if (in)
        w->net.etcd_cut_in[node] = (int16_t)(w->net.etcd_cut_in[node] + by);
}

/* Returns false if the kind is none of the network. */
static bool network_fault(struct world *w, struct fault *fault, int16_t by)
{
    int node = fault->node;
    int64_t delay_us;

    switch ((int)fault->kind) { /* the others are no matter of the network */
    case FAULT_ISOLATE:
        cut_node(w, node, by, true, true);
        cut_etcd(w, node, by, true, true);
        break;
    case FAULT_CUT_ETCD:
        cut_etcd(w, node, by, true, true);
        break;
    case FAULT_CUT_ETCD_ANSWERS:
        cut_etcd(w, node, by, false, true);
        break;
    case FAULT_REJECT_ETCD:
        w->net.etcd_reject[node] = (int16_t)(w->net.etcd_reject[node] + by);
        break;
    case FAULT_CUT_PEERS:
        cut_node(w, node, by, true, true);
        break;
    case FAULT_CUT_ONE_WAY:
        cut_node(w, node, by, fault->value % 2 == 0, fault->value % 2 != 0);
        break;
    case FAULT_WATCH_DEAF:
        w->net.watch_deaf[node] = (int16_t)(w->net.watch_deaf[node] + by);
        break;
    case FAULT_SLOW_ETCD:
        delay_us = fault->value % (w->etcd.now.policy.ttl_ms * US_PER_MS / 2);
        for (int32_t i = 0; i < w->node_count; i++)
            if (i == node || fault->value % 3 == 0)
                w->net.etcd_delay_us[i] = by > 0 ? (int32_t)delay_us : 0;
        break;
    case FAULT_LOSSY_ETCD:
        for (int32_t i = 0; i < w->node_count; i++)
            if (i == node || fault->value % 3 == 0)
                w->net.etcd_drop_permille[i] = by > 0 ? (int16_t)(50 + fault->value % 450) : 0;
        break;
    default:
        return false;
    }
    w->seen.partition = true;
    net_changed(w);
    return true;
}

/* ---- etcd ---- */

/* The newest one: older ones may be left over. */
static struct sim_lease *lease_of(struct world *w, int node)
{
    struct sim_lease *newest = NULL;

    for (int32_t i = 0; i < w->etcd.lease_high; i++) {
        struct sim_lease *lease = &w->etcd.leases[i];

        if (lease->id != 0 && lease->node == node && (newest == NULL || lease->id > newest->id))
            newest = lease;
    }
    return newest;
}

static void etcd_back(struct world *w)
{
    if (--w->etcd.down_count == 0)
        etcd_begin_election(w, draw(w, 500, 2000) * US_PER_MS);
    net_changed(w);
}

static bool etcd_fault(struct world *w, struct fault *fault)
{
    struct sim_lease *lease;
    int64_t pause_us = draw_skewed(w, 800, 4000) * US_PER_MS;

    switch ((int)fault->kind) {
    case FAULT_ETCD_DOWN:
        trace_line(w, -1, "etcd", "down");
        w->etcd.down_count++;
        break;
    case FAULT_ETCD_ELECTION:
        etcd_begin_election(w, pause_us);
        break;
    case FAULT_ETCD_STALE_KEEPALIVE:
        w->etcd.stale_term = w->etcd.now.raft_term;
        w->etcd.stale_node = fault->node;
        /* Until the others' heartbeat reaches it. */
        w->etcd.stale_until_us = w->now_us + pause_us + fault->value % (300 * US_PER_MS);
        etcd_begin_election(w, pause_us);
        break;
    case FAULT_LEASE_REVOKED:
        lease = lease_of(w, fault->node);
        if (lease != NULL && etcd_is_up(w))
            etcd_revoke(w, lease, true);
        break;
    case FAULT_LEADER_KEY_DELETED:
        if (etcd_is_up(w))
            etcd_delete_leader(w);
        break;
    case FAULT_KEYS_WIPED:
        if (etcd_is_up(w))
            etcd_wipe_keys(w);
        break;
    case FAULT_ETCD_WIPED:
        etcd_wipe_store(w);
        break;
    default:
        return false;
    }
    return true;
}

/* ---- processes and machines ---- */

static void volume_lost(struct world *w, struct node *n)
{
    bool others = false;

    for (int32_t i = 0; i < w->node_count; i++)
        others = others || (i != n->index && !w->nodes[i].identity.tags.nofailover &&
                            w->nodes[i].pg.data_dir == DATA_DIR_VALID &&
                            w->nodes[i].pg.link == LINK_UP);
    if (!others || n->pg.data_dir != DATA_DIR_VALID)
        return; /* nothing could bring the data back */
    node_power_off(w, n);
    n->pg.data_dir = DATA_DIR_WAITING;
    n->pg.branch = -1;
    n->pg.control_branch = -1;
    n->pg.sysid = 0;
    n->pg.timeline_max = 0;
    n->pg.control = CONTROL_UNKNOWN;
}

static void cold_start(struct world *w, struct fault *fault)
{
    w->seen.cold_start = true;
    w->etcd.down_count++;
    for (int32_t i = 0; i < w->node_count; i++) {
        node_power_off(w, &w->nodes[i]);
        w->nodes[i].disrupted_us = w->now_us;
    }
    fault->value = draw(w, 0, 4);
}

/* In any order; sometimes the most advanced member comes back last, long after the others. */
static void cold_start_end(struct world *w, struct fault *fault)
{
    int best = 0;

    for (int32_t i = 1; i < w->node_count; i++)
        if (w->nodes[i].pg.lsn > w->nodes[best].pg.lsn)
            best = (int)i;
    etcd_back(w);
    for (int32_t i = 0; i < w->node_count; i++) {
        int64_t after_us = draw_skewed(w, 0, 20000) * US_PER_MS;

        if (fault->value == 0 && i == best)
            after_us += 40 * US_PER_S;
        if (w->nodes[i].powered)
            continue;
        w->faults[w->fault_count] = (struct fault){.kind = FAULT_MACHINE_LOSS, .node = (int16_t)i,
                                                   .active = true, .fired = true};
        world_post(w, w->now_us + after_us, EV_HEAL, 0, (uint32_t)w->fault_count, 0);
        if (w->fault_count < FAULTS_MAX - 1)
            w->fault_count++;
    }
}

static bool process_fault(struct world *w, struct fault *fault, struct node *n)
{
    switch ((int)fault->kind) {
    case FAULT_AGENT_CRASH:
        agent_crash(w, n);
        break;
    case FAULT_AGENT_FREEZE:
        agent_freeze(w, n);
        break;
    case FAULT_AGENT_LATE:
        n->stall_until_us = w->now_us + draw_skewed(w, 50, 4000) * US_PER_MS;
        break;
    case FAULT_SUPERVISOR_CRASH:
        supervisor_crash(w, n);
        break;
    case FAULT_SUPERVISOR_FREEZE:
        supervisor_freeze(w, n);
        break;
    case FAULT_SUPERVISOR_AND_AGENT_FREEZE:
        supervisor_freeze(w, n);
        agent_freeze(w, n);
        break;
    case FAULT_MACHINE_LOSS:
        node_power_off(w, n);
        break;
    case FAULT_NODE_FREEZE:
    case FAULT_VM_PAUSE:
        fault->boot_epoch = n->boot_epoch;
        node_freeze(w, n, fault->kind == FAULT_VM_PAUSE);
        break;
    case FAULT_COLD_START:
        cold_start(w, fault);
        break;
    case FAULT_VOLUME_LOST:
        volume_lost(w, n);
        break;
    case FAULT_SERVICE_STOP:
        n->service_wanted = false;
        if (n->agent != PROC_DEAD) {
            trace_line(w, n->index, "person", "stops the service");
            world_post(w, w->now_us + US_PER_MS, EV_AGENT_SHUTDOWN, n->index, 0, 0);
        }
        break;
    default:
        return false;
    }
    return true;
}

static bool postgres_fault(struct world *w, struct fault *fault, struct node *n)
{
    switch ((int)fault->kind) {
    case FAULT_POSTMASTER_CRASH:
        pg_kill_postmaster(w, n);
        break;
    case FAULT_POSTMASTER_FREEZE:
        if (n->pg.state != POSTMASTER_DOWN) {
            n->pg.frozen = true;
            fault->value = n->pg.postmaster_id;
            trace_line(w, n->index, "pg", "postmaster stopped");
        }
        break;
    case FAULT_CRASH_LOOP:
        n->pg.crash_loops = true;
        pg_kill_postmaster(w, n);
        break;
    case FAULT_STOPPED_BY_HAND:
        if (n->pg.state == POSTMASTER_UP && !n->pg.frozen) {
            trace_line(w, n->index, "person", "pg_ctl stop");
            n->pg.by_hand = true;
            pg_stop(w, n, STOP_FAST, true, 0);
        }
        break;
    case FAULT_VOLUME_UNMOUNTED:
        if (n->pg.data_dir == DATA_DIR_VALID)
            n->pg.data_dir = DATA_DIR_GONE;
        agent_look_soon(w, n);
        break;
    case FAULT_SLOW_DISK:
        n->disk_factor = (int32_t)draw_skewed(w, 3, 25);
        break;
    case FAULT_SLOW_REPLICATION:
        pg_settle(w, n);
        n->pg.lag_us = draw_skewed(w, 500, 20000) * US_PER_MS;
        break;
    case FAULT_DISK_FULL:
        n->pg.disk_full = true;
        judge_on_ack_change(w, n);
        break;
    case FAULT_WALL_STEP:
        n->clock.wall_offset_us += draw(w, -7200, 7200) * US_PER_S;
        break;
    default:
        return false;
    }
    return true;
}

/* ---- people ---- */

void person_asks(struct world *w, struct node *n, enum request_kind kind)
{
    if (n->agent != PROC_ALIVE)
        return;
    trace_line(w, n->index, "person", "asks for %s",
               kind == REQUEST_REINIT ? "reinit" : "restart");
    n->requested_us = w->now_us;
    n->requests_open++;
    world_post(w, w->now_us + US_PER_MS, EV_AGENT_REQUEST, n->index, w->next_request_id++,
               (uint32_t)kind | (uint32_t)draw(w, 0, 3) << 1);
}

static void put_pause(struct world *w, bool pause)
{
    struct policy policy = w->etcd.now.policy;

    if (!w->etcd.now.config_present && !pause)
        policy = w->setup.policy; /* a pause outlives the key that said so */
    else if (!w->etcd.now.config_present || policy.pause == pause)
        return;
    trace_line(w, -1, "person", pause ? "pause" : "resume");
    policy.pause = pause;
    w->judge.paused = pause;
    w->judge.pause_changed_us = w->now_us;
    w->seen.pause = true;
    etcd_put_policy(w, &policy);
}

static void put_switchover(struct world *w, struct fault *fault)
{
    const struct view *now = &w->etcd.now;
    const char *other = w->nodes[fault->other].name;
    int64_t wall_ms = clock_wall_ms(w, &w->nodes[fault->node]);

    if (!now->leader_present || !etcd_is_up(w))
        return;
    w->seen.switchover = true;
    if (fault->kind == FAULT_FAILOVER_TO) {
        if (strcmp(other, now->leader_name) == 0)
            return;
        w->judge.forced_us = w->now_us;
        etcd_put_failover(w, "", other, 0);
        return;
    }
    if (fault->kind == FAULT_SWITCHOVER_TO && strcmp(other, now->leader_name) == 0)
        return;
    etcd_put_failover(w, now->leader_name, fault->kind == FAULT_SWITCHOVER_TO ? other : "",
                      fault->kind == FAULT_SWITCHOVER_LATER ? wall_ms + fault->value % 60000 : 0);
}

static void change_config(struct world *w, const struct fault *fault)
{
    static const int32_t profiles[][3] = {
        {5, 1, 2}, {30, 10, 10}, {20, 5, 5}, {10, 2, 3}, {3, 1, 1}};
    const int32_t *profile = profiles[(uint64_t)fault->value % PGH_COUNT(profiles)];
    struct policy policy = w->etcd.now.policy;

    if (!w->etcd.now.config_present || !etcd_is_up(w))
        return;
    policy.ttl_ms = profile[0] * INT64_C(1000);
    policy.loop_wait_ms = profile[1] * INT64_C(1000);
    policy.retry_timeout_ms = profile[2] * INT64_C(1000);
    (void)policy_adjust(&policy, false);
    trace_line(w, -1, "person", "sets ttl %d", profile[0]);
    etcd_put_policy(w, &policy);
}

static void person(struct world *w, struct fault *fault, struct node *n)
{
    switch ((int)fault->kind) {
    case FAULT_SWITCHOVER:
    case FAULT_SWITCHOVER_TO:
    case FAULT_SWITCHOVER_LATER:
    case FAULT_FAILOVER_TO:
        put_switchover(w, fault);
        return;
    case FAULT_PAUSE:
        put_pause(w, true);
        return;
    case FAULT_RESTART:
        person_asks(w, n, REQUEST_RESTART);
        return;
    case FAULT_REINIT:
        person_asks(w, n, REQUEST_REINIT);
        return;
    case FAULT_CONFIG_CHANGED:
        change_config(w, fault);
        return;
    default:
        pgh_unreachable();
    }
}

static void mark_seen(struct world *w, enum fault_kind kind)
{
    w->seen.faults[kind] = true;
    w->seen.fault_count++;
    w->seen.freeze |= kind == FAULT_AGENT_FREEZE || kind == FAULT_SUPERVISOR_FREEZE ||
                      kind == FAULT_SUPERVISOR_AND_AGENT_FREEZE || kind == FAULT_NODE_FREEZE ||
                      kind == FAULT_VM_PAUSE || kind == FAULT_POSTMASTER_FREEZE;
    w->seen.crash |= kind == FAULT_AGENT_CRASH || kind == FAULT_SUPERVISOR_CRASH ||
                     kind == FAULT_MACHINE_LOSS || kind == FAULT_POSTMASTER_CRASH ||
                     kind == FAULT_CRASH_LOOP || kind == FAULT_COLD_START;
}

/* Most faults go for the one that matters most at the moment. */
static int16_t draw_target(struct world *w)
{
    int holder = etcd_leader_node(w);

    for (int32_t i = 0; i < w->node_count && holder < 0; i++)
        if (w->nodes[i].could_ack)
            holder = (int)i;
    return holder >= 0 ? (int16_t)holder : (int16_t)draw(w, 0, w->node_count - 1);
}

void fault_begin(struct world *w, struct fault *fault)
{
    struct node *n;

    if (fault->node < 0)
        fault->node = draw_target(w);
    n = &w->nodes[fault->node];
    fault->fired = true;
    fault->active = true;
    n->disrupted_us = w->now_us;
    mark_seen(w, fault->kind);
    trace_line(w, fault->node, "FAULT", "%s for %lld ms", fault_text(fault->kind),
               (long long)fault->duration_us / US_PER_MS);
    if (!network_fault(w, fault, 1) && !etcd_fault(w, fault) && !process_fault(w, fault, n) &&
        !postgres_fault(w, fault, n))
        person(w, fault, n);
    world_post(w, w->now_us + fault->duration_us, EV_HEAL, 0, (uint32_t)(fault - w->faults), 0);
}

static void server_thaw(struct world *w, struct node *n, int64_t postmaster_id)
{
    if (!n->pg.frozen || n->pg.postmaster_id != postmaster_id)
        return;
    trace_line(w, n->index, "pg", "postmaster continued");
    n->pg.frozen = false;
    pg_changed(w, n);
}

static void end_on_node(struct world *w, struct fault *fault, struct node *n)
{
    switch ((int)fault->kind) { /* the others were over when they began */
    case FAULT_AGENT_FREEZE:
        agent_thaw(w, n);
        return;
    case FAULT_SUPERVISOR_FREEZE:
        supervisor_thaw(w, n);
        return;
    case FAULT_SUPERVISOR_AND_AGENT_FREEZE:
        supervisor_thaw(w, n);
        agent_thaw(w, n);
        return;
    case FAULT_MACHINE_LOSS:
    case FAULT_VOLUME_LOST:
        node_power_on(w, n);
        return;
    case FAULT_NODE_FREEZE:
    case FAULT_VM_PAUSE:
        if (fault->boot_epoch == n->boot_epoch)
            node_thaw(w, n);
        return;
    case FAULT_POSTMASTER_FREEZE:
        server_thaw(w, n, fault->value);
        return;
    case FAULT_CRASH_LOOP:
        n->pg.crash_loops = false;
        return;
    case FAULT_VOLUME_UNMOUNTED:
        if (n->pg.data_dir == DATA_DIR_GONE)
            n->pg.data_dir = DATA_DIR_VALID;
        agent_look_soon(w, n);
        return;
    case FAULT_SLOW_DISK:
        n->disk_factor = 1;
        return;
    case FAULT_SLOW_REPLICATION:
        pg_settle(w, n);
        n->pg.lag_us = draw(w, 300, 3000);
        return;
    case FAULT_DISK_FULL:
        n->pg.disk_full = false;
        judge_on_ack_change(w, n);
        return;
    case FAULT_SERVICE_STOP:
        n->service_wanted = true;
        if (n->powered)
            world_post(w, w->now_us + US_PER_MS, EV_SUPERVISOR_START, n->index, 0, 0);
        return;
    default:
        return;
    }
}

void fault_end(struct world *w, struct fault *fault)
{
    if (!fault->active)
        return;
    fault->active = false;
    w->nodes[fault->node].disrupted_us = w->now_us;
    trace_line(w, fault->node, "HEAL", "%s", fault_text(fault->kind));
    if (fault->kind == FAULT_ETCD_DOWN)
        etcd_back(w);
    else if (fault->kind == FAULT_COLD_START)
        cold_start_end(w, fault);
    else if (fault->kind == FAULT_PAUSE)
        put_pause(w, false);
    else if (!network_fault(w, fault, -1))
        end_on_node(w, fault, &w->nodes[fault->node]);
}

/* The end of the safety phase: from here on everything works. */
void fault_heal_all(struct world *w)
{
    int32_t count = w->fault_count;

    trace_line(w, -1, "HEAL", "everything");
    for (int32_t i = 0; i < count; i++)
        if (w->faults[i].active)
            fault_end(w, &w->faults[i]);
    for (int32_t i = count; i < w->fault_count; i++)
        fault_end(w, &w->faults[i]); /* machines that a cold start left off */
    w->etcd.stale_until_us = 0;
    w->setup.op_fail_permille = 0;
    for (int32_t i = 0; i < w->node_count; i++) {
        node_power_on(w, &w->nodes[i]);
        w->nodes[i].service_wanted = true;
        world_post(w, w->now_us + draw(w, 1, 5) * US_PER_S, EV_SUPERVISOR_START, (int)i, 0, 0);
    }
    put_pause(w, false);
}

/* All keys are gone and no primary runs that could write them again: standbys never do. */
static void write_initialize(struct world *w)
{
    const struct node *best = NULL;

    for (int32_t i = 0; i < w->node_count; i++)
        if (w->nodes[i].pg.data_dir == DATA_DIR_VALID &&
            (best == NULL || w->nodes[i].pg.lsn > best->pg.lsn))
            best = &w->nodes[i];
    if (best == NULL)
        return;
    trace_line(w, -1, "person", "writes the keys initialize and config");
    w->seen.person_init++;
    etcd_put_initialize(w, best->pg.sysid);
    if (!w->etcd.now.config_present)
        etcd_put_policy(w, &w->setup.policy); /* a pause outlives the config that said so */
}

/* Whoever has data is of another line than the cluster's last one, or too far behind it, and that
 * data is lost: only a person can decide to go on with it. */
static void force_failover(struct world *w)
{
    const struct view *now = &w->etcd.now;
    const struct node *best = NULL;

    for (int32_t i = 0; i < w->node_count; i++) {
        const struct node *n = &w->nodes[i];
        uint64_t lsn = pg_position(w, n);
        uint32_t timeline;

        if (n->pg.data_dir == DATA_DIR_HALF)
            return; /* it may hold more */
        if (n->pg.data_dir != DATA_DIR_VALID || n->identity.tags.nofailover)
            continue; /* what only a member has that may not lead is as good as lost */
        timeline = w->branches[wal_branch_at(w, n->pg.branch, lsn)].timeline;
        if (view_is_on_history(now, timeline, lsn) &&
            lsn + (uint64_t)now->policy.maximum_lag_on_failover_bytes >= now->optime_lsn)
            return;
        if (best == NULL || lsn > pg_position(w, best))
            best = n;
    }
    if (best == NULL)
        return;
    w->seen.person_forced++;
    w->judge.forced_us = w->now_us;
    etcd_put_failover(w, "", best->name, 0);
}

/* What is left to people: a lost volume, and a diverged member that the configuration does not
 * allow to rewind or replace. */
void person_mends(struct world *w)
{
    const struct policy *policy = &w->etcd.now.policy;
    int holder = etcd_leader_node(w);
    bool heals_itself = (policy->use_pg_rewind && w->setup.rewind_possible) ||
                        policy->remove_data_directory_on_diverged_timelines;

    if (holder < 0 && w->etcd.now.init_state == INIT_ABSENT && etcd_is_up(w))
        write_initialize(w);
    else if (holder < 0 && etcd_is_up(w))
        force_failover(w);
    for (int32_t i = 0; i < w->node_count && holder >= 0; i++) {
        struct node *n = &w->nodes[i];
        bool lost = n->pg.data_dir == DATA_DIR_WAITING;
        bool stuck = n->pg.data_dir == DATA_DIR_HALF ||
                     (n->pg.data_dir == DATA_DIR_VALID && n->pg.link == LINK_NONE);

        /* A number used twice, once before and once after all keys were removed, looks the same. */
        if (i != holder && (lost || (stuck && (!heals_itself || w->seen.excused_wiped > 0))))
            person_asks(w, n, REQUEST_REINIT);
    }
}
