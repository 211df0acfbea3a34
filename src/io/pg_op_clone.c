#include "pg_op_private.h"

#include "pg_file.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/pg_conf.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* PREPARE (job) --> TOOL (child) --> FINISH (job) --> done. A failed TOOL goes through FINISH
 * too, which then only removes the files with secrets: the marker stays with the half copy. */
enum clone_state { CLONE_PREPARE, CLONE_TOOL, CLONE_FINISH };

struct clone {
    struct pg_op_args args;
    char service_env[PG_PATH_SIZE + 32];
    struct pg_op_source source;
    uint64_t system_identifier;
    char *waldir;
    char *password; /* initdb */
    enum rc tool_rc;
    struct err tool_err;
};

static const char pwfile_name[] = "initdb.pwfile";

static void clone_done(struct pg_op *op)
{
    struct clone *clone = op->data;
    pg_op_args_done(&clone->args);
    pg_op_source_done(&clone->source);
    if (clone->password != NULL)
        explicit_bzero(clone->password, strlen(clone->password));
    mem_free(clone->password);
    mem_free(clone->waldir);
}

static enum rc secrets_remove(const struct pg_op *op, struct err *err)
{
    char path[PG_PATH_SIZE];
    if (op->kind == PG_OP_BASEBACKUP)
        return pg_op_source_remove(&op->site, err);
    enum rc rc = pg_site_path(op->site.state_dir, pwfile_name, path, err);
    return rc != RC_OK ? rc : pg_file_remove(path, err);
}

static enum rc initdb_prepare(const struct pg_op *op, struct err *err)
{
    const struct clone *clone = op->data;
    char path[PG_PATH_SIZE];
    struct pg_inspection now;
    pg_inspect_read(&op->site, &now);
    if (now.kind != PG_DIR_MISSING && now.kind != PG_DIR_EMPTY)
        return err_set(err, RC_REFUSED, "initdb: %s is %s, expected an empty or missing directory."
                       " %s", op->site.data_dir, pg_dir_kind_text(now.kind), now.problem);
    enum rc rc = pg_marker_set(&op->site, PG_MARKER_INIT, op->site.data_dir, err);
    if (rc != RC_OK || clone->password == NULL)
        return rc;
    rc = pg_site_path(op->site.state_dir, pwfile_name, path, err);
    return rc != RC_OK ? rc : pg_conf_write_file(path, clone->password, strlen(clone->password),
                                                 0600, err);
}

static enum rc basebackup_prepare(const struct pg_op *op, struct err *err)
{
    const struct clone *clone = op->data;
    struct pg_inspection now;
    enum rc rc = pg_data_check_empty(&op->site, clone->system_identifier, err);
    if (rc != RC_OK)
        return rc;
    pg_inspect_read(&op->site, &now);
    /* Behind a rewind that was broken off the files may be the source's, or half of them. */
    if (now.kind == PG_DIR_POSTGRES && !now.markers[PG_MARKER_REWIND])
        rc = pg_conf_save(&op->site, err);
    if (rc == RC_OK)
        rc = pg_marker_set(&op->site, PG_MARKER_CLONE, op->site.data_dir, err);
    if (rc == RC_OK)
        rc = pg_data_empty(&op->site, clone->waldir, err);
    /* The copy replaces whatever was half done before. */
    if (rc == RC_OK)
        rc = pg_marker_clear(&op->site, PG_MARKER_REWIND, err);
    if (rc == RC_OK)
        rc = pg_marker_clear(&op->site, PG_MARKER_INIT, err);
    if (rc == RC_OK)
        rc = pg_file_make_dir(op->site.data_dir, 0700, err);
    return rc != RC_OK ? rc : pg_op_source_write(&op->site, &clone->source, err);
}

static enum rc prepare_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct pg_op *op = work_arg;
    (void)answer;
    return op->kind == PG_OP_INITDB ? initdb_prepare(op, err) : basebackup_prepare(op, err);
}

static enum rc finish_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct pg_op *op = work_arg;
    const struct clone *clone = op->data;
    struct pg_control_data control;
    (void)answer;
    enum rc rc = secrets_remove(op, err);
    if (rc != RC_OK || clone->tool_rc != RC_OK)
        return rc;
    if (op->kind == PG_OP_INITDB)
        return pg_marker_clear(&op->site, PG_MARKER_INIT, err);
    rc = pg_control_read(&op->site, &control, err);
    if (rc != RC_OK)
        return rc;
    if (clone->system_identifier != 0 && control.system_identifier != clone->system_identifier)
        return err_set(err, RC_REFUSED, "the clone is of system %llu, the cluster is %llu: the"
                       " source is another cluster",
                       (unsigned long long)control.system_identifier,
                       (unsigned long long)clone->system_identifier);
    rc = pg_conf_restore(&op->site, err);
    return rc != RC_OK ? rc : pg_marker_clear(&op->site, PG_MARKER_CLONE, err);
}

static void tool_begin(struct pg_op *op)
{
    struct clone *clone = op->data;
    const char *const env[] = {clone->service_env, NULL};
    op->state = CLONE_TOOL;
    op->result.is_data_changed = true;
    pg_op_continue(op, pg_op_child(op, pg_op_kind_text(op->kind),
                                   (const char *const *)clone->args.argv,
                                   clone->source.service != NULL ? env : NULL, &op->err));
}

static void finish_begin(struct pg_op *op, enum rc rc)
{
    struct clone *clone = op->data;
    clone->tool_rc = rc;
    clone->tool_err = op->err;
    op->state = CLONE_FINISH;
    pg_op_continue(op, pg_op_job_closing(op, "finish the copy", finish_work, &op->err));
}

static void clone_advance(struct pg_op *op, enum rc rc)
{
    struct clone *clone = op->data;
    switch ((enum clone_state)op->state) {
    case CLONE_PREPARE:
        /* Refused means that nothing was touched; anything else may have broken off anywhere. */
        op->result.is_data_changed = rc != RC_OK && rc != RC_REFUSED;
        if (rc == RC_OK && !op->is_cancelled)
            tool_begin(op);
        else
            finish_begin(op, rc != RC_OK ? rc : RC_CANCELLED);
        return;
    case CLONE_TOOL:
        finish_begin(op, rc);
        return;
    case CLONE_FINISH:
        if (clone->tool_rc != RC_OK) {
            op->err = clone->tool_err;
            rc = clone->tool_rc;
        }
        pg_op_finish(op, rc);
        return;
    }
    pgh_unreachable();
}

static enum rc clone_start(struct pg_op *op, struct pg_op **ret, struct err *err)
{
    op->state = CLONE_PREPARE;
    enum rc rc = pg_op_job(op, "prepare the data directory", prepare_work, err);
    if (rc != RC_OK) {
        pg_op_free(op);
        return rc;
    }
    *ret = op;
    return RC_OK;
}

/* ---- initdb ---- */

static enum rc initdb_args(struct pg_op *op, const struct pg_initdb *spec, struct err *err)
{
    struct clone *clone = op->data;
    char tool[PG_PATH_SIZE];
    enum rc rc = pg_site_tool(&op->site, PG_TOOL_INITDB, tool, err);
    if (rc == RC_OK)
        rc = pg_op_args_add(&clone->args, err, "%s", tool);
    if (rc == RC_OK)
        rc = pg_op_args_add(&clone->args, err, "--pgdata=%s", op->site.data_dir);
    if (rc == RC_OK && !str_is_empty(spec->superuser))
        rc = pg_op_args_add(&clone->args, err, "--username=%s", spec->superuser);
    if (rc == RC_OK && !str_is_empty(spec->password)) {
        /* initdb reads the first line. */
        if (strpbrk(spec->password, "\r\n") != NULL)
            return err_set(err, RC_INVALID, "initdb: the superuser's password has a line break in"
                           " it, which its password file cannot hold");
        clone->password = mem_strdup(spec->password);
        rc = pg_op_args_add(&clone->args, err, "--pwfile=%s/%s", op->site.state_dir, pwfile_name);
    }
    return rc != RC_OK ? rc : pg_op_args_options(&clone->args, PG_TOOL_INITDB, spec->options,
                                                 spec->options_count, err);
}

enum rc pg_op_initdb(struct loop *loop, const struct pg_initdb *spec,
                     const struct pg_op_hooks *hooks, struct pg_op **ret, struct err *err)
{
    struct pg_op *op = pg_op_new(loop, PG_OP_INITDB, spec->site, hooks, spec->deadline_ms,
                                 sizeof(struct clone));
    op->data_done = clone_done;
    op->advance = clone_advance;
    enum rc rc = initdb_args(op, spec, err);
    if (rc != RC_OK) {
        pg_op_free(op);
        return rc;
    }
    return clone_start(op, ret, err);
}

/* ---- pg_basebackup ---- */

static const char *option_value(const struct pg_basebackup *spec, const char *name, bool *ret_given)
{
    for (size_t i = 0; i < spec->options_count; i++)
        if (str_equal(spec->options[i].name, name)) {
            *ret_given = true;
            return spec->options[i].value;
        }
    *ret_given = false;
    return NULL;
}

static enum rc basebackup_args(struct pg_op *op, const struct pg_basebackup *spec, struct err *err)
{
    struct clone *clone = op->data;
    struct pg_op_args *args = &clone->args;
    char tool[PG_PATH_SIZE];
    bool is_given = false;
    enum rc rc = pg_op_source_init(&op->site, &spec->source, NULL, NULL, &clone->source, err);
    if (rc == RC_OK)
        rc = pg_op_source_env(&op->site, clone->service_env, sizeof clone->service_env, err);
    if (rc == RC_OK)
        rc = pg_site_tool(&op->site, PG_TOOL_BASEBACKUP, tool, err);
    if (rc == RC_OK)
        rc = pg_op_args_add(args, err, "%s", tool);
    if (rc == RC_OK)
        rc = pg_op_args_add(args, err, "--pgdata=%s", op->site.data_dir);
    if (rc == RC_OK)
        rc = pg_op_args_add(args, err, "--wal-method=stream");
    if (rc == RC_OK)
        rc = pg_op_args_add(args, err, "--no-password");
    if (rc == RC_OK)
        rc = pg_op_args_add(args, err, "--dbname=%s", clone->source.conninfo);
    if (rc == RC_OK && spec->slot != NULL)
        rc = pg_op_args_add(args, err, "--slot=%s", spec->slot);
    (void)option_value(spec, "checkpoint", &is_given);
    if (rc == RC_OK && !is_given)
        rc = pg_op_args_add(args, err, "--checkpoint=fast");
    (void)option_value(spec, "progress", &is_given);
    if (rc == RC_OK && !is_given)
        rc = pg_op_args_add(args, err, "--progress");
    const char *waldir = option_value(spec, "waldir", &is_given);
    if (waldir != NULL)
        clone->waldir = mem_strdup(waldir);
    return rc != RC_OK ? rc : pg_op_args_options(args, PG_TOOL_BASEBACKUP, spec->options,
                                                 spec->options_count, err);
}

enum rc pg_op_basebackup(struct loop *loop, const struct pg_basebackup *spec,
                         const struct pg_op_hooks *hooks, struct pg_op **ret, struct err *err)
{
    struct pg_op *op = pg_op_new(loop, PG_OP_BASEBACKUP, spec->site, hooks, spec->deadline_ms,
                                 sizeof(struct clone));
    struct clone *clone = op->data;
    op->data_done = clone_done;
    op->advance = clone_advance;
    clone->system_identifier = spec->system_identifier;
    enum rc rc = basebackup_args(op, spec, err);
    if (rc != RC_OK) {
        pg_op_free(op);
        return rc;
    }
    return clone_start(op, ret, err);
}
