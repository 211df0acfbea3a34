/* The held session to our own server: positions, walsenders, slots in one round trip; beside it,
 * now and then, a new session, because a frozen postmaster still answers old ones (PG-01).
 *
 *   closed -> opening -> idle <-> asking
 *   any failure -> closed, and the next question opens again */
#include "agent.h"

#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

enum {
    SQL_ANSWER_MS = 3000,      /* a server that needs longer counts as not answering */
    SQL_PROBE_EVERY_MS = 2000, /* a new session costs the server a fork: not at every look */
    SQL_PROBE_MS = 3000,
    SQL_SETTINGS_EVERY_MS = 30000,
    /* After a reload each process reads its files when it comes to it: one question may be too
     * early. */
    SQL_SETTINGS_AFTER_MS = 10000,
    SQL_LOGIN_NOTICE_MS = 60000
};

struct local_sql {
    struct agent *agent;
    struct pg_conn *conn;
    bool is_opening, is_asking;
    unsigned parts;
    loop_call_fn *done;
    void *done_arg;
    struct pg_status status;
    bool has_status;
    bool is_valid;
    enum pg_probe_verdict verdict;
    int64_t session_at_ms;
    struct pg_probe *probe;
    int64_t probe_at_ms;    /* next one */
    int64_t settings_at_ms; /* settings are asked for from then on */
    int64_t settings_until_ms; /* and each time until then */
    int64_t login_said_at_ms;
    json_t *pending;
    /* The timeline of a standby that does not stream is asked over the replication protocol. */
    uint32_t timeline;
    struct pg_conn *identity_conn;
    int64_t identity_at_ms; /* next try */
};

static void
sql_finish(struct local_sql *sql)
{
    loop_call_fn *done = sql->done;

    sql->done = NULL;
    if (done != NULL)
        done(sql->done_arg);
}

/* ---- Timeline of a standby ---- */

static void
sql_on_identity(const struct pg_identity *identity, struct pg_answer *answer, void *arg)
{
    struct local_sql *sql = arg;

    (void)answer;
    if (identity != NULL)
        sql->timeline = identity->timeline;
    pg_conn_close(sql->identity_conn);
}

static void
sql_on_identity_open(struct pg_answer *answer, void *arg)
{
    struct local_sql *sql = arg;
    struct err err;

    if (answer->rc == RC_OK)
        (void)pg_query_identify(sql->identity_conn, clock_boot_ms() + SQL_ANSWER_MS,
                                sql_on_identity, sql, &err);
    else
        log_debug("cannot ask our own server for its timeline: %s", answer->err.text);
}

static void
sql_ask_timeline(struct local_sql *sql)
{
    int64_t now_ms = clock_boot_ms();
    struct pg_plan_target local;
    struct err err;

    if (sql->status.timeline != 0) {
        sql->timeline = sql->status.timeline;
        return;
    }
    if (now_ms < sql->identity_at_ms || pg_conn_is_busy(sql->identity_conn) ||
        pg_conn_is_open(sql->identity_conn) ||
        !pg_plan_local_replication_target(sql->agent, &local))
        return;
    sql->identity_at_ms = now_ms + agent_policy(sql->agent)->loop_wait_ms;
    (void)pg_conn_open(sql->identity_conn, PG_CONN_REPLICATION, &local.target,
                       now_ms + SQL_ANSWER_MS, sql_on_identity_open, sql, &err);
}

/* ---- Health of new sessions ---- */

static void
sql_note_verdict(struct local_sql *sql, enum pg_probe_verdict verdict, const char *text)
{
    int64_t now_ms = clock_boot_ms();

    sql->verdict = verdict;
    if (verdict == PG_PROBE_ALIVE || verdict == PG_PROBE_FULL || verdict == PG_PROBE_LOGIN)
        sql->session_at_ms = now_ms;
    if (verdict == PG_PROBE_LOGIN && (sql->login_said_at_ms == 0 ||
                                      now_ms - sql->login_said_at_ms > SQL_LOGIN_NOTICE_MS)) {
        sql->login_said_at_ms = now_ms;
        log_error("our own PostgreSQL does not let us in: %s; check "
                  "postgresql.authentication.superuser and pg_hba",
                  text);
    }
}

static void
sql_on_probe(enum pg_probe_verdict verdict, const struct err *err, void *arg)
{
    struct local_sql *sql = arg;

    sql->probe = NULL;
    sql_note_verdict(sql, verdict, err != NULL ? err->text : "");
    if (verdict == PG_PROBE_SILENT)
        log_warning("PostgreSQL does not accept a new session: %s", err != NULL ? err->text : "");
}

static void
sql_probe(struct local_sql *sql)
{
    int64_t now_ms = clock_boot_ms();
    int64_t every_ms = agent_policy(sql->agent)->loop_wait_ms;
    struct pg_plan_target local;
    struct err err;

    if (sql->probe != NULL || now_ms < sql->probe_at_ms ||
        !pg_plan_local_target(sql->agent, NULL, &local))
        return;
    sql->probe_at_ms = now_ms + (every_ms > SQL_PROBE_EVERY_MS ? every_ms : SQL_PROBE_EVERY_MS);
    if (pg_probe_start(sql->agent->loop, &local.target, now_ms + SQL_PROBE_MS, sql_on_probe, sql,
                       &sql->probe, &err) != RC_OK)
        log_debug("cannot probe PostgreSQL: %s", err.text);
}

/* ---- Status ---- */

static void
sql_take_pending(struct local_sql *sql)
{
    json_decref(sql->pending);
    sql->pending = NULL;
    if (sql->status.pending_count == 0)
        return;
    sql->pending = json_object();
    for (int i = 0; i < sql->status.pending_count; i++) {
        const struct pg_pending *row = &sql->status.pending[i];
        json_t *change = json_object();

        (void)json_object_set_new(change, "old_value",
                                  json_string(row->old_value != NULL ? row->old_value : "?"));
        (void)json_object_set_new(change, "new_value",
                                  json_string(row->new_value != NULL ? row->new_value : "?"));
        (void)json_object_set_new(sql->pending, row->name, change);
    }
}

static void
sql_on_status(struct pg_status *status, struct pg_answer *answer, void *arg)
{
    struct local_sql *sql = arg;

    sql->is_asking = false;
    if (status == NULL) {
        log_info("no status from PostgreSQL: %s", answer->err.text);
        sql->is_valid = false;
        if (answer->rc != RC_REFUSED)
            pg_conn_close(sql->conn);
        else /* if it was the settings that it refuses, the rest must not suffer each time */
            sql->settings_at_ms = clock_boot_ms() + SQL_SETTINGS_EVERY_MS;
        sql_finish(sql);
        return;
    }
    pg_status_done(&sql->status);
    sql->status = *status;
    *status = (struct pg_status){0};
    sql->has_status = true;
    sql->is_valid = true;
    if ((sql->parts & PG_STATUS_SETTINGS) != 0) {
        sql_take_pending(sql);
        sql->settings_at_ms = clock_boot_ms() + SQL_SETTINGS_EVERY_MS;
    }
    sql_ask_timeline(sql);
    sql_probe(sql);
    sql_finish(sql);
}

static void
sql_query(struct local_sql *sql)
{
    struct err err;

    sql->is_asking = true;
    if (pg_query_status(sql->conn, sql->parts, clock_boot_ms() + SQL_ANSWER_MS, sql_on_status, sql,
                        &err) == RC_OK)
        return;
    sql->is_asking = false;
    sql->is_valid = false;
    pg_conn_close(sql->conn);
    sql_finish(sql);
}

static void
sql_on_open(struct pg_answer *answer, void *arg)
{
    struct local_sql *sql = arg;

    sql->is_opening = false;
    sql_note_verdict(sql, pg_probe_judge(answer), answer->err.text);
    if (answer->rc == RC_OK) {
        sql->probe_at_ms = clock_boot_ms() + SQL_PROBE_EVERY_MS;
        sql_query(sql);
        return;
    }
    log_debug("no session to PostgreSQL (%s): %s", pg_probe_verdict_text(sql->verdict),
              answer->err.text);
    sql->is_valid = false;
    sql_finish(sql);
}

static void
sql_open(struct local_sql *sql)
{
    struct pg_plan_target local;
    struct err err;

    if (!pg_plan_local_target(sql->agent, NULL, &local)) {
        sql->is_valid = false;
        sql_finish(sql);
        return;
    }
    sql->is_opening = true;
    if (pg_conn_open(sql->conn, PG_CONN_HEARTBEAT, &local.target, clock_boot_ms() + SQL_ANSWER_MS,
                     sql_on_open, sql, &err) == RC_OK)
        return;
    sql->is_opening = false;
    sql->is_valid = false;
    sql_finish(sql);
}

void
local_sql_ask(struct local_sql *sql, bool with_settings, loop_call_fn *done, void *arg)
{
    int64_t now_ms = clock_boot_ms();

    pgh_assert(sql->done == NULL);
    sql->done = done;
    sql->done_arg = arg;
    if (with_settings)
        sql->settings_until_ms = now_ms + SQL_SETTINGS_AFTER_MS;
    if (sql->is_opening || sql->is_asking)
        return; /* what is under way will finish this, too */
    sql->parts = PG_STATUS_REPLICATION | PG_STATUS_SLOTS;
    if (now_ms >= sql->settings_at_ms || now_ms < sql->settings_until_ms)
        sql->parts |= PG_STATUS_SETTINGS;
    if (pg_conn_is_open(sql->conn))
        sql_query(sql);
    else
        sql_open(sql);
}

void
local_sql_forget(struct local_sql *sql)
{
    pg_conn_free(sql->conn);
    sql->conn = pg_conn_new(sql->agent->loop, "local");
    pg_conn_free(sql->identity_conn);
    sql->identity_conn = pg_conn_new(sql->agent->loop, "local timeline");
    pg_probe_free(sql->probe);
    sql->probe = NULL;
    sql->is_opening = sql->is_asking = false;
    sql->is_valid = sql->has_status = false;
    sql->timeline = 0;
    sql->identity_at_ms = 0;
    sql->session_at_ms = 0;
    sql->settings_at_ms = 0;
    sql->verdict = PG_PROBE_REFUSED;
    pg_status_done(&sql->status);
    json_decref(sql->pending); /* a start is what it was waiting for */
    sql->pending = NULL;
    sql_finish(sql);
}

bool
local_sql_is_reloading(const struct local_sql *sql)
{
    return clock_boot_ms() < sql->settings_until_ms;
}

void
local_sql_get(const struct local_sql *sql, struct local_sql_facts *ret)
{
    *ret = (struct local_sql_facts){.is_valid = sql->is_valid,
                                    .verdict = sql->verdict,
                                    .session_at_ms = sql->session_at_ms,
                                    .timeline = sql->timeline};
    if (sql->is_valid && !sql->status.is_in_recovery)
        ret->timeline = sql->status.timeline;
}

const struct pg_status *
local_sql_status(const struct local_sql *sql)
{
    return sql->has_status ? &sql->status : NULL;
}

const json_t *
local_sql_pending(const struct local_sql *sql)
{
    return sql->pending;
}

struct local_sql *
local_sql_new(struct agent *agent)
{
    struct local_sql *sql = mem_new(1, sizeof(*sql));

    sql->agent = agent;
    sql->conn = pg_conn_new(agent->loop, "local");
    sql->identity_conn = pg_conn_new(agent->loop, "local timeline");
    sql->verdict = PG_PROBE_REFUSED;
    return sql;
}

void
local_sql_free(struct local_sql *sql)
{
    if (sql == NULL)
        return;
    pg_conn_free(sql->conn);
    pg_conn_free(sql->identity_conn);
    pg_probe_free(sql->probe);
    pg_status_done(&sql->status);
    json_decref(sql->pending);
    mem_free(sql);
}
