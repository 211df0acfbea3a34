/* Changed configuration: the local file on SIGHUP or POST /reload, PostgreSQL's files after any
 * change. A file that cannot be used changes nothing, and says where it is wrong. */
#include "agent.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum { RELOAD_DISK_MS = 10000 };

struct reload {
    struct agent *agent;
    struct job *reading;
    struct job *applying;
    bool is_read_due, is_apply_due;
};

static void reload_read(struct reload *reload);

/* ---- PostgreSQL's files ---- */

static void
reload_on_looked(void *arg)
{
    const struct reload *reload = arg;

    callbacks_call(reload->agent->callbacks, "on_reload",
                   local_is_primary(local_watch_now(reload->agent->local)) ? "primary" : "replica");
}

static void
reload_on_hup(void *arg, const struct proto_message *message, int error)
{
    struct reload *reload = arg;

    (void)message;
    if (error != 0) {
        log_warning("PostgreSQL was not reloaded: %s", strerror(error));
        return;
    }
    log_info("PostgreSQL reloads its configuration");
    local_watch_look(reload->agent->local, LOCAL_LOOK_DISK, reload_on_looked, reload);
}

static void
reload_on_files(enum rc rc, unsigned changed, const struct err *err, void *arg)
{
    struct reload *reload = arg;

    reload->applying = NULL;
    if (rc != RC_OK)
        log_error("PostgreSQL's configuration files cannot be written: %s", err->text);
    else if (changed != 0)
        supervisor_link_signal(reload->agent->link, SIGHUP, reload_on_hup, reload);
    if (reload->is_apply_due)
        reload_apply(reload);
}

static bool
reload_must_wait(const struct reload *reload)
{
    enum op_kind kind = ops_running(reload->agent->ops);

    return reload->applying != NULL || (kind != OP_NONE && kind != OP_CHECKPOINT);
}

void
reload_apply(struct reload *reload)
{
    struct agent *agent = reload->agent;
    const struct local *local = local_watch_now(agent->local);
    const struct pg_status *status = local_watch_status(agent->local);
    const struct view *view = agent_view(agent);
    bool is_standby = !local_is_primary(local);
    struct pg_plan_files files;
    struct err err;
    enum rc rc;

    reload->is_apply_due = reload_must_wait(reload);
    if (reload->is_apply_due)
        return;
    pg_plan_merge(agent, is_standby ? "replica" : "primary");
    if (local->postmaster == POSTMASTER_DOWN || local->data_dir != DATA_DIR_VALID)
        return; /* its start writes them */
    if (!local->sql_valid || status == NULL) {
        reload->is_apply_due = true; /* which role it has must be known, not guessed */
        return;
    }
    rc = pg_plan_files_build(agent, is_standby,
                             view != NULL ? view_find_member(view, local->follows) : NULL,
                             status != NULL ? status->primary_conninfo : NULL, &files, &err);
    if (rc == RC_OK) {
        rc = pg_conf_apply_start(agent->loop, &files.plan, clock_boot_ms() + RELOAD_DISK_MS,
                                 reload_on_files, reload, &reload->applying, &err);
        pg_plan_files_done(&files);
    }
    if (rc != RC_OK)
        log_error("PostgreSQL's configuration files cannot be written: %s", err.text);
}

void
reload_on_op(struct reload *reload)
{
    if (reload->is_apply_due)
        reload_apply(reload);
}

void
reload_on_local(struct reload *reload)
{
    if (reload->is_apply_due && !reload_must_wait(reload))
        reload_apply(reload);
}

/* ---- The local file ---- */

static void
reload_take(struct reload *reload, struct conf *conf)
{
    struct agent *agent = reload->agent;
    struct conf *old = agent->conf;
    struct conf_changes changes;
    struct err err;

    conf_compare(old, conf, &changes);
    if (!str_is_empty(changes.refused))
        log_warning("changed, but in force only after a new agent starts (send SIGUSR2 to "
                    "pgheir): %s",
                    changes.refused);
    agent->conf = conf;
    agent->pg_wanted_revision++;
    pg_plan_merge(agent, local_is_primary(local_watch_now(agent->local)) ? "primary" : "replica");
    if (changes.log && log_open(&conf->log.options) != 0)
        log_error("section log cannot be applied: the log stays as it was");
    if (changes.etcd && startup_configure_etcd(agent, &err) != RC_OK)
        log_error("section etcd3 cannot be applied: %s", err.text);
    if (changes.any && rest_link_configure(agent->rest_link, &err) != RC_OK)
        log_error("section restapi cannot be applied: %s", err.text);
    agent->identity.tags = conf->tags;
    agent->identity.may_bootstrap = conf->bootstrap.present;
    agent_post(agent, &(struct event){.kind = EVENT_IDENTITY, .u.identity = &agent->identity});
    conf_free(old);
    log_info("configuration reloaded changed=%s", changes.any ? "yes" : "no");
}

static void
reload_on_probed(enum rc rc, const struct err *err, const void *answer, size_t length, void *arg)
{
    struct reload *reload = arg;
    struct conf_report report;
    struct conf *conf = NULL;

    (void)answer;
    (void)length;
    reload->reading = NULL;
    if (rc != RC_OK) {
        log_error("the configuration cannot be read, the old one stays: %s", err->text);
    } else {
        conf_report_init(&report);
        rc = conf_load(str_is_empty(reload->agent->conf_path) ? NULL : reload->agent->conf_path,
                       (const char *const *)environ, CONF_FOR_AGENT, &conf, &report);
        startup_report(&report);
        conf_report_done(&report);
        if (rc == RC_OK)
            reload_take(reload, conf);
        else
            log_error("the configuration is not usable, the old one stays");
    }
    notify_send("READY=1");
    if (reload->is_read_due)
        reload_read(reload);
}

/* A disk has no deadline, a job has one: what it could read a moment ago can be read in the
 * loop, too. */
static enum rc
reload_probe(void *arg, struct buf *answer, struct err *err)
{
    const struct agent *agent = arg;
    struct conf_source *source = NULL;
    struct conf_report report;

    (void)answer;
    (void)err;
    conf_report_init(&report);
    (void)conf_source_read(str_is_empty(agent->conf_path) ? NULL : agent->conf_path,
                           (const char *const *)environ, CONF_FOR_AGENT, &source, &report);
    conf_source_free(source);
    conf_report_done(&report);
    return RC_OK;
}

static void
reload_read(struct reload *reload)
{
    struct job_spec spec = {.name = "configuration",
                            .work = reload_probe,
                            .work_arg = reload->agent,
                            .deadline_ms = clock_boot_ms() + RELOAD_DISK_MS,
                            .on_done = reload_on_probed,
                            .arg = reload};
    struct err err;

    reload->is_read_due = reload->reading != NULL;
    if (reload->reading != NULL)
        return;
    notify_send("RELOADING=1");
    if (job_start(reload->agent->loop, &spec, &reload->reading, &err) != RC_OK)
        log_error("the configuration cannot be read, the old one stays: %s", err.text);
}

void
reload_request(struct reload *reload)
{
    reload_read(reload);
}

struct reload *
reload_new(struct agent *agent)
{
    struct reload *reload = mem_new(1, sizeof(*reload));

    reload->agent = agent;
    return reload;
}

void
reload_free(struct reload *reload)
{
    if (reload == NULL)
        return;
    job_free(reload->reading);
    job_free(reload->applying);
    mem_free(reload);
}
