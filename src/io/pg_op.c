#include "pg_op_private.h"

#include "pg_file.h"
#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"
#include "pgheir/io/pg_conf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *pg_op_kind_text(enum pg_op_kind kind)
{
    static const char *const texts[PG_OP_KIND_COUNT] = {
#define X(code, text) [code] = text,
        PG_OP_TABLE(X)
#undef X
    };
    pgh_assert(kind >= 0 && kind < PG_OP_KIND_COUNT);
    return texts[kind];
}

enum pg_op_kind pg_op_kind(const struct pg_op *op)
{
    return op->kind;
}

/* ---- life ---- */

struct pg_op *pg_op_new(struct loop *loop, enum pg_op_kind kind, const struct pg_site *site,
                        const struct pg_op_hooks *hooks, int64_t deadline_ms, size_t data_size)
{
    struct pg_op *op = mem_new(1, sizeof *op);
    pgh_assert(hooks->on_done != NULL && deadline_ms > 0);
    op->loop = loop;
    op->kind = kind;
    op->site = *site;
    op->hooks = *hooks;
    op->deadline_ms = deadline_ms;
    op->started_at_ms = clock_boot_ms();
    op->result.kind = kind;
    op->data = mem_new(1, data_size > 0 ? data_size : 1);
    buf_init(&op->answer, JOB_ANSWER_MAX);
    return op;
}

static void op_destroy(struct pg_op *op)
{
    if (op->data_done != NULL)
        op->data_done(op);
    buf_done(&op->answer);
    mem_free(op->data);
    mem_free(op);
}

void pg_op_free(struct pg_op *op)
{
    if (op == NULL || op->is_done)
        return;
    child_free(op->child);
    job_free(op->job);
    op_destroy(op);
}

void pg_op_finish(struct pg_op *op, enum rc rc)
{
    pgh_assert(op->child == NULL && op->job == NULL);
    if (op->is_cancelled && rc != RC_OK)
        rc = err_set(&op->err, RC_CANCELLED, "%s: cancelled", pg_op_kind_text(op->kind));
    op->result.rc = rc;
    op->result.err = op->err;
    op->result.took_ms = clock_boot_ms() - op->started_at_ms;
    op->is_done = true;
    op->hooks.on_done(&op->result, op->hooks.arg);
    op_destroy(op);
}

void pg_op_continue(struct pg_op *op, enum rc rc)
{
    if (rc != RC_OK)
        pg_op_finish(op, rc);
}

void pg_op_cancel(struct pg_op *op)
{
    if (op->is_done)
        return;
    op->is_cancelled = true;
    if (op->is_closing)
        return;
    if (op->child != NULL)
        child_cancel(op->child);
    else if (op->job != NULL)
        job_cancel(op->job);
    else if (op->on_cancel != NULL)
        op->on_cancel(op);
}

void pg_op_extend(struct pg_op *op, int64_t deadline_ms)
{
    op->deadline_ms = deadline_ms;
    if (op->child != NULL)
        child_extend(op->child, deadline_ms);
    if (op->job != NULL)
        job_extend(op->job, deadline_ms);
}

void pg_op_progress(struct pg_op *op, const char *text)
{
    log_debug("%s: %s", pg_op_kind_text(op->kind), text);
    if (op->hooks.on_progress != NULL)
        op->hooks.on_progress(text, op->hooks.arg);
}

/* ---- steps ---- */

static void on_job_done(enum rc rc, const struct err *err, const void *answer, size_t length,
                        void *arg)
{
    struct pg_op *op = arg;
    op->job = NULL;
    op->err = *err;
    buf_clear(&op->answer);
    if (rc == RC_OK) {
        enum rc append_rc = buf_append(&op->answer, answer, length);
        pgh_assert(append_rc == RC_OK);
    }
    op->advance(op, rc);
}

static void on_job_progress(const char *text, void *arg)
{
    struct pg_op *op = arg;
    if (op->on_line != NULL)
        op->on_line(op, text);
    else
        pg_op_progress(op, text);
}

enum rc pg_op_job(struct pg_op *op, const char *name,
                  enum rc (*work)(void *work_arg, struct buf *answer, struct err *err),
                  struct err *err)
{
    const struct job_spec spec = {
        .name = name,
        .work = work,
        .work_arg = op,
        .deadline_ms = op->deadline_ms,
        .on_progress = on_job_progress,
        .on_done = on_job_done,
        .arg = op,
    };
    return job_start(op->loop, &spec, &op->job, err);
}

enum rc pg_op_job_closing(struct pg_op *op, const char *name,
                          enum rc (*work)(void *work_arg, struct buf *answer, struct err *err),
                          struct err *err)
{
    int64_t soon_ms = clock_boot_ms() + PG_OP_GRACE_MS;
    op->is_closing = true;
    if (op->deadline_ms < soon_ms)
        op->deadline_ms = soon_ms;
    return pg_op_job(op, name, work, err);
}

static void on_child_line(enum child_stream stream, const char *line, void *arg)
{
    struct pg_op *op = arg;
    (void)stream;
    if (op->on_line != NULL)
        op->on_line(op, line);
    else
        pg_op_progress(op, line);
}

static void on_child_done(const struct child_result *result, void *arg)
{
    struct pg_op *op = arg;
    op->child = NULL;
    enum rc rc = child_result_check(pg_op_kind_text(op->kind), result, &op->err);
    op->advance(op, rc);
}

enum rc pg_op_child(struct pg_op *op, const char *name, const char *const *argv,
                    const char *const *env_set, struct err *err)
{
    static const char *const unset[] = {
        "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSERVICE",
        "PGOPTIONS", "PGDATA", "PGTARGETSESSIONATTRS", "LC_ALL", "LC_MESSAGES", "LANGUAGE",
        "PATRONI_*", "PGHEIR_*", "NOTIFY_SOCKET", NULL,
    };
    const struct child_spec spec = {
        .name = name,
        .argv = argv,
        .env_set = env_set,
        .env_unset = unset,
        .dir = "/",
        .deadline_ms = op->deadline_ms,
        .term_grace_ms = PG_OP_GRACE_MS,
        .on_line = on_child_line,
        .on_done = on_child_done,
        .arg = op,
    };
    return child_start(op->loop, &spec, &op->child, err);
}

/* ---- arguments ---- */

enum rc pg_op_args_add(struct pg_op_args *args, struct err *err, const char *fmt, ...)
{
    char text[PG_OP_CONNINFO_MAX + 64];
    va_list list;
    va_start(list, fmt);
    int length = vsnprintf(text, sizeof text, fmt, list);
    va_end(list);
    if (length < 0 || (size_t)length >= sizeof text)
        return err_set(err, RC_LIMIT, "an argument is longer than %zu bytes", sizeof text - 1);
    if (args->count == PG_OP_ARGS_MAX)
        return err_set(err, RC_LIMIT, "more than %d arguments", PG_OP_ARGS_MAX);
    args->argv[args->count++] = mem_strdup(text);
    return RC_OK;
}

enum rc pg_op_args_options(struct pg_op_args *args, enum pg_tool tool,
                           const struct pg_option *options, size_t count, struct err *err)
{
    enum rc rc = pg_option_check(tool, options, count, err);
    for (size_t i = 0; i < count && rc == RC_OK; i++)
        rc = options[i].value == NULL
                 ? pg_op_args_add(args, err, "--%s", options[i].name)
                 : pg_op_args_add(args, err, "--%s=%s", options[i].name, options[i].value);
    return rc;
}

void pg_op_args_done(struct pg_op_args *args)
{
    for (int i = 0; i < args->count; i++)
        mem_free(args->argv[i]);
    memset(args, 0, sizeof *args);
}

enum rc pg_option_check(enum pg_tool tool, const struct pg_option *options, size_t count,
                        struct err *err)
{
    static const char *const initdb[] = {"pgdata", "nosync", "no-sync", "pwfile", "sync-only",
                                         "version", "help", "username", "pwprompt", NULL};
    static const char *const basebackup[] = {
        "pgdata", "format", "wal-method", "xlog-method", "gzip", "version", "dbname", "host",
        "port",
        "username", "password", "no-password", "target", "write-recovery-conf", "help", NULL};
    static const char *const rewind[] = {
        "target-pgdata", "source-pgdata", "source-server", "write-recovery-conf", "dry-run",
        "restore-target-wal", "config-file", "no-ensure-shutdown", "version", "help", NULL};
    static const char *const none[] = {NULL};
    const char *const *refused = tool == PG_TOOL_INITDB       ? initdb
                                 : tool == PG_TOOL_BASEBACKUP ? basebackup
                                 : tool == PG_TOOL_REWIND     ? rewind
                                                              : none;
    for (size_t i = 0; i < count; i++) {
        const char *name = options[i].name;
        if (str_is_empty(name) || name[0] == '-' || strpbrk(name, "= \t\r\n") != NULL)
            return err_set(err, RC_INVALID, "option \"%.64s\": expected a long option's name"
                           " without dashes", name != NULL ? name : "");
        for (const char *const *at = refused; *at != NULL; at++)
            if (str_equal(name, *at))
                return err_set(err, RC_INVALID, "option %s is set by pgheir itself and cannot be"
                               " configured", name);
        if (tool == PG_TOOL_BASEBACKUP && str_equal(name, "compress") &&
            !str_starts_with(options[i].value != NULL ? options[i].value : "", "server"))
            return err_set(err, RC_INVALID, "option compress: only server-side compression"
                           " (\"server-...\") works for a clone");
    }
    return RC_OK;
}

/* ---- sources ---- */

static const char pgpass_name[] = "source.pgpass";
static const char service_name[] = "source.service";

static enum rc service_build(const struct pg_source *source, struct buf *out, struct err *err)
{
    for (size_t i = 0; i < source->options_count; i++) {
        const char *value = source->options[i].value;
        if (value == NULL || !str_equal(source->options[i].name, "sslpassword"))
            continue;
        if (strpbrk(value, "\r\n") != NULL)
            return err_set(err, RC_INVALID, "sslpassword: a line break in it cannot be passed on");
        enum rc rc = buf_printf(out, "[pgheir]\nsslpassword=%s\n", value);
        if (rc != RC_OK)
            return err_set(err, rc, "sslpassword is too long");
    }
    return RC_OK;
}

static enum rc conninfo_build(const struct pg_site *site, const struct pg_source *source,
                              const char *database, const char *attrs, bool has_service,
                              struct buf *out, struct err *err)
{
    char port[8], passfile[PG_PATH_SIZE];
    enum rc rc = pg_site_path(site->state_dir, pgpass_name, passfile, err);
    if (rc != RC_OK)
        return rc;
    if (source->port < 1 || source->port > 65535 ||
        !str_format(port, sizeof port, "%d", source->port))
        return err_set(err, RC_INVALID, "source port %d is not between 1 and 65535", source->port);
    const struct pg_text_pair words[] = {
        {"service", has_service ? "pgheir" : NULL},
        {"host", source->host},
        {"hostaddr", source->address},
        {"port", port},
        {"user", source->user},
        {"dbname", database},
        {"passfile", source->password != NULL ? passfile : NULL},
        {"target_session_attrs", attrs},
        {"krbsrvname", source->krbsrvname},
    };
    rc = pg_text_conninfo_add_all(out, words, PGH_COUNT(words), err);
    for (size_t i = 0; i < source->options_count && rc == RC_OK; i++)
        if (source->options[i].value != NULL && !str_equal(source->options[i].name, "sslpassword"))
            rc = pg_text_conninfo_add(out, source->options[i].name, source->options[i].value, err);
    return rc;
}

enum rc pg_op_source_init(const struct pg_site *site, const struct pg_source *source,
                          const char *database, const char *attrs, struct pg_op_source *ret,
                          struct err *err)
{
    struct buf conninfo, pgpass, service;
    enum rc rc = RC_OK;
    buf_init(&conninfo, PG_OP_CONNINFO_MAX);
    buf_init(&pgpass, PG_OP_CONNINFO_MAX);
    buf_init(&service, PG_OP_CONNINFO_MAX);
    memset(ret, 0, sizeof *ret);
    if (source->password != NULL)
        rc = pg_text_pgpass_line(&pgpass, NULL, NULL, NULL, source->user, source->password, err);
    if (rc == RC_OK)
        rc = service_build(source, &service, err);
    if (rc == RC_OK)
        rc = conninfo_build(site, source, database, attrs, service.length > 0, &conninfo, err);
    if (rc == RC_OK) {
        ret->conninfo = mem_strdup(buf_text(&conninfo));
        ret->pgpass = source->password != NULL ? mem_strdup(buf_text(&pgpass)) : NULL;
        ret->service = service.length > 0 ? mem_strdup(buf_text(&service)) : NULL;
    }
    if (pgpass.bytes != NULL)
        explicit_bzero(pgpass.bytes, pgpass.size);
    if (service.bytes != NULL)
        explicit_bzero(service.bytes, service.size);
    buf_done(&service);
    buf_done(&pgpass);
    buf_done(&conninfo);
    return rc;
}

static void secret_free(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    mem_free(text);
}

void pg_op_source_done(struct pg_op_source *source)
{
    mem_free(source->conninfo);
    secret_free(source->pgpass);
    secret_free(source->service);
    memset(source, 0, sizeof *source);
}

static enum rc secret_write(const struct pg_site *site, const char *name, const char *text,
                            struct err *err)
{
    char path[PG_PATH_SIZE];
    if (text == NULL)
        return RC_OK;
    enum rc rc = pg_site_path(site->state_dir, name, path, err);
    return rc != RC_OK ? rc : pg_conf_write_file(path, text, strlen(text), 0600, err);
}

enum rc pg_op_source_write(const struct pg_site *site, const struct pg_op_source *source,
                           struct err *err)
{
    enum rc rc = pg_file_make_dir(site->state_dir, 0700, err);
    if (rc == RC_OK)
        rc = secret_write(site, pgpass_name, source->pgpass, err);
    return rc != RC_OK ? rc : secret_write(site, service_name, source->service, err);
}

enum rc pg_op_source_remove(const struct pg_site *site, struct err *err)
{
    char path[PG_PATH_SIZE];
    enum rc rc = pg_site_path(site->state_dir, pgpass_name, path, err);
    if (rc == RC_OK)
        rc = pg_file_remove(path, err);
    if (rc == RC_OK)
        rc = pg_site_path(site->state_dir, service_name, path, err);
    return rc != RC_OK ? rc : pg_file_remove(path, err);
}

enum rc pg_op_source_env(const struct pg_site *site, char *ret, size_t size, struct err *err)
{
    if (!str_format(ret, size, "PGSERVICEFILE=%s/%s", site->state_dir, service_name))
        return err_set(err, RC_LIMIT, "state directory %.100s...: path too long", site->state_dir);
    return RC_OK;
}
