#include "pgheir/io/pg_control.h"

#include "pg_file.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/pg_conf.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

enum { VERSION_MAX = 64, MARKER_TEXT_MAX = 1024 };

/* ---- markers ---- */

const char *pg_marker_text(enum pg_marker marker)
{
    static const char *const names[PG_MARKER_COUNT] = {
        [PG_MARKER_CLONE] = "clone.unfinished",
        [PG_MARKER_REWIND] = "rewind.unfinished",
        [PG_MARKER_INIT] = "init.unfinished",
    };
    pgh_assert(marker >= 0 && marker < PG_MARKER_COUNT);
    return names[marker];
}

enum rc pg_marker_set(const struct pg_site *site, enum pg_marker marker, const char *text,
                      struct err *err)
{
    char path[PG_PATH_SIZE], line[MARKER_TEXT_MAX];
    enum rc rc = pg_file_make_dir(site->state_dir, 0700, err);
    if (rc == RC_OK)
        rc = pg_site_path(site->state_dir, pg_marker_text(marker), path, err);
    if (rc != RC_OK)
        return rc;
    if (!str_format(line, sizeof line, "%s\n", text))
        return err_set(err, RC_LIMIT, "marker text of %s is too long", path);
    return pg_conf_write_file(path, line, strlen(line), 0600, err);
}

enum rc pg_marker_clear(const struct pg_site *site, enum pg_marker marker, struct err *err)
{
    char path[PG_PATH_SIZE];
    enum rc rc = pg_site_path(site->state_dir, pg_marker_text(marker), path, err);
    return rc != RC_OK ? rc : pg_file_remove(path, err);
}

enum rc pg_marker_read(const struct pg_site *site, enum pg_marker marker, bool *ret_is_set,
                       struct err *err)
{
    char path[PG_PATH_SIZE];
    struct buf text;
    enum rc rc = pg_site_path(site->state_dir, pg_marker_text(marker), path, err);
    if (rc != RC_OK)
        return rc;
    buf_init(&text, MARKER_TEXT_MAX);
    rc = pg_file_read(path, &text, err);
    buf_done(&text);
    /* Longer than ours is still there. */
    if (rc != RC_OK && rc != RC_NOT_FOUND && rc != RC_LIMIT)
        return rc;
    *ret_is_set = rc != RC_NOT_FOUND;
    return RC_OK;
}

/* ---- the directory ---- */

const char *pg_dir_kind_text(enum pg_dir_kind kind)
{
    static const char *const texts[PG_DIR_KIND_COUNT] = {
        [PG_DIR_MISSING] = "missing",         [PG_DIR_EMPTY] = "empty",
        [PG_DIR_POSTGRES] = "a PostgreSQL data directory",
        [PG_DIR_PARTIAL] = "an unfinished copy", [PG_DIR_FOREIGN] = "not PostgreSQL's",
        [PG_DIR_UNREADABLE] = "unreadable",
    };
    pgh_assert(kind >= 0 && kind < PG_DIR_KIND_COUNT);
    return texts[kind];
}

static bool entry_counts(const char *name)
{
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, "lost+found") != 0;
}

static enum pg_dir_kind dir_kind_read(const struct pg_site *site, struct err *err)
{
    enum pg_dir_kind kind = PG_DIR_EMPTY;
    DIR *dir = opendir(site->data_dir);
    if (dir == NULL && errno == ENOENT)
        return PG_DIR_MISSING;
    if (dir == NULL) {
        (void)err_set_errno(err, errno, "cannot open data directory %s", site->data_dir);
        return PG_DIR_UNREADABLE;
    }
    errno = 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir))
        if (entry_counts(entry->d_name)) {
            kind = PG_DIR_FOREIGN;
            break;
        }
    if (kind == PG_DIR_EMPTY && errno != 0) {
        (void)err_set_errno(err, errno, "cannot read data directory %s", site->data_dir);
        kind = PG_DIR_UNREADABLE;
    }
    (void)closedir(dir); /* read only */
    return kind;
}

static int major_version_read(const struct pg_site *site)
{
    char path[PG_PATH_SIZE], text[VERSION_MAX + 1] = "";
    struct buf bytes;
    int64_t version = 0;
    buf_init(&bytes, VERSION_MAX);
    if (pg_site_path(site->data_dir, "PG_VERSION", path, NULL) == RC_OK &&
        pg_file_read(path, &bytes, NULL) == RC_OK) {
        size_t length = strcspn(buf_text(&bytes), "\r\n ");
        memcpy(text, buf_text(&bytes), length);
        if (!str_parse_int64(text, &version) || version < 0 || version > 999)
            version = 0;
    }
    buf_done(&bytes);
    return (int)version;
}

static uint32_t newest_history_read(const struct pg_site *site)
{
    char path[PG_PATH_SIZE];
    uint32_t newest = 0;
    if (pg_site_path(site->data_dir, "pg_wal", path, NULL) != RC_OK)
        return 0;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        uint32_t timeline = pg_history_file_timeline(entry->d_name);
        newest = timeline > newest ? timeline : newest;
    }
    (void)closedir(dir); /* read only */
    return newest;
}

static void problem_note(struct pg_inspection *out, const struct err *err)
{
    /* The first one is the cause, mostly. */
    if (out->problem[0] == '\0' && !str_copy(out->problem, sizeof out->problem, err->text))
        out->problem[0] = '\0';
}

static void markers_read(const struct pg_site *site, struct pg_inspection *out)
{
    struct err err = {0};
    for (int i = 0; i < PG_MARKER_COUNT; i++)
        if (pg_marker_read(site, (enum pg_marker)i, &out->markers[i], &err) != RC_OK) {
            /* Not knowing must not start a half written server. */
            out->markers[i] = true;
            problem_note(out, &err);
        }
}

static void process_read(const struct pg_site *site, struct pg_inspection *out)
{
    struct err err = {0};
    out->has_pidfile = pg_file_in_data(site, "postmaster.pid");
    if (pg_process_find(site, &out->pidfile, &out->is_alive, &out->process, &err) != RC_OK)
        problem_note(out, &err);
}

void pg_inspect_read(const struct pg_site *site, struct pg_inspection *ret)
{
    struct err err = {0};
    memset(ret, 0, sizeof *ret);
    ret->kind = dir_kind_read(site, &err);
    if (ret->kind == PG_DIR_UNREADABLE)
        problem_note(ret, &err);
    markers_read(site, ret);
    if (ret->kind != PG_DIR_FOREIGN)
        return;
    bool is_control_there = pg_file_in_data(site, "global/pg_control");
    ret->major_version = major_version_read(site);
    if (ret->major_version > 0 && is_control_there)
        ret->kind = PG_DIR_POSTGRES;
    /* The markers come first: a clone writes pg_control last, but not every tool does. */
    if (ret->markers[PG_MARKER_CLONE] || ret->markers[PG_MARKER_INIT])
        ret->kind = PG_DIR_PARTIAL;
    if (is_control_there) {
        ret->has_control = pg_control_read(site, &ret->control, &err) == RC_OK;
        if (!ret->has_control)
            problem_note(ret, &err);
    }
    ret->has_standby_signal = pg_file_in_data(site, "standby.signal");
    ret->has_recovery_signal = pg_file_in_data(site, "recovery.signal");
    ret->has_backup_label = pg_file_in_data(site, "backup_label");
    ret->newest_history = newest_history_read(site);
    process_read(site, ret);
}

/* ---- off the loop ---- */

struct ask {
    struct pg_site site;
    pg_inspect_fn *on_done;
    void *arg;
};

static enum rc inspect_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct ask *ask = work_arg;
    struct pg_inspection inspection;
    (void)err;
    pg_inspect_read(&ask->site, &inspection);
    return buf_append(answer, &inspection, sizeof inspection);
}

static void on_inspect_done(enum rc rc, const struct err *err, const void *answer, size_t length,
                            void *arg)
{
    struct ask *ask = arg;
    struct pg_inspection inspection;
    pgh_assert(rc != RC_OK || length == sizeof inspection);
    if (rc == RC_OK)
        memcpy(&inspection, answer, sizeof inspection);
    ask->on_done(rc == RC_OK ? &inspection : NULL, err, ask->arg);
}

enum rc pg_inspect_start(struct loop *loop, const struct pg_site *site, int64_t deadline_ms,
                         pg_inspect_fn *on_done, void *arg, struct job **ret, struct err *err)
{
    struct ask *ask = mem_new(1, sizeof *ask);
    ask->site = *site;
    ask->on_done = on_done;
    ask->arg = arg;
    const struct job_spec spec = {
        .name = "inspect the data directory",
        .work = inspect_work,
        .work_arg = ask,
        .deadline_ms = deadline_ms,
        .on_done = on_inspect_done,
        .arg = ask,
        .memory = ask,
    };
    enum rc rc = job_start(loop, &spec, ret, err);
    if (rc != RC_OK)
        mem_free(ask);
    return rc;
}
