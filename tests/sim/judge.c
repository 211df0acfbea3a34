/* The judges stand outside the players, read the whole truth and each guard one promise. What a
 * judge excuses is counted apart and named in DESIGN as a limit; nothing else is excused.
 *
 *   one writer        P2  never can two nodes acknowledge at once
 *   right to write    P1  who begins to write holds the key and an armed fence
 *   fence in lease    P1  no fence reaches beyond the moment at which etcd may give the key away
 *   key outlived      P1  nobody still writes when its lease expires
 *   fence obeyed      P1  nobody writes behind its fence, not even with everything of ours frozen
 *   promotion         P3  nobody promotes or starts as primary without having won the key
 *   one cluster       P3  one system identifier
 *   best candidate    P4  nobody promotes while a fit, reachable member has more
 *   bounded loss      P4  the loss is within maximum_lag_on_failover and what came after the status
 *   clean handover    P4  a key given up after a clean stop is given to somebody who has everything
 *   timelines         P4  two histories never carry one number (TR-02)
 *   keep data         P5  data is removed or rewound only where the configuration allows it
 *   pause             --  a paused cluster is not touched
 *   no frenzy         --  actions per second are bounded
 *   answered          --  a person's request gets an answer
 *   comes back        I3  when the faults end, a primary serves and everybody streams from it */
#include "sim.h"

#include <stdarg.h>
#include <string.h>

enum {
    ACTIONS_PER_SECOND_MAX = 150,
    STEPS_PER_SECOND_MAX = 600,
    NETS_SLACK_MS = 200,           /* kernel timer 50 ms, guard 100 ms, and the killing itself */
    THAW_SLACK_US = 100 * US_PER_MS, /* an instant: until a net acts */
    RESUME_SLACK_US = 3 * US_PER_S,  /* a stop takes its time */
    CALM_US = 5 * US_PER_S,        /* nothing happened to a node for so long: it has no excuse */
    REQUEST_US = 200 * US_PER_S
};

void judge_reset(struct world *w)
{
    memset(&w->judge, 0, sizeof(w->judge));
    w->judge.last_writer = -1;
}

bool judge_has_spoken(const struct world *w)
{
    return w->judge.finding_count > 0;
}

void judge_find(struct world *w, const char *judge, const char *fmt, ...)
{
    struct finding *finding;
    va_list args;

    if (w->judge.finding_count >= FINDINGS_MAX)
        return;
    finding = &w->judge.findings[w->judge.finding_count++];
    finding->at_us = w->now_us;
    (void)snprintf(finding->judge, sizeof(finding->judge), "%s", judge);
    va_start(args, fmt);
    (void)vsnprintf(finding->text, sizeof(finding->text), fmt, args);
    va_end(args);
    trace_line(w, -1, "JUDGE", "%s: %s", finding->judge, finding->text);
}

static bool is_paused(const struct world *w)
{
    return w->judge.paused || w->now_us - w->judge.pause_changed_us < 30 * US_PER_S;
}

/* Somebody took its key away by force a moment ago: it may not know yet. */
static bool was_robbed(const struct world *w, const struct node *n)
{
    int64_t ttl_ms = w->setup.policy.ttl_ms; /* it may not know yet that it was changed */

    if (ttl_ms < w->etcd.now.policy.ttl_ms)
        ttl_ms = w->etcd.now.policy.ttl_ms;
    return n->key_removed_us != 0 && w->now_us - n->key_removed_us < 2 * ttl_ms * US_PER_MS;
}

/* A guest whose clock stood still believes what it believed before, until etcd has told it
 * better; also when it is frozen once more in between, for that moves no clock. */
static bool is_in_old_time(const struct world *w, const struct node *n)
{
    if (n->thawed_us != 0 && w->now_us - n->thawed_us <= THAW_SLACK_US)
        return true;
    if (n->vm_thawed_us == 0)
        return false;
    if (n->vm_trust_us == 0 || w->now_us - n->vm_trust_us <= RESUME_SLACK_US)
        return true;
    /* And who would send the signals is stopped, too, with the fence of the old time: the nets are
     * left. */
    return n->supervisor == PROC_FROZEN && n->fence_pushed_us <= n->vm_trust_us &&
           !fence_is_passed(&n->fence, clock_now_ms(w, n) - NETS_SLACK_MS);
}

static bool can_talk(const struct world *w, const struct node *a, const struct node *b)
{
    return net_is_open(w, a->index, b->index) && net_is_open(w, b->index, a->index);
}

/* ---- one writer, right to write ---- */

static void judge_two_writers(struct world *w, struct node *n, struct node *other)
{
    int64_t begun_us = w->branches[n->pg.branch].begun_us;
    const struct node *old = begun_us < w->branches[other->pg.branch].begun_us ? n : other;
    const struct node *young = old == n ? other : n;

    bool from_pause = n->pause_overlap && other->pause_overlap &&
                      (w->now_us - n->armed_us < RESUME_SLACK_US ||
                       w->now_us - other->armed_us < RESUME_SLACK_US);

    if (n->fence.kind == FENCE_DISARMED || other->fence.kind == FENCE_DISARMED || n->pg.adopted ||
        other->pg.adopted || from_pause) {
        /* A pause, a keeper left over from one, or the moment in which a resume is acted on. */
        n->pause_overlap = true;
        other->pause_overlap = true;
        w->seen.excused_pause++;
    } else if (is_in_old_time(w, n) || is_in_old_time(w, other)) {
        w->seen.excused_freeze++;
    } else if (was_robbed(w, old) && (!can_talk(w, old, young) || !agent_runs(old) ||
                                      young->agent_started_us >= old->key_removed_us)) {
        w->seen.excused_removed++; /* the winner could not ask it, or never knew of it */
    } else {
        judge_find(w, "one writer", "%s and %s can both acknowledge", old->name, young->name);
    }
}

static void judge_right_to_write(struct world *w, struct node *n)
{
    const struct fence *fence = &n->fence;

    /* The supervisor is dead and the signals are on their way: what it allowed still counts. */
    if (n->supervisor == PROC_DEAD && n->supervisor_died_us != 0 &&
        w->now_us - n->supervisor_died_us < NETS_SLACK_MS * US_PER_MS)
        fence = &n->last_fence;
    /* A disk that takes writes again does so under a fence on which the nets are just acting. */
    if (!fence_allows_writer(fence, clock_now_ms(w, n) - NETS_SLACK_MS) &&
        !is_in_old_time(w, n))
        judge_find(w, "right to write", "%s begins to write without a fence", n->name);
    if (n->fence.kind == FENCE_DISARMED || is_in_old_time(w, n) || was_robbed(w, n))
        return;
    if (etcd_leader_node(w) != n->index)
        judge_find(w, "right to write", "%s begins to write without the key", n->name);
}

static void client_gap(struct world *w)
{
    bool anybody = false;

    for (int32_t i = 0; i < w->node_count; i++)
        anybody = anybody || w->nodes[i].could_ack;
    if (!anybody && w->client_gap_begun_us == 0)
        w->client_gap_begun_us = w->now_us;
    if (anybody && w->client_gap_begun_us != 0) {
        if (w->now_us - w->client_gap_begun_us > w->client_gap_us)
            w->client_gap_us = w->now_us - w->client_gap_begun_us;
        w->client_gap_begun_us = 0;
    }
}

void judge_on_ack_change(struct world *w, struct node *n)
{
    bool can = pg_can_ack(n);

    if (can == n->could_ack)
        return;
    n->could_ack = can;
    trace_line(w, n->index, "client", can ? "writes are acknowledged" : "no more writes");
    client_gap(w);
    if (!can) {
        n->pause_overlap = false;
        return;
    }
    judge_right_to_write(w, n);
    for (int32_t i = 0; i < w->node_count; i++)
        if (i != n->index && w->nodes[i].could_ack)
            judge_two_writers(w, n, &w->nodes[i]);
    if (w->judge.last_writer >= 0 && w->judge.last_writer != n->index)
        w->seen.role_change = true;
    w->judge.last_writer = n->index;
}

/* ---- fence and lease ---- */

static void judge_disarmed(struct world *w, const struct node *n, const struct fence *before)
{
    if (!is_paused(w) && before->kind != FENCE_DISARMED)
        judge_find(w, "pause", "%s disarms its fence, and nothing is paused", n->name);
}

/* Somebody else has the key, or nobody: what is held may only be shortened. */
static void judge_extended(struct world *w, struct node *n, const struct fence *before,
                           const struct fence *pushed)
{
    if (before->kind == FENCE_UNTIL && pushed->until_ms > before->until_ms &&
        etcd_leader_node(w) != n->index && !n->pg.adopted && pg_is_running(n))
        judge_find(w, "fence in lease", "%s extends its fence by %lld ms without the key", n->name,
                   (long long)(pushed->until_ms - before->until_ms));
}

void judge_on_fence(struct world *w, struct node *n, const struct fence *before,
                    const struct fence *pushed)
{
    const struct sim_lease *lease;
    int64_t until_us;

    if (pushed->kind == FENCE_DISARMED)
        judge_disarmed(w, n, before);
    /* An adopted server ran without any fence until now: the first one can only shorten its
     * right. */
    if (pushed->kind != FENCE_UNTIL || is_in_old_time(w, n) || was_robbed(w, n) || n->pg.adopted)
        return;
    if (!n->pg.primary && !n->pg.promoting && !n->pg.orphans &&
        n->op.kind != OP_START_PRIMARY && n->op.kind != OP_PROMOTE)
        return; /* nobody writes there, whatever the agent takes it for */
    judge_extended(w, n, before, pushed);
    until_us = clock_true_of_us(n, pushed->until_ms);
    if (until_us <= w->now_us || etcd_leader_node(w) != n->index)
        return; /* the second is for "key outlived" and "right to write" */
    lease = etcd_find_lease(w, w->etcd.now.leader_lease_id);
    if (lease == NULL || until_us > lease->expires_us)
        judge_find(w, "fence in lease", "%s may write %lld ms longer than etcd keeps its key",
                   n->name,
                   lease == NULL ? -1LL : (long long)(until_us - lease->expires_us) / US_PER_MS);
}

void judge_on_key_gone(struct world *w, int node, bool forced)
{
    struct node *n;

    if (node < 0)
        return;
    n = &w->nodes[node];
    if (forced) {
        n->key_removed_us = w->now_us;
        return;
    }
    if (n->could_ack && n->fence.kind != FENCE_DISARMED && !is_in_old_time(w, n) &&
        !n->pg.adopted)
        judge_find(w, "key outlived", "the lease of %s is over and it still writes", n->name);
}

void judge_on_key_won(struct world *w, int node)
{
    struct node *n = &w->nodes[node];

    n->won_us = w->now_us;
    n->won_revision = w->etcd.now.leader_create_revision;
    n->key_removed_us = 0;
    trace_line(w, node, "etcd", "has the leader key, created at %lld", (long long)n->won_revision);
}

static void judge_fence_obeyed(struct world *w, struct node *n)
{
    int64_t now_ms = clock_now_ms(w, n);

    if (!n->could_ack || n->supervisor == PROC_DEAD || is_in_old_time(w, n))
        return;
    if (n->fence.kind == FENCE_UNTIL && now_ms > n->fence.until_ms + NETS_SLACK_MS)
        judge_find(w, "fence obeyed", "%s writes %lld ms behind its fence", n->name,
                   (long long)(now_ms - n->fence.until_ms));
    if (n->fence.kind == FENCE_NONE && !n->pg.adopted)
        judge_find(w, "fence obeyed", "%s writes without a fence", n->name);
}

/* ---- promotion ---- */

static bool is_forced(const struct world *w)
{
    return w->judge.forced_us != 0;
}

/* A member that everybody could have asked: nothing happened to it or around it for a while. */
static bool is_calm(const struct world *w, const struct node *n)
{
    const struct net *net = &w->net;
    int i = n->index;

    if (net->etcd_cut_out[i] > 0 || net->etcd_cut_in[i] > 0 || net->etcd_reject[i] > 0 ||
        net->etcd_drop_permille[i] > 0 || net->etcd_delay_us[i] > 0)
        return false; /* it could not take the key */
    return agent_runs(n) && supervisor_runs(n) &&
           (n->disrupted_us == 0 || w->now_us - n->disrupted_us > CALM_US) &&
           w->now_us - n->agent_started_us > CALM_US;
}

static void judge_best_candidate(struct world *w, const struct node *n)
{
    uint64_t mine = pg_position(w, n);

    if (is_forced(w) || !is_calm(w, n) || w->now_us - n->won_us > CALM_US)
        return; /* who has held the key for long was the best when it won it */
    for (int32_t i = 0; i < w->node_count; i++) {
        const struct node *m = &w->nodes[i];
        uint64_t its;

        /* It must have been there when the others were asked, which was before the key was won. */
        if (n->won_us - m->disrupted_us <= CALM_US || n->won_us - m->agent_started_us <= CALM_US)
            continue;
        if (m == n || !is_calm(w, m) || !pg_answers_sql(m) || m->pg.primary || !can_talk(w, n, m) ||
            m->identity.tags.nofailover || m->pg.sysid != n->pg.sysid ||
            view_find_member(&w->etcd.now, m->name) == NULL)
            continue;
        if (m->pg.link != LINK_NONE || w->now_us - m->pg.unlinked_us < 3 * US_PER_S ||
            w->now_us - m->pg.up_us < 3 * US_PER_S)
            continue; /* it may just have received it, or could not say so yet */
        its = m->pg.lsn;
        if (!view_is_on_history(&w->etcd.now,
                                w->branches[wal_branch_at(w, m->pg.branch, its)].timeline, its))
            continue; /* more, but of another line than the cluster's */
        if (its > mine && wal_is_on(w, n->pg.branch, mine, m->pg.branch, its))
            judge_find(w, "best candidate", "%s promotes %lld bytes behind %s, near and fit",
                       n->name, (long long)(its - mine), m->name);
    }
}

static void judge_promotion(struct world *w, struct node *n, enum op_kind kind)
{
    if (etcd_leader_node(w) != n->index && supervisor_allows_writer(w, n) && !was_robbed(w, n) &&
        !is_in_old_time(w, n) && n->fence.kind != FENCE_DISARMED)
        judge_find(w, "promotion", "%s begins %s without holding the key", n->name,
                   op_kind_text(kind));
    if (kind == OP_PROMOTE && supervisor_allows_writer(w, n))
        judge_best_candidate(w, n);
}

void judge_on_init(struct world *w, int node, uint64_t sysid)
{
    if (w->judge.sysid != sysid && w->etcd.wiped_us != 0 && node >= 0 &&
        w->nodes[node].agent_started_us > w->etcd.wiped_us)
        w->seen.second_cluster = true; /* it never saw that there is one */
    else if (w->judge.sysid != 0 && w->judge.sysid != sysid)
        for (int32_t i = 0; i < w->node_count; i++)
            if (w->nodes[i].pg.sysid == w->judge.sysid)
                judge_find(w, "one cluster", "a second system identifier, and %s has the first",
                           w->nodes[i].name);
    w->judge.sysid = sysid;
}

/* ---- loss ---- */

void judge_on_branch(struct world *w, struct node *n, int32_t branch_idx)
{
    const struct branch *branch = &w->branches[branch_idx];
    const struct branch *parent = &w->branches[branch->parent];
    const struct view *now = &w->etcd.now;
    uint64_t lag = (uint64_t)now->policy.maximum_lag_on_failover_bytes;
    int64_t lost;

    for (int32_t i = 0; i < w->branch_count; i++)
        if (i != branch_idx && w->branches[i].timeline == branch->timeline &&
            w->branches[i].sysid == branch->sysid) {
            if (w->branches[i].won_us < w->etcd.wiped_us) {
                /* What announced it went with the other keys, even where the promotion itself
                 * ended later: nobody could know of it any more. */
                w->seen.excused_wiped++;
                continue;
            }
            judge_find(w, "timelines", "%s writes timeline %u, which %s has written otherwise",
                       n->name, branch->timeline, w->nodes[w->branches[i].writer].name);
        }
    lost = (int64_t)(parent->acked_lsn - branch->fork_lsn);
    if (parent->acked_lsn <= branch->fork_lsn)
        lost = 0;
    if (lost > w->seen.lost_bytes_max)
        w->seen.lost_bytes_max = lost;
    if (lost > 0)
        trace_line(w, n->index, "client", "%lld acknowledged bytes are lost", (long long)lost);
    if (lost == 0 || is_forced(w) || !now->status_present)
        return;
    /* A promotion that was frozen with its whole machine ends in the instant after the thaw, and
     * somebody else leads: DESIGN section 3. What it adds belongs to nobody's line. */
    if (is_in_old_time(w, n) && etcd_leader_node(w) != n->index)
        return;
    if (branch->fork_lsn + lag < now->optime_lsn)
        judge_find(w, "bounded loss", "%s promotes %lld bytes behind the status, %llu are allowed",
                   n->name, (long long)(now->optime_lsn - branch->fork_lsn),
                   (unsigned long long)lag);
}

/* Has another registered, eligible member all of what n has? Is there one at all? */
/* Whoever registers while the release is on its way could be known to nobody. */
static bool is_heir(const struct world *w, const struct node *m)
{
    return view_find_member(&w->etcd.now, m->name) != NULL &&
           w->now_us - m->agent_started_us > 2 * US_PER_S;
}

static void find_heirs(struct world *w, const struct node *n, bool *ret_any, bool *ret_complete)
{
    *ret_any = false;
    *ret_complete = false;
    for (int32_t i = 0; i < w->node_count; i++) {
        const struct node *m = &w->nodes[i];

        if (m == n || m->identity.tags.nofailover || m->pg.data_dir != DATA_DIR_VALID)
            continue;
        *ret_any = *ret_any || is_heir(w, m);
        *ret_complete = *ret_complete || wal_is_on(w, n->pg.branch, n->pg.lsn, m->pg.branch,
                                                   pg_position(w, m));
    }
}

static bool is_switchover_due(const struct world *w)
{
    return w->etcd.now.failover.present && w->etcd.now.failover.scheduled_at_wall_ms == 0;
}

/* Somebody is to take over from n, and nothing else ended its server: one that a person stopped by
 * hand counts as crashed, whatever was asked for meanwhile, and primary_start_timeout 0 gives its
 * key up at once. The loss is bounded as in any failover (P4). */
static bool is_handing_over(const struct world *w, const struct node *n)
{
    return !n->service_wanted || (is_switchover_due(w) && !n->pg.by_hand);
}

void judge_on_release(struct world *w, int node)
{
    struct node *n = &w->nodes[node];
    bool any;
    bool complete;

    trace_line(w, node, "etcd", "gave the leader key up");
    if (n->could_ack && n->fence.kind != FENCE_DISARMED)
        judge_find(w, "one writer", "%s gave the key up and still writes", n->name);
    /* Who gives up because it cannot serve is under "bounded loss"; this is about handing over. */
    if (n->pg.control != CONTROL_SHUT_DOWN || is_paused(w) || n->pg.data_dir != DATA_DIR_VALID ||
        is_forced(w) || !is_handing_over(w, n))
        return;
    find_heirs(w, n, &any, &complete);
    if (any && !complete && w->seen.excused_wiped == 0)
        judge_find(w, "clean handover", "%s gave the key up before anybody had its last record",
                   n->name);
}

/* ---- operations ---- */

/* A person asked this node for it: a moment ago, or for a reinitialization that still waits for a
 * leader to copy from. */
static bool was_asked(const struct world *w, const struct node *n)
{
    return n->requested_us != 0 &&
           (w->now_us - n->requested_us < REQUEST_US || n->core.request.reinit);
}

static void judge_keep_data(struct world *w, struct node *n, const struct action *action)
{
    const struct policy *policy = &w->setup.policy; /* nobody changes what this is about */
    bool has_data = n->pg.data_dir == DATA_DIR_VALID || n->pg.data_dir == DATA_DIR_HALF;

    if (!has_data)
        return;
    if (w->judge.sysid != 0 && n->pg.sysid != w->judge.sysid)
        judge_find(w, "keep data", "%s would replace data of another cluster", n->name);
    if (action->u.op.kind == OP_REWIND) {
        if (!policy->use_pg_rewind)
            judge_find(w, "keep data", "%s rewinds, and use_pg_rewind is off", n->name);
        return;
    }
    if (!was_asked(w, n) && !policy->remove_data_directory_on_diverged_timelines &&
        !policy->remove_data_directory_on_rewind_failure)
        judge_find(w, "keep data", "%s replaces its data, and nobody allowed it", n->name);
}

static bool touches_server(enum op_kind kind)
{
    return kind != OP_FOLLOW && kind != OP_CHECKPOINT;
}

static void judge_pause(struct world *w, struct node *n, enum op_kind kind)
{
    if (!touches_server(kind) || was_asked(w, n) || n->paused_since_us == 0 || !w->judge.paused ||
        w->now_us - n->paused_since_us < 10 * US_PER_S ||
        w->now_us - w->judge.pause_changed_us < 10 * US_PER_S)
        return;
    if (w->etcd.now.failover.present || w->seen.switchover)
        return; /* a person's switchover goes on in a pause */
    if (kind == OP_STOP && !n->core.pause_is_confirmed)
        return; /* DESIGN section 3: only a confirmed pause disarms the fence and leaves a keeper */
    judge_find(w, "pause", "%s begins %s in a pause", n->name, op_kind_text(kind));
}

void judge_on_op(struct world *w, struct node *n, const struct action *action)
{
    enum op_kind kind = action->u.op.kind;

    if (kind == OP_PROMOTE || kind == OP_START_PRIMARY)
        judge_promotion(w, n, kind);
    if (kind == OP_CLONE || kind == OP_REWIND)
        judge_keep_data(w, n, action);
    if ((kind == OP_START_PRIMARY || kind == OP_START_STANDBY) && n->pg.data_dir == DATA_DIR_HALF)
        judge_find(w, "keep data", "%s starts on a half rewound directory", n->name);
    judge_pause(w, n, kind);
}

/* ---- frenzy, views, answers ---- */

void judge_on_step(struct world *w, struct node *n)
{
    if (w->now_us - n->second_at_us >= US_PER_S) {
        n->second_at_us = w->now_us;
        n->second_actions = 0;
        n->second_steps = 0;
    }
    n->second_steps++;
    for (int32_t i = 0; i < w->actions.count; i++)
        n->second_actions += w->actions.items[i].kind != ACTION_NOTE;
    if (n->second_actions > ACTIONS_PER_SECOND_MAX || n->second_steps > STEPS_PER_SECOND_MAX)
        judge_find(w, "no frenzy", "%s: %d actions in %d steps within a second, last %s", n->name,
                   n->second_actions, n->second_steps,
                   w->actions.count > 0 ? action_kind_text(w->actions.items[0].kind) : "none");
}

void judge_on_view(struct world *w, struct node *n, const struct view *view)
{
    if (!view->policy.pause || !view->config_present)
        n->paused_since_us = 0;
    else if (n->paused_since_us == 0)
        n->paused_since_us = w->now_us;
}

void judge_on_answer(struct world *w, struct node *n, int64_t sent_at_ms)
{
    if (n->vm_thawed_us != 0 && n->vm_trust_us == 0 &&
        clock_true_of_us(n, sent_at_ms) >= n->vm_thawed_us)
        n->vm_trust_us = w->now_us;
}

/* What a person waived (P3) stays waived as long as the request waits, however long that is, and
 * while what was won by it is acted on. */
static void judge_forced(struct world *w)
{
    const struct failover_request *request = &w->etcd.now.failover;

    if (w->judge.forced_us != 0 && request->present && request->leader[0] == '\0')
        w->judge.forced_us = w->now_us;
    else if (!request->present && w->now_us - w->judge.forced_us > 30 * US_PER_S)
        w->judge.forced_us = 0;
}

void judge_look(struct world *w)
{
    judge_forced(w);
    for (int32_t i = 0; i < w->node_count; i++) {
        struct node *n = &w->nodes[i];

        if (!machine_runs(n))
            continue;
        judge_fence_obeyed(w, n);
        for (int32_t j = i + 1; n->could_ack && j < w->node_count; j++)
            if (w->nodes[j].could_ack)
                judge_two_writers(w, n, &w->nodes[j]);
    }
}

/* ---- comes back ---- */

static bool member_is_well(const struct world *w, const struct node *n, const struct node *leader,
                           char *ret_why, size_t size)
{
    const char *why = NULL;

    if (!agent_runs(n))
        why = "has no agent";
    else if (view_find_member(&w->etcd.now, n->name) == NULL)
        why = "is not registered";
    else if (n != leader && n->pg.state != POSTMASTER_UP)
        why = "does not run";
    else if (n != leader && n->pg.primary)
        why = "runs as a primary";
    else if (n != leader && n->pg.link != LINK_UP)
        why = "does not stream";
    else if (n != leader && n->pg.branch != leader->pg.branch)
        why = "streams another timeline";
    if (why != NULL)
        (void)snprintf(ret_why, size, "%s %s (%s)", n->name, why, reason_code(n->last_reason));
    return why == NULL;
}

bool judge_is_well(struct world *w, char *ret_why, size_t size)
{
    int holder = etcd_leader_node(w);
    bool well = true;

    ret_why[0] = '\0';
    if (holder < 0) {
        (void)snprintf(ret_why, size, "nobody holds the key");
        return false;
    }
    if (!w->nodes[holder].could_ack || !w->nodes[holder].pg.primary) {
        (void)snprintf(ret_why, size, "%s holds the key and does not serve", w->nodes[holder].name);
        return false;
    }
    for (int32_t i = 0; i < w->node_count && well; i++)
        well = member_is_well(w, &w->nodes[i], &w->nodes[holder], ret_why, size);
    return well;
}
