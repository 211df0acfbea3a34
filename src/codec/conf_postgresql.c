/* The section postgresql in force: dynamic configuration, local file over it, role over both. */
#include <stdlib.h>
#include <string.h>

#include "conf_private.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"

enum { KEY_SIZE = 64 };

static const size_t prefix_length = sizeof("postgresql.") - 1;

static const char *const local_only[] = {"connect_address", "proxy_address", "listen",
                                         "config_dir",      "data_dir",      "pgpass",
                                         "authentication"};

/* What drives one fill. */
struct fill {
    const struct conf *conf;
    struct conf_postgresql *ret;
    struct conf_storage *storage;
    const json_t *local;   /* section of the file, or NULL */
    const json_t *dynamic; /* section of the key config, or NULL */
    enum conf_severity severity;
    struct conf_report *report;
};

/* Dynamic keys, then local ones over them, whole values. */
static json_t *merge_section(const json_t *dynamic, const json_t *local)
{
    json_t *section = json_object();
    const char *key;
    json_t *value;

    pgh_assert(section != NULL);
    json_object_foreach((json_t *)(uintptr_t)dynamic, key, value) {
        bool is_local_only = false;

        for (size_t i = 0; i < PGH_COUNT(local_only); i++)
            is_local_only = is_local_only || str_equal(key, local_only[i]);
        if (!is_local_only && !json_is_null(value))
            (void)json_object_set(section, key, value);
    }
    json_object_foreach((json_t *)(uintptr_t)local, key, value)
        if (!str_equal(key, "use_slots") && !json_is_null(value))
            (void)json_object_set(section, key, value);
    return section;
}

/* The local value is told of with the file's line; a dynamic one is always just a warning. */
static bool is_local_value(const struct fill *fill, const char *path)
{
    return conf_tree_get(fill->local, path + prefix_length) != NULL;
}

static void fill_options(struct fill *fill)
{
    const struct conf_storage *of_conf = fill->conf->storage;
    size_t count = 0;
    const struct conf_option *options = conf_options(&count);

    for (size_t i = 0; i < count; i++) {
        const struct conf_option *option = &options[i];
        const json_t *value;
        bool is_local;
        bool is_good;

        if (!str_starts_with(option->path, "postgresql."))
            continue;
        value = conf_tree_get(fill->ret->section, option->path + prefix_length);
        conf_option_take_default(option, fill->ret, fill->storage);
        if (value == NULL)
            continue;
        is_local = is_local_value(fill, option->path);
        /* Local values have been checked, and reported, with the whole file. */
        is_good = conf_option_take(option, value, fill->ret, fill->storage,
                                   is_local ? &of_conf->places : NULL, CONF_WARNING,
                                   is_local ? NULL : fill->report);
        if (!is_good)
            conf_option_take_default(option, fill->ret, fill->storage);
    }
}

/* ---- Where it listens ---- */

static bool is_single_host(const char *hosts)
{
    return hosts[0] != '\0' && strchr(hosts, ',') == NULL && !str_equal(hosts, "*") &&
           !str_equal(hosts, "0.0.0.0") && !str_equal(hosts, "::");
}

static void fill_listen(struct fill *fill)
{
    const struct conf_storage *of_conf = fill->conf->storage;
    const char *listen = json_string_value(json_object_get(fill->ret->section, "listen"));
    const char *colon = listen == NULL ? NULL : strrchr(listen, ':');
    int64_t port = 5432;
    size_t length;
    char *hosts;

    if (listen == NULL)
        return;
    /* Without a colon, or with the last one inside of brackets, the port is the usual one. */
    length = strlen(listen);
    if (colon != NULL && strchr(colon, ']') == NULL) {
        if (!str_parse_int64(colon + 1, &port) || port < 1 || port > 65535) {
            conf_report_at(fill->report, &of_conf->places, fill->severity, "postgresql.listen",
                           "expected hosts:port, such as 127.0.0.1,10.0.0.1:5432, found \"%s\"",
                           listen);
            return;
        }
        length = (size_t)(colon - listen);
    }
    hosts = conf_storage_alloc(fill->storage, length + 1, 1);
    /* PostgreSQL wants IPv6 addresses without brackets. */
    for (size_t i = 0; i < length; i++)
        if (listen[i] != '[' && listen[i] != ']')
            hosts[strlen(hosts)] = listen[i];
    fill->ret->listen_addresses = hosts;
    fill->ret->port = (int)port;
    if (fill->ret->connect_address.port == 0 && is_single_host(hosts) &&
        str_copy(fill->ret->connect_address.host, sizeof(fill->ret->connect_address.host), hosts))
        fill->ret->connect_address.port = (int)port;
}

/* ---- Roles ---- */

static const char *const role_options[] = {
    "sslmode",   "sslcert",    "sslkey",          "sslpassword",   "sslrootcert", "sslcrl",
    "sslcrldir", "gssencmode", "channel_binding", "sslnegotiation"};

static void fill_role(struct fill *fill, const char *name, struct conf_role *role)
{
    const json_t *section =
        json_object_get(json_object_get(fill->ret->section, "authentication"), name);
    struct pg_text_pair *pairs =
        conf_storage_alloc(fill->storage, PGH_COUNT(role_options), sizeof(*pairs));

    for (size_t i = 0; i < PGH_COUNT(role_options); i++) {
        const char *value = json_string_value(json_object_get(section, role_options[i]));

        if (str_is_empty(value))
            continue;
        pairs[role->options_count].name = role_options[i];
        pairs[role->options_count].value = conf_storage_text(fill->storage, value);
        role->options_count++;
    }
    role->options = role->options_count == 0 ? NULL : pairs;
}

static void fill_roles(struct fill *fill)
{
    struct conf_postgresql *ret = fill->ret;

    fill_role(fill, "superuser", &ret->superuser);
    fill_role(fill, "replication", &ret->replication);
    fill_role(fill, "rewind", &ret->rewind);
    if (ret->rewind.username == NULL)
        ret->rewind = ret->superuser;
}

/* ---- Settings ---- */

static int compare_pairs(const void *a, const void *b)
{
    const struct pg_text_pair *left = a;
    const struct pg_text_pair *right = b;

    return strcmp(left->name, right->name);
}

/* Sorted pairs of an object of texts. */
static const struct pg_text_pair *pairs_of(struct conf_storage *storage, const json_t *object,
                                           size_t *ret_count)
{
    struct pg_text_pair *pairs =
        conf_storage_alloc(storage, json_object_size(object), sizeof(*pairs));
    size_t count = 0;
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, name, value) {
        pairs[count].name = conf_storage_text(storage, name);
        pairs[count].value = conf_storage_text(storage, json_string_value(value));
        count++;
    }
    if (count > 1)
        qsort(pairs, count, sizeof(*pairs), compare_pairs);
    *ret_count = count;
    return pairs;
}

static const json_t *object_or_null(struct fill *fill, const json_t *section, const char *key)
{
    const json_t *value = json_object_get(section, key);

    if (value == NULL || json_is_null(value) || json_is_object(value))
        return json_is_object(value) ? value : NULL;
    if (section == fill->dynamic) /* a local one has been reported with the options */
        conf_report_at(fill->report, NULL, CONF_WARNING, key,
                       "expected an object (name: value), found %s: ignored",
                       conf_type_word(value));
    return NULL;
}

/* A relative hba_file or ident_file is resolved in config_dir; one that points elsewhere is not
 * ours to write. */
static bool fill_foreign_file(struct fill *fill, json_t *settings, const char *setting,
                              const char *own_name)
{
    const char *value = json_string_value(json_object_get(settings, setting));
    const char *dir = fill->ret->config_dir;
    struct buf path;
    struct buf own;
    bool is_foreign;

    if (value == NULL || dir == NULL)
        return false;
    buf_init(&path, 4096);
    buf_init(&own, 4096);
    (void)buf_printf(&own, "%s/%s", dir, own_name);
    if (value[0] == '/')
        (void)buf_puts(&path, value);
    else
        (void)buf_printf(&path, "%s/%s", dir, value);
    is_foreign = strcmp(buf_text(&path), buf_text(&own)) != 0;
    (void)json_object_set_new(settings, setting, json_string(buf_text(&path)));
    buf_done(&path);
    buf_done(&own);
    return is_foreign;
}

static void fill_settings(struct fill *fill, const char *role)
{
    struct conf_postgresql *ret = fill->ret;
    struct conf_settings built;
    char key[KEY_SIZE];
    char port[16];
    const json_t *of_role = NULL;

    if (role != NULL && str_format(key, sizeof(key), "parameters_%s", role))
        of_role = object_or_null(fill, ret->section, key);
    conf_settings_build(fill->conf, object_or_null(fill, fill->dynamic, "parameters"),
                        object_or_null(fill, fill->local, "parameters"), of_role,
                        object_or_null(fill, ret->section, "recovery_conf"), &built,
                        fill->report);
    if (ret->listen_addresses != NULL) {
        (void)json_object_set_new(built.settings, "listen_addresses",
                                  json_string(ret->listen_addresses));
        (void)str_format(port, sizeof(port), "%d", ret->port);
        (void)json_object_set_new(built.settings, "port", json_string(port));
    }
    if (fill_foreign_file(fill, built.settings, "hba_file", "pg_hba.conf")) {
        ret->pg_hba = NULL;
        ret->pg_hba_count = 0;
    }
    if (fill_foreign_file(fill, built.settings, "ident_file", "pg_ident.conf")) {
        ret->pg_ident = NULL;
        ret->pg_ident_count = 0;
    }
    ret->settings = pairs_of(fill->storage, built.settings, &ret->settings_count);
    ret->recovery = pairs_of(fill->storage, built.recovery, &ret->recovery_count);
    /* The section shows what is in force. */
    (void)json_object_set_new(ret->section, "parameters", built.settings);
    json_decref(built.recovery);
}

/* ---- Lists ---- */

static void fill_lines(struct fill *fill, const char *name, const char *role,
                       const char *const **ret_lines, size_t *ret_count)
{
    char key[KEY_SIZE];
    const json_t *list = json_object_get(fill->ret->section, name);
    const json_t *line;
    const char **lines;
    size_t idx;

    if (role != NULL && str_format(key, sizeof(key), "%s_%s", name, role) &&
        json_is_array(json_object_get(fill->ret->section, key)))
        list = json_object_get(fill->ret->section, key);
    if (!json_is_array(list) || json_array_size(list) == 0)
        return;
    lines = conf_storage_alloc(fill->storage, json_array_size(list), sizeof(*lines));
    json_array_foreach(list, idx, line) {
        const char *text = json_string_value(line);

        if (text != NULL)
            lines[(*ret_count)++] = conf_storage_text(fill->storage, text);
    }
    *ret_lines = lines;
}

static void fill_pairs(struct fill *fill, const char *name, const struct pg_text_pair **ret,
                       size_t *ret_count)
{
    /* What is wrong with it has been reported with the options. */
    if (!conf_pairs_read(json_object_get(fill->ret->section, name), fill->storage, ret,
                         ret_count)) {
        *ret = NULL;
        *ret_count = 0;
    }
}

void conf_postgresql_fill(const struct conf *conf, const json_t *dynamic, const char *role,
                          struct conf_postgresql *ret, enum conf_severity severity,
                          struct conf_report *report)
{
    const json_t *of_dynamic = json_object_get(dynamic, "postgresql");
    const json_t *of_local = json_object_get(conf->tree, "postgresql");
    struct fill fill = {
        .conf = conf,
        .ret = ret,
        .storage = conf_storage_new(),
        .local = json_is_object(of_local) ? of_local : NULL,
        .dynamic = json_is_object(of_dynamic) ? of_dynamic : NULL,
        .severity = severity,
        .report = report,
    };

    *ret = (struct conf_postgresql){.storage = fill.storage};
    ret->section = merge_section(fill.dynamic, fill.local);
    fill_options(&fill);
    if (ret->config_dir == NULL)
        ret->config_dir = ret->data_dir;
    fill_listen(&fill);
    fill_roles(&fill);
    fill_lines(&fill, "pg_hba", role, &ret->pg_hba, &ret->pg_hba_count);
    fill_lines(&fill, "pg_ident", role, &ret->pg_ident, &ret->pg_ident_count);
    fill_pairs(&fill, "basebackup", &ret->basebackup, &ret->basebackup_count);
    fill_pairs(&fill, "rewind", &ret->rewind_options, &ret->rewind_options_count);
    fill_settings(&fill, role);
}

void conf_postgresql_merge(const struct conf *conf, const json_t *dynamic, const char *role,
                           struct conf_postgresql *ret, struct conf_report *report)
{
    conf_postgresql_fill(conf, dynamic, role, ret, CONF_WARNING, report);
}

void conf_postgresql_done(struct conf_postgresql *postgresql)
{
    if (postgresql == NULL)
        return;
    json_decref(postgresql->section);
    conf_storage_free(postgresql->storage);
    *postgresql = (struct conf_postgresql){0};
}

const char *conf_postgresql_setting(const struct conf_postgresql *postgresql, const char *name)
{
    for (size_t i = 0; i < postgresql->settings_count; i++)
        if (str_equal_nocase(postgresql->settings[i].name, name))
            return postgresql->settings[i].value;
    return NULL;
}

void conf_postgresql_override_policy(const struct conf_postgresql *postgresql,
                                     struct policy *policy)
{
    policy->use_slots = postgresql->use_slots;
    policy->use_pg_rewind = postgresql->use_pg_rewind;
    policy->remove_data_directory_on_rewind_failure =
        postgresql->remove_data_directory_on_rewind_failure;
    policy->remove_data_directory_on_diverged_timelines =
        postgresql->remove_data_directory_on_diverged_timelines;
}
