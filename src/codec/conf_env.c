/* The environment as a tree: contract/config.md section 7. */
#include <string.h>

#include "conf_private.h"

#include "pgheir/base/str.h"

enum { WRAPPED_MAX = 65536 };

const char *conf_env_stem(const char *variable)
{
    if (str_starts_with(variable, "PATRONI_"))
        return variable + strlen("PATRONI_");
    if (str_starts_with(variable, "PGHEIR_"))
        return variable + strlen("PGHEIR_");
    return NULL;
}

const struct conf_option *conf_env_option(const char *name)
{
    static const struct {
        const char *old_name, *name;
    } renamed[] = {{"LOGLEVEL", "LOG_LEVEL"},
                   {"LOGFORMAT", "LOG_FORMAT"},
                   {"LOG_DATEFMT", "LOG_DATEFORMAT"}};
    size_t count = 0;
    const struct conf_option *options = conf_options(&count);

    for (size_t i = 0; i < PGH_COUNT(renamed); i++)
        if (str_equal(name, renamed[i].old_name))
            name = renamed[i].name;
    for (size_t i = 0; i < count; i++)
        if (options[i].env != NULL && str_equal(options[i].env, name))
            return &options[i];
    return NULL;
}

/* Variables of other stores and of Citus, which Patroni knows and we do not serve. */
static bool is_foreign(const char *stem)
{
    static const char *const prefixes[] = {"ETCD_",      "CONSUL_", "ZOOKEEPER_", "EXHIBITOR_",
                                           "KUBERNETES_", "RAFT_",   "CITUS_"};

    for (size_t i = 0; i < PGH_COUNT(prefixes); i++)
        if (str_starts_with(stem, prefixes[i]))
            return true;
    return false;
}

/* Text between brackets of its own, unless it brings some, as YAML. NULL if it is not YAML. */
static json_t *read_wrapped(const char *value, const char *open, const char *close, bool is_wrapped)
{
    struct buf text;
    struct err err;
    json_t *read = NULL;

    buf_init(&text, WRAPPED_MAX);
    if ((is_wrapped || buf_puts(&text, open) == RC_OK) && buf_puts(&text, value) == RC_OK &&
        (is_wrapped || buf_puts(&text, close) == RC_OK) &&
        conf_yaml_read("environment", buf_text(&text), text.length, &read, NULL, NULL, &err) !=
            RC_OK)
        read = NULL;
    buf_done(&text);
    return read;
}

/* The value as the option wants it; texts become numbers and switches later, as in a file. */
static json_t *env_value(const struct conf_option *option, const char *value)
{
    const char *begin = value + strspn(value, " \t\r\n");
    json_t *read = NULL;

    if (option->type == CONF_TYPE_LIST) {
        read = read_wrapped(value, "[", "]", *begin == '-' || strchr(value, '[') != NULL);
        if (!json_is_array(read)) {
            json_decref(read);
            read = NULL; /* [::1]:2379 is a text with commas, not a YAML list */
        }
    } else if (option->type == CONF_TYPE_OBJECT) {
        read = read_wrapped(value, "{", "}", *begin == '{');
    }
    return read != NULL ? read : json_string(value);
}

/* Read by the programs themselves, before or beside the configuration. */
static bool is_ours(const char *variable)
{
    static const char *const names[] = {"PGHEIR_AGENT", "PGHEIR_SUPERVISOR_FD", "PGHEIR_NAMESERVER",
                                        "PGHEIR_MEM_FAIL_AT"};

    for (size_t i = 0; i < PGH_COUNT(names); i++)
        if (str_equal(variable, names[i]))
            return true;
    return false;
}

static void env_take(const struct conf_source *source, const char *variable, const char *value,
                     json_t *tree, struct conf_places *places, struct conf_report *report)
{
    const char *stem = conf_env_stem(variable);
    const struct conf_option *option = conf_env_option(stem);
    const char *place = json_string_value(json_object_get(source->env_places, variable));

    if (value == NULL) {
        conf_report_add(report, CONF_ERROR, place, 0, variable, "the value is not UTF-8 text");
        return;
    }
    if (value[0] == '\0' || str_equal(stem, "CONFIGURATION") || is_ours(variable))
        return;
    if (option != NULL) {
        json_t *read = env_value(option, value);

        conf_tree_set(tree, option->path, read);
        conf_places_drop(places, option->path);
        conf_places_set(places, option->path, place, 0);
    } else if (is_foreign(stem)) {
        conf_report_add(report, CONF_WARNING, place, 0, variable,
                        "pgheir works with etcd v3 only and without Citus: use the variables "
                        "PATRONI_ETCD3_*; this one is ignored");
    } else {
        conf_report_add(report, CONF_WARNING, place, 0, variable,
                        "unknown variable: it is ignored");
    }
}

void conf_env_tree(const struct conf_source *source, json_t *tree, struct conf_places *places,
                   struct conf_report *report)
{
    static const char *const prefixes[] = {"PATRONI_", "PGHEIR_"}; /* the later one wins */

    for (size_t i = 0; i < PGH_COUNT(prefixes); i++) {
        const char *variable;
        json_t *value;

        json_object_foreach(source->env, variable, value)
            if (str_starts_with(variable, prefixes[i]))
                env_take(source, variable, json_string_value(value), tree, places, report);
    }
}
