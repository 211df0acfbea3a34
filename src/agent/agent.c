/* The inbox, the turn and the one timer. */
#include "agent.h"

#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/str.h"

static void agent_turn(void *arg);

void
agent_copy(char *dst, size_t size, const char *src)
{
    bool fits = str_copy(dst, size, src);

    pgh_assert(fits);
}

static void
agent_ask_turn(struct agent *agent)
{
    if (agent->is_turn_posted || !agent->is_open)
        return;
    agent->is_turn_posted = true;
    loop_post(agent->loop, agent_turn, agent);
}

void
agent_post(struct agent *agent, const struct event *event)
{
    pgh_assert(event->kind != EVENT_VIEW);
    pgh_assert(event->kind != EVENT_LOCAL);
    pgh_assert(agent->inbox_count < AGENT_INBOX_MAX);
    agent->inbox[(agent->inbox_first + agent->inbox_count) % AGENT_INBOX_MAX] = *event;
    agent->inbox_count++;
    agent_ask_turn(agent);
}

void
agent_mark_view(struct agent *agent)
{
    agent->is_view_dirty = true;
    agent_ask_turn(agent);
}

void
agent_mark_view_read(struct agent *agent, int64_t sent_at_ms)
{
    agent->is_view_dirty = true;
    agent->is_view_from_read = true;
    if (sent_at_ms > agent->view_sent_at_ms)
        agent->view_sent_at_ms = sent_at_ms;
    agent_ask_turn(agent);
}

void
agent_mark_local(struct agent *agent)
{
    agent->is_local_dirty = true;
    agent_ask_turn(agent);
}

void
agent_open(struct agent *agent)
{
    agent->is_open = true;
    agent_ask_turn(agent);
}

const struct view *
agent_view(const struct agent *agent)
{
    return agent->has_view ? agent->views[agent->view_idx] : NULL;
}

const struct policy *
agent_policy(const struct agent *agent)
{
    return &agent->views[agent->view_idx]->policy;
}

void
agent_describe(const struct agent *agent, struct core_status *ret)
{
    core_describe(agent->core, clock_boot_ms(), ret);
}

void
agent_exit(struct agent *agent, int code)
{
    if (agent->is_exiting)
        return;
    agent->is_exiting = true;
    agent->exit_code = code;
    loop_stop(agent->loop);
}

/* The local picture goes first, so that the completion of an operation finds it already told;
 * then the view; then the rest in order of arrival. False: nothing is left. */
static bool
agent_next_event(struct agent *agent, struct event *ret)
{
    *ret = (struct event){.now_ms = clock_boot_ms(), .now_wall_ms = clock_wall_ms()};
    /* Before the first look nothing is known of a server that runs already, not even whether it
     * is a standby. The look's end asks for another turn. */
    if (agent->is_local_dirty && local_watch_has_looked(agent->local)) {
        agent->is_local_dirty = false;
        ret->kind = EVENT_LOCAL;
        ret->u.local = local_watch_publish(agent->local);
        return true;
    }
    if (agent->is_view_dirty && agent->is_name_known) {
        int spare = 1 - agent->view_idx;

        cluster_build_view(agent->cluster, agent->views[spare]);
        agent->view_idx = spare;
        agent->has_view = true;
        ret->kind = EVENT_VIEW;
        ret->u.view.view = agent->views[spare];
        ret->u.view.from_read = agent->is_view_from_read;
        ret->u.view.sent_at_ms = agent->is_view_from_read ? agent->view_sent_at_ms : 0;
        agent->is_view_dirty = false;
        agent->is_view_from_read = false;
        return true;
    }
    if (agent->inbox_count > 0) {
        int64_t now_ms = ret->now_ms;
        int64_t now_wall_ms = ret->now_wall_ms;

        *ret = agent->inbox[agent->inbox_first];
        agent->inbox_first = (agent->inbox_first + 1) % AGENT_INBOX_MAX;
        agent->inbox_count--;
        ret->now_ms = now_ms;
        ret->now_wall_ms = now_wall_ms;
        return true;
    }
    return false;
}

static void
agent_log_turn(const struct agent *agent, const struct event *event)
{
    if (!log_is_enabled(LOG_LEVEL_DEBUG))
        return;
    if (event->kind == EVENT_CALL)
        log_debug("event=%s call=%s outcome=%s actions=%d", event_kind_text(event->kind),
                  call_text(event->u.call.call), call_outcome_text(event->u.call.outcome),
                  agent->actions->count);
    else if (event->kind == EVENT_LOCAL)
        log_debug("event=%s data_dir=%d postmaster=%d control=%d signal=%d sql=%d recovery=%d "
                  "timeline=%u lsn=%llx actions=%d",
                  event_kind_text(event->kind), (int)event->u.local->data_dir,
                  (int)event->u.local->postmaster, (int)event->u.local->control_state,
                  event->u.local->has_standby_signal, event->u.local->sql_valid,
                  event->u.local->in_recovery, local_timeline(event->u.local),
                  (unsigned long long)local_position_lsn(event->u.local), agent->actions->count);
    else
        log_debug("event=%s actions=%d", event_kind_text(event->kind), agent->actions->count);
}

/* A primary that was taken over may lack the roles that replicas need. */
static void
agent_ensure_adopted(struct agent *agent, const struct local *local)
{
    struct core_status status;

    if (agent->is_adopted_ensured || !local->adopted)
        return;
    agent_describe(agent, &status);
    if (!status.is_primary_serving)
        return;
    agent->is_adopted_ensured = true;
    roles_ensure(agent->roles);
}

static void
agent_step(struct agent *agent, const struct event *event)
{
    agent->actions->count = 0;
    core_step(agent->core, event, agent->actions);
    core_check(agent->core);
    agent_log_turn(agent, event);
    dispatch_actions(agent, agent->actions, event->now_ms);
    if (event->kind == EVENT_VIEW) {
        slots_on_view(agent->slots, event->u.view.view);
        rest_link_on_view(agent->rest_link);
    }
    if (event->kind == EVENT_LOCAL) {
        reload_on_local(agent->reload);
        agent_ensure_adopted(agent, event->u.local);
    }
}

static void
agent_turn(void *arg)
{
    struct agent *agent = arg;
    struct event event;

    agent->is_turn_posted = false;
    while (!agent->is_exiting && agent_next_event(agent, &event))
        agent_step(agent, &event);
    if (!agent->is_exiting)
        loop_timer_arm(agent->timer, core_deadline(agent->core));
    if (log_queued_count() > 0)
        log_flush();
}

void
agent_on_timer(void *arg)
{
    struct agent *agent = arg;

    agent_post(agent, &(struct event){.kind = EVENT_TIMER});
}
