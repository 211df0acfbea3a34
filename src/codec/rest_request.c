/* Bodies of requests: contract/rest.md section 7. The sentences are wire literals. */
#include <string.h>
#include <strings.h>

#include "json_value.h"

#include "pgheir/base/clock.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/rest_json.h"

enum { BODY_BYTES_MAX = 1024 * 1024, BAD_REQUEST = 400, FAILED_CHECK = 412, UNPROCESSABLE = 422 };

enum rc rest_json_body_read(const char *text, size_t length, bool may_be_empty, json_t **ret,
                            struct err *err)
{
    char problem[JSON_VALUE_PROBLEM_SIZE];
    json_t *body;

    if (length == 0 && may_be_empty) {
        *ret = json_object();
        pgh_assert(*ret != NULL);
        return RC_OK;
    }
    if (length > BODY_BYTES_MAX)
        return err_set(err, RC_INVALID, "the body is larger than 1 MiB");
    body = json_value_read(text, length, problem, sizeof(problem));
    if (body == NULL)
        return err_set(err, RC_INVALID, "the body is %s", problem);
    if (!json_is_object(body) || (json_object_size(body) == 0 && !may_be_empty)) {
        json_decref(body);
        return err_set(err, RC_INVALID, "expected a JSON object that is not empty");
    }
    *ret = body;
    return RC_OK;
}

static int refuse(struct err *err, int status, const char *text)
{
    (void)err_set(err, RC_INVALID, "%s", text);
    return status;
}

/* A name of a member: absent, null and "" are none. Anything else must be a text that fits. */
static int take_name(const json_t *body, const char *key, char out[static NAME_SIZE],
                     struct err *err)
{
    const json_t *value = json_object_get(body, key);

    if (value == NULL || json_is_null(value) || json_string_length(value) == 0)
        out[0] = '\0';
    else if (!str_copy(out, NAME_SIZE, json_string_value(value)))
        return refuse(err, BAD_REQUEST, "a member's name has at most 127 bytes");
    if (value != NULL && !json_is_null(value) && !json_is_string(value)) {
        (void)err_set(err, RC_INVALID, "%s: expected the name of a member", key);
        return BAD_REQUEST;
    }
    return 0;
}

/* A point in the future with its zone. */
static int take_schedule(const json_t *value, const char *action, int64_t now_wall_ms,
                         char *out_text, size_t out_size, int64_t *ret_wall_ms, struct err *err)
{
    const char *text = json_string_value(value);
    int64_t wall_ms = 0;
    int has_zone = 0;

    if (text == NULL || clock_iso_parse(text, &wall_ms, &has_zone) != 0 ||
        !str_copy(out_text, out_size, text))
        return refuse(err, UNPROCESSABLE,
                      "Unable to parse scheduled timestamp. It should be in an unambiguous format, "
                      "e.g. ISO 8601");
    if (has_zone == 0) {
        (void)err_set(err, RC_INVALID, "Timezone information is mandatory for the scheduled %s",
                      action);
        return BAD_REQUEST;
    }
    if (wall_ms < now_wall_ms) {
        (void)err_set(err, RC_INVALID, "Cannot schedule %s in the past", action);
        return UNPROCESSABLE;
    }
    *ret_wall_ms = wall_ms;
    return 0;
}

/* Absent, null, "" and false ask for nothing. */
static bool is_given(const json_t *value)
{
    return value != NULL && !json_is_null(value) && !json_is_false(value) &&
           !(json_is_string(value) && json_string_length(value) == 0);
}

int rest_json_switchover_read(const json_t *body, bool is_failover, bool is_paused,
                              int64_t now_wall_ms, struct rest_switchover *ret,
                              bool *ret_is_failover, struct err *err)
{
    const char *action = is_failover ? "failover" : "switchover";
    const json_t *scheduled = json_object_get(body, "scheduled_at");
    struct rest_switchover request = {0};
    int status = take_name(body, "leader", request.leader, err);

    if (status == 0)
        status = take_name(body, "candidate", request.candidate, err);
    if (status == 0 && request.candidate[0] == '\0')
        status = take_name(body, "member", request.candidate, err);
    if (status != 0)
        return status;
    if (is_failover && request.candidate[0] == '\0')
        return refuse(err, BAD_REQUEST,
                      "Failover could be performed only to a specific candidate");
    if (!is_failover && request.leader[0] == '\0')
        return refuse(err, BAD_REQUEST,
                      "Switchover could be performed only from a specific leader");
    if (is_given(scheduled)) {
        if (is_failover)
            return refuse(err, BAD_REQUEST, "Failover can't be scheduled");
        if (is_paused)
            return refuse(err, BAD_REQUEST, "Can't schedule switchover in the paused state");
        status = take_schedule(scheduled, action, now_wall_ms, request.scheduled_at,
                               sizeof(request.scheduled_at), &request.scheduled_at_wall_ms, err);
        if (status != 0)
            return status;
    }
    if (is_paused && request.candidate[0] == '\0')
        return refuse(err, BAD_REQUEST,
                      "Switchover is possible only to a specific candidate in a paused state");
    if (str_equal(request.leader, request.candidate))
        return refuse(err, BAD_REQUEST, "Switchover target and source are the same");
    *ret = request;
    /* Whoever names the leader means a switchover. */
    *ret_is_failover = is_failover && request.leader[0] == '\0';
    return 0;
}

/* ---- Who could take over ---- */

static bool is_in_sync(const struct view *view, const char *name)
{
    for (int32_t i = 0; i < view->sync_count; i++)
        if (strcasecmp(view->sync_standby[i], name) == 0)
            return true;
    return false;
}

static bool may_be_asked(const struct view *view, const struct rest_switchover *request,
                         bool is_sync, const struct member *member)
{
    if (request->candidate[0] != '\0')
        return str_equal(member->name, request->candidate);
    if (is_sync)
        return is_in_sync(view, member->name);
    return !view->leader_present ||
           (!str_equal(member->name, view->leader_name) && member->api_url[0] != '\0');
}

int rest_json_switchover_check(const struct rest_switchover *request, bool is_failover,
                               const struct view *view, const char **ret_names, int *ret_count,
                               struct err *err)
{
    const char *action = is_failover ? "failover" : "switchover";
    bool is_sync = view->sync_present && !view->sync_is_quorum;
    int count = 0;

    *ret_count = 0;
    if (request->leader[0] != '\0' &&
        (!view->leader_present || !str_equal(view->leader_name, request->leader)))
        return refuse(err, FAILED_CHECK, "leader name does not match");
    if (request->candidate[0] != '\0' && !is_failover && is_sync &&
        !is_in_sync(view, request->candidate))
        return refuse(err, FAILED_CHECK, "candidate name does not match with sync_standby");
    for (int32_t i = 0; i < view->member_count; i++)
        if (may_be_asked(view, request, is_sync, &view->members[i]))
            ret_names[count++] = view->members[i].name;
    *ret_count = count;
    if (count > 0)
        return 0;
    if (request->candidate[0] != '\0')
        return refuse(err, FAILED_CHECK, "candidate does not exists");
    (void)err_set(err, RC_INVALID, "%s is not possible: %s", action,
                  is_sync ? "can not find sync_standby"
                          : "cluster does not have members except leader");
    return FAILED_CHECK;
}

/* ---- POST /restart ---- */

/* X.Y from 10 on, X.Y.Z before. */
static bool is_version(const char *text)
{
    int parts = 0;
    int64_t major = 0;

    for (const char *at = text;; at++) {
        size_t length = strspn(at, "0123456789");

        if (length == 0 || length > 3)
            return false;
        for (size_t i = 0; parts == 0 && i < length; i++)
            major = major * 10 + (at[i] - '0');
        parts++;
        at += length;
        if (*at == '\0')
            break;
        if (*at != '.')
            return false;
    }
    return major >= 10 ? parts == 2 : parts == 3;
}

static int take_restart_field(const char *key, const json_t *value, int64_t now_wall_ms,
                              struct rest_restart *ret, struct err *err)
{
    const char *text = json_string_value(value);

    if (str_equal(key, "schedule"))
        return take_schedule(value, "restart", now_wall_ms, ret->schedule, sizeof(ret->schedule),
                             &ret->schedule_wall_ms, err);
    if (str_equal(key, "role")) {
        if ((!str_equal(text, "primary") && !str_equal(text, "standby_leader") &&
             !str_equal(text, "replica")) ||
            !str_copy(ret->role, sizeof(ret->role), text))
            return refuse(err, BAD_REQUEST,
                          "PostgreSQL role should be either primary, standby_leader, or replica");
        return 0;
    }
    if (str_equal(key, "postgres_version")) {
        if (text == NULL || !is_version(text) ||
            !str_copy(ret->postgres_version, sizeof(ret->postgres_version), text))
            return refuse(err, BAD_REQUEST,
                          "Invalid PostgreSQL version format: X.Y or X.Y.Z is accepted");
        return 0;
    }
    if (str_equal(key, "timeout")) {
        if (!policy_json_span_ms(value, &ret->timeout_ms) || ret->timeout_ms <= 0)
            return refuse(err, BAD_REQUEST, "Timeout should be a positive number of seconds");
        return 0;
    }
    if (str_equal(key, "restart_pending")) {
        ret->restart_pending = true; /* its presence counts, whatever the value */
        return 0;
    }
    (void)err_set(err, RC_INVALID, "Unknown filter for the scheduled restart: %.200s", key);
    return BAD_REQUEST;
}

int rest_json_restart_read(const json_t *body, bool is_paused, int64_t now_wall_ms,
                           struct rest_restart *ret, struct err *err)
{
    struct rest_restart request = {0};
    const char *key;
    json_t *value;

    if (is_paused && json_object_get(body, "schedule") != NULL)
        return refuse(err, 500, "Can't schedule restart in the paused state");
    json_object_foreach((json_t *)(uintptr_t)body, key, value) {
        int status = take_restart_field(key, value, now_wall_ms, &request, err);

        if (status != 0)
            return status;
    }
    *ret = request;
    return 0;
}

/* ---- POST /reinitialize ---- */

int rest_json_reinit_read(const json_t *body, struct rest_reinit *ret, struct err *err)
{
    struct rest_reinit request = {0};
    const json_t *force = json_object_get(body, "force");
    const json_t *from_leader = json_object_get(body, "from_leader");

    /* A word that cannot be read must not decide whether data is removed by force. */
    if (is_given(force) && !policy_json_bool(force, &request.force))
        return refuse(err, BAD_REQUEST, "force: expected true or false");
    if (is_given(from_leader) && !policy_json_bool(from_leader, &request.from_leader))
        return refuse(err, BAD_REQUEST, "from_leader: expected true or false");
    *ret = request;
    return 0;
}
