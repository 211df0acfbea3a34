/* What another node says of itself: the voting channel of a race (contract/rest.md section 4). */
#include <string.h>

#include "json_value.h"

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/rest_json.h"
#include "pgheir/codec/tags_json.h"

static uint64_t lsn_of(const json_t *value)
{
    int64_t number = 0;

    return policy_json_int(value, &number) && number > 0 ? (uint64_t)number : 0;
}

static bool is_true(const json_t *value)
{
    bool is_on = false;

    return policy_json_bool(value, &is_on) && is_on;
}

/* Positions and role as Patroni's voters read them: a location, or the role, makes a primary. */
static void read_positions(const json_t *document, const json_t *xlog, struct peer_answer *ret)
{
    const char *role = json_string_value(json_object_get(document, "role"));
    uint64_t location = lsn_of(json_object_get(xlog, "location"));
    uint64_t received = lsn_of(json_object_get(xlog, "received_location"));
    uint64_t replayed = lsn_of(json_object_get(xlog, "replayed_location"));

    ret->is_primary =
        location != 0 || pg_role_parse(role) == PG_ROLE_PRIMARY;
    if (ret->is_primary)
        ret->received_lsn = location;
    else
        ret->received_lsn = received > replayed ? received : replayed;
}

static void read_own(const json_t *own, int64_t ttl_ms, struct peer_answer *ret)
{
    int64_t age_ms = -1;

    ret->is_pgheir = json_is_object(own);
    if (!ret->is_pgheir)
        return;
    if (!policy_json_int(json_object_get(own, "fence_left_ms"), &ret->fence_left_ms) ||
        ret->fence_left_ms < -1)
        ret->fence_left_ms = -1;
    if (!policy_json_int(json_object_get(own, "etcd_age_ms"), &age_ms))
        age_ms = -1;
    ret->etcd_silent = age_ms < 0 || age_ms > ttl_ms;
}

static enum rc read_document(const json_t *document, int64_t ttl_ms, struct peer_answer *ret,
                             struct err *err)
{
    const json_t *xlog = json_object_get(document, "wal");
    const char *other =
        json_string_value(json_object_get(json_object_get(document, "patroni"), "name"));
    int64_t timeline = 0;
    struct tags tags;

    if (!json_is_object(document))
        return err_set(err, RC_INVALID, "the status document is not a JSON object");
    /* Two members with the same connect_address, or an address that was given to somebody else:
     * what another says of itself must not be taken for what this one may do. */
    if (other != NULL && !str_equal(other, ret->name))
        return err_set(err, RC_INVALID, "\"%.100s\" answers at its address", other);
    if (!json_is_object(xlog))
        xlog = json_object_get(document, "xlog");
    read_own(json_object_get(document, "pgheir"), ttl_ms, ret);
    /* Patroni counts a document without positions as no answer. One of ours is worth hearing all
     * the same: it tells whether its server may still write. */
    if (!json_is_object(xlog) && !ret->is_pgheir)
        return err_set(err, RC_INVALID, "no positions: PostgreSQL does not run there");
    read_positions(document, xlog, ret);
    if (!json_is_object(xlog) && ret->fence_left_ms > 0)
        ret->is_primary = true;
    ret->reachable = true;
    ret->running = json_is_object(xlog) &&
                   str_equal(json_string_value(json_object_get(document, "state")), "running");
    tags_json_parse(json_object_get(document, "tags"), &tags);
    ret->nofailover = tags.nofailover;
    ret->failover_priority = tags.failover_priority;
    ret->watchdog_failed = is_true(json_object_get(document, "watchdog_failed"));
    if (policy_json_int(json_object_get(document, "timeline"), &timeline) && timeline > 0 &&
        timeline <= UINT32_MAX)
        ret->timeline = (uint32_t)timeline;
    return RC_OK;
}

enum rc rest_json_peer_parse(const char *name, const char *text, size_t length, int64_t ttl_ms,
                             struct peer_answer *ret, struct err *err)
{
    char problem[JSON_VALUE_PROBLEM_SIZE];
    json_t *document = json_value_read(text, length, problem, sizeof(problem));
    struct peer_answer answer = {.fence_left_ms = -1, .failover_priority = 1};
    enum rc rc;

    *ret = answer;
    /* A name that does not fit is nobody's, and the caller's mistake. */
    pgh_assert(str_copy(ret->name, sizeof(ret->name), name));
    if (document == NULL)
        return err_set(err, RC_INVALID, "%s", problem);
    memcpy(answer.name, ret->name, sizeof(answer.name));
    rc = read_document(document, ttl_ms, &answer, err);
    if (rc == RC_OK)
        *ret = answer;
    json_decref(document);
    return rc;
}
