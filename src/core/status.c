/* What others are told about this node: the member key and REST rest on it. */
#include <string.h>

#include "internal.h"

static enum pg_state op_state(enum op_kind kind)
{
    switch (kind) {
    case OP_BOOTSTRAP:
        return PG_STATE_INITDB;
    case OP_CLONE:
        return PG_STATE_CREATING_REPLICA;
    case OP_START_PRIMARY:
    case OP_START_STANDBY:
        return PG_STATE_STARTING;
    case OP_STOP:
        return PG_STATE_STOPPING;
    case OP_RESTART:
        return PG_STATE_RESTARTING;
    case OP_REWIND:
        return PG_STATE_STOPPED;
    case OP_NONE:
    case OP_PROMOTE:
    case OP_FOLLOW:
    case OP_CHECKPOINT:
    case OP_COUNT:
        break;
    }
    return PG_STATE_UNKNOWN;
}

/* Whoever gave the key up because it could not serve has not been stopped on purpose, and others
 * take "stopped" for that (race.c). */
static bool is_given_up(const struct core *core)
{
    return core->unfit != REASON_NONE || core->race.bench_until_ms > core->now_ms;
}

enum pg_state status_pg_state(const struct core *core)
{
    enum pg_state state = op_state(core->op.kind);

    if (core->local == NULL || state != PG_STATE_UNKNOWN)
        return state;
    switch (core->local->postmaster) {
    case POSTMASTER_UP:
        return PG_STATE_RUNNING;
    case POSTMASTER_STARTING:
        return PG_STATE_STARTING;
    case POSTMASTER_STOPPING:
        return PG_STATE_STOPPING;
    case POSTMASTER_DOWN:
        break;
    }
    if (core->stopping)
        return PG_STATE_STOPPED;
    if (core->crash.count == 0 && !is_given_up(core))
        return core->follow.start_failures > 0 ? PG_STATE_START_FAILED : PG_STATE_STOPPED;
    return PG_STATE_CRASHED;
}

enum pg_role status_pg_role(const struct core *core)
{
    const struct local *local = core->local;

    if (local == NULL)
        return PG_ROLE_UNKNOWN;
    if (core->op.kind == OP_BOOTSTRAP || core->op.kind == OP_CLONE ||
        local->data_dir == DATA_DIR_EMPTY || local->data_dir == DATA_DIR_WAITING ||
        local->data_dir == DATA_DIR_FOREIGN || local->data_dir == DATA_DIR_UNKNOWN)
        return PG_ROLE_UNINITIALIZED;
    if (core->op.kind == OP_PROMOTE)
        return PG_ROLE_PROMOTED;
    if (local_is_primary(local) || core->op.kind == OP_START_PRIMARY)
        return PG_ROLE_PRIMARY;
    if (server_is_down(core) && core->was_primary)
        return key_is_ours(core) ? PG_ROLE_PRIMARY : PG_ROLE_DEMOTED;
    return PG_ROLE_REPLICA;
}

static int64_t fence_left_ms(const struct core *core, int64_t now_ms)
{
    if (core->fence_sent_kind == FENCE_DISARMED)
        return -1;
    if (core->fence_sent_kind != FENCE_UNTIL || core->fence_sent_until_ms <= now_ms)
        return 0;
    return core->fence_sent_until_ms - now_ms;
}

/* What a node that does not lead says of others is old while etcd is silent. Trouble of its own
 * stays what it says. */
static bool is_silence_the_reason(const struct core *core, bool holds)
{
    return core->etcd_is_silent && !holds && !op_is_running(core) && core->local != NULL &&
           !server_is_down(core);
}

void core_describe(const struct core *core, int64_t now_ms, struct core_status *ret_status)
{
    bool holds = key_is_ours(core) &&
                 (core->key.fence_until_ms > now_ms || core->pause_is_confirmed);

    memset(ret_status, 0, sizeof *ret_status);
    ret_status->is_leader = holds;
    ret_status->is_primary_serving = holds && core->local != NULL && core->local->sql_valid &&
                                     core->local->postmaster == POSTMASTER_UP &&
                                     !core->local->in_recovery;
    ret_status->paused = core->paused;
    ret_status->fence_disarmed = core->fence_sent_kind == FENCE_DISARMED;
    ret_status->fence_left_ms = fence_left_ms(core, now_ms);
    ret_status->etcd_seen_at_ms = core->etcd_seen_at_ms;
    ret_status->step_at_ms = core->now_ms;
    ret_status->pg_state = status_pg_state(core);
    ret_status->pg_role = status_pg_role(core);
    ret_status->op = core->op.kind;
    ret_status->checkpoint_pending = core->checkpoint_pending;
    if (is_silence_the_reason(core, holds)) {
        ret_status->reason = REASON_ETCD_SILENT;
        return;
    }
    ret_status->reason = core->reason;
    memcpy(ret_status->reason_member, core->reason_member, NAME_SIZE);
    ret_status->reason_value = core->reason_value;
}
