/* Keys that no row of the table knows, and sections of what we do not serve. */
#include <string.h>

#include "conf_private.h"

#include "pgheir/base/str.h"

enum { KEY_MAX = 48 };

/* Edits between two short words, or a large number. */
static int edit_distance(const char *a, const char *b)
{
    int row[KEY_MAX + 1];
    size_t a_length = strlen(a);
    size_t b_length = strlen(b);

    if (a_length > KEY_MAX || b_length > KEY_MAX)
        return KEY_MAX;
    for (size_t j = 0; j <= b_length; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= a_length; i++) {
        int diagonal = row[0];

        row[0] = (int)i;
        for (size_t j = 1; j <= b_length; j++) {
            int above = row[j];
            int best = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);

            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[b_length];
}

/* Is path an option, or a section that holds options? */
static bool is_known(const char *path, bool *ret_is_section)
{
    size_t count = 0;
    const struct conf_option *options = conf_options(&count);
    size_t length = strlen(path);
    bool is_option = false;

    *ret_is_section = false;
    for (size_t i = 0; i < count; i++) {
        if (strncmp(options[i].path, path, length) != 0)
            continue;
        is_option = is_option || options[i].path[length] == '\0';
        *ret_is_section = *ret_is_section || options[i].path[length] == '.';
    }
    return is_option || *ret_is_section;
}

/* The option that was probably meant: same section, at most two edits. NULL if there is none. */
static const char *find_similar(const char *path)
{
    size_t count = 0;
    const struct conf_option *options = conf_options(&count);
    const char *dot = strrchr(path, '.');
    size_t section_length = dot == NULL ? 0 : (size_t)(dot - path) + 1;
    const char *best = NULL;
    int best_distance = 3;

    for (size_t i = 0; i < count; i++) {
        const char *candidate = options[i].path;
        int distance;

        if (strncmp(candidate, path, section_length) != 0 ||
            strchr(candidate + section_length, '.') != NULL)
            continue;
        distance = edit_distance(path + section_length, candidate + section_length);
        if (distance < best_distance) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

/* Sections with a free name: a bootstrap or replica method that is named where methods are. */
static bool is_method(const json_t *tree, const char *section, const char *key)
{
    const json_t *methods;
    const json_t *item;
    size_t idx;

    if (str_equal(section, "bootstrap"))
        return str_equal(key, json_string_value(conf_tree_get(tree, "bootstrap.method")));
    if (!str_equal(section, "postgresql"))
        return false;
    methods = conf_tree_get(tree, "postgresql.create_replica_methods");
    if (json_is_string(methods))
        return strstr(json_string_value(methods), key) != NULL;
    json_array_foreach(methods, idx, item)
        if (str_equal(key, json_string_value(item)))
            return true;
    return false;
}

static void check_section(const json_t *tree, const json_t *section, const char *path, int depth,
                          const struct conf_places *places, struct conf_report *report);

static void check_key(const json_t *tree, const char *section_path, const char *key,
                      const json_t *value, int depth, const struct conf_places *places,
                      struct conf_report *report)
{
    char path[CONF_PATH_SIZE];
    bool is_section = false;
    const char *similar;

    if (!str_format(path, sizeof(path), "%s%s%s", section_path,
                    section_path[0] == '\0' ? "" : ".", key))
        return;
    if (is_known(path, &is_section)) {
        /* tags may hold anything, and bootstrap.dcs has its own check. */
        if (is_section && json_is_object(value) && !str_equal(path, "tags"))
            check_section(tree, value, path, depth + 1, places, report);
        return;
    }
    if (is_method(tree, section_path, key))
        return;
    similar = find_similar(path);
    if (similar != NULL)
        conf_report_at(report, places, CONF_WARNING, path,
                       "unknown key: it is kept and has no effect; did you mean %s?", similar);
    else
        conf_report_at(report, places, CONF_WARNING, path,
                       "unknown key: it is kept and has no effect");
}

static void check_section(const json_t *tree, const json_t *section, const char *path, int depth,
                          const struct conf_places *places, struct conf_report *report)
{
    const char *key;
    json_t *value;

    pgh_assert(depth < CONF_DEPTH_MAX); /* the table has four levels */
    json_object_foreach((json_t *)(uintptr_t)section, key, value)
        check_key(tree, path, key, value, depth, places, report);
}

/* Without etcd3 another store is an error: the file was made for something else. */
static void check_foreign(const json_t *tree, const struct conf_places *places,
                          struct conf_report *report)
{
    static const char *const stores[] = {"consul", "zookeeper", "exhibitor", "kubernetes", "raft"};
    enum conf_severity severity =
        json_object_get(tree, "etcd3") == NULL ? CONF_ERROR : CONF_WARNING;

    for (size_t i = 0; i < PGH_COUNT(stores); i++)
        if (json_object_get(tree, stores[i]) != NULL)
            conf_report_at(report, places, severity, stores[i],
                           "pgheir keeps its state in etcd v3 only: use a section etcd3");
    if (json_object_get(tree, "etcd") != NULL)
        conf_report_at(report, places, severity, "etcd",
                       "this section means etcd's v2 API, which no current etcd has: rename it to "
                       "etcd3");
    if (json_object_get(tree, "citus") != NULL)
        conf_report_at(report, places, CONF_ERROR, "citus",
                       "pgheir does not manage Citus clusters: use Patroni for this one");
}

void conf_check_unknown(const json_t *tree, const struct conf_places *places,
                        struct conf_report *report)
{
    static const char *const foreign[] = {"consul",     "zookeeper", "exhibitor",
                                          "kubernetes", "raft",      "etcd",
                                          "citus"};
    json_t *rest = json_copy((json_t *)(uintptr_t)tree);

    pgh_assert(rest != NULL);
    check_foreign(tree, places, report);
    for (size_t i = 0; i < PGH_COUNT(foreign); i++)
        (void)json_object_del(rest, foreign[i]);
    check_section(tree, rest, "", 0, places, report);
    json_decref(rest);
}
