/* Starting, stopping, promoting, following: operations on a server whose data is in order. */
#include "ops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/str.h"

enum {
    FILES_MS = 30000,       /* writing configuration files; a disk that needs longer hangs */
    START_AGAIN_MS = 20,    /* remains of the last postmaster are being ended */
    DIED_MS = 5000,
    HOOK_MS = 60000,
    KILL_AFTER_MS = 1000,   /* from SIGQUIT to SIGKILL */
    GONE_AFTER_MS = 15000,  /* from SIGKILL to giving up: a process in D state */
    FOLLOW_POLL_MS = 20,
    FOLLOW_POLLS_MAX = 100,
    SESSION_MS = 5000,
    RESTART_CHECKPOINT_MS = 300000
};

/* Marks a history file that only keeps a timeline number from being used: see plant_work(). */
#define PLACEHOLDER_REASON "placeholder: number taken by another member, written by pgheir"

/* ---- Files ---- */

static void
run_on_files(enum rc rc, unsigned changed, const struct err *err, void *arg)
{
    struct ops *ops = arg;

    ops->job = NULL;
    if (rc != RC_OK) {
        ops_fail(ops, err);
        return;
    }
    log_debug("configuration files written changed=%x", changed);
    local_watch_set_standby(ops->agent->local, ops->is_standby);
    if (ops->is_standby)
        local_watch_set_follows(ops->agent->local, ops->source.name);
    ops_next(ops);
}

static void
run_write_files(struct ops *ops)
{
    const struct member *upstream = str_is_empty(ops->source.name) ? NULL : &ops->source;
    struct pg_plan_files files;
    struct err err;
    enum rc rc;

    pg_plan_merge(ops->agent, ops->is_standby ? "replica" : "primary");
    rc = pg_plan_files_build(ops->agent, ops->is_standby, upstream, NULL, &files, &err);
    if (rc == RC_OK) {
        rc = pg_conf_apply_start(ops->agent->loop, &files.plan, clock_boot_ms() + FILES_MS,
                                 run_on_files, ops, &ops->job, &err);
        pg_plan_files_done(&files);
    }
    if (rc != RC_OK)
        ops_fail(ops, &err);
}

static void
step_role(struct ops *ops)
{
    ops->is_standby = ops->kind != OP_START_PRIMARY;
    ops_next(ops);
}

/* Before the first start under this supervisor: backends of a postmaster that died before we
 * came would keep its shared memory, and the new one from starting (PG-02). */
static void
run_on_orphans(void *arg, const struct proto_message *message, int error)
{
    struct ops *ops = arg;

    (void)message;
    if (error != 0)
        log_debug("no orphans were looked for: %s", strerror(error));
    ops->agent->is_orphan_free = true;
    ops_next(ops);
}

void
ops_step_orphans(struct ops *ops)
{
    if (ops->agent->is_orphan_free)
        ops_next(ops);
    else
        supervisor_link_kill_orphans(ops->agent->link, ops->agent->site.data_dir, run_on_orphans,
                                     ops);
}

/* ---- What would keep it from starting ---- */

/* The same for the lock file beside its socket, if it is that postmaster's. */
static void
clear_socket_lock(const struct pg_pidfile *pidfile)
{
    char path[PG_PATH_SIZE + 64];
    char text[64];
    FILE *file;
    int64_t pid = 0;

    if (str_is_empty(pidfile->socket_dir) ||
        !str_format(path, sizeof(path), "%s/.s.PGSQL.%d.lock", pidfile->socket_dir, pidfile->port))
        return;
    file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(text, sizeof(text), file) != NULL) {
        text[strcspn(text, "\n")] = '\0';
        (void)str_parse_int64(text, &pid);
    }
    (void)fclose(file);
    if (pid == pidfile->pid)
        (void)unlink(path);
}

/* A postmaster.pid whose process is dead, or a zombie that nobody reaps (a container without an
 * init), looks alive to PostgreSQL. Its backends have been ended before we come here. */
static enum rc
clear_pidfile(const struct pg_site *site, struct err *err)
{
    struct pg_pidfile pidfile;
    struct pg_process process;
    char path[PG_PATH_SIZE];
    bool is_alive = true;
    enum rc rc = pg_process_find(site, &pidfile, &is_alive, &process, err);

    if (rc == RC_OK)
        rc = pg_site_path(site->data_dir, "postmaster.pid", path, err);
    if (rc != RC_OK || is_alive)
        return rc;
    if (unlink(path) != 0 && errno != ENOENT)
        return err_set_errno(err, errno, "cannot remove %s of a dead postmaster", path);
    clear_socket_lock(&pidfile);
    return RC_OK;
}

static bool
is_placeholder(int dir_fd, const char *name)
{
    char text[256];
    ssize_t length;
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    length = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (length <= 0)
        return false;
    text[length] = '\0';
    return strstr(text, PLACEHOLDER_REASON) != NULL;
}

/* Removes placeholders above the control file's timeline: a standby that aims at the latest
 * timeline would take one for its goal and refuse to start. */
static enum rc
clear_placeholders(const struct pg_site *site, struct err *err)
{
    struct pg_control_data control;
    char path[PG_PATH_SIZE];
    struct dirent *entry;
    DIR *dir;

    if (pg_control_read(site, &control, err) != RC_OK ||
        pg_site_path(site->data_dir, "pg_wal", path, err) != RC_OK)
        return err->rc;
    dir = opendir(path);
    if (dir == NULL)
        return err_set_errno(err, errno, "cannot open %s", path);
    while ((entry = readdir(dir)) != NULL)
        if (pg_history_file_timeline(entry->d_name) > control.timeline &&
            is_placeholder(dirfd(dir), entry->d_name))
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    return RC_OK;
}

struct clear {
    struct pg_site site;
    bool is_standby;
};

static enum rc
clear_work(void *arg, struct buf *answer, struct err *err)
{
    const struct clear *clear = arg;
    enum rc rc = clear_pidfile(&clear->site, err);

    (void)answer;
    return rc == RC_OK && clear->is_standby ? clear_placeholders(&clear->site, err) : rc;
}

static void
step_clear(struct ops *ops)
{
    struct clear clear = {.site = ops->agent->site, .is_standby = ops->is_standby};
    struct job_spec spec = {.name = "clear before the start",
                            .work = clear_work,
                            .work_arg = &clear,
                            .deadline_ms = clock_boot_ms() + FILES_MS,
                            .on_done = ops_on_job,
                            .arg = ops};
    struct err err;

    if (job_start(ops->agent->loop, &spec, &ops->job, &err) != RC_OK)
        ops_fail(ops, &err);
}

/* ---- Placeholders ---- */

struct plant {
    struct pg_site site;
    uint32_t own, above;
};

/* PostgreSQL takes the first number without a history file. Where another member has announced
 * numbers that it perhaps never used, files in their place make it go past them. Followers fetch
 * them along with the real one; they name our line as parent at 0/0, which nobody can take for
 * his own future. */
static enum rc
plant_work(void *arg, struct buf *answer, struct err *err)
{
    const struct plant *plant = arg;
    char name[PG_HISTORY_FILE_SIZE];
    char path[PG_PATH_SIZE];
    char text[160];

    (void)answer;
    for (uint32_t timeline = plant->own + 1; timeline <= plant->above; timeline++) {
        if (!str_format(path, sizeof(path), "%s/pg_wal/%s", plant->site.data_dir,
                        pg_history_file_name(timeline, name)))
            return err_set(err, RC_LIMIT, "path of %s is too long", name);
        if (access(path, F_OK) == 0)
            continue;
        (void)str_format(text, sizeof(text), "1\t0/0\t%s\n", PLACEHOLDER_REASON);
        if (pg_conf_write_file(path, text, strlen(text), 0600, err) != RC_OK)
            return err->rc;
    }
    return RC_OK;
}

static void
step_plant(struct ops *ops)
{
    struct plant plant = {.site = ops->agent->site,
                          .own = local_timeline(local_watch_now(ops->agent->local)),
                          .above = ops->request.u.op.timeline_above};
    struct job_spec spec = {.name = "history placeholders",
                            .work = plant_work,
                            .work_arg = &plant,
                            .deadline_ms = clock_boot_ms() + FILES_MS,
                            .on_done = ops_on_job,
                            .arg = ops};
    struct err err;

    if (plant.own == 0 || plant.above <= plant.own)
        ops_next(ops);
    else if (job_start(ops->agent->loop, &spec, &ops->job, &err) != RC_OK)
        ops_fail(ops, &err);
}

/* ---- Start ---- */

static void
run_start_again(void *arg)
{
    ops_step_start(arg);
}

static void
run_on_started(void *arg, const struct proto_message *message, int error)
{
    struct ops *ops = arg;
    struct err err;

    if (error == 0) {
        local_watch_set_started(ops->agent->local, &message->body.started);
        agent_mark_local(ops->agent);
        ops_next(ops);
    } else if (error == EBUSY && !ops->is_cancelled && clock_boot_ms() < ops->deadline_ms) {
        ops_wait(ops, clock_boot_ms() + START_AGAIN_MS, run_start_again);
    } else {
        (void)err_set(&err, RC_REFUSED, "the supervisor did not start PostgreSQL: %s",
                      error == EPERM ? "no right to write is held" : strerror(error));
        ops_fail(ops, &err);
    }
}

void
ops_step_start(struct ops *ops)
{
    /* A server that no client can reach is no writer: BOOTSTRAP needs no fence. */
    enum proto_mode mode =
        ops->is_standby || ops->is_private ? PROTO_MODE_STANDBY : PROTO_MODE_PRIMARY;
    struct pg_argv argv;
    struct err err;

    if (pg_plan_argv(ops->agent, ops->is_standby, ops->is_private ? ops->private_dir : NULL, &argv,
                     &err) != RC_OK) {
        ops_fail(ops, &err);
        return;
    }
    supervisor_link_start(ops->agent->link, mode, ops->agent->site.data_dir, argv.argv,
                          ops->agent->pg_env, run_on_started, ops);
    pg_argv_done(&argv);
}

static void
run_on_died(void *arg)
{
    struct ops *ops = arg;

    ops->on_exit = NULL;
    ops_fail(ops, &ops->err);
}

static void
run_on_ready(const struct pg_op_result *result, void *arg)
{
    struct ops *ops = arg;

    ops->pg_op = NULL;
    if (result->rc == RC_OK && !ops->is_private)
        local_watch_set_up(ops->agent->local);
    if (result->rc != RC_NOT_FOUND || local_watch_pid(ops->agent->local) == 0) {
        ops_on_pg_op(result, arg);
        return;
    }
    /* It ended while it started. The supervisor is about to say so, and the end belongs to this
     * operation. */
    ops->err = result->err;
    ops->on_exit = run_on_died;
    ops_wait(ops, clock_boot_ms() + DIED_MS, run_on_died);
}

void
ops_step_wait_start(struct ops *ops)
{
    struct pg_wait_start spec = {.site = &ops->agent->site,
                                 .pid = local_watch_pid(ops->agent->local),
                                 .deadline_ms = ops->deadline_ms};
    struct pg_op_hooks hooks = ops_hooks(ops);
    struct err err;

    hooks.on_progress = NULL;
    hooks.on_done = run_on_ready;
    if (pg_op_wait_start(ops->agent->loop, &spec, &hooks, &ops->pg_op, &err) != RC_OK)
        ops_fail(ops, &err);
}

static void
run_on_saved(enum rc rc, unsigned changed, const struct err *err, void *arg)
{
    struct ops *ops = arg;

    (void)changed;
    ops->job = NULL;
    if (rc != RC_OK && rc != RC_CANCELLED)
        log_warning("cannot keep a copy of PostgreSQL's configuration files: %s", err->text);
    ops_next(ops);
}

/* The files of a server that starts well are those to come back to after a clone or a rewind
 * (TR-06). */
static void
step_save_files(struct ops *ops)
{
    struct err err;

    if (pg_conf_save_start(ops->agent->loop, &ops->agent->site, clock_boot_ms() + FILES_MS,
                           run_on_saved, ops, &ops->job, &err) != RC_OK)
        ops_fail(ops, &err);
}

ops_step_fn *const ops_steps_start[] = {step_role,       ops_step_orphans, step_clear,
                                        run_write_files, ops_step_start,   ops_step_wait_start,
                                        step_save_files, NULL};

/* ---- Stop ---- */

static void run_stop_harder(void *arg);

static void
run_on_signal(void *arg, const struct proto_message *message, int error)
{
    (void)arg;
    (void)message;
    /* ESRCH: it has ended, and its end is on the way to us. */
    if (error != 0 && error != ESRCH)
        log_error("the supervisor did not signal PostgreSQL: %s", strerror(error));
}

static void
run_on_stopped(void *arg)
{
    struct ops *ops = arg;

    loop_timer_disarm(ops->timer);
    ops_next(ops);
}

/* fast or immediate -> immediate -> SIGKILL -> given up. */
static void
run_stop_harder(void *arg)
{
    struct ops *ops = arg;
    int64_t now_ms = clock_boot_ms();
    struct err err;

    ops->stop_stage++;
    if (ops->stop_stage == 1) {
        log_warning("PostgreSQL does not stop: ending it without a checkpoint");
        ops->is_forced = true;
        supervisor_link_signal(ops->agent->link, SIGQUIT, run_on_signal, NULL);
        ops_wait(ops, now_ms + KILL_AFTER_MS, run_stop_harder);
    } else if (ops->stop_stage == 2) {
        log_warning("PostgreSQL does not stop: killing it");
        ops->is_forced = true;
        supervisor_link_signal(ops->agent->link, SIGKILL, run_on_signal, NULL);
        ops_wait(ops, now_ms + GONE_AFTER_MS, run_stop_harder);
    } else {
        (void)err_set(&err, RC_BUSY,
                      "PostgreSQL cannot even be killed: a process hangs in the kernel");
        ops_fail(ops, &err);
    }
}

void
ops_step_stop(struct ops *ops)
{
    bool is_immediate = ops->kind == OP_STOP && ops->request.u.op.stop_mode == STOP_IMMEDIATE;

    if (local_watch_pid(ops->agent->local) == 0) {
        ops_next(ops);
        return;
    }
    ops->on_exit = run_on_stopped;
    ops->stop_stage = is_immediate ? 1 : 0;
    local_watch_set_stopping(ops->agent->local);
    supervisor_link_signal(ops->agent->link, is_immediate ? SIGQUIT : SIGINT, run_on_signal, NULL);
    if (ops->deadline_ms != 0)
        ops_wait(ops, ops->deadline_ms, run_stop_harder);
}

/* behaviour.md section 9: only before a stop in good order; what it says is not asked. It must
 * not eat up the time for the stop itself. */
static void
step_before_stop(struct ops *ops)
{
    const char *command = ops->agent->pg.before_stop;
    bool is_orderly = ops->kind == OP_RESTART || ops->request.u.op.handover;
    int64_t now_ms = clock_boot_ms();
    int64_t limit_ms = now_ms + HOOK_MS;

    if (ops->deadline_ms != 0 && limit_ms > now_ms + (ops->deadline_ms - now_ms) / 2)
        limit_ms = now_ms + (ops->deadline_ms - now_ms) / 2;
    if (str_is_empty(command) || !is_orderly || local_watch_pid(ops->agent->local) == 0)
        ops_next(ops);
    else
        ops_script(ops, "before_stop", command, NULL, limit_ms, ops_script_or_not);
}

ops_step_fn *const ops_steps_stop[] = {step_before_stop, ops_step_stop, NULL};

/* ---- Sessions of an operation ---- */

static void
run_on_session(struct pg_answer *answer, void *arg)
{
    struct ops *ops = arg;

    if (answer->rc == RC_OK)
        ops_next(ops);
    else
        ops_fail(ops, &answer->err);
}

static void
step_session(struct ops *ops)
{
    struct pg_plan_target local;
    struct err err;
    enum rc rc;

    ops->conn = pg_conn_new(ops->agent->loop, op_kind_text(ops->kind));
    if (!pg_plan_local_target(ops->agent, NULL, &local)) {
        rc = err_set(&err, RC_NOT_FOUND, "the address of our own server is not known yet");
    } else {
        local.target.application_name = "pgheir";
        rc = pg_conn_open(ops->conn, PG_CONN_TASK, &local.target, clock_boot_ms() + SESSION_MS,
                          run_on_session, ops, &err);
    }
    if (rc != RC_OK)
        ops_fail(ops, &err);
}

/* ---- Checkpoint ---- */

static void
step_checkpoint(struct ops *ops)
{
    struct err err;

    if (pg_query_checkpoint(ops->conn, ops->deadline_ms, run_on_session, ops, &err) != RC_OK)
        ops_fail(ops, &err);
}

ops_step_fn *const ops_steps_checkpoint[] = {step_session, step_checkpoint, NULL};

/* ---- Promote ---- */

/* A hook that fails or hangs keeps us from promoting: the core then gives the key up (PD-08). */
static void
step_pre_promote(struct ops *ops)
{
    int64_t limit_ms = clock_boot_ms() + HOOK_MS;

    if (limit_ms > ops->deadline_ms)
        limit_ms = ops->deadline_ms;
    if (str_is_empty(ops->agent->pg.pre_promote))
        ops_next(ops);
    else
        ops_script(ops, "pre_promote", ops->agent->pg.pre_promote, NULL, limit_ms,
                   ops_script_then_next);
}

/* The supervisor must know that this server becomes a writer: its signal first (without the
 * signal file PostgreSQL does nothing), then the file and the signal that counts. */
static void
run_on_writer(void *arg, const struct proto_message *message, int error)
{
    struct ops *ops = arg;
    struct err err;

    (void)message;
    if (error == 0) {
        ops_next(ops);
        return;
    }
    (void)err_set(&err, RC_REFUSED, "the supervisor does not let PostgreSQL be promoted: %s",
                  error == EPERM ? "no right to write is held" : strerror(error));
    ops_fail(ops, &err);
}

static void
step_writer(struct ops *ops)
{
    supervisor_link_signal(ops->agent->link, SIGUSR1, run_on_writer, ops);
}

static void
step_promote(struct ops *ops)
{
    struct pg_promote spec = {.site = &ops->agent->site,
                              .conn = ops->conn,
                              .pid = local_watch_pid(ops->agent->local),
                              .deadline_ms = ops->deadline_ms};
    struct pg_op_hooks hooks = ops_hooks(ops);
    struct err err;

    ops->is_standby = false;
    if (pg_op_promote(ops->agent->loop, &spec, &hooks, &ops->pg_op, &err) != RC_OK)
        ops_fail(ops, &err);
}

ops_step_fn *const ops_steps_promote[] = {step_pre_promote, step_plant, step_session,
                                          step_writer,      step_promote, NULL};

/* ---- Follow ---- */

static void run_follow_look(void *arg);

static void
run_on_follow_look(void *arg)
{
    struct ops *ops = arg;

    if (str_is_empty(ops->source.name) ||
        local_watch_is_following(ops->agent->local, &ops->source) ||
        ++ops->tries > FOLLOW_POLLS_MAX)
        ops_next(ops);
    else
        ops_wait(ops, clock_boot_ms() + FOLLOW_POLL_MS, run_follow_look);
}

static void
run_follow_look(void *arg)
{
    struct ops *ops = arg;

    local_watch_look(ops->agent->local, LOCAL_LOOK_SQL, run_on_follow_look, ops);
}

static void
step_wait_follow(struct ops *ops)
{
    ops_wait(ops, clock_boot_ms() + FOLLOW_POLL_MS, run_follow_look);
}

static void
run_on_hup(void *arg, const struct proto_message *message, int error)
{
    run_on_signal(NULL, message, error);
    ops_next(arg);
}

static void
step_hup(struct ops *ops)
{
    supervisor_link_signal(ops->agent->link, SIGHUP, run_on_hup, ops);
}

ops_step_fn *const ops_steps_follow[] = {step_role, run_write_files, step_hup, step_wait_follow,
                                         NULL};

/* ---- Restart ---- */

/* The same role and the same upstream as before. */
static void
step_keep_role(struct ops *ops)
{
    const struct local *local = local_watch_now(ops->agent->local);
    const struct view *view = agent_view(ops->agent);
    const struct member *upstream =
        view != NULL ? view_find_member(view, local_watch_follows(ops->agent->local)) : NULL;

    ops->is_standby = !local_is_primary(local);
    if (ops->is_standby && upstream != NULL)
        ops->source = *upstream;
    ops_next(ops);
}

static void
run_on_restart_checkpoint(struct pg_answer *answer, void *arg)
{
    struct ops *ops = arg;

    if (answer->rc != RC_OK)
        log_warning("no checkpoint before the restart: %s", answer->err.text);
    ops_next(ops);
}

/* Makes the stop short; a server that refuses is restarted all the same. */
static void
step_restart_checkpoint(struct ops *ops)
{
    int64_t limit_ms = clock_boot_ms() + RESTART_CHECKPOINT_MS;
    struct err err;

    if (limit_ms > ops->deadline_ms)
        limit_ms = ops->deadline_ms;
    if (pg_query_checkpoint(ops->conn, limit_ms, run_on_restart_checkpoint, ops, &err) != RC_OK)
        ops_fail(ops, &err);
}

static void
step_drop_session(struct ops *ops)
{
    pg_conn_free(ops->conn);
    ops->conn = NULL;
    ops_next(ops);
}

ops_step_fn *const ops_steps_restart[] = {
    step_keep_role,  step_session,   step_restart_checkpoint, step_drop_session,
    step_before_stop, ops_step_stop, step_clear,              run_write_files,
    ops_step_start,  ops_step_wait_start, step_save_files,    NULL};
