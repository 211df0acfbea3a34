/* --validate-config and every start, beyond the file itself: are the programs there, is the
 * directory usable, does anybody else start this server? Reads only. */
#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgheir/base/str.h"

/* A program by its path; one that is looked up in PATH is found, or not, when it is started. */
static int
validate_tools(const struct pg_site *site)
{
    int failures = 0;

    for (int tool = 0; tool < PG_TOOL_COUNT; tool++) {
        char path[PG_PATH_SIZE];
        struct err err;

        if (pg_site_tool(site, (enum pg_tool)tool, path, &err) != RC_OK) {
            (void)fprintf(stderr, "error: %s\n", err.text);
            failures++;
        } else if (path[0] == '/' && access(path, X_OK) != 0) {
            (void)fprintf(stderr, "error: postgresql.bin_dir: cannot execute %s: %s\n", path,
                          strerror(errno));
            failures++;
        }
    }
    return failures;
}

/* Debian's postgresql-common starts the clusters it knows by itself: two starters on one
 * directory. */
static int
validate_starters(const struct pg_site *site)
{
    static const char *const base = "/var/lib/postgresql/";
    char rest[PG_PATH_SIZE], path[PG_PATH_SIZE], text[64];
    char *slash;
    FILE *file;
    bool is_auto;

    if (!str_starts_with(site->data_dir, base) ||
        !str_copy(rest, sizeof(rest), site->data_dir + strlen(base)))
        return 0;
    slash = strchr(rest, '/'); /* 15/main */
    if (slash == NULL || strchr(slash + 1, '/') != NULL ||
        !str_format(path, sizeof(path), "/etc/postgresql/%s/start.conf", rest))
        return 0;
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    is_auto = false;
    while (fgets(text, sizeof(text), file) != NULL)
        is_auto = is_auto || str_starts_with(text, "auto");
    (void)fclose(file);
    if (is_auto)
        (void)fprintf(stderr,
                      "error: postgresql.data_dir: postgresql-common starts %s, too: write "
                      "\"disabled\" into %s\n",
                      site->data_dir, path);
    return is_auto ? 1 : 0;
}

static int
validate_data_dir(const struct pg_site *site)
{
    struct stat info;

    if (stat(site->data_dir, &info) != 0) {
        if (errno == ENOENT)
            return 0;
        (void)fprintf(stderr, "error: postgresql.data_dir: %s: %s\n", site->data_dir,
                      strerror(errno));
        return 1;
    }
    if (S_ISDIR(info.st_mode))
        return 0;
    (void)fprintf(stderr, "error: postgresql.data_dir: %s is not a directory\n", site->data_dir);
    return 1;
}

int
validate_start(const struct pg_site *site)
{
    return validate_tools(site) + validate_data_dir(site) == 0 ? 0 : 1;
}

int
validate_surroundings(const struct pg_site *site)
{
    int failures = validate_tools(site) + validate_starters(site) + validate_data_dir(site);

    return failures == 0 ? 0 : 1;
}
