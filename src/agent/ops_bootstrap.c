/* BOOTSTRAP: initdb or a method of the user's own, a private start, roles, script, a clean stop.
 * Marked in the state directory from its first byte to its last, so that a half result is never
 * taken for data; a failed one is kept aside for people. */
#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/str.h"

enum {
    FILES_MS = 30000,
    SESSION_MS = 30000,
    SCRIPT_MS = 86400000, /* a method may restore a large backup */
    RECOVERY_POLL_MS = 200,
    HBA_BYTES_MAX = 64 * 1024,
    CONNINFO_BYTES_MAX = 4096,
    UNDO_STOP_MS = 10000
};

/* ---- Leftovers ---- */

/* An unfinished bootstrap or clone is kept once as <data_dir>.failed; a second one is emptied. */
static void
build_on_aside(const struct pg_op_result *result, void *arg)
{
    struct ops *ops = arg;
    struct pg_empty_data spec = {.site = &ops->agent->site, .deadline_ms = ops->deadline_ms};
    struct pg_op_hooks hooks = ops_hooks(ops);
    struct err err;

    if (result->rc != RC_EXISTS && result->rc != RC_REFUSED) {
        ops_on_pg_op(result, arg);
        return;
    }
    if (pg_op_empty_data(ops->agent->loop, &spec, &hooks, &ops->pg_op, &err) != RC_OK)
        ops_fail(ops, &err);
}

static void
step_aside(struct ops *ops)
{
    struct pg_set_aside spec = {
        .site = &ops->agent->site, .suffix = "failed", .deadline_ms = ops->deadline_ms};
    struct pg_op_hooks hooks = ops_hooks(ops);
    struct err err;

    if (local_watch_inspection(ops->agent->local)->kind != PG_DIR_PARTIAL) {
        ops_next(ops);
        return;
    }
    hooks.on_done = build_on_aside;
    if (pg_op_set_aside(ops->agent->loop, &spec, &hooks, &ops->pg_op, &err) != RC_OK)
        ops_fail(ops, &err);
}

/* ---- Data ---- */

static enum rc
mark_work(void *arg, struct buf *answer, struct err *err)
{
    const struct pg_site *site = arg;

    (void)answer;
    return pg_marker_set(site, PG_MARKER_INIT, "a new cluster is being initialized here", err);
}

static void
step_mark(struct ops *ops)
{
    ops_job(ops, "mark bootstrap", mark_work, &ops->agent->site, clock_boot_ms() + FILES_MS);
}

/* A method of the user's own: contract/config.md, bootstrap.<method>. */
static void
make_by_script(struct ops *ops)
{
    static const char *const own[] = {"command", "no_params", "keep_existing_recovery_conf",
                                      "recovery_conf", NULL};
    const json_t *section = ops->agent->conf->bootstrap.method_section;
    struct ops_arguments arguments;
    bool has_no_params = false;

    ops_arguments_init(&arguments);
    (void)policy_json_bool(json_object_get(section, "no_params"), &has_no_params);
    if (!has_no_params) {
        ops_arguments_add(&arguments, "scope", ops->agent->scope);
        ops_arguments_add(&arguments, "datadir", ops->agent->site.data_dir);
    }
    ops_arguments_add_section(&arguments, section, own);
    ops_script(ops, "bootstrap.method", json_string_value(json_object_get(section, "command")),
               &arguments, clock_boot_ms() + SCRIPT_MS, ops_script_then_next);
    ops_arguments_done(&arguments);
}

static void
step_make(struct ops *ops)
{
    struct agent *agent = ops->agent;
    struct pg_option options[OPS_OPTIONS_MAX];
    struct pg_initdb spec = {.site = &agent->site,
                             .superuser = pg_plan_superuser(agent),
                             .password = agent->pg.superuser.password,
                             .options = options,
                             .deadline_ms = ops->deadline_ms};
    struct pg_op_hooks hooks = ops_hooks(ops);
    struct err err;

    if (agent->conf->bootstrap.method_section != NULL) {
        make_by_script(ops);
        return;
    }
    spec.options_count =
        ops_options(agent->conf->bootstrap.initdb, agent->conf->bootstrap.initdb_count, options);
    if (pg_op_initdb(agent->loop, &spec, &hooks, &ops->pg_op, &err) != RC_OK)
        ops_fail(ops, &err);
}

struct hba_job {
    struct pg_site site;
    const char *superuser;
    const char *private_dir;
    const json_t *lines; /* bootstrap.pg_hba, unless postgresql.pg_hba rules */
};

static enum rc
hba_append(const struct hba_job *job, struct err *err)
{
    char path[PG_PATH_SIZE];
    struct buf text;
    enum rc rc;
    int fd;

    if (json_array_size(job->lines) == 0)
        return RC_OK;
    rc = pg_site_path(job->site.config_dir, "pg_hba.conf", path, err);
    if (rc != RC_OK)
        return rc;
    buf_init(&text, HBA_BYTES_MAX);
    for (size_t i = 0; i < json_array_size(job->lines); i++)
        (void)buf_printf(&text, "%s\n", json_string_value(json_array_get(job->lines, i)));
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, buf_text(&text), text.length) != (ssize_t)text.length)
        rc = err_set_errno(err, errno, "cannot append bootstrap.pg_hba to %s", path);
    if (fd >= 0)
        close(fd);
    buf_done(&text);
    return rc;
}

/* The private server lets in the superuser through a socket in a directory of our own, and
 * nobody else. */
static enum rc
hba_work(void *arg, struct buf *answer, struct err *err)
{
    const struct hba_job *job = arg;
    char path[PG_PATH_SIZE];
    struct buf text;
    enum rc rc;

    (void)answer;
    if (mkdir(job->private_dir, 0700) != 0 && errno != EEXIST)
        return err_set_errno(err, errno, "cannot make %s", job->private_dir);
    rc = pg_site_path(job->private_dir, "pg_hba.conf", path, err);
    if (rc != RC_OK)
        return rc;
    buf_init(&text, HBA_BYTES_MAX);
    rc = buf_puts(&text, "local all ");
    if (rc == RC_OK)
        rc = pg_text_sql_name(&text, job->superuser);
    if (rc == RC_OK)
        rc = buf_puts(&text, " trust\n");
    if (rc == RC_OK)
        rc = pg_conf_write_file(path, buf_text(&text), text.length, 0600, err);
    else
        (void)err_set(err, rc, "the superuser's name is too long");
    buf_done(&text);
    return rc == RC_OK ? hba_append(job, err) : rc;
}

static void
step_hba(struct ops *ops)
{
    struct agent *agent = ops->agent;
    struct hba_job job = {.site = agent->site,
                          .superuser = pg_plan_superuser(agent),
                          .private_dir = ops->private_dir,
                          .lines = agent->pg.pg_hba == NULL ? agent->conf->bootstrap.pg_hba : NULL};
    struct err err;

    if (!str_format(ops->private_dir, sizeof(ops->private_dir), "%s/private",
                    agent->site.state_dir)) {
        (void)err_set(&err, RC_LIMIT, "pgheir.state_dir is too long");
        ops_fail(ops, &err);
        return;
    }
    ops_job(ops, "pg_hba.conf", hba_work, &job, clock_boot_ms() + FILES_MS);
}

static void
build_on_files(enum rc rc, unsigned changed, const struct err *err, void *arg)
{
    (void)changed;
    ops_on_job(rc, err, NULL, 0, arg);
}

/* What a method restored ends its recovery where its recovery_conf says, and is then a primary. */
static void
files_add_recovery(struct ops *ops, struct pg_plan_files *files)
{
    const json_t *section = ops->agent->conf->bootstrap.method_section;
    const json_t *recovery = json_object_get(section, "recovery_conf");
    bool is_kept = false;

    (void)policy_json_bool(json_object_get(section, "keep_existing_recovery_conf"), &is_kept);
    files->plan.keep_signal = is_kept || json_is_object(recovery);
    if (json_is_object(recovery))
        pg_plan_files_add(files, recovery);
}

static enum rc
signal_work(void *arg, struct buf *answer, struct err *err)
{
    const struct pg_site *site = arg;
    char path[PG_PATH_SIZE];
    enum rc rc = pg_site_path(site->data_dir, "recovery.signal", path, err);

    (void)answer;
    return rc != RC_OK ? rc : pg_conf_write_file(path, "", 0, 0600, err);
}

static void
step_signal(struct ops *ops)
{
    const json_t *section = ops->agent->conf->bootstrap.method_section;

    if (json_is_object(json_object_get(section, "recovery_conf")))
        ops_job(ops, "recovery.signal", signal_work, &ops->agent->site,
                clock_boot_ms() + FILES_MS);
    else
        ops_next(ops);
}

static void
step_files(struct ops *ops)
{
    struct pg_plan_files files;
    struct err err;
    enum rc rc;

    ops->is_standby = false;
    ops->is_private = true;
    pg_plan_merge(ops->agent, "primary");
    rc = pg_plan_files_build(ops->agent, false, NULL, NULL, &files, &err);
    if (rc == RC_OK) {
        files_add_recovery(ops, &files);
        rc = pg_conf_apply_start(ops->agent->loop, &files.plan, clock_boot_ms() + FILES_MS,
                                 build_on_files, ops, &ops->job, &err);
        pg_plan_files_done(&files);
    }
    if (rc != RC_OK)
        ops_fail(ops, &err);
}

/* ---- Roles and script ---- */

static void
build_on_answer(struct pg_answer *answer, void *arg)
{
    struct ops *ops = arg;

    if (answer->rc == RC_OK)
        ops_next(ops);
    else
        ops_fail(ops, &answer->err);
}

static void
step_private_session(struct ops *ops)
{
    struct pg_plan_target local;
    struct err err;
    enum rc rc;

    ops->conn = pg_conn_new(ops->agent->loop, "bootstrap");
    if (!pg_plan_local_target(ops->agent, ops->private_dir, &local)) {
        rc = err_set(&err, RC_LIMIT, "pgheir.state_dir is too long");
    } else {
        local.target.application_name = "pgheir bootstrap";
        rc = pg_conn_open(ops->conn, PG_CONN_TASK, &local.target, clock_boot_ms() + SESSION_MS,
                          build_on_answer, ops, &err);
    }
    if (rc != RC_OK)
        ops_fail(ops, &err);
}

static void step_recovered(struct ops *ops);

static void
recovered_again(void *arg)
{
    step_recovered(arg);
}

static void
build_on_recovery(bool is_in_recovery, struct pg_answer *answer, void *arg)
{
    struct ops *ops = arg;

    if (answer->rc != RC_OK)
        ops_fail(ops, &answer->err);
    else if (is_in_recovery && !ops->is_cancelled)
        ops_wait(ops, clock_boot_ms() + RECOVERY_POLL_MS, recovered_again);
    else
        ops_next(ops);
}

/* Roles are made in a primary: recovery must have come to its end. */
static void
step_recovered(struct ops *ops)
{
    struct err err;

    if (pg_query_is_in_recovery(ops->conn, clock_boot_ms() + SESSION_MS, build_on_recovery, ops,
                                &err) != RC_OK)
        ops_fail(ops, &err);
}

static void
step_roles(struct ops *ops)
{
    const struct conf_postgresql *pg = &ops->agent->pg;
    struct pg_account roles[3];
    struct err err;
    int count = 0;

    if (ops->agent->conf->bootstrap.method_section != NULL)
        roles[count++] = (struct pg_account){
            PG_ROLE_SUPERUSER, pg_plan_superuser(ops->agent), pg->superuser.password};
    if (pg->replication.username != NULL &&
        !str_equal(pg->replication.username, pg_plan_superuser(ops->agent)))
        roles[count++] = (struct pg_account){PG_ROLE_REPLICATION, pg->replication.username,
                                             pg->replication.password};
    if (pg->rewind.username != NULL &&
        !str_equal(pg->rewind.username, pg_plan_superuser(ops->agent)))
        roles[count++] =
            (struct pg_account){PG_ROLE_REWIND, pg->rewind.username, pg->rewind.password};
    if (count == 0)
        ops_next(ops);
    else if (pg_query_roles(ops->conn, roles, count, clock_boot_ms() + SESSION_MS, build_on_answer,
                            ops, &err) != RC_OK)
        ops_fail(ops, &err);
}

/* behaviour.md section 2, config.md section 4: its argument is a connection string of the
 * superuser. */
static void
step_script(struct ops *ops)
{
    struct agent *agent = ops->agent;
    const char *script = agent->conf->bootstrap.post_bootstrap;
    struct ops_arguments arguments;
    struct buf conninfo;
    char port[16];

    if (str_is_empty(script)) {
        ops_next(ops);
        return;
    }
    ops_arguments_init(&arguments);
    buf_init(&conninfo, CONNINFO_BYTES_MAX);
    (void)str_format(port, sizeof(port), "%d", agent->pg.port);
    (void)pg_text_conninfo_add(&conninfo, "host", ops->private_dir, NULL);
    (void)pg_text_conninfo_add(&conninfo, "port", port, NULL);
    (void)pg_text_conninfo_add(&conninfo, "user", pg_plan_superuser(agent), NULL);
    (void)pg_text_conninfo_add(&conninfo, "dbname", agent->pg.database, NULL);
    ops_arguments_add(&arguments, NULL, buf_text(&conninfo));
    ops_script(ops, "post_bootstrap", script, &arguments, clock_boot_ms() + SCRIPT_MS,
               ops_script_then_next);
    buf_done(&conninfo);
    ops_arguments_done(&arguments);
}

static void
step_end_session(struct ops *ops)
{
    pg_conn_free(ops->conn);
    ops->conn = NULL;
    ops_next(ops);
}

static enum rc
unmark_work(void *arg, struct buf *answer, struct err *err)
{
    const struct pg_site *site = arg;

    (void)answer;
    return pg_marker_clear(site, PG_MARKER_INIT, err);
}

static void
step_unmark(struct ops *ops)
{
    ops->is_private = false;
    ops_job(ops, "end of bootstrap", unmark_work, &ops->agent->site, clock_boot_ms() + FILES_MS);
}

ops_step_fn *const ops_steps_bootstrap[] = {
    step_aside,  step_mark,      step_make,           step_hba,
    step_files,  step_signal,    ops_step_start,      ops_step_wait_start,
    step_private_session,        step_recovered,      step_roles,
    step_script, step_end_session, ops_step_stop,     step_unmark,
    NULL};

/* ---- Failed ---- */

static void
undo_end(struct ops *ops)
{
    ops_end(ops, ops->is_cancelled ? OP_RESULT_CANCELLED : OP_RESULT_FAILED);
}

static void
undo_on_aside(const struct pg_op_result *result, void *arg)
{
    struct ops *ops = arg;

    ops->pg_op = NULL;
    if (result->rc == RC_OK)
        log_info("what the failed bootstrap left is in %s.failed", ops->agent->site.data_dir);
    else if (result->rc != RC_NOT_FOUND) /* initdb removes what it made */
        log_warning("what the failed bootstrap left stays where it is: %s", result->err.text);
    undo_end(ops);
}

static void
undo_aside(void *arg)
{
    struct ops *ops = arg;
    struct pg_set_aside spec = {.site = &ops->agent->site,
                                .suffix = "failed",
                                .deadline_ms = clock_boot_ms() + FILES_MS};
    struct pg_op_hooks hooks = ops_hooks(ops);
    struct err err;

    ops->on_exit = NULL;
    loop_timer_disarm(ops->timer);
    hooks.on_done = undo_on_aside;
    if (pg_op_set_aside(ops->agent->loop, &spec, &hooks, &ops->pg_op, &err) != RC_OK) {
        log_warning("what the failed bootstrap left stays where it is: %s", err.text);
        undo_end(ops);
    }
}

static void
undo_on_signal(void *arg, const struct proto_message *message, int error)
{
    (void)arg;
    (void)message;
    if (error != 0 && error != ESRCH)
        log_error("the supervisor did not signal PostgreSQL: %s", strerror(error));
}

/* Nothing of value is in a bootstrap that failed: it is ended at once, and kept aside for
 * people. */
void
ops_bootstrap_undo(struct ops *ops)
{
    if (ops->is_undoing)
        return;
    ops->is_undoing = true;
    pg_conn_free(ops->conn);
    ops->conn = NULL;
    if (local_watch_pid(ops->agent->local) == 0) {
        undo_aside(ops);
        return;
    }
    ops->on_exit = undo_aside;
    local_watch_set_stopping(ops->agent->local);
    supervisor_link_signal(ops->agent->link, SIGQUIT, undo_on_signal, NULL);
    ops_wait(ops, clock_boot_ms() + UNDO_STOP_MS, undo_aside);
}
