#include "pg_ready.h"

#include "pgheir/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char status_dir[] = "pg_wal/archive_status";

/* 24 digits, of a promoted server's last one also with ".partial"; then ".ready". Histories and
 * backup labels are made again where they are needed. */
static bool is_ready_segment(const char *file, char ret_name[static PG_READY_NAME_SIZE])
{
    size_t length = strspn(file, "0123456789ABCDEF");

    if (length != 24)
        return false;
    if (str_starts_with(file + length, ".partial"))
        length += strlen(".partial");
    if (strcmp(file + length, ".ready") != 0)
        return false;
    memcpy(ret_name, file, length);
    ret_name[length] = '\0';
    return true;
}

static bool is_there(const struct pg_site *site, const char *name)
{
    char inside[PG_READY_NAME_SIZE + 8], path[PG_PATH_SIZE];

    return str_format(inside, sizeof inside, "pg_wal/%s", name) &&
           pg_site_path(site->data_dir, inside, path, NULL) == RC_OK && access(path, R_OK) == 0;
}

enum rc pg_ready_next(const struct pg_site *site, const char *after,
                      char ret_name[static PG_READY_NAME_SIZE], struct err *err)
{
    char path[PG_PATH_SIZE];
    const struct dirent *entry;
    enum rc rc = pg_site_path(site->data_dir, status_dir, path, err);
    if (rc != RC_OK)
        return rc;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return err_set_errno(err, errno, "cannot read %s", path);
    ret_name[0] = '\0';
    while ((entry = readdir(dir)) != NULL) {
        char name[PG_READY_NAME_SIZE] = "";
        if (is_ready_segment(entry->d_name, name) && strcmp(name, after) > 0 &&
            (ret_name[0] == '\0' || strcmp(name, ret_name) < 0) && is_there(site, name))
            memcpy(ret_name, name, sizeof name);
    }
    (void)closedir(dir);
    return RC_OK;
}

enum rc pg_ready_done(const struct pg_site *site, const char *name, struct err *err)
{
    char path[PG_PATH_SIZE], from[PG_PATH_SIZE + PG_READY_NAME_SIZE + 8], to[sizeof from];
    enum rc rc = pg_site_path(site->data_dir, status_dir, path, err);
    if (rc != RC_OK)
        return rc;
    pgh_assert(str_format(from, sizeof from, "%s/%s.ready", path, name));
    pgh_assert(str_format(to, sizeof to, "%s/%s.done", path, name));
    return rename(from, to) == 0 ? RC_OK
                                 : err_set_errno(err, errno, "cannot rename %s", from);
}

enum rc pg_ready_command(const char *archive_command, const char *name, struct buf *out)
{
    enum rc rc = RC_OK;
    const char *at = archive_command;

    while (*at != '\0' && rc == RC_OK) {
        if (at[0] == '%' && at[1] == 'p')
            rc = buf_printf(out, "pg_wal/%s", name);
        else if (at[0] == '%' && at[1] == 'f')
            rc = buf_puts(out, name);
        else
            rc = buf_append(out, at[0] == '%' && at[1] == '%' ? "%" : at, 1);
        at += at[0] == '%' && (at[1] == 'p' || at[1] == 'f' || at[1] == '%') ? 2 : 1;
    }
    return rc;
}
