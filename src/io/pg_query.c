#include "pgheir/io/pg_query.h"

#include "pg_conn_private.h"
#include "pg_status_private.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"

#include <string.h>

/* What a completion needs to know; freed with the request. */
struct ask {
    unsigned parts;
    uint32_t timeline;
    void *arg;
    pg_status_fn *on_status;
    pg_identity_fn *on_identity;
    pg_history_fn *on_history;
    pg_settings_fn *on_settings;
    pg_recovery_fn *on_recovery;
};

static enum rc ask_send(struct pg_conn *conn, const char *sql, int64_t deadline_ms,
                        pg_answer_fn *on_answer, const struct ask *ask, struct err *err)
{
    struct ask *copy = mem_new(1, sizeof *copy);
    *copy = *ask;
    enum rc rc = pg_conn_query(conn, sql, 0, NULL, 0, deadline_ms, on_answer, copy, err);
    if (rc == RC_OK)
        pg_conn_give(conn, copy);
    else
        mem_free(copy);
    return rc;
}

/* Turns an answer that is not what was asked for into an error. */
static bool answer_is_table(struct pg_answer *answer, int rows_min, int columns)
{
    if (answer->rc != RC_OK)
        return false;
    if (answer->results_count == 1 && PQntuples(answer->results[0]) >= rows_min &&
        PQnfields(answer->results[0]) >= columns)
        return true;
    answer->rc = err_set(&answer->err, RC_PROTOCOL,
                         "expected at least %d rows of %d columns from PostgreSQL", rows_min,
                         columns);
    return false;
}

/* ---- status ---- */

static void on_status_answer(struct pg_answer *answer, void *arg)
{
    struct ask *ask = arg;
    struct pg_status status;
    if (answer->rc == RC_OK)
        answer->rc = pg_status_parse(answer->results, answer->results_count, ask->parts, &status,
                                     &answer->err);
    if (answer->rc != RC_OK) {
        ask->on_status(NULL, answer, ask->arg);
        return;
    }
    status.asked_at_ms = answer->sent_at_ms;
    ask->on_status(&status, answer, ask->arg);
    pg_status_done(&status);
}

enum rc pg_query_status(struct pg_conn *conn, unsigned parts, int64_t deadline_ms,
                        pg_status_fn *on_status, void *arg, struct err *err)
{
    struct ask ask = {.parts = parts, .on_status = on_status, .arg = arg};
    struct buf sql;
    buf_init(&sql, PG_STATUS_SQL_MAX);
    pg_status_sql(parts, pg_conn_server_version(conn), &sql);
    enum rc rc = ask_send(conn, buf_text(&sql), deadline_ms, on_status_answer, &ask, err);
    buf_done(&sql);
    return rc;
}

/* ---- replication connections ---- */

static void on_identity_answer(struct pg_answer *answer, void *arg)
{
    struct ask *ask = arg;
    struct pg_identity identity = {0};
    uint64_t timeline = 0;
    if (answer_is_table(answer, 1, 3)) {
        const PGresult *row = answer->results[0];
        if (!str_parse_uint64(PQgetvalue(row, 0, 0), &identity.system_identifier) ||
            !str_parse_uint64(PQgetvalue(row, 0, 1), &timeline) || timeline > UINT32_MAX ||
            !lsn_parse(PQgetvalue(row, 0, 2), &identity.lsn))
            answer->rc = err_set(&answer->err, RC_PROTOCOL, "IDENTIFY_SYSTEM: unreadable answer");
        identity.timeline = (uint32_t)timeline;
    }
    ask->on_identity(answer->rc == RC_OK ? &identity : NULL, answer, ask->arg);
}

enum rc pg_query_identify(struct pg_conn *conn, int64_t deadline_ms, pg_identity_fn *on_done,
                          void *arg, struct err *err)
{
    struct ask ask = {.on_identity = on_done, .arg = arg};
    return ask_send(conn, "IDENTIFY_SYSTEM", deadline_ms, on_identity_answer, &ask, err);
}

static void on_history_answer(struct pg_answer *answer, void *arg)
{
    struct ask *ask = arg;
    struct pg_history *history = mem_new(1, sizeof *history);
    if (answer_is_table(answer, 1, 2)) {
        const PGresult *row = answer->results[0];
        answer->rc = pg_history_parse(PQgetvalue(row, 0, 1), (size_t)PQgetlength(row, 0, 1),
                                      ask->timeline, history, &answer->err);
    }
    ask->on_history(answer->rc == RC_OK ? history : NULL, answer, ask->arg);
    mem_free(history);
}

enum rc pg_query_history(struct pg_conn *conn, uint32_t timeline, int64_t deadline_ms,
                         pg_history_fn *on_done, void *arg, struct err *err)
{
    struct ask ask = {.timeline = timeline, .on_history = on_done, .arg = arg};
    char sql[48];
    if (timeline < 2)
        return err_set(err, RC_INVALID, "timeline %u has no history", timeline);
    bool is_fit = str_format(sql, sizeof sql, "TIMELINE_HISTORY %u", timeline);
    pgh_assert(is_fit);
    return ask_send(conn, sql, deadline_ms, on_history_answer, &ask, err);
}

/* ---- settings ---- */

#define SQL_SETTINGS                                                                               \
    "SELECT name, setting, unit, vartype, context, min_val, max_val, enumvals::text, source,"      \
    " boot_val, reset_val, pending_restart FROM pg_catalog.pg_settings"

enum { SETTING_COLUMNS = 12 };

static void on_settings_answer(struct pg_answer *answer, void *arg)
{
    struct ask *ask = arg;
    if (!answer_is_table(answer, 1, SETTING_COLUMNS)) {
        ask->on_settings(NULL, 0, answer, ask->arg);
        return;
    }
    const PGresult *rows = answer->results[0];
    int count = PQntuples(rows);
    struct pg_setting *settings = mem_new((size_t)count, sizeof *settings);
    for (int i = 0; i < count; i++)
        settings[i] = (struct pg_setting){
            .name = PQgetvalue(rows, i, 0),
            .setting = PQgetvalue(rows, i, 1),
            .unit = PQgetvalue(rows, i, 2),
            .vartype = PQgetvalue(rows, i, 3),
            .context = PQgetvalue(rows, i, 4),
            .min_val = PQgetvalue(rows, i, 5),
            .max_val = PQgetvalue(rows, i, 6),
            .enumvals = PQgetvalue(rows, i, 7),
            .source = PQgetvalue(rows, i, 8),
            .boot_val = PQgetvalue(rows, i, 9),
            .reset_val = PQgetvalue(rows, i, 10),
            .is_pending_restart = PQgetvalue(rows, i, 11)[0] == 't',
        };
    ask->on_settings(settings, count, answer, ask->arg);
    mem_free(settings);
}

enum rc pg_query_settings(struct pg_conn *conn, bool only_postmaster, int64_t deadline_ms,
                          pg_settings_fn *on_done, void *arg, struct err *err)
{
    struct ask ask = {.on_settings = on_done, .arg = arg};
    return ask_send(conn,
                    only_postmaster ? SQL_SETTINGS " WHERE context = 'postmaster' ORDER BY name"
                                    : SQL_SETTINGS " ORDER BY name",
                    deadline_ms, on_settings_answer, &ask, err);
}

/* ---- statements ---- */

static void on_recovery_answer(struct pg_answer *answer, void *arg)
{
    struct ask *ask = arg;
    bool is_in_recovery = true;
    if (answer_is_table(answer, 1, 1))
        is_in_recovery = PQgetvalue(answer->results[0], 0, 0)[0] == 't';
    ask->on_recovery(is_in_recovery, answer, ask->arg);
}

enum rc pg_query_is_in_recovery(struct pg_conn *conn, int64_t deadline_ms, pg_recovery_fn *on_done,
                                void *arg, struct err *err)
{
    struct ask ask = {.on_recovery = on_done, .arg = arg};
    return ask_send(conn, "SELECT pg_catalog.pg_is_in_recovery()", deadline_ms, on_recovery_answer,
                    &ask, err);
}

enum rc pg_query_checkpoint(struct pg_conn *conn, int64_t deadline_ms, pg_answer_fn *on_done,
                            void *arg, struct err *err)
{
    return pg_conn_query(conn, "CHECKPOINT", 0, NULL, 0, deadline_ms, on_done, arg, err);
}

enum rc pg_query_reload_conf(struct pg_conn *conn, int64_t deadline_ms, pg_answer_fn *on_done,
                             void *arg, struct err *err)
{
    return pg_conn_query(conn, "SELECT pg_catalog.pg_reload_conf()", 0, NULL, 0, deadline_ms,
                         on_done, arg, err);
}

enum rc pg_query_slot_create(struct pg_conn *conn, const char *slot, int64_t deadline_ms,
                             pg_answer_fn *on_done, void *arg, struct err *err)
{
    return pg_conn_query(conn, "SELECT pg_catalog.pg_create_physical_replication_slot($1, true)", 1,
                         &slot, 0, deadline_ms, on_done, arg, err);
}

enum rc pg_query_slot_drop(struct pg_conn *conn, const char *slot, int64_t deadline_ms,
                           pg_answer_fn *on_done, void *arg, struct err *err)
{
    return pg_conn_query(conn,
                         "SELECT pg_catalog.pg_drop_replication_slot(slot_name)"
                         " FROM pg_catalog.pg_replication_slots WHERE slot_name = $1",
                         1, &slot, 0, deadline_ms, on_done, arg, err);
}

enum rc pg_query_slot_advance(struct pg_conn *conn, const char *slot, uint64_t lsn,
                              int64_t deadline_ms, pg_answer_fn *on_done, void *arg,
                              struct err *err)
{
    char text[LSN_TEXT_SIZE];
    const char *const params[] = {slot, lsn_format(lsn, text)};
    return pg_conn_query(conn,
                         "SELECT pg_catalog.pg_replication_slot_advance(slot_name, $2::pg_lsn)"
                         " FROM pg_catalog.pg_replication_slots"
                         " WHERE slot_name = $1 AND NOT active AND slot_type = 'physical'"
                         " AND restart_lsn < $2::pg_lsn",
                         2, params, 0, deadline_ms, on_done, arg, err);
}

enum rc pg_query_replay_resume(struct pg_conn *conn, int64_t deadline_ms, pg_answer_fn *on_done,
                               void *arg, struct err *err)
{
    return pg_conn_query(conn, "SELECT pg_catalog.pg_wal_replay_resume()", 0, NULL, 0, deadline_ms,
                         on_done, arg, err);
}
