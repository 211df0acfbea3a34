/* GET /cluster and /history, from the keys as they are (contract/rest.md section 5). */
#include <string.h>
#include <strings.h>

#include "view_private.h"

#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/rest_json.h"

enum { POSTGRES_PORT = 5432 };

/* What all rows need to know of the cluster. */
struct cluster_facts {
    const struct view *view;
    bool is_standby_cluster;
};

static json_t *new_object(void)
{
    json_t *object = json_object();

    pgh_assert(object != NULL);
    return object;
}

static bool is_standby_cluster(const json_t *config)
{
    static const char *const keys[] = {"host", "port", "restore_command"};
    const json_t *section = json_object_get(config, "standby_cluster");

    for (size_t i = 0; i < PGH_COUNT(keys); i++) {
        const json_t *value = json_object_get(section, keys[i]);

        if (value != NULL && !json_is_null(value) && !str_equal(json_string_value(value), ""))
            return true;
    }
    return false;
}

static bool is_leader(const struct cluster_facts *facts, const char *name)
{
    return facts->view->leader_present && str_equal(facts->view->leader_name, name);
}

static const char *role_of(const struct cluster_facts *facts, const char *name)
{
    const struct view *view = facts->view;

    if (is_leader(facts, name))
        return facts->is_standby_cluster ? "standby_leader" : "leader";
    for (int32_t i = 0; view->sync_present && i < view->sync_count; i++)
        if (strcasecmp(view->sync_standby[i], name) == 0)
            return view->sync_is_quorum ? "quorum_standby" : "sync_standby";
    return "replica";
}

/* Text of the wire, whatever it is; "" if there is none. */
static const char *state_of(const json_t *json, const char *role)
{
    const char *replication = json_string_value(json_object_get(json, "replication_state"));
    const char *state = json_string_value(json_object_get(json, "state"));

    if (!str_equal(role, "leader") && !str_is_empty(replication))
        return replication;
    return state == NULL ? "" : state;
}

static void set_position(json_t *row, const char *lsn_key, const char *lag_key, uint64_t lsn,
                         uint64_t optime)
{
    char text[LSN_TEXT_SIZE];

    if (lsn == 0) {
        (void)json_object_set_new(row, lag_key, json_string("unknown"));
        (void)json_object_set_new(row, lsn_key, json_string("unknown"));
        return;
    }
    (void)json_object_set_new(row, lag_key,
                              json_integer(optime > lsn ? (json_int_t)(optime - lsn) : 0));
    (void)json_object_set_new(row, lsn_key, json_string(lsn_format(lsn, text)));
}

static json_t *new_row(const struct cluster_facts *facts, const struct member *member,
                       const json_t *json)
{
    static const char *const copied[] = {"timeline", "pending_restart", "pending_restart_reason",
                                         "scheduled_restart", "tags"};
    const char *role = role_of(facts, member->name);
    const json_t *fencing = json_object_get(json_object_get(json, "pgheir"), "fencing");
    uint64_t optime = facts->view->optime_lsn;
    json_t *row = new_object();

    (void)json_object_set_new(row, "name", json_string(member->name));
    (void)json_object_set_new(row, "role", json_string(role));
    (void)json_object_set_new(row, "state", json_string(state_of(json, role)));
    (void)json_object_set_new(row, "api_url", member->api_url[0] == '\0'
                                                  ? json_null()
                                                  : json_string(member->api_url));
    if (member->conn_host[0] != '\0') {
        (void)json_object_set_new(row, "host", json_string(member->conn_host));
        (void)json_object_set_new(row, "port", json_integer(member->conn_port));
    }
    for (size_t i = 0; i < PGH_COUNT(copied); i++)
        if (json_object_get(json, copied[i]) != NULL)
            (void)json_object_set_new(row, copied[i],
                                      json_deep_copy(json_object_get(json, copied[i])));
    if (!is_leader(facts, member->name)) {
        set_position(row, "receive_lsn", "receive_lag", member->receive_lsn, optime);
        set_position(row, "replay_lsn", "replay_lag", member->replay_lsn, optime);
        set_position(row, "lsn", "lag", member->lsn, optime);
    }
    /* Ours, beside Patroni's: only where fencing is not what everybody expects. */
    if (json_is_string(fencing) && !str_equal(json_string_value(fencing), "normal"))
        (void)json_object_set_new(row, "pgheir",
                                  json_pack("{s:s}", "fencing", json_string_value(fencing)));
    return row;
}

static void set_scheduled_switchover(json_t *cluster, const struct view *view,
                                     const json_t *failover)
{
    const char *at = json_string_value(json_object_get(failover, "scheduled_at"));
    json_t *scheduled;

    if (!view->failover.present || view->failover.scheduled_at_wall_ms == 0 || at == NULL)
        return;
    scheduled = new_object();
    (void)json_object_set_new(scheduled, "at", json_string(at));
    if (view->failover.leader[0] != '\0')
        (void)json_object_set_new(scheduled, "from", json_string(view->failover.leader));
    if (view->failover.candidate[0] != '\0')
        (void)json_object_set_new(scheduled, "to", json_string(view->failover.candidate));
    (void)json_object_set_new(cluster, "scheduled_switchover", scheduled);
}

json_t *rest_json_cluster(const struct view_map *map, const char *scope)
{
    struct view *view = view_new_of(map);
    struct cluster_facts facts = {
        .view = view, .is_standby_cluster = is_standby_cluster(view_map_config(map))};
    const struct view_entry *failover = view_map_find(map, "failover");
    json_t *cluster = new_object();
    json_t *members = json_array();

    pgh_assert(members != NULL);
    for (int32_t i = 0; i < view->member_count; i++) {
        const struct view_entry *entry = view_map_find_member(map, view->members[i].name);

        pgh_assert(entry != NULL);
        (void)json_array_append_new(members, new_row(&facts, &view->members[i], entry->json));
    }
    (void)json_object_set_new(cluster, "members", members);
    (void)json_object_set_new(cluster, "scope", json_string(scope));
    if (view->policy.pause)
        (void)json_object_set_new(cluster, "pause", json_true());
    if (failover != NULL)
        set_scheduled_switchover(cluster, view, failover->json);
    view_free(view);
    return cluster;
}

json_t *rest_json_history(const struct view_map *map)
{
    const struct view_entry *entry = view_map_find(map, "history");
    json_t *history = entry != NULL && json_is_array(entry->json) ? json_deep_copy(entry->json)
                                                                  : json_array();

    pgh_assert(history != NULL);
    return history;
}
