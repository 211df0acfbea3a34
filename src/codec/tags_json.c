#include "pgheir/codec/tags_json.h"

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"

/* What Python takes for true: older members publish whatever their file said. */
static bool is_truthy(const json_t *value)
{
    bool is_on = false;

    if (policy_json_bool(value, &is_on))
        return is_on;
    if (json_is_integer(value))
        return json_integer_value(value) != 0;
    if (json_is_real(value))
        return json_real_value(value) != 0;
    if (json_is_string(value))
        return json_string_length(value) > 0;
    return json_array_size(value) > 0 || json_object_size(value) > 0;
}

/* The switch wins over its priority; without it a priority of 0 or less switches it on. */
static void parse_pair(const json_t *tags, const char *switch_name, const char *priority_name,
                       bool *ret_is_on, int32_t *ret_priority)
{
    const json_t *given = json_object_get(tags, switch_name);
    int64_t priority = 1;

    if (!policy_json_int(json_object_get(tags, priority_name), &priority))
        priority = 1;
    if (priority > INT32_MAX)
        priority = INT32_MAX;
    if (priority < INT32_MIN)
        priority = INT32_MIN;
    *ret_is_on = given != NULL && !json_is_null(given) ? is_truthy(given) : priority <= 0;
    *ret_priority = given != NULL && is_truthy(given) ? 0 : (int32_t)priority;
}

void tags_json_parse(const json_t *tags, struct tags *ret)
{
    const char *from = json_string_value(json_object_get(tags, "replicatefrom"));

    tags_init(ret);
    parse_pair(tags, "nofailover", "failover_priority", &ret->nofailover, &ret->failover_priority);
    parse_pair(tags, "nosync", "sync_priority", &ret->nosync, &ret->sync_priority);
    ret->noloadbalance = is_truthy(json_object_get(tags, "noloadbalance"));
    ret->clonefrom = is_truthy(json_object_get(tags, "clonefrom"));
    ret->nostream = is_truthy(json_object_get(tags, "nostream"));
    /* A name that is too long names nobody. */
    if (from == NULL || !str_copy(ret->replicatefrom, sizeof(ret->replicatefrom), from))
        ret->replicatefrom[0] = '\0';
}

json_t *tags_json_publish(const json_t *configured)
{
    static const char *const switches[] = {"clonefrom", "nofailover", "noloadbalance", "nosync",
                                           "nostream"};
    json_t *published = json_object();
    const char *key;
    json_t *value;

    pgh_assert(published != NULL);
    json_object_foreach((json_t *)(uintptr_t)configured, key, value) {
        bool is_switch = false;

        for (size_t i = 0; i < PGH_COUNT(switches); i++)
            is_switch = is_switch || str_equal(key, switches[i]);
        if (is_switch && !is_truthy(value) &&
            !(str_equal(key, "nofailover") &&
              json_object_get(configured, "failover_priority") != NULL) &&
            !(str_equal(key, "nosync") && json_object_get(configured, "sync_priority") != NULL))
            continue;
        (void)json_object_set_new(published, key, json_deep_copy(value));
    }
    return published;
}
