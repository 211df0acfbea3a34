/* CLONE and REWIND: data from another member, by pg_basebackup, by methods of the user's own, by
 * pg_rewind. Marked in the state directory until it is whole. */
#include "ops.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/str.h"

enum {
    FILES_MS = 30000,
    EMPTY_MS = 3600000,
    SIZE_MS = 10000,
    SOURCE_MS = 10000,
    CONNINFO_BYTES_MAX = 4096,
    SPACE_SLACK_PERCENT = 5
};

/* ---- The source ---- */

static void
source_on_identity(const struct pg_identity *identity, struct pg_answer *answer, void *arg)
{
    struct ops *ops = arg;
    uint64_t sysid = agent_view(ops->agent)->sysid;
    struct err err;

    pg_conn_free(ops->conn);
    ops->conn = NULL;
    if (identity == NULL) {
        ops_fail(ops, &answer->err);
    } else if (identity->system_identifier != sysid) {
        (void)err_set(&err, RC_REFUSED, "%s is of system %llu, the cluster is %llu",
                      ops->source.name, (unsigned long long)identity->system_identifier,
                      (unsigned long long)sysid);
        ops_fail(ops, &err);
    } else {
        ops_next(ops);
    }
}

static void
source_on_session(struct pg_answer *answer, void *arg)
{
    struct ops *ops = arg;
    struct err err;

    if (answer->rc != RC_OK)
        ops_fail(ops, &answer->err);
    else if (pg_query_identify(ops->conn, clock_boot_ms() + SOURCE_MS, source_on_identity, ops,
                               &err) != RC_OK)
        ops_fail(ops, &err);
}

/* Data are given up only for a copy that can be had: P5. */
static void
step_source(struct ops *ops)
{
    struct agent *agent = ops->agent;
    struct pg_conn_target target;
    struct err err;

    if (local_watch_inspection(agent->local)->kind != PG_DIR_POSTGRES) {
        ops_next(ops);
        return;
    }
    ops->conn = pg_conn_new(agent->loop, ops->source.name);
    pg_plan_remote_target(agent, &ops->source, ops->address, &agent->pg.replication, &target);
    if (pg_conn_open(ops->conn, PG_CONN_REPLICATION, &target, clock_boot_ms() + SOURCE_MS,
                     source_on_session, ops, &err) != RC_OK)
        ops_fail(ops, &err);
}

/* ---- Space ---- */

/* Free bytes where the copy goes, with what is there already and will be removed counted as
 * free. */
static bool
space_read(const struct ops *ops, uint64_t *ret_bytes)
{
    char path[PG_PATH_SIZE];
    struct statvfs info;
    char *slash;

    agent_copy(path, sizeof(path), ops->agent->site.data_dir);
    while (statvfs(path, &info) != 0) {
        slash = strrchr(path, '/');
        if (slash == NULL || slash == path)
            return false;
        *slash = '\0';
    }
    *ret_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    return true;
}

static enum rc
space_work(void *arg, struct buf *answer, struct err *err)
{
    uint64_t bytes = 0;

    if (!space_read(arg, &bytes))
        return err_set_errno(err, errno, "cannot tell the free space");
    return buf_append(answer, &bytes, sizeof(bytes));
}

/* A copy that does not fit would fill the disk, fail and begin again (BC-06). */
static void
space_on_free(enum rc rc, const struct err *err, const void *answer, size_t length, void *arg)
{
    struct ops *ops = arg;
    uint64_t free_bytes = 0;
    struct err full;

    ops->job = NULL;
    if (rc == RC_CANCELLED || ops->is_cancelled) {
        ops_fail(ops, err);
        return;
    }
    if (rc == RC_OK && length == sizeof(free_bytes))
        memcpy(&free_bytes, answer, sizeof(free_bytes));
    else
        free_bytes = UINT64_MAX;
    if (free_bytes < ops->source_bytes + ops->source_bytes / 100 * SPACE_SLACK_PERCENT &&
        local_watch_inspection(ops->agent->local)->kind != PG_DIR_POSTGRES &&
        local_watch_inspection(ops->agent->local)->kind != PG_DIR_PARTIAL) {
        (void)err_set(&full, RC_LIMIT, "%s needs %llu MB, %llu MB are free below %s",
                      ops->source.name, (unsigned long long)(ops->source_bytes >> 20),
                      (unsigned long long)(free_bytes >> 20), ops->agent->site.data_dir);
        ops_fail(ops, &full);
        return;
    }
    ops_next(ops);
}

static void
space_on_size(struct pg_answer *answer, void *arg)
{
    struct ops *ops = arg;
    struct job_spec spec = {.name = "free space",
                            .work = space_work,
                            .work_arg = ops,
                            .deadline_ms = clock_boot_ms() + FILES_MS,
                            .on_done = space_on_free,
                            .arg = ops};
    struct err err;

    if (answer->rc == RC_OK && answer->results_count > 0 &&
        PQntuples(answer->results[0]) == 1)
        (void)str_parse_uint64(PQgetvalue(answer->results[0], 0, 0), &ops->source_bytes);
    else
        log_debug("size of %s is not known: %s", ops->source.name, answer->err.text);
    pg_conn_free(ops->conn);
    ops->conn = NULL;
    if (ops->is_cancelled || ops->source_bytes == 0)
        ops_next(ops);
    else if (job_start(ops->agent->loop, &spec, &ops->job, &err) != RC_OK)
        ops_next(ops);
}

static void
space_on_session(struct pg_answer *answer, void *arg)
{
    struct ops *ops = arg;
    struct err err;

    if (answer->rc != RC_OK ||
        pg_conn_query(ops->conn,
                      "SELECT pg_catalog.sum(pg_catalog.pg_database_size(oid))::pg_catalog.int8 "
                      "FROM pg_catalog.pg_database",
                      0, NULL, 0, clock_boot_ms() + SIZE_MS, space_on_size, ops, &err) != RC_OK)
        space_on_size(answer, arg);
}

/* How large the source is; a source that does not tell is copied all the same. */
static void
step_space(struct ops *ops)
{
    struct pg_conn_target target;
    struct err err;

    ops->source_bytes = 0;
    ops->conn = pg_conn_new(ops->agent->loop, ops->source.name);
    pg_plan_remote_target(ops->agent, &ops->source, ops->address, pg_plan_rewind_role(ops->agent),
                          &target);
    if (pg_conn_open(ops->conn, PG_CONN_PLAIN, &target, clock_boot_ms() + SIZE_MS,
                     space_on_session, ops, &err) != RC_OK)
        ops_next(ops);
}

/* ---- pg_basebackup ---- */

static void clone_next_method(struct ops *ops, const struct err *err);

static void
build_on_clone(const struct pg_op_result *result, void *arg)
{
    struct ops *ops = arg;

    ops->pg_op = NULL;
    if (result->rc != RC_OK) {
        clone_next_method(ops, &result->err);
        return;
    }
    log_info("base backup from %s took %lld ms", ops->source.name, (long long)result->took_ms);
    ops_next(ops);
}

static void
clone_basebackup(struct ops *ops)
{
    struct agent *agent = ops->agent;
    struct pg_option options[OPS_OPTIONS_MAX];
    struct pg_basebackup spec = {.site = &agent->site,
                                 .system_identifier = agent_view(agent)->sysid,
                                 .options = options,
                                 .deadline_ms = ops->deadline_ms};
    struct pg_op_hooks hooks = ops_hooks(ops);
    struct err err;

    pg_plan_source(agent, &ops->source, ops->address, &agent->pg.replication, &spec.source);
    spec.options_count = ops_options(agent->pg.basebackup, agent->pg.basebackup_count, options);
    hooks.on_done = build_on_clone;
    if (pg_op_basebackup(agent->loop, &spec, &hooks, &ops->pg_op, &err) != RC_OK)
        ops_fail(ops, &err);
}

/* ---- Methods of the user's own ---- */

static enum rc
method_begin_work(void *arg, struct buf *answer, struct err *err)
{
    const struct pg_site *site = arg;

    (void)answer;
    return pg_marker_set(site, PG_MARKER_CLONE, "a method of create_replica_methods fills it", err);
}

static enum rc
method_end_work(void *arg, struct buf *answer, struct err *err)
{
    const struct pg_site *site = arg;
    enum rc rc = pg_conf_restore(site, err);

    (void)answer;
    return rc != RC_OK ? rc : pg_marker_clear(site, PG_MARKER_CLONE, err);
}

static const json_t *
method_section(const struct ops *ops, const char *method)
{
    return json_object_get(ops->agent->pg.section, method);
}

static const char *
method_name(const struct ops *ops)
{
    const json_t *methods = ops->agent->pg.create_replica_methods;

    if (json_array_size(methods) == 0)
        return ops->method == 0 ? "basebackup" : NULL;
    return json_string_value(json_array_get(methods, ops->method));
}

static void
method_on_script(struct ops *ops, const struct err *err)
{
    if (err != NULL)
        clone_next_method(ops, err);
    else
        ops_job(ops, "end of clone", method_end_work, &ops->agent->site,
                clock_boot_ms() + FILES_MS);
}

/* contract/config.md, postgresql.<method>: options as --key=value, the source as a connection
 * string. */
static void
method_run(struct ops *ops)
{
    static const char *const own[] = {"command", "keep_data", "no_params", "no_leader", NULL};
    struct agent *agent = ops->agent;
    const json_t *section = method_section(ops, method_name(ops));
    const char *command = json_string_value(json_object_get(section, "command"));
    struct ops_arguments arguments;
    struct buf conninfo;
    bool has_no_params = false;
    char port[16];

    ops_arguments_init(&arguments);
    buf_init(&conninfo, CONNINFO_BYTES_MAX);
    (void)str_format(port, sizeof(port), "%d", ops->source.conn_port);
    (void)pg_text_conninfo_add(&conninfo, "host", ops->source.conn_host, NULL);
    (void)pg_text_conninfo_add(&conninfo, "port", port, NULL);
    (void)pg_text_conninfo_add(&conninfo, "user",
                               agent->pg.replication.username != NULL
                                   ? agent->pg.replication.username
                                   : pg_plan_superuser(agent),
                               NULL);
    (void)pg_text_conninfo_add(&conninfo, "dbname", agent->pg.database, NULL);
    (void)policy_json_bool(json_object_get(section, "no_params"), &has_no_params);
    if (!has_no_params) {
        ops_arguments_add(&arguments, "scope", agent->scope);
        ops_arguments_add(&arguments, "role", "replica");
        ops_arguments_add(&arguments, "datadir", agent->site.data_dir);
        ops_arguments_add(&arguments, "connstring", buf_text(&conninfo));
    }
    ops_arguments_add_section(&arguments, section, own);
    ops_script(ops, "create_replica_methods", command != NULL ? command : method_name(ops),
               &arguments, ops->deadline_ms, method_on_script);
    buf_done(&conninfo);
    ops_arguments_done(&arguments);
}

static void
method_on_marked(enum rc rc, const struct err *err, const void *answer, size_t length, void *arg)
{
    struct ops *ops = arg;

    (void)answer;
    (void)length;
    ops->job = NULL;
    if (rc != RC_OK)
        ops_fail(ops, err);
    else
        method_run(ops);
}

static void
method_mark(struct ops *ops)
{
    struct job_spec spec = {.name = "mark clone",
                            .work = method_begin_work,
                            .work_arg = &ops->agent->site,
                            .deadline_ms = clock_boot_ms() + FILES_MS,
                            .on_done = method_on_marked,
                            .arg = ops};
    struct err err;

    if (job_start(ops->agent->loop, &spec, &ops->job, &err) != RC_OK)
        ops_fail(ops, &err);
}

static void
method_on_emptied(const struct pg_op_result *result, void *arg)
{
    struct ops *ops = arg;

    ops->pg_op = NULL;
    if (result->rc != RC_OK)
        ops_fail(ops, &result->err);
    else
        method_mark(ops);
}

static void
method_begin(struct ops *ops)
{
    struct pg_empty_data spec = {.site = &ops->agent->site,
                                 .system_identifier = agent_view(ops->agent)->sysid,
                                 .deadline_ms = clock_boot_ms() + EMPTY_MS};
    struct pg_op_hooks hooks = ops_hooks(ops);
    struct err err;
    bool is_kept = false;

    (void)policy_json_bool(json_object_get(method_section(ops, method_name(ops)), "keep_data"),
                           &is_kept);
    if (is_kept) {
        method_mark(ops);
        return;
    }
    hooks.on_done = method_on_emptied;
    if (pg_op_empty_data(ops->agent->loop, &spec, &hooks, &ops->pg_op, &err) != RC_OK)
        ops_fail(ops, &err);
}

/* ---- One method after the other ---- */

static void
step_methods(struct ops *ops)
{
    const char *method = method_name(ops);
    struct err err;

    if (!ops->request.u.op.replace &&
        local_watch_inspection(ops->agent->local)->kind == PG_DIR_POSTGRES) {
        (void)err_set(&err, RC_REFUSED, "%s holds data, and nobody said that it may be replaced",
                      ops->agent->site.data_dir);
        ops_fail(ops, &err);
        return;
    }
    if (method == NULL) {
        (void)err_set(&err, RC_NOT_FOUND,
                      "postgresql.create_replica_methods: no method is left to try");
        ops_fail(ops, &err);
        return;
    }
    log_info("clone from %s by %s", ops->source.name, method);
    if (str_equal(method, "basebackup"))
        clone_basebackup(ops);
    else
        method_begin(ops);
}

static void
clone_next_method(struct ops *ops, const struct err *err)
{
    ops->method++;
    if (ops->is_cancelled || err->rc == RC_CANCELLED || method_name(ops) == NULL) {
        ops_fail(ops, err);
        return;
    }
    log_warning("%s", err->text);
    step_methods(ops);
}

ops_step_fn *const ops_steps_clone[] = {ops_step_address, step_source, step_space, step_methods,
                                        NULL};

/* ---- Rewind ---- */

static void
build_on_rewind(const struct pg_op_result *result, void *arg)
{
    if (!str_is_empty(result->kept_dir))
        log_warning("WAL after the fork point is kept in %s lost_bytes=%llu kept_bytes=%llu%s",
                    result->kept_dir, (unsigned long long)result->lost_bytes,
                    (unsigned long long)result->kept_bytes,
                    result->is_kept_cut ? " (the newest part did not fit the bound)" : "");
    if (result->rc == RC_OK && !result->is_needed)
        log_info("pg_rewind found nothing to do");
    ops_on_pg_op(result, arg);
}

static const char *
setting_of(const struct agent *agent, const char *name)
{
    for (size_t i = 0; i < agent->pg.settings_count; i++)
        if (str_equal(agent->pg.settings[i].name, name))
            return agent->pg.settings[i].value;
    return NULL;
}

/* NULL where the server does not archive. */
static const char *
archive_command(const struct agent *agent)
{
    const char *mode = setting_of(agent, "archive_mode");
    json_t *word = json_string(mode != NULL ? mode : "off");
    bool is_on = true; /* "always" is no truth value */

    (void)policy_json_bool(word, &is_on);
    json_decref(word);
    return is_on ? setting_of(agent, "archive_command") : NULL;
}

static void
step_rewind(struct ops *ops)
{
    struct agent *agent = ops->agent;
    const struct local *local = local_watch_now(agent->local);
    struct pg_option options[OPS_OPTIONS_MAX];
    struct pg_rewind spec = {.site = &agent->site,
                             .system_identifier = local->sysid,
                             .fork_timeline = local_timeline(local),
                             .options = options,
                             .deadline_ms = ops->deadline_ms};
    struct pg_op_hooks hooks = ops_hooks(ops);
    struct err err;

    pg_plan_source(agent, &ops->source, ops->address, pg_plan_rewind_role(agent), &spec.source);
    spec.options_count =
        ops_options(agent->pg.rewind_options, agent->pg.rewind_options_count, options);
    (void)history_reader_find_fork(agent->history, spec.fork_timeline, &spec.fork_lsn);
    for (size_t i = 0; i < agent->pg.recovery_count; i++)
        if (str_equal(agent->pg.recovery[i].name, "restore_command"))
            spec.has_restore_command = !str_is_empty(agent->pg.recovery[i].value);
    spec.archive_command = archive_command(agent);
    hooks.on_done = build_on_rewind;
    if (pg_op_rewind(agent->loop, &spec, &hooks, &ops->pg_op, &err) != RC_OK)
        ops_fail(ops, &err);
}

ops_step_fn *const ops_steps_rewind[] = {ops_step_address, step_rewind, NULL};
