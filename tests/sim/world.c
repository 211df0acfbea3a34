/* True time, the clocks of the nodes, and who may act: one event after the other. */
#include "sim.h"

#include <string.h>

#include "pgheir/base/mem.h"

static const enum event_class classes[EV_COUNT] = {
#define X(name, class) [EV_##name] = CLASS_##class,
    SIM_EVENT_TABLE(X)
#undef X
};

int64_t draw(struct world *w, int64_t low, int64_t high)
{
    pgh_assert(low <= high);
    if (w->setup.quiet)
        return low + (high - low) / 2; /* decisions must not hang on how many were drawn */
    return low + (int64_t)(prng_next(&w->prng) % (uint64_t)(high - low + 1));
}

bool chance(struct world *w, int32_t permille)
{
    if (w->setup.quiet)
        return permille >= 500;
    return permille > 0 && (int32_t)(prng_next(&w->prng) % 1000) < permille;
}

int64_t draw_skewed(struct world *w, int64_t low, int64_t high)
{
    uint64_t bits;
    int shift;

    if (w->setup.quiet)
        return low + (high - low) / 8;
    bits = prng_next(&w->prng);
    shift = (int)(bits & 3) * 2; /* the span is cut by 1, 4, 16 or 64 */
    return low + (int64_t)((bits >> 2) % (uint64_t)(((high - low) >> shift) + 1));
}

struct node *node_by_name(struct world *w, const char *name)
{
    for (int32_t i = 0; i < w->node_count; i++)
        if (strcmp(w->nodes[i].name, name) == 0)
            return &w->nodes[i];
    return NULL;
}

/* ---- clocks ---- */

static int64_t local_us(const struct node *n, int64_t true_us)
{
    return n->clock.offset_us + true_us + true_us * n->clock.drift_ppm / 1000000;
}

int64_t clock_now_ms(const struct world *w, const struct node *n)
{
    int64_t true_us = n->vm_paused ? n->frozen_since_us : w->now_us;

    return local_us(n, true_us) / US_PER_MS;
}

int64_t clock_true_of_us(const struct node *n, int64_t at_ms)
{
    int64_t span_us = at_ms * US_PER_MS - n->clock.offset_us;
    int64_t true_us = span_us - span_us * n->clock.drift_ppm / (1000000 + n->clock.drift_ppm);

    while (local_us(n, true_us) < at_ms * US_PER_MS)
        true_us++;
    return true_us;
}

int64_t clock_true_us(const struct world *w, const struct node *n, int64_t at_ms)
{
    int64_t true_us;

    if (at_ms <= clock_now_ms(w, n))
        return w->now_us;
    /* Nobody plans further ahead than a day; it keeps the arithmetic far from its limits. */
    if (at_ms > clock_now_ms(w, n) + FENCE_SPAN_MS_MAX)
        at_ms = clock_now_ms(w, n) + FENCE_SPAN_MS_MAX;
    true_us = clock_true_of_us(n, at_ms);
    return true_us > w->now_us ? true_us : w->now_us;
}

int64_t clock_wall_ms(const struct world *w, const struct node *n)
{
    return INT64_C(1800000000000) + (w->now_us + n->clock.wall_offset_us) / US_PER_MS;
}

/* ---- who can act ---- */

bool machine_runs(const struct node *n)
{
    return n->powered && n->frozen == 0;
}

bool agent_runs(const struct node *n)
{
    return machine_runs(n) && n->agent == PROC_ALIVE;
}

bool supervisor_runs(const struct node *n)
{
    return machine_runs(n) && n->supervisor == PROC_ALIVE;
}

static uint32_t epoch_of(const struct node *n, enum event_class class)
{
    switch (class) {
    case CLASS_WORLD:
        return 0;
    case CLASS_MACHINE:
        return n->boot_epoch;
    case CLASS_POSTMASTER:
        return n->pg.epoch;
    case CLASS_SUPERVISOR:
        return n->supervisor_epoch;
    case CLASS_AGENT:
        return n->agent_epoch;
    }
    pgh_unreachable();
}

void world_post(struct world *w, int64_t at_us, enum sim_event_kind kind, int node, uint32_t arg,
                uint32_t extra)
{
    struct sim_event event = {
        .at_us = at_us < w->now_us ? w->now_us : at_us,
        .kind = (uint16_t)kind,
        .node = (int16_t)node,
        .arg = arg,
        .extra = extra,
    };

    if (classes[kind] != CLASS_WORLD)
        event.epoch = epoch_of(&w->nodes[node], classes[kind]);
    queue_push(&w->queue, &event);
}

/* The event will never take place: what it carried goes back. */
static void event_drop(struct world *w, const struct sim_event *event)
{
    switch (event->kind) { /* the others carry nothing */
    case EV_RPC_RETRY:
    case EV_RPC_ANSWER:
    case EV_RPC_FAIL:
        call_drop(w, event);
        break;
    case EV_WATCH_DELIVER:
        etcd_view_put(w, (int32_t)event->arg);
        break;
    case EV_PEER_ANSWER:
    case EV_PEERS_DEADLINE:
        rest_drop(w, event);
        break;
    default:
        break;
    }
}

/* A frozen agent needs only the newest picture of what it missed. */
static bool park_instead_of_older(struct world *w, struct node *n, const struct sim_event *event)
{
    if (event->kind != EV_WATCH_DELIVER)
        return false;
    for (int32_t i = 0; i < n->parked_count; i++)
        if (n->parked[i].kind == EV_WATCH_DELIVER && n->parked[i].epoch == event->epoch) {
            etcd_view_put(w, (int32_t)n->parked[i].arg);
            n->parked[i].arg = event->arg;
            return true;
        }
    return false;
}

static void event_park(struct world *w, struct node *n, const struct sim_event *event)
{
    if (park_instead_of_older(w, n, event))
        return;
    pgh_assert(n->parked_count < PARKED_MAX);
    n->parked[n->parked_count++] = *event;
}

void node_unpark(struct world *w, struct node *n, int64_t jitter_us)
{
    int32_t count = n->parked_count;
    int64_t at_us = w->now_us + (jitter_us > 0 ? draw(w, 0, jitter_us) : 0);

    n->parked_count = 0;
    for (int32_t i = 0; i < count; i++) {
        struct sim_event event = n->parked[i];

        event.at_us = at_us;
        queue_push(&w->queue, &event);
    }
}

/* Returns true if the event may take place now. */
static bool event_admit(struct world *w, const struct sim_event *event)
{
    enum event_class class = classes[event->kind];
    struct node *n;
    bool waits;

    if (class == CLASS_WORLD)
        return true;
    n = &w->nodes[event->node];
    if (event->epoch != epoch_of(n, class) || !n->powered) {
        event_drop(w, event);
        return false;
    }
    waits = n->frozen > 0 || (class == CLASS_SUPERVISOR && n->supervisor == PROC_FROZEN) ||
            (class == CLASS_AGENT && n->agent == PROC_FROZEN);
    if (waits) {
        event_park(w, n, event);
        return false;
    }
    if (class == CLASS_AGENT && n->stall_until_us > w->now_us) {
        struct sim_event later = *event;

        later.at_us = n->stall_until_us;
        queue_push(&w->queue, &later);
        return false;
    }
    return true;
}

/* ---- the turn ---- */

static void turn_etcd(struct world *w, const struct sim_event *event)
{
    switch (event->kind) {
    case EV_RPC_APPLY:
        call_apply(w, event);
        return;
    case EV_RPC_RETRY:
        call_retry(w, event);
        return;
    case EV_RPC_ANSWER:
        call_answer(w, event);
        return;
    case EV_RPC_FAIL:
        call_fail(w, event);
        return;
    case EV_ETCD_TICK:
        etcd_tick(w);
        judge_look(w);
        world_post(w, w->now_us + US_PER_S / 2, EV_ETCD_TICK, 0, 0, 0);
        return;
    case EV_ETCD_ELECTED:
        etcd_elected(w);
        return;
    case EV_WATCH_FLUSH:
        watch_flush(w);
        return;
    case EV_WATCH_DELIVER:
        watch_deliver(w, event);
        return;
    default:
        pgh_unreachable();
    }
}

static void turn_agent(struct world *w, struct node *n, const struct sim_event *event)
{
    struct event news = {.kind = EVENT_FENCED};

    switch (event->kind) {
    case EV_AGENT_TIMER:
        if (event->arg == n->timer_serial) /* else a later one has taken its place */
            agent_timer(w, n);
        return;
    case EV_AGENT_START:
        agent_start(w, n);
        return;
    case EV_AGENT_POLL:
        agent_poll(w, n);
        return;
    case EV_AGENT_LOOK:
        n->look_pending = false;
        agent_look(w, n);
        return;
    case EV_AGENT_FENCED:
        agent_look(w, n);
        agent_post(w, n, &news);
        return;
    case EV_AGENT_SHUTDOWN:
        news.kind = EVENT_SHUTDOWN;
        agent_post(w, n, &news);
        return;
    case EV_AGENT_REQUEST:
        news.kind = EVENT_REQUEST;
        news.u.request.kind = (enum request_kind)(event->extra & 1);
        news.u.request.from_leader = (event->extra & 2) != 0;
        news.u.request.force = (event->extra & 4) != 0;
        news.u.request.request_id = event->arg;
        agent_post(w, n, &news);
        return;
    default:
        pgh_unreachable();
    }
}

static void turn_rest(struct world *w, struct node *n, const struct sim_event *event)
{
    switch (event->kind) {
    case EV_OP_DONE:
        op_done(w, event);
        return;
    case EV_OP_DEADLINE:
        op_deadline(w, event);
        return;
    case EV_TASK_DONE:
        op_task_done(w, event);
        return;
    case EV_PEER_ANSWER:
        rest_answer(w, event);
        return;
    case EV_PEERS_DEADLINE:
        rest_deadline(w, event);
        return;
    case EV_HISTORY_ANSWER:
        rest_history_answer(w, event);
        return;
    case EV_SUPERVISOR_START:
        supervisor_start(w, n);
        return;
    case EV_NETS:
        if (event->arg == n->nets_serial)
            supervisor_nets(w, n);
        return;
    case EV_ORPHANS_KILL:
    case EV_PG_KILL:
        pg_kill_all(w, n);
        return;
    case EV_WRITER:
        pg_writer(w, event);
        return;
    case EV_FAULT:
        fault_begin(w, &w->faults[event->arg]);
        return;
    case EV_HEAL:
        fault_end(w, &w->faults[event->arg]);
        return;
    default:
        pg_on_event(w, event);
    }
}

bool world_step(struct world *w, int64_t limit_us)
{
    struct sim_event event;

    if (!queue_pop(&w->queue, limit_us, &event))
        return false;
    w->now_us = event.at_us;
    w->seen.events++;
    hash_add(w, (uint64_t)event.at_us * EV_COUNT + event.kind);
    if (!event_admit(w, &event))
        return true;
    if (event.kind <= EV_WATCH_DELIVER)
        turn_etcd(w, &event);
    else if (event.kind <= EV_AGENT_REQUEST)
        turn_agent(w, &w->nodes[event.node], &event);
    else
        turn_rest(w, &w->nodes[event.node], &event);
    return true;
}

void world_run_until(struct world *w, int64_t at_us)
{
    while (!judge_has_spoken(w) && world_step(w, at_us))
        ;
    if (!judge_has_spoken(w) && w->now_us < at_us)
        w->now_us = at_us;
}

/* ---- power and freezing of whole nodes ---- */

void node_power_off(struct world *w, struct node *n)
{
    if (!n->powered)
        return;
    trace_line(w, n->index, "world", "power off");
    agent_kill(w, n);
    n->supervisor = PROC_DEAD;
    n->supervisor_epoch++;
    pg_kill_all(w, n);
    n->boot_epoch++;
    n->powered = false;
    n->has_saved = false;
    n->nets_at_us = 0;
    n->pg.adopted = false;
    fence_clear(&n->fence);
    n->frozen = 0;
    n->vm_paused = false;
    node_unpark(w, n, 0); /* to be dropped: their epochs are over */
    net_changed(w);
}

void node_power_on(struct world *w, struct node *n)
{
    if (n->powered)
        return;
    trace_line(w, n->index, "world", "power on");
    n->powered = true;
    /* CLOCK_BOOTTIME begins anew. */
    n->clock.offset_us = draw(w, 5, 60) * US_PER_S - w->now_us;
    n->agent_crashes = 0;
    n->service_wanted = true;
    net_changed(w);
    world_post(w, w->now_us + draw_skewed(w, 200, 3000) * US_PER_MS, EV_SUPERVISOR_START, n->index,
               0, 0);
}

void node_freeze(struct world *w, struct node *n, bool vm)
{
    bool could = pg_can_ack(n);

    if (n->frozen++ > 0 || !n->powered)
        return;
    trace_line(w, n->index, "world", vm ? "virtual machine paused" : "frozen as a whole");
    n->frozen_since_us = w->now_us;
    n->vm_paused = vm;
    if (could)
        judge_on_ack_change(w, n);
    net_changed(w);
}

void node_thaw(struct world *w, struct node *n)
{
    if (n->frozen == 0 || --n->frozen > 0)
        return;
    trace_line(w, n->index, "world", "thawed after %lld ms",
               (long long)(w->now_us - n->frozen_since_us) / US_PER_MS);
    n->thawed_us = w->now_us;
    if (n->vm_paused) {
        n->vm_thawed_us = w->now_us;
        n->vm_trust_us = 0;
        n->clock.offset_us -= w->now_us - n->frozen_since_us;
    }
    n->vm_paused = false;
    judge_on_ack_change(w, n);
    /* The processes get their turn one after the other. */
    node_unpark(w, n, 15 * US_PER_MS);
    supervisor_read(w, n);
    net_changed(w);
}

/* ---- birth ---- */

struct world *world_new(void)
{
    struct world *w = mem_new(1, sizeof(*w));

    w->etcd.pool = mem_new(VIEWS_MAX, sizeof(*w->etcd.pool));
    return w;
}

void world_free(struct world *w)
{
    if (w != NULL)
        mem_free(w->etcd.pool);
    mem_free(w);
}

static void node_reset(struct world *w, struct node *n, int32_t index)
{
    memset(n, 0, offsetof(struct node, core));
    memset((char *)n + offsetof(struct node, timer_serial), 0,
           offsetof(struct node, locals) - offsetof(struct node, timer_serial));
    memset((char *)n + offsetof(struct node, local_idx), 0,
           offsetof(struct node, parked) - offsetof(struct node, local_idx));
    memset((char *)n + offsetof(struct node, could_ack), 0,
           sizeof(*n) - offsetof(struct node, could_ack));
    n->index = (int16_t)index;
    (void)str_format(n->name, sizeof(n->name), "node%d", (int)index + 1);
    (void)str_format(n->identity.name, sizeof(n->identity.name), "node%d", (int)index + 1);
    n->identity.tags = w->setup.tags[index];
    n->identity.may_bootstrap = w->setup.may_bootstrap[index];
    n->clock.offset_us = draw(w, 60, 30000000) * US_PER_S;
    n->clock.drift_ppm = (int32_t)draw(w, -100, 100);
    n->clock.wall_offset_us = draw(w, -2, 2) * US_PER_MS * 100;
    n->view_held = -1;
    n->disk_factor = 1;
    n->op.source = -1;
    for (int i = 0; i < CALL_COUNT; i++)
        n->call_rpc[i] = -1;
    pg_reset(w, n);
}

void world_reset(struct world *w, uint64_t seed)
{
    w->seed = seed;
    w->now_us = 0;
    w->hash = UINT64_C(0xcbf29ce484222325);
    w->queue.count = 0;
    w->queue.next_order = 0;
    w->branch_count = 0;
    w->fault_count = 0;
    w->next_serial = 1;
    w->next_postmaster_id = 1000;
    w->next_request_id = 1;
    w->client_gap_begun_us = 0;
    w->client_gap_us = 0;
    w->note_count = 0;
    w->node_count = w->setup.node_count;
    memset(&w->net, 0, sizeof(w->net));
    memset(&w->seen, 0, sizeof(w->seen));
    memset(w->asks, 0, sizeof(w->asks));
    for (int32_t i = 0; i < RPCS_MAX; i++)
        w->rpcs[i].next_free = i + 1 < RPCS_MAX ? i + 1 : -1;
    w->rpc_free = 0;
    etcd_reset(w);
    judge_reset(w);
    for (int32_t i = 0; i < w->node_count; i++)
        node_reset(w, &w->nodes[i], i);
    world_post(w, draw(w, 0, 500) * US_PER_MS, EV_ETCD_TICK, 0, 0, 0);
}
