/* edit-config -s a.b.c=value and -p guc=value. */
#include <string.h>

#include "conf_private.h"
#include "ctl_private.h"

#include "pgheir/base/str.h"

enum { PARTS_MAX = 32, PATH_MAX_BYTES = 512 };

/* Removes an emptied object and the parents that this empties. chain[0] is the configuration. */
static void prune(json_t **chain, char parts[][PATH_MAX_BYTES], int depth)
{
    for (int i = depth; i > 0; i--) {
        if (json_object_size(chain[i]) > 0)
            return;
        (void)json_object_del(chain[i - 1], parts[i - 1]);
    }
}

/* Below postgresql.parameters the rest of the path is the name of one setting. */
static int split_path(const char *path, char parts[][PATH_MAX_BYTES])
{
    int count = 0;

    while (count < PARTS_MAX) {
        bool is_setting = count == 2 && str_equal(parts[0], "postgresql") &&
                          str_equal(parts[1], "parameters");
        size_t length = is_setting ? strlen(path) : strcspn(path, ".");

        if (length == 0 || length >= PATH_MAX_BYTES)
            return -1;
        memcpy(parts[count], path, length);
        parts[count][length] = '\0';
        count++;
        if (path[length] == '\0')
            return count;
        path += length + 1;
    }
    return -1;
}

static void set_value(json_t *config, char parts[][PATH_MAX_BYTES], int count, json_t *value)
{
    json_t *chain[PARTS_MAX + 1];

    chain[0] = config;
    for (int i = 0; i + 1 < count; i++) {
        json_t *child = json_object_get(chain[i], parts[i]);

        if (!json_is_object(child)) {
            child = json_object();
            pgh_assert(child != NULL);
            (void)json_object_set_new(chain[i], parts[i], child);
        }
        chain[i + 1] = child;
    }
    if (json_is_null(value))
        (void)json_object_del(chain[count - 1], parts[count - 1]);
    else
        (void)json_object_set(chain[count - 1], parts[count - 1], value);
    prune(chain, parts, count - 1);
}

enum rc ctl_config_set(json_t *config, const char *assignment, struct err *err)
{
    const char *equals = strchr(assignment, '=');
    char parts[PARTS_MAX][PATH_MAX_BYTES];
    char path[PATH_MAX_BYTES];
    const char *begin = assignment + strspn(assignment, " \t");
    const char *end = equals;
    json_t *value = NULL;
    int count;
    enum rc rc;

    while (end != NULL && end > begin && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    if (end == NULL || end <= begin || (size_t)(end - begin) >= sizeof(path))
        return err_set(err, RC_INVALID, "Invalid parameter setting %.200s: expected key=value",
                       assignment);
    memcpy(path, begin, (size_t)(end - begin));
    path[end - begin] = '\0';
    count = split_path(path, parts);
    if (count < 0)
        return err_set(err, RC_INVALID,
                       "Invalid parameter setting %.200s: expected at most %d names with dots "
                       "between them",
                       assignment, PARTS_MAX);
    rc = conf_yaml_parse(path, equals + 1, strlen(equals + 1), &value, err);
    if (rc == RC_OK)
        set_value(config, parts, count, value);
    json_decref(value);
    return rc;
}

enum rc ctl_config_set_guc(json_t *config, const char *assignment, struct err *err)
{
    struct buf full;
    enum rc rc;

    buf_init(&full, 64 * 1024);
    if (buf_printf(&full, "postgresql.parameters.%s", assignment) != RC_OK)
        rc = err_set(err, RC_LIMIT, "longer than 64 KiB");
    else
        rc = ctl_config_set(config, buf_text(&full), err);
    buf_done(&full);
    return rc;
}
