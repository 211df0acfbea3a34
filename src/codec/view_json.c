#include "pgheir/codec/view_json.h"

#include "json_value.h"

#include "pgheir/base/clock.h"
#include "pgheir/base/str.h"

static json_t *new_object(void)
{
    json_t *object = json_object();

    pgh_assert(object != NULL);
    return object;
}

static json_t *new_array(void)
{
    json_t *array = json_array();

    pgh_assert(array != NULL);
    return array;
}

static void set_text(json_t *object, const char *key, const char *text)
{
    if (!str_is_empty(text))
        (void)json_object_set_new(object, key, json_string(text));
}

static void set_lsn(json_t *object, const char *key, uint64_t lsn)
{
    if (lsn != 0)
        (void)json_object_set_new(object, key, json_integer((json_int_t)lsn));
}

static void set_copy(json_t *object, const char *key, const json_t *value)
{
    if (value != NULL)
        (void)json_object_set_new(object, key, json_deep_copy(value));
}

/* Writes and frees. */
static enum rc put_and_free(struct buf *out, json_t *value)
{
    enum rc rc = json_value_put(out, value, true);

    json_decref(value);
    return rc;
}

enum rc view_json_put(struct buf *out, const json_t *value)
{
    return json_value_put(out, value, true);
}

enum rc view_json_put_spaced(struct buf *out, const json_t *value)
{
    return json_value_put(out, value, false);
}

/* ---- members/<name> ---- */

static const char *replication_state_text(enum replication_state state)
{
    switch (state) {
    case REPLICATION_STREAMING:
        return "streaming";
    case REPLICATION_ARCHIVE:
        return "in archive recovery";
    case REPLICATION_NONE:
    case REPLICATION_COUNT:
        return NULL;
    }
    return NULL;
}

static void set_positions(json_t *member, const struct member_facts *facts)
{
    set_lsn(member, "xlog_location", facts->lsn);
    if (!facts->is_primary) {
        set_lsn(member, "replay_lsn", facts->replay_lsn);
        set_lsn(member, "receive_lsn", facts->receive_lsn);
        set_text(member, "replication_state", replication_state_text(facts->replication_state));
    }
    if (facts->timeline != 0)
        (void)json_object_set_new(member, "timeline", json_integer(facts->timeline));
}

enum rc view_json_put_member(struct buf *out, const struct member_facts *facts)
{
    json_t *member = new_object();

    set_text(member, "conn_url", facts->conn_url);
    set_text(member, "api_url", facts->api_url);
    set_text(member, "state", pg_state_text(facts->state));
    set_text(member, "role", pg_role_text(facts->role));
    set_text(member, "version", VIEW_JSON_PATRONI_VERSION);
    set_text(member, "proxy_url", facts->proxy_url);
    if (facts->checkpoint_pending)
        (void)json_object_set_new(member, "checkpoint_after_promote", json_false());
    if (json_object_size(facts->tags) > 0)
        set_copy(member, "tags", facts->tags);
    if (facts->pending_restart) {
        (void)json_object_set_new(member, "pending_restart", json_true());
        set_copy(member, "pending_restart_reason", facts->pending_restart_reason);
    }
    set_positions(member, facts);
    set_copy(member, "scheduled_restart", facts->scheduled_restart);
    if (facts->pause)
        (void)json_object_set_new(member, "pause", json_true());
    if (!str_is_empty(facts->instance)) {
        json_t *own = new_object();

        set_text(own, "instance", facts->instance);
        if (!str_equal(facts->fencing, "normal"))
            set_text(own, "fencing", facts->fencing);
        (void)json_object_set_new(member, "pgheir", own);
    }
    return put_and_free(out, member);
}

/* ---- status ---- */

/* What an older writer put as JSON text inside a string is written as what it means. */
static json_t *carried_over(const json_t *old, const char *key)
{
    const json_t *value = json_object_get(old, key);
    char problem[JSON_VALUE_PROBLEM_SIZE];

    if (json_is_string(value))
        return json_value_read(json_string_value(value), json_string_length(value), problem,
                               sizeof(problem));
    return value == NULL ? NULL : json_deep_copy(value);
}

enum rc view_json_put_status(struct buf *out, uint64_t optime_lsn, const json_t *slots,
                             const json_t *retain, const json_t *old)
{
    json_t *status = new_object();
    json_t *of_slots = slots != NULL ? json_deep_copy(slots) : carried_over(old, "slots");
    json_t *of_retain = retain != NULL ? json_deep_copy(retain) : carried_over(old, "retain_slots");
    const char *key;
    json_t *value;

    (void)json_object_set_new(status, "optime", json_integer((json_int_t)optime_lsn));
    if (json_object_size(of_slots) > 0)
        (void)json_object_set(status, "slots", of_slots);
    if (json_array_size(of_retain) > 0)
        (void)json_object_set(status, "retain_slots", of_retain);
    json_object_foreach((json_t *)(uintptr_t)old, key, value)
        if (!str_equal(key, "optime") && !str_equal(key, "slots") &&
            !str_equal(key, "retain_slots"))
            set_copy(status, key, value);
    json_decref(of_slots);
    json_decref(of_retain);
    return put_and_free(out, status);
}

/* ---- failover ---- */

enum rc view_json_put_failover(struct buf *out, const char *leader, const char *candidate,
                               const char *scheduled_at)
{
    json_t *failover = new_object();

    set_text(failover, "leader", leader);
    set_text(failover, "member", candidate);
    set_text(failover, "scheduled_at", scheduled_at);
    return put_and_free(out, failover);
}

/* ---- history ---- */

static bool is_same_row(const json_t *row, const struct history_fact *fact)
{
    return json_integer_value(json_array_get(row, 0)) == (json_int_t)fact->timeline &&
           json_integer_value(json_array_get(row, 1)) == (json_int_t)fact->switch_lsn;
}

static json_t *new_history_row(const struct history_fact *fact, const json_t *old)
{
    json_t *row = new_array();
    const char *time = fact->time;
    const char *leader = fact->leader;
    json_t *known;
    size_t idx;

    json_array_foreach(old, idx, known) {
        if (!is_same_row(known, fact))
            continue;
        if (json_is_string(json_array_get(known, 3)))
            time = json_string_value(json_array_get(known, 3));
        if (json_is_string(json_array_get(known, 4)))
            leader = json_string_value(json_array_get(known, 4));
    }
    (void)json_array_append_new(row, json_integer(fact->timeline));
    (void)json_array_append_new(row, json_integer((json_int_t)fact->switch_lsn));
    (void)json_array_append_new(row, json_string(fact->reason == NULL ? "" : fact->reason));
    if (!str_is_empty(time) || !str_is_empty(leader))
        (void)json_array_append_new(row, json_string(time == NULL ? "" : time));
    if (!str_is_empty(leader))
        (void)json_array_append_new(row, json_string(leader));
    return row;
}

enum rc view_json_put_history(struct buf *out, const struct history_fact *rows, size_t count,
                              const json_t *old, int64_t keep)
{
    json_t *history = new_array();
    size_t first = keep > 0 && count > (size_t)keep ? count - (size_t)keep : 0;

    for (size_t i = first; i < count; i++)
        (void)json_array_append_new(history, new_history_row(&rows[i], old));
    return put_and_free(out, history);
}

/* ---- ours ---- */

enum rc view_json_put_timeline(struct buf *out, uint32_t timeline, const char *leader)
{
    json_t *claim = new_object();

    (void)json_object_set_new(claim, "timeline", json_integer(timeline));
    set_text(claim, "leader", leader);
    return put_and_free(out, claim);
}

enum rc view_json_put_seen(struct buf *out, uint64_t sysid, int64_t now_wall_ms)
{
    json_t *seen = new_object();
    char text[CLOCK_ISO_SIZE];

    (void)str_format(text, sizeof(text), "%llu", (unsigned long long)sysid);
    set_text(seen, "sysid", text);
    set_text(seen, "since", clock_iso_format(now_wall_ms, text));
    return put_and_free(out, seen);
}

enum rc view_json_put_sysid(struct buf *out, uint64_t sysid)
{
    return buf_printf(out, "%llu", (unsigned long long)sysid);
}
