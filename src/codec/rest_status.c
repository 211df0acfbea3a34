/* GET /patroni: what a node says of itself (contract/rest.md section 4). */
#include <string.h>
#include <strings.h>
#include <time.h>

#include "json_value.h"
#include "rest_private.h"

#include "pgheir/base/str.h"
#include "pgheir/codec/view_json.h"

enum { NORMAL_LOG_QUEUE = 2 };

const char *rest_time_format(int64_t wall_us, char out[static REST_TIME_SIZE])
{
    time_t seconds = (time_t)(wall_us / 1000000);
    int64_t micros = wall_us % 1000000;
    struct tm tm;
    char fraction[16] = "";

    if (micros != 0)
        (void)str_format(fraction, sizeof(fraction), ".%06lld", (long long)micros);
    if (wall_us < 0 || gmtime_r(&seconds, &tm) == NULL ||
        !str_format(out, REST_TIME_SIZE, "%04d-%02d-%02d %02d:%02d:%02d%s+00:00",
                    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                    tm.tm_sec, fraction))
        out[0] = '\0';
    return out;
}

/* ---- Facts ---- */

static bool is_named_in_sync(const struct view *view, const char *name)
{
    if (view == NULL || !view->sync_present || name == NULL)
        return false;
    for (int32_t i = 0; i < view->sync_count; i++)
        if (strcasecmp(view->sync_standby[i], name) == 0)
            return true;
    return false;
}

static void doc_read_sql(const struct rest_node *node, struct rest_doc *ret)
{
    const struct local *local = node->local;

    ret->is_primary = !local->in_recovery;
    ret->timeline = local->timeline;
    if (ret->is_primary) {
        ret->role = pg_role_text(PG_ROLE_PRIMARY);
        ret->location = local->flush_lsn;
        return;
    }
    ret->role = pg_role_text(node->is_standby_cluster ? node->role : PG_ROLE_REPLICA);
    ret->received = local->receive_lsn != 0 ? local->receive_lsn : local->replay_lsn;
    ret->replayed = local->replay_lsn;
    if (local->replication_state == REPLICATION_STREAMING)
        ret->replication_state = "streaming";
    else if (local->replication_state == REPLICATION_ARCHIVE)
        ret->replication_state = "in archive recovery";
    if (str_equal(ret->role, "replica") && is_named_in_sync(node->view, node->name)) {
        ret->quorum_standby = node->view->sync_is_quorum;
        ret->sync_standby = !node->view->sync_is_quorum;
    }
}

void rest_doc_read(const struct rest_node *node, struct rest_doc *ret)
{
    bool is_up = node->state == PG_STATE_RUNNING || node->state == PG_STATE_RESTARTING ||
                 node->state == PG_STATE_STARTING;

    *ret = (struct rest_doc){
        .state = pg_state_text(node->state),
        .role = pg_role_text(node->role),
        .is_paused = node->is_paused,
        .is_unlocked = node->view == NULL || !node->view->leader_present,
    };
    ret->has_sql = is_up && node->local->sql_valid && !node->sql_failed;
    if (ret->has_sql)
        doc_read_sql(node, ret);
    else if (node->state == PG_STATE_RUNNING)
        ret->state = "unknown";
}

/* ---- The document ---- */

static void set_text(json_t *object, const char *key, const char *text)
{
    if (!str_is_empty(text))
        (void)json_object_set_new(object, key, json_string(text));
}

static void set_true(json_t *object, const char *key, bool is_set)
{
    if (is_set)
        (void)json_object_set_new(object, key, json_true());
}

static void set_lsn(json_t *object, const char *key, uint64_t lsn)
{
    (void)json_object_set_new(object, key, json_integer((json_int_t)lsn));
}

static void set_copy(json_t *object, const char *key, const json_t *value)
{
    if (value != NULL)
        (void)json_object_set_new(object, key, json_deep_copy(value));
}

static json_t *new_object(void)
{
    json_t *object = json_object();

    pgh_assert(object != NULL);
    return object;
}

static void add_xlog(json_t *document, const struct rest_node *node, const struct rest_doc *doc)
{
    json_t *xlog = new_object();
    char text[REST_TIME_SIZE];

    if (doc->is_primary) {
        set_lsn(xlog, "location", doc->location);
    } else {
        set_lsn(xlog, "received_location", doc->received);
        set_lsn(xlog, "replayed_location", doc->replayed);
        (void)json_object_set_new(
            xlog, "replayed_timestamp",
            node->replayed_wall_us == 0
                ? json_null()
                : json_string(rest_time_format(node->replayed_wall_us, text)));
        (void)json_object_set_new(xlog, "paused", json_boolean(node->replay_paused));
    }
    (void)json_object_set_new(document, "xlog", xlog);
}

static void add_sql(json_t *document, const struct rest_node *node, const struct rest_doc *doc)
{
    char text[REST_TIME_SIZE];

    if (node->postmaster_start_wall_us != 0)
        set_text(document, "postmaster_start_time",
                 rest_time_format(node->postmaster_start_wall_us, text));
    set_text(document, "role", doc->role);
    (void)json_object_set_new(document, "server_version",
                              json_integer(node->local->server_version));
    add_xlog(document, node, doc);
    set_true(document, "sync_standby", doc->sync_standby);
    set_true(document, "quorum_standby", doc->quorum_standby);
    (void)json_object_set_new(document, "timeline",
                              doc->timeline == 0 ? json_null() : json_integer(doc->timeline));
    set_text(document, "replication_state", doc->replication_state);
    if (json_array_size(node->replication) > 0)
        set_copy(document, "replication", node->replication);
}

static void add_identity(json_t *document, const struct rest_node *node)
{
    json_t *patroni = new_object();
    char sysid[24];

    if (json_object_size(node->tags) > 0)
        set_copy(document, "tags", node->tags);
    if (node->local->sysid != 0) {
        (void)str_format(sysid, sizeof(sysid), "%llu", (unsigned long long)node->local->sysid);
        set_text(document, "database_system_identifier", sysid);
    }
    if (node->local->pending_restart) {
        set_true(document, "pending_restart", true);
        set_copy(document, "pending_restart_reason", node->pending_restart_reason);
    }
    set_text(patroni, "version", VIEW_JSON_PATRONI_VERSION);
    set_text(patroni, "scope", node->scope);
    set_text(patroni, "name", node->name);
    (void)json_object_set_new(document, "patroni", patroni);
}

static void add_scheduled_restart(json_t *document, const struct rest_node *node)
{
    json_t *scheduled;

    if (json_object_size(node->scheduled_restart) == 0)
        return;
    scheduled = json_copy((json_t *)(uintptr_t)node->scheduled_restart);
    (void)json_object_del(scheduled, "postmaster_start_time");
    (void)json_object_set_new(document, "scheduled_restart", scheduled);
}

static void add_own(json_t *document, const struct rest_node *node)
{
    json_t *own = new_object();

    set_text(own, "instance", node->instance);
    (void)json_object_set_new(own, "fence_left_ms", json_integer(node->fence_left_ms));
    set_text(own, "reason", reason_code(node->reason));
    set_text(own, "reason_text", node->reason_text);
    (void)json_object_set_new(own, "etcd_age_ms", json_integer(node->etcd_age_ms));
    set_text(own, "fencing", str_is_empty(node->fencing) ? "normal" : node->fencing);
    (void)json_object_set_new(document, "pgheir", own);
}

json_t *rest_json_status(const struct rest_node *node)
{
    json_t *document = new_object();
    struct rest_doc doc;

    rest_doc_read(node, &doc);
    set_text(document, "state", doc.state);
    if (doc.has_sql)
        add_sql(document, node, &doc);
    else
        set_text(document, "role", doc.role);
    set_true(document, "pause", doc.is_paused);
    set_true(document, "cluster_unlocked", doc.is_unlocked);
    set_true(document, "failsafe_mode_is_active", node->failsafe_active);
    (void)json_object_set_new(document, "dcs_last_seen",
                              json_integer(node->dcs_last_seen_wall_ms / 1000));
    add_identity(document, node);
    add_scheduled_restart(document, node);
    set_true(document, "watchdog_failed", node->watchdog_failed);
    if (node->log_queued > NORMAL_LOG_QUEUE)
        (void)json_object_set_new(document, "logger_queue_size", json_integer(node->log_queued));
    if (node->log_lost > 0)
        (void)json_object_set_new(document, "logger_records_lost",
                                  json_integer((json_int_t)node->log_lost));
    add_own(document, node);
    return document;
}

enum rc rest_json_put_status(const struct rest_node *node, struct buf *out)
{
    json_t *document = rest_json_status(node);
    enum rc rc = json_value_put(out, document, false);

    json_decref(document);
    return rc;
}
