/* The map's values as struct view. */
#include <string.h>

#include "json_value.h"
#include "view_private.h"

#include "conf_private.h"

#include "pgheir/codec/pg_text.h"
#include "pgheir/base/clock.h"
#include "pgheir/base/mem.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/policy_json.h"
#include "pgheir/codec/tags_json.h"

enum { SYSID_DIGITS_MIN = 10, POSTGRES_PORT = 5432 };

static const json_t *map_json(const struct view_map *map, const char *key)
{
    const struct view_entry *entry = view_map_find(map, key);

    return entry == NULL ? NULL : entry->json;
}

const json_t *view_map_config(const struct view_map *map)
{
    return map_json(map, "config");
}

/* ---- Scalars ---- */

/* A position: number, or number as text. 0 if it is none. */
static uint64_t lsn_of(const json_t *value)
{
    int64_t number = 0;

    return policy_json_int(value, &number) && number > 0 ? (uint64_t)number : 0;
}

static uint32_t timeline_of(const json_t *value)
{
    int64_t number = 0;

    return policy_json_int(value, &number) && number > 0 && number <= UINT32_MAX
               ? (uint32_t)number
               : 0;
}

/* A text that fits, else "". */
static void take_text(char *dst, size_t size, const json_t *value)
{
    const char *text = json_string_value(value);

    if (text == NULL || !str_copy(dst, size, text))
        dst[0] = '\0';
}

/* A value that older writers put as JSON text inside a string. New reference or NULL. */
static json_t *unwrap(const json_t *value)
{
    char problem[JSON_VALUE_PROBLEM_SIZE];

    if (json_is_string(value))
        return json_value_read(json_string_value(value), json_string_length(value), problem,
                               sizeof(problem));
    return value == NULL ? NULL : json_incref((json_t *)(uintptr_t)value);
}

/* ---- Keys ---- */

static void build_leader(const struct view_map *map, struct view *ret)
{
    const struct view_entry *entry = view_map_find(map, "leader");

    if (entry == NULL)
        return;
    ret->leader_present = true;
    ret->leader_lease_id = entry->lease_id;
    ret->leader_create_revision = entry->create_revision;
    ret->leader_mod_revision = entry->mod_revision;
    /* A name that nobody can have is still a leader: somebody holds the key. */
    if (strlen(entry->value) != entry->length ||
        !str_copy(ret->leader_name, sizeof(ret->leader_name), entry->value))
        ret->leader_name[0] = '\0';
}

static void build_initialize(const struct view_map *map, struct view *ret)
{
    const struct view_entry *entry = view_map_find(map, "initialize");

    if (entry == NULL) {
        ret->init_state = INIT_ABSENT;
        return;
    }
    ret->init_mod_revision = entry->mod_revision;
    ret->init_lease_id = entry->lease_id;
    if (entry->length == 0)
        ret->init_state = INIT_RUNNING;
    else if (entry->length >= SYSID_DIGITS_MIN && strlen(entry->value) == entry->length &&
             str_parse_uint64(entry->value, &ret->sysid))
        ret->init_state = INIT_DONE;
    else
        ret->init_state = INIT_INVALID;
}

static void build_status(const struct view_map *map, struct view *ret)
{
    const struct view_entry *entry = view_map_find(map, "status");
    const struct view_entry *old = view_map_find(map, "optime/leader");
    uint64_t lsn = 0;

    if (entry != NULL && entry->json != NULL) {
        ret->status_present = true;
        ret->optime_lsn = lsn_of(json_is_object(entry->json)
                                     ? json_object_get(entry->json, "optime")
                                     : entry->json);
    } else if (old != NULL && str_parse_uint64(old->value, &lsn)) {
        ret->status_present = true;
        ret->optime_lsn = lsn;
    }
}

uint64_t view_map_slot_lsn(const struct view_map *map, const char *slot)
{
    json_t *slots = unwrap(json_object_get(map_json(map, "status"), "slots"));
    uint64_t lsn = lsn_of(json_object_get(slots, slot));

    json_decref(slots);
    return lsn;
}

static void build_failover(const struct view_map *map, struct view *ret)
{
    const struct view_entry *entry = view_map_find(map, "failover");
    struct failover_request *request = &ret->failover;
    const json_t *scheduled;
    int has_zone = 0;

    if (entry == NULL)
        return;
    request->mod_revision = entry->mod_revision;
    take_text(request->leader, sizeof(request->leader), json_object_get(entry->json, "leader"));
    take_text(request->candidate, sizeof(request->candidate),
              json_object_get(entry->json, "member"));
    scheduled = json_object_get(entry->json, "scheduled_at");
    request->present = request->leader[0] != '\0' || request->candidate[0] != '\0';
    if (scheduled == NULL || json_is_null(scheduled))
        return;
    /* A time that cannot be read must not become "at once". */
    if (!json_is_string(scheduled) ||
        clock_iso_parse(json_string_value(scheduled), &request->scheduled_at_wall_ms, &has_zone) !=
            0)
        request->present = false;
}

bool view_history_is_good(const json_t *rows)
{
    uint32_t before = 0;
    json_t *row;
    size_t idx;

    json_array_foreach(rows, idx, row) {
        uint32_t timeline = timeline_of(json_array_get(row, 0));

        if (timeline <= before || timeline == UINT32_MAX || json_array_size(row) < 2)
            return false;
        before = timeline;
    }
    return json_is_array(rows);
}

/* Unless every row can be used, nothing is known. */
static void build_history(const struct view_map *map, struct view *ret)
{
    const json_t *rows = map_json(map, "history");
    size_t count = json_array_size(rows);
    size_t first = count > HISTORY_MAX ? count - HISTORY_MAX : 0;

    if (!view_history_is_good(rows))
        return;
    ret->history_timeline = 1;
    for (size_t i = first; i < count; i++) {
        struct history_row *row = &ret->history[ret->history_count++];

        row->timeline = timeline_of(json_array_get(json_array_get(rows, i), 0));
        row->switch_lsn = lsn_of(json_array_get(json_array_get(rows, i), 1));
        ret->history_timeline = row->timeline + 1;
    }
}

static bool is_quorum_mode(const json_t *config)
{
    return str_equal_nocase(json_string_value(json_object_get(config, "synchronous_mode")),
                            "quorum");
}

/* Is synchronous_mode on, as far as the configuration says? */
static bool is_sync_mode(const json_t *config)
{
    bool is_on = false;

    if (config == NULL)
        return true; /* unknown: what /sync says is respected */
    if (policy_json_bool(json_object_get(config, "synchronous_mode"), &is_on))
        return is_on;
    return is_quorum_mode(config);
}

static void add_sync_name(struct view *ret, const char *text, size_t length)
{
    if (ret->sync_count == MEMBERS_MAX || length == 0 || length >= NAME_SIZE)
        return;
    memcpy(ret->sync_standby[ret->sync_count], text, length);
    ret->sync_standby[ret->sync_count][length] = '\0';
    ret->sync_count++;
}

static void build_sync(const struct view_map *map, struct view *ret)
{
    const json_t *sync = map_json(map, "sync");
    const json_t *names = json_object_get(sync, "sync_standby");
    const char *text = json_string_value(names);
    const json_t *name;
    size_t idx;

    take_text(ret->sync_leader, sizeof(ret->sync_leader), json_object_get(sync, "leader"));
    ret->sync_present = ret->sync_leader[0] != '\0' && is_sync_mode(view_map_config(map));
    ret->sync_is_quorum = is_quorum_mode(view_map_config(map));
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, ",");

        add_sync_name(ret, text, length);
        text += length + (text[length] == ',' ? 1 : 0);
    }
    json_array_foreach(names, idx, name)
        if (json_is_string(name))
            add_sync_name(ret, json_string_value(name), json_string_length(name));
}

/* ---- Members ---- */

/* postgres://host:port/db, without trusting that it has all of it. */
static void take_conn_url(struct member *member, const char *url)
{
    const char *authority = url == NULL ? NULL : strstr(url, "://");
    const char *end;
    const char *at;
    struct conf_address address;
    char text[URL_SIZE];

    if (authority == NULL)
        return;
    authority += strlen("://");
    end = authority + strcspn(authority, "/?");
    at = memrchr(authority, '@', (size_t)(end - authority));
    if (at != NULL)
        authority = at + 1;
    if ((size_t)(end - authority) >= sizeof(text))
        return;
    memcpy(text, authority, (size_t)(end - authority));
    text[end - authority] = '\0';
    if (!conf_address_parse(text, POSTGRES_PORT, &address) || address.host[0] == '\0' ||
        !str_copy(member->conn_host, sizeof(member->conn_host), address.host))
        return;
    member->conn_port = address.port;
}

static enum replication_state replication_state_of(const char *text)
{
    if (str_equal(text, "streaming"))
        return REPLICATION_STREAMING;
    if (str_equal(text, "in archive recovery"))
        return REPLICATION_ARCHIVE;
    return REPLICATION_NONE;
}

static void build_member(struct member *member, const char *name, const struct view_entry *entry)
{
    const json_t *json = entry->json;
    const json_t *checkpoint = json_object_get(json, "checkpoint_after_promote");

    *member = (struct member){.lease_id = entry->lease_id, .mod_revision = entry->mod_revision};
    pgh_assert(str_copy(member->name, sizeof(member->name), name));
    (void)pg_text_slot_name(name, member->slot_name);
    take_text(member->api_url, sizeof(member->api_url), json_object_get(json, "api_url"));
    take_conn_url(member, json_string_value(json_object_get(json, "conn_url")));
    member->state = pg_state_parse(json_string_value(json_object_get(json, "state")));
    member->role = pg_role_parse(json_string_value(json_object_get(json, "role")));
    member->replication_state =
        replication_state_of(json_string_value(json_object_get(json, "replication_state")));
    tags_json_parse(json_object_get(json, "tags"), &member->tags);
    member->lsn = lsn_of(json_object_get(json, "xlog_location"));
    member->receive_lsn = lsn_of(json_object_get(json, "receive_lsn"));
    member->replay_lsn = lsn_of(json_object_get(json, "replay_lsn"));
    member->timeline = timeline_of(json_object_get(json, "timeline"));
    member->checkpoint_pending = checkpoint != NULL && json_is_false(checkpoint);
    member->pending_restart = json_is_true(json_object_get(json, "pending_restart"));
    member->pause = json_is_true(json_object_get(json, "pause"));
    member->is_pgheir = json_is_object(json_object_get(json, "pgheir"));
}

/* The name of a member's key; NULL if it is none. */
static const char *member_name(const char *key)
{
    const char *name = key + strlen("members/");

    if (!str_starts_with(key, "members/") || name[0] == '\0' || strchr(name, '/') != NULL ||
        strlen(name) >= NAME_SIZE)
        return NULL;
    return name;
}

static bool is_indispensable(const struct view_map *map, const struct view *view, const char *name)
{
    return str_equal(name, map->self_name) ||
           (view->leader_present && str_equal(name, view->leader_name));
}

/* In order of names. Where there are too many, the leader and this member stay. */
static void build_members(struct view_map *map, struct view *ret, struct conf_report *report)
{
    const struct view_entry *entry;
    int32_t left_out = 0;
    int32_t reserved = 0;
    size_t idx = 0;

    while (view_map_next(map, &idx, &entry)) {
        const char *name = member_name(entry->key);

        if (name != NULL && is_indispensable(map, ret, name))
            reserved++;
    }
    idx = 0;
    while (view_map_next(map, &idx, &entry)) {
        const char *name = member_name(entry->key);
        bool is_reserved;

        if (name == NULL)
            continue;
        is_reserved = is_indispensable(map, ret, name);
        reserved -= is_reserved ? 1 : 0;
        if (!is_reserved && ret->member_count + reserved >= MEMBERS_MAX) {
            left_out++;
            if (left_out > map->members_left_out)
                conf_report_add(report, CONF_ERROR, "etcd", 0, entry->key,
                                "more than %d members: this one is left out", MEMBERS_MAX);
            continue;
        }
        build_member(&ret->members[ret->member_count++], name, entry);
    }
    map->members_left_out = left_out;
}

/* Two names may give one slot name (a-b and a.b): one of the two cannot stream. */
static void report_collisions(struct view_map *map, const struct view *view,
                              struct conf_report *report)
{
    int32_t collisions = 0;

    for (int32_t i = 0; i < view->member_count; i++)
        for (int32_t j = 0; j < i; j++) {
            if (!str_equal(view->members[i].slot_name, view->members[j].slot_name))
                continue;
            collisions++;
            if (collisions > map->slot_collisions)
                conf_report_add(report, CONF_ERROR, "etcd", 0, "members",
                                "%s and %s both need the replication slot %s: rename one of them",
                                view->members[j].name, view->members[i].name,
                                view->members[i].slot_name);
        }
    map->slot_collisions = collisions;
}

static void build_policy(struct view_map *map, struct view *ret, struct conf_report *report)
{
    struct policy given;
    bool is_new;

    policy_json_parse(view_map_config(map), &ret->policy, NULL);
    given = ret->policy;
    if (!policy_adjust(&ret->policy, view_has_patroni_member(ret))) {
        map->was_adjusted = false;
        return;
    }
    is_new = !map->was_adjusted || given.ttl_ms != map->adjusted_from.ttl_ms ||
             given.loop_wait_ms != map->adjusted_from.loop_wait_ms ||
             given.retry_timeout_ms != map->adjusted_from.retry_timeout_ms;
    map->was_adjusted = true;
    map->adjusted_from = given;
    if (is_new)
        conf_report_add(report, CONF_WARNING, "etcd", 0, "config",
                        "adjusted so that loop_wait + 2*retry_timeout <= ttl and none is too "
                        "small: ttl %lld -> %lld ms, loop_wait %lld -> %lld ms, retry_timeout "
                        "%lld -> %lld ms",
                        (long long)given.ttl_ms, (long long)ret->policy.ttl_ms,
                        (long long)given.loop_wait_ms, (long long)ret->policy.loop_wait_ms,
                        (long long)given.retry_timeout_ms,
                        (long long)ret->policy.retry_timeout_ms);
}

void view_map_build(struct view_map *map, struct view *ret, struct conf_report *report)
{
    const struct view_entry *config = view_map_find(map, "config");

    view_init(ret);
    ret->cluster_id = map->header.cluster_id;
    ret->raft_term = map->header.raft_term;
    ret->revision = map->header.revision;
    build_leader(map, ret);
    build_initialize(map, ret);
    ret->config_present = config != NULL && config->json != NULL;
    ret->config_mod_revision = config == NULL ? 0 : config->mod_revision;
    build_status(map, ret);
    build_failover(map, ret);
    build_history(map, ret);
    ret->claimed_timeline =
        timeline_of(json_object_get(map_json(map, "pgheir/timeline"), "timeline"));
    build_sync(map, ret);
    build_members(map, ret, report);
    report_collisions(map, ret, report);
    build_policy(map, ret, report);
}

struct view *view_new_of(const struct view_map *map)
{
    struct view *view = mem_new(1, sizeof(*view));
    struct view_map copy = *map; /* what has been reported is remembered there */

    view_map_build(&copy, view, NULL);
    return view;
}

void view_free(struct view *view)
{
    mem_free(view);
}
