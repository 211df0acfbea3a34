#include "pgheir/supervisor/fence.h"

#include <errno.h>

bool fence_is_passed(const struct fence *held, int64_t now_ms)
{
    return held->kind == FENCE_UNTIL && now_ms >= held->until_ms;
}

bool fence_allows_writer(const struct fence *held, int64_t now_ms)
{
    return held->kind == FENCE_DISARMED || (held->kind == FENCE_UNTIL && now_ms < held->until_ms);
}

/* What is wrong with the pushed fence by itself: 0 or EINVAL. */
static int fence_check(const struct fence *pushed, int64_t now_ms)
{
    if (pushed->kind == FENCE_NONE || pushed->kind == FENCE_DISARMED)
        return 0;
    if (pushed->kind != FENCE_UNTIL || pushed->until_ms <= 0)
        return EINVAL;
    /* Written as a difference of two positive numbers, so that nothing can overflow. */
    if (pushed->until_ms > now_ms && pushed->until_ms - now_ms > FENCE_SPAN_MS_MAX)
        return EINVAL;
    return 0;
}

int fence_push(struct fence *held, const struct fence *pushed, bool is_writer, int64_t now_ms)
{
    int error = fence_check(pushed, now_ms);

    if (error != 0)
        return error;
    if (fence_is_passed(held, now_ms))
        return ESTALE;
    if (pushed->kind == FENCE_NONE && is_writer)
        return EBUSY;
    if (held->kind == FENCE_NONE && fence_is_passed(pushed, now_ms))
        return ETIME;
    held->kind = pushed->kind;
    held->until_ms = pushed->kind == FENCE_UNTIL ? pushed->until_ms : 0;
    return 0;
}

void fence_clear(struct fence *held)
{
    held->kind = FENCE_NONE;
    held->until_ms = 0;
}

enum fence_act fence_act_at(const struct fence *held, bool is_running, int64_t now_ms)
{
    if (!fence_is_passed(held, now_ms))
        return FENCE_ACT_NOTHING;
    return is_running ? FENCE_ACT_KILL : FENCE_ACT_CLEAR;
}

int64_t fence_deadline_ms(const struct fence *held)
{
    return held->kind == FENCE_UNTIL ? held->until_ms : 0;
}

static int64_t fence_late_deadline_ms(const struct fence *held, bool is_running, int64_t slack_ms)
{
    if (!is_running || held->kind != FENCE_UNTIL)
        return 0;
    return held->until_ms + slack_ms;
}

int64_t fence_kernel_deadline_ms(const struct fence *held, bool is_running)
{
    return fence_late_deadline_ms(held, is_running, FENCE_KERNEL_SLACK_MS);
}

int64_t fence_guard_deadline_ms(const struct fence *held, bool is_running)
{
    return fence_late_deadline_ms(held, is_running, FENCE_GUARD_SLACK_MS);
}
