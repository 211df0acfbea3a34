#include "pgheir/model/local.h"

#include <string.h>

void local_init(struct local *local)
{
    memset(local, 0, offsetof(struct local, wal_senders));
    local->slot_count = 0;
    local->follows[0] = '\0';
    local->follows_current_address = false;
}

bool local_is_primary(const struct local *local)
{
    if (local->postmaster == POSTMASTER_DOWN)
        return false;
    if (local->sql_valid)
        return !local->in_recovery;
    /* Not to be asked: what the control file says, and a server without the signal file will end
     * its recovery by itself as a primary. */
    return !local->has_standby_signal;
}

uint64_t local_position_lsn(const struct local *local)
{
    if (local->postmaster != POSTMASTER_DOWN && local->sql_valid) {
        if (!local->in_recovery)
            return local->flush_lsn;
        return local->receive_lsn > local->replay_lsn ? local->receive_lsn : local->replay_lsn;
    }
    return local->control_end_lsn;
}

uint32_t local_timeline(const struct local *local)
{
    if (local->postmaster != POSTMASTER_DOWN && local->sql_valid && local->timeline != 0)
        return local->timeline;
    return local->control_timeline;
}
