/* Settings of PostgreSQL in force: contract/config.md sections 1 and 6. */
#include <string.h>

#include "conf_private.h"

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"

enum { SETTING_NAME_SIZE = 128, SETTING_TEXT_MAX = 65536, WAL_SEGMENT_MB = 16 };

enum controlled_kind { CONTROLLED_INT, CONTROLLED_BOOL, CONTROLLED_WAL_LEVEL, CONTROLLED_ON };

/* Table 1: what all members must agree on, so etcd alone says it. */
static const struct controlled {
    const char *name;
    enum controlled_kind kind;
    const char *default_text;
    int64_t min;
} controlled[] = {
    {"hot_standby", CONTROLLED_ON, "on", 0},
    {"max_connections", CONTROLLED_INT, "100", 25},
    {"max_locks_per_transaction", CONTROLLED_INT, "64", 32},
    {"max_prepared_transactions", CONTROLLED_INT, "0", 0},
    {"max_replication_slots", CONTROLLED_INT, "10", 4},
    {"max_wal_senders", CONTROLLED_INT, "10", 3},
    {"max_worker_processes", CONTROLLED_INT, "8", 2},
    {"track_commit_timestamp", CONTROLLED_BOOL, "off", 0},
    {"wal_level", CONTROLLED_WAL_LEVEL, "replica", 0},
    {"wal_log_hints", CONTROLLED_BOOL, "on", 0},
};

static const char *const never_from_parameters[] = {"listen_addresses", "port", "cluster_name"};

static const char *const recovery_names[] = {
    "archive_cleanup_command",  "primary_conninfo",         "primary_slot_name",
    "promote_trigger_file",     "recovery_end_command",     "recovery_min_apply_delay",
    "recovery_target",          "recovery_target_action",   "recovery_target_inclusive",
    "recovery_target_lsn",      "recovery_target_name",     "recovery_target_time",
    "recovery_target_timeline", "recovery_target_xid",      "restore_command",
    "standby_mode",             "trigger_file",
};

static bool is_one_of(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_equal(name, names[i]))
            return true;
    return false;
}

static const struct controlled *controlled_find(const char *name)
{
    for (size_t i = 0; i < PGH_COUNT(controlled); i++)
        if (str_equal(controlled[i].name, name))
            return &controlled[i];
    return NULL;
}

/* Lower case, as PostgreSQL compares names. false if it cannot be a setting. */
static bool name_fold(const char *name, char out[static SETTING_NAME_SIZE])
{
    if (!str_copy(out, SETTING_NAME_SIZE, name) || !pg_text_is_setting_name(name))
        return false;
    for (char *at = out; *at != '\0'; at++)
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    return true;
}

/* places NULL: the dynamic configuration. */
static void settings_warn(struct conf_report *report, const struct conf_places *places,
                          const char *name, const char *text)
{
    char key[CONF_PATH_SIZE];

    if (!str_format(key, sizeof(key), "postgresql.parameters.%s", name))
        key[0] = '\0';
    conf_report_at(report, places, CONF_WARNING, key, "%s", text);
}

/* ---- Controlled ones ---- */

static bool controlled_accept(const struct controlled *setting, const json_t *value,
                              json_t **ret_text)
{
    int64_t number = 0;
    bool is_on = false;
    const char *word = json_string_value(value);

    switch (setting->kind) {
    case CONTROLLED_INT: {
        struct buf text;

        if (!policy_json_int(value, &number) || number < setting->min || number > INT32_MAX)
            return false;
        buf_init(&text, 32);
        (void)buf_printf(&text, "%lld", (long long)number);
        *ret_text = json_string(buf_text(&text));
        buf_done(&text);
        return true;
    }
    case CONTROLLED_BOOL:
    case CONTROLLED_ON:
        if (!policy_json_bool(value, &is_on) || (setting->kind == CONTROLLED_ON && !is_on))
            return false;
        *ret_text = json_string(is_on ? "on" : "off");
        return true;
    case CONTROLLED_WAL_LEVEL:
        if (str_equal_nocase(word, "logical"))
            *ret_text = json_string("logical");
        else if (str_equal_nocase(word, "replica") || str_equal_nocase(word, "hot_standby"))
            *ret_text = json_string("replica");
        else
            return false;
        return true;
    }
    return false;
}

/* wal_keep_size, also from the number of segments that files for older servers give. */
static bool wal_keep_accept(const char *name, const json_t *value, json_t **ret_text)
{
    int64_t megabytes = 0;
    struct buf text;

    if (str_equal(name, "wal_keep_segments")) {
        if (!policy_json_int(value, &megabytes) || megabytes < 1 || megabytes > INT32_MAX)
            return false;
        megabytes *= WAL_SEGMENT_MB;
    } else if (policy_json_int(value, &megabytes)) {
        /* a bare number counts megabytes */
    } else if (policy_json_bytes(value, &megabytes)) {
        megabytes /= 1024 * 1024;
    } else {
        return false;
    }
    if (megabytes < WAL_SEGMENT_MB || megabytes > INT32_MAX)
        return false;
    buf_init(&text, 32);
    (void)buf_printf(&text, "%lldMB", (long long)megabytes);
    *ret_text = json_string(buf_text(&text));
    buf_done(&text);
    return true;
}

static bool is_wal_keep(const char *name)
{
    return str_equal(name, "wal_keep_size") || str_equal(name, "wal_keep_segments");
}

static void settings_defaults(json_t *settings)
{
    for (size_t i = 0; i < PGH_COUNT(controlled); i++)
        (void)json_object_set_new(settings, controlled[i].name,
                                  json_string(controlled[i].default_text));
    (void)json_object_set_new(settings, "wal_keep_size", json_string("128MB"));
}

/* ---- Layers ---- */

enum layer { LAYER_DYNAMIC, LAYER_LOCAL, LAYER_ROLE };

static void put_controlled(struct conf_settings *ret, const char *name, const json_t *value,
                           enum layer layer, const struct conf_places *places,
                           struct conf_report *report)
{
    const struct controlled *setting = controlled_find(name);
    json_t *text = NULL;
    bool is_good;

    if (layer != LAYER_DYNAMIC) {
        settings_warn(report, places, name,
                      "all members must agree on it: it counts only in etcd (bootstrap.dcs or "
                      "pgheirctl edit-config); here it is ignored");
        return;
    }
    is_good = setting != NULL ? controlled_accept(setting, value, &text)
                              : wal_keep_accept(name, value, &text);
    if (!is_good) {
        settings_warn(report, places, name, "this value is not possible: the default counts");
        return;
    }
    (void)json_object_set_new(ret->settings, setting != NULL ? name : "wal_keep_size", text);
}

static void put_setting(struct conf_settings *ret, const char *given_name, const json_t *value,
                        enum layer layer, const struct conf_places *places,
                           struct conf_report *report)
{
    char name[SETTING_NAME_SIZE];
    struct buf text;
    json_t *target = ret->settings;

    if (!name_fold(given_name, name)) {
        settings_warn(report, places, given_name, "not the name of a setting: ignored");
        return;
    }
    if (is_one_of(name, never_from_parameters, PGH_COUNT(never_from_parameters))) {
        settings_warn(report, places, name,
                      "comes from postgresql.listen or scope: here it is ignored");
        return;
    }
    if (controlled_find(name) != NULL || is_wal_keep(name)) {
        put_controlled(ret, name, value, layer, places, report);
        return;
    }
    if (is_one_of(name, recovery_names, PGH_COUNT(recovery_names)))
        target = ret->recovery;
    if (json_is_null(value))
        return;
    buf_init(&text, SETTING_TEXT_MAX);
    if (policy_json_text(value, &text))
        (void)json_object_set_new(target, name, json_string(buf_text(&text)));
    else
        settings_warn(report, places, name, "expected a text, a number or a switch: ignored");
    buf_done(&text);
}

static void put_layer(struct conf_settings *ret, const json_t *parameters, enum layer layer,
                      const struct conf_places *places, struct conf_report *report)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)parameters, name, value)
        put_setting(ret, name, value, layer, places, report);
}

/* recovery_conf of a follower: what decides whom it follows is not the user's. */
static void put_recovery(struct conf_settings *ret, const json_t *recovery_conf,
                         struct conf_report *report)
{
    const char *given_name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)recovery_conf, given_name, value) {
        char name[SETTING_NAME_SIZE];
        struct buf text;

        buf_init(&text, SETTING_TEXT_MAX);
        if (name_fold(given_name, name) &&
            is_one_of(name, recovery_names, PGH_COUNT(recovery_names)) &&
            policy_json_text(value, &text))
            (void)json_object_set_new(ret->recovery, name, json_string(buf_text(&text)));
        else
            conf_report_add(report, CONF_WARNING, NULL, 0, "postgresql.recovery_conf",
                            "%s: not a recovery setting with a plain value: ignored", given_name);
        buf_done(&text);
    }
}

static void drop_forbidden_recovery(struct conf_settings *ret, struct conf_report *report)
{
    const char *name;
    json_t *value;
    void *next;

    json_object_foreach_safe(ret->recovery, next, name, value) {
        bool is_forbidden = str_starts_with(name, "recovery_target") ||
                            str_equal(name, "primary_conninfo") ||
                            str_equal(name, "primary_slot_name");
        bool is_obsolete = str_equal(name, "standby_mode") || str_equal(name, "trigger_file") ||
                           str_equal(name, "promote_trigger_file");

        if (!is_forbidden && !is_obsolete)
            continue;
        /* The target timeline "latest" is what everybody has anyway. */
        if (!(str_equal(name, "recovery_target_timeline") &&
              str_equal(json_string_value(value), "latest")))
            conf_report_add(report, CONF_WARNING, NULL, 0, "postgresql.recovery_conf",
                            "%s: whom a member follows, and how far, is decided by the cluster: "
                            "ignored",
                            name);
        (void)json_object_del(ret->recovery, name);
    }
}

void conf_settings_build(const struct conf *conf, const json_t *dynamic_parameters,
                         const json_t *local_parameters, const json_t *role_parameters,
                         const json_t *recovery_conf, struct conf_settings *ret,
                         struct conf_report *report)
{
    const struct conf_storage *storage = conf->storage;
    const struct conf_places *places = &storage->places;

    ret->settings = json_object();
    ret->recovery = json_object();
    pgh_assert(ret->settings != NULL);
    pgh_assert(ret->recovery != NULL);
    settings_defaults(ret->settings);
    put_recovery(ret, recovery_conf, report);
    put_layer(ret, dynamic_parameters, LAYER_DYNAMIC, NULL, report);
    put_layer(ret, local_parameters, LAYER_LOCAL, places, report);
    put_layer(ret, role_parameters, LAYER_ROLE, places, report);
    drop_forbidden_recovery(ret, report);
    if (conf->scope != NULL)
        (void)json_object_set_new(ret->settings, "cluster_name", json_string(conf->scope));
}
