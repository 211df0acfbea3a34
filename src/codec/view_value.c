/* Values of keys as JSON, whoever wrote them: contract/dcs.md sections 5 and 9. */
#include <string.h>

#include "conf_private.h"
#include "json_value.h"
#include "view_private.h"

#include "pgheir/base/clock.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"

enum { TEXT_MAX = 1024 };

/* Plain text by nature. */
static bool is_plain_key(const char *key)
{
    static const char *const keys[] = {"leader", "initialize", "optime/leader"};

    for (size_t i = 0; i < PGH_COUNT(keys); i++)
        if (str_equal(key, keys[i]))
            return true;
    return false;
}

static bool is_known_key(const char *key)
{
    static const char *const keys[] = {"config", "status",   "failover",
                                       "sync",   "history",  "failsafe",
                                       "pgheir/timeline"};

    for (size_t i = 0; i < PGH_COUNT(keys); i++)
        if (str_equal(key, keys[i]))
            return true;
    return str_starts_with(key, "members/");
}

/* postgres://host:port/db?application_name=http://host:8008/patroni, as Governor wrote it. */
static json_t *read_old_member(const char *value)
{
    const char *query = strchr(value, '?');
    const char *api = strstr(value, "application_name=");
    json_t *member = json_object();
    size_t length = query == NULL ? strlen(value) : (size_t)(query - value);

    pgh_assert(member != NULL);
    (void)json_object_set_new(member, "conn_url", json_stringn(value, length));
    if (query != NULL && api != NULL && api > query) {
        api += strlen("application_name=");
        (void)json_object_set_new(member, "api_url", json_stringn(api, strcspn(api, "&")));
    }
    return member;
}

/* leader:candidate, both may be empty. */
static json_t *read_old_failover(const char *value)
{
    const char *colon = strchr(value, ':');
    json_t *failover;

    if (colon == NULL || strlen(value) > TEXT_MAX)
        return NULL;
    failover = json_object();
    pgh_assert(failover != NULL);
    if (colon > value)
        (void)json_object_set_new(failover, "leader",
                                  json_stringn(value, (size_t)(colon - value)));
    if (colon[1] != '\0')
        (void)json_object_set_new(failover, "member", json_string(colon + 1));
    return failover;
}

/* What the key must hold, in words; NULL: anything. */
static const char *expected_kind(const char *key, const json_t *json)
{
    if (str_equal(key, "history"))
        return json_is_array(json) ? NULL : "a list";
    if (str_equal(key, "status"))
        return json_is_object(json) || json_is_integer(json) ? NULL : "an object";
    return json_is_object(json) ? NULL : "an object";
}

/* What the right kind of value may still say wrong. */
static void report_content(const char *key, const json_t *json, struct conf_report *report)
{
    const json_t *scheduled = json_object_get(json, "scheduled_at");
    struct policy policy;
    int64_t wall_ms = 0;
    int has_zone = 0;

    if (str_equal(key, "config")) {
        policy_json_parse(json, &policy, report);
    } else if (str_equal(key, "history") && !view_history_is_good(json)) {
        conf_report_add(report, CONF_WARNING, "etcd", 0, key,
                        "expected rows [timeline, LSN, ...] with growing timelines: the cluster's "
                        "timeline is unknown");
    } else if (str_equal(key, "failover") && scheduled != NULL && !json_is_null(scheduled) &&
               (!json_is_string(scheduled) ||
                clock_iso_parse(json_string_value(scheduled), &wall_ms, &has_zone) != 0)) {
        conf_report_add(report, CONF_WARNING, "etcd", 0, key,
                        "scheduled_at is not an ISO 8601 time: the request is ignored");
    }
}

json_t *view_value_read(const char *key, const char *value, size_t length,
                        struct conf_report *report)
{
    char problem[JSON_VALUE_PROBLEM_SIZE] = "";
    json_t *json;
    const char *expected;

    if (is_plain_key(key) || length > VIEW_VALUE_BYTES_MAX)
        return NULL;
    if (str_starts_with(key, "members/") && str_starts_with(value, "postgres") &&
        strstr(value, "://") != NULL && strlen(value) == length)
        return read_old_member(value);
    json = json_value_read(value, length, problem, sizeof(problem));
    if (json == NULL && str_equal(key, "failover") && strlen(value) == length)
        json = read_old_failover(value);
    if (!is_known_key(key))
        return json;
    if (json == NULL) {
        if (length > 0) /* an empty value is how people switch a key off by hand */
            conf_report_add(report, CONF_WARNING, "etcd", 0, key, "%s: treated as absent",
                            problem);
        return NULL;
    }
    expected = expected_kind(key, json);
    if (expected != NULL) {
        conf_report_add(report, CONF_WARNING, "etcd", 0, key,
                        "expected %s, found %s: treated as absent", expected,
                        conf_type_word(json));
        json_decref(json);
        return NULL;
    }
    report_content(key, json, report);
    return json;
}
