#include "internal.h"

void core_check(const struct core *core)
{
    pgh_assert(core->op.kind < OP_COUNT);
    pgh_assert(core->reason < REASON_COUNT);
    pgh_assert(core->retained_count >= 0 && core->retained_count <= MEMBERS_MAX);
    /* A fence without the key would be a right without a ground. */
    pgh_assert(key_is_ours(core) || core->key.fence_until_ms == 0);
    /* A writer is only ever started with an armed or disarmed fence. */
    if (core->op.kind == OP_START_PRIMARY || core->op.kind == OP_PROMOTE)
        pgh_assert(core->fence_sent_kind != FENCE_NONE);
    pgh_assert(!core->handover.is_shutdown || core->stopping);
    pgh_assert(core->planned_at_ms > core->now_ms);
}
