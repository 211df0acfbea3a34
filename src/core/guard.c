/* A primary without the right to be one. This runs first in every step, before anything is
 * decided, so that an agent that was frozen compares its fence with the clock before it does
 * anything else. */
#include "internal.h"

enum {
    /* a fast stop that takes longer becomes immediate; the fence itself kills */
    STOP_BEFORE_FENCE_MS = 100,
    /* somebody else leads: sessions end at once, the rest may take this long */
    STOP_LOST_KEY_MS = 1000,
    STOP_MIN_MS = 50
};

static bool op_makes_primary(const struct core *core)
{
    return core->op.kind == OP_START_PRIMARY || core->op.kind == OP_PROMOTE ||
           (core->op.kind == OP_RESTART && core->was_primary);
}

static bool is_writer(const struct core *core)
{
    if (core->op.kind == OP_BOOTSTRAP || core->op.kind == OP_CLONE || core->op.kind == OP_REWIND)
        return false;
    return local_is_primary(core->local) || op_makes_primary(core) ||
           core->doubtful_postmaster_id != 0;
}

void fence_wanted(const struct core *core, enum fence_kind *ret_kind, int64_t *ret_until_ms)
{
    *ret_kind = core->fence_sent_kind;
    *ret_until_ms = core->fence_sent_until_ms;
    if (core->local == NULL)
        return; /* whatever the supervisor holds from the agent before us stays */
    if (core->pause_is_confirmed) {
        *ret_kind = FENCE_DISARMED;
        *ret_until_ms = 0;
        return;
    }
    if (!is_writer(core)) {
        if (server_is_down(core) || server_is_running_standby(core)) {
            *ret_kind = FENCE_NONE;
            *ret_until_ms = 0;
        }
        return;
    }
    int64_t until_ms = right_until_ms(core);
    if (until_ms <= core->now_ms && core->fence_sent_kind == FENCE_UNTIL)
        return; /* nothing newer to say: what was said stands */
    *ret_kind = FENCE_UNTIL;
    *ret_until_ms = until_ms > 0 ? until_ms : core->now_ms;
}

/* Why a writer must stop now; REASON_NONE if it may go on. */
static enum reason why_demote(const struct core *core)
{
    const char *leader = leader_name(core);
    bool is_due = core->now_ms >= demote_at_ms(core);

    if (key_is_ours(core))
        return is_due ? REASON_DEMOTE_FENCE : REASON_NONE;
    if (core->doubtful_postmaster_id != 0)
        is_due = true; /* a promotion that may still happen must not happen without the key */
    /* In a pause nobody is stopped for that, so the read that confirms the pause is awaited. */
    if (leader != NULL && (!core->paused || is_due))
        return REASON_DEMOTE_LOST_KEY;
    return is_due ? REASON_DEMOTE_NO_KEY : REASON_NONE;
}

static void begin_stop(struct step *step, enum reason why)
{
    struct core *core = step->core;
    int64_t until_ms = right_until_ms(core);
    int64_t deadline_ms = until_ms - STOP_BEFORE_FENCE_MS;

    if (why == REASON_DEMOTE_LOST_KEY)
        deadline_ms = until_ms > core->now_ms ? min_ms(deadline_ms, core->now_ms + STOP_LOST_KEY_MS)
                                              : core->now_ms + STOP_MIN_MS;
    bool is_passed = until_ms <= core->now_ms && why != REASON_DEMOTE_LOST_KEY;
    if (is_passed)
        note(step, REASON_FENCE_PASSED, NULL, core->now_ms - until_ms);
    explain(step, why, leader_name(core), until_ms - core->now_ms);
    stop_server(step, is_passed ? STOP_IMMEDIATE : STOP_FAST,
                max_ms(deadline_ms, core->now_ms + STOP_MIN_MS), false);
}

bool guard_demote(struct step *step)
{
    struct core *core = step->core;

    if (core->pause_is_confirmed || !is_writer(core))
        return false;
    if (right_until_ms(core) == 0 && core->doubtful_postmaster_id == 0 &&
        core->fence_sent_kind != FENCE_UNTIL) {
        /* Found running: a primary that is ours to fence gets one ttl to win or confirm the key,
         * and as long as a stop takes where somebody else has it. */
        int64_t ttl_ms = core->view == NULL ? core->lease.ttl_ms : policy_of(core)->ttl_ms;
        bool is_taken = !key_is_ours(core) && leader_name(core) != NULL && !core->paused;
        core->grace_until_ms = core->now_ms + (is_taken ? STOP_LOST_KEY_MS : ttl_ms);
        core->key.demote_lead_ms = policy_demote_lead_ms(ttl_ms);
    }
    enum reason why = why_demote(core);
    if (why == REASON_NONE)
        return false;
    core->follow.check_wanted = true;
    if (core->op.kind == OP_STOP)
        return true;
    if (op_is_running(core))
        op_cancel(step);
    else
        begin_stop(step, why);
    return true;
}
