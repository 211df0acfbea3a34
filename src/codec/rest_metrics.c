/* GET /metrics: contract/rest.md section 8, and our own at its end. */
#include <string.h>

#include "rest_private.h"

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/tags_json.h"

enum { LABELS_MAX = 1024, DAY_MS = 24 * 60 * 60 * 1000 };

/* Numbers of the states on the wire: dcs.md section 6. */
static const struct state_number {
    enum pg_state state;
    const char *name;
} state_numbers[] = {
    {PG_STATE_INITDB, "initdb"},
    {PG_STATE_INITDB_FAILED, "initdb_failed"},
    {PG_STATE_CUSTOM_BOOTSTRAP, "custom_bootstrap"},
    {PG_STATE_CUSTOM_BOOTSTRAP_FAILED, "custom_bootstrap_failed"},
    {PG_STATE_CREATING_REPLICA, "creating_replica"},
    {PG_STATE_RUNNING, "running"},
    {PG_STATE_STARTING, "starting"},
    {PG_STATE_BOOTSTRAP_STARTING, "bootstrap_starting"},
    {PG_STATE_START_FAILED, "start_failed"},
    {PG_STATE_RESTARTING, "restarting"},
    {PG_STATE_RESTART_FAILED, "restart_failed"},
    {PG_STATE_STOPPING, "stopping"},
    {PG_STATE_STOPPED, "stopped"},
    {PG_STATE_STOP_FAILED, "stop_failed"},
    {PG_STATE_CRASHED, "crashed"},
};

struct writer {
    struct buf *out;
    struct buf labels;
};

/* Backslash, quote and line break are what the format knows to escape. */
static void put_label(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '"')
            (void)buf_append(out, "\\", 1);
        if (*text == '\n')
            (void)buf_puts(out, "\\n");
        else
            (void)buf_append(out, text, 1);
    }
}

static void put_head(struct writer *writer, const char *name, const char *type, const char *help,
                     const char *comment)
{
    (void)buf_printf(writer->out, "# HELP %s %s\n%s# TYPE %s %s\n%s%s ", name, help, comment, name,
                     type, name, buf_text(&writer->labels));
}

static void put_gauge(struct writer *writer, const char *name, const char *help, int64_t value)
{
    put_head(writer, name, "gauge", help, "");
    (void)buf_printf(writer->out, "%lld\n", (long long)value);
}

static void put_counter(struct writer *writer, const char *name, const char *help, uint64_t value)
{
    put_head(writer, name, "counter", help, "");
    (void)buf_printf(writer->out, "%llu\n", (unsigned long long)value);
}

/* Seconds with their fraction; 0 if unknown. */
static void put_time(struct writer *writer, const char *name, const char *help, int64_t wall_us)
{
    put_head(writer, name, "gauge", help, "");
    if (wall_us <= 0)
        (void)buf_puts(writer->out, "0\n");
    else
        (void)buf_printf(writer->out, "%lld.%06lld\n", (long long)(wall_us / 1000000),
                         (long long)(wall_us % 1000000));
}

static void put_state(struct writer *writer, const char *state)
{
    struct buf values;
    int number = -1;

    buf_init(&values, LABELS_MAX);
    (void)buf_puts(&values, "# Values: ");
    for (size_t i = 0; i < PGH_COUNT(state_numbers); i++) {
        (void)buf_printf(&values, "%s%zu=%s", i == 0 ? "" : ", ", i, state_numbers[i].name);
        if (str_equal(state, pg_state_text(state_numbers[i].state)))
            number = (int)i;
    }
    (void)buf_puts(&values, "\n");
    put_head(writer, "patroni_postgres_state", "gauge",
             "Numeric representation of Postgres state.", buf_text(&values));
    (void)buf_printf(writer->out, "%d\n", number);
    buf_done(&values);
}

static void put_server(struct writer *writer, const struct rest_node *node,
                       const struct rest_doc *doc)
{
    const char *role = doc->role;

    put_head(writer, "patroni_version", "gauge", "Patroni semver without periods.", "");
    (void)buf_puts(writer->out, "040104\n");
    put_gauge(writer, "patroni_postgres_running", "Value is 1 if Postgres is running, 0 otherwise.",
              str_equal(doc->state, "running"));
    put_time(writer, "patroni_postmaster_start_time", "Epoch seconds since Postgres started.",
             doc->has_sql ? node->postmaster_start_wall_us : 0);
    put_gauge(writer, "patroni_primary", "Value is 1 if this node is the leader, 0 otherwise.",
              str_equal(role, "primary"));
    put_counter(writer, "patroni_xlog_location",
                "Current location of the Postgres transaction log, 0 if this node is not the "
                "leader.",
                doc->location);
    put_gauge(writer, "patroni_standby_leader",
              "Value is 1 if this node is the standby_leader, 0 otherwise.",
              str_equal(role, "standby_leader"));
    put_gauge(writer, "patroni_replica", "Value is 1 if this node is a replica, 0 otherwise.",
              str_equal(role, "replica"));
    put_gauge(writer, "patroni_sync_standby",
              "Value is 1 if this node is a sync standby, 0 otherwise.", doc->sync_standby);
    put_gauge(writer, "patroni_quorum_standby",
              "Value is 1 if this node is a quorum standby, 0 otherwise.", doc->quorum_standby);
    put_counter(writer, "patroni_xlog_received_location",
                "Current location of the received Postgres transaction log, 0 if this node is not "
                "a replica.",
                doc->received);
    put_counter(writer, "patroni_xlog_replayed_location",
                "Current location of the replayed Postgres transaction log, 0 if this node is not "
                "a replica.",
                doc->replayed);
    put_time(writer, "patroni_xlog_replayed_timestamp",
             "Current timestamp of the replayed Postgres transaction log, 0 if null.",
             doc->has_sql && !doc->is_primary ? node->replayed_wall_us : 0);
    put_gauge(writer, "patroni_xlog_paused",
              "Value is 1 if the Postgres xlog is paused, 0 otherwise.",
              doc->has_sql && !doc->is_primary && node->replay_paused);
    if (doc->has_sql) {
        put_gauge(writer, "patroni_postgres_streaming",
                  "Value is 1 if Postgres is streaming, 0 otherwise.",
                  str_equal(doc->replication_state, "streaming"));
        put_gauge(writer, "patroni_postgres_in_archive_recovery",
                  "Value is 1 if Postgres is replicating from archive, 0 otherwise.",
                  str_equal(doc->replication_state, "in archive recovery"));
    }
    put_gauge(writer, "patroni_postgres_server_version",
              "Version of Postgres (if running), 0 otherwise.",
              doc->has_sql ? node->local->server_version : 0);
}

static void put_cluster(struct writer *writer, const struct rest_node *node,
                        const struct rest_doc *doc)
{
    struct tags tags;
    bool failsafe_mode = false;

    tags_json_parse(node->tags, &tags);
    (void)policy_json_bool(json_object_get(node->config, "failsafe_mode"), &failsafe_mode);
    put_gauge(writer, "patroni_cluster_unlocked",
              "Value is 1 if the cluster is unlocked, 0 if locked.", doc->is_unlocked);
    put_gauge(writer, "patroni_failsafe_mode_is_active",
              "Value is 1 if failsafe mode is active, 0 if inactive.", node->failsafe_active);
    put_gauge(writer, "patroni_failsafe_mode_enabled",
              "Value is 1 if failsafe_mode is enabled, 0 otherwise.", failsafe_mode);
    put_gauge(writer, "patroni_failsafe_member",
              "Value is 1 if this node is a member of failsafe, 0 otherwise.",
              node->failsafe_member);
    put_gauge(writer, "patroni_postgres_timeline",
              "Postgres timeline of this node (if running), 0 otherwise.", doc->timeline);
    put_gauge(writer, "patroni_dcs_last_seen",
              "Epoch timestamp when DCS was last contacted successfully by Patroni.",
              node->dcs_last_seen_wall_ms / 1000);
    put_gauge(writer, "patroni_pending_restart",
              "Value is 1 if the node needs a restart, 0 otherwise.",
              node->local->pending_restart);
    put_gauge(writer, "patroni_is_paused", "Value is 1 if auto failover is disabled, 0 otherwise.",
              doc->is_paused);
    put_state(writer, doc->state);
    put_gauge(writer, "patroni_failover_priority", "Failover priority of this node.",
              tags.nofailover || tags.failover_priority < 0 ? 0 : tags.failover_priority);
}

static void put_own(struct writer *writer, const struct rest_node *node)
{
    put_head(writer, "pgheir_fence_left_seconds", "gauge",
             "How long this node may still write without a renewal, 0 if not at all, -1 while "
             "disarmed.",
             "");
    if (node->fence_left_ms < 0)
        (void)buf_puts(writer->out, "-1\n");
    else
        (void)buf_printf(writer->out, "%lld.%03lld\n", (long long)(node->fence_left_ms / 1000),
                         (long long)(node->fence_left_ms % 1000));
    put_head(writer, "pgheir_etcd_age_seconds", "gauge",
             "Time since the last good answer of etcd, -1 if there was none.", "");
    if (node->etcd_age_ms < 0)
        (void)buf_puts(writer->out, "-1\n");
    else
        (void)buf_printf(writer->out, "%lld.%03lld\n", (long long)(node->etcd_age_ms / 1000),
                         (long long)(node->etcd_age_ms % 1000));
    put_gauge(writer, "pgheir_fencing_normal", "Value is 1 if all nets of fencing apply.",
              str_is_empty(node->fencing) || str_equal(node->fencing, "normal"));
    put_counter(writer, "pgheir_agent_restarts_total",
                "Agents that crashed or were replaced under this supervisor.",
                node->agent_restarts < 0 ? 0 : (uint64_t)node->agent_restarts);
    put_counter(writer, "pgheir_log_lines_lost_total", "Log lines that could not be written.",
                node->log_lost);
    if (!node->has_certificate)
        return;
    put_head(writer, "pgheir_rest_certificate_days_left", "gauge",
             "Days until the certificate of the REST API ends.", "");
    (void)buf_printf(writer->out, "%.2f\n", (double)node->certificate_left_ms / DAY_MS);
}

enum rc rest_json_put_metrics(const struct rest_node *node, struct buf *out)
{
    struct writer writer = {.out = out};
    struct rest_doc doc;

    buf_init(&writer.labels, LABELS_MAX);
    (void)buf_puts(&writer.labels, "{scope=\"");
    put_label(&writer.labels, node->scope);
    (void)buf_puts(&writer.labels, "\",name=\"");
    put_label(&writer.labels, node->name);
    (void)buf_puts(&writer.labels, "\"}");
    rest_doc_read(node, &doc);
    put_server(&writer, node, &doc);
    put_cluster(&writer, node, &doc);
    put_own(&writer, node);
    buf_done(&writer.labels);
    return buf_is_overflown(out) ? RC_LIMIT : RC_OK;
}
