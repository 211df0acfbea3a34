/* Agents asking each other over REST, and the leader's timeline history over the replication
 * protocol. */
#include "sim.h"

#include <string.h>


/* What `to` says about itself at this moment. */
static void fill_answer(struct world *w, const struct node *to, struct peer_answer *answer)
{
    struct core_status status;
    uint64_t lsn = pg_position(w, to);

    core_describe(&to->core, clock_now_ms(w, to), &status);
    answer->reachable = true;
    answer->is_pgheir = true;
    answer->running = pg_answers_sql(to);
    answer->nofailover = to->identity.tags.nofailover;
    answer->failover_priority = to->identity.tags.failover_priority;
    answer->etcd_silent = status.etcd_seen_at_ms == 0 ||
                          clock_now_ms(w, to) - status.etcd_seen_at_ms >
                              w->etcd.now.policy.ttl_ms;
    answer->fence_left_ms = status.fence_left_ms;
    /* Without positions the fence tells: whoever has one left may still write. */
    answer->is_primary = status.pg_role == PG_ROLE_PRIMARY ||
                         (!answer->running && status.fence_left_ms > 0);
    if (!answer->running)
        return;
    answer->is_primary = answer->is_primary || to->pg.primary;
    answer->timeline = w->branches[wal_branch_at(w, to->pg.branch, lsn)].timeline;
    answer->received_lsn = lsn;
}

static struct ask *ask_new(struct world *w, const struct node *n, uint32_t ask_id)
{
    for (int32_t i = 0; i < ASKS_MAX; i++)
        if (!w->asks[i].used) {
            struct ask *ask = &w->asks[i];

            ask->used = true;
            ask->node = n->index;
            ask->epoch = n->agent_epoch;
            ask->ask_id = ask_id;
            ask->done = false;
            ask->count = 0;
            ask->pending = 0;
            ask->events = 0;
            return ask;
        }
    pgh_unreachable();
}

static void ask_put(struct ask *ask)
{
    if (--ask->events == 0)
        ask->used = false;
}

void rest_drop(struct world *w, const struct sim_event *event)
{
    ask_put(&w->asks[event->arg]);
}

/* One GET: the question goes there, the answer is made there, and comes back. What is made on
 * the way is made when the answer is, half a round trip ahead: nearer than the positions move. */
static void ask_one(struct world *w, struct node *n, struct ask *ask, int32_t i)
{
    struct peer_answer *answer = &ask->answers[ask->count];
    struct node *to = &w->nodes[i];

    memset(answer, 0, sizeof(*answer));
    memcpy(answer->name, to->name, sizeof(to->name));
    answer->fence_left_ms = -1;
    ask->count++;
    if (!net_is_open(w, n->index, i) || !net_is_open(w, i, n->index))
        return; /* silence until the deadline */
    ask->pending++;
    ask->events++;
    world_post(w, w->now_us + net_delay_us(w, n->index, i) + net_delay_us(w, i, n->index),
               EV_PEER_ANSWER, n->index, (uint32_t)(ask - w->asks), (uint32_t)ask->count - 1);
}

void rest_ask(struct world *w, struct node *n, const struct action *action)
{
    const struct view *view = etcd_view(w, n->view_held);
    struct ask *ask = ask_new(w, n, action->u.peers.ask_id);

    ask->events++;
    for (int32_t i = 0; i < w->node_count; i++) {
        if (i == n->index)
            continue;
        if (action->u.peers.count == 1) {
            if (strcmp(w->nodes[i].name, action->u.peers.only) == 0)
                ask_one(w, n, ask, i);
        } else if ((n->known_mask & 1u << i) != 0 ||
                   (view != NULL && view_find_member(view, w->nodes[i].name) != NULL)) {
            ask_one(w, n, ask, i);
        }
    }
    world_post(w,
               ask->pending == 0 && ask->count == 0
                   ? w->now_us + US_PER_MS
                   : clock_true_us(w, n, action->u.peers.deadline_ms),
               EV_PEERS_DEADLINE, n->index, (uint32_t)(ask - w->asks), 0);
}

static void ask_complete(struct world *w, struct node *n, struct ask *ask)
{
    struct event event = {.kind = EVENT_PEERS};

    if (ask->done)
        return;
    ask->done = true;
    event.u.peers.ask_id = ask->ask_id;
    event.u.peers.count = ask->count;
    event.u.peers.answers = ask->answers;
    agent_post(w, n, &event);
}

void rest_answer(struct world *w, const struct sim_event *event)
{
    struct ask *ask = &w->asks[event->arg];
    struct node *n = &w->nodes[event->node];
    struct peer_answer *answer = &ask->answers[event->extra];
    const struct node *to = node_by_name(w, answer->name);
    bool open = net_is_open(w, n->index, to->index) && net_is_open(w, to->index, n->index);

    if (!ask->done && open && machine_runs(to)) {
        if (to->agent == PROC_ALIVE && to->stall_until_us <= w->now_us)
            fill_answer(w, to, answer);
        if (to->agent != PROC_FROZEN) {
            /* An answer, or a refused connection: the question is settled. */
            ask->pending--;
            for (int32_t i = 0; i < ask->count; i++)
                open = open && net_is_open(w, n->index,
                                           node_by_name(w, ask->answers[i].name)->index);
            if (ask->pending == 0 && open)
                ask_complete(w, n, ask);
        }
    }
    ask_put(ask);
}

void rest_deadline(struct world *w, const struct sim_event *event)
{
    struct ask *ask = &w->asks[event->arg];

    ask_complete(w, &w->nodes[event->node], ask);
    ask_put(ask);
}

/* ---- the leader's history ---- */

void rest_history_read(struct world *w, struct node *n, const struct action *action)
{
    const struct node *leader = node_by_name(w, action->u.history.leader);
    bool good = leader != NULL && net_is_open(w, n->index, leader->index) &&
                net_is_open(w, leader->index, n->index) && pg_answers_sql(leader);
    int64_t at_us = good ? w->now_us + 3 * net_delay_us(w, n->index, leader->index)
                         : clock_true_us(w, n, action->u.history.deadline_ms);

    n->history_serial++;
    world_post(w, at_us, EV_HISTORY_ANSWER, n->index,
               leader == NULL ? (uint32_t)NODES_MAX : (uint32_t)leader->index, n->history_serial);
}

void rest_history_answer(struct world *w, const struct sim_event *event)
{
    struct node *n = &w->nodes[event->node];
    struct event answer = {.kind = EVENT_HISTORY};
    struct history_row rows[HISTORY_MAX];
    const struct node *leader;

    if (event->arg < (uint32_t)w->node_count) {
        leader = &w->nodes[event->arg];
        memcpy(answer.u.history.leader, leader->name, sizeof(leader->name));
        answer.u.history.ok = pg_answers_sql(leader) &&
                              net_is_open(w, n->index, leader->index) &&
                              net_is_open(w, leader->index, n->index);
        if (answer.u.history.ok) {
            answer.u.history.leader_is_primary = leader->pg.primary;
            answer.u.history.timeline = w->branches[leader->pg.branch].timeline;
            answer.u.history.count = wal_history(w, leader->pg.branch, rows, HISTORY_MAX);
            answer.u.history.rows = rows;
        }
    }
    agent_post(w, n, &answer);
}
