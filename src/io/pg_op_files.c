#include "pg_op_private.h"

#include "pg_file.h"
#include "pgheir/base/str.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* One job each. */

enum { SUFFIX_SIZE = 32 };

struct files {
    uint64_t system_identifier;
    uint64_t from_lsn, keep_bytes_max;
    uint32_t timeline;
    char suffix[SUFFIX_SIZE];
};

static void files_advance(struct pg_op *op, enum rc rc)
{
    struct pg_data_kept kept;
    if (op->kind == PG_OP_KEEP_WAL && rc == RC_OK) {
        pgh_assert(op->answer.length == sizeof kept);
        memcpy(&kept, buf_text(&op->answer), sizeof kept);
        bool is_fit = str_copy(op->result.kept_dir, sizeof op->result.kept_dir, kept.dir);
        pgh_assert(is_fit);
        op->result.kept_bytes = kept.kept_bytes;
        op->result.lost_bytes = kept.lost_bytes;
        op->result.is_kept_cut = kept.is_cut;
    }
    op->result.is_data_changed =
        op->kind != PG_OP_KEEP_WAL && rc != RC_REFUSED && rc != RC_EXISTS;
    pg_op_finish(op, rc);
}

static enum rc files_start(struct pg_op *op, const char *name,
                           enum rc (*work)(void *work_arg, struct buf *answer, struct err *err),
                           struct pg_op **ret, struct err *err)
{
    op->advance = files_advance;
    enum rc rc = pg_op_job(op, name, work, err);
    if (rc != RC_OK) {
        pg_op_free(op);
        return rc;
    }
    *ret = op;
    return RC_OK;
}

/* ---- keep WAL ---- */

static enum rc keep_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct pg_op *op = work_arg;
    const struct files *files = op->data;
    struct pg_data_kept kept;
    enum rc rc = pg_data_keep_wal(&op->site, files->from_lsn, files->timeline,
                                  files->keep_bytes_max, &kept, err);
    return rc != RC_OK ? rc : buf_append(answer, &kept, sizeof kept);
}

enum rc pg_op_keep_wal(struct loop *loop, const struct pg_keep_wal *spec,
                       const struct pg_op_hooks *hooks, struct pg_op **ret, struct err *err)
{
    struct pg_op *op = pg_op_new(loop, PG_OP_KEEP_WAL, spec->site, hooks, spec->deadline_ms,
                                 sizeof(struct files));
    struct files *files = op->data;
    files->from_lsn = spec->from_lsn;
    files->timeline = spec->timeline;
    files->keep_bytes_max = spec->keep_bytes_max;
    return files_start(op, "keep lost WAL", keep_work, ret, err);
}

/* ---- empty ---- */

static enum rc empty_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct pg_op *op = work_arg;
    const struct files *files = op->data;
    (void)answer;
    enum rc rc = pg_data_check_empty(&op->site, files->system_identifier, err);
    /* Marked as ours and unfinished, so that a broken-off removal can be taken up again. */
    if (rc == RC_OK)
        rc = pg_marker_set(&op->site, PG_MARKER_CLONE, op->site.data_dir, err);
    if (rc == RC_OK)
        rc = pg_data_empty(&op->site, NULL, err);
    for (int i = 0; i < PG_MARKER_COUNT && rc == RC_OK; i++)
        rc = pg_marker_clear(&op->site, (enum pg_marker)i, err);
    return rc;
}

enum rc pg_op_empty_data(struct loop *loop, const struct pg_empty_data *spec,
                         const struct pg_op_hooks *hooks, struct pg_op **ret, struct err *err)
{
    struct pg_op *op = pg_op_new(loop, PG_OP_EMPTY_DATA, spec->site, hooks, spec->deadline_ms,
                                 sizeof(struct files));
    struct files *files = op->data;
    files->system_identifier = spec->system_identifier;
    return files_start(op, "empty the data directory", empty_work, ret, err);
}

/* ---- set aside ---- */

static enum rc aside_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct pg_op *op = work_arg;
    const struct files *files = op->data;
    struct pg_inspection now;
    char target[PG_PATH_SIZE + SUFFIX_SIZE];
    (void)answer;
    pg_inspect_read(&op->site, &now);
    if (now.is_alive)
        return err_set(err, RC_REFUSED, "%s: PostgreSQL runs there as process %lld",
                       op->site.data_dir, (long long)now.process.pid);
    if (now.kind == PG_DIR_MISSING)
        return err_set(err, RC_NOT_FOUND, "%s does not exist", op->site.data_dir);
    if (!str_format(target, sizeof target, "%s.%s", op->site.data_dir, files->suffix))
        return err_set(err, RC_LIMIT, "%s: path too long", op->site.data_dir);
    if (pg_file_exists(target))
        return err_set(err, RC_EXISTS, "%s is there already: remove it once nobody needs it",
                       target);
    if (rename(op->site.data_dir, target) != 0)
        return errno == EBUSY || errno == EXDEV
                   ? err_set(err, RC_REFUSED, "%s is a mount point and cannot be renamed: mount"
                             " the volume one level above the data directory", op->site.data_dir)
                   : err_set_errno(err, errno, "cannot rename %s to %s", op->site.data_dir, target);
    enum rc rc = pg_file_sync_parent(target, err);
    for (int i = 0; i < PG_MARKER_COUNT && rc == RC_OK; i++)
        rc = pg_marker_clear(&op->site, (enum pg_marker)i, err);
    return rc;
}

enum rc pg_op_set_aside(struct loop *loop, const struct pg_set_aside *spec,
                        const struct pg_op_hooks *hooks, struct pg_op **ret, struct err *err)
{
    if (str_is_empty(spec->suffix) || strlen(spec->suffix) >= SUFFIX_SIZE ||
        strchr(spec->suffix, '/') != NULL)
        return err_set(err, RC_INVALID, "suffix \"%.40s\" cannot be appended to a directory",
                       spec->suffix != NULL ? spec->suffix : "");
    struct pg_op *op = pg_op_new(loop, PG_OP_SET_ASIDE, spec->site, hooks, spec->deadline_ms,
                                 sizeof(struct files));
    struct files *files = op->data;
    bool is_fit = str_copy(files->suffix, sizeof files->suffix, spec->suffix);
    pgh_assert(is_fit);
    return files_start(op, "set the data directory aside", aside_work, ret, err);
}
