#include "pgheir/model/view.h"

#include <string.h>

#include "pgheir/base/str.h"

static const char *const state_texts[PG_STATE_COUNT] = {
    [PG_STATE_UNKNOWN] = "unknown",
    [PG_STATE_INITDB] = "initializing new cluster",
    [PG_STATE_INITDB_FAILED] = "initdb failed",
    [PG_STATE_CUSTOM_BOOTSTRAP] = "running custom bootstrap script",
    [PG_STATE_CUSTOM_BOOTSTRAP_FAILED] = "custom bootstrap failed",
    [PG_STATE_CREATING_REPLICA] = "creating replica",
    [PG_STATE_RUNNING] = "running",
    [PG_STATE_STARTING] = "starting",
    [PG_STATE_BOOTSTRAP_STARTING] = "starting after custom bootstrap",
    [PG_STATE_START_FAILED] = "start failed",
    [PG_STATE_RESTARTING] = "restarting",
    [PG_STATE_RESTART_FAILED] = "restart failed",
    [PG_STATE_STOPPING] = "stopping",
    [PG_STATE_STOPPED] = "stopped",
    [PG_STATE_STOP_FAILED] = "stop failed",
    [PG_STATE_CRASHED] = "crashed",
};

static const char *const role_texts[PG_ROLE_COUNT] = {
    [PG_ROLE_UNKNOWN] = "unknown",
    [PG_ROLE_UNINITIALIZED] = "uninitialized",
    [PG_ROLE_PRIMARY] = "primary",
    [PG_ROLE_REPLICA] = "replica",
    [PG_ROLE_STANDBY_LEADER] = "standby_leader",
    [PG_ROLE_PROMOTED] = "promoted",
    [PG_ROLE_DEMOTED] = "demoted",
};

void tags_init(struct tags *tags)
{
    *tags = (struct tags){.failover_priority = 1, .sync_priority = 1};
}

/* Arrays beyond their counts are left alone: a view is large and built often. */
void view_init(struct view *view)
{
    memset(view, 0, offsetof(struct view, history));
    view->history_timeline = 0;
    view->claimed_timeline = 0;
    view->sync_present = false;
    view->sync_is_quorum = false;
    view->sync_leader[0] = '\0';
    view->sync_count = 0;
    view->member_count = 0;
    policy_init(&view->policy);
}

const struct member *view_find_member(const struct view *view, const char *name)
{
    for (int32_t i = 0; i < view->member_count; i++)
        if (strcmp(view->members[i].name, name) == 0)
            return &view->members[i];
    return NULL;
}

const struct member *view_leader_member(const struct view *view)
{
    return view->leader_present ? view_find_member(view, view->leader_name) : NULL;
}

uint32_t view_timeline(const struct view *view)
{
    const struct member *leader = view_leader_member(view);
    uint32_t timeline = view->history_timeline;

    if (leader != NULL && leader->role == PG_ROLE_PRIMARY && leader->timeline > timeline)
        timeline = leader->timeline;
    return timeline;
}

bool view_is_on_history(const struct view *view, uint32_t timeline, uint64_t lsn)
{
    if (timeline == 0)
        return false;
    if (view->history_timeline == 0 || timeline == view->history_timeline)
        return true;
    if (timeline > view->history_timeline)
        /* A promotion that did not live long enough to be written to history. Its winner held
         * the key, so its timeline is announced; one that was not is nobody's. */
        return view->claimed_timeline == 0 || timeline <= view->claimed_timeline;
    for (int32_t i = 0; i < view->history_count; i++)
        if (view->history[i].timeline == timeline)
            return lsn <= view->history[i].switch_lsn;
    return false;
}

bool view_has_patroni_member(const struct view *view)
{
    for (int32_t i = 0; i < view->member_count; i++)
        if (!view->members[i].is_pgheir)
            return true;
    return false;
}

const char *pg_state_text(enum pg_state state)
{
    pgh_assert(state < PG_STATE_COUNT);
    return state_texts[state];
}

enum pg_state pg_state_parse(const char *text)
{
    for (int i = 0; i < PG_STATE_COUNT; i++)
        if (text != NULL && strcmp(text, state_texts[i]) == 0)
            return (enum pg_state)i;
    return PG_STATE_UNKNOWN;
}

const char *pg_role_text(enum pg_role role)
{
    pgh_assert(role < PG_ROLE_COUNT);
    return role_texts[role];
}

enum pg_role pg_role_parse(const char *text)
{
    if (text != NULL && strcmp(text, "master") == 0)
        return PG_ROLE_PRIMARY;
    for (int i = 0; i < PG_ROLE_COUNT; i++)
        if (text != NULL && strcmp(text, role_texts[i]) == 0)
            return (enum pg_role)i;
    return PG_ROLE_UNKNOWN;
}
