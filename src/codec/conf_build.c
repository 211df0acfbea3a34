/* Sources -> one tree -> struct conf. */
#include <string.h>

#include "conf_private.h"

#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/tags_json.h"

enum { ABSOLUTE_MAX = 8192 };

/* ---- The tree ---- */

/* False if the text is no tree at all; what is wrong with it was reported. */
static bool tree_add_file(json_t *tree, struct conf_places *places, const char *name,
                          const char *text, size_t length, struct conf_report *report)
{
    struct conf_places of_file;
    bool is_tree = false;
    struct err err;
    json_t *value = NULL;

    conf_places_init(&of_file);
    if (conf_yaml_read(name, text, length, &value, &of_file, report, &err) != RC_OK) {
        value = NULL; /* reported already */
    } else if (!json_is_object(value)) {
        conf_report_add(report, CONF_ERROR, name, 1, "",
                        "expected keys and values (scope: ...), found %s",
                        conf_type_word(value));
    } else {
        conf_tree_merge(tree, value);
        conf_places_merge(places, &of_file);
        is_tree = true;
    }
    json_decref(value);
    conf_places_done(&of_file);
    return is_tree;
}

/* A key that nobody wrote is missing in the file, or in the folder of the files. */
static void places_set_whole(struct conf_places *places, const struct conf_source *source)
{
    char folder[CONF_PATH_SIZE];
    char *slash;

    if (source->file_count == 0 || !str_copy(folder, sizeof(folder), source->files[0].name))
        return;
    slash = strrchr(folder, '/');
    if (source->file_count > 1 && slash == NULL)
        return;
    if (source->file_count > 1)
        *slash = '\0';
    conf_places_set(places, "", folder, 0);
}

/* Files, or else PATRONI_CONFIGURATION alone, or else the environment; files plus environment.
 * False if one of them could not be read: what it would have said then only seems to be missing. */
static bool tree_read(const struct conf_source *source, json_t *tree, struct conf_places *places,
                      struct conf_report *report)
{
    bool is_complete = true;
    const char *whole =
        json_string_value(json_object_get(source->env, "PATRONI_CONFIGURATION"));

    places_set_whole(places, source);
    for (size_t i = 0; i < source->file_count; i++)
        is_complete &= tree_add_file(tree, places, source->files[i].name, source->files[i].text,
                                     source->files[i].length, report);
    if (source->file_count == 0 && !str_is_empty(whole))
        is_complete &= tree_add_file(tree, places, "PATRONI_CONFIGURATION", whole, strlen(whole),
                                     report);
    else
        conf_env_tree(source, tree, places, report);
    return is_complete;
}

/* Moves a value from its old name, unless the new one is there. */
static void tree_rename(json_t *tree, struct conf_places *places, const char *old_path,
                        const char *path)
{
    const json_t *value = conf_tree_get(tree, old_path);
    int line = 0;
    const char *file;

    if (value == NULL)
        return;
    if (conf_tree_get(tree, path) == NULL) {
        file = conf_places_find(places, old_path, &line);
        conf_places_set(places, path, file, line);
        conf_tree_set(tree, path, json_deep_copy(value));
    }
    conf_tree_delete(tree, old_path);
}

/* The forms that Patroni reads for the sake of old files. */
static void tree_modernise(json_t *tree, struct conf_places *places)
{
    static const char *const renamed[][2] = {
        {"postgresql.name", "name"},
        {"postgresql.create_replica_method", "postgresql.create_replica_methods"},
        {"bootstrap.post_init", "bootstrap.post_bootstrap"},
        {"etcd3.discovery_srv", "etcd3.srv"},
        {"etcd3.srv_domain", "etcd3.srv"},
    };

    for (size_t i = 0; i < PGH_COUNT(renamed); i++)
        tree_rename(tree, places, renamed[i][0], renamed[i][1]);
    if (conf_tree_get(tree, "postgresql.authentication") == NULL) {
        if (conf_tree_get(tree, "postgresql.pg_rewind") != NULL)
            conf_tree_set(tree, "postgresql.use_pg_rewind", json_true());
        tree_rename(tree, places, "postgresql.replication",
                    "postgresql.authentication.replication");
        tree_rename(tree, places, "postgresql.superuser", "postgresql.authentication.superuser");
    }
    tree_rename(tree, places, "postgresql.pg_rewind", "postgresql.authentication.superuser");
}

/* As with Patroni, relative directories are taken from where the process was started. */
static void tree_make_absolute(json_t *tree, const char *cwd)
{
    static const char *const paths[] = {"postgresql.data_dir", "postgresql.config_dir",
                                        "postgresql.bin_dir", "postgresql.pgpass",
                                        "pgheir.state_dir"};

    for (size_t i = 0; i < PGH_COUNT(paths) && cwd != NULL; i++) {
        const char *path = json_string_value(conf_tree_get(tree, paths[i]));
        struct buf absolute;

        if (str_is_empty(path) || path[0] == '/')
            continue;
        buf_init(&absolute, ABSOLUTE_MAX);
        if (buf_printf(&absolute, "%s/%s", cwd, path) == RC_OK)
            conf_tree_set(tree, paths[i], json_string(buf_text(&absolute)));
        buf_done(&absolute);
    }
}

/* ---- Whole values ---- */

/* Every option of the local file against its row of the table. */
static void take_options(struct conf *conf, struct conf_report *report)
{
    struct conf_storage *storage = conf->storage;
    size_t count = 0;
    const struct conf_option *options = conf_options(&count);

    for (size_t i = 0; i < count; i++) {
        const struct conf_option *option = &options[i];
        const json_t *value = conf_tree_get(conf->tree, option->path);
        void *base = option->part == CONF_PART_CONF ? conf : NULL;

        if (base != NULL)
            conf_option_take_default(option, base, storage);
        if (value == NULL)
            continue;
        if (option->scope == CONF_DYNAMIC) {
            conf_report_at(report, &storage->places, CONF_WARNING, option->path,
                           "counts only in etcd, for the whole cluster: put it into "
                           "bootstrap.dcs, or use pgheirctl edit-config; here it is ignored");
            continue;
        }
        (void)conf_option_take(option, value, base, storage, &storage->places, CONF_ERROR, report);
        if (option->effect == CONF_INERT)
            conf_report_at(report, &storage->places, CONF_WARNING, option->path,
                           "has no effect: %s", option->sentence);
        else if (option->effect == CONF_UNAVAILABLE)
            conf_report_at(report, &storage->places, CONF_ERROR, option->path,
                           "not available in this version: remove it");
    }
}

static void check_required(const struct conf *conf, struct conf_report *report)
{
    const struct conf_storage *storage = conf->storage;
    size_t count = 0;
    const struct conf_option *options = conf_options(&count);

    for (size_t i = 0; i < count; i++) {
        struct buf expected;

        if (!options[i].is_required || conf_tree_get(conf->tree, options[i].path) != NULL)
            continue;
        buf_init(&expected, 256);
        conf_option_expects(&options[i], &expected);
        conf_report_at(report, &storage->places, CONF_ERROR, options[i].path,
                       "missing: expected %s. %s Set it in the file or by PATRONI_%s",
                       buf_text(&expected), options[i].sentence, options[i].env);
        buf_done(&expected);
    }
}

/* A part of a key in etcd. */
static void check_name(const struct conf *conf, const char *key, const char *name,
                       struct conf_report *report)
{
    const struct conf_storage *storage = conf->storage;

    if (name == NULL)
        return;
    if (strlen(name) >= NAME_SIZE)
        conf_report_at(report, &storage->places, CONF_ERROR, key,
                       "longer than %d bytes: choose a shorter one", NAME_SIZE - 1);
    for (const char *at = name; *at != '\0'; at++)
        if (*at == '/' || (unsigned char)*at < ' ') {
            conf_report_at(report, &storage->places, CONF_ERROR, key,
                           "it becomes a part of keys in etcd and may hold neither a slash nor a "
                           "control character");
            return;
        }
}

static void check_names(const struct conf *conf, struct conf_report *report)
{
    const struct conf_storage *storage = conf->storage;

    check_name(conf, "scope", conf->scope, report);
    check_name(conf, "name", conf->name, report);
    if (str_equal(conf->name, "__patroni_strict_sync_replica_placeholder__"))
        conf_report_at(report, &storage->places, CONF_ERROR, "name",
                       "this name is reserved: choose another");
}

static void check_path(const struct conf *conf, const char *key, const char *path,
                       struct conf_report *report)
{
    const struct conf_storage *storage = conf->storage;

    if (path != NULL && path[0] != '/')
        conf_report_at(report, &storage->places, CONF_ERROR, key,
                       "expected an absolute path, found \"%s\"", path);
}

/* ---- Sections ---- */

static void fill_tags(struct conf *conf, struct conf_report *report)
{
    static const char *const pairs[][2] = {{"nofailover", "failover_priority"},
                                           {"nosync", "sync_priority"}};
    struct conf_storage *storage = conf->storage;
    const json_t *tags = conf_tree_get(conf->tree, "tags");

    tags_json_parse(tags, &conf->tags);
    conf->tags_json = conf_storage_keep(storage, tags_json_publish(tags));
    for (size_t i = 0; i < PGH_COUNT(pairs); i++) {
        bool is_on = false;
        int64_t priority = 1;

        if (policy_json_bool(json_object_get(tags, pairs[i][0]), &is_on) &&
            policy_json_int(json_object_get(tags, pairs[i][1]), &priority) &&
            is_on == (priority > 0))
            conf_report_at(report, &storage->places, CONF_WARNING, "tags",
                           "Conflicting configuration between %s: %s and %s: %lld. Defaulting to "
                           "%s: %s",
                           pairs[i][0], is_on ? "True" : "False", pairs[i][1],
                           (long long)priority, pairs[i][0], is_on ? "True" : "False");
    }
}

/* Each mistake at its own line: whoever mends the file wants them all. */
static void check_dcs(const json_t *dcs, const struct conf_places *places,
                      struct conf_report *report)
{
    struct conf_report found;

    conf_report_init(&found);
    policy_json_report(dcs, &found);
    for (int i = 0; i < found.count; i++) {
        const char *below = found.messages[i].key;
        char key[CONF_PATH_SIZE];
        bool fits = str_format(key, sizeof(key), "bootstrap.dcs%s%s", below[0] == '\0' ? "" : ".",
                               below);

        conf_report_at(report, places, CONF_ERROR, fits ? key : "bootstrap.dcs", "%s",
                       found.messages[i].text);
    }
    conf_report_done(&found);
}

static void fill_bootstrap(struct conf *conf, struct conf_report *report)
{
    struct conf_storage *storage = conf->storage;
    struct conf_bootstrap *bootstrap = &conf->bootstrap;
    const json_t *section = json_object_get(conf->tree, "bootstrap");
    const json_t *dcs = conf_tree_get(conf->tree, "bootstrap.dcs");

    /* As with Patroni, `bootstrap:` with nothing below it is no section. */
    bootstrap->present = section != NULL;
    bootstrap->dcs = json_is_object(dcs) ? dcs : conf_storage_keep(storage, json_object());
    check_dcs(bootstrap->dcs, &storage->places, report);
    (void)conf_pairs_read(conf_tree_get(conf->tree, "bootstrap.initdb"), storage,
                          &bootstrap->initdb, &bootstrap->initdb_count);
    if (str_equal(bootstrap->method, "initdb"))
        return;
    bootstrap->method_section = json_object_get(section, bootstrap->method);
    if (!json_is_string(json_object_get(bootstrap->method_section, "command")))
        conf_report_at(report, &storage->places, CONF_ERROR, "bootstrap.method",
                       "expected initdb, or a section bootstrap.%s with a command",
                       bootstrap->method);
}

/* What is not given is inherited. */
static void fill_inherited(struct conf *conf)
{
    struct conf_storage *storage = conf->storage;

    if (conf->restapi.connect_address.port == 0)
        conf->restapi.connect_address = conf->restapi.listen;
    if (conf_tree_get(conf->tree, "ctl.authentication") == NULL) {
        conf->ctl.username = conf->restapi.username;
        conf->ctl.password = conf->restapi.password;
    }
    if (conf->ctl.cacert == NULL)
        conf->ctl.cacert = conf->restapi.cafile;
    if (conf->state_dir == NULL && conf->postgresql.data_dir != NULL) {
        struct buf path;

        buf_init(&path, ABSOLUTE_MAX);
        if (buf_printf(&path, "%s.pgheir", conf->postgresql.data_dir) == RC_OK)
            conf->state_dir = conf_storage_text(storage, buf_text(&path));
        buf_done(&path);
    }
}

static bool is_loopback(const char *host)
{
    return str_equal(host, "localhost") || str_equal(host, "::1") || str_starts_with(host, "127.");
}

/* Combinations that no single row of the table sees. */
static void check_sense(const struct conf *conf, struct conf_report *report)
{
    const struct conf_storage *storage = conf->storage;
    const struct conf_restapi *rest = &conf->restapi;

    if (conf->watchdog.mode == CONF_WATCHDOG_REQUIRED)
        conf_report_at(report, &storage->places, CONF_ERROR, "watchdog.mode",
                       "required: this version has no hardware watchdog; use automatic or off");
    if ((rest->username == NULL) != (rest->password == NULL))
        conf_report_at(report, &storage->places, CONF_ERROR, "restapi.authentication",
                       "expected both username and password, or neither");
    if (rest->verify_client != CONF_VERIFY_NONE && rest->cafile == NULL)
        conf_report_at(report, &storage->places, CONF_ERROR, "restapi.verify_client",
                       "client certificates cannot be verified without restapi.cafile");
    if (rest->username == NULL && rest->verify_client == CONF_VERIFY_NONE &&
        rest->allowlist == NULL && rest->listen.port != 0 && !is_loopback(rest->listen.host))
        conf_report_at(report, &storage->places, CONF_WARNING, "restapi",
                       "whoever reaches %s:%d may restart or switch over: set authentication, "
                       "verify_client or allowlist",
                       rest->listen.host, rest->listen.port);
    if (str_equal(rest->connect_address.host, "*") || str_equal(rest->connect_address.host, "") ||
        str_equal(rest->connect_address.host, "0.0.0.0") ||
        str_equal(rest->connect_address.host, "::"))
        conf_report_at(report, &storage->places, CONF_ERROR, "restapi.connect_address",
                       "expected an address that other members can reach; restapi.listen is a "
                       "wildcard, so it must be given");
}

static void check_for_agent(struct conf *conf, struct conf_report *report)
{
    const struct conf_storage *storage = conf->storage;

    check_required(conf, report);
    check_sense(conf, report);
    check_path(conf, "postgresql.data_dir", conf->postgresql.data_dir, report);
    check_path(conf, "postgresql.config_dir", conf->postgresql.config_dir, report);
    check_path(conf, "postgresql.bin_dir", conf->postgresql.bin_dir, report);
    check_path(conf, "postgresql.pgpass", conf->postgresql.pgpass, report);
    check_path(conf, "pgheir.state_dir", conf->state_dir, report);
    if (conf->etcd3.host_count == 0)
        conf_report_at(report, &storage->places, CONF_ERROR, "etcd3",
                       "missing: expected the members of etcd, such as etcd3.hosts: "
                       "10.0.0.1:2379,10.0.0.2:2379");
    if (conf->postgresql.replication.username == NULL)
        conf_report_at(report, &storage->places, CONF_ERROR,
                       "postgresql.authentication.replication.username",
                       "missing: expected the role that replicas stream with");
    if (str_is_empty(conf->postgresql.connect_address.host) && conf->postgresql.port != 0)
        conf_report_at(report, &storage->places, CONF_ERROR, "postgresql.connect_address",
                       "expected host:port that other members can reach; postgresql.listen is a "
                       "wildcard or a list, so it must be given");
}

/* ---- Together ---- */

static void build_fill(struct conf *conf, enum conf_use use, struct conf_report *report)
{
    struct conf_storage *storage = conf->storage;
    static const char *const sections[] = {"log",        "restapi", "ctl", "etcd3", "watchdog",
                                           "postgresql", "pgheir"};

    tree_modernise(conf->tree, &storage->places);
    for (size_t i = 0; i < PGH_COUNT(sections); i++) {
        const json_t *section = conf_tree_get(conf->tree, sections[i]);

        if (section != NULL && !json_is_object(section))
            conf_report_at(report, &storage->places, CONF_ERROR, sections[i],
                           "expected an object (key: value), found %s", conf_type_word(section));
    }
    conf_check_unknown(conf->tree, &storage->places, report);
    take_options(conf, report);
    conf_etcd3_fill(conf, report);
    fill_tags(conf, report);
    fill_bootstrap(conf, report);
    conf_postgresql_fill(conf, NULL, NULL, &conf->postgresql, CONF_ERROR, report);
    fill_inherited(conf);
    check_names(conf, report);
    if (use == CONF_FOR_AGENT)
        check_for_agent(conf, report);
}

enum rc conf_build(const struct conf_source *source, struct conf **ret, struct conf_report *report)
{
    struct conf *conf = mem_new(1, sizeof(*conf));
    struct conf_storage *storage = conf_storage_new();
    int errors_before = report->error_count;

    conf->storage = storage;
    conf->tree = json_object();
    pgh_assert(conf->tree != NULL);
    if (tree_read(source, conf->tree, &storage->places, report)) {
        tree_make_absolute(conf->tree, source->cwd);
        build_fill(conf, source->use, report);
    }
    if (report->error_count > errors_before) {
        conf_free(conf);
        return RC_INVALID;
    }
    *ret = conf;
    return RC_OK;
}

enum rc conf_load(const char *path, const char *const *env, enum conf_use use, struct conf **ret,
                  struct conf_report *report)
{
    struct conf_source *source = NULL;
    enum rc rc = conf_source_read(path, env, use, &source, report);

    if (rc == RC_OK)
        rc = conf_build(source, ret, report);
    conf_source_free(source);
    return rc;
}

void conf_free(struct conf *conf)
{
    if (conf == NULL)
        return;
    conf_postgresql_done(&conf->postgresql);
    json_decref(conf->tree);
    conf_storage_free(conf->storage);
    mem_free(conf);
}
