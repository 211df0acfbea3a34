#include "pg_op_private.h"

#include "pg_file.h"
#include "pg_ready.h"
#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/pg_conf.h"

#include <string.h>

/* CHECK (job) --clean------------------------------> READY (job) <--> ARCHIVE (child)
 *   '--not clean--> RECOVER (child) --> VERIFY (job) --^   '--> MARK (job) --> TOOL (child)
 *                                                                 --> FINISH (job) --> done
 * pg_op_recover() ends behind VERIFY. READY and ARCHIVE go round once per segment. What fails
 * behind MARK goes through FINISH: it removes the files with secrets, and the marker where the
 * target was not touched. */
enum rewind_state {
    REWIND_CHECK,
    REWIND_RECOVER,
    REWIND_VERIFY,
    REWIND_READY,
    REWIND_ARCHIVE,
    REWIND_MARK,
    REWIND_TOOL,
    REWIND_FINISH
};

enum {
    KEEP_DEFAULT = 1024 * 1024 * 1024,
    OPTS_MAX = 64 * 1024,
    OPTS_COUNT = 16,
    ARCHIVE_MS = 60000, /* one segment; an archive that hangs must not hold up the coming back */
    COMMAND_MAX = 16 * 1024
};

struct rewind {
    struct pg_op_args args;         /* pg_rewind */
    struct pg_op_args recover_args; /* postgres --single */
    char service_env[PG_PATH_SIZE + 32];
    struct pg_op_source source;
    uint64_t system_identifier;
    uint64_t fork_lsn, keep_bytes_max;
    uint32_t fork_timeline;
    char *archive_command;            /* NULL: nothing is archived */
    char segment[PG_READY_NAME_SIZE]; /* being archived, or the last one that was */
    bool is_archived;                 /* and it is in the archive */
    int64_t deadline_ms;              /* of the whole operation */
    bool is_touched; /* pg_rewind began to write, now or in a try before this one */
    enum rc tool_rc;
    struct err tool_err;
};

/* What CHECK tells: whether recovery is needed and with which settings the server last ran. */
struct check_answer {
    bool is_clean;
    bool is_second_try; /* an earlier rewind was broken off: the target is half changed already */
    int options_count;
    char options[OPTS_COUNT][256];
};

static void rewind_done(struct pg_op *op)
{
    struct rewind *rewind = op->data;
    pg_op_args_done(&rewind->args);
    pg_op_args_done(&rewind->recover_args);
    pg_op_source_done(&rewind->source);
    mem_free(rewind->archive_command);
}

/* ---- CHECK ---- */

/* Settings that came by command line stand in postmaster.opts, each argument in double quotes.
 * Without them recovery may fail: more slots on the disk than max_replication_slots allows, for
 * instance. */
static void options_read(const struct pg_site *site, struct check_answer *out)
{
    static const char *const wanted[] = {
        "--config_file=", "--wal_level=", "--max_connections=", "--max_wal_senders=",
        "--max_prepared_transactions=", "--max_locks_per_transaction=", "--max_replication_slots=",
        "--max_worker_processes=", "--wal_log_hints=", "--track_commit_timestamp=",
    };
    char path[PG_PATH_SIZE];
    struct buf text;
    buf_init(&text, OPTS_MAX);
    if (pg_site_path(site->data_dir, "postmaster.opts", path, NULL) == RC_OK &&
        pg_file_read(path, &text, NULL) == RC_OK) {
        const char *at = buf_text(&text);
        while ((at = strstr(at, " \"--")) != NULL && out->options_count < OPTS_COUNT) {
            at += 2;
            size_t length = strcspn(at, "\"\n");
            for (size_t i = 0; i < PGH_COUNT(wanted); i++)
                if (strncmp(at, wanted[i], strlen(wanted[i])) == 0 && length < 256) {
                    memcpy(out->options[out->options_count], at, length);
                    out->options[out->options_count++][length] = '\0';
                    break;
                }
        }
    }
    buf_done(&text);
}

static enum rc state_check(const struct pg_op *op, const struct pg_inspection *now, struct err *err)
{
    const struct rewind *rewind = op->data;
    const char *dir = op->site.data_dir;
    if (now->kind != PG_DIR_POSTGRES || !now->has_control)
        return err_set(err, RC_REFUSED, "%s is %s, expected a PostgreSQL data directory. %s", dir,
                       pg_dir_kind_text(now->kind), now->problem);
    if (now->is_alive)
        return err_set(err, RC_REFUSED, "%s: PostgreSQL runs there as process %lld", dir,
                       (long long)now->process.pid);
    if (now->has_backup_label)
        return err_set(err, RC_REFUSED, "%s holds a backup_label: it is a base backup that was"
                       " never started, not a server that diverged", dir);
    if (op->kind == PG_OP_RECOVER)
        return pg_control_data_is_clean(&now->control)
                   ? err_set(err, RC_REFUSED, "%s was stopped in order: nothing to recover", dir)
                   : RC_OK;
    if (now->control.system_identifier != rewind->system_identifier)
        return err_set(err, RC_REFUSED, "%s belongs to system %llu, the cluster is %llu: it is not"
                       " rewound", dir, (unsigned long long)now->control.system_identifier,
                       (unsigned long long)rewind->system_identifier);
    if (!pg_control_data_can_rewind(&now->control))
        return err_set(err, RC_REFUSED, "%s has neither wal_log_hints nor data checksums:"
                       " pg_rewind cannot work on it", dir);
    return RC_OK;
}

static enum rc check_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct pg_op *op = work_arg;
    struct pg_inspection now;
    struct check_answer out = {0};
    char path[PG_PATH_SIZE];
    pg_inspect_read(&op->site, &now);
    enum rc rc = state_check(op, &now, err);
    if (rc != RC_OK)
        return rc;
    out.is_clean = pg_control_data_is_clean(&now.control);
    out.is_second_try = now.markers[PG_MARKER_REWIND];
    options_read(&op->site, &out);
    if (!out.is_clean) {
        /* Single-user mode refuses to be a standby. */
        rc = pg_site_path(op->site.data_dir, "standby.signal", path, err);
        if (rc == RC_OK)
            rc = pg_file_remove(path, err);
        if (rc == RC_OK)
            rc = pg_site_path(op->site.data_dir, "recovery.signal", path, err);
        if (rc == RC_OK)
            rc = pg_file_remove(path, err);
    }
    return rc != RC_OK ? rc : buf_append(answer, &out, sizeof out);
}

/* ---- RECOVER ---- */

/* archive_mode on and a command that fails: the server remembers what is still to be archived, and
 * archives nothing itself, for as long as that may take: READY does. stdin is closed, so it ends
 * behind recovery. */
static enum rc recover_begin(struct pg_op *op, const struct check_answer *answer)
{
    struct rewind *rewind = op->data;
    struct pg_op_args *args = &rewind->recover_args;
    char tool[PG_PATH_SIZE];
    static const char *const fixed[] = {
        "--archive_mode=on", "--archive_command=false", "--synchronous_standby_names=",
        "--log_destination=stderr", "--logging_collector=off", "template1",
    };
    enum rc rc = pg_site_tool(&op->site, PG_TOOL_POSTGRES, tool, &op->err);
    if (rc == RC_OK)
        rc = pg_op_args_add(args, &op->err, "%s", tool);
    if (rc == RC_OK)
        rc = pg_op_args_add(args, &op->err, "--single");
    if (rc == RC_OK)
        rc = pg_op_args_add(args, &op->err, "-D");
    if (rc == RC_OK)
        rc = pg_op_args_add(args, &op->err, "%s", op->site.data_dir);
    for (int i = 0; i < answer->options_count && rc == RC_OK; i++)
        rc = pg_op_args_add(args, &op->err, "%s", answer->options[i]);
    for (size_t i = 0; i < PGH_COUNT(fixed) && rc == RC_OK; i++)
        rc = pg_op_args_add(args, &op->err, "%s", fixed[i]);
    op->state = REWIND_RECOVER;
    if (rc == RC_OK)
        pg_op_progress(op, "crash recovery in single-user mode");
    return rc != RC_OK ? rc : pg_op_child(op, "crash recovery", (const char *const *)args->argv,
                                          NULL, &op->err);
}

static enum rc verify_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct pg_op *op = work_arg;
    struct pg_control_data control;
    (void)answer;
    enum rc rc = pg_control_read(&op->site, &control, err);
    if (rc == RC_OK && !pg_control_data_is_clean(&control))
        rc = err_set(err, RC_REFUSED, "crash recovery left the server \"%s\"",
                     pg_control_state_text(control.state));
    return rc;
}

/* ---- READY, ARCHIVE ---- */

static enum rc ready_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct pg_op *op = work_arg;
    const struct rewind *rewind = op->data;
    char next[PG_READY_NAME_SIZE] = "";
    enum rc rc = RC_OK;
    if (rewind->is_archived)
        rc = pg_ready_done(&op->site, rewind->segment, err);
    if (rc == RC_OK)
        rc = pg_ready_next(&op->site, rewind->segment, next, err);
    return rc != RC_OK ? rc : buf_append(answer, next, sizeof next);
}

/* In the data directory, as the server would run it. */
static enum rc archive_begin(struct pg_op *op)
{
    struct rewind *rewind = op->data;
    struct buf command;
    buf_init(&command, COMMAND_MAX);
    enum rc rc = pg_ready_command(rewind->archive_command, rewind->segment, &command);
    const char *const argv[] = {"/bin/sh", "-c", "cd \"$0\" && exec /bin/sh -c \"$1\"",
                                op->site.data_dir, buf_text(&command), NULL};
    op->state = REWIND_ARCHIVE;
    rewind->is_archived = false;
    rewind->deadline_ms = op->deadline_ms;
    op->deadline_ms = clock_boot_ms() + ARCHIVE_MS < op->deadline_ms || op->deadline_ms == 0
                          ? clock_boot_ms() + ARCHIVE_MS
                          : op->deadline_ms;
    rc = rc == RC_OK ? pg_op_child(op, "archive_command", argv, NULL, &op->err)
                     : err_set(&op->err, rc, "archive_command is longer than %d", COMMAND_MAX);
    buf_done(&command);
    return rc;
}

/* ---- MARK, TOOL, FINISH ---- */

static enum rc mark_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct pg_op *op = work_arg;
    const struct rewind *rewind = op->data;
    struct pg_data_kept kept = {0};
    enum rc rc = RC_OK;
    /* Broken off, pg_rewind has taken WAL away: what could be kept was kept before the first
     * try. */
    if (rewind->fork_lsn != 0 && !rewind->is_touched)
        rc = pg_data_keep_wal(&op->site, rewind->fork_lsn, rewind->fork_timeline,
                              rewind->keep_bytes_max, &kept, err);
    /* Likewise the configuration: what lies there now may be a half copied file of the source. */
    if (rc == RC_OK && !rewind->is_touched)
        rc = pg_conf_save(&op->site, err);
    if (rc == RC_OK)
        rc = pg_op_source_write(&op->site, &rewind->source, err);
    if (rc == RC_OK)
        rc = pg_marker_set(&op->site, PG_MARKER_REWIND, op->site.data_dir, err);
    return rc != RC_OK ? rc : buf_append(answer, &kept, sizeof kept);
}

/* What pg_rewind says under LC_ALL=C; "need to copy" comes right before it begins to write. */
static void rewind_line(struct pg_op *op, const char *line)
{
    struct rewind *rewind = op->data;
    static const char diverged[] = "servers diverged at WAL location ";
    const char *at = strstr(line, diverged);
    if (op->state == REWIND_TOOL && strcasestr(line, "need to copy") != NULL)
        rewind->is_touched = true;
    if (op->state == REWIND_TOOL && strstr(line, "no rewind required") != NULL)
        op->result.is_needed = false;
    if (op->state == REWIND_TOOL && at != NULL) {
        char lsn[LSN_TEXT_SIZE] = "";
        uint64_t timeline = 0;
        at += strlen(diverged);
        size_t length = strcspn(at, " ");
        if (length < sizeof lsn)
            memcpy(lsn, at, length);
        (void)lsn_parse(lsn, &op->result.fork_lsn); /* for people: 0 where it is not understood */
        at = strstr(at, "timeline ");
        if (at != NULL && str_parse_uint64(at + strlen("timeline "), &timeline))
            op->result.fork_timeline = (uint32_t)timeline;
    }
    pg_op_progress(op, line);
}

static enum rc finish_work(void *work_arg, struct buf *answer, struct err *err)
{
    const struct pg_op *op = work_arg;
    const struct rewind *rewind = op->data;
    (void)answer;
    enum rc rc = pg_op_source_remove(&op->site, err);
    if (rc == RC_OK && rewind->tool_rc == RC_OK)
        rc = pg_conf_restore(&op->site, err);
    if (rc == RC_OK && (rewind->tool_rc == RC_OK || !rewind->is_touched))
        rc = pg_marker_clear(&op->site, PG_MARKER_REWIND, err);
    return rc;
}

static void finish_begin(struct pg_op *op, enum rc rc)
{
    struct rewind *rewind = op->data;
    rewind->tool_rc = rc;
    rewind->tool_err = op->err;
    op->result.is_data_changed = rewind->is_touched;
    op->state = REWIND_FINISH;
    pg_op_continue(op, pg_op_job_closing(op, "finish the rewind", finish_work, &op->err));
}

static void tool_begin(struct pg_op *op)
{
    struct rewind *rewind = op->data;
    struct pg_data_kept kept = {0};
    const char *const env[] = {rewind->service_env, NULL};
    pgh_assert(op->answer.length == sizeof kept);
    memcpy(&kept, buf_text(&op->answer), sizeof kept);
    bool is_fit = str_copy(op->result.kept_dir, sizeof op->result.kept_dir, kept.dir);
    pgh_assert(is_fit);
    op->result.kept_bytes = kept.kept_bytes;
    op->result.lost_bytes = kept.lost_bytes;
    op->result.is_kept_cut = kept.is_cut;
    op->state = REWIND_TOOL;
    op->result.is_needed = true;
    enum rc rc = pg_op_child(op, "pg_rewind", (const char *const *)rewind->args.argv,
                             rewind->source.service != NULL ? env : NULL, &op->err);
    if (rc != RC_OK)
        finish_begin(op, rc);
}

static void mark_begin(struct pg_op *op)
{
    op->state = REWIND_MARK;
    pg_op_continue(op, pg_op_job(op, "keep what is lost", mark_work, &op->err));
}

/* What the archive lacks cannot be fetched from there, by pg_rewind or by whoever needs it later.
 * Behind a rewind that was broken off the notes may be the source's. */
static void ready_begin(struct pg_op *op)
{
    const struct rewind *rewind = op->data;
    if (rewind->archive_command == NULL || rewind->is_touched) {
        mark_begin(op);
        return;
    }
    op->state = REWIND_READY;
    pg_op_continue(op, pg_op_job(op, "look for unarchived WAL", ready_work, &op->err));
}

/* An archive that does not take it is no reason to stay away: the WAL that would be lost is kept
 * aside. */
static void archive_failed(struct pg_op *op)
{
    const struct rewind *rewind = op->data;
    char text[ERR_TEXT_SIZE + 64];
    (void)str_format(text, sizeof text, "not archived before the rewind: %s %s", rewind->segment,
                     op->err.text);
    pg_op_progress(op, text);
    mark_begin(op);
}

static void ready_done(struct pg_op *op, enum rc rc)
{
    struct rewind *rewind = op->data;
    char text[PG_READY_NAME_SIZE + 32];
    if (rc != RC_OK) {
        archive_failed(op);
        return;
    }
    pgh_assert(op->answer.length == sizeof rewind->segment);
    memcpy(rewind->segment, buf_text(&op->answer), sizeof rewind->segment);
    if (rewind->segment[0] == '\0') {
        mark_begin(op);
        return;
    }
    bool is_fit = str_format(text, sizeof text, "archiving %s", rewind->segment);
    pgh_assert(is_fit);
    pg_op_progress(op, text);
    if (archive_begin(op) != RC_OK) {
        op->deadline_ms = rewind->deadline_ms;
        archive_failed(op);
    }
}

static void archive_done(struct pg_op *op, enum rc rc)
{
    struct rewind *rewind = op->data;
    op->deadline_ms = rewind->deadline_ms;
    rewind->is_archived = rc == RC_OK;
    if (rc == RC_OK)
        ready_begin(op);
    else
        archive_failed(op);
}

static void check_done(struct pg_op *op)
{
    struct rewind *rewind = op->data;
    struct check_answer answer;
    pgh_assert(op->answer.length == sizeof answer);
    memcpy(&answer, buf_text(&op->answer), sizeof answer);
    rewind->is_touched = answer.is_second_try;
    if (!answer.is_clean) {
        pg_op_continue(op, recover_begin(op, &answer));
        return;
    }
    ready_begin(op);
}

static void rewind_advance(struct pg_op *op, enum rc rc)
{
    struct rewind *rewind = op->data;
    if (rc == RC_OK && op->is_cancelled && op->state < REWIND_TOOL)
        rc = RC_CANCELLED;
    switch ((enum rewind_state)op->state) {
    case REWIND_CHECK:
        if (rc != RC_OK)
            break;
        check_done(op);
        return;
    case REWIND_RECOVER:
        if (rc != RC_OK)
            break;
        op->state = REWIND_VERIFY;
        pg_op_continue(op, pg_op_job(op, "verify the recovery", verify_work, &op->err));
        return;
    case REWIND_VERIFY:
        if (rc != RC_OK || op->kind == PG_OP_RECOVER)
            break;
        ready_begin(op);
        return;
    case REWIND_READY:
    case REWIND_ARCHIVE:
        if (op->is_cancelled)
            break;
        if (op->state == REWIND_READY)
            ready_done(op, rc);
        else
            archive_done(op, rc);
        return;
    case REWIND_MARK:
        if (rc == RC_OK)
            tool_begin(op);
        else
            finish_begin(op, rc);
        return;
    case REWIND_TOOL:
        finish_begin(op, rc);
        return;
    case REWIND_FINISH:
        if (rewind->tool_rc != RC_OK) {
            op->err = rewind->tool_err;
            rc = rewind->tool_rc;
        }
        break;
    }
    pg_op_finish(op, rc);
}

/* ---- calls ---- */

static struct pg_op *rewind_new(struct loop *loop, enum pg_op_kind kind, const struct pg_site *site,
                                const struct pg_op_hooks *hooks, int64_t deadline_ms)
{
    struct pg_op *op =
        pg_op_new(loop, kind, site, hooks, deadline_ms, sizeof(struct rewind));
    op->data_done = rewind_done;
    op->advance = rewind_advance;
    op->on_line = rewind_line;
    op->state = REWIND_CHECK;
    return op;
}

static enum rc rewind_start(struct pg_op *op, struct pg_op **ret, struct err *err)
{
    enum rc rc = pg_op_job(op, "check the data directory", check_work, err);
    if (rc != RC_OK) {
        pg_op_free(op);
        return rc;
    }
    *ret = op;
    return RC_OK;
}

enum rc pg_op_recover(struct loop *loop, const struct pg_recover *spec,
                      const struct pg_op_hooks *hooks, struct pg_op **ret, struct err *err)
{
    struct pg_op *op = rewind_new(loop, PG_OP_RECOVER, spec->site, hooks, spec->deadline_ms);
    return rewind_start(op, ret, err);
}

static enum rc rewind_args(struct pg_op *op, const struct pg_rewind *spec, struct err *err)
{
    struct rewind *rewind = op->data;
    struct pg_op_args *args = &rewind->args;
    const char *database = spec->source.database != NULL ? spec->source.database : "postgres";
    char tool[PG_PATH_SIZE];
    enum rc rc = pg_op_source_init(&op->site, &spec->source, database, "read-write",
                                   &rewind->source, err);
    if (rc == RC_OK)
        rc = pg_op_source_env(&op->site, rewind->service_env, sizeof rewind->service_env, err);
    if (rc == RC_OK)
        rc = pg_site_tool(&op->site, PG_TOOL_REWIND, tool, err);
    if (rc == RC_OK)
        rc = pg_op_args_add(args, err, "%s", tool);
    if (rc == RC_OK)
        rc = pg_op_args_add(args, err, "--target-pgdata=%s", op->site.data_dir);
    if (rc == RC_OK)
        rc = pg_op_args_add(args, err, "--source-server=%s", rewind->source.conninfo);
    if (rc == RC_OK)
        rc = pg_op_args_add(args, err, "--progress");
    bool is_inside = str_equal(op->site.config_dir, op->site.data_dir);
    if (rc == RC_OK && spec->has_restore_command && (is_inside || spec->major_version >= 15))
        rc = pg_op_args_add(args, err, "--restore-target-wal");
    if (rc == RC_OK && spec->has_restore_command && !is_inside && spec->major_version >= 15)
        rc = pg_op_args_add(args, err, "--config-file=%s/%s.conf", op->site.config_dir,
                            op->site.config_base);
    return rc != RC_OK ? rc : pg_op_args_options(args, PG_TOOL_REWIND, spec->options,
                                                 spec->options_count, err);
}

enum rc pg_op_rewind(struct loop *loop, const struct pg_rewind *spec,
                     const struct pg_op_hooks *hooks, struct pg_op **ret, struct err *err)
{
    struct pg_op *op = rewind_new(loop, PG_OP_REWIND, spec->site, hooks, spec->deadline_ms);
    struct rewind *rewind = op->data;
    rewind->system_identifier = spec->system_identifier;
    rewind->fork_lsn = spec->fork_lsn;
    rewind->fork_timeline = spec->fork_timeline;
    if (!str_is_empty(spec->archive_command))
        rewind->archive_command = mem_strdup(spec->archive_command);
    rewind->keep_bytes_max = spec->keep_bytes_max > 0 ? spec->keep_bytes_max : KEEP_DEFAULT;
    enum rc rc = rewind_args(op, spec, err);
    if (rc != RC_OK) {
        pg_op_free(op);
        return rc;
    }
    return rewind_start(op, ret, err);
}
