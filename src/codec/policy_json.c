#include "pgheir/codec/policy_json.h"

#include <string.h>

#include "conf_private.h"
#include "json_value.h"

#include "pgheir/base/str.h"

enum { PATH_SIZE = 256 };

enum rc policy_json_read(const char *text, size_t length, json_t **ret, struct err *err)
{
    char problem[JSON_VALUE_PROBLEM_SIZE];
    json_t *value;

    if (length > POLICY_JSON_BYTES_MAX)
        return err_set(err, RC_INVALID, "larger than 1 MiB");
    value = json_value_read(text, length, problem, sizeof(problem));
    if (value == NULL)
        return err_set(err, RC_INVALID, "%s", problem);
    if (!json_is_object(value)) {
        (void)err_set(err, RC_INVALID, "expected a JSON object, found %s", conf_type_word(value));
        json_decref(value);
        return RC_INVALID;
    }
    *ret = value;
    return RC_OK;
}

/* ---- Meaning ---- */

/* Old name used only where the new one is absent. */
static const char *old_name_of(const char *path)
{
    if (str_equal(path, "primary_start_timeout"))
        return "master_start_timeout";
    if (str_equal(path, "primary_stop_timeout"))
        return "master_stop_timeout";
    return NULL;
}

static void parse_option(const struct conf_option *option, const json_t *config,
                         struct policy *ret, struct conf_report *report)
{
    const json_t *value = conf_tree_get(config, option->path);
    struct policy before = *ret;

    if (value == NULL && old_name_of(option->path) != NULL)
        value = conf_tree_get(config, old_name_of(option->path));
    if (value == NULL)
        return;
    if (!conf_option_take(option, value, ret, NULL, NULL, CONF_WARNING, report))
        *ret = before;
}

static void parse_switch(const json_t *section, const char *key, bool *ret)
{
    const json_t *value = json_object_get(section, key);

    /* A wrong one is reported where the section postgresql is merged. */
    if (value != NULL)
        (void)policy_json_bool(value, ret);
}

/* Is an option switched on by this value? null, false, off, 0, "" and {} are off. */
static bool is_switched_on(const json_t *value)
{
    bool is_on = true;

    if (value == NULL || json_is_null(value))
        return false;
    if (policy_json_bool(value, &is_on))
        return is_on;
    if (json_is_object(value) || json_is_array(value))
        return json_object_size(value) + json_array_size(value) > 0;
    return !json_is_string(value) || json_string_length(value) > 0;
}

/* Keys without a meaning here. Those that Patroni gives one are told apart. */
static void report_keys(const json_t *config, struct conf_report *report)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)config, key, value) {
        const struct conf_option *option = conf_option_find(key);

        if (str_equal(key, "postgresql"))
            continue;
        if (option == NULL || option->scope == CONF_LOCAL)
            conf_report_at(report, NULL, CONF_WARNING, key,
                           "unknown key: it is kept and has no effect");
        else if (option->effect == CONF_INERT && is_switched_on(value))
            conf_report_at(report, NULL, CONF_WARNING, key, "has no effect here: %s",
                           option->sentence);
        else if (option->effect == CONF_UNAVAILABLE && is_switched_on(value))
            conf_report_at(report, NULL, CONF_WARNING, key,
                           "not available in this version of pgheir, and IGNORED: %s",
                           option->sentence);
    }
}

void policy_json_parse(const json_t *config, struct policy *ret, struct conf_report *report)
{
    const json_t *section = json_object_get(config, "postgresql");
    size_t count = 0;
    const struct conf_option *options = conf_options(&count);

    policy_init(ret);
    for (size_t i = 0; i < count; i++)
        if (options[i].part == CONF_PART_POLICY)
            parse_option(&options[i], config, ret, report);
    parse_switch(section, "use_slots", &ret->use_slots);
    parse_switch(section, "use_pg_rewind", &ret->use_pg_rewind);
    parse_switch(section, "remove_data_directory_on_rewind_failure",
                 &ret->remove_data_directory_on_rewind_failure);
    parse_switch(section, "remove_data_directory_on_diverged_timelines",
                 &ret->remove_data_directory_on_diverged_timelines);
    if (report != NULL)
        report_keys(config, report);
}

/* ---- The check of what people write ---- */

static void check_option(const struct conf_option *option, const json_t *value,
                         struct conf_report *report)
{
    struct conf_storage *storage = conf_storage_new();
    struct conf_report found;

    conf_report_init(&found);
    if (!conf_option_take(option, value, NULL, storage, NULL, CONF_ERROR, &found)) {
        for (int i = 0; i < found.count; i++)
            conf_report_at(report, NULL, CONF_ERROR, option->path, "%s", found.messages[i].text);
        if (found.count == 0)
            conf_report_at(report, NULL, CONF_ERROR, option->path, "not possible");
    } else if (option->effect == CONF_UNAVAILABLE && is_switched_on(value)) {
        conf_report_at(report, NULL, CONF_ERROR, option->path,
                       "not available in this version of pgheir");
    }
    conf_report_done(&found);
    conf_storage_free(storage);
}

/* What all members must agree on has a range of its own. */
static void check_parameters(const json_t *parameters, struct conf_report *report)
{
    struct conf none = {.storage = conf_storage_new()};
    struct conf_settings built;
    struct conf_report found;
    json_t *given = json_object();
    const char *name;
    json_t *value;

    conf_report_init(&found);
    pgh_assert(given != NULL);
    json_object_foreach((json_t *)(uintptr_t)parameters, name, value)
        /* null removes, whatever the setting; the three others are stored and ignored, as by
         * Patroni. */
        if (!json_is_null(value) && !str_equal_nocase(name, "listen_addresses") &&
            !str_equal_nocase(name, "port") && !str_equal_nocase(name, "cluster_name"))
            (void)json_object_set(given, name, value);
    conf_settings_build(&none, given, NULL, NULL, NULL, &built, &found);
    for (int i = 0; i < found.count; i++)
        if (str_starts_with(found.messages[i].key, "postgresql.parameters."))
            conf_report_at(report, NULL, CONF_ERROR, found.messages[i].key, "%s",
                           found.messages[i].text);
    json_decref(built.settings);
    json_decref(built.recovery);
    json_decref(given);
    conf_report_done(&found);
    conf_storage_free(none.storage);
}

static void check_postgresql(const json_t *section, struct conf_report *report)
{
    const char *key;
    json_t *value;

    if (!json_is_object(section)) {
        conf_report_at(report, NULL, CONF_ERROR, "postgresql",
                       "expected an object (key: value), found %s", conf_type_word(section));
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)section, key, value) {
        char path[PATH_SIZE];
        const struct conf_option *option = NULL;

        if (str_format(path, sizeof(path), "postgresql.%s", key))
            option = conf_option_find(path);
        /* Local ones are stored and ignored, as by Patroni. */
        if (option == NULL || option->scope == CONF_LOCAL || json_is_null(value))
            continue;
        check_option(option, value, report);
        if (str_equal(key, "parameters") && json_is_object(value))
            check_parameters(value, report);
    }
}

void policy_json_report(const json_t *patch, struct conf_report *report)
{
    const char *key;
    json_t *value;

    if (!json_is_object(patch)) {
        conf_report_at(report, NULL, CONF_ERROR, NULL, "expected a JSON object, found %s",
                       conf_type_word(patch));
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)patch, key, value) {
        const struct conf_option *option = conf_option_find(key);

        if (json_is_null(value))
            continue;
        if (str_equal(key, "postgresql"))
            check_postgresql(value, report);
        else if (option != NULL && option->scope == CONF_DYNAMIC)
            check_option(option, value, report);
    }
}

enum rc policy_json_check(const json_t *patch, struct err *err)
{
    struct conf_report report;
    enum rc rc = RC_OK;

    conf_report_init(&report);
    policy_json_report(patch, &report);
    if (report.count > 0) {
        const struct conf_message *first = &report.messages[0];

        rc = err_set(err, RC_INVALID, "%s%s%s", first->key, first->key[0] == '\0' ? "" : ": ",
                     first->text);
    }
    conf_report_done(&report);
    return rc;
}

/* ---- Merge ---- */

static bool is_same_text(const json_t *a, const json_t *b)
{
    struct buf of_a;
    struct buf of_b;
    bool is_same;

    buf_init(&of_a, POLICY_JSON_BYTES_MAX);
    buf_init(&of_b, POLICY_JSON_BYTES_MAX);
    is_same = policy_json_text(a, &of_a) && policy_json_text(b, &of_b) &&
              strcmp(buf_text(&of_a), buf_text(&of_b)) == 0;
    buf_done(&of_a);
    buf_done(&of_b);
    return is_same;
}

static bool is_equal(const json_t *a, const json_t *b, int depth)
{
    const char *key;
    json_t *value;
    size_t idx;

    if (depth > JSON_VALUE_DEPTH_MAX)
        return json_equal(a, b);
    if (json_is_object(a) && json_is_object(b)) {
        if (json_object_size(a) != json_object_size(b))
            return false;
        json_object_foreach((json_t *)(uintptr_t)a, key, value) {
            const json_t *other = json_object_get(b, key);

            if (other == NULL || !is_equal(value, other, depth + 1))
                return false;
        }
        return true;
    }
    if (json_is_array(a) && json_is_array(b)) {
        if (json_array_size(a) != json_array_size(b))
            return false;
        json_array_foreach(a, idx, value)
            if (!is_equal(value, json_array_get(b, idx), depth + 1))
                return false;
        return true;
    }
    if (json_is_null(a) || json_is_null(b))
        return json_is_null(a) && json_is_null(b);
    return is_same_text(a, b);
}

bool policy_json_equal(const json_t *a, const json_t *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return is_equal(a, b, 0);
}

/* A patch that becomes a part as a whole: its nulls remove nothing and must not be stored. */
static json_t *copy_without_null(const json_t *value, int depth)
{
    json_t *copy;
    const char *key;
    json_t *child;

    if (!json_is_object(value) || depth > JSON_VALUE_DEPTH_MAX)
        return json_deep_copy(value);
    copy = json_object();
    pgh_assert(copy != NULL);
    json_object_foreach((json_t *)(uintptr_t)value, key, child)
        if (!json_is_null(child))
            (void)json_object_set_new(copy, key, copy_without_null(child, depth + 1));
    return copy;
}

static bool merge_into(json_t *config, const json_t *patch, int depth)
{
    bool is_changed = false;
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)patch, key, value) {
        json_t *old = json_object_get(config, key);

        if (json_is_null(value)) {
            is_changed = (old != NULL && json_object_del(config, key) == 0) || is_changed;
        } else if (json_is_object(value) && json_is_object(old) && depth < JSON_VALUE_DEPTH_MAX) {
            is_changed = merge_into(old, value, depth + 1) || is_changed;
        } else if (old == NULL || !policy_json_equal(old, value)) {
            (void)json_object_set_new(config, key, copy_without_null(value, depth));
            is_changed = true;
        }
    }
    return is_changed;
}

json_t *policy_json_merge(const json_t *config, const json_t *patch, bool *ret_changed)
{
    json_t *merged = json_is_object(config) ? json_deep_copy(config) : json_object();

    pgh_assert(merged != NULL);
    *ret_changed = merge_into(merged, patch, 0);
    return merged;
}
