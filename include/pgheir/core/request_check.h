/* Judgements about what people ask for, over REST, as pure functions: who could take over,
 * whether a switchover that was asked for has ended and how, whether a conditional restart
 * applies. Texts and codes are the agent's (contract/rest.md 7.2, 7.3). */
#ifndef PGHEIR_CORE_REQUEST_CHECK_H
#define PGHEIR_CORE_REQUEST_CHECK_H

#include "pgheir/base/base.h"
#include "pgheir/model/event.h"
#include "pgheir/model/view.h"

/* Whether at least one of the candidates that were asked answered, may be promoted and is not kept
 * from it by its watchdog. */
bool request_check_candidates(const struct peer_answer *answers, int count);

enum request_end {
    REQUEST_END_OPEN,   /* not yet */
    REQUEST_END_DONE,   /* the candidate leads; or somebody else does, where none was named */
    REQUEST_END_OTHER,  /* another member leads than the one that was named */
    REQUEST_END_FAILED  /* the request is gone from etcd, and the leader is still the same */
};

/* old_leader: who led when it was asked; "" if nobody did. candidate: "" if none was named.
 * put_revision: of the write of the key failover; older views say nothing. */
enum request_end request_check_end(const struct view *view, const char *old_leader,
                                   const char *candidate, int64_t put_revision);

/* Filters of a restart; "" and 0 and false: no filter. version is exclusive: the server must be
 * older. */
struct request_filter {
    char role[24];
    int32_t version; /* as 150020 */
    bool only_pending;
};
bool request_check_restart(const struct request_filter *filter, const char *role,
                           int32_t server_version, bool is_restart_pending);

#endif
