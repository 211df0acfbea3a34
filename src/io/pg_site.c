#include "pgheir/io/pg_site.h"

#include "pgheir/base/str.h"

#include <string.h>

enum rc pg_site_init(struct pg_site *site, const char *data_dir, struct err *err)
{
    static const char *const names[PG_TOOL_COUNT] = {
#define X(code, text) [code] = text,
        PG_TOOL_TABLE(X)
#undef X
    };
    struct pg_site out = {0};
    size_t length = strlen(data_dir);
    while (length > 1 && data_dir[length - 1] == '/')
        length--;
    /* Room for the longest name that we append. */
    if (data_dir[0] != '/' || length == 1 || length >= PG_PATH_SIZE - 128)
        return err_set(err, RC_INVALID, "data directory \"%.100s\": expected an absolute path other"
                       " than / of at most %d bytes", data_dir, PG_PATH_SIZE - 128);
    memcpy(out.data_dir, data_dir, length);
    memcpy(out.config_dir, data_dir, length);
    bool is_fit = str_copy(out.config_base, sizeof out.config_base, "postgresql") &&
                  str_format(out.state_dir, sizeof out.state_dir, "%s.pgheir", out.data_dir) &&
                  str_format(out.pgpass, sizeof out.pgpass, "%s.pgheir/pgpass", out.data_dir);
    for (int i = 0; i < PG_TOOL_COUNT; i++)
        is_fit = is_fit && str_copy(out.tools[i], sizeof out.tools[i], names[i]);
    pgh_assert(is_fit);
    *site = out;
    return RC_OK;
}

enum rc pg_site_path(const char *dir, const char *name, char ret_path[static PG_PATH_SIZE],
                     struct err *err)
{
    if (!str_format(ret_path, PG_PATH_SIZE, "%s/%s", dir, name))
        return err_set(err, RC_LIMIT, "path %.100s.../%s is longer than %d bytes", dir, name,
                       PG_PATH_SIZE - 1);
    return RC_OK;
}

enum rc pg_site_tool(const struct pg_site *site, enum pg_tool tool,
                     char ret_path[static PG_PATH_SIZE], struct err *err)
{
    const char *name = site->tools[tool];
    if (site->bin_dir[0] != '\0' && strchr(name, '/') == NULL)
        return pg_site_path(site->bin_dir, name, ret_path, err);
    bool is_fit = str_copy(ret_path, PG_PATH_SIZE, name);
    pgh_assert(is_fit);
    return RC_OK;
}
