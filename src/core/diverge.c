#include "internal.h"

bool diverge_can_follow(uint32_t timeline, uint64_t lsn, uint32_t leader_timeline,
                        const struct history_row *rows, int32_t count)
{
    if (timeline == leader_timeline)
        /* a timeline number is announced before it is used: it belongs to one history only */
        return true;
    for (int32_t i = 0; i < count; i++)
        if (rows[i].timeline == timeline)
            return lsn <= rows[i].switch_lsn;
    return false;
}
