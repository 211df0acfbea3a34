#include "pg_op_private.h"

#include "pg_file.h"
#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/pg_conf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_SIZE = 1024 * 1024, REPORT_EVERY = 10000, LINK_SIZE = PG_PATH_SIZE };

/* ---- emptying ---- */

enum rc pg_data_check_empty(const struct pg_site *site, uint64_t system_identifier, struct err *err)
{
    struct pg_inspection now;
    pg_inspect_read(site, &now);
    if (now.is_alive)
        return err_set(err, RC_REFUSED, "%s: PostgreSQL runs there as process %lld",
                       site->data_dir, (long long)now.process.pid);
    switch (now.kind) {
    case PG_DIR_MISSING:
    case PG_DIR_EMPTY:
    case PG_DIR_PARTIAL:
        return RC_OK;
    case PG_DIR_POSTGRES:
        break;
    case PG_DIR_FOREIGN:
    case PG_DIR_UNREADABLE:
    case PG_DIR_KIND_COUNT:
        return err_set(err, RC_REFUSED, "%s is %s: nothing is removed from it. %s", site->data_dir,
                       pg_dir_kind_text(now.kind), now.problem);
    }
    if (!now.has_control)
        return err_set(err, RC_REFUSED, "%s: its pg_control cannot be read, so nobody knows whose"
                       " data this is. %s", site->data_dir, now.problem);
    if (system_identifier == 0 || now.control.system_identifier != system_identifier)
        return err_set(err, RC_REFUSED, "%s belongs to system %llu, the cluster is %llu: nothing is"
                       " removed from it", site->data_dir,
                       (unsigned long long)now.control.system_identifier,
                       (unsigned long long)system_identifier);
    return RC_OK;
}

static bool entry_is_filesystem_own(const FTSENT *at)
{
    return at->fts_level == 1 && strcmp(at->fts_name, "lost+found") == 0;
}

/* Removes what is under path, links as links, never over a filesystem border; path itself too if
 * is_root_too. */
static enum rc tree_remove(const char *path, bool is_root_too, struct err *err)
{
    char root[PG_PATH_SIZE];
    char *const paths[] = {root, NULL};
    unsigned long removed = 0;
    enum rc rc = RC_OK;
    if (!str_copy(root, sizeof root, path))
        return err_set(err, RC_LIMIT, "path %.100s... is too long", path);
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
    if (tree == NULL)
        return err_set_errno(err, errno, "cannot walk through %s", path);
    for (FTSENT *at = fts_read(tree); at != NULL && rc == RC_OK; at = fts_read(tree)) {
        int result = 0;
        switch (at->fts_info) {
        case FTS_D:
            if (entry_is_filesystem_own(at))
                (void)fts_set(tree, at, FTS_SKIP);
            continue;
        case FTS_DP:
            if ((at->fts_level == 0 && !is_root_too) || entry_is_filesystem_own(at))
                continue;
            result = rmdir(at->fts_accpath);
            if (result != 0 && errno == EBUSY)
                result = 0; /* a mount point inside stays */
            break;
        case FTS_DNR:
        case FTS_ERR:
        case FTS_NS:
            errno = at->fts_errno;
            result = -1;
            break;
        default:
            result = unlink(at->fts_accpath);
        }
        if (result != 0 && errno != ENOENT)
            rc = err_set_errno(err, errno, "cannot remove %s", at->fts_path);
        if (++removed % REPORT_EVERY == 0)
            job_report("removed %lu files", removed);
    }
    (void)fts_close(tree); /* nothing was written through it */
    return rc;
}

static bool name_is_wal(const char *name)
{
    uint32_t timeline = 0;
    uint64_t lsn = 0;
    size_t length = strlen(name);
    return pg_wal_file_parse(name, 1024 * 1024, &timeline, &lsn) ||
           pg_history_file_timeline(name) != 0 || str_starts_with(name, "xlogtemp.") ||
           (length > 7 && strcmp(name + length - 7, ".backup") == 0) ||
           str_equal(name, "archive_status") || str_equal(name, "summaries");
}

/* PG_15_202209061 for version 15. */
static bool name_is_version_dir(const char *name, int major_version)
{
    char prefix[24];
    return major_version > 0 && str_format(prefix, sizeof prefix, "PG_%d_", major_version) &&
           str_starts_with(name, prefix) &&
           strspn(name + strlen(prefix), "0123456789") == strlen(name) - strlen(prefix);
}

/* Removes those entries of dir that belong to a PostgreSQL: WAL, or its version's tablespace. */
static enum rc entries_remove(const char *path, bool is_wal, int major_version, struct err *err)
{
    char entry_path[PG_PATH_SIZE];
    enum rc rc = RC_OK;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return errno == ENOENT ? RC_OK : err_set_errno(err, errno, "cannot open %s", path);
    for (struct dirent *entry = readdir(dir); entry != NULL && rc == RC_OK; entry = readdir(dir)) {
        bool is_ours = is_wal ? name_is_wal(entry->d_name)
                              : name_is_version_dir(entry->d_name, major_version);
        if (!is_ours)
            continue;
        rc = pg_site_path(path, entry->d_name, entry_path, err);
        if (rc == RC_OK)
            rc = tree_remove(entry_path, true, err);
    }
    (void)closedir(dir); /* read only */
    return rc;
}

/* True if path is a symbolic link to somewhere absolute, which is then in ret. */
static bool link_read(const char *path, char ret[static LINK_SIZE])
{
    ssize_t length = readlink(path, ret, LINK_SIZE - 1);
    if (length <= 0 || length == LINK_SIZE - 1 || ret[0] != '/')
        return false;
    ret[length] = '\0';
    return true;
}

static int major_version_find(const struct pg_site *site)
{
    struct pg_inspection now;
    pg_inspect_read(site, &now);
    return now.major_version;
}

static enum rc tablespaces_remove(const struct pg_site *site, int major_version, struct err *err)
{
    char links[PG_PATH_SIZE], path[PG_PATH_SIZE], target[LINK_SIZE];
    enum rc rc = pg_site_path(site->data_dir, "pg_tblspc", links, err);
    if (rc != RC_OK)
        return rc;
    DIR *dir = opendir(links);
    if (dir == NULL)
        return errno == ENOENT ? RC_OK : err_set_errno(err, errno, "cannot open %s", links);
    for (struct dirent *entry = readdir(dir); entry != NULL && rc == RC_OK; entry = readdir(dir)) {
        rc = pg_site_path(links, entry->d_name, path, err);
        if (rc == RC_OK && link_read(path, target))
            rc = entries_remove(target, false, major_version, err);
    }
    (void)closedir(dir); /* read only */
    return rc;
}

enum rc pg_data_empty(const struct pg_site *site, const char *waldir, struct err *err)
{
    char path[PG_PATH_SIZE], target[LINK_SIZE];
    if (!pg_file_exists(site->data_dir))
        return RC_OK;
    int major_version = major_version_find(site);
    /* pg_control first: what is left of a broken-off removal must not look like a server. */
    enum rc rc = pg_site_path(site->data_dir, "global/pg_control", path, err);
    if (rc == RC_OK)
        rc = pg_file_remove(path, err);
    if (rc == RC_OK)
        rc = tablespaces_remove(site, major_version, err);
    if (rc == RC_OK)
        rc = pg_site_path(site->data_dir, "pg_wal", path, err);
    if (rc == RC_OK && link_read(path, target))
        rc = entries_remove(target, true, major_version, err);
    if (rc == RC_OK && waldir != NULL)
        rc = entries_remove(waldir, true, major_version, err);
    return rc != RC_OK ? rc : tree_remove(site->data_dir, false, err);
}

/* ---- keeping WAL ---- */

struct segment_list {
    char (*names)[PG_WAL_NAME_SIZE];
    size_t count, size;
};

static int name_compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Segments of this timeline that hold WAL of [from_lsn, end_lsn), oldest first. */
static enum rc segments_list(const char *wal_dir, uint32_t timeline, uint64_t from_lsn,
                             uint64_t end_lsn, uint32_t segment_bytes, struct segment_list *out,
                             struct err *err)
{
    DIR *dir = opendir(wal_dir);
    if (dir == NULL)
        return err_set_errno(err, errno, "cannot open %s", wal_dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        uint32_t its_timeline = 0;
        uint64_t begin_lsn = 0;
        if (!pg_wal_file_parse(entry->d_name, segment_bytes, &its_timeline, &begin_lsn) ||
            its_timeline != timeline || begin_lsn + segment_bytes <= from_lsn ||
            begin_lsn >= end_lsn || strlen(entry->d_name) >= PG_WAL_NAME_SIZE)
            continue;
        if (out->count == out->size) {
            out->size = out->size > 0 ? 2 * out->size : 64;
            out->names = mem_resize(out->names, out->size * sizeof *out->names);
        }
        memcpy(out->names[out->count++], entry->d_name, strlen(entry->d_name) + 1);
    }
    (void)closedir(dir); /* read only */
    if (out->count > 0)
        qsort(out->names, out->count, sizeof *out->names, name_compare);
    return RC_OK;
}

static enum rc bytes_copy(int from, int to, const char *name, uint64_t *ret_bytes, struct err *err)
{
    char *bytes = mem_new(1, COPY_SIZE);
    enum rc rc = RC_OK;
    uint64_t total = 0;
    for (;;) {
        ssize_t length = read(from, bytes, COPY_SIZE);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            rc = err_set_errno(err, errno, "cannot read %s", name);
        if (length <= 0)
            break;
        for (ssize_t done = 0; done < length && rc == RC_OK;) {
            ssize_t written = write(to, bytes + done, (size_t)(length - done));
            if (written < 0 && errno != EINTR)
                rc = err_set_errno(err, errno, "cannot write the copy of %s", name);
            done += written > 0 ? written : 0;
        }
        if (rc != RC_OK)
            break;
        total += (uint64_t)length;
    }
    if (rc == RC_OK && fsync(to) != 0)
        rc = err_set_errno(err, errno, "cannot sync the copy of %s", name);
    mem_free(bytes);
    if (rc == RC_OK)
        *ret_bytes += total;
    return rc;
}

static enum rc file_copy(const char *from_dir, const char *to_dir, const char *name,
                         uint64_t *ret_bytes, struct err *err)
{
    char from_path[PG_PATH_SIZE], to_path[PG_PATH_SIZE];
    enum rc rc = pg_site_path(from_dir, name, from_path, err);
    if (rc == RC_OK)
        rc = pg_site_path(to_dir, name, to_path, err);
    if (rc != RC_OK)
        return rc;
    int from = open(from_path, O_RDONLY | O_CLOEXEC);
    if (from < 0)
        return err_set_errno(err, errno, "cannot open %s", from_path);
    int to = open(to_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0)
        rc = err_set_errno(err, errno, "cannot make %s", to_path);
    else
        rc = bytes_copy(from, to, name, ret_bytes, err);
    (void)close(from); /* read only */
    if (to >= 0 && close(to) != 0 && rc == RC_OK)
        rc = err_set_errno(err, errno, "cannot close %s", to_path);
    return rc;
}

/* Bytes of all that was kept by earlier rewinds: the bound is for the whole of state_dir/lost. */
static uint64_t tree_bytes(const char *path)
{
    char root[PG_PATH_SIZE];
    char *const paths[] = {root, NULL};
    uint64_t total = 0;
    if (!str_copy(root, sizeof root, path))
        return 0;
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (tree == NULL)
        return 0;
    for (FTSENT *at = fts_read(tree); at != NULL; at = fts_read(tree))
        if (at->fts_info == FTS_F)
            total += (uint64_t)at->fts_statp->st_size;
    (void)fts_close(tree); /* read only */
    return total;
}

static enum rc about_write(const char *dir, uint64_t from_lsn, uint64_t end_lsn, uint32_t timeline,
                           const struct pg_data_kept *kept, struct err *err)
{
    char text[1024], path[PG_PATH_SIZE], from[LSN_TEXT_SIZE], end[LSN_TEXT_SIZE];
    bool is_fit = str_format(
        text, sizeof text,
        "WAL that this server wrote on timeline %u after the cluster went on without it.\n"
        "from_lsn=%s\nend_lsn=%s\nlost_bytes=%llu\nkept_bytes=%llu\ncomplete=%s\n"
        "Read it with: pg_waldump --path=. --timeline=%u --start=%s\n",
        timeline, lsn_format(from_lsn, from), lsn_format(end_lsn, end),
        (unsigned long long)kept->lost_bytes, (unsigned long long)kept->kept_bytes,
        kept->is_cut ? "no" : "yes", timeline, from);
    pgh_assert(is_fit);
    enum rc rc = pg_site_path(dir, "about", path, err);
    return rc != RC_OK ? rc : pg_conf_write_file(path, text, strlen(text), 0600, err);
}

static enum rc lost_dir_make(const struct pg_site *site, char ret_lost[static PG_PATH_SIZE],
                             char ret_dir[static PG_PATH_SIZE], struct err *err)
{
    char when[CLOCK_ISO_SIZE];
    enum rc rc = pg_site_path(site->state_dir, "lost", ret_lost, err);
    if (rc == RC_OK)
        rc = pg_site_path(ret_lost, clock_iso_format(clock_wall_ms(), when), ret_dir, err);
    if (rc == RC_OK)
        rc = pg_file_make_dir(site->state_dir, 0700, err);
    if (rc == RC_OK)
        rc = pg_file_make_dir(ret_lost, 0700, err);
    return rc;
}

static enum rc segments_copy(const char *wal_dir, const struct segment_list *list,
                             uint32_t segment_bytes, uint64_t room, struct pg_data_kept *kept,
                             struct err *err)
{
    enum rc rc = RC_OK;
    for (size_t i = 0; i < list->count && rc == RC_OK; i++) {
        if (kept->kept_bytes + segment_bytes > room) {
            kept->is_cut = true;
            break;
        }
        rc = file_copy(wal_dir, kept->dir, list->names[i], &kept->kept_bytes, err);
        if (i % 8 == 7)
            job_report("kept %zu of %zu segments", i + 1, list->count);
    }
    return rc;
}

enum rc pg_data_keep_wal(const struct pg_site *site, uint64_t from_lsn, uint32_t timeline,
                         uint64_t keep_bytes_max, struct pg_data_kept *ret, struct err *err)
{
    char wal_dir[PG_PATH_SIZE], lost_dir[PG_PATH_SIZE];
    struct pg_control_data control;
    struct pg_wal_end end;
    struct segment_list list = {0};
    struct pg_data_kept kept = {0};
    enum rc rc = pg_control_read(site, &control, err);
    if (rc == RC_OK)
        rc = pg_wal_end_read(site, &control, &end, err);
    if (rc != RC_OK)
        return rc;
    kept.lost_bytes = end.end_lsn > from_lsn ? end.end_lsn - from_lsn : 0;
    rc = pg_site_path(site->data_dir, "pg_wal", wal_dir, err);
    if (rc == RC_OK && kept.lost_bytes > 0)
        rc = segments_list(wal_dir, timeline, from_lsn, end.end_lsn, control.wal_segment_bytes,
                           &list, err);
    if (rc == RC_OK && list.count > 0) {
        rc = lost_dir_make(site, lost_dir, kept.dir, err);
        uint64_t used = rc == RC_OK ? tree_bytes(lost_dir) : 0;
        if (rc == RC_OK)
            rc = pg_file_make_dir(kept.dir, 0700, err);
        if (rc == RC_OK)
            rc = segments_copy(wal_dir, &list, control.wal_segment_bytes,
                               keep_bytes_max > used ? keep_bytes_max - used : 0, &kept, err);
        if (rc == RC_OK)
            rc = about_write(kept.dir, from_lsn, end.end_lsn, timeline, &kept, err);
    }
    mem_free(list.names);
    if (rc == RC_OK)
        *ret = kept;
    return rc;
}
