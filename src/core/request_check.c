#include "pgheir/core/request_check.h"

#include <string.h>

bool request_check_candidates(const struct peer_answer *answers, int count)
{
    for (int i = 0; i < count; i++) {
        const struct peer_answer *answer = &answers[i];

        if (answer->reachable && answer->running && !answer->nofailover &&
            !answer->watchdog_failed)
            return true;
    }
    return false;
}

/* A vanished request without a leader is no end yet: the winner clears it when it holds the key,
 * and the view may have been taken in between. */
enum request_end request_check_end(const struct view *view, const char *old_leader,
                                   const char *candidate, int64_t put_revision)
{
    if (view->revision < put_revision)
        return REQUEST_END_OPEN;
    if (view->leader_present && strcmp(view->leader_name, old_leader) != 0) {
        if (candidate[0] == '\0' || strcmp(view->leader_name, candidate) == 0)
            return REQUEST_END_DONE;
        return REQUEST_END_OTHER;
    }
    if (view->leader_present && !view->failover.present)
        return REQUEST_END_FAILED;
    return REQUEST_END_OPEN;
}

bool request_check_restart(const struct request_filter *filter, const char *role,
                           int32_t server_version, bool is_restart_pending)
{
    if (filter->role[0] != '\0' && strcmp(filter->role, role) != 0)
        return false;
    if (filter->version != 0 && server_version >= filter->version)
        return false;
    return !filter->only_pending || is_restart_pending;
}
