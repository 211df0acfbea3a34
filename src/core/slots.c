/* Replication slots of members: every node keeps one for every other member, so that nobody
 * needs a new copy after a failover. Only slots of members that this agent has seen are dropped,
 * and only some time after the member is gone (hazards RS-01, RS-02); unused ones on replicas
 * move with their owner (RS-03). */
#include <string.h>

#include "internal.h"

static const struct slot *find_slot(const struct local *local, const char *name)
{
    for (int32_t i = 0; i < local->slot_count; i++)
        if (strcmp(local->slots[i].name, name) == 0)
            return &local->slots[i];
    return NULL;
}

static void remember(struct core *core, const char *name)
{
    for (int32_t i = 0; i < core->retained_count; i++)
        if (strcmp(core->retained[i].name, name) == 0) {
            core->retained[i].last_seen_ms = core->now_ms;
            return;
        }
    if (core->retained_count == MEMBERS_MAX)
        return; /* the slot is still kept, it is only not dropped by us */
    struct retained_slot *retained = &core->retained[core->retained_count++];
    memcpy(retained->name, name, SLOT_NAME_SIZE);
    retained->last_seen_ms = core->now_ms;
}

static bool is_wanted(const struct core *core, const struct member *member)
{
    return strcmp(member->name, core->identity.name) != 0 && !member->tags.nostream &&
           member->slot_name[0] != '\0';
}

static uint64_t owner_position_lsn(const struct core *core, const struct member *member)
{
    uint64_t lsn = member->receive_lsn > member->lsn ? member->receive_lsn : member->lsn;
    uint64_t own_lsn = core->local->replay_lsn;

    return lsn < own_lsn ? lsn : own_lsn;
}

static int32_t keep_one(struct step *step, const struct member *member)
{
    struct core *core = step->core;
    const struct slot *slot = find_slot(core->local, member->slot_name);

    remember(core, member->slot_name);
    if (slot == NULL) {
        note(step, REASON_SLOT_CREATE, member->slot_name, 0);
        slot_change(step, ACTION_SLOT_CREATE, member->slot_name, 0);
        return 1;
    }
    if (slot->active || !slot->physical)
        return 0;
    if (slot->lost || (core->local->in_recovery && slot->has_xmin)) {
        note(step, REASON_SLOT_DROP, member->slot_name, 0);
        slot_change(step, ACTION_SLOT_DROP, member->slot_name, 0);
        return 1;
    }
    uint64_t lsn = core->local->in_recovery ? owner_position_lsn(core, member) : 0;
    if (lsn > slot->restart_lsn && slot->restart_lsn != 0) {
        slot_change(step, ACTION_SLOT_ADVANCE, member->slot_name, lsn);
        return 1;
    }
    return 0;
}

static void drop_forgotten(struct step *step, int32_t changes)
{
    struct core *core = step->core;
    int64_t ttl_ms = policy_of(core)->member_slots_ttl_ms;

    for (int32_t i = 0; i < core->retained_count && changes < SLOT_CHANGES_MAX; i++) {
        struct retained_slot *retained = &core->retained[i];
        if (core->now_ms - retained->last_seen_ms <= ttl_ms)
            continue;
        const struct slot *slot = find_slot(core->local, retained->name);
        if (slot != NULL && slot->active)
            continue;
        if (slot != NULL) {
            note(step, REASON_SLOT_DROP, retained->name, 0);
            slot_change(step, ACTION_SLOT_DROP, retained->name, 0);
            changes++;
        }
        *retained = core->retained[--core->retained_count];
        i--;
    }
}

static bool slots_are_possible(const struct core *core)
{
    return policy_of(core)->use_slots && core->local->postmaster == POSTMASTER_UP &&
           core->local->sql_valid && !core->identity.tags.nofailover;
}

/* Who should have a slot here, in one number (FNV-1a), and as what we keep it. */
static uint64_t membership(const struct core *core)
{
    uint64_t hash = core->local->in_recovery ? 14695981039346656037u : 1099511628211u;

    for (int32_t i = 0; i < core->view->member_count; i++) {
        const struct member *member = &core->view->members[i];
        for (const char *at = member->slot_name; is_wanted(core, member) && *at != '\0'; at++)
            hash = (hash ^ (unsigned char)*at) * 1099511628211u;
    }
    return hash;
}

bool slots_are_due(const struct core *core)
{
    return slots_are_possible(core) && membership(core) != core->slots_membership;
}

void slots_keep(struct step *step)
{
    struct core *core = step->core;
    const struct view *view = core->view;
    int32_t changes = 0;

    if (!slots_are_possible(core))
        return;
    core->slots_membership = membership(core);
    for (int32_t i = 0; i < view->member_count && changes < SLOT_CHANGES_MAX; i++)
        if (is_wanted(core, &view->members[i]))
            changes += keep_one(step, &view->members[i]);
    if (!core->paused)
        drop_forgotten(step, changes);
}
