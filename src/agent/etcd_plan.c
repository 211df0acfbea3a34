/* Guards and writes: model/event.h, model/action.h, contract/dcs.md sections 4 and 5. */
#include "etcd_plan.h"

#include <string.h>

#include "pgheir/base/clock.h"
#include "pgheir/base/str.h"
#include "pgheir/codec/view_json.h"

void
plan_init(struct plan *plan, struct agent *agent)
{
    memset(plan, 0, offsetof(struct plan, keys));
    plan->agent = agent;
    plan->key_count = 0;
    plan->text_count = 0;
    plan->is_broken = false;
}

void
plan_done(struct plan *plan)
{
    for (int i = 0; i < plan->text_count; i++)
        buf_done(&plan->texts[i]);
}

/* "leader", or "members/" with a name. */
static const char *
plan_key(struct plan *plan, const char *key, const char *name)
{
    char *out = plan->keys[plan->key_count];

    pgh_assert(plan->key_count < PLAN_KEYS_MAX);
    plan->key_count++;
    if (!str_format(out, AGENT_KEY_SIZE, "%s%s%s", plan->agent->prefix, key, name))
        plan->is_broken = true;
    return out;
}

static struct buf *
plan_text(struct plan *plan)
{
    pgh_assert(plan->text_count < PLAN_TEXTS_MAX);
    buf_init(&plan->texts[plan->text_count], PLAN_TEXT_BYTES_MAX);
    return &plan->texts[plan->text_count++];
}

static void
plan_compare_number(struct plan *plan, const char *key, enum etcd_compare_target target,
                    int64_t number)
{
    pgh_assert(plan->compare_count < PLAN_COMPARES_MAX);
    plan->compares[plan->compare_count++] =
        (struct etcd_compare){.key = plan_key(plan, key, ""), .target = target, .number = number};
}

static void
plan_compare_value(struct plan *plan, const char *key, const char *value)
{
    pgh_assert(plan->compare_count < PLAN_COMPARES_MAX);
    plan->compares[plan->compare_count++] =
        (struct etcd_compare){.key = plan_key(plan, key, ""),
                              .target = ETCD_COMPARE_VALUE,
                              .value = value,
                              .value_length = strlen(value)};
}

/* What every write of a leader rests on. */
static void
plan_guard_leader(struct plan *plan, const struct action *action)
{
    plan_compare_value(plan, "leader", plan->agent->identity.name);
    plan_compare_number(plan, "leader", ETCD_COMPARE_CREATE_REVISION,
                        action->u.call.create_revision);
}

static void
plan_put(struct plan *plan, const char *key, const char *name, const char *value, size_t length,
         int64_t lease_id)
{
    pgh_assert(plan->success_count < PLAN_OPS_MAX);
    plan->success[plan->success_count++] = (struct etcd_op){.kind = ETCD_OP_PUT,
                                                            .key = plan_key(plan, key, name),
                                                            .value = value,
                                                            .value_length = length,
                                                            .lease_id = lease_id};
}

static void
plan_put_text(struct plan *plan, const char *key, const char *name, const struct buf *text,
              int64_t lease_id)
{
    if (buf_is_overflown(text))
        plan->is_broken = true;
    plan_put(plan, key, name, buf_text(text), text->length, lease_id);
}

static void
plan_delete(struct plan *plan, const char *key)
{
    pgh_assert(plan->success_count < PLAN_OPS_MAX);
    plan->success[plan->success_count++] =
        (struct etcd_op){.kind = ETCD_OP_DELETE, .key = plan_key(plan, key, "")};
}

/* A refused transaction reads this, so that a repetition can recognise its own first run. */
static void
plan_read(struct plan *plan, const char *key)
{
    pgh_assert(plan->failure_count < PLAN_OPS_MAX);
    plan->failure[plan->failure_count++] =
        (struct etcd_op){.kind = ETCD_OP_GET, .key = plan_key(plan, key, "")};
}

static void
plan_put_member(struct plan *plan, int64_t lease_id)
{
    struct buf *text = plan_text(plan);

    if (etcd_text_member(plan->agent, text) != RC_OK)
        plan->is_broken = true;
    plan_put_text(plan, "members/", plan->agent->identity.name, text, lease_id);
}

/* Remembers in etcd that this member has held data: DESIGN section 6. */
static void
plan_put_seen(struct plan *plan, uint64_t sysid)
{
    const char *name = plan->agent->identity.name;
    struct buf *text;

    if (sysid == 0 || cluster_is_seen(plan->agent->cluster, name))
        return;
    text = plan_text(plan);
    if (view_json_put_seen(text, sysid, clock_wall_ms()) != RC_OK)
        plan->is_broken = true;
    plan_put_text(plan, "pgheir/seen/", name, text, 0);
}

/* ---- The calls ---- */

static void
plan_acquire(struct plan *plan, const struct action *action)
{
    const char *name = plan->agent->identity.name;

    plan_compare_number(plan, "leader", ETCD_COMPARE_CREATE_REVISION, 0);
    plan_put(plan, "leader", "", name, strlen(name), action->u.call.lease_id);
    plan_read(plan, "leader");
}

static void
plan_move(struct plan *plan, const struct action *action)
{
    const char *name = plan->agent->identity.name;

    plan_guard_leader(plan, action);
    plan_put(plan, "leader", "", name, strlen(name), action->u.call.lease_id);
    plan_put_member(plan, action->u.call.lease_id);
}

static void
plan_release(struct plan *plan, const struct action *action)
{
    plan_guard_leader(plan, action);
    plan_delete(plan, "leader");
    if (action->u.call.lsn != 0) {
        struct buf *text = plan_text(plan);

        if (etcd_text_status(plan->agent, action->u.call.lsn, true, text) != RC_OK)
            plan->is_broken = true;
        plan_put_text(plan, "status", "", text, 0);
    }
    if (action->u.call.lease_id != 0)
        plan_put_member(plan, action->u.call.lease_id);
    plan_read(plan, "leader");
}

static void
plan_init_race(struct plan *plan, const struct action *action)
{
    plan_compare_number(plan, "initialize", ETCD_COMPARE_CREATE_REVISION, 0);
    plan_put(plan, "initialize", "", "", 0, action->u.call.lease_id);
    plan_read(plan, "initialize");
}

static void
plan_guard_init(struct plan *plan, const struct action *action)
{
    plan_compare_value(plan, "initialize", "");
    if (action->u.call.mod_revision != 0)
        plan_compare_number(plan, "initialize", ETCD_COMPARE_MOD_REVISION,
                            action->u.call.mod_revision);
    else
        plan_compare_number(plan, "initialize", ETCD_COMPARE_LEASE, action->u.call.lease_id);
}

static void
plan_put_sysid(struct plan *plan, uint64_t sysid)
{
    struct buf *text = plan_text(plan);

    if (view_json_put_sysid(text, sysid) != RC_OK)
        plan->is_broken = true;
    plan_put_text(plan, "initialize", "", text, 0);
}

static void
plan_put_config(struct plan *plan)
{
    struct buf *text = plan_text(plan);

    if (etcd_text_config(plan->agent, text) != RC_OK)
        plan->is_broken = true;
    plan_put_text(plan, "config", "", text, 0);
}

static void
plan_init_commit(struct plan *plan, const struct action *action)
{
    const char *name = plan->agent->identity.name;

    plan_guard_init(plan, action);
    plan_compare_number(plan, "leader", ETCD_COMPARE_CREATE_REVISION, 0);
    plan_put_sysid(plan, action->u.call.sysid);
    if (view_map_config(cluster_map(plan->agent->cluster)) == NULL)
        plan_put_config(plan);
    plan_put(plan, "leader", "", name, strlen(name), action->u.call.lease_id);
    plan_put_member(plan, action->u.call.lease_id);
    plan_put_seen(plan, action->u.call.sysid);
    plan_read(plan, "initialize");
    plan_read(plan, "leader");
}

static void
plan_init_abort(struct plan *plan, const struct action *action)
{
    plan_guard_init(plan, action);
    plan_delete(plan, "initialize");
    plan_read(plan, "initialize");
}

/* A leader writes over what it has seen there; without the key (takeover of an existing
 * directory) only into nothing. */
static void
plan_init_write(struct plan *plan, const struct action *action)
{
    const struct view_entry *entry = view_map_find(cluster_map(plan->agent->cluster), "initialize");

    if (action->u.call.create_revision != 0) {
        plan_guard_leader(plan, action);
        plan_compare_number(plan, "initialize", ETCD_COMPARE_MOD_REVISION,
                            entry != NULL ? entry->mod_revision : 0);
    } else {
        plan_compare_number(plan, "initialize", ETCD_COMPARE_CREATE_REVISION, 0);
    }
    plan_put_sysid(plan, action->u.call.sysid);
    plan_read(plan, "initialize");
}

static void
plan_config_restore(struct plan *plan, const struct action *action)
{
    const struct view_entry *entry = view_map_find(cluster_map(plan->agent->cluster), "config");

    plan_guard_leader(plan, action);
    plan_compare_number(plan, "config", ETCD_COMPARE_MOD_REVISION,
                        entry != NULL ? entry->mod_revision : 0);
    plan_put_config(plan);
}

static void
plan_timeline_claim(struct plan *plan, const struct action *action)
{
    struct buf *text = plan_text(plan);

    plan_guard_leader(plan, action);
    if (view_json_put_timeline(text, action->u.call.timeline, plan->agent->identity.name) != RC_OK)
        plan->is_broken = true;
    plan_put_text(plan, "pgheir/timeline", "", text, 0);
}

static void
plan_status(struct plan *plan, const struct action *action)
{
    struct buf *text = plan_text(plan);

    plan_guard_leader(plan, action);
    if (etcd_text_status(plan->agent, action->u.call.lsn, false, text) != RC_OK)
        plan->is_broken = true;
    plan_put_text(plan, "status", "", text, 0);
}

static void
plan_failover_clear(struct plan *plan, const struct action *action)
{
    struct buf *text = plan_text(plan);

    plan_compare_number(plan, "failover", ETCD_COMPARE_MOD_REVISION, action->u.call.mod_revision);
    if (view_json_put_failover(text, NULL, NULL, NULL) != RC_OK)
        plan->is_broken = true;
    plan_put_text(plan, "failover", "", text, 0);
    plan_read(plan, "failover");
}

static void
plan_member(struct plan *plan, const struct action *action)
{
    const struct local *local = local_watch_now(plan->agent->local);

    plan_put_member(plan, action->u.call.lease_id);
    if (local->data_dir == DATA_DIR_VALID)
        plan_put_seen(plan, local->sysid);
}

void
plan_build(struct plan *plan, const struct action *action)
{
    switch (action->u.call.call) {
    case CALL_LEADER_ACQUIRE:
        plan_acquire(plan, action);
        break;
    case CALL_LEADER_MOVE:
        plan_move(plan, action);
        break;
    case CALL_LEADER_RELEASE:
        plan_release(plan, action);
        break;
    case CALL_INIT_RACE:
        plan_init_race(plan, action);
        break;
    case CALL_INIT_COMMIT:
        plan_init_commit(plan, action);
        break;
    case CALL_INIT_ABORT:
        plan_init_abort(plan, action);
        break;
    case CALL_INIT_WRITE:
        plan_init_write(plan, action);
        break;
    case CALL_CONFIG_RESTORE:
        plan_config_restore(plan, action);
        break;
    case CALL_TIMELINE_CLAIM:
        plan_timeline_claim(plan, action);
        break;
    case CALL_STATUS_PUT:
        plan_status(plan, action);
        break;
    case CALL_FAILOVER_CLEAR:
        plan_failover_clear(plan, action);
        break;
    case CALL_MEMBER_PUT:
        plan_member(plan, action);
        break;
    case CALL_HISTORY_PUT: /* its value has to be read first */
    case CALL_LEASE_GRANT:
    case CALL_LEASE_KEEPALIVE:
    case CALL_LEASE_ASK:
    case CALL_VIEW_READ:
    case CALL_COUNT:
        pgh_unreachable();
    }
}

void
plan_build_history(struct plan *plan, const struct action *action, const struct pg_history *history,
                   int64_t switched_wall_ms)
{
    struct buf *text = plan_text(plan);

    plan_guard_leader(plan, action);
    if (etcd_text_history(plan->agent, history, switched_wall_ms, text) != RC_OK)
        plan->is_broken = true;
    plan_put_text(plan, "history", "", text, 0);
}

bool
plan_is_idle(const struct plan *plan, const struct action *action)
{
    const struct view_map *map = cluster_map(plan->agent->cluster);
    bool is_member = action->u.call.call == CALL_MEMBER_PUT;
    size_t prefix_length = strlen(plan->agent->prefix);

    if (!is_member && action->u.call.call != CALL_STATUS_PUT)
        return false;
    for (size_t i = 0; i < plan->success_count; i++) {
        const struct etcd_op *op = &plan->success[i];
        const struct view_entry *entry = view_map_find(map, op->key + prefix_length);

        if (entry == NULL || entry->length != op->value_length ||
            memcmp(entry->value, op->value, op->value_length) != 0 ||
            entry->lease_id != op->lease_id)
            return false;
    }
    return true;
}
