/* Requests to etcd on their way: delays, losses, deadlines; and the watch streams. */
#include "sim.h"

#include <string.h>

static struct rpc *rpc_new(struct world *w)
{
    struct rpc *rpc;

    pgh_assert(w->rpc_free >= 0);
    rpc = &w->rpcs[w->rpc_free];
    w->rpc_free = rpc->next_free;
    rpc->refs = 0;
    rpc->done = false;
    rpc->maybe_applied = false;
    rpc->view_idx = -1;
    rpc->lease_id = 0;
    rpc->ttl_ms = 0;
    rpc->raft_term = 0;
    rpc->revision = 0;
    return rpc;
}

static void rpc_post(struct world *w, struct rpc *rpc, int64_t at_us, enum sim_event_kind kind)
{
    rpc->refs++;
    world_post(w, at_us, kind, rpc->node, (uint32_t)(rpc - w->rpcs), 0);
}

static void rpc_put(struct world *w, struct rpc *rpc)
{
    pgh_assert(rpc->refs > 0);
    if (--rpc->refs > 0)
        return;
    etcd_view_put(w, rpc->view_idx);
    rpc->view_idx = -1;
    rpc->next_free = w->rpc_free;
    w->rpc_free = (int32_t)(rpc - w->rpcs);
}

void call_drop(struct world *w, const struct sim_event *event)
{
    rpc_put(w, &w->rpcs[event->arg]);
}

/* Repeating these does no harm, so the door repeats them on another endpoint. */
static bool is_repeatable(enum call call)
{
    return call == CALL_LEASE_KEEPALIVE || call == CALL_VIEW_READ || call == CALL_LEASE_ASK;
}

static void rpc_attempt(struct world *w, struct rpc *rpc)
{
    struct node *n = &w->nodes[rpc->node];
    int i = rpc->node;
    int64_t share_us = (rpc->deadline_us - w->now_us) / 2;

    if (w->net.etcd_reject[i] > 0 || (w->etcd.down_count > 0 && chance(w, 800))) {
        rpc->outcome = rpc->maybe_applied ? OUTCOME_UNKNOWN : OUTCOME_UNAVAILABLE;
        rpc_post(w, rpc, w->now_us + draw(w, 1, 20) * US_PER_MS, EV_RPC_FAIL);
        return;
    }
    rpc->sent_at_ms = clock_now_ms(w, n);
    rpc->maybe_applied = true; /* as far as the sender can tell */
    if (w->net.etcd_cut_out[i] > 0 || chance(w, w->net.etcd_drop_permille[i])) {
        rpc->outcome = OUTCOME_UNKNOWN;
        if (is_repeatable(rpc->call) && share_us > 200 * US_PER_MS)
            rpc_post(w, rpc, w->now_us + share_us, EV_RPC_RETRY);
        else
            rpc_post(w, rpc, rpc->deadline_us, EV_RPC_FAIL);
        return;
    }
    rpc_post(w, rpc, w->now_us + net_etcd_delay_us(w, i), EV_RPC_APPLY);
}

void call_send(struct world *w, struct node *n, const struct action *action)
{
    enum call call = action->u.call.call;
    struct rpc *rpc;

    if (n->call_rpc[call] >= 0) {
        judge_find(w, "one of each", "%s asks for %s while one is under way", n->name,
                   call_text(call));
        return;
    }
    rpc = rpc_new(w);
    rpc->node = n->index;
    rpc->epoch = n->agent_epoch;
    rpc->call = call;
    rpc->action = *action;
    rpc->deadline_us = clock_true_us(w, n, action->u.call.deadline_ms);
    rpc->sent_at_ms = clock_now_ms(w, n);
    rpc->lease_id = action->u.call.lease_id;
    n->call_rpc[call] = (int32_t)(rpc - w->rpcs);
    if (call == CALL_MEMBER_PUT)
        agent_member(w, n, &rpc->member);
    rpc_attempt(w, rpc);
}

void call_retry(struct world *w, const struct sim_event *event)
{
    struct rpc *rpc = &w->rpcs[event->arg];

    rpc_attempt(w, rpc);
    rpc_put(w, rpc);
}

/* What the answer's way does to it. */
static void rpc_answer_post(struct world *w, struct rpc *rpc)
{
    int i = rpc->node;
    int64_t at_us = w->now_us + net_etcd_delay_us(w, i);

    if (w->net.etcd_cut_in[i] > 0 || w->net.etcd_reject[i] > 0 ||
        chance(w, w->net.etcd_drop_permille[i]) || at_us > rpc->deadline_us) {
        int64_t share_us = (rpc->deadline_us - w->now_us) / 2;

        etcd_view_put(w, rpc->view_idx);
        rpc->view_idx = -1;
        rpc->outcome = OUTCOME_UNKNOWN;
        if (is_repeatable(rpc->call) && share_us > 200 * US_PER_MS && at_us < rpc->deadline_us)
            rpc_post(w, rpc, w->now_us + share_us, EV_RPC_RETRY);
        else
            rpc_post(w, rpc, rpc->deadline_us, EV_RPC_FAIL);
        return;
    }
    rpc_post(w, rpc, at_us, EV_RPC_ANSWER);
}

/* Without a leader etcd lets requests hang; they are applied after the election, perhaps when
 * the sender has given up long ago. */
static void rpc_hang(struct world *w, struct rpc *rpc)
{
    if (w->etcd.electing && w->etcd.down_count == 0 && chance(w, 700)) {
        if (!rpc->done && w->now_us + US_PER_S / 2 >= rpc->deadline_us) {
            rpc->done = true;
            rpc->outcome = OUTCOME_UNKNOWN;
            rpc_post(w, rpc, rpc->deadline_us, EV_RPC_FAIL);
        }
        rpc_post(w, rpc, w->now_us + draw(w, 100, 400) * US_PER_MS, EV_RPC_APPLY);
        return;
    }
    if (rpc->done)
        return;
    rpc->done = true;
    rpc->outcome = w->etcd.down_count > 0 ? OUTCOME_UNKNOWN : OUTCOME_UNAVAILABLE;
    rpc_post(w, rpc, rpc->outcome == OUTCOME_UNKNOWN ? rpc->deadline_us
                                                     : w->now_us + net_etcd_delay_us(w, rpc->node),
             EV_RPC_FAIL);
}

void call_apply(struct world *w, const struct sim_event *event)
{
    struct rpc *rpc = &w->rpcs[event->arg];
    bool stale = rpc->call == CALL_LEASE_KEEPALIVE && rpc->node == w->etcd.stale_node &&
                 w->now_us < w->etcd.stale_until_us;

    if (!etcd_is_up(w) && !stale) {
        rpc_hang(w, rpc);
    } else {
        etcd_apply(w, rpc);
        trace_line(w, rpc->node, "etcd", "%s %s rev %lld", call_text(rpc->call),
                   call_outcome_text(rpc->outcome), (long long)rpc->revision);
        if (!rpc->done) {
            rpc->done = true;
            rpc_answer_post(w, rpc);
            rpc->done = rpc->outcome != OUTCOME_UNKNOWN || !is_repeatable(rpc->call);
        }
    }
    rpc_put(w, rpc);
}

static void rpc_complete(struct world *w, struct rpc *rpc)
{
    struct node *n = &w->nodes[rpc->node];
    struct event event = {.kind = EVENT_CALL};

    n->call_rpc[rpc->call] = -1;
    if (rpc->call == CALL_VIEW_READ && rpc->outcome == OUTCOME_OK) {
        n->watch_on = true;
        agent_view(w, n, rpc->view_idx, true, rpc->sent_at_ms);
        return;
    }
    event.u.call.call = rpc->call;
    event.u.call.outcome = rpc->outcome;
    event.u.call.sent_at_ms = rpc->sent_at_ms;
    event.u.call.raft_term = rpc->raft_term;
    event.u.call.revision = rpc->revision;
    event.u.call.lease_id = rpc->lease_id;
    event.u.call.ttl_ms = rpc->ttl_ms;
    agent_post(w, n, &event);
}

void call_answer(struct world *w, const struct sim_event *event)
{
    struct rpc *rpc = &w->rpcs[event->arg];

    if (rpc->call == CALL_LEASE_KEEPALIVE)
        judge_on_answer(w, &w->nodes[rpc->node], rpc->sent_at_ms);
    rpc_complete(w, rpc);
    rpc_put(w, rpc);
}

void call_fail(struct world *w, const struct sim_event *event)
{
    struct rpc *rpc = &w->rpcs[event->arg];

    rpc_complete(w, rpc);
    rpc_put(w, rpc);
}

/* ---- watches ---- */

static void watch_send(struct world *w, struct node *n)
{
    int i = n->index;
    int64_t at_us = w->now_us + net_etcd_delay_us(w, i);

    if (!n->watch_on || n->agent == PROC_DEAD)
        return;
    if (w->net.etcd_cut_in[i] > 0 || w->net.etcd_cut_out[i] > 0 || w->net.etcd_reject[i] > 0 ||
        w->net.watch_deaf[i] > 0) {
        n->watch_missed = true;
        return;
    }
    n->watch_missed = false;
    if (at_us <= n->watch_last_us)
        at_us = n->watch_last_us + 1; /* one stream: nothing overtakes */
    n->watch_last_us = at_us;
    world_post(w, at_us, EV_WATCH_DELIVER, i, (uint32_t)etcd_view_get(w), 0);
}

void watch_flush(struct world *w)
{
    w->etcd.flush_pending = false;
    for (int32_t i = 0; i < w->node_count; i++)
        watch_send(w, &w->nodes[i]);
}

void watch_catch_up(struct world *w, struct node *n)
{
    n->watch_missed = false;
    watch_send(w, n);
}

void watch_deliver(struct world *w, const struct sim_event *event)
{
    struct node *n = &w->nodes[event->node];

    if (w->net.etcd_cut_in[n->index] > 0 || w->net.etcd_reject[n->index] > 0 ||
        w->net.watch_deaf[n->index] > 0 || w->etcd.down_count > 0) {
        n->watch_missed = true; /* it was on its way when the line was cut */
        etcd_view_put(w, (int32_t)event->arg);
        return;
    }
    agent_view(w, n, (int32_t)event->arg, false, 0);
    etcd_view_put(w, (int32_t)event->arg);
}
