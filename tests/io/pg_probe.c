/* Does one thing through the PostgreSQL door and says how it ended. The request is one JSON
 * object on stdin, so that no secret stands in the process list; the answers are JSON objects,
 * one per line, the last one with "done". Driven by pg_lib.py. A timer beside the request
 * measures whether the loop kept turning: "max_gap_ms". */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/log.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/io/loop.h"
#include "pgheir/io/pg_conf.h"
#include "pgheir/io/pg_ops.h"
#include "pgheir/io/pg_query.h"

enum { TICK_MS = 5, PAIRS_MAX = 64, SPAN_DEFAULT_MS = 60000, AFTERMATH_MS = 300 };

struct probe {
    struct loop *loop;
    json_t *request, *answer;
    struct loop_timer *tick, *breaker;
    int64_t deadline_ms, last_tick_at_ms, max_gap_ms, began_at_ms;
    int completions;
    bool is_freed;
    struct pg_site site;
    struct pg_conn *conn;
    struct pg_op *op;
    struct pg_probe *health;
    struct job *job;
    struct pg_text_pair pairs[3][PAIRS_MAX];
    struct pg_option options[PAIRS_MAX];
};

static const char *text_of(const struct probe *probe, const char *key)
{
    return json_string_value(json_object_get(probe->request, key));
}

static int64_t int_of(const struct probe *probe, const char *key)
{
    return json_integer_value(json_object_get(probe->request, key));
}

static uint64_t uint_of(const struct probe *probe, const char *key)
{
    uint64_t value = 0;
    const char *text = text_of(probe, key);
    return text != NULL && (lsn_parse(text, &value) || str_parse_uint64(text, &value)) ? value : 0;
}

static void put(struct probe *probe, const char *key, json_t *value)
{
    (void)json_object_set_new(probe->answer, key, value);
}

static void put_lsn(json_t *object, const char *key, uint64_t lsn)
{
    char text[LSN_TEXT_SIZE];
    (void)json_object_set_new(object, key, json_string(lsn_format(lsn, text)));
}

static void put_uint(json_t *object, const char *key, uint64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    (void)json_object_set_new(object, key, json_string(text));
}

static void print(json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT);
    (void)printf("%s\n", text);
    (void)fflush(stdout);
    json_decref(object);
    (free)(text); /* jansson's own */
}

/* The one completion. */
static void done(struct probe *probe, enum rc rc, const char *error)
{
    probe->completions++;
    put(probe, "rc", json_string(rc_text(rc)));
    put(probe, "error", json_string(error));
    put(probe, "took_ms", json_integer(clock_boot_ms() - probe->began_at_ms));
    loop_stop(probe->loop);
}

static void done_answer(struct probe *probe, const struct pg_answer *answer)
{
    put(probe, "sqlstate", json_string(answer->sqlstate));
    done(probe, answer->rc, answer->err.text);
}

/* ---- configuration of a request ---- */

static struct pg_conn_target target_of(struct probe *probe)
{
    return (struct pg_conn_target){
        .address = text_of(probe, "address"),
        .host = text_of(probe, "host"),
        .port = (int)int_of(probe, "port"),
        .database = text_of(probe, "database"),
        .user = text_of(probe, "user"),
        .password = text_of(probe, "password"),
    };
}

static size_t pairs_of(struct probe *probe, const char *key, int slot)
{
    size_t count = 0;
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(probe->request, key), name, value)
        if (count < PAIRS_MAX)
            probe->pairs[slot][count++] = (struct pg_text_pair){name, json_string_value(value)};
    return count;
}

static size_t options_of(struct probe *probe)
{
    size_t count = 0;
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(probe->request, "options"), name, value)
        if (count < PAIRS_MAX)
            probe->options[count++] = (struct pg_option){name, json_string_value(value)};
    return count;
}

static struct pg_source source_of(struct probe *probe)
{
    return (struct pg_source){
        .host = text_of(probe, "host"),
        .address = text_of(probe, "address"),
        .port = (int)int_of(probe, "port"),
        .user = text_of(probe, "user"),
        .password = text_of(probe, "password"),
        .database = text_of(probe, "database"),
        .options = probe->pairs[0],
        .options_count = pairs_of(probe, "source_options", 0),
    };
}

/* ---- over a session ---- */

static void on_answer(struct pg_answer *answer, void *arg)
{
    struct probe *probe = arg;
    if (answer->rc == RC_OK && answer->results_count > 0 &&
        PQntuples(answer->results[answer->results_count - 1]) > 0)
        put(probe, "value",
            json_string(PQgetvalue(answer->results[answer->results_count - 1], 0, 0)));
    done_answer(probe, answer);
}

static json_t *senders_json(const struct pg_status *status)
{
    json_t *rows = json_array();
    for (int i = 0; i < status->senders_count; i++) {
        const struct pg_sender *sender = &status->senders[i];
        json_t *row = json_pack("{s:s,s:s,s:s,s:s,s:s}", "user", sender->user, "application_name",
                                sender->application_name, "state", sender->state, "sync_state",
                                sender->sync_state, "client_addr", sender->client_addr);
        put_lsn(row, "flush_lsn", sender->flush_lsn);
        put_lsn(row, "replay_lsn", sender->replay_lsn);
        (void)json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *slots_json(const struct pg_status *status)
{
    json_t *rows = json_array();
    for (int i = 0; i < status->slots_count; i++) {
        const struct pg_slot *slot = &status->slots[i];
        json_t *row = json_pack("{s:s,s:b,s:b,s:b,s:s}", "name", slot->name, "physical",
                                slot->is_physical, "active", slot->is_active, "has_xmin",
                                slot->has_xmin, "wal_status", slot->wal_status);
        put_lsn(row, "restart_lsn", slot->restart_lsn);
        put_lsn(row, "confirmed_flush_lsn", slot->confirmed_flush_lsn);
        (void)json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *pending_json(const struct pg_status *status)
{
    json_t *rows = json_object();
    for (int i = 0; i < status->pending_count; i++)
        (void)json_object_set_new(rows, status->pending[i].name,
                                  json_pack("[s,s]", status->pending[i].old_value,
                                            status->pending[i].new_value));
    return rows;
}

static void on_status(struct pg_status *status, struct pg_answer *answer, void *arg)
{
    struct probe *probe = arg;
    if (status == NULL) {
        done_answer(probe, answer);
        return;
    }
    json_t *object = probe->answer;
    put_uint(object, "system_identifier", status->system_identifier);
    put_lsn(object, "flush_lsn", status->flush_lsn);
    put_lsn(object, "write_lsn", status->write_lsn);
    put_lsn(object, "receive_lsn", status->receive_lsn);
    put_lsn(object, "replay_lsn", status->replay_lsn);
    put_lsn(object, "position", pg_status_position(status));
    put_lsn(object, "receiver_latest_end_lsn", status->receiver_latest_end_lsn);
    put(probe, "in_recovery", json_boolean(status->is_in_recovery));
    put(probe, "replay_paused", json_boolean(status->is_replay_paused));
    put(probe, "read_only", json_boolean(status->is_read_only));
    put(probe, "server_version", json_integer(status->server_version));
    put(probe, "timeline", json_integer(status->timeline));
    put(probe, "checkpoint_timeline", json_integer(status->checkpoint_timeline));
    put(probe, "postmaster_start_wall_ms", json_integer(status->postmaster_start_wall_ms));
    put(probe, "postmaster_start", json_string(status->postmaster_start_text));
    put(probe, "replay_wall_ms", json_integer(status->replay_wall_ms));
    put(probe, "receiver_status", json_string(status->receiver_status));
    put(probe, "receiver_host", json_string(status->receiver_host));
    put(probe, "receiver_port", json_integer(status->receiver_port));
    put(probe, "receiver_slot", json_string(status->receiver_slot));
    put(probe, "receiver_conninfo", json_string(status->receiver_conninfo));
    put(probe, "primary_conninfo", json_string(status->primary_conninfo));
    put(probe, "primary_slot_name", json_string(status->primary_slot_name));
    put(probe, "synchronous_standby_names", json_string(status->synchronous_standby_names));
    put(probe, "senders", senders_json(status));
    put(probe, "slots", slots_json(status));
    put(probe, "pending", pending_json(status));
    done_answer(probe, answer);
}

static void on_identity(const struct pg_identity *identity, struct pg_answer *answer, void *arg)
{
    struct probe *probe = arg;
    if (identity != NULL) {
        put_uint(probe->answer, "system_identifier", identity->system_identifier);
        put_lsn(probe->answer, "lsn", identity->lsn);
        put(probe, "timeline", json_integer(identity->timeline));
    }
    done_answer(probe, answer);
}

static void on_history(const struct pg_history *history, struct pg_answer *answer, void *arg)
{
    struct probe *probe = arg;
    json_t *rows = json_array();
    for (int i = 0; history != NULL && i < history->count; i++) {
        json_t *row = json_pack("{s:i,s:s}", "timeline", (int)history->rows[i].timeline, "reason",
                                history->rows[i].reason);
        put_lsn(row, "switch_lsn", history->rows[i].switch_lsn);
        (void)json_array_append_new(rows, row);
    }
    put(probe, "history", rows);
    done_answer(probe, answer);
}

static void on_settings(const struct pg_setting *settings, int count, struct pg_answer *answer,
                        void *arg)
{
    struct probe *probe = arg;
    json_t *rows = json_object();
    for (int i = 0; i < count; i++)
        (void)json_object_set_new(rows, settings[i].name,
                                  json_pack("{s:s,s:s,s:s}", "setting", settings[i].setting,
                                            "context", settings[i].context, "unit",
                                            settings[i].unit));
    put(probe, "settings", rows);
    done_answer(probe, answer);
}

static enum rc roles_begin(struct probe *probe, struct err *err)
{
    struct pg_account accounts[8];
    int count = 0;
    size_t idx;
    json_t *row;
    json_array_foreach(json_object_get(probe->request, "roles"), idx, row)
        if (count < 8)
            accounts[count++] = (struct pg_account){
                .kind = (enum pg_role_kind)json_integer_value(json_object_get(row, "kind")),
                .name = json_string_value(json_object_get(row, "name")),
                .password = json_string_value(json_object_get(row, "password")),
            };
    return pg_query_roles(probe->conn, accounts, count, probe->deadline_ms, on_answer, probe, err);
}

static enum rc promote_begin(struct probe *probe, struct err *err);

static enum rc session_begin(struct probe *probe, struct err *err)
{
    const char *op = text_of(probe, "op");
    struct pg_conn *conn = probe->conn;
    int64_t deadline_ms = probe->deadline_ms;
    if (str_equal(op, "status"))
        return pg_query_status(conn, (unsigned)int_of(probe, "parts"), deadline_ms, on_status,
                               probe,
                               err);
    if (str_equal(op, "identify"))
        return pg_query_identify(conn, deadline_ms, on_identity, probe, err);
    if (str_equal(op, "history"))
        return pg_query_history(conn, (uint32_t)int_of(probe, "timeline"), deadline_ms, on_history,
                                probe, err);
    if (str_equal(op, "settings"))
        return pg_query_settings(conn, true, deadline_ms, on_settings, probe, err);
    if (str_equal(op, "checkpoint"))
        return pg_query_checkpoint(conn, deadline_ms, on_answer, probe, err);
    if (str_equal(op, "slot_create"))
        return pg_query_slot_create(conn, text_of(probe, "slot"), deadline_ms, on_answer, probe,
                                    err);
    if (str_equal(op, "slot_drop"))
        return pg_query_slot_drop(conn, text_of(probe, "slot"), deadline_ms, on_answer, probe, err);
    if (str_equal(op, "slot_advance"))
        return pg_query_slot_advance(conn, text_of(probe, "slot"), uint_of(probe, "lsn"),
                                     deadline_ms, on_answer, probe, err);
    if (str_equal(op, "reload"))
        return pg_query_reload_conf(conn, deadline_ms, on_answer, probe, err);
    if (str_equal(op, "roles"))
        return roles_begin(probe, err);
    if (str_equal(op, "promote"))
        return promote_begin(probe, err);
    return pg_conn_query(conn, text_of(probe, "sql"), 0, NULL, 0, deadline_ms, on_answer, probe,
                         err);
}

static void on_open(struct pg_answer *answer, void *arg)
{
    struct probe *probe = arg;
    struct err err = {0};
    if (answer->rc != RC_OK) {
        put(probe, "verdict", json_string(pg_probe_verdict_text(pg_probe_judge(answer))));
        done_answer(probe, answer);
        return;
    }
    put(probe, "open_ms", json_integer(clock_boot_ms() - probe->began_at_ms));
    probe->began_at_ms = clock_boot_ms();
    if (int_of(probe, "stop_pid_when_open") > 0)
        (void)kill((pid_t)int_of(probe, "stop_pid_when_open"), SIGSTOP);
    enum rc rc = session_begin(probe, &err);
    if (rc != RC_OK)
        done(probe, rc, err.text);
}

static enum rc session_open(struct probe *probe, struct err *err)
{
    const char *kind = text_of(probe, "kind");
    struct pg_conn_target target = target_of(probe);
    target.options = probe->pairs[0];
    target.options_count = pairs_of(probe, "source_options", 0);
    probe->conn = pg_conn_new(probe->loop, "test");
    return pg_conn_open(probe->conn,
                        str_equal(kind, "replication") ? PG_CONN_REPLICATION
                        : str_equal(kind, "plain")     ? PG_CONN_PLAIN
                        : str_equal(kind, "task")      ? PG_CONN_TASK
                                                       : PG_CONN_HEARTBEAT,
                        &target, probe->deadline_ms, on_open, probe, err);
}

static void on_health(enum pg_probe_verdict verdict, const struct err *err, void *arg)
{
    struct probe *probe = arg;
    probe->health = NULL;
    put(probe, "verdict", json_string(pg_probe_verdict_text(verdict)));
    done(probe, RC_OK, err->text);
}

/* ---- disk ---- */

static json_t *control_json(const struct pg_control_data *control)
{
    json_t *object = json_pack("{s:s,s:i,s:b,s:b,s:i}", "state",
                               pg_control_state_text(control->state), "timeline",
                               (int)control->timeline, "checksums", control->has_checksums,
                               "wal_log_hints", control->has_wal_log_hints, "max_connections",
                               control->max_connections);
    put_uint(object, "system_identifier", control->system_identifier);
    put_lsn(object, "checkpoint_lsn", control->checkpoint_lsn);
    put_lsn(object, "min_recovery_lsn", control->min_recovery_lsn);
    return object;
}

static json_t *wal_end_json(const struct pg_wal_end *end)
{
    json_t *object = json_pack("{s:i,s:I,s:b}", "timeline", (int)end->timeline, "records",
                               (json_int_t)end->records, "is_shutdown_checkpoint",
                               end->is_shutdown_checkpoint);
    put_lsn(object, "end_lsn", end->end_lsn);
    put_lsn(object, "last_lsn", end->last_lsn);
    put_lsn(object, "switch_lsn", end->switch_lsn);
    return object;
}

static void on_control(const struct pg_control_data *data, const struct err *err, void *arg)
{
    struct probe *probe = arg;
    probe->job = NULL;
    if (data != NULL)
        put(probe, "control", control_json(data));
    done(probe, data != NULL ? RC_OK : err->rc, err->text);
}

static void on_inspect(const struct pg_inspection *now, const struct err *err, void *arg)
{
    struct probe *probe = arg;
    probe->job = NULL;
    if (now != NULL) {
        put(probe, "kind", json_string(pg_dir_kind_text(now->kind)));
        put(probe, "major_version", json_integer(now->major_version));
        put(probe, "alive", json_boolean(now->is_alive));
        put(probe, "pid", json_integer(now->process.pid));
        put(probe, "pidfile_status", json_string(pg_pidfile_status_text(now->pidfile.status)));
        put(probe, "problem", json_string(now->problem));
        put(probe, "standby_signal", json_boolean(now->has_standby_signal));
        put(probe, "markers", json_pack("[b,b,b]", now->markers[0], now->markers[1],
                                        now->markers[2]));
        if (now->has_control)
            put(probe, "control", control_json(&now->control));
    }
    done(probe, now != NULL ? RC_OK : err->rc, err->text);
}

static void on_wal_end(const struct pg_wal_end *end, const struct err *err, void *arg)
{
    struct probe *probe = arg;
    probe->job = NULL;
    if (end != NULL)
        put(probe, "wal_end", wal_end_json(end));
    done(probe, end != NULL ? RC_OK : err->rc, err->text);
}

static void on_conf(enum rc rc, unsigned changed, const struct err *err, void *arg)
{
    struct probe *probe = arg;
    probe->job = NULL;
    put(probe, "changed", json_integer(changed));
    done(probe, rc, err->text);
}

static enum rc conf_begin(struct probe *probe, struct err *err)
{
    static const char *hba[PAIRS_MAX];
    static struct pg_passline pass[8];
    struct buf conninfo;
    size_t idx, hba_count = 0, pass_count = 0;
    json_t *row;
    struct pg_conf_plan plan = {.site = &probe->site, .settings = probe->pairs[0]};
    json_array_foreach(json_object_get(probe->request, "hba"), idx, row)
        hba[hba_count++] = json_string_value(row);
    json_array_foreach(json_object_get(probe->request, "pass"), idx, row)
        pass[pass_count++] = (struct pg_passline){
            .user = json_string_value(json_array_get(row, 0)),
            .password = json_string_value(json_array_get(row, 1)),
        };
    plan.settings_count = pairs_of(probe, "settings", 0);
    plan.hba_lines = hba_count > 0 ? hba : NULL;
    plan.hba_count = hba_count;
    plan.pass_lines = pass_count > 0 ? pass : NULL;
    plan.pass_count = pass_count;
    plan.is_standby = json_is_true(json_object_get(probe->request, "standby"));
    plan.recovery = probe->pairs[1];
    plan.recovery_count = pairs_of(probe, "recovery", 1);
    buf_init(&conninfo, 8192);
    size_t upstream = pairs_of(probe, "upstream", 2);
    enum rc rc = pg_text_conninfo_add_all(&conninfo, probe->pairs[2], upstream, err);
    if (upstream > 0)
        probe->pairs[1][plan.recovery_count++] =
            (struct pg_text_pair){"primary_conninfo", buf_text(&conninfo)};
    if (rc == RC_OK)
        rc = pg_conf_apply_start(probe->loop, &plan, probe->deadline_ms, on_conf, probe,
                                 &probe->job, err);
    buf_done(&conninfo);
    return rc;
}

static enum rc argv_print(struct probe *probe, struct err *err)
{
    struct pg_argv argv;
    json_t *list = json_array();
    enum rc rc = pg_conf_build_argv(&probe->site, probe->pairs[0], pairs_of(probe, "settings", 0),
                                    &argv, err);
    for (int i = 0; rc == RC_OK && i < argv.argc; i++)
        (void)json_array_append_new(list, json_string(argv.argv[i]));
    put(probe, "argv", list);
    if (rc == RC_OK) {
        pg_argv_done(&argv);
        done(probe, RC_OK, "");
    }
    return rc;
}

/* ---- operations ---- */

static void on_progress(const char *text, void *arg)
{
    const struct probe *probe = arg;
    (void)probe;
    print(json_pack("{s:s}", "progress", text));
}

static void on_op(const struct pg_op_result *result, void *arg)
{
    struct probe *probe = arg;
    probe->op = NULL;
    put(probe, "data_changed", json_boolean(result->is_data_changed));
    put(probe, "needed", json_boolean(result->is_needed));
    put(probe, "fork_timeline", json_integer(result->fork_timeline));
    put_lsn(probe->answer, "fork_lsn", result->fork_lsn);
    put(probe, "kept_dir", json_string(result->kept_dir));
    put(probe, "kept_bytes", json_integer((json_int_t)result->kept_bytes));
    put(probe, "lost_bytes", json_integer((json_int_t)result->lost_bytes));
    put(probe, "kept_cut", json_boolean(result->is_kept_cut));
    put(probe, "status", json_string(pg_pidfile_status_text(result->status)));
    put(probe, "op_took_ms", json_integer(result->took_ms));
    if (result->kind == PG_OP_WAIT_STOP && result->rc == RC_OK) {
        put(probe, "control", control_json(&result->control));
        put(probe, "wal_end", wal_end_json(&result->wal_end));
    }
    done(probe, result->rc, result->err.text);
}

static enum rc promote_begin(struct probe *probe, struct err *err)
{
    const struct pg_op_hooks hooks = {on_progress, on_op, probe};
    const struct pg_promote spec = {&probe->site, probe->conn, int_of(probe, "pid"),
                                    probe->deadline_ms};
    return pg_op_promote(probe->loop, &spec, &hooks, &probe->op, err);
}

static enum rc clone_begin(struct probe *probe, struct err *err)
{
    const struct pg_op_hooks hooks = {on_progress, on_op, probe};
    const struct pg_initdb initdb = {
        .site = &probe->site,
        .superuser = text_of(probe, "user"),
        .password = text_of(probe, "password"),
        .options = probe->options,
        .options_count = options_of(probe),
        .deadline_ms = probe->deadline_ms,
    };
    const struct pg_basebackup backup = {
        .site = &probe->site,
        .source = source_of(probe),
        .system_identifier = uint_of(probe, "system_identifier"),
        .slot = text_of(probe, "slot"),
        .options = probe->options,
        .options_count = initdb.options_count,
        .deadline_ms = probe->deadline_ms,
    };
    return str_equal(text_of(probe, "op"), "initdb")
               ? pg_op_initdb(probe->loop, &initdb, &hooks, &probe->op, err)
               : pg_op_basebackup(probe->loop, &backup, &hooks, &probe->op, err);
}

static enum rc rewind_begin(struct probe *probe, struct err *err)
{
    const struct pg_op_hooks hooks = {on_progress, on_op, probe};
    const struct pg_recover recover = {&probe->site, probe->deadline_ms};
    const struct pg_rewind rewind = {
        .site = &probe->site,
        .source = source_of(probe),
        .system_identifier = uint_of(probe, "system_identifier"),
        .fork_lsn = uint_of(probe, "fork_lsn"),
        .fork_timeline = (uint32_t)int_of(probe, "fork_timeline"),
        .keep_bytes_max = (uint64_t)int_of(probe, "keep_bytes_max"),
        .archive_command = text_of(probe, "archive_command"),
        .has_restore_command = json_is_true(json_object_get(probe->request, "restore_command")),
        .major_version = 15,
        .options = probe->options,
        .options_count = options_of(probe),
        .deadline_ms = probe->deadline_ms,
    };
    return str_equal(text_of(probe, "op"), "recover")
               ? pg_op_recover(probe->loop, &recover, &hooks, &probe->op, err)
               : pg_op_rewind(probe->loop, &rewind, &hooks, &probe->op, err);
}

static enum rc simple_op_begin(struct probe *probe, const char *op, struct err *err)
{
    const struct pg_op_hooks hooks = {on_progress, on_op, probe};
    const struct pg_site *site = &probe->site;
    int64_t deadline_ms = probe->deadline_ms;
    const struct pg_empty_data empty = {site, uint_of(probe, "system_identifier"), deadline_ms};
    const struct pg_set_aside aside = {site, text_of(probe, "suffix"), deadline_ms};
    const struct pg_wait_start start = {site, int_of(probe, "pid"), deadline_ms};
    const struct pg_wait_stop stop = {site, int_of(probe, "pid"), deadline_ms};
    const struct pg_keep_wal keep = {site, uint_of(probe, "fork_lsn"),
                                     (uint32_t)int_of(probe, "fork_timeline"),
                                     (uint64_t)int_of(probe, "keep_bytes_max"), deadline_ms};
    if (str_equal(op, "empty"))
        return pg_op_empty_data(probe->loop, &empty, &hooks, &probe->op, err);
    if (str_equal(op, "aside"))
        return pg_op_set_aside(probe->loop, &aside, &hooks, &probe->op, err);
    if (str_equal(op, "wait_start"))
        return pg_op_wait_start(probe->loop, &start, &hooks, &probe->op, err);
    if (str_equal(op, "wait_stop"))
        return pg_op_wait_stop(probe->loop, &stop, &hooks, &probe->op, err);
    if (str_equal(op, "keep_wal"))
        return pg_op_keep_wal(probe->loop, &keep, &hooks, &probe->op, err);
    return err_set(err, RC_INVALID, "op \"%s\"", op);
}

/* ---- main ---- */

static bool op_is(const char *op, const char *const *names)
{
    for (; *names != NULL; names++)
        if (str_equal(op, *names))
            return true;
    return false;
}

static enum rc begin(struct probe *probe, struct err *err)
{
    static const char *const sessions[] = {"status", "identify", "history", "settings", "sql",
                                           "checkpoint", "slot_create", "slot_drop", "slot_advance",
                                           "reload", "roles", "promote", NULL};
    const char *op = text_of(probe, "op");
    struct pg_conn_target target = target_of(probe);
    if (op_is(op, sessions))
        return session_open(probe, err);
    if (str_equal(op, "health"))
        return pg_probe_start(probe->loop, &target, probe->deadline_ms, on_health, probe,
                              &probe->health, err);
    if (str_equal(op, "control"))
        return pg_control_start(probe->loop, &probe->site, probe->deadline_ms, on_control, probe,
                                &probe->job, err);
    if (str_equal(op, "inspect"))
        return pg_inspect_start(probe->loop, &probe->site, probe->deadline_ms, on_inspect, probe,
                                &probe->job, err);
    if (str_equal(op, "wal_end"))
        return pg_wal_end_start(probe->loop, &probe->site, probe->deadline_ms, on_wal_end, probe,
                                &probe->job, err);
    if (str_equal(op, "conf"))
        return conf_begin(probe, err);
    if (str_equal(op, "conf_save"))
        return pg_conf_save_start(probe->loop, &probe->site, probe->deadline_ms, on_conf, probe,
                                  &probe->job, err);
    if (str_equal(op, "argv"))
        return argv_print(probe, err);
    if (str_equal(op, "initdb") || str_equal(op, "basebackup"))
        return clone_begin(probe, err);
    if (str_equal(op, "rewind") || str_equal(op, "recover"))
        return rewind_begin(probe, err);
    return simple_op_begin(probe, op, err);
}

static void on_tick(void *arg)
{
    struct probe *probe = arg;
    int64_t now_ms = clock_boot_ms(), gap_ms = now_ms - probe->last_tick_at_ms - TICK_MS;
    if (gap_ms > probe->max_gap_ms)
        probe->max_gap_ms = gap_ms;
    probe->last_tick_at_ms = now_ms;
    loop_timer_arm(probe->tick, now_ms + TICK_MS);
    log_flush();
}

static void on_breaker(void *arg)
{
    struct probe *probe = arg;
    if (int_of(probe, "free_after_ms") > 0 && !probe->is_freed) {
        probe->is_freed = true;
        pg_op_free(probe->op);
        probe->op = NULL;
        loop_timer_arm(probe->breaker, clock_boot_ms() + AFTERMATH_MS);
    } else if (probe->is_freed) {
        loop_stop(probe->loop);
    } else if (probe->op != NULL) {
        pg_op_cancel(probe->op);
    } else if (probe->conn != NULL) {
        pg_conn_close(probe->conn);
    }
}

static void run(struct probe *probe)
{
    struct err err = {0};
    int64_t span_ms = int_of(probe, "span_ms");
    int64_t break_ms = int_of(probe, "cancel_after_ms") + int_of(probe, "free_after_ms");
    const char *data_dir = text_of(probe, "data_dir"), *bin_dir = text_of(probe, "bin_dir");
    probe->began_at_ms = clock_boot_ms();
    probe->deadline_ms = probe->began_at_ms + (span_ms > 0 ? span_ms : SPAN_DEFAULT_MS);
    probe->last_tick_at_ms = probe->began_at_ms;
    probe->tick = loop_timer_new(probe->loop, on_tick, probe);
    loop_timer_arm(probe->tick, probe->began_at_ms + TICK_MS);
    probe->breaker = loop_timer_new(probe->loop, on_breaker, probe);
    if (break_ms > 0)
        loop_timer_arm(probe->breaker, probe->began_at_ms + break_ms);
    enum rc rc = data_dir != NULL ? pg_site_init(&probe->site, data_dir, &err) : RC_OK;
    if (rc == RC_OK && bin_dir != NULL &&
        !str_copy(probe->site.bin_dir, sizeof probe->site.bin_dir, bin_dir))
        rc = RC_LIMIT;
    if (rc == RC_OK)
        rc = begin(probe, &err);
    if (rc != RC_OK) {
        put(probe, "refused_at_once", json_true());
        done(probe, rc, err.text);
    } else if (probe->completions == 0) {
        (void)loop_run(probe->loop, &err);
    }
}

int main(void)
{
    struct probe *probe = mem_new(1, sizeof *probe);
    const struct log_options log = {.level = LOG_LEVEL_DEBUG};
    json_error_t error;
    struct err err;
    pg_conn_clean_environment();
    probe->request = json_loadf(stdin, 0, &error);
    probe->answer = json_pack("{s:b}", "done", 1);
    if (probe->request == NULL || log_open(&log) != 0 || loop_new(&probe->loop, &err) != RC_OK) {
        (void)fprintf(stderr, "pg_probe: %s\n", error.text);
        return 2;
    }
    run(probe);
    put(probe, "completions", json_integer(probe->completions));
    put(probe, "max_gap_ms", json_integer(probe->max_gap_ms));
    pg_op_free(probe->op);
    pg_conn_free(probe->conn);
    pg_probe_free(probe->health);
    job_free(probe->job);
    loop_timer_free(probe->tick);
    loop_timer_free(probe->breaker);
    loop_free(probe->loop);
    print(probe->answer);
    json_decref(probe->request);
    mem_free(probe);
    log_flush();
    log_close();
    return 0;
}
