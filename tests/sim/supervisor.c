/* The supervisor and its nets, as DESIGN section 3 draws them: the fence with the real
 * arithmetic, the kernel timer, the parent-death signal, the guard; and the service manager that
 * starts it all again. */
#include "sim.h"

bool supervisor_allows_writer(const struct world *w, const struct node *n)
{
    return fence_allows_writer(&n->fence, clock_now_ms(w, n));
}

static bool is_writer(const struct node *n)
{
    return pg_is_running(n) && (n->pg.primary || n->pg.promoting || n->pg.orphans);
}

/* ---- nets ---- */

void supervisor_arm_nets(struct world *w, struct node *n)
{
    int64_t deadline_ms = fence_deadline_ms(&n->fence);
    int64_t at_us;

    if (deadline_ms == 0 || n->supervisor == PROC_DEAD)
        return;
    at_us = clock_true_us(w, n, deadline_ms);
    if (n->nets_at_us != 0 && n->nets_at_us <= at_us)
        return; /* it will look again then */
    n->nets_at_us = at_us;
    world_post(w, at_us, EV_NETS, n->index, ++n->nets_serial, 0);
}

static void nets_again(struct world *w, struct node *n, int64_t at_ms)
{
    n->nets_at_us = clock_true_us(w, n, at_ms);
    world_post(w, n->nets_at_us, EV_NETS, n->index, ++n->nets_serial, 0);
}

/* Kernel timer, parent-death signal and guard in one: the supervisor is gone, and milliseconds
 * later so is every process of PostgreSQL. */
static void supervisor_die(struct world *w, struct node *n, const char *why)
{
    trace_line(w, n->index, "super", "%s", why);
    n->supervisor = PROC_DEAD;
    n->supervisor_epoch++;
    n->has_saved = false;
    n->last_fence = n->fence;
    n->supervisor_died_us = w->now_us;
    fence_clear(&n->fence);
    agent_kill(w, n);
    world_post(w, w->now_us + draw(w, 500, 5000), EV_PG_KILL, n->index, 0, 0);
    if (n->service_wanted)
        world_post(w, w->now_us + draw_skewed(w, 200, 8000) * US_PER_MS, EV_SUPERVISOR_START,
                   n->index, 0, 0);
}

void supervisor_nets(struct world *w, struct node *n)
{
    int64_t now_ms = clock_now_ms(w, n);
    bool running = pg_is_running(n);
    struct fence passed = n->fence;

    n->nets_at_us = 0;
    if (n->supervisor == PROC_DEAD || n->fence.kind != FENCE_UNTIL)
        return;
    switch (fence_act_at(&n->fence, running, now_ms)) {
    case FENCE_ACT_NOTHING:
        supervisor_arm_nets(w, n);
        return;
    case FENCE_ACT_CLEAR:
        if (n->supervisor == PROC_ALIVE)
            fence_clear(&n->fence);
        return;
    case FENCE_ACT_KILL:
        break;
    }
    if (n->supervisor == PROC_ALIVE) {
        trace_line(w, n->index, "super", "fence passed: kills PostgreSQL");
        pg_kill_all(w, n);
        fence_clear(&n->fence);
        if (n->agent != PROC_DEAD)
            world_post(w, w->now_us + draw(w, 100, 3000), EV_AGENT_FENCED, n->index, 0, 0);
        return;
    }
    if (now_ms >= fence_kernel_deadline_ms(&passed, running))
        supervisor_die(w, n, "killed by the kernel timer");
    else
        nets_again(w, n, fence_kernel_deadline_ms(&passed, running));
}

void supervisor_fence(struct world *w, struct node *n, const struct fence *pushed)
{
    struct fence before = n->fence;
    int error;

    if (!supervisor_runs(n)) {
        /* The message waits in the socket, and the nets do not wait for it. */
        n->waiting = *pushed;
        n->is_push_waiting = n->supervisor != PROC_DEAD;
        return;
    }
    error = fence_push(&n->fence, pushed, is_writer(n), clock_now_ms(w, n));
    if (error != 0) {
        trace_line(w, n->index, "super", "fence refused: %d", error);
        return;
    }
    if (before.kind != pushed->kind)
        trace_line(w, n->index, "super", "fence %s",
                   pushed->kind == FENCE_NONE       ? "none"
                   : pushed->kind == FENCE_DISARMED ? "disarmed"
                                                    : "armed");
    if (before.kind == FENCE_DISARMED)
        n->armed_us = w->now_us;
    n->fence_pushed_us = w->now_us;
    judge_on_fence(w, n, &before, pushed);
    supervisor_arm_nets(w, n);
}

void supervisor_state(struct node *n, const struct core_saved *saved)
{
    if (supervisor_runs(n)) {
        n->saved = *saved;
        n->has_saved = true;
    } else {
        n->waiting_state = *saved;
        n->is_state_waiting = n->supervisor != PROC_DEAD;
    }
}

/* Who is continued reads what came meanwhile, also from an agent that has died since. */
void supervisor_read(struct world *w, struct node *n)
{
    if (!supervisor_runs(n))
        return; /* its machine is still frozen */
    if (n->is_push_waiting)
        supervisor_fence(w, n, &n->waiting);
    n->is_push_waiting = false;
    if (n->is_state_waiting)
        supervisor_state(n, &n->waiting_state);
    n->is_state_waiting = false;
}

/* ---- children ---- */

void supervisor_postmaster_died(struct world *w, struct node *n)
{
    world_post(w, w->now_us + draw(w, 500, 8000), EV_ORPHANS_KILL, n->index, 0, 0);
}

static int64_t agent_backoff_us(struct world *w, struct node *n)
{
    static const int64_t steps_ms[] = {0, 100, 500, 2000};
    int32_t idx = n->agent_crashes < 4 ? n->agent_crashes : 3;

    if (w->now_us - n->agent_started_us > 60 * US_PER_S)
        idx = n->agent_crashes = 0;
    n->agent_crashes++;
    return (steps_ms[idx] + draw(w, 15, 120)) * US_PER_MS;
}

void supervisor_agent_ended(struct world *w, struct node *n, int32_t code)
{
    if (n->supervisor == PROC_DEAD)
        return;
    if (code < 0 || code == 75) {
        world_post(w, w->now_us + agent_backoff_us(w, n), EV_AGENT_START, n->index, 0, 0);
        return;
    }
    trace_line(w, n->index, "super", "the agent ended with %d, so do I", (int)code);
    if (n->fence.kind == FENCE_DISARMED && pg_is_running(n)) {
        /* A mute keeper: PostgreSQL runs on until another pgheir takes it over. */
        n->pg.adopted = true;
    } else {
        pg_kill_all(w, n);
        fence_clear(&n->fence);
    }
    n->supervisor = PROC_DEAD;
    n->supervisor_epoch++;
    n->has_saved = false;
    n->agent_crashes = 0;
    if (n->service_wanted)
        world_post(w, w->now_us + draw(w, 5, 10) * US_PER_S, EV_SUPERVISOR_START, n->index, 0, 0);
}

void supervisor_start(struct world *w, struct node *n)
{
    if (n->supervisor != PROC_DEAD || !n->powered)
        return;
    trace_line(w, n->index, "super", "starts");
    n->supervisor = PROC_ALIVE;
    n->supervisor_epoch++;
    n->nets_at_us = 0;
    n->is_push_waiting = false;
    n->is_state_waiting = false;
    n->service_wanted = true;
    if (!n->pg.adopted)
        fence_clear(&n->fence);
    world_post(w, w->now_us + draw(w, 10, 100) * US_PER_MS, EV_AGENT_START, n->index, 0, 0);
}

void supervisor_crash(struct world *w, struct node *n)
{
    if (n->supervisor != PROC_DEAD)
        supervisor_die(w, n, "killed");
}

void supervisor_freeze(struct world *w, struct node *n)
{
    if (n->supervisor != PROC_ALIVE)
        return;
    trace_line(w, n->index, "super", "stopped");
    n->supervisor = PROC_FROZEN;
}

void supervisor_thaw(struct world *w, struct node *n)
{
    if (n->supervisor != PROC_FROZEN)
        return;
    trace_line(w, n->index, "super", "continued");
    n->supervisor = PROC_ALIVE;
    node_unpark(w, n, 2 * US_PER_MS);
    supervisor_read(w, n);
    op_supervisor_back(w, n);
    supervisor_arm_nets(w, n);
}
